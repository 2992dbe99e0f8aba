//! Flags, `--help`, exit codes, signals, logs: the exporter as its operator sees it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{PipeReader, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use serde_json::Value;

use crate::harness::{
    Connection, Exporter, Fake, Reply, TempDir, assert_golden, free_port, good_report, is_alive,
    listening_ports, lock_status, request, run, skipped, top, wait_for,
};

/// A run of the binary that ends on its own.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Kills its child when a test fails before the child has ended.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run_to_its_end<S: AsRef<OsStr>>(words: &[S]) -> Ended {
    let dir = TempDir::new();
    let (stdout, stderr) = (dir.path().join("stdout"), dir.path().join("stderr"));
    let child = Command::new(env!("CARGO_BIN_EXE_iperf3-exporter"))
        .args(words)
        .stdin(Stdio::null())
        .stdout(fs::File::create(&stdout).unwrap())
        .stderr(fs::File::create(&stderr).unwrap())
        .spawn()
        .unwrap();
    let mut guard = Guard(child);
    let mut status = None;
    wait_for("the exporter to end", || {
        status = guard.0.try_wait().unwrap();
        status.is_some()
    });
    Ended {
        code: status.unwrap().code(),
        stdout: fs::read_to_string(stdout).unwrap(),
        stderr: fs::read_to_string(stderr).unwrap(),
    }
}

/// An exporter whose log may have any format and level, so the system is asked for its port.
struct Logged {
    _child: Guard,
    dir: TempDir,
    port: u16,
}

impl Logged {
    fn start(flags: &[&str]) -> Self {
        let dir = TempDir::new();
        let child = Command::new(env!("CARGO_BIN_EXE_iperf3-exporter"))
            .arg("--web.listen-address=127.0.0.1:0")
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut guard = Guard(child);
        let mut ports = Vec::new();
        wait_for("the exporter to listen", || {
            if let Some(status) = guard.0.try_wait().unwrap() {
                let log = fs::read_to_string(dir.path().join("log")).unwrap();
                panic!("the exporter ended with {status}:\n{log}");
            }
            ports = listening_ports(guard.0.id());
            !ports.is_empty()
        });
        Self {
            _child: guard,
            dir,
            port: ports[0],
        }
    }

    fn get(&self, path: &str) -> u16 {
        request(self.port, "GET", path, &[]).code
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }
}

/// A fake that succeeds; for port 1 it fails as iperf3 does.
fn good_or_refused() -> Fake {
    Fake::new(&format!(
        "if [ \"$5\" = 1 ]; then echo '{{\"error\":\"unable to connect to server: Connection refused\"}}'; exit 1; fi\n\
         exec cat '{}'",
        good_report().display()
    ))
}

#[test]
fn help_is_the_golden_text_under_both_names_and_before_any_error() {
    for words in [
        &["--help"][..],
        &["-h"],
        &["--log.level=debug", "--help", "--nonsense"],
    ] {
        let ended = run_to_its_end(words);
        assert_eq!(
            (ended.code, ended.stderr.as_str()),
            (Some(0), ""),
            "{words:?}"
        );
        assert_golden(&top().join("tests/golden/help.txt"), &ended.stdout);
    }
}

