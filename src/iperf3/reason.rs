//! Why a test failed, as one of the contract's fixed reasons.
//!
//! Owns the meaning of iperf3's error messages across its versions. How the process ended is checked first, in `run`,
//! which asks this module about the rest. Must not know where a reason is shown. The messages come from
//! `tests/fixtures` and `iperf_error.c`. iperf3 appends the system's text (`strerror`, `gai_strerror`) of glibc or musl
//! to its own.

/// Why a test failed; [`Reason::ALL`] explains each reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Refused,
    Unreachable,
    UnknownHost,
    ConnectTimeout,
    Busy,
    Auth,
    Unsupported,
    Interrupted,
    Timeout,
    Killed,
    Local,
    BadOutput,
    NotFound,
    Budget,
    Other,
}

impl Reason {
    /// Each reason with its label value and its advice for operators, in the order of the documentation.
    pub(crate) const ALL: &[(Self, &str, &str)] = &[
        (
            Self::Refused,
            "refused",
            "Nothing listens on that port. Start `iperf3 -s` on the server, or check the port.",
        ),
        (
            Self::Unreachable,
            "unreachable",
            "There is no route to the server. Check addresses, routes and the link.",
        ),
        (
            Self::UnknownHost,
            "unknown_host",
            "The name does not resolve on the exporter's host. Check the name and the DNS.",
        ),
        (
            Self::ConnectTimeout,
            "connect_timeout",
            "The server did not respond to the connection attempt, or UDP is blocked on the path. Check firewalls.",
        ),
        (
            Self::Busy,
            "busy",
            "The server is running another test. Spread the scrapes, or give each exporter its own server port.",
        ),
        (
            Self::Auth,
            "auth",
            "The server requires a user name and password, or rejected the given ones. See `--iperf3.username`.",
        ),
        (
            Self::Unsupported,
            "unsupported",
            "The iperf3 at one end is too old for a parameter, was built without it, or rejected it. The log names \
             the parameter.",
        ),
        (
            Self::Interrupted,
            "interrupted",
            "The server or the control connection was lost during the test. Servers of iperf3 3.21 also close the \
             connection when they require a password and `--iperf3.username` is not set.",
        ),
        (
            Self::Timeout,
            "timeout",
            "The test did not finish before its deadline. Possible causes are a hung server, a dead link, or a \
             scrape timeout that is too short.",
        ),
        (
            Self::Killed,
            "killed",
            "A signal that the exporter did not send ended iperf3: the out-of-memory killer, an operator, or a \
             crash.",
        ),
        (
            Self::Local,
            "local",
            "The problem is on the exporter's own host. The bind address, the device, a permission, a resource, a \
             file or space in the temporary folder is missing. Or the host cannot send UDP datagrams of that \
             `length`.",
        ),
        (
            Self::BadOutput,
            "bad_output",
            "The output of iperf3 is not a report. Check `--iperf3.path`.",
        ),
        (
            Self::NotFound,
            "not_found",
            "There is no iperf3 on the exporter's host. Install it, or set `--iperf3.path`.",
        ),
        (
            Self::Budget,
            "budget",
            "The daily budget of bytes is spent, the test would exceed it, or the test exceeded it and was stopped. \
             See `--probe.max-bytes-per-day`.",
        ),
        (
            Self::Other,
            "other",
            "Read the log, which has iperf3's own message. iperf3 before 3.11 does not say why it could not connect.",
        ),
    ];

    pub(crate) fn label(self) -> &'static str {
        self.row().map_or("other", |(_, label, _)| label)
    }

    pub(crate) fn advice(self) -> &'static str {
        self.row().map_or("", |(_, _, advice)| advice)
    }

    fn row(self) -> Option<&'static (Self, &'static str, &'static str)> {
        Self::ALL.iter().find(|(reason, ..)| *reason == self)
    }
}

/// iperf3 3.16 and later put this between what failed and the system's text.
const CONNECT_HINT: &str =
    " - server may have stopped running or use a different port, firewall issue, etc.";

