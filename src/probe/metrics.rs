//! The engine's counters, and its families on `/metrics`.
//!
//! One mutex guards all counts, instead of atomics: a scrape sees one consistent snapshot, and the smallest routers
//! have no 64-bit atomics.

use std::sync::Mutex;
use std::time::Duration;

use super::lock::Status;
use super::result_cache;
use super::wait_error::WaitError;
use crate::iperf3::progress::Seen;
use crate::iperf3::reason::Reason;
use crate::iperf3::{Cost, Outcome};
use crate::metrics::text::{Family, Kind, Labelled, Text};
use crate::sync;

/// Upper bounds of `iperf3_exporter_lock_wait_seconds`: from "at once" to twice the default `--lock.timeout`, with
/// typical test durations in between.
const WAIT_BOUNDS_SECONDS: [f64; 9] = [0.01, 0.1, 1.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0];

/// The outcome label of a test that succeeded.
const SUCCESS: &str = "success";
/// The outcome label of a probe with invalid parameters or an invalid scrape header.
pub(super) const BAD_REQUEST: &str = "bad_request";
/// The outcome label of a probe whose target is not allowed.
pub(super) const NOT_ALLOWED: &str = "not_allowed";

/// The families, in output order.
pub(crate) const FAMILIES: &[Family<Snapshot>] = &[
    Family {
        name: "iperf3_exporter_duration_seconds",
        help: "Duration of probes, including the wait for the test lock.",
        kind: Kind::Summary,
        write: |text, look| sum_and_count(text, look.counts.durations),
    },
    Family {
        name: "iperf3_exporter_errors_total",
        help: "Probes that failed or were refused.",
        kind: Kind::Counter,
        write: |text, look| text.plain(Some(look.counts.errors as f64)),
    },
    Family {
        name: "iperf3_exporter_iperf3_info",
        help: "Version of the iperf3 binary and its optional features. The value is 1.",
        kind: Kind::Gauge,
        write: |text, look| {
            if let Some(version) = &look.iperf3_version {
                let mut labels = vec![("version", version.as_str())];
                let features = look.iperf3_features.as_deref();
                labels.extend(features.map(|features| ("features", features)));
                text.sample("", &labels, 1.0);
            }
        },
    },
    Family {
        name: "iperf3_exporter_probes_total",
        help: "Probes by outcome: success, a failure reason, or why no test was run.",
        kind: Kind::Counter,
        write: |text, look| look.counts.probes.write(text, "outcome", outcomes()),
    },
    Family {
        name: "iperf3_exporter_lock_held",
        help: "Whether a test holds the test lock.",
        kind: Kind::Gauge,
        write: |text, look| text.plain(Some(f64::from(u8::from(look.lock.holder.is_some())))),
    },
    Family {
        name: "iperf3_exporter_lock_waiters",
        help: "Probes waiting for the test lock.",
        kind: Kind::Gauge,
        write: |text, look| text.plain(Some(look.lock.queue.len() as f64)),
    },
    Family {
        name: "iperf3_exporter_lock_wait_seconds",
        help: "Time that probes waited for the test lock until they got it or gave up.",
        kind: Kind::Histogram,
        write: |text, look| waits(text, &look.counts),
    },
    Family {
        name: "iperf3_exporter_test_bytes_total",
        help: "Payload bytes of all tests by direction, as far as iperf3 reported them: sent in uploads, received \
               in downloads. It grows when a run of iperf3 ends.",
        kind: Kind::Counter,
        write: |text, look| {
            text.sample("", &[("direction", "upload")], look.counts.bytes_up);
            text.sample("", &[("direction", "download")], look.counts.bytes_down);
        },
    },
    Family {
        name: "iperf3_exporter_test_bytes_today",
        help: "Payload bytes of today's tests (UTC), both directions together, as far as iperf3 reported them. It \
               grows while iperf3 runs if iperf3 streams intervals, and otherwise when the run ends.",
        kind: Kind::Gauge,
        write: |text, look| text.plain(Some(look.bytes_today)),
    },
    Family {
        name: "iperf3_exporter_test_bytes_per_day_limit",
        help: "Daily budget of payload bytes, set by --probe.max-bytes-per-day. Absent without one.",
        kind: Kind::Gauge,
        write: |text, look| text.plain(look.bytes_per_day.map(|bytes| bytes as f64)),
    },
    Family {
        name: "iperf3_exporter_test_running_bandwidth_bytes_per_second",
        help: "Payload bytes per second of the running test by direction, as the client counts them. It is the mean \
               of whole intervals in the last 15 seconds, or the last interval if that is longer. Absent when no test runs, or when iperf3 does not \
               stream intervals.",
        kind: Kind::Gauge,
        write: |text, look| {
            let Some(test) = &look.running else { return };
            for (name, direction) in ["upload", "download"]
                .into_iter()
                .zip(test.seen.directions())
            {
                let rate = direction.and_then(|direction| direction.recent_bytes_per_second);
                let [target, port] = test.labels();
                text.labelled(&[target, port, ("direction", name)], rate);
            }
        },
    },
    Family {
        name: "iperf3_exporter_test_running_seconds",
        help: "Elapsed time of the running test. Absent when no test runs.",
        kind: Kind::Gauge,
        write: |text, look| {
            let Some(test) = &look.running else { return };
            let is_started = test.seen.started.is_some();
            let seconds = is_started.then(|| test.seen.elapsed().as_secs_f64());
            text.labelled(&test.labels(), seconds);
        },
    },
    Family {
        name: "iperf3_exporter_test_running_length_seconds",
        help: "Planned duration of the running test, including omitted seconds. Absent when no test runs, and when \
               the test ends after a number of bytes without a bitrate.",
        kind: Kind::Gauge,
        write: |text, look| {
            let Some(test) = &look.running else { return };
            let seconds = test.seen.length.map(|length| length.as_secs_f64());
            text.labelled(&test.labels(), seconds);
        },
    },
    Family {
        name: "iperf3_exporter_retries_total",
        help: "Repeated runs of iperf3 for the same test, because the server, a port or an address was busy or \
               closed.",
        kind: Kind::Counter,
        write: |text, look| text.plain(Some(look.counts.retries as f64)),
    },
    Family {
        name: "iperf3_exporter_results_reused_total",
        help: "Probes with max_age that were answered with the result of another probe's test.",
        kind: Kind::Counter,
        write: |text, look| text.plain(Some(look.counts.reused as f64)),
    },
    Family {
        name: "iperf3_exporter_stored_results",
        help: "Results stored for probes with max_age.",
        kind: Kind::Gauge,
        write: |text, look| text.plain(Some(look.stored_results as f64)),
    },
    Family {
        name: "iperf3_exporter_stored_results_limit",
        help: "Maximum number of stored results. Above it the least recently requested result is removed.",
        kind: Kind::Gauge,
        write: |text, _| text.plain(Some(result_cache::MAX_RESULTS as f64)),
    },
];

