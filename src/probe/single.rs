//! A probe of one request: a test of its own, which ends with it; or one that a person starts from the page, on a thread
//! of its own and bound to no request.
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
    /// Answers one probe, with a new test or with a result that will do.
    ///
    /// # Errors
    /// When there is no result: the lock was not had in time, nobody wants it any more, or it comes too late.
    pub(crate) fn probe(
        self: &Arc<Self>,
        params: &Params,
        limits: &Limits,
        caller: &Caller,
    ) -> Result<Answer, Unanswered> {
        // A binary that is not known yet is asked now, and not under the test lock.
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

    /// Starts a probe for a person; its number leads to it in [`Prober::find`].
    ///
    /// # Errors
    /// When there are as many as there may be, or no thread is to be had.
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
            // Not the request's: that is answered in a moment.
            cancel: Cancel::default(),
            ..caller.clone()
        };
        let running = self
            .history
            .open(&params, caller.client, &caller.cancel, true);
        let number = running.number;
        // The exporter may have begun to end after the request came in.
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
            // Last of all: the end of the exporter waits for it.
            drop(permit);
        };
        self.start_thread(Box::new(body))?;
        Ok(number)
    }
}
