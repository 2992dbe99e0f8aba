//! A probe's result as text: its metrics, and all its details for `debug=true`.
//!
//! Must not know how a value was measured, nor the metric families. Uses only what a person may see: iperf3's command
//! line arrives here with its secrets hidden.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use crate::duration;
use crate::iperf3::{Failure, RunDetails};
use crate::metrics::compat::{self, Probe};
use crate::probe::answer::{Answer, Attempt, CompletedTest, CutOff};
use crate::probe::params::Params;
use crate::time_text::rfc3339_millis;

pub(super) fn metrics(params: &Params, answer: &Answer) -> String {
    let completed = &answer.completed;
    compat::text(&Probe {
        host: params.host.as_str(),
        port: completed.port,
        udp: params.options.udp,
        outcome: &completed.outcome,
        duration: answer.duration,
        lock_wait: completed.lock_wait,
        attempts: completed.count,
        age: answer.age,
        last_success: answer.last_success,
    })
}

/// All details of a probe. `metrics` is the response body without `debug`.
pub(super) fn debug(params: &Params, answer: &Answer, metrics: &str) -> String {
    let mut out = String::with_capacity(4096 + metrics.len());
    let completed = &*answer.completed;
    let outcome = match &completed.outcome {
        Ok(_) => "success".to_owned(),
        Err(failure) => {
            let message = indented(&failure.message.replace('\n', " "));
            format!("failure: {}: {}", failure.reason.label(), message.trim())
        }
    };
    let result = match answer.age {
        None => "of a test run for this request".to_owned(),
        Some(age) => format!("of a test that ended {} ago", to_millis(age)),
    };
    let last = completed.last_details();
    let address = last.and_then(|last| last.address);
    let address = address.map_or_else(|| "(not known)".to_owned(), |address| address.to_string());
    let _ = writeln!(
        out,
        "target      {}\naddress     {address}\nparameters  {}\noutcome     {outcome}\nresult      {result}\nattempts    {}\n\
         lock wait   {}\nanswered    after {}",
        params.server(),
        pairs(&params.displayed()),
        completed.count,
        to_millis(completed.lock_wait),
        to_millis(answer.duration),
    );
    out.push_str("\ntimeline (UTC)\n");
    for (time, what) in events(completed) {
        let _ = writeln!(out, "  {}  {what}", rfc3339_millis(time));
    }
    if let Some(cut_off) = &completed.cut_off {
        push_cut_off(&mut out, cut_off);
    }
    let command = last.map(command_line);
    let end_title = "end section of iperf3's report (kept only for the request that ran the test)";
    for (title, text) in [
        ("command line", command.as_deref()),
        ("standard error", last.map(|details| &*details.stderr)),
        (end_title, last.and_then(|last| last.end_part.as_deref())),
    ] {
        let text = indented(text.unwrap_or_default());
        let _ = writeln!(out, "\n{title}\n{text}");
    }
    let _ = write!(out, "\nmetrics\n\n{metrics}");
    out
}

fn push_cut_off(out: &mut String, cut_off: &CutOff) {
    let _ = writeln!(
        out,
        "\nmeasured before the test was cut off (incomplete, not a result)\n  {}",
        when_cut_off(cut_off)
    );
    for (name, verb, direction) in [
        ("upload", "sent", &cut_off.seen.upload),
        ("download", "arrived", &cut_off.seen.download),
    ] {
        let Some(direction) = direction else { continue };
        let means = if direction.is_merged {
            ", as averages of adjacent intervals"
        } else {
            ""
        };
        let _ = writeln!(out, "  {name}: {:.0} bytes {verb}{means}", direction.bytes);
        for interval in &direction.intervals {
            let (start, end) = (interval.start_seconds, interval.end_seconds);
            let rate = interval.bytes_per_second;
            let _ = writeln!(
                out,
                "    {start:.2} to {end:.2} s: {rate:.0} bytes per second"
            );
        }
    }
}

/// `cut off after 3.2 s of 10 s`.
pub(super) fn when_cut_off(cut_off: &CutOff) -> String {
    let after = cut_off.after.as_secs_f64();
    match cut_off.seen.length {
        Some(length) if cut_off.after > length => {
            let length = length.as_secs();
            format!("no result after {after:.1} s of a planned {length} s")
        }
        Some(length) => format!("cut off after {after:.1} s of {} s", length.as_secs()),
        None => format!("cut off after {after:.1} s"),
    }
}

/// `name=value` pairs, separated by spaces.
pub(super) fn pairs(pairs: &[(&str, String)]) -> String {
    let pairs = pairs.iter().map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join(" ")
}

/// The command line of a run, quoted for a shell. Empty if there was none.
pub(super) fn command_line(details: &RunDetails) -> String {
    let args = details.command_line.iter().map(|arg| shell_word(arg));
    args.collect::<Vec<_>>().join(" ")
}

/// The events of the recorded attempts, with their times.
pub(super) fn events(completed: &CompletedTest) -> Vec<(SystemTime, String)> {
    let count = usize::try_from(completed.count).unwrap_or(usize::MAX);
    let not_recorded = count.saturating_sub(completed.attempts.len());
    let mut events = Vec::new();
    for (number, attempt) in (not_recorded + 1..).zip(&completed.attempts) {
        let Attempt {
            waited,
            details,
            failure,
        } = attempt;
        let (started, port) = (details.started, details.port);
        let mut add = |time, what: &str| events.push((time, format!("attempt {number}: {what}")));
        if let Some(waited) = *waited {
            add(started - waited, "waiting for the test lock");
            let waited = to_millis(waited);
            add(
                started,
                &format!("got the test lock after {waited}, port {port}"),
            );
        } else {
            add(started, &format!("port {port}"));
        }
        let took = to_millis(details.took);
        let address = details
            .address
            .map(|address| format!(", address {address}"));
        let address = address.unwrap_or_default();
        let mut what = format!("iperf3 {}, after {took}{address}", details.ended);
        if let Some(Failure { reason, message }) = failure {
            let _ = write!(what, ": {}: ", reason.label());
            message.chars().for_each(|c| push_visible(&mut what, c));
        }
        add(started + details.took, &what);
    }
    events
}

/// Formats a duration in whole milliseconds. Anything finer is noise here.
pub(super) fn to_millis(time: Duration) -> String {
    let rest = Duration::from_nanos(u64::from(time.subsec_nanos()) % 1_000_000);
    duration::format(time.saturating_sub(rest))
}

/// Indents the lines, so that none looks like a title. Control characters and characters that change the text direction
/// are shown as escapes.
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

/// Appends a visible character as it is, and any other one as its escape.
pub(super) fn push_visible(out: &mut String, c: char) {
    match c {
        '\t' | '"' | '\'' | '\\' => out.push(c),
        c => out.extend(c.escape_debug()),
    }
}

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
    fn words_are_quoted_for_a_shell() {
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
    fn iperf3_output_is_indented_and_escaped() {
        assert_eq!(indented("a\n\nb\n"), "  a\n  \n  b");
        assert_eq!(indented("\u{1b}[2J"), "  \\u{1b}[2J");
        assert_eq!(
            indented("a\u{202e}\u{2028}\u{85}b é \"\\"),
            "  a\\u{202e}\\u{2028}\\u{85}b é \"\\"
        );
        assert_eq!(indented(" \n"), "  (none)");
    }
}
