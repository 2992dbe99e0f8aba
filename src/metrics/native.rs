//! The families of our own: all that iperf3 measured, a direction a label, in base units.
//!
//! One table from [`Report`] to families; must not know the drop-in families. They are there when a test succeeded,
//! and one that iperf3 did not measure, or that cannot be true, is absent: never 0, never an estimate.

use crate::iperf3::report::intervals::{QUANTILE, Rates};
use crate::iperf3::report::metadata::{Cpu, Metadata};
use crate::iperf3::report::tcp::{Rtt, Tcp};
use crate::iperf3::report::udp::Udp;
use crate::iperf3::report::{Direction, Report};
use crate::metrics::text::{Kind, Text};

/// One family.
pub(crate) struct Row {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its help.
    pub(crate) help: &'static str,
    /// Its unit, for people.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the README's table is made of it")
    )]
    pub(crate) unit: &'static str,
    /// When it is absent, for people, besides on failure.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the README's table is made of it")
    )]
    pub(crate) absent: &'static str,
    /// Its samples.
    pub(crate) samples: Samples,
}

/// What samples a family has besides `target` and `port`.
#[derive(Clone, Copy)]
pub(crate) enum Samples {
    /// One a direction.
    Way(fn(&Direction) -> Option<f64>),
    /// A summary a direction.
    Rates(fn(&Direction) -> Option<Rates>),
    /// One of the upload, in which this end sends.
    Upload(fn(&Metadata) -> Option<f64>),
    /// One an end and mode.
    Cpu,
    /// One a direction, of value 1 and with words as labels.
    Info,
}

impl Samples {
    /// The type of a family with such samples.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Rates(_) => Kind::Summary,
            _ => Kind::Gauge,
        }
    }
}

/// TCP's numbers of the sending socket, which is this end's in an upload only.
const UPLOADS_ONLY: &str =
    "not TCP; in the download direction, where the server's system would know";

