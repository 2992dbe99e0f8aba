//! The programs that are measured: the exporter, a stub in iperf3's place, a real iperf3 server; what `/proc`
//! says of them; and a plain HTTP client.
//!
//! Every wait has a limit, and whatever is started is ended with its value.

use std::env;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The limit of every wait for a program to be ready.
const PATIENCE: Duration = Duration::from_secs(20);
/// The limit of a wait for an answer: longer than the longest test here.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// How often a file is looked at again while something is waited for.
const PAUSE: Duration = Duration::from_millis(5);

/// A folder that goes with the value.
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
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The stub's name in its folder, and that of the report beside it.
const STUB_NAME: &str = "iperf3";
const REPORT_NAME: &str = "report.json";

/// An iperf3 that prints a recorded report and ends: this very program under another name. One exec, as with
/// iperf3 itself; a shell script would be two.
pub(crate) fn make_stub(folder: &TempDir) -> Result<PathBuf, String> {
    let report = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/3.12/tcp.json");
    let stub = folder.path().join(STUB_NAME);
    let made = env::current_exe()
        .and_then(|own| symlink(own, &stub))
        .and_then(|()| fs::copy(&report, folder.path().join(REPORT_NAME)));
    made.map_err(|error| format!("cannot make a stub of `{}`: {error}", report.display()))?;
    Ok(stub)
}

/// Acts as the stub when this program was started as one; whether it was.
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

/// Calls `attempt` until it has something, for as long as a start may take.
fn wait_for<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> Result<T, String> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = attempt() {
            return Ok(found);
        }
        if Instant::now() >= end {
            return Err(format!("waited in vain for {what}"));
        }
        thread::sleep(PAUSE);
    }
}

/// A running exporter.
pub(crate) struct Exporter {
    child: Child,
    port: u16,
}

impl Exporter {
    /// Starts it on a port of the kernel's choice and reads that out of its log.
    ///
    /// The log goes to a file: a thread here that reads a pipe would be woken by each probe, on one of the
    /// processors that are measured.
    pub(crate) fn start(binary: &Path, iperf3: &Path, folder: &TempDir) -> Result<Self, String> {
        let log = folder.path().join("log");
        let stderr = File::create(&log)
            .map_err(|error| format!("cannot create `{}`: {error}", log.display()))?;
        let child = spawn(binary, 0, iperf3, stderr.into())?;
        let mut exporter = Self { child, port: 0 };
        exporter.port = wait_for("the exporter's line `listening`", || {
            fs::read_to_string(&log)
                .ok()?
                .lines()
                .find_map(listening_port)
        })?;
        // It asks iperf3 for its version then, which is no part of any figure.
        wait_for("the exporter's line about iperf3", || {
            let log = fs::read_to_string(&log).ok()?;
            log.contains("msg=\"iperf3 found\"").then_some(())
        })?;
        Ok(exporter)
    }

    /// Starts it on `port` and polls until it answers; how long that took.
    pub(crate) fn time_start(binary: &Path, iperf3: &Path, port: u16) -> Result<Duration, String> {
        let begin = Instant::now();
        let child = spawn(binary, port, iperf3, Stdio::null())?;
        let exporter = Self { child, port };
        loop {
            let mut client = match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
                Ok(stream) => Client::over(stream)?,
                Err(_) if begin.elapsed() < PATIENCE => continue,
                Err(error) => return Err(format!("the exporter does not listen: {error}")),
            };
            client.get("/health")?;
            let took = begin.elapsed();
            drop(exporter);
            return Ok(took);
        }
    }

    pub(crate) fn client(&self) -> Result<Client, String> {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))
            .map_err(|error| format!("cannot connect to the exporter: {error}"))
            .and_then(Client::over)
    }

    /// Its own processor time so far, without its children's.
    pub(crate) fn cpu_time(&self) -> Result<Duration, String> {
        /// `utime` and `stime` of proc(5), counted from the field behind the command's name, its third.
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

fn spawn(binary: &Path, port: u16, iperf3: &Path, stderr: Stdio) -> Result<Child, String> {
    Command::new(binary)
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg(format!("--iperf3.path={}", iperf3.display()))
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
    pub(crate) fn start() -> Result<Self, String> {
        /// A port may be taken between its choice and its use.
        const ATTEMPTS: u32 = 10;
        for _ in 0..ATTEMPTS {
            let port = free_port()?;
            let mut child = Command::new("iperf3")
                .args(["-s", "--forceflush", "-p", &port.to_string()])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .map_err(|error| {
                    format!("cannot start `iperf3` (make test installs it): {error}")
                })?;
            let mut lines = BufReader::new(child.stdout.take().ok_or("iperf3 has no output")?);
            let server = Self { child, port };
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|length| length > 0) {
                if line.contains("Server listening") {
                    // Read on, so that its pipe never fills.
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

/// An HTTP connection that is kept alive.
pub(crate) struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Client {
    pub(crate) fn over(stream: TcpStream) -> Result<Self, String> {
        let prepared = stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(ANSWER_LIMIT)));
        prepared.map_err(|error| format!("cannot set up a connection: {error}"))?;
        Ok(Self {
            stream,
            request: Vec::new(),
            answer: Vec::new(),
        })
    }

    /// GET; the body of the answer, which must be a `200`.
    pub(crate) fn get(&mut self, path: &str) -> Result<&str, String> {
        self.send(path)?;
        self.receive()
    }

    /// Asks, and does not wait for the answer.
    pub(crate) fn send(&mut self, path: &str) -> Result<(), String> {
        self.request.clear();
        let _ = write!(
            self.request,
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        );
        self.stream
            .write_all(&self.request)
            .map_err(|error| format!("cannot ask for {path}: {error}"))
    }

    /// Waits for the answer to what was sent.
    pub(crate) fn receive(&mut self) -> Result<&str, String> {
        let body = self
            .read_answer()
            .map_err(|error| format!("no answer: {error}"))?;
        let answer = std::str::from_utf8(&self.answer).map_err(|error| error.to_string())?;
        if !answer.starts_with("HTTP/1.1 200 ") {
            return Err(format!("no 200 but\n{answer}"));
        }
        Ok(answer.get(body..).unwrap_or_default())
    }

    /// Reads one answer; where its body begins.
    fn read_answer(&mut self) -> io::Result<usize> {
        /// More than any page here, so that an answer usually comes with one call.
        const CHUNK_BYTES: usize = 32 * 1024;
        let mut filled = 0;
        loop {
            self.answer.resize(filled + CHUNK_BYTES, 0);
            let free = self.answer.get_mut(filled..).unwrap_or_default();
            let length = self.stream.read(free)?;
            filled += length;
            self.answer.truncate(filled);
            if let Some((body, body_bytes)) = parse_head(&self.answer)
                && filled >= body + body_bytes
            {
                return Ok(body);
            }
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Where the body begins and how long it is, once the head is complete.
fn parse_head(answer: &[u8]) -> Option<(usize, usize)> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(answer.get(..end)?).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse().ok())?
    });
    Some((end + 4, length?))
}