#[test]
fn version_has_the_form_of_prometheus_tools() {
    let ended = run_to_its_end(&["--version"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let version = env!("CARGO_PKG_VERSION");
    let start = format!("iperf3-exporter, version {version} (revision: ");
    assert!(ended.stdout.starts_with(&start), "{}", ended.stdout);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert!(lines[0].ends_with(')'), "{}", ended.stdout);
    for (line, name) in lines[1..]
        .iter()
        .zip(["rustc version:", "platform:", "tags:"])
    {
        let value = line.strip_prefix(&format!("  {name:<18}"));
        assert!(value.is_some_and(|value| !value.starts_with(' ')), "{line}");
    }
    assert_eq!(lines.len(), 4);
    // Commands with which provisioning scripts extract the version.
    for cut in [
        "grep -oP 'version \\K[0-9.]+'",
        "awk 'NR == 1 { print $3 }'",
        "head -n 1 | awk '{ print $3 }'",
        "sed -n 's/^.*, version \\([^ ]*\\) .*$/\\1/p'",
    ] {
        let script = format!("\"$0\" --version | {cut}");
        let (passed, said) = run(
            "sh",
            &["-c", &script, env!("CARGO_BIN_EXE_iperf3-exporter")],
            "",
        );
        assert_eq!((passed, said.trim_end()), (true, version), "{cut}");
    }
}

/// The result of `--config.check` with these flags and this temporary folder: status, lines, the line on standard
/// error.
fn checked(words: &[&str], folder: &Path) -> (Option<i32>, Vec<String>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_iperf3-exporter"))
        .arg("--config.check")
        .args(words)
        .env("TMPDIR", folder)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let lines = text(output.stdout).lines().map(str::to_owned).collect();
    (output.status.code(), lines, text(output.stderr))
}

#[test]
fn the_check_covers_all_that_a_start_needs() {
    let (fake, dir) = (Fake::new("exit 1"), TempDir::new());
    let folder = dir.path();
    let free = "--web.listen-address=127.0.0.1:0";
    let words = [&fake.flag(), free, "--probe.allow-target=10.0.0.0/8"];
    let (status, lines, said) = checked(&words, folder);
    assert_eq!((status, said.as_str()), (Some(0), ""));
    let in_order = [
        "ok: flags".to_owned(),
        "ok: no web configuration: plain HTTP without authentication".to_owned(),
        format!("ok: iperf3 3.99 `{}`", fake.dir().join("iperf3").display()),
        format!("ok: temporary folder `{}`", folder.display()),
        "ok: no credentials for iperf3".to_owned(),
        "ok: allow rules: 1".to_owned(),
        "ok: listen address `127.0.0.1:0` is free".to_owned(),
    ];
    assert_eq!(lines, in_order);
    assert_eq!(fs::read_dir(folder).unwrap().count(), 0);

    // Each failure alone, with its exit status.
    let web = dir.write("web.yml", "nonsense: 1\n");
    let web = format!("--web.config.file={}", web.display());
    let foreign = "--web.listen-address=192.0.2.1:0";
    let (iperf3, lost) = (fake.flag(), "--iperf3.path=/nowhere/iperf3");
    for (words, failed, expected, piece) in [
        (&[&iperf3, free, &web][..], &[1][..], 2, "nonsense"),
        (&[lost, free], &[2], 1, "/nowhere/iperf3"),
        (&[&iperf3, foreign], &[6], 1, "192.0.2.1:0"),
        // The first failure decides the status.
        (&[lost, foreign, &web], &[1, 2, 6], 2, "nonsense"),
        (&[lost, foreign], &[2, 6], 1, "/nowhere/iperf3"),
    ] {
        let (status, lines, said) = checked(words, folder);
        assert_eq!(status, Some(expected), "{said}");
        assert!(
            said.starts_with("iperf3-exporter: error: ") && said.contains(piece),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
        assert_eq!(lines.len(), in_order.len(), "{lines:?}");
        for (at, line) in lines.iter().enumerate() {
            let word = if failed.contains(&at) {
                "failed: "
            } else {
                "ok: "
            };
            assert!(line.starts_with(word), "{line}");
        }
    }

    // iperf3's files go to another folder when the usual one does not work.
    let (status, lines, said) = checked(&[&iperf3, free], &folder.join("nowhere"));
    assert_eq!((status, said.as_str()), (Some(0), ""));
    let line = lines.get(3).unwrap();
    let instead = ", instead of the usual one: cannot create a file in the temporary folder";
    assert!(
        line.starts_with("ok: temporary folder `/") && line.contains(instead),
        "{line}"
    );
}

/// Each flag's address is free, but a start could not bind both.
#[test]
fn the_check_rejects_two_flags_with_the_same_address() {
    let (fake, dir) = (Fake::new("exit 1"), TempDir::new());
    let port = free_port();
    let all = format!("--web.listen-address=:{port}");
    for second in [
        format!("--port={port}"),
        format!("--web.listen-address=127.0.0.1:{port}"),
    ] {
        let (status, lines, said) = checked(&[&fake.flag(), &all, &second], dir.path());
        assert_eq!(status, Some(1), "{said}");
        let last: Vec<_> = lines.iter().rev().take(2).collect();
        assert!(
            last[0].starts_with("failed: cannot listen on `")
                && last[0].ends_with(", another flag names the same address"),
            "{lines:?}"
        );
        assert_eq!(*last[1], format!("ok: listen address `:{port}` is free"));
    }
    let other = format!("--web.listen-address=127.0.0.1:{}", free_port());
    let (status, _, said) = checked(&[&fake.flag(), &all, &other], dir.path());
    assert_eq!((status, said.as_str()), (Some(0), ""));
}

/// A check before a restart should report errors, and not that the exporter still runs.
#[test]
fn the_check_accepts_an_address_in_use_only_by_an_exporter() {
    let (fake, dir) = (Fake::new("exit 1"), TempDir::new());
    let web = format!("--web.config.file={}", dir.write("web.yml", "").display());
    let exporter = Exporter::start(&[fake.flag(), web]);
    let address = format!("--web.listen-address=127.0.0.1:{}", exporter.port());
    // The second exporter rejects every request, which may be the reason for the restart.
    for text in ["", "nonsense: 1\n"] {
        dir.write("web.yml", text);
        let (status, lines, said) = checked(&[&fake.flag(), &address], dir.path());
        assert_eq!(status, Some(0), "{said}");
        let line = lines.last().unwrap();
        assert!(line.ends_with("is in use by a running exporter"), "{line}");
    }

    let other = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = format!("--web.listen-address={}", other.local_addr().unwrap());
    let answers = thread::spawn(move || {
        let (mut client, _) = other.accept().unwrap();
        // Reads the request first: closing a connection with unread bytes resets it.
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            asked.extend(byte);
        }
        client.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n").unwrap();
    });
    let (status, lines, said) = checked(&[&fake.flag(), &address], dir.path());
    assert_eq!(status, Some(1), "{said}");
    let line = lines.last().unwrap();
    assert!(
        line.starts_with("failed: cannot listen on ") && line.contains("404"),
        "{line}"
    );
    answers.join().unwrap();
}

#[test]
fn help_survives_a_closed_pipe() {
    let (reader, writer) = UnixStream::pair().unwrap();
    drop(reader);
    let status = Command::new(env!("CARGO_BIN_EXE_iperf3-exporter"))
        .arg("--help")
        .stdout(OwnedFd::from(writer))
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
}

/// A refused command line: status 2, which a restart cannot repair, nothing on standard output, one line on standard
/// error.
fn assert_refused(words: &[OsString], piece: &str) {
    let ended = run_to_its_end(words);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(2), ""),
        "{words:?}"
    );
    let line = ended
        .stderr
        .strip_suffix('\n')
        .unwrap_or_else(|| panic!("{words:?}: no line: {:?}", ended.stderr));
    assert!(!line.contains(char::is_control), "{words:?}: {line:?}");
    assert!(
        line.starts_with("iperf3-exporter: error: ") && line.ends_with(", try --help"),
        "{words:?}: {line}"
    );
    assert!(line.contains(piece), "{words:?}: {line}");
}

