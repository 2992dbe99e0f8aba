//! iperf3's JSON becomes a [`Report`]: what was measured, in each direction, at the side that knows.
//!
//! Owns the crate `serde_json` and all that is odd in iperf3's output over its versions; must not know
//! Prometheus. The oddities were measured on the runs in `tests/fixtures`; its README tells each. The rule for
//! all of them: a number that iperf3 did not measure, or that cannot be true, is `None`; one that is wrong while
//! the same report determines the right one exactly is put right; nothing is estimated.
//!
//! A map and not derived structures: iperf3 repeats keys (`--bidir` up to 3.10, several streams up to 3.13), which
//! a derived structure refuses and a map answers with the last one.

use serde_json::Value;

use crate::probe::params::Mode;

/// What a test measured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Report {
    /// Client to server, in a normal and a bidirectional test.
    pub(crate) upload: Option<Direction>,
    /// Server to client, in a reverse and a bidirectional test.
    pub(crate) download: Option<Direction>,
}

/// One direction, all its streams together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Direction {
    /// What the sender sent.
    pub(crate) sent: Transfer,
    /// What arrived at the receiver.
    pub(crate) received: Transfer,
    /// TCP segments sent again, where the sender's system counts them.
    pub(crate) retransmits: Option<f64>,
    /// UDP only.
    pub(crate) udp: Option<Udp>,
}

/// Bytes and the time that they took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Transfer {
    /// Seconds by the clock of that side.
    pub(crate) seconds: Option<f64>,
    /// Bytes of payload.
    pub(crate) bytes: Option<f64>,
}

impl Transfer {
    /// Payload bits a second, when both are known.
    pub(crate) fn bits_per_second(&self) -> Option<f64> {
        let seconds = self.seconds.filter(|seconds| *seconds > 0.0)?;
        Some(self.bytes? * 8.0 / seconds)
    }
}

/// What only UDP has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Udp {
    /// Datagrams that were sent.
    pub(crate) sent_packets: Option<f64>,
    /// Datagrams that arrived.
    pub(crate) received_packets: Option<f64>,
    /// Datagrams that the receiver missed.
    pub(crate) lost_packets: Option<f64>,
    /// The receiver's jitter in milliseconds (RFC 1889 section 6.3.1), the mean over the streams.
    pub(crate) jitter_ms: Option<f64>,
}

impl Udp {
    /// Lost datagrams in percent of those sent, which is iperf3's own definition.
    pub(crate) fn lost_percent(&self) -> Option<f64> {
        let sent = self.sent_packets.filter(|sent| *sent > 0.0)?;
        Some(100.0 * self.lost_packets? / sent)
    }
}

/// Why there is no report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Standard output does not begin with a JSON object.
    NotJson,
    /// The test failed; `message` is iperf3's `error`.
    Error {
        /// iperf3's words.
        message: String,
        /// The streams were connected before it happened.
        started: bool,
    },
    /// No error, but not the sums of a test of this kind either.
    Incomplete {
        /// The streams were connected.
        started: bool,
    },
}

/// Reads what iperf3 printed for a test of this mode and protocol. iperf3's exit status is the caller's to judge.
pub(crate) fn read(stdout: &[u8], mode: Mode, udp: bool) -> Result<Report, Fault> {
    // The first document only: some versions print more text behind it.
    let document = serde_json::Deserializer::from_slice(stdout)
        .into_iter::<Value>()
        .next();
    let Some(Ok(root @ Value::Object(_))) = document else {
        return Err(Fault::NotJson);
    };
    let started = items(at(&root, &["start", "connected"])).next().is_some();
    if let Some(error) = root.get("error") {
        let message = error
            .as_str()
            .map_or_else(|| error.to_string(), str::to_owned);
        let message = error_of_the_server(stdout).unwrap_or(message);
        let message = message
            .strip_prefix("error - ")
            .unwrap_or(&message)
            .to_owned();
        return Err(Fault::Error { message, started });
    }
    let test = Test {
        root: &root,
        mode,
        udp,
    };
    test.report().ok_or(Fault::Incomplete { started })
}

/// The server's own error. It comes first of two members `error`, and a map keeps the second, the client's.
fn error_of_the_server(stdout: &[u8]) -> Option<String> {
    const START: &[u8] = b"\"SERVER ERROR - ";
    let at = stdout
        .windows(START.len())
        .position(|window| window == START)?;
    let text = serde_json::Deserializer::from_slice(stdout.get(at..)?)
        .into_iter::<String>()
        .next();
    text?.ok()
}

/// One of the two ways that data goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

impl Way {
    /// The value of `sender` in a stream of this way: whether this end, the client, sends.
    fn client_sends(self) -> bool {
        self == Self::Up
    }
}

/// A finished test's document.
struct Test<'a> {
    root: &'a Value,
    mode: Mode,
    udp: bool,
}

