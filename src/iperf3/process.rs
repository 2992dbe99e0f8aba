//! One run of a child under a deadline, with bounded capture, in the calling thread.
//!
//! Knows processes; must not know what iperf3 prints. One poll(2) waits for output, the child's end (a pidfd), a
//! cancellation (a pipe) and the next deadline: nothing wakes while iperf3 is silent. Designs not taken:
//! - A tick, which disturbs the test: it only stands in for a pidfd (before Linux 5.3, or filtered) or a pipe.
//! - Threads that read or wait: more wake-ups, and a grandchild that keeps a pipe open would hang the probe.
//! - SIGCHLD, or the pipes' end as the child's: a handler is the whole process' own; pipes end too early or too late.
//! - `Child::wait_with_output`: no deadline, no limit. Keeping the last bytes of an output: half a report is none.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::cancel::{Cancel, Cause, Watch};
use crate::sys::{self, End};
use crate::threads;

/// Most bytes that are taken from standard output and standard error together. The largest report that the
/// parameters can ask for is under 4 MiB.
const OUTPUT_LIMIT_BYTES: usize = 8 * 1024 * 1024;
/// The same where a reader takes standard output as it comes and keeps little of it: 24 hours of 128 streams both ways, with
/// an interval a minute, are 74 MB.
const READ_LIMIT_BYTES: usize = 128 * 1024 * 1024;
/// A reaper only waits.
const REAPER_STACK_BYTES: usize = 32 * 1024;
const CHUNK_BYTES: usize = 4 * 1024;

/// Variables that the child keeps: where to find libraries and where temporary files go (iperf3 makes one a
/// stream). Everything else of this process' environment is none of iperf3's business.
const KEPT_VARIABLES: &[&str] = &["PATH", "HOME", "LD_LIBRARY_PATH", "TMPDIR", "TEMP", "TMP"];

/// The times of a run's end: a value, so that tests can hand in others than [`LIMITS`].
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// What the child has between SIGTERM and SIGKILL.
    grace: Duration,
    /// How often the child's end and a cancellation are looked for where one of them has no descriptor.
    tick: Duration,
    /// How long a killed child may take to be reaped before a thread of its own waits for it.
    reap: Duration,
}

const LIMITS: Limits = Limits {
    // iperf3 tells its server within one round trip.
    grace: Duration::from_millis(500),
    // A hundred looks a second cost a small router next to nothing, and nobody notices the wait.
    tick: Duration::from_millis(10),
    // One that hangs in the kernel does not die of SIGKILL at once.
    reap: Duration::from_secs(1),
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Exited(i32),
    /// By a signal that was not sent from here.
    Killed(i32),
    DeadlinePassed,
    Cancelled(Cause),
    /// More than so many bytes.
    TooMuchOutput(usize),
    /// By its reader, which counted what it took.
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

/// Takes a piece of standard output as it comes; says why the child is to be ended, when it is.
pub(crate) type Reader<'a> = &'a mut dyn FnMut(&[u8]) -> Option<Ended>;

/// Runs `program` until it ends, `deadline` comes, or `cancel` is set; the child is always reaped. `variables` come on top
/// of its environment. Where there is a reader, standard output goes to it and is not kept.
///
/// # Errors
/// When the program cannot be started, or its end not be learnt, with the system's reason.
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

/// Starts it, with an environment that is known and pipes for its outputs.
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
        // iperf3's messages are matched by their English words.
        .env("LC_ALL", "C")
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own: a wrapper script's children are ended with it.
        .process_group(0)
        .spawn()
}

#[derive(Clone, Copy)]
struct Ending {
    why: Ended,
    is_killed: bool,
    /// When it is killed, or once it was, given up.
    next: Instant,
}

