//! A client's bytes through TLS, under a deadline.
//!
//! Owns handshakes and records on a socket that blocks; must not know HTTP or settings.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::{Error, ServerConfig, ServerConnection};

use crate::http::tls::HandshakeFailed;
use crate::http::{ClientStream, wait_readable};
use crate::toolkit::tls::reasons;

/// What is encrypted in one piece and then sent: a record's most (RFC 8446 §5.1), and so all that waits in memory.
const PIECE_BYTES: usize = 16 * 1024;
/// The last word, an alert, fits into any socket's buffer but that of a client which reads nothing.
const LAST_WORD_LIMIT: Duration = Duration::from_millis(250);
/// How much of what a refused client sends is thrown away meanwhile.
const DRAIN_LIMIT_BYTES: usize = 64 * 1024;
/// Cryptography has large locals, and no recursion. Unoptimized builds need most of it.
const HANDSHAKE_STACK_BYTES: usize = 128 * 1024;
/// A record's header: type, version and length (RFC 8446 §5.1).
const HEADER_BYTES: usize = 5;
/// The type of a record that carries a handshake (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

pub(crate) struct TlsTransport {
    socket: Arc<TcpStream>,
    tls: ServerConnection,
}

impl TlsTransport {
    /// A handshake as `config` has it, all of it before `until`.
    pub(super) fn accept(
        config: Arc<ServerConfig>,
        socket: Arc<TcpStream>,
        until: Instant,
    ) -> Result<Self, HandshakeFailed> {
        let header = first_header(&socket, until)?;
        if header.first() != Some(&HANDSHAKE) {
            return Err(HandshakeFailed::NotTls(header));
        }
        // On a thread of its own, once there is something to do: the pages that its stack grows to would stay with
        // the connection's thread as long as that lives, and be nearly half of what an idle connection holds (25 KiB
        // instead of 45 with an RSA key, measured with musl).
        let (own_config, own_socket) = (Arc::clone(&config), Arc::clone(&socket));
        let spawned = thread::Builder::new()
            .name("handshake".to_owned())
            .stack_size(HANDSHAKE_STACK_BYTES)
            .spawn(move || Self::handshake(own_config, own_socket, header, until));
        match spawned {
            Ok(thread) => thread.join().unwrap_or_else(|_| {
                Err(HandshakeFailed::Refused(
                    "the handshake's thread has panicked".to_owned(),
                ))
            }),
            // No thread to be had: memory matters less than the client then.
            Err(_) => Self::handshake(config, socket, header, until),
        }
    }

    /// A handshake that began with `header`.
    fn handshake(
        config: Arc<ServerConfig>,
        socket: Arc<TcpStream>,
        header: [u8; HEADER_BYTES],
        until: Instant,
    ) -> Result<Self, HandshakeFailed> {
        let tls = ServerConnection::new(config).map_err(|error| refused(&error))?;
        let mut client = Self { socket, tls };
        client
            .tls
            .read_tls(&mut header.as_slice())
            .map_err(|error| failed(&error))?;
        loop {
            client.flush(until).map_err(|error| failed(&error))?;
            if !client.tls.is_handshaking() {
                return Ok(client);
            }
            let length = client.receive(until).map_err(|error| failed(&error))?;
            if let Err(error) = client.tls.process_new_packets() {
                client.tell_and_end();
                return Err(refused(&error));
            }
            if length == 0 && client.tls.is_handshaking() {
                return Err(closed());
            }
        }
    }

    /// Takes what the socket has next; 0 at its end.
    fn receive(&mut self, until: Instant) -> io::Result<usize> {
        self.tls.read_tls(&mut Deadlined(&self.socket, until))
    }

