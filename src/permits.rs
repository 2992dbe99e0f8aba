//! How many requests are in work, and the limit of it.
//!
//! Must not know what a request is, or which thread works on it.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use crate::sync;

/// Most requests in flight at a time, each on a thread of its own: as many as there are connections by default, and some
/// whose answers are out already when the next request comes.
pub(crate) const LIMIT: usize = 256 + 16;

/// How many of so many connections may have a probe, which can wait long for the lock: some are left for those who ask
/// how the exporter is. With a test of a few seconds each, the last of them would wait far longer than any scrape
/// timeout anyway.
pub(crate) fn probes_limit(connections: usize) -> usize {
    let connections = connections.min(LIMIT - 16);
    let for_others = (connections / 16).max(8).min(connections / 2);
    connections - for_others
}

/// The requests in flight.
#[derive(Debug)]
pub(crate) struct Permits {
    limit: usize,
    count: Mutex<usize>,
    is_idle: Condvar,
}

/// One request in work, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Permits>);

impl Permits {
    /// None yet, and at most `limit`.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            count: Mutex::default(),
            is_idle: Condvar::new(),
        }
    }

    /// Counts one more; none when there are as many as there may be.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<Permit> {
        let mut count = sync::lock(&self.count);
        (*count < self.limit).then(|| {
            *count += 1;
            Permit(Arc::clone(self))
        })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        *sync::lock(&self.count)
    }

    /// Blocks until there are none, or `until` has come; whether there are none.
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
    use super::{LIMIT, Permits, probes_limit};
    use std::sync::Arc;
    use std::thread;
    use std::time::{Duration, Instant};

    #[test]
    fn the_limit_holds_and_places_come_back() {
        let work = Arc::new(Permits::new(LIMIT));
        let mut places: Vec<_> = std::iter::from_fn(|| work.begin()).collect();
        assert_eq!((places.len(), work.count()), (LIMIT, LIMIT));
        places.pop();
        assert!(work.begin().is_some());
    }

    #[test]
    fn a_wait_ends_with_the_last_permit_or_at_its_moment() {
        let work = Arc::new(Permits::new(LIMIT));
        let places = (work.begin().unwrap(), work.begin().unwrap());
        assert!(!work.wait_until_idle(Instant::now() + Duration::from_millis(10)));
        let own = Arc::clone(&work);
        let waiter =
            thread::spawn(move || own.wait_until_idle(Instant::now() + Duration::from_secs(60)));
        drop(places);
        assert!(waiter.join().unwrap());
    }

    #[test]
    fn probes_leave_connections_for_others() {
        for (connections, probes) in [
            (1, 1),
            (2, 1),
            (8, 4),
            (16, 8),
            (64, 56),
            (256, 240),
            (10_000, 240),
        ] {
            assert_eq!(probes_limit(connections), probes, "{connections}");
        }
    }
}
