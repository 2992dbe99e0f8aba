//! Shared by all tests: the exporter, an iperf3 server, a fake iperf3, an HTTP client, goldens.
//!
//! Everything waits for a condition, never for a fixed time. Every wait has a limit, so that a broken exporter fails a
//! test instead of hanging it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The limit of every wait: far longer than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Blocks until `condition` holds. Panics with `what` when it does not hold within [`PATIENCE`].
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "timed out waiting for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until no other test needs the machine for itself, and reserves it until the value is dropped.
///
/// For tests that load the processors or measure a rate. The lock is a file lock (flock(2)), since tests may run as
/// threads of one process or as one process each. Tests that only wait take no lock and run beside it.
#[must_use]
pub fn machine_alone() -> fs::File {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("machine.lock");
    let file = fs::File::create(path).unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    file
}

/// A temporary folder, deleted when the value is dropped.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("iperf3-exporter-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file in it and returns its path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Writes a script that can be executed at once.
///
/// Another process writes it. A child that another test starts at the same moment inherits the files that are open for
/// writing here until its exec, and a script that is open for writing cannot be executed (ETXTBSY).
pub fn write_program(path: &Path, text: &str) {
    let script = "cat >\"$0\" && chmod 755 \"$0\"";
    let (is_written, said) = run("sh", &["-c", script, path.to_str().unwrap()], text);
    assert!(is_written, "{said}");
}

/// Shell code that writes the shell's own process ID to `$DIR/pid`. The file appears only when it is complete.
pub const TELL_PID: &str = "echo $$ >\"$DIR/draft-pid\"; mv \"$DIR/draft-pid\" \"$DIR/pid\"\n";

/// A scripted iperf3. The script must `exec` its sleeping program: a grandchild would keep the pipes open.
pub struct Fake {
    dir: TempDir,
}

impl Fake {
    /// `script` is POSIX shell. `iperf3 --version` and `--help` are answered before it runs; `--help` prints nothing.
    /// `$DIR` is the fake's own folder.
    pub fn new(script: &str) -> Self {
        Self::with_help(script, ":")
    }

    /// Like [`Self::new`], with shell code that answers `--help`.
    pub fn with_help(script: &str, help: &str) -> Self {
        let dir = TempDir::new();
        let text = format!(
            "#!/bin/sh\nDIR='{}'\nif [ \"$1\" = --version ]; then echo 'iperf 3.99 (fake)'; exit 0; fi\n\
             if [ \"$1\" = --help ]; then {help}; exit 0; fi\n{script}\n",
            dir.path().display()
        );
        write_program(&dir.path().join("iperf3"), &text);
        Self { dir }
    }

    /// A fake that prints the files of a recorded run and ends with its status.
    pub fn replay(stdout: &Path, stderr: &Path, ending: &str) -> Self {
        Self::new(&format!(
            "cat '{}'\ncat '{}' >&2\n{ending}",
            stdout.display(),
            stderr.display()
        ))
    }

    /// A fake whose test lasts until it is killed; it writes its process ID.
    pub fn endless() -> Self {
        Self::new(&format!("{TELL_PID}exec sleep 600"))
    }

    /// Like [`Self::endless`], but it ignores SIGTERM.
    pub fn stubborn() -> Self {
        Self::new(&format!("trap '' TERM\n{TELL_PID}exec sleep 600"))
    }

    /// A fake that writes its process ID and succeeds once the file `go` is in its folder. It also ends when the folder
    /// is gone, in case the test fails.
    pub fn until_go() -> Self {
        Self::new(&format!(
            "{TELL_PID}while [ -d \"$DIR\" ] && [ ! -e \"$DIR/go\" ]; do sleep 0.02; done\nexec cat '{}'",
            good_report().display()
        ))
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Lets the fakes that wait for `go` continue.
    pub fn go(&self) {
        self.dir.write("go", "");
    }

    /// Whether a fake has written its process ID.
    pub fn runs(&self) -> bool {
        self.dir().join("pid").exists()
    }

    /// The process ID that was written last; waits for the first one.
    pub fn pid(&self) -> u32 {
        wait_for("the fake to run", || self.runs());
        let text = fs::read_to_string(self.dir().join("pid")).unwrap();
        text.trim().parse().unwrap()
    }

    /// The flag that makes the exporter use it.
    pub fn flag(&self) -> String {
        format!("--iperf3.path={}", self.dir.path().join("iperf3").display())
    }
}

/// The exporter, running on a free port of 127.0.0.1 until it is dropped.
pub struct Exporter {
    child: Child,
    port: u16,
    /// The log, in a file: a line that was written before a response is in it when the response arrives.
    log: TempDir,
}

impl Exporter {
    /// Starts the real binary with `flags` and waits until it listens.
    pub fn start<S: AsRef<str>>(flags: &[S]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_iperf3-exporter"));
        command.arg("--web.listen-address=127.0.0.1:0");
        command.args(flags.iter().map(AsRef::as_ref));
        Self::spawn(command)
    }

