//! Deadlines, shortened periods, the order of the lock and its wait limits, and the number of simultaneous probes.
//!
//! The arithmetic of each limit is tested beside the code. These tests show that each limit takes effect, by the
//! outcome of a run that would never end, not by how long it took.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::harness::{
    Connection, Exporter, Fake, Reply, children, good_report, is_alive, lock_status, run, wait_for,
};

/// A fake that succeeds at once and writes its arguments to `$DIR/argv`.
fn instant() -> Fake {
    Fake::new(&format!(
        "echo \"$*\" >\"$DIR/argv\"\nexec cat '{}'",
        good_report().display()
    ))
}

/// Removes the other limits: of the run of a fake that waits for `go`, and of the wait for the lock.
const UNLIMITED: [&str; 2] = ["--iperf3.timeout=1h", "--lock.timeout=1h"];

/// An exporter with these flags in addition.
fn exporter(fake: &Fake, flags: &[&str]) -> Exporter {
    let own = fake.flag();
    let flags: Vec<&str> = flags.iter().copied().chain([own.as_str()]).collect();
    Exporter::start(&flags)
}

/// The value of an option on the command line that a reply with `debug` shows.
fn option<'a>(reply: &'a Reply, name: &str) -> &'a str {
    let (_, rest) = reply.body.split_once("command line").unwrap();
    let mut words = rest.split_whitespace();
    words.find(|word| *word == name);
    words.next().unwrap_or_default()
}

/// Starts a probe on a new connection, and returns when the queue has this size.
fn queue(exporter: &Exporter, watch: &mut Connection, path: &str, size: usize) -> Connection {
    let mut connection = Connection::open(exporter.port());
    connection.send(path, &[]);
    wait_for("the probe to wait for the lock", || {
        lock_status(watch)["queue_size"] == size
    });
    connection
}

/// The run was ended at a limit, not earlier, and left nothing behind.
fn assert_timed_out(exporter: &Exporter, reply: &Reply, at_least_seconds: f64) {
    assert_eq!(reply.code, 200);
    assert_eq!(reply.family("iperf3_up"), Some(0.0));
    assert_eq!(reply.reason(), Some("timeout"));
    let seconds = reply.family("iperf3_probe_duration_seconds").unwrap();
    assert!(seconds >= at_least_seconds, "{seconds}");
    assert_eq!(children(exporter.pid()), []);
    assert_eq!(exporter.metric("iperf3_exporter_lock_held"), 0.0);
}

#[test]
fn the_scrape_deadline_ends_a_run_whose_period_is_shortened_and_logged() {
    let fake = Fake::endless();
    let exporter = exporter(&fake, &[]);
    let reply = exporter.scrape("/probe?target=127.0.0.1&period=5s&debug=1", "2");
    // 2 s less the offset of 0.5 s are 1.5 s; 90 % of that in whole seconds is 1.
    assert_timed_out(&exporter, &reply, 1.5);
    assert_eq!(option(&reply, "-t"), "1");
    let line = exporter.log_line("reason=timeout");
    assert!(line.contains(" period_seconds=1 "), "{line}");
    let (_, ran) = line
        .split_once(" error=\"the test did not finish before its deadline, after ")
        .unwrap();
    let ran: f64 = ran.split_once(" s\" ").unwrap().0.parse().unwrap();
    // How much of the 1.5 s iperf3 got depends on the machine.
    assert!(ran > 0.0, "{line}");
    let line = exporter.log_line("period shortened");
    for piece in [
        " level=warn ",
        " probe=1 ",
        " target=127.0.0.1 ",
        " wanted_seconds=5 ",
        " period_seconds=1",
    ] {
        assert!(line.contains(piece), "{piece}: {line}");
    }
}

#[test]
fn the_iperf3_timeout_ends_a_run_when_it_is_the_earlier_limit() {
    let fake = Fake::endless();
    let path = "/probe?target=127.0.0.1";
    thread::scope(|scope| {
        scope.spawn(|| {
            let exporter = exporter(&fake, &["--iperf3.timeout=1s"]);
            assert_timed_out(&exporter, &exporter.get(path), 1.0);
            // The test would wait an hour for this response; it must come earlier.
            assert_timed_out(&exporter, &exporter.scrape(path, "3600"), 1.0);
        });
        scope.spawn(|| {
            let exporter = exporter(&fake, &["--iperf3.timeout=1h"]);
            assert_timed_out(&exporter, &exporter.scrape(path, "2"), 1.5);
        });
    });
}

