//! The command line: one table of flags, from which parser, defaults and `--help` come, and the README's table.
//!
//! Owns flags and their words; must not know what a value is used for. To add a flag is to add a row and a
//! field of [`Config`].

use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::time::Duration;

use crate::duration;
use crate::log::{Format, Level};
use crate::probe::allow::Rule;
use crate::web::listen::{self, Address};
use crate::web::routes;

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Command {
    /// Run the exporter.
    Run(Box<Config>),
    /// Print this text to standard output and end.
    Print(String),
}

/// Every setting, typed and within its limits.
#[derive(Debug)]
pub(crate) struct Config {
    /// Where to listen; never empty.
    pub(crate) listen: Vec<Address>,
    /// Path of the exporter's own metrics.
    pub(crate) telemetry_path: String,
    /// Path of probes.
    pub(crate) probe_path: String,
    /// The iperf3 binary, a path or a name to look up on PATH.
    pub(crate) iperf3_path: String,
    /// Upper limit of one run of iperf3.
    pub(crate) iperf3_timeout: Option<Duration>,
    /// Longest wait for the test lock.
    pub(crate) lock_timeout: Duration,
    /// Taken off the scrape timeout.
    pub(crate) timeout_offset: Duration,
    /// Which targets may be probed; empty means all.
    pub(crate) allow: Vec<Rule>,
    /// Lines below this level are dropped.
    pub(crate) log_level: Level,
    /// How log lines look.
    pub(crate) log_format: Format,
}

/// One flag.
pub(crate) struct Flag {
    /// Its name and its other names, without dashes.
    pub(crate) names: &'static [&'static str],
    /// What stands for the value in `--help`.
    pub(crate) value: &'static str,
    /// The value when the flag is not given; the parser reads it like any other.
    pub(crate) default: Option<&'static str>,
    /// May be given more than once.
    pub(crate) repeatable: bool,
    /// What it does, as one sentence.
    pub(crate) help: &'static str,
    /// What a value has to look like, as the end of "want …".
    allowed: &'static str,
    /// Puts a value into the configuration; `None` when it is not allowed.
    set: fn(&mut Config, &str) -> Option<()>,
}

/// All flags that take a value, in the order of `--help`.
pub(crate) const FLAGS: &[Flag] = &[
    Flag {
        names: &["web.listen-address"],
        value: "ADDRESS",
        default: Some(":9579"),
        repeatable: true,
        help: "Address to listen on: :PORT (IPv6 and IPv4), HOST:PORT or [IPV6]:PORT.",
        allowed: ":PORT, HOST:PORT or [IPV6]:PORT with a port from 0 (any free one) to 65535",
        set: |config, text| Some(config.listen.push(Address::parse(text)?)),
    },
    Flag {
        names: &["web.telemetry-path"],
        value: "PATH",
        default: Some("/metrics"),
        repeatable: false,
        help: "Path of the exporter's own metrics.",
        allowed: PATH_ALLOWED,
        set: |config, text| Some(config.telemetry_path = path(text)?),
    },
    Flag {
        names: &["web.probe-path"],
        value: "PATH",
        default: Some("/probe"),
        repeatable: false,
        help: "Path of probes.",
        allowed: PATH_ALLOWED,
        set: |config, text| Some(config.probe_path = path(text)?),
    },
    Flag {
        names: &["iperf3.path", "iperf3-path"],
        value: "FILE",
        default: Some("iperf3"),
        repeatable: false,
        help: "The iperf3 binary, looked up on PATH when it has no slash.",
        allowed: "a file name or path",
        set: |config, text| {
            let fits = !text.is_empty() && !text.contains('\0');
            fits.then(|| text.clone_into(&mut config.iperf3_path))
        },
    },
    Flag {
        names: &["iperf3.timeout"],
        value: "DURATION",
        default: None,
        repeatable: false,
        help: "Upper limit of one run of iperf3; without it the scrape timeout limits a run, or else 30s.",
        allowed: "a duration of more than 0 and at most 25h, such as 30s or 1m30s",
        set: |config, text| {
            let limit = bounded(text, 25)?;
            (!limit.is_zero()).then(|| config.iperf3_timeout = Some(limit))
        },
    },
    Flag {
        names: &["lock.timeout"],
        value: "DURATION",
        default: Some("80s"),
        repeatable: false,
        help: "Longest wait for the test lock: one test runs at a time, the others queue.",
        allowed: "a duration from 0 to 24h, such as 80s or 1m30s",
        set: |config, text| Some(config.lock_timeout = bounded(text, 24)?),
    },
    Flag {
        names: &["probe.timeout-offset"],
        value: "DURATION",
        default: Some("500ms"),
        repeatable: false,
        help: "Taken off the scrape timeout, so that the answer is there before Prometheus gives up.",
        allowed: "a duration from 0 to 1h, such as 500ms",
        set: |config, text| Some(config.timeout_offset = bounded(text, 1)?),
    },
    Flag {
        names: &["probe.allow-target"],
        value: "RULE",
        default: None,
        repeatable: true,
        help: "Allow this target only: a host name, *.SUFFIX, an address or a CIDR block; without it every target is allowed.",
        allowed: "a host name, *.SUFFIX, an IP address or a CIDR block such as 192.0.2.0/24",
        set: |config, text| Some(config.allow.push(Rule::parse(text)?)),
    },
    Flag {
        names: &["port"],
        value: "PORT",
        default: None,
        repeatable: true,
        help: "Short for --web.listen-address=:PORT.",
        allowed: "a port from 0 (any free one) to 65535",
        set: |config, text| Some(config.listen.push(Address::any(listen::parse_port(text)?))),
    },
    Flag {
        names: &["log.level"],
        value: "LEVEL",
        default: Some("info"),
        repeatable: false,
        help: "Log lines of this level and above: debug, info, warn or error.",
        allowed: "debug, info, warn or error",
        set: |config, text| Some(config.log_level = word(Level::ALL, text)?),
    },
    Flag {
        names: &["log.format"],
        value: "FORMAT",
        default: Some("logfmt"),
        repeatable: false,
        help: "Write log lines as logfmt or json.",
        allowed: "logfmt or json",
        set: |config, text| Some(config.log_format = word(Format::ALL, text)?),
    },
];

