//! One run of iperf3: from a test's specification to its outcome.
//!
//! Invariant: neither iperf3's exit status nor its output is trusted alone. A test succeeded only if its process ended
//! by itself with status 0, and its output is a JSON document without `error` that has the sums of the test's mode.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use super::args::Args;
use super::binary::{Binary, Installed, Unusable};
use super::credentials::{self, Credentials};
use super::lookup;
use super::mode::Mode;
use super::outcome::{Cost, Failure, Outcome};
use super::process::{self, Ended, Finished, Reader};
use super::progress::Progress;
use super::reason::{self, Reason};
use super::report::intervals::Intervals;
use super::report::stream::Stream;
use super::report::{Direction, Document, Fault, Report, Unreadable};
use super::target::Host;
use super::temp::{TempFiles, TempFolders};
use crate::cancel::{Cancel, Cause};
use crate::sys;

/// How much of iperf3's message is kept for the log.
const MESSAGE_LIMIT_CHARS: usize = 300;
/// How much of its standard error is kept for display.
const STDERR_LIMIT_CHARS: usize = 4096;

/// `RunDetails::ended` of a run that was not started.
const NOT_STARTED: &str = "was not started";

#[derive(Clone, Copy)]
pub(crate) struct TestSpec<'a> {
    /// Adds the test to the command line: the server, its port, and all requested options.
    pub(crate) args: &'a dyn Fn(&mut Args<'_>),
    /// The server's port in `args`.
    pub(crate) port: u16,
    pub(crate) mode: Mode,
    pub(crate) udp: bool,
    /// Whether to keep the report's `end` part, for display.
    pub(crate) keep_end_part: bool,
    /// When the test must be over.
    pub(crate) deadline: Instant,
    /// iperf3's credentials for servers that require authentication.
    pub(crate) credentials: Option<&'a Credentials>,
    /// The candidate folders for its temporary files, and those files.
    pub(crate) temp: (&'a TempFolders, TempFiles),
    /// Receives what the test has measured so far.
    pub(crate) progress: &'a Progress,
    /// Whether the test may continue at this cost. Called whenever a streaming iperf3 prints something.
    pub(crate) may_go_on: &'a dyn Fn(Cost) -> bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// The outcome, or why the run was cancelled.
    pub(crate) outcome: Result<Outcome, Cause>,
    pub(crate) details: RunDetails,
    pub(crate) cost: Cost,
    /// Whether its streams were connected. If not, the server had not started the test.
    pub(crate) was_connected: bool,
}

/// How a run went, for display. Contains no secrets.
#[derive(Clone, Debug)]
pub(crate) struct RunDetails {
    pub(crate) port: u16,
    /// The server's address, if it is known.
    pub(crate) address: Option<IpAddr>,
    /// The command line: the variables that were set, the program's path, its arguments. Empty without a usable
    /// program.
    pub(crate) command_line: Vec<String>,
    pub(crate) started: SystemTime,
    pub(crate) took: Duration,
    /// How the run ended, as the end of a sentence about iperf3.
    pub(crate) ended: String,
    /// Its standard error, cut at a limit.
    pub(crate) stderr: String,
    /// The report's `end` part, if it was requested.
    pub(crate) end_part: Option<String>,
}

impl Run {
    /// The result of a test for which no process was started.
    pub(crate) fn refused(port: u16, failure: Failure) -> Self {
        Self {
            outcome: Ok(Err(failure)),
            details: RunDetails::not_started(port),
            cost: Cost::default(),
            was_connected: false,
        }
    }

    /// Whether a process was started.
    pub(crate) fn was_started(&self) -> bool {
        self.details.ended != NOT_STARTED
    }
}

impl RunDetails {
    fn not_started(port: u16) -> Self {
        Self {
            port,
            address: None,
            command_line: Vec::new(),
            started: SystemTime::now(),
            took: Duration::ZERO,
            ended: NOT_STARTED.to_owned(),
            stderr: String::new(),
            end_part: None,
        }
    }
}

