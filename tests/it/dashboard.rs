//! The Grafana dashboard and the alerts in `contrib/`. In a real Prometheus that scrapes the real exporter, each query
//! of each panel and variable has data, and so has each query that users of the older exporters have on their
//! dashboards. No Grafana runs here: the file's contents are checked instead of Grafana's reading and layout.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::{
    ClosedPort, Exporter, Server, TempDir, documentation, has, run, run_script, top, wait_for,
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

/// All panels, also those in collapsed rows.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let top_ones = list(&dashboard["panels"]);
    let panels: Vec<&Value> = top_ones
        .iter()
        .flat_map(|panel| std::iter::once(panel).chain(list(&panel["panels"])))
        .collect();
    assert!(panels.len() >= 30, "{}", panels.len());
    panels
}

/// Every query of a panel with its place; the queries of the variables are not included.
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

/// The variables that query Prometheus, each with its query.
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
    assert_eq!(
        dashboard["id"],
        Value::Null,
        "each Grafana assigns its own id"
    );
    assert_eq!(dashboard["uid"], "iperf3-exporter");
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 38);
    let all = list(&dashboard["templating"]["list"]);
    assert_eq!(
        (
            text(&all[0]["name"]),
            text(&all[0]["type"]),
            text(&all[0]["query"])
        ),
        ("datasource", "datasource", "prometheus")
    );
    // The data source is left open: Grafana takes its first Prometheus, and the user can choose another.
    assert_eq!(all[0]["current"], serde_json::json!({}));
    let names: Vec<&str> = variables(&dashboard)
        .iter()
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(names, ["job", "instance", "target", "exporter", "detail"]);
    for variable in all.iter().filter(|variable| variable["type"] == "query") {
        assert_eq!(variable["multi"], true, "{variable}");
        // The details show chosen targets: all of fifty would be too much for a page.
        assert_eq!(
            variable["includeAll"],
            variable["name"] != "detail",
            "{variable}"
        );
        assert_eq!(variable["datasource"]["uid"], "${datasource}");
    }
    // Empty, so that the links have the addresses that Prometheus knows.
    let typed = all.iter().filter(|variable| variable["type"] == "textbox");
    let typed: Vec<(&str, &str)> = typed
        .map(|variable| (text(&variable["name"]), text(&variable["current"]["value"])))
        .collect();
    assert_eq!(typed, [("page", "")]);
    for variable in all.iter().filter(|variable| variable["type"] == "custom") {
        let chosen = text(&variable["current"]["value"]);
        let offered: Vec<&str> = text(&variable["query"]).split(',').collect();
        assert!(offered.contains(&chosen), "{variable}");
        let options = list(&variable["options"])
            .iter()
            .map(|option| text(&option["value"]));
        assert_eq!(options.collect::<Vec<_>>(), offered);
    }
}

/// At an import Grafana's dialog asks for each of `__inputs` and replaces `${NAME}` with the answer. A name that is
/// neither an input nor a variable would not be replaced, and a provisioned file has no dialog.
#[test]
fn an_import_asks_for_nothing_and_every_variable_is_defined() {
    let dashboard = dashboard();
    let inputs = list(&dashboard["__inputs"])
        .iter()
        .map(|input| text(&input["name"]));
    let inputs: BTreeSet<&str> = inputs.collect();
    let defined = list(&dashboard["templating"]["list"])
        .iter()
        .map(|variable| text(&variable["name"]));
    let mut defined: BTreeSet<&str> = defined.collect();
    assert!(defined.is_disjoint(&inputs));
    defined.extend(&inputs);
    let mut used = BTreeSet::new();
    let whole = read("grafana-dashboard.json");
    for (at, _) in whole.match_indices('$') {
        let rest = whole[at + 1..].trim_start_matches('{');
        let name = rest
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .next()
            .unwrap();
        // Neither Grafana's own variables nor the groups of a regular expression.
        if !name.starts_with("__") && !name.starts_with(|c: char| c.is_ascii_digit()) {
            used.insert(name);
        }
    }
    assert_eq!(used, defined);
}

#[test]
fn each_panel_says_what_it_shows_and_in_which_unit() {
    let dashboard = dashboard();
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
        assert!(ids.insert(id), "{title}: duplicate id {id}");
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
            let query = text(&target["expr"]);
            check_filters(title, query, text(&target["legendFormat"]));
            if panel["type"] != "table" {
                assert_eq!(unit == "bps", query.ends_with("* 8"), "{title}: {query}");
            }
        }
        assert!(!refs.is_empty(), "{title} has no query");
        for source in sources {
            assert_eq!(source["uid"], "${datasource}", "{title}");
            assert_eq!(source["type"], "prometheus", "{title}");
        }
    }
    assert_eq!(used, kinds, "the panel types in __requires");
}

