//! The compose stack of `contrib/compose`: its file as compose reads it, without an engine; and its behaviour in a real
//! Docker engine, with the steps of `tests/scripts/compose.sh`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::{TempDir, run, run_script, skipped, top};

#[test]
#[ignore = "make test-all: a Debian, two images and three containers, two minutes; guards contrib/compose"]
fn the_stack_becomes_healthy_and_measures() {
    let test = "the_stack_becomes_healthy_and_measures";
    if let Some(said) = run_script("compose.sh", test) {
        assert!(said.contains("healthy, hardened, measured at"), "{said}");
    }
}

fn read(name: &str) -> String {
    fs::read_to_string(top().join("contrib").join(name)).unwrap()
}

/// The whole file as compose resolves it with these variables. `None` where there is no compose; `test` is then
/// reported as skipped.
fn resolved(test: &str, variables: &[(&str, &str)]) -> Option<Value> {
    let output = Command::new("sh")
        .arg(top().join("tests/scripts/docker-compose.sh"))
        .arg("--file")
        .arg(top().join("contrib/compose/compose.yml"))
        .args(["config", "--format", "json"])
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(127) {
        skipped(test, said.trim().lines().last().unwrap_or_default());
        return None;
    }
    assert!(output.status.success(), "{said}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The files that a service gets from the repository: source and destination.
fn mounts(service: &Value) -> Vec<(&Path, &str)> {
    list(&service["volumes"])
        .iter()
        .filter(|volume| volume["type"] == "bind")
        .map(|volume| (Path::new(text(&volume["source"])), text(&volume["target"])))
        .collect()
}

#[test]
fn each_service_is_hardened_pinned_and_has_a_health_check() {
    let test = "each_service_is_hardened_pinned_and_has_a_health_check";
    let Some(stack) = resolved(test, &[]) else {
        return;
    };
    let services = stack["services"].as_object().unwrap();
    let names: Vec<&str> = services.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["grafana", "iperf3", "iperf3-exporter", "prometheus"]
    );
    let volumes = stack["volumes"].as_object().unwrap();
    for (name, service) in services {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"], serde_json::json!(["ALL"]), "{name}");
        let options = serde_json::json!(["no-new-privileges:true"]);
        assert_eq!(service["security_opt"], options, "{name}");
        assert_eq!(service["restart"], "unless-stopped", "{name}");
        assert!(service["healthcheck"]["interval"].is_string(), "{name}");
        // Every service except the one whose image has its own check.
        let asks = !list(&service["healthcheck"]["test"]).is_empty();
        assert_eq!(asks, name != "iperf3-exporter", "{name}");
        for port in list(&service["ports"]) {
            assert_eq!(port["host_ip"], "127.0.0.1", "{name}");
        }
        let image = text(&service["image"]);
        let tag = image.split_once(':').map_or("", |(_, tag)| tag);
        let is_pinned = tag.matches('.').count() == 2;
        assert_eq!(is_pinned, image != "iperf3-exporter", "{name}: {image}");
        for volume in list(&service["volumes"]) {
            let source = text(&volume["source"]);
            if volume["type"] == "bind" {
                assert_eq!(volume["read_only"], true, "{name}: {volume}");
                assert!(Path::new(source).is_file(), "{name}: {volume}");
            } else {
                assert!(volumes.contains_key(source), "{name}: {volume}");
            }
        }
    }
}

#[test]
fn images_ports_and_the_password_are_variables() {
    let test = "images_ports_and_the_password_are_variables";
    let variables = [
        ("EXPORTER_IMAGE", "exporter:1"),
        ("PROMETHEUS_IMAGE", "prometheus:2"),
        ("GRAFANA_IMAGE", "grafana:3"),
        ("EXPORTER_PORT", "10001"),
        ("PROMETHEUS_PORT", "10002"),
        ("GRAFANA_PORT", "10003"),
        ("GRAFANA_PASSWORD", "secret"),
        ("BINARY", "iperf3-exporter"),
    ];
    let Some(stack) = resolved(test, &variables) else {
        return;
    };
    let services = &stack["services"];
    assert_eq!(services["iperf3"]["image"], "exporter:1");
    for (name, image, port) in [
        ("iperf3-exporter", "exporter:1", "10001"),
        ("prometheus", "prometheus:2", "10002"),
        ("grafana", "grafana:3", "10003"),
    ] {
        assert_eq!(services[name]["image"], image);
        assert_eq!(services[name]["ports"][0]["published"], port);
    }
    let password = &services["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD"];
    assert_eq!(password, "secret");
    let build = &services["iperf3-exporter"]["build"];
    assert_eq!(build["args"]["BINARY"], "iperf3-exporter");
    assert_eq!(Path::new(text(&build["context"])), top());
    let dockerfile = top().join(text(&build["dockerfile"]));
    assert_eq!(dockerfile, top().join("contrib/Dockerfile"));
}

#[test]
fn prometheus_gets_the_shipped_configuration_and_targets_of_the_stack() {
    let test = "prometheus_gets_the_shipped_configuration_and_targets_of_the_stack";
    let Some(stack) = resolved(test, &[]) else {
        return;
    };
    let mounts = mounts(&stack["services"]["prometheus"]);
    let sources: BTreeSet<&Path> = mounts
        .iter()
        .map(|(source, _)| source.strip_prefix(top()).unwrap())
        .collect();
    let shipped = [
        "contrib/alerts.yml",
        "contrib/compose/iperf3-targets.yml",
        "contrib/prometheus.yml",
        "contrib/recording-rules.yml",
    ];
    assert_eq!(sources, shipped.map(Path::new).into());
    // With the layout of the container: promtool finds each file that the configuration names, and reports the rules
    // that it read.
    let dir = TempDir::new();
    for (source, target) in mounts {
        let name = target.strip_prefix("/etc/prometheus/").unwrap();
        fs::copy(source, dir.path().join(name)).unwrap();
    }
    let configuration = dir.path().join("prometheus.yml").display().to_string();
    let (passed, said) = run("promtool", &["check", "config", &configuration], "");
    assert!(passed && !said.contains("WARNING"), "{said}");
    for file in ["recording-rules.yml", "alerts.yml"] {
        assert!(said.contains(&format!("{file}\n  SUCCESS: ")), "{said}");
    }
    // Target and exporter are containers of the stack.
    let lines: Vec<String> = read("compose/iperf3-targets.yml")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.trim().to_owned())
        .collect();
    let wanted = [
        "- targets:",
        "- iperf3",
        "labels:",
        "exporter: iperf3-exporter:9579",
    ];
    assert_eq!(lines, wanted);
    let exposed = &stack["services"]["iperf3-exporter"]["ports"][0]["target"];
    assert_eq!(exposed, 9579);
}

