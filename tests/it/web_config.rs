//! The web configuration file in use: TLS, users, headers, the rate limit, and reloading.

use std::fs;
use std::io::{Read, Write};
use std::process::Command;

use crate::harness::{Connection, Exporter, raw_request, run, wait_for};
use crate::pki::{FOR_CLIENTS, HASH, Pki, SERVER};

fn https(exporter: &Exporter, path: &str) -> String {
    format!("https://localhost:{}{path}", exporter.port())
}

#[test]
fn pages_are_served_over_tls() {
    let pki = Pki::new();
    let exporter = Exporter::start(&[pki.web(SERVER)]);
    for path in ["/health", "/metrics", "/", "/lock-status"] {
        let got = pki.curl(&[&https(&exporter, path)]);
        assert_eq!(got.code, 200, "{path}: {got:?}");
        assert!(!got.body.is_empty());
    }
    // Both supported versions, and no older one.
    for (arguments, version) in [
        (["--tls-max", "1.2"], "TLSv1.2"),
        (["--tlsv1.3", "--http1.1"], "TLSv1.3"),
    ] {
        let url = https(&exporter, "/health");
        let got = pki.curl(&[&["--verbose", &url][..], &arguments].concat());
        assert_eq!(got.code, 200, "{got:?}");
        assert!(got.error.contains(version), "{got:?}");
    }
    let stranger = Pki::new();
    let got = stranger.curl(&[&https(&exporter, "/health")]);
    assert_eq!(got.code, 0, "{got:?}");
}

#[test]
fn plain_http_on_a_tls_port_gets_one_line() {
    let pki = Pki::new();
    let exporter = Exporter::start(&[pki.web(SERVER)]);
    let reply = exporter.get("/health");
    assert_eq!(reply.code, 400);
    assert_eq!(
        reply.body,
        "Client sent an HTTP request to an HTTPS server.\n"
    );
    assert_eq!(reply.header("Connection"), Some("close"));
    // The opposite: TLS on a plain port.
    let plain = Exporter::start::<&str>(&[]);
    let got = pki.curl(&[&https(&plain, "/health")]);
    assert_eq!(got.code, 0, "{got:?}");
    assert_eq!(plain.get("/health").code, 200);
}

#[test]
fn every_page_requires_a_user() {
    let pki = Pki::new();
    let exporter = Exporter::start(&[pki.web(&format!("basic_auth_users:\n  alice: {HASH}\n"))]);
    for path in [
        "/",
        "/health",
        "/-/healthy",
        "/ready",
        "/-/ready",
        "/metrics",
        "/probe",
        "/lock-status",
        "/nowhere",
    ] {
        let reply = exporter.get(path);
        assert_eq!(
            (reply.code, reply.body.as_str()),
            (401, "Unauthorized\n"),
            "{path}"
        );
        assert_eq!(reply.header("WWW-Authenticate"), Some("Basic"));
    }
    let url = format!("http://127.0.0.1:{}/metrics", exporter.port());
    for (user, code) in [
        ("alice:secret", 200),
        ("alice:wrong", 401),
        ("bob:secret", 401),
        ("alice:", 401),
        (":secret", 401),
    ] {
        assert_eq!(pki.curl(&["--user", user, &url]).code, code, "{user}");
    }
    let text = pki.curl(&["--user", "alice:secret", &url]).body;
    assert!(
        text.contains("\niperf3_exporter_auth_failures_total 4\n"),
        "{text}"
    );
    assert!(
        text.contains("iperf3_exporter_http_requests_total{path=\"/health\",code=\"401\"} 1\n")
    );
    exporter.log_line("authentication failed");
    let log = exporter.log();
    assert!(!log.contains("secret") && !log.contains("$2b$"), "{log}");
}

