//! The log: one line per event on standard error, as logfmt or JSON.
//!
//! Owns the format of a line; does not decide what is logged. Nothing here fails, or blocks a caller for long: if
//! standard error has no room, the line is lost, and the next line that is written reports how many were lost.

use std::net::IpAddr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

pub(crate) use self::value::{Decimal, Value};

use self::rate_limit::{Key, RateLimit};
use crate::{json, sync, sys, time_text};

mod rate_limit;
mod value;

/// How long a line waits for room, unless the line before it was lost. A slow reader gets every line; a reader that has
/// stopped delays the exporter only once.
const WRITE_TIMEOUT: Duration = Duration::from_millis(20);
/// The message of the notice that precedes the first line after lost ones.
const LOST: &str = "log lines were lost because standard error was blocked";

/// Severity of a line, in rising order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Details for debugging.
    Debug,
    /// Normal events: one line per probe.
    #[default]
    Info,
    /// For an operator to look at.
    Warn,
    /// Keeps the exporter from doing its work.
    Error,
}

impl Level {
    /// The values of `--log.level`.
    pub(crate) const ALL: &[(&str, Self)] = &[
        ("debug", Self::Debug),
        ("info", Self::Info),
        ("warn", Self::Warn),
        ("error", Self::Error),
    ];

    fn name(self) -> &'static str {
        let known = Self::ALL.iter().find(|(_, level)| *level == self);
        known.map_or("", |(name, _)| name)
    }

    /// The prefix of a line for the journal (sd-daemon(3)): the syslog priority in angle brackets.
    pub(crate) fn journal_prefix(self) -> &'static str {
        match self {
            Self::Debug => "<7>",
            Self::Info => "<6>",
            Self::Warn => "<4>",
            Self::Error => "<3>",
        }
    }
}

/// Format of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// `key=value` pairs.
    #[default]
    Logfmt,
    /// One JSON object per line.
    Json,
}

impl Format {
    /// The values of `--log.format`.
    pub(crate) const ALL: &[(&str, Self)] = &[("logfmt", Self::Logfmt), ("json", Self::Json)];
}

/// The log's configuration.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LogConfig {
    /// Lines below this level are dropped.
    pub(crate) level: Level,
    pub(crate) format: Format,
    /// Whether standard error is systemd's journal. Lines then begin with their priority.
    pub(crate) is_journal: bool,
}

/// A key and the value to log.
pub(crate) type Field<'a> = (&'static str, &'a dyn Value);

/// A handle to the log: its clones share one log.
#[derive(Clone, Debug)]
pub(crate) struct Log(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: LogConfig,
    /// What [`Log::warn_ratelimited`] wrote lately.
    rate_limit: Mutex<RateLimit>,
    /// Held while a line is written: lines of several threads do not mix, and no thread uses up room that another has
    /// checked.
    output: Mutex<Output>,
}

/// State carried from one line to the next.
#[derive(Debug, Default)]
struct Output {
    /// Lines lost, wholly or in part, since the last notice.
    lost: u64,
    /// Whether the last line was cut off.
    is_cut: bool,
}

impl Log {
    pub(crate) fn new(config: LogConfig) -> Self {
        Self(Arc::new(Inner {
            config,
            rate_limit: Mutex::default(),
            output: Mutex::default(),
        }))
    }

