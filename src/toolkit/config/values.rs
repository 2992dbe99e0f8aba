//! What a key may hold: nodes become texts, booleans, numbers, durations and words of a list.
//!
//! Must not know which keys there are. Types are those of Go's yaml.v2, where they cannot surprise: text takes any
//! scalar, null gives the default, booleans and integers are those of YAML 1.1 and stand without quotes.

use std::time::Duration;

use super::fault::{Fault, shown};
use super::yaml::{Key, Node, Value};
use crate::duration;

/// A node with the keys that lead to it.
pub(super) struct At<'a> {
    /// As errors show it; empty at the root.
    path: String,
    node: &'a Node,
}

/// A text and where it stands.
pub(super) struct Text {
    pub(super) line: usize,
    pub(super) text: String,
}

/// One key of a section, and how its value is taken.
pub(super) type Row<T> = (&'static str, fn(&mut T, &At<'_>) -> Result<(), Fault>);

impl<'a> At<'a> {
    pub(super) fn root(node: &'a Node) -> Self {
        Self {
            path: String::new(),
            node,
        }
    }

    fn child(&self, key: &Key, node: &'a Node) -> Self {
        let name = shown(&key.text);
        let path = match self.path.as_str() {
            "" => name,
            path => format!("{path}.{name}"),
        };
        Self { path, node }
    }

    pub(super) fn line(&self) -> usize {
        self.node.line
    }

    pub(super) fn fault(&self, text: &str) -> Fault {
        let path = match self.path.as_str() {
            "" => "the file",
            path => path,
        };
        Fault::at(self.node.line, format!("{path}: {text}"))
    }

    fn is_not(&self, text: &str, want: &str) -> Fault {
        self.fault(&format!("\"{}\" is not {want}", shown(text)))
    }

    /// Names what stands there and not its text, which may be a secret.
    fn wrong(&self, want: &str) -> Fault {
        let is = match &self.node.value {
            _ if self.node.is_null() => "nothing",
            Value::Plain(_) => "a plain value",
            Value::Quoted(_) => "quoted text",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "keys with values",
        };
        self.fault(&format!("want {want}, not {is}"))
    }

    /// The scalar that stands there; none when it is null.
    fn scalar(&self, want: &str) -> Result<Option<&'a str>, Fault> {
        match &self.node.value {
            _ if self.node.is_null() => Ok(None),
            Value::Plain(text) | Value::Quoted(text) => Ok(Some(text)),
            Value::Sequence(_) | Value::Mapping(_) => Err(self.wrong(want)),
        }
    }

    /// The scalar that stands there without quotes; none when it is null.
    fn plain(&self, want: &str) -> Result<Option<&'a str>, Fault> {
        match &self.node.value {
            Value::Quoted(_) => Err(self.wrong(want)),
            _ => self.scalar(want),
        }
    }
}

/// The keys and values of a mapping, in the order of the file; none when it is null.
pub(super) fn entries<'a>(at: &At<'a>) -> Result<Vec<(&'a Key, At<'a>)>, Fault> {
    match &at.node.value {
        Value::Mapping(entries) => Ok(entries
            .iter()
            .map(|(key, node)| (key, at.child(key, node)))
            .collect()),
        _ if at.node.is_null() => Ok(Vec::new()),
        _ => Err(at.wrong("keys with values (`key: value`)")),
    }
}

/// Takes each key of a mapping as its row says, in the order of the file.
pub(super) fn section<T>(into: &mut T, at: &At<'_>, rows: &[Row<T>]) -> Result<(), Fault> {
    for (key, value) in entries(at)? {
        let Some((_, take)) = rows.iter().find(|(name, _)| *name == key.text) else {
            let names: Vec<&str> = rows.iter().map(|(name, _)| *name).collect();
            let text = format!(
                "{}: unknown key, want one of {}",
                value.path,
                names.join(", ")
            );
            return Err(Fault::at(key.line, text));
        };
        take(into, &value)?;
    }
    Ok(())
}

/// A text; none when it is null or empty, which is the same to the exporter-toolkit.
pub(super) fn text(at: &At<'_>) -> Result<Option<Text>, Fault> {
    let line = at.line();
    let text = at.scalar("text")?.filter(|text| !text.is_empty());
    Ok(text.map(|text| Text {
        line,
        text: text.to_owned(),
    }))
}