    /// Starts a prepared command that logs as logfmt and listens on exactly one address.
    pub fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null());
        Self::spawn_as_it_is(command)
    }

    /// Like [`Self::spawn`], but keeps the command's standard input.
    pub fn spawn_as_it_is(mut command: Command) -> Self {
        let log = TempDir::new();
        let file = fs::File::create(log.path().join("log")).unwrap();
        let mut child = command.stdout(Stdio::null()).stderr(file).spawn().unwrap();
        let mut port = None;
        wait_for("the exporter to listen", || {
            let text = whole_lines(&log);
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the exporter ended with {status}:\n{text}");
            }
            port = text.lines().find_map(listening_port);
            port.is_some()
        });
        Self {
            child,
            port: port.unwrap(),
            log,
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The log so far.
    pub fn log(&self) -> String {
        whole_lines(&self.log)
    }

    /// Waits for a log line that contains `piece`; that line.
    pub fn log_line(&self, piece: &str) -> String {
        let mut found = None;
        wait_for(&format!("a log line with {piece:?}"), || {
            found = self
                .log()
                .lines()
                .find(|line| line.contains(piece))
                .map(str::to_owned);
            found.is_some()
        });
        found.unwrap()
    }

    /// GET on a new connection.
    pub fn get(&self, path: &str) -> Reply {
        self.request("GET", path, &[])
    }

    /// GET of a probe with Prometheus' scrape timeout header.
    pub fn scrape(&self, path: &str, timeout_seconds: &str) -> Reply {
        self.request(
            "GET",
            path,
            &[("X-Prometheus-Scrape-Timeout-Seconds", timeout_seconds)],
        )
    }

    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        request(self.port, method, path, headers)
    }

    /// The CSRF token that the forms of the exporter's pages send.
    pub fn csrf_token(&self) -> String {
        let page = self.get("/").body;
        let (_, rest) = page.split_once("name=\"token\" value=\"").unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    }

    /// Starts a test as the form of the page does.
    pub fn run(&self, query: &str) -> Reply {
        self.get(&format!("/run?token={}&{query}", self.csrf_token()))
    }

    /// The value of a sample of `/metrics`; `sample` is its name with labels, as in the text.
    pub fn metric(&self, sample: &str) -> f64 {
        self.get("/metrics")
            .sample(sample)
            .unwrap_or_else(|| panic!("no sample {sample}"))
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args(["-s", name, &self.pid().to_string()])
            .status();
        assert!(status.unwrap().success());
    }

    /// Waits until it exits.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_for("the exporter to end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // SIGTERM first: an exporter that is killed outright leaves its iperf3 behind.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal("TERM");
        }
        let end = Instant::now() + Duration::from_secs(10);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the exporter's log:\n{}", self.log());
        }
    }
}

/// The complete lines of a log.
fn whole_lines(log: &TempDir) -> String {
    let bytes = fs::read(log.path().join("log")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let end = text.rfind('\n').map_or(0, |end| end + 1);
    text[..end].to_owned()
}

fn listening_port(line: &str) -> Option<u16> {
    let address = line.split_once("msg=\"listening\" address=")?.1;
    address.rsplit_once(':')?.1.trim().parse().ok()
}

/// A response as it arrived.
#[derive(Clone, Debug)]
pub struct Reply {
    pub code: u16,
    /// Status line and header lines.
    pub head: String,
    pub body: String,
}

impl Reply {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The value of a sample; the name includes its labels, as in the text.
    pub fn sample(&self, name: &str) -> Option<f64> {
        let mut lines = self.body.lines().filter(|line| !line.starts_with('#'));
        lines.find_map(|line| {
            let (sample, value) = line.rsplit_once(' ')?;
            (sample == name).then(|| value.parse().unwrap())
        })
    }

    /// The value of the only sample of a family, whatever its labels.
    pub fn family(&self, name: &str) -> Option<f64> {
        let mut lines = self.body.lines().filter(|line| !line.starts_with('#'));
        lines.find_map(|line| {
            let (sample, value) = line.rsplit_once(' ')?;
            let own_name = sample.split('{').next()?;
            (own_name == name).then(|| value.parse().unwrap())
        })
    }

    /// The label `reason` of `iperf3_failure_info`.
    pub fn reason(&self) -> Option<&str> {
        let line = self
            .body
            .lines()
            .find(|line| line.starts_with("iperf3_failure_info{"))?;
        line.split_once("reason=\"")?.1.split('"').next()
    }
}

/// One request on a new connection, with `Connection: close`.
pub fn request(port: u16, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    raw_request(port, text.as_bytes()).unwrap_or_else(|| panic!("no answer to {method} {path}"))
}

/// Sends bytes and reads until the connection ends; `None` when no response came.
pub fn raw_request(port: u16, bytes: &[u8]) -> Option<Reply> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    // Longer than the longest probe of a test.
    stream
        .set_read_timeout(Some(Duration::from_secs(120)))
        .unwrap();
    stream.write_all(bytes).ok()?;
    let mut answer = Vec::new();
    // A reset after the response does not invalidate it.
    let _ = stream.read_to_end(&mut answer);
    parse_reply(&answer)
}

