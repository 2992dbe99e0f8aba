//! What a run of iperf3 led to, and what it cost.
//!
//! Values only.

use super::reason::Reason;
use super::report::model::Report;

/// How a test failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    /// In iperf3's own words, or the system's.
    pub(crate) words: String,
}

impl Failure {
    pub(super) fn new(reason: Reason, words: impl Into<String>) -> Self {
        let words = words.into();
        Self { reason, words }
    }
}

/// What running a test led to.
pub(crate) type Outcome = Result<Report, Failure>;

/// Payload bytes of a run, as far as iperf3 said: a run that failed has a cost too.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cost {
    /// Sent to the server.
    pub(crate) upload: f64,
    /// Received from the server.
    pub(crate) download: f64,
}
