//! What the sender's system knows of its TCP connections.
//!
//! Owns whose and which samples these are: iperf3 asks the sockets of this end, at the end of each interval, so only
//! an upload has them. A reverse test prints zeros in their place, and the reverse direction of a bidirectional one
//! a sample of a socket that sends nothing.

use serde_json::Value;

use super::intervals::Intervals;
use super::json::{longest, measured, total};
use super::transfer::Way;

/// TCP as the sender sees it; times in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tcp {
    /// The smoothed round-trip time.
    pub(crate) rtt: Option<Rtt>,
    /// The mean of the samples of its variation.
    pub(crate) rttvar_seconds: Option<f64>,
    /// The largest congestion window of any stream.
    pub(crate) window_max_bytes: Option<f64>,
    /// The path's MTU at the end of the test.
    pub(crate) path_mtu_bytes: Option<f64>,
    /// How often reordering was seen.
    pub(crate) reorderings: Option<f64>,
}

/// The smoothed round-trip time in seconds, over all samples of all streams.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rtt {
    /// The least.
    pub(crate) min: f64,
    /// The mean of the streams' means.
    pub(crate) mean: f64,
    /// The most.
    pub(crate) max: f64,
}

/// iperf3's times are in microseconds.
const MICROSECONDS: f64 = 1e6;

impl Tcp {
    /// That of an upload: `sides` are the sending sides of its streams in the part `end`.
    pub(super) fn of_upload(sides: &[&Value], intervals: &Intervals<'_>, omits: bool) -> Self {
        let counted: Vec<Vec<&Value>> = intervals.counted(Way::Up).collect();
        let samples = |key| -> Vec<f64> {
            let values = counted.iter().flatten();
            values.filter_map(|value| measured(value, key)).collect()
        };
        // iperf3's own figures at the end are over the omitted seconds too.
        let sides = if omits { &[] } else { sides };
        let path_mtus = counted.last().into_iter().flatten();
        Self {
            rtt: Rtt::of_end(sides).or_else(|| Rtt::of_samples(&samples("rtt"))),
            rttvar_seconds: mean(&samples("rttvar")).map(|mean| mean / MICROSECONDS),
            window_max_bytes: longest(sides, "max_snd_cwnd")
                .or_else(|| samples("snd_cwnd").into_iter().reduce(f64::max))
                .filter(|window| *window > 0.0),
            path_mtu_bytes: path_mtus
                .filter_map(|stream| measured(stream, "pmtu"))
                .reduce(f64::min),
            reorderings: total(sides, "reorder"),
        }
    }
}

impl Rtt {
    /// As iperf3 says it for each stream.
    fn of_end(sides: &[&Value]) -> Option<Self> {
        let all = |key| -> Vec<f64> {
            let values = sides.iter().filter_map(|side| measured(side, key));
            values.collect()
        };
        Some(Self {
            min: all("min_rtt").into_iter().reduce(f64::min)? / MICROSECONDS,
            mean: mean(&all("mean_rtt"))? / MICROSECONDS,
            max: all("max_rtt").into_iter().reduce(f64::max)? / MICROSECONDS,
        })
    }

    /// From the samples in the intervals.
    fn of_samples(samples: &[f64]) -> Option<Self> {
        let samples = || samples.iter().copied();
        Some(Self {
            min: samples().reduce(f64::min)? / MICROSECONDS,
            mean: samples().sum::<f64>() / samples().len() as f64 / MICROSECONDS,
            max: samples().reduce(f64::max)? / MICROSECONDS,
        })
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    values.first()?;
    Some(values.iter().sum::<f64>() / values.len() as f64)
}
