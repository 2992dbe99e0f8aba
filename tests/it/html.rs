//! The rules that every page must meet. The checks are in this file, so that the tests need no validator.
//!
//! They are stricter than HTML, as one author writes all pages: every element is closed in its place, every value
//! quoted.

use std::collections::{BTreeMap, BTreeSet};

/// Elements without an end tag.
const VOID: &[&str] = &["meta", "input", "br", "hr", "link", "img", "option"];

/// A start tag.
pub struct Tag<'a> {
    pub name: &'a str,
    pub attributes: BTreeMap<&'a str, &'a str>,
    /// The enclosing elements, the outermost first.
    pub within: Vec<&'a str>,
}

impl<'a> Tag<'a> {
    pub fn get(&self, attribute: &str) -> Option<&'a str> {
        self.attributes.get(attribute).copied()
    }
}

/// The elements of a page, in order.
///
/// # Panics
/// When the page is not well formed.
pub fn tags(page: &str) -> Vec<Tag<'_>> {
    let rest = page.strip_prefix("<!DOCTYPE html>\n").expect("a doctype");
    let mut open: Vec<&str> = Vec::new();
    let mut tags = Vec::new();
    for piece in rest.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').unwrap_or_else(|| panic!("{piece}"));
        assert!(!text.contains('>'), "an unescaped >: {text:.80}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closed in its place");
            continue;
        }
        let (tag, is_closed) = match tag.strip_suffix('/') {
            Some(tag) => (tag, true),
            None => (tag, false),
        };
        let (name, rest) = tag.split_once(' ').unwrap_or((tag, ""));
        let is_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        assert!(!name.is_empty() && name.bytes().all(is_name), "{tag}");
        tags.push(Tag {
            name,
            attributes: attributes(rest),
            within: open.clone(),
        });
        if !VOID.contains(&name) && !is_closed {
            open.push(name);
        }
    }
    assert_eq!(open, Vec::<&str>::new(), "closed at the end");
    tags
}

/// Attributes: plain names, or names with a quoted value.
fn attributes(text: &str) -> BTreeMap<&str, &str> {
    let mut all = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find([' ', '=']).unwrap_or(rest.len());
        let (name, tail) = rest.split_at(end);
        let (value, tail) = match tail.strip_prefix("=\"") {
            Some(value) => value.split_once('"').unwrap_or_else(|| panic!("{text}")),
            None => ("", tail),
        };
        assert_eq!(all.insert(name, value), None, "{name} twice in {text}");
        rest = tail.strip_prefix(' ').unwrap_or(tail);
    }
    all
}

/// All rules for a page.
pub fn assert_sound(page: &str) {
    assert!(
        page.starts_with("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">")
    );
    let tags = tags(page);
    let of = |name: &str| tags.iter().filter(|tag| tag.name == name).count();
    // The document in a frame has the header of the page around it.
    let is_framed = page.contains("<body class=\"framed");
    for name in ["title", "h1", "main", "header"] {
        let count = usize::from(!is_framed || name != "header");
        // A picture has a title too.
        assert!(of(name) == count || name == "title", "{name}: {}", of(name));
    }
    assert_nothing_from_elsewhere(&tags);
    assert_names(&tags);
    assert_headings(&tags);
    for tag in &tags {
        // A link in a frame leads out of it.
        let is_link = tag.name == "a" && is_framed;
        assert!(!is_link || tag.get("target") == Some("_top"));
        // Enter in a field presses the only button.
        assert!(tag.name != "button" || tag.get("type") == Some("submit"));
        assert!(tag.name != "form" || tag.get("method").is_some());
        assert!(
            tag.name != "th" || tag.get("scope").is_some(),
            "a th of nothing"
        );
        // An input is inside its label and needs no other name.
        let is_labelled = tag.within.contains(&"label") || tag.get("type") == Some("hidden");
        assert!(tag.name != "input" || is_labelled, "{:?}", tag.attributes);
    }
    // Each `&` starts a named or numeric character reference.
    for rest in page.split('&').skip(1) {
        let name = rest.split_once(';').map_or("", |(name, _)| name);
        let known = ["amp", "lt", "gt", "quot", "#39"].contains(&name);
        assert!(known, "&{rest:.20}");
    }
    let unseen = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || ('\u{202a}'..='\u{202e}').contains(&c)
            || ('\u{2066}'..='\u{2069}').contains(&c)
    };
    assert_eq!(page.find(unseen), None, "a character that cannot be seen");
}

