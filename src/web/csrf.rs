//! The CSRF token of the pages' forms: another site's page cannot know it, and so can have no test started or stopped by
//! the browser of somebody who visits it.
//!
//! Owns where the token stands in a request. (Refused: asking the browser whose page it was, by `Sec-Fetch-Site`, which
//! it says over HTTPS and to its own machine only, or by `Origin`, which fits no `Host` behind some proxies.)

use std::hash::{BuildHasher as _, RandomState};

pub(super) const FIELD: &str = "token";

/// The token: 64 bits that nobody can guess, others for each process.
#[derive(Debug)]
pub(crate) struct CsrfToken(pub(super) String);

impl CsrfToken {
    pub(crate) fn new() -> Self {
        Self(format!("{:016x}", RandomState::new().hash_one(0)))
    }

    /// The query string without the token; none when the token is not there, or another one.
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
    fn a_token_opens_its_own_exporter_only() {
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
