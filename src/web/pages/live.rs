//! The page of a probe in progress, and the document in its frame: what changes while a test runs.
//!
//! Without a script only a document that is loaded anew shows something new. So what changes is one of its own, in a
//! frame: the page around it keeps its scroll position and the keyboard's focus. A frame cannot load the page around
//! it, so that looks for the result itself, when it is to be there. The frame is not sandboxed: its document would have
//! an origin of its own, for which browsers send no password, so that it had no style where one is asked for; its policy
//! forbids scripts and forms. Must not know how a test is run.

use std::fmt::Write as _;
use std::time::Duration;

use super::details::{
    Measure, ROOT, parameters, probe_page, push_columns, push_facts, push_measures, push_plot, why,
};
use super::frame::{DAY_AND_CLOCK, embedded, escaped, framing, host, time};
use super::outcome::Outcome;
use super::{cut_off, list, plot, progress, units};
use crate::http::response::Response;
use crate::iperf3::progress::{DirectionSeen, Seen};
use crate::probe::history::{Current, Finished, Found, Stage};
use crate::probe::params::Params;
use crate::web::{Site, csrf};

/// How often the frame is loaded anew: about as often as there is an interval more.
const FRAME_SECONDS: u64 = 2;
/// How soon the page looks for a result: a test that fails does so mostly in its first seconds.
const SOON: Duration = Duration::from_secs(3);
/// How long behind its planned end a test may have its result, in most cases: connecting, and the exchange of results.
const OVERHEAD: Duration = Duration::from_secs(1);
/// How soon the page looks again where nothing says when a test ends.
const UNKNOWN: Duration = Duration::from_secs(15);
/// Where the first page is, from the frame's document.
const FRAME_ROOT: &str = "../../";

/// The page of a probe in progress.
pub(crate) fn in_progress(site: &Site, probe: &Current) -> Response {
    let number = probe.number;
    let mut main = String::with_capacity(4096);
    let mut left = String::new();
    let mut facts = vec![("Target", host(&probe.params.server()))];
    facts.extend(parameters(&probe.params));
    facts.push(("Began (UTC)", time(probe.began, DAY_AND_CLOCK)));
    facts.push(("Asked by", probe.client.ip().to_string()));
    if probe.attempts > 0 {
        facts.push(("Attempts before", probe.attempts.to_string()));
    }
    push_facts(&mut left, &facts);
    if probe.can_be_stopped() {
        let (field, token) = (csrf::FIELD, &site.csrf.0);
        let _ = writeln!(
            left,
            "<form action=\"{number}/stop?{field}={token}\" method=\"post\"><button type=\"submit\">Cancel the test</button></form>"
        );
    }
    let right = format!(
        "<p class=\"soft\">This part reloads every {FRAME_SECONDS} seconds, the page at the planned end.</p>\n\
         <iframe class=\"live\" src=\"{number}/now\" title=\"Probe {number} now\"></iframe>\n"
    );
    push_columns(&mut main, &left, &right);
    let page = probe_page(number, ", in progress", "", &main);
    framing(page).with_header("Refresh", look_again(probe).as_secs().to_string())
}

/// When the page is worth loading anew: it takes the focus with it, so at the earliest when there may be a result.
fn look_again(probe: &Current) -> Duration {
    let params = &probe.params;
    let left = match &probe.stage {
        Stage::Running { progress, .. } if probe.since.elapsed() >= SOON => {
            let left = progress.look().left();
            left.map_or(UNKNOWN, |left| left + OVERHEAD)
        }
        Stage::Running { .. } => SOON,
        // It has all of its test before it.
        Stage::Queued | Stage::Pausing { .. } => params
            .length_seconds(params.period_seconds)
            .map_or(UNKNOWN, Duration::from_secs),
    };
    left.max(SOON)
}

/// The document in the frame; it looks again as long as the probe is in progress.
pub(crate) fn now(site: &Site, number: u64, found: &Found) -> Response {
    let mut main = String::with_capacity(8192);
    match found {
        Found::Current(probe) => push_current(&mut main, site, probe),
        Found::Finished(past) => push_ended(&mut main, past),
    }
    let title = format!("Probe {number} now");
    let response = embedded(200, &title, FRAME_ROOT, &main);
    match found {
        Found::Current(_) => response.with_header("Refresh", FRAME_SECONDS.to_string()),
        Found::Finished(_) => response,
    }
}

/// The frame's document that says one thing, and leads to the first page.
pub(crate) fn nothing_now(code: u16, line: &str) -> Response {
    let main = format!(
        "<p>{}</p>\n<p><a href=\"{FRAME_ROOT}\" target=\"_top\">To the first page</a></p>\n",
        escaped(line)
    );
    embedded(code, "Not found", FRAME_ROOT, &main)
}

fn push_ended(main: &mut String, past: &Finished) {
    let (outcome, number) = (Outcome::of(past).badge(), past.number);
    let _ = writeln!(
        main,
        "<p>It has ended: {outcome}. \
         <a href=\"{ROOT}{number}\" target=\"_top\">Show all of it</a></p>"
    );
    let why = why(past);
    if !why.is_empty() {
        push_facts(main, &why);
    }
    // What was seen of it a moment ago stays.
    match past.cut_off() {
        Some(cut_off) => cut_off::push(main, cut_off, omitted(&past.params)),
        None => push_plot(main, list::directions(past)),
    }
}

fn push_current(main: &mut String, site: &Site, probe: &Current) {
    let _ = write!(main, "<p>It {}", progress::stage(probe));
    let current = site.prober.overview().current;
    let queue = progress::waiting(&site.prober, &current);
    if let Some(before) = queue.iter().position(|other| other.number == probe.number) {
        let _ = write!(main, ", at place {} of {}", before + 1, queue.len());
    }
    let _ = writeln!(main, ".{}</p>", progress::bar(probe));
    if let Stage::Running { progress, .. } = &probe.stage {
        push_seen(main, &progress.look(), omitted(&probe.params));
    }
}

/// What passes before the first interval counts.
fn omitted(params: &Params) -> Duration {
    Duration::from_secs(params.options.omit_seconds)
}

/// What is shown of each direction while it is measured.
const MEASURES: &[Measure<DirectionSeen>] = &[
    ("Bandwidth, last interval", |seen| {
        Some(units::bit_rate(seen.latest?.bytes_per_second))
    }),
    ("Transferred", |seen| Some(units::bytes(seen.bytes))),
];

/// What has been measured so far. The plot has room for all of the test: its line grows into it.
fn push_seen(main: &mut String, seen: &Seen, omitted: Duration) {
    let directions = seen.directions();
    if seen.started.is_some() && !seen.is_streaming {
        main.push_str(
            "<p>Only the time is known: the installed iperf3 says nothing else before its end. Version 3.18 and later \
             tell each interval.</p>\n",
        );
    } else if directions.iter().all(Option::is_none) {
        main.push_str("<p>No interval has ended so far.</p>\n");
    }
    let caption = "So far, as counted by the client.";
    push_measures(main, "", caption, MEASURES, directions);
    let [upload, download] = directions
        .map(|direction| direction.map_or(&[][..], |direction| direction.intervals.as_slice()));
    let length = seen.length.unwrap_or_default().saturating_sub(omitted);
    let plot = plot::plot(upload, download, length.as_secs_f64());
    let _ = writeln!(main, "{plot}");
}
