//! The Grafana dashboard and the alerts in `contrib/`: in a real Prometheus that scrapes the real exporter, each query
//! of each panel and variable has data. What Grafana itself would do with the file is read from the file: there is none
//! to run here.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::{
    ClosedPort, Exporter, Server, TempDir, documentation, has, run, top, wait_for,
};
use crate::netem::newer_iperf3;
use crate::prometheus::Prometheus;

fn read(name: &str) -> String {
    fs::read_to_string(top().join("contrib").join(name)).unwrap()
}

fn dashboard() -> Value {
    serde_json::from_str(&read("grafana-dashboard.json")).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// All panels, those within collapsed rows too.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let top_ones = list(&dashboard["panels"]);
    let panels: Vec<&Value> = top_ones
        .iter()
        .flat_map(|panel| std::iter::once(panel).chain(list(&panel["panels"])))
        .collect();
    assert!(panels.len() >= 30, "{}", panels.len());
    panels
}

/// Every query, with the place where it stands; those of the variables are not among them.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for panel in panels(dashboard) {
        for target in list(&panel["targets"]) {
            let place = format!("{} {}", text(&panel["title"]), text(&target["refId"]));
            queries.push((place, text(&target["expr"]).to_owned()));
        }
    }
    for annotation in list(&dashboard["annotations"]["list"]) {
        if let Some(query) = annotation["expr"].as_str() {
            let place = format!("annotation {}", text(&annotation["name"]));
            queries.push((place, query.to_owned()));
        }
    }
    queries
}

/// The variables that ask Prometheus, each with its query.
fn variables(dashboard: &Value) -> Vec<(&str, &str)> {
    list(&dashboard["templating"]["list"])
        .iter()
        .filter(|variable| variable["type"] == "query")
        .map(|variable| (text(&variable["name"]), text(&variable["query"]["query"])))
        .collect()
}

/// The parts of `label_values(series, label)`.
fn label_values(query: &str) -> (&str, &str) {
    let inner = query.strip_prefix("label_values(").unwrap();
    let (series, label) = inner.strip_suffix(')').unwrap().rsplit_once(',').unwrap();
    (series.trim(), label.trim())
}

#[test]
fn the_dashboard_can_be_imported_as_it_is() {
    let dashboard = dashboard();
    assert_eq!(dashboard["id"], Value::Null, "an id is its Grafana's own");
    assert_eq!(dashboard["uid"], "iperf3-exporter");
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 38);
    let first = &dashboard["templating"]["list"][0];
    assert_eq!(
        (
            text(&first["name"]),
            text(&first["type"]),
            text(&first["query"])
        ),
        ("datasource", "datasource", "prometheus")
    );
    let names: Vec<&str> = variables(&dashboard)
        .iter()
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(names, ["job", "instance", "target", "exporter"]);
    for variable in list(&dashboard["templating"]["list"]).iter().skip(1) {
        assert_eq!(variable["multi"], true, "{variable}");
        assert_eq!(variable["includeAll"], true, "{variable}");
        assert_eq!(variable["datasource"]["uid"], "${datasource}");
    }
    let kinds: BTreeSet<&str> = list(&dashboard["__requires"])
        .iter()
        .filter(|needed| needed["type"] == "panel")
        .map(|needed| text(&needed["id"]))
        .collect();
    let mut ids = BTreeSet::new();
    let mut used = BTreeSet::new();
    for panel in panels(&dashboard) {
        let title = text(&panel["title"]);
        assert!(!title.is_empty(), "{panel}");
        let id = panel["id"].as_u64().unwrap();
        assert!(ids.insert(id), "{title}: the id {id} is there twice");
        if panel["type"] == "row" {
            continue;
        }
        used.insert(text(&panel["type"]));
        assert!(text(&panel["description"]).ends_with('.'), "{title}");
        let unit = text(&panel["fieldConfig"]["defaults"]["unit"]);
        assert!(!unit.is_empty(), "{title} has no unit");
        let mut sources = vec![&panel["datasource"]];
        let mut refs = BTreeSet::new();
        for target in list(&panel["targets"]) {
            sources.push(&target["datasource"]);
            assert!(refs.insert(text(&target["refId"])), "{title}");
            // In a fleet two exporters measure to the same target: they are told apart, and can be chosen.
            let query = text(&target["expr"]);
            let by_target = query.matches("target=~\"$target\"").count();
            let by_exporter = query.matches("exporter=~\"$exporter|\"").count();
            assert_eq!(by_target, by_exporter, "{title}: {query}");
            let legend = text(&target["legendFormat"]);
            let is_told = !legend.contains("{{job}}") || legend.contains("{{exporter}}");
            assert!(is_told, "{title}: {legend}");
            let is_bits = text(&target["expr"]).ends_with("* 8");
            assert_eq!(unit == "bps", is_bits, "{title}: {target}");
        }
        assert!(!refs.is_empty(), "{title} asks nothing");
        for source in sources {
            assert_eq!(source["uid"], "${datasource}", "{title}");
            assert_eq!(source["type"], "prometheus", "{title}");
        }
    }
    assert_eq!(used, kinds, "the kinds of panels that it says it needs");
}