/// In a fleet two exporters may measure to the same target: they are told apart and can be chosen.
fn check_filters(title: &str, query: &str, legend: &str) {
    let by_target = ["target=~\"$target\"", "target=~\"$detail\""];
    let by_target: usize = by_target
        .iter()
        .map(|filter| query.matches(filter).count())
        .sum();
    let by_exporter = query.matches("exporter=~\"$exporter|\"").count();
    assert_eq!(by_target, by_exporter, "{title}: {query}");
    let is_told = !legend.contains("{{job}}") || legend.contains("{{exporter}}");
    assert!(is_told, "{title}: {legend}");
}

/// As a range, the query of a single number would be evaluated for each step of a day; as an instant, a graph would
/// have one point.
#[test]
fn numbers_and_tables_are_instant_queries_and_graphs_have_a_minimum_interval() {
    let dashboard = dashboard();
    for panel in panels(&dashboard) {
        let (title, kind) = (text(&panel["title"]), text(&panel["type"]));
        let is_graph = match kind {
            "row" => continue,
            "stat" | "table" | "gauge" => false,
            "timeseries" | "state-timeline" => true,
            other => panic!("{title} is a {other}"),
        };
        for target in list(&panel["targets"]) {
            assert_eq!(target["instant"], !is_graph, "{title}");
            assert_eq!(target["range"], is_graph, "{title}");
            assert_eq!(target["format"] == "table", kind == "table", "{title}");
        }
        // Steps shorter than the scrape interval return the same number twice. The window of a rate is four steps, and
        // must contain two scrapes.
        let queries = panel["targets"].to_string();
        let least = if queries.contains("_test_running_") {
            "5s"
        } else {
            "1m"
        };
        let wanted = if is_graph { least } else { "" };
        assert_eq!(text(&panel["interval"]), wanted, "{title}");
        assert!(is_graph || !queries.contains("$__interval"), "{title}");
    }
}

/// Fifty lines in one graph cannot be read. Outside the details a graph draws the first lines of a ranking, which is
/// the same for the whole time range, or a sum.
#[test]
fn no_graph_draws_a_line_for_every_target() {
    let dashboard = dashboard();
    let mut count = 0;
    for panel in panels(&dashboard) {
        let queries: Vec<&str> = list(&panel["targets"])
            .iter()
            .map(|target| text(&target["expr"]))
            .collect();
        if !matches!(text(&panel["type"]), "timeseries" | "state-timeline") {
            continue;
        }
        for query in queries.iter().filter(|query| query.contains("\"$target\"")) {
            let is_bound = query.contains("topk($top, ") || query.contains("bottomk($top, ");
            let is_stable = is_bound && query.contains(" @ end()");
            assert!(
                is_stable || query.starts_with("sum by (reason)"),
                "{}: {query}",
                panel["title"]
            );
            let has_number = text(&panel["title"]).contains("$top");
            assert_eq!(is_bound, has_number, "{}", panel["title"]);
            count += 1;
        }
    }
    assert!(count >= 15, "{count}");
    let rows = list(&dashboard["panels"])
        .iter()
        .filter(|panel| panel["type"] == "row");
    let repeated: Vec<&str> = rows
        .map(|row| text(&row["repeat"]))
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(repeated, ["detail"]);
}

/// Graphs turn red at the thresholds at which alerts fire.
#[test]
fn thresholds_are_those_of_the_alerts() {
    let alerts = read("alerts.yml");
    for (family, alert, steps) in [
        (
            "iperf3_packet_loss_ratio",
            "expr: target_direction:iperf3_packet_loss_ratio:median2h > ",
            &[0.01, 0.05][..],
        ),
        (
            "iperf3_tcp_retransmits:ratio",
            "expr: quantile_over_time(0.5, target_direction:iperf3_tcp_retransmits:ratio[2h]) > ",
            &[0.02],
        ),
        (
            "iperf3_cpu_utilization_ratio",
            "iperf3_cpu_utilization_ratio{mode=\"total\"}[1h])) > ",
            &[0.9],
        ),
    ] {
        for step in steps {
            assert!(
                alerts.contains(&format!("{alert}{step}\n")),
                "{alert}{step}"
            );
        }
        let dashboard = dashboard();
        let mut count = 0;
        for panel in panels(&dashboard) {
            let is_it =
                panel["type"] == "timeseries" && panel["targets"].to_string().contains(family);
            if is_it {
                let defaults = &panel["fieldConfig"]["defaults"];
                let drawn = list(&defaults["thresholds"]["steps"]).iter().skip(1);
                let drawn: Vec<f64> = drawn.map(|step| step["value"].as_f64().unwrap()).collect();
                assert_eq!(drawn, steps, "{}", panel["title"]);
                assert_eq!(defaults["unit"], "percentunit", "{}", panel["title"]);
                assert_eq!(defaults["custom"]["thresholdsStyle"]["mode"], "dashed");
                count += 1;
            }
        }
        assert_eq!(
            count, 2,
            "{family}: one graph for all targets, one in the details"
        );
    }
}

