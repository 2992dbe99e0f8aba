//! Tests that are cut off: their measurements are kept and counted, but never exported as a result.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::thread;

use crate::harness::{
    self, ClosedPort, Connection, Exporter, Fake, Reply, Server, children, wait_for,
};
use crate::html::assert_sound;
use crate::netem::newer_iperf3;

const TODAY: &str = "iperf3_exporter_test_bytes_today";
const UPLOAD: &str = "iperf3_exporter_test_bytes_total{direction=\"upload\"}";
/// What a recorded run transferred in its first second, and until it was told to end.
const FIRST: f64 = 6_291_456.0;
const ALL: f64 = 9_437_184.0;

/// A fake that streams; `script` is its behaviour.
fn streaming(script: &str) -> Fake {
    let help = "echo 'Usage: iperf3'; for o in -c -p -t -n -P --bidir --json-stream --forceflush; do echo \" $o\"; done";
    Fake::with_help(script, help)
}

fn recorded(name: &str) -> PathBuf {
    harness::top().join(format!("tests/fixtures/{name}.stream"))
}

/// The script of an upload that is told to end: it prints the start and one second, and the rest at SIGTERM.
fn until_told() -> String {
    let lines = recorded("3.21-stream/client-sigterm-tcp");
    let lines = lines.display();
    format!(
        "trap \"tail -n +3 '{lines}'; exit 1\" TERM\nhead -n 2 '{lines}'\nsleep 600 >/dev/null 2>&1 &\nwait"
    )
}

/// The page of a probe that has ended.
fn ended(exporter: &Exporter, number: u64) -> String {
    let mut body = String::new();
    wait_for("the probe to end", || {
        let page = exporter.get(&format!("/probes/{number}"));
        body = page.body;
        body.contains("Ended (UTC)")
    });
    assert_sound(&body);
    body
}

/// The lines of `debug=true` with the measurements up to the cut-off.
fn told(body: &str) -> Vec<&str> {
    let lines = body.lines().skip_while(|line| *line != TITLE).skip(1);
    lines.take_while(|line| !line.is_empty()).collect()
}
const TITLE: &str = "measured before the test was cut off (incomplete, not a result)";

/// The names of the families that have samples.
fn families(reply: &Reply) -> BTreeSet<&str> {
    let samples = reply
        .body
        .lines()
        .filter(|line| line.starts_with("iperf3_"));
    samples.filter_map(|line| line.split('{').next()).collect()
}

/// What all uploads that were cut off have in common: the page shows the measurements, and their bytes count.
fn assert_kept(exporter: &Exporter, number: u64) {
    let page = ended(exporter, number);
    for piece in [
        "<h2>Measured before the test was cut off</h2>",
        "<strong>Incomplete: cut off after ",
        " s of 60 s.</strong>",
        "<svg class=\"plot\"",
        "upload, ",
        "<dt>Sent</dt>",
    ] {
        assert!(page.contains(piece), "{piece}: {page}");
    }
    for none in ["<h2>Result</h2>", "<dt>Arrived</dt>"] {
        assert!(!page.contains(none), "{none}: {page}");
    }
    let today = exporter.metric(TODAY);
    assert!(today > 0.0);
    assert_eq!(exporter.metric(UPLOAD), today);
}

/// The newer iperf3, its server, and an exporter that runs it and allows any duration.
fn real(test: &str) -> Option<(Server, Exporter, String)> {
    let iperf3 = newer_iperf3(test)?;
    let flags = [format!("--iperf3.path={}", iperf3.display())];
    let server = Server::of(&iperf3, &[]);
    let path = format!("/probe?target={}&period=60s&bitrate=50M", server.target());
    Some((server, Exporter::start(&flags), path))
}

fn signal(pid: u32, name: &str) {
    let (is_sent, said) = harness::run("kill", &["-s", name, &pid.to_string()], "");
    assert!(is_sent, "{said}");
}

/// Starts a probe, calls `act` once there are intervals, and returns the response.
fn probe_until(exporter: &Exporter, path: &str, act: impl FnOnce()) -> Reply {
    thread::scope(|scope| {
        let probe = scope.spawn(|| exporter.scrape(path, "600"));
        wait_for("an interval", || exporter.metric(TODAY) > 0.0);
        act();
        probe.join().unwrap()
    })
}