pub(crate) fn run_test(binary: &Binary, spec: &TestSpec<'_>, cancel: &Cancel) -> Run {
    let mut details = RunDetails::not_started(spec.port);
    let printed = match run_iperf3(binary, spec, cancel, &mut details) {
        Ok(printed) => printed,
        Err(failure) => {
            return Run {
                details,
                ..Run::refused(spec.port, failure)
            };
        }
    };
    let ended = printed.finished.ended;
    details.ended = ended.to_string();
    let stderr = String::from_utf8_lossy(&printed.finished.stderr);
    details.stderr = shortened(&stderr, STDERR_LIMIT_CHARS);
    let document = printed.document.as_ref();
    if let Ended::Exited(_) = ended {
        binary.note_report(document.is_some());
    }
    details.address = document.and_then(Document::server_address);
    if spec.keep_end_part {
        details.end_part = document.and_then(Document::end_part);
    }
    let outcome = exit_status(ended, details.took)
        .and_then(|status| classify(status, &printed, spec))
        .map_err(|failure| blame_temporary_files(failure, spec));
    if outcome.is_ok() {
        spec.temp.0.note_success();
    }
    let cost = document.map(|document| document.cost(spec.mode, &outcome));
    Run {
        was_connected: document.is_some_and(Document::was_connected),
        cost: cost.unwrap_or_default(),
        outcome: match ended {
            Ended::Cancelled(cause) => Err(cause),
            _ => Ok(outcome),
        },
        details,
    }
}

/// The output of a process, parsed once.
struct Printed {
    document: Option<Document>,
    unreadable: Option<Unreadable>,
    finished: Finished,
}

/// Builds the command line and runs iperf3. Fails early if the run cannot succeed.
fn run_iperf3(
    binary: &Binary,
    spec: &TestSpec<'_>,
    cancel: &Cancel,
    details: &mut RunDetails,
) -> Result<Printed, Failure> {
    let installed = binary.installed().map_err(|unusable| {
        let reason = match unusable {
            Unusable::NotFound(_) => Reason::NotFound,
            _ => Reason::Local,
        };
        Failure::new(reason, unusable.to_string())
    })?;
    let path = installed.path.display();
    let args = arguments(&installed, spec);
    let streams = args.streams();
    let unsupported = args.missing_option().map(|what| {
        let version = installed.version.as_deref();
        let version = version.unwrap_or("of unknown version");
        format!("iperf3 {version} ({path}) does not support {what}")
    });
    let arguments = args.into_vec();
    let (folders, files) = spec.temp;
    let folder = folders.variable(files);
    let shown = folder.iter();
    let shown = shown.map(|(name, value)| format!("{name}={}", value.display()));
    details.command_line = shown
        .chain([path.to_string()])
        .chain(credentials::shown(&arguments))
        .collect();
    if let Some(message) = unsupported {
        return Err(Failure::new(Reason::Unsupported, message));
    }
    let password = spec.credentials.map(Credentials::password).transpose();
    let password = password.map_err(|error| Failure::new(Reason::Local, error.to_string()))?;
    let variables: Vec<_> = password.into_iter().chain(folder).collect();
    let run = |reader: Option<Reader<'_>>| {
        let (program, deadline) = (&installed.path, spec.deadline);
        process::run(program, &arguments, &variables, deadline, cancel, reader)
    };
    let started = Instant::now();
    let printed = if streams {
        read_stream(spec, run)
    } else {
        read_report(spec, run)
    };
    details.took = started.elapsed();
    binary.note_run(printed.as_ref().map(drop));
    printed.map_err(|error| {
        let reason = match error.kind() {
            io::ErrorKind::NotFound => Reason::NotFound,
            _ => Reason::Local,
        };
        Failure::new(reason, format!("cannot run `{path}`: {error}"))
    })
}

/// The arguments of a test with this iperf3: JSON, as a stream if it can, and the requested options.
fn arguments<'a>(installed: &'a Installed, spec: &TestSpec<'_>) -> Args<'a> {
    let version = installed.version.as_deref();
    let features = installed.features.as_deref();
    let mut args = Args::new(features);
    if features.is_some_and(|features| features.can_stream(version)) {
        args.option("--json-stream");
        // In all versions so far, each event is flushed even without this option.
        if args.has("--forceflush") {
            args.option("--forceflush");
        }
    } else {
        args.option("-J");
    }
    (spec.args)(&mut args);
    if let Some(credentials) = spec.credentials {
        credentials.add_to(&mut args);
    }
    args
}

