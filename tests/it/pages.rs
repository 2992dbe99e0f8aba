//! The pages for people, the exporter's own metrics, health, readiness, configured paths.

use std::collections::BTreeSet;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::fixture_exporter::{
    STREAMED_SECONDS, Scene, both_ways, megabits_up, streaming, watched,
};
use crate::harness::{
    Connection, Exporter, Fake, TELL_PID, TempDir, assert_golden, good_report, has, is_alive,
    parameters, run, skipped, top, wait_for, write_program,
};
use crate::html::{assert_sound, masked};

/// A fake that succeeds, but is refused by port 1; its arguments are in `$DIR/argv`.
fn fake() -> Fake {
    Fake::new(&format!(
        "echo \"$*\" >\"$DIR/argv\"\n\
         if [ \"$5\" = 1 ]; then echo '{{\"error\":\"unable to connect to server: Connection refused\"}}'; exit 1; fi\n\
         exec cat '{}'",
        good_report().display()
    ))
}

/// The pages of an exporter with probes in every state.
const PAGES: &[&str] = &[
    "/",
    "/?target=udp&failures=true",
    "/?failures=true",
    "/?target=%3Cscript%3E%22&x",
    "/?target=udp.example%3A5301&test=udp_mode%3Dtrue+bitrate%3D10M&refresh=true",
    "/?form=true",
    "/probes/now?seen=2",
    "/probes/now",
    "/probes/1",
    "/probes/2",
    "/probes/3",
    "/probes/4",
    "/probes/5",
    "/probes/6",
    "/probes/7",
    "/probes/6/now",
    "/probes/7/now",
    "/probes/8/now",
    "/probes/9/now",
    "/probes/8",
    "/probes/9",
    "/run?target=a%3Cb%3E%27",
];

#[test]
fn the_home_page_is_the_golden_one_and_has_every_parameter() {
    let scene = Scene::with_probes(&[]);
    let page = scene.exporter.get("/");
    assert_eq!(page.code, 200);
    assert_eq!(
        page.header("Content-Type"),
        Some("text/html; charset=utf-8")
    );
    let body = masked(&page.body);
    assert_golden(&top().join("tests/golden/home.html"), &body);
    for parameter in parameters() {
        let names: Vec<String> = parameter
            .names
            .iter()
            .map(|name| format!("<code>{name}</code>"))
            .collect();
        let option = match parameter.options.join(", ") {
            option if option.is_empty() => option,
            option => format!("<code>{option}</code>"),
        };
        let row = format!(
            "<tr><th scope=\"row\">{}</th><td>{option}</td>",
            names.join(", ")
        );
        assert!(body.contains(&row), "{row}");
    }
    for path in ["/metrics", "/lock-status", "/health", "/ready"] {
        assert!(body.contains(&format!("<a href=\".{path}\">")), "{path}");
        assert_eq!(scene.page(path).code, 200, "{path}");
    }
}

#[test]
fn the_detail_pages_are_the_golden_ones() {
    let scene = Scene::with_probes(&[]);
    for (number, name) in [
        (6, "success"),
        (4, "failure"),
        (7, "running"),
        (8, "waiting"),
    ] {
        let page = scene.exporter.get(&format!("/probes/{number}"));
        assert_eq!(page.code, 200);
        // Only the page of an unfinished probe refreshes.
        let again = page.header("Refresh").map(str::parse::<u64>);
        assert_eq!(again.is_some(), number > 6, "{name}: {}", page.head);
        // A refresh resets the focus, so it waits until the result can be there. A probe that has just begun may fail
        // at once.
        assert!(again.is_none_or(|again| (3..=11).contains(&again.unwrap())));
        let own_length = Some("10");
        assert!(name != "waiting" || page.header("Refresh") == own_length);
        let path = top().join(format!("tests/golden/details-{name}.html"));
        assert_golden(&path, &masked(&page.body));
        // The content of the frame refreshes often, and stops when the probe ends.
        let frame = scene.exporter.get(&format!("/probes/{number}/now"));
        let again = frame.header("Refresh").map(str::parse::<u64>);
        assert_eq!(again, (number > 6).then_some(Ok(2)), "{name}");
        let path = top().join(format!("tests/golden/now-{name}.html"));
        assert_golden(&path, &masked(&frame.body));
    }
}