/// Follows a child to its end, and takes what it prints.
fn follow(
    mut child: Child,
    mut output: Output<'_>,
    deadline: Instant,
    cancel: &Cancel,
    limits: Limits,
) -> io::Result<Finished> {
    let mut ending: Option<Ending> = None;
    let ended = loop {
        let now = Instant::now();
        match ending {
            None => {
                if let Some(why) = reason_to_end(&output, deadline, cancel) {
                    sys::signal_group(&child, End::Politely);
                    ending = Some(Ending {
                        why,
                        is_killed: false,
                        next: now + limits.grace,
                    });
                }
            }
            Some(end) if now < end.next => {}
            Some(end) if end.is_killed => {
                // The thread lives as long as the kernel holds the child, and no longer. If it cannot be had, the
                // child stays a zombie until this process ends, which harms nobody.
                let body = move || drop(child.wait());
                let _ = threads::start("reaper", REAPER_STACK_BYTES, Box::new(body));
                break end.why;
            }
            Some(end) => {
                sys::signal_group(&child, End::AtOnce);
                ending = Some(Ending {
                    is_killed: true,
                    next: now + limits.reap,
                    ..end
                });
            }
        }
        let next_event = ending.map_or(deadline, |end| end.next);
        let pause = next_event.saturating_duration_since(now);
        output.wait(match (&output.end, &output.cancellation) {
            (Some(_), Some(_)) => pause,
            _ => pause.min(limits.tick),
        });
        // Its descriptor has not said that it ended.
        if output.end.is_some() {
            continue;
        }
        // A child that ends on SIGTERM may leave others of its group at work: as long as they hold the pipes they have
        // the rest of the grace, and then SIGKILL, for which the child must not be reaped yet.
        if ending.is_some_and(|end| !end.is_killed) && !output.is_over() && sys::has_ended(&child) {
            continue;
        }
        if let Some(status) = child.try_wait()? {
            // What lies in the pipes is the child's last words; what a grandchild may still write is not waited for.
            while output.wait(Duration::ZERO) {}
            break match (ending, status.code()) {
                (Some(end), _) => end.why,
                (None, _) if output.is_too_much => Ended::TooMuchOutput(output.limit()),
                (None, Some(code)) => Ended::Exited(code),
                (None, None) => Ended::Killed(status.signal().unwrap_or_default()),
            };
        }
    };
    Ok(Finished {
        ended,
        stdout: output.stdout.text,
        stderr: output.stderr.text,
    })
}

fn reason_to_end(output: &Output<'_>, deadline: Instant, cancel: &Cancel) -> Option<Ended> {
    if output.is_too_much {
        Some(Ended::TooMuchOutput(output.limit()))
    } else if output.reader_end.is_some() {
        output.reader_end
    } else if let Some(cause) = cancel.cause() {
        Some(Ended::Cancelled(cause))
    } else {
        (Instant::now() >= deadline).then_some(Ended::DeadlinePassed)
    }
}

/// A pipe as long as it is open, and what has come out of it and is kept.
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

    /// One piece of what there is; at its end the pipe is closed.
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

/// Both outputs, and what else is waited for.
struct Output<'a> {
    stdout: Pipe,
    stderr: Pipe,
    /// Takes standard output in the place of its pipe.
    reader: Option<Reader<'a>>,
    /// What the reader said of the child's end.
    reader_end: Option<Ended>,
    /// How many bytes came from both.
    taken: usize,
    /// Says that the child has ended; missing once it did, or where it cannot be had.
    end: Option<OwnedFd>,
    /// Says that nobody wants the result any more; missing likewise.
    cancellation: Option<Arc<Watch>>,
    is_too_much: bool,
}

