//! iperf3's command line for a probe.
//!
//! Knows iperf3's options; must not know how a process is run. Every value comes typed and bounded from
//! `probe/params`, stands in a word of its own, and no shell ever sees it.

use super::Mode;
use super::features::Features;
use crate::probe::params::{Family, Options, PARAMETERS, Parameter, Params};

/// Most intervals that a report may carry, counted over all streams. One takes some 450 bytes of JSON, so that
/// the report of every test that can be asked for, 24 hours of 128 streams included, stays far below
/// `process::OUTPUT_LIMIT_BYTES` and is read in little memory.
const STREAM_INTERVALS_LIMIT: u64 = 4096;
/// iperf3's longest interval (`MAX_INTERVAL` in iperf.h).
const INTERVAL_LIMIT_SECONDS: u64 = 60;

/// How long connecting may take when nothing is said: a dead target costs five seconds then, and not the two minutes
/// after which Linux gives up.
const CONNECT_TIMEOUT_MS: u32 = 5000;
/// The option for it, which iperf3 has from 3.2 on.
const CONNECT_TIMEOUT: &str = "--connect-timeout";

/// The words after the program's name for a test of `period_seconds`, which may be shorter than was asked for, and
/// which is ended after `limit_seconds` at the latest.
pub(super) fn arguments(
    params: &Params,
    port: u16,
    period_seconds: u64,
    limit_seconds: u64,
    features: Option<&Features>,
) -> Vec<String> {
    let mut words = Words(Vec::with_capacity(32));
    words.option("-J");
    words.value("-c", Some(params.host.as_str()));
    words.value("-p", Some(port));
    match params.options.bytes {
        Some(bytes) => words.value("-n", Some(bytes)),
        None => words.value("-t", Some(period_seconds)),
    }
    words.value(
        "-i",
        interval_seconds(params, period_seconds, limit_seconds),
    );
    match params.mode {
        Mode::Upload => {}
        Mode::Reverse => words.option("-R"),
        Mode::Bidirectional => words.option("--bidir"),
    }
    words.tick("-u", params.options.udp);
    words.value("-b", params.options.bitrate.as_ref());
    words.value("-P", params.options.parallel);
    words.value("-B", params.options.bind.as_ref());
    options(&mut words, &params.options, features);
    words.0
}

/// What is asked for seldom.
fn options(words: &mut Words, options: &Options, features: Option<&Features>) {
    words.value(
        "-O",
        (options.omit_seconds > 0).then_some(options.omit_seconds),
    );
    // Nobody asked for the default: where it might not be understood it is left out without a word.
    let has_timeout = features.is_some_and(|features| features.has(CONNECT_TIMEOUT));
    let default = has_timeout.then_some(CONNECT_TIMEOUT_MS);
    words.value(CONNECT_TIMEOUT, options.connect_timeout_ms.or(default));
    match options.family {
        Some(Family::V4) => words.option("-4"),
        Some(Family::V6) => words.option("-6"),
        None => {}
    }
    words.value("--bind-dev", options.bind_dev.as_ref());
    words.value("--cport", options.cport);
    words.value("-w", options.window);
    words.value("-l", options.length);
    words.value("-M", options.mss);
    words.value("-C", options.congestion.as_ref());
    words.value("--dscp", options.dscp.as_ref());
    words.value("-S", options.tos);
    words.value("--fq-rate", options.fq_rate);
    words.tick("-N", options.no_delay);
    words.tick("-Z", options.zero_copy);
    words.tick("--dont-fragment", options.dont_fragment);
    words.tick("--mptcp", options.mptcp);
    words.tick("--sctp", options.sctp);
}

/// The words so far.
struct Words(Vec<String>);

impl Words {
    fn option(&mut self, option: &str) {
        self.0.push(option.to_owned());
    }

    fn tick(&mut self, option: &str, is_on: bool) {
        if is_on {
            self.option(option);
        }
    }

    fn value(&mut self, option: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.option(option);
            self.0.push(value.to_string());
        }
    }
}

/// The first option that an iperf3 lacks, and who needs it: `--dont-fragment, which the parameter dont_fragment needs`.
pub(super) fn missing_option(words: &[String], features: &Features) -> Option<String> {
    // No value begins with a dash, so that what does is an option.
    let mut options = words.iter().filter(|word| word.starts_with('-'));
    let option = options.find(|option| !features.has(option))?;
    let has = |row: &&Parameter| row.option.split(", ").any(|own| own == option);
    Some(match PARAMETERS.iter().find(has) {
        Some(row) => format!("{option}, which the parameter {} needs", row.id()),
        None => format!(
            "{option}, which the flag --iperf3.{} needs",
            option.trim_start_matches('-')
        ),
    })
}

