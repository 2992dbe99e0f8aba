//! The page of one probe: where it stands, or all that is remembered of how it went.
//!
//! Must not know how a value was measured. What is secret in a command line is hidden where that is built.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use super::frame::{escaped, framed, instant, moment};
use super::waiting::waiting;
use super::{form, home, list, plot, units};
use crate::duration;
use crate::iperf3::RunDetails;
use crate::iperf3::report::Direction;
use crate::iperf3::report::tcp::{Rtt, Tcp};
use crate::iperf3::report::udp::Udp;
use crate::probe::answer::{Answer, CompletedTest};
use crate::probe::history::{Current, Finished, Found, Stage};
use crate::probe::params::Params;
use crate::web::csrf::{self, CsrfToken};
use crate::web::debug;
use crate::web::exposition;
use crate::web::site::Site;

/// From a probe's page to the first one.
const ROOT: &str = "../";

/// How often a page of a probe in progress is loaded anew. Seldom enough to come to its button with the keyboard.
const LOOK_SECONDS: u64 = 3;

/// A probe's details.
pub(crate) struct Details {
    /// The page.
    pub(crate) page: String,
    /// When to look again; none once the probe has ended.
    pub(crate) refresh_seconds: Option<u64>,
}

/// The details of one probe.
pub(crate) fn details(site: &Site, found: &Found) -> Details {
    match found {
        Found::Current(probe) => Details {
            page: in_progress(site, probe),
            refresh_seconds: Some(look_seconds(probe)),
        },
        Found::Finished(past) => Details {
            page: ended(site, past),
            refresh_seconds: None,
        },
    }
}

/// The page's head: the number, and the way back.
fn header(number: u64, links: &str) -> String {
    format!(
        "<nav aria-label=\"Probes\"><ul>\n<li><a href=\"{ROOT}\">All probes</a></li>\n{links}</ul></nav>\n\
         <h1>Probe {number}</h1>\n"
    )
}

fn push_fact(page: &mut String, name: &str, value: &str) {
    let _ = writeln!(page, "<div><dt>{name}</dt><dd>{value}</dd></div>");
}

/// What holds for a probe from its beginning on.
fn push_request(page: &mut String, params: &Params) {
    let shown = params.displayed();
    if !shown.is_empty() {
        let words = shown.iter().map(|(name, value)| format!("{name}={value}"));
        let words = escaped(&words.collect::<Vec<_>>().join(" "));
        push_fact(page, "Parameters", &format!("<code>{words}</code>"));
    }
}

/// At the end of the test, or in a while.
fn look_seconds(probe: &Current) -> u64 {
    probe.test_length().map_or(LOOK_SECONDS, |length| {
        let left = length.saturating_sub(probe.since.elapsed());
        (left.as_secs() + 1).min(LOOK_SECONDS)
    })
}

fn in_progress(site: &Site, probe: &Current) -> String {
    let number = probe.number;
    let mut page = String::with_capacity(4096);
    let place = match probe.stage {
        Stage::Queued => {
            let current = site.prober.overview().current;
            let queue = waiting(&site.prober, &current);
            let place = queue.iter().position(|other| other.number == number);
            place.map_or(String::new(), |before| {
                format!(", at place {} of {}", before + 1, queue.len())
            })
        }
        Stage::Running { .. } | Stage::Pausing { .. } => String::new(),
    };
    let _ = writeln!(page, "<p>It {}{place}.</p>", home::stage(probe));
    if probe.can_be_stopped() {
        let _ = writeln!(
            page,
            "<form action=\"{number}/stop?{}={}\" method=\"post\"><button type=\"submit\">Stop it</button></form>",
            csrf::NAME,
            site.csrf.text()
        );
    }
    page.push_str("<dl>\n");
    push_fact(&mut page, "Target", &escaped(&probe.params.server()));
    push_request(&mut page, &probe.params);
    push_fact(&mut page, "Began (UTC)", &moment(probe.began));
    push_fact(&mut page, "Asked by", &probe.client.ip().to_string());
    if probe.attempts > 0 {
        push_fact(&mut page, "Attempts before", &probe.attempts.to_string());
    }
    page.push_str(
        "</dl>\n<p class=\"soft\">This page loads itself anew until the result is here.</p>\n",
    );
    let title = format!("Probe {number}, in progress");
    framed(&title, ROOT, &header(number, ""), &page)
}

