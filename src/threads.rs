//! How a thread is started: with a name, and a stack of its own size.
//!
//! Must not know what a thread does. Bodies come in a box, so that the standard library's starting of threads, some
//! 2 KiB of code for each type of body, is in the binary once.

use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::sync;

/// What a thread does.
pub(crate) type Body = Box<dyn FnOnce() + Send>;

/// Starts a thread that nobody waits for.
///
/// # Errors
/// When the system has none to give; `body` is dropped then.
pub(crate) fn start(name: &str, stack_bytes: usize, body: Body) -> io::Result<()> {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(stack_bytes)
        .spawn(body)
        .map(drop)
}

/// What `body` gives back, on a thread of its own; none when that takes longer than `limit`: then it ends by itself,
/// unheard. (Refused: a channel of the standard library. It brings three kinds of queue for each type of value.)
///
/// # Errors
/// When the system has no thread to give.
pub(crate) fn within<T: Send + 'static>(
    limit: Duration,
    name: &str,
    stack_bytes: usize,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Option<T>> {
    let until = Instant::now() + limit;
    let result = Arc::new((Mutex::new(None), Condvar::new()));
    let sender = Arc::clone(&result);
    let body = move || {
        let value = body();
        *sync::lock(&sender.0) = Some(value);
        sender.1.notify_one();
    };
    start(name, stack_bytes, Box::new(body))?;
    let (value, changed) = &*result;
    let mut value = sync::lock(value);
    while value.is_none() && Instant::now() < until {
        value = sync::wait_until(changed, value, until);
    }
    Ok(value.take())
}
