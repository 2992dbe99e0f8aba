//! Probes that a person starts from the page: how they are started, shown, counted and stopped, and who may do so.

use std::fs;
use std::process::Command;

use crate::fixture_exporter::Scene;
use crate::harness::{Connection, Exporter, Fake, Reply, is_alive, lock_status, wait_for};
use crate::html::assert_sound;

/// An exporter whose tests may run and wait as long as a busy machine needs to inspect them.
fn patient(fake: &Fake) -> Exporter {
    let own = fake.flag();
    Exporter::start(&[own.as_str(), "--iperf3.timeout=1h", "--lock.timeout=1h"])
}

/// A POST as a form of the page sends it.
fn post(exporter: &Exporter, path: &str) -> Reply {
    let path = format!("{path}?token={}", exporter.csrf_token());
    exporter.request("POST", &path, &[("Content-Length", "0")])
}

fn ended(exporter: &Exporter, number: u64) -> Reply {
    let mut reply = None;
    wait_for("the probe to end", || {
        let page = exporter.get(&format!("/probes/{number}"));
        let is_over = page.header("Refresh").is_none();
        reply = Some(page);
        is_over
    });
    reply.unwrap()
}

#[test]
fn each_path_allows_its_methods_and_explains_a_refusal() {
    let fake = Fake::until_go();
    fake.go();
    let own = fake.flag();
    let exporter = Exporter::start(&[own.as_str(), "--probe.allow-target=127.0.0.1"]);
    assert_eq!(exporter.run("target=127.0.0.1").code, 303);
    ended(&exporter, 1);
    for (method, path, code, allow) in [
        ("GET", "/run?", 400, None),
        ("GET", "/run?target=", 400, None),
        ("GET", "/run?target=127.0.0.1&nonsense=1", 400, None),
        ("GET", "/run?target=127.0.0.1&debug=true", 400, None),
        ("GET", "/run?target=127.0.0.1&max_age=1m", 400, None),
        ("GET", "/run?target=127.0.0.2", 403, None),
        ("HEAD", "/run?target=127.0.0.1", 405, Some("GET")),
        ("POST", "/run?target=127.0.0.1", 405, Some("GET")),
        ("GET", "/probes/1", 200, None),
        ("HEAD", "/probes/1", 200, None),
        ("POST", "/probes/1", 405, Some("GET, HEAD")),
        ("GET", "/probes/1/stop", 405, Some("POST")),
        ("HEAD", "/probes/1/stop", 405, Some("POST")),
        ("DELETE", "/probes/1", 405, Some("GET, HEAD")),
        // A probe that has ended needs no stopping.
        ("POST", "/probes/1/stop", 303, None),
        ("POST", "/probes/2/stop", 404, None),
        ("POST", "/probes/x/stop", 404, None),
        ("GET", "/probes/2", 404, None),
        ("GET", "/probes/0", 404, None),
        ("GET", "/probes/", 404, None),
        ("GET", "/probes/x", 404, None),
        ("GET", "/probes/+1", 404, None),
        ("GET", "/probes/1/x", 404, None),
        ("GET", "/probes/1/", 404, None),
        ("POST", "/probes/1/x/stop", 404, None),
        ("GET", "/probes/1/now", 200, None),
        ("HEAD", "/probes/1/now", 200, None),
        ("POST", "/probes/1/now", 405, Some("GET, HEAD")),
        ("GET", "/probes/2/now", 404, None),
        ("GET", "/probes/x/now", 404, None),
        ("GET", "/probes/99999999999999999999999", 404, None),
        ("HEAD", "/probes/2", 404, None),
        ("GET", "/style.css", 200, None),
        ("HEAD", "/icon.svg", 200, None),
        ("POST", "/style.css", 405, Some("GET, HEAD")),
    ] {
        let reply = match method {
            "POST" => post(&exporter, path),
            "GET" if path.starts_with("/run") => exporter.run(path.trim_start_matches("/run?")),
            method => exporter.request(method, path, &[]),
        };
        assert_eq!(reply.code, code, "{method} {path}: {}", reply.body);
        assert_eq!(reply.header("Allow"), allow, "{method} {path}");
        let is_page = reply.header("Content-Type") == Some("text/html; charset=utf-8");
        assert_eq!(reply.body.is_empty(), method == "HEAD", "{method} {path}");
        if is_page && method != "HEAD" {
            assert_sound(&reply.body);
        }
        // The response is a page for people, except for a redirect, for methods that no form sends there, and for
        // deeper paths, where the relative links of a page would be wrong.
        let is_page_path = !["/style.css", "/icon.svg"].contains(&path)
            && !path.starts_with("/probes/1/x")
            && path != "/probes/1/";
        let is_for_people = ![303, 405].contains(&code) && is_page_path;
        assert_eq!(is_page, is_for_people, "{method} {path}");
    }
    let metrics = exporter.get("/metrics").body;
    assert!(
        metrics.contains("{path=\"/probes/\",code=\"404\"}"),
        "{metrics}"
    );
    assert!(
        !metrics.contains("path=\"/probes/1"),
        "one label for all probes: {metrics}"
    );
}

