//! What systemd and the exporter tell each other: the sockets that it passes, and the state that it is told.
//!
//! Linux' service manager only; where there is none, nothing here does anything. Knows nothing of HTTP or iperf3.

pub(crate) mod notify;
pub(crate) mod sockets;
