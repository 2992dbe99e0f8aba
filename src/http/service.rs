//! What all connections need: limits, counters, TLS, the pool of backend connections, and refusals.
//!
//! Must not know the protocol steps of a connection: `handshake` and `connection` have them.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use super::backend::OnRefused;
use super::client_stream::ClientStream;
use super::head::Refusal;
use super::limits::Limits;
use super::metrics::Closed;
use super::pool::Pool;
use super::response::RETRY_AFTER_SECONDS;
use super::self_check::{self, SelfCheck};
use super::tls::TlsPolicy;
use super::traffic::Traffic;
use crate::cancel::Cancel;
use crate::log::Log;

/// The response line when there is no room for a connection.
pub(super) const OVERLOADED_RESPONSE: &str = "too many connections, try again later";

/// Shared by the threads of all connections.
pub(super) struct Service {
    pub(super) log: Log,
    pub(super) limits: Limits,
    pub(super) traffic: Arc<Traffic>,
    pub(super) tls: Arc<dyn TlsPolicy>,
    pub(super) pool: Pool,
    pub(super) on_refused: OnRefused,
    /// Called after a request was cancelled because its client hung up.
    pub(super) on_hang_up: Box<dyn Fn() + Send + Sync>,
    /// The watchdog's self-check.
    pub(super) self_check: SelfCheck,
    /// Set when the exporter shuts down: each connection closes after its current response.
    pub(super) is_closing: Cancel,
}

impl Service {
    /// Answers a self-check, after a check of the backend.
    pub(super) fn answer_self_check(&self, socket: &TcpStream) -> Closed {
        match self.pool.ping() {
            Ok(()) => {
                // Six bytes fit any socket buffer.
                let _ = io::Write::write_all(&mut &*socket, self_check::ANSWER);
                Closed::Done
            }
            Err(_) => Closed::Failed,
        }
    }

    /// Refuses a request that never reaches a page: reports the refusal, answers the client, and ends the connection.
    pub(super) fn refuse(
        &self,
        stream: &mut dyn ClientStream,
        peer: SocketAddr,
        url: &str,
        (code, line): Refusal,
    ) {
        (self.on_refused)(peer, url, code, line);
        self.answer(stream, code, line);
    }

    /// Sends a response of the front end itself, and ends the connection.
    pub(super) fn answer(&self, stream: &mut dyn ClientStream, code: u16, line: &str) {
        let until = Instant::now() + self.limits.drain;
        let text = refusal(code, line);
        if stream.write_all(text.as_bytes(), until).is_err() {
            return;
        }
        stream.close();
        let _ = stream.socket().shutdown(std::net::Shutdown::Write);
        let (mut chunk, mut drained) = ([0; 4096], 0);
        while drained < self.limits.drain_bytes {
            match stream.read(&mut chunk, until) {
                Ok(length) if length > 0 => drained += length,
                _ => break,
            }
        }
    }
}

/// A response that the front end makes without the backend.
pub(super) fn refusal(code: u16, line: &str) -> String {
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
        format!("Retry-After: {RETRY_AFTER_SECONDS}\r\n")
    } else {
        String::new()
    };
    format!(
        "HTTP/1.1 {code} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n{retry}\
         Connection: close\r\n\r\n{line}\n",
        line.len() + 1
    )
}