#[test]
fn a_probe_is_shown_while_it_runs_and_is_counted_like_any_other() {
    let fake = Fake::until_go();
    let exporter = patient(&fake);
    let reply = exporter.run("target=127.0.0.1&period=30s");
    assert_eq!(
        (reply.code, reply.header("Location")),
        (303, Some("probes/1"))
    );
    // Its connection is closed, and the test continues.
    fake.pid();
    exporter.run("target=127.0.0.2");
    exporter.run("target=127.0.0.3");
    let running = exporter.get("/probes/1/now");
    assert!(
        running
            .body
            .contains("<p>It has been running on port 5201 since "),
        "{}",
        running.body
    );
    assert!(running.body.contains("<progress "), "{}", running.body);
    assert!(running.header("Refresh").is_some(), "{}", running.head);
    wait_for("the others to be in line", || {
        exporter
            .get("/probes/3/now")
            .body
            .contains(", at place 2 of 2.</p>")
    });
    let waiting = exporter.get("/probes/2/now");
    assert!(
        waiting.body.contains(", at place 1 of 2.</p>"),
        "{}",
        waiting.body
    );
    let home = exporter.get("/").body;
    let now = home.split_once("<h2 id=\"now\">").unwrap().1;
    let now = now.split_once("</section>").unwrap().0;
    let places = [
        "Running",
        "127.0.0.1:5201",
        "Waiting",
        "127.0.0.2:5201",
        "127.0.0.3:5201",
    ];
    let places: Vec<usize> = places
        .iter()
        .map(|piece| now.find(piece).unwrap())
        .collect();
    assert!(places.is_sorted(), "{now}");
    fake.go();
    for number in 1..=3 {
        let page = ended(&exporter, number).body;
        assert!(
            page.contains("<span class=\"good\">success</span>"),
            "{page}"
        );
        assert!(page.contains("127.0.0.1, from the page</dd>"), "{page}");
    }
    let count = |sample: &str| exporter.metric(&format!("iperf3_exporter_{sample}"));
    assert_eq!(count("probes_total{outcome=\"success\"}"), 3.0);
    assert_eq!(
        count("http_requests_total{path=\"/run\",code=\"303\"}"),
        3.0
    );
    assert!(count("http_requests_total{path=\"/probes/\",code=\"200\"}") >= 6.0);
}

