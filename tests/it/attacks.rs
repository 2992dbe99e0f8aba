//! Attacks: while each is in force a fresh `/health` is answered within a second, and nothing of it is left behind.
//!
//! An attack is a row of [`ATTACKS`], and [`withstand`] holds the condition for all of them. A machine that runs
//! other tests at the same time may take longer once or twice, so most of several answers have to be that fast, and
//! none may be missing. `ATTACKS_TOLD=1` with `--nocapture` prints what each one took.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::harness::{Exporter, Fake, Reply, children, is_alive, parse_reply, wait_for};
use crate::pki::{Pki, SERVER};
use crate::random::{Random, cases};

/// What the contract gives a fresh `/health` during an attack.
const HEALTH_LIMIT: Duration = Duration::from_secs(1);
/// How often it is asked; more than half of the answers have to be within the limit.
const HEALTH_ASKED: usize = 9;
/// Between two of them, so that the attack is seen at work for a while.
const HEALTH_PAUSE: Duration = Duration::from_millis(50);
/// How long an attacker waits before the next one of its connections is made anew.
const AT_ONCE: Duration = Duration::from_millis(1);
/// None may take longer, however busy the machine is.
const HEALTH_WORST: Duration = Duration::from_secs(20);
/// What all attacks on one exporter together may add to its memory: most of it are the allocator's arenas, and stacks
/// of threads that were there at one moment.
const GROWTH_LIMIT_BYTES: u64 = 32 * 1024 * 1024;
/// What some of them may add when they come again.
const SECOND_GROWTH_LIMIT_BYTES: u64 = 4 * 1024 * 1024;
/// How many come again: the first ones of the table, which hold the most connections.
const AGAIN: usize = 4;
/// Lines of log that all attacks on one exporter may cause.
const LOG_LIMIT_LINES: usize = 200;
/// Connections that the gate keeps to the server behind it, each with three descriptors and one thread there.
const KEPT: usize = 8;
/// Threads that `tiny_http` keeps for connections to come.
const SPARE_THREADS: usize = 4;
/// Descriptors of what is just being opened or closed.
const SPARE_DESCRIPTORS: usize = 8;

/// The exporter under attack, and how a client reaches it.
struct Ground {
    exporter: Exporter,
    tls: Option<Tls>,
    /// The `Authorization` of a user who may come in.
    credentials: Option<String>,
    before: Footprint,
}

struct Tls {
    /// The folder that the exporter reads its certificate from.
    _pki: Pki,
    config: Arc<ClientConfig>,
}

/// What an attack must not change.
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
            // One that ends meanwhile has no name any more.
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

/// A client's connection, with TLS where the exporter wants it.
enum Line {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

impl Line {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
    }

    /// Sends bytes and reads to the end, which may be a reset; none when no answer came.
    fn ask(mut self, bytes: &[u8]) -> Option<Reply> {
        // An exporter that has seen enough of it answers before it has all.
        let _ = self.write_all(bytes);
        self.answer()
    }

    fn answer(&mut self) -> Option<Reply> {
        let mut answer = Vec::new();
        let _ = self.read_to_end(&mut answer);
        parse_reply(&answer)
    }
}

/// Users of all grounds with TLS: hashes of `secret`. Only the first one's verdict is known to the exporter.
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

impl Ground {
    /// Plain HTTP for everybody.
    fn plain(flags: &[&str]) -> Self {
        Self::new(Exporter::start(flags), None, None)
    }

    /// Both grounds that there are, with these flags.
    fn both(flags: &[&str]) -> [Self; 2] {
        [Self::plain(flags), Self::with_tls(4, flags)]
    }

    /// TLS, and users whose passwords have hashes of this cost.
    fn with_tls(cost: u32, flags: &[&str]) -> Self {
        Self::with_tls_started(cost, |web| Exporter::start(&[flags, &[web]].concat()))
    }

    fn with_tls_started(cost: u32, start: impl FnOnce(&str) -> Exporter) -> Self {
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
        let exporter = start(&web);
        let tls = Tls {
            _pki: pki,
            config: Arc::new(config),
        };
        Self::new(exporter, Some(tls), Some(basic(USERS[0], "secret")))
    }

