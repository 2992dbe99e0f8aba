//! What a running test has measured so far.
//!
//! A shared handle: the runner of the test writes to it, pages and metrics read it. It is filled only if iperf3 streams
//! its intervals. Otherwise it has only the start and the planned length. Must not know JSON, pages or metrics.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::outcome::Cost;
use super::report::intervals::{Interval, Intervals, MAX_KEPT, merged};
use super::report::transfer::FlowDirection;
use crate::moment::Moment;
use crate::sync;

/// The recent rate is the mean over this time. It matches a common scrape interval, so that successive scrapes together
/// cover the whole test. The time since the last read is not used: two readers would take it from each other.
const RECENT_SECONDS: f64 = 15.0;
/// How late a report may be before the recent rate counts as unknown.
const OVERDUE: Duration = Duration::from_secs(15);

/// The progress of one attempt at a test. A clone is another handle to it.
#[derive(Clone, Debug)]
pub(crate) struct Progress(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    length: Option<Duration>,
    started: Option<Moment>,
    /// `None` if iperf3 reports no interval before its end.
    intervals: Option<Intervals>,
    /// When the last report came.
    reported: Option<Instant>,
}

/// A snapshot of the progress.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// When the test began. Until iperf3 reports that, the time when iperf3 was started. `None` before.
    pub(crate) started: Option<Moment>,
    /// The planned length, including omitted seconds. `None` if the test ends after a number of bytes and no bitrate
    /// shows how long they take.
    pub(crate) length: Option<Duration>,
    /// Whether this iperf3 reports each interval as it ends. If not, both directions are `None`.
    pub(crate) is_streaming: bool,
    /// Client to server; `None` before its first interval.
    pub(crate) upload: Option<DirectionSeen>,
    /// Server to client; `None` before its first interval.
    pub(crate) download: Option<DirectionSeen>,
}

/// A snapshot of one direction.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DirectionSeen {
    /// Payload bytes that the client counted, including those of omitted seconds.
    pub(crate) bytes: f64,
    /// The intervals that count, in order of time, at most [`MAX_KEPT`]. In a long test, neighbours are merged. Omitted
    /// seconds are left out.
    pub(crate) intervals: Vec<Interval>,
    /// Whether `intervals` contains merged neighbours.
    pub(crate) is_merged: bool,
    /// The latest interval, never merged; `None` before the first one that counts.
    pub(crate) latest: Option<Interval>,
    /// The mean rate of the last intervals, at most [`RECENT_SECONDS`] together, in bytes per second. `None` before the
    /// first one that counts, and while reports are overdue.
    pub(crate) recent_bytes_per_second: Option<f64>,
}

impl Progress {
    /// The progress of a test that has not begun. `length` is `None` if the planned length is unknown.
    pub(crate) fn new(length: Option<Duration>) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            length,
            started: None,
            intervals: None,
            reported: None,
        })))
    }

    /// Records that iperf3 was started. `intervals` collects its intervals if it streams them.
    pub(super) fn start(&self, intervals: Option<Intervals>) {
        let mut inner = sync::lock(&self.0);
        inner.started = Some(Moment::now());
        inner.intervals = intervals;
    }

    /// Records that iperf3 is connected and the test begins.
    pub(super) fn begin(&self) {
        sync::lock(&self.0).started = Some(Moment::now());
    }

    /// Records a report of iperf3, and updates the intervals.
    pub(super) fn update(&self, update: impl FnOnce(&mut Intervals)) {
        let mut inner = sync::lock(&self.0);
        inner.reported = Some(Instant::now());
        if let Some(intervals) = &mut inner.intervals {
            update(intervals);
        }
    }

    /// A copy of the intervals so far; `None` if iperf3 does not stream them.
    pub(super) fn intervals(&self) -> Option<Intervals> {
        sync::lock(&self.0).intervals.clone()
    }

    /// What the test has cost so far; zero if iperf3 does not stream.
    pub(crate) fn cost(&self) -> Cost {
        let inner = sync::lock(&self.0);
        let bytes = |direction| inner.intervals.as_ref()?.bytes(direction);
        Cost {
            upload: bytes(FlowDirection::Upload).unwrap_or(0.0),
            download: bytes(FlowDirection::Download).unwrap_or(0.0),
        }
    }

    /// Takes a snapshot.
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
        // An interval can be longer than `OVERDUE`.
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
    /// Both directions, client to server first.
    pub(crate) fn directions(&self) -> [Option<&DirectionSeen>; 2] {
        [self.upload.as_ref(), self.download.as_ref()]
    }

    /// How long the test has run.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started
            .map_or(Duration::ZERO, |started| started.elapsed())
    }

    /// How long the test still has to run; `None` if its planned length is unknown.
    pub(crate) fn left(&self) -> Option<Duration> {
        Some(self.length?.saturating_sub(self.elapsed()))
    }
}

