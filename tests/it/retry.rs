//! A busy server is tried again within the probe's time, and on its other ports.
//!
//! The arithmetic of the attempts is tested in `probe/retry`.

use std::fs;
use std::thread;

use crate::harness::{
    Connection, Exporter, Fake, Reply, Server, children, good_report, lock_status, wait_for,
};

const BUSY: &str = "{\"error\":\"error - the server is busy running a test. try again later\"}";
const REFUSED: &str = "{\"error\":\"unable to connect to server: Connection refused\"}";

/// A fake that plays one word of `course` per run, and then repeats the last one. It starts no other program: a refused
/// connection counts as busy for 5 s after a busy response, and on a busy machine each start may take a second.
fn fake(course: &str) -> Fake {
    Fake::new(&format!(
        "n=0\n\
         [ ! -e \"$DIR/runs\" ] || while read -r _; do n=$((n + 1)); done <\"$DIR/runs\"\n\
         echo \"$5\" >>\"$DIR/runs\"\n\
         set -- {course}\n\
         [ \"$n\" -lt $# ] || n=$(($# - 1))\n\
         shift \"$n\"\n\
         case $1 in\n\
         busy) echo '{BUSY}'; exit 1 ;;\n\
         refused) echo '{REFUSED}'; exit 1 ;;\n\
         reset) echo '{{\"error\":\"unable to send cookie to server: Connection reset by peer\"}}'; exit 1 ;;\n\
         late) echo '{{\"start\":{{\"connected\":[{{}}]}},\"error\":\"unable to receive control message: Connection reset by peer\"}}'; exit 1 ;;\n\
         timeout) echo '{{\"error\":\"unable to connect to server: Connection timed out\"}}'; exit 1 ;;\n\
         unknown) echo '{{\"error\":\"unable to connect to server: Name or service not known\"}}'; exit 1 ;;\n\
         esac\n\
         exec cat '{}'",
        good_report().display()
    ))
}

