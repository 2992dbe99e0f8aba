//! The reported datagrams against what the path and the kernels at its ends counted: what was lost exactly, what was
//! sent and received but for what is on its way at a test's end, over each pair of iperf3 versions that is here.
//!
//! A busy machine may be too slow to read: what the kernel throws away then is lost too, on no path, and counted by the
//! kernel. So each judgement holds on any machine.
//!
//! The router drops datagrams of the test only. It spares the last ones: no receiver misses a datagram before it has
//! seen a later one, so iperf3 cannot know of those.

use std::fs;
use std::path::{Path as FilePath, PathBuf};
use std::thread;

use crate::harness::{self, Exporter, Reply};
use crate::namespace::Server;
use crate::netem::{self, FlowDirection, PORT, Path, SERVER, installed_iperf3, newer_iperf3};

/// How many of a hundred datagrams the paths drop.
const LOSSES_PERCENT: [u32; 4] = [0, 1, 5, 20];
/// A test of 3 s at 10 Mbit/s sends some 2590 datagrams; up to this one they may be dropped.
const LAST_DROPPED: u32 = 1200;
/// What a datagram carries of a path with an MTU of 1500.
const DATAGRAM_BYTES: u64 = 1448;

/// Query and directions of each mode.
const MODES: [(&str, &[FlowDirection]); 3] = [
    ("", &[FlowDirection::Upload]),
    ("&reverse_mode=1", &[FlowDirection::Download]),
    (
        "&bidirectional=1",
        &[FlowDirection::Upload, FlowDirection::Download],
    ),
];

#[test]
fn lost_datagrams_are_those_that_the_path_dropped() {
    let test = "lost_datagrams_are_those_that_the_path_dropped";
    let installed = || Some(installed_iperf3());
    check(test, [0, 5], installed(), installed());
}

#[test]
#[ignore = "make test-all: every loss"]
fn lost_datagrams_are_those_that_the_path_dropped_however_many() {
    let test = "lost_datagrams_are_those_that_the_path_dropped_however_many";
    let installed = || Some(installed_iperf3());
    check(test, LOSSES_PERCENT, installed(), installed());
}

#[test]
#[ignore = "make test-all: every loss, with another version of iperf3"]
fn lost_datagrams_are_those_that_the_path_dropped_to_a_newer_server() {
    let test = "lost_datagrams_are_those_that_the_path_dropped_to_a_newer_server";
    let installed = Some(installed_iperf3());
    check(test, LOSSES_PERCENT, installed, newer_iperf3(test));
}

#[test]
#[ignore = "make test-all: every loss, with another version of iperf3"]
fn lost_datagrams_are_those_that_the_path_dropped_from_a_newer_client() {
    let test = "lost_datagrams_are_those_that_the_path_dropped_from_a_newer_client";
    let installed = Some(installed_iperf3());
    check(test, LOSSES_PERCENT, newer_iperf3(test), installed);
}

#[test]
#[ignore = "make test-all: every loss, with another version of iperf3"]
fn lost_datagrams_are_those_that_the_path_dropped_between_newer_ones() {
    let test = "lost_datagrams_are_those_that_the_path_dropped_between_newer_ones";
    let newer = newer_iperf3(test);
    check(test, LOSSES_PERCENT, newer.clone(), newer);
}

/// All losses at the same time, each on paths of its own.
fn check<const N: usize>(
    test: &str,
    losses: [u32; N],
    client: Option<PathBuf>,
    server: Option<PathBuf>,
) {
    let _alone = harness::machine_alone();
    if let Some(found) = netem::side_by_side(test, client, server, losses, lane) {
        harness::say(&format!("{test}: lost {found}"));
    }
}

/// Each mode on a path of its own, at the same time; what was lost.
fn lane(percent: u32, client: &FilePath, server: &FilePath) -> String {
    let ends = Ends {
        client: End::of(client),
        server: End::of(server),
    };
    let lost = thread::scope(|scope| {
        let modes = MODES.map(|(query, directions)| {
            scope.spawn(move || {
                let path = Path::new();
                path.drop_datagrams(percent, LAST_DROPPED);
                let both = (&path.exporter(client), &path.serve(server));
                ask(&path, both, ends, percent, query, directions)
            })
        });
        modes.map(|mode| mode.join().expect("its own words are above"))
    });
    let lost: Vec<String> = lost.iter().flatten().map(u64::to_string).collect();
    format!("{} at {percent} %", lost.join(", "))
}

/// What kind of iperf3 is at each end.
#[derive(Clone, Copy)]
struct Ends {
    client: End,
    server: End,
}

#[derive(Clone, Copy)]
struct End {
    /// Since 3.16 each stream has a thread of its own.
    has_threads: bool,
}

