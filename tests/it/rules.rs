//! The recording rules and alerts of `contrib/`: by hand-made series, and in a real Prometheus that scrapes real tests.
//! Besides that, what the README says in passing: the rules that it shows, the families that it names, its examples of
//! queries.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::harness::{Exporter, Fake, Server, TempDir, good_report, has, run, top, wait_for};
use crate::prometheus::{Prometheus, configurations};

const RULES: &str = "contrib/recording-rules.yml";
const ALERTS: &str = "contrib/alerts.yml";
const CASES: &str = "tests/rules/recording-rules.test.yml";

fn read(path: &str) -> String {
    fs::read_to_string(top().join(path)).unwrap()
}

/// The group of rules that records the fork's names.
fn fork_names(rules: &str) -> &str {
    let (_, group) = rules.split_once("  - name: iperf3-fork-names\n").unwrap();
    group.split_once("\n  - name: ").unwrap().0
}

/// The fork's names.
fn recorded(rules: &str) -> Vec<&str> {
    let names: Vec<&str> = fork_names(rules)
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("- record: "))
        .collect();
    assert_eq!(names.len(), 6, "{names:?}");
    names
}

#[test]
fn the_rules_do_what_their_cases_say() {
    if !has("promtool", "the_rules_do_what_their_cases_say") {
        return;
    }
    for file in [RULES, ALERTS] {
        let file = top().join(file).display().to_string();
        let (passed, said) = run("promtool", &["check", "rules", &file], "");
        assert!(passed, "{said}");
    }
    side_by_side(&case_files(), |file| {
        let file = top().join(file).display().to_string();
        let (passed, said) = run("promtool", &["test", "rules", &file], "");
        assert!(passed, "{said}");
    });
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
    let expressions: Vec<&str> = fork_names(&rules)
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

/// All files of cases, from the top.
fn case_files() -> Vec<String> {
    let files = fs::read_dir(top().join("tests/rules")).unwrap().flatten();
    let mut files: Vec<String> = files
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(".test.yml"))
        .map(|name| format!("tests/rules/{name}"))
        .collect();
    files.sort_unstable();
    assert!(files.len() >= 7, "{files:?}");
    files
}

/// Each of `items` in one of two threads: promtool takes one CPU, and some of its cases seconds.
fn side_by_side<T: Sync>(items: &[T], each: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    each(item);
                }
            });
        }
    });
}

/// The names of the alerts.
fn alerts(text: &str) -> Vec<&str> {
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("      - alert: "))
        .collect();
    assert!(names.len() >= 20, "{names:?}");
    names
}

/// The text of one alert or recording rule, from its name on.
fn block<'a>(text: &'a str, kind: &str, name: &str) -> &'a str {
    let start = text.find(&format!("      - {kind}: {name}\n")).unwrap();
    let rest = &text[start..];
    let end = ["\n      - ", "\n  - name: ", "\n      # ", "\n  # "]
        .iter()
        .filter_map(|next| rest.find(next))
        .min();
    &rest[..end.unwrap_or(rest.len())]
}

/// A file's cases in which `alert` is asked for, as a file of their own, without what they ask for besides, but for what
/// `rules` record; none when there are none.
fn cases_of(file: &str, alert: &str, rules: &str) -> Option<String> {
    let text = read(file).replace("../../contrib/", "");
    let (head, cases) = text.split_once("\ntests:\n").unwrap();
    let wanted = format!("      - alertname: {alert}");
    let (mut kept, mut is_kept) = (String::new(), true);
    for line in cases.lines() {
        if line.starts_with("      - alertname: ") {
            is_kept = line == wanted;
        } else if let Some(query) = line.strip_prefix("      - expr: '") {
            let name = query.split(['{', '\'']).next().unwrap();
            is_kept = rules.contains(&format!("- record: {name}\n"));
        } else if line.len() - line.trim_start().len() < 6 {
            is_kept = true;
        }
        if is_kept {
            kept += &format!("{line}\n");
        }
    }
    let kept = format!("\n{kept}");
    let cases: Vec<&str> = kept
        .split("\n  - name: ")
        .filter(|case| case.contains(&wanted))
        .collect();
    let cases = cases.join("\n  - name: ");
    (!cases.is_empty()).then(|| format!("{head}\ntests:\n  - name: {cases}\n"))
}