#[test]
fn a_running_test_is_visible_and_its_frame_reports_the_end() {
    let fake = streaming();
    let exporter = watched(&fake);
    let frame = exporter.get("/probes/1/now").body;
    assert_sound(&frame);
    assert_golden(
        &top().join("tests/golden/now-streaming.html"),
        &masked(&frame),
    );
    // The last of its intervals.
    let home = exporter.get("/").body;
    let rates = " left, 929\u{a0}Mbit/s up, 708\u{a0}Mbit/s down <progress ";
    assert!(home.contains(rates), "{home}");
    let running = exporter.get("/metrics");
    let test = "a_running_test_is_visible_and_its_frame_reports_the_end";
    if has("promtool", test) {
        let (passed, said) = run("promtool", &["check", "metrics"], &running.body);
        assert!(passed && said.is_empty(), "{said}");
    }
    let names = running_families(&running.body);
    let test = "{target=\"both.example\",port=\"5201\"";
    for expected in [
        format!("bandwidth_bytes_per_second{test},direction=\"upload\"}}"),
        format!("bandwidth_bytes_per_second{test},direction=\"download\"}}"),
        format!("seconds{test}}}"),
        format!("length_seconds{test}}}"),
    ] {
        let count = names.iter().filter(|name| **name == expected).count();
        assert_eq!(count, 1, "{expected}: {names:?}");
    }
    assert_eq!(names.len(), 4, "{names:?}");
    let length = format!("iperf3_exporter_test_running_length_seconds{test}}}");
    assert_eq!(running.sample(&length), Some(60.0));
    // The mean of seconds 10 to 24; the first and the last seconds differ from it.
    let sample = format!(
        "iperf3_exporter_test_running_bandwidth_bytes_per_second{test},direction=\"upload\"}}"
    );
    let up: u64 = (10..STREAMED_SECONDS).map(megabits_up).sum();
    let mean = up as f64 * 125_000.0 / 15.0;
    let rate = running.sample(&sample).unwrap();
    assert!((rate / mean - 1.0).abs() < 1e-9, "{rate} {mean}");

    fake.go();
    wait_for("its end", || {
        exporter.get("/probes/1").header("Refresh").is_none()
    });
    let frame = exporter.get("/probes/1/now");
    assert_sound(&frame.body);
    assert_eq!(frame.header("Refresh"), None);
    let words = "<p>The test has ended: <span class=\"good\">success</span>. <a href=\"../1\" target=\"_top\">";
    assert!(frame.body.contains(words), "{}", frame.body);
    assert!(
        frame.body.contains("upload, 60 intervals, "),
        "{}",
        frame.body
    );
    let after = exporter.get("/metrics").body;
    assert_eq!(running_families(&after), Vec::<&str>::new());
}

/// The series of the running test, without their common prefix.
fn running_families(metrics: &str) -> Vec<&str> {
    let lines = metrics.lines();
    let ours = lines.filter_map(|line| line.strip_prefix("iperf3_exporter_test_running_"));
    ours.map(|line| line.rsplit_once(' ').unwrap().0).collect()
}

#[test]
fn without_streaming_only_the_time_is_shown() {
    let scene = Scene::with_probes(&[]);
    let frame = scene.exporter.get("/probes/7/now").body;
    assert!(
        frame.contains("<p>The installed iperf3 reports nothing before the end of the test."),
        "{frame}"
    );
    assert!(
        frame.contains("<progress ") && !frame.contains("<svg"),
        "{frame}"
    );
    let metrics = scene.exporter.get("/metrics").body;
    let test = "{target=\"slow.example\",port=\"5201\"}";
    let expected = [format!("seconds{test}"), format!("length_seconds{test}")];
    assert_eq!(running_families(&metrics), expected);
}

#[test]
fn every_page_meets_the_html_rules() {
    let scene = Scene::with_probes(&[]);
    let empty = Scene::start(&[]);
    let first = empty.exporter.get("/").body;
    assert_sound(&first);
    assert!(first.contains("<p>No probe so far."), "{first}");
    assert!(first.contains("<p>No test runs or waits.</p>"), "{first}");
    assert!(
        !first.contains("role=\"search\""),
        "there is nothing to filter"
    );
    for path in PAGES {
        let page = scene.page(path).body;
        assert_sound(&page);
        assert!(
            page.contains(" name=\"viewport\" content=\"width=device-width, initial-scale=1\"")
        );
    }
}

#[test]
fn a_validator_accepts_every_page() {
    let scene = Scene::with_probes(&[]);
    let folder = TempDir::new();
    for (index, path) in PAGES.iter().enumerate() {
        folder.write(&format!("{index}.html"), &scene.page(path).body);
    }
    let script = top().join("tests/scripts/html.sh");
    let words = [
        &script.display().to_string(),
        &folder.path().display().to_string(),
    ];
    let (passed, said) = run("sh", &words.map(String::as_str), "");
    match said.trim().strip_prefix("SKIPPED: ") {
        Some(why) => skipped("a_validator_accepts_every_page", why),
        None => assert!(passed && said.is_empty(), "{said}"),
    }
}

#[test]
fn a_page_loads_only_from_the_exporter_and_its_policy_enforces_that() {
    let scene = Scene::with_probes(&[]);
    for path in PAGES {
        let page = scene.page(path);
        // Only the home page and the details of an unfinished probe contain a frame, and only the frame's own page may
        // be framed.
        let framing = match *path {
            "/" | "/probes/7" | "/probes/8" => "frame-src 'self'; frame-ancestors 'none'",
            path if path.starts_with("/?") => "frame-src 'self'; frame-ancestors 'none'",
            path if path.contains("/now") => "frame-ancestors 'self'",
            _ => "frame-ancestors 'none'",
        };
        let policy = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'";
        assert_eq!(
            page.header("Content-Security-Policy"),
            Some(format!("{policy}; {framing}").as_str()),
            "{path}"
        );
        for (name, value) in [
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cache-Control", "no-store"),
        ] {
            assert_eq!(page.header(name), Some(value), "{path}");
        }
    }
    let style = scene.exporter.get("/style.css");
    assert_eq!(
        style.header("Content-Type"),
        Some("text/css; charset=utf-8")
    );
    for outside in ["@import", "url(", "://", "animation", "transition"] {
        assert!(!style.body.contains(outside), "{outside} in the style");
    }
    assert!(style.body.contains("prefers-color-scheme: dark"));
    let icon = scene.exporter.get("/icon.svg");
    assert_eq!(icon.header("Content-Type"), Some("image/svg+xml"));
    assert!(icon.body.starts_with("<svg "), "{}", icon.body);
}

