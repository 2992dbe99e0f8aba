//! The listeners that systemd opened for this process (socket activation, `sd_listen_fds(3)`).
//!
//! Owns the crate `listenfd`. Knows nothing of what the sockets are for.

use std::env;
use std::fmt;
use std::io;
use std::net::TcpListener;
use std::os::fd::IntoRawFd;

use listenfd::ListenFd;

use crate::{number, sys};

/// The number of the first passed descriptor (`SD_LISTEN_FDS_START`).
const FIRST_DESCRIPTOR: usize = 3;
/// Maximum number of sockets that are accepted. Each needs a thread, and a unit lists one or two. The limit also avoids
/// trying out a count such as 4294967295.
const MAX_SOCKETS: usize = 64;

/// Why the passed sockets cannot be used.
#[derive(Debug)]
pub(crate) enum SocketsError {
    /// A variable without which no sockets are passed.
    NotSet(&'static str),
    OtherProcess {
        /// The value of `LISTEN_PID`.
        pid: String,
        own_pid: u32,
    },
    /// The value of `LISTEN_FDS`.
    Count(String),
    OtherFirst,
    Unusable {
        /// The socket, by number and name.
        which: String,
        why: Unusable,
    },
}

/// What is wrong with one passed socket.
#[derive(Debug)]
pub(crate) enum Unusable {
    NotPassed,
    /// It is of this kind.
    OtherKind(&'static str),
    NotListening,
    /// What the system refused, as a participle.
    Refused(&'static str, io::Error),
}

impl fmt::Display for SocketsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NONE: &str = "systemd passed no sockets";
        match self {
            Self::NotSet(name) => write!(f, "{NONE}: {name} is not set"),
            Self::OtherProcess { pid, own_pid } => write!(
                f,
                "{NONE}: LISTEN_PID is `{pid}`, and this process is {own_pid}"
            ),
            Self::Count(count) => write!(
                f,
                "{NONE}: LISTEN_FDS is `{count}`, not a number from 1 to {MAX_SOCKETS}"
            ),
            Self::OtherFirst => write!(
                f,
                "LISTEN_FDS_FIRST_FD is set, but descriptors always begin at {FIRST_DESCRIPTOR}"
            ),
            Self::Unusable { which, why } => write!(f, "{which} {why}"),
        }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPassed => f.write_str("was not passed"),
            Self::OtherKind(kind) => write!(f, "is {kind}, not a listening TCP socket"),
            Self::NotListening => f.write_str(
                "is a TCP socket that does not listen (a connection? Accept=yes is not supported)",
            ),
            Self::Refused(what, error) => write!(f, "cannot be {what}: {error}"),
        }
    }
}

/// The passed sockets, as the environment describes them.
#[derive(Debug, Default)]
struct Passed {
    /// Their number (`LISTEN_FDS`).
    count: Option<String>,
    /// The process that they are meant for (`LISTEN_PID`).
    pid: Option<String>,
    /// Their names in the unit, separated by colons (`LISTEN_FDNAMES`, from `FileDescriptorName=`).
    names: String,
}

impl Passed {
    fn from_environment() -> Self {
        let text = |name| Some(env::var_os(name)?.to_string_lossy().into_owned());
        Self {
            count: text("LISTEN_FDS"),
            pid: text("LISTEN_PID"),
            names: text("LISTEN_FDNAMES").unwrap_or_default(),
        }
    }

    /// How many sockets are meant for the process `own_pid`, or why there are none.
    fn count(&self, own_pid: u32) -> Result<usize, SocketsError> {
        let Some(count) = &self.count else {
            return Err(SocketsError::NotSet("LISTEN_FDS"));
        };
        // A parent process may have leaked its variables: their descriptor numbers mean nothing here.
        match &self.pid {
            None => return Err(SocketsError::NotSet("LISTEN_PID")),
            Some(pid) if pid.parse() != Ok(own_pid) => {
                let pid = pid.clone();
                return Err(SocketsError::OtherProcess { pid, own_pid });
            }
            Some(_) => {}
        }
        number::within(count, 1..=MAX_SOCKETS).ok_or_else(|| SocketsError::Count(count.clone()))
    }

    /// `descriptor 3`, followed by its name in the unit, if it has one.
    fn describe(&self, index: usize) -> String {
        let number = FIRST_DESCRIPTOR + index;
        match self.names.split(':').nth(index) {
            Some(name) if !name.is_empty() => format!("descriptor {number} (`{name}`)"),
            _ => format!("descriptor {number}"),
        }
    }
}

/// How many sockets systemd passed to this process. Sockets without `--web.systemd-socket` are a mistake that deserves
/// a warning. Zero after [`listeners`] has run.
pub(crate) fn passed() -> usize {
    Passed::from_environment()
        .count(std::process::id())
        .unwrap_or(0)
}

