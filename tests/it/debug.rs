//! `debug=true`: the text that explains a probe.

use crate::harness::{Exporter, Fake, Server};

/// The lines under a title, up to the next empty line.
fn part<'a>(body: &'a str, title: &str) -> Vec<&'a str> {
    let start = body
        .lines()
        .position(|line| line.starts_with(title))
        .unwrap_or_else(|| panic!("no {title} in {body}"));
    let rest = body.lines().skip(start + 1);
    rest.take_while(|line| !line.is_empty()).collect()
}

#[test]
fn a_real_probe_is_explained_from_start_to_end() {
    let server = Server::start();
    let exporter = Exporter::start::<&str>(&[]);
    let path = format!(
        "/probe?target={}&period=1s&bitrate=1M&debug=true",
        server.target()
    );
    let reply = exporter.get(&path);
    assert_eq!(reply.code, 200);
    assert_eq!(
        reply.header("Content-Type"),
        Some("text/plain; charset=utf-8")
    );
    let body = &reply.body;
    assert!(body.contains("\noutcome     success\n"), "{body}");
    let command = part(body, "command line").join("");
    assert!(
        command.contains(&format!("-c 127.0.0.1 -p {} -t 1", server.port)),
        "{command}"
    );
    let times = part(body, "timeline (UTC)");
    assert_eq!(times.len(), 3, "{times:?}");
    assert!(
        times[2].contains("iperf3 exited with status 0, after "),
        "{times:?}"
    );
    assert_eq!(part(body, "standard error"), ["  (none)"]);
    // The document is complete: it is what iperf3 printed.
    let (_, rest) = body.split_once("end section of iperf3's report").unwrap();
    let (json, metrics) = rest.split_once("\n\nmetrics\n\n").unwrap();
    let json = json.split_once('\n').unwrap().1;
    let end: serde_json::Value = serde_json::from_str(json).unwrap();
    assert!(end["sum_received"]["bytes"].as_f64().unwrap() > 0.0);
    // The metrics are those of a normal response.
    assert!(metrics.starts_with("# HELP iperf3_up "), "{metrics}");
    assert_eq!(reply.family("iperf3_up"), Some(1.0));
    assert_eq!(
        reply.family("iperf3_received_bytes"),
        end["sum_received"]["bytes"].as_f64()
    );
}

#[test]
fn iperf3s_output_in_a_failure_is_escaped() {
    let fake = Fake::new("printf 'iperf3: \\033[2Jwhat\\n\\nmetrics\\n' >&2; exit 7");
    let exporter = Exporter::start(&[fake.flag()]);
    let body = exporter.get("/probe?target=127.0.0.1&debug=1").body;
    assert!(body.contains("\noutcome     failure: "), "{body}");
    assert!(body.contains("iperf3 exited with status 7"), "{body}");
    assert!(!body.contains('\u{1b}'), "{body:?}");
    // iperf3's output cannot imitate a section of the text.
    assert_eq!(body.matches("\nmetrics\n").count(), 1, "{body}");
    assert!(body.contains("\n  metrics\n"), "{body}");
    assert!(body.contains("iperf3_up{target=\"127.0.0.1\",port=\"5201\"} 0\n"));
}

#[test]
fn the_ports_of_a_range_are_listed_as_they_were_tried() {
    let fake = Fake::new(
        "[ \"$5\" = 5201 ] && echo '{\"error\":\"the server is busy running a test\"}' || \
         echo '{\"error\":\"unable to connect to server: Connection refused\"}'\nexit 1",
    );
    let exporter = Exporter::start(&[fake.flag()]);
    let path = "/probe?target=127.0.0.1&port=5201-5202&period=600s&debug=1";
    // Enough time to try both ports on a busy machine, until none is left for another test.
    let body = exporter.scrape(path, "620").body;
    let times = part(&body, "timeline (UTC)").join("\n");
    // Of many attempts the latest are listed. In each round the second port is tried without a pause or a wait.
    let told = times.contains(", port 5201\n") && times.contains(": port 5202");
    assert!(told, "{body}");
    // The first port is the busy one, and the command line is the one for it.
    assert!(body.contains("failure: busy"), "{body}");
    let command = part(&body, "command line").join("");
    assert!(command.contains("-p 5201"), "{body}");
    assert!(body.contains("port=\"5201\",reason=\"busy\""), "{body}");
}

#[test]
fn each_attempt_is_listed_and_an_earlier_result_is_marked() {
    let fake = Fake::new(&format!(
        "[ -e \"$DIR/ran\" ] || {{ touch \"$DIR/ran\"; echo '{{\"error\":\"the server is busy running a test\"}}'; exit 1; }}\n\
         exec cat '{}'",
        crate::harness::good_report().display()
    ));
    let exporter = Exporter::start(&[fake.flag()]);
    let path = "/probe?target=127.0.0.1&max_age=1m&debug=1";
    let body = exporter.get(path).body;
    assert_eq!(part(&body, "timeline (UTC)").len(), 6, "{body}");
    assert!(body.contains("\nattempts    2\n"), "{body}");
    let why = ": busy: the server is busy running a test\n";
    assert_eq!(body.matches(why).count(), 1, "{body}");
    assert!(body.contains("\"sum_received\""), "{body}");
    let body = exporter.get(path).body;
    assert!(
        body.contains("\nresult      of a test that ended "),
        "{body}"
    );
    assert_eq!(part(&body, "end section of iperf3's report"), ["  (none)"]);
}
