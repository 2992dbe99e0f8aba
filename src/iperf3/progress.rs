//! What a test has measured so far, while iperf3 still runs.
//!
//! A handle that is shared: whoever runs the test writes, pages and metrics look. Only an iperf3 that streams its
//! intervals fills it; of another one it knows the start and the planned length. Must not know JSON, pages or metrics.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::outcome::Cost;
use super::report::intervals::{Interval, Intervals, MAX_KEPT, merged};
use super::report::transfer::FlowDirection;
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
    /// None where iperf3 says none before its end.
    intervals: Option<Intervals>,
    /// When the last one came.
    reported: Option<Instant>,
}

/// What there is to see at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// When the test began, or iperf3 was started as long as it has not said that the test began; none before.
    pub(crate) started: Option<Moment>,
    /// How long the test is to take, omitted seconds included; none where bytes end it and no bitrate says how long they
    /// take.
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
    /// Whether neighbours are one in it.
    pub(crate) is_merged: bool,
    /// The latest interval alone; none before the first that counts.
    pub(crate) latest: Option<Interval>,
    /// The mean of the last intervals, [`RECENT_SECONDS`] together at most, in bytes a second. None before the first
    /// that counts, and when no report has come for long.
    pub(crate) recent_bytes_per_second: Option<f64>,
}

impl Progress {
    /// Of a test that has not begun, and is to take so long; none where nobody knows.
    pub(crate) fn new(length: Option<Duration>) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            length,
            started: None,
            intervals: None,
            reported: None,
        })))
    }

    /// iperf3 is started; with what its intervals go to, where it streams them.
    pub(super) fn start(&self, intervals: Option<Intervals>) {
        let mut inner = sync::lock(&self.0);
        inner.started = Some(Moment::now());
        inner.intervals = intervals;
    }

    /// iperf3 says that it is connected and the test begins.
    pub(super) fn begin(&self) {
        sync::lock(&self.0).started = Some(Moment::now());
    }

    /// Something has come for the intervals.
    pub(super) fn update(&self, update: impl FnOnce(&mut Intervals)) {
        let mut inner = sync::lock(&self.0);
        inner.reported = Some(Instant::now());
        if let Some(intervals) = &mut inner.intervals {
            update(intervals);
        }
    }

    /// What the intervals amount to; none where iperf3 does not stream them.
    pub(super) fn intervals(&self) -> Option<Intervals> {
        sync::lock(&self.0).intervals.clone()
    }

    /// What the test has cost so far; nothing where iperf3 does not stream.
    pub(crate) fn cost(&self) -> Cost {
        let inner = sync::lock(&self.0);
        let bytes = |direction| inner.intervals.as_ref()?.bytes(direction);
        Cost {
            upload: bytes(FlowDirection::Upload).unwrap_or(0.0),
            download: bytes(FlowDirection::Download).unwrap_or(0.0),
        }
    }

    /// What there is to see now.
    pub(crate) fn look(&self) -> Seen {
        let inner = sync::lock(&self.0);
        let look = |direction| inner.look(direction);
        Seen {
            started: inner.started,
            length: inner.length,
            is_streaming: inner.intervals.is_some(),
            upload: look(FlowDirection::Upload),
            download: look(FlowDirection::Download),
        }
    }
}

