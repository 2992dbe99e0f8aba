//! The README's tables, written from the tables of the code: they cannot drift apart.
//!
//! A block of the README stands between `<!-- NAME -->` and `<!-- /NAME -->`. The test compares it with what the
//! rows say; `UPDATE_GOLDEN=1 cargo test docs` writes it anew.

use std::fmt::Write as _;

use crate::cli::FLAGS;
use crate::iperf3::reason::Reason;
use crate::metrics::probe::{FRAME, ROWS, When};
use crate::metrics::{measured, own};
use crate::probe::params::PARAMETERS;

/// Each generated block: its name and its text.
fn blocks() -> Vec<(&'static str, String)> {
    vec![
        ("flags", flags()),
        ("parameters", parameters()),
        ("probe-metrics", probe_metrics()),
        ("measured-metrics", measured_metrics()),
        ("own-metrics", own_metrics()),
        ("reasons", reasons()),
    ]
}

fn flags() -> String {
    let mut text = String::from("| flag | default | meaning |\n|---|---|---|\n");
    for flag in FLAGS {
        let names: Vec<String> = flag
            .names
            .iter()
            .map(|name| match flag.value {
                Some(_) => format!("`--{name}`"),
                None => format!("`--[no-]{name}`"),
            })
            .collect();
        let default = match (flag.value, flag.default) {
            (None, Some(_)) => "off".to_owned(),
            (Some(_), Some(value)) => format!("`{value}`"),
            (_, None) => String::new(),
        };
        let repeat = if flag.repeatable {
            " May be repeated."
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "| {} | {default} | {}{repeat} |",
            names.join(", "),
            flag.help
        );
    }
    text
}

fn parameters() -> String {
    let mut text = String::from(
        "| parameter | iperf3 | default | meaning | allowed |\n|---|---|---|---|---|\n",
    );
    for row in PARAMETERS {
        let names: Vec<String> = row.names.iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            names.join(", "),
            match row.option {
                "" => String::new(),
                option => format!("`{option}`"),
            },
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
    let _ = writeln!(text, "| `{}` | {} | {} |", up.0, up.2, up.1);
    for row in ROWS {
        let when = match row.when {
            When::Always => "always; 0 on failure",
            When::Tcp => "TCP, where the sender's system counts them; 0 on failure",
            When::Udp => "UDP; 0 on failure",
        };
        let _ = writeln!(text, "| `{}` | {when} | {} |", row.name, row.help);
    }
    for (name, help, when) in rest {
        let _ = writeln!(text, "| `{name}` | {when} | {help} |");
    }
    text
}

fn measured_metrics() -> String {
    let mut text = String::from("| family | type, unit | value | absent |\n|---|---|---|---|\n");
    for row in measured::ROWS {
        let kind = format!("{:?}", row.samples.kind()).to_lowercase();
        let _ = writeln!(
            text,
            "| `{}` | {kind}, {} | {} | {} |",
            row.name, row.unit, row.help, row.absent
        );
    }
    text
}

fn own_metrics() -> String {
    let mut text = String::from("| family | type | value |\n|---|---|---|\n");
    let rows = own::ROWS.iter().map(|row| (row.name, row.help, row.kind));
    for (name, help, kind) in rows.chain(own::process_rows()) {
        let kind = format!("{kind:?}").to_lowercase();
        let _ = writeln!(text, "| `{name}` | {kind} | {help} |");
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

#[test]
fn the_readme_agrees_with_the_tables() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let mut expected = readme.clone();
    for (name, block) in blocks() {
        let (open, close) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
        let (before, rest) = expected
            .split_once(&open)
            .unwrap_or_else(|| panic!("README.md has no {open}"));
        let (_, after) = rest
            .split_once(&close)
            .unwrap_or_else(|| panic!("README.md has no {close}"));
        expected = format!("{before}{open}{block}{close}{after}");
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &expected).unwrap();
        return;
    }
    assert!(
        readme == expected,
        "README.md differs from the tables; UPDATE_GOLDEN=1 cargo test docs writes it anew"
    );
}
