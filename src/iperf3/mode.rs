//! Which way the data goes.
//!
//! Must not know the options that ask for it.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Client to server.
    Upload,
    /// Server to client (`-R`).
    Reverse,
    /// Both at once (`--bidir`).
    Bidirectional,
}

impl Mode {
    /// How many there are at once.
    pub(crate) fn directions(self) -> u8 {
        1 + u8::from(self == Self::Bidirectional)
    }
}
