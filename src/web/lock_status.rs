//! `/lock-status`: the test lock as JSON, for scripts written for the mutex fork.
//!
//! Owns the field names of the document. Must not know how the lock works.

use std::time::{Duration, Instant};

use super::Site;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::probe::history::Stage;
use crate::probe::lock::Place;
use crate::{duration, json, time_text};

/// Builds the document. The mutex fork defined its fields and formats, except `locked_by_probe`, `queue`, `pausing` and
/// `stopping`, which are ours.
pub(super) fn page(site: &Site, _: &Request<'_>) -> Response {
    let status = site.prober.lock_status();
    let now = Instant::now();
    let age = |place: &Place| now.saturating_duration_since(place.since.instant);
    let entry = |requester: &str, name: &str, time: Duration| {
        let (requester, time) = (
            json::string(requester),
            json::string(&duration::format(time)),
        );
        format!("{{\"requester\":{requester},\"{name}\":{time}}}")
    };
    let waiting = |place: &Place| entry(&place.name, "waiting", age(place));
    let queue: Vec<String> = status.queue.iter().map(waiting).collect();
    // Between two attempts a probe is not in the queue. It joins the queue again later.
    let current = site.prober.overview().current;
    let pausing = current.iter().filter_map(|probe| match probe.stage {
        Stage::Pausing { until } => {
            let left = until.saturating_duration_since(now);
            Some(entry(&probe.params.server(), "back_in", left))
        }
        Stage::Queued | Stage::Running { .. } => None,
    });
    let pausing: Vec<String> = pausing.collect();
    let holder = status.holder.as_ref();
    let stopping = holder.and_then(|place| {
        let probe = current.iter().find(|probe| probe.number == place.probe);
        probe?.stopping()
    });
    let text = |value: Option<String>| value.map_or("null".to_owned(), |v| json::string(&v));
    let document = format!(
        "{{\"is_locked\":{},\"locked_by\":{},\"locked_by_probe\":{},\"locked_at\":{},\"lock_duration\":{},\"queue_size\":{},\"queue\":[{}],\"pausing\":[{}],\"stopping\":{}}}\n",
        holder.is_some(),
        text(holder.map(|place| place.name.clone())),
        holder.map_or("null".to_owned(), |place| place.probe.to_string()),
        text(holder.map(|place| time_text::rfc3339_millis(place.since.clock))),
        text(holder.map(|place| duration::format(age(place)))),
        queue.len(),
        queue.join(","),
        pausing.join(","),
        text(stopping.map(|cause| cause.to_string())),
    );
    Response::new(200, "application/json; charset=utf-8", document)
}
