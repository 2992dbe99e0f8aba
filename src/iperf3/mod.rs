//! iperf3: its command line, its process, its report, and why it failed.
//!
//! Must not know Prometheus or HTTP. Invariant: iperf3's exit status is never trusted alone, and neither is its
//! output: a test succeeded when its process ended by itself with status 0, its output is a JSON document
//! without `error`, and that carries the sums of the test's mode.

use std::time::Instant;

use self::binary::Binary;
use self::process::{Ended, Finished};
use self::reason::Reason;
use self::report::{Fault, Report};
use crate::probe::lock::Cancel;
use crate::probe::params::Params;
use crate::probe::target::Host;

pub(crate) mod binary;
mod command;
mod lookup;
mod process;
pub(crate) mod reason;
pub(crate) mod report;
pub(crate) mod udp;

/// How much of iperf3's words is kept for the log.
const WORDS_LIMIT_CHARS: usize = 300;

/// How a test failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// In the words of the contract.
    pub(crate) reason: Reason,
    /// In iperf3's own words, or the system's.
    pub(crate) words: String,
}

/// What running a test led to.
pub(crate) type Outcome = Result<Report, Failure>;

/// Runs one test of `period_seconds`, which may be shorter than `params` has it. `None`: it was cancelled.
pub(crate) fn run_test(
    binary: &Binary,
    params: &Params,
    period_seconds: u64,
    deadline: Instant,
    cancel: &Cancel,
) -> Option<Outcome> {
    let path = match binary.find() {
        Ok(path) => path,
        Err(unusable) => {
            let reason = match unusable {
                binary::Unusable::NotFound(_) => Reason::NotFound,
                _ => Reason::Local,
            };
            let words = unusable.to_string();
            return Some(Err(Failure { reason, words }));
        }
    };
    let arguments = command::arguments(params, period_seconds);
    let run = process::run(&path, &arguments, deadline, cancel);
    binary.note_run(run.as_ref().map(|_| ()));
    match run {
        Ok(finished) if finished.ended == Ended::Cancelled => None,
        Ok(finished) => Some(judge(&finished, params)),
        Err(error) => Some(Err(Failure {
            reason: match error.kind() {
                std::io::ErrorKind::NotFound => Reason::NotFound,
                _ => Reason::Local,
            },
            words: format!("cannot run `{}`: {error}", path.display()),
        })),
    }
}

/// Puts the reason of a failure right where iperf3's words mislead: a name that has no address. For after the test
/// lock is released, since it may look the name up; `end` is when the probe has to be over.
pub(crate) fn put_right(outcome: Outcome, params: &Params, end: Instant) -> Outcome {
    outcome.map_err(|failure| {
        let Host::Name(name) = &params.host else {
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

fn judge(finished: &Finished, params: &Params) -> Outcome {
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
    let complaint = complaint(&finished.stderr);
    match report::read(&finished.stdout, params.mode, params.udp) {
        Ok(report) if status == 0 => Ok(report),
        Err(Fault::Error { message, started }) => {
            failure(reason::of_message(&message, started), shortened(&message))
        }
        // Before 3.10 a failed run prints a report without `error`; the reason is on standard error.
        Ok(_) => said(complaint, status, true, Reason::Other),
        Err(Fault::Incomplete { started }) => said(complaint, status, started, Reason::BadOutput),
        Err(Fault::NotJson) => said(complaint, status, false, Reason::BadOutput),
    }
}

/// The failure that standard error tells of, or that of saying nothing.
fn said(complaint: Option<String>, status: i32, started: bool, otherwise: Reason) -> Outcome {
    Err(match complaint {
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
fn complaint(stderr: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(stderr);
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let own = lines().find_map(|line| line.strip_prefix("iperf3: "));
    let line = own.or_else(|| lines().next())?;
    Some(shortened(line.strip_prefix("error - ").unwrap_or(line)))
}

fn shortened(words: &str) -> String {
    words.chars().take(WORDS_LIMIT_CHARS).collect()
}
