//! Starts threads with a name and a chosen stack size.
//!
//! Must not know what a thread does. Bodies are boxed, so that the standard library's code for starting threads (2 KiB
//! for each type of body) is in the binary only once.

use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use crate::sync;

/// The function that a thread runs.
pub(crate) type Body = Box<dyn FnOnce() + Send>;

/// Starts a detached thread.
///
/// # Errors
/// If the system cannot start a thread; `body` is dropped then.
pub(crate) fn start(name: &str, stack_bytes: usize, body: Body) -> io::Result<()> {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(stack_bytes)
        .spawn(body)
        .map(drop)
}

/// Runs `body` on its own thread, waits for its result until `until`, and returns it. `None` if it came too late: the
/// thread runs on, and its result is dropped. (Refused: a channel of the standard library. It adds three kinds of queue for each
/// type of value.)
///
/// # Errors
/// If the system cannot start a thread.
pub(crate) fn within<T: Send + 'static>(
    until: Instant,
    name: &str,
    stack_bytes: usize,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Option<T>> {
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
