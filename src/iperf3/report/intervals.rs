//! iperf3's intervals: the rates of a direction, what arrived, and what the test cost.
//!
//! Owns which intervals count. One that was printed twice counts once. One that was omitted, is incomplete or
//! contradicts its own times has no rate. Must not know the sums at the end of a report.

use serde_json::Value;

use crate::iperf3::mode::Mode;
use crate::iperf3::report::json::{items, measured, number, number_at};
use crate::iperf3::report::plausibility;
use crate::iperf3::report::transfer::FlowDirection;

/// A last interval that is shorter than this part of the requested length is a remainder. It often carried a single
/// block, and its rate is that of a burst.
const COMPLETE_PART: f64 = 0.9;
/// How much an interval's length may differ from the distance between its start and its end. They differ by
/// microseconds, unless iperf3 reset its counters within an interval, at the end of the omitted seconds: then its bytes
/// cover only a part of it.
const SLACK_PART: f64 = 0.01;
/// The same limit for long intervals, in seconds: the omitted seconds in an interval do not grow with its length.
const SLACK_SECONDS: f64 = 0.05;
/// The length of an interval if the report does not contain it (before 3.17): iperf3's default.
const DEFAULT_SECONDS: f64 = 1.0;

/// The quantiles: in percent, and as the label has them.
pub(crate) const QUANTILE: [(usize, &str); 5] =
    [(0, "0"), (10, "0.1"), (50, "0.5"), (90, "0.9"), (100, "1")];

/// The rates of a direction's intervals, in bytes per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rates {
    /// At each [`QUANTILE`]: the smallest rate that at least this part of the intervals does not exceed.
    pub(crate) quantiles: [f64; QUANTILE.len()],
    pub(crate) sum: f64,
    pub(crate) count: f64,
}

impl Rates {
    fn of(mut rates: Vec<f64>) -> Option<Self> {
        rates.sort_unstable_by(f64::total_cmp);
        let mut quantiles = [0.0; QUANTILE.len()];
        for (value, (percent, _)) in quantiles.iter_mut().zip(QUANTILE) {
            // The nearest rank: a measured rate, not an interpolated one.
            let rank = (percent * rates.len()).div_ceil(100).max(1);
            *value = *rates.get(rank - 1)?;
        }
        Some(Self {
            quantiles,
            sum: rates.iter().sum(),
            count: rates.len() as f64,
        })
    }
}

/// Maximum number of intervals kept per direction for display: more than a plot has room for.
pub(crate) const MAX_KEPT: usize = 300;

/// The rate of a direction over one interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Interval {
    /// By iperf3's clock, from the start of the test.
    pub(crate) start_seconds: f64,
    pub(crate) end_seconds: f64,
    /// Bytes per second, over all streams.
    pub(crate) bytes_per_second: f64,
}

/// Returns at most `max` intervals. If there are more, neighbours are merged: what they carried, over their total time.
/// The time of an interval without a rate between them is left out.
pub(crate) fn merged(intervals: &[Interval], max: usize) -> Vec<Interval> {
    let mean = |intervals: &[Interval]| {
        let (first, last) = (intervals.first()?, intervals.last()?);
        let seconds = |one: &Interval| one.end_seconds - one.start_seconds;
        let carried = intervals
            .iter()
            .map(|one| one.bytes_per_second * seconds(one));
        Some(Interval {
            start_seconds: first.start_seconds,
            end_seconds: last.end_seconds,
            bytes_per_second: carried.sum::<f64>() / intervals.iter().map(seconds).sum::<f64>(),
        })
    };
    let together = intervals.len().div_ceil(max).max(1);
    intervals.chunks(together).filter_map(mean).collect()
}

/// A summary of a test's intervals, which are added one by one: from a document, or as a running iperf3 reports them.
/// No interval is kept whole.
#[derive(Clone, Debug)]
pub(crate) struct Intervals {
    mode: Mode,
    asked_seconds: f64,
    latest: Option<Mark>,
    upload: DirectionIntervals,
    download: DirectionIntervals,
}

