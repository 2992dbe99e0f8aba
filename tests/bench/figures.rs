//! The list of figures, the number of repetitions, and the comparison of two things.
//!
//! Two things to compare are measured alternately, and each is first every other time, so that a slow moment of the
//! machine affects both. The result is the median. Every loop has a limited count, and a time limit if it counts
//! requests per second.

use std::path::Path;
use std::time::Duration;

use crate::exporter::TempDir;
use crate::table::Row;
use crate::tls::Tls;
use crate::{fleet, front_end, probes, service, streaming};

/// The number of repetitions of each measurement.
pub(crate) struct Counts {
    pub(crate) stub_probes: u32,
    pub(crate) cpu_probes: u32,
    pub(crate) short_tests: u32,
    pub(crate) rate_pairs: u32,
    pub(crate) cpu_test_seconds: u32,
    pub(crate) streamed_tests: u32,
    pub(crate) streamed_pairs: u32,
    pub(crate) load_runs: u32,
    pub(crate) load_time: Duration,
    pub(crate) starts: u32,
    pub(crate) handshakes: u32,
    pub(crate) fleet_rounds: u32,
    pub(crate) under_attack: u32,
}

pub(crate) const FULL: Counts = Counts {
    stub_probes: 300,
    cpu_probes: 2000,
    short_tests: 20,
    rate_pairs: 300,
    cpu_test_seconds: 20,
    streamed_tests: 3,
    streamed_pairs: 30,
    load_runs: 5,
    load_time: Duration::from_secs(2),
    starts: 20,
    handshakes: 500,
    fleet_rounds: 3,
    under_attack: 50,
};

pub(crate) const QUICK: Counts = Counts {
    stub_probes: 100,
    cpu_probes: 500,
    short_tests: 3,
    rate_pairs: 50,
    cpu_test_seconds: 10,
    streamed_tests: 1,
    streamed_pairs: 8,
    load_runs: 3,
    load_time: Duration::from_millis(500),
    starts: 10,
    handshakes: 100,
    fleet_rounds: 1,
    under_attack: 10,
};

/// The programs and settings with which a figure's probes are made.
pub(crate) struct Setting<'a> {
    pub(crate) binary: &'a Path,
    pub(crate) folder: &'a TempDir,
    pub(crate) stub: &'a Path,
    /// `None` when the binary was built without TLS.
    pub(crate) tls: Option<&'a Tls>,
    pub(crate) counts: Counts,
}

/// A figure's measurement.
pub(crate) type Figure = fn(&Setting<'_>) -> Result<Vec<Row>, String>;

/// All figures, in the order of the table, each with the text that is printed while it is measured.
pub(crate) const FIGURES: &[(&str, Figure)] = &[
    ("probes of a stub", probes::stub_probe),
    ("processor time of probes", probes::cpu_of_probes),
    ("one-second tests", probes::short_test),
    ("/metrics, 1 connection", service::one_connection),
    ("/metrics, 16 connections", service::many_connections),
    (
        "/health, 1 connection, plain and TLS",
        front_end::one_connection,
    ),
    (
        "/health, 16 connections, plain and TLS",
        front_end::many_connections,
    ),
    ("TLS handshakes", front_end::handshakes),
    ("starts", service::start),
    ("memory", service::memory),
    ("memory with TLS", front_end::memory),
    (
        "memory with 256 idle connections, plain and TLS",
        front_end::idle_connections,
    ),
    ("size", service::size),
    ("iperf3's rate", probes::rate),
    ("an iperf3 that streams", streaming::streaming),
    ("fleets", fleet::share),
];

/// Calls two functions alternately; the first one changes each time.
pub(crate) fn alternate(
    times: u32,
    mut one: impl FnMut() -> Result<(), String>,
    mut other: impl FnMut() -> Result<(), String>,
) -> Result<(), String> {
    for round in 0..times {
        if round % 2 == 0 {
            one()?;
            other()?;
        } else {
            other()?;
            one()?;
        }
    }
    Ok(())
}
