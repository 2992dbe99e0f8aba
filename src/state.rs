//! The exporter's state: one value, built in `main` and passed down. There are no statics.
//!
//! Owns what outlives a request; everything else is local to one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cancel::Cancel;
use crate::cli::Config;
use crate::http::admission::Admission;
use crate::http::in_flight::InFlightRequests;
use crate::iperf3::binary::Binary;
use crate::iperf3::credentials::Credentials;
use crate::log::Log;
use crate::metrics::own::Own;
use crate::permits::{self, Permits};
use crate::probe::allow::Rule;
use crate::probe::budget::Budget;
use crate::probe::history::History;
use crate::probe::lock::TestLock;
use crate::probe::manual;
use crate::probe::result_cache::ResultCache;
use crate::toolkit::auth::Auth;
use crate::toolkit::config::reloader::Reloader;
use crate::web::csrf::CsrfToken;

/// What every request may use.
#[derive(Debug)]
pub(crate) struct State {
    /// The log.
    pub(crate) log: Log,
    /// The test lock.
    pub(crate) lock: TestLock,
    /// The iperf3 binary.
    pub(crate) binary: Binary,
    /// Who iperf3 says that it is.
    pub(crate) credentials: Option<Credentials>,
    /// What the tests of a day may cost.
    pub(crate) budget: Budget,
    /// The results that are kept.
    pub(crate) results: ResultCache,
    /// The probes in progress, and the last ones.
    pub(crate) records: Arc<History>,
    /// How many of them a person started from the page.
    pub(crate) by_hand: Arc<Permits>,
    /// The exporter's own counts.
    pub(crate) own: Own,
    /// The web configuration.
    pub(crate) front: Reloader,
    /// The verdicts about credentials.
    pub(crate) auth: Auth,
    /// What only the own pages know.
    pub(crate) key: CsrfToken,
    /// The requests in flight.
    pub(crate) work: Arc<Permits>,
    /// Those of them that are probes.
    pub(crate) probes: Arc<Permits>,
    /// The open connections.
    pub(crate) admission: Arc<Admission>,
    /// The requests that the front end passed on.
    pub(crate) in_flight: Arc<InFlightRequests>,
    /// Set once the exporter is to end.
    pub(crate) shutdown: Cancel,
    /// Which targets may be probed.
    pub(crate) allow: Vec<Rule>,
    /// Longest wait for the lock.
    pub(crate) lock_timeout: Duration,
    /// Taken off the scrape timeout.
    pub(crate) timeout_offset: Duration,
    /// Upper limit of a run.
    pub(crate) iperf3_timeout: Option<Duration>,
    /// Path of the exporter's own metrics.
    pub(crate) telemetry_path: String,
    /// Path of probes.
    pub(crate) probe_path: String,
}

impl State {
    /// The state at the start.
    pub(crate) fn new(config: Config, log: Log, front: Reloader, admission: Admission) -> Self {
        let shutdown = Cancel::default();
        Self {
            probes: Arc::new(Permits::new(permits::probes_limit(admission.most()))),
            log,
            front,
            auth: Auth::with_places(admission.most()),
            lock: TestLock::default(),
            binary: Binary::new(config.iperf3_path, shutdown.clone()),
            credentials: config.credentials,
            budget: Budget::new(config.max_bytes_per_day),
            results: ResultCache::default(),
            records: Arc::default(),
            by_hand: Arc::new(Permits::new(manual::MOST)),
            own: Own::new(),
            key: CsrfToken::new(),
            work: Arc::new(Permits::new(permits::LIMIT)),
            admission: Arc::new(admission),
            in_flight: Arc::default(),
            shutdown,
            allow: config.allow,
            lock_timeout: config.lock_timeout,
            timeout_offset: config.timeout_offset,
            iperf3_timeout: config.iperf3_timeout,
            telemetry_path: config.telemetry_path,
            probe_path: config.probe_path,
        }
    }

    /// Makes everyone who waits look whether the own request is cancelled.
    pub(crate) fn wake_all(&self) {
        self.lock.wake_all();
        self.results.wake_all();
    }

    /// Ends what waits and what runs, and waits until every request is answered or `until` has come.
    pub(crate) fn shut_down(&self, until: Instant) {
        self.shutdown.set();
        self.in_flight.cancel_all();
        self.records.stop_all();
        self.wake_all();
        self.auth.end();
        self.admission.wait_for_no_request(until);
        self.results.wait_until_idle(until);
        self.by_hand.wait_until_idle(until);
        self.binary.wait_until_idle(until);
    }
}
