//! Listen addresses: parses them and opens their sockets.
//!
//! Must not know HTTP.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

use crate::number;
use crate::sys;

/// A listen address, as a flag gives it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// Host name or address. `None` means every address of this host.
    host: Option<String>,
    port: u16,
}

impl Address {
    /// Every address of this host, IPv6 and IPv4.
    pub(crate) fn any(port: u16) -> Self {
        Self { host: None, port }
    }

    pub(crate) fn is_any(&self) -> bool {
        self.host.is_none()
    }

    /// Parses `:port`, `host:port` or `[v6]:port`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = number::whole(port)?;
        if host.is_empty() {
            return Some(Self::any(port));
        }
        let bracketed = host.strip_prefix('[').map(|rest| rest.strip_suffix(']'));
        let host = match bracketed {
            Some(inner) => inner.filter(|inner| inner.parse::<Ipv6Addr>().is_ok())?,
            // An IPv6 address needs brackets here: its last group could be read as the port.
            None if host.contains(':') || host.contains(char::is_whitespace) => return None,
            None => host,
        };
        Some(Self {
            host: Some(host.to_owned()),
            port,
        })
    }

    /// Opens the sockets. A host gets one. `:port` gets one for both families if the system allows it, otherwise one
    /// for each family, or IPv4 alone where IPv6 is off.
    pub(crate) fn bind(&self) -> io::Result<Vec<TcpListener>> {
        let Some(host) = &self.host else {
            return bind_any(self.port);
        };
        let addresses = (host.as_str(), self.port).to_socket_addrs()?;
        // A name such as localhost can have addresses of both families. IPv4 comes first, as in Go's exporters.
        let (mut addresses, others): (Vec<SocketAddr>, Vec<_>) =
            addresses.partition(SocketAddr::is_ipv4);
        addresses.extend(others);
        Ok(vec![TcpListener::bind(addresses.as_slice())?])
    }
}

fn bind_any(port: u16) -> io::Result<Vec<TcpListener>> {
    let v6 = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)) {
        Ok(v6) => v6,
        // The port is taken. IPv4 alone would be only half of what was asked for.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
        // IPv6 is off on this host.
        Err(_) => return Ok(vec![TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?]),
    };
    let port = v6.local_addr()?.port();
    // With `net.ipv6.bindv6only` set, the socket does not accept IPv4.
    if sys::is_v6_only(&v6)? {
        return Ok(vec![v6, TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?]);
    }
    Ok(vec![v6])
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            None => write!(f, ":{}", self.port),
            Some(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            Some(host) => write!(f, "{host}:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn every_form_is_parsed_and_formatted_back() {
        for text in [
            ":9579",
            "127.0.0.1:0",
            "localhost:80",
            "[::1]:65535",
            "0.0.0.0:1",
        ] {
            assert_eq!(
                Address::parse(text).map(|a| a.to_string()).as_deref(),
                Some(text)
            );
        }
    }

    #[test]
    fn invalid_addresses_are_rejected() {
        for text in [
            "",
            ":",
            "9579",
            "host:",
            "host:x",
            ":+1",
            "::1:80",
            "[::1]",
            "[::1:80",
            "[host]:80",
            ":65536",
            "a b:1",
        ] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }

    #[test]
    fn any_address_takes_both_families() {
        let sockets = Address::any(0).bind().unwrap();
        let port = sockets[0].local_addr().unwrap().port();
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        if sockets[0].local_addr().unwrap().is_ipv6() {
            std::net::TcpStream::connect(("::1", port)).unwrap();
        }
    }
}
