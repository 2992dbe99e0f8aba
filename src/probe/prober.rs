//! The engine's handle: all that the web ring may ask of it.
//!
//! Must not know HTTP: a refusal is a value, and the web ring makes a status code of it.

use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::allow;
use super::answer::{Answer, Caller};
use super::deadline::{self, Limits, SCRAPE_TIMEOUT_HEADER};
use super::engine::Engine;
use super::history::{Found, Overview};
use super::lock::{Status, WaitError};
use super::metrics::{NotRun, Now};
use super::params::Params;
use super::{coalesce, manual, single};

pub(crate) use super::engine::ProbeConfig;
use crate::iperf3::binary::Unusable;
use crate::log::{Field, Log};
use crate::metrics::text::Text;
use crate::permits::Permit;

/// The engine's handle.
#[derive(Debug)]
pub(crate) struct Prober {
    engine: Arc<Engine>,
}

/// Why a request runs no test; prints as the line that the client gets.
#[derive(Debug)]
pub(crate) enum Refused {
    /// A parameter or the scrape header.
    BadRequest(String),
    /// `--probe.allow-target` does not have the target.
    NotAllowed(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRequest(line) | Self::NotAllowed(line) => f.write_str(line),
        }
    }
}

impl Prober {
    /// An engine behind a server with so many connections.
    pub(crate) fn new(config: ProbeConfig, log: Log, connections: usize) -> Self {
        let engine = Arc::new(Engine::new(config, log, connections));
        Self { engine }
    }

    /// A place among the requests that wait for a probe; none when there are as many as there may be.
    pub(crate) fn reserve(&self) -> Option<Permit> {
        let permit = self.engine.requests.try_acquire();
        if permit.is_none() {
            let cause = "as many probes wait as there may be";
            self.engine
                .log
                .warn_ratelimited("probe refused", &[("cause", &cause)]);
        }
        permit
    }

    /// What a query asks for, and in what time; `scrape_timeout` is the text of Prometheus' header.
    pub(crate) fn check(
        &self,
        query: &str,
        scrape_timeout: Option<&str>,
        arrival: Instant,
    ) -> Result<(Params, Limits), Refused> {
        let checked = self.read(query, scrape_timeout, arrival);
        if let Err(refused) = &checked {
            self.engine.metrics.probe_refused(match refused {
                Refused::BadRequest(_) => NotRun::BadRequest,
                Refused::NotAllowed(_) => NotRun::NotAllowed,
            });
            self.engine
                .log
                .debug("probe refused", &[("cause", refused)]);
        }
        checked
    }

    fn read(
        &self,
        query: &str,
        scrape_timeout: Option<&str>,
        arrival: Instant,
    ) -> Result<(Params, Limits), Refused> {
        let params =
            Params::parse(query).map_err(|refusal| Refused::BadRequest(refusal.to_string()))?;
        if !allow::allows(&self.engine.config.allow, &params.host) {
            let host = params.host.as_str();
            let line = format!("target {host:?} is not allowed by --probe.allow-target");
            return Err(Refused::NotAllowed(line));
        }
        let timeout = scrape_timeout.map(|text| {
            deadline::scrape_timeout(text).ok_or_else(|| {
                Refused::BadRequest(format!(
                    "header {SCRAPE_TIMEOUT_HEADER}: {text:?} is not allowed, want a positive number of seconds"
                ))
            })
        });
        let limits = Limits::new(
            arrival,
            timeout.transpose()?,
            self.engine.config.timeout_offset,
            self.engine.config.iperf3_timeout,
        );
        Ok((params, limits))
    }

    /// Answers one probe, with a new test or with a result that will do.
    ///
    /// # Errors
    /// When there is no result: the lock was not had in time, nobody wants it any more, or it comes too late.
    pub(crate) fn probe(
        &self,
        params: &Params,
        limits: &Limits,
        caller: Caller<'_>,
    ) -> Result<Answer, WaitError> {
        // A binary that is not known yet is asked now, and not under the test lock.
        let _ = self.engine.binary.installed();
        match params.options.max_age {
            Some(max_age) => coalesce::answer(&self.engine, params, limits, caller, max_age),
            None => single::run(&self.engine, params, limits, caller),
        }
    }

