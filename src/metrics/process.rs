//! The families of the process: its build, its panics, and the `process_*` families, with the names and definitions of
//! Prometheus' client libraries (Prometheus' documentation, "Writing client libraries", "Process metrics").
//!
//! Read from `/proc` (proc(5)) and getrlimit(2). Values that a system does not provide are left out.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use super::text::{Family, Kind, Text};
use crate::sys;

// Indexes of fields in `/proc/self/stat` after the command name. Index 0 is field 3 of proc(5).
const STAT_UTIME: usize = 14 - 3;
const STAT_STIME: usize = 15 - 3;
const STAT_VSIZE: usize = 23 - 3;
const STAT_RSS: usize = 24 - 3;

/// The families, in output order: our own, then the others in the order of the client libraries' documentation.
pub(crate) const FAMILIES: &[Family<Look>] = &[
    Family {
        name: "iperf3_exporter_build_info",
        help: "Version and revision of the exporter, and the compiler that built it. The value is 1.",
        kind: Kind::Gauge,
        write: |text, _| {
            let labels = [
                ("version", env!("CARGO_PKG_VERSION")),
                ("revision", env!("EXPORTER_REVISION")),
                ("rustc", env!("EXPORTER_RUSTC")),
            ];
            text.sample("", &labels, 1.0);
        },
    },
    Family {
        name: "iperf3_exporter_panics_total",
        help: "Worker threads that panicked. Each panic failed one request.",
        kind: Kind::Counter,
        write: |text, look| text.plain(Some(f64::from(look.panics))),
    },
    Family {
        name: "process_cpu_seconds_total",
        help: "Total user and system CPU time spent in seconds.",
        kind: Kind::Counter,
        write: |text, look| text.plain(look.cpu_seconds()),
    },
    Family {
        name: "process_open_fds",
        help: "Number of open file descriptors.",
        kind: Kind::Gauge,
        write: |text, _| text.plain(open_descriptors()),
    },
    Family {
        name: "process_max_fds",
        help: "Maximum number of open file descriptors.",
        kind: Kind::Gauge,
        write: |text, _| text.plain(Some(limit(sys::descriptor_limit()))),
    },
    Family {
        name: "process_virtual_memory_bytes",
        help: "Virtual memory size in bytes.",
        kind: Kind::Gauge,
        write: |text, look| text.plain(look.field(STAT_VSIZE)),
    },
    Family {
        name: "process_virtual_memory_max_bytes",
        help: "Maximum amount of virtual memory available in bytes.",
        kind: Kind::Gauge,
        write: |text, _| text.plain(Some(limit(sys::address_space_limit_bytes()))),
    },
    Family {
        name: "process_resident_memory_bytes",
        help: "Resident memory size in bytes.",
        kind: Kind::Gauge,
        write: |text, look| {
            let pages = look.field(STAT_RSS);
            text.plain(pages.map(|pages| pages * sys::page_size_bytes() as f64));
        },
    },
    Family {
        name: "process_start_time_seconds",
        help: "Start time of the process since unix epoch in seconds.",
        kind: Kind::Gauge,
        write: |text, look| text.plain(Some(look.started)),
    },
];

#[derive(Debug)]
pub(crate) struct Process {
    /// Start of this process, in seconds since 1970. Taken once, because the system clock may change later. (Refused:
    /// boot time plus ticks, as in Go's client. The boot time is in whole seconds, and follows a line for each
    /// processor in `/proc/stat`.)
    started: f64,
    /// Atomic, because a panic may happen while any lock is held. 32 bits, because the smallest routers have no 64-bit
    /// atomics.
    panics: AtomicU32,
}

/// Snapshot of the process, for all families of a scrape.
pub(crate) struct Look {
    panics: u32,
    /// The numbers in `/proc/self/stat` after the command name; empty when there is no such file.
    stat: Vec<f64>,
    started: f64,
}

impl Process {
    /// The process that starts now.
    pub(crate) fn new() -> Self {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            started: since_1970.unwrap_or_default().as_secs_f64(),
            panics: AtomicU32::default(),
        }
    }

    pub(crate) fn count_panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn write_metrics(&self, text: &mut Text) {
        text.families(FAMILIES, &self.look());
    }

    fn look(&self) -> Look {
        let line = fs::read("/proc/self/stat").unwrap_or_default();
        // The command name is in parentheses and may contain any byte, parentheses too.
        let behind_name = line.windows(2).rposition(|two| two == b") ");
        let fields = behind_name.and_then(|at| line.get(at + 2..));
        let fields = String::from_utf8_lossy(fields.unwrap_or_default());
        // The only field that is not a number, the state, is not used.
        let number = |field: &str| field.parse().unwrap_or(f64::NAN);
        Look {
            panics: self.panics.load(Ordering::Relaxed),
            stat: fields.split_whitespace().map(number).collect(),
            started: self.started,
        }
    }
}

impl Look {
    fn field(&self, index: usize) -> Option<f64> {
        self.stat.get(index).copied()
    }

    fn cpu_seconds(&self) -> Option<f64> {
        let ticks = self.field(STAT_UTIME)? + self.field(STAT_STIME)?;
        Some(ticks / sys::clock_ticks_per_second() as f64)
    }
}

/// Number of open descriptors. They are counted. Since Linux 6.2 the directory's size gives a number too, but that
/// includes slots that threads blocked in accept(2) have reserved.
fn open_descriptors() -> Option<f64> {
    // The directory's own descriptor is open during the count, so it is subtracted. Each scrape opens the directory
    // itself: threads that share a descriptor would wait for each other, in every second scrape with 16 at a time.
    let counted = fs::read_dir("/proc/self/fd").ok()?.count();
    Some(counted.saturating_sub(1) as f64)
}

/// A limit as a number. No limit is the largest number, as in Go's client.
fn limit(limit: Option<u64>) -> f64 {
    limit.unwrap_or(u64::MAX) as f64
}
