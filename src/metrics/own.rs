//! The exporter's own families: what it did, and what that cost.
//!
//! Counts behind one mutex and not in atomics: a scrape shows all of one moment, and the smallest routers have no
//! 64-bit atomics.

use std::sync::Mutex;
use std::time::Duration;

use super::process::Proc;
use super::text::{Kind, Text};
use crate::http::Closed;
use crate::iperf3::reason::Reason;
use crate::iperf3::{Cost, Outcome};
use crate::probe::lock::WaitError;
use crate::probe::result_cache;
use crate::sync;

/// Upper bounds of `iperf3_exporter_lock_wait_seconds`: from "at once" to twice the default `--lock.timeout`, with
/// the usual lengths of a test between.
const WAIT_BOUNDS_SECONDS: [f64; 9] = [0.01, 0.1, 1.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0];

/// The outcome label of a probe whose test runs on.
const RUNNING: &str = "running";
/// The outcome label of a test that succeeded.
const SUCCESS: &str = "success";

/// One family.
pub(crate) struct Row {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its help.
    pub(crate) help: &'static str,
    /// Its type.
    pub(crate) kind: Kind,
    /// Writes its samples.
    write: fn(&mut Text, &Scene<'_>),
}

/// What the rows write from.
struct Scene<'a> {
    counts: &'a Counts,
    now: &'a Now,
}