    /// Starts a probe for a person; its number leads to it in [`Prober::find`].
    ///
    /// # Errors
    /// When there are as many as there may be, or no thread is to be had.
    pub(crate) fn start(
        &self,
        params: Params,
        limits: Limits,
        caller: Caller<'_>,
    ) -> Result<u64, WaitError> {
        manual::start(&self.engine, params, limits, caller)
    }

    /// Stops a probe that a person started; whether there was one.
    pub(crate) fn stop(&self, number: u64) -> bool {
        let is_stopped = self.engine.history.stop(number);
        if is_stopped {
            self.wake_all();
        }
        is_stopped
    }

    /// The probes in progress and the last ones.
    pub(crate) fn overview(&self) -> Overview {
        self.engine.history.overview()
    }

    /// The probe of this number, as long as it is remembered.
    pub(crate) fn find(&self, number: u64) -> Option<Found> {
        self.engine.history.find(number)
    }

    /// Who holds the test lock, and who waits for it.
    pub(crate) fn lock_status(&self) -> Status {
        self.engine.lock.status()
    }

    /// Whether iperf3 can be run, as far as is known.
    pub(crate) fn health(&self) -> Result<(), Unusable> {
        self.engine.binary.check()
    }

    /// Wakes all waiters so that they re-check for cancellation.
    pub(crate) fn wake_all(&self) {
        self.engine.wake_all();
    }

    /// Whether the exporter is about to end.
    pub(crate) fn is_shutting_down(&self) -> bool {
        self.engine.shutdown.is_set()
    }

    /// Ends what runs without a request; whoever waits is woken. Requests are cancelled by their own connections.
    pub(crate) fn shut_down(&self) {
        self.engine.shutdown.set();
        self.engine.history.stop_all();
        self.wake_all();
    }

    /// Blocks until no test runs without a request, or `until` has come.
    pub(crate) fn wait_until_idle(&self, until: Instant) {
        self.engine.result_cache.wait_until_idle(until);
        self.engine.manual.wait_until_idle(until);
        self.engine.binary.wait_until_idle(until);
    }

    /// Writes the families of this ring.
    pub(crate) fn write_metrics(&self, text: &mut Text) {
        let engine = &self.engine;
        let now = Now {
            iperf3_version: engine.binary.version().ok(),
            iperf3_features: engine.binary.features_listed(),
            lock: engine.lock.status(),
            bytes_today: engine.budget.today(SystemTime::now()),
            bytes_per_day: engine.budget.limit(),
            stored_results: engine.result_cache.count(),
        };
        engine.metrics.write(text, now);
    }

    /// Logs which iperf3 there is, and whether its credentials can be read. They may come later, or be put right: no
    /// reason not to start.
    pub(crate) fn report_iperf3(&self) {
        let installed = self
            .engine
            .binary
            .version()
            .and_then(|version| Ok((version, self.engine.binary.installed()?)));
        match installed {
            Ok((version, installed)) => {
                let features = self.engine.binary.features_listed();
                let path = installed.path.display();
                let mut fields: Vec<Field<'_>> = vec![("path", &path), ("version", &version)];
                fields.extend(
                    features
                        .iter()
                        .map(|list| -> Field<'_> { ("features", list) }),
                );
                self.engine.log.info("iperf3 found", &fields);
                if features.is_none() {
                    self.engine.log.warn(
                        "iperf3 --help says nothing: parameters are passed on unchecked, and none limits connecting",
                        &[("path", &path)],
                    );
                }
            }
            Err(unusable) => self.engine.log.warn(
                "no usable iperf3, probes will fail until there is one",
                &[("error", &unusable)],
            ),
        }
        if let Some(credentials) = &self.engine.config.credentials
            && let Err(line) = credentials.check()
        {
            let what = "iperf3's credentials cannot be read, probes will fail until they can";
            self.engine.log.warn(what, &[("error", &line)]);
        }
    }
}
