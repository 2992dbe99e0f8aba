//! One client's connection: reads request heads and sends responses, one request at a time.
//!
//! Must not know paths or parameters. Reads the next head only after the previous request is answered, so that
//! pipelined requests wait in the client's own socket.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::admission::Slot;
use super::client_stream::ClientStream;
use super::handshake::Accepted;
use super::head::{self, Head};
use super::in_flight::Origin;
use super::metrics::Closed;
use super::pool::read_answer;
use super::request::RequestContext;
use super::service::{OVERLOADED_RESPONSE, Service};
use crate::cancel::{Cancel, Cause};
use crate::sys;

/// Serves one connection until it ends.
pub(super) fn serve(
    service: &Service,
    accepted: &mut Accepted,
    peer: SocketAddr,
    slot: &Slot,
) -> Closed {
    let stream = &mut *accepted.stream;
    let mut ahead: Vec<u8> = Vec::new();
    loop {
        let mut head = match next_head(service, stream, peer, &mut ahead) {
            Ok(head) => head,
            Err(closed) => return closed,
        };
        if !slot.busy() {
            service.refuse(
                stream,
                peer,
                head::url(&head.rewritten),
                (503, OVERLOADED_RESPONSE),
            );
            return Closed::MadeRoom;
        }
        let context = RequestContext {
            peer,
            tls_config: accepted.tls_config,
            close_after_response: Arc::default(),
            number: service.traffic.in_flight.next_number(),
            cancel: Cancel::default(),
        };
        match relay(service, stream, &context, &mut head, slot) {
            Ok(closes) if closes => return Closed::Done,
            Ok(_) => slot.idle(),
            Err(closed) => return closed,
        }
    }
}

/// Reads the next head; `ahead` holds the bytes that arrived after the previous one. Otherwise returns why the
/// connection ends. A refused client has had its response by then.
fn next_head(
    service: &Service,
    stream: &mut dyn ClientStream,
    peer: SocketAddr,
    ahead: &mut Vec<u8>,
) -> Result<Head, Closed> {
    let limits = &service.limits;
    let mut chunk = [0; 2048];
    let limit = if ahead.is_empty() {
        limits.idle
    } else {
        limits.head
    };
    let mut until = Instant::now() + limit;
    let mut searched = 0;
    loop {
        match head::take(ahead, searched) {
            Ok(Some(head)) => return Ok(head),
            Ok(None) => searched = ahead.len(),
            Err(_) if service.self_check.is(ahead) => {
                return Err(service.answer_self_check(stream.socket()));
            }
            Err(refusal) => {
                service.refuse(stream, peer, head::url(ahead), refusal);
                return Err(Closed::Refused);
            }
        }
        match stream.read(&mut chunk, until) {
            Ok(0) => return Err(Closed::Done),
            Ok(length) => {
                if ahead.is_empty() {
                    until = Instant::now() + limits.head;
                }
                ahead.extend_from_slice(chunk.get(..length).unwrap_or_default());
            }
            Err(error) if error.kind() != io::ErrorKind::TimedOut => return Err(Closed::Done),
            Err(_) if ahead.is_empty() => return Err(Closed::Idle),
            Err(_) => {
                let late = (408, "timed out waiting for the request head");
                service.refuse(stream, peer, head::url(ahead), late);
                return Err(Closed::SlowHead);
            }
        }
    }
}

/// Forwards the request and sends the response back. Returns whether the connection closes with it.
fn relay(
    service: &Service,
    stream: &mut dyn ClientStream,
    context: &RequestContext,
    head: &mut Head,
    slot: &Slot,
) -> Result<bool, Closed> {
    let Answer {
        bytes,
        hung_up,
        closes,
    } = match ask_backend(service, stream, context, head, slot) {
        Ok(answer) => answer,
        Err(error) => {
            // The backend did not answer.
            service.log.warn_ratelimited(
                "the backend server does not respond",
                &[("client", &context.peer), ("error", &error)],
            );
            service.answer(stream, 503, "overloaded, try again later");
            return Err(Closed::Failed);
        }
    };
    match stream.write_all(&bytes, Instant::now() + service.limits.answer) {
        Ok(()) if hung_up => Err(Closed::HungUp),
        Ok(()) => Ok(closes),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(Closed::SlowReader),
        Err(_) => Err(Closed::HungUp),
    }
}

/// The backend's response.
struct Answer {
    bytes: Vec<u8>,
    /// Whether the client hung up before it came.
    hung_up: bool,
    /// Whether the client's connection closes with it.
    closes: bool,
}

/// Forwards the request to the backend and reads its response.
fn ask_backend(
    service: &Service,
    stream: &dyn ClientStream,
    context: &RequestContext,
    head: &mut Head,
    slot: &Slot,
) -> io::Result<Answer> {
    let origin = Origin::Client(context.clone());
    let in_flight = service.traffic.in_flight.begin(origin);
    let backend = service.pool.forward(&mut head.rewritten, in_flight.key)?;
    let hung_up = await_answer(service, stream, &backend, context)?;
    let mut closes = false;
    let bytes = read_answer(&backend, !head.has_no_answer_body, || {
        // The response has arrived. From now on only its client can delay it.
        let is_wanted = slot.answering();
        closes = head.closes
            || hung_up
            || is_wanted
            || context.close_after_response.load(Ordering::Relaxed)
            || service.is_closing.is_set();
        closes
    })?;
    service.pool.release(backend);
    Ok(Answer {
        bytes,
        hung_up,
        closes,
    })
}

/// Waits for the start of the response, and watches for a hang-up of the client meanwhile. Returns whether the hang-up
/// came first. There is no timeout here: a probe has its own deadline, and every other page answers at once.
fn await_answer(
    service: &Service,
    stream: &dyn ClientStream,
    backend: &UnixStream,
    context: &RequestContext,
) -> io::Result<bool> {
    let hung_up = sys::hangs_up_first(backend.as_fd(), stream.socket().as_fd())?;
    if hung_up {
        // Whatever waits or runs for this client ends, and its response arrives at once. It is sent even so: the client
        // may have closed only its sending half.
        context.cancel.set(Cause::ClientGone);
        (service.on_hang_up)();
    }
    Ok(hung_up)
}
