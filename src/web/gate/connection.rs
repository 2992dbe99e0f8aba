//! One client's connection: heads in, answers out, one request at a time.
//!
//! Must not know paths or parameters. The next head is looked at only when the last one is answered, so what a
//! client sends ahead waits in its own socket.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Instant;

use super::Gate;
use super::admission::Place;
use super::backend::{Carrier, read_answer};
use super::entrance::Opened;
use super::head::{self, Head, Refusal};
use super::limits::Limits;
use super::visits::Visit;
use super::wire::Wire;
use crate::probe::lock::Cancel;
use crate::sys;

/// What a connection gets for which there is no room.
pub(super) const NO_ROOM: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 38\r\nRetry-After: 10\r\nConnection: close\r\n\r\ntoo many connections, try again later\n";

/// Why a connection ended; the label `cause` of `iperf3_exporter_connections_closed_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The client closed it, or it ended with an answer as both sides had said.
    Done,
    /// It had no request for too long.
    Idle,
    /// Its head was not complete in time.
    SlowHead,
    /// Its answer was not read in time.
    SlowReader,
    /// Its request was refused.
    Refused,
    /// Its TLS handshake failed.
    Handshake,
    /// It was closed while its request was being worked on.
    HungUp,
    /// Another one needed its place.
    MadeRoom,
    /// There was no place for it.
    NoRoom,
    /// The server behind the gate did not answer.
    Failed,
}

impl Closed {
    /// Each with its label value, in the order of the documentation.
    pub(crate) const ALL: [(Self, &'static str); 10] = [
        (Self::Done, "done"),
        (Self::Idle, "idle"),
        (Self::SlowHead, "slow_head"),
        (Self::SlowReader, "slow_reader"),
        (Self::Refused, "bad_request"),
        (Self::Handshake, "handshake"),
        (Self::HungUp, "hung_up"),
        (Self::MadeRoom, "made_room"),
        (Self::NoRoom, "no_room"),
        (Self::Failed, "failed"),
    ];

    /// The value of the label `cause`.
    pub(crate) fn label(self) -> &'static str {
        Self::ALL
            .iter()
            .find_map(|(closed, label)| (*closed == self).then_some(*label))
            .unwrap_or("failed")
    }
}