fn ended(site: &Site, past: &Arc<Finished>) -> String {
    let number = past.number;
    let mut page = String::with_capacity(16 * 1024);
    push_summary(&mut page, past, &site.csrf);
    if let Ok(answer) = &past.end {
        let ways = list::ways(list::report(past));
        let [upload, download] = ways.map(|way| way.map_or(&[][..], |way| &way.intervals));
        let plot = plot::plot(upload, download);
        if !plot.is_empty() {
            let _ = writeln!(page, "<h2>Bandwidth over time</h2>\n{plot}");
            let is_merged = |way: &&Direction| {
                way.rates
                    .is_some_and(|rates| rates.count > way.intervals.len() as f64)
            };
            if ways.iter().flatten().any(is_merged) {
                page.push_str(
                    "<p class=\"soft\">Each step is the mean of neighbouring intervals: there were more than fit.</p>\n",
                );
            }
        }
        push_measures(&mut page, ways);
        push_run_details(&mut page, &answer.completed);
        push_metrics(&mut page, site, past, answer);
    }
    let header = header(number, &neighbours(site, past));
    framed(&format!("Probe {number}"), ROOT, &header, &page)
}

/// Links to the probes that ended before and after this one.
fn neighbours(site: &Site, past: &Arc<Finished>) -> String {
    let all = site.prober.overview().past;
    let place = all.iter().position(|other| other.number == past.number);
    let at = |place: Option<usize>| place.and_then(|place| all.get(place));
    let mut links = String::new();
    for (name, neighbour) in [
        ("Newer", at(place.and_then(|place| place.checked_sub(1)))),
        ("Older", at(place.map(|place| place + 1))),
    ] {
        if let Some(neighbour) = neighbour {
            let number = neighbour.number;
            let _ = writeln!(
                links,
                "<li><a href=\"{number}\">{name}: probe {number}</a></li>"
            );
        }
    }
    links
}

fn push_summary(page: &mut String, past: &Finished, key: &CsrfToken) {
    let (class, outcome) = list::outcome(past);
    page.push_str("<dl>\n");
    push_fact(page, "Target", &escaped(&list::server(past)));
    push_request(page, &past.params);
    push_fact(
        page,
        "Outcome",
        &format!("<span class=\"{class}\">{outcome}</span>"),
    );
    match &past.end {
        Err(why) => push_fact(page, "Why", &escaped(&why.to_string())),
        Ok(answer) => {
            if let Err(failure) = &answer.completed.outcome {
                push_fact(page, "In iperf3’s words", &escaped(&failure.words));
                let advice = escaped(failure.reason.advice()).replace('`', "");
                push_fact(page, "What to do", &advice);
            }
        }
    }
    push_fact(page, "Began (UTC)", &moment(past.began));
    push_fact(page, "Ended (UTC)", &moment(past.ended));
    if let Ok(answer) = &past.end {
        let time = |time: Duration| duration::format(debug::millis(time));
        push_fact(page, "Answered after", &time(answer.duration));
        push_fact(
            page,
            "Waited for the test lock",
            &time(answer.completed.lock_wait),
        );
        push_fact(page, "Attempts", &answer.completed.count.to_string());
    }
    let how = if past.is_manual {
        ", from the page"
    } else {
        ""
    };
    push_fact(page, "Asked by", &format!("{}{how}", past.client.ip()));
    page.push_str("</dl>\n");
    form::push_again(page, &past.params, key, ROOT);
}

/// A number of a direction, as text with its unit.
type Measure = fn(&Direction) -> Option<String>;

