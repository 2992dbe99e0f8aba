//! `max_age`: one test for many scrapes, tests that outlast their scrape, kept results.

use std::fs;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::harness::{Connection, Exporter, Fake, Reply, Server, children, good_report, wait_for};

/// A fake that counts its runs; each prints a report once `$DIR/go` is there.
fn gated() -> Fake {
    Fake::new(&format!(
        "echo x >>\"$DIR/runs\"\n\
         while [ -d \"$DIR\" ] && [ ! -e \"$DIR/go\" ]; do sleep 0.01; done\n\
         [ ! -e \"$DIR/fail\" ] || {{ echo '{{\"error\":\"unable to connect to server: No route to host\"}}'; exit 1; }}\n\
         exec cat '{}'",
        good_report().display()
    ))
}

fn close(fake: &Fake) {
    fs::remove_file(fake.dir().join("go")).unwrap();
}

fn runs(fake: &Fake) -> usize {
    let text = fs::read_to_string(fake.dir().join("runs")).unwrap_or_default();
    text.lines().count()
}

/// An exporter whose runs have no deadline within the test.
fn exporter(fake: &Fake) -> Exporter {
    let own = fake.flag();
    Exporter::start(&[
        own.as_str(),
        "--iperf3.timeout=1h",
        "--probe.timeout-offset=0s",
    ])
}

/// Seconds since 1970.
fn now() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs_f64()
}

/// The time of the last success, in the same unit.
fn last_success(reply: &Reply) -> Option<f64> {
    reply.family("iperf3_last_success_timestamp_seconds")
}

/// Waits until an earlier result is older than a second.
fn grow_older_than_a_second() {
    thread::sleep(Duration::from_millis(1100));
}

fn age(reply: &Reply) -> Option<f64> {
    reply.family("iperf3_result_age_seconds")
}

#[test]
fn a_recent_result_is_returned_without_a_test() {
    let fake = gated();
    fake.go();
    let exporter = exporter(&fake);
    let begin = now();
    let first = exporter.get("/probe?target=127.0.0.1&max_age=30m");
    assert_eq!(first.family("iperf3_up"), Some(1.0));
    let born = age(&first).unwrap();
    thread::sleep(Duration::from_millis(50));
    let second = exporter.get("/probe?target=127.0.0.1&max_age=1m");
    assert!(age(&second).unwrap() >= born + 0.05, "{}", second.body);
    assert_eq!(runs(&fake), 1);
    // The same measurement under the same names, and the time of the success.
    let same = |reply: &Reply, name: &str| reply.family(name);
    for name in [
        "iperf3_received_bytes",
        "iperf3_probe_attempts",
        "iperf3_last_success_timestamp_seconds",
        "iperf3_lock_wait_seconds",
    ] {
        assert!(same(&first, name).is_some(), "{name}");
        assert_eq!(same(&first, name), same(&second, name), "{name}");
    }
    let success = last_success(&first).unwrap();
    // Both use the same clock; the exported value has milliseconds.
    assert!((begin - 0.001..=now() + 0.001).contains(&success));
    assert_eq!(exporter.metric("iperf3_exporter_results_reused_total"), 1.0);
    assert_eq!(exporter.metric("iperf3_exporter_stored_results"), 1.0);
    assert_eq!(
        exporter.metric("iperf3_exporter_probes_total{outcome=\"success\"}"),
        1.0
    );
    // Other parameters make another test; `max_age` and `debug` do not.
    for query in ["period=6s", "port=5202", "reverse_mode=1", "parallel=2"] {
        let before = runs(&fake);
        exporter.get(&format!("/probe?target=127.0.0.1&max_age=30m&{query}"));
        assert_eq!(runs(&fake), before + 1, "{query}");
    }
    let before = runs(&fake);
    exporter.get("/probe?target=127.0.0.1&max_age=2m&debug=true&period=5&port=5201");
    assert_eq!(runs(&fake), before);
    // Without max_age each request runs a test, and its result serves later requests with max_age.
    let plain = exporter.get("/probe?target=127.0.0.1&period=9s");
    assert_eq!((runs(&fake), age(&plain)), (before + 1, None));
    let shared = exporter.get("/probe?target=127.0.0.1&period=9s&max_age=1m");
    assert!(age(&shared).is_some());
    assert_eq!(runs(&fake), before + 1);
}

