//! Metrics: tables that turn a test's report or the process into families, and the text format.
//!
//! Must not know processes of iperf3 or sockets. To add a metric is to add a row to a table.

pub(crate) mod compat;
pub(crate) mod native;
pub(crate) mod process;
pub(crate) mod text;