/// What distinguishes an interval from the one before it: the start and end of its first stream, the bytes of all
/// streams, and their number.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Mark {
    start: Option<f64>,
    end: Option<f64>,
    bytes: f64,
    streams: usize,
}

/// A summary of the intervals of one direction.
#[derive(Clone, Debug, Default)]
struct DirectionIntervals {
    /// All bytes that could be read, including omitted intervals. An unreadable number does not hide the rest.
    bytes: Option<f64>,
    counted_bytes: Total,
    /// The intervals that have a rate.
    rated: Vec<Interval>,
    /// Whether the last one is a remainder. It has no rate unless another interval follows.
    ends_short: bool,
    samples: Samples,
}

/// A sum of numbers, which is `None` if one of them is missing.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    count: usize,
    sum: f64,
    is_broken: bool,
}

/// What the sender's system reported about its TCP connections at the ends of the counted intervals; times in
/// microseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples {
    pub(super) rtt: Spread,
    pub(super) rttvar: Spread,
    pub(super) window: Spread,
    /// The smallest path MTU in the last interval that counts.
    pub(super) path_mtu: Option<f64>,
}

/// A summary of samples.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spread {
    sum: f64,
    count: usize,
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
}

impl Intervals {
    /// No intervals yet.
    pub(crate) fn new(mode: Mode) -> Self {
        Self {
            mode,
            asked_seconds: DEFAULT_SECONDS,
            latest: None,
            upload: DirectionIntervals::default(),
            download: DirectionIntervals::default(),
        }
    }

    /// The intervals of this document, finished or not, for a test of this mode.
    pub(super) fn of(root: &Value, mode: Mode) -> Self {
        let mut all = Self::new(mode);
        if let Some(start) = root.get("start") {
            all.begin(start);
        }
        for interval in items(root.get("intervals")) {
            all.push(interval);
        }
        all
    }

    /// Reads the `start` part, which comes before the intervals.
    pub(super) fn begin(&mut self, start: &Value) {
        let asked = number_at(start, &["test_start", "interval"]);
        self.asked_seconds = asked.unwrap_or(DEFAULT_SECONDS);
    }

    /// Adds the next interval.
    pub(super) fn push(&mut self, interval: &Value) {
        let mark = Mark::of(interval);
        // A run that lost its server prints its last interval again, identical to the last digit.
        if self.latest.replace(mark) == Some(mark) {
            return;
        }
        let shortest = self.asked_seconds * COMPLETE_PART;
        // An interval's `sum` is not used. Up to 3.10, a bidirectional test has only the download's, and its `omitted`
        // is the state at the moment of printing.
        for direction in [FlowDirection::Upload, FlowDirection::Download] {
            let streams = items(interval.get("streams"));
            let streams: Vec<&Value> = streams
                .filter(|stream| direction.has(stream, self.mode))
                .collect();
            self.direction_mut(direction).push(&streams, shortest);
        }
    }

    /// All bytes of one direction that the client counted, including omitted intervals, as far as they can be read.
    /// `None` if intervals were disabled.
    pub(crate) fn bytes(&self, direction: FlowDirection) -> Option<f64> {
        self.direction(direction).bytes
    }

    /// The bytes of one direction that the client counted, without omitted intervals. If the client receives, this
    /// equals `sum_received` to the byte in the versions that have it.
    pub(super) fn counted_bytes(&self, direction: FlowDirection) -> Option<f64> {
        self.direction(direction).counted_bytes.get()
    }

    /// The rates of one direction: their summary, and the intervals for display.
    pub(super) fn seen(&self, direction: FlowDirection) -> (Option<Rates>, Vec<Interval>) {
        let intervals = self.rated(direction);
        let rates = intervals.iter().map(|interval| interval.bytes_per_second);
        (Rates::of(rates.collect()), merged(intervals, MAX_KEPT))
    }

