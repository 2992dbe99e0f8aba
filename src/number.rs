//! Numbers as people write them: digits only, or with one of iperf3's suffixes.
//!
//! Owns the grammar; knows nothing of what a number is for.

use std::ops::RangeInclusive;
use std::str::FromStr;

/// Whether `text` is one or more digits, and nothing else.
pub(crate) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Reads a whole number, digits only. Rust's own parser also accepts `+5`, which no URL, file or flag means.
pub(crate) fn whole<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok().filter(|_| is_digits(text))
}

/// Reads a whole number, digits only, that is in a range.
pub(crate) fn within<T: FromStr + PartialOrd>(text: &str, range: RangeInclusive<T>) -> Option<T> {
    whole(text).filter(|number| range.contains(number))
}

/// Splits the suffix off a number (iperf3(1), `-n`): `10M` gives `10` and the factor of `M`, which is `kilo` squared.
/// `suffixes` are the allowed ones: `KMGT`, or the beginning of it.
pub(crate) fn split_suffix<'a>(text: &'a str, suffixes: &str, kilo: u64) -> (&'a str, u64) {
    suffixes
        .chars()
        .zip(1..)
        .find_map(|(suffix, power)| Some((text.strip_suffix(suffix)?, kilo.pow(power))))
        .unwrap_or((text, 1))
}

#[cfg(test)]
mod tests {
    use super::{split_suffix, whole};

    #[test]
    fn whole_numbers_are_digits_that_fit() {
        assert_eq!(whole("0"), Some(0_u8));
        assert_eq!(whole("0255"), Some(255_u8));
        for text in ["", "256", "+1", "-1", "1.0", "1e1", " 1", "0x1", "١"] {
            assert_eq!(whole::<u8>(text), None, "{text}");
        }
    }

    #[test]
    fn one_suffix_is_split_off() {
        for (text, split) in [
            ("10", ("10", 1)),
            ("10K", ("10", 1000)),
            ("1.5M", ("1.5", 1_000_000)),
            ("G", ("", 1_000_000_000)),
            ("1KK", ("1K", 1000)),
            ("1k", ("1k", 1)),
            ("1T", ("1T", 1)),
            ("", ("", 1)),
        ] {
            assert_eq!(split_suffix(text, "KMG", 1000), split, "{text}");
        }
        assert_eq!(split_suffix("1T", "KMGT", 1024), ("1", 1 << 40));
    }
}
