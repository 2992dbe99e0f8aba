//! The parameters of a probe: typed values, each within its range, and what follows from several of them.
//!
//! Must not know how a value is written in a query, or how it becomes an argument of iperf3.

use std::fmt;
use std::time::Duration;

use crate::iperf3::Mode;
use crate::iperf3::target::{self, Host};
use crate::iperf3::temp::TempFiles;
use crate::log::Value;
use crate::probe::values;

/// iperf3's own default port (iperf3(1), `-p`).
pub(super) const DEFAULT_PORT: u16 = 5201;
/// Default seconds to transmit, the same as in the exporters that this one replaces.
pub(super) const DEFAULT_PERIOD_SECONDS: u64 = 5;
/// Bitrate of each UDP stream when no bitrate is given (`UDP_RATE` in iperf.h).
const UDP_BITS_PER_SECOND: f64 = 1_048_576.0;
/// Maximum number of intervals in a report, over all streams. One takes about 450 bytes of JSON. So the report of any
/// allowed test, even of 24 hours and 128 streams, stays far below `process::OUTPUT_LIMIT_BYTES` and needs little
/// memory.
const STREAM_INTERVALS_LIMIT: u64 = 4096;
/// The same limit for a streamed report, which is read while the test runs. At 450 bytes each that is 90 MB, below
/// `process::READ_LIMIT_BYTES`. A test of 128 streams and 25 minutes still has an interval of one second.
const STREAMED_INTERVALS_LIMIT: u64 = 200_000;
/// Maximum number of intervals of a streamed report, whatever the number of streams. These are kept and drawn.
const KEPT_INTERVALS_LIMIT: u64 = 4096;
/// iperf3's longest interval (`MAX_INTERVAL` in iperf.h).
const INTERVAL_LIMIT_SECONDS: u64 = 60;

/// The ports of a server: one, or a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) first: u16,
    pub(crate) last: u16,
}

impl Ports {
    /// Maximum number of ports of one server: a probe is not a port scan.
    const MAX: u16 = 32;

    pub(super) fn one(port: u16) -> Self {
        Self {
            first: port,
            last: port,
        }
    }

    /// Parses one port, or the first and the last port of a range.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let Some((first, last)) = text.split_once('-') else {
            return Some(Self::one(target::parse_port(text)?));
        };
        let (first, last) = (target::parse_port(first)?, target::parse_port(last)?);
        let count = last.checked_sub(first)?;
        (count < Self::MAX).then_some(Self { first, last })
    }

    /// The port to try after `port`. The first one follows the last.
    pub(crate) fn after(self, port: u16) -> u16 {
        if port >= self.last {
            self.first
        } else {
            port + 1
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl Value for Ports {
    fn is_json(&self) -> bool {
        self.first == self.last
    }
}

/// Parameters whose values are independent of each other. `None`, 0 and false mean the default of iperf3 or the system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "they are iperf3's switches")]
pub(crate) struct Options {
    pub(crate) udp: bool,
    /// Target bitrate as iperf3 reads it.
    pub(crate) bitrate: Option<String>,
    /// Streams in each direction. Never 1, which is iperf3's default.
    pub(crate) parallel: Option<u8>,
    /// Local address, optionally with `%device`.
    pub(crate) bind: Option<String>,
    /// Seconds to transmit before the period begins.
    pub(crate) omit_seconds: u64,
    /// Bytes after which the test ends, instead of a period.
    pub(crate) bytes: Option<u64>,
    pub(crate) connect_timeout_ms: Option<u32>,
    /// IP version, 4 or 6.
    pub(crate) family: Option<u8>,
    pub(crate) bind_dev: Option<String>,
    /// Local port of the first stream.
    pub(crate) cport: Option<u16>,
    /// Socket buffers in bytes.
    pub(crate) window: Option<u32>,
    /// Bytes per block, or per datagram.
    pub(crate) length: Option<u32>,
    /// Maximum segment size in bytes.
    pub(crate) mss: Option<u16>,
    pub(crate) congestion: Option<String>,
    /// DSCP class of the packets, a number or a name.
    pub(crate) dscp: Option<String>,
    /// The whole type-of-service byte.
    pub(crate) tos: Option<u8>,
    /// Pacing rate of the kernel, in bits per second.
    pub(crate) fq_rate: Option<u64>,
    pub(crate) no_delay: bool,
    pub(crate) zero_copy: bool,
    pub(crate) dont_fragment: bool,
    pub(crate) mptcp: bool,
    pub(crate) sctp: bool,
    /// Maximum age of a stored result that is accepted instead of a new test.
    pub(crate) max_age: Option<Duration>,
    /// Whether to respond with a report of the probe instead of only its metrics.
    pub(crate) debug: bool,
}

/// The parameters of a probe, each within its range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Params {
    pub(crate) host: Host,
    /// Its ports. The first one that is not busy is used.
    pub(crate) ports: Ports,
    /// Seconds to transmit. With `options.bytes`, which ends the test instead, this is 1, the minimum.
    pub(crate) period_seconds: u64,
    pub(crate) mode: Mode,
    pub(crate) options: Options,
}

/// One attempt at a test: the parameters, and the values chosen for this attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Selected<'a> {
    pub(crate) params: &'a Params,
    /// The port to use.
    pub(crate) port: u16,
    /// Seconds to transmit; may be fewer than requested.
    pub(crate) period_seconds: u64,
    /// The run is stopped after this many seconds at the latest.
    pub(crate) limit_seconds: u64,
    /// The IP version to use when the parameter `family` is absent.
    pub(crate) family: Option<u8>,
    /// Connect timeout when the parameter `connect_timeout` is absent. The default applies if it is shorter.
    pub(crate) connect_limit_ms: Option<u32>,
}

