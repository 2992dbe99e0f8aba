//! The attacks and their tools: plain and TLS connections, and a siege that knows whether it is still active.
//!
//! An attack is a row of [`ATTACKS`]. The bench also uses this file, to measure `/health` during an attack. So it must
//! not know which limits an attack must respect, nor how the exporter was started.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::random::{Random, cases};

/// The limit of every wait, so that a missing event fails a test instead of hanging it.
const PATIENCE: Duration = Duration::from_secs(180);
/// In this time, attackers that hold all connections replace each of them once.
const ALL_ANEW: Duration = Duration::from_millis(300);

/// The exporter's port, and how a client gets in.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// `None` for plain HTTP.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// The `Authorization` header of a valid user.
    pub(crate) credentials: Option<String>,
    /// The maximum number of connections.
    pub(crate) places: usize,
}

/// A client's connection, with TLS where the exporter wants it.
pub(crate) enum Line {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// A response as it arrived.
pub(crate) struct Answer {
    pub(crate) code: u16,
    /// Head and body.
    pub(crate) text: String,
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
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
    }

    /// Sends bytes and reads to the end, which may be a reset; `None` when no response came.
    pub(crate) fn ask(mut self, bytes: &[u8]) -> Option<Answer> {
        // The exporter may respond before it has read everything.
        let _ = self.write_all(bytes);
        let mut answer = Vec::new();
        let _ = self.read_to_end(&mut answer);
        Answer::parse(&answer)
    }
}

impl Answer {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let code = text.split(' ').nth(1)?.parse().ok()?;
        Some(Self { code, text })
    }
}

impl Target {
    /// A TCP connection on which nothing is sent.
    pub(crate) fn socket(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        socket
    }

    /// A connection on which a request can be sent.
    pub(crate) fn line(&self) -> io::Result<Line> {
        self.line_over(self.socket())
    }

    pub(crate) fn line_over(&self, mut socket: TcpStream) -> io::Result<Line> {
        let Some(config) = &self.tls else {
            return Ok(Line::Plain(socket));
        };
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(Arc::clone(config), name).unwrap();
        while client.is_handshaking() {
            client.complete_io(&mut socket)?;
        }
        Ok(Line::Tls(Box::new(StreamOwned::new(client, socket))))
    }

    /// A complete GET with further header lines.
    pub(crate) fn get(&self, path: &str, more: &str) -> Vec<u8> {
        let authorization = self.credentials.as_ref();
        let authorization = authorization.map(|it| format!("Authorization: {it}\r\n"));
        let authorization = authorization.unwrap_or_default();
        format!("GET {path} HTTP/1.1\r\nHost: a\r\n{authorization}{more}\r\n").into_bytes()
    }

    /// A request on a new connection, which ends with the response.
    pub(crate) fn page(&self, path: &str) -> Answer {
        let mut line = self.line().unwrap();
        line.write_all(&self.get(path, "Connection: close\r\n"))
            .unwrap();
        let mut answer = Vec::new();
        // With TLS an end without close_notify is an error: the response could have been truncated.
        line.read_to_end(&mut answer).unwrap();
        Answer::parse(&answer).unwrap_or_else(|| panic!("no answer to {path}"))
    }

    /// A new connection to `/health` gets its response.
    pub(crate) fn health(&self) {
        let answer = self.page("/health");
        let is_well = answer.code == 200 && answer.text.ends_with("\r\n\r\nOK\n");
        assert!(is_well, "{}", answer.text);
    }
}

/// A running attack.
pub(crate) struct Siege<'a> {
    pub(crate) target: &'a Target,
    /// The number of rounds so far, as each attack counts them.
    rounds: AtomicUsize,
    /// Whether a question waits for its response, and how many connections were replaced since it was asked.
    is_asking: AtomicBool,
    reconnects: AtomicUsize,
    is_in_force: AtomicBool,
    is_over: AtomicBool,
    /// The attackers have ended.
    has_ended: AtomicBool,
}

/// Sets a flag even after a panic; otherwise a failure would hang.
struct AtLast<'a>(&'a AtomicBool);

