//! Shows what a test had measured when it was cut off, on the page of its probe, and draws what one has measured so far.
//!
//! Must not know why the test was cut off, and must not show any of this as a result.

use std::fmt::Write as _;
use std::time::Duration;

use super::{plot, units};
use crate::iperf3::progress::Seen;
use crate::probe::answer::CutOff;
use crate::probe::params::Params;
use crate::web::answer_text;

/// The part that was measured, of a test with these parameters.
pub(super) fn push(page: &mut String, cut_off: &CutOff, params: &Params) {
    let _ = writeln!(
        page,
        "<h2>Measured before the test was cut off</h2>\n<p><strong>Incomplete: {}.</strong> iperf3 \
         reported this up to that moment, as counted by the client. It is not a result, and no metric of the probe has it.</p>",
        answer_text::when_cut_off(cut_off)
    );
    let _ = writeln!(page, "{}", plot_so_far(&cut_off.seen, params));
    let directions = cut_off.seen.directions();
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

/// The intervals so far. The plot is as wide as the whole test, so that the missing part is visible.
pub(super) fn plot_so_far(seen: &Seen, params: &Params) -> String {
    let directions = seen.directions();
    let [upload, download] =
        directions.map(|direction| direction.map_or(&[][..], |direction| &direction.intervals));
    let omitted = Duration::from_secs(params.options.omit_seconds);
    let planned = seen.length.unwrap_or_default().saturating_sub(omitted);
    plot::plot(upload, download, planned.as_secs_f64())
}
