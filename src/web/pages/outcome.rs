//! The outcome of a probe as text for people: the badge, and what to do.
//!
//! Owns the plain text for each outcome's label. The text contains the label's own words, so that a search for them
//! finds the same outcome in the metrics and in the log.

use super::frame::escaped;
use crate::cancel::Cause;
use crate::probe::history::Finished;
use crate::probe::wait_error::WaitError;

/// The outcome of a probe.
pub(super) struct Outcome {
    /// A CSS class: `good`, `bad`, or `none` if there is no result.
    pub(super) class: &'static str,
    /// The label in the metrics and in the log.
    label: &'static str,
    is_not_run: bool,
}

/// Plain texts for the labels that are not clear by themselves.
const PLAIN: &[(&str, &str)] = &[
    ("busy", "server busy"),
    ("auth", "authentication failed"),
    ("killed", "iperf3 killed"),
    ("local", "local problem"),
    ("not_found", "iperf3 not found"),
    ("budget", "budget spent"),
    ("other", "other error"),
    ("running", "still running"),
    ("full", "queue full"),
    ("broken", "broken: internal error"),
];

impl Outcome {
    pub(super) fn of(past: &Finished) -> Self {
        let (class, label) = match &past.end {
            Ok(answer) => match &answer.completed.outcome {
                Ok(_) => ("good", "success"),
                Err(failure) => ("bad", failure.reason.label()),
            },
            Err(why) => ("none", why.label()),
        };
        Self {
            class,
            label,
            is_not_run: past.end.as_ref().is_err_and(WaitError::is_not_run),
        }
    }

    /// `unknown host`, `not run: no time left`.
    fn text(&self) -> String {
        let text = plain_text(self.label);
        if self.is_not_run {
            format!("not run: {text}")
        } else {
            text
        }
    }

    /// The label, if it differs from the plain text, to search the metrics and the log for.
    pub(super) fn label(&self) -> String {
        if self.text() == self.label {
            String::new()
        } else {
            format!(" <span class=\"soft\">(<code>{}</code>)</span>", self.label)
        }
    }

    pub(super) fn badge(&self) -> String {
        format!("<span class=\"{}\">{}</span>", self.class, self.text())
    }
}

/// The plain text for a label.
fn plain_text(label: &str) -> String {
    let plain = PLAIN.iter().find(|(own, _)| *own == label);
    plain.map_or_else(|| label.replace('_', " "), |(_, text)| (*text).to_owned())
}

/// What to do about a probe without a result, as HTML. None if the probe has a result.
pub(super) fn advice(past: &Finished) -> Option<String> {
    let text = match &past.end {
        Ok(answer) => answer.completed.outcome.as_ref().err()?.reason.advice(),
        Err(why) => about(why),
    };
    Some(marked(text))
}

/// What to do when no test ran, or the test did not finish.
fn about(why: &WaitError) -> &'static str {
    match why {
        WaitError::WaitedTooLong { .. } => {
            "The tests take longer than the scrapes leave time for: set a longer scrape interval, a shorter `period`, or \
             a longer `--lock.timeout`."
        }
        WaitError::NoTimeLeft { .. } => {
            "The queue took the time of this test: set a longer scrape timeout or interval, a shorter `period`, or \
             `max_age`."
        }
        WaitError::Cancelled { cause, .. } => match cause {
            Cause::ClientGone => {
                "Nothing, if its client was stopped. If the client gave up: set a longer timeout there, which for \
                 Prometheus is the scrape timeout."
            }
            Cause::StoppedBy(_) => {
                "Nothing: a person ended it. Run it again when you need the result."
            }
            Cause::ShuttingDown => {
                "Nothing: the exporter ended, and the next scrape runs the test again."
            }
        },
        WaitError::Running => "Wait for the next scrape: it gets the result.",
        WaitError::Full => {
            "Wait until fewer probes are in the queue. When it comes back: set a longer scrape interval, or share the \
             targets among several exporters."
        }
        WaitError::Broken => "Read the exporter\u{2019}s log, and report the error that it has.",
    }
}

/// Escapes a text and marks its parts in backquotes as code.
fn marked(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 32);
    for (index, part) in text.split('`').enumerate() {
        let part = escaped(part);
        if index % 2 == 0 {
            out.push_str(&part);
        } else {
            out.push_str("<code>");
            out.push_str(&part);
            out.push_str("</code>");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{PLAIN, about, marked, plain_text};
    use crate::cancel::Cause;
    use crate::iperf3::reason::Reason;
    use crate::probe::wait_error::{Reached, WaitError};

    #[test]
    fn each_plain_text_contains_its_label() {
        let reasons = Reason::ALL.iter().map(|(_, label, _)| *label);
        let others = WaitError::LABELS.into_iter().chain(["success"]);
        let all: Vec<&str> = reasons.chain(others).collect();
        for label in &all {
            let text = plain_text(label);
            assert!(text.contains(&label.replace('_', " ")), "{label}: {text}");
        }
        for (label, _) in PLAIN {
            assert!(all.contains(label), "{label} is no outcome");
        }
    }

    #[test]
    fn each_way_to_have_no_result_says_what_to_do() {
        let cancelled = |cause| WaitError::Cancelled {
            cause,
            reached: Reached::NotRun,
        };
        let all = [
            cancelled(Cause::ClientGone),
            cancelled(Cause::StoppedBy([192, 0, 2, 1].into())),
            cancelled(Cause::ShuttingDown),
            WaitError::Running,
            WaitError::Full,
            WaitError::Broken,
        ]
        .map(|why| about(&why));
        for (place, text) in all.iter().enumerate() {
            assert!(
                text.ends_with('.') && text.split('`').count() % 2 == 1,
                "{text}"
            );
            assert!(!all[..place].contains(text), "twice: {text}");
        }
    }

    #[test]
    fn backquotes_mark_code() {
        assert_eq!(
            marked("start `a <b`, `c`."),
            "start <code>a &lt;b</code>, <code>c</code>."
        );
        assert_eq!(marked("nothing"), "nothing");
    }
}
