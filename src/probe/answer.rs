//! The result of a probe, and its caller.
//!
//! Values only. Must not know how a test is run or reported.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::cancel::Cancel;
use crate::iperf3::progress::{Progress, Seen};
use crate::iperf3::{Failure, Outcome, RunDetails};
use crate::moment::Moment;

/// A completed test, with all its attempts.
#[derive(Clone, Debug)]
pub(crate) struct CompletedTest {
    /// What it measured, or why its last attempt failed.
    pub(crate) outcome: Outcome,
    /// The port that `outcome` refers to, usually that of the last attempt.
    pub(crate) port: u16,
    /// How many times iperf3 was run.
    pub(crate) count: u32,
    /// The last attempts, latest one last.
    pub(crate) attempts: Vec<Attempt>,
    /// What the last attempt had measured before it failed.
    pub(crate) cut_off: Option<CutOff>,
    /// Total time that the attempts waited for the lock.
    pub(crate) lock_wait: Duration,
    pub(crate) ended: Moment,
}

impl CompletedTest {
    /// Details of the run that determined the probe's outcome.
    pub(crate) fn last_details(&self) -> Option<&RunDetails> {
        let mut runs = self.attempts.iter().map(|attempt| &attempt.details);
        runs.rfind(|details| details.port == self.port)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// How long it waited for the lock. `None` when the lock was already held, after an attempt on another port or with
    /// the other IP version.
    pub(crate) waited: Option<Duration>,
    pub(crate) details: RunDetails,
    /// Why it failed, if it did.
    pub(crate) failure: Option<Failure>,
}

/// What a test had measured when it was cut off. It is shown to users and is not a result, because the rest of the test
/// is unknown.
#[derive(Clone, Debug)]
pub(crate) struct CutOff {
    /// How long it had run.
    pub(crate) after: Duration,
    pub(crate) seen: Seen,
}

impl CutOff {
    /// The measurements of a test that ends now. `None` when no interval was received: the test had not started, or
    /// this iperf3 does not stream intervals.
    pub(super) fn of(progress: &Progress) -> Option<Self> {
        let seen = progress.look();
        let is_measured = seen.directions().iter().any(Option::is_some);
        is_measured.then(|| Self {
            after: seen.elapsed(),
            seen,
        })
    }
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) completed: Arc<CompletedTest>,
    /// Time from the request to its answer.
    pub(crate) duration: Duration,
    /// How long ago the test ended, for requests with `max_age`.
    pub(crate) age: Option<Duration>,
    /// When the same test last succeeded, if known, for requests with `max_age`.
    pub(crate) last_success: Option<SystemTime>,
}

/// The client that requested a probe.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Address of the client.
    pub(crate) client: SocketAddr,
    pub(crate) arrival: Instant,
    /// Position of the request in order of arrival.
    pub(crate) number: u64,
    /// Set when the probe is cancelled.
    pub(crate) cancel: Cancel,
}
