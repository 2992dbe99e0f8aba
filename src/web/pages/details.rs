//! The page of a finished probe: everything that the history keeps about it.
//!
//! Must not know how a value was measured. Secrets in a command line are hidden where the command line is built.

use std::fmt::Write as _;

use super::frame::{CLOCK_MILLIS, DAY_AND_CLOCK, encoded, escaped, host, page, time};
use super::outcome::{Outcome, advice};
use super::{cut_off, form, list, plot, units};
use crate::http::response::Response;
use crate::iperf3::RunDetails;
use crate::iperf3::report::Direction;
use crate::iperf3::report::tcp::Rtt;
use crate::probe::answer::CompletedTest;
use crate::probe::history::Finished;
use crate::probe::params::Params;
use crate::web::Site;
use crate::web::answer_text::{self, to_millis};

/// Relative URL of the first page.
pub(super) const ROOT: &str = "../";

/// A page whose header has the probe's number and a link back to the first page.
pub(super) fn probe_page(number: u64, title_end: &str, links: &str, main: &str) -> Response {
    let title = format!("Probe {number}{title_end}");
    let header = format!(
        "<nav aria-label=\"Probes\"><ul>\n<li><a href=\"{ROOT}\">All probes</a></li>\n{links}</ul></nav>\n\
         <h1>Probe {number}</h1>\n"
    );
    page(200, &title, ROOT, &header, main)
}