/// The listeners that systemd passed. Each is a listening TCP socket, blocking, close-on-exec, without Nagle's
/// algorithm.
///
/// Call it once, before any other thread runs: it removes `LISTEN_FDS` and `LISTEN_PID` from the environment.
///
/// # Errors
/// Why there are no sockets, or which socket cannot be used. An unusable socket is never skipped: the unit lists it
/// because it should be served.
pub(crate) fn listeners() -> Result<Vec<TcpListener>, SocketsError> {
    let passed = Passed::from_environment();
    let count = passed.count(std::process::id())?;
    // The crate would read the first descriptor number from this variable. systemd never sets it.
    if env::var_os("LISTEN_FDS_FIRST_FD").is_some() {
        return Err(SocketsError::OtherFirst);
    }
    let mut descriptors = ListenFd::from_env();
    (0..count)
        .map(|index| {
            take(&mut descriptors, index).map_err(|why| {
                let which = passed.describe(index);
                SocketsError::Unusable { which, why }
            })
        })
        .collect()
}

/// Takes one descriptor, or says what is wrong with it.
fn take(descriptors: &mut ListenFd, index: usize) -> Result<TcpListener, Unusable> {
    // This also sets close-on-exec: children would inherit the descriptors that systemd passes.
    let listener = match descriptors.take_tcp_listener(index) {
        Ok(Some(listener)) => listener,
        Ok(None) => return Err(Unusable::NotPassed),
        Err(_) => return Err(Unusable::OtherKind(kind(descriptors, index))),
    };
    let refused = |what| move |error| Unusable::Refused(what, error);
    if !sys::is_listening(&listener).map_err(refused("checked for listening"))? {
        return Err(Unusable::NotListening);
    }
    listener
        .set_nonblocking(false)
        .map_err(refused("made blocking"))?;
    // Our own listeners have it too; a unit may lack `NoDelay=yes`.
    sys::set_nodelay(&listener).map_err(refused("set to NoDelay"))?;
    Ok(listener)
}

/// The kind of a descriptor that is not a TCP listener. The socket stays open: the descriptor may not be ours to close,
/// and the start fails anyway.
fn kind(descriptors: &mut ListenFd, index: usize) -> &'static str {
    if let Ok(Some(socket)) = descriptors.take_udp_socket(index) {
        let _ = socket.into_raw_fd();
        "a UDP socket"
    } else if let Ok(Some(socket)) = descriptors.take_unix_listener(index) {
        let _ = socket.into_raw_fd();
        "a Unix stream socket"
    } else if let Ok(Some(socket)) = descriptors.take_unix_datagram(index) {
        let _ = socket.into_raw_fd();
        "a Unix datagram socket"
    } else {
        "a socket of an unknown kind"
    }
}

#[cfg(test)]
mod tests {
    use super::Passed;

    /// The number of sockets, or the refusal.
    fn passed(count: Option<&str>, pid: Option<&str>) -> String {
        let passed = Passed {
            count: count.map(str::to_owned),
            pid: pid.map(str::to_owned),
            names: String::new(),
        };
        let count = passed.count(17);
        count.map_or_else(|why| why.to_string(), |count| count.to_string())
    }

    #[test]
    fn only_what_was_passed_to_this_process_counts() {
        assert_eq!(passed(Some("1"), Some("17")), "1");
        assert_eq!(passed(Some("64"), Some("17")), "64");
        for (count, pid, error) in [
            (None, None, "LISTEN_FDS is not set"),
            (None, Some("17"), "LISTEN_FDS is not set"),
            (Some("1"), None, "LISTEN_PID is not set"),
            (
                Some("1"),
                Some("18"),
                "LISTEN_PID is `18`, and this process is 17",
            ),
            (
                Some("1"),
                Some(""),
                "LISTEN_PID is ``, and this process is 17",
            ),
        ] {
            let error = format!("systemd passed no sockets: {error}");
            assert_eq!(passed(count, pid), error);
        }
    }

    #[test]
    fn an_invalid_count_is_refused() {
        for count in [
            "",
            "0",
            "-1",
            "65",
            "4294967295",
            "99999999999999999999",
            "x",
        ] {
            let error = format!(
                "systemd passed no sockets: LISTEN_FDS is `{count}`, not a number from 1 to 64"
            );
            assert_eq!(passed(Some(count), Some("17")), error);
        }
    }

    #[test]
    fn a_descriptor_is_described_by_number_and_name() {
        let passed = Passed {
            names: "web::more".to_owned(),
            ..Passed::default()
        };
        let described: Vec<String> = (0..4).map(|index| passed.describe(index)).collect();
        assert_eq!(
            described,
            [
                "descriptor 3 (`web`)",
                "descriptor 4",
                "descriptor 5 (`more`)",
                "descriptor 6"
            ]
        );
    }
}