#[test]
fn a_missing_measurement_is_an_empty_cell() {
    let scene = Scene::with_probes(&[]);
    let page = scene.exporter.get("/").body;
    let row = |number: u32| {
        let start = format!("<tr><th scope=\"row\"><a href=\"probes/{number}\">{number}</a></th>");
        let row = page
            .split_once(&start)
            .unwrap()
            .1
            .split_once("</tr>")
            .unwrap()
            .0;
        let cells = row.split("<td").skip(1);
        cells
            .map(|cell| {
                cell.split_once('>')
                    .unwrap()
                    .1
                    .trim_end_matches("</td>")
                    .to_owned()
            })
            .collect::<Vec<_>>()
    };
    let [refused, upload, datagrams, both] = [4, 1, 3, 6].map(row);
    let host = |server: &str| format!("<span class=\"host\">{server}</span>");
    let kind = |kind: &str| format!("<span class=\"kind\">{kind}</span>");
    let badge = "<span class=\"bad\">refused</span>".to_owned();
    let words = [host("closed.example:5201"), kind("TCP upload"), badge];
    assert_eq!(refused[1..4], words);
    assert_eq!(refused[4..], [""; 6]);
    // Each column has one unit and one number of decimal places.
    let badge = "<span class=\"good\">success</span>";
    assert_eq!(upload[3..9], [badge, "10.07", "", "", "27", "20.95"]);
    assert_eq!(datagrams[1], host("udp.example:5301"));
    let words = kind("UDP upload") + " <span class=\"soft\">bitrate=10M</span>";
    assert_eq!(datagrams[2], words);
    assert_eq!(datagrams[4..9], ["8.39", "", "8.35", "", ""]);
    assert_eq!(both[7], "12 up, 4 down");
    for (cells, lines) in [(&upload, 1), (&datagrams, 1), (&both, 2)] {
        assert_eq!(cells[9].matches("<path ").count(), lines, "{}", cells[9]);
    }
}

#[test]
fn a_plot_of_means_is_marked() {
    let fake = Fake::new("exec cat \"$DIR/$3.json\"");
    for (name, seconds) in [("short", 300), ("long", 301)] {
        let report = both_ways(seconds).to_string();
        fs::write(fake.dir().join(format!("{name}.json")), report).unwrap();
    }
    let exporter = Exporter::start(&[fake.flag()]);
    for (number, name, is_said) in [(1, "short", false), (2, "long", true)] {
        let query = format!("target={name}&bidirectional=true&period=5m1s");
        assert_eq!(exporter.get(&format!("/probe?{query}")).code, 200);
        let page = exporter.get(&format!("/probes/{number}")).body;
        assert_sound(&page);
        assert!(page.contains("<svg class=\"plot\""), "{page}");
        let says = page.contains("Each step is the mean of neighbouring intervals");
        assert_eq!(says, is_said, "{page}");
    }
}

#[test]
fn a_filter_shows_the_matching_probes_and_accepts_any_input() {
    let scene = Scene::with_probes(&[]);
    let shown = |query: &str| {
        let page = scene.exporter.get(&format!("/{query}"));
        assert_eq!(page.code, 200, "{query}");
        assert_sound(&page.body);
        let rows = page
            .body
            .split("<th scope=\"row\"><a href=\"probes/")
            .skip(1);
        let numbers: Vec<u32> = rows
            .map(|row| row.split_once('"').unwrap().0.parse().unwrap())
            .collect();
        (numbers, page.body)
    };
    for (query, expected, words) in [
        ("", &[6, 5, 4, 3, 2, 1][..], "All 6 stored probes"),
        ("?target=&failures=", &[6, 5, 4, 3, 2, 1], "All 6 stored"),
        ("?failures=true", &[5, 4], "2 of 6 stored"),
        ("?target=UDP.exam", &[3], "1 of 6 stored"),
        ("?target=%3A5301", &[3], "1 of 6 stored"),
        ("?failures=true&target=closed", &[4], "1 of 6 stored"),
        ("?target=%3Cb%3E%22'&failures=true", &[], "0 of 6 stored"),
        (
            "?target=%zz&failures=%ff&&=&a=b&target",
            &[6, 5, 4, 3, 2, 1],
            "All 6 stored",
        ),
        // A filter for a single test of a target.
        ("?target=up.example%3A5201&test=", &[1], "1 of 6 stored"),
        ("?target=up.example&test=", &[], "0 of 6 stored"),
        (
            "?target=udp.example%3A5301&test=udp_mode%3Dtrue+bitrate%3D10M",
            &[3],
            "1 of 6 stored",
        ),
        (
            "?target=udp.example%3A5301&test=udp_mode%3Dtrue",
            &[],
            "0 of 6 stored",
        ),
        ("?test=%zz", &[6, 5, 4, 3, 2, 1], "All 6 stored"),
    ] {
        let (numbers, page) = shown(query);
        assert_eq!(numbers, expected, "{query}");
        assert!(page.contains(words), "{query}: {page}");
    }
    let (_, page) = shown("?target=%3Cb%3E%22%27&failures=true");
    assert!(page.contains("value=\"&lt;b&gt;&quot;&#39;\""), "{page}");
    assert!(page.contains("value=\"true\" checked>"), "{page}");
    // A target with probes, offered once.
    assert_eq!(page.matches("<option value=\"udp.example\">").count(), 1);
    shown(&format!("?target={}", "%F0%9F%90%88".repeat(900)));
}

