//! The recording rules of `contrib/`: by hand-made series, and in a real Prometheus that scrapes real tests. Besides
//! that, what the README says in passing: the rules that it shows, the families that it names, its examples of queries.

use std::fs;

use crate::harness::{Exporter, Fake, Server, TempDir, good_report, has, run, top, wait_for};
use crate::prometheus::{Prometheus, configurations};

const RULES: &str = "contrib/recording-rules.yml";
const CASES: &str = "tests/rules/recording-rules.test.yml";

fn read(path: &str) -> String {
    fs::read_to_string(top().join(path)).unwrap()
}

/// The names that the rules record.
fn recorded(rules: &str) -> Vec<&str> {
    let names: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("- record: "))
        .collect();
    assert_eq!(names.len(), 6, "{names:?}");
    names
}

#[test]
fn the_recording_rules_do_what_their_cases_say() {
    if !has("promtool", "the_recording_rules_do_what_their_cases_say") {
        return;
    }
    let (rules, cases) = (top().join(RULES), top().join(CASES));
    let (passed, said) = run(
        "promtool",
        &["check", "rules", &rules.display().to_string()],
        "",
    );
    assert!(passed, "{said}");
    let (passed, said) = run(
        "promtool",
        &["test", "rules", &cases.display().to_string()],
        "",
    );
    assert!(passed, "{said}");
}

#[test]
fn the_cases_find_out_each_rule_that_is_wrong() {
    if !has("promtool", "the_cases_find_out_each_rule_that_is_wrong") {
        return;
    }
    let (rules, cases) = (read(RULES), read(CASES));
    let dir = TempDir::new();
    let cases = cases.replace("../../contrib/", "");
    let cases = dir.write("cases.yml", &cases).display().to_string();
    let test = |rules: &str| {
        dir.write("recording-rules.yml", rules);
        run("promtool", &["test", "rules", &cases], "")
    };
    let (passed, said) = test(&rules);
    assert!(passed, "{said}");
    let expressions: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("expr: "))
        .collect();
    assert_eq!(expressions.len(), recorded(&rules).len());
    for expression in expressions {
        let turned = if expression.contains("\"upload\"") {
            expression.replace("\"upload\"", "\"download\"")
        } else {
            expression.replace("\"download\"", "\"upload\"")
        };
        for wrong in [
            turned,
            // Another factor; and a label that goes.
            format!("{expression} * 2 + 1"),
            format!("sum without (direction) ({expression})"),
            // A zero for what was not measured.
            format!("{expression} or vector(0)"),
        ] {
            let (passed, said) = test(&rules.replace(expression, &wrong));
            assert!(!passed && said.contains("FAILED"), "{wrong}: {said}");
        }
    }
}

#[test]
fn prometheus_records_what_real_tests_measured_and_nothing_of_those_that_fail() {
    let test = "prometheus_records_what_real_tests_measured_and_nothing_of_those_that_fail";
    if !has("prometheus", test) {
        return;
    }
    let server = Server::start();
    let exporter = Exporter::start::<&str>(&[]);
    let job = |name: &str, mode: &str| {
        format!(
            "  - job_name: {name}
    metrics_path: /probe
    scrape_interval: 6s
    scrape_timeout: 6s
    params:
      period: ['1s']
      bitrate: ['10M']
      bidirectional: ['true']
{mode}    static_configs:
      - targets: ['{}']
    relabel_configs:
      - source_labels: [__address__]
        target_label: __param_target
      - source_labels: [__param_target]
        target_label: instance
      - target_label: __address__
        replacement: 127.0.0.1:{}
",
            server.target(),
            exporter.port()
        )
    };
    let configuration = format!(
        "global:
  evaluation_interval: 1s
rule_files: ['{}']
scrape_configs:
{}{}",
        top().join(RULES).display(),
        job("tcp", ""),
        job("udp", "      udp_mode: ['true']\n"),
    );
    let prometheus = Prometheus::start(&configuration);
    // 10 Mbit/s, as far as a second of bursts and whole blocks keeps to them.
    for job in ["tcp", "udp"] {
        for way in ["upload", "download"] {
            let name = format!("iperf3_bandwidth_{way}_mbps{{job=\"{job}\"}}");
            let (mbps, labels) = prometheus.until(&name, |mbps| mbps > 0.0);
            assert!((4.0..40.0).contains(&mbps), "{name} {mbps}");
            let (target, port) = (server.target(), server.port.to_string());
            for (label, value) in [
                ("job", job),
                ("instance", &target),
                ("target", "127.0.0.1"),
                ("port", &port),
            ] {
                assert_eq!(labels[label], value, "{label}: {labels}");
            }
            let direction = if name.contains("upload") {
                "upload"
            } else {
                "download"
            };
            assert_eq!(labels["direction"], direction, "{name}: {labels}");
        }
    }
    for way in ["upload", "download"] {
        let name = format!("iperf3_packet_loss_{way}_percent{{job=\"udp\"}}");
        let (percent, _) = prometheus.until(&name, |_| true);
        assert!((0.0..=100.0).contains(&percent), "{name} {percent}");
    }
    let name = "iperf3_latency_upload_ms{job=\"tcp\"}";
    let (milliseconds, _) = prometheus.until(name, |_| true);
    // A round trip of the loopback interface, in its own unit.
    assert!(
        (0.001..1000.0).contains(&milliseconds),
        "{name} {milliseconds}"
    );
    // What was not measured: after three evaluations of the whole group with both jobs it would be there.
    let evaluations = "count_over_time(iperf3_bandwidth_upload_mbps{job=\"udp\"}[1h])";
    prometheus.until(evaluations, |count| count >= 3.0);
    for name in [
        "iperf3_latency_download_ms{job=\"tcp\"}",
        "iperf3_latency_upload_ms{job=\"udp\"}",
        "iperf3_packet_loss_upload_percent{job=\"tcp\"}",
        "iperf3_packet_loss_download_percent{job=\"tcp\"}",
    ] {
        let ever = format!("count_over_time({name}[1h])");
        assert_eq!(prometheus.query(&ever), None, "{name}");
    }

    drop(server);
    for job in ["tcp", "udp"] {
        prometheus.until(&format!("iperf3_up{{job=\"{job}\"}}"), |up| up == 0.0);
    }
    let rules = read(RULES);
    let names = recorded(&rules).join("|");
    wait_for("nothing to be recorded any more", || {
        prometheus
            .query(&format!("count({{__name__=~\"{names}\"}})"))
            .is_none()
    });
}