    /// The intervals of one direction that have a rate, in order of time.
    pub(crate) fn rated(&self, direction: FlowDirection) -> &[Interval] {
        let DirectionIntervals {
            rated, ends_short, ..
        } = self.direction(direction);
        match rated.split_last() {
            Some((_, others)) if *ends_short => others,
            _ => rated,
        }
    }

    /// What the system reported about the connections of an upload.
    pub(super) fn samples(&self) -> &Samples {
        &self.upload.samples
    }

    fn direction(&self, direction: FlowDirection) -> &DirectionIntervals {
        match direction {
            FlowDirection::Upload => &self.upload,
            FlowDirection::Download => &self.download,
        }
    }

    fn direction_mut(&mut self, direction: FlowDirection) -> &mut DirectionIntervals {
        match direction {
            FlowDirection::Upload => &mut self.upload,
            FlowDirection::Download => &mut self.download,
        }
    }
}

impl Mark {
    fn of(interval: &Value) -> Self {
        let streams = || items(interval.get("streams"));
        let first_stream = |key| streams().next().and_then(|stream| number(stream, key));
        Self {
            start: first_stream("start"),
            end: first_stream("end"),
            bytes: streams().filter_map(|stream| number(stream, "bytes")).sum(),
            streams: streams().count(),
        }
    }
}

impl DirectionIntervals {
    /// Adds the streams of an interval. A last interval shorter than `shortest_seconds` is a remainder.
    fn push(&mut self, streams: &[&Value], shortest_seconds: f64) {
        for stream in streams {
            let bytes = number(stream, "bytes");
            if let Some(bytes) = bytes {
                *self.bytes.get_or_insert(0.0) += bytes;
            }
            if is_counted(stream) {
                self.counted_bytes.add(bytes);
            }
        }
        self.samples.push(streams);
        let rated = rated(streams);
        // A late timer makes the next interval short. Only the last interval can be cut off.
        let is_short = |stream: &&Value| number(stream, "seconds") < Some(shortest_seconds);
        self.ends_short = rated.is_some() && streams.iter().any(is_short);
        self.rated.extend(rated);
    }
}

impl Total {
    fn add(&mut self, number: Option<f64>) {
        self.count += 1;
        self.sum += number.unwrap_or(0.0);
        self.is_broken |= number.is_none();
    }

    fn get(self) -> Option<f64> {
        let is_known = self.count > 0 && !self.is_broken;
        plausibility::count(self.sum).filter(|_| is_known)
    }
}

impl Samples {
    fn push(&mut self, streams: &[&Value]) {
        let counted = || streams.iter().copied().filter(|stream| is_counted(stream));
        for stream in counted() {
            self.rtt.add(measured(stream, "rtt"));
            self.rttvar.add(measured(stream, "rttvar"));
            self.window.add(measured(stream, "snd_cwnd"));
        }
        if counted().next().is_some() {
            let path_mtus = counted().filter_map(|stream| measured(stream, "pmtu"));
            self.path_mtu = path_mtus.reduce(f64::min);
        }
    }
}

impl Spread {
    fn add(&mut self, sample: Option<f64>) {
        let Some(sample) = sample else { return };
        self.sum += sample;
        self.count += 1;
        self.min = Some(self.min.map_or(sample, |min| min.min(sample)));
        self.max = Some(self.max.map_or(sample, |max| max.max(sample)));
    }

