//! The table of the last probes, and its filter.
//!
//! Must not know how much is remembered. A cell of what iperf3 did not measure is empty, and the style puts a dash
//! there that reads "not measured": never 0.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::SystemTime;

use super::frame::{DAY_AND_CLOCK, escaped, time};
use super::{plot, units};
use crate::cancel::Cause;
use crate::iperf3::report::intervals::Interval;
use crate::iperf3::report::{Direction, Report};
use crate::probe::history::{Finished, Overview};
use crate::probe::params::decode;
use crate::probe::wait_error::WaitError;
use crate::web::answer_text::pairs;
use crate::web::refusals::Refused;

/// Which probes are shown. Whatever a query holds, it is one.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Filter {
    /// What a target contains, in small letters of ASCII, which names and addresses are (`iperf3/target`): the tables
    /// of all letters would take 16 kB of the binary.
    target: String,
    /// Those only that brought no result.
    failures: bool,
}

impl Filter {
    /// That of a query string; what is unknown in it, or broken, filters nothing.
    pub(super) fn parse(query: &str) -> Self {
        let mut filter = Self::default();
        for part in query.split('&') {
            match part.split_once('=') {
                Some(("target", text)) => {
                    let text = decode(text).unwrap_or_default();
                    filter.target = text.trim().to_ascii_lowercase();
                }
                Some(("failures", text)) => filter.failures = text == "true",
                _ => {}
            }
        }
        filter
    }

    fn shows(&self, past: &Finished) -> bool {
        (report(past).is_none() || !self.failures) && self.has(&server(past))
    }

    fn has(&self, target: &str) -> bool {
        target.to_ascii_lowercase().contains(&self.target)
    }
}

/// The last probes, with the refused requests for one among them.
pub(super) fn push(page: &mut String, overview: &Overview, refused: &[Refused], filter: &Filter) {
    page.push_str("<section aria-labelledby=\"last\">\n<h2 id=\"last\">Last probes</h2>\n");
    let oldest = overview.past.iter().map(|past| past.began).min();
    if oldest.is_some() || !refused.is_empty() {
        push_filter(page, overview, filter);
    }
    match oldest {
        Some(oldest) => push_counts(page, overview, filter, oldest),
        None => page.push_str(
            "<p>No probe so far. Each that Prometheus asks for, and each that is started here, will be listed.</p>\n",
        ),
    }
    if !refused.is_empty() {
        page.push_str(
            "<p>Requests that were refused are among them, the same ones in one row; they are not counted.</p>\n",
        );
    }
    let past = overview.past.iter().filter(|past| filter.shows(past));
    let refused = refused.iter().filter(|refused| filter.has(&refused.target));
    push_table(page, past, refused);
    page.push_str("</section>\n");
}

fn push_counts(page: &mut String, overview: &Overview, filter: &Filter, oldest: SystemTime) {
    let past = overview.past.iter();
    let shown: Vec<_> = past.filter(|past| filter.shows(past)).collect();
    let (count, all) = (shown.len(), overview.past.len());
    let failed = shown.iter().filter(|past| report(past).is_none()).count();
    let of = if count == all {
        format!("All {all}")
    } else {
        format!("{count} of {all}")
    };
    let forgotten = match overview.forgotten {
        0 => String::new(),
        count => format!("; {count} older ones are forgotten"),
    };
    let oldest = time(oldest, DAY_AND_CLOCK);
    let _ = writeln!(
        page,
        "<p>{of} remembered probes are shown, {failed} of them without a result; the oldest began {oldest} UTC{forgotten}.</p>"
    );
}

/// Both lists have what came last first.
fn push_table<'a>(
    page: &mut String,
    past: impl Iterator<Item = &'a Arc<Finished>>,
    refused: impl Iterator<Item = &'a Refused>,
) {
    let (mut past, mut refused) = (past.peekable(), refused.peekable());
    if past.peek().is_some() || refused.peek().is_some() {
        page.push_str(
            "<table class=\"probes\">\n\
             <caption>Newest first. What iperf3 did not measure is a dash.</caption>\n\
             <thead><tr><th scope=\"col\">Probe</th><th scope=\"col\">Began (UTC)</th><th scope=\"col\">Target</th>\
             <th scope=\"col\">Parameters</th><th scope=\"col\">Outcome</th><th scope=\"col\">Upload</th>\
             <th scope=\"col\">Download</th><th scope=\"col\">Loss</th><th scope=\"col\">Retransmits</th>\
             <th scope=\"col\">Round trip</th><th scope=\"col\">Intervals</th></tr></thead>\n<tbody>\n",
        );
        loop {
            let ended = past.peek().map(|past| past.ended);
            if let Some(refused) =
                refused.next_if(|refused| ended.is_none_or(|ended| refused.last >= ended))
            {
                push_refused(page, refused);
            } else if let Some(past) = past.next() {
                push_row(page, past);
            } else {
                break;
            }
        }
        page.push_str("</tbody>\n</table>\n");
    }
}

/// A request that was refused has no number, and no page but this row.
fn push_refused(page: &mut String, refused: &Refused) {
    let (code, count) = (refused.code, refused.count);
    let times = if count > 1 {
        format!(", {count} times")
    } else {
        String::new()
    };
    let asked = match &*refused.query {
        "" => refused.path.clone(),
        query => format!("{}?{query}", refused.path),
    };
    let _ = writeln!(
        page,
        "<tr><th scope=\"row\">–</th><td>{}</td><td class=\"words\">{}</td><td class=\"words\">{}</td>\
         <td class=\"none\">probe refused: {code}{times}</td><td class=\"words\" colspan=\"6\">{} (asked by {})</td></tr>",
        time(refused.last, DAY_AND_CLOCK),
        escaped(&refused.target),
        escaped(&asked),
        escaped(&refused.line),
        refused.client,
    );
}

