//! Why a probe has no result: one sentence for the response, the log and the page.
//!
//! Created where the probe gives up, from what is known at that moment. Unknown values are left out.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::lock::AcquireError;
use crate::cancel::Cause;
use crate::log::Value;
use crate::time_text::clock;

/// Why a probe has no result.
#[derive(Clone, Debug)]
pub(crate) enum WaitError {
    /// The test lock was not free within `--lock.timeout`.
    WaitedTooLong {
        limit: Duration,
        queue: Box<QueueState>,
    },
    /// Not enough of the scrape timeout was left to run the test.
    NoTimeLeft {
        left: Duration,
        needed: Duration,
        queue: Box<QueueState>,
    },
    Cancelled {
        cause: Cause,
        reached: Reached,
    },
    Running,
    Full,
    /// The test's thread panicked or could not be started.
    Broken,
}

/// A request without a result.
#[derive(Debug)]
pub(crate) struct Unanswered {
    pub(crate) why: WaitError,
    /// The number of the probe, if it has one.
    pub(crate) probe: Option<u64>,
}

/// The queue of the test lock when a probe gave up.
#[derive(Clone, Debug)]
pub(crate) struct QueueState {
    pub(super) holder: Option<Holder>,
    /// Number of other waiters ahead of it and behind it.
    pub(super) ahead: usize,
    pub(super) behind: usize,
    /// When the probe gave up.
    pub(super) at: SystemTime,
}

/// The probe that held the lock.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    /// Its number: several jobs may probe the same target.
    pub(super) probe: u64,
    pub(super) name: String,
    pub(super) since: SystemTime,
    /// When its test should end, if known.
    pub(super) planned_end: Option<SystemTime>,
}

/// How far a cancelled probe got.
#[derive(Clone, Debug)]
pub(crate) enum Reached {
    /// Its test had not started.
    NotRun,
    /// It was between two attempts, after this many.
    Attempted(u32),
    /// iperf3 was running.
    Ran {
        time: Duration,
        /// Planned duration of the test, if known.
        length: Option<Duration>,
    },
    /// It waited for the test of another request, which continues.
    Shared,
}

impl QueueState {
    /// The queue when a waiter gave up.
    pub(super) fn of(error: &AcquireError, planned_end: Option<SystemTime>) -> Self {
        Self {
            holder: error.holder.as_ref().map(|place| Holder {
                planned_end,
                probe: place.probe,
                name: place.name.clone(),
                since: place.since.clock,
            }),
            ahead: error.ahead,
            behind: error.behind,
            at: SystemTime::now(),
        }
    }

    /// For a probe that had reached the front of the queue.
    pub(super) fn empty() -> Self {
        Self {
            holder: None,
            ahead: 0,
            behind: 0,
            at: SystemTime::now(),
        }
    }
}

impl Value for WaitError {}

impl WaitError {
    /// All outcome labels, in output order.
    pub(crate) const LABELS: [&'static str; 6] = [
        "lock_timeout",
        "no_time_left",
        "cancelled",
        "running",
        "full",
        "broken",
    ];

    /// The outcome label of the probe.
    pub(crate) fn label(&self) -> &'static str {
        let [lock_timeout, no_time_left, cancelled, running, full, broken] = Self::LABELS;
        match self {
            Self::WaitedTooLong { .. } => lock_timeout,
            Self::NoTimeLeft { .. } => no_time_left,
            Self::Cancelled { .. } => cancelled,
            Self::Running => running,
            Self::Full => full,
            Self::Broken => broken,
        }
    }

    /// Whether it is certain that iperf3 was not run for the probe.
    pub(crate) fn is_not_run(&self) -> bool {
        match self {
            Self::WaitedTooLong { .. } | Self::NoTimeLeft { .. } | Self::Full => true,
            Self::Cancelled { reached, .. } => matches!(reached, Reached::NotRun),
            Self::Running | Self::Broken => false,
        }
    }
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WaitedTooLong { limit, queue } => {
                let limit = seconds(*limit);
                write!(
                    f,
                    "the test lock was not free within --lock.timeout ({limit}): {queue}. Use a longer scrape \
                     interval or a longer --lock.timeout"
                )
            }
            Self::NoTimeLeft {
                left,
                needed,
                queue,
            } => {
                let (left, needed) = (seconds(*left), seconds(*needed));
                write!(
                    f,
                    "not enough of the scrape timeout is left to run the test ({left} left, {needed} needed): \
                     {queue}. Use a longer scrape timeout, a longer scrape interval, or max_age"
                )
            }
            Self::Cancelled { cause, reached } => write!(f, "{cause}{reached}"),
            Self::Running => {
                f.write_str("the test is running or queued, a later scrape will have its result")
            }
            Self::Full => f.write_str("too many tests are queued"),
            Self::Broken => f.write_str("internal error, see the exporter's log"),
        }
    }
}