#[test]
fn a_period_that_does_not_fit_is_shortened_to_nine_tenths_of_the_time() {
    let fake = instant();
    for (flags, header, wanted, expected) in [
        // Neither header nor flag: 30 s.
        (&[][..], None, "29s", "29"),
        (&[], None, "60s", "27"),
        (&[], Some("10"), "9s", "9"),
        (&[], Some("10"), "10s", "8"),
        (&[], Some("10.0"), "24h", "8"),
        (&[], Some("120"), "100s", "100"),
        (&[], Some("2.5"), "5s", "1"),
        (&["--iperf3.timeout=20s"], Some("120"), "60s", "18"),
        (&["--iperf3.timeout=20s"], Some("10"), "60s", "8"),
        (&["--iperf3.timeout=60s"], None, "59s", "59"),
        (&["--iperf3.timeout=60s"], None, "60s", "54"),
        (&["--probe.timeout-offset=0"], Some("10"), "10s", "9"),
        (&["--probe.timeout-offset=4s"], Some("10"), "10s", "5"),
        // The offset never takes more than half.
        (&["--probe.timeout-offset=8s"], Some("10"), "10s", "4"),
        (&["--probe.timeout-offset=1h"], Some("10"), "4s", "4"),
    ] {
        let exporter = exporter(&fake, flags);
        let path = format!("/probe?target=127.0.0.1&period={wanted}&debug=1");
        let reply = match header {
            Some(seconds) => exporter.scrape(&path, seconds),
            None => exporter.get(&path),
        };
        let case = format!("{flags:?} {header:?} {wanted}");
        assert_eq!(reply.code, 200, "{case}: {}", reply.body);
        assert_eq!(option(&reply, "-t"), expected, "{case}");
        let is_cut = wanted != format!("{expected}s");
        // The line about the shortened period comes before the probe's own line.
        exporter.log_line("msg=\"probe\"");
        let log = exporter.log();
        assert_eq!(log.contains("period shortened"), is_cut, "{case}");
        let told = log.matches(" period_seconds=").count();
        assert_eq!(told, usize::from(is_cut) * 2, "{case}: {log}");
    }
}

#[test]
fn a_scrape_timeout_header_without_a_positive_number_is_refused() {
    let fake = instant();
    let exporter = Exporter::start(&[fake.flag()]);
    let mut bad = 0;
    for text in [
        "0", "-1", "0.0", "ten", "10s", "1,5", "NaN", "inf", "0x10", "1 2",
    ] {
        let reply = exporter.scrape("/probe?target=127.0.0.1", text);
        assert_eq!(reply.code, 400, "{text:?}: {}", reply.body);
        assert!(
            reply
                .body
                .starts_with("header X-Prometheus-Scrape-Timeout-Seconds: "),
            "{}",
            reply.body
        );
        assert_eq!(reply.body.lines().count(), 1);
        bad += 1;
    }
    assert!(!fake.dir().join("argv").exists(), "a test was run");
    let count = exporter.metric("iperf3_exporter_probes_total{outcome=\"bad_request\"}");
    assert_eq!(count, f64::from(bad));
    // An empty value counts as absent, as in edgard's exporter.
    for text in ["", "10", "9.5", " 10 ", "1e3", "30.000000"] {
        let reply = exporter.scrape("/probe?target=127.0.0.1", text);
        assert_eq!(reply.code, 200, "{text:?}: {}", reply.body);
    }
    // The header's name is case-insensitive (RFC 9110 section 5.1), and no other page reads it.
    let name = "x-prometheus-scrape-timeout-seconds";
    let path = "/probe?target=127.0.0.1";
    assert_eq!(exporter.request("GET", path, &[(name, "0")]).code, 400);
    assert_eq!(exporter.scrape("/metrics", "-1").code, 200);
    assert_eq!(exporter.get(path).code, 200);
}

