//! Password hashes: which texts are bcrypt hashes, and whether a password fits.
//!
//! Owns the crate `bcrypt`; must not know whose hash it is. The exporter-toolkit asks Go's
//! `golang.org/x/crypto/bcrypt`. What fits there fits here; a text that Go takes at the start though no password can
//! ever fit it, or that no program writes (`$2$`, `$2z$`, a cost of `+5`), is refused here. No reason quotes any of the
//! text but its cost.

use std::ops::RangeInclusive;

use crate::number;

/// The characters of bcrypt's base64, in the order of their values.
const ALPHABET: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// Of the last character of a salt these bits belong to the 16th byte, the other four to none.
const SALT_END: usize = 0b11_0000;
/// Of the last character of a hash these bits belong to no byte.
const HASH_END: usize = 0b00_0011;
const SALT_CHARS: usize = 22;
const HASH_CHARS: usize = 31;
/// What a cost may be, as in Go.
const COSTS: RangeInclusive<u32> = 4..=31;
/// Of a password these bytes count; what follows makes no difference.
const PASSWORD_BYTES: usize = 72;

/// A hash, taken apart.
struct Parsed {
    /// The work is 2 to the power of it.
    cost: u32,
    /// The text as the crate takes it.
    canonical: String,
}

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
    parse(hash).is_ok_and(|hash| bcrypt::verify(password, &hash.canonical).unwrap_or(false))
}

/// The part of a password that counts: bcrypt repeats its key, the password and a NUL, over 72 bytes, and has no
/// place for more. (OpenBSD's, Go's and the crate's.)
pub(super) fn significant(password: &[u8]) -> &[u8] {
    password.get(..PASSWORD_BYTES).unwrap_or(password)
}

/// The cost of a hash; none when it is no hash.
pub(super) fn cost(hash: &str) -> Option<u32> {
    parse(hash).ok().map(|hash| hash.cost)
}

/// A hash that no password is known to fit: its 23 bytes are all zero, and bcrypt cannot be run backwards.
pub(super) fn dummy_hash(cost: u32) -> String {
    format!("$2b${cost:02}${:.<1$}", "", SALT_CHARS + HASH_CHARS)
}

fn parse(text: &str) -> Result<Parsed, String> {
    // A block of YAML ends with a newline, and Go does not look beyond the 60th character.
    let mut parts = text.trim_ascii_end().split('$');
    let (Some(""), Some(version)) = (parts.next(), parts.next()) else {
        return Err("is no bcrypt hash: it does not begin with `$2`".to_owned());
    };
    // Go makes no difference between them, nor does the crate. They differ where old programs had faults.
    if !matches!(version, "2a" | "2b" | "2x" | "2y") {
        return Err(
            "is no bcrypt hash of a known version, which are `$2a$`, `$2b$`, `$2x$` and `$2y$`"
                .to_owned(),
        );
    }
    let (Some(cost), Some(rest), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err("has not the shape of a bcrypt hash, `$2b$COST$SALT-AND-HASH`".to_owned());
    };
    let cost = parse_cost(cost)?;
    if rest.len() != SALT_CHARS + HASH_CHARS {
        return Err(format!(
            "has {} characters after its cost, a bcrypt hash has {}",
            rest.chars().count(),
            SALT_CHARS + HASH_CHARS
        ));
    }
    let values: Option<Vec<usize>> = rest
        .bytes()
        .map(|byte| ALPHABET.iter().position(|known| *known == byte))
        .collect();
    let Some(mut values) = values else {
        return Err(
            "has a character that no bcrypt hash has: only letters, digits, `.` and `/`".to_owned(),
        );
    };
    // Some programs fill these bits with chance. Go ignores them, the crate would refuse the hash.
    if let Some(end) = values.get_mut(SALT_CHARS - 1) {
        *end &= SALT_END;
    }
    if values.last().is_some_and(|end| end & HASH_END != 0) {
        return Err("ends with a character that no bcrypt hash ends with".to_owned());
    }
    let rest: String = values
        .into_iter()
        .filter_map(|value| ALPHABET.get(value).copied().map(char::from))
        .collect();
    Ok(Parsed {
        cost,
        canonical: format!("$2b${cost:02}${rest}"),
    })
}

fn parse_cost(text: &str) -> Result<u32, String> {
    match number::whole(text).filter(|_| text.len() == 2) {
        Some(cost) if COSTS.contains(&cost) => Ok(cost),
        Some(cost) => Err(format!(
            "has cost {cost}, which has to be {} to {}",
            COSTS.start(),
            COSTS.end()
        )),
        None => Err("has a cost that is not two digits".to_owned()),
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
        let other = hash.replacen("C.H", "CuH", 1);
        assert!(!verify(b"x", &other), "the upper bits do count");
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
            ("$sesame$".to_owned(), "known version"),
            (with("$2b$", "$2$"), "known version"),
            (with("$2b$", "$2z$"), "known version"),
            (with("$2b$", "$3b$"), "known version"),
            (with("$2b$", "$1b$"), "known version"),
            ("$2b$04".to_owned(), "shape"),
            (with("K7Q", "$7Q"), "shape"),
            (with("$04$", "$03$"), "has cost 3, which has to be 4 to 31"),
            (with("$04$", "$32$"), "has cost 32, which has to be 4 to 31"),
            (with("$04$", "$+5$"), "two digits"),
            (with("$04$", "$4$"), "two digits"),
            (with("$04$", "$004$"), "two digits"),
            (with("$04$", "$xx$"), "two digits"),
            (with("GSK", "GS"), "has 52 characters"),
            (with("GSK", "GSKK"), "has 54 characters"),
            (with("K7Q", "K-Q"), "only letters"),
            (with("K7Q", "K\u{e9}"), "only letters"),
            (with("GSK", "GSL"), "ends with"),
        ];
        for (text, reason) in cases {
            let error = check(&text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
            assert!(!verify(b"U*U", &text) && cost(&text).is_none(), "{text}");
            for secret in ["sesame", "MxuggH4", "CCCC", "2z", "3b"] {
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
