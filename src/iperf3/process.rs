//! Runs one child under a deadline, with bounded capture, in the calling thread.
//!
//! Knows processes; must not know what iperf3 prints. One poll(2) waits for output, the child's end (a pidfd), a
//! cancellation (a pipe) and the next deadline, so nothing wakes up while iperf3 is silent. Rejected designs:
//! - A tick disturbs the test. It only replaces a missing pidfd (before Linux 5.3, or filtered) or a missing pipe.
//! - Threads that read or wait: more wake-ups, and a grandchild that keeps a pipe open would block the probe.
//! - SIGCHLD needs a handler for the whole process. The end of the pipes comes too early or too late.
//! - `Child::wait_with_output` has no deadline and no limit. Keeping only the last bytes would lose the report.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::cancel::{Cancel, Cause, Watch};
use crate::sys::{self, End};
use crate::threads;

/// Maximum number of bytes read from standard output and standard error together. The largest report that the
/// parameters allow is under 4 MiB.
const OUTPUT_LIMIT_BYTES: usize = 8 * 1024 * 1024;
/// The same limit if a reader takes standard output as it comes and keeps little of it. 24 hours of 128 streams in both
/// directions, with one interval per minute, are 74 MB.
const READ_LIMIT_BYTES: usize = 128 * 1024 * 1024;
/// A reaper thread only waits.
const REAPER_STACK_BYTES: usize = 32 * 1024;
const CHUNK_BYTES: usize = 4 * 1024;

/// Variables that the child keeps: where to find libraries, and where temporary files go (iperf3 creates one per
/// stream). The rest of this process's environment does not concern iperf3.
const KEPT_VARIABLES: &[&str] = &["PATH", "HOME", "LD_LIBRARY_PATH", "TMPDIR", "TEMP", "TMP"];

/// Time limits for the end of a run. A value, so that tests can use others than [`LIMITS`].
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Time between SIGTERM and SIGKILL.
    grace: Duration,
    /// How often to check for the child's end and for a cancellation if one of them has no descriptor.
    tick: Duration,
    /// How long a killed child may take to be reaped before a thread of its own waits for it.
    reap: Duration,
}

const LIMITS: Limits = Limits {
    // iperf3 informs its server within one round trip.
    grace: Duration::from_millis(500),
    // A hundred checks per second cost a small router almost nothing, and the delay is not noticeable.
    tick: Duration::from_millis(10),
    // A child that hangs in the kernel does not die of SIGKILL at once.
    reap: Duration::from_secs(1),
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Exited(i32),
    /// By a signal that the exporter did not send.
    Killed(i32),
    DeadlinePassed,
    Cancelled(Cause),
    /// It printed more than this number of bytes.
    TooMuchOutput(usize),
    /// The reader, which counts what it takes, stopped it.
    OverBudget,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exited with status {status}"),
            Self::Killed(signal) => write!(
                f,
                "was killed by signal {signal}, which the exporter did not send"
            ),
            Self::DeadlinePassed => f.write_str("was stopped at its deadline"),
            Self::Cancelled(cause) => write!(f, "was stopped: {cause}"),
            Self::TooMuchOutput(limit) => {
                write!(f, "was stopped because it printed more than {limit} bytes")
            }
            Self::OverBudget => f.write_str("was stopped because the daily budget was spent"),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) ended: Ended,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// Takes a piece of standard output as it comes. Returns why the child must end, if it must.
pub(crate) type Reader<'a> = &'a mut dyn FnMut(&[u8]) -> Option<Ended>;

/// Runs `program` until it ends, `deadline` passes, or `cancel` is set. The child is always reaped. `variables` are
/// added to its environment. If there is a reader, standard output goes to it and is not kept.
///
/// # Errors
/// If the program cannot be started, or its end cannot be observed, with the system's reason.
pub(crate) fn run(
    program: &Path,
    arguments: &[String],
    variables: &[(&str, OsString)],
    deadline: Instant,
    cancel: &Cancel,
    reader: Option<Reader<'_>>,
) -> io::Result<Finished> {
    let mut child = spawn(program, arguments, variables)?;
    let (end, cancellation) = (sys::watch_end(&child).ok(), cancel.watch().ok());
    let output = Output {
        reader,
        ..Output::of(&mut child, end, cancellation)
    };
    follow(child, output, deadline, cancel, LIMITS)
}

