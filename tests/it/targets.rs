//! The state of the network on the home page: a row for each test, the failing ones first; the name of each outcome and
//! the advice for it; how the page is kept up to date.

use std::fs;

use crate::harness::{
    Connection, Exporter, Fake, Reply, TELL_PID, good_report, lock_status, top, wait_for,
};
use crate::html::assert_sound;

/// A fake whose outcome depends on the server's name: if there is a file `$DIR/NAME`, it fails with that output;
/// otherwise it succeeds.
fn fake() -> Fake {
    Fake::new(&format!(
        "if [ -e \"$DIR/$3\" ]; then cat \"$DIR/$3\"; exit 1; fi\n\
         case \"$3\" in\n\
         slow.*) {TELL_PID}while [ -d \"$DIR\" ]; do sleep 0.02; done ;;\n\
         killed.*) kill -9 $$ ;;\n\
         udp.*) exec cat '{}/tests/fixtures/3.16/udp-loss5.json' ;;\n\
         *) exec cat '{}' ;;\n\
         esac",
        top().display(),
        good_report().display()
    ))
}

fn fail(fake: &Fake, server: &str, error: &str) {
    let text = serde_json::json!({ "error": error }).to_string();
    fs::write(fake.dir().join(server), text).unwrap();
}

fn exporter(fake: &Fake) -> Exporter {
    let own = fake.flag();
    Exporter::start(&[own.as_str(), "--iperf3.timeout=1h", "--lock.timeout=1h"])
}

fn probe(exporter: &Exporter, query: &str) {
    let reply = exporter.get(&format!("/probe?{query}"));
    assert_eq!(reply.code, 200, "{query}: {}", reply.body);
}

/// The rows of the table of tests, each as the texts of its cells, without tags.
fn rows(page: &str) -> Vec<Vec<String>> {
    let table = page.split_once("<table class=\"targets\">").unwrap().1;
    let body = table.split_once("<tbody>\n").unwrap().1;
    let body = body.split_once("</tbody>").unwrap().0;
    let cells = |row: &str| {
        let cells = row.split("</t").filter(|cell| cell.contains("<t"));
        cells
            .map(|cell| {
                let pieces = cell
                    .split('<')
                    .map(|piece| piece.split_once('>').map_or(piece, |(_, text)| text));
                pieces
                    .collect::<String>()
                    .replace("h>", "")
                    .trim()
                    .to_owned()
            })
            .collect()
    };
    body.lines().map(cells).collect()
}

fn summary(page: &str) -> String {
    let summary = page.split_once("<p class=\"summary\">").unwrap().1;
    let summary = summary.split_once("</p>").unwrap().0;
    let pieces = summary
        .split('<')
        .map(|piece| piece.split_once('>').map_or(piece, |(_, text)| text));
    pieces.collect()
}

fn home(exporter: &Exporter) -> String {
    let page = exporter.get("/").body;
    assert_sound(&page);
    page
}

#[test]
fn failing_tests_come_first_then_those_without_a_result_then_the_unsteady_ones() {
    let fake = fake();
    let exporter = exporter(&fake);
    fail(
        &fake,
        "flaky.example",
        "unable to connect to server: Connection refused",
    );
    probe(&exporter, "target=flaky.example");
    fs::remove_file(fake.dir().join("flaky.example")).unwrap();
    fail(
        &fake,
        "z-closed.example",
        "unable to connect to server: Connection refused",
    );
    for target in [
        "a-fine.example",
        "flaky.example",
        "udp.example&udp_mode=true",
        "z-closed.example",
    ] {
        probe(&exporter, &format!("target={target}"));
    }
    assert_eq!(exporter.run("target=slow.example").code, 303);
    wait_for("the test to run", || fake.runs());
    let stop = format!("/probes/6/stop?token={}", exporter.csrf_token());
    exporter.request("POST", &stop, &[("Content-Length", "0")]);
    wait_for("the row of the cancelled probe", || {
        exporter.get("/").body.contains(">cancelled</span>")
    });

    let page = home(&exporter);
    let rows = rows(&page);
    let shown: Vec<[&str; 4]> = rows
        .iter()
        .map(|row| [&*row[0], &*row[1], &*row[2], &*row[row.len() - 2]])
        .collect();
    assert_eq!(
        shown,
        [
            ["z-closed.example:5201", "TCP upload", "refused", "0 of 1"],
            ["slow.example:5201", "TCP upload", "cancelled", "0 of 1"],
            ["flaky.example:5201", "TCP upload", "success", "1 of 2"],
            ["udp.example:5201", "UDP upload", "success", "1 of 1"],
            ["a-fine.example:5201", "TCP upload", "success", "1 of 1"],
        ]
    );
    assert_eq!(
        summary(&page),
        "1 of 5 tests fails, 1 has no result, 2 are unsteady, 1 is fine"
    );
    assert!(
        page.contains("<title>1 failing · iperf3 exporter"),
        "{page}"
    );
    // Only the numbers that make a test unsteady are marked.
    for marked in [
        "<span class=\"warn\">1 of 2</span>",
        "<span class=\"warn\">8.35</span>",
    ] {
        assert!(page.contains(marked), "{marked}: {page}");
    }
    assert_eq!(
        page.matches("<td><span class=\"warn\">").count(),
        2,
        "{page}"
    );
    // A row without a result has the advice instead of numbers.
    let advice = "<td class=\"advice\" colspan=\"4\">Nothing listens on that port. Start <code>iperf3 -s</code> on the server, or check the port.</td>";
    assert!(page.contains(advice), "{page}");
    let fine = &rows[4];
    assert_eq!(fine[3..7], ["11,582.73", "", "", "0.05"]);
    assert!(
        fine[9].ends_with("\u{a0}s ago") || fine[9].ends_with("\u{a0}min ago"),
        "{}",
        fine[9]
    );
    // The age has the exact time as its title, and links to the probe.
    let age = page
        .split_once("<a href=\"probes/2\"><time datetime=\"")
        .unwrap()
        .1;
    let age = age.split_once('>').unwrap().0;
    assert!(
        age.contains("Z\" title=\"") && age.ends_with(" UTC\""),
        "{age}"
    );
}