#[test]
fn simultaneous_probes_are_shown_in_the_order_of_the_lock() {
    let fake = Fake::until_go();
    let exporter = patient(&fake);
    exporter.run("target=127.0.0.1");
    fake.pid();
    // The maximum that the page lists.
    let count = 20;
    let mut scrapes: Vec<Connection> = (0..count)
        .map(|_| Connection::open(exporter.port()))
        .collect();
    let start = std::sync::Barrier::new(count);
    std::thread::scope(|scope| {
        for (number, scrape) in scrapes.iter_mut().enumerate() {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                scrape.send(&format!("/probe?target=127.0.1.{number}"), &[]);
            });
        }
    });
    let mut queue = Vec::new();
    wait_for("all to be in line", || {
        let status = exporter.get("/lock-status").body;
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        let places = status["queue"].as_array().unwrap();
        let name = |place: &serde_json::Value| place["requester"].as_str().unwrap().to_owned();
        queue = places.iter().map(name).collect::<Vec<_>>();
        queue.len() == count
    });
    let home = exporter.get("/").body;
    let shown = home.split_once("the next one first</h3>").unwrap().1;
    let shown = shown.split_once("</ol>").unwrap().0;
    let shown: Vec<&str> = shown
        .split("<b>")
        .skip(1)
        .map(|item| item.split_once('<').unwrap().0)
        .collect();
    assert_eq!(shown, queue);
    fake.go();
    for scrape in &mut scrapes {
        assert_eq!(scrape.reply().family("iperf3_up"), Some(1.0));
    }
}

#[test]
fn a_paused_probe_shows_the_end_of_its_pause() {
    let scene = Scene::start(&[]);
    scene.run("target=busy.example&period=1s");
    let says = "busy, and retries at <time ";
    wait_for("it to pause", || {
        let home = scene.exporter.get("/").body;
        let page = scene.exporter.get("/probes/1/now");
        assert!(page.header("Refresh").is_some(), "{}", page.head);
        let is_seen =
            home.contains("<h3>Pausing before the next attempt</h3>") && home.contains(says);
        is_seen && page.body.contains(says)
    });
    assert_eq!(post(&scene.exporter, "/probes/1/stop").code, 303);
    let page = ended(&scene.exporter, 1).body;
    // It has a result: all attempts so far found the server busy.
    assert!(
        page.contains(">server busy</span>") || page.contains(">cancelled</span>"),
        "{page}"
    );
}

#[test]
fn the_duration_of_a_test_of_bytes_is_unknown_or_estimated_from_its_bitrate() {
    let fake = Fake::until_go();
    let exporter = patient(&fake);
    for (number, query, words) in [
        (
            1,
            "bytes=1G",
            "; its duration depends on the bandwidth.</p>",
        ),
        // 80 Mbit at 8 Mbit/s, rounded up to a second.
        (
            2,
            "bytes=10000000&bitrate=8M",
            "; the test alone takes 11s, ",
        ),
    ] {
        exporter.run(&format!("target=127.0.0.1&{query}"));
        let mut page = String::new();
        wait_for("it to run", || {
            page = exporter.get(&format!("/probes/{number}/now")).body;
            page.contains("<p>It has been running on port ")
        });
        assert!(page.contains(words), "{page}");
        assert_eq!(page.contains("<progress "), number == 2, "{page}");
        post(&exporter, &format!("/probes/{number}/stop"));
        ended(&exporter, number);
    }
}

#[test]
fn a_test_that_ran_until_its_client_disconnected_counts_as_run() {
    let fake = Fake::until_go();
    let exporter = patient(&fake);
    let mut scrape = Connection::open(exporter.port());
    scrape.send("/probe?target=127.0.0.1", &[]);
    fake.pid();
    drop(scrape);
    let page = ended(&exporter, 1).body;
    assert!(
        page.contains("<span class=\"none\">cancelled</span>"),
        "{page}"
    );
    let why = "<dt>Cause</dt><dd>the client disconnected, the test ran ";
    assert!(
        page.contains(why) && page.contains(" s of 5 s</dd>"),
        "{page}"
    );
    let line = exporter.log_line("msg=\"test cancelled\"");
    for piece in [
        " level=warn ",
        " probe=1 ",
        " outcome=cancelled ",
        " cause=\"the client disconnected, the test ran ",
    ] {
        assert!(line.contains(piece), "{piece}: {line}");
    }
    assert_eq!(exporter.log().matches(" probe=1 ").count(), 1);
    assert!(!exporter.log().contains("not run"), "{}", exporter.log());
    let home = exporter.get("/").body;
    assert!(
        home.contains("All 1 stored probes are shown, 1 of them without a result."),
        "{home}"
    );
}