#[test]
fn a_real_test_whose_iperf3_is_killed_keeps_its_intervals() {
    let Some((_server, exporter, path)) =
        real("a_real_test_whose_iperf3_is_killed_keeps_its_intervals")
    else {
        return;
    };
    let kill = || signal(children(exporter.pid())[0].0, "KILL");
    let reply = probe_until(&exporter, &path, kill);
    assert_eq!(reply.family("iperf3_up"), Some(0.0));
    assert_eq!(reply.reason(), Some("killed"), "{}", reply.body);
    assert_kept(&exporter, 1);
    // It has the same families as a test that did not begin.
    let closed = ClosedPort::new();
    let refused = exporter.get(&format!("/probe?target=127.0.0.1:{}", closed.port));
    assert_eq!(refused.reason(), Some("refused"), "{}", refused.body);
    assert_eq!(families(&reply), families(&refused));
    assert!(!ended(&exporter, 2).contains("cut off"));
}

#[test]
fn a_real_test_whose_server_dies_keeps_its_intervals() {
    let Some((server, exporter, path)) = real("a_real_test_whose_server_dies_keeps_its_intervals")
    else {
        return;
    };
    let path = path + "&debug=true";
    let reply = probe_until(&exporter, &path, || signal(server.pid(), "KILL"));
    assert_eq!(reply.reason(), Some("interrupted"), "{}", reply.body);
    assert_kept(&exporter, 1);
    let told = told(&reply.body);
    assert!(told[0].starts_with("  cut off after ") && told[0].ends_with(" s of 60 s"));
    let sent = format!("  upload: {} bytes sent", exporter.metric(TODAY));
    assert_eq!(told[1], sent);
    assert!(told[2].starts_with("    0.00 to 1."), "{told:?}");
}

#[test]
fn a_real_test_that_passes_its_deadline_keeps_its_intervals() {
    let Some((server, exporter, path)) =
        real("a_real_test_that_passes_its_deadline_keeps_its_intervals")
    else {
        return;
    };
    let path = path.replace("period=60s", "period=10s");
    let reply = thread::scope(|scope| {
        let probe = scope.spawn(|| exporter.scrape(&path, "14"));
        wait_for("an interval", || exporter.metric(TODAY) > 0.0);
        signal(server.pid(), "STOP");
        probe.join().unwrap()
    });
    assert_eq!(reply.reason(), Some("timeout"), "{}", reply.body);
    let page = ended(&exporter, 1);
    // It had run longer than planned.
    assert!(
        page.contains("<strong>Incomplete: no result after "),
        "{page}"
    );
    assert!(page.contains(" s of a planned 10 s.</strong>"), "{page}");
    assert!(page.contains("<svg class=\"plot\""), "{page}");
    assert_eq!(exporter.metric(UPLOAD), exporter.metric(TODAY));
}

#[test]
fn a_real_test_whose_client_is_gone_keeps_its_intervals() {
    let test = "a_real_test_whose_client_is_gone_keeps_its_intervals";
    let Some((_server, exporter, path)) = real(test) else {
        return;
    };
    let mut client = Connection::open(exporter.port());
    client.send(&path, &[("X-Prometheus-Scrape-Timeout-Seconds", "600")]);
    wait_for("an interval", || exporter.metric(TODAY) > 0.0);
    drop(client);
    let page = ended(&exporter, 1);
    assert!(
        page.contains("<span class=\"none\">cancelled</span>"),
        "{page}"
    );
    assert_kept(&exporter, 1);
    // A test from the page, stopped there.
    let before = exporter.metric(TODAY);
    let (_, query) = path.split_once('?').unwrap();
    exporter.run(query);
    wait_for("an interval", || exporter.metric(TODAY) > before);
    let stop = format!("/probes/2/stop?token={}", exporter.csrf_token());
    assert_eq!(
        exporter
            .request("POST", &stop, &[("Content-Length", "0")])
            .code,
        303
    );
    let page = ended(&exporter, 2);
    assert!(
        page.contains("<span class=\"none\">cancelled</span>"),
        "{page}"
    );
    assert_kept(&exporter, 2);
}

#[test]
fn a_real_test_that_crosses_the_budget_is_ended() {
    let Some(iperf3) = newer_iperf3("a_real_test_that_crosses_the_budget_is_ended") else {
        return;
    };
    let (server, limit) = (Server::of(&iperf3, &[]), 1_048_576.0);
    let own = format!("--iperf3.path={}", iperf3.display());
    let exporter = Exporter::start(&[own.as_str(), "--probe.max-bytes-per-day=1M"]);
    let path = format!("/probe?target={}&period=60s", server.target());
    let reply = exporter.scrape(&path, "600");
    assert_eq!(reply.reason(), Some("budget"), "{}", reply.body);
    assert_eq!(reply.family("iperf3_probe_attempts"), Some(1.0));
    assert!(exporter.metric(TODAY) > limit);
    assert_kept(&exporter, 1);
    assert_eq!(children(exporter.pid()), [], "a child is left");
    // Its server is free again.
    let words = ["-c", "127.0.0.1", "-p", &server.port.to_string(), "-n", "1"];
    wait_for("the server", || {
        harness::run(iperf3.to_str().unwrap(), &words, "").0
    });
}

