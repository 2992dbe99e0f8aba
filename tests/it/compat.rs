//! The exporters that this one replaces: the examples of their READMEs work here unchanged.
//!
//! They are the fork's README (edgard's, with the fork's additions) and the Python exporter's, quoted where a test uses
//! them. edgard's flags for TLS and socket activation have their tests elsewhere.

// Counts, and copies of iperf3's numbers: they must be equal.
#![allow(clippy::float_cmp)]

use std::fs;
use std::process::Command;

use crate::harness::{self, Exporter, Fake, Reply};

/// edgard's scrape timeout when Prometheus' configuration has none: Prometheus' default, in seconds.
const DEFAULT_SCRAPE_TIMEOUT: &str = "10";

/// A fake that records its arguments and prints a recorded report of the requested protocol.
fn succeeding() -> Fake {
    let fixtures = harness::top().join("tests/fixtures/3.12");
    Fake::new(&format!(
        "echo \"$@\" > \"$DIR/words\"\n\
         case \" $* \" in\n\
         *' --bidir '*) cat '{0}/tcp-bidir.json' ;;\n\
         *' -R '*' -u '*) cat '{0}/udp-R-b10M.json' ;;\n\
         *' -u '*) cat '{0}/udp-b10M.json' ;;\n\
         *) cat '{0}/tcp.json' ;;\n\
         esac",
        fixtures.display()
    ))
}

/// iperf3's arguments.
fn words(fake: &Fake) -> String {
    let text = fs::read_to_string(fake.dir().join("words")).unwrap();
    text.trim().to_owned()
}

/// The fork's table "Available Metrics".
const TCP_METRICS: &[&str] = &[
    "iperf3_up",
    "iperf3_sent_seconds",
    "iperf3_sent_bytes",
    "iperf3_received_seconds",
    "iperf3_received_bytes",
    "iperf3_retransmits",
];
const UDP_METRICS: &[&str] = &[
    "iperf3_up",
    "iperf3_sent_seconds",
    "iperf3_sent_bytes",
    "iperf3_received_seconds",
    "iperf3_received_bytes",
    "iperf3_sent_packets",
    "iperf3_sent_jitter_ms",
    "iperf3_lost_packets",
    "iperf3_lost_percent",
];

/// Every family of the table is there once, with exactly the labels of the table.
fn assert_metrics(reply: &Reply, names: &[&str], target: &str, port: &str) {
    assert_eq!(reply.code, 200, "{}", reply.body);
    let content_type = reply.header("Content-Type").unwrap();
    assert!(content_type.starts_with("text/plain; version=0.0.4"));
    for name in names {
        let sample = format!("{name}{{target=\"{target}\",port=\"{port}\"}}");
        assert!(
            reply.sample(&sample).is_some(),
            "no {sample} in\n{}",
            reply.body
        );
        let samples = reply
            .body
            .lines()
            .filter(|line| line.starts_with(&format!("{name}{{")));
        assert_eq!(samples.count(), 1, "{name}");
        assert!(reply.body.contains(&format!("# TYPE {name} gauge\n")));
    }
}

#[test]
fn edgards_flags_with_their_documented_defaults_are_taken() {
    let fake = succeeding();
    // The whole table except the listen address, which the test chooses, and the flags for TLS and socket activation.
    let exporter = Exporter::start(&[
        fake.flag().as_str(),
        "--web.telemetry-path=/metrics",
        "--web.probe-path=/probe",
        "--iperf3.timeout=30s",
        "--log.level=info",
        "--log.format=logfmt",
    ]);
    assert_eq!(exporter.get("/metrics").code, 200);
    let reply = exporter.scrape("/probe?target=foo.server", DEFAULT_SCRAPE_TIMEOUT);
    assert_metrics(&reply, TCP_METRICS, "foo.server", "5201");
    assert_eq!(words(&fake), "-J -c foo.server -p 5201 -t 5");
}

