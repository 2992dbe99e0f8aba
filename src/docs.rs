//! Documents and completions, generated from the tables of the code so that they cannot drift apart.
//!
//! A file has blocks between `<!-- NAME -->` and `<!-- /NAME -->`, in the file's own comment syntax. The text around
//! them is written by hand. The test compares each block with the tables; `UPDATE_GOLDEN=1 cargo test --bin
//! iperf3-exporter docs` updates the files.

use std::fmt::Write as _;

use crate::cli::{self, FLAGS, Flag};
use crate::iperf3::reason::Reason;
use crate::log::{Format, Level};
use crate::metrics::compat::{ANY, FRAME, TCP, UDP};
use crate::metrics::native;
use crate::metrics::process;
use crate::metrics::text::{Family, Kind};
use crate::probe::params::PARAMETERS;
use crate::{http, probe, toolkit, web};

mod completions;
mod man;

/// A generated block: its name and its text.
type Block = (&'static str, String);

/// Each file with blocks: its path, its comment prefix, its blocks.
fn files() -> Vec<(&'static str, &'static str, Vec<Block>)> {
    vec![
        (
            "contrib/docs/flags.md",
            "",
            vec![("flags", flags()), ("paths", paths())],
        ),
        (
            "contrib/docs/parameters.md",
            "",
            vec![("parameters", parameters())],
        ),
        (
            "contrib/docs/metrics.md",
            "",
            vec![
                ("probe-metrics", probe_metrics()),
                ("measured-metrics", measured_metrics()),
            ],
        ),
        (
            "contrib/docs/exporter-metrics.md",
            "",
            vec![("own-metrics", own_metrics())],
        ),
        (
            "contrib/docs/troubleshooting.md",
            "",
            vec![("reasons", reasons())],
        ),
        (
            "contrib/docs/development.md",
            "",
            vec![("dependencies", dependencies())],
        ),
        ("contrib/iperf3-exporter.1", ".\\\" ", man::blocks()),
        (
            "contrib/completions/iperf3-exporter.bash",
            "# ",
            vec![("flags", completions::bash())],
        ),
        (
            "contrib/completions/_iperf3-exporter",
            "# ",
            vec![("flags", completions::zsh())],
        ),
        (
            "contrib/completions/iperf3-exporter.fish",
            "# ",
            vec![("flags", completions::fish())],
        ),
    ]
}

/// Blocks that other tests check, each with its file. The crates in the binary are counted with cargo
/// (`tests/it/release.rs`).
const ELSEWHERE: &[(&str, &str)] = &[("contrib/docs/development.md", "crates")];

/// What each path returns. The two paths that a flag can change are listed with their defaults.
const ENDPOINTS: &[(&[&str], &str)] = &[
    (&["/probe"], "GET only: runs a test"),
    (&["/metrics"], "the exporter's own metrics"),
    (
        &["/health", "/-/healthy"],
        "`200 OK`, or `503` with the reason if iperf3 cannot run or has no folder for its temporary files",
    ),
    (
        &["/ready", "/-/ready"],
        "`200` once listening, `503` while shutting down",
    ),
    (
        &["/lock-status"],
        "JSON: `is_locked`, `locked_by`, `locked_by_probe`, `locked_at`, `lock_duration`, `queue_size`, `queue`, `pausing`, `stopping`",
    ),
    (
        &["/"],
        "the page for browsers: the targets, running and waiting tests, a form, and the last probes, which \
         `?target=TEXT&failures=true` filters",
    ),
    (
        &["/run"],
        "GET only, with the CSRF token of the page's forms: starts a test and redirects to its details (`303`)",
    ),
    (
        &["/probes/NUMBER"],
        "the details of a probe, or `404` if it is no longer stored",
    ),
    (
        &["/probes/now"],
        "the live part of that page: running and waiting tests, and the number of probes that ended since `?seen=COUNT`",
    ),
    (
        &["/probes/NUMBER/now"],
        "the live part of the details of a running probe: its progress and the measurements so far",
    ),
    (
        &["/probes/NUMBER/stop"],
        "POST only, from the page: stops a test that was started from the page, or `409` for any other test",
    ),
    (
        &["/style.css", "/icon.svg"],
        "the style sheet and the icon of the pages",
    ),
];

/// Values of the sending TCP socket. It is the local one only in an upload.
const UPLOADS_ONLY: &str =
    "not TCP, or the download direction, where only the server's system would know";

/// The unit of each metric of a test, and when it is absent although the test succeeded.
const MEASURED: &[(&str, &str, &str)] = &[
    (
        "iperf3_bandwidth_bytes_per_second",
        "bytes per second",
        "UDP upload with iperf3 up to 3.10, which does not report what arrived, or nothing had arrived by the end \
         of a test under a second, or the server's bytes or time contradict the client's",
    ),
    (
        "iperf3_transferred_bytes",
        "bytes",
        "as above, except for the time",
    ),
    (
        "iperf3_interval_bandwidth_bytes_per_second",
        "bytes per second",
        "no interval was complete, or iperf3 before 3.18 ran a very long test of many streams without intervals",
    ),
    (
        "iperf3_tcp_retransmits",
        "segments",
        "not TCP, or the sender's system does not count them, or its counter wrapped",
    ),
    ("iperf3_tcp_rtt_min_seconds", "seconds", UPLOADS_ONLY),
    ("iperf3_tcp_rtt_mean_seconds", "seconds", UPLOADS_ONLY),
    ("iperf3_tcp_rtt_max_seconds", "seconds", UPLOADS_ONLY),
    ("iperf3_tcp_rttvar_seconds", "seconds", UPLOADS_ONLY),
    (
        "iperf3_tcp_congestion_window_max_bytes",
        "bytes",
        UPLOADS_ONLY,
    ),
    (
        "iperf3_tcp_mss_bytes",
        "bytes",
        "as above, or with `mss`, for which iperf3 prints the requested value",
    ),
    ("iperf3_tcp_path_mtu_bytes", "bytes", UPLOADS_ONLY),
    (
        "iperf3_tcp_reordering_events",
        "events",
        "as above, or iperf3 up to 3.19, or with `omit`, because iperf3 counts the omitted seconds too",
    ),
    (
        "iperf3_udp_jitter_seconds",
        "seconds",
        "not UDP, or nothing arrived, or the value is longer than the test",
    ),
    ("iperf3_udp_packets", "datagrams", "not UDP"),
    (
        "iperf3_udp_lost_packets",
        "datagrams",
        "not UDP, or the counts of the report contradict each other, or nothing had arrived by the end of a test \
         under a second",
    ),
    (
        "iperf3_udp_received_packets",
        "datagrams",
        "not UDP, or as for `iperf3_transferred_bytes`",
    ),
    (
        "iperf3_udp_out_of_order_packets",
        "datagrams",
        "not UDP, or the upload direction, where only the server would know, or the losses are not known",
    ),
    (
        "iperf3_packet_loss_ratio",
        "ratio",
        "as for `iperf3_udp_lost_packets`",
    ),
    ("iperf3_streams", "streams", "never"),
    (
        "iperf3_cpu_utilization_ratio",
        "ratio",
        "the end did not report it, or reported more than 1024",
    ),
    ("iperf3_test_info", "labels", "never"),
];

fn flags() -> String {
    let mut text = String::from("| flag | default | meaning |\n|---|---|---|\n");
    for flag in FLAGS {
        let names = listed(flag.names, |name| match flag.value {
            Some(_) => format!("`--{name}`"),
            None => format!("`--[no-]{name}`"),
        });
        let default = match (flag.value, flag.default) {
            (None, Some("true")) => "on".to_owned(),
            (None, Some(_)) => "off".to_owned(),
            (Some(_), Some(value)) => format!("`{value}`"),
            (_, None) => String::new(),
        };
        let sentences = flag.sentences();
        let _ = writeln!(text, "| {names} | {default} | {sentences} |");
    }
    text
}

/// All names, each formatted by `form`.
fn listed(names: &[&str], form: impl Fn(&str) -> String) -> String {
    let names: Vec<String> = names.iter().map(|name| form(name)).collect();
    names.join(", ")
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// The values of a flag that accepts only a fixed list: its row allows a plain list of words.
fn choices(flag: &Flag) -> Vec<&'static str> {
    let words: Vec<&str> = flag
        .allowed
        .split(", ")
        .flat_map(|part| part.split(" or "))
        .collect();
    let is_word = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase());
    if words.len() > 1 && words.iter().all(is_word) {
        words
    } else {
        Vec::new()
    }
}