#[test]
fn the_last_hundred_probes_are_shown_and_older_ones_are_removed() {
    let fake = fake();
    let exporter = Exporter::start(&[fake.flag()]);
    let mut connection = Connection::open(exporter.port());
    for number in 1..=104 {
        let reply = connection.get(&format!("/probe?target=127.0.0.1:{number}"));
        assert_eq!(reply.code, 200);
    }
    let page = connection.get("/").body;
    assert_eq!(
        page.matches("<th scope=\"row\"><a href=\"probes/").count(),
        100
    );
    assert!(page.contains(". 4 older ones were removed.</p>"), "{page}");
    // Each target has a row, and the page must also load over a slow line.
    assert_eq!(page.matches("<th scope=\"row\"><a href=\"./?").count(), 104);
    assert!(page.len() < 150_000, "{} bytes", page.len());
    for (number, code) in [(4, 200), (5, 200), (104, 200), (105, 404)] {
        let reply = connection.get(&format!("/probes/{number}"));
        assert_eq!(reply.code, code, "{number}");
        assert_sound(&reply.body);
    }
    let links = connection.get("/probes/50").body;
    for link in [
        "\"51\">Newer: probe 51<",
        "\"49\">Older: probe 49<",
        "\"../\">All probes<",
    ] {
        assert!(links.contains(link), "{links}");
    }
    assert!(!connection.get("/probes/104").body.contains(">Newer"));
    assert!(!connection.get("/probes/5").body.contains(">Older"));
    // The last probe of a test outlasts the hundred; an earlier one does not.
    let again = connection.get("/probe?target=127.0.0.1:4");
    assert_eq!(again.code, 200);
    assert_eq!(connection.get("/probes/4").code, 404);
}

#[test]
fn output_of_servers_is_shown_as_text() {
    let scene = Scene::with_probes(&[]);
    let page = scene.exporter.get("/probes/5").body;
    let shown = "&lt;script&gt;document.title=&#39;owned&#39;&lt;/script&gt;&lt;img src=x onerror=&quot;alert(1)&quot;&gt;\
                 &#39; &amp; &lt;/pre&gt;\\u{1b}[31mred\\u{202e}txet\\0end";
    assert_eq!(page.matches(shown).count(), 3, "{page}");
    assert_sound(&page);
    // The part of the report that only `debug` shows appears where it was requested. Stopping the running probe makes
    // room for it.
    let stop = format!("/probes/7/stop?token={}", scene.exporter.csrf_token());
    let reply = scene
        .exporter
        .request("POST", &stop, &[("Content-Length", "0")]);
    assert_eq!(reply.code, 303);
    let reply = scene.exporter.get("/probe?target=up.example&debug=true");
    assert_eq!(reply.code, 200);
    let page = scene.exporter.get("/probes/9").body;
    assert!(
        page.contains("<h2>End of iperf3’s report</h2>\n<pre "),
        "{page}"
    );
    assert_sound(&page);
}

/// The elements of the form that starts a test.
fn form_of(page: &str) -> &str {
    let form = "<form class=\"fields\" action=\"run\" method=\"get\">";
    let form = page.split_once(form).unwrap().1;
    form.split_once("</form>").unwrap().0
}

#[test]
fn the_direction_of_a_test_is_one_of_three_buttons() {
    let fake = fake();
    let exporter = Exporter::start(&[fake.flag()]);
    let page = exporter.get("/").body;
    let form = form_of(&page);
    // The pressed button sets the direction: upload without a parameter, or one of the two that exclude each other.
    let buttons = form.split("<button ").skip(1);
    let buttons: Vec<&str> = buttons
        .map(|button| button.split_once("</button>").unwrap().0)
        .collect();
    assert_eq!(
        buttons,
        [
            "type=\"submit\">Upload",
            "type=\"submit\" name=\"reverse_mode\" value=\"true\">Download",
            "type=\"submit\" name=\"bidirectional\" value=\"true\">Both at once",
        ]
    );
    // Before the first probe the form is open; later it is folded, and the targets have the space.
    assert!(
        page.contains("<details class=\"part\" id=\"form\" open>"),
        "{page}"
    );
    assert_eq!(exporter.get("/probe?target=127.0.0.1").code, 200);
    for (path, open) in [("/", ""), ("/?form=true", " open")] {
        let page = exporter.get(path).body;
        let form = format!("<details class=\"part\" id=\"form\"{open}>");
        assert!(page.contains(&form), "{path}: {page}");
    }
}

