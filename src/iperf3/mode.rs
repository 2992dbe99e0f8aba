//! The direction of the data.
//!
//! Must not know the options that select it.

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
    /// The number of simultaneous directions.
    pub(crate) fn directions(self) -> u8 {
        1 + u8::from(self == Self::Bidirectional)
    }
}
