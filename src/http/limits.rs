//! How long each step of a client's connection may take, and how much of a refused request is read.
//!
//! One value, passed in at startup. The tests below pass one in milliseconds. Not here: the limits on the size of a
//! head (`head`), and the timeouts of the connections that the exporter opens to itself (`pool`, `self_check`). No test
//! sets those.

use std::time::Duration;

/// The limits of the front end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Time from the first byte of a head to its last.
    pub(super) head: Duration,
    /// How long a connection may stay open without a request.
    pub(super) idle: Duration,
    /// How long the client may take to read a response. The connection is closed after that.
    pub(super) answer: Duration,
    /// How long the rest of a refused request is read and discarded: closing with unread data sends a reset, which can
    /// overtake the refusal.
    pub(super) drain: Duration,
    /// Maximum number of bytes to discard.
    pub(super) drain_bytes: usize,
    /// Duration of a TLS handshake, including the wait for its first byte.
    pub(super) handshake: Duration,
    /// How long a new connection waits for a slot, and so for the evicted connection to end.
    pub(super) making_room: Duration,
    /// How long it waits for a request to be answered when every connection has one in progress.
    pub(super) answer_on_its_way: Duration,
    /// A connection without a request is not evicted before this.
    pub(super) request_on_its_way: Duration,
    /// After a new connection has waited for a response until it timed out, others are rejected without a wait for this
    /// long.
    pub(super) in_vain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A slow link needs a second, a slow-head attack (slowloris) takes forever.
            head: Duration::from_secs(10),
            // Twice the usual scrape interval of Prometheus.
            idle: Duration::from_secs(120),
            // Three times the usual scrape timeout of Prometheus: by then its client has given up.
            answer: Duration::from_secs(30),
            // Enough for a client that has sent a large request over a usual link.
            drain: Duration::from_secs(1),
            drain_bytes: 256 * 1024,
            // A router with a slow processor on a slow link needs a second.
            handshake: Duration::from_secs(10),
            // The evicted thread only has to wake up. Only an overloaded machine takes longer.
            making_room: Duration::from_secs(5),
            // Every request but a probe is answered within some milliseconds, or some hundred on a busy machine. At
            // least half of the connections have no probe.
            answer_on_its_way: Duration::from_secs(1),
            // A client that has just connected or just read a response may have sent its next request already.
            request_on_its_way: Duration::from_millis(100),
            // As long as a wait: at most half of the time is spent waiting.
            in_vain: Duration::from_secs(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::mpsc::TryRecvError;
    use std::sync::mpsc::{self, Receiver};
    use std::thread;
    use std::time::Duration;

    use super::Limits;
    use crate::cancel::Cancel;
    use crate::http::admission::Admission;
    use crate::http::front_end::serve;
    use crate::http::metrics::Closed;
    use crate::http::pool::Pool;
    use crate::http::private_socket::{self, Address};
    use crate::http::self_check::SelfCheck;
    use crate::http::service::Service;
    use crate::http::traffic::Traffic;
    use crate::log::{Level, Log, LogConfig};
    use crate::toolkit::access::Access;
    use crate::toolkit::config::reloader::Reloader;

    /// Longer than any step takes unless it hangs.
    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(200);
    /// More than the buffers of two sockets hold.
    const BODY_BYTES: usize = 16 * 1024 * 1024;

    /// Limits that end nothing. Each test sets the one under test.
    fn endless() -> Limits {
        Limits {
            head: LONG,
            idle: LONG,
            answer: LONG,
            drain: LONG,
            drain_bytes: usize::MAX,
            handshake: LONG,
            ..Limits::default()
        }
    }

    /// A backend. Its response is short, except to `/large`.
    fn server() -> Address {
        let (listener, address) = private_socket::open().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || answer(stream));
            }
        });
        address
    }

    fn answer(mut stream: UnixStream) {
        let mut head = Vec::new();
        let mut byte = [0];
        while stream.read(&mut byte).unwrap_or(0) > 0 {
            head.extend(byte);
            if head.ends_with(b"\r\n\r\n") {
                let is_large = head.starts_with(b"GET /large ");
                let length = if is_large { BODY_BYTES } else { 3 };
                let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                answer.push_str(&"x".repeat(length));
                let _ = stream.write_all(answer.as_bytes());
                head.clear();
            }
        }
    }

    fn new_service(limits: Limits, web: Option<&Path>) -> Arc<Service> {
        let log = Log::new(LogConfig {
            level: Level::Error,
            ..LogConfig::default()
        });
        let reloader = Reloader::open(web, &log).unwrap();
        let traffic = Traffic::new(Admission::new(8, None, 1, limits));
        let pool = Pool::new(server(), Arc::clone(&traffic), Arc::new(|_| ()));
        Arc::new(Service {
            tls: Arc::new(Access::new(reloader, log.clone(), 8)),
            log,
            limits,
            traffic,
            pool,
            on_refused: Arc::new(|_, _, _, _| ()),
            on_hang_up: Box::new(|| ()),
            self_check: SelfCheck::new(),
            is_closing: Cancel::default(),
        })
    }

    /// Connects a client that sends something before it is served. Returns the client, and where the end of its
    /// connection is reported.
    fn connect(service: &Arc<Service>, sent: &[u8]) -> (TcpStream, Receiver<Closed>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, peer) = listener.accept().unwrap();
        client.set_nodelay(true).unwrap();
        client.set_read_timeout(Some(LONG)).unwrap();
        client.write_all(sent).unwrap();
        let (sender, ended) = mpsc::channel();
        let service = Arc::clone(service);
        thread::spawn(move || {
            let socket = Arc::new(socket);
            let slot = service.traffic.admission.enter(&socket).unwrap();
            let closed = serve(&service, &socket, peer, &slot);
            drop((slot, socket));
            let _ = sender.send(closed);
        });
        (client, ended)
    }

    fn end(ended: &Receiver<Closed>) -> Closed {
        ended.recv_timeout(LONG).expect("the connection to end")
    }

    /// Everything that the client receives. A reset counts as the end.
    fn answers(client: &mut TcpStream) -> String {
        let mut bytes = Vec::new();
        if let Err(error) = client.read_to_end(&mut bytes) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
        }
        String::from_utf8(bytes).unwrap()
    }

    /// Sends a byte every millisecond until the connection has ended. Returns why it ended.
    fn trickle(client: &mut TcpStream, ended: &Receiver<Closed>) -> Closed {
        // Far longer than any limit that a test sets.
        for _ in 0..20_000 {
            match ended.try_recv() {
                Ok(closed) => return closed,
                Err(TryRecvError::Empty) => thread::sleep(Duration::from_millis(1)),
                Err(error) => panic!("{error}"),
            }
            // The connection may be closed by now.
            let _ = client.write_all(b"x");
        }
        panic!("the connection does not end");
    }

    #[test]
    fn a_head_that_is_not_complete_in_time_is_answered_408() {
        let limits = Limits {
            head: SHORT,
            ..endless()
        };
        let service = new_service(limits, None);
        for (sent, answered) in [
            ("G", 0),
            ("GET /ready HTTP/1.1\r\nHost: a\r\n", 0),
            // The start of a second head arrives with the first.
            ("GET /ready HTTP/1.1\r\nHost: a\r\n\r\nGET", 1),
        ] {
            let (mut client, ended) = connect(&service, sent.as_bytes());
            let text = answers(&mut client);
            assert_eq!(text.matches("HTTP/1.1 200 ").count(), answered, "{text}");
            assert_eq!(text.matches("HTTP/1.1 408 ").count(), 1, "{text}");
            drop(client);
            assert_eq!(end(&ended), Closed::SlowHead);
        }
    }

    #[test]
    fn a_head_that_trickles_is_answered_408() {
        let limits = Limits {
            head: SHORT,
            drain: SHORT,
            ..endless()
        };
        let (mut client, ended) =
            connect(&new_service(limits, None), b"GET /ready HTTP/1.1\r\nX: ");
        assert_eq!(trickle(&mut client, &ended), Closed::SlowHead);
        let mut begin = [0; 12];
        // Bytes sent after the end may have caused a reset.
        if client.read_exact(&mut begin).is_ok() {
            assert_eq!(&begin, b"HTTP/1.1 408");
        }
    }

    #[test]
    fn a_connection_without_a_request_is_closed_without_a_response() {
        let limits = Limits {
            idle: SHORT,
            ..endless()
        };
        let service = new_service(limits, None);
        let (mut client, ended) = connect(&service, b"");
        assert_eq!(answers(&mut client), "");
        assert_eq!(end(&ended), Closed::Idle);
        let (mut client, ended) = connect(&service, b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(answers(&mut client).ends_with("\r\n\r\nxxx"));
        assert_eq!(end(&ended), Closed::Idle);
    }

    #[test]
    fn the_connection_of_a_client_that_does_not_read_is_closed() {
        let limits = Limits {
            answer: SHORT,
            ..endless()
        };
        let service = new_service(limits, None);
        let (mut client, ended) = connect(&service, b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(end(&ended), Closed::SlowReader);
        assert!(answers(&mut client).len() < BODY_BYTES);
    }

    #[test]
    fn the_rest_of_a_refused_request_is_read_no_longer_than_the_limit() {
        const REFUSED: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
        let drains = [
            Limits {
                drain: SHORT,
                ..endless()
            },
            Limits {
                drain_bytes: 100,
                ..endless()
            },
        ];
        for limits in drains {
            let (mut client, ended) = connect(&new_service(limits, None), REFUSED);
            assert_eq!(trickle(&mut client, &ended), Closed::Refused);
        }
        // Without a limit the rest is read to its end.
        let (mut client, ended) = connect(&new_service(endless(), None), REFUSED);
        client.write_all(&vec![b'x'; 1_000_000]).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert!(answers(&mut client).starts_with("HTTP/1.1 413 "));
        assert_eq!(end(&ended), Closed::Refused);
    }

    #[cfg(feature = "tls")]
    #[test]
    fn a_handshake_that_is_not_complete_in_time_is_aborted() {
        use std::fs;

        use crate::toolkit::tls::test_file;
        // The header of a TLS record with a long first message.
        const BEGIN: &[u8] = &[22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc];
        let folder = std::env::temp_dir().join(format!("front-end-limits-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for name in ["server.pem", "server.key"] {
            fs::write(folder.join(name), test_file(name)).unwrap();
        }
        let web = folder.join("web.yml");
        let text = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n";
        fs::write(&web, text).unwrap();
        let limits = Limits {
            handshake: SHORT,
            ..endless()
        };
        let service = new_service(limits, Some(&web));
        for sent in [&[][..], &BEGIN[..3], BEGIN] {
            let (mut client, ended) = connect(&service, sent);
            assert_eq!(end(&ended), Closed::Handshake, "{sent:?}");
            assert_eq!(client.read(&mut [0; 1]).unwrap_or(0), 0, "{sent:?}");
        }
        let (mut client, ended) = connect(&service, BEGIN);
        assert_eq!(trickle(&mut client, &ended), Closed::Handshake);
        fs::remove_dir_all(&folder).unwrap();
    }
}