impl<'a> Test<'a> {
    /// The directions that ran; none when the document is not of such a test, or lacks a sum of it.
    fn report(&self) -> Option<Report> {
        let ran = |way| self.streams().any(|stream| is_of(side(stream), way));
        let is_bidirectional = ran(Way::Up) && ran(Way::Down);
        let is_of_protocol = self
            .streams()
            .all(|stream| stream.get("udp").is_some() == self.udp);
        let is_this_test = is_bidirectional == (self.mode == Mode::Bidirectional);
        if self.streams().next().is_none() || !is_of_protocol || !is_this_test {
            return None;
        }
        // Of one direction the report itself says which; where it does not, it is the one that was asked for.
        let runs = |way| match self.mode {
            Mode::Bidirectional => true,
            Mode::Upload => ran(way) || (way == Way::Up && !ran(Way::Down)),
            Mode::Reverse => ran(way) || (way == Way::Down && !ran(Way::Up)),
        };
        let direction = |way| {
            if self.udp {
                self.udp_way(way)
            } else {
                self.tcp_way(way)
            }
        };
        let one = |way| match runs(way).then(|| direction(way)) {
            None => Some(None),
            Some(found) => found.map(Some),
        };
        Some(Report {
            upload: one(Way::Up)?,
            download: one(Way::Down)?,
        })
    }

    fn tcp_way(&self, way: Way) -> Option<Direction> {
        if let (Some(sent), Some(received)) =
            (self.sum("sum_sent", way), self.sum("sum_received", way))
        {
            return Some(Direction {
                sent: transfer(sent)?,
                received: transfer(received)?,
                retransmits: number(sent, "retransmits"),
                udp: None,
            });
        }
        // Up to 3.10 `--bidir` prints both ways under one name, and the download's is the one that is left.
        let streams: Vec<&Value> = self
            .streams()
            .filter(|stream| stream.get("sender").is_some_and(|side| is_of(side, way)))
            .collect();
        let side = |name: &str| {
            let sides: Vec<&Value> = streams.iter().filter_map(|s| s.get(name)).collect();
            (sides.len() == streams.len()).then_some(sides)
        };
        let (sent, received) = (side("sender")?, side("receiver")?);
        Some(Direction {
            sent: added_transfers(&sent)?,
            received: added_transfers(&received)?,
            retransmits: total(&sent, "retransmits"),
            udp: None,
        })
    }

    fn udp_way(&self, way: Way) -> Option<Direction> {
        let streams: Vec<&Value> = self
            .streams()
            .filter_map(|stream| stream.get("udp"))
            .filter(|stream| self.mode != Mode::Bidirectional || is_of(stream, way))
            .collect();
        // Bytes, rate and packets here are the sender's, jitter and loss the receiver's, in every version.
        let sum = self.sum("sum", way);
        let sent_bytes = match sum {
            Some(sum) => number(sum, "bytes"),
            None => total(&streams, "bytes"),
        }?;
        let sent = Transfer {
            seconds: longest(&streams, "seconds"),
            bytes: Some(sent_bytes),
        };
        // From 3.11 on; before, only a client that receives counts what arrived, in its intervals.
        let received_sum = self.sum("sum_received", way);
        let received = Transfer {
            // The time of both ways is the same, so the sum that is left serves both.
            seconds: received_sum
                .or_else(|| at(self.root, &["end", "sum"]))
                .and_then(|sum| number(sum, "seconds")),
            bytes: match received_sum {
                Some(sum) => number(sum, "bytes"),
                None if way == Way::Down => self.bytes_of_receiving_intervals(),
                None => None,
            },
        };
        let counts = UdpCounts {
            datagram_bytes: at(self.root, &["start", "test_start"])
                .and_then(|test| number(test, "blksize")),
            sent_bytes,
            received_bytes: received.bytes,
            reported_packets: match sum {
                Some(sum) => number(sum, "packets"),
                None => total(&streams, "packets"),
            },
            highest_number: received_sum.and_then(|sum| number(sum, "packets")),
            reported_lost: match sum {
                Some(sum) => number(sum, "lost_packets"),
                None => total(&streams, "lost_packets"),
            },
            reported_jitter_ms: match sum {
                Some(sum) => number(sum, "jitter_ms"),
                None => total(&streams, "jitter_ms").map(|sum| sum / streams.len() as f64),
            },
            omits_from_upload: way == Way::Up && self.seconds_omitted() > 0.0,
            is_upload: way == Way::Up,
        };
        Some(Direction {
            sent,
            received,
            retransmits: None,
            udp: Some(counts.judge()),
        })
    }

    fn streams(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        items(at(self.root, &["end", "streams"]))
    }

    fn seconds_omitted(&self) -> f64 {
        at(self.root, &["start", "test_start"])
            .and_then(|test| number(test, "omit"))
            .unwrap_or(0.0)
    }

