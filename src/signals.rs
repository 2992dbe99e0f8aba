//! The signals that ask for an end, as something that can be waited for: SIGTERM, SIGINT, and those of a terminal
//! that goes away, which would otherwise leave a running iperf3 behind.
//!
//! Owns the crate `signal-hook`; knows nothing of what is done about a signal.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

/// The end that was asked for: readable once one of the signals has come.
pub(crate) struct EndSignals(UnixStream);

impl EndSignals {
    /// Takes over the signals from now on. The handler only writes a byte, which is all that a handler may do.
    pub(crate) fn register() -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGQUIT] {
            signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
        }
        Ok(Self(reader))
    }

    /// Blocks until one of the signals has come.
    pub(crate) fn wait(mut self) -> io::Result<()> {
        self.0.read_exact(&mut [0])
    }
}