fn parameters() -> String {
    let mut text = String::from(
        "| parameter | iperf3 | default | meaning | allowed |\n|---|---|---|---|---|\n",
    );
    for row in PARAMETERS {
        let option = match row.option {
            "" => String::new(),
            option => code(option),
        };
        let _ = writeln!(
            text,
            "| {} | {option} | {} | {} | {} |",
            listed(row.names, code),
            row.default,
            row.help,
            row.allowed
        );
    }
    text
}

fn probe_metrics() -> String {
    let mut text = String::from("| family | when | value |\n|---|---|---|\n");
    let [up, rest @ ..] = FRAME;
    let line = |name: &str, when: &str, help: &str| format!("| `{name}` | {when} | {help} |\n");
    text += &line(up.name, "always", up.help);
    for (rows, when) in [
        (ANY, "always, 0 on failure"),
        (TCP, "TCP, if the sender's system counts them, 0 on failure"),
        (UDP, "UDP, 0 on failure"),
    ] {
        text.extend(rows.iter().map(|row| line(row.name, when, row.help)));
    }
    for row in rest {
        let when = match row.name {
            "iperf3_failure_info" => "on failure",
            "iperf3_result_age_seconds" => "with `max_age`",
            "iperf3_last_success_timestamp_seconds" => "with `max_age`, after a success",
            _ => "always",
        };
        text += &line(row.name, when, row.help);
    }
    text
}

