//! What serving a connection takes: limits, counts, TLS, the connections to the backend.
//!
//! Owns nothing that happens on a connection: that is `handshake` and `connection`.

use std::io;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use super::closed::Closed;
use super::limits::Limits;
use super::pool::Pool;
use super::self_check::{self, SelfCheck};
use super::tls::TlsPolicy;
use super::traffic::Traffic;
use crate::cancel::Cancel;
use crate::log::Log;
use crate::sync;

/// Shared by the threads of all connections.
pub(super) struct Service {
    pub(super) log: Log,
    pub(super) limits: Limits,
    pub(super) traffic: Arc<Traffic>,
    pub(super) tls: Arc<dyn TlsPolicy>,
    pub(super) pool: Pool,
    /// Called when a request was cancelled because its client hung up.
    pub(super) on_hang_up: Box<dyn Fn() + Send + Sync>,
    /// The watchdog's question.
    pub(super) self_check: SelfCheck,
    /// Set once the exporter is to end: connections end with the response that is on its way.
    pub(super) is_closing: Cancel,
    /// The number of the request that came last.
    pub(super) latest_number: Mutex<u64>,
}

impl Service {
    /// The number of a request whose head is complete.
    pub(super) fn next_number(&self) -> u64 {
        let mut latest = sync::lock(&self.latest_number);
        *latest += 1;
        *latest
    }

    /// Answers the watchdog, by way of the backend.
    pub(super) fn answer_self_check(&self, socket: &TcpStream) -> Closed {
        match self.pool.ping() {
            Ok(()) => {
                // Six bytes fit into any socket's buffer.
                let _ = io::Write::write_all(&mut &*socket, self_check::ANSWER);
                Closed::Done
            }
            Err(_) => Closed::Failed,
        }
    }
}
