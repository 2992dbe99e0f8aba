//! The pages in a real Chromium: by keyboard, on phone and desktop, in dark and light, visually and for screen readers.

use serde_json::{Value, json};

use crate::chromium::{Browser, DESKTOP, PHONE, Screen};
use crate::fixture_exporter::{HOSTILE, Scene, screenshots, streaming, watched};
use crate::harness::{Connection, Exporter, Server, machine_alone, run, skipped, top, wait_for};
use crate::pki::HASH;

/// The narrowest screen that WCAG requires, and a desktop screen at a zoom of 200 %.
const NARROW: Screen = (320, 640, true);
const ZOOMED: Screen = (640, 450, false);

/// From the narrowest to a large desktop, including the limits of each layout.
const WIDTHS: &[u32] = &[
    320, 390, 480, 600, 640, 641, 768, 900, 1024, 1152, 1153, 1180, 1280, 1281, 1440, 2560,
];

/// The narrowest screen of each layout, where a page is most likely to be too wide.
const NARROWEST: &[u32] = &[320, 641, 1153, 1281];

/// The pages of an exporter with probes, each with a name for its screenshots.
const PAGES: &[(&str, &str)] = &[
    ("home", "/"),
    ("filtered", "/?target=example&failures=true"),
    ("nothing", "/?target=no+such"),
    ("one-test", "/?target=up.example%3A5201&test=#last"),
    ("form", "/?form=true"),
    ("strip", "/probes/now?seen=2"),
    ("upload", "/probes/1"),
    ("udp", "/probes/3"),
    ("failed", "/probes/4"),
    ("hostile", "/probes/5"),
    ("both-ways", "/probes/6"),
    ("running", "/probes/7"),
    ("running-now", "/probes/7/now"),
    ("ended-now", "/probes/6/now"),
    ("waiting", "/probes/8"),
    ("missing", "/probes/99"),
];

/// Opens everything that a page keeps folded.
const UNFOLD: &str = "document.querySelectorAll('details').forEach(one => one.open = true)";

fn url(scene: &Scene, path: &str) -> String {
    format!("http://127.0.0.1:{}{path}", scene.exporter.port())
}

/// Chromium's message about a page's status; some pages have that status on purpose.
fn is_status_line(complaint: &Value) -> bool {
    let entry = &complaint["params"]["entry"];
    let text = entry["text"].as_str().unwrap_or_default();
    entry["source"] == "network" && text.contains("the server responded with a status of 404")
}

fn assert_quiet(browser: &mut Browser, what: &str) {
    let complaints = browser.complaints();
    let complaints: Vec<&Value> = complaints
        .iter()
        .filter(|complaint| !is_status_line(complaint))
        .collect();
    assert!(complaints.is_empty(), "{what}: {complaints:#?}");
}

#[test]
fn a_probe_started_by_keyboard_shows_its_result_without_a_reload() {
    let Some(mut browser) =
        Browser::start("a_probe_started_by_keyboard_shows_its_result_without_a_reload")
    else {
        return;
    };
    let server = Server::start();
    let exporter = Exporter::start::<&str>(&[]);
    let root = format!("http://127.0.0.1:{}/", exporter.port());
    browser.open(&root);
    browser.tab_to("document.activeElement.name === 'target'");
    browser.write(&server.target());
    browser.tab_to("document.activeElement.name === 'period'");
    browser.write("2s");
    // At its full rate the test would take the processors from the other tests.
    browser.tab_to("document.activeElement.name === 'bitrate'");
    browser.write("10M");
    browser.tab_to("document.activeElement.textContent === 'Both at once'");
    browser.press("Enter");
    browser.wait_for("location.pathname === '/probes/1'");
    // Its state before the end is only visible for a moment; the end appears without user action.
    browser.wait_for("document.querySelector('.good')?.textContent === 'success'");
    let text = browser.text("document.body.innerText");
    assert!(
        text.contains("period=2s bidirectional=true bitrate=10M"),
        "{text}"
    );
    assert!(text.contains("iperf3_up{"), "{text}");
    let steps =
        browser.value("document.querySelectorAll('svg.plot path.up, svg.plot path.down').length");
    assert_eq!(steps, json!(4), "two lines and their legend");
    // Once more, with its button.
    browser.tab_to("document.activeElement.textContent === 'Run it again'");
    browser.press("Enter");
    browser.wait_for("location.pathname === '/probes/2'");
    browser.wait_for("document.querySelector('.good')?.textContent === 'success'");
    let again = browser.text("document.body.innerText");
    assert!(
        again.contains("period=2s bidirectional=true bitrate=10M"),
        "{again}"
    );
    let asked = browser.requested();
    assert!(asked.iter().all(|url| url.starts_with(&root)), "{asked:?}");
    assert_quiet(&mut browser, "two probes");
    browser.open(&root);
    let rows = browser.value("document.querySelectorAll('.probes tbody tr').length");
    assert_eq!(rows, json!(2));
}

