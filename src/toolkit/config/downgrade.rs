//! The downgrade check: which protections a configuration has, so that a change cannot silently remove one.
//!
//! Must not know where a configuration comes from. Rate limits and headers do not count: their loss admits no
//! additional client.

use crate::toolkit::config::settings::{ClientAuth, WebConfig};

/// The protections of a configuration, each as the message for its removal.
pub(super) fn protections(config: &WebConfig) -> Vec<&'static str> {
    let tls = config.tls.as_ref();
    let client_auth = tls.map_or(ClientAuth::None, |tls| tls.client_auth);
    let has_names = tls.is_some_and(|tls| tls.client_allowed_sans.is_some());
    [
        (tls.is_some(), "TLS is off"),
        (!config.users.is_empty(), "no password is required"),
        (
            client_auth.is_required(),
            "no client certificate is required",
        ),
        (
            client_auth.is_verified(),
            "client certificates are not verified",
        ),
        (
            has_names,
            "the names of client certificates are not checked",
        ),
    ]
    .into_iter()
    .filter_map(|(is_there, when_gone)| is_there.then_some(when_gone))
    .collect()
}