/// The interval to ask for; `None` keeps iperf3's own second, 0 switches intervals off.
fn interval_seconds(params: &Params, period_seconds: u64, limit_seconds: u64) -> Option<u64> {
    // Of unknown length when bytes end it: as long as it may be. From 3.16 on such a test goes on to the end of its
    // interval, so one that is longer than a second is asked for only where the report would grow too long.
    let length = params.length_seconds(period_seconds);
    let seconds = length.map_or(limit_seconds, |length| length.min(limit_seconds));
    let intervals = seconds * u64::from(params.parallel()) * u64::from(params.mode.directions());
    match intervals.div_ceil(STREAM_INTERVALS_LIMIT) {
        0 | 1 => None,
        seconds if seconds <= INTERVAL_LIMIT_SECONDS => Some(seconds),
        // From 3.16 on the end of an interval is when such a test looks whether it is over.
        _ if length.is_none() => Some(INTERVAL_LIMIT_SECONDS),
        _ => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::{arguments, missing_option};
    use crate::iperf3::features::Features;
    use crate::probe::params::{PARAMETERS, Params};

    /// As long as a day's test may take.
    const LIMIT_SECONDS: u64 = 90_000;

    fn line_with(query: &str, features: Option<&Features>) -> String {
        let params = Params::parse(query).unwrap_or_else(|refusal| panic!("{query}: {refusal}"));
        let (port, period) = (params.ports.first, params.period_seconds);
        arguments(&params, port, period, LIMIT_SECONDS, features).join(" ")
    }

    fn line(query: &str) -> String {
        line_with(query, None)
    }

    #[test]
    fn each_parameter_becomes_its_option() {
        for (query, expected) in [
            ("target=foo.server", "-J -c foo.server -p 5201 -t 5"),
            ("target=[::1]:5202&period=10s", "-J -c ::1 -p 5202 -t 10"),
            ("target=a&reverse_mode=1", "-J -c a -p 5201 -t 5 -R"),
            (
                "target=a&udp_mode=1&bidirectional=1&bitrate=10M/8&parallel=4&bind=192.0.2.1",
                "-J -c a -p 5201 -t 5 --bidir -u -b 10M/8 -P 4 -B 192.0.2.1",
            ),
            (
                "target=a&bytes=1.5M&omit=1500ms",
                "-J -c a -p 5201 -n 1572864 -i 22 -O 2",
            ),
            (
                "target=a&connect_timeout=1.5&family=4&bind_dev=eth0&cport=5300&window=512M&length=1M&mss=1400",
                "-J -c a -p 5201 -t 5 --connect-timeout 1500 -4 --bind-dev eth0 --cport 5300 -w 536870912 -l 1048576 \
                 -M 1400",
            ),
            (
                "target=a&family=6&congestion=bbr&dscp=EF&fq_rate=1.5M&no_delay=1&zero_copy=1&mptcp=1&omit=0",
                "-J -c a -p 5201 -t 5 -6 -C bbr --dscp ef --fq-rate 1500000 -N -Z --mptcp",
            ),
            ("target=a&dscp=0x2e", "-J -c a -p 5201 -t 5 --dscp 46"),
            ("target=a&tos=0270&sctp=0", "-J -c a -p 5201 -t 5 -S 184"),
            ("target=a&sctp=1", "-J -c a -p 5201 -t 5 --sctp"),
            (
                "target=a&udp_mode=1&dont_fragment=1",
                "-J -c a -p 5201 -t 5 -u --dont-fragment",
            ),
        ] {
            assert_eq!(line(query), expected);
        }
    }

    /// What is not changed by any parameter.
    const ALWAYS: &str = "Usage: iperf3\n -J\n -c\n -p\n -t\n";

    #[test]
    fn each_optional_option_is_one_that_a_row_names() {
        let none = Features::read(ALWAYS.as_bytes()).unwrap();
        for (query, option, parameter) in [
            ("bidirectional=1", "--bidir", "bidirectional"),
            ("connect_timeout=5s", "--connect-timeout", "connect_timeout"),
            ("family=4", "-4", "family"),
            ("family=6", "-6", "family"),
            ("bind_dev=eth0", "--bind-dev", "bind_dev"),
            ("congestion=bbr", "-C", "congestion"),
            ("dscp=ef", "--dscp", "dscp"),
            ("fq_rate=1M", "--fq-rate", "fq_rate"),
            ("mptcp=1", "--mptcp", "mptcp"),
            ("sctp=1", "--sctp", "sctp"),
        ] {
            let params = Params::parse(&format!("target=a&{query}")).unwrap();
            let words = arguments(&params, 1, 5, 60, Some(&none));
            let expected = format!("{option}, which the parameter {parameter} needs");
            assert_eq!(missing_option(&words, &none), Some(expected));
            let help = format!("{ALWAYS} {option}\n");
            let features = Features::read(help.as_bytes()).unwrap();
            assert_eq!(missing_option(&words, &features), None, "{query}");
        }
        let flag = ["--username".to_owned(), "bob".to_owned()];
        let needed = "--username, which the flag --iperf3.username needs";
        assert_eq!(missing_option(&flag, &none).as_deref(), Some(needed));
        // No row's option is missing here by a slip of the pen.
        let rows = PARAMETERS.iter().filter(|row| !row.option.is_empty());
        assert!(
            rows.flat_map(|row| row.option.split(", "))
                .all(|own| own.starts_with('-'))
        );
    }

    #[test]
    fn connecting_has_a_limit_where_iperf3_has_one() {
        let old = Features::read(ALWAYS.as_bytes()).unwrap();
        let help = format!("{ALWAYS} --connect-timeout #\n");
        let new = Features::read(help.as_bytes()).unwrap();
        for (query, features, expected) in [
            ("target=a", None, "-J -c a -p 5201 -t 5"),
            ("target=a", Some(&old), "-J -c a -p 5201 -t 5"),
            (
                "target=a",
                Some(&new),
                "-J -c a -p 5201 -t 5 --connect-timeout 5000",
            ),
            (
                "target=a&connect_timeout=1ms",
                Some(&new),
                "-J -c a -p 5201 -t 5 --connect-timeout 1",
            ),
            (
                "target=a&connect_timeout=1.0001s",
                None,
                "-J -c a -p 5201 -t 5 --connect-timeout 1001",
            ),
        ] {
            assert_eq!(line_with(query, features), expected);
        }
        let words = line_with("target=a", Some(&old));
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        assert_eq!(missing_option(&words, &old), None);
    }

    #[test]
    fn bytes_keep_the_second_while_the_report_stays_short() {
        for (query, limit_seconds, interval) in [
            ("target=a&bytes=10M", 30, None),
            ("target=a&bytes=10M", 4096, None),
            ("target=a&bytes=10M&parallel=128", 30, None),
            (
                "target=a&bytes=10M&parallel=128&bidirectional=1",
                250,
                Some("16"),
            ),
        ] {
            let params = Params::parse(query).unwrap();
            let words = arguments(&params, 1, 5, limit_seconds, None);
            let found = words.iter().position(|word| word == "-i");
            let found = found.map(|at| words.get(at + 1).unwrap().as_str());
            assert_eq!(found, interval, "{query}");
        }
    }

    #[test]
    fn long_tests_of_many_streams_have_fewer_intervals() {
        for (query, interval) in [
            ("target=a&period=60s&parallel=64", None),
            ("target=a&period=60s&parallel=128", Some("2")),
            (
                "target=a&period=60s&parallel=128&bidirectional=1",
                Some("4"),
            ),
            ("target=a&period=1h", None),
            ("target=a&period=24h", Some("22")),
            ("target=a&period=24h&parallel=128", Some("0")),
            // Ended by bytes, after a time that only its limit bounds.
            ("target=a&bytes=1M&bitrate=8M&parallel=128", None),
            ("target=a&period=30s&omit=30s&parallel=128", Some("2")),
            ("target=a&bytes=1024G", Some("22")),
            ("target=a&bytes=1024G&parallel=128", Some("60")),
            ("target=a&bytes=1G&bitrate=1M&parallel=1", Some("3")),
        ] {
            let words = line(query);
            let found = words
                .split_once(" -i ")
                .map(|(_, rest)| rest.split(' ').next().unwrap());
            assert_eq!(found, interval, "{query}");
        }
    }
}