#[test]
fn a_test_is_stopped_by_its_button() {
    let Some(mut browser) = Browser::start("a_test_is_stopped_by_its_button") else {
        return;
    };
    let scene = Scene::with_probes(&[]);
    browser.open(&url(&scene, "/probes/7"));
    browser.tab_to("document.activeElement.textContent === 'Cancel the test'");
    browser.press("Enter");
    browser.wait_for("document.querySelector('dd .none')?.textContent === 'cancelled'");
    assert_eq!(browser.text("location.pathname"), "/probes/7");
    assert_quiet(&mut browser, "a stopped probe");
}

/// The number of responses for single probes: the page's, and those of the frame in it.
fn looks(exporter: &Exporter) -> f64 {
    exporter.metric("iperf3_exporter_http_requests_total{path=\"/probes/\",code=\"200\"}")
}

#[test]
fn only_the_frame_on_the_page_of_a_running_test_changes() {
    let test = "only_the_frame_on_the_page_of_a_running_test_changes";
    let Some(mut browser) = Browser::start(test) else {
        return;
    };
    let fake = streaming();
    let exporter = watched(&fake);
    let address = format!("http://127.0.0.1:{}/probes/1", exporter.port());
    browser.resize((640, 300, false));
    browser.watch(&address);
    // The frame has refreshed once, in case the test fails at once. After that it refreshes by the planned end, a
    // minute from now.
    let is_settled = || {
        let page = exporter.get("/probes/1");
        page.header("Refresh").unwrap().parse::<u64>().unwrap() > 3
    };
    wait_for("the test to be some seconds old", is_settled);
    browser.watch("about:blank");
    browser.watch(&address);
    browser.tab_to("document.activeElement.textContent === 'Cancel the test'");
    browser.value("window.isOld = true; scrollTo(0, 100)");
    let before = looks(&exporter);
    wait_for("the frame to have looked again", || {
        looks(&exporter) >= before + 3.0
    });
    let state = "[window.isOld, document.activeElement.textContent, scrollY, history.length]";
    let seen = browser.value(state);
    assert_eq!(
        seen.as_array().unwrap()[..3],
        [json!(true), json!("Cancel the test"), json!(100)]
    );
    // A refresh adds no entry to the history.
    let again = looks(&exporter);
    wait_for("the frame to have looked again", || {
        looks(&exporter) >= again + 3.0
    });
    assert_eq!(browser.value(state), seen);
    assert_quiet(&mut browser, "a running test");

    // The frame shows the end at once, with a link out of it for the keyboard.
    fake.go();
    wait_for("its end", || {
        exporter.get("/probes/1").header("Refresh").is_none()
    });
    wait_for("the way out", || {
        browser.press("Tab");
        if browser.value("document.activeElement?.tagName === 'IFRAME'") == json!(true) {
            browser.press("Enter");
        }
        browser.value("document.querySelector('.good')?.textContent === 'success'") == json!(true)
    });
    assert_eq!(browser.text("location.pathname"), "/probes/1");
    assert_quiet(&mut browser, "a test that has ended");
}

