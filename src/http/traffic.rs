//! Connections and requests of all listeners: their limits, those in progress, and their counts.
//!
//! Owns the state that the front end and the backend share. Must not know what a request asks for.

use std::sync::Arc;
use std::time::Instant;

use super::admission::Admission;
use super::in_flight::InFlightRequests;
use super::metrics::{self, Metrics, Snapshot};
use crate::metrics::text::Text;
use crate::permits::Permits;

/// Maximum number of requests in flight, each on a thread of its own: the default limit of connections, plus some whose
/// response is sent already when the next request arrives.
const REQUESTS_LIMIT: usize = 256 + 16;

/// Limits, requests in flight and counts that the front end and the backend share.
pub(crate) struct Traffic {
    pub(super) admission: Arc<Admission>,
    pub(super) in_flight: InFlightRequests,
    pub(super) requests: Arc<Permits>,
    pub(super) metrics: Metrics,
}

impl Traffic {
    /// Counters at zero.
    pub(crate) fn new(admission: Admission) -> Arc<Self> {
        Arc::new(Self {
            admission: Arc::new(admission),
            in_flight: InFlightRequests::default(),
            requests: Arc::new(Permits::new(REQUESTS_LIMIT)),
            metrics: Metrics::default(),
        })
    }

    /// Maximum simultaneous connections.
    pub(crate) fn max_connections(&self) -> usize {
        self.admission.max()
    }

    /// Cancels every request in flight.
    pub(crate) fn cancel_all(&self) {
        self.in_flight.cancel_all();
    }

    /// Blocks until no connection has a request in flight or a response being sent, or until `until`.
    pub(crate) fn wait_until_idle(&self, until: Instant) {
        self.admission.wait_for_no_request(until);
    }

    /// Writes the metric families of connections and requests.
    pub(crate) fn write_metrics(&self, text: &mut Text) {
        let snapshot = Snapshot {
            counts: self.metrics.counts(),
            connections: self.admission.count(),
            connections_limit: self.admission.max(),
            requests: self.requests.count(),
        };
        text.families(metrics::FAMILIES, &snapshot);
    }
}
