//! The recording rules and alerts of `contrib/`: with hand-made series, and in a real Prometheus that scrapes real
//! tests. Also the documentation: the rules that it shows, the families that it names, its example queries.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::harness::{
    Exporter, Fake, Server, TempDir, documentation, generated_block, good_report, has,
    machine_alone, page, run, top, wait_for,
};
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

/// Runs promtool. It may use memory instead of time: garbage collection is a third of its work.
fn promtool(words: &[&str]) -> (bool, String) {
    run("env", &[&["GOGC=400", "promtool"], words].concat(), "")
}

/// Whether the cases of a file pass, and promtool's output.
fn passes(file: &Path) -> (bool, String) {
    promtool(&["test", "rules", &file.display().to_string()])
}

#[test]
fn the_rules_pass_their_cases() {
    if !has("promtool", "the_rules_pass_their_cases") {
        return;
    }
    for file in [RULES, ALERTS] {
        let file = top().join(file).display().to_string();
        let (passed, said) = promtool(&["check", "rules", &file]);
        assert!(passed, "{said}");
    }
    let (rules, alerts) = (read(RULES), read(ALERTS));
    side_by_side(&cases(), |case| {
        let (passed, said) = case.passes(&case.asked(), &rules, &alerts);
        assert!(passed, "{}: {said}", case.name());
    });
}

#[test]
#[ignore = "make test-all: half a minute of promtool; in make test each case has only the rules that it needs"]
fn the_rules_pass_their_cases_with_all_of_them_loaded() {
    if !has(
        "promtool",
        "the_rules_pass_their_cases_with_all_of_them_loaded",
    ) {
        return;
    }
    let _alone = machine_alone();
    side_by_side(&case_files(), |file| {
        let (passed, said) = passes(&top().join(file));
        assert!(passed, "{said}");
    });
}

/// Makes the fork's recording rules wrong in one way at a time. The cases must detect those whose number `are_tried`
/// selects.
fn find_out_rules(are_tried: impl Fn(usize) -> bool) {
    let (rules, cases) = (read(RULES), read(CASES));
    let cases = cases.replace("../../contrib/", "");
    let test = |rules: &str| {
        let dir = TempDir::new();
        dir.write("recording-rules.yml", rules);
        passes(&dir.write("cases.yml", &cases))
    };
    let (passed, said) = test(&rules);
    assert!(passed, "{said}");
    let expressions: Vec<&str> = fork_names(&rules)
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("expr: "))
        .collect();
    assert_eq!(expressions.len(), recorded(&rules).len());
    let mut tries = Vec::new();
    for expression in expressions {
        let turned = if expression.contains("\"upload\"") {
            expression.replace("\"upload\"", "\"download\"")
        } else {
            expression.replace("\"download\"", "\"upload\"")
        };
        for wrong in [
            turned,
            // Another factor, and a label that is removed.
            format!("{expression} * 2 + 1"),
            format!("sum without (direction) ({expression})"),
            // A zero for a missing measurement.
            format!("{expression} or vector(0)"),
        ] {
            if are_tried(tries.len()) {
                tries.push(Some((rules.replace(expression, &wrong), wrong)));
            } else {
                tries.push(None);
            }
        }
    }
    let tries: Vec<_> = tries.into_iter().flatten().collect();
    assert!(tries.len() >= 4);
    side_by_side(&tries, |(rules, wrong)| {
        let (passed, said) = test(rules);
        assert!(!passed && said.contains("FAILED"), "{wrong}: {said}");
    });
}

#[test]
fn the_cases_detect_each_kind_of_wrong_rule() {
    if has("promtool", "the_cases_detect_each_kind_of_wrong_rule") {
        // Four kinds, each with another rule.
        find_out_rules(|number| number % 5 == 0);
    }
}

#[test]
#[ignore = "make test-all: two dozen runs of promtool; make test has one of each kind"]
fn the_cases_detect_each_wrong_rule() {
    if has("promtool", "the_cases_detect_each_wrong_rule") {
        let _alone = machine_alone();
        find_out_rules(|_| true);
    }
}

/// All files of cases, relative to the top.
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

