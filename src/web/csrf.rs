//! The CSRF token of the pages' forms. Another site's page cannot know it. So it cannot make a visitor's browser start
//! or stop a test.
//!
//! Owns where the token is in a request. (Refused: `Sec-Fetch-Site`, which browsers send only over HTTPS and to their
//! own machine; and `Origin`, which does not match `Host` behind some proxies.)

use std::hash::{BuildHasher as _, RandomState};

pub(super) const FIELD: &str = "token";

/// The token: 64 random bits, different for each process.
#[derive(Debug)]
pub(crate) struct CsrfToken(pub(super) String);

impl CsrfToken {
    pub(crate) fn new() -> Self {
        Self(format!("{:016x}", RandomState::new().hash_one(0)))
    }

    /// The query string without the token. `None` if the token is missing or wrong.
    pub(super) fn taken_from(&self, query: &str) -> Option<String> {
        let is_token = |part: &str| part.split_once('=') == Some((FIELD, &self.0));
        let (tokens, rest): (Vec<&str>, Vec<&str>) =
            query.split('&').partition(|part| is_token(part));
        (!tokens.is_empty()).then(|| rest.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use super::CsrfToken;

    #[test]
    fn a_token_is_valid_for_its_own_exporter_only() {
        let token = CsrfToken::new();
        let text = &token.0;
        assert_eq!(text.len(), 16);
        let rest = |query: String| token.taken_from(&query);
        assert_eq!(rest(format!("token={text}")).as_deref(), Some(""));
        let found = rest(format!("a=b&token={text}&c"));
        assert_eq!(found.as_deref(), Some("a=b&c"));
        let other = CsrfToken::new();
        for query in [
            String::new(),
            "token=".to_owned(),
            "token".to_owned(),
            format!("a={text}"),
            format!("token={text}0"),
            format!("token={}", other.0),
        ] {
            assert_eq!(rest(query.clone()), None, "{query}");
        }
    }
}