    fn new(exporter: Exporter, tls: Option<Tls>, credentials: Option<String>) -> Self {
        let before = Footprint::of(exporter.pid());
        let mut ground = Self {
            exporter,
            tls,
            credentials,
            before,
        };
        // What the first request of all needs is none of an attack's.
        ground.health();
        ground.before = Footprint::of(ground.exporter.pid());
        ground
    }

    fn pid(&self) -> u32 {
        self.exporter.pid()
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.exporter.port()).into()
    }

    /// A TCP connection that says nothing.
    fn socket(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address()).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        socket
            .set_write_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        socket.set_nodelay(true).unwrap();
        socket
    }

    /// A TCP connection from another address of this machine, to whom the exporter is the same.
    fn socket_from(&self, address: Ipv4Addr) -> TcpStream {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddr::from((address, 0))).unwrap();
        connect(&socket, &self.address()).unwrap();
        TcpStream::from(socket)
    }

    /// A connection on which a request can be sent.
    fn line(&self) -> io::Result<Line> {
        self.line_over(self.socket())
    }

    fn line_over(&self, mut socket: TcpStream) -> io::Result<Line> {
        let Some(tls) = &self.tls else {
            return Ok(Line::Plain(socket));
        };
        let name = ServerName::from(self.address().ip());
        let mut client = ClientConnection::new(Arc::clone(&tls.config), name).unwrap();
        while client.is_handshaking() {
            client.complete_io(&mut socket)?;
        }
        Ok(Line::Tls(Box::new(StreamOwned::new(client, socket))))
    }

    /// A GET, complete, with further header lines.
    fn get(&self, path: &str, more: &str) -> Vec<u8> {
        let authorization = self
            .credentials
            .as_ref()
            .map(|it| format!("Authorization: {it}\r\n"));
        let authorization = authorization.unwrap_or_default();
        format!("GET {path} HTTP/1.1\r\nHost: a\r\n{authorization}{more}\r\n").into_bytes()
    }

    /// Asks on a connection of its own, which ends with the answer.
    fn page(&self, path: &str) -> Reply {
        let mut line = self.line().unwrap();
        line.write_all(&self.get(path, "Connection: close\r\n"))
            .unwrap();
        let mut answer = Vec::new();
        // With TLS an end that is not announced is an error: the answer could have been cut.
        line.read_to_end(&mut answer).unwrap();
        parse_reply(&answer).unwrap_or_else(|| panic!("no answer to {path}"))
    }

    /// What a fresh `/health` takes, connection and handshake included; it is answered.
    fn health(&self) -> Duration {
        let begun = Instant::now();
        let reply = self.page("/health");
        assert_eq!((reply.code, reply.body.as_str()), (200, "OK\n"));
        begun.elapsed()
    }

    /// Waits until the exporter has no more than it had before. Workers and the server's own threads wait for the
    /// next request for some seconds: all that is known of them right after an attack is their limit.
    fn assert_as_before(&self, attack: &str) {
        wait_for(&format!("{attack}: the connections to be gone"), || {
            let now = Footprint::of(self.pid());
            now.connection_threads == 0
                && now.worker_threads <= 16
                && now.descriptors <= self.before.descriptors + 3 * KEPT + SPARE_DESCRIPTORS
        });
        assert!(children(self.pid()).is_empty(), "{attack}");
        let now = Footprint::of(self.pid());
        assert!(
            now.resident_bytes <= self.before.resident_bytes + GROWTH_LIMIT_BYTES,
            "{attack}: {:?} {now:?}",
            self.before
        );
    }

    /// The threads that waited for more, some seconds long, are gone as well.
    fn assert_at_rest(&self) {
        wait_for("the threads to be gone", || {
            let now = Footprint::of(self.pid());
            now.worker_threads == 0
                && now.other_threads <= self.before.other_threads + KEPT + SPARE_THREADS
        });
    }

    /// No attack had an effect that lasts.
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
            // Whatever was smuggled, it started no test.
            ("iperf3_exporter_duration_seconds_count", 0.0),
        ] {
            assert_eq!(metrics.sample(sample), Some(value), "{sample}");
        }
    }
}

/// An attack under way.
struct Siege<'a> {
    ground: &'a Ground,
    is_in_force: AtomicBool,
    is_over: AtomicBool,
}

