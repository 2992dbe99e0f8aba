//! Password hashes: which texts are bcrypt hashes, and whether a password fits.
//!
//! Owns the crate `bcrypt`. Must not know whose hash it is. A password that fits in Go's `golang.org/x/crypto/bcrypt`,
//! which the exporter-toolkit uses, fits here. Some texts that Go accepts at the start are refused here: those that no
//! password can fit, and prefixes that no program writes (`$2$`, `$2z$`). An error quotes nothing of the text but its
//! cost.

use std::fmt;
use std::ops::RangeInclusive;

use bcrypt::HashParts;

/// Index of the last character of the salt.
const SALT_END: usize = 28;
const SALT_AND_HASH_CHARS: usize = 53;
/// The allowed costs, as in Go. The work is 2 to the power of the cost.
const COSTS: RangeInclusive<u32> = 4..=31;
/// Only these first bytes of a password count.
const PASSWORD_BYTES: usize = 72;

/// Why no password can fit a text. The words follow "the hash of USER".
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HashError {
    /// It does not begin like a bcrypt hash.
    Beginning,
    /// It begins like one, but goes on differently.
    Form,
    /// Its cost is not allowed.
    Cost(u32),
}

/// Checks that a text is a bcrypt hash.
pub(crate) fn check(hash: &str) -> Result<(), HashError> {
    parse(hash).map(drop)
}

/// Whether a password fits, in time that does not depend on where it differs. No password fits a text that [`check`]
/// refuses.
pub(super) fn verify(password: &[u8], hash: &str) -> bool {
    parse(hash).is_ok_and(|hash| bcrypt::verify(password, &hash.to_string()).unwrap_or(false))
}

/// The significant part of a password: bcrypt's key, which is the password and a NUL repeated, has 72 bytes. (In the
/// implementations of OpenBSD, Go and the crate.)
pub(super) fn significant(password: &[u8]) -> &[u8] {
    password.get(..PASSWORD_BYTES).unwrap_or(password)
}

/// The cost of a hash; `None` if the text is not a hash.
pub(super) fn cost(hash: &str) -> Option<u32> {
    parse(hash).ok().map(|hash| hash.get_cost())
}

/// A hash that no known password fits: its 23 bytes are all zero, and bcrypt cannot be inverted.
pub(super) fn dummy_hash(cost: u32) -> String {
    format!("$2b${cost:02}${:.<1$}", "", SALT_AND_HASH_CHARS)
}

fn parse(text: &str) -> Result<HashParts, HashError> {
    // A YAML block ends with a newline, and Go ignores everything after the 60th character.
    let text = text.trim_ascii_end();
    if !text.starts_with("$2") {
        return Err(HashError::Beginning);
    }
    let salt_end = |(at, c)| {
        if at == SALT_END {
            without_unused_bits(c)
        } else {
            c
        }
    };
    let canonical: String = text.char_indices().map(salt_end).collect();
    let hash: HashParts = canonical.parse().map_err(|_| HashError::Form)?;
    let cost = hash.get_cost();
    if !COSTS.contains(&cost) {
        return Err(HashError::Cost(cost));
    }
    Ok(hash)
}

/// Clears the unused bits of the salt's last character: two of its bits belong to the 16th byte, the other four to
/// none. Some programs set them at random. Go ignores them; the crate would refuse the hash.
fn without_unused_bits(salt_end: char) -> char {
    match salt_end {
        '.' | '/' | 'A'..='N' => '.',
        'O'..='Z' | 'a'..='d' => 'O',
        'e'..='t' => 'e',
        'u'..='z' | '0'..='9' => 'u',
        other => other,
    }
}

