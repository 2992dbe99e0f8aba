//! Odd output of iperf3: it leads to the reason of a failure, or still to a report.
//!
//! The iperf3 is scripted, as the installed one cannot be made to show these cases; `real` and `parameters` use the
//! real one.

use std::fs;

use crate::forms;
use crate::harness::{self, Exporter, Fake, Reply, TempDir};

/// An exporter whose iperf3 runs the script of the next probe.
struct Odd {
    fake: Fake,
    exporter: Exporter,
}

impl Odd {
    fn new() -> Self {
        let fake = Fake::new(". \"$DIR/case\"");
        let exporter = Exporter::start(&[fake.flag()]);
        Self { fake, exporter }
    }

    /// An exporter whose iperf3 streams its intervals.
    fn streaming() -> Self {
        let help = "echo 'Usage: iperf3'; for o in -J --json-stream --forceflush -c -p -t; do echo \" $o\"; done";
        let fake = Fake::with_help(". \"$DIR/case\"", help);
        let exporter = Exporter::start(&[fake.flag()]);
        Self { fake, exporter }
    }

    /// A probe of 192.0.2.1 while this shell code is iperf3.
    fn probe(&self, script: &str, more: &str) -> Reply {
        fs::write(self.fake.dir().join("case"), script).unwrap();
        let path = format!("/probe?target=192.0.2.1&period=1{more}");
        let reply = self.exporter.get(&path);
        assert_eq!(reply.code, 200, "{script}: {}", reply.body);
        reply
    }