#[test]
fn a_wrong_command_line_gets_one_line_that_names_the_word() {
    for (words, piece) in [
        (&["--nonsense"][..], "--nonsense"),
        (&["--nonsense=1"], "--nonsense"),
        (&["--log.levels=debug"], "--log.levels"),
        (&["-x"], "-x"),
        (&["-port=1"], "\"-port\", want --port,"),
        (
            &["-web.listen-address", ":9579"],
            "\"-web.listen-address\", want --web.listen-address,",
        ),
        (&["word"], "word"),
        (&["--", "word"], "word"),
        (&["-"], "-"),
        (&[""], "\"\""),
        (&["--help=yes"], "help"),
        // A flag given twice, also under its other name and with the same value.
        (&["--log.level=info", "--log.level=info"], "--log.level"),
        (
            &["--lock.timeout=1s", "--lock.timeout=2s"],
            "--lock.timeout",
        ),
        (&["--iperf3.path=a", "--iperf3-path=a"], "--iperf3.path"),
        // A missing value.
        (&["--port"], "--port"),
        (
            &["--log.level=debug", "--web.listen-address"],
            "--web.listen-address",
        ),
        (&["--iperf3.timeout="], "--iperf3.timeout"),
        // Values out of range.
        (&["--web.listen-address=9579"], "\"9579\""),
        (&["--web.listen-address=:65536"], "\":65536\""),
        (&["--web.listen-address=::1:80"], "\"::1:80\""),
        (&["--web.telemetry-path=metrics"], "--web.telemetry-path"),
        (&["--web.telemetry-path=/"], "--web.telemetry-path"),
        (&["--web.telemetry-path=/a b"], "--web.telemetry-path"),
        (&["--web.probe-path=/health"], "--web.probe-path"),
        (&["--web.probe-path=/metrics"], "/metrics"),
        (&["--web.probe-path=/a?b"], "--web.probe-path"),
        (&["--iperf3.path="], "--iperf3.path"),
        (&["--iperf3.timeout=-1s"], "\"-1s\""),
        (&["--iperf3.timeout=26h"], "\"26h\""),
        (&["--iperf3.username="], "--iperf3.username"),
        (&["--iperf3.username=-x"], "\"-x\""),
        (&["--iperf3.rsa-public-key-path=-x"], "\"-x\""),
        // A flag that requires another.
        (
            &["--iperf3.username=bob"],
            "--iperf3.username needs --iperf3.rsa-public-key-path",
        ),
        (
            &["--iperf3.password-file=/p"],
            "--iperf3.password-file needs --iperf3.username",
        ),
        (
            &["--iperf3.use-pkcs1-padding"],
            "--iperf3.use-pkcs1-padding needs --iperf3.username",
        ),
        (&["--lock.timeout=soon"], "\"soon\""),
        (&["--lock.timeout=25h"], "\"25h\""),
        (&["--probe.timeout-offset=2h"], "--probe.timeout-offset"),
        (&["--probe.allow-target=a b"], "--probe.allow-target"),
        (&["--probe.allow-target=10.0.0.0/33"], "10.0.0.0/33"),
        (&["--port=0x50"], "--port"),
        (&["--port=65536"], "--port"),
        (&["--port=-1"], "--port"),
        (&["--port=+80"], "--port"),
        (&["--log.level=trace"], "\"trace\""),
        (&["--log.level=INFO"], "\"INFO\""),
        (&["--log.format=xml"], "\"xml\""),
        // No character can break the line.
        (&["--log.level=a\nb"], "\\n"),
        (&["--log\r.level=a"], "\\r"),
        (&["\u{1b}[31mred"], "[31mred"),
        (&["a\u{2028}b"], "a"),
    ] {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        assert_refused(&words, piece);
    }
    for bytes in [&b"--log.level=\xff"[..], b"--\xff", b"\xff"] {
        assert_refused(&[OsStr::from_bytes(bytes).to_owned()], "");
    }
}

