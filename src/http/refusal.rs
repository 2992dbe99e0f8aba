//! What the front end answers by itself.
//!
//! Must not know why.

use std::time::Instant;

use super::client_stream::ClientStream;
use super::limits::Limits;

/// What a connection gets for which there is no room.
pub(super) const OVERLOADED_RESPONSE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 38\r\nRetry-After: 10\r\nConnection: close\r\n\r\ntoo many connections, try again later\n";

/// Answers for the front end itself, and ends the connection.
pub(super) fn refuse(limits: &Limits, stream: &mut dyn ClientStream, code: u16, line: &str) {
    let reason = match code {
        400 => "Bad Request",
        408 => "Request Timeout",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    };
    let retry = if code == 503 {
        "Retry-After: 10\r\n"
    } else {
        ""
    };
    let text = format!(
        "HTTP/1.1 {code} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n{retry}\
         Connection: close\r\n\r\n{line}\n",
        line.len() + 1
    );
    let until = Instant::now() + limits.drain;
    if stream.write_all(text.as_bytes(), until).is_err() {
        return;
    }
    stream.close();
    let _ = stream.socket().shutdown(std::net::Shutdown::Write);
    let (mut chunk, mut drained) = ([0; 4096], 0);
    while drained < limits.drain_bytes {
        match stream.read(&mut chunk, until) {
            Ok(length) if length > 0 => drained += length,
            _ => break,
        }
    }
}
