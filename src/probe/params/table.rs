//! The table of parameters: names, options, ranges, help, and how a value comes into the builder.
//!
//! Parser, form, log line and the README's table come from it. To add a parameter is to add a row here, a field of
//! [`Options`](super::Options), and its words in `iperf3/command`. The grammars of values are `values`'.

use std::fmt;
use std::time::Duration;

use super::options::{DEFAULT_PERIOD_SECONDS, DEFAULT_PORT, Family, Ports};
use super::row::{Input, Parameter};
use crate::duration;
use crate::iperf3::Mode;
use crate::iperf3::target;
use crate::number;
use crate::probe::values::{self, BOOLEAN_ALLOWED};

/// All parameters, in the order of the documentation.
pub(crate) const PARAMETERS: &[Parameter] = &[
    Parameter {
        names: &["target"],
        option: "-c",
        allowed: "a host name, an IPv4 address or an IPv6 address, each also with a port: host:5201, [::1]:5201",
        default: "required",
        label: "Target",
        help: "The iperf3 server.",
        input: Input::Text,
        is_rare: false,
        set: |builder, text| Some(builder.target = Some(target::parse_target(text)?)),
        // The log has it on every line.
        shown: |_| None,
    },
    Parameter {
        names: &["port"],
        option: "-p",
        allowed: "a port from 1 to 65535, or some in a row such as 5201-5209, at most 32",
        default: "5201",
        label: "Port",
        help: "The server's port; wins over the target's. Of several the next one is tried when one is busy.",
        input: Input::Text,
        is_rare: false,
        set: |builder, text| Some(builder.ports = Some(Ports::parse(text)?)),
        shown: |params| {
            (params.ports != Ports::one(DEFAULT_PORT)).then(|| params.ports.to_string())
        },
    },
    Parameter {
        names: &["period"],
        option: "-t",
        allowed: "a duration from 1s to 24h, such as 10s, 1m30s or 10",
        default: "5s",
        label: "Period",
        help: "How long to transmit; rounded up to whole seconds. Cut when the test, with omit, does not fit into its time.",
        input: Input::Text,
        is_rare: false,
        set: |builder, text| Some(builder.period_seconds = Some(values::period_seconds(text)?)),
        shown: |params| {
            (params.options.bytes.is_none() && params.period_seconds != DEFAULT_PERIOD_SECONDS)
                .then(|| duration::format(Duration::from_secs(params.period_seconds)))
        },
    },
    Parameter {
        names: &["reverse_mode"],
        option: "-R",
        allowed: BOOLEAN_ALLOWED,
        default: "false",
        label: "Download (reverse)",
        help: "The server sends and the client receives.",
        input: Input::Tick,
        is_rare: false,
        set: |builder, text| Some(builder.reverse = values::boolean(text)?),
        shown: |params| tick(params.mode == Mode::Reverse),
    },
    Parameter {
        names: &["bidirectional"],
        option: "--bidir",
        allowed: BOOLEAN_ALLOWED,
        default: "false",
        label: "Both ways",
        help: "Both ways at once; not together with reverse_mode.",
        input: Input::Tick,
        is_rare: false,
        set: |builder, text| Some(builder.bidirectional = values::boolean(text)?),
        shown: |params| tick(params.mode == Mode::Bidirectional),
    },
    Parameter {
        names: &["udp_mode"],
        option: "-u",
        allowed: BOOLEAN_ALLOWED,
        default: "false",
        label: "UDP",
        help: "UDP instead of TCP.",
        input: Input::Tick,
        is_rare: false,
        set: |builder, text| Some(builder.options.udp = values::boolean(text)?),
        shown: |params| tick(params.options.udp),
    },
    Parameter {
        names: &["bitrate"],
        option: "-b",
        allowed: "#[.#][KMG][/#] in bits a second, such as 100M, 1.5G or 10M/32: 0 for unlimited or 1 to 1000G, \
             and a burst of 1 to 1000 packets",
        default: "unlimited for TCP, 1M for UDP",
        label: "Bitrate",
        help: "Target bitrate of each stream, with the packets of a burst behind a slash.",
        input: Input::Text,
        is_rare: false,
        set: |builder, text| Some(builder.options.bitrate = Some(values::bitrate(text)?)),
        shown: |params| params.options.bitrate.clone(),
    },
    Parameter {
        names: &["parallel"],
        option: "-P",
        allowed: "a whole number from 1 to 128",
        default: "1",
        label: "Parallel streams",
        help: "Streams at a time, each way.",
        input: Input::Number(1, 128),
        is_rare: false,
        set: |builder, text| {
            let count = number::whole(text).filter(|count| (1..=128).contains(count))?;
            Some(builder.options.parallel = Some(count).filter(|count| *count != 1))
        },
        shown: |params| number(params.options.parallel),
    },
    Parameter {
        names: &["bind_address", "bind"],
        option: "-B",
        allowed: "an address or host name of this machine, or address%device",
        default: "the system's choice",
        label: "Local address",
        help: "Local address to send from, with several uplinks.",
        input: Input::Text,
        is_rare: true,
        set: |builder, text| Some(builder.options.bind = Some(values::bind(text)?)),
        shown: |params| params.options.bind.clone(),
    },
    Parameter {
        names: &["omit"],
        option: "-O",
        allowed: "a duration from 0 to 10m, such as 2s",
        default: "0s",
        label: "Omit at the start",
        help: "Transmit this long before the period begins and leave it out of the result: TCP's slow start. Rounded up to \
               whole seconds, never cut. iperf3 before 3.18 takes 60s at most.",
        input: Input::Text,
        is_rare: true,
        set: |builder, text| Some(builder.options.omit_seconds = values::omit_seconds(text)?),
        shown: |params| {
            let omit = Duration::from_secs(params.options.omit_seconds);
            (!omit.is_zero()).then(|| duration::format(omit))
        },
    },
    Parameter {
        names: &["bytes"],
        option: "-n",
        allowed: "#[.#][KMG] with K = 1024, from 1 to 1024G, such as 10M",
        default: "none, the period ends it",
        label: "Bytes instead of a period",
        help: "End when so many bytes were sent or received, all streams together; both ways, the faster one ends it. What is \
               omitted comes on top, iperf3 up to 3.15 does not count what is still on its way at the end, and from \
               3.16 on it goes on to the end of that second: take far more than buffers hold.",
        input: Input::Text,
        is_rare: true,
        set: |builder, text| Some(builder.options.bytes = Some(values::size(text, 1 << 40)?)),
        shown: |params| number(params.options.bytes),
    },
    Parameter {
        names: &["connect_timeout"],
        option: "--connect-timeout",
        allowed: "a duration from 1ms to 1h, such as 2s",
        default: "5s, where iperf3 has it (3.2)",
        label: "Connect timeout",
        help: "How long the control connection may take to be made: what a dead target costs. Without it the system gives up \
               after two minutes.",
        input: Input::Text,
        is_rare: true,
        set: |builder, text| {
            Some(builder.options.connect_timeout_ms = Some(values::connect_timeout_ms(text)?))
        },
        shown: |params| {
            let wait = Duration::from_millis(params.options.connect_timeout_ms?.into());
            Some(duration::format(wait))
        },
    },
    Parameter {
        names: &["family"],
        option: "-4, -6",
        allowed: "4 or 6",
        default: "the system's choice",
        label: "IP version (4 or 6)",
        help: "Use IPv4 only, or IPv6 only.",
        input: Input::Text,
        is_rare: true,
        set: |builder, text| Some(builder.options.family = Some(Family::parse(text)?)),
        shown: |params| {
            params
                .options
                .family
                .map(|family| family.digit().to_owned())
        },
    },
    Parameter {
        names: &["bind_dev"],
        option: "--bind-dev",
        allowed: "the name of a network device of this machine, at most 15 characters",
        default: "the system's choice",
        label: "Local device",
        help: "Send through this device. iperf3 has it from 3.10 on.",
        input: Input::Text,
        is_rare: true,
        set: |builder, text| {
            target::is_interface(text).then(|| builder.options.bind_dev = Some(text.to_owned()))
        },
        shown: |params| params.options.bind_dev.clone(),
    },
    Parameter {
        names: &["cport"],
        option: "--cport",
        allowed: "a port from 1 to 65535",
        default: "chosen by the system",
        label: "Local port",
        help: "Local port of the first stream; further streams take the ports after it. The test fails while anything else \
               has one of them, and after a reverse test for a minute (TIME_WAIT).",
        input: Input::Number(1, 65535),
        is_rare: true,
        set: |builder, text| Some(builder.options.cport = Some(target::parse_port(text)?)),
        shown: |params| number(params.options.cport),
    },
    Parameter {
        names: &["window"],
        option: "-w",
        allowed: "#[.#][KMG] bytes with K = 1024, from 1 to 512M, such as 4M",
        default: "the system's choice",
        label: "Socket buffers",
        help: "Size of the socket buffers at both ends, which bounds TCP's window. A system that does not give so much \
               fails the test.",
        input: Input::Text,
        is_rare: true,
        set: |builder, text| {
            let size = values::size(text, 512 << 20)?;
            Some(builder.options.window = Some(u32::try_from(size).ok()?))
        },
        shown: |params| number(params.options.window),
    },
    Parameter {
        names: &["length"],
        option: "-l",
        allowed: "#[.#][KMG] bytes with K = 1024, from 1 to 1M; 16 to 65507 with udp_mode",
        default: "128K for TCP, 64K for SCTP, what fits into a packet for UDP",
        label: "Block length",
        help: "Bytes that are written or read at a time; with UDP the payload of a datagram.",
        input: Input::Text,
        is_rare: true,
        set: |builder, text| {
            let size = values::size(text, 1 << 20)?;
            Some(builder.options.length = Some(u32::try_from(size).ok()?))
        },
        shown: |params| number(params.options.length),
    },
    Parameter {
        names: &["mss"],
        option: "-M",
        allowed: "a whole number of bytes from 88 to 32767; 512 and more with sctp",
        default: "the system's choice",
        label: "Segment size (MSS)",
        help: "TCP's or SCTP's largest segment. iperf3 before 3.21 takes 9216 at most.",
        input: Input::Number(88, 32767),
        is_rare: true,
        set: |builder, text| {
            let size = number::whole(text).filter(|size| (88..=32_767).contains(size))?;
            Some(builder.options.mss = Some(size))
        },
        shown: |params| number(params.options.mss),
    },
    Parameter {
        names: &["congestion"],
        option: "-C",
        allowed: "the name of an algorithm such as bbr: letters, digits, - and _, at most 15 characters",
        default: "the system's choice",
        label: "Congestion control",
        help: "TCP's congestion control at both ends, which both systems must have.",
        input: Input::Text,
        is_rare: true,
        set: |builder, text| Some(builder.options.congestion = Some(values::algorithm(text)?)),
        shown: |params| params.options.congestion.clone(),
    },
    Parameter {
        names: &["dscp"],
        option: "--dscp",
        allowed: "a number from 0 to 63, also 0x2e or 056, or a name such as ef, af31 or cs5",
        default: "0",
        label: "DSCP",
        help: "Class of the test's packets.",
        input: Input::Text,
        is_rare: true,
        set: |builder, text| Some(builder.options.dscp = Some(values::dscp(text)?)),
        shown: |params| params.options.dscp.clone(),
    },
    Parameter {
        names: &["tos"],
        option: "-S",
        allowed: "a number from 0 to 255, also 0xb8 or 0270",
        default: "0",
        label: "Type of service",
        help: "The whole byte that dscp is the upper six bits of; not together with dscp.",
        input: Input::Text,
        is_rare: true,
        set: |builder, text| Some(builder.options.tos = Some(values::byte(text)?)),
        shown: |params| number(params.options.tos),
    },
    Parameter {
        names: &["fq_rate"],
        option: "--fq-rate",
        allowed: "#[.#][KMG] bits a second with K = 1000, from 8 to 1000G, such as 100M",
        default: "no pacing",
        label: "Pacing rate",
        help: "Rate at which the sender's kernel lets the packets of each stream go (fair queueing).",
        input: Input::Text,
        is_rare: true,
        set: |builder, text| Some(builder.options.fq_rate = Some(values::fq_rate(text)?)),
        shown: |params| number(params.options.fq_rate),
    },
    Parameter {
        names: &["no_delay"],
        option: "-N",
        allowed: BOOLEAN_ALLOWED,
        default: "false",
        label: "No delay",
        help: "Send small blocks at once (no Nagle); TCP and SCTP.",
        input: Input::Tick,
        is_rare: true,
        set: |builder, text| Some(builder.options.no_delay = values::boolean(text)?),
        shown: |params| tick(params.options.no_delay),
    },
    Parameter {
        names: &["zero_copy"],
        option: "-Z",
        allowed: BOOLEAN_ALLOWED,
        default: "false",
        label: "Zero copy",
        help: "Send with sendfile(2), which takes less of the CPU; TCP.",
        input: Input::Tick,
        is_rare: true,
        set: |builder, text| Some(builder.options.zero_copy = values::boolean(text)?),
        shown: |params| tick(params.options.zero_copy),
    },
    Parameter {
        names: &["dont_fragment"],
        option: "--dont-fragment",
        allowed: BOOLEAN_ALLOWED,
        default: "false",
        label: "Do not fragment",
        help: "UDP over IPv4 with the flag that forbids routers to fragment. iperf3 has it from 3.10 on.",
        input: Input::Tick,
        is_rare: true,
        set: |builder, text| Some(builder.options.dont_fragment = values::boolean(text)?),
        shown: |params| tick(params.options.dont_fragment),
    },
    Parameter {
        names: &["mptcp"],
        option: "--mptcp",
        allowed: BOOLEAN_ALLOWED,
        default: "false",
        label: "Multipath TCP",
        help: "MPTCP instead of TCP. iperf3 has it from 3.19 on.",
        input: Input::Tick,
        is_rare: true,
        set: |builder, text| Some(builder.options.mptcp = values::boolean(text)?),
        shown: |params| tick(params.options.mptcp),
    },
    Parameter {
        names: &["sctp"],
        option: "--sctp",
        allowed: BOOLEAN_ALLOWED,
        default: "false",
        label: "SCTP",
        help: "SCTP instead of TCP, where iperf3 was built with it and both kernels have it.",
        input: Input::Tick,
        is_rare: true,
        set: |builder, text| Some(builder.options.sctp = values::boolean(text)?),
        shown: |params| tick(params.options.sctp),
    },
    Parameter {
        names: &["max_age"],
        option: "",
        allowed: "a duration from 1s to 168h, such as 30m",
        default: "a new test each time",
        label: "Accept a result as old as",
        help: "Answer with a result of the very same test that is not older, without a new test.",
        input: Input::None,
        is_rare: false,
        set: |builder, text| Some(builder.options.max_age = Some(values::max_age(text)?)),
        shown: |params| params.options.max_age.map(duration::format),
    },
    Parameter {
        names: &["debug"],
        option: "",
        allowed: BOOLEAN_ALLOWED,
        default: "false",
        label: "Tell all (debug)",
        help: "Answer with the story of the probe as text: command line, times, iperf3's own words, and the metrics.",
        input: Input::None,
        is_rare: false,
        set: |builder, text| Some(builder.options.debug = values::boolean(text)?),
        shown: |params| tick(params.options.debug),
    },
];

fn number(value: Option<impl fmt::Display>) -> Option<String> {
    value.map(|value| value.to_string())
}

fn tick(value: bool) -> Option<String> {
    value.then(|| "true".to_owned())
}