/// The unit tests of `iperf3/process` check that SIGTERM comes first; they set the time between the two signals.
#[test]
fn a_run_that_ignores_sigterm_is_killed_before_its_response_and_the_next_one_follows() {
    let fake = Fake::new(&format!(
        "[ \"$5\" != 2 ] || exec cat '{}'\ntrap '' TERM\nexec sleep 600",
        good_report().display()
    ));
    let exporter = exporter(&fake, &[]);
    let reply = exporter.scrape("/probe?target=127.0.0.1:1", "2");
    assert_timed_out(&exporter, &reply, 1.5);
    let reply = exporter.get("/probe?target=127.0.0.1:2");
    assert_eq!(reply.family("iperf3_up"), Some(1.0), "{}", reply.body);
}

#[test]
fn a_grandchild_that_keeps_the_pipes_open_delays_nothing() {
    let fake = Fake::new(&format!(
        "sleep 600 &\necho $! >\"$DIR/pid\"\nexec cat '{}'",
        good_report().display()
    ));
    let exporter = exporter(&fake, &["--iperf3.timeout=1h"]);
    let reply = exporter.get("/probe?target=127.0.0.1");
    assert_eq!(reply.family("iperf3_up"), Some(1.0));
    // The grandchild still holds the pipes. It has no parent in the test, so nothing else will end it.
    assert!(is_alive(fake.pid()));
    assert!(run("kill", &[&fake.pid().to_string()], "").0);
}

#[test]
fn a_probe_that_gives_up_waiting_says_why_while_the_lock_is_still_held() {
    let fake = Fake::until_go();
    let exporter = exporter(&fake, &["--iperf3.timeout=1h", "--lock.timeout=1s"]);
    let mut first = Connection::open(exporter.port());
    first.send("/probe?target=127.0.0.1", &[]);
    wait_for("the fake to run", || fake.runs());
    let path = "/probe?target=127.0.0.1&period=1s";
    for (round, (header, cause, outcome)) in [
        (None, "--lock.timeout", "lock_timeout"),
        (Some("60"), "--lock.timeout", "lock_timeout"),
        // 1.5 s less the test's second and half a second: no time to wait.
        (Some("2"), "scrape timeout", "no_time_left"),
    ]
    .into_iter()
    .enumerate()
    {
        let sample = format!("iperf3_exporter_probes_total{{outcome=\"{outcome}\"}}");
        let before = exporter.metric(&sample);
        let reply = match header {
            Some(seconds) => exporter.scrape(path, seconds),
            None => exporter.get(path),
        };
        assert_eq!(reply.code, 503, "{header:?}: {}", reply.body);
        let seconds: u32 = reply.header("Retry-After").unwrap().parse().unwrap();
        assert!(seconds > 0);
        assert_eq!(
            reply.header("Content-Type"),
            Some("text/plain; charset=utf-8")
        );
        assert!(reply.body.contains(cause), "{header:?}: {}", reply.body);
        assert_eq!(reply.body.lines().count(), 1);
        assert_eq!(exporter.metric(&sample), before + 1.0);
        let line = exporter.log_line("probe not run");
        assert!(line.contains(" level=warn "), "{line}");
        let has_it = exporter
            .log()
            .contains(&format!(" outcome={outcome} cause="));
        assert!(has_it, "{}", exporter.log());
        wait_for("a line for each round", || {
            exporter.log().matches("msg=\"probe not run\"").count() == round + 1
        });
    }
    assert_eq!(exporter.metric("iperf3_exporter_lock_waiters"), 0.0);
    fake.go();
    assert_eq!(first.reply().family("iperf3_up"), Some(1.0));
}

/// The clock times in a sentence, in seconds of the day.
fn clocks(text: &str) -> Vec<u64> {
    let words = text.split([' ', ';']);
    let parts = words.map(|word| word.split(':').map(str::parse).collect());
    let clocks = parts.filter_map(|parts: Result<Vec<u64>, _>| parts.ok());
    let clocks = clocks.filter(|parts| parts.len() == 3);
    clocks.map(|p| p[0] * 3600 + p[1] * 60 + p[2]).collect()
}

