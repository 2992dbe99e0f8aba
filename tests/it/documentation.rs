//! The documents for people: the README, the pages of `contrib/docs`, CONTRIBUTING and the others. The tests check
//! their size and form, where their links lead, and that the files and targets that they name exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::harness::{documentation, page, parameters, top};

/// The maximum number of words of the README and of a page of `contrib/docs`: about ten minutes of reading.
const MAX_WORDS: usize = 2500;
/// The end of each page.
const WAY_BACK: &str = "\n\n[Back to the README](../../README.md)\n";

#[test]
fn the_readme_and_each_page_can_be_read_in_one_sitting() {
    for (path, text) in documentation() {
        let words = text.split_whitespace().count();
        assert!(words <= MAX_WORDS, "{path} has {words} words: split it");
    }
}

#[test]
fn each_page_begins_with_its_purpose_and_ends_with_the_link_back() {
    let readme = read("README.md");
    for (path, text) in documentation() {
        let Some(name) = path.strip_prefix("contrib/docs/") else {
            continue;
        };
        let mut lines = text.lines();
        let (title, blank, first) = (lines.next(), lines.next(), lines.next());
        let begins = title.is_some_and(|title| title.starts_with("# "))
            && blank == Some("")
            && first.is_some_and(|first| first.starts_with("Read this page "));
        assert!(begins, "{path} begins with {title:?}, {blank:?}, {first:?}");
        assert!(
            text.ends_with(WAY_BACK),
            "{path} does not end with the link back"
        );
        assert!(
            readme.contains(&format!("](contrib/docs/{name}")),
            "the README does not lead to {path}"
        );
    }
}

/// The first column of the tables of a chapter.
fn first_column<'a>(text: &'a str, chapter: &str) -> Vec<&'a str> {
    let (_, chapter) = text.split_once(&format!("\n## {chapter}\n")).unwrap();
    let chapter = chapter.split_once("\n## ").map_or(chapter, |found| found.0);
    let rows = chapter.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap()).collect()
}

#[test]
fn the_readmes_short_tables_name_what_is_there() {
    let readme = read("README.md");
    let named = first_column(&readme, "The most used parameters");
    let there: Vec<String> = parameters().into_iter().flat_map(|row| row.names).collect();
    assert!(named.len() >= 10, "{named:?}");
    for name in named {
        assert!(there.iter().any(|known| known == name), "{name}");
    }
    let named = first_column(&readme, "The most used metrics");
    let metrics = page("metrics");
    assert!(named.len() >= 10, "{named:?}");
    for name in named {
        assert!(metrics.contains(&format!("\n| `{name}` |")), "{name}");
    }
}

/// The documents for people, relative to the top.
fn documents() -> Vec<String> {
    let mut found = vec!["README.md".to_owned(), "CHANGELOG.md".to_owned()];
    let mut folders = vec![".github".to_owned(), "contrib".to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(top().join(&folder)).unwrap().flatten() {
            let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                folders.push(name);
            } else if Path::new(&name).extension().is_some_and(|end| end == "md") {
                found.push(name);
            }
        }
    }
    assert!(found.contains(&".github/CONTRIBUTING.md".to_owned()));
    found
}

fn read(document: &str) -> String {
    fs::read_to_string(top().join(document)).unwrap()
}

/// The lines outside code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let headings = prose(text).filter_map(|line| {
        let title = line.trim_start_matches('#');
        (title.len() < line.len())
            .then(|| title.strip_prefix(' '))
            .flatten()
    });
    let kept = |c: &char| c.is_alphanumeric() || "-_ ".contains(*c);
    let mut anchors: Vec<String> = Vec::new();
    for title in headings {
        let name: String = title.to_lowercase().chars().filter(kept).collect();
        let name = name.replace(' ', "-");
        assert!(!anchors.contains(&name), "two headings are called {title}");
        anchors.push(name);
    }
    anchors
}