impl Siege<'_> {
    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    /// All that the attack needs is in place: from now on it counts.
    fn in_force(&self) {
        self.is_in_force.store(true, Ordering::Relaxed);
    }

    /// Holds as many connections open as that; those who had to make room come again.
    fn keep<T>(&self, count: usize, pause: Duration, open: impl Fn() -> io::Result<T>) {
        let mut held: VecDeque<io::Result<T>> = (0..count).map(|_| open()).collect();
        self.in_force();
        while self.goes_on() {
            held.pop_front();
            held.push_back(open());
            thread::sleep(pause);
        }
    }

    /// The same thing over and over, by so many at a time.
    fn flood(&self, attackers: usize, once: impl Fn() + Sync) {
        let begun = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..attackers {
                scope.spawn(|| {
                    while self.goes_on() {
                        once();
                        if begun.fetch_add(1, Ordering::Relaxed) >= attackers {
                            self.in_force();
                        }
                    }
                });
            }
        });
    }
}

/// Runs an attack: `/health` answers during it, and all is as before after it.
fn withstand(ground: &Ground, name: &str, attack: impl FnOnce(&Siege<'_>) + Send) {
    let siege = Siege {
        ground,
        is_in_force: AtomicBool::new(false),
        is_over: AtomicBool::new(false),
    };
    let begun = Instant::now();
    let mut took: Vec<Duration> = Vec::new();
    thread::scope(|scope| {
        let attacker = scope.spawn(|| attack(&siege));
        wait_for(&format!("{name} to be in force"), || {
            siege.is_in_force.load(Ordering::Relaxed) || attacker.is_finished()
        });
        let ends = EndsIt(&siege);
        for _ in 0..HEALTH_ASKED {
            took.push(ground.health());
            thread::sleep(HEALTH_PAUSE);
        }
        drop(ends);
    });
    took.sort_unstable();
    assert!(
        took[HEALTH_ASKED / 2] < HEALTH_LIMIT && took[HEALTH_ASKED - 1] < HEALTH_WORST,
        "{name}: {took:?}"
    );
    if std::env::var_os("ATTACKS_TOLD").is_some() {
        eprintln!(
            "{name}: after {:?}: {took:?} {:?}",
            begun.elapsed(),
            Footprint::of(ground.pid())
        );
    }
    ground.assert_as_before(name);
}

/// Ends the attack whatever happens, or a failure would hang.
struct EndsIt<'a>(&'a Siege<'a>);

impl Drop for EndsIt<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

/// Which ports an attack is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    Plain,
    Tls,
    Both,
}

