//! A moment by the monotonic clock and by the wall clock.
//!
//! Must not know what happened then.

use std::time::{Duration, Instant, SystemTime};

/// A moment by two clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// The monotonic clock, for arithmetic.
    pub(crate) instant: Instant,
    /// The wall clock, for display.
    pub(crate) clock: SystemTime,
}

impl Moment {
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
