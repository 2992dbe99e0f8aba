//! Connections and requests of all listeners: how many there are, why connections ended, and the metrics of both.
//!
//! Owns the counters that the front end and the backend share. Must not know what a request asks for.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::admission::Admission;
use super::in_flight::InFlightRequests;
use crate::metrics::text::{Family, Kind, Labelled, Text};
use crate::permits::Permits;
use crate::sync;

/// Maximum number of requests in flight, each on a thread of its own: the default limit of connections, plus some whose
/// response is sent already when the next request arrives.
const REQUESTS_LIMIT: usize = 256 + 16;

/// The metric families, in the order of the output.
pub(crate) const FAMILIES: &[Family<Traffic>] = &[
    Family {
        name: "iperf3_exporter_connections",
        help: "Open connections.",
        kind: Kind::Gauge,
        write: |text, traffic| text.plain(Some(traffic.admission.count() as f64)),
    },
    Family {
        name: "iperf3_exporter_connections_limit",
        help: "Maximum number of connections: --web.max-connections, or less when the limit of file descriptors is \
               lower.",
        kind: Kind::Gauge,
        write: |text, traffic| text.plain(Some(traffic.admission.max() as f64)),
    },
    Family {
        name: "iperf3_exporter_connections_closed_total",
        help: "Closed connections by cause.",
        kind: Kind::Counter,
        write: |text, traffic| {
            let causes = Closed::ALL.iter().map(|(_, label)| *label);
            sync::lock(&traffic.closed).write(text, "cause", causes);
        },
    },
    Family {
        name: "iperf3_exporter_handshakes_failed_total",
        help: "Failed TLS handshakes. Connections that close before they send anything are not counted.",
        kind: Kind::Counter,
        write: |text, traffic| text.plain(Some(*sync::lock(&traffic.handshakes_failed) as f64)),
    },
    Family {
        name: "iperf3_exporter_requests_in_work",
        help: "Requests in flight.",
        kind: Kind::Gauge,
        write: |text, traffic| text.plain(Some(traffic.requests.count() as f64)),
    },
];

/// Why a connection ended: the label `cause` of `iperf3_exporter_connections_closed_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// The client closed it, or it closed after a response as both sides had agreed.
    Done,
    /// It had no request for too long.
    Idle,
    /// Its head was not complete in time.
    SlowHead,
    /// Its response was not read in time.
    SlowReader,
    /// Its request was refused.
    Refused,
    /// Its TLS handshake failed.
    Handshake,
    /// The client hung up while its request was in flight or its response was being sent.
    HungUp,
    /// It was evicted: a new connection needed its slot.
    MadeRoom,
    /// It was rejected: no slot was free.
    NoRoom,
    /// The backend did not answer.
    Failed,
}

impl Closed {
    /// Each cause with its label value, in the order of the documentation.
    const ALL: [(Self, &'static str); 10] = [
        (Self::Done, "done"),
        (Self::Idle, "idle"),
        (Self::SlowHead, "slow_head"),
        (Self::SlowReader, "slow_reader"),
        (Self::Refused, "bad_request"),
        (Self::Handshake, "handshake"),
        (Self::HungUp, "hung_up"),
        (Self::MadeRoom, "made_room"),
        (Self::NoRoom, "no_room"),
        (Self::Failed, "failed"),
    ];
}

/// Counts and limits that the front end and the backend share.
pub(crate) struct Traffic {
    pub(super) admission: Arc<Admission>,
    pub(super) in_flight: InFlightRequests,
    pub(super) requests: Arc<Permits>,
    closed: Mutex<Labelled>,
    handshakes_failed: Mutex<u64>,
}

impl Traffic {
    /// Counters at zero.
    pub(crate) fn new(admission: Admission) -> Arc<Self> {
        Arc::new(Self {
            admission: Arc::new(admission),
            in_flight: InFlightRequests::default(),
            requests: Arc::new(Permits::new(REQUESTS_LIMIT)),
            closed: Mutex::default(),
            handshakes_failed: Mutex::default(),
        })
    }

    /// Counts a connection that ended.
    pub(super) fn connection_closed(&self, closed: Closed) {
        if let Some((_, label)) = Closed::ALL.iter().find(|(known, _)| *known == closed) {
            sync::lock(&self.closed).count(label);
        }
    }

    /// Counts a failed TLS handshake.
    pub(super) fn handshake_failed(&self) {
        *sync::lock(&self.handshakes_failed) += 1;
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

    /// Writes the metric families of this module.
    pub(crate) fn write_metrics(&self, text: &mut Text) {
        text.families(FAMILIES, self);
    }
}