#[test]
fn the_frame_has_its_style_when_a_password_is_required() {
    let test = "the_frame_has_its_style_when_a_password_is_required";
    let Some(mut browser) = Browser::start(test) else {
        return;
    };
    let fake = streaming();
    // An operator's header forbids frames. It has no effect, because a policy states which frames are allowed.
    let config = format!(
        "basic_auth_users: {{alice: {HASH}}}\nhttp_server_config: {{headers: {{X-Frame-Options: deny}}}}\n"
    );
    let file = fake.dir().join("web.yml");
    std::fs::write(&file, config).unwrap();
    let flag = format!("--web.config.file={}", file.display());
    let exporter = Exporter::start(&[fake.flag(), flag, "--iperf3.timeout=1h".to_owned()]);
    let mut scrape = Connection::open(exporter.port());
    let alice = ("Authorization", "Basic YWxpY2U6c2VjcmV0");
    scrape.send(
        "/probe?target=both.example&period=60s&bidirectional=true",
        &[alice],
    );
    let root = format!("127.0.0.1:{}/", exporter.port());
    let login = format!("http://alice:secret@{root}");
    browser.call("Page.navigate", &json!({ "url": login }));
    browser.wait_for("document.querySelector('h1')?.textContent.startsWith('iperf3 exporter')");
    browser.watch(&format!("http://{root}probes/1"));
    browser.wait_for(
        "(one => one && getComputedStyle(one).borderCollapse === 'collapse')(document.querySelector('iframe').contentDocument.querySelector('table'))",
    );
    let shown = browser.text("document.querySelector('iframe').contentDocument.body.innerText");
    assert!(
        shown.contains("So far, as counted by the client."),
        "{shown}"
    );
}

#[test]
fn the_frame_is_large_enough_for_its_content_on_every_screen() {
    let test = "the_frame_is_large_enough_for_its_content_on_every_screen";
    let Some(mut browser) = Browser::start(test) else {
        return;
    };
    let fake = streaming();
    let exporter = watched(&fake);
    let root = format!("http://127.0.0.1:{}/probes/", exporter.port());
    for width in [320, 375, 641, 1280] {
        browser.resize((width, 800, width < 600));
        browser.open(&format!("{root}1"));
        let frame =
            "(one => [one.clientWidth, one.clientHeight])(document.querySelector('iframe'))";
        let frame = browser.value(frame);
        let [wide, high] = [&frame[0], &frame[1]].map(|side| side.as_u64().unwrap());
        browser.resize((u32::try_from(wide).unwrap(), 100, width < 600));
        browser.open(&format!("{root}1/now"));
        let needed = "(one => [one.scrollWidth, one.scrollHeight])(document.documentElement)";
        let needed = browser.value(needed);
        let fits = needed[0].as_u64() <= Some(wide) && needed[1].as_u64() <= Some(high);
        assert!(fits, "at {width}: {needed} in {frame}");
    }
}

#[test]
fn the_frame_of_the_home_page_is_large_enough_and_takes_no_focus() {
    let test = "the_frame_of_the_home_page_is_large_enough_and_takes_no_focus";
    let Some(mut browser) = Browser::start(test) else {
        return;
    };
    let scene = Scene::with_probes(&[]);
    for width in [320, 375, 420, 641, 1153, 1280] {
        browser.resize((width, 800, width < 600));
        browser.open(&url(&scene, "/"));
        let frame =
            "(one => [one.clientWidth, one.clientHeight])(document.querySelector('iframe'))";
        let frame = browser.value(frame);
        let [wide, high] = [&frame[0], &frame[1]].map(|side| side.as_u64().unwrap());
        browser.resize((u32::try_from(wide).unwrap(), 10, width < 600));
        // One probe runs, one waits, and all ended ones are new.
        browser.open(&url(&scene, "/probes/now?seen=0"));
        let said = browser.text("document.body.innerText");
        assert!(said.contains("6 more ended, 2 without a result"), "{said}");
        let needed = "(one => [one.scrollWidth, one.scrollHeight])(document.documentElement)";
        let needed = browser.value(needed);
        let fits = needed[0].as_u64() <= Some(wide) && needed[1].as_u64() <= Some(high);
        assert!(fits, "at {width}: {needed} in {frame}");
    }
}

