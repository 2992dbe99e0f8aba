//! The front end: simultaneous connections, limits, deadlines, forms of requests, clients that disconnect.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::harness::{
    self, Connection, Exporter, Fake, Server, TempDir, children, is_alive, is_asleep,
    listening_ports, lock_status, raw_request, wait_for,
};

fn connect(exporter: &Exporter) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", exporter.port())).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    stream
}

/// An exporter that may have this many open descriptors.
fn with_descriptors(limit: u32, flags: &[&str]) -> Exporter {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", &format!("ulimit -n {limit}; exec \"$0\" \"$@\"")])
        .args([
            env!("CARGO_BIN_EXE_iperf3-exporter"),
            "--web.listen-address=127.0.0.1:0",
        ])
        .args(flags);
    Exporter::spawn(command)
}

/// The descriptor by which the front end finds the server behind it, and the former name of its socket. Its user can
/// reach it through `/proc`, which the tests use; root can too.
fn behind(exporter: &Exporter) -> (PathBuf, PathBuf) {
    std::fs::read_dir(format!("/proc/{}/fd", exporter.pid()))
        .unwrap()
        .find_map(|entry| {
            let descriptor = entry.unwrap().path();
            let name = std::fs::read_link(&descriptor).ok()?;
            let text = name.to_str()?;
            let is_it = text.contains("/iperf3-exporter-") && text.ends_with("/s (deleted)");
            is_it.then_some((descriptor, name))
        })
        .expect("a private socket")
}