#[test]
fn a_probe_without_time_left_gives_the_same_numbers_in_response_log_and_page() {
    let fake = Fake::until_go();
    let exporter = exporter(&fake, &UNLIMITED);
    let mut watch = Connection::open(exporter.port());
    let mut holder = Connection::open(exporter.port());
    holder.send("/probe?target=127.0.0.7&period=30m", &[]);
    wait_for("the fake to run", || fake.runs());
    let ahead: Vec<Connection> = (1..=2)
        .map(|size| queue(&exporter, &mut watch, "/probe?target=127.0.0.8", size))
        .collect();
    let since = rfc3339(lock_status(&mut watch)["locked_at"].as_str().unwrap());
    let path = "/probe?target=127.0.0.9&period=2s&reverse_mode=true";
    let reply = exporter.scrape(path, "3");
    assert_eq!(reply.code, 503);
    let sentence = reply.body.trim_end().strip_prefix("no test was run: ");
    let sentence = sentence.and_then(|rest| rest.strip_suffix(" (probe 4)"));
    let sentence = sentence.unwrap_or_else(|| panic!("{}", reply.body));
    // 3 s less the offset is 2.5 s, all of which a waiting test needs: no more is left when it gives up.
    let rest = sentence.strip_prefix("not enough of the scrape timeout is left to run the test (");
    let (left, rest) = rest.and_then(|rest| rest.split_once(" s left")).unwrap();
    let left: f64 = left.parse().unwrap();
    assert!((0.0..=2.5).contains(&left), "{sentence}");
    assert!(
        rest.starts_with(", 2.5 s needed): 127.0.0.7:5201 (probe 1) holds the test lock from ")
    );
    assert!(
        sentence.contains(" UTC, 2 other probes wait (2 ahead, 0 behind). Use "),
        "{sentence}"
    );
    for help in ["scrape timeout", "interval", "max_age"] {
        let (_, helps) = sentence.rsplit_once(". ").unwrap();
        assert!(helps.contains(help), "{sentence}");
    }
    let [from, to] = clocks(sentence)[..] else {
        panic!("{sentence}")
    };
    assert_eq!(from, since % 86_400);
    // Its test started a moment after it got the lock.
    let length = (to + 86_400 - from) % 86_400;
    assert!((1800..1830).contains(&length), "{sentence}");
    let line = exporter.log_line("probe not run");
    assert!(line.contains(&format!(" cause=\"{sentence}\" ")), "{line}");
    assert!(
        line.contains(" level=warn ") && line.contains(" outcome=no_time_left "),
        "{line}"
    );
    // The target's job and the elapsed time, as on the line of a test that ran.
    for piece in [
        " target=127.0.0.9 port=5201 period=2s reverse_mode=true outcome=",
        " seconds=",
        " lock_wait_seconds=",
    ] {
        assert!(line.contains(piece), "{piece}: {line}");
    }
    let number = line
        .split_once(" probe=")
        .unwrap()
        .1
        .split(' ')
        .next()
        .unwrap();
    let page = exporter.get(&format!("/probes/{number}")).body;
    assert!(
        page.contains(&format!("<dt>Cause</dt><dd>{sentence}</dd>")),
        "{page}"
    );
    // A test of bytes has no known end, so none is given.
    drop((holder, ahead));
    // Until its hang-up is noticed, a waiter may still get the lock.
    wait_for("the lock to be free, and no waiter", || {
        let status = lock_status(&mut watch);
        status["is_locked"] == false && status["queue_size"] == 0
    });
    fs::remove_file(fake.dir().join("pid")).unwrap();
    let mut holder = Connection::open(exporter.port());
    holder.send("/probe?target=127.0.0.7&bytes=1G", &[]);
    wait_for("the fake to run", || fake.runs());
    let reply = exporter.scrape("/probe?target=127.0.0.9&period=2s", "3");
    assert!(
        reply
            .body
            .contains("127.0.0.7:5201 (probe 5) has held the test lock since "),
        "{}",
        reply.body
    );
    assert_eq!(clocks(&reply.body).len(), 1, "{}", reply.body);
    assert!(
        reply.body.contains(", no other probe waits. "),
        "{}",
        reply.body
    );
}