/// The families, in the order of the page.
pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "iperf3_bandwidth_bytes_per_second",
        help: "Payload that arrived at the receiver, per second of the test without its omitted seconds.",
        unit: "bytes per second",
        absent: "UDP upload with an iperf3 up to 3.10, which does not say what arrived; nothing had arrived by the end \
                 of a test under a second; the server's bytes or time contradict this end's",
        samples: Samples::Way(|way| way.arrived().bytes_per_second()),
    },
    Row {
        name: "iperf3_transferred_bytes",
        help: "Payload that arrived at the receiver.",
        unit: "bytes",
        absent: "as above, but for the time",
        samples: Samples::Way(|way| way.arrived().bytes),
    },
    Row {
        name: "iperf3_interval_bandwidth_bytes_per_second",
        help: "Payload per second in each of iperf3's intervals as counted at this end, the client: what it handed \
               to its system in an upload, what arrived in a download; without omitted and incomplete intervals. An \
               interval is a second, or longer in tests that may take more than 4096 stream seconds.",
        unit: "bytes per second",
        absent: "no interval was complete; iperf3 was asked for none (very long tests of many streams)",
        samples: Samples::Rates(|way| way.rates),
    },
    Row {
        name: "iperf3_tcp_retransmits",
        help: "TCP segments that the sender sent again.",
        unit: "segments",
        absent: "not TCP; the sender's system does not count them",
        samples: Samples::Way(|way| way.retransmits),
    },
    Row {
        name: "iperf3_tcp_rtt_min_seconds",
        help: "Least smoothed round-trip time at the end of an interval, of any stream, as the sender saw it.",
        unit: "seconds",
        absent: UPLOADS_ONLY,
        samples: Samples::Way(|way| Some(rtt(way)?.min)),
    },
    Row {
        name: "iperf3_tcp_rtt_mean_seconds",
        help: "Mean smoothed round-trip time at the ends of the intervals, and of the streams' means, as the sender \
               saw it.",
        unit: "seconds",
        absent: UPLOADS_ONLY,
        samples: Samples::Way(|way| Some(rtt(way)?.mean)),
    },
    Row {
        name: "iperf3_tcp_rtt_max_seconds",
        help: "Most smoothed round-trip time at the end of an interval, of any stream, as the sender saw it.",
        unit: "seconds",
        absent: UPLOADS_ONLY,
        samples: Samples::Way(|way| Some(rtt(way)?.max)),
    },
    Row {
        name: "iperf3_tcp_rttvar_seconds",
        help: "Smoothed variation of the round-trip time, the mean over the ends of the intervals and the streams.",
        unit: "seconds",
        absent: UPLOADS_ONLY,
        samples: Samples::Way(|way| tcp(way)?.rttvar_seconds),
    },
    Row {
        name: "iperf3_tcp_congestion_window_max_bytes",
        help: "Largest congestion window of the sender at the end of an interval, of any stream.",
        unit: "bytes",
        absent: UPLOADS_ONLY,
        samples: Samples::Way(|way| tcp(way)?.window_max_bytes),
    },
    Row {
        name: "iperf3_tcp_mss_bytes",
        help: "Largest segment that this end sends, of the control connection, which goes the way of the data.",
        unit: "bytes",
        absent: "as above; with `mss`, of which iperf3 prints what was asked for",
        samples: Samples::Upload(|metadata| metadata.mss_bytes),
    },
    Row {
        name: "iperf3_tcp_path_mtu_bytes",
        help: "The path's MTU as the sender knew it at the end of the test, the smallest of the streams.",
        unit: "bytes",
        absent: UPLOADS_ONLY,
        samples: Samples::Way(|way| tcp(way)?.path_mtu_bytes),
    },
    Row {
        name: "iperf3_tcp_reordering_events",
        help: "How often the sender saw that segments had arrived out of order.",
        unit: "events",
        absent: "as above; up to iperf3 3.19; with `omit`, as iperf3 counts the omitted seconds too",
        samples: Samples::Way(|way| tcp(way)?.reorderings),
    },
    Row {
        name: "iperf3_udp_jitter_seconds",
        help: "Jitter at the receiver (RFC 1889), the mean of the streams.",
        unit: "seconds",
        absent: "not UDP; nothing arrived; longer than the test",
        samples: Samples::Way(|way| Some(way.udp?.jitter_ms? / 1e3)),
    },
    Row {
        name: "iperf3_udp_packets",
        help: "Datagrams that the sender sent.",
        unit: "datagrams",
        absent: "not UDP",
        samples: Samples::Way(|way| way.udp?.sent_packets),
    },
    Row {
        name: "iperf3_udp_lost_packets",
        help: "Datagrams that did not arrive.",
        unit: "datagrams",
        absent: "not UDP; the report's counts contradict each other, see above; nothing had arrived by the end of a test \
                 under a second",
        samples: Samples::Way(|way| way.udp?.lost_packets),
    },
    Row {
        name: "iperf3_udp_received_packets",
        help: "Datagrams that arrived at the receiver.",
        unit: "datagrams",
        absent: "not UDP; as `iperf3_transferred_bytes`",
        samples: Samples::Way(|way| way.arrived().bytes.and(way.udp?.received_packets)),
    },
    Row {
        name: "iperf3_udp_out_of_order_packets",
        help: "Datagrams that arrived after one that was sent later.",
        unit: "datagrams",
        absent: "not UDP; in the upload direction, where only the server knows; where losses are not known",
        samples: Samples::Way(|way| way.udp?.out_of_order),
    },
    Row {
        name: "iperf3_packet_loss_ratio",
        help: "Datagrams that did not arrive, as a part of those sent: 0 to 1.",
        unit: "ratio",
        absent: "as `iperf3_udp_lost_packets`",
        samples: Samples::Way(|way| way.udp.as_ref().and_then(Udp::lost_ratio)),
    },
    Row {
        name: "iperf3_streams",
        help: "Streams that ran side by side.",
        unit: "streams",
        absent: "never",
        samples: Samples::Way(|way| Some(way.streams)),
    },
    Row {
        name: "iperf3_cpu_utilization_ratio",
        help: "CPU time of iperf3 per second at this end (local) and at the server (remote): 1 is one CPU busy, \
               several threads can use more. A test bound by a CPU does not measure the network.",
        unit: "ratio",
        absent: "an end that did not say, or said more than 1024",
        samples: Samples::Cpu,
    },
    Row {
        name: "iperf3_test_info",
        help: "What the test was made with, as labels: empty where the report does not say, other where it says a \
               protocol or congestion control that is not known; the value is 1.",
        unit: "labels",
        absent: "never",
        samples: Samples::Info,
    },
];