/// Splits a response into head and body.
pub fn parse_reply(answer: &[u8]) -> Option<Reply> {
    let text = String::from_utf8_lossy(answer).into_owned();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let code = head.split(' ').nth(1)?.parse().ok()?;
    Some(Reply {
        code,
        head: head.to_owned(),
        body: body.to_owned(),
    })
}

/// A free port of 127.0.0.1 that no other process gets by chance: the system assigns ports from its own range only, and
/// each test takes another one below that range.
pub fn free_port() -> u16 {
    /// Above the ports of the services that a machine may have.
    const FIRST: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let end: u32 = range.split_whitespace().next().unwrap().parse().unwrap();
    // Tests may run as threads of one process or as a process each.
    let own_first = std::process::id().wrapping_mul(101);
    loop {
        let number = own_first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        // When the system's range covers all ports, the system assigns one.
        let port = number
            .checked_rem(end.saturating_sub(FIRST))
            .map_or(0, |offset| u16::try_from(FIRST + offset).unwrap());
        if let Ok(free) = ClosedPort::at(port) {
            return free.port;
        }
    }
}

/// The ports on which a process listens.
pub fn listening_ports(pid: u32) -> Vec<u16> {
    let (_, table) = run("ss", &["-Hltnp"], "");
    let pid = format!("pid={pid},");
    table
        .lines()
        .filter(|line| line.contains(&pid))
        .filter_map(|line| {
            line.split_whitespace()
                .nth(3)?
                .rsplit(':')
                .next()?
                .parse()
                .ok()
        })
        .collect()
}

/// A port of 127.0.0.1 that refuses connections while the value lives: it is bound, but does not listen.
pub struct ClosedPort {
    pub port: u16,
    _socket: std::os::fd::OwnedFd,
}

impl ClosedPort {
    pub fn new() -> Self {
        Self::at(0).unwrap()
    }

    /// This port, if it is free.
    fn at(port: u16) -> rustix::io::Result<Self> {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with};
        let socket = socket_with(
            AddressFamily::INET,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        bind(&socket, &SocketAddr::from(([127, 0, 0, 1], port)))?;
        let address = SocketAddr::try_from(getsockname(&socket)?).unwrap();
        Ok(Self {
            port: address.port(),
            _socket: socket,
        })
    }
}

/// A real `iperf3 -s` on a free port until it is dropped.
pub struct Server {
    child: Child,
    pub port: u16,
    intervals: Arc<AtomicU32>,
}

impl Server {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With further options of iperf3.
    pub fn with(options: &[&str]) -> Self {
        Self::of(Path::new("iperf3"), options)
    }