/// The columns and lines that a panel covers.
fn cells(panel: &Value) -> BTreeSet<(u64, u64)> {
    let at = |side: &str| panel["gridPos"][side].as_u64().unwrap();
    let (x, y, w, h) = (at("x"), at("y"), at("w"), at("h"));
    assert!(w > 0 && h > 0 && x + w <= 24, "{}", panel["gridPos"]);
    let columns = x..x + w;
    columns
        .flat_map(|column| (y..y + h).map(move |line| (column, line)))
        .collect()
}

#[test]
fn no_panel_lies_on_another_one() {
    let dashboard = dashboard();
    let mut covered = BTreeSet::new();
    for panel in panels(&dashboard) {
        for cell in cells(panel) {
            assert!(covered.insert(cell), "{} at {cell:?}", panel["title"]);
        }
    }
}

/// What looks like a family of ours, or of what is recorded, in a query.
fn names_in(query: &str) -> BTreeSet<String> {
    // What stands in quotes is a label's value.
    let outside: Vec<&str> = query.split('"').step_by(2).collect();
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    outside
        .join(" ")
        .split(|c| !is_part(c))
        .filter(|word| {
            ["iperf3_", "process_"]
                .iter()
                .any(|start| word.contains(start))
        })
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_family_that_is_asked_for_is_there_or_recorded() {
    let documentation = documentation();
    let rules = read("recording-rules.yml");
    let mut known: BTreeSet<String> = documentation
        .iter()
        .flat_map(|(_, text)| text.lines())
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(str::to_owned)
        .collect();
    let records = rules
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("- record: "));
    known.extend(records.map(str::to_owned));
    let dashboard = dashboard();
    let mut asked: Vec<(String, String)> = queries(&dashboard);
    for (name, query) in variables(&dashboard) {
        asked.push((name.to_owned(), label_values(query).0.to_owned()));
    }
    for file in ["alerts.yml", "recording-rules.yml"] {
        let text = read(file);
        let mut is_query = false;
        for line in text.lines() {
            let inner = line.trim_start();
            if inner.starts_with("expr:") {
                is_query = true;
            } else if inner.starts_with('#')
                || line.starts_with("        ") && !line.starts_with("          ")
            {
                is_query = false;
            }
            if is_query {
                asked.push((file.to_owned(), inner.to_owned()));
            }
        }
    }
    let mut count = 0;
    for (place, query) in &asked {
        for name in names_in(query) {
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end))
                .unwrap_or(&name);
            count += 1;
            assert!(
                known.contains(&name) || known.contains(family),
                "{place} asks for {name}: {query}"
            );
        }
    }
    assert!(count > 100, "{count}");
}

/// A query with its variables replaced, as Grafana does it.
fn filled(query: &str, values: &[(&str, String)]) -> String {
    let mut query = query.to_owned();
    for (name, value) in [
        ("__rate_interval", "15s"),
        ("__interval", "5s"),
        ("__range", "10m"),
    ] {
        query = query.replace(&format!("${name}"), value);
    }
    for (name, value) in values {
        query = query.replace(&format!("${name}"), value);
    }
    assert!(!query.contains('$'), "{query}");
    query
}

/// A job of probes, its target under its own name; `more` are further groups of targets.
fn job(name: &str, params: &str, target: &str, more: &str, exporter: u16) -> String {
    format!(
        "  - job_name: {name}
    metrics_path: /probe
    scrape_interval: 6s
    scrape_timeout: 6s
    params:
      period: ['1s']
      bitrate: ['8M']
{params}    static_configs:
      - targets: ['{target}']
{more}    relabel_configs:
      - source_labels: [__address__]
        target_label: __param_target
      - source_labels: [__param_target]
        target_label: instance
      - target_label: __address__
        replacement: 127.0.0.1:{exporter}
"
    )
}

/// Six days of one target's history as `OpenMetrics`: a week's median needs a week.
fn history(server: &Server) -> String {
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_secs();
    let labels = format!(
        "job=\"iperf3\",instance=\"{}\",target=\"127.0.0.1\",port=\"{}\"",
        server.target(),
        server.port
    );
    let mut text = String::new();
    for (family, way, value) in [
        ("iperf3_bandwidth_bytes_per_second", "upload", "1000000"),
        ("iperf3_bandwidth_bytes_per_second", "download", "1000000"),
        ("iperf3_tcp_rtt_mean_seconds", "upload", "0.001"),
    ] {
        if !text.contains(&format!("# TYPE {family} ")) {
            text += &format!("# TYPE {family} gauge\n");
        }
        for hours in (72..=144).rev() {
            let at = now - hours * 3600;
            text += &format!("{family}{{{labels},direction=\"{way}\"}} {value} {at}\n");
        }
    }
    text + "# EOF\n"
}

