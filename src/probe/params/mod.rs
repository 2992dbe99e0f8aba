//! Probe parameters: a query string becomes typed, bounded values, or a refusal.
//!
//! Owns what a query string is made of; each parameter is a row of `table`, and `together` knows which of them go
//! together. Must not know HTTP status codes or processes.

use std::fmt;
use std::time::Duration;

use crate::iperf3::Mode;
use crate::iperf3::target::Host;
use crate::probe::values;

pub(crate) use self::refusal::Refusal;
pub(crate) use self::table::{Input, PARAMETERS, Parameter};
pub(crate) use crate::probe::values::decode;

mod conflicts;
mod refusal;
mod table;

/// iperf3's own default port (iperf3(1), `-p`).
pub(crate) const DEFAULT_PORT: u16 = 5201;
/// Seconds a test transmits when nothing is said, as the exporters that this one replaces have it.
pub(crate) const DEFAULT_PERIOD_SECONDS: u64 = 5;
/// What each UDP stream sends when no bitrate is given (`UDP_RATE` in iperf.h).
const UDP_BITS_PER_SECOND: f64 = 1_048_576.0;
/// Longest query string that is looked at; all parameters together need a tenth of it.
const QUERY_LIMIT_BYTES: usize = 8 * 1024;

/// The ports of a server, one or several in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    /// The one that is tried first.
    pub(crate) first: u16,
    /// The last one, which may be the first.
    pub(crate) last: u16,
}

impl Ports {
    /// Most ports of one server: a probe is no port scan.
    pub(crate) const MOST: u16 = 32;

    /// One port.
    pub(crate) fn one(port: u16) -> Self {
        Self {
            first: port,
            last: port,
        }
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

/// Which version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

impl Family {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "4" => Some(Self::V4),
            "6" => Some(Self::V6),
            _ => None,
        }
    }

    /// As the parameter has it.
    fn digit(self) -> &'static str {
        match self {
            Self::V4 => "4",
            Self::V6 => "6",
        }
    }
}

/// The parameters whose values are independent of each other: `None`, 0 and false leave it to iperf3 and the system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "they are iperf3's switches")]
pub(crate) struct Options {
    /// UDP instead of TCP.
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
    /// How long connecting may take.
    pub(crate) connect_timeout_ms: Option<u32>,
    /// Version of IP.
    pub(crate) family: Option<Family>,
    /// Local device.
    pub(crate) bind_dev: Option<String>,
    /// Local port of the first stream.
    pub(crate) cport: Option<u16>,
    /// Socket buffers in bytes.
    pub(crate) window: Option<u32>,
    /// Bytes of a block, or of a datagram.
    pub(crate) length: Option<u32>,
    /// Largest segment in bytes.
    pub(crate) mss: Option<u16>,
    /// TCP's congestion control.
    pub(crate) congestion: Option<String>,
    /// Class of the packets, a number or a name.
    pub(crate) dscp: Option<String>,
    /// The whole byte of the class.
    pub(crate) tos: Option<u8>,
    /// Pacing by the kernel, in bits a second.
    pub(crate) fq_rate: Option<u64>,
    /// No Nagle.
    pub(crate) no_delay: bool,
    /// Send with sendfile(2).
    pub(crate) zero_copy: bool,
    /// IPv4's flag of that name.
    pub(crate) dont_fragment: bool,
    /// MPTCP instead of TCP.
    pub(crate) mptcp: bool,
    /// SCTP instead of TCP.
    pub(crate) sctp: bool,
    /// How old a result may be that is answered instead of a new test.
    pub(crate) max_age: Option<Duration>,
    /// The answer is the story of the probe instead of its metrics.
    pub(crate) debug: bool,
}

/// What a probe is asked to do, every value within its range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Params {
    /// The server.
    pub(crate) host: Host,
    /// Its ports, of which the first one that is not busy is used.
    pub(crate) ports: Ports,
    /// Seconds to transmit; with `options.bytes`, which end the test instead, 1: the least that one takes.
    pub(crate) period_seconds: u64,
    /// Which way.
    pub(crate) mode: Mode,
    /// All the others.
    pub(crate) options: Options,
}

/// What was found so far in a query; the rows' `set` fill it.
#[derive(Default)]
pub(crate) struct Builder {
    target: Option<(Host, Option<u16>)>,
    ports: Option<Ports>,
    period_seconds: Option<u64>,
    reverse: bool,
    bidirectional: bool,
    options: Options,
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

