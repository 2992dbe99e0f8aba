//! HTTP: listeners, the server loop, the table of paths, and the page for people.
//!
//! Must not know iperf3's JSON. The way of a request: `server` takes it from `tiny_http`, `routes` finds its
//! page and answers, `server` sends the answer. A gate that accepts the connections itself will stand between
//! `listen` and `server`.

pub(crate) mod listen;
mod pages;
pub(crate) mod routes;
pub(crate) mod server;
pub(crate) mod work;
mod workers;