#[test]
fn every_response_has_the_configured_headers() {
    let pki = Pki::new();
    let exporter = Exporter::start(&[pki.web(
        "http_server_config:\n  http2: true\n  headers:\n    X-Frame-Options: deny\n    \
         Strict-Transport-Security: max-age=31536000; includeSubDomains\n    X-Content-Type-Options: nosniff\n    \
         X-XSS-Protection: 1\n    Content-Security-Policy: \"default-src 'self' *.test.example.net\"\n",
    )]);
    for path in ["/", "/metrics", "/nowhere", "/probe"] {
        let reply = exporter.get(path);
        for (name, value) in [
            ("X-Frame-Options", "deny"),
            (
                "Strict-Transport-Security",
                "max-age=31536000; includeSubDomains",
            ),
            ("X-Content-Type-Options", "nosniff"),
            ("X-XSS-Protection", "1"),
            (
                "Content-Security-Policy",
                "default-src 'self' *.test.example.net",
            ),
        ] {
            let name_and_colon = format!("{}:", name.to_lowercase());
            let lines = reply
                .head
                .lines()
                .filter(|line| line.to_lowercase().starts_with(&name_and_colon));
            let values: Vec<&str> = lines.map(|line| line[name.len() + 1..].trim()).collect();
            assert_eq!(values, [value], "{path}: {name}");
        }
    }
}

#[test]
fn the_rate_limit_lets_a_burst_through_and_no_more() {
    let pki = Pki::new();
    let exporter = Exporter::start(&[pki.web(
        "rate_limit:\n  interval: 1h\n  burst: 5\nhttp_server_config:\n  headers:\n    X-Frame-Options: deny\n",
    )]);
    let codes: Vec<u16> = (0..8).map(|_| exporter.get("/health").code).collect();
    assert_eq!(codes, [200, 200, 200, 200, 200, 429, 429, 429]);
    let reply = exporter.get("/metrics");
    let line = "Too Many Requests: rate_limit of the web configuration is exceeded\n";
    assert_eq!((reply.code, reply.body.as_str()), (429, line));
    assert_eq!(
        reply.header("X-Frame-Options"),
        None,
        "as in the exporter-toolkit"
    );

    // Without a burst all requests are rejected, as in the exporter-toolkit; the log says so.
    let exporter = Exporter::start(&[pki.web("rate_limit:\n  interval: 1ms\n")]);
    assert_eq!(exporter.get("/health").code, 429);
    exporter.log_line("rate_limit.burst is 0");

    let exporter = Exporter::start(&[pki.web("rate_limit:\n  interval: 0\n  burst: 0\n")]);
    assert!((0..20).all(|_| exporter.get("/health").code == 200));
    assert_eq!(exporter.metric("iperf3_exporter_rate_limited_total"), 0.0);
}

#[test]
fn a_new_certificate_is_used_at_once_and_no_connection_is_lost() {
    let pki = Pki::new();
    pki.issue("next", &["subjectAltName=DNS:localhost,DNS:next.example"]);
    let exporter = Exporter::start(&[pki.web(SERVER)]);
    let mut kept = Kept::open(&pki, exporter.port());
    assert!(kept.get("/health").starts_with("HTTP/1.1 200"));
    let shown = || {
        let address = format!("127.0.0.1:{}", exporter.port());
        let words = ["s_client", "-connect", &address, "-servername", "localhost"];
        // Before 3.2 it puts blanks around the sign.
        run("openssl", &words, "").1.replace(" = ", "=")
    };
    assert!(shown().contains("CN=server"), "{}", shown());
    // One file after the other, as some tools do: in between, the old pair stays in use.
    pki.replace("server.pem", "next.pem");
    assert!(shown().contains("CN=server"), "{}", shown());
    exporter.log_line("level=warn");
    pki.replace("server.key", "next.key");
    assert!(shown().contains("CN=next"), "{}", shown());
    // The earlier connection gets its response and is closed then: the client makes a new handshake.
    let head = kept.get("/health");
    assert!(
        head.starts_with("HTTP/1.1 200") && head.contains("Connection: close\r\n"),
        "{head}"
    );
}

