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
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getrlimit, setrlimit, waitid,
};

/// Which of `fds` can be read (or were closed by the other side) within `timeout`; none when it passed. Where all of
/// them are missing it is a pause. An interrupted wait counts as one that passed: every caller looks again by itself.
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
    // After an interrupted wait they are as they were made: nothing came.
    let mut polled = polled.iter();
    Ok(fds.map(|fd| fd.is_some() && polled.next().is_some_and(|fd| !fd.revents().is_empty())))
}

/// Whether one descriptor can be read within `timeout`.
pub(crate) fn is_readable(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<bool> {
    readable([Some(fd)], timeout).map(|[ready]| ready)
}

/// A limit as poll(2) takes it; one that its clock cannot hold is none. By rustix's own conversion, as its nanoseconds
/// are of another type on MIPS.
fn timespec(timeout: Duration) -> Option<Timespec> {
    timeout.try_into().ok()
}

/// Blocks until `answer` can be read or the peer of `client` has closed its sending half, whatever that peer has sent
/// before; whether only the latter is so. No timeout: an idle wait costs nothing.
pub(crate) fn hangs_up_first(answer: BorrowedFd<'_>, client: BorrowedFd<'_>) -> io::Result<bool> {
    let mut polled = [
        PollFd::from_borrowed_fd(answer, PollFlags::IN),
        PollFd::from_borrowed_fd(client, PollFlags::RDHUP),
    ];
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, None))?;
    let [answer, _] = &polled;
    Ok(answer.revents().is_empty())
}

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

/// Whether this machine has a network device of this name. The kernel is asked and not `/sys`, which shows those of
/// another network namespace, or is not mounted.
pub(crate) fn is_device(name: &str) -> bool {
    use rustix::net::{AddressFamily, SocketType, netdevice, socket};
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)
        .or_else(|_| socket(AddressFamily::INET6, SocketType::DGRAM, None));
    socket.is_ok_and(|socket| netdevice::name_to_index(socket, name).is_ok())
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

/// A descriptor that can be read once `child` has ended, for poll(2) (`pidfd_open(2)`); only for a child that is not
/// reaped yet.
///
/// # Errors
/// Before Linux 5.3, where a filter of system calls forbids it, and where there is no descriptor to be had.
pub(crate) fn watch_end(child: &Child) -> io::Result<OwnedFd> {
    let flags = rustix::process::PidfdFlags::empty();
    Ok(rustix::process::pidfd_open(Pid::from_child(child), flags)?)
}

/// Whether this process may execute the file (access(2)).
pub(crate) fn may_execute(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// Sets how many connections may wait to be accepted (listen(2), which may be called again); the kernel allows no more
/// than `net.core.somaxconn`.
pub(crate) fn set_backlog(listener: &TcpListener, connections: i32) -> io::Result<()> {
    rustix::net::listen(listener, connections).map_err(io::Error::from)
}

/// Whether an IPv6 listener leaves IPv4 to others (ipv6(7), `IPV6_V6ONLY`).
pub(crate) fn is_v6_only(listener: &TcpListener) -> io::Result<bool> {
    rustix::net::sockopt::ipv6_v6only(listener).map_err(io::Error::from)
}

/// The place of a file (open(2), `O_PATH`): enough to find a socket by, which open(2) does not open.
pub(crate) fn open_place(path: &Path) -> io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Opens a file for reading, without waiting (`O_NONBLOCK`): to open a pipe would wait for somebody to write, perhaps
/// for ever.
pub(crate) fn open_at_once(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::io::retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))?;
    Ok(opened.into())
}

/// Bytes that a file in this folder may still take (statvfs(3)), for who is not root; none where its file system
/// does not say how large it is.
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    let system = rustix::fs::statvfs(folder).ok()?;
    (system.f_blocks > 0).then(|| system.f_bavail.saturating_mul(system.f_frsize))
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

/// Whether a socket listens (socket(7), `SO_ACCEPTCONN`): a connection is a `TcpListener` by its type only.
pub(crate) fn is_listening(socket: &TcpListener) -> io::Result<bool> {
    rustix::net::sockopt::socket_acceptconn(socket).map_err(io::Error::from)
}

/// The monotonic clock as other processes read it (`clock_gettime(2)`, `CLOCK_MONOTONIC`); an `Instant` does not
/// tell its number.
pub(crate) fn monotonic_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // Since the system's start: never negative.
    Duration::new(
        now.tv_sec.try_into().unwrap_or(0),
        now.tv_nsec.try_into().unwrap_or(0),
    )
}

/// Most bytes that poll(2) vouches for when it says that a pipe can be written to: a page (pipe(7)).
const PIPE_ROOM_BYTES: usize = 4096;

/// Writes the beginning of `bytes`, as much as surely does not block, once there is room within `timeout`; how much
/// that was. For a descriptor that other processes share, for whom `O_NONBLOCK` would change it too; where they fill
/// it between the question and the write, the write waits. A file always has room.
///
/// # Errors
/// `WouldBlock` when there was no room.
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
    // Of a terminal poll(2) says no more than that there is room at all.
    let room = if fd.is_terminal() { 1 } else { PIPE_ROOM_BYTES };
    let piece = bytes.get(..room).unwrap_or(bytes);
    Ok(rustix::io::retry_on_intr(|| rustix::io::write(fd, piece))?)
}
