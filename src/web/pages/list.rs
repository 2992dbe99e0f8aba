//! The table of the last probes, and its filter.
//!
//! Must not know how many probes the history keeps. If iperf3 did not measure a value, its cell is empty and never 0;
//! the style sheet shows a dash there, which screen readers read as "not measured".

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::SystemTime;

use super::frame::{DAY_AND_CLOCK, encoded, escaped, host, time};
use super::outcome::Outcome;
use super::{names, plot, units};
use crate::iperf3::report::intervals::Interval;
use crate::iperf3::report::{Direction, Report};
use crate::probe::history::{Finished, Overview};
use crate::probe::params::decode;
use crate::web::refusals::Refused;

/// Which probes the page shows, and the state of the page. Any query is valid.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Filter {
    /// A part of the target in ASCII lower case. Names and addresses are ASCII (`iperf3/target`), and Unicode's case
    /// tables would add 16 kB to the binary.
    target: String,
    /// The key ([`names::key`]) of a single test to show. The target must then match exactly.
    test: Option<String>,
    /// Shows only probes without a result.
    failures: bool,
    /// The whole page reloads periodically.
    pub(super) is_refreshing: bool,
    /// The form is open.
    pub(super) has_form: bool,
}

impl Filter {
    /// Parses a query string. Unknown or malformed parts of it are ignored.
    pub(super) fn parse(query: &str) -> Self {
        let mut filter = Self::default();
        for part in query.split('&') {
            match part.split_once('=') {
                Some(("target", text)) => {
                    let text = decode(text).unwrap_or_default();
                    filter.target = text.trim().to_ascii_lowercase();
                }
                Some(("test", text)) => filter.test = decode(text),
                Some(("failures", text)) => filter.failures = text == "true",
                Some(("refresh", text)) => filter.is_refreshing = text == "true",
                Some(("form", text)) => filter.has_form = text == "true",
                _ => {}
            }
        }
        filter
    }

    fn shows(&self, past: &Finished) -> bool {
        let is_asked_for = match &self.test {
            None => self.has(&server(past)),
            Some(_) => self.is_test(&past.params.server(), &names::key(&past.params)),
        };
        is_asked_for && (past.report().is_none() || !self.failures)
    }

    fn has(&self, target: &str) -> bool {
        target.to_ascii_lowercase().contains(&self.target)
    }

    fn is_all(&self) -> bool {
        self.target.is_empty() && self.test.is_none() && !self.failures
    }

    /// Whether the filter shows only this test.
    pub(super) fn is_test(&self, server: &str, key: &str) -> bool {
        self.test.as_deref() == Some(key) && server.eq_ignore_ascii_case(&self.target)
    }

    /// The query of this page with only this test shown, as HTML.
    pub(super) fn query_of_test(&self, server: &str, key: &str) -> String {
        let (server, key) = (encoded(server), encoded(key));
        format!("{}target={server}&amp;test={key}", self.refreshing("&amp;"))
    }

    /// The query of this page with the periodic reload on or off, as HTML.
    pub(super) fn query_refreshing(&self, is_refreshing: bool) -> String {
        let mut query = String::new();
        if is_refreshing {
            query.push_str("&amp;refresh=true");
        }
        if !self.target.is_empty() {
            let _ = write!(query, "&amp;target={}", encoded(&self.target));
        }
        if let Some(test) = &self.test {
            let _ = write!(query, "&amp;test={}", encoded(test));
        }
        if self.failures {
            query.push_str("&amp;failures=true");
        }
        query.trim_start_matches("&amp;").to_owned()
    }

    /// The part of a query that keeps the periodic reload on. `end` follows it if it is not empty.
    fn refreshing(&self, end: &str) -> String {
        if self.is_refreshing {
            format!("refresh=true{end}")
        } else {
            String::new()
        }
    }
}