/// What is shown of each direction, where iperf3 measured it.
const MEASURES: &[(&str, Measure)] = &[
    ("Bandwidth", |way| {
        way.arrived().bytes_per_second().map(units::bit_rate)
    }),
    ("Slowest interval", |way| quantile(way, 0)),
    ("Median interval", |way| quantile(way, 2)),
    ("Fastest interval", |way| quantile(way, 4)),
    ("Sent", |way| way.sent.bytes.map(units::bytes)),
    ("Arrived", |way| way.arrived().bytes.map(units::bytes)),
    ("Retransmits", |way| way.retransmits.map(count)),
    ("Round trip, least", |way| {
        Some(units::seconds(rtt(way)?.min))
    }),
    ("Round trip, mean", |way| {
        Some(units::seconds(rtt(way)?.mean))
    }),
    ("Round trip, most", |way| {
        Some(units::seconds(rtt(way)?.max))
    }),
    ("Largest congestion window", |way| {
        way.tcp?.window_max_bytes.map(units::bytes)
    }),
    // To the byte: that is what tells one tunnel from another.
    ("Path MTU", |way| {
        let bytes = way.tcp?.path_mtu_bytes?;
        Some(format!("{bytes:.0}\u{a0}B"))
    }),
    ("Datagrams sent", |way| way.udp?.sent_packets.map(count)),
    ("Datagrams lost", |way| way.udp?.lost_packets.map(count)),
    ("Loss", |way| {
        way.udp
            .as_ref()
            .and_then(Udp::lost_percent)
            .map(units::percent)
    }),
    ("Jitter", |way| {
        way.udp?
            .jitter_ms
            .map(|jitter| units::seconds(jitter / 1000.0))
    }),
    ("Out of order", |way| way.udp?.out_of_order.map(count)),
    ("Streams", |way| Some(count(way.streams))),
];

fn quantile(way: &Direction, index: usize) -> Option<String> {
    way.rates?
        .quantiles
        .get(index)
        .copied()
        .map(units::bit_rate)
}

fn rtt(way: &Direction) -> Option<Rtt> {
    way.tcp.and_then(|tcp: Tcp| tcp.rtt)
}

fn count(count: f64) -> String {
    format!("{count:.0}")
}

/// What was measured, a direction a column.
fn push_measures(page: &mut String, ways: [Option<&Direction>; 2]) {
    let names = ["Upload", "Download"];
    let ways: Vec<(&str, &Direction)> = names
        .into_iter()
        .zip(ways)
        .filter_map(|(name, way)| Some((name, way?)))
        .collect();
    if ways.is_empty() {
        return;
    }
    page.push_str(
        "<h2>Result</h2>\n<table>\n<caption>What iperf3 did not measure is a dash, or has no row.</caption>\n\
         <thead><tr><th scope=\"col\">Measure</th>",
    );
    for (name, _) in &ways {
        let _ = write!(page, "<th scope=\"col\">{name}</th>");
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for (name, measure) in MEASURES {
        let values: Vec<Option<String>> = ways.iter().map(|(_, way)| measure(way)).collect();
        if values.iter().all(Option::is_none) {
            continue;
        }
        let _ = write!(page, "<tr><th scope=\"row\">{name}</th>");
        for value in values {
            let _ = write!(page, "<td>{}</td>", value.unwrap_or_default());
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table>\n");
}

/// Command line, time line and words of iperf3.
fn push_run_details(page: &mut String, completed: &CompletedTest) {
    let Some(last) = debug::last_details(completed) else {
        return;
    };
    push_text(page, "Command line", &debug::command_line(last));
    page.push_str("<h2>Time line (UTC)</h2>\n<ul class=\"plain\">\n");
    for (time, what) in debug::events(completed) {
        let _ = writeln!(page, "<li>{} {}</li>", instant(time), escaped(&what));
    }
    page.push_str("</ul>\n");
    let RunDetails {
        stderr, end_part, ..
    } = last;
    push_text(page, "Standard error", stderr);
    if let Some(part) = end_part {
        push_text(page, "End of iperf3’s report", part);
    }
}

fn push_metrics(page: &mut String, site: &Site, past: &Finished, answer: &Answer) {
    let metrics = exposition::text(&past.params, answer);
    push_text(page, "Metrics as scraped", &metrics);
    let asked = form::asked(&past.params);
    let words = asked
        .iter()
        .map(|(name, value)| format!("{name}={}", encoded(value)));
    let url = format!(
        "{}?{}",
        site.paths.probe,
        words.collect::<Vec<_>>().join("&")
    );
    let url = escaped(&url);
    let _ = writeln!(
        page,
        "<p>Each scrape of <code>{url}</code> runs this test.</p>"
    );
}

/// A text as it is, under its title. It can be scrolled, by keyboard too.
fn push_text(page: &mut String, title: &str, text: &str) {
    let text = text.trim_end();
    if text.is_empty() {
        let _ = writeln!(page, "<h2>{title}</h2>\n<p class=\"soft\">(none)</p>");
    } else {
        let text = escaped(text);
        let _ = writeln!(
            page,
            "<h2>{title}</h2>\n<pre tabindex=\"0\" role=\"region\" aria-label=\"{title}\">{text}</pre>"
        );
    }
}

/// Percent-encoding: the other way round of `decode`.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/,".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