#[test]
fn a_test_that_is_being_stopped_shows_the_cause_while_it_holds_the_lock() {
    let fake = Fake::stubborn();
    let exporter = patient(&fake);
    exporter.run("target=127.0.0.1");
    fake.pid();
    assert_eq!(post(&exporter, "/probes/1/stop").code, 303);
    // It has half a second before the kill; each look at it during that time shows the cause.
    let mut watch = Connection::open(exporter.port());
    let status = lock_status(&mut watch);
    let cause = "stopped from the page by 127.0.0.1";
    assert!(
        status["is_locked"] == false || status["stopping"] == cause,
        "{status}"
    );
    ended(&exporter, 1);
    assert!(lock_status(&mut watch)["stopping"].is_null());
}

#[test]
fn only_probes_started_from_the_page_can_be_stopped_there() {
    let fake = Fake::until_go();
    let exporter = patient(&fake);
    exporter.run("target=127.0.0.1");
    let first = fake.pid();
    // The probe waits and is stopped from its page.
    exporter.run("target=127.0.0.2");
    let reply = post(&exporter, "/probes/2/stop");
    assert_eq!((reply.code, reply.header("Location")), (303, Some("../2")));
    let page = ended(&exporter, 2).body;
    assert!(
        page.contains("<span class=\"none\">not run: cancelled</span>"),
        "{page}"
    );
    let why = "<dt>Cause</dt><dd>stopped from the page by 127.0.0.1</dd>";
    assert!(page.contains(why), "{page}");
    let line = exporter.log_line(" probe=2 ");
    assert!(
        line.contains(" msg=\"probe not run\" ")
            && line.contains(" cause=\"stopped from the page by 127.0.0.1\" "),
        "{line}"
    );
    assert!(is_alive(first));
    let running = exporter.get("/probes/1").body;
    let token = exporter.csrf_token();
    let button = format!(
        "<form action=\"1/stop?token={token}\" method=\"post\"><button type=\"submit\">Cancel the test</button>"
    );
    assert!(running.contains(&button), "{running}");
    assert_eq!(post(&exporter, "/probes/1/stop").code, 303);
    let page = ended(&exporter, 1).body;
    let why = "<dt>Cause</dt><dd>stopped from the page by 127.0.0.1, the test ran ";
    assert!(
        page.contains(why) && page.contains(" s of 5 s</dd>"),
        "{page}"
    );
    wait_for("iperf3 to be gone", || !is_alive(first));
    assert_eq!(
        exporter.metric("iperf3_exporter_probes_total{outcome=\"cancelled\"}"),
        2.0
    );
    // A scrape by Prometheus cannot be stopped: a visitor of the page did not start it.
    fs::remove_file(fake.dir().join("pid")).unwrap();
    let mut scrape = Connection::open(exporter.port());
    scrape.send("/probe?target=127.0.0.1", &[]);
    let scraped = fake.pid();
    let reply = post(&exporter, "/probes/3/stop");
    assert_eq!(reply.code, 409);
    assert_sound(&reply.body);
    let page = exporter.get("/probes/3").body;
    assert!(
        !page.contains("Cancel the test") && page.contains("in progress"),
        "{page}"
    );
    assert!(is_alive(scraped));
    fake.go();
    assert_eq!(scrape.reply().family("iperf3_up"), Some(1.0));
}

