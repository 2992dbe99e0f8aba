//! Many exporters at one iperf3 server, each in its own network namespace: how many of their probes succeed.
//!
//! All scrapes come at the same moment, which is the worst case: the server has no idle time before them. Where no
//! namespace can be made, the figure is left out with the reason.

use std::io::{Write, stderr};
use std::path::Path;
use std::process::Stdio;
use std::sync::Barrier;
use std::thread;

use crate::client::Client;
use crate::exporter::{Exporter, Iperf3Server};
use crate::figures::Setting;
use crate::namespace::{self, Bridge, Server};
use crate::table::{Aim, Row, Unit};

/// The number of exporters, and the figure's name.
const FLEETS: [(usize, &str); 4] = [
    (2, "probes that succeed, 2 exporters, 1 server"),
    (5, "probes that succeed, 5 exporters, 1 server"),
    (10, "probes that succeed, 10 exporters, 1 server"),
    (20, "probes that succeed, 20 exporters, 1 server"),
];
/// A test's length, and the scrape timeout: Prometheus' default.
const TEST_SECONDS: usize = 2;
const SCRAPE_TIMEOUT_SECONDS: usize = 10;

pub(crate) fn share(setting: &Setting<'_>) -> Result<Vec<Row>, String> {
    if let Some(why) = namespace::why_not() {
        let _ = writeln!(stderr(), "no figures of a fleet: {why}");
        return Ok(Vec::new());
    }
    FLEETS
        .iter()
        .map(|(exporters, figure)| fleet(setting, *exporters, figure))
        .collect()
}

fn fleet(setting: &Setting<'_>, size: usize, figure: &'static str) -> Result<Row, String> {
    let bridge = Bridge::new(size + 1)?;
    let (server_host, hosts) = bridge.hosts.split_last().ok_or("a bridge without hosts")?;
    let _server = Server::start(server_host, Path::new("iperf3"), Iperf3Server::USUAL_PORT)?;
    let binary = setting.binary.display().to_string();
    let exporters: Result<Vec<Exporter>, String> = hosts
        .iter()
        .map(|host| {
            let (mut command, port) = host.exporter(&binary)?;
            command.stdout(Stdio::null()).stderr(Stdio::null());
            Exporter::start_command(command, port)
        })
        .collect();
    let exporters = exporters?;
    // A low rate, so that the tests do not compete for the two processors.
    let path = format!(
        "/probe?target={}&period={TEST_SECONDS}s&bitrate=1M",
        Bridge::address(size)
    );
    let mut probes = Vec::new();
    for _ in 0..setting.counts.fleet_rounds {
        probes.extend(at_once(&exporters, &path)?);
    }
    let succeeded = probes.iter().filter(|probe| probe.is_up).count();
    let attempts = |of: &mut dyn Iterator<Item = &Probe>| {
        let counts: Vec<f64> = of.map(|probe| probe.attempts).collect();
        let most = counts.iter().copied().fold(0.0, f64::max);
        let mean = counts.iter().sum::<f64>() / counts.len().max(1) as f64;
        format!("{mean:.1} in the mean, {most:.0} at most")
    };
    Ok(Row {
        figure,
        unit: Unit::Ratio,
        measured: succeeded as f64 / probes.len() as f64,
        go: None,
        aim: Aim::Open,
        note: format!(
            "{succeeded} of {} in {} rounds, all at once; {} s of tests wanted of {SCRAPE_TIMEOUT_SECONDS} s; attempts \
             of those that succeeded: {}; of all: {}",
            probes.len(),
            setting.counts.fleet_rounds,
            size * TEST_SECONDS,
            attempts(&mut probes.iter().filter(|probe| probe.is_up)),
            attempts(&mut probes.iter()),
        ),
    })
}

/// The result of a probe.
struct Probe {
    is_up: bool,
    attempts: f64,
}

fn at_once(exporters: &[Exporter], path: &str) -> Result<Vec<Probe>, String> {
    // Connected in advance, so that nothing fails between here and the barrier.
    let clients: Result<Vec<Client>, String> = exporters.iter().map(Exporter::client).collect();
    let start = Barrier::new(exporters.len());
    thread::scope(|scope| {
        let scrapes: Vec<_> = clients?
            .into_iter()
            .map(|mut client| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    client.scrape(path, SCRAPE_TIMEOUT_SECONDS).map(parse)
                })
            })
            .collect();
        scrapes
            .into_iter()
            .map(|scrape| scrape.join().map_err(|_| "a scrape panicked".to_owned())?)
            .collect()
    })
}

fn parse(answer: &str) -> Probe {
    let value = |family: &str| -> Option<f64> {
        let line = answer.lines().find(|line| line.starts_with(family))?;
        line.rsplit_once(' ')?.1.parse().ok()
    };
    Probe {
        is_up: value("iperf3_up{") == Some(1.0),
        attempts: value("iperf3_probe_attempts{").unwrap_or(0.0),
    }
}
