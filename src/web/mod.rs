//! HTTP: listeners, the server loop, the table of paths, and the page for people.
//!
//! Must not know iperf3's JSON. The way of a request: `gate` accepts the connection, reads one head and passes it
//! on; `server` takes it from `tiny_http`, `door` asks the web configuration whether it may come in, `routes` finds its
//! page and answers, `server` sends the answer, and the gate brings it to the client.

pub(crate) mod auth;
pub(crate) mod config;
mod debug;
mod door;
pub(crate) mod gate;
pub(crate) mod key;
pub(crate) mod listen;
mod lock_status;
mod pages;
mod probes;
pub(crate) mod rate;
mod reply;
pub(crate) mod routes;
pub(crate) mod server;
mod tls;
pub(crate) mod way;
pub(crate) mod work;
mod workers;
