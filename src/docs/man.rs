//! The blocks of the man page, in man(7) macros.
//!
//! Owns roff formatting. Must not know the parts of the page that are written by hand.

use std::fmt::Write as _;

use super::{Block, ENDPOINTS, listed, own_families};
use crate::cli::{FLAGS, Flag};
use crate::iperf3::reason::Reason;
use crate::metrics::compat::{ANY, FRAME, TCP, UDP};
use crate::metrics::native;
use crate::probe::params::{Input, PARAMETERS};

/// Longest source line: mandoc's lint wants at most 80 bytes.
const LINE_BYTES: usize = 78;

pub(super) fn blocks() -> Vec<Block> {
    let measured = native::ROWS.iter().map(|row| (row.name, row.help));
    let own = own_families().into_iter();
    let reasons = Reason::ALL.iter().map(|(_, label, help)| (*label, *help));
    vec![
        ("title", title()),
        ("options", FLAGS.iter().map(option).collect()),
        ("parameters", parameters()),
        ("endpoints", endpoints()),
        ("probe-metrics", list(drop_in())),
        ("measured-metrics", list(measured)),
        ("own-metrics", list(own.map(|(name, help, _)| (name, help)))),
        ("reasons", list(reasons)),
    ]
}

/// The title line. Its date is that of the newest dated version in the changelog, so that the page does not depend on
/// who builds it and when.
fn title() -> String {
    let changelog = include_str!("../../CHANGELOG.md");
    let date = changelog
        .lines()
        .filter_map(|line| line.strip_prefix("## ")?.rsplit_once(" - "))
        .map(|(_, date)| date.trim())
        .next()
        .unwrap_or_default();
    let version = env!("CARGO_PKG_VERSION");
    format!(
        ".TH IPERF3\\-EXPORTER 1 \"{date}\" \"iperf3\\-exporter {version}\" \"User Commands\"\n"
    )
}

fn option(flag: &Flag) -> String {
    let names = listed(flag.names, |name| match flag.value {
        Some(value) => format!("{}=\\fI{value}\\fR", bold(&format!("--{name}"))),
        None => format!("{}[{}]{}", bold("--"), bold("no-"), bold(name)),
    });
    let mut text = flag.sentences();
    match (flag.value, flag.default) {
        (Some(_), Some(default)) => _ = write!(text, " Default: {default}."),
        (None, Some("true")) => text += " On by default.",
        (None, _) => text += " Off by default.",
        (Some(_), None) => {}
    }
    if flag.value.is_some() {
        _ = write!(text, " Allowed: {}.", flag.allowed);
    }
    item(&names, &text)
}

fn parameters() -> String {
    let mut page = String::new();
    for row in PARAMETERS {
        let mut tag = listed(row.names, bold);
        if !row.option.is_empty() {
            _ = write!(tag, " (iperf3 {})", bold(row.option));
        }
        let without = match row.default {
            "required" => "Required.".to_owned(),
            default => format!("Default: {default}."),
        };
        // The values for true and false are listed above.
        let allowed = match row.input {
            Input::Tick => String::new(),
            _ => format!(" Allowed: {}.", row.allowed),
        };
        let text = format!("{} {without}{allowed}", row.help);
        page += &item(&tag, &text);
    }
    page
}

fn endpoints() -> String {
    let mut page = String::new();
    for (paths, answer) in ENDPOINTS {
        let mut letters = answer.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        let sentence: String = first.into_iter().chain(letters).chain(['.']).collect();
        page += &item(&listed(paths, bold), &sentence);
    }
    page
}

fn drop_in() -> impl Iterator<Item = (&'static str, &'static str)> {
    let rows = [ANY, TCP, UDP]
        .into_iter()
        .flatten()
        .map(|row| (row.name, row.help));
    let frame = || FRAME.iter().map(|family| (family.name, family.help));
    frame().take(1).chain(rows).chain(frame().skip(1))
}

fn list<'a>(rows: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    rows.map(|(name, help)| item(&bold(name), help)).collect()
}

/// An entry: its tag, which is already roff, and its text.
fn item(tag: &str, text: &str) -> String {
    format!(".TP\n{tag}\n{}", filled(text))
}

fn bold(text: &str) -> String {
    format!("\\fB{}\\fR", escaped(text))
}

/// `text` as filled lines. Text between backticks is bold.
fn filled(text: &str) -> String {
    let mut marked = String::new();
    for (at, part) in text.split('`').enumerate() {
        marked += &if at % 2 == 1 {
            bold(part)
        } else {
            escaped(part)
        };
    }
    let mut lines = String::new();
    let mut line = String::new();
    for word in marked.split_whitespace() {
        // Each sentence begins on its own line, so that roff sets the same space after each.
        let is_full = line.len() + 1 + word.len() > LINE_BYTES || line.ends_with('.');
        if !line.is_empty() && is_full {
            lines += &guarded(&line);
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    lines + &guarded(&line)
}

/// A line that roff does not take for a request, whatever its first character.
fn guarded(line: &str) -> String {
    let guard = if line.starts_with(['.', '\'']) {
        "\\&"
    } else {
        ""
    };
    format!("{guard}{line}\n")
}

/// `text` escaped, so that each character stands for itself. Each dash becomes a minus, which can be copied into a
/// command line: a table cannot tell which dashes are only hyphens.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        match letter {
            '\\' => out += "\\e",
            '-' => out += "\\-",
            '~' => out += "\\(ti",
            '^' => out += "\\(ha",
            '`' => out += "\\(ga",
            '"' => out += "\\(dq",
            letter if letter.is_ascii() => out.push(letter),
            letter => _ = write!(out, "\\[u{:04X}]", u32::from(letter)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{LINE_BYTES, blocks, filled};

    #[test]
    fn special_characters_of_roff_are_escaped() {
        assert_eq!(
            filled("a `-x` \\ b … ~ ^ \""),
            "a \\fB\\-x\\fR \\e b \\[u2026] \\(ti \\(ha \\(dq\n"
        );
        assert_eq!(filled(".request"), "\\&.request\n");
        assert_eq!(filled("'tis"), "\\&'tis\n");
        let long = filled(&".a ".repeat(60));
        assert!(long.lines().count() > 1, "{long}");
        for line in long.lines() {
            assert!(
                line.starts_with("\\&.a") && line.len() <= LINE_BYTES + 2,
                "{line}"
            );
        }
        assert_eq!(filled("One. Two."), "One.\nTwo.\n");
    }

    #[test]
    fn each_line_is_ascii_and_only_intended_lines_are_requests() {
        for (name, block) in blocks() {
            for line in block.lines() {
                assert!(line.is_ascii(), "{name}: {line}");
                let is_request = line.starts_with(['.', '\'']);
                let is_meant = line == ".TP" || line.starts_with(".TH ");
                assert_eq!(is_request, is_meant, "{name}: {line}");
            }
        }
    }
}