#[test]
fn an_address_that_cannot_be_bound_ends_the_start_with_one_line_and_status_1() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let in_use = format!("--web.listen-address=127.0.0.1:{port}");
    let any_in_use = format!("--port={port}");
    // 192.0.2.0/24 is for documentation and on no interface.
    let foreign = "--web.listen-address=192.0.2.1:0";
    let free = "--web.listen-address=127.0.0.1:0";
    for (words, address) in [
        (&[in_use.as_str()][..], format!("127.0.0.1:{port}")),
        (&[any_in_use.as_str()], format!(":{port}")),
        (&[free, in_use.as_str()], format!("127.0.0.1:{port}")),
        (&[foreign], "192.0.2.1:0".to_owned()),
    ] {
        let ended = run_to_its_end(words);
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (Some(1), ""),
            "{words:?}"
        );
        let start = format!("iperf3-exporter: error: cannot listen on `{address}`: ");
        assert!(
            ended.stderr.starts_with(&start),
            "{words:?}: {}",
            ended.stderr
        );
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
}

/// The sentence about a test that was cut short: the cause, and how much of its 5 s it ran.
fn assert_cut_short(sentence: &str, cause: &str) {
    let rest = sentence
        .strip_prefix(cause)
        .and_then(|rest| rest.strip_prefix(", the test ran "));
    let rest = rest.unwrap_or_else(|| panic!("{sentence}"));
    let (seconds, of) = rest.split_once(" s of ").unwrap();
    assert!(seconds.parse::<f64>().unwrap() >= 0.0, "{sentence}");
    assert_eq!(of.trim_end(), "5 s (probe 1)", "{sentence}");
}

#[test]
fn sigterm_and_sigint_end_an_idle_exporter_with_status_0() {
    for signal in ["TERM", "INT"] {
        let fake = good_or_refused();
        let mut exporter = Exporter::start(&[fake.flag()]);
        // A client with an open connection does not delay the exit.
        let mut idle = Connection::open(exporter.port());
        assert_eq!(idle.get("/ready").code, 200);
        exporter.signal(signal);
        assert_eq!(exporter.wait().code(), Some(0), "{signal}");
        exporter.log_line("msg=\"shutting down\"");
    }
}

/// iperf3 would run for ten minutes, and the waiting probes would wait for 80 seconds. The unit tests of `web/routes`,
/// `permits` and `iperf3/process` check that the shutdown has a time limit and that iperf3 gets time to end.
#[test]
fn a_signal_ends_the_running_test_and_answers_the_waiting_probes() {
    for signal in ["TERM", "INT"] {
        let fake = Fake::endless();
        let mut exporter = Exporter::start(&[fake.flag().as_str(), "--iperf3.timeout=10m"]);
        let port = exporter.port();
        let mut watch = Connection::open(port);
        assert_eq!(watch.get("/ready").code, 200);
        let mut running = Connection::open(port);
        running.send("/probe?target=127.0.0.1", &[]);
        let pid = fake.pid();
        let mut waiting = Vec::new();
        for size in 1..=3 {
            let mut connection = Connection::open(port);
            connection.send("/probe?target=127.0.0.1", &[]);
            wait_for("the probe to wait", || {
                lock_status(&mut watch)["queue_size"] == size
            });
            waiting.push(connection);
        }
        exporter.signal(signal);
        assert_eq!(exporter.wait().code(), Some(0), "{signal}");
        assert!(!is_alive(pid));
        for (number, connection) in (2..).zip(&mut waiting) {
            let reply = connection.reply();
            let line = format!("no test was run: the exporter is shutting down (probe {number})\n");
            assert_eq!((reply.code, &reply.body), (503, &line));
            assert!(reply.header("Retry-After").is_some());
        }
        let reply = running.reply();
        assert_eq!(reply.code, 503);
        assert!(reply.header("Retry-After").is_some());
        let sentence = reply.body.strip_suffix(" (probe 1)\n");
        assert_cut_short(&reply.body, "the exporter is shutting down");
        // One line each, which states whether a test ran.
        wait_for("a line for each probe", || {
            exporter.log().matches(" probe=").count() >= 4
        });
        let log = exporter.log();
        assert_eq!(log.matches("msg=\"probe not run\"").count(), 3, "{log}");
        let line = exporter.log_line("msg=\"test cancelled\"");
        assert!(
            line.contains(" level=warn ") && line.contains(" probe=1 "),
            "{line}"
        );
        let cause = line.split('"').find(|part| part.contains(", the test ran"));
        assert_eq!(cause, sentence, "{line}");
        assert_eq!(log.matches(" probe=").count(), 4, "{log}");
    }
}

