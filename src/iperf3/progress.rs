//! What a test has measured so far, while iperf3 still runs.
//!
//! A handle that is shared: whoever runs the test writes, pages and metrics look. Only an iperf3 that streams its
//! intervals fills it; of another one it knows the start and the planned length. Must not know JSON, pages or metrics.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::report::intervals::{Interval, MAX_KEPT, merged};
use crate::moment::Moment;
use crate::sync;

/// How many of the last seconds the recent rate is the mean of: as long as a scrape interval often is, so that one
/// scrape after the other has all of the test. Not the time since the last look: two that look would take it from each
/// other.
const RECENT_SECONDS: f64 = 15.0;
/// How late a report may be before the recent rate is no longer known.
const OVERDUE: Duration = Duration::from_secs(15);

/// The progress of one attempt of a test; a clone is another handle to it.
#[derive(Clone, Debug)]
pub(crate) struct Progress(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    length: Option<Duration>,
    started: Option<Moment>,
    is_streaming: bool,
    upload: Option<Track>,
    download: Option<Track>,
}

/// One direction so far.
#[derive(Debug)]
struct Track {
    bytes: f64,
    intervals: Vec<Interval>,
    /// When the last report came.
    reported: Instant,
}

/// What there is to see at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// When the test began, or iperf3 was started as long as it has not said that the test began; none before.
    pub(crate) started: Option<Moment>,
    /// How long the test is to take, omitted seconds included; none where bytes end it.
    pub(crate) length: Option<Duration>,
    /// Whether this iperf3 says each interval as it ends. Else there is nothing in either direction until the end.
    pub(crate) is_streaming: bool,
    /// Client to server; none before its first interval.
    pub(crate) upload: Option<DirectionSeen>,
    /// Server to client; none before its first interval.
    pub(crate) download: Option<DirectionSeen>,
}

/// What there is to see of one direction.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DirectionSeen {
    /// Payload bytes that this end counted, those of omitted seconds too.
    pub(crate) bytes: f64,
    /// The intervals that count, in the order of time, at most [`MAX_KEPT`]: of a long test neighbours are one. Omitted
    /// seconds are none of them.
    pub(crate) intervals: Vec<Interval>,
    /// The latest interval alone; none before the first that counts.
    pub(crate) latest: Option<Interval>,
    /// The mean of the last intervals, [`RECENT_SECONDS`] together at most, in bytes a second. None before the first
    /// that counts, and when no report has come for long.
    pub(crate) recent_bytes_per_second: Option<f64>,
}

impl Progress {
    /// Of a test that has not begun, and is to take so long; none where bytes end it.
    pub(crate) fn new(length: Option<Duration>) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            length,
            started: None,
            is_streaming: false,
            upload: None,
            download: None,
        })))
    }

    /// iperf3 is started, and says its intervals as they end or not.
    pub(super) fn start(&self, is_streaming: bool) {
        let mut inner = sync::lock(&self.0);
        inner.started = Some(Moment::now());
        inner.is_streaming = is_streaming;
    }

    /// iperf3 says that it is connected and the test begins.
    pub(super) fn begin(&self) {
        sync::lock(&self.0).started = Some(Moment::now());
    }

    /// An interval has ended: what this end counted of a direction, and the interval itself where it counts.
    pub(super) fn add(&self, is_upload: bool, bytes: f64, interval: Option<Interval>) {
        let mut inner = sync::lock(&self.0);
        let track = if is_upload {
            &mut inner.upload
        } else {
            &mut inner.download
        };
        let track = track.get_or_insert_with(|| Track {
            bytes: 0.0,
            intervals: Vec::new(),
            reported: Instant::now(),
        });
        track.bytes += bytes;
        track.intervals.extend(interval);
        track.reported = Instant::now();
    }

    /// What there is to see now.
    pub(crate) fn look(&self) -> Seen {
        let inner = sync::lock(&self.0);
        Seen {
            started: inner.started,
            length: inner.length,
            is_streaming: inner.is_streaming,
            upload: inner.upload.as_ref().map(Track::look),
            download: inner.download.as_ref().map(Track::look),
        }
    }
}

impl Seen {
    /// Both directions: client to server first.
    pub(crate) fn directions(&self) -> [Option<&DirectionSeen>; 2] {
        [self.upload.as_ref(), self.download.as_ref()]
    }

