//! The log: one line an event on standard error, as logfmt or JSON.
//!
//! Owns how a line looks; knows nothing of what is worth a line. Nothing here can fail or block a caller for
//! good: a line that cannot be written is lost, since there is nowhere left to say so.

use std::fmt::Display;
use std::io::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use crate::{json, sync, time_text};

/// Least time between two lines of what a client could repeat without end.
const SELDOM: Duration = Duration::from_secs(10);

/// How much a line matters, in rising order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// What only somebody who looks for a fault wants.
    Debug,
    /// What happened: one line a probe.
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
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `key=value` pairs.
    Logfmt,
    /// One JSON object a line.
    Json,
}

impl Format {
    /// The words of `--log.format`.
    pub(crate) const ALL: &[(&str, Self)] = &[("logfmt", Self::Logfmt), ("json", Self::Json)];
}

/// A value to log with its key.
pub(crate) type Field<'a> = (&'static str, &'a dyn Display);

/// Where lines go, and which.
#[derive(Debug)]
pub(crate) struct Log {
    level: Level,
    format: Format,
    /// When [`Log::warn_seldom`] last wrote a line.
    last_seldom: Mutex<Option<Instant>>,
}

impl Log {
    /// A log that drops lines below `level`.
    pub(crate) fn new(level: Level, format: Format) -> Self {
        Self {
            level,
            format,
            last_seldom: Mutex::default(),
        }
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

    /// For what a client could repeat without end: the first one, and then one in a while. Counters have them all.
    pub(crate) fn warn_seldom(&self, message: &str, fields: &[Field<'_>]) {
        let mut last = sync::lock(&self.last_seldom);
        let now = Instant::now();
        if last.is_none_or(|last| now - last >= SELDOM) {
            *last = Some(now);
            drop(last);
            self.warn(message, fields);
        }
    }

    /// For what stops the exporter from doing its work.
    pub(crate) fn error(&self, message: &str, fields: &[Field<'_>]) {
        self.line(Level::Error, message, fields);
    }

    fn line(&self, level: Level, message: &str, fields: &[Field<'_>]) {
        if level < self.level {
            return;
        }
        let line = render(self.format, SystemTime::now(), level, message, fields);
        // One write a line: lines of several threads do not mix.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

fn render(
    format: Format,
    now: SystemTime,
    level: Level,
    message: &str,
    fields: &[Field<'_>],
) -> String {
    let time = time_text::rfc3339_millis(now);
    let head: [Field<'_>; 3] = [("time", &time), ("level", &level.name()), ("msg", &message)];
    let mut line = String::with_capacity(160);
    let all = head.iter().chain(fields);
    match format {
        Format::Logfmt => {
            for (index, (key, value)) in all.enumerate() {
                if index > 0 {
                    line.push(' ');
                }
                line.push_str(key);
                line.push('=');
                push_logfmt(&mut line, key, &value.to_string());
            }
        }
        Format::Json => {
            for (index, (key, value)) in all.enumerate() {
                line.push(if index == 0 { '{' } else { ',' });
                json::push_string(&mut line, key);
                line.push(':');
                json::push_string(&mut line, &value.to_string());
            }
            line.push('}');
        }
    }
    line.push('\n');
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
    use super::{Format, Level, render};
    use std::time::{Duration, SystemTime};

    fn rendered(format: Format) -> String {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_294_324_007);
        let fields: [super::Field<'_>; 4] = [
            ("target", &"foo.server"),
            ("seconds", &1.5),
            ("error", &"no \"route\"\nto\u{1b}[31m host"),
            ("empty", &""),
        ];
        render(format, now, Level::Warn, "iperf3 failed", &fields)
    }

    #[test]
    fn logfmt_quotes_what_needs_it_and_stays_on_one_line() {
        assert_eq!(
            rendered(Format::Logfmt),
            "time=2026-11-21T20:52:04.007Z level=warn msg=\"iperf3 failed\" target=foo.server seconds=1.5 \
             error=\"no \\\"route\\\"\\nto\\u001b[31m host\" empty=\"\"\n"
        );
    }

    #[test]
    fn json_is_one_object_a_line() {
        assert_eq!(
            rendered(Format::Json),
            "{\"time\":\"2026-11-21T20:52:04.007Z\",\"level\":\"warn\",\"msg\":\"iperf3 failed\",\
             \"target\":\"foo.server\",\"seconds\":\"1.5\",\
             \"error\":\"no \\\"route\\\"\\nto\\u001b[31m host\",\"empty\":\"\"}\n"
        );
    }
}