fn push_filter(page: &mut String, overview: &Overview, filter: &Filter) {
    let hosts = overview.past.iter().map(|past| past.params.host.as_str());
    let mut targets: Vec<&str> = hosts.collect();
    targets.sort_unstable();
    targets.dedup();
    let checked = if filter.failures { " checked" } else { "" };
    let _ = write!(
        page,
        "<form class=\"filter\" action=\"./#last\" method=\"get\" role=\"search\" aria-label=\"Last probes\">\n\
         <label>Target contains<input type=\"text\" name=\"target\" list=\"targets\" value=\"{}\" \
         autocapitalize=\"none\" spellcheck=\"false\"></label>\n<datalist id=\"targets\">",
        escaped(&filter.target)
    );
    for target in targets {
        let _ = write!(page, "<option value=\"{}\">", escaped(target));
    }
    let _ = writeln!(
        page,
        "</datalist>\n<label><input type=\"checkbox\" name=\"failures\" value=\"true\"{checked}> Failures only</label>\n\
         <button type=\"submit\">Filter</button>"
    );
    if *filter != Filter::default() {
        page.push_str("<a href=\"./#last\">Show all</a>\n");
    }
    page.push_str("</form>\n");
}

fn push_row(page: &mut String, past: &Finished) {
    let number = past.number;
    let mut shown = past.params.displayed();
    // The target has it.
    shown.retain(|(name, _)| *name != "port");
    let (class, outcome) = outcome(past);
    let _ = write!(
        page,
        "<tr><th scope=\"row\"><a href=\"probes/{number}\">{number}</a></th><td>{}</td><td class=\"words\">{}</td>\
         <td class=\"words\">{}</td><td class=\"{class}\">{outcome}</td>",
        time(past.began, DAY_AND_CLOCK),
        escaped(&server(past)),
        escaped(&pairs(&shown)),
    );
    let directions = directions(past);
    let [upload, download] = directions;
    let rtt = upload.and_then(|upload| upload.tcp?.rtt);
    let [up_intervals, down_intervals] = intervals(directions);
    for cell in [
        upload.and_then(bandwidth),
        download.and_then(bandwidth),
        each_direction(directions, loss),
        each_direction(directions, retransmits),
        rtt.map(|rtt| units::seconds(rtt.mean)),
        Some(plot::spark(up_intervals, down_intervals)),
    ] {
        let _ = write!(page, "<td>{}</td>", cell.unwrap_or_default());
    }
    page.push_str("</tr>\n");
}

fn report(past: &Finished) -> Option<&Report> {
    past.end.as_ref().ok()?.completed.outcome.as_ref().ok()
}

/// Upload and download of a test, as far as they were measured.
pub(super) fn directions(past: &Finished) -> [Option<&Direction>; 2] {
    report(past).map_or([None, None], Report::directions)
}

pub(super) fn intervals(directions: [Option<&Direction>; 2]) -> [&[Interval]; 2] {
    directions.map(|direction| direction.map_or(&[][..], |direction| &direction.intervals))
}

pub(super) fn bandwidth(direction: &Direction) -> Option<String> {
    direction.arrived().bytes_per_second().map(units::bit_rate)
}

pub(super) fn loss(direction: &Direction) -> Option<String> {
    direction.udp?.lost_percent().map(units::percent)
}

pub(super) fn retransmits(direction: &Direction) -> Option<String> {
    direction.retransmits.map(units::count)
}

/// A value of the direction that ran; of two, each with its name.
fn each_direction(
    directions: [Option<&Direction>; 2],
    value: fn(&Direction) -> Option<String>,
) -> Option<String> {
    match directions {
        [Some(upload), Some(download)] => {
            let up = value(upload).map(|value| value + " up");
            let down = value(download).map(|value| value + " down");
            let both: Vec<String> = up.into_iter().chain(down).collect();
            Some(both.join(", "))
        }
        [one, other] => one.or(other).and_then(value),
    }
}

/// Host and port of the server; the port that was tried last, once it is known.
pub(super) fn server(past: &Finished) -> String {
    let Ok(answer) = &past.end else {
        return past.params.server();
    };
    match past.params.host.as_str() {
        host if host.contains(':') => format!("[{host}]:{}", answer.completed.port),
        host => format!("{host}:{}", answer.completed.port),
    }
}

/// What came of a probe: a class of the style, and words, of which those of the metrics are the ones to look for.
pub(super) fn outcome(past: &Finished) -> (&'static str, String) {
    match &past.end {
        Ok(answer) => match &answer.completed.outcome {
            Ok(_) => ("good", "success".to_owned()),
            Err(failure) => ("bad", failure.reason.label().to_owned()),
        },
        Err(WaitError::Cancelled {
            cause: Cause::StoppedBy(_),
            ..
        }) => ("none", "stopped".to_owned()),
        Err(why) if why.is_not_run() => ("none", format!("not run: {}", why.label())),
        Err(why) => ("none", why.label().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::Filter;

    #[test]
    fn every_query_is_a_filter() {
        let filter = |target: &str, failures| Filter {
            target: target.to_owned(),
            failures,
        };
        for (query, expected) in [
            ("", filter("", false)),
            ("target=&failures=true", filter("", true)),
            (
                "target=+Foo%2Eserver%3A5201+",
                filter("foo.server:5201", false),
            ),
            ("failures=1&target=a", filter("a", false)),
            ("failures=true&failures=false", filter("", false)),
            ("target=%zz&failures", filter("", false)),
            ("target=%ff", filter("", false)),
            ("x=y&&==&target", filter("", false)),
        ] {
            assert_eq!(Filter::parse(query), expected, "{query}");
        }
    }
}
