//! Probe parameters: a query string becomes typed, bounded values, or a refusal.
//!
//! Owns one table of parameters, from which parser, form, log line and the README's table come. Must not know
//! HTTP status codes or processes. To add a parameter is to add a row and a field of [`Params`].

use std::fmt;
use std::time::Duration;

use super::target::{self, Host};
use super::values::{self, BOOLEAN_ALLOWED};
use crate::duration;

/// iperf3's own default port (iperf3(1), `-p`).
pub(crate) const DEFAULT_PORT: u16 = 5201;
/// Seconds a test transmits when nothing is said, as the exporters that this one replaces have it.
pub(crate) const DEFAULT_PERIOD_SECONDS: u64 = 5;
/// Longest query string that is looked at; all parameters together need a tenth of it.
const QUERY_LIMIT_BYTES: usize = 8 * 1024;
/// How much of a refused value is shown.
const SHOWN_LIMIT_CHARS: usize = 60;

/// Which way the data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Client to server.
    Upload,
    /// Server to client (`reverse_mode`).
    Reverse,
    /// Both at once (`bidirectional`).
    Bidirectional,
}

/// What a probe is asked to do, every value within its range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Params {
    /// The server.
    pub(crate) host: Host,
    /// Its port.
    pub(crate) port: u16,
    /// Seconds to transmit.
    pub(crate) period_seconds: u64,
    /// Which way.
    pub(crate) mode: Mode,
    /// UDP instead of TCP.
    pub(crate) udp: bool,
    /// Target bitrate as iperf3 reads it.
    pub(crate) bitrate: Option<String>,
    /// Streams each way.
    pub(crate) parallel: u8,
    /// Local address, `address%device` too.
    pub(crate) bind: Option<String>,
}

/// What was found so far; the rows' `set` fill it.
#[derive(Default)]
pub(crate) struct Draft {
    target: Option<(Host, Option<u16>)>,
    port: Option<u16>,
    period_seconds: Option<u64>,
    reverse: bool,
    bidirectional: bool,
    udp: bool,
    bitrate: Option<String>,
    parallel: Option<u8>,
    bind: Option<String>,
}

/// How a parameter is asked for in the page's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// A line of text.
    Text,
    /// A whole number in a range.
    Number(u32, u32),
    /// A box to tick.
    Tick,
}

/// One parameter.
pub(crate) struct Parameter {
    /// Its name and its other name.
    pub(crate) names: &'static [&'static str],
    /// iperf3's option.
    pub(crate) option: &'static str,
    /// What is allowed, as the end of "want …".
    pub(crate) allowed: &'static str,
    /// What holds without it.
    pub(crate) default: &'static str,
    /// What a person calls it.
    pub(crate) label: &'static str,
    /// What it does.
    pub(crate) help: &'static str,
    /// Its field in the form.
    pub(crate) input: Input,
    /// Puts a value into the draft; `None` when it is not allowed.
    set: fn(&mut Draft, &str) -> Option<()>,
    /// Its value for the log when it differs from the default.
    shown: fn(&Params) -> Option<String>,
}

