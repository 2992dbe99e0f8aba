//! `/lock-status`: the test lock as JSON, for scripts that were written for the mutex fork.
//!
//! Owns the names in the document; must not know how the lock works.

use std::time::Instant;

use crate::duration;
use crate::json;
use crate::probe::history::Stage;
use crate::probe::lock::Place;
use crate::probe::prober::Prober;
use crate::time_text;

/// The document. The names and forms are the mutex fork's; `queue`, `pausing` and
/// `stopping` are ours.
pub(super) fn json(prober: &Prober) -> String {
    let status = prober.lock_status();
    let now = Instant::now();
    let age = |place: &Place| duration::format(now.saturating_duration_since(place.since.instant));
    let text = |value: Option<String>| value.map_or("null".to_owned(), |v| json::string(&v));
    let holder = status.holder.as_ref();
    let queue: Vec<String> = status
        .queue
        .iter()
        .map(|place| {
            let (name, waiting) = (json::string(&place.name), json::string(&age(place)));
            format!("{{\"requester\":{name},\"waiting\":{waiting}}}")
        })
        .collect();
    // Between two attempts a probe stands in no queue, and comes back to it.
    let current = prober.overview().current;
    let pausing = current.iter().filter_map(|probe| match probe.stage {
        Stage::Pausing { until } => Some((probe, until)),
        Stage::Queued | Stage::Running { .. } => None,
    });
    let pausing: Vec<String> = pausing
        .map(|(probe, until)| {
            let name = json::string(&probe.params.server());
            let left = duration::format(until.saturating_duration_since(now));
            let left = json::string(&left);
            format!("{{\"requester\":{name},\"back_in\":{left}}}")
        })
        .collect();
    let holder_stops = holder.and_then(|place| {
        let probe = current.iter().find(|probe| probe.number == place.probe);
        probe?.stopping()
    });
    format!(
        "{{\"is_locked\":{},\"locked_by\":{},\"locked_at\":{},\"lock_duration\":{},\"queue_size\":{},\"queue\":[{}],\"pausing\":[{}],\"stopping\":{}}}\n",
        holder.is_some(),
        text(holder.map(|place| place.name.clone())),
        text(holder.map(|place| time_text::rfc3339_millis(place.since.clock))),
        text(holder.map(age)),
        queue.len(),
        queue.join(","),
        pausing.join(","),
        text(holder_stops.map(|cause| cause.to_string())),
    )
}