    /// A probe that must fail with this reason and this text in the log's `error`.
    #[track_caller]
    fn assert_fails(&self, script: &str, more: &str, reason: &str, words: &str) {
        let failures = || {
            let log = self.exporter.log();
            let lines = log.lines().filter(|line| line.contains("iperf3 failed"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let before = failures().len();
        let reply = self.probe(script, more);
        harness::wait_for("a line of the failure", || failures().len() > before);
        let line = failures().pop().unwrap();
        assert_eq!(reply.reason(), Some(reason), "{script}: {line}");
        assert!(line.contains(words), "{script}: {line}");
    }
}

/// The path of a recorded run, for a script.
fn recorded(name: &str) -> String {
    format!("'{}'", harness::top().join("tests").join(name).display())
}

#[test]
fn a_datagram_that_is_too_long_is_a_local_failure_that_names_the_length() {
    let odd = Odd::new();
    let udp = "&udp_mode=1&length=2000&dont_fragment=1";
    for cause in ["Message too long", "Invalid argument"] {
        let script =
            format!("echo '{{\"error\":\"unable to write to stream socket: {cause}\"}}'; exit 1");
        odd.assert_fails(&script, udp, "local", "smaller length");
        // Up to 3.9 the message is on standard error.
        let line = format!("iperf3: error - unable to write to stream socket: {cause}");
        let report = recorded("fixtures/3.9/udp-b10M.json");
        let script = format!("cat {report}; echo '{line}' >&2; exit 1");
        odd.assert_fails(&script, udp, "local", "smaller length");
    }
    // From 3.16 on the exit status is 0.
    let script = format!("cat {}", recorded("recorded/udp-df-too-long.json"));
    odd.assert_fails(&script, "&udp_mode=1", "local", "smaller length");
}

#[test]
fn an_invalid_bind_address_is_a_local_failure_that_names_it() {
    let odd = Odd::new();
    let named = "bind_address \\\"eth9\\\" is not an address";
    let failing = |words: &str| format!("echo '{{\"error\":\"{words}\"}}'; exit 1");
    for words in [
        "unable to connect to server: Name or service not known",
        "unable to connect to server: Resource temporarily unavailable",
        // An error number left by an earlier call.
        "unable to connect to server: Invalid argument",
    ] {
        odd.assert_fails(&failing(words), "&bind=eth9", "local", named);
        odd.assert_fails(&failing(words), "&bind=eth9%25lo", "local", "bind_address");
    }
    // Before 3.11 the cause is lost.
    let script = "echo '{}'; echo 'iperf3: error - unable to send control message: Bad file descriptor' >&2; exit 1";
    odd.assert_fails(script, "&bind=eth9", "local", named);
    // The bind address is not the cause here: a name that resolves, an IP address, a server that is down.
    let unreachable = failing("unable to connect to server: No route to host");
    for bind in ["localhost", "192.0.2.9", "lo"] {
        let more = format!("&bind={bind}");
        odd.assert_fails(&unreachable, &more, "unreachable", "error=\"unable");
    }
    let refused = failing("unable to connect to server: Connection refused");
    odd.assert_fails(&refused, "&bind=eth9", "refused", "error=\"unable");
}

#[test]
fn the_reason_is_found_on_either_output_and_after_a_report() {
    let odd = Odd::new();
    let line = "iperf3: error - unable to send control message: Broken pipe";
    let report = recorded("fixtures/3.12/tcp.json");
    for to in ["", ">&2"] {
        let script = format!("cat {report}; echo '{line}' {to}; exit 1");
        let words = "error=\"unable to send control message: Broken pipe\"";
        odd.assert_fails(&script, "", "interrupted", words);
        // A warning is no reason.
        let script = format!("echo 'warning: UDP block size 2000 exceeds TCP MSS' >&2; {script}");
        odd.assert_fails(&script, "", "interrupted", words);
        let refused = "iperf3: error - unable to connect to server: Connection refused";
        odd.assert_fails(&format!("echo '{refused}' {to}; exit 1"), "", "refused", "");
    }
    let script = format!("echo 'warning: odd' >&2; cat {report}; exit 1");
    odd.assert_fails(&script, "", "other", "status 1 without");
}

#[test]
fn a_test_without_received_bytes_fails_where_that_is_impossible() {
    let odd = Odd::new();
    let report = harness::top().join("tests/fixtures/3.12/tcp.json");
    let text = fs::read_to_string(&report).unwrap();
    let (head, end) = text.split_once("\"sum_received\"").unwrap();
    let rest = end.split_once("\"bytes\":\t").unwrap().1;
    let rest = rest.split_once(',').unwrap().1;
    // The text in the report: the bytes of the sum.
    let received = |bytes: &str| {
        let head = head.to_owned() + "\"sum_received\":{\"seconds\":3.0,\"bytes\":";
        let file = odd.fake.dir().join("report");
        fs::write(&file, format!("{head}{bytes},{rest}")).unwrap();
        format!("cat '{}'", file.display())
    };
    // 2.9 GB were sent.
    let words = "nothing arrived";
    odd.assert_fails(&received("0"), "", "interrupted", words);
    // This many bytes may stay in buffers, on a slow link or one that drops large packets: then 0 is a valid
    // measurement.
    let sent = "2901803008";
    assert!(head.contains(sent));
    let little = received("0") + &format!(" | sed 's/{sent}/60000000/'");
    let reply = odd.probe(&little, "");
    assert_eq!(reply.family("iperf3_received_bytes"), Some(0.0));
    assert_eq!(reply.family("iperf3_up"), Some(1.0));
    // An absent number is not 0.
    for (bytes, known) in [("2896691200", Some(2_896_691_200.0)), ("null", None)] {
        let reply = odd.probe(&received(bytes), "");
        assert_eq!(reply.family("iperf3_up"), Some(1.0), "{bytes}");
        assert_eq!(reply.family("iperf3_received_bytes"), known, "{bytes}");
    }
}

#[test]
fn text_before_a_report_is_skipped() {
    let odd = Odd::new();
    let report = recorded("fixtures/3.12/tcp.json");
    for before in [
        "printf '\\357\\273\\277'",
        "echo 'Increasing socket buffer size to 66531'",
        "echo 'wrapper: {begins}'; echo '{ with a brace'",
        "echo '{\"level\":\"info\",\"msg\":\"wrapped\"}'",
    ] {
        let reply = odd.probe(&format!("{before}; cat {report}"), "");
        let bytes = reply.family("iperf3_received_bytes");
        assert_eq!(bytes, Some(2_896_691_200.0), "{before}");
        assert_eq!(reply.family("iperf3_up"), Some(1.0), "{before}");
    }
    // The same for the reason of a failed test.
    let failed = recorded("fixtures/3.12/refused.json");
    let script = format!("echo 'Increasing socket buffer size to 66531'; cat {failed}; exit 1");
    odd.assert_fails(&script, "", "refused", "");
}

#[test]
fn an_invalid_number_is_absent_and_broken_json_names_the_line() {
    let odd = Odd::new();
    let report = recorded("fixtures/3.21/tcp.json");
    let with = |key: &str, value: &str| {
        format!("sed 's/\"{key}\":\t[-0-9.e]*/\"{key}\":\t{value}/' {report}")
    };
    let whole = odd.probe(&format!("cat {report}"), "");
    for value in ["nan", "-nan", "inf", "-inf", "null"] {
        for (key, families) in [
            (
                "retransmits",
                &["iperf3_retransmits", "iperf3_tcp_retransmits"][..],
            ),
            ("host_total", &[]),
            ("bits_per_second", &[]),
        ] {
            let reply = odd.probe(&with(key, value), "");
            assert_eq!(reply.family("iperf3_up"), Some(1.0), "{key} {value}");
            for family in ["iperf3_sent_bytes", "iperf3_received_bytes"] {
                assert_eq!(reply.family(family), whole.family(family), "{key} {value}");
            }
            for family in families {
                assert!(whole.body.contains(&format!("\n{family}{{")), "{family}");
                assert!(
                    !reply.body.contains(&format!("\n{family}{{")),
                    "{key} {value}"
                );
            }
        }
    }
    let text = fs::read_to_string(harness::top().join("tests/fixtures/3.21/tcp.json")).unwrap();
    let line = 1 + text
        .lines()
        .position(|line| line.contains("\"retransmits\""))
        .unwrap();
    let words = format!("not JSON at line {line}: `-nun`");
    odd.assert_fails(&with("retransmits", "-nun"), "", "bad_output", &words);
    // Cut off, with everything up to there.
    let script = format!("head -n 7 {report} | head -c -1");
    odd.assert_fails(
        &script,
        "",
        "bad_output",
        "not JSON at line 7: the output ends there",
    );
    for (script, words) in [
        (
            "printf '\\n<html>\\033[2J\\nmore\\n'",
            "not a report: `<html>\\u001b[2J`",
        ),
        (
            "echo no iperf3 here; exit 127",
            "status 127, and its output is not a report: `no iperf3 here`",
        ),
        ("exit 7", "status 7 without a report or an error message"),
    ] {
        odd.assert_fails(script, "", "bad_output", words);
    }
}

#[test]
fn a_stream_tolerates_the_same_oddities_as_a_document() {
    let odd = Odd::streaming();
    let recorded = fs::read_to_string(harness::top().join("tests/fixtures/3.21/tcp.json")).unwrap();
    let stream = forms::stream_of(&recorded);
    // Prints this text, from a file, instead of the stream.
    let printed = |text: &str| {
        fs::write(odd.fake.dir().join("printed"), text).unwrap();
        "cat \"$DIR/printed\"".to_owned()
    };
    let own = ["iperf3_sent_bytes", "iperf3_received_bytes"];
    let whole = odd.probe(&printed(&stream), "");
    let bytes = own.map(|family| whole.family(family));
    assert!(
        bytes[0] > Some(0.0) && bytes[1] > Some(0.0),
        "{}",
        whole.body
    );
    // An invalid number is absent, and the rest of its line is used.
    let with = |key: &str, value: &str| {
        let key = format!("\"{key}\":");
        let mut parts = stream.split(&key);
        let first = parts.next().unwrap().to_owned();
        parts.fold(first, |text, part| {
            let end = part.find([',', '}']).unwrap();
            text + &key + value + &part[end..]
        })
    };
    let families = ["iperf3_retransmits", "iperf3_tcp_retransmits"];
    for value in ["nan", "-nan", "inf", "null"] {
        let reply = odd.probe(&printed(&with("retransmits", value)), "");
        assert_eq!(own.map(|family| reply.family(family)), bytes, "{value}");
        for family in families.map(|family| format!("\n{family}{{")) {
            assert!(whole.body.contains(&family), "{family}");
            assert!(!reply.body.contains(&family), "{family} {value}");
        }
        // This member is not used.
        let reply = odd.probe(&printed(&with("bits_per_second", value)), "");
        assert_eq!(reply.body.lines().count(), whole.body.lines().count());
    }
    // Text before the events, also on lines that begin like an event.
    for before in [
        "\u{feff}",
        "wrapper: {begins}\n{ with a brace\n",
        "{\"level\":\"info\"}\n",
    ] {
        let reply = odd.probe(&printed(&(before.to_owned() + &stream)), "");
        assert_eq!(own.map(|family| reply.family(family)), bytes, "{before}");
    }
    // Broken or cut off where the result is: the message names the line.
    let at = 1 + stream
        .lines()
        .position(|line| line.contains("\"sum_sent\""))
        .unwrap();
    let broken = stream.replace("\"sum_sent\":{", "\"sum_sent\":{-nun,");
    let words = format!("not JSON at line {at}: `-nun`");
    odd.assert_fails(&printed(&broken), "", "bad_output", &words);
    let (cut, _) = stream.split_once("\"sum_sent\"").unwrap();
    let words = format!("not JSON at line {at}: the output ends there");
    odd.assert_fails(&printed(cut), "", "bad_output", &words);
    // All that was printed is valid JSON, but it is incomplete.
    let whole_lines = cut.rsplit_once('\n').unwrap().0.to_owned() + "\n";
    let words = "without a report or an error message";
    odd.assert_fails(&printed(&whole_lines), "", "bad_output", words);
    // A result that exceeds the limit for a line.
    let long = stream.replace(
        "\"sum_sent\"",
        &format!("\"long\":\"{}\",\"sum_sent\"", "x".repeat(1 << 20)),
    );
    let words = "its output is incomplete: one line exceeds the limit of 1048576 bytes";
    odd.assert_fails(&printed(&long), "", "bad_output", words);
    let words = "its output is not a report: `hello`";
    odd.assert_fails("echo hello", "", "bad_output", words);
}

#[test]
fn an_iperf3_that_hides_its_version_is_healthy_while_probes_succeed() {
    let dir = TempDir::new();
    let report = recorded("fixtures/3.12/tcp.json");
    let program = |name: &str, version: &str| {
        let path = dir.path().join(name);
        let script = format!(
            "#!/bin/sh\ncase $1 in --version) {version};; --help) ;; *) cat {report};; esac\n"
        );
        harness::write_program(&path, &script);
        Exporter::start(&[format!("--iperf3.path={}", path.display())])
    };
    let probe = |exporter: &Exporter| {
        let reply = exporter.get("/probe?target=192.0.2.1&period=1");
        assert_eq!(reply.family("iperf3_up"), Some(1.0), "{}", exporter.log());
    };
    // On a later line.
    let exporter = program("later", "echo 'Linux host 6.1'; echo 'iperf 3.12'");
    let line = exporter.log_line("iperf3 found");
    assert!(line.contains("version=3.12"), "{line}");
    assert_eq!(exporter.get("/health").code, 200);
    // Nowhere.
    let exporter = program("never", "echo wrapped");
    exporter.log_line("no usable iperf3");
    assert_eq!(exporter.get("/health").code, 503);
    probe(&exporter);
    // The metrics ask for the version again.
    exporter.get("/metrics");
    assert_eq!(exporter.get("/health").code, 200);
    probe(&exporter);
    assert_eq!(exporter.get("/health").code, 200);
}
