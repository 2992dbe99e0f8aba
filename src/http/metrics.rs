//! The counts of connections that ended, and the metrics of connections and requests.
//!
//! Must not know when a connection ends, or what a request asks for.

use std::sync::Mutex;

use crate::metrics::text::{Family, Kind, Labelled};
use crate::sync;

/// The metric families, in the order of the output.
pub(crate) const FAMILIES: &[Family<Snapshot>] = &[
    Family {
        name: "iperf3_exporter_connections",
        help: "Open connections.",
        kind: Kind::Gauge,
        write: |text, look| text.plain(Some(look.connections as f64)),
    },
    Family {
        name: "iperf3_exporter_connections_limit",
        help: "Maximum number of connections: --web.max-connections, or less when the limit of file descriptors is \
               lower.",
        kind: Kind::Gauge,
        write: |text, look| text.plain(Some(look.connections_limit as f64)),
    },
    Family {
        name: "iperf3_exporter_connections_closed_total",
        help: "Closed connections by cause.",
        kind: Kind::Counter,
        write: |text, look| {
            let causes = Closed::ALL.iter().map(|(_, label)| *label);
            look.counts.closed.write(text, "cause", causes);
        },
    },
    Family {
        name: "iperf3_exporter_handshakes_failed_total",
        help: "Failed TLS handshakes. Connections that close before they send anything are not counted.",
        kind: Kind::Counter,
        write: |text, look| text.plain(Some(look.counts.handshakes_failed as f64)),
    },
    Family {
        name: "iperf3_exporter_requests_in_work",
        help: "Requests in flight.",
        kind: Kind::Gauge,
        write: |text, look| text.plain(Some(look.requests as f64)),
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

#[derive(Debug, Default)]
pub(super) struct Metrics {
    counts: Mutex<Counts>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    closed: Labelled,
    handshakes_failed: u64,
}

/// Snapshot from which the families are written.
pub(crate) struct Snapshot {
    pub(super) counts: Counts,
    pub(super) connections: usize,
    pub(super) connections_limit: usize,
    /// Requests in flight.
    pub(super) requests: usize,
}

impl Metrics {
    pub(super) fn counts(&self) -> Counts {
        sync::lock(&self.counts).clone()
    }

    /// Counts a connection that ended.
    pub(super) fn connection_closed(&self, closed: Closed) {
        if let Some((_, label)) = Closed::ALL.iter().find(|(known, _)| *known == closed) {
            sync::lock(&self.counts).closed.count(label);
        }
    }

    /// Counts a failed TLS handshake.
    pub(super) fn handshake_failed(&self) {
        sync::lock(&self.counts).handshakes_failed += 1;
    }
}