#[test]
fn the_form_works_as_a_browser_sends_it() {
    let fake = fake();
    let exporter = Exporter::start(&[fake.flag()]);
    let page = exporter.get("/").body;
    let form = form_of(&page);
    let inputs = form.split("<input ").skip(1).map(|input| {
        let attribute = |name: &str| {
            let value = input.split_once(&format!("{name}=\""))?.1;
            Some(value.split('"').next().unwrap())
        };
        (attribute("name").unwrap(), attribute("type").unwrap())
    });
    let inputs: Vec<(&str, &str)> = inputs.collect();
    let mut names: Vec<&str> = inputs.iter().map(|(name, _)| *name).collect();
    // These two parameters are about the response of the probe path.
    let is_asked = |name: &&str| !["max_age", "debug"].contains(name);
    let parameters = parameters();
    let ids = parameters
        .iter()
        .map(|parameter| parameter.names[0].as_str());
    let mut expected: Vec<&str> = ids.filter(is_asked).collect();
    expected.push("token");
    names.extend(["reverse_mode", "bidirectional"]);
    names.sort_unstable();
    expected.sort_unstable();
    assert_eq!(names, expected);
    // Only the target is filled in: blank fields are sent empty, and an unticked box is not sent.
    let blank: Vec<String> = inputs
        .iter()
        .filter(|(_, kind)| *kind != "checkbox")
        .map(|(name, _)| match *name {
            "target" => "target=%5B%3A%3A1%5D%3A5301".to_owned(),
            "token" => format!("token={}", exporter.csrf_token()),
            name => format!("{name}="),
        })
        .collect();
    let argv = || fs::read_to_string(fake.dir().join("argv")).unwrap_or_default();
    // The pressed button comes last.
    let full = "target=127.0.0.1&port=5302&period=7&udp_mode=true&bitrate=10M%2F8&parallel=4\
                &bind_address=127.0.0.1%25lo&bidirectional=true";
    let full = format!("token={}&{full}", exporter.csrf_token());
    for (number, query, words) in [
        (1, blank.join("&").as_str(), "-J -c ::1 -p 5301 -t 5\n"),
        (
            3,
            &format!("{}&reverse_mode=true", blank.join("&")),
            "-J -c ::1 -p 5301 -t 5 -R\n",
        ),
        (
            5,
            &full,
            "-J -c 127.0.0.1 -p 5302 -t 7 --bidir -u -b 10M/8 -P 4 -B 127.0.0.1%lo\n",
        ),
    ] {
        let reply = exporter.get(&format!("/run?{query}"));
        assert_eq!(reply.code, 303, "{}", reply.body);
        let place = format!("probes/{number}");
        assert_eq!(reply.header("Location"), Some(place.as_str()));
        wait_for("the probe to end", || {
            exporter
                .get(&format!("/{place}"))
                .header("Refresh")
                .is_none()
        });
        assert_eq!(argv(), words);
        let shown = exporter.get(&format!("/{place}")).body;
        // Running it again sends the same parameters.
        let again = shown
            .split_once("<form action=\"../run\" method=\"get\">")
            .unwrap()
            .1;
        let again: Vec<String> = again
            .split_once("<button")
            .unwrap()
            .0
            .split("name=\"")
            .skip(1)
            .map(|field| {
                let (name, rest) = field.split_once("\" value=\"").unwrap();
                format!(
                    "{name}={}",
                    rest.split_once('"').unwrap().0.replace('%', "%25")
                )
            })
            .collect();
        assert_eq!(exporter.get(&format!("/run?{}", again.join("&"))).code, 303);
        wait_for("it to end", || {
            exporter.get("/").body.contains("No test runs or waits.")
        });
        assert_eq!(argv(), words);
    }
    let refused = exporter.run("target=127.0.0.1&port=5302&period=1m+30s&reverse_mode=true");
    assert_eq!(refused.code, 400, "a blank is no period");
    assert_sound(&refused.body);
}

/// The families of the contract, each with its type.
const FAMILIES: &[(&str, &str)] = &[
    ("iperf3_exporter_duration_seconds", "summary"),
    ("iperf3_exporter_errors_total", "counter"),
    ("iperf3_exporter_build_info", "gauge"),
    ("iperf3_exporter_iperf3_info", "gauge"),
    ("iperf3_exporter_probes_total", "counter"),
    ("iperf3_exporter_lock_held", "gauge"),
    ("iperf3_exporter_lock_waiters", "gauge"),
    ("iperf3_exporter_lock_wait_seconds", "histogram"),
    ("iperf3_exporter_test_bytes_total", "counter"),
    ("iperf3_exporter_http_requests_total", "counter"),
    ("process_cpu_seconds_total", "counter"),
    ("process_open_fds", "gauge"),
    ("process_max_fds", "gauge"),
    ("process_virtual_memory_bytes", "gauge"),
    ("process_virtual_memory_max_bytes", "gauge"),
    ("process_resident_memory_bytes", "gauge"),
    ("process_start_time_seconds", "gauge"),
];

/// Every outcome of the contract: success, the failure reasons, and the causes when no test was run.
const OUTCOMES: &[&str] = &[
    "success",
    "refused",
    "unreachable",
    "unknown_host",
    "connect_timeout",
    "busy",
    "auth",
    "unsupported",
    "interrupted",
    "timeout",
    "killed",
    "local",
    "bad_output",
    "not_found",
    "budget",
    "other",
    "lock_timeout",
    "no_time_left",
    "cancelled",
    "bad_request",
    "not_allowed",
    "running",
    "full",
    "broken",
];

fn outcome(exporter: &Exporter, label: &str) -> f64 {
    exporter.metric(&format!(
        "iperf3_exporter_probes_total{{outcome=\"{label}\"}}"
    ))
}

