//! Signals, as something that can be waited for: SIGTERM, SIGINT and SIGQUIT ask for an end, SIGHUP asks that the
//! web configuration is read again.
//!
//! Owns the crate `signal-hook`; knows nothing of what is done about a signal.

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals as Taken;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// An end in order.
    End,
    /// Files are to be read again.
    Reread,
}

/// The signals, taken over.
pub(crate) struct Signals(Taken);

impl Signals {
    /// Takes over the signals from now on.
    pub(crate) fn register() -> io::Result<Self> {
        Taken::new([SIGTERM, SIGINT, SIGQUIT, SIGHUP]).map(Self)
    }

    /// Blocks until one of the signals has come.
    pub(crate) fn wait(&mut self) -> Request {
        loop {
            // In the order of their numbers when several came: an end that was asked for as well comes next.
            match self.0.forever().next() {
                Some(SIGHUP) => return Request::Reread,
                Some(_) => return Request::End,
                None => {}
            }
        }
    }
}
