//! Which numbers can be true at all, and what one end may say next to what the other one counted.
//!
//! Arithmetic only: must not know JSON. A server is not to be believed everything, and neither is a clock.

/// The largest count that is exact as a number of JSON, 2^53: nine million gigabytes, more than any test carries. A
/// negative one that went through an unsigned type is above it.
const COUNT_LIMIT: f64 = 9_007_199_254_740_992.0;
/// Where a counter of 32 bits wraps: iperf3 takes the difference of two readings, which is negative where the system
/// set its own back, and prints some of them without a sign.
const COUNTER_LIMIT: f64 = 2_147_483_648.0;
/// iperf3's clocks count microseconds: nothing shorter was measured.
const LEAST_SECONDS: f64 = 1e-6;
/// Most CPUs that one iperf3 can keep busy: 128 streams each direction, a thread each, and room for machines to come.
const CPU_LIMIT: f64 = 1024.0;

/// What the longest queue on a path may hold, in seconds of sending: more than buffers have that are not broken.
pub(super) const QUEUE_SECONDS: f64 = 1.0;
/// How much less than the asked second a test of one second may read, by the slack of its timers.
const TIMER_SLACK_SECONDS: f64 = 0.05;

/// How often a datagram may arrive of those sent: once, and once more where a path doubles it.
pub(super) const DOUBLED: f64 = 2.0;

/// A count, a size or a time.
pub(super) fn count(number: f64) -> Option<f64> {
    (0.0..=COUNT_LIMIT).contains(&number).then_some(number)
}

/// A count that the system keeps in 32 bits.
pub(super) fn counter(number: f64) -> Option<f64> {
    (0.0..COUNTER_LIMIT).contains(&number).then_some(number)
}

/// So much in so long, a second.
pub(super) fn rate(bytes: f64, seconds: f64) -> Option<f64> {
    let is_time = seconds >= LEAST_SECONDS;
    is_time.then(|| bytes / seconds).and_then(count)
}

/// CPU seconds a second, of what iperf3 gives in percent.
pub(super) fn cpus(percent: f64) -> Option<f64> {
    let cpus = percent / 100.0;
    (cpus <= CPU_LIMIT).then_some(cpus)
}

/// Whether a test was so short that all of it may have been on its way when it ended: that nothing arrived by then
/// does not say that nothing will.
pub(super) fn may_still_arrive(seconds: Option<f64>) -> bool {
    seconds.is_none_or(|seconds| seconds < QUEUE_SECONDS - TIMER_SLACK_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::{count, counter, cpus, may_still_arrive, rate};

    #[test]
    fn what_no_clock_and_no_counter_gives_is_none() {
        let limit = 9_007_199_254_740_992.0;
        assert_eq!(count(limit), Some(limit));
        for no_count in [limit * 1.01, 1.8e19, -5.0, f64::INFINITY, f64::NAN] {
            assert_eq!(count(no_count), None, "{no_count}");
        }
        assert_eq!(counter(2_147_483_647.0), Some(2_147_483_647.0));
        for wrapped in [2_147_483_648.0, 4_294_967_294.0, -2.0] {
            assert_eq!(counter(wrapped), None, "{wrapped}");
        }
        assert_eq!(rate(8.0, 2.0), Some(4.0));
        assert_eq!(rate(1.0, 1e-6), Some(1e6));
        for (bytes, seconds) in [(1.0, 0.0), (1.0, 1e-300), (0.0, 0.0), (limit, 0.5)] {
            assert_eq!(rate(bytes, seconds), None, "{bytes} in {seconds}");
        }
        assert_eq!(cpus(102_400.0), Some(1024.0));
        assert_eq!((cpus(102_401.0), cpus(1e300)), (None, None));
    }

    #[test]
    fn under_a_second_all_may_be_on_its_way() {
        for (seconds, may) in [
            (None, true),
            (Some(0.0), true),
            (Some(0.9), true),
            (Some(0.96), false),
            (Some(1.0), false),
        ] {
            assert_eq!(may_still_arrive(seconds), may, "{seconds:?}");
        }
    }
}