#[test]
fn every_own_family_and_every_outcome_is_there_from_the_start() {
    let fake = fake();
    let exporter = Exporter::start(&[fake.flag()]);
    // A request is counted only after its response.
    assert_eq!(exporter.get("/ready").code, 200);
    let reply = exporter.get("/metrics");
    assert_eq!(
        reply.header("Content-Type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    for (name, kind) in FAMILIES {
        let lines = format!("\n# TYPE {name} {kind}\n{name}");
        let text = format!("\n{}", reply.body);
        assert!(text.contains(&lines), "{name}: {}", reply.body);
        assert!(text.contains(&format!("\n# HELP {name} ")), "{name}");
    }
    let start = "iperf3_exporter_probes_total{outcome=\"";
    let outcomes: BTreeSet<&str> = reply
        .body
        .lines()
        .filter_map(|line| line.strip_prefix(start)?.strip_suffix("\"} 0"))
        .collect();
    assert_eq!(outcomes, OUTCOMES.iter().copied().collect());
    for sample in [
        "iperf3_exporter_duration_seconds_sum",
        "iperf3_exporter_duration_seconds_count",
        "iperf3_exporter_errors_total",
        "iperf3_exporter_lock_held",
        "iperf3_exporter_lock_waiters",
        "iperf3_exporter_lock_wait_seconds_bucket{le=\"+Inf\"}",
        "iperf3_exporter_lock_wait_seconds_count",
        "iperf3_exporter_test_bytes_total{direction=\"upload\"}",
        "iperf3_exporter_test_bytes_total{direction=\"download\"}",
    ] {
        assert_eq!(reply.sample(sample), Some(0.0), "{sample}");
    }
    assert_eq!(
        reply.sample("iperf3_exporter_iperf3_info{version=\"3.99\"}"),
        Some(1.0)
    );
    let build = format!(
        "iperf3_exporter_build_info{{version=\"{}\",revision=\"",
        env!("CARGO_PKG_VERSION")
    );
    assert!(reply.body.contains(&build), "{}", reply.body);
    assert_eq!(reply.family("iperf3_exporter_build_info"), Some(1.0));
}

#[test]
fn promtool_accepts_the_exporters_own_metrics() {
    if !has("promtool", "promtool_accepts_the_exporters_own_metrics") {
        return;
    }
    let fake = fake();
    let exporter = Exporter::start(&[fake.flag(), "--probe.allow-target=127.0.0.1".to_owned()]);
    for path in [
        "/probe?target=127.0.0.1",
        "/probe?target=127.0.0.1:1",
        "/probe",
        "/probe?target=a",
    ] {
        exporter.get(path);
    }
    let metrics = exporter.get("/metrics").body;
    let (passed, said) = run("promtool", &["check", "metrics"], &metrics);
    assert!(passed && said.is_empty(), "{said}\n{metrics}");
}

#[test]
fn the_counters_count_each_kind_of_probe_once() {
    let fake = fake();
    let own_flag = fake.flag();
    let exporter = Exporter::start(&[own_flag.as_str(), "--probe.allow-target=127.0.0.1"]);
    for (path, count) in [
        ("/probe?target=127.0.0.1", 3),
        ("/probe?target=127.0.0.1:1", 2),
        ("/probe?target=127.0.0.1&port=x", 4),
        ("/probe?target=127.0.0.2", 5),
    ] {
        for _ in 0..count {
            exporter.get(path);
        }
    }
    let metrics = exporter.get("/metrics");
    let of = |label: &str| {
        let sample = format!("iperf3_exporter_probes_total{{outcome=\"{label}\"}}");
        metrics.sample(&sample).unwrap()
    };
    for label in OUTCOMES {
        let expected = match *label {
            "success" => 3.0,
            "refused" => 2.0,
            "bad_request" => 4.0,
            "not_allowed" => 5.0,
            _ => 0.0,
        };
        assert_eq!(of(label), expected, "{label}");
    }
    let value = |sample: &str| metrics.sample(sample).unwrap_or_else(|| panic!("{sample}"));
    assert_eq!(value("iperf3_exporter_errors_total"), 11.0);
    assert_eq!(value("iperf3_exporter_duration_seconds_count"), 5.0);
    assert!(value("iperf3_exporter_duration_seconds_sum") > 0.0);
    assert_eq!(value("iperf3_exporter_lock_wait_seconds_count"), 5.0);
    assert_eq!(
        value("iperf3_exporter_lock_wait_seconds_bucket{le=\"+Inf\"}"),
        5.0
    );
    assert_eq!(value("iperf3_exporter_lock_held"), 0.0);
    let path = |code: u16| {
        format!("iperf3_exporter_http_requests_total{{path=\"/probe\",code=\"{code}\"}}")
    };
    assert_eq!(
        (value(&path(200)), value(&path(400)), value(&path(403))),
        (5.0, 4.0, 5.0)
    );
    // The bytes that the recorded run sent, three times.
    let report: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(good_report()).unwrap()).unwrap();
    let bytes = report["end"]["sum_sent"]["bytes"].as_f64().unwrap();
    assert_eq!(
        value("iperf3_exporter_test_bytes_total{direction=\"upload\"}"),
        3.0 * bytes
    );
    assert_eq!(
        value("iperf3_exporter_test_bytes_total{direction=\"download\"}"),
        0.0
    );
}

