//! Many exporters and few servers: an iperf3 server takes one test at a time, and the others come again.

use std::path::Path as FilePath;
use std::sync::Barrier;
use std::thread;

use crate::harness::{self, Exporter, Reply};
use crate::namespace::{Bridge, Namespace, Server};
use crate::path;

/// As many as have their turns within a minute three times over.
const EXPORTERS: usize = 10;

#[test]
fn ten_exporters_share_a_server_and_each_has_its_turn() {
    if !path::bridges_can_be_made("ten_exporters_share_a_server_and_each_has_its_turn") {
        return;
    }
    let bridge = Bridge::new(EXPORTERS + 1).unwrap();
    let (server_host, hosts) = bridge.hosts.split_last().unwrap();
    let _server = Server::start(server_host, FilePath::new("iperf3"), 5201).unwrap();
    let exporters: Vec<Exporter> = hosts.iter().map(exporter_in).collect();
    let target = Bridge::address(EXPORTERS);
    let replies = at_once(
        &exporters,
        &format!("/probe?target={target}&period=2s&bitrate=10M"),
    );
    for reply in &replies {
        assert_eq!(reply.family("iperf3_up"), Some(1.0), "{}", reply.body);
    }
    let attempts: Vec<f64> = replies
        .iter()
        .map(|reply| reply.family("iperf3_probe_attempts").unwrap())
        .collect();
    let all: f64 = attempts.iter().sum();
    harness::say(&format!(
        "ten_exporters_share_a_server_and_each_has_its_turn: attempts {attempts:?}"
    ));
    assert!(all > EXPORTERS as f64, "{attempts:?}");
}

#[test]
fn exporters_find_the_server_of_a_range_of_ports_that_is_free() {
    if !path::bridges_can_be_made("exporters_find_the_server_of_a_range_of_ports_that_is_free") {
        return;
    }
    let bridge = Bridge::new(3).unwrap();
    let (server_host, hosts) = bridge.hosts.split_last().unwrap();
    let _servers =
        [5201, 5202].map(|port| Server::start(server_host, FilePath::new("iperf3"), port).unwrap());
    let exporters: Vec<Exporter> = hosts.iter().map(exporter_in).collect();
    let target = Bridge::address(2);
    let replies = at_once(
        &exporters,
        &format!("/probe?target={target}&port=5201-5202&period=3s&bitrate=10M"),
    );
    let mut ports: Vec<&str> = replies.iter().map(port).collect();
    ports.sort_unstable();
    assert_eq!(ports, ["5201", "5202"]);
    for reply in &replies {
        assert_eq!(reply.family("iperf3_up"), Some(1.0), "{}", reply.body);
    }
}

fn exporter_in(namespace: &Namespace) -> Exporter {
    path::exporter_in(namespace, FilePath::new("iperf3"))
}

/// The answers to one scrape of each exporter, all at the same moment.
fn at_once(exporters: &[Exporter], query: &str) -> Vec<Reply> {
    let start = Barrier::new(exporters.len());
    thread::scope(|scope| {
        let scrapes: Vec<_> = exporters
            .iter()
            .map(|exporter| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    exporter.scrape(query, "60")
                })
            })
            .collect();
        scrapes
            .into_iter()
            .map(|scrape| scrape.join().unwrap())
            .collect()
    })
}

/// The label `port`.
fn port(reply: &Reply) -> &str {
    let (_, rest) = reply.body.split_once("port=\"").unwrap();
    rest.split('"').next().unwrap()
}
