//! Turns iperf3's JSON into a [`Report`]: what was measured in each direction, from the side that knows.
//!
//! The folder owns the crate `serde_json` and all quirks of iperf3's output across versions (see the README of
//! `tests/fixtures`); must not know Prometheus. One rule: a number that iperf3 did not measure, or that cannot be true,
//! is `None`. A wrong number that the same report determines exactly is corrected.
//!
//! Maps, not derived structures: iperf3 repeats keys (`--bidir` up to 3.10, several streams up to 3.13). A derived
//! structure rejects a repeated key; a map keeps the last one.

mod directions;
mod document;
pub(crate) mod intervals;
mod json;
pub(crate) mod metadata;
pub(super) mod model;
mod plausibility;
pub(super) mod stream;
pub(crate) mod tcp;
mod text;
pub(super) mod transfer;
pub(crate) mod udp;

pub(crate) use self::document::{Document, Fault, Unreadable};
pub(crate) use self::model::{Direction, Report};
#[cfg(test)]
pub(crate) use self::transfer::Transfer;