/// Serves one connection to its end.
pub(super) fn serve(gate: &Gate, opened: &mut Opened, peer: SocketAddr, place: &Place) -> Closed {
    let wire = &mut *opened.wire;
    let mut ahead: Vec<u8> = Vec::new();
    // Kept for the connection's life: its size is that of the largest page.
    let mut answer: Vec<u8> = Vec::new();
    loop {
        let end = match next_head(&gate.limits, wire, &mut ahead) {
            Ok(Some(end)) => end,
            Ok(None) | Err(Stop::Gone) => return place.reason_or(Closed::Done),
            Err(Stop::Idle) => return Closed::Idle,
            Err(Stop::SlowHead) => {
                refuse(gate, wire, 408, "request head not complete in time");
                return Closed::SlowHead;
            }
            Err(Stop::Refused(_)) if gate.pulse.is(&ahead) => {
                return gate.answer_pulse(wire.socket());
            }
            Err(Stop::Refused(refusal)) => {
                let (code, line) = refusal.answer();
                refuse(gate, wire, code, line);
                return Closed::Refused;
            }
        };
        let parsed = head::parse(ahead.get(..end).unwrap_or_default());
        ahead.drain(..end);
        let mut head = match parsed {
            Ok(head) => head,
            Err(refusal) => {
                let (code, line) = refusal.answer();
                refuse(gate, wire, code, line);
                return Closed::Refused;
            }
        };
        if !place.busy() {
            refuse(gate, wire, 503, "too many connections, try again later");
            return Closed::MadeRoom;
        }
        let visit = Visit {
            peer,
            let_in: opened.let_in.clone(),
            is_last: Cancel::default(),
            number: gate.next_number(),
            cancel: Cancel::default(),
        };
        let closes = match relay(gate, wire, &visit, &mut head, &mut answer, place) {
            Ok(closes) => closes,
            Err(closed) => return place.reason_or(closed),
        };
        if closes {
            return Closed::Done;
        }
        place.idle();
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
    wire: &mut dyn Wire,
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
        match wire.read(&mut chunk, until) {
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
    gate: &Gate,
    wire: &mut dyn Wire,
    visit: &Visit,
    head: &mut Head,
    answer: &mut Vec<u8>,
    place: &Place,
) -> Result<bool, Closed> {
    let mut carrier = match gate.backend.pass_on(&mut head.rewritten, visit) {
        Ok(carrier) => carrier,
        Err(error) => return Err(fail(gate, wire, &error)),
    };
    let hung_up = await_answer(gate, wire, &mut carrier, visit)?;
    let mut closes = false;
    let read = carrier.stream().and_then(|stream| {
        read_answer(stream, answer, !head.has_no_answer_body, || {
            // The answer is there: from now on only its client can hold it up.
            let gives_way = place.answering();
            closes = head.closes
                || hung_up
                || gives_way
                || visit.is_last.is_set()
                || gate.state.shutdown.is_set();
            closes
        })
    });
    if let Err(error) = read {
        return Err(fail(gate, wire, &error));
    }
    carrier.done(|| gate.state.admission.count());
    match wire.write_all(answer, Instant::now() + gate.limits.answer) {
        Ok(()) if hung_up => Err(Closed::HungUp),
        Ok(()) => Ok(closes),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(Closed::SlowReader),
        Err(_) => Err(Closed::HungUp),
    }
}

/// The server behind the gate did not answer: says so to the client and, seldom, to the log.
fn fail(gate: &Gate, wire: &mut dyn Wire, error: &io::Error) -> Closed {
    gate.state.log.warn_seldom(
        "the server behind the gate does not answer",
        &[("error", error)],
    );
    refuse(gate, wire, 503, "overloaded, try again later");
    Closed::Failed
}

/// Waits for the answer's begin, and for the client's end meanwhile; whether that came first. There is no limit of its
/// own here: a probe has its deadline, and every other page answers at once.
fn await_answer(
    gate: &Gate,
    wire: &dyn Wire,
    carrier: &mut Carrier<'_>,
    visit: &Visit,
) -> Result<bool, Closed> {
    let stream = carrier.stream().map_err(|_| Closed::Failed)?;
    let awaited = sys::wait_for_answer(stream.as_fd(), wire.socket().as_fd());
    let hung_up = awaited.map_err(|_| Closed::Failed)? == sys::Awaited::HangUp;
    if hung_up {
        // What waits or runs for this client ends, and its answer comes at once: it is passed on all the same, to
        // a client that only closed its sending half.
        visit.cancel.set();
        gate.state.look_again();
    }
    Ok(hung_up)
}

/// Answers for the gate itself, and ends the connection.
pub(super) fn refuse(gate: &Gate, wire: &mut dyn Wire, code: u16, line: &str) {
    let reason = match code {
        400 => "Bad Request",
        408 => "Request Timeout",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    };
    let retry = if code == 503 {
        "Retry-After: 10\r\n"
    } else {
        ""
    };
    let text = format!(
        "HTTP/1.1 {code} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n{retry}\
         Connection: close\r\n\r\n{line}\n",
        line.len() + 1
    );
    let until = Instant::now() + gate.limits.drain;
    if wire.write_all(text.as_bytes(), until).is_err() {
        return;
    }
    wire.close();
    let _ = wire.socket().shutdown(std::net::Shutdown::Write);
    let (mut chunk, mut drained) = ([0; 4096], 0);
    while drained < gate.limits.drain_bytes {
        match wire.read(&mut chunk, until) {
            Ok(length) if length > 0 => drained += length,
            _ => break,
        }
    }
}
