//! The `process_*` families, named and defined as Prometheus' client libraries have them
//! (Prometheus' documentation, "Writing client libraries", "Process metrics").
//!
//! Read from `/proc` (proc(5)) and getrlimit(2); on a system without `/proc` the families are left out.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use super::text::{Kind, Text};
use crate::sys;

/// Fields of `/proc/self/stat`, counted from the one behind the command's name, which is the third of proc(5).
mod stat {
    pub(super) const UTIME: usize = 14 - 3;
    pub(super) const STIME: usize = 15 - 3;
    pub(super) const STARTTIME: usize = 22 - 3;
    pub(super) const VSIZE: usize = 23 - 3;
    pub(super) const RSS: usize = 24 - 3;
    /// As many as are read: all up to the last one above.
    pub(super) const COUNT: usize = RSS + 1;
}

/// One family: name, help, type, and its value.
type Row = (
    &'static str,
    &'static str,
    Kind,
    fn(&Look<'_>) -> Option<f64>,
);

/// The families, in the order of the client libraries' documentation.
pub(crate) const ROWS: &[Row] = &[
    (
        "process_cpu_seconds_total",
        "Total user and system CPU time spent in seconds.",
        Kind::Counter,
        |look| {
            let ticks = look.stat(stat::UTIME)? + look.stat(stat::STIME)?;
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
        |look| look.stat(stat::VSIZE),
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
        |look| Some(look.stat(stat::RSS)? * sys::page_size_bytes() as f64),
    ),
    (
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
        Kind::Gauge,
        |look| look.proc.started,
    ),
];

/// What `/proc` has of this process.
#[derive(Debug)]
pub(crate) struct Proc {
    /// Kept open: to find and open it again takes longer than to read it.
    stat: Option<File>,
    /// Seconds from 1970 to the start of this process. It never changes, and `/proc/stat` is long to read.
    started: Option<f64>,
}

/// One look at it, for all rows of a scrape.
pub(crate) struct Look<'a> {
    proc: &'a Proc,
    /// The numbers behind the command's name.
    stat: [f64; stat::COUNT],
}

impl Proc {
    pub(crate) fn open() -> Self {
        let mut proc = Self {
            stat: File::open("/proc/self/stat").ok(),
            started: None,
        };
        proc.started = proc.look().and_then(|look| start_time_seconds(&look));
        proc
    }

    /// Writes all families that this system has.
    pub(crate) fn write(&self, text: &mut Text) {
        let Some(look) = self.look() else {
            return;
        };
        for (name, help, kind, value) in ROWS {
            text.family(name, help, *kind);
            text.plain(value(&look));
        }
    }

    fn look(&self) -> Option<Look<'_>> {
        /// The line is some 300 bytes, and the 52 numbers in it cannot make it three times as long.
        const LINE_BYTES: usize = 1024;
        let mut line = [0; LINE_BYTES];
        let length = self.stat.as_ref()?.read_at(&mut line, 0).ok()?;
        let line = line.get(..length)?;
        // The command's name stands in brackets and may hold any byte, brackets too.
        let behind_name = line.windows(2).rposition(|two| two == b") ")?;
        let fields = std::str::from_utf8(line.get(behind_name + 2..)?).ok()?;
        let mut stat = [f64::NAN; stat::COUNT];
        for (number, field) in stat.iter_mut().zip(fields.split(' ')) {
            // The one field that is no number, the state, is not asked for.
            *number = field.parse().unwrap_or(f64::NAN);
        }
        Some(Look { proc: self, stat })
    }
}

impl Look<'_> {
    fn stat(&self, index: usize) -> Option<f64> {
        self.stat.get(index).copied()
    }
}

/// How many descriptors are open. Counted, though the folder's size says a number since Linux 6.2: that one has the
/// places that threads blocked in accept(2) hold for a connection to come.
fn open_descriptors() -> Option<f64> {
    // The folder's own descriptor is open while it is read. It is opened anew: threads that share one would wait for
    // each other, every second scrape of 16 at a time.
    let counted = fs::read_dir("/proc/self/fd").ok()?.count();
    Some(counted.saturating_sub(1) as f64)
}

/// A limit as a number; none is the largest there is, as the Go client has it.
fn limit(limit: Option<u64>) -> f64 {
    limit.unwrap_or(u64::MAX) as f64
}

/// Seconds from 1970 to the start of this process.
fn start_time_seconds(look: &Look<'_>) -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = stat
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .parse()
        .ok()?;
    let since_boot = look.stat(stat::STARTTIME)? / sys::clock_ticks_per_second() as f64;
    Some(boot + since_boot)
}
