//! Decides which numbers can be true at all, and what one end may report given the other end's count.
//!
//! Arithmetic only: must not know JSON. Neither a server nor a clock is trusted blindly.

/// The largest count that a JSON number holds exactly, 2^53: nine million gigabytes, more than any test carries. A
/// negative number that went through an unsigned type is above it.
const COUNT_LIMIT: f64 = 9_007_199_254_740_992.0;
/// Where a 32-bit counter wraps. iperf3 subtracts two readings. The result is negative if the system has reset its
/// counter, and iperf3 prints some results without a sign.
const COUNTER_LIMIT: f64 = 2_147_483_648.0;
/// iperf3's clocks count microseconds, so nothing shorter was measured.
const LEAST_SECONDS: f64 = 1e-6;
/// Maximum number of CPUs that one iperf3 can keep busy: 128 streams per direction, one thread each, and room for
/// future machines.
const CPU_LIMIT: f64 = 1024.0;

/// How much the longest queue on a path may hold, in seconds of sending: more than any buffer that is not broken.
pub(super) const QUEUE_SECONDS: f64 = 1.0;
/// How much less than one second a test of one second may report, due to the slack of its timers.
const TIMER_SLACK_SECONDS: f64 = 0.05;

/// How often a datagram may arrive at most: once, and once more if a path duplicates it.
pub(super) const DOUBLED: f64 = 2.0;

/// A count, a size or a time.
pub(super) fn count(number: f64) -> Option<f64> {
    (0.0..=COUNT_LIMIT).contains(&number).then_some(number)
}

/// A count that the system keeps in 32 bits.
pub(super) fn counter(number: f64) -> Option<f64> {
    (0.0..COUNTER_LIMIT).contains(&number).then_some(number)
}

/// Bytes per second.
pub(super) fn rate(bytes: f64, seconds: f64) -> Option<f64> {
    let is_time = seconds >= LEAST_SECONDS;
    is_time.then(|| bytes / seconds).and_then(count)
}

/// CPU seconds per second, from iperf3's percentage.
pub(super) fn cpus(percent: f64) -> Option<f64> {
    let cpus = percent / 100.0;
    (cpus <= CPU_LIMIT).then_some(cpus)
}

/// Whether a test was so short that all of it may still have been in flight at its end. Then it is unknown whether
/// anything was lost.
pub(super) fn may_still_arrive(seconds: Option<f64>) -> bool {
    seconds.is_none_or(|seconds| seconds < QUEUE_SECONDS - TIMER_SLACK_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::{count, counter, cpus, may_still_arrive, rate};

    #[test]
    fn impossible_numbers_are_none() {
        let limit = 9_007_199_254_740_992.0;
        assert_eq!(count(limit), Some(limit));
        for impossible in [limit * 1.01, 1.8e19, -5.0, f64::INFINITY, f64::NAN] {
            assert_eq!(count(impossible), None, "{impossible}");
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
    fn under_a_second_everything_may_be_in_flight() {
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
