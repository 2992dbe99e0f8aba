//! Conflicts between parameters. A combination that iperf3 rejects or silently ignores is refused by name.
//!
//! A parameter without effect would make a graph misleading. Source: iperf3's code, versions 3.1 to 3.21. Must not know
//! how a single value is parsed.

use std::net::IpAddr;

use super::error::QueryError;
use super::options::Params;
use super::row::{Parameter, Protocol};
use super::table::PARAMETERS;
use crate::iperf3::target::Host;

/// Payload bytes of a UDP datagram that iperf3 accepts (`MIN_UDP_BLOCKSIZE`, `MAX_UDP_BLOCKSIZE` in iperf.h).
const UDP_LENGTHS: std::ops::RangeInclusive<u32> = 16..=65_507;
/// Minimum segment size in bytes that iperf3 sets with SCTP. It ignores smaller ones (`iperf_sctp_connect`).
const SCTP_MSS_LEAST: u16 = 512;

/// Refuses the first conflicting pair.
pub(super) fn check(params: &Params) -> Result<(), QueryError> {
    protocols(params)?;
    values(params)?;
    addresses(params)
}

/// Parameters that the protocol does not support.
fn protocols(params: &Params) -> Result<(), QueryError> {
    let options = &params.options;
    match (options.udp, options.sctp, options.mptcp) {
        (true, true, _) => return Err(QueryError::Exclusive("sctp", "udp_mode")),
        (true, _, true) => return Err(QueryError::Exclusive("mptcp", "udp_mode")),
        (_, true, true) => return Err(QueryError::Exclusive("mptcp", "sctp")),
        _ => {}
    }
    let (protocol, other, why) = match (options.udp, options.sctp) {
        (true, _) => (
            Protocol::Udp,
            "udp_mode",
            "iperf3 ignores the first with UDP",
        ),
        (_, true) => (Protocol::Sctp, "sctp", "iperf3 ignores the first with SCTP"),
        _ => (
            Protocol::Tcp,
            "udp_mode",
            "iperf3 ignores the first without UDP",
        ),
    };
    let is_ignored = |row: &&Parameter| row.ignored_with.contains(&protocol);
    let mut ignored = PARAMETERS.iter().filter(is_ignored);
    match ignored.find(|row| (row.display)(params).is_some()) {
        Some(row) => conflict(row.id(), other, why),
        None => Ok(()),
    }
}

/// Values that exclude each other.
fn values(params: &Params) -> Result<(), QueryError> {
    let options = &params.options;
    if options.dscp.is_some() && options.tos.is_some() {
        return Err(QueryError::Exclusive("dscp", "tos"));
    }
    let is_no_datagram = |length: u32| !UDP_LENGTHS.contains(&length);
    if options.udp && options.length.is_some_and(is_no_datagram) {
        return conflict("length", "udp_mode", "a datagram has 16 to 65507 bytes");
    }
    if options.sctp && options.mss.is_some_and(|mss| mss < SCTP_MSS_LEAST) {
        return conflict("mss", "sctp", "iperf3 ignores values below 512 with SCTP");
    }
    let streams = u32::from(params.parallel()) * u32::from(params.mode.directions());
    let last = u32::from(options.cport.unwrap_or_default()) + streams - 1;
    if last > u32::from(u16::MAX) {
        let other = match params.parallel() {
            1 => "bidirectional",
            _ => "parallel",
        };
        let why = "each stream uses a port, and the last one would be above 65535";
        return conflict("cport", other, why);
    }
    Ok(())
}

/// Addresses, devices and the IP version.
fn addresses(params: &Params) -> Result<(), QueryError> {
    let options = &params.options;
    let target = match &params.host {
        Host::Address { ip, .. } => Some(family_of(*ip)),
        Host::Name(_) => None,
    };
    let (bind, bind_device) = device_of(options.bind.as_deref().unwrap_or_default());
    let local = bind.parse().ok().map(family_of);
    for (name, family) in [("target", target), ("bind_address", local)] {
        if options.family.is_some() && family.is_some() && family != options.family {
            let why = "the address has the other IP version";
            return conflict("family", name, why);
        }
    }
    for (name, family) in [("target", target), ("family", options.family)] {
        if options.dont_fragment && family == Some(6) {
            return conflict("dont_fragment", name, "iperf3 ignores the first with IPv6");
        }
    }
    let (_, target_device) = device_of(params.host.as_str());
    for (name, device) in [("target", target_device), ("bind_address", bind_device)] {
        if options.bind_dev.is_some() && device.is_some() && device != options.bind_dev.as_deref() {
            let why = "each names a device, and iperf3 accepts only one";
            return conflict("bind_dev", name, why);
        }
    }
    Ok(())
}

fn conflict(one: &'static str, other: &'static str, why: &'static str) -> Result<(), QueryError> {
    Err(QueryError::Incompatible { one, other, why })
}

/// Splits an address and the device after its `%`.
fn device_of(text: &str) -> (&str, Option<&str>) {
    match text.split_once('%') {
        Some((address, device)) => (address, Some(device)),
        None => (text, None),
    }
}

fn family_of(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 4 } else { 6 }
}

#[cfg(test)]
mod tests {
    use crate::probe::params::Params;

    #[test]
    fn combinations_that_iperf3_rejects_or_ignores_are_refused_by_both_names() {
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
    fn combinations_with_an_effect_are_accepted() {
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
