//! YAML, strictly: a text becomes one tree whose nodes know their lines.
//!
//! Owns the crate `saphyr_parser` and the limits of size, depth and aliases; must not know which keys there are.
//! Left out on purpose, each with a sentence: merge keys, a second document, tags other than `!!str`, `!!map` and
//! `!!seq`. Such a file is an error, and is never read as something that it does not say.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::fault::{Fault, shown};

/// Nesting; the schema needs three.
const DEPTH_LIMIT: usize = 16;
/// Nodes with those that aliases repeat: a few thousand users, and no alias bomb.
const NODE_LIMIT: usize = 20_000;
/// Bytes of scalars with those that aliases repeat: twice the largest file.
const EXPANDED_LIMIT_BYTES: usize = 2 << 20;

/// A value and where it stands.
#[derive(Clone)]
pub(super) struct Node {
    /// From 1.
    pub(super) line: usize,
    pub(super) value: Value,
}

/// What stands there.
#[derive(Clone)]
pub(super) enum Value {
    /// A scalar without quotes, whose type depends on its text.
    Plain(String),
    /// A scalar that is text whatever it looks like: quoted, a block, or tagged `!!str`.
    Quoted(String),
    Sequence(Vec<Node>),
    /// Keys and values in the order of the file; no key is there twice.
    Mapping(Vec<(Key, Node)>),
}

/// A key of a mapping; keys are compared as text, as the schema's keys and user names are text.
#[derive(Clone)]
pub(super) struct Key {
    /// From 1.
    pub(super) line: usize,
    pub(super) text: String,
}

impl Node {
    /// Whether it is YAML's null.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Plain(text) if is_null_word(text))
    }
}

/// The words of null in YAML 1.1, <https://yaml.org/type/null.html>.
fn is_null_word(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// Reads the one document of `text`; an empty text is null.
pub(super) fn read(text: &str) -> Result<Node, Fault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    check_characters(text)?;
    let mut tree = Tree::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let text = format!("this is not YAML: {}", shown(error.info()));
            Fault::at(error.marker().line(), text)
        })?;
        tree.take(event, span.start.line())?;
    }
    Ok(tree.root.unwrap_or(Node {
        line: 1,
        value: Value::Plain(String::new()),
    }))
}

