//! Hides secrets in text from a client before it is shown: a client may put a secret in the wrong place.
//!
//! Must not know which parameters exist.

use crate::probe::values::decode;

/// A name that contains one of these belongs to a secret.
const NAMES: &[&str] = &["pass", "pwd", "secret", "token", "key", "auth", "cred"];
/// Shown in place of a secret.
pub(crate) const HIDDEN: &str = "<hidden>";

/// A query with its secrets hidden.
pub(crate) fn without_secrets(query: &str) -> String {
    let shown = query.split('&').map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        if carries_secret(name) {
            HIDDEN.to_owned()
        } else if !value.is_empty() && (is_secret(name) || carries_secret(value)) {
            format!("{name}={HIDDEN}")
        } else {
            part.to_owned()
        }
    });
    shown.collect::<Vec<_>>().join("&")
}

/// Whether a text, percent-encoded or not, contains a secret: `user:password@host`, or one of `NAMES` in a text that is
/// more than a plain name, host or port.
pub(crate) fn carries_secret(text: &str) -> bool {
    let text = decode(text).unwrap_or_else(|| text.to_owned());
    let is_plain = |c: char| c.is_alphanumeric() || "._-:/[]".contains(c);
    text.contains('@') || text.contains("%40") || (is_secret(&text) && !text.chars().all(is_plain))
}

fn is_secret(name: &str) -> bool {
    let name = decode(name).unwrap_or_else(|| name.to_owned());
    let name = name.to_ascii_lowercase();
    NAMES.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::without_secrets;

    #[test]
    fn a_query_is_shown_without_secrets() {
        for (query, shown) in [
            ("", ""),
            ("target=a&perioud=5s", "target=a&perioud=5s"),
            (
                "target=a&iperf3_password=hunter2&b",
                "target=a&iperf3_password=<hidden>&b",
            ),
            ("PASSWD=a=b&%70wd=x", "PASSWD=<hidden>&%70wd=<hidden>"),
            ("key=0123&auth.token=x", "key=<hidden>&auth.token=<hidden>"),
            ("target=a%26password%3Dhunter2&x", "target=<hidden>&x"),
            ("target=a;password=hunter2", "target=<hidden>"),
            ("target=user:hunter2@host", "target=<hidden>"),
            ("target=user:hunter2%40host", "target=<hidden>"),
            ("bind=u:hunter2%40h%zz", "bind=<hidden>"),
            ("target%3Da;pwd%3Dhunter2&a", "<hidden>&a"),
            ("a;pwd%3Dhunter2=x", "<hidden>"),
            // Host names, and texts without a secret.
            (
                "target=keycloak.example:5201&bind=[::1]&x=http://auth.example/a",
                "target=keycloak.example:5201&bind=[::1]&x=http://auth.example/a",
            ),
            ("target=a%3Bb%3Dc", "target=a%3Bb%3Dc"),
        ] {
            assert_eq!(without_secrets(query), shown);
        }
    }
}
