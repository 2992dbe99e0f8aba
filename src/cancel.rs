//! A cancellation: says to whoever waits or runs for a request that nobody wants the result any more.
//!
//! Must not know who waits, or for what. Three ways to learn of it: the question, a wait until a moment, and a
//! descriptor for poll(2).

use std::io::{self, PipeReader, PipeWriter, Write as _};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use crate::sync;

/// Says that whoever waits or runs for this request need not go on. Once set it stays so.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cancel(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    was_set: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_set: bool,
    /// There once somebody watches: most requests run no test and cost no descriptor. Nobody reads from it, so all who
    /// poll it learn.
    pipe: Option<(Arc<PipeReader>, PipeWriter)>,
}

impl State {
    /// Makes the descriptor readable. A pipe that is empty takes a byte at once.
    fn tell(&self) {
        if let Some((_, writer)) = self.pipe.as_ref().filter(|_| self.is_set) {
            // It cannot fail: there is room, and the reading end is open.
            let _ = (&*writer).write_all(&[0]);
        }
    }
}

impl Cancel {
    /// Sets it. Waiters in a lock see it after they were woken.
    pub(crate) fn set(&self) {
        let mut state = sync::lock(&self.0.state);
        if state.is_set {
            return;
        }
        state.is_set = true;
        state.tell();
        drop(state);
        self.0.was_set.notify_all();
    }

    /// Whether it is set.
    pub(crate) fn is_set(&self) -> bool {
        sync::lock(&self.0.state).is_set
    }

    /// Waits until it is set or `until` has come; whether it is set.
    pub(crate) fn wait_until(&self, until: Instant) -> bool {
        let mut state = sync::lock(&self.0.state);
        while !state.is_set && Instant::now() < until {
            state = sync::wait_until(&self.0.was_set, state, until);
        }
        state.is_set
    }

    /// A descriptor that can be read once it is set, for poll(2); all who watch share it.
    ///
    /// # Errors
    /// When there is no descriptor to be had.
    pub(crate) fn watch(&self) -> io::Result<Arc<PipeReader>> {
        let mut state = sync::lock(&self.0.state);
        if let Some((reader, _)) = &state.pipe {
            return Ok(Arc::clone(reader));
        }
        let (reader, writer) = io::pipe()?;
        let reader = Arc::new(reader);
        state.pipe = Some((Arc::clone(&reader), writer));
        state.tell();
        Ok(reader)
    }
}

#[cfg(test)]
mod tests {
    use super::Cancel;
    use crate::sys;
    use std::os::fd::AsFd as _;
    use std::sync::Arc;
    use std::thread;
    use std::time::{Duration, Instant};

    const LONG: Duration = Duration::from_secs(60);

    fn is_told(watch: &super::PipeReader) -> bool {
        sys::is_readable(watch.as_fd(), Duration::ZERO).unwrap()
    }

    #[test]
    fn everyone_who_watches_learns_of_it() {
        let cancel = Cancel::default();
        let (first, second) = (cancel.watch().unwrap(), cancel.watch().unwrap());
        assert!(!is_told(&first) && !is_told(&second));
        cancel.clone().set();
        assert!(is_told(&first) && is_told(&second));
        drop((first, second));
        assert!(is_told(&cancel.watch().unwrap()));
        assert!(cancel.is_set());
    }

    #[test]
    fn those_who_watch_share_a_descriptor() {
        let cancel = Cancel::default();
        let (first, second) = (cancel.watch().unwrap(), cancel.watch().unwrap());
        assert!(Arc::ptr_eq(&first, &second));
    }

    #[test]
    fn a_wait_ends_when_it_is_set_or_at_its_moment() {
        let cancel = Cancel::default();
        assert!(!cancel.wait_until(Instant::now() + Duration::from_millis(10)));
        let own = cancel.clone();
        let waiter = thread::spawn(move || own.wait_until(Instant::now() + LONG));
        cancel.set();
        assert!(waiter.join().unwrap());
        assert!(cancel.wait_until(Instant::now() + LONG));
    }
}