impl Drop for AtLast<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs an attack, calls `then` once the attack is fully in place, and ends the attack.
pub(crate) fn under<T>(
    target: &Target,
    attack: impl FnOnce(&Siege<'_>) + Send,
    then: impl FnOnce(&Siege<'_>) -> T,
) -> T {
    let siege = Siege {
        target,
        rounds: AtomicUsize::new(0),
        is_asking: AtomicBool::new(false),
        reconnects: AtomicUsize::new(0),
        is_in_force: AtomicBool::new(false),
        is_over: AtomicBool::new(false),
        has_ended: AtomicBool::new(false),
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ended = AtLast(&siege.has_ended);
            attack(&siege);
        });
        let _ends_it = AtLast(&siege.is_over);
        siege.wait_for("to be in force", || {
            siege.is_in_force.load(Ordering::Relaxed)
        });
        then(&siege)
    })
}

impl Siege<'_> {
    /// For the attackers: whether they should continue.
    pub(crate) fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    /// For the attackers: the attack is fully in place.
    pub(crate) fn in_force(&self) {
        self.is_in_force.store(true, Ordering::Relaxed);
    }

    /// For the attackers: they have completed one more round.
    pub(crate) fn did(&self) {
        self.rounds.fetch_add(1, Ordering::Relaxed);
    }

    /// For the attackers: whether they may replace a connection.
    ///
    /// The exporter guarantees that the connection which has waited longest without a request is closed to make room. A
    /// plain client sends its request together with its connection, so its connection is never that one. With TLS the
    /// request follows some round trips later, which are long on a busy machine. So while a question waits, attackers
    /// that hold all connections replace only some of them, and none with TLS.
    pub(crate) fn may_reconnect(&self) -> bool {
        let at_most = match self.target.tls {
            None => self.target.places / 2,
            Some(_) => 0,
        };
        !self.is_asking.load(Ordering::Relaxed)
            || self.reconnects.fetch_add(1, Ordering::Relaxed) < at_most
    }

    /// Asks a question whose response counts only if the attack is active before and after it.
    pub(crate) fn ask<T>(&self, question: impl FnOnce() -> T) -> T {
        self.reconnects.store(0, Ordering::Relaxed);
        self.is_asking.store(true, Ordering::Relaxed);
        let answer = question();
        self.is_asking.store(false, Ordering::Relaxed);
        self.assert_in_force();
        answer
    }

    /// Blocks until the attackers complete a round, which they do only while the attack is active.
    pub(crate) fn assert_in_force(&self) {
        let seen = self.rounds.load(Ordering::Relaxed);
        self.wait_for("to go on", || self.rounds.load(Ordering::Relaxed) > seen);
    }

    fn wait_for(&self, what: &str, condition: impl Fn() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !condition() {
            let has_ended = self.has_ended.load(Ordering::Relaxed);
            assert!(!has_ended, "the attackers ended on their own");
            assert!(
                Instant::now() < end,
                "timed out waiting for the attack {what}"
            );
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Twice as many connections as allowed; a client whose connection was closed to make room connects again.
    pub(crate) fn crowd<T>(&self, open: impl Fn() -> io::Result<T>) {
        let places = self.target.places;
        let pause = ALL_ANEW / u32::try_from(places).unwrap();
        let mut held: VecDeque<io::Result<T>> = (0..2 * places).map(|_| open()).collect();
        self.in_force();
        while self.goes_on() {
            if self.may_reconnect() {
                held.pop_front();
                held.push_back(open());
                self.did();
            }
            thread::sleep(pause);
        }
    }

    /// Repeats `once` in `attackers` threads.
    pub(crate) fn flood(&self, attackers: usize, once: impl Fn() + Sync) {
        thread::scope(|scope| {
            for _ in 0..attackers {
                scope.spawn(|| {
                    while self.goes_on() {
                        once();
                        self.did();
                        if self.rounds.load(Ordering::Relaxed) > attackers {
                            self.in_force();
                        }
                    }
                });
            }
        });
    }

    /// Sends the same bytes repeatedly; each response, where one comes, has this code.
    fn flood_with(&self, bytes: &[u8], code: u16) {
        let answered = AtomicUsize::new(0);
        self.flood(4, || {
            // Under load a handshake may be aborted because no connection is free.
            let Ok(line) = self.target.line() else {
                return;
            };
            // A reset may overtake the response to a request that was not read completely.
            if let Some(answer) = line.ask(bytes) {
                assert_eq!(answer.code, code, "{}", answer.text);
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
        assert!(answered.load(Ordering::Relaxed) > 0, "no answer ever came");
    }

    /// Many connections, on each of which a byte arrives now and then.
    fn trickle<T>(
        &self,
        open: impl Fn() -> io::Result<T>,
        drip: impl Fn(&mut T, usize) -> io::Result<()>,
    ) {
        let count = self.target.places.min(64);
        let mut held: Vec<(io::Result<T>, usize)> = (0..count).map(|_| (open(), 0)).collect();
        self.in_force();
        while self.goes_on() {
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
            self.did();
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Opens a connection and sends something at once.
    fn sending(&self, bytes: &[u8]) -> io::Result<Line> {
        let mut line = self.target.line()?;
        line.write_all(bytes)?;
        Ok(line)
    }

    fn sending_below_tls(&self, bytes: &[u8]) -> io::Result<TcpStream> {
        let mut socket = self.target.socket();
        socket.write_all(bytes)?;
        Ok(socket)
    }

    /// A client's first message (`ClientHello`) in its record.
    fn hello(&self) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let any = || {
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth();
            Arc::new(config)
        };
        let config = self.target.tls.clone().unwrap_or_else(any);
        let mut client = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }
}

/// The ports to which an attack applies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Plain,
    Tls,
    Both,
}

/// One attack.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) on: On,
    /// It takes every connection that the exporter allows.
    pub(crate) takes_all: bool,
    pub(crate) run: fn(&Siege<'_>),
}

impl Attack {
    /// The attacks on a port, in the table's order.
    pub(crate) fn on(port: On) -> impl Iterator<Item = &'static Self> {
        let is_for = move |attack: &&Self| attack.on == port || attack.on == On::Both;
        ATTACKS.iter().filter(is_for)
    }
}

/// All attacks; those that hold the most connections come first.
pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        name: "silent connections",
        on: On::Both,
        takes_all: true,
        run: |siege| siege.crowd(|| Ok(siege.target.socket())),
    },
    Attack {
        name: "heads that stop half way",
        on: On::Both,
        takes_all: true,
        run: |siege| siege.crowd(|| siege.sending(b"GET /metrics HTTP/1.1\r\nHost:")),
    },
    Attack {
        name: "handshakes without a request",
        on: On::Tls,
        takes_all: true,
        run: |siege| siege.crowd(|| siege.target.line()),
    },
    Attack {
        name: "handshakes that stop after the first message",
        on: On::Tls,
        takes_all: true,
        run: |siege| {
            let hello = siege.hello();
            siege.crowd(|| siege.sending_below_tls(&hello));
        },
    },
    Attack {
        name: "first messages that stop half way",
        on: On::Tls,
        takes_all: true,
        run: |siege| {
            let hello = siege.hello();
            siege.crowd(|| siege.sending_below_tls(&hello[..hello.len() / 2]));
        },
    },
    Attack {
        name: "heads that trickle",
        on: On::Both,
        takes_all: false,
        run: |siege| {
            let begun = || siege.sending(b"GET /metrics HTTP/1.1\r\nHost: a\r\nX: ");
            siege.trickle(begun, |line, _| line.write_all(b"y"));
        },
    },
    Attack {
        name: "handshakes that trickle",
        on: On::Tls,
        takes_all: false,
        run: |siege| {
            let hello = siege.hello();
            let drip = |socket: &mut TcpStream, sent: usize| {
                socket.write_all(&hello[sent % hello.len()..][..1])
            };
            siege.trickle(|| Ok(siege.target.socket()), drip);
        },
    },
    Attack {
        name: "headers of 1 MB",
        on: On::Both,
        takes_all: false,
        run: |siege| {
            let head = format!(
                "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
                "x".repeat(1_000_000)
            );
            siege.flood_with(head.as_bytes(), 431);
        },
    },
    Attack {
        name: "10,000 headers",
        on: On::Both,
        takes_all: false,
        run: |siege| {
            let head = format!(
                "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
                "A: b\r\n".repeat(10_000)
            );
            siege.flood_with(head.as_bytes(), 431);
        },
    },
    Attack {
        name: "bodies with a length",
        on: On::Both,
        takes_all: false,
        run: |siege| {
            let mut bytes =
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n".to_vec();
            bytes.resize(1_000_000, b'x');
            siege.flood_with(&bytes, 413);
        },
    },
    Attack {
        name: "bodies in chunks",
        on: On::Both,
        takes_all: false,
        run: |siege| {
            let mut bytes =
                b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            bytes.extend(b"5\r\nGET /\r\n".repeat(50_000));
            siege.flood_with(&bytes, 413);
        },
    },
    Attack {
        name: "an HTTP/2 preface",
        on: On::Both,
        takes_all: false,
        run: |siege| {
            let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
            siege.flood_with(preface, 505);
        },
    },
    Attack {
        name: "garbage",
        on: On::Both,
        takes_all: false,
        run: |siege| {
            siege.flood(4, || {
                cases(1, |random| {
                    let bytes = garbage(random);
                    drop(siege.target.line().map(|line| line.ask(&bytes)));
                });
            });
        },
    },
    Attack {
        name: "garbage instead of a handshake",
        on: On::Tls,
        takes_all: false,
        run: |siege| {
            siege.flood(4, || {
                cases(1, |random| {
                    let mut bytes = siege.hello();
                    random.mutate(&mut bytes);
                    bytes.extend(garbage(random));
                    let mut socket = siege.target.socket();
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
        takes_all: false,
        run: |siege| {
            siege.flood(4, || {
                let line = Line::Plain(siege.target.socket());
                let answer = line
                    .ask(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
                    .expect("an answer");
                assert_eq!(answer.code, 400);
            });
        },
    },
    Attack {
        name: "TLS on a port without it",
        on: On::Plain,
        takes_all: false,
        run: |siege| siege.flood_with(&siege.hello(), 400),
    },
    Attack {
        name: "quick connections",
        on: On::Both,
        takes_all: false,
        run: |siege| {
            siege.flood(4, || {
                drop(siege.target.socket());
                // When this connection has ended, the one before it has been accepted. Otherwise they would wait in a
                // queue, and the attack would be slow.
                let mut next = siege.target.socket();
                let _ = next.shutdown(Shutdown::Write);
                let _ = next.read_to_end(&mut Vec::new());
            });
        },
    },
    Attack {
        name: "requests sent ahead",
        on: On::Both,
        takes_all: false,
        run: |siege| {
            let mut many = siege.target.get("/ready", "").repeat(50);
            many.extend(siege.target.get("/ready", "Connection: close\r\n"));
            siege.flood(8, || {
                let mut line = siege.target.line().unwrap();
                line.write_all(&many).unwrap();
                let mut answers = Vec::new();
                line.read_to_end(&mut answers).unwrap();
                let answers = String::from_utf8(answers).unwrap();
                assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), 51);
            });
        },
    },
    Attack {
        name: "changes of keys",
        on: On::Tls,
        takes_all: false,
        run: |siege| {
            siege.flood(4, || {
                let Ok(Line::Tls(mut stream)) = siege.target.line() else {
                    return;
                };
                // Until the exporter refuses, or has accepted all of them.
                for number in 0..500 {
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
        takes_all: false,
        run: |siege| siege.flood(2, || renegotiate(siege.target)),
    },
];

/// Random bytes, some of which look like a request's.
fn garbage(random: &mut Random) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..random.within(1..4000)).map(|_| random.byte()).collect();
    if random.once_in(2) {
        bytes.splice(0..0, *b"GET / HTTP/1.1\r\n");
    }
    // Ends the input, so that the exporter does not wait for more.
    bytes.extend(b"\r\n\r\n");
    bytes
}

/// `openssl s_client` starts a renegotiation at each line `R`: TLS 1.2 has that, and rustls does not.
fn renegotiate(target: &Target) {
    let child = Command::new("openssl")
        .args([
            "s_client",
            "-tls1_2",
            "-legacy_renegotiation",
            "-connect",
            &target.address.to_string(),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.expect("openssl is needed: make test installs it");
    let _ = child.stdin.take().unwrap().write_all(&b"R\n".repeat(100));
    // It ends by the exporter's refusal or with its input.
    let end = Instant::now() + Duration::from_secs(5);
    while child.try_wait().unwrap().is_none() && Instant::now() < end {
        thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
}
