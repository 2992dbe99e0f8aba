//! The watchdog's question: is a connection accepted, and does the server behind the front end answer?
//!
//! Asked over a connection like any client's, so that the answer says something, by a line that nobody else can
//! know; neither HTTP nor TLS begins like it, so it works on every port and needs no password.

use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// A mark, 128 bits in hexadecimal digits, a line end.
pub(super) const LINE_BYTES: usize = 34;
/// What the front end says when all is well.
pub(super) const ANSWER: &[u8] = b"alive\n";
/// What asking may take: as long as the backend's connection, which is a part of it.
const LIMIT: Duration = Duration::from_secs(10);

/// The question.
pub(super) struct SelfCheck(Vec<u8>);

impl SelfCheck {
    /// A line of its own for each process: hashes under keys that the system's randomness gives.
    pub(super) fn new() -> Self {
        let [first, second] = [0, 1].map(|number| RandomState::new().hash_one(number));
        Self(format!("!{first:016x}{second:016x}\n").into_bytes())
    }

    /// Whether these bytes are the line.
    pub(super) fn is(&self, bytes: &[u8]) -> bool {
        self.0 == bytes
    }

    /// Asks at the port of a listener. One that takes every address of this host is found over the loopback (ip(7)).
    ///
    /// # Errors
    /// The system's, or `InvalidData` when the answer is not the front end's. A `503` is one of the front end's: an exporter
    /// without a place is busy, not dead.
    pub(super) fn ask(&self, listener: SocketAddr) -> io::Result<()> {
        let connected = TcpStream::connect_timeout(&listener, LIMIT);
        let mut socket = connected.or_else(|error| match listener.ip() {
            // Where the loopback has no IPv6 address, its IPv4 one leads to the same socket.
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