    /// With another iperf3 than the one on PATH.
    pub fn of(iperf3: &Path, options: &[&str]) -> Self {
        // Another process may take the port between its choice and its use. Then iperf3 exits, and another port is
        // tried.
        for _ in 0..20 {
            let port = free_port();
            let mut child = Command::new(iperf3)
                .args(["-s", "--forceflush", "-p", &port.to_string()])
                .args(options)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("iperf3 is needed: make test installs it");
            let mut lines = BufReader::new(child.stdout.take().unwrap());
            let mut line = String::new();
            let mut listens = false;
            while lines.read_line(&mut line).unwrap_or(0) > 0 && !listens {
                listens = line.contains("Server listening");
            }
            if listens {
                // Keep reading, so that its pipe never fills.
                let intervals = Arc::<AtomicU32>::default();
                let told = Arc::clone(&intervals);
                thread::spawn(move || {
                    let lines = lines.lines().map_while(Result::ok);
                    for _ in lines.filter(|line| line.contains("its/sec")) {
                        told.fetch_add(1, Ordering::Relaxed);
                    }
                });
                return Self {
                    child,
                    port,
                    intervals,
                };
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("iperf3 -s did not start");
    }

    /// `127.0.0.1:PORT`.
    pub fn target(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The number of interval lines it has printed: one for each second and stream, and one sum for each test.
    pub fn intervals(&self) -> u32 {
        self.intervals.load(Ordering::Relaxed)
    }

    /// Serves another client until the value is dropped.
    pub fn held(&self) -> Holder {
        let idle = sockets(self.pid());
        let port = self.port.to_string();
        let words = ["-c", "127.0.0.1", "-p", &port, "-t", "3600", "-b", "1M"];
        let mut client = Command::new("iperf3");
        client.args(words);
        // The control connection and the stream.
        Holder::start(client, || sockets(self.pid()) >= idle + 2)
    }
}

/// A client that holds a server until it is dropped.
pub struct Holder(Child);

impl Holder {
    /// Starts the client and waits until it holds the server.
    pub fn start(mut client: Command, holds: impl FnMut() -> bool) -> Self {
        client.stdin(Stdio::null()).stdout(Stdio::null());
        let holder = Self(client.spawn().unwrap());
        wait_for("the other client's test", holds);
        holder
    }

    /// Whether its test still runs.
    pub fn is_at_it(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How many sockets a process has.
pub fn sockets(pid: u32) -> usize {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return 0;
    };
    files
        .flatten()
        .filter_map(|file| fs::read_link(file.path()).ok())
        .filter(|link| link.to_string_lossy().starts_with("socket:"))
        .count()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Compares `text` as a whole with a golden file; `UPDATE_GOLDEN=1` overwrites the file instead.
pub fn assert_golden(path: &Path, text: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        return;
    }
    let expected = fs::read_to_string(path).unwrap_or_else(|error| {
        panic!(
            "cannot read golden {}: {error}; UPDATE_GOLDEN=1 writes it",
            path.display()
        )
    });
    assert!(
        expected == text,
        "{} differs; UPDATE_GOLDEN=1 updates it\n--- expected\n{expected}\n--- got\n{text}",
        path.display()
    );
}

/// The repository's top folder.
pub fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What users read: the README and each page of `contrib/docs`, with its path from the top.
pub fn documentation() -> Vec<(String, String)> {
    let mut paths = vec!["README.md".to_owned()];
    for entry in fs::read_dir(top().join("contrib/docs")).unwrap().flatten() {
        paths.push(format!("contrib/docs/{}", entry.file_name().display()));
    }
    paths.sort();
    assert!(paths.len() > 10, "{paths:?}");
    let texts = paths
        .iter()
        .map(|path| fs::read_to_string(top().join(path)).unwrap());
    let texts: Vec<String> = texts.collect();
    paths.into_iter().zip(texts).collect()
}

/// A page of `contrib/docs`, by its name without the ending.
pub fn page(name: &str) -> String {
    fs::read_to_string(top().join(format!("contrib/docs/{name}.md"))).unwrap()
}

/// The text between the marks `<!-- NAME -->` and `<!-- /NAME -->` of a page.
pub fn generated_block(page: &str, name: &str) -> String {
    let (_, rest) = page.split_once(&format!("<!-- {name} -->\n")).unwrap();
    let (block, _) = rest.split_once(&format!("<!-- /{name} -->")).unwrap();
    block.to_owned()
}

/// A parameter of the probe path, read from its documentation page. That table is generated from the code's table.
pub struct Parameter {
    /// Its name and its aliases.
    pub names: Vec<String>,
    /// iperf3's options for it; empty for the exporter's own parameters.
    pub options: Vec<String>,
    /// Whether its value follows the option on iperf3's command line.
    pub takes_value: bool,
}

/// All parameters, in the order of the documentation.
pub fn parameters() -> Vec<Parameter> {
    let table = generated_block(&page("parameters"), "parameters");
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let words = |cell: &str| -> Vec<String> {
        let words = cell.split('`').skip(1).step_by(2);
        words
            .flat_map(|word| word.split(", "))
            .map(str::to_owned)
            .collect()
    };
    let parameters: Vec<Parameter> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split(" | ").collect();
            let (names, options) = (words(cells[0]), words(cells[1]));
            // A switch passes the option alone; of several options, each stands for one value.
            let is_switch = cells[4].starts_with("1, t, T, TRUE");
            Parameter {
                names,
                takes_value: options.len() == 1 && !is_switch,
                options,
            }
        })
        .collect();
    assert!(
        parameters.len() > 20,
        "the table of parameters was not found"
    );
    parameters
}

/// Prints one line that a test was skipped, why, and how many were skipped so far: the last such line has the total.
pub fn skipped(test: &str, why: &str) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    say(&format!(
        "SKIPPED: {test}: {why} (skip {count} of this run)"
    ));
}

/// Runs a program to its end; whether it succeeded, and its output.
pub fn run(program: &str, arguments: &[&str], input: &str) -> (bool, String) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} is needed, make test installs it: {error}"));
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text.into_owned())
}

