//! `make demo-fleet`: three exporters, three servers and a Prometheus with the shipped configuration, from end to end.
//! The demo leaves nothing behind, however it ends; and its table is made from a recording.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::{PATIENCE, TempDir, assert_golden, has, run, top, wait_for};
use crate::netem;

/// The alerts that may fire: the links lose packets by design, and on a busy machine a queue may be long or the CPU the
/// limit.
const EXPECTED: &[&str] = &[
    "Iperf3TargetDown",
    "Iperf3PacketLoss",
    "Iperf3PacketLossHigh",
    "Iperf3Retransmits",
    "Iperf3QueueSaturated",
    "Iperf3LockWaitLong",
    "Iperf3ProbesNotRun",
    "Iperf3ServerBusy",
    "Iperf3CpuBound",
];

/// The hosts, and the Mbit/s of their links.
const HOSTS: [(&str, f64); 3] = [("alpha", 100.0), ("beta", 20.0), ("gamma", 50.0)];
const TESTS: [&str; 3] = ["upload", "download", "udp"];

/// A running demo, with a folder for all its files.
struct Demo {
    dir: TempDir,
    child: Child,
}

impl Demo {
    fn start(settings: &[(&str, &str)]) -> Self {
        let dir = TempDir::new();
        let child = Command::new("bash")
            .arg(top().join("contrib/demo/demo-fleet.sh"))
            .env("BIN", env!("CARGO_BIN_EXE_iperf3-exporter"))
            .env("TMPDIR", dir.path())
            .env_remove("KEEP")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { dir, child }
    }

    /// Waits for its end; whether it reports success, and its output.
    fn end(mut self) -> (bool, String) {
        let mut said = String::new();
        let mut stdout = self.child.stdout.take().unwrap();
        stdout.read_to_string(&mut said).unwrap();
        // Short enough to fit into a pipe.
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        let status = self.child.wait().unwrap();
        self.assert_that_nothing_is_left();
        (status.success(), said)
    }

    /// Waits until everything has started, then ends the script with a signal; its exit status.
    fn interrupt(&mut self, signal: &str) -> Option<i32> {
        let stdout = BufReader::new(self.child.stdout.take().unwrap());
        let lines = stdout.lines().map_while(Result::ok);
        let said: Vec<String> = lines
            .take_while(|line| !line.starts_with("Measuring for "))
            .collect();
        let urls: Vec<&str> = said
            .iter()
            .flat_map(|line| line.split(' '))
            .filter_map(|word| word.strip_prefix("http://"))
            .collect();
        // URLs of the exporters and of Prometheus: alerts, targets, a graph.
        assert_eq!(urls.len(), HOSTS.len() + 3, "{said:?}");
        for url in urls {
            assert!(is_page(url), "{url}: {said:?}");
        }
        // Three servers, three exporters, Prometheus, the script.
        assert!(self.processes().len() >= 8, "{:?}", self.processes());
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(sent.unwrap().success());
        self.child.wait().unwrap().code()
    }

    /// The script and all processes that it started.
    fn processes(&self) -> Vec<String> {
        processes_with(self.dir.path())
    }

    /// Whether the cable from its bridge to this host exists.
    fn has_link(&self) -> bool {
        let name = format!("/sys/class/net/fleet{}", self.child.id());
        fs::exists(name).unwrap()
    }

    fn assert_that_nothing_is_left(&self) {
        assert_eq!(self.processes(), [""; 0]);
        assert!(!self.has_link());
        let files: Vec<_> = fs::read_dir(self.dir.path()).unwrap().flatten().collect();
        assert!(files.is_empty(), "{files:?}");
    }
}

/// The command lines of all processes with this folder as `TMPDIR` in their environment.
pub fn processes_with(folder: &Path) -> Vec<String> {
    let mark = format!("TMPDIR={}\0", folder.display());
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let environment = fs::read(entry.path().join("environ")).ok()?;
            let text = String::from_utf8_lossy(&environment).into_owned();
            let command = fs::read_to_string(entry.path().join("cmdline")).ok()?;
            text.contains(&mark).then_some(command)
        })
        .collect()
}

/// Whether an address that was printed for people has a page.
fn is_page(url: &str) -> bool {
    let (address, path) = url.split_once('/').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut status = String::new();
    BufReader::new(stream).read_line(&mut status).unwrap();
    status.contains(" 200 ")
}

