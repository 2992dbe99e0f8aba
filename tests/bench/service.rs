//! The figures of the exporter itself: its own page under load, its start, its memory and its size.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::elf::Binary;
use crate::exporter::{self, Client, Exporter};
use crate::figures::Setting;
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
        let requests = load(&mut client, setting.counts.load_time)?.len() as f64;
        rates.add(requests / begin.elapsed().as_secs_f64());
        let spent = exporter.cpu_time()?.saturating_sub(before);
        costs.add(spent.as_secs_f64() * 1e3 / requests);
        floors.add(floor_per_second(bytes, setting.counts.load_time / 4)?);
    }
    Ok(vec![
        Row {
            figure: "/metrics, 1 connection: requests",
            unit: Unit::PerSecond,
            measured: rates.median(),
            go: Some(GO_PER_SECOND),
            aim: Aim::AtLeast(8.0 * GO_PER_SECOND),
            note: format!(
                "{} runs, {} a second; {bytes} bytes a page; a thread that answers as much without any work: {:.0} a second",
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
    // One after the other, each with its first answer: here the load counts, not the opening.
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
        let times = load(&mut clients, setting.counts.load_time)?;
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
                "{} runs, {} a second; CPU a request {:.3} ms; the client is one thread on the same processors",
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

/// Requests over all connections at once, until their time or their number is over; the times of all answers.
///
/// One thread that polls: threads of its own for each connection would stand in the exporter's way on a machine
/// of two processors, and their waiting for each other would be counted as its.
fn load(clients: &mut [Client], time: Duration) -> Result<Samples, String> {
    /// More than any machine answers in the time.
    const MOST_REQUESTS: usize = 500_000;
    let mut times = Samples::default();
    let mut sent = Vec::new();
    for client in clients.iter_mut() {
        client.send(PAGE)?;
        sent.push(Instant::now());
    }
    let end = Instant::now() + time;
    let mut in_work = clients.len();
    while in_work > 0 {
        let ready = answered(clients)?;
        for ((client, sent), _) in clients
            .iter_mut()
            .zip(&mut sent)
            .zip(ready)
            .filter(|(_, is_ready)| *is_ready)
        {
            client.receive()?;
            let now = Instant::now();
            times.add_time(now - *sent);
            if now < end && times.len() < MOST_REQUESTS {
                *sent = now;
                client.send(PAGE)?;
            } else {
                in_work -= 1;
            }
        }
    }
    Ok(times)
}

/// Which of the connections have an answer; waits until there is one.
fn answered(clients: &[Client]) -> Result<Vec<bool>, String> {
    /// Far longer than any answer takes.
    const LIMIT: Timespec = Timespec {
        tv_sec: 30,
        tv_nsec: 0,
    };
    let mut polled: Vec<PollFd<'_>> = clients
        .iter()
        .map(|client| PollFd::new(client, PollFlags::IN))
        .collect();
    match rustix::event::poll(&mut polled, Some(&LIMIT)) {
        Ok(0) => Err("no answer to /metrics".to_owned()),
        Ok(_) => Ok(polled.iter().map(|fd| !fd.revents().is_empty()).collect()),
        Err(error) => Err(format!("cannot poll: {error}")),
    }
}

/// Answers a second that a thread without any work to do gives one client here: the machine's own share of the
/// figures.
fn floor_per_second(body_bytes: usize, time: Duration) -> Result<f64, String> {
    let cannot = |error: io::Error| format!("cannot measure the loopback: {error}");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(cannot)?;
    let stream = TcpStream::connect(listener.local_addr().map_err(cannot)?).map_err(cannot)?;
    let (mut server, _) = listener.accept().map_err(cannot)?;
    server.set_nodelay(true).map_err(cannot)?;
    let body = "x".repeat(body_bytes);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {body_bytes}\r\n\r\n{body}");
    let echo = thread::spawn(move || {
        let mut request = [0; 1024];
        while server.read(&mut request).is_ok_and(|length| length > 0) {
            if server.write_all(answer.as_bytes()).is_err() {
                break;
            }
        }
    });
    let begin = Instant::now();
    let mut client = [Client::over(stream)?];
    let answers = load(&mut client, time)?.len() as f64;
    let took = begin.elapsed().as_secs_f64();
    drop(client);
    let _ = echo.join();
    Ok(answers / took)
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
    /// The resident size, and what it is made of.
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
    Ok(vec![Row {
        figure: "size of the binary",
        unit: Unit::Megabytes,
        measured: binary.bytes as f64 / 1e6,
        go: Some(12.8),
        aim: Aim::AtMost(1.2),
        note: binary.to_string(),
    }])
}
