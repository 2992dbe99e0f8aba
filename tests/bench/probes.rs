//! The figures of probes: what a probe adds to iperf3, in time, processor time and rate.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::exporter::{Exporter, Iperf3Server};
use crate::figures::{Setting, alternate};
use crate::table::{Aim, Row, Samples, Unit};

/// A probe of the stub: it looks like a test of a second, but takes no time.
pub(crate) const STUB_PROBE: &str = "/probe?target=127.0.0.1&period=1s";

pub(crate) fn stub_probe(setting: &Setting<'_>) -> Result<Vec<Row>, String> {
    /// The Go exporter's probe and the bare spawn of its stub.
    const GO_PROBE_MS: f64 = 1.4;
    const GO_SPAWN_MS: f64 = 0.6;
    const GO_ADDED_MS: f64 = GO_PROBE_MS - GO_SPAWN_MS;
    let exporter = Exporter::start(setting.binary, setting.stub, setting.folder)?;
    let mut client = exporter.client()?;
    let words = ["-J", "-c", "127.0.0.1", "-p", "5201", "-t", "1"];
    let (mut probes, mut spawns) = (Samples::default(), Samples::default());
    alternate(
        setting.counts.stub_probes,
        || {
            probes.add_time(probe(&mut client, STUB_PROBE)?);
            Ok(())
        },
        || {
            spawns.add_time(bare(setting.stub, &words)?.0);
            Ok(())
        },
    )?;
    let (probe_ms, spawn_ms) = (probes.median(), spawns.median());
    let added_ms = probe_ms - spawn_ms;
    let note = format!(
        "{} each in turns; median probe {probe_ms:.3} ms, median bare spawn of the stub {spawn_ms:.3} ms \
         (Go's: {GO_PROBE_MS} and {GO_SPAWN_MS} ms); {}",
        probes.len(),
        quartiles(&probes, &spawns),
    );
    Ok(vec![
        Row {
            figure: "a probe of a stub adds to its bare spawn",
            unit: Unit::Milliseconds,
            measured: added_ms,
            go: Some(GO_ADDED_MS),
            aim: Aim::AtMost(GO_ADDED_MS / 2.0),
            note,
        },
        Row {
            figure: "the same, in bare spawns",
            unit: Unit::Ratio,
            measured: added_ms / spawn_ms,
            go: Some(GO_ADDED_MS / GO_SPAWN_MS),
            aim: Aim::AtMost(GO_ADDED_MS / GO_SPAWN_MS / 2.0),
            note: String::new(),
        },
    ])
}

pub(crate) fn cpu_of_probes(setting: &Setting<'_>) -> Result<Vec<Row>, String> {
    /// Several times the duration of the probes; the clock of the processor time has a hundred ticks per second.
    const LONGEST: Duration = Duration::from_secs(20);
    let exporter = Exporter::start(setting.binary, setting.stub, setting.folder)?;
    let mut client = exporter.client()?;
    let before = exporter.cpu_time()?;
    let end = Instant::now() + LONGEST;
    let mut probes = 0_u32;
    while probes < setting.counts.cpu_probes && Instant::now() < end {
        probe(&mut client, STUB_PROBE)?;
        probes += 1;
    }
    let spent = exporter.cpu_time()?.saturating_sub(before);
    Ok(vec![Row {
        figure: "the exporter's own CPU, a probe",
        unit: Unit::Milliseconds,
        measured: spent.as_secs_f64() * 1e3 / f64::from(probes),
        go: Some(0.85),
        aim: Aim::AtMost(0.3),
        note: format!("{probes} probes of the stub; its children's time is not in it"),
    }])
}

/// The maximum time that iperf3 -s needs between two tests.
pub(crate) const BETWEEN_TESTS: Duration = Duration::from_millis(50);