/// Refuses control characters, as YAML does (production c-printable). The parser would take a NUL for the end of
/// the text, and so read half a file. YAML 1.1, and so the exporter-toolkit, ends lines at U+0085, U+2028 and U+2029
/// (production b-char), and YAML 1.2, and so the parser, does not: what follows one in a comment would count or not.
fn check_characters(text: &str) -> Result<(), Fault> {
    let mut line = 1;
    for c in text.chars() {
        let code = u32::from(c);
        match c {
            '\n' => line += 1,
            '\t' | '\r' => {}
            '\u{85}' | '\u{2028}' | '\u{2029}' => {
                let text = "is not allowed: to some readers of YAML it ends the line";
                return Err(Fault::at(
                    line,
                    format!("the character U+{code:04X} {text}"),
                ));
            }
            _ if c.is_control() => {
                let text = format!("the control character U+{code:04X} is not allowed in YAML");
                return Err(Fault::at(line, text));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A sequence or mapping whose end has not come yet.
struct Open {
    node: Node,
    /// 0 when it has none.
    anchor: usize,
    /// The key of a mapping whose value comes next.
    key: Option<Key>,
}

/// The tree as far as the events have come.
#[derive(Default)]
struct Tree {
    root: Option<Node>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    bytes: usize,
}

impl Tree {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), Fault> {
        match event {
            Event::DocumentStart(has_dashes) if self.root.is_some() => {
                let place = if has_dashes {
                    "at `---`"
                } else {
                    "after `...`"
                };
                let text = format!("a second document begins {place}, only one can be read");
                Err(Fault::at(line, text))
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = has_tag(tag.as_deref(), "str", line)?;
                self.count(text.len(), self.open.len(), line)?;
                let text = text.into_owned();
                let value = if is_text || style != ScalarStyle::Plain {
                    Value::Quoted(text)
                } else {
                    Value::Plain(text)
                };
                self.place(Node { line, value }, anchor)
            }
            Event::Alias(anchor) => {
                let text = "an alias stands inside of what it repeats";
                let node = self.anchors.get(&anchor).cloned();
                let node = node.ok_or_else(|| Fault::at(line, text))?;
                self.count_again(&node, self.open.len(), line)?;
                self.place(Node { line, ..node }, 0)
            }
            Event::SequenceStart(anchor, tag) => {
                has_tag(tag.as_deref(), "seq", line)?;
                self.open(line, anchor, Value::Sequence(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                has_tag(tag.as_deref(), "map", line)?;
                self.open(line, anchor, Value::Mapping(Vec::new()))
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.place(open.node, open.anchor),
                None => Ok(()),
            },
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    /// Counts a scalar of so many bytes, or a collection, which has none of its own.
    fn count(&mut self, bytes: usize, level: usize, line: usize) -> Result<(), Fault> {
        self.nodes += 1;
        self.bytes += bytes;
        let limit = if level > DEPTH_LIMIT {
            format!("more than {DEPTH_LIMIT} levels")
        } else if self.nodes > NODE_LIMIT {
            format!("more than {NODE_LIMIT} values, with those that aliases repeat")
        } else if self.bytes > EXPANDED_LIMIT_BYTES {
            format!("more than {EXPANDED_LIMIT_BYTES} bytes, with those that aliases repeat")
        } else {
            return Ok(());
        };
        Err(Fault::at(line, limit))
    }

    /// Counts a node that an alias repeats below so many levels, with all that is in it.
    fn count_again(&mut self, node: &Node, level: usize, line: usize) -> Result<(), Fault> {
        match &node.value {
            Value::Plain(text) | Value::Quoted(text) => self.count(text.len(), level, line),
            Value::Sequence(items) => {
                self.count(0, level + 1, line)?;
                let mut items = items.iter();
                items.try_for_each(|item| self.count_again(item, level + 1, line))
            }
            Value::Mapping(entries) => {
                self.count(0, level + 1, line)?;
                entries.iter().try_for_each(|(key, node)| {
                    self.count(key.text.len(), level + 1, line)?;
                    self.count_again(node, level + 1, line)
                })
            }
        }
    }

    fn open(&mut self, line: usize, anchor: usize, value: Value) -> Result<(), Fault> {
        self.count(0, self.open.len() + 1, line)?;
        self.open.push(Open {
            node: Node { line, value },
            anchor,
            key: None,
        });
        Ok(())
    }

    /// Puts a finished node where it belongs.
    fn place(&mut self, mut node: Node, anchor: usize) -> Result<(), Fault> {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let path = self.path();
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut parent.node.value {
            Value::Sequence(items) => items.push(node),
            Value::Mapping(entries) => match parent.key.take() {
                None => parent.key = Some(new_key(node, &path, entries)?),
                Some(key) => {
                    if node.is_null() {
                        // The parser finds out on a later line that there is no value.
                        node.line = key.line;
                    }
                    entries.push((key, node));
                }
            },
            // A scalar is never open.
            Value::Plain(_) | Value::Quoted(_) => {}
        }
        Ok(())
    }

    /// The keys that lead to the mapping in work, for errors.
    fn path(&self) -> String {
        let mut path = String::new();
        for open in &self.open {
            if let Some(key) = &open.key {
                path.push_str(&shown(&key.text));
                path.push('.');
            }
        }
        path
    }
}

fn new_key(node: Node, path: &str, others: &[(Key, Node)]) -> Result<Key, Fault> {
    let line = node.line;
    let refused = |text: String| Err(Fault::at(line, text));
    let place = match path.trim_end_matches('.') {
        "" => "the file",
        place => place,
    };
    let text = match node.value {
        Value::Plain(text) if text == "<<" => {
            return refused(format!(
                "{path}<<: merge keys are not supported, write the keys out"
            ));
        }
        Value::Plain(text) if is_null_word(&text) => {
            return refused(format!(
                "{place}: a key is missing, or is null without quotes"
            ));
        }
        Value::Plain(text) | Value::Quoted(text) => text,
        Value::Sequence(_) | Value::Mapping(_) => {
            return refused(format!("{place}: a key has to be text"));
        }
    };
    if let Some((first, _)) = others.iter().find(|(other, _)| other.text == text) {
        let (name, first) = (shown(&text), first.line);
        return refused(format!(
            "{path}{name}: the key is there twice, first in line {first}"
        ));
    }
    Ok(Key { line, text })
}

/// Whether there is a tag; any other than `!!<suffix>` and `!` is refused.
fn has_tag(tag: Option<&Tag>, suffix: &str, line: usize) -> Result<bool, Fault> {
    let Some(tag) = tag else {
        return Ok(false);
    };
    let is_known = tag.is_yaml_core_schema() && tag.suffix == suffix;
    // `!` alone keeps a scalar from being taken for anything but text (YAML 1.2.2, 6.9.1).
    let is_non_specific = matches!(
        (tag.handle.as_str(), tag.suffix.as_str()),
        ("!", "") | ("", "!")
    );
    if is_known || is_non_specific {
        return Ok(true);
    }
    // Without the tag, which may be a password that begins so.
    Err(Fault::at(
        line,
        format!(
            "a tag other than !!{suffix} is not supported here; text that begins with ! needs quotes"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::{NODE_LIMIT, Node, Value, read};

    /// The tree on one line: `'…'` for text, scalars bare.
    fn flat(node: &Node) -> String {
        match &node.value {
            Value::Plain(text) => text.clone(),
            Value::Quoted(text) => format!("'{text}'"),
            Value::Sequence(items) => {
                let items: Vec<String> = items.iter().map(flat).collect();
                format!("[{}]", items.join(" "))
            }
            Value::Mapping(entries) => {
                let entries: Vec<String> = entries
                    .iter()
                    .map(|(key, node)| format!("{}@{}={}", key.text, key.line, flat(node)))
                    .collect();
                format!("{{{}}}", entries.join(" "))
            }
        }
    }

    fn error(text: &str) -> (Option<usize>, String) {
        let fault = read(text).err().expect("an error");
        (fault.line, fault.text)
    }

    #[test]
    fn a_text_becomes_a_tree_with_lines() {
        for (text, tree) in [
            ("", ""),
            ("\n# only a comment\n\n", ""),
            ("---\n", ""),
            ("\u{feff}a: 1\n", "{a@1=1}"),
            ("a: 1\r\nb: 'x'\r\n", "{a@1=1 b@2='x'}"),
            ("---\na:\n  b: [c, \"d\"]\n...\n", "{a@2={b@3=[c 'd']}}"),
            (
                "a: |\n  one\n  two\nb: >\n  x\n  y\n",
                "{a@1='one\ntwo\n' b@4='x y\n'}",
            ),
            ("a: !!str 1\nb: ! 2\n", "{a@1='1' b@2='2'}"),
            ("a: &x [1]\nb: *x\n", "{a@1=[1] b@2=[1]}"),
            ("a: &x 1\nb: &x 2\nc: *x\n", "{a@1=1 b@2=2 c@3=2}"),
            ("? a\n: b\n", "{a@1=b}"),
            ("%YAML 1.1\n---\na: {b: c}\n", "{a@3={b@3=c}}"),
            ("'<<': 1", "{<<@1=1}"),
            ("a: \"\\L\"\n", "{a@1='\u{2028}'}"),
        ] {
            let node = read(text).expect("a tree");
            assert_eq!(flat(&node), tree, "{text:?}");
        }
    }

    #[test]
    fn a_value_that_is_missing_has_its_keys_line() {
        let node = read("a: 1\nb:\n\n\nc: 2\n").expect("a tree");
        let Value::Mapping(entries) = node.value else {
            panic!("no mapping");
        };
        let lines: Vec<usize> = entries.iter().map(|(_, node)| node.line).collect();
        assert_eq!(lines, [1, 2, 5]);
    }

    #[test]
    fn what_is_left_out_of_yaml_is_refused_with_its_line() {
        for (text, line, message) in [
            (
                "a:\n  b: 1\n  b: 2\n",
                3,
                "a.b: the key is there twice, first in line 2",
            ),
            (
                "'1': a\n1: b\n",
                2,
                "1: the key is there twice, first in line 1",
            ),
            (
                "a:\n  <<: {b: 1}\n",
                2,
                "a.<<: merge keys are not supported, write the keys out",
            ),
            (
                "a: 1\n---\nb: 2\n",
                2,
                "a second document begins at `---`, only one can be read",
            ),
            (
                "a: 1\n...\nb: 2\n",
                3,
                "a second document begins after `...`, only one can be read",
            ),
            (
                "a: 1\nb: !!binary aGk=\n",
                2,
                "a tag other than !!str is not supported here; text that begins with ! needs quotes",
            ),
            (
                "a: !x [1]\n",
                1,
                "a tag other than !!seq is not supported here; text that begins with ! needs quotes",
            ),
            (
                "a: &x [1, *x]\n",
                1,
                "an alias stands inside of what it repeats",
            ),
            ("? [a]\n: b\n", 1, "the file: a key has to be text"),
            (
                "~: b\n",
                1,
                "the file: a key is missing, or is null without quotes",
            ),
            (
                "a: 1\nb: \u{1b}[31m\n",
                2,
                "the control character U+001B is not allowed in YAML",
            ),
            (
                "a: 1 # x\u{85}b: 2\n",
                1,
                "the character U+0085 is not allowed: to some readers of YAML it ends the line",
            ),
            (
                "a: 1\n# x\u{2028}b: 2\n",
                2,
                "the character U+2028 is not allowed: to some readers of YAML it ends the line",
            ),
            (
                "a: 'x\u{2029}'\n",
                1,
                "the character U+2029 is not allowed: to some readers of YAML it ends the line",
            ),
            (
                "a: 1\n\0b: 2\n",
                2,
                "the control character U+0000 is not allowed in YAML",
            ),
        ] {
            assert_eq!(error(text), (Some(line), message.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_yaml_is_refused_with_its_line() {
        for (text, line) in [
            ("a: [1\n", 2),
            ("a: 'x\n", 1),
            ("a: 1\nb: *nobody\n", 2),
            ("a: 1\n\tb: 2\n", 1),
            ("a:\n\tb: 2\n", 2),
            ("a: b: c\n", 1),
        ] {
            let (at, message) = error(text);
            assert!(
                message.starts_with("this is not YAML: "),
                "{text:?} {message}"
            );
            assert_eq!(at, Some(line), "{text:?} {message}");
        }
    }

    #[test]
    fn bombs_are_refused_before_they_grow() {
        let mut bomb = vec!["a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned()];
        for level in 1..9 {
            let before = format!("*a{}, ", level - 1).repeat(10);
            bomb.push(format!("a{level}: &a{level} [{before}]\n"));
        }
        let bomb = bomb.concat();
        assert_eq!(
            error(&bomb).1,
            format!("more than {NODE_LIMIT} values, with those that aliases repeat")
        );
        let long = format!(
            "a: &x {}\nb: [{}]\n",
            "y".repeat(100_000),
            "*x, ".repeat(100)
        );
        assert_eq!(
            error(&long).1,
            "more than 2097152 bytes, with those that aliases repeat"
        );
        let mut chain = "a0: &a0 [[[[[[[[[[x]]]]]]]]]]\n".to_owned();
        chain.push_str("a1: &a1 [[[[[[*a0]]]]]]\n");
        assert_eq!(error(&chain).1, "more than 16 levels");
        for text in ["[", "{a: ", "- ", "? "] {
            let message = error(&text.repeat(100_000)).1;
            let is_limit = message == "more than 16 levels"
                || message == "this is not YAML: recursion limit exceeded";
            assert!(is_limit, "{text:?} {message}");
        }
        let wide = "- x\n".repeat(NODE_LIMIT + 1);
        assert_eq!(error(&wide).0, Some(NODE_LIMIT));
    }
}
