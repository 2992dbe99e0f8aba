//! The table of the last probes, and its filter.
//!
//! Must not know how much is remembered. A cell of what iperf3 did not measure is empty, and the style puts a dash
//! there that reads "not measured": never 0.

use std::fmt::Write as _;

use super::frame::{escaped, moment};
use super::{plot, units};
use crate::iperf3::report::udp::Udp;
use crate::iperf3::report::{Direction, Report};
use crate::probe::history::{Finished, Overview};
use crate::probe::lock::WaitError;
use crate::probe::params::decode;

/// Longest text that is looked for: no target is longer.
const SEARCH_LIMIT_CHARS: usize = 300;

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
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let value = decode(value).unwrap_or_default();
            match name {
                "target" => {
                    let text = value.trim().to_ascii_lowercase();
                    filter.target = text.chars().take(SEARCH_LIMIT_CHARS).collect();
                }
                "failures" => filter.failures = value == "true",
                _ => {}
            }
        }
        filter
    }

    fn shows(&self, past: &Finished) -> bool {
        (report(past).is_none() || !self.failures)
            && server(past).to_ascii_lowercase().contains(&self.target)
    }
}

/// The section about the probes that ended.
pub(super) fn push(page: &mut String, overview: &Overview, filter: &Filter) {
    page.push_str("<section aria-labelledby=\"last\">\n<h2 id=\"last\">Last probes</h2>\n");
    let Some(oldest) = overview.past.iter().map(|past| past.began).min() else {
        page.push_str(
            "<p>No probe so far. Each that Prometheus asks for, and each that is started here, will be listed.</p>\n\
             </section>\n",
        );
        return;
    };
    let shown: Vec<&Finished> = overview
        .past
        .iter()
        .map(AsRef::as_ref)
        .filter(|past| filter.shows(past))
        .collect();
    push_filter(page, overview, filter);
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
    let oldest = moment(oldest);
    let _ = writeln!(
        page,
        "<p>{of} remembered probes are shown, {failed} of them without a result; the oldest began {oldest} UTC{forgotten}.</p>"
    );
    if !shown.is_empty() {
        page.push_str(
            "<table class=\"probes\">\n\
             <caption>Newest first. What iperf3 did not measure is a dash.</caption>\n\
             <thead><tr><th scope=\"col\">Probe</th><th scope=\"col\">Began (UTC)</th><th scope=\"col\">Target</th>\
             <th scope=\"col\">Parameters</th><th scope=\"col\">Outcome</th><th scope=\"col\">Upload</th>\
             <th scope=\"col\">Download</th><th scope=\"col\">Loss</th><th scope=\"col\">Retransmits</th>\
             <th scope=\"col\">Round trip</th><th scope=\"col\">Intervals</th></tr></thead>\n<tbody>\n",
        );
        for past in shown {
            push_row(page, past);
        }
        page.push_str("</tbody>\n</table>\n");
    }
    page.push_str("</section>\n");
}

/// The form of the filter, which knows the targets that there are.
fn push_filter(page: &mut String, overview: &Overview, filter: &Filter) {
    let mut targets: Vec<&str> = overview
        .past
        .iter()
        .map(|past| past.params.host.as_str())
        .collect();
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
    let _ = write!(
        page,
        "</datalist>\n<label><input type=\"checkbox\" name=\"failures\" value=\"true\"{checked}> Failures only</label>\n\
         <button type=\"submit\">Filter</button>\n"
    );
    if *filter != Filter::default() {
        page.push_str("<a href=\"./#last\">Show all</a>\n");
    }
    page.push_str("</form>\n");
}

fn push_row(page: &mut String, past: &Finished) {
    let number = past.number;
    let report = report(past);
    let ways = ways(report);
    let shown = past.params.displayed();
    let words = shown
        .iter()
        // The target has it.
        .filter(|(name, _)| *name != "port")
        .map(|(name, value)| format!("{name}={value}"));
    let (class, outcome) = outcome(past);
    let _ = write!(
        page,
        "<tr><th scope=\"row\"><a href=\"probes/{number}\">{number}</a></th><td>{}</td><td class=\"words\">{}</td>\
         <td class=\"words\">{}</td><td class=\"{class}\">{outcome}</td>",
        moment(past.began),
        escaped(&server(past)),
        escaped(&words.collect::<Vec<_>>().join(" ")),
    );
    let rate = |way: Option<&Direction>| {
        let rate = way.and_then(|way| way.arrived().bytes_per_second());
        rate.map(units::bit_rate)
    };
    let [upload, download] = ways;
    let round_trip = upload.and_then(|way| way.tcp?.rtt);
    let intervals = ways.map(|way| way.map_or(&[][..], |way| &way.intervals));
    for cell in [
        rate(upload),
        rate(download),
        each_way(ways, |way| {
            way.udp
                .as_ref()
                .and_then(Udp::lost_percent)
                .map(units::percent)
        }),
        each_way(ways, |way| {
            way.retransmits.map(|count| format!("{count:.0}"))
        }),
        round_trip.map(|rtt| units::seconds(rtt.mean)),
        Some(plot::spark(intervals[0], intervals[1])),
    ] {
        let _ = write!(page, "<td>{}</td>", cell.unwrap_or_default());
    }
    page.push_str("</tr>\n");
}

/// What a test measured, when it did.
pub(super) fn report(past: &Finished) -> Option<&Report> {
    past.end.as_ref().ok()?.completed.outcome.as_ref().ok()
}

/// Upload and download of a test.
pub(super) fn ways(report: Option<&Report>) -> [Option<&Direction>; 2] {
    report.map_or([None, None], Report::directions)
}

/// A value of the direction that ran; of two, each with its name.
fn each_way(
    ways: [Option<&Direction>; 2],
    value: fn(&Direction) -> Option<String>,
) -> Option<String> {
    match ways {
        [Some(upload), Some(download)] => {
            let words = [(value(upload), "up"), (value(download), "down")];
            let words = words.into_iter();
            let words = words.filter_map(|(value, name)| Some(format!("{} {name}", value?)));
            Some(words.collect::<Vec<_>>().join(", "))
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
        Err(WaitError::Cancelled) if past.is_manual => ("none", "stopped".to_owned()),
        // Where nobody wanted the result any more, iperf3 may have run.
        Err(why @ (WaitError::Cancelled | WaitError::Broken)) => ("none", why.label().to_owned()),
        Err(why) => ("none", format!("not run: {}", why.label())),
    }
}

#[cfg(test)]
mod tests {
    use super::{Filter, SEARCH_LIMIT_CHARS};

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
        let long = format!("target={}", "é".repeat(5000));
        let found = Filter::parse(&long).target.chars().count();
        assert_eq!(found, SEARCH_LIMIT_CHARS.min(5000));
    }
}