#[test]
fn a_lock_timeout_is_counted_with_its_wait() {
    // The fake ends with its folder: nothing else would end it when the exporter is killed.
    let fake = Fake::new("touch \"$DIR/runs\"\nwhile [ -d \"$DIR\" ]; do sleep 0.02; done");
    let own_flag = fake.flag();
    let exporter = Exporter::start(&[own_flag.as_str(), "--lock.timeout=200ms"]);
    let mut holder = Connection::open(exporter.port());
    holder.send("/probe?target=127.0.0.1", &[]);
    wait_for("the fake to run", || fake.dir().join("runs").exists());
    assert_eq!(exporter.get("/probe?target=127.0.0.1").code, 503);
    assert_eq!(outcome(&exporter, "lock_timeout"), 1.0);
    assert_eq!(exporter.metric("iperf3_exporter_errors_total"), 1.0);
    assert_eq!(
        exporter.metric("iperf3_exporter_lock_wait_seconds_count"),
        1.0
    );
    assert!(exporter.metric("iperf3_exporter_lock_wait_seconds_sum") >= 0.2);
    let below = "iperf3_exporter_lock_wait_seconds_bucket{le=\"0.1\"}";
    assert_eq!(exporter.metric(below), 0.0);
    assert_eq!(exporter.metric("iperf3_exporter_lock_held"), 1.0);
    // It was not run, so it has no duration.
    assert_eq!(
        exporter.metric("iperf3_exporter_duration_seconds_count"),
        0.0
    );
    let sample = "iperf3_exporter_http_requests_total{path=\"/probe\",code=\"503\"}";
    assert_eq!(exporter.metric(sample), 1.0);
}

fn seconds_since_epoch() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs_f64()
}

