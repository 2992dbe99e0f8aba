//! When a probe must be over: scrape header, offset and limits become instants.
//!
//! Knows nothing else. Past this room time travels as an instant, never as a duration.

use std::time::{Duration, Instant};

/// The limit of a run when neither Prometheus nor a flag gives one.
const DEFAULT_RUN_LIMIT: Duration = Duration::from_secs(30);

/// Longest scrape timeout that is taken at its word: longer than the longest test, and far from where
/// adding it to an instant could overflow.
const SCRAPE_TIMEOUT_LIMIT_SECONDS: f64 = 25.0 * 3600.0;

/// Name of the header that Prometheus sends with each scrape, in seconds
/// (Prometheus' documentation, "Writing exporters").
pub(crate) const SCRAPE_TIMEOUT_HEADER: &str = "X-Prometheus-Scrape-Timeout-Seconds";

/// The scrape timeout that a header's text gives; `None` when it is not a positive number.
pub(super) fn scrape_timeout(text: &str) -> Option<Duration> {
    let seconds: f64 = text.trim().parse().ok()?;
    let is_positive = seconds.is_finite() && seconds > 0.0;
    let seconds = seconds.min(SCRAPE_TIMEOUT_LIMIT_SECONDS);
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|_| is_positive)
}

/// What limits one probe in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// When the answer has to be there; none when the client waits as long as it takes.
    pub(super) scrape: Option<Instant>,
    run: Option<Duration>,
    /// The scrape ends the wait for a result, and not the test.
    pub(super) is_detached: bool,
}

impl Limits {
    /// Limits of a request that came at `arrival` with the given scrape timeout; `offset` is taken off that, but
    /// never more than half of it. `run` limits iperf3 itself, from its start on.
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

    /// The limits of a test that runs on when its scrape's time is up. One of unknown length is ended by bytes, which may
    /// take any time: as long as a test that nothing limits.
    pub(super) fn detached(self, length_seconds: Option<u64>) -> Self {
        /// What a test may take beyond its own length when no flag limits it: connecting, and a path that is slow to
        /// drain.
        const EXTRA: Duration = Duration::from_secs(15);
        let length = length_seconds.map_or(DEFAULT_RUN_LIMIT, Duration::from_secs);
        Self {
            run: Some(self.run.unwrap_or(length + EXTRA)),
            is_detached: true,
            ..self
        }
    }

    /// When a run that starts at `start` must be over.
    pub(super) fn end_of_run(&self, start: Instant) -> Instant {
        match (self.scrape.filter(|_| !self.is_detached), self.run) {
            (Some(scrape), Some(run)) => scrape.min(start + run),
            (Some(scrape), None) => scrape,
            (None, Some(run)) => start + run,
            (None, None) => start + DEFAULT_RUN_LIMIT,
        }
    }

    /// When the last of several attempts must be over, of which the first started at `first_start`.
    pub(super) fn end_of_attempts(&self, first_start: Instant) -> Instant {
        let end = self.end_of_run(first_start);
        match self.scrape {
            None => end,
            Some(scrape) if self.is_detached => scrape.max(end),
            Some(scrape) => scrape,
        }
    }

    /// The seconds of a test's period when `wanted` were asked for, `omit` of warming up come before them, and it could
    /// start at `start`: a test that does not fit is cut to 90 % of the time there is, in whole seconds, and its period
    /// to at least one. What is omitted is not cut: a shorter warming up would measure something else.
    pub(super) fn fit(&self, wanted: u64, omit: u64, start: Instant) -> u64 {
        let time = self.end_of_run(start).saturating_duration_since(start);
        if Duration::from_secs(omit + wanted) < time {
            wanted
        } else {
            let seconds = (time * 9 / 10).as_secs().saturating_sub(omit);
            seconds.clamp(1, wanted)
        }
    }

    /// The last moment at which a test that takes so long, all included, can still start and end within its scrape.
    pub(super) fn latest_start(&self, length: Duration) -> Option<Instant> {
        let scrape = self.scrape.filter(|_| !self.is_detached)?;
        // Further back than the clock reaches means that there is no such moment left.
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
        // header, offset, --iperf3.timeout -> what a run has, all in milliseconds
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
    fn what_was_spent_waiting_counts_against_the_scrape_and_not_against_the_run() {
        let now = Instant::now();
        // header, --iperf3.timeout, waited -> what the run has then
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
            // What is omitted counts, and is not cut.
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
