//! The rarer parameters through the real iperf3: each option is on its command line, and its effect in its report. A
//! scripted iperf3 shows what the installed one cannot do.

use std::fs;
use std::net::{Ipv6Addr, TcpListener};
use std::path::Path;
use std::thread;

use serde_json::Value;

use crate::harness::{self, Exporter, Fake, Server, TempDir, good_report};
use crate::observed::{Observed, number};

fn text<'a>(report: &'a Value, pointer: &str) -> &'a str {
    let value = report.pointer(pointer).and_then(Value::as_str);
    value.unwrap_or_else(|| panic!("no {pointer} in {report}"))
}

/// Whether the iperf3 on PATH has an option; otherwise prints that `test` is skipped.
fn iperf3_has(option: &str, test: &str) -> bool {
    let (_, help) = harness::run("iperf3", &["--help"], "");
    let has = help.contains(option);
    if !has {
        harness::skipped(test, &format!("the iperf3 here has no {option}"));
    }
    has
}

#[test]
fn omitted_seconds_come_before_the_period_and_are_not_counted() {
    let (server, observed) = (Server::start(), Observed::new());
    let query = format!("target={}&period=1&omit=1&bitrate=8M", server.target());
    let (reply, report) = observed.probe(&query);
    let words = observed.words();
    assert!(words.contains(" -t 1 "), "{words}");
    assert!(words.contains(" -O 1 "), "{words}");
    assert_eq!(number(&report, "/start/test_start/omit"), 1.0);
    let intervals = report["intervals"].as_array().unwrap();
    let bytes = |omitted: bool| -> f64 {
        let sums = intervals.iter().map(|interval| &interval["sum"]);
        let wanted = sums.filter(|sum| sum["omitted"] == omitted);
        wanted.map(|sum| sum["bytes"].as_f64().unwrap()).sum()
    };
    assert!(bytes(true) > 0.0 && bytes(false) > 0.0, "{report}");
    assert_eq!(reply.family("iperf3_sent_bytes"), Some(bytes(false)));
}

#[test]
fn a_period_is_shortened_together_with_the_omitted_seconds() {
    let fake = Fake::new("exit 1");
    let exporter = Exporter::start(&[fake.flag()]);
    let path = "/probe?target=192.0.2.1&period=60&omit=2&bitrate=1M&debug=1";
    // 90 % of 5 s less the offset of 0.5 s are 4 whole seconds.
    let story = exporter.scrape(path, "5").body;
    assert!(
        story.contains(" -t 2 ") && story.contains(" -O 2"),
        "{story}"
    );
    let line = exporter.log_line("period shortened");
    assert!(
        line.contains("wanted_seconds=60 period_seconds=2"),
        "{line}"
    );
}

#[test]
fn bytes_end_a_test_instead_of_the_period() {
    let (server, observed) = (Server::start(), Observed::new());
    for mode in [
        "",
        "&reverse_mode=1",
        "&parallel=2",
        "&udp_mode=1&bitrate=50M",
    ] {
        let query = format!("target={}&bytes=1M{mode}", server.target());
        let (reply, report) = observed.probe(&query);
        let words = observed.words();
        assert!(words.contains(" -n 1048576 "), "{words}");
        assert!(!words.contains(" -t "), "{words}");
        assert_eq!(number(&report, "/start/test_start/bytes"), 1_048_576.0);
        assert!(
            reply.family("iperf3_sent_bytes") >= Some(1_048_576.0),
            "{mode}"
        );
    }
    // The test is not shortened, however little time there is: the bytes may still fit.
    assert!(!observed.exporter.log().contains("period shortened"));
}

#[test]
fn a_test_of_bytes_that_exceeds_its_time_is_ended() {
    let (server, observed) = (Server::start(), Observed::new());
    let path = format!("/probe?target={}&bytes=1G&bitrate=1M", server.target());
    let reply = observed
        .exporter
        .scrape(&path.replace("&bitrate=1M", "&fq_rate=1M"), "2");
    assert_eq!(reply.reason(), Some("timeout"), "{}", reply.body);
}

