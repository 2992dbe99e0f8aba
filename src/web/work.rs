//! How many requests are in work, and the limit of it.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use crate::sync;

/// Most requests in work at a time, each on a thread of its own. As many probes can wait for the lock; a test of a
/// few seconds each, the last of 256 would wait far longer than any scrape timeout.
const LIMIT: usize = 256;

/// The requests in work.
#[derive(Debug, Default)]
pub(crate) struct Work {
    count: Mutex<usize>,
    none_left: Condvar,
}

/// One request in work, until it is dropped.
#[derive(Debug)]
pub(crate) struct InWork(Arc<Work>);

impl Work {
    /// Counts one more; none when there are as many as there may be.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<InWork> {
        let mut count = sync::lock(&self.count);
        (*count < LIMIT).then(|| {
            *count += 1;
            InWork(Arc::clone(self))
        })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        *sync::lock(&self.count)
    }

    /// Blocks until there is none, or `until` has come.
    pub(crate) fn wait_for_none(&self, until: Instant) {
        let mut count = sync::lock(&self.count);
        while *count > 0 && Instant::now() < until {
            count = sync::wait_until(&self.none_left, count, until);
        }
    }
}

impl Drop for InWork {
    fn drop(&mut self) {
        let mut count = sync::lock(&self.0.count);
        *count -= 1;
        if *count == 0 {
            self.0.none_left.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LIMIT, Work};
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    #[test]
    fn the_limit_holds_and_places_come_back() {
        let work = Arc::new(Work::default());
        let mut places: Vec<_> = std::iter::from_fn(|| work.begin()).collect();
        assert_eq!((places.len(), work.count()), (LIMIT, LIMIT));
        places.pop();
        assert!(work.begin().is_some());
    }

    #[test]
    fn waiting_for_none_ends_with_the_last_one() {
        let work = Arc::new(Work::default());
        let place = work.begin();
        std::thread::scope(|scope| {
            scope.spawn(|| work.wait_for_none(Instant::now() + Duration::from_secs(60)));
            drop(place);
        });
        assert_eq!(work.count(), 0);
    }
}
