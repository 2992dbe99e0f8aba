//! The middleware before every page: may this request go on?
//!
//! Owns the order of the checks, which is the exporter-toolkit's: a broken configuration, the rate limit, headers,
//! users. Must not know what stands behind a path.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use super::auth::{Auth, Decision};
use super::config::reloader::{ActiveConfig, Reloader};
use super::metrics::{Counts, FAMILIES};
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::tls::{PLAIN_ON_TLS, Protocol, TlsPolicy};
use crate::log::Log;
use crate::metrics::text::Text;
use crate::sync;

/// The exporter-toolkit's words, and which limit it is.
const RATE_LIMITED: &str = "Too Many Requests: rate_limit of the web configuration is exceeded";

/// The web configuration in force, the users who were verified, and what was refused.
pub(crate) struct Access {
    log: Log,
    reloader: Reloader,
    auth: Auth,
    counts: Mutex<Counts>,
}

impl Access {
    /// A middleware for so many connections.
    pub(crate) fn new(reloader: Reloader, log: Log, connections: usize) -> Self {
        Self {
            log,
            reloader,
            auth: Auth::new(connections),
            counts: Mutex::default(),
        }
    }

    /// Answers a request by `next`, or refuses it; what the configuration adds to every response is added.
    pub(crate) fn answer(
        &self,
        request: &Request<'_>,
        next: impl FnOnce(&Request<'_>) -> Response,
    ) -> Response {
        let Some(config) = self.reloader.active(&self.log) else {
            // The log has the cause; a client gets what the exporter-toolkit says.
            return Response::line(500, "Internal Server Error");
        };
        let context = request.context;
        match context.tls_config {
            // A connection from before TLS was switched on.
            None if config.tls.is_some() => return Response::line(400, PLAIN_ON_TLS),
            // One from before the last change: whoever holds it has to show a certificate again after this answer.
            Some(number) if number != config.number => {
                context.close_after_response.store(true, Ordering::Relaxed);
            }
            _ => {}
        }
        if config.rate.as_ref().is_some_and(|bucket| !bucket.take()) {
            sync::lock(&self.counts).rate_limited += 1;
            return Response::line(429, RATE_LIMITED);
        }
        let refusal = self.authenticate(&config, request);
        let response = refusal.unwrap_or_else(|| next(request));
        // Of two headers by one name the operator's.
        config
            .headers
            .iter()
            .fold(response, |response, (name, value)| {
                response.with_header(name.clone(), value.clone())
            })
    }

    /// What is answered instead of the page to whoever may not see it.
    fn authenticate(&self, config: &ActiveConfig, request: &Request<'_>) -> Option<Response> {
        let authorization = request.header("Authorization");
        let client = request.context.peer;
        let decision = self
            .auth
            .check(&config.users, authorization.as_deref(), client.ip());
        match decision {
            Decision::Allowed => None,
            Decision::Refused => {
                // A client without credentials is asked for them, which is no failure yet.
                if authorization.is_some() {
                    sync::lock(&self.counts).auth_failures += 1;
                    self.log.warn_client(
                        "authentication failed",
                        client.ip(),
                        "",
                        &[("client", &client)],
                    );
                }
                // Without a realm, as the exporter-toolkit has it.
                let response = Response::line(401, "Unauthorized");
                Some(response.with_header("WWW-Authenticate", "Basic"))
            }
            Decision::Overloaded => Some(Response::unavailable(
                "too many credentials are waiting for verification, try again later",
            )),
        }
    }

    /// What is in force now; none when the configuration cannot be used.
    pub(crate) fn config(&self) -> Option<Arc<ActiveConfig>> {
        self.reloader.active(&self.log)
    }

    /// Reads the web configuration again because the operator said so; whether requests are served after it.
    pub(crate) fn reload(&self) -> bool {
        self.reloader.reload(&self.log)
    }

    /// Ends every wait for a decision.
    pub(crate) fn shut_down(&self) {
        self.auth.end();
    }

    /// Writes the families of this ring.
    pub(crate) fn write_metrics(&self, text: &mut Text) {
        text.families(FAMILIES, &sync::lock(&self.counts));
    }
}

impl TlsPolicy for Access {
    fn protocol(&self) -> Protocol {
        let Some(config) = self.reloader.active(&self.log) else {
            return Protocol::Unusable;
        };
        match &config.tls {
            None => Protocol::Plain,
            Some(acceptor) => Protocol::Tls(Arc::clone(acceptor), config.number),
        }
    }
}
