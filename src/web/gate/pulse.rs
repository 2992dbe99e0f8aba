//! The watchdog's question: is a connection accepted, and does the server behind the gate answer?
//!
//! Asked over a connection like any client's, so that the answer says something, by a line that nobody else can
//! know; neither HTTP nor TLS begins like it, so it works on every port and needs no password.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// A mark, 128 bits in hexadecimal digits, a line end.
pub(super) const LINE_BYTES: usize = 34;
/// What the gate says when all is well.
pub(super) const ANSWER: &[u8] = b"alive\n";

/// The question.
#[derive(Clone)]
pub(crate) struct Pulse {
    /// There is none when the system has no random bytes.
    line: Option<Vec<u8>>,
    /// What asking may take.
    limit: Duration,
}

impl Pulse {
    /// A line of its own for each process.
    pub(crate) fn new(limit: Duration) -> Self {
        let mut random = [0; 16];
        let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random));
        let line = format!("!{:032x}\n", u128::from_ne_bytes(random)).into_bytes();
        Self {
            line: read.ok().map(|()| line),
            limit,
        }
    }

    /// Whether these bytes are the line.
    pub(super) fn is(&self, bytes: &[u8]) -> bool {
        self.line.as_deref() == Some(bytes)
    }

    /// Asks at the port of a listener.
    ///
    /// # Errors
    /// The system's, or `InvalidData` when the answer is not the gate's. A `503` is one of the gate's: an exporter
    /// without a place is busy, not dead.
    pub(crate) fn ask(&self, listener: SocketAddr) -> io::Result<()> {
        let line = self.line.as_deref().ok_or(io::ErrorKind::Unsupported)?;
        let mut socket = connect(listener, self.limit)?;
        socket.set_read_timeout(Some(self.limit))?;
        socket.set_write_timeout(Some(self.limit))?;
        socket.write_all(line)?;
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

/// Connects to a listener of this host: to its own address, or over the loopback when it takes every address.
fn connect(listener: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let at = |ip: IpAddr| {
        let mut address = listener;
        address.set_ip(ip);
        TcpStream::connect_timeout(&address, limit)
    };
    match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => at(Ipv4Addr::LOCALHOST.into()),
        // Where the loopback has no IPv6 address, its IPv4 one leads to the same socket.
        IpAddr::V6(ip) if ip.is_unspecified() => {
            at(Ipv6Addr::LOCALHOST.into()).or_else(|_| at(Ipv4Addr::LOCALHOST.into()))
        }
        _ => TcpStream::connect_timeout(&listener, limit),
    }
}
