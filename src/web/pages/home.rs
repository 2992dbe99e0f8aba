//! The page at `/`: what happens now, the form, the last probes, and what one needs to set Prometheus up.
//!
//! Must not know how the lock works: it tells what the probes in progress say of themselves.

use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime};

use super::frame::{clock, escaped, framed};
use super::list::Filter;
use super::waiting::waiting;
use super::{form, list};
use crate::duration;
use crate::probe::history::{Current, Stage};
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
