//! Many requests over some connections, and bare servers that respond to the same load: the machine's own share.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::client::Client;
use crate::table::Samples;
use crate::tls::Tls;

/// Sends requests over all connections at once, up to a time and a number; the times of all responses.
///
/// One thread polls all connections. One thread per connection would compete with the exporter on a machine with two
/// processors, and their waiting for each other would count as the exporter's time.
pub(crate) fn load(clients: &mut [Client], path: &str, time: Duration) -> Result<Samples, String> {
    /// More than any machine answers in the time.
    const MOST_REQUESTS: usize = 500_000;
    let mut times = Samples::default();
    let mut sent = Vec::new();
    for client in clients.iter_mut() {
        client.send(path)?;
        sent.push(Instant::now());
    }
    let end = Instant::now() + time;
    let mut in_work = clients.len();
    while in_work > 0 {
        let ready = answered(clients)?;
        for ((client, sent), _) in clients
            .iter_mut()
            .zip(&mut sent)
            .zip(ready)
            .filter(|(_, is_ready)| *is_ready)
        {
            client.receive()?;
            let now = Instant::now();
            times.add_time(now - *sent);
            if now < end && times.len() < MOST_REQUESTS {
                *sent = now;
                client.send(path)?;
            } else {
                in_work -= 1;
            }
        }
    }
    Ok(times)
}

/// The same with any path: responses per second.
pub(crate) fn rate(clients: &mut [Client], time: Duration) -> Result<f64, String> {
    let begin = Instant::now();
    let answers = load(clients, "/", time)?.len() as f64;
    Ok(answers / begin.elapsed().as_secs_f64())
}

/// The connections that have a response; waits until there is one.
fn answered(clients: &[Client]) -> Result<Vec<bool>, String> {
    /// Far longer than any response takes.
    const LIMIT: Timespec = Timespec {
        tv_sec: 30,
        tv_nsec: 0,
    };
    let mut polled: Vec<PollFd<'_>> = clients
        .iter()
        .map(|client| PollFd::new(client, PollFlags::IN))
        .collect();
    match rustix::event::poll(&mut polled, Some(&LIMIT)) {
        Ok(0) => Err("no answer to a request".to_owned()),
        Ok(_) => Ok(polled.iter().map(|fd| !fd.revents().is_empty()).collect()),
        Err(error) => Err(format!("cannot poll: {error}")),
    }
}

/// A server in this process without any work of its own.
#[derive(Clone, Copy)]
pub(crate) enum Bare<'a> {
    /// A thread for each connection, with TLS or without.
    Thread(Option<&'a Tls>),
    /// Plain `tiny_http`, with one loop that responds.
    TinyHttp,
}

impl Bare<'_> {
    /// A client of a new server whose responses have a body of this size. The server ends with its client.
    pub(crate) fn client(self, body_bytes: usize) -> Result<Client, String> {
        let mut clients = self.clients(1, body_bytes)?;
        clients.pop().ok_or_else(|| "no client".to_owned())
    }

    /// Several clients of one server, each with its first response.
    pub(crate) fn clients(self, count: usize, body_bytes: usize) -> Result<Vec<Client>, String> {
        let body = "x".repeat(body_bytes);
        let (port, tls) = match self {
            Self::Thread(tls) => (serve_bare(count, &body, tls.cloned()), tls),
            Self::TinyHttp => (serve_tiny_http(body), None),
        };
        let port = port.map_err(|error| format!("cannot measure the loopback: {error}"))?;
        let mut clients = Vec::new();
        for _ in 0..count {
            let mut client = Client::connect(port, tls)?;
            client.get("/")?;
            clients.push(client);
        }
        Ok(clients)
    }
}

/// Threads that respond to each read; their port.
fn serve_bare(count: usize, body: &str, tls: Option<Tls>) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    thread::spawn(move || {
        for stream in listener.incoming().take(count).flatten() {
            let (answer, tls) = (answer.clone(), tls.clone());
            thread::spawn(move || {
                let _ = stream.set_nodelay(true);
                match tls {
                    None => echo(stream, &answer),
                    Some(tls) => tls
                        .answer_hands(stream)
                        .and_then(|wire| echo(wire, &answer)),
                }
            });
        }
    });
    Ok(port)
}

fn echo(mut wire: impl Read + Write, answer: &str) -> io::Result<()> {
    let mut request = [0; 1024];
    while wire.read(&mut request)? > 0 {
        wire.write_all(answer.as_bytes())?;
    }
    Ok(())
}

/// The library alone; it stays idle until the bench ends.
fn serve_tiny_http(body: String) -> io::Result<u16> {
    let server = tiny_http::Server::http((Ipv4Addr::LOCALHOST, 0)).map_err(io::Error::other)?;
    let address = server.server_addr().to_ip();
    let port = address.ok_or(io::ErrorKind::AddrNotAvailable)?.port();
    thread::spawn(move || {
        for request in server.incoming_requests() {
            let _ = request.respond(tiny_http::Response::from_string(body.as_str()));
        }
    });
    Ok(port)
}

/// A thread that makes a handshake with this number of clients and closes each connection; its port.
pub(crate) fn serve_handshakes(count: u32, tls: Tls) -> Result<u16, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .map_err(|error| format!("cannot measure the loopback: {error}"))?;
    let port = listener
        .local_addr()
        .map_err(|error| format!("cannot measure the loopback: {error}"))?
        .port();
    thread::spawn(move || {
        let mut served = 0;
        while served < count
            && let Ok((stream, _)) = listener.accept()
        {
            let _ = shake(&tls, stream);
            served += 1;
        }
    });
    Ok(port)
}

fn shake(tls: &Tls, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // Until the client closes, as the exporter does.
    let mut wire = tls.answer_hands(stream)?;
    let _ = wire.read(&mut [0; 16])?;
    Ok(())
}
