//! Probes of a real `iperf3 -s` in every mode, and each failure reason: from the real iperf3 where it can be made to
//! fail that way, otherwise from a scripted one.
//!
//! Nothing but loopback is contacted: a test that needs no network runs in an empty network namespace.

// Counts, and copies of iperf3's numbers: they must be equal.
#![allow(clippy::float_cmp)]

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv6Addr, TcpListener};
use std::process::Command;
use std::thread;

use serde_json::Value;

use crate::harness::{self, Exporter, Fake, Reply, Server, TempDir, sockets};
use crate::netem::{installed_iperf3, newer_iperf3};
use crate::observed::{Observed, number};

/// The families of a TCP test against iperf3's own report.
fn assert_tcp(reply: &Reply, report: &Value) {
    for (family, pointer) in [
        ("iperf3_sent_bytes", "/end/sum_sent/bytes"),
        ("iperf3_sent_seconds", "/end/sum_sent/seconds"),
        ("iperf3_received_bytes", "/end/sum_received/bytes"),
        ("iperf3_received_seconds", "/end/sum_received/seconds"),
        ("iperf3_retransmits", "/end/sum_sent/retransmits"),
    ] {
        let expected = number(report, pointer);
        assert_eq!(reply.family(family), Some(expected), "{family}");
    }
    assert!(reply.family("iperf3_received_bytes") > Some(0.0));
    assert_eq!(reply.family("iperf3_received_packets"), None);
    assert_eq!(reply.family("iperf3_lost_packets"), None);
}

/// A UDP test. On a busy machine a sender or a receiver may be starved for a second. A socket's buffer holds as much of
/// so slow a test. If the second is the last one, it is a quarter of the test: with more missing, the loss is unknown.
/// With a single datagram there would be no jitter.
const UDP: &str = "period=4&bitrate=1M&udp_mode=true";

/// The families of a UDP test against iperf3's own report and against each other.
fn assert_udp(reply: &Reply, report: &Value) {
    let value = |family: &str| {
        reply
            .family(family)
            .unwrap_or_else(|| panic!("no {family}"))
    };
    let block = number(report, "/start/test_start/blksize");
    assert_eq!(
        value("iperf3_sent_bytes"),
        number(report, "/end/sum_sent/bytes")
    );
    assert_eq!(
        value("iperf3_received_bytes"),
        number(report, "/end/sum_received/bytes")
    );
    assert_eq!(
        value("iperf3_sent_packets") * block,
        value("iperf3_sent_bytes")
    );
    assert_eq!(
        value("iperf3_received_packets") * block,
        value("iperf3_received_bytes")
    );
    assert!(value("iperf3_received_packets") > 0.0);
    let known = value("iperf3_received_packets") + value("iperf3_lost_packets");
    assert!(known <= value("iperf3_sent_packets"), "{}", reply.body);
    assert_eq!(
        value("iperf3_lost_percent"),
        100.0 * value("iperf3_lost_packets") / value("iperf3_sent_packets")
    );
    let jitter = number(report, "/end/sum_received/jitter_ms");
    assert!(jitter > 0.0);
    assert_eq!(value("iperf3_sent_jitter_ms"), jitter);
    assert_eq!(value("iperf3_received_jitter_ms"), jitter);
    assert_eq!(reply.family("iperf3_retransmits"), None);
}

#[test]
fn tcp_is_measured_in_each_direction() {
    // The rate of this test is not limited.
    let _alone = harness::machine_alone();
    let (server, observed) = (Server::start(), Observed::new());
    let (reply, report) = observed.probe(&format!("target={}&period=1", server.target()));
    assert_tcp(&reply, &report);
    let name = format!("iperf3_up{{target=\"127.0.0.1\",port=\"{}\"}}", server.port);
    assert_eq!(reply.sample(&name), Some(1.0), "{}", reply.body);
    let query = format!("target={}&period=1&reverse_mode=true", server.target());
    let (reply, report) = observed.probe(&query);
    assert_tcp(&reply, &report);
    assert_eq!(number(&report, "/start/test_start/reverse"), 1.0);
}

