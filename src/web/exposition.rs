//! The metrics of a probe as text.
//!
//! Owns which part of an answer each family is written from; must not know the families.

use crate::metrics::compat::{self, Probe};
use crate::probe::answer::Answer;
use crate::probe::params::Params;

/// What the probe path answers.
pub(super) fn text(params: &Params, answer: &Answer) -> String {
    let completed = &answer.completed;
    compat::text(&Probe {
        host: params.host.as_str(),
        port: completed.port,
        udp: params.options.udp,
        outcome: &completed.outcome,
        duration: answer.duration,
        lock_wait: completed.lock_wait,
        attempts: completed.count,
        age: answer.age,
        last_success: answer.last_success,
    })
}
