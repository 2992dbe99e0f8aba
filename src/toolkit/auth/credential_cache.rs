//! `CredentialCache` that are known already: which credentials fit, and which do not.
//!
//! Must not know how a verdict is found. Passwords stand here as they came, as in the exporter-toolkit's cache; nothing here has
//! a `Debug`.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use crate::toolkit::auth::Verdict;

/// Most verdicts of each kind. An exporter has a handful of users and each scraper one password; the exporter-toolkit keeps 100
/// of both kinds together.
const KEPT: usize = 100;
/// Credentials with more bytes than this are judged anew each time, so that what is kept is below 100 kB: far more
/// than a user name and the 72 bytes of a password that count, as people write them.
const KEPT_BYTES: usize = 256;

/// What a verdict is about. The parts stand apart, are hashed with their lengths and compared one by one, so that
/// no two different ones can meet.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// As the client says.
    pub(super) user: Vec<u8>,
    /// The user's hash as it is now, or a made-up one: another hash is another key.
    pub(super) hash: String,
    /// As much of it as counts.
    pub(super) password: Vec<u8>,
    /// Whether there is such a user; nobody else is let in, whatever fits.
    pub(super) is_user: bool,
}

/// Both kinds, apart: no flood of wrong passwords drives a right one out.
#[derive(Default)]
pub(super) struct CredentialCache {
    allowed: Kind,
    refused: Kind,
}

/// `CredentialCache` of one kind. The oldest goes when there are too many.
#[derive(Default)]
struct Kind {
    keys: HashSet<Arc<Key>>,
    /// Oldest first.
    order: VecDeque<Arc<Key>>,
}

impl CredentialCache {
    /// The verdict, if it is known.
    pub(super) fn get(&self, key: &Key) -> Option<Verdict> {
        if self.allowed.keys.contains(key) {
            Some(Verdict::Allowed)
        } else if self.refused.keys.contains(key) {
            Some(Verdict::Refused)
        } else {
            None
        }
    }

    /// Keeps a verdict, unless it is none or its credentials are too long.
    pub(super) fn keep(&mut self, key: &Arc<Key>, verdict: Verdict) {
        if key.user.len() + key.password.len() > KEPT_BYTES {
            return;
        }
        match verdict {
            Verdict::Allowed => self.allowed.keep(key),
            Verdict::Refused => self.refused.keep(key),
            Verdict::Overloaded => {}
        }
    }
}

impl Kind {
    fn keep(&mut self, key: &Arc<Key>) {
        if !self.keys.insert(Arc::clone(key)) {
            return;
        }
        self.order.push_back(Arc::clone(key));
        if self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CredentialCache, KEPT, KEPT_BYTES, Key, Verdict};
    use std::sync::Arc;

    fn key(user: &str, hash: &str, password: &str) -> Arc<Key> {
        Arc::new(Key {
            user: user.into(),
            hash: hash.into(),
            password: password.into(),
            is_user: true,
        })
    }

    #[test]
    fn parts_that_join_to_the_same_text_are_different_keys() {
        let mut known = CredentialCache::default();
        known.keep(&key("ab", "c", "d"), Verdict::Allowed);
        assert_eq!(known.get(&key("ab", "c", "d")), Some(Verdict::Allowed));
        for other in [
            key("a", "bc", "d"),
            key("ab", "", "cd"),
            key("ab", "cd", ""),
            key("abc", "", "d"),
            key("", "abc", "d"),
            key("ab:c", "", "d"),
            key("ab", "c", "d\0"),
            key("ab\0", "c", "d"),
            key("AB", "c", "d"),
        ] {
            assert_eq!(known.get(&other), None);
        }
        let mut stranger = Key::clone(&key("ab", "c", "d"));
        stranger.is_user = false;
        assert_eq!(known.get(&stranger), None);
    }

    #[test]
    fn a_flood_of_wrong_passwords_drives_no_right_one_out() {
        let mut known = CredentialCache::default();
        let right = key("user", "hash", "right");
        known.keep(&right, Verdict::Allowed);
        for number in 0..10 * KEPT {
            known.keep(&key("user", "hash", &number.to_string()), Verdict::Refused);
        }
        assert_eq!(known.get(&right), Some(Verdict::Allowed));
        assert_eq!(known.refused.keys.len(), KEPT);
        assert_eq!(known.refused.order.len(), KEPT);
        let of = |number: usize| known.get(&key("user", "hash", &number.to_string()));
        assert_eq!(
            of(9 * KEPT),
            Some(Verdict::Refused),
            "the oldest that is kept"
        );
        assert_eq!(of(9 * KEPT - 1), None, "the youngest that went");
    }

    #[test]
    fn right_ones_are_bounded_too_and_none_counts_twice() {
        let mut known = CredentialCache::default();
        for _ in 0..3 {
            known.keep(&key("user", "hash", "same"), Verdict::Allowed);
        }
        assert_eq!(known.allowed.order.len(), 1);
        for number in 0..KEPT {
            known.keep(&key("user", "hash", &number.to_string()), Verdict::Allowed);
        }
        assert_eq!(known.allowed.keys.len(), KEPT);
        assert_eq!(known.get(&key("user", "hash", "same")), None);
    }

    #[test]
    fn long_credentials_and_overloads_are_not_kept() {
        let mut known = CredentialCache::default();
        let long = key(&"u".repeat(KEPT_BYTES), "hash", "p");
        known.keep(&long, Verdict::Refused);
        known.keep(&long, Verdict::Allowed);
        assert_eq!(known.get(&long), None);
        let fits = key(&"u".repeat(KEPT_BYTES - 1), "hash", "p");
        known.keep(&fits, Verdict::Overloaded);
        assert_eq!(known.get(&fits), None);
        known.keep(&fits, Verdict::Refused);
        assert_eq!(known.get(&fits), Some(Verdict::Refused));
    }
}
