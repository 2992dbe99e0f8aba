//! Attacks: during each a new connection to `/health` is answered, and afterwards nothing is left behind.
//!
//! [`withstand`] enforces this for all of them: a response counts when the attack was active before its request and
//! still is after it. `make bench` measures how long such a response takes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::harness::{
    Exporter, Fake, PATIENCE, Reply, children, is_alive, is_asleep, machine_alone, parse_reply,
    wait_for,
};
use crate::pki::{Pki, SERVER};
use crate::siege::{Attack, Line, On, Siege, Target, under};

/// How often `/health` is requested during an attack.
const HEALTH_ASKED: usize = 5;
/// The memory growth that all attacks on one exporter together may cause. Most of it is the allocator's arenas, and
/// stacks of threads that existed at the same time.
const GROWTH_LIMIT_BYTES: u64 = 32 * 1024 * 1024;
/// The memory growth that a second round of some attacks may cause.
const SECOND_GROWTH_LIMIT_BYTES: u64 = 4 * 1024 * 1024;
/// How many attacks are repeated: the first ones of the table, which hold the most connections.
const AGAIN: usize = 4;
/// The log lines that all attacks on one exporter may cause.
const LOG_LIMIT_LINES: usize = 200;
/// Connections in the front end's pool to the server behind it, each with three descriptors and one thread there.
const KEPT: usize = 8;
/// Threads that `tiny_http` keeps for future connections.
const SPARE_THREADS: usize = 4;
/// Descriptors that are just being opened or closed.
const SPARE_DESCRIPTORS: usize = 8;
/// The segment size of a client that never reads: about an Ethernet frame (RFC 879 has 536 as the minimum).
const SMALL_SEGMENT_BYTES: u32 = 1400;
/// The default of `--web.max-connections`.
const DEFAULT_PLACES: usize = 256;
/// Enough for checks that do not depend on the limit; they take less of the machine.
const FEW_PLACES: usize = 64;

/// The exporter under attack, and how a client reaches it.
struct Ground {
    exporter: Exporter,
    target: Target,
    /// The folder with the exporter's certificate.
    _pki: Option<Pki>,
    before: Footprint,
}

/// The resources that an attack must not change.
#[derive(Clone, Copy, Debug)]
struct Footprint {
    connection_threads: usize,
    worker_threads: usize,
    other_threads: usize,
    descriptors: usize,
    resident_bytes: u64,
}

impl Footprint {
    fn of(pid: u32) -> Self {
        let mut footprint = Self {
            connection_threads: 0,
            worker_threads: 0,
            other_threads: 0,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count(),
            resident_bytes: resident_bytes(pid),
        };
        for thread in fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
            // A thread that has ended in the meantime has no name.
            match fs::read_to_string(thread.path().join("comm"))
                .unwrap_or_default()
                .trim()
            {
                "connection" => footprint.connection_threads += 1,
                "worker" => footprint.worker_threads += 1,
                _ => footprint.other_threads += 1,
            }
        }
        footprint
    }
}

fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    kib * 1024
}

/// The users of each exporter with TLS, all with the password `secret`. Only the first one's password is in the
/// credential cache.
const USERS: [&str; 3] = ["alice", "bert", "carla"];

fn basic(user: &str, password: &str) -> String {
    let text = format!("{user}:{password}");
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(text)
    )
}

/// A request that ends its connection.
fn asking(credentials: &str) -> Vec<u8> {
    format!("GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: {credentials}\r\n\r\n").into_bytes()
}

/// The flag for this number of connections, then `flags`.
fn with_places(places: usize, flags: &[&str]) -> Vec<String> {
    let places = format!("--web.max-connections={places}");
    let others = flags.iter().map(|flag| (*flag).to_owned());
    std::iter::once(places).chain(others).collect()
}

impl Ground {
    /// Plain HTTP without users.
    fn plain(places: usize, flags: &[&str]) -> Self {
        let exporter = Exporter::start(&with_places(places, flags));
        Self::new(exporter, places, None, None, None)
    }