    /// The sum named `name` of one way; none where its name was taken by the other way's.
    fn sum(&self, name: &str, way: Way) -> Option<&'a Value> {
        let plain = at(self.root, &["end", name]);
        if self.mode != Mode::Bidirectional {
            return plain;
        }
        match (
            way,
            at(self.root, &["end", &format!("{name}_bidir_reverse")]),
        ) {
            (Way::Up, Some(_)) => plain,
            (Way::Up, None) => None,
            // Up to 3.10 the download's sum is the one that is left; a report of one way only has an upload's.
            (Way::Down, None) => plain.filter(|sum| is_of(sum, way)),
            (Way::Down, reverse) => reverse,
        }
    }

    /// What arrived at this end by its own count, omitted intervals left out: to the byte what `sum_received`
    /// says in the versions that have one. None when intervals were switched off.
    fn bytes_of_receiving_intervals(&self) -> Option<f64> {
        let mut streams = items(self.root.get("intervals"))
            .flat_map(|interval| items(interval.get("streams")))
            .filter(|stream| is_of(stream, Way::Down) && !flag(stream, "omitted"))
            .peekable();
        streams.peek()?;
        streams.map(|stream| number(stream, "bytes")).sum()
    }
}

/// What a report says of the datagrams of one way.
struct UdpCounts {
    datagram_bytes: Option<f64>,
    sent_bytes: f64,
    received_bytes: Option<f64>,
    reported_packets: Option<f64>,
    /// `sum_received.packets`: the highest sequence number that arrived, less the omitted ones.
    highest_number: Option<f64>,
    reported_lost: Option<f64>,
    reported_jitter_ms: Option<f64>,
    /// `-O` in upload: up to 3.13 the losses of the omitted seconds are counted too.
    omits_from_upload: bool,
    is_upload: bool,
}

impl UdpCounts {
    fn judge(&self) -> Udp {
        let sent_packets = self
            .datagrams(self.sent_bytes)
            .or_else(|| self.reported_packets.filter(|packets| *packets > 0.0));
        let received_packets = self.received_bytes.and_then(|bytes| self.datagrams(bytes));
        let nothing_arrived = received_packets == Some(0.0) && sent_packets.is_some();
        let lost_packets = if nothing_arrived {
            // Reads as no loss everywhere: the receiver never saw a number to miss another one before it.
            sent_packets
        } else {
            self.lost(received_packets)
                .filter(|lost| self.can_be(*lost, sent_packets, received_packets))
        };
        let is_blind = nothing_arrived || self.may_have_seen_nothing();
        Udp {
            sent_packets,
            received_packets,
            lost_packets: lost_packets.filter(|_| nothing_arrived || !is_blind),
            jitter_ms: self.reported_jitter_ms.filter(|_| !is_blind),
        }
    }

    /// Whether so many can be lost. Where the report has the highest number, losses and arrivals are held against
    /// that already, and may exceed what was sent by what was on its way at the end of omitted seconds.
    fn can_be(&self, lost: f64, sent: Option<f64>, received: Option<f64>) -> bool {
        let arrived = match self.highest_number {
            Some(_) => 0.0,
            None => received.unwrap_or(0.0),
        };
        sent.is_none_or(|sent| lost + arrived <= sent)
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
            && self.reported_jitter_ms == Some(0.0)
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

fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

fn items(value: Option<&Value>) -> impl Iterator<Item = &Value> + use<'_> {
    value.and_then(Value::as_array).into_iter().flatten()
}

/// A number that can be a count, a size or a time; `null`, text and negative ones cannot.
fn number(value: &Value, key: &str) -> Option<f64> {
    let number = value.get(key)?.as_f64()?;
    (number.is_finite() && number >= 0.0).then_some(number)
}

fn flag(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or(false)
}

/// The part of a stream that has its `sender`: TCP streams have two sides that agree on it.
fn side(stream: &Value) -> &Value {
    stream
        .get("udp")
        .or_else(|| stream.get("sender"))
        .unwrap_or(stream)
}

/// Whether `side`, a stream or a side of one, belongs to this way.
fn is_of(side: &Value, way: Way) -> bool {
    side.get("sender").and_then(Value::as_bool) == Some(way.client_sends())
}

fn transfer(sum: &Value) -> Option<Transfer> {
    Some(Transfer {
        seconds: Some(number(sum, "seconds")?),
        bytes: Some(number(sum, "bytes")?),
    })
}

/// Streams run side by side: their bytes add up, their time does not. A side's `end` is the time that iperf3's
/// own sums use; its `seconds` is the sender's on both sides.
fn added_transfers(sides: &[&Value]) -> Option<Transfer> {
    Some(Transfer {
        seconds: Some(longest(sides, "end")?),
        bytes: Some(total(sides, "bytes")?),
    })
}

/// The sum of a number over values that all have it; none when there are none.
fn total(values: &[&Value], key: &str) -> Option<f64> {
    values.first()?;
    values.iter().map(|value| number(value, key)).sum()
}

fn longest(values: &[&Value], key: &str) -> Option<f64> {
    values
        .iter()
        .filter_map(|value| number(value, key))
        .reduce(f64::max)
}