/// Whether the demo can run here; otherwise prints that `test` is skipped.
fn can_run(test: &str) -> bool {
    ["bash", "prometheus", "promtool", "setpriv"]
        .iter()
        .all(|program| has(program, test))
}

/// The cells of one row of the table.
fn row<'a>(said: &'a str, from: &str, to: &str, test: &str) -> Vec<&'a str> {
    said.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|cells| cells.starts_with(&[from, to, test]))
        .unwrap_or_else(|| panic!("no row {from} {to} {test}:\n{said}"))
}

/// Each row exists, with a bandwidth up to `limit` of the two links' Mbit/s.
fn assert_table(said: &str, limit: impl Fn(f64, f64) -> f64) {
    for (from, from_mbit) in HOSTS {
        for (to, to_mbit) in HOSTS.into_iter().filter(|(to, _)| *to != from) {
            for test in TESTS {
                let cells = row(said, from, to, test);
                assert_eq!((cells.len(), cells[3]), (11, "yes"), "{cells:?}");
                let mbits: f64 = cells[4].parse().unwrap();
                let most = limit(from_mbit, to_mbit);
                assert!(mbits > 0.0 && mbits <= most, "over {most}: {cells:?}");
                // A value that a direction or protocol does not have is a dash.
                let is_there = |cell: usize| cells[cell] != "-";
                let expected = (test == "udp", test == "upload", test != "udp");
                assert_eq!(
                    (is_there(7), is_there(8), is_there(9)),
                    expected,
                    "{cells:?}"
                );
            }
        }
    }
    for test in TESTS {
        let cells = row(said, "alpha", "gamma:1", test);
        assert_eq!(cells[3..10], ["refused", "-", "-", "-", "-", "-", "-"]);
    }
    for (host, _) in HOSTS {
        let costs = said
            .lines()
            .find(|line| line.trim_start().starts_with(host) && line.ends_with(" MB received"));
        assert!(costs.is_some(), "no costs of {host}:\n{said}");
    }
    if top().join("contrib/alerts.yml").exists() {
        let alert = said.lines().find(|line| {
            let state = line.trim_start();
            (state.starts_with("pending") || state.starts_with("firing"))
                && line.contains("gamma:1")
        });
        assert!(alert.is_some(), "no alert of the dead target:\n{said}");
        let alerts = said.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let state = words.next()?;
            ["pending", "firing"]
                .contains(&state)
                .then(|| words.next())?
        });
        for alert in alerts {
            assert!(EXPECTED.contains(&alert), "{alert}:\n{said}");
        }
    }
}

/// The table made from Prometheus' data, and the values that are missing.
fn table(snapshot: &str) -> (String, String) {
    const SETTINGS: [&str; 3] = [
        "hosts=alpha 127.103.200.1 46107 40795 beta 127.103.200.2 46107 40469 gamma 127.103.200.3 46107 37943 ",
        "dead_port=1",
        "alerts=1",
    ];
    let dir = TempDir::new();
    let missing = dir.path().join("missing");
    let output = Command::new("awk")
        .args(SETTINGS.iter().flat_map(|setting| ["-v", setting]))
        .args(["-v", &format!("missing_file={}", missing.display())])
        .arg("-f")
        .arg(top().join("contrib/demo/demo-fleet.awk"))
        .arg(dir.write("snapshot", snapshot))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let table = String::from_utf8(output.stdout).unwrap();
    (table, fs::read_to_string(missing).unwrap())
}

#[test]
fn the_table_of_a_recorded_fleet_is_unchanged_and_missing_values_are_named() {
    // The output of `promtool query instant` for a fleet on loopback addresses.
    let recorded = top().join("tests/fixtures/demo-fleet/snapshot.txt");
    let recorded = fs::read_to_string(recorded).unwrap();
    let (whole, missing) = table(&recorded);
    assert_golden(&top().join("tests/golden/demo-fleet.txt"), &whole);
    assert_eq!(missing, "");
    let lines = recorded.lines();
    let less: Vec<&str> = lines
        .filter(|line| {
            let is_alert = line.starts_with("ALERTS{") && line.contains("Iperf3TargetDown");
            let is_way = line.starts_with("iperf3_up{") && line.contains("127.103.200.2:40469");
            !is_alert && !is_way
        })
        .collect();
    let (_, missing) = table(&(less.join("\n") + "\n"));
    let expected = "\
beta to alpha, upload: iperf3_up 1
beta to alpha, download: iperf3_up 1
beta to alpha, udp: iperf3_up 1
beta to gamma, upload: iperf3_up 1
beta to gamma, download: iperf3_up 1
beta to gamma, udp: iperf3_up 1
an alert, pending or firing, of the target that is down
";
    assert_eq!(missing, expected);
}