    /// One exporter of each kind, with these flags.
    fn both(places: usize, flags: &[&str]) -> [Self; 2] {
        [Self::plain(places, flags), Self::with_tls(4, places, flags)]
    }

    /// TLS, and users whose password hashes have this cost.
    fn with_tls(cost: u32, places: usize, flags: &[&str]) -> Self {
        Self::with_tls_started(cost, places, |web| {
            Exporter::start(&with_places(places, &[flags, &[web]].concat()))
        })
    }

    fn with_tls_started(cost: u32, places: usize, start: impl FnOnce(&str) -> Exporter) -> Self {
        let pki = Pki::new();
        let hash = bcrypt::hash_with_salt("secret", cost, [7; 16]).unwrap();
        let users = USERS.map(|user| format!("  {user}: {hash}\n")).concat();
        let web = pki.web(&format!("{SERVER}basic_auth_users:\n{users}"));
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(pki.path("ca.pem")).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let credentials = Some(basic(USERS[0], "secret"));
        Self::new(
            start(&web),
            places,
            Some(Arc::new(config)),
            credentials,
            Some(pki),
        )
    }

    fn new(
        exporter: Exporter,
        places: usize,
        tls: Option<Arc<ClientConfig>>,
        credentials: Option<String>,
        pki: Option<Pki>,
    ) -> Self {
        let target = Target {
            address: (Ipv4Addr::LOCALHOST, exporter.port()).into(),
            tls,
            credentials,
            places,
        };
        // The resources that the first request takes do not count for an attack.
        target.health();
        let before = Footprint::of(exporter.pid());
        Self {
            exporter,
            target,
            _pki: pki,
            before,
        }
    }

    fn pid(&self) -> u32 {
        self.exporter.pid()
    }

    /// The number of connections that the exporter serves.
    fn connections(&self) -> usize {
        Footprint::of(self.pid()).connection_threads
    }

