//! Parses a query string into parameters or a one-line refusal, and formats parameters for users.
//!
//! Owns the syntax of a query string. Each parameter is a row of `table`. A refusal names the parameter, the value and
//! what is allowed; `error` words it.

use super::conflicts;
use super::error::{QueryError, Quoted};
use super::foreign;
use super::options::{Builder, DEFAULT_PERIOD_SECONDS, DEFAULT_PORT, Params, Ports};
use super::row::{Parameter, Shown};
use super::table::PARAMETERS;
use crate::iperf3::Mode;
use crate::probe::values;

/// Maximum length of a query string. All parameters together need a tenth of it.
const QUERY_LIMIT_BYTES: usize = 8 * 1024;

impl Params {
    /// Parses the part of a probe's URL after the `?`.
    pub(crate) fn parse(query: &str) -> Result<Self, QueryError> {
        let (bytes, limit) = (query.len(), QUERY_LIMIT_BYTES);
        if bytes > limit {
            return Err(QueryError::TooLong { bytes, limit });
        }
        let mut builder = Builder::default();
        let mut given: Vec<&'static str> = Vec::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (Some(name), Some(value)) = (values::decode(name), values::decode(value)) else {
                return Err(QueryError::NotEncoded(Quoted::new(part)));
            };
            // An empty value counts as absent, whatever its name. A form sends one for a blank field, and the
            // Prometheus operator for a Probe without a module. Go's exporters treat it the same way.
            if value.is_empty() {
                continue;
            }
            let (row, name) = find(&name)?;
            let id = row.id();
            match given.iter().find(|earlier| row.names.contains(earlier)) {
                Some(earlier) if *earlier == name => return Err(QueryError::Repeated(name)),
                Some(_) => {
                    let alias = row.names.last().copied().unwrap_or(id);
                    return Err(QueryError::Exclusive(id, alias));
                }
                None => given.push(name),
            }
            if (row.set)(&mut builder, &value).is_none() {
                return Err(QueryError::NotAllowed {
                    name: id,
                    value: Quoted::new(&value),
                    allowed: row.allowed,
                });
            }
        }
        builder.finish()
    }

    /// The parameters that differ from their defaults, as text for users.
    pub(crate) fn displayed(&self) -> Vec<(&'static str, String)> {
        let shown = self.shown();
        shown
            .map(|(name, value)| (name, value.to_string()))
            .collect()
    }

    /// The same for the log, which writes numbers as numbers.
    pub(crate) fn shown(&self) -> impl Iterator<Item = (&'static str, Shown)> {
        let rows = PARAMETERS.iter();
        rows.filter_map(|row| Some((row.id(), (row.display)(self)?)))
    }
}

impl Builder {
    fn finish(self) -> Result<Params, QueryError> {
        let Some((host, target_port)) = self.target else {
            return Err(QueryError::NoTarget);
        };
        let mode = match (self.reverse, self.bidirectional) {
            (true, true) => return Err(QueryError::Exclusive("reverse_mode", "bidirectional")),
            (true, false) => Mode::Reverse,
            (false, true) => Mode::Bidirectional,
            (false, false) => Mode::Upload,
        };
        let default_seconds = match (self.options.bytes, self.period_seconds) {
            (Some(_), Some(_)) => return Err(QueryError::Exclusive("period", "bytes")),
            (Some(_), None) => 1,
            (None, _) => DEFAULT_PERIOD_SECONDS,
        };
        let target_ports = Ports::one(target_port.unwrap_or(DEFAULT_PORT));
        let params = Params {
            host,
            ports: self.ports.unwrap_or(target_ports),
            period_seconds: self.period_seconds.unwrap_or(default_seconds),
            mode,
            options: self.options,
        };
        conflicts::check(&params).map(|()| params)
    }
}

/// The row of a parameter, and the name by which it is given.
fn find(name: &str) -> Result<(&'static Parameter, &'static str), QueryError> {
    let named = |row: &'static Parameter| {
        let mut names = row.names.iter().copied();
        names.find(|own| *own == name).map(|own| (row, own))
    };
    PARAMETERS.iter().find_map(named).ok_or_else(|| {
        let (name, hint) = (Quoted::new(name), foreign::ours(name));
        QueryError::Unknown { name, hint }
    })
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
    fn a_target_alone_gives_the_defaults() {
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
            .displayed()
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
    fn a_refusal_names_the_parameter_the_value_and_what_is_allowed() {
        let names: Vec<&str> = PARAMETERS
            .iter()
            .flat_map(|row| row.names)
            .copied()
            .collect();
        let unknown = format!(
            "unknown parameter \"prot\", want one of {}",
            names.join(", ")
        );
        for (query, line) in [
            ("target=a&prot=1", unknown.as_str()),
            (
                "target=a&duration=10s",
                "unknown parameter \"duration\": use \"period\" for the test's length",
            ),
            (
                "target=a&module=tcp",
                "unknown parameter \"module\": there are no modules, use parameters such as \"period\" instead",
            ),
            (
                "",
                "parameter \"target\" is missing, want a host name, IPv4 address or IPv6 address, optionally with a \
                 port: host:5201, [::1]:5201",
            ),
            (
                "target=a&port=0",
                "parameter \"port\": \"0\" is not allowed, want a port from 1 to 65535, or a range of at most 32 \
                 ports such as 5201-5209",
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
                "target=a&target=b",
                "parameter \"target\" is given more than once, want it once",
            ),
            (
                "target=a&bind=b&bind_address=b",
                "parameters \"bind_address\" and \"bind\" conflict, want only one of them",
            ),
            (
                "target=a&reverse_mode=1&bidirectional=1",
                "parameters \"reverse_mode\" and \"bidirectional\" conflict, want only one of them",
            ),
            (
                "target=a&mss=1400&udp_mode=1",
                "parameters \"mss\" and \"udp_mode\" cannot be combined: iperf3 ignores the first with UDP",
            ),
            (
                "target=a&period=1&bytes=1",
                "parameters \"period\" and \"bytes\" conflict, want only one of them",
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
        assert_eq!(
            refusal(&"a".repeat(9000)),
            "query of 9000 bytes is not allowed, want at most 8192"
        );
    }

    #[test]
    fn empty_values_count_as_absent() {
        let blank = PARAMETERS.iter().flat_map(|row| row.names);
        let blank = blank.copied().collect::<Vec<_>>().join("=&") + "=&";
        for empty in ["module=&", "module&", "duration=&", "other=&", &blank] {
            assert_eq!(params(&format!("{empty}target=a")), params("target=a"));
        }
        // A second value does not conflict with an empty one.
        assert_eq!(params("target=a&port=&port=1").ports, Ports::one(1));
        assert!(refusal("target=").contains("is missing"));
    }
}
