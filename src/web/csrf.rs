//! The key of the pages' forms: another site's page cannot know it, and so can have no test started or stopped by the
//! browser of somebody who visits it.
//!
//! Owns where the key stands in a request. (Refused: asking the browser whose page it was, by `Sec-Fetch-Site`, which
//! it says over HTTPS and to its own machine only, or by `Origin`, which fits no `Host` behind some proxies.)

use std::hash::{BuildHasher as _, RandomState};

/// The name of the key's field in a form.
pub(super) const NAME: &str = "key";

/// The key: another one for each process.
#[derive(Debug)]
pub(crate) struct CsrfToken(String);

impl CsrfToken {
    /// 64 bits that nobody can guess.
    pub(crate) fn new() -> Self {
        Self(format!("{:016x}", RandomState::new().hash_one(0)))
    }

    /// For a form.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// Takes the key out of a query string; none when it is not there, or another one.
    pub(super) fn taken_from(&self, query: &str) -> Option<String> {
        let is_key = |part: &&str| part.split_once('=') == Some((NAME, &self.0));
        let rest: Vec<&str> = query.split('&').filter(|part| !is_key(part)).collect();
        let has_key = query.split('&').any(|part| is_key(&part));
        has_key.then(|| rest.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use super::CsrfToken;

    #[test]
    fn a_key_opens_its_own_exporter_only() {
        let key = CsrfToken::new();
        let text = key.text();
        assert_eq!(text.len(), 16);
        let rest = |query: String| key.taken_from(&query);
        assert_eq!(rest(format!("key={text}")).as_deref(), Some(""));
        let found = rest(format!("a=b&key={text}&c"));
        assert_eq!(found.as_deref(), Some("a=b&c"));
        let other = CsrfToken::new();
        for query in [
            String::new(),
            "key=".to_owned(),
            "key".to_owned(),
            format!("a={text}"),
            format!("key={text}0"),
            format!("key={}", other.text()),
        ] {
            assert_eq!(rest(query.clone()), None, "{query}");
        }
    }
}
