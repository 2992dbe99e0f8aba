//! Numbers, flags and lists from iperf3's JSON, by path and by key.
//!
//! Returns nothing that cannot be a count, a size or a time; must not know what a member of a report means.

use serde_json::Value;

use crate::iperf3::report::plausibility;

pub(super) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

/// The elements of a list; empty if `value` is not a list.
pub(super) fn items(value: Option<&Value>) -> impl Iterator<Item = &Value> + use<'_> {
    value.and_then(Value::as_array).into_iter().flatten()
}

/// A number that can be a count, a size or a time. `null`, text, negative and huge numbers cannot.
pub(super) fn number(value: &Value, key: &str) -> Option<f64> {
    number_at(value, &[key])
}

/// The number at a path of keys.
pub(super) fn number_at(value: &Value, path: &[&str]) -> Option<f64> {
    plausibility::count(at(value, path)?.as_f64()?)
}

/// Whether there is a number, plausible or not. `null` counts, because it is printed for a number that is not finite.
pub(super) fn has_number(value: &Value, key: &str) -> bool {
    let value = value.get(key);
    value.is_some_and(|value| value.is_number() || value.is_null())
}

/// A number for which 0 means that nothing was measured, such as a round-trip time.
pub(super) fn measured(value: &Value, key: &str) -> Option<f64> {
    number(value, key).filter(|number| *number > 0.0)
}

/// The sum of a number over values that must all have it; `None` if there are no values.
pub(super) fn total(values: &[&Value], key: &str) -> Option<f64> {
    values.first()?;
    let sum: Option<f64> = values.iter().map(|value| number(value, key)).sum();
    sum.and_then(plausibility::count)
}

/// Whether no value has an impossible number. If one has, iperf3's sum of them is wrong too, even if it looks right.
pub(super) fn are_possible(values: &[&Value], key: &str) -> bool {
    let mut own = values.iter().filter(|value| value.get(key).is_some());
    own.all(|value| number(value, key).is_some())
}

/// The largest number over the values that have it.
pub(super) fn longest(values: &[&Value], key: &str) -> Option<f64> {
    let numbers = values.iter().filter_map(|value| number(value, key));
    numbers.reduce(f64::max)
}
