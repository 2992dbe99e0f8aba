//! The reported goodput against the bytes that a path of a known rate let through, over each available pair of iperf3
//! versions.
//!
//! A busy machine leaves a path idle for moments, so the nominal rate does not tell what must arrive. The router's own
//! byte count does. The bytes that iperf3 does not count are in buffers of known sizes. So each comparison holds on any
//! machine; on an idle one the reports are within a hundredth or two of the rate, as the tests print.
//!
//! A `tbf` of R bits a second counts Ethernet frames of 1514 bytes, with 1448 bytes of TCP payload each. With both
//! directions in use, each also carries the other's acknowledgements, 66 bytes for each frame or every second one.

use std::path::{Path as FilePath, PathBuf};

use crate::harness::{self, Exporter, Reply};
use crate::namespace::Server;
use crate::netem::{
    self, ACK_BYTES, FRAME_BYTES, FlowDirection, PORT, Path, SERVER, TCP_PAYLOAD_BYTES,
    installed_iperf3, newer_iperf3,
};

/// The rates of the paths, in Mbit/s.
const RATES_MBIT: [u32; 3] = [10, 50, 200];
/// The block size in which iperf3 writes and reads. Since 3.16 a receiver counts whole blocks only.
const BLOCK_BYTES: f64 = 16.0 * 1024.0;
/// iperf3's control traffic before and after a test, which takes the same path.
const CONTROL_BYTES: f64 = 64.0 * 1024.0;

/// Query, streams each way, and directions of each mode. With several streams each way, one always sends while another
/// waits for an acknowledgement in the queue of the other direction.
const MODES: [(&str, u32, &[FlowDirection]); 3] = [
    ("", 1, &[FlowDirection::Upload]),
    ("&reverse_mode=1", 1, &[FlowDirection::Download]),
    (
        "&bidirectional=1&parallel=4",
        4,
        &[FlowDirection::Upload, FlowDirection::Download],
    ),
];

#[test]
fn the_goodput_matches_the_bytes_on_the_path() {
    let test = "the_goodput_matches_the_bytes_on_the_path";
    let [slowest, _, fastest] = RATES_MBIT;
    let installed = || Some(installed_iperf3());
    check(test, [slowest, fastest], installed(), installed());
}

#[test]
#[ignore = "make test-all: every rate"]
fn the_goodput_matches_the_bytes_on_the_path_at_every_rate() {
    let test = "the_goodput_matches_the_bytes_on_the_path_at_every_rate";
    let installed = || Some(installed_iperf3());
    check(test, RATES_MBIT, installed(), installed());
}

#[test]
#[ignore = "make test-all: every rate, with another version of iperf3"]
fn the_goodput_matches_the_bytes_on_the_path_to_a_newer_server() {
    let test = "the_goodput_matches_the_bytes_on_the_path_to_a_newer_server";
    check(
        test,
        RATES_MBIT,
        Some(installed_iperf3()),
        newer_iperf3(test),
    );
}

#[test]
#[ignore = "make test-all: every rate, with another version of iperf3"]
fn the_goodput_matches_the_bytes_on_the_path_from_a_newer_client() {
    let test = "the_goodput_matches_the_bytes_on_the_path_from_a_newer_client";
    check(
        test,
        RATES_MBIT,
        newer_iperf3(test),
        Some(installed_iperf3()),
    );
}

#[test]
#[ignore = "make test-all: every rate, with another version of iperf3"]
fn the_goodput_matches_the_bytes_on_the_path_between_newer_ones() {
    let test = "the_goodput_matches_the_bytes_on_the_path_between_newer_ones";
    let newer = newer_iperf3(test);
    check(test, RATES_MBIT, newer.clone(), newer);
}

/// All rates at the same time, each on its own path: together they are a tenth of loopback's capacity.
fn check<const N: usize>(
    test: &str,
    rates: [u32; N],
    client: Option<PathBuf>,
    server: Option<PathBuf>,
) {
    let _alone = harness::machine_alone();
    if let Some(found) = netem::side_by_side(test, client, server, rates, lane) {
        harness::say(&format!("{test}: of the path's rate {found}"));
    }
}

/// One path, in each mode; the reported fraction of its rate.
fn lane(mbit: u32, client: &FilePath, server: &FilePath) -> String {
    let path = Path::new();
    let held_bytes = f64::from(path.shape(mbit));
    let lane = Lane {
        mbit,
        held_bytes,
        server: path.serve(server),
        exporter: path.exporter(client),
        path,
    };
    let parts: Vec<String> = MODES
        .iter()
        .flat_map(|(query, streams, directions)| lane.ask(query, *streams, directions))
        .map(|part| format!("{:.1} %", part * 1e2))
        .collect();
    format!("{} at {mbit} Mbit/s", parts.join(", "))
}

