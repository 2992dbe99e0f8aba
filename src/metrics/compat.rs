//! The families of a probe: one table from [`Report`] to the names that dashboards know.
//!
//! Names and meaning are those of edgard's exporter and its fork; what each carries is the side's that knows
//! it: the sender's for what was sent, the receiver's for what arrived, its jitter and its loss.

use std::time::{Duration, SystemTime};

use crate::iperf3::report::udp::Udp;
use crate::iperf3::report::{Direction, Report};
use crate::iperf3::{Failure, Outcome};
use crate::metrics::native;
use crate::metrics::text::{Kind, Text};

/// In which tests a family exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// In every test.
    Always,
    /// In TCP tests.
    Tcp,
    /// In UDP tests.
    Udp,
}

/// One drop-in family.
pub(crate) struct Row {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its help.
    pub(crate) help: &'static str,
    /// In which tests it exists.
    pub(crate) when: When,
    /// Its value in the direction that the family carries; `None` when iperf3 did not measure it.
    value: fn(&Direction) -> Option<f64>,
}

/// The drop-in families behind `iperf3_up`. On failure each of the test's protocol is 0: dashboards rely on it.
pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "iperf3_sent_seconds",
        help: "Seconds that the sender spent sending.",
        when: When::Always,
        value: |way| way.sent.seconds,
    },
    Row {
        name: "iperf3_sent_bytes",
        help: "Bytes that the sender sent.",
        when: When::Always,
        value: |way| way.sent.bytes,
    },
    Row {
        name: "iperf3_received_seconds",
        help: "Seconds that the receiver spent receiving.",
        when: When::Always,
        value: |way| way.received.seconds,
    },
    Row {
        name: "iperf3_received_bytes",
        help: "Bytes that arrived at the receiver.",
        when: When::Always,
        value: |way| way.received.bytes,
    },
    Row {
        name: "iperf3_retransmits",
        help: "TCP segments that the sender sent again.",
        when: When::Tcp,
        value: |way| way.retransmits,
    },
    Row {
        name: "iperf3_sent_packets",
        help: "UDP datagrams that the sender sent.",
        when: When::Udp,
        value: |way| way.udp?.sent_packets,
    },
    Row {
        name: "iperf3_sent_jitter_ms",
        help: "UDP jitter at the receiver in milliseconds.",
        when: When::Udp,
        value: jitter_ms,
    },
    Row {
        name: "iperf3_lost_packets",
        help: "UDP datagrams that did not arrive.",
        when: When::Udp,
        value: lost_packets,
    },
    Row {
        name: "iperf3_lost_percent",
        help: "UDP datagrams that did not arrive, in percent of those sent.",
        when: When::Udp,
        value: lost_percent,
    },
    Row {
        name: "iperf3_sent_lost_packets",
        help: "UDP datagrams that did not arrive, under edgard's name.",
        when: When::Udp,
        value: lost_packets,
    },
    Row {
        name: "iperf3_sent_lost_percent",
        help: "UDP datagrams that did not arrive, in percent of those sent, under edgard's name.",
        when: When::Udp,
        value: lost_percent,
    },
    Row {
        name: "iperf3_received_packets",
        help: "UDP datagrams that arrived at the receiver.",
        when: When::Udp,
        value: |way| way.udp?.received_packets,
    },
    Row {
        name: "iperf3_received_jitter_ms",
        help: "UDP jitter at the receiver in milliseconds, under edgard's name.",
        when: When::Udp,
        value: jitter_ms,
    },
    Row {
        name: "iperf3_received_lost_packets",
        help: "UDP datagrams that did not arrive, under edgard's name.",
        when: When::Udp,
        value: lost_packets,
    },
    Row {
        name: "iperf3_received_lost_percent",
        help: "UDP datagrams that did not arrive, in percent of those sent, under edgard's name.",
        when: When::Udp,
        value: lost_percent,
    },
];