#[test]
fn a_bidirectional_test_exports_the_upload() {
    let (server, observed) = (Server::start(), Observed::new());
    let target = server.target();
    // The two directions differ in bytes even at one rate: each side paces its own stream.
    let (reply, report) = observed.probe(&format!(
        "target={target}&period=1&bitrate=100M&bidirectional=true&parallel=2"
    ));
    let ways = report.pointer("/end/streams").unwrap().as_array().unwrap();
    assert_eq!(ways.len(), 4);
    let upload: f64 = ways
        .iter()
        .filter(|stream| stream.pointer("/sender/sender") == Some(&Value::Bool(true)))
        .map(|stream| number(stream, "/sender/bytes"))
        .sum();
    assert_eq!(reply.family("iperf3_sent_bytes"), Some(upload));
    assert!(reply.family("iperf3_received_bytes") > Some(0.0));
}

#[test]
fn udp_is_measured_in_each_direction() {
    let (server, observed) = (Server::start(), Observed::new());
    for mode in ["", "&reverse_mode=1", "&bidirectional=1"] {
        let query = format!("target={}&{UDP}{mode}", server.target());
        let (reply, report) = observed.probe(&query);
        assert_udp(&reply, &report);
    }
}

#[test]
fn four_parallel_streams_are_added_up() {
    let (server, observed) = (Server::start(), Observed::new());
    let query = format!("target={}&period=1&bitrate=50M&parallel=4", server.target());
    let (reply, report) = observed.probe(&query);
    assert_tcp(&reply, &report);
    let streams = report.pointer("/end/streams").unwrap().as_array().unwrap();
    assert_eq!(streams.len(), 4);
    let sum = |side: &str| -> f64 { streams.iter().map(|stream| number(stream, side)).sum() };
    assert_eq!(
        reply.family("iperf3_sent_bytes"),
        Some(sum("/sender/bytes"))
    );
    assert_eq!(
        reply.family("iperf3_received_bytes"),
        Some(sum("/receiver/bytes"))
    );
}

#[test]
fn iperf3_sends_from_the_address_that_it_is_bound_to() {
    let (server, observed) = (Server::start(), Observed::new());
    for (parameter, address) in [("bind_address", "127.0.0.1"), ("bind", "127.0.0.2")] {
        let query = format!(
            "target={}&period=1&bitrate=1M&{parameter}={address}",
            server.target()
        );
        let (_, report) = observed.probe(&query);
        // iperf3 asks its connected socket with getsockname(2).
        let local = report.pointer("/start/connected/0/local_host").unwrap();
        assert_eq!(local, address);
    }
}

#[test]
fn ipv6_is_measured_with_and_without_brackets() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        harness::skipped(
            "ipv6_is_measured_with_and_without_brackets",
            "this machine has no ::1",
        );
        return;
    }
    let (server, observed) = (Server::start(), Observed::new());
    let port = server.port;
    for target in [
        format!("target=[::1]:{port}"),
        format!("target=::1&port={port}"),
    ] {
        let (reply, report) = observed.probe(&format!("{target}&period=1&bitrate=1M"));
        let remote = report.pointer("/start/connected/0/remote_host").unwrap();
        assert_eq!(remote, "::1");
        let name = format!("iperf3_up{{target=\"::1\",port=\"{port}\"}}");
        assert_eq!(reply.sample(&name), Some(1.0), "{}", reply.body);
    }
}

#[test]
fn the_bitrate_is_kept() {
    let (server, observed) = (Server::start(), Observed::new());
    let query = format!("target={}&period=1&bitrate=10M", server.target());
    let (reply, report) = observed.probe(&query);
    let block = number(&report, "/start/test_start/blksize");
    let sent = reply.family("iperf3_sent_bytes").unwrap();
    // iperf3 sends whole blocks only, so it is one block ahead of the rate at most. How far it lags depends on the
    // machine; without a limit, loopback has a thousand times the rate.
    let most = 10_000_000.0 / 8.0 * reply.family("iperf3_sent_seconds").unwrap() + block;
    assert!(
        (block..=most).contains(&sent),
        "{sent} bytes were sent, at most {most} were due, in blocks of {block}"
    );
}

