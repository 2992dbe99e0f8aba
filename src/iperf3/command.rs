//! iperf3's command line for a probe.
//!
//! Knows iperf3's options; must not know how a process is run. Every value comes typed and bounded from
//! `probe/params`, stands in a word of its own, and no shell ever sees it.

use crate::probe::params::{Mode, Params};

/// Most intervals that a report may carry, counted over all streams. One takes some 450 bytes of JSON, so that
/// the report of every test that can be asked for, 24 hours of 128 streams included, stays far below
/// `process::OUTPUT_LIMIT_BYTES` and is read in little memory.
const STREAM_INTERVALS_LIMIT: u64 = 4096;
/// iperf3's longest interval (`MAX_INTERVAL` in iperf.h).
const INTERVAL_LIMIT_SECONDS: u64 = 60;

/// The words after the program's name for a test of `period_seconds`, which may be shorter than was asked for.
pub(crate) fn arguments(params: &Params, period_seconds: u64) -> Vec<String> {
    let mut words: Vec<String> = Vec::with_capacity(16);
    let mut add = |option: &str, value: Option<&str>| {
        words.push(option.to_owned());
        words.extend(value.map(str::to_owned));
    };
    add("-J", None);
    add("-c", Some(params.host.as_str()));
    add("-p", Some(&params.port.to_string()));
    add("-t", Some(&period_seconds.to_string()));
    if let Some(seconds) = interval_seconds(params, period_seconds) {
        add("-i", Some(&seconds.to_string()));
    }
    match params.mode {
        Mode::Upload => {}
        Mode::Reverse => add("-R", None),
        Mode::Bidirectional => add("--bidir", None),
    }
    if params.udp {
        add("-u", None);
    }
    if let Some(bitrate) = &params.bitrate {
        add("-b", Some(bitrate));
    }
    if params.parallel > 1 {
        add("-P", Some(&params.parallel.to_string()));
    }
    if let Some(bind) = &params.bind {
        add("-B", Some(bind));
    }
    words
}

/// The interval to ask for; `None` keeps iperf3's own second, 0 switches intervals off.
fn interval_seconds(params: &Params, period_seconds: u64) -> Option<u64> {
    let ways = if params.mode == Mode::Bidirectional {
        2
    } else {
        1
    };
    let intervals = period_seconds * u64::from(params.parallel) * ways;
    match intervals.div_ceil(STREAM_INTERVALS_LIMIT) {
        0 | 1 => None,
        seconds if seconds <= INTERVAL_LIMIT_SECONDS => Some(seconds),
        _ => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::arguments;
    use crate::probe::params::Params;

    fn line(query: &str) -> String {
        let params = Params::parse(query).unwrap();
        arguments(&params, params.period_seconds).join(" ")
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
        ] {
            assert_eq!(line(query), expected);
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
        ] {
            let words = line(query);
            let found = words
                .split_once(" -i ")
                .map(|(_, rest)| rest.split(' ').next().unwrap());
            assert_eq!(found, interval, "{query}");
        }
    }
}
