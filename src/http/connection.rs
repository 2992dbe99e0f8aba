//! One client's connection: heads in, answers out, one request at a time.
//!
//! Must not know paths or parameters. The next head is looked at only when the last one is answered, so what a
//! client sends ahead waits in its own socket.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Instant;

use super::admission::Slot;
use super::client_stream::ClientStream;
use super::closed::Closed;
use super::handshake::Accepted;
use super::head::{self, Head, Refusal};
use super::in_flight::RequestContext;
use super::limits::Limits;
use super::pool::{BackendConnection, read_answer};
use super::refusal::refuse;
use super::service::Service;
use crate::cancel::Cancel;
use crate::sys;

/// Serves one connection to its end.
pub(super) fn serve(
    service: &Service,
    accepted: &mut Accepted,
    peer: SocketAddr,
    slot: &Slot,
) -> Closed {
    let stream = &mut *accepted.stream;
    let mut ahead: Vec<u8> = Vec::new();
    // Kept for the connection's life: its size is that of the largest page.
    let mut answer: Vec<u8> = Vec::new();
    loop {
        let end = match next_head(&service.limits, stream, &mut ahead) {
            Ok(Some(end)) => end,
            Ok(None) | Err(Stop::Gone) => return slot.reason_or(Closed::Done),
            Err(Stop::Idle) => return Closed::Idle,
            Err(Stop::SlowHead) => {
                refuse(
                    &service.limits,
                    stream,
                    408,
                    "request head not complete in time",
                );
                return Closed::SlowHead;
            }
            Err(Stop::Refused(_)) if service.self_check.is(&ahead) => {
                return service.answer_self_check(stream.socket());
            }
            Err(Stop::Refused(refusal)) => {
                let (code, line) = refusal.answer();
                refuse(&service.limits, stream, code, line);
                return Closed::Refused;
            }
        };
        let parsed = head::parse(ahead.get(..end).unwrap_or_default());
        ahead.drain(..end);
        let mut head = match parsed {
            Ok(head) => head,
            Err(refusal) => {
                let (code, line) = refusal.answer();
                refuse(&service.limits, stream, code, line);
                return Closed::Refused;
            }
        };
        if !slot.busy() {
            refuse(
                &service.limits,
                stream,
                503,
                "too many connections, try again later",
            );
            return Closed::MadeRoom;
        }
        let context = RequestContext {
            peer,
            tls_config: accepted.tls_config,
            close_after_response: Cancel::default(),
            number: service.next_number(),
            cancel: Cancel::default(),
        };
        let closes = match relay(service, stream, &context, &mut head, &mut answer, slot) {
            Ok(closes) => closes,
            Err(closed) => return slot.reason_or(closed),
        };
        if closes {
            return Closed::Done;
        }
        slot.idle();
    }
}

/// Why there is no next head.
enum Stop {
    Idle,
    SlowHead,
    Refused(Refusal),
    Gone,
}

/// The length of the next complete head in `ahead`, which has what came behind the last one; none when the client
/// closed the connection between two requests.
fn next_head(
    limits: &Limits,
    stream: &mut dyn ClientStream,
    ahead: &mut Vec<u8>,
) -> Result<Option<usize>, Stop> {
    let mut chunk = [0; 2048];
    let limit = if ahead.is_empty() {
        limits.idle
    } else {
        limits.head
    };
    let mut until = Instant::now() + limit;
    let mut searched = 0;
    loop {
        if head::is_hopeless(ahead) {
            return Err(Stop::Refused(Refusal::Malformed));
        }
        let end = head::end(ahead, searched);
        searched = ahead.len();
        if end.unwrap_or(searched) > head::LIMIT_BYTES {
            return Err(Stop::Refused(Refusal::TooLarge));
        }
        if let Some(end) = end {
            return Ok(Some(end));
        }
        match stream.read(&mut chunk, until) {
            Ok(0) if ahead.is_empty() => return Ok(None),
            Ok(0) => return Err(Stop::Gone),
            Ok(length) => {
                if ahead.is_empty() {
                    until = Instant::now() + limits.head;
                }
                ahead.extend_from_slice(chunk.get(..length).unwrap_or_default());
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                return Err(if ahead.is_empty() {
                    Stop::Idle
                } else {
                    Stop::SlowHead
                });
            }
            Err(_) => return Err(Stop::Gone),
        }
    }
}

/// Passes the request on and the answer back; whether the connection ends with it.
fn relay(
    service: &Service,
    stream: &mut dyn ClientStream,
    context: &RequestContext,
    head: &mut Head,
    answer: &mut Vec<u8>,
    slot: &Slot,
) -> Result<bool, Closed> {
    let mut connection = match service.pool.forward(&mut head.rewritten, context) {
        Ok(connection) => connection,
        Err(error) => return Err(fail(service, stream, &error)),
    };
    let hung_up = await_answer(service, stream, &mut connection, context)?;
    let mut closes = false;
    let read = connection.stream().and_then(|backend| {
        read_answer(backend, answer, !head.has_no_answer_body, || {
            // The answer is there: from now on only its client can hold it up.
            let gives_way = slot.answering();
            closes = head.closes
                || hung_up
                || gives_way
                || context.close_after_response.is_set()
                || service.is_closing.is_set();
            closes
        })
    });
    if let Err(error) = read {
        return Err(fail(service, stream, &error));
    }
    connection.release();
    match stream.write_all(answer, Instant::now() + service.limits.answer) {
        Ok(()) if hung_up => Err(Closed::HungUp),
        Ok(()) => Ok(closes),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(Closed::SlowReader),
        Err(_) => Err(Closed::HungUp),
    }
}

/// The server behind the front end did not answer: says so to the client and, seldom, to the log.
fn fail(service: &Service, stream: &mut dyn ClientStream, error: &io::Error) -> Closed {
    service.log.warn_ratelimited(
        "the server behind the gate does not answer",
        &[("error", error)],
    );
    refuse(&service.limits, stream, 503, "overloaded, try again later");
    Closed::Failed
}

/// Waits for the answer's begin, and for the client's end meanwhile; whether that came first. There is no limit of its
/// own here: a probe has its deadline, and every other page answers at once.
fn await_answer(
    service: &Service,
    stream: &dyn ClientStream,
    connection: &mut BackendConnection<'_>,
    context: &RequestContext,
) -> Result<bool, Closed> {
    let backend = connection.stream().map_err(|_| Closed::Failed)?;
    let awaited = sys::hangs_up_first(backend.as_fd(), stream.socket().as_fd());
    let hung_up = awaited.map_err(|_| Closed::Failed)?;
    if hung_up {
        // What waits or runs for this client ends, and its answer comes at once: it is passed on all the same, to
        // a client that only closed its sending half.
        context.cancel.set();
        (service.on_hang_up)();
    }
    Ok(hung_up)
}
