//! A path from a client over a router to a server, each in a namespace: it limits and counts the traffic.
//!
//! The router shapes its outgoing traffic (`tbf`) and drops incoming datagrams (classic BPF). It must not know iperf3.

use std::fs;
use std::path::{Path as FilePath, PathBuf};
use std::thread;

use crate::harness::{self, Exporter, Reply};
use crate::namespace::{self, Namespace, Server, connect};

/// The server's address.
pub const SERVER: &str = "198.51.100.1";
/// The port of its iperf3.
pub const PORT: u16 = 5201;

/// Bytes of a full Ethernet frame as `tbf` counts it, without the checksum: an MTU of 1500 and the Ethernet header.
pub const FRAME_BYTES: f64 = 1514.0;
/// The TCP payload in such a frame: without 20 bytes of IP, 20 of TCP, and 12 of timestamps.
pub const TCP_PAYLOAD_BYTES: f64 = 1448.0;
/// A frame with only an acknowledgement.
pub const ACK_BYTES: f64 = 66.0;

/// The length of the queue of [`Path::shape`]: a congestion window fills it at once, and acknowledgements of the other
/// direction are not delayed much.
pub const QUEUE_MS: u32 = 20;

/// A direction of data through the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowDirection {
    /// From the client to the server.
    Upload,
    /// From the server to the client.
    Download,
}

impl FlowDirection {
    /// The value of the label `direction`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Download => "download",
        }
    }

    /// The device through which packets leave the router.
    fn exit(self) -> &'static str {
        match self {
            Self::Upload => "server",
            Self::Download => "client",
        }
    }

    /// The device through which packets enter the router.
    fn entry(self) -> &'static str {
        match self {
            Self::Upload => "client",
            Self::Download => "server",
        }
    }
}

/// Whether paths can be made here; otherwise prints that `test` is skipped.
pub fn can_be_made(test: &str) -> bool {
    let made = || {
        let path = Path::try_new()?;
        // A kernel may lack these modules.
        path.router
            .run("tc qdisc add dev client root tbf rate 1mbit burst 16000 limit 32000")?;
        path.router.run("tc qdisc add dev client clsact")
    };
    has_programs(test) && or_skipped(test, made().err().as_deref())
}

/// Whether hosts on a switch can be made here; otherwise prints that `test` is skipped.
pub fn bridges_can_be_made(test: &str) -> bool {
    has_programs(test) && or_skipped(test, namespace::why_not().as_deref())
}

fn has_programs(test: &str) -> bool {
    namespace::PROGRAMS
        .iter()
        .all(|program| harness::has(program, test))
}

fn or_skipped(test: &str, why_not: Option<&str>) -> bool {
    if let Some(why) = why_not {
        harness::skipped(test, why);
    }
    why_not.is_none()
}

/// The three namespaces.
pub struct Path {
    client: Namespace,
    router: Namespace,
    server: Namespace,
}

impl Path {
    /// Makes them, with no limits yet.
    pub fn new() -> Self {
        Self::try_new().unwrap()
    }

    fn try_new() -> Result<Self, String> {
        let [client, router, server] = [Namespace::new()?, Namespace::new()?, Namespace::new()?];
        connect((&client, "eth0"), (&router, "client"))?;
        connect((&server, "eth0"), (&router, "server"))?;
        router.forward()?;
        client.run("ip address add 192.0.2.1/24 dev eth0")?;
        router.run("ip address add 192.0.2.2/24 dev client")?;
        server.run(&format!("ip address add {SERVER}/24 dev eth0"))?;
        router.run("ip address add 198.51.100.2/24 dev server")?;
        client.run("ip route add default via 192.0.2.2")?;
        server.run("ip route add default via 198.51.100.2")?;
        Ok(Self {
            client,
            router,
            server,
        })
    }

