//! `/health` under attack: the time of a response on a new connection, handshake included, during each attack.
//!
//! It is a separate section after the figures, as it has two columns for each port. The attacks are those of the tests
//! (`siege`), which check that a response comes at all.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use crate::exporter::Exporter;
use crate::figures::Setting;
use crate::siege::{Attack, On, Target, under};
use crate::table::Samples;
use crate::tls::Tls;

/// The text for which `--only` selects this section.
pub(crate) const WHAT: &str = "/health under attack, plain and TLS";

/// The default of `--web.max-connections`.
const PLACES: usize = 256;
/// The row without an attack.
const QUIET: &str = "(no attack)";

/// Measures both ports; the section's text.
pub(crate) fn section(setting: &Setting<'_>) -> Result<String, String> {
    let plain = measure(setting, On::Plain, None)?;
    let tls = match setting.tls {
        Some(tls) => measure(setting, On::Tls, Some(tls))?,
        None => Vec::new(),
    };
    let mut names: Vec<&str> = plain.iter().map(|(name, _)| *name).collect();
    for (name, _) in &tls {
        if !names.contains(name) {
            names.push(name);
        }
    }
    let width = names.iter().map(|name| name.len()).max().unwrap_or(0);
    let mut text = format!(
        "| {:width$} |  plain p50  | plain worst |   TLS p50   |  TLS worst  |\n|{:-<rule$}|{:-<13}|{:-<13}|{:-<13}|{:-<13}|\n",
        "a fresh /health during",
        "",
        "",
        "",
        "",
        "",
        rule = width + 2
    );
    for name in names {
        let cells = |port: &[(&str, Samples)]| {
            let found = port.iter().find(|(other, _)| *other == name);
            found.map_or(("-".to_owned(), "-".to_owned()), |(_, times)| {
                let in_ms = |part| format!("{:.2} ms", times.quantile(part));
                (in_ms(0.5), in_ms(1.0))
            })
        };
        let ((plain, plain_worst), (tls, tls_worst)) = (cells(&plain), cells(&tls));
        let _ = writeln!(
            text,
            "| {name:width$} | {plain:>11} | {plain_worst:>11} | {tls:>11} | {tls_worst:>11} |"
        );
    }
    let _ = write!(
        text,
        "{} answers each, {PLACES} connections at most; the attackers are on the same processors",
        setting.counts.under_attack
    );
    Ok(text)
}

/// The response times of one port, without an attack and during each.
fn measure(
    setting: &Setting<'_>,
    port: On,
    tls: Option<&Tls>,
) -> Result<Vec<(&'static str, Samples)>, String> {
    let exporter = Exporter::start_with(setting.binary, setting.stub, setting.folder, tls)?;
    let target = Target {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, exporter.port())),
        tls: tls.map(Tls::client),
        credentials: None,
        places: PLACES,
    };
    let count = setting.counts.under_attack;
    let timed = |times: &mut Samples| {
        let begin = Instant::now();
        target.health();
        times.add_time(begin.elapsed());
    };
    let mut quiet = Samples::default();
    for _ in 0..count {
        timed(&mut quiet);
    }
    let mut rows = vec![(QUIET, quiet)];
    for attack in Attack::on(port) {
        let mut samples = Samples::default();
        under(&target, attack.run, |siege| {
            for _ in 0..count {
                siege.ask(|| timed(&mut samples));
            }
        });
        rows.push((attack.name, samples));
    }
    Ok(rows)
}