#[test]
fn sizes_reach_the_sockets() {
    let (server, observed) = (Server::start(), Observed::new());
    let target = server.target();
    let query = format!("target={target}&period=1&bitrate=10M&window=64K&length=1.5K&mss=1000");
    let (_, report) = observed.probe(&query);
    let words = observed.words();
    assert!(words.contains(" -w 65536 -l 1536 -M 1000 "), "{words}");
    assert_eq!(number(&report, "/start/sock_bufsize"), 65536.0);
    assert_eq!(number(&report, "/start/test_start/blksize"), 1536.0);
    assert_eq!(number(&report, "/start/tcp_mss"), 1000.0);
    let query = format!("target={target}&period=1&udp_mode=1&length=200");
    let (reply, report) = observed.probe(&query);
    assert_eq!(number(&report, "/start/test_start/blksize"), 200.0);
    let packets = reply.family("iperf3_sent_packets").unwrap();
    assert_eq!(reply.family("iperf3_sent_bytes"), Some(packets * 200.0));
}

#[test]
fn buffers_larger_than_the_system_allows_are_a_local_failure() {
    let most = fs::read_to_string("/proc/sys/net/core/wmem_max").unwrap();
    // The kernel doubles the requested size.
    if most.trim().parse::<u64>().unwrap() * 2 >= 512 << 20 {
        return harness::skipped(
            "buffers_larger_than_the_system_allows_are_a_local_failure",
            "this system allows every size",
        );
    }
    let (server, observed) = (Server::start(), Observed::new());
    let reply = observed.get(&format!("target={}&period=1&window=512M", server.target()));
    let log = observed.exporter.log();
    assert_eq!(reply.reason(), Some("local"), "{log}");
}

#[test]
fn the_requested_congestion_control_is_used() {
    let test = "the_requested_congestion_control_is_used";
    if !iperf3_has("--congestion", test) {
        return;
    }
    let (server, observed) = (Server::start(), Observed::new());
    // Every Linux has it.
    let query = format!(
        "target={}&period=1&bitrate=10M&congestion=reno",
        server.target()
    );
    let (_, report) = observed.probe(&query);
    let words = observed.words();
    assert!(words.contains(" -C reno "), "{words}");
    assert_eq!(text(&report, "/end/sender_tcp_congestion"), "reno");
    assert_eq!(text(&report, "/end/receiver_tcp_congestion"), "reno");
    let query = format!("target={}&period=1&congestion=nosuch", server.target());
    assert_eq!(observed.get(&query).reason(), Some("unsupported"));
}

#[test]
fn the_packets_have_the_requested_traffic_class() {
    thread::scope(|scope| {
        for (parameter, option, tos) in [
            ("dscp=ef", " --dscp ef ", 184.0),
            ("dscp=AF11", " --dscp af11 ", 40.0),
            ("dscp=056", " --dscp 46 ", 184.0),
            ("tos=0x10", " -S 16 ", 16.0),
        ] {
            scope.spawn(move || {
                let (server, observed) = (Server::start(), Observed::new());
                let query = format!("target={}&period=1&bitrate=1M&{parameter}", server.target());
                let (_, report) = observed.probe(&query);
                let words = observed.words();
                assert!(words.contains(option), "{words}");
                assert_eq!(number(&report, "/start/test_start/tos"), tos, "{parameter}");
            });
        }
    });
}

#[test]
fn the_family_parameter_selects_the_address_of_a_name() {
    let test = "the_family_parameter_selects_the_address_of_a_name";
    let (server, observed) = (Server::start(), Observed::new());
    let mut versions = vec![("4", "127.0.0.1")];
    let has_both = harness::run("getent", &["ahosts", "localhost"], "")
        .1
        .contains("::1");
    if has_both && TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        versions.push(("6", "::1"));
    } else {
        harness::skipped(test, "localhost has no IPv6 address here");
    }
    for (version, address) in versions {
        let query = format!(
            "target=localhost:{}&period=1&bitrate=1M&family={version}",
            server.port
        );
        let (_, report) = observed.probe(&query);
        let words = observed.words();
        assert!(words.contains(&format!(" -{version} ")), "{words}");
        assert_eq!(text(&report, "/start/connected/0/remote_host"), address);
    }
}