#[test]
fn a_target_has_a_row_for_each_kind_of_test_and_leads_to_exactly_its_probes() {
    let fake = fake();
    let exporter = exporter(&fake);
    for query in [
        "target=one.example&max_age=1m",
        "target=one.example",
        "target=one.example&reverse_mode=true",
        "target=one.example&dscp=ef",
        "target=three.example&parallel=2&dscp=cs1",
        "target=three.example&parallel=2&dscp=cs2",
        "target=one.example:5301",
        "target=two.example&mptcp=true&parallel=4",
    ] {
        probe(&exporter, query);
    }
    let page = home(&exporter);
    let shown: Vec<String> = rows(&page).iter().map(|row| row[..2].join(" ")).collect();
    // Further parameters distinguish tests of the same kind; elsewhere they are left out.
    assert_eq!(
        shown,
        [
            "one.example:5201 TCP download",
            "one.example:5201 TCP upload",
            "one.example:5201 TCP upload dscp=ef",
            "one.example:5301 TCP upload",
            "three.example:5201 TCP upload dscp=cs1",
            "three.example:5201 TCP upload dscp=cs2",
            "two.example:5201 MPTCP upload",
        ]
    );
    let links = page.split("<th scope=\"row\"><a href=\"./").skip(1);
    let links: Vec<String> = links
        .map(|link| link.split_once('"').unwrap().0.replace("&amp;", "&"))
        .collect();
    for (link, numbers) in links
        .iter()
        .zip([&[3][..], &[2, 1], &[4], &[7], &[5], &[6], &[8]])
    {
        let (query, anchor) = link.split_once('#').unwrap();
        assert_eq!(anchor, "last");
        let page = exporter.get(&format!("/{query}")).body;
        assert_sound(&page);
        let list = page.split("<th scope=\"row\"><a href=\"probes/").skip(1);
        let list: Vec<u32> = list
            .map(|row| row.split_once('"').unwrap().0.parse().unwrap())
            .collect();
        assert_eq!(list, numbers, "{link}");
        // The chosen row is marked, and all rows are still there.
        assert_eq!(page.matches(" aria-current=\"true\">").count(), 1, "{page}");
        assert_eq!(rows(&page).len(), 7);
    }
}

/// iperf3's error message, the badge, and the beginning of the advice.
const FAILURES: &[(&str, &str, &str)] = &[
    (
        "unable to connect to server: Connection refused",
        "refused",
        "Nothing listens on that port",
    ),
    (
        "unable to connect to server: No route to host",
        "unreachable",
        "There is no route to the server",
    ),
    (
        "unable to connect to server: Name or service not known",
        "unknown host",
        "The name does not resolve",
    ),
    (
        "unable to connect to server: Connection timed out",
        "connect timeout",
        "The server did not respond to the connection",
    ),
    (
        "test authorization failed",
        "authentication failed",
        "The server requires a user name",
    ),
    (
        "parameter error - bogus value for --omit",
        "unsupported",
        "The iperf3 at one end is too old",
    ),
    (
        "control socket has closed unexpectedly",
        "interrupted",
        "The server or the control connection",
    ),
    (
        "unable to create temp file: Permission denied",
        "local problem",
        "The problem is on the exporter&#39;s own host",
    ),
    ("something new", "other error", "Read the log"),
];