#[test]
fn a_period_is_rounded_up_to_whole_seconds() {
    let fake = Fake::new("printf '%s ' \"$@\" > \"$DIR/words\"; exit 1");
    let exporter = Exporter::start(&[fake.flag(), "--iperf3.timeout=25h".to_owned()]);
    for (period, seconds) in [
        ("1s", "1"),
        ("1", "1"),
        ("1.000000001s", "2"),
        ("1500ms", "2"),
        ("1.2", "2"),
        ("1m30s", "90"),
        ("24h", "86400"),
    ] {
        exporter.get(&format!("/probe?target=127.0.0.1&period={period}"));
        let words = fs::read_to_string(fake.dir().join("words")).unwrap();
        assert!(
            words.contains(&format!(" -t {seconds} ")),
            "{period}: {words}"
        );
    }
    let (server, observed) = (Server::start(), Observed::new());
    let query = format!("target={}&period=1.2s&bitrate=1M", server.target());
    let (_, report) = observed.probe(&query);
    assert_eq!(number(&report, "/start/test_start/duration"), 2.0);
    assert!(observed.words().contains(" -t 2 "));
}

/// Runs a probe that must fail, with the iperf3 on PATH; its reason.
fn reason(exporter: &Exporter, query: &str) -> String {
    reason_of(&exporter.get(&format!("/probe?{query}")))
}

/// Checks what every failed probe must have; the reason.
fn reason_of(reply: &Reply) -> String {
    assert_eq!(reply.code, 200, "{}", reply.body);
    assert_eq!(reply.family("iperf3_up"), Some(0.0), "{}", reply.body);
    for family in [
        "iperf3_sent_bytes",
        "iperf3_sent_seconds",
        "iperf3_received_bytes",
        "iperf3_received_seconds",
    ] {
        assert_eq!(reply.family(family), Some(0.0), "{family}");
    }
    reply.reason().expect("a reason").to_owned()
}

/// The exporter with the iperf3 on PATH.
fn plain() -> Exporter {
    Exporter::start::<&str>(&[])
}

/// Sends a signal by its name.
fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .status();
    assert!(status.unwrap().success());
}

/// The client that the exporter runs; waits until it runs.
fn client_of(exporter: &Exporter) -> u32 {
    let mut client = None;
    harness::wait_for("a client", || {
        client = harness::children(exporter.pid())
            .into_iter()
            .map(|(child, _)| child)
            .find(|child| {
                let words = fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
                // Not the process before its exec, and not the one that prints the version.
                words.split(|byte| *byte == 0).any(|word| word == b"-c")
            });
        client.is_some()
    });
    client.unwrap()
}

#[test]
fn a_port_without_a_listener_is_refused() {
    let closed = harness::ClosedPort::new();
    let query = format!("target=127.0.0.1:{}&period=1", closed.port);
    assert_eq!(reason(&plain(), &query), "refused");
}

#[test]
fn a_server_that_serves_another_client_is_busy() {
    let server = Server::start();
    let _other = server.held();
    // The exporter retries as long as the remaining time holds a test: here for a second and a half. The last attempt
    // then has the time of the whole test, which is enough on a busy machine too.
    let exporter = Exporter::start(&["--iperf3.timeout=12s"]);
    let query = format!("target={}&period=10", server.target());
    assert_eq!(reason(&exporter, &query), "busy");
}

#[test]
fn an_address_that_is_not_this_machines_is_a_local_failure() {
    let server = Server::start();
    let query = format!("target={}&period=1&bind=198.51.100.1", server.target());
    assert_eq!(reason(&plain(), &query), "local");
}

#[test]
fn a_web_server_is_no_iperf3() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let web = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        // Reads iperf3's cookie.
        let _ = client.read(&mut [0; 64]);
        client
            .write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
            .unwrap();
    });
    let query = format!("target=127.0.0.1:{port}&period=1");
    assert_eq!(reason(&plain(), &query), "other");
    web.join().unwrap();
}

#[test]
fn a_server_that_is_killed_during_a_test_interrupts_it() {
    let (server, exporter) = (Server::start(), plain());
    let idle = sockets(server.pid());
    let query = format!("target={}&period=20&bitrate=1M", server.target());
    thread::scope(|scope| {
        let probe = scope.spawn(|| reason(&exporter, &query));
        harness::wait_for("the test", || sockets(server.pid()) >= idle + 2);
        signal(server.pid(), "KILL");
        assert_eq!(probe.join().unwrap(), "interrupted");
    });
}

#[test]
fn a_client_that_someone_kills_has_the_reason_killed() {
    let (server, exporter) = (Server::start(), plain());
    let query = format!("target={}&period=20&bitrate=1M", server.target());
    thread::scope(|scope| {
        let probe = scope.spawn(|| reason(&exporter, &query));
        signal(client_of(&exporter), "KILL");
        assert_eq!(probe.join().unwrap(), "killed");
    });
}

