//! The reported datagrams against what the path and the kernels at its ends counted: what was lost exactly, what was
//! sent and received but for what is on its way at a test's end, over each pair of iperf3 versions that is here.
//!
//! The router drops datagrams of the test only. It spares the last ones: no receiver misses a datagram before it has
//! seen a later one, so iperf3 cannot know of those.

use std::path::{Path as FilePath, PathBuf};

use crate::harness::{self, Exporter, Reply};
use crate::namespace::Server;
use crate::path::{self, PORT, Path, SERVER, Way, installed_iperf3, newer_iperf3};

/// How many of a hundred datagrams the paths drop.
const LOSSES_PERCENT: [u32; 4] = [0, 1, 5, 20];
/// A test of 3 s at 10 Mbit/s sends some 2590 datagrams; up to this one they may be dropped.
const LAST_DROPPED: u32 = 1800;
/// A twentieth of a test, 150 ms, is the most that may be on its way at its end.
const MOST_LEFT: u64 = 20;
/// A machine with other work may be too slow to read: what the kernel throws away then is lost too, on no path.
const ATTEMPTS: u32 = 4;

/// Query and ways of each mode.
const MODES: [(&str, &[Way]); 3] = [
    ("", &[Way::Upload]),
    ("&reverse_mode=1", &[Way::Download]),
    ("&bidirectional=1", &[Way::Upload, Way::Download]),
];

#[test]
fn lost_datagrams_are_those_that_the_path_dropped() {
    let test = "lost_datagrams_are_those_that_the_path_dropped";
    check(test, Some(installed_iperf3()), Some(installed_iperf3()));
}

#[test]
fn lost_datagrams_are_those_that_the_path_dropped_to_a_newer_server() {
    let test = "lost_datagrams_are_those_that_the_path_dropped_to_a_newer_server";
    check(test, Some(installed_iperf3()), newer_iperf3(test));
}

#[test]
fn lost_datagrams_are_those_that_the_path_dropped_from_a_newer_client() {
    let test = "lost_datagrams_are_those_that_the_path_dropped_from_a_newer_client";
    check(test, newer_iperf3(test), Some(installed_iperf3()));
}

#[test]
fn lost_datagrams_are_those_that_the_path_dropped_between_newer_ones() {
    let test = "lost_datagrams_are_those_that_the_path_dropped_between_newer_ones";
    let newer = newer_iperf3(test);
    check(test, newer.clone(), newer);
}

/// All losses at the same time, each on a path of its own.
fn check(test: &str, client: Option<PathBuf>, server: Option<PathBuf>) {
    if let Some(found) = path::side_by_side(test, client, server, LOSSES_PERCENT, lane) {
        harness::say(&format!("{test}: lost {found}"));
    }
}

/// One path, in each mode; what was lost.
fn lane(percent: u32, client: &FilePath, server: &FilePath) -> String {
    let ends = Ends {
        client: End::of(client),
        server: End::of(server),
    };
    let path = Path::new();
    path.drop_datagrams(percent, LAST_DROPPED);
    let server = path.serve(server);
    let exporter = path.exporter(client);
    let lost: Vec<String> = MODES
        .iter()
        .flat_map(|(query, ways)| ask(&path, (&exporter, &server), ends, percent, query, ways))
        .map(|lost| lost.to_string())
        .collect();
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

/// One mode, again when a receiver was too slow; what was lost on each way.
fn ask(
    path: &Path,
    (exporter, server): (&Exporter, &Server),
    ends: Ends,
    percent: u32,
    query: &str,
    ways: &[Way],
) -> Vec<u64> {
    // Each stream begins with a datagram either way that belongs to no test.
    let greetings = ways.len() as u64;
    for _ in 0..ATTEMPTS {
        let count = || {
            let counts = ways.iter().map(|way| Counts::now(path, *way));
            counts.collect::<Vec<_>>()
        };
        let before = count();
        let reply = exporter.get(&format!(
            "/probe?target={SERVER}&port={PORT}&period=3&udp_mode=1&bitrate=10M{query}"
        ));
        assert_eq!(reply.family("iperf3_up"), Some(1.0), "{}", reply.body);
        server.wait_until_it_listens().unwrap();
        let after = count();
        let counted: Vec<Counts> = after
            .iter()
            .zip(&before)
            .map(|(after, before)| after.since(before, greetings))
            .collect();
        if counted.iter().any(Counts::is_of_a_busy_machine) {
            continue;
        }
        for (way, counts) in ways.iter().zip(&counted) {
            let what = format!("{percent} %{query} {way:?}: {counts:?}\n{}", reply.body);
            counts.assert_reported(&reply, *way, ends, &what);
            assert!(counts.sent > LAST_DROPPED.into(), "{what}");
            assert_eq!(counts.dropped > 0, percent > 0, "{what}");
        }
        return counted.iter().map(|counts| counts.dropped).collect();
    }
    panic!("{percent} %{query}: this machine is too slow to read 10 Mbit/s");
}

/// What the path and the kernels at its ends counted on one way.
#[derive(Debug)]
struct Counts {
    sent: u64,
    dropped: u64,
    read: u64,
    overflowed: u64,
}

impl Counts {
    fn now(path: &Path, way: Way) -> Self {
        let kernel = path.datagrams(way);
        Self {
            sent: kernel.sent,
            dropped: path.dropped(way),
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

    /// Whether the receiver was so slow that datagrams were thrown away, or that many were left at the end.
    fn is_of_a_busy_machine(&self) -> bool {
        let left = self.sent - self.dropped - self.overflowed - self.read;
        self.overflowed > 0 || left > self.sent / MOST_LEFT
    }

    /// Holds the report against it.
    fn assert_reported(&self, reply: &Reply, way: Way, ends: Ends, what: &str) {
        let sender = match way {
            Way::Upload => ends.client,
            Way::Download => ends.server,
        };
        let reported = |family: &str| {
            let value = path::of_way(reply, family, way);
            value.unwrap_or_else(|| panic!("no {family}: {what}"))
        };
        let exactly = |count: u64| count as f64;
        let [sent, lost, received] = [
            "iperf3_udp_packets",
            "iperf3_udp_lost_packets",
            "iperf3_udp_received_packets",
        ]
        .map(reported);
        assert_eq!(lost, exactly(self.dropped), "lost, {what}");
        assert_eq!(reported("iperf3_packet_loss_ratio"), lost / sent, "{what}");
        // With threads, the one that sends may be at its last datagram when the counts are taken.
        let uncounted = exactly(self.sent) - sent;
        let most_uncounted = if sender.has_threads { 1.0 } else { 0.0 };
        assert!((0.0..=most_uncounted).contains(&uncounted), "sent, {what}");
        // Sent − lost = received, but for what is on its way when the test ends: it lies unread at the receiver, or is
        // read when the counts are taken already.
        let unread = exactly(self.sent - self.dropped - self.read);
        let left = exactly(self.sent) - lost - received;
        let most_left = exactly(self.sent / MOST_LEFT);
        assert!((unread..=most_left).contains(&left), "received, {what}");
    }
}
