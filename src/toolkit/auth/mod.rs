//! Basic authentication: users and their passwords (RFC 7617), and limits on the cost of verification.
//!
//! Must not know where users are configured, or HTTP beyond the header. `basic` parses the header, `credential_cache`
//! stores known decisions, and `verification_queue` verifies one `hash` at a time.
//!
//! Each step of the cost doubles a hash's time: at 10 it took 58 ms on a PC, so 14 takes a second there, and a small
//! router is about ten times slower. A scraper pays once, at its first scrape after a start. But each wrong password
//! costs the same processor time, so on a router a cost above 10 gains little.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;

use self::credential_cache::Credentials;
pub(crate) use self::credential_cache::Decision;
use self::verification_queue::{LONGEST_WAIT, VerificationQueue, Verify};

mod basic;
mod credential_cache;
pub(crate) mod hash;
mod verification_queue;

/// Bcrypt hashes by user. If empty, no authentication is required.
pub(crate) type Users = BTreeMap<String, String>;

/// The credential cache and the verification queue. One for the whole process, through all changes of the users: a
/// removed user or a changed hash has no old decision.
pub(crate) struct Auth {
    queue: VerificationQueue,
    /// Chooses the cost of an unknown user's dummy hash; random at each start.
    seed: RandomState,
}

impl Auth {
    /// For at most `connections` connections. At most half of them may wait for verification; the others stay free for
    /// known credentials.
    pub(crate) fn new(connections: usize) -> Self {
        let verify = |of: &Credentials| hash::verify(&of.password, &of.hash);
        Self::with_verify(Box::new(verify), (connections / 2).max(1))
    }

    fn with_verify(verify: Verify, max_waiting: usize) -> Self {
        Self {
            queue: VerificationQueue::new(verify, max_waiting, LONGEST_WAIT),
            seed: RandomState::new(),
        }
    }

    /// Checks the value of a request's `Authorization` header, trimmed of blanks. Waits up to 10 s while others are
    /// verified, and may then work for the time of one hash. A cached decision never waits.
    ///
    /// An unknown user takes the same path as a known one, including hash and cache, so that the response time does not
    /// reveal which users exist.
    pub(crate) fn check(
        &self,
        users: &Users,
        authorization: Option<&str>,
        client: IpAddr,
    ) -> Decision {
        if users.is_empty() {
            return Decision::Allowed;
        }
        let Some(basic_auth) = authorization.and_then(basic::parse) else {
            return Decision::Refused;
        };
        // Always computed, before it is known whether it is needed.
        let dummy_hash = self.dummy_hash(users, &basic_auth.user);
        let known = str::from_utf8(&basic_auth.user)
            .ok()
            .and_then(|user| users.get(user));
        let credentials = Credentials {
            is_user: known.is_some(),
            hash: known.unwrap_or(&dummy_hash).clone(),
            password: hash::significant(&basic_auth.password).to_vec(),
            user: basic_auth.user,
        };
        self.queue.check(&credentials, client)
    }

    /// Shuts down: all waiters, and all later requests with unknown credentials, get [`Decision::Overloaded`] at once.
    /// A hash in progress cannot be stopped.
    pub(crate) fn end(&self) {
        self.queue.end();
    }

