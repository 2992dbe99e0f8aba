//! How a test is named next to its server: its kind, and the other parameters that identify it.
//!
//! Must not know where the names are shown.

use crate::iperf3::Mode;
use crate::probe::params::Params;
use crate::web::answer_text::pairs;

/// All parameters that distinguish a test from the others of its server.
pub(super) fn key(params: &Params) -> String {
    without(params, &["port"])
}

/// The parameters of a test that are not part of its server or its kind.
pub(super) fn others(params: &Params) -> String {
    let of_kind = ["udp_mode", "sctp", "mptcp", "reverse_mode", "bidirectional"];
    without(params, &[&["port"], &of_kind[..]].concat())
}

fn without(params: &Params, names: &[&str]) -> String {
    let mut shown = params.test().displayed();
    shown.retain(|(name, _)| !names.contains(name));
    pairs(&shown)
}

/// The protocol and the direction: `TCP upload`.
pub(super) fn kind(params: &Params) -> String {
    let options = &params.options;
    let protocol = match (options.udp, options.sctp, options.mptcp) {
        (true, ..) => "UDP",
        (_, true, _) => "SCTP",
        (.., true) => "MPTCP",
        _ => "TCP",
    };
    let direction = match params.mode {
        Mode::Upload => "upload",
        Mode::Reverse => "download",
        Mode::Bidirectional => "both at once",
    };
    format!("{protocol} {direction}")
}
