//! The front end: accepts connections, and passes whole requests on to the `tiny_http` server behind it.
//!
//! Owns accepted connections: how many, their deadlines, where a head ends, who hung up. Must not know paths,
//! parameters or iperf3. Why it stands there: `tiny_http` 0.12 has no limit on connections, threads or a head's
//! size and no read timeout, ends its accept loop for ever at the first error, hands pipelined requests out all at
//! once, and loses connections that come at one moment. Behind the front end it sees no more connections than there are
//! clients, handed over one by one, and clean heads, one at a time on each.

use std::fmt::Display;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

pub(crate) use self::connection::Closed;
pub(crate) use self::handshake::PLAIN_ON_TLS;
use self::pool::Backend;
use self::self_check::SelfCheck;
use crate::http::private_socket::Address;
use crate::state::State;
use crate::{sync, sys, threads};

pub(crate) mod admission;
pub(crate) mod backend;
pub(crate) mod client_stream;
mod connection;
mod handshake;
mod head;
pub(crate) mod in_flight;
pub(crate) mod listen;
mod pool;
pub(crate) mod private_socket;
pub(crate) mod response;
pub(crate) mod self_check;
pub(crate) mod workers;

#[cfg(test)]
mod fuzz;

/// A connection's thread: a head, an answer's head, a TLS handshake, no recursion.
const CONNECTION_STACK_BYTES: usize = 128 * 1024;
/// How long no poll(2) on a listener lasts for ever: it is asked again at once.
const NO_END: Duration = Duration::from_secs(u32::MAX as u64);
/// Pause after an accept error: most of them (no descriptors, no memory) last until something else ends.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The front end.
pub(crate) struct FrontEnd {
    state: Arc<State>,
    backend: Backend,
    /// The number of the next request.
    next_number: Mutex<u64>,
    /// The watchdog's question.
    self_check: SelfCheck,
    /// Readable once the front end is closed; the other end closes it.
    closing: (UnixStream, UnixStream),
}

impl FrontEnd {
    /// A front end before the server at `server`; `on_backend_lost` is called when that can be reached no more.
    pub(crate) fn new(
        state: Arc<State>,
        server: Address,
        on_backend_lost: impl Fn(io::Error) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Ok(Self {
            backend: Backend::new(server, Arc::clone(&state.in_flight), on_backend_lost),
            state,
            next_number: Mutex::default(),
            self_check: SelfCheck::new(),
            closing: UnixStream::pair()?,
        })
    }

    /// The watchdog's question, to be asked at each listener.
    pub(crate) fn self_check(&self) -> SelfCheck {
        self.self_check.clone()
    }

    /// Ends every [`FrontEnd::accept`].
    pub(crate) fn close(&self) {
        let _ = self.closing.1.shutdown(Shutdown::Both);
    }

    /// Shows that the server behind the front end can be reached.
    pub(crate) fn ping(&self) -> io::Result<()> {
        self.backend.ping()
    }

    /// Accepts connections until the front end is closed: an accept error is logged and waited out. The listener is closed
    /// with it, unless systemd holds it as well: who comes then waits for the next exporter.
    pub(crate) fn accept(self: &Arc<Self>, listener: &TcpListener) -> io::Result<()> {
        // A connection that is gone before it is taken must not make this thread wait for the next one.
        listener.set_nonblocking(true)?;
        // Where it is refused the queue is as long as it was.
        let _ = sys::set_backlog(listener, self.state.admission.backlog());
        loop {
            let watched = [self.closing.0.as_fd(), listener.as_fd()];
            let [is_closed, _] = sys::readable(watched.map(Some), NO_END)?;
            if is_closed {
                return Ok(());
            }
            match listener.accept() {
                Ok((socket, peer)) => self.take(socket, peer),
                Err(error) if is_of_the_client(&error) => {}
                Err(error) => {
                    self.state
                        .log
                        .warn_ratelimited("cannot accept a connection", &[("error", &error)]);
                    thread::sleep(ACCEPT_PAUSE);
                }
            }
        }
    }

    fn take(self: &Arc<Self>, socket: TcpStream, peer: SocketAddr) {
        let _ = socket.set_nodelay(true);
        let socket = Arc::new(socket);
        let Some(place) = self.state.admission.enter(&socket) else {
            self.reject(&socket, peer, &"every connection has a request in progress");
            return;
        };
        let (front_end, own) = (Arc::clone(self), Arc::clone(&socket));
        let body = move || {
            let closed = match handshake::open(&front_end, &own, peer) {
                Ok(mut opened) => {
                    let closed = connection::serve(&front_end, &mut opened, peer, &place);
                    opened.wire.close();
                    closed
                }
                Err(closed) => place.reason_or(closed),
            };
            front_end.count(closed);
            drop(place);
            front_end
                .backend
                .trim_idle(front_end.state.admission.count());
        };
        let started = threads::start("connection", CONNECTION_STACK_BYTES, Box::new(body));
        if let Err(error) = started {
            self.reject(&socket, peer, &error);
        }
    }

    /// Says no without waiting: the line fits into any socket's buffer.
    fn reject(&self, socket: &Arc<TcpStream>, peer: SocketAddr, cause: &dyn Display) {
        self.state
            .log
            .warn_ratelimited("connection refused", &[("client", &peer), ("cause", cause)]);
        let _ = socket.set_nonblocking(true);
        let _ = io::Write::write_all(&mut &**socket, connection::OVERLOADED_RESPONSE);
        // What was sent is taken off the socket, or its end would be a reset that overtakes the answer.
        let _ = socket.shutdown(Shutdown::Write);
        let _ = io::Read::read(&mut &**socket, &mut [0; head::LIMIT_BYTES]);
        self.count(Closed::NoRoom);
    }

    /// Answers the watchdog, by way of the server behind the front end.
    fn answer_self_check(&self, socket: &TcpStream) -> Closed {
        match self.backend.ping() {
            Ok(()) => {
                // Six bytes fit into any socket's buffer.
                let _ = io::Write::write_all(&mut &*socket, self_check::ANSWER);
                Closed::Done
            }
            Err(_) => Closed::Failed,
        }
    }

    /// The number of a request whose head is complete.
    fn next_number(&self) -> u64 {
        let mut next = sync::lock(&self.next_number);
        *next += 1;
        *next
    }

    fn count(&self, closed: Closed) {
        self.state.own.connection_closed(closed.label());
    }
}

/// Errors of a connection that was gone before it was taken (accept(2)): nothing to wait for.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::WouldBlock
    )
}
