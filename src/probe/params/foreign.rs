//! Other exporters' names for what a parameter here does: whoever moves gets told ours.
//!
//! Must not know how a parameter is read.

use super::table::PARAMETERS;

/// Names that other iperf3 exporters, and iperf3's own long options, have; and the word for it here.
const FOREIGN: &[(&[&str], &str)] = &[
    (
        &["duration", "time", "test_duration"],
        "the test's length is \"period\"",
    ),
    (
        &["streams", "num_streams", "parallel_streams", "connections"],
        "the number of streams is \"parallel\"",
    ),
    (
        &["protocol", "proto", "udp", "tcp"],
        "the protocol is TCP, or UDP with \"udp_mode\"",
    ),
    (&["reverse"], "a download is \"reverse_mode\""),
    (&["bidir"], "both ways at once is \"bidirectional\""),
    (&["omit_duration"], "what is left out is \"omit\""),
    (&["bandwidth", "rate"], "the target bitrate is \"bitrate\""),
    (
        &["server", "host", "hostname", "address"],
        "the iperf3 server is \"target\"",
    ),
    (
        &["apiport", "ports"],
        "more than one port is \"port\", such as 5201-5209",
    ),
    (&["interface", "device"], "the local device is \"bind_dev\""),
    (
        &["source", "source_address", "local_address"],
        "the local address is \"bind_address\"",
    ),
    (&["len", "blksize"], "the block length is \"length\""),
    (&["set_mss"], "the segment size is \"mss\""),
    (&["zerocopy"], "zero copy is \"zero_copy\""),
    (
        &["ip_version", "ip_protocol", "preferred_ip_protocol"],
        "the IP version is \"family\"",
    ),
    (
        &["timeout"],
        "the limit is Prometheus' scrape timeout, and the flag --iperf3.timeout",
    ),
    (
        &["module"],
        "there are no modules, a test is described by parameters such as \"period\"",
    ),
];

/// What a name that is not known here is called here, as the end of the refusal.
pub(super) fn ours(name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase().replace('-', "_");
    let known = PARAMETERS.iter().flat_map(|row| row.names);
    let known = known.copied().find(|known| *known == name);
    let foreign = || FOREIGN.iter().find(|(names, _)| names.contains(&&*name));
    known
        .map(|known| format!("it is written {known:?}"))
        .or_else(|| foreign().map(|(_, ours)| (*ours).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{FOREIGN, PARAMETERS, ours};

    #[test]
    fn a_name_of_another_exporter_leads_to_one_of_ours() {
        let known = |name: &str| PARAMETERS.iter().any(|row| row.names.contains(&name));
        for (names, sentence) in FOREIGN {
            for name in *names {
                assert!(!known(name), "{name} is one of ours");
                assert_eq!(ours(name).as_deref(), Some(*sentence), "{name}");
            }
            for named in sentence.split('"').skip(1).step_by(2) {
                assert!(known(named), "{sentence}");
            }
        }
        for (name, sentence) in [
            ("omit-duration", "what is left out is \"omit\""),
            ("connect-timeout", "it is written \"connect_timeout\""),
            ("Period", "it is written \"period\""),
        ] {
            assert_eq!(ours(name).as_deref(), Some(sentence));
        }
        assert_eq!(ours("perioud"), None);
    }
}
