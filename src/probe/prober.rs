//! What all probes share: the test lock, the iperf3 binary, budget, result cache, history, limits and the allow-list.
//! Also the interface of probes for the web ring.
//!
//! Must not know HTTP, or how a probe runs. A refusal is a value, which the web ring maps to a status code.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::allow::{self, Rule};
use super::budget::Budget;
use super::deadline::{self, Limits, SCRAPE_TIMEOUT_HEADER};
use super::history::{Found, History, Overview, Stage};
use super::lock::{Status, TestLock};
use super::metrics::{BAD_REQUEST, FAMILIES, Metrics, NOT_ALLOWED, RunningTest, Snapshot};
use super::params::{Params, QueryError};
use super::result_cache::ResultCache;
use super::wait_error::WaitError;
use crate::cancel::{Cancel, Cause};
use crate::iperf3::binary::{Binary, Unusable};
use crate::iperf3::credentials::Credentials;
use crate::iperf3::target::Host;
use crate::iperf3::temp::{self, NoFolder, TempFiles, TempFolders};
use crate::log::{Field, Log};
use crate::metrics::text::Text;
use crate::permits::{Permit, Permits};
use crate::threads;

/// Maximum number of manual probes in progress. They run one after the other, and users do not watch more.
const MANUAL_LIMIT: usize = 16;
/// Maximum number of connections that count in [`waiting_limit`]: about as many requests as the server handles at a
/// time.
const CONNECTIONS_LIMIT: usize = 256;
/// Stack size of a test's thread. It equals that of a worker, which reads the same reports.
const STACK_BYTES: usize = 512 * 1024;

/// The settings of probes, from the flags.
#[derive(Debug, Default)]
pub(crate) struct ProbeConfig {
    /// The iperf3 binary: a path, or a name to find on PATH.
    pub(crate) iperf3_path: String,
    /// Maximum duration of one run of iperf3.
    pub(crate) iperf3_timeout: Option<Duration>,
    /// User name and password for servers that require them.
    pub(crate) credentials: Option<Credentials>,
    /// Maximum wait for the test lock.
    pub(crate) lock_timeout: Duration,
    /// Time to subtract from the scrape timeout.
    pub(crate) timeout_offset: Duration,
    /// Targets that may be probed; empty means all.
    pub(crate) allow: Vec<Rule>,
    /// Maximum payload bytes of all tests in a UTC day.
    pub(crate) max_bytes_per_day: Option<u64>,
}

/// Shared by everything that runs probes.
#[derive(Debug)]
pub(crate) struct Prober {
    pub(super) config: ProbeConfig,
    pub(super) log: Log,
    pub(super) lock: TestLock,
    pub(super) binary: Binary,
    /// Where iperf3 puts its temporary files.
    pub(super) temp: TempFolders,
    pub(super) budget: Budget,
    pub(super) result_cache: ResultCache,
    /// The probes in progress and the last finished ones.
    pub(super) history: Arc<History>,
    /// Permits for manual probes.
    pub(super) manual: Arc<Permits>,
    /// Permits for requests that wait for a probe.
    requests: Arc<Permits>,
    pub(super) metrics: Metrics,
    /// Set when the exporter shuts down.
    pub(super) shutdown: Cancel,
}

/// Why a request was refused. Its text is the line that the client gets.
#[derive(Debug)]
pub(crate) enum Refused {
    Query(QueryError),
    /// The scrape header has this invalid value.
    ScrapeTimeout(String),
    /// `--probe.allow-target` does not allow this target.
    NotAllowed(Host),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Query(error) => error.fmt(f),
            Self::ScrapeTimeout(text) => write!(
                f,
                "header {SCRAPE_TIMEOUT_HEADER}: {text:?} is not allowed, want a positive number of seconds"
            ),
            Self::NotAllowed(host) => {
                let host = host.as_str();
                write!(f, "target {host:?} is not allowed by --probe.allow-target")
            }
        }
    }
}

/// Why iperf3 cannot be run.
#[derive(Debug)]
pub(crate) enum Unhealthy {
    Binary(Unusable),
    TemporaryFolder(NoFolder),
}

impl fmt::Display for Unhealthy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Binary(why) => why.fmt(f),
            Self::TemporaryFolder(why) => why.fmt(f),
        }
    }
}