pub(crate) fn short_test(setting: &Setting<'_>) -> Result<Vec<Row>, String> {
    let server = Iperf3Server::start()?;
    let exporter = Exporter::start(setting.binary, Path::new("iperf3"), setting.folder)?;
    let mut client = exporter.client()?;
    let port = server.port.to_string();
    // A low rate, so that the test's own processor load does not affect the figure.
    let path = format!("/probe?target=127.0.0.1&port={port}&period=1s&bitrate=1M");
    let mut words = vec!["-J", "-c", "127.0.0.1", "-p", &port];
    words.extend(["-t", "1", "-b", "1M"]);
    let (mut probes, mut bares) = (Samples::default(), Samples::default());
    alternate(
        setting.counts.short_tests,
        || {
            thread::sleep(BETWEEN_TESTS);
            probes.add_time(probe(&mut client, &path)?);
            Ok(())
        },
        || {
            thread::sleep(BETWEEN_TESTS);
            bares.add_time(bare(Path::new("iperf3"), &words)?.0);
            Ok(())
        },
    )?;
    Ok(vec![Row {
        figure: "a probe adds to a bare one-second iperf3 -J",
        unit: Unit::Milliseconds,
        measured: probes.median() - bares.median(),
        // Recorded as 0.1 to 0.4 ms.
        go: Some(0.4),
        aim: Aim::AtMost(0.4),
        note: format!(
            "{} each in turns; probes {} ms, bare {} ms; {}; Go's was 0.1 to 0.4 ms",
            probes.len(),
            probes.range(),
            bares.range(),
            quartiles(&probes, &bares),
        ),
    }])
}

pub(crate) fn rate(setting: &Setting<'_>) -> Result<Vec<Row>, String> {
    /// A twentieth of a second over loopback. The shorter a pair is, the more often both of its tests run under the
    /// same conditions, and the closer the exporter's work before and after a test is to the test.
    const BYTES: &str = "100M";
    let server = Iperf3Server::start()?;
    let exporter = Exporter::start(setting.binary, Path::new("iperf3"), setting.folder)?;
    let mut client = exporter.client()?;
    let port = server.port.to_string();
    let path = format!("/probe?target=127.0.0.1&port={port}&bytes={BYTES}");
    let words = ["-J", "-c", "127.0.0.1", "-p", &port, "-n", BYTES];
    let (mut probed, mut bares) = (Samples::default(), Samples::default());
    alternate(
        setting.counts.rate_pairs,
        || {
            thread::sleep(BETWEEN_TESTS);
            probed.add(probed_rate(&mut client, &path)?);
            Ok(())
        },
        || {
            thread::sleep(BETWEEN_TESTS);
            bares.add(bare_rate(Path::new("iperf3"), &words)?);
            Ok(())
        },
    )?;
    Ok(vec![
        rate_row(
            "iperf3's rate under the exporter, of its bare rate",
            &probed,
            &bares,
        ),
        cpu_of_a_test(setting)?,
    ])
}

/// The rates of pairs as a figure: the two tests of a pair follow each other at once, so the same conditions apply to
/// both.
pub(crate) fn rate_row(figure: &'static str, probed: &Samples, bares: &Samples) -> Row {
    let mut ratios = Samples::default();
    for (probed, bare) in probed.0.iter().zip(&bares.0) {
        ratios.add(probed / bare);
    }
    let (low, high) = ratios.median_within();
    Row {
        figure,
        unit: Unit::Ratio,
        measured: ratios.median(),
        go: None,
        aim: Aim::AtLeast(0.99),
        note: format!(
            "the median of {} pairs' ratios, with 95 % confidence within {low:.3} and {high:.3}: where these lie \
             far apart, the machine was too busy to say; the ratios' quartiles {:.3} and {:.3}; median rates \
             {:.2} and {:.2} Gbit/s, ratio {:.3}",
            ratios.len(),
            ratios.quantile(0.25),
            ratios.quantile(0.75),
            probed.median() / 1e9,
            bares.median() / 1e9,
            probed.median() / bares.median(),
        ),
    }
}

