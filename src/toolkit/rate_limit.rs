//! A token bucket.
//!
//! Must not know what is limited. It admits exactly what `golang.org/x/time/rate` admits with
//! `NewLimiter(Every(interval), burst)` and `Allow()`, in whole nanoseconds: nothing is rounded, so nothing drifts.

use std::sync::Mutex;
use std::time::Instant;

use crate::sync;
use crate::toolkit::config::settings::RateLimit;

/// One bucket. It starts with `burst` tokens, and gains one per `interval`, up to `burst`.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) limit: RateLimit,
    missing: Mutex<Missing>,
}

/// How far the bucket is from full. (Refused: the instant at which it is full. With a long interval and a large burst
/// an `Instant` cannot hold it.)
#[derive(Debug, Default)]
struct Missing {
    /// Nanoseconds of refilling, as of `at`.
    nanoseconds: u128,
    /// The latest instant seen so far; `None` before the first.
    at: Option<Instant>,
}

impl Bucket {
    pub(crate) fn new(limit: RateLimit) -> Self {
        Self {
            limit,
            missing: Mutex::default(),
        }
    }

    /// Takes a token; false if there is none.
    pub(crate) fn take(&self) -> bool {
        self.take_at(Instant::now())
    }

    /// Takes a token at `now`. An instant before the latest one counts as the latest.
    fn take_at(&self, now: Instant) -> bool {
        let mut missing = sync::lock(&self.missing);
        let latest = missing.at.map_or(now, |at| at.max(now));
        let refilled = missing.at.map_or(0, |at| (latest - at).as_nanos());
        missing.nanoseconds = missing.nanoseconds.saturating_sub(refilled);
        missing.at = Some(latest);
        let token = self.limit.interval.as_nanos();
        // Saturates only for bursts of some 10^10 hours; the bucket is then merely smaller than it should be.
        let capacity = token.saturating_mul(u128::from(self.limit.burst));
        let after = missing.nanoseconds.saturating_add(token);
        let there_is_one = after <= capacity;
        if there_is_one {
            missing.nanoseconds = after;
        }
        there_is_one
    }
}

#[cfg(test)]
mod tests {
    use super::Bucket;
    use crate::fuzz::cases;
    use crate::toolkit::config::settings::RateLimit;
    use std::time::{Duration, Instant};

    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

    fn bucket(interval: Duration, burst: u64) -> Bucket {
        Bucket::new(RateLimit { interval, burst })
    }

    /// How many of `asked` requests are admitted at `now`.
    fn taken(bucket: &Bucket, now: Instant, asked: usize) -> usize {
        (0..asked).filter(|_| bucket.take_at(now)).count()
    }

    #[test]
    fn a_burst_is_admitted_first_and_then_one_per_interval() {
        let (second, start) = (Duration::from_secs(1), Instant::now());
        let bucket = bucket(second, 3);
        assert_eq!(taken(&bucket, start, 10), 3);
        assert!(!bucket.take_at(start + Duration::from_nanos(999_999_999)));
        assert_eq!(taken(&bucket, start + second, 10), 1);
        assert_eq!(taken(&bucket, start + second * 3, 10), 2);
        assert_eq!(
            taken(&bucket, start + second * 1000, 10),
            3,
            "never more than the burst"
        );
    }

    #[test]
    fn parts_of_a_token_are_kept() {
        let start = Instant::now();
        let bucket = bucket(Duration::from_secs(1), 1);
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        assert!(bucket.take_at(at(0)));
        // A rejected request costs no token.
        for milliseconds in 1..1000 {
            assert!(!bucket.take_at(at(milliseconds)), "{milliseconds} ms");
        }
        assert!(bucket.take_at(at(1000)));
        assert!(!bucket.take_at(at(1999)));
        assert!(bucket.take_at(at(2000)));
    }

    #[test]
    fn without_a_burst_nothing_is_admitted() {
        let start = Instant::now();
        let none = bucket(Duration::from_nanos(1), 0);
        assert_eq!(
            taken(&none, start, 5) + taken(&none, start + 50 * YEAR, 5),
            0
        );
        assert!(!none.take());
    }

    #[test]
    fn an_uneven_interval_does_not_drift() {
        let (interval, start) = (Duration::from_nanos(333_333_333), Instant::now());
        let bucket = bucket(interval, 1);
        let mut through = 0_u32;
        // One request per millisecond for 1,000 s: each token goes to the first request that is not before its due
        // time.
        let mut due = start;
        for milliseconds in 0..1_000_000 {
            let now = start + Duration::from_millis(milliseconds);
            if bucket.take_at(now) {
                assert!(now >= due);
                due = due.max(now) + interval;
                through += 1;
            } else {
                assert!(now < due, "rejected although a token was available");
            }
        }
        assert!(through > 2_900);
    }

    #[test]
    fn large_numbers_and_long_uptimes_overflow_nothing() {
        let start = Instant::now();
        let huge = bucket(Duration::MAX, u64::MAX);
        assert_eq!(taken(&huge, start, 1000), 1000);
        let tiny = bucket(Duration::from_nanos(1), 5);
        assert_eq!(taken(&tiny, start, 10), 5);
        assert_eq!(taken(&tiny, start + 200 * YEAR, 10), 5);
        let slow = bucket(100 * YEAR, 1);
        assert_eq!(taken(&slow, start, 2), 1);
        assert_eq!(taken(&slow, start + 99 * YEAR, 2), 0);
        assert_eq!(taken(&slow, start + 100 * YEAR, 2), 1);
    }

    #[test]
    fn an_earlier_instant_refills_nothing() {
        let (second, start) = (Duration::from_secs(1), Instant::now());
        let bucket = bucket(second, 2);
        assert_eq!(taken(&bucket, start + second, 3), 2);
        assert!(!bucket.take_at(start));
        assert!(!bucket.take_at(start + second));
        assert!(bucket.take_at(start + second * 2));
        assert!(!bucket.take_at(start + second * 2));
    }

    /// Compares with the simplest possible model: tokens as exact fractions with the interval as denominator.
    #[test]
    fn random_requests_match_the_model() {
        let (mut through, mut refused) = (0, 0);
        cases(200, |random| {
            let mut next = |below: u64| random.next() % below;
            let (interval, burst) = (1 + next(1000), next(5));
            let bucket = bucket(Duration::from_nanos(interval), burst);
            let mut now = Instant::now();
            let mut parts = burst * interval;
            for _ in 0..200 {
                let step = next(interval * 2);
                now += Duration::from_nanos(step);
                parts = (parts + step).min(burst * interval);
                let expected = parts >= interval;
                if expected {
                    parts -= interval;
                    through += 1;
                } else {
                    refused += 1;
                }
                assert_eq!(bucket.take_at(now), expected, "{interval} ns, {burst}");
            }
        });
        // Otherwise the random numbers would miss the interesting cases. A single case proves nothing.
        assert!(
            through > 1000 && refused > 1000 || std::env::var_os("FUZZ_CASES").is_some(),
            "{through} let through, {refused} refused"
        );
    }
}
