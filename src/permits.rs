//! Permits (a counting semaphore): limit how many of something there are at a time, and count them.
//!
//! Must not know what a permit is for.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use crate::sync;

/// A limit, and the number of permits in use.
#[derive(Debug)]
pub(crate) struct Permits {
    limit: usize,
    count: Mutex<usize>,
    is_idle: Condvar,
}

/// One permit. Dropping it releases it.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Permits>);

impl Permits {
    /// No permit in use, and at most `limit`.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            count: Mutex::default(),
            is_idle: Condvar::new(),
        }
    }

    /// Takes a permit. `None` if the limit is reached.
    pub(crate) fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        let mut count = sync::lock(&self.count);
        (*count < self.limit).then(|| {
            *count += 1;
            Permit(Arc::clone(self))
        })
    }

    /// Number of permits in use.
    pub(crate) fn count(&self) -> usize {
        *sync::lock(&self.count)
    }

    /// Blocks until no permit is in use, or until `until`. Returns whether no permit is in use.
    pub(crate) fn wait_until_idle(&self, until: Instant) -> bool {
        let mut count = sync::lock(&self.count);
        while *count > 0 && Instant::now() < until {
            count = sync::wait_until(&self.is_idle, count, until);
        }
        *count == 0
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut count = sync::lock(&self.0.count);
        *count -= 1;
        if *count == 0 {
            self.0.is_idle.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Permits;
    use std::sync::Arc;
    use std::thread;
    use std::time::{Duration, Instant};

    #[test]
    fn the_limit_holds_and_permits_are_released() {
        let permits = Arc::new(Permits::new(3));
        let mut taken: Vec<_> = std::iter::from_fn(|| permits.try_acquire()).collect();
        assert_eq!((taken.len(), permits.count()), (3, 3));
        taken.pop();
        assert!(permits.try_acquire().is_some());
    }

    #[test]
    fn a_wait_ends_with_the_last_permit_or_at_its_deadline() {
        let permits = Arc::new(Permits::new(3));
        let taken = (
            permits.try_acquire().unwrap(),
            permits.try_acquire().unwrap(),
        );
        assert!(!permits.wait_until_idle(Instant::now() + Duration::from_millis(10)));
        let own = Arc::clone(&permits);
        let waiter =
            thread::spawn(move || own.wait_until_idle(Instant::now() + Duration::from_secs(60)));
        drop(taken);
        assert!(waiter.join().unwrap());
    }
}