/// The ports of the runs so far.
fn ports(fake: &Fake) -> Vec<String> {
    let text = fs::read_to_string(fake.dir().join("runs")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn attempts(reply: &Reply) -> Option<f64> {
    reply.family("iperf3_probe_attempts")
}

#[test]
fn a_busy_server_is_tried_again_until_it_is_free() {
    let fake = fake("busy busy refused busy good");
    let exporter = Exporter::start(&[fake.flag()]);
    let reply = exporter.scrape("/probe?target=127.0.0.1&period=1s", "60");
    assert_eq!(reply.family("iperf3_up"), Some(1.0), "{}", reply.body);
    assert_eq!(attempts(&reply), Some(5.0));
    assert_eq!(exporter.metric("iperf3_exporter_retries_total"), 4.0);
    assert_eq!(
        exporter.metric("iperf3_exporter_probes_total{outcome=\"success\"}"),
        1.0
    );
    assert_eq!(
        exporter.metric("iperf3_exporter_probes_total{outcome=\"busy\"}"),
        0.0
    );
    assert!(exporter.log_line("msg=\"probe\"").contains("attempts=5"));
}

#[test]
fn a_reason_other_than_busy_is_reported_at_once() {
    for (course, reason, runs) in [
        ("refused good", "refused", 1),
        ("unknown good", "unknown_host", 1),
        ("busy unknown good", "unknown_host", 2),
        // A test that had begun was interrupted, and not rejected.
        ("busy late good", "interrupted", 2),
        ("timeout good", "connect_timeout", 1),
    ] {
        let fake = fake(course);
        let exporter = Exporter::start(&[fake.flag()]);
        let reply = exporter.scrape("/probe?target=127.0.0.1&period=1s", "60");
        assert_eq!(reply.reason(), Some(reason), "{course}: {}", reply.body);
        assert_eq!(attempts(&reply), Some(f64::from(runs)), "{course}");
        assert_eq!(ports(&fake).len(), usize::try_from(runs).unwrap());
    }
}

#[test]
fn a_server_that_is_unreachable_between_tests_is_tried_again() {
    for (course, count) in [
        ("busy refused busy refused good", 5.0),
        // A server that cleans up after a test resets connections.
        ("busy reset good", 3.0),
        ("reset good", 2.0),
    ] {
        let fake = fake(course);
        let exporter = Exporter::start(&[fake.flag()]);
        let reply = exporter.scrape("/probe?target=127.0.0.1&period=1s", "60");
        assert_eq!(reply.family("iperf3_up"), Some(1.0), "{}", reply.body);
        assert_eq!(attempts(&reply), Some(count), "{course}");
    }
}

#[test]
fn a_server_that_stays_unreachable_is_not_retried_until_the_deadline() {
    thread::scope(|scope| {
        for (course, reason) in [
            ("busy refused", "refused"),
            // A server that resets every connection is not just cleaning up.
            ("reset", "interrupted"),
        ] {
            scope.spawn(move || {
                let fake = fake(course);
                let exporter = Exporter::start(&[fake.flag()]);
                // The test would wait an hour for this response; it must come earlier.
                let reply = exporter.scrape("/probe?target=127.0.0.1&period=1s", "3600");
                assert_eq!(reply.reason(), Some(reason), "{}", reply.body);
            });
        }
    });
}

#[test]
fn a_range_with_a_busy_port_is_busy() {
    let fake = Fake::new(&format!(
        "[ \"$5\" = 5202 ] && echo '{BUSY}' || echo '{REFUSED}'\nexit 1"
    ));
    // There is time for other attempts during 20 s, and for the last one ten minutes: enough on a busy machine.
    let exporter = Exporter::start(&[fake.flag().as_str(), "--iperf3.timeout=620s"]);
    let reply = exporter.get("/probe?target=127.0.0.1&port=5201-5203&period=600s");
    assert_eq!(reply.reason(), Some("busy"), "{}", reply.body);
    let sample = "iperf3_up{target=\"127.0.0.1\",port=\"5202\"}";
    assert_eq!(reply.sample(sample), Some(0.0), "{}", reply.body);
}

#[test]
fn the_next_port_is_tried_before_other_probes_get_the_lock() {
    let fake = Fake::new(&format!(
        "echo \"$5\" >>\"$DIR/runs\"\n\
         while [ \"$5\" -lt 4 ] && [ -d \"$DIR\" ] && [ ! -e \"$DIR/go\" ]; do sleep 0.02; done\n\
         case $5 in 1|2) echo '{BUSY}'; exit 1 ;; esac\n\
         exec cat '{}'",
        good_report().display()
    ));
    let exporter = Exporter::start(&[fake.flag().as_str(), "--iperf3.timeout=1h"]);
    let mut range = Connection::open(exporter.port());
    range.send("/probe?target=127.0.0.1&port=1-3&period=1s", &[]);
    wait_for("the first", || !ports(&fake).is_empty());
    let mut others: Vec<Connection> = (0..4).map(|_| Connection::open(exporter.port())).collect();
    for other in &mut others {
        other.send("/probe?target=127.0.0.1&port=10&period=1s", &[]);
    }
    wait_for("them to wait", || {
        exporter.metric("iperf3_exporter_lock_waiters") == 4.0
    });
    fake.go();
    assert_eq!(range.reply().family("iperf3_up"), Some(1.0));
    for other in &mut others {
        assert_eq!(other.reply().family("iperf3_up"), Some(1.0));
    }
    assert_eq!(ports(&fake).join(" "), "1 2 3 10 10 10 10");
}

#[test]
fn attempts_end_with_the_last_result_and_not_at_the_deadline() {
    let fake = fake("busy");
    let exporter = Exporter::start(&[fake.flag(), "--probe.timeout-offset=0s".to_owned()]);
    // The last attempt begins within 19.5 s, while there is time for a whole test: enough on a busy machine.
    let reply = exporter.scrape("/probe?target=127.0.0.1&period=600s", "620");
    assert_eq!(reply.reason(), Some("busy"), "{}", reply.body);
    let count = attempts(&reply).unwrap();
    assert!(count >= 2.0, "{count}");
    assert_eq!(ports(&fake).len() as f64, count);
    // A test that fills its scrape is not tried again: the deadline leaves no time for it.
    let reply = exporter.scrape("/probe?target=127.0.0.1&period=600s", "600.4");
    assert_eq!(
        (reply.reason(), attempts(&reply)),
        (Some("busy"), Some(1.0))
    );
}

#[test]
fn the_lock_is_free_between_attempts_and_the_queue_is_kept() {
    // The port decides whose server is busy.
    let fake = Fake::new(&format!(
        "echo \"$5\" >>\"$DIR/runs\"\n\
         if [ \"$5\" = 1 ] && [ ! -e \"$DIR/free\" ]; then echo '{BUSY}'; exit 1; fi\n\
         exec cat '{}'",
        good_report().display()
    ));
    let exporter = Exporter::start(&[fake.flag()]);
    let mut busy = Connection::open(exporter.port());
    busy.send(
        "/probe?target=127.0.0.1:1&period=1s",
        &[("X-Prometheus-Scrape-Timeout-Seconds", "90")],
    );
    wait_for("the first attempt", || !ports(&fake).is_empty());
    // Other probes run their tests in the meantime.
    for port in 2..12 {
        let reply = exporter.get(&format!("/probe?target=127.0.0.1:{port}"));
        assert_eq!(reply.family("iperf3_up"), Some(1.0));
    }
    fs::write(fake.dir().join("free"), "").unwrap();
    let reply = busy.reply();
    assert_eq!(reply.family("iperf3_up"), Some(1.0), "{}", reply.body);
    assert!(attempts(&reply).unwrap() > 1.0);
}

#[test]
fn a_client_disconnect_ends_the_attempts() {
    let fake = fake("busy");
    let exporter = Exporter::start(&[fake.flag()]);
    let mut client = Connection::open(exporter.port());
    client.send(
        "/probe?target=127.0.0.1&period=1s",
        &[("X-Prometheus-Scrape-Timeout-Seconds", "600")],
    );
    wait_for("two attempts", || ports(&fake).len() >= 2);
    drop(client);
    wait_for("it to be cancelled", || {
        exporter.metric("iperf3_exporter_probes_total{outcome=\"cancelled\"}") == 1.0
    });
    // Nothing remains that could run it: no place in the queue, no pause, no test, no child.
    let mut other = Connection::open(exporter.port());
    let status = lock_status(&mut other);
    assert_eq!(status["is_locked"], false);
    assert_eq!(
        (&status["queue"], &status["pausing"]),
        (&serde_json::json!([]), &serde_json::json!([]))
    );
    let page = exporter.get("/probes/1").body;
    assert!(page.contains(">cancelled</span>"), "{page}");
    assert!(
        page.contains("<dt>Cause</dt><dd>the client disconnected"),
        "{page}"
    );
    assert!(children(exporter.pid()).is_empty());
}

#[test]
fn with_several_ports_the_next_one_is_tried_at_once() {
    for (course, query, expected, up) in [
        ("busy refused good", "port=5201-5209", "5201 5202 5203", 1.0),
        // After the last port the first one is tried again, after a pause.
        (
            "busy busy busy good",
            "port=5201-5202",
            "5201 5202 5201 5202",
            1.0,
        ),
        ("good", "port=5201-5209", "5201", 1.0),
        // Closed, filtered, or just cleaning up: the free port counts.
        (
            "busy timeout reset good",
            "port=5201-5209",
            "5201 5202 5203 5204",
            1.0,
        ),
        // No server on any port: one round is enough.
        ("refused", "port=7-10", "7 8 9 10", 0.0),
    ] {
        let fake = fake(course);
        let exporter = Exporter::start(&[fake.flag()]);
        let reply = exporter.scrape(&format!("/probe?target=127.0.0.1&period=1s&{query}"), "60");
        assert_eq!(
            reply.family("iperf3_up"),
            Some(up),
            "{course}: {}",
            reply.body
        );
        assert_eq!(ports(&fake).join(" "), expected, "{course}");
        let last = expected.rsplit(' ').next().unwrap();
        let sample = format!("iperf3_up{{target=\"127.0.0.1\",port=\"{last}\"}}");
        assert_eq!(reply.sample(&sample), Some(up), "{}", reply.body);
    }
}

/// A real server that runs another client's real test.
#[test]
fn a_busy_real_server_is_retried_until_it_is_free() {
    let server = Server::start();
    let exporter = Exporter::start::<&str>(&[]);
    let mut other = server.held();
    let target = server.target();
    let mut probe = Connection::open(exporter.port());
    probe.send(
        &format!("/probe?target={target}&period=1s&bitrate=1M"),
        &[("X-Prometheus-Scrape-Timeout-Seconds", "600")],
    );
    wait_until_rejected(&exporter);
    assert!(other.is_at_it(), "the other client's test was disturbed");
    drop(other);
    let reply = probe.reply();
    assert_eq!(reply.family("iperf3_up"), Some(1.0), "{}", reply.body);
    assert!(attempts(&reply).unwrap() >= 2.0, "{}", reply.body);
}

/// Waits until the exporter found a server busy and retried.
fn wait_until_rejected(exporter: &Exporter) {
    wait_for("another attempt", || {
        exporter.metric("iperf3_exporter_retries_total") >= 1.0
    });
}

#[test]
fn all_probes_of_one_busy_server_get_a_test() {
    let server = Server::start();
    // One exporter each, so that they do not know each other.
    let exporters: Vec<Exporter> = (0..4).map(|_| Exporter::start::<&str>(&[])).collect();
    let other = server.held();
    let path = format!("/probe?target={}&period=1s&bitrate=10M", server.target());
    thread::scope(|scope| {
        let probes: Vec<_> = exporters
            .iter()
            .map(|exporter| scope.spawn(|| exporter.scrape(&path, "100")))
            .collect();
        // All of them collide.
        exporters.iter().for_each(wait_until_rejected);
        drop(other);
        for probe in probes {
            let reply = probe.join().unwrap();
            assert_eq!(reply.family("iperf3_up"), Some(1.0), "{}", reply.body);
        }
    });
}

#[test]
fn a_paused_probe_is_shown_with_its_next_attempt() {
    let fake = fake("busy");
    let exporter = Exporter::start(&[fake.flag()]);
    let mut probe = Connection::open(exporter.port());
    let header = [("X-Prometheus-Scrape-Timeout-Seconds", "600")];
    probe.send("/probe?target=foo.server:99&period=1s", &header);
    let mut watch = Connection::open(exporter.port());
    wait_for("the probe to pause", || {
        let status = lock_status(&mut watch);
        let pausing = status["pausing"].as_array().unwrap();
        pausing.first().is_some_and(|pausing| {
            assert_eq!(pausing["requester"], "foo.server:99");
            assert!(pausing["back_in"].as_str().unwrap().ends_with('s'));
            assert_eq!(status["queue_size"], 0);
            true
        })
    });
    drop(probe);
    wait_for("no probe to pause", || {
        lock_status(&mut watch)["pausing"] == serde_json::json!([])
    });
}
