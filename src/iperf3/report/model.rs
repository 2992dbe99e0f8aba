//! What a test measured, whichever iperf3 said it.
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
    /// Client to server, in a normal and a bidirectional test.
    pub(crate) upload: Option<Direction>,
    /// Server to client, in a reverse and a bidirectional test.
    pub(crate) download: Option<Direction>,
    pub(crate) metadata: Metadata,
}

impl Report {
    pub(crate) fn directions(&self) -> [Option<&Direction>; 2] {
        [self.upload.as_ref(), self.download.as_ref()]
    }
}

/// One direction, all its streams together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Direction {
    pub(crate) sent: Transfer,
    pub(crate) received: Transfer,
    /// TCP segments sent again, where the sender's system counts them.
    pub(crate) retransmits: Option<f64>,
    /// UDP only.
    pub(crate) udp: Option<Udp>,
    /// TCP only, where this end sends.
    pub(crate) tcp: Option<Tcp>,
    pub(crate) streams: f64,
    /// How fast it was, interval by interval, as this end counted: what it handed to the system, or what arrived.
    pub(crate) rates: Option<Rates>,
    /// The same in the order of time, for people to look at; of a long test neighbours are one.
    pub(crate) intervals: Vec<Interval>,
    /// TCP only.
    pub(crate) congestion: Congestion,
}

impl Direction {
    /// Whether not one datagram was sent: iperf3 from 3.16 on ends with status 0 all the same.
    pub(crate) fn sent_no_datagram(&self) -> bool {
        self.udp.is_some() && self.sent.bytes == Some(0.0)
    }

    /// Whether of more than queues and buffers hold nothing arrived: then the receiver did not say what did. Less may be on
    /// its way on a slow link, where the receiver counts whole blocks.
    pub(crate) fn has_vanished(&self) -> bool {
        /// Of one stream: many times the largest buffers that Linux takes by itself.
        const HELD_BYTES: f64 = 64.0 * 1024.0 * 1024.0;
        let is_zero = self.udp.is_none() && self.received.bytes == Some(0.0);
        is_zero && self.sent.bytes > Some(HELD_BYTES * self.streams)
    }

    /// What arrived, without a 0 of which nobody knows whether it is one: in less than a second nothing need have
    /// come to the receiver that comes later. The drop-in families keep what iperf3 counted until its end.
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
