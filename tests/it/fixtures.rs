//! Every recorded iperf3 run, replayed by a fake through the real binary: in the recorded form, and in the other of
//! iperf3's two output forms, the document of `-J` and the lines of `--json-stream`.
//!
//! Several independent checks: the whole text is compared with `tests/golden/VERSION/CASE.txt`; the numbers and reasons
//! with `truth`, which was found without the exporter, with the path's own counters, and with a `second` computation
//! from the recorded JSON. A golden alone would only show that nothing changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::forms;
use crate::harness::{self, Exporter, Fake, Reply, TempDir};
use truth::Expected;

mod second;
mod truth;

/// The labels of every sample of the drop-in families, for the recorded port.
fn labels(port: &str) -> String {
    format!("{{target=\"127.0.0.1\",port=\"{port}\"}}")
}

/// One recorded run.
struct Case {
    /// `VERSION/NAME`.
    name: String,
    /// The path of its files, without their extension.
    path: PathBuf,
    /// The client's arguments.
    words: Vec<String>,
    /// The path's own counters, if they were read.
    truth: Option<String>,
}

impl Case {
    fn folder(&self) -> &str {
        self.name.split('/').next().unwrap()
    }

    fn version(&self) -> &str {
        self.folder().trim_end_matches("-stream")
    }

    /// Its recorded output, and the form of it.
    fn stdout(&self) -> (Form, String) {
        let (form, extension) = if self.file("stream").exists() {
            (Form::Stream, "stream")
        } else {
            (Form::Document, "json")
        };
        (form, fs::read_to_string(self.file(extension)).unwrap())
    }

    /// Its output in this form, recorded or converted.
    fn stdout_as(&self, form: Form) -> String {
        match (self.stdout(), form) {
            ((own, text), form) if own == form => text,
            ((_, text), Form::Stream) => forms::stream_of(&text),
            ((_, text), Form::Document) => forms::document_of(&text),
        }
    }

    fn short_name(&self) -> &str {
        self.name.split('/').nth(1).unwrap()
    }

    fn file(&self, extension: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{extension}"));
        name.into()
    }

    /// Whether another client used the server.
    fn is_busy(&self) -> bool {
        self.short_name() == "busy"
    }

    /// Whether the exporter can run the recorded command line at all.
    fn can_be_asked_for(&self) -> bool {
        !["R-and-bidir", "bad-bitrate"].contains(&self.short_name())
    }

    fn option(&self, name: &str) -> Option<&str> {
        let at = self.words.iter().position(|word| word == name)?;
        self.words.get(at + 1).map(String::as_str)
    }

    fn has(&self, word: &str) -> bool {
        self.words.iter().any(|own| own == word)
    }

    fn port(&self) -> &str {
        self.option("-p").unwrap_or("5201")
    }

    /// The query that leads to the recorded command line, and the options that iperf3 must get, sorted.
    fn query(&self, form: Form) -> (String, Vec<String>) {
        let mut query = vec![format!("target=127.0.0.1:{}", self.port())];
        let mut options: Vec<String> = form.options().iter().map(|own| (*own).to_owned()).collect();
        let recorded = self.option("-t").filter(|_| self.can_be_asked_for());
        let period = if self.is_busy() {
            Some(LONG_PERIOD_SECONDS)
        } else {
            recorded
        };
        if let Some(seconds) = period {
            query.push(format!("period={seconds}"));
        }
        options.push(format!("-t {}", period.unwrap_or("5")));
        if self.can_be_asked_for() {
            for (word, part) in [
                ("-R", "reverse_mode=1"),
                ("--bidir", "bidirectional=1"),
                ("-u", "udp_mode=1"),
            ] {
                if self.has(word) {
                    query.push(part.to_owned());
                    options.push(word.to_owned());
                }
            }
            for (word, name) in [
                ("-b", "bitrate"),
                ("-P", "parallel"),
                ("-B", "bind_address"),
            ] {
                if let Some(value) = self.option(word) {
                    query.push(format!("{name}={value}"));
                    options.push(format!("{word} {value}"));
                }
            }
        }
        options.sort();
        (query.join("&"), options)
    }