    /// Limits each direction to `mbit` Mbit/s; how many bytes the router holds in each direction.
    pub fn shape(&self, mbit: u32) -> u32 {
        /// The timer that refills the bucket may be this late without slowing the path.
        const BURST_MS: u32 = 5;
        /// Ten frames: one packet on a virtual cable can be larger than a smaller bucket.
        const SMALLEST_BURST_BYTES: u32 = 16_000;
        let bytes_per_ms = mbit * 1000 / 8;
        let burst = (bytes_per_ms * BURST_MS).max(SMALLEST_BURST_BYTES);
        let limit = burst + bytes_per_ms * QUEUE_MS;
        for device in ["client", "server"] {
            self.router(&format!(
                "tc qdisc add dev {device} root tbf rate {mbit}mbit burst {burst} limit {limit}"
            ));
        }
        limit
    }

    /// Bytes of frames that a shaped path has forwarded so far, the control traffic included.
    pub fn passed(&self, direction: FlowDirection) -> u64 {
        let device = direction.exit();
        let text = self.router(&format!("tc -s qdisc show dev {device} root"));
        let (_, rest) = text
            .split_once("Sent ")
            .unwrap_or_else(|| panic!("no count of {device}: {text}"));
        rest.split(' ').next().unwrap().parse().unwrap()
    }

    /// Drops each test datagram with a probability of `percent`, in both directions, up to iperf3's datagram number
    /// `last`. Nothing else is dropped: iperf3's control traffic uses TCP, and 4-byte datagrams of UDP.
    pub fn drop_datagrams(&self, percent: u32, last: u32) {
        /// Offsets of classic BPF to the network header and to a random number (linux/filter.h).
        const NETWORK: u32 = 0xfff0_0000;
        const RANDOM: u32 = 0xffff_f038;
        const UDP: u32 = 17;
        /// Every test datagram is longer. The program assumes an IP header without options.
        const SMALLEST_BYTES: u32 = 1000;
        /// After 20 bytes of IP, 8 of UDP, and the send time.
        const NUMBER_AT: u32 = 20 + 8 + 8;
        let below = u64::from(percent) * (1 << 32) / 100;
        let program = [
            // The protocol; otherwise jump to the end.
            format!("48 0 0 {}", NETWORK + 9),
            format!("21 0 7 {UDP}"),
            // The length.
            format!("40 0 0 {}", NETWORK + 2),
            format!("53 0 5 {SMALLEST_BYTES}"),
            // The datagram's number.
            format!("32 0 0 {}", NETWORK + NUMBER_AT),
            format!("37 3 0 {last}"),
            // The random number; tc's action 2 drops, and -1 continues.
            format!("32 0 0 {RANDOM}"),
            format!("53 1 0 {below}"),
            "6 0 0 2".to_owned(),
            "6 0 0 4294967295".to_owned(),
        ];
        let bytecode = format!("{},{}", program.len(), program.join(","));
        for direction in [FlowDirection::Upload, FlowDirection::Download] {
            let device = direction.entry();
            self.router(&format!("tc qdisc add dev {device} clsact"));
            // `run` would split this at blanks, and tc needs one argument.
            let done = self
                .router
                .command("tc")
                .args(["filter", "add", "dev", device])
                .args(["ingress", "protocol", "ip", "bpf", "da", "bytecode"])
                .arg(&bytecode)
                .output()
                .unwrap();
            let words = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success(), "tc filter: {words}");
        }
    }

    /// The number of datagrams that [`Path::drop_datagrams`] has dropped so far.
    pub fn dropped(&self, direction: FlowDirection) -> u64 {
        let device = direction.entry();
        // Without "dev", which would print only the root.
        let text = self.router("tc -s qdisc show");
        let own = text.split("qdisc ").find(|part| {
            part.starts_with("clsact") && part.contains(&format!("dev {device} parent"))
        });
        let (_, rest) = own
            .unwrap_or_else(|| panic!("no clsact of {device}: {text}"))
            .split_once("(dropped ")
            .unwrap();
        rest.split(',').next().unwrap().parse().unwrap()
    }

    /// The kernel's counts of the datagrams sent and received at one end of the path.
    pub fn datagrams(&self, direction: FlowDirection) -> Datagrams {
        Datagrams {
            sent: udp_count(self.sender(direction), "OutDatagrams"),
            read: udp_count(self.receiver(direction), "InDatagrams"),
            overflowed: udp_count(self.receiver(direction), "RcvbufErrors"),
        }
    }

    /// An iperf3 server at the far end.
    pub fn serve(&self, iperf3: &FilePath) -> Server {
        Server::start(&self.server, iperf3, PORT).unwrap()
    }

    /// An exporter at the near end.
    pub fn exporter(&self, iperf3: &FilePath) -> Exporter {
        exporter_in(&self.client, iperf3)
    }

    fn sender(&self, direction: FlowDirection) -> &Namespace {
        match direction {
            FlowDirection::Upload => &self.client,
            FlowDirection::Download => &self.server,
        }
    }

    fn receiver(&self, direction: FlowDirection) -> &Namespace {
        match direction {
            FlowDirection::Upload => &self.server,
            FlowDirection::Download => &self.client,
        }
    }

    fn router(&self, line: &str) -> String {
        self.router.run(line).unwrap()
    }
}

