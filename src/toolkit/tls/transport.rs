//! A client's bytes through TLS, under a deadline.
//!
//! Owns handshakes and records on a blocking socket. Must not know HTTP or settings.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, Stream};

use crate::http::{ClientStream, wait_readable};
use crate::toolkit::tls::reasons::HandshakeError;

/// Bytes that are encrypted and sent at once: the largest record (RFC 8446 §5.1). No more than this is ever buffered.
const PIECE_BYTES: usize = 16 * 1024;
/// Maximum time to send a final alert. It fits any socket's buffer, unless the client reads nothing.
const LAST_WORD_LIMIT: Duration = Duration::from_millis(250);
/// How many bytes of a rejected client are read and discarded meanwhile.
const DRAIN_LIMIT_BYTES: u64 = 64 * 1024;
/// Cryptography has large locals, but no recursion. Unoptimized builds need most of this.
const HANDSHAKE_STACK_BYTES: usize = 128 * 1024;

pub(crate) struct TlsTransport {
    socket: Arc<TcpStream>,
    tls: ServerConnection,
}

impl TlsTransport {
    /// Runs a handshake with `config`; all of it must finish before `until`.
    ///
    /// On its own thread: otherwise the stack pages that it touches would stay with the connection's thread for its
    /// lifetime, and make up nearly half of an idle connection's memory (25 KiB instead of 45 KiB with an RSA key,
    /// measured with musl).
    pub(super) fn accept(
        config: Arc<ServerConfig>,
        socket: Arc<TcpStream>,
        until: Instant,
    ) -> Result<Self, HandshakeError> {
        let body = {
            let (config, socket) = (Arc::clone(&config), Arc::clone(&socket));
            move || Self::handshake(config, socket, until)
        };
        let spawned = thread::Builder::new()
            .name("handshake".to_owned())
            .stack_size(HANDSHAKE_STACK_BYTES)
            .spawn(body);
        match spawned {
            Ok(thread) => thread.join().unwrap_or(Err(HandshakeError::Panicked)),
            // Without a thread, handshake here: the client matters more than memory.
            Err(_) => Self::handshake(config, socket, until),
        }
    }

    fn handshake(
        config: Arc<ServerConfig>,
        socket: Arc<TcpStream>,
        until: Instant,
    ) -> Result<Self, HandshakeError> {
        let mut tls = ServerConnection::new(config)?;
        let result = tls.complete_io(&mut Deadlined(&socket, until));
        if let Err(error) = result {
            if error.kind() == io::ErrorKind::InvalidData {
                end_after_alert(&socket);
            }
            return Err(error.into());
        }
        Ok(Self { socket, tls })
    }

    /// Sends all buffered records.
    fn flush(&mut self, until: Instant) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut Deadlined(&self.socket, until))?;
        }
        Ok(())
    }
}

impl ClientStream for TlsTransport {
    /// An end without `close_notify` counts as an end: a request that it cuts off is incomplete.
    fn read(&mut self, buffer: &mut [u8], until: Instant) -> io::Result<usize> {
        let mut socket = Deadlined(&self.socket, until);
        match Stream::new(&mut self.tls, &mut socket).read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            result => result,
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

/// Closes the connection after an alert such that the alert arrives: closing a socket with unread data sends a reset,
/// which may overtake it. TLS 1.3 leaves unread data: a client that is rejected for its certificate has already sent
/// its request.
fn end_after_alert(socket: &TcpStream) {
    let _ = socket.shutdown(Shutdown::Write);
    let rest = Deadlined(socket, Instant::now() + LAST_WORD_LIMIT);
    let _ = io::copy(&mut rest.take(DRAIN_LIMIT_BYTES), &mut io::sink());
}

/// A socket whose calls block no longer than the deadline.
struct Deadlined<'a>(&'a TcpStream, Instant);

impl Deadlined<'_> {
    /// The time left. None left is an error even if the socket is ready: otherwise a client that sends byte by byte
    /// would never meet its deadline.
    fn left(&self) -> io::Result<Duration> {
        let left = self.1.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(left)
    }
}