#[test]
fn the_process_families_match_proc() {
    let begin = seconds_since_epoch();
    let fake = fake();
    let exporter = Exporter::start(&[fake.flag()]);
    exporter.log_line("iperf3 found");
    let mut connection = Connection::open(exporter.port());
    connection.get("/metrics");
    let metrics = connection.get("/metrics");
    let value = |name: &str| metrics.family(name).unwrap();
    let proc = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", exporter.pid())).unwrap();
    let start = value("process_start_time_seconds");
    let now = seconds_since_epoch();
    assert!((begin..=now).contains(&start), "{begin} {start} {now}");
    // At most the kernel's value a moment later.
    let times = proc("stat");
    let ticks = times.rsplit_once(") ").unwrap().1.split(' ').skip(11);
    let ticks: u64 = ticks.take(2).map(|part| part.parse::<u64>().unwrap()).sum();
    let later = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
    let cpu = value("process_cpu_seconds_total");
    assert!((0.0..=later).contains(&cpu), "{cpu} {later}");
    let fds = fs::read_dir(format!("/proc/{}/fd", exporter.pid()))
        .unwrap()
        .count() as f64;
    assert_eq!(value("process_open_fds"), fds);
    let limits = proc("limits");
    let soft = |name: &str| {
        let line = limits
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        let word = line.split_whitespace().next().unwrap();
        word.parse().unwrap_or(u64::MAX as f64)
    };
    assert_eq!(value("process_max_fds"), soft("Max open files"));
    assert_eq!(
        value("process_virtual_memory_max_bytes"),
        soft("Max address space")
    );
    let status = proc("status");
    let kib = |name: &str| -> f64 {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    // Read at another moment, with another number of threads: the values must be within a factor of two.
    for (name, kernel) in [
        ("process_resident_memory_bytes", kib("VmRSS:") * 1024.0),
        ("process_virtual_memory_bytes", kib("VmSize:") * 1024.0),
    ] {
        let ratio = value(name) / kernel;
        assert!((0.5..2.0).contains(&ratio), "{name} {ratio}");
    }
}

#[test]
fn health_follows_an_iperf3_that_comes_and_goes() {
    let dir = TempDir::new();
    let path = dir.path().join("iperf3");
    let exporter = Exporter::start(&[format!("--iperf3.path={}", path.display())]);
    let line = exporter.log_line("no usable iperf3");
    assert!(
        line.contains(" level=warn ") && line.contains("no such file"),
        "{line}"
    );
    let expected = format!("cannot find iperf3 `{}`: no such file\n", path.display());
    for health in ["/health", "/-/healthy"] {
        let reply = exporter.get(health);
        assert_eq!((reply.code, reply.body.as_str()), (503, expected.as_str()));
    }
    assert_eq!(exporter.get("/ready").code, 200);
    let reply = exporter.get("/probe?target=127.0.0.1");
    assert_eq!((reply.code, reply.reason()), (200, Some("not_found")));
    assert_eq!(
        exporter
            .get("/metrics")
            .family("iperf3_exporter_iperf3_info"),
        None
    );

    // It appears, but cannot be executed.
    fs::write(&path, "#!/bin/sh\n").unwrap();
    let reply = exporter.get("/health");
    assert_eq!(reply.code, 503);
    assert!(
        reply.body.contains("not an executable file"),
        "{}",
        reply.body
    );
    let reply = exporter.get("/probe?target=127.0.0.1");
    assert_eq!((reply.code, reply.reason()), (200, Some("local")));

    let fake = fake();
    fs::rename(fake.dir().join("iperf3"), &path).unwrap();
    let reply = exporter.get("/health");
    assert_eq!((reply.code, reply.body.as_str()), (200, "OK\n"));
    let reply = exporter.get("/probe?target=127.0.0.1");
    assert_eq!(reply.family("iperf3_up"), Some(1.0));
    let info = "iperf3_exporter_iperf3_info{version=\"3.99\"}";
    assert_eq!(exporter.metric(info), 1.0);

    fs::remove_file(&path).unwrap();
    assert_eq!(exporter.get("/health").code, 503);
    let reply = exporter.get("/probe?target=127.0.0.1");
    assert_eq!(reply.reason(), Some("not_found"));
}

#[test]
fn health_reports_an_iperf3_without_a_version() {
    let dir = TempDir::new();
    let broken = "echo 'iperf3: error while loading shared libraries: libiperf.so.0' >&2; exit 127";
    for (text, cause) in [
        ("this is no program\n", "Exec format error"),
        ("#!/nowhere/sh\n", "No such file"),
        (&format!("#!/bin/sh\n{broken}\n"), "libiperf.so.0"),
        ("#!/bin/sh\necho 'fping: Version 5.1'\n", "version"),
        ("#!/bin/sh\nexit 0\n", "version"),
    ] {
        let path = dir.path().join("iperf3");
        write_program(&path, text);
        let exporter = Exporter::start(&[format!("--iperf3.path={}", path.display())]);
        let line = exporter.log_line("no usable iperf3");
        assert!(
            line.contains(" level=warn ") && line.contains(cause),
            "{line}"
        );
        let reply = exporter.get("/health");
        assert_eq!(reply.code, 503, "{text}");
        assert!(reply.body.contains(cause), "{text}: {}", reply.body);
        assert_eq!(reply.body.lines().count(), 1, "{}", reply.body);
        assert_eq!(
            exporter
                .get("/metrics")
                .family("iperf3_exporter_iperf3_info"),
            None
        );
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn health_recovers_with_iperf3_without_a_change_of_its_file() {
    let dir = TempDir::new();
    let broken = dir.write("broken", "");
    let script = format!(
        "#!/bin/sh\nif [ -e '{}' ]; then echo 'no library' >&2; exit 127; fi\n\
         case $1 in --version) echo 'iperf 3.99';; *) exec cat '{}';; esac\n",
        broken.display(),
        good_report().display()
    );
    let path = dir.path().join("iperf3");
    write_program(&path, &script);
    let exporter = Exporter::start(&[format!("--iperf3.path={}", path.display())]);
    exporter.log_line("no usable iperf3");
    assert_eq!(exporter.get("/health").code, 503);
    fs::remove_file(broken).unwrap();
    // One probe that could run it is enough.
    let reply = exporter.get("/probe?target=127.0.0.1");
    assert_eq!(reply.family("iperf3_up"), Some(1.0));
    assert_eq!(exporter.get("/health").code, 200);
    assert_eq!(
        exporter.metric("iperf3_exporter_iperf3_info{version=\"3.99\"}"),
        1.0
    );
    // A probe that can no longer run it is enough for the opposite.
    write_program(&dir.path().join("draft"), "garbage");
    fs::rename(dir.path().join("draft"), &path).unwrap();
    assert_eq!(
        exporter.get("/probe?target=127.0.0.1").reason(),
        Some("local")
    );
    assert_eq!(exporter.get("/health").code, 503);
}

#[test]
fn a_hanging_version_query_blocks_neither_health_nor_the_shutdown() {
    let dir = TempDir::new();
    let script = format!("#!/bin/sh\nDIR=${{0%/*}}\n{TELL_PID}exec sleep 600\n");
    let path = dir.path().join("iperf3");
    write_program(&path, &script);
    let mut exporter = Exporter::start(&[format!("--iperf3.path={}", path.display())]);
    wait_for("its version to be asked for", || {
        dir.path().join("pid").exists()
    });
    let pid = fs::read_to_string(dir.path().join("pid"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    // The unit tests of `iperf3/binary` check that a health request does not wait for the version: on a busy machine
    // the exporter may already have given up here.
    let reply = exporter.get("/health");
    let is_given_up = reply.code == 503 && reply.body.contains("no version within");
    assert!(reply.code == 200 || is_given_up, "{}", reply.body);
    exporter.signal("TERM");
    assert_eq!(exporter.wait().code(), Some(0));
    wait_for("the child to be gone", || !is_alive(pid));
}

#[test]
fn health_and_readiness_answer_under_both_names() {
    let fake = fake();
    let exporter = Exporter::start(&[fake.flag()]);
    for path in ["/health", "/-/healthy", "/ready", "/-/ready"] {
        let reply = exporter.get(path);
        assert_eq!((reply.code, reply.body.as_str()), (200, "OK\n"), "{path}");
        assert_eq!(
            reply.header("Content-Type"),
            Some("text/plain; charset=utf-8")
        );
    }
}

#[test]
fn configured_paths_replace_the_default_ones() {
    let fake = fake();
    let own_flag = fake.flag();
    let exporter = Exporter::start(&[
        own_flag.as_str(),
        "--web.telemetry-path=/own/metrics",
        "--web.probe-path",
        "/iperf3",
    ]);
    let reply = exporter.get("/iperf3?target=127.0.0.1");
    assert_eq!(reply.family("iperf3_up"), Some(1.0));
    let metrics = exporter.get("/own/metrics");
    let sample = "iperf3_exporter_http_requests_total{path=\"/iperf3\",code=\"200\"}";
    assert_eq!(metrics.sample(sample), Some(1.0));
    for path in ["/probe?target=127.0.0.1", "/metrics"] {
        assert_eq!(exporter.get(path).code, 404, "{path}");
    }
    let page = exporter.get("/").body;
    let details = exporter.get("/probes/1").body;
    assert!(
        details.contains("<code>/iperf3?target=127.0.0.1</code>"),
        "{details}"
    );
    for piece in [
        "<form class=\"fields\" action=\"run\"",
        "<a href=\"./own/metrics\">",
        "metrics_path: /iperf3\n",
        "metrics_path: /own/metrics\n",
    ] {
        assert!(page.contains(piece), "{piece}");
    }
}
