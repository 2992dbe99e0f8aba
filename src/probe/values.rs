//! Grammars of parameter values: text becomes a value within its range, or `None`.
//!
//! `iperf3/target` parses hosts and ports. Must not know which parameter a value belongs to.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::duration;
use crate::iperf3::target::{self, Host};
use crate::number;

/// Decodes percent-encoded form data (WHATWG URL Standard, `application/x-www-form-urlencoded`).
pub(crate) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// The values that Go's `strconv.ParseBool` accepts.
pub(super) const BOOLEAN_ALLOWED: &str =
    "1, t, T, TRUE, true, True, 0, f, F, FALSE, false or False";

/// Parses a boolean like Go's `strconv.ParseBool`.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Parses an age from one second to one week. Older results say nothing about the current state of the network.
pub(super) fn max_age(text: &str) -> Option<Duration> {
    let range = Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 3600);
    duration::parse(text).filter(|age| range.contains(age))
}

/// Parses a duration within the range and rounds it up to whole seconds.
pub(super) fn seconds(text: &str, range: RangeInclusive<u64>) -> Option<u64> {
    let time = duration::parse(text).filter(|time| time.as_secs() >= *range.start())?;
    Some(duration::ceil_seconds(time)).filter(|seconds| range.contains(seconds))
}

/// Parses a timeout from 1 ms to 1 h, in milliseconds as iperf3 expects it. With 0, iperf3 would give up at once.
pub(super) fn connect_timeout_ms(text: &str) -> Option<u32> {
    let range = Duration::from_millis(1)..=Duration::from_secs(3600);
    let wait = duration::parse(text).filter(|wait| range.contains(wait))?;
    u32::try_from(wait.as_nanos().div_ceil(1_000_000)).ok()
}

/// Parses `#[.#][KMG]` bytes with K = 1024, from 1 to `max`. A fraction of a byte is dropped, as in iperf3
/// (`unit_atoi`).
pub(super) fn size<T: TryFrom<u64>>(text: &str, max: u64) -> Option<T> {
    let size = scaled(text, 1024).filter(|size| (1.0..=max as f64).contains(size))?;
    T::try_from(whole_part(size)?).ok()
}

/// Parses a rate in bits per second. The minimum is 8: iperf3 divides by 8, and 0 would mean no pacing.
pub(super) fn fq_rate(text: &str) -> Option<u64> {
    whole_part(scaled(text, 1000).filter(|rate| (8.0..=1e12).contains(rate))?)
}

/// Exact up to 2^53. `Duration` has the standard library's only checked conversion from a float to an integer.
fn whole_part(value: f64) -> Option<u64> {
    Some(Duration::try_from_secs_f64(value.floor()).ok()?.as_secs())
}

/// Parses a number from 0 to 255 in C notation: decimal, `0x…`, or octal after a leading 0.
pub(super) fn byte(text: &str) -> Option<u8> {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = match (hex, text.strip_prefix('0')) {
        (Some(hex), _) => (hex, 16),
        (None, Some(octal)) if !octal.is_empty() => (octal, 8),
        _ => (text, 10),
    };
    let plain = digits.bytes().all(|b| b.is_ascii_hexdigit());
    u8::from_str_radix(digits, radix).ok().filter(|_| plain)
}

/// Names of code points that every iperf3 with `--dscp` knows (`ipqos` in dscp.c). The older type-of-service names
/// (`lowdelay` …) are not code points and are left out: `tos` takes their numbers.
const DSCP_NAMES: &[&str] = &[
    "af11", "af12", "af13", "af21", "af22", "af23", "af31", "af32", "af33", "af41", "af42", "af43",
    "cs0", "cs1", "cs2", "cs3", "cs4", "cs5", "cs6", "cs7", "ef",
];

/// Parses a name, or a number from 0 to 63. A number is returned in decimal.
pub(super) fn dscp(text: &str) -> Option<String> {
    let name = text.to_ascii_lowercase();
    if DSCP_NAMES.contains(&name.as_str()) {
        return Some(name);
    }
    byte(text)
        .filter(|value| *value <= 63)
        .map(|value| value.to_string())
}

/// Parses the name of a congestion control algorithm of the kernel (`TCP_CA_NAME_MAX` is 16, including the final NUL).
pub(super) fn algorithm(text: &str) -> Option<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let fits = (1..=15).contains(&text.len()) && !text.starts_with('-') && text.bytes().all(plain);
    fits.then(|| text.to_owned())
}

/// Parses `#[.#][KMG][/#]`. The maximum burst is iperf3's (`MAX_BURST` in `iperf_api.h`). The maximum rate is above
/// that of any link. A rate between 0 and 1 is rejected: it would reach iperf3 as 0, which means unlimited.
pub(super) fn bitrate(text: &str) -> Option<String> {
    let burst_fits = text
        .split_once('/')
        .is_none_or(|(_, burst)| number::within(burst, 1..=1000_u16).is_some());
    let bits = bits_per_second(text)?;
    let rate_fits = bits == 0.0 || (1.0..=1e12).contains(&bits);
    (rate_fits && burst_fits && text.len() <= 32).then(|| text.to_owned())
}

/// The rate in `#[.#][KMG][/#]`, in bits per second.
pub(super) fn bits_per_second(text: &str) -> Option<f64> {
    let (rate, _) = text.split_once('/').unwrap_or((text, ""));
    scaled(rate, 1000)
}

/// Parses `#[.#][KMG]`, where K is `kilo`.
fn scaled(text: &str, kilo: u64) -> Option<f64> {
    let (value, factor) = number::split_suffix(text, "KMG", kilo);
    let (whole, fraction) = value.split_once('.').unwrap_or((value, "0"));
    let is_number = text.len() <= 32 && number::is_digits(whole) && number::is_digits(fraction);
    let value: f64 = value.parse().ok().filter(|_| is_number)?;
    Some(value * factor as f64)
}

/// Parses an address or a host name, optionally followed by `%device` (iperf3(1), `-B host[%dev]`).
pub(super) fn bind(text: &str) -> Option<String> {
    let fits = match text.split_once('%') {
        Some((host, device)) => Host::parse(host).is_some() && target::is_interface(device),
        None => Host::parse(text).is_some(),
    };
    fits.then(|| text.to_owned())
}
