//! iperf3's JSON document, read once: its report, its cost, and its parts for display.
//!
//! Must not know Prometheus.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use serde_json::Value;

use super::directions::Test;
use super::intervals::Intervals;
use super::json::{at, items};
use super::metadata;
use super::model::Report;
use super::text;
use super::transfer::FlowDirection;
use crate::iperf3::mode::Mode;
use crate::iperf3::outcome::{Cost, Outcome};

/// Why there is no report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The test failed, with iperf3's message.
    Error(String),
    /// No error, but the sums of a test of this kind are missing.
    Incomplete,
}

/// Why an output that began as a document is not one. Completes a sentence about iperf3's output.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    Broken(text::Broken),
    /// A line of a stream was skipped.
    LineTooLong {
        limit_bytes: usize,
    },
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(broken) => broken.fmt(f),
            Self::LineTooLong { limit_bytes } => write!(
                f,
                "incomplete: a line of it is longer than the limit of {limit_bytes} bytes"
            ),
        }
    }
}

/// How much of the `end` part is shown and kept. The largest test, 128 streams per direction, has about 200 KiB.
const END_PART_LIMIT_CHARS: usize = 256 * 1024;

#[derive(Debug)]
pub(crate) struct Document {
    root: Value,
    /// The intervals, if they came one by one and are not in `root`.
    streamed: Option<Intervals>,
}

impl Document {
    /// Reads standard output.
    ///
    /// # Errors
    /// Where its JSON is broken; `None` if no document began.
    pub(crate) fn read(stdout: &[u8]) -> Result<Self, Option<Unreadable>> {
        let broken = |broken: Option<text::Broken>| broken.map(Unreadable::Broken);
        let mut root = text::find(stdout).map_err(broken)?;
        if let Some(error) = root.get_mut("error")
            && let Some(own) = error_of_the_server(stdout)
        {
            *error = own;
        }
        Ok(Self {
            root,
            streamed: None,
        })
    }

    /// A document whose parts came one by one.
    pub(super) fn from_parts(root: Value, intervals: Intervals) -> Self {
        Self {
            root,
            streamed: Some(intervals),
        }
    }

    pub(crate) fn was_connected(&self) -> bool {
        items(at(&self.root, &["start", "connected"]))
            .next()
            .is_some()
    }

    /// The address that its streams were connected to, if it was reported.
    pub(crate) fn server_address(&self) -> Option<IpAddr> {
        metadata::server_address(&self.root)
    }

    /// What a test of this mode and protocol measured. The caller must check iperf3's exit status.
    pub(crate) fn report(&self, mode: Mode, udp: bool) -> Result<Report, Fault> {
        let root = &self.root;
        if let Some(error) = root.get("error") {
            let message = error.as_str();
            let message = message.map_or_else(|| error.to_string(), str::to_owned);
            let message = message.strip_prefix("error - ").unwrap_or(&message);
            return Err(Fault::Error(message.to_owned()));
        }
        let test = Test {
            root,
            mode,
            udp,
            intervals: self.intervals(mode),
        };
        test.report().ok_or(Fault::Incomplete)
    }

    /// What a test of this mode cost, whatever its outcome: what the client sent and what arrived at it, including the
    /// omitted seconds. The intervals show it, even if the run was cut short. For a successful run the sums are used
    /// too, because intervals can be missing. Neither counts a byte that was not there, so the larger one is right.
    pub(crate) fn cost(&self, mode: Mode, outcome: &Outcome) -> Cost {
        let intervals = self.intervals(mode);
        let report = outcome.as_ref().ok();
        let upload = report.and_then(|report| report.upload.as_ref()?.sent.bytes);
        let download = report.and_then(|report| report.download.as_ref()?.received.bytes);
        let larger = |direction, sum: Option<f64>| {
            let in_intervals = intervals.bytes(direction).unwrap_or(0.0);
            in_intervals.max(sum.unwrap_or(0.0))
        };
        Cost {
            upload: larger(FlowDirection::Upload, upload),
            download: larger(FlowDirection::Download, download),
        }
    }