#[test]
fn the_placeholder_of_a_field_fits_into_it() {
    let Some(mut browser) = Browser::start("the_placeholder_of_a_field_fits_into_it") else {
        return;
    };
    let scene = Scene::with_probes(&[]);
    for width in [320, 375, 641, 1280] {
        browser.resize((width, 800, width < 600));
        browser.open(&url(&scene, "/?form=true"));
        browser.value(UNFOLD);
        // Set as the value, which has a larger font, a text that is too long would be cut off.
        let cut = browser.value(
            "(() => { const all = [...document.querySelectorAll('input[placeholder]')];
              const cut = all.filter(one => { one.type = 'text'; one.value = one.placeholder; return one.scrollWidth > one.clientWidth; });
              return [all.length, cut.map(one => one.name)]; })()",
        );
        assert!(cut[0].as_u64().unwrap() > 5, "{cut}");
        assert_eq!(cut[1], json!([]), "at {width}");
    }
}

#[test]
fn long_names_of_servers_keep_a_readable_column() {
    let Some(mut browser) = Browser::start("long_names_of_servers_keep_a_readable_column") else {
        return;
    };
    let exporter = Exporter::start(&["--iperf3.path=/nowhere"]);
    for number in 1..=3 {
        let target = format!("iperf3-edge-{number}.frankfurt.backbone.example.net");
        exporter.get(&format!("/probe?target={target}"));
    }
    for width in [375, 800, 1153, 1280, 1600] {
        browser.resize((width, 800, false));
        browser.open(&format!("http://127.0.0.1:{}/", exporter.port()));
        let tall = browser.value(
            "(() => { const all = [...document.querySelectorAll('th .words, td .words')];
              return [all.length, all.filter(one => one.getBoundingClientRect().height > 80).map(one => one.outerHTML)]; })()",
        );
        assert!(tall[0].as_u64().unwrap() >= 6, "{tall}");
        assert_eq!(tall[1], json!([]), "at {width}");
    }
}

#[test]
fn names_of_servers_and_dates_stay_in_one_line() {
    let Some(mut browser) = Browser::start("names_of_servers_and_dates_stay_in_one_line") else {
        return;
    };
    let scene = Scene::with_probes(&[]);
    for path in ["/", "/probes/6"] {
        for width in [320, 375, 641, 1153, 1280] {
            browser.resize((width, 800, width < 600));
            browser.open(&url(&scene, path));
            let broken = browser.value(
                "(() => { const all = [...document.querySelectorAll('.host, time, .good, .bad')];
                  return [all.length, all.filter(one => { const tops = [...one.getClientRects()].map(box => box.top); return Math.max(...tops) - Math.min(...tops) > 12; }).map(one => one.outerHTML)]; })()",
            );
            assert!(broken[0].as_u64().unwrap() > 3, "{broken}");
            assert_eq!(broken[1], json!([]), "{path} at {width}");
        }
    }
    // The details use the width of a desktop: the plot is beside the facts.
    browser.show(DESKTOP, false);
    browser.open(&url(&scene, "/probes/6"));
    let sides = "['dl', 'svg.plot'].map(one => document.querySelector(one).getBoundingClientRect()).map(box => [box.left, box.right, box.top])";
    let sides = browser.value(sides);
    assert!(sides[0][1].as_f64() < sides[1][0].as_f64(), "{sides}");
    assert!(sides[1][1].as_f64() > Some(1200.0), "{sides}");
}

