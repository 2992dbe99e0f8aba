//! The log: one line an event on standard error, as logfmt or JSON.
//!
//! Owns how a line looks; knows nothing of what is worth a line. Nothing here can fail or block a caller for
//! good: a line for which standard error has no room is lost, and the next one that is written tells how many were.

use std::net::IpAddr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

pub(crate) use self::value::{Decimal, Value};

use self::rate_limit::{Key, RateLimit};
use crate::{json, sync, sys, time_text};

mod rate_limit;
mod value;

/// How long a line waits for room, unless the line before it was lost: a reader that is only slow gets everything,
/// and one that has stopped costs the exporter this time once.
const WRITE_TIMEOUT: Duration = Duration::from_millis(20);
/// What the first line after lost ones is preceded by.
const LOST: &str = "log lines were lost because standard error was blocked";

/// How much a line matters, in rising order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// What only somebody who looks for a fault wants.
    Debug,
    /// What happened: one line a probe.
    #[default]
    Info,
    /// What an operator should look at.
    Warn,
    /// What stops the exporter from doing its work.
    Error,
}

impl Level {
    /// The words of `--log.level`.
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

    /// What begins a line of the journal (sd-daemon(3)): the priority of syslog in angle brackets.
    pub(crate) fn journal_prefix(self) -> &'static str {
        match self {
            Self::Debug => "<7>",
            Self::Info => "<6>",
            Self::Warn => "<4>",
            Self::Error => "<3>",
        }
    }
}

/// How a line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// `key=value` pairs.
    #[default]
    Logfmt,
    /// One JSON object a line.
    Json,
}

impl Format {
    /// The words of `--log.format`.
    pub(crate) const ALL: &[(&str, Self)] = &[("logfmt", Self::Logfmt), ("json", Self::Json)];
}

/// What the flags say about the log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LogConfig {
    /// Lines below this level are dropped.
    pub(crate) level: Level,
    /// How lines look.
    pub(crate) format: Format,
    /// Standard error is systemd's journal, and lines begin with their priority.
    pub(crate) is_journal: bool,
}

/// A value to log with its key.
pub(crate) type Field<'a> = (&'static str, &'a dyn Value);

/// Where lines go, and which. A handle: its clones are one log.
#[derive(Clone, Debug)]
pub(crate) struct Log(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: LogConfig,
    /// What [`Log::warn_ratelimited`] has written lately.
    rate_limit: Mutex<RateLimit>,
    /// Held while a line is written: lines of several threads do not mix, and none takes the room another has seen.
    output: Mutex<Output>,
}

/// What a line has to know of those before it.
#[derive(Debug, Default)]
struct Output {
    /// Lines that were lost, wholly or in part, since it was last told.
    lost: u64,
    /// The last line ends somewhere in its middle.
    is_cut: bool,
}

impl Log {
    /// A log as the flags want it.
    pub(crate) fn new(config: LogConfig) -> Self {
        Self(Arc::new(Inner {
            config,
            rate_limit: Mutex::default(),
            output: Mutex::default(),
        }))
    }

    /// For what only a search for a fault needs.
    pub(crate) fn debug(&self, message: &str, fields: &[Field<'_>]) {
        self.line(Level::Debug, message, fields);
    }

    /// For what happened.
    pub(crate) fn info(&self, message: &str, fields: &[Field<'_>]) {
        self.line(Level::Info, message, fields);
    }

    /// For what an operator should look at.
    pub(crate) fn warn(&self, message: &str, fields: &[Field<'_>]) {
        self.line(Level::Warn, message, fields);
    }

    /// For what could be repeated without end: the first one, and then one in a while, with a count of those that were
    /// held back.
    pub(crate) fn warn_ratelimited(&self, message: &'static str, fields: &[Field<'_>]) {
        self.warn_unless_repeated(message, None, "", fields);
    }

    /// The same for what a client does: each client and each cause has lines of its own, within bounds.
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

    /// For what stops the exporter from doing its work.
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
            // Of a level that is not dropped.
            let level = Level::Warn.max(self.0.config.level);
            render(self.0.config, now, level, LOST, &[("lines", &count)])
        };
        // Not through the lock of `std::io::Stderr`, whose holders may block.
        sync::lock(&self.0.output).put(std::io::stderr().as_fd(), &line, lost);
    }
}

impl Output {
    /// Writes `line` as far as `fd` takes it without blocking, with what `lost` says before it when lines were lost.
    /// In one write, unless it is longer than a pipe takes in one piece, or goes to a terminal.
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
            // An error is no reason to give up on the next line: a disk may have room again.
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
    let (begin, between, equals, end) = match config.format {
        Format::Logfmt => ("", " ", "=", "\n"),
        Format::Json => ("{", ",", ":", "}\n"),
    };
    for (index, (key, value)) in head.iter().chain(fields).enumerate() {
        line.push_str(if index == 0 { begin } else { between });
        let (is_json, value) = (value.is_json(), value.to_string());
        match config.format {
            Format::Logfmt => {
                line.push_str(key);
                line.push_str(equals);
                push_logfmt(&mut line, key, &value);
            }
            Format::Json => {
                json::push_string(&mut line, key);
                line.push_str(equals);
                if is_json {
                    line.push_str(&value);
                } else {
                    json::push_string(&mut line, &value);
                }
            }
        }
    }
    line.push_str(end);
    line
}

/// A logfmt value: bare when it needs no quotes, else a JSON string, which logfmt's readers take as well. `msg` is always quoted, so that lines align for the eye.
fn push_logfmt(line: &mut String, key: &str, value: &str) {
    let bare = !value.is_empty()
        && key != "msg"
        && value
            .chars()
            .all(|c| !json::is_unprintable(c) && !matches!(c, ' ' | '=' | '"' | '\\'));
    if bare {
        line.push_str(value);
    } else {
        json::push_string(line, value);
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
            // What looks like a number or a boolean is none.
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
    fn json_is_one_object_a_line_with_numbers_and_booleans_of_their_types() {
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

    /// What is in the pipe now; its other end has to be written to no more.
    fn rest(mut reader: PipeReader) -> String {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    }

    /// Lines until one is lost; how many there were before it.
    fn fill(output: &mut Output, writer: &std::io::PipeWriter, line: &str) -> usize {
        let mut count = 0;
        while output.lost == 0 {
            output.put(writer.as_fd(), line, notice);
            count += 1;
        }
        count - 1
    }

    #[test]
    fn lines_that_find_no_room_are_lost_and_counted_and_told_before_the_next_one() {
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
    fn a_line_that_is_longer_than_the_room_is_cut_and_ended_before_the_next_one() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut output = Output::default();
        // More than any pipe has.
        let line = format!("{}\n", "x".repeat(4 << 20));
        assert_eq!(fill(&mut output, &writer, &line), 0);
        assert!(output.is_cut);
        output.put(writer.as_fd(), "lost\n", notice);
        assert_eq!(output.lost, 2);
        // A reader that takes all there is leaves room.
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
    fn a_reader_that_is_gone_costs_its_lines_only() {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut output = Output::default();
        for _ in 0..3 {
            output.put(writer.as_fd(), "line\n", notice);
        }
        assert_eq!((output.lost, output.is_cut), (3, false));
    }
}