#[test]
fn an_old_result_starts_a_new_test() {
    let fake = gated();
    fake.go();
    let exporter = exporter(&fake);
    let path = "/probe?target=127.0.0.1&max_age=1s";
    let first = exporter.get(path);
    grow_older_than_a_second();
    let second = exporter.get(path);
    assert!(last_success(&second) > last_success(&first));
    assert_eq!(runs(&fake), 2);
}

#[test]
fn simultaneous_requests_share_one_test() {
    let fake = gated();
    let exporter = exporter(&fake);
    let mut clients: Vec<Connection> = (0..20).map(|_| Connection::open(exporter.port())).collect();
    for client in &mut clients {
        client.send("/probe?target=127.0.0.1&max_age=1m", &[]);
    }
    wait_for("all to be in work", || {
        // One of them is this request for the metric.
        exporter.metric("iperf3_exporter_requests_in_work") == 21.0
    });
    assert_eq!(exporter.metric("iperf3_exporter_lock_waiters"), 0.0);
    fake.go();
    for client in &mut clients {
        assert_eq!(client.reply().family("iperf3_up"), Some(1.0));
    }
    assert_eq!(runs(&fake), 1);
    assert_eq!(
        exporter.metric("iperf3_exporter_results_reused_total"),
        19.0
    );
}

#[test]
fn a_test_runs_on_when_the_scrapes_time_is_up() {
    let fake = gated();
    let exporter = exporter(&fake);
    let path = |max_age: &str| format!("/probe?target=127.0.0.1&period=1s&max_age={max_age}");
    let reply = exporter.scrape(&path("1h"), "5");
    assert_eq!(reply.code, 503, "{}", reply.body);
    assert!(reply.body.contains("the test is running"), "{}", reply.body);
    assert!(reply.header("Retry-After").is_some());
    // It did not end with its scrape, and the next scrape does not start another.
    assert_eq!(exporter.scrape(&path("1h"), "1.5").code, 503);
    wait_for("the test to run", || runs(&fake) > 0);
    assert_eq!((runs(&fake), children(exporter.pid()).len()), (1, 1));
    fake.go();
    let reply = exporter.get(&path("1h"));
    assert_eq!(reply.family("iperf3_up"), Some(1.0));
    assert_eq!(runs(&fake), 1);
    // Requests that waited for the test did not wait for the lock: one test held it.
    assert_eq!(
        exporter.metric("iperf3_exporter_lock_wait_seconds_count"),
        1.0
    );
    // Once there is a result, a scrape whose time is up gets the last one, with its age.
    close(&fake);
    grow_older_than_a_second();
    let reply = exporter.scrape(&path("1s"), "1.5");
    assert_eq!(reply.family("iperf3_up"), Some(1.0));
    assert!(age(&reply).unwrap() > 1.0, "{}", reply.body);
    wait_for("the next test", || runs(&fake) == 2);
    // The first test's second scrape; the request that starts a test is counted with that test.
    assert_eq!(
        exporter.metric("iperf3_exporter_probes_total{outcome=\"running\"}"),
        1.0
    );
    let line = exporter.log_line("msg=\"probe not answered\"");
    assert!(!line.contains("lock_wait"), "{line}");
    // The line names the test that it waited for.
    assert!(
        line.contains(" level=info ") && line.contains(" probe=1 "),
        "{line}"
    );
    assert_eq!(exporter.metric("iperf3_exporter_errors_total"), 0.0);
}

#[test]
fn a_scrape_waits_for_a_test_that_the_flag_shortens() {
    let fake = gated();
    fake.go();
    let exporter = Exporter::start(&[fake.flag(), "--iperf3.timeout=20s".to_owned()]);
    let reply = exporter.scrape("/probe?target=127.0.0.1&period=60s&max_age=5m", "30");
    assert_eq!(reply.family("iperf3_up"), Some(1.0), "{}", reply.body);
    exporter.log_line("period shortened");
}