/// Processes `items` in two threads: promtool uses one CPU, and some of its cases take seconds.
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
    rest[..end.unwrap_or(rest.len())].trim_end()
}

/// One case of a file.
struct Case {
    /// The text of the file before all cases.
    head: String,
    text: String,
    /// How often promtool evaluates all rules for it, which determines its cost.
    steps: u64,
}

/// All cases, the cheapest first.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for file in case_files() {
        let text = read(&file).replace("../../contrib/", "");
        let (head, text) = text.split_once("\ntests:\n").unwrap();
        let (_, interval) = head.split_once("evaluation_interval: ").unwrap();
        let interval = seconds(interval.lines().next().unwrap());
        let text = format!("\n{text}");
        for text in text.split("\n  - name: ").skip(1) {
            let times = text
                .lines()
                .filter_map(|line| line.split_once("eval_time: "));
            let last = times.map(|(_, time)| seconds(time)).max().unwrap();
            cases.push(Case {
                head: head.to_owned(),
                text: text.to_owned(),
                steps: last / interval,
            });
        }
    }
    cases.sort_by_key(|case| case.steps);
    assert!(cases.len() >= 40, "{}", cases.len());
    cases
}

/// A duration with one unit, in seconds.
fn seconds(text: &str) -> u64 {
    let (number, unit) = text.split_at(text.len() - 1);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => panic!("{text} has another unit"),
    };
    number.parse::<u64>().unwrap() * seconds
}

impl Case {
    fn name(&self) -> &str {
        self.text.lines().next().unwrap()
    }

    /// The alerts that it checks, whether they should fire or not.
    fn asked(&self) -> Vec<&str> {
        let lines = self.text.lines();
        let mut names: Vec<&str> = lines
            .filter_map(|line| line.strip_prefix("      - alertname: "))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The case as a separate file, without its checks of other alerts and of rules that are not in `rules`.
    fn file(&self, wanted: &[&str], rules: &str) -> String {
        let (mut kept, mut is_kept) = (String::new(), true);
        for line in self.text.lines() {
            if let Some(alert) = line.strip_prefix("      - alertname: ") {
                is_kept = wanted.contains(&alert);
            } else if let Some(query) = line.strip_prefix("      - expr: ") {
                let name = query.trim_start_matches('\'').split(['{', '\'']).next();
                let name = name.unwrap();
                is_kept = rules.contains(&format!("- record: {name}\n"));
            } else if line.len() - line.trim_start().len() < 6 {
                is_kept = true;
            }
            if is_kept {
                kept += &format!("{line}\n");
            }
        }
        format!("{}\ntests:\n  - name: {kept}", self.head)
    }

    /// Whether its checks of the `wanted` alerts pass, and promtool's output. The file then has no other alerts, and
    /// only the recording rules that are needed: promtool evaluates everything at each step.
    fn passes(&self, wanted: &[&str], rules: &str, alerts: &str) -> (bool, String) {
        let dir = TempDir::new();
        if wanted.is_empty() {
            // A case of recorded names only, some of which are patterns.
            dir.write("recording-rules.yml", rules);
            let text = format!("{}\ntests:\n  - name: {}\n", self.head, self.text);
            return passes(&dir.write("case.yml", &text));
        }
        let wanted_rules: Vec<&str> = wanted
            .iter()
            .map(|name| block(alerts, "alert", name))
            .collect();
        let mut text = wanted_rules.join("\n") + "\n";
        // This group is evaluated last.
        let group = "groups:\n  - name: iperf3-alerts-exporter\n    rules:\n";
        dir.write("alerts.yml", &format!("{group}{text}"));
        if *wanted == self.asked() {
            text += &self.text;
        }
        let rules = needed(rules, text);
        dir.write("recording-rules.yml", &rules);
        passes(&dir.write("case.yml", &self.file(wanted, &rules)))
    }
}

/// The file of recording rules, reduced to those that `text` names, directly or through another rule.
fn needed(rules: &str, mut text: String) -> String {
    let names: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.strip_prefix("      - record: "))
        .collect();
    let mut kept: Vec<&str> = Vec::new();
    while let Some(name) = names
        .iter()
        .find(|name| !kept.contains(name) && text.contains(**name))
    {
        kept.push(name);
        text += block(rules, "record", name);
    }
    let mut file = "groups:\n".to_owned();
    for group in rules.split("\n  - name: ").skip(1) {
        let own = names.iter().filter(|name| {
            kept.contains(name) && group.contains(&format!("      - record: {name}\n"))
        });
        let blocks: Vec<&str> = own.map(|name| block(rules, "record", name)).collect();
        if !blocks.is_empty() {
            let name = group.lines().next().unwrap();
            file += &format!("  - name: {name}\n    rules:\n{}\n", blocks.join("\n"));
        }
    }
    if kept.is_empty() {
        "groups: []\n".to_owned()
    } else {
        file
    }
}

