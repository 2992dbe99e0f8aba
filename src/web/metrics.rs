//! Answered requests by path and status code.
//!
//! Must not know what stands behind a path.

use std::sync::Mutex;

use crate::metrics::text::{Family, Kind, Text};
use crate::sync;

/// The families, in the order in which they are written.
pub(crate) const FAMILIES: &[Family<Requests>] = &[Family {
    name: "iperf3_exporter_http_requests_total",
    help: "Answered requests by path and status code.",
    kind: Kind::Counter,
    write: |text, requests| {
        for (path, code, count) in requests {
            let labels = [("path", path.as_str()), ("code", &code.to_string())];
            text.sample("", &labels, *count as f64);
        }
    },
}];

/// Path, code and count, in the order of paths and codes. The paths are those of the table and the codes our own: the
/// list stays small.
type Requests = Vec<(String, u16, u64)>;

/// What the pages count.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    requests: Mutex<Requests>,
}

impl Metrics {
    /// An answered request of a known path.
    pub(super) fn request(&self, path: &str, code: u16) {
        let mut requests = sync::lock(&self.requests);
        let at = requests.partition_point(|(known, own, _)| (known.as_str(), *own) < (path, code));
        match requests.get_mut(at) {
            Some((known, own, count)) if known == path && *own == code => *count += 1,
            _ => requests.insert(at, (path.to_owned(), code, 1)),
        }
    }

    /// Writes the families.
    pub(super) fn write(&self, text: &mut Text) {
        text.families(FAMILIES, &sync::lock(&self.requests));
    }
}
