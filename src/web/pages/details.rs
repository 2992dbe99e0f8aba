//! The page of one probe: where it stands, or all that is remembered of how it went.
//!
//! Must not know how a value was measured. What is secret in a command line is hidden where that is built.

use std::fmt::Write as _;

use super::frame::{CLOCK_MILLIS, DAY_AND_CLOCK, escaped, page, time};
use super::{form, home, list, plot, units};
use crate::http::response::Response;
use crate::iperf3::RunDetails;
use crate::iperf3::report::Direction;
use crate::iperf3::report::tcp::Rtt;
use crate::probe::answer::CompletedTest;
use crate::probe::history::{Current, Finished, Found};
use crate::probe::params::Params;
use crate::web::answer_text::{self, to_millis};
use crate::web::{Site, csrf};

const ROOT: &str = "../";

/// How often a page of a probe in progress is loaded anew. Seldom enough to come to its button with the keyboard.
const LOOK_SECONDS: &str = "3";

pub(crate) fn details(site: &Site, found: &Found) -> Response {
    match found {
        Found::Current(probe) => in_progress(site, probe).with_header("Refresh", LOOK_SECONDS),
        Found::Finished(past) => ended(site, past),
    }
}

/// A page with the number and the way back at its head.
fn probe_page(number: u64, title_end: &str, links: &str, main: &str) -> Response {
    let title = format!("Probe {number}{title_end}");
    let header = format!(
        "<nav aria-label=\"Probes\"><ul>\n<li><a href=\"{ROOT}\">All probes</a></li>\n{links}</ul></nav>\n\
         <h1>Probe {number}</h1>\n"
    );
    page(200, &title, ROOT, &header, main)
}

