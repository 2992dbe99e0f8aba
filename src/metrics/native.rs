//! The native families: everything that iperf3 measured, in base units, with the direction as a label.
//!
//! A table from [`Report`] to families. Must not know the drop-in families. The native families exist only for a
//! successful test. A value that iperf3 did not measure, or that is impossible, is absent: never 0, never an estimate.

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

/// The samples of a family, and their labels besides `target` and `port`.
#[derive(Clone, Copy)]
pub(crate) enum Samples {
    /// One per direction.
    One(fn(&Direction) -> Option<f64>),
    /// One summary per direction.
    Rates,
    /// One per direction, with the value 1 and settings as labels.
    Info,
    /// One per end and mode.
    Cpu,
}

impl Samples {
    /// The type of a family with these samples.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Rates => Kind::Summary,
            _ => Kind::Gauge,
        }
    }
}

/// The families, in output order.
pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "iperf3_bandwidth_bytes_per_second",
        help: "Payload bytes that arrived at the receiver, per second of the test without its omitted seconds.",
        samples: Samples::One(|direction| direction.arrived().bytes_per_second()),
    },
    Row {
        name: "iperf3_transferred_bytes",
        help: "Payload bytes that arrived at the receiver.",
        samples: Samples::One(|direction| direction.arrived().bytes),
    },
    Row {
        name: "iperf3_interval_bandwidth_bytes_per_second",
        help: "Payload bytes per second in each iperf3 interval, as the client counts them. In an upload it counts \
               bytes passed to its operating system, in a download bytes that arrived. Omitted and incomplete \
               intervals are left out. An interval is one second, or longer in tests that may exceed 4096 seconds \
               (stream seconds, with iperf3 before 3.18).",
        samples: Samples::Rates,
    },
    Row {
        name: "iperf3_tcp_retransmits",
        help: "TCP segments that the sender retransmitted.",
        samples: Samples::One(|direction| direction.retransmits),
    },
    Row {
        name: "iperf3_tcp_rtt_min_seconds",
        help: "Minimum smoothed round-trip time of any stream at the end of an interval, as seen by the sender.",
        samples: Samples::One(|direction| Some(direction.tcp?.rtt?.min)),
    },
    Row {
        name: "iperf3_tcp_rtt_mean_seconds",
        help: "Mean smoothed round-trip time at the ends of the intervals, averaged over the streams, as seen by \
               the sender.",
        samples: Samples::One(|direction| Some(direction.tcp?.rtt?.mean)),
    },
    Row {
        name: "iperf3_tcp_rtt_max_seconds",
        help: "Maximum smoothed round-trip time of any stream at the end of an interval, as seen by the sender.",
        samples: Samples::One(|direction| Some(direction.tcp?.rtt?.max)),
    },
    Row {
        name: "iperf3_tcp_rttvar_seconds",
        help: "Smoothed variation of the round-trip time, averaged over the ends of the intervals and the streams.",
        samples: Samples::One(|direction| direction.tcp?.rttvar_seconds),
    },
    Row {
        name: "iperf3_tcp_congestion_window_max_bytes",
        help: "Largest congestion window of any stream at the end of an interval, as seen by the sender.",
        samples: Samples::One(|direction| direction.tcp?.window_max_bytes),
    },
    Row {
        name: "iperf3_tcp_mss_bytes",
        help: "Maximum segment size that the client sends, taken from the control connection.",
        samples: Samples::One(|direction| direction.tcp?.mss_bytes),
    },
    Row {
        name: "iperf3_tcp_path_mtu_bytes",
        help: "Path MTU as known to the sender at the end of the test, the smallest of all streams.",
        samples: Samples::One(|direction| direction.tcp?.path_mtu_bytes),
    },
    Row {
        name: "iperf3_tcp_reordering_events",
        help: "Number of times that the sender detected reordered segments.",
        samples: Samples::One(|direction| direction.tcp?.reorderings),
    },
    Row {
        name: "iperf3_udp_jitter_seconds",
        help: "Jitter at the receiver (RFC 1889), averaged over the streams.",
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
        help: "Share of the sent datagrams that did not arrive, from 0 to 1.",
        samples: Samples::One(|direction| direction.udp?.lost_ratio()),
    },
    Row {
        name: "iperf3_streams",
        help: "Number of parallel streams.",
        samples: Samples::One(|direction| Some(direction.streams)),
    },
    Row {
        name: "iperf3_cpu_utilization_ratio",
        help: "CPU time of iperf3 per second at the client (local) and at the server (remote). 1 is one busy CPU, \
               and several threads can use more. A test that is limited by a CPU does not measure the network.",
        samples: Samples::Cpu,
    },
    Row {
        name: "iperf3_test_info",
        help: "Settings of the test and its IP version (family), as labels. A label is empty when the report does \
               not say, and other for an unknown protocol or congestion control. The value is 1.",
        samples: Samples::Info,
    },
];

/// Writes the families of a successful test. `labels` come before the labels of each sample.
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
