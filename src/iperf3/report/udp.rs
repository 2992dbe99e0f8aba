//! Which of a UDP test's counts can be true.
//!
//! Arithmetic only: must not know JSON. iperf3's counts are wrong in ways that differ by version and side; each rule
//! here says which. One that is wrong while the others determine it exactly is put right, else it is `None`.

use crate::iperf3::report::plausibility::{QUEUE_SECONDS, may_still_arrive};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Udp {
    pub(crate) sent_packets: Option<f64>,
    pub(crate) received_packets: Option<f64>,
    pub(crate) lost_packets: Option<f64>,
    /// The receiver's jitter in milliseconds (RFC 1889 section 6.3.1), the mean over the streams.
    pub(crate) jitter_ms: Option<f64>,
    /// Datagrams that came after one that was sent later, where this end receives.
    pub(crate) out_of_order: Option<f64>,
}

impl Udp {
    /// Lost datagrams in percent of those sent, which is iperf3's own definition.
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

/// What a report says of the datagrams of one direction.
pub(super) struct UdpCounts {
    /// Bytes of payload of each.
    pub(super) datagram_bytes: Option<f64>,
    pub(super) sent_bytes: Option<f64>,
    pub(super) received_bytes: Option<f64>,
    pub(super) reported_packets: Option<f64>,
    /// `sum_received.packets`: the highest sequence number that arrived, less the omitted ones.
    pub(super) highest_number: Option<f64>,
    pub(super) reported_lost: Option<f64>,
    /// The mean jitter of the streams of which something arrived.
    pub(super) reported_jitter_ms: Option<f64>,
    /// Those out of order, as reported by an end that can know.
    pub(super) out_of_order: Option<f64>,
    /// Datagrams of the streams of which nothing arrived, next to others of which something did.
    pub(super) blind_packets: Option<f64>,
    pub(super) seconds: Option<f64>,
    /// `-O` in upload: up to 3.13 the losses of the omitted seconds are counted too.
    pub(super) omits_from_upload: bool,
    pub(super) is_upload: bool,
}

impl UdpCounts {
    /// What of it can be true.
    pub(super) fn judge(&self) -> Udp {
        let sent_packets = self
            .sent_bytes
            .and_then(|bytes| self.datagrams(bytes))
            .or_else(|| self.reported_packets.filter(|packets| *packets > 0.0));
        let received_packets = self.received_bytes.and_then(|bytes| self.datagrams(bytes));
        let nothing_arrived = received_packets == Some(0.0) && sent_packets.is_some();
        let is_blind = nothing_arrived || self.may_have_seen_nothing();
        let lost_packets = if nothing_arrived {
            // Reads as no loss everywhere: the receiver never saw a number to miss another one before it. In a test
            // that was too short all may be on its way yet: 3.12 sends the word of the end before a lone datagram is
            // read, and nothing was lost.
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
            // Up to 3.9 reordering drives the count of losses out of all bounds, and this one with it: 1735 of 1737.
            out_of_order: self.out_of_order.filter(|count| {
                lost_packets.is_some()
                    && received_packets.is_some_and(|received| *count <= received)
            }),
            // No datagram can be later than the test is long: receivers up to 3.8 take the difference of the two
            // hosts' clocks for the first delay.
            jitter_ms: self
                .reported_jitter_ms
                .filter(|_| !is_blind)
                .filter(|jitter| self.seconds.is_none_or(|seconds| *jitter <= seconds * 1e3)),
        }
    }

    /// Whether so many can be lost. Where the report has the highest number, losses and arrivals are held against
    /// that already, and may exceed what was sent by what was on its way at the end of omitted seconds.
    fn can_be(&self, lost: f64, sent: Option<f64>, received: Option<f64>) -> bool {
        let arrived = received.filter(|_| self.highest_number.is_none());
        let arrived = arrived.unwrap_or(0.0);
        sent.is_none_or(|sent| lost + arrived <= sent)
    }

    /// The reported loss with the streams of which nothing arrived: no receiver misses a datagram before it has seen a
    /// later one. None when more is unaccounted for than can have been on its way at the end: then the path went
    /// dark, and how much it took is not known.
    fn with_unseen(&self, lost: f64, sent: Option<f64>, received: Option<f64>) -> Option<f64> {
        /// The most of a test that a queue may hold at its end.
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
        // Less than none is for `can_be` to judge, which knows of omitted seconds.
        let is_on_its_way = unaccounted <= part * sent && (unaccounted >= 0.0 || blind == 0.0);
        is_on_its_way.then_some(lost + blind)
    }

    fn lost(&self, received_packets: Option<f64>) -> Option<f64> {
        let reported = self.reported_lost;
        let (Some(highest), Some(received)) = (self.highest_number, received_packets) else {
            return reported.filter(|_| !self.omits_from_upload);
        };
        // The receiver counts a gap in the numbers as lost and takes a late datagram off again, so its count is
        // the highest number less what arrived. It cannot be less than none: then something was doubled.
        let counted = highest - received;
        if counted < 0.0 {
            return None;
        }
        match reported {
            Some(lost) if same(lost, counted) => Some(counted),
            // A client of 3.14 or later reads 0 from a server of 3.13 or earlier. With omitted seconds the difference
            // is off by what was on its way at their end, so it is not the loss.
            Some(0.0) | None if !self.omits_from_upload => Some(counted),
            _ => None,
        }
    }

    /// Up to 3.10 a report of an upload says nothing of what arrived, and "none lost, no jitter" is what it reads
    /// when nothing did: a jitter of exactly 0 is not seen on any clock once two datagrams arrive.
    fn may_have_seen_nothing(&self) -> bool {
        self.is_upload
            && self.received_bytes.is_none()
            && self.reported_lost == Some(0.0)
            && self.reported_jitter_ms.is_none_or(|jitter| jitter == 0.0)
    }

    /// Each datagram carries exactly a block, so bytes are datagrams.
    fn datagrams(&self, bytes: f64) -> Option<f64> {
        let size = self.datagram_bytes.filter(|size| *size > 0.0)?;
        let count = bytes / size;
        same(count, count.round()).then_some(count)
    }
}

/// Equal, for counts that came as JSON numbers.
fn same(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-6
}