/// The last probes, together with the probe requests that were refused.
pub(super) fn push(page: &mut String, overview: &Overview, refused: &[Refused], filter: &Filter) {
    page.push_str("<section aria-labelledby=\"last\">\n<h2 id=\"last\">Last probes</h2>\n");
    let oldest = overview.past.iter().map(|past| past.began).min();
    if oldest.is_some() || !refused.is_empty() {
        push_filter(page, overview, filter);
    }
    match oldest {
        Some(oldest) => push_counts(page, overview, filter, oldest),
        None => page.push_str(
            "<p>No probe so far. Probes from Prometheus and tests started here appear in this list.</p>\n",
        ),
    }
    if filter.test.is_some() {
        let target = host(&filter.target);
        let _ = writeln!(page, "<p>Only one test of <strong>{target}</strong>.</p>");
    }
    if !refused.is_empty() {
        page.push_str(
            "<p>The list also shows refused requests, which are not counted. Identical requests share one row.</p>\n",
        );
    }
    let past = overview.past.iter().filter(|past| filter.shows(past));
    // A refused request belongs to no test.
    let is_of_all = filter.test.is_none();
    let refused = refused
        .iter()
        .filter(|refused| is_of_all && filter.has(&refused.target));
    push_table(page, past, refused);
    page.push_str("</section>\n");
}

fn push_counts(page: &mut String, overview: &Overview, filter: &Filter, oldest: SystemTime) {
    let past = overview.past.iter();
    let shown: Vec<_> = past.filter(|past| filter.shows(past)).collect();
    let (count, all) = (shown.len(), overview.past.len());
    let failed = shown.iter().filter(|past| past.report().is_none()).count();
    let of = if count == all {
        format!("All {all}")
    } else {
        format!("{count} of {all}")
    };
    let forgotten = match overview.forgotten {
        0 => String::new(),
        count => format!(". {count} older ones were removed"),
    };
    let oldest = time(oldest, DAY_AND_CLOCK);
    let _ = writeln!(
        page,
        "<p>{of} stored probes are shown, {failed} of them without a result. The oldest began at {oldest} UTC{forgotten}.</p>"
    );
}

/// Merges two lists that both begin with the newest entry.
fn push_table<'a>(
    page: &mut String,
    past: impl Iterator<Item = &'a Arc<Finished>>,
    refused: impl Iterator<Item = &'a Refused>,
) {
    let (mut past, mut refused) = (past.peekable(), refused.peekable());
    if past.peek().is_some() || refused.peek().is_some() {
        page.push_str(
            "<div class=\"wide\"><table class=\"probes\">\n\
             <caption>The one that ended last is first. A dash is a value that iperf3 did not measure.</caption>\n\
             <thead><tr><th scope=\"col\">Probe</th><th scope=\"col\" aria-sort=\"descending\">Ended (UTC)</th>\
             <th scope=\"col\">Target</th><th scope=\"col\">Test</th><th scope=\"col\">Outcome</th>\
             <th scope=\"col\">Up, Mbit/s</th><th scope=\"col\">Down, Mbit/s</th><th scope=\"col\">Loss, %</th>\
             <th scope=\"col\">Retransmits</th><th scope=\"col\">Round trip, ms</th>\
             <th scope=\"col\">Intervals</th></tr></thead>\n<tbody>\n",
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
        page.push_str("</tbody>\n</table></div>\n");
    }
}

/// A refused request has no number and no page of its own.
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
        "<tr><th scope=\"row\">–</th><td>{}</td><td>{}</td><td class=\"words\">{}</td>\
         <td><span class=\"none\">probe refused: {code}{times}</span></td>\
         <td class=\"words\" colspan=\"6\">{} (requested by {})</td></tr>",
        time(refused.last, DAY_AND_CLOCK),
        host(&refused.target),
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
    // The list comes before its field, so that a screen reader finds a list of choices from the start.
    page.push_str(
        "<form class=\"filter\" action=\"./#last\" method=\"get\" role=\"search\" aria-label=\"Last probes\">\n\
         <datalist id=\"hosts\">",
    );
    for target in targets {
        let _ = write!(page, "<option value=\"{}\">", escaped(target));
    }
    let _ = writeln!(
        page,
        "</datalist>\n<label>Target contains<input type=\"text\" name=\"target\" list=\"hosts\" value=\"{}\" \
         autocapitalize=\"none\" spellcheck=\"false\"></label>\n\
         <label><input type=\"checkbox\" name=\"failures\" value=\"true\"{checked}> Failures only</label>\n\
         <button type=\"submit\">Filter</button>",
        escaped(&filter.target)
    );
    if filter.is_refreshing {
        page.push_str("<input type=\"hidden\" name=\"refresh\" value=\"true\">\n");
    }
    if !filter.is_all() {
        let query = filter.refreshing("");
        let _ = writeln!(page, "<a href=\"./?{query}#last\">Show all</a>");
    }
    page.push_str("</form>\n");
}

