//! What comes of a probe, and who asked for it.
//!
//! Values only; must not know how a test is run or told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::cancel::Cancel;
use crate::iperf3::progress::{Progress, Seen};
use crate::iperf3::{Failure, Outcome, RunDetails};
use crate::moment::Moment;

/// A test that was run, in as many attempts as it took.
#[derive(Clone, Debug)]
pub(crate) struct CompletedTest {
    /// What it measured, or why its last attempt failed.
    pub(crate) outcome: Outcome,
    /// The port of the last attempt.
    pub(crate) port: u16,
    /// How often iperf3 was run.
    pub(crate) count: u32,
    /// How the last attempts went, the latest last.
    pub(crate) attempts: Vec<Attempt>,
    /// What the last attempt had measured, when it failed.
    pub(crate) cut_off: Option<CutOff>,
    /// How long all of them waited for the lock.
    pub(crate) lock_wait: Duration,
    pub(crate) ended: Moment,
}

impl CompletedTest {
    /// The run whose outcome the probe's is.
    pub(crate) fn last_details(&self) -> Option<&RunDetails> {
        let mut runs = self.attempts.iter().map(|attempt| &attempt.details);
        runs.rfind(|details| details.port == self.port)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// How long it waited for the lock; none when the lock was held already, for a port before this one.
    pub(crate) waited: Option<Duration>,
    pub(crate) details: RunDetails,
    /// Why it failed.
    pub(crate) failure: Option<Failure>,
}

/// What a test had measured when it was cut off. For people to look at, and no result: what the rest had been is not
/// known.
#[derive(Clone, Debug)]
pub(crate) struct CutOff {
    /// How long it had run.
    pub(crate) after: Duration,
    pub(crate) seen: Seen,
}

impl CutOff {
    /// Of a test that ends now. None where no interval came: it had not begun, or its iperf3 does not stream them.
    pub(super) fn of(progress: &Progress) -> Option<Self> {
        let seen = progress.look();
        let is_measured = seen.directions().iter().any(Option::is_some);
        is_measured.then(|| Self {
            after: seen.elapsed(),
            seen,
        })
    }
}

/// What a request is answered with.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) completed: Arc<CompletedTest>,
    /// From the request to its answer.
    pub(crate) duration: Duration,
    /// How long ago the test ended, for requests with `max_age`.
    pub(crate) age: Option<Duration>,
    /// When a test of this kind last succeeded, for requests with `max_age` and as far as is known.
    pub(crate) last_success: Option<SystemTime>,
}

/// Who wants a probe.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Where the request came from.
    pub(crate) client: SocketAddr,
    pub(crate) arrival: Instant,
    /// Its place in the order in which requests came.
    pub(crate) number: u64,
    /// Set when nobody wants the result any more.
    pub(crate) cancel: Cancel,
}
