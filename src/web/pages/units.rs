//! Numbers for people: three significant digits, a no-break space, and a unit.
//!
//! Knows magnitudes; must not know what was measured.

// The largest unit comes first.
const BIT_RATES: &[(f64, &str)] = &[
    (1e12, "Tbit/s"),
    (1e9, "Gbit/s"),
    (1e6, "Mbit/s"),
    (1e3, "kbit/s"),
    (1.0, "bit/s"),
];
const SECONDS: &[(f64, &str)] = &[(1.0, "s"), (1e-3, "ms"), (1e-6, "µs")];
const BYTES: &[(f64, &str)] = &[(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
/// From this fraction of a unit, three digits round up to a whole unit: 999.7 kbit/s is 1.00 Mbit/s.
const ROUNDS_UP: f64 = 0.9995;

/// The unit for a value: the largest that the value reaches, otherwise the smallest.
fn unit(value: f64, units: &[(f64, &'static str)]) -> (f64, &'static str) {
    let reached = units.iter().find(|unit| value >= unit.0 * ROUNDS_UP);
    reached.or(units.last()).copied().unwrap_or_default()
}

fn with_unit(value: f64, units: &[(f64, &'static str)]) -> String {
    let (scale, name) = unit(value, units);
    format!("{}\u{a0}{name}", number(value / scale))
}

/// The unit for a rate: its size in bytes per second, and its name.
pub(super) fn bit_unit(bytes_per_second: f64) -> (f64, &'static str) {
    let (scale, name) = unit(bytes_per_second * 8.0, BIT_RATES);
    (scale / 8.0, name)
}

pub(super) fn bit_rate(bytes_per_second: f64) -> String {
    with_unit(bytes_per_second * 8.0, BIT_RATES)
}

/// A range of rates, in the unit of the highest: `9.30 to 9.50 Mbit/s`.
pub(super) fn bit_rates(lowest: f64, highest: f64) -> String {
    let (unit, _) = bit_unit(highest);
    let (low, high) = (number(lowest / unit), number(highest / unit));
    let lowest = if low == high {
        String::new()
    } else {
        low + " to "
    };
    lowest + &bit_rate(highest)
}

pub(super) fn seconds(seconds: f64) -> String {
    if seconds == 0.0 {
        return "0\u{a0}ms".to_owned();
    }
    with_unit(seconds, SECONDS)
}

/// A percentage. A small one keeps two decimals. A loss above 0 is never rounded to 0, one below 100 never to 100.
pub(super) fn percent(percent: f64) -> String {
    if percent > 0.0 && percent < 0.01 {
        "under 0.01\u{a0}%".to_owned()
    } else if (99.95..100.0).contains(&percent) {
        "over 99.9\u{a0}%".to_owned()
    } else {
        format!("{}\u{a0}%", number(percent))
    }
}

pub(super) fn bytes(bytes: f64) -> String {
    if bytes < 1e3 * ROUNDS_UP {
        return format!("{bytes:.0}\u{a0}B");
    }
    with_unit(bytes, BYTES)
}

pub(super) fn count(count: f64) -> String {
    grouped(count, 0)
}

/// A rate for a column in Mbit/s.
pub(super) fn megabits(bytes_per_second: f64) -> String {
    hundredths(bytes_per_second * 8.0 / 1e6)
}

/// A time for a column in ms.
pub(super) fn milliseconds(seconds: f64) -> String {
    hundredths(seconds * 1e3)
}

/// A percentage for a column in %.
pub(super) fn percent_alone(percent: f64) -> String {
    if (99.995..100.0).contains(&percent) {
        "over 99.99".to_owned()
    } else {
        hundredths(percent)
    }
}

/// Two decimals, so that the decimal points of a column are aligned. A value above 0 is never rounded to 0.
fn hundredths(value: f64) -> String {
    if value > 0.0 && value < 0.005 {
        "under 0.01".to_owned()
    } else {
        grouped(value, 2)
    }
}

/// A value with this number of decimals and commas between thousands.
fn grouped(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let whole = text.split('.').next().map_or(0, str::len);
    let mut out = String::with_capacity(text.len() + 4);
    for (place, digit) in text.chars().enumerate() {
        if place > 0 && place < whole && (whole - place) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Three significant digits, or more for a whole number above 999. Zero is `0`.
fn number(value: f64) -> String {
    let digits = match value {
        0.0 => 0,
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    grouped(value, digits)
}

#[cfg(test)]
mod tests {
    use super::{
        bit_rate, bit_rates, bytes, count, megabits, milliseconds, percent, percent_alone, seconds,
    };

    /// The text with a no-break space before its unit, which is the last word.
    fn unbroken(text: &str) -> String {
        let (value, unit) = text.rsplit_once(' ').unwrap();
        format!("{value}\u{a0}{unit}")
    }

    #[test]
    fn rates_have_three_digits_and_the_unit_that_suits_them() {
        for (bits, text) in [
            (0.0, "0 bit/s"),
            (8.0, "8.00 bit/s"),
            (999.0, "999 bit/s"),
            (999.7, "1.00 kbit/s"),
            (9_994_000.0, "9.99 Mbit/s"),
            (9_996_000.0, "10.0 Mbit/s"),
            (99_960_000.0, "100 Mbit/s"),
            (941_400_000.0, "941 Mbit/s"),
            (999_700_000.0, "1.00 Gbit/s"),
            (23_210_000_000.0, "23.2 Gbit/s"),
            (4e15, "4,000 Tbit/s"),
        ] {
            assert_eq!(bit_rate(bits / 8.0), unbroken(text), "{bits}");
        }
        assert_eq!(bit_rates(0.0, 0.0), "0\u{a0}bit/s");
        assert_eq!(bit_rates(1e6, 1e6), "8.00\u{a0}Mbit/s");
        assert_eq!(bit_rates(0.0, 1.25e6), "0 to 10.0\u{a0}Mbit/s");
    }

    #[test]
    fn a_column_of_one_unit_has_commas_and_its_points_below_each_other() {
        for (value, text) in [
            (0.0, "0.00"),
            (0.001, "under 0.01"),
            (0.005_1, "0.01"),
            (5.524, "5.52"),
            (941.4, "941.40"),
            (1234.5, "1,234.50"),
            (999_999.999, "1,000,000.00"),
        ] {
            assert_eq!(megabits(value * 1e6 / 8.0), text);
            assert_eq!(milliseconds(value / 1e3), text);
        }
        for (value, text) in [
            (0.001, "under 0.01"),
            (8.351, "8.35"),
            (99.998, "over 99.99"),
            (100.0, "100.00"),
        ] {
            assert_eq!(percent_alone(value), text);
        }
        for (value, text) in [
            (0.0, "0"),
            (999.0, "999"),
            (1000.0, "1,000"),
            (1_234_567.0, "1,234,567"),
        ] {
            assert_eq!(count(value), text);
        }
    }

    #[test]
    fn times_parts_and_bytes_have_the_unit_that_suits_them() {
        for (value, text) in [
            (0.0, "0 ms"),
            (0.000_043, "43.0 µs"),
            (0.000_999_7, "1.00 ms"),
            (0.02, "20.0 ms"),
            (0.9996, "1.00 s"),
            (90.0, "90.0 s"),
        ] {
            assert_eq!(seconds(value), unbroken(text));
        }
        for (value, text) in [
            (0.0, "0 %"),
            (0.004, "under 0.01 %"),
            (0.012, "0.01 %"),
            (5.0, "5.00 %"),
            (99.94, "99.9 %"),
            (99.999, "over 99.9 %"),
            (100.0, "100 %"),
        ] {
            assert_eq!(percent(value), unbroken(text));
        }
        for (value, text) in [
            (0.0, "0 B"),
            (999.0, "999 B"),
            (131_072.0, "131 kB"),
            (1.25e9, "1.25 GB"),
        ] {
            assert_eq!(bytes(value), unbroken(text));
        }
    }
}