/// The values found in a query so far. The `set` functions of the rows fill it.
#[derive(Default)]
pub(super) struct Builder {
    pub(super) target: Option<(Host, Option<u16>)>,
    pub(super) ports: Option<Ports>,
    pub(super) period_seconds: Option<u64>,
    pub(super) reverse: bool,
    pub(super) bidirectional: bool,
    pub(super) options: Options,
}

impl Params {
    /// Everything that affects the test, and nothing that affects only the answer. Probes with the same value want the
    /// same measurement.
    pub(crate) fn test(&self) -> Self {
        let mut test = self.clone();
        test.options.max_age = None;
        test.options.debug = false;
        test
    }

    /// Streams in each direction.
    pub(crate) fn parallel(&self) -> u8 {
        self.options.parallel.unwrap_or(1)
    }

    /// Duration in seconds of a test with this period, including the omitted seconds. `None` when bytes end the test
    /// and no bitrate determines how long they take.
    pub(crate) fn length_seconds(&self, period_seconds: u64) -> Option<u64> {
        let omit = self.options.omit_seconds;
        let Some(bytes) = self.options.bytes else {
            return Some(omit + period_seconds);
        };
        let rate = self.bits_per_second()? * f64::from(self.parallel());
        let whole = Duration::try_from_secs_f64(bytes as f64 * 8.0 / rate).ok()?;
        Some(omit + whole.as_secs() + 1)
    }

    /// Bitrate of each stream; `None` when it is unlimited.
    pub(crate) fn bits_per_second(&self) -> Option<f64> {
        let rate = match &self.options.bitrate {
            Some(bitrate) => values::bits_per_second(bitrate)?,
            None if self.options.udp => UDP_BITS_PER_SECOND,
            None => return None,
        };
        // 0 means unlimited.
        (rate > 0.0).then_some(rate)
    }

    /// Minimum duration of such a test in seconds. With less time left, it is not worth starting.
    pub(crate) fn least_seconds(&self, period_seconds: u64) -> u64 {
        let least = self.options.omit_seconds + 1;
        self.length_seconds(period_seconds).unwrap_or(least)
    }

    /// Temporary files that iperf3 creates for the test. Without `length`, the size of a datagram depends on the MTU of
    /// the path, so the upper limit is used.
    pub(crate) fn temp_files(&self) -> TempFiles {
        const DATAGRAM_LIMIT_BYTES: u32 = 64 * 1024;
        let length = self.options.length.map(u64::from);
        let is_short = self.options.udp || self.options.sctp;
        let default = is_short.then_some(u64::from(DATAGRAM_LIMIT_BYTES));
        let bytes_each = length.or(default);
        TempFiles {
            count: u64::from(self.parallel()) * u64::from(self.mode.directions()),
            bytes_each: bytes_each.unwrap_or(TempFiles::ONE_STREAM.bytes_each),
        }
    }

    /// Host and ports of the server as one string: `foo.server:5201`, `[::1]:5201`, `foo.server:5201-5209`.
    pub(crate) fn server(&self) -> String {
        match self.host.as_str() {
            host if host.contains(':') => format!("[{host}]:{}", self.ports),
            host => format!("{host}:{}", self.ports),
        }
    }
}

