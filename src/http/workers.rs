//! Worker threads: one request each at a time, and a few that wait for the next one.
//!
//! Must not know what a job is. A thread for every request and none kept would be simpler, and cost each scrape
//! of `/metrics` a third of its time, measured.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::{sync, threads};

/// So many threads wait long for the next job: enough for a burst of scrapes over as many connections.
const KEPT: usize = 16;
/// How long those wait: a burst is over by then, and an idle exporter has no worker at all.
const KEPT_FOR: Duration = Duration::from_secs(10);
/// And the others. None ends at once: where jobs come without a pause, threads would be made faster than the kernel
/// takes the ended ones away, and be thousands.
const SPARE_FOR: Duration = Duration::from_secs(1);
/// A worker's stack: the deepest it goes is a JSON document of 128 levels, the reader's limit, which takes a
/// fifth of this in a debug build.
const STACK_BYTES: usize = 512 * 1024;

/// The workers of one kind of job.
pub(crate) struct Workers<J> {
    /// Most threads. A thread that has done its work and has not come back yet is one of them, so that jobs which
    /// come faster than that make no more.
    most: usize,
    pool: Mutex<Pool<J>>,
    more: Condvar,
    handle: Handle<J>,
}

/// What is done with a job, and the buffer that its thread keeps.
type Handle<J> = Box<dyn Fn(J, &mut Vec<u8>) + Send + Sync>;

struct Pool<J> {
    /// Those that no thread has taken yet.
    jobs: VecDeque<J>,
    /// Threads that there are.
    threads: usize,
    /// Threads that wait.
    waiting: usize,
}

impl<J: Send + 'static> Workers<J> {
    /// Workers that do `handle` with each job, and with a buffer that the thread keeps from one job to the next. Of
    /// jobs that may last, no more than `most` must be given at a time: a further one waits for a thread.
    pub(crate) fn new(
        most: usize,
        handle: impl Fn(J, &mut Vec<u8>) + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            most: most + KEPT,
            pool: Mutex::new(Pool {
                jobs: VecDeque::new(),
                threads: 0,
                waiting: 0,
            }),
            more: Condvar::new(),
            handle: Box::new(handle),
        })
    }

    /// Gives a job to a waiting worker, or to a new one.
    ///
    /// # Errors
    /// The job back, with the system's reason, when there is no thread for it.
    pub(crate) fn give(self: &Arc<Self>, job: J) -> Result<(), (J, io::Error)> {
        let mut pool = sync::lock(&self.pool);
        pool.jobs.push_back(job);
        if pool.jobs.len() <= pool.waiting {
            drop(pool);
            self.more.notify_one();
            return Ok(());
        }
        if pool.threads >= self.most {
            // At most `most` are at work: another one is on its way back, and takes it.
            return Ok(());
        }
        let workers = Arc::clone(self);
        let started = threads::start("worker", STACK_BYTES, Box::new(move || workers.work()));
        // The lock was held all the while, so the last job is still this one.
        match started {
            Ok(()) => {
                pool.threads += 1;
                Ok(())
            }
            Err(error) => pool.jobs.pop_back().map_or(Ok(()), |job| Err((job, error))),
        }
    }

    /// A worker's life.
    fn work(&self) {
        // However it ends, it is one fewer.
        let _ended = Ended(&self.pool);
        let mut buffer = Vec::new();
        let mut pool = sync::lock(&self.pool);
        loop {
            if let Some(job) = pool.jobs.pop_front() {
                drop(pool);
                (self.handle)(job, &mut buffer);
                pool = sync::lock(&self.pool);
            } else {
                let is_kept = pool.waiting < KEPT;
                let until = Instant::now() + if is_kept { KEPT_FOR } else { SPARE_FOR };
                pool.waiting += 1;
                while pool.jobs.is_empty() && Instant::now() < until {
                    pool = sync::wait_until(&self.more, pool, until);
                }
                pool.waiting -= 1;
                if pool.jobs.is_empty() {
                    break;
                }
            }
        }
    }
}

/// A worker's end.
struct Ended<'a, J>(&'a Mutex<Pool<J>>);

impl<J> Drop for Ended<'_, J> {
    fn drop(&mut self) {
        sync::lock(self.0).threads -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT, Workers};
    use std::sync::mpsc;
    use std::sync::{Arc, Barrier};

    #[test]
    fn jobs_given_at_one_moment_all_run_side_by_side() {
        const JOBS: usize = 4 * KEPT;
        // Each waits for all the others: with a thread too few none would end.
        let barrier = Arc::new(Barrier::new(JOBS));
        let (sender, receiver) = mpsc::channel();
        let workers = Workers::new(JOBS, move |number: usize, _| {
            barrier.wait();
            sender.send(number).unwrap();
        });
        for round in 0..20 {
            for number in 0..JOBS {
                workers.give(number).map_err(|(_, error)| error).unwrap();
            }
            let mut done: Vec<usize> = receiver.iter().take(JOBS).collect();
            done.sort_unstable();
            assert_eq!(done, (0..JOBS).collect::<Vec<_>>(), "round {round}");
        }
        assert!(super::sync::lock(&workers.pool).threads <= JOBS + KEPT);
    }

    #[test]
    fn jobs_without_end_make_no_more_threads_than_there_may_be() {
        const MOST: usize = 4;
        let (sender, receiver) = mpsc::channel();
        let workers = Workers::new(MOST, move |number: usize, _| {
            sender.send(number).unwrap();
        });
        for number in 0..20_000 {
            workers.give(number).map_err(|(_, error)| error).unwrap();
            let threads = super::sync::lock(&workers.pool).threads;
            assert!(threads <= MOST + KEPT, "{threads} after {number}");
        }
        let mut done: Vec<usize> = receiver.iter().take(20_000).collect();
        done.sort_unstable();
        assert!(done.into_iter().eq(0..20_000), "none is lost");
    }
}
