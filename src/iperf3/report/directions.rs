//! Turns the document of a finished test into its directions: the sums of each, from the side that knows.
//!
//! Owns which member of a report holds what in which version; must not know a document without sums.

use std::borrow::Cow;

use serde_json::Value;

use crate::iperf3::mode::Mode;
use crate::iperf3::report::intervals::Intervals;
use crate::iperf3::report::json::{
    are_possible, at, has_number, items, longest, number, number_at, total,
};
use crate::iperf3::report::metadata::{Congestion, Metadata, is_sctp};
use crate::iperf3::report::model::{Direction, Report};
use crate::iperf3::report::plausibility;
use crate::iperf3::report::tcp::Tcp;
use crate::iperf3::report::transfer::{FlowDirection, Transfer, drop_contradictions};
use crate::iperf3::report::udp::UdpCounts;

/// A finished test's document.
pub(super) struct Test<'a> {
    pub(super) root: &'a Value,
    /// The requested mode; `udp` is the requested protocol.
    pub(super) mode: Mode,
    pub(super) udp: bool,
    pub(super) intervals: Cow<'a, Intervals>,
}

impl<'a> Test<'a> {
    /// The directions that ran. `None` if the document is of a different test, or lacks a sum.
    pub(super) fn report(&self) -> Option<Report> {
        // If one direction ran, the report itself shows which. If it does not, it is the requested one.
        let ran = |direction: FlowDirection| {
            let mut streams = self.streams();
            streams.any(|stream| direction.has(side(stream), self.mode))
        };
        let (up, down) = (ran(FlowDirection::Upload), ran(FlowDirection::Download));
        let is_of_protocol = self
            .streams()
            .all(|stream| stream.get("udp").is_some() == self.udp);
        let is_this_test = (up && down) == (self.mode == Mode::Bidirectional);
        if !(up || down) || !is_of_protocol || !is_this_test {
            return None;
        }
        let direction = if self.udp {
            Self::udp_direction
        } else {
            Self::tcp_direction
        };
        let mut report = Report {
            metadata: Metadata::of(self.root),
            ..Report::default()
        };
        if up {
            report.upload = Some(direction(self, FlowDirection::Upload)?);
        }
        if down {
            report.download = Some(direction(self, FlowDirection::Download)?);
        }
        Some(report)
    }

    /// The fields of a direction that every protocol has.
    fn plain(
        &self,
        direction: FlowDirection,
        sent: Transfer,
        received: Transfer,
        streams: usize,
    ) -> Direction {
        let (rates, intervals) = self.intervals.seen(direction);
        Direction {
            sent,
            received,
            retransmits: None,
            udp: None,
            tcp: None,
            streams: streams as f64,
            rates,
            intervals,
            congestion: Congestion::default(),
        }
    }

