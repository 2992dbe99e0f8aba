//! The outcome of a run of iperf3, and its cost.
//!
//! Values only.

use super::reason::Reason;
use super::report::model::Report;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    /// The message of iperf3, or of the system.
    pub(crate) message: String,
}

impl Failure {
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { reason, message }
    }
}

pub(crate) type Outcome = Result<Report, Failure>;

/// Payload bytes of a run, as far as iperf3 reported them. A failed run has a cost too.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cost {
    pub(crate) upload: f64,
    pub(crate) download: f64,
}
