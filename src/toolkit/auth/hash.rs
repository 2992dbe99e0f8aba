//! Password hashes: which texts are bcrypt hashes, and whether a password fits.
//!
//! Owns the crate `bcrypt`; must not know whose hash it is. The exporter-toolkit asks Go's
//! `golang.org/x/crypto/bcrypt`. What fits there fits here; a text that Go takes at the start though no password can
//! ever fit it, or that no program writes (`$2$`, `$2z$`), is refused here. No reason quotes any of the text but its
//! cost.

use std::ops::RangeInclusive;

use bcrypt::HashParts;

/// Where the last character of the salt stands.
const SALT_END: usize = 28;
const SALT_AND_HASH_CHARS: usize = 53;
/// What a cost may be, as in Go. The work is 2 to the power of it.
const COSTS: RangeInclusive<u32> = 4..=31;
/// Of a password these bytes count; what follows makes no difference.
const PASSWORD_BYTES: usize = 72;

/// Whether a text is a bcrypt hash.
///
/// # Errors
/// Why it is none, as a sentence that goes after "the hash of USER".
pub(crate) fn check(hash: &str) -> Result<(), String> {
    parse(hash).map(drop)
}

/// Whether a password fits, in time that does not depend on where it differs. A text that [`check`] refuses is
/// fitted by none.
pub(super) fn verify(password: &[u8], hash: &str) -> bool {
    parse(hash).is_ok_and(|hash| bcrypt::verify(password, &hash.to_string()).unwrap_or(false))
}

/// The part of a password that counts: bcrypt repeats its key, the password and a NUL, over 72 bytes, and has no
/// place for more. (OpenBSD's, Go's and the crate's.)
pub(super) fn significant(password: &[u8]) -> &[u8] {
    password.get(..PASSWORD_BYTES).unwrap_or(password)
}

/// The cost of a hash; none when it is no hash.
pub(super) fn cost(hash: &str) -> Option<u32> {
    parse(hash).ok().map(|hash| hash.get_cost())
}

/// A hash that no password is known to fit: its 23 bytes are all zero, and bcrypt cannot be run backwards.
pub(super) fn dummy_hash(cost: u32) -> String {
    format!("$2b${cost:02}${:.<1$}", "", SALT_AND_HASH_CHARS)
}

fn parse(text: &str) -> Result<HashParts, String> {
    // A block of YAML ends with a newline, and Go does not look beyond the 60th character.
    let text = text.trim_ascii_end();
    if !text.starts_with("$2") {
        return Err("is not a bcrypt hash: it does not begin with `$2`".to_owned());
    }
    let salt_end = |(at, c)| {
        if at == SALT_END {
            without_unused_bits(c)
        } else {
            c
        }
    };
    let canonical: String = text.char_indices().map(salt_end).collect();
    let hash: HashParts = canonical.parse().map_err(|_| {
        format!(
            "is not a bcrypt hash, want `$2a$`, `$2b$`, `$2x$` or `$2y$`, a cost of two digits, `$`, and \
             {SALT_AND_HASH_CHARS} letters, digits, `.` and `/`"
        )
    })?;
    let cost = hash.get_cost();
    if !COSTS.contains(&cost) {
        let (min, max) = (COSTS.start(), COSTS.end());
        return Err(format!("has cost {cost}, want a cost from {min} to {max}"));
    }
    Ok(hash)
}

/// Of the last character of a salt two bits belong to its 16th byte, the other four to none. Some programs fill those
/// with chance. Go ignores them, the crate would refuse the hash.
fn without_unused_bits(salt_end: char) -> char {
    match salt_end {
        '.' | '/' | 'A'..='N' => '.',
        'O'..='Z' | 'a'..='d' => 'O',
        'e'..='t' => 'e',
        'u'..='z' | '0'..='9' => 'u',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::{check, cost, dummy_hash, significant, verify};

    /// Made with libxcrypt's crypt(3), which is not the code under test.
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
    fn hashes_of_another_program_fit() {
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
    fn of_a_password_72_bytes_count() {
        let hash = PLAIN[4].1;
        let mut long = [b'a'; 73];
        long[72] = b'b';
        assert!(verify(&long, hash), "the 73rd byte makes no difference");
        long[71] = b'b';
        assert!(!verify(&long, hash), "the 72nd does");
        assert_eq!(significant(&long).len(), 72);
        assert_eq!(significant(&long[..72]), &long[..72]);
        assert_eq!(significant(b"short"), b"short");
    }

    /// Go's key is the password and a NUL, repeated: a NUL within is a byte like others, and ends nothing.
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
    fn bits_of_a_salt_that_count_for_nothing_are_ignored_as_in_go() {
        // crypt(3) made the same hash of the salts that end in `.` and in `/`.
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
    fn what_is_no_hash_is_refused_with_a_reason_that_does_not_quote_it() {
        let good = PLAIN[1].1;
        let with = |from: &str, to: &str| good.replacen(from, to, 1);
        let cases = [
            (String::new(), "does not begin with"),
            ("sesame".to_owned(), "does not begin with"),
            (format!("x{good}"), "does not begin with"),
            ("$sesame$".to_owned(), "does not begin with"),
            (with("$2b$", "$2$"), "53 letters"),
            (with("$2b$", "$2z$"), "53 letters"),
            (with("$2b$", "$3b$"), "does not begin with"),
            (with("$2b$", "$1b$"), "does not begin with"),
            ("$2b$04".to_owned(), "53 letters"),
            (with("K7Q", "$7Q"), "53 letters"),
            (with("$04$", "$03$"), "has cost 3, want a cost from 4 to 31"),
            (
                with("$04$", "$32$"),
                "has cost 32, want a cost from 4 to 31",
            ),
            (with("$04$", "$4$"), "53 letters"),
            (with("$04$", "$004$"), "53 letters"),
            (with("$04$", "$xx$"), "53 letters"),
            (with("GSK", "GS"), "53 letters"),
            (with("GSK", "GSKK"), "53 letters"),
            (with("K7Q", "K-Q"), "53 letters"),
            (with("K7Q", "K\u{e9}"), "53 letters"),
            (with("GSK", "GSL"), "53 letters"),
        ];
        for (text, reason) in cases {
            let error = check(&text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
            assert!(!verify(b"U*U", &text) && cost(&text).is_none(), "{text}");
            for secret in ["sesame", "MxuggH4", "CCCC", "2z", "3b$"] {
                assert!(!error.contains(secret), "{error}");
            }
        }
        for cost in 4..=31 {
            assert_eq!(check(&with("$04$", &format!("${cost:02}$"))), Ok(()));
        }
    }

    #[test]
    fn a_dummy_hash_is_one_of_its_cost() {
        for wanted in [4, 10, 31] {
            assert_eq!(check(&dummy_hash(wanted)), Ok(()));
            assert_eq!(cost(&dummy_hash(wanted)), Some(wanted));
        }
        assert!(!verify(b"", &dummy_hash(4)));
    }
}
