//! Which way the data of a test goes.
//!
//! Knows nothing else.

/// Which way the data goes.
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
        match self {
            Self::Upload | Self::Reverse => 1,
            Self::Bidirectional => 2,
        }
    }
}