#[test]
fn the_budget_ends_a_test_with_sigterm_and_reports_the_bytes() {
    let whole = recorded("3.18-stream/tcp");
    let script = format!(
        "[ \"$4\" = whole ] && exec cat '{}'\n{}",
        whole.display(),
        until_told()
    );
    let fake = streaming(&script);
    let own = fake.flag();
    let exporter = Exporter::start(&[own.as_str(), "--probe.max-bytes-per-day=15M"]);
    assert_eq!(
        exporter.get("/probe?target=whole").family("iperf3_up"),
        Some(1.0)
    );
    let before = exporter.metric(TODAY);
    assert_eq!(before, 2.0 * FIRST);
    // The rest of the budget is too small for one second of it.
    let reply = exporter.scrape("/probe?target=a&period=4s", "60");
    assert_eq!(reply.reason(), Some("budget"), "{}", reply.body);
    let today = exporter.metric(TODAY);
    assert_eq!(today, before + ALL);
    let line = exporter.log_line("msg=\"test stopped\"");
    let words = format!("{today} of 15728640 bytes are spent, {ALL} of them by this test");
    assert!(
        line.contains(&words) && line.contains("reason=budget"),
        "{line}"
    );
    let page = ended(&exporter, 2);
    assert!(page.contains(&words), "{page}");
    assert!(
        page.contains("<dt>Sent</dt><dd>9.44\u{a0}MB</dd>"),
        "{page}"
    );
    let end = "was stopped because the daily budget was spent, after ";
    assert!(page.contains(end), "{page}");
    // The next test does not run.
    let reply = exporter.get("/probe?target=b");
    assert_eq!(reply.reason(), Some("budget"), "{}", reply.body);
    assert_eq!(reply.family("iperf3_probe_attempts"), Some(0.0));
    exporter.log_line("msg=\"test refused\"");
    assert!(!ended(&exporter, 3).contains("cut off"));
}

#[test]
fn the_budget_kills_a_test_that_ignores_sigterm() {
    let lines = recorded("3.21-stream/client-sigterm-tcp");
    let fake = streaming(&format!(
        "trap '' TERM\nhead -n 2 '{}'\nexec sleep 600",
        lines.display()
    ));
    let own = fake.flag();
    let exporter = Exporter::start(&[own.as_str(), "--probe.max-bytes-per-day=1M"]);
    let reply = exporter.scrape("/probe?target=a&period=4s", "60");
    assert_eq!(reply.reason(), Some("budget"), "{}", reply.body);
    assert_eq!(exporter.metric(TODAY), FIRST);
    assert_eq!(exporter.metric(UPLOAD), FIRST);
}

#[test]
fn a_test_that_is_almost_over_may_finish() {
    let lines = recorded("3.18-stream/tcp");
    let lines = lines.display();
    // Its last output exceeds the limit; after that it only disconnects from its server.
    let fake = streaming(&format!(
        "head -n 1 '{lines}'\nsleep 0.9\ntail -n +2 '{lines}'\nexec sleep 0.3"
    ));
    for (query, why) in [
        ("bytes=10M", "it fits, and its last blocks do not"),
        ("period=1s", "its second is over"),
    ] {
        let own = fake.flag();
        let exporter = Exporter::start(&[own.as_str(), "--probe.max-bytes-per-day=11M"]);
        let reply = exporter.scrape(&format!("/probe?target=a&{query}"), "60");
        assert_eq!(
            reply.family("iperf3_up"),
            Some(1.0),
            "{why}: {}",
            reply.body
        );
        assert_eq!(exporter.metric(TODAY), 2.0 * FIRST);
    }
}