/// Replacements: old text and new text.
type Ways = &'static [(&'static str, &'static str)];

/// Mutations of an alert's expression or duration: its name, and the replacements.
const WRONG_ALERTS: &[(&str, Ways)] = &[
    (
        "Iperf3ExporterDown",
        &[
            ("[10m]) == 0", "[2m]) == 0"),
            (">= 2", ">= 1"),
            ("for: 5m", "for: 0s"),
            (r#"job=~".*exporter.*""#, r#"job!~".*exporter.*""#),
            ("[1h]) == 0", "[1h]) == 2"),
            ("offset 10m", "offset 1s"),
            ("offset 1h", "offset 1s"),
            ("[35m]", "[5m]"),
        ],
    ),
    (
        "Iperf3NoAnswer",
        &[
            ("[10m]) == 0", "[2m]) == 0"),
            (">= 2", ">= 1"),
            ("for: 5m", "for: 0s"),
            ("unless on (exporter)", "unless on (job)"),
            ("unless on (exporter)", "unless on ()"),
            (r#"job=~".*iperf3.*","#, ""),
            (r#"job!~".*exporter.*""#, r#"job=~".*exporter.*""#),
            ("[1h]) == 0", "[1h]) == 2"),
            ("offset 10m", "offset 1s"),
            ("offset 1h", "offset 1s"),
            ("[35m]", "[5m]"),
        ],
    ),
    (
        "Iperf3TargetStarves",
        &[
            ("< 0.5", "< 0.3"),
            ("< 0.5", "< 0.8"),
            ("< 0.5", "== 0"),
            (">= 2", ">= 1"),
            (r#"job=~".*iperf3.*","#, ""),
            ("offset 10m", "offset 1s"),
            ("lock_timeout|", ""),
            ("|no_time_left", ""),
            ("|full", "|running"),
            ("> 1.5", "> 0"),
            ("> 1.5", "> 500"),
            ("and on (exporter)", "and on ()"),
            ("and on (exporter)", "unless on (exporter)"),
            ("for: 5m", "for: 0s"),
            ("for: 5m", "for: 1h"),
        ],
    ),
    (
        "Iperf3NothingMeasured",
        &[
            ("[1h]", "[10m]"),
            ("for: 35m", "for: 0s"),
            ("absent_over_time(iperf3_up[1h])", "absent(iperf3_up == 1)"),
        ],
    ),
    (
        "Iperf3RecordingRulesMissing",
        &[
            ("target:iperf3_up:avg1d", "iperf3_up"),
            ("last_over_time(iperf3_up[1h])", "iperf3_up"),
            ("for: 30m", "for: 5m"),
        ],
    ),
    (
        "Iperf3TargetDown",
        &[
            ("budget|", ""),
            ("busy|", ""),
            ("local|", ""),
            ("reason!~", "reason=~"),
            (
                "target_reason:iperf3_failures:count1h",
                "target:iperf3_failures:count1h",
            ),
            ("severity: critical", "severity: info"),
            (r#"{{ or $labels.reason "reason not known" }}"#, "failed"),
        ],
    ),
    (
        "Iperf3ServerBusy",
        &[(r#"reason="busy""#, r#"reason!="busy""#)],
    ),
    ("Iperf3CannotTest", &[("auth|", ""), ("local|", "busy|")]),
    (
        "Iperf3ResultStale",
        &[
            ("3 *", "1 *"),
            ("3 *", "30 *"),
            ("600", "1"),
            ("[2d]", "[1m]"),
            ("ignoring (target)", "on (job, instance)"),
            ("last_over_time(up[10m])", "last_over_time(up[2d])"),
        ],
    ),
    (
        "Iperf3BandwidthFell",
        &[
            ("< 0.7", "< 0.49"),
            ("for: 1h", "for: 12h"),
            (":median7d", ":p10_7d"),
        ],
    ),
    (
        "Iperf3BandwidthCollapsed",
        &[
            ("[3h]", "[1h]"),
            (":p10_7d", ":median7d"),
            ("< 0.5", "< 0.7"),
            ("for: 30m", "for: 6h"),
            (">= 2", ">= 1"),
        ],
    ),
    (
        "Iperf3PacketLoss",
        &[
            ("> 0.01", "> 0.0001"),
            ("> 0.01", "> 0.05"),
            ("for: 10m", "for: 0s"),
        ],
    ),
    (
        "Iperf3PacketLossHigh",
        &[
            ("> 0.05", "> 0.01"),
            ("> 0.05", "> 0.2"),
            ("for: 10m", "for: 0s"),
        ],
    ),
    (
        "Iperf3Retransmits",
        &[
            ("> 0.02", "> 0.005"),
            ("> 0.02", "> 0.05"),
            ("[2h]", "[1h]"),
            ("for: 30m", "for: 0s"),
        ],
    ),
    (
        "Iperf3RttRose",
        &[
            ("> 2", "> 1.2"),
            ("> 0.01", "> 0.0001"),
            ("> 2", "> 4"),
            ("for: 1h", "for: 24h"),
        ],
    ),
    (
        "Iperf3CpuBound",
        &[
            ("> 0.9", "> 0.8"),
            ("> 0.9", "> 1"),
            ("0.5,", "0.95,"),
            (r#"mode="total""#, r#"mode=~".+""#),
            (">= 2", ">= 1"),
            ("for: 15m", "for: 0s"),
        ],
    ),
    (
        "Iperf3QueueSaturated",
        &[
            ("min_over_time", "max_over_time"),
            (">= 3", ">= 1"),
            ("for: 5m", "for: 0s"),
        ],
    ),
    (
        "Iperf3LockWaitLong",
        &[
            ("> 60", "> 20"),
            ("> 60", "> 80"),
            ("0.9,", "0.4,"),
            (">= 5", ">= 0"),
            ("for: 30m", "for: 0s"),
        ],
    ),
    (
        "Iperf3ProbesNotRun",
        &[
            ("> 0.1", "> 0.01"),
            ("> 0.1", "> 0.3"),
            ("> 1.5", "> 0"),
            ("no_time_left|", ""),
            ("|full", "|full|running"),
            ("for: 5m", "for: 0s"),
        ],
    ),
    (
        "Iperf3ExporterErrors",
        &[
            ("> 1.5", "> 0"),
            ("> 1.5", "> 5"),
            ("|not_found", ""),
            ("increase", "max_over_time"),
            ("bad_output|", "refused|"),
        ],
    ),
    (
        "Iperf3ProbesRefused",
        &[
            ("> 4.5", "> 2"),
            ("> 4.5", "> 100"),
            ("increase", "max_over_time"),
            ("for: 5m", "for: 2h"),
        ],
    ),
    (
        "Iperf3ExporterPanicked",
        &[("[1h]", "[3h]"), ("increase", "max_over_time")],
    ),
    (
        "Iperf3BinaryMissing",
        &[
            (
                "ignoring (version, revision, rustc, features)",
                "on (job, instance)",
            ),
            ("ignoring (version, revision, rustc, features)", "on (job)"),
            ("rustc, features", "rustc"),
            ("for: 10m", "for: 5m"),
        ],
    ),
    (
        "Iperf3ExporterRestarts",
        &[
            ("> 3", "> 2"),
            ("> 3", "> 4"),
            ("and on (job, instance)", "or on (job, instance)"),
        ],
    ),
    (
        "Iperf3LoginsFail",
        &[("> 30", "> 10"), ("> 30", "> 100"), ("for: 5m", "for: 1h")],
    ),
    (
        "Iperf3ConnectionsNearLimit",
        &[
            ("> 0.9", "> 0.8"),
            ("> 0.9", "> 0.99"),
            ("for: 5m", "for: 0s"),
        ],
    ),
    (
        "Iperf3BudgetNearlySpent",
        &[
            ("> 0.8", "> 0.5"),
            ("> 0.8", "> 0.95"),
            ("1.1 *", "0 *"),
            ("1.1 *", "2 *"),
        ],
    ),
    (
        "Iperf3BudgetSpent",
        &[
            (r#""budget""#, r#""other""#),
            ("[30m]", "[2h]"),
            ("increase", "max_over_time"),
        ],
    ),
];

/// Mutations of a recording rule: its name, the alert that must detect them, and the replacements.
const WRONG_RECORDS: &[(&str, &str, Ways)] = &[
    (
        "target:iperf3_up:avg1d",
        "Iperf3RecordingRulesMissing",
        &[("iperf3_up[1d]", "iperf3_gone[1d]")],
    ),
    (
        "target:iperf3_failures:count1h",
        "Iperf3TargetDown",
        &[
            ("[10m])) == 0", "[5m])) == 0"),
            ("[1h])) == 0", "[20m])) == 0"),
            (">= 2", ">= 1"),
            ("without (port)", "without ()"),
            ("max without", "min without"),
            ("[10m])) == 0", "[10m])) == 2"),
            ("[1h])) == 0", "[1h])) == 2"),
        ],
    ),
    (
        "target_reason:iperf3_failure_info:newest1h",
        "Iperf3TargetDown",
        &[
            ("timestamp(iperf3_failure_info)", "iperf3_failure_info"),
            ("topk", "bottomk"),
            ("[1h:15s]", "[1m:15s]"),
        ],
    ),
    (
        "target_reason:iperf3_failures:count1h",
        "Iperf3TargetDown",
        &[
            (
                "          or ignoring (reason) target:iperf3_failures:count1h",
                "",
            ),
            ("> bool 0", "* 1"),
        ],
    ),
    (
        "target_direction:iperf3_tcp_retransmits:ratio",
        "Iperf3Retransmits",
        &[
            ("1448", "8948"),
            ("(iperf3_transferred_bytes > 0)", "iperf3_transferred_bytes"),
        ],
    ),
    (
        "target_direction:iperf3_packet_loss_ratio:median2h",
        "Iperf3PacketLoss",
        &[
            ("0.5,", "0.9,"),
            (">= 3", ">= 1"),
            ("[2h]", "[1h]"),
            ("iperf3_packet_loss_ratio[", "iperf3_lost_percent["),
            (
                "            * count_over_time(iperf3_packet_loss_ratio[2h])\n",
                "            * 99\n",
            ),
        ],
    ),
    (
        "target_direction:iperf3_bandwidth_bytes_per_second:median7d",
        "Iperf3BandwidthFell",
        &[
            (
                "            * count_over_time(iperf3_bandwidth_bytes_per_second[7d])\n",
                "            * 40\n",
            ),
            (">= 10", ">= 1"),
            ("offset 3d", "offset 1s"),
            ("0.5,", "0.1,"),
        ],
    ),
    (
        "target_direction:iperf3_bandwidth_bytes_per_second:median1d",
        "Iperf3BandwidthFell",
        &[
            ("[1d])) >= 3", "[1d])) >= 1"),
            ("0.5,", "0.9,"),
            ("0.5,", "0.1,"),
        ],
    ),
    (
        "target_direction:iperf3_bandwidth_bytes_per_second:p10_7d",
        "Iperf3BandwidthCollapsed",
        &[("0.1,", "0.9,")],
    ),
    (
        "target_direction:iperf3_tcp_rtt_mean_seconds:median1d",
        "Iperf3RttRose",
        &[("0.5,", "0,"), (">= 3", ">= 1")],
    ),
    (
        "target_direction:iperf3_tcp_rtt_mean_seconds:median7d",
        "Iperf3RttRose",
        &[("offset 3d", "offset 1s"), (">= 10", ">= 1")],
    ),
    (
        "target:iperf3_result_age_seconds:p95_7d",
        "Iperf3ResultStale",
        &[("0.95,", "0.1,"), ("[7d]", "[5m]")],
    ),
];

/// A file of rules with one wrong rule.
fn wrong(text: &str, kind: &str, name: &str, (from, to): (&str, &str)) -> String {
    let right = block(text, kind, name);
    assert!(right.contains(from), "{name} has no {from}");
    text.replace(right, &right.replace(from, to))
}

/// A mutation: the rules, the alerts, the alert to check, and a description.
type Try<'a> = (String, String, &'a str, String);

/// All mutations, one alert or rule after another.
fn tries<'a>(rules: &str, alerts_text: &'a str) -> Vec<Try<'a>> {
    let mut tries = Vec::new();
    for name in alerts(alerts_text) {
        let known = WRONG_ALERTS.iter().find(|(known, _)| *known == name);
        let (_, ways) = known.unwrap_or_else(|| panic!("no mutation of {name} is listed"));
        // An alert that never fires.
        let never = wrong(
            alerts_text,
            "alert",
            name,
            ("expr: ", "expr: vector(1) < 0 and "),
        );
        let mut never = never;
        for style in ["|", ">-"] {
            never = never.replace(
                &format!("vector(1) < 0 and {style}\n"),
                &format!("{style}\n          vector(1) < 0 and on ()\n"),
            );
        }
        tries.push((rules.to_owned(), never, name, format!("{name} never fires")));
        for way in *ways {
            let alerts = wrong(alerts_text, "alert", name, *way);
            tries.push((rules.to_owned(), alerts, name, format!("{name} {way:?}")));
        }
    }
    for (name, alert, ways) in WRONG_RECORDS {
        for way in *ways {
            let rules = wrong(rules, "record", name, *way);
            let what = format!("{name} {way:?}");
            tries.push((rules, alerts_text.to_owned(), *alert, what));
        }
    }
    assert!(tries.len() >= 150, "{}", tries.len());
    tries
}

/// Checks that the cases detect the mutations whose number `are_tried` selects.
fn find_out_alerts(are_tried: impl Fn(usize) -> bool) {
    let (rules, alerts, cases) = (read(RULES), read(ALERTS), cases());
    let tries = tries(&rules, &alerts).into_iter().enumerate();
    let tries: Vec<Try<'_>> = tries
        .filter(|(number, _)| are_tried(*number))
        .map(|(_, one)| one)
        .collect();
    let unseen = Mutex::new(Vec::new());
    side_by_side(&tries, |(rules, alerts, alert, what)| {
        let asking = cases.iter().filter(|case| case.asked().contains(alert));
        // The first case that fails is enough.
        let said = asking
            .map(|case| case.passes(&[alert], rules, alerts))
            .find_map(|(passed, said)| (!passed).then_some(said));
        // The failure must come from the result, not from rules that promtool cannot read.
        let is_seen = said.as_ref().is_some_and(|said| {
            (said.contains(&format!("alertname: {alert}")) || said.contains("expr: "))
                && !said.contains("could not parse")
        });
        if !is_seen {
            let mut unseen = unseen.lock().unwrap_or_else(PoisonError::into_inner);
            unseen.push(format!("{what}: {said:?}"));
        }
    });
    let unseen = unseen.into_inner().unwrap();
    assert!(unseen.is_empty(), "not detected:\n{}", unseen.join("\n"));
}

#[test]
fn the_cases_detect_some_wrong_alerts() {
    if has("promtool", "the_cases_detect_some_wrong_alerts") {
        // A prime step, so that all kinds are included.
        find_out_alerts(|number| number % 17 == 0);
    }
}

#[test]
#[ignore = "make test-all: some 170 runs of promtool; make test has each 17th of them"]
fn the_cases_detect_each_wrong_alert() {
    if has("promtool", "the_cases_detect_each_wrong_alert") {
        let _alone = machine_alone();
        find_out_alerts(|_| true);
    }
}

#[test]
fn prometheus_records_the_results_of_real_tests_and_nothing_for_failed_ones() {
    let test = "prometheus_records_the_results_of_real_tests_and_nothing_for_failed_ones";
    if !has("prometheus", test) {
        return;
    }
    // One server per job, so that no job waits for the other's test.
    let servers = [Server::start(), Server::start()];
    let exporters = [0, 1].map(|_| Exporter::start::<&str>(&[]));
    let job = |number: usize, name: &str, mode: &str| {
        format!(
            "  - job_name: {name}
    metrics_path: /probe
    scrape_interval: 4s
    scrape_timeout: 4s
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
            servers[number].target(),
            exporters[number].port()
        )
    };
    let configuration = format!(
        "global:
  evaluation_interval: 1s
rule_files: ['{}']
scrape_configs:
{}{}",
        top().join(RULES).display(),
        job(0, "tcp", ""),
        job(1, "udp", "      udp_mode: ['true']\n"),
    );
    let prometheus = Prometheus::start(&configuration);
    // 10 Mbit/s, as far as one second allows with bursts, whole blocks and other work of the processor.
    for (job, server) in ["tcp", "udp"].into_iter().zip(&servers) {
        for way in ["upload", "download"] {
            let name = format!("iperf3_bandwidth_{way}_mbps{{job=\"{job}\"}}");
            let (mbps, labels) = prometheus.until(&name, |mbps| mbps > 0.0);
            assert!((2.0..40.0).contains(&mbps), "{name} {mbps}");
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
    // In the rule's own unit, from one moment: the rule is evaluated after each scrape.
    let name = "iperf3_latency_upload_ms{job=\"tcp\"}";
    let factor = format!("sum({name}) / sum(iperf3_tcp_rtt_mean_seconds{{job=\"tcp\"}})");
    prometheus.until(&factor, |factor| (factor - 1000.0).abs() < 0.001);
    // Missing measurements: after three evaluations of the whole group with both jobs they would be there.
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

    drop(servers);
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
fn promtool_accepts_the_rules_that_the_documentation_shows() {
    if !has(
        "promtool",
        "promtool_accepts_the_rules_that_the_documentation_shows",
    ) {
        return;
    }
    let dir = TempDir::new();
    let mut count = 0;
    for (path, page) in documentation() {
        for text in configurations(&page, "groups:") {
            count += 1;
            let file = dir.write("rules.yml", &text).display().to_string();
            let (passed, said) = run("promtool", &["check", "rules", &file], "");
            assert!(passed, "{path}: {said}\n{text}");
        }
    }
    assert!(count > 0, "no page shows rules");
}

#[test]
fn the_recommended_averages_exclude_failures() {
    if !has("promtool", "the_recommended_averages_exclude_failures") {
        return;
    }
    let page = page("metrics");
    let shown = page.split_once("```promql\navg_over_time").unwrap().1;
    let shown = format!("avg_over_time{shown}");
    let shown = shown.split_once("\n```").unwrap().0;
    let means: Vec<&str> = shown.lines().filter(|line| !line.is_empty()).collect();
    let [native, filtered, wrong] = means.as_slice() else {
        panic!("{means:?}");
    };
    let (wrong, says) = wrong.split_once('#').unwrap();
    assert!(says.contains("NaN"), "{says}");
    // 100 bytes in 10 s, a failed test, 300 bytes in 10 s: an average of 20 bytes per second over the successful tests.
    let labels = r#"job="iperf3",instance="foo.server:5201",target="foo.server",port="5201""#;
    let case = format!(
        "evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: 'iperf3_up{{{labels}}}'
        values: '1 0 1'
      - series: 'iperf3_received_bytes{{{labels}}}'
        values: '100 0 300'
      - series: 'iperf3_received_seconds{{{labels}}}'
        values: '10 0 10'
      - series: 'iperf3_bandwidth_bytes_per_second{{{labels},direction=\"upload\"}}'
        values: '10 stale 30'
    promql_expr_test:
      - expr: {native}
        eval_time: 2m
        exp_samples:
          - labels: '{{{labels},direction=\"upload\"}}'
            value: 20
      - expr: {filtered}
        eval_time: 2m
        exp_samples:
          - labels: '{{{labels}}}'
            value: 20
      # Nothing but NaN is not equal to itself.
      - expr: ({wrong}) != bool ({wrong})
        eval_time: 2m
        exp_samples:
          - labels: '{{{labels}}}'
            value: 1
"
    );
    let dir = TempDir::new();
    let (passed, said) = passes(&dir.write("case.yml", &case));
    assert!(passed, "{said}");
}

/// The alert from the README fires for a line below its limit, and for that line only.
#[test]
fn the_readmes_own_alert_fires_when_a_line_is_too_slow() {
    if !has(
        "promtool",
        "the_readmes_own_alert_fires_when_a_line_is_too_slow",
    ) {
        return;
    }
    let found = configurations(&read("README.md"), "groups:");
    let [rules] = found.as_slice() else {
        panic!("{found:?}");
    };
    let series = |job: &str, direction: &str, value: u32| {
        format!(
            "      - series: 'iperf3_bandwidth_bytes_per_second{{job=\"{job}\",target=\"foo.server\",\
             direction=\"{direction}\"}}'\n        values: '{value}x5'\n"
        )
    };
    let input = [
        series("iperf3", "upload", 5_000_000),
        series("iperf3-download", "download", 12_500_000),
        // The rate of this target is the bitrate that it was told to send.
        series("iperf3-udp", "upload", 1_250_000),
    ];
    let case = format!(
        "rule_files: [rules.yml]
evaluation_interval: 15s
tests:
  - interval: 1m
    input_series:
{}    alert_rule_test:
      - alertname: LineTooSlow
        eval_time: 45s
      - alertname: LineTooSlow
        eval_time: 1m
        exp_alerts:
          - exp_labels: {{job: iperf3, target: foo.server, direction: upload}}
            exp_annotations:
              summary: 'The upload with foo.server is down to 40Mbit/s.'
",
        input.concat()
    );
    let dir = TempDir::new();
    dir.write("rules.yml", rules);
    let (passed, said) = passes(&dir.write("case.yml", &case));
    assert!(passed, "{said}\n{case}");
}

/// Names in the documentation that belong to others, and why it mentions them.
const OF_OTHERS: &[&str] = &[
    // Repositories.
    "iperf3_exporter",
    "iperf3_exporter_mutex",
    // A name of the fork's third version.
    "iperf3_jitter_ms",
];

#[test]
fn every_family_that_the_documentation_names_is_in_one_of_its_tables_or_recorded() {
    let rules = read(RULES);
    let (of_probes, of_exporter) = (page("metrics"), page("exporter-metrics"));
    let tables = [
        generated_block(&of_probes, "probe-metrics"),
        generated_block(&of_probes, "measured-metrics"),
        generated_block(&of_exporter, "own-metrics"),
    ];
    let mut families = recorded(&rules);
    for line in tables.iter().flat_map(|table| table.lines()) {
        families.extend(
            line.strip_prefix("| `")
                .and_then(|rest| rest.split('`').next()),
        );
    }
    let documentation = documentation();
    for name in recorded(&rules) {
        let quoted = format!("`{name}`");
        let is_there = documentation.iter().any(|(_, text)| text.contains(&quoted));
        assert!(is_there, "{name} is not there");
    }
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    for (path, text) in &documentation {
        for (at, _) in text.match_indices("iperf3_") {
            if text[..at].ends_with(is_part) {
                continue;
            }
            let rest = &text[at..];
            let name = &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())];
            let is_known = families.contains(&name)
                || OF_OTHERS.contains(&name)
                // `iperf3_tcp_…` stands for several.
                || name.ends_with('_') && families.iter().any(|family| family.starts_with(name));
            assert!(is_known, "{path} mentions {name}");
        }
    }
}

#[test]
fn prometheus_accepts_every_query_of_the_documentation() {
    let page = page("choosing-numbers");
    let queries: Vec<&str> = page
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