/// Whether the cases that ask for `alert` pass, and what promtool said. There is no other alert then, and of the
/// recording rules only the groups that it needs: promtool evaluates all that is there at each step.
fn cases_pass(rules: &str, alerts: &str, alert: &str) -> (bool, String) {
    let dir = TempDir::new();
    let rule = block(alerts, "alert", alert);
    // This group is evaluated last.
    let group = "groups:\n  - name: iperf3-alerts-exporter\n    rules:\n";
    dir.write("alerts.yml", &format!("{group}{rule}\n"));
    let groups = rules.split("\n  - name: ").skip(1).filter(|group| {
        let mut records = group.split("- record: ").skip(1);
        records.any(|record| rule.contains(record.lines().next().unwrap()))
    });
    let groups: Vec<&str> = groups.collect();
    let rules = if groups.is_empty() {
        "groups: []\n".to_owned()
    } else {
        format!("groups:\n  - name: {}\n", groups.join("\n  - name: "))
    };
    dir.write("recording-rules.yml", &rules);
    let mut is_asked = false;
    for (number, file) in case_files().iter().enumerate() {
        let Some(cases) = cases_of(file, alert, &rules) else {
            continue;
        };
        is_asked = true;
        let cases = dir.write(&format!("{number}.yml"), &cases);
        let (passed, said) = run(
            "promtool",
            &["test", "rules", &cases.display().to_string()],
            "",
        );
        if !passed {
            return (false, said);
        }
    }
    assert!(is_asked, "no case asks for {alert}");
    (true, String::new())
}

/// How a rule can be wrong: its name, the alert by which that is seen, what is replaced by what.
type Wrong<'a> = (&'a str, &'a str, &'a str, &'a str);

