//! The page at `/`: the targets, the probes in progress, the form, the last probes, and an example configuration for
//! Prometheus.
//!
//! Owns their order, and decides when to warn that many probes did not run. Must not know how the lock works.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::SystemTime;

use super::frame::{CLOCK, escaped, framing, name, page, time};
use super::list::Filter;
use super::progress::{bar, rates, stage, waiting};
use super::targets::Counts;
use super::{form, list, status, targets};
use crate::http::request::{Request, split_url};
use crate::http::response::Response;
use crate::probe::history::{Current, Finished, Stage};
use crate::probe::prober::Prober;
use crate::probe::wait_error::WaitError;
use crate::web::{Site, answer_text};

/// Maximum number of probes or targets that a list names: a fleet may have hundreds of them.
const NAMED: usize = 20;

pub(crate) fn home(site: &Site, request: &Request<'_>) -> Response {
    let overview = site.prober.overview();
    let (_, query) = split_url(request.url);
    let filter = Filter::parse(query);
    let mut main = String::with_capacity(64 * 1024);
    push_head(&mut main, &filter, overview.ended());
    targets::push(&mut main, &overview, &filter);
    main.push_str("</section>\n");
    push_not_run(&mut main, &overview.past);
    push_now(&mut main, &site.prober, &overview.current);
    // Before the first probe the form is the only useful part of the page.
    let is_open = filter.has_form || overview.tests.is_empty();
    form::push_form(&mut main, &site.csrf, is_open);
    list::push(&mut main, &overview, &site.refusals.last(), &filter);
    form::push_reference(&mut main, site);
    // The number of failing tests comes first, so that a narrow browser tab shows it.
    let title = match Counts::of(&overview.tests, SystemTime::now()).failing {
        0 => "Targets".to_owned(),
        failing => format!("{failing} failing"),
    };
    let page = framing(page(200, &title, "./", &header(site), &main));
    if filter.is_refreshing {
        page.with_header("Refresh", status::BUSY_SECONDS.to_string())
    } else {
        page
    }
}

fn header(site: &Site) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut header = format!(
        "<div class=\"line\"><h1>{}</h1>\n<nav aria-label=\"Pages\"><ul>\n\
         <li><a href=\"./?form=true#form\">Run a test</a></li>\n",
        name()
    );
    for (path, name) in [
        (site.telemetry_path.as_str(), "Metrics of the exporter"),
        ("/lock-status", "Test lock and queue"),
        ("/health", "Health"),
        ("/ready", "Readiness"),
    ] {
        // The dot makes the path relative.
        let _ = writeln!(header, "<li><a href=\".{}\">{name}</a></li>", escaped(path));
    }
    let _ = writeln!(
        header,
        "</ul></nav></div>\n<p class=\"soft\">Version {version}. Runs iperf3 against a target on each scrape; one test at a \
         time.</p>"
    );
    header
}

/// The frame with the current state, then the time of this page and the links that refresh it.
fn push_head(page: &mut String, filter: &Filter, ended: u64) {
    let now = time(SystemTime::now(), CLOCK);
    let seconds = status::BUSY_SECONDS;
    let other = if filter.is_refreshing {
        "Stop refreshing".to_owned()
    } else {
        format!("Refresh every {seconds} s")
    };
    let query = filter.query_refreshing(!filter.is_refreshing);
    let _ = writeln!(
        page,
        "<iframe class=\"status\" tabindex=\"-1\" src=\"probes/now?seen={ended}\" title=\"What runs now, and what has ended since\"></iframe>\n\
         <section aria-labelledby=\"targets\">\n<div class=\"line\"><h2 id=\"targets\">Targets</h2> <span class=\"soft\">as of {now} UTC</span> \
         <a href=\"\">Refresh</a> <a href=\"./?{query}\">{other}</a></div>"
    );
}

