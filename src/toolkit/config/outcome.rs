//! What a reading of the web configuration came to, and how the log tells it.
//!
//! Must not know when files are read, or what becomes of requests.

use std::fmt::{self, Display};

use super::settings::RateLimit;
use crate::duration;
use crate::log::Log;

/// Why the configuration cannot be used, as one line that names file, key and value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem(pub(crate) String);

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug)]
pub(super) enum Outcome {
    /// What the files say is in force now.
    Taken {
        summary: Summary,
        warnings: Vec<String>,
        /// Requests were rejected before.
        mended: bool,
    },
    /// Certificate and key do not fit; those before stay.
    Kept(Problem),
    /// All requests are rejected.
    Closed(Problem),
}

impl Outcome {
    pub(super) fn log(&self, log: &Log) {
        match self {
            Self::Taken {
                summary,
                warnings,
                mended,
            } => {
                warn(warnings, log);
                summary.log(
                    if *mended {
                        "web configuration is in order again"
                    } else {
                        "web configuration read again"
                    },
                    log,
                );
            }
            Self::Kept(problem) => log.warn(
                "new certificate and key cannot be used, those before stay in use",
                &[("error", problem)],
            ),
            Self::Closed(problem) => log.error(
                "web configuration cannot be used, nobody comes in",
                &[("error", problem)],
            ),
        }
    }
}

/// Tells what was left out.
pub(super) fn warn(warnings: &[String], log: &Log) {
    for warning in warnings {
        log.warn("web configuration", &[("warning", warning)]);
    }
}

/// What is on, for the log.
#[derive(Clone, Debug)]
pub(super) struct Summary {
    pub(super) tls: bool,
    pub(super) users: usize,
    pub(super) limit: Option<RateLimit>,
}

impl Summary {
    pub(super) fn log(&self, message: &str, log: &Log) {
        let limit = self.limit.map_or_else(
            || "none".to_owned(),
            |limit| {
                let interval = duration::format(limit.interval);
                format!("one in {interval}, burst {}", limit.burst)
            },
        );
        log.info(
            message,
            &[
                ("tls", &self.tls),
                ("users", &self.users),
                ("rate_limit", &limit),
            ],
        );
    }
}