#[test]
fn the_page_warns_when_many_of_the_last_probes_did_not_run() {
    let fake = Fake::until_go();
    let exporter = exporter(&fake, &UNLIMITED);
    let home = || exporter.get("/").body;
    let mut holder = Connection::open(exporter.port());
    holder.send("/probe?target=127.0.0.7", &[]);
    wait_for("the fake to run", || fake.runs());
    for target in ["127.0.0.7", "127.0.0.9", "127.0.0.8"] {
        assert!(!home().contains("did not run"), "{}", home());
        let reply = exporter.scrape(&format!("/probe?target={target}&period=1s"), "1.5");
        assert_eq!(reply.code, 503);
    }
    let all = "<strong>3 of the last 3 probes did not run: not enough scrape timeout.</strong>";
    assert!(home().contains(all), "{}", home());
    let link = "<a href=\"./?failures=true#last\">Show them</a>";
    assert!(home().contains(link), "{}", home());
    fake.go();
    assert_eq!(holder.reply().code, 200);
    // Another job of the same target ran, which does not help this one.
    let others = "127.0.0.8:5201 (period=1s), 127.0.0.9:5201 (period=1s).</p>";
    let no_probe = "<p>Of these targets no probe ran: ";
    let all = format!("{no_probe}127.0.0.7:5201 (period=1s), {others}");
    assert!(home().contains(&all), "{}", home());
    let reply = exporter.get("/probe?target=127.0.0.7&period=1s");
    assert_eq!(reply.code, 200);
    let rest = format!("{no_probe}{others}");
    assert!(home().contains(&rest), "{}", home());
    for _ in 0..25 {
        assert_eq!(exporter.get("/probe?target=127.0.0.7").code, 200);
    }
    assert!(
        home().contains("3 of the last 30 probes did not run"),
        "{}",
        home()
    );
    assert_eq!(exporter.get("/probe?target=127.0.0.7").code, 200);
    assert!(!home().contains("did not run"), "{}", home());
}

#[test]
fn a_lock_timeout_of_zero_takes_a_free_lock_and_never_waits() {
    let fake = Fake::until_go();
    let exporter = exporter(&fake, &["--iperf3.timeout=1h", "--lock.timeout=0"]);
    let mut first = Connection::open(exporter.port());
    first.send("/probe?target=127.0.0.1", &[]);
    wait_for("the fake to run", || fake.runs());
    let reply = exporter.get("/probe?target=127.0.0.1");
    assert_eq!(reply.code, 503, "{}", reply.body);
    assert!(reply.body.contains("--lock.timeout"), "{}", reply.body);
    fake.go();
    assert_eq!(first.reply().family("iperf3_up"), Some(1.0));
    let reply = exporter.get("/probe?target=127.0.0.1");
    assert_eq!(reply.family("iperf3_up"), Some(1.0), "{}", reply.body);
}

#[test]
fn lock_status_shows_who_holds_the_lock_and_who_waits() {
    let fake = Fake::until_go();
    let exporter = exporter(&fake, &UNLIMITED);
    let reply = exporter.get("/lock-status");
    assert_eq!(
        reply.header("Content-Type"),
        Some("application/json; charset=utf-8")
    );
    assert_eq!(
        reply.body,
        "{\"is_locked\":false,\"locked_by\":null,\"locked_by_probe\":null,\"locked_at\":null,\"lock_duration\":null,\"queue_size\":0,\"queue\":[],\"pausing\":[],\"stopping\":null}\n"
    );
    let mut watch = Connection::open(exporter.port());
    let begin = now();
    let mut first = Connection::open(exporter.port());
    first.send("/probe?target=127.0.0.1:5301", &[]);
    wait_for("the fake to run", || fake.runs());
    let waiting = ["[::1]:5302", "127.0.0.2:5303", "localhost:5304"];
    let mut waiters: Vec<Connection> = waiting
        .iter()
        .enumerate()
        .map(|(index, server)| {
            let path = format!("/probe?target={server}");
            queue(&exporter, &mut watch, &path, index + 1)
        })
        .collect();
    let status = lock_status(&mut watch);
    assert_eq!(status["is_locked"], true);
    assert_eq!(status["locked_by"], "127.0.0.1:5301");
    assert_eq!(status["locked_by_probe"], 1);
    let locked_at = rfc3339(status["locked_at"].as_str().unwrap());
    assert!((begin..=now()).contains(&locked_at), "{status}");
    assert_go_duration(status["lock_duration"].as_str().unwrap());
    assert_eq!(status["queue_size"], 3);
    let queue = status["queue"].as_array().unwrap();
    let names: Vec<&str> = queue
        .iter()
        .map(|w| w["requester"].as_str().unwrap())
        .collect();
    assert_eq!(names, waiting);
    for waiter in queue {
        assert_go_duration(waiter["waiting"].as_str().unwrap());
    }
    assert_eq!(exporter.metric("iperf3_exporter_lock_held"), 1.0);
    assert_eq!(exporter.metric("iperf3_exporter_lock_waiters"), 3.0);
    fake.go();
    for connection in waiters.iter_mut().chain([&mut first]) {
        assert_eq!(connection.reply().code, 200);
    }
    assert_eq!(lock_status(&mut watch)["is_locked"], false);
}