/// The table at the top: its columns, and where a click leads.
#[test]
fn the_first_panel_is_a_table_whose_rows_lead_to_the_exporter() {
    let dashboard = dashboard();
    let table = &list(&dashboard["panels"])[0];
    assert_eq!(table["type"], "table");
    assert_eq!(table["gridPos"]["w"], 24);
    let [merge, organize] = list(&table["transformations"]) else {
        panic!("{table}");
    };
    assert_eq!(
        (text(&merge["id"]), text(&organize["id"])),
        ("merge", "organize")
    );
    let (hidden, names) = (
        &organize["options"]["excludeByName"],
        &organize["options"]["renameByName"],
    );
    let shown: BTreeSet<&str> = names.as_object().unwrap().values().map(text).collect();
    let overrides = list(&table["fieldConfig"]["overrides"]);
    for (column, unit) in [
        ("State", ""),
        ("Target", ""),
        ("Reason", ""),
        ("Download", "bps"),
        ("Upload", "bps"),
        ("Loss", "percentunit"),
        ("Round trip", "s"),
        ("Age", "s"),
        ("Last change", "dateTimeFromNow"),
        ("Succeeded", "percentunit"),
        ("Exporter", ""),
    ] {
        assert!(shown.contains(column), "{column}");
        let its = overrides
            .iter()
            .filter(|entry| entry["matcher"]["options"] == column);
        let properties: Vec<&Value> = its.flat_map(|entry| list(&entry["properties"])).collect();
        let its_unit = properties.iter().find(|property| property["id"] == "unit");
        assert_eq!(
            its_unit.map_or("", |property| text(&property["value"])),
            unit,
            "{column}"
        );
    }
    // Each override matches an existing column, and each column a query or label.
    for entry in overrides {
        assert!(
            shown.contains(text(&entry["matcher"]["options"])),
            "{entry}"
        );
    }
    for target in list(&table["targets"]) {
        let value = format!("Value #{}", text(&target["refId"]));
        let is_there = names.get(&value).is_some() != hidden.get(&value).is_some();
        assert!(is_there, "{value} is neither shown nor hidden");
    }
    let links = |column: &str| -> Vec<String> {
        let its = overrides
            .iter()
            .filter(|entry| entry["matcher"]["options"] == column);
        let properties = its.flat_map(|entry| list(&entry["properties"]));
        let links = properties.filter(|property| property["id"] == "links");
        links
            .flat_map(|property| list(&property["value"]))
            .map(|link| text(&link["url"]).to_owned())
            .collect()
    };
    // A target may have any characters. In an address the colon and the brackets of IPv6 have to stay.
    let page =
        "${scheme}://${__data.fields.page:raw}/?target=${__data.fields.target:percentencode}";
    assert_eq!(
        links("Exporter"),
        [format!("{page}#last"), format!("{page}&failures=true#last")]
    );
    let [details] = links("Target").try_into().unwrap();
    assert!(details.starts_with("/d/iperf3-exporter?"), "{details}");
    assert!(
        details.contains("&var-detail=${__data.fields.target:percentencode}&${__url_time_range}"),
        "{details}"
    );
    for variable in list(&dashboard["templating"]["list"]) {
        let kept = format!("${{{}:queryparam}}", text(&variable["name"]));
        assert_eq!(
            details.contains(&kept),
            variable["name"] != "detail",
            "{details}"
        );
    }
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

/// Panels do not overlap, and there is no gap: Grafana would move the panels up.
fn check_boxes<'a>(panels: impl Iterator<Item = &'a Value>, first_line: u64) {
    let mut covered = BTreeSet::new();
    for panel in panels {
        for cell in cells(panel) {
            assert!(covered.insert(cell), "{} at {cell:?}", panel["title"]);
        }
    }
    let lines: BTreeSet<u64> = covered.iter().map(|(_, line)| *line).collect();
    let (from, to) = (*lines.first().unwrap(), *lines.last().unwrap());
    assert_eq!(from, first_line);
    assert_eq!(
        covered.len() as u64,
        (to - from + 1) * 24,
        "a hole from line {from} to {to}"
    );
}

#[test]
fn panels_do_not_overlap_and_rows_are_collapsed_with_their_panels_inside() {
    let dashboard = dashboard();
    check_boxes(list(&dashboard["panels"]).iter(), 0);
    let rows = list(&dashboard["panels"])
        .iter()
        .skip_while(|panel| panel["type"] != "row");
    let mut count = 0;
    for row in rows {
        // After the first row only rows follow: a panel there would belong to the row above it.
        assert_eq!(row["type"], "row", "{}", row["title"]);
        assert_eq!(row["collapsed"], true, "{}", row["title"]);
        let inner = list(&row["panels"]);
        assert!(!inner.is_empty(), "{}", row["title"]);
        check_boxes(inner.iter(), row["gridPos"]["y"].as_u64().unwrap() + 1);
        count += 1;
    }
    assert_eq!(count, 7);
    // The open part is short: the table, one line of numbers, and a few large graphs.
    let open = list(&dashboard["panels"])
        .iter()
        .filter(|panel| panel["type"] == "timeseries");
    let area = |panel: &&Value| {
        panel["gridPos"]["w"].as_u64().unwrap() * panel["gridPos"]["h"].as_u64().unwrap()
    };
    let large = open.clone().filter(|panel| area(panel) >= 12 * 9).count();
    assert!(large >= 4 && open.count() <= 6);
}

