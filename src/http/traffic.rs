//! Connections and requests of all listeners: how many there are, and what became of them.
//!
//! Owns the counts that the front end and the backend share; must not know what a request asks for.

use std::sync::Arc;
use std::time::Instant;

use super::admission::Admission;
use super::in_flight::InFlightRequests;
use super::metrics::Metrics;
use crate::metrics::text::Text;
use crate::permits::Permits;

/// Most requests in flight at a time, each on a thread of its own: as many as there are connections by default, and some
/// whose answers are out already when the next request comes.
pub(super) const REQUESTS_LIMIT: usize = 256 + 16;

/// Counts and limits that the front end and the backend share.
pub(crate) struct Traffic {
    pub(super) admission: Arc<Admission>,
    pub(super) in_flight: InFlightRequests,
    pub(super) requests: Arc<Permits>,
    pub(super) metrics: Metrics,
}

impl Traffic {
    /// None yet.
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

    /// Blocks until no connection has a request in flight, its answer included, or `until` has come.
    pub(crate) fn wait_until_idle(&self, until: Instant) {
        self.admission.wait_for_no_request(until);
    }

    /// Writes the families of this ring.
    pub(crate) fn write_metrics(&self, text: &mut Text) {
        let connections = (self.admission.count(), self.admission.max());
        self.metrics.write(text, connections, self.requests.count());
    }
}