/// The families around the rows: name, help, when they are there.
pub(crate) const FRAME: [(&str, &str, &str); 7] = [
    ("iperf3_up", "Whether the test succeeded.", "always"),
    (
        "iperf3_failure_info",
        "Why the test failed, as the label reason; the value is 1.",
        "on failure",
    ),
    (
        "iperf3_probe_duration_seconds",
        "Seconds from the request to its answer, waiting for the test lock included.",
        "always",
    ),
    (
        "iperf3_lock_wait_seconds",
        "Seconds that the test waited for the test lock.",
        "always",
    ),
    (
        "iperf3_probe_attempts",
        "How often iperf3 was run: more than once when the server, or a port of it, was busy or closed.",
        "always",
    ),
    (
        "iperf3_result_age_seconds",
        "Seconds since the test ended whose result this is.",
        "with `max_age`",
    ),
    (
        "iperf3_last_success_timestamp_seconds",
        "When this very test last succeeded, as a Unix time.",
        "with `max_age`, once it did",
    ),
];

fn jitter_ms(way: &Direction) -> Option<f64> {
    way.udp?.jitter_ms
}

fn lost_packets(way: &Direction) -> Option<f64> {
    way.udp?.lost_packets
}

fn lost_percent(way: &Direction) -> Option<f64> {
    way.udp.as_ref().and_then(Udp::lost_percent)
}

/// The direction that the drop-in families carry: the one that ran, and the upload when both did.
fn main_direction(report: &Report) -> Option<&Direction> {
    report.upload.as_ref().or(report.download.as_ref())
}

/// A probe, as far as its families tell.
pub(crate) struct Probe<'a> {
    /// The host as given.
    pub(crate) host: &'a str,
    /// The port that was used.
    pub(crate) port: u16,
    /// UDP instead of TCP.
    pub(crate) udp: bool,
    /// What was measured, or why nothing was.
    pub(crate) outcome: &'a Outcome,
    /// From the request to its answer.
    pub(crate) duration: Duration,
    /// How long all attempts waited for the test lock.
    pub(crate) lock_wait: Duration,
    /// How often iperf3 was run.
    pub(crate) attempts: u32,
    /// How old the result is, for requests with `max_age`.
    pub(crate) age: Option<Duration>,
    /// When a test of this kind last succeeded, as far as is known, for the same requests.
    pub(crate) last_success: Option<SystemTime>,
}

/// The text of a probe.
pub(crate) fn text(probe: &Probe<'_>) -> String {
    let port = probe.port.to_string();
    let labels = [("target", probe.host), ("port", port.as_str())];
    let mut text = Text::new();
    let mut one = |name, help, value: Option<f64>| {
        text.family(name, help, Kind::Gauge);
        native::put(&mut text, "", &labels, value);
    };
    let [
        up,
        failure,
        duration,
        lock_wait,
        attempts,
        age,
        last_success,
    ] = FRAME;
    let is_up = f64::from(u8::from(probe.outcome.is_ok()));
    one(up.0, up.1, Some(is_up));
    for row in ROWS.iter().filter(|row| row.applies(probe.udp)) {
        one(row.name, row.help, row.value(probe.outcome));
    }
    if let Err(Failure { reason, .. }) = probe.outcome {
        let [target, port] = labels;
        text.family(failure.0, failure.1, Kind::Gauge);
        let labels = [target, port, ("reason", reason.label())];
        native::put(&mut text, "", &labels, Some(1.0));
    }
    if let Ok(report) = probe.outcome {
        native::write(&mut text, labels, report);
    }
    let since_epoch = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok();
    let last_success_at = probe.last_success.and_then(since_epoch);
    for ((name, help, _), value) in [
        (duration, Some(probe.duration.as_secs_f64())),
        (lock_wait, Some(probe.lock_wait.as_secs_f64())),
        (attempts, Some(f64::from(probe.attempts))),
        (age, probe.age.map(|age| age.as_secs_f64())),
        (
            last_success,
            last_success_at.map(|since| since.as_secs_f64()),
        ),
    ] {
        text.family(name, help, Kind::Gauge);
        native::put(&mut text, "", &labels, value);
    }
    text.into_string()
}

impl Row {
    fn applies(&self, udp: bool) -> bool {
        match self.when {
            When::Always => true,
            When::Tcp => !udp,
            When::Udp => udp,
        }
    }

    fn value(&self, outcome: &Outcome) -> Option<f64> {
        match outcome {
            Ok(report) => (self.value)(main_direction(report)?),
            Err(_) => Some(0.0),
        }
    }
}
