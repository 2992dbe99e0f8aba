//! `--probe.max-bytes-per-day`, and the cost of a test.

use crate::harness::{Connection, Exporter, Fake, Server, children, good_report, wait_for};

#[test]
fn a_spent_budget_refuses_with_a_reason() {
    let fake = Fake::new(&format!(
        "echo x >>\"$DIR/runs\"\nexec cat '{}'",
        good_report().display()
    ));
    let exporter = Exporter::start(&[fake.flag(), "--probe.max-bytes-per-day=1K".to_owned()]);
    let limit = "iperf3_exporter_test_bytes_per_day_limit";
    assert_eq!(exporter.metric(limit), 1024.0);
    assert_eq!(exporter.metric("iperf3_exporter_test_bytes_today"), 0.0);
    let first = exporter.get("/probe?target=127.0.0.1");
    assert_eq!(first.family("iperf3_up"), Some(1.0));
    let spent = exporter.metric("iperf3_exporter_test_bytes_today");
    assert!(
        spent >= first.family("iperf3_sent_bytes").unwrap(),
        "{spent}"
    );
    for path in [
        "/probe?target=127.0.0.1",
        "/probe?target=127.0.0.1&max_age=1s&period=7s",
    ] {
        let reply = exporter.get(path);
        assert_eq!(reply.code, 200);
        assert_eq!(reply.reason(), Some("budget"), "{}", reply.body);
        assert_eq!(reply.family("iperf3_probe_attempts"), Some(0.0));
    }
    let runs = std::fs::read_to_string(fake.dir().join("runs")).unwrap();
    assert_eq!(runs.lines().count(), 1);
    assert_eq!(exporter.metric("iperf3_exporter_test_bytes_today"), spent);
    assert_eq!(
        exporter.metric("iperf3_exporter_probes_total{outcome=\"budget\"}"),
        2.0
    );
    let line = exporter.log_line("reason=budget");
    assert!(line.contains("of 1024 bytes"), "{line}");
    // A kept result costs nothing.
    let kept = exporter.get("/probe?target=127.0.0.1&max_age=1h");
    assert_eq!(kept.family("iperf3_up"), Some(1.0));
}

#[test]
fn a_test_of_known_size_must_fit_the_budget_and_a_real_one_is_counted() {
    let server = Server::start();
    let exporter = Exporter::start(&["--probe.max-bytes-per-day=1M"]);
    let target = server.target();
    // 10 Mbit/s for one second are 1,250,000 bytes.
    let reply = exporter.get(&format!("/probe?target={target}&period=1s&bitrate=10M"));
    assert_eq!(reply.reason(), Some("budget"), "{}", reply.body);
    let reply = exporter.get(&format!(
        "/probe?target={target}&period=1s&bitrate=2M&bidirectional=1"
    ));
    assert_eq!(reply.family("iperf3_up"), Some(1.0), "{}", reply.body);
    let today = exporter.metric("iperf3_exporter_test_bytes_today");
    let total: f64 = ["upload", "download"]
        .iter()
        .map(|way| {
            exporter.metric(&format!(
                "iperf3_exporter_test_bytes_total{{direction=\"{way}\"}}"
            ))
        })
        .sum();
    assert_eq!(today, total);
    assert!(today > 300_000.0, "{today}");
}

#[test]
fn a_test_whose_client_is_gone_is_counted_too() {
    let server = Server::start();
    let exporter = Exporter::start::<&str>(&[]);
    let path = format!("/probe?target={}&period=60s&bitrate=10M", server.target());
    let today = || exporter.metric("iperf3_exporter_test_bytes_today");
    let mut client = Connection::open(exporter.port());
    client.send(&path, &[("X-Prometheus-Scrape-Timeout-Seconds", "600")]);
    wait_for("the test to run", || !children(exporter.pid()).is_empty());
    wait_for("some of it to arrive", || server.intervals() > 0);
    drop(client);
    wait_for("its bytes to be counted", || today() > 0.0);
}

#[test]
fn without_a_limit_there_is_no_limit() {
    let exporter = Exporter::start::<&str>(&[]);
    let page = exporter.get("/metrics").body;
    assert!(!page.contains("per_day_limit"), "{page}");
    assert!(page.contains("\niperf3_exporter_test_bytes_today 0\n"));
}