/// Alerts whose expression, or time, is wrong.
const WRONG_ALERTS: &[Wrong<'static>] = &[
    (
        "Iperf3ExporterDown",
        "Iperf3ExporterDown",
        "[10m]) == 0",
        "[2m]) == 0",
    ),
    ("Iperf3ExporterDown", "Iperf3ExporterDown", ">= 2", ">= 1"),
    (
        "Iperf3ExporterDown",
        "Iperf3ExporterDown",
        "for: 5m",
        "for: 0s",
    ),
    (
        "Iperf3ExporterDown",
        "Iperf3ExporterDown",
        r#"job=~".*exporter.*""#,
        r#"job!~".*exporter.*""#,
    ),
    (
        "Iperf3ExporterDown",
        "Iperf3ExporterDown",
        "[1h]) == 0",
        "[1h]) == 2",
    ),
    (
        "Iperf3NoAnswer",
        "Iperf3NoAnswer",
        "[10m]) == 0",
        "[2m]) == 0",
    ),
    ("Iperf3NoAnswer", "Iperf3NoAnswer", "for: 5m", "for: 0s"),
    (
        "Iperf3NoAnswer",
        "Iperf3NoAnswer",
        "unless on (exporter)",
        "unless on (job)",
    ),
    (
        "Iperf3NoAnswer",
        "Iperf3NoAnswer",
        "unless on (exporter)",
        "unless on ()",
    ),
    (
        "Iperf3NoAnswer",
        "Iperf3NoAnswer",
        r#"job=~".*iperf3.*","#,
        "",
    ),
    (
        "Iperf3NoAnswer",
        "Iperf3NoAnswer",
        r#"job!~".*exporter.*""#,
        r#"job=~".*exporter.*""#,
    ),
    (
        "Iperf3NoAnswer",
        "Iperf3NoAnswer",
        "[1h]) == 0",
        "[1h]) == 2",
    ),
    (
        "Iperf3NothingMeasured",
        "Iperf3NothingMeasured",
        "[1h]",
        "[10m]",
    ),
    (
        "Iperf3NothingMeasured",
        "Iperf3NothingMeasured",
        "for: 35m",
        "for: 0s",
    ),
    (
        "Iperf3NothingMeasured",
        "Iperf3NothingMeasured",
        "absent_over_time(iperf3_up[1h])",
        "absent(iperf3_up == 1)",
    ),
    (
        "Iperf3RecordingRulesMissing",
        "Iperf3RecordingRulesMissing",
        "target:iperf3_up:avg1d",
        "iperf3_up",
    ),
    (
        "Iperf3RecordingRulesMissing",
        "Iperf3RecordingRulesMissing",
        "last_over_time(iperf3_up[1h])",
        "iperf3_up",
    ),
    (
        "Iperf3RecordingRulesMissing",
        "Iperf3RecordingRulesMissing",
        "for: 30m",
        "for: 5m",
    ),
    ("Iperf3TargetDown", "Iperf3TargetDown", "budget|", ""),
    ("Iperf3TargetDown", "Iperf3TargetDown", "busy|", ""),
    ("Iperf3TargetDown", "Iperf3TargetDown", "local|", ""),
    (
        "Iperf3TargetDown",
        "Iperf3TargetDown",
        "reason!~",
        "reason=~",
    ),
    (
        "Iperf3TargetDown",
        "Iperf3TargetDown",
        "target_reason:iperf3_failures:count1h",
        "target:iperf3_failures:count1h",
    ),
    (
        "Iperf3TargetDown",
        "Iperf3TargetDown",
        "severity: critical",
        "severity: info",
    ),
    (
        "Iperf3TargetDown",
        "Iperf3TargetDown",
        r#"{{ or $labels.reason "reason not known" }}"#,
        "failed",
    ),
    (
        "Iperf3ServerBusy",
        "Iperf3ServerBusy",
        r#"reason="busy""#,
        r#"reason!="busy""#,
    ),
    ("Iperf3CannotTest", "Iperf3CannotTest", "auth|", ""),
    ("Iperf3CannotTest", "Iperf3CannotTest", "local|", "busy|"),
    ("Iperf3ResultStale", "Iperf3ResultStale", "3 *", "1 *"),
    ("Iperf3ResultStale", "Iperf3ResultStale", "3 *", "30 *"),
    ("Iperf3ResultStale", "Iperf3ResultStale", "600", "1"),
    ("Iperf3ResultStale", "Iperf3ResultStale", "[2d]", "[1m]"),
    (
        "Iperf3ResultStale",
        "Iperf3ResultStale",
        "ignoring (target)",
        "on (job, instance)",
    ),
    (
        "Iperf3ResultStale",
        "Iperf3ResultStale",
        "last_over_time(up[10m])",
        "last_over_time(up[2d])",
    ),
    (
        "Iperf3BandwidthFell",
        "Iperf3BandwidthFell",
        "< 0.7",
        "< 0.49",
    ),
    (
        "Iperf3BandwidthFell",
        "Iperf3BandwidthFell",
        "for: 1h",
        "for: 12h",
    ),
    (
        "Iperf3BandwidthFell",
        "Iperf3BandwidthFell",
        ":median7d",
        ":p10_7d",
    ),
    (
        "Iperf3BandwidthCollapsed",
        "Iperf3BandwidthCollapsed",
        "[3h]",
        "[1h]",
    ),
    (
        "Iperf3BandwidthCollapsed",
        "Iperf3BandwidthCollapsed",
        ":p10_7d",
        ":median7d",
    ),
    (
        "Iperf3BandwidthCollapsed",
        "Iperf3BandwidthCollapsed",
        "< 0.5",
        "< 0.7",
    ),
    (
        "Iperf3BandwidthCollapsed",
        "Iperf3BandwidthCollapsed",
        "for: 30m",
        "for: 6h",
    ),
    (
        "Iperf3BandwidthCollapsed",
        "Iperf3BandwidthCollapsed",
        ">= 2",
        ">= 1",
    ),
    ("Iperf3PacketLoss", "Iperf3PacketLoss", "> 0.01", "> 0.0001"),
    ("Iperf3PacketLoss", "Iperf3PacketLoss", "> 0.01", "> 0.05"),
    (
        "Iperf3PacketLoss",
        "Iperf3PacketLoss",
        "for: 10m",
        "for: 0s",
    ),
    (
        "Iperf3PacketLossHigh",
        "Iperf3PacketLossHigh",
        "> 0.05",
        "> 0.01",
    ),
    (
        "Iperf3PacketLossHigh",
        "Iperf3PacketLossHigh",
        "> 0.05",
        "> 0.2",
    ),
    (
        "Iperf3PacketLossHigh",
        "Iperf3PacketLossHigh",
        "for: 10m",
        "for: 0s",
    ),
    (
        "Iperf3Retransmits",
        "Iperf3Retransmits",
        "> 0.02",
        "> 0.005",
    ),
    ("Iperf3Retransmits", "Iperf3Retransmits", "> 0.02", "> 0.05"),
    ("Iperf3Retransmits", "Iperf3Retransmits", "[2h]", "[1h]"),
    (
        "Iperf3Retransmits",
        "Iperf3Retransmits",
        "for: 30m",
        "for: 0s",
    ),
    ("Iperf3RttRose", "Iperf3RttRose", "> 2", "> 1.2"),
    ("Iperf3RttRose", "Iperf3RttRose", "> 0.01", "> 0.0001"),
    ("Iperf3RttRose", "Iperf3RttRose", "> 2", "> 4"),
    ("Iperf3RttRose", "Iperf3RttRose", "for: 1h", "for: 24h"),
    ("Iperf3CpuBound", "Iperf3CpuBound", "> 0.9", "> 0.8"),
    ("Iperf3CpuBound", "Iperf3CpuBound", "> 0.9", "> 1"),
    ("Iperf3CpuBound", "Iperf3CpuBound", "0.5,", "0.95,"),
    (
        "Iperf3CpuBound",
        "Iperf3CpuBound",
        r#"mode="total""#,
        r#"mode=~".+""#,
    ),
    ("Iperf3CpuBound", "Iperf3CpuBound", ">= 2", ">= 1"),
    ("Iperf3CpuBound", "Iperf3CpuBound", "for: 15m", "for: 0s"),
    (
        "Iperf3QueueSaturated",
        "Iperf3QueueSaturated",
        "min_over_time",
        "max_over_time",
    ),
    (
        "Iperf3QueueSaturated",
        "Iperf3QueueSaturated",
        ">= 3",
        ">= 1",
    ),
    (
        "Iperf3QueueSaturated",
        "Iperf3QueueSaturated",
        "for: 5m",
        "for: 0s",
    ),
    ("Iperf3LockWaitLong", "Iperf3LockWaitLong", "> 60", "> 20"),
    ("Iperf3LockWaitLong", "Iperf3LockWaitLong", "> 60", "> 80"),
    ("Iperf3LockWaitLong", "Iperf3LockWaitLong", "0.9,", "0.4,"),
    ("Iperf3LockWaitLong", "Iperf3LockWaitLong", ">= 5", ">= 0"),
    (
        "Iperf3LockWaitLong",
        "Iperf3LockWaitLong",
        "for: 30m",
        "for: 0s",
    ),
    (
        "Iperf3ProbesNotRun",
        "Iperf3ProbesNotRun",
        "> 0.1",
        "> 0.01",
    ),
    ("Iperf3ProbesNotRun", "Iperf3ProbesNotRun", "> 0.1", "> 0.3"),
    ("Iperf3ProbesNotRun", "Iperf3ProbesNotRun", "> 1.5", "> 0"),
    (
        "Iperf3ProbesNotRun",
        "Iperf3ProbesNotRun",
        "no_time_left|",
        "",
    ),
    (
        "Iperf3ProbesNotRun",
        "Iperf3ProbesNotRun",
        "|full",
        "|full|running",
    ),
    (
        "Iperf3ProbesNotRun",
        "Iperf3ProbesNotRun",
        "for: 5m",
        "for: 0s",
    ),
    (
        "Iperf3ExporterErrors",
        "Iperf3ExporterErrors",
        "> 1.5",
        "> 0",
    ),
    (
        "Iperf3ExporterErrors",
        "Iperf3ExporterErrors",
        "> 1.5",
        "> 5",
    ),
    (
        "Iperf3ExporterErrors",
        "Iperf3ExporterErrors",
        "|not_found",
        "",
    ),
    (
        "Iperf3ExporterErrors",
        "Iperf3ExporterErrors",
        "increase",
        "max_over_time",
    ),
    (
        "Iperf3ExporterErrors",
        "Iperf3ExporterErrors",
        "bad_output|",
        "refused|",
    ),
    ("Iperf3ProbesRefused", "Iperf3ProbesRefused", "> 4.5", "> 2"),
    (
        "Iperf3ProbesRefused",
        "Iperf3ProbesRefused",
        "> 4.5",
        "> 100",
    ),
    (
        "Iperf3ProbesRefused",
        "Iperf3ProbesRefused",
        "increase",
        "max_over_time",
    ),
    (
        "Iperf3ProbesRefused",
        "Iperf3ProbesRefused",
        "for: 5m",
        "for: 2h",
    ),
    (
        "Iperf3ExporterPanicked",
        "Iperf3ExporterPanicked",
        "[1h]",
        "[3h]",
    ),
    (
        "Iperf3ExporterPanicked",
        "Iperf3ExporterPanicked",
        "increase",
        "max_over_time",
    ),
    (
        "Iperf3BinaryMissing",
        "Iperf3BinaryMissing",
        "ignoring (version, revision, rustc, features)",
        "on (job, instance)",
    ),
    (
        "Iperf3BinaryMissing",
        "Iperf3BinaryMissing",
        "ignoring (version, revision, rustc, features)",
        "on (job)",
    ),
    (
        "Iperf3BinaryMissing",
        "Iperf3BinaryMissing",
        "rustc, features",
        "rustc",
    ),
    (
        "Iperf3BinaryMissing",
        "Iperf3BinaryMissing",
        "for: 10m",
        "for: 5m",
    ),
    (
        "Iperf3ExporterRestarts",
        "Iperf3ExporterRestarts",
        "> 3",
        "> 2",
    ),
    (
        "Iperf3ExporterRestarts",
        "Iperf3ExporterRestarts",
        "> 3",
        "> 4",
    ),
    (
        "Iperf3ExporterRestarts",
        "Iperf3ExporterRestarts",
        "and on (job, instance)",
        "or on (job, instance)",
    ),
    ("Iperf3LoginsFail", "Iperf3LoginsFail", "> 30", "> 10"),
    ("Iperf3LoginsFail", "Iperf3LoginsFail", "> 30", "> 100"),
    ("Iperf3LoginsFail", "Iperf3LoginsFail", "for: 5m", "for: 1h"),
    (
        "Iperf3ConnectionsNearLimit",
        "Iperf3ConnectionsNearLimit",
        "> 0.9",
        "> 0.8",
    ),
    (
        "Iperf3ConnectionsNearLimit",
        "Iperf3ConnectionsNearLimit",
        "> 0.9",
        "> 0.99",
    ),
    (
        "Iperf3ConnectionsNearLimit",
        "Iperf3ConnectionsNearLimit",
        "for: 5m",
        "for: 0s",
    ),
    (
        "Iperf3BudgetNearlySpent",
        "Iperf3BudgetNearlySpent",
        "> 0.8",
        "> 0.5",
    ),
    (
        "Iperf3BudgetNearlySpent",
        "Iperf3BudgetNearlySpent",
        "> 0.8",
        "> 0.95",
    ),
    (
        "Iperf3BudgetNearlySpent",
        "Iperf3BudgetNearlySpent",
        "1.1 *",
        "0 *",
    ),
    (
        "Iperf3BudgetNearlySpent",
        "Iperf3BudgetNearlySpent",
        "1.1 *",
        "2 *",
    ),
    (
        "Iperf3BudgetSpent",
        "Iperf3BudgetSpent",
        r#""budget""#,
        r#""other""#,
    ),
    ("Iperf3BudgetSpent", "Iperf3BudgetSpent", "[30m]", "[2h]"),
    (
        "Iperf3BudgetSpent",
        "Iperf3BudgetSpent",
        "increase",
        "max_over_time",
    ),
];

