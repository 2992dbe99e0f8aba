//! iperf3's JSON out of a text, and numbers, flags and lists out of that, by path and by key.
//!
//! Lets nothing out that cannot be a count, a size or a time; must not know what a member of a report means.

use serde_json::Value;

use crate::iperf3::report::plausibility;

/// The value that a text begins with: some versions print more text behind their document.
pub(super) fn first_value(text: &[u8]) -> Option<Value> {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter();
    values.next()?.ok()
}

pub(super) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

/// The members of a list; none when it is no list.
pub(super) fn items(value: Option<&Value>) -> impl Iterator<Item = &Value> + use<'_> {
    value.and_then(Value::as_array).into_iter().flatten()
}

/// A number that can be a count, a size or a time; `null`, text, negative and boundless ones cannot.
pub(super) fn number(value: &Value, key: &str) -> Option<f64> {
    number_at(value, &[key])
}

/// The number at a path of keys.
pub(super) fn number_at(value: &Value, path: &[&str]) -> Option<f64> {
    plausibility::count(at(value, path)?.as_f64()?)
}

/// Whether there is a number, be it a possible one or not.
pub(super) fn has_number(value: &Value, key: &str) -> bool {
    value.get(key).is_some_and(Value::is_number)
}

/// A number that reads 0 where nothing was measured, such as a round-trip time.
pub(super) fn measured(value: &Value, key: &str) -> Option<f64> {
    number(value, key).filter(|number| *number > 0.0)
}

/// The sum of a number over values that all have it; none when there are none.
pub(super) fn total(values: &[&Value], key: &str) -> Option<f64> {
    values.first()?;
    let sum: Option<f64> = values.iter().map(|value| number(value, key)).sum();
    sum.and_then(plausibility::count)
}

/// The largest of a number over the values that have it.
pub(super) fn longest(values: &[&Value], key: &str) -> Option<f64> {
    let numbers = values.iter().filter_map(|value| number(value, key));
    numbers.reduce(f64::max)
}
