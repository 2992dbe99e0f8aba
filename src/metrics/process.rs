//! The `process_*` families, named and defined as Prometheus' client libraries have them
//! (Prometheus' documentation, "Writing client libraries", "Process metrics").
//!
//! Read from `/proc` (proc(5)); on a system without it the families are left out.

use std::fs;

use super::text::{Family, Kind, Sample};
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
        |_| {
            // The folder's own descriptor is open while it is read.
            let count = fs::read_dir("/proc/self/fd").ok()?.count();
            Some(count.saturating_sub(1) as f64)
        },
    ),
    (
        "process_max_fds",
        "Maximum number of open file descriptors.",
        Kind::Gauge,
        |proc| proc.limit("Max open files"),
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
        |proc| proc.limit("Max address space"),
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
        |proc| {
            let since_boot = proc.stat(stat::STARTTIME)? / sys::clock_ticks_per_second() as f64;
            Some(boot_time_seconds()? + since_boot)
        },
    ),
];

/// All families that this system has.
pub(crate) fn families() -> Vec<Family> {
    let Some(proc) = Proc::read() else {
        return Vec::new();
    };
    ROWS.iter()
        .map(|(name, help, kind, value)| Family {
            name,
            help,
            kind: *kind,
            samples: value(&proc)
                .map(|value| Sample::new(Vec::new(), value))
                .into_iter()
                .collect(),
        })
        .collect()
}

/// What is read once for all rows.
pub(crate) struct Proc {
    stat: Vec<f64>,
    limits: String,
}

impl Proc {
    fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The command's name stands in brackets and may hold any character, brackets too.
        let (_, fields) = stat.rsplit_once(") ")?;
        Some(Self {
            // The one field that is no number, the state, is not asked for.
            stat: fields
                .split_ascii_whitespace()
                .map(|field| field.parse().unwrap_or(f64::NAN))
                .collect(),
            limits: fs::read_to_string("/proc/self/limits").ok()?,
        })
    }

    fn stat(&self, index: usize) -> Option<f64> {
        self.stat.get(index).copied()
    }

    /// The soft limit. `unlimited` is the largest number there is, as the Go client has it.
    fn limit(&self, name: &str) -> Option<f64> {
        let line = self
            .limits
            .lines()
            .find_map(|line| line.strip_prefix(name))?;
        match line.split_ascii_whitespace().next()? {
            "unlimited" => Some(u64::MAX as f64),
            number => number.parse().ok(),
        }
    }
}

/// Seconds from 1970 to the boot of this machine.
fn boot_time_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .parse()
        .ok()
}