/// Starts the child with a known environment, and with pipes for its outputs.
fn spawn(
    program: &Path,
    arguments: &[String],
    variables: &[(&str, OsString)],
) -> io::Result<Child> {
    let kept = KEPT_VARIABLES.iter();
    Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(kept.filter_map(|name| Some((name, std::env::var_os(name)?))))
        // The exporter matches iperf3's messages in English.
        .env("LC_ALL", "C")
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A separate process group, so that a wrapper script's children end with it.
        .process_group(0)
        .spawn()
}

/// Follows a child to its end, and takes its output.
fn follow(
    mut child: Child,
    mut output: Output<'_>,
    deadline: Instant,
    cancel: &Cancel,
    limits: Limits,
) -> io::Result<Finished> {
    let ended = loop {
        if let Some(why) = reason_to_end(&output, deadline, cancel) {
            end(child, &mut output, limits)?;
            break why;
        }
        let is_watched = output.end.is_some() && output.cancellation.is_some();
        output.wait_until(deadline, is_watched, limits.tick);
        if let Some(status) = reap(&mut child, &mut output)? {
            break match (output.must_end, status.code()) {
                (Some(too_much @ Ended::TooMuchOutput(_)), _) => too_much,
                (_, Some(code)) => Ended::Exited(code),
                (_, None) => Ended::Killed(status.signal().unwrap_or_default()),
            };
        }
    };
    Ok(Finished {
        ended,
        stdout: output.stdout.text,
        stderr: output.stderr.text,
    })
}

/// Why a running child must end now, if it must.
fn reason_to_end(output: &Output<'_>, deadline: Instant, cancel: &Cancel) -> Option<Ended> {
    output
        .must_end
        .or_else(|| cancel.cause().map(Ended::Cancelled))
        .or_else(|| (Instant::now() >= deadline).then_some(Ended::DeadlinePassed))
}

/// Ends a child: with SIGTERM, and after the grace period with SIGKILL.
fn end(mut child: Child, output: &mut Output<'_>, limits: Limits) -> io::Result<()> {
    sys::signal_group(&child, End::Politely);
    let until = Instant::now() + limits.grace;
    while Instant::now() < until {
        output.wait_until(until, output.end.is_some(), limits.tick);
        // A child that ends on SIGTERM may leave processes of its group running. While they hold the pipes open, they
        // have the rest of the grace period and then get SIGKILL. For that, the child must not be reaped yet.
        if output.is_over() && reap(&mut child, output)?.is_some() {
            return Ok(());
        }
    }
    sys::signal_group(&child, End::AtOnce);
    let until = Instant::now() + limits.reap;
    while Instant::now() < until {
        output.wait_until(until, output.end.is_some(), limits.tick);
        if reap(&mut child, output)?.is_some() {
            return Ok(());
        }
    }
    // The thread lives only as long as the kernel holds the child. If the thread cannot be started, the child stays a
    // zombie until this process ends, which is harmless.
    let body = move || drop(child.wait());
    let _ = threads::start("reaper", REAPER_STACK_BYTES, Box::new(body));
    Ok(())
}

/// Reaps the child if it has ended, and takes its last output.
fn reap(child: &mut Child, output: &mut Output<'_>) -> io::Result<Option<ExitStatus>> {
    // Its descriptor has not reported the end yet. If output that came before is a reason to end the child, that is why
    // it ended.
    if output.end.is_some() {
        return Ok(None);
    }
    let status = child.try_wait()?;
    if status.is_some() {
        // The pipes may hold the child's last output. Later output of a grandchild is not waited for.
        while matches!(output.wait(Duration::ZERO), Ok(true)) {}
    }
    Ok(status)
}

/// A pipe while it is open, and the output that was read from it and kept.
#[derive(Default)]
struct Pipe {
    open: Option<File>,
    text: Vec<u8>,
}

impl Pipe {
    fn new(pipe: Option<impl Into<OwnedFd>>) -> Self {
        Self {
            open: pipe.map(|pipe| File::from(pipe.into())),
            text: Vec::new(),
        }
    }

    /// Reads one piece of the available output. Closes the pipe at its end.
    fn read<'a>(&mut self, chunk: &'a mut [u8; CHUNK_BYTES]) -> &'a [u8] {
        let Some(open) = &mut self.open else {
            return &[];
        };
        match open.read(chunk) {
            Ok(length) if length > 0 => return chunk.get(..length).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => self.open = None,
        }
        &[]
    }
}