const PATH_ALLOWED: &str = "a path that begins with / and has letters, digits and -._~/ only, at most 200 characters, \
     and is not the path of another page";

/// Why a command line was refused; prints as the one line that `main` writes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No such flag, or a word that is no flag.
    Unknown(String),
    /// Given twice, and not repeatable.
    Twice(&'static str),
    /// The last word, and a value was to follow.
    NoValue(String),
    /// A value where there is none to give.
    ValueNotWanted(String),
    /// A value out of its range.
    Value {
        /// The flag, without dashes.
        flag: &'static str,
        /// The value as given.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// Two paths are the same.
    SamePath(String),
    /// Not UTF-8.
    NotText(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(word) => write!(f, "unknown flag or argument {word:?}"),
            Self::Twice(flag) => write!(f, "flag --{flag} is given more than once"),
            Self::NoValue(flag) => write!(f, "flag {flag} needs a value"),
            Self::ValueNotWanted(flag) => write!(f, "flag --{flag} takes no value"),
            Self::Value {
                flag,
                value,
                allowed,
            } => write!(f, "flag --{flag}: {value:?} is not allowed, want {allowed}"),
            Self::SamePath(path) => write!(
                f,
                "flags --web.telemetry-path and --web.probe-path: {path:?} is given for both, want two paths"
            ),
            Self::NotText(word) => write!(f, "argument {word:?} is not UTF-8 text"),
        }
    }
}

/// Reads the words after the program's name.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Command, Refusal> {
    let mut config = Config {
        listen: Vec::new(),
        telemetry_path: String::new(),
        probe_path: String::new(),
        iperf3_path: String::new(),
        iperf3_timeout: None,
        lock_timeout: Duration::ZERO,
        timeout_offset: Duration::ZERO,
        allow: Vec::new(),
        log_level: Level::Info,
        log_format: Format::Logfmt,
    };
    let mut given: Vec<&'static str> = Vec::new();
    let mut parser = lexopt::Parser::from_args(words);
    while let Some(name) = next_name(&mut parser)? {
        let text: Option<fn() -> String> = match name.as_str() {
            "help" => Some(help),
            "version" => Some(version),
            _ => None,
        };
        if let Some(text) = text {
            return match parser.optional_value() {
                None => Ok(Command::Print(text())),
                Some(_) => Err(Refusal::ValueNotWanted(name)),
            };
        }
        let flag = FLAGS
            .iter()
            .find(|flag| flag.names.contains(&name.as_str()))
            .ok_or_else(|| Refusal::Unknown(format!("--{name}")))?;
        let id = flag.id();
        if given.contains(&id) && !flag.repeatable {
            return Err(Refusal::Twice(id));
        }
        given.push(id);
        let value = parser
            .value()
            .map_err(|_| Refusal::NoValue(format!("--{name}")))?;
        let value = value
            .into_string()
            .map_err(|word| Refusal::NotText(word.to_string_lossy().into_owned()))?;
        flag.put(&mut config, value)?;
    }
    put_defaults(&mut config, &given)?;
    if config.telemetry_path == config.probe_path {
        return Err(Refusal::SamePath(config.probe_path));
    }
    Ok(Command::Run(Box::new(config)))
}