    /// A TCP connection from another address of this machine to the same exporter.
    fn socket_from(&self, address: Ipv4Addr) -> TcpStream {
        let socket = rustix::net::socket_with(
            AddressFamily::INET,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        rustix::net::bind(&socket, &SocketAddr::from((address, 0))).unwrap();
        rustix::net::connect(&socket, &self.target.address).unwrap();
        TcpStream::from(socket)
    }

    /// A connection with many requests whose first response has begun to arrive, and whose client then reads nothing.
    /// Its buffer and its segments are small. Otherwise the exporter would have to write hundreds of responses until
    /// the buffers are full: its own buffer holds some twenty segments, each of 64 KiB over loopback. On a busy machine
    /// that took longer than 30 s, after which the exporter closes a connection whose client does not read.
    fn never_reading(&self, bytes: &[u8]) -> std::io::Result<Line> {
        let socket = rustix::net::socket_with(
            AddressFamily::INET,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        set_socket_recv_buffer_size(&socket, 8 * 1024).unwrap();
        socket2::SockRef::from(&socket)
            .set_tcp_mss(SMALL_SEGMENT_BYTES)
            .unwrap();
        rustix::net::connect(&socket, &self.target.address)?;
        let mut line = self.target.line_over(TcpStream::from(socket))?;
        line.socket().set_nonblocking(true)?;
        let _ = line.write_all(bytes);
        line.socket().set_nonblocking(false)?;
        line.socket().set_read_timeout(Some(PATIENCE))?;
        line.socket().peek(&mut [0])?;
        Ok(line)
    }

    /// The number of connections on which the exporter has data to send to a client whose buffer is full. The kernel
    /// runs a timer for each of them, by which it asks for room again (proc(5), `/proc/net/tcp`).
    fn held_up(&self) -> usize {
        const ESTABLISHED: &str = "01";
        const ZERO_WINDOW_PROBE: &str = "04";
        let own = format!(":{:04X}", self.exporter.port());
        let table = fs::read_to_string(format!("/proc/{}/net/tcp", self.pid())).unwrap();
        let is_held_up = |line: &&str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            fields[1].ends_with(&own)
                && fields[3] == ESTABLISHED
                && fields[5].starts_with(ZERO_WINDOW_PROBE)
        };
        table.lines().filter(is_held_up).count()
    }

    /// Whether the exporter waits for this number of clients that do not read, each of which has data to be sent, and
    /// for nothing else.
    fn is_held_up_by(&self, clients: usize) -> bool {
        self.held_up() == clients && is_asleep(self.pid()) && self.held_up() == clients
    }

    fn page(&self, path: &str) -> Reply {
        parse_reply(self.target.page(path).text.as_bytes()).unwrap()
    }

    /// Waits until the exporter uses no more than before. Workers and the server's own threads wait some seconds for
    /// the next request, so right after an attack only their limit is checked.
    fn assert_as_before(&self, attack: &str) {
        wait_for(&format!("{attack}: the connections to be gone"), || {
            let now = Footprint::of(self.pid());
            now.connection_threads == 0
                && now.worker_threads <= 16
                && now.descriptors <= self.before.descriptors + 3 * KEPT + SPARE_DESCRIPTORS
                // At its start the exporter runs iperf3 to ask for its version.
                && children(self.pid()).is_empty()
        });
        let now = Footprint::of(self.pid());
        assert!(
            now.resident_bytes <= self.before.resident_bytes + GROWTH_LIMIT_BYTES,
            "{attack}: {:?} {now:?}",
            self.before
        );
    }

    /// The threads that waited some seconds for more work are gone as well; one worker always waits.
    fn assert_at_rest(&self) {
        wait_for("the threads to be gone", || {
            let now = Footprint::of(self.pid());
            now.worker_threads <= 1
                && now.other_threads <= self.before.other_threads + KEPT + SPARE_THREADS
        });
    }

    /// No attack had a lasting effect.
    fn assert_unharmed(&self) {
        let log = self.exporter.log();
        assert!(!log.contains("panicked"), "{log}");
        assert!(
            log.lines().count() <= LOG_LIMIT_LINES,
            "{} lines",
            log.lines().count()
        );
        let metrics = self.page("/metrics");
        for (sample, value) in [
            ("iperf3_exporter_panics_total", 0.0),
            ("iperf3_exporter_connections", 1.0),
            ("iperf3_exporter_requests_in_work", 1.0),
            // No smuggled request started a test.
            ("iperf3_exporter_duration_seconds_count", 0.0),
        ] {
            assert_eq!(metrics.sample(sample), Some(value), "{sample}");
        }
    }
}

/// Runs an attack: `/health` answers during it, and afterwards all is as before.
fn withstand(ground: &Ground, name: &str, attack: impl FnOnce(&Siege<'_>) + Send) {
    withstand_once(ground, name, attack, || true);
}

/// Like [`withstand`]; the attack also counts as active only once a condition holds.
fn withstand_once(
    ground: &Ground,
    name: &str,
    attack: impl FnOnce(&Siege<'_>) + Send,
    is_in_force: impl Fn() -> bool,
) {
    under(&ground.target, attack, |siege| {
        for _ in 0..HEALTH_ASKED {
            wait_for(&format!("{name} to be in force"), &is_in_force);
            siege.ask(|| ground.target.health());
        }
    });
    ground.assert_as_before(name);
}

fn withstand_one(ground: &Ground, attack: &Attack) {
    withstand_once(ground, attack.name, attack.run, || {
        !attack.takes_all || ground.connections() >= ground.target.places
    });
}

fn withstand_all(ground: &Ground, port: On) {
    let alone = machine_alone();
    for attack in Attack::on(port) {
        withstand_one(ground, attack);
    }
    // Memory of the first round is reused; a second round must not take as much again.
    let before = resident_bytes(ground.pid());
    for attack in Attack::on(port).take(AGAIN) {
        withstand_one(ground, attack);
    }
    let after = resident_bytes(ground.pid());
    assert!(
        after <= before + SECOND_GROWTH_LIMIT_BYTES,
        "{before} {after}"
    );
    // From here on the test only waits.
    drop(alone);
    ground.assert_at_rest();
    ground.assert_unharmed();
}

#[test]
fn health_answers_during_every_attack_on_a_plain_port() {
    withstand_all(&Ground::plain(FEW_PLACES, &[]), On::Plain);
}

#[test]
fn health_answers_during_every_attack_on_a_port_with_tls_and_users() {
    withstand_all(&Ground::with_tls(4, FEW_PLACES, &[]), On::Tls);
}

#[test]
#[ignore = "make test-all: the default number of connections"]
fn health_answers_during_every_attack_on_the_default_number_of_connections() {
    withstand_all(&Ground::plain(DEFAULT_PLACES, &[]), On::Plain);
    withstand_all(&Ground::with_tls(4, DEFAULT_PLACES, &[]), On::Tls);
}

#[test]
fn clients_that_never_read_make_room() {
    const PLACES: usize = 4;
    let _alone = machine_alone();
    for ground in Ground::both(PLACES, &[]) {
        for page in ["/metrics", "/"] {
            // More responses than the buffers of two sockets hold.
            let many = ground.target.get(page, "").repeat(1000);
            withstand_once(
                &ground,
                &format!("clients that never read {page}"),
                |siege| never_read(siege, &ground, &many),
                || ground.is_held_up_by(PLACES),
            );
        }
        ground.assert_unharmed();
    }
}

/// Takes every connection with clients that never read; a client whose connection was closed to make room connects
/// again.
fn never_read(siege: &Siege<'_>, ground: &Ground, many: &[u8]) {
    let mut held = Vec::new();
    siege.in_force();
    while siege.goes_on() {
        if ground.connections() < siege.target.places && siege.may_reconnect() {
            held.push(ground.never_reading(many));
            siege.did();
        }
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_flood_of_wrong_passwords_blocks_neither_access_nor_the_processor() {
    let _alone = machine_alone();
    let ground = Ground::with_tls(8, FEW_PLACES, &[]);
    let number = AtomicUsize::new(0);
    for (attack, users, unseen) in [
        ("distinct passwords", false, USERS[1]),
        ("distinct users", true, USERS[2]),
    ] {
        let verdict = AtomicUsize::new(0);
        withstand(&ground, attack, |siege| {
            siege.flood(24, || {
                // A user from another address who is not in the cache waits for a few of the others and is admitted.
                if verdict.swap(1, Ordering::Relaxed) == 0 {
                    let line = ground
                        .target
                        .line_over(ground.socket_from(Ipv4Addr::new(127, 0, 0, 2)))
                        .unwrap();
                    let reply = line.ask(&asking(&basic(unseen, "secret")));
                    assert_eq!(reply.expect("an answer").code, 200, "{unseen}");
                }
                let number = number.fetch_add(1, Ordering::Relaxed);
                let credentials = if users {
                    basic(&format!("user{number}"), "secret")
                } else {
                    basic(USERS[0], &format!("secret{number}"))
                };
                let Ok(line) = ground.target.line() else {
                    return;
                };
                let reply = line.ask(&asking(&credentials));
                let code = reply.expect("an answer").code;
                assert!(code == 401 || code == 503, "{code}");
            });
        });
    }
    ground.assert_unharmed();
}

#[test]
fn tls_connections_opened_at_the_same_time_are_all_answered() {
    let _alone = machine_alone();
    let ground = Ground::with_tls(4, DEFAULT_PLACES, &[]);
    for burst in [8, 32, 128] {
        let mut lines: Vec<Line> = thread::scope(|scope| {
            let opening: Vec<_> = (0..8)
                .map(|_| {
                    let open = || {
                        (0..burst / 8)
                            .map(|_| ground.target.line().unwrap())
                            .collect::<Vec<_>>()
                    };
                    scope.spawn(open)
                })
                .collect();
            opening
                .into_iter()
                .flat_map(|opened| opened.join().unwrap())
                .collect()
        });
        let request = ground.target.get("/health", "");
        for line in &mut lines {
            line.write_all(&request).unwrap();
        }
        // Each connection stays open while the others wait: a response that needs another connection to end would never
        // come.
        for line in &mut lines {
            let mut start = [0; 15];
            line.read_exact(&mut start).unwrap();
            assert_eq!(&start, b"HTTP/1.1 200 OK", "burst of {burst}");
        }
        drop(lines);
        ground.assert_as_before("a burst");
    }
}

#[test]
fn few_descriptors_are_enough_for_tls_too() {
    /// Of 64 descriptors the exporter reserves 33, and a connection needs four.
    const PLACES: usize = 7;
    let ground = Ground::with_tls_started(4, PLACES, |web| {
        let mut command = Command::new("/bin/sh");
        command.args([
            "-c",
            "ulimit -n 64; exec \"$0\" \"$@\"",
            env!("CARGO_BIN_EXE_iperf3-exporter"),
        ]);
        command.args(["--web.listen-address=127.0.0.1:0", web]);
        Exporter::spawn(command)
    });
    for name in ["silent connections", "handshakes without a request"] {
        let attack = Attack::on(On::Tls).find(|attack| attack.name == name);
        withstand_one(&ground, attack.unwrap());
    }
    ground.assert_unharmed();
}

/// Input that some parser could read as two requests, the second of which would start a test, and the code of the only
/// response.
const SMUGGLED: &[(&str, u16)] = &[
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
        413,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n1\r\nG\r\n0\r\n\r\n",
        413,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n",
        413,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
        413,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\ntRANSFER-eNCODING:\tchunked\r\n\r\n",
        413,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n",
        400,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\u{b}: chunked\r\n\r\n",
        400,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\n\u{a0}Transfer-Encoding: chunked\r\n\r\n",
        400,
    ),
    ("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 413),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 60\r\n\r\n",
        413,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x10\r\n\r\n",
        400,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1e1\r\n\r\n",
        400,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
        413,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n 60\r\n\r\n",
        400,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tTransfer-Encoding: chunked\r\n\r\n",
        400,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\nTransfer-Encoding: chunked\r\n\r\n",
        400,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\rTransfer-Encoding: chunked\r\n\r\n",
        400,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\0Transfer-Encoding: chunked\r\n\r\n",
        400,
    ),
    ("GET / HTTP/1.1\r\nHost: a\r\nX\0: a\r\n\r\n", 400),
    (
        "GET / HTTP/1.1\r\nHost: a\n\nGET /probe?target=a HTTP/1.1\r\nHost: a\r\n\r\n",
        400,
    ),
    ("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", 505),
    ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /\rHost: a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /\u{b}HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (
        "GET / HTTP/1.1 GET /probe?target=a HTTP/1.1\r\nHost: a\r\n\r\n",
        400,
    ),
    ("GET / HTTP/1.1\tX\r\nHost: a\r\n\r\n", 505),
    ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
    ("GET /\r\nHost: a\r\n\r\n", 400),
    ("GET / http/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n", 400),
];

/// Input that is one request only, despite its look.
const HARMLESS: &[(&str, u16)] = &[
    (
        "GET /ready HTTP/1.1\r\nHost: front-end\r\nx-request-key: 192.0.2.7:1\r\nX-Forwarded-For: 192.0.2.7\r\n",
        200,
    ),
    (
        "GET /ready HTTP/1.1\r\nHost: a\r\nConnection: x-prometheus-scrape-timeout-seconds\r\nExpect: 100-continue\r\n",
        200,
    ),
    (
        "GET /ready HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\nUpgrade: h2c\r\n",
        200,
    ),
    ("GET http://evil.example/ready HTTP/1.1\r\nHost: a\r\n", 200),
    ("GET http://evil.example HTTP/1.1\r\nHost: a\r\n", 200),
    ("GET //ready HTTP/1.1\r\nHost: a\r\n", 404),
    ("GET ready HTTP/1.1\r\nHost: a\r\n", 404),
    ("GET /%0d%0aX-Injected:%201 HTTP/1.1\r\nHost: a\r\n", 404),
    ("GET /ready%00 HTTP/1.1\r\nHost: a\r\n", 404),
    (
        "GET /metrics/../probe?target=a HTTP/1.1\r\nHost: a\r\n",
        404,
    ),
    ("GET /probe%3ftarget=a HTTP/1.1\r\nHost: a\r\n", 404),
    ("get /ready HTTP/1.1\r\nHost: a\r\n", 405),
    ("OPTIONS * HTTP/1.1\r\nHost: a\r\n", 404),
    ("CONNECT a.example:80 HTTP/1.1\r\nHost: a\r\n", 404),
    ("TRACE /ready HTTP/1.1\r\nHost: a\r\n", 405),
];

#[test]
fn no_request_can_smuggle_a_second_one() {
    let fake = Fake::new("touch \"$DIR/began\"\nexec false");
    for ground in Ground::both(FEW_PLACES, &[&fake.flag(), "--log.level=debug"]) {
        let credentials = ground.target.credentials.clone().unwrap_or_default();
        let authorized = |head: &str| {
            // Inserted after the request line, so that a missing user is not the reason for a refusal.
            head.replacen(
                "Host: a\r\n",
                &format!("Host: a\r\nAuthorization: {credentials}\r\n"),
                1,
            )
        };
        let behind = "GET /probe?target=127.0.0.1 HTTP/1.1\r\nHost: a\r\n\r\n";
        for (head, code) in SMUGGLED {
            let bytes = authorized(head) + &authorized(behind);
            let answer = ground
                .target
                .line()
                .unwrap()
                .ask(bytes.as_bytes())
                .unwrap_or_else(|| panic!("no answer to {head:?}"));
            let reply = parse_reply(answer.text.as_bytes()).unwrap();
            assert_eq!(reply.code, *code, "{head:?}: {}", reply.body);
            assert_eq!(reply.header("Connection"), Some("close"), "{head:?}");
            assert!(
                reply.body.lines().count() == 1 && !reply.body.contains("HTTP/1.1"),
                "{head:?}: {}",
                reply.body
            );
        }
        for (head, code) in HARMLESS {
            let mut line = ground.target.line().unwrap();
            let client = line.socket().local_addr().unwrap();
            let head = head.replace(
                "Host: a",
                &format!("Host: a\r\nAuthorization: {credentials}"),
            );
            let head = head.replace(
                "Host: front-end",
                &format!("Host: front-end\r\nAuthorization: {credentials}"),
            );
            line.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())
                .unwrap();
            let mut answer = Vec::new();
            line.read_to_end(&mut answer).unwrap();
            let answer = String::from_utf8(answer).unwrap();
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {code} ")),
                "{head:?}: {answer}"
            );
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{head:?}: {answer}");
            assert!(!answer.contains("X-Injected: 1"), "{head:?}: {answer}");
            // The client's real address, whatever the head says.
            ground
                .exporter
                .log_line(&format!("client={client} method="));
        }
        assert!(!fake.dir().join("began").exists());
        assert!(!ground.exporter.log().contains("192.0.2.7"));
        ground.assert_as_before("smuggled requests");
    }
}

#[test]
fn a_client_disconnect_ends_its_iperf3_before_the_next_probe_runs() {
    // Each fake writes its process ID, and checks whether the one before still runs.
    let fake = Fake::new(
        "if [ -e \"$DIR/last\" ] && kill -0 \"$(cat \"$DIR/last\")\" 2>/dev/null; then touch \"$DIR/two\"; fi\n\
         echo $$ >\"$DIR/last\"; cp \"$DIR/last\" \"$DIR/draft\"; mv \"$DIR/draft\" \"$DIR/$$.pid\"\nexec sleep 600",
    );
    let running = |seen: &[u32]| {
        let files = fs::read_dir(fake.dir()).unwrap().flatten();
        let mut pids = files.filter_map(|file| {
            let name = file.file_name().into_string().unwrap();
            name.strip_suffix(".pid")?.parse::<u32>().ok()
        });
        pids.find(|pid| !seen.contains(pid))
    };
    let flag = fake.flag();
    let mut seen = Vec::new();
    for ground in Ground::both(FEW_PLACES, &[&flag]) {
        let probe = || {
            let mut line = ground.target.line().unwrap();
            let request = ground.target.get("/probe?target=127.0.0.1", "");
            line.write_all(&request).unwrap();
            line
        };
        let lock = |state: &str| {
            wait_for(&format!("{state} of the lock"), || {
                ground.page("/lock-status").body.contains(state)
            });
        };
        let first = probe();
        wait_for("the first test to run", || running(&seen).is_some());
        seen.extend(running(&seen));
        let first_pid = *seen.last().unwrap();
        let second = probe();
        lock("\"queue_size\":1");
        drop(first);
        wait_for("the second test to run", || running(&seen).is_some());
        assert!(!is_alive(first_pid));
        seen.extend(running(&seen));
        let second_pid = *seen.last().unwrap();
        drop(second);
        wait_for("the second child to be gone", || !is_alive(second_pid));
        lock("\"is_locked\":false");
        assert!(children(ground.pid()).is_empty());
    }
    assert!(!fake.dir().join("two").exists());
}

#[test]
fn pipelined_requests_on_every_connection_do_not_keep_others_out() {
    const PLACES: usize = 8;
    let _alone = machine_alone();
    for ground in Ground::both(PLACES, &[]) {
        withstand_once(
            &ground,
            "requests sent ahead on every connection",
            |siege| {
                thread::scope(|scope| {
                    for _ in 0..2 * PLACES {
                        scope.spawn(|| {
                            while siege.goes_on() {
                                if siege.may_reconnect() {
                                    let _ = ground
                                        .target
                                        .line()
                                        .and_then(|line| send_ahead(siege, line));
                                }
                                thread::sleep(Duration::from_millis(1));
                            }
                        });
                    }
                });
            },
            || ground.connections() >= PLACES,
        );
        ground.assert_unharmed();
    }
}

/// Sends the next requests before the last ones are answered, until the attack is over or the connection ends: it was
/// closed to make room, or rejected.
fn send_ahead(siege: &Siege<'_>, line: Line) -> std::io::Result<()> {
    const AT_ONCE: usize = 50;
    let some = siege.target.get("/ready", "").repeat(AT_ONCE);
    let mut line = BufReader::new(line);
    line.get_mut().write_all(&some)?;
    while siege.goes_on() {
        line.get_mut().write_all(&some)?;
        let mut answered = 0;
        while answered < AT_ONCE {
            let mut text = String::new();
            if line.read_line(&mut text)? == 0 {
                return Ok(());
            }
            if text.starts_with("HTTP/1.1 200 ") {
                answered += 1;
                siege.did();
                siege.in_force();
            }
        }
    }
    Ok(())
}

#[test]
fn clients_that_never_read_do_not_delay_the_shutdown() {
    const CLIENTS: usize = 4;
    let mut ground = Ground::plain(FEW_PLACES, &[]);
    let many = ground.target.get("/metrics", "").repeat(1000);
    let held: Vec<Line> = (0..CLIENTS)
        .map(|_| ground.never_reading(&many).unwrap())
        .collect();
    wait_for("all clients to be blocked", || {
        ground.is_held_up_by(CLIENTS)
    });
    ground.exporter.signal("TERM");
    assert_eq!(ground.exporter.wait().code(), Some(0));
    drop(held);
}
