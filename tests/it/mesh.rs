//! `contrib/iperf3-mesh.sh`: the targets of hosts that all measure to each other, as text, for promtool, and in a real
//! Prometheus with real exporters and servers.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::{Exporter, Server, TempDir, has, run, top, wait_for};
use crate::prometheus::Prometheus;

/// Runs the script on a list with these labels; whether it succeeded, and its output.
fn mesh(dir: &TempDir, list: &str, labels: &[&str]) -> (bool, String) {
    let script = top().join("contrib/iperf3-mesh.sh").display().to_string();
    let list = dir.write("mesh.txt", list).display().to_string();
    run("sh", &[&[script.as_str(), &list], labels].concat(), "")
}

fn host_names(count: usize) -> String {
    let lines: Vec<String> = (1..=count).map(|host| format!("host-{host}\n")).collect();
    lines.concat()
}

/// The (exporter, target) pairs of a file of targets.
fn pairs(targets: &str) -> Vec<(String, String)> {
    let quoted = |line: &str, before: &str| {
        let value = line.strip_prefix(before)?.strip_suffix('"')?;
        Some(value.to_owned())
    };
    let mut pairs = Vec::new();
    let mut group = Vec::new();
    for line in targets.lines() {
        if let Some(target) = quoted(line, "    - \"") {
            group.push(target);
        } else if let Some(exporter) = quoted(line, "    exporter: \"") {
            pairs.extend(group.drain(..).map(|target| (exporter.clone(), target)));
        }
    }
    assert!(group.is_empty(), "{targets}");
    pairs
}

#[test]
fn a_mesh_has_each_ordered_pair_once_and_no_host_with_itself() {
    let dir = TempDir::new();
    for count in 2..=12 {
        let (passed, targets) = mesh(&dir, &host_names(count), &[]);
        assert!(passed, "{targets}");
        let found = pairs(&targets);
        let mut expected = BTreeSet::new();
        for from in 1..=count {
            for to in (1..=count).filter(|to| *to != from) {
                expected.insert((format!("host-{from}:9579"), format!("host-{to}")));
            }
        }
        assert_eq!(found.len(), count * (count - 1), "{targets}");
        assert_eq!(
            found.into_iter().collect::<BTreeSet<_>>(),
            expected,
            "{targets}"
        );
    }
}

#[test]
fn a_mesh_list_may_have_ports_ipv6_and_exporters_on_other_hosts() {
    let dir = TempDir::new();
    let list = "# server      exporter

berlin.example.net
paris.example.net:5202   # another port
[2001:db8::7]:5203   rome.example.net:9580
2001:db8::8
[2001:db8::9]
";
    let (passed, targets) = mesh(&dir, list, &["__iperf3_period=5s"]);
    assert!(passed, "{targets}");
    let exporters = [
        "berlin.example.net:9579",
        "paris.example.net:9579",
        "rome.example.net:9580",
        "[2001:db8::8]:9579",
        "[2001:db8::9]:9579",
    ];
    let found = pairs(&targets);
    assert_eq!(found.len(), 20, "{targets}");
    for (exporter, pairs) in exporters.iter().zip(found.chunks(4)) {
        assert!(pairs.iter().all(|pair| pair.0 == *exporter), "{targets}");
    }
    assert!(
        targets.starts_with(
            "# Made by iperf3-mesh.sh: 5 hosts, 20 targets. Change the list, and not this file.
- targets:
    - \"paris.example.net:5202\"
    - \"[2001:db8::7]:5203\"
    - \"2001:db8::8\"
    - \"[2001:db8::9]\"
  labels:
    exporter: \"berlin.example.net:9579\"
    __iperf3_period: \"5s\"
    __iperf3_max_age: \"560s\"
- targets:
"
        ),
        "{targets}"
    );
}

/// `max_age` of each exporter, in seconds.
fn max_ages(targets: &str) -> Vec<u64> {
    let before = "    __iperf3_max_age: \"";
    let values = targets.lines().filter_map(|line| line.strip_prefix(before));
    values
        .map(|value| value.strip_suffix("s\"").unwrap().parse().unwrap())
        .collect()
}

