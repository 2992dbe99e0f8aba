//! Durations as people write them: Go's notation (`1m30s`, `500ms`, `1.5s`) or a bare number of seconds.
//!
//! Owns the grammar and the conversion back to text; knows nothing of what a duration is for.
//! Source of the grammar: the documentation of Go's `time.ParseDuration` and `time.Duration.String`.

use std::time::Duration;

/// The units of Go's grammar, in seconds. Two code points look like the `µ` of `µs`.
const UNITS: &[(&str, f64)] = &[
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("μs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
];

/// Longest text that can still be a useful duration. The limit keeps hostile input cheap.
const TEXT_LIMIT_BYTES: usize = 32;

/// Reads a duration; `None` if `text` is not one, is negative, or does not fit into `Duration`.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    if text.is_empty() || text.len() > TEXT_LIMIT_BYTES {
        return None;
    }
    if let Some(seconds) = decimal(text) {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit_end)?;
        let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let part = Duration::try_from_secs_f64(decimal(number)? * seconds).ok()?;
        total = total.checked_add(part)?;
        rest = tail;
    }
    Some(total)
}

/// A plain decimal number: digits with at most one point. No sign, no exponent, no `inf`.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if plain && text.bytes().any(|b| b.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

/// Whole seconds, rounded up.
pub(crate) fn ceil_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// Writes a duration the way Go prints one: `1m30s`, `2.5s`, `0s`, `12.3ms`.
pub(crate) fn format(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let (value, unit) = match nanos {
        0 => return "0s".to_owned(),
        1..1_000 => return format!("{nanos}ns"),
        1_000..1_000_000 => (decimal_places(nanos, 3), "µs"),
        1_000_000..1_000_000_000 => (decimal_places(nanos, 6), "ms"),
        _ => {
            let minutes = duration.as_secs() / 60;
            let seconds = decimal_places(nanos - u128::from(minutes) * 60 * 1_000_000_000, 9);
            let clock = match (minutes / 60, minutes % 60) {
                (0, 0) => String::new(),
                (0, minutes) => format!("{minutes}m"),
                (hours, minutes) => format!("{hours}h{minutes}m"),
            };
            return format!("{clock}{seconds}s");
        }
    };
    format!("{value}{unit}")
}

/// `value` divided by ten to the `places`, without trailing zeros and without rounding.
fn decimal_places(value: u128, places: usize) -> String {
    let digits = format!("{value:0width$}", width = places + 1);
    let (whole, fraction) = digits
        .split_at_checked(digits.len() - places)
        .unwrap_or((&digits, ""));
    match fraction.trim_end_matches('0') {
        "" => whole.to_owned(),
        fraction => format!("{whole}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{format, parse};
    use std::time::Duration;

    #[test]
    fn go_notation_and_bare_seconds_are_read() {
        for (text, millis) in [
            ("5", 5_000),
            ("0", 0),
            ("2.5", 2_500),
            ("5s", 5_000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("1.5s", 1_500),
            (".5s", 500),
            ("1h", 3_600_000),
            ("24h0m0s", 86_400_000),
            ("1000us", 1),
            ("1000µs", 1),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn texts_that_are_not_durations_are_rejected() {
        for text in [
            "",
            " ",
            "-5s",
            "+5s",
            "5 s",
            "s",
            "5x",
            "5s5",
            "1e3",
            "1e3s",
            "inf",
            "NaN",
            ".",
            ".s",
            "1.2.3s",
            "5S",
            "99999999999999999999999999999h",
            "999999999999999999999999999999999999999",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn durations_print_as_go_prints_them() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (12_300_000, "12.3ms"),
            (1_000_000_000, "1s"),
            (2_500_000_000, "2.5s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (86_399_999_000_000, "23h59m59.999s"),
        ] {
            assert_eq!(format(Duration::from_nanos(nanos)), text);
        }
    }
}
