//! The families of the process as a whole: which build it is, and its panics.
//!
//! Must not know what panicked.

use std::sync::atomic::{AtomicU32, Ordering};

use super::text::{Family, Kind, Text};

/// The families, in the order in which they are written.
pub(crate) const FAMILIES: &[Family<u32>] = &[
    Family {
        name: "iperf3_exporter_build_info",
        help: "The exporter's version, the revision it was built from and the compiler; the value is 1.",
        kind: Kind::Gauge,
        write: |text, _| {
            let labels = [
                ("version", env!("CARGO_PKG_VERSION")),
                ("revision", env!("EXPORTER_REVISION")),
                ("rustc", env!("EXPORTER_RUSTC")),
            ];
            text.sample("", &labels, 1.0);
        },
    },
    Family {
        name: "iperf3_exporter_panics_total",
        help: "Workers that panicked; each cost its own request.",
        kind: Kind::Counter,
        write: |text, panics| text.plain(Some(f64::from(*panics))),
    },
];

/// Counts panics. An atomic, since a panic may come while any lock is held; of 32 bits, which the smallest routers have.
#[derive(Debug, Default)]
pub(crate) struct Panics(AtomicU32);

impl Panics {
    /// One more.
    pub(crate) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes the families.
    pub(crate) fn write_metrics(&self, text: &mut Text) {
        text.families(FAMILIES, &self.0.load(Ordering::Relaxed));
    }
}