    /// The fake's script for this case.
    fn script(&self) -> String {
        let ending = fs::read_to_string(self.file("exit")).unwrap();
        let field = |name: &str| {
            let mut lines = ending.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)).unwrap();
            value.to_owned()
        };
        let (status, signal) = (field("exit="), field("signal="));
        let end = match signal.as_str() {
            "" => format!("exit {}", status.parse::<u8>().unwrap()),
            signal => format!("kill -{} $$", signal.parse::<u8>().unwrap()),
        };
        // Saves a process where possible: most runs wrote nothing to stderr, and a status of 0 is that of `cat`.
        let stderr = self.file("stderr");
        let stderr_path = stderr.display();
        match (fs::metadata(&stderr).unwrap().len(), end.as_str()) {
            (0, "exit 0") => "exec cat \"$DIR/stdout\"\n".to_owned(),
            (0, _) => format!("cat \"$DIR/stdout\"\n{end}\n"),
            _ => format!("cat \"$DIR/stdout\"\ncat '{stderr_path}' >&2\n{end}\n"),
        }
    }

    /// The counters of the direction that the drop-in families describe: datagrams in, and datagrams dropped.
    fn path_counters(&self) -> Option<(f64, f64)> {
        let way = if self.has("-R") { "b->a: " } else { "a->b: " };
        let counters = self.truth.as_ref()?.split_once(way).unwrap().1;
        let number = |name: &str| -> f64 {
            let rest = counters.split_once(name).unwrap().1;
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
            digits.unwrap().parse().unwrap()
        };
        Some((number("in="), number("dropped=")))
    }
}

/// All recorded runs, sorted by name.
fn cases() -> Vec<Case> {
    let folder = harness::top().join("tests/fixtures");
    let mut cases = Vec::new();
    for version in fs::read_dir(&folder).unwrap() {
        let version = version.unwrap().path();
        if !version.is_dir() {
            continue;
        }
        for file in fs::read_dir(&version).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "cmd") {
                cases.push(read_case(&folder, &path));
            }
        }
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}

fn read_case(folder: &Path, command_file: &Path) -> Case {
    let text = fs::read_to_string(command_file).unwrap();
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    // Not `with_extension`: versions have dots.
    let path = command_file.to_str().unwrap().strip_suffix(".cmd").unwrap();
    let relative = Path::new(path).strip_prefix(folder).unwrap();
    Case {
        name: relative.to_str().unwrap().to_owned(),
        path: PathBuf::from(path),
        words: line("client: ")
            .unwrap()
            .split(' ')
            .map(str::to_owned)
            .collect(),
        truth: line("truth: ").map(str::to_owned),
    }
}

/// A form of iperf3's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `-J`: one document at the end.
    Document,
    /// `--json-stream`: a line for each event.
    Stream,
}

impl Form {
    const BOTH: [Self; 2] = [Self::Document, Self::Stream];

    /// The options that select it.
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Document => &["-J"],
            Self::Stream => &["--json-stream", "--forceflush"],
        }
    }

    /// A usage text with all options of the recorded runs; an iperf3 that does not stream has none.
    fn help(self) -> &'static str {
        match self {
            Self::Document => ":",
            Self::Stream => {
                "echo 'Usage: iperf3'; for o in -J --json-stream --forceflush -c -p -t -R --bidir -u -b -P -B; \
                 do echo \" $o\"; done"
            }
        }
    }
}

/// So long that no test is shortened or ended on a busy machine.
const LIMIT: &str = "--iperf3.timeout=602s";
/// The period of the case with a busy server. The exporter tries again as long as another test of this length fits into
/// [`LIMIT`], which is a second and a half.
const LONG_PERIOD_SECONDS: &str = "600";

/// The exporter with a fake that plays the current case in one form.
struct Player {
    form: Form,
    fake: Fake,
    exporter: Exporter,
}

impl Player {
    fn new(form: Form) -> Self {
        let script = "printf '%s\\n' \"$@\" > \"$DIR/words\"\n. \"$DIR/case\"";
        let fake = Fake::with_help(script, form.help());
        let exporter = Exporter::start(&[fake.flag().as_str(), LIMIT]);
        Self {
            form,
            fake,
            exporter,
        }
    }