    /// Reads what stands behind the `?` of a probe's URL.
    pub(crate) fn parse(query: &str) -> Result<Self, Refusal> {
        if query.len() > QUERY_LIMIT_BYTES {
            return Err(Refusal::TooLong(query.len()));
        }
        let mut builder = Builder::default();
        let mut given: Vec<(&'static str, String)> = Vec::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let encoding = || Refusal::Encoding(part.to_owned());
            let name = values::decode(name).ok_or_else(encoding)?;
            let value = values::decode(value).ok_or_else(encoding)?;
            let Some(row) = PARAMETERS
                .iter()
                .find(|row| row.names.contains(&name.as_str()))
            else {
                return Err(Refusal::Unknown(name));
            };
            match given.iter().find(|(id, _)| *id == row.id()) {
                Some((_, earlier)) if *earlier == name => return Err(Refusal::Twice(name)),
                Some(_) => {
                    let other = row.names.get(1).copied().unwrap_or_default();
                    return Err(Refusal::Together(row.id(), other));
                }
                None => given.push((row.id(), name)),
            }
            // An empty value is none: that is what a form sends for a field left blank, and what Go's
            // exporters make of it.
            if !value.is_empty() {
                (row.set)(&mut builder, &value).ok_or(Refusal::Value(row, value))?;
            }
        }
        builder.finish()
    }

    /// Host and ports of the server as one word: `foo.server:5201`, `[::1]:5201`, `foo.server:5201-5209`.
    pub(crate) fn server(&self) -> String {
        match self.host.as_str() {
            host if host.contains(':') => format!("[{host}]:{}", self.ports),
            host => format!("{host}:{}", self.ports),
        }
    }

    /// The parameters that differ from their defaults, for the log.
    pub(crate) fn shown(&self) -> Vec<(&'static str, String)> {
        PARAMETERS
            .iter()
            .filter_map(|row| Some((row.id(), (row.shown)(self)?)))
            .collect()
    }
}

impl Builder {
    fn finish(self) -> Result<Params, Refusal> {
        let Some((host, target_port)) = self.target else {
            let is_target = |row: &&Parameter| row.id() == "target";
            return match PARAMETERS.iter().find(is_target) {
                Some(row) => Err(Refusal::Missing(row)),
                None => Err(Refusal::Unknown("target".to_owned())),
            };
        };
        let mode = match (self.reverse, self.bidirectional) {
            (true, true) => return Err(Refusal::Together("reverse_mode", "bidirectional")),
            (true, false) => Mode::Reverse,
            (false, true) => Mode::Bidirectional,
            (false, false) => Mode::Upload,
        };
        if self.options.bytes.is_some() && self.period_seconds.is_some() {
            return Err(Refusal::Together("period", "bytes"));
        }
        let default_seconds = match self.options.bytes {
            Some(_) => 1,
            None => DEFAULT_PERIOD_SECONDS,
        };
        let params = Params {
            host,
            ports: self
                .ports
                .unwrap_or(Ports::one(target_port.unwrap_or(DEFAULT_PORT))),
            period_seconds: self.period_seconds.unwrap_or(default_seconds),
            mode,
            options: self.options,
        };
        conflicts::check(&params).map(|()| params)
    }
}

#[cfg(test)]
mod tests {
    use super::{PARAMETERS, Params, Ports};
    use crate::iperf3::Mode;

    fn params(query: &str) -> Params {
        Params::parse(query).unwrap_or_else(|refusal| panic!("{query}: {refusal}"))
    }

    fn refusal(query: &str) -> String {
        Params::parse(query).expect_err(query).to_string()
    }

    #[test]
    fn each_name_is_in_the_table_once() {
        let mut names: Vec<&str> = PARAMETERS.iter().flat_map(|p| p.names).copied().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn without_more_than_a_target_the_defaults_hold() {
        let params = params("target=foo.server");
        assert_eq!(params.host.as_str(), "foo.server");
        assert_eq!(
            (params.ports.first, params.period_seconds, params.parallel()),
            (5201, 5, 1)
        );
        assert_eq!((params.mode, params.options.udp), (Mode::Upload, false));
        assert_eq!((params.options.bitrate, params.options.bind), (None, None));
    }

    #[test]
    fn every_parameter_is_read() {
        let params = params(
            "target=%5Bfe80::1%25eth0%5D%3A5202&port=5203&period=1m30s&udp_mode=T&bidirectional=1&bitrate=1.5G%2F32\
             &parallel=128&bind_address=192.168.1.100%25wan0&reverse_mode=false",
        );
        assert_eq!(params.host.as_str(), "fe80::1%eth0");
        assert_eq!(
            (params.ports.first, params.period_seconds, params.parallel()),
            (5203, 90, 128)
        );
        assert_eq!(
            (params.mode, params.options.udp),
            (Mode::Bidirectional, true)
        );
        assert_eq!(params.options.bitrate.as_deref(), Some("1.5G/32"));
        assert_eq!(params.options.bind.as_deref(), Some("192.168.1.100%wan0"));
        let shown: Vec<String> = params
            .shown()
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            shown.join(" "),
            "port=5203 period=1m30s bidirectional=true udp_mode=true bitrate=1.5G/32 parallel=128 \
             bind_address=192.168.1.100%wan0"
        );
    }

