//! Permits: how many of something there may be at a time, and how many there are.
//!
//! Must not know what a permit is for.

use std::sync::{Arc, Mutex};

use crate::sync;

/// A limit, and how much of it is taken.
#[derive(Debug)]
pub(crate) struct Permits {
    limit: usize,
    count: Mutex<usize>,
}

/// One permit, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Permits>);

impl Permits {
    /// None yet, and at most `limit`.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            count: Mutex::default(),
        }
    }

    /// Counts one more; none when there are as many as there may be.
    pub(crate) fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
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
}

impl Drop for Permit {
    fn drop(&mut self) {
        *sync::lock(&self.0.count) -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::Permits;
    use std::sync::Arc;

    #[test]
    fn the_limit_holds_and_permits_come_back() {
        let permits = Arc::new(Permits::new(3));
        let mut taken: Vec<_> = std::iter::from_fn(|| permits.try_acquire()).collect();
        assert_eq!((taken.len(), permits.count()), (3, 3));
        taken.pop();
        assert!(permits.try_acquire().is_some());
    }
}