    fn tcp_direction(&self, direction: FlowDirection) -> Option<Direction> {
        let streams: Vec<&Value> = self
            .streams()
            .filter(|stream| direction.has(side(stream), self.mode))
            .collect();
        let sides = |name: &str| -> Vec<&'a Value> {
            let sides = streams.iter().filter_map(|stream| stream.get(name));
            sides.collect()
        };
        let (senders, receivers) = (sides("sender"), sides("receiver"));
        let (mut sent, mut received, retransmits) = match (
            self.sum("sum_sent", direction),
            self.sum("sum_received", direction),
        ) {
            (Some(sent), Some(received)) => (
                transfer(sent)?,
                transfer(received)?,
                number(sent, "retransmits"),
            ),
            // Up to 3.10, `--bidir` prints both directions under one name, and only the download's sum is left.
            _ if senders.len() == streams.len() && receivers.len() == streams.len() => (
                added_transfers(&senders)?,
                added_transfers(&receivers)?,
                total(&senders, "retransmits"),
            ),
            _ => return None,
        };
        // Without the client's own count there is no test. The server's count may be impossible.
        let ours = if direction == FlowDirection::Upload {
            sent
        } else {
            received
        };
        ours.bytes.and(ours.seconds)?;
        // A sender that is stopped within a block has not counted it (seen in 3.16 and later).
        let uncounted = streams.len() as f64 * self.block_bytes().unwrap_or(0.0);
        drop_contradictions(direction, &mut sent, &mut received, |sent| {
            (self.seconds_omitted() == 0.0).then_some(sent + uncounted)
        });
        let is_tcp = !is_sctp(self.root);
        let omits = self.seconds_omitted() > 0.0;
        Some(Direction {
            retransmits: retransmits
                .and_then(plausibility::counter)
                .filter(|_| is_tcp && are_possible(&senders, "retransmits"))
                // A segment has at least one byte.
                .filter(|count| sent.bytes.is_none_or(|bytes| *count <= bytes)),
            tcp: (is_tcp && direction == FlowDirection::Upload)
                .then(|| Tcp::from_upload(self.root, &senders, &self.intervals, omits)),
            congestion: Congestion::of(self.root, self.mode, direction),
            ..self.plain(direction, sent, received, streams.len())
        })
    }

    fn udp_direction(&self, direction: FlowDirection) -> Option<Direction> {
        let streams: Vec<&Value> = self
            .streams()
            .filter_map(|stream| stream.get("udp"))
            .filter(|stream| direction.has(stream, self.mode))
            .collect();
        let is_upload = direction == FlowDirection::Upload;
        // In every version, bytes, rate and packets here are the sender's; jitter and loss are the receiver's.
        let sum = self.sum("sum", direction);
        let reported = |key| match sum {
            Some(sum) => number(sum, key).filter(|_| are_possible(&streams, key)),
            None => total(&streams, key),
        };
        if sum.is_some_and(|sum| !has_number(sum, "bytes")) {
            return None;
        }
        let mut sent = Transfer {
            seconds: longest(&streams, "seconds"),
            bytes: reported("bytes"),
        };
        if is_upload {
            sent.bytes?;
        }
        let received_sum = self.sum("sum_received", direction);
        let mut received = self.udp_received(direction, received_sum);
        drop_contradictions(direction, &mut sent, &mut received, |sent| {
            (is_upload && self.seconds_omitted() == 0.0).then_some(sent * plausibility::DOUBLED)
        });
        let (blind, seeing): (Vec<&Value>, Vec<&Value>) =
            streams.iter().partition(|stream| saw_nothing(stream));
        let counts = UdpCounts {
            datagram_bytes: self.block_bytes(),
            sent_bytes: sent.bytes,
            received_bytes: received.bytes,
            reported_packets: reported("packets"),
            highest_number: received_sum.and_then(|sum| number(sum, "packets")),
            reported_lost: reported("lost_packets"),
            reported_jitter_ms: match sum.filter(|_| blind.is_empty()) {
                Some(sum) => number(sum, "jitter_ms"),
                None => total(&seeing, "jitter_ms").map(|sum| sum / seeing.len() as f64),
            },
            // In an upload, this count is from the client, which receives nothing.
            out_of_order: total(&streams, "out_of_order").filter(|_| !is_upload),
            blind_packets: if blind.is_empty() || seeing.is_empty() {
                Some(0.0)
            } else {
                total(&blind, "packets")
            },
            seconds: sent.seconds.or(received.seconds),
            omits_from_upload: is_upload && self.seconds_omitted() > 0.0,
            is_upload,
        };
        Some(Direction {
            udp: Some(counts.assess()),
            ..self.plain(direction, sent, received, streams.len())
        })
    }

    /// What arrived in a UDP test. From 3.11 on, a sum contains it. Before, only a client that receives counts it, in
    /// its intervals.
    fn udp_received(&self, direction: FlowDirection, received_sum: Option<&Value>) -> Transfer {
        Transfer {
            // Both directions take the same time, so the sum that is left serves both.
            seconds: received_sum
                .or_else(|| at(self.root, &["end", "sum"]))
                .and_then(|sum| number(sum, "seconds")),
            bytes: match received_sum {
                Some(sum) => number(sum, "bytes"),
                None if direction == FlowDirection::Download => {
                    self.intervals.counted_bytes(direction)
                }
                None => None,
            },
        }
    }

    fn streams(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        items(at(self.root, &["end", "streams"]))
    }

    fn block_bytes(&self) -> Option<f64> {
        number_at(self.root, &["start", "test_start", "blksize"])
    }

    fn seconds_omitted(&self) -> f64 {
        number_at(self.root, &["start", "test_start", "omit"]).unwrap_or(0.0)
    }

    /// The sum `name` of one direction; `None` if the other direction's sum has taken its name.
    fn sum(&self, name: &str, direction: FlowDirection) -> Option<&'a Value> {
        let plain = at(self.root, &["end", name]);
        if self.mode != Mode::Bidirectional {
            return plain;
        }
        let reverse = at(self.root, &["end", &format!("{name}_bidir_reverse")]);
        match direction {
            FlowDirection::Upload => plain.filter(|_| reverse.is_some()),
            // Up to 3.10, the download's sum is the one that is left. If the report has one direction only, the sum is
            // an upload's.
            FlowDirection::Download => {
                reverse.or_else(|| plain.filter(|sum| direction.has(sum, self.mode)))
            }
        }
    }
}

/// Whether the stream's receiver never saw two datagrams: no loss, and a jitter of exactly 0.
fn saw_nothing(stream: &Value) -> bool {
    number(stream, "lost_packets") == Some(0.0) && number(stream, "jitter_ms") == Some(0.0)
}

/// The part of a stream that has `sender`. A TCP stream has two sides that agree on it.
fn side(stream: &Value) -> &Value {
    stream
        .get("udp")
        .or_else(|| stream.get("sender"))
        .unwrap_or(stream)
}

/// The values of a sum; `None` if it is not a sum. An impossible number is left out.
fn transfer(sum: &Value) -> Option<Transfer> {
    let is_sum = has_number(sum, "seconds") && has_number(sum, "bytes");
    is_sum.then(|| Transfer {
        seconds: number(sum, "seconds"),
        bytes: number(sum, "bytes"),
    })
}

/// Streams run in parallel: their bytes add up, their times do not. A side's `end` is the time that iperf3's own sums
/// use. Its `seconds` is the sender's on both sides.
fn added_transfers(sides: &[&Value]) -> Option<Transfer> {
    Some(Transfer {
        seconds: Some(longest(sides, "end")?),
        bytes: Some(total(sides, "bytes")?),
    })
}