/// Parts of messages, in lower case, and their meaning. The first match counts, so specific parts come first.
const MESSAGES: &[(&str, Reason)] = &[
    // The system's text in this message is left over from an earlier call.
    ("unable to create thread", Reason::Local),
    // Rejections by iperf3 itself.
    ("server is busy", Reason::Busy),
    ("authorization failed", Reason::Auth),
    // The key file on the client, and the one on the server.
    ("valid rsa public key", Reason::Local),
    ("authentication", Reason::Auth),
    // OpenSSL's message about a file that is not a public key. It may contain "unsupported".
    ("decoder routines", Reason::Local),
    ("unrecognized option", Reason::Unsupported),
    ("invalid option", Reason::Unsupported),
    ("unknown option", Reason::Unsupported),
    ("parameter error", Reason::Unsupported),
    ("tcp_congestion", Reason::Unsupported),
    // An address of the other family, or a family that this kernel does not support.
    ("address family", Reason::Local),
    ("not supported", Reason::Unsupported),
    ("unsupported", Reason::Unsupported),
    ("larger than server limit", Reason::Unsupported),
    ("maximum permitted", Reason::Unsupported),
    // Terminated from outside: the client, and the server.
    ("client has terminated", Reason::Killed),
    ("server has terminated", Reason::Interrupted),
    // A mapped address, a device or a socket that this machine does not provide.
    ("cannot assign requested address", Reason::Local),
    ("address not available", Reason::Local),
    ("address already in use", Reason::Local),
    ("address in use", Reason::Local),
    ("no such device", Reason::Local),
    // An ICMPv6 "administratively prohibited" from the path reads like this (RFC 4443 section 3.1; Linux: EACCES).
    ("to server: permission denied", Reason::Unreachable),
    ("permission denied", Reason::Local),
    // A link-local address without a zone, or with a zone that does not exist.
    ("to server: invalid argument", Reason::Local),
    ("operation not permitted", Reason::Local),
    ("too many open files", Reason::Local),
    ("no file descriptors available", Reason::Local),
    ("cannot allocate memory", Reason::Local),
    ("out of memory", Reason::Local),
    ("no buffer space", Reason::Local),
    // A datagram that is too long, by glibc and by musl. The third message comes from sockets that split a large write
    // into datagrams.
    ("to stream socket: message too long", Reason::Local),
    ("to stream socket: message too large", Reason::Local),
    ("to stream socket: invalid argument", Reason::Local),
    ("no space left", Reason::Local),
    ("read-only file system", Reason::Local),
    // iperf3 reads into its temporary file, which has no space.
    ("read /dev/urandom: bad address", Reason::Local),
    // Above the system's limit.
    ("socket buffer size", Reason::Local),
    ("unable to create a new stream", Reason::Local),
    ("unable to bind", Reason::Local),
    // The control connection works, but UDP is rejected on the path.
    ("stream socket: connection refused", Reason::ConnectTimeout),
    // A server before 3.7 does not know `--bidir`.
    ("initialize stream: transport endpoint", Reason::Unsupported),
    ("unable to initialize stream", Reason::Local),
    // The path to the server.
    ("connection refused", Reason::Refused),
    ("network is unreachable", Reason::Unreachable),
    ("network unreachable", Reason::Unreachable),
    ("no route to host", Reason::Unreachable),
    ("host is unreachable", Reason::Unreachable),
    ("host is down", Reason::Unreachable),
    ("network is down", Reason::Unreachable),
    ("name or service not known", Reason::UnknownHost),
    ("name does not resolve", Reason::UnknownHost),
    ("name resolution", Reason::UnknownHost),
    ("name has no usable address", Reason::UnknownHost),
    ("no address associated", Reason::UnknownHost),
    ("nodename nor servname", Reason::UnknownHost),
    // A resolver that does not respond, by musl and by glibc.
    ("to server: try again", Reason::UnknownHost),
    ("to server: resource temporarily", Reason::UnknownHost),
    ("operation now in progress", Reason::ConnectTimeout),
    ("operation in progress", Reason::ConnectTimeout),
    // The first datagram of a UDP stream got no response for 30 seconds.
    ("socket: resource temporarily", Reason::ConnectTimeout),
    ("stream socket: try again", Reason::ConnectTimeout),
];

