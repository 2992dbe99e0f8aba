//! How many requests are in work, and the limit of it.
//!
//! Must not know what a request is, or which thread works on it.

use std::sync::{Arc, Mutex};

use crate::sync;

/// Most requests in work at a time, each on a thread of its own. As many probes can wait for the lock; with a test of
/// a few seconds each, the last of 256 would wait far longer than any scrape timeout.
const LIMIT: usize = 256;

/// The requests in work.
#[derive(Debug, Default)]
pub(crate) struct Work {
    count: Mutex<usize>,
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
}

impl Drop for InWork {
    fn drop(&mut self) {
        *sync::lock(&self.0.count) -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::{LIMIT, Work};
    use std::sync::Arc;

    #[test]
    fn the_limit_holds_and_places_come_back() {
        let work = Arc::new(Work::default());
        let mut places: Vec<_> = std::iter::from_fn(|| work.begin()).collect();
        assert_eq!((places.len(), work.count()), (LIMIT, LIMIT));
        places.pop();
        assert!(work.begin().is_some());
    }
}
