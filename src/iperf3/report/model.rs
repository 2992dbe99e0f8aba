//! What a test measured, whichever version of iperf3 reported it.
//!
//! Must not know JSON.

use super::intervals::{Interval, Rates};
use super::metadata::{Congestion, Metadata};
use super::plausibility;
use super::tcp::Tcp;
use super::transfer::Transfer;
use super::udp::Udp;

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Report {
    /// Client to server, in a normal or a bidirectional test.
    pub(crate) upload: Option<Direction>,
    /// Server to client, in a reverse or a bidirectional test.
    pub(crate) download: Option<Direction>,
    pub(crate) metadata: Metadata,
}

impl Report {
    pub(crate) fn directions(&self) -> [Option<&Direction>; 2] {
        [self.upload.as_ref(), self.download.as_ref()]
    }
}

/// One direction, over all its streams.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Direction {
    pub(crate) sent: Transfer,
    pub(crate) received: Transfer,
    /// Retransmitted TCP segments, if the sender's system counts them.
    pub(crate) retransmits: Option<f64>,
    /// UDP only.
    pub(crate) udp: Option<Udp>,
    /// TCP only, if the client sends.
    pub(crate) tcp: Option<Tcp>,
    pub(crate) streams: f64,
    /// The rates of the intervals as the client counted: what it passed to the system, or what arrived.
    pub(crate) rates: Option<Rates>,
    /// The same intervals in order of time, for display. In a long test, neighbours are merged.
    pub(crate) intervals: Vec<Interval>,
    /// TCP only.
    pub(crate) congestion: Congestion,
}

impl Direction {
    /// Whether not a single datagram was sent. From 3.16 on, iperf3 still exits with status 0.
    pub(crate) fn sent_no_datagram(&self) -> bool {
        self.udp.is_some() && self.sent.bytes == Some(0.0)
    }

    /// Whether nothing arrived although more was sent than queues and buffers hold: then the receiver did not report
    /// what arrived. Less may still be in flight on a slow link, where the receiver counts whole blocks.
    pub(crate) fn has_vanished(&self) -> bool {
        /// Per stream: many times the largest buffers that Linux sets by itself.
        const HELD_BYTES: f64 = 64.0 * 1024.0 * 1024.0;
        let is_zero = self.udp.is_none() && self.received.bytes == Some(0.0);
        is_zero && self.sent.bytes > Some(HELD_BYTES * self.streams)
    }

    /// What arrived, without a 0 that may be wrong: in less than a second, all data may still be in flight to the
    /// receiver. The drop-in families keep what iperf3 counted until its end.
    pub(crate) fn arrived(&self) -> Transfer {
        let is_zero = self.received.bytes == Some(0.0) && self.sent.bytes != Some(0.0);
        let seconds = self.sent.seconds.or(self.received.seconds);
        let is_unknown = is_zero && plausibility::may_still_arrive(seconds);
        Transfer {
            bytes: self.received.bytes.filter(|_| !is_unknown),
            ..self.received
        }
    }
}
