//! A client's bytes under a deadline, whatever carries them.
//!
//! Must not know HTTP.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use crate::sys;

/// A connection to a client.
pub(super) trait Wire {
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
pub(super) struct Plain(pub(super) Arc<TcpStream>);

impl Wire for Plain {
    fn read(&mut self, buffer: &mut [u8], until: Instant) -> io::Result<usize> {
        wait_readable(&self.0, until)?;
        (&*self.0).read(buffer)
    }

    fn write_all(&mut self, mut bytes: &[u8], until: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.0.set_write_timeout(Some(left))?;
            match (&*self.0).write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => bytes = bytes.get(length..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Err(error) => return Err(error),
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
pub(super) fn wait_readable(socket: &TcpStream, until: Instant) -> io::Result<()> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if sys::is_readable(socket.as_fd(), left)? {
            return Ok(());
        }
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}
