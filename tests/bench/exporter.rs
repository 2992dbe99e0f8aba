//! The measured programs: the exporter, a stub instead of iperf3, a real iperf3 server; and their numbers in `/proc`.
//!
//! Every wait has a limit, and every started program ends when its value is dropped.

use std::env;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::tls::Tls;

/// The limit of every wait for a program to be ready.
const PATIENCE: Duration = Duration::from_secs(20);
/// The pause between two looks at a file.
const PAUSE: Duration = Duration::from_millis(5);

/// A temporary folder, deleted when the value is dropped.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Result<Self, String> {
        let path = env::temp_dir().join(format!("iperf3-exporter-bench-{}", std::process::id()));
        fs::create_dir_all(&path)
            .map_err(|error| format!("cannot create `{}`: {error}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A path in it that does not exist yet.
    fn unused(&self, name: &str) -> PathBuf {
        let mut path = self.0.join(name);
        let mut number = 1_u32;
        while path.exists() {
            number += 1;
            path = self.0.join(format!("{name}-{number}"));
        }
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The stub's name in its folder, and that of the report beside it.
const STUB_NAME: &str = "iperf3";
const REPORT_NAME: &str = "report.json";

/// An iperf3 that prints a recorded report and exits: this program under another name. It takes one exec, as iperf3
/// does; a shell script would take two.
pub(crate) fn make_stub(folder: &TempDir) -> Result<PathBuf, String> {
    let report = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/3.12/tcp.json");
    let stub = folder.path().join(STUB_NAME);
    let made = env::current_exe()
        .and_then(|own| symlink(own, &stub))
        .and_then(|()| fs::copy(&report, folder.path().join(REPORT_NAME)));
    made.map_err(|error| format!("cannot make a stub of `{}`: {error}", report.display()))?;
    Ok(stub)
}

/// Acts as the stub if this program was started as one; whether it did.
pub(crate) fn acted_as_stub() -> bool {
    let mut words = env::args_os();
    let name = PathBuf::from(words.next().unwrap_or_default());
    if name.file_name().is_none_or(|name| name != STUB_NAME) {
        return false;
    }
    let text = if words.next().is_some_and(|word| word == "--version") {
        b"iperf 3.12 (stub)\n".to_vec()
    } else {
        fs::read(name.with_file_name(REPORT_NAME)).unwrap_or_default()
    };
    let _ = io::stdout().write_all(&text);
    true
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16, String> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| Ok(listener.local_addr()?.port()))
        .map_err(|error| format!("cannot listen on loopback: {error}"))
}

/// Calls `attempt` until it returns something, up to the time limit for a start.
fn wait_for<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> Result<T, String> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = attempt() {
            return Ok(found);
        }
        if Instant::now() >= end {
            return Err(format!("timed out waiting for {what}"));
        }
        thread::sleep(PAUSE);
    }
}

/// A running exporter.
pub(crate) struct Exporter {
    child: Child,
    port: u16,
    /// The TLS settings of its clients; `None` means plain HTTP.
    tls: Option<Tls>,
}

impl Exporter {
    /// Starts it without a web configuration.
    pub(crate) fn start(binary: &Path, iperf3: &Path, folder: &TempDir) -> Result<Self, String> {
        Self::start_with(binary, iperf3, folder, None)
    }

    /// Starts it on a port that the kernel chooses, and reads the port from its log.
    ///
    /// The log goes to a file. A thread here that reads a pipe would wake up for each probe, on one of the measured
    /// processors.
    pub(crate) fn start_with(
        binary: &Path,
        iperf3: &Path,
        folder: &TempDir,
        tls: Option<&Tls>,
    ) -> Result<Self, String> {
        let log = folder.unused("log");
        let stderr = File::create(&log)
            .map_err(|error| format!("cannot create `{}`: {error}", log.display()))?;
        let child = spawn(binary, 0, iperf3, tls, stderr.into())?;
        let mut exporter = Self {
            child,
            port: 0,
            tls: tls.cloned(),
        };
        exporter.port = wait_for("the exporter's line `listening`", || {
            fs::read_to_string(&log)
                .ok()?
                .lines()
                .find_map(listening_port)
        })?;
        // At its start it asks iperf3 for the version, which must not affect any figure.
        wait_for("the exporter's line about iperf3", || {
            let log = fs::read_to_string(&log).ok()?;
            log.contains("msg=\"iperf3 found\"").then_some(())
        })?;
        Ok(exporter)
    }