impl Output<'_> {
    /// How many bytes are taken.
    fn limit(&self) -> usize {
        if self.reader.is_some() {
            READ_LIMIT_BYTES
        } else {
            OUTPUT_LIMIT_BYTES
        }
    }

    fn of(child: &mut Child, end: Option<OwnedFd>, cancellation: Option<Arc<Watch>>) -> Self {
        Self {
            stdout: Pipe::new(child.stdout.take()),
            stderr: Pipe::new(child.stderr.take()),
            reader: None,
            reader_end: None,
            taken: 0,
            end,
            cancellation,
            is_too_much: false,
        }
    }

    /// Nothing can come any more.
    fn is_over(&self) -> bool {
        self.stdout.open.is_none() && self.stderr.open.is_none()
    }

    /// Waits up to `timeout` for anything to happen, and takes what came; whether it was output, the end of a pipe
    /// included.
    fn wait(&mut self, timeout: Duration) -> bool {
        let watched = [
            self.stdout.open.as_ref().map(AsFd::as_fd),
            self.stderr.open.as_ref().map(AsFd::as_fd),
            self.end.as_ref().map(AsFd::as_fd),
            self.cancellation.as_ref().map(|watch| watch.0.as_fd()),
        ];
        let Ok([stdout, stderr, end, cancellation]) = sys::readable(watched, timeout) else {
            // poll(2) fails for want of kernel memory only; it is asked again, and the deadline still holds.
            thread::sleep(timeout.min(LIMITS.tick));
            return false;
        };
        let mut chunk = [0; CHUNK_BYTES];
        if stdout {
            let piece = self.stdout.read(&mut chunk);
            self.taken += piece.len();
            match &mut self.reader {
                Some(read) => self.reader_end = self.reader_end.or(read(piece)),
                None => self.stdout.text.extend_from_slice(piece),
            }
        }
        if stderr {
            let piece = self.stderr.read(&mut chunk);
            self.taken += piece.len();
            self.stderr.text.extend_from_slice(piece);
        }
        // Both say it for ever: whoever has been told no longer waits for it.
        if end {
            self.end = None;
        }
        if cancellation {
            self.cancellation = None;
        }
        if self.taken > self.limit() {
            // The pipes are closed, so that the child cannot go on, and its words are given back at once.
            self.is_too_much = true;
            self.stdout = Pipe::default();
            self.stderr = Pipe::default();
        }
        stdout || stderr
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Ended, Finished, LIMITS, Limits, OUTPUT_LIMIT_BYTES, Output, READ_LIMIT_BYTES, follow, run,
        spawn,
    };
    use crate::cancel::{Cancel, Cause};
    use crate::sys;
    use std::io::Read as _;
    use std::path::Path;
    use std::process::Child;
    use std::sync::mpsc;
    use std::thread;
    use std::time::{Duration, Instant};

    /// Long enough never to be what ends a test.
    const LONG: Duration = Duration::from_secs(60);
    /// A child has all the time that it needs to end by itself once it was told.
    const PATIENT: Limits = Limits {
        grace: LONG,
        tick: Duration::from_millis(1),
        reap: LONG,
    };
    /// It has none.
    const HASTY: Limits = Limits {
        grace: Duration::from_millis(1),
        ..PATIENT
    };

    fn start(script: &str) -> Child {
        let arguments = ["-c".to_owned(), script.to_owned()];
        spawn(Path::new("/bin/sh"), &arguments, &[]).unwrap()
    }

    /// Follows a child with all the descriptors that there are.
    fn followed(mut child: Child, deadline: Instant, cancel: &Cancel, limits: Limits) -> Finished {
        let (end, cancellation) = (sys::watch_end(&child).ok(), cancel.watch().ok());
        let output = Output::of(&mut child, end, cancellation);
        follow(child, output, deadline, cancel, limits).unwrap()
    }

    /// The same where neither the child's end nor a cancellation has a descriptor.
    fn ticking_shell(script: &str, limit: Duration, cancel: &Cancel) -> Finished {
        let mut child = start(script);
        let output = Output::of(&mut child, None, None);
        follow(child, output, Instant::now() + limit, cancel, LIMITS).unwrap()
    }

    /// A script's run, to which nothing happens.
    fn shell(script: &str) -> Finished {
        let deadline = Instant::now() + LONG;
        followed(start(script), deadline, &Cancel::default(), PATIENT)
    }

    /// A script that comes to its deadline once it has printed a line; its run, and that line.
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
        assert!(is_gone(&own.to_string()), "the child was left");
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
            assert!(Instant::now() < end, "{pid} is left");
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
    fn a_signal_not_ours_is_told_apart() {
        assert_eq!(shell("kill -9 $$").ended, Ended::Killed(9));
    }

    #[test]
    fn the_deadline_ends_a_child_politely() {
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
    fn a_wrappers_own_child_is_ended_too() {
        let (_, pid) = shell_past_its_deadline("sleep 600 & echo $!; wait", PATIENT);
        // Told at the same moment as the wrapper.
        wait_for_the_end_of(&pid);
    }

    #[test]
    fn a_wrappers_own_child_that_ignores_sigterm_is_killed_too() {
        let script = "sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.01; done'; :";
        let (_, pid) = shell_past_its_deadline(script, HASTY);
        // Killed before the wrapper is reaped.
        wait_for_the_end_of(&pid);
    }

    #[test]
    fn nothing_waits_for_a_grandchild_that_keeps_the_pipes() {
        // setsid: out of the group, so that nobody tells it to end.
        let run = shell("setsid sleep 600 & echo $!; exit 4");
        assert_eq!(run.ended, Ended::Exited(4));
        let pid = String::from_utf8(run.stdout).unwrap();
        assert!(
            !is_gone(pid.trim()),
            "the grandchild was to outlive the run"
        );
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
    fn a_reader_has_what_is_printed_before_the_end_and_may_end_the_child() {
        let script = "trap 'echo told; exit 0' TERM; echo one; while :; do sleep 0.01; done";
        let arguments = ["-c".to_owned(), script.to_owned()];
        let mut heard = Vec::new();
        let mut read = |piece: &[u8]| {
            heard.extend_from_slice(piece);
            heard.ends_with(b"one\n").then_some(Ended::Exited(77))
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
        // It was told politely, and its last words were taken.
        assert_eq!(text(&heard), "one\ntold");
    }

    #[test]
    fn too_much_is_too_much_for_a_reader_too() {
        let mut heard = 0;
        let mut read = |piece: &[u8]| {
            heard += piece.len();
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
        assert!(heard <= READ_LIMIT_BYTES + 4096, "{heard}");
    }

    #[test]
    fn a_cancelled_run_is_ended_politely() {
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
        // While it waits, a cancellation wakes it.
        let cancel = Cancel::default();
        thread::scope(|scope| {
            let runner = scope.spawn(|| {
                let child = start("exec sleep 600");
                followed(child, Instant::now() + LONG, &cancel, PATIENT).ended
            });
            cancel.set(Cause::ClientGone);
            assert_eq!(runner.join().unwrap(), Ended::Cancelled(Cause::ClientGone));
        });
        // What iperf3 really has: the contract's half second.
        assert_eq!(LIMITS.grace, Duration::from_millis(500));
    }

    #[test]
    fn without_descriptors_for_them_end_cancellation_and_deadline_are_seen_all_the_same() {
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

    /// How often a thread of this process went to sleep so far; none once it has ended.
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
    fn nothing_wakes_while_the_child_is_silent() {
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
            // A second in which the runner does not wake once, though this thread does a hundred times: however busy the
            // machine is, they have equal shares of it, and a tick of a tenth of a second would be seen.
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
            assert!(is_quiet, "the runner wakes all the time");
        });
    }

    #[test]
    fn a_child_whose_end_cannot_be_learnt_is_not_waited_for() {
        use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
        let mut child = start("exit 0");
        let cancel = Cancel::default();
        let (end, cancellation) = (sys::watch_end(&child).ok(), cancel.watch().ok());
        let output = Output::of(&mut child, end, cancellation);
        // As the kernel reaps it itself where SIGCHLD is ignored.
        waitid(WaitId::Pid(Pid::from_child(&child)), WaitIdOptions::EXITED).unwrap();
        let error = follow(child, output, Instant::now() + LONG, &cancel, PATIENT).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(10));
    }

    #[test]
    fn a_program_that_cannot_be_started_says_why() {
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
