//! The exporter's own families: what it did, and what that cost.
//!
//! Counts behind one mutex and not in atomics: a scrape shows all of one moment, and the smallest routers have no
//! 64-bit atomics.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use super::process;
use super::text::{Family, Kind, Label, Sample};
use crate::iperf3::Outcome;
use crate::iperf3::reason::Reason;
use crate::iperf3::report::Report;
use crate::probe::lock::GaveUp;
use crate::sync;
use crate::web::gate::Closed;

/// Upper bounds of `iperf3_exporter_lock_wait_seconds`: from "at once" to twice the default `--lock.timeout`, with
/// the usual lengths of a test between.
const WAIT_BOUNDS_SECONDS: [f64; 9] = [0.01, 0.1, 1.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0];

/// The outcome label of a test that succeeded.
const SUCCESS: &str = "success";

/// Name, help and type of each family, in the order in which they are written.
pub(crate) const ROWS: [(&str, &str, Kind); 14] = [
    (
        "iperf3_exporter_duration_seconds",
        "Duration of probes, waiting for the test lock included.",
        Kind::Summary,
    ),
    (
        "iperf3_exporter_errors_total",
        "Probes that failed or were refused.",
        Kind::Counter,
    ),
    (
        "iperf3_exporter_build_info",
        "The exporter's version, the revision it was built from and the compiler; the value is 1.",
        Kind::Gauge,
    ),
    (
        "iperf3_exporter_iperf3_info",
        "The version of the iperf3 binary; the value is 1.",
        Kind::Gauge,
    ),
    (
        "iperf3_exporter_probes_total",
        "Probes by outcome: success, a failure reason, or why no test was run.",
        Kind::Counter,
    ),
    (
        "iperf3_exporter_lock_held",
        "Whether a test holds the test lock.",
        Kind::Gauge,
    ),
    (
        "iperf3_exporter_lock_waiters",
        "Probes that wait for the test lock.",
        Kind::Gauge,
    ),
    (
        "iperf3_exporter_lock_wait_seconds",
        "Time that probes waited for the test lock until they had it or gave up.",
        Kind::Histogram,
    ),
    (
        "iperf3_exporter_test_bytes_total",
        "Payload of successful tests, by direction: what was sent up, and what arrived down.",
        Kind::Counter,
    ),
    (
        "iperf3_exporter_http_requests_total",
        "Answered requests by path and status code.",
        Kind::Counter,
    ),
    (
        "iperf3_exporter_connections",
        "Open connections.",
        Kind::Gauge,
    ),
    (
        "iperf3_exporter_connections_closed_total",
        "Connections that ended, by cause.",
        Kind::Counter,
    ),
    (
        "iperf3_exporter_requests_in_work",
        "Requests that are being worked on.",
        Kind::Gauge,
    ),
    (
        "iperf3_exporter_panics_total",
        "Workers that panicked; each cost its own request.",
        Kind::Counter,
    ),
];

/// Why a probe was not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotRun {
    /// It gave up waiting for the lock.
    Waiting(GaveUp),
    /// Its parameters were refused.
    BadRequest,
    /// Its target is not allowed.
    NotAllowed,
}

impl NotRun {
    /// Each with its outcome label.
    const ALL: [(Self, &'static str); 5] = [
        (Self::Waiting(GaveUp::WaitedTooLong), "lock_timeout"),
        (Self::Waiting(GaveUp::NoTimeLeft), "no_time_left"),
        (Self::Waiting(GaveUp::Cancelled), "cancelled"),
        (Self::BadRequest, "bad_request"),
        (Self::NotAllowed, "not_allowed"),
    ];
}

/// Every outcome label, in the order in which they are written.
pub(crate) fn outcomes() -> impl Iterator<Item = &'static str> {
    let reasons = Reason::ALL.iter().map(|(_, label, _)| *label);
    let not_run = NotRun::ALL.iter().map(|(_, label)| *label);
    std::iter::once(SUCCESS).chain(reasons).chain(not_run)
}

/// What the exporter counts.
#[derive(Debug)]
pub(crate) struct Own {
    counts: Mutex<Counts>,
    /// When this process started, in seconds since 1970.
    started: Option<f64>,
}

#[derive(Debug, Default)]
struct Counts {
    durations: (f64, u64),
    errors: u64,
    probes: BTreeMap<&'static str, u64>,
    waits_below: [u64; WAIT_BOUNDS_SECONDS.len()],
    waits: (f64, u64),
    bytes_up: f64,
    bytes_down: f64,
    requests: BTreeMap<(String, u16), u64>,
    closed: BTreeMap<&'static str, u64>,
    panics: u64,
}

impl Counts {
    fn wait(&mut self, waited: Duration) {
        let seconds = waited.as_secs_f64();
        for (below, bound) in self.waits_below.iter_mut().zip(WAIT_BOUNDS_SECONDS) {
            *below += u64::from(seconds <= bound);
        }
        self.waits.0 += seconds;
        self.waits.1 += 1;
    }

    fn outcome(&mut self, label: &'static str) {
        *self.probes.entry(label).or_default() += 1;
        self.errors += u64::from(label != SUCCESS);
    }
}

/// What is not counted but looked up for a scrape.
#[derive(Debug)]
pub(crate) struct Now {
    /// iperf3's version, where there is one.
    pub(crate) iperf3_version: Option<String>,
    /// Whether a test runs.
    pub(crate) lock_held: bool,
    /// Probes in the queue.
    pub(crate) lock_waiters: usize,
    /// Open connections.
    pub(crate) connections: usize,
    /// Requests in work.
    pub(crate) requests_in_work: usize,
}