#[test]
fn a_page_of_another_site_can_neither_start_nor_stop_a_probe() {
    let fake = Fake::until_go();
    let exporter = patient(&fake);
    let other = patient(&fake);
    let tokens = [
        "",
        "?",
        "?token=",
        &format!("?token={}", other.csrf_token()),
    ]
    .map(str::to_owned);
    for token in &tokens {
        let and = if token.is_empty() { "?" } else { "&" };
        let reply = exporter.get(&format!("/run{token}{and}target=127.0.0.1"));
        assert_eq!(reply.code, 403, "{token}");
        assert_sound(&reply.body);
    }
    assert!(exporter.get("/").body.contains("No test runs or waits."));
    assert!(!fake.runs());
    assert_eq!(exporter.run("target=127.0.0.1").code, 303);
    let running = fake.pid();
    for token in &tokens {
        let path = format!("/probes/1/stop{token}");
        let reply = exporter.request("POST", &path, &[]);
        assert_eq!(reply.code, 403, "{token}");
        assert_sound(&reply.body);
    }
    assert!(is_alive(running));
    assert_eq!(post(&exporter, "/probes/1/stop").code, 303);
    ended(&exporter, 1);
}

#[test]
fn the_seventeenth_manual_probe_is_refused_until_one_has_ended() {
    let fake = Fake::until_go();
    let exporter = patient(&fake);
    for number in 1..=16 {
        let reply = exporter.run("target=127.0.0.1");
        assert_eq!(reply.code, 303, "{number}: {}", reply.body);
    }
    let reply = exporter.run("target=127.0.0.1");
    assert_eq!(reply.code, 503);
    assert!(reply.header("Retry-After").is_some(), "{}", reply.head);
    // The refusal is a page like any other.
    for name in ["Content-Security-Policy", "Cache-Control"] {
        let other = exporter.get("/probes/99");
        assert_eq!(reply.header(name), other.header(name), "{name}");
    }
    assert_sound(&reply.body);
    let refused = exporter.metric("iperf3_exporter_probes_total{outcome=\"full\"}");
    assert_eq!(refused, 1.0);
    exporter.log_line("cause=\"too many tests are queued\"");
    // Scrapes have a separate limit.
    let mut scrape = Connection::open(exporter.port());
    scrape.send("/probe?target=127.0.0.9", &[]);
    wait_for("the scrape to wait", || {
        exporter.get("/").body.contains("127.0.0.9:5201")
    });
    assert_eq!(post(&exporter, "/probes/16/stop").code, 303);
    wait_for("a place", || exporter.run("target=127.0.0.1").code == 303);
    fake.go();
    assert_eq!(scrape.reply().family("iperf3_up"), Some(1.0));
    wait_for("all to end", || {
        exporter.get("/").body.contains("No test runs or waits.")
    });
}

#[test]
fn the_exporters_shutdown_ends_manual_probes() {
    // It neither ends on its own nor on SIGTERM.
    let fake = Fake::stubborn();
    let mut exporter = Exporter::start(&[fake.flag()]);
    exporter.run("target=127.0.0.1&period=1h");
    let running = fake.pid();
    exporter.run("target=127.0.0.2");
    exporter.signal("TERM");
    assert_eq!(exporter.wait().code(), Some(0), "{}", exporter.log());
    wait_for("iperf3 to be gone", || !is_alive(running));
}

#[test]
fn no_flag_can_take_a_path_of_the_page() {
    for flag in ["--web.probe-path", "--web.telemetry-path"] {
        for path in [
            "/run",
            "/style.css",
            "/icon.svg",
            "/probes/",
            "/probes/1",
            "/probes/x/stop",
        ] {
            let output = Command::new(env!("CARGO_BIN_EXE_iperf3-exporter"))
                .arg(format!("{flag}={path}"))
                .arg("--config.check")
                .output()
                .unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{flag}={path}: {said}");
            assert!(said.contains(flag) && said.lines().count() == 1, "{said}");
        }
    }
}