/// How many of the connections may have a probe, which can wait long for the lock. The rest stay free for requests
/// about the exporter itself. Even with tests of a few seconds, the last of these probes would wait far longer than any
/// scrape timeout.
fn waiting_limit(connections: usize) -> usize {
    let connections = connections.min(CONNECTIONS_LIMIT);
    let for_others = (connections / 16).max(8).min(connections / 2);
    connections - for_others
}

impl Prober {
    /// A prober for a server with this many connections.
    pub(crate) fn new(config: ProbeConfig, log: Log, connections: usize) -> Self {
        let shutdown = Cancel::default();
        Self {
            log,
            lock: TestLock::default(),
            binary: Binary::new(config.iperf3_path.clone(), shutdown.clone()),
            temp: TempFolders::from_environment(),
            budget: Budget::new(config.max_bytes_per_day),
            result_cache: ResultCache::default(),
            history: Arc::default(),
            manual: Arc::new(Permits::new(MANUAL_LIMIT)),
            requests: Arc::new(Permits::new(waiting_limit(connections))),
            metrics: Metrics::default(),
            shutdown,
            config,
        }
    }

    /// A permit for a request that waits for a probe; `None` when the limit is reached.
    pub(crate) fn reserve(&self) -> Option<Permit> {
        self.requests.try_acquire()
    }

    /// Parses a query into parameters and time limits, and counts a refusal. `scrape_timeout` is the value of
    /// Prometheus' header.
    pub(crate) fn check(
        &self,
        query: &str,
        scrape_timeout: Option<&str>,
        arrival: Instant,
    ) -> Result<(Params, Limits), Refused> {
        let checked = self.read(query, scrape_timeout, arrival);
        if let Err(refused) = &checked {
            let label = match refused {
                Refused::Query(_) | Refused::ScrapeTimeout(_) => BAD_REQUEST,
                Refused::NotAllowed(_) => NOT_ALLOWED,
            };
            self.metrics.probe_refused(label);
        }
        checked
    }

    fn read(
        &self,
        query: &str,
        scrape_timeout: Option<&str>,
        arrival: Instant,
    ) -> Result<(Params, Limits), Refused> {
        let params = Params::parse(query).map_err(Refused::Query)?;
        if !allow::allows(&self.config.allow, &params.host) {
            return Err(Refused::NotAllowed(params.host));
        }
        // An empty value counts as absent, as with parameters.
        let scrape_timeout = scrape_timeout.filter(|text| !text.is_empty());
        let timeout = scrape_timeout.map(|text| {
            deadline::scrape_timeout(text).ok_or_else(|| Refused::ScrapeTimeout(text.to_owned()))
        });
        let limits = Limits::new(
            arrival,
            timeout.transpose()?,
            self.config.timeout_offset,
            self.config.iperf3_timeout,
        );
        Ok((params, limits))
    }

    /// Starts a thread for a test that is independent of a request.
    pub(super) fn start_thread(&self, body: threads::Body) -> Result<(), WaitError> {
        threads::start("test", STACK_BYTES, body).map_err(|error| {
            let what = "cannot start a thread for a test";
            self.log.error(what, &[("error", &error)]);
            WaitError::Broken
        })
    }

    /// Stops a manual probe for a user at this address. Returns whether there was one.
    pub(crate) fn stop(&self, number: u64, by: IpAddr) -> bool {
        let is_stopped = self.history.stop(number, by);
        self.wake_all();
        is_stopped
    }

    /// The probes in progress and the last finished ones.
    pub(crate) fn overview(&self) -> Overview {
        self.history.overview()
    }

    /// The probe with this number, while it is remembered.
    pub(crate) fn find(&self, number: u64) -> Option<Found> {
        self.history.find(number)
    }

    /// The holder of the test lock, and its waiters.
    pub(crate) fn lock_status(&self) -> Status {
        self.lock.status()
    }

    /// Whether iperf3 can be run, as far as is known.
    pub(crate) fn health(&self) -> Result<(), Unhealthy> {
        self.binary.check().map_err(Unhealthy::Binary)?;
        self.temp.health().map_err(Unhealthy::TemporaryFolder)
    }

    /// Wakes all waiters so that they re-check for cancellation.
    pub(crate) fn wake_all(&self) {
        self.lock.wake_all();
        self.result_cache.wake_all();
    }

