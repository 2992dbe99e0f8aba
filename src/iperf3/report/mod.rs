//! iperf3's JSON becomes a [`Report`]: what was measured, in each direction, at the side that knows.
//!
//! The folder owns the crate `serde_json` and all that is odd in iperf3's output over its versions; must not know
//! Prometheus. The oddities are in the README of `tests/fixtures`; the rule for all: a number that iperf3 did not
//! measure, or that cannot be true, is `None`; a wrong one that the same report determines exactly is put right.
//!
//! A map and not derived structures: iperf3 repeats keys (`--bidir` up to 3.10, several streams up to 3.13), which
//! a derived structure refuses and a map answers with the last one.

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
