//! How long each thing may take that a connection waits for, and how much of a refused request is read.
//!
//! One value, handed in where the exporter is put together; the tests below have one of milliseconds.

use std::time::Duration;

/// The limits of the gate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// From a head's first byte to its last.
    pub(super) head: Duration,
    /// How long a connection may be without a request.
    pub(super) idle: Duration,
    /// An answer that is not read within this is given up.
    pub(super) answer: Duration,
    /// How long the rest of a refused request is read and thrown away, so that the refusal is not lost in a reset.
    pub(super) drain: Duration,
    /// How much of it.
    pub(super) drain_bytes: usize,
    /// A TLS handshake, the wait for its first byte included.
    pub(super) handshake: Duration,
    /// How long a new connection waits for one that ends, or for one of the requests in work to be answered.
    pub(super) making_room: Duration,
    /// A connection without a request is left alone this long.
    pub(super) request_on_its_way: Duration,
    /// A new connection that waited in vain for an answer speaks for all that come within this.
    pub(super) in_vain: Duration,
    /// Pause after an accept error.
    pub(super) accept_pause: Duration,
    /// What the first request on a connection to the server behind the gate may take.
    pub(super) greeting: Duration,
    /// What the watchdog's question may take.
    pub(super) pulse: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A slow link takes a second, a slow attacker for ever.
            head: Duration::from_secs(10),
            // Twice Prometheus' usual scrape interval.
            idle: Duration::from_secs(120),
            // Three times Prometheus' usual scrape timeout: by then its client has given up.
            answer: Duration::from_secs(30),
            // A client that has sent a large request on a usual link is done within it.
            drain: Duration::from_secs(1),
            drain_bytes: 256 * 1024,
            // A router with a slow processor on a slow link takes a second.
            handshake: Duration::from_secs(10),
            // The thread of a connection that makes room only has to wake up.
            making_room: Duration::from_secs(1),
            // A client that has just connected, or just read an answer, has its next request on its way.
            request_on_its_way: Duration::from_millis(100),
            // A tenth of the time is enough to wait in.
            in_vain: Duration::from_secs(1),
            // Most of these errors (no descriptors, no memory) last until something else ends.
            accept_pause: Duration::from_millis(100),
            // The server loop answers it by itself: only a machine that is busy with a test takes a second.
            greeting: Duration::from_secs(10),
            // As the greeting, which is a part of it.
            pulse: Duration::from_secs(10),
        }
    }
}
