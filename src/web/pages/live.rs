//! The page of a probe in progress, and the document in its frame: what changes while a test runs.
//!
//! Without scripts, only a reload shows something new. So the part that changes is a document of its own, in a frame
//! that reloads: the page around it keeps its scroll position and the keyboard focus. The frame cannot reload that
//! page, so the page reloads itself when the result is due. The frame is not sandboxed: a sandboxed document has an
//! opaque origin, for which browsers send no password, so its style sheet would be missing when authentication is on.
//! The frame's policy forbids scripts and forms anyway. Must not know how a test is run.

use std::fmt::Write as _;
use std::time::Duration;

use super::details::{
    Measure, ROOT, parameters, probe_page, push_columns, push_measures, push_metadata, push_plot,
    why,
};
use super::frame::{DAY_AND_CLOCK, embedded, escaped, framing, host, time};
use super::outcome::Outcome;
use super::{cut_off, list, progress, units};
use crate::http::response::Response;
use crate::iperf3::progress::{DirectionSeen, Seen};
use crate::probe::history::{Current, Finished, Found, Stage};
use crate::probe::params::Params;
use crate::web::{Site, csrf};

/// How often the frame reloads: about as often as a test adds an interval.
const FRAME_SECONDS: u64 = 2;
/// The shortest time until the page reloads. Most failing tests fail in their first seconds.
const SOON: Duration = Duration::from_secs(3);
/// How long after its planned end most tests have their result: the time to connect and to exchange results.
const OVERHEAD: Duration = Duration::from_secs(1);
/// When the page reloads if the test's end is not known.
const UNKNOWN: Duration = Duration::from_secs(15);
/// Relative URL of the first page, from the frame's document.
const FRAME_ROOT: &str = "../../";

/// The page of a probe in progress.
pub(crate) fn in_progress(site: &Site, probe: &Current) -> Response {
    let number = probe.number;
    let mut main = String::with_capacity(4096);
    let mut left = String::new();
    let mut metadata = vec![("Target", host(&probe.params.server()))];
    metadata.extend(parameters(&probe.params));
    metadata.push(("Began (UTC)", time(probe.began, DAY_AND_CLOCK)));
    metadata.push(("Requested by", probe.client.ip().to_string()));
    if probe.attempts > 0 {
        metadata.push(("Attempts before", probe.attempts.to_string()));
    }
    push_metadata(&mut left, &metadata);
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
    framing(page).with_header("Refresh", refresh_after(probe).as_secs().to_string())
}

/// When the page reloads. A reload loses the keyboard focus, so it waits until there may be a result.
fn refresh_after(probe: &Current) -> Duration {
    let params = &probe.params;
    let left = match &probe.stage {
        Stage::Running { progress, .. } if probe.since.elapsed() >= SOON => {
            let left = progress.look().left();
            left.map_or(UNKNOWN, |left| left + OVERHEAD)
        }
        Stage::Running { .. } => SOON,
        // The whole test is still to come.
        Stage::Queued | Stage::Pausing { .. } => params
            .length_seconds(params.period_seconds)
            .map_or(UNKNOWN, Duration::from_secs),
    };
    left.max(SOON)
}

/// The document in the frame. It reloads while the probe is in progress.
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

/// The frame's document with one message and a link to the first page.
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
        "<p>The test has ended: {outcome}. \
         <a href=\"{ROOT}{number}\" target=\"_top\">Show all of it</a></p>"
    );
    let why = why(past);
    if !why.is_empty() {
        push_metadata(main, &why);
    }
    // The plot that the frame showed a moment ago stays.
    match past.cut_off() {
        Some(cut_off) => cut_off::push(main, cut_off, &past.params),
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
        push_seen(main, &progress.look(), &probe.params);
    }
}

/// The values shown for each direction during the test.
const MEASURES: &[Measure<DirectionSeen>] = &[
    ("Bandwidth, last interval", |seen| {
        Some(units::bit_rate(seen.latest?.bytes_per_second))
    }),
    ("Transferred", |seen| Some(units::bytes(seen.bytes))),
];

/// The measurements so far.
fn push_seen(main: &mut String, seen: &Seen, params: &Params) {
    let directions = seen.directions();
    if seen.started.is_some() && !seen.is_streaming {
        main.push_str(
            "<p>The installed iperf3 reports nothing before the end of the test. Version 3.18 and later report each \
             interval.</p>\n",
        );
    } else if directions.iter().all(Option::is_none) {
        main.push_str("<p>No interval has ended so far.</p>\n");
    }
    let caption = "So far, as counted by the client.";
    push_measures(main, "", caption, MEASURES, directions);
    let _ = writeln!(main, "{}", cut_off::plot_so_far(seen, params));
}