impl Own {
    /// Nothing counted yet.
    pub(crate) fn new() -> Self {
        Self {
            counts: Mutex::default(),
            started: process::start_time_seconds(),
        }
    }

    /// A probe that was run.
    pub(crate) fn probe_ran(&self, outcome: &Outcome, duration: Duration, waited: Duration) {
        let mut counts = sync::lock(&self.counts);
        counts.durations.0 += duration.as_secs_f64();
        counts.durations.1 += 1;
        counts.wait(waited);
        match outcome {
            Ok(report) => {
                counts.outcome(SUCCESS);
                let (up, down) = payload(report);
                counts.bytes_up += up;
                counts.bytes_down += down;
            }
            Err(failure) => counts.outcome(failure.reason.label()),
        }
    }

    /// A probe that waited and was not run.
    pub(crate) fn probe_gave_up(&self, why: GaveUp, waited: Duration) {
        sync::lock(&self.counts).wait(waited);
        self.probe_refused(NotRun::Waiting(why));
    }

    /// A probe that was not run.
    pub(crate) fn probe_refused(&self, why: NotRun) {
        let label = NotRun::ALL
            .iter()
            .find_map(|(known, label)| (*known == why).then_some(*label));
        if let Some(label) = label {
            sync::lock(&self.counts).outcome(label);
        }
    }

    /// An answered request of a known path.
    pub(crate) fn request(&self, path: &str, code: u16) {
        let mut counts = sync::lock(&self.counts);
        // The paths are those of the table and the codes our own: the map stays small.
        *counts.requests.entry((path.to_owned(), code)).or_default() += 1;
    }

    /// A connection that ended.
    pub(crate) fn connection_closed(&self, cause: &'static str) {
        *sync::lock(&self.counts).closed.entry(cause).or_default() += 1;
    }

    /// A worker that panicked.
    pub(crate) fn panicked(&self) {
        sync::lock(&self.counts).panics += 1;
    }

    /// All of the exporter's own families, those of the process included.
    pub(crate) fn families(&self, now: &Now) -> Vec<Family> {
        let counts = sync::lock(&self.counts);
        let plain = |value: f64| vec![Sample::new(Vec::new(), value)];
        let samples: [Vec<Sample>; ROWS.len()] = [
            sum_and_count(counts.durations),
            plain(counts.errors as f64),
            vec![Sample::new(build_labels(), 1.0)],
            now.iperf3_version
                .iter()
                .map(|version| Sample::new(vec![("version", version.clone())], 1.0))
                .collect(),
            labelled("outcome", outcomes(), &counts.probes),
            plain(f64::from(u8::from(now.lock_held))),
            plain(now.lock_waiters as f64),
            waits(&counts),
            vec![
                Sample::new(vec![("direction", "upload".to_owned())], counts.bytes_up),
                Sample::new(
                    vec![("direction", "download".to_owned())],
                    counts.bytes_down,
                ),
            ],
            counts
                .requests
                .iter()
                .map(|((path, code), count)| {
                    let labels = vec![("path", path.clone()), ("code", code.to_string())];
                    Sample::new(labels, *count as f64)
                })
                .collect(),
            plain(now.connections as f64),
            labelled(
                "cause",
                Closed::ALL.iter().map(|(_, label)| *label),
                &counts.closed,
            ),
            plain(now.requests_in_work as f64),
            plain(counts.panics as f64),
        ];
        drop(counts);
        let own = ROWS
            .iter()
            .zip(samples)
            .map(|((name, help, kind), samples)| Family {
                name,
                help,
                kind: *kind,
                samples,
            });
        own.chain(process::families(self.started)).collect()
    }
}

/// Bytes that a test sent up, and that came down.
fn payload(report: &Report) -> (f64, f64) {
    let up = report.upload.as_ref().and_then(|way| way.sent.bytes);
    let down = report.download.as_ref().and_then(|way| way.received.bytes);
    (up.unwrap_or(0.0), down.unwrap_or(0.0))
}

fn build_labels() -> Vec<Label> {
    vec![
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("revision", env!("EXPORTER_REVISION").to_owned()),
        ("rustc", env!("EXPORTER_RUSTC").to_owned()),
    ]
}

/// A sample for each value of a label, those that were never counted too.
fn labelled(
    name: &'static str,
    values: impl Iterator<Item = &'static str>,
    counts: &BTreeMap<&'static str, u64>,
) -> Vec<Sample> {
    let sample = |value: &'static str| {
        let count = counts.get(value).copied().unwrap_or_default();
        Sample::new(vec![(name, value.to_owned())], count as f64)
    };
    values.map(sample).collect()
}

fn sum_and_count((sum, count): (f64, u64)) -> Vec<Sample> {
    let sample = |suffix, value| Sample {
        suffix,
        labels: Vec::new(),
        value,
    };
    vec![sample("_sum", sum), sample("_count", count as f64)]
}

fn waits(counts: &Counts) -> Vec<Sample> {
    let bucket = |bound: String, count: u64| Sample {
        suffix: "_bucket",
        labels: vec![("le", bound)],
        value: count as f64,
    };
    let below = WAIT_BOUNDS_SECONDS.iter().zip(counts.waits_below);
    below
        .map(|(bound, count)| bucket(bound.to_string(), count))
        .chain([bucket("+Inf".to_owned(), counts.waits.1)])
        .chain(sum_and_count(counts.waits))
        .collect()
}

/// The families of the process, for the documentation.
#[cfg(test)]
pub(crate) fn process_rows() -> impl Iterator<Item = (&'static str, &'static str, Kind)> {
    process::ROWS
        .iter()
        .map(|(name, help, kind, _)| (*name, *help, *kind))
}