/// `goodput` and `loss` compare their results with a path; this test is quick and needs no namespaces.
#[test]
fn two_versions_of_iperf3_measure_to_each_other() {
    let Some(newer) = newer_iperf3("two_versions_of_iperf3_measure_to_each_other") else {
        return;
    };
    let pairs = [
        (installed_iperf3(), newer.clone()),
        (newer, installed_iperf3()),
    ];
    thread::scope(|scope| {
        for (client, server) in &pairs {
            scope.spawn(move || {
                let server = Server::of(server, &[]);
                let exporter = Exporter::start(&[format!("--iperf3.path={}", client.display())]);
                for mode in ["", "&reverse_mode=1", "&bidirectional=1", "&udp_mode=1"] {
                    let target = server.target();
                    let path = format!("/probe?target={target}&period=1&bitrate=10M{mode}");
                    let reply = exporter.get(&path);
                    let what = || format!("{} {mode}: {}", client.display(), reply.body);
                    assert_eq!(reply.family("iperf3_up"), Some(1.0), "{}", what());
                    let received = reply.family("iperf3_received_bytes");
                    assert!(received > Some(0.0), "{}", what());
                }
            });
        }
    });
}

#[test]
fn an_iperf3_that_can_stream_does_and_its_numbers_are_reported() {
    let test = "an_iperf3_that_can_stream_does_and_its_numbers_are_reported";
    let newer = newer_iperf3(test);
    let all = std::iter::once(installed_iperf3()).chain(newer);
    for iperf3 in all {
        let (_, help) = harness::run(iperf3.to_str().unwrap(), &["--help"], "");
        let asked = if help.contains("--json-stream") {
            "--json-stream --forceflush -c "
        } else {
            "-J -c "
        };
        let (server, observed) = (Server::of(&iperf3, &[]), Observed::of(&iperf3));
        let target = server.target();
        for mode in ["", "&reverse_mode=1", "&bidirectional=1&parallel=2"] {
            let tcp = format!("target={target}&period=1&bitrate=50M{mode}");
            let (reply, report) = observed.probe(&tcp);
            assert_tcp(&reply, &report);
            assert!(observed.words().starts_with(asked), "{}", observed.words());
            let udp = format!("target={target}&{UDP}{mode}");
            let (reply, report) = observed.probe(&udp);
            assert_udp(&reply, &report);
        }
    }
}

#[test]
fn a_frozen_server_costs_no_more_than_the_scrape() {
    let (server, exporter) = (Server::start(), plain());
    let path = format!("/probe?target={}&period=1", server.target());
    signal(server.pid(), "STOP");
    let reply = exporter.scrape(&path, "3");
    assert_eq!(reason_of(&reply), "timeout");
    assert_eq!(harness::children(exporter.pid()), [], "a child is left");
    let lock: Value = serde_json::from_str(&exporter.get("/lock-status").body).unwrap();
    assert_eq!(lock["is_locked"], false);
    signal(server.pid(), "CONT");
    // The server first notices that the earlier client is gone.
    harness::wait_for("the thawed server", || {
        exporter.get(&path).family("iperf3_up") == Some(1.0)
    });
}

#[test]
fn a_listener_that_never_answers_is_a_timeout() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let exporter = Exporter::start(&["--iperf3.timeout=300ms"]);
    let query = format!("target=127.0.0.1:{port}&period=1");
    assert_eq!(reason(&exporter, &query), "timeout");
    assert_eq!(harness::children(exporter.pid()), [], "a child is left");
}

#[test]
fn a_server_that_wants_a_password_says_auth() {
    let (_, version) = harness::run("iperf3", &["--version"], "");
    if !version.contains("authentication") {
        harness::skipped(
            "a_server_that_wants_a_password_says_auth",
            "iperf3 lacks it",
        );
        return;
    }
    if !harness::has("openssl", "a_server_that_wants_a_password_says_auth") {
        return;
    }
    let dir = TempDir::new();
    let key = dir.path().join("key.pem").to_str().unwrap().to_owned();
    let (made, words) = harness::run("openssl", &["genrsa", "-out", &key, "2048"], "");
    assert!(made, "{words}");
    // User "bob", with an unknown password.
    let users = dir.write("users.csv", "bob,0000\n");
    let users = users.to_str().unwrap();
    let server = Server::with(&[
        "--rsa-private-key-path",
        &key,
        "--authorized-users-path",
        users,
    ]);
    let query = format!("target={}&period=1", server.target());
    let minor = version.split_once("iperf 3.").unwrap().1;
    let minor = minor.split(|c: char| !c.is_ascii_digit()).next().unwrap();
    // Later servers close the connection without a reason.
    let expected = if minor.parse::<u32>().unwrap() < 19 {
        "auth"
    } else {
        "interrupted"
    };
    assert_eq!(reason(&plain(), &query), expected);
}

