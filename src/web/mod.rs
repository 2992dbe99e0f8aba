//! The pages: the table of paths, probes by HTTP, and what people see.
//!
//! Must not know iperf3's JSON or `tiny_http`. `routes` finds what stands behind a path, once the middleware of the
//! toolkit has let the request pass; `probes` answers what is about probes; `pages` are HTML.

mod csrf;
mod debug;
mod exposition;
mod lock_status;
pub(crate) mod metrics;
mod pages;
mod probes;
pub(crate) mod routes;
pub(crate) mod site;
