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
pub(crate) trait Wire {
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
pub(crate) struct Plain {
    socket: Arc<TcpStream>,
    /// The timeouts that the socket has, rounded up: they are set only when they change, and a wait needs no poll(2)
    /// before it. So a deadline is kept to the second, and one within a second to its hundredth.
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
}

impl Plain {
    pub(crate) fn new(socket: Arc<TcpStream>) -> Self {
        Self {
            socket,
            read_timeout: None,
            write_timeout: None,
        }
    }
}

/// The time in which `until` comes, rounded up to whole seconds or, when it is less than one, to hundredths.
fn timeout_until(until: Instant) -> io::Result<Option<Duration>> {
    const HUNDREDTH: Duration = Duration::from_millis(10);
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let rounded = if left.as_secs() == 0 {
        HUNDREDTH * left.subsec_nanos().div_ceil(HUNDREDTH.subsec_nanos())
    } else {
        let begun = u64::from(left.subsec_nanos() > 0);
        Duration::from_secs(left.as_secs() + begun)
    };
    Ok(Some(rounded))
}

/// Whether a read or write is to be tried again with the time that is left: its timeout passed, or a signal came.
fn is_to_try_again(result: &io::Result<usize>) -> bool {
    use io::ErrorKind::{Interrupted, WouldBlock};
    matches!(result, Err(error) if matches!(error.kind(), Interrupted | WouldBlock))
}

impl Wire for Plain {
    fn read(&mut self, buffer: &mut [u8], until: Instant) -> io::Result<usize> {
        loop {
            let timeout = timeout_until(until)?;
            if timeout != self.read_timeout {
                self.socket.set_read_timeout(timeout)?;
                self.read_timeout = timeout;
            }
            let result = (&*self.socket).read(buffer);
            if !is_to_try_again(&result) {
                return result;
            }
        }
    }

    fn write_all(&mut self, mut bytes: &[u8], until: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            let timeout = timeout_until(until)?;
            if timeout != self.write_timeout {
                self.socket.set_write_timeout(timeout)?;
                self.write_timeout = timeout;
            }
            let result = (&*self.socket).write(bytes);
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
        &self.socket
    }
}

/// Blocks until the socket has something to read, or its end.
pub(crate) fn wait_readable(socket: &TcpStream, until: Instant) -> io::Result<()> {
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
