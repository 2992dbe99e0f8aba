//! iperf3's intervals: how steady a direction was, what arrived in them, and what they cost.
//!
//! Owns which intervals count: one that was printed twice counts once, and one that was omitted, is incomplete or
//! does not fit its own times has no rate. Must not know the sums at the end of a report.

use serde_json::Value;

use crate::iperf3::mode::Mode;
use crate::iperf3::report::json::{items, measured, number, number_at};
use crate::iperf3::report::plausibility;
use crate::iperf3::report::transfer::FlowDirection;

/// A last interval that is shorter than this part of the asked length is a remainder: what it carried is often a
/// single block, and its rate that of a burst.
const COMPLETE_PART: f64 = 0.9;
/// How far an interval's own length may be from the distance of its ends. They differ by microseconds, except where
/// iperf3 set its counters back amid an interval, at the end of the omitted seconds: then its bytes are of a part.
const SLACK_PART: f64 = 0.01;
/// The same for long intervals: the omitted seconds that are in them are no part of them that grows.
const SLACK_SECONDS: f64 = 0.05;
/// Seconds of an interval where the report does not say (before 3.17): iperf3's default, and never set otherwise.
const DEFAULT_SECONDS: f64 = 1.0;

/// The quantiles that are taken: in percent, and as the label has them.
pub(crate) const QUANTILE: [(usize, &str); 5] =
    [(0, "0"), (10, "0.1"), (50, "0.5"), (90, "0.9"), (100, "1")];

/// The rates of a direction's intervals, in bytes a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rates {
    /// At each of [`QUANTILE`]: the smallest rate that at least this part of the intervals do not exceed.
    pub(crate) quantiles: [f64; QUANTILE.len()],
    pub(crate) sum: f64,
    pub(crate) count: f64,
}

impl Rates {
    fn of(mut rates: Vec<f64>) -> Option<Self> {
        rates.sort_unstable_by(f64::total_cmp);
        let mut quantiles = [0.0; QUANTILE.len()];
        for (value, (percent, _)) in quantiles.iter_mut().zip(QUANTILE) {
            // The nearest rank: a rate that was measured, not one between two.
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

/// Most intervals of a direction that are kept for people to look at: more than a plot has room for.
pub(crate) const MAX_KEPT: usize = 300;

/// How fast a direction was for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Interval {
    /// By iperf3's clock, from the begin of the test.
    pub(crate) start_seconds: f64,
    pub(crate) end_seconds: f64,
    /// Bytes a second, of all streams together.
    pub(crate) bytes_per_second: f64,
}

/// At most `max` intervals: where there are more, neighbours become one, with what they carried over the time of all. An
/// interval without a rate that lay between them is left out.
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

/// What the intervals of a test amount to, taken one after the other: of a document, or as a running iperf3 says them.
/// None of them is kept whole.
#[derive(Clone, Debug)]
pub(crate) struct Intervals {
    mode: Mode,
    asked_seconds: f64,
    latest: Option<Mark>,
    upload: DirectionIntervals,
    download: DirectionIntervals,
}

/// What tells an interval from the one before it: the ends of its first stream, the bytes of all, and how many they are.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Mark {
    start: Option<f64>,
    end: Option<f64>,
    bytes: f64,
    streams: usize,
}

/// What the intervals of one direction amount to.
#[derive(Clone, Debug, Default)]
struct DirectionIntervals {
    /// All that could be read, the omitted ones too: one number that cannot be read does not hide what the rest cost.
    bytes: Option<f64>,
    counted_bytes: Total,
    /// Those that have a rate.
    rated: Vec<Interval>,
    /// Whether the last one is a remainder: it has no rate unless another one comes.
    ends_short: bool,
    samples: Samples,
}

/// A sum of numbers, which is none when one of them is missing.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    count: usize,
    sum: f64,
    is_broken: bool,
}

/// What the sender's system said of its TCP connections at the ends of the intervals that count; times in microseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples {
    pub(super) rtt: Spread,
    pub(super) rttvar: Spread,
    pub(super) window: Spread,
    /// The smallest path MTU in the last interval that counts.
    pub(super) path_mtu: Option<f64>,
}

/// What samples amount to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spread {
    sum: f64,
    count: usize,
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
}

