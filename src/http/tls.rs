//! What the front end asks of TLS. Who answers is handed in: certificates and rules are no matter of HTTP.
//!
//! Must not know certificates.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use super::client_stream::ClientStream;

/// What the exporter-toolkit, that is Go's server, says to plain HTTP on a port with TLS.
pub(crate) const PLAIN_ON_TLS: &str = "Client sent an HTTP request to an HTTPS server.";

/// Decides which protocol a connection has to speak.
pub(crate) trait TlsPolicy: Send + Sync {
    /// What holds at this moment.
    fn protocol(&self) -> Protocol;
}

/// What a connection has to speak.
pub(crate) enum Protocol {
    /// Plain HTTP.
    Plain,
    /// TLS, with the number of the configuration that asks for it.
    Tls(Arc<dyn TlsAcceptor>, u64),
    /// The configuration cannot be used: requests are answered with a status of their own, and TLS with an alert.
    Unusable,
}

/// Does TLS handshakes.
pub(crate) trait TlsAcceptor: Send + Sync {
    /// Finishes a handshake before `until`. When it fails the client was sent an alert, where there was a way to; the
    /// error says why, in one line.
    fn accept(
        self: Arc<Self>,
        socket: Arc<TcpStream>,
        until: Instant,
    ) -> Result<Box<dyn ClientStream>, String>;
}
