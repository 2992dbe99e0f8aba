//! Which parameters go together: what iperf3 would refuse, and what it would silently ignore, is refused by name.
//!
//! A parameter without effect would make a graph lie about what it shows. Looked up in iperf3's source, 3.1 to 3.21;
//! must not know how a single value is read.

use std::net::IpAddr;

use super::options::{Family, Options, Params};
use super::refusal::Refusal;
use super::row::Protocol;
use super::table::PARAMETERS;
use crate::iperf3::target::Host;

/// Payload of a UDP datagram that iperf3 takes (`MIN_UDP_BLOCKSIZE`, `MAX_UDP_BLOCKSIZE` in iperf.h).
const UDP_LENGTHS: std::ops::RangeInclusive<u32> = 16..=65_507;
/// Least segment that iperf3 asks SCTP for; less is ignored (`iperf_sctp_connect`).
const SCTP_MSS_LEAST: u16 = 512;

/// Refuses the first two that do not go together.
pub(super) fn check(params: &Params) -> Result<(), Refusal> {
    protocols(params)?;
    values(params)?;
    addresses(params)
}

/// What a protocol does not have.
fn protocols(params: &Params) -> Result<(), Refusal> {
    let options = &params.options;
    match (options.udp, options.sctp, options.mptcp) {
        (true, true, _) => return Err(Refusal::Together("sctp", "udp_mode")),
        (true, _, true) => return Err(Refusal::Together("mptcp", "udp_mode")),
        (_, true, true) => return Err(Refusal::Together("mptcp", "sctp")),
        _ => {}
    }
    let (protocol, other, why) = match (options.udp, options.sctp) {
        (true, _) => (Protocol::Udp, "udp_mode", "iperf3 ignores it with UDP"),
        (_, true) => (Protocol::Sctp, "sctp", "iperf3 ignores it with SCTP"),
        _ => (Protocol::Tcp, "udp_mode", "iperf3 ignores it without UDP"),
    };
    let mut ignored = PARAMETERS
        .iter()
        .filter(|row| row.ignored_with.contains(&protocol));
    match ignored.find(|row| (row.display)(params).is_some()) {
        Some(row) => Err(Refusal::Conflict(row.id(), other, why)),
        None => Ok(()),
    }
}

/// Values that exclude each other.
fn values(params: &Params) -> Result<(), Refusal> {
    let options = &params.options;
    if options.dscp.is_some() && options.tos.is_some() {
        return Err(Refusal::Together("dscp", "tos"));
    }
    if options.udp
        && options
            .length
            .is_some_and(|length| !UDP_LENGTHS.contains(&length))
    {
        let why = "a datagram has 16 to 65507 bytes";
        return Err(Refusal::Conflict("length", "udp_mode", why));
    }
    if options.sctp && options.mss.is_some_and(|mss| mss < SCTP_MSS_LEAST) {
        let why = "iperf3 ignores less than 512 with SCTP";
        return Err(Refusal::Conflict("mss", "sctp", why));
    }
    let streams = u32::from(params.parallel()) * u32::from(params.mode.directions());
    let last = u32::from(options.cport.unwrap_or_default()) + streams - 1;
    if last > u32::from(u16::MAX) {
        let other = if params.parallel() > 1 {
            "parallel"
        } else {
            "bidirectional"
        };
        let why = "each stream takes a port, and the last would be above 65535";
        return Err(Refusal::Conflict("cport", other, why));
    }
    Ok(())
}

/// Addresses, devices and the version of IP.
fn addresses(params: &Params) -> Result<(), Refusal> {
    let Options {
        family,
        bind_dev,
        dont_fragment,
        ..
    } = &params.options;
    let bind = params.options.bind.as_deref().map(|bind| device_of(bind));
    let target = match &params.host {
        Host::Address { ip, .. } => Some(family_of(*ip)),
        Host::Name(_) => None,
    };
    let local = bind.and_then(|(address, _)| Some(family_of(address.parse().ok()?)));
    let why = "the address is of the other version of IP";
    if let Some(family) = family {
        if target.is_some_and(|target| target != *family) {
            return Err(Refusal::Conflict("family", "target", why));
        }
        if local.is_some_and(|local| local != *family) {
            return Err(Refusal::Conflict("family", "bind_address", why));
        }
    }
    let ignored = "iperf3 ignores it with IPv6";
    if *dont_fragment && target == Some(Family::V6) {
        return Err(Refusal::Conflict("dont_fragment", "target", ignored));
    }
    if *dont_fragment && *family == Some(Family::V6) {
        return Err(Refusal::Conflict("dont_fragment", "family", ignored));
    }
    if let Some(device) = bind_dev {
        let other = |named: Option<&str>| named.is_some_and(|named| named != device);
        let why = "each names a device, and iperf3 takes one";
        if other(device_of(params.host.as_str()).1) {
            return Err(Refusal::Conflict("bind_dev", "target", why));
        }
        if other(bind.and_then(|(_, device)| device)) {
            return Err(Refusal::Conflict("bind_dev", "bind_address", why));
        }
    }
    Ok(())
}

