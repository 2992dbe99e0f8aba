//! systemd: messages to the service manager, and the sockets that it passes.
//!
//! The manager is a datagram socket of the test; one test uses a whole systemd in a container, with the steps of
//! `tests/scripts/boot.sh`. `systemd-socket-activate`, systemd's own tool, passes sockets. A shell passes those that
//! systemd would not pass.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{
    Connection, Exporter, Fake, PATIENCE, TempDir, free_port, good_report, has, lock_status,
    request, run, run_script, skipped, wait_for,
};

/// A service manager that receives notifications.
struct Manager {
    socket: UnixDatagram,
    /// The value of `NOTIFY_SOCKET`.
    address: String,
    _dir: TempDir,
}

impl Manager {
    fn at_a_path() -> Self {
        let dir = TempDir::new();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self::new(socket, path.display().to_string(), dir)
    }

    fn at_an_abstract_name() -> Self {
        let dir = TempDir::new();
        // The folder's name is unique, so this one is too.
        let name = dir.path().join("abstract").display().to_string();
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        Self::new(socket, format!("@{name}"), dir)
    }

    fn new(socket: UnixDatagram, address: String, dir: TempDir) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            socket,
            address,
            _dir: dir,
        }
    }

    /// The exporter's command with this manager.
    fn command(&self, flags: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_iperf3-exporter"));
        command.arg("--web.listen-address=127.0.0.1:0").args(flags);
        command.env("NOTIFY_SOCKET", &self.address);
        command
    }

    /// The next message, if there is one.
    fn next(&self) -> Option<String> {
        let mut buffer = [0; 8192];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
    }

    /// The next message with this field; earlier ones are added to `passed`.
    fn until(&self, field: &str, passed: &mut Vec<String>) -> String {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let Some(message) = self.next() else { break };
            if message.lines().any(|line| line == field) {
                return message;
            }
            passed.push(message);
        }
        panic!("no message with {field}, but: {passed:?}");
    }

    /// The messages that were not read yet.
    fn rest(&self) -> Vec<String> {
        self.socket.set_nonblocking(true).unwrap();
        std::iter::from_fn(|| self.next()).collect()
    }
}

/// The value of a message's field.
fn field<'a>(message: &'a str, name: &str) -> &'a str {
    message
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        .unwrap_or_else(|| panic!("no {name} in {message:?}"))
}

fn good() -> Fake {
    Fake::new(&format!("cat '{}'", good_report().display()))
}

/// The shell that runs this becomes the exporter, so that `$$` is the exporter's process ID.
const AS_OWN_PID: &str = r#"exec "$0" "$@""#;

/// An exporter that was given sockets; its log is in a file.
struct Run {
    child: Child,
    dir: TempDir,
}

impl Run {
    fn start(mut command: Command) -> Self {
        let dir = TempDir::new();
        let child = command
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        Self { child, dir }
    }

    /// The exporter with `descriptor` as file descriptor 3; `variables` is shell, in which `$$` is the exporter's
    /// process ID.
    fn passing(descriptor: impl Into<OwnedFd>, variables: &str, flags: &[&str]) -> Self {
        let script = format!("exec 3<&0 0</dev/null; export {variables}; {AS_OWN_PID}");
        let mut command = Command::new("sh");
        command
            .args(["-c", &script, env!("CARGO_BIN_EXE_iperf3-exporter")])
            .args(flags)
            .stdin(descriptor.into());
        Self::start(command)
    }

    /// The exporter behind `systemd-socket-activate`, which starts it at the first connection; its two ports.
    fn activated(flags: &[&str]) -> (Self, [u16; 2]) {
        // Another process may take a port between its choice and its use. Then the program exits, and other ports are
        // tried.
        for _ in 0..20 {
            let ports = [free_port(), free_port()];
            let mut command = Command::new("systemd-socket-activate");
            for port in ports {
                command.arg(format!("--listen=127.0.0.1:{port}"));
            }
            command
                .args(["--fdname=one:two", env!("CARGO_BIN_EXE_iperf3-exporter")])
                .args(flags)
                .stdin(Stdio::null());
            let mut run = Self::start(command);
            let mut is_over = false;
            wait_for("systemd-socket-activate to listen", || {
                is_over = run.child.try_wait().unwrap().is_some();
                is_over || run.log().matches("Listening on").count() == ports.len()
            });
            if !is_over {
                return (run, ports);
            }
        }
        panic!("systemd-socket-activate did not start");
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// Waits for a complete log line that contains every piece; the first such line.
    fn log_line(&self, pieces: &[&str]) -> String {
        let mut found = None;
        wait_for(&format!("a log line with {pieces:?}"), || {
            found = self
                .log()
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n'))
                .find(|line| pieces.iter().all(|piece| line.contains(piece)))
                .map(str::to_owned);
            found.is_some()
        });
        found.unwrap()
    }

    /// Waits until it exits; its status.
    fn end(&mut self) -> Option<i32> {
        let mut status = None;
        wait_for("the exporter to end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // SIGTERM first: an exporter that is killed outright leaves its iperf3 behind.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal("TERM");
        }
        let end = Instant::now() + Duration::from_secs(10);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the run's log:\n{}", self.log());
        }
    }
}

