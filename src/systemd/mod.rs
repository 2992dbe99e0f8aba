//! What systemd and the exporter tell each other: the sockets that it passes, the state that it is told,
//! and whether its journal has what is written to standard error.
//!
//! Linux' service manager only; where there is none, nothing here does anything. Knows nothing of HTTP or iperf3.

pub(crate) mod journal;
pub(crate) mod notify;
pub(crate) mod sockets;