    /// Probes while the case is played; the response, after its command line was compared.
    fn play(&self, case: &Case) -> Reply {
        let dir = self.fake.dir();
        fs::write(dir.join("stdout"), case.stdout_as(self.form)).unwrap();
        fs::write(dir.join("case"), case.script()).unwrap();
        let (query, options) = case.query(self.form);
        let mut reply = self.exporter.get(&format!("/probe?{query}"));
        assert_eq!(reply.code, 200, "{}: {}", case.name, reply.body);
        if case.is_busy() {
            // The number of attempts depends on the machine; the recording has one.
            let attempts = format!("iperf3_probe_attempts{}", labels(case.port()));
            let count = reply.sample(&attempts).unwrap();
            let told = format!("{attempts} {count}\n");
            reply.body = reply.body.replace(&told, &format!("{attempts} 1\n"));
        }
        let words = fs::read_to_string(self.fake.dir().join("words")).unwrap();
        assert_eq!(options_of(&words), options, "{}: {query}", case.name);
        reply
    }
}

/// The options of a command line with one argument per line, each with its value, sorted; without the server.
fn options_of(words: &str) -> Vec<String> {
    let mut options: Vec<String> = Vec::new();
    for word in words.lines() {
        match options.last_mut() {
            Some(option) if !word.starts_with('-') => *option = format!("{option} {word}"),
            _ => options.push(word.to_owned()),
        }
    }
    options.retain(|option| !option.starts_with("-c ") && !option.starts_with("-p "));
    options.sort();
    options
}

/// The text with placeholders for what differs from run to run.
fn without_times(body: &str) -> String {
    let timed = [
        "iperf3_probe_duration_seconds{",
        "iperf3_lock_wait_seconds{",
    ];
    let lines: Vec<String> = body
        .lines()
        .map(|line| match line.rsplit_once(' ') {
            Some((sample, _)) if timed.iter().any(|name| line.starts_with(name)) => {
                format!("{sample} SECONDS")
            }
            _ => line.to_owned(),
        })
        .collect();
    lines.join("\n") + "\n"
}

