//! The first bytes of a connection: which protocol the client speaks, and the TLS handshake if the configuration
//! requires TLS.
//!
//! Counts and logs a failed handshake; `toolkit/tls` has the reason. Must not know HTTP beyond the look of its first
//! byte.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use super::client_stream::{ClientStream, TcpTransport, wait_readable};
use super::metrics::Closed;
use super::service::Service;
use super::tls::{PLAIN_ON_TLS, Protocol};

/// Type of the TLS record that starts a handshake (RFC 8446 section 5.1).
const HANDSHAKE_RECORD: u8 = 22;
/// A TLS record with a fatal `internal_error` alert (RFC 8446 section 6.2). The exporter-toolkit's server sends it when
/// it cannot read its configuration.
const INTERNAL_ERROR_ALERT: &[u8] = &[21, 3, 1, 0, 2, 2, 80];

/// A connection whose bytes are ready to be read as HTTP.
pub(super) struct Accepted {
    pub(super) stream: Box<dyn ClientStream>,
    /// Number of the configuration with which TLS accepted the client. `None` without TLS.
    pub(super) tls_config: Option<u64>,
}

/// Brings the connection to the point where a request head follows.
pub(super) fn open(
    service: &Service,
    socket: &Arc<TcpStream>,
    peer: SocketAddr,
) -> Result<Accepted, Closed> {
    let plain = || Accepted {
        stream: Box::new(TcpTransport(Arc::clone(socket))),
        tls_config: None,
    };
    if matches!(service.tls.protocol(), Protocol::Plain) {
        return Ok(plain());
    }
    let until = Instant::now() + service.limits.handshake;
    let first = first_byte(service, socket, until)?;
    // Read the policy again: the client may have taken a long time, and the certificate may have changed since.
    match service.tls.protocol() {
        Protocol::Unusable if first == HANDSHAKE_RECORD => {
            let _ = plain().stream.write_all(INTERNAL_ERROR_ALERT, until);
            Err(Closed::Handshake)
        }
        // With an invalid configuration every request gets a 500.
        Protocol::Plain | Protocol::Unusable => Ok(plain()),
        Protocol::Tls(..) if first.is_ascii_alphabetic() => {
            service.refuse(&mut *plain().stream, peer, "", (400, PLAIN_ON_TLS));
            Err(Closed::Refused)
        }
        Protocol::Tls(acceptor, config) => {
            let stream = acceptor.accept(Arc::clone(socket), until);
            let stream = stream.map_err(|error| {
                service.traffic.metrics.handshake_failed();
                service.log.warn_client(
                    "TLS handshake failed",
                    peer.ip(),
                    "",
                    &[("client", &peer), ("error", &error)],
                );
                Closed::Handshake
            })?;
            Ok(Accepted {
                stream,
                tls_config: Some(config),
            })
        }
    }
}

/// The client's first byte, which stays in the socket. A self-check is answered here.
fn first_byte(service: &Service, socket: &Arc<TcpStream>, until: Instant) -> Result<u8, Closed> {
    let mut bytes = [0; super::self_check::LINE_BYTES];
    let length = wait_readable(socket, until).and_then(|()| socket.peek(&mut bytes));
    let seen = match length {
        Ok(length) => bytes.get(..length).unwrap_or_default(),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(Closed::Handshake),
        Err(_) => return Err(Closed::Done),
    };
    if service.self_check.is(seen) {
        return Err(service.answer_self_check(socket));
    }
    seen.first().copied().ok_or(Closed::Done)
}
