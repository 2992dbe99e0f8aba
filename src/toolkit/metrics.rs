//! What the middleware counts, and its families of `/metrics`.
//!
//! Must not know why a request was refused.

use std::sync::Mutex;

use crate::metrics::text::{Family, Kind, Text};
use crate::sync;

/// The families, in the order in which they are written.
pub(crate) const FAMILIES: &[Family<Counts>] = &[
    Family {
        name: "iperf3_exporter_auth_failures_total",
        help: "Requests with a wrong user or password.",
        kind: Kind::Counter,
        write: |text, counts| text.plain(Some(counts.auth_failures as f64)),
    },
    Family {
        name: "iperf3_exporter_rate_limited_total",
        help: "Requests that the rate limit refused.",
        kind: Kind::Counter,
        write: |text, counts| text.plain(Some(counts.rate_limited as f64)),
    },
];

/// What the middleware counts.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    counts: Mutex<Counts>,
}

/// The counts of one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    auth_failures: u64,
    rate_limited: u64,
}

impl Metrics {
    /// A wrong user or password.
    pub(super) fn auth_failed(&self) {
        sync::lock(&self.counts).auth_failures += 1;
    }

    /// A request beyond the rate limit.
    pub(super) fn rate_limited(&self) {
        sync::lock(&self.counts).rate_limited += 1;
    }

    /// Writes the families.
    pub(super) fn write(&self, text: &mut Text) {
        let counts = *sync::lock(&self.counts);
        text.families(FAMILIES, &counts);
    }
}