#[test]
fn the_defaults_are_those_of_edgards_table() {
    let binary = env!("CARGO_BIN_EXE_iperf3-exporter");
    let (_, help) = harness::run(binary, &["-h"], "");
    for (flag, default) in [
        ("--web.listen-address", ":9579"),
        ("--web.telemetry-path", "/metrics"),
        ("--web.probe-path", "/probe"),
        ("--log.level", "info"),
        ("--log.format", "logfmt"),
    ] {
        let after = help.split_once(flag).unwrap_or_else(|| panic!("{flag}")).1;
        // Up to the next flag.
        let own = after.split("\n  -").next().unwrap();
        assert!(own.contains(default), "{flag} with {default} in\n{help}");
    }
    let fake = succeeding();
    let exporter = Exporter::start(&[fake.flag()]);
    // "If neither is specified, it defaults to 30 seconds": 90 % of that.
    exporter.get("/probe?target=foo.server&period=60s");
    assert_eq!(words(&fake), "-J -c foo.server -p 5201 -t 27");
    // "automatically determined from the scrape_timeout", "limited by the iperf3.timeout".
    exporter.scrape("/probe?target=foo.server&period=60s", "20.5");
    assert_eq!(words(&fake), "-J -c foo.server -p 5201 -t 18");
}

#[test]
fn edgards_iperf3_timeout_limits_the_run() {
    let fake = succeeding();
    let exporter = Exporter::start(&[fake.flag().as_str(), "--iperf3.timeout", "10s"]);
    exporter.scrape("/probe?target=foo.server&period=60s", "300");
    assert_eq!(words(&fake), "-J -c foo.server -p 5201 -t 9");
    // Its default.
    let exporter = Exporter::start(&[fake.flag().as_str(), "--iperf3.timeout=0"]);
    exporter.scrape("/probe?target=foo.server&period=60s", "300");
    assert_eq!(words(&fake), "-J -c foo.server -p 5201 -t 60");
}

#[test]
fn the_forks_prometheus_configuration_leads_to_the_right_test() {
    let fake = succeeding();
    let exporter = Exporter::start(&[fake.flag()]);
    // `params:` as in the README, then with each commented line enabled. Prometheus adds the target by relabelling and
    // sorts the parameters.
    for (query, expected) in [
        (
            "port=5201&target=foo.server",
            "-J -c foo.server -p 5201 -t 5",
        ),
        (
            "port=5201&target=bar.server",
            "-J -c bar.server -p 5201 -t 5",
        ),
        (
            "port=5201&reverse_mode=true&target=foo.server",
            "-J -c foo.server -p 5201 -t 5 -R",
        ),
        (
            "port=5201&target=foo.server&udp_mode=true",
            "-J -c foo.server -p 5201 -t 5 -u",
        ),
        (
            "bitrate=100M&port=5201&target=foo.server",
            "-J -c foo.server -p 5201 -t 5 -b 100M",
        ),
        (
            "period=10s&port=5201&target=foo.server",
            "-J -c foo.server -p 5201 -t 10",
        ),
        (
            "bind_address=192.168.1.100&port=5201&target=foo.server",
            "-J -c foo.server -p 5201 -t 5 -B 192.168.1.100",
        ),
        (
            "parallel=4&port=5201&target=foo.server",
            "-J -c foo.server -p 5201 -t 5 -P 4",
        ),
        (
            "bidirectional=true&port=5201&target=foo.server",
            "-J -c foo.server -p 5201 -t 5 --bidir",
        ),
        (
            "bind_address=192.168.1.100&bitrate=100M&parallel=4&period=10s&port=5201&reverse_mode=true&\
             target=foo.server&udp_mode=true",
            "-J -c foo.server -p 5201 -t 10 -R -u -b 100M -P 4 -B 192.168.1.100",
        ),
    ] {
        // A scrape timeout that fits each of them.
        let reply = exporter.scrape(&format!("/probe?{query}"), "30");
        assert_eq!(reply.code, 200, "{query}: {}", reply.body);
        assert_eq!(reply.family("iperf3_up"), Some(1.0), "{query}");
        assert_eq!(words(&fake), expected, "{query}");
    }
}