fn tcp(way: &Direction) -> Option<Tcp> {
    way.tcp
}

fn rtt(way: &Direction) -> Option<Rtt> {
    way.tcp?.rtt
}

/// Writes the families of a test that succeeded, with these labels in front of each one's own.
pub(super) fn write(text: &mut Text, labels: [(&str, &str); 2], report: &Report) {
    for row in ROWS {
        text.family(row.name, row.help, row.samples.kind());
        match row.samples {
            Samples::Upload(value) => {
                let value = report.upload.as_ref().and_then(|_| value(&report.metadata));
                let [target, port] = labels;
                put(text, "", &[target, port, ("direction", "upload")], value);
            }
            Samples::Cpu => {
                write_cpu(text, labels, "local", report.metadata.local_cpu);
                write_cpu(text, labels, "remote", report.metadata.remote_cpu);
            }
            Samples::Way(_) | Samples::Rates(_) | Samples::Info => {
                for (name, way) in [("upload", &report.upload), ("download", &report.download)] {
                    if let Some(way) = way {
                        write_way(text, labels, row.samples, (name, way), &report.metadata);
                    }
                }
            }
        }
    }
}

/// One direction's samples of a family.
fn write_way(
    text: &mut Text,
    [target, port]: [(&str, &str); 2],
    samples: Samples,
    (name, way): (&str, &Direction),
    metadata: &Metadata,
) {
    let labels = [target, port, ("direction", name)];
    let [_, _, direction] = labels;
    match samples {
        Samples::Way(value) => {
            put(text, "", &labels, value(way));
        }
        Samples::Rates(rates) => {
            let Some(rates) = rates(way) else { return };
            for ((_, quantile), value) in QUANTILE.iter().zip(rates.quantiles) {
                let labels = [target, port, direction, ("quantile", quantile)];
                put(text, "", &labels, Some(value));
            }
            put(text, "_sum", &labels, Some(rates.sum));
            put(text, "_count", &labels, Some(rates.count));
        }
        Samples::Info => {
            let labels = [
                target,
                port,
                direction,
                ("protocol", metadata.protocol.as_str()),
                ("congestion_sender", way.congestion.sender.as_str()),
                ("congestion_receiver", way.congestion.receiver.as_str()),
                ("iperf3_version", metadata.version.as_str()),
            ];
            put(text, "", &labels, Some(1.0));
        }
        Samples::Upload(_) | Samples::Cpu => {}
    }
}

/// One end's CPU time.
fn write_cpu(
    text: &mut Text,
    [target, port]: [(&str, &str); 2],
    host: &'static str,
    cpu: Option<Cpu>,
) {
    let Some(cpu) = cpu else { return };
    for (mode, value) in [
        ("user", cpu.user),
        ("system", cpu.system),
        ("total", Some(cpu.total)),
    ] {
        let labels = [target, port, ("host", host), ("mode", mode)];
        put(text, "", &labels, value);
    }
}

/// Writes a sample of a probe, where there is one. All of them come this way: whatever was added up or divided, what
/// is no number of a measurement is not written.
pub(super) fn put(text: &mut Text, suffix: &str, labels: &[(&str, &str)], value: Option<f64>) {
    if let Some(value) = value.filter(|value| value.is_finite()) {
        text.sample(suffix, labels, value);
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Text, put};

    #[test]
    fn what_is_not_finite_is_not_written() {
        let mut text = Text::new();
        text.family("a", "A.", Kind::Gauge);
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            put(&mut text, "", &[], Some(value));
        }
        put(&mut text, "", &[], None);
        put(&mut text, "_sum", &[], Some(0.5));
        assert_eq!(
            text.into_string(),
            "# HELP a A.\n# TYPE a gauge\na_sum 0.5\n"
        );
    }
}
