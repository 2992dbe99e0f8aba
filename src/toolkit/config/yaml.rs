//! A strict YAML reader: parses a text into one tree whose nodes know their lines.
//!
//! Owns the crate `saphyr_parser` and the limits on size, depth and aliases. Must not know which keys exist. Not
//! supported on purpose, each with its own error message: merge keys, a second document, tags other than `!!str`,
//! `!!map` and `!!seq`. Such a file is rejected, never misread.

use std::collections::BTreeMap;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput, Tag};

use super::fault::{Fault, shown};

/// Maximum nesting, including what aliases repeat. The schema needs three levels.
const DEPTH_LIMIT: usize = 16;
/// Enough for a few thousand users.
const NODE_LIMIT: usize = 20_000;

/// A value and its line. An alias shares the node that it refers to, so aliases cannot blow up memory.
pub(super) struct Node {
    /// From 1.
    pub(super) line: usize,
    pub(super) value: Value,
    /// Levels of nesting below it; 0 for a scalar.
    height: usize,
}

/// The content of a node.
pub(super) enum Value {
    /// An unquoted scalar, whose type depends on its text.
    Plain(String),
    /// A scalar that is always text: quoted, a block, or tagged `!!str`.
    Quoted(String),
    Sequence(Vec<Rc<Node>>),
    /// Keys and values in file order. Keys are unique.
    Mapping(Vec<(Key, Rc<Node>)>),
}

/// A key of a mapping. Keys are compared as text, because the schema's keys and user names are text.
pub(super) struct Key {
    /// From 1.
    pub(super) line: usize,
    pub(super) text: String,
}

impl Node {
    pub(super) const fn null(line: usize) -> Self {
        Self {
            line,
            value: Value::Plain(String::new()),
            height: 0,
        }
    }

    /// Whether it is YAML's null.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Plain(text) if is_null_word(text))
    }
}

/// The words for null in YAML 1.1, <https://yaml.org/type/null.html>.
fn is_null_word(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// Reads the single document in `text`; an empty text is null.
pub(super) fn read(text: &str) -> Result<Rc<Node>, Fault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    check_characters(text)?;
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        anchors: BTreeMap::new(),
        nodes: 0,
    };
    let mut root = None;
    loop {
        let (event, line) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(root.unwrap_or(Rc::new(Node::null(1)))),
            Event::DocumentStart(has_dashes) if root.is_some() => {
                let place = if has_dashes {
                    "at `---`"
                } else {
                    "after `...`"
                };
                let text = format!("a second document begins {place}, only one is allowed");
                return Err(Fault::at(line, text));
            }
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
            event => root = Some(reader.node(event, line, "", 0)?),
        }
    }
}

