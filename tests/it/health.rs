//! `--health=URL`: its output for exporters that are healthy, unhealthy, protected or absent, and for other servers.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use crate::harness::{ClosedPort, Exporter, Fake};
use crate::pki::{HASH, Pki, SERVER};

/// Runs the check on a URL: the exit code, and standard output followed by standard error.
fn ask(url: &str) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_iperf3-exporter"))
        .arg(format!("--health={url}"))
        .output()
        .unwrap();
    let text =
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert_eq!(output.status.success(), text.starts_with("OK"), "{text}");
    (output.status.code().unwrap(), text)
}

fn assert_alive(url: &str, line: &str) {
    assert_eq!(ask(url), (0, format!("{line}\n")));
}

fn assert_not_alive(url: &str, why: &str) {
    let line = format!("iperf3-exporter: error: {url}: {why}\n");
    assert_eq!(ask(url), (1, line));
}

/// A server that calls `serve` on each connection once the request has arrived, and keeps it open until the client
/// disconnects.
fn serve(serve: impl Fn(&mut TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
                head.push(byte[0]);
            }
            serve(&mut stream);
            let _ = stream.read(&mut byte);
        }
    });
    format!("http://127.0.0.1:{port}")
}

/// Sends a complete response and then ends the connection, as the request asks.
fn say(stream: &mut TcpStream, answer: &[u8]) {
    let _ = stream.write_all(answer);
    let _ = stream.shutdown(Shutdown::Write);
}

#[test]
fn a_healthy_exporter_passes_the_check() {
    let exporter = Exporter::start::<&str>(&[]);
    let port = exporter.port();
    for url in [
        format!("http://127.0.0.1:{port}"),
        format!("http://127.0.0.1:{port}/health"),
        format!("http://127.0.0.1:{port}/-/ready"),
        // The name's first address may be IPv6, where nothing listens.
        format!("http://localhost:{port}/health"),
    ] {
        assert_alive(&url, "OK");
    }
    let asked = "iperf3_exporter_http_requests_total{path=\"/health\",code=\"200\"}";
    assert_eq!(exporter.metric(asked), 3.0);
    assert_not_alive(
        &format!("http://127.0.0.1:{port}/nowhere"),
        "the response was 404 Not Found: no such page, see /",
    );
}

#[test]
fn an_exporter_without_iperf3_fails_the_check_with_its_reason() {
    let exporter = Exporter::start(&["--iperf3.path=/nowhere/iperf3"]);
    let url = format!("http://127.0.0.1:{}/health", exporter.port());
    let reply = exporter.get("/health");
    assert!(reply.body.contains("/nowhere/iperf3"), "{}", reply.body);
    let line = reply.body.trim_end();
    assert_not_alive(
        &url,
        &format!("the response was 503 Service Unavailable: {line}"),
    );
    // It recovers without a restart of the exporter, and fails again.
    let fake = Fake::new("exit 1");
    let exporter = Exporter::start(&[fake.flag()]);
    let url = format!("http://127.0.0.1:{}/health", exporter.port());
    assert_alive(&url, "OK");
    let path = fake.dir().join("iperf3");
    std::fs::rename(&path, fake.dir().join("gone")).unwrap();
    let (code, said) = ask(&url);
    assert!(
        code == 1 && said.contains(" the response was 503 "),
        "{said}"
    );
    std::fs::rename(fake.dir().join("gone"), &path).unwrap();
    assert_alive(&url, "OK");
}

