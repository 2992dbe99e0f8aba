//! The command line: parses arguments into settings. One table of flags also provides the defaults, `--help` and the
//! table in the documentation.
//!
//! Owns the crate `lexopt` and the syntax of a command line. Must not know how a value is used.

use std::ffi::OsString;
use std::fmt::{Display, Write as _};
use std::mem;

use lexopt::Arg;

pub(crate) use self::error::FlagError;
pub(crate) use self::flags::{Config, FLAGS, Flag};

mod error;
mod flags;

/// Parses the arguments after the program's name. A flag for a page's path must not name a path that `is_taken`.
pub(crate) fn parse(
    args: impl IntoIterator<Item = OsString>,
    is_taken: fn(&str) -> bool,
) -> Result<Config, FlagError> {
    let mut config = Config::default();
    let put = |config: &mut Config, flag: &'static Flag, value: &str| {
        let is_free = flag.value != Some("PATH") || !is_taken(value);
        if is_free && (flag.set)(config, value).is_some() {
            return Ok(());
        }
        let value = value.to_owned();
        Err(FlagError::NotAllowed { flag, value })
    };
    let mut given: Vec<&'static str> = Vec::new();
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(arg) = parser.next().map_err(unknown)? {
        let name = match arg {
            Arg::Long(name) => name.to_owned(),
            Arg::Short(letter) => short(letter, &mut parser)?,
            Arg::Value(word) => return Err(unknown(word.to_string_lossy())),
        };
        if ["help", "version"].contains(&name.as_str()) {
            no_value(&mut parser, &name)?;
            config.print = Some(if name == "help" { help() } else { version() });
            return Ok(config);
        }
        let (flag, is_on) = find(&name).ok_or_else(|| unknown(format_args!("--{name}")))?;
        let id = flag.id();
        if given.contains(&id) && !flag.repeatable {
            return Err(FlagError::GivenTwice(flag));
        }
        given.push(id);
        if flag.value.is_none() {
            no_value(&mut parser, &name)?;
            put(&mut config, flag, &is_on.to_string())?;
            continue;
        }
        let value = parser.value().map_err(|_| FlagError::NeedsValue(name))?;
        let value = value.into_string().map_err(FlagError::NotUtf8)?;
        put(&mut config, flag, &value)?;
    }
    config.http.is_listen_given = !config.http.listen.is_empty();
    if given.contains(&"port") {
        // `--port` replaces the default address.
        given.push("web.listen-address");
    }
    for flag in FLAGS.iter().filter(|flag| !given.contains(&flag.id())) {
        if let Some(default) = flag.default {
            put(&mut config, flag, default)?;
        }
    }
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY");
    let credentials = mem::take(&mut config.credentials).resolve(folder);
    config.probe.credentials = credentials.map_err(FlagError::Credentials)?;
    if config.telemetry_path == config.probe_path {
        return Err(FlagError::SamePath(config.probe_path));
    }
    Ok(config)
}

fn unknown(word: impl Display) -> FlagError {
    FlagError::Unknown(word.to_string())
}

/// The meaning of an argument with one dash. Only `-h` is accepted: Go's own flags have one dash, those of Prometheus'
/// tools and ours two.
fn short(letter: char, parser: &mut lexopt::Parser) -> Result<String, FlagError> {
    let rest = parser.optional_value().unwrap_or_default();
    let word = format!("{letter}{}", rest.to_string_lossy());
    let name = word.split('=').next().unwrap_or(&word);
    if word == "h" {
        return Ok("help".to_owned());
    }
    let is_known = ["help", "version"].contains(&name) || find(name).is_some();
    Err(if is_known {
        FlagError::OneDash(name.to_owned())
    } else {
        unknown(format_args!("-{name}"))
    })
}

fn no_value(parser: &mut lexopt::Parser, name: &str) -> Result<(), FlagError> {
    match parser.optional_value() {
        None => Ok(()),
        Some(_) => Err(FlagError::TakesNoValue(name.to_owned())),
    }
}

/// The flag of a name, and whether that name switches it on: `--no-NAME` switches it off.
fn find(name: &str) -> Option<(&'static Flag, bool)> {
    let off = name.strip_prefix("no-");
    FLAGS.iter().find_map(|flag| {
        let is_off = flag.value.is_none() && off.is_some_and(|off| flag.names.contains(&off));
        (is_off || flag.names.contains(&name)).then_some((flag, !is_off))
    })
}

impl Flag {
    pub(crate) fn id(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }

    pub(crate) fn sentences(&self) -> String {
        let mut text = self.help.to_owned();
        if self.repeatable {
            text += " May be repeated.";
        }
        text
    }
}