#[test]
fn every_recorded_run_gives_its_golden_text_and_the_true_numbers() {
    let players = Form::BOTH.map(Player::new);
    let cases = cases();
    let updating = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for case in &cases {
        let (form, _) = case.stdout();
        let [document, stream] = &players;
        let (own, other) = match form {
            Form::Document => (document, stream),
            Form::Stream => (stream, document),
        };
        let (reply, other) = (own.play(case), other.play(case));
        let text = without_times(&reply.body);
        let golden = harness::top().join(format!("tests/golden/{}.txt", case.name));
        let mut faults = faults(case, &reply);
        if updating {
            harness::assert_golden(&golden, &text);
        } else if fs::read_to_string(&golden).ok().as_deref() != Some(text.as_str()) {
            let path = golden.display();
            faults.push(format!(
                "not as in {path}, which UPDATE_GOLDEN=1 updates:\n{text}"
            ));
        }
        let other = without_times(&other.body);
        if other != text {
            faults.push(format!(
                "as {form:?}\n{text}\nand in the other form\n{other}"
            ));
        }
        if !faults.is_empty() {
            wrong.push(format!("{}: {}", case.name, faults.join("; ")));
        }
    }
    let right = cases.len() - wrong.len();
    harness::say(&format!("fixtures right: {right} of {}", cases.len()));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn truth_and_goldens_and_recorded_runs_are_the_same_set() {
    let cases = cases();
    let names: BTreeSet<String> = cases.iter().map(|case| case.name.clone()).collect();
    assert!(
        names.len() > 180,
        "recorded runs are missing: {}",
        names.len()
    );
    let succeeded: BTreeSet<String> = truth::SUCCEEDED
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    assert_eq!(succeeded.len(), truth::SUCCEEDED.len(), "a case twice");
    let strangers: Vec<_> = succeeded.difference(&names).collect();
    assert!(strangers.is_empty(), "no such runs: {strangers:?}");
    for case in &cases {
        let both = succeeded.contains(&case.name) == expected_reason(case).is_some();
        assert!(!both, "{} must have succeeded or failed", case.name);
    }
    let folders: BTreeSet<&str> = cases.iter().map(Case::folder).collect();
    let mut goldens = BTreeSet::new();
    for name in folders {
        let folder = harness::top().join("tests/golden").join(name);
        for file in fs::read_dir(folder).unwrap() {
            let file = file.unwrap().file_name().into_string().unwrap();
            goldens.insert(format!("{name}/{}", file.strip_suffix(".txt").unwrap()));
        }
    }
    assert_eq!(goldens, names);
}

#[test]
fn promtool_accepts_each_kind_of_probe_except_for_the_inherited_names() {
    // promtool checks names, types and help texts: the text with values and labels masked. Another test shows that the
    // goldens are the exporter's output, except for the values that differ from run to run.
    let mut shapes: BTreeMap<String, String> = BTreeMap::new();
    for case in &cases() {
        let golden = harness::top().join(format!("tests/golden/{}.txt", case.name));
        let body = fs::read_to_string(golden).unwrap();
        let body = body.replace("} SECONDS\n", "} 1\n");
        let lines = body.lines().map(|line| match line.strip_prefix('#') {
            Some(_) => line,
            None => line.split('{').next().unwrap(),
        });
        let shape = lines.collect::<Vec<_>>().join("\n");
        shapes.entry(shape).or_insert(body);
    }
    assert!(
        shapes.len() >= 4,
        "TCP and UDP, up and down, are four shapes"
    );
    for body in shapes.values() {
        let (_, complaints) = harness::run("promtool", &["check", "metrics"], body);
        let unexpected: Vec<&str> = complaints
            .lines()
            .filter(|line| !line.is_empty())
            .filter(|line| {
                let name = line.split(' ').next().unwrap();
                !["iperf3_sent_jitter_ms", "iperf3_received_jitter_ms"].contains(&name)
            })
            .collect();
        assert!(unexpected.is_empty(), "{unexpected:?} of\n{body}");
    }
    // This shows that promtool does complain.
    let (fine, complaints) = harness::run("promtool", &["check", "metrics"], "no_help_seconds 1\n");
    assert!(!fine && complaints.contains("no_help_seconds"));
}

#[test]
fn a_stream_that_was_cut_off_is_counted_and_is_no_result() {
    let cases = cases();
    for (name, bytes) in [
        ("3.18-stream/client-sigkill-tcp", 6_291_456.0),
        ("3.21-stream/server-frozen", 6_291_456.0),
        ("3.18-stream/refused", 0.0),
    ] {
        let case = cases.iter().find(|case| case.name == name).unwrap();
        let player = Player::new(Form::Stream);
        let reply = player.play(case);
        assert_eq!(reply.family("iperf3_up"), Some(0.0), "{name}");
        assert_eq!(reply.family("iperf3_sent_bytes"), Some(0.0), "{name}");
        let sample = "iperf3_exporter_test_bytes_total{direction=\"upload\"}";
        assert_eq!(player.exporter.metric(sample), bytes, "{name}");
    }
}

#[test]
fn impossible_numbers_are_left_out() {
    // Recorded runs with one number replaced by a value that other versions, paths and machines can give.
    let lost_of_500 = ("941644", "500");
    for (name, changes, absent, present) in [
        // Wrong because of reordering as in the recording, but below the sent number: 1737 of 1977 arrived.
        (
            "3.9/udp-R-loss5-jitter",
            vec![lost_of_500],
            "iperf3_lost_packets",
            ("iperf3_received_packets", 1737.0),
        ),
        (
            "3.9/udp-loss5",
            vec![("\"lost_packets\":\t90", "\"lost_packets\":\t-90")],
            "iperf3_lost_percent",
            ("iperf3_sent_packets", 1726.0),
        ),
        // 1730 arrived of 1726: some were duplicated on the path.
        (
            "3.12/udp-loss5",
            vec![("2376168", "2505040")],
            "iperf3_received_lost_packets",
            ("iperf3_received_packets", 1730.0),
        ),
        // No whole number of datagrams.
        (
            "3.12/udp-loss5",
            vec![("2376168", "2376169")],
            "iperf3_received_packets",
            ("iperf3_received_bytes", 2_376_169.0),
        ),
        (
            "3.12/tcp",
            vec![("\"retransmits\":\t13", "\"retransmits\":\t-1")],
            "iperf3_retransmits",
            ("iperf3_sent_bytes", 2_901_803_008.0),
        ),
    ] {
        let reply = play_changed(name, &changes);
        let (known, value) = present;
        assert_eq!(reply.family("iperf3_up"), Some(1.0), "{name} {changes:?}");
        assert_eq!(reply.family(known), Some(value), "{name} {changes:?}");
        assert_eq!(reply.family(absent), None, "{name} {changes:?}: {absent}");
    }
}

#[test]
fn invented_numbers_of_a_hostile_server_are_not_exported() {
    const ARRIVED: &str = "2896691200";
    const CPU: &str = "\"remote_total\":\t";
    let of_bytes = [
        "iperf3_received_bytes{",
        "iperf3_transferred_bytes{",
        "iperf3_bandwidth_bytes_per_second{",
    ];
    for (old, new, absent) in [
        // This side sent 2901803008 bytes.
        (ARRIVED, "99999999999999", &of_bytes[..]),
        // Minus five as an unsigned number.
        (ARRIVED, "18446744073709551611", &of_bytes[..]),
        // The receiver's seconds.
        (
            "2.000696",
            "1e-300",
            &[
                "iperf3_received_seconds{",
                "iperf3_bandwidth_bytes_per_second{",
            ],
        ),
        (
            CPU,
            "\"remote_total\":\t1e300,\"was\":\t",
            &["host=\"remote\""],
        ),
    ] {
        let before = play_changed("3.12/tcp", &[(old, old)]);
        let after = play_changed("3.12/tcp", &[(old, new)]);
        assert_eq!(after.family("iperf3_up"), Some(1.0), "{new}");
        for part in absent {
            assert!(before.body.contains(part), "{part} is always absent");
            assert!(!after.body.contains(part), "{new}: {part}");
        }
        let others = |reply: &Reply| -> BTreeSet<String> {
            let lines = reply.body.lines().filter(|line| !line.starts_with('#'));
            lines
                .filter(|line| !absent.iter().any(|part| line.contains(part)))
                .map(|line| line.split(' ').next().unwrap().to_owned())
                .collect()
        };
        assert_eq!(others(&before), others(&after), "{new}: no more is absent");
    }
    let word = "\"receiver_tcp_congestion\":\t\"";
    let reply = play_changed("3.12/tcp", &[(word, &format!("{word}series17-"))]);
    let labels = "congestion_sender=\"bbr\",congestion_receiver=\"other\"";
    assert!(reply.body.contains(labels), "{}", reply.body);
}

#[test]
fn rates_that_are_null_change_nothing() {
    for name in ["3.9/tcp-bidir", "3.12/udp-loss5", "3.21/tcp-P4-R"] {
        let golden = harness::top().join(format!("tests/golden/{name}.txt"));
        let changes = [(
            "\"bits_per_second\":\t",
            "\"bits_per_second\":\tnull,\"was\":\t",
        )];
        let reply = play_changed(name, &changes);
        let expected = fs::read_to_string(golden).unwrap();
        assert_eq!(without_times(&reply.body), expected, "{name}");
    }
}

/// Plays a recorded run with changed JSON: each pair is replaced wherever it occurs.
fn play_changed(name: &str, changes: &[(&str, &str)]) -> Reply {
    let mut case = cases().into_iter().find(|case| case.name == name).unwrap();
    let dir = TempDir::new();
    let mut text = fs::read_to_string(case.file("json")).unwrap();
    for (old, new) in changes {
        assert!(text.contains(old), "{name} has no {old}");
        text = text.replace(old, new);
    }
    dir.write("changed.json", &text);
    for extension in ["stderr", "exit"] {
        let copy = dir.path().join(format!("changed.{extension}"));
        fs::copy(case.file(extension), copy).unwrap();
    }
    case.path = dir.path().join("changed");
    Player::new(Form::Document).play(&case)
}

/// The expected reason of a run; `None` for one that succeeded.
fn expected_reason(case: &Case) -> Option<&'static str> {
    let fits = |versions: &[&str]| versions.is_empty() || versions.contains(&case.version());
    truth::FAILED
        .iter()
        .find(|(name, versions, _)| *name == case.short_name() && fits(versions))
        .map(|(_, _, reason)| *reason)
}