#[test]
fn promtool_accepts_the_rules_that_the_readme_shows() {
    if !has(
        "promtool",
        "promtool_accepts_the_rules_that_the_readme_shows",
    ) {
        return;
    }
    let found = configurations(&read("README.md"), "groups:");
    assert!(!found.is_empty(), "the README shows no rules");
    let dir = TempDir::new();
    for text in found {
        let file = dir.write("rules.yml", &text).display().to_string();
        let (passed, said) = run("promtool", &["check", "rules", &file], "");
        assert!(passed, "{said}\n{text}");
    }
}

/// Names in the README that are not this exporter's, and why it names them.
const OF_OTHERS: &[&str] = &[
    // Repositories.
    "iperf3_exporter",
    "iperf3_exporter_mutex",
    // The fork's third version has this one.
    "iperf3_jitter_ms",
];

#[test]
fn every_family_that_the_readme_names_is_in_one_of_its_tables_or_recorded() {
    let readme = read("README.md");
    let rules = read(RULES);
    let mut families = recorded(&rules);
    let mut inside = false;
    for line in readme.lines() {
        inside |= line.ends_with("metrics -->") && line.starts_with("<!-- ");
        inside &= !line.starts_with("<!-- /");
        let name = line
            .strip_prefix("| `")
            .and_then(|rest| rest.split('`').next());
        families.extend(name.filter(|_| inside));
    }
    for name in recorded(&rules) {
        assert!(readme.contains(&format!("`{name}`")), "{name} is not there");
    }
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    for (at, _) in readme.match_indices("iperf3_") {
        if readme[..at].ends_with(is_part) {
            continue;
        }
        let rest = &readme[at..];
        let name = &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())];
        let is_known = families.contains(&name)
            || OF_OTHERS.contains(&name)
            // `iperf3_tcp_…` stands for several.
            || name.ends_with('_') && families.iter().any(|family| family.starts_with(name));
        assert!(is_known, "the README speaks of {name}");
    }
}

#[test]
fn every_query_that_the_readme_recommends_is_taken() {
    let readme = read("README.md");
    let chapter = readme.split_once("\n## Choosing period").unwrap().1;
    let chapter = chapter.split_once("\n## ").unwrap().0;
    let queries: Vec<&str> = chapter
        .lines()
        .filter(|line| line.starts_with("| "))
        .filter_map(|line| line.split('|').nth(2)?.split('`').nth(1))
        .collect();
    assert!(queries.len() >= 8, "{queries:?}");
    let fake = Fake::replay(&good_report(), "/dev/null".as_ref(), "exit 0");
    let exporter = Exporter::start(&[fake.flag()]);
    for query in queries {
        let reply = exporter.get(&format!("/probe?target=foo.server&{query}"));
        assert_eq!(reply.code, 200, "{query}: {}", reply.body);
    }
}