/// Runs `lane` with each of `values` at the same time and returns the results. Without such an iperf3 or without paths
/// it returns `None` and prints one line.
pub fn side_by_side<const N: usize>(
    test: &str,
    client: Option<PathBuf>,
    server: Option<PathBuf>,
    values: [u32; N],
    lane: fn(u32, &FilePath, &FilePath) -> String,
) -> Option<String> {
    let (client, server) = (client?, server?);
    if !can_be_made(test) {
        return None;
    }
    let (client, server) = (client.as_path(), server.as_path());
    let said = thread::scope(|scope| {
        let lanes = values.map(|value| scope.spawn(move || lane(value, client, server)));
        lanes.map(|lane| lane.join().expect("its panic is printed above"))
    });
    Some(said.join("; "))
}

/// The real exporter in a namespace, reached from outside.
pub fn exporter_in(namespace: &Namespace, iperf3: &FilePath) -> Exporter {
    let (mut command, _) = namespace
        .exporter(env!("CARGO_BIN_EXE_iperf3-exporter"))
        .unwrap();
    command.arg(format!("--iperf3.path={}", iperf3.display()));
    Exporter::spawn_as_it_is(command)
}

/// The kernel's counts of one direction.
#[derive(Clone, Copy, Debug)]
pub struct Datagrams {
    /// Sent by a program.
    pub sent: u64,
    /// Read by a program; data left in a closed socket does not count.
    pub read: u64,
    /// Dropped because the program read too slowly.
    pub overflowed: u64,
}

fn udp_count(namespace: &Namespace, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/net/snmp", namespace.pid())).unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("Udp: "));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let found = names
        .split(' ')
        .zip(values.split(' '))
        .find(|(own, _)| *own == name);
    found.unwrap().1.parse().unwrap()
}

/// The value of a native family for one direction.
pub fn direction_value(reply: &Reply, family: &str, direction: FlowDirection) -> Option<f64> {
    let label = format!("direction=\"{}\"", direction.label());
    let line = reply.body.lines().find(|line| {
        let name = line.split('{').next().unwrap_or_default();
        name == family && line.contains(&label)
    })?;
    line.rsplit_once(' ')?.1.parse().ok()
}

/// The iperf3 that is installed.
pub fn installed_iperf3() -> PathBuf {
    PathBuf::from("iperf3")
}

/// The newer iperf3 that `make test-all` downloads; otherwise prints that `test` is skipped.
pub fn newer_iperf3(test: &str) -> Option<PathBuf> {
    let script = harness::top().join("tests/scripts/newer-iperf3.sh");
    let (is_there, said) = harness::run("sh", &[&script.display().to_string(), "--cached"], "");
    if is_there {
        return Some(PathBuf::from(said.trim_end()));
    }
    harness::skipped(test, said.trim_end());
    None
}