/// A name and its value in a probe's summary; the value is HTML.
pub(super) type MetadataRow = (&'static str, String);

pub(super) fn push_metadata(page: &mut String, metadata: &[MetadataRow]) {
    page.push_str("<dl>\n");
    for (name, value) in metadata {
        let _ = writeln!(page, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    }
    page.push_str("</dl>\n");
}

pub(super) fn parameters(params: &Params) -> Option<MetadataRow> {
    let pairs = escaped(&answer_text::pairs(&params.displayed()));
    (!pairs.is_empty()).then(|| ("Parameters", format!("<code>{pairs}</code>")))
}

/// Two parts side by side, or the first above the second on a narrow screen. If one is empty, the other has the full
/// width.
pub(super) fn push_columns(page: &mut String, left: &str, right: &str) {
    if left.is_empty() || right.is_empty() {
        page.push_str(left);
        page.push_str(right);
    } else {
        let _ = writeln!(
            page,
            "<div class=\"columns\">\n<div>\n{left}</div>\n<div>\n{right}</div>\n</div>"
        );
    }
}

/// The whole page of a finished probe.
pub(crate) fn ended(site: &Site, past: &Finished) -> Response {
    let mut main = String::with_capacity(16 * 1024);
    let (mut metadata, mut picture) = (String::new(), String::new());
    push_metadata(&mut metadata, &summary(past));
    form::push_again(&mut metadata, &past.params, &site.csrf, ROOT);
    if let Some(cut_off) = past.cut_off() {
        cut_off::push(&mut picture, cut_off, &past.params);
    }
    let directions = list::directions(past);
    push_plot(&mut picture, directions);
    push_columns(&mut main, &metadata, &picture);
    if let Ok(answer) = &past.end {
        let (mut measures, mut run) = (String::new(), String::new());
        let caption = "A dash or a missing row is a value that iperf3 did not measure.";
        let heading = "<h2>Result</h2>\n";
        push_measures(&mut measures, heading, caption, MEASURES, directions);
        if let Some(last) = answer.completed.last_details() {
            push_run(&mut run, &answer.completed, last);
        }
        push_columns(&mut main, &measures, &run);
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

/// Why the probe has no result, and what to do. Empty when it has one.
pub(super) fn why(past: &Finished) -> Vec<MetadataRow> {
    let why = match &past.end {
        Err(why) => Some(("Cause", why.to_string())),
        Ok(answer) => {
            let failure = answer.completed.outcome.as_ref().err();
            failure.map(|failure| ("Error", failure.message.clone()))
        }
    };
    let why = why.map(|(name, text)| (name, escaped(&text)));
    let advice = advice(past).map(|advice| ("What to do", advice));
    why.into_iter().chain(advice).collect()
}

fn summary(past: &Finished) -> Vec<MetadataRow> {
    let outcome = Outcome::of(past);
    let outcome = outcome.badge() + &outcome.label();
    let mut metadata = vec![("Target", host(&list::server(past)))];
    let answer = past.end.as_ref().ok();
    let last = answer.and_then(|answer| answer.completed.last_details());
    let address = last.and_then(|last| last.address);
    metadata.extend(address.map(|address| ("Address", address.to_string())));
    metadata.extend(parameters(&past.params));
    metadata.push(("Outcome", outcome));
    metadata.extend(why(past));
    metadata.push(("Began (UTC)", time(past.began, DAY_AND_CLOCK)));
    metadata.push(("Ended (UTC)", time(past.ended, DAY_AND_CLOCK)));
    if let Ok(answer) = &past.end {
        let completed = &answer.completed;
        metadata.push(("Response time", to_millis(answer.duration)));
        metadata.push(("Waited for the test lock", to_millis(completed.lock_wait)));
        metadata.push(("Attempts", completed.count.to_string()));
    }
    let mut client = past.client.ip().to_string();
    if past.is_manual {
        client.push_str(", from the page");
    }
    metadata.push(("Requested by", client));
    metadata
}

pub(super) fn push_plot(page: &mut String, directions: [Option<&Direction>; 2]) {
    let [upload, download] = list::intervals(directions);
    let plot = plot::plot(upload, download, 0.0);
    if plot.is_empty() {
        return;
    }
    let _ = writeln!(page, "<h2>Bandwidth over time</h2>\n{plot}");
    let is_merged = |direction: &Direction| {
        let count = direction.intervals.len() as f64;
        direction.rates.is_some_and(|rates| rates.count > count)
    };
    if directions.into_iter().flatten().any(is_merged) {
        page.push_str(plot::OF_MEANS);
    }
}

/// A row of a table with one column for each direction: its name, and the function that gets a direction's value.
pub(super) type Measure<D> = (&'static str, fn(&D) -> Option<String>);

/// The values shown for each direction, if iperf3 measured them.
const MEASURES: &[Measure<Direction>] = &[
    ("Bandwidth", list::bandwidth),
    ("Slowest interval", |direction| quantile(direction, 0)),
    ("Median interval", |direction| quantile(direction, 2)),
    ("Fastest interval", |direction| quantile(direction, 4)),
    ("Sent", |direction| direction.sent.bytes.map(units::bytes)),
    ("Arrived", |direction| {
        direction.arrived().bytes.map(units::bytes)
    }),
    ("Retransmits", list::retransmits),
    ("Round-trip time, minimum", |direction| {
        rtt(direction, |r| r.min)
    }),
    ("Round-trip time, mean", |direction| {
        rtt(direction, |r| r.mean)
    }),
    ("Round-trip time, maximum", |direction| {
        rtt(direction, |r| r.max)
    }),
    ("Largest congestion window", |direction| {
        direction.tcp?.window_max_bytes.map(units::bytes)
    }),
    // To the byte: a few bytes distinguish one kind of tunnel from another.
    ("Path MTU", |direction| {
        let bytes = direction.tcp?.path_mtu_bytes?;
        Some(format!("{}\u{a0}B", units::count(bytes)))
    }),
    ("Datagrams sent", |direction| {
        direction.udp?.sent_packets.map(units::count)
    }),
    ("Datagrams lost", |direction| {
        direction.udp?.lost_packets.map(units::count)
    }),
    ("Loss", |direction| {
        direction.udp?.lost_percent().map(units::percent)
    }),
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

/// A table under its heading, with one row for each measure and one column for each measured direction.
pub(super) fn push_measures<D>(
    page: &mut String,
    heading: &str,
    caption: &str,
    measures: &[Measure<D>],
    [upload, download]: [Option<&D>; 2],
) {
    let upload = upload.map(|direction| ("Upload", direction));
    let download = download.map(|direction| ("Download", direction));
    let columns: Vec<(&str, &D)> = upload.into_iter().chain(download).collect();
    if columns.is_empty() {
        return;
    }
    let _ = write!(
        page,
        "{heading}<table class=\"measures\">\n<caption>{caption}</caption>\n<thead><tr><th scope=\"col\">Measure</th>"
    );
    for (name, _) in &columns {
        let _ = write!(page, "<th scope=\"col\">{name}</th>");
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for (name, measure) in measures {
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

/// A preformatted text under its title. It can be scrolled, also by keyboard.
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

/// The URL that scrapes the same test.
fn probe_url(site: &Site, params: &Params) -> String {
    let mut url = site.probe_path.clone();
    for (index, (name, value)) in form::asked(params).iter().enumerate() {
        let mark = if index == 0 { '?' } else { '&' };
        let _ = write!(url, "{mark}{name}=");
        url.push_str(&encoded(value));
    }
    url
}
