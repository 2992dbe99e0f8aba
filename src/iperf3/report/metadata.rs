//! What a report contains about the test as a whole: protocol, version, congestion control, CPUs.
//!
//! Owns which of its texts may become labels: some come from the server, and the set of label values must be bounded.

use std::net::IpAddr;

use serde_json::Value;

use crate::iperf3::mode::Mode;
use crate::iperf3::report::json::{at, items, measured, number};
use crate::iperf3::report::plausibility;
use crate::iperf3::report::transfer::FlowDirection;

/// Longest version that becomes a label.
const VERSION_LIMIT_BYTES: usize = 32;

/// The protocols that iperf3 tests, in lower case.
const PROTOCOLS: &[&str] = &["tcp", "udp", "sctp"];

/// The congestion controls of Linux and FreeBSD, and a few other known ones. Half of the names come from the server,
/// and each unknown name would create another series.
const CONGESTION_CONTROLS: &[&str] = &[
    "bbr",
    "bbr1",
    "bbr2",
    "bbr3",
    "bic",
    "cdg",
    "chd",
    "cubic",
    "dctcp",
    "dctcp-reno",
    "hd",
    "highspeed",
    "htcp",
    "hybla",
    "illinois",
    "lp",
    "newreno",
    "nv",
    "prague",
    "reno",
    "scalable",
    "vegas",
    "veno",
    "westwood",
    "yeah",
];

/// What applies to both directions.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Metadata {
    /// `tcp`, `udp`, `sctp` or `other`; empty if not reported.
    pub(crate) protocol: String,
    /// The IP version, `ipv4` or `ipv6`; empty if not reported.
    pub(crate) family: &'static str,
    /// The version of the client's iperf3; empty if it is not a short plain word.
    pub(crate) version: String,
    pub(crate) local_cpu: Option<Cpu>,
    /// The CPU use of the server.
    pub(crate) remote_cpu: Option<Cpu>,
}

/// CPU seconds per second: 1 is one CPU that is busy all the time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cpu {
    pub(crate) user: Option<f64>,
    pub(crate) system: Option<f64>,
    pub(crate) total: f64,
}

/// The congestion control of one direction, or `other`; empty if not reported.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Congestion {
    pub(crate) sender: String,
    pub(crate) receiver: String,
}

impl Metadata {
    pub(super) fn of(root: &Value) -> Self {
        let percent = at(root, &["end", "cpu_utilization_percent"]);
        let cpu = |[total, user, system]: [&str; 3]| {
            let percent = percent?;
            let part = |key| number(percent, key).and_then(plausibility::cpus);
            // A process that ran a test has used some CPU time. A total of 0 means that this end did not report it.
            Some(Cpu {
                user: part(user),
                system: part(system),
                total: plausibility::cpus(measured(percent, total)?)?,
            })
        };
        Self {
            protocol: known(protocol(root), PROTOCOLS).to_owned(),
            family: server_address(root).map_or("", family),
            version: version(root),
            local_cpu: cpu(["host_total", "host_user", "host_system"]),
            remote_cpu: cpu(["remote_total", "remote_user", "remote_system"]),
        }
    }
}

impl Congestion {
    /// The congestion control of one direction. For a bidirectional test, iperf3 prints the download's.
    pub(super) fn of(root: &Value, mode: Mode, direction: FlowDirection) -> Self {
        let end = |key| known(at(root, &["end", key]), CONGESTION_CONTROLS).to_owned();
        let mut ends = [end("sender_tcp_congestion"), end("receiver_tcp_congestion")];
        if mode == Mode::Bidirectional && direction == FlowDirection::Upload {
            ends.reverse();
        }
        let [sender, receiver] = ends;
        Self { sender, receiver }
    }
}

/// Whether this was an SCTP test: it prints TCP numbers that were not measured.
pub(super) fn is_sctp(root: &Value) -> bool {
    protocol(root).and_then(Value::as_str) == Some("SCTP")
}

/// The server's address: the one that the streams were connected to.
pub(super) fn server_address(root: &Value) -> Option<IpAddr> {
    let mut streams = items(at(root, &["start", "connected"]));
    let host = streams.find_map(|stream| stream.get("remote_host"))?;
    let address: IpAddr = host.as_str()?.parse().ok()?;
    // An IPv4-mapped address means IPv4 on the path.
    Some(address.to_canonical())
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "ipv4" } else { "ipv6" }
}

fn protocol(root: &Value) -> Option<&Value> {
    at(root, &["start", "test_start", "protocol"])
}

