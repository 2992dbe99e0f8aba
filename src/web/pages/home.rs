//! The page at `/`: what happens now, the form, the last probes, and what one needs to set Prometheus up.
//!
//! Must not know how the lock works: it tells what the probes in progress say of themselves.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::frame::{CLOCK, escaped, page, time};
use super::list::Filter;
use super::{form, list, units};
use crate::duration;
use crate::http::request::{Request, split_url};
use crate::http::response::Response;
use crate::moment::Moment;
use crate::probe::history::{Current, Finished, Stage};
use crate::probe::prober::Prober;
use crate::probe::wait_error::WaitError;
use crate::web::{Site, answer_text};

/// Most waiting probes that are named: a fleet may have some hundred of them.
const NAMED: usize = 20;

pub(crate) fn home(site: &Site, request: &Request<'_>) -> Response {
    let overview = site.prober.overview();
    let version = env!("CARGO_PKG_VERSION");
    let mut header = format!(
        "<h1>iperf3 exporter</h1>\n\
         <p>Version {version}. Runs iperf3 against a target on each scrape; one test at a time.</p>\n\
         <nav aria-label=\"Pages\"><ul>\n"
    );
    for (path, name) in [
        (site.telemetry_path.as_str(), "Metrics of the exporter"),
        ("/lock-status", "Test lock and queue"),
        ("/health", "Health"),
        ("/ready", "Readiness"),
    ] {
        // With its dot it is relative.
        let _ = writeln!(header, "<li><a href=\".{}\">{name}</a></li>", escaped(path));
    }
    header.push_str("</ul></nav>\n");
    let mut main = String::with_capacity(16 * 1024);
    push_not_run(&mut main, &overview.past);
    push_now(&mut main, &site.prober, &overview.current);
    form::push_form(&mut main, &site.csrf);
    let (_, query) = split_url(request.url);
    let refused = site.refusals.last();
    list::push(&mut main, &overview, &refused, &Filter::parse(query));
    form::push_reference(&mut main, site);
    page(200, "Probes", "./", &header, &main)
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
        .map(|past| test_name(past))
        .collect();
    let tests = no_time.chain(too_long).map(|past| test_name(past));
    let starving: BTreeSet<String> = tests.filter(|test| !ran.contains(test)).collect();
    if !starving.is_empty() {
        let more = match starving.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let named = starving.iter().take(NAMED).map(|test| escaped(test));
        let named = named.collect::<Vec<_>>().join(", ");
        let _ = writeln!(page, "<p>Of these targets no probe ran: {named}{more}.</p>");
    }
}

/// A target with what is asked of it: of three jobs that measure to one target, each may starve alone.
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
        page.push_str("<p>No test is running, and nobody waits.</p>\n");
    }
    let all = current.iter();
    let running = all
        .clone()
        .filter(|probe| matches!(probe.stage, Stage::Running { .. }));
    let waiting = waiting(prober, current);
    let pausing = all.filter(|probe| matches!(probe.stage, Stage::Pausing { .. }));
    for (title, list, probes) in [
        ("Running", "ul", running.collect()),
        ("Waiting, first in line first", "ol", waiting),
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
    let now = time(SystemTime::now(), CLOCK);
    let _ = writeln!(
        page,
        "<p class=\"soft\">As of {now} UTC. <a href=\"\">Look again</a></p>\n</section>"
    );
}

/// Those that wait for the test lock, first in line first. The lock knows the order: neither the numbers nor the
/// moments have it when many come at once.
pub(super) fn waiting<'a>(prober: &Prober, current: &'a [Current]) -> Vec<&'a Current> {
    let queue = prober.lock_status().queue;
    let mut waiting: Vec<&Current> = current.iter().collect();
    waiting.retain(|probe| matches!(probe.stage, Stage::Queued));
    waiting.sort_by_key(|probe| {
        let place = queue.iter().position(|place| place.probe == probe.number);
        place.unwrap_or(usize::MAX)
    });
    waiting
}

/// What a probe in progress does, as the end of a sentence about it.
pub(super) fn stage(probe: &Current) -> String {
    if let (Stage::Running { .. }, Some(cause)) = (&probe.stage, probe.stopping()) {
        return format!("is being stopped: {cause}");
    }
    match &probe.stage {
        Stage::Queued => format!("waits {}", since(&probe.since)),
        Stage::Running { port, progress } => {
            let seen = progress.look();
            let since = since(&seen.started.unwrap_or(probe.since));
            let elapsed = seen.elapsed().as_secs();
            let rest = match seen.length {
                Some(length) => format!(
                    "the test alone takes {}, {} left",
                    whole(length),
                    // What is over and what is left are the whole.
                    duration::format(Duration::from_secs(
                        length.as_secs().saturating_sub(elapsed)
                    )),
                ),
                None => "how long its bytes take will be seen".to_owned(),
            };
            format!("runs on port {port} {since}; {rest}")
        }
        Stage::Pausing { until } => {
            let left = until.saturating_duration_since(Instant::now());
            format!(
                "found the server busy, and asks again at {} UTC, in {} (attempts so far: {})",
                time(SystemTime::now() + left, CLOCK),
                whole(left),
                probe.attempts
            )
        }
    }
}

/// How far a test is that runs, as a bar behind its sentence; nothing where no length is planned.
pub(super) fn bar(probe: &Current) -> String {
    let (Stage::Running { progress, .. }, None) = (&probe.stage, probe.stopping()) else {
        return String::new();
    };
    let seen = progress.look();
    seen.length.map_or_else(String::new, |length| {
        format!(
            " <progress aria-label=\"Part of probe {} that is over\" max=\"{}\" value=\"{}\"></progress>",
            probe.number,
            length.as_secs().max(1),
            seen.elapsed().min(length).as_secs(),
        )
    })
}

/// `since 20:52:04 UTC, for 12s`.
fn since(moment: &Moment) -> String {
    let so_far = whole(moment.elapsed());
    format!("since {} UTC, for {so_far}", time(moment.clock, CLOCK))
}

/// The rate of each direction's last interval; nothing as long as there is none.
fn rates(probe: &Current) -> String {
    let mut text = String::new();
    let Stage::Running { progress, .. } = &probe.stage else {
        return text;
    };
    for (name, direction) in ["up", "down"].into_iter().zip(progress.look().directions()) {
        if let Some(latest) = direction.and_then(|direction| direction.latest) {
            let rate = units::bit_rate(latest.bytes_per_second);
            let _ = write!(text, ", {rate} {name}");
        }
    }
    text
}

/// Whole seconds: more would only be noise on a page.
fn whole(time: Duration) -> String {
    duration::format(Duration::from_secs(time.as_secs()))
}
