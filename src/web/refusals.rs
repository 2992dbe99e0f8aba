//! Refused requests: a line in the log, and a row on the first page if the request was about a probe.
//!
//! Owns how many are kept: [`MAX_REFUSED`], apart from the probes, so that a flood of refusals pushes no probe out. The
//! caller provides the response line. `metrics` counts requests by path and status code.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::time::SystemTime;

use crate::log::{Field, Log};
use crate::probe::params::{HIDDEN, carries_secret, decode, without_secrets};
use crate::sync;

/// Maximum number of refused requests that are kept. Equal ones count as one.
const MAX_REFUSED: usize = 20;
/// Maximum length that is kept and logged of a text that a client chose.
const TEXT_LIMIT_CHARS: usize = 512;
/// Maximum length that is kept and logged of the response line. The longest line has the names of all parameters.
const LINE_LIMIT_CHARS: usize = 2048;

/// A refused request about a probe, and how often it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) client: IpAddr,
    pub(super) path: String,
    /// The query as received, without secrets.
    pub(super) query: String,
    /// The target; empty if the query has none.
    pub(super) target: String,
    pub(super) code: u16,
    /// The response line.
    pub(super) line: String,
    pub(super) count: u64,
    /// When the last such request came.
    pub(super) last: SystemTime,
}

/// The most recent refused requests.
pub(crate) struct Refusals {
    log: Log,
    probe_path: String,
    /// Ordered by their last request, oldest first.
    last: Mutex<VecDeque<Refused>>,
}

impl Refusals {
    pub(crate) fn new(log: Log, probe_path: String) -> Self {
        Self {
            log,
            probe_path,
            last: Mutex::default(),
        }
    }

    /// Logs a refused request, with the status code and line of its response. Keeps it for the first page if it is
    /// about a probe.
    pub(super) fn note(
        &self,
        client: SocketAddr,
        (path, query): (&str, &str),
        code: u16,
        line: &str,
    ) {
        let refused = Refused {
            client: client.ip(),
            path: cut(path, TEXT_LIMIT_CHARS),
            query: cut(&without_secrets(query), TEXT_LIMIT_CHARS),
            target: cut(&target(query), TEXT_LIMIT_CHARS),
            code,
            line: cut(line, LINE_LIMIT_CHARS),
            count: 1,
            last: SystemTime::now(),
        };
        let mut fields: Vec<Field<'_>> = vec![("client", &client)];
        for (name, text) in [
            ("path", &refused.path),
            ("target", &refused.target),
            ("query", &refused.query),
        ] {
            if !text.is_empty() {
                fields.push((name, text));
            }
        }
        fields.push(("status", &refused.code));
        fields.push(("error", &refused.line));
        let is_probe = self.is_for_probe(path, query);
        let what = if is_probe {
            "probe refused"
        } else {
            "request refused"
        };
        let cause = format!("{code} {}", refused.line);
        self.log.warn_client(what, client.ip(), &cause, &fields);
        if is_probe {
            self.remember(refused);
        }
    }

    /// Whether a request is about a probe, or looks like one with a wrong path: a part of the path starts with `prob`,
    /// or the query has a target.
    pub(super) fn is_for_probe(&self, path: &str, query: &str) -> bool {
        let is_like = |part: &str| part.to_ascii_lowercase().starts_with("prob");
        path == self.probe_path
            || path == "/run"
            || path.split('/').any(is_like)
            || query.split('&').any(|part| part.starts_with("target="))
    }

    /// The kept requests, most recent first.
    pub(super) fn last(&self) -> Vec<Refused> {
        sync::lock(&self.last).iter().rev().cloned().collect()
    }

    fn remember(&self, mut refused: Refused) {
        let mut last = sync::lock(&self.last);
        let is_same = |other: &Refused| {
            (other.client, other.code) == (refused.client, refused.code)
                && (&other.path, &other.query) == (&refused.path, &refused.query)
        };
        if let Some(earlier) = last.iter().position(is_same)
            && let Some(earlier) = last.remove(earlier)
        {
            refused.count += earlier.count;
        }
        last.push_back(refused);
        if last.len() > MAX_REFUSED {
            last.pop_front();
        }
    }
}

/// The target in a query, as far as it can be decoded and may be shown.
fn target(query: &str) -> String {
    let mut parts = query.split('&');
    let text = parts.find_map(|part| part.strip_prefix("target="));
    let text = text.unwrap_or_default();
    if carries_secret(text) {
        return HIDDEN.to_owned();
    }
    decode(text).unwrap_or_else(|| text.to_owned())
}

/// Cuts a text after `limit` characters.
fn cut(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_REFUSED, Refusals, Refused, cut, target};
    use crate::log::{Log, LogConfig};
    use std::time::SystemTime;

    fn refused(query: &str) -> Refused {
        Refused {
            client: [192, 0, 2, 1].into(),
            path: "/probe".to_owned(),
            query: query.to_owned(),
            target: String::new(),
            code: 400,
            line: "why".to_owned(),
            count: 1,
            last: SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_last_refusals_are_kept_and_equal_ones_count_as_one() {
        let refusals = Refusals::new(Log::new(LogConfig::default()), "/probe".to_owned());
        refusals.remember(refused("first"));
        for _ in 0..3 {
            for number in 1..MAX_REFUSED {
                refusals.remember(refused(&number.to_string()));
            }
        }
        let counts = |query: &str| {
            let last = refusals.last();
            let found = last.iter().find(|refused| refused.query == query);
            found.map(|refused| refused.count)
        };
        assert_eq!((counts("first"), counts("1")), (Some(1), Some(3)));
        refusals.remember(refused("new"));
        let last = refusals.last();
        assert_eq!(last.len(), MAX_REFUSED);
        assert_eq!(last.first().map(|refused| &*refused.query), Some("new"));
        assert_eq!((counts("first"), counts("1")), (None, Some(3)));
        // Another client, path, query or status code makes another entry.
        let other = Refused {
            code: 403,
            ..refused("new")
        };
        refusals.remember(other.clone());
        assert_eq!(refusals.last().first(), Some(&other));
    }

    #[test]
    fn a_target_is_decoded_if_possible() {
        for (query, expected) in [
            ("", ""),
            ("a=b&target=foo%3A5201&target=c", "foo:5201"),
            ("target=%zz", "%zz"),
            ("xtarget=a", ""),
            ("target=a;password=hunter2", "<hidden>"),
        ] {
            assert_eq!(target(query), expected);
        }
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöü", 2), "äö…");
    }
}
