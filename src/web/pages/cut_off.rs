//! Shows what a test had measured when it was cut off, on the page of its probe.
//!
//! Must not know why the test was cut off, and must not show any of this as a result.

use std::fmt::Write as _;
use std::time::Duration;

use super::{plot, units};
use crate::iperf3::progress::DirectionSeen;
use crate::iperf3::report::intervals::Interval;
use crate::probe::answer::CutOff;
use crate::web::answer_text;

/// `omitted` is the time at the start of the test that does not count (the parameter `omit`).
pub(super) fn push(page: &mut String, cut_off: &CutOff, omitted: Duration) {
    let _ = writeln!(
        page,
        "<h2>Measured before the test was cut off</h2>\n<p><strong>Incomplete: {}.</strong> iperf3 \
         reported this up to that moment, as counted by the client. It is not a result, and no metric of the probe has it.</p>",
        answer_text::when_cut_off(cut_off)
    );
    let directions = cut_off.seen.directions();
    let [upload, download] = directions.map(intervals);
    // As wide as the whole test, so that the missing part is visible.
    let planned = cut_off.seen.length.unwrap_or_default();
    let planned_seconds = planned.saturating_sub(omitted).as_secs_f64();
    page.push_str(&plot::plot(upload, download, planned_seconds));
    page.push('\n');
    if directions
        .into_iter()
        .flatten()
        .any(|direction| direction.is_merged)
    {
        page.push_str(plot::OF_MEANS);
    }
    page.push_str("<dl>\n");
    for (name, direction) in ["Sent", "Arrived"].into_iter().zip(directions) {
        if let Some(direction) = direction {
            let bytes = units::bytes(direction.bytes);
            let _ = writeln!(page, "<div><dt>{name}</dt><dd>{bytes}</dd></div>");
        }
    }
    page.push_str("</dl>\n");
}

fn intervals(direction: Option<&DirectionSeen>) -> &[Interval] {
    direction.map_or(&[], |direction| &direction.intervals)
}