#[test]
fn a_local_device_and_a_local_port_are_used() {
    let test = "a_local_device_and_a_local_port_are_used";
    let (server, observed) = (Server::start(), Observed::new());
    let port = harness::free_port();
    let query = format!(
        "target={}&period=1&bitrate=1M&cport={port}",
        server.target()
    );
    let (_, report) = observed.probe(&query);
    let words = observed.words();
    assert!(words.contains(&format!(" --cport {port} ")), "{words}");
    assert_eq!(
        number(&report, "/start/connected/0/local_port"),
        f64::from(port)
    );
    if !iperf3_has("--bind-dev", test) {
        return;
    }
    let query = |device: &str| {
        format!(
            "target={}&period=1&bitrate=1M&bind_dev={device}",
            server.target()
        )
    };
    observed.probe(&query("lo"));
    let words = observed.words();
    assert!(words.contains(" --bind-dev lo "), "{words}");
    assert_eq!(observed.get(&query("nosuch0")).reason(), Some("local"));
    // The same through the other parameter, which is "address or interface" in two of the exporters that this one
    // replaces.
    observed.probe(&query("lo").replace("bind_dev", "bind"));
    let words = observed.words();
    assert!(words.contains(" --bind-dev lo "), "{words}");
    assert!(!words.contains(" -B "), "{words}");
    let no_device = query("nosuch0").replace("bind_dev", "bind");
    assert_eq!(observed.get(&no_device).reason(), Some("local"));
    observed.exporter.log_line("bind_address \\\"nosuch0\\\"");
}

#[test]
fn pacing_by_the_kernel_holds_the_rate() {
    let test = "pacing_by_the_kernel_holds_the_rate";
    if !iperf3_has("--fq-rate", test) {
        return;
    }
    let (server, observed) = (Server::start(), Observed::new());
    let query = format!("target={}&period=2&fq_rate=8M&length=4K", server.target());
    let (reply, _) = observed.probe(&query);
    let words = observed.words();
    assert!(words.contains(" --fq-rate 8000000 "), "{words}");
    // 1 MB per second; loopback without it has a thousand times that.
    let bytes = reply.family("iperf3_received_bytes").unwrap();
    assert!((100_000.0..20_000_000.0).contains(&bytes), "{bytes}");
}

#[test]
fn switches_reach_iperf3() {
    let (server, observed) = (Server::start(), Observed::new());
    let target = server.target();
    let query = format!("target={target}&period=1&no_delay=1&zero_copy=true&bitrate=10M");
    observed.probe(&query);
    let words = observed.words();
    assert!(words.contains(" -N -Z "), "{words}");
}

#[test]
fn datagrams_that_are_too_long_and_must_not_be_fragmented_fail() {
    let test = "datagrams_that_are_too_long_and_must_not_be_fragmented_fail";
    if !iperf3_has("--dont-fragment", test) {
        return;
    }
    if !harness::has("unshare", test) || !harness::run("unshare", &["-rn", "true"], "").0 {
        return harness::skipped(test, "network namespaces are not available here");
    }
    // Server and client in their own network, whose packets are smaller than those of the usual loopback.
    let fake = Fake::new(
        "exec unshare -rn sh -c 'ip link set lo up mtu 1500; iperf3 -s -1 >/dev/null 2>&1 & \
         until ss -ltn | grep -q :5201; do sleep 0.01; done; iperf3 \"$@\"; status=$?; kill $!; exit $status' sh \"$@\"",
    );
    let exporter = Exporter::start(&[fake.flag()]);
    for (more, passes) in [
        ("&length=1472&dont_fragment=1", true),
        ("&length=1473", true),
        ("&length=1473&dont_fragment=1", false),
    ] {
        let path = format!("/probe?target=127.0.0.1&period=1&udp_mode=1{more}");
        let reply = exporter.get(&path);
        // 3.12 fails; from 3.16 on iperf3 succeeds with nothing sent.
        let reason = (!passes).then_some("local");
        assert_eq!(reply.reason(), reason, "{more}: {}", exporter.log());
        let bytes = reply.family("iperf3_received_bytes").unwrap();
        assert_eq!(bytes > 0.0, passes, "{more}: {}", exporter.log());
    }
    exporter.log_line("smaller length");
}