#[test]
fn a_broken_file_rejects_all_requests_until_it_is_repaired() {
    let pki = Pki::new();
    let good = format!("basic_auth_users:\n  alice: {HASH}\n");
    let exporter = Exporter::start(&[pki.web(&good)]);
    let url = format!("http://127.0.0.1:{}/health", exporter.port());
    let code = |user: &str| pki.curl(&["--user", user, &url]).code;
    assert_eq!((code("alice:secret"), code("bob:secret")), (200, 401));
    // Another user replaces alice.
    pki.web(&good.replace("alice", "bob"));
    assert_eq!((code("alice:secret"), code("bob:secret")), (401, 200));
    // Half written, empty, without users, deleted: none of these admits anyone.
    for broken in [
        &good[..good.len() / 2],
        "",
        "# nobody\n",
        "basic_auth_users: {}\n",
        "users: [",
        "\u{0}",
    ] {
        pki.web(broken);
        let got = pki.curl(&["--user", "bob:secret", &url]);
        assert_eq!(
            (got.code, got.body.as_str()),
            (500, "Internal Server Error\n"),
            "{broken:?}"
        );
    }
    fs::remove_file(pki.path("web.yml")).unwrap();
    assert_eq!(code("bob:secret"), 500);
    assert_eq!(exporter.get("/health").code, 500);
    pki.web(&good);
    assert_eq!(
        (code("alice:secret"), exporter.get("/health").code),
        (200, 401)
    );
    let errors = || {
        let log = exporter.log();
        log.lines()
            .filter(|line| {
                line.contains(
                    "level=error msg=\"invalid web configuration: rejecting all requests\" error=",
                )
            })
            .count()
    };
    // The exporter may write the lines a moment later.
    wait_for("a line for each change", || errors() >= 5);
    assert!(errors() <= 7, "one line a change: {}", exporter.log());

    // Without users in the file, requests stay rejected until the operator reloads it.
    pki.web("{}\n");
    assert_eq!(exporter.get("/health").code, 500);
    exporter.signal("HUP");
    wait_for("requests to be served", || {
        exporter.get("/health").code == 200
    });
}

#[test]
fn enabling_tls_applies_to_all_connections_and_disabling_it_needs_a_reload() {
    let pki = Pki::new();
    let exporter = Exporter::start(&[pki.web("{}\n")]);
    let mut kept = Connection::open(exporter.port());
    assert_eq!(kept.get("/health").code, 200);
    pki.web(SERVER);
    assert_eq!(pki.curl(&[&https(&exporter, "/health")]).code, 200);
    assert_eq!(exporter.get("/health").code, 400);
    assert_eq!(
        kept.get("/health").code,
        400,
        "a connection from before is no way around it"
    );
    pki.web("{}\n");
    assert_eq!(exporter.get("/health").code, 500);
    let got = pki.curl(&[&https(&exporter, "/health")]);
    assert!(
        got.code == 0 && got.error.contains("alert internal error"),
        "{got:?}"
    );
    exporter.signal("HUP");
    wait_for("plain HTTP", || exporter.get("/health").code == 200);
}

/// Configurations of other exporters have it: a minimum that TLS 1.2 exceeds.
#[test]
fn an_old_min_version_starts_with_a_warning_and_tls_1_2() {
    let pki = Pki::new();
    let exporter = Exporter::start(&[pki.web(
        "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n  min_version: TLS10\n",
    )]);
    let line = exporter.log_line("tls_server_config.min_version");
    assert!(line.contains("level=warn"), "{line}");
    assert!(line.contains("TLS 1.2 is the oldest version"), "{line}");
    let url = format!("https://localhost:{}/ready", exporter.port());
    let got = pki.curl(&["--tls-max", "1.2", &url]);
    assert_eq!(got.code, 200, "{got:?}");
}