/// Runs a script of `tests/scripts` with this build of the exporter and requires success; its output. `None` when the
/// script reports that it cannot run here; `test` is then skipped.
pub fn run_script(script: &str, test: &str) -> Option<String> {
    let output = Command::new("sh")
        .arg(top().join("tests/scripts").join(script))
        // Without BIN the script would build everything a second time.
        .env("BIN", env!("CARGO_BIN_EXE_iperf3-exporter"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    if let Some(why) = said.trim().strip_prefix("SKIPPED: ") {
        skipped(test, why);
        return None;
    }
    Some(said.into_owned())
}

/// The standard output of a recorded run that succeeded: TCP, upload, one stream.
pub fn good_report() -> PathBuf {
    top().join("tests/fixtures/3.12/tcp.json")
}

/// A kept-alive connection.
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    pub fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        // Longer than the longest probe of a test.
        stream
            .set_read_timeout(Some(Duration::from_secs(120)))
            .unwrap();
        Self(BufReader::new(stream))
    }

    /// Sends a GET without waiting for its response.
    pub fn send(&mut self, path: &str, headers: &[(&str, &str)]) {
        let mut text = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n");
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// One more response; `None` once the exporter has closed the connection.
    pub fn get_if_open(&mut self, path: &str) -> Option<Reply> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes()).ok()?;
        let has_more = self.0.fill_buf().is_ok_and(|bytes| !bytes.is_empty());
        has_more.then(|| self.reply())
    }

    /// Reads one response, as long as its `Content-Length` says.
    pub fn reply(&mut self) -> Reply {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let length = self.0.read_line(&mut head).unwrap();
            assert!(length > 0, "the connection ended within a head: {head:?}");
        }
        let mut reply = parse_reply(head.as_bytes()).unwrap();
        let length = reply.header("Content-Length").unwrap().parse().unwrap();
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        reply.body = String::from_utf8(body).unwrap();
        reply
    }

    pub fn get(&mut self, path: &str) -> Reply {
        self.send(path, &[]);
        self.reply()
    }
}

/// `/lock-status` as a JSON document, over a connection that is already open: when two are opened at the same moment,
/// `tiny_http` may leave one without a response.
pub fn lock_status(connection: &mut Connection) -> serde_json::Value {
    serde_json::from_str(&connection.get("/lock-status").body).unwrap()
}

/// The child processes of `pid`, each as number and state; zombies (`Z`) too.
pub fn children(pid: u32) -> Vec<(u32, char)> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| {
            let child: u32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name is in parentheses and may contain anything.
            let (_, fields) = stat.rsplit_once(") ")?;
            let mut fields = fields.split(' ');
            let state = fields.next()?.chars().next()?;
            (fields.next()? == pid.to_string()).then_some((child, state))
        })
        .collect()
}

/// Whether a process of this number lives; a zombie does not.
pub fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, fields)| !fields.starts_with('Z'))
}

/// Whether a process has finished what it was doing: none of its threads runs or is ready to run, however busy the
/// machine is. The threads are examined one after the other, so one look is not enough.
pub fn is_asleep(pid: u32) -> bool {
    let sleeps = |thread: fs::DirEntry| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_some_and(|(_, fields)| fields.starts_with('S'))
    };
    let threads = || fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    (0..3).all(|_| threads().all(sleeps))
}

/// Whether `program` is on PATH. Where it is not, `test` is reported as skipped; in CI it fails, because skips are not
/// noticed there.
pub fn has(program: &str, test: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !is_there {
        assert!(
            std::env::var_os("CI").is_none(),
            "{program} is needed in CI: make test installs it"
        );
        skipped(test, &format!("{program} is not here"));
    }
    is_there
}

/// Prints one line past the test harness' capture, which covers `eprintln!` only, so that the line is visible when all
/// tests pass. It does not use /dev/stderr: where that is a file, it would be opened a second time, and the next output
/// of the test harness would overwrite the line.
pub fn say(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