#[test]
#[ignore = "make test-all: waits for two reloads of fifteen seconds"]
fn a_reloaded_page_keeps_its_scroll_position() {
    let Some(mut browser) = Browser::start("a_reloaded_page_keeps_its_scroll_position") else {
        return;
    };
    let scene = Scene::with_probes(&[]);
    browser.resize((640, 300, false));
    browser.watch(&url(&scene, "/?refresh=true&target=up"));
    for _ in 0..2 {
        browser.value("window.isOld = true; scrollTo(0, 400)");
        browser.wait_for("!window.isOld && document.readyState === 'complete' && scrollY > 0");
        assert_eq!(browser.value("scrollY"), json!(400));
        assert_eq!(browser.text("location.search"), "?refresh=true&target=up");
    }
}

#[test]
fn the_filter_works_by_keyboard() {
    let Some(mut browser) = Browser::start("the_filter_works_by_keyboard") else {
        return;
    };
    let scene = Scene::with_probes(&[]);
    browser.open(&url(&scene, "/"));
    browser.tab_to("document.activeElement.list?.id === 'hosts'");
    browser.write("O");
    browser.tab_to("document.activeElement.name === 'failures'");
    browser.press(" ");
    browser.press("Enter");
    browser.wait_for("location.search === '?target=O&failures=true' && location.hash === '#last'");
    let targets =
        "[...document.querySelectorAll('.probes td:nth-child(3)')].map(cell => cell.textContent)";
    assert_eq!(
        browser.value(targets),
        json!(["hostile.example:5201", "closed.example:5201"])
    );
    let text = browser.text("document.body.innerText");
    assert!(
        text.contains("2 of 6 stored probes are shown, 2 of them without a result."),
        "{text}"
    );
    // A refresh keeps the filter.
    browser.tab_to("document.activeElement.textContent === 'Refresh'");
    browser.value("window.isOld = true");
    browser.press("Enter");
    browser.wait_for("!window.isOld");
    assert_eq!(browser.text("location.search"), "?target=O&failures=true");
    // A target links to its probes.
    browser.tab_to("document.activeElement.textContent === 'udp.example:5301'");
    browser.press("Enter");
    browser.wait_for("location.search.startsWith('?target=udp.example:5301&test=')");
    assert_eq!(browser.value(targets), json!(["udp.example:5301"]));
    assert_quiet(&mut browser, "the filter");
}

/// The open page is exactly as wide as the screen, folded and unfolded.
fn assert_fits(browser: &mut Browser, name: &str, widths: &[u32]) {
    for folded in [true, false] {
        if !folded {
            browser.value(UNFOLD);
        }
        for width in widths {
            browser.resize((*width, 800, *width < 600));
            // Not `innerWidth`: a phone sets it to the width of the content that is too wide.
            let wide = browser
                .value("document.documentElement.scrollWidth")
                .as_u64();
            let fits = wide.is_some_and(|wide| wide <= u64::from(*width));
            assert!(fits, "{name} at {width}: {wide:?} wide, folded: {folded}");
        }
    }
}

#[test]
fn every_page_fits_the_narrowest_screen_of_each_layout_and_the_console_stays_empty() {
    let Some(mut browser) = Browser::start(
        "every_page_fits_the_narrowest_screen_of_each_layout_and_the_console_stays_empty",
    ) else {
        return;
    };
    let scene = Scene::with_probes(&[]);
    for (name, path) in PAGES {
        browser.show(NARROW, false);
        browser.open(&url(&scene, path));
        assert_fits(&mut browser, name, NARROWEST);
        assert_quiet(&mut browser, name);
    }
    // The style was loaded, and it is the dark one.
    browser.show(DESKTOP, true);
    let color = "getComputedStyle(document.querySelector('a')).color";
    assert_eq!(browser.text(color), "rgb(138, 180, 248)");
}

