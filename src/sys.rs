//! The system calls that the standard library lacks: poll, signals to a child, limits, socket options.
//!
//! Owns the crate `rustix`; knows nothing of iperf3 or of metrics.

use std::io;
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getrlimit, setrlimit, waitid,
};

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

/// Whether one descriptor can be read within `timeout`, like [`readable`] and without its lists.
pub(crate) fn is_readable(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<bool> {
    let timeout = Timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    let mut polled = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    match rustix::event::poll(&mut polled, Some(&timeout)) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// What ended a wait for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// There is something to read of it.
    Answer,
    /// The client has closed its connection.
    HangUp,
}

/// Blocks until `answer` can be read or the peer of `client` has closed, whatever that peer has sent before. No
/// timeout: an idle wait costs nothing.
pub(crate) fn wait_for_answer(
    answer: BorrowedFd<'_>,
    client: BorrowedFd<'_>,
) -> io::Result<Awaited> {
    let mut polled = [
        PollFd::from_borrowed_fd(answer, PollFlags::IN),
        PollFd::from_borrowed_fd(client, CLOSED_BY_PEER),
    ];
    loop {
        match rustix::event::poll(&mut polled, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [answer, client] = &polled;
        if !answer.revents().is_empty() {
            return Ok(Awaited::Answer);
        }
        if !client.revents().is_empty() {
            return Ok(Awaited::HangUp);
        }
    }
}

/// What poll(2) says of a socket whose peer has closed at least its sending half; unread data do not hide it.
#[cfg(target_os = "linux")]
const CLOSED_BY_PEER: PollFlags = PollFlags::RDHUP;
/// Elsewhere only a connection that is gone both ways is seen.
#[cfg(not(target_os = "linux"))]
const CLOSED_BY_PEER: PollFlags = PollFlags::HUP;

/// Raises the soft limit of open descriptors to the hard one; the limit that holds then, if there is one.
pub(crate) fn raise_descriptor_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Refused only where the limit is beyond what the kernel allows by now: then the soft one stays.
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current
}

/// Switches Nagle's algorithm off on a listener; on Linux, tcp(7), accepted connections inherit it.
///
/// Where an answer leaves in more than one piece, as `tiny_http`'s own refusals do, each would wait with Nagle's
/// algorithm for the other end's delayed acknowledgement of the one before: 40 ms an answer, measured.
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

/// Whether `child` has ended; it is not reaped by the question, so its group's number stays its own.
pub(crate) fn has_ended(child: &Child) -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(
        waitid(WaitId::Pid(Pid::from_child(child)), look),
        Ok(Some(_))
    )
}

/// Whether this process may execute the file (access(2)).
pub(crate) fn may_execute(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// Whether an IPv6 listener leaves IPv4 to others (ipv6(7), `IPV6_V6ONLY`).
pub(crate) fn is_v6_only(listener: &TcpListener) -> io::Result<bool> {
    rustix::net::sockopt::ipv6_v6only(listener).map_err(io::Error::from)
}

/// How many entries a folder has, `.` and `..` left out. Without an allocation for each, which `std::fs::read_dir` makes.
pub(crate) fn count_entries(folder: &str) -> io::Result<usize> {
    let folder = std::fs::File::open(folder)?;
    let mut buffer = [const { MaybeUninit::uninit() }; 4096];
    let mut entries = rustix::fs::RawDir::new(folder, &mut buffer);
    let mut count = 0;
    while let Some(entry) = entries.next() {
        let name = entry?;
        count += usize::from(!matches!(name.file_name().to_bytes(), b"." | b".."));
    }
    Ok(count)
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
