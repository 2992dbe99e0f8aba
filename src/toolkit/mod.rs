//! What Prometheus' exporter-toolkit does: the web configuration file, users, TLS, the rate limit, and the middleware
//! that orders them.
//!
//! Must not know what stands behind a path.

pub(crate) mod access;
pub(crate) mod auth;
pub(crate) mod config;
pub(crate) mod metrics;
pub(crate) mod rate_limit;
pub(crate) mod tls;
