//! What the sender's system knows about its TCP connections.
//!
//! Owns where these samples come from. iperf3 reads them from the client's sockets at the end of each interval, so only
//! an upload has them. A reverse test prints zeros in their place. For the reverse direction of a bidirectional test,
//! it prints samples of a socket that sends nothing.

use serde_json::Value;

use super::intervals::{Intervals, Spread};
use super::json::{at, longest, measured, total};
use super::plausibility;

/// TCP as the sender sees it; times in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tcp {
    pub(crate) rtt: Option<Rtt>,
    /// The mean of the sampled round-trip time variations.
    pub(crate) rttvar_seconds: Option<f64>,
    /// The largest congestion window of any stream.
    pub(crate) window_max_bytes: Option<f64>,
    /// The segment size of the control connection, which has the same direction as the data.
    pub(crate) mss_bytes: Option<f64>,
    /// The path MTU at the end of the test.
    pub(crate) path_mtu_bytes: Option<f64>,
    /// How often reordering was detected.
    pub(crate) reorderings: Option<f64>,
}

/// The smoothed round-trip time in seconds, over all samples of all streams.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rtt {
    pub(crate) min: f64,
    /// The mean of the streams' means.
    pub(crate) mean: f64,
    pub(crate) max: f64,
}

/// iperf3's times are in microseconds.
const MICROSECONDS: f64 = 1e6;

impl Tcp {
    /// The values of an upload. `sides` are the sending sides of its streams in the `end` part.
    pub(super) fn from_upload(
        root: &Value,
        sides: &[&Value],
        intervals: &Intervals,
        omits: bool,
    ) -> Self {
        let samples = intervals.samples();
        // iperf3's own figures in `end` include the omitted seconds.
        let sides = if omits { &[] } else { sides };
        let at_end = |key| all(sides.iter().copied(), key);
        Self {
            rtt: Rtt::of(&at_end("min_rtt"), &at_end("mean_rtt"), &at_end("max_rtt"))
                .or_else(|| Rtt::from_samples(&samples.rtt)),
            rttvar_seconds: samples.rttvar.mean().map(|mean| mean / MICROSECONDS),
            window_max_bytes: longest(sides, "max_snd_cwnd")
                .or(samples.window.max)
                .filter(|window| *window > 0.0),
            // With `-M` there is `tcp_mss` instead, which is the requested value and not the resulting one.
            mss_bytes: at(root, &["start"]).and_then(|start| measured(start, "tcp_mss_default")),
            path_mtu_bytes: samples.path_mtu,
            reorderings: total(sides, "reorder").and_then(plausibility::counter),
        }
    }
}

impl Rtt {
    fn from_samples(samples: &Spread) -> Option<Self> {
        Some(Self {
            min: samples.min? / MICROSECONDS,
            mean: samples.mean()? / MICROSECONDS,
            max: samples.max? / MICROSECONDS,
        })
    }

    /// From iperf3's values for each stream, in microseconds.
    fn of(min: &[f64], means: &[f64], max: &[f64]) -> Option<Self> {
        Some(Self {
            min: min.iter().copied().reduce(f64::min)? / MICROSECONDS,
            mean: mean(means)? / MICROSECONDS,
            max: max.iter().copied().reduce(f64::max)? / MICROSECONDS,
        })
    }
}

/// The measured values of a key.
fn all<'a>(values: impl Iterator<Item = &'a Value>, key: &str) -> Vec<f64> {
    values.filter_map(|value| measured(value, key)).collect()
}

fn mean(values: &[f64]) -> Option<f64> {
    values.first()?;
    Some(values.iter().sum::<f64>() / values.len() as f64)
}