/// The response of the server behind the front end to a direct request: whatever key the request has, the front end has
/// not issued it.
fn assert_no_answer(mut stream: impl Read + Write) {
    let mut text = String::new();
    for key in 0..100 {
        text.push_str(&format!(
            "GET /probe?target=127.0.0.1 HTTP/1.1\r\nHost: front-end\r\nX-Request-Key: {key}\r\n\r\n"
        ));
    }
    text.push_str("GET /metrics HTTP/1.1\r\nHost: front-end\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
}

/// Reads until the responses in `stream` contain `count` status lines.
fn read_answers(stream: &mut TcpStream, count: usize) -> String {
    const BEGIN: &str = "HTTP/1.1 ";
    let mut text = String::new();
    let mut chunk = [0; 4096];
    let mut found = 0;
    while found < count || !text.ends_with('\n') {
        let length = stream.read(&mut chunk).unwrap();
        assert!(length > 0, "the connection ended: {text}");
        // A status line may have begun in the earlier bytes; of thousands, not all are searched each time.
        let from = text.len().saturating_sub(BEGIN.len() - 1);
        text.push_str(&String::from_utf8_lossy(&chunk[..length]));
        found += text[from..].matches(BEGIN).count();
    }
    text
}

fn threads(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .count()
}

#[test]
fn connections_opened_at_the_same_time_and_kept_open_are_all_answered() {
    let exporter = Exporter::start::<&str>(&[]);
    for burst in [8, 32, 128] {
        let mut streams: Vec<TcpStream> = (0..burst).map(|_| connect(&exporter)).collect();
        for stream in &mut streams {
            stream
                .write_all(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
                .unwrap();
        }
        // Each connection stays open while the others wait: a response that needs another connection to end would never
        // come.
        for stream in &mut streams {
            assert!(
                read_answers(stream, 1).starts_with("HTTP/1.1 200 OK"),
                "burst of {burst}"
            );
        }
    }
}

#[test]
fn a_client_disconnect_ends_its_running_and_its_waiting_probe() {
    let fake = Fake::endless();
    let exporter = Exporter::start(&[fake.flag(), "--iperf3.timeout=25h".to_owned()]);
    let mut watch = Connection::open(exporter.port());
    let mut running = connect(&exporter);
    running
        .write_all(b"GET /probe?target=127.0.0.1:1 HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let pid = fake.pid();
    let mut waiting: Vec<TcpStream> = Vec::new();
    for port in 2..5 {
        let mut stream = connect(&exporter);
        let request = format!("GET /probe?target=127.0.0.1:{port} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        waiting.push(stream);
        wait_for("the probe to wait", || {
            lock_status(&mut watch)["queue_size"] == waiting.len()
        });
    }
    // The second waiting probe's client disconnects; its pipelined request does not hide that.
    let mut second = waiting.remove(1);
    second
        .write_all(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    drop(second);
    wait_for("it to leave the queue", || {
        lock_status(&mut watch)["queue_size"] == 2
    });
    let status = lock_status(&mut watch);
    assert_eq!(status["queue"][0]["requester"], "127.0.0.1:2");
    assert_eq!(status["queue"][1]["requester"], "127.0.0.1:4");
    // The running probe's client closes its sending half only, which ends the probe as well.
    running.shutdown(Shutdown::Write).unwrap();
    wait_for("the child to be gone", || !is_alive(pid));
    // It gets its response, after which the connection ends.
    let mut answer = String::new();
    running.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    wait_for("the next one to run", || {
        lock_status(&mut watch)["locked_by"] == "127.0.0.1:2"
    });
    drop(waiting);
    wait_for("all probes to be gone", || {
        let status = lock_status(&mut watch);
        status["is_locked"] == false && status["queue_size"] == 0
    });
    assert!(children(exporter.pid()).is_empty());
    let cancelled = "iperf3_exporter_probes_total{outcome=\"cancelled\"}";
    wait_for("all to be counted", || exporter.metric(cancelled) == 4.0);
    let hung_up = "iperf3_exporter_connections_closed_total{cause=\"hung_up\"}";
    wait_for("the connections to be counted", || {
        exporter.metric(hung_up) == 4.0
    });
}

#[test]
fn a_client_that_closes_its_sending_half_still_gets_a_page() {
    let exporter = Exporter::start::<&str>(&[]);
    for _ in 0..50 {
        let mut stream = connect(&exporter);
        stream.write_all(b"GET /health HTTP/1.0\r\n\r\n").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer:?}");
    }
}

#[test]
fn only_the_longest_idle_connection_is_closed_to_make_room() {
    let fake = Fake::endless();
    // Descriptors for four connections.
    let exporter = with_descriptors(49, &["--log.level=debug", &fake.flag()]);
    let mut probe = connect(&exporter);
    probe
        .write_all(b"GET /probe?target=127.0.0.1 HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    wait_for("the test to run", || fake.runs());
    let mut idle: Vec<TcpStream> = (0..3)
        .map(|_| {
            let mut stream = connect(&exporter);
            stream
                .write_all(b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n")
                .unwrap();
            read_answers(&mut stream, 1);
            // A thread may send its response and note only later since when its connection is idle.
            wait_for("the exporter to note that the connection is idle", || {
                is_asleep(exporter.pid())
            });
            stream
        })
        .collect();
    assert_eq!(exporter.get("/health").code, 200);
    // The longest-idle connection was closed, and no other.
    assert_eq!(idle[0].read(&mut [0; 1]).unwrap(), 0);
    for stream in &mut idle[1..] {
        stream
            .write_all(b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        read_answers(stream, 1);
    }
    assert_eq!(
        exporter.metric("iperf3_exporter_connections_closed_total{cause=\"made_room\"}"),
        1.0
    );
    drop(idle);
    // Half of these few connections are reserved for pages, however many probes there are.
    wait_for("the idle ones to be gone", || {
        exporter.metric("iperf3_exporter_connections") == 2.0
    });
    let mut second = connect(&exporter);
    second
        .write_all(b"GET /probe?target=127.0.0.1 HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    exporter.log_line(&format!(
        "client={} method=GET",
        second.local_addr().unwrap()
    ));
    let reply = exporter.get("/probe?target=127.0.0.1");
    assert_eq!(
        (reply.code, reply.body.as_str()),
        (503, "too many probes are queued, try again later\n")
    );
    assert!(reply.header("Retry-After").is_some());
    assert_eq!(exporter.get("/health").code, 200);
    // None of this disturbed the probe.
    probe.set_nonblocking(true).unwrap();
    assert_eq!(
        probe.read(&mut [0; 1]).unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock
    );
}

#[test]
fn pipelined_requests_are_answered_in_order_one_at_a_time() {
    let exporter = Exporter::start::<&str>(&[]);
    let mut stream = connect(&exporter);
    let mut text = Vec::new();
    for path in ["/ready", "/nowhere", "/health", "/lock-status"] {
        text.extend(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes());
    }
    stream.write_all(&text).unwrap();
    let answers = read_answers(&mut stream, 4);
    let codes: Vec<&str> = answers
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|answer| &answer[..3])
        .collect();
    assert_eq!(codes, ["200", "404", "200", "200"]);
    assert!(answers.ends_with("\"stopping\":null}\n"), "{answers}");
}

#[test]
fn many_pipelined_requests_do_not_start_a_thread_each() {
    flood_of_requests_sent_ahead(200);
}

#[test]
#[ignore = "make test-all: the same with two thousand from each client"]
fn two_thousand_pipelined_requests_do_not_start_a_thread_each() {
    flood_of_requests_sent_ahead(2000);
}

/// This many pipelined requests from each of eight clients.
fn flood_of_requests_sent_ahead(count: usize) {
    let exporter = Exporter::start::<&str>(&[]);
    let mut flood: Vec<TcpStream> = (0..8).map(|_| connect(&exporter)).collect();
    let many = b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n".repeat(count);
    thread::scope(|scope| {
        let clients: Vec<_> = flood
            .iter_mut()
            .map(|stream| {
                let mut writer = stream.try_clone().unwrap();
                let many = &many;
                // Writes while the responses are read: the buffers of both directions are too small for all of them.
                scope.spawn(move || writer.write_all(many).unwrap());
                scope.spawn(move || read_answers(stream, count))
            })
            .collect();
        while !clients.iter().all(thread::ScopedJoinHandle::is_finished) {
            assert!(threads(exporter.pid()) < 60, "{}", threads(exporter.pid()));
            thread::sleep(Duration::from_millis(5));
        }
        for client in clients {
            let answers = client.join().unwrap();
            assert_eq!(answers.matches("HTTP/1.1 200 ").count(), count);
        }
    });
}

#[test]
fn an_ambiguous_request_or_one_with_a_body_is_refused_and_ends_the_connection() {
    let exporter = Exporter::start::<&str>(&[]);
    let big = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
        "x".repeat(1_000_000)
    );
    let many = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
        "A: b\r\n".repeat(10_000)
    );
    let after = "GET /ready HTTP/1.1\r\nHost: a\r\n\r\n";
    for (head, code) in [
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            413,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            413,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
            413,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 4\r\n\r\n",
            400,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
            400,
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n X: folded\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: a\n\n\r\n\r\n", 400),
        ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}", 400),
        ("\r\n\r\n", 400),
        (big.as_str(), 431),
        (many.as_str(), 431),
    ] {
        let bytes = format!("{head}{after}");
        let shown: String = head.chars().take(60).collect();
        let reply = raw_request(exporter.port(), bytes.as_bytes())
            .unwrap_or_else(|| panic!("no answer to {shown:?}"));
        assert_eq!(reply.code, code, "{shown:?}");
        // The bytes after it are never parsed as a request.
        assert_eq!(
            reply.body.matches("HTTP/1.1").count(),
            0,
            "{shown:?}: {}",
            reply.body
        );
        assert_eq!(reply.body.lines().count(), 1, "{shown:?}");
        assert_eq!(reply.header("Connection"), Some("close"), "{shown:?}");
    }
    // A connection is counted once its thread has noticed the client's end, a moment after the client got the response.
    let refused = "iperf3_exporter_connections_closed_total{cause=\"bad_request\"}";
    wait_for("all to be counted", || exporter.metric(refused) == 17.0);
}

/// The only time limit for which a test waits: the front end's unit tests show in milliseconds that each limit takes
/// effect.
#[test]
fn a_slowly_sent_head_times_out() {
    let exporter = Exporter::start::<&str>(&[]);
    let mut stream = connect(&exporter);
    stream
        .write_all(b"GET /ready HTTP/1.1\r\nHost: a\r\n")
        .unwrap();
    let mut writer = stream.try_clone().unwrap();
    let trickle = thread::spawn(move || {
        // Until the front end closes the connection.
        while writer.write_all(b"X: y\r\n").is_ok() {
            thread::sleep(Duration::from_millis(300));
        }
    });
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    drop(stream);
    trickle.join().unwrap();
    assert_eq!(
        exporter.metric("iperf3_exporter_connections_closed_total{cause=\"slow_head\"}"),
        1.0
    );
}

#[test]
fn few_descriptors_lower_the_number_of_connections_and_not_the_service() {
    let server = Server::start();
    let exporter = with_descriptors(64, &[]);
    let held: Vec<TcpStream> = (0..200).map(|_| connect(&exporter)).collect();
    assert_eq!(exporter.get("/health").code, 200);
    let reply = exporter.get(&format!("/probe?target={}&period=1", server.target()));
    assert_eq!(reply.family("iperf3_up"), Some(1.0));
    assert!(exporter.metric("iperf3_exporter_connections") <= 8.0);
    assert_eq!(exporter.metric("process_max_fds"), 64.0);
    drop(held);
}

#[test]
fn the_server_behind_the_front_end_has_no_port_and_leaves_no_file() {
    let folder = TempDir::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_iperf3-exporter"));
    command
        .arg("--web.listen-address=127.0.0.1:0")
        .env_remove("RUNTIME_DIRECTORY")
        .env("TMPDIR", folder.path());
    let exporter = Exporter::spawn(command);
    assert_eq!(exporter.get("/health").code, 200);
    assert_eq!(listening_ports(exporter.pid()), [exporter.port()]);
    let (descriptor, name) = behind(&exporter);
    assert!(name.starts_with(folder.path()), "{}", name.display());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    // It has no name in the abstract namespace either, to which every user could connect.
    let names = std::fs::read_to_string(format!("/proc/{}/net/unix", exporter.pid())).unwrap();
    assert!(!names.contains("@iperf3"), "{names}");
    // A client that reaches it anyway learns nothing and starts nothing.
    assert_no_answer(UnixStream::connect(descriptor).unwrap());
    assert_eq!(
        exporter.metric("iperf3_exporter_duration_seconds_count"),
        0.0
    );
}

#[test]
fn a_client_cannot_send_the_key_of_a_request() {
    let exporter = Exporter::start::<&str>(&[]);
    for headers in [
        &[("X-Request-Key", "1")][..],
        &[("x-request-key", ""), ("X-REQUEST-KEY", "2")][..],
    ] {
        assert_eq!(exporter.request("GET", "/health", headers).code, 200);
    }
}

#[test]
fn without_proc_the_private_socket_has_a_name_that_only_this_user_can_reach() {
    let test = "without_proc_the_private_socket_has_a_name_that_only_this_user_can_reach";
    let works = ["-rm", "mount", "-t", "tmpfs", "none", "/proc"];
    if !harness::has("unshare", test) || !harness::run("unshare", &works, "").0 {
        harness::skipped(test, "mount namespaces are not available here");
        return;
    }
    let folder = TempDir::new();
    // The unnamed socket is found through /proc, which is empty there.
    let mut command = Command::new("unshare");
    command
        .args([
            "-rm",
            "sh",
            "-c",
            "mount -t tmpfs none /proc && exec \"$0\" \"$@\"",
            env!("CARGO_BIN_EXE_iperf3-exporter"),
            "--web.listen-address=127.0.0.1:0",
        ])
        .env_remove("RUNTIME_DIRECTORY")
        .env("TMPDIR", folder.path());
    let mut exporter = Exporter::spawn(command);
    assert_eq!(exporter.get("/health").code, 200);
    assert_eq!(listening_ports(exporter.pid()), [exporter.port()]);
    let entries = || std::fs::read_dir(folder.path()).unwrap();
    let own = entries().next().expect("a folder").unwrap();
    assert_eq!(own.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    assert_no_answer(UnixStream::connect(own.path().join("s")).unwrap());
    assert_eq!(
        exporter.metric("iperf3_exporter_duration_seconds_count"),
        0.0
    );
    exporter.signal("TERM");
    assert_eq!(exporter.wait().code(), Some(0));
    assert_eq!(entries().count(), 0);
}

#[test]
fn the_process_ends_when_the_server_behind_the_front_end_is_gone() {
    let mut exporter = with_descriptors(64, &[]);
    let (descriptor, _) = behind(&exporter);
    // Only the exporter's own user can do this: take every descriptor there until tiny_http gives up.
    let mut held = Vec::new();
    wait_for("the server to be gone", || {
        match UnixStream::connect(&descriptor) {
            Ok(stream) => {
                held.push(stream);
                false
            }
            Err(_) => true,
        }
    });
    drop(held);
    wait_for("the exporter to take no connection", || {
        // Two requests at a time: one of them needs a new connection to the server.
        let clients: Vec<_> = (0..4)
            .filter_map(|_| {
                let mut stream = TcpStream::connect(("127.0.0.1", exporter.port())).ok()?;
                stream
                    .write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
                    .ok()?;
                Some(stream)
            })
            .collect();
        clients.is_empty()
    });
    assert_eq!(exporter.wait().code(), Some(1), "{}", exporter.log());
    exporter.log_line("msg=\"the server stopped\"");
}

#[test]
fn each_request_of_a_burst_over_the_limit_gets_a_response() {
    burst_over_the_limit(48, &["--web.max-connections=32"]);
}

#[test]
#[ignore = "make test-all: the same with the default number of connections"]
fn each_of_300_requests_over_the_default_limit_gets_a_response() {
    burst_over_the_limit(300, &[]);
}

/// This many simultaneous probes, whose test does not end before they give up.
fn burst_over_the_limit(probes: u16, flags: &[&str]) {
    let fake = Fake::endless();
    let own = fake.flag();
    let exporter = Exporter::start(&[&[own.as_str(), "--lock.timeout=1s"], flags].concat());
    let mut streams: Vec<TcpStream> = (0..probes)
        .map(|number| {
            let mut stream = connect(&exporter);
            let request = format!(
                "GET /probe?target=127.0.0.1:{} HTTP/1.1\r\nHost: a\r\nX-Prometheus-Scrape-Timeout-Seconds: 3\r\n\r\n",
                number + 1
            );
            let _ = stream.write_all(request.as_bytes());
            stream
        })
        .collect();
    for stream in &mut streams {
        let mut first = [0; 12];
        stream.read_exact(&mut first).expect("an answer");
        let first = String::from_utf8_lossy(&first).into_owned();
        assert!(
            first == "HTTP/1.1 200" || first == "HTTP/1.1 503",
            "{first}"
        );
    }
}

#[test]
fn a_shutdown_accepts_no_new_connection_and_leaves_no_child() {
    // A fake that ignores SIGTERM, so that the shutdown takes its half second.
    let fake = Fake::stubborn();
    let mut exporter = Exporter::start(&[fake.flag()]);
    let mut running = Connection::open(exporter.port());
    running.send(
        "/probe?target=a",
        &[("X-Prometheus-Scrape-Timeout-Seconds", "120")],
    );
    let pid = fake.pid();
    let mut waiting = Connection::open(exporter.port());
    waiting.send("/probe?target=b", &[]);
    let mut idle: Vec<Connection> = (0..50).map(|_| Connection::open(exporter.port())).collect();
    assert!(idle.iter_mut().all(|one| one.get("/ready").code == 200));
    wait_for("a probe to wait", || {
        lock_status(&mut idle[0])["queue_size"] == 1
    });
    exporter.signal("TERM");
    exporter.log_line("shutting down");
    wait_for("the port to be closed", || {
        TcpStream::connect(("127.0.0.1", exporter.port())).is_err()
    });
    assert_eq!(waiting.reply().code, 503);
    assert!(exporter.wait().success());
    wait_for("iperf3 to be gone", || !is_alive(pid));
}

#[test]
fn an_ipv4_client_has_its_plain_address_everywhere() {
    let fake = Fake::until_go();
    let mut command = Command::new(env!("CARGO_BIN_EXE_iperf3-exporter"));
    // Listens on both families: there the system maps such an address to IPv6.
    command
        .args(["--port=0", "--log.level=debug"])
        .arg(fake.flag());
    let exporter = Exporter::spawn(command);
    assert_eq!(exporter.get("/probe?target=a%20b").code, 400);
    let mut running = Connection::open(exporter.port());
    running.send("/probe?target=127.0.0.1&debug=true", &[]);
    wait_for("the test to run", || fake.runs());
    let status = exporter.get("/lock-status").body;
    let now = exporter.get("/probes/1").body;
    fake.go();
    let debug = running.reply().body;
    for path in ["/", "/probes/1"] {
        let page = exporter.get(path).body;
        assert!(page.contains("127.0.0.1"), "{path}: {page}");
        assert!(!page.contains("::ffff:"), "{path}: {page}");
    }
    assert!(
        now.contains("<dt>Requested by</dt><dd>127.0.0.1</dd>"),
        "{now}"
    );
    exporter.log_line(" client=127.0.0.1:");
    for text in [now, status, debug, exporter.log()] {
        assert!(!text.contains("::ffff:"), "{text}");
    }
}
