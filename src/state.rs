//! The exporter's state: one value, built in `main` and passed down. There are no statics.
//!
//! Owns what outlives a request; everything else is local to one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cli::Config;
use crate::iperf3::binary::Binary;
use crate::iperf3::credentials::Credentials;
use crate::log::Log;
use crate::metrics::own::Own;
use crate::probe::allow::Rule;
use crate::probe::budget::Budget;
use crate::probe::by_hand;
use crate::probe::lock::{Cancel, TestLock};
use crate::probe::records::Records;
use crate::probe::results::Results;
use crate::web::auth::Auth;
use crate::web::config::live::Live;
use crate::web::gate::admission::Admission;
use crate::web::gate::visits::Visits;
use crate::web::key::Key;
use crate::web::work::{self, Work};

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
    pub(crate) results: Results,
    /// The probes in progress, and the last ones.
    pub(crate) records: Arc<Records>,
    /// How many of them a person started from the page.
    pub(crate) by_hand: Arc<Work>,
    /// The exporter's own counts.
    pub(crate) own: Own,
    /// The web configuration.
    pub(crate) front: Live,
    /// The verdicts about credentials.
    pub(crate) auth: Auth,
    /// What only the own pages know.
    pub(crate) key: Key,
    /// The requests in work.
    pub(crate) work: Arc<Work>,
    /// Those of them that are probes.
    pub(crate) probes: Arc<Work>,
    /// The open connections.
    pub(crate) admission: Arc<Admission>,
    /// The requests that the gate passed on.
    pub(crate) visits: Arc<Visits>,
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
    pub(crate) fn new(config: Config, log: Log, front: Live, admission: Admission) -> Self {
        let shutdown = Cancel::default();
        Self {
            probes: Arc::new(Work::new(work::probes_limit(admission.most()))),
            log,
            front,
            auth: Auth::with_places(admission.most()),
            lock: TestLock::default(),
            binary: Binary::new(config.iperf3_path, shutdown.clone()),
            credentials: config.credentials,
            budget: Budget::new(config.max_bytes_per_day),
            results: Results::default(),
            records: Arc::default(),
            by_hand: Arc::new(Work::new(by_hand::MOST)),
            own: Own::new(),
            key: Key::new(),
            work: Arc::new(Work::new(work::LIMIT)),
            admission: Arc::new(admission),
            visits: Arc::default(),
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
    pub(crate) fn look_again(&self) {
        self.lock.look_again();
        self.results.look_again();
    }

    /// Ends what waits and what runs, and waits until every request is answered or `until` has come.
    pub(crate) fn shut_down(&self, until: Instant) {
        self.shutdown.set();
        self.visits.cancel_all();
        self.records.stop_all();
        self.look_again();
        self.auth.end();
        self.admission.wait_for_no_request(until);
        self.results.wait_for_no_flight(until);
        by_hand::wait_for_none(self, until);
        self.binary.wait_for_nobody_asking(until);
    }
}

#[cfg(test)]
mod tests {
    use super::State;
    use crate::cli::{self, Command};
    use crate::log::Log;
    use crate::probe::lock::Cancel;
    use crate::web::config::live::Live;
    use crate::web::gate::Limits;
    use crate::web::gate::admission::Admission;
    use crate::web::gate::visits::Visit;
    use crate::web::routes::{self, Request};
    use std::sync::Arc;
    use std::thread;
    use std::time::{Duration, Instant};

    /// Longer than anything takes.
    const LONG: Duration = Duration::from_secs(60);

    fn state() -> Arc<State> {
        let Ok(Command::Run(config)) = cli::parse(Vec::new()) else {
            panic!("no settings")
        };
        let log = Log::new(config.log_level, config.log_format);
        let front = Live::open(None, &log).unwrap();
        Arc::new(State::new(
            *config,
            log,
            front,
            Admission::new(8, None, 1, Limits::default()),
        ))
    }

    /// The answer's code and body.
    fn get(state: &Arc<State>, url: &str) -> (u16, String) {
        let visit = Visit {
            peer: ([192, 0, 2, 1], 1).into(),
            let_in: None,
            is_last: Cancel::default(),
            number: 1,
            cancel: Cancel::default(),
        };
        let request = Request {
            method: "GET",
            url,
            scrape_timeout: None,
            authorization: None,
            arrival: Instant::now(),
            visit: &visit,
        };
        let reply = routes::answer(state, &request);
        (reply.code, reply.body)
    }

    #[test]
    fn it_is_ready_until_its_end_begins() {
        let state = state();
        assert_eq!(get(&state, "/ready"), (200, "OK\n".to_owned()));
        state.shut_down(Instant::now());
        let ending = (503, "shutting down\n".to_owned());
        assert_eq!(get(&state, "/ready"), ending);
        assert_eq!(get(&state, "/probe?target=192.0.2.7"), ending);
    }

    #[test]
    fn the_end_waits_for_what_runs_and_no_longer_than_its_limit() {
        let state = state();
        let runs = state.by_hand.begin().unwrap();
        // Comes back although something runs.
        state.shut_down(Instant::now());
        thread::scope(|scope| {
            let end = scope.spawn(|| {
                state.shut_down(Instant::now() + LONG);
                state.by_hand.count()
            });
            // Time in which one that does not wait would come back.
            thread::sleep(Duration::from_millis(20));
            assert!(!end.is_finished(), "it came back before the end");
            drop(runs);
            assert_eq!(end.join().unwrap(), 0);
        });
    }
}