/// The targets of a document's links.
fn links(text: &str) -> Vec<String> {
    let text = prose(text).collect::<Vec<_>>().join("\n");
    let ends = text.match_indices("](").map(|(at, _)| at + 2);
    let to = |at: usize| text[at..].split([')', ' ']).next().unwrap().to_owned();
    ends.map(to).collect()
}

#[test]
fn each_link_of_a_document_leads_somewhere() {
    let mut lost = Vec::new();
    let mut count = 0;
    for document in documents() {
        let text = read(&document);
        let folder = Path::new(&document).parent().unwrap();
        let links = links(&text).into_iter();
        for link in links.filter(|link| !link.starts_with("https://")) {
            count += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let path = match file {
                "" => top().join(&document),
                file => top().join(folder).join(file),
            };
            let leads = match anchor {
                "" => path.exists(),
                name => fs::read_to_string(path)
                    .is_ok_and(|text| anchors(&text).iter().any(|anchor| anchor == name)),
            };
            if !leads {
                lost.push(format!("{document}: {link}"));
            }
        }
    }
    assert!(
        lost.is_empty() && count > 30,
        "{count} links, dead: {lost:#?}"
    );
}

/// The files of this repository that a text names.
fn named_files(text: &str) -> Vec<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    let mut files = Vec::new();
    for start in ["contrib/", "src/", "tests/", ".github/", ".ci/", ".cargo/"] {
        for (at, _) in text.match_indices(start) {
            let before = &text[..at];
            // The end of a longer path is no file of this repository, except after `../`.
            if before.ends_with(is_part) && !before.ends_with("../") {
                continue;
            }
            let name = &text[at..];
            let name = &name[..name.find(|c| !is_part(c)).unwrap_or(name.len())];
            files.push(name.trim_end_matches('.'));
        }
    }
    files
}

/// The make targets that a text names in its code.
fn named_targets(text: &str) -> Vec<&str> {
    let mut targets = Vec::new();
    for (at, _) in text.match_indices("make ") {
        let before = &text[..at];
        let starts = ["`", "\n", "$ ", "sudo ", "&& "];
        let line = before.rsplit('\n').next().unwrap();
        let is_block = before.matches("```").count() % 2 == 1;
        let is_code = is_block || line.matches('`').count() % 2 == 1;
        if is_code && starts.iter().any(|start| before.ends_with(start)) {
            let rest = &text[at + "make ".len()..];
            let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '-');
            let (name, rest) = rest.split_at(end.unwrap_or(rest.len()));
            // `make package/NAME/compile` is a target of another project's Makefile.
            if !rest.starts_with('/') {
                targets.push(name);
            }
        }
    }
    targets
}

#[test]
fn each_file_and_each_target_that_a_document_names_is_there() {
    let makefile = read("Makefile");
    let is_name = |name: &&str| name.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    let rules = makefile
        .lines()
        .filter_map(|line| Some(line.split_once(':')?.0));
    // The empty name is bare `make`, or one with a comment after it.
    let targets: Vec<&str> = rules.filter(is_name).chain([""]).collect();
    assert!(targets.contains(&"check"), "{targets:?}");
    let mut lost = Vec::new();
    let mut count = (0, 0);
    for document in documents() {
        let text = read(&document);
        for file in named_files(&text) {
            count.0 += 1;
            if !top().join(file).exists() {
                lost.push(format!("{document}: {file}"));
            }
        }
        for target in named_targets(&text) {
            count.1 += 1;
            if !targets.contains(&target) {
                lost.push(format!("{document}: make {target}"));
            }
        }
    }
    assert!(
        lost.is_empty() && count.0 > 30 && count.1 > 10,
        "{count:?} files and targets, missing: {lost:#?}"
    );
}

#[test]
fn the_table_of_alerts_has_each_alert_and_no_other() {
    let page = page("alerts-and-dashboard");
    let rows = page.lines().filter(|line| line.starts_with("| `Iperf3"));
    let told = rows.flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2));
    let alerts = read("contrib/alerts.yml");
    let names = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    assert_eq!(told.collect::<BTreeSet<_>>(), names.collect());
}