impl fmt::Display for HashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Beginning => f.write_str("is not a bcrypt hash: it does not begin with `$2`"),
            Self::Form => write!(
                f,
                "is not a bcrypt hash, want `$2a$`, `$2b$`, `$2x$` or `$2y$`, a cost of two digits, `$`, and \
                 {SALT_AND_HASH_CHARS} letters, digits, `.` and `/`"
            ),
            Self::Cost(cost) => {
                let (min, max) = (COSTS.start(), COSTS.end());
                write!(f, "has cost {cost}, want a cost from {min} to {max}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{check, cost, dummy_hash, significant, verify};

    /// Made with crypt(3) of libxcrypt, which is independent of the code under test.
    const PLAIN: [(&[u8], &str); 10] = [
        (
            b"",
            "$2b$04$CCCCCCCCCCCCCCCCCCCCC.Cg0ly9t/KVBCBYYDfOmZKwry9JuXClC",
        ),
        (
            b"U*U",
            "$2b$04$CCCCCCCCCCCCCCCCCCCCC.K7Qr0se1MxuggH4aP4YgB.U2Em1pGSK",
        ),
        (
            b"correct horse",
            "$2b$04$CCCCCCCCCCCCCCCCCCCCC..o66Ba.o65rt06KXeSpKWfObOB7QJIe",
        ),
        (
            &[b'a'; 71],
            "$2b$04$CCCCCCCCCCCCCCCCCCCCC.ZP48wSDJeZC4KEEZRkahyfLke0vxZNC",
        ),
        (
            &[b'a'; 72],
            "$2b$04$CCCCCCCCCCCCCCCCCCCCC.mDyzbhj.9K0apb9O/AGMWwoLXiYAu6u",
        ),
        (
            &[b'a'; 100],
            "$2b$04$CCCCCCCCCCCCCCCCCCCCC.mDyzbhj.9K0apb9O/AGMWwoLXiYAu6u",
        ),
        (
            b"\xff\xa3345",
            "$2b$04$CCCCCCCCCCCCCCCCCCCCC.KBv1eBM2he2T/QheS8zPHMejn5fMNRe",
        ),
        (
            b"\xa3",
            "$2a$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq",
        ),
        (
            b"x",
            "$2y$04$abcdefghijklmnopqrstuuPp7HPfoAs8I2dCQCQ/fW7zEJv8I8C8e",
        ),
        (
            b"x",
            "$2x$04$abcdefghijklmnopqrstuuPp7HPfoAs8I2dCQCQ/fW7zEJv8I8C8e",
        ),
    ];

    #[test]
    fn hashes_of_another_program_are_verified() {
        for (password, hash) in PLAIN {
            assert_eq!(check(hash), Ok(()), "{hash}");
            assert!(verify(password, hash), "{hash}");
            assert!(!verify(b"another", hash), "{hash}");
        }
    }

    /// The vector of Go's own test, at its cost of 10.
    #[test]
    fn the_vector_of_gos_test_fits() {
        let hash = "$2a$10$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga";
        assert!(verify(b"allmine", hash));
        assert_eq!(cost(hash), Some(10));
    }

    #[test]
    fn only_72_bytes_of_a_password_count() {
        let hash = PLAIN[4].1;
        let mut long = [b'a'; 73];
        long[72] = b'b';
        assert!(verify(&long, hash), "the 73rd byte counts");
        long[71] = b'b';
        assert!(!verify(&long, hash), "the 72nd byte does not count");
        assert_eq!(significant(&long).len(), 72);
        assert_eq!(significant(&long[..72]), &long[..72]);
        assert_eq!(significant(b"short"), b"short");
    }

    /// Go's key is the password and a NUL, repeated. A NUL inside is an ordinary byte and ends nothing.
    #[test]
    fn a_nul_ends_no_password() {
        let of_nothing = PLAIN[0].1;
        assert!(
            verify(b"\0", of_nothing),
            "the key is NUL, repeated, for both"
        );
        assert!(!verify(b"\0x", of_nothing));
        let of_x = PLAIN[8].1;
        assert!(!verify(b"x\0", of_x));
        assert!(!verify(b"x\0y", of_x));
        assert!(verify(b"x\0x", of_x), "x NUL x NUL is x NUL, repeated");
    }

    #[test]
    fn unused_bits_of_a_salt_are_ignored_as_in_go() {
        // crypt(3) made the same hash for the salts that end in `.` and in `/`.
        let hash = "$2b$04$CCCCCCCCCCCCCCCCCCCCC.HrBIdffznV69GxsYPA9PLSACo3k11D6";
        let same = hash.replacen("C.H", "C/H", 1);
        assert!(verify(b"x", hash) && verify(b"x", &same));
        assert_eq!(check(&same), Ok(()));
        for (first, last) in [('.', 'N'), ('O', 'd'), ('e', 't'), ('u', '9')] {
            let with = |end| hash.replacen("C.H", &format!("C{end}H"), 1);
            let is_same = first == '.';
            assert_eq!(
                verify(b"x", &with(first)),
                is_same,
                "the upper bits do count"
            );
            assert_eq!(verify(b"x", &with(last)), is_same);
            assert_eq!(check(&with(last)), Ok(()));
        }
    }

    #[test]
    fn blanks_at_the_end_are_ignored() {
        let hash = format!("{}\n", PLAIN[1].1);
        assert_eq!(check(&hash), Ok(()));
        assert!(verify(PLAIN[1].0, &hash));
    }

    #[test]
    fn an_invalid_hash_is_refused_without_quoting_it() {
        let good = PLAIN[1].1;
        let with = |from: &str, to: &str| good.replacen(from, to, 1);
        let beginning = "is not a bcrypt hash: it does not begin with `$2`";
        let form = "is not a bcrypt hash, want `$2a$`, `$2b$`, `$2x$` or `$2y$`, a cost of two digits, `$`, and 53 \
                    letters, digits, `.` and `/`";
        let cases = [
            (String::new(), beginning),
            ("sesame".to_owned(), beginning),
            (format!("x{good}"), beginning),
            ("$sesame$".to_owned(), beginning),
            (with("$2b$", "$2$"), form),
            (with("$2b$", "$2z$"), form),
            (with("$2b$", "$3b$"), beginning),
            (with("$2b$", "$1b$"), beginning),
            ("$2b$04".to_owned(), form),
            (with("K7Q", "$7Q"), form),
            (with("$04$", "$03$"), "has cost 3, want a cost from 4 to 31"),
            (
                with("$04$", "$32$"),
                "has cost 32, want a cost from 4 to 31",
            ),
            (with("$04$", "$4$"), form),
            (with("$04$", "$004$"), form),
            (with("$04$", "$xx$"), form),
            (with("GSK", "GS"), form),
            (with("GSK", "GSKK"), form),
            (with("K7Q", "K-Q"), form),
            (with("K7Q", "K\u{e9}"), form),
            (with("GSK", "GSL"), form),
        ];
        for (text, reason) in cases {
            assert_eq!(check(&text).unwrap_err().to_string(), reason, "{text}");
            assert!(!verify(b"U*U", &text) && cost(&text).is_none(), "{text}");
        }
        for cost in 4..=31 {
            assert_eq!(check(&with("$04$", &format!("${cost:02}$"))), Ok(()));
        }
    }

    #[test]
    fn a_dummy_hash_has_the_requested_cost() {
        for wanted in [4, 10, 31] {
            assert_eq!(check(&dummy_hash(wanted)), Ok(()));
            assert_eq!(cost(&dummy_hash(wanted)), Some(wanted));
        }
        assert!(!verify(b"", &dummy_hash(4)));
    }
}
