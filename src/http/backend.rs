//! The `tiny_http` loop: takes requests, gives each a worker thread, sends the answers.
//!
//! Owns the crate `tiny_http`: nothing else names it, and what comes in and goes out of here are the types of
//! `routes`. Must not know iperf3's JSON.

use std::convert::Infallible;
use std::fmt::Display;
use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use tiny_http::{Header, Method, Response, Server, StatusCode};

use crate::http::in_flight::{InFlight, KEY_HEADER, RequestContext};
use crate::http::private_socket::{self, Listener};
use crate::http::response::Reply;
use crate::http::workers::Workers;
use crate::permits::{LIMIT, Permit};
use crate::probe::deadline::SCRAPE_TIMEOUT_HEADER;
use crate::state::State;
use crate::toolkit::access::{self, Answer};
use crate::web::routes::Request;

/// Room for status line and headers: the longest, the page's, take 430 bytes.
const HEAD_CAPACITY_BYTES: usize = 512;

/// The server and where it listens.
pub(crate) struct Bound {
    server: Server,
    /// Where the front end connects to.
    pub(crate) address: private_socket::Address,
    /// Why that is a port, which other users of this machine can connect to.
    why_port: Option<io::Error>,
}

/// Opens the way behind the front end.
pub(crate) fn bind() -> io::Result<Bound> {
    let (listener, address, why_port) = private_socket::open()?;
    let listener: tiny_http::Listener = match listener {
        Listener::Unix(listener) => listener.into(),
        Listener::Tcp(listener) => listener.into(),
    };
    let server = Server::from_listener(listener, None).map_err(io::Error::other)?;
    Ok(Bound {
        server,
        address,
        why_port,
    })
}

impl Bound {
    /// Serves requests until it cannot any more.
    ///
    /// # Errors
    /// Whatever ended `tiny_http`, which does not go on after an accept error: the caller ends the process then,
    /// rather than living on deaf.
    pub(crate) fn serve(&self, state: &Arc<State>) -> io::Result<Infallible> {
        if let Some(error) = &self.why_port {
            state.log.warn(
                "no private socket behind the gate: users of this machine can reach its loopback port, and keep it busy",
                &[("error", error)],
            );
        }
        let job_state = Arc::clone(state);
        let workers = Workers::new(LIMIT, move |job: Job, buffer: &mut Vec<u8>| {
            work(job, &job_state, buffer);
        });
        loop {
            let request = self.server.recv()?;
            let in_flight = header(&request, KEY_HEADER).and_then(|key| state.in_flight.of(&key));
            match in_flight {
                Some(InFlight::RequestContext(context)) => {
                    dispatch(request, context, state, &workers);
                }
                Some(InFlight::WarmUp) => {
                    send(request, &Reply::warm_up().into(), state, &mut Vec::new());
                }
                // A request that is not the front end's: it gets no answer.
                None => drop(request.into_writer()),
            }
        }
    }
}

/// A request on its way to a worker.
struct Job {
    request: tiny_http::Request,
    context: RequestContext,
    arrival: Instant,
    in_work: Permit,
}

/// Gives the request to a worker; the loop itself never waits for one.
fn dispatch(
    request: tiny_http::Request,
    context: RequestContext,
    state: &Arc<State>,
    workers: &Arc<Workers<Job>>,
) {
    let arrival = Instant::now();
    let Some(in_work) = state.work.begin() else {
        let cause = "as many requests are in work as there may be";
        return refuse(request, state, &cause);
    };
    let job = Job {
        request,
        context,
        arrival,
        in_work,
    };
    if let Err((job, error)) = workers.give(job) {
        refuse(job.request, state, &error);
    }
}

/// Answers in the loop's own thread; the reply is small enough for any socket's buffer.
fn refuse(request: tiny_http::Request, state: &State, cause: &dyn Display) {
    state
        .log
        .warn_ratelimited("request refused", &[("cause", cause)]);
    send(request, &Reply::overloaded().into(), state, &mut Vec::new());
}

/// A worker: one request.
fn work(job: Job, state: &Arc<State>, buffer: &mut Vec<u8>) {
    let Job {
        request,
        context,
        arrival,
        in_work,
    } = job;
    let scrape_timeout = header(&request, SCRAPE_TIMEOUT_HEADER);
    let authorization = header(&request, "authorization");
    let asked = Request {
        method: request.method().as_str(),
        url: request.url(),
        scrape_timeout: scrape_timeout.as_deref(),
        authorization: authorization.as_deref(),
        arrival,
        context: &context,
    };
    state.log.debug(
        "request",
        &[
            ("client", &context.peer),
            ("method", &asked.method),
            ("url", &asked.url),
        ],
    );
    // There should be no panic; if there is one, it costs this request and nothing else. All that is shared is
    // behind mutexes that `sync` recovers, and the test lock is released as the stack unwinds.
    let answer = catch_unwind(AssertUnwindSafe(|| access::answer(state, &asked)));
    let answer = answer.unwrap_or_else(|_| {
        state.own.panicked();
        state.log.error("a worker panicked", &[("url", &asked.url)]);
        Answer {
            reply: Reply::broken(),
            front: None,
        }
    });
    send(request, &answer, state, buffer);
    drop(in_work);
}

/// The value of a header; of one that came twice both, with a comma between (RFC 9110 section 5.3), which no number
/// has.
fn header(request: &tiny_http::Request, name: &str) -> Option<String> {
    let values: Vec<&str> = request
        .headers()
        .iter()
        .filter(|header| header.field.as_str().as_str().eq_ignore_ascii_case(name))
        .map(|header| header.value.as_str())
        .collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// Sends the answer in one piece: two would be two segments, and would wake the client twice.
fn send(request: tiny_http::Request, answer: &Answer, state: &State, bytes: &mut Vec<u8>) {
    let reply = &answer.reply;
    let headers = std::iter::once(("Content-Type", reply.content_type))
        .chain(answer.headers())
        .filter_map(|(name, value)| Header::from_bytes(name, value).ok())
        .collect();
    let body = reply.body.as_bytes();
    let response = Response::new(
        StatusCode(reply.code),
        headers,
        body,
        Some(body.len()),
        None,
    )
    // A length and not chunks, whatever the size: the body is all there.
    .with_chunked_threshold(usize::MAX);
    bytes.clear();
    bytes.reserve(HEAD_CAPACITY_BYTES + body.len());
    let is_head = *request.method() == Method::Head;
    let version = request.http_version().clone();
    let written = response.raw_print(&mut *bytes, version, request.headers(), is_head, None);
    let mut writer = request.into_writer();
    let sent = written
        .and_then(|()| writer.write_all(bytes))
        .and_then(|()| writer.flush());
    if let Err(error) = sent {
        state
            .log
            .debug("client gone before its answer", &[("error", &error)]);
    }
}