/// Signs that a control connection broke.
const BREAKS: &[&str] = &[
    "broken pipe",
    "connection reset",
    "connection timed out",
    "operation timed out",
    "unable to receive control message",
    "unable to send control message",
    "unable to receive results",
    "unable to send results",
    "unable to read from stream",
    "unable to write to stream",
    "stream socket has closed",
    "control socket",
    "idle timeout",
    "test duration expired",
];

/// The reason for iperf3's message. `started` is true if its streams were connected.
pub(crate) fn from_message(message: &str, started: bool) -> Reason {
    let text = message.to_ascii_lowercase().replace(CONNECT_HINT, "");
    // The server sent an error for which this client is too old to have a message.
    if text.trim().is_empty() {
        return Reason::Unsupported;
    }
    if let Some((_, reason)) = MESSAGES.iter().find(|(piece, _)| text.contains(piece)) {
        // A problem on the server is not this machine's fault.
        return match reason {
            Reason::Local if text.starts_with("server error") => Reason::Other,
            reason => *reason,
        };
    }
    if text.contains("timed out") && text.contains("unable to connect") {
        return Reason::ConnectTimeout;
    }
    // Before 3.11, iperf3 continues without a socket after a failed connect, and the cause is lost.
    if text.contains("bad file descriptor") {
        return Reason::Other;
    }
    // Before 3.11, iperf3 does not read a busy server's rejection: the next write finds the connection closed.
    if !started && text.contains("control message: broken pipe") {
        return Reason::Busy;
    }
    if BREAKS.iter().any(|piece| text.contains(piece)) {
        return Reason::Interrupted;
    }
    Reason::Other
}

/// Explains iperf3's message if the message names only the effect.
pub(crate) fn hint(message: &str) -> Option<&'static str> {
    let text = message.to_ascii_lowercase();
    let is_too_long = ["message too long", "message too large", "invalid argument"]
        .iter()
        .any(|cause| text.contains(&format!("to stream socket: {cause}")));
    is_too_long
        .then_some("the datagrams are too long for the path or the system, set a smaller length")
}

/// Whether the message is about a connection that could not be made. That includes a name that was not found.
pub(crate) fn is_connect_error(message: &str) -> bool {
    let text = message.to_ascii_lowercase();
    // The second is the message of iperf3 before 3.11 for a failed connect.
    text.contains("unable to connect to server") || text.contains("bad file descriptor")
}

#[cfg(test)]
mod tests {
    use super::{Reason, from_message, hint};

    #[test]
    fn each_reason_is_in_the_table_once() {
        for (index, (reason, label, help)) in Reason::ALL.iter().enumerate() {
            assert_eq!(reason.label(), *label);
            assert!(help.ends_with('.'));
            assert!(
                !Reason::ALL[..index]
                    .iter()
                    .any(|(other, ..)| other == reason)
            );
        }
        assert_eq!(Reason::ALL.len(), Reason::Other as usize + 1);
    }

