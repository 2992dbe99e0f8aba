//! HTTP: a front end that accepts connections, and the `tiny_http` backend behind it.
//!
//! Owns accepted connections: how many, their deadlines, where a head ends, which client hung up. Must not know paths.
//! Why there is a front end: `tiny_http` 0.12 has no read timeout and no limit on connections, threads or the size of a
//! head. It ends its accept loop at the first error, hands out all pipelined requests at once, and loses connections
//! that arrive together. The path of a request: `front_end`, `handshake`, `connection` (`head` has the grammar),
//! `pool`, `private_socket`, `backend`, the handler, and back.

mod admission;
mod backend;
mod client_stream;
mod connection;
mod front_end;
mod handshake;
mod head;
mod in_flight;
mod limits;
pub(crate) mod listen;
pub(crate) mod metrics;
mod pool;
mod private_socket;
pub(crate) mod request;
pub(crate) mod response;
mod self_check;
mod service;
pub(crate) mod tls;
mod traffic;

#[cfg(test)]
mod fuzz;

pub(crate) use self::admission::Admission;
#[cfg(feature = "tls")]
pub(crate) use self::client_stream::{ClientStream, wait_readable};
pub(crate) use self::front_end::{Callbacks, FrontEnd};
pub(crate) use self::limits::Limits;
pub(crate) use self::traffic::Traffic;

/// Listeners and connections, as the flags configure them.
#[derive(Debug, Default)]
pub(crate) struct HttpConfig {
    /// Where to listen. Never empty once the flags are parsed.
    pub(crate) listen: Vec<listen::Address>,
    /// Whether a flag set a listen address.
    pub(crate) is_listen_given: bool,
    /// Use the listeners that systemd passes instead of opening any.
    pub(crate) systemd_socket: bool,
    /// Maximum simultaneous connections.
    pub(crate) max_connections: usize,
}
