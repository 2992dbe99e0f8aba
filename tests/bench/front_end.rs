//! The cost of the front end and of TLS: requests, handshakes, memory.
//!
//! Bare servers are measured alternately with each figure: they show the machine's own share.

use std::fmt::Write;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::exporter::Exporter;
use crate::figures::{Setting, alternate};
use crate::load::{Bare, load, rate, serve_handshakes};
use crate::table::{Aim, Row, Samples, Unit};
use crate::tls::Tls;

/// The page with the least work: the figure is about the connection.
const PAGE: &str = "/health";

/// The names of the two rows of a path.
struct Names {
    requests: &'static str,
    slowest: &'static str,
}

pub(crate) fn one_connection(setting: &Setting<'_>) -> Result<Vec<Row>, String> {
    let plain = Names {
        requests: "/health, 1 connection: requests",
        slowest: "/health, 1 connection: p99",
    };
    let tls = Names {
        requests: "/health, 1 connection, TLS: requests",
        slowest: "/health, 1 connection, TLS: p99",
    };
    health(setting, 1, &plain, &tls)
}

pub(crate) fn many_connections(setting: &Setting<'_>) -> Result<Vec<Row>, String> {
    let plain = Names {
        requests: "/health, 16 connections: requests",
        slowest: "/health, 16 connections: p99",
    };
    let tls = Names {
        requests: "/health, 16 connections, TLS: requests",
        slowest: "/health, 16 connections, TLS: p99",
    };
    health(setting, 16, &plain, &tls)
}

fn health(
    setting: &Setting<'_>,
    connections: usize,
    plain: &Names,
    tls: &Names,
) -> Result<Vec<Row>, String> {
    let bare = [
        ("a bare thread each", Bare::Thread(None)),
        ("tiny_http alone", Bare::TinyHttp),
    ];
    let mut ways = vec![Way::new(setting, connections, None, &bare)?];
    if let Some(tls) = setting.tls {
        let bare = [("a bare thread each, with rustls", Bare::Thread(Some(tls)))];
        ways.push(Way::new(setting, connections, Some(tls), &bare)?);
    }
    for run in 0..setting.counts.load_runs {
        // The other one is first each time.
        if run % 2 == 1 {
            ways.reverse();
        }
        for way in &mut ways {
            way.measure(setting.counts.load_time)?;
        }
        if run % 2 == 1 {
            ways.reverse();
        }
    }
    let plain_rate = ways.first().map_or(f64::NAN, |way| way.rates.median());
    Ok(ways
        .iter()
        .zip([plain, tls])
        .flat_map(|(way, names)| way.rows(names, plain_rate))
        .collect())
}

/// One path to the exporter, and the bare servers beside it.
struct Way {
    exporter: Exporter,
    clients: Vec<Client>,
    is_encrypted: bool,
    bare: Vec<(&'static str, Vec<Client>, Samples)>,
    rates: Samples,
    slowest: Samples,
    costs: Samples,
}

impl Way {
    fn new(
        setting: &Setting<'_>,
        connections: usize,
        tls: Option<&Tls>,
        bare: &[(&'static str, Bare<'_>)],
    ) -> Result<Self, String> {
        let exporter = Exporter::start_with(setting.binary, setting.stub, setting.folder, tls)?;
        let mut body_bytes = 0;
        let mut clients = Vec::new();
        // One after the other, each with its first response: the load is measured, not the opening.
        for _ in 0..connections {
            let mut client = exporter.client()?;
            body_bytes = client.get(PAGE)?.len();
            clients.push(client);
        }
        let mut beside = Vec::new();
        for (name, bare) in bare {
            let clients = bare.clients(connections, body_bytes)?;
            beside.push((*name, clients, Samples::default()));
        }
        Ok(Self {
            exporter,
            clients,
            is_encrypted: tls.is_some(),
            bare: beside,
            rates: Samples::default(),
            slowest: Samples::default(),
            costs: Samples::default(),
        })
    }

    fn measure(&mut self, time: Duration) -> Result<(), String> {
        let (begin, before) = (Instant::now(), self.exporter.cpu_time()?);
        let times = load(&mut self.clients, PAGE, time)?;
        let requests = times.len() as f64;
        self.rates.add(requests / begin.elapsed().as_secs_f64());
        self.slowest.add(times.quantile(0.99));
        let spent = self.exporter.cpu_time()?.saturating_sub(before);
        self.costs.add(spent.as_secs_f64() * 1e3 / requests);
        for (_, clients, rates) in &mut self.bare {
            rates.add(rate(clients, time / 4)?);
        }
        Ok(())
    }

