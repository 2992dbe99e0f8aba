//! A client's bytes under a deadline, whatever carries them.
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
    /// Reads what comes before `until`; 0 at the connection's end, `TimedOut` when nothing came.
    fn read(&mut self, buffer: &mut [u8], until: Instant) -> io::Result<usize>;
    /// Writes all of it before `until`, or fails with `TimedOut`.
    fn write_all(&mut self, bytes: &[u8], until: Instant) -> io::Result<()>;
    /// Says to the client that nothing more comes, where the protocol has words for it.
    fn close(&mut self);
    /// The socket below.
    fn socket(&self) -> &TcpStream;
}

/// TCP as it is.
pub(crate) struct TcpTransport(pub(super) Arc<TcpStream>);

/// The time in which `until` comes.
fn timeout_until(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

/// Whether a read or write is to be tried again with the time that is left: its timeout passed, or a signal came.
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

/// Blocks until the socket has something to read, or its end.
pub(crate) fn wait_readable(socket: &TcpStream, until: Instant) -> io::Result<()> {
    while !sys::is_readable(socket.as_fd(), timeout_until(until)?)? {}
    Ok(())
}
