//! Why a connection ended.
//!
//! The labels of `iperf3_exporter_connections_closed_total` come from here; must not know how it ended.

/// Why a connection ended; the label `cause` of `iperf3_exporter_connections_closed_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The client closed it, or it ended with an answer as both sides had said.
    Done,
    /// It had no request for too long.
    Idle,
    /// Its head was not complete in time.
    SlowHead,
    /// Its answer was not read in time.
    SlowReader,
    /// Its request was refused.
    Refused,
    /// Its TLS handshake failed.
    Handshake,
    /// It was closed while its request was being worked on.
    HungUp,
    /// Another one needed its place.
    MadeRoom,
    /// There was no place for it.
    NoRoom,
    /// The server behind the front end did not answer.
    Failed,
}

impl Closed {
    /// Each with its label value, in the order of the documentation.
    pub(crate) const ALL: [(Self, &'static str); 10] = [
        (Self::Done, "done"),
        (Self::Idle, "idle"),
        (Self::SlowHead, "slow_head"),
        (Self::SlowReader, "slow_reader"),
        (Self::Refused, "bad_request"),
        (Self::Handshake, "handshake"),
        (Self::HungUp, "hung_up"),
        (Self::MadeRoom, "made_room"),
        (Self::NoRoom, "no_room"),
        (Self::Failed, "failed"),
    ];

    /// The value of the label `cause`.
    pub(crate) fn label(self) -> &'static str {
        Self::ALL
            .iter()
            .find_map(|(closed, label)| (*closed == self).then_some(*label))
            .unwrap_or("failed")
    }
}
