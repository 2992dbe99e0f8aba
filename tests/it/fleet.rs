//! Many exporters and few servers: an iperf3 server runs one test at a time, and the other exporters retry.

use std::path::Path as FilePath;
use std::thread;

use crate::harness::{self, Connection, Exporter, Holder, Reply, wait_for};
use crate::namespace::{Bridge, Namespace, Server};
use crate::netem;

#[test]
fn exporters_share_a_server_and_each_gets_a_test() {
    share_a_server("exporters_share_a_server_and_each_gets_a_test", 4);
}

#[test]
#[ignore = "make test-all: the same with ten"]
fn ten_exporters_share_a_server_and_each_gets_a_test() {
    share_a_server("ten_exporters_share_a_server_and_each_gets_a_test", 10);
}

fn share_a_server(test: &str, count: usize) {
    let _alone = harness::machine_alone();
    if !netem::bridges_can_be_made(test) {
        return;
    }
    let bridge = Bridge::new(count + 1).unwrap();
    let (server_host, hosts) = bridge.hosts.split_last().unwrap();
    let _server = Server::start(server_host, FilePath::new("iperf3"), 5201).unwrap();
    let exporters: Vec<Exporter> = hosts.iter().map(exporter_in).collect();
    let target = Bridge::address(count);
    let mut client = hosts[0].command("iperf3");
    client.args(["-c", &target, "-t", "3600", "-b", "1M"]);
    let holder = Holder::start(client, || connections(server_host) >= 2);
    let replies = at_once(
        &exporters,
        &format!("/probe?target={target}&period=1s&bitrate=10M"),
        holder,
    );
    let attempts: Vec<f64> = replies
        .iter()
        .map(|reply| reply.family("iperf3_probe_attempts").unwrap())
        .collect();
    for reply in &replies {
        assert_eq!(reply.family("iperf3_up"), Some(1.0), "{}", reply.body);
    }
    harness::say(&format!("{test}: attempts {attempts:?}"));
}

#[test]
fn exporters_find_the_server_of_a_range_of_ports_that_is_free() {
    if !netem::bridges_can_be_made("exporters_find_the_server_of_a_range_of_ports_that_is_free") {
        return;
    }
    let bridge = Bridge::new(3).unwrap();
    let (server_host, hosts) = bridge.hosts.split_last().unwrap();
    let _servers =
        [5201, 5202].map(|port| Server::start(server_host, FilePath::new("iperf3"), port).unwrap());
    let [one, other] = [0, 1].map(|host| exporter_in(&hosts[host]));
    let path = |period: &str| {
        let target = Bridge::address(2);
        format!("/probe?target={target}&port=5201-5202&period={period}&bitrate=1M")
    };
    let mut long = Connection::open(one.port());
    long.send(
        &path("10m"),
        &[("X-Prometheus-Scrape-Timeout-Seconds", "3600")],
    );
    wait_for("the first one's test", || connections(server_host) >= 2);
    let reply = other.scrape(&path("1s"), "60");
    assert_eq!(reply.family("iperf3_up"), Some(1.0), "{}", reply.body);
    assert_eq!(port(&reply), "5202");
    let page = one.get("/").body;
    assert!(page.contains(" has been running on port 5201"), "{page}");
}

/// The number of open connections to the iperf3 servers of a host.
fn connections(host: &Namespace) -> usize {
    let text = host.run("ss -tnH state established").unwrap();
    text.lines().filter(|line| line.contains(":520")).count()
}

fn exporter_in(namespace: &Namespace) -> Exporter {
    netem::exporter_in(namespace, FilePath::new("iperf3"))
}

/// The responses to one scrape of each exporter, after all have found the server busy.
fn at_once(exporters: &[Exporter], query: &str, holder: Holder) -> Vec<Reply> {
    thread::scope(|scope| {
        let scrapes: Vec<_> = exporters
            .iter()
            .map(|exporter| scope.spawn(|| exporter.scrape(query, "100")))
            .collect();
        for exporter in exporters {
            wait_for("another attempt", || {
                exporter.metric("iperf3_exporter_retries_total") >= 1.0
            });
        }
        drop(holder);
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
