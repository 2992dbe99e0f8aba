//! The drop-in families of a probe: a table from a test's report to the names that dashboards know.
//!
//! Names and meanings are those of edgard's exporter and its fork. Each value comes from the side that knows it: what
//! was sent from the sender, and what arrived, its jitter and its loss from the receiver.

use std::time::{Duration, SystemTime};

use crate::iperf3::report::Direction;
use crate::iperf3::{Failure, Outcome};
use crate::metrics::native;
use crate::metrics::text::{Kind, Text};

/// One family. `value` is a function that returns `None` when iperf3 did not measure the value.
pub(crate) struct Row<V> {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    value: V,
}

/// Takes the value from the direction that the drop-in families report.
type OfDirection = fn(&Direction) -> Option<f64>;
type OfProbe = fn(&Probe<'_>) -> Option<f64>;

/// The drop-in families of every test, after `iperf3_up`. When a test fails, these and the families of its protocol are
/// 0, because dashboards rely on it.
pub(crate) const ANY: &[Row<OfDirection>] = &[
    Row {
        name: "iperf3_sent_seconds",
        help: "Seconds that the sender spent sending.",
        value: |direction| direction.sent.seconds,
    },
    Row {
        name: "iperf3_sent_bytes",
        help: "Bytes that the sender sent.",
        value: |direction| direction.sent.bytes,
    },
    Row {
        name: "iperf3_received_seconds",
        help: "Seconds that the receiver spent receiving.",
        value: |direction| direction.received.seconds,
    },
    Row {
        name: "iperf3_received_bytes",
        help: "Bytes that arrived at the receiver.",
        value: |direction| direction.received.bytes,
    },
];

/// The drop-in families of TCP.
pub(crate) const TCP: &[Row<OfDirection>] = &[Row {
    name: "iperf3_retransmits",
    help: "TCP segments that the sender retransmitted.",
    value: |direction| direction.retransmits,
}];

/// The drop-in families of UDP.
pub(crate) const UDP: &[Row<OfDirection>] = &[
    Row {
        name: "iperf3_sent_packets",
        help: "UDP datagrams that the sender sent.",
        value: |direction| direction.udp?.sent_packets,
    },
    Row {
        name: "iperf3_sent_jitter_ms",
        help: "UDP jitter at the receiver in milliseconds.",
        value: jitter_ms,
    },
    Row {
        name: "iperf3_lost_packets",
        help: "UDP datagrams that did not arrive.",
        value: lost_packets,
    },
    Row {
        name: "iperf3_lost_percent",
        help: "UDP datagrams that did not arrive, as a percentage of those sent.",
        value: lost_percent,
    },
    Row {
        name: "iperf3_sent_lost_packets",
        help: "UDP datagrams that did not arrive (the name in edgard's exporter).",
        value: lost_packets,
    },
    Row {
        name: "iperf3_sent_lost_percent",
        help: "UDP datagrams that did not arrive, as a percentage of those sent (the name in edgard's exporter).",
        value: lost_percent,
    },
    Row {
        name: "iperf3_received_packets",
        help: "UDP datagrams that arrived at the receiver.",
        value: |direction| direction.udp?.received_packets,
    },
    Row {
        name: "iperf3_received_jitter_ms",
        help: "UDP jitter at the receiver in milliseconds (the name in edgard's exporter).",
        value: jitter_ms,
    },
    Row {
        name: "iperf3_received_lost_packets",
        help: "UDP datagrams that did not arrive (the name in edgard's exporter).",
        value: lost_packets,
    },
    Row {
        name: "iperf3_received_lost_percent",
        help: "UDP datagrams that did not arrive, as a percentage of those sent (the name in edgard's exporter).",
        value: lost_percent,
    },
];

/// The families around the measured ones. The first comes before them. The second has the reason as a label, and is
/// written only when the test failed. The others come last.
pub(crate) const FRAME: [Row<OfProbe>; 7] = [
    Row {
        name: "iperf3_up",
        help: "Whether the test succeeded.",
        value: |probe| Some(f64::from(u8::from(probe.outcome.is_ok()))),
    },
    Row {
        name: "iperf3_failure_info",
        help: "Why the test failed, as the label reason. The value is 1.",
        value: |probe| probe.outcome.is_err().then_some(1.0),
    },
    Row {
        name: "iperf3_probe_duration_seconds",
        help: "Seconds from the request to its response, including the wait for the test lock.",
        value: |probe| Some(probe.duration.as_secs_f64()),
    },
    Row {
        name: "iperf3_lock_wait_seconds",
        help: "Seconds that the test waited for the test lock.",
        value: |probe| Some(probe.lock_wait.as_secs_f64()),
    },
    Row {
        name: "iperf3_probe_attempts",
        help: "Number of iperf3 runs. It is above 1 when the server or one of its ports was busy or closed.",
        value: |probe| Some(f64::from(probe.attempts)),
    },
    Row {
        name: "iperf3_result_age_seconds",
        help: "Age of the result: seconds since its test ended.",
        value: |probe| Some(probe.age?.as_secs_f64()),
    },
    Row {
        name: "iperf3_last_success_timestamp_seconds",
        help: "Unix time at which this same test last succeeded.",
        value: |probe| {
            let since_epoch = probe.last_success?.duration_since(SystemTime::UNIX_EPOCH);
            Some(since_epoch.ok()?.as_secs_f64())
        },
    },
];

fn jitter_ms(direction: &Direction) -> Option<f64> {
    direction.udp?.jitter_ms
}

fn lost_packets(direction: &Direction) -> Option<f64> {
    direction.udp?.lost_packets
}

fn lost_percent(direction: &Direction) -> Option<f64> {
    direction.udp?.lost_percent()
}

/// What the families report about a probe.
pub(crate) struct Probe<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) udp: bool,
    pub(crate) outcome: &'a Outcome,
    /// Time from the request to its answer.
    pub(crate) duration: Duration,
    /// Total time that the attempts waited for the test lock.
    pub(crate) lock_wait: Duration,
    pub(crate) attempts: u32,
    /// How old the result is, for requests with `max_age`.
    pub(crate) age: Option<Duration>,
    /// When the same test last succeeded, if known, for requests with `max_age`.
    pub(crate) last_success: Option<SystemTime>,
}

pub(crate) fn text(probe: &Probe<'_>) -> String {
    let port = probe.port.to_string();
    let labels = [("target", probe.host), ("port", port.as_str())];
    let mut text = Text::new();
    let [up, failure, rest @ ..] = FRAME;
    up.write(&mut text, &labels, probe);
    for row in ANY.iter().chain(if probe.udp { UDP } else { TCP }) {
        text.family(row.name, row.help, Kind::Gauge);
        let value = match probe.outcome {
            // From the direction that ran, or from the upload when both did.
            Ok(report) => {
                let mut ran = report.directions().into_iter().flatten();
                ran.next().and_then(row.value)
            }
            Err(_) => Some(0.0),
        };
        text.labelled(&labels, value);
    }
    match probe.outcome {
        Ok(report) => native::write(&mut text, labels, report),
        Err(Failure { reason, .. }) => {
            let [target, port] = labels;
            let labels = [target, port, ("reason", reason.label())];
            failure.write(&mut text, &labels, probe);
        }
    }
    for family in rest {
        family.write(&mut text, &labels, probe);
    }
    text.into_string()
}

impl Row<OfProbe> {
    fn write(&self, text: &mut Text, labels: &[(&str, &str)], probe: &Probe<'_>) {
        text.family(self.name, self.help, Kind::Gauge);
        text.labelled(labels, (self.value)(probe));
    }
}