    fn intervals(&self, mode: Mode) -> Cow<'_, Intervals> {
        match &self.streamed {
            Some(intervals) => Cow::Borrowed(intervals),
            None => Cow::Owned(Intervals::of(&self.root, mode)),
        }
    }

    /// The `end` part for display, cut at a limit.
    pub(crate) fn end_part(&self) -> Option<String> {
        let text = serde_json::to_string_pretty(self.root.get("end")?).ok()?;
        Some(text.chars().take(END_PART_LIMIT_CHARS).collect())
    }
}

/// The server's own error. It is the first of two `error` members, and a map keeps the second, which is the client's.
fn error_of_the_server(stdout: &[u8]) -> Option<Value> {
    const START: &[u8] = b"\"SERVER ERROR - ";
    let at = stdout
        .windows(START.len())
        .position(|window| window == START)?;
    let mut values = serde_json::Deserializer::from_slice(stdout.get(at..)?).into_iter();
    values.next()?.ok()
}

#[cfg(test)]
mod tests {
    use super::{Document, Fault, Report};
    use crate::iperf3::Mode;
    use crate::iperf3::reason::Reason;
    use crate::iperf3::report::tcp::{Rtt, Tcp};
    use crate::iperf3::report::udp::Udp;
    use crate::iperf3::{Cost, Failure};
    use serde_json::{Value, json};

    /// A file under `tests`, by its path there.
    fn document(name: &str) -> Document {
        let path = format!("{}/tests/{name}.json", env!("CARGO_MANIFEST_DIR"));
        Document::read(&std::fs::read(path).unwrap()).unwrap()
    }

    /// Reads a UDP report of `tests/recorded`. The README there says where each report comes from.
    fn recorded(name: &str, mode: Mode) -> Report {
        let document = document(&format!("recorded/{name}"));
        document.report(mode, true).unwrap()
    }

    fn datagrams(report: &Report) -> (Option<f64>, Option<f64>, Option<f64>) {
        let direction = report.upload.as_ref().or(report.download.as_ref()).unwrap();
        let Udp {
            sent_packets,
            received_packets,
            lost_packets,
            ..
        } = direction.udp.unwrap();
        (sent_packets, received_packets, lost_packets)
    }

    fn jitter_ms(report: &Report) -> Option<f64> {
        let direction = report.upload.as_ref().or(report.download.as_ref()).unwrap();
        direction.udp.unwrap().jitter_ms
    }

    #[test]
    fn a_stream_that_did_not_arrive_is_lost_and_has_no_jitter() {
        let report = recorded("udp-P4-one-path-dead", Mode::Upload);
        assert_eq!(datagrams(&report), (Some(692.0), Some(519.0), Some(173.0)));
        let mean =
            (0.038_430_617_091_844_78 + 0.048_878_723_731_427_37 + 0.052_637_897_070_541_6) / 3.0;
        assert!((jitter_ms(&report).unwrap() - mean).abs() < 1e-12);
        // In half a second, they might still be in flight.
        let mut document = document("recorded/udp-P4-one-path-dead");
        let end = &mut document.root["end"];
        end["sum_received"]["seconds"] = json!(0.5);
        for stream in end["streams"].as_array_mut().unwrap() {
            stream["udp"]["seconds"] = json!(0.5);
        }
        let report = document.report(Mode::Upload, true).unwrap();
        assert_eq!(datagrams(&report), (Some(692.0), Some(519.0), None));
    }

    #[test]
    fn a_loss_that_contradicts_what_was_sent_and_what_arrived_is_unknown() {
        let report = recorded("udp-dark-after-1s", Mode::Upload);
        assert_eq!(datagrams(&report), (Some(1296.0), Some(436.0), None));
        assert!(jitter_ms(&report).is_some());
    }