    /// Starts it on `port` and polls until it responds; the time this took.
    pub(crate) fn time_start(binary: &Path, iperf3: &Path, port: u16) -> Result<Duration, String> {
        let begin = Instant::now();
        let child = spawn(binary, port, iperf3, None, Stdio::null())?;
        let exporter = Self {
            child,
            port,
            tls: None,
        };
        loop {
            let mut client = match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
                Ok(stream) => Client::plain(stream)?,
                Err(_) if begin.elapsed() < PATIENCE => continue,
                Err(error) => return Err(format!("the exporter does not listen: {error}")),
            };
            client.get("/health")?;
            let took = begin.elapsed();
            drop(exporter);
            return Ok(took);
        }
    }

    /// Starts a prepared command whose socket on `port` already exists, and waits until it responds.
    pub(crate) fn start_command(mut command: Command, port: u16) -> Result<Self, String> {
        let child = command
            .spawn()
            .map_err(|error| format!("cannot start an exporter: {error}"))?;
        let exporter = Self {
            child,
            port,
            tls: None,
        };
        exporter.client()?.get("/health")?;
        Ok(exporter)
    }

    pub(crate) fn client(&self) -> Result<Client, String> {
        Client::connect(self.port, self.tls.as_ref())
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its own processor time so far, without its children's.
    pub(crate) fn cpu_time(&self) -> Result<Duration, String> {
        /// `utime` and `stime` of proc(5), counted from the third field, which follows the command's name.
        const UTIME: usize = 14 - 3;
        let stat = self.proc("stat")?;
        let ticks: Option<u64> = stat.rsplit_once(") ").and_then(|(_, fields)| {
            let mut times = fields.split(' ').skip(UTIME).map(str::parse::<u64>);
            Some(times.next()?.ok()? + times.next()?.ok()?)
        });
        let ticks = ticks.ok_or("cannot read the exporter's times")?;
        let per_second = rustix::param::clock_ticks_per_second();
        Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
    }

    /// The processor time of its current threads, in nanoseconds; ended threads are not included.
    pub(crate) fn time_of_threads(&self) -> Result<Duration, String> {
        let folder = format!("/proc/{}/task", self.child.id());
        let of = |error: io::Error| format!("cannot read `{folder}`: {error}");
        let mut sum = 0;
        for thread in fs::read_dir(&folder).map_err(of)? {
            // A thread may end in the meantime.
            let path = thread.map_err(of)?.path().join("schedstat");
            let text = fs::read_to_string(path).unwrap_or_default();
            let nanoseconds = text.split(' ').next().and_then(|text| text.parse().ok());
            sum += nanoseconds.unwrap_or(0);
        }
        Ok(Duration::from_nanos(sum))
    }

    /// A size in `/proc/PID/status`, such as `VmRSS`, in MiB.
    pub(crate) fn memory_mib(&self, name: &str) -> Result<f64, String> {
        let status = self.proc("status")?;
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        Ok(kib.ok_or_else(|| format!("no {name} of the exporter"))? / 1024.0)
    }

    fn proc(&self, file: &str) -> Result<String, String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(&path).map_err(|error| format!("cannot read `{path}`: {error}"))
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn spawn(
    binary: &Path,
    port: u16,
    iperf3: &Path,
    tls: Option<&Tls>,
    stderr: Stdio,
) -> Result<Child, String> {
    Command::new(binary)
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg(format!("--iperf3.path={}", iperf3.display()))
        .args(tls.map(Tls::flag))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .map_err(|error| format!("cannot start `{}`: {error}", binary.display()))
}

fn listening_port(line: &str) -> Option<u16> {
    let (_, address) = line.split_once("msg=\"listening\" address=")?;
    address.rsplit_once(':')?.1.trim().parse().ok()
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// A real `iperf3 -s`.
pub(crate) struct Iperf3Server {
    child: Child,
    pub(crate) port: u16,
}

impl Iperf3Server {
    /// iperf3's default port.
    pub(crate) const USUAL_PORT: u16 = 5201;

    pub(crate) fn start() -> Result<Self, String> {
        Self::of(Path::new("iperf3"))
    }

    /// With another iperf3 than the one on PATH.
    pub(crate) fn of(iperf3: &Path) -> Result<Self, String> {
        /// Another process may take the port between its choice and its use.
        const ATTEMPTS: u32 = 10;
        for _ in 0..ATTEMPTS {
            let port = free_port()?;
            let mut child = Command::new(iperf3)
                .args(["-s", "--forceflush", "-p", &port.to_string()])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .map_err(|error| {
                    let name = iperf3.display();
                    format!("cannot start `{name}` (make test installs it): {error}")
                })?;
            let mut lines = BufReader::new(child.stdout.take().ok_or("iperf3 has no output")?);
            let server = Self { child, port };
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|length| length > 0) {
                if line.contains("Server listening") {
                    // Keep reading, so that its pipe never fills.
                    thread::spawn(move || io::copy(&mut lines, &mut io::sink()));
                    return Ok(server);
                }
            }
        }
        Err("iperf3 -s did not listen".to_owned())
    }
}

impl Drop for Iperf3Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}