    pub(super) fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

fn is_counted(stream: &Value) -> bool {
    stream.get("omitted") != Some(&Value::Bool(true))
}

/// The streams of one direction in an interval, as one interval, if they count.
fn rated(streams: &[&Value]) -> Option<Interval> {
    let first = streams.first()?;
    Some(Interval {
        start_seconds: number(first, "start")?,
        end_seconds: number(first, "end")?,
        bytes_per_second: streams
            .iter()
            .map(|stream| rate(stream))
            .sum::<Option<f64>>()?,
    })
}

/// Bytes per second of a stream in one interval, if it counts. `bits_per_second` is not used: it can be `null`.
fn rate(stream: &Value) -> Option<f64> {
    let seconds = number(stream, "seconds").filter(|seconds| *seconds > 0.0)?;
    let apart = number(stream, "end")? - number(stream, "start")?;
    let slack = SLACK_SECONDS.min(SLACK_PART * seconds);
    let is_whole = (apart - seconds).abs() <= slack;
    let is_good = is_counted(stream) && is_whole;
    plausibility::rate(number(stream, "bytes")?, seconds).filter(|_| is_good)
}

#[cfg(test)]
mod tests {
    use super::{Interval, Intervals, MAX_KEPT, Rates, merged};
    use crate::iperf3::mode::Mode;
    use crate::iperf3::report::transfer::FlowDirection;

    /// The quantiles of the rates.
    fn quantiles(rates: Vec<f64>) -> Option<[f64; 5]> {
        Rates::of(rates).map(|rates| rates.quantiles)
    }

    #[test]
    fn quantiles_are_rates_that_were_measured() {
        assert_eq!(quantiles(vec![7.0, 3.0]), Some([3.0, 3.0, 3.0, 7.0, 7.0]));
        assert_eq!(quantiles(vec![5.0]), Some([5.0; 5]));
        assert_eq!(quantiles(Vec::new()), None);
        for count in 1..500_u32 {
            let tenths = |part: u32| f64::from((part * count).div_ceil(10).max(1));
            let expected = [0, 1, 5, 9, 10].map(tenths);
            let rates = (1..=count).rev().map(f64::from).collect();
            assert_eq!(quantiles(rates), Some(expected), "{count}");
        }
        let rates = Rates::of(vec![2.0, 1.0, 4.0]).unwrap();
        assert_eq!((rates.sum, rates.count), (7.0, 3.0));
    }

    /// The rates of an upload with intervals of `(start, end, seconds, bytes, omitted)`.
    fn rates(asked: Option<f64>, intervals: &[(f64, f64, f64, f64, bool)]) -> Option<Rates> {
        let streams: Vec<serde_json::Value> = intervals
            .iter()
            .map(|(start, end, seconds, bytes, omitted)| {
                serde_json::json!({ "streams": [{
                    "start": start, "end": end, "seconds": seconds, "bytes": bytes,
                    "bits_per_second": null, "omitted": omitted, "sender": true,
                }] })
            })
            .collect();
        let test = match asked {
            Some(seconds) => serde_json::json!({ "interval": seconds }),
            None => serde_json::json!({}),
        };
        let root = serde_json::json!({ "start": { "test_start": test }, "intervals": streams });
        let intervals = Intervals::of(&root, Mode::Upload);
        assert_eq!(intervals.seen(FlowDirection::Download), (None, Vec::new()));
        intervals.seen(FlowDirection::Upload).0
    }

    #[test]
    fn merged_neighbours_fit_into_a_plot_and_keep_their_bytes() {
        let second = |at: u32| Interval {
            start_seconds: f64::from(at),
            end_seconds: f64::from(at + 1),
            bytes_per_second: f64::from(at),
        };
        let few: Vec<_> = (0..300).map(second).collect();
        assert_eq!(merged(&few, MAX_KEPT), few);
        let day: Vec<_> = (0..86_400).map(second).collect();
        let many = merged(&day, MAX_KEPT);
        assert!(many.len() <= MAX_KEPT, "{}", many.len());
        assert!(many.len() > MAX_KEPT / 2, "{}", many.len());
        let carried = |one: &Interval| one.bytes_per_second * (one.end_seconds - one.start_seconds);
        let sum: f64 = many.iter().map(carried).sum();
        assert!(
            (sum - f64::from(86_400 * 43_199_u32 + 43_200)).abs() < 1.0,
            "{sum}"
        );
        let mut ends: Vec<f64> = many.iter().map(|one| one.end_seconds).collect();
        let starts: Vec<f64> = many.iter().map(|one| one.start_seconds).collect();
        ends.insert(0, 0.0);
        assert_eq!(ends.pop(), Some(86_400.0));
        assert_eq!(ends, starts);
    }

