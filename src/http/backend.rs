//! The `tiny_http` backend: worker threads that take requests, have them answered, and send the responses.
//!
//! Owns the crate `tiny_http`: nothing else names it, and what comes in and goes out of here are [`Request`] and
//! [`Response`]. Must not know paths. Each worker waits in the server itself. (Refused: one thread that takes every
//! request and hands it to a pool. It costs one more wake-up a request, and a pool of our own.)

use std::fmt::Display;
use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tiny_http::{Header, Method, Server, StatusCode};

use super::in_flight::{InFlight, KEY_HEADER, RequestContext};
use super::private_socket::{self, Address};
use super::request::Request;
use super::response::Response;
use super::traffic::Traffic;
use crate::log::Log;
use crate::{sync, threads};

/// So many workers wait long for the next request: enough for a burst of scrapes over as many connections.
const KEPT: usize = 16;
/// How long those wait: a burst is over by then.
const KEPT_FOR: Duration = Duration::from_secs(10);
/// And the others. None ends at once: where requests come without a pause, threads would be made faster than the
/// kernel takes the ended ones away.
const SPARE_FOR: Duration = Duration::from_secs(1);
/// A worker's stack: the deepest it goes is a JSON document of 128 levels, the reader's limit, which takes a fifth of
/// this in a debug build.
const STACK_BYTES: usize = 512 * 1024;
/// Room for status line and headers: the longest, the page's, take 430 bytes.
const HEAD_CAPACITY_BYTES: usize = 512;

/// Answers a request, in the time that it takes.
pub(crate) type Handler = Box<dyn Fn(&Request<'_>) -> Response + Send + Sync>;

/// Told why the backend cannot take requests any more.
pub(super) type OnLost = Arc<dyn Fn(io::Error) + Send + Sync>;

/// The server and its workers.
pub(super) struct Backend {
    server: Server,
    traffic: Arc<Traffic>,
    handler: Handler,
    log: Log,
    on_lost: OnLost,
    /// Workers that wait for a request. One that was woken and does not run yet counts as well.
    waiting: Mutex<usize>,
}

impl Backend {
    /// Starts the server and its first worker; where to connect to.
    pub(super) fn start(
        traffic: Arc<Traffic>,
        handler: Handler,
        log: Log,
        on_lost: OnLost,
    ) -> io::Result<Address> {
        let (listener, address) = private_socket::open()?;
        let server = Server::from_listener(listener, None).map_err(io::Error::other)?;
        let backend = Arc::new(Self {
            server,
            traffic,
            handler,
            log,
            on_lost,
            waiting: Mutex::new(0),
        });
        backend.start_worker()?;
        Ok(address)
    }

    /// Starts a worker, which counts as waiting from now on.
    fn start_worker(self: &Arc<Self>) -> io::Result<()> {
        *sync::lock(&self.waiting) += 1;
        let own = Arc::clone(self);
        threads::start("worker", STACK_BYTES, Box::new(move || own.work()))
            .inspect_err(|_| *sync::lock(&self.waiting) -= 1)
    }

    /// A worker's life: requests, until it was idle for long and another one waits.
    fn work(self: &Arc<Self>) {
        let mut buffer = Vec::new();
        let mut worker = Worker {
            backend: self,
            is_waiting: true,
        };
        while let Some(request) = worker.next() {
            let key = header(&request, KEY_HEADER);
            match key.and_then(|key| self.traffic.in_flight.of(&key)) {
                Some(InFlight::Request(context)) => worker.take(request, &context, &mut buffer),
                Some(InFlight::WarmUp) => {
                    self.send(request, &Response::warm_up(), &mut buffer);
                }
                // A request that is not the front end's: it gets no answer.
                None => drop(request.into_writer()),
            }
        }
    }

    fn refuse(&self, request: tiny_http::Request, cause: &dyn Display, buffer: &mut Vec<u8>) {
        self.log
            .warn_ratelimited("request refused", &[("cause", cause)]);
        self.send(request, &Response::overloaded(), buffer);
    }

    fn answer(
        &self,
        request: tiny_http::Request,
        context: &RequestContext,
        arrival: Instant,
        buffer: &mut Vec<u8>,
    ) {
        let header = |name: &str| header(&request, name);
        let asked = Request {
            method: request.method().as_str(),
            url: request.url(),
            header: &header,
            arrival,
            context,
        };
        self.log.debug(
            "request",
            &[
                ("client", &context.peer),
                ("method", &asked.method),
                ("url", &asked.url),
            ],
        );
        // There should be no panic; if there is one, it costs this request and nothing else. All that is shared is
        // behind mutexes that `sync` recovers, and the test lock is released as the stack unwinds.
        let response = catch_unwind(AssertUnwindSafe(|| (self.handler)(&asked)));
        let response = response.unwrap_or_else(|_| {
            self.log.error("a worker panicked", &[("url", &asked.url)]);
            Response::broken()
        });
        self.send(request, &response, buffer);
    }

    /// Sends the response in one piece: two would be two segments, and would wake the client twice.
    fn send(&self, request: tiny_http::Request, response: &Response, bytes: &mut Vec<u8>) {
        let headers = std::iter::once(("Content-Type", response.content_type))
            .chain(
                response
                    .headers
                    .iter()
                    .map(|(name, value)| (&**name, &**value)),
            )
            .filter_map(|(name, value)| Header::from_bytes(name, value).ok())
            .collect();
        let body = response.body.as_bytes();
        let code = StatusCode(response.code);
        let printed = tiny_http::Response::new(code, headers, body, Some(body.len()), None)
            // A length and not chunks, whatever the size: the body is all there.
            .with_chunked_threshold(usize::MAX);
        bytes.clear();
        bytes.reserve(HEAD_CAPACITY_BYTES + body.len());
        let is_head = *request.method() == Method::Head;
        let version = request.http_version().clone();
        let written = printed.raw_print(&mut *bytes, version, request.headers(), is_head, None);
        let mut writer = request.into_writer();
        let sent = written
            .and_then(|()| writer.write_all(bytes))
            .and_then(|()| writer.flush());
        if let Err(error) = sent {
            self.log
                .debug("client gone before its answer", &[("error", &error)]);
        }
    }
}

/// One worker. Whatever ends it, a panic too, it does not count as waiting any more.
struct Worker<'a> {
    backend: &'a Arc<Backend>,
    is_waiting: bool,
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        self.set_waiting(false);
    }
}