#[test]
fn the_forks_metrics_are_there_in_success_and_in_failure() {
    let good = succeeding();
    let bad = Fake::new("exit 1");
    for (fake, up) in [(&good, 1.0), (&bad, 0.0)] {
        let exporter = Exporter::start(&[fake.flag()]);
        for (mode, names, absent) in [
            ("", TCP_METRICS, "iperf3_sent_packets"),
            ("&reverse_mode=true", TCP_METRICS, "iperf3_lost_packets"),
            ("&bidirectional=true", TCP_METRICS, "iperf3_sent_jitter_ms"),
            // "TCP mode only, omitted in UDP".
            ("&udp_mode=true", UDP_METRICS, "iperf3_retransmits"),
            (
                "&udp_mode=true&reverse_mode=true",
                UDP_METRICS,
                "iperf3_retransmits",
            ),
        ] {
            let path = format!("/probe?target=foo.server&port=5202{mode}");
            let reply = exporter.scrape(&path, DEFAULT_SCRAPE_TIMEOUT);
            assert_metrics(&reply, names, "foo.server", "5202");
            assert_eq!(reply.family("iperf3_up"), Some(up), "{mode}");
            assert_eq!(reply.family(absent), None, "{mode}");
            assert_eq!(reply.reason().is_some(), up == 0.0, "{mode}");
        }
    }
}

#[test]
fn the_forks_own_metrics_count_probes_and_errors() {
    let fake = Fake::new("exit 1");
    let exporter = Exporter::start(&[fake.flag()]);
    assert_eq!(exporter.metric("iperf3_exporter_errors_total"), 0.0);
    assert_eq!(
        exporter.metric("iperf3_exporter_duration_seconds_count"),
        0.0
    );
    for _ in 0..3 {
        exporter.get("/probe?target=foo.server");
    }
    let metrics = exporter.get("/metrics");
    assert_eq!(metrics.sample("iperf3_exporter_errors_total"), Some(3.0));
    assert_eq!(
        metrics.sample("iperf3_exporter_duration_seconds_count"),
        Some(3.0)
    );
    assert!(metrics.sample("iperf3_exporter_duration_seconds_sum") > Some(0.0));
    for line in [
        "# TYPE iperf3_exporter_duration_seconds summary\n",
        "# TYPE iperf3_exporter_errors_total counter\n",
    ] {
        assert!(metrics.body.contains(line), "{line}");
    }
}

#[test]
fn a_success_is_no_error() {
    let fake = succeeding();
    let exporter = Exporter::start(&[fake.flag()]);
    exporter.get("/probe?target=foo.server");
    assert_eq!(exporter.metric("iperf3_exporter_errors_total"), 0.0);
    assert_eq!(
        exporter.metric("iperf3_exporter_duration_seconds_count"),
        1.0
    );
}

#[test]
fn the_forks_health_readiness_and_start_page_answer() {
    let fake = succeeding();
    let exporter = Exporter::start(&[fake.flag()]);
    for path in ["/health", "/ready"] {
        let reply = exporter.get(path);
        assert_eq!((reply.code, reply.body.trim()), (200, "OK"), "{path}");
    }
    let page = exporter.get("/");
    assert_eq!(page.code, 200);
    assert!(
        page.header("Content-Type")
            .unwrap()
            .starts_with("text/html")
    );
    assert!(page.body.contains("/metrics") && page.body.contains("/probe"));
}