/// All families, in the order in which they are written.
pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "iperf3_exporter_duration_seconds",
        help: "Duration of probes, waiting for the test lock included.",
        kind: Kind::Summary,
        write: |text, scene| sum_and_count(text, scene.counts.durations),
    },
    Row {
        name: "iperf3_exporter_errors_total",
        help: "Probes that failed or were refused.",
        kind: Kind::Counter,
        write: |text, scene| text.plain(Some(scene.counts.errors as f64)),
    },
    Row {
        name: "iperf3_exporter_build_info",
        help: "The exporter's version, the revision it was built from and the compiler; the value is 1.",
        kind: Kind::Gauge,
        write: |text, _| {
            let labels = [
                ("version", env!("CARGO_PKG_VERSION")),
                ("revision", env!("EXPORTER_REVISION")),
                ("rustc", env!("EXPORTER_RUSTC")),
            ];
            text.sample("", &labels, 1.0);
        },
    },
    Row {
        name: "iperf3_exporter_iperf3_info",
        help: "The version of the iperf3 binary, and what it has of all that depends on version or build; the value is 1.",
        kind: Kind::Gauge,
        write: |text, scene| {
            if let Some(version) = &scene.now.iperf3_version {
                let mut labels = vec![("version", version.as_str())];
                let features = scene.now.iperf3_features.as_deref();
                labels.extend(features.map(|features| ("features", features)));
                text.sample("", &labels, 1.0);
            }
        },
    },
    Row {
        name: "iperf3_exporter_probes_total",
        help: "Probes by outcome: success, a failure reason, or why no test was run.",
        kind: Kind::Counter,
        write: |text, scene| scene.counts.probes.write(text, "outcome", outcomes()),
    },
    Row {
        name: "iperf3_exporter_lock_held",
        help: "Whether a test holds the test lock.",
        kind: Kind::Gauge,
        write: |text, scene| text.plain(Some(f64::from(u8::from(scene.now.lock_held)))),
    },
    Row {
        name: "iperf3_exporter_lock_waiters",
        help: "Probes that wait for the test lock.",
        kind: Kind::Gauge,
        write: |text, scene| text.plain(Some(scene.now.lock_waiters as f64)),
    },
    Row {
        name: "iperf3_exporter_lock_wait_seconds",
        help: "Time that probes waited for the test lock until they had it or gave up.",
        kind: Kind::Histogram,
        write: |text, scene| waits(text, scene.counts),
    },
    Row {
        name: "iperf3_exporter_test_bytes_total",
        help: "Payload of all tests, by direction: what was sent up, and what arrived down, as far as iperf3 said.",
        kind: Kind::Counter,
        write: |text, scene| {
            text.sample("", &[("direction", "upload")], scene.counts.bytes_up);
            text.sample("", &[("direction", "download")], scene.counts.bytes_down);
        },
    },
    Row {
        name: "iperf3_exporter_test_bytes_today",
        help: "Payload of the tests of this UTC day, both directions together, as far as iperf3 said.",
        kind: Kind::Gauge,
        write: |text, scene| text.plain(Some(scene.now.bytes_today)),
    },
    Row {
        name: "iperf3_exporter_test_bytes_per_day_limit",
        help: "The budget of --probe.max-bytes-per-day; absent without one.",
        kind: Kind::Gauge,
        write: |text, scene| text.plain(scene.now.bytes_per_day.map(|bytes| bytes as f64)),
    },
    Row {
        name: "iperf3_exporter_retries_total",
        help: "Runs of iperf3 that followed another one of the same test: the server, or a port of it, was busy or closed.",
        kind: Kind::Counter,
        write: |text, scene| text.plain(Some(scene.counts.retries as f64)),
    },
    Row {
        name: "iperf3_exporter_results_reused_total",
        help: "Probes with max_age that were answered with the result of another one's test.",
        kind: Kind::Counter,
        write: |text, scene| text.plain(Some(scene.counts.reused as f64)),
    },
    Row {
        name: "iperf3_exporter_stored_results",
        help: "Results that are kept for probes with max_age.",
        kind: Kind::Gauge,
        write: |text, scene| text.plain(Some(scene.now.stored_results as f64)),
    },
    Row {
        name: "iperf3_exporter_stored_results_limit",
        help: "Most results that are kept; the one that was not asked for longest makes room.",
        kind: Kind::Gauge,
        write: |text, _| text.plain(Some(result_cache::MOST as f64)),
    },
    Row {
        name: "iperf3_exporter_http_requests_total",
        help: "Answered requests by path and status code.",
        kind: Kind::Counter,
        write: |text, scene| {
            for (path, code, count) in &scene.counts.requests {
                let labels = [("path", path.as_str()), ("code", &code.to_string())];
                text.sample("", &labels, *count as f64);
            }
        },
    },
    Row {
        name: "iperf3_exporter_connections",
        help: "Open connections.",
        kind: Kind::Gauge,
        write: |text, scene| text.plain(Some(scene.now.connections as f64)),
    },
    Row {
        name: "iperf3_exporter_connections_limit",
        help: "Most connections at a time: --web.max-connections, or what the descriptors allow when that is less.",
        kind: Kind::Gauge,
        write: |text, scene| text.plain(Some(scene.now.connections_limit as f64)),
    },
    Row {
        name: "iperf3_exporter_connections_closed_total",
        help: "Connections that ended, by cause.",
        kind: Kind::Counter,
        write: |text, scene| {
            let causes = Closed::ALL.iter().map(|(_, label)| *label);
            scene.counts.closed.write(text, "cause", causes);
        },
    },
    Row {
        name: "iperf3_exporter_handshakes_failed_total",
        help: "TLS handshakes that failed; connections that were closed before they said anything do not count.",
        kind: Kind::Counter,
        write: |text, scene| text.plain(Some(scene.counts.handshakes_failed as f64)),
    },
    Row {
        name: "iperf3_exporter_auth_failures_total",
        help: "Requests with a wrong user or password.",
        kind: Kind::Counter,
        write: |text, scene| text.plain(Some(scene.counts.auth_failures as f64)),
    },
    Row {
        name: "iperf3_exporter_rate_limited_total",
        help: "Requests that the rate limit refused.",
        kind: Kind::Counter,
        write: |text, scene| text.plain(Some(scene.counts.rate_limited as f64)),
    },
    Row {
        name: "iperf3_exporter_requests_in_work",
        help: "Requests that are being worked on.",
        kind: Kind::Gauge,
        write: |text, scene| text.plain(Some(scene.now.requests_in_work as f64)),
    },
    Row {
        name: "iperf3_exporter_panics_total",
        help: "Workers that panicked; each cost its own request.",
        kind: Kind::Counter,
        write: |text, scene| text.plain(Some(scene.counts.panics as f64)),
    },
];

