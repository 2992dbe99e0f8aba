//! Whether a request may go on to its page: the web configuration's say.
//!
//! Owns the order of its checks, which is the exporter-toolkit's: a broken configuration, the rate limit, headers, users. Must
//! not know what stands behind a path.

use std::sync::Arc;

use crate::http::response::Reply;
use crate::state::State;
use crate::toolkit::auth::Verdict;
use crate::toolkit::config::reloader::ActiveConfig;
use crate::web::routes::{self, Request};

/// An answer, and the configuration whose headers go with it.
pub(crate) struct Answer {
    /// The answer.
    pub(crate) reply: Reply,
    /// What was in force; none when the answer came before it had a say, as the exporter-toolkit has it.
    pub(crate) front: Option<Arc<ActiveConfig>>,
}

impl From<Reply> for Answer {
    /// An answer to which the configuration has nothing to add.
    fn from(reply: Reply) -> Self {
        Self { reply, front: None }
    }
}

impl Answer {
    /// The page's own headers and the configured ones; of two by one name the operator's.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let configured = self.front.as_ref().map_or(&[][..], |front| &front.headers);
        let made = self.reply.made.as_ref();
        let made = made.map(|(name, value)| (*name, value.as_str()));
        let own = self.reply.headers.iter().copied().chain(made);
        let own = own.filter(move |(name, _)| {
            !configured
                .iter()
                .any(|(other, _)| other.eq_ignore_ascii_case(name))
        });
        let configured = configured
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        own.chain(configured)
    }
}

/// Answers one request.
pub(crate) fn answer(state: &Arc<State>, request: &Request<'_>) -> Answer {
    let refuse = |reply: Reply| {
        routes::count(state, request, reply.code);
        reply
    };
    let Some(front) = state.front.front(&state.log) else {
        // The log has the cause; a stranger gets what the exporter-toolkit says.
        return refuse(Reply::status(500, "Internal Server Error")).into();
    };
    match &request.context.tls_config {
        // A connection from before TLS was switched on.
        None if front.tls.is_some() => {
            return refuse(Reply::status(400, crate::http::PLAIN_ON_TLS)).into();
        }
        // One from before the last change: whoever holds it has to show a certificate again after this answer.
        Some(tls_config) if !Arc::ptr_eq(tls_config, &front) => {
            request.context.close_after_response.set();
        }
        _ => {}
    }
    if front.rate.as_ref().is_some_and(|bucket| !bucket.take()) {
        state.own.rate_limited();
        return refuse(Reply::status(429, "Too Many Requests")).into();
    }
    let reply = match authenticate(state, &front, request) {
        Some(refusal) => refuse(refusal),
        None => routes::answer(state, request),
    };
    Answer {
        reply,
        front: Some(front),
    }
}

/// What is answered instead of the page to whoever may not see it.
fn authenticate(state: &State, front: &ActiveConfig, request: &Request<'_>) -> Option<Reply> {
    let client = request.context.peer.ip();
    match state
        .auth
        .check(&front.users, request.authorization, client)
    {
        Verdict::Allowed => None,
        Verdict::Refused => {
            // A client without credentials is asked for them, which is no failure yet.
            if request.authorization.is_some() {
                state.own.auth_failed();
                state.log.warn_ratelimited(
                    "authentication failed",
                    &[("client", &request.context.peer)],
                );
            }
            Some(Reply::unauthorized())
        }
        Verdict::Overloaded => Some(Reply::unavailable(
            "too many credentials wait to be verified, try again later",
        )),
    }
}