    /// Sends all that waits to be sent.
    fn flush(&mut self, until: Instant) -> io::Result<()> {
        let mut socket = Deadlined(&self.socket, until);
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends the alert that rustls has ready for a client that is refused, and ends the connection such that it can
    /// arrive: with something unread the socket's end would be a reset, which overtakes it. In TLS 1.3 there is
    /// something: a client that is refused for its certificate has sent its request already.
    fn tell_and_end(&mut self) {
        let until = Instant::now() + LAST_WORD_LIMIT;
        if self.flush(until).is_err() || self.socket.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let (mut chunk, mut drained) = ([0; 1024], 0);
        while drained < DRAIN_LIMIT_BYTES {
            match Deadlined(&self.socket, until).read(&mut chunk) {
                Ok(length) if length > 0 => drained += length,
                _ => break,
            }
        }
    }
}

impl ClientStream for TlsTransport {
    /// An end without `close_notify` is an end all the same: a request that it cuts off is not complete.
    fn read(&mut self, buffer: &mut [u8], until: Instant) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(buffer) {
                Ok(length) => return Ok(length),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            // What comes may be a part of a record, or a record that is not for us, such as a change of keys.
            self.receive(until)?;
            if let Err(error) = self.tls.process_new_packets() {
                let _ = self.flush(Instant::now() + LAST_WORD_LIMIT);
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
            self.flush(until)?;
        }
    }

    fn write_all(&mut self, bytes: &[u8], until: Instant) -> io::Result<()> {
        for piece in bytes.chunks(PIECE_BYTES) {
            self.tls.writer().write_all(piece)?;
            self.flush(until)?;
        }
        Ok(())
    }

    fn close(&mut self) {
        self.tls.send_close_notify();
        let _ = self.flush(Instant::now() + LAST_WORD_LIMIT);
    }

    fn socket(&self) -> &TcpStream {
        &self.socket
    }
}

fn first_header(socket: &TcpStream, until: Instant) -> Result<[u8; HEADER_BYTES], HandshakeFailed> {
    let mut socket = Deadlined(socket, until);
    let mut header = [0; HEADER_BYTES];
    let (first, rest) = header.split_at_mut(1);
    let result = socket.read(first);
    let is_silent = match &result {
        Ok(length) => *length == 0,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    };
    if is_silent {
        return Err(HandshakeFailed::Silent);
    }
    let result = result.and_then(|_| socket.read_exact(rest));
    result.map_err(|error| failed(&error)).map(|()| header)
}

fn closed() -> HandshakeFailed {
    HandshakeFailed::Refused("the client closed the connection in the handshake".to_owned())
}

fn failed(error: &io::Error) -> HandshakeFailed {
    match error.kind() {
        io::ErrorKind::TimedOut => HandshakeFailed::TimedOut,
        io::ErrorKind::UnexpectedEof => closed(),
        _ => HandshakeFailed::Refused(error.to_string()),
    }
}

fn refused(error: &Error) -> HandshakeFailed {
    HandshakeFailed::Refused(match error {
        Error::InvalidCertificate(_) => format!("client certificate: {}", reasons::of(error)),
        Error::NoCertificatesPresented => "the client showed no certificate".to_owned(),
        other => other.to_string(),
    })
}

/// A socket that blocks no longer than until then.
struct Deadlined<'a>(&'a TcpStream, Instant);

impl Deadlined<'_> {
    /// What is left. Nothing is an error even when the socket is ready: a client that sends byte by byte would
    /// never meet its deadline else.
    fn left(&self) -> io::Result<Duration> {
        let left = self.1.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(left)
    }
}

impl Read for Deadlined<'_> {
    /// No signal interrupts it: the read comes when there is something to read.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.left()?;
        wait_readable(self.0, self.1)?;
        self.0.read(buffer)
    }
}

