//! Single probes. A request's probe runs its own test and is cancelled with the request. A manual probe, which a user
//! starts from the page, runs on its own thread and is independent of the request.
//!
//! Must not know text formats, HTML or status codes.

use std::sync::Arc;

use super::answer::{Answer, Caller};
use super::deadline::Limits;
use super::params::Params;
use super::prober::Prober;
use super::retry::RetryLoop;
use super::wait_error::{Reached, Unanswered, WaitError};
use super::{accounting, coalesce};
use crate::cancel::{Cancel, Cause};

impl Prober {
    /// Answers one probe: with a new test or, with `max_age`, also with a stored or shared result.
    ///
    /// # Errors
    /// Why there is no result.
    pub(crate) fn probe(
        self: &Arc<Self>,
        params: &Params,
        limits: &Limits,
        caller: &Caller,
    ) -> Result<Answer, Unanswered> {
        // Inspects a binary that is not known yet. Doing it later would hold the test lock.
        let _ = self.binary.installed();
        if let Some(max_age) = params.options.max_age {
            return coalesce::answer(self, params, limits, caller, max_age);
        }
        let running = self
            .history
            .open(params, caller.client, &caller.cancel, false);
        let end = RetryLoop::begin(self, params, limits, caller, &running).run();
        let probe = Some(running.number);
        running.end(&end);
        end.map_err(|why| Unanswered { why, probe })
    }

    /// Starts a manual probe and returns its number, for [`Prober::find`].
    ///
    /// # Errors
    /// When too many manual probes are in progress, the exporter is shutting down, or no thread can be started.
    pub(crate) fn start(
        self: &Arc<Self>,
        params: Params,
        limits: Limits,
        caller: &Caller,
    ) -> Result<u64, WaitError> {
        let Some(permit) = self.manual.try_acquire() else {
            let why = WaitError::Full;
            accounting::not_run(self, None, &params, caller, &why, None);
            return Err(why);
        };
        let caller = Caller {
            // Not the request's flag: the request ends while the probe still runs.
            cancel: Cancel::default(),
            ..caller.clone()
        };
        let running = self
            .history
            .open(&params, caller.client, &caller.cancel, true);
        let number = running.number;
        // The exporter may have started to shut down after the request arrived.
        if self.shutdown.is_set() {
            let why = WaitError::Cancelled {
                cause: Cause::ShuttingDown,
                reached: Reached::NotRun,
            };
            accounting::not_run(self, Some(number), &params, &caller, &why, None);
            running.end(&Err(why.clone()));
            return Err(why);
        }
        let prober = Arc::clone(self);
        let body = move || {
            let limits = limits.detached(params.length_seconds(params.period_seconds));
            let end = RetryLoop::begin(&prober, &params, &limits, &caller, &running).run();
            running.end(&end);
            // Released last: shutdown waits for this permit.
            drop(permit);
        };
        self.start_thread(Box::new(body))?;
        Ok(number)
    }
}