    /// The dummy hash for a user who does not exist, with the cost of one who does. The name determines which, so it is
    /// the same each time. (Refused: the highest of all costs. If costs differ, a user with a lower cost would be
    /// answered faster than a name that does not exist.)
    fn dummy_hash(&self, users: &Users, user: &[u8]) -> String {
        let count = users.len().max(1) as u64;
        let number = usize::try_from(self.seed.hash_one(user) % count).unwrap_or(0);
        let cost = users.values().nth(number).and_then(|hash| hash::cost(hash));
        hash::dummy_hash(cost.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::{Auth, Decision, Users, hash};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use std::collections::BTreeSet;
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::{Arc, Mutex};

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    /// Hashes of "U*U" and of "correct horse", made with crypt(3) of libxcrypt.
    const HASH: &str = "$2b$04$CCCCCCCCCCCCCCCCCCCCC.K7Qr0se1MxuggH4aP4YgB.U2Em1pGSK";
    const OTHER: &str = "$2b$04$CCCCCCCCCCCCCCCCCCCCC..o66Ba.o65rt06KXeSpKWfObOB7QJIe";

    fn users(list: &[(&str, &str)]) -> Users {
        list.iter()
            .map(|(user, hash)| ((*user).to_owned(), (*hash).to_owned()))
            .collect()
    }

    fn basic(user: impl AsRef<[u8]>, password: impl AsRef<[u8]>) -> String {
        let text = [user.as_ref(), b":", password.as_ref()].concat();
        format!("Basic {}", STANDARD.encode(text))
    }

    /// An `Auth` that verifies real hashes and records them.
    fn counted() -> (Auth, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let own = Arc::clone(&asked);
        let auth = Auth::with_verify(
            Box::new(move |of| {
                own.lock().unwrap().push(of.hash.clone());
                hash::verify(&of.password, &of.hash)
            }),
            100,
        );
        (auth, asked)
    }

    fn check(auth: &Auth, users: &Users, user: &str, password: &str) -> Decision {
        auth.check(users, Some(&basic(user, password)), CLIENT)
    }

    #[test]
    fn only_the_right_password_is_accepted() {
        let auth = Auth::new(256);
        let users = users(&[("alice", HASH), ("bob", OTHER), ("", HASH)]);
        for _ in 0..2 {
            assert_eq!(check(&auth, &users, "alice", "U*U"), Decision::Allowed);
            assert_eq!(check(&auth, &users, "", "U*U"), Decision::Allowed);
            assert_eq!(
                check(&auth, &users, "bob", "correct horse"),
                Decision::Allowed
            );
            for (user, password) in [
                ("alice", ""),
                ("alice", "U*U "),
                ("alice", "correct horse"),
                ("bob", "U*U"),
                ("Alice", "U*U"),
                ("alice ", "U*U"),
                ("carol", "U*U"),
            ] {
                let decision = check(&auth, &users, user, password);
                assert_eq!(decision, Decision::Refused, "{user}:{password}");
            }
            let not_text = basic(b"alice\xff", "U*U");
            assert_eq!(
                auth.check(&users, Some(&not_text), CLIENT),
                Decision::Refused
            );
        }
    }

    #[test]
    fn without_users_no_authentication_is_required() {
        let (auth, asked) = counted();
        for header in [None, Some("Basic YTpi"), Some("garbage")] {
            assert_eq!(auth.check(&Users::new(), header, CLIENT), Decision::Allowed);
        }
        assert!(asked.lock().unwrap().is_empty());
    }

    #[test]
    fn an_unusable_header_costs_no_hash() {
        let (auth, asked) = counted();
        let users = users(&[("alice", HASH)]);
        let good = basic("alice", "U*U");
        let twice = format!("{good}, {good}");
        for header in [
            None,
            Some(""),
            Some("Bearer x"),
            Some("Basic x"),
            Some(&*twice),
        ] {
            assert_eq!(auth.check(&users, header, CLIENT), Decision::Refused);
        }
        assert!(asked.lock().unwrap().is_empty());
    }

    #[test]
    fn an_unknown_user_costs_what_a_known_one_costs() {
        let (auth, asked) = counted();
        let users = users(&[("alice", HASH)]);
        for user in ["alice", "nobody"] {
            for _ in 0..3 {
                assert_eq!(check(&auth, &users, user, "wrong"), Decision::Refused);
            }
        }
        // One hash each; then both decisions are cached.
        assert_eq!(
            *asked.lock().unwrap(),
            [HASH.to_owned(), hash::dummy_hash(4)]
        );
    }

    #[test]
    fn unknown_users_get_the_hash_costs_of_known_ones() {
        let auth = Auth::new(256);
        let users = users(&[
            ("alice", HASH),
            ("bob", &OTHER.replace("$04$", "$12$")),
            ("carol", &OTHER.replace("$04$", "$07$")),
        ]);
        let of = |number: u32| hash::cost(&auth.dummy_hash(&users, &number.to_be_bytes()));
        let costs: BTreeSet<_> = (0..1000).map(of).collect();
        assert_eq!(costs, BTreeSet::from([Some(4), Some(7), Some(12)]));
        assert!((0..1000).all(|number| of(number) == of(number)));
    }

    #[test]
    fn a_password_that_fits_a_dummy_hash_is_still_refused() {
        let auth = Auth::with_verify(Box::new(|_| true), 100);
        let mut users = users(&[("alice", HASH)]);
        assert_eq!(check(&auth, &users, "nobody", "x"), Decision::Refused);
        assert_eq!(check(&auth, &users, "nobody", "x"), Decision::Refused);
        // A user whose configured hash equals the dummy hash neither gets nor provides an unknown user's decision.
        users.insert("nobody".to_owned(), hash::dummy_hash(4));
        assert_eq!(check(&auth, &users, "nobody", "x"), Decision::Allowed);
        users.remove("nobody");
        assert_eq!(check(&auth, &users, "nobody", "x"), Decision::Refused);
    }

    #[test]
    fn a_changed_hash_and_a_removed_user_have_no_old_decision() {
        let (auth, asked) = counted();
        let before = users(&[("alice", HASH), ("bob", HASH)]);
        let after = users(&[("alice", OTHER)]);
        assert_eq!(check(&auth, &before, "alice", "U*U"), Decision::Allowed);
        assert_eq!(check(&auth, &before, "bob", "U*U"), Decision::Allowed);
        assert_eq!(
            check(&auth, &before, "alice", "correct horse"),
            Decision::Refused
        );
        assert_eq!(check(&auth, &after, "alice", "U*U"), Decision::Refused);
        assert_eq!(check(&auth, &after, "bob", "U*U"), Decision::Refused);
        assert_eq!(
            check(&auth, &after, "alice", "correct horse"),
            Decision::Allowed
        );
        assert_eq!(asked.lock().unwrap().len(), 6);
        assert_eq!(check(&auth, &before, "alice", "U*U"), Decision::Allowed);
        assert_eq!(asked.lock().unwrap().len(), 6, "known");
    }

    #[test]
    fn insignificant_bytes_of_a_password_cause_no_new_verification() {
        let (auth, asked) = counted();
        let users = users(&[("alice", HASH)]);
        for length in [72, 73, 1000] {
            let decision = check(&auth, &users, "alice", &"a".repeat(length));
            assert_eq!(decision, Decision::Refused);
        }
        assert_eq!(asked.lock().unwrap().len(), 1);
        check(&auth, &users, "alice", &"a".repeat(71));
        assert_eq!(asked.lock().unwrap().len(), 2);
    }

    #[test]
    fn after_shutdown_only_cached_decisions_are_returned() {
        let auth = Auth::new(256);
        let users = users(&[("alice", HASH)]);
        assert_eq!(check(&auth, &users, "alice", "U*U"), Decision::Allowed);
        auth.end();
        assert_eq!(check(&auth, &users, "alice", "U*U"), Decision::Allowed);
        assert_eq!(check(&auth, &users, "alice", "new"), Decision::Overloaded);
    }
}
