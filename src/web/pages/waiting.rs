//! Which probes wait for the test lock.
//!
//! Must not know HTML.

use crate::probe::history::{Current, Stage};
use crate::probe::prober::Prober;

/// Those that wait for the test lock, first in line first. The lock knows the order: neither the numbers nor the
/// moments have it when many come at once.
pub(super) fn waiting<'a>(prober: &Prober, current: &'a [Current]) -> Vec<&'a Current> {
    let queue = prober.lock_status().queue;
    let is_queued = |probe: &&Current| matches!(probe.stage, Stage::Queued);
    let mut waiting: Vec<&Current> = current.iter().filter(is_queued).collect();
    waiting.sort_by_cached_key(|probe| {
        let place = queue.iter().position(|place| place.probe == probe.number);
        place.unwrap_or(usize::MAX)
    });
    waiting
}