#[test]
fn other_protocols_are_measured_or_named_as_unsupported() {
    let (server, observed) = (Server::start(), Observed::new());
    let (_, help) = harness::run("iperf3", &["--help"], "");
    for protocol in ["mptcp", "sctp"] {
        let query = format!("target={}&period=1&{protocol}=1", server.target());
        let reply = observed.get(&query);
        let option = format!("--{protocol}");
        if !help.contains(&option) {
            assert_eq!(reply.reason(), Some("unsupported"), "{protocol}");
            let line = observed
                .exporter
                .log_line(&format!("does not support {option}"));
            let needed = format!("which the parameter {protocol} needs");
            assert!(line.contains(&needed), "{line}");
            continue;
        }
        assert!(observed.words().contains(&option), "{protocol}");
        if reply.family("iperf3_up") == Some(1.0) {
            assert!(reply.family("iperf3_received_bytes") > Some(0.0));
        } else {
            // A kernel without it.
            assert_eq!(
                reply.reason(),
                Some("unsupported"),
                "{}",
                observed.exporter.log()
            );
            harness::skipped(
                &format!("measuring with {protocol}"),
                "this kernel has it not",
            );
        }
    }
}

#[test]
fn a_dead_target_costs_the_connect_timeout() {
    let test = "a_dead_target_costs_the_connect_timeout";
    if !iperf3_has("--connect-timeout", test) {
        return;
    }
    // A backlog of one connection that is never accepted: when it is full, the kernel drops new ones.
    let script = "import socket,sys\ns=socket.socket();s.bind(('127.0.0.1',0));s.listen(0)\n\
                  port=s.getsockname()[1];kept=[]\n\
                  import select\n\
                  while True:\n c=socket.socket();c.setblocking(False)\n c.connect_ex(('127.0.0.1',port));kept.append(c)\n\
                  \x20if not select.select([],[c],[],0.5)[1]: break\n\
                  print(port,flush=True);sys.stdin.read()";
    if !harness::has("python3", test) {
        return;
    }
    let mut child = std::process::Command::new("python3")
        .args(["-c", script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut port = String::new();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut lines, &mut port).unwrap();
    let port = port.trim();
    thread::scope(|scope| {
        for (parameter, option, least_seconds) in [
            ("", " --connect-timeout 5000 ", 4.9),
            ("&connect_timeout=300ms", " --connect-timeout 300 ", 0.29),
        ] {
            scope.spawn(move || {
                let observed = Observed::new();
                let path = format!("/probe?target=127.0.0.1:{port}&period=1{parameter}");
                // The test would wait an hour for this response; it must come earlier.
                let reply = observed.exporter.scrape(&path, "3600");
                let log = observed.exporter.log();
                assert_eq!(reply.reason(), Some("connect_timeout"), "{log}");
                let seconds = reply.family("iperf3_probe_duration_seconds").unwrap();
                assert!(seconds >= least_seconds, "{parameter}: {seconds}");
                let words = observed.words();
                assert!(words.contains(option), "{words}");
            });
        }
    });
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn each_refusal_is_one_line_that_names_the_parameters_and_runs_nothing() {
    let fake = Fake::new("echo \"$*\" >> \"$DIR/ran\"; exit 1");
    let exporter = Exporter::start(&[fake.flag()]);
    for (query, line) in [
        (
            "omit=11m",
            "parameter \"omit\": \"11m\" is not allowed, want a duration from 0 to 10m, such as 2s",
        ),
        (
            "bytes=1T",
            "parameter \"bytes\": \"1T\" is not allowed, want #[.#][KMG] with K = 1024, from 1 to 1024G, such as 10M",
        ),
        (
            "period=1&bytes=1",
            "parameters \"period\" and \"bytes\" conflict, want only one of them",
        ),
        (
            "dscp=ef&tos=1",
            "parameters \"dscp\" and \"tos\" conflict, want only one of them",
        ),
        (
            "sctp=1&udp_mode=1",
            "parameters \"sctp\" and \"udp_mode\" conflict, want only one of them",
        ),
        (
            "family=5",
            "parameter \"family\": \"5\" is not allowed, want 4 or 6",
        ),
        (
            "family=6",
            "parameters \"family\" and \"target\" cannot be combined: the address has the other IP version",
        ),
        (
            "congestion=-x",
            "parameter \"congestion\": \"-x\" is not allowed, want the name of an algorithm such as bbr: letters, digits, \
             - and _, at most 15 characters",
        ),
        (
            "dont_fragment=1",
            "parameters \"dont_fragment\" and \"udp_mode\" cannot be combined: iperf3 ignores the first without UDP",
        ),
        (
            "length=65508&udp_mode=1",
            "parameters \"length\" and \"udp_mode\" cannot be combined: a datagram has 16 to 65507 bytes",
        ),
        (
            "cport=65535&parallel=2",
            "parameters \"cport\" and \"parallel\" cannot be combined: each stream uses a port, and the last one \
             would be above 65535",
        ),
        (
            "file=/etc/passwd",
            "unknown parameter \"file\", want one of ",
        ),
        ("logfile=x", "unknown parameter \"logfile\", want one of "),
        (
            "get_server_output=1",
            "unknown parameter \"get_server_output\", want one of ",
        ),
        (
            "duration=10s",
            "unknown parameter \"duration\": use \"period\" for the test's length",
        ),
        (
            "omit-duration=2s",
            "unknown parameter \"omit-duration\": use \"omit\" for the seconds to leave out",
        ),
    ] {
        let reply = exporter.get(&format!("/probe?target=192.0.2.1&{query}"));
        assert_eq!(reply.code, 400, "{query}");
        let said = reply.body.strip_suffix('\n').unwrap();
        assert!(
            !said.contains('\n') && said.starts_with(line),
            "{query}: {said}"
        );
        assert!(line.ends_with(' ') || said == line, "{query}: {said}");
    }
    assert!(!fake.dir().join("ran").exists());
}

/// For a `Probe` without a module the Prometheus operator sends `module=`.
#[test]
fn an_empty_value_of_any_name_is_absent() {
    let fake = Fake::new(&format!("exec cat '{}'", good_report().display()));
    let exporter = Exporter::start(&[fake.flag()]);
    let reply = exporter.get("/probe?module=&target=192.0.2.1&port=&duration=&port=5202");
    assert_eq!(reply.code, 200, "{}", reply.body);
    assert!(reply.body.contains("port=\"5202\""), "{}", reply.body);
}

/// The usage text of an iperf3 with these further options.
fn usage(options: &[&str]) -> String {
    let mut text = "Usage: iperf3 [-s|-c host] [options]\n  -p, --port #\n  -J, --json\n  -c, --client <host>\n\
                    \x20 -t, --time #\n  -i, --interval #\n  -u, --udp  use UDP\n"
        .to_owned();
    for option in options {
        text += &format!("  {option} #   does something\n");
    }
    text
}

/// A fake that succeeds, with a usage text in `$DIR/help`; it records its calls.
fn old(options: &[&str]) -> Fake {
    let fake = Fake::with_help(
        &format!(
            "echo \"$*\" >> \"$DIR/words\"; exec cat '{}'",
            good_report().display()
        ),
        "echo asked >> \"$DIR/asked\"; cat \"$DIR/help\"",
    );
    fs::write(fake.dir().join("help"), usage(options)).unwrap();
    fake
}

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_missing_option_is_named_and_no_test_is_run() {
    let fake = old(&[]);
    let exporter = Exporter::start(&[fake.flag()]);
    let program = fake.dir().join("iperf3");
    for (query, option, parameter) in [
        (
            "udp_mode=1&dont_fragment=1",
            "--dont-fragment",
            "dont_fragment",
        ),
        ("bidirectional=1", "--bidir", "bidirectional"),
        ("connect_timeout=5s", "--connect-timeout", "connect_timeout"),
        ("bind_dev=lo", "--bind-dev", "bind_dev"),
        ("bind=lo", "--bind-dev", "bind_address"),
        ("congestion=bbr", "-C", "congestion"),
        ("dscp=ef", "--dscp", "dscp"),
        ("fq_rate=1M", "--fq-rate", "fq_rate"),
        ("mptcp=1", "--mptcp", "mptcp"),
        ("sctp=1", "--sctp", "sctp"),
    ] {
        let reply = exporter.get(&format!("/probe?target=192.0.2.1&period=1&{query}"));
        assert_eq!(
            (reply.code, reply.reason()),
            (200, Some("unsupported")),
            "{query}"
        );
        assert_eq!(reply.family("iperf3_up"), Some(0.0));
        let line = exporter.log_line(&format!("the parameter {parameter} needs"));
        let words = format!(
            "iperf3 3.99 ({}) does not support {option}, which the parameter {parameter} needs",
            program.display()
        );
        assert!(line.contains(&words), "{line}");
    }
    assert!(!fake.dir().join("words").exists(), "nothing was run");
    // An option that it has is used; options that were not requested are not.
    let reply = exporter.get("/probe?target=192.0.2.1&period=1");
    assert_eq!(reply.family("iperf3_up"), Some(1.0));
    assert_eq!(
        lines(&fake.dir().join("words")),
        ["-J -c 192.0.2.1 -p 5201 -t 1"]
    );
}

#[test]
fn only_a_changed_iperf3_is_queried_again() {
    let fake = old(&["--sctp"]);
    let exporter = Exporter::start(&[fake.flag()]);
    exporter.log_line("iperf3 found");
    let asked = || lines(&fake.dir().join("asked")).len();
    assert_eq!(asked(), 1);
    let info = |features: &str| {
        let labels = format!("version=\"3.99\",features=\"{features}\"");
        exporter.metric(&format!("iperf3_exporter_iperf3_info{{{labels}}}"))
    };
    assert_eq!(info("sctp"), 1.0);
    // Simultaneous first requests query iperf3 once, and no later request does.
    let query = "/probe?target=192.0.2.1&period=1&bidirectional=1";
    let crowd = || {
        std::thread::scope(|scope| {
            let probes: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| exporter.get(query)))
                .collect();
            let replies = probes.into_iter().map(|probe| probe.join().unwrap());
            replies
                .map(|reply| reply.reason().map(str::to_owned))
                .collect::<Vec<_>>()
        })
    };
    assert!(
        crowd()
            .iter()
            .all(|reason| reason.as_deref() == Some("unsupported"))
    );
    assert_eq!(asked(), 1);
    // The update: another file in its place.
    let text = usage(&["--bidir", "--connect-timeout", "-O, --omit", "--username"]);
    fs::write(fake.dir().join("help"), text).unwrap();
    let program = fake.dir().join("iperf3");
    let draft = fake.dir().join("draft");
    harness::write_program(&draft, &fs::read_to_string(&program).unwrap());
    fs::rename(draft, &program).unwrap();
    // The report covers one direction only, which does not matter here.
    assert!(
        crowd()
            .iter()
            .all(|reason| reason.as_deref() == Some("bad_output"))
    );
    assert_eq!(asked(), 2);
    let words = lines(&fake.dir().join("words"));
    assert_eq!(words.len(), 8);
    let expected = "-J -c 192.0.2.1 -p 5201 -t 1 --bidir --connect-timeout 5000";
    assert!(words.iter().all(|words| words == expected), "{words:?}");
    assert_eq!(info("authentication,bidirectional,connect_timeout"), 1.0);
}