/// All differences between a probe's response and what is known of the run.
fn faults(case: &Case, reply: &Reply) -> Vec<String> {
    let mut judge = Judge {
        reply,
        labels: labels(case.port()),
        faults: Vec::new(),
    };
    let succeeded = truth::SUCCEEDED.iter().find(|(name, _)| *name == case.name);
    match (succeeded, expected_reason(case)) {
        (Some((_, expected)), None) => {
            judge.success(case, *expected);
            if let Some((path_in, path_dropped)) = case.path_counters() {
                judge.path(case, path_in, path_dropped);
            }
        }
        (None, Some(reason)) => judge.failure(reason, case.has("-u") && case.can_be_asked_for()),
        _ => judge
            .faults
            .push("must be in truth::SUCCEEDED or truth::FAILED".to_owned()),
    }
    judge.own_families(case, succeeded.is_some());
    judge.faults
}

/// The UDP families in pairs with the same meaning.
const LOST_PACKETS: [&str; 3] = [
    "iperf3_lost_packets",
    "iperf3_sent_lost_packets",
    "iperf3_received_lost_packets",
];
const LOST_PERCENT: [&str; 3] = [
    "iperf3_lost_percent",
    "iperf3_sent_lost_percent",
    "iperf3_received_lost_percent",
];
const JITTER_MS: [&str; 2] = ["iperf3_sent_jitter_ms", "iperf3_received_jitter_ms"];
const PACKETS: [&str; 2] = ["iperf3_sent_packets", "iperf3_received_packets"];
const ALWAYS: [&str; 4] = [
    "iperf3_sent_seconds",
    "iperf3_sent_bytes",
    "iperf3_received_seconds",
    "iperf3_received_bytes",
];

