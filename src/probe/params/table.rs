//! The parameter table: names, options, ranges and help, and how a value is parsed, displayed and passed to iperf3.
//!
//! The parser, the form, log lines, the command line and the documentation's table come from it. To add a parameter,
//! add a row here and a field to [`Options`](super::options::Options). `values` has the grammars of values.

use std::time::Duration;

use super::options::{DEFAULT_PERIOD_SECONDS, DEFAULT_PORT, Ports, Selected};
use super::row::{Input, Parameter, Protocol, SWITCH, Shown, VALUE};
use crate::iperf3::Mode;
use crate::iperf3::args::{Args, Need};
use crate::iperf3::target;
use crate::number;
use crate::probe::values;
use crate::sys;

/// Default connect timeout in milliseconds. A dead target then costs five seconds, instead of the two minutes after
/// which Linux gives up.
const CONNECT_TIMEOUT_MS: u32 = 5000;

pub(super) const TARGET_ALLOWED: &str = "a host name, IPv4 address or IPv6 address, optionally with a port: \
                                         host:5201, [::1]:5201";

/// All parameters, in the order of the documentation and of the command line.
pub(crate) const PARAMETERS: &[Parameter] = &[
    Parameter {
        names: &["target"],
        option: "-c",
        allowed: TARGET_ALLOWED,
        default: "required",
        label: "Target",
        help: "The iperf3 server.",
        is_rare: false,
        set: |builder, text| Some(builder.target = Some(target::parse_target(text)?)),
        // The log has it on every line.
        display: |_| None,
        args: |row, test, args| args.value(row.option, test.params.host.as_str()),
        ..VALUE
    },
    Parameter {
        names: &["port"],
        option: "-p",
        allowed: "a port from 1 to 65535, or a range of at most 32 ports such as 5201-5209",
        default: "5201",
        label: "Port",
        help: "The server's port. It overrides a port in target. With a range, the next port is tried when one is \
               busy.",
        is_rare: false,
        set: |builder, text| Some(builder.ports = Some(Ports::parse(text)?)),
        display: |params| {
            (params.ports != Ports::one(DEFAULT_PORT)).then_some(Shown::Ports(params.ports))
        },
        args: |row, test, args| args.value(row.option, test.port),
        ..VALUE
    },
    Parameter {
        names: &["period"],
        option: "-t",
        allowed: "a duration from 1s to 24h, such as 10s, 1m30s or 10",
        default: "5s",
        label: "Period",
        help: "How long to transmit, rounded up to whole seconds. It is shortened when omit and period together do \
               not fit into the available time.",
        is_rare: false,
        set: |builder, text| {
            Some(builder.period_seconds = Some(values::seconds(text, 1..=86_400)?))
        },
        display: |params| {
            (params.options.bytes.is_none() && params.period_seconds != DEFAULT_PERIOD_SECONDS)
                .then(|| Shown::time(Duration::from_secs(params.period_seconds)))
        },
        args: |row, test, args| {
            match test.params.options.bytes {
                None => args.value(row.option, test.period_seconds),
                Some(bytes) => {
                    args.needed_by(Need::Parameter("bytes"));
                    args.value("-n", bytes);
                }
            }
            if let Some(seconds) = test.interval_seconds(args.streams()) {
                args.value("-i", seconds);
            }
        },
        ..VALUE
    },
    Parameter {
        names: &["reverse_mode"],
        option: "-R",
        label: "Download",
        help: "The server sends and the client receives.",
        is_rare: false,
        set: |builder, text| Some(builder.reverse = values::boolean(text)?),
        display: |params| tick(params.mode == Mode::Reverse),
        ..SWITCH
    },
    Parameter {
        names: &["bidirectional"],
        option: "--bidir",
        label: "Both at once",
        help: "Transmit in both directions at once. Cannot be combined with reverse_mode.",
        is_rare: false,
        set: |builder, text| Some(builder.bidirectional = values::boolean(text)?),
        display: |params| tick(params.mode == Mode::Bidirectional),
        ..SWITCH
    },
    Parameter {
        names: &["udp_mode"],
        option: "-u",
        label: "UDP",
        help: "Use UDP instead of TCP.",
        is_rare: false,
        set: |builder, text| Some(builder.options.udp = values::boolean(text)?),
        display: |params| tick(params.options.udp),
        ..SWITCH
    },
    Parameter {
        names: &["bitrate"],
        option: "-b",
        allowed: "#[.#][KMG][/#] in bits per second, such as 100M, 1.5G or 10M/32: 0 for unlimited or 1 to 1000G, \
                  and a burst of 1 to 1000 packets",
        default: "unlimited for TCP, 1M for UDP",
        label: "Bitrate",
        help: "Target bitrate of each stream. A number after a slash sets the packets in a burst.",
        is_rare: false,
        set: |builder, text| Some(builder.options.bitrate = Some(values::bitrate(text)?)),
        display: |params| text(params.options.bitrate.as_ref()),
        ..VALUE
    },
    Parameter {
        names: &["parallel"],
        option: "-P",
        allowed: "a whole number from 1 to 128",
        default: "1",
        label: "Parallel streams",
        help: "Number of parallel streams in each direction.",
        input: Input::Number(1, 128),
        is_rare: false,
        set: |builder, text| {
            let count = number::within(text, 1..=128)?;
            Some(builder.options.parallel = Some(count).filter(|count| *count != 1))
        },
        display: |params| number(params.options.parallel),
        ..VALUE
    },
    Parameter {
        names: &["bind_address", "bind"],
        option: "-B",
        allowed: "an address, host name or network device of this host, or address%device",
        label: "Local address",
        help: "Local address to send from, for hosts with several uplinks. The name of a network device works like \
               bind_dev.",
        set: |builder, text| Some(builder.options.bind = Some(values::bind(text)?)),
        display: |params| text(params.options.bind.as_ref()),
        args: |row, test, args| {
            let options = &test.params.options;
            match &options.bind {
                // Two of the exporters that this one replaces call it "address or interface".
                Some(device) if options.bind_dev.is_none() && sys::is_device(device) => {
                    args.value("--bind-dev", device);
                }
                // `bind_dev` already names this device.
                Some(device) if options.bind_dev.as_ref() == Some(device) => {}
                Some(address) => args.value(row.option, address),
                None => {}
            }
        },
        ..VALUE
    },
    Parameter {
        names: &["omit"],
        option: "-O",
        allowed: "a duration from 0 to 10m, such as 2s",
        default: "0s",
        label: "Omit at the start",
        help: "Time to transmit before the period begins. It is left out of the result, to exclude TCP's slow \
               start. It is rounded up to whole seconds and never shortened. iperf3 before 3.18 allows at most 60s.",
        // The maximum is `MAX_OMIT_TIME` of iperf.h in 3.18. Before that, iperf3's limit was 60 s.
        set: |builder, text| Some(builder.options.omit_seconds = values::seconds(text, 0..=600)?),
        display: |params| {
            let omit = Duration::from_secs(params.options.omit_seconds);
            (!omit.is_zero()).then(|| Shown::time(omit))
        },
        args: |row, test, args| {
            if test.params.options.omit_seconds > 0 {
                args.value(row.option, test.params.options.omit_seconds);
            }
        },
        ..VALUE
    },
    Parameter {
        names: &["bytes"],
        option: "-n",
        allowed: "#[.#][KMG] with K = 1024, from 1 to 1024G, such as 10M",
        default: "none, period ends the test",
        label: "Bytes instead of a period",
        help: "Stop after this many bytes, all streams together. With bidirectional, the faster direction ends the \
               test. Bytes sent during omit do not count. iperf3 up to 3.15 does not count bytes still in transit \
               at the end. From 3.16 on, iperf3 continues to the end of that second. Use far more bytes than the \
               buffers hold.",
        set: |builder, text| Some(builder.options.bytes = Some(values::size(text, 1 << 40)?)),
        display: |params| number(params.options.bytes),
        // The row of `period` adds them, in place of the period.
        args: |_, _, _| {},
        ..VALUE
    },
    Parameter {
        names: &["connect_timeout"],
        option: "--connect-timeout",
        allowed: "a duration from 1ms to 1h, such as 2s",
        default: "5s with iperf3 3.2 or later",
        label: "Connect timeout",
        help: "Maximum time to set up the control connection, which is the cost of a dead target. iperf3 \
               before 3.2 cannot limit it, and the system gives up after about two minutes. For a name without \
               `family` it can be shorter, to leave time for the other IP version.",
        set: |builder, text| {
            Some(builder.options.connect_timeout_ms = Some(values::connect_timeout_ms(text)?))
        },
        display: |params| {
            let wait = Duration::from_millis(params.options.connect_timeout_ms?.into());
            Some(Shown::time(wait))
        },
        args: |row, test, args| {
            // The default was not requested, so it is silently left out if iperf3 may not support it.
            let limit = test.connect_limit_ms.unwrap_or(CONNECT_TIMEOUT_MS);
            let default = args
                .has(row.option)
                .then_some(limit.min(CONNECT_TIMEOUT_MS));
            if let Some(wait) = test.params.options.connect_timeout_ms.or(default) {
                args.value(row.option, wait);
            }
        },
        ..VALUE
    },
    Parameter {
        names: &["family"],
        option: "-4, -6",
        allowed: "4 or 6",
        label: "IP version (4 or 6)",
        help: "Use only IPv4 or only IPv6. Without it, a name with addresses of both versions gets a second attempt \
               with the other version when connecting fails.",
        set: |builder, text| {
            matches!(text, "4" | "6").then(|| builder.options.family = text.parse().ok())
        },
        display: |params| number(params.options.family),
        args: |_, test, args| {
            if let Some(family) = test.params.options.family.or(test.family) {
                args.option(&format!("-{family}"));
            }
        },
        ..VALUE
    },
    Parameter {
        names: &["bind_dev"],
        option: "--bind-dev",
        allowed: "the name of a network device of this host, at most 15 characters",
        label: "Local device",
        help: "Send through this network device. Needs iperf3 3.10 or later.",
        set: |builder, text| {
            target::is_interface(text).then(|| builder.options.bind_dev = Some(text.to_owned()))
        },
        display: |params| text(params.options.bind_dev.as_ref()),
        ..VALUE
    },
    Parameter {
        names: &["cport"],
        option: "--cport",
        allowed: "a port from 1 to 65535",
        default: "chosen by the system",
        label: "Local port",
        help: "Local port of the first stream. Further streams use the ports after it. The test fails while one of \
               these ports is in use, and for a minute after a reverse test (TIME_WAIT).",
        input: Input::Number(1, 65535),
        set: |builder, text| Some(builder.options.cport = Some(target::parse_port(text)?)),
        display: |params| number(params.options.cport),
        ..VALUE
    },
    Parameter {
        names: &["window"],
        option: "-w",
        allowed: "#[.#][KMG] bytes with K = 1024, from 1 to 512M, such as 4M",
        label: "Socket buffers",
        help: "Size of the socket buffers at both ends, which limits the TCP window. The test fails when a system \
               does not grant this size.",
        set: |builder, text| Some(builder.options.window = Some(values::size(text, 512 << 20)?)),
        display: |params| number(params.options.window),
        ..VALUE
    },
    Parameter {
        names: &["length"],
        option: "-l",
        allowed: "#[.#][KMG] bytes with K = 1024, from 1 to 1M, or 16 to 65507 with udp_mode",
        default: "128K for TCP, 64K for SCTP, for UDP what fits into a packet",
        label: "Block length",
        help: "Bytes to write or read at a time. With UDP it is the payload of a datagram.",
        set: |builder, text| Some(builder.options.length = Some(values::size(text, 1 << 20)?)),
        display: |params| number(params.options.length),
        ..VALUE
    },
    Parameter {
        names: &["mss"],
        option: "-M",
        allowed: "a whole number of bytes from 88 to 32767, or from 512 with sctp",
        label: "Segment size (MSS)",
        help: "Maximum segment size of TCP or SCTP. iperf3 before 3.21 allows at most 9216.",
        input: Input::Number(88, 32767),
        set: |builder, text| Some(builder.options.mss = Some(number::within(text, 88..=32_767)?)),
        display: |params| number(params.options.mss),
        ignored_with: &[Protocol::Udp],
        ..VALUE
    },
    Parameter {
        names: &["congestion"],
        option: "-C",
        allowed: "the name of an algorithm such as bbr: letters, digits, - and _, at most 15 characters",
        label: "Congestion control",
        help: "TCP congestion control algorithm at both ends. Both systems must support it.",
        set: |builder, text| Some(builder.options.congestion = Some(values::algorithm(text)?)),
        display: |params| text(params.options.congestion.as_ref()),
        ignored_with: &[Protocol::Udp, Protocol::Sctp],
        ..VALUE
    },
    Parameter {
        names: &["dscp"],
        option: "--dscp",
        allowed: "a number from 0 to 63, also 0x2e or 056, or a name such as ef, af31 or cs5",
        default: "0",
        label: "DSCP",
        help: "DSCP class of the test's packets.",
        set: |builder, text| Some(builder.options.dscp = Some(values::dscp(text)?)),
        display: |params| text(params.options.dscp.as_ref()),
        ignored_with: &[Protocol::Sctp],
        ..VALUE
    },
    Parameter {
        names: &["tos"],
        option: "-S",
        allowed: "a number from 0 to 255, also 0xb8 or 0270",
        default: "0",
        label: "Type of service",
        help: "The whole type-of-service byte. Its upper six bits are the DSCP. Cannot be combined with dscp.",
        set: |builder, text| Some(builder.options.tos = Some(values::byte(text)?)),
        display: |params| number(params.options.tos),
        ignored_with: &[Protocol::Sctp],
        ..VALUE
    },
    Parameter {
        names: &["fq_rate"],
        option: "--fq-rate",
        allowed: "#[.#][KMG] bits per second with K = 1000, from 8 to 1000G, such as 100M",
        default: "no pacing",
        label: "Pacing rate",
        help: "Rate at which the sender's kernel paces the packets of each stream (fair queueing).",
        set: |builder, text| Some(builder.options.fq_rate = Some(values::fq_rate(text)?)),
        display: |params| number(params.options.fq_rate),
        ignored_with: &[Protocol::Sctp],
        ..VALUE
    },
    Parameter {
        names: &["no_delay"],
        option: "-N",
        label: "No delay",
        help: "Send small blocks at once, without Nagle's algorithm. TCP and SCTP only.",
        set: |builder, text| Some(builder.options.no_delay = values::boolean(text)?),
        display: |params| tick(params.options.no_delay),
        ignored_with: &[Protocol::Udp],
        ..SWITCH
    },
    Parameter {
        names: &["zero_copy"],
        option: "-Z",
        label: "Zero copy",
        help: "Send with sendfile(2), which uses less CPU. TCP only.",
        set: |builder, text| Some(builder.options.zero_copy = values::boolean(text)?),
        display: |params| tick(params.options.zero_copy),
        ignored_with: &[Protocol::Udp, Protocol::Sctp],
        ..SWITCH
    },
    Parameter {
        names: &["dont_fragment"],
        option: "--dont-fragment",
        label: "Do not fragment",
        help: "Do not allow routers to fragment the datagrams. UDP over IPv4 only, with iperf3 3.10 or later.",
        set: |builder, text| Some(builder.options.dont_fragment = values::boolean(text)?),
        display: |params| tick(params.options.dont_fragment),
        ignored_with: &[Protocol::Tcp, Protocol::Sctp],
        ..SWITCH
    },
    Parameter {
        names: &["mptcp"],
        option: "--mptcp",
        label: "Multipath TCP",
        help: "Use MPTCP instead of TCP. Needs iperf3 3.19 or later.",
        set: |builder, text| Some(builder.options.mptcp = values::boolean(text)?),
        display: |params| tick(params.options.mptcp),
        ..SWITCH
    },
    Parameter {
        names: &["sctp"],
        option: "--sctp",
        label: "SCTP",
        help: "Use SCTP instead of TCP. iperf3 must be built with SCTP, and both kernels must support it.",
        set: |builder, text| Some(builder.options.sctp = values::boolean(text)?),
        display: |params| tick(params.options.sctp),
        ..SWITCH
    },
    Parameter {
        names: &["max_age"],
        option: "",
        allowed: "a duration from 1s to 168h, such as 30m",
        default: "none, each request runs a test",
        label: "Maximum result age",
        help: "Accept a stored result of the same test up to this age, instead of a new test.",
        input: Input::None,
        is_rare: false,
        set: |builder, text| Some(builder.options.max_age = Some(values::max_age(text)?)),
        display: |params| params.options.max_age.map(Shown::time),
        args: |_, _, _| {},
        ..VALUE
    },
    Parameter {
        names: &["debug"],
        option: "",
        label: "Debug output",
        help: "Respond with a report of the probe as text: command line, times, iperf3's own output, and the \
               metrics.",
        input: Input::None,
        is_rare: false,
        set: |builder, text| Some(builder.options.debug = values::boolean(text)?),
        display: |params| tick(params.options.debug),
        args: |_, _, _| {},
        ..SWITCH
    },
];