fn measured_metrics() -> String {
    let mut text = String::from("| family | type, unit | value | absent |\n|---|---|---|---|\n");
    let known: Vec<&str> = MEASURED.iter().map(|row| row.0).collect();
    let names: Vec<&str> = native::ROWS.iter().map(|row| row.name).collect();
    assert_eq!(known, names, "each measurement has its unit");
    for (row, (name, unit, absent)) in native::ROWS.iter().zip(MEASURED) {
        let kind = format!("{:?}", row.samples.kind()).to_lowercase();
        let _ = writeln!(
            text,
            "| `{name}` | {kind}, {unit} | {} | {absent} |",
            row.help
        );
    }
    text
}

/// The metrics of `/metrics`, in the order in which they are written, with help and type.
fn own_families() -> Vec<(&'static str, &'static str, Kind)> {
    fn of<S>(families: &[Family<S>]) -> impl Iterator<Item = (&'static str, &'static str, Kind)> {
        families
            .iter()
            .map(|family| (family.name, family.help, family.kind))
    }
    of(probe::metrics::FAMILIES)
        .chain(of(web::metrics::FAMILIES))
        .chain(of(http::metrics::FAMILIES))
        .chain(of(toolkit::metrics::FAMILIES))
        .chain(of(process::FAMILIES))
        .collect()
}

fn own_metrics() -> String {
    let mut text = String::from("| family | type | value |\n|---|---|---|\n");
    for (name, help, kind) in own_families() {
        let kind = format!("{kind:?}").to_lowercase();
        let _ = writeln!(text, "| `{name}` | {kind} | {help} |");
    }
    text
}

fn paths() -> String {
    let mut text = String::from("| path | answer |\n|---|---|\n");
    for (paths, answer) in ENDPOINTS {
        let _ = writeln!(text, "| {} | {answer} |", listed(paths, code));
    }
    text
}

fn reasons() -> String {
    let mut text = String::from("| `reason` | what it means and what to do |\n|---|---|\n");
    for (_, label, help) in Reason::ALL {
        let _ = writeln!(text, "| `{label}` | {help} |");
    }
    text
}