    fn rows(&self, names: &Names, plain_rate: f64) -> [Row; 2] {
        let measured = self.rates.median();
        let mut note = format!(
            "{} runs, {} per second; CPU per request {:.3} ms",
            self.rates.len(),
            self.rates.range(),
            self.costs.median(),
        );
        for (name, _, rates) in &self.bare {
            let bare = rates.median();
            let _ = write!(
                note,
                "; {name} {bare:.0} per second, ratio {:.2}",
                measured / bare
            );
        }
        if self.is_encrypted {
            let _ = write!(note, "; of the plain row {:.2}", measured / plain_rate);
        }
        [
            Row {
                figure: names.requests,
                unit: Unit::PerSecond,
                measured,
                go: None,
                aim: Aim::Open,
                note,
            },
            Row {
                figure: names.slowest,
                unit: Unit::Milliseconds,
                measured: self.slowest.median(),
                go: None,
                aim: Aim::Open,
                note: format!("the runs' p99 {} ms", self.slowest.range()),
            },
        ]
    }
}

pub(crate) fn handshakes(setting: &Setting<'_>) -> Result<Vec<Row>, String> {
    let Some(tls) = setting.tls else {
        return Ok(Vec::new());
    };
    let exporter = Exporter::start_with(setting.binary, setting.stub, setting.folder, Some(tls))?;
    let count = setting.counts.handshakes;
    let bare_port = serve_handshakes(count, tls.clone())?;
    let (mut times, mut bares) = (Samples::default(), Samples::default());
    alternate(
        count,
        || timed(exporter.port(), tls, &mut times),
        || timed(bare_port, tls, &mut bares),
    )?;
    let one = Row {
        figure: "a full TLS handshake, with its connection",
        unit: Unit::Milliseconds,
        measured: times.median(),
        go: None,
        aim: Aim::Open,
        note: format!(
            "{} one after the other, p99 {:.3} ms; TLS 1.3, ECDSA with P-256; a bare thread with rustls, in \
             turns, {:.3} ms; the client's own work is in both",
            times.len(),
            times.quantile(0.99),
            bares.median(),
        ),
    };
    let many = handshakes_at_once(setting, &exporter, tls)?;
    let page = exporter.client()?.get("/metrics")?.to_owned();
    if !page.contains("\niperf3_exporter_handshakes_failed_total 0\n") {
        return Err("the exporter counted handshakes that failed".to_owned());
    }
    Ok(vec![one, many])
}

fn timed(port: u16, tls: &Tls, times: &mut Samples) -> Result<(), String> {
    let begin = Instant::now();
    let client = Client::connect(port, Some(tls))?;
    times.add_time(begin.elapsed());
    drop(client);
    Ok(())
}

/// From several clients at the same time: the limit of both processors.
fn handshakes_at_once(
    setting: &Setting<'_>,
    exporter: &Exporter,
    tls: &Tls,
) -> Result<Row, String> {
    const CLIENTS: u32 = 4;
    let each = setting.counts.handshakes;
    let (mut rates, mut costs) = (Samples::default(), Samples::default());
    for _ in 0..setting.counts.load_runs {
        let (begin, before) = (Instant::now(), exporter.cpu_time()?);
        thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|_| {
                    scope.spawn(|| {
                        (0..each)
                            .try_for_each(|_| Client::connect(exporter.port(), Some(tls)).map(drop))
                    })
                })
                .collect();
            clients
                .into_iter()
                .try_for_each(|client| client.join().map_err(|_| "a client ended".to_owned())?)
        })?;
        let count = f64::from(CLIENTS * each);
        rates.add(count / begin.elapsed().as_secs_f64());
        let spent = exporter.cpu_time()?.saturating_sub(before);
        costs.add(spent.as_secs_f64() * 1e3 / count);
    }
    Ok(Row {
        figure: "full TLS handshakes, 4 clients at once",
        unit: Unit::PerSecond,
        measured: rates.median(),
        go: None,
        aim: Aim::Open,
        note: format!(
            "{} runs of {} each, {} per second; CPU per handshake {:.3} ms; the clients are on the same processors",
            rates.len(),
            CLIENTS * each,
            rates.range(),
            costs.median(),
        ),
    })
}

pub(crate) fn memory(setting: &Setting<'_>) -> Result<Vec<Row>, String> {
    let Some(tls) = setting.tls else {
        return Ok(Vec::new());
    };
    let exporter = Exporter::start_with(setting.binary, setting.stub, setting.folder, Some(tls))?;
    let idle = exporter.memory_mib("VmRSS")?;
    let (own, file) = (
        exporter.memory_mib("RssAnon")?,
        exporter.memory_mib("RssFile")?,
    );
    exporter.client()?.get(PAGE)?;
    let used = exporter.memory_mib("VmRSS")?;
    Ok(vec![Row {
        figure: "resident memory, idle, TLS configured",
        unit: Unit::Mebibytes,
        measured: idle,
        go: None,
        aim: Aim::AtMost(3.0),
        note: format!(
            "{own:.2} MiB its own, {file:.2} MiB of files; after the first answer through TLS {used:.2} MiB; the aim is a \
             static binary's"
        ),
    }])
}

pub(crate) fn idle_connections(setting: &Setting<'_>) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for (figure, tls) in [
        ("resident memory, 256 idle connections", None),
        ("resident memory, 256 idle connections, TLS", setting.tls),
    ] {
        if rows.is_empty() || tls.is_some() {
            rows.push(idle_row(setting, figure, tls)?);
        }
    }
    Ok(rows)
}

fn idle_row(setting: &Setting<'_>, figure: &'static str, tls: Option<&Tls>) -> Result<Row, String> {
    /// The default of `--web.max-connections`.
    const CONNECTIONS: u16 = 256;
    let exporter = Exporter::start_with(setting.binary, setting.stub, setting.folder, tls)?;
    let before = exporter.memory_mib("VmRSS")?;
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut client = exporter.client()?;
        client.get(PAGE)?;
        clients.push(client);
    }
    let idle = exporter.memory_mib("VmRSS")?;
    let own = exporter.memory_mib("RssAnon")?;
    let each_kib = (idle - before) * 1024.0 / f64::from(CONNECTIONS);
    // None was closed to make room: each still gets a response.
    for client in &mut clients {
        client.get(PAGE)?;
    }
    drop(clients);
    Ok(Row {
        figure,
        unit: Unit::Mebibytes,
        measured: idle,
        go: None,
        aim: Aim::Open,
        note: format!(
            "{own:.2} MiB its own; {before:.2} MiB before, so {each_kib:.1} KiB a connection; each has had an answer, \
             and still answers"
        ),
    })
}