#[test]
fn grafana_finds_its_data_source_and_the_shipped_dashboard() {
    let test = "grafana_finds_its_data_source_and_the_shipped_dashboard";
    let Some(stack) = resolved(test, &[]) else {
        return;
    };
    let grafana = &stack["services"]["grafana"];
    let mounts = mounts(grafana);
    let home = text(&grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]);
    let dashboard = mounts.iter().find(|(_, target)| *target == home).unwrap().0;
    assert_eq!(dashboard, top().join("contrib/grafana-dashboard.json"));
    for (kind, line) in [
        ("datasources", "url: http://prometheus:9090".to_owned()),
        (
            "dashboards",
            format!("path: {}", Path::new(home).parent().unwrap().display()),
        ),
    ] {
        let folder = format!("/etc/grafana/provisioning/{kind}/");
        let found: Vec<&Path> = mounts
            .iter()
            .filter(|(_, target)| target.starts_with(&folder))
            .map(|(source, _)| *source)
            .collect();
        assert_eq!(found.len(), 1, "{folder}");
        let provisioned = fs::read_to_string(found[0]).unwrap();
        assert!(provisioned.lines().any(|had| had.trim() == line), "{line}");
    }
    assert_eq!(stack["services"]["prometheus"]["ports"][0]["target"], 9090);
    // A provisioned dashboard has no import form, so its variable must have a value.
    let dashboard: Value = serde_json::from_str(&read("grafana-dashboard.json")).unwrap();
    assert!(list(&dashboard["__inputs"]).is_empty());
    let variable = list(&dashboard["templating"]["list"])
        .iter()
        .find(|variable| variable["type"] == "datasource")
        .unwrap();
    assert_eq!(variable["query"], "prometheus");
    let current = text(&variable["current"]["value"]);
    assert!(
        ["", "default", "prometheus"].contains(&current),
        "{current}"
    );
}