#[test]
fn a_failure_is_the_last_result_until_there_is_a_success() {
    let fake = gated();
    fake.go();
    let exporter = exporter(&fake);
    let path = "/probe?target=127.0.0.1&period=1s&max_age=1s";
    assert_eq!(exporter.get(path).family("iperf3_up"), Some(1.0));
    // From here on each test takes longer than its scrape, and fails.
    fs::write(fake.dir().join("fail"), "").unwrap();
    grow_older_than_a_second();
    for _ in 0..3 {
        close(&fake);
        let before = exporter.metric("iperf3_exporter_probes_total{outcome=\"unreachable\"}");
        let reply = exporter.scrape(path, "1.2");
        // The first of these scrapes still gets the success.
        let up = if before == 0.0 { 1.0 } else { 0.0 };
        assert_eq!(reply.family("iperf3_up"), Some(up), "{}", reply.body);
        fake.go();
        wait_for("the failure", || {
            exporter.metric("iperf3_exporter_probes_total{outcome=\"unreachable\"}") > before
        });
        let reply = exporter.scrape(path, "1.2");
        assert_eq!(reply.family("iperf3_up"), Some(0.0), "{}", reply.body);
        assert!(last_success(&reply).is_some(), "{}", reply.body);
    }
}

#[test]
fn a_scrape_too_short_for_the_test_does_not_wait_for_it() {
    let fake = gated();
    let exporter = Exporter::start(&[fake.flag()]);
    // The test would wait ten minutes for this response; it must come earlier.
    let path = "/probe?target=127.0.0.1&period=10m&max_age=1h";
    assert_eq!(exporter.scrape(path, "599").code, 503);
    // The period is not shortened to fit into the scrape.
    wait_for("the test", || runs(&fake) == 1);
    assert!(!exporter.log().contains("period shortened"));
}

#[test]
fn a_client_disconnect_does_not_end_the_test() {
    let fake = gated();
    let exporter = exporter(&fake);
    let mut client = Connection::open(exporter.port());
    client.send("/probe?target=127.0.0.1&max_age=1m", &[]);
    wait_for("the test to run", || runs(&fake) == 1);
    drop(client);
    wait_for("the request to end", || {
        // The other one is this request for the metric.
        exporter.metric("iperf3_exporter_requests_in_work") == 1.0
    });
    assert_eq!(children(exporter.pid()).len(), 1);
    fake.go();
    let reply = exporter.get("/probe?target=127.0.0.1&max_age=1m");
    assert_eq!(reply.family("iperf3_up"), Some(1.0));
    assert_eq!(runs(&fake), 1);
}

/// The unit tests of `probe/deadline` check the limit without the flag: the test's own length plus 15 s.
#[test]
fn a_test_without_a_scrape_limit_ends_at_the_time_of_the_flag() {
    let fake = gated();
    let exporter = Exporter::start(&[fake.flag(), "--iperf3.timeout=1s".to_owned()]);
    let reply = exporter.get("/probe?target=127.0.0.1&period=1s&max_age=1m");
    assert_eq!(reply.reason(), Some("timeout"), "{}", reply.body);
    assert!(children(exporter.pid()).is_empty());
}

#[test]
fn failures_are_reported_and_not_kept() {
    let fake = gated();
    fake.go();
    fs::write(fake.dir().join("fail"), "").unwrap();
    let exporter = exporter(&fake);
    let path = "/probe?target=127.0.0.1&period=1s&max_age=1m";
    for run in 1..=2 {
        let reply = exporter.get(path);
        assert_eq!(reply.reason(), Some("unreachable"), "{}", reply.body);
        assert_eq!(runs(&fake), run);
        assert!(last_success(&reply).is_none());
    }
    assert_eq!(exporter.metric("iperf3_exporter_stored_results"), 0.0);
    // A failure that no request waited for is reported to the next request, once.
    close(&fake);
    let reply = exporter.scrape(path, "1.2");
    // The last result, which is the previous failure.
    assert_eq!(reply.reason(), Some("unreachable"), "{}", reply.body);
    wait_for("the test to run", || runs(&fake) == 3);
    fake.go();
    wait_for("it to end", || {
        exporter.metric("iperf3_exporter_probes_total{outcome=\"unreachable\"}") == 3.0
    });
    fs::remove_file(fake.dir().join("fail")).unwrap();
    assert_eq!(exporter.get(path).reason(), Some("unreachable"));
    assert_eq!(runs(&fake), 3);
    let reply = exporter.get(path);
    assert_eq!(reply.family("iperf3_up"), Some(1.0));
    assert_eq!(runs(&fake), 4);
}

