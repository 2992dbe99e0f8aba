//! Names with one IPv4 and one IPv6 address, one of them dead: a real iperf3, real addresses in a network namespace,
//! names from a private `/etc/hosts`.

use std::path::Path;
use std::process::Command;

use crate::harness::{self, Exporter, Fake, TempDir, good_report};
use crate::namespace::{Namespace, Server, connect};
use crate::netem;

const HOSTS: &str = "127.0.0.1 localhost\n2001:db8::2 dead-v6.example\n192.0.2.1 dead-v6.example\n\
                     2001:db8::1 good.example\n192.0.2.1 good.example\n\
                     2001:db8::2 dead.example\n192.0.2.2 dead.example\n";
const PORT: u16 = 5201;
/// 3.16 and later append this to a connection error.
const HINT: &str =
    " - server may have stopped running or use a different port, firewall issue, etc.";

/// A host with IPv4 and IPv6, and an exporter on it.
struct Host {
    exporter: Exporter,
    namespace: Namespace,
    _cable_end: Namespace,
    _dir: TempDir,
}

impl Host {
    /// `None` where no such host can be made; prints that `test` is skipped.
    fn new(test: &str) -> Option<Self> {
        if !netem::bridges_can_be_made(test) {
            return None;
        }
        let [namespace, cable_end] = [Namespace::new().unwrap(), Namespace::new().unwrap()];
        connect((&namespace, "eth0"), (&cable_end, "eth0")).unwrap();
        let made = namespace.command("sh").args(["-ec", SETUP]).output();
        let made = made.unwrap();
        if !made.status.success() {
            harness::skipped(test, String::from_utf8_lossy(&made.stderr).trim());
            return None;
        }
        let dir = TempDir::new();
        let hosts = dir.write("hosts", HOSTS).display().to_string();
        let wrapper = dir.path().join("exporter");
        let script = format!(
            "#!/bin/sh\nexec unshare -m sh -ec 'mount --bind {hosts} /etc/hosts; exec \"$@\"' sh {} \"$@\"\n",
            env!("CARGO_BIN_EXE_iperf3-exporter")
        );
        harness::write_program(&wrapper, &script);
        let (mut command, _): (Command, u16) =
            namespace.exporter(wrapper.to_str().unwrap()).unwrap();
        command.arg("--log.level=debug");
        let exporter = Exporter::spawn_as_it_is(command);
        Some(Self {
            exporter,
            namespace,
            _cable_end: cable_end,
            _dir: dir,
        })
    }

    fn serve(&self) -> Server {
        Server::start(&self.namespace, Path::new("iperf3"), PORT).unwrap()
    }
}

/// Packets to the dead addresses are sent, and nothing receives them.
const SETUP: &str =
    "for what in all default eth0; do echo 0 >/proc/sys/net/ipv6/conf/$what/disable_ipv6; done
    ip address add 192.0.2.1/24 dev eth0
    ip address add 2001:db8::1/64 dev eth0 nodad
    for dead in 192.0.2.2 2001:db8::2; do
        ip neighbour add $dead lladdr 02:00:00:00:00:02 dev eth0 nud permanent
    done";

#[test]
fn a_name_whose_first_address_is_dead_is_tested_with_the_other_ip_version() {
    let test = "a_name_whose_first_address_is_dead_is_tested_with_the_other_ip_version";
    let Some(host) = Host::new(test) else { return };
    let _server = host.serve();
    let exporter = &host.exporter;
    let query = "target=dead-v6.example&period=1s&bitrate=1M&connect_timeout=300ms";
    let reply = exporter.get(&format!("/probe?{query}"));
    assert_eq!(reply.family("iperf3_up"), Some(1.0), "{}", exporter.log());
    assert_eq!(reply.family("iperf3_probe_attempts"), Some(2.0));
    assert!(reply.body.contains(",family=\"ipv4\","), "{}", reply.body);
    let line = exporter.log_line("msg=\"probe\"");
    assert!(line.contains(" address=192.0.2.1 "), "{line}");
    let page = exporter.get("/probes/1").body;
    let address = "<dt>Address</dt><dd>192.0.2.1</dd>";
    assert!(page.contains(address), "{page}");
    assert!(
        page.contains(", address 2001:db8::2: connect_timeout: unable to connect to server"),
        "{page}"
    );
    let story = exporter.get(&format!("/probe?{query}&debug=true")).body;
    assert!(story.contains("\naddress     192.0.2.1\n"), "{story}");
    assert!(
        story.contains(", address 2001:db8::2: connect_timeout: unable to connect to server"),
        "{story}"
    );
    assert!(story.contains(" -4"), "{story}");

    // A version that works is kept, and it is reported.
    let reply = exporter.get("/probe?target=good.example&period=1s&bitrate=1M");
    assert_eq!(reply.family("iperf3_up"), Some(1.0), "{}", exporter.log());
    assert_eq!(reply.family("iperf3_probe_attempts"), Some(1.0));
    assert!(reply.body.contains(",family=\"ipv6\","), "{}", reply.body);
}