    #[test]
    fn ports_come_from_port_then_target_then_iperf3() {
        assert_eq!(params("target=a:1&port=2").ports, Ports::one(2));
        assert_eq!(params("target=a:1").ports, Ports::one(1));
        assert_eq!(params("target=a").ports, Ports::one(5201));
        let several = params("target=a:1&port=5201-5209").ports;
        assert_eq!((several.first, several.last), (5201, 5209));
        assert_eq!((several.after(5201), several.after(5209)), (5202, 5201));
        for text in [
            "2-1", "0-5", "1-33", "1-65536", "1-", "-1", "1-2-3", "1 - 2",
        ] {
            assert!(refusal(&format!("target=a&port={text}")).contains("\"port\""));
        }
    }

    #[test]
    fn periods_round_up_to_whole_seconds_within_a_day() {
        for (text, seconds) in [
            ("5", 5),
            ("1s", 1),
            ("1500ms", 2),
            ("1.1", 2),
            ("24h", 86_400),
            ("23h59m59.5s", 86_400),
        ] {
            assert_eq!(
                params(&format!("target=a&period={text}")).period_seconds,
                seconds,
                "{text}"
            );
        }
        for text in ["0", "0.5", "999ms", "24h1ns", "-1", "5x", "1e3", "inf"] {
            assert!(
                refusal(&format!("target=a&period={text}")).contains("\"period\""),
                "{text}"
            );
        }
    }

    #[test]
    fn bitrates_are_those_that_iperf3_reads_as_meant() {
        for text in [
            "0", "1", "100M", "1.5G", "10K", "10M/1", "10M/1000", "1000G", "0.5K", "0/10",
        ] {
            assert_eq!(
                params(&format!("target=a&bitrate={text}"))
                    .options
                    .bitrate
                    .as_deref(),
                Some(text)
            );
        }
        for text in [
            "M", "10Q", "10m", "-1", "%2B1", "1.", ".5", "1.M", "0.5", "1001G", "10M/", "10M/0",
            "10M/1001", "10M/x", "1/2/3", "1e9", "inf", "NaN", "10 M", "10MM",
        ] {
            assert!(
                refusal(&format!("target=a&bitrate={text}")).contains("\"bitrate\""),
                "{text}"
            );
        }
    }

    #[test]
    fn bind_addresses_are_addresses_names_and_devices() {
        for text in [
            "192.168.1.100",
            "::1",
            "wan.example",
            "fe80::1%25eth0",
            "192.168.1.100%25eth0.5",
        ] {
            assert!(
                params(&format!("target=a&bind={text}"))
                    .options
                    .bind
                    .is_some(),
                "{text}"
            );
        }
        for text in ["-x", "a%25", "a%25b c", "%25eth0", "a;b", "a%25-x", "[::1]"] {
            assert!(
                refusal(&format!("target=a&bind={text}")).contains("\"bind_address\""),
                "{text}"
            );
        }
    }

    #[test]
    fn the_ranges_are_those_of_iperf3() {
        for (name, allowed, refused) in [
            ("omit", &["0", "1.5", "10m"][..], &["10m1ms", "-1", "x"][..]),
            (
                "bytes",
                &["1", "1.5K", "1024G"],
                &["0", "0.5", "1025G", "1k", "1T", "-1", "1e3", "K"],
            ),
            (
                "connect_timeout",
                &["1ms", "0.001", "1h"],
                &["0", "999us", "1h1ms", "5x"],
            ),
            ("family", &["4", "6"], &["5", "46", "v4", "04"]),
            (
                "bind_dev",
                &["eth0", "br-lan.7"],
                &["-x", "a b", "a/b", "sixteencharacter", "eth0;x"],
            ),
            ("cport", &["1", "65535"], &["0", "65536", "+1", "5201-5202"]),
            (
                "window",
                &["1", "64K", "512M", "0.5G"],
                &["0", "513M", "1G", "4m"],
            ),
            ("length", &["1", "128K", "1M"], &["0", "1.1M", "2M"]),
            (
                "mss",
                &["88", "1400", "32767"],
                &["87", "32768", "1.4K", "+1400"],
            ),
            (
                "congestion",
                &["bbr", "bbr2", "c_u-b"],
                &["-bbr", "a b", "sixteencharacter", "a/b", "a.b"],
            ),
            (
                "dscp",
                &["0", "63", "0x3f", "077", "EF", "af11", "cs7"],
                &["64", "0x40", "0100", "va", "ef1", "-1", "0x", "08"],
            ),
            (
                "tos",
                &["0", "255", "0xFF", "0377", "0"],
                &["256", "0x100", "0400", "ef", "+1", "0x+1", "0x", "9a"],
            ),
            (
                "fq_rate",
                &["8", "1.5M", "1000G"],
                &["0", "7", "1001G", "1M/2"],
            ),
            ("no_delay", &["true", "0"], &["yes", "2"]),
            ("zero_copy", &["true"], &["on"]),
            ("mptcp", &["true"], &["on"]),
            ("sctp", &["true"], &["on"]),
        ] {
            for text in allowed {
                params(&format!("target=a&{name}={text}"));
            }
            for text in refused {
                let line = refusal(&format!("target=a&{name}={}", text.replace('+', "%2B")));
                assert!(
                    line.contains(&format!("parameter {name:?}: ")),
                    "{text}: {line}"
                );
            }
        }
    }

