//! One probe: its stages in order, and its outcome.
//!
//! Must not know text formats or HTTP status codes. Each stage ends the probe or hands its result to the next: is there
//! a result that will do (`coalesce`), fit the test into its time, wait for the lock and run iperf3, as often as the
//! server is busy (`retry`), count and log (`accounting`). `prober` is the handle that other rings use.

mod accounting;
pub(crate) mod allow;
pub(crate) mod answer;
mod backoff;
mod budget;
mod coalesce;
pub(crate) mod deadline;
mod families;
pub(crate) mod history;
pub(crate) mod lock;
pub(crate) mod metrics;
pub(crate) mod params;
pub(crate) mod prober;
mod result_cache;
mod retry;
mod single;
mod values;
pub(crate) mod wait_error;

#[cfg(test)]
mod fuzz;