/// What is said of a probe under a name; the text is HTML.
type Fact = (&'static str, String);

fn push_facts(page: &mut String, facts: &[Fact]) {
    page.push_str("<dl>\n");
    for (name, value) in facts {
        let _ = writeln!(page, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    }
    page.push_str("</dl>\n");
}

fn parameters(params: &Params) -> Option<Fact> {
    let pairs = escaped(&answer_text::pairs(&params.displayed()));
    (!pairs.is_empty()).then(|| ("Parameters", format!("<code>{pairs}</code>")))
}

fn in_progress(site: &Site, probe: &Current) -> Response {
    let number = probe.number;
    let mut main = String::with_capacity(4096);
    let _ = write!(main, "<p>It {}", home::stage(probe));
    let current = site.prober.overview().current;
    let queue = home::waiting(&site.prober, &current);
    if let Some(before) = queue.iter().position(|other| other.number == number) {
        let _ = write!(main, ", at place {} of {}", before + 1, queue.len());
    }
    main.push_str(".</p>\n");
    if probe.can_be_stopped() {
        let (field, token) = (csrf::FIELD, &site.csrf.0);
        let _ = writeln!(
            main,
            "<form action=\"{number}/stop?{field}={token}\" method=\"post\"><button type=\"submit\">Stop it</button></form>"
        );
    }
    let mut facts = vec![("Target", escaped(&probe.params.server()))];
    facts.extend(parameters(&probe.params));
    facts.push(("Began (UTC)", time(probe.began, DAY_AND_CLOCK)));
    facts.push(("Asked by", probe.client.ip().to_string()));
    if probe.attempts > 0 {
        facts.push(("Attempts before", probe.attempts.to_string()));
    }
    push_facts(&mut main, &facts);
    main.push_str("<p class=\"soft\">This page loads itself anew until the result is here.</p>\n");
    probe_page(number, ", in progress", "", &main)
}

fn ended(site: &Site, past: &Finished) -> Response {
    let mut main = String::with_capacity(16 * 1024);
    push_facts(&mut main, &summary(past));
    form::push_again(&mut main, &past.params, &site.csrf, ROOT);
    if let Ok(answer) = &past.end {
        let directions = list::directions(past);
        push_plot(&mut main, directions);
        push_measures(&mut main, directions);
        if let Some(last) = answer.completed.last_details() {
            push_run(&mut main, &answer.completed, last);
        }
        let metrics = answer_text::metrics(&past.params, answer);
        push_text(&mut main, "Metrics as scraped", &metrics);
        let url = escaped(&probe_url(site, &past.params));
        let _ = writeln!(
            main,
            "<p>Each scrape of <code>{url}</code> runs this test.</p>"
        );
    }
    probe_page(past.number, "", &neighbours(site, past), &main)
}

/// Links to the probes that ended before and after this one.
fn neighbours(site: &Site, past: &Finished) -> String {
    let all = site.prober.overview().past;
    let place = all.iter().position(|other| other.number == past.number);
    let newer = place.and_then(|place| all.get(place.checked_sub(1)?));
    let older = place.and_then(|place| all.get(place + 1));
    let mut links = String::new();
    for (name, neighbour) in [("Newer", newer), ("Older", older)] {
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

fn summary(past: &Finished) -> Vec<Fact> {
    let (class, outcome) = list::outcome(past);
    let outcome = format!("<span class=\"{class}\">{outcome}</span>");
    let mut facts = vec![("Target", escaped(&list::server(past)))];
    let answer = past.end.as_ref().ok();
    let last = answer.and_then(|answer| answer.completed.last_details());
    let address = last.and_then(|last| last.address);
    facts.extend(address.map(|address| ("Address", address.to_string())));
    facts.extend(parameters(&past.params));
    facts.push(("Outcome", outcome));
    match &past.end {
        Err(why) => facts.push(("Cause", escaped(&why.to_string()))),
        Ok(answer) => {
            if let Err(failure) = &answer.completed.outcome {
                facts.push(("Error", escaped(&failure.words)));
                let advice = escaped(failure.reason.advice()).replace('`', "");
                facts.push(("What to do", advice));
            }
        }
    }
    facts.push(("Began (UTC)", time(past.began, DAY_AND_CLOCK)));
    facts.push(("Ended (UTC)", time(past.ended, DAY_AND_CLOCK)));
    if let Ok(answer) = &past.end {
        let completed = &answer.completed;
        facts.push(("Answered after", to_millis(answer.duration)));
        facts.push(("Waited for the test lock", to_millis(completed.lock_wait)));
        facts.push(("Attempts", completed.count.to_string()));
    }
    let mut client = past.client.ip().to_string();
    if past.is_manual {
        client.push_str(", from the page");
    }
    facts.push(("Asked by", client));
    facts
}

fn push_plot(page: &mut String, directions: [Option<&Direction>; 2]) {
    let [upload, download] = list::intervals(directions);
    let plot = plot::plot(upload, download);
    if plot.is_empty() {
        return;
    }
    let _ = writeln!(page, "<h2>Bandwidth over time</h2>\n{plot}");
    let is_merged = |direction: &Direction| {
        let count = direction.intervals.len() as f64;
        direction.rates.is_some_and(|rates| rates.count > count)
    };
    if directions.into_iter().flatten().any(is_merged) {
        page.push_str(
            "<p class=\"soft\">Each step is the mean of neighbouring intervals: there were more than fit.</p>\n",
        );
    }
}

type Measure = fn(&Direction) -> Option<String>;

/// What is shown of each direction, where iperf3 measured it.
const MEASURES: &[(&str, Measure)] = &[
    ("Bandwidth", list::bandwidth),
    ("Slowest interval", |direction| quantile(direction, 0)),
    ("Median interval", |direction| quantile(direction, 2)),
    ("Fastest interval", |direction| quantile(direction, 4)),
    ("Sent", |direction| direction.sent.bytes.map(units::bytes)),
    ("Arrived", |direction| {
        direction.arrived().bytes.map(units::bytes)
    }),
    ("Retransmits", list::retransmits),
    ("Round trip, least", |direction| rtt(direction, |r| r.min)),
    ("Round trip, mean", |direction| rtt(direction, |r| r.mean)),
    ("Round trip, most", |direction| rtt(direction, |r| r.max)),
    ("Largest congestion window", |direction| {
        direction.tcp?.window_max_bytes.map(units::bytes)
    }),
    // To the byte: that is what tells one tunnel from another.
    ("Path MTU", |direction| {
        let bytes = direction.tcp?.path_mtu_bytes?;
        Some(format!("{bytes:.0}\u{a0}B"))
    }),
    ("Datagrams sent", |direction| {
        direction.udp?.sent_packets.map(units::count)
    }),
    ("Datagrams lost", |direction| {
        direction.udp?.lost_packets.map(units::count)
    }),
    ("Loss", list::loss),
    ("Jitter", |direction| {
        Some(units::seconds(direction.udp?.jitter_ms? / 1000.0))
    }),
    ("Out of order", |direction| {
        direction.udp?.out_of_order.map(units::count)
    }),
    ("Streams", |direction| Some(units::count(direction.streams))),
];

fn quantile(direction: &Direction, index: usize) -> Option<String> {
    let rate = direction.rates?.quantiles.get(index).copied();
    rate.map(units::bit_rate)
}

fn rtt(direction: &Direction, value: fn(Rtt) -> f64) -> Option<String> {
    direction.tcp?.rtt.map(value).map(units::seconds)
}

fn push_measures(page: &mut String, [upload, download]: [Option<&Direction>; 2]) {
    let upload = upload.map(|direction| ("Upload", direction));
    let download = download.map(|direction| ("Download", direction));
    let columns: Vec<(&str, &Direction)> = upload.into_iter().chain(download).collect();
    if columns.is_empty() {
        return;
    }
    page.push_str(
        "<h2>Result</h2>\n<table>\n<caption>What iperf3 did not measure is a dash, or has no row.</caption>\n\
         <thead><tr><th scope=\"col\">Measure</th>",
    );
    for (name, _) in &columns {
        let _ = write!(page, "<th scope=\"col\">{name}</th>");
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for (name, measure) in MEASURES {
        let values = columns.iter().map(|(_, direction)| measure(direction));
        let values: Vec<Option<String>> = values.collect();
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

fn push_run(page: &mut String, completed: &CompletedTest, last: &RunDetails) {
    push_text(page, "Command line", &answer_text::command_line(last));
    page.push_str("<h2>Time line (UTC)</h2>\n<ul class=\"plain\">\n");
    for (moment, what) in answer_text::events(completed) {
        let (moment, what) = (time(moment, CLOCK_MILLIS), escaped(&what));
        let _ = writeln!(page, "<li>{moment} {what}</li>");
    }
    page.push_str("</ul>\n");
    push_text(page, "Standard error", &last.stderr);
    if let Some(part) = &last.end_part {
        push_text(page, "End of iperf3’s report", part);
    }
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

/// What a scrape of the same test asks for.
fn probe_url(site: &Site, params: &Params) -> String {
    let mut url = site.probe_path.clone();
    for (index, (name, value)) in form::asked(params).iter().enumerate() {
        let mark = if index == 0 { '?' } else { '&' };
        let _ = write!(url, "{mark}{name}=");
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~:/,".contains(&byte) {
                url.push(char::from(byte));
            } else {
                let _ = write!(url, "%{byte:02X}");
            }
        }
    }
    url
}
