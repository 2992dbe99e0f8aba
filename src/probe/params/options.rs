//! What a probe is asked to do: typed values, each within its range, and what follows from several of them.
//!
//! Must not know how a value is written in a query, or how it becomes a word of iperf3's.

use std::fmt;
use std::time::Duration;

use crate::iperf3::Mode;
use crate::iperf3::target::{self, Host};
use crate::iperf3::temp::TempFiles;
use crate::log::Value;
use crate::probe::values;

/// iperf3's own default port (iperf3(1), `-p`).
pub(super) const DEFAULT_PORT: u16 = 5201;
/// Seconds a test transmits when nothing is said, as the exporters that this one replaces have it.
pub(super) const DEFAULT_PERIOD_SECONDS: u64 = 5;
/// What each UDP stream sends when no bitrate is given (`UDP_RATE` in iperf.h).
const UDP_BITS_PER_SECOND: f64 = 1_048_576.0;
/// Most intervals that a report may carry, counted over all streams. One takes some 450 bytes of JSON, so that
/// the report of every test that can be asked for, 24 hours of 128 streams included, stays far below
/// `process::OUTPUT_LIMIT_BYTES` and is read in little memory.
const STREAM_INTERVALS_LIMIT: u64 = 4096;
/// iperf3's longest interval (`MAX_INTERVAL` in iperf.h).
const INTERVAL_LIMIT_SECONDS: u64 = 60;

/// The ports of a server, one or several in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) first: u16,
    pub(crate) last: u16,
}

impl Ports {
    /// Most ports of one server: a probe is no port scan.
    const MAX: u16 = 32;

    pub(super) fn one(port: u16) -> Self {
        Self {
            first: port,
            last: port,
        }
    }

    /// Reads one port, or the first and the last of some in a row.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let Some((first, last)) = text.split_once('-') else {
            return Some(Self::one(target::parse_port(text)?));
        };
        let (first, last) = (target::parse_port(first)?, target::parse_port(last)?);
        let count = last.checked_sub(first)?;
        (count < Self::MAX).then_some(Self { first, last })
    }

    /// The one to try after `port`; the first again behind the last.
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

/// The parameters whose values are independent of each other: `None`, 0 and false leave it to iperf3 and the system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "they are iperf3's switches")]
pub(crate) struct Options {
    pub(crate) udp: bool,
    /// Target bitrate as iperf3 reads it.
    pub(crate) bitrate: Option<String>,
    /// Streams each way; never 1, which is iperf3's own number.
    pub(crate) parallel: Option<u8>,
    /// Local address, `address%device` too.
    pub(crate) bind: Option<String>,
    /// Seconds to transmit before the period begins.
    pub(crate) omit_seconds: u64,
    /// What ends the test instead of the period.
    pub(crate) bytes: Option<u64>,
    pub(crate) connect_timeout_ms: Option<u32>,
    /// Version of IP, 4 or 6.
    pub(crate) family: Option<u8>,
    pub(crate) bind_dev: Option<String>,
    /// Local port of the first stream.
    pub(crate) cport: Option<u16>,
    /// Socket buffers in bytes.
    pub(crate) window: Option<u32>,
    /// Bytes of a block, or of a datagram.
    pub(crate) length: Option<u32>,
    /// Largest segment in bytes.
    pub(crate) mss: Option<u16>,
    pub(crate) congestion: Option<String>,
    /// Class of the packets, a number or a name.
    pub(crate) dscp: Option<String>,
    /// The whole byte of the class.
    pub(crate) tos: Option<u8>,
    /// Pacing by the kernel, in bits a second.
    pub(crate) fq_rate: Option<u64>,
    pub(crate) no_delay: bool,
    pub(crate) zero_copy: bool,
    pub(crate) dont_fragment: bool,
    pub(crate) mptcp: bool,
    pub(crate) sctp: bool,
    /// How old a result may be that is answered instead of a new test.
    pub(crate) max_age: Option<Duration>,
    /// The answer is the story of the probe instead of its metrics.
    pub(crate) debug: bool,
}

/// What a probe is asked to do, every value within its range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Params {
    pub(crate) host: Host,
    /// Its ports, of which the first one that is not busy is used.
    pub(crate) ports: Ports,
    /// Seconds to transmit; with `options.bytes`, which end the test instead, 1: the least that one takes.
    pub(crate) period_seconds: u64,
    pub(crate) mode: Mode,
    pub(crate) options: Options,
}

