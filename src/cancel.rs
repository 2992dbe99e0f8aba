//! A cancellation: says to whoever waits or runs for a request that nobody wants the result any more.
//!
//! Must not know who waits, or for what.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Says that whoever waits or runs for this request need not go on. Once set it stays so.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Sets it. Waiters in a lock see it after they were woken.
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it is set.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
