//! The system calls that the standard library lacks: poll, signals to a child, limits, socket options.
//!
//! Owns the crate `rustix`; knows nothing of iperf3 or of metrics.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::net::TcpListener;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, setrlimit};

/// Waits up to `timeout` for `fds`, and returns which of them can be read or were closed by the other side. An
/// interrupted wait counts as a timeout: every caller checks again by itself. With no descriptors it is a pause.
pub(crate) fn readable<const N: usize>(
    fds: [Option<BorrowedFd<'_>>; N],
    timeout: Duration,
) -> io::Result<[bool; N]> {
    let given = fds.iter().flatten();
    let mut polled: Vec<_> = given
        .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
        .collect();
    match rustix::event::poll(&mut polled, timespec(timeout).as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    // After an interrupted wait the entries have no events set.
    let mut polled = polled.iter();
    Ok(fds.map(|fd| fd.is_some() && polled.next().is_some_and(|fd| !fd.revents().is_empty())))
}

/// Whether one descriptor can be read within `timeout`.
pub(crate) fn is_readable(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<bool> {
    readable([Some(fd)], timeout).map(|[ready]| ready)
}

/// A timeout for poll(2); `None`, which means no timeout, if its clock cannot hold the value. Uses rustix's own
/// conversion, because the type of its nanoseconds differs on MIPS.
fn timespec(timeout: Duration) -> Option<Timespec> {
    timeout.try_into().ok()
}

/// Blocks until `answer` can be read or the peer of `client` has closed its sending half, even if unread data precedes
/// that. True if only the hang-up happened. No timeout: an idle wait costs nothing.
pub(crate) fn hangs_up_first(answer: BorrowedFd<'_>, client: BorrowedFd<'_>) -> io::Result<bool> {
    let mut polled = [
        PollFd::from_borrowed_fd(answer, PollFlags::IN),
        PollFd::from_borrowed_fd(client, PollFlags::RDHUP),
    ];
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, None))?;
    let [answer, _] = &polled;
    Ok(answer.revents().is_empty())
}

/// Raises the soft limit of open descriptors to the hard limit. Returns the limit then in force; `None` means
/// unlimited.
pub(crate) fn raise_descriptor_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Fails only if the hard limit exceeds what the kernel allows by now. The soft limit then stays.
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current
}

/// Disables Nagle's algorithm on a listener. On Linux, accepted connections inherit this (tcp(7)).
///
/// A response that is sent in several pieces, such as `tiny_http`'s own refusals, would otherwise wait for the peer's
/// delayed acknowledgement of each piece: 40 ms per response, measured.
pub(crate) fn set_nodelay(listener: &TcpListener) -> io::Result<()> {
    rustix::net::sockopt::set_tcp_nodelay(listener, true).map_err(io::Error::from)
}

/// Whether this machine has a network device of this name. Asks the kernel, because `/sys` may be missing or may show
/// the devices of another network namespace.
pub(crate) fn is_device(name: &str) -> bool {
    use rustix::net::{AddressFamily, SocketType, netdevice, socket};
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)
        .or_else(|_| socket(AddressFamily::INET6, SocketType::DGRAM, None));
    socket.is_ok_and(|socket| netdevice::name_to_index(socket, name).is_ok())
}

/// How to end a process group.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// SIGTERM: iperf3 notifies its server and exits.
    Politely,
    /// SIGKILL.
    AtOnce,
}

/// Signals the process group that `child` leads (it was started with `process_group(0)`).
///
/// Only for a child that has not been reaped: until then its number cannot be reused.
pub(crate) fn signal_group(child: &Child, end: End) {
    let signal = match end {
        End::Politely => Signal::TERM,
        End::AtOnce => Signal::KILL,
    };
    // ESRCH is the only possible error: the group has already ended.
    let _ = rustix::process::kill_process_group(Pid::from_child(child), signal);
}

/// A descriptor that becomes readable when `child` ends, for poll(2) (`pidfd_open(2)`). Only for a child that has not
/// been reaped.
///
/// # Errors
/// Before Linux 5.3, if a system call filter forbids it, or if no descriptor is available.
pub(crate) fn watch_end(child: &Child) -> io::Result<OwnedFd> {
    let flags = rustix::process::PidfdFlags::empty();
    Ok(rustix::process::pidfd_open(Pid::from_child(child), flags)?)
}

