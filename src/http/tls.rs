//! What the front end asks of TLS. Who answers is handed in: certificates and rules are no matter of HTTP.
//!
//! Owns why a handshake failed; must not know certificates.

use std::fmt;
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
    Tls(Box<dyn TlsAcceptor>, u64),
    /// The configuration cannot be used: requests are answered with a status of their own, and TLS with an alert.
    Unusable,
}

/// Does TLS handshakes.
pub(crate) trait TlsAcceptor {
    /// Finishes a handshake before `until`. When it fails the client was sent an alert, where there was a way to.
    fn accept(
        &self,
        socket: Arc<TcpStream>,
        until: Instant,
    ) -> Result<Box<dyn ClientStream>, HandshakeFailed>;
}

/// Why a handshake failed.
#[derive(Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "tls"),
    expect(dead_code, reason = "a build without TLS has no handshakes")
)]
pub(crate) enum HandshakeFailed {
    /// The client closed the connection before it sent a byte, as health checks by TCP and port scanners do.
    Silent,
    /// It was not complete in time.
    TimedOut,
    /// What came first is no record of a handshake: its first bytes, as many as a record's header has. Nothing was
    /// answered, so there is still room for an answer in whatever the client does speak.
    NotTls([u8; 5]),
    /// Any other reason, in one line. The client has been told by an alert, if it could be.
    Refused(String),
}

impl fmt::Display for HandshakeFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("the client closed the connection and had sent nothing"),
            Self::TimedOut => f.write_str("not complete in time"),
            Self::NotTls(first) => write!(
                f,
                "the client does not speak TLS, it began with \"{}\"",
                first.escape_ascii()
            ),
            Self::Refused(reason) => f.write_str(reason),
        }
    }
}
