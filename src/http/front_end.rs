//! The front end: accepts connections and serves each on its own thread.
//!
//! Owns when a connection is accepted or rejected. Must not know what it carries.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::admission::Slot;
use super::backend::{Backend, Handler, OnLost, OnRefused};
use super::limits::Limits;
use super::metrics::Closed;
use super::pool::Pool;
use super::self_check::SelfCheck;
use super::service::{OVERLOADED_RESPONSE, Service, refusal};
use super::tls::TlsPolicy;
use super::traffic::Traffic;
use super::{connection, handshake, head};
use crate::cancel::{Cancel, Cause};
use crate::log::{Log, Value};
use crate::{sys, threads};

/// Stack of a connection's thread: it holds a request head, a response head and a TLS handshake. Nothing recurses.
const CONNECTION_STACK_BYTES: usize = 128 * 1024;
/// Timeout of a poll(2) that should never time out. If it does, the accept loop polls again at once.
const NO_END: Duration = Duration::from_secs(u32::MAX as u64);
/// Pause after an accept error. Most causes (no descriptors, no memory) last until something else is released.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Handle to the front end: clones share it.
#[derive(Clone)]
pub(crate) struct FrontEnd(Arc<Service>);

/// Functions that the front end and the backend call.
pub(crate) struct Callbacks {
    pub(crate) handler: Handler,
    pub(crate) on_refused: OnRefused,
    /// Called after a request was cancelled because its client hung up.
    pub(crate) on_hang_up: Box<dyn Fn() + Send + Sync>,
    /// Called when the backend takes no more requests. The caller then ends the process, which could not answer
    /// anything.
    pub(crate) on_lost: OnLost,
}

impl FrontEnd {
    /// Starts the backend and a front end for it.
    ///
    /// # Errors
    /// If the backend cannot listen. Whether it answers is for [`FrontEnd::ping`] to say.
    pub(crate) fn open(
        log: Log,
        limits: Limits,
        traffic: Arc<Traffic>,
        tls: Arc<dyn TlsPolicy>,
        callbacks: Callbacks,
    ) -> io::Result<Self> {
        let Callbacks {
            handler,
            on_refused,
            on_hang_up,
            on_lost,
        } = callbacks;
        let address = Backend::start(
            Arc::clone(&traffic),
            handler,
            log.clone(),
            Arc::clone(&on_refused),
            Arc::clone(&on_lost),
        )?;
        Ok(Self(Arc::new(Service {
            pool: Pool::new(address, Arc::clone(&traffic), on_lost),
            log,
            limits,
            traffic,
            tls,
            on_refused,
            on_hang_up,
            self_check: SelfCheck::new(),
            is_closing: Cancel::default(),
        })))
    }

    /// Runs the watchdog's self-check against a listener.
    ///
    /// # Errors
    /// The system's error, or `InvalidData` when the response is not the front end's.
    pub(crate) fn self_check(&self, listener: SocketAddr) -> io::Result<()> {
        self.0.self_check.ask(listener)
    }

    /// Checks that the backend answers.
    pub(crate) fn ping(&self) -> io::Result<()> {
        self.0.pool.ping()
    }

    /// Ends every [`FrontEnd::accept`], and each connection after its next response.
    pub(crate) fn close(&self) {
        self.0.is_closing.set(Cause::ShuttingDown);
    }

    /// Removes what the private socket left on disk. Call it at the end, when no request is in flight.
    pub(crate) fn clean_up(&self) {
        self.0.pool.server.remove();
    }

    /// Accepts connections until the front end is closed. An accept error is logged, followed by a pause. The caller
    /// then closes the listener. If systemd also holds it, new connections wait for the next exporter process.
    pub(crate) fn accept(&self, listener: &TcpListener) -> io::Result<()> {
        let service = &self.0;
        let closing = service.is_closing.watch()?;
        // A connection can be gone before it is accepted. Then accept(2) must not block until the next one arrives.
        listener.set_nonblocking(true)?;
        // If the system refuses, the backlog keeps its previous length.
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

/// A dual-stack listener reports an IPv4 client as an IPv4-mapped IPv6 address. This returns the IPv4 address, so that
/// the log, the pages and all limits see one address.
fn canonical(peer: SocketAddr) -> SocketAddr {
    match peer {
        // Any other address stays as it is: a link-local address must keep its zone.
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
    let body = {
        let (service, socket) = (Arc::clone(service), Arc::clone(&socket));
        move || {
            let closed = serve(&service, &socket, peer, &slot);
            service.traffic.metrics.connection_closed(closed);
            drop(slot);
            service.pool.trim_idle();
        }
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
            ("error", &OVERLOADED_RESPONSE),
        ],
    );
    let _ = socket.set_nonblocking(true);
    let _ = io::Write::write_all(&mut &*socket, refusal(503, OVERLOADED_RESPONSE).as_bytes());
    // Closing a socket with unread data sends a reset, which can overtake the response: read the data first.
    let _ = socket.shutdown(Shutdown::Write);
    let _ = io::Read::read(&mut &*socket, &mut [0; head::LIMIT_BYTES]);
    service.traffic.metrics.connection_closed(Closed::NoRoom);
}

/// Serves one connection until it ends. Returns why it ended.
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
    // Eviction is the cause, whatever error the thread saw.
    if slot.is_evicted() {
        Closed::MadeRoom
    } else {
        closed
    }
}

/// Errors of a connection that was gone before it was accepted (accept(2)). They need no pause.
fn is_client_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::WouldBlock
    )
}