/// Warns that many of the last probes did not run, with the reason and the remedy. Writes nothing if only a few did
/// not.
fn push_not_run(page: &mut String, past: &[Arc<Finished>]) {
    /// Fewer may be coincidence just after the start.
    const FEWEST: usize = 3;
    /// The page warns from this percentage of the remembered probes.
    const PERCENT: usize = 10;
    let of = |is_kind: fn(&WaitError) -> bool| -> Vec<&Finished> {
        let past = past.iter().map(|past| &**past);
        past.filter(|past| past.end.as_ref().is_err_and(is_kind))
            .collect()
    };
    let no_time = of(|why| matches!(why, WaitError::NoTimeLeft { .. }));
    let too_long = of(|why| matches!(why, WaitError::WaitedTooLong { .. }));
    let (count, all) = (no_time.len() + too_long.len(), past.len());
    if count < FEWEST || count * 100 < all * PERCENT {
        return;
    }
    let (why, helps) = match (no_time.len(), too_long.len()) {
        (_, 0) => (
            "not enough scrape timeout".to_owned(),
            "a longer scrape timeout or interval, or <code>max_age</code>",
        ),
        (0, _) => (
            "longer in the queue than --lock.timeout".to_owned(),
            "a longer scrape interval or <code>--lock.timeout</code>",
        ),
        (no_time, too_long) => (
            format!(
                "not enough scrape timeout ({no_time}), longer in the queue than --lock.timeout ({too_long})"
            ),
            "a longer scrape interval, or <code>max_age</code>",
        ),
    };
    let _ = writeln!(
        page,
        "<p><strong>{count} of the last {all} probes did not run: {why}.</strong> \
         <a href=\"./?failures=true#last\">Show them</a>. This helps: {helps}.</p>"
    );
    push_starving(page, past, &[no_time, too_long].concat());
}

/// Names the tests of probes that did not run, if none of their other probes ran.
fn push_starving(page: &mut String, past: &[Arc<Finished>], not_run: &[&Finished]) {
    let ran = past.iter().filter(|past| past.end.is_ok());
    let ran: BTreeSet<String> = ran.map(|past| test_name(past)).collect();
    let tests = not_run.iter().map(|past| test_name(past));
    let starving: BTreeSet<String> = tests.filter(|test| !ran.contains(test)).collect();
    if starving.is_empty() {
        return;
    }
    let more = match starving.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let named = starving.iter().take(NAMED).map(|test| escaped(test));
    let named = named.collect::<Vec<_>>().join(", ");
    let _ = writeln!(page, "<p>Of these targets no probe ran: {named}{more}.</p>");
}

/// A target with the parameters of its test. Several jobs may test one target, and only one of them may starve.
fn test_name(past: &Finished) -> String {
    let others = past.params.displayed().into_iter();
    let others: Vec<_> = others.filter(|(name, _)| *name != "port").collect();
    match &*others {
        [] => past.params.server(),
        others => format!("{} ({})", past.params.server(), answer_text::pairs(others)),
    }
}

fn push_now(page: &mut String, prober: &Prober, current: &[Current]) {
    page.push_str("<section aria-labelledby=\"now\">\n<h2 id=\"now\">Now</h2>\n");
    if current.is_empty() {
        page.push_str("<p>No test runs or waits.</p>\n");
    }
    let all = current.iter();
    let running = all
        .clone()
        .filter(|probe| matches!(probe.stage, Stage::Running { .. }));
    let waiting = waiting(prober, current);
    let pausing = all.filter(|probe| matches!(probe.stage, Stage::Pausing { .. }));
    for (title, list, probes) in [
        ("Running", "ul", running.collect()),
        ("Waiting, the next one first", "ol", waiting),
        ("Pausing before the next attempt", "ul", pausing.collect()),
    ] {
        if probes.is_empty() {
            continue;
        }
        let _ = writeln!(page, "<h3>{title}</h3>\n<{list}>");
        for probe in probes.iter().take(NAMED) {
            let number = probe.number;
            let server = escaped(&probe.params.server());
            let (stage, rates, bar) = (stage(probe), rates(probe), bar(probe));
            let _ = writeln!(
                page,
                "<li><a href=\"probes/{number}\">Probe {number}</a> of <b>{server}</b> {stage}{rates}{bar}</li>"
            );
        }
        let _ = writeln!(page, "</{list}>");
        if probes.len() > NAMED {
            let _ = writeln!(page, "<p>And {} more.</p>", probes.len() - NAMED);
        }
    }
    page.push_str("</section>\n");
}
