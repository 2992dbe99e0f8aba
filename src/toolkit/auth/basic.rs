//! Parses `Authorization: Basic` (RFC 7617) into user and password.
//!
//! Owns the crate `base64`. Must not know who the users are. Accepts exactly what Go's `Request.BasicAuth` accepts,
//! which the exporter-toolkit uses.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// The scheme, in any case, and the one space after it.
const SCHEME: &[u8] = b"basic ";

/// Like Go's `base64.StdEncoding`: padding is required, and unused bits of the last character are ignored.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
        .with_decode_allow_trailing_bits(true),
);

/// User and password as bytes, because the header has no charset. Without `Debug`, so that they cannot be logged.
pub(super) struct BasicAuth {
    /// Everything before the first colon; may be empty.
    pub(super) user: Vec<u8>,
    /// Everything after it; may be empty, and may contain colons and NUL bytes.
    pub(super) password: Vec<u8>,
}

/// Parses the value of an `Authorization` header, trimmed of blanks; `None` if it is not `Basic`, not base64, or has no
/// colon. Two headers joined by a comma are not base64.
pub(super) fn parse(header: &str) -> Option<BasicAuth> {
    let (scheme, encoded) = header.as_bytes().split_at_checked(SCHEME.len())?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return None;
    }
    let decoded = BASE64.decode(encoded).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (user, rest) = decoded.split_at_checked(colon)?;
    let (_, password) = rest.split_first()?;
    Some(BasicAuth {
        user: user.to_vec(),
        password: password.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::{BASE64, parse};
    use crate::fuzz::cases;
    use base64::Engine as _;

    fn parts(header: &str) -> Option<(Vec<u8>, Vec<u8>)> {
        parse(header).map(|found| (found.user, found.password))
    }

    fn found(user: &[u8], password: &[u8]) -> (Vec<u8>, Vec<u8>) {
        (user.to_vec(), password.to_vec())
    }

    #[test]
    fn headers_that_go_accepts_are_accepted() {
        let aladdin = Some(found(b"Aladdin", b"open sesame"));
        // The example of RFC 7617.
        assert_eq!(parts("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), aladdin);
        assert_eq!(parts("bAsIC QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), aladdin);
        // Unused bits of the last character: Go's decoder is not strict.
        assert_eq!(parts("Basic QWxhZGRpbjpvcGVuIHNlc2FtZR=="), aladdin);
        assert_eq!(parts("Basic Og=="), Some(found(b"", b"")));
        assert_eq!(parts("Basic YTpiOmM="), Some(found(b"a", b"b:c")));
        assert_eq!(parts("Basic Ojo="), Some(found(b"", b":")));
        assert_eq!(parts("Basic YTr/AA=="), Some(found(b"a", b"\xff\0")));
        assert_eq!(parts("Basic /zph"), Some(found(b"\xff", b"a")));
    }

    #[test]
    fn headers_that_go_rejects_are_rejected() {
        for header in [
            "",
            "Basic",
            "Basic ",
            "Basic\tYTpi",
            "Basic  YTpi",
            " Basic YTpi",
            "BasicYTpi",
            "Basi YTpi",
            "Bearer YTpi",
            "Digest username=\"a\"",
            // No colon.
            "Basic YWJj",
            // Padding is missing, too long, or in the middle.
            "Basic YTpiOmM",
            "Basic YTpiOmM==",
            "Basic YTpi=",
            "Basic YTpi====",
            "Basic Og==Og==",
            "Basic =",
            // The URL alphabet, blanks, and text that is not base64.
            "Basic YTr_AA==",
            "Basic YTpi ",
            "Basic YT pi",
            "Basic YTpi\u{e9}",
            "B\u{e4}sic YTpi",
            "a:b",
        ] {
            assert!(parse(header).is_none(), "{header}");
        }
    }

    #[test]
    fn two_headers_in_one_never_authenticate() {
        let two = ["Basic YTpi", "Basic Og==", "Bearer x", "basic YTpiYw==", ""];
        for first in two {
            for second in two {
                let joined = format!("{first}, {second}");
                assert!(parse(&joined).is_none(), "{joined}");
                let joined = format!("{first},{second}");
                assert!(parse(&joined).is_none(), "{joined}");
            }
        }
    }

    /// Random headers made of relevant pieces: what is parsed equals what was encoded, and nothing panics.
    #[test]
    fn random_headers_are_parsed_correctly_or_rejected() {
        let pieces = [
            "Basic ", "basic", " ", "=", "==", "Og==", "YTpi", ", ", "\u{e9}", "+", "/", "-", "\0",
        ];
        let mut read = 0;
        cases(5_000, |random| {
            let scheme = random.one_of(&["Basic ", ""]);
            let rest: String = (0..random.within(0..6))
                .map(|_| random.one_of(&pieces))
                .collect();
            let header = format!("{scheme}{rest}");
            if let Some(found) = parse(&header) {
                read += 1;
                let encoded = header.split_once(' ').unwrap().1;
                let mut whole = found.user.clone();
                whole.push(b':');
                whole.extend(&found.password);
                assert!(!found.user.contains(&b':'));
                assert_eq!(BASE64.decode(encoded).unwrap(), whole);
            }
            let bytes: Vec<u8> = (0..random.within(0..40)).map(|_| random.byte()).collect();
            parse(&String::from_utf8_lossy(&bytes));
            let there_and_back = parse(&format!("Basic {}", BASE64.encode(&bytes)));
            let colon = bytes.iter().position(|byte| *byte == b':');
            assert_eq!(
                there_and_back.map(|found| (found.user, found.password)),
                colon.map(|at| (bytes[..at].to_vec(), bytes[at + 1..].to_vec()))
            );
        });
        // Otherwise the pieces would miss the interesting cases. A single case proves nothing.
        assert!(
            read > 25 || std::env::var_os("FUZZ_CASES").is_some(),
            "only {read} could be read"
        );
    }
}