impl Worker<'_> {
    /// Counts it, or no more; how many wait then.
    fn set_waiting(&mut self, is_waiting: bool) -> usize {
        let mut waiting = sync::lock(&self.backend.waiting);
        match (self.is_waiting, is_waiting) {
            (false, true) => *waiting += 1,
            (true, false) => *waiting -= 1,
            _ => {}
        }
        self.is_waiting = is_waiting;
        *waiting
    }

    /// The next request; none when this worker is to end.
    fn next(&mut self) -> Option<tiny_http::Request> {
        let server = &self.backend.server;
        loop {
            let received = match self.set_waiting(true) {
                // Nothing wakes an exporter that is idle.
                0 | 1 => server.recv().map(Some),
                2..=KEPT => server.recv_timeout(KEPT_FOR),
                _ => server.recv_timeout(SPARE_FOR),
            };
            // `tiny_http` 0.12 loses a wake-up that comes in the last moment of a timeout: what it was for is still
            // in the queue.
            let received = match received {
                Ok(None) => server.try_recv(),
                received => received,
            };
            match received {
                Ok(Some(request)) => return Some(request),
                Ok(None) => {
                    let mut waiting = sync::lock(&self.backend.waiting);
                    // The last one stays, or a request would find nobody.
                    if *waiting > 1 {
                        *waiting -= 1;
                        self.is_waiting = false;
                        return None;
                    }
                }
                // It reaches one worker only, and `tiny_http` does not go on after it.
                Err(error) => {
                    (self.backend.on_lost)(error);
                    return None;
                }
            }
        }
    }

    /// Answers a request, once another worker waits for the next one.
    fn take(
        &mut self,
        request: tiny_http::Request,
        context: &RequestContext,
        buffer: &mut Vec<u8>,
    ) {
        let arrival = Instant::now();
        let Some(permit) = self.backend.traffic.requests.try_acquire() else {
            let cause = "as many requests are in work as there may be";
            return self.backend.refuse(request, &cause, buffer);
        };
        // Whoever was the last that waited starts a follower, and waits itself where there is none.
        if self.set_waiting(false) == 0
            && let Err(error) = self.backend.start_worker()
        {
            return self.backend.refuse(request, &error, buffer);
        }
        self.backend.answer(request, context, arrival, buffer);
        // Counted first: with a permit that is free and nobody who waits, one thread too many would be started.
        self.set_waiting(true);
        drop(permit);
    }
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

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc;
    use std::sync::{Arc, Mutex};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::{Backend, InFlight, KEY_HEADER, RequestContext, Response, Traffic};
    use crate::cancel::Cancel;
    use crate::http::admission::Admission;
    use crate::http::in_flight::InFlightRequests;
    use crate::http::limits::Limits;
    use crate::http::metrics::Metrics;
    use crate::log::{Format, Level, Log, LogConfig};
    use crate::permits::Permits;
    use crate::sync;

    /// Longer than anything takes that is not meant to take for ever.
    const LONG: Duration = Duration::from_secs(60);

    /// Few requests at a time.
    fn traffic(requests: usize) -> Arc<Traffic> {
        Arc::new(Traffic {
            admission: Arc::new(Admission::new(8, None, 1, Limits::default())),
            in_flight: InFlightRequests::default(),
            requests: Arc::new(Permits::new(requests)),
            metrics: Metrics::default(),
        })
    }

    /// Sends a request as the front end does.
    fn ask(traffic: &Traffic, mut stream: UnixStream, path: &str) -> UnixStream {
        let key = traffic.in_flight.begin(InFlight::Request(RequestContext {
            peer: ([127, 0, 0, 1], 1).into(),
            tls_config: None,
            close_after_response: Arc::default(),
            number: 0,
            cancel: Cancel::default(),
        }));
        stream.set_read_timeout(Some(LONG)).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{KEY_HEADER}: {key}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream
    }

    /// The begin of the status line; what is behind it is not read.
    fn status(mut stream: UnixStream) -> String {
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).expect("an answer");
        String::from_utf8_lossy(&begin).into_owned()
    }

    #[test]
    fn a_request_without_a_permit_is_answered_503_and_its_worker_serves_the_next_one() {
        const PERMITS: usize = 2;
        let traffic = traffic(PERMITS);
        let (begins, begun) = mpsc::channel();
        let (end, ends) = mpsc::channel();
        let ends = Mutex::new(ends);
        let log = Log::new(LogConfig {
            level: Level::Error,
            format: Format::Logfmt,
        });
        let address = Backend::start(
            Arc::clone(&traffic),
            Box::new(move |request| {
                if request.url == "/held" {
                    begins.send(()).unwrap();
                    sync::lock(&ends).recv_timeout(LONG).unwrap();
                }
                Response::line(200, "done")
            }),
            log,
            Arc::new(|error| panic!("{error}")),
        )
        .unwrap();
        let ask = |path| ask(&traffic, address.connect().unwrap(), path);
        let held: Vec<UnixStream> = (0..PERMITS)
            .map(|_| {
                let stream = ask("/held");
                begun.recv_timeout(LONG).expect("a worker that takes it");
                stream
            })
            .collect();
        // More than there are workers: a refusal that cost its worker would leave nobody to answer the next one.
        for _ in 0..4 * PERMITS {
            assert_eq!(status(ask("/short")), "HTTP/1.1 503");
        }
        for _ in 0..PERMITS {
            end.send(()).unwrap();
        }
        for stream in held {
            assert_eq!(status(stream), "HTTP/1.1 200");
        }
        // A permit comes back just after its answer.
        let until = Instant::now() + LONG;
        while traffic.requests.count() > 0 && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
        for _ in 0..4 * PERMITS {
            assert_eq!(status(ask("/short")), "HTTP/1.1 200");
        }
    }
}
