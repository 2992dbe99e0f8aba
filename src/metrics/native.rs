//! The families of our own: all that iperf3 measured, a direction a label, in base units.
//!
//! One table from [`Report`] to families; must not know the drop-in families. They are there when a test succeeded,
//! and one that iperf3 did not measure, or that cannot be true, is absent: never 0, never an estimate.

use crate::iperf3::report::intervals::{QUANTILE, Rates};
use crate::iperf3::report::metadata::{Cpu, Metadata};
use crate::iperf3::report::{Direction, Report};
use crate::metrics::text::{Kind, Text};

/// One family, without its type.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) samples: Samples,
}

/// What samples a family has besides `target` and `port`.
#[derive(Clone, Copy)]
pub(crate) enum Samples {
    /// One a direction.
    One(fn(&Direction) -> Option<f64>),
    /// A summary a direction.
    Rates,
    /// One a direction, of value 1 and with words as labels.
    Info,
    /// One an end and mode.
    Cpu,
}

impl Samples {
    /// The type of a family with such samples.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Rates => Kind::Summary,
            _ => Kind::Gauge,
        }
    }
}

/// The families, in the order of the page.
pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "iperf3_bandwidth_bytes_per_second",
        help: "Payload that arrived at the receiver, per second of the test without its omitted seconds.",
        samples: Samples::One(|direction| direction.arrived().bytes_per_second()),
    },
    Row {
        name: "iperf3_transferred_bytes",
        help: "Payload that arrived at the receiver.",
        samples: Samples::One(|direction| direction.arrived().bytes),
    },
    Row {
        name: "iperf3_interval_bandwidth_bytes_per_second",
        help: "Payload per second in each of iperf3's intervals as counted at this end, the client: what it handed \
               to its system in an upload, what arrived in a download; without omitted and incomplete intervals. An \
               interval is a second, or longer in tests that may take more than 4096 stream seconds.",
        samples: Samples::Rates,
    },
    Row {
        name: "iperf3_tcp_retransmits",
        help: "TCP segments that the sender sent again.",
        samples: Samples::One(|direction| direction.retransmits),
    },
    Row {
        name: "iperf3_tcp_rtt_min_seconds",
        help: "Least smoothed round-trip time at the end of an interval, of any stream, as the sender saw it.",
        samples: Samples::One(|direction| Some(direction.tcp?.rtt?.min)),
    },
    Row {
        name: "iperf3_tcp_rtt_mean_seconds",
        help: "Mean smoothed round-trip time at the ends of the intervals, and of the streams' means, as the sender \
               saw it.",
        samples: Samples::One(|direction| Some(direction.tcp?.rtt?.mean)),
    },
    Row {
        name: "iperf3_tcp_rtt_max_seconds",
        help: "Most smoothed round-trip time at the end of an interval, of any stream, as the sender saw it.",
        samples: Samples::One(|direction| Some(direction.tcp?.rtt?.max)),
    },
    Row {
        name: "iperf3_tcp_rttvar_seconds",
        help: "Smoothed variation of the round-trip time, the mean over the ends of the intervals and the streams.",
        samples: Samples::One(|direction| direction.tcp?.rttvar_seconds),
    },
    Row {
        name: "iperf3_tcp_congestion_window_max_bytes",
        help: "Largest congestion window of the sender at the end of an interval, of any stream.",
        samples: Samples::One(|direction| direction.tcp?.window_max_bytes),
    },
    Row {
        name: "iperf3_tcp_mss_bytes",
        help: "Largest segment that this end sends, of the control connection, which goes the way of the data.",
        samples: Samples::One(|direction| direction.tcp?.mss_bytes),
    },
    Row {
        name: "iperf3_tcp_path_mtu_bytes",
        help: "The path's MTU as the sender knew it at the end of the test, the smallest of the streams.",
        samples: Samples::One(|direction| direction.tcp?.path_mtu_bytes),
    },
    Row {
        name: "iperf3_tcp_reordering_events",
        help: "How often the sender saw that segments had arrived out of order.",
        samples: Samples::One(|direction| direction.tcp?.reorderings),
    },
    Row {
        name: "iperf3_udp_jitter_seconds",
        help: "Jitter at the receiver (RFC 1889), the mean of the streams.",
        samples: Samples::One(|direction| Some(direction.udp?.jitter_ms? / 1e3)),
    },
    Row {
        name: "iperf3_udp_packets",
        help: "Datagrams that the sender sent.",
        samples: Samples::One(|direction| direction.udp?.sent_packets),
    },
    Row {
        name: "iperf3_udp_lost_packets",
        help: "Datagrams that did not arrive.",
        samples: Samples::One(|direction| direction.udp?.lost_packets),
    },
    Row {
        name: "iperf3_udp_received_packets",
        help: "Datagrams that arrived at the receiver.",
        samples: Samples::One(|direction| {
            direction
                .arrived()
                .bytes
                .and(direction.udp?.received_packets)
        }),
    },
    Row {
        name: "iperf3_udp_out_of_order_packets",
        help: "Datagrams that arrived after one that was sent later.",
        samples: Samples::One(|direction| direction.udp?.out_of_order),
    },
    Row {
        name: "iperf3_packet_loss_ratio",
        help: "Datagrams that did not arrive, as a part of those sent: 0 to 1.",
        samples: Samples::One(|direction| direction.udp?.lost_ratio()),
    },
    Row {
        name: "iperf3_streams",
        help: "Streams that ran side by side.",
        samples: Samples::One(|direction| Some(direction.streams)),
    },
    Row {
        name: "iperf3_cpu_utilization_ratio",
        help: "CPU time of iperf3 per second at this end (local) and at the server (remote): 1 is one CPU busy, \
               several threads can use more. A test bound by a CPU does not measure the network.",
        samples: Samples::Cpu,
    },
    Row {
        name: "iperf3_test_info",
        help: "What the test was made with, and by which version of IP (family), as labels: empty where the report does not say, other where it says a \
               protocol or congestion control that is not known; the value is 1.",
        samples: Samples::Info,
    },
];