#[test]
fn the_forks_lock_status_has_its_fields_and_tests_run_one_at_a_time() {
    // The shell itself blocks until the test opens the other end: no child is left waiting.
    let fake = Fake::new("echo $$ >> \"$DIR/started\"; read -r line < \"$DIR/gate\"; exit 1");
    let gate = fake.dir().join("gate");
    assert!(
        Command::new("mkfifo")
            .arg(&gate)
            .status()
            .unwrap()
            .success()
    );
    // A run waits for this test only.
    let exporter = Exporter::start(&[fake.flag().as_str(), "--iperf3.timeout=1h"]);
    let status = || -> serde_json::Value {
        let reply = exporter.get("/lock-status");
        assert_eq!(reply.code, 200);
        let content_type = reply.header("Content-Type").unwrap();
        assert!(content_type.starts_with("application/json"));
        serde_json::from_str(&reply.body).unwrap()
    };
    let free = status();
    assert_eq!(free["is_locked"], false);
    assert_eq!(free["queue_size"], 0);
    for field in ["locked_by", "locked_at", "lock_duration"] {
        let value = free.get(field).unwrap_or_else(|| panic!("no {field}"));
        assert!(value.is_null() || value == "", "{field}: {value}");
    }
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| exporter.get("/probe?target=foo.server"));
        }
        harness::wait_for("one test and one waiter", || status()["queue_size"] == 1);
        let held = status();
        assert_eq!(held["is_locked"], true);
        assert!(held["locked_by"].as_str().unwrap().contains("foo.server"));
        // 2026-11-21T22:57:00.123Z and a Go duration.
        let at = held["locked_at"].as_str().unwrap();
        assert!(at.len() >= 20 && at.as_bytes()[10] == b'T', "{at}");
        assert!(held["lock_duration"].as_str().unwrap().ends_with('s'));
        let started = || {
            let text = fs::read_to_string(fake.dir().join("started")).unwrap_or_default();
            text.lines().count()
        };
        // The second one starts only when the first has ended: each write to the pipe releases one.
        for number in 1..=2 {
            harness::wait_for("the next test", || started() == number);
            assert_eq!(status()["queue_size"], 2 - number);
            fs::write(&gate, "go\n").unwrap();
        }
    });
    assert_eq!(status()["is_locked"], false);
}

#[test]
fn the_python_exporters_command_line_is_taken() {
    // `iperf3-exporter --port 9580 --iperf3-path /usr/local/bin/iperf3`, with the test's port and path.
    let fake = succeeding();
    let port = harness::free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_iperf3-exporter"));
    command.args(["--port", &port.to_string()]);
    command.arg("--iperf3-path");
    command.arg(fake.dir().join("iperf3"));
    let exporter = Exporter::spawn(command);
    assert_eq!(exporter.port(), port);
    // `curl "http://localhost:9579/probe?target=192.168.86.41:5201&period=5"`
    let reply = exporter.get("/probe?target=192.168.86.41:5201&period=5");
    assert_metrics(&reply, TCP_METRICS, "192.168.86.41", "5201");
    assert_eq!(words(&fake), "-J -c 192.168.86.41 -p 5201 -t 5");
}

#[test]
fn the_python_exporters_targets_and_parameters_mean_the_same() {
    let fake = succeeding();
    let exporter = Exporter::start(&[fake.flag()]);
    // "Target host:port or just host (default port 5201)", "Override port", "Test duration in seconds (default: 5)".
    for (query, expected) in [
        ("target=192.168.86.41", "-J -c 192.168.86.41 -p 5201 -t 5"),
        (
            "target=192.168.86.41:5202",
            "-J -c 192.168.86.41 -p 5202 -t 5",
        ),
        (
            "target=192.168.86.41:5202&port=5203",
            "-J -c 192.168.86.41 -p 5203 -t 5",
        ),
        (
            "target=192.168.86.41&period=7",
            "-J -c 192.168.86.41 -p 5201 -t 7",
        ),
        // Its configuration: `replacement: $1:5201`, `scrape_timeout: 5m`.
        ("target=10.0.0.7%3A5201", "-J -c 10.0.0.7 -p 5201 -t 5"),
    ] {
        let reply = exporter.scrape(&format!("/probe?{query}"), "300");
        assert_eq!(reply.code, 200, "{query}: {}", reply.body);
        assert_eq!(words(&fake), expected, "{query}");
    }
    // "(required)"
    assert_eq!(exporter.get("/probe").code, 400);
}

#[test]
fn the_python_exporters_failures_are_data() {
    let fake = Fake::new("exit 1");
    let exporter = Exporter::start(&[fake.flag()]);
    let reply = exporter.get("/probe?target=192.168.86.41:5201&period=5");
    assert_metrics(&reply, TCP_METRICS, "192.168.86.41", "5201");
    for name in TCP_METRICS {
        assert_eq!(reply.family(name), Some(0.0), "{name}");
    }
}
