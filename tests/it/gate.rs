//! The gate: connections at one moment, limits, deadlines, shapes of requests, clients that go away.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    Connection, Exporter, Fake, Server, children, is_alive, lock_status, raw_request, wait_for,
};

/// A fake whose test lasts until somebody ends it.
fn endless() -> Fake {
    Fake::new("echo $$ >\"$DIR/draft-pid\"; mv \"$DIR/draft-pid\" \"$DIR/pid\"\nexec sleep 600")
}

fn connect(exporter: &Exporter) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", exporter.port())).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    stream
}

/// An exporter that may have so many open descriptors.
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

/// The port of the server behind the gate: it is in the kernel's table of listeners, for whoever looks.
fn behind(exporter: &Exporter) -> u16 {
    let (_, table) = crate::harness::run("ss", &["-Hltnp"], "");
    let pid = format!("pid={},", exporter.pid());
    let ports: Vec<u16> = table
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
        .filter(|port| *port != exporter.port())
        .collect();
    assert_eq!(ports.len(), 1, "{table}");
    ports[0]
}

/// Reads until the answers in `stream` hold `count` status lines.
fn read_answers(stream: &mut TcpStream, count: usize) -> String {
    let mut text = String::new();
    let mut chunk = [0; 4096];
    while text.matches("HTTP/1.1 ").count() < count || !text.ends_with('\n') {
        let length = stream.read(&mut chunk).unwrap();
        assert!(length > 0, "the connection ended: {text}");
        text.push_str(&String::from_utf8_lossy(&chunk[..length]));
    }
    text
}

/// A fresh `/health` is answered, and how long that took.
fn health_takes(exporter: &Exporter) -> Duration {
    let begun = Instant::now();
    assert_eq!(exporter.get("/health").code, 200);
    begun.elapsed()
}

/// What the contract gives a fresh `/health` during an attack, and as much again for a busy machine.
const HEALTH_LIMIT: Duration = Duration::from_secs(2);

fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count()
}

fn threads(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .count()
}

