//! HTTP: a front end that accepts connections, and the `tiny_http` backend behind it.
//!
//! Owns accepted connections: how many, their deadlines, where a head ends, who hung up. Must not know paths. Why there
//! is a front end: `tiny_http` 0.12 has no limit on connections, threads or a head's size and no read timeout, ends its
//! accept loop at the first error, hands pipelined requests out all at once, and loses connections that come at one
//! moment. The way of a request: `front_end`, `handshake`, `connection` (`head` has the grammar), `pool`,
//! `private_socket`, `backend`, the handler, and back.

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
mod pool;
mod private_socket;
pub(crate) mod request;
pub(crate) mod response;
mod self_check;
mod service;
pub(crate) mod tls;
pub(crate) mod traffic;

#[cfg(test)]
mod fuzz;

pub(crate) use self::admission::Admission;
#[cfg(feature = "tls")]
pub(crate) use self::client_stream::{ClientStream, wait_readable};
pub(crate) use self::front_end::{Callbacks, FrontEnd};
pub(crate) use self::limits::Limits;
pub(crate) use self::traffic::Traffic;

/// What the flags say about listeners and connections.
#[derive(Debug, Default)]
pub(crate) struct HttpConfig {
    /// Where to listen; never empty once the flags are read.
    pub(crate) listen: Vec<listen::Address>,
    /// Whether an address to listen on was given.
    pub(crate) is_listen_given: bool,
    /// Take the listeners from systemd instead of opening them.
    pub(crate) systemd_socket: bool,
    /// Maximum simultaneous connections.
    pub(crate) max_connections: usize,
}