/// A test as it is run: what was asked for, and what this attempt makes of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Selected<'a> {
    pub(crate) params: &'a Params,
    /// Which of its ports to use.
    pub(crate) port: u16,
    /// Seconds to transmit, which may be fewer than were asked for.
    pub(crate) period_seconds: u64,
    /// After how many seconds it is ended at the latest.
    pub(crate) limit_seconds: u64,
    /// The version of IP where the parameter `family` leaves it open.
    pub(crate) family: Option<u8>,
    /// How long connecting may take where no parameter says it; iperf3's default may be shorter.
    pub(crate) connect_limit_ms: Option<u32>,
}

/// What was found so far in a query; the rows' `set` fill it.
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
    /// All that changes the test, and nothing that only changes the answer: probes with the same one want the same
    /// measurement.
    pub(crate) fn test(&self) -> Self {
        let mut test = self.clone();
        test.options.max_age = None;
        test.options.debug = false;
        test
    }

    /// Streams each way.
    pub(crate) fn parallel(&self) -> u8 {
        self.options.parallel.unwrap_or(1)
    }

    /// Seconds that a test of this period takes, what is omitted included. `None` when bytes end it and no bitrate says
    /// how long they take.
    pub(crate) fn length_seconds(&self, period_seconds: u64) -> Option<u64> {
        let omit = self.options.omit_seconds;
        let Some(bytes) = self.options.bytes else {
            return Some(omit + period_seconds);
        };
        let rate = self.bits_per_second()? * f64::from(self.parallel());
        let whole = Duration::try_from_secs_f64(bytes as f64 * 8.0 / rate).ok()?;
        Some(omit + whole.as_secs() + 1)
    }

    /// What each stream sends; `None` when nothing limits it.
    pub(crate) fn bits_per_second(&self) -> Option<f64> {
        let rate = match &self.options.bitrate {
            Some(bitrate) => values::bits_per_second(bitrate)?,
            None if self.options.udp => UDP_BITS_PER_SECOND,
            None => return None,
        };
        // An unlimited one is written as 0.
        (rate > 0.0).then_some(rate)
    }

    /// The least that such a test takes: with less time left it need not be started.
    pub(crate) fn least_seconds(&self, period_seconds: u64) -> u64 {
        let least = self.options.omit_seconds + 1;
        self.length_seconds(period_seconds).unwrap_or(least)
    }

    /// The temporary files that iperf3 makes for it. A datagram is as long as the path's MTU allows.
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

    /// Host and ports of the server as one word: `foo.server:5201`, `[::1]:5201`, `foo.server:5201-5209`.
    pub(crate) fn server(&self) -> String {
        match self.host.as_str() {
            host if host.contains(':') => format!("[{host}]:{}", self.ports),
            host => format!("{host}:{}", self.ports),
        }
    }
}

impl Selected<'_> {
    /// The interval to ask for; `None` keeps iperf3's own second, 0 switches intervals off.
    pub(super) fn interval_seconds(&self, streams: bool) -> Option<u64> {
        let Self {
            params,
            limit_seconds,
            ..
        } = *self;
        // Of unknown length when bytes end it: as long as it may be. From 3.16 on such a test goes on to the end of its
        // interval, so one that is longer than a second is asked for only where the report would grow too long.
        let length = params.length_seconds(self.period_seconds);
        let seconds = length.map_or(limit_seconds, |length| length.min(limit_seconds));
        let intervals =
            seconds * u64::from(params.parallel()) * u64::from(params.mode.directions());
        match intervals.div_ceil(STREAM_INTERVALS_LIMIT) {
            0 | 1 => None,
            seconds if seconds <= INTERVAL_LIMIT_SECONDS => Some(seconds),
            // Of a stream none is kept. From 3.16 on the end of an interval is when a test of bytes looks whether it is over.
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
            // 10 MB at 4 times 10 Mbit/s, and the second that has begun.
            (
                "target=a&bytes=10000000&bitrate=10M&parallel=4&omit=2",
                Some(5),
                5,
            ),
            // 1 MiB at the 1 Mibit/s that UDP has by itself.
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

    /// As long as a day's test may take.
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
    fn bytes_keep_the_second_while_the_report_stays_short() {
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
            // Ended by bytes, after a time that only its limit bounds.
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
    fn a_stream_always_has_intervals() {
        for (query, expected) in [
            ("target=a&period=60s&parallel=128", Some(2)),
            ("target=a&period=24h&parallel=4", Some(60)),
            ("target=a&period=24h&parallel=128&bidirectional=1", Some(60)),
        ] {
            assert_eq!(interval(query, LIMIT_SECONDS, true), expected, "{query}");
        }
    }
}