/// A listener and its port.
fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A connection on which a request was sent.
fn asked(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    stream
}

/// The response to [`asked`] must be a success.
fn assert_answered(mut stream: TcpStream) {
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
}

#[test]
fn the_manager_is_notified_of_start_reloads_and_stop() {
    for manager in [Manager::at_a_path(), Manager::at_an_abstract_name()] {
        let fake = good();
        let configuration = fake.dir().join("web.yml");
        fs::write(&configuration, "http_server_config:\n  http2: false\n").unwrap();
        let file = format!("--web.config.file={}", configuration.display());
        let mut exporter = Exporter::spawn(manager.command(&[&fake.flag(), &file]));
        let mut passed = Vec::new();
        let ready = manager.until("READY=1", &mut passed);
        assert_eq!(exporter.get("/ready").code, 200);
        let status = field(&ready, "STATUS");
        let port = exporter.port().to_string();
        assert!(
            status.contains(&port),
            "{status:?} does not tell port {port}"
        );
        let mut last = 0;
        for _ in 0..2 {
            exporter.signal("HUP");
            let reloading = manager.until("RELOADING=1", &mut passed);
            let time: u64 = field(&reloading, "MONOTONIC_USEC").parse().unwrap();
            assert!(time > last, "{time} after {last}");
            last = time;
            manager.until("READY=1", &mut passed);
            assert_eq!(exporter.get("/ready").code, 200);
        }
        exporter.signal("TERM");
        manager.until("STOPPING=1", &mut passed);
        assert_eq!(exporter.wait().code(), Some(0));
        passed.extend(manager.rest());
        let is_right = |message: &String| message.starts_with("STATUS=");
        assert!(passed.iter().all(is_right), "{passed:?}");
    }
}

#[test]
fn a_failed_reload_is_reported_as_finished() {
    let manager = Manager::at_a_path();
    let fake = good();
    let configuration = fake.dir().join("web.yml");
    fs::write(&configuration, "http_server_config:\n  http2: false\n").unwrap();
    let file = format!("--web.config.file={}", configuration.display());
    let exporter = Exporter::spawn(manager.command(&[&fake.flag(), &file]));
    let mut passed = Vec::new();
    manager.until("READY=1", &mut passed);
    fs::write(&configuration, "no_such_key: 1\n").unwrap();
    exporter.signal("HUP");
    manager.until("RELOADING=1", &mut passed);
    // Otherwise the manager would wait for the end of the reload forever.
    manager.until("READY=1", &mut passed);
    exporter.log_line("no_such_key");
}

#[test]
fn a_reload_without_a_web_configuration_says_so() {
    let fake = good();
    let exporter = Exporter::start(&[fake.flag()]);
    exporter.signal("HUP");
    let line = exporter.log_line("nothing to reload");
    let words = " level=info msg=\"nothing to reload: no --web.config.file\"";
    assert!(line.ends_with(words), "{line}");
    assert_eq!(exporter.get("/ready").code, 200);
}

