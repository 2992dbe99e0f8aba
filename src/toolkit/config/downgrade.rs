//! What a configuration keeps people out with, and whether another one has less of it.
//!
//! Must not know where a configuration comes from. Limits and headers do not count: without them nobody is let in who
//! was not before.

use crate::toolkit::config::settings::{ClientAuth, WebConfig};

#[derive(Clone, Copy)]
pub(super) struct Protections {
    tls: bool,
    users: bool,
    client_auth: ClientAuth,
    allowed_sans: bool,
}

impl Protections {
    pub(super) fn of(config: &WebConfig) -> Self {
        let tls = config.tls.as_ref();
        Self {
            tls: tls.is_some(),
            users: !config.users.is_empty(),
            client_auth: tls.map_or(ClientAuth::None, |tls| tls.client_auth),
            allowed_sans: tls.is_some_and(|tls| tls.client_allowed_sans.is_some()),
        }
    }

    /// What of it `config` no longer has.
    pub(super) fn weakened_by(self, config: &WebConfig) -> Option<&'static str> {
        let next = Self::of(config);
        let losses = [
            (self.tls && !next.tls, "TLS is off"),
            (self.users && !next.users, "no user is asked for"),
            (
                is_required(self.client_auth) && !is_required(next.client_auth),
                "no client certificate is needed",
            ),
            (
                is_verified(self.client_auth) && !is_verified(next.client_auth),
                "client certificates are not verified",
            ),
            (
                self.allowed_sans && !next.allowed_sans,
                "names of client certificates are not looked at",
            ),
        ];
        losses
            .iter()
            .find_map(|(is_lost, what)| is_lost.then_some(*what))
    }
}

fn is_required(auth: ClientAuth) -> bool {
    matches!(auth, ClientAuth::RequireAny | ClientAuth::RequireAndVerify)
}

fn is_verified(auth: ClientAuth) -> bool {
    matches!(
        auth,
        ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify
    )
}