/// One of the words; none when it is null.
pub(super) fn word(
    at: &At<'_>,
    what: &str,
    words: &[&'static str],
) -> Result<Option<&'static str>, Fault> {
    at.scalar("text")?
        .map(|text| known(at, text, what, words))
        .transpose()
}

/// A list of the words; none when it is null or empty.
pub(super) fn words(
    at: &At<'_>,
    what: &str,
    words: &[&'static str],
) -> Result<Option<Vec<&'static str>>, Fault> {
    let mut list = Vec::new();
    for item in items(at)?.unwrap_or_default() {
        let text = item.scalar("text")?.unwrap_or_default();
        list.push(known(&item, text, what, words)?);
    }
    Ok(Some(list).filter(|list| !list.is_empty()))
}

fn known(
    at: &At<'_>,
    text: &str,
    what: &str,
    words: &[&'static str],
) -> Result<&'static str, Fault> {
    let word = words.iter().copied().find(|word| *word == text);
    word.ok_or_else(|| {
        let (text, words) = (shown(text), words.join(", "));
        at.fault(&format!("unknown {what} \"{text}\", want one of {words}"))
    })
}

/// The items of a list; none when it is null.
pub(super) fn items<'a>(at: &At<'a>) -> Result<Option<Vec<At<'a>>>, Fault> {
    match &at.node.value {
        Value::Sequence(nodes) => Ok(Some(
            nodes
                .iter()
                .map(|node| At {
                    path: at.path.clone(),
                    node,
                })
                .collect(),
        )),
        _ if at.node.is_null() => Ok(None),
        _ => Err(at.wrong("a list")),
    }
}

/// A boolean of YAML 1.1, <https://yaml.org/type/bool.html>; none when it is null.
pub(super) fn boolean(at: &At<'_>) -> Result<Option<bool>, Fault> {
    const WANT: &str = "true or false";
    let Some(text) = at.plain(WANT)? else {
        return Ok(None);
    };
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Ok(Some(true))
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Ok(Some(false))
        }
        other => Err(at.is_not(other, WANT)),
    }
}

/// A number of 0 or more, written as in YAML 1.1 (<https://yaml.org/type/int.html>) or with `0o`; none when it is
/// null. At most 2^63 - 1, as the exporter-toolkit.
pub(super) fn count(at: &At<'_>) -> Result<Option<u64>, Fault> {
    const WANT: &str = "a whole number of 0 or more";
    let Some(text) = at.plain(WANT)? else {
        return Ok(None);
    };
    let number = integer(text).ok_or_else(|| at.is_not(text, WANT))?;
    Ok(Some(number))
}

fn integer(text: &str) -> Option<u64> {
    let bare: String = text.chars().filter(|c| *c != '_').collect();
    let digits = bare.strip_prefix('+').unwrap_or(&bare);
    let radix_marks = [("0x", 16), ("0b", 2), ("0o", 8)];
    let marked = radix_marks
        .iter()
        .find_map(|(mark, radix)| Some((digits.strip_prefix(mark)?, *radix)));
    let (digits, radix) = match marked {
        Some(found) => found,
        None if digits.starts_with('0') => (digits, 8),
        None => (digits, 10),
    };
    // `from_str_radix` takes a sign of its own.
    let is_plain = digits.chars().all(|c| c.is_digit(radix));
    let number = u64::from_str_radix(digits, radix).ok()?;
    Some(number).filter(|number| is_plain && i64::try_from(*number).is_ok())
}

/// A duration as Go writes it, with its unit; `0` needs none. None when it is null or zero.
///
/// Another bare number is refused: the exporter-toolkit takes it for nanoseconds, which nobody means, and this
/// program's flags take it for seconds.
pub(super) fn interval(at: &At<'_>) -> Result<Option<Duration>, Fault> {
    const WANT: &str = "a duration such as 1s, 500ms or 1m30s, or 0";
    let Some(text) = at.scalar(WANT)? else {
        return Ok(None);
    };
    if text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'_')) && integer(text) != Some(0) {
        return Err(at.fault(&format!("\"{}\" has no unit, want {WANT}", shown(text))));
    }
    let is_zero = !text.bytes().any(|b| matches!(b, b'1'..=b'9'));
    // Go's durations end at 2^63 - 1 ns, and what is below 1 ns would be no limit at all.
    duration::parse(text)
        .filter(|value| i64::try_from(value.as_nanos()).is_ok() && value.is_zero() == is_zero)
        .map(|value| Some(value).filter(|value| !value.is_zero()))
        .ok_or_else(|| at.is_not(text, WANT))
}