#[test]
fn tests_of_a_larger_mesh_are_rarer_and_are_spread_unless_max_age_is_given() {
    let dir = TempDir::new();
    for (count, first) in [(2, 260), (3, 320), (10, 1160), (20, 2360)] {
        let (passed, targets) = mesh(&dir, &host_names(count), &[]);
        assert!(passed, "{targets}");
        let expected: Vec<u64> = (0..count as u64).map(|host| first + 60 * host).collect();
        assert_eq!(max_ages(&targets), expected, "{targets}");
    }
    let (_, targets) = mesh(&dir, &host_names(3), &["__iperf3_max_age=540s"]);
    assert_eq!(max_ages(&targets), [540; 3], "{targets}");
    let script = top().join("contrib/iperf3-mesh.sh").display().to_string();
    let list = dir.path().join("mesh.txt").display().to_string();
    let with = |minutes| run("env", &[minutes, "sh", &script, &list], "");
    let (_, targets) = with("MINUTES=4");
    assert_eq!(max_ages(&targets), [680, 740, 800], "{targets}");
    for minutes in ["MINUTES=0", "MINUTES=two"] {
        let why = format!("iperf3-mesh.sh: {minutes} is not a whole number above 0\n");
        assert_eq!(with(minutes), (false, why));
    }
}

#[test]
fn an_invalid_list_is_refused_with_its_line_number() {
    let dir = TempDir::new();
    for (list, labels, why) in [
        ("", &[][..], "a mesh needs at least two hosts"),
        ("one\n", &[], "a mesh needs at least two hosts"),
        (
            "one\n\none\n",
            &[],
            "line 3: the server one is listed twice",
        ),
        (
            "one:5201\none:5202\n",
            &[],
            "line 2: the exporter one:9579 is listed twice",
        ),
        (
            "one\ntwo three four\n",
            &[],
            "line 2: more than a server and its exporter",
        ),
        ("one\ntw\"o\n", &[], "line 2: tw\"o is not an address"),
        ("one\ntwo th'ree\n", &[], "line 2: th'ree is not an address"),
        ("one\ntwo\n", &["period"], "period is not LABEL=VALUE"),
        ("one\ntwo\n", &["a=\"b"], "a=\"b is not LABEL=VALUE"),
    ] {
        let (passed, said) = mesh(&dir, list, labels);
        assert!(!passed, "{list}: {said}");
        assert_eq!(said, format!("iperf3-mesh.sh: {why}\n"), "{list}");
    }
}

#[test]
fn promtool_accepts_a_mesh_beside_the_shipped_configuration() {
    let test = "promtool_accepts_a_mesh_beside_the_shipped_configuration";
    if !has("promtool", test) {
        return;
    }
    let dir = TempDir::new();
    for name in ["prometheus.yml", "recording-rules.yml", "alerts.yml"] {
        fs::copy(top().join("contrib").join(name), dir.path().join(name)).unwrap();
    }
    let list = host_names(4) + "[2001:db8::7]:5203\n";
    let (_, targets) = mesh(&dir, &list, &["__scrape_interval__=2m"]);
    dir.write("iperf3-targets-mesh.yml", &targets);
    let file = dir.path().join("prometheus.yml").display().to_string();
    let (passed, said) = run("promtool", &["check", "config", &file], "");
    assert!(passed && !said.contains("WARNING"), "{said}");
    // promtool does read the targets: it finds this mistake.
    dir.write(
        "iperf3-targets-mesh.yml",
        &targets.replace("labels:", "lables:"),
    );
    let (passed, said) = run("promtool", &["check", "config", &file], "");
    assert!(!passed, "{said}");
}

