//! The front end: accepts connections, each on a thread of its own.
//!
//! Owns when a connection is accepted or rejected; must not know what it carries.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::admission::Slot;
use super::backend::{Backend, Handler, OnLost, OnRefused};
use super::limits::Limits;
use super::pool::Pool;
use super::self_check::SelfCheck;
use super::service::{NO_ROOM, Service, refusal};
use super::tls::TlsPolicy;
use super::traffic::{Closed, Traffic};
use super::{connection, handshake, head};
use crate::cancel::{Cancel, Cause};
use crate::log::{Log, Value};
use crate::{sys, threads};

/// A connection's thread: a head, an answer's head, a TLS handshake, no recursion.
const CONNECTION_STACK_BYTES: usize = 128 * 1024;
/// How long no poll(2) on a listener lasts for ever: it is asked again at once.
const NO_END: Duration = Duration::from_secs(u32::MAX as u64);
/// Pause after an accept error. Most of these (no descriptors, no memory) last until something else ends.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The front end. A handle: its clones are one front end.
#[derive(Clone)]
pub(crate) struct FrontEnd(Arc<Service>);

/// What the front end and the backend call.
pub(crate) struct Callbacks {
    pub(crate) handler: Handler,
    pub(crate) on_refused: OnRefused,
    /// A request was cancelled because its client hung up.
    pub(crate) on_hang_up: Box<dyn Fn() + Send + Sync>,
    /// The backend takes no more requests: the caller ends the process then, rather than living on deaf.
    pub(crate) on_lost: OnLost,
}

impl FrontEnd {
    /// A front end and the backend behind it, which has answered once.
    pub(crate) fn open(
        log: Log,
        limits: Limits,
        traffic: Arc<Traffic>,
        tls: Arc<dyn TlsPolicy>,
        callbacks: Callbacks,
    ) -> Result<Self, String> {
        let Callbacks {
            handler,
            on_refused,
            on_hang_up,
            on_lost,
        } = callbacks;
        let (shared, told, lost) = (
            Arc::clone(&traffic),
            Arc::clone(&on_refused),
            Arc::clone(&on_lost),
        );
        let address = Backend::start(shared, handler, log.clone(), told, lost)
            .map_err(|error| format!("cannot listen on the backend socket: {error}"))?;
        let service = Service {
            pool: Pool::new(address, Arc::clone(&traffic), on_lost),
            log,
            limits,
            traffic,
            tls,
            on_refused,
            on_hang_up,
            self_check: SelfCheck::new(),
            is_closing: Cancel::default(),
        };
        service
            .pool
            .ping()
            .map_err(|error| format!("cannot connect to the backend server: {error}"))?;
        Ok(Self(Arc::new(service)))
    }

    /// Asks the watchdog's question at a listener.
    ///
    /// # Errors
    /// The system's, or that the answer is not the front end's.
    pub(crate) fn self_check(&self, listener: SocketAddr) -> io::Result<()> {
        self.0.self_check.ask(listener)
    }

    /// Shows that the backend answers.
    pub(crate) fn ping(&self) -> io::Result<()> {
        self.0.pool.ping()
    }

    /// Ends every [`FrontEnd::accept`], and each connection with its next response.
    pub(crate) fn close(&self) {
        self.0.is_closing.set(Cause::ShuttingDown);
    }

    /// Leaves nothing behind: for the end, when no request is in flight any more.
    pub(crate) fn clean_up(&self) {
        self.0.pool.server.remove();
    }

    /// Accepts connections until the front end is closed: an accept error is logged and waited out. The listener is
    /// closed with it, unless systemd holds it as well: who comes then waits for the next exporter.
    pub(crate) fn accept(&self, listener: &TcpListener) -> io::Result<()> {
        let service = &self.0;
        let closing = service.is_closing.watch()?;
        // A connection that is gone before it is taken must not make this thread wait for the next one.
        listener.set_nonblocking(true)?;
        // Where it is refused the queue is as long as it was.
        let _ = sys::set_backlog(listener, service.traffic.admission.backlog());
        loop {
            let watched = [closing.0.as_fd(), listener.as_fd()];
            let [is_closed, _] = sys::readable(watched.map(Some), NO_END)?;
            if is_closed {
                return Ok(());
            }
            match listener.accept() {
                Ok((socket, peer)) => take(service, socket, canonical(peer)),
                Err(error) if is_client_error(&error) => {}
                Err(error) => {
                    service
                        .log
                        .warn_ratelimited("cannot accept a connection", &[("error", &error)]);
                    thread::sleep(ACCEPT_PAUSE);
                }
            }
        }
    }
}

/// A client of IPv4 by its own address, which a listener of both families has mapped to one of IPv6: here, so that the
/// log, the pages and all limits see one address.
fn canonical(peer: SocketAddr) -> SocketAddr {
    match peer {
        // The zone of a link-local address stays.
        SocketAddr::V6(address) if address.ip().to_ipv4_mapped().is_some() => {
            SocketAddr::new(peer.ip().to_canonical(), peer.port())
        }
        _ => peer,
    }
}

fn take(service: &Arc<Service>, socket: TcpStream, peer: SocketAddr) {
    let _ = socket.set_nodelay(true);
    let socket = Arc::new(socket);
    let Some(slot) = service.traffic.admission.enter(&socket) else {
        return reject(
            service,
            &socket,
            peer,
            &"every connection has a request in progress",
        );
    };
    let (own_service, own_socket) = (Arc::clone(service), Arc::clone(&socket));
    let body = move || {
        let closed = serve(&own_service, &own_socket, peer, &slot);
        own_service.traffic.connection_closed(closed);
        drop(slot);
        own_service.pool.trim_idle();
    };
    let started = threads::start("connection", CONNECTION_STACK_BYTES, Box::new(body));
    if let Err(error) = started {
        reject(service, &socket, peer, &error);
    }
}

/// Rejects without blocking: the response fits any socket buffer.
fn reject(service: &Service, socket: &TcpStream, peer: SocketAddr, cause: &dyn Value) {
    service.log.warn_client(
        "connection refused",
        peer.ip(),
        "",
        &[
            ("client", &peer),
            ("cause", cause),
            ("status", &503_u16),
            ("error", &NO_ROOM),
        ],
    );
    let _ = socket.set_nonblocking(true);
    let _ = io::Write::write_all(&mut &*socket, refusal(503, NO_ROOM).as_bytes());
    // What was sent is taken off the socket, or its end would be a reset that overtakes the answer.
    let _ = socket.shutdown(Shutdown::Write);
    let _ = io::Read::read(&mut &*socket, &mut [0; head::LIMIT_BYTES]);
    service.traffic.connection_closed(Closed::NoRoom);
}

/// Serves one connection to its end, and says why it ended.
pub(super) fn serve(
    service: &Service,
    socket: &Arc<TcpStream>,
    peer: SocketAddr,
    slot: &Slot,
) -> Closed {
    let closed = match handshake::open(service, socket, peer) {
        Ok(mut accepted) => {
            let closed = connection::serve(service, &mut accepted, peer, slot);
            accepted.stream.close();
            closed
        }
        Err(closed) => closed,
    };
    // Whatever its thread saw of it then.
    if slot.is_evicted() {
        Closed::MadeRoom
    } else {
        closed
    }
}

/// Errors of a connection that was gone before it was taken (accept(2)): nothing to wait for.
fn is_client_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::WouldBlock
    )
}
