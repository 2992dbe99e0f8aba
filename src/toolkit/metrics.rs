//! The counts of the middleware, and its metrics.
//!
//! Must not know why a request was rejected.

use crate::metrics::text::{Family, Kind};

/// The metrics, in the order in which they are written.
pub(crate) const FAMILIES: &[Family<Counts>] = &[
    Family {
        name: "iperf3_exporter_auth_failures_total",
        help: "Requests rejected for a wrong user name or password.",
        kind: Kind::Counter,
        write: |text, counts| text.plain(Some(counts.auth_failures as f64)),
    },
    Family {
        name: "iperf3_exporter_rate_limited_total",
        help: "Requests rejected by the rate limit.",
        kind: Kind::Counter,
        write: |text, counts| text.plain(Some(counts.rate_limited as f64)),
    },
];

/// What the middleware has counted so far.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(super) auth_failures: u64,
    pub(super) rate_limited: u64,
}