/// The mean rate of the last intervals, at most [`RECENT_SECONDS`] together. The last one counts even if it is longer.
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

    /// The snapshot after iperf3 has printed `lines`.
    fn after(mode: Mode, lines: &str) -> Seen {
        let progress = Progress::new(Some(Duration::from_secs(60)));
        progress.start(Some(Intervals::new(mode)));
        Stream::new(&progress).take(lines.as_bytes());
        progress.look()
    }

    /// A line with one interval of one stream: it begins at `start`, takes `seconds` and carries `bytes`.
    fn line(is_sender: bool, start: u32, seconds: u32, bytes: u32, is_omitted: bool) -> String {
        format!(
            "{{\"event\":\"interval\",\"data\":{{\"streams\":[{{\"start\":{start},\"end\":{},\"seconds\":{seconds},\
             \"bytes\":{bytes},\"omitted\":{is_omitted},\"sender\":{is_sender}}}]}}}}\n",
            start + seconds
        )
    }

    /// Uploads of one second each.
    fn uploads(bytes: impl Iterator<Item = u32>) -> String {
        let lines = bytes.zip(0..);
        lines.fold(String::new(), |mut text, (bytes, start)| {
            let _ = write!(text, "{}", line(true, start, 1, bytes, false));
            text
        })
    }

    /// The rate of the latest interval.
    fn rate(seen: &DirectionSeen) -> Option<f64> {
        Some(seen.latest?.bytes_per_second)
    }

    #[test]
    fn a_direction_is_empty_before_its_first_interval() {
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
    fn a_direction_that_does_not_run_is_empty() {
        let seen = after(Mode::Reverse, &line(false, 0, 1, 7, false));
        assert_eq!(seen.upload, None);
        let down = seen.download.unwrap();
        assert_eq!((down.bytes, down.intervals.len()), (7.0, 1));
        assert_eq!(rate(&down), Some(7.0));
        assert_eq!(down.recent_bytes_per_second, Some(7.0));
    }

    #[test]
    fn omitted_seconds_and_cut_off_intervals_have_bytes_but_no_rate() {
        let omitted = line(true, 0, 1, 5, true);
        let up = after(Mode::Upload, &omitted).upload.unwrap();
        assert_eq!(
            (up.bytes, up.latest, up.recent_bytes_per_second),
            (5.0, None, None)
        );
        // iperf3 prints this when it is asked to end: a quarter of the requested 4 seconds.
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
        // The mean of the seconds 5 to 19.
        let twenty = uploads(0..20);
        let up = after(Mode::Upload, &twenty).upload.unwrap();
        assert_eq!(up.recent_bytes_per_second, Some(12.0));
        assert_eq!((up.bytes, up.intervals.len()), (190.0, 20));
        let minute = twenty + &line(true, 20, 60, 180, false);
        let up = after(Mode::Upload, &minute).upload.unwrap();
        assert_eq!(up.recent_bytes_per_second, Some(3.0));
    }

    #[test]
    fn a_long_test_has_no_more_intervals_than_a_plot_has_room_for() {
        let up = after(Mode::Upload, &uploads(0..4096)).upload.unwrap();
        assert!(up.intervals.len() <= MAX_KEPT);
        assert_eq!(rate(&up), Some(4095.0));
        let end = up.intervals.last().map(|last| last.end_seconds);
        assert_eq!(end, Some(4096.0));
    }
}