/// The list, the table of tests and the details have the badge; the table and the details have the advice.
fn assert_told(exporter: &Exporter, number: usize, badge: &str, advice: &str) {
    let page = home(exporter);
    assert_eq!(
        page.matches(&format!("\">{badge}</span></td>")).count(),
        2,
        "{badge}: {page}"
    );
    assert!(
        page.contains(&format!("colspan=\"4\">{advice}")),
        "{badge}: {page}"
    );
    for path in ["", "/now"] {
        let details = exporter.get(&format!("/probes/{number}{path}")).body;
        assert_sound(&details);
        assert!(details.contains(&format!("\">{badge}</span>")), "{details}");
        let fact = format!("<dt>What to do</dt><dd>{advice}");
        assert!(details.contains(&fact), "{badge}: {details}");
    }
}

#[test]
fn each_failure_has_its_badge_and_advice() {
    let fake = fake();
    let exporter = exporter(&fake);
    for (index, (error, badge, advice)) in FAILURES.iter().enumerate() {
        // An address, because the exporter would look up a name.
        let server = format!("127.0.2.{index}");
        fail(&fake, &server, error);
        probe(&exporter, &format!("target={server}"));
        assert_told(&exporter, index + 1, badge, advice);
    }
    let number = FAILURES.len() + 1;
    probe(&exporter, "target=killed.example");
    assert_told(
        &exporter,
        number,
        "iperf3 killed",
        "A signal that the exporter did not send",
    );
    fs::write(fake.dir().join("odd.example"), "nonsense").unwrap();
    probe(&exporter, "target=odd.example");
    assert_told(
        &exporter,
        number + 1,
        "bad output",
        "The output of iperf3 is not a report",
    );
    // If the label differs from the badge, the details show it, to find it in the metrics.
    let details = exporter.get("/probes/5").body;
    let label = "authentication failed</span> <span class=\"soft\">(<code>auth</code>)</span>";
    assert!(details.contains(label), "{details}");
    assert!(!exporter.get("/probes/1").body.contains("(<code>"));
    let page = home(&exporter);
    assert_eq!(summary(&page), "11 of 11 tests fail");
}

#[test]
fn a_probe_without_a_test_has_advice() {
    let fake = fake();
    let own = fake.flag();
    let exporter = Exporter::start(&[own.as_str(), "--iperf3.timeout=1h", "--lock.timeout=3s"]);
    let mut holder = Connection::open(exporter.port());
    holder.send("/probe?target=slow.example", &[]);
    wait_for("the test to run", || fake.runs());
    assert_eq!(exporter.get("/probe?target=late.example").code, 503);
    assert_told(
        &exporter,
        2,
        "not run: lock timeout",
        "The tests take longer than the scrapes leave time for",
    );
    assert_eq!(
        exporter
            .scrape("/probe?target=hasty.example&period=1s", "1.5")
            .code,
        503
    );
    assert_told(
        &exporter,
        3,
        "not run: no time left",
        "The queue took the time of this test",
    );
    drop(holder);
    wait_for("the probe to end", || {
        exporter.get("/probes/1").header("Refresh").is_none()
    });
    assert_told(
        &exporter,
        1,
        "cancelled",
        "Nothing, if its client was stopped.",
    );
    assert_eq!(summary(&home(&exporter)), "3 of 3 tests have no result");
}

#[test]
fn a_missing_iperf3_and_a_spent_budget_have_advice() {
    let fake = fake();
    let own = fake.flag();
    let exporter = Exporter::start(&[own.as_str(), "--probe.max-bytes-per-day=1K"]);
    probe(&exporter, "target=a.example&bitrate=10M");
    assert_told(
        &exporter,
        1,
        "budget spent",
        "The daily budget of bytes is spent",
    );
    let exporter = Exporter::start(&["--iperf3.path=/nowhere/iperf3"]);
    probe(&exporter, "target=a.example");
    assert_told(
        &exporter,
        1,
        "iperf3 not found",
        "There is no iperf3 on the exporter&#39;s host",
    );
}

/// The document in the frame of a page.
fn strip(exporter: &Exporter, page: &str) -> Reply {
    let frame = page
        .split_once("<iframe class=\"status\" tabindex=\"-1\" src=\"")
        .unwrap()
        .1;
    let frame = frame.split_once('"').unwrap().0;
    let reply = exporter.get(&format!("/{frame}"));
    assert_eq!(reply.code, 200);
    assert_sound(&reply.body);
    // No element in it takes the focus, because a reload would lose it.
    for element in ["<a ", "<button", "<input", "tabindex"] {
        assert!(!reply.body.contains(element), "{}", reply.body);
    }
    reply
}

