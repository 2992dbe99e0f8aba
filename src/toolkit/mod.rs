//! The features of Prometheus' exporter-toolkit: the web configuration file, users, TLS, the rate limit, and the access
//! middleware.
//!
//! Must not know what a path serves.

pub(crate) mod access;
pub(crate) mod auth;
pub(crate) mod config;
pub(crate) mod metrics;
pub(crate) mod rate_limit;
pub(crate) mod tls;
