//! What a run of iperf3 led to, and what it cost.
//!
//! Values only.

use super::reason::Reason;
use super::report::model::Report;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    /// In iperf3's own words, or the system's.
    pub(crate) message: String,
}

impl Failure {
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { reason, message }
    }
}

pub(crate) type Outcome = Result<Report, Failure>;

/// Payload bytes of a run, as far as iperf3 said: a run that failed has a cost too.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cost {
    pub(crate) upload: f64,
    pub(crate) download: f64,
}
