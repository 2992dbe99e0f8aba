//! The watchdog's self-check: does the front end accept a connection, and does the backend answer?
//!
//! Uses a connection like any client's, so that it tests what clients use. Sends a secret line that starts like neither
//! HTTP nor TLS. So it works on every port, and needs no password.

use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Length of the secret line: `!`, 128 bits in hexadecimal digits, a line end.
pub(super) const LINE_BYTES: usize = 34;
/// The response when the backend answers.
pub(super) const ANSWER: &[u8] = b"alive\n";
/// Timeout of each step: as long as the warm-up request of a backend connection, which is a part of it.
const LIMIT: Duration = Duration::from_secs(10);

/// The secret line.
pub(super) struct SelfCheck(Vec<u8>);

impl SelfCheck {
    /// Makes a line for this process: hashes with random seeds from the system.
    pub(super) fn new() -> Self {
        let [first, second] = [0, 1].map(|number| RandomState::new().hash_one(number));
        Self(format!("!{first:016x}{second:016x}\n").into_bytes())
    }

    /// Whether these bytes are the secret line.
    pub(super) fn is(&self, bytes: &[u8]) -> bool {
        self.0 == bytes
    }

    /// Runs the self-check against the port of a listener. A listener on all addresses of this host is reached over the
    /// loopback (ip(7)).
    ///
    /// # Errors
    /// The system's error, or `InvalidData` when the response is not the front end's. A `503` is no error: an exporter
    /// without a free slot is busy, not dead.
    pub(super) fn ask(&self, listener: SocketAddr) -> io::Result<()> {
        let connected = TcpStream::connect_timeout(&listener, LIMIT);
        let mut socket = connected.or_else(|error| match listener.ip() {
            // If the loopback has no IPv6 address, its IPv4 address reaches the same socket.
            IpAddr::V6(ip) if ip.is_unspecified() => {
                let address = (Ipv4Addr::LOCALHOST, listener.port()).into();
                TcpStream::connect_timeout(&address, LIMIT)
            }
            _ => Err(error),
        })?;
        socket.set_read_timeout(Some(LIMIT))?;
        socket.set_write_timeout(Some(LIMIT))?;
        socket.write_all(&self.0)?;
        let mut answer = [0; 64];
        let length = socket.read(&mut answer)?;
        let answer = answer.get(..length).unwrap_or_default();
        if answer == ANSWER || answer.starts_with(b"HTTP/1.1 503 ") {
            Ok(())
        } else {
            Err(io::ErrorKind::InvalidData.into())
        }
    }
}