fn push_row(page: &mut String, past: &Finished) {
    let number = past.number;
    let others = match names::others(&past.params) {
        others if others.is_empty() => others,
        others => format!(" <span class=\"soft\">{}</span>", escaped(&others)),
    };
    let _ = write!(
        page,
        "<tr><th scope=\"row\"><a href=\"probes/{number}\">{number}</a></th><td>{}</td><td>{}</td>\
         <td><span class=\"kind\">{}</span>{others}</td><td>{}</td>",
        time(past.ended, DAY_AND_CLOCK),
        host(&server(past)),
        names::kind(&past.params),
        Outcome::of(past).badge(),
    );
    let directions = directions(past);
    let [upload, download] = directions;
    let [up_intervals, down_intervals] = intervals(directions);
    for cell in [
        upload.and_then(megabits),
        download.and_then(megabits),
        each_direction(directions, loss),
        each_direction(directions, retransmits),
        round_trip(upload),
        Some(plot::spark(up_intervals, down_intervals)),
    ] {
        let _ = write!(page, "<td>{}</td>", cell.unwrap_or_default());
    }
    page.push_str("</tr>\n");
}

/// Upload and download of a test, if they were measured.
pub(super) fn directions(past: &Finished) -> [Option<&Direction>; 2] {
    past.report().map_or([None, None], Report::directions)
}

pub(super) fn intervals(directions: [Option<&Direction>; 2]) -> [&[Interval]; 2] {
    directions.map(|direction| direction.map_or(&[][..], |direction| &direction.intervals))
}

pub(super) fn bandwidth(direction: &Direction) -> Option<String> {
    direction.arrived().bytes_per_second().map(units::bit_rate)
}

/// The bandwidth without its unit, which the column's heading has.
pub(super) fn megabits(direction: &Direction) -> Option<String> {
    direction.arrived().bytes_per_second().map(units::megabits)
}

/// The loss without its unit, which the column's heading has.
pub(super) fn loss(direction: &Direction) -> Option<String> {
    direction.udp?.lost_percent().map(units::percent_alone)
}

/// The round-trip time without its unit, which the column's heading has. Only the sender measures it, so it is the
/// upload's.
pub(super) fn round_trip(upload: Option<&Direction>) -> Option<String> {
    Some(units::milliseconds(upload?.tcp?.rtt?.mean))
}

pub(super) fn retransmits(direction: &Direction) -> Option<String> {
    direction.retransmits.map(units::count)
}

/// The value of the measured direction. If both were measured: both values, each with its direction's name.
pub(super) fn each_direction(
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

/// Host and port of the server. Once an attempt was made, the port is that of the last one.
pub(super) fn server(past: &Finished) -> String {
    let Ok(answer) = &past.end else {
        return past.params.server();
    };
    match past.params.host.as_str() {
        host if host.contains(':') => format!("[{host}]:{}", answer.completed.port),
        host => format!("{host}:{}", answer.completed.port),
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
            ..Filter::default()
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

    #[test]
    fn one_test_is_shown_by_exactly_its_target_and_its_parameters() {
        let one = Filter::parse("target=Foo%3A5201&test=udp_mode%3Dtrue+bitrate%3D1M");
        let key = "udp_mode=true bitrate=1M";
        assert!(one.is_test("foo:5201", key));
        assert!(!one.is_test("foo:5201", "") && !one.is_test("a.foo:5201", key));
        // An empty key is the test without parameters.
        assert!(Filter::parse("target=foo%3A5201&test=").is_test("foo:5201", ""));
        assert!(!Filter::parse("target=foo%3A5201").is_test("foo:5201", ""));
        for is_refreshing in [false, true] {
            let own = Filter {
                is_refreshing,
                ..Filter::default()
            };
            for query in [
                own.query_of_test("[::1%eth0]:5201", key),
                Filter::parse(
                    "target=%5B%3A%3A1%25eth0%5D%3A5201&test=udp_mode%3Dtrue+bitrate%3D1M",
                )
                .query_refreshing(is_refreshing),
            ] {
                let again = Filter::parse(&query.replace("&amp;", "&"));
                assert!(again.is_test("[::1%eth0]:5201", key), "{query}");
                assert_eq!(again.is_refreshing, is_refreshing, "{query}");
            }
        }
    }
}