    /// Logs details for debugging.
    pub(crate) fn debug(&self, message: &str, fields: &[Field<'_>]) {
        self.line(Level::Debug, message, fields);
    }

    /// Logs a normal event.
    pub(crate) fn info(&self, message: &str, fields: &[Field<'_>]) {
        self.line(Level::Info, message, fields);
    }

    /// Logs something for an operator to look at.
    pub(crate) fn warn(&self, message: &str, fields: &[Field<'_>]) {
        self.line(Level::Warn, message, fields);
    }

    /// Logs a warning that could repeat endlessly: the first one, then at most one per interval, with a count of those
    /// held back.
    pub(crate) fn warn_ratelimited(&self, message: &'static str, fields: &[Field<'_>]) {
        self.warn_unless_repeated(message, None, "", fields);
    }

    /// The same for a warning that a client triggers: limited per client and cause, within bounds.
    pub(crate) fn warn_client(
        &self,
        message: &'static str,
        client: IpAddr,
        cause: &str,
        fields: &[Field<'_>],
    ) {
        self.warn_unless_repeated(message, Some(client), cause, fields);
    }

    fn warn_unless_repeated(
        &self,
        message: &'static str,
        client: Option<IpAddr>,
        cause: &str,
        fields: &[Field<'_>],
    ) {
        let key = Key {
            message,
            client,
            cause: cause.to_owned(),
        };
        let admitted = sync::lock(&self.0.rate_limit).admit(key, Instant::now());
        let Some(held_back) = admitted else {
            return;
        };
        let mut fields = fields.to_vec();
        if held_back > 0 {
            fields.push(("held_back", &held_back));
        }
        self.warn(message, &fields);
    }

    /// Logs what keeps the exporter from doing its work.
    pub(crate) fn error(&self, message: &str, fields: &[Field<'_>]) {
        self.line(Level::Error, message, fields);
    }

    fn line(&self, level: Level, message: &str, fields: &[Field<'_>]) {
        if level < self.0.config.level {
            return;
        }
        let now = SystemTime::now();
        let line = render(self.0.config, now, level, message, fields);
        let lost = |count: u64| {
            // At a level that is not dropped.
            let level = Level::Warn.max(self.0.config.level);
            render(self.0.config, now, level, LOST, &[("lines", &count)])
        };
        // Not through the lock of `std::io::Stderr`: another holder may block.
        sync::lock(&self.0.output).put(std::io::stderr().as_fd(), &line, lost);
    }
}

impl Output {
    /// Writes as much of `line` as `fd` takes without blocking. If lines were lost, the notice from `lost` comes first.
    /// This is one write, unless the text is longer than a pipe takes at once, or goes to a terminal.
    fn put(&mut self, fd: BorrowedFd<'_>, line: &str, lost: impl Fn(u64) -> String) {
        let mut notice = String::new();
        let mut until = Instant::now();
        if self.lost > 0 {
            let end = if self.is_cut { "\n" } else { "" };
            notice = format!("{end}{}", lost(self.lost));
        } else {
            until += WRITE_TIMEOUT;
        }
        let text = format!("{notice}{line}");
        let mut left = text.as_bytes();
        while !left.is_empty() {
            // An error drops this line only: a disk may have room again for the next.
            let time_left = until.saturating_duration_since(Instant::now());
            match sys::write_what_fits(fd, left, time_left) {
                Ok(written) if written > 0 => left = left.get(written..).unwrap_or_default(),
                _ => break,
            }
        }
        let written = text.len() - left.len();
        if written > 0 {
            self.is_cut = written != notice.len() && !left.is_empty();
        }
        if written >= notice.len() {
            self.lost = 0;
        }
        self.lost += u64::from(!left.is_empty());
    }
}

fn render(
    config: LogConfig,
    now: SystemTime,
    level: Level,
    message: &str,
    fields: &[Field<'_>],
) -> String {
    let time = time_text::rfc3339_millis(now);
    let head: [Field<'_>; 3] = [("time", &time), ("level", &level.name()), ("msg", &message)];
    let mut line = String::with_capacity(160);
    if config.is_journal {
        line.push_str(level.journal_prefix());
    }
    let (begin, between, end) = match config.format {
        Format::Logfmt => ("", " ", "\n"),
        Format::Json => ("{", ",", "}\n"),
    };
    for (index, (key, value)) in head.iter().chain(fields).enumerate() {
        line.push_str(if index == 0 { begin } else { between });
        match config.format {
            Format::Logfmt => push_logfmt(&mut line, key, *value),
            Format::Json => push_json(&mut line, key, *value),
        }
    }
    line.push_str(end);
    line
}

/// A member of a JSON object.
fn push_json(line: &mut String, key: &str, value: &dyn Value) {
    json::push_string(line, key);
    line.push(':');
    let text = value.to_string();
    if value.is_json() {
        line.push_str(&text);
    } else {
        json::push_string(line, &text);
    }
}

/// A logfmt pair. The value is bare if it needs no quotes, otherwise a JSON string, which logfmt readers accept too.
/// `msg` is always quoted, so that lines align.
fn push_logfmt(line: &mut String, key: &str, value: &dyn Value) {
    line.push_str(key);
    line.push('=');
    let value = value.to_string();
    let bare = !value.is_empty()
        && key != "msg"
        && value
            .chars()
            .all(|c| !json::is_unprintable(c) && !matches!(c, ' ' | '=' | '"' | '\\'));
    if bare {
        line.push_str(&value);
    } else {
        json::push_string(line, &value);
    }
}

#[cfg(test)]
mod tests {
    use super::{Decimal, Format, Level, LogConfig, Output, render};
    use std::io::{PipeReader, Read as _};
    use std::os::fd::AsFd as _;
    use std::time::{Duration, SystemTime};

    fn rendered(format: Format, is_journal: bool) -> String {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_294_324_007);
        let fields: [super::Field<'_>; 8] = [
            ("target", &"foo.server"),
            ("seconds", &Decimal(1.5, 3)),
            ("port", &5201_u16),
            ("tls", &true),
            // A string that looks like a number or a boolean stays a string.
            ("host", &"5"),
            ("name", &"true"),
            ("error", &"no \"route\"\nto\u{1b}[31m host"),
            ("empty", &""),
        ];
        let config = LogConfig {
            format,
            is_journal,
            ..LogConfig::default()
        };
        render(config, now, Level::Warn, "iperf3 failed", &fields)
    }

    const LOGFMT: &str = "time=2026-11-21T20:52:04.007Z level=warn msg=\"iperf3 failed\" target=foo.server seconds=1.500 \
        port=5201 tls=true host=5 name=true error=\"no \\\"route\\\"\\nto\\u001b[31m host\" empty=\"\"\n";

    #[test]
    fn logfmt_quotes_what_needs_it_and_stays_on_one_line() {
        assert_eq!(rendered(Format::Logfmt, false), LOGFMT);
    }

    #[test]
    fn json_is_one_object_per_line_with_typed_numbers_and_booleans() {
        assert_eq!(
            rendered(Format::Json, false),
            "{\"time\":\"2026-11-21T20:52:04.007Z\",\"level\":\"warn\",\"msg\":\"iperf3 failed\",\
             \"target\":\"foo.server\",\"seconds\":1.500,\"port\":5201,\"tls\":true,\"host\":\"5\",\
             \"name\":\"true\",\"error\":\"no \\\"route\\\"\\nto\\u001b[31m host\",\"empty\":\"\"}\n"
        );
    }

    #[test]
    fn a_line_of_the_journal_begins_with_its_priority() {
        assert_eq!(rendered(Format::Logfmt, true), format!("<4>{LOGFMT}"));
        let json = rendered(Format::Json, true);
        assert!(json.starts_with("<4>{\"time\""), "{json}");
        let prefixes = Level::ALL.iter().map(|(_, level)| level.journal_prefix());
        let prefixes: Vec<&str> = prefixes.collect();
        assert_eq!(prefixes, ["<7>", "<6>", "<4>", "<3>"]);
    }

    fn notice(count: u64) -> String {
        format!("lost {count}\n")
    }

    /// What is left in the pipe. Its write end must be closed first.
    fn rest(mut reader: PipeReader) -> String {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    }

    /// Writes lines until one is lost. Returns how many were written before it.
    fn fill(output: &mut Output, writer: &std::io::PipeWriter, line: &str) -> usize {
        let mut count = 0;
        while output.lost == 0 {
            output.put(writer.as_fd(), line, notice);
            count += 1;
        }
        count - 1
    }

    #[test]
    fn lines_without_room_are_lost_and_counted_and_reported_before_the_next_one() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut output = Output::default();
        let line = format!("{:0>99}\n", "");
        let count = fill(&mut output, &writer, &line);
        for _ in 0..4 {
            output.put(writer.as_fd(), &line, notice);
        }
        assert_eq!(output.lost, 5);
        let mut before = vec![0; count * line.len()];
        reader.read_exact(&mut before).unwrap();
        assert_eq!(String::from_utf8(before).unwrap(), line.repeat(count));
        output.put(writer.as_fd(), "again\n", notice);
        output.put(writer.as_fd(), "and again\n", notice);
        drop(writer);
        assert_eq!(rest(reader), "lost 5\nagain\nand again\n");
    }

    #[test]
    fn a_line_longer_than_the_room_is_cut_and_ended_before_the_next_one() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut output = Output::default();
        // More than any pipe holds.
        let line = format!("{}\n", "x".repeat(4 << 20));
        assert_eq!(fill(&mut output, &writer, &line), 0);
        assert!(output.is_cut);
        output.put(writer.as_fd(), "lost\n", notice);
        assert_eq!(output.lost, 2);
        // A reader that takes everything leaves room.
        let mut all = vec![0; 4 << 20];
        let length = reader.read(&mut all).unwrap();
        assert!(all.iter().take(length).all(|byte| *byte == b'x'));
        output.put(writer.as_fd(), "again\n", notice);
        drop(writer);
        assert_eq!(rest(reader), "\nlost 2\nagain\n");
    }

    #[test]
    fn a_long_line_that_fits_is_whole() {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut output = Output::default();
        let line = format!("{}\n", "x".repeat(20_000));
        output.put(writer.as_fd(), &line, notice);
        drop(writer);
        assert_eq!(output.lost, 0);
        assert_eq!(rest(reader), line);
    }

    #[test]
    fn a_closed_reader_loses_only_its_lines() {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut output = Output::default();
        for _ in 0..3 {
            output.put(writer.as_fd(), "line\n", notice);
        }
        assert_eq!((output.lost, output.is_cut), (3, false));
    }
}
