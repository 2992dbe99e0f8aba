//! `make demo`: its output, and that it leaves nothing behind.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::demo_fleet::processes_with;
use crate::harness::{Reply, TempDir, top};

/// The output before the metrics.
const BEGIN: &str = "\
iperf3 -s listens on 127.0.0.1:PORT
iperf3-exporter listens on 127.0.0.1:PORT

$ curl 'http://127.0.0.1:PORT/probe?target=127.0.0.1:PORT&period=2s'
";
/// The output after the metrics.
const END: &str = "
The probe succeeded: iperf3_up is 1. Next steps:
    iperf3 -s                                  on the host to measure to
    BIN on the host to measure from, which then has:
    http://localhost:9579/                     the page for a browser
    http://localhost:9579/probe?target=HOST    a probe, as Prometheus requests it
    contrib/docs/                              Prometheus' scrape configuration, flags, metrics
    sudo make install                          the binary and a systemd unit
";

/// Runs the demo with a binary; whether it succeeded, and its output. All its processes have ended, and its folder is
/// gone.
fn demo(binary: &str) -> (bool, String, String) {
    let dir = TempDir::new();
    let output = Command::new("make")
        .args(["--no-print-directory", "-C", top().to_str().unwrap()])
        .args(["demo", &format!("BIN={binary}")])
        .env("TMPDIR", dir.path())
        // Set by the make that runs the tests.
        .env_remove("MAKEFLAGS")
        .output()
        .unwrap();
    assert_eq!(processes_with(dir.path()), [""; 0]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let succeeded = output.status.success();
    (succeeded, text(output.stdout), text(output.stderr))
}

/// Replaces each port of this machine with `PORT`.
fn without_ports(text: &str) -> String {
    let mut parts = text.split("127.0.0.1:");
    let mut masked = parts.next().unwrap().to_owned();
    for part in parts {
        masked += "127.0.0.1:PORT";
        masked += part.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    masked
}

#[test]
fn the_demo_prints_the_metrics_of_one_probe_and_leaves_nothing() {
    let binary = env!("CARGO_BIN_EXE_iperf3-exporter");
    let (succeeded, said, errors) = demo(binary);
    assert!(succeeded, "{said}{errors}");
    // The path of a checkout may be shorter than the column.
    let masked = without_ports(&said).replace(&format!("{binary:<42}"), "BIN");
    let metrics = masked
        .strip_prefix(BEGIN)
        .unwrap_or_else(|| panic!("{said}"));
    let metrics = metrics
        .strip_suffix(END)
        .unwrap_or_else(|| panic!("{said}"));
    let reply = Reply {
        code: 200,
        head: String::new(),
        body: metrics.to_owned(),
    };
    assert_eq!(reply.family("iperf3_up"), Some(1.0), "{said}");
    assert!(reply.family("iperf3_received_bytes") > Some(0.0), "{said}");
}

#[test]
fn a_demo_whose_exporter_does_not_start_says_so_and_leaves_nothing() {
    let binary = Path::new("/bin/false").display().to_string();
    let (succeeded, said, errors) = demo(&binary);
    assert!(!succeeded, "{said}");
    let line = "demo.sh: the exporter did not say that it listens\n";
    assert!(errors.starts_with(line), "{errors}");
}
