//! The story of one probe as text, for `debug=true`.
//!
//! Must not know how a value was measured. It is built from what a person may see: iperf3's command line comes with its
//! secrets hidden.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use crate::duration;
use crate::iperf3::RunDetails;
use crate::probe::answer::{Answer, Attempt, CompletedTest};
use crate::probe::params::Params;
use crate::time_text::rfc3339_millis;

/// The whole story; `metrics` is what would have been the answer without `debug`.
pub(crate) fn text(params: &Params, answer: &Answer, metrics: &str) -> String {
    let mut out = String::with_capacity(4096 + metrics.len());
    summary(&mut out, params, answer);
    time_line(&mut out, answer);
    let last = last_details(&answer.completed);
    let part = |out: &mut String, title: &str, text: &str| {
        let _ = writeln!(out, "\n{title}\n{}", indented(text));
    };
    let line = last.map(command_line).unwrap_or_default();
    part(&mut out, "command line", &line);
    part(
        &mut out,
        "standard error",
        last.map_or("", |details| &details.stderr),
    );
    let end_part = last.and_then(|details| details.end_part.as_deref());
    part(
        &mut out,
        "end of iperf3's report (kept for the request that ran the test only)",
        end_part.unwrap_or_default(),
    );
    let _ = write!(out, "\nmetrics\n\n{metrics}");
    out
}

fn summary(out: &mut String, params: &Params, answer: &Answer) {
    let completed = &*answer.completed;
    let outcome = match &completed.outcome {
        Ok(_) => "success".to_owned(),
        Err(failure) => {
            let words = indented(&failure.words.replace('\n', " "));
            format!("failure: {}: {}", failure.reason.label(), words.trim())
        }
    };
    let shown = params.displayed();
    let shown: Vec<String> = shown
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let result = answer.age.map_or_else(
        || "of a test for this request".to_owned(),
        |age| format!("of a test that ended {} ago", duration::format(millis(age))),
    );
    let _ = writeln!(
        out,
        "target      {}\nparameters  {}\noutcome     {outcome}\nresult      {result}\nattempts    {}\n\
         lock wait   {}\nanswered    after {}",
        params.server(),
        shown.join(" "),
        completed.count,
        duration::format(millis(completed.lock_wait)),
        duration::format(millis(answer.duration)),
    );
}

/// The run whose outcome the probe's is.
pub(super) fn last_details(completed: &CompletedTest) -> Option<&RunDetails> {
    let mut stories = completed.attempts.iter().map(|attempt| &attempt.details);
    stories.rfind(|details| details.port == completed.port)
}

/// A run's command line as a shell would take it; empty when there was none.
pub(super) fn command_line(details: &RunDetails) -> String {
    let words = details.words.iter().map(|word| shell_word(word));
    words.collect::<Vec<_>>().join(" ")
}

fn time_line(out: &mut String, answer: &Answer) {
    out.push_str("\ntime line (UTC)\n");
    for (time, what) in events(&answer.completed) {
        let _ = writeln!(out, "  {}  {what}", rfc3339_millis(time));
    }
}

/// What happened when, of the attempts that are told.
pub(super) fn events(completed: &CompletedTest) -> Vec<(SystemTime, String)> {
    let mut events = Vec::with_capacity(3 * completed.attempts.len());
    let untold = usize::try_from(completed.count)
        .unwrap_or(usize::MAX)
        .saturating_sub(completed.attempts.len());
    for (index, Attempt { waited, details }) in completed.attempts.iter().enumerate() {
        let number = untold + index + 1;
        let RunDetails {
            started,
            took,
            port,
            ended,
            ..
        } = details;
        if let Some(waited) = waited {
            events.push((
                started.checked_sub(*waited).unwrap_or(*started),
                format!("attempt {number}: waits for the test lock"),
            ));
            let waited = duration::format(millis(*waited));
            let what = format!("attempt {number}: has it after {waited}, port {port}");
            events.push((*started, what));
        } else {
            events.push((*started, format!("attempt {number}: port {port}")));
        }
        events.push((
            started.checked_add(*took).unwrap_or(*started),
            format!(
                "attempt {number}: iperf3 {ended}, after {}",
                duration::format(millis(*took))
            ),
        ));
    }
    events
}

/// Finer than a millisecond is noise here.
pub(super) fn millis(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// Lines set in, so that none of them can be taken for a title; what a terminal would act on, or show in another order,
/// is shown as text.
fn indented(text: &str) -> String {
    if text.trim().is_empty() {
        return "  (none)".to_owned();
    }
    let mut out = String::with_capacity(text.len() + 64);
    for line in text.trim_end().lines() {
        out.push_str(if out.is_empty() { "  " } else { "\n  " });
        for c in line.chars() {
            push_visible(&mut out, c);
        }
    }
    out
}

/// A character as it is when it can be seen, else by its number.
pub(super) fn push_visible(out: &mut String, c: char) {
    match c {
        '\t' | '"' | '\'' | '\\' => out.push(c),
        c => out.extend(c.escape_debug()),
    }
}

/// A word as a shell would take it.
fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:%=@+,[]".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::{indented, shell_word};

    #[test]
    fn words_are_such_as_a_shell_takes() {
        for (word, shown) in [
            ("-c", "-c"),
            ("fe80::1%eth0", "fe80::1%eth0"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", "'it'\\''s'"),
            ("<hidden>", "'<hidden>'"),
        ] {
            assert_eq!(shell_word(word), shown);
        }
    }

    #[test]
    fn what_iperf3_says_is_set_in_and_harmless() {
        assert_eq!(indented("a\n\nb\n"), "  a\n  \n  b");
        assert_eq!(indented("\u{1b}[2J"), "  \\u{1b}[2J");
        assert_eq!(
            indented("a\u{202e}\u{2028}\u{85}b é \"\\"),
            "  a\\u{202e}\\u{2028}\\u{85}b é \"\\"
        );
        assert_eq!(indented(" \n"), "  (none)");
    }
}
