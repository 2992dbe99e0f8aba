//! The `process_*` families, named and defined as Prometheus' client libraries have them
//! (Prometheus' documentation, "Writing client libraries", "Process metrics").
//!
//! Read from `/proc` (proc(5)) and getrlimit(2); on a system without `/proc` the families are left out.

use std::fs;
use std::io::Read as _;

use super::text::{Kind, Text};
use crate::sys;

/// Fields of `/proc/self/stat`, counted from the one behind the command's name, which is the third of proc(5).
mod stat {
    pub(super) const UTIME: usize = 14 - 3;
    pub(super) const STIME: usize = 15 - 3;
    pub(super) const STARTTIME: usize = 22 - 3;
    pub(super) const VSIZE: usize = 23 - 3;
    pub(super) const RSS: usize = 24 - 3;
}

/// One family: name, help, type, and its value.
type Row = (&'static str, &'static str, Kind, fn(&Proc) -> Option<f64>);

/// The families, in the order of the client libraries' documentation.
pub(crate) const ROWS: &[Row] = &[
    (
        "process_cpu_seconds_total",
        "Total user and system CPU time spent in seconds.",
        Kind::Counter,
        |proc| {
            let ticks = proc.stat(stat::UTIME)? + proc.stat(stat::STIME)?;
            Some(ticks / sys::clock_ticks_per_second() as f64)
        },
    ),
    (
        "process_open_fds",
        "Number of open file descriptors.",
        Kind::Gauge,
        |_| open_descriptors(),
    ),
    (
        "process_max_fds",
        "Maximum number of open file descriptors.",
        Kind::Gauge,
        |_| Some(limit(sys::descriptor_limit())),
    ),
    (
        "process_virtual_memory_bytes",
        "Virtual memory size in bytes.",
        Kind::Gauge,
        |proc| proc.stat(stat::VSIZE),
    ),
    (
        "process_virtual_memory_max_bytes",
        "Maximum amount of virtual memory available in bytes.",
        Kind::Gauge,
        |_| Some(limit(sys::address_space_limit_bytes())),
    ),
    (
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
        Kind::Gauge,
        |proc| Some(proc.stat(stat::RSS)? * sys::page_size_bytes() as f64),
    ),
    (
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
        Kind::Gauge,
        |proc| proc.started,
    ),
];

/// Writes all families that this system has; `started` comes from [`start_time_seconds`].
pub(crate) fn write(text: &mut Text, started: Option<f64>) {
    let Some(proc) = Proc::read(started) else {
        return;
    };
    for (name, help, kind, value) in ROWS {
        text.family(name, help, *kind);
        text.plain(value(&proc));
    }
}

/// What is read once a scrape for all rows.
pub(crate) struct Proc {
    stat: Vec<f64>,
    started: Option<f64>,
}

impl Proc {
    fn read(started: Option<f64>) -> Option<Self> {
        Some(Self {
            stat: own_stat()?,
            started,
        })
    }

    fn stat(&self, index: usize) -> Option<f64> {
        self.stat.get(index).copied()
    }
}

/// How many descriptors are open. Counted, though the folder's size says a number since Linux 6.2: that one has the
/// places that threads blocked in accept(2) hold for a connection to come.
fn open_descriptors() -> Option<f64> {
    // The folder's own descriptor is open while it is read.
    let counted = sys::count_entries("/proc/self/fd").ok()?;
    Some(counted.saturating_sub(1) as f64)
}

/// A limit as a number; none is the largest there is, as the Go client has it.
fn limit(limit: Option<u64>) -> f64 {
    limit.unwrap_or(u64::MAX) as f64
}

/// Seconds from 1970 to the start of this process. It never changes, and `/proc/stat` is long to read: to be asked
/// for once.
pub(crate) fn start_time_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = stat
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .parse()
        .ok()?;
    let since_boot = own_stat()?.get(stat::STARTTIME)? / sys::clock_ticks_per_second() as f64;
    Some(boot + since_boot)
}

/// The numbers of `/proc/self/stat` behind the command's name.
fn own_stat() -> Option<Vec<f64>> {
    /// The line is some 300 bytes; a buffer that takes it whole saves half of the reads.
    const CAPACITY_BYTES: usize = 1024;
    let mut line = String::with_capacity(CAPACITY_BYTES);
    let mut file = fs::File::open("/proc/self/stat").ok()?;
    file.read_to_string(&mut line).ok()?;
    // The command's name stands in brackets and may hold any character, brackets too.
    let (_, fields) = line.rsplit_once(") ")?;
    let numbers = fields
        .split_ascii_whitespace()
        // The one field that is no number, the state, is not asked for.
        .map(|field| field.parse().unwrap_or(f64::NAN));
    Some(numbers.collect())
}
