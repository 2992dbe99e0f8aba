//! The page at `/`: what happens now, the form, the last probes, and what one needs to set Prometheus up.
//!
//! Must not know how the lock works: it tells what the probes in progress say of themselves.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::frame::{clock, escaped, framed};
use super::list::Filter;
use super::waiting::waiting;
use super::{form, list};
use crate::duration;
use crate::probe::history::{Current, Finished, Stage};
use crate::probe::wait_error::WaitError;
use crate::web::site::Site;

/// Most waiting probes that are named: a fleet may have some hundred of them.
const NAMED: usize = 20;

/// The page at `/`.
pub(crate) fn home(site: &Site, query: &str) -> String {
    let overview = site.prober.overview();
    let version = env!("CARGO_PKG_VERSION");
    let mut header = format!(
        "<h1>iperf3 exporter</h1>\n\
         <p>Version {version}. Runs iperf3 against a target on each scrape; one test at a time.</p>\n\
         <nav aria-label=\"Pages\"><ul>\n"
    );
    for (path, name) in links(site) {
        // With its dot it is relative.
        let _ = writeln!(header, "<li><a href=\".{}\">{name}</a></li>", escaped(path));
    }
    header.push_str("</ul></nav>\n");
    let mut main = String::with_capacity(16 * 1024);
    push_not_run(&mut main, &overview.past);
    push_now(&mut main, site, &overview.current);
    form::push_form(&mut main, &site.csrf);
    list::push(&mut main, &overview, &Filter::parse(query));
    form::push_reference(&mut main, site);
    framed("Probes", "./", &header, &main)
}

/// Where the page leads.
fn links(site: &Site) -> [(&str, &'static str); 4] {
    [
        (&site.paths.telemetry, "Metrics of the exporter"),
        ("/lock-status", "Test lock and queue"),
        ("/health", "Health"),
        ("/ready", "Readiness"),
    ]
}

/// Says that many of the last probes did not run, why, and what helps; nothing as long as they are few.
fn push_not_run(page: &mut String, past: &[Arc<Finished>]) {
    /// Fewer may be chance, just after a start.
    const FEWEST: usize = 3;
    /// So many of a hundred are worth a line.
    const PERCENT: usize = 10;
    let of = |is_kind: fn(&WaitError) -> bool| {
        let kind = move |past: &&Arc<Finished>| past.end.as_ref().is_err_and(is_kind);
        past.iter().filter(kind)
    };
    let no_time = of(|why| matches!(why, WaitError::NoTimeLeft { .. }));
    let too_long = of(|why| matches!(why, WaitError::WaitedTooLong { .. }));
    let (no_time_count, too_long_count) = (no_time.clone().count(), too_long.clone().count());
    let (count, all) = (no_time_count + too_long_count, past.len());
    if count < FEWEST || count * 100 < all * PERCENT {
        return;
    }
    let (why, helps) = match (no_time_count, too_long_count) {
        (_, 0) => (
            "not enough scrape timeout".to_owned(),
            "a longer scrape timeout or interval, or <code>max_age</code>",
        ),
        (0, _) => (
            "longer in line than --lock.timeout".to_owned(),
            "a longer scrape interval or <code>--lock.timeout</code>",
        ),
        (no_time, too_long) => (
            format!(
                "not enough scrape timeout ({no_time}), longer in line than --lock.timeout ({too_long})"
            ),
            "a longer scrape interval, or <code>max_age</code>",
        ),
    };
    let _ = writeln!(
        page,
        "<p><strong>{count} of the last {all} probes did not run: {why}.</strong> \
         <a href=\"./?failures=true#last\">Show them</a>. What helps: {helps}.</p>"
    );
    let ran: BTreeSet<String> = past
        .iter()
        .filter(|past| past.end.is_ok())
        .map(|past| past.params.server())
        .collect();
    let servers = no_time.chain(too_long).map(|past| past.params.server());
    let starving: BTreeSet<String> = servers.filter(|server| !ran.contains(server)).collect();
    if !starving.is_empty() {
        let more = match starving.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let named = starving.iter().take(NAMED).map(|server| escaped(server));
        let named = named.collect::<Vec<_>>().join(", ");
        let _ = writeln!(page, "<p>Of these targets no probe ran: {named}{more}.</p>");
    }
}

/// Who runs, who waits in which order, and who pauses before the next attempt.
fn push_now(page: &mut String, site: &Site, current: &[Current]) {
    page.push_str("<section aria-labelledby=\"now\">\n<h2 id=\"now\">Now</h2>\n");
    if current.is_empty() {
        page.push_str("<p>No test is running, and nobody waits.</p>\n");
    }
    let of = |stage: fn(&Stage) -> bool| current.iter().filter(move |probe| stage(&probe.stage));
    let running = of(|stage| matches!(stage, Stage::Running { .. })).collect();
    push_group(page, "Running", "ul", running);
    let waiting = waiting(&site.prober, current);
    push_group(page, "Waiting, first in line first", "ol", waiting);
    let pausing = of(|stage| matches!(stage, Stage::Pausing { .. })).collect();
    push_group(page, "Pausing before the next attempt", "ul", pausing);
    let _ = write!(
        page,
        "<p class=\"soft\">As of {} UTC. <a href=\"\">Look again</a></p>\n</section>\n",
        clock(SystemTime::now())
    );
}

fn push_group(page: &mut String, title: &str, list: &str, probes: Vec<&Current>) {
    if probes.is_empty() {
        return;
    }
    let more = probes.len().saturating_sub(NAMED);
    let _ = write!(page, "<h3>{title}</h3>\n<{list}>\n");
    for probe in probes.into_iter().take(NAMED) {
        let number = probe.number;
        let _ = writeln!(
            page,
            "<li><a href=\"probes/{number}\">Probe {number}</a> of <b>{}</b> {}</li>",
            escaped(&probe.params.server()),
            stage(probe)
        );
    }
    let _ = writeln!(page, "</{list}>");
    if more > 0 {
        let _ = writeln!(page, "<p>And {more} more.</p>");
    }
}

/// What a probe in progress does, as the end of a sentence about it.
pub(super) fn stage(probe: &Current) -> String {
    let so_far = probe.since.elapsed();
    let since = format!("since {} UTC", clock(probe.since.clock));
    if let (Stage::Running { .. }, Some(cause)) = (&probe.stage, probe.stopping()) {
        return format!("is being stopped: {cause}");
    }
    match probe.stage {
        Stage::Queued => format!("waits {since}, for {}", whole(so_far)),
        Stage::Running { port, .. } => {
            let rest = match probe.test_length() {
                Some(length) => format!(
                    "the test alone takes {} \
                     <progress aria-label=\"Part of probe {} that is over\" max=\"{}\" value=\"{}\"></progress>",
                    whole(length),
                    probe.number,
                    length.as_secs().max(1),
                    so_far.min(length).as_secs(),
                ),
                None => "how long its bytes take will be seen".to_owned(),
            };
            let so_far = whole(so_far);
            format!("runs on port {port} {since}, for {so_far}; {rest}")
        }
        Stage::Pausing { until } => {
            let left = until.saturating_duration_since(Instant::now());
            let until = SystemTime::now().checked_add(left);
            format!(
                "found the server busy, and asks again at {} UTC, in {} (attempts so far: {})",
                clock(until.unwrap_or(SystemTime::UNIX_EPOCH)),
                whole(left),
                probe.attempts
            )
        }
    }
}

/// Whole seconds: more would only be noise on a page.
pub(super) fn whole(time: Duration) -> String {
    duration::format(Duration::from_secs(time.as_secs()))
}