impl Inner {
    fn look(&self, direction: FlowDirection) -> Option<DirectionSeen> {
        let intervals = self.intervals.as_ref()?;
        let bytes = intervals.bytes(direction)?;
        let rated = intervals.rated(direction);
        let latest = rated.last().copied();
        // An interval can be longer than what is late.
        let own = latest.map_or(0.0, |latest| latest.end_seconds - latest.start_seconds);
        let patience = OVERDUE + Duration::try_from_secs_f64(own).unwrap_or_default();
        let is_known = self.reported?.elapsed() <= patience;
        Some(DirectionSeen {
            bytes,
            intervals: merged(rated, MAX_KEPT),
            is_merged: rated.len() > MAX_KEPT,
            latest,
            recent_bytes_per_second: recent(rated).filter(|_| is_known),
        })
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

    /// How long it has still to run; none where nobody knows.
    pub(crate) fn left(&self) -> Option<Duration> {
        Some(self.length?.saturating_sub(self.elapsed()))
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

#[cfg(test)]
mod tests {
    use super::{DirectionSeen, Intervals, MAX_KEPT, Progress, Seen};
    use crate::iperf3::mode::Mode;
    use crate::iperf3::report::stream::Stream;
    use std::fmt::Write as _;
    use std::time::Duration;

    /// The progress of a test whose iperf3 has said so much.
    fn after(mode: Mode, lines: &str) -> Seen {
        let progress = Progress::new(Some(Duration::from_secs(60)));
        progress.start(Some(Intervals::new(mode)));
        Stream::new(&progress).take(lines.as_bytes());
        progress.look()
    }

    /// A line of one stream: `seconds` from `start` on, with so many bytes.
    fn line(is_sender: bool, start: u32, seconds: u32, bytes: u32, is_omitted: bool) -> String {
        format!(
            "{{\"event\":\"interval\",\"data\":{{\"streams\":[{{\"start\":{start},\"end\":{},\"seconds\":{seconds},\
             \"bytes\":{bytes},\"omitted\":{is_omitted},\"sender\":{is_sender}}}]}}}}\n",
            start + seconds
        )
    }

    /// Uploads of a second each.
    fn uploads(bytes: impl Iterator<Item = u32>) -> String {
        let lines = bytes.zip(0..);
        lines.fold(String::new(), |mut text, (bytes, start)| {
            let _ = write!(text, "{}", line(true, start, 1, bytes, false));
            text
        })
    }

    /// That of the latest interval.
    fn rate(seen: &DirectionSeen) -> Option<f64> {
        Some(seen.latest?.bytes_per_second)
    }

    #[test]
    fn nothing_is_seen_before_iperf3_is_started_and_its_first_interval() {
        let progress = Progress::new(Some(Duration::from_secs(60)));
        let seen = progress.look();
        assert!(seen.started.is_none() && !seen.is_streaming);
        assert_eq!(seen.left(), Some(Duration::from_secs(60)));
        progress.start(None);
        let seen = progress.look();
        assert!(seen.started.is_some() && !seen.is_streaming);
        assert_eq!(
            (seen.directions(), progress.cost().upload),
            ([None; 2], 0.0)
        );
        let seen = after(Mode::Upload, "{\"event\":\"start\",\"data\":{}}\n");
        assert!(seen.is_streaming && seen.left() <= Some(Duration::from_secs(60)));
        assert_eq!(seen.directions(), [None; 2]);
    }

    #[test]
    fn one_direction_says_nothing_of_the_other() {
        let seen = after(Mode::Reverse, &line(false, 0, 1, 7, false));
        assert_eq!(seen.upload, None);
        let down = seen.download.unwrap();
        assert_eq!((down.bytes, down.intervals.len()), (7.0, 1));
        assert_eq!(rate(&down), Some(7.0));
        assert_eq!(down.recent_bytes_per_second, Some(7.0));
    }

    #[test]
    fn omitted_seconds_have_bytes_and_no_rate_and_the_begin_of_a_second_is_none() {
        let omitted = line(true, 0, 1, 5, true);
        let up = after(Mode::Upload, &omitted).upload.unwrap();
        assert_eq!(
            (up.bytes, up.latest, up.recent_bytes_per_second),
            (5.0, None, None)
        );
        // What iperf3 says when it is told to end: a quarter of the 4 seconds that were asked for.
        let asked = "{\"event\":\"start\",\"data\":{\"test_start\":{\"interval\":4}}}\n";
        let lines = [
            asked,
            &line(true, 0, 4, 8, false),
            &line(true, 4, 1, 8, false),
        ]
        .concat();
        let up = after(Mode::Upload, &lines).upload.unwrap();
        assert_eq!((up.bytes, up.intervals.len()), (16.0, 1));
        assert_eq!(rate(&up), Some(2.0));
    }

    #[test]
    fn the_recent_rate_is_the_mean_of_fifteen_seconds_or_of_one_long_interval() {
        // Of the seconds 5 to 19.
        let twenty = uploads(0..20);
        let up = after(Mode::Upload, &twenty).upload.unwrap();
        assert_eq!(up.recent_bytes_per_second, Some(12.0));
        assert_eq!((up.bytes, up.intervals.len()), (190.0, 20));
        let minute = twenty + &line(true, 20, 60, 180, false);
        let up = after(Mode::Upload, &minute).upload.unwrap();
        assert_eq!(up.recent_bytes_per_second, Some(3.0));
    }

    #[test]
    fn a_long_test_is_seen_in_as_many_intervals_as_a_plot_has_room_for() {
        let up = after(Mode::Upload, &uploads(0..4096)).upload.unwrap();
        assert!(up.intervals.len() <= MAX_KEPT);
        assert_eq!(rate(&up), Some(4095.0));
        let end = up.intervals.last().map(|last| last.end_seconds);
        assert_eq!(end, Some(4096.0));
    }
}