/// Rejects control characters, as YAML does (production c-printable). The parser would take a NUL for the end of the
/// text, and so read half a file. Also rejects U+0085, U+2028 and U+2029: they end a line in YAML 1.1, and so in the
/// exporter-toolkit (production b-char), but not in YAML 1.2, and so in the parser. Text after one in a comment would
/// be read by one of them only.
fn check_characters(text: &str) -> Result<(), Fault> {
    let mut line = 1;
    for c in text.chars() {
        let code = u32::from(c);
        match c {
            '\n' => line += 1,
            '\t' | '\r' => {}
            '\u{85}' | '\u{2028}' | '\u{2029}' => {
                let text = "is not allowed: some YAML parsers treat it as a line break";
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

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    /// The nodes that aliases may refer to.
    anchors: BTreeMap<usize, Rc<Node>>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    /// The next event and its line.
    fn next(&mut self) -> Result<(Event<'a>, usize), Fault> {
        match self.parser.next() {
            Some(Ok((event, span))) => Ok((event, span.start.line())),
            Some(Err(error)) => {
                let text = format!("invalid YAML: {}", shown(error.info()));
                Err(Fault::at(error.marker().line(), text))
            }
            None => Ok((Event::StreamEnd, 0)),
        }
    }

    /// The value that begins with `event`, below the key `path` and inside `level` collections.
    fn node(
        &mut self,
        event: Event<'_>,
        line: usize,
        path: &str,
        level: usize,
    ) -> Result<Rc<Node>, Fault> {
        self.nodes += 1;
        if self.nodes > NODE_LIMIT {
            return Err(Fault::at(line, format!("more than {NODE_LIMIT} values")));
        }
        check_depth(level, line)?;
        let (value, anchor) = match event {
            Event::Alias(anchor) => {
                let text = "an alias refers to a value that contains it";
                let node = self.anchors.get(&anchor).map(Rc::clone);
                let node = node.ok_or_else(|| Fault::at(line, text))?;
                check_depth(level + node.height, line)?;
                return Ok(node);
            }
            Event::SequenceStart(anchor, tag) => {
                has_tag(tag.as_deref(), "seq", line)?;
                (self.sequence(path, level + 1)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                has_tag(tag.as_deref(), "map", line)?;
                (self.mapping(path, level + 1)?, anchor)
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = has_tag(tag.as_deref(), "str", line)?;
                let text = text.into_owned();
                if is_text || style != ScalarStyle::Plain {
                    (Value::Quoted(text), anchor)
                } else {
                    (Value::Plain(text), anchor)
                }
            }
            // No other event begins a value.
            _ => return Ok(Rc::new(Node::null(line))),
        };
        let below = match &value {
            Value::Plain(_) | Value::Quoted(_) => None,
            Value::Sequence(items) => Some(items.iter().map(|item| item.height).max()),
            Value::Mapping(entries) => Some(entries.iter().map(|(_, node)| node.height).max()),
        };
        let node = Rc::new(Node {
            line,
            value,
            height: below.map_or(0, |below| 1 + below.unwrap_or(0)),
        });
        // 0 means no anchor.
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        Ok(node)
    }

    fn sequence(&mut self, path: &str, level: usize) -> Result<Value, Fault> {
        let mut items = Vec::new();
        loop {
            let (event, line) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Value::Sequence(items));
            }
            items.push(self.node(event, line, path, level)?);
        }
    }

    fn mapping(&mut self, path: &str, level: usize) -> Result<Value, Fault> {
        let mut entries = Vec::new();
        loop {
            let (event, line) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Value::Mapping(entries));
            }
            let key = self.node(event, line, path, level)?;
            let key = new_key(&key.value, line, path, &entries)?;
            let (event, line) = self.next()?;
            let path = format!("{path}{}.", shown(&key.text));
            let mut node = self.node(event, line, &path, level)?;
            if node.is_null() {
                // The parser notices the missing value only on a later line.
                node = Rc::new(Node::null(key.line));
            }
            entries.push((key, node));
        }
    }
}

fn check_depth(level: usize, line: usize) -> Result<(), Fault> {
    if level > DEPTH_LIMIT {
        return Err(Fault::at(line, format!("more than {DEPTH_LIMIT} levels")));
    }
    Ok(())
}

/// The key in `value`, checked against the keys before it. `path` is for error messages.
fn new_key(
    value: &Value,
    line: usize,
    path: &str,
    others: &[(Key, Rc<Node>)],
) -> Result<Key, Fault> {
    let refused = |text: String| Err(Fault::at(line, text));
    let place = match path.trim_end_matches('.') {
        "" => "the file",
        place => place,
    };
    let text = match value {
        Value::Plain(text) if text == "<<" => {
            return refused(format!(
                "{path}<<: merge keys are not supported, write the keys out"
            ));
        }
        Value::Plain(text) if is_null_word(text) => {
            return refused(format!(
                "{place}: a key is missing, or is null without quotes"
            ));
        }
        Value::Plain(text) | Value::Quoted(text) => text,
        Value::Sequence(_) | Value::Mapping(_) => {
            return refused(format!("{place}: a key must be text"));
        }
    };
    if let Some((first, _)) = others.iter().find(|(other, _)| other.text == *text) {
        let (name, first) = (shown(text), first.line);
        return refused(format!(
            "{path}{name}: duplicate key, first in line {first}"
        ));
    }
    Ok(Key {
        line,
        text: text.clone(),
    })
}

/// Whether there is a tag. Tags other than `!!<suffix>` and `!` are refused.
fn has_tag(tag: Option<&Tag>, suffix: &str, line: usize) -> Result<bool, Fault> {
    let Some(tag) = tag else {
        return Ok(false);
    };
    let is_known = tag.is_yaml_core_schema() && tag.suffix == suffix;
    // `!` alone forces a scalar to be text (YAML 1.2.2, 6.9.1).
    let is_non_specific = matches!(
        (tag.handle.as_str(), tag.suffix.as_str()),
        ("!", "") | ("", "!")
    );
    if is_known || is_non_specific {
        return Ok(true);
    }
    // Without quoting the tag: it may be a password that begins with `!`.
    Err(Fault::at(
        line,
        format!("a tag other than !!{suffix} is not supported here, quote text that begins with !"),
    ))
}