impl Selected<'_> {
    /// The interval to request; `None` keeps iperf3's default of one second, 0 disables intervals.
    pub(super) fn interval_seconds(&self, streams: bool) -> Option<u64> {
        let Self {
            params,
            limit_seconds,
            ..
        } = *self;
        // A test without a known length ends after a number of bytes, so its limit is used. From iperf3 3.16 on, such a
        // test continues to the end of its interval. So an interval of more than a second is requested only when the
        // report would otherwise grow too long.
        let length = params.length_seconds(self.period_seconds);
        let seconds = length.map_or(limit_seconds, |length| length.min(limit_seconds));
        let intervals =
            seconds * u64::from(params.parallel()) * u64::from(params.mode.directions());
        let needed = if streams {
            let of_all_streams = intervals.div_ceil(STREAMED_INTERVALS_LIMIT);
            of_all_streams.max(seconds.div_ceil(KEPT_INTERVALS_LIMIT))
        } else {
            intervals.div_ceil(STREAM_INTERVALS_LIMIT)
        };
        match needed {
            0 | 1 => None,
            seconds if seconds <= INTERVAL_LIMIT_SECONDS => Some(seconds),
            // The page and the budget need intervals. From iperf3 3.16 on, a test that bytes end checks only at the end
            // of an interval whether it is over.
            _ if streams || length.is_none() => Some(INTERVAL_LIMIT_SECONDS),
            _ => Some(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Params, Selected};

    #[test]
    fn a_test_is_as_long_as_what_ends_it() {
        for (query, length, least) in [
            ("target=a", Some(5), 5),
            ("target=a&omit=3", Some(8), 8),
            ("target=a&bytes=1G", None, 1),
            ("target=a&bytes=1G&omit=3", None, 4),
            ("target=a&bytes=1G&bitrate=0", None, 1),
            // 10 MB at 4 times 10 Mbit/s take 2 s, plus one second and `omit`.
            (
                "target=a&bytes=10000000&bitrate=10M&parallel=4&omit=2",
                Some(5),
                5,
            ),
            // 1 MiB at the default of UDP, 1 Mibit/s.
            ("target=a&bytes=1M&udp_mode=1", Some(9), 9),
        ] {
            let params = Params::parse(query).unwrap();
            assert_eq!(
                params.length_seconds(params.period_seconds),
                length,
                "{query}"
            );
            assert_eq!(
                params.least_seconds(params.period_seconds),
                least,
                "{query}"
            );
        }
    }

    /// Longer than a test of a whole day.
    const LIMIT_SECONDS: u64 = 90_000;

    fn interval(query: &str, limit_seconds: u64, streams: bool) -> Option<u64> {
        let params = Params::parse(query).unwrap();
        Selected {
            params: &params,
            port: params.ports.first,
            period_seconds: params.period_seconds,
            limit_seconds,
            family: None,
            connect_limit_ms: None,
        }
        .interval_seconds(streams)
    }

    #[test]
    fn tests_of_bytes_keep_the_default_interval_while_the_report_is_short() {
        for (query, limit_seconds, expected) in [
            ("target=a&bytes=10M", 30, None),
            ("target=a&bytes=10M", 4096, None),
            ("target=a&bytes=10M&parallel=128", 30, None),
            (
                "target=a&bytes=10M&parallel=128&bidirectional=1",
                250,
                Some(16),
            ),
        ] {
            assert_eq!(interval(query, limit_seconds, false), expected, "{query}");
        }
    }

    #[test]
    fn long_tests_of_many_streams_have_fewer_intervals() {
        for (query, expected) in [
            ("target=a&period=60s&parallel=64", None),
            ("target=a&period=60s&parallel=128", Some(2)),
            ("target=a&period=60s&parallel=128&bidirectional=1", Some(4)),
            ("target=a&period=1h", None),
            ("target=a&period=24h", Some(22)),
            ("target=a&period=24h&parallel=128", Some(0)),
            // Tests that end after a number of bytes, with and without a known length, and one with omitted seconds.
            ("target=a&bytes=1M&bitrate=8M&parallel=128", None),
            ("target=a&period=30s&omit=30s&parallel=128", Some(2)),
            ("target=a&bytes=1024G", Some(22)),
            ("target=a&bytes=1024G&parallel=128", Some(60)),
            ("target=a&bytes=1G&bitrate=1M&parallel=1", Some(3)),
        ] {
            assert_eq!(interval(query, LIMIT_SECONDS, false), expected, "{query}");
        }
    }

    #[test]
    fn streamed_tests_always_have_intervals() {
        for (query, expected) in [
            ("target=a&period=10m&parallel=128", None),
            ("target=a&period=10m&parallel=128&bidirectional=1", None),
            ("target=a&period=1h&parallel=128", Some(3)),
            ("target=a&period=1h&parallel=50", None),
            ("target=a&period=24h&parallel=2", Some(22)),
            ("target=a&period=24h&parallel=128&bidirectional=1", Some(60)),
        ] {
            assert_eq!(interval(query, LIMIT_SECONDS, true), expected, "{query}");
        }
    }
}
