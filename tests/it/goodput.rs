//! The reported goodput against a path whose rate is known, over each pair of iperf3 versions that is here.
//!
//! A `tbf` of R bits a second counts Ethernet frames of 1514 bytes, of which 1448 are TCP's payload: R · 1448 / 1514
//! arrives. With both ways in use each also carries the other's acknowledgements, 66 bytes for every second frame.

use std::path::{Path as FilePath, PathBuf};

use crate::harness::{self, Exporter};
use crate::namespace::Server;
use crate::path::{
    self, ACK_BYTES, FRAME_BYTES, PORT, Path, SERVER, TCP_PAYLOAD_BYTES, Way, installed_iperf3,
    newer_iperf3,
};

/// What the paths let through, in Mbit/s.
const RATES_MBIT: [u32; 3] = [10, 50, 200];
/// How far the report may be off.
const TOLERANCE: f64 = 0.05;
/// A machine with other work leaves a path unused for moments, and what arrived is less then. It cannot be more.
const ATTEMPTS: u32 = 4;

/// Query and ways of each mode. Of several streams each way one is always at work while another one waits for an
/// acknowledgement in the queue of the other way.
const MODES: [(&str, &[Way]); 3] = [
    ("", &[Way::Upload]),
    ("&reverse_mode=1", &[Way::Download]),
    ("&bidirectional=1&parallel=4", &[Way::Upload, Way::Download]),
];

#[test]
fn the_goodput_is_what_the_path_lets_through() {
    let test = "the_goodput_is_what_the_path_lets_through";
    check(test, Some(installed_iperf3()), Some(installed_iperf3()));
}

#[test]
fn the_goodput_is_what_the_path_lets_through_to_a_newer_server() {
    let test = "the_goodput_is_what_the_path_lets_through_to_a_newer_server";
    check(test, Some(installed_iperf3()), newer_iperf3(test));
}

#[test]
fn the_goodput_is_what_the_path_lets_through_from_a_newer_client() {
    let test = "the_goodput_is_what_the_path_lets_through_from_a_newer_client";
    check(test, newer_iperf3(test), Some(installed_iperf3()));
}

#[test]
fn the_goodput_is_what_the_path_lets_through_between_newer_ones() {
    let test = "the_goodput_is_what_the_path_lets_through_between_newer_ones";
    let newer = newer_iperf3(test);
    check(test, newer.clone(), newer);
}

/// All rates at the same time, each on a path of its own: together they are a tenth of what loopback can.
fn check(test: &str, client: Option<PathBuf>, server: Option<PathBuf>) {
    if let Some(found) = path::side_by_side(test, client, server, RATES_MBIT, lane) {
        harness::say(&format!("{test}: off by {found}"));
    }
}

/// One path, in each mode; how far the reports were off.
fn lane(mbit: u32, client: &FilePath, server: &FilePath) -> String {
    let path = Path::new();
    path.shape(mbit);
    let server = path.serve(server);
    let exporter = path.exporter(client);
    let offs: Vec<String> = MODES
        .iter()
        .flat_map(|(query, ways)| ask(&exporter, &server, mbit, query, ways))
        .map(|off| format!("{:+.1} %", off * 1e2))
        .collect();
    format!("{} at {mbit} Mbit/s", offs.join(", "))
}

/// One mode, again when too little arrived; how far each way is off.
fn ask(exporter: &Exporter, server: &Server, mbit: u32, query: &str, ways: &[Way]) -> Vec<f64> {
    let others_acks = if ways.len() == 2 {
        ACK_BYTES / 2.0
    } else {
        0.0
    };
    let part = TCP_PAYLOAD_BYTES / (FRAME_BYTES + others_acks);
    let expected = f64::from(mbit) * 1e6 / 8.0 * part;
    let mut seen = Vec::new();
    for _ in 0..ATTEMPTS {
        // Since 3.16 a receiver counts whole blocks only, and 128 KiB of each stream are 7 % of this at 10 Mbit/s.
        let reply = exporter.get(&format!(
            "/probe?target={SERVER}&port={PORT}&period=3&length=16K{query}"
        ));
        assert_eq!(reply.family("iperf3_up"), Some(1.0), "{}", reply.body);
        server.wait_until_it_listens().unwrap();
        let offs: Vec<f64> = ways
            .iter()
            .map(|way| {
                let reported = path::of_way(&reply, "iperf3_bandwidth_bytes_per_second", *way);
                reported.unwrap_or_else(|| panic!("{}", reply.body)) / expected - 1.0
            })
            .collect();
        assert!(
            offs.iter().all(|off| *off < TOLERANCE),
            "{mbit} Mbit/s {query}: more than the path lets through: {offs:?}\n{}",
            reply.body
        );
        if offs.iter().all(|off| *off > -TOLERANCE) {
            return offs;
        }
        seen.push(offs);
    }
    panic!("{mbit} Mbit/s {query}: less than the path lets through, each time: {seen:?}");
}
