//! What the connection front end counts, and its families of `/metrics`.
//!
//! Must not know HTTP: connections are told by why they ended.

use std::sync::Mutex;

use super::closed::Closed;
use crate::metrics::text::{Family, Kind, Labelled, Text};
use crate::sync;

/// The families, in the order in which they are written.
pub(crate) const FAMILIES: &[Family<Snapshot>] = &[
    Family {
        name: "iperf3_exporter_connections",
        help: "Open connections.",
        kind: Kind::Gauge,
        write: |text, look| text.plain(Some(look.connections as f64)),
    },
    Family {
        name: "iperf3_exporter_connections_limit",
        help: "Most connections at a time: --web.max-connections, or what the descriptors allow when that is less.",
        kind: Kind::Gauge,
        write: |text, look| text.plain(Some(look.connections_limit as f64)),
    },
    Family {
        name: "iperf3_exporter_connections_closed_total",
        help: "Connections that ended, by cause.",
        kind: Kind::Counter,
        write: |text, look| {
            let causes = Closed::ALL.iter().map(|(_, label)| *label);
            look.counts.closed.write(text, "cause", causes);
        },
    },
    Family {
        name: "iperf3_exporter_handshakes_failed_total",
        help: "TLS handshakes that failed; connections that were closed before they said anything do not count.",
        kind: Kind::Counter,
        write: |text, look| text.plain(Some(look.counts.handshakes_failed as f64)),
    },
    Family {
        name: "iperf3_exporter_requests_in_work",
        help: "Requests that are being worked on.",
        kind: Kind::Gauge,
        write: |text, look| text.plain(Some(look.requests_in_work as f64)),
    },
];

/// What the front end counts.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    counts: Mutex<Counts>,
}

#[derive(Clone, Debug, Default)]
struct Counts {
    closed: Labelled,
    handshakes_failed: u64,
}

/// What the families are written from, all of one moment.
pub(crate) struct Snapshot {
    counts: Counts,
    connections: usize,
    connections_limit: usize,
    requests_in_work: usize,
}

impl Metrics {
    /// A connection that ended.
    pub(super) fn connection_closed(&self, closed: Closed) {
        sync::lock(&self.counts).closed.count(closed.label());
    }

    /// A TLS handshake that failed.
    pub(super) fn handshake_failed(&self) {
        sync::lock(&self.counts).handshakes_failed += 1;
    }

    /// Writes the families; what is not counted here is looked up by the caller.
    pub(super) fn write(
        &self,
        text: &mut Text,
        (connections, connections_limit): (usize, usize),
        requests_in_work: usize,
    ) {
        let snapshot = Snapshot {
            counts: sync::lock(&self.counts).clone(),
            connections,
            connections_limit,
            requests_in_work,
        };
        text.families(FAMILIES, &snapshot);
    }
}
