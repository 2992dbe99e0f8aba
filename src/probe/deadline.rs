//! When a probe must be over: scrape header, offset and limits become instants.
//!
//! Knows nothing else. Past this room time travels as an instant, never as a duration.

use std::time::{Duration, Instant};

/// The limit of a run when neither Prometheus nor a flag gives one.
pub(crate) const DEFAULT_RUN_LIMIT: Duration = Duration::from_secs(30);

/// Longest scrape timeout that is taken at its word: longer than the longest test, and far from where
/// adding it to an instant could overflow.
const SCRAPE_TIMEOUT_LIMIT: Duration = Duration::from_secs(25 * 3600);

/// Name of the header that Prometheus sends with each scrape, in seconds
/// (Prometheus' documentation, "Writing exporters").
pub(crate) const SCRAPE_TIMEOUT_HEADER: &str = "X-Prometheus-Scrape-Timeout-Seconds";

/// The scrape timeout that a header's text gives; `None` when it is not a positive number.
pub(crate) fn scrape_timeout(text: &str) -> Option<Duration> {
    let seconds: f64 = text.trim().parse().ok()?;
    let positive = seconds.is_finite() && seconds > 0.0;
    positive.then(|| {
        Duration::try_from_secs_f64(seconds).map_or(SCRAPE_TIMEOUT_LIMIT, |timeout| {
            timeout.min(SCRAPE_TIMEOUT_LIMIT)
        })
    })
}

/// What limits one probe in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    scrape: Option<Instant>,
    run: Option<Duration>,
}

impl Limits {
    /// Limits of a request that came at `arrival` with the given scrape timeout; `offset` is taken off that, but
    /// never more than half of it. `run` limits iperf3 itself, from its start on.
    pub(crate) fn new(
        arrival: Instant,
        scrape_timeout: Option<Duration>,
        offset: Duration,
        run: Option<Duration>,
    ) -> Self {
        let scrape =
            scrape_timeout.map(|timeout| arrival + timeout.saturating_sub(offset).max(timeout / 2));
        Self { scrape, run }
    }

    /// When a run that starts at `start` must be over.
    pub(crate) fn end_of_run(&self, start: Instant) -> Instant {
        match (self.scrape, self.run) {
            (Some(scrape), Some(run)) => scrape.min(start + run),
            (Some(scrape), None) => scrape,
            (None, Some(run)) => start + run,
            (None, None) => start + DEFAULT_RUN_LIMIT,
        }
    }

    /// The seconds that a test may transmit when `wanted` were asked for and it could start at `start`: a test
    /// that does not fit is cut to 90 % of the time there is, in whole seconds and at least one.
    pub(crate) fn fit(&self, wanted: u64, start: Instant) -> u64 {
        let time = self.end_of_run(start).saturating_duration_since(start);
        if Duration::from_secs(wanted) < time {
            wanted
        } else {
            (time * 9 / 10).as_secs().clamp(1, wanted)
        }
    }

    /// The last moment at which a test of `period_seconds` can still start and end within its scrape.
    pub(crate) fn latest_start(&self, period_seconds: u64) -> Option<Instant> {
        let scrape = self.scrape?;
        // Further back than the clock reaches means that there is no such moment left.
        Some(
            scrape
                .checked_sub(Duration::from_secs(period_seconds))
                .unwrap_or_else(Instant::now),
        )
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
    fn a_test_that_does_not_fit_is_cut_to_nine_tenths() {
        let now = Instant::now();
        for (run, wanted, expected) in [
            (9_500, 5, 5),
            (9_500, 9, 9),
            (9_500, 10, 8),
            (5_000, 5, 4),
            (30_000, 60, 27),
            (1_000, 5, 1),
            (500, 5, 1),
            (500, 1, 1),
        ] {
            let limits = Limits::new(now, None, Duration::ZERO, Some(millis(run)));
            assert_eq!(limits.fit(wanted, now), expected, "{run} {wanted}");
        }
    }

    #[test]
    fn the_latest_start_leaves_room_for_the_test() {
        let now = Instant::now();
        let limits = Limits::new(now, Some(millis(10_000)), millis(500), None);
        assert_eq!(
            limits.latest_start(5).map(|at| at - now),
            Some(millis(4_500))
        );
        let unhurried = Limits::new(now, None, millis(500), Some(millis(10_000)));
        assert_eq!(unhurried.latest_start(5), None);
    }
}