struct Lane {
    mbit: u32,
    /// The maximum number of bytes that the router holds in each direction.
    held_bytes: f64,
    server: Server,
    exporter: Exporter,
    path: Path,
}

impl Lane {
    /// One mode; the reported fraction of the rate in each direction.
    fn ask(&self, query: &str, streams: u32, directions: &[FlowDirection]) -> Vec<f64> {
        let window = self.window_bytes(streams);
        let passed = || {
            [FlowDirection::Upload, FlowDirection::Download]
                .map(|direction| self.path.passed(direction))
        };
        let before = passed();
        let reply = self.exporter.get(&format!(
            "/probe?target={SERVER}&port={PORT}&period=2&length=16K&window={window}{query}"
        ));
        assert_eq!(reply.family("iperf3_up"), Some(1.0), "{}", reply.body);
        self.server.wait_until_it_listens().unwrap();
        let after = passed();
        let [up, down] = [0, 1].map(|direction| (after[direction] - before[direction]) as f64);
        let what = format!("{} Mbit/s {query}: {up} up, {down} down", self.mbit);
        // The kernel doubles the requested buffer size.
        let in_sockets = f64::from(streams) * 2.0 * f64::from(window);
        let judge = |direction: &FlowDirection| {
            let (passed, other) = match direction {
                FlowDirection::Upload => (up, down),
                FlowDirection::Download => (down, up),
            };
            let other = if directions.len() == 2 { other } else { 0.0 };
            let report = Report::of(&reply, *direction);
            report.assert_is_what_passed(
                passed,
                other,
                2.0 * in_sockets + f64::from(streams) * BLOCK_BYTES + self.held_bytes,
                &what,
            );
            let rate = f64::from(self.mbit) * 1e6 / 8.0 * TCP_PAYLOAD_BYTES / FRAME_BYTES;
            // Data that arrived before the receiver's clock started is in its sockets.
            report.assert_is_no_faster(rate, in_sockets + self.held_bytes, &what);
            report.bytes_per_second / rate
        };
        directions.iter().map(judge).collect()
    }

    /// Each stream's window: together they fill the router's queue, and leave little in the sockets at the end.
    fn window_bytes(&self, streams: u32) -> u32 {
        /// Every Linux grants this by default.
        const MOST: u32 = 200_000;
        const LEAST: u32 = 16_000;
        let queue_bytes = self.mbit * 1000 / 8 * netem::QUEUE_MS;
        (queue_bytes / streams).clamp(LEAST, MOST)
    }
}

/// The reported numbers of one direction.
struct Report {
    bytes: f64,
    bytes_per_second: f64,
    /// The time from the request to its response.
    probe_seconds: f64,
}

impl Report {
    fn of(reply: &Reply, direction: FlowDirection) -> Self {
        let direction_value = |family: &str| {
            let value = netem::direction_value(reply, family, direction);
            value.unwrap_or_else(|| panic!("no {family}: {}", reply.body))
        };
        let report = Self {
            bytes: direction_value("iperf3_transferred_bytes"),
            bytes_per_second: direction_value("iperf3_bandwidth_bytes_per_second"),
            probe_seconds: reply.family("iperf3_probe_duration_seconds").unwrap(),
        };
        // In a bidirectional test the older families describe the upload.
        if direction == FlowDirection::Upload || !reply.body.contains("direction=\"upload\"") {
            let [bytes, seconds] = ["iperf3_received_bytes", "iperf3_received_seconds"]
                .map(|family| reply.family(family).unwrap());
            assert_eq!(report.bytes, bytes);
            assert_eq!(report.bytes_per_second, bytes / seconds);
        }
        report
    }

    /// `passed` bytes of frames came through in this direction, and `other` in the opposite one if it carried a test
    /// too. `uncounted` bytes may have been in flight when iperf3 counted.
    fn assert_is_what_passed(&self, passed: f64, other: f64, uncounted: f64, what: &str) {
        let part = TCP_PAYLOAD_BYTES / FRAME_BYTES;
        let most = passed * part;
        // One acknowledgement per frame at most.
        let acks = other * ACK_BYTES / FRAME_BYTES;
        let least = (passed - acks) * part - uncounted - CONTROL_BYTES;
        assert!(
            (least..=most).contains(&self.bytes),
            "{what}: {} bytes reported, {least} to {most} came through",
            self.bytes
        );
    }

    /// The result is no faster than a path of this `rate` plus `ahead` bytes, and no slower than a test that took all
    /// of the probe's time.
    fn assert_is_no_faster(&self, rate: f64, ahead: f64, what: &str) {
        let seconds = self.bytes / self.bytes_per_second;
        assert!(
            self.bytes <= rate * seconds + ahead,
            "{what}: {} bytes in {seconds} s are more than the path lets through",
            self.bytes
        );
        assert!(
            seconds <= self.probe_seconds,
            "{what}: {seconds} s of a probe of {} s",
            self.probe_seconds
        );
    }
}
