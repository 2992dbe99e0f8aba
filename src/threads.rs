//! How a thread is started: with a name, and a stack of its own size.
//!
//! Must not know what a thread does. Bodies come in a box, so that the standard library's starting of threads, some
//! 2 KiB of code for each type of body, is in the binary once.

use std::io;
use std::thread;

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