#[test]
#[ignore = "make test-all: three quarters of a minute; guards contrib/demo and what is shipped for Prometheus"]
fn three_hosts_in_namespaces_measure_each_other_and_prometheus_has_the_results() {
    let test = "three_hosts_in_namespaces_measure_each_other_and_prometheus_has_the_results";
    if !can_run(test) || !netem::bridges_can_be_made(test) {
        return;
    }
    let (passed, said) = Demo::start(&[("DEMO_SECONDS", "25")]).end();
    assert!(passed, "{said}");
    assert!(
        said.contains("Three hosts, each in its own network namespace"),
        "{said}"
    );
    // The slower of the two links, plus a tenth for the burst of the token bucket.
    assert_table(&said, |from, to| from.min(to) * 1.1);
}

#[test]
#[ignore = "make test-all: half a minute; guards contrib/demo without root"]
fn three_hosts_on_loopback_addresses_measure_each_other_as_well() {
    if !can_run("three_hosts_on_loopback_addresses_measure_each_other_as_well") {
        return;
    }
    let settings = [("DEMO_SECONDS", "10"), ("DEMO_LOOPBACK", "1")];
    let (passed, said) = Demo::start(&settings).end();
    assert!(passed, "{said}");
    assert!(said.contains("Three hosts, each with its own loopback address"));
    assert!(
        said.contains("SKIPPED: namespaces with different links, because DEMO_LOOPBACK is set")
    );
    // A target's own parameter overrides the job's: 10M for UDP.
    assert_table(&said, |_, _| 55.0);
    let mbits: f64 = row(&said, "alpha", "beta", "udp")[4].parse().unwrap();
    assert!(mbits > 11.0, "{mbits}");
}

#[test]
fn a_fleet_that_is_ended_early_leaves_nothing() {
    let test = "a_fleet_that_is_ended_early_leaves_nothing";
    if !can_run(test) {
        return;
    }
    let mut demo = Demo::start(&[]);
    assert_eq!(demo.interrupt("TERM"), Some(143));
    demo.assert_that_nothing_is_left();
}

#[test]
fn a_fleet_ends_when_its_script_is_killed() {
    let test = "a_fleet_ends_when_its_script_is_killed";
    if !can_run(test) {
        return;
    }
    let mut demo = Demo::start(&[]);
    assert_eq!(demo.interrupt("KILL"), None);
    // The script can no longer wait for them; the kernel ends them and removes the namespaces.
    wait_for("what the script started to end", || {
        demo.processes().is_empty() && !demo.has_link()
    });
}

#[test]
fn promtool_accepts_the_shipped_configuration_with_all_options_enabled() {
    if !has(
        "promtool",
        "promtool_accepts_the_shipped_configuration_with_all_options_enabled",
    ) {
        return;
    }
    let dir = TempDir::new();
    // A disabled setting begins with #, a comment with # and a blank.
    let switched_on = |text: &str| -> String {
        let lines: Vec<&str> = text
            .lines()
            .map(|line| {
                let is_text = line.starts_with("# ") && !line.starts_with("#  ");
                let setting = line.strip_prefix('#').filter(|_| !is_text);
                setting.unwrap_or(line)
            })
            .collect();
        lines.join("\n") + "\n"
    };
    for entry in fs::read_dir(top().join("contrib")).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if !entry.path().is_file() {
            continue;
        }
        let bytes = fs::read(entry.path()).unwrap();
        let mut text = String::from_utf8(bytes).unwrap_or_default();
        if ["prometheus.yml", "iperf3-targets.yml"].contains(&name.as_str()) {
            let on = switched_on(&text);
            assert_ne!(on, text, "{name}");
            text = on;
        }
        dir.write(&name, &text);
    }
    for folder in [dir.path(), &top().join("contrib")] {
        let file = folder.join("prometheus.yml").display().to_string();
        let (passed, said) = run("promtool", &["check", "config", &file], "");
        assert!(passed && said.contains("rule files found"), "{said}");
    }
}
