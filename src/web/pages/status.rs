//! The strip at the top of the first page: what runs and waits now, and what has ended since the page was loaded.
//!
//! It is a frame, so that the page around it stays unchanged: no table changes its order while it is read, and the
//! focus and the scroll position are kept. For the same reason nothing in the strip can take the focus. Must not know
//! how a test is run.

use std::fmt::Write as _;
use std::time::SystemTime;

use super::frame::{escaped, strip};
use super::names;
use super::progress::{bar, elapsed, rates};
use super::targets::Counts;
use crate::http::request::{Request, split_url};
use crate::http::response::Response;
use crate::number;
use crate::probe::history::{Current, Overview, Stage};
use crate::web::Site;

/// How often the strip reloads while a test runs or waits.
pub(super) const BUSY_SECONDS: u64 = 15;
/// How often the strip reloads while no test runs or waits: a scrape may start one at any time.
const IDLE_SECONDS: u64 = 60;
/// Relative URL of the first page.
const ROOT: &str = "../";

/// The frame's document. `seen` in the query is the number of probes that had ended when the page was loaded.
pub(crate) fn status(site: &Site, request: &Request<'_>) -> Response {
    let overview = site.prober.overview();
    let (_, query) = split_url(request.url);
    let seen = query.split('&').find_map(|part| part.strip_prefix("seen="));
    let mut main = String::with_capacity(1024);
    push_current(&mut main, &overview.current);
    if let Some(seen) = seen.and_then(number::whole) {
        push_news(&mut main, &overview, seen);
    }
    let seconds = if overview.current.is_empty() {
        IDLE_SECONDS
    } else {
        BUSY_SECONDS
    };
    strip("Now", ROOT, &main).with_header("Refresh", seconds.to_string())
}

/// Makes a frame reload when the request for its document was refused. Otherwise the frame would show the refusal until
/// the user reloads the page around it.
pub(crate) fn asks_again(path: &str, response: Response) -> Response {
    let is_frame = path.starts_with("/probes/") && path.ends_with("/now");
    if is_frame && matches!(response.code, 429 | 500 | 503) {
        response.with_header("Refresh", BUSY_SECONDS.to_string())
    } else {
        response
    }
}

fn push_current(main: &mut String, current: &[Current]) {
    main.push_str("<p>");
    let of =
        |is_stage: fn(&Stage) -> bool| current.iter().filter(move |probe| is_stage(&probe.stage));
    for probe in of(|stage| matches!(stage, Stage::Running { .. })) {
        let server = escaped(&probe.params.server());
        let kind = names::kind(&probe.params);
        let (words, rates, bar) = (elapsed(probe), rates(probe), bar(probe));
        let _ = write!(main, "<b>{server}</b> {kind} runs{words}{rates}.{bar} ");
    }
    let waiting = of(|stage| matches!(stage, Stage::Queued)).count();
    let pausing = of(|stage| matches!(stage, Stage::Pausing { .. })).count();
    let runs = of(|stage| matches!(stage, Stage::Running { .. })).count() > 0;
    main.push_str(match (runs, waiting) {
        (false, 0) => "No test runs or waits.",
        (true, 0) => "No other test waits.",
        (_, 1) => "1 test waits.",
        _ => "",
    });
    if waiting > 1 {
        let _ = write!(main, "{waiting} tests wait.");
    }
    if pausing > 0 {
        let _ = write!(main, " {pausing} found the server busy and will retry.");
    }
    main.push_str("</p>\n");
}

/// What has changed since the page around the frame was loaded.
fn push_news(main: &mut String, overview: &Overview, seen: u64) {
    let Some(count) = overview.ended().checked_sub(seen) else {
        main.push_str("<p><strong>The exporter was restarted.</strong> Refresh the page.</p>\n");
        return;
    };
    let new = usize::try_from(count).unwrap_or(usize::MAX);
    let new = overview.past.iter().take(new);
    let failed = new.filter(|past| past.report().is_none()).count();
    if count == 0 {
        main.push_str("<p class=\"soft\">The tables below are up to date.</p>\n");
        return;
    }
    let _ = write!(
        main,
        "<p><strong>{count} more ended, {failed} without a result:</strong> refresh to see them."
    );
    let Counts { failing, all, .. } = Counts::of(&overview.tests, SystemTime::now());
    if failing > 0 {
        let verb = if failing == 1 { "fails" } else { "fail" };
        let _ = write!(
            main,
            " <span class=\"bad\">{failing} of {all} tests {verb}</span>"
        );
    }
    main.push_str("</p>\n");
}