impl Intervals {
    /// No interval so far.
    pub(crate) fn new(mode: Mode) -> Self {
        Self {
            mode,
            asked_seconds: DEFAULT_SECONDS,
            latest: None,
            upload: DirectionIntervals::default(),
            download: DirectionIntervals::default(),
        }
    }

    /// Those of this document, finished or not, for a test of this mode.
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

    /// Takes the part `start`, which comes before the intervals.
    pub(super) fn begin(&mut self, start: &Value) {
        let asked = number_at(start, &["test_start", "interval"]);
        self.asked_seconds = asked.unwrap_or(DEFAULT_SECONDS);
    }

    /// Takes the next interval.
    pub(super) fn push(&mut self, interval: &Value) {
        let mark = Mark::of(interval);
        // A run that lost its server prints its last interval again, to the last digit.
        if self.latest.replace(mark) == Some(mark) {
            return;
        }
        let shortest = self.asked_seconds * COMPLETE_PART;
        // An interval's `sum` is not asked: up to 3.10 a bidirectional test has the download's only, and its `omitted`
        // is that of the moment.
        for direction in [FlowDirection::Upload, FlowDirection::Download] {
            let streams = items(interval.get("streams"));
            let streams: Vec<&Value> = streams
                .filter(|stream| direction.has(stream, self.mode))
                .collect();
            self.direction_mut(direction).push(&streams, shortest);
        }
    }

    /// All bytes of one direction that this end counted, the omitted ones too, as far as they can be read. None when
    /// intervals were switched off.
    pub(crate) fn bytes(&self, direction: FlowDirection) -> Option<f64> {
        self.direction(direction).bytes
    }

    /// The bytes of one direction that this end counted, omitted intervals left out: where this end receives, to the
    /// byte what `sum_received` says in the versions that have one.
    pub(super) fn counted_bytes(&self, direction: FlowDirection) -> Option<f64> {
        self.direction(direction).counted_bytes.get()
    }

    /// How fast one direction was: what its intervals' rates amount to, and the intervals for people to look at.
    pub(super) fn seen(&self, direction: FlowDirection) -> (Option<Rates>, Vec<Interval>) {
        let intervals = self.rated(direction);
        let rates = intervals.iter().map(|interval| interval.bytes_per_second);
        (Rates::of(rates.collect()), merged(intervals, MAX_KEPT))
    }

    /// The intervals of one direction that have a rate, in the order of time.
    pub(crate) fn rated(&self, direction: FlowDirection) -> &[Interval] {
        let DirectionIntervals {
            rated, ends_short, ..
        } = self.direction(direction);
        match rated.split_last() {
            Some((_, others)) if *ends_short => others,
            _ => rated,
        }
    }

    /// What the system said of the connections of an upload.
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
    /// Takes the streams of an interval; a last one that is shorter than this is a remainder.
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
        // Timers that are late make the interval behind a short one; only the last can be cut off.
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

/// The streams of one direction in an interval, as one, when they count.
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

/// Bytes a second of a stream in one interval, when it counts. `bits_per_second` is not asked: it can be `null`.
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

    /// The rates' quantiles, or none.
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

    /// The rates of an upload's intervals of `(start, end, seconds, bytes, omitted)`.
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
    fn neighbours_become_one_until_a_plot_has_room_and_carry_what_they_carried() {
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
    fn a_number_that_cannot_be_read_does_not_hide_the_cost_of_the_others() {
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
            // What is measured has to be whole.
            assert_eq!(
                intervals.counted_bytes(FlowDirection::Upload),
                None,
                "{unreadable}"
            );
            assert_eq!(intervals.bytes(FlowDirection::Download), None);
        }
    }

    #[test]
    fn omitted_remaining_doubled_and_broken_intervals_have_no_rate() {
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
        // Late timers: short, but not the last.
        let short = (0.0, 0.5, 0.5, 100.0, false);
        assert_eq!(
            sum(None, &[short, (0.5, 1.5, 1.0, 100.0, false)]),
            Some(300.0)
        );
        // The counters were set back in the midst of it: 2 seconds long with the bytes of one.
        assert_eq!(sum(None, &[(1.0, 1.0, 2.0, 100.0, false)]), None);
        // However long it is.
        let long = |seconds| sum(Some(200.0), &[(0.0, 200.0, seconds, 4000.0, false)]);
        assert_eq!((long(201.0), long(200.06)), (None, None));
        assert!(long(200.04).is_some());
        // The asked length is what a remainder is held against.
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
