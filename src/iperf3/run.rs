//! One run of iperf3: from a test's specification to its outcome.
//!
//! Invariant: iperf3's exit status is never trusted alone, and neither is its output: a test succeeded when its process
//! ended by itself with status 0, its output is a JSON document without `error`, and that carries the sums of the test's
//! mode.

use std::time::{Duration, Instant, SystemTime};

use super::args::Args;
use super::binary::{Binary, Installed, Unusable};
use super::credentials::{self, Credentials, Secret};
use super::lookup;
use super::mode::Mode;
use super::outcome::{Cost, Failure, Outcome};
use super::process::{self, Ended, Finished};
use super::reason::{self, Reason};
use super::report::{Document, Fault};
use super::target::Host;
use crate::cancel::Cancel;

/// How much of iperf3's words is kept for the log.
const WORDS_LIMIT_CHARS: usize = 300;
/// How much of its standard error is kept for people.
const STDERR_LIMIT_CHARS: usize = 4096;

/// How a run ended that did not begin.
const NOT_STARTED: &str = "was not started";

/// One test to run.
#[derive(Clone, Copy)]
pub(crate) struct TestSpec<'a> {
    /// Adds what to test to the command line: the server, its port, and all that was asked for.
    pub(crate) args: &'a dyn Fn(&mut Args<'_>),
    /// The port among them.
    pub(crate) port: u16,
    /// Which way the data goes.
    pub(crate) mode: Mode,
    /// UDP instead of TCP.
    pub(crate) udp: bool,
    /// Whether the part `end` of the report is kept, for people.
    pub(crate) keep_end_part: bool,
    /// When it has to be over.
    pub(crate) deadline: Instant,
    /// Who iperf3 says that it is, to servers that ask.
    pub(crate) credentials: Option<&'a Credentials>,
}

/// One run of iperf3.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// What it led to; none when it was cancelled.
    pub(crate) outcome: Option<Outcome>,
    /// How it went.
    pub(crate) details: RunDetails,
    /// What it cost.
    pub(crate) cost: Cost,
    /// Whether its streams were connected: else the server had not begun with it.
    pub(crate) was_connected: bool,
}

/// How a run went, for people. Nothing in it is secret.
#[derive(Clone, Debug)]
pub(crate) struct RunDetails {
    /// The port that was used.
    pub(crate) port: u16,
    /// The command line, the program's path first; empty when there is no program.
    pub(crate) words: Vec<String>,
    /// When it was started.
    pub(crate) started: SystemTime,
    /// How long it ran.
    pub(crate) took: Duration,
    /// How it ended, as the end of a sentence about iperf3.
    pub(crate) ended: String,
    /// Its standard error, not all of it when it is long.
    pub(crate) stderr: String,
    /// The part `end` of its report, where that was asked for.
    pub(crate) end_part: Option<String>,
}

impl Run {
    /// A run that there was none of.
    pub(crate) fn refused(port: u16, failure: Failure) -> Self {
        Self {
            outcome: Some(Err(failure)),
            details: RunDetails::not_started(port),
            cost: Cost::default(),
            was_connected: false,
        }
    }

    /// Whether there was a process.
    pub(crate) fn was_started(&self) -> bool {
        self.details.ended != NOT_STARTED
    }
}

impl RunDetails {
    fn not_started(port: u16) -> Self {
        Self {
            port,
            words: Vec::new(),
            started: SystemTime::now(),
            took: Duration::ZERO,
            ended: NOT_STARTED.to_owned(),
            stderr: String::new(),
            end_part: None,
        }
    }
}

/// Runs one test.
pub(crate) fn run_test(binary: &Binary, spec: &TestSpec<'_>, cancel: &Cancel) -> Run {
    let started = Instant::now();
    let mut details = RunDetails::not_started(spec.port);
    let not_run = |details, failure| Run {
        details,
        ..Run::refused(spec.port, failure)
    };
    let ready = match prepare(binary, spec, &mut details) {
        Ok(ready) => ready,
        Err(failure) => return not_run(details, failure),
    };
    let path = &ready.installed.path;
    let variable = ready.secret.as_ref().map(Secret::variable);
    let arguments = &ready.arguments;
    let run = process::run(path, arguments, variable, spec.deadline, cancel);
    binary.note_run(run.as_ref().map(|_| ()));
    details.took = started.elapsed();
    match run {
        Ok(finished) => {
            details.ended = finished.ended.to_string();
            details.stderr = shown_stderr(&finished.stderr);
            let document = Document::read(&finished.stdout);
            if spec.keep_end_part {
                details.end_part = document.as_ref().and_then(Document::end_part);
            }
            let outcome = classify(&finished, document.as_ref(), spec);
            let was_connected = document.as_ref().is_some_and(Document::was_connected);
            let cost = document.map(|document| document.cost(spec.mode, &outcome));
            Run {
                was_connected,
                cost: cost.unwrap_or_default(),
                outcome: (finished.ended != Ended::Cancelled).then_some(outcome),
                details,
            }
        }
        Err(error) => {
            let reason = match error.kind() {
                std::io::ErrorKind::NotFound => Reason::NotFound,
                _ => Reason::Local,
            };
            let words = format!("cannot run `{}`: {error}", path.display());
            not_run(details, Failure { reason, words })
        }
    }
}