#[test]
fn an_invalid_file_stops_the_start_with_one_line() {
    let pki = Pki::new();
    pki.self_signed("other", &[]);
    for (text, piece) in [
        (
            "tls_server_config:\n  cert_filse: server.pem\n",
            "cert_filse",
        ),
        (
            "tls_server_config:\n  cert_file: server.pem\n",
            "missing one of key or key_file",
        ),
        (
            "tls_server_config:\n  key_file: server.key\n",
            "missing one of cert or cert_file",
        ),
        (
            "tls_server_config:\n  cert_file: somefile\n  key_file: server.key\n",
            "No such file",
        ),
        (
            "tls_server_config:\n  cert_file: server.pem\n  key_file: other.key\n",
            "server.pem",
        ),
        (
            "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n  min_version: TLS111\n",
            "TLS111",
        ),
        (
            "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n  max_version: TLS11\n",
            "TLS11",
        ),
        (
            "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n  client_auth_type: x\n",
            "invalid ClientAuth",
        ),
        (
            "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n  client_ca_file: /dev/null\n",
            "Client Auth Policy",
        ),
        (
            "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n  cipher_suites: [TLS_NULL]\n",
            "TLS_NULL",
        ),
        (
            "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n  curve_preferences: [CurveP521]\n",
            "CurveP521",
        ),
        ("basic_auth_users:\n  john: doe\n", "john"),
        ("basic_auth_users:\n  john: a\n  john: b\n", "john"),
        (
            "http_server_config:\n  headers:\n    Content-Type: foo\n",
            "Content-Type",
        ),
        (
            "http_server_config:\n  headers:\n    X-Frame-Options: foo\n",
            "foo",
        ),
        ("rate_limit:\n  interval: soon\n", "soon"),
        ("hWkNKCp3fvIx3jKnsaBI\nTuEjdwNS8A2vYdFbiKqr\n", "line 1"),
    ] {
        let flag = pki.web(text);
        let words = [flag.as_str(), "--web.listen-address=127.0.0.1:0"];
        let program = env!("CARGO_BIN_EXE_iperf3-exporter");
        let (passed, said) = run(program, &words, "");
        assert!(!passed && said.contains(piece), "{text}\n{said}");
        assert!(
            said.starts_with("iperf3-exporter: error: ") && said.lines().count() == 1,
            "{said}"
        );
        assert!(said.contains("web.yml"), "it names the file: {said}");
        // `--config.check` reports the same.
        let (passed, checked) = run(program, &[&words[..], &["--config.check"]].concat(), "");
        assert!(!passed && checked.contains(&said), "{said}\n{checked}");
    }
}

#[test]
fn an_error_that_no_restart_can_repair_has_its_own_exit_status() {
    let pki = Pki::new();
    pki.self_signed("other", &[]);
    let with =
        |key: &str| format!("tls_server_config:\n  cert_file: server.pem\n  key_file: {key}\n");
    let status = |flag: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_iperf3-exporter"))
            .args([flag, "--web.listen-address=127.0.0.1:0"])
            .output();
        output.unwrap().status.code()
    };
    for (text, expected) in [
        ("nonsense: 1\n".to_owned(), 2),
        (with("server.key") + "  max_version: TLS11\n", 2),
        (with("server.key") + "  curve_preferences: [CurveP521]\n", 2),
        // A certificate renewal may be incomplete.
        (with("other.key"), 1),
        (with("none.key"), 1),
    ] {
        assert_eq!(status(&pki.web(&text)), Some(expected), "{text}");
    }
    assert_eq!(status("--web.config.file=/nowhere/web.yml"), Some(2));
}

#[test]
fn the_configuration_can_be_checked_without_a_start() {
    let pki = Pki::new();
    let program = env!("CARGO_BIN_EXE_iperf3-exporter");
    let free = "--web.listen-address=127.0.0.1:0";
    for flags in [vec![], vec![pki.web(SERVER)], vec![pki.web("")]] {
        let mut words: Vec<&str> = flags.iter().map(String::as_str).collect();
        words.extend(["--config.check", free]);
        let (passed, said) = run(program, &words, "");
        let has_file = said.contains("ok: web configuration ") && said.contains("web.yml");
        assert!(passed && has_file != flags.is_empty(), "{words:?}: {said}");
    }
    let nowhere = "--web.config.file=/nowhere/web.yml";
    let (passed, said) = run(program, &["--config.check", free, nowhere], "");
    assert!(
        !passed && said.contains("/nowhere/web.yml") && said.contains("No such file"),
        "{said}"
    );
    let (passed, said) = run(program, &["--config.check", "--lock.timeout=x"], "");
    assert!(!passed && said.contains("--lock.timeout"), "{said}");
}