#[test]
fn a_signal_ends_even_a_test_that_ignores_sigterm_and_responses_until_then_are_503() {
    let fake = Fake::stubborn();
    let mut exporter = Exporter::start(&[fake.flag()]);
    let mut running = Connection::open(exporter.port());
    running.send("/probe?target=127.0.0.1", &[]);
    let pid = fake.pid();
    let mut other = Connection::open(exporter.port());
    let mut waiting = Connection::open(exporter.port());
    waiting.send("/probe?target=127.0.0.1", &[]);
    wait_for("a probe to wait", || {
        lock_status(&mut other)["queue_size"] == 1
    });
    assert_eq!(other.get("/ready").code, 200);
    exporter.signal("TERM");
    let assert_ending = |reply: Reply, line: &str| {
        assert_eq!((reply.code, reply.body.as_str()), (503, line));
    };
    // The waiting probe learns that the shutdown has begun. From here on every response says so, however long this
    // machine takes to ask: the exporter responds during the half second before it kills iperf3.
    assert_ending(
        waiting.reply(),
        "no test was run: the exporter is shutting down (probe 2)\n",
    );
    while let Some(reply) = other.get_if_open("/ready") {
        assert_ending(reply, "shutting down\n");
    }
    let reply = running.reply();
    assert_eq!(reply.code, 503);
    assert_cut_short(&reply.body, "the exporter is shutting down");
    assert_eq!(exporter.wait().code(), Some(0));
    assert!(!is_alive(pid));
}

#[test]
fn a_second_signal_does_not_change_the_status() {
    let fake = Fake::new("trap '' TERM\ntouch \"$DIR/runs\"\nexec sleep 600");
    let mut exporter = Exporter::start(&[fake.flag()]);
    let mut running = Connection::open(exporter.port());
    running.send("/probe?target=127.0.0.1", &[]);
    wait_for("the fake to run", || fake.dir().join("runs").exists());
    exporter.signal("INT");
    exporter.log_line("shutting down");
    exporter.signal("TERM");
    assert_eq!(exporter.wait().code(), Some(0));
}

/// One probe that succeeds, one that fails, and refused requests.
fn make_every_kind_of_line(exporter: &Logged) {
    let good = "/probe?target=127.0.0.1:5301&period=1500ms&parallel=2&bitrate=10M%2F32&no_delay=1";
    assert_eq!(exporter.get(good), 200);
    assert_eq!(exporter.get("/probe?target=127.0.0.1:1"), 200);
    assert_eq!(exporter.get("/probe?target=-c"), 400);
    assert_eq!(exporter.get("/probe?target=elsewhere.example"), 403);
    assert_eq!(exporter.get("/nowhere"), 404);
}

/// The last line of a start.
const LAST_OF_START: &str = "temporary folder for iperf3";