#[test]
fn titles_and_columns_fit_into_their_boxes() {
    let test = "titles_and_columns_fit_into_their_boxes";
    if !has("python3", test) {
        return;
    }
    let script = top()
        .join("tests/scripts/dashboard-svg.py")
        .display()
        .to_string();
    let file = top()
        .join("contrib/grafana-dashboard.json")
        .display()
        .to_string();
    let (passed, drawn) = run("python3", &["-B", &script, &file], "");
    assert!(passed, "{drawn}");
    assert!(
        drawn.starts_with("<svg ") && drawn.ends_with("</svg>\n"),
        "{drawn}"
    );
    let boxes = panels(&dashboard())
        .iter()
        .filter(|panel| panel["type"] != "row")
        .count();
    // One more is the background.
    assert_eq!(drawn.matches("<rect ").count(), boxes + 1);
}

#[test]
#[ignore = "make test-all: a package is downloaded"]
fn grafanas_own_types_know_every_field() {
    let test = "grafanas_own_types_know_every_field";
    if let Some(said) = run_script("dashboard-types.sh", test) {
        assert_eq!(said, "");
    }
}

/// Names in a query that look like a family of the exporter or a recorded one.
fn names_in(query: &str) -> BTreeSet<String> {
    // Quoted text is a label's value.
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
fn every_queried_family_exists_or_is_recorded() {
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

/// A query with its variables replaced as Grafana does it.
fn filled(query: &str, values: &[(&str, String)]) -> String {
    let mut query = query.to_owned();
    for (name, value) in values {
        query = query.replace(&format!("${name}"), value);
    }
    for (name, value) in [
        ("__rate_interval", "15s"),
        ("__interval", "5s"),
        ("__range", "10m"),
        ("top", "10"),
        ("page", ""),
    ] {
        query = query.replace(&format!("${name}"), value);
    }
    // `$1` is no variable but the first group of a regular expression.
    assert!(!query.replace("\"$1\"", "").contains('$'), "{query}");
    query
}

/// Every value of each variable: its `allValue`; the details leave the choice to the user.
fn all_values(dashboard: &Value) -> Vec<(&str, String)> {
    let names = variables(dashboard).into_iter().map(|(name, _)| name);
    names.map(|name| (name, ".+".to_owned())).collect()
}

/// A scrape job of probes with the target as `instance`. `more` has further groups of targets.
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

/// Six days of one target's history as `OpenMetrics`: a weekly median needs them.
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

/// All that the dashboard shows: uploads, downloads and bidirectional tests, TCP and UDP, a target that is down, kept
/// results, a budget, an exporter that is itself scraped, and one under its own name (`iperf3-direct`), whose results
/// belong to another job.
fn configuration(servers: &[Server; 2], exporter: u16, closed: u16, rules: &Path) -> String {
    let [first, second] = servers.each_ref().map(Server::target);
    // More often than the others: its alert needs two failures, and failures take no time.
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
        // This job has a label with the exporter's name, as those of contrib/prometheus.yml do.
        job("iperf3-up", "", &second, "", exporter).replace(
            "    relabel_configs:\n",
            &format!("    relabel_configs:\n      - target_label: exporter\n        replacement: 127.0.0.1:{exporter}\n"),
        ),
        job("iperf3-udp", udp, &first, "", exporter),
    ];
    format!(
        "global:
  evaluation_interval: 1s
rule_files: ['{}', '{}']
scrape_configs:
{}  - job_name: iperf3-direct
    metrics_path: /probe
    scrape_interval: 6s
    scrape_timeout: 6s
    params:
      target: ['{second}']
      period: ['1s']
      bitrate: ['8M']
{reverse}    static_configs:
      - targets: ['127.0.0.1:{exporter}']
  - job_name: iperf3-exporter
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

/// This family exists only during a test, and only with an iperf3 that streams its intervals.
const RUNNING: &str = "iperf3_exporter_test_running_bandwidth_bytes_per_second";

/// The queries that have data while no test runs and no target has changed its state.
fn queries_between_tests(dashboard: &Value) -> Vec<(String, String)> {
    let mut queries = queries(dashboard);
    let before = queries.len();
    queries.retain(|(_, query)| !query.contains("iperf3_exporter_test_running_"));
    // The time of the last change: `fifty_targets_…` has one.
    queries.retain(|(place, _)| place != "Targets I");
    assert_eq!(queries.len(), before - 4);
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

    // A test of a minute, stopped once it was visible.
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
        // 1 MB/s, with the deviation of a busy machine.
        prometheus.until(&query, |rate| (1e5..1e7).contains(&rate));
        // Three scrapes see it while it runs.
        prometheus.until(&format!("count_over_time({query}[1h])"), |count| {
            count >= 3.0
        });
    }
    assert_eq!(prometheus.series(&query).len(), 2);
    let mut count = 0;
    for (place, query) in &queries {
        if query.contains("iperf3_exporter_test_running_") {
            let query = filled(query, &[("exporter", ".*".to_owned())]);
            wait_for(place, || !prometheus.series(&query).is_empty());
            count += 1;
        }
    }
    assert_eq!(count, 3, "bandwidth, seconds, length");
    prometheus.until("iperf3_exporter_test_running_length_seconds", |seconds| {
        seconds == 60.0
    });
    prometheus.until("iperf3_exporter_test_running_seconds", |seconds| {
        seconds > 0.0
    });
    // Its page shows it too.
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
    // Prometheus also notices the end: the next scrape ends the series.
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
    // As shipped, except for the two minutes between evaluations of the weekly rules.
    let (rules, dir) = (read("recording-rules.yml"), TempDir::new());
    assert!(rules.contains("\n    interval: 2m\n"));
    let rules = rules.replace("interval: 2m", "interval: 1s");
    let rules = dir.write("recording-rules.yml", &rules);
    let closed = ClosedPort::new();
    let configuration = configuration(&servers, exporter.port(), closed.port, &rules);
    let prometheus = Prometheus::start_with(&configuration, &history(&servers[0]));
    let dashboard = dashboard();

    let all = all_values(&dashboard);
    // Everything below is about all of the jobs, and on a busy machine the first test of some comes late.
    let jobs = configuration.matches("metrics_path: /probe").count();
    assert_eq!(jobs, 5);
    wait_for("a result of each job", || {
        prometheus.series("group by (job) (iperf3_up)").len() == jobs
    });
    for (place, query) in queries_between_tests(&dashboard) {
        let query = filled(&query, &all);
        wait_for(&format!("{place}: {query}"), || {
            !prometheus.series(&query).is_empty()
        });
    }

    // The alerts in the same Prometheus: one fires for the target that is down, with its reason, and no other.
    // (Without a reason for as long as a busy machine lets a scrape time out.)
    let firing = "ALERTS{alertname=\"Iperf3TargetDown\",alertstate=\"firing\",reason!=\"\"}";
    let (_, labels) = prometheus.until(firing, |_| true);
    assert_eq!(text(&labels["reason"]), "refused", "{labels}");
    assert_eq!(text(&labels["target"]), "localhost", "{labels}");
    let others = "ALERTS{alertname!=\"Iperf3TargetDown\",alertstate=\"firing\"}";
    // One that a late scrape has made goes away.
    wait_for("no other alert", || prometheus.series(others).is_empty());
    // No alert about the exporter itself is pending either: it has all the families that the rules need, with the
    // expected labels. Only a queue may be long for a while.
    let broken = "ALERTS{job=~\".*exporter.*\",alertname!~\"Iperf3(QueueSaturated|LockWaitLong|ProbesNotRun)\"}";
    wait_for("no alert about the exporter", || {
        prometheus.series(broken).is_empty()
    });

    // Each variable offers the values that exist.
    let mut chosen: Vec<(&str, String)> = Vec::new();
    for (name, query) in variables(&dashboard) {
        let (series, label) = label_values(query);
        let least = if name == "exporter" { 1 } else { 2 };
        let mut values = BTreeSet::new();
        wait_for(&format!("values of {name}"), || {
            values = prometheus
                .series(&filled(series, &all))
                .iter()
                .map(|series| text(&series["metric"][label]).to_owned())
                .collect();
            values.len() >= least
        });
        assert!(!values.contains(""), "{name}: {values:?}");
        // Several values become a regular expression with escaped dots, as in Grafana.
        let several: Vec<String> = values
            .iter()
            .map(|value| value.replace('.', "\\\\."))
            .collect();
        chosen.push((name, format!("({})", several.join("|"))));
    }
    for (place, query) in queries_between_tests(&dashboard) {
        let query = filled(&query, &chosen);
        // A late scrape leaves a gap until the next one.
        wait_for(&format!("{place}: {query}"), || {
            !prometheus.series(&query).is_empty()
        });
    }

    // The purpose of the details: a single target, one that answers and has a history.
    let address = format!("127\\\\.0\\\\.0\\\\.1:{}", exporter.port());
    let one = [
        ("job", "iperf3".to_owned()),
        ("instance", servers[0].target().replace('.', "\\\\.")),
        ("target", "127\\\\.0\\\\.0\\\\.1".to_owned()),
        ("detail", "127\\\\.0\\\\.0\\\\.1".to_owned()),
        ("exporter", address),
    ];
    for (place, query) in queries(&dashboard) {
        if place.contains("their seconds, their week") {
            let query = filled(&query, &one);
            let (value, _) = prometheus.until(&query, |_| true);
            assert!((1e6..1e9).contains(&value), "{place}: {value} bits");
        }
    }
    check_table(&prometheus, &dashboard, &servers, &exporter, &closed);
    check_published(&prometheus, &exporter);
}

/// The rows of the first table: the column of this letter, as labels and value.
fn column(
    prometheus: &Prometheus,
    dashboard: &Value,
    letter: &str,
    values: &[(&str, String)],
) -> Vec<(Value, f64)> {
    let wanted = format!("Targets {letter}");
    let (_, query) = queries(dashboard)
        .into_iter()
        .find(|(place, _)| *place == wanted)
        .unwrap();
    let series = prometheus.series(&filled(&query, values));
    series
        .iter()
        .map(|series| {
            (
                series["metric"].clone(),
                text(&series["value"][1]).parse().unwrap(),
            )
        })
        .collect()
}

/// The table's values for a target that answers and for one that does not; and the exporter's address in its links,
/// which comes from the label `exporter`, from `instance`, or from the only exporter.
fn check_table(
    prometheus: &Prometheus,
    dashboard: &Value,
    servers: &[Server; 2],
    exporter: &Exporter,
    closed: &ClosedPort,
) {
    let all = all_values(dashboard);
    let address = format!("127.0.0.1:{}", exporter.port());
    let down = format!("localhost:{}", closed.port);
    let of = |letter: &str, instance: &str| -> Vec<(Value, f64)> {
        let rows = column(prometheus, dashboard, letter, &all);
        rows.into_iter()
            .filter(|(labels, _)| labels["instance"] == instance)
            .collect()
    };
    let value =
        |letter: &str, instance: &str| of(letter, instance).first().map(|(_, value)| *value);
    wait_for("a state of both", || {
        value("A", &servers[0].target()) == Some(1.0) && value("A", &down) == Some(0.0)
    });
    // A test that was cut off on a busy machine is also a reason, until the next test.
    wait_for("a reason of the failing one only", || {
        of("B", &servers[0].target()).is_empty()
            && of("B", &down)
                .first()
                .is_some_and(|(labels, _)| labels["reason"] == "refused")
    });
    // Each value comes from its own job, whose test may have been cut off on a busy machine.
    let measured = |letter: &str| {
        let mut seen = None;
        wait_for(&format!("a value of {letter}"), || {
            seen = value(letter, &servers[0].target());
            seen.is_some()
        });
        seen.unwrap_or_default()
    };
    for letter in ["D", "E"] {
        let bits = measured(letter);
        assert!((1e5..1e9).contains(&bits), "{letter}: {bits}");
        assert_eq!(value(letter, &down), None);
    }
    for (letter, most) in [("F", 1.0), ("G", 10.0), ("H", 600.0), ("J", 1.0)] {
        let value = measured(letter);
        assert!((0.0..=most).contains(&value), "{letter}: {value}");
    }
    // Each target has one row and one page.
    let mut pages = Vec::new();
    wait_for("the page of each target, found in three ways", || {
        pages = column(prometheus, dashboard, "C", &all);
        let ways: BTreeSet<(bool, bool)> = pages
            .iter()
            .map(|(labels, _)| (labels["exporter"] == address, labels["instance"] == address))
            .collect();
        ways.len() == 3 && pages.len() == column(prometheus, dashboard, "A", &all).len()
    });
    for (labels, _) in &pages {
        assert_eq!(labels["page"], address, "{labels}");
    }
    // The variable replaces each of them, for a browser that reaches the exporter elsewhere.
    let mut elsewhere = all.clone();
    elsewhere.push(("page", "localhost:9579".to_owned()));
    let mut replaced = Vec::new();
    wait_for("the pages elsewhere", || {
        replaced = column(prometheus, dashboard, "C", &elsewhere);
        replaced.len() == pages.len()
    });
    for (labels, _) in &replaced {
        assert_eq!(labels["page"], "localhost:9579", "{labels}");
        assert_eq!(labels["given"], Value::Null, "{labels}");
    }
    // The linked page shows this target.
    let page = exporter.get("/?target=localhost&failures=true");
    assert_eq!(page.code, 200);
    assert!(page.body.contains("value=\"localhost\""), "{}", page.body);
}

/// Queries on the dashboards of the older exporters' users: from the documentation of these exporters and from notes
/// that users published, and all their names.
const PUBLISHED: &[&str] = &[
    // edgard's exporter, up to version 1.2 and since.
    "iperf3_received_bytes / iperf3_received_seconds * 8 / 1000000",
    "rate(iperf3_received_bytes{instance=\"$instance\"}[1m]) * 8 / 1000000",
    "rate(iperf3_sent_bytes{instance=\"$instance\"}[1m]) * 8 / 1000000",
    // From its users, for scrapes that are hours apart.
    "((last_over_time(iperf3_received_bytes[2h]) / last_over_time(iperf3_received_seconds[2h])) * 8)",
    "((last_over_time(iperf3_sent_bytes[2h]) / last_over_time(iperf3_sent_seconds[2h])) * 8)",
    "iperf3_sent_bytes{instance=~\"$instance\"} / iperf3_sent_seconds{instance=~\"$instance\"} * 8",
    "iperf3_received_bytes{target=~\"$target\",port=~\".+\"} / iperf3_received_seconds{target=~\"$target\",port=~\".+\"} * 8",
    "avg_over_time(iperf3_up[1h]) * 100",
    "iperf3_up == 0",
    "iperf3_retransmits",
    "iperf3_sent_packets",
    "iperf3_sent_jitter_ms",
    "iperf3_received_jitter_ms",
    "iperf3_lost_packets",
    "iperf3_lost_percent",
    "iperf3_sent_lost_packets",
    "iperf3_sent_lost_percent",
    "iperf3_received_packets",
    "iperf3_received_lost_packets",
    "iperf3_received_lost_percent",
    "rate(iperf3_exporter_duration_seconds_sum[5m]) / rate(iperf3_exporter_duration_seconds_count[5m])",
    "rate(iperf3_exporter_errors_total[5m])",
    "iperf3_exporter_build_info",
    "process_resident_memory_bytes{job=~\".*iperf3.*\"}",
    "rate(process_cpu_seconds_total{job=~\".*iperf3.*\"}[1m])",
    // The mutex fork, whose names recording-rules.yml provides.
    "iperf3_bandwidth_upload_mbps",
    "iperf3_bandwidth_download_mbps",
    "iperf3_packet_loss_upload_percent",
    "iperf3_packet_loss_download_percent",
    "iperf3_latency_upload_ms",
];

fn check_published(prometheus: &Prometheus, exporter: &Exporter) {
    let labels = [
        ("instance", format!("127.0.0.1:{}", exporter.port())),
        ("target", ".+".to_owned()),
    ];
    for query in PUBLISHED {
        let query = filled(query, &labels);
        wait_for(&query, || !prometheus.series(&query).is_empty());
    }
}

/// Four targets. `both` has jobs of TCP and of UDP, `udp-only` only one of UDP. Ten minutes ago all tests succeeded. Now
/// each job of `down` fails, and the upload of `partly`.
fn tcp_and_udp() -> String {
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_secs();
    let [mut up, mut bandwidth, mut info, mut loss] = [(); 4].map(|()| String::new());
    for (target, job, direction, protocol, rate, result) in [
        ("both", "iperf3", "upload", "tcp", 500_000, 1),
        ("both", "iperf3-download", "download", "tcp", 600_000, 1),
        ("both", "iperf3-udp", "upload", "udp", 1_250_000, 1),
        ("both", "iperf3-udp", "download", "udp", 1_250_000, 1),
        ("udp-only", "iperf3-udp", "upload", "udp", 1_250_000, 1),
        ("partly", "iperf3", "upload", "tcp", 700_000, 0),
        ("partly", "iperf3-download", "download", "tcp", 800_000, 1),
        ("down", "iperf3", "upload", "tcp", 900_000, 0),
        ("down", "iperf3-udp", "upload", "udp", 1_250_000, 0),
    ] {
        let labels = format!(
            "job=\"{job}\",instance=\"{target}:5201\",target=\"{target}\",port=\"5201\",exporter=\"site:9579\""
        );
        let one = format!("{labels},direction=\"{direction}\"");
        let before = now - 600;
        bandwidth += &format!("iperf3_bandwidth_bytes_per_second{{{one}}} {rate} {before}\n");
        info += &format!(
            "iperf3_test_info{{{one},protocol=\"{protocol}\",family=\"ipv4\"}} 1 {before}\n"
        );
        if protocol == "udp" {
            loss += &format!("iperf3_packet_loss_ratio{{{one}}} 0.02 {before}\n");
        }
        // A job with both directions has one result.
        if (protocol, direction) != ("udp", "download") {
            up += &format!("iperf3_up{{{labels}}} 1 {before}\n");
            up += &format!("iperf3_up{{{labels}}} {result} {}\n", now - 10);
        }
    }
    let families = [
        ("iperf3_up", up),
        ("iperf3_bandwidth_bytes_per_second", bandwidth),
        ("iperf3_test_info", info),
        ("iperf3_packet_loss_ratio", loss),
    ];
    let families = families.map(|(name, samples)| format!("# TYPE {name} gauge\n{samples}"));
    families.concat() + "# EOF\n"
}

/// A UDP test sends at a fixed rate, which is usually below that of the line.
#[test]
fn the_table_shows_rates_of_tcp_where_there_are_any_and_none_of_a_failing_job() {
    let test = "the_table_shows_rates_of_tcp_where_there_are_any_and_none_of_a_failing_job";
    if !has("prometheus", test) || !has("promtool", test) {
        return;
    }
    let prometheus = Prometheus::start_with("scrape_configs: []\n", &tcp_and_udp());
    let dashboard = dashboard();
    let values = all_values(&dashboard);
    let shown = |letter: &str| -> BTreeMap<String, String> {
        let rows = column(&prometheus, &dashboard, letter, &values);
        rows.iter()
            .map(|(labels, value)| (text(&labels["target"]).to_owned(), value.to_string()))
            .collect()
    };
    let map = |rows: &[(&str, &str)]| -> BTreeMap<String, String> {
        let owned = rows.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
        owned.collect()
    };
    let states = [
        ("both", "1"),
        ("udp-only", "1"),
        ("partly", "0.5"),
        ("down", "0"),
    ];
    assert_eq!(shown("A"), map(&states));
    assert_eq!(
        shown("D"),
        map(&[("both", "4800000"), ("partly", "6400000")])
    );
    assert_eq!(
        shown("E"),
        map(&[("both", "4000000"), ("udp-only", "10000000")])
    );
    assert_eq!(shown("F"), map(&[("both", "0.02"), ("udp-only", "0.02")]));
}

/// Half an hour of fifty targets, upload and download in two jobs. For the first target every test fails, for the
/// second each upload. The third failed once, three minutes ago. The bandwidth of the fourth has dropped to a half. The
/// last one has had no sample for two hours.
fn fifty_targets() -> String {
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_secs();
    let mut families = [
        ("iperf3_up", String::new()),
        ("iperf3_failure_info", String::new()),
        ("iperf3_bandwidth_bytes_per_second", String::new()),
    ];
    for number in 0..50 {
        for (job, direction) in [("iperf3", "upload"), ("iperf3-download", "download")] {
            let labels = format!(
                "job=\"{job}\",instance=\"host-{number}:5201\",target=\"host-{number}\",port=\"5201\",exporter=\"site-{}:9579\"",
                number % 3
            );
            for minute in (0..30).rev() {
                let at = now - 10 - minute * 60 - if number == 49 { 7200 } else { 0 };
                let fails = match number {
                    0 => true,
                    1 => direction == "upload",
                    2 => minute == 3,
                    _ => false,
                };
                let rate = (50 - number)
                    * if number == 3 && minute < 3 {
                        500_000
                    } else {
                        1_000_000
                    };
                let [up, failure, bandwidth] = &mut families;
                up.1 += &format!("iperf3_up{{{labels}}} {} {at}\n", u8::from(!fails));
                if fails {
                    failure.1 +=
                        &format!("iperf3_failure_info{{{labels},reason=\"refused\"}} 1 {at}\n");
                } else {
                    bandwidth.1 += &format!(
                        "iperf3_bandwidth_bytes_per_second{{{labels},direction=\"{direction}\"}} {rate} {at}\n"
                    );
                }
            }
        }
    }
    let families = families.map(|(name, samples)| format!("# TYPE {name} gauge\n{samples}"));
    families.concat() + "# EOF\n"
}

#[test]
fn fifty_targets_are_a_table_and_ten_lines_and_no_failure_is_lost_between_steps() {
    let test = "fifty_targets_are_a_table_and_ten_lines_and_no_failure_is_lost_between_steps";
    if !has("prometheus", test) || !has("promtool", test) {
        return;
    }
    let prometheus = Prometheus::start_with("scrape_configs: []\n", &fifty_targets());
    let dashboard = dashboard();
    let mut values = all_values(&dashboard);
    values.push(("__interval", "5m".to_owned()));
    values.push(("__range", "6h".to_owned()));
    let mut states: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (labels, state) in column(&prometheus, &dashboard, "A", &values) {
        states
            .entry(state.to_string())
            .or_default()
            .push(text(&labels["target"]).to_owned());
    }
    assert_eq!(states["0"], ["host-0"]);
    assert_eq!(states["0.5"], ["host-1"]);
    assert_eq!(states["-1"], ["host-49"]);
    assert_eq!(states["1"].len(), 47);
    // The third one has changed its state and is up again: three minutes ago, and ten seconds ago.
    let changed = column(&prometheus, &dashboard, "I", &values);
    let changed: Vec<&str> = changed
        .iter()
        .map(|(labels, _)| text(&labels["target"]))
        .collect();
    assert_eq!(changed, ["host-2"]);
    let single = |title: &str| {
        let wanted = format!("{title} A");
        let (_, query) = queries(&dashboard)
            .into_iter()
            .find(|(place, _)| *place == wanted)
            .unwrap();
        prometheus.series(&filled(&query, &values))
    };
    for (title, count) in [
        ("Targets up", "47"),
        ("Targets that fail", "2"),
        ("Targets without a result", "1"),
    ] {
        assert_eq!(single(title)[0]["value"][1], count, "{title}");
    }
    // A step of five minutes shows the test that failed three minutes ago, although the last one succeeded.
    let failures = single("Failures over time: the $top with most");
    let third = failures
        .iter()
        .filter(|series| series["metric"]["target"] == "host-2");
    let third: Vec<&str> = third.map(|series| text(&series["value"][1])).collect();
    assert_eq!(third, ["0", "0"]);
    let (now, _) = prometheus
        .query("min(iperf3_up{target=\"host-2\"})")
        .unwrap();
    assert_eq!(now, 1.0);
    // A target that never failed is not drawn.
    assert_eq!(failures.len(), 5);
    for direction in ["Download", "Upload"] {
        let lines = single(&format!("{direction}: the $top with the largest drop"));
        // The tenth is the one without samples: it has no current value.
        assert_eq!(lines.len(), 9, "{direction}");
        let has_fourth = lines
            .iter()
            .any(|series| series["metric"]["target"] == "host-3");
        assert!(has_fourth, "{direction}: {lines:?}");
    }
    let reasons = single("Scrapes: test failed, by reason");
    assert_eq!(reasons.len(), 1);
    assert_eq!(
        reasons[0]["metric"],
        serde_json::json!({"reason": "refused"})
    );
}
