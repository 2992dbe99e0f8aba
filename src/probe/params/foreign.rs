//! Other exporters' names for the parameters. An error about such a name gives ours, for users who migrate.
//!
//! Must not know how a parameter is parsed.

use super::table::PARAMETERS;

/// Names of other iperf3 exporters and iperf3's own long options, with a hint for each.
const FOREIGN: &[(&[&str], &str)] = &[
    (
        &["duration", "time", "test_duration"],
        "use \"period\" for the test's length",
    ),
    (
        &["streams", "num_streams", "parallel_streams", "connections"],
        "use \"parallel\" for the number of streams",
    ),
    (
        &["protocol", "proto", "udp", "tcp"],
        "TCP is the default, use \"udp_mode\" for UDP",
    ),
    (&["reverse"], "use \"reverse_mode\" for a download"),
    (
        &["bidir"],
        "use \"bidirectional\" for both directions at once",
    ),
    (
        &["omit_duration"],
        "use \"omit\" for the seconds to leave out",
    ),
    (
        &["bandwidth", "rate"],
        "use \"bitrate\" for the target bitrate",
    ),
    (
        &["server", "host", "hostname", "address"],
        "use \"target\" for the iperf3 server",
    ),
    (
        &["apiport", "ports"],
        "use \"port\" for a range of ports such as 5201-5209",
    ),
    (
        &["interface", "device"],
        "use \"bind_dev\" for the local device",
    ),
    (
        &["source", "source_address", "local_address"],
        "use \"bind_address\" for the local address",
    ),
    (&["len", "blksize"], "use \"length\" for the block length"),
    (&["set_mss"], "use \"mss\" for the segment size"),
    (&["zerocopy"], "use \"zero_copy\" for zero copy"),
    (
        &["ip_version", "ip_protocol", "preferred_ip_protocol"],
        "use \"family\" for the IP version",
    ),
    (
        &["timeout"],
        "use Prometheus' scrape timeout, or the flag --iperf3.timeout",
    ),
    (
        &["module"],
        "there are no modules, use parameters such as \"period\" instead",
    ),
];

/// The hint for an unknown name, as the end of the refusal.
pub(super) fn ours(name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase().replace('-', "_");
    let known = PARAMETERS.iter().flat_map(|row| row.names);
    let known = known.copied().find(|known| *known == name);
    let foreign = || FOREIGN.iter().find(|(names, _)| names.contains(&&*name));
    known
        .map(|known| format!("use {known:?}"))
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
            ("omit-duration", "use \"omit\" for the seconds to leave out"),
            ("connect-timeout", "use \"connect_timeout\""),
            ("Period", "use \"period\""),
        ] {
            assert_eq!(ours(name).as_deref(), Some(sentence));
        }
        assert_eq!(ours("perioud"), None);
    }
}
