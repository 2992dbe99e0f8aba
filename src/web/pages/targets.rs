//! The table of tests: the state of each target, with the failing ones first.
//!
//! A test is a target with its parameters, so three jobs for one target have three rows. A test without a result has no
//! numbers; its row shows what to do instead. Must not know how many probes the history keeps.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::frame::{ago, escaped, host};
use super::list::{self, Filter};
use super::names::{key, kind, others};
use super::outcome::{Outcome, advice};
use super::plot;
use crate::iperf3::report::Direction;
use crate::probe::history::{MAX_POINTS, MAX_TESTS, Overview, TestTrend};

/// The state of a test depends on this number of its last probes.
const COUNTED: usize = 10;
/// From this loss on a test is unsteady. The shipped alert uses the same value.
const LOSSY_PERCENT: f64 = 1.0;
/// A test is overdue if its last probe is older than this many times the interval before it, and than `OVERDUE_AFTER`.
const OVERDUE_INTERVALS: u32 = 5;
const OVERDUE_AFTER: Duration = Duration::from_secs(15 * 60);
/// The same for a test with a single probe, such as one from the page.
const SINGLE_OVERDUE_AFTER: Duration = Duration::from_secs(60 * 60);

/// The state of a test, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    /// Its last probe failed.
    Failing,
    /// Its last probe has no result.
    NoResult,
    /// Its last probe succeeded, but lost datagrams, or one of the last ten probes did not succeed.
    Unsteady,
    /// It was not probed lately, whatever its last probe was: the state of the network is unknown.
    Overdue,
    Fine,
}

/// The number of tests in each state.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) failing: usize,
    no_result: usize,
    unsteady: usize,
    overdue: usize,
    pub(super) all: usize,
}

/// The data of a row.
struct Row<'a> {
    test: &'a TestTrend,
    state: State,
    server: String,
    kind: String,
    /// Its parameters that are not part of the kind.
    others: String,
}

pub(super) fn push(page: &mut String, overview: &Overview, filter: &Filter) {
    let tests = &overview.tests;
    if tests.is_empty() {
        page.push_str(
            "<p>No probe so far. Each target that Prometheus or this page probes gets a row here.</p>\n",
        );
        return;
    }
    let now = SystemTime::now();
    let mut rows: Vec<Row<'_>> = tests.iter().map(|test| Row::of(test, now)).collect();
    rows.sort_by(|a, b| {
        let [a, b] = [a, b].map(|row| (row.state, &row.server, &row.kind, &row.others));
        a.cmp(&b)
    });
    let removed = match overview.forgotten_tests {
        0 => String::new(),
        1 => ", and 1 was removed".to_owned(),
        count => format!(", and {count} were removed"),
    };
    let _ = write!(
        page,
        "<p class=\"summary\">{}</p>\n<div class=\"wide\"><table class=\"targets\">\n\
         <caption>The last probe of each test, the failing ones first. A target leads to its probes. Unsteady: one of \
         the last {COUNTED} probes had no result, or {LOSSY_PERCENT}\u{a0}% or more was lost. Overdue: not \
         probed for much longer than usual. Up to {MAX_TESTS} tests are remembered{removed}.</caption>\n\
         <thead><tr><th scope=\"col\">Target</th><th scope=\"col\">Test</th><th scope=\"col\">Outcome</th>\
         <th scope=\"col\">Up, Mbit/s</th><th scope=\"col\">Down, Mbit/s</th><th scope=\"col\">Loss, %</th>\
         <th scope=\"col\">Round trip, ms</th><th scope=\"col\">Last {MAX_POINTS} probes</th>\
         <th scope=\"col\">Succeeded</th><th scope=\"col\">Last probe</th></tr></thead>\n<tbody>\n",
        Counts::of(tests, now).text(),
    );
    for row in &rows {
        push_row(page, row, &telling(row, &rows), filter, now);
    }
    page.push_str("</tbody>\n</table></div>\n");
}

/// The parameters that distinguish a test from the others of the same server and kind. Empty if it is the only one.
fn telling(row: &Row<'_>, rows: &[Row<'_>]) -> String {
    let is_like = |other: &&Row<'_>| (&other.server, &other.kind) == (&row.server, &row.kind);
    let like: Vec<&Row<'_>> = rows.iter().filter(is_like).collect();
    let has = |row: &Row<'_>, pair: &str| row.others.split(' ').any(|own| own == pair);
    let pairs = row.others.split(' ');
    let telling = pairs.filter(|pair| !like.iter().all(|other| has(other, pair)));
    telling.collect::<Vec<_>>().join(" ")
}

impl<'a> Row<'a> {
    fn of(test: &'a TestTrend, now: SystemTime) -> Self {
        let params = &test.last.params;
        Self {
            test,
            state: State::of(test, now),
            server: params.server(),
            kind: kind(params),
            others: others(params),
        }
    }
}

impl State {
    fn of(test: &TestTrend, now: SystemTime) -> Self {
        let (succeeded, count) = successes(test);
        if is_overdue(test.last.ended, test.previous_ended, now) {
            return Self::Overdue;
        }
        match Outcome::of(&test.last).class {
            "bad" => Self::Failing,
            "none" => Self::NoResult,
            _ if is_lossy(test) || succeeded < count => Self::Unsteady,
            _ => Self::Fine,
        }
    }
}