/// Reads the stream of an iperf3 that reports each interval as it ends. The intervals go to the test's progress and are
/// not kept. The standard output of the result contains only what is not an event.
fn read_stream(
    spec: &TestSpec<'_>,
    run: impl FnOnce(Option<Reader<'_>>) -> io::Result<Finished>,
) -> io::Result<Printed> {
    spec.progress.start(Some(Intervals::new(spec.mode)));
    let mut stream = Stream::new(spec.progress);
    let finished = run(Some(&mut |piece| {
        stream.take(piece);
        let is_over = !(spec.may_go_on)(spec.progress.cost());
        is_over.then_some(Ended::OverBudget)
    }))?;
    let streamed = stream.finish();
    let stdout = streamed.other;
    Ok(Printed {
        document: streamed.document,
        unreadable: streamed.unreadable,
        finished: Finished { stdout, ..finished },
    })
}

/// Reads the report of an iperf3 that prints it at its end.
fn read_report(
    spec: &TestSpec<'_>,
    run: impl FnOnce(Option<Reader<'_>>) -> io::Result<Finished>,
) -> io::Result<Printed> {
    spec.progress.start(None);
    let finished = run(None)?;
    let (document, unreadable) = match Document::read(&finished.stdout) {
        Ok(document) => (Some(document), None),
        Err(unreadable) => (None, unreadable),
    };
    Ok(Printed {
        document,
        unreadable,
        finished,
    })
}

/// Blames missing space for iperf3's temporary files if that is the cause. iperf3 does not report it, or reports
/// something else: without space it dies of SIGBUS, or reports a "bad" address.
fn blame_temporary_files(mut failure: Failure, spec: &TestSpec<'_>) -> Failure {
    let (folders, files) = spec.temp;
    let may_be = matches!(
        failure.reason,
        Reason::Local | Reason::Other | Reason::Killed
    );
    if may_be && let Err(fault) = folders.find(files) {
        failure.reason = Reason::Local;
        failure.message = format!("{fault}; iperf3: {}", failure.message);
    }
    failure
}

/// Corrects the reason of a failure if iperf3's message is misleading: the name of the server, or the name in `bind`,
/// has no address. Call it after the test lock is released, because it may look up names. `end` is when the probe must
/// be over.
pub(crate) fn refine_reason(
    mut failure: Failure,
    host: &Host,
    bind: Option<&str>,
    end: Instant,
) -> Failure {
    // A refused connection was possible only because the name was found.
    if !reason::is_connect_error(&failure.message) || failure.reason == Reason::Refused {
        return failure;
    }
    let is_unknown = |name: &str| lookup::has_no_address(name, end);
    // The host is an address, so the unknown name must be the local one, which iperf3 looks up first.
    let is_address = matches!(host, Host::Address { .. });
    let is_local = is_address && failure.reason == Reason::UnknownHost;
    if let Some(bind) = bind
        && (is_local || local_name(bind).is_some_and(is_unknown))
    {
        let message = failure.message;
        let what = "is not an address, a name that resolves or a device of this host";
        return Failure::new(
            Reason::Local,
            format!("bind_address {bind:?} {what}: {message}"),
        );
    }
    if let Host::Name(name) = host
        && failure.reason != Reason::UnknownHost
        && is_unknown(name)
    {
        failure.reason = Reason::UnknownHost;
    }
    failure
}

/// The host name in a local address; `None` if it is an address or a device.
fn local_name(bind: &str) -> Option<&str> {
    let (name, _) = bind.split_once('%').unwrap_or((bind, ""));
    let is_name = name.parse::<IpAddr>().is_err() && !sys::is_device(name);
    is_name.then_some(name)
}

/// The exit status of a run that ended by itself, or why the test failed without one. 0 for a cancelled run.
fn exit_status(ended: Ended, took: Duration) -> Result<i32, Failure> {
    let (reason, message) = match ended {
        Ended::Exited(status) => return Ok(status),
        // A cancelled run is classified only for its cost.
        Ended::Cancelled(_) => return Ok(0),
        // Whatever it printed after SIGTERM is not a result.
        Ended::DeadlinePassed => {
            let took = took.as_secs_f64();
            let message = format!("the test did not finish before its deadline, after {took:.1} s");
            (Reason::Timeout, message)
        }
        Ended::TooMuchOutput(limit) => {
            let message = format!("iperf3 printed more than {limit} bytes");
            (Reason::BadOutput, message)
        }
        // The caller set the limit and knows what was spent.
        Ended::OverBudget => (Reason::Budget, "the daily budget was spent".to_owned()),
        Ended::Killed(signal) => {
            let message = format!("iperf3 was killed by signal {signal}");
            (Reason::Killed, message)
        }
    };
    Err(Failure::new(reason, message))
}

/// The outcome of a run with this exit status, from what it printed.
fn classify(status: i32, printed: &Printed, spec: &TestSpec<'_>) -> Outcome {
    let document = printed.document.as_ref();
    let started = document.is_some_and(Document::was_connected);
    let otherwise = match document.map(|document| document.report(spec.mode, spec.udp)) {
        Some(Ok(report)) if status == 0 => {
            return nothing_measured(&report).map_or(Ok(report), Err);
        }
        Some(Err(Fault::Error(message))) => {
            let mut failure = failure_of(&message, started);
            // From 3.19 on, a server that rejects a password closes the connection without a message.
            let may_be_refused = spec.credentials.is_some() && !started;
            if may_be_refused && message.contains("control socket has closed") {
                failure.reason = Reason::Auth;
            }
            return Err(failure);
        }
        // Before 3.10, a failed run prints a report without `error`. The reason is on standard error.
        Some(Ok(_)) => Reason::Other,
        Some(Err(Fault::Incomplete)) | None => Reason::BadOutput,
    };
    Err(match error_line(&printed.finished) {
        Some(message) => failure_of(&message, started),
        None => Failure::new(otherwise, without_message(status, printed)),
    })
}

/// The failure that iperf3's message reports, with a hint if its meaning is not plain. `started` is whether the streams
/// were connected.
fn failure_of(message: &str, started: bool) -> Failure {
    let own = shortened(message, MESSAGE_LIMIT_CHARS);
    let shown = match reason::hint(message) {
        Some(hint) => format!("{own}: {hint}"),
        None => own,
    };
    Failure::new(reason::from_message(message, started), shown)
}

/// The message of a run that printed neither a result nor an error message.
fn without_message(status: i32, printed: &Printed) -> String {
    let exited = format!("iperf3 exited with status {status}");
    if let Some(unreadable) = &printed.unreadable {
        return format!("{exited}, and its output is {unreadable}");
    }
    let stdout = String::from_utf8_lossy(&printed.finished.stdout);
    match lines(&stdout).next() {
        Some(line) if printed.document.is_none() => {
            let line = shortened(line, MESSAGE_LIMIT_CHARS);
            format!("{exited}, and its output is not a report: `{line}`")
        }
        _ => format!("{exited} without a report or an error message"),
    }
}

/// Why a report is not a measurement although iperf3 reported no error.
fn nothing_measured(report: &Report) -> Option<Failure> {
    let ran = || report.directions().into_iter().flatten();
    let (reason, message) = if ran().any(Direction::has_vanished) {
        let message =
            "far more was sent than buffers hold, but the receiver reports that nothing arrived";
        (Reason::Interrupted, message)
    } else if report
        .upload
        .as_ref()
        .is_some_and(Direction::sent_no_datagram)
    {
        let message = "iperf3 sent no datagram: set a smaller length if datagrams are too long for the path or the \
                       system, or a bitrate that allows at least one datagram";
        (Reason::Local, message)
    } else if ran().any(Direction::sent_no_datagram) {
        (Reason::Other, "the server sent no datagram")
    } else {
        return None;
    };
    Some(Failure::new(reason, message))
}

/// The line with the error: iperf3's own line before a library's. Its own line may also be among the JSON, or after a
/// whole report.
fn error_line(finished: &Finished) -> Option<String> {
    let output = [&finished.stderr, &finished.stdout].map(|bytes| String::from_utf8_lossy(bytes));
    let own = |line: &'_ str| line.strip_prefix("iperf3: ").map(str::to_owned);
    let [stderr, _] = &output;
    let line = output.iter().find_map(|text| lines(text).find_map(own));
    // A warning is not the error, because iperf3 continued after it.
    let is_error = |line: &&str| !line.starts_with("warning: ");
    let line = line.or_else(|| lines(stderr).find(is_error).map(str::to_owned))?;
    let line = line.strip_prefix("error - ").unwrap_or(&line);
    Some(shortened(line, MESSAGE_LIMIT_CHARS))
}

/// The lines of an output that are not blank.
fn lines(output: &str) -> impl Iterator<Item = &str> {
    output
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
}

fn shortened(message: &str, limit_chars: usize) -> String {
    message.chars().take(limit_chars).collect()
}
