//! The gate: accepts connections, and passes whole requests on to the `tiny_http` server behind it.
//!
//! Owns accepted connections: how many, their deadlines, where a head ends, who hung up. Must not know paths,
//! parameters or iperf3. Why it stands there: `tiny_http` 0.12 has no limit on connections, threads or a head's
//! size and no read timeout, ends its accept loop for ever at the first error, hands pipelined requests out all at
//! once, and loses connections that come at one moment. Behind the gate it sees a handful of connections that are
//! handed over one by one, and clean heads, one at a time on each.

use std::fmt::Display;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use self::backend::Backend;
pub(crate) use self::connection::Closed;
use self::wire::Plain;
use crate::state::State;
use crate::sync;

pub(crate) mod admission;
mod backend;
mod connection;
mod head;
pub(crate) mod visits;
mod wire;

/// A connection's thread: a head, an answer's head, no recursion.
const CONNECTION_STACK_BYTES: usize = 128 * 1024;
/// Pause after an accept error: most of them (no descriptors, no memory) last until something else ends.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The gate.
pub(crate) struct Gate {
    state: Arc<State>,
    backend: Backend,
    /// The number of the next request.
    next_number: Mutex<u64>,
}

impl Gate {
    /// A gate before the server at `server`; `on_gone` is called when that can be reached no more.
    pub(crate) fn new(
        state: Arc<State>,
        server: SocketAddr,
        on_gone: impl Fn(io::Error) + Send + Sync + 'static,
    ) -> Self {
        Self {
            backend: Backend::new(server, Arc::clone(&state.visits), on_gone),
            state,
            next_number: Mutex::default(),
        }
    }

    /// Shows that the server behind the gate can be reached.
    pub(crate) fn try_way(&self) -> io::Result<()> {
        self.backend.try_way()
    }

    /// Accepts connections for ever: an accept error is logged and waited out.
    pub(crate) fn accept(self: &Arc<Self>, listener: &TcpListener) -> ! {
        loop {
            match listener.accept() {
                Ok((socket, peer)) => self.take(socket, peer),
                Err(error) if is_of_the_client(&error) => {}
                Err(error) => {
                    self.state
                        .log
                        .warn_seldom("cannot accept a connection", &[("error", &error)]);
                    thread::sleep(ACCEPT_PAUSE);
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
        let spawned = thread::Builder::new()
            .name("connection".to_owned())
            .stack_size(CONNECTION_STACK_BYTES)
            .spawn(move || {
                let mut wire = Plain(own);
                let closed = connection::serve(&gate, &mut wire, peer, &place);
                gate.count(closed);
            });
        if let Err(error) = spawned {
            self.turn_away(&socket, peer, &error);
        }
    }

    /// Says no without waiting: the line fits into any socket's buffer.
    fn turn_away(&self, socket: &Arc<TcpStream>, peer: SocketAddr, cause: &dyn Display) {
        self.state
            .log
            .warn("connection refused", &[("client", &peer), ("cause", cause)]);
        let _ = socket.set_nonblocking(true);
        let _ = io::Write::write_all(&mut &**socket, connection::NO_ROOM);
        // What was sent is taken off the socket, or its end would be a reset that overtakes the answer.
        let _ = socket.shutdown(Shutdown::Write);
        let _ = io::Read::read(&mut &**socket, &mut [0; head::LIMIT_BYTES]);
        self.count(Closed::NoRoom);
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
    )
}
