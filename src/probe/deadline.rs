//! When a probe must end: scrape header, offset and limits become instants.
//!
//! Must not know anything else. Beyond this module, a time limit is an instant, never a duration.

use std::time::{Duration, Instant};

/// Limit of a run when neither Prometheus nor a flag sets one.
const DEFAULT_RUN_LIMIT: Duration = Duration::from_secs(30);

/// Maximum scrape timeout; a longer one is reduced to it. It is longer than the longest test, and adding it to an
/// instant cannot overflow.
const SCRAPE_TIMEOUT_LIMIT_SECONDS: f64 = 25.0 * 3600.0;

/// Header in which Prometheus sends the scrape timeout, in seconds (Prometheus' documentation, "Writing exporters").
pub(crate) const SCRAPE_TIMEOUT_HEADER: &str = "X-Prometheus-Scrape-Timeout-Seconds";

/// Parses the value of the header; `None` when it is not a positive number.
pub(super) fn scrape_timeout(text: &str) -> Option<Duration> {
    let seconds: f64 = text.trim().parse().ok()?;
    let is_positive = seconds.is_finite() && seconds > 0.0;
    let seconds = seconds.min(SCRAPE_TIMEOUT_LIMIT_SECONDS);
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|_| is_positive)
}

/// Time limits of one probe.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// When the response must be ready; `None` when the client sets no limit.
    pub(super) scrape: Option<Instant>,
    run: Option<Duration>,
    /// The scrape's time limit ends the wait for a result, not the test.
    pub(super) is_detached: bool,
}

impl Limits {
    /// Limits of a request that arrived at `arrival`. `offset` is subtracted from the scrape timeout, but at most half
    /// of the timeout. `run` limits each run of iperf3, from its start.
    pub(super) fn new(
        arrival: Instant,
        scrape_timeout: Option<Duration>,
        offset: Duration,
        run: Option<Duration>,
    ) -> Self {
        let scrape =
            scrape_timeout.map(|timeout| arrival + timeout.saturating_sub(offset).max(timeout / 2));
        Self {
            scrape,
            run,
            is_detached: false,
        }
    }

    /// Limits of a test that may outlive its scrape. A test without a known length ends after a number of bytes; it is
    /// assumed to take [`DEFAULT_RUN_LIMIT`].
    pub(super) fn detached(self, length_seconds: Option<u64>) -> Self {
        /// Time beyond the test's length when no flag limits it: for connecting, and for a path that drains slowly.
        const EXTRA: Duration = Duration::from_secs(15);
        let length = length_seconds.map_or(DEFAULT_RUN_LIMIT, Duration::from_secs);
        Self {
            run: Some(self.run.unwrap_or(length + EXTRA)),
            is_detached: true,
            ..self
        }
    }

    /// When a run that starts at `start` must end.
    pub(super) fn end_of_run(&self, start: Instant) -> Instant {
        match (self.scrape.filter(|_| !self.is_detached), self.run) {
            (Some(scrape), Some(run)) => scrape.min(start + run),
            (Some(scrape), None) => scrape,
            (None, Some(run)) => start + run,
            (None, None) => start + DEFAULT_RUN_LIMIT,
        }
    }

    /// When the last attempt must end, if the first one started at `first_start`.
    pub(super) fn end_of_attempts(&self, first_start: Instant) -> Instant {
        let end = self.end_of_run(first_start);
        match self.scrape {
            None => end,
            Some(scrape) if self.is_detached => scrape.max(end),
            Some(scrape) => scrape,
        }
    }

    /// The period in seconds of a test that starts at `start`, when `wanted` seconds were requested after `omit`
    /// seconds of warm-up. A test that does not fit is shortened to 90 % of the available time, in whole seconds, with
    /// a period of at least one. The warm-up is never shortened: that would change what is measured.
    pub(super) fn fit(&self, wanted: u64, omit: u64, start: Instant) -> u64 {
        let time = self.end_of_run(start).saturating_duration_since(start);
        if Duration::from_secs(omit + wanted) < time {
            wanted
        } else {
            let seconds = (time * 9 / 10).as_secs().saturating_sub(omit);
            seconds.clamp(1, wanted)
        }
    }

    /// The latest moment at which a test of this total length can start and still end within its scrape.
    pub(super) fn latest_start(&self, length: Duration) -> Option<Instant> {
        let scrape = self.scrape.filter(|_| !self.is_detached)?;
        // If the clock cannot go back that far, it is already too late.
        Some(scrape.checked_sub(length).unwrap_or_else(Instant::now))
    }
}

#[cfg(test)]
mod tests {
    use super::{Limits, scrape_timeout};
    use std::time::{Duration, Instant};