#[test]
fn without_a_network_names_are_unknown_and_addresses_unreachable() {
    let test = "without_a_network";
    let alone = ["-rn", "iperf3", "--version"];
    if !harness::has("unshare", test) || !harness::run("unshare", &alone, "").0 {
        harness::skipped(test, "network namespaces are not available here");
        return;
    }
    // In this namespace even loopback is down, so the resolver contacts no server.
    let fake = Fake::new("exec unshare -rn iperf3 \"$@\"");
    let exporter = Exporter::start(&[fake.flag()]);
    for (target, expected) in [
        ("nosuch.invalid", "unknown_host"),
        ("192.0.2.1", "unreachable"),
    ] {
        let query = format!("target={target}&period=1");
        assert_eq!(reason(&exporter, &query), expected, "{}", exporter.log());
    }
}

#[test]
fn a_name_that_does_not_resolve_is_unknown_despite_a_stale_errno() {
    let test = "a_name_that_does_not_resolve_is_unknown_despite_a_stale_errno";
    if !harness::has("unshare", test) || !harness::run("unshare", &["-rn", "true"], "").0 {
        harness::skipped(test, "network namespaces are not available here");
        return;
    }
    // The exporter itself looks up the name, so it runs without a network, and the requests come from inside.
    let fake = Fake::new(
        "case \"$*\" in\n\
         *3.9*) echo 'iperf3: error - unable to send control message: Bad file descriptor' >&2; echo '{}'; exit 1;;\n\
         *) echo '{\"error\":\"unable to connect to server: Invalid argument\"}'; exit 0;;\nesac",
    );
    let script = format!(
        "ip link set lo up; '{}' --web.listen-address=127.0.0.1:9579 '{}' 2>/dev/null & \
         for i in $(seq 600); do curl -sf http://127.0.0.1:9579/ready >/dev/null && break; sleep 0.1; done; \
         for t in nosuch.invalid 3.9.invalid localhost 127.0.0.1; do \
         curl -s \"http://127.0.0.1:9579/probe?target=$t\" | grep failure_info{{; done; kill $!; wait",
        env!("CARGO_BIN_EXE_iperf3-exporter"),
        fake.flag()
    );
    let (_, answers) = harness::run("unshare", &["-rn", "sh", "-c", &script], "");
    let reasons: Vec<&str> = answers
        .lines()
        .filter_map(|line| line.split_once("reason=\"")?.1.split('"').next())
        .collect();
    // A target with an address keeps the reason of iperf3's message.
    assert_eq!(
        reasons,
        ["unknown_host", "unknown_host", "local", "local"],
        "{answers}"
    );
}

/// A script that fails as iperf3 does from 3.11 on; some of these versions exit with 0.
fn failing(error: &str) -> String {
    format!(
        "echo '{{\"start\":{{\"connected\":[]}},\"intervals\":[],\"end\":{{}},\"error\":\"{error}\"}}'; exit 0"
    )
}

#[test]
fn every_failure_reason_occurs_and_is_counted() {
    let connect = "unable to connect to server:";
    let rows = [
        ("refused", failing(&format!("{connect} Connection refused"))),
        (
            "unreachable",
            failing(&format!("{connect} No route to host")),
        ),
        (
            "unknown_host",
            failing(&format!("{connect} Name or service not known")),
        ),
        (
            "connect_timeout",
            failing(&format!("{connect} Connection timed out")),
        ),
        (
            "busy",
            failing("error - the server is busy running a test. try again later"),
        ),
        ("auth", failing("test authorization failed")),
        (
            "unsupported",
            "echo \"iperf3: unrecognized option '--bidir'\" >&2; exit 1".to_owned(),
        ),
        (
            "interrupted",
            failing("control socket has closed unexpectedly"),
        ),
        ("timeout", "exec sleep 600".to_owned()),
        ("killed", "kill -9 $$".to_owned()),
        (
            "local",
            failing(&format!("{connect} Cannot assign requested address")),
        ),
        ("bad_output", "echo hello".to_owned()),
        ("not_found", "rm \"$DIR/iperf3\"; exit 127".to_owned()),
        ("other", failing("something that nobody has seen yet")),
    ];
    assert_eq!(rows.len(), 14, "the reasons of the contract");
    thread::scope(|scope| {
        for (expected, script) in rows {
            scope.spawn(move || assert_reason_is_counted(expected, &script));
        }
    });
}

