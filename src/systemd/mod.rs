//! systemd integration: passed sockets, state notifications, and whether standard error goes to the journal.
//!
//! For Linux' service manager only; without it nothing here has any effect. Knows nothing of HTTP or iperf3.

pub(crate) mod journal;
pub(crate) mod notify;
pub(crate) mod sockets;
