//! iperf3's JSON becomes a [`Report`]: what was measured, in each direction, at the side that knows.
//!
//! Owns the crate `serde_json` and all that is odd in iperf3's output over its versions; must not know
//! Prometheus. The oddities are in the README of `tests/fixtures`; the rule for all: a number that iperf3 did not
//! measure, or that cannot be true, is `None`; a wrong one that the same report determines exactly is put right.
//!
//! A map and not derived structures: iperf3 repeats keys (`--bidir` up to 3.10, several streams up to 3.13), which
//! a derived structure refuses and a map answers with the last one.

use serde_json::Value;

use super::udp::{Udp, UdpCounts};
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
        let (blind, seeing): (Vec<&Value>, Vec<&Value>) =
            streams.iter().partition(|stream| saw_nothing(stream));
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
            reported_jitter_ms: match sum.filter(|_| blind.is_empty()) {
                Some(sum) => number(sum, "jitter_ms"),
                None => mean_jitter_ms(&seeing),
            },
            blind_packets: if blind.is_empty() || seeing.is_empty() {
                Some(0.0)
            } else {
                total(&blind, "packets")
            },
            seconds: sent.seconds,
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
            .filter(|stream| {
                // Before 3.7 there is no `sender`, and no bidirectional test either.
                (self.mode == Mode::Reverse || is_of(stream, Way::Down)) && !flag(stream, "omitted")
            })
            .peekable();
        streams.peek()?;
        streams.map(|stream| number(stream, "bytes")).sum()
    }
}

/// A stream whose receiver never saw two datagrams: no loss and a jitter of exactly 0.
fn saw_nothing(stream: &Value) -> bool {
    number(stream, "lost_packets") == Some(0.0) && number(stream, "jitter_ms") == Some(0.0)
}

fn mean_jitter_ms(streams: &[&Value]) -> Option<f64> {
    total(streams, "jitter_ms").map(|sum| sum / streams.len() as f64)
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

#[cfg(test)]
mod tests {
    use super::{Fault, Report, Udp, read};
    use crate::probe::params::Mode;

    /// Reads a file of `tests/recorded`, whose README says where each comes from.
    fn recorded(name: &str, mode: Mode) -> Report {
        let path = format!("{}/tests/recorded/{name}.json", env!("CARGO_MANIFEST_DIR"));
        read(&std::fs::read(path).unwrap(), mode, true).unwrap()
    }

    fn datagrams(report: &Report) -> (Option<f64>, Option<f64>, Option<f64>) {
        let way = report.upload.as_ref().or(report.download.as_ref()).unwrap();
        let Udp {
            sent_packets,
            received_packets,
            lost_packets,
            ..
        } = way.udp.unwrap();
        (sent_packets, received_packets, lost_packets)
    }

    fn jitter_ms(report: &Report) -> Option<f64> {
        let way = report.upload.as_ref().or(report.download.as_ref()).unwrap();
        way.udp.unwrap().jitter_ms
    }

    #[test]
    fn a_stream_of_which_nothing_arrived_is_lost_and_has_no_jitter() {
        let report = recorded("udp-P4-one-path-dead", Mode::Upload);
        assert_eq!(datagrams(&report), (Some(692.0), Some(519.0), Some(173.0)));
        let mean =
            (0.038_430_617_091_844_78 + 0.048_878_723_731_427_37 + 0.052_637_897_070_541_6) / 3.0;
        assert!((jitter_ms(&report).unwrap() - mean).abs() < 1e-12);
    }

    #[test]
    fn a_loss_that_contradicts_what_was_sent_and_what_arrived_is_unknown() {
        let report = recorded("udp-dark-after-1s", Mode::Upload);
        assert_eq!(datagrams(&report), (Some(1296.0), Some(436.0), None));
        assert!(jitter_ms(&report).is_some());
    }

    #[test]
    fn a_jitter_longer_than_the_test_is_none() {
        let report = recorded("udp-other-clock-server-3.7", Mode::Upload);
        assert_eq!(datagrams(&report), (Some(91.0), Some(91.0), Some(0.0)));
        assert_eq!(jitter_ms(&report), None);
    }

    #[test]
    fn intervals_without_a_sender_count_what_arrived() {
        let report = recorded("udp-R-3.6", Mode::Reverse);
        assert_eq!(datagrams(&report), (Some(900.0), Some(900.0), Some(0.0)));
        let report = recorded("udp-R-3.6-loss100", Mode::Reverse);
        assert_eq!(datagrams(&report), (Some(446.0), Some(0.0), Some(446.0)));
        assert_eq!(jitter_ms(&report), None);
    }

    #[test]
    fn the_servers_error_comes_before_the_clients() {
        let text =
            br#"{"start":{},"error":"SERVER ERROR - unable to \"x\"","error":"control socket"}"#;
        let message = "SERVER ERROR - unable to \"x\"".to_owned();
        let fault = Fault::Error {
            message,
            started: false,
        };
        assert_eq!(read(text, Mode::Upload, false), Err(fault));
    }

    #[test]
    fn another_protocols_or_one_ways_report_is_not_a_result() {
        let path = format!(
            "{}/tests/recorded/udp-R-3.6.json",
            env!("CARGO_MANIFEST_DIR")
        );
        let text = std::fs::read(path).unwrap();
        let incomplete = Err(Fault::Incomplete { started: true });
        assert_eq!(read(&text, Mode::Reverse, false), incomplete);
        assert_eq!(read(&text, Mode::Bidirectional, true), incomplete);
    }
}