struct Judge<'a> {
    reply: &'a Reply,
    labels: String,
    faults: Vec<String>,
}

impl Judge<'_> {
    fn value(&self, name: &str) -> Option<f64> {
        self.reply.sample(&format!("{name}{}", self.labels))
    }

    fn check(&mut self, fine: bool, fault: impl FnOnce() -> String) {
        if !fine {
            self.faults.push(fault());
        }
    }

    /// The family has this value, or is left out completely.
    fn is(&mut self, name: &str, expected: Option<f64>) {
        let got = self.value(name);
        let fine = match (got, expected) {
            (Some(got), Some(expected)) => (got - expected).abs() <= 1e-9 * expected.abs(),
            // Left out means: under no labels, and without HELP and TYPE.
            (None, None) => !self.reply.body.contains(&format!("{name}{{")),
            _ => false,
        };
        self.check(fine, || format!("{name} is {got:?} and not {expected:?}"));
        let announced = self.reply.body.contains(&format!("# TYPE {name} "));
        self.check(announced == got.is_some(), || {
            format!("TYPE of {name} without a value")
        });
    }

    fn success(&mut self, case: &Case, expected: Expected) {
        self.is("iperf3_up", Some(1.0));
        let reason = self.reply.reason().map(str::to_owned);
        self.check(reason.is_none(), || format!("up, with reason {reason:?}"));
        // Recorded tests ran for their period by the clocks of both ends. The receiver's clock starts at the first byte
        // and ends at the last, which is later by a congested path's queue: less than a third of a second in all of
        // them. Up to 3.11 a test with omitted seconds is shorter by a timer's slack.
        let period: f64 = case.option("-t").unwrap().parse().unwrap();
        for name in ["iperf3_sent_seconds", "iperf3_received_seconds"] {
            let seconds = self.value(name).unwrap_or(0.0);
            self.check((period - 0.05..period + 0.35).contains(&seconds), || {
                format!("{name} is {seconds}")
            });
        }
        match expected {
            Expected::Tcp {
                sent_bytes,
                received_bytes,
                retransmits,
            } => {
                self.is("iperf3_sent_bytes", Some(sent_bytes as f64));
                self.is("iperf3_received_bytes", Some(received_bytes as f64));
                self.is("iperf3_retransmits", Some(retransmits as f64));
                for name in LOST_PACKETS
                    .iter()
                    .chain(&LOST_PERCENT)
                    .chain(&JITTER_MS)
                    .chain(&PACKETS)
                {
                    self.is(name, None);
                }
            }
            Expected::Udp {
                block,
                sent,
                received,
                lost,
            } => {
                self.is("iperf3_retransmits", None);
                self.is("iperf3_sent_bytes", Some((sent * block) as f64));
                self.is("iperf3_sent_packets", Some(sent as f64));
                let bytes = received.map(|count| (count * block) as f64);
                self.is("iperf3_received_bytes", bytes);
                self.is(
                    "iperf3_received_packets",
                    received.map(|count| count as f64),
                );
                for name in LOST_PACKETS {
                    self.is(name, lost.map(|count| count as f64));
                }
                for name in LOST_PERCENT {
                    self.is(name, lost.map(|count| 100.0 * count as f64 / sent as f64));
                }
                self.jitter(case);
            }
        }
    }

    /// No jitter where nothing arrived. Otherwise a positive one, and on the path with jitter one that matches its 3
    /// ms.
    fn jitter(&mut self, case: &Case) {
        let nothing_arrived = case.short_name() == "udp-bigdrop";
        for name in JITTER_MS {
            match self.value(name) {
                None => self.check(nothing_arrived, || format!("{name} is missing")),
                Some(value) => {
                    // Delays of 10 ± 3 ms, evenly spread, differ by 2 ms on average from one datagram to the next. A
                    // path without jitter shows the machine's own, which was under 4 ms.
                    let range = match case.short_name() {
                        "udp-R-loss5-jitter" => 1.0..4.0,
                        _ => f64::MIN_POSITIVE..4.0,
                    };
                    self.check(!nothing_arrived && range.contains(&value), || {
                        format!("{name} is {value}")
                    });
                }
            }
        }
    }

    /// Compares the numbers with the path's own counters of this direction.
    fn path(&mut self, case: &Case, path_in: f64, path_dropped: f64) {
        // 10 ms to the receiver and 10 ms for its end message to return, at 863 datagrams a second (10 Mbit/s in blocks
        // of 1448 bytes), are 17.3 datagrams that were sent and that the receiver did not wait for. The slack of timers
        // makes it 20. The maximum in these runs is 19.
        const IN_FLIGHT: f64 = 20.0;
        // Datagrams that the receiver's socket dropped in addition, because its buffer was full before iperf3 read it.
        // The path's counters cannot know them; iperf3's gap in the numbers does.
        const ALSO_LOST_AT_THE_SOCKET: [&str; 2] = ["3.16/udp-loss5", "3.9/udp-R-loss5"];
        let sent = self.value("iperf3_sent_packets");
        let received = self.value("iperf3_received_packets");
        let lost = self.value("iperf3_lost_packets");
        if case.has("-O") {
            // The counters include the omitted second, so they only give bounds.
            let fine = sent.is_some_and(|sent| sent < path_in)
                && received.is_none_or(|received| received <= path_in - path_dropped)
                && lost.is_none_or(|lost| lost <= path_dropped);
            self.check(fine, || {
                format!("{sent:?} sent, {received:?} received, {lost:?} lost")
            });
            return;
        }
        self.check(sent == Some(path_in), || {
            format!("{sent:?} sent, the path saw {path_in}")
        });
        if let Some(received) = received {
            self.check(received <= path_in - path_dropped, || {
                format!("{received} received, of {path_in} the path dropped {path_dropped}")
            });
        }
        if let (Some(received), Some(lost)) = (received, lost) {
            let known = received + lost;
            self.check((path_in - IN_FLIGHT..=path_in).contains(&known), || {
                format!("{received} received and {lost} lost are not {path_in}")
            });
        }
        if let Some(lost) = lost {
            let fine = lost + IN_FLIGHT >= path_dropped
                && (lost <= path_dropped + IN_FLIGHT
                    || ALSO_LOST_AT_THE_SOCKET.contains(&case.name.as_str()));
            self.check(fine, || {
                format!("{lost} lost, the path dropped {path_dropped}")
            });
        }
    }

    fn failure(&mut self, reason: &str, udp: bool) {
        self.is("iperf3_up", Some(0.0));
        let got = self.reply.reason().map(str::to_owned);
        self.check(got.as_deref() == Some(reason), || {
            format!("the reason is {got:?} and not {reason}")
        });
        let zero = |here: bool| here.then_some(0.0);
        for name in ALWAYS {
            self.is(name, zero(true));
        }
        self.is("iperf3_retransmits", zero(!udp));
        for name in LOST_PACKETS
            .iter()
            .chain(&LOST_PERCENT)
            .chain(&JITTER_MS)
            .chain(&PACKETS)
        {
            self.is(name, zero(udp));
        }
    }
}