/// The received bits per second of a test under the exporter.
pub(crate) fn probed_rate(client: &mut Client, path: &str) -> Result<f64, String> {
    let metrics = client.get(path)?;
    is_up(metrics)?;
    Ok(rate_of_probe(metrics).ok_or("a probe without a rate")?)
}

/// The same for a test without it.
pub(crate) fn bare_rate(iperf3: &Path, words: &[&str]) -> Result<f64, String> {
    let (_, report) = bare(iperf3, words)?;
    Ok(rate_of_report(&report).ok_or("a report without a rate")?)
}

/// The exporter's own processor time while its iperf3 uses all processors: it cannot disturb the test by more, however
/// busy the machine is otherwise.
fn cpu_of_a_test(setting: &Setting<'_>) -> Result<Row, String> {
    let server = Iperf3Server::start()?;
    let exporter = Exporter::start(setting.binary, Path::new("iperf3"), setting.folder)?;
    let mut client = exporter.client()?;
    let seconds = setting.counts.cpu_test_seconds;
    let path = format!(
        "/probe?target=127.0.0.1&port={}&period={seconds}s",
        server.port
    );
    let before = exporter.cpu_time()?;
    probe(&mut client, &path)?;
    let spent = exporter.cpu_time()?.saturating_sub(before);
    Ok(Row {
        figure: "the exporter's own CPU while iperf3 runs, a second",
        unit: Unit::Milliseconds,
        measured: spent.as_secs_f64() * 1e3 / f64::from(seconds),
        go: None,
        aim: Aim::AtMost(1.0),
        note: format!(
            "one test of {seconds} s without a limit; its children's time is not in it; the clock ticks every 10 ms"
        ),
    })
}

/// Differences of the quartiles, beside that of the medians: where they are far apart, the machine was too busy for the
/// figure.
fn quartiles(probes: &Samples, bares: &Samples) -> String {
    let added = |part| probes.quantile(part) - bares.quantile(part);
    format!(
        "the lower quartiles differ by {:.3} ms, the upper by {:.3} ms",
        added(0.25),
        added(0.75)
    )
}

fn is_up(metrics: &str) -> Result<(), String> {
    let is_up = metrics.lines().any(|line| {
        line.strip_prefix("iperf3_up")
            .is_some_and(|rest| rest.ends_with(" 1"))
    });
    is_up
        .then_some(())
        .ok_or_else(|| format!("a probe failed:\n{metrics}"))
}

/// The time of one probe.
pub(crate) fn probe(client: &mut Client, path: &str) -> Result<Duration, String> {
    let begin = Instant::now();
    let metrics = client.get(path)?;
    let took = begin.elapsed();
    is_up(metrics)?;
    Ok(took)
}

/// Runs a program to its end as the exporter does and reads its output; the duration and the output.
fn bare(program: &Path, arguments: &[&str]) -> Result<(Duration, Vec<u8>), String> {
    let begin = Instant::now();
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    let took = begin.elapsed();
    let output = output.map_err(|error| format!("cannot run `{}`: {error}", program.display()))?;
    if output.status.success() {
        Ok((took, output.stdout))
    } else {
        let words = String::from_utf8_lossy(&output.stdout).into_owned();
        Err(format!("`{}` failed: {words}", program.display()))
    }
}

/// The received bits per second.
fn rate_of_probe(metrics: &str) -> Option<f64> {
    let value = |family: &str| -> Option<f64> {
        let line = metrics.lines().find(|line| line.starts_with(family))?;
        line.rsplit_once(' ')?.1.parse().ok()
    };
    let bytes = value("iperf3_received_bytes{")?;
    Some(bytes * 8.0 / value("iperf3_received_seconds{")?)
}

fn rate_of_report(report: &[u8]) -> Option<f64> {
    let report: serde_json::Value = serde_json::from_slice(report).ok()?;
    report
        .pointer("/end/sum_received/bits_per_second")?
        .as_f64()
}
