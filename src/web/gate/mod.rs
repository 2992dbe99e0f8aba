//! The gate: accepts connections, and passes whole requests on to the `tiny_http` server behind it.
//!
//! Owns accepted connections: how many, their deadlines, where a head ends, who hung up. Must not know paths,
//! parameters or iperf3. Why it stands there: `tiny_http` 0.12 has no limit on connections, threads or a head's
//! size and no read timeout, ends its accept loop for ever at the first error, hands pipelined requests out all at
//! once, and loses connections that come at one moment. Behind the gate it sees no more connections than there are
//! clients, handed over one by one, and clean heads, one at a time on each.

use std::fmt::Display;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use self::admission::Place;
use self::backend::Backend;
pub(crate) use self::connection::Closed;
pub(crate) use self::entrance::PLAIN_ON_TLS;
pub(crate) use self::limits::Limits;
use self::pulse::Pulse;
use crate::state::State;
use crate::web::way::Address;
use crate::{sync, sys, threads};

pub(crate) mod admission;
mod backend;
mod connection;
mod entrance;
mod head;
mod limits;
pub(crate) mod pulse;
pub(crate) mod visits;
pub(crate) mod wire;

#[cfg(test)]
mod fuzz;

/// A connection's thread: a head, an answer's head, a TLS handshake, no recursion.
const CONNECTION_STACK_BYTES: usize = 128 * 1024;
/// How long no poll(2) on a listener lasts for ever: it is asked again at once.
const NO_END: Duration = Duration::from_secs(u32::MAX as u64);

/// The gate.
pub(crate) struct Gate {
    state: Arc<State>,
    limits: Limits,
    backend: Backend,
    /// The number of the next request.
    next_number: Mutex<u64>,
    /// The watchdog's question.
    pulse: Pulse,
    /// Readable once the gate is closed; the other end closes it.
    closing: (UnixStream, UnixStream),
}

impl Gate {
    /// A gate before the server at `server`; `on_gone` is called when that can be reached no more.
    pub(crate) fn new(
        state: Arc<State>,
        limits: Limits,
        server: Address,
        on_gone: impl Fn(io::Error) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Ok(Self {
            backend: Backend::new(server, limits.greeting, Arc::clone(&state.visits), on_gone),
            state,
            limits,
            next_number: Mutex::default(),
            pulse: Pulse::new(limits.pulse),
            closing: UnixStream::pair()?,
        })
    }

    /// The watchdog's question, to be asked at each listener.
    pub(crate) fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Ends every [`Gate::accept`].
    pub(crate) fn close(&self) {
        let _ = self.closing.1.shutdown(Shutdown::Both);
    }

    /// Shows that the server behind the gate can be reached.
    pub(crate) fn try_way(&self) -> io::Result<()> {
        self.backend.try_way()
    }

    /// Accepts connections until the gate is closed: an accept error is logged and waited out. The listener is closed
    /// with it, unless systemd holds it as well: who comes then waits for the next exporter.
    pub(crate) fn accept(self: &Arc<Self>, listener: &TcpListener) -> io::Result<()> {
        // A connection that is gone before it is taken must not make this thread wait for the next one.
        listener.set_nonblocking(true)?;
        // Where it is refused the queue is as long as it was.
        let _ = sys::set_backlog(listener, self.state.admission.backlog());
        loop {
            let ready = sys::readable(&[self.closing.0.as_fd(), listener.as_fd()], NO_END)?;
            if ready.first().is_some_and(|closed| *closed) {
                return Ok(());
            }
            match listener.accept() {
                Ok((socket, peer)) => self.take(socket, peer),
                Err(error) if is_of_the_client(&error) => {}
                Err(error) => {
                    self.state
                        .log
                        .warn_seldom("cannot accept a connection", &[("error", &error)]);
                    thread::sleep(self.limits.accept_pause);
                }
            }
        }
    }

    fn take(self: &Arc<Self>, socket: TcpStream, peer: SocketAddr) {
        let _ = socket.set_nodelay(true);
        let socket = Arc::new(socket);
        let Some(place) = self.state.admission.enter(&socket) else {
            self.turn_away(&socket, peer, &"every connection has a request in progress");
            return;
        };
        let (gate, own) = (Arc::clone(self), Arc::clone(&socket));
        let body = move || {
            let closed = gate.serve(&own, peer, &place);
            gate.count(closed);
            drop(place);
            gate.backend.shed(gate.state.admission.count());
        };
        let started = threads::start("connection", CONNECTION_STACK_BYTES, Box::new(body));
        if let Err(error) = started {
            self.turn_away(&socket, peer, &error);
        }
    }

    /// Serves one connection to its end, and says why it ended.
    fn serve(&self, socket: &Arc<TcpStream>, peer: SocketAddr, place: &Place) -> Closed {
        match entrance::open(self, socket, peer) {
            Ok(mut opened) => {
                let closed = connection::serve(self, &mut opened, peer, place);
                opened.wire.close();
                closed
            }
            Err(closed) => place.reason_or(closed),
        }
    }

    /// Says no without waiting: the line fits into any socket's buffer.
    fn turn_away(&self, socket: &Arc<TcpStream>, peer: SocketAddr, cause: &dyn Display) {
        self.state
            .log
            .warn_seldom("connection refused", &[("client", &peer), ("cause", cause)]);
        let _ = socket.set_nonblocking(true);
        let _ = io::Write::write_all(&mut &**socket, connection::NO_ROOM);
        // What was sent is taken off the socket, or its end would be a reset that overtakes the answer.
        let _ = socket.shutdown(Shutdown::Write);
        let _ = io::Read::read(&mut &**socket, &mut [0; head::LIMIT_BYTES]);
        self.count(Closed::NoRoom);
    }

    /// Answers the watchdog, by way of the server behind the gate.
    fn answer_pulse(&self, socket: &TcpStream) -> Closed {
        match self.backend.try_way() {
            Ok(()) => {
                // Six bytes fit into any socket's buffer.
                let _ = io::Write::write_all(&mut &*socket, pulse::ANSWER);
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