/// Whether this process may execute the file (access(2)).
pub(crate) fn may_execute(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// Sets how many connections may wait to be accepted (listen(2), which may be called again). The kernel caps it at
/// `net.core.somaxconn`.
pub(crate) fn set_backlog(listener: &TcpListener, connections: i32) -> io::Result<()> {
    rustix::net::listen(listener, connections).map_err(io::Error::from)
}

/// Whether an IPv6 listener does not accept IPv4 connections (ipv6(7), `IPV6_V6ONLY`).
pub(crate) fn is_v6_only(listener: &TcpListener) -> io::Result<bool> {
    rustix::net::sockopt::ipv6_v6only(listener).map_err(io::Error::from)
}

/// Opens a reference to a file (open(2), `O_PATH`). This is enough to address a socket, which cannot be opened
/// otherwise.
pub(crate) fn open_place(path: &Path) -> io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Opens a file for reading without blocking (`O_NONBLOCK`): opening a pipe would otherwise wait for a writer, perhaps
/// for ever.
pub(crate) fn open_at_once(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::io::retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))?;
    Ok(opened.into())
}

/// Bytes that a user other than root may still write in this folder (statvfs(3)); `None` if the file system does not
/// report its size.
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    let system = rustix::fs::statvfs(folder).ok()?;
    (system.f_blocks > 0).then(|| system.f_bavail.saturating_mul(system.f_frsize))
}

/// Creates a file without a name in `folder`, which is gone when it is closed (open(2), `O_TMPFILE`).
///
/// # Errors
/// Also if the file system does not support this.
pub(crate) fn create_unnamed(folder: &Path) -> io::Result<()> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR)?;
    Ok(())
}

/// Ticks per second of the CPU times in `/proc/self/stat` (proc(5): `sysconf(_SC_CLK_TCK)`).
pub(crate) fn clock_ticks_per_second() -> u64 {
    rustix::param::clock_ticks_per_second()
}

/// Bytes per page, the unit of the resident size in `/proc/self/stat` (proc(5)).
pub(crate) fn page_size_bytes() -> u64 {
    rustix::param::page_size() as u64
}

/// The soft limit of open descriptors; `None` means unlimited.
pub(crate) fn descriptor_limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// The soft limit of the address space in bytes; `None` means unlimited.
pub(crate) fn address_space_limit_bytes() -> Option<u64> {
    getrlimit(Resource::As).current
}

/// Whether a socket listens (socket(7), `SO_ACCEPTCONN`). The type `TcpListener` does not guarantee it for a passed
/// descriptor.
pub(crate) fn is_listening(socket: &TcpListener) -> io::Result<bool> {
    rustix::net::sockopt::socket_acceptconn(socket).map_err(io::Error::from)
}

/// The monotonic clock as other processes read it (`clock_gettime(2)`, `CLOCK_MONOTONIC`). An `Instant` does not expose
/// its value.
pub(crate) fn monotonic_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // Counted from the start of the system, so never negative.
    Duration::new(
        now.tv_sec.try_into().unwrap_or(0),
        now.tv_nsec.try_into().unwrap_or(0),
    )
}

/// Maximum number of bytes that a pipe surely takes when poll(2) reports it writable: one page (pipe(7)).
const PIPE_ROOM_BYTES: usize = 4096;

/// Waits up to `timeout` for room, then writes as much of the beginning of `bytes` as surely does not block. Returns
/// the number of bytes written. For a descriptor shared with other processes, where `O_NONBLOCK` would affect them too.
/// If they fill the pipe between the check and the write, the write blocks. A file always has room.
///
/// # Errors
/// `WouldBlock` if there was no room.
pub(crate) fn write_what_fits(
    fd: BorrowedFd<'_>,
    bytes: &[u8],
    timeout: Duration,
) -> io::Result<usize> {
    let timeout = timespec(timeout);
    let mut polled = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    let ready = rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, timeout.as_ref()))?;
    if ready == 0 {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    // For a terminal, poll(2) guarantees room for one byte only.
    let room = if fd.is_terminal() { 1 } else { PIPE_ROOM_BYTES };
    let piece = bytes.get(..room).unwrap_or(bytes);
    Ok(rustix::io::retry_on_intr(|| rustix::io::write(fd, piece))?)
}