#[test]
fn a_failure_to_connect_to_a_name_says_which_addresses_were_tried() {
    let test = "a_failure_to_connect_to_a_name_says_which_addresses_were_tried";
    let Some(host) = Host::new(test) else { return };
    let exporter = &host.exporter;
    for (query, reason, attempts, error) in [
        (
            "target=dead-v6.example",
            "refused",
            2.0,
            "unable to connect to server (2001:db8::2): Connection timed out; unable to connect to server (192.0.2.1): \
             Connection refused",
        ),
        (
            "target=dead.example",
            "connect_timeout",
            2.0,
            "unable to connect to server (2001:db8::2): Connection timed out; unable to connect to server (192.0.2.2): \
             Connection timed out",
        ),
        (
            "target=good.example",
            "refused",
            2.0,
            "unable to connect to server (2001:db8::1): Connection refused; unable to connect to server (192.0.2.1): \
             Connection refused",
        ),
        // An explicit `family` is respected.
        (
            "target=dead-v6.example&family=6",
            "connect_timeout",
            1.0,
            "unable to connect to server (2001:db8::2): Connection timed out",
        ),
        (
            "target=dead-v6.example&family=4",
            "refused",
            1.0,
            "unable to connect to server (192.0.2.1): Connection refused",
        ),
        // An IP address has no alternative.
        (
            "target=2001:db8::2",
            "connect_timeout",
            1.0,
            "unable to connect to server: Connection timed out",
        ),
    ] {
        let path = format!("/probe?{query}&connect_timeout=300ms");
        let reply = exporter.get(&path);
        assert_eq!(reply.reason(), Some(reason), "{query}: {}", exporter.log());
        let tried = reply.family("iperf3_probe_attempts");
        assert_eq!(tried, Some(attempts), "{query}");
        let line = format!("reason={reason} error=\"{error}\"");
        harness::wait_for(&line, || exporter.log().replace(HINT, "").contains(&line));
    }
    // The scrape timeout less the offset of half a second holds one test of ten minutes and no second attempt.
    exporter.scrape(
        "/probe?target=dead-v6.example&period=600s&connect_timeout=300ms",
        "601",
    );
    let line = "(2001:db8::2): Connection timed out, and no time was left to try IPv4\"";
    harness::wait_for(line, || exporter.log().replace(HINT, "").contains(line));
}

#[test]
fn connecting_to_a_name_leaves_time_for_the_other_ip_version() {
    let fake = Fake::with_help(
        &format!(
            "printf '%s ' \"$@\" >\"$DIR/words\"\nexec cat '{}'",
            good_report().display()
        ),
        "echo 'Usage: iperf3'; for option in -J -c -p -t -4 -6 -B --connect-timeout; do echo \" $option\"; done",
    );
    let exporter = Exporter::start(&[fake.flag()]);
    let limit = |query: &str| -> u32 {
        let reply = exporter.scrape(&format!("/probe?{query}"), "10");
        assert_eq!(reply.family("iperf3_up"), Some(1.0), "{}", exporter.log());
        let words = std::fs::read_to_string(fake.dir().join("words")).unwrap();
        let (_, rest) = words.split_once("--connect-timeout ").unwrap();
        rest.split(' ').next().unwrap().parse().unwrap()
    };
    // Of 9.5 s the test takes 5 s, its overhead half a second, and the start of the second attempt half a second.
    let limited = limit("target=localhost");
    assert!((1000..=3500).contains(&limited), "{limited}");
    for query in [
        "target=localhost&family=4",
        "target=localhost&bind=127.0.0.1",
        "target=127.0.0.1",
        // With hardly any time left, nothing is reserved for a second attempt.
        "target=localhost&period=9s",
    ] {
        assert_eq!(limit(query), 5000, "{query}");
    }
    assert_eq!(limit("target=localhost&connect_timeout=7s"), 7000);
}