#[test]
fn the_exporters_shutdown_ends_tests_without_a_waiting_request() {
    let fake = gated();
    let mut exporter = Exporter::start(&[fake.flag()]);
    let path = "/probe?target=127.0.0.1&period=10m&max_age=1h";
    assert_eq!(exporter.scrape(path, "5").code, 503);
    wait_for("the test to run", || runs(&fake) == 1);
    let [(child, _)] = children(exporter.pid())[..] else {
        panic!("not one child")
    };
    exporter.signal("TERM");
    assert_eq!(exporter.wait().code(), Some(0));
    assert!(!crate::harness::is_alive(child), "iperf3 is left behind");
}

#[test]
fn two_prometheus_servers_cost_one_real_test() {
    let server = Server::start();
    let exporter = Exporter::start::<&str>(&[]);
    let path = format!(
        "/probe?target={}&period=2s&bitrate=1M&max_age=1m",
        server.target()
    );
    let port = exporter.port();
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let path = path.clone();
            thread::spawn(move || {
                let headers = [("X-Prometheus-Scrape-Timeout-Seconds", "30")];
                crate::harness::request(port, "GET", &path, &headers)
            })
        })
        .collect();
    let replies: Vec<Reply> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    let bytes = |reply: &Reply| reply.family("iperf3_received_bytes").unwrap();
    assert!(bytes(&replies[0]) > 0.0);
    assert_eq!(bytes(&replies[0]), bytes(&replies[1]));
    let sent = exporter.metric("iperf3_exporter_test_bytes_total{direction=\"upload\"}");
    assert_eq!(sent, replies[0].family("iperf3_sent_bytes").unwrap());
}

#[test]
fn scrapes_that_share_a_test_are_one_probe_on_the_page() {
    let fake = gated();
    let exporter = exporter(&fake);
    let rows = |page: &str| page.matches("<th scope=\"row\"><a href=\"probes/").count();
    let mut scrapes: Vec<Connection> = (0..3)
        .map(|_| {
            let mut scrape = Connection::open(exporter.port());
            scrape.send("/probe?target=127.0.0.1&max_age=30m", &[]);
            scrape
        })
        .collect();
    wait_for("the test to be shown as running", || {
        exporter
            .get("/")
            .body
            .contains("Probe 1</a> of <b>127.0.0.1:5201</b> has been running on port")
    });
    assert_eq!(exporter.get("/probes/2").code, 404);
    // It was not started from the page.
    assert!(!exporter.get("/probes/1").body.contains("Cancel the test"));
    fake.go();
    for scrape in &mut scrapes {
        assert_eq!(scrape.reply().family("iperf3_up"), Some(1.0));
    }
    // A request that gets the kept result runs no test.
    let kept = exporter.get("/probe?target=127.0.0.1&max_age=30m");
    assert_eq!(kept.family("iperf3_up"), Some(1.0));
    assert_eq!((runs(&fake), rows(&exporter.get("/").body)), (1, 1));
    let details = exporter.get("/probes/1").body;
    for piece in [
        ">success</span>",
        "<svg class=\"plot\"",
        "iperf3_result_age_seconds{",
    ] {
        assert!(details.contains(piece), "no {piece} in {details}");
    }
    // A failed test is one probe as well.
    fs::write(fake.dir().join("fail"), "").unwrap();
    let failed = exporter.get("/probe?target=127.0.0.2&max_age=30m");
    assert_eq!(failed.family("iperf3_up"), Some(0.0));
    let page = exporter.get("/").body;
    assert!(
        rows(&page) == 2 && page.contains(">unreachable</span></td>"),
        "{page}"
    );
}