/// The log of an exporter whose `JOURNAL_STREAM` names this log file, with `more` added to its inode.
fn journal_of(more: u64, flags: &[&str], is_over: impl Fn(&str) -> bool) -> String {
    let dir = TempDir::new();
    let path = dir.path().join("journal");
    let journal = fs::File::create(&path).unwrap();
    let metadata = journal.metadata().unwrap();
    let stream = format!("{}:{}", metadata.dev(), metadata.ino() + more);
    let child = Command::new(env!("CARGO_BIN_EXE_iperf3-exporter"))
        .args(flags)
        .env("JOURNAL_STREAM", stream)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(journal)
        .spawn()
        .unwrap();
    let mut guard = Killed(child);
    let mut text = String::new();
    wait_for("the lines", || {
        text = fs::read_to_string(&path).unwrap();
        is_over(&text)
    });
    guard.0.kill().unwrap();
    text
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn lines_of_the_journal_begin_with_their_priority_and_no_others() {
    let flags = ["--web.listen-address=127.0.0.1:0", "--iperf3.path=/nowhere"];
    let is_started = |text: &str| {
        text.contains("msg=\"listening\"")
            && text.contains("no usable iperf3")
            && text.ends_with('\n')
    };
    let log = journal_of(0, &flags, is_started);
    for line in log.lines() {
        let is_right = ["<6>time= level=info ", "<4>time= level=warn "]
            .iter()
            .any(|start| {
                let (prefix, level) = start.split_once(' ').unwrap();
                line.starts_with(prefix) && line.contains(level)
            });
        assert!(is_right, "{line}");
    }
    assert!(log.contains("<6>") && log.contains("<4>"), "{log}");
    let json = ["--log.format=json", flags[0], flags[1]];
    let log = journal_of(0, &json, |text| {
        text.contains("\"listening\"") && text.ends_with('\n')
    });
    assert!(
        log.lines()
            .all(|line| line.starts_with("<6>{\"") || line.starts_with("<4>{\"")),
        "{log}"
    );
    // JOURNAL_STREAM names another file: a child of a service that writes its output to a file.
    let log = journal_of(1, &flags, is_started);
    assert!(log.lines().all(|line| line.starts_with("time=")), "{log}");
    // A start that fails.
    let wrong = ["--no-such-flag"];
    let is_over = |text: &str| text.ends_with('\n');
    let line = journal_of(0, &wrong, is_over);
    assert!(line.starts_with("<3>iperf3-exporter: error: "), "{line}");
    let line = journal_of(1, &wrong, is_over);
    assert!(line.starts_with("iperf3-exporter: error: "), "{line}");
}

#[test]
fn the_watchdog_is_fed_also_while_a_test_runs() {
    let manager = Manager::at_a_path();
    let fake = Fake::new("exec sleep 600");
    let mut command = manager.command(&[&fake.flag()]);
    command.env("WATCHDOG_USEC", "2000000");
    let exporter = Exporter::spawn(command);
    let mut passed = Vec::new();
    manager.until("READY=1", &mut passed);
    manager.until("WATCHDOG=1", &mut passed);
    let mut running = Connection::open(exporter.port());
    running.send("/probe?target=192.0.2.1", &[]);
    let mut asking = Connection::open(exporter.port());
    wait_for("the test to run", || {
        lock_status(&mut asking)["is_locked"] == true
    });
    manager.rest();
    manager.socket.set_nonblocking(false).unwrap();
    manager.until("WATCHDOG=1", &mut passed);
    manager.until("WATCHDOG=1", &mut passed);
    assert!(lock_status(&mut asking)["is_locked"] == true);
}

#[test]
fn the_watchdog_finds_a_listener_when_loopback_has_no_ipv6_address() {
    let test = "the_watchdog_finds_a_listener_when_loopback_has_no_ipv6_address";
    let lone = "echo 1 >/proc/sys/net/ipv6/conf/lo/disable_ipv6 && ip link set lo up";
    if !has("unshare", test) || !run("unshare", &["-rn", "sh", "-c", lone], "").0 {
        return skipped(test, "network namespaces are not available here");
    }
    let (manager, fake) = (Manager::at_a_path(), good());
    let mut command = Command::new("unshare");
    command
        .args(["-rn", "sh", "-c", &format!("{lone} && {AS_OWN_PID}")])
        .args([env!("CARGO_BIN_EXE_iperf3-exporter"), &fake.flag()])
        .arg("--web.listen-address=:0")
        .envs([
            ("NOTIFY_SOCKET", &*manager.address),
            ("WATCHDOG_USEC", "2000"),
        ]);
    let exporter = Exporter::spawn(command);
    let mut passed = Vec::new();
    manager.until("WATCHDOG=1", &mut passed);
    let log = exporter.log();
    assert!(log.contains("address=[::]:"), "{log}");
    assert!(!log.contains("cannot connect to a listener"), "{log}");
}

#[test]
fn the_watchdog_of_another_process_is_not_fed() {
    let fed = |pid: &str| {
        let manager = Manager::at_a_path();
        let fake = good();
        let script = format!("export WATCHDOG_USEC=2000 WATCHDOG_PID={pid}; {AS_OWN_PID}");
        let mut command = Command::new("sh");
        command
            .args(["-c", &script, env!("CARGO_BIN_EXE_iperf3-exporter")])
            .args(["--web.listen-address=127.0.0.1:0", &fake.flag()])
            .env("NOTIFY_SOCKET", &manager.address);
        let mut exporter = Exporter::spawn(command);
        let mut passed = Vec::new();
        manager.until("READY=1", &mut passed);
        if pid == "$$" {
            manager.until("WATCHDOG=1", &mut passed);
            return true;
        }
        // Enough time for pings: there would be one each millisecond.
        for _ in 0..50 {
            assert_eq!(exporter.get("/ready").code, 200);
        }
        exporter.signal("TERM");
        assert_eq!(exporter.wait().code(), Some(0));
        passed.extend(manager.rest());
        passed.iter().any(|message| message.contains("WATCHDOG=1"))
    };
    assert!(fed("$$"));
    assert!(!fed("1"));
}

#[test]
fn an_absent_or_unresponsive_manager_blocks_nothing() {
    let fake = good();
    let deaf = Manager::at_a_path();
    for address in [
        deaf.address.as_str(),
        "/nonexistent/notify",
        "@no/such/manager",
        "vsock:2:1234",
        "",
    ] {
        let mut command = deaf.command(&[&fake.flag()]);
        // One ping per millisecond: the queue of the manager that does not read is full at once.
        command
            .env("NOTIFY_SOCKET", address)
            .env("WATCHDOG_USEC", "2000");
        let mut exporter = Exporter::spawn(command);
        for _ in 0..20 {
            assert_eq!(exporter.get("/ready").code, 200, "{address}");
        }
        exporter.signal("TERM");
        assert_eq!(exporter.wait().code(), Some(0), "{address}");
    }
}

#[test]
fn every_socket_that_systemd_passes_is_served() {
    let name = "every_socket_that_systemd_passes_is_served";
    if !has("systemd-socket-activate", name) {
        return;
    }
    let fake = good();
    let (mut run, ports) = Run::activated(&["--web.systemd-socket", &fake.flag()]);
    // The connections to the second port come first: any of the sockets starts the exporter.
    let waiting: Vec<TcpStream> = [ports[1], ports[0], ports[1], ports[0]]
        .into_iter()
        .map(asked)
        .collect();
    waiting.into_iter().for_each(assert_answered);
    for port in ports {
        run.log_line(&["msg=\"listening\"", &format!("127.0.0.1:{port}")]);
        let reply = request(port, "GET", "/probe?target=192.0.2.1", &[]);
        assert_eq!(reply.family("iperf3_up"), Some(1.0));
    }
    if has("curl", name) {
        let url = format!("http://127.0.0.1:{}/health", ports[0]);
        let curl = Command::new("curl")
            .args(["--silent", "--fail", "--max-time", "60", &url])
            .output();
        assert!(curl.unwrap().status.success());
    }
    assert_eq!(run.log().matches("msg=\"listening\"").count(), 2);
    run.signal("TERM");
    assert_eq!(run.end(), Some(0));
}

#[test]
fn connections_that_came_before_the_exporter_are_answered() {
    let (listener, port) = listener();
    let waiting: Vec<TcpStream> = (0..8).map(|_| asked(port)).collect();
    // A restarted service or NonBlocking=yes leaves the listener in this state; the exporter resets it before it
    // accepts.
    listener.set_nonblocking(true).unwrap();
    let fake = good();
    let _run = Run::passing(
        listener,
        "LISTEN_FDS=1 LISTEN_PID=$$",
        &["--web.systemd-socket", &fake.flag()],
    );
    waiting.into_iter().for_each(assert_answered);
}

#[test]
fn a_restart_loses_no_connection() {
    let (listener, port) = listener();
    let fake = good();
    let start = || {
        Run::passing(
            listener.try_clone().unwrap(),
            "LISTEN_FDS=1 LISTEN_PID=$$",
            &["--web.systemd-socket", &fake.flag()],
        )
    };
    let mut first = start();
    assert_answered(asked(port));
    first.signal("TERM");
    assert_eq!(first.end(), Some(0));
    let waiting = asked(port);
    let _second = start();
    assert_answered(waiting);
}

/// A start that must fail with one line that contains every piece.
fn assert_refused(descriptor: impl Into<OwnedFd>, variables: &str, pieces: &[&str]) {
    let mut run = Run::passing(descriptor, variables, &["--web.systemd-socket"]);
    assert_eq!(run.end(), Some(1), "{variables}");
    let log = run.log();
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(
        log.starts_with("iperf3-exporter: error: --web.systemd-socket: "),
        "{log}"
    );
    for piece in pieces {
        assert!(log.contains(piece), "no {piece:?} in {log}");
    }
}

#[test]
fn a_start_without_sockets_for_this_process_is_refused() {
    for (variables, piece) in [
        ("NONE=1", "LISTEN_FDS is not set"),
        ("LISTEN_PID=$$", "LISTEN_FDS is not set"),
        ("LISTEN_FDS=1", "LISTEN_PID is not set"),
        ("LISTEN_FDS=1 LISTEN_PID=1", "LISTEN_PID is `1`"),
        ("LISTEN_FDS=0 LISTEN_PID=$$", "LISTEN_FDS is `0`"),
        (
            "LISTEN_FDS=2147483647 LISTEN_PID=$$",
            "LISTEN_FDS is `2147483647`",
        ),
        ("LISTEN_FDS=x LISTEN_PID=$$", "LISTEN_FDS is `x`"),
    ] {
        let (listener, _) = listener();
        assert_refused(listener, variables, &["passed no sockets", piece]);
    }
}

#[test]
fn a_socket_that_cannot_be_listened_on_is_refused_by_number_and_name() {
    let one = "LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES=web";
    let web = "descriptor 3 (`web`)";
    let dir = TempDir::new();
    let unix = UnixListener::bind(dir.path().join("stream")).unwrap();
    assert_refused(unix, one, &[web, "a Unix stream socket"]);
    let datagrams = UnixDatagram::bind(dir.path().join("datagrams")).unwrap();
    assert_refused(datagrams, one, &[web, "a Unix datagram socket"]);
    let udp = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    assert_refused(udp, one, &[web, "a UDP socket"]);
    let (listener, port) = listener();
    let connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert_refused(connection, one, &[web, "does not listen"]);
    let file = fs::File::open("/dev/null").unwrap();
    assert_refused(file, one, &[web, "not a listening TCP socket"]);
    // Fewer sockets than LISTEN_FDS says: a partial start is refused.
    let two = "LISTEN_FDS=2 LISTEN_PID=$$ LISTEN_FDNAMES=web:more";
    assert_refused(listener, two, &["descriptor 4 (`more`)"]);
}

#[test]
fn listen_addresses_are_ignored_beside_passed_sockets_with_a_warning() {
    let (listener, port) = listener();
    let unused = free_port();
    let fake = good();
    let address = format!("--web.listen-address=127.0.0.1:{unused}");
    let run = Run::passing(
        listener,
        "LISTEN_FDS=1 LISTEN_PID=$$",
        &["--web.systemd-socket", &address, &fake.flag()],
    );
    assert_answered(asked(port));
    run.log_line(&["level=warn", "--web.listen-address"]);
    let log = run.log();
    assert_eq!(log.matches("msg=\"listening\"").count(), 1, "{log}");
    run.log_line(&["msg=\"listening\"", &format!("127.0.0.1:{port}")]);
}

#[test]
fn iperf3_gets_neither_the_sockets_nor_the_variables() {
    let manager = Manager::at_a_path();
    let (listener, port) = listener();
    // The script lists what each open descriptor of `sh` refers to: `socket:[1234]` for a socket.
    let fake = Fake::new(&format!(
        "env >\"$DIR/env\"\n\
         for fd in /proc/$$/fd/*; do readlink \"$fd\"; done >\"$DIR/descriptors\"\n\
         cat '{}'",
        good_report().display()
    ));
    let variables = format!(
        "LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES=web NOTIFY_SOCKET='{}' WATCHDOG_USEC=60000000 WATCHDOG_PID=$$",
        manager.address
    );
    let _run = Run::passing(
        listener,
        &variables,
        &["--web.systemd-socket", &fake.flag()],
    );
    let reply = request(port, "GET", "/probe?target=192.0.2.1", &[]);
    assert_eq!(reply.family("iperf3_up"), Some(1.0), "{}", reply.body);
    let environment = read(fake.dir(), "env");
    assert!(environment.contains("LC_ALL=C"), "{environment}");
    for name in ["LISTEN_", "NOTIFY_", "WATCHDOG_"] {
        assert!(!environment.contains(name), "{environment}");
    }
    let descriptors = read(fake.dir(), "descriptors");
    assert!(descriptors.contains("pipe:["), "{descriptors}");
    assert!(!descriptors.contains("socket:["), "{descriptors}");
}

fn read(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap()
}

#[test]
#[ignore = "make test-all: a Debian, two packages and a boot, two minutes; guards the unit and the .deb's scripts"]
fn a_real_systemd_installs_hardens_restarts_upgrades_and_purges_it() {
    let test = "a_real_systemd_installs_hardens_restarts_upgrades_and_purges_it";
    if let Some(said) = run_script("boot.sh", test) {
        assert!(
            said.contains("the server restarted after each crash")
                && said.contains("not after a wrong flag, upgraded, purged"),
            "{said}"
        );
    }
}
