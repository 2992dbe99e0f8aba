//! Shell completions: each flag of the table, in the syntax of each shell.
//!
//! Owns quoting for shells. The functions around the lists are written by hand in `contrib/completions`.

use std::fmt::Write as _;

use super::choices;
use crate::cli::{FLAGS, Flag};

/// What may follow a flag.
enum Value {
    /// Nothing.
    None,
    /// One of these words.
    Words(Vec<&'static str>),
    /// A file.
    File,
    /// Any text; holds the placeholder.
    Any(&'static str),
}

fn value(flag: &Flag) -> Value {
    let words = choices(flag);
    match flag.value {
        None => Value::None,
        Some(_) if !words.is_empty() => Value::Words(words),
        Some("FILE") => Value::File,
        Some(placeholder) => Value::Any(placeholder),
    }
}

/// All names of a flag, with dashes, and whether each switches it off.
fn names(flag: &Flag) -> Vec<(String, bool)> {
    let mut names = Vec::new();
    for name in flag.names {
        names.push((format!("--{name}"), false));
        if flag.value.is_none() {
            names.push((format!("--no-{name}"), true));
        }
    }
    names
}

/// Lines of: how often, what follows, names.
pub(super) fn bash() -> String {
    let mut text = String::from("alone none -h --help\nalone none --version\n");
    for flag in FLAGS {
        let often = if flag.repeatable { "often" } else { "once" };
        let (kind, equals) = match value(flag) {
            Value::None => ("none".to_owned(), ""),
            Value::Words(words) => (words.join(","), "="),
            Value::File => ("file".to_owned(), "="),
            Value::Any(_) => ("any".to_owned(), "="),
        };
        let names: Vec<String> = names(flag)
            .into_iter()
            .map(|(name, _)| name + equals)
            .collect();
        let _ = writeln!(text, "{often} {kind} {}", names.join(" "));
    }
    // In single quotes, which no flag name or value contains.
    format!("_iperf3_exporter_flags='\n{text}'\n")
}

/// Specifications for `_arguments`.
pub(super) fn zsh() -> String {
    let mut text = String::from(
        "    '(- *)'{-h,--help}'[Show the help and exit.]'\n    '(- *)--version[Show the version and exit.]'\n",
    );
    for flag in FLAGS {
        let all = names(flag);
        let others: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        let before = match (flag.repeatable, others.as_slice()) {
            (true, _) => "*".to_owned(),
            (false, [_]) => String::new(),
            (false, others) => format!("({})", others.join(" ")),
        };
        for (name, is_off) in &all {
            let help = described(flag, *is_off).replace('\'', "'\\''");
            let help = help.replace('[', "\\[").replace(']', "\\]");
            let follows = match value(flag) {
                Value::None => String::new(),
                Value::Words(words) => format!(":word:({})", words.join(" ")),
                Value::File => ":file:_files".to_owned(),
                Value::Any(placeholder) => format!(":{placeholder}: "),
            };
            let equals = if follows.is_empty() { "" } else { "=" };
            let _ = writeln!(text, "    '{before}{name}{equals}[{help}]{follows}'");
        }
    }
    format!("flags=(\n{text})\n")
}

/// Calls of `complete`.
pub(super) fn fish() -> String {
    let mut text = String::new();
    let mut line = |condition: Option<(&str, &str)>, rest: &str| {
        text += "complete -c iperf3-exporter";
        if let Some((function, names)) = condition {
            let _ = write!(text, " -n '__iperf3_exporter_{function} {names}'");
        }
        let _ = writeln!(text, " {rest}");
    };
    line(
        Some(("lacks", "-h --help")),
        "-s h -l help -d 'Show the help and exit.'",
    );
    line(
        Some(("lacks", "--version")),
        "-l version -d 'Show the version and exit.'",
    );
    for flag in FLAGS {
        let all = names(flag);
        let others: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        let others = others.join(" ");
        let (function, follows) = match value(flag) {
            Value::None => ("lacks", String::new()),
            Value::Words(words) => ("wants", format!(" -x -a '{}'", words.join(" "))),
            Value::File => ("wants", " -r -F".to_owned()),
            Value::Any(_) => ("wants", " -x".to_owned()),
        };
        let condition = (!flag.repeatable).then_some((function, others.as_str()));
        for (name, is_off) in &all {
            let help = described(flag, *is_off);
            let help = help.replace('\\', "\\\\").replace('\'', "\\'");
            let name = name.trim_start_matches("--");
            line(condition, &format!("-l {name}{follows} -d '{help}'"));
        }
    }
    text
}

/// A flag's description beside its name: one line, so only its first sentence.
fn described(flag: &Flag, is_off: bool) -> String {
    if is_off {
        return match flag.default {
            Some("true") => "Not so.".to_owned(),
            _ => "Off, as without it.".to_owned(),
        };
    }
    let end = flag.help.match_indices(['.', ';', ':']).find(|(at, mark)| {
        let rest = flag.help.get(at + mark.len()..).unwrap_or_default();
        rest.is_empty() || rest.starts_with(' ')
    });
    let sentence = end.and_then(|(end, _)| flag.help.get(..end));
    format!("{}.", sentence.unwrap_or(flag.help))
}