impl Selected<'_> {
    /// Adds iperf3's arguments for the test, row by row.
    pub(crate) fn add_to(&self, args: &mut Args<'_>) {
        for row in PARAMETERS {
            args.needed_by(Need::Parameter(row.id()));
            (row.args)(row, self, args);
        }
    }
}

fn text(value: Option<&String>) -> Option<Shown> {
    value.cloned().map(Shown::Text)
}

fn number(value: Option<impl Into<u64>>) -> Option<Shown> {
    value.map(|value| Shown::Number(value.into()))
}

fn tick(value: bool) -> Option<Shown> {
    value.then_some(Shown::True)
}

#[cfg(test)]
mod tests {
    use super::{PARAMETERS, Selected};
    use crate::iperf3::args::Args;
    use crate::iperf3::features::Features;
    use crate::probe::params::{Parameter, Params};

    /// Each parameter accepts at least one of these values.
    const EXAMPLES: [&str; 9] = [
        "b.server:5202",
        "true",
        "4",
        "6",
        "100",
        "1s",
        "1M",
        "ef",
        // No machine has this device. With an existing device, a local address has other arguments.
        "no-device",
    ];

    fn params(query: &str) -> Params {
        Params::parse(query).unwrap_or_else(|refusal| panic!("{query}: {refusal}"))
    }