fn fields(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn every_line_of_the_json_log_is_an_object_and_a_probe_line_has_the_details() {
    let fake = good_or_refused();
    let exporter = Logged::start(&[
        &fake.flag(),
        "--log.format=json",
        "--log.level=debug",
        "--probe.allow-target=127.0.0.1",
    ]);
    make_every_kind_of_line(&exporter);
    wait_for("both probes' lines", || {
        exporter.log().matches("\"probe\":").count() == 2
    });
    let log = exporter.log();
    let lines: Vec<Value> = log.lines().map(fields).collect();
    for line in &lines {
        let time = line["time"].as_str().unwrap();
        assert!(
            time.len() == 24 && time.starts_with("20") && time.ends_with('Z'),
            "{time}"
        );
        assert!(["debug", "info", "warn", "error"].contains(&line["level"].as_str().unwrap()));
        assert!(line["msg"].is_string());
    }
    let with = |message: &str| {
        let found: Vec<&Value> = lines.iter().filter(|line| line["msg"] == message).collect();
        found
    };
    let good = with("probe");
    assert_eq!(good.len(), 1);
    let good = good[0];
    for (key, value) in [
        ("level", "info"),
        ("target", "127.0.0.1"),
        ("period", "2s"),
        ("bitrate", "10M/32"),
        ("outcome", "success"),
    ] {
        assert_eq!(good[key].as_str(), Some(value), "{key}: {good}");
    }
    // Numbers and booleans keep their types.
    assert_eq!(
        (&good["port"], &good["parallel"], &good["no_delay"]),
        (&5301.into(), &2.into(), &true.into()),
        "{good}"
    );
    for key in ["reason", "reverse_mode", "udp_mode", "bind_address"] {
        assert!(good.get(key).is_none(), "{key} is at its default: {good}");
    }
    for key in ["seconds", "lock_wait_seconds"] {
        assert!(good[key].as_f64().unwrap() >= 0.0, "{good}");
    }
    // The received bytes of the recorded run: `sum_received` of the report.
    let report: Value = fields(&fs::read_to_string(good_report()).unwrap());
    let received = &report["end"]["sum_received"];
    let expected =
        received["bytes"].as_f64().unwrap() * 8.0 / received["seconds"].as_f64().unwrap();
    let rate = good["upload_bits_per_second"].as_f64().unwrap();
    assert!((rate - expected).abs() <= 1.0, "{rate} {expected}");

    // One failure is one line, which contains iperf3's message.
    let failed = with("iperf3 failed");
    assert_eq!(failed.len(), 1);
    let failed = failed[0];
    for (key, value) in [
        ("level", "warn"),
        ("target", "127.0.0.1"),
        ("outcome", "failure"),
        ("reason", "refused"),
        ("error", "unable to connect to server: Connection refused"),
    ] {
        assert_eq!(failed[key].as_str(), Some(value), "{key}: {failed}");
    }
    assert_eq!((&failed["probe"], &failed["port"]), (&2.into(), &1.into()));
    assert!(failed.get("upload_bits_per_second").is_none(), "{failed}");
    let refused = with("probe refused");
    let codes: Vec<&Value> = refused.iter().map(|line| &line["status"]).collect();
    assert_eq!(codes, [400, 403]);
    assert!(refused.iter().all(|line| line["level"] == "warn"));
}

#[test]
fn text_that_looks_like_a_number_is_a_string_in_the_json_log() {
    let fake = good_or_refused();
    let exporter = Logged::start(&[&fake.flag(), "--log.format=json"]);
    for path in [
        "/probe?target=5&port=5201-5203&dscp=46",
        "/probe?target=5&perioud=7",
    ] {
        exporter.get(path);
    }
    let log = exporter.log();
    let line = |message: &str| {
        let mut lines = log.lines().map(fields);
        lines.find(|line| line["msg"] == message).unwrap()
    };
    let probe = line("probe");
    for (key, value) in [("target", "5"), ("port", "5201-5203"), ("dscp", "46")] {
        assert_eq!(probe[key], value, "{probe}");
    }
    assert_eq!(probe["used_port"], 5201, "{probe}");
    let refused = line("probe refused");
    assert_eq!(
        (&refused["target"], &refused["status"]),
        (&"5".into(), &400.into())
    );
}

#[test]
fn a_probe_line_in_logfmt_has_the_details() {
    let fake = good_or_refused();
    let exporter = Exporter::start(&[fake.flag()]);
    let path = "/probe?target=127.0.0.1&port=5301&bind=127.0.0.1&reverse_mode=0";
    assert_eq!(exporter.get(path).code, 200);
    let line = exporter.log_line("msg=\"probe\"");
    for piece in [
        " level=info msg=\"probe\" probe=1 target=127.0.0.1 port=5301 bind_address=127.0.0.1 outcome=success \
         client=127.0.0.1:",
        " seconds=",
        " upload_bits_per_second=",
    ] {
        assert!(line.contains(piece), "{piece}: {line}");
    }
    assert!(!line.contains("reverse_mode"), "{line}");
    assert_eq!(exporter.get("/probe?target=127.0.0.1:1").code, 200);
    let line = exporter.log_line("outcome=failure");
    let start = " level=warn msg=\"iperf3 failed\" probe=2 target=127.0.0.1 port=1 outcome=failure reason=refused \
                 error=\"unable to connect to server: Connection refused\" client=127.0.0.1:";
    assert!(line.contains(start), "{line}");
    assert_eq!(exporter.log().matches(" probe=2 ").count(), 1);
    // The default port is logged too.
    assert_eq!(exporter.get("/probe?target=127.0.0.1").code, 200);
    exporter.log_line(" probe=3 target=127.0.0.1 port=5201 outcome=");
}

#[test]
fn the_level_drops_what_is_below_it() {
    const LEVELS: [&str; 4] = ["debug", "info", "warn", "error"];
    let fake = good_or_refused();
    for (rank, level) in LEVELS.iter().enumerate() {
        let exporter = Logged::start(&[
            &fake.flag(),
            &format!("--log.level={level}"),
            "--probe.allow-target=127.0.0.1",
        ]);
        make_every_kind_of_line(&exporter);
        // None of these writes a line at level error.
        let made = ["debug", "info", "warn"];
        let mut seen = Vec::new();
        // A probe is logged before its response, so all lines are there.
        for line in exporter.log().lines() {
            let word = line
                .split_once(" level=")
                .unwrap()
                .1
                .split(' ')
                .next()
                .unwrap();
            if !seen.iter().any(|known: &String| known == word) {
                seen.push(word.to_owned());
            }
        }
        seen.sort_unstable();
        let expected: Vec<&str> = made.iter().skip(rank).copied().collect();
        assert_eq!(seen, expected, "{level}");
    }
}

/// Characters that end a line for some reader, or that a terminal interprets.
fn breaks_a_line(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{85}')
}

#[test]
fn no_request_breaks_a_line_of_the_log_or_adds_one() {
    let fake = good_or_refused();
    for (format, start) in [("logfmt", "time="), ("json", "{\"time\":\"")] {
        let exporter = Logged::start(&[
            &fake.flag(),
            "--log.level=debug",
            &format!("--log.format={format}"),
            "--probe.allow-target=127.0.0.1",
        ]);
        wait_for("the last line of the start", || {
            exporter.log().contains(LAST_OF_START)
        });
        let before = exporter.log().lines().count();
        let hostile = [
            "/probe?target=a%0Atime=0%20level=error%20msg=forged",
            "/probe?target=a%0D%0Alevel=error",
            "/probe?target=%22%20level=error%20msg=%22forged",
            "/probe?target=a%22,%22level%22:%22error",
            "/probe?target=%1B%5B31mred",
            "/probe?target=%C2%85next",
            "/probe?target=%E2%80%A8next",
            "/probe?target=127.0.0.1&%0Aname%1B=1",
            "/probe?target=127.0.0.1&period=%0Aforged",
        ];
        for path in hostile {
            assert_eq!(exporter.get(path), 400, "{path}");
        }
        let log = exporter.log();
        // One line for the request and one for its refusal.
        assert_eq!(log.lines().count(), before + 2 * hostile.len(), "{log}");
        for line in log.lines() {
            assert!(line.starts_with(start), "{line:?}");
            assert!(!line.contains(breaks_a_line), "{line:?}");
            if format == "json" {
                assert_ne!(fields(line)["level"], "error", "{line}");
            }
        }
    }
}

#[test]
fn iperf3s_output_stays_on_one_line_of_bounded_length() {
    let endless = "x".repeat(100_000);
    let said =
        format!("first\\n\\u001b[31mlevel=error msg=forged\\r\\u0000\\u0085\\u2028\\\"{endless}");
    let json = TempDir::new();
    let text = json.write("said", &format!("{{\"error\":\"{said}\"}}"));
    let lines = format!("iperf3: error - \u{1b}[31m\0\r{endless}\nlevel=error\n");
    let stderr = json.write("stderr", &lines);
    let fake = Fake::new(&format!(
        "if [ \"$5\" = 1 ]; then cat '{}'; else cat '{}' >&2; fi; exit 1",
        text.display(),
        stderr.display()
    ));
    for (format, start) in [("logfmt", "time="), ("json", "{\"time\":\"")] {
        let exporter = Logged::start(&[&fake.flag(), &format!("--log.format={format}")]);
        for port in [1, 2] {
            assert_eq!(
                exporter.get(&format!("/probe?target=127.0.0.1:{port}")),
                200
            );
        }
        let log = exporter.log();
        assert_eq!(log.matches("iperf3 failed").count(), 2, "{log}");
        for line in log.lines() {
            assert!(line.starts_with(start), "{line:?}");
            assert!(!line.contains(breaks_a_line), "{line:?}");
            assert!(line.len() < 4096, "{} bytes", line.len());
        }
    }
}

#[test]
fn refused_requests_do_not_flood_the_log() {
    let fake = good_or_refused();
    let exporter = Exporter::start(&[fake.flag(), "--probe.allow-target=127.0.0.1".to_owned()]);
    exporter.log_line(LAST_OF_START);
    let before = exporter.log();
    let mut connection = Connection::open(exporter.port());
    for _ in 0..50 {
        assert_eq!(connection.get("/probe?target=a%20b").code, 400);
        assert_eq!(connection.get("/probe?target=other.example").code, 403);
        assert_eq!(connection.get("/nowhere").code, 404);
        assert_eq!(connection.get("/metrics").code, 200);
    }
    assert_eq!(connection.get("/probe?target=127.0.0.1").code, 200);
    exporter.log_line("msg=\"probe\"");
    let log = exporter.log();
    let lines: Vec<&str> = log[before.len()..].lines().collect();
    for status in [" status=400 ", " status=403 "] {
        let of_status = lines.iter().filter(|line| line.contains(status));
        let count = of_status.count();
        // The first one, and one from time to time.
        assert!((1..50).contains(&count), "{status}: {log}");
    }
    let is_known =
        |line: &&str| line.contains("msg=\"probe refused\"") || line.contains("msg=\"probe\"");
    assert!(lines.iter().all(is_known), "{log}");
}

/// The content of a pipe; waits when it is empty, and fails at the pipe's end.
fn read_some(reader: &mut PipeReader) -> String {
    let mut bytes = vec![0; 1 << 20];
    let length = reader.read(&mut bytes).unwrap();
    assert_ne!(length, 0, "the exporter has ended");
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

#[test]
fn an_unread_log_blocks_nothing_and_later_reports_the_lost_lines() {
    // A pipe has 64 KiB.
    const REQUESTS: usize = 100;
    let fake = good_or_refused();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut child = Guard(
        Command::new(env!("CARGO_BIN_EXE_iperf3-exporter"))
            .args(["--web.listen-address=127.0.0.1:0", "--log.level=debug"])
            .arg(fake.flag())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(writer)
            .spawn()
            .unwrap(),
    );
    let mut log = String::new();
    while !(log.contains("listening") && log.contains(LAST_OF_START)) {
        log += &read_some(&mut reader);
    }
    let address = log.split_once("msg=\"listening\" address=").unwrap().1;
    let address = address.lines().next().unwrap();
    let port = address.rsplit_once(':').unwrap().1.parse().unwrap();

    let path = format!("/nowhere-{}end", "x".repeat(3000));
    let ask = || assert_eq!(request(port, "GET", &path, &[]).code, 404);
    (0..REQUESTS).for_each(|_| ask());
    let mut log = read_some(&mut reader);
    // The request is logged before its response.
    ask();
    log += &read_some(&mut reader);
    let lost = log
        .split_once(
            "level=warn msg=\"log lines were lost because standard error was blocked\" lines=",
        )
        .unwrap_or_else(|| panic!("no report: {log}"))
        .1;
    let (lost, after) = lost.split_once('\n').unwrap();
    let lost: usize = lost.parse().unwrap();
    let is_whole = |line: &&str| {
        line.starts_with("time=") && line.contains(" path=/nowhere-") && line.ends_with("end")
    };
    assert_eq!(after.lines().filter(is_whole).count(), 1, "{after}");
    let whole = log.lines().filter(is_whole).count();
    assert!(whole > 1 && lost > 0);
    assert_eq!(whole + lost, REQUESTS + 1);

    (0..REQUESTS).for_each(|_| ask());
    let pid = child.0.id().to_string();
    let status = Command::new("kill").args(["-s", "TERM", &pid]).status();
    assert!(status.unwrap().success());
    let mut ended = None;
    wait_for("the exporter to end", || {
        ended = child.0.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().code(), Some(0));
}

#[test]
fn every_listen_address_answers() {
    let fake = good_or_refused();
    let exporter = Exporter::start(&[
        fake.flag().as_str(),
        "--web.listen-address=localhost:0",
        "--web.listen-address",
        "127.0.0.1:0",
    ]);
    let mut ports = Vec::new();
    wait_for("three listeners", || {
        let log = exporter.log();
        let lines = log.lines().filter_map(|line| line.split_once(" address="));
        ports = lines
            .map(|(_, address)| address.rsplit_once(':').unwrap().1.parse::<u16>().unwrap())
            .collect();
        ports.len() == 3
    });
    for port in ports {
        assert_eq!(request(port, "GET", "/ready", &[]).body, "OK\n");
    }
}

#[test]
fn port_listens_on_every_address_of_both_families() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iperf3-exporter"));
    command.arg("--port=0");
    let exporter = Exporter::spawn(command);
    assert_eq!(exporter.get("/ready").code, 200);
    if TcpListener::bind("[::1]:0").is_err() {
        return skipped(
            "port_listens_on_every_address_of_both_families",
            "this machine has no IPv6: only IPv4 was tested",
        );
    }
    TcpStream::connect(("::1", exporter.port())).unwrap();
    exporter.log_line(" address=[::]:");
}