    #[test]
    fn an_unreadable_number_does_not_hide_the_cost_of_the_others() {
        let interval = |start: u32, bytes: &serde_json::Value| {
            serde_json::json!({ "streams": [{
                "start": start, "end": start + 1, "seconds": 1, "bytes": bytes, "omitted": start == 0, "sender": true,
            }] })
        };
        for unreadable in [
            serde_json::json!(null),
            serde_json::json!(-1),
            serde_json::json!(1e300),
            serde_json::json!("7"),
        ] {
            let intervals = [&1.into(), &20.into(), &unreadable, &300.into()];
            let intervals: Vec<_> = (0..).zip(intervals).collect();
            let intervals: Vec<_> = intervals
                .iter()
                .map(|(at, bytes)| interval(*at, bytes))
                .collect();
            let intervals =
                Intervals::of(&serde_json::json!({ "intervals": intervals }), Mode::Upload);
            assert_eq!(
                intervals.bytes(FlowDirection::Upload),
                Some(321.0),
                "{unreadable}"
            );
            // A measurement must be complete.
            assert_eq!(
                intervals.counted_bytes(FlowDirection::Upload),
                None,
                "{unreadable}"
            );
            assert_eq!(intervals.bytes(FlowDirection::Download), None);
        }
    }

    #[test]
    fn omitted_partial_repeated_and_broken_intervals_have_no_rate() {
        let whole = (0.0, 1.0, 1.0, 100.0, false);
        let half_speed = (1.0, 3.0, 2.0, 100.0, false);
        let sum = |asked, intervals: &[_]| rates(asked, intervals).map(|rates| rates.sum);
        // Rates are per second of the interval's own length.
        assert_eq!(sum(None, &[whole, half_speed]), Some(150.0));
        assert_eq!(sum(None, &[whole, (0.0, 1.0, 1.0, 9.0, true)]), Some(100.0));
        assert_eq!(
            sum(None, &[whole, (1.0, 1.2, 0.2, 9.0, false)]),
            Some(100.0)
        );
        assert_eq!(sum(None, &[whole, whole]), Some(100.0));
        // A late timer: the interval is short, but not the last.
        let short = (0.0, 0.5, 0.5, 100.0, false);
        assert_eq!(
            sum(None, &[short, (0.5, 1.5, 1.0, 100.0, false)]),
            Some(300.0)
        );
        // The counters were reset within the interval: 2 seconds long, with the bytes of one.
        assert_eq!(sum(None, &[(1.0, 1.0, 2.0, 100.0, false)]), None);
        // The same for a long interval.
        let long = |seconds| sum(Some(200.0), &[(0.0, 200.0, seconds, 4000.0, false)]);
        assert_eq!((long(201.0), long(200.06)), (None, None));
        assert!(long(200.04).is_some());
        // A remainder is judged by the requested length.
        assert_eq!(sum(Some(5.0), &[whole]), None);
        assert_eq!(sum(Some(5.0), &[(0.0, 5.0, 5.0, 100.0, false)]), Some(20.0));
        assert_eq!(sum(Some(0.5), &[short]), Some(200.0));
        assert_eq!(sum(None, &[(0.0, 0.0, 0.0, 100.0, false)]), None);
        // No clock gives such a time, and no network such a rate.
        let boundless = (0.0, 1e-300, 1e-300, 1e15, false);
        assert_eq!(sum(None, &[boundless, whole]), Some(100.0));
        assert_eq!(
            sum(None, &[whole, (0.0, 1.0, 1.0, 1e308, false)]),
            Some(100.0)
        );
        assert_eq!(sum(None, &[]), None);
    }
}