#[test]
#[ignore = "make test-all: every width, screen and colour scheme of every page, with pictures"]
fn every_page_fits_every_screen_and_the_console_stays_empty() {
    let Some(mut browser) =
        Browser::start("every_page_fits_every_screen_and_the_console_stays_empty")
    else {
        return;
    };
    let _alone = machine_alone();
    let scene = Scene::with_probes(&[]);
    for (name, path) in PAGES {
        for (kind, screen, is_dark) in [
            ("desktop-light", DESKTOP, false),
            ("desktop-dark", DESKTOP, true),
            ("phone-light", PHONE, false),
            ("phone-dark", PHONE, true),
            ("narrow", NARROW, false),
            ("zoomed", ZOOMED, false),
        ] {
            browser.show(screen, is_dark);
            browser.open(&url(&scene, path));
            let what = format!("{name} {kind}");
            browser.screenshot(&screenshots().join(format!("{name}-{kind}.png")), true);
            assert_quiet(&mut browser, &what);
        }
        assert_fits(&mut browser, name, WIDTHS);
    }
}

#[test]
fn output_of_servers_is_plain_text_in_a_browser() {
    let Some(mut browser) = Browser::start("output_of_servers_is_plain_text_in_a_browser") else {
        return;
    };
    let scene = Scene::with_probes(&[]);
    browser.open(&url(&scene, "/probes/5"));
    let shown = HOSTILE
        .replace('\u{1b}', "\\u{1b}")
        .replace('\u{202e}', "\\u{202e}")
        .replace('\0', "\\0");
    let text = browser.text("document.body.textContent");
    assert_eq!(
        text.matches(&shown).count(),
        3,
        "as the error, in the time line and as stderr: {text}"
    );
    assert!(browser.text("document.title").starts_with("Probe 5"));
    assert_eq!(
        browser.value("document.querySelectorAll('script, img').length"),
        json!(0)
    );
    assert_quiet(&mut browser, "hostile words");
}

#[test]
fn lines_and_text_of_a_plot_have_enough_contrast() {
    let Some(mut browser) = Browser::start("lines_and_text_of_a_plot_have_enough_contrast") else {
        return;
    };
    let scene = Scene::with_probes(&[]);
    for path in ["/", "/probes/6"] {
        for is_dark in [false, true] {
            browser.show(DESKTOP, is_dark);
            browser.open(&url(&scene, path));
            // WCAG 2.2: 4.5 for text, 3 for graphics. axe does not check inside pictures.
            let faint = browser.value(
                "(() => {
                    const light = color => {
                        const [r, g, b] = color.match(/[0-9.]+/g).map(Number)
                            .map(part => part / 255).map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
                        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
                    const back = light(getComputedStyle(document.body).backgroundColor);
                    const ratio = color => { const [high, low] = [light(color), back].sort((a, b) => b - a);
                        return (high + 0.05) / (low + 0.05); };
                    const all = [...document.querySelectorAll('svg text')].map(one => [getComputedStyle(one).fill, 4.5])
                        .concat([...document.querySelectorAll('svg .up, svg .down, svg .miss')].map(one => [getComputedStyle(one).stroke, 3]));
                    return [all.length, all.filter(([color, least]) => !(ratio(color) >= least))]; })()",
            );
            assert!(faint[0].as_u64().unwrap() >= 4, "{faint}");
            assert_eq!(faint[1], json!([]), "{path} dark: {is_dark}");
        }
    }
    // The lines also differ without colour: by their dashes.
    let dashes = "['.up', '.down'].map(one => getComputedStyle(document.querySelector('svg.plot ' + one)).strokeDasharray)";
    let dashes = browser.value(dashes);
    assert_ne!(dashes[0], dashes[1]);
}

/// The findings of axe, and what it cannot decide. It does not check inside pictures, whose text another test checks.
/// It treats a frame's document as a separate page.
const FINDINGS: &str =
    "axe.run(document, { preload: false, iframes: false, rules: { 'frame-tested': { enabled: false } } }).then(({ violations, passes, incomplete }) => ({
    violations: violations.map(one => [one.id, one.help,
        one.nodes.map(node => node.html.slice(0, 200) + ' | ' + node.failureSummary)]),
    unsure: incomplete.flatMap(one => one.nodes.map(node => [one.id, node.html.slice(0, 200)]))
        .filter(([, html]) => !html.startsWith('<text ')),
    passed: passes.map(one => one.id) }))";