/// No script, no inline style, and links that work under a proxy's path prefix.
fn assert_nothing_from_elsewhere(tags: &[Tag<'_>]) {
    for tag in tags {
        assert!(!["script", "style", "base", "object"].contains(&tag.name));
        if tag.name == "iframe" {
            // A frame has a name for screen readers.
            assert!(tag.get("title").is_some_and(|title| !title.is_empty()));
        }
        for (name, value) in &tag.attributes {
            assert!(
                !name.starts_with("on") && *name != "style",
                "{name} in a tag"
            );
            if ["href", "action", "src", "formaction", "data"].contains(name) {
                assert!(!value.starts_with('/'), "{value}");
                // An empty `href` leads to the page itself, with its query; an empty `src` or `action` is a mistake.
                assert!(!value.is_empty() || tag.name == "a", "{name} of nothing");
                // A colon before the first slash would make it a scheme.
                let first = value.split('/').next().unwrap();
                assert!(!first.contains(':'), "{value}");
            }
        }
    }
}

/// Ids are unique, and every referenced id exists.
fn assert_names(tags: &[Tag<'_>]) {
    let mut ids = BTreeSet::new();
    for id in tags.iter().filter_map(|tag| tag.get("id")) {
        assert!(ids.insert(id), "{id} twice");
    }
    for tag in tags {
        for attribute in ["aria-labelledby", "list", "for"] {
            for id in tag
                .get(attribute)
                .into_iter()
                .flat_map(str::split_whitespace)
            {
                assert!(ids.contains(id), "{attribute}={id} leads nowhere");
            }
        }
        if let Some(id) = tag.get("href").and_then(|href| href.strip_prefix('#')) {
            assert!(ids.contains(id), "#{id} leads nowhere");
        }
    }
}

/// One first heading, and no level is skipped.
fn assert_headings(tags: &[Tag<'_>]) {
    let mut last = 0;
    for tag in tags {
        let Some(Ok(level)) = tag.name.strip_prefix('h').map(str::parse::<u32>) else {
            continue;
        };
        assert!(level <= last + 1, "h{level} after h{last}");
        assert!(level > 1 || last == 0, "a second h1");
        last = level;
    }
}

/// Replaces all that changes from run to run with placeholders.
pub fn masked(page: &str) -> String {
    let mut text = page.to_owned();
    for (start, ends, what) in [
        ("<time", &["</time>"][..], ">TIME"),
        ("iperf3 exporter on ", &["<"], "HOST"),
        (" UTC, for ", &[";", "<", ".", ","], "SO LONG"),
        ("got the test lock after ", &[","], "SO LONG"),
        ("status 0, after ", &["<"], "SO LONG"),
        ("status 1, after ", &[":", "<"], "SO LONG"),
        ("Response time</dt><dd>", &["<"], "SO LONG"),
        ("Waited for the test lock</dt><dd>", &["<"], "SO LONG"),
        ("the test alone takes 10s, ", &[" left"], "SO MUCH"),
        ("the test alone takes 1m0s, ", &[" left"], "SO MUCH"),
        ("\" max=\"60\" value=\"", &["\""], "SO MUCH"),
        ("\" max=\"10\" value=\"", &["\""], "SO MUCH"),
        ("<p>Version ", &[". "], "VERSION"),
        ("name=\"token\" value=\"", &["\""], "TOKEN"),
        ("/stop?token=", &["\""], "TOKEN"),
        ("\niperf3_probe_duration_seconds{", &["\n"], "…"),
        ("\niperf3_lock_wait_seconds{", &["\n"], "…"),
        ("aria-label=\"Command line\">", &["/iperf3 "], "…"),
    ] {
        let mut out = String::new();
        let mut rest = text.as_str();
        while let Some((before, tail)) = rest.split_once(start) {
            let end = ends.iter().filter_map(|end| tail.find(end)).min().unwrap();
            out += before;
            out += start;
            out += what;
            rest = &tail[end..];
        }
        text = out + rest;
    }
    text
}
