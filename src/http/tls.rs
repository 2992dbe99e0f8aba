//! The TLS interface of the front end. The implementation is passed in: certificates and policy do not belong to HTTP.
//!
//! Must not know certificates.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use super::client_stream::ClientStream;

/// The response line to plain HTTP on a TLS port: that of Go's server, and so of the exporter-toolkit.
pub(crate) const PLAIN_ON_TLS: &str = "Client sent an HTTP request to an HTTPS server.";

/// Decides which protocol a connection must use.
pub(crate) trait TlsPolicy: Send + Sync {
    /// The protocol that the current configuration requires.
    fn protocol(&self) -> Protocol;
}

/// The protocol that a connection must use.
pub(crate) enum Protocol {
    /// Plain HTTP.
    Plain,
    /// TLS, with the number of the configuration that requires it.
    Tls(Arc<dyn TlsAcceptor>, u64),
    /// The configuration is invalid: a request gets an error status, a TLS handshake an alert.
    Unusable,
}

/// Performs TLS handshakes.
pub(crate) trait TlsAcceptor: Send + Sync {
    /// Completes a handshake before `until`. On failure the client was sent an alert if possible, and the error's text
    /// is the reason in one line.
    fn accept(
        self: Arc<Self>,
        socket: Arc<TcpStream>,
        until: Instant,
    ) -> io::Result<Box<dyn ClientStream>>;
}
