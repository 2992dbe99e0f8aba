//! A moment by both clocks.
//!
//! Must not know what happened then.

use std::time::{Duration, Instant, SystemTime};

/// A moment: by the clock that nobody sets, for arithmetic, and by the one on the wall, for people.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// For arithmetic.
    pub(crate) instant: Instant,
    /// For people.
    pub(crate) clock: SystemTime,
}

impl Moment {
    /// This one.
    pub(crate) fn now() -> Self {
        Self {
            instant: Instant::now(),
            clock: SystemTime::now(),
        }
    }

    /// How long ago it was.
    pub(crate) fn elapsed(&self) -> Duration {
        self.instant.elapsed()
    }
}
