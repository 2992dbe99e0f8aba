//! The figures of the exporter itself: its own page under load, its start, its memory and its size.

use std::time::Instant;

use crate::elf::Binary;
use crate::exporter::{self, Exporter};
use crate::figures::Setting;
use crate::load::{Bare, load, rate};
use crate::probes::{STUB_PROBE, probe};
use crate::table::{Aim, Row, Samples, Unit};

/// The exporter's own metrics.
const PAGE: &str = "/metrics";

pub(crate) fn one_connection(setting: &Setting<'_>) -> Result<Vec<Row>, String> {
    const GO_PER_SECOND: f64 = 1270.0;
    let exporter = Exporter::start(setting.binary, setting.stub, setting.folder)?;
    let mut client = [exporter.client()?];
    let mut bytes = 0;
    for client in &mut client {
        bytes = client.get(PAGE)?.len();
    }
    let (mut rates, mut costs, mut floors) =
        (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..setting.counts.load_runs {
        let (begin, before) = (Instant::now(), exporter.cpu_time()?);
        let requests = load(&mut client, PAGE, setting.counts.load_time)?.len() as f64;
        rates.add(requests / begin.elapsed().as_secs_f64());
        let spent = exporter.cpu_time()?.saturating_sub(before);
        costs.add(spent.as_secs_f64() * 1e3 / requests);
        let mut bare = [Bare::Thread(None).client(bytes)?];
        let time = setting.counts.load_time / 4;
        floors.add(rate(&mut bare, time)?);
    }
    Ok(vec![
        Row {
            figure: "/metrics, 1 connection: requests",
            unit: Unit::PerSecond,
            measured: rates.median(),
            go: Some(GO_PER_SECOND),
            aim: Aim::AtLeast(8.0 * GO_PER_SECOND),
            note: format!(
                "{} runs, {} per second; {bytes} bytes per page; a thread that sends as much without any work: {:.0} per second",
                rates.len(),
                rates.range(),
                floors.median(),
            ),
        },
        Row {
            figure: "/metrics, 1 connection: CPU a request",
            unit: Unit::Milliseconds,
            measured: costs.median(),
            go: Some(0.9),
            aim: Aim::AtMost(0.1),
            note: String::new(),
        },
    ])
}

pub(crate) fn many_connections(setting: &Setting<'_>) -> Result<Vec<Row>, String> {
    const CONNECTIONS: u32 = 16;
    const GO_PER_SECOND: f64 = 2200.0;
    let exporter = Exporter::start(setting.binary, setting.stub, setting.folder)?;
    // One after the other, each with its first response: the load is measured, not the opening.
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut client = exporter.client()?;
        client.get(PAGE)?;
        clients.push(client);
    }
    let (mut rates, mut slowest, mut costs) =
        (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..setting.counts.load_runs {
        let before = exporter.cpu_time()?;
        let begin = Instant::now();
        let times = load(&mut clients, PAGE, setting.counts.load_time)?;
        rates.add(times.len() as f64 / begin.elapsed().as_secs_f64());
        slowest.add(times.quantile(0.99));
        let spent = exporter.cpu_time()?.saturating_sub(before);
        costs.add(spent.as_secs_f64() * 1e3 / times.len() as f64);
    }
    Ok(vec![
        Row {
            figure: "/metrics, 16 connections: requests",
            unit: Unit::PerSecond,
            measured: rates.median(),
            go: Some(GO_PER_SECOND),
            aim: Aim::AtLeast(6.0 * GO_PER_SECOND),
            note: format!(
                "{} runs, {} per second; CPU per request {:.3} ms; the client is one thread on the same processors",
                rates.len(),
                rates.range(),
                costs.median(),
            ),
        },
        Row {
            figure: "/metrics, 16 connections: p99",
            unit: Unit::Milliseconds,
            measured: slowest.median(),
            go: Some(22.0),
            aim: Aim::AtMost(5.0),
            note: format!("the runs' p99 {} ms", slowest.range()),
        },
    ])
}

pub(crate) fn start(setting: &Setting<'_>) -> Result<Vec<Row>, String> {
    let mut times = Samples::default();
    for _ in 0..setting.counts.starts {
        let port = exporter::free_port()?;
        times.add_time(Exporter::time_start(setting.binary, setting.stub, port)?);
    }
    Ok(vec![Row {
        figure: "start to the first 200 on /health",
        unit: Unit::Milliseconds,
        measured: times.median(),
        go: Some(7.0),
        aim: Aim::AtMost(2.0),
        note: format!("{} starts, {} ms", times.len(), times.range()),
    }])
}

pub(crate) fn memory(setting: &Setting<'_>) -> Result<Vec<Row>, String> {
    const SCRAPES: u32 = 1000;
    const PROBES: u32 = 200;
    /// The resident size and its parts.
    const NAMES: [&str; 3] = ["VmRSS", "RssAnon", "RssFile"];
    let exporter = Exporter::start(setting.binary, setting.stub, setting.folder)?;
    let look = || -> Result<(f64, String), String> {
        let [all, own, file] = NAMES.map(|name| exporter.memory_mib(name));
        let note = format!("{:.2} MiB its own, {:.2} MiB of files", own?, file?);
        Ok((all?, note))
    };
    let (idle, idle_note) = look()?;
    let mut client = exporter.client()?;
    for scrape in 0..SCRAPES {
        client.get(PAGE)?;
        if scrape % (SCRAPES / PROBES) == 0 {
            probe(&mut client, STUB_PROBE)?;
        }
    }
    let (used, used_note) = look()?;
    Ok(vec![
        Row {
            figure: "resident memory, idle",
            unit: Unit::Mebibytes,
            measured: idle,
            go: Some(11.7),
            aim: Aim::AtMost(2.0),
            note: format!("{idle_note}; the aims for memory and size are a static binary's"),
        },
        Row {
            figure: "resident memory, 1,000 scrapes, 200 probes",
            unit: Unit::Mebibytes,
            measured: used,
            go: Some(18.3),
            aim: Aim::AtMost(3.0),
            note: used_note,
        },
    ])
}

pub(crate) fn size(setting: &Setting<'_>) -> Result<Vec<Row>, String> {
    let binary = Binary::read(setting.binary)?;
    // Two kinds of binary can be built: `cargo build --no-default-features` leaves TLS out.
    let (figure, most) = match setting.tls {
        Some(_) => ("size of the binary, with TLS", 2.2),
        None => ("size of the binary, without TLS", 1.2),
    };
    Ok(vec![Row {
        figure,
        unit: Unit::Megabytes,
        measured: binary.bytes as f64 / 1e6,
        go: Some(12.8),
        aim: Aim::AtMost(most),
        note: binary.to_string(),
    }])
}