#[test]
fn clients_authenticate_with_certificates() {
    let pki = Pki::new();
    pki.issue(
        "client",
        &[
            FOR_CLIENTS,
            "subjectAltName=DNS:prom.example,IP:192.0.2.7,email:p@example.org,URI:spiffe://a/b",
        ],
    );
    pki.issue("server-only", &["extendedKeyUsage=serverAuth"]);
    pki.self_signed("stranger", &[FOR_CLIENTS]);
    pki.self_signed("alone", &["basicConstraints=CA:FALSE"]);
    let ca_and_alone = fs::read_to_string(pki.path("ca.pem")).unwrap()
        + &fs::read_to_string(pki.path("alone.pem")).unwrap();
    pki.write("cas.pem", &ca_and_alone);
    let none: Option<&str> = None;
    let sans = |san: &str| {
        format!(
            "  client_ca_file: cas.pem\n  client_auth_type: RequireAndVerifyClientCert\n  client_allowed_sans: [{san}]\n"
        )
    };
    for (more, clients) in [
        (
            "  client_auth_type: NoClientCert\n".to_owned(),
            vec![(none, true), (Some("stranger"), true)],
        ),
        (
            "  client_auth_type: RequestClientCert\n".to_owned(),
            vec![(none, true), (Some("stranger"), true)],
        ),
        (
            "  client_auth_type: RequireAnyClientCert\n".to_owned(),
            vec![(none, false), (Some("stranger"), true)],
        ),
        (
            "  client_auth_type: RequireClientCert\n".to_owned(),
            vec![(none, false), (Some("stranger"), true)],
        ),
        (
            "  client_ca_file: cas.pem\n  client_auth_type: VerifyClientCertIfGiven\n".to_owned(),
            vec![
                (none, true),
                (Some("client"), true),
                (Some("stranger"), false),
                (Some("server-only"), false),
            ],
        ),
        (
            "  client_ca_file: cas.pem\n  client_auth_type: RequireAndVerifyClientCert\n"
                .to_owned(),
            vec![
                (none, false),
                (Some("client"), true),
                (Some("alone"), true),
                (Some("stranger"), false),
            ],
        ),
        (
            "  client_auth_type: RequireAndVerifyClientCert\n".to_owned(),
            vec![(none, false), (Some("client"), false)],
        ),
        (
            sans("prom.example"),
            vec![
                (none, false),
                (Some("client"), true),
                (Some("alone"), false),
            ],
        ),
        (sans("192.0.2.7"), vec![(Some("client"), true)]),
        (sans("p@example.org"), vec![(Some("client"), true)]),
        (sans("'spiffe://a/b'"), vec![(Some("client"), true)]),
        (
            sans("x.example, a.prom.example, PROM.example"),
            vec![(Some("client"), false)],
        ),
    ] {
        let exporter = Exporter::start(&[pki.web(&format!("{SERVER}{more}"))]);
        for (client, gets_in) in clients {
            let url = https(&exporter, "/health");
            let (cert, key);
            let mut arguments = vec![url.as_str()];
            if let Some(client) = client {
                cert = pki.path(&format!("{client}.pem"));
                key = pki.path(&format!("{client}.key"));
                arguments.extend(["--cert", &cert, "--key", &key]);
            }
            for version in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
                let got = pki.curl(&[&arguments, version].concat());
                assert_eq!(
                    got.code,
                    if gets_in { 200 } else { 0 },
                    "{more}{client:?} {version:?}: {got:?}\n{}",
                    exporter.log()
                );
            }
        }
    }
}