    #[test]
    fn values_are_in_the_units_of_iperf3() {
        let options = params(
            "target=a&omit=1.1&connect_timeout=1.0001s&window=1.5K&length=1K&fq_rate=1.5K&tos=0x2e&dscp=&bytes=1G",
        )
        .options;
        assert_eq!(
            (options.omit_seconds, options.connect_timeout_ms),
            (2, Some(1001))
        );
        assert_eq!((options.window, options.length), (Some(1536), Some(1024)));
        assert_eq!((options.fq_rate, options.tos), (Some(1500), Some(46)));
        assert_eq!((options.bytes, options.dscp), (Some(1 << 30), None));
    }

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
            let params = params(query);
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

    #[test]
    fn a_refusal_names_the_parameter_the_value_and_what_is_allowed() {
        for (query, line) in [
            (
                "",
                "parameter \"target\" is missing, want a host name, an IPv4 address or an IPv6 address, each also \
                 with a port: host:5201, [::1]:5201",
            ),
            (
                "target=a&port=0",
                "parameter \"port\": \"0\" is not allowed, want a port from 1 to 65535, or some in a row such as \
                 5201-5209, at most 32",
            ),
            (
                "target=a&parallel=129",
                "parameter \"parallel\": \"129\" is not allowed, want a whole number from 1 to 128",
            ),
            (
                "target=a&udp_mode=yes",
                "parameter \"udp_mode\": \"yes\" is not allowed, want 1, t, T, TRUE, true, True, 0, f, F, FALSE, \
                 false or False",
            ),
            (
                "target=a&prot=1",
                "unknown parameter \"prot\", want one of target, port, period, reverse_mode, bidirectional, udp_mode, \
                 bitrate, parallel, bind_address, bind, omit, bytes, connect_timeout, family, bind_dev, cport, window, \
                 length, mss, congestion, dscp, tos, fq_rate, no_delay, zero_copy, dont_fragment, mptcp, sctp, max_age, \
                 debug",
            ),
            (
                "target=a&target=b",
                "parameter \"target\" is given more than once, want it once",
            ),
            (
                "target=a&port=&port=1",
                "parameter \"port\" is given more than once, want it once",
            ),
            (
                "target=a&bind=b&bind_address=b",
                "parameters \"bind_address\" and \"bind\" are given together, want one of them",
            ),
            (
                "target=a&reverse_mode=1&bidirectional=1",
                "parameters \"reverse_mode\" and \"bidirectional\" are given together, want one of them",
            ),
            (
                "target=a&mss=1400&udp_mode=1",
                "parameters \"mss\" and \"udp_mode\" do not go together: iperf3 ignores it with UDP",
            ),
            (
                "target=a&period=1&bytes=1",
                "parameters \"period\" and \"bytes\" are given together, want one of them",
            ),
            (
                "target=a&window=1T",
                "parameter \"window\": \"1T\" is not allowed, want #[.#][KMG] bytes with K = 1024, from 1 to 512M, such \
                 as 4M",
            ),
            (
                "target=%zz",
                "query part \"target=%zz\" is not percent-encoded UTF-8",
            ),
            (
                "target=%ff",
                "query part \"target=%ff\" is not percent-encoded UTF-8",
            ),
        ] {
            assert_eq!(refusal(query), line);
        }
        let long = refusal(&format!("target={}%0A", "a".repeat(100)));
        assert!(
            long.contains(&format!("\"{}\"… is not allowed", "a".repeat(60))),
            "{long}"
        );
        assert!(refusal(&"a".repeat(9000)).contains("9000 bytes"));
    }

    #[test]
    fn empty_values_are_none_as_a_form_sends_them() {
        let empty = "port=&period=&bitrate=&parallel=&bind_address=&reverse_mode=&target=a";
        assert_eq!(params(empty), params("target=a"));
        assert!(refusal("target=").contains("is missing"));
    }
}