/// The direct dependencies, with the comments above them in `Cargo.toml`.
fn dependencies() -> String {
    let mut text =
        String::from("| crate | version | without TLS | why, and where |\n|---|---|---|---|\n");
    let manifest = include_str!("../Cargo.toml");
    let mut why: Vec<&str> = Vec::new();
    let lines = manifest
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1);
    for line in lines.take_while(|line| !line.starts_with('[')) {
        if let Some(comment) = line.strip_prefix("# ") {
            why.push(comment);
        } else if let Some((name, rest)) = line.split_once(" = ") {
            let version = rest.split('"').nth(1).unwrap_or_default();
            let is_always = if rest.contains("optional = true") {
                "no"
            } else {
                "yes"
            };
            let why_all = why.join(" ");
            let _ = writeln!(text, "| `{name}` | {version} | {is_always} | {why_all} |");
            why.clear();
        } else {
            // A comment on the whole section: a blank line ends it.
            why.clear();
        }
    }
    text
}

/// `text` with its blocks updated.
fn renewed(path: &str, text: &str, comment: &str, blocks: &[Block]) -> String {
    let mut text = text.to_owned();
    for (name, block) in blocks {
        let (open, close) = (
            format!("{comment}<!-- {name} -->\n"),
            format!("{comment}<!-- /{name} -->"),
        );
        let (before, rest) = text
            .split_once(&open)
            .unwrap_or_else(|| panic!("{path} has no {open}"));
        let (_, after) = rest
            .split_once(&close)
            .unwrap_or_else(|| panic!("{path} has no {close}"));
        text = format!("{before}{open}{block}{close}{after}");
    }
    text
}

#[test]
fn the_texts_agree_with_the_tables() {
    for (name, comment, blocks) in files() {
        let path = format!("{}/{name}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap();
        let expected = renewed(name, &text, comment, &blocks);
        let marks = text.split("<!-- /").skip(1);
        let marks: Vec<&str> = marks
            .map(|mark| mark.split_once(" -->").unwrap().0)
            .collect();
        // A block that another test checks must exist.
        let elsewhere = ELSEWHERE.iter().filter(|(file, _)| *file == name);
        for (_, mark) in elsewhere {
            assert!(marks.contains(mark), "{name}: {marks:?}");
        }
        for mark in marks {
            let is_known = blocks.iter().any(|(block, _)| *block == mark);
            assert!(
                is_known || ELSEWHERE.contains(&(name, mark)),
                "{name}: no test writes {mark}"
            );
        }
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, &expected).unwrap();
            continue;
        }
        assert!(
            text == expected,
            "{name} differs from the tables; UPDATE_GOLDEN=1 cargo test --bin iperf3-exporter docs updates it"
        );
    }
}

#[test]
fn each_path_exists_and_is_documented() {
    // The table of paths is private, so its source text is read.
    let routes = include_str!("web/routes.rs");
    let (_, table) = routes.split_once("\nconst FIXED: ").unwrap();
    let (table, _) = table.split_once("\n];").unwrap();
    let path = |line: &'static str| line.trim().strip_prefix("(\"")?.split('"').next();
    let mut there: Vec<&str> = table.lines().filter_map(path).collect();
    for flag in FLAGS {
        if ["web.probe-path", "web.telemetry-path"].contains(&flag.id()) {
            there.extend(flag.default);
        }
    }
    // Paths of single items, such as `/probes/NUMBER`, are in no table.
    let mut explained: Vec<&str> = ENDPOINTS
        .iter()
        .flat_map(|row| row.0)
        .copied()
        .filter(|path| !path.contains("NUMBER"))
        .collect();
    explained.sort_unstable();
    there.sort_unstable();
    assert_eq!(explained, there);
}

#[test]
fn the_listed_values_of_a_flag_are_those_that_its_parser_accepts() {
    let of = |name: &str| {
        let flag = FLAGS.iter().find(|flag| flag.id() == name);
        choices(flag.unwrap())
    };
    let levels: Vec<&str> = Level::ALL.iter().map(|row| row.0).collect();
    let formats: Vec<&str> = Format::ALL.iter().map(|row| row.0).collect();
    assert_eq!((of("log.level"), of("log.format")), (levels, formats));
    let with_words = FLAGS.iter().filter(|flag| !choices(flag).is_empty());
    for flag in with_words {
        for word in choices(flag) {
            let taken = cli::parse([format!("--{}={word}", flag.id()).into()], |_| false);
            assert!(taken.is_ok(), "--{}={word}", flag.id());
        }
    }
    assert!(of("web.systemd-socket").is_empty() && of("iperf3.path").is_empty());
}