fn assert_reason_is_counted(expected: &str, script: &str) {
    let fake = Fake::new(script);
    let (timeout, period) = match expected {
        "timeout" => ("300ms", 1),
        // The exporter retries as long as the remaining time holds a test; the last attempt has enough time for it.
        "busy" => ("12s", 10),
        _ => ("60s", 1),
    };
    let exporter = Exporter::start(&[fake.flag(), format!("--iperf3.timeout={timeout}")]);
    let outcome = format!("iperf3_exporter_probes_total{{outcome=\"{expected}\"}}");
    assert_eq!(exporter.metric(&outcome), 0.0, "{expected}: from the start");
    if expected == "not_found" {
        // The first probe removes it.
        reason(&exporter, "target=127.0.0.1&period=1");
    }
    let got = reason(&exporter, &format!("target=127.0.0.1&period={period}"));
    assert_eq!(got, expected, "{script}\n{}", exporter.log());
    assert_eq!(exporter.metric(&outcome), 1.0, "{expected}");
    let line = exporter.log_line("msg=\"iperf3 failed\"");
    // iperf3's message, without the prefix of some versions.
    assert!(
        expected != "busy" || line.contains("error=\"the server is busy"),
        "{line}"
    );
    assert!(
        expected == "not_found" || line.contains(&format!("reason={expected}")),
        "{line}"
    );
}

#[test]
fn a_resolver_that_does_not_answer_is_an_unknown_host() {
    // glibc's EAI_AGAIN (no resolver, or one that refuses, is silent or answers SERVFAIL) leaves EAGAIN in errno, and
    // iperf3 prints that instead of the resolver's message.
    for error in [
        "unable to connect to server: Resource temporarily unavailable",
        "unable to connect to server - server may have stopped running or use a different port, firewall issue, \
         etc.: Resource temporarily unavailable",
        "unable to connect to server: Temporary failure in name resolution",
        "unable to connect to server: Try again",
    ] {
        let fake = Fake::new(&failing(error));
        let exporter = Exporter::start(&[fake.flag()]);
        let got = reason(&exporter, "target=foo.server&period=1");
        assert_eq!(got, "unknown_host", "{error}");
    }
}

#[test]
fn a_failed_udp_test_has_zeros_in_the_udp_families() {
    let fake = Fake::new("exit 1");
    let exporter = Exporter::start(&[fake.flag()]);
    let reply = exporter.get("/probe?target=127.0.0.1&udp_mode=1");
    assert_eq!(reason_of(&reply), "bad_output");
    assert_eq!(reply.family("iperf3_retransmits"), None);
    for family in [
        "iperf3_sent_packets",
        "iperf3_lost_packets",
        "iperf3_received_lost_percent",
    ] {
        assert_eq!(reply.family(family), Some(0.0), "{family}");
    }
}