/// An address and the device behind its `%`.
fn device_of(text: &str) -> (&str, Option<&str>) {
    match text.split_once('%') {
        Some((address, device)) => (address, Some(device)),
        None => (text, None),
    }
}

fn family_of(ip: IpAddr) -> Family {
    match ip {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}

#[cfg(test)]
mod tests {
    use crate::probe::params::Params;

    #[test]
    fn what_iperf3_refuses_or_ignores_is_refused_by_both_names() {
        for (query, one, other) in [
            ("target=a&period=5&bytes=1M", "period", "bytes"),
            ("target=a&sctp=1&udp_mode=1", "sctp", "udp_mode"),
            ("target=a&mptcp=1&udp_mode=1", "mptcp", "udp_mode"),
            ("target=a&mptcp=1&sctp=1", "mptcp", "sctp"),
            ("target=a&mss=1400&udp_mode=1", "mss", "udp_mode"),
            ("target=a&no_delay=1&udp_mode=1", "no_delay", "udp_mode"),
            (
                "target=a&congestion=bbr&udp_mode=1",
                "congestion",
                "udp_mode",
            ),
            ("target=a&zero_copy=1&udp_mode=1", "zero_copy", "udp_mode"),
            ("target=a&congestion=bbr&sctp=1", "congestion", "sctp"),
            ("target=a&zero_copy=1&sctp=1", "zero_copy", "sctp"),
            ("target=a&fq_rate=1M&sctp=1", "fq_rate", "sctp"),
            ("target=a&dscp=ef&sctp=1", "dscp", "sctp"),
            ("target=a&tos=8&sctp=1", "tos", "sctp"),
            ("target=a&mss=511&sctp=1", "mss", "sctp"),
            ("target=a&dont_fragment=1", "dont_fragment", "udp_mode"),
            ("target=a&dont_fragment=1&sctp=1", "dont_fragment", "sctp"),
            (
                "target=::1&dont_fragment=1&udp_mode=1",
                "dont_fragment",
                "target",
            ),
            (
                "target=a&dont_fragment=1&udp_mode=1&family=6",
                "dont_fragment",
                "family",
            ),
            ("target=a&dscp=ef&tos=8", "dscp", "tos"),
            ("target=a&length=15&udp_mode=1", "length", "udp_mode"),
            ("target=a&length=65508&udp_mode=1", "length", "udp_mode"),
            ("target=a&cport=65535&parallel=2", "cport", "parallel"),
            (
                "target=a&cport=65535&bidirectional=1",
                "cport",
                "bidirectional",
            ),
            ("target=192.0.2.1&family=6", "family", "target"),
            ("target=::1&family=4", "family", "target"),
            ("target=a&bind=192.0.2.1&family=6", "family", "bind_address"),
            (
                "target=a&bind=192.0.2.1%25eth0&family=6",
                "family",
                "bind_address",
            ),
            ("target=a&bind=::1&family=4", "family", "bind_address"),
            (
                "target=a&bind=192.0.2.1%25eth0&bind_dev=eth1",
                "bind_dev",
                "bind_address",
            ),
            ("target=fe80::1%25eth0&bind_dev=eth1", "bind_dev", "target"),
        ] {
            let line = Params::parse(query).expect_err(query).to_string();
            let start = format!("parameters {one:?} and {other:?} ");
            assert!(line.starts_with(&start), "{query}: {line}");
        }
    }

    #[test]
    fn what_has_an_effect_is_let_through() {
        for query in [
            "target=a&bytes=1M&period=",
            "target=a&udp_mode=1&no_delay=0&mptcp=false&sctp=0&zero_copy=F",
            "target=a&udp_mode=1&dscp=ef&fq_rate=1M&window=1M&cport=5000&dont_fragment=1&family=4",
            "target=192.0.2.1&udp_mode=1&dont_fragment=1&length=16",
            "target=a&udp_mode=1&length=65507",
            "target=a&sctp=1&mss=512&no_delay=1&window=1M",
            "target=a&mptcp=1&no_delay=1&congestion=bbr&tos=8",
            "target=a&cport=65535",
            "target=a&cport=65408&parallel=128",
            "target=::1&family=6",
            "target=192.0.2.1&family=4&bind=192.0.2.2",
            "target=fe80::1%25eth0&bind_dev=eth0",
            "target=a&bind=192.0.2.1%25eth0&bind_dev=eth0",
        ] {
            assert!(Params::parse(query).is_ok(), "{query}");
        }
    }
}