#[cfg(test)]
mod tests {
    use super::{NODE_LIMIT, Node, Value, read};

    /// The tree on one line: text as `'…'`, scalars bare.
    fn flat(node: &Node) -> String {
        match &node.value {
            Value::Plain(text) => text.clone(),
            Value::Quoted(text) => format!("'{text}'"),
            Value::Sequence(items) => {
                let items: Vec<String> = items.iter().map(|item| flat(item)).collect();
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
        let Value::Mapping(entries) = &node.value else {
            panic!("not a mapping");
        };
        let lines: Vec<usize> = entries.iter().map(|(_, node)| node.line).collect();
        assert_eq!(lines, [1, 2, 5]);
    }

    #[test]
    fn unsupported_yaml_is_refused_with_its_line() {
        for (text, line, message) in [
            (
                "a:\n  b: 1\n  b: 2\n",
                3,
                "a.b: duplicate key, first in line 2",
            ),
            ("'1': a\n1: b\n", 2, "1: duplicate key, first in line 1"),
            (
                "a:\n  <<: {b: 1}\n",
                2,
                "a.<<: merge keys are not supported, write the keys out",
            ),
            (
                "a: 1\n---\nb: 2\n",
                2,
                "a second document begins at `---`, only one is allowed",
            ),
            (
                "a: 1\n...\nb: 2\n",
                3,
                "a second document begins after `...`, only one is allowed",
            ),
            (
                "a: 1\nb: !!binary aGk=\n",
                2,
                "a tag other than !!str is not supported here, quote text that begins with !",
            ),
            (
                "a: !x [1]\n",
                1,
                "a tag other than !!seq is not supported here, quote text that begins with !",
            ),
            (
                "a: &x [1, *x]\n",
                1,
                "an alias refers to a value that contains it",
            ),
            ("? [a]\n: b\n", 1, "the file: a key must be text"),
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
                "the character U+0085 is not allowed: some YAML parsers treat it as a line break",
            ),
            (
                "a: 1\n# x\u{2028}b: 2\n",
                2,
                "the character U+2028 is not allowed: some YAML parsers treat it as a line break",
            ),
            (
                "a: 'x\u{2029}'\n",
                1,
                "the character U+2029 is not allowed: some YAML parsers treat it as a line break",
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
    fn invalid_yaml_is_refused_with_its_line() {
        for (text, line) in [
            ("a: [1\n", 2),
            ("a: 'x\n", 1),
            ("a: 1\nb: *nobody\n", 2),
            ("a: 1\n\tb: 2\n", 1),
            ("a:\n\tb: 2\n", 2),
            ("a: b: c\n", 1),
        ] {
            let (at, message) = error(text);
            assert!(message.starts_with("invalid YAML: "), "{text:?} {message}");
            assert_eq!(at, Some(line), "{text:?} {message}");
        }
    }

    #[test]
    fn alias_bombs_do_not_grow_and_large_or_deep_texts_are_refused() {
        let mut bomb = vec!["a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned()];
        for level in 1..9 {
            let before = format!("*a{}, ", level - 1).repeat(10);
            bomb.push(format!("a{level}: &a{level} [{before}]\n"));
        }
        let bomb = bomb.concat();
        // The same nodes again and again: memory does not grow.
        assert!(read(&bomb).is_ok());
        let long = format!(
            "a: &x {}\nb: [{}]\n",
            "y".repeat(100_000),
            "*x, ".repeat(100)
        );
        assert!(read(&long).is_ok());
        let mut chain = "a0: &a0 [[[[[[[[[[x]]]]]]]]]]\n".to_owned();
        chain.push_str("a1: &a1 [[[[[[*a0]]]]]]\n");
        assert_eq!(error(&chain).1, "more than 16 levels");
        for text in ["[", "{a: ", "- ", "? "] {
            let message = error(&text.repeat(100_000)).1;
            let is_limit = message == "more than 16 levels"
                || message == "invalid YAML: recursion limit exceeded";
            assert!(is_limit, "{text:?} {message}");
        }
        let wide = "- x\n".repeat(NODE_LIMIT + 1);
        assert_eq!(error(&wide).0, Some(NODE_LIMIT));
    }
}