/// Whether the last probe is so old that its outcome does not count. A clock that was set back makes no test overdue.
fn is_overdue(ended: SystemTime, previous: Option<SystemTime>, now: SystemTime) -> bool {
    let age = now.duration_since(ended).unwrap_or_default();
    let interval = previous.and_then(|previous| ended.duration_since(previous).ok());
    age > interval.map_or(SINGLE_OVERDUE_AFTER, |interval| {
        OVERDUE_AFTER.max(interval * OVERDUE_INTERVALS)
    })
}

fn is_lossy(test: &TestTrend) -> bool {
    let lost = |direction: &Direction| direction.udp?.lost_percent();
    let directions = list::directions(&test.last).into_iter().flatten();
    directions
        .filter_map(lost)
        .any(|lost| lost >= LOSSY_PERCENT)
}

/// How many of the last ten probes succeeded, and how many of these probes there are: ten or fewer.
fn successes(test: &TestTrend) -> (usize, usize) {
    let last = test.points.iter().rev().take(COUNTED);
    let count = last.len();
    (last.filter(|point| point.is_success).count(), count)
}

impl Counts {
    pub(super) fn of(tests: &[Arc<TestTrend>], now: SystemTime) -> Self {
        let mut counts = Self {
            all: tests.len(),
            ..Self::default()
        };
        for test in tests {
            match State::of(test, now) {
                State::Failing => counts.failing += 1,
                State::NoResult => counts.no_result += 1,
                State::Unsteady => counts.unsteady += 1,
                State::Overdue => counts.overdue += 1,
                State::Fine => {}
            }
        }
        counts
    }

    /// `3 of 21 tests fail, 2 are unsteady, 16 are fine`, as HTML.
    pub(super) fn text(self) -> String {
        let Self {
            failing,
            no_result,
            unsteady,
            overdue,
            all,
        } = self;
        let fine = all - failing - no_result - unsteady - overdue;
        let mut of_all = match all {
            1 => " of 1 test",
            _ => &format!(" of {all} tests"),
        };
        let mut parts: Vec<String> = Vec::new();
        for (count, class, one, many) in [
            (failing, "bad", "fails", "fail"),
            (no_result, "none", "has no result", "have no result"),
            (unsteady, "warn", "is unsteady", "are unsteady"),
            (overdue, "warn", "is overdue", "are overdue"),
            (fine, "good", "is fine", "are fine"),
        ] {
            if count > 0 {
                let verb = if count == 1 { one } else { many };
                parts.push(format!(
                    "<span class=\"{class}\">{count}{of_all} {verb}</span>"
                ));
                of_all = "";
            }
        }
        parts.join(", ")
    }
}

fn push_row(page: &mut String, row: &Row<'_>, telling: &str, filter: &Filter, now: SystemTime) {
    let past = &row.test.last;
    let class = match row.state {
        State::Failing => " class=\"fails\"",
        _ => "",
    };
    let key = key(&past.params);
    let current = if filter.is_test(&row.server, &key) {
        " aria-current=\"true\""
    } else {
        ""
    };
    let telling = if telling.is_empty() {
        String::new()
    } else {
        format!(" <span class=\"soft\">{}</span>", escaped(telling))
    };
    let _ = write!(
        page,
        "<tr{class}><th scope=\"row\"><a href=\"./?{}#last\"{current}>{}</a></th>\
         <td><span class=\"kind\">{}</span>{telling}</td><td>{}</td>",
        filter.query_of_test(&row.server, &key),
        host(&row.server),
        row.kind,
        Outcome::of(past).badge(),
    );
    match advice(past) {
        Some(advice) => {
            let _ = write!(page, "<td class=\"advice\" colspan=\"4\">{advice}</td>");
        }
        None => push_numbers(page, row),
    }
    let (succeeded, count) = successes(row.test);
    let mut share = format!("{succeeded} of {count}");
    if row.state == State::Unsteady && succeeded < count {
        share = format!("<span class=\"warn\">{share}</span>");
    }
    let _ = writeln!(
        page,
        "<td>{}</td><td>{share}</td><td><a href=\"probes/{}\"{}>{}</a></td></tr>",
        plot::trend(&row.test.points),
        past.number,
        if row.state == State::Overdue {
            " class=\"warn\""
        } else {
            ""
        },
        ago(past.ended, now),
    );
}

fn push_numbers(page: &mut String, row: &Row<'_>) {
    let directions = list::directions(&row.test.last);
    let [upload, download] = directions;
    let loss = list::each_direction(directions, list::loss);
    let loss = match loss {
        Some(loss) if is_lossy(row.test) => Some(format!("<span class=\"warn\">{loss}</span>")),
        loss => loss,
    };
    for cell in [
        upload.and_then(list::megabits),
        download.and_then(list::megabits),
        loss,
        list::round_trip(upload),
    ] {
        let _ = write!(page, "<td>{}</td>", cell.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::is_overdue;

    #[test]
    fn a_test_is_overdue_after_five_of_its_intervals() {
        let start = SystemTime::UNIX_EPOCH;
        let at = |minutes: u64| start + Duration::from_secs(60 * minutes);
        for (previous, ended, now, expected) in [
            // One probe, as from the page.
            (None, 0, 60, false),
            (None, 0, 61, true),
            // Every minute: a pause of a quarter of an hour is allowed.
            (Some(99), 100, 115, false),
            (Some(99), 100, 116, true),
            // Each hour.
            (Some(0), 60, 360, false),
            (Some(0), 60, 361, true),
            // The clock was set back.
            (Some(99), 100, 1, false),
            (Some(100), 99, 159, false),
        ] {
            let overdue = is_overdue(at(ended), previous.map(at), at(now));
            assert_eq!(overdue, expected, "{previous:?} {ended} {now}");
        }
    }
}
