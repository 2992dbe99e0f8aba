//! Reads from and writes to a client under a deadline, over TCP or TLS.
//!
//! Must not know HTTP.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::sys;

/// A connection to a client.
pub(crate) trait ClientStream {
    /// Reads what arrives before `until`. Returns 0 at the end of the connection; fails with `TimedOut` if nothing
    /// arrives.
    fn read(&mut self, buffer: &mut [u8], until: Instant) -> io::Result<usize>;
    /// Writes all bytes before `until`, or fails with `TimedOut`.
    fn write_all(&mut self, bytes: &[u8], until: Instant) -> io::Result<()>;
    /// Tells the client that no more data follows, if the protocol has a message for that.
    fn close(&mut self);
    /// The underlying socket.
    fn socket(&self) -> &TcpStream;
}

/// Plain TCP, without TLS.
pub(crate) struct TcpTransport(pub(super) Arc<TcpStream>);

/// The time left until `until`; fails with `TimedOut` if none is left.
fn timeout_until(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

/// Whether to try a read or write again in the remaining time: its timeout expired, or a signal interrupted it.
fn is_to_try_again(result: &io::Result<usize>) -> bool {
    use io::ErrorKind::{Interrupted, WouldBlock};
    matches!(result, Err(error) if matches!(error.kind(), Interrupted | WouldBlock))
}

impl ClientStream for TcpTransport {
    fn read(&mut self, buffer: &mut [u8], until: Instant) -> io::Result<usize> {
        loop {
            self.0.set_read_timeout(Some(timeout_until(until)?))?;
            let result = (&*self.0).read(buffer);
            if !is_to_try_again(&result) {
                return result;
            }
        }
    }

    fn write_all(&mut self, mut bytes: &[u8], until: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            self.0.set_write_timeout(Some(timeout_until(until)?))?;
            let result = (&*self.0).write(bytes);
            if is_to_try_again(&result) {
                continue;
            }
            match result? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                length => bytes = bytes.get(length..).unwrap_or_default(),
            }
        }
        Ok(())
    }

    fn close(&mut self) {}

    fn socket(&self) -> &TcpStream {
        &self.0
    }
}

/// Blocks until the socket has data or has ended; fails with `TimedOut` after `until`.
pub(crate) fn wait_readable(socket: &TcpStream, until: Instant) -> io::Result<()> {
    while !sys::is_readable(socket.as_fd(), timeout_until(until)?)? {}
    Ok(())
}
