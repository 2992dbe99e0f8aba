//! Metrics: tables that turn a test's report or the process into families, and the text format.
//!
//! Must not know iperf3 processes or sockets. To add a metric, add a row to a table.

pub(crate) mod compat;
pub(crate) mod native;
pub(crate) mod process;
pub(crate) mod text;
