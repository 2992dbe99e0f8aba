//! The front end: accepts connections, each on a thread of its own.
//!
//! Owns when a connection is accepted or rejected; must not know what it carries.

use std::fmt::{self, Display};
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::admission::Slot;
use super::backend::{Backend, Handler};
use super::closed::Closed;
use super::limits::Limits;
use super::pool::Pool;
use super::refusal::OVERLOADED_RESPONSE;
use super::self_check::SelfCheck;
use super::service::Service;
use super::tls::TlsPolicy;
use super::traffic::Traffic;
use super::{connection, handshake, head};
use crate::cancel::{Cancel, Cause};
use crate::log::Log;
use crate::{sys, threads};

/// A connection's thread: a head, an answer's head, a TLS handshake, no recursion.
const CONNECTION_STACK_BYTES: usize = 128 * 1024;
/// How long no poll(2) on a listener lasts for ever: it is asked again at once.
const NO_END: Duration = Duration::from_secs(u32::MAX as u64);

/// What the other rings supply.
pub(crate) struct Parts {
    /// The log.
    pub(crate) log: Log,
    /// How long each thing may take.
    pub(crate) limits: Limits,
    /// Counts and limits.
    pub(crate) traffic: Arc<Traffic>,
    /// Which protocol a connection has to speak.
    pub(crate) tls: Arc<dyn TlsPolicy>,
    /// Answers a request.
    pub(crate) handler: Handler,
    /// Called when a request was cancelled because its client hung up.
    pub(crate) on_hang_up: Box<dyn Fn() + Send + Sync>,
    /// Called when the backend takes no more requests: the caller ends the process then, rather than living on deaf.
    pub(crate) on_backend_lost: Arc<dyn Fn(io::Error) + Send + Sync>,
}

/// Why the front end cannot be opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The backend cannot listen.
    Backend(io::Error),
    /// No descriptors for the front end itself.
    FrontEnd(io::Error),
    /// The backend does not answer.
    Unreachable(io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend(error) => write!(f, "cannot listen behind the gate: {error}"),
            Self::FrontEnd(error) => write!(f, "cannot open the gate: {error}"),
            Self::Unreachable(error) => {
                write!(f, "cannot reach the server behind the gate: {error}")
            }
        }
    }
}

/// The front end.
pub(crate) struct FrontEnd {
    service: Arc<Service>,
    /// Readable once the front end is closed; the other end closes it.
    closing: (UnixStream, UnixStream),
}

impl FrontEnd {
    /// A front end and the backend behind it, which has answered once.
    pub(crate) fn open(parts: Parts) -> Result<Self, OpenError> {
        let Parts {
            log,
            limits,
            traffic,
            tls,
            handler,
            on_hang_up,
            on_backend_lost,
        } = parts;
        let address = Backend::start(
            Arc::clone(&traffic),
            handler,
            log.clone(),
            Arc::clone(&on_backend_lost),
        )
        .map_err(OpenError::Backend)?;
        let pool = Pool::new(
            address,
            limits.warm_up,
            Arc::clone(&traffic),
            on_backend_lost,
        );
        let service = Arc::new(Service {
            log,
            limits,
            traffic,
            tls,
            pool,
            on_hang_up,
            self_check: SelfCheck::new(limits.self_check),
            is_closing: Cancel::default(),
            latest_number: Mutex::default(),
        });
        let closing = UnixStream::pair().map_err(OpenError::FrontEnd)?;
        service.pool.ping().map_err(OpenError::Unreachable)?;
        Ok(Self { service, closing })
    }

    /// The watchdog's question, to be asked at each listener.
    pub(crate) fn self_check(&self) -> SelfCheck {
        self.service.self_check.clone()
    }

    /// Shows that the backend answers.
    pub(crate) fn ping(&self) -> io::Result<()> {
        self.service.pool.ping()
    }

    /// Ends every [`FrontEnd::accept`], and each connection with its next response.
    pub(crate) fn close(&self) {
        self.service.is_closing.set(Cause::ShuttingDown);
        let _ = self.closing.1.shutdown(Shutdown::Both);
    }

    /// Leaves nothing behind: for the end, when no request is in flight any more.
    pub(crate) fn clean_up(&self) {
        self.service.pool.remove_socket();
    }

    /// Accepts connections until the front end is closed: an accept error is logged and waited out. The listener is
    /// closed with it, unless systemd holds it as well: who comes then waits for the next exporter.
    pub(crate) fn accept(&self, listener: &TcpListener) -> io::Result<()> {
        // A connection that is gone before it is taken must not make this thread wait for the next one.
        listener.set_nonblocking(true)?;
        // Where it is refused the queue is as long as it was.
        let _ = sys::set_backlog(listener, self.service.traffic.admission.backlog());
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
                    self.service
                        .log
                        .warn_ratelimited("cannot accept a connection", &[("error", &error)]);
                    thread::sleep(self.service.limits.accept_pause);
                }
            }
        }
    }

    fn take(&self, socket: TcpStream, peer: SocketAddr) {
        let _ = socket.set_nodelay(true);
        let socket = Arc::new(socket);
        let Some(slot) = self.service.traffic.admission.enter(&socket) else {
            self.reject(&socket, peer, &"every connection has a request in progress");
            return;
        };
        let (service, own) = (Arc::clone(&self.service), Arc::clone(&socket));
        let body = move || {
            let closed = serve(&service, &own, peer, &slot);
            service.traffic.metrics.connection_closed(closed);
            drop(slot);
            service.pool.trim_idle();
        };
        let started = threads::start("connection", CONNECTION_STACK_BYTES, Box::new(body));
        if let Err(error) = started {
            self.reject(&socket, peer, &error);
        }
    }

    /// Rejects without blocking: the response fits any socket buffer.
    fn reject(&self, socket: &TcpStream, peer: SocketAddr, cause: &dyn Display) {
        self.service
            .log
            .warn_ratelimited("connection refused", &[("client", &peer), ("cause", cause)]);
        let _ = socket.set_nonblocking(true);
        let _ = io::Write::write_all(&mut &*socket, OVERLOADED_RESPONSE);
        // What was sent is taken off the socket, or its end would be a reset that overtakes the answer.
        let _ = socket.shutdown(Shutdown::Write);
        let _ = io::Read::read(&mut &*socket, &mut [0; head::LIMIT_BYTES]);
        self.service
            .traffic
            .metrics
            .connection_closed(Closed::NoRoom);
    }
}

/// Serves one connection to its end, and says why it ended.
pub(super) fn serve(
    service: &Service,
    socket: &Arc<TcpStream>,
    peer: SocketAddr,
    slot: &Slot,
) -> Closed {
    match handshake::open(service, socket, peer) {
        Ok(mut accepted) => {
            let closed = connection::serve(service, &mut accepted, peer, slot);
            accepted.stream.close();
            closed
        }
        Err(closed) => slot.reason_or(closed),
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