/// Recording rules that are wrong.
const WRONG_RECORDS: &[Wrong<'static>] = &[
    (
        "target:iperf3_up:avg1d",
        "Iperf3RecordingRulesMissing",
        "iperf3_up[1d]",
        "iperf3_gone[1d]",
    ),
    (
        "target:iperf3_failures:count1h",
        "Iperf3TargetDown",
        "[10m])) == 0",
        "[5m])) == 0",
    ),
    (
        "target:iperf3_failures:count1h",
        "Iperf3TargetDown",
        "[1h])) == 0",
        "[20m])) == 0",
    ),
    (
        "target:iperf3_failures:count1h",
        "Iperf3TargetDown",
        ">= 2",
        ">= 1",
    ),
    (
        "target:iperf3_failures:count1h",
        "Iperf3TargetDown",
        "without (port)",
        "without ()",
    ),
    (
        "target:iperf3_failures:count1h",
        "Iperf3TargetDown",
        "max without",
        "min without",
    ),
    (
        "target:iperf3_failures:count1h",
        "Iperf3TargetDown",
        "[10m])) == 0",
        "[10m])) == 2",
    ),
    (
        "target:iperf3_failures:count1h",
        "Iperf3TargetDown",
        "[1h])) == 0",
        "[1h])) == 2",
    ),
    (
        "target_reason:iperf3_failure_info:newest1h",
        "Iperf3TargetDown",
        "timestamp(iperf3_failure_info)",
        "iperf3_failure_info",
    ),
    (
        "target_reason:iperf3_failure_info:newest1h",
        "Iperf3TargetDown",
        "topk",
        "bottomk",
    ),
    (
        "target_reason:iperf3_failure_info:newest1h",
        "Iperf3TargetDown",
        "[1h:15s]",
        "[1m:15s]",
    ),
    (
        "target_reason:iperf3_failures:count1h",
        "Iperf3TargetDown",
        "          or ignoring (reason) target:iperf3_failures:count1h",
        "",
    ),
    (
        "target_reason:iperf3_failures:count1h",
        "Iperf3TargetDown",
        "> bool 0",
        "* 1",
    ),
    (
        "target_direction:iperf3_tcp_retransmits:ratio",
        "Iperf3Retransmits",
        "1448",
        "8948",
    ),
    (
        "target_direction:iperf3_tcp_retransmits:ratio",
        "Iperf3Retransmits",
        "(iperf3_transferred_bytes > 0)",
        "iperf3_transferred_bytes",
    ),
    (
        "target_direction:iperf3_packet_loss_ratio:median2h",
        "Iperf3PacketLoss",
        "0.5,",
        "0.9,",
    ),
    (
        "target_direction:iperf3_packet_loss_ratio:median2h",
        "Iperf3PacketLoss",
        ">= 3",
        ">= 1",
    ),
    (
        "target_direction:iperf3_packet_loss_ratio:median2h",
        "Iperf3PacketLoss",
        "[2h]",
        "[1h]",
    ),
    (
        "target_direction:iperf3_packet_loss_ratio:median2h",
        "Iperf3PacketLoss",
        "iperf3_packet_loss_ratio[",
        "iperf3_lost_percent[",
    ),
    (
        "target_direction:iperf3_packet_loss_ratio:median2h",
        "Iperf3PacketLoss",
        "            * count_over_time(iperf3_packet_loss_ratio[2h])\n",
        "            * 99\n",
    ),
    (
        "target_direction:iperf3_bandwidth_bytes_per_second:median7d",
        "Iperf3BandwidthFell",
        "            * count_over_time(iperf3_bandwidth_bytes_per_second[7d])\n",
        "            * 40\n",
    ),
    (
        "target_direction:iperf3_bandwidth_bytes_per_second:median1d",
        "Iperf3BandwidthFell",
        "[1d])) >= 3",
        "[1d])) >= 1",
    ),
    (
        "target_direction:iperf3_bandwidth_bytes_per_second:median1d",
        "Iperf3BandwidthFell",
        "0.5,",
        "0.9,",
    ),
    (
        "target_direction:iperf3_bandwidth_bytes_per_second:median1d",
        "Iperf3BandwidthFell",
        "0.5,",
        "0.1,",
    ),
    (
        "target_direction:iperf3_bandwidth_bytes_per_second:median7d",
        "Iperf3BandwidthFell",
        ">= 10",
        ">= 1",
    ),
    (
        "target_direction:iperf3_bandwidth_bytes_per_second:median7d",
        "Iperf3BandwidthFell",
        "offset 3d",
        "offset 1s",
    ),
    (
        "target_direction:iperf3_bandwidth_bytes_per_second:median7d",
        "Iperf3BandwidthFell",
        "0.5,",
        "0.1,",
    ),
    (
        "target_direction:iperf3_bandwidth_bytes_per_second:p10_7d",
        "Iperf3BandwidthCollapsed",
        "0.1,",
        "0.9,",
    ),
    (
        "target_direction:iperf3_tcp_rtt_mean_seconds:median1d",
        "Iperf3RttRose",
        "0.5,",
        "0,",
    ),
    (
        "target_direction:iperf3_tcp_rtt_mean_seconds:median1d",
        "Iperf3RttRose",
        ">= 3",
        ">= 1",
    ),
    (
        "target_direction:iperf3_tcp_rtt_mean_seconds:median7d",
        "Iperf3RttRose",
        "offset 3d",
        "offset 1s",
    ),
    (
        "target_direction:iperf3_tcp_rtt_mean_seconds:median7d",
        "Iperf3RttRose",
        ">= 10",
        ">= 1",
    ),
    (
        "target:iperf3_result_age_seconds:p95_7d",
        "Iperf3ResultStale",
        "0.95,",
        "0.1,",
    ),
    (
        "target:iperf3_result_age_seconds:p95_7d",
        "Iperf3ResultStale",
        "[7d]",
        "[5m]",
    ),
];

