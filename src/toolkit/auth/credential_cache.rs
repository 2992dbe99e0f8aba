//! The credential cache: credentials with a known decision, allowed or refused.
//!
//! Must not know how a password is verified. Stores passwords in plain text, like the exporter-toolkit's cache; nothing
//! here has a `Debug`.

use std::collections::HashSet;

/// Maximum number of cached credentials per decision. An exporter has a handful of users, and each scraper one
/// password. The exporter-toolkit keeps 100 for both decisions together.
const LIMIT: usize = 100;
/// Longer credentials are verified for each request, so that the cache stays below 100 kB. The limit is far above a
/// usual user name plus the 72 significant bytes of a password.
const LIMIT_BYTES: usize = 256;

/// The decision on a request's credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The request may go on.
    Allowed,
    /// The request is refused: `401`.
    Refused,
    /// Too many other credentials are waiting for verification: `503`.
    Overloaded,
}

/// The key of a decision. Its fields are hashed with their lengths and compared one by one, so that different
/// credentials never match.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Credentials {
    /// The user name that the client sent.
    pub(super) user: Vec<u8>,
    /// The user's current hash, or a dummy hash. A changed hash makes a new key.
    pub(super) hash: String,
    /// The significant bytes of the password.
    pub(super) password: Vec<u8>,
    /// Whether the user exists. If not, the decision is a refusal even if the password fits the dummy hash.
    pub(super) is_user: bool,
}

/// One set per decision: a flood of wrong passwords cannot evict a right one.
#[derive(Default)]
pub(super) struct CredentialCache {
    allowed: HashSet<Credentials>,
    refused: HashSet<Credentials>,
}

impl CredentialCache {
    pub(super) fn get(&self, credentials: &Credentials) -> Option<Decision> {
        if self.allowed.contains(credentials) {
            Some(Decision::Allowed)
        } else if self.refused.contains(credentials) {
            Some(Decision::Refused)
        } else {
            None
        }
    }

    /// Stores a decision, unless it is an overload or the credentials are too long. A full set evicts an arbitrary
    /// entry, like the exporter-toolkit; it is verified again when needed.
    pub(super) fn insert(&mut self, credentials: &Credentials, decision: Decision) {
        let set = match decision {
            Decision::Allowed => &mut self.allowed,
            Decision::Refused => &mut self.refused,
            Decision::Overloaded => return,
        };
        if credentials.user.len() + credentials.password.len() > LIMIT_BYTES {
            return;
        }
        if set.len() == LIMIT
            && let Some(any) = set.iter().next().cloned()
        {
            set.remove(&any);
        }
        set.insert(credentials.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::{CredentialCache, Credentials, Decision, LIMIT, LIMIT_BYTES};

    fn credentials(user: &str, hash: &str, password: &str) -> Credentials {
        Credentials {
            user: user.into(),
            hash: hash.into(),
            password: password.into(),
            is_user: true,
        }
    }

    #[test]
    fn parts_that_join_to_the_same_text_are_different_credentials() {
        let mut cache = CredentialCache::default();
        cache.insert(&credentials("ab", "c", "d"), Decision::Allowed);
        assert_eq!(
            cache.get(&credentials("ab", "c", "d")),
            Some(Decision::Allowed)
        );
        for other in [
            credentials("a", "bc", "d"),
            credentials("ab", "", "cd"),
            credentials("ab", "cd", ""),
            credentials("abc", "", "d"),
            credentials("", "abc", "d"),
            credentials("ab:c", "", "d"),
            credentials("ab", "c", "d\0"),
            credentials("ab\0", "c", "d"),
            credentials("AB", "c", "d"),
        ] {
            assert_eq!(cache.get(&other), None);
        }
        let mut unknown = credentials("ab", "c", "d");
        unknown.is_user = false;
        assert_eq!(cache.get(&unknown), None);
    }

    #[test]
    fn a_flood_of_wrong_passwords_evicts_no_right_one() {
        let mut cache = CredentialCache::default();
        let right = credentials("user", "hash", "right");
        cache.insert(&right, Decision::Allowed);
        for number in 0..10 * LIMIT {
            cache.insert(
                &credentials("user", "hash", &number.to_string()),
                Decision::Refused,
            );
        }
        assert_eq!(cache.get(&right), Some(Decision::Allowed));
        assert_eq!(cache.refused.len(), LIMIT);
        let youngest = credentials("user", "hash", &(10 * LIMIT - 1).to_string());
        assert_eq!(cache.get(&youngest), Some(Decision::Refused));
    }

    #[test]
    fn right_ones_are_bounded_too_and_counted_once() {
        let mut cache = CredentialCache::default();
        for _ in 0..3 {
            cache.insert(&credentials("user", "hash", "same"), Decision::Allowed);
        }
        assert_eq!(cache.allowed.len(), 1);
        for number in 0..LIMIT {
            cache.insert(
                &credentials("user", "hash", &number.to_string()),
                Decision::Allowed,
            );
        }
        assert_eq!(cache.allowed.len(), LIMIT);
    }

    #[test]
    fn long_credentials_and_overloads_are_not_kept() {
        let mut cache = CredentialCache::default();
        let long = credentials(&"u".repeat(LIMIT_BYTES), "hash", "p");
        cache.insert(&long, Decision::Refused);
        cache.insert(&long, Decision::Allowed);
        assert_eq!(cache.get(&long), None);
        let fits = credentials(&"u".repeat(LIMIT_BYTES - 1), "hash", "p");
        cache.insert(&fits, Decision::Overloaded);
        assert_eq!(cache.get(&fits), None);
        cache.insert(&fits, Decision::Refused);
        assert_eq!(cache.get(&fits), Some(Decision::Refused));
    }
}