#[test]
fn connections_opened_at_one_moment_and_kept_are_all_answered() {
    let exporter = Exporter::start::<&str>(&[]);
    for burst in [8, 32, 128] {
        let mut streams: Vec<TcpStream> = (0..burst).map(|_| connect(&exporter)).collect();
        for stream in &mut streams {
            stream
                .write_all(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
                .unwrap();
        }
        // Each is kept open while the others wait: an answer that needs another one's end never comes.
        for stream in &mut streams {
            assert!(
                read_answers(stream, 1).starts_with("HTTP/1.1 200 OK"),
                "burst of {burst}"
            );
        }
    }
}

#[test]
fn a_client_that_goes_away_ends_its_running_and_its_waiting_probe() {
    let fake = endless();
    let exporter = Exporter::start(&[fake.flag(), "--iperf3.timeout=25h".to_owned()]);
    let mut watch = Connection::open(exporter.port());
    let mut running = connect(&exporter);
    running
        .write_all(b"GET /probe?target=127.0.0.1:1 HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    wait_for("the test to run", || fake.dir().join("pid").exists());
    let pid: u32 = std::fs::read_to_string(fake.dir().join("pid"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
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
    // The second one in line leaves; what it sent ahead does not hide that.
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
    // The running one's client closes its sending half only, which ends it as well.
    running.shutdown(Shutdown::Write).unwrap();
    wait_for("the child to be gone", || !is_alive(pid));
    wait_for("the next one to run", || {
        lock_status(&mut watch)["locked_by"] == "127.0.0.1:2"
    });
    drop(waiting);
    wait_for("everybody to be gone", || {
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
fn the_connection_that_waited_longest_makes_room_and_none_with_a_request_does() {
    let fake = endless();
    // Descriptors for four connections.
    let exporter = with_descriptors(48, &["--log.level=debug", &fake.flag()]);
    let mut probe = connect(&exporter);
    probe
        .write_all(b"GET /probe?target=127.0.0.1 HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    wait_for("the test to run", || fake.dir().join("pid").exists());
    let mut idle: Vec<TcpStream> = (0..3)
        .map(|_| {
            let mut stream = connect(&exporter);
            stream
                .write_all(b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n")
                .unwrap();
            read_answers(&mut stream, 1);
            stream
        })
        .collect();
    assert_eq!(exporter.get("/health").code, 200);
    // The first of the idle ones was closed, and nobody else.
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
    // With a request on every connection there is no room.
    wait_for("the idle ones to be gone", || {
        exporter.metric("iperf3_exporter_connections") == 2.0
    });
    let mut more: Vec<TcpStream> = Vec::new();
    for _ in 0..3 {
        let mut stream = connect(&exporter);
        stream
            .write_all(b"GET /probe?target=127.0.0.1 HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        // Until its head is read it could make room itself.
        exporter.log_line(&format!(
            "client={} method=GET",
            stream.local_addr().unwrap()
        ));
        more.push(stream);
    }
    let reply = exporter.get("/health");
    assert_eq!(
        (reply.code, reply.body.as_str()),
        (503, "too many connections, try again later\n")
    );
    assert!(reply.header("Retry-After").is_some());
    // The probe was not disturbed by any of it.
    probe.set_nonblocking(true).unwrap();
    assert_eq!(
        probe.read(&mut [0; 1]).unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock
    );
}

#[test]
fn requests_sent_ahead_are_answered_in_their_order_one_at_a_time() {
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
    assert!(answers.ends_with("\"queue\":[]}\n"), "{answers}");
    // Two thousand at once from each of eight clients do not make a thread each.
    let mut flood: Vec<TcpStream> = (0..8).map(|_| connect(&exporter)).collect();
    let many = b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2000);
    thread::scope(|scope| {
        for stream in &mut flood {
            let many = &many;
            scope.spawn(move || {
                let mut writer = stream.try_clone().unwrap();
                let writing = scope.spawn(move || writer.write_all(many).unwrap());
                read_answers(stream, 2000);
                writing.join().unwrap();
            });
        }
        assert!(threads(exporter.pid()) < 60, "{}", threads(exporter.pid()));
    });
}

#[test]
fn what_could_be_read_in_two_ways_or_has_a_body_is_refused_and_ends_the_connection() {
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
        // What stands behind it is never taken for a request.
        assert_eq!(
            reply.body.matches("HTTP/1.1").count(),
            0,
            "{shown:?}: {}",
            reply.body
        );
        assert_eq!(reply.body.lines().count(), 1, "{shown:?}");
        assert_eq!(reply.header("Connection"), Some("close"), "{shown:?}");
    }
    assert_eq!(
        exporter.metric("iperf3_exporter_connections_closed_total{cause=\"bad_request\"}"),
        17.0
    );
}

#[test]
fn stalled_idle_and_deaf_clients_do_not_keep_others_out() {
    let exporter = Exporter::start::<&str>(&[]);
    let (threads_before, descriptors_before) =
        (threads(exporter.pid()), descriptors(exporter.pid()));
    // More than there is room for: heads that never end, connections that say nothing, clients that never read.
    let mut held = Vec::new();
    for number in 0..600 {
        let mut stream = connect(&exporter);
        match number % 3 {
            0 => {}
            1 => stream.write_all(b"GET /metrics HTTP/1.1\r\nHost:").unwrap(),
            _ => {
                let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
            }
        }
        held.push(stream);
        if number % 100 == 99 {
            assert!(health_takes(&exporter) < HEALTH_LIMIT);
        }
    }
    assert!(exporter.metric("iperf3_exporter_connections") <= 256.0);
    drop(held);
    for _ in 0..2000 {
        drop(connect(&exporter));
    }
    assert!(health_takes(&exporter) < HEALTH_LIMIT);
    // Workers that wait for the next request go after ten seconds.
    wait_for("threads and descriptors to be what they were", || {
        threads(exporter.pid()) <= threads_before + 6
            && descriptors(exporter.pid()) <= descriptors_before + 40
    });
}

#[test]
fn a_head_that_trickles_is_given_up() {
    let exporter = Exporter::start::<&str>(&[]);
    let mut stream = connect(&exporter);
    stream
        .write_all(b"GET /ready HTTP/1.1\r\nHost: a\r\n")
        .unwrap();
    let mut writer = stream.try_clone().unwrap();
    let trickle = thread::spawn(move || {
        // Until the gate has had enough.
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
fn few_descriptors_lower_the_number_of_connections_and_never_the_service() {
    let server = Server::start();
    let exporter = with_descriptors(64, &[]);
    let held: Vec<TcpStream> = (0..200).map(|_| connect(&exporter)).collect();
    assert!(health_takes(&exporter) < HEALTH_LIMIT);
    let reply = exporter.get(&format!("/probe?target={}&period=1", server.target()));
    assert_eq!(reply.family("iperf3_up"), Some(1.0));
    assert!(exporter.metric("iperf3_exporter_connections") <= 8.0);
    assert_eq!(exporter.metric("process_max_fds"), 64.0);
    drop(held);
}

#[test]
fn nobody_reaches_the_server_behind_the_gate() {
    let exporter = Exporter::start::<&str>(&[]);
    assert_eq!(exporter.get("/health").code, 200);
    let mut stream = TcpStream::connect(("127.0.0.1", behind(&exporter))).unwrap();
    stream
        .write_all(
            b"GET /probe?target=127.0.0.1 HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n",
        )
        .unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(
        exporter.metric("iperf3_exporter_duration_seconds_count"),
        0.0
    );
}

#[test]
fn a_server_behind_the_gate_that_is_gone_ends_the_process_rather_than_live_on_deaf() {
    let mut exporter = with_descriptors(64, &[]);
    let port = behind(&exporter);
    // What only a user of this machine can do: take every descriptor there, until tiny_http gives up.
    let mut held = Vec::new();
    wait_for("the server to be gone", || {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => {
                held.push(stream);
                false
            }
            Err(_) => true,
        }
    });
    drop(held);
    let status = loop {
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
        if clients.is_empty() {
            break exporter.wait();
        }
    };
    assert_eq!(status.code(), Some(1), "{}", exporter.log());
    assert!(
        exporter.log().contains("msg=\"the server stopped\""),
        "{}",
        exporter.log()
    );
}

#[test]
fn a_burst_over_the_limit_gets_an_answer_each() {
    let fake = endless();
    let exporter = Exporter::start(&[fake.flag(), "--lock.timeout=1s".to_owned()]);
    let mut streams: Vec<TcpStream> = (0..300)
        .map(|number| {
            let mut stream = connect(&exporter);
            let request = format!(
                "GET /probe?target=127.0.0.1:{} HTTP/1.1\r\nHost: a\r\nX-Prometheus-Scrape-Timeout-Seconds: 8\r\n\r\n",
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