impl fmt::Display for QueueState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Holder {
            probe,
            name,
            since,
            planned_end,
        }) = &self.holder
        {
            let since = clock(*since);
            match planned_end.map(|end| (end, clock(end))) {
                Some((end, text)) if end > self.at => write!(
                    f,
                    "{name} (probe {probe}) holds the test lock from {since} to about {text} UTC, "
                ),
                // The server hangs, or is slow to send its results.
                Some((_, text)) => write!(
                    f,
                    "{name} (probe {probe}) has held the test lock since {since} UTC and should have ended at \
                     {text}, "
                ),
                None => write!(
                    f,
                    "{name} (probe {probe}) has held the test lock since {since} UTC, "
                ),
            }?;
        }
        let (ahead, behind) = (self.ahead, self.behind);
        match ahead + behind {
            0 => f.write_str("no other probe waits"),
            1 => write!(f, "1 other probe waits ({ahead} ahead, {behind} behind)"),
            all => write!(
                f,
                "{all} other probes wait ({ahead} ahead, {behind} behind)"
            ),
        }
    }
}

impl fmt::Display for Reached {
    /// Continues a sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRun | Self::Shared => Ok(()),
            Self::Attempted(1) => f.write_str(", after 1 attempt"),
            Self::Attempted(count) => write!(f, ", after {count} attempts"),
            Self::Ran { time, length } => {
                write!(f, ", the test ran {}", seconds(*time))?;
                match length {
                    Some(length) => write!(f, " of {}", seconds(*length)),
                    None => Ok(()),
                }
            }
        }
    }
}

/// Seconds, rounded down to at most one decimal: `3.2 s`, `10 s`.
fn seconds(time: Duration) -> String {
    match (time.as_secs(), time.subsec_millis() / 100) {
        (whole, 0) => format!("{whole} s"),
        (whole, tenths) => format!("{whole}.{tenths} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Holder, QueueState, Reached, WaitError};
    use crate::cancel::Cause;
    use std::time::{Duration, SystemTime};

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(12 * 3600 + seconds)
    }

    fn queue(planned_end: Option<SystemTime>, ahead: usize) -> QueueState {
        QueueState {
            holder: Some(Holder {
                probe: 12,
                name: "198.51.100.7:5201".to_owned(),
                since: at(1),
                planned_end,
            }),
            ahead,
            behind: 0,
            at: at(4),
        }
    }

    #[test]
    fn an_error_states_its_numbers_and_the_queue() {
        let no_time = |queue| WaitError::NoTimeLeft {
            left: Duration::from_millis(4_999),
            needed: Duration::from_secs(5),
            queue: Box::new(queue),
        };
        let no_holder = QueueState {
            holder: None,
            behind: 1,
            ..queue(None, 0)
        };
        for (error, text) in [
            (
                no_time(queue(Some(at(6)), 4)),
                "not enough of the scrape timeout is left to run the test (4.9 s left, 5 s needed): \
                 198.51.100.7:5201 (probe 12) holds the test lock from 12:00:01 to about 12:00:06 UTC, 4 other \
                 probes wait (4 ahead, 0 behind). Use a longer scrape timeout, a longer scrape interval, or max_age",
            ),
            (
                no_time(no_holder),
                "not enough of the scrape timeout is left to run the test (4.9 s left, 5 s needed): 1 other probe \
                 waits (0 ahead, 1 behind). Use a longer scrape timeout, a longer scrape interval, or max_age",
            ),
            (
                WaitError::WaitedTooLong {
                    limit: Duration::from_secs(80),
                    queue: Box::new(queue(None, 0)),
                },
                "the test lock was not free within --lock.timeout (80 s): 198.51.100.7:5201 (probe 12) has held the \
                 test lock since 12:00:01 UTC, no other probe waits. Use a longer scrape interval or a longer \
                 --lock.timeout",
            ),
        ] {
            assert_eq!(error.to_string(), text);
            assert!(error.is_not_run());
        }
        assert_eq!(
            queue(Some(at(3)), 2).to_string(),
            "198.51.100.7:5201 (probe 12) has held the test lock since 12:00:01 UTC and should have ended at \
             12:00:03, 2 other probes wait (2 ahead, 0 behind)"
        );
    }

    #[test]
    fn each_cancellation_states_its_cause_and_how_long_the_test_ran() {
        let ran = |length| Reached::Ran {
            time: Duration::from_millis(3_250),
            length,
        };
        let by = [192, 0, 2, 1].into();
        for (cause, reached, text, is_not_run) in [
            (
                Cause::ClientGone,
                ran(Some(Duration::from_secs(10))),
                "the client disconnected, the test ran 3.2 s of 10 s",
                false,
            ),
            (
                Cause::StoppedBy(by),
                ran(None),
                "stopped from the page by 192.0.2.1, the test ran 3.2 s",
                false,
            ),
            (
                Cause::ShuttingDown,
                Reached::NotRun,
                "the exporter is shutting down",
                true,
            ),
            (
                Cause::ClientGone,
                Reached::Attempted(2),
                "the client disconnected, after 2 attempts",
                false,
            ),
            (
                Cause::ClientGone,
                Reached::Shared,
                "the client disconnected",
                false,
            ),
        ] {
            let error = WaitError::Cancelled { cause, reached };
            assert_eq!(error.to_string(), text);
            assert_eq!(error.is_not_run(), is_not_run, "{text}");
        }
    }
}