/// axe-core's script; `None`, and one line that says so, where it is not available.
fn axe(test: &str) -> Option<String> {
    let script = top().join("tests/scripts/axe.sh");
    let (found, said) = run("sh", &[&script.display().to_string()], "");
    if !found {
        skipped(test, said.trim());
        return None;
    }
    Some(std::fs::read_to_string(said.trim()).unwrap())
}

/// Runs axe on the open page.
fn assert_accessible(browser: &mut Browser, axe: &str, what: &str) {
    let found = browser.value(&format!("{axe};\n{FINDINGS}"));
    assert_eq!(found["violations"], json!([]), "{what}");
    assert_eq!(found["unsure"], json!([]), "{what}");
    let passed = found["passed"].as_array().unwrap();
    assert!(
        passed.contains(&json!("color-contrast")),
        "{what}: {passed:?}"
    );
}

#[test]
fn axe_finds_nothing_on_a_page_of_each_kind() {
    let test = "axe_finds_nothing_on_a_page_of_each_kind";
    let Some(axe) = axe(test) else { return };
    let Some(mut browser) = Browser::start(test) else {
        return;
    };
    let scene = Scene::with_probes(&[]);
    for (path, screen, is_dark) in [
        ("/", DESKTOP, false),
        ("/probes/6", PHONE, true),
        ("/probes/4", DESKTOP, true),
        ("/probes/7", PHONE, false),
        ("/probes/7/now", PHONE, true),
    ] {
        browser.show(screen, is_dark);
        browser.open(&url(&scene, path));
        // The home page folds long tables, on which axe takes seconds.
        if path != "/" {
            browser.value(UNFOLD);
        }
        assert_accessible(&mut browser, &axe, path);
    }
}

#[test]
#[ignore = "make test-all: axe on every page, on desktop and phone, in light and dark"]
fn axe_finds_nothing_on_any_page() {
    let test = "axe_finds_nothing_on_any_page";
    let Some(axe) = axe(test) else { return };
    let Some(mut browser) = Browser::start(test) else {
        return;
    };
    let _alone = machine_alone();
    let scene = Scene::with_probes(&[]);
    for (name, path) in PAGES {
        browser.open(&url(&scene, path));
        browser.value(UNFOLD);
        for screen in [DESKTOP, PHONE] {
            for is_dark in [false, true] {
                browser.show(screen, is_dark);
                let what = format!("{name} {screen:?} dark: {is_dark}");
                assert_accessible(&mut browser, &axe, &what);
            }
        }
    }
}

#[test]
fn every_keyboard_focus_stop_is_visible_and_in_order() {
    let Some(mut browser) = Browser::start("every_keyboard_focus_stop_is_visible_and_in_order")
    else {
        return;
    };
    let scene = Scene::with_probes(&[]);
    for path in ["/", "/probes/6"] {
        browser.open(&url(&scene, path));
        browser.value(UNFOLD);
        let all = browser.value(
            "window.stops = [...document.querySelectorAll('a[href], button, input:not([type=hidden]), summary, pre[tabindex]')]; stops.length",
        );
        let all = all.as_u64().unwrap();
        assert!(all > 4, "{all}");
        for stop in 0..all {
            browser.press("Tab");
            let seen = browser.value(
                "(() => { const one = document.activeElement; const style = getComputedStyle(one); const box = one.getBoundingClientRect();
                  return [stops.indexOf(one), style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
                          box.width > 0 && box.left >= 0 && box.right <= innerWidth, one.outerHTML.slice(0, 200)]; })()",
            );
            assert_eq!(
                seen[0],
                json!(stop),
                "{path}: in the order of the page: {seen}"
            );
            assert_eq!(seen[1], json!(true), "{path}: outlined: {seen}");
            assert_eq!(seen[2], json!(true), "{path}: on the screen: {seen}");
        }
        // The first stop leads past the links.
        browser.open(&url(&scene, path));
        browser.press("Tab");
        browser.press("Enter");
        assert_eq!(browser.text("document.activeElement.id"), "main");
    }
}

