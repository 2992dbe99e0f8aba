//! Connections and requests of all listeners: how many there are, what became of them, and their families of
//! `/metrics`.
//!
//! Owns the counts that the front end and the backend share; must not know what a request asks for.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::admission::Admission;
use super::in_flight::InFlightRequests;
use crate::metrics::text::{Family, Kind, Labelled, Text};
use crate::permits::Permits;
use crate::sync;

/// Most requests in flight at a time, each on a thread of its own: as many as there are connections by default, and some
/// whose answers are out already when the next request comes.
const REQUESTS_LIMIT: usize = 256 + 16;

/// The families, in the order in which they are written.
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

/// Why a connection ended; the label `cause` of `iperf3_exporter_connections_closed_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// The client closed it, or it ended with an answer as both sides had said.
    Done,
    /// It had no request for too long.
    Idle,
    /// Its head was not complete in time.
    SlowHead,
    /// Its answer was not read in time.
    SlowReader,
    /// Its request was refused.
    Refused,
    /// Its TLS handshake failed.
    Handshake,
    /// It was closed while its request was being worked on.
    HungUp,
    /// Another one needed its place.
    MadeRoom,
    /// There was no place for it.
    NoRoom,
    /// The server behind the front end did not answer.
    Failed,
}

impl Closed {
    /// Each with its label value, in the order of the documentation.
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
    /// None yet.
    pub(crate) fn new(admission: Admission) -> Arc<Self> {
        Arc::new(Self {
            admission: Arc::new(admission),
            in_flight: InFlightRequests::default(),
            requests: Arc::new(Permits::new(REQUESTS_LIMIT)),
            closed: Mutex::default(),
            handshakes_failed: Mutex::default(),
        })
    }

    /// A connection ended.
    pub(super) fn connection_closed(&self, closed: Closed) {
        if let Some((_, label)) = Closed::ALL.iter().find(|(known, _)| *known == closed) {
            sync::lock(&self.closed).count(label);
        }
    }

    /// A TLS handshake failed.
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

    /// Blocks until no connection has a request in flight, its answer included, or `until` has come.
    pub(crate) fn wait_until_idle(&self, until: Instant) {
        self.admission.wait_for_no_request(until);
    }

    /// Writes the families of this ring.
    pub(crate) fn write_metrics(&self, text: &mut Text) {
        text.families(FAMILIES, self);
    }
}