/// All that a run takes.
struct Prepared {
    installed: Installed,
    arguments: Vec<String>,
    secret: Option<Secret>,
}

/// Puts together what to run; fails when that is known to lead to nothing.
fn prepare(
    binary: &Binary,
    spec: &TestSpec<'_>,
    details: &mut RunDetails,
) -> Result<Prepared, Failure> {
    let installed = binary.installed().map_err(|unusable| Failure {
        reason: match unusable {
            Unusable::NotFound(_) => Reason::NotFound,
            _ => Reason::Local,
        },
        words: unusable.to_string(),
    })?;
    let mut args = Args::new(installed.features.as_deref());
    args.option("-J");
    (spec.args)(&mut args);
    if let Some(credentials) = spec.credentials {
        credentials.add_to(&mut args);
    }
    let missing = missing_option(&args, &installed);
    let arguments = args.into_words();
    details.words = std::iter::once(installed.path.display().to_string())
        .chain(credentials::shown(&arguments))
        .collect();
    if let Some(words) = missing {
        let reason = Reason::Unsupported;
        return Err(Failure { reason, words });
    }
    let password = spec.credentials.map(Credentials::password).transpose();
    let secret = password.map_err(|words| Failure {
        reason: Reason::Local,
        words,
    })?;
    Ok(Prepared {
        installed,
        arguments,
        secret,
    })
}

/// The line about an option that this iperf3 lacks.
fn missing_option(args: &Args<'_>, installed: &Installed) -> Option<String> {
    let what = args.missing_option()?;
    let version = installed
        .version
        .as_deref()
        .unwrap_or("of no known version");
    let path = installed.path.display();
    Some(format!("iperf3 {version} ({path}) has no {what}"))
}

/// As much of standard error as a person reads.
fn shown_stderr(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    text.chars().take(STDERR_LIMIT_CHARS).collect()
}

/// Puts the reason of a failure right where iperf3's words mislead: a name that has no address. For after the test
/// lock is released, since it may look the name up; `end` is when the probe has to be over.
pub(crate) fn refine_reason(outcome: Outcome, host: &Host, end: Instant) -> Outcome {
    outcome.map_err(|failure| {
        let Host::Name(name) = host else {
            return failure;
        };
        // Whatever else the words say: a name that was not found leads to no connection that could be refused.
        let may_be_unknown = reason::is_of_connecting(&failure.words)
            && !matches!(failure.reason, Reason::Refused | Reason::UnknownHost);
        let time_left = end.saturating_duration_since(Instant::now());
        if may_be_unknown && lookup::has_no_address(name, time_left) {
            return Failure {
                reason: Reason::UnknownHost,
                ..failure
            };
        }
        failure
    })
}

fn classify(finished: &Finished, document: Option<&Document>, spec: &TestSpec<'_>) -> Outcome {
    let failure = |reason, words: String| Err(Failure { reason, words });
    match finished.ended {
        // Whatever it printed when told to end is not a result.
        Ended::DeadlinePassed => {
            return failure(
                Reason::Timeout,
                "the test was not over at its deadline".to_owned(),
            );
        }
        Ended::TooMuchOutput => {
            let limit = process::OUTPUT_LIMIT_BYTES;
            return failure(
                Reason::BadOutput,
                format!("iperf3 printed more than {limit} bytes"),
            );
        }
        Ended::Killed(signal) => {
            return failure(
                Reason::Killed,
                format!("iperf3 was ended by signal {signal}"),
            );
        }
        Ended::Exited(_) | Ended::Cancelled => {}
    }
    let status = match finished.ended {
        Ended::Exited(status) => status,
        _ => 0,
    };
    let error_line = error_line(&finished.stderr);
    let Some(document) = document else {
        return said(error_line, status, false, Reason::BadOutput);
    };
    let started = document.was_connected();
    match document.report(spec.mode, spec.udp) {
        Ok(report) if status == 0 => Ok(report),
        Err(Fault::Error(message)) => {
            let may_be_refused = spec.credentials.is_some() && !started;
            let reason = if may_be_refused && reason::is_silent_refusal(&message) {
                Reason::Auth
            } else {
                reason::of_message(&message, started)
            };
            failure(reason, shortened(&message))
        }
        // Before 3.10 a failed run prints a report without `error`; the reason is on standard error.
        Ok(_) => said(error_line, status, started, Reason::Other),
        Err(Fault::Incomplete) => said(error_line, status, started, Reason::BadOutput),
    }
}

/// The failure that standard error tells of, or that of saying nothing.
fn said(error_line: Option<String>, status: i32, started: bool, otherwise: Reason) -> Outcome {
    Err(match error_line {
        Some(words) => Failure {
            reason: reason::of_message(&words, started),
            words,
        },
        None => Failure {
            reason: otherwise,
            words: format!("iperf3 ended with status {status} and without a report or a reason"),
        },
    })
}

/// The line of standard error that says what went wrong: iperf3's own before a library's.
fn error_line(stderr: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(stderr);
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let own = lines().find_map(|line| line.strip_prefix("iperf3: "));
    let line = own.or_else(|| lines().next())?;
    Some(shortened(line.strip_prefix("error - ").unwrap_or(line)))
}

fn shortened(words: &str) -> String {
    words.chars().take(WORDS_LIMIT_CHARS).collect()
}
