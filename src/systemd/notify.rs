//! Notifications to the service manager (`sd_notify(3)`): ready, reloading, stopping, a status line, alive.
//!
//! Nothing here ever blocks. Without a manager that expects notifications, every call does nothing. Does not decide
//! when the exporter is ready or alive: the caller does.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::{number, sys};

/// Maximum number of characters of a status line, up to 4 bytes each. The manager drops a message of more than 4096
/// bytes, including the READY=1 before the line.
const STATUS_LIMIT_CHARS: usize = 512;

/// The connection to the service manager, if there is one.
#[derive(Debug)]
pub(crate) struct Notifier {
    manager: Option<SocketAddr>,
    watchdog_interval: Option<Duration>,
}

impl Notifier {
    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub(crate) fn from_environment() -> Self {
        let manager = env::var_os("NOTIFY_SOCKET").and_then(|text| manager_at(&text));
        let text = |name| Some(env::var_os(name)?.to_string_lossy().into_owned());
        let interval = watchdog_interval(
            text("WATCHDOG_USEC").as_deref(),
            text("WATCHDOG_PID").as_deref(),
            std::process::id(),
        );
        Self {
            watchdog_interval: interval.filter(|_| manager.is_some()),
            manager,
        }
    }

    /// Reports that the start or a reload is finished, and connections are served.
    ///
    /// # Errors
    /// Here and below: the message could not be delivered. The caller logs it and carries on.
    pub(crate) fn ready(&self, status: &str) -> io::Result<()> {
        self.send(&format!("READY=1\n{}", status_line(status)))
    }

    /// Reports that the configuration is being reloaded; `ready` must follow.
    pub(crate) fn reloading(&self) -> io::Result<()> {
        // `Type=notify-reload` needs the time, to tell this reload from an earlier one.
        let now = sys::monotonic_time().as_micros();
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={now}\n"))
    }

    /// Reports that the shutdown has begun.
    pub(crate) fn stopping(&self, status: &str) -> io::Result<()> {
        self.send(&format!("STOPPING=1\n{}", status_line(status)))
    }

    /// The watchdog's ping: the exporter works.
    pub(crate) fn alive(&self) -> io::Result<()> {
        self.send("WATCHDOG=1\n")
    }

    /// How often to call [`Notifier::alive`]: half of the manager's limit, as `sd_watchdog_enabled(3)` advises. `None`
    /// if there is no watchdog.
    pub(crate) fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog_interval
    }

    fn send(&self, message: &str) -> io::Result<()> {
        let Some(manager) = &self.manager else {
            return Ok(());
        };
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not delay a measurement: if its queue is full, the message is lost.
        socket.set_nonblocking(true)?;
        socket.send_to_addr(message.as_bytes(), manager).map(drop)
    }
}

/// The manager's address: a path, or a name in Linux' abstract namespace (unix(7)). `None` for any other kind, such as
/// `vsock:2:1234` of a virtual machine's host: that one is for the machine's first process.
fn manager_at(address: &OsStr) -> Option<SocketAddr> {
    match address.as_encoded_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(address).ok(),
        [b'@', name @ ..] if !name.is_empty() => SocketAddr::from_abstract_name(name).ok(),
        _ => None,
    }
}

/// One field. Control characters are blanked: a line break would end the field and start another.
fn status_line(status: &str) -> String {
    let blanked = |c: char| if c.is_control() { ' ' } else { c };
    let text: String = status
        .chars()
        .take(STATUS_LIMIT_CHARS)
        .map(blanked)
        .collect();
    format!("STATUS={text}\n")
}

/// Half of `WATCHDOG_USEC` (microseconds, from `WatchdogSec=`), if it is meant for the process `own_pid`.
fn watchdog_interval(usec: Option<&str>, pid: Option<&str>, own_pid: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.parse() != Ok(own_pid)) {
        return None;
    }
    // The largest number means no limit, and 0 means no watchdog.
    let limit = number::within(usec?, 1..=u64::MAX - 1)?;
    Some(Duration::from_micros(limit) / 2)
}

#[cfg(test)]
mod tests {
    use super::{Notifier, STATUS_LIMIT_CHARS, manager_at, status_line, watchdog_interval};
    use std::ffi::OsStr;
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    use std::time::Duration;

    /// A manager on its own abstract name, and a notifier connected to it.
    fn manager(name: &str) -> (UnixDatagram, Notifier) {
        let name = format!("iperf3-exporter-unit-{}-{name}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        let manager = manager_at(OsStr::new(&format!("@{name}")));
        assert!(manager.is_some());
        let notifier = Notifier {
            manager,
            watchdog_interval: None,
        };
        (socket, notifier)
    }

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 8192];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn every_message_follows_the_protocol() {
        let (socket, notifier) = manager("messages");
        notifier.ready("listening on :9579").unwrap();
        assert_eq!(received(&socket), "READY=1\nSTATUS=listening on :9579\n");
        notifier.stopping("SIGTERM").unwrap();
        assert_eq!(received(&socket), "STOPPING=1\nSTATUS=SIGTERM\n");
        notifier.alive().unwrap();
        assert_eq!(received(&socket), "WATCHDOG=1\n");
        let mut last = 0;
        for _ in 0..2 {
            notifier.reloading().unwrap();
            let message = received(&socket);
            let time = message
                .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
                .unwrap();
            let time: u64 = time.strip_suffix('\n').unwrap().parse().unwrap();
            assert!(time > last, "{time} after {last}");
            last = time;
        }
    }

    #[test]
    fn a_manager_that_does_not_read_blocks_nothing() {
        let (socket, notifier) = manager("deaf");
        // The queue of a datagram socket is short (unix(7), max_dgram_qlen).
        let refused = (0..1_000_000).find_map(|_| notifier.alive().err());
        assert_eq!(
            refused.map(|error| error.kind()),
            Some(std::io::ErrorKind::WouldBlock)
        );
        drop(socket);
        assert!(notifier.alive().is_err(), "the manager is gone");
    }

    #[test]
    fn a_status_can_neither_add_a_field_nor_lose_the_message() {
        assert_eq!(
            status_line("a\nREADY=1\r\0\u{85}é"),
            "STATUS=a READY=1   é\n"
        );
        let long = "\u{1f600}".repeat(2 * STATUS_LIMIT_CHARS);
        assert!("READY=1\n".len() + status_line(&long).len() < 4096);
    }

    #[test]
    fn an_address_of_another_kind_is_ignored() {
        let too_long = format!("/{}", "x".repeat(200));
        for text in ["", "@", "notify", "vsock:2:1234", &too_long] {
            assert!(manager_at(OsStr::new(text)).is_none(), "{text}");
        }
        let notifier = Notifier {
            manager: None,
            watchdog_interval: None,
        };
        notifier.ready("nobody hears it").unwrap();
    }

    #[test]
    fn the_watchdog_interval_is_half_of_its_limit() {
        let half = Some(Duration::from_secs(1));
        assert_eq!(watchdog_interval(Some("2000000"), None, 17), half);
        assert_eq!(watchdog_interval(Some("2000000"), Some("17"), 17), half);
        for (usec, pid) in [
            (None, None),
            (None, Some("17")),
            (Some("2000000"), Some("18")),
            (Some("2000000"), Some("x")),
            (Some("0"), None),
            (Some(""), None),
            (Some("2s"), None),
            (Some("-1"), None),
            (Some("18446744073709551615"), None),
        ] {
            assert_eq!(watchdog_interval(usec, pid, 17), None, "{usec:?} {pid:?}");
        }
    }
}