/// Both outputs, and the other descriptors to wait for.
struct Output<'a> {
    stdout: Pipe,
    stderr: Pipe,
    /// Takes standard output, which is then not kept.
    reader: Option<Reader<'a>>,
    /// Why the child must end, if its output is the reason: there is too much of it, or the reader says so.
    must_end: Option<Ended>,
    /// Number of bytes read from both outputs.
    taken: usize,
    /// Becomes readable when the child has ended. `None` after that, or if it is unavailable.
    end: Option<OwnedFd>,
    /// Becomes readable when the run is cancelled. `None` after that, or if it is unavailable.
    cancellation: Option<Arc<Watch>>,
}

impl Output<'_> {
    fn of(child: &mut Child, end: Option<OwnedFd>, cancellation: Option<Arc<Watch>>) -> Self {
        Self {
            stdout: Pipe::new(child.stdout.take()),
            stderr: Pipe::new(child.stderr.take()),
            reader: None,
            must_end: None,
            taken: 0,
            end,
            cancellation,
        }
    }

    /// Maximum number of bytes read from both outputs.
    fn limit(&self) -> usize {
        if self.reader.is_some() {
            READ_LIMIT_BYTES
        } else {
            OUTPUT_LIMIT_BYTES
        }
    }

    /// Whether no more output can come.
    fn is_over(&self) -> bool {
        self.stdout.open.is_none() && self.stderr.open.is_none()
    }

    /// Waits until `until` for any event, and takes the available output. If not everything that the caller waits for
    /// `is_watched`, it returns after `tick`, so that the caller checks.
    fn wait_until(&mut self, until: Instant, is_watched: bool, tick: Duration) {
        let pause = until.saturating_duration_since(Instant::now());
        let timeout = if is_watched { pause } else { pause.min(tick) };
        if self.wait(timeout).is_err() {
            // poll(2) fails only if kernel memory is short. It is called again, and the deadline still holds.
            thread::sleep(timeout.min(tick));
        }
    }

    /// Waits up to `timeout` for any event, and takes the available output. Returns whether there was output or the end
    /// of a pipe.
    fn wait(&mut self, timeout: Duration) -> io::Result<bool> {
        let watched = [
            self.stdout.open.as_ref().map(AsFd::as_fd),
            self.stderr.open.as_ref().map(AsFd::as_fd),
            self.end.as_ref().map(AsFd::as_fd),
            self.cancellation.as_ref().map(|watch| watch.0.as_fd()),
        ];
        let [stdout, stderr, end, cancellation] = sys::readable(watched, timeout)?;
        let mut chunk = [0; CHUNK_BYTES];
        if stdout {
            let piece = self.stdout.read(&mut chunk);
            self.taken += piece.len();
            match &mut self.reader {
                Some(read) => self.must_end = self.must_end.or(read(piece)),
                None => self.stdout.text.extend_from_slice(piece),
            }
        }
        if stderr {
            let piece = self.stderr.read(&mut chunk);
            self.taken += piece.len();
            self.stderr.text.extend_from_slice(piece);
        }
        // Both stay readable, so they are not watched any longer.
        if end {
            self.end = None;
        }
        if cancellation {
            self.cancellation = None;
        }
        if self.taken > self.limit() {
            // The pipes are closed, so that the child cannot continue, and the kept output is freed at once.
            self.must_end = Some(Ended::TooMuchOutput(self.limit()));
            self.stdout = Pipe::default();
            self.stderr = Pipe::default();
        }
        Ok(stdout || stderr)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Ended, Finished, LIMITS, Limits, OUTPUT_LIMIT_BYTES, Output, READ_LIMIT_BYTES, follow,
        reap, run, spawn,
    };
    use crate::cancel::{Cancel, Cause};
    use crate::sys;
    use std::io::Read as _;
    use std::os::fd::AsFd as _;
    use std::path::Path;
    use std::process::Child;
    use std::sync::mpsc;
    use std::thread;
    use std::time::{Duration, Instant};

    /// Long enough never to end a test.
    const LONG: Duration = Duration::from_secs(60);
    /// A child has plenty of time to end by itself after SIGTERM.
    const PATIENT: Limits = Limits {
        grace: LONG,
        tick: Duration::from_millis(1),
        reap: LONG,
    };
    /// A child has almost no time to end by itself.
    const HASTY: Limits = Limits {
        grace: Duration::from_millis(1),
        ..PATIENT
    };

    fn start(script: &str) -> Child {
        let arguments = ["-c".to_owned(), script.to_owned()];
        spawn(Path::new("/bin/sh"), &arguments, &[]).unwrap()
    }

    /// Follows a child with all descriptors available.
    fn followed(mut child: Child, deadline: Instant, cancel: &Cancel, limits: Limits) -> Finished {
        let (end, cancellation) = (sys::watch_end(&child).ok(), cancel.watch().ok());
        let output = Output::of(&mut child, end, cancellation);
        follow(child, output, deadline, cancel, limits).unwrap()
    }

    /// The same without a descriptor for the child's end or for a cancellation.
    fn ticking_shell(script: &str, limit: Duration, cancel: &Cancel) -> Finished {
        let mut child = start(script);
        let output = Output::of(&mut child, None, None);
        follow(child, output, Instant::now() + limit, cancel, LIMITS).unwrap()
    }

    /// Runs a script without any interference.
    fn shell(script: &str) -> Finished {
        let deadline = Instant::now() + LONG;
        followed(start(script), deadline, &Cancel::default(), PATIENT)
    }

    /// Runs a script whose deadline passes once it has printed a line. Returns the run and that line.
    fn shell_past_its_deadline(script: &str, limits: Limits) -> (Finished, String) {
        let mut child = start(script);
        let mut line = Vec::new();
        let mut byte = [0];
        let stdout = child.stdout.as_mut().unwrap();
        while stdout.read(&mut byte).unwrap() == 1 && byte != [b'\n'] {
            line.extend(byte);
        }
        let own = child.id();
        let run = followed(child, Instant::now(), &Cancel::default(), limits);
        assert_eq!(run.ended, Ended::DeadlinePassed);
        assert!(is_gone(&own.to_string()), "the child is still there");
        (run, String::from_utf8(line).unwrap())
    }

    fn text(printed: &[u8]) -> &str {
        std::str::from_utf8(printed).unwrap().trim()
    }

    fn is_gone(pid: &str) -> bool {
        !Path::new(&format!("/proc/{pid}")).exists()
    }

    /// Waits until a process that init reaps is gone.
    fn wait_for_the_end_of(pid: &str) {
        let end = Instant::now() + LONG;
        while !is_gone(pid) {
            assert!(Instant::now() < end, "{pid} is still running");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn both_outputs_and_the_status_are_kept() {
        let run = shell("echo out; echo err >&2; exit 3");
        assert_eq!(run.ended, Ended::Exited(3));
        assert_eq!(
            (run.stdout, run.stderr),
            (b"out\n".to_vec(), b"err\n".to_vec())
        );
    }

    #[test]
    fn the_environment_is_fixed_and_stdin_is_empty() {
        let run = shell(
            "cat; env | grep -v '^PATH\\|^HOME\\|^PWD\\|^_\\|^SHLVL\\|^OLDPWD\\|TMP\\|TEMP\\|LD_LIBRARY'",
        );
        assert_eq!(String::from_utf8(run.stdout).unwrap(), "LC_ALL=C\n");
    }

    #[test]
    fn a_signal_from_elsewhere_is_reported() {
        assert_eq!(shell("kill -9 $$").ended, Ended::Killed(9));
    }

    #[test]
    fn the_deadline_ends_a_child_with_sigterm() {
        let script = "trap 'echo told; exit 0' TERM; echo ready; while :; do sleep 0.01; done";
        let (run, _) = shell_past_its_deadline(script, PATIENT);
        assert_eq!(run.stdout, b"told\n");
    }

    #[test]
    fn a_child_that_ignores_sigterm_is_killed_and_reaped() {
        let script = "trap '' TERM; echo ready; while :; do sleep 0.01; done";
        shell_past_its_deadline(script, HASTY);
    }

    #[test]
    fn the_child_of_a_wrapper_is_ended_too() {
        let (_, pid) = shell_past_its_deadline("sleep 600 & echo $!; wait", PATIENT);
        // It got SIGTERM at the same time as the wrapper.
        wait_for_the_end_of(&pid);
    }

    #[test]
    fn the_child_of_a_wrapper_that_ignores_sigterm_is_killed_too() {
        let script = "sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.01; done'; :";
        let (_, pid) = shell_past_its_deadline(script, HASTY);
        // It is killed before the wrapper is reaped.
        wait_for_the_end_of(&pid);
    }

    #[test]
    fn a_grandchild_that_keeps_the_pipes_open_delays_nothing() {
        // setsid: outside the group, so it gets no signal.
        let run = shell("setsid sleep 600 & echo $!; exit 4");
        assert_eq!(run.ended, Ended::Exited(4));
        let pid = String::from_utf8(run.stdout).unwrap();
        assert!(!is_gone(pid.trim()), "the grandchild must outlive the run");
        assert_eq!(shell(&format!("kill {pid}")).ended, Ended::Exited(0));
    }

    #[test]
    fn a_child_that_closes_its_outputs_still_has_its_deadline() {
        let script = "echo ready; exec >&- 2>&-; exec sleep 600";
        shell_past_its_deadline(script, PATIENT);
    }

    #[test]
    fn too_much_output_is_an_error_and_ends_the_child() {
        let run = shell("exec cat /dev/zero");
        assert_eq!(run.ended, Ended::TooMuchOutput(OUTPUT_LIMIT_BYTES));
        assert!(run.stdout.is_empty());
        let run = shell(&format!("head -c {OUTPUT_LIMIT_BYTES} /dev/zero"));
        assert_eq!(run.ended, Ended::Exited(0));
        assert_eq!(run.stdout.len(), OUTPUT_LIMIT_BYTES);
    }

    #[test]
    fn a_reader_gets_output_before_the_end_and_can_end_the_child() {
        let script = "trap 'echo told; exit 0' TERM; echo one; while :; do sleep 0.01; done";
        let arguments = ["-c".to_owned(), script.to_owned()];
        let mut received = Vec::new();
        let mut read = |piece: &[u8]| {
            received.extend_from_slice(piece);
            received.ends_with(b"one\n").then_some(Ended::Exited(77))
        };
        let run = run(
            Path::new("/bin/sh"),
            &arguments,
            &[],
            Instant::now() + LONG,
            &Cancel::default(),
            Some(&mut read),
        );
        let run = run.unwrap();
        assert_eq!((run.ended, run.stdout), (Ended::Exited(77), Vec::new()));
        // It got SIGTERM, and its last output was taken.
        assert_eq!(text(&received), "one\ntold");
    }

    #[test]
    fn a_reader_has_an_output_limit_too() {
        let mut received = 0;
        let mut read = |piece: &[u8]| {
            received += piece.len();
            None
        };
        let run = run(
            Path::new("/bin/cat"),
            &["/dev/zero".to_owned()],
            &[],
            Instant::now() + LONG,
            &Cancel::default(),
            Some(&mut read),
        );
        let ended = run.unwrap().ended;
        assert_eq!(ended, Ended::TooMuchOutput(READ_LIMIT_BYTES));
        assert!(received <= READ_LIMIT_BYTES + 4096, "{received}");
    }

    #[test]
    fn a_cancelled_run_is_ended_with_sigterm() {
        let cancel = Cancel::default();
        let mut child =
            start("trap 'echo told; exit 0' TERM; echo ready; while :; do sleep 0.01; done");
        let mut ready = [0; 6];
        child
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut ready)
            .unwrap();
        cancel.set(Cause::ClientGone);
        let run = followed(child, Instant::now() + LONG, &cancel, PATIENT);
        assert_eq!(
            (run.ended, text(&run.stdout)),
            (Ended::Cancelled(Cause::ClientGone), "told")
        );
        // A cancellation wakes it while it waits.
        let cancel = Cancel::default();
        thread::scope(|scope| {
            let runner = scope.spawn(|| {
                let child = start("exec sleep 600");
                followed(child, Instant::now() + LONG, &cancel, PATIENT).ended
            });
            cancel.set(Cause::ClientGone);
            assert_eq!(runner.join().unwrap(), Ended::Cancelled(Cause::ClientGone));
        });
        // The grace period for iperf3 is the contract's half second.
        assert_eq!(LIMITS.grace, Duration::from_millis(500));
    }

    #[test]
    fn a_child_is_reaped_only_when_its_descriptor_has_reported_its_end() {
        let mut child = start("exit 4");
        let end = sys::watch_end(&child).unwrap();
        while !sys::is_readable(end.as_fd(), LONG).unwrap() {}
        let mut output = Output::of(&mut child, Some(end), None);
        assert_eq!(reap(&mut child, &mut output).unwrap(), None);
        while output.end.is_some() {
            output.wait(LONG).unwrap();
        }
        let status = reap(&mut child, &mut output).unwrap().unwrap();
        assert_eq!(status.code(), Some(4));
    }

    #[test]
    fn end_cancellation_and_deadline_are_noticed_without_descriptors() {
        let run = ticking_shell(
            "setsid sleep 600 & echo $!; exit 4",
            LONG,
            &Cancel::default(),
        );
        assert_eq!(run.ended, Ended::Exited(4));
        let left = text(&run.stdout);
        assert!(!is_gone(left));
        let kill = std::process::Command::new("kill").arg(left).status();
        assert!(kill.unwrap().success());
        let closed = "exec >&- 2>&-; exec sleep 600";
        let soon = Duration::from_millis(100);
        let run = ticking_shell(closed, soon, &Cancel::default());
        assert_eq!(run.ended, Ended::DeadlinePassed);
        let stubborn = "trap '' TERM; echo $$; while :; do sleep 0.01; done";
        let run = ticking_shell(stubborn, soon, &Cancel::default());
        assert_eq!(run.ended, Ended::DeadlinePassed);
        assert!(is_gone(text(&run.stdout)));
        let cancel = Cancel::default();
        let own = cancel.clone();
        let runner = thread::spawn(move || ticking_shell(closed, LONG, &own).ended);
        cancel.set(Cause::ClientGone);
        assert_eq!(runner.join().unwrap(), Ended::Cancelled(Cause::ClientGone));
    }

    /// How often a thread of this process has gone to sleep so far; `None` once it has ended.
    fn sleeps(thread: &Path) -> Option<u64> {
        let status =
            std::fs::read_to_string(Path::new("/proc").join(thread).join("status")).ok()?;
        let count = |line: &str| {
            line.strip_prefix("voluntary_ctxt_switches:")?
                .trim()
                .parse()
                .ok()
        };
        status.lines().find_map(count)
    }

    #[test]
    fn nothing_wakes_up_while_the_child_is_silent() {
        let (cancel, (tell, told)) = (Cancel::default(), mpsc::channel());
        thread::scope(|scope| {
            let runner = scope.spawn(|| {
                let child = start("exec sleep 600");
                tell.send(std::fs::read_link("/proc/thread-self").unwrap())
                    .unwrap();
                followed(child, Instant::now() + LONG * 60, &cancel, PATIENT).ended
            });
            let its_thread = told.recv_timeout(LONG).unwrap();
            let end = Instant::now() + LONG;
            // One second in which the runner does not wake up, although this thread does a hundred times. On a busy
            // machine both have equal shares of it, so a tick of a tenth of a second would show.
            let is_quiet = loop {
                let before = sleeps(&its_thread);
                (0..100).for_each(|_| thread::sleep(Duration::from_millis(10)));
                let is_quiet = before.is_some() && sleeps(&its_thread) == before;
                if is_quiet || Instant::now() > end {
                    break is_quiet;
                }
            };
            cancel.set(Cause::ClientGone);
            assert_eq!(runner.join().unwrap(), Ended::Cancelled(Cause::ClientGone));
            assert!(is_quiet, "the runner keeps waking up");
        });
    }

    #[test]
    fn a_child_whose_end_cannot_be_observed_is_an_error() {
        use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
        let mut child = start("exit 0");
        let cancel = Cancel::default();
        let (end, cancellation) = (sys::watch_end(&child).ok(), cancel.watch().ok());
        let output = Output::of(&mut child, end, cancellation);
        // The kernel reaps the child itself like this if SIGCHLD is ignored.
        waitid(WaitId::Pid(Pid::from_child(&child)), WaitIdOptions::EXITED).unwrap();
        let error = follow(child, output, Instant::now() + LONG, &cancel, PATIENT).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(10));
    }

    #[test]
    fn a_program_that_cannot_be_started_is_an_error() {
        let error = run(
            Path::new("/nonexistent/iperf3"),
            &[],
            &[],
            Instant::now() + LONG,
            &Cancel::default(),
            None,
        );
        assert_eq!(error.unwrap_err().kind(), std::io::ErrorKind::NotFound);
    }
}