    fn millis(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    #[test]
    fn the_header_is_a_positive_number_of_seconds() {
        assert_eq!(scrape_timeout("10"), Some(millis(10_000)));
        assert_eq!(scrape_timeout(" 0.25 "), Some(millis(250)));
        assert_eq!(scrape_timeout("1e300"), Some(millis(90_000_000)));
        for text in ["", "0", "-1", "ten", "NaN", "inf", "10s", "0x10"] {
            assert_eq!(scrape_timeout(text), None, "{text}");
        }
    }

    #[test]
    fn the_earliest_limit_ends_a_run() {
        let now = Instant::now();
        // header, offset, --iperf3.timeout -> time for a run, all in milliseconds
        for (header, offset, run, expected) in [
            (Some(10_000), 500, None, 9_500),
            (Some(10_000), 0, None, 10_000),
            (Some(10_000), 500, Some(3_000), 3_000),
            (Some(10_000), 500, Some(60_000), 9_500),
            (None, 500, Some(60_000), 60_000),
            (None, 500, None, 30_000),
            // The offset never takes more than half.
            (Some(1_000), 800, None, 500),
            (Some(100), 500, None, 50),
        ] {
            let limits = Limits::new(now, header.map(millis), millis(offset), run.map(millis));
            assert_eq!(
                limits.end_of_run(now) - now,
                millis(expected),
                "{header:?} {offset} {run:?}"
            );
        }
    }

    #[test]
    fn waiting_counts_against_the_scrape_and_not_against_the_run() {
        let now = Instant::now();
        // header, --iperf3.timeout, wait -> time left for the run, all in milliseconds
        for (header, run, waited, expected) in [
            (Some(10_000), None, 4_000, 6_000),
            (Some(10_000), Some(3_000), 4_000, 3_000),
            (Some(10_000), Some(3_000), 8_000, 2_000),
            (None, Some(3_000), 8_000, 3_000),
            (None, None, 8_000, 30_000),
        ] {
            let limits = Limits::new(now, header.map(millis), Duration::ZERO, run.map(millis));
            let start = now + millis(waited);
            assert_eq!(limits.end_of_run(start) - start, millis(expected));
        }
    }

    #[test]
    fn a_test_that_does_not_fit_is_cut_to_nine_tenths() {
        let now = Instant::now();
        for (run, wanted, omit, expected) in [
            (9_500, 5, 0, 5),
            (9_500, 9, 0, 9),
            (9_500, 10, 0, 8),
            (5_000, 5, 0, 4),
            (30_000, 60, 0, 27),
            (1_000, 5, 0, 1),
            (500, 5, 0, 1),
            (500, 1, 0, 1),
            // Omitted seconds count, and are not shortened.
            (9_500, 5, 4, 5),
            (9_500, 5, 5, 3),
            (9_500, 9, 1, 7),
            (9_500, 5, 60, 1),
            (30_000, 60, 10, 17),
        ] {
            let limits = Limits::new(now, None, Duration::ZERO, Some(millis(run)));
            assert_eq!(
                limits.fit(wanted, omit, now),
                expected,
                "{run} {wanted} {omit}"
            );
        }
    }

    #[test]
    fn a_detached_test_ends_with_its_own_limit() {
        let now = Instant::now();
        for (header, run, end, end_of_attempts) in [
            (Some(10_000), None, 75_000, 75_000),
            (Some(10_000), Some(30_000), 30_000, 30_000),
            (Some(10_000), Some(3_000), 3_000, 9_500),
            (Some(100_000), None, 75_000, 99_500),
            (None, None, 75_000, 75_000),
        ] {
            let limits = Limits::new(now, header.map(millis), millis(500), run.map(millis));
            let limits = limits.detached(Some(60));
            assert_eq!(limits.end_of_run(now) - now, millis(end));
            assert_eq!(limits.end_of_attempts(now) - now, millis(end_of_attempts));
            assert_eq!(limits.latest_start(millis(60_000)), None);
        }
    }

    #[test]
    fn attempts_end_with_the_scrape_or_with_the_first_run() {
        let now = Instant::now();
        for (header, run, expected) in [
            (Some(60_000), None, 59_500),
            (Some(60_000), Some(5_000), 59_500),
            (None, Some(5_000), 5_000),
            (None, None, 30_000),
        ] {
            let limits = Limits::new(now, header.map(millis), millis(500), run.map(millis));
            assert_eq!(limits.end_of_attempts(now) - now, millis(expected));
        }
    }

    #[test]
    fn the_latest_start_leaves_room_for_the_test() {
        let now = Instant::now();
        let limits = Limits::new(now, Some(millis(10_000)), millis(500), None);
        assert_eq!(
            limits.latest_start(millis(5_000)).map(|at| at - now),
            Some(millis(4_500))
        );
        let unhurried = Limits::new(now, None, millis(500), Some(millis(10_000)));
        assert_eq!(unhurried.latest_start(millis(5_000)), None);
    }
}
