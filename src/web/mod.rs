//! HTTP: listeners, the server loop, the table of paths, and the page for people.
//!
//! Must not know iperf3's JSON. The way of a request: `gate` accepts the connection, reads one head and passes it
//! on; `server` takes it from `tiny_http`, `door` asks the web configuration whether it may come in, `routes` finds its
//! page and answers, `server` sends the answer, and the front end brings it to the client.

pub(crate) mod csrf;
mod debug;
mod lock_status;
pub(crate) mod pages;
mod probes;
pub(crate) mod routes;