#[test]
fn the_page_does_not_reload_and_its_frame_says_when_it_is_out_of_date() {
    let fake = fake();
    let exporter = exporter(&fake);
    probe(&exporter, "target=a.example");
    let first = exporter.get("/");
    assert_eq!(first.header("Refresh"), None);
    let idle = strip(&exporter, &first.body);
    assert_eq!(idle.header("Refresh"), Some("60"));
    assert!(
        idle.body.contains("<p>No test runs or waits.</p>"),
        "{}",
        idle.body
    );
    assert!(idle.body.contains("up to date"), "{}", idle.body);

    fail(
        &fake,
        "b.example",
        "unable to connect to server: Connection refused",
    );
    probe(&exporter, "target=b.example");
    probe(&exporter, "target=c.example");
    assert_eq!(exporter.run("target=slow.example&period=1m").code, 303);
    wait_for("the test to run", || fake.runs());
    exporter.run("target=d.example");
    let mut watch = Connection::open(exporter.port());
    wait_for("another test to wait", || {
        lock_status(&mut watch)["queue_size"] == 1
    });
    let busy = strip(&exporter, &first.body);
    assert_eq!(busy.header("Refresh"), Some("15"));
    for words in [
        "<b>slow.example:5201</b> TCP upload runs, ",
        " of 1m0s.",
        "</progress> 1 test waits.</p>",
        "<strong>2 more ended, 1 without a result:</strong> refresh to see them.",
        "<span class=\"bad\">1 of 3 tests fails</span>",
    ] {
        assert!(busy.body.contains(words), "{words}: {}", busy.body);
    }
    let now = exporter.get("/").body;
    assert!(strip(&exporter, &now).body.contains("up to date"));
    // The frame of a page that was loaded before a restart.
    let old = strip(&exporter, &now.replace("now?seen=3\"", "now?seen=99\""));
    assert!(
        old.body.contains("The exporter was restarted."),
        "{}",
        old.body
    );
    // With any query.
    for query in ["", "?seen=", "?seen=x", "?seen=-1&seen=1"] {
        assert_eq!(
            exporter.get(&format!("/probes/now{query}")).code,
            200,
            "{query}"
        );
    }
}

#[test]
fn the_whole_page_refreshes_on_request_with_its_filter() {
    let fake = fake();
    let exporter = exporter(&fake);
    probe(&exporter, "target=a.example");
    probe(&exporter, "target=b.example&dscp=ef");
    let page = exporter.get("/?target=b.example%3A5201&test=dscp%3Def");
    assert_eq!(page.header("Refresh"), None);
    let link = "<a href=\"./?refresh=true&amp;target=b.example:5201&amp;test=dscp%3Def\">Refresh every 15 s</a>";
    assert!(page.body.contains(link), "{}", page.body);
    let page = exporter.get("/?refresh=true&target=b.example:5201&test=dscp%3Def");
    assert_eq!(page.header("Refresh"), Some("15"));
    for words in [
        "<a href=\"./?target=b.example:5201&amp;test=dscp%3Def\">Stop refreshing</a>",
        "<a href=\"./?refresh=true&amp;target=a.example:5201&amp;test=#last\">",
        "<input type=\"hidden\" name=\"refresh\" value=\"true\">",
        "<a href=\"./?refresh=true#last\">Show all</a>",
        "1 of 2 stored probes are shown",
    ] {
        assert!(page.body.contains(words), "{words}: {}", page.body);
    }
}

#[test]
fn a_rejected_frame_refreshes_again() {
    let fake = fake();
    let file = fake.dir().join("web.yml");
    fs::write(&file, "rate_limit:\n  interval: 1h\n  burst: 1\n").unwrap();
    let config = format!("--web.config.file={}", file.display());
    let exporter = Exporter::start(&[fake.flag(), config]);
    assert_eq!(exporter.get("/").code, 200);
    let again = |path: &str| {
        let reply = exporter.get(path);
        (reply.code, reply.header("Refresh").map(str::to_owned))
    };
    let every = Some("15".to_owned());
    assert_eq!(again("/probes/now?seen=0"), (429, every.clone()));
    assert_eq!(again("/probes/1/now"), (429, every.clone()));
    // A whole page does not refresh without the reader's request.
    assert_eq!(again("/probes/1"), (429, None));
    assert_eq!(again("/"), (429, None));
    fs::write(&file, "nonsense: true\n").unwrap();
    wait_for("the configuration to be read", || again("/").0 == 500);
    assert_eq!(again("/probes/now"), (500, every));
}
