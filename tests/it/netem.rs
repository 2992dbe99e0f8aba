//! A path from a client over a router to a server, each a namespace: what it lets through, and what it counts.
//!
//! The router shapes what leaves it (`tbf`) and drops datagrams that enter it (classic BPF). It must not know iperf3.

use std::fs;
use std::path::{Path as FilePath, PathBuf};
use std::thread;

use crate::harness::{self, Exporter, Reply};
use crate::namespace::{self, Namespace, Server, connect};

/// The server's address.
pub const SERVER: &str = "198.51.100.1";
/// The port of its iperf3.
pub const PORT: u16 = 5201;

/// Bytes of a full Ethernet frame as `tbf` counts it, without checksum: an MTU of 1500 and the Ethernet header.
pub const FRAME_BYTES: f64 = 1514.0;
/// What it carries of TCP's payload: without IP's 20 bytes and TCP's 20, and 12 for the time stamps.
pub const TCP_PAYLOAD_BYTES: f64 = 1448.0;
/// A frame that only acknowledges.
pub const ACK_BYTES: f64 = 66.0;

/// How long the queue of [`Path::shape`] is: a congestion window fills it at once, and the answers of the other direction
/// stay fresh.
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
    /// The label's value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Download => "download",
        }
    }

    /// The router's device by which its packets go out.
    fn exit(self) -> &'static str {
        match self {
            Self::Upload => "server",
            Self::Download => "client",
        }
    }

    /// The router's device by which its packets come in.
    fn entry(self) -> &'static str {
        match self {
            Self::Upload => "client",
            Self::Download => "server",
        }
    }
}

/// Whether paths can be made here; says that `test` is skipped where not.
pub fn can_be_made(test: &str) -> bool {
    let made = || {
        let path = Path::try_new()?;
        // What a kernel may have been built without.
        path.router
            .run("tc qdisc add dev client root tbf rate 1mbit burst 16000 limit 32000")?;
        path.router.run("tc qdisc add dev client clsact")
    };
    has_programs(test) && or_skipped(test, made().err().as_deref())
}

/// Whether hosts on a switch can be made here; says that `test` is skipped where not.
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
    /// Makes them, with nothing in the way yet.
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

    /// Lets `mbit` Mbit/s through each direction; how many bytes it holds of each.
    pub fn shape(&self, mbit: u32) -> u32 {
        /// So late may the timer be that refills the bucket, without the path being slower than it says.
        const BURST_MS: u32 = 5;
        /// Ten frames: a smaller bucket is emptied by one of the packets that a virtual cable carries.
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

    /// Bytes of frames that a shaped path let through so far, all of what its test and its ends said.
    pub fn passed(&self, direction: FlowDirection) -> u64 {
        let device = direction.exit();
        let text = self.router(&format!("tc -s qdisc show dev {device} root"));
        let (_, rest) = text
            .split_once("Sent ")
            .unwrap_or_else(|| panic!("no count of {device}: {text}"));
        rest.split(' ').next().unwrap().parse().unwrap()
    }

    /// Drops each datagram of a test with a probability of `percent`, both ways, up to the one that iperf3 gave the
    /// number `last`. Nothing else is dropped: iperf3's own words go over TCP, and over UDP in 4 bytes.
    pub fn drop_datagrams(&self, percent: u32, last: u32) {
        /// Offsets of classic BPF into the network header, and to a random number (linux/filter.h).
        const NETWORK: u32 = 0xfff0_0000;
        const RANDOM: u32 = 0xffff_f038;
        const UDP: u32 = 17;
        /// Every datagram of a test is longer; a header with options would be no test's.
        const SMALLEST_BYTES: u32 = 1000;
        /// Behind 20 bytes of IP, 8 of UDP, and the time that it was sent at.
        const NUMBER_AT: u32 = 20 + 8 + 8;
        let below = u64::from(percent) * (1 << 32) / 100;
        let program = [
            // The protocol; else on to the end.
            format!("48 0 0 {}", NETWORK + 9),
            format!("21 0 7 {UDP}"),
            // The length.
            format!("40 0 0 {}", NETWORK + 2),
            format!("53 0 5 {SMALLEST_BYTES}"),
            // The datagram's number.
            format!("32 0 0 {}", NETWORK + NUMBER_AT),
            format!("37 3 0 {last}"),
            // The die; "drop" and "as you like" are what tc calls 2 and -1.
            format!("32 0 0 {RANDOM}"),
            format!("53 1 0 {below}"),
            "6 0 0 2".to_owned(),
            "6 0 0 4294967295".to_owned(),
        ];
        let bytecode = format!("{},{}", program.len(), program.join(","));
        for direction in [FlowDirection::Upload, FlowDirection::Download] {
            let device = direction.entry();
            self.router(&format!("tc qdisc add dev {device} clsact"));
            // Split at blanks it would be many words, and tc wants one.
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

    /// Datagrams dropped so far by [`Path::drop_datagrams`].
    pub fn dropped(&self, direction: FlowDirection) -> u64 {
        let device = direction.entry();
        // Without "dev", which would show the root alone.
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

    /// What the kernel counted of the datagrams that came and went at an end of the path.
    pub fn datagrams(&self, direction: FlowDirection) -> Datagrams {
        Datagrams {
            sent: udp_count(self.sender(direction), "OutDatagrams"),
            read: udp_count(self.receiver(direction), "InDatagrams"),
            overflowed: udp_count(self.receiver(direction), "RcvbufErrors"),
        }
    }

    /// An iperf3 that serves at the far end.
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

/// Runs `lane` with each of `values` at the same time, and gives back what it says; none, with a line that says so, when
/// there is no such iperf3 or no path can be made.
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
        lanes.map(|lane| lane.join().expect("its own words are above"))
    });
    Some(said.join("; "))
}

/// The real exporter in a namespace, reached from out here.
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
    /// Read by a program; what still lies in a socket that is closed is not.
    pub read: u64,
    /// Thrown away because the program was too slow to read.
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

/// The value of a family of our own for one direction.
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

/// One that is newer, which `make test-all` downloads; says that `test` is skipped where it could not.
pub fn newer_iperf3(test: &str) -> Option<PathBuf> {
    let script = harness::top().join("tests/scripts/newer-iperf3.sh");
    let (is_there, said) = harness::run("sh", &[&script.display().to_string(), "--cached"], "");
    if is_there {
        return Some(PathBuf::from(said.trim_end()));
    }
    harness::skipped(test, said.trim_end());
    None
}
