//! The web configuration file of the exporter-toolkit: TLS, users, headers, a rate limit.
//!
//! Owns what the file may say and when it is read; must not know how TLS or a password is done. The format is
//! <https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md>. A text becomes a tree in
//! `yaml`, the tree `settings` in `schema` (with `values` and `headers` for what a key may hold), and `reloader`
//! keeps them in force; `files` tells when they have to be read again, `downgrade` what a change must not take away.

mod downgrade;
pub(crate) mod fault;
mod files;
mod headers;
pub(crate) mod reloader;
mod schema;
pub(crate) mod settings;
mod values;
mod yaml;
