//! What the installed iperf3 supports, according to the usage text of `iperf3 --help`.
//!
//! Must not know how `--help` was run, or what an option is for. A build supports the options in its usage text: in
//! each version from 3.1.3 to 3.21, this is true of every option that is used here.

/// Longest usage text that is read: five times the length of 3.21's.
const TEXT_LIMIT_BYTES: usize = 64 * 1024;
/// Features that depend on the version or the build, each with the option that shows it; in the order of the label.
const OPTIONAL: &[(&str, &str)] = &[
    ("authentication", "--username"),
    ("bidirectional", "--bidir"),
    ("bind_dev", "--bind-dev"),
    ("congestion", "--congestion"),
    ("connect_timeout", "--connect-timeout"),
    ("dont_fragment", "--dont-fragment"),
    ("dscp", "--dscp"),
    ("fq_rate", "--fq-rate"),
    ("mptcp", "--mptcp"),
    ("pkcs1_padding", "--use-pkcs1-padding"),
    ("sctp", "--sctp"),
];

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Features {
    /// The options, separated by blanks; a tenth of the usage text.
    options: String,
}

impl Features {
    /// Reads a usage text; `None` if `text` is something else.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        let text = text.get(..TEXT_LIMIT_BYTES).unwrap_or(text);
        let usage = String::from_utf8_lossy(text);
        // Only options at the beginning of a line count. Up to 3.1, the text calls the program `iperf`.
        let begin = |line| str::split_whitespace(line).map_while(option);
        let options: Vec<&str> = usage.lines().flat_map(begin).collect();
        let is_usage = usage.contains("Usage: iperf");
        is_usage.then(|| Self {
            options: options.join(" "),
        })
    }

    /// Whether the build supports this option, written as on a command line.
    pub(super) fn has(&self, option: &str) -> bool {
        self.options.split(' ').any(|own| own == option)
    }

    /// Whether a build of this version can stream its intervals safely. The option alone does not show it. 3.17 and
    /// 3.17.1 have the option, but die of SIGSEGV without a message if the server rejects the test after the client has
    /// connected. The tag of 3.17 reports its version as `3.16+`.
    pub(super) fn can_stream(&self, version: Option<&str>) -> bool {
        let is_trusted = version.and_then(release).is_some_and(|own| own >= (3, 18));
        is_trusted && self.has("--json-stream")
    }

    /// The optional features of this build, separated by commas.
    pub(crate) fn listed(&self) -> String {
        let own = OPTIONAL.iter().filter(|(_, option)| self.has(option));
        let names: Vec<&str> = own.map(|(name, _)| *name).collect();
        names.join(",")
    }
}

/// The release of a version: 3.19 for `3.19.1`. `3.17+`, a build between two releases, counts as the earlier one.
fn release(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next()?.parse().ok();
    Some((next()?, next()?))
}

/// The option in a word: `-p` in `-p,`, and `--timestamps` in `--timestamps<=format>`.
fn option(word: &str) -> Option<&str> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let (option, _) = word.split_at(word.find(|c| !part(c)).unwrap_or(word.len()));
    (option.starts_with('-') && option.len() > 1).then_some(option)
}

#[cfg(test)]
mod tests {
    use super::{Features, OPTIONAL};

    const USAGE: &str = "Usage: iperf3 [-s|-c host] [options]\n\n\
        Server or Client:\n  -p, --port      #         server port, not --that\n\
        \x20 --timestamps<=format>     emit a timestamp\n                            (see --bidir, -q)\n\
        Client specific:\n  -C, --congestion <algo>   set it\n  --dscp N or --dscp val    set the value\n  -4, --version4\n";

    #[test]
    fn only_options_at_the_beginning_of_a_line_count() {
        let features = Features::read(USAGE.as_bytes()).unwrap();
        for option in [
            "-p",
            "--port",
            "--timestamps",
            "-C",
            "--congestion",
            "--dscp",
            "-4",
        ] {
            assert!(features.has(option), "{option}");
        }
        for option in ["--that", "--bidir", "-q", "-", "--", "#", "--conges", "-Z"] {
            assert!(!features.has(option), "{option}");
        }
        assert_eq!(features.listed(), "congestion,dscp");
    }

    #[test]
    fn only_versions_that_stream_safely_are_used_for_a_stream() {
        let with = Features::read(b"Usage: iperf3\n  --json-stream   x\n").unwrap();
        for (version, can) in [
            ("3.18", true),
            ("3.19.1", true),
            ("3.21+", true),
            ("4.0", true),
            ("3.17.1", false),
            ("3.17+", false),
            ("3.16+", false),
            ("3.9", false),
            ("3", false),
            ("", false),
        ] {
            assert_eq!(with.can_stream(Some(version)), can, "{version}");
        }
        assert!(!with.can_stream(None));
        let without = Features::read(b"Usage: iperf3\n  -J, --json\n").unwrap();
        assert!(!without.can_stream(Some("3.21")));
    }

    #[test]
    fn other_texts_are_not_a_usage_text() {
        for text in [
            "",
            "iperf 3.12",
            "  -p, --port\n",
            "iperf3: unrecognized option '--help'",
        ] {
            assert_eq!(Features::read(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_long_text_is_cut_at_the_limit() {
        let text = "Usage: iperf3\n -p".to_owned() + &" -p".repeat(100_000);
        let kept = Features::read(text.as_bytes()).unwrap().options;
        assert!(kept.starts_with("-p -p ") && kept.len() <= 64 * 1024);
    }

    #[test]
    fn the_label_is_sorted() {
        assert!(OPTIONAL.is_sorted());
    }
}