#[test]
fn without_a_usage_text_iperf3_decides() {
    let report = good_report();
    let dir = TempDir::new();
    for help in [
        "exit 1",
        "echo 'no such option' >&2",
        "exec cat /dev/zero",
        "exec sleep 600",
    ] {
        let script = format!(
            "echo \"$*\" > \"$DIR/words\"; exec cat '{}'",
            report.display()
        );
        let fake = Fake::with_help(&script, help);
        let exporter = Exporter::start(&[fake.flag()]);
        let reply = exporter.get("/probe?target=192.0.2.1&period=1&mss=1400&fq_rate=1M");
        assert_eq!(
            reply.family("iperf3_up"),
            Some(1.0),
            "{help}: {}",
            exporter.log()
        );
        let words = lines(&fake.dir().join("words"));
        assert_eq!(
            words,
            ["-J -c 192.0.2.1 -p 5201 -t 1 -M 1400 --fq-rate 1000000"],
            "{help}"
        );
        assert_eq!(
            exporter.metric("iperf3_exporter_iperf3_info{version=\"3.99\"}"),
            1.0
        );
        assert_eq!(exporter.get("/health").code, 200);
    }
    // An iperf3 that reports neither version nor options does not slow down the probes: it is queried once.
    let path = dir.path().join("iperf3");
    harness::write_program(
        &path,
        &format!(
            "#!/bin/sh\ncase $1 in -J) exec cat '{}';; esac\necho \"$1\" >> \"${{0%/*}}/asked\"; exit 1\n",
            report.display()
        ),
    );
    let exporter = Exporter::start(&[format!("--iperf3.path={}", path.display())]);
    exporter.log_line("no usable iperf3");
    for _ in 0..3 {
        let reply = exporter.get("/probe?target=192.0.2.1&period=1");
        assert_eq!(reply.family("iperf3_up"), Some(1.0));
    }
    assert_eq!(lines(&dir.path().join("asked")), ["--version"]);
}