    /// Whether the exporter is shutting down.
    pub(crate) fn is_shutting_down(&self) -> bool {
        self.shutdown.is_set()
    }

    /// Cancels everything that runs without a request, and wakes all waiters. Requests are cancelled by their own
    /// connections.
    pub(crate) fn shut_down(&self) {
        self.shutdown.set(Cause::ShuttingDown);
        self.history.stop_all();
        self.wake_all();
    }

    /// Blocks until nothing runs without a request, or until `until`.
    pub(crate) fn wait_until_idle(&self, until: Instant) {
        self.result_cache.wait_until_idle(until);
        self.manual.wait_until_idle(until);
        self.binary.wait_until_idle(until);
    }

    /// Writes the families of this ring.
    pub(crate) fn write_metrics(&self, text: &mut Text) {
        let lock = self.lock.status();
        let holder = lock.holder.as_ref();
        let snapshot = Snapshot {
            counts: self.metrics.counts(),
            running: holder.and_then(|holder| self.running_test(holder.probe)),
            iperf3_version: self.binary.version().ok(),
            iperf3_features: self.binary.features_listed(),
            lock,
            bytes_today: self.budget.today(SystemTime::now()),
            bytes_per_day: self.config.max_bytes_per_day,
            stored_results: self.result_cache.count(),
        };
        text.families(FAMILIES, &snapshot);
    }

    /// The running test of this probe, if there is one.
    fn running_test(&self, number: u64) -> Option<RunningTest> {
        let Some(Found::Current(probe)) = self.history.find(number) else {
            return None;
        };
        let Stage::Running { port, progress, .. } = &probe.stage else {
            return None;
        };
        Some(RunningTest {
            host: probe.params.host.as_str().to_owned(),
            port: port.to_string(),
            seen: progress.look(),
        })
    }

    /// Logs which iperf3 is installed, where its temporary files go, and whether its credentials can be read. Problems
    /// do not prevent the start, because they may be fixed later.
    pub(crate) fn report_iperf3(&self) {
        let installed = self
            .binary
            .version()
            .and_then(|version| Ok((version, self.binary.installed()?)));
        match installed {
            Ok((version, installed)) => {
                let features = self.binary.features_listed();
                let path = installed.path.display();
                let mut fields: Vec<Field<'_>> = vec![("path", &path), ("version", &version)];
                if let Some(features) = &features {
                    fields.push(("features", features));
                }
                self.log.info("iperf3 found", &fields);
                if features.is_none() {
                    self.log.warn(
                        "iperf3 --help printed nothing: parameters are passed on unchecked, without a default \
                         connect timeout",
                        &[("path", &path)],
                    );
                }
            }
            Err(unusable) => self.log.warn(
                "no usable iperf3, probes will fail until there is one",
                &[("error", &unusable)],
            ),
        }
        self.report_temporary_folder();
        if let Some(credentials) = &self.config.credentials
            && let Err(error) = credentials.check()
        {
            let what = "credentials for iperf3 cannot be read, probes will fail until they can be";
            self.log.warn(what, &[("error", &error)]);
        }
    }

    /// Logs once when iperf3's temporary files move to another folder.
    pub(super) fn report_folder_change(&self) {
        if let Some(found) = self.temp.take_change() {
            self.log_folder(&found);
        }
    }

    fn log_folder(&self, found: &temp::Found) {
        let folder = found.folder.display();
        match &found.instead {
            None => self
                .log
                .info("temporary folder for iperf3", &[("folder", &folder)]),
            Some(why) => self.log.warn(
                "iperf3 uses another temporary folder",
                &[("folder", &folder), ("error", why.as_ref())],
            ),
        }
    }

    fn report_temporary_folder(&self) {
        match self.temp.find(TempFiles::ONE_STREAM) {
            Ok(found) => {
                // This folder is logged here, so it is not logged again as a change.
                self.temp.take_change();
                self.log_folder(&found);
            }
            Err(why) => self.log.warn(
                "no temporary folder for iperf3, probes will fail until there is one",
                &[("error", &why)],
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::waiting_limit;

    #[test]
    fn probes_leave_connections_for_others() {
        for (connections, probes) in [
            (1, 1),
            (2, 1),
            (8, 4),
            (16, 8),
            (64, 56),
            (256, 240),
            (10_000, 240),
        ] {
            assert_eq!(waiting_limit(connections), probes, "{connections}");
        }
    }
}