impl Write for Deadlined<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    /// A handshake's answer is several pieces that should leave in one packet.
    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.set_write_timeout(Some(self.left()?))?;
        self.0.write_vectored(pieces).map_err(|error| {
            // What the socket says when its timeout has passed (socket(7), `SO_SNDTIMEO`).
            if error.kind() == io::ErrorKind::WouldBlock {
                io::ErrorKind::TimedOut.into()
            } else {
                error
            }
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use rustls::{ClientConnection, StreamOwned};

    use super::*;
    use crate::toolkit::tls::tests::{
        LONG, connect, on_small_stack, plain_client, settings, sockets,
    };
    use crate::toolkit::tls::{Acceptor, acceptor};

    fn server() -> Acceptor {
        acceptor(&settings()).unwrap().0
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(200)
    }

    fn long() -> Instant {
        Instant::now() + LONG
    }

    /// Both ends after the handshake.
    fn connected() -> (StreamOwned<ClientConnection, TcpStream>, TlsTransport) {
        let (socket, accepted) = sockets();
        let wire = on_small_stack(move || server().handshake(accepted, long()).unwrap());
        let mut client = connect(plain_client(), socket);
        while client.conn.is_handshaking() {
            client.conn.complete_io(&mut client.sock).unwrap();
        }
        (client, wire.join().unwrap())
    }

    fn end_of(run: impl FnOnce(&TcpStream)) -> HandshakeFailed {
        let (client, accepted) = sockets();
        run(&client);
        client.shutdown(Shutdown::Write).unwrap();
        server().handshake(accepted, long()).err().unwrap()
    }

    /// The first bytes that a client sends.
    fn hello() -> Vec<u8> {
        let name = "localhost".try_into().unwrap();
        let mut tls = ClientConnection::new(Arc::new(plain_client()), name).unwrap();
        let mut bytes = Vec::new();
        tls.write_tls(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn one_that_closes_at_once_is_told_from_one_that_fails() {
        assert_eq!(end_of(|_| {}), HandshakeFailed::Silent);
        let part = hello();
        for length in [1, 4, 5, 6, part.len() - 1, part.len()] {
            let end = end_of(|mut client| client.write_all(&part[..length]).unwrap());
            assert_eq!(end, closed(), "{length}");
        }
    }

    #[test]
    fn what_is_not_tls_is_handed_back_and_not_answered() {
        let (mut client, accepted) = sockets();
        client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
        let end = server()
            .handshake(Arc::clone(&accepted), long())
            .err()
            .unwrap();
        assert_eq!(end, HandshakeFailed::NotTls(*b"GET /"));
        assert!(end.to_string().ends_with("it began with \"GET /\""));
        let binary = end_of(|mut client| client.write_all(b"\0\xff\x1b\"\n").unwrap());
        assert!(
            binary
                .to_string()
                .ends_with("it began with \"\\x00\\xff\\x1b\\\"\\n\"")
        );
        (&*accepted).write_all(b"answer").unwrap();
        let mut answer = [0; 6];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"answer");
    }

    #[test]
    fn garbage_in_a_handshake_is_refused_with_an_alert() {
        let (mut client, accepted) = sockets();
        client.write_all(&[22, 3, 1, 0, 4, 1, 0, 0, 0]).unwrap();
        let end = server().handshake(accepted, long()).err().unwrap();
        assert!(matches!(end, HandshakeFailed::Refused(_)), "{end:?}");
        let mut alert = Vec::new();
        client.read_to_end(&mut alert).unwrap();
        assert_eq!(alert.first(), Some(&21), "{alert:?}");
    }

    #[test]
    fn a_silent_client_meets_its_deadline() {
        let (_client, accepted) = sockets();
        let end = server().handshake(accepted, soon()).err();
        assert_eq!(end, Some(HandshakeFailed::TimedOut));
        let (mut client, accepted) = sockets();
        client.write_all(&hello()).unwrap();
        let end = server().handshake(accepted, soon()).err();
        assert_eq!(end, Some(HandshakeFailed::TimedOut));
    }

    #[test]
    fn a_trickling_client_meets_its_deadline() {
        let (mut client, accepted) = sockets();
        let trickle = thread::spawn(move || {
            // One long record, so that the hello is never complete: as many bytes as the server takes.
            client
                .write_all(&[22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc])
                .unwrap();
            let mut sent = 0;
            while client.write_all(&[0]).is_ok() && sent < 10_000 {
                sent += 1;
                thread::sleep(Duration::from_millis(1));
            }
            sent
        });
        let end = server().handshake(accepted, soon()).err();
        assert_eq!(end, Some(HandshakeFailed::TimedOut));
        assert!(trickle.join().unwrap() < 10_000);
    }

    #[test]
    fn reading_meets_its_deadline_with_half_a_record() {
        let (mut client, mut wire) = connected();
        client.conn.writer().write_all(b"request").unwrap();
        let mut record = Vec::new();
        client.conn.write_tls(&mut record).unwrap();
        client.sock.write_all(&record[..10]).unwrap();
        let mut buffer = [0; 16];
        let late = wire.read(&mut buffer, soon()).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        client.sock.write_all(&record[10..]).unwrap();
        // What has come stays for the next, smaller reads.
        let mut whole = Vec::new();
        while whole.len() < 7 {
            let length = wire.read(&mut buffer[..3], long()).unwrap();
            whole.extend_from_slice(&buffer[..length]);
        }
        assert_eq!(whole, b"request");
    }

    #[test]
    fn nothing_is_taken_off_the_socket_after_the_deadline() {
        let (mut client, mut wire) = connected();
        client.write_all(b"request").unwrap();
        wait_readable(&wire.socket, long()).unwrap();
        let mut buffer = [0; 16];
        let late = wire.read(&mut buffer, Instant::now()).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        assert_eq!(wire.read(&mut buffer, long()).unwrap(), 7);
        // What is decrypted already can be had at any time.
        client.write_all(b"request").unwrap();
        assert_eq!(wire.read(&mut buffer[..1], long()).unwrap(), 1);
        assert_eq!(wire.read(&mut buffer, Instant::now()).unwrap(), 6);
    }

    #[test]
    fn a_change_of_keys_is_not_an_end_and_is_answered() {
        let (mut client, mut wire) = connected();
        client.conn.refresh_traffic_keys().unwrap();
        client.conn.write_tls(&mut client.sock).unwrap();
        let mut buffer = [0; 16];
        let late = wire.read(&mut buffer, soon()).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        client.write_all(b"after").unwrap();
        assert_eq!(wire.read(&mut buffer, long()).unwrap(), 5);
        wire.write_all(b"reply", long()).unwrap();
        client.read_exact(&mut buffer[..5]).unwrap();
        assert_eq!(&buffer[..5], b"reply");
    }

    #[test]
    fn changes_of_keys_without_end_are_refused() {
        let (mut client, mut wire) = connected();
        for _ in 0..40 {
            client.conn.refresh_traffic_keys().unwrap();
            client.conn.write_tls(&mut client.sock).unwrap();
        }
        let error = wire.read(&mut [0; 16], long()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn both_ends_of_a_connection_are_told_by_close_notify_or_an_end() {
        let (mut client, mut wire) = connected();
        client.conn.send_close_notify();
        client.conn.write_tls(&mut client.sock).unwrap();
        for _ in 0..2 {
            assert_eq!(wire.read(&mut [0; 16], long()).unwrap(), 0);
        }
        wire.write_all(b"bye", long()).unwrap();
        wire.close();
        let mut rest = Vec::new();
        // An end without close_notify would be an error for rustls.
        client.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"bye");

        let (client, mut wire) = connected();
        client.sock.shutdown(Shutdown::Write).unwrap();
        for _ in 0..2 {
            assert_eq!(wire.read(&mut [0; 16], long()).unwrap(), 0);
        }
    }

    #[test]
    fn much_is_written_to_a_slow_reader_and_none_to_one_that_never_reads() {
        let (mut client, mut wire) = connected();
        let bytes: Vec<u8> = (0..8_000_000_u32).map(|n| (n % 251) as u8).collect();
        let expected = bytes.clone();
        let writer = on_small_stack(move || {
            wire.write_all(&bytes, long()).unwrap();
            wire.close();
        });
        let (mut got, mut chunk) = (Vec::new(), vec![0; 60_000]);
        while let Ok(length @ 1..) = client.read(&mut chunk) {
            got.extend_from_slice(&chunk[..length]);
        }
        writer.join().unwrap();
        assert!(got == expected, "{} bytes", got.len());

        let (_client, mut wire) = connected();
        let late = wire.write_all(&expected.repeat(4), soon()).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        // And even then the end is bounded.
        wire.close();
    }
}