/// All that the dashboard shows: uploads, downloads and both, TCP and UDP, a target that is down, kept results, a
/// budget, an exporter that is scraped itself.
fn configuration(servers: &[Server; 2], exporter: u16, closed: u16, rules: &Path) -> String {
    let [first, second] = servers.each_ref().map(Server::target);
    // More often than the others: it takes two failures until it is told, and they take no time.
    let down = format!(
        "      - targets: ['localhost:{closed}']
        labels: {{__scrape_interval__: 3s, __scrape_timeout__: 3s}}
"
    );
    let (both, reverse) = (
        "      bidirectional: ['true']\n",
        "      reverse_mode: ['true']\n      max_age: ['8s']\n",
    );
    let udp = "      udp_mode: ['true']\n      bidirectional: ['true']\n      max_age: ['8s']\n";
    let jobs = [
        job("iperf3", both, &first, &down, exporter),
        job("iperf3-down", reverse, &second, "", exporter),
        job("iperf3-up", "", &second, "", exporter),
        job("iperf3-udp", udp, &first, "", exporter),
    ];
    format!(
        "global:
  evaluation_interval: 1s
rule_files: ['{}', '{}']
scrape_configs:
{}  - job_name: iperf3-exporter
    scrape_interval: 1s
    scrape_timeout: 1s
    static_configs:
      - targets: ['127.0.0.1:{exporter}']
",
        rules.display(),
        top().join("contrib/alerts.yml").display(),
        jobs.concat(),
    )
}

/// What only a test that runs has: it takes an iperf3 that streams its intervals.
const RUNNING: &str = "iperf3_exporter_test_running_bandwidth_bytes_per_second";

/// The queries that have data whether a test runs or not.
fn queries_between_tests(dashboard: &Value) -> Vec<(String, String)> {
    let mut queries = queries(dashboard);
    queries.retain(|(_, query)| !query.contains(RUNNING));
    queries
}

#[test]
#[ignore = "make test-all: a newer iperf3 is downloaded"]
fn a_test_is_drawn_while_it_runs_and_no_longer() {
    let test = "a_test_is_drawn_while_it_runs_and_no_longer";
    if !has("prometheus", test) || !has("promtool", test) {
        return;
    }
    let Some(iperf3) = newer_iperf3(test) else {
        return;
    };
    let server = Server::start();
    let exporter = Exporter::start(&[format!("--iperf3.path={}", iperf3.display())]);
    let configuration = format!(
        "scrape_configs:
  - job_name: iperf3-exporter
    scrape_interval: 1s
    scrape_timeout: 1s
    static_configs:
      - targets: ['127.0.0.1:{}']
",
        exporter.port()
    );
    let prometheus = Prometheus::start(&configuration);
    let queries = queries(&dashboard());
    let mut running = queries.iter().filter(|(_, query)| query.contains(RUNNING));
    let query = filled(&running.next().unwrap().1, &[("exporter", ".*".to_owned())]);

    // A minute that nobody waits for: it is stopped when it has been seen.
    let both = format!(
        "target={}&period=60s&bidirectional=true&bitrate=8M",
        server.target()
    );
    assert_eq!(exporter.run(&both).code, 303);
    for direction in ["upload", "download"] {
        let query = format!(
            "{RUNNING}{{direction=\"{direction}\",target=\"127.0.0.1\",port=\"{}\"}}",
            server.port
        );
        // What a busy machine makes of 1 MB/s.
        prometheus.until(&query, |rate| (1e5..1e7).contains(&rate));
        // Its course: three scrapes see it.
        prometheus.until(&format!("count_over_time({query}[1h])"), |count| {
            count >= 3.0
        });
    }
    assert_eq!(prometheus.series(&query).len(), 2);
    prometheus.until("iperf3_exporter_test_running_length_seconds", |seconds| {
        seconds == 60.0
    });
    prometheus.until("iperf3_exporter_test_running_seconds", |seconds| {
        seconds > 0.0
    });
    // And on its page.
    let frame = exporter.get("/probes/1/now").body;
    for piece in [
        "<svg class=\"plot\"",
        "<path class=\"up\"",
        "<path class=\"down\"",
    ] {
        assert!(frame.contains(piece), "{frame}");
    }
    let metrics = exporter.get("/metrics").body;
    let (passed, said) = run("promtool", &["check", "metrics"], &metrics);
    assert!(passed, "{said}");

    let stop = format!("/probes/1/stop?token={}", exporter.csrf_token());
    assert_eq!(
        exporter
            .request("POST", &stop, &[("Content-Length", "0")])
            .code,
        303
    );
    wait_for("its end", || {
        exporter.get("/probes/1").header("Refresh").is_none()
    });
    assert!(!exporter.get("/metrics").body.contains("test_running"));
    // Prometheus knows it as well: the next scrape ends the series.
    wait_for("the series to end", || {
        prometheus
            .series("{__name__=~\"iperf3_exporter_test_running_.*\"}")
            .is_empty()
    });
}

