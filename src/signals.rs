//! SIGTERM and SIGINT as something that can be waited for.
//!
//! Owns the crate `signal-hook`; knows nothing of what is done about a signal.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;

use signal_hook::consts::{SIGINT, SIGTERM};

/// The end that was asked for: readable once SIGTERM or SIGINT has come.
pub(crate) struct EndSignals(UnixStream);

impl EndSignals {
    /// Takes over both signals from now on. The handler only writes a byte, which is all that a handler may do.
    pub(crate) fn register() -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        signal_hook::low_level::pipe::register(SIGTERM, writer.try_clone()?)?;
        signal_hook::low_level::pipe::register(SIGINT, writer)?;
        Ok(Self(reader))
    }

    /// Blocks until one of the signals has come.
    pub(crate) fn wait(mut self) -> io::Result<()> {
        self.0.read_exact(&mut [0])
    }
}
