//! The reported datagrams against the counts of the path and of the kernels at its ends, over each available pair of
//! iperf3 versions: lost datagrams exactly, sent and received ones except for those in flight at a test's end.
//!
//! A busy machine may read too slowly: the datagrams that the kernel then drops are lost too, but not on the path, and
//! the kernel counts them. So each comparison holds on any machine.
//!
//! The router drops datagrams of the test only. It spares the last ones: a receiver notices a missing datagram only
//! when it has seen a later one, so iperf3 cannot know of those.

use std::fs;
use std::path::{Path as FilePath, PathBuf};
use std::thread;

use crate::harness::{self, Exporter, Reply};
use crate::namespace::Server;
use crate::netem::{self, FlowDirection, PORT, Path, SERVER, installed_iperf3, newer_iperf3};

/// How many of a hundred datagrams the paths drop.
const LOSSES_PERCENT: [u32; 4] = [0, 1, 5, 20];
/// A test of 3 s at 10 Mbit/s sends about 2590 datagrams; up to this one they may be dropped.
const LAST_DROPPED: u32 = 1200;
/// The payload of a datagram on a path with an MTU of 1500.
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
fn lost_datagrams_match_the_drops_of_the_path() {
    let test = "lost_datagrams_match_the_drops_of_the_path";
    let installed = || Some(installed_iperf3());
    check(test, [0, 5], installed(), installed());
}

#[test]
#[ignore = "make test-all: every loss"]
fn lost_datagrams_match_the_drops_of_the_path_at_every_loss() {
    let test = "lost_datagrams_match_the_drops_of_the_path_at_every_loss";
    let installed = || Some(installed_iperf3());
    check(test, LOSSES_PERCENT, installed(), installed());
}

#[test]
#[ignore = "make test-all: every loss, with another version of iperf3"]
fn lost_datagrams_match_the_drops_of_the_path_to_a_newer_server() {
    let test = "lost_datagrams_match_the_drops_of_the_path_to_a_newer_server";
    let installed = Some(installed_iperf3());
    check(test, LOSSES_PERCENT, installed, newer_iperf3(test));
}

#[test]
#[ignore = "make test-all: every loss, with another version of iperf3"]
fn lost_datagrams_match_the_drops_of_the_path_from_a_newer_client() {
    let test = "lost_datagrams_match_the_drops_of_the_path_from_a_newer_client";
    let installed = Some(installed_iperf3());
    check(test, LOSSES_PERCENT, newer_iperf3(test), installed);
}

#[test]
#[ignore = "make test-all: every loss, with another version of iperf3"]
fn lost_datagrams_match_the_drops_of_the_path_between_newer_ones() {
    let test = "lost_datagrams_match_the_drops_of_the_path_between_newer_ones";
    let newer = newer_iperf3(test);
    check(test, LOSSES_PERCENT, newer.clone(), newer);
}

/// All losses at the same time, each on its own paths.
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

/// Each mode on its own path, at the same time; the lost datagrams.
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
        modes.map(|mode| mode.join().expect("its panic is printed above"))
    });
    let lost: Vec<String> = lost.iter().flatten().map(u64::to_string).collect();
    format!("{} at {percent} %", lost.join(", "))
}

/// Properties of the iperf3 at each end.
#[derive(Clone, Copy)]
struct Ends {
    client: End,
    server: End,
}

#[derive(Clone, Copy)]
struct End {
    /// Since 3.16 each stream has a thread.
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

/// One mode; the path's drops in each direction.
fn ask(
    path: &Path,
    (exporter, server): (&Exporter, &Server),
    ends: Ends,
    percent: u32,
    query: &str,
    directions: &[FlowDirection],
) -> Vec<u64> {
    // Each stream begins with one datagram in each direction that does not belong to the test.
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

/// The counts of the path and of the kernels at its ends for one direction.
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

    /// The difference to `before`, without this number of datagrams that belong to no test.
    fn since(&self, before: &Self, greetings: u64) -> Self {
        Self {
            sent: self.sent - before.sent - greetings,
            dropped: self.dropped - before.dropped,
            read: self.read - before.read - greetings,
            overflowed: self.overflowed - before.overflowed,
        }
    }

    /// Compares the report with it.
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
        // Datagrams that the receiver's kernel dropped are lost too, if a later one was read.
        let most_lost = exactly(self.dropped + self.overflowed);
        assert!(lost <= most_lost, "lost, {what}");
        // Once a datagram after the last droppable one was read, every drop before it is known.
        if lost + received > f64::from(LAST_DROPPED) {
            assert!(lost >= exactly(self.dropped), "lost, {what}");
        } else {
            let summary = what.lines().next().unwrap_or_default();
            harness::skipped(
                &format!("the lower bound of lost datagrams, {summary}"),
                "this machine was too busy to read a datagram after the last droppable one",
            );
        }
        assert_eq!(reported("iperf3_packet_loss_ratio"), lost / sent, "{what}");
        // With threads, the sending one may still send its last datagram when the counts are taken.
        let uncounted = exactly(self.sent) - sent;
        let most_uncounted = if sender.has_threads { 1.0 } else { 0.0 };
        assert!((0.0..=most_uncounted).contains(&uncounted), "sent, {what}");
        // Datagrams in the receiver's socket at the end of the test may be read after the counts are taken.
        let read_later = exactly(self.read) - received;
        let most_later = exactly(socket_datagrams());
        assert!((0.0..=most_later).contains(&read_later), "received, {what}");
    }
}

/// The maximum number of test datagrams in a socket.
fn socket_datagrams() -> u64 {
    let bytes = fs::read_to_string("/proc/sys/net/core/rmem_default").unwrap();
    let bytes: u64 = bytes.trim().parse().unwrap();
    bytes / DATAGRAM_BYTES
}