#[test]
fn every_query_of_the_dashboard_has_data_in_a_real_prometheus() {
    let test = "every_query_of_the_dashboard_has_data_in_a_real_prometheus";
    if !has("prometheus", test) || !has("promtool", test) {
        return;
    }
    let servers = [Server::start(), Server::start()];
    let exporter = Exporter::start(&["--probe.max-bytes-per-day=100G"]);
    // As shipped, but for the two minutes between evaluations of weeks.
    let (rules, dir) = (read("recording-rules.yml"), TempDir::new());
    assert!(rules.contains("\n    interval: 2m\n"));
    let rules = rules.replace("interval: 2m", "interval: 1s");
    let rules = dir.write("recording-rules.yml", &rules);
    let closed = ClosedPort::new();
    let configuration = configuration(&servers, exporter.port(), closed.port, &rules);
    let prometheus = Prometheus::start_with(&configuration, &history(&servers[0]));
    let dashboard = dashboard();

    // All, as Grafana writes it: what `allValue` says.
    let all: Vec<(&str, String)> = list(&dashboard["templating"]["list"])
        .iter()
        .filter(|variable| variable["type"] == "query")
        .map(|variable| {
            (
                text(&variable["name"]),
                text(&variable["allValue"]).to_owned(),
            )
        })
        .collect();
    for (place, query) in queries_between_tests(&dashboard) {
        let query = filled(&query, &all);
        wait_for(&format!("{place}: {query}"), || {
            !prometheus.series(&query).is_empty()
        });
    }

    // The alerts in the same Prometheus: the target that is down is told, with its reason; the others are not.
    let firing = "ALERTS{alertname=\"Iperf3TargetDown\",alertstate=\"firing\"}";
    let (_, labels) = prometheus.until(firing, |_| true);
    assert_eq!(text(&labels["reason"]), "refused", "{labels}");
    assert_eq!(text(&labels["target"]), "localhost", "{labels}");
    let others = "ALERTS{alertname!=\"Iperf3TargetDown\",alertstate=\"firing\"}";
    let others = prometheus.series(others);
    assert!(others.is_empty(), "{others:?}");
    // Nor is one of the exporter itself about to fire: it has all that the rules look for, under labels that they know.
    // Only a queue may be long for a while.
    let broken = "ALERTS{job=~\".*exporter.*\",alertname!~\"Iperf3(QueueSaturated|LockWaitLong|ProbesNotRun)\"}";
    let broken = prometheus.series(broken);
    assert!(broken.is_empty(), "{broken:?}");

    // Each variable offers what there is.
    let mut chosen: Vec<(&str, String)> = Vec::new();
    for (name, query) in variables(&dashboard) {
        let (series, label) = label_values(query);
        let values: BTreeSet<String> = prometheus
            .series(&filled(series, &all))
            .iter()
            .map(|series| text(&series["metric"][label]).to_owned())
            .collect();
        let least = if name == "exporter" { 1 } else { 2 };
        assert!(
            values.len() >= least && !values.contains(""),
            "{name}: {values:?}"
        );
        // Several values are written as a regular expression, with the dots escaped as Grafana does.
        let several: Vec<String> = values
            .iter()
            .map(|value| value.replace('.', "\\\\."))
            .collect();
        chosen.push((name, format!("({})", several.join("|"))));
    }
    for (place, query) in queries_between_tests(&dashboard) {
        let query = filled(&query, &chosen);
        // A scrape that came too late leaves a gap until the next one.
        wait_for(&format!("{place}: {query}"), || {
            !prometheus.series(&query).is_empty()
        });
    }

    // What each row is for: one target alone, the one that answers and has a history.
    let one = [
        ("job", "iperf3".to_owned()),
        ("instance", servers[0].target().replace('.', "\\\\.")),
        ("target", "127\\\\.0\\\\.0\\\\.1".to_owned()),
        (
            "exporter",
            format!("127\\\\.0\\\\.0\\\\.1:{}", exporter.port()),
        ),
    ];
    for (place, query) in queries(&dashboard) {
        if place.contains("against its seconds") {
            let query = filled(&query, &one);
            let (value, _) = prometheus.until(&query, |_| true);
            assert!((1e6..1e9).contains(&value), "{place}: {value} bits");
        }
    }
}
