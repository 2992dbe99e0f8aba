//! What a probe in progress is doing, as text and as a bar: for the first page, its strip, and the probe's own frame.
//!
//! Must not know how the lock works: it shows the state that each probe has.

use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime};

use super::frame::{CLOCK, time};
use super::units;
use crate::duration;
use crate::iperf3::progress::Seen;
use crate::moment::Moment;
use crate::probe::history::{Current, Stage};
use crate::probe::prober::Prober;

/// The probes that wait for the test lock, the next one first. Only the lock knows the order: when many probes arrive
/// at once, their numbers and times may not show it.
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

/// What a probe in progress is doing, as the end of a sentence.
pub(super) fn stage(probe: &Current) -> String {
    match (&probe.stage, probe.stopping()) {
        (Stage::Queued, _) => format!("has been waiting {}", since(&probe.since)),
        (Stage::Running { .. }, Some(cause)) => format!("is being cancelled: {cause}"),
        (Stage::Running { port, progress }, None) => {
            let seen = progress.look();
            let since = since(&seen.started.unwrap_or(probe.since));
            let rest = rest(&seen);
            format!("has been running on port {port} {since}; {rest}")
        }
        (Stage::Pausing { until }, _) => {
            let left = until.saturating_duration_since(Instant::now());
            format!(
                "found the server busy, and retries at {} UTC, in {} (attempts so far: {})",
                time(SystemTime::now() + left, CLOCK),
                whole(left),
                probe.attempts
            )
        }
    }
}

/// How long a running test takes, and how much of that is left.
fn rest(seen: &Seen) -> String {
    let Some(length) = seen.length else {
        return "its duration depends on the bandwidth".to_owned();
    };
    // In whole seconds, so that the elapsed and the remaining time add up to the length.
    let left = length.as_secs().saturating_sub(seen.elapsed().as_secs());
    let left = duration::format(Duration::from_secs(left));
    format!("the test alone takes {}, {left} left", whole(length))
}

/// The progress of a running test, as a bar after its sentence. Empty if the length is not known.
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

/// How long a test has run so far, as the end of a sentence.
pub(super) fn elapsed(probe: &Current) -> String {
    let Stage::Running { progress, .. } = &probe.stage else {
        return String::new();
    };
    let seen = progress.look();
    let elapsed = seen.elapsed();
    match seen.length {
        Some(length) => format!(", {} of {}", whole(elapsed.min(length)), whole(length)),
        None => format!(", {} so far", whole(elapsed)),
    }
}

/// The rate of each direction's last interval. Empty before the first interval.
pub(super) fn rates(probe: &Current) -> String {
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

/// A duration in whole seconds: fractions would be noise on a page.
fn whole(time: Duration) -> String {
    duration::format(Duration::from_secs(time.as_secs()))
}