    #[test]
    fn a_jitter_longer_than_the_test_is_dropped() {
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
    fn arrivals_in_omitted_seconds_do_not_count() {
        let mut document = document("fixtures/3.9/udp-R-loss5");
        let received = |document: &Document| {
            let report = document.report(Mode::Reverse, true).unwrap();
            report.download.unwrap().received.bytes
        };
        let stream = &document.root["intervals"][0]["streams"][0];
        let omitted = stream["bytes"].as_f64().unwrap();
        let all = received(&document).unwrap();
        document.root["intervals"][0]["streams"][0]["omitted"] = json!(true);
        assert_eq!(received(&document), Some(all - omitted));
    }

    #[test]
    fn the_servers_error_comes_before_the_clients() {
        let text =
            br#"{"start":{},"error":"SERVER ERROR - unable to \"x\"","error":"control socket"}"#;
        let message = "SERVER ERROR - unable to \"x\"".to_owned();
        let fault = Fault::Error(message);
        let document = Document::read(text).unwrap();
        assert_eq!(document.report(Mode::Upload, false), Err(fault));
    }

    #[test]
    fn a_report_of_another_protocol_or_mode_is_not_a_result() {
        let document = document("recorded/udp-R-3.6");
        let incomplete = Err(Fault::Incomplete);
        assert_eq!(document.report(Mode::Reverse, false), incomplete);
        assert_eq!(document.report(Mode::Bidirectional, true), incomplete);
    }

    #[test]
    fn only_a_json_object_is_a_document() {
        for text in ["", "[]", "1", "{", "iperf3: error", "\"{}\""] {
            assert!(Document::read(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Document::read(b"{} and more").is_ok());
        let broken = Document::read(b"words\n{\n\"a\": x }").unwrap_err();
        assert_eq!(broken.unwrap().to_string(), "not JSON at line 3: `x`");
        assert_eq!(Document::read(b"words").unwrap_err(), None);
    }

    #[test]
    fn round_trip_times_come_from_counted_seconds_and_uploads() {
        let report = document("recorded/tcp-O2")
            .report(Mode::Upload, false)
            .unwrap();
        let upload = report.upload.unwrap();
        let Tcp {
            rtt,
            rttvar_seconds,
            window_max_bytes,
            path_mtu_bytes,
            reorderings,
            ..
        } = upload.tcp.unwrap();
        let Rtt { min, mean, max } = rtt.unwrap();
        assert_eq!((min, mean, max), (72e-6, 75e-6, 78e-6));
        assert_eq!(rttvar_seconds, Some(11.5e-6));
        assert_eq!(window_max_bytes, Some(1_178_694.0));
        assert_eq!(path_mtu_bytes, Some(65535.0));
        assert_eq!(reorderings, None);
        assert_eq!(upload.rates.map(|rates| rates.count), Some(2.0));
        // In a bidirectional test the download has samples too, but they are from a socket that sends nothing.
        let both = document("fixtures/3.21/tcp-P4-bidir")
            .report(Mode::Bidirectional, false)
            .unwrap();
        assert!(both.upload.unwrap().tcp.unwrap().rtt.is_some());
        let download = both.download.unwrap();
        assert_eq!((download.tcp, download.streams), (None, 4.0));
        assert!(download.retransmits.is_some());
    }

    #[test]
    fn zeros_instead_of_tcp_samples_are_none() {
        let side = json!({ "sender": true, "bytes": 1, "end": 1, "max_rtt": 0, "min_rtt": 0, "mean_rtt": 0,
            "max_snd_cwnd": 0, "retransmits": -1 });
        let sum = json!({ "bytes": 1, "seconds": 1, "retransmits": -1 });
        let text = json!({
            "start": { "test_start": { "protocol": "TCP" }, "tcp_mss_default": 0 },
            "intervals": [{ "streams": [{ "sender": true, "rtt": 0, "rttvar": 0, "snd_cwnd": 0, "pmtu": 0 }] }],
            "end": { "streams": [{ "sender": side, "receiver": side }], "sum_sent": sum, "sum_received": sum },
        });
        let document = Document::read(text.to_string().as_bytes()).unwrap();
        let report = document.report(Mode::Upload, false).unwrap();
        let upload = report.upload.unwrap();
        assert_eq!(upload.tcp, Some(Tcp::default()));
        assert_eq!((upload.retransmits, upload.rates), (None, None));
    }

    #[test]
    fn wrapped_counters_are_none() {
        let tcp = |name: &str, mode, change: &dyn Fn(&mut Value)| {
            let mut document = document(&format!("fixtures/{name}"));
            change(&mut document.root["end"]);
            let report = document.report(mode, false).unwrap();
            let [upload, download] = report.directions().map(Option::<&_>::cloned);
            upload.or(download).unwrap()
        };
        let limit = 1_u64 << 31;
        for (name, mode) in [
            ("3.21/tcp", Mode::Upload),
            ("3.12/tcp-R", Mode::Reverse),
            ("3.9/tcp-P4", Mode::Upload),
        ] {
            let retransmits = |count: u64, bytes: u64| {
                let direction = tcp(name, mode, &|end| {
                    end["sum_sent"]["retransmits"] = json!(count);
                    end["sum_sent"]["bytes"] = json!(bytes);
                });
                direction.retransmits
            };
            let many = 20_000_000_000;
            assert_eq!(retransmits(limit - 1, many), Some((limit - 1) as f64));
            for wrapped in [limit, 4_294_967_294, u64::MAX] {
                assert_eq!(retransmits(wrapped, many), None, "{name} {wrapped}");
            }
            // A segment has at least one byte. Only the server knows how much a server sent.
            if mode == Mode::Upload {
                assert_eq!(retransmits(1000, 1000), Some(1000.0), "{name}");
                assert_eq!(retransmits(1001, 1000), None, "{name}");
            }
        }
        // The sum of a wrapped counter and others looks plausible.
        let of_streams = |key: &'static str, count: i64| {
            tcp("3.21/tcp-P4", Mode::Upload, &|end| {
                end["streams"][2]["sender"][key] = json!(count);
            })
        };
        assert!(of_streams("retransmits", 0).retransmits.is_some());
        assert_eq!(of_streams("retransmits", -2).retransmits, None);
        let reorderings = |count| of_streams("reorder", count).tcp.unwrap().reorderings;
        assert!(reorderings(0).is_some());
        assert_eq!((reorderings(-2), reorderings(4_294_967_294)), (None, None));
        // Up to 3.10, only the sum shows the loss of an upload.
        let lost = |count: i64| {
            let mut document = document("fixtures/3.9/udp-P2-b10M");
            document.root["end"]["streams"][1]["udp"]["lost_packets"] = json!(count);
            document.root["end"]["sum"]["lost_packets"] = json!(3);
            document.root["end"]["sum"]["jitter_ms"] = json!(0.1);
            datagrams(&document.report(Mode::Upload, true).unwrap()).2
        };
        assert_eq!((lost(3), lost(-3)), (Some(3.0), None));
    }

    #[test]
    fn an_sctp_test_has_no_tcp_values() {
        // As iperf3 3.20 prints it: the sender's side has TCP's members, but they were not measured.
        let side = json!({ "sender": true, "start": 0, "end": 2.0, "seconds": 2.0, "bytes": 200,
            "retransmits": 0, "reorder": 0, "max_snd_cwnd": 4380, "max_rtt": 90, "min_rtt": 70, "mean_rtt": 80 });
        let sum = json!({ "seconds": 2.0, "bytes": 200, "retransmits": 0, "sender": true });
        let interval = |start: f64| {
            json!({ "streams": [{ "start": start, "end": start + 1.0, "seconds": 1.0, "bytes": 100,
                "retransmits": 4, "snd_cwnd": 4380, "rtt": 80, "rttvar": 1, "pmtu": 1500, "omitted": false,
                "sender": true }] })
        };
        let text = json!({
            "start": { "version": "iperf 3.20", "test_start": { "protocol": "SCTP", "interval": 1 } },
            "intervals": [interval(0.0), interval(1.0)],
            "end": { "streams": [{ "sender": side, "receiver": side }], "sum_sent": sum, "sum_received": sum },
        });
        let document = Document::read(text.to_string().as_bytes()).unwrap();
        let report = document.report(Mode::Upload, false).unwrap();
        let upload = report.upload.unwrap();
        assert_eq!(upload.received.bytes_per_second(), Some(100.0));
        assert_eq!(upload.rates.map(|rates| rates.sum), Some(200.0));
        assert_eq!(
            (upload.retransmits, upload.tcp, upload.udp),
            (None, None, None)
        );
        assert_eq!(report.metadata.protocol, "sctp");
    }

    #[test]
    fn a_failed_run_costs_what_its_intervals_counted() {
        for (name, mode, upload, download) in [
            // Three intervals. The last one is a quarter of a second.
            ("3.12/client-sigterm-tcp", Mode::Upload, 2_883_584.0, 0.0),
            ("3.21/client-sigterm-udp", Mode::Upload, 1_769_472.0, 0.0),
            // The last interval is printed twice.
            ("3.12/server-sigkill-tcp", Mode::Upload, 2_621_440.0, 0.0),
            ("3.16/server-sigkill-udp", Mode::Upload, 3_768_320.0, 0.0),
            ("3.9/server-sigkill-tcp", Mode::Upload, 5_111_808.0, 0.0),
            // Nothing was sent.
            ("3.12/busy", Mode::Upload, 0.0, 0.0),
        ] {
            let failure = Failure {
                reason: Reason::Killed,
                message: String::new(),
            };
            let cost = document(&format!("fixtures/{name}")).cost(mode, &Err(failure));
            assert_eq!(cost, Cost { upload, download }, "{name}");
        }
    }

    #[test]
    fn the_cost_of_a_test_includes_its_omitted_seconds() {
        for (name, mode, udp, upload, download) in [
            ("3.12/tcp-R-O1", Mode::Reverse, false, 0.0, 5_096_210_432.0),
            ("3.12/udp-O1-loss5", Mode::Upload, true, 3_748_872.0, 0.0),
            // No interval was omitted, so the sums count. Up to 3.10, the upload's sum is only in the streams.
            (
                "3.9/tcp-bidir",
                Mode::Bidirectional,
                false,
                2_288_517_120.0,
                1_460_403_906.0,
            ),
            (
                "3.21/tcp-bidir",
                Mode::Bidirectional,
                false,
                3_768_320_000.0,
                4_500_619_264.0,
            ),
        ] {
            let document = document(&format!("fixtures/{name}"));
            let outcome = Ok(document.report(mode, udp).unwrap());
            let cost = document.cost(mode, &outcome);
            assert_eq!(cost, Cost { upload, download }, "{name}");
        }
    }

    #[test]
    fn nothing_received_in_less_than_a_second_is_neither_a_loss_nor_a_measurement() {
        // As 3.12 prints `-u -n 1` and `-n 1` on loopback, where everything arrives: the end message is read first.
        let upload = |seconds: f64, udp: bool| {
            let (stream, sum);
            if udp {
                stream = json!({ "udp": { "sender": true, "seconds": seconds, "bytes": 1000, "packets": 1,
                    "lost_packets": 0, "jitter_ms": 0, "out_of_order": 0 } });
                sum = json!({ "seconds": seconds, "bytes": 1000, "packets": 1, "lost_packets": 0, "jitter_ms": 0 });
            } else {
                stream = json!({ "sender": { "sender": true }, "receiver": { "sender": true } });
                sum = json!({ "seconds": seconds, "bytes": 131_072, "retransmits": 0 });
            }
            let text = json!({
                "start": { "test_start": { "blksize": 1000 } },
                "end": { "streams": [stream], "sum": sum, "sum_sent": sum,
                    "sum_received": { "seconds": seconds, "bytes": 0, "packets": 0 } },
            });
            let document = Document::read(text.to_string().as_bytes()).unwrap();
            document.report(Mode::Upload, udp).unwrap().upload.unwrap()
        };
        for (seconds, is_known) in [(0.0002, false), (0.9, false), (0.99, true), (3.0, true)] {
            let udp = upload(seconds, true);
            let lost = udp.udp.unwrap().lost_packets;
            assert_eq!(lost, is_known.then_some(1.0), "{seconds}");
            assert_eq!(udp.udp.unwrap().received_packets, Some(0.0));
            for direction in [udp, upload(seconds, false)] {
                let known = is_known.then_some(0.0);
                assert_eq!(direction.arrived().bytes, known, "{seconds}");
                assert_eq!(direction.arrived().bytes_per_second(), known, "{seconds}");
                // The drop-in families keep iperf3's own value.
                assert_eq!(direction.received.bytes, Some(0.0));
            }
        }
    }

    #[test]
    fn impossible_server_values_are_dropped() {
        let received = |name: &str, mode, udp, key: &str, value: serde_json::Value| {
            let mut document = document(name);
            document.root["end"]["sum_received"][key] = value;
            let report = document.report(mode, udp).unwrap();
            report.upload.unwrap().received
        };
        for (name, udp) in [
            ("fixtures/3.12/tcp", false),
            ("fixtures/3.12/udp-loss5", true),
        ] {
            let of = |key, value| received(name, Mode::Upload, udp, key, value);
            for bytes in [
                json!(99_999_999_999_999_u64),
                json!(u64::MAX - 4),
                json!(-5),
            ] {
                let received = of("bytes", bytes.clone());
                assert_eq!(received.bytes, None, "{name} {bytes}");
                assert!(received.seconds.is_some());
                assert_eq!(received.bytes_per_second(), None);
            }
            for seconds in [json!(1e-300), json!(0), json!(0.5), json!(1e6), json!(-1)] {
                let received = of("seconds", seconds.clone());
                assert_eq!(received.seconds, None, "{name} {seconds}");
                assert!(received.bytes.is_some());
                assert_eq!(received.bytes_per_second(), None);
            }
        }
        // In a download the client counts what arrives, and the server reports what it sent.
        let mut download = document("fixtures/3.12/tcp-R");
        download.root["end"]["sum_sent"]["bytes"] = json!(1);
        download.root["end"]["sum_sent"]["seconds"] = json!(1e9);
        let direction = download
            .report(Mode::Reverse, false)
            .unwrap()
            .download
            .unwrap();
        assert_eq!((direction.sent.bytes, direction.sent.seconds), (None, None));
        assert!(direction.received.bytes_per_second().is_some());
        // The client's own count must be there: it is the test.
        for (name, mode, sum) in [
            ("tcp", Mode::Upload, "sum_sent"),
            ("tcp-R", Mode::Reverse, "sum_received"),
        ] {
            let mut document = document(&format!("fixtures/3.12/{name}"));
            document.root["end"][sum]["bytes"] = json!(-1);
            let incomplete = Err(Fault::Incomplete);
            assert_eq!(document.report(mode, false), incomplete, "{name}");
        }
        // From 3.16 on, iperf3 really reports one block more per stream than the sender counted.
        let whole = document("fixtures/3.16/tcp-B")
            .report(Mode::Upload, false)
            .unwrap();
        let direction = whole.upload.unwrap();
        assert!(direction.received.bytes > direction.sent.bytes);
    }

    #[test]
    fn sums_that_overflow_leave_only_finite_values() {
        let mut document = document("fixtures/3.12/tcp-P4");
        let streams = document.root["end"]["streams"].as_array_mut().unwrap();
        for stream in streams {
            for key in ["mean_rtt", "min_rtt", "max_rtt", "max_snd_cwnd"] {
                stream["sender"][key] = json!(1e308);
            }
        }
        for interval in document.root["intervals"].as_array_mut().unwrap() {
            for stream in interval["streams"].as_array_mut().unwrap() {
                for key in ["bytes", "rtt", "rttvar", "pmtu", "snd_cwnd"] {
                    stream[key] = json!(1e308);
                }
            }
        }
        let report = document.report(Mode::Upload, false).unwrap();
        let direction = report.upload.unwrap();
        assert_eq!(direction.rates, None);
        let Tcp {
            mss_bytes,
            reorderings,
            ..
        } = direction.tcp.unwrap();
        let expected = Tcp {
            mss_bytes,
            reorderings,
            ..Tcp::default()
        };
        assert_eq!(direction.tcp, Some(expected));
        assert!(direction.received.bytes_per_second().is_some());
    }

    #[test]
    fn the_end_part_has_a_limit() {
        let limit = super::END_PART_LIMIT_CHARS;
        let document = json!({ "end": "é".repeat(limit) }).to_string();
        let document = Document::read(document.as_bytes()).unwrap();
        let expected = format!("\"{}", "é".repeat(limit - 1));
        assert!(document.end_part() == Some(expected));
    }

    #[test]
    fn a_report_without_intervals_costs_its_sums() {
        let mut document = document("fixtures/3.12/tcp");
        document.root["intervals"] = json!([]);
        let report = document.report(Mode::Upload, false).unwrap();
        assert_eq!(report.upload.as_ref().unwrap().rates, None);
        let cost = document.cost(Mode::Upload, &Ok(report));
        assert_eq!((cost.upload, cost.download), (2_901_803_008.0, 0.0));
    }
}