impl End {
    fn of(iperf3: &FilePath) -> Self {
        let (_, said) = harness::run(&iperf3.display().to_string(), &["--version"], "");
        Self {
            has_threads: said.contains("POSIX threads"),
        }
    }
}

/// One mode; what the path dropped on each direction.
fn ask(
    path: &Path,
    (exporter, server): (&Exporter, &Server),
    ends: Ends,
    percent: u32,
    query: &str,
    directions: &[FlowDirection],
) -> Vec<u64> {
    // Each stream begins with a datagram either way that belongs to no test.
    let greetings = directions.len() as u64;
    let count = || {
        let counts = directions
            .iter()
            .map(|direction| Counts::now(path, *direction));
        counts.collect::<Vec<_>>()
    };
    let before = count();
    let reply = exporter.get(&format!(
        "/probe?target={SERVER}&port={PORT}&period=3&udp_mode=1&bitrate=10M{query}"
    ));
    assert_eq!(reply.family("iperf3_up"), Some(1.0), "{}", reply.body);
    server.wait_until_it_listens().unwrap();
    let after = count();
    let counted = after.iter().zip(&before);
    let counted: Vec<Counts> = counted
        .map(|(after, before)| after.since(before, greetings))
        .collect();
    for (direction, counts) in directions.iter().zip(&counted) {
        let what = format!(
            "{percent} %{query} {direction:?}: {counts:?}\n{}",
            reply.body
        );
        counts.assert_reported(&reply, *direction, ends, &what);
        assert_eq!(counts.dropped > 0, percent > 0, "{what}");
    }
    counted.iter().map(|counts| counts.dropped).collect()
}

/// What the path and the kernels at its ends counted on one direction.
#[derive(Debug)]
struct Counts {
    sent: u64,
    dropped: u64,
    read: u64,
    overflowed: u64,
}

impl Counts {
    fn now(path: &Path, direction: FlowDirection) -> Self {
        let kernel = path.datagrams(direction);
        Self {
            sent: kernel.sent,
            dropped: path.dropped(direction),
            read: kernel.read,
            overflowed: kernel.overflowed,
        }
    }

    /// What came since, without so many that belong to no test.
    fn since(&self, before: &Self, greetings: u64) -> Self {
        Self {
            sent: self.sent - before.sent - greetings,
            dropped: self.dropped - before.dropped,
            read: self.read - before.read - greetings,
            overflowed: self.overflowed - before.overflowed,
        }
    }

    /// Holds the report against it.
    fn assert_reported(&self, reply: &Reply, direction: FlowDirection, ends: Ends, what: &str) {
        let sender = match direction {
            FlowDirection::Upload => ends.client,
            FlowDirection::Download => ends.server,
        };
        let reported = |family: &str| {
            let value = netem::direction_value(reply, family, direction);
            value.unwrap_or_else(|| panic!("no {family}: {what}"))
        };
        let exactly = |count: u64| count as f64;
        let [sent, lost, received] = [
            "iperf3_udp_packets",
            "iperf3_udp_lost_packets",
            "iperf3_udp_received_packets",
        ]
        .map(reported);
        // What the receiver's kernel threw away is lost too, if a later one was read.
        let most_lost = exactly(self.dropped + self.overflowed);
        assert!(lost <= most_lost, "lost, {what}");
        // Once one was read that is behind the last that may be dropped, none of those is missed.
        if lost + received > f64::from(LAST_DROPPED) {
            assert!(lost >= exactly(self.dropped), "lost, {what}");
        } else {
            let summary = what.lines().next().unwrap_or_default();
            harness::skipped(
                &format!("the lower bound of lost datagrams, {summary}"),
                "this machine was too busy to read one behind the last that may be dropped",
            );
        }
        assert_eq!(reported("iperf3_packet_loss_ratio"), lost / sent, "{what}");
        // With threads, the one that sends may be at its last datagram when the counts are taken.
        let uncounted = exactly(self.sent) - sent;
        let most_uncounted = if sender.has_threads { 1.0 } else { 0.0 };
        assert!((0.0..=most_uncounted).contains(&uncounted), "sent, {what}");
        // What lies in the receiver's socket when the test ends may be read when the counts are taken already.
        let read_later = exactly(self.read) - received;
        let most_later = exactly(socket_datagrams());
        assert!((0.0..=most_later).contains(&read_later), "received, {what}");
    }
}

/// How many datagrams of a test a socket holds at most.
fn socket_datagrams() -> u64 {
    let bytes = fs::read_to_string("/proc/sys/net/core/rmem_default").unwrap();
    let bytes: u64 = bytes.trim().parse().unwrap();
    bytes / DATAGRAM_BYTES
}
