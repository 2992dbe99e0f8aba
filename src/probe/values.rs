//! The grammars of parameter values: text becomes a value in its range, or none.
//!
//! Hosts and ports are `target`'s. Must not know which parameter a value is of.

use std::time::Duration;

use super::target::{self, Host};
use crate::duration;

/// Percent-decoding as a form does it (WHATWG URL Standard, `application/x-www-form-urlencoded`).
pub(super) fn decode(text: &str) -> Option<String> {
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

/// Go's `strconv.ParseBool`.
pub(super) const BOOLEAN_ALLOWED: &str =
    "1, t, T, TRUE, true, True, 0, f, F, FALSE, false or False";

/// One of Go's words for true and false.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// A whole number in digits only: `+5` and `5.0` are none.
pub(super) fn whole(text: &str) -> Option<u8> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

pub(super) fn period_seconds(text: &str) -> Option<u64> {
    let period = duration::parse(text)?;
    let allowed = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
    let round_up = u64::from(period.subsec_nanos() > 0);
    allowed
        .contains(&period)
        .then(|| period.as_secs() + round_up)
}

/// `#[.#][KMG][/#]`. The upper limits are iperf3's for the burst (`MAX_BURST` in `iperf_api.h`) and, for the rate,
/// more than any link has; a rate between 0 and 1 would reach iperf3 as 0, which means unlimited.
pub(super) fn bitrate(text: &str) -> Option<String> {
    let (rate, burst) = match text.split_once('/') {
        Some((rate, burst)) => (rate, Some(burst)),
        None => (text, None),
    };
    let (number, factor) = match rate.bytes().last()? {
        b'K' => (rate.strip_suffix('K')?, 1e3),
        b'M' => (rate.strip_suffix('M')?, 1e6),
        b'G' => (rate.strip_suffix('G')?, 1e9),
        _ => (rate, 1.0),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_number = match number.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(number),
    };
    let bits = number.parse::<f64>().ok().filter(|_| is_number)? * factor;
    let burst_fits = burst.is_none_or(|burst| {
        let count = burst.parse::<u16>().ok().filter(|_| digits(burst));
        count.is_some_and(|count| (1..=1000).contains(&count))
    });
    let rate_fits = bits == 0.0 || (1.0..=1e12).contains(&bits);
    (rate_fits && burst_fits && text.len() <= 32).then(|| text.to_owned())
}

/// An address, a host name, or either with `%device` behind it (iperf3(1), `-B host[%dev]`).
pub(super) fn bind(text: &str) -> Option<String> {
    let fits = match text.split_once('%') {
        Some((host, device)) => Host::parse(host).is_some() && target::is_interface(device),
        None => Host::parse(text).is_some(),
    };
    fits.then(|| text.to_owned())
}
