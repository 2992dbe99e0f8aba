//! The access middleware, which every request to a page passes.
//!
//! Owns the order of the checks, which is the exporter-toolkit's: valid configuration, rate limit, user. Also adds the
//! configured headers. Must not know what a path serves.

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

/// The exporter-toolkit's message, and which limit it is.
const RATE_LIMITED: &str = "Too Many Requests: rate_limit of the web configuration is exceeded";

/// The active web configuration, the credential cache, and the counts of rejected requests.
pub(crate) struct Access {
    log: Log,
    reloader: Reloader,
    auth: Auth,
    counts: Mutex<Counts>,
}

impl Access {
    /// A middleware for at most `connections` connections.
    pub(crate) fn new(reloader: Reloader, log: Log, connections: usize) -> Self {
        Self {
            log,
            reloader,
            auth: Auth::new(connections),
            counts: Mutex::default(),
        }
    }

    /// Rejects a request, or answers it with `next`. Adds the configured headers to the response.
    pub(crate) fn answer(
        &self,
        request: &Request<'_>,
        next: impl FnOnce(&Request<'_>) -> Response,
    ) -> Response {
        let Some(config) = self.reloader.active(&self.log) else {
            // The log has the cause. A client gets the exporter-toolkit's response.
            return Response::line(500, "Internal Server Error");
        };
        let context = request.context;
        match context.tls_config {
            // The connection was opened before TLS was enabled.
            None if config.tls.is_some() => return Response::line(400, PLAIN_ON_TLS),
            // The connection was opened before the last change. It closes after this response, so that the client must
            // show a certificate again.
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
        // The operator's header replaces one of the same name.
        config
            .headers
            .iter()
            .fold(response, |response, (name, value)| {
                response.with_header(name.clone(), value.clone())
            })
    }

    /// The response to a client that may not see the page; `None` if it may.
    fn authenticate(&self, config: &ActiveConfig, request: &Request<'_>) -> Option<Response> {
        let authorization = request.header("Authorization");
        let client = request.context.peer;
        let decision = self
            .auth
            .check(&config.users, authorization.as_deref(), client.ip());
        match decision {
            Decision::Allowed => None,
            Decision::Refused => {
                // A request without credentials is not a failure: the 401 requests them.
                if authorization.is_some() {
                    sync::lock(&self.counts).auth_failures += 1;
                    self.log.warn_client(
                        "authentication failed",
                        client.ip(),
                        "",
                        &[("client", &client)],
                    );
                }
                // Without a realm, like the exporter-toolkit.
                let response = Response::line(401, "Unauthorized");
                Some(response.with_header("WWW-Authenticate", "Basic"))
            }
            Decision::Overloaded => Some(Response::unavailable(
                "too many credentials are waiting for verification, try again later",
            )),
        }
    }

    /// The active configuration; `None` if it is invalid.
    pub(crate) fn config(&self) -> Option<Arc<ActiveConfig>> {
        self.reloader.active(&self.log)
    }

    /// Reloads the web configuration on the operator's request. Returns whether requests are served afterwards.
    pub(crate) fn reload(&self) -> bool {
        self.reloader.reload(&self.log)
    }

    /// Ends all waits for a decision.
    pub(crate) fn shut_down(&self) {
        self.auth.end();
    }

    /// Writes the metrics of this ring.
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