#[test]
fn a_demand_for_tls_or_a_password_and_a_rate_limit_pass_the_check() {
    let pki = Pki::new();
    let exporter = Exporter::start(&[pki.web(SERVER)]);
    let url = format!("http://127.0.0.1:{}/health", exporter.port());
    assert_alive(&url, "OK: the exporter demands TLS");

    let users = pki.write(
        "users.yml",
        &format!("basic_auth_users:\n  alice: {HASH}\n"),
    );
    let exporter = Exporter::start(&[format!("--web.config.file={users}")]);
    let url = format!("http://127.0.0.1:{}/health", exporter.port());
    assert_alive(&url, "OK: the exporter demands credentials");

    let limit = pki.write("limit.yml", "rate_limit:\n  interval: 1h\n  burst: 1\n");
    let exporter = Exporter::start(&[format!("--web.config.file={limit}")]);
    let url = format!("http://127.0.0.1:{}/health", exporter.port());
    assert_alive(&url, "OK");
    assert_alive(&url, "OK: the exporter limits the request rate");
}

#[test]
fn a_server_that_cannot_be_reached_fails_the_check() {
    let closed = ClosedPort::new();
    let port = closed.port;
    let refused = "Connection refused (os error 111)";
    assert_not_alive(
        &format!("http://127.0.0.1:{port}/health"),
        &format!("cannot connect to 127.0.0.1:{port}: {refused}"),
    );
    // This name is an error in every resolver (RFC 6761 section 6.4), and also without a resolver.
    let (code, said) = ask("http://exporter.invalid:9579/health");
    let told = "http://exporter.invalid:9579/health: ";
    assert!(code == 1 && said.contains(told), "{said}");
    // One server accepts and never answers, one starts an answer; the time limit ends both.
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = silent.local_addr().unwrap().port();
    thread::scope(|scope| {
        for url in [
            format!("http://127.0.0.1:{port}"),
            serve(|stream| drop(stream.write_all(b"HTTP/1.1 200 OK\r\nA: b\r\n"))),
        ] {
            scope.spawn(move || assert_not_alive(&url, "no complete response within 5s"));
        }
    });
}

#[test]
fn the_line_about_another_server_has_a_bounded_length() {
    let cases: [(&'static [u8], &str); 5] = [
        (
            b"\x15\x03\x01\x00\x02\x02\x46",
            "the response is not HTTP/1.1: \"??????F\"",
        ),
        (
            b"SSH-2.0-Test\r\nmore",
            "the response is not HTTP/1.1: \"SSH-2.0-Test\"",
        ),
        (
            b"HTTP/1.1 503 \x1b[31mRed\r\n\r\n\xff\x00\x1b[2J\n",
            "the response was 503 ?[31mRed: ???[2J",
        ),
        // Another server's page behind the same status code as ours.
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\nClient sent nothing.\n",
            "the response was 400 Bad Request: Client sent nothing.",
        ),
        (
            b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1/\r\n\r\n\n",
            "the response was 301 Moved",
        ),
    ];
    for (answer, why) in cases {
        assert_not_alive(&serve(|stream| say(stream, answer)), why);
    }
    let (_, said) = ask(&serve(|stream| {
        let line = "x".repeat(5000);
        say(
            stream,
            format!("HTTP/1.1 500 Odd\r\n\r\n{line}\n").as_bytes(),
        );
    }));
    assert!(said.contains("500 Odd: xxx") && said.len() < 400, "{said}");
    // A head without an end is read only up to the limit.
    assert_not_alive(
        &serve(|stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
            while stream.write_all(&[b'x'; 4096]).is_ok() {}
        }),
        "the response head is longer than 16384 bytes",
    );
    // A server that closes at once.
    assert_not_alive(
        &serve(|stream| stream.shutdown(Shutdown::Write).unwrap()),
        "the connection ended before the response head was complete",
    );
}

#[test]
fn an_unusable_url_is_refused_with_what_to_do() {
    for url in ["https://localhost:9579/health", "localhost:9579", "http://"] {
        let (code, said) = ask(url);
        assert_eq!(
            (code, said),
            (
                2,
                format!(
                    "iperf3-exporter: error: flag --health: {url:?} is not allowed, want http://HOST[:PORT][/PATH], \
                     with port 80 and path /health as defaults, also for an exporter with TLS, try --help\n"
                )
            )
        );
    }
}