/// All parameters, in the order of the documentation.
pub(crate) const PARAMETERS: &[Parameter] = &[
    Parameter {
        names: &["target"],
        option: "-c",
        allowed: "a host name, an IPv4 address or an IPv6 address, each also with a port: host:5201, [::1]:5201",
        default: "required",
        label: "Target",
        help: "The iperf3 server.",
        input: Input::Text,
        set: |draft, text| Some(draft.target = Some(target::parse_target(text)?)),
        // The log has it on every line.
        shown: |_| None,
    },
    Parameter {
        names: &["port"],
        option: "-p",
        allowed: "a whole number from 1 to 65535",
        default: "5201",
        label: "Port",
        help: "The server's port; wins over the target's.",
        input: Input::Number(1, 65_535),
        set: |draft, text| Some(draft.port = Some(target::parse_port(text)?)),
        shown: |params| (params.port != DEFAULT_PORT).then(|| params.port.to_string()),
    },
    Parameter {
        names: &["period"],
        option: "-t",
        allowed: "a duration from 1s to 24h, such as 10s, 1m30s or 10",
        default: "5s",
        label: "Period",
        help: "How long to transmit; rounded up to whole seconds.",
        input: Input::Text,
        set: |draft, text| Some(draft.period_seconds = Some(values::period_seconds(text)?)),
        shown: |params| {
            (params.period_seconds != DEFAULT_PERIOD_SECONDS)
                .then(|| duration::format(Duration::from_secs(params.period_seconds)))
        },
    },
    Parameter {
        names: &["reverse_mode"],
        option: "-R",
        allowed: BOOLEAN_ALLOWED,
        default: "false",
        label: "Download (reverse)",
        help: "The server sends and the client receives.",
        input: Input::Tick,
        set: |draft, text| Some(draft.reverse = values::boolean(text)?),
        shown: |params| tick(params.mode == Mode::Reverse),
    },
    Parameter {
        names: &["bidirectional"],
        option: "--bidir",
        allowed: BOOLEAN_ALLOWED,
        default: "false",
        label: "Both ways",
        help: "Both ways at once; not together with reverse_mode.",
        input: Input::Tick,
        set: |draft, text| Some(draft.bidirectional = values::boolean(text)?),
        shown: |params| tick(params.mode == Mode::Bidirectional),
    },
    Parameter {
        names: &["udp_mode"],
        option: "-u",
        allowed: BOOLEAN_ALLOWED,
        default: "false",
        label: "UDP",
        help: "UDP instead of TCP.",
        input: Input::Tick,
        set: |draft, text| Some(draft.udp = values::boolean(text)?),
        shown: |params| tick(params.udp),
    },
    Parameter {
        names: &["bitrate"],
        option: "-b",
        allowed: "#[.#][KMG][/#] in bits a second, such as 100M, 1.5G or 10M/32: 0 for unlimited or 1 to 1000G, \
             and a burst of 1 to 1000 packets",
        default: "unlimited for TCP, 1M for UDP",
        label: "Bitrate",
        help: "Target bitrate of each stream, with the packets of a burst behind a slash.",
        input: Input::Text,
        set: |draft, text| Some(draft.bitrate = Some(values::bitrate(text)?)),
        shown: |params| params.bitrate.clone(),
    },
    Parameter {
        names: &["parallel"],
        option: "-P",
        allowed: "a whole number from 1 to 128",
        default: "1",
        label: "Parallel streams",
        help: "Streams at a time, each way.",
        input: Input::Number(1, 128),
        set: |draft, text| {
            let count = values::whole(text).filter(|count| (1..=128).contains(count))?;
            Some(draft.parallel = Some(count))
        },
        shown: |params| (params.parallel != 1).then(|| params.parallel.to_string()),
    },
    Parameter {
        names: &["bind_address", "bind"],
        option: "-B",
        allowed: "an address or host name of this machine, or address%device",
        default: "the system's choice",
        label: "Local address",
        help: "Local address to send from, with several uplinks.",
        input: Input::Text,
        set: |draft, text| Some(draft.bind = Some(values::bind(text)?)),
        shown: |params| params.bind.clone(),
    },
];

/// Why a query was refused; prints as one line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No such parameter.
    Unknown(String),
    /// Given more than once.
    Twice(String),
    /// Two names of one parameter, or two that exclude each other.
    Together(&'static str, &'static str),
    /// A required one is not there.
    Missing(&'static Parameter),
    /// A value out of its range.
    Value(&'static Parameter, String),
    /// Not percent-encoded UTF-8.
    Encoding(String),
    /// Longer than any real one.
    TooLong(usize),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => {
                let known: Vec<&str> = PARAMETERS.iter().flat_map(|p| p.names).copied().collect();
                write!(
                    f,
                    "unknown parameter {}, want one of {}",
                    quoted(name),
                    known.join(", ")
                )
            }
            Self::Twice(name) => write!(
                f,
                "parameter {} is given more than once, want it once",
                quoted(name)
            ),
            Self::Together(one, other) => write!(
                f,
                "parameters {one:?} and {other:?} are given together, want one of them"
            ),
            Self::Missing(row) => write!(
                f,
                "parameter {:?} is missing, want {}",
                row.id(),
                row.allowed
            ),
            Self::Value(row, value) => write!(
                f,
                "parameter {:?}: {} is not allowed, want {}",
                row.id(),
                quoted(value),
                row.allowed
            ),
            Self::Encoding(part) => write!(
                f,
                "query part {} is not percent-encoded UTF-8",
                quoted(part)
            ),
            Self::TooLong(length) => write!(
                f,
                "query of {length} bytes is not allowed, want at most {QUERY_LIMIT_BYTES}"
            ),
        }
    }
}

