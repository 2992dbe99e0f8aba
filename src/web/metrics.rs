//! Counts answered requests by path and status code.
//!
//! Must not know what serves a path.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::metrics::text::{Family, Kind, Text};
use crate::sync;

/// The metric families, in the order of the output.
pub(crate) const FAMILIES: &[Family<Requests>] = &[Family {
    name: "iperf3_exporter_http_requests_total",
    help: "Answered requests by path and status code.",
    kind: Kind::Counter,
    write: |text, requests| {
        for ((path, code), count) in requests {
            let labels = [("path", path.as_str()), ("code", &code.to_string())];
            text.sample("", &labels, *count as f64);
        }
    },
}];

/// Counts by path and status code. Paths come from the table of routes and codes are our own, so there are few.
type Requests = BTreeMap<(String, u16), u64>;

#[derive(Debug, Default)]
pub(crate) struct Metrics(Mutex<Requests>);

impl Metrics {
    pub(super) fn request(&self, path: &str, code: u16) {
        let key = (path.to_owned(), code);
        *sync::lock(&self.0).entry(key).or_default() += 1;
    }

    pub(super) fn write(&self, text: &mut Text) {
        text.families(FAMILIES, &sync::lock(&self.0));
    }
}