#[test]
fn the_cases_find_out_each_alert_that_is_wrong() {
    if !has("promtool", "the_cases_find_out_each_alert_that_is_wrong") {
        return;
    }
    let (rules, alerts_text) = (read(RULES), read(ALERTS));
    let wrong = |text: &str, kind: &str, (name, _, from, to): Wrong<'_>| {
        let right = block(text, kind, name);
        assert!(right.contains(from), "{name} has no {from}");
        text.replace(right, &right.replace(from, to))
    };
    // What is tried: the rules, the alerts, the alert to look at, and what was done.
    let mut tries: Vec<(String, String, &str, String)> = Vec::new();
    for name in alerts(&alerts_text) {
        assert!(
            WRONG_ALERTS.iter().any(|(known, ..)| *known == name),
            "nobody looks whether a wrong {name} is found out"
        );
        let (passed, said) = cases_pass(&rules, &alerts_text, name);
        assert!(passed, "{said}");
        // One that never fires.
        let never = wrong(
            &alerts_text,
            "alert",
            (name, name, "expr: ", "expr: vector(1) < 0 and "),
        );
        let never = never.replace(
            "vector(1) < 0 and |\n",
            "|\n          vector(1) < 0 and on ()\n",
        );
        let never = never.replace(
            "vector(1) < 0 and >-\n",
            ">-\n          vector(1) < 0 and on ()\n",
        );
        tries.push((rules.clone(), never, name, format!("{name} never fires")));
    }
    for row in WRONG_ALERTS {
        let alerts = wrong(&alerts_text, "alert", *row);
        tries.push((rules.clone(), alerts, row.1, format!("{row:?}")));
    }
    for row in WRONG_RECORDS {
        let rules = wrong(&rules, "record", *row);
        tries.push((rules, alerts_text.clone(), row.1, format!("{row:?}")));
    }
    let unseen = Mutex::new(Vec::new());
    side_by_side(&tries, |(rules, alerts, alert, what)| {
        let (passed, said) = cases_pass(rules, alerts, alert);
        // Found out by what it says, and not by rules that promtool cannot read.
        let is_seen = said.contains(&format!("alertname: {alert}")) || said.contains("expr: ");
        if passed || !is_seen || said.contains("could not parse") {
            let mut unseen = unseen.lock().unwrap_or_else(PoisonError::into_inner);
            unseen.push(format!("{what}: {said}"));
        }
    });
    let unseen = unseen.into_inner().unwrap();
    assert!(unseen.is_empty(), "not found out:\n{}", unseen.join("\n"));
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