struct Attack {
    name: &'static str,
    on: On,
    run: fn(&Siege<'_>),
}

/// A client's first message (`ClientHello`) in its record.
fn hello(ground: &Ground) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let any = || {
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        Arc::new(config)
    };
    let config = ground
        .tls
        .as_ref()
        .map_or_else(any, |tls| Arc::clone(&tls.config));
    let mut client = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// Opens a connection and sends something there and then.
fn sending(siege: &Siege<'_>, bytes: &[u8]) -> io::Result<Line> {
    let mut line = siege.ground.line()?;
    line.write_all(bytes)?;
    Ok(line)
}

fn sending_below_tls(siege: &Siege<'_>, bytes: &[u8]) -> io::Result<TcpStream> {
    let mut socket = siege.ground.socket();
    socket.write_all(bytes)?;
    Ok(socket)
}

const ATTACKS: &[Attack] = &[
    Attack {
        name: "500 connections that say nothing",
        on: On::Both,
        run: |siege| siege.keep(500, AT_ONCE, || Ok(siege.ground.socket())),
    },
    Attack {
        name: "500 heads that stop half way",
        on: On::Plain,
        run: |siege| {
            siege.keep(500, AT_ONCE, || {
                sending(siege, b"GET /metrics HTTP/1.1\r\nHost:")
            });
        },
    },
    Attack {
        name: "300 handshakes with nothing behind them",
        on: On::Tls,
        run: |siege| siege.keep(300, AT_ONCE, || siege.ground.line()),
    },
    Attack {
        name: "300 heads through TLS that stop half way",
        on: On::Tls,
        run: |siege| {
            siege.keep(300, AT_ONCE, || {
                sending(siege, b"GET /metrics HTTP/1.1\r\nHost:")
            });
        },
    },
    Attack {
        name: "500 handshakes that stop after the first message",
        on: On::Tls,
        run: |siege| {
            let hello = hello(siege.ground);
            siege.keep(500, AT_ONCE, || sending_below_tls(siege, &hello));
        },
    },
    Attack {
        name: "500 first messages that stop half way",
        on: On::Tls,
        run: |siege| {
            let hello = hello(siege.ground);
            siege.keep(500, AT_ONCE, || {
                sending_below_tls(siege, &hello[..hello.len() / 2])
            });
        },
    },
    Attack {
        name: "heads that trickle",
        on: On::Both,
        run: |siege| {
            let begun = || sending(siege, b"GET /metrics HTTP/1.1\r\nHost: a\r\nX: ");
            trickle(siege, begun, |line, _| line.write_all(b"y"));
        },
    },
    Attack {
        name: "handshakes that trickle",
        on: On::Tls,
        run: |siege| {
            let hello = hello(siege.ground);
            let drip = |socket: &mut TcpStream, sent: usize| {
                socket.write_all(&hello[sent % hello.len()..][..1])
            };
            trickle(siege, || Ok(siege.ground.socket()), drip);
        },
    },
    Attack {
        name: "headers of 1 MB",
        on: On::Both,
        run: |siege| {
            let head = format!(
                "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
                "x".repeat(1_000_000)
            );
            flood_with(siege, 4, head.as_bytes(), Some(431));
        },
    },
    Attack {
        name: "10,000 headers",
        on: On::Both,
        run: |siege| {
            let head = format!(
                "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
                "A: b\r\n".repeat(10_000)
            );
            flood_with(siege, 4, head.as_bytes(), Some(431));
        },
    },
    Attack {
        name: "bodies with a length",
        on: On::Both,
        run: |siege| {
            let mut bytes =
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n".to_vec();
            bytes.resize(1_000_000, b'x');
            flood_with(siege, 4, &bytes, Some(413));
        },
    },
    Attack {
        name: "bodies in chunks",
        on: On::Both,
        run: |siege| {
            let mut bytes =
                b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            bytes.extend(b"5\r\nGET /\r\n".repeat(50_000));
            flood_with(siege, 4, &bytes, Some(413));
        },
    },
    Attack {
        name: "an HTTP/2 preface",
        on: On::Both,
        run: |siege| {
            let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
            flood_with(siege, 4, preface, Some(505));
        },
    },
    Attack {
        name: "garbage",
        on: On::Both,
        run: |siege| {
            siege.flood(4, || {
                cases(1, |random| {
                    let bytes = garbage(random);
                    drop(siege.ground.line().map(|line| line.ask(&bytes)));
                });
            });
        },
    },
    Attack {
        name: "garbage instead of a handshake",
        on: On::Tls,
        run: |siege| {
            siege.flood(4, || {
                cases(1, |random| {
                    let mut bytes = hello(siege.ground);
                    random.mutate(&mut bytes);
                    bytes.extend(garbage(random));
                    let mut socket = siege.ground.socket();
                    let _ = socket.write_all(&bytes);
                    let _ = socket.shutdown(Shutdown::Write);
                    let _ = socket.read_to_end(&mut Vec::new());
                });
            });
        },
    },
    Attack {
        name: "plain HTTP on a port with TLS",
        on: On::Tls,
        run: |siege| {
            siege.flood(4, || {
                let line = Line::Plain(siege.ground.socket());
                let reply = line
                    .ask(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
                    .expect("an answer");
                assert_eq!(reply.code, 400);
            });
        },
    },
    Attack {
        name: "TLS on a port without it",
        on: On::Plain,
        run: |siege| flood_with(siege, 4, &hello(siege.ground), Some(400)),
    },
    Attack {
        name: "5,000 quick connections",
        on: On::Both,
        run: |siege| {
            let count = AtomicUsize::new(0);
            siege.flood(4, || {
                drop(siege.ground.socket());
                count.fetch_add(1, Ordering::Relaxed);
            });
            // In case they were too few by the time the attack was over.
            while count.fetch_add(1, Ordering::Relaxed) < 5000 {
                drop(siege.ground.socket());
            }
        },
    },
    Attack {
        name: "requests sent ahead",
        on: On::Both,
        run: |siege| {
            let mut many = siege.ground.get("/ready", "").repeat(200);
            many.extend(siege.ground.get("/ready", "Connection: close\r\n"));
            siege.flood(8, || {
                let mut line = siege.ground.line().unwrap();
                line.write_all(&many).unwrap();
                let mut answers = Vec::new();
                line.read_to_end(&mut answers).unwrap();
                let answers = String::from_utf8(answers).unwrap();
                assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), 201);
            });
        },
    },
    Attack {
        name: "changes of keys",
        on: On::Tls,
        run: |siege| {
            siege.flood(4, || {
                let Ok(Line::Tls(mut stream)) = siege.ground.line() else {
                    return;
                };
                // Until it is refused, or all have been taken.
                for number in 0..2000 {
                    let _ = stream.conn.refresh_traffic_keys();
                    let is_sent = stream.conn.complete_io(&mut stream.sock).is_ok();
                    if !is_sent || (number % 8 == 0 && stream.write_all(b"G").is_err()) {
                        break;
                    }
                }
            });
        },
    },
    Attack {
        name: "handshakes over and over on one connection",
        on: On::Tls,
        run: |siege| siege.flood(2, || renegotiate(siege.ground)),
    },
];