/// Width of a terminal line, and the indentation of a flag's text.
const HELP_COLUMNS: usize = 80;
const HELP_INDENT: usize = 10;

pub(crate) fn help() -> String {
    let mut text = String::from(
        "usage: iperf3-exporter [<flags>]\n\n\
         Prometheus exporter that runs iperf3 against a target on each scrape.\n\
         Probe with /probe?target=HOST[:PORT]. The page at / lists every parameter.\n\n\
         Flags:\n",
    );
    let mut row = |left: &str, help: &str| {
        let _ = writeln!(text, "  {left}");
        for line in wrapped(help, HELP_COLUMNS - HELP_INDENT) {
            let _ = writeln!(text, "{:HELP_INDENT$}{line}", "");
        }
    };
    row("-h, --help", "Show this help and exit.");
    row("--version", "Show the version and exit.");
    for flag in FLAGS {
        let names: Vec<String> = flag
            .names
            .iter()
            .map(|name| match flag.value {
                Some(value) => format!("--{name}={}", flag.default.unwrap_or(value)),
                None => format!("--[no-]{name}"),
            })
            .collect();
        row(&names.join(", "), &flag.sentences());
    }
    text.push('\n');
    let ending = "Write a flag as --flag=value or --flag value. Durations are like Go's (5s, 1m30s, 500ms) or a number \
                  of seconds. SIGTERM, SIGINT and SIGQUIT stop the exporter with status 0. SIGHUP reloads the web \
                  configuration file.";
    for line in wrapped(ending, HELP_COLUMNS) {
        let _ = writeln!(text, "{line}");
    }
    text
}

