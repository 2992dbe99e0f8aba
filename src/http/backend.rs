//! The `tiny_http` backend: worker threads that take requests, call the handler, and send the responses.
//!
//! Owns the crate `tiny_http`: no other file names it. Its interface is [`Request`] and [`Response`]. Must not know
//! paths. Each worker waits in the server itself. (Refused: one thread that takes every request and hands it to a
//! thread pool. It costs one more wake-up for each request, and a pool of our own.)

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tiny_http::{Header, Method, Server, StatusCode};

use super::in_flight::{KEY_HEADER, Origin};
use super::private_socket::{self, Address};
use super::request::{Request, RequestContext, split_url};
use super::response::{RETRY_AFTER_SECONDS, Response, TEXT};
use super::traffic::Traffic;
use crate::log::Log;
use crate::{sync, threads};

/// How long a worker waits for a request before it ends, if another worker waits too. A burst is over by then. Workers
/// do not end at once: under a steady load, threads would be created faster than the kernel frees the ended ones.
const IDLE_LIMIT: Duration = Duration::from_secs(5);
/// Stack of a worker. The deepest recursion is a JSON document of 128 levels, the parser's limit, which needs a fifth
/// of this in a debug build.
const STACK_BYTES: usize = 512 * 1024;

/// Answers a request. May block as long as the request takes.
pub(crate) type Handler = Box<dyn Fn(&Request<'_>) -> Response + Send + Sync>;

/// Called for each request that is refused before a page sees it: client, URL (empty if not known), status code,
/// response line.
pub(crate) type OnRefused = Arc<dyn Fn(SocketAddr, &str, u16, &str) + Send + Sync>;

/// Called with the error after which the backend takes no more requests.
pub(super) type OnLost = Arc<dyn Fn(io::Error) + Send + Sync>;

/// The server and its workers.
pub(super) struct Backend {
    server: Server,
    traffic: Arc<Traffic>,
    handler: Handler,
    log: Log,
    on_refused: OnRefused,
    on_lost: OnLost,
    /// Number of workers that wait for a request. Includes those that are woken but do not run yet.
    waiting: Mutex<usize>,
}

impl Backend {
    /// Starts the server and its first worker. Returns the address to connect to.
    pub(super) fn start(
        traffic: Arc<Traffic>,
        handler: Handler,
        log: Log,
        on_refused: OnRefused,
        on_lost: OnLost,
    ) -> io::Result<Address> {
        let (listener, address) = private_socket::open()?;
        let server = Server::from_listener(listener, None).map_err(io::Error::other)?;
        let backend = Arc::new(Self {
            server,
            traffic,
            handler,
            log,
            on_refused,
            on_lost,
            waiting: Mutex::new(0),
        });
        backend.start_worker()?;
        Ok(address)
    }

    /// Starts a worker, and counts it as waiting.
    fn start_worker(self: &Arc<Self>) -> io::Result<()> {
        *sync::lock(&self.waiting) += 1;
        let own = Arc::clone(self);
        threads::start("worker", STACK_BYTES, Box::new(move || own.work()))
            .inspect_err(|_| *sync::lock(&self.waiting) -= 1)
    }

    /// A worker's loop: takes requests until it has been idle for `IDLE_LIMIT` while another worker waits. It counts as
    /// waiting except while it answers.
    fn work(self: &Arc<Self>) {
        while let Some(request) = self.next() {
            let key = header(&request, KEY_HEADER);
            match key.and_then(|key| self.traffic.in_flight.of(&key)) {
                Some(Origin::Client(context)) => self.take(request, &context),
                Some(Origin::FrontEnd) => {
                    self.send(request, &Response::new(204, TEXT, String::new()));
                }
                // Not a request of the front end: it gets no response.
                None => drop(request.into_writer()),
            }
        }
    }

    /// The next request. `None` when this worker must end.
    fn next(&self) -> Option<tiny_http::Request> {
        let server = &self.server;
        loop {
            let is_last = *sync::lock(&self.waiting) <= 1;
            let received = if is_last {
                // No timeout: an idle exporter does not wake up.
                server.recv().map(Some)
            } else {
                server.recv_timeout(IDLE_LIMIT)
            };
            // `tiny_http` 0.12 can lose a wake-up that coincides with the timeout. The request is then still in the
            // queue.
            let received = match received {
                Ok(None) => server.try_recv(),
                received => received,
            };
            match received {
                Ok(Some(request)) => return Some(request),
                Ok(None) => {
                    let mut waiting = sync::lock(&self.waiting);
                    // The last waiting worker stays: the next request needs one.
                    if *waiting > 1 {
                        *waiting -= 1;
                        return None;
                    }
                }
                // Only one worker gets the error, and `tiny_http` stops after it.
                Err(error) => {
                    (self.on_lost)(error);
                    return None;
                }
            }
        }
    }

    /// Answers a request after making sure that another worker waits for the next one.
    fn take(self: &Arc<Self>, request: tiny_http::Request, context: &RequestContext) {
        let arrival = Instant::now();
        let Some(permit) = self.traffic.requests.try_acquire() else {
            return self.refuse(request, context);
        };
        let others = {
            let mut waiting = sync::lock(&self.waiting);
            *waiting -= 1;
            *waiting
        };
        // The last waiting worker starts another one. If that fails, it refuses the request and waits again itself.
        let followed = if others == 0 {
            self.start_worker()
        } else {
            Ok(())
        };
        match followed {
            Ok(()) => self.answer(request, context, arrival),
            Err(error) => {
                self.log
                    .warn_ratelimited("cannot start a worker thread", &[("error", &error)]);
                self.refuse(request, context);
            }
        }
        // Count the worker as waiting before the permit is released. Otherwise another worker could find a permit but
        // no waiting worker, and start a thread too many.
        *sync::lock(&self.waiting) += 1;
        drop(permit);
    }

    fn refuse(&self, request: tiny_http::Request, context: &RequestContext) {
        let line = "too many requests in flight, try again later";
        (self.on_refused)(context.peer, request.url(), 503, line);
        let mut response = Response::unavailable(line);
        // A browser's frame would show this until its page is loaded again. Nothing else refreshes by itself: a request
        // that starts a test must not be repeated.
        if split_url(request.url()).0.ends_with("/now") {
            response = response.with_header("Refresh", RETRY_AFTER_SECONDS);
        }
        self.send(request, &response);
    }

    fn answer(&self, request: tiny_http::Request, context: &RequestContext, arrival: Instant) {
        let header = |name: &str| header(&request, name);
        let asked = Request {
            method: request.method().as_str(),
            url: request.url(),
            header: &header,
            arrival,
            context,
        };
        // The query may contain a secret: log the path only.
        let (path, _) = split_url(asked.url);
        self.log.debug(
            "request",
            &[
                ("client", &context.peer),
                ("method", &asked.method),
                ("path", &path),
            ],
        );
        // A panic is a bug, but it costs only this request. All shared state is behind mutexes that `sync` recovers,
        // and unwinding releases the test lock.
        let response = catch_unwind(AssertUnwindSafe(|| (self.handler)(&asked)));
        let response = response.unwrap_or_else(|_| {
            self.log
                .error("a worker thread panicked", &[("path", &path)]);
            Response::line(500, "internal error, see the exporter's log")
        });
        self.send(request, &response);
    }

    /// Sends the response in one write: two would be two segments, and would wake the client twice.
    fn send(&self, request: tiny_http::Request, response: &Response) {
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
        // Only the head: the body is complete, and needs no copy through a buffer on the stack. Uses `Content-Length`
        // instead of chunks, whatever the size.
        let head = tiny_http::Response::new(code, headers, io::empty(), Some(body.len()), None)
            .with_chunked_threshold(usize::MAX);
        let mut bytes = Vec::new();
        let version = request.http_version().clone();
        let written = head.raw_print(&mut bytes, version, &[], true, None);
        if *request.method() != Method::Head {
            bytes.extend_from_slice(body);
        }
        let mut writer = request.into_writer();
        let sent = written
            .and_then(|()| writer.write_all(&bytes))
            .and_then(|()| writer.flush());
        if let Err(error) = sent {
            self.log.debug(
                "client disconnected before the response was sent",
                &[("error", &error)],
            );
        }
    }
}

/// The value of a header. Repeated headers are joined with a comma (RFC 9110 section 5.3), so a repeated number does
/// not parse as a number.
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
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc;
    use std::sync::{Arc, Mutex};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::{Backend, KEY_HEADER, OnRefused, Origin, Response, Traffic};
    use crate::cancel::Cancel;
    use crate::http::admission::Admission;
    use crate::http::limits::Limits;
    use crate::http::request::RequestContext;
    use crate::log::{Level, Log, LogConfig};
    use crate::permits::Permits;
    use crate::sync;

    /// Longer than any step takes unless it hangs.
    const LONG: Duration = Duration::from_secs(60);

    /// Traffic that allows this many requests in flight.
    fn traffic(requests: usize) -> Arc<Traffic> {
        let admission = Admission::new(8, None, 1, Limits::default());
        let mut traffic = Traffic::new(admission);
        Arc::get_mut(&mut traffic).unwrap().requests = Arc::new(Permits::new(requests));
        traffic
    }

    /// Sends a request as the front end does.
    fn ask(traffic: &Traffic, mut stream: UnixStream, path: &str) -> UnixStream {
        let request = traffic.in_flight.begin(Origin::Client(RequestContext {
            peer: ([127, 0, 0, 1], 1).into(),
            tls_config: None,
            close_after_response: Arc::default(),
            number: traffic.in_flight.next_number(),
            cancel: Cancel::default(),
        }));
        let key = request.key;
        // Keep the request in flight: dropping it would remove its key.
        std::mem::forget(request);
        stream.set_read_timeout(Some(LONG)).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{KEY_HEADER}: {key}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream
    }

    /// The start of the status line. The rest is not read.
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
            ..LogConfig::default()
        });
        let refused = Arc::new(Mutex::new(Vec::new()));
        let on_refused: OnRefused = {
            let refused = Arc::clone(&refused);
            Arc::new(move |client, url, code, _| {
                sync::lock(&refused).push((client.port(), url.to_owned(), code));
            })
        };
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
            on_refused,
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
        for _ in 1..4 * PERMITS {
            assert_eq!(status(ask("/short?a")), "HTTP/1.1 503");
        }
        let refreshes = |path| {
            let lines = BufReader::new(ask(path)).lines();
            let mut fields = lines
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty());
            fields.any(|line| line == "Refresh: 10")
        };
        assert!(!refreshes("/short?a"), "a test would start by itself");
        let expected = vec![(1, "/short?a".to_owned(), 503); 4 * PERMITS];
        assert!(refreshes("/short/now?a"), "for a frame");
        sync::lock(&refused).pop();
        assert_eq!(*sync::lock(&refused), expected);
        for _ in 0..PERMITS {
            end.send(()).unwrap();
        }
        for stream in held {
            assert_eq!(status(stream), "HTTP/1.1 200");
        }
        // A permit is released just after its response is sent.
        let until = Instant::now() + LONG;
        while traffic.requests.count() > 0 && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
        for _ in 0..4 * PERMITS {
            assert_eq!(status(ask("/short")), "HTTP/1.1 200");
        }
    }
}