/// Writes the families of a test that succeeded, with these labels in front of each one's own.
pub(super) fn write(text: &mut Text, labels: [(&str, &str); 2], report: &Report) {
    for row in ROWS {
        text.family(row.name, row.help, row.samples.kind());
        if matches!(row.samples, Samples::Cpu) {
            write_cpu(text, labels, "local", report.metadata.local_cpu);
            write_cpu(text, labels, "remote", report.metadata.remote_cpu);
            continue;
        }
        for (name, direction) in ["upload", "download"].into_iter().zip(report.directions()) {
            let Some(direction) = direction else { continue };
            let [target, port] = labels;
            let labels = [target, port, ("direction", name)];
            match row.samples {
                Samples::One(value) => text.labelled(&labels, value(direction)),
                Samples::Rates => write_rates(text, labels, direction.rates),
                Samples::Info => write_info(text, labels, direction, &report.metadata),
                Samples::Cpu => {}
            }
        }
    }
}

fn write_rates(text: &mut Text, labels: [(&str, &str); 3], rates: Option<Rates>) {
    let Some(rates) = rates else { return };
    let [target, port, direction] = labels;
    for ((_, quantile), value) in QUANTILE.iter().zip(rates.quantiles) {
        let labels = [target, port, direction, ("quantile", quantile)];
        text.sample("", &labels, value);
    }
    text.sample("_sum", &labels, rates.sum);
    text.sample("_count", &labels, rates.count);
}

fn write_info(
    text: &mut Text,
    labels: [(&str, &str); 3],
    measured: &Direction,
    metadata: &Metadata,
) {
    let [target, port, direction] = labels;
    let labels = [
        target,
        port,
        direction,
        ("protocol", metadata.protocol.as_str()),
        ("congestion_sender", measured.congestion.sender.as_str()),
        ("congestion_receiver", measured.congestion.receiver.as_str()),
        ("family", metadata.family),
        ("iperf3_version", metadata.version.as_str()),
    ];
    text.sample("", &labels, 1.0);
}

fn write_cpu(text: &mut Text, labels: [(&str, &str); 2], host: &'static str, cpu: Option<Cpu>) {
    let Some(cpu) = cpu else { return };
    let [target, port] = labels;
    for (mode, value) in [
        ("user", cpu.user),
        ("system", cpu.system),
        ("total", Some(cpu.total)),
    ] {
        text.labelled(&[target, port, ("host", host), ("mode", mode)], value);
    }
}
