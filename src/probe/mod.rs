//! One probe: its stages in order, and its outcome.
//!
//! Must not know text formats or HTTP status codes. Each stage ends the probe or passes its result to the next one.
//! With `max_age`, `coalesce` first looks for a stored or shared result. `retry` fits the test into the available time,
//! waits for the lock and runs iperf3, and repeats this while the server is busy. `accounting` counts and logs the
//! outcome. Other rings use the `prober` handle.

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
