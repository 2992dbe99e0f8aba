//! Who may come in: users and their passwords (RFC 7617), and what it may cost to find out.
//!
//! Must not know where users are written down, or HTTP beyond the header. `basic` reads the header,
//! `credential_cache` has the known decisions, and `verification_queue` verifies one `hash` at a time.
//!
//! A hash takes twice as long with each step of its cost: at 10 it took 58 ms on a PC, so 14 takes a second there,
//! and a small router is some ten times slower. A scraper pays it once, at its first scrape after a start; but the
//! cost also is what each wrong password may take of one processor, so on a router more than 10 buys little.

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

/// Bcrypt hashes by user; empty means that nobody is asked.
pub(crate) type Users = BTreeMap<String, String>;

/// Decisions that are known, and the queue for those that are not. One for the whole process, through all changes of
/// the users: a user who is gone or has another hash has no old decision.
pub(crate) struct Auth {
    queue: VerificationQueue,
    /// Which cost an unknown user seems to have; another one at each start.
    seed: RandomState,
}

impl Auth {
    /// For so many connections, of which at most half wait for a decision: the others are for those who have one.
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

    /// Checks the value of a request's `Authorization` header, without the blanks around it. It waits while others
    /// are judged, 10 s at most, and may then work for as long as one hash takes; a known decision never waits.
    ///
    /// An unknown user takes the same way as a known one, hash and memory for decisions included, so that the time
    /// does not tell which users there are.
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
        // Made in any case, and before it is known whether it is needed.
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

    /// The exporter ends: whoever waits for a decision has [`Decision::Overloaded`] at once, and so has whoever comes
    /// with credentials that are not known. A hash that is being made cannot be stopped.
    pub(crate) fn end(&self) {
        self.queue.end();
    }

    /// The hash of a user who does not exist, of the cost of one who does. Which one is a matter of the name, and
    /// the same each time. (Refused: the highest cost of all. Where costs differ, a user with a lower one would
    /// answer faster than a name that does not exist.)
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
    /// Of "U*U" and of "correct horse", made with libxcrypt's crypt(3).
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

    /// The real hashes, and which were asked for.
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
    fn the_right_password_is_let_in_and_no_other() {
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
    fn without_users_nobody_is_asked() {
        let (auth, asked) = counted();
        for header in [None, Some("Basic YTpi"), Some("garbage")] {
            assert_eq!(auth.check(&Users::new(), header, CLIENT), Decision::Allowed);
        }
        assert!(asked.lock().unwrap().is_empty());
    }

    #[test]
    fn a_header_that_says_nothing_costs_no_hash() {
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
        // One each, and then both are known.
        assert_eq!(
            *asked.lock().unwrap(),
            [HASH.to_owned(), hash::dummy_hash(4)]
        );
    }

    #[test]
    fn unknown_users_seem_to_have_the_costs_of_known_ones() {
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
    fn what_fits_a_dummy_hash_is_refused_all_the_same() {
        let auth = Auth::with_verify(Box::new(|_| true), 100);
        let mut users = users(&[("alice", HASH)]);
        assert_eq!(check(&auth, &users, "nobody", "x"), Decision::Refused);
        assert_eq!(check(&auth, &users, "nobody", "x"), Decision::Refused);
        // Not even a user whose hash is the dummy has the decision of somebody who was unknown, or lends it.
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
    fn bytes_of_a_password_that_do_not_count_make_no_new_question() {
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
    fn after_the_end_only_known_decisions_are_told() {
        let auth = Auth::new(256);
        let users = users(&[("alice", HASH)]);
        assert_eq!(check(&auth, &users, "alice", "U*U"), Decision::Allowed);
        auth.end();
        assert_eq!(check(&auth, &users, "alice", "U*U"), Decision::Allowed);
        assert_eq!(check(&auth, &users, "alice", "new"), Decision::Overloaded);
    }
}
