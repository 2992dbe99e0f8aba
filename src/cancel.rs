//! Cancellation: tells the code that waits or runs for a request that its result is no longer wanted, and why.
//!
//! Must not know who waits, or for what. There are three ways to notice it: ask, wait until a deadline, or poll(2) a
//! descriptor.

use std::fmt;
use std::io::{self, PipeReader, PipeWriter, Write as _};
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::Instant;

use crate::sync;

/// Why the result is no longer wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    ClientGone,
    /// A person at this address stopped the probe.
    StoppedBy(IpAddr),
    ShuttingDown,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientGone => f.write_str("the client disconnected"),
            Self::StoppedBy(address) => write!(f, "stopped from the page by {address}"),
            Self::ShuttingDown => f.write_str("the exporter is shutting down"),
        }
    }
}

/// A cancellation flag that its clones share. Once set, it stays set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cancel(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    was_set: Condvar,
}

#[derive(Debug, Default)]
struct State {
    cause: Option<Cause>,
    /// Exists while anything watches it. Most requests run no test or only wait in the queue, and need no descriptor.
    pipe: Weak<Watch>,
}

/// A pipe whose read end is readable once the cancellation is set. No one reads from it, so that all pollers see it.
pub(crate) type Watch = (PipeReader, PipeWriter);

/// Makes the pipe readable. The write cannot block or fail: the pipe is empty, and its read end is open.
fn tell((_, writer): &Watch) {
    let _ = (&*writer).write_all(&[0]);
}

impl Cancel {
    /// Sets it. Later causes are ignored. Waiters on another condition variable, such as the test lock's, must be woken
    /// separately.
    pub(crate) fn set(&self, cause: Cause) {
        let mut state = sync::lock(&self.0.state);
        if state.cause.is_some() {
            return;
        }
        state.cause = Some(cause);
        if let Some(watch) = state.pipe.upgrade() {
            tell(&watch);
        }
        drop(state);
        self.0.was_set.notify_all();
    }

    /// Whether it is set.
    pub(crate) fn is_set(&self) -> bool {
        self.cause().is_some()
    }

    /// Why it is set, if it is.
    pub(crate) fn cause(&self) -> Option<Cause> {
        sync::lock(&self.0.state).cause
    }

    /// Waits until it is set, or until `until`. Returns whether it is set.
    pub(crate) fn wait_until(&self, until: Instant) -> bool {
        let mut state = sync::lock(&self.0.state);
        while state.cause.is_none() && Instant::now() < until {
            state = sync::wait_until(&self.0.was_set, state, until);
        }
        state.cause.is_some()
    }

    /// A descriptor for poll(2), shared by all watchers.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub(crate) fn watch(&self) -> io::Result<Arc<Watch>> {
        let mut state = sync::lock(&self.0.state);
        if let Some(watch) = state.pipe.upgrade() {
            return Ok(watch);
        }
        let watch = Arc::new(io::pipe()?);
        if state.cause.is_some() {
            tell(&watch);
        }
        state.pipe = Arc::downgrade(&watch);
        Ok(watch)
    }
}

#[cfg(test)]
mod tests {
    use super::{Cancel, Cause};
    use crate::sys;
    use std::os::fd::AsFd as _;
    use std::sync::Arc;
    use std::thread;
    use std::time::{Duration, Instant};

    const LONG: Duration = Duration::from_secs(60);

    fn is_signalled(watch: &super::Watch) -> bool {
        sys::is_readable(watch.0.as_fd(), Duration::ZERO).unwrap()
    }

    #[test]
    fn every_watcher_is_notified() {
        let cancel = Cancel::default();
        let (first, second) = (cancel.watch().unwrap(), cancel.watch().unwrap());
        assert!(!is_signalled(&first) && !is_signalled(&second));
        cancel.clone().set(Cause::ClientGone);
        assert!(is_signalled(&first) && is_signalled(&second));
        drop((first, second));
        assert!(is_signalled(&cancel.watch().unwrap()));
        assert!(cancel.is_set());
    }

    #[test]
    fn descriptors_are_shared_and_closed_with_the_last_watcher() {
        let cancel = Cancel::default();
        let (first, second) = (cancel.watch().unwrap(), cancel.watch().unwrap());
        assert!(Arc::ptr_eq(&first, &second));
        let left = Arc::downgrade(&first);
        drop(first);
        assert!(left.upgrade().is_some());
        drop(second);
        assert!(left.upgrade().is_none());
    }

    #[test]
    fn a_wait_ends_when_it_is_set_or_at_its_deadline() {
        let cancel = Cancel::default();
        assert!(!cancel.wait_until(Instant::now() + Duration::from_millis(10)));
        let own = cancel.clone();
        let waiter = thread::spawn(move || own.wait_until(Instant::now() + LONG));
        cancel.set(Cause::ShuttingDown);
        assert!(waiter.join().unwrap());
        assert!(cancel.wait_until(Instant::now() + LONG));
    }
}
