//! What all pages share: document, headers, style, icon, escaping, times.
//!
//! Must not know what a page shows.

use std::fmt::Write as _;
use std::fs;
use std::ops::Range;
use std::time::SystemTime;

use crate::http::request::Request;
use crate::http::response::Response;
use crate::time_text::rfc3339_millis;
use crate::web::Site;
use crate::web::answer_text::push_visible;

/// The Content-Security-Policy of every page: the exporter's own style, icon and forms, nothing else. One of the three
/// endings below follows: for a page without a frame, a page with a frame, or the document in a frame.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'";
const ALONE: &str = "frame-ancestors 'none'";
const WITH_FRAME: &str = "frame-src 'self'; frame-ancestors 'none'";
const IN_FRAME: &str = "frame-ancestors 'self'";

const HEADERS: &[(&str, &str)] = &[
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    // A page shows one moment, and may be behind a password.
    ("Cache-Control", "no-store"),
];

pub(crate) fn style(_: &Site, _: &Request<'_>) -> Response {
    let style = include_str!("style.css");
    Response::new(200, "text/css; charset=utf-8", style.to_owned())
}

pub(crate) fn icon(_: &Site, _: &Request<'_>) -> Response {
    let icon = include_str!("icon.svg");
    Response::new(200, "image/svg+xml", icon.to_owned())
}

/// A page with one message; `root` is the relative URL of the first page.
pub(crate) fn message(code: u16, line: &str, root: &str) -> Response {
    let title = match code {
        400 => "This cannot be run",
        403 => "Not allowed",
        404 => "Not found",
        409 => "Not possible",
        _ => "Not now",
    };
    let header = format!("<h1>{title}</h1>\n");
    let line = escaped(line);
    let main = format!("<p>{line}</p>\n<p><a href=\"{root}\">To the first page</a></p>\n");
    page(code, title, root, &header, &main)
}

/// A whole page; `root` is the relative URL of the first page. Title, header and main part are HTML.
pub(super) fn page(code: u16, title: &str, root: &str, header: &str, main: &str) -> Response {
    let body = format!(
        "<body>\n<a class=\"skip\" href=\"#main\">Skip to the content</a>\n\
         <header>\n{header}</header>\n<main id=\"main\" tabindex=\"-1\">\n{main}</main>\n</body>"
    );
    with_policy(document(code, title, root, &body), ALONE)
}

/// Allows a page to contain a frame with a document of this exporter.
pub(super) fn framing(page: Response) -> Response {
    with_policy(page, WITH_FRAME)
}

/// The document in a page's frame, with its title as the heading.
pub(super) fn embedded(code: u16, title: &str, root: &str, main: &str) -> Response {
    let body = format!("<body class=\"framed\">\n<main>\n<h1>{title}</h1>\n{main}</main>\n</body>");
    with_policy(document(code, title, root, &body), IN_FRAME)
}

/// The document in a frame that is a few lines high, with its title in front of the text.
pub(super) fn strip(title: &str, root: &str, main: &str) -> Response {
    let body =
        format!("<body class=\"framed strip\">\n<main>\n<h1>{title}</h1>\n{main}</main>\n</body>");
    with_policy(document(200, title, root, &body), IN_FRAME)
}

fn with_policy(response: Response, framing: &str) -> Response {
    response.with_header("Content-Security-Policy", format!("{POLICY}; {framing}"))
}

fn document(code: u16, title: &str, root: &str, body: &str) -> Response {
    let page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title} · {}</title>\n\
         <link rel=\"icon\" href=\"{root}icon.svg\" type=\"image/svg+xml\">\n\
         <link rel=\"stylesheet\" href=\"{root}style.css\">\n</head>\n{body}\n</html>\n",
        name()
    );
    let response = Response::new(code, "text/html; charset=utf-8", page);
    HEADERS.iter().fold(response, |response, (name, value)| {
        response.with_header(*name, *value)
    })
}

/// The exporter's name and its host's name, to tell several open pages apart.
pub(super) fn name() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match host.trim() {
        "" => "iperf3 exporter".to_owned(),
        host => format!("iperf3 exporter on {}", escaped(host)),
    }
}