    #[test]
    fn messages_of_glibc_and_musl_mean_the_same() {
        for (message, reason) in [
            (
                "unable to connect to server: Connection refused",
                Reason::Refused,
            ),
            (
                "unable to connect to server: Operation timed out",
                Reason::ConnectTimeout,
            ),
            (
                "unable to connect to server: Name does not resolve",
                Reason::UnknownHost,
            ),
            (
                "unable to connect to server: Host is unreachable",
                Reason::Unreachable,
            ),
            (
                "unable to connect to server: Address not available",
                Reason::Local,
            ),
            (
                "unable to receive control message: Connection timed out",
                Reason::Interrupted,
            ),
            ("the server has terminated", Reason::Interrupted),
            ("failed to read /dev/urandom: Bad address", Reason::Local),
            ("something new", Reason::Other),
            // Messages from real runs and from `iperf_error.c` that the fixtures do not have.
            (
                "unable to connect to server: Permission denied",
                Reason::Unreachable,
            ),
            (
                "unable to create temp file: Permission denied",
                Reason::Local,
            ),
            (
                "unable to connect to server: Address family not supported by protocol",
                Reason::Local,
            ),
            (
                "unable to connect to server: Invalid argument",
                Reason::Local,
            ),
            (
                "unable to create thread: Operation now in progress",
                Reason::Local,
            ),
            (
                "SERVER ERROR - unable to create a new stream: Too many open files",
                Reason::Other,
            ),
            (
                "unable to receive control message - port may not be available, the other side may have stopped \
                 running, etc.: Resource temporarily unavailable",
                Reason::Interrupted,
            ),
            (
                "unable to connect to server - server may have stopped running or use a different port, firewall \
                 issue, etc.: Resource temporarily unavailable",
                Reason::UnknownHost,
            ),
            ("", Reason::Unsupported),
            (
                "unable to read from stream socket: Connection refused",
                Reason::ConnectTimeout,
            ),
            (
                "unable to initialize stream: Transport endpoint is not connected",
                Reason::Unsupported,
            ),
            ("idle timeout for receiving data", Reason::Interrupted),
            ("server test duration expired", Reason::Interrupted),
            (
                "unable to read from the control socket",
                Reason::Interrupted,
            ),
            ("unable to initialize stream: ", Reason::Local),
            (
                "parameter error - you must specify a username, password, and path to a valid RSA public key",
                Reason::Local,
            ),
            ("socket buffer size not set correctly", Reason::Local),
            (
                "parameter error - bogus value for --omit",
                Reason::Unsupported,
            ),
            (
                "parameter error - socket buffer size too large (maximum = 536870912 bytes)",
                Reason::Unsupported,
            ),
        ] {
            assert_eq!(from_message(message, false), reason, "{message}");
        }
    }

    #[test]
    fn a_datagram_that_is_too_long_is_local_but_the_same_text_elsewhere_is_not() {
        for (message, reason) in [
            (
                "unable to write to stream socket: Message too long",
                Reason::Local,
            ),
            (
                "unable to write to stream socket: Message too large",
                Reason::Local,
            ),
            (
                "unable to write to stream socket: Invalid argument",
                Reason::Local,
            ),
            (
                "SERVER ERROR - unable to write to stream socket: Message too long",
                Reason::Other,
            ),
            (
                "unable to write to stream socket: Connection reset by peer",
                Reason::Interrupted,
            ),
            (
                "unable to read from stream socket: Invalid argument",
                Reason::Interrupted,
            ),
            (
                "unable to send control message: Message too long",
                Reason::Interrupted,
            ),
        ] {
            assert_eq!(from_message(message, true), reason, "{message}");
        }
    }

    #[test]
    fn only_a_datagram_that_is_too_long_has_a_hint() {
        let write = "unable to write to stream socket";
        for cause in ["Message too long", "Message too large", "Invalid argument"] {
            let hint = hint(&format!("{write}: {cause}")).unwrap();
            assert!(hint.contains("smaller length"), "{hint}");
        }
        for message in [
            "unable to write to stream socket: Broken pipe",
            "unable to connect to server: Invalid argument",
            "",
        ] {
            assert_eq!(hint(message), None, "{message}");
        }
    }

    #[test]
    fn a_broken_pipe_means_busy_only_before_the_test() {
        let message = "unable to send control message: Broken pipe";
        assert_eq!(from_message(message, false), Reason::Busy);
        assert_eq!(from_message(message, true), Reason::Interrupted);
    }
}