impl Parameter {
    /// The first of its names.
    pub(crate) fn id(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }
}

// A row has no identity beyond its name; the derived comparison of function pointers would mean nothing.
impl PartialEq for Parameter {
    fn eq(&self, other: &Self) -> bool {
        self.names == other.names
    }
}

impl Eq for Parameter {}

impl fmt::Debug for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl Params {
    /// Reads what stands behind the `?` of a probe's URL.
    pub(crate) fn parse(query: &str) -> Result<Self, Refusal> {
        if query.len() > QUERY_LIMIT_BYTES {
            return Err(Refusal::TooLong(query.len()));
        }
        let mut draft = Draft::default();
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
                (row.set)(&mut draft, &value).ok_or(Refusal::Value(row, value))?;
            }
        }
        draft.finish()
    }

    /// Host and port of the server as one word: `foo.server:5201`, `[::1]:5201`.
    pub(crate) fn server(&self) -> String {
        match self.host.as_str() {
            host if host.contains(':') => format!("[{host}]:{}", self.port),
            host => format!("{host}:{}", self.port),
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

impl Draft {
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
        Ok(Params {
            host,
            port: self.port.or(target_port).unwrap_or(DEFAULT_PORT),
            period_seconds: self.period_seconds.unwrap_or(DEFAULT_PERIOD_SECONDS),
            mode,
            udp: self.udp,
            bitrate: self.bitrate,
            parallel: self.parallel.unwrap_or(1),
            bind: self.bind,
        })
    }
}

/// A refused value as it may be shown: quoted, escaped, and not endless.
fn quoted(value: &str) -> String {
    match value.char_indices().nth(SHOWN_LIMIT_CHARS) {
        None => format!("{value:?}"),
        Some((end, _)) => format!("{:?}…", value.get(..end).unwrap_or_default()),
    }
}

fn tick(value: bool) -> Option<String> {
    value.then(|| "true".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Mode, PARAMETERS, Params};

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
            (params.port, params.period_seconds, params.parallel),
            (5201, 5, 1)
        );
        assert_eq!((params.mode, params.udp), (Mode::Upload, false));
        assert_eq!((params.bitrate, params.bind), (None, None));
    }

    #[test]
    fn every_parameter_is_read() {
        let params = params(
            "target=%5Bfe80::1%25eth0%5D%3A5202&port=5203&period=1m30s&udp_mode=T&bidirectional=1&bitrate=1.5G%2F32\
             &parallel=128&bind_address=192.168.1.100%25wan0&reverse_mode=false",
        );
        assert_eq!(params.host.as_str(), "fe80::1%eth0");
        assert_eq!(
            (params.port, params.period_seconds, params.parallel),
            (5203, 90, 128)
        );
        assert_eq!((params.mode, params.udp), (Mode::Bidirectional, true));
        assert_eq!(params.bitrate.as_deref(), Some("1.5G/32"));
        assert_eq!(params.bind.as_deref(), Some("192.168.1.100%wan0"));
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
        assert_eq!(params("target=a:1&port=2").port, 2);
        assert_eq!(params("target=a:1").port, 1);
        assert_eq!(params("target=a").port, 5201);
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
                params(&format!("target=a&bind={text}")).bind.is_some(),
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
    fn a_refusal_names_the_parameter_the_value_and_what_is_allowed() {
        for (query, line) in [
            (
                "",
                "parameter \"target\" is missing, want a host name, an IPv4 address or an IPv6 address, each also \
                 with a port: host:5201, [::1]:5201",
            ),
            (
                "target=a&port=0",
                "parameter \"port\": \"0\" is not allowed, want a whole number from 1 to 65535",
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
                 bitrate, parallel, bind_address, bind",
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
