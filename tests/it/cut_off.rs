//! Tests that are cut off: what they measured is kept for people, counted, and sold to nobody as a result.

use std::path::{Path, PathBuf};
use std::thread;

use crate::harness::{self, Exporter, Fake, Server, children, wait_for};
use crate::html::assert_sound;

const UPLOAD: &str = "iperf3_exporter_test_bytes_total{direction=\"upload\"}";
/// What a recorded run carried until it was told to end.
const ALL: f64 = 9_437_184.0;

/// A fake that streams: `script` is what it does.
fn streaming(script: &str) -> Fake {
    let help = "echo 'Usage: iperf3'; for o in -c -p -t -n -P --bidir --json-stream --forceflush; do echo \" $o\"; done";
    Fake::with_help(script, help)
}

fn recorded(name: &str) -> PathBuf {
    harness::top().join(format!("tests/fixtures/{name}.stream"))
}

/// The script of an upload whose server is told to end it: start and a second, and the rest at SIGTERM.
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

/// The lines of `debug=true` about what was measured until a test was cut off.
fn told(body: &str) -> Vec<&str> {
    let lines = body.lines().skip_while(|line| *line != TITLE).skip(1);
    lines.take_while(|line| !line.is_empty()).collect()
}
const TITLE: &str = "measured until it was cut off (incomplete, and no result)";

fn signal(pid: u32, name: &str) {
    let (is_sent, said) = harness::run("kill", &["-s", name, &pid.to_string()], "");
    assert!(is_sent, "{said}");
}

#[test]
fn what_was_cut_off_is_told_to_the_byte_and_as_incomplete() {
    let fake = streaming(&until_told());
    let exporter = Exporter::start(&[fake.flag(), "--iperf3.timeout=2s".to_owned()]);
    let reply = exporter.get("/probe?target=a&period=1s&debug=true");
    assert_eq!(reply.reason(), Some("timeout"), "{}", reply.body);
    let told = told(&reply.body);
    assert_eq!(
        told[1..],
        [
            "  upload: 9437184 bytes sent",
            // What came behind it is no whole interval.
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
    assert_eq!(exporter.metric(UPLOAD), ALL);
}

#[test]
fn both_ways_of_a_test_that_was_cut_off_are_kept_apart() {
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
fn of_a_long_test_that_was_cut_off_means_are_shown_and_said_to_be() {
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
fn an_iperf3_that_cannot_stream_says_nothing_of_a_test_that_was_cut_off() {
    let (server, exporter) = (Server::start(), Exporter::start::<&str>(&[]));
    let path = format!(
        "/probe?target={}&period=60s&bitrate=1M&debug=true",
        server.target()
    );
    if can_stream(Path::new("iperf3")) {
        harness::skipped(
            "an_iperf3_that_cannot_stream_says_nothing_of_a_test_that_was_cut_off",
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