/// Host and port of a server. The text wraps only if it is wider than a phone's screen.
pub(super) fn host(server: &str) -> String {
    /// The number of characters that fit a screen of 320 pixels.
    const FITS_CHARS: usize = 32;
    let text = escaped(server);
    if server.chars().count() > FITS_CHARS {
        // It wraps behind a dot if it can.
        format!(
            "<span class=\"words\">{}</span>",
            text.replace('.', ".<wbr>")
        )
    } else {
        format!("<span class=\"host\">{text}</span>")
    }
}

/// Percent-encodes text as a value in a query.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/,".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Escapes text for an element or a quoted attribute. Characters that are invisible or change the text's direction are
/// shown as escape sequences, because some text comes from servers.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' => out.push('\n'),
            c => push_visible(&mut out, c),
        }
    }
    out
}

/// The parts of a time that a page shows, as ranges in its RFC 3339 form: `2026-11-21 20:52:04`, `20:52:04`, and
/// `20:52:04.123`.
pub(super) const DAY_AND_CLOCK: Range<usize> = 0..19;
pub(super) const CLOCK: Range<usize> = 11..19;
pub(super) const CLOCK_MILLIS: Range<usize> = 11..23;

/// A part of a time. The attribute `datetime` has the full time, with milliseconds and zone.
pub(super) fn time(time: SystemTime, part: Range<usize>) -> String {
    let text = rfc3339_millis(time);
    let part = text.get(part).unwrap_or_default().replace('T', " ");
    format!("<time datetime=\"{text}\">{part}</time>")
}

/// `2 min ago`, with the exact time as its title.
pub(super) fn ago(time: SystemTime, now: SystemTime) -> String {
    let text = rfc3339_millis(time);
    let exact = text
        .get(DAY_AND_CLOCK)
        .unwrap_or_default()
        .replace('T', " ");
    let seconds = now.duration_since(time).unwrap_or_default().as_secs();
    let (count, unit) = match seconds {
        0..60 => (seconds, "s"),
        60..3600 => (seconds / 60, "min"),
        3600..86_400 => (seconds / 3600, "h"),
        _ => (seconds / 86_400, "d"),
    };
    format!("<time datetime=\"{text}\" title=\"{exact} UTC\">{count}\u{a0}{unit} ago</time>")
}

#[cfg(test)]
mod tests {
    use super::{ago, escaped, message};
    use std::time::{Duration, SystemTime};

    #[test]
    fn an_age_has_one_unit_and_the_exact_time_as_its_title() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(951_782_400);
        for (seconds, words) in [
            (0, "0\u{a0}s ago"),
            (59, "59\u{a0}s ago"),
            (60, "1\u{a0}min ago"),
            (3599, "59\u{a0}min ago"),
            (7200, "2\u{a0}h ago"),
            (86_399, "23\u{a0}h ago"),
            (400_000, "4\u{a0}d ago"),
        ] {
            let html = ago(time, time + Duration::from_secs(seconds));
            let start =
                "<time datetime=\"2000-02-29T00:00:00.000Z\" title=\"2000-02-29 00:00:00 UTC\">";
            assert_eq!(html, format!("{start}{words}</time>"));
        }
        // The clock was set back.
        assert!(ago(time, SystemTime::UNIX_EPOCH).contains(">0\u{a0}s ago<"));
    }

    #[test]
    fn escaped_text_has_no_markup_and_no_invisible_characters() {
        for (text, shown) in [
            (
                "<script>alert(1)</script>",
                "&lt;script&gt;alert(1)&lt;/script&gt;",
            ),
            ("\" onload='x' &lt;", "&quot; onload=&#39;x&#39; &amp;lt;"),
            ("a\u{202e}b\u{2066}", "a\\u{202e}b\\u{2066}"),
            ("\u{1b}[31m\0\r\u{85}", "\\u{1b}[31m\\0\\r\\u{85}"),
            ("two\nlines\tand é 中", "two\nlines\tand é 中"),
        ] {
            assert_eq!(escaped(text), shown);
        }
    }

    #[test]
    fn a_message_leads_to_the_first_page_from_where_it_is() {
        for root in ["./", "../", "../../"] {
            let page = message(404, "no <b>", root).body;
            assert!(page.contains("<p>no &lt;b&gt;</p>"), "{page}");
            assert!(page.contains(&format!("<a href=\"{root}\">")), "{page}");
            let style = format!("href=\"{root}style.css\"");
            assert!(page.contains(&style), "{page}");
        }
    }
}
