//! Pauses between attempts at a busy server: a backoff with decorrelated jitter.
//!
//! Must not know what is retried, or why.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// Minimum pause. A server is free a moment after its test, and each attempt costs both ends a connection.
pub(super) const SHORTEST: Duration = Duration::from_millis(100);
/// Maximum pause. With a much longer one, a free server would be idle while probes run out of time.
const LONGEST: Duration = Duration::from_secs(2);

/// The pause that follows a pause of `last`: random between `SHORTEST` and three times `last`, but at most `LONGEST`.
/// Exporters that collided once are then unlikely to collide again (Marc Brooker, "Exponential Backoff And Jitter", AWS
/// Architecture Blog, 2015).
pub(super) fn next(last: Duration) -> Duration {
    // The standard library seeds its hash tables with the system's randomness.
    let part = RandomState::new().hash_one(()) as f64 / u64::MAX as f64;
    let longest = (last * 3).min(LONGEST);
    SHORTEST + longest.saturating_sub(SHORTEST).mul_f64(part)
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, SHORTEST, next};
    use std::time::Duration;

    #[test]
    fn pauses_are_within_their_bounds_and_grow() {
        let mut longest = Duration::ZERO;
        for _ in 0..100 {
            let mut pause = next(SHORTEST);
            assert!(SHORTEST <= pause && pause <= SHORTEST * 3);
            for _ in 0..20 {
                pause = next(pause);
                assert!(SHORTEST <= pause && pause <= LONGEST);
                longest = longest.max(pause);
            }
        }
        assert!(longest > LONGEST / 2, "{longest:?}");
    }

    #[test]
    fn colliding_exporters_pause_differently() {
        let last = Duration::from_secs(1);
        let same = (0..10).filter(|_| next(last) == next(last));
        assert!(same.count() < 10);
    }
}