#[test]
fn output_that_is_no_report_is_bad_output() {
    let report = harness::top().join("tests/fixtures/3.12/tcp.json");
    let length = fs::metadata(&report).unwrap().len();
    let report = report.display();
    let bracket = "head -c 100000 /dev/zero | tr '\\0' '['";
    let mut scripts: Vec<String> = [
        "exit 0",
        "exit 1",
        "echo",
        "echo null",
        "echo 42",
        "echo '[]'",
        "echo '{}'",
        "echo '\"iperf3\"'",
        "echo 'Usage: iperf3 [-s|-c host] [options]'; exit 1",
        "head -c 300000 /dev/urandom; exit 0",
        "printf '\\377\\376{\\000}'",
        "echo '{\"start\":{\"connected\":[{}]},\"end\":{\"streams\":[]}}'",
        "echo '{\"end\":{\"streams\":[{}],\"sum_sent\":7,\"sum_received\":null}}'",
        "echo '{\"end\":{\"streams\":[{}],\"sum_sent\":{\"bytes\":1e999,\"seconds\":1},\"sum_received\":{\"bytes\":1,\"seconds\":1}}}'",
        "echo '{\"end\":{\"streams\":[{}],\"sum_sent\":{\"bytes\":-1,\"seconds\":1},\"sum_received\":{\"bytes\":1,\"seconds\":1}}}'",
        // 9 MiB, over the limit of 8 MiB.
        "exec head -c 9437184 /dev/zero",
        "exec head -c 9437184 /dev/zero >&2",
        "exec cat /dev/zero",
    ]
    .map(str::to_owned)
    .into();
    scripts.push(bracket.to_owned());
    scripts.push(format!("printf '{{\"end\":'; {bracket}"));
    for cut in [1, 2, 100, length / 2, length - 4] {
        scripts.push(format!("head -c {cut} '{report}'"));
    }
    // A good report, followed by so much text that the limit is exceeded.
    scripts.push(format!("cat '{report}'; exec head -c 9437184 /dev/zero"));
    let fake = Fake::new(". \"$DIR/case\"");
    let exporter = Exporter::start(&[fake.flag()]);
    for script in scripts {
        fs::write(fake.dir().join("case"), &script).unwrap();
        let got = reason(&exporter, "target=127.0.0.1&period=1");
        assert_eq!(got, "bad_output", "{script}");
    }
    // The same fake can succeed, so the fake is not the cause of the failures; text after a report is normal.
    let good = format!("cat '{report}'; echo 'iperf Done.'");
    fs::write(fake.dir().join("case"), good).unwrap();
    let reply = exporter.get("/probe?target=127.0.0.1&period=1");
    assert_eq!(reply.family("iperf3_received_bytes"), Some(2_896_691_200.0));
    // The report lacks the sums of these modes.
    for query in ["bidirectional=1", "udp_mode=1"] {
        let got = reason(&exporter, &format!("target=127.0.0.1&period=1&{query}"));
        assert_eq!(got, "bad_output", "{query}");
    }
}

#[test]
fn a_whole_report_with_a_bad_status_is_not_up() {
    let report = harness::top().join("tests/fixtures/3.12/tcp.json");
    let fake = Fake::new(&format!("cat '{}'; exit 1", report.display()));
    let exporter = Exporter::start(&[fake.flag()]);
    assert_eq!(reason(&exporter, "target=127.0.0.1&period=1"), "other");
}

#[test]
fn iperf3_may_appear_and_vanish_while_the_exporter_runs() {
    let dir = TempDir::new();
    let path = dir.path().join("iperf3");
    let exporter = Exporter::start(&[format!("--iperf3.path={}", path.display())]);
    exporter.log_line("level=warn");
    let query = "target=127.0.0.1&period=1";
    assert_eq!(reason(&exporter, query), "not_found");
    assert_eq!(exporter.get("/health").code, 503);
    let fake = Fake::replay(
        &harness::top().join("tests/fixtures/3.12/tcp.json"),
        &harness::top().join("tests/fixtures/3.12/tcp.stderr"),
        "exit 0",
    );
    std::os::unix::fs::symlink(fake.dir().join("iperf3"), &path).unwrap();
    let reply = exporter.get(&format!("/probe?{query}"));
    assert_eq!(reply.family("iperf3_up"), Some(1.0), "{}", reply.body);
    assert_eq!(exporter.get("/health").code, 200);
    fs::remove_file(&path).unwrap();
    assert_eq!(reason(&exporter, query), "not_found");
    assert_eq!(exporter.get("/health").code, 503);
}

#[test]
fn an_iperf3_that_cannot_be_executed_is_a_local_failure() {
    let dir = TempDir::new();
    let plain_file = dir.write("plain", "#!/bin/sh\nexit 0\n");
    let no_program = dir.path().join("no-program");
    harness::write_program(&no_program, "\x01\x02 neither script nor program\n");
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    for path in [plain_file, no_program, folder] {
        let exporter = Exporter::start(&[format!("--iperf3.path={}", path.display())]);
        let got = reason(&exporter, "target=127.0.0.1&period=1");
        assert_eq!(got, "local", "{}", path.display());
    }
}

#[test]
fn an_iperf3_that_is_not_on_path_is_not_found() {
    let exporter = Exporter::start(&["--iperf3.path=iperf3-of-another-name"]);
    assert_eq!(reason(&exporter, "target=127.0.0.1&period=1"), "not_found");
}