/// The word of this list that the text equals, ignoring case; `other` if there is none, and empty if there is no text.
fn known(value: Option<&Value>, words: &[&'static str]) -> &'static str {
    let Some(text) = value
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
    else {
        return "";
    };
    let known = words.iter().find(|word| word.eq_ignore_ascii_case(text));
    known.copied().unwrap_or("other")
}

/// The version of the client's iperf3 if it is one short plain word; otherwise empty.
fn version(root: &Value) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"_.+-".contains(&b);
    let text = at(root, &["start", "version"]).and_then(Value::as_str);
    text.map(|text| text.strip_prefix("iperf ").unwrap_or(text))
        .filter(|text| text.len() <= VERSION_LIMIT_BYTES && text.bytes().all(is_plain))
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Congestion, FlowDirection, Metadata};
    use crate::iperf3::mode::Mode;
    use serde_json::{Value, json};

    #[test]
    fn only_a_short_plain_version_becomes_a_label() {
        let metadata =
            |version: Value| Metadata::of(&json!({ "start": { "version": version } })).version;
        assert_eq!(metadata(json!("iperf 3.12")), "3.12");
        assert_eq!(metadata(json!("iperf 3.17+git-1_a")), "3.17+git-1_a");
        assert_eq!(metadata(json!("x".repeat(32))), "x".repeat(32));
        for not_a_word in [
            json!("x".repeat(33)),
            json!("a\"b"),
            json!("a b"),
            json!("é"),
            json!("a\nb"),
            json!(3.12),
            json!(null),
        ] {
            assert_eq!(metadata(not_a_word.clone()), "", "{not_a_word}");
        }
    }

    #[test]
    fn the_family_is_from_the_address_that_the_streams_were_connected_to() {
        for (host, family) in [
            (json!("192.0.2.1"), "ipv4"),
            (json!("::ffff:192.0.2.1"), "ipv4"),
            (json!("2001:db8::1"), "ipv6"),
            (json!("example"), ""),
            (json!(4), ""),
            (json!(null), ""),
        ] {
            let root = json!({ "start": { "connected": [{}, { "remote_host": host }] } });
            assert_eq!(Metadata::of(&root).family, family, "{root}");
        }
        assert_eq!(Metadata::of(&json!({})).family, "");
    }

    #[test]
    fn names_from_the_server_are_in_a_list_or_other() {
        let receiver = |word: Value| {
            let root = json!({ "end": { "receiver_tcp_congestion": word } });
            Congestion::of(&root, Mode::Upload, FlowDirection::Upload).receiver
        };
        let protocol = |word: Value| {
            let root = json!({ "start": { "test_start": { "protocol": word } } });
            Metadata::of(&root).protocol
        };
        assert_eq!(receiver(json!("cubic")), "cubic");
        assert_eq!(receiver(json!("dctcp-reno")), "dctcp-reno");
        assert_eq!(protocol(json!("SCTP")), "sctp");
        for other_name in [json!("series17"), json!("a\"b"), json!("x".repeat(99))] {
            assert_eq!(receiver(other_name.clone()), "other", "{other_name}");
            assert_eq!(protocol(other_name.clone()), "other", "{other_name}");
        }
        for not_a_word in [json!(""), json!(null), json!(1)] {
            assert_eq!(receiver(not_a_word.clone()), "", "{not_a_word}");
            assert_eq!(protocol(not_a_word.clone()), "", "{not_a_word}");
        }
        assert!(super::CONGESTION_CONTROLS.is_sorted());
    }

    #[test]
    fn both_directions_have_the_congestion_control_of_their_own_sender() {
        let root = json!({ "end": {
            "sender_tcp_congestion": "bbr", "receiver_tcp_congestion": "reno",
        } });
        let of = |mode, direction| {
            let Congestion { sender, receiver } = Congestion::of(&root, mode, direction);
            format!("{sender} {receiver}")
        };
        assert_eq!(of(Mode::Upload, FlowDirection::Upload), "bbr reno");
        assert_eq!(of(Mode::Reverse, FlowDirection::Download), "bbr reno");
        assert_eq!(of(Mode::Bidirectional, FlowDirection::Download), "bbr reno");
        assert_eq!(of(Mode::Bidirectional, FlowDirection::Upload), "reno bbr");
    }

    #[test]
    fn an_end_that_reports_no_cpu_use_has_none() {
        let metadata = Metadata::of(&json!({ "end": { "cpu_utilization_percent": {
            "host_total": 150.0, "host_user": 0, "host_system": -1.0,
            "remote_total": 0, "remote_user": 0, "remote_system": 0,
        } } }));
        let local = metadata.local_cpu.unwrap();
        assert_eq!(
            (local.total, local.user, local.system),
            (1.5, Some(0.0), None)
        );
        assert_eq!(metadata.remote_cpu, None);
        let metadata = Metadata::of(&json!({ "end": { "cpu_utilization_percent": {
            "host_total": 1e300, "host_user": 1, "host_system": 1,
            "remote_total": 99.0, "remote_user": 1e9, "remote_system": 50,
        } } }));
        assert_eq!(metadata.local_cpu, None);
        let remote = metadata.remote_cpu.unwrap();
        assert_eq!((remote.user, remote.system), (None, Some(0.5)));
        assert_eq!(Metadata::of(&json!({})).local_cpu, None);
    }
}
