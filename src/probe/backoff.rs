//! Backoff between the attempts of a probe whose server is busy: random, so that exporters which collided once do not
//! collide again, and longer as time goes by.
//!
//! Must not know what is attempted.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The shortest pause: a server is free a moment after its test, and an attempt costs both ends a connection.
const SHORTEST: Duration = Duration::from_millis(100);
/// The longest pause: much longer and a free server stands idle while probes run out of time.
const LONGEST: Duration = Duration::from_secs(2);

/// Decorrelated jitter: each pause is random between the shortest and three times the one before (Marc Brooker,
/// "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
#[derive(Debug)]
pub(super) struct Backoff {
    last: Duration,
    /// Randomness of the system's, which the standard library gives to its hash tables.
    random: RandomState,
    count: u64,
}

impl Backoff {
    /// None has been made yet.
    pub(super) fn new() -> Self {
        Self {
            last: SHORTEST,
            random: RandomState::new(),
            count: 0,
        }
    }

    /// The next pause.
    pub(super) fn next(&mut self) -> Duration {
        self.count += 1;
        let part = self.random.hash_one(self.count) as f64 / u64::MAX as f64;
        let most = (self.last * 3).min(LONGEST);
        self.last = SHORTEST + most.saturating_sub(SHORTEST).mul_f64(part);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, LONGEST, SHORTEST};
    use std::time::Duration;

    #[test]
    fn pauses_are_within_their_bounds_and_grow() {
        let mut longest = Duration::ZERO;
        for _ in 0..100 {
            let mut pauses = Backoff::new();
            let first = pauses.next();
            assert!(SHORTEST <= first && first <= SHORTEST * 3, "{first:?}");
            for _ in 0..20 {
                let pause = pauses.next();
                assert!(SHORTEST <= pause && pause <= LONGEST, "{pause:?}");
                longest = longest.max(pause);
            }
        }
        assert!(longest > LONGEST / 2, "{longest:?}");
    }

    #[test]
    fn two_that_collided_wait_differently() {
        let (mut one, mut other) = (Backoff::new(), Backoff::new());
        let same = (0..10).filter(|_| one.next() == other.next()).count();
        assert!(same < 10);
    }
}
