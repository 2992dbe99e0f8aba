//! The exporter-toolkit's web configuration file: TLS, users, headers, rate limit.
//!
//! Owns the file's content and when it is read. Must not know how TLS or passwords work. The format is
//! <https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md>. `yaml` parses a text into a
//! tree, `schema` turns the tree into `settings` (with `values` and `headers` for single values), and `reloader` holds
//! the active configuration. `files` detects changes, and `downgrade` finds lost protections.

mod downgrade;
pub(crate) mod fault;
mod files;
mod headers;
pub(crate) mod reloader;
mod schema;
pub(crate) mod settings;
mod values;
mod yaml;
