//! Rate limit for log lines that clients can trigger endlessly: which are written, and how many were held back.
//!
//! Must not know the format of a line. Bounded by [`MAX_KEYS`] and [`MAX_KEYS_OF_CLIENT`]: lines above these limits
//! share a key, per client or for all. So neither many causes nor many clients can flood the log.

use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Least time between two lines with the same key.
pub(super) const INTERVAL: Duration = Duration::from_secs(10);
/// Maximum number of separate keys within that time, not counting one shared key per message.
const MAX_KEYS: usize = 64;
/// Maximum number of keys of one client for one message, not counting one shared key.
const MAX_KEYS_OF_CLIENT: usize = 8;

/// What identifies a line: its message, the client if there is one, and the cause if the message has several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) message: &'static str,
    pub(super) client: Option<IpAddr>,
    pub(super) cause: String,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    /// When its last line was written.
    written: Instant,
    /// Lines held back since then.
    held_back: u64,
}

#[derive(Debug, Default)]
pub(super) struct RateLimit(Vec<Entry>);

impl RateLimit {
    /// Decides whether to write a line now. If so, returns how many lines with its key were held back since the last
    /// one.
    pub(super) fn admit(&mut self, key: Key, now: Instant) -> Option<u64> {
        let key = self.bounded(key, now);
        if let Some(entry) = self.0.iter_mut().find(|entry| entry.key == key) {
            if is_fresh(entry, now) {
                entry.held_back += 1;
                return None;
            }
            entry.written = now;
            return Some(std::mem::take(&mut entry.held_back));
        }
        self.0.push(Entry {
            key,
            written: now,
            held_back: 0,
        });
        Some(0)
    }

    /// The key, or a coarser one if there are too many.
    fn bounded(&mut self, key: Key, now: Instant) -> Key {
        if self.0.iter().any(|entry| entry.key == key) {
            return key;
        }
        if self.0.len() >= MAX_KEYS {
            // This also drops counts that were not reported: no such line came since. The metrics still count them.
            self.0.retain(|entry| is_fresh(entry, now));
        }
        if self.0.len() >= MAX_KEYS {
            return Key {
                client: None,
                cause: String::new(),
                ..key
            };
        }
        let is_same = |entry: &&Entry| {
            entry.key.message == key.message
                && entry.key.client == key.client
                && is_fresh(entry, now)
        };
        if self.0.iter().filter(is_same).count() >= MAX_KEYS_OF_CLIENT {
            return Key {
                cause: String::new(),
                ..key
            };
        }
        key
    }
}

fn is_fresh(entry: &Entry, now: Instant) -> bool {
    now.saturating_duration_since(entry.written) < INTERVAL
}

#[cfg(test)]
mod tests {
    use super::{INTERVAL, Key, MAX_KEYS, MAX_KEYS_OF_CLIENT, RateLimit};
    use std::time::{Duration, Instant};

    fn key(client: u8, cause: &str) -> Key {
        Key {
            message: "refused",
            client: Some([192, 0, 2, client].into()),
            cause: cause.to_owned(),
        }
    }

    #[test]
    fn the_next_line_with_a_key_reports_how_many_were_held_back() {
        let (mut limit, start) = (RateLimit::default(), Instant::now());
        assert_eq!(limit.admit(key(1, "a"), start), Some(0));
        for _ in 0..5 {
            assert_eq!(limit.admit(key(1, "a"), start + INTERVAL / 2), None);
        }
        // Neither another cause nor another client is held back with it.
        assert_eq!(limit.admit(key(1, "b"), start), Some(0));
        assert_eq!(limit.admit(key(2, "a"), start), Some(0));
        assert_eq!(limit.admit(key(1, "a"), start + INTERVAL), Some(5));
        assert_eq!(limit.admit(key(1, "a"), start + INTERVAL * 2), Some(0));
    }

    #[test]
    fn one_client_with_many_causes_leaves_room_for_others() {
        let (mut limit, start) = (RateLimit::default(), Instant::now());
        let causes = (0..1000).map(|cause| key(1, &cause.to_string()));
        let written = causes.filter_map(|key| limit.admit(key, start)).count();
        assert_eq!(written, MAX_KEYS_OF_CLIENT + 1);
        assert_eq!(limit.admit(key(2, "a"), start), Some(0));
        // Lines with the shared key are counted under it.
        let late = start + INTERVAL;
        let held_back: u64 = (1000..2000)
            .filter_map(|cause| limit.admit(key(1, &cause.to_string()), late))
            .sum();
        assert_eq!(held_back, 1000 - MAX_KEYS_OF_CLIENT as u64 - 1);
    }

    #[test]
    fn many_clients_neither_fill_memory_nor_flood_the_log() {
        let (mut limit, start) = (RateLimit::default(), Instant::now());
        let mut written = 0;
        for cause in 0..100 {
            for client in 0..=255 {
                let key = key(client, &cause.to_string());
                written += usize::from(limit.admit(key, start).is_some());
            }
        }
        assert_eq!(written, MAX_KEYS + 1);
        assert_eq!(limit.0.len(), MAX_KEYS + 1);
        // Later lines have their own keys again.
        let late = start + INTERVAL + Duration::from_millis(1);
        assert_eq!(limit.admit(key(1, "new"), late), Some(0));
        assert_eq!(limit.0.len(), 1);
    }
}