/// Why a probe was not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotRun {
    /// It gave up waiting for the lock.
    Waiting(WaitError),
    /// Its parameters were refused.
    BadRequest,
    /// Its target is not allowed.
    NotAllowed,
}

impl NotRun {
    /// Each with its outcome label.
    const ALL: [(Self, &'static str); 8] = [
        (Self::Waiting(WaitError::WaitedTooLong), "lock_timeout"),
        (Self::Waiting(WaitError::NoTimeLeft), "no_time_left"),
        (Self::Waiting(WaitError::Cancelled), "cancelled"),
        (Self::Waiting(WaitError::Running), RUNNING),
        (Self::Waiting(WaitError::Full), "full"),
        (Self::Waiting(WaitError::Broken), "broken"),
        (Self::BadRequest, "bad_request"),
        (Self::NotAllowed, "not_allowed"),
    ];

    /// Its outcome label.
    pub(crate) fn label(self) -> &'static str {
        let own = Self::ALL.iter().find(|(known, _)| *known == self);
        own.map_or("", |(_, label)| label)
    }
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
    proc: Proc,
}

#[derive(Debug, Default)]
struct Counts {
    durations: (f64, u64),
    errors: u64,
    probes: Labelled,
    waits_below: [u64; WAIT_BOUNDS_SECONDS.len()],
    waits: (f64, u64),
    bytes_up: f64,
    bytes_down: f64,
    /// In the order of paths and codes.
    requests: Vec<(String, u16, u64)>,
    closed: Labelled,
    handshakes_failed: u64,
    auth_failures: u64,
    rate_limited: u64,
    panics: u64,
    retries: u64,
    reused: u64,
}