#[test]
fn a_test_that_was_cut_off_is_reported_to_the_byte_and_as_incomplete() {
    let fake = streaming(&until_told());
    let exporter = Exporter::start(&[fake.flag(), "--iperf3.timeout=10s".to_owned()]);
    let reply = exporter.get("/probe?target=a&period=1s&debug=true");
    assert_eq!(reply.reason(), Some("timeout"), "{}", reply.body);
    let told = told(&reply.body);
    assert_eq!(
        told[1..],
        [
            "  upload: 9437184 bytes sent",
            // The bytes after it do not fill an interval.
            "    0.00 to 1.00 s: 6266509 bytes per second",
        ],
        "{}",
        reply.body
    );
    let page = ended(&exporter, 1);
    assert!(
        page.contains("upload, 1 interval, 50.1\u{a0}Mbit/s."),
        "{page}"
    );
    // An open page still shows it, in its frame.
    let frame = exporter.get("/probes/1/now").body;
    let incomplete = "<strong>Incomplete: ";
    assert!(
        page.contains(incomplete) && frame.contains(incomplete),
        "{frame}"
    );
    assert!(frame.contains("<svg class=\"plot\""), "{frame}");
    assert_eq!(exporter.metric(UPLOAD), ALL);
}

#[test]
fn both_directions_of_a_test_that_was_cut_off_are_kept_separately() {
    let lines = recorded("3.18-stream/tcp-P4-bidir");
    let fake = streaming(&format!("head -n 3 '{}'; kill -9 $$", lines.display()));
    let exporter = Exporter::start(&[fake.flag()]);
    let path = "/probe?target=a&period=2s&bidirectional=true&parallel=4&debug=true";
    let reply = exporter.get(path);
    assert_eq!(reply.reason(), Some("killed"), "{}", reply.body);
    let told = told(&reply.body);
    assert_eq!(told.len(), 7, "{told:?}");
    assert_eq!(told[1], "  upload: 10485760 bytes sent");
    assert_eq!(told[4], "  download: 10485760 bytes arrived");
    let page = ended(&exporter, 1);
    assert!(page.contains("upload, 2 intervals, "), "{page}");
    assert!(page.contains("; download, 2 intervals, "), "{page}");
    for fact in ["Sent", "Arrived"] {
        let fact = format!("<dt>{fact}</dt><dd>10.5\u{a0}MB</dd>");
        assert!(page.contains(&fact), "{page}");
    }
    let download = UPLOAD.replace("upload", "download");
    assert_eq!(exporter.metric(&download), 10_485_760.0);
}

#[test]
fn a_long_test_that_was_cut_off_is_shown_as_marked_means() {
    let fake = streaming("cat \"$DIR/$4\"; kill -9 $$");
    let exporter = Exporter::start(&[fake.flag()]);
    for (number, seconds, is_said) in [(1, 300, false), (2, 301, true)] {
        let mut lines = "{\"event\":\"start\",\"data\":{\"connected\":[{}]}}\n".to_owned();
        for second in 0..seconds {
            let stream = serde_json::json!({ "start": second, "end": second + 1, "seconds": 1, "bytes": 1000,
                "omitted": false, "sender": true });
            let line = serde_json::json!({ "event": "interval", "data": { "streams": [stream] } });
            lines.push_str(&format!("{line}\n"));
        }
        let target = format!("long-{seconds}");
        std::fs::write(fake.dir().join(&target), &lines).unwrap();
        let reply = exporter.get(&format!("/probe?target={target}&period=10m&debug=true"));
        assert_eq!(reply.reason(), Some("killed"), "{}", reply.body);
        let told = told(&reply.body);
        let first = format!("  upload: {seconds}000 bytes sent");
        assert!(told[1].starts_with(&first), "{}", told[1]);
        assert_eq!(told[1] != first, is_said);
        assert!(told.len() <= 302, "{}", told.len());
        let page = ended(&exporter, number);
        let says = page.contains("Each step is the mean of neighbouring intervals");
        assert_eq!(says, is_said, "{page}");
    }
}

#[test]
fn without_streaming_nothing_is_known_of_a_test_that_was_cut_off() {
    let (server, exporter) = (Server::start(), Exporter::start::<&str>(&[]));
    let path = format!(
        "/probe?target={}&period=60s&bitrate=1M&debug=true",
        server.target()
    );
    if can_stream(Path::new("iperf3")) {
        harness::skipped(
            "without_streaming_nothing_is_known_of_a_test_that_was_cut_off",
            "the installed iperf3 streams",
        );
        return;
    }
    let reply = thread::scope(|scope| {
        let probe = scope.spawn(|| exporter.scrape(&path, "600"));
        wait_for("some of it to arrive", || server.intervals() > 0);
        signal(children(exporter.pid())[0].0, "KILL");
        probe.join().unwrap()
    });
    assert_eq!(reply.reason(), Some("killed"), "{}", reply.body);
    assert!(told(&reply.body).is_empty());
    assert!(!ended(&exporter, 1).contains("cut off"));
}

fn can_stream(iperf3: &Path) -> bool {
    let (_, help) = harness::run(iperf3.to_str().unwrap(), &["--help"], "");
    help.contains("--json-stream")
}
