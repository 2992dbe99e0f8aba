//! What a configuration keeps people out with: a change must not take it away.
//!
//! Must not know where a configuration comes from. Limits and headers do not count: without them nobody is let in who
//! was not before.

use crate::toolkit::config::settings::{ClientAuth, WebConfig};

/// What a configuration has, each in the words for when it is gone.
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
