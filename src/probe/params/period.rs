//! What ends a test, its period or its bytes, as iperf3's words, and how often iperf3 reports on the way there.
//!
//! Must not know the other parameters' words.

use super::options::Selected;
use crate::iperf3::args::{Args, Need};

/// Most intervals that a report may carry, counted over all streams. One takes some 450 bytes of JSON, so that
/// the report of every test that can be asked for, 24 hours of 128 streams included, stays far below
/// `process::OUTPUT_LIMIT_BYTES` and is read in little memory.
const STREAM_INTERVALS_LIMIT: u64 = 4096;
/// iperf3's longest interval (`MAX_INTERVAL` in iperf.h).
const INTERVAL_LIMIT_SECONDS: u64 = 60;

/// Adds the words.
pub(super) fn add_to(test: &Selected<'_>, args: &mut Args<'_>) {
    match test.params.options.bytes {
        None => args.value("-t", test.period_seconds),
        Some(bytes) => {
            args.needed_by(Need::Parameter("bytes"));
            args.value("-n", bytes);
        }
    }
    if let Some(seconds) = interval_seconds(test) {
        args.value("-i", seconds);
    }
}

/// The interval to ask for; `None` keeps iperf3's own second, 0 switches intervals off.
fn interval_seconds(test: &Selected<'_>) -> Option<u64> {
    let Selected {
        params,
        period_seconds,
        limit_seconds,
        ..
    } = *test;
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
    use super::{Selected, interval_seconds};
    use crate::probe::params::Params;

    /// As long as a day's test may take.
    const LIMIT_SECONDS: u64 = 90_000;

    fn interval(query: &str, limit_seconds: u64) -> Option<u64> {
        let params = Params::parse(query).unwrap();
        interval_seconds(&Selected {
            params: &params,
            port: params.ports.first,
            period_seconds: params.period_seconds,
            limit_seconds,
        })
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
            assert_eq!(interval(query, limit_seconds), expected, "{query}");
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
            assert_eq!(interval(query, LIMIT_SECONDS), expected, "{query}");
        }
    }
}