    /// How long the test has run.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started
            .map_or(Duration::ZERO, |started| started.elapsed())
    }

    /// How long it has still to run; none where bytes end it.
    pub(crate) fn left(&self) -> Option<Duration> {
        Some(self.length?.saturating_sub(self.elapsed()))
    }
}

impl Track {
    fn look(&self) -> DirectionSeen {
        let latest = self.intervals.last().copied();
        // An interval can be longer than what is late.
        let own = latest.map_or(0.0, |latest| seconds(&latest));
        let patience = OVERDUE + Duration::try_from_secs_f64(own).unwrap_or_default();
        let is_known = self.reported.elapsed() <= patience;
        DirectionSeen {
            bytes: self.bytes,
            intervals: merged(&self.intervals, MAX_KEPT),
            latest,
            recent_bytes_per_second: recent(&self.intervals).filter(|_| is_known),
        }
    }
}

/// The mean of the last intervals that are [`RECENT_SECONDS`] together at most; the last one counts however long it is.
fn recent(intervals: &[Interval]) -> Option<f64> {
    // Timers are late by microseconds.
    const SLACK_SECONDS: f64 = 0.5;
    let last = intervals.last()?;
    let within =
        |one: &&Interval| last.end_seconds - one.start_seconds <= RECENT_SECONDS + SLACK_SECONDS;
    let from = intervals.iter().rev().take_while(within).count().max(1);
    let recent = intervals.get(intervals.len() - from..)?;
    merged(recent, 1).first().map(|one| one.bytes_per_second)
}

fn seconds(interval: &Interval) -> f64 {
    interval.end_seconds - interval.start_seconds
}

#[cfg(test)]
mod tests {
    use super::{Interval, MAX_KEPT, Progress};
    use std::time::Duration;

    /// A second of this rate, from this one on.
    fn second(at: u32, bytes_per_second: f64) -> Interval {
        Interval {
            start_seconds: f64::from(at),
            end_seconds: f64::from(at + 1),
            bytes_per_second,
        }
    }

    #[test]
    fn nothing_is_seen_before_the_first_interval_and_one_direction_says_nothing_of_the_other() {
        let progress = Progress::new(Some(Duration::from_secs(60)));
        assert!(progress.look().started.is_none());
        progress.start(true);
        let seen = progress.look();
        assert!(seen.is_streaming && seen.started.is_some());
        assert_eq!(seen.directions(), [None, None]);
        assert!(seen.left() <= Some(Duration::from_secs(60)));
        progress.add(false, 7.0, Some(second(0, 7.0)));
        let seen = progress.look();
        assert!(seen.upload.is_none());
        assert_eq!(seen.download.unwrap().latest, Some(second(0, 7.0)));
    }

    #[test]
    fn omitted_seconds_have_bytes_and_no_rate() {
        let progress = Progress::new(None);
        progress.add(true, 5.0, None);
        let up = progress.look().upload.unwrap();
        assert_eq!((up.bytes, up.latest), (5.0, None));
        assert_eq!(up.recent_bytes_per_second, None);
        assert_eq!(progress.look().left(), None);
    }

    #[test]
    fn the_recent_rate_is_the_mean_of_fifteen_seconds_or_of_one_long_interval() {
        let progress = Progress::new(None);
        for at in 0..20 {
            progress.add(true, 1.0, Some(second(at, f64::from(at))));
        }
        // Of the seconds 5 to 19.
        let up = progress.look().upload.unwrap();
        assert_eq!(up.recent_bytes_per_second, Some(12.0));
        assert_eq!((up.bytes, up.intervals.len()), (20.0, 20));
        let minute = Interval {
            start_seconds: 20.0,
            end_seconds: 80.0,
            bytes_per_second: 3.0,
        };
        progress.add(true, 180.0, Some(minute));
        let up = progress.look().upload.unwrap();
        assert_eq!(up.recent_bytes_per_second, Some(3.0));
    }

    #[test]
    fn a_long_test_is_seen_in_as_many_intervals_as_a_plot_has_room_for() {
        let progress = Progress::new(None);
        for at in 0..4096 {
            progress.add(true, 1.0, Some(second(at, 1.0)));
        }
        let up = progress.look().upload.unwrap();
        assert!(up.intervals.len() <= MAX_KEPT);
        assert_eq!(up.latest, Some(second(4095, 1.0)));
        assert_eq!(up.intervals.last().unwrap().end_seconds, 4096.0);
    }
}
