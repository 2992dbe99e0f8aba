//! Converts YAML nodes to texts, booleans, numbers, durations and lists of words.
//!
//! Must not know which keys exist. Types follow Go's yaml.v2 where that is not surprising. Text accepts any scalar,
//! null means the default, and booleans and integers are unquoted YAML 1.1.

use std::time::Duration;

use super::fault::{Fault, shown};
use super::yaml::{Key, Node, Value};
use crate::duration;

/// The value of a missing key.
const NULL: &Node = &Node::null(0);

/// A node, with the keys that lead to it.
#[derive(Clone)]
pub(super) struct At<'a> {
    /// The path in error messages; empty at the root.
    pub(super) path: String,
    node: &'a Node,
}

impl<'a> At<'a> {
    pub(super) fn root(node: &'a Node) -> Self {
        Self {
            path: String::new(),
            node,
        }
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

    /// Names the kind of the value, not its text, which may be a secret.
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

    /// The scalar; `None` if it is null.
    fn scalar(&self, want: &str) -> Result<Option<&'a str>, Fault> {
        match &self.node.value {
            _ if self.node.is_null() => Ok(None),
            Value::Plain(text) | Value::Quoted(text) => Ok(Some(text)),
            Value::Sequence(_) | Value::Mapping(_) => Err(self.wrong(want)),
        }
    }

    /// The unquoted scalar; `None` if it is null.
    fn plain(&self, want: &str) -> Result<Option<&'a str>, Fault> {
        match &self.node.value {
            Value::Quoted(_) => Err(self.wrong(want)),
            _ => self.scalar(want),
        }
    }

    /// The keys and values of a mapping, in file order; empty if it is null.
    pub(super) fn entries(&self) -> Result<Vec<(&'a Key, At<'a>)>, Fault> {
        let child = |key: &Key, node| {
            let name = shown(&key.text);
            let path = match self.path.as_str() {
                "" => name,
                path => format!("{path}.{name}"),
            };
            At { path, node }
        };
        match &self.node.value {
            Value::Mapping(entries) => Ok(entries
                .iter()
                .map(|(key, node)| (key, child(key, node)))
                .collect()),
            _ if self.node.is_null() => Ok(Vec::new()),
            _ => Err(self.wrong("keys with values (`key: value`)")),
        }
    }

    /// The values of the mapping's keys `names`, null for a missing one. Other keys are an error.
    pub(super) fn keys<const N: usize>(&self, names: [&str; N]) -> Result<[At<'a>; N], Fault> {
        let entries = self.entries()?;
        for (key, value) in &entries {
            if !names.contains(&key.text.as_str()) {
                let names = names.join(", ");
                let text = format!("{}: unknown key, want one of {names}", value.path);
                return Err(Fault::at(key.line, text));
            }
        }
        Ok(names.map(|name| {
            let found = entries.iter().find(|(key, _)| key.text == name);
            found.map_or(At::root(NULL), |(_, value)| value.clone())
        }))
    }

    /// A text; `None` if it is null or empty, which the exporter-toolkit does not distinguish.
    pub(super) fn text(&self) -> Result<Option<&'a str>, Fault> {
        Ok(self.scalar("text")?.filter(|text| !text.is_empty()))
    }

    /// The value that one of the words means; `None` if the text is null or empty.
    pub(super) fn word<T>(
        &self,
        unknown: &str,
        words: impl Iterator<Item = (&'static str, T)> + Clone,
    ) -> Result<Option<T>, Fault> {
        let Some(text) = self.text()? else {
            return Ok(None);
        };
        let found = words.clone().find(|(word, _)| *word == text);
        found.map(|(_, value)| Some(value)).ok_or_else(|| {
            let words: Vec<&str> = words.map(|(word, _)| word).collect();
            let (text, words) = (shown(text), words.join(", "));
            self.fault(&format!("{unknown} \"{text}\", want one of {words}"))
        })
    }

    /// The items of a list, each parsed by `item`; `None` if the list is null.
    pub(super) fn list<T>(
        &self,
        item: impl Fn(&Self) -> Result<Option<T>, Fault>,
    ) -> Result<Option<Vec<T>>, Fault> {
        let nodes = match &self.node.value {
            Value::Sequence(nodes) => nodes,
            _ if self.node.is_null() => return Ok(None),
            _ => return Err(self.wrong("a list")),
        };
        let items = nodes.iter().map(|node| {
            let path = self.path.clone();
            let at = At { path, node };
            item(&at)?.ok_or_else(|| at.fault("a name is empty"))
        });
        items.collect::<Result<_, _>>().map(Some)
    }

    /// A boolean of YAML 1.1, <https://yaml.org/type/bool.html>; `None` if it is null.
    pub(super) fn boolean(&self) -> Result<Option<bool>, Fault> {
        const WANT: &str = "true or false";
        let Some(text) = self.plain(WANT)? else {
            return Ok(None);
        };
        match text {
            "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
                Ok(Some(true))
            }
            "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off"
            | "OFF" => Ok(Some(false)),
            other => Err(self.is_not(other, WANT)),
        }
    }

    /// A number from 0 to 2^63 - 1, as in the exporter-toolkit, in the notation of YAML 1.1
    /// (<https://yaml.org/type/int.html>) or with `0o`; `None` if it is null.
    pub(super) fn count(&self) -> Result<Option<u64>, Fault> {
        const WANT: &str = "a whole number of 0 or more";
        let Some(text) = self.plain(WANT)? else {
            return Ok(None);
        };
        let number = integer(text).ok_or_else(|| self.is_not(text, WANT))?;
        Ok(Some(number))
    }

    /// A duration in Go's notation, with a unit except for `0`. `None` if it is null or zero.
    ///
    /// Any other bare number is refused: the exporter-toolkit would take it for nanoseconds, which is never meant, and
    /// our flags would take it for seconds.
    pub(super) fn interval(&self) -> Result<Option<Duration>, Fault> {
        const WANT: &str = "a duration such as 1s, 500ms or 1m30s, or 0";
        let Some(text) = self.scalar(WANT)? else {
            return Ok(None);
        };
        if text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'_')) && integer(text) != Some(0)
        {
            return Err(self.fault(&format!("\"{}\" has no unit, want {WANT}", shown(text))));
        }
        let is_zero = !text.bytes().any(|b| matches!(b, b'1'..=b'9'));
        // Go's durations end at 2^63 - 1 ns. A value below 1 ns rounds to zero, which means no limit.
        duration::parse(text)
            .filter(|value| i64::try_from(value.as_nanos()).is_ok() && value.is_zero() == is_zero)
            .map(|value| Some(value).filter(|value| !value.is_zero()))
            .ok_or_else(|| self.is_not(text, WANT))
    }
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
    // `from_str_radix` would accept a sign.
    let is_plain = digits.chars().all(|c| c.is_digit(radix));
    let number = u64::from_str_radix(digits, radix).ok()?;
    Some(number).filter(|number| is_plain && i64::try_from(*number).is_ok())
}
