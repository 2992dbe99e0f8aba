//! Fuzz tests of the parsers for a probe's request, with random queries, targets and values. Accepted input is harmless
//! and keeps its meaning. Everything else is refused with one line.

use std::net::IpAddr;

use crate::fuzz::{Random, cases};
use crate::iperf3::args::Args;
use crate::iperf3::target::{Host, parse_target};
use crate::probe::params::{PARAMETERS, Params, QueryError, Selected};
use crate::probe::values;

/// Names that are not parameters, and `target`, which every query needs.
const OTHER_NAMES: &[&str] = &[
    "target", "target", "target", "TARGET", "debugger", "", "t%61rget", "-c", "port%00",
];

const VALUES: &[&str] = &[
    "a",
    "foo.server",
    "foo.server:5202",
    "192.0.2.7",
    "192.0.2.7:1",
    "::1",
    "[::1]",
    "[::1]:65535",
    "fe80::1%eth0",
    "fe80::1%25eth0",
    "[fe80::1%25eth0.100]:9",
    "::ffff:192.0.2.7",
    "under_score.",
    "127.1",
    "0x7f.1",
    "1",
    "0",
    "5201",
    "65535",
    "65536",
    "128",
    "129",
    "256",
    "5s",
    "1m30s",
    "1500ms",
    "24h",
    "25h",
    "0.5",
    "1e3",
    "inf",
    "NaN",
    "1us",
    "1h1ns",
    "true",
    "F",
    "yes",
    "4",
    "6",
    "90",
    "1400",
    "9216",
    "32768",
    "64K",
    "1.5M",
    "512M",
    "513M",
    "0x2e",
    "0377",
    "ef",
    "AF31",
    "bbr",
    "sixteencharacter",
    "-bbr",
    "1.5G",
    "10M/32",
    "0/10",
    "1000G",
    "0.0000001G",
    "1/1001",
    "1.M",
    "192.168.1.100%25wan0",
    "eth0",
    "a%25-x",
    "-c",
    "--help",
    "a.-b",
    "a b",
    "a+b",
    "a;b",
    "$(id)",
    "%0A",
    "%00",
    "%2D",
    "%",
    "%zz",
    "%C3%A9",
    "%ff",
    "é",
    "+5",
    "-5",
    "",
];

/// Accepted values of each parameter except the target.
const PAIRS: &[&str] = &[
    "port=5202",
    "period=1m30s",
    "reverse_mode=1",
    "bidirectional=t",
    "bitrate=10M/32",
    "parallel=4",
    "bind_address=192.168.1.100%25wan0",
    "omit=1500ms",
    "omit=600",
    "bytes=1.5M",
    "bytes=1024G",
    "connect_timeout=1500us",
    "family=4",
    "family=6",
    "bind_dev=eth0.100",
    "cport=65500",
    "window=512M",
    "length=64K",
    "length=16",
    "mss=1400",
    "mss=88",
    "congestion=bbr",
    "dscp=AF31",
    "dscp=0x2e",
    "tos=0377",
    "fq_rate=1.5M",
    "no_delay=T",
    "zero_copy=1",
    "dont_fragment=true",
    "mptcp=t",
    "sctp=TRUE",
    "udp_mode=1",
    "max_age=30m",
    "debug=1",
];

/// Names for a query: all parameters, and others.
fn names() -> Vec<&'static str> {
    let known = PARAMETERS.iter().flat_map(|row| row.names);
    known.chain(OTHER_NAMES).copied().collect()
}

/// A valid or nearly valid query.
fn query(random: &mut Random, names: &[&str]) -> String {
    let mut query = Vec::new();
    if random.once_in(2) {
        query.extend(b"target=a.server&");
    }
    for _ in 0..random.within(0..3) {
        query.extend(random.one_of(PAIRS).bytes());
        query.push(b'&');
    }
    for _ in 0..random.within(0..5) {
        let mut name = random.one_of(names).as_bytes().to_vec();
        let mut value = random.one_of(VALUES).as_bytes().to_vec();
        if random.once_in(6) {
            random.mutate(&mut name);
        }
        if random.once_in(3) {
            random.mutate(&mut value);
        }
        query.extend(name);
        query.extend(if random.once_in(20) { "" } else { "=" }.bytes());
        query.extend(value);
        query.extend(random.one_of(&["&", "&", "&", "&&", ";", ""]).bytes());
    }
    if random.once_in(8) {
        random.mutate(&mut query);
    }
    String::from_utf8_lossy(&query).into_owned()
}

/// Percent-encodes all but letters and digits.
fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// Checks a value for iperf3: it is not an option, nor is the device after a `%`. It has no character that ends an
/// argument or a line, and is not too long.
fn assert_is_harmless(word: &str) {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-:%/".contains(&b);
    assert!(!word.is_empty() && word.len() <= 270, "{word:?}");
    assert!(
        !word.split('%').any(|part| part.starts_with('-')) && word.bytes().all(is_plain),
        "{word:?}"
    );
}

/// Checks that each argument of iperf3 is an option of the table, or a value that cannot be mistaken for one.
fn assert_are_harmless(params: &Params) {
    let mut args = Args::new(None);
    let selected = Selected {
        params,
        port: params.ports.first,
        period_seconds: params.period_seconds,
        limit_seconds: 60,
        family: None,
        connect_limit_ms: None,
    };
    selected.add_to(&mut args);
    let is_option = |word: &str| {
        let mut options = PARAMETERS.iter().flat_map(|row| row.option.split(", "));
        word.starts_with('-') && (word == "-i" || options.any(|option| option == word))
    };
    for word in args.into_vec() {
        if !is_option(&word) {
            assert_is_harmless(&word);
        }
    }
}

