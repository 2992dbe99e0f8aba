//! Decides which of a UDP test's counts can be true.
//!
//! Arithmetic only: must not know JSON. iperf3's counts are wrong in ways that differ by version and side; each rule
//! here names its case. A wrong count is corrected if the others determine it exactly. Otherwise it is `None`.

use crate::iperf3::report::plausibility::{QUEUE_SECONDS, may_still_arrive};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Udp {
    pub(crate) sent_packets: Option<f64>,
    pub(crate) received_packets: Option<f64>,
    pub(crate) lost_packets: Option<f64>,
    /// The receiver's jitter in milliseconds (RFC 1889 section 6.3.1), the mean over the streams.
    pub(crate) jitter_ms: Option<f64>,
    /// Datagrams that arrived after one that was sent later, if the client receives.
    pub(crate) out_of_order: Option<f64>,
}

impl Udp {
    /// Lost datagrams in percent of those sent, as iperf3 defines it.
    pub(crate) fn lost_percent(&self) -> Option<f64> {
        self.lost_of(100.0)
    }

    pub(crate) fn lost_ratio(&self) -> Option<f64> {
        self.lost_of(1.0)
    }

    fn lost_of(&self, all: f64) -> Option<f64> {
        let sent = self.sent_packets.filter(|sent| *sent > 0.0)?;
        Some(all * self.lost_packets? / sent)
    }
}

/// What a report contains about the datagrams of one direction.
pub(super) struct UdpCounts {
    /// Payload bytes of each datagram.
    pub(super) datagram_bytes: Option<f64>,
    pub(super) sent_bytes: Option<f64>,
    pub(super) received_bytes: Option<f64>,
    pub(super) reported_packets: Option<f64>,
    /// `sum_received.packets`: the highest sequence number that arrived, minus the omitted datagrams.
    pub(super) highest_number: Option<f64>,
    pub(super) reported_lost: Option<f64>,
    /// The mean jitter of the streams that arrived at least in part.
    pub(super) reported_jitter_ms: Option<f64>,
    /// Out-of-order datagrams, if they are reported by an end that can know.
    pub(super) out_of_order: Option<f64>,
    /// Datagrams of streams that did not arrive at all, while other streams did.
    pub(super) blind_packets: Option<f64>,
    pub(super) seconds: Option<f64>,
    /// `-O` in an upload: up to 3.13, the losses of the omitted seconds are counted too.
    pub(super) omits_from_upload: bool,
    pub(super) is_upload: bool,
}

impl UdpCounts {
    /// Returns the counts that can be true.
    pub(super) fn assess(&self) -> Udp {
        let sent_packets = self
            .sent_bytes
            .and_then(|bytes| self.datagrams(bytes))
            .or_else(|| self.reported_packets.filter(|packets| *packets > 0.0));
        let received_packets = self.received_bytes.and_then(|bytes| self.datagrams(bytes));
        let nothing_arrived = received_packets == Some(0.0) && sent_packets.is_some();
        let is_blind = nothing_arrived || self.may_have_seen_nothing();
        let lost_packets = if nothing_arrived {
            // Every report reads as no loss here: a receiver that never saw a sequence number cannot miss an earlier
            // one. In a test that was too short, everything may still be in flight: 3.12 sends the end message before a
            // lone datagram is read, and nothing was lost.
            sent_packets.filter(|_| !may_still_arrive(self.seconds))
        } else {
            self.lost(received_packets)
                .filter(|_| !is_blind)
                .and_then(|lost| self.with_unseen(lost, sent_packets, received_packets))
                .filter(|lost| self.can_be(*lost, sent_packets, received_packets))
        };
        Udp {
            sent_packets,
            received_packets,
            lost_packets,
            // Up to 3.9, reordering inflates the loss count beyond all bounds, and this count with it: 1735 of 1737.
            out_of_order: self.out_of_order.filter(|count| {
                lost_packets.is_some()
                    && received_packets.is_some_and(|received| *count <= received)
            }),
            // No datagram can be delayed for longer than the test. Receivers up to 3.8 take the difference of the two
            // hosts' clocks as the first delay.
            jitter_ms: self
                .reported_jitter_ms
                .filter(|_| !is_blind)
                .filter(|jitter| self.seconds.is_none_or(|seconds| *jitter <= seconds * 1e3)),
        }
    }

    /// Whether this many datagrams can be lost. If the report has the highest number, losses and arrivals have already
    /// been checked against it. They may exceed what was sent by what was in flight at the end of the omitted seconds.
    fn can_be(&self, lost: f64, sent: Option<f64>, received: Option<f64>) -> bool {
        let arrived = received.filter(|_| self.highest_number.is_none());
        let arrived = arrived.unwrap_or(0.0);
        sent.is_none_or(|sent| lost + arrived <= sent)
    }

    /// The reported loss plus the streams that did not arrive at all: a receiver misses a datagram only after it has
    /// seen a later one. `None` if more is unaccounted for than can have been in flight at the end: then the path
    /// failed, and the loss is unknown.
    fn with_unseen(&self, lost: f64, sent: Option<f64>, received: Option<f64>) -> Option<f64> {
        /// The largest part of a test that a queue may hold at its end.
        const QUEUE_PART: f64 = 0.25;
        let blind = self.blind_packets?;
        if blind > 0.0 && may_still_arrive(self.seconds) {
            return None;
        }
        let (Some(sent), Some(received)) = (sent, received) else {
            return (blind == 0.0).then_some(lost);
        };
        let unaccounted = sent - received - lost - blind;
        let part = self.seconds.map_or(QUEUE_PART, |seconds| {
            (QUEUE_SECONDS / seconds).min(QUEUE_PART)
        });
        // A negative number is left to `can_be`, which takes omitted seconds into account.
        let is_on_its_way = unaccounted <= part * sent && (unaccounted >= 0.0 || blind == 0.0);
        is_on_its_way.then_some(lost + blind)
    }

    fn lost(&self, received_packets: Option<f64>) -> Option<f64> {
        let reported = self.reported_lost;
        let (Some(highest), Some(received)) = (self.highest_number, received_packets) else {
            return reported.filter(|_| !self.omits_from_upload);
        };
        // The receiver counts a gap in the numbers as lost and subtracts late datagrams again. So its count is the
        // highest number minus what arrived. A negative result means that datagrams were duplicated.
        let counted = highest - received;
        if counted < 0.0 {
            return None;
        }
        match reported {
            Some(lost) if same(lost, counted) => Some(counted),
            // A client of 3.14 or later reads 0 from a server of 3.13 or earlier. With omitted seconds, the difference
            // is off by what was in flight at their end, so it is not the loss.
            Some(0.0) | None if !self.omits_from_upload => Some(counted),
            _ => None,
        }
    }

    /// Up to 3.10, the report of an upload does not contain what arrived. If nothing arrived, it reads "none lost, no
    /// jitter". Once two datagrams arrive, no clock shows a jitter of exactly 0.
    fn may_have_seen_nothing(&self) -> bool {
        self.is_upload
            && self.received_bytes.is_none()
            && self.reported_lost == Some(0.0)
            && self.reported_jitter_ms.is_none_or(|jitter| jitter == 0.0)
    }

    /// Each datagram carries exactly one block, so the number of bytes gives the number of datagrams.
    fn datagrams(&self, bytes: f64) -> Option<f64> {
        let size = self.datagram_bytes.filter(|size| *size > 0.0)?;
        let count = bytes / size;
        same(count, count.round()).then_some(count)
    }
}

/// Whether two counts that came as JSON numbers are equal.
fn same(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-6
}