/// The accessibility tree follows the page with a delay, which is longer on a busy machine.
fn wait_for_accessible(browser: &mut Browser, role: &str, name: &str) {
    wait_for(&format!("the accessible {role} {name:?}"), || {
        let tree = browser.accessible();
        tree.iter()
            .any(|(own, words)| own == role && words.contains(name))
    });
}

#[test]
fn the_accessibility_tree_has_the_form_and_its_three_directions() {
    let test = "the_accessibility_tree_has_the_form_and_its_three_directions";
    let Some(mut browser) = Browser::start(test) else {
        return;
    };
    let scene = Scene::with_probes(&[]);
    for screen in [DESKTOP, PHONE] {
        browser.show(screen, false);
        browser.open(&url(&scene, "/?form=true"));
        for (role, name) in [
            ("textbox", "Target"),
            ("spinbutton", "Parallel streams"),
            ("group", "Run it in one direction, or in both"),
            ("button", "Upload"),
            ("button", "Download"),
            ("button", "Both at once"),
        ] {
            wait_for_accessible(&mut browser, role, name);
        }
    }
}

#[test]
fn the_accessibility_tree_has_all_that_the_page_shows() {
    let Some(mut browser) = Browser::start("the_accessibility_tree_has_all_that_the_page_shows")
    else {
        return;
    };
    let scene = Scene::with_probes(&[]);
    for screen in [DESKTOP, PHONE] {
        browser.show(screen, false);
        browser.open(&url(&scene, "/"));
        for (role, name) in [
            ("main", ""),
            ("banner", ""),
            ("navigation", "Pages"),
            ("region", "Targets"),
            ("region", "Now"),
            ("Iframe", "What runs now, and what has ended since"),
            (
                "table",
                "The last probe of each test, the failing ones first.",
            ),
            ("rowheader", "closed.example:5201"),
            ("cell", "1 of 1"),
            ("image", "upload, 1 probe, "),
            ("image", "1 of 1 without a result"),
            ("region", "Last probes"),
            ("heading", "iperf3 exporter"),
            ("search", "Last probes"),
            ("combobox", "Target contains"),
            ("checkbox", "Failures only"),
            ("progressbar", "Part of probe 7 that is over"),
            ("table", "The one that ended last is first."),
            ("link", "Probe 7"),
            ("rowheader", "6"),
            ("cell", "refused"),
            ("image", "upload, 25 intervals, "),
        ] {
            wait_for_accessible(&mut browser, role, name);
        }
        if screen == DESKTOP {
            wait_for_accessible(&mut browser, "columnheader", "Retransmits");
            wait_for_accessible(&mut browser, "cell", "not measured");
        }
    }
    // The changing part has a name on its page and is no live region: it does not interrupt a screen reader every two
    // seconds.
    for (path, role, name) in [
        ("/probes/7", "Iframe", "Probe 7 now"),
        ("/probes/7", "button", "Cancel the test"),
        ("/probes/7/now", "heading", "Probe 7 now"),
        (
            "/probes/7/now",
            "progressbar",
            "Part of probe 7 that is over",
        ),
    ] {
        browser.open(&url(&scene, path));
        wait_for_accessible(&mut browser, role, name);
        let live = browser
            .value("document.querySelector('[aria-live], [role=status], [role=alert], output')");
        assert_eq!(live, Value::Null, "{path}");
    }
    browser.open(&url(&scene, "/probes/6"));
    for (role, name) in [
        ("heading", "Probe 6"),
        ("image", "Bandwidth of each interval"),
        (
            "table",
            "A dash or a missing row is a value that iperf3 did not measure",
        ),
        ("columnheader", "Download"),
        ("rowheader", "Bandwidth"),
        ("link", "Older: probe 5"),
        ("button", "Run it again"),
    ] {
        wait_for_accessible(&mut browser, role, name);
    }
}