    fn args<'a>(params: &Params, features: Option<&'a Features>) -> Args<'a> {
        let mut args = Args::new(features);
        let selected = Selected {
            params,
            port: params.ports.first,
            period_seconds: params.period_seconds,
            limit_seconds: 90_000,
            family: None,
            connect_limit_ms: None,
        };
        selected.add_to(&mut args);
        args
    }

    fn line(query: &str, features: Option<&Features>) -> String {
        args(&params(query), features).into_vec().join(" ")
    }

    /// Parameters with this value; `None` when the row does not accept it or it is the default.
    fn given(row: &Parameter, text: &str) -> Option<Params> {
        let queries = match row.id() {
            "target" => [format!("target={text}"), String::new()],
            id => ["", "&udp_mode=1"].map(|other| format!("target=a&{id}={text}{other}")),
        };
        let mut parsed = queries.iter().filter_map(|query| Params::parse(query).ok());
        parsed.find(|params| row.id() == "target" || (row.display)(params).is_some())
    }

    #[test]
    fn each_name_is_in_the_table_once_and_no_part_of_a_row_is_forgotten() {
        let mut names: Vec<&str> = PARAMETERS
            .iter()
            .flat_map(|row| row.names)
            .copied()
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        for row in PARAMETERS {
            let parts = [row.id(), row.allowed, row.default, row.label, row.help];
            assert!(parts.iter().all(|part| !part.is_empty()), "{}", row.id());
            let is_taken = EXAMPLES.iter().any(|text| given(row, text).is_some());
            assert!(is_taken, "{} takes none of the examples", row.id());
        }
    }

    #[test]
    fn each_parameter_needs_the_option_that_its_row_names() {
        for row in PARAMETERS.iter().filter(|row| !row.option.is_empty()) {
            let own = |option: &str| row.option.split(", ").any(|own| own == option);
            let others = PARAMETERS.iter().flat_map(|row| row.option.split(", "));
            let others: Vec<&str> = others.filter(|option| !own(option)).collect();
            let help = format!("Usage: iperf3\n -i\n {}\n", others.join("\n "));
            let features = Features::read(help.as_bytes()).unwrap();
            for params in EXAMPLES.iter().filter_map(|text| given(row, text)) {
                let line = args(&params, None).into_vec();
                let mut options = line.iter().filter(|arg| own(arg));
                let option = options
                    .next()
                    .unwrap_or_else(|| panic!("{}: {line:?}", row.id()));
                assert_eq!(options.next(), None, "{line:?}");
                let needed = format!("{option}, which the parameter {} needs", row.id());
                let args = args(&params, Some(&features));
                assert_eq!(args.missing_option(), Some(needed.as_str()));
            }
        }
    }

    #[test]
    fn each_parameter_becomes_its_arguments() {
        for (query, expected) in [
            ("target=foo.server", "-c foo.server -p 5201 -t 5"),
            ("target=[::1]:5202&period=10s", "-c ::1 -p 5202 -t 10"),
            ("target=a&reverse_mode=1", "-c a -p 5201 -t 5 -R"),
            (
                "target=a&udp_mode=1&bidirectional=1&bitrate=10M/8&parallel=4&bind=192.0.2.1",
                "-c a -p 5201 -t 5 --bidir -u -b 10M/8 -P 4 -B 192.0.2.1",
            ),
            (
                "target=a&bytes=1.5M&omit=1500ms&parallel=1",
                "-c a -p 5201 -n 1572864 -i 22 -O 2",
            ),
            // A device that every machine has, and one that none has.
            ("target=a&bind=lo", "-c a -p 5201 -t 5 --bind-dev lo"),
            (
                "target=a&bind=lo&bind_dev=lo",
                "-c a -p 5201 -t 5 --bind-dev lo",
            ),
            (
                "target=a&bind=lo&bind_dev=no-device",
                "-c a -p 5201 -t 5 -B lo --bind-dev no-device",
            ),
            ("target=a&bind=no-device", "-c a -p 5201 -t 5 -B no-device"),
            (
                "target=a&connect_timeout=1.5&family=4&bind_dev=eth0&cport=5300&window=512M&length=1M&mss=1400",
                "-c a -p 5201 -t 5 --connect-timeout 1500 -4 --bind-dev eth0 --cport 5300 -w 536870912 -l 1048576 \
                 -M 1400",
            ),
            (
                "target=a&family=6&congestion=bbr&dscp=EF&fq_rate=1.5M&no_delay=1&zero_copy=1&mptcp=1&omit=0",
                "-c a -p 5201 -t 5 -6 -C bbr --dscp ef --fq-rate 1500000 -N -Z --mptcp",
            ),
            ("target=a&dscp=0x2e", "-c a -p 5201 -t 5 --dscp 46"),
            ("target=a&tos=0270&sctp=0", "-c a -p 5201 -t 5 -S 184"),
            ("target=a&sctp=1", "-c a -p 5201 -t 5 --sctp"),
            (
                "target=a&udp_mode=1&dont_fragment=1&max_age=1h&debug=1",
                "-c a -p 5201 -t 5 -u --dont-fragment",
            ),
        ] {
            assert_eq!(line(query, None), expected);
        }
    }

    #[test]
    fn connecting_has_a_limit_where_iperf3_has_one() {
        const ALWAYS: &str = "Usage: iperf3\n -J\n -c\n -p\n -t\n";
        let old = Features::read(ALWAYS.as_bytes()).unwrap();
        let help = format!("{ALWAYS} --connect-timeout #\n");
        let new = Features::read(help.as_bytes()).unwrap();
        for (query, features, expected) in [
            ("target=a", None, "-c a -p 5201 -t 5"),
            ("target=a", Some(&old), "-c a -p 5201 -t 5"),
            (
                "target=a",
                Some(&new),
                "-c a -p 5201 -t 5 --connect-timeout 5000",
            ),
            (
                "target=a&connect_timeout=1ms",
                Some(&new),
                "-c a -p 5201 -t 5 --connect-timeout 1",
            ),
            (
                "target=a&connect_timeout=1.0001s",
                None,
                "-c a -p 5201 -t 5 --connect-timeout 1001",
            ),
        ] {
            assert_eq!(line(query, features), expected);
        }
        assert_eq!(args(&params("target=a"), Some(&old)).missing_option(), None);
    }
}