/// `text` in lines of at most `columns` characters. A longer word gets its own line.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// In the format of Prometheus' tools, because scripts parse the version. Contains nothing that differs between builds
/// of one commit.
pub(crate) fn version() -> String {
    format!(
        "iperf3-exporter, version {} (revision: {})\n  \
           rustc version:    {}\n  \
           platform:         {}\n  \
           tags:             {}\n",
        env!("CARGO_PKG_VERSION"),
        env!("EXPORTER_REVISION"),
        env!("EXPORTER_RUSTC"),
        env!("EXPORTER_PLATFORM"),
        if cfg!(feature = "tls") { "tls" } else { "none" },
    )
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt as _;
    use std::time::Duration;

    use super::{Config, FLAGS, HELP_COLUMNS, help, parse};

    fn config(args: &[&str]) -> Config {
        parse(args.iter().map(Into::into), |path| path == "/health").expect("a configuration")
    }

    fn refusal(args: &[&str]) -> String {
        let parsed = parse(args.iter().map(Into::into), |path| path == "/health");
        parsed.expect_err("a refusal").to_string()
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
    fn help_fits_into_a_terminal() {
        for line in help().lines() {
            assert!(line.chars().count() <= HELP_COLUMNS, "{line}");
        }
        let words: Vec<String> = help().split_whitespace().map(str::to_owned).collect();
        for flag in FLAGS {
            let sentences: Vec<&str> = flag.help.split_whitespace().collect();
            let is_whole = words.windows(sentences.len()).any(|part| part == sentences);
            assert!(is_whole, "--{}", flag.id());
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let config = config(&[]);
        assert_eq!(format!("{:?}", config.http.listen), "[:9579]");
        assert_eq!(config.telemetry_path, "/metrics");
        assert_eq!(config.probe_path, "/probe");
        assert_eq!(config.probe.iperf3_path, "iperf3");
        assert_eq!(config.probe.iperf3_timeout, None);
        assert_eq!(config.probe.lock_timeout, Duration::from_secs(80));
        assert_eq!(config.probe.timeout_offset, Duration::from_millis(500));
        assert!(config.probe.allow.is_empty());
        assert_eq!(config.http.max_connections, 256);
        assert_eq!(config.web_file, None);
    }

    #[test]
    fn values_follow_an_equals_sign_or_a_space() {
        let config = config(&["--lock.timeout=90", "--iperf3-path", "/opt/iperf3"]);
        assert_eq!(config.probe.lock_timeout, Duration::from_secs(90));
        assert_eq!(config.probe.iperf3_path, "/opt/iperf3");
    }

    #[test]
    fn iperf3_timeout_zero_means_no_limit() {
        let limit = |text: &str| {
            config(&[&format!("--iperf3.timeout={text}")])
                .probe
                .iperf3_timeout
        };
        assert_eq!(limit("1s"), Some(Duration::from_secs(1)));
        assert_eq!((limit("0"), limit("0s")), (None, None));
    }

    #[test]
    fn port_replaces_the_default_address_and_adds_to_a_given_one() {
        assert_eq!(
            format!("{:?}", config(&["--port=9580"]).http.listen),
            "[:9580]"
        );
        let both = config(&["--port=9580", "--web.listen-address=127.0.0.1:1"]);
        assert_eq!(format!("{:?}", both.http.listen), "[:9580, 127.0.0.1:1]");
    }

    #[test]
    fn a_refusal_names_the_flag_the_value_and_what_is_allowed() {
        assert_eq!(
            refusal(&["--log.level=loud"]),
            "flag --log.level: \"loud\" is not allowed, want debug, info, warn or error"
        );
        assert_eq!(refusal(&["--nope"]), "unknown flag or argument \"--nope\"");
        assert_eq!(refusal(&["-x"]), "unknown flag or argument \"-x\"");
        assert_eq!(refusal(&["-hx=1"]), "unknown flag or argument \"-hx\"");
        for word in ["web.listen-address", "no-config.check", "help", "version"] {
            for value in ["", "=:9579"] {
                assert_eq!(
                    refusal(&[&format!("-{word}{value}"), ":9579"]),
                    format!("unknown flag or argument \"-{word}\", want --{word}")
                );
            }
        }
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
            "flags --web.telemetry-path and --web.probe-path: both are \"/metrics\", want two different paths"
        );
        assert_eq!(
            refusal(&["--iperf3.username=bob", "--iperf3.password-file=p"]),
            "flag --iperf3.username needs --iperf3.rsa-public-key-path"
        );
        assert_eq!(
            refusal(&["--iperf3.use-pkcs1-padding"]),
            "flag --iperf3.use-pkcs1-padding needs --iperf3.username"
        );
        for bad in [
            "--web.listen-address=9579",
            "--web.listen-address=:65536",
            "--web.listen-address=host",
            "--web.telemetry-path=metrics",
            "--web.probe-path=/health",
            "--web.probe-path=/a?b",
            "--iperf3.path=",
            "--iperf3.timeout=-1s",
            "--lock.timeout=25h",
            "--probe.allow-target=",
            "--probe.allow-target=10.0.0.0/33",
            "--port=65536",
            "--iperf3.username=",
            "--iperf3.username=-x",
            "--iperf3.username=a\nb",
            "--iperf3.rsa-public-key-path=",
            "--iperf3.password-file=-x",
            "--web.max-connections=0",
            "--web.max-connections=10001",
            "--web.max-connections=+1",
            "--log.format=xml",
            "--health=https://localhost:9579",
        ] {
            assert!(refusal(&[bad]).contains("is not allowed, want "), "{bad}");
        }
    }

    #[test]
    fn a_value_that_is_not_text_is_refused() {
        let word = OsString::from_vec(b"--iperf3.path=\xff/iperf3".to_vec());
        let parsed = parse([word], |_| false);
        assert_eq!(
            parsed.expect_err("a refusal").to_string(),
            "argument \"\u{fffd}/iperf3\" is not UTF-8 text"
        );
    }

    #[test]
    fn a_switch_is_turned_on_by_its_name_and_off_with_no() {
        assert!(config(&["--web.systemd-socket"]).http.systemd_socket);
        assert!(!config(&["--no-web.systemd-socket"]).http.systemd_socket);
        assert!(!config(&[]).http.systemd_socket && !config(&[]).check);
        assert!(config(&["--config.check"]).check);
        assert_eq!(
            refusal(&["--web.systemd-socket=true"]),
            "flag --web.systemd-socket takes no value"
        );
        assert_eq!(
            refusal(&["--config.check", "--no-config.check"]),
            "flag --config.check is given more than once"
        );
        // A flag that takes a value is not a switch.
        assert_eq!(
            refusal(&["--no-port"]),
            "unknown flag or argument \"--no-port\""
        );
    }

    #[test]
    fn credentials_are_complete_or_absent_and_never_in_debug_output() {
        assert!(config(&[]).probe.credentials.is_none());
        let config = config(&[
            "--iperf3.username=bobby",
            "--iperf3.rsa-public-key-path=/the/key",
            "--iperf3.password-file=/the/secret",
            "--iperf3.use-pkcs1-padding",
        ]);
        assert!(config.probe.credentials.is_some());
        let shown = format!("{config:?}");
        for word in ["bobby", "/the/key", "/the/secret"] {
            assert!(!shown.contains(word), "{shown}");
        }
    }

    #[test]
    fn an_empty_web_configuration_file_name_means_no_file() {
        assert_eq!(config(&["--web.config.file="]).web_file, None);
        let path = config(&["--web.config.file=/etc/web.yml"]).web_file;
        assert_eq!(path.as_deref(), Some(std::path::Path::new("/etc/web.yml")));
    }
}
