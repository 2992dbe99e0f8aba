//! The system calls that the standard library lacks: poll, signals to a child, two constants of `/proc`.
//!
//! Owns the crate `rustix`; knows nothing of iperf3 or of metrics.

use std::io;
use std::net::TcpListener;
use std::os::fd::BorrowedFd;
use std::process::Child;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Resource, Signal, getrlimit};

/// Which of `fds` can be read (or were closed by the other side) within `timeout`; none when it passed.
/// An interrupted wait counts as one that passed: every caller looks again by itself.
pub(crate) fn readable(fds: &[BorrowedFd<'_>], timeout: Duration) -> io::Result<Vec<bool>> {
    let mut polled: Vec<PollFd<'_>> = fds
        .iter()
        .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
        .collect();
    let timeout = Timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    match rustix::event::poll(&mut polled, Some(&timeout)) {
        Ok(_) => Ok(polled.iter().map(|fd| !fd.revents().is_empty()).collect()),
        Err(rustix::io::Errno::INTR) => Ok(vec![false; fds.len()]),
        Err(error) => Err(error.into()),
    }
}

/// Switches Nagle's algorithm off on a listener; on Linux, tcp(7), accepted connections inherit it.
///
/// An answer leaves `tiny_http` in several pieces, and with Nagle's algorithm each would wait for the other end's
/// delayed acknowledgement of the one before: 40 ms an answer, measured.
pub(crate) fn set_nodelay(listener: &TcpListener) -> io::Result<()> {
    rustix::net::sockopt::set_tcp_nodelay(listener, true).map_err(io::Error::from)
}

/// What a process group is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// SIGTERM: iperf3 tells its server and exits.
    Politely,
    /// SIGKILL.
    AtOnce,
}

/// Signals the process group that `child` leads (it was started with `process_group(0)`).
///
/// Only for a child that is not reaped yet: until then its number cannot belong to anybody else.
pub(crate) fn signal_group(child: &Child, end: End) {
    let signal = match end {
        End::Politely => Signal::TERM,
        End::AtOnce => Signal::KILL,
    };
    // The one error there can be, ESRCH, means that the group has ended by itself.
    let _ = rustix::process::kill_process_group(Pid::from_child(child), signal);
}

/// Ticks a second of the CPU times in `/proc/self/stat` (proc(5): `sysconf(_SC_CLK_TCK)`).
pub(crate) fn clock_ticks_per_second() -> u64 {
    rustix::param::clock_ticks_per_second()
}

/// Bytes of a page, the unit of the resident size in `/proc/self/stat` (proc(5)).
pub(crate) fn page_size_bytes() -> u64 {
    rustix::param::page_size() as u64
}

/// The soft limit of open descriptors; none when there is none.
pub(crate) fn descriptor_limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// The soft limit of the address space in bytes; none when there is none.
pub(crate) fn address_space_limit_bytes() -> Option<u64> {
    getrlimit(Resource::As).current
}
