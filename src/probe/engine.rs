//! What all probes share: the test lock, the iperf3 binary, budget, result cache, history, limits and the allow-list.
//!
//! Must not know how a probe runs.

use std::sync::Arc;
use std::time::Duration;

use super::allow::Rule;
use super::budget::Budget;
use super::history::History;
use super::lock::TestLock;
use super::metrics::Metrics;
use super::result_cache::ResultCache;
use crate::cancel::Cancel;
use crate::iperf3::binary::Binary;
use crate::iperf3::credentials::Credentials;
use crate::log::Log;
use crate::permits::Permits;

/// Most probes that people start at a time: they run one after the other, and nobody watches more.
const MANUAL_LIMIT: usize = 16;
/// How many connections count for [`waiting_limit`]: the requests that the server works on at a time.
const CONNECTIONS_LIMIT: usize = 256;

/// What the flags say about probes.
#[derive(Debug, Default)]
pub(crate) struct ProbeConfig {
    /// The iperf3 binary, a path or a name to look up on PATH.
    pub(crate) iperf3_path: String,
    /// Maximum duration of one run of iperf3.
    pub(crate) iperf3_timeout: Option<Duration>,
    /// User and password for servers that ask for them.
    pub(crate) credentials: Option<Credentials>,
    /// Longest wait for the test lock.
    pub(crate) lock_timeout: Duration,
    /// Taken off the scrape timeout.
    pub(crate) timeout_offset: Duration,
    /// Which targets may be probed; empty means all.
    pub(crate) allow: Vec<Rule>,
    /// Most payload bytes of a UTC day's tests.
    pub(crate) max_bytes_per_day: Option<u64>,
}

/// One value, shared by everything that runs probes.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) config: ProbeConfig,
    pub(super) log: Log,
    pub(super) lock: TestLock,
    pub(super) binary: Binary,
    pub(super) budget: Budget,
    pub(super) result_cache: ResultCache,
    /// The probes in progress, and the last ones.
    pub(super) history: Arc<History>,
    /// How many of them a person started from the page.
    pub(super) manual: Arc<Permits>,
    /// The probes that have a request waiting.
    pub(super) requests: Arc<Permits>,
    pub(super) metrics: Metrics,
    /// Set once the exporter is to end.
    pub(super) shutdown: Cancel,
}

/// How many of so many connections may have a probe, which can wait long for the lock: some are left for those who ask
/// how the exporter is. With a test of a few seconds each, the last of them would wait far longer than any scrape
/// timeout anyway.
fn waiting_limit(connections: usize) -> usize {
    let connections = connections.min(CONNECTIONS_LIMIT);
    let for_others = (connections / 16).max(8).min(connections / 2);
    connections - for_others
}

impl Engine {
    /// An engine behind a server with so many connections.
    pub(super) fn new(config: ProbeConfig, log: Log, connections: usize) -> Self {
        let shutdown = Cancel::default();
        Self {
            log,
            lock: TestLock::default(),
            binary: Binary::new(config.iperf3_path.clone(), shutdown.clone()),
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

    /// Wakes all waiters so that they re-check for cancellation.
    pub(super) fn wake_all(&self) {
        self.lock.wake_all();
        self.result_cache.wake_all();
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
