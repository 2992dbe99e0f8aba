//! What the pages share: the engine, the middleware, the paths that flags change, the token of the forms.
//!
//! Owns what lives as long as the exporter; must not know what a request is.

use std::sync::Arc;

use super::csrf::CsrfToken;
use super::metrics::Metrics;
use crate::metrics::text::Text;
use crate::probe::prober::Prober;
use crate::toolkit::access::Access;

/// Where the pages are that a flag can move.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    /// Path of the exporter's own metrics.
    pub(crate) telemetry: String,
    /// Path of probes.
    pub(crate) probe: String,
}

/// Writes families of the rings below and of the process.
pub(crate) type Collector = Box<dyn Fn(&mut Text) + Send + Sync>;

/// Everything that a page needs.
pub(crate) struct Site {
    pub(super) paths: Paths,
    pub(super) prober: Arc<Prober>,
    pub(super) access: Arc<Access>,
    pub(super) csrf: CsrfToken,
    pub(super) metrics: Metrics,
    /// In the order in which they are written, behind the engine's and the pages' own.
    pub(super) collectors: Vec<Collector>,
}

impl Site {
    /// The pages of an exporter.
    pub(crate) fn new(
        paths: Paths,
        prober: Arc<Prober>,
        access: Arc<Access>,
        collectors: Vec<Collector>,
    ) -> Self {
        Self {
            paths,
            prober,
            access,
            csrf: CsrfToken::new(),
            metrics: Metrics::default(),
            collectors,
        }
    }
}