/// The name of the next flag, without dashes; none at the end.
fn next_name(parser: &mut lexopt::Parser) -> Result<Option<String>, Refusal> {
    match parser.next() {
        Ok(None) => Ok(None),
        Ok(Some(lexopt::Arg::Long(name))) => Ok(Some(name.to_owned())),
        Ok(Some(lexopt::Arg::Short('h'))) => Ok(Some("help".to_owned())),
        Ok(Some(lexopt::Arg::Short(letter))) => Err(Refusal::Unknown(format!("-{letter}"))),
        Ok(Some(lexopt::Arg::Value(word))) => {
            Err(Refusal::Unknown(word.to_string_lossy().into_owned()))
        }
        // A value for a flag that took none.
        Err(error) => Err(Refusal::Unknown(error.to_string())),
    }
}

/// Sets what was not given to its default, which the rows' own parsers read.
fn put_defaults(config: &mut Config, given: &[&'static str]) -> Result<(), Refusal> {
    for flag in FLAGS {
        // The short form takes the place of the default address.
        let listens = flag.id() == "web.listen-address" && given.contains(&"port");
        if let Some(default) = flag.default
            && !given.contains(&flag.id())
            && !listens
        {
            flag.put(config, default.to_owned())?;
        }
    }
    Ok(())
}

impl Flag {
    /// The first of its names.
    pub(crate) fn id(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }

    fn put(&self, config: &mut Config, value: String) -> Result<(), Refusal> {
        (self.set)(config, &value).ok_or(Refusal::Value {
            flag: self.id(),
            value,
            allowed: self.allowed,
        })
    }
}

/// The text of `--help`.
pub(crate) fn help() -> String {
    let mut text = String::from(
        "usage: iperf3-exporter [<flags>]\n\n\
         Prometheus exporter that runs iperf3 against a target on each scrape.\n\
         Probe with /probe?target=HOST[:PORT]; the page at / lists every parameter.\n\n\
         Flags:\n",
    );
    let mut row = |left: &str, help: &str| {
        let _ = writeln!(text, "  {left}\n          {help}");
    };
    row("-h, --help", "Show this help and exit.");
    row("--version", "Show the version and exit.");
    for flag in FLAGS {
        let names: Vec<String> = flag
            .names
            .iter()
            .map(|name| format!("--{name}={}", flag.default.unwrap_or(flag.value)))
            .collect();
        let repeat = if flag.repeatable {
            " May be repeated."
        } else {
            ""
        };
        row(&names.join(", "), &format!("{}{repeat}", flag.help));
    }
    text.push_str(
        "\nA flag is given as --flag=value or --flag value. Durations are Go's (5s, 1m30s, 500ms) or a\n\
         number of seconds. SIGTERM and SIGINT end the exporter with status 0.\n",
    );
    text
}

/// The text of `--version`.
pub(crate) fn version() -> String {
    format!(
        "iperf3-exporter {} (revision {}, rustc {})\n",
        env!("CARGO_PKG_VERSION"),
        env!("EXPORTER_REVISION"),
        env!("EXPORTER_RUSTC"),
    )
}

/// A duration of at most `hours`.
fn bounded(text: &str, hours: u64) -> Option<Duration> {
    duration::parse(text).filter(|value| *value <= Duration::from_secs(hours * 3600))
}

fn word<T: Copy>(words: &[(&str, T)], text: &str) -> Option<T> {
    words
        .iter()
        .find_map(|(name, value)| (*name == text).then_some(*value))
}

/// A path that can stand in a URL as it is, so that a request's path is compared byte for byte.
fn path(text: &str) -> Option<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    let allowed = text.len() <= 200
        && text.starts_with('/')
        && text.bytes().all(plain)
        && !routes::fixed_paths().any(|fixed| fixed == text);
    allowed.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Command, Config, FLAGS, parse};
    use std::time::Duration;

    fn config(words: &[&str]) -> Config {
        match parse(words.iter().map(Into::into)) {
            Ok(Command::Run(config)) => *config,
            other => panic!("expected a configuration, got {other:?}"),
        }
    }

    fn refusal(words: &[&str]) -> String {
        parse(words.iter().map(Into::into))
            .expect_err("a refusal")
            .to_string()
    }

    #[test]
    fn each_name_is_in_the_table_once_and_each_default_is_allowed() {
        let mut names: Vec<&str> = FLAGS.iter().flat_map(|flag| flag.names).copied().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(FLAGS.iter().all(|flag| flag.help.ends_with('.')));
        config(&[]);
    }

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let config = config(&[]);
        assert_eq!(format!("{:?}", config.listen), "[:9579]");
        assert_eq!(config.telemetry_path, "/metrics");
        assert_eq!(config.probe_path, "/probe");
        assert_eq!(config.iperf3_path, "iperf3");
        assert_eq!(config.iperf3_timeout, None);
        assert_eq!(config.lock_timeout, Duration::from_secs(80));
        assert_eq!(config.timeout_offset, Duration::from_millis(500));
        assert!(config.allow.is_empty());
    }

    #[test]
    fn values_follow_an_equals_sign_or_a_space() {
        let config = config(&["--lock.timeout=90", "--iperf3-path", "/opt/iperf3"]);
        assert_eq!(config.lock_timeout, Duration::from_secs(90));
        assert_eq!(config.iperf3_path, "/opt/iperf3");
    }

    #[test]
    fn port_takes_the_place_of_the_default_address_and_adds_to_a_given_one() {
        assert_eq!(format!("{:?}", config(&["--port=9580"]).listen), "[:9580]");
        let both = config(&["--port=9580", "--web.listen-address=127.0.0.1:1"]);
        assert_eq!(format!("{:?}", both.listen), "[:9580, 127.0.0.1:1]");
    }

    #[test]
    fn a_refusal_names_the_flag_the_value_and_what_is_allowed() {
        assert_eq!(
            refusal(&["--log.level=loud"]),
            "flag --log.level: \"loud\" is not allowed, want debug, info, warn or error"
        );
        assert_eq!(refusal(&["--nope"]), "unknown flag or argument \"--nope\"");
        assert_eq!(refusal(&["-x"]), "unknown flag or argument \"-x\"");
        assert_eq!(refusal(&["serve"]), "unknown flag or argument \"serve\"");
        assert_eq!(
            refusal(&["--lock.timeout"]),
            "flag --lock.timeout needs a value"
        );
        assert_eq!(
            refusal(&["--iperf3.path=a", "--iperf3-path=b"]),
            "flag --iperf3.path is given more than once"
        );
        assert_eq!(
            refusal(&["--web.probe-path=/metrics"]),
            "flags --web.telemetry-path and --web.probe-path: \"/metrics\" is given for both, want two paths"
        );
        for bad in [
            "--web.listen-address=9579",
            "--web.listen-address=:65536",
            "--web.listen-address=host",
            "--web.telemetry-path=metrics",
            "--web.probe-path=/health",
            "--web.probe-path=/a?b",
            "--iperf3.path=",
            "--iperf3.timeout=0",
            "--iperf3.timeout=-1s",
            "--lock.timeout=25h",
            "--probe.allow-target=",
            "--probe.allow-target=10.0.0.0/33",
            "--port=65536",
            "--log.format=xml",
        ] {
            assert!(refusal(&[bad]).contains("is not allowed, want "), "{bad}");
        }
    }

    #[test]
    fn flags_of_later_versions_are_not_accepted_yet() {
        for flag in [
            "web.config.file",
            "web.systemd-socket",
            "web.max-connections",
            "config.check",
        ] {
            assert!(refusal(&[&format!("--{flag}=1")]).starts_with("unknown flag"));
        }
    }
}