/// Counts by the value of a label: a few, so that looking through them is no matter.
#[derive(Debug, Default)]
struct Labelled(Vec<(&'static str, u64)>);

impl Labelled {
    fn count(&mut self, value: &'static str) {
        match self.0.iter_mut().find(|(known, _)| *known == value) {
            Some((_, count)) => *count += 1,
            None => self.0.push((value, 1)),
        }
    }

    /// A sample for each of `values`, those that were never counted too.
    fn write(&self, text: &mut Text, name: &str, values: impl Iterator<Item = &'static str>) {
        for value in values {
            let known = self.0.iter().find(|(known, _)| *known == value);
            let count = known.map_or(0, |(_, count)| *count);
            text.sample("", &[(name, value)], count as f64);
        }
    }
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
        self.probes.count(label);
        // That a test still runs is no error.
        self.errors += u64::from(label != SUCCESS && label != RUNNING);
    }
}

/// What is not counted but looked up for a scrape.
#[derive(Debug)]
pub(crate) struct Now {
    /// iperf3's version, where there is one.
    pub(crate) iperf3_version: Option<String>,
    /// What it can do, separated by commas, where that is known.
    pub(crate) iperf3_features: Option<String>,
    /// Whether a test runs.
    pub(crate) lock_held: bool,
    /// Probes in the queue.
    pub(crate) lock_waiters: usize,
    /// Open connections.
    pub(crate) connections: usize,
    /// Most connections.
    pub(crate) connections_limit: usize,
    /// Requests in work.
    pub(crate) requests_in_work: usize,
    /// What the tests of this day cost.
    pub(crate) bytes_today: f64,
    /// What they may cost.
    pub(crate) bytes_per_day: Option<u64>,
    /// Results that are kept.
    pub(crate) stored_results: usize,
}

impl Own {
    /// Nothing counted yet.
    pub(crate) fn new() -> Self {
        Self {
            counts: Mutex::default(),
            proc: Proc::open(),
        }
    }

    /// A probe that was run.
    pub(crate) fn probe_ran(&self, outcome: &Outcome, duration: Duration, waited: Duration) {
        let mut counts = sync::lock(&self.counts);
        counts.durations.0 += duration.as_secs_f64();
        counts.durations.1 += 1;
        counts.wait(waited);
        match outcome {
            Ok(_) => counts.outcome(SUCCESS),
            Err(failure) => counts.outcome(failure.reason.label()),
        }
    }

    /// A run of iperf3.
    pub(crate) fn test_ran(&self, cost: Cost) {
        let mut counts = sync::lock(&self.counts);
        counts.bytes_up += cost.upload;
        counts.bytes_down += cost.download;
    }

    /// An attempt that found the server busy, and is followed by another one.
    pub(crate) fn retried(&self) {
        sync::lock(&self.counts).retries += 1;
    }

    /// A probe that was answered with the result of another one's test.
    pub(crate) fn result_reused(&self) {
        sync::lock(&self.counts).reused += 1;
    }

    /// A probe that was not answered with a result, and how long it stood in line, if it did.
    pub(crate) fn probe_gave_up(&self, why: WaitError, waited: Option<Duration>) {
        if let Some(waited) = waited {
            sync::lock(&self.counts).wait(waited);
        }
        self.probe_refused(NotRun::Waiting(why));
    }

    /// A probe that was not run.
    pub(crate) fn probe_refused(&self, why: NotRun) {
        sync::lock(&self.counts).outcome(why.label());
    }

    /// An answered request of a known path.
    pub(crate) fn request(&self, path: &str, code: u16) {
        let mut counts = sync::lock(&self.counts);
        // The paths are those of the table and the codes our own: the map stays small.
        let requests = &mut counts.requests;
        let at = requests.partition_point(|(known, own, _)| (known.as_str(), *own) < (path, code));
        match requests.get_mut(at) {
            Some((known, own, count)) if known == path && *own == code => *count += 1,
            _ => requests.insert(at, (path.to_owned(), code, 1)),
        }
    }

    /// A connection that ended.
    pub(crate) fn connection_closed(&self, cause: &'static str) {
        sync::lock(&self.counts).closed.count(cause);
    }

    /// A TLS handshake that failed.
    pub(crate) fn handshake_failed(&self) {
        sync::lock(&self.counts).handshakes_failed += 1;
    }

    /// A wrong user or password.
    pub(crate) fn auth_failed(&self) {
        sync::lock(&self.counts).auth_failures += 1;
    }

    /// A request beyond the rate limit.
    pub(crate) fn rate_limited(&self) {
        sync::lock(&self.counts).rate_limited += 1;
    }

    /// A worker that panicked.
    pub(crate) fn panicked(&self) {
        sync::lock(&self.counts).panics += 1;
    }

    /// The text of all own families, those of the process included.
    pub(crate) fn text(&self, now: &Now) -> String {
        let mut text = Text::new();
        let counts = sync::lock(&self.counts);
        let scene = Scene {
            counts: &counts,
            now,
        };
        for row in ROWS {
            text.family(row.name, row.help, row.kind);
            (row.write)(&mut text, &scene);
        }
        drop(counts);
        self.proc.write(&mut text);
        text.into_string()
    }
}

fn sum_and_count(text: &mut Text, (sum, count): (f64, u64)) {
    text.sample("_sum", &[], sum);
    text.sample("_count", &[], count as f64);
}

fn waits(text: &mut Text, counts: &Counts) {
    for (bound, below) in WAIT_BOUNDS_SECONDS.iter().zip(counts.waits_below) {
        text.sample("_bucket", &[("le", &bound.to_string())], below as f64);
    }
    text.sample("_bucket", &[("le", "+Inf")], counts.waits.1 as f64);
    sum_and_count(text, counts.waits);
}

/// The families of the process, for the documentation.
#[cfg(test)]
pub(crate) fn process_rows() -> impl Iterator<Item = (&'static str, &'static str, Kind)> {
    super::process::ROWS
        .iter()
        .map(|(name, help, kind, _)| (*name, *help, *kind))
}