/// `contrib/prometheus.yml` with its targets in this folder and absolute paths to its rules.
fn configuration(folder: &Path) -> String {
    let contrib = top().join("contrib");
    let mut text = fs::read_to_string(contrib.join("prometheus.yml")).unwrap();
    for (name, folder) in [
        ("iperf3-targets*.yml", folder),
        ("recording-rules.yml", &contrib),
        ("alerts*.yml", &contrib),
    ] {
        for before in ["['", "- "] {
            let path = folder.join(name).display().to_string();
            text = text.replace(&format!("{before}{name}"), &format!("{before}{path}"));
        }
    }
    text
}

/// The targets that a Prometheus scrapes, as (job, exporter, instance) with duplicates; "" for a missing label.
fn scraped(prometheus: &Prometheus) -> Vec<(String, String, String)> {
    let (code, body) = prometheus.get("/api/v1/targets?state=active").unwrap();
    assert_eq!(code, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    let targets = answer["data"]["activeTargets"].as_array().unwrap();
    let mut scraped: Vec<_> = targets
        .iter()
        .map(|target| {
            let label = |name| {
                let value = target["labels"][name].as_str();
                value.unwrap_or_default().to_owned()
            };
            (label("job"), label("exporter"), label("instance"))
        })
        .collect();
    scraped.sort();
    scraped
}

const PROBING: [&str; 3] = ["iperf3", "iperf3-download", "iperf3-udp"];

/// The expected targets of a mesh of these (server, exporter) pairs.
fn expected(hosts: &[(String, String)]) -> Vec<(String, String, String)> {
    let mut expected = Vec::new();
    for (server, exporter) in hosts {
        expected.push((
            "iperf3-exporter".to_owned(),
            String::new(),
            exporter.clone(),
        ));
        let others = hosts.iter().filter(|(_, other)| other != exporter);
        for (_, other) in others {
            for job in PROBING {
                expected.push((job.to_owned(), other.clone(), server.clone()));
            }
        }
    }
    expected.sort();
    expected
}

/// Writes the targets as the script's comments describe.
fn write_targets(dir: &TempDir, hosts: &[(String, String)]) {
    let list: Vec<String> = hosts
        .iter()
        .map(|(server, exporter)| format!("{server} {exporter}\n"))
        .collect();
    let list = list.concat();
    let labels = [
        "__scrape_interval__=2s",
        "__scrape_timeout__=2s",
        "__iperf3_period=1s",
        "__iperf3_bitrate=20M",
        "__iperf3_max_age=10m",
    ];
    let (passed, targets) = mesh(dir, &list, &labels);
    assert!(passed, "{targets}");
    let new = dir.write("mesh.new", &targets);
    fs::rename(new, dir.path().join("iperf3-targets-mesh.yml")).unwrap();
}

#[test]
fn a_prometheus_measures_each_pair_of_a_mesh_and_follows_its_list() {
    let test = "a_prometheus_measures_each_pair_of_a_mesh_and_follows_its_list";
    if !has("prometheus", test) || !has("promtool", test) {
        return;
    }
    let servers = [(); 3].map(|()| Server::start());
    let exporters = [(); 3].map(|()| Exporter::start::<&str>(&[]));
    let mut hosts: Vec<(String, String)> = servers
        .iter()
        .zip(&exporters)
        .map(|(server, exporter)| (server.target(), format!("127.0.0.1:{}", exporter.port())))
        .collect();
    let dir = TempDir::new();
    write_targets(&dir, &hosts);
    let prometheus = Prometheus::start(&configuration(dir.path()));
    wait_for("the targets of three hosts", || {
        scraped(&prometheus) == expected(&hosts)
    });
    for (server, exporter) in &hosts {
        for (_, other) in hosts.iter().filter(|(_, other)| other != exporter) {
            for job in PROBING {
                let query = format!(
                    "iperf3_up{{job=\"{job}\",exporter=\"{other}\",instance=\"{server}\"}}"
                );
                prometheus.until(&query, |up| up == 1.0);
            }
        }
    }
    assert_eq!(prometheus.series("iperf3_up").len(), 18);

    hosts.pop();
    write_targets(&dir, &hosts);
    wait_for("the targets of two hosts", || {
        scraped(&prometheus) == expected(&hosts)
    });
}