/// All outcome labels, in output order.
fn outcomes() -> impl Iterator<Item = &'static str> {
    let reasons = Reason::ALL.iter().map(|(_, label, _)| *label);
    let outcomes = std::iter::once(SUCCESS).chain(reasons);
    outcomes
        .chain(WaitError::LABELS)
        .chain([BAD_REQUEST, NOT_ALLOWED])
}

#[derive(Debug, Default)]
pub(super) struct Metrics {
    counts: Mutex<Counts>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    durations: (f64, u64),
    errors: u64,
    probes: Labelled,
    waits_below: [u64; WAIT_BOUNDS_SECONDS.len()],
    waits: (f64, u64),
    bytes_up: f64,
    bytes_down: f64,
    retries: u64,
    reused: u64,
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
        // A test that is still running is not an error.
        self.errors += u64::from(![SUCCESS, WaitError::Running.label()].contains(&label));
    }
}

/// Snapshot from which the families are written.
pub(crate) struct Snapshot {
    pub(super) counts: Counts,
    pub(super) iperf3_version: Option<String>,
    /// The optional features of iperf3, separated by commas, if known.
    pub(super) iperf3_features: Option<String>,
    pub(super) lock: Status,
    /// The test of the lock holder: at most one runs at a time.
    pub(super) running: Option<RunningTest>,
    pub(super) bytes_today: f64,
    pub(super) bytes_per_day: Option<u64>,
    pub(super) stored_results: usize,
}

/// A running test, and what it has measured so far.
pub(super) struct RunningTest {
    pub(super) host: String,
    pub(super) port: String,
    pub(super) seen: Seen,
}

impl RunningTest {
    fn labels(&self) -> [(&str, &str); 2] {
        [("target", &self.host), ("port", &self.port)]
    }
}

impl Metrics {
    pub(super) fn counts(&self) -> Counts {
        sync::lock(&self.counts).clone()
    }

    pub(super) fn probe_ran(&self, outcome: &Outcome, duration: Duration, waited: Duration) {
        let mut counts = sync::lock(&self.counts);
        counts.durations.0 += duration.as_secs_f64();
        counts.durations.1 += 1;
        counts.wait(waited);
        match outcome {
            Ok(_) => counts.outcome(SUCCESS),
            Err(failure) => counts.outcome(failure.reason.label()),
        }
    }

    pub(super) fn test_ran(&self, cost: Cost) {
        let mut counts = sync::lock(&self.counts);
        counts.bytes_up += cost.upload;
        counts.bytes_down += cost.download;
    }

    /// Counts a repeated run of iperf3 for the same test.
    pub(super) fn retried(&self) {
        sync::lock(&self.counts).retries += 1;
    }

    /// Counts a probe that was answered with the result of another probe's test.
    pub(super) fn result_reused(&self) {
        sync::lock(&self.counts).reused += 1;
    }

    /// Counts a probe without a result, and its wait for the lock, if it waited.
    pub(super) fn probe_gave_up(&self, why: &WaitError, waited: Option<Duration>) {
        let mut counts = sync::lock(&self.counts);
        if let Some(waited) = waited {
            counts.wait(waited);
        }
        counts.outcome(why.label());
    }

    pub(super) fn probe_refused(&self, label: &'static str) {
        sync::lock(&self.counts).outcome(label);
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