/// Whole seconds since 1970.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

/// The same from a text such as `2026-11-21T20:52:04.007Z`.
fn rfc3339(text: &str) -> u64 {
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z", "{text}");
    let (is_read, seconds) = run("date", &["-u", "-d", text, "+%s"], "");
    assert!(is_read, "{text}: {seconds}");
    seconds.trim().parse().unwrap()
}

/// Go's `time.Duration.String`: numbers, each with its unit.
fn assert_go_duration(text: &str) {
    let mut rest = text;
    assert!(!rest.is_empty());
    while !rest.is_empty() {
        let number = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        assert_ne!(number.len(), rest.len(), "{text}");
        let unit = ["ns", "µs", "ms", "s", "m", "h"]
            .iter()
            .find_map(|unit| number.strip_prefix(unit));
        rest = unit.unwrap_or_else(|| panic!("{text}"));
    }
}

/// The ports of the runs of [`fifty_waiters_run_in_their_order_and_one_at_a_time`], in the order of their start.
fn order(dir: &Path) -> Vec<u16> {
    let log = fs::read_to_string(dir.join("order")).unwrap_or_default();
    log.lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn fifty_waiters_run_in_their_order_and_one_at_a_time() {
    const FIRST_PORT: u16 = 2000;
    const COUNT: u16 = 50;
    // The first one holds the lock until `go`; each later one takes a moment, so that an overlap would show.
    let fake = Fake::new(&format!(
        "mkdir \"$DIR/running\" || echo overlap >>\"$DIR/overlaps\"\n\
         if [ \"$5\" = 1 ]; then\n\
         touch \"$DIR/pid\"; while [ -d \"$DIR\" ] && [ ! -e \"$DIR/go\" ]; do sleep 0.02; done\n\
         else echo \"$5\" >>\"$DIR/order\"; sleep 0.03; fi\n\
         rmdir \"$DIR/running\"\nexec cat '{}'",
        good_report().display()
    ));
    let exporter = exporter(&fake, &UNLIMITED);
    let mut watch = Connection::open(exporter.port());
    assert_eq!(lock_status(&mut watch)["is_locked"], false);
    let mut holder = Connection::open(exporter.port());
    holder.send("/probe?target=127.0.0.1:1", &[]);
    wait_for("the fake to run", || fake.runs());

    // Of each five, the first gives up while the lock is still held, and the second may give up while the queue
    // advances: they wait no longer than this time less the offset and the needs of a test of ten seconds, which is
    // enough for any run.
    let timeout = |port: u16| match port % 5 {
        0 => Some("11".to_owned()),
        1 => Some(format!("{:.2}", 12.0 + f64::from(port - FIRST_PORT) / 50.0)),
        _ => None,
    };
    let mut threads = BTreeMap::new();
    for port in FIRST_PORT..FIRST_PORT + COUNT {
        let mut connection = Connection::open(exporter.port());
        let timeout = timeout(port);
        let thread = thread::spawn(move || {
            let path = format!("/probe?target=127.0.0.1:{port}&period=10s");
            let header = timeout
                .iter()
                .map(|seconds| ("X-Prometheus-Scrape-Timeout-Seconds", seconds.as_str()))
                .collect::<Vec<_>>();
            connection.send(&path, &header);
            connection.reply()
        });
        let name = format!("127.0.0.1:{port}");
        wait_for("the probe to wait, or to have given up", || {
            let status = lock_status(&mut watch);
            let queue = status["queue"].as_array().unwrap();
            thread.is_finished() || queue.iter().any(|waiter| waiter["requester"] == name)
        });
        threads.insert(port, thread);
    }

    let mut replies: BTreeMap<u16, Reply> = BTreeMap::new();
    for port in (FIRST_PORT..FIRST_PORT + COUNT).filter(|port| port % 5 == 0) {
        let reply = threads.remove(&port).unwrap().join().unwrap();
        assert_eq!(reply.code, 503, "{port}: {}", reply.body);
        assert!(reply.body.contains("scrape timeout"), "{}", reply.body);
        replies.insert(port, reply);
    }
    // The probes that gave up removed no other probe from the queue, and none ran in the meantime.
    assert_eq!(order(fake.dir()), Vec::<u16>::new());
    let status = lock_status(&mut watch);
    let queue: Vec<&str> = status["queue"]
        .as_array()
        .unwrap()
        .iter()
        .map(|waiter| waiter["requester"].as_str().unwrap())
        .collect();
    assert!(queue.is_sorted(), "{queue:?}");
    for port in (FIRST_PORT..FIRST_PORT + COUNT).filter(|port| port % 5 > 1) {
        assert!(
            queue.contains(&format!("127.0.0.1:{port}").as_str()),
            "{port}"
        );
    }

    fake.go();
    for (port, thread) in threads {
        replies.insert(port, thread.join().unwrap());
    }
    assert_eq!(holder.reply().family("iperf3_up"), Some(1.0));
    let ran = order(fake.dir());
    let answered: Vec<u16> = replies
        .iter()
        .filter(|(_, reply)| reply.family("iperf3_up") == Some(1.0))
        .map(|(port, _)| *port)
        .collect();
    // In the order of arrival, once each, and exactly those that got a result.
    assert_eq!(ran, answered);
    for (port, reply) in &replies {
        let may_give_up = port % 5 < 2;
        assert!(
            reply.code == 200 || (reply.code == 503 && may_give_up),
            "{port}: {} {}",
            reply.code,
            reply.body
        );
    }
    assert!(!fake.dir().join("overlaps").exists(), "two tests at a time");
    let status = lock_status(&mut watch);
    assert_eq!(
        (&status["is_locked"], &status["queue_size"]),
        (&false.into(), &0.into())
    );
}

#[test]
fn one_probe_too_many_is_refused_and_connections_for_pages_stay_free() {
    // Of 32 connections; the unit tests of `probe/prober` check the rule.
    one_probe_too_many(&["--web.max-connections=32"], 24);
}

#[test]
#[ignore = "make test-all: the same with the default number of connections"]
fn the_241st_probe_is_refused_and_connections_for_pages_stay_free() {
    // Of 256 connections; see `contrib/docs/security.md`.
    one_probe_too_many(&[], 240);
}

fn one_probe_too_many(flags: &[&str], limit: u32) {
    let fake = Fake::until_go();
    let exporter = exporter(&fake, &[&UNLIMITED, flags].concat());
    let mut probes = Vec::new();
    let mut watch = Connection::open(exporter.port());
    for number in 1..=limit {
        let mut connection = Connection::open(exporter.port());
        connection.send("/probe?target=127.0.0.1", &[]);
        // A probe that has not arrived yet would leave its slot to the one too many.
        wait_for("the probe to run or to wait", || {
            let status = lock_status(&mut watch);
            status["is_locked"] == true && status["queue_size"] == number - 1
        });
        probes.push(connection);
    }
    let reply = exporter.get("/probe?target=127.0.0.1");
    assert_eq!(reply.code, 503);
    assert_eq!(reply.body, "too many probes are queued, try again later\n");
    assert!(reply.header("Retry-After").is_some());
    let line = exporter.log_line("msg=\"probe refused\"");
    let words = " status=503 error=\"too many probes are queued, try again later\"";
    assert!(
        line.contains(" level=warn ") && line.ends_with(words),
        "{line}"
    );
    for path in ["/ready", "/", "/health", "/metrics", "/lock-status"] {
        assert_eq!(exporter.get(path).code, 200, "{path}");
    }
    fake.go();
    for probe in &mut probes {
        assert_eq!(probe.reply().family("iperf3_up"), Some(1.0));
    }
    // The last probe's slot becomes free just after its response.
    wait_for("a free slot", || {
        exporter.get("/probe?target=127.0.0.1").code == 200
    });
    let success = "iperf3_exporter_probes_total{outcome=\"success\"}";
    assert_eq!(exporter.metric(success), f64::from(limit + 1));
}