#[test]
fn failed_handshakes_are_counted_and_silence_is_not() {
    let pki = Pki::new();
    pki.issue("client", &[FOR_CLIENTS]);
    let exporter = Exporter::start(&[pki.web(&format!(
        "{SERVER}  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n"
    ))]);
    // A port check: it connects and sends nothing.
    drop(std::net::TcpStream::connect(("127.0.0.1", exporter.port())).unwrap());
    assert_eq!(pki.curl(&[&https(&exporter, "/metrics")]).code, 0);
    assert!(raw_request(exporter.port(), b"\x16\x03\x01\xff\xff garbage").is_none());
    let (cert, key, url) = (
        pki.path("client.pem"),
        pki.path("client.key"),
        https(&exporter, "/metrics"),
    );
    let get = || pki.curl(&["--cert", &cert, "--key", &key, &url]).body;
    wait_for("the counts", || {
        let text = get();
        text.contains("\niperf3_exporter_handshakes_failed_total 2\n")
            && text.contains("iperf3_exporter_connections_closed_total{cause=\"handshake\"} 2\n")
    });
    exporter.log_line("msg=\"TLS handshake failed\" client=127.0.0.1:");
}

#[test]
fn a_tls_client_that_disconnects_frees_the_lock() {
    let pki = Pki::new();
    let fake = crate::harness::Fake::new("touch \"$DIR/began\"\nexec sleep 600");
    let exporter = Exporter::start(&[pki.web(SERVER), fake.flag()]);
    let mut client = Kept::open(&pki, exporter.port());
    client.send("/probe?target=a&period=60s");
    wait_for("the test to run", || fake.dir().join("began").exists());
    drop(client);
    wait_for("the lock to be free", || {
        pki.curl(&[&https(&exporter, "/lock-status")])
            .body
            .contains("\"is_locked\":false")
    });
    assert!(crate::harness::children(exporter.pid()).is_empty());
}

/// A kept-alive TLS connection: `openssl s_client` with its pipes.
struct Kept {
    child: std::process::Child,
}

impl Kept {
    fn open(pki: &Pki, port: u16) -> Self {
        let child = std::process::Command::new("openssl")
            .args([
                "s_client",
                "-quiet",
                "-connect",
                &format!("127.0.0.1:{port}"),
            ])
            .args(["-CAfile", &pki.path("ca.pem"), "-servername", "localhost"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        Self { child }
    }

    /// Sends a request without waiting for its response.
    fn send(&mut self, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let input = self.child.stdin.as_mut().unwrap();
        input.write_all(request.as_bytes()).unwrap();
    }

    /// The head of the response.
    fn get(&mut self, path: &str) -> String {
        self.send(path);
        let output = self.child.stdout.as_mut().unwrap();
        let (mut head, mut byte) = (String::new(), [0]);
        while !head.ends_with("\r\n\r\n") {
            output.read_exact(&mut byte).unwrap();
            head.push(char::from(byte[0]));
        }
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        output.read_exact(&mut body).unwrap();
        head
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_page_shows_a_prometheus_configuration_that_is_admitted() {
    let pki = Pki::new();
    let shown = |web: &str, arguments: &[&str], scheme: &str| {
        let exporter = Exporter::start(&[pki.web(web)]);
        let url = format!("{scheme}://localhost:{}/", exporter.port());
        pki.curl(&[&[url.as_str()], arguments].concat()).body
    };
    let users = format!("basic_auth_users:\n  alice: {HASH}\n");
    let user = ["--user", "alice:secret"];
    for (page, tls, basic) in [
        (shown("{}\n", &[], "http"), 0, 0),
        (shown(SERVER, &[], "https"), 2, 0),
        (shown(&users, &user, "http"), 0, 2),
        (shown(&format!("{SERVER}{users}"), &user, "https"), 2, 2),
    ] {
        // In both of its jobs.
        assert_eq!(page.matches("\n    scheme: https\n").count(), tls, "{page}");
        assert_eq!(page.matches("\n    basic_auth:\n").count(), basic, "{page}");
    }
}