impl Read for Deadlined<'_> {
    /// Never interrupted by a signal: it reads only once data is there.
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

    /// A handshake's response has several pieces that should leave in one packet.
    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        use io::ErrorKind::{Interrupted, WouldBlock};
        loop {
            self.0.set_write_timeout(Some(self.left()?))?;
            match self.0.write_vectored(pieces) {
                // The timeout has passed (socket(7), `SO_SNDTIMEO`), or a signal came.
                Err(error) if matches!(error.kind(), WouldBlock | Interrupted) => {}
                result => return result,
            }
        }
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
    use crate::toolkit::tls::acceptor;
    use crate::toolkit::tls::tests::{
        LONG, connect, on_small_stack, plain_client, settings, sockets,
    };

    fn accept(socket: Arc<TcpStream>, until: Instant) -> Result<TlsTransport, HandshakeError> {
        TlsTransport::accept(acceptor(&settings()).unwrap().0, socket, until)
    }

    fn refusal(socket: Arc<TcpStream>, until: Instant) -> HandshakeError {
        accept(socket, until).err().unwrap()
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
        let transport = on_small_stack(move || accept(accepted, long()).unwrap());
        let mut client = connect(plain_client(), socket);
        while client.conn.is_handshaking() {
            client.conn.complete_io(&mut client.sock).unwrap();
        }
        (client, transport.join().unwrap())
    }

    fn end_after(bytes: &[u8]) -> String {
        let (mut client, accepted) = sockets();
        client.write_all(bytes).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        refusal(accepted, long()).to_string()
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
    fn a_close_during_the_handshake_is_reported() {
        let part = hello();
        for length in [1, 4, 5, 6, part.len() - 1, part.len()] {
            assert_eq!(
                end_after(&part[..length]),
                "the client closed the connection during the handshake",
                "{length}"
            );
        }
    }

    #[test]
    fn garbage_in_a_handshake_is_refused_with_an_alert() {
        let (mut client, accepted) = sockets();
        client.write_all(&[22, 3, 1, 0, 4, 1, 0, 0, 0]).unwrap();
        let end = refusal(accepted, long());
        assert!(matches!(end, HandshakeError::Tls(_)), "{end}");
        let mut alert = Vec::new();
        client.read_to_end(&mut alert).unwrap();
        assert_eq!(alert.first(), Some(&21), "{alert:?}");
    }

    #[test]
    fn a_silent_client_meets_its_deadline() {
        let (_client, accepted) = sockets();
        assert_eq!(refusal(accepted, soon()).to_string(), "timed out");
        let (mut client, accepted) = sockets();
        client.write_all(&hello()).unwrap();
        assert_eq!(refusal(accepted, soon()).to_string(), "timed out");
    }

    #[test]
    fn a_trickling_client_meets_its_deadline() {
        let (mut client, accepted) = sockets();
        let trickle = thread::spawn(move || {
            // One long record, so that the hello is never complete: as many bytes as the server accepts.
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
        assert_eq!(refusal(accepted, soon()).to_string(), "timed out");
        assert!(trickle.join().unwrap() < 10_000);
    }

    #[test]
    fn reading_meets_its_deadline_with_half_a_record() {
        let (mut client, mut transport) = connected();
        client.conn.writer().write_all(b"request").unwrap();
        let mut record = Vec::new();
        client.conn.write_tls(&mut record).unwrap();
        client.sock.write_all(&record[..10]).unwrap();
        let mut buffer = [0; 16];
        let late = transport.read(&mut buffer, soon()).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        client.sock.write_all(&record[10..]).unwrap();
        // The bytes so far stay for the next, smaller reads.
        let mut whole = Vec::new();
        while whole.len() < 7 {
            let length = transport.read(&mut buffer[..3], long()).unwrap();
            whole.extend_from_slice(&buffer[..length]);
        }
        assert_eq!(whole, b"request");
    }

    #[test]
    fn nothing_is_read_from_the_socket_after_the_deadline() {
        let (mut client, mut transport) = connected();
        client.write_all(b"request").unwrap();
        wait_readable(&transport.socket, long()).unwrap();
        let mut buffer = [0; 16];
        let late = transport.read(&mut buffer, Instant::now()).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        assert_eq!(transport.read(&mut buffer, long()).unwrap(), 7);
        // Bytes that are already decrypted can be read at any time.
        client.write_all(b"request").unwrap();
        assert_eq!(transport.read(&mut buffer[..1], long()).unwrap(), 1);
        assert_eq!(transport.read(&mut buffer, Instant::now()).unwrap(), 6);
    }

    #[test]
    fn a_key_update_is_answered_and_is_not_an_end() {
        let (mut client, mut transport) = connected();
        client.conn.refresh_traffic_keys().unwrap();
        client.conn.write_tls(&mut client.sock).unwrap();
        let mut buffer = [0; 16];
        let late = transport.read(&mut buffer, soon()).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        client.write_all(b"after").unwrap();
        assert_eq!(transport.read(&mut buffer, long()).unwrap(), 5);
        transport.write_all(b"reply", long()).unwrap();
        client.read_exact(&mut buffer[..5]).unwrap();
        assert_eq!(&buffer[..5], b"reply");
    }

    #[test]
    fn endless_key_updates_are_refused() {
        let (mut client, mut transport) = connected();
        for _ in 0..40 {
            client.conn.refresh_traffic_keys().unwrap();
            client.conn.write_tls(&mut client.sock).unwrap();
        }
        let error = transport.read(&mut [0; 16], long()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_connection_ends_with_close_notify_or_without() {
        let (mut client, mut transport) = connected();
        client.conn.send_close_notify();
        client.conn.write_tls(&mut client.sock).unwrap();
        for _ in 0..2 {
            assert_eq!(transport.read(&mut [0; 16], long()).unwrap(), 0);
        }
        transport.write_all(b"bye", long()).unwrap();
        transport.close();
        let mut rest = Vec::new();
        // An end without `close_notify` would be an error for rustls.
        client.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"bye");

        let (client, mut transport) = connected();
        client.sock.shutdown(Shutdown::Write).unwrap();
        for _ in 0..2 {
            assert_eq!(transport.read(&mut [0; 16], long()).unwrap(), 0);
        }
    }

    #[test]
    fn a_slow_reader_gets_everything_and_one_that_never_reads_gets_an_error() {
        let (mut client, mut transport) = connected();
        let bytes: Vec<u8> = (0..8_000_000_u32).map(|n| (n % 251) as u8).collect();
        let expected = bytes.clone();
        let writer = on_small_stack(move || {
            transport.write_all(&bytes, long()).unwrap();
            transport.close();
        });
        let (mut got, mut chunk) = (Vec::new(), vec![0; 60_000]);
        while let Ok(length @ 1..) = client.read(&mut chunk) {
            got.extend_from_slice(&chunk[..length]);
        }
        writer.join().unwrap();
        assert!(got == expected, "{} bytes", got.len());

        let (_client, mut transport) = connected();
        let late = transport
            .write_all(&expected.repeat(4), soon())
            .unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        // Even then, closing is bounded.
        transport.close();
    }
}