/// Bytes as they come, of which some look like a request's.
fn garbage(random: &mut Random) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..random.within(1..4000)).map(|_| random.byte()).collect();
    if random.once_in(2) {
        bytes.splice(0..0, *b"GET / HTTP/1.1\r\n");
    }
    // So that nothing waits for more.
    bytes.extend(b"\r\n\r\n");
    bytes
}

/// Sends the same over and over; each answer has this code, where one comes.
fn flood_with(siege: &Siege<'_>, attackers: usize, bytes: &[u8], code: Option<u16>) {
    let answered = AtomicUsize::new(0);
    siege.flood(attackers, || {
        // Under load a handshake may be given up for lack of a place.
        let Ok(line) = siege.ground.line() else {
            return;
        };
        // A reset may overtake the answer to what was not read to its end.
        if let Some(reply) = line.ask(bytes) {
            assert_eq!(Some(reply.code), code, "{}", reply.body);
            answered.fetch_add(1, Ordering::Relaxed);
        }
    });
    assert!(answered.load(Ordering::Relaxed) > 0, "no answer ever came");
}

/// 64 connections, on each of which a byte comes now and then.
fn trickle<T>(
    siege: &Siege<'_>,
    open: impl Fn() -> io::Result<T>,
    drip: impl Fn(&mut T, usize) -> io::Result<()>,
) {
    let mut held: Vec<(io::Result<T>, usize)> = (0..64).map(|_| (open(), 0)).collect();
    siege.in_force();
    while siege.goes_on() {
        for (line, sent) in &mut held {
            let result = line
                .as_mut()
                .map_or(Err(ErrorKind::NotConnected.into()), |line| {
                    drip(line, *sent)
                });
            *sent += 1;
            if result.is_err() {
                *line = open();
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// `openssl s_client` asks for a new handshake at each line `R`: TLS 1.2 has that, and rustls does not.
fn renegotiate(ground: &Ground) {
    let child = Command::new("openssl")
        .args([
            "s_client",
            "-tls1_2",
            "-legacy_renegotiation",
            "-connect",
            &ground.address().to_string(),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.expect("openssl is needed: make test installs it");
    let _ = child.stdin.take().unwrap().write_all(&b"R\n".repeat(100));
    let end = Instant::now() + Duration::from_secs(5);
    while child.try_wait().unwrap().is_none() && Instant::now() < end {
        thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn withstand_all(ground: &Ground, port: On) {
    for attack in ATTACKS
        .iter()
        .filter(|attack| attack.on == port || attack.on == On::Both)
    {
        withstand(ground, attack.name, attack.run);
    }
    // What the first round took is kept for the next one; a second round must not take as much again.
    let before = resident_bytes(ground.pid());
    for attack in ATTACKS
        .iter()
        .filter(|attack| attack.on == port || attack.on == On::Both)
        .take(AGAIN)
    {
        withstand(ground, attack.name, attack.run);
    }
    let after = resident_bytes(ground.pid());
    assert!(
        after <= before + SECOND_GROWTH_LIMIT_BYTES,
        "{before} {after}"
    );
    ground.assert_at_rest();
    ground.assert_unharmed();
}

#[test]
fn health_answers_during_every_attack_on_a_plain_port() {
    withstand_all(&Ground::plain(&[]), On::Plain);
}

#[test]
fn health_answers_during_every_attack_on_a_port_with_tls_and_users() {
    withstand_all(&Ground::with_tls(4, &[]), On::Tls);
}

#[test]
fn clients_that_never_read_make_room() {
    for ground in Ground::both(&["--web.max-connections=24"]) {
        for page in ["/metrics", "/"] {
            // More answers than the buffers of two sockets hold.
            let many = ground.get(page, "").repeat(1000);
            let open = || {
                let mut line = ground.line()?;
                line.socket().set_nonblocking(true)?;
                let _ = line.write_all(&many);
                Ok(line)
            };
            withstand(
                &ground,
                &format!("clients that never read {page}"),
                |siege| {
                    let held: Vec<_> = (0..64).map(|_| open()).collect();
                    wait_for("the buffers to be full", || is_at_a_standstill(&ground));
                    siege.keep(8, Duration::from_millis(20), open);
                    drop(held);
                },
            );
        }
        ground.assert_unharmed();
    }
}

/// Whether the exporter has nothing to do: its time on the processor does not grow.
fn is_at_a_standstill(ground: &Ground) -> bool {
    let ticks = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", ground.pid())).unwrap();
        let fields: Vec<i64> = stat
            .rsplit_once(") ")
            .unwrap()
            .1
            .split(' ')
            .filter_map(|it| it.parse().ok())
            .collect();
        // utime and stime, proc(5): the state, which is no number, is left out.
        fields[10] + fields[11]
    };
    let before = ticks();
    thread::sleep(Duration::from_millis(200));
    ticks() <= before + 1
}

#[test]
fn a_flood_of_wrong_passwords_takes_neither_the_door_nor_the_processor() {
    let ground = Ground::with_tls(8, &[]);
    let number = AtomicUsize::new(0);
    for (attack, users, unseen) in [
        ("distinct passwords", false, USERS[1]),
        ("distinct users", true, USERS[2]),
    ] {
        let verdict = AtomicUsize::new(0);
        withstand(&ground, attack, |siege| {
            siege.flood(24, || {
                // A user whose verdict is not known, from another address, waits for a few of the others, and gets in.
                if verdict.swap(1, Ordering::Relaxed) == 0 {
                    let line = ground
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
                let Ok(line) = ground.line() else {
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
fn connections_opened_at_one_moment_through_tls_are_all_answered() {
    let ground = Ground::with_tls(4, &[]);
    for burst in [8, 32, 128] {
        let mut lines: Vec<Line> = thread::scope(|scope| {
            let opening: Vec<_> = (0..8)
                .map(|_| {
                    let open = || {
                        (0..burst / 8)
                            .map(|_| ground.line().unwrap())
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
        let request = ground.get("/health", "");
        for line in &mut lines {
            line.write_all(&request).unwrap();
        }
        // Each is kept open while the others wait: an answer that needs another one's end never comes.
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
    let ground = Ground::with_tls_started(4, |web| {
        let mut command = Command::new("/bin/sh");
        command.args([
            "-c",
            "ulimit -n 64; exec \"$0\" \"$@\"",
            env!("CARGO_BIN_EXE_iperf3-exporter"),
        ]);
        command.args(["--web.listen-address=127.0.0.1:0", web]);
        Exporter::spawn(command)
    });
    let slowly = Duration::from_millis(20);
    withstand(&ground, "64 connections that say nothing", |siege| {
        siege.keep(64, slowly, || Ok(ground.socket()));
    });
    withstand(&ground, "64 handshakes with nothing behind them", |siege| {
        siege.keep(64, slowly, || ground.line());
    });
    ground.assert_unharmed();
}

/// What could be two requests to somebody, one of which would start a test, and the code of the one answer.
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

/// What is one request and no more, however it looks.
const HARMLESS: &[(&str, u16)] = &[
    (
        "GET /ready HTTP/1.1\r\nHost: gate\r\nx-visit: 192.0.2.7:1\r\nX-Forwarded-For: 192.0.2.7\r\n",
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
fn no_second_request_hides_in_one() {
    let fake = Fake::new("touch \"$DIR/began\"\nexec false");
    for ground in Ground::both(&[&fake.flag(), "--log.level=debug"]) {
        let credentials = ground.credentials.clone().unwrap_or_default();
        let authorized = |head: &str| {
            // Behind the request line, so that a refusal is not for want of a user.
            head.replacen(
                "Host: a\r\n",
                &format!("Host: a\r\nAuthorization: {credentials}\r\n"),
                1,
            )
        };
        let behind = "GET /probe?target=127.0.0.1 HTTP/1.1\r\nHost: a\r\n\r\n";
        for (head, code) in SMUGGLED {
            let bytes = authorized(head) + &authorized(behind);
            let reply = ground
                .line()
                .unwrap()
                .ask(bytes.as_bytes())
                .unwrap_or_else(|| panic!("no answer to {head:?}"));
            assert_eq!(reply.code, *code, "{head:?}: {}", reply.body);
            assert_eq!(reply.header("Connection"), Some("close"), "{head:?}");
            assert!(
                reply.body.lines().count() == 1 && !reply.body.contains("HTTP/1.1"),
                "{head:?}: {}",
                reply.body
            );
        }
        for (head, code) in HARMLESS {
            let mut line = ground.line().unwrap();
            let client = line.socket().local_addr().unwrap();
            let head = head.replace(
                "Host: a",
                &format!("Host: a\r\nAuthorization: {credentials}"),
            );
            let head = head.replace(
                "Host: gate",
                &format!("Host: gate\r\nAuthorization: {credentials}"),
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
            // The true client, whatever the head says.
            ground
                .exporter
                .log_line(&format!("client={client} method="));
        }
        assert!(!fake.dir().join("began").exists());
        assert!(!ground.exporter.log().contains("192.0.2.7"));
        ground.assert_as_before("smuggled requests");
    }
}

/// A client that goes away in the middle of a probe: the lock is free and the child gone within a second. Of three
/// tries one has to be that fast, as the machine may be busy.
#[test]
fn a_client_that_goes_away_frees_lock_and_child_within_a_second() {
    let fake = Fake::new("echo $$ >\"$DIR/draft\"; mv \"$DIR/draft\" \"$DIR/pid\"\nexec sleep 600");
    let flag = fake.flag();
    for ground in Ground::both(&[&flag]) {
        let mut took = Vec::new();
        for _ in 0..3 {
            let mut line = ground.line().unwrap();
            line.write_all(&ground.get("/probe?target=127.0.0.1", ""))
                .unwrap();
            wait_for("the test to run", || fake.dir().join("pid").exists());
            let pid = fs::read_to_string(fake.dir().join("pid"))
                .unwrap()
                .trim()
                .parse()
                .unwrap();
            fs::remove_file(fake.dir().join("pid")).unwrap();
            let begun = Instant::now();
            drop(line);
            wait_for("the child to be gone", || !is_alive(pid));
            wait_for("the lock to be free", || {
                ground
                    .page("/lock-status")
                    .body
                    .contains("\"is_locked\":false")
            });
            took.push(begun.elapsed());
        }
        assert!(
            took.iter().any(|took| *took < Duration::from_secs(1)),
            "{took:?}"
        );
        assert!(children(ground.pid()).is_empty());
    }
}

#[test]
fn requests_sent_ahead_on_more_connections_than_there_is_room_for_let_others_in() {
    for ground in Ground::both(&["--web.max-connections=16"]) {
        let many = ground.get("/ready", "").repeat(200);
        withstand(
            &ground,
            "requests sent ahead on every connection",
            |siege| {
                siege.flood(24, || {
                    // Ended with any answer, by an exporter that has no room.
                    let Ok(mut line) = ground.line() else {
                        return;
                    };
                    let _ = line.write_all(&many);
                    let _ = line.socket().shutdown(Shutdown::Write);
                    let _ = line.read_to_end(&mut Vec::new());
                });
            },
        );
        ground.assert_unharmed();
    }
}

#[test]
fn clients_that_never_read_do_not_hold_up_the_end() {
    let mut ground = Ground::plain(&[]);
    let many = ground.get("/metrics", "").repeat(1000);
    let held: Vec<Line> = (0..8)
        .map(|_| {
            let mut line = ground.line().unwrap();
            line.socket().set_nonblocking(true).unwrap();
            let _ = line.write_all(&many);
            line
        })
        .collect();
    wait_for("the buffers to be full", || is_at_a_standstill(&ground));
    ground.exporter.signal("TERM");
    let begun = Instant::now();
    assert_eq!(ground.exporter.wait().code(), Some(0));
    // Two seconds are promised, and as much again for a busy machine.
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    drop(held);
}