fn assert_are_in_range(params: &Params) {
    let options = &params.options;
    let within = |value: Option<u64>, min: u64, max: u64| {
        value.is_none_or(|value| (min..=max).contains(&value))
    };
    let (udp, sctp) = (params.options.udp, options.sctp);
    let (min_length, max_length) = if udp { (16, 65_507) } else { (1, 1 << 20) };
    assert!(
        options.omit_seconds <= 600
            && within(options.bytes, 1, 1 << 40)
            && within(options.connect_timeout_ms.map(Into::into), 1, 3_600_000)
            && within(options.cport.map(Into::into), 1, 65_535)
            && within(options.window.map(Into::into), 1, 512 << 20)
            && within(options.length.map(Into::into), min_length, max_length)
            && within(
                options.mss.map(Into::into),
                if sctp { 512 } else { 88 },
                32_767
            )
            && within(options.fq_rate, 8, 1_000_000_000_000),
        "{params:?}"
    );
    let length = params.length_seconds(params.period_seconds);
    let least = params.least_seconds(params.period_seconds);
    assert!(least > options.omit_seconds && length.is_none_or(|length| length >= least));
    assert!(
        options.bytes.is_some() || length == Some(options.omit_seconds + params.period_seconds)
    );
}

fn assert_is_one_line(line: &str) {
    assert!(!line.is_empty() && line.len() < 1024, "{line:?}");
    assert!(!line.contains(char::is_control), "{line:?}");
}

#[test]
fn every_parameter_is_tried_with_a_value_that_it_accepts() {
    let name = |pair: &&'static str| pair.split('=').next().unwrap();
    let tried: Vec<&str> = PAIRS.iter().map(name).collect();
    for row in PARAMETERS.iter().filter(|row| row.id() != "target") {
        let is_tried = row.names.iter().any(|name| tried.contains(name));
        assert!(is_tried, "no value of {} among PAIRS", row.id());
    }
    for pair in PAIRS {
        let parsed = Params::parse(&format!("target=a.server&{pair}"));
        // Some are valid only in combination with another parameter.
        let is_taken = matches!(parsed, Ok(_) | Err(QueryError::Incompatible { .. }));
        assert!(is_taken, "{pair}: {parsed:?}");
    }
}

#[test]
fn any_query_is_either_harmless_or_refused_with_one_line() {
    let names = names();
    let mut accepted = 0_u32;
    cases(40_000, |random| {
        let query = query(random, &names);
        let params = match Params::parse(&query) {
            Ok(params) => params,
            Err(refusal) => return assert_is_one_line(&refusal.to_string()),
        };
        accepted += 1;
        assert!(
            params.ports.first > 0
                && params.ports.first <= params.ports.last
                && (1..=86_400).contains(&params.period_seconds),
            "{query:?} {params:?}"
        );
        assert!(
            (1..=128).contains(&params.parallel()),
            "{query:?} {params:?}"
        );
        assert_are_harmless(&params);
        assert_are_in_range(&params);
        // Each part with a value is a known parameter, and occurs once.
        let mut given: Vec<&str> = Vec::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            if value.is_empty() {
                continue;
            }
            let name = values::decode(name).unwrap();
            let row = PARAMETERS
                .iter()
                .find(|row| row.names.contains(&name.as_str()));
            let id = row.unwrap_or_else(|| panic!("{query:?}: {name:?}")).id();
            assert!(!given.contains(&id), "{query:?}: {id} twice");
            given.push(id);
        }
        // Printing and parsing it again gives the same parameters.
        let target = format!("target={}", encoded(&params.server()));
        let shown = params.displayed();
        let parts = shown
            .iter()
            .map(|(name, value)| format!("{name}={}", encoded(value)));
        let printed = std::iter::once(target)
            .chain(parts)
            .collect::<Vec<_>>()
            .join("&");
        assert_eq!(
            Params::parse(&printed).as_ref(),
            Ok(&params),
            "{query:?} {printed:?}"
        );
    });
    // With `FUZZ_CASES`, for example to repeat one failure, there may be too few cases.
    assert!(
        accepted > 1000 || std::env::var_os("FUZZ_CASES").is_some(),
        "{accepted}"
    );
}

#[test]
fn any_target_is_either_a_host_or_refused() {
    cases(60_000, |random| {
        let mut text = random.one_of(VALUES).as_bytes().to_vec();
        random.mutate(&mut text);
        if random.once_in(4) {
            text.extend_from_slice(random.one_of(VALUES).as_bytes());
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        let Some((host, port)) = parse_target(&text) else {
            return;
        };
        assert_is_harmless(host.as_str());
        assert_ne!(port, Some(0), "{text:?}");
        let has_colon = host.as_str().contains(':');
        match &host {
            Host::Name(name) => {
                assert!(
                    !has_colon && !name.contains('%') && name.parse::<IpAddr>().is_err(),
                    "{text:?}"
                );
            }
            Host::Address { text: shown, ip } => {
                let address = shown.split('%').next().unwrap();
                assert_eq!(address.parse(), Ok(*ip), "{text:?}");
            }
        }
        let port = port.unwrap_or(5201);
        let printed = if has_colon {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        assert_eq!(
            parse_target(&printed),
            Some((host, Some(port))),
            "{text:?} {printed:?}"
        );
    });
}

#[test]
fn decoding_percent_encoded_text_gives_the_original() {
    cases(20_000, |random| {
        let mut bytes = random.one_of(VALUES).as_bytes().to_vec();
        random.mutate(&mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert_eq!(values::decode(&encoded(&text)).as_ref(), Some(&text));
        // Decoded text is never longer than its input.
        if let Some(decoded) = values::decode(&text) {
            assert!(decoded.len() <= text.len(), "{text:?}");
        }
    });
}
