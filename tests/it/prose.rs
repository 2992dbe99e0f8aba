//! Plain English in every text that users read: the docs, the command line, the metrics, the log, the alerts.
//!
//! Two signs show that a sentence needs another try: certain words of the old texts, and its length. It must not know
//! what a text means. Each finding is printed with its file and line.

use std::fmt::Write as _;
use std::fs;

use crate::harness::{Exporter, documentation, run, top};
use crate::tidy::{Source, sources};

/// Words that make a reader stop, in lower case.
const WORDS: &[&str] = &[
    "all is well",
    "anew",
    "are none",
    "are told",
    "as good as",
    "as it stands",
    "as they stand",
    "at this end",
    "bits a second",
    "both ways",
    "bytes a second",
    "cannot be had",
    "come in",
    "comes in",
    "for ever",
    "for want of",
    "go together",
    "goes together",
    "has it not",
    "held against",
    "held up",
    "in order again",
    "in the midst",
    "in vain",
    "in work",
    "is in order",
    "is let in",
    "is none",
    "is told",
    "lets in",
    "look whether",
    "looks whether",
    "may pass by itself",
    "needs it not",
    "no restart mends",
    "nobody",
    "of which",
    "on its way",
    "own words",
    "says nothing of",
    "speaks of",
    "story of",
    "take its turn",
    "takes its turn",
    "the like",
    "turned away",
    "was not had",
    "whereto",
    "whole story",
];

/// Words that begin no sentence, except in questions and headings.
const BEGINNINGS: &[&str] = &["What", "Whatever", "Who", "Whoever", "Whose"];

/// A paragraph, a list item or a message, and where it begins.
struct Text {
    path: String,
    line: usize,
    words: String,
}

impl Text {
    fn new(path: &str, line: usize, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            line,
            words: text.split_whitespace().collect::<Vec<_>>().join(" "),
        }
    }
}

/// The sentences of a text. A colon does not end a sentence.
fn sentences(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut from = 0;
    while let Some(at) = rest[from..].find(['.', '?', '!']).map(|at| from + at) {
        let (sentence, after) = rest.split_at(at + 1);
        let mut next = after.trim_start().chars();
        // The sentence continues after `3.18 or later` and `e.g. this`.
        let ends = after.starts_with(' ') && !next.next().is_some_and(char::is_lowercase);
        if ends || after.is_empty() {
            found.push(sentence.trim());
            rest = after;
            from = 0;
        } else {
            from = at + 1;
        }
    }
    found.push(rest.trim());
    found.retain(|sentence| sentence.contains(char::is_alphabetic));
    found
}

/// Whether `words` occur in `text` with no letter at either end.
fn has_words(text: &str, words: &str) -> bool {
    text.match_indices(words).any(|(at, _)| {
        let after = &text[at + words.len()..];
        !text[..at].ends_with(char::is_alphanumeric) && !after.starts_with(char::is_alphanumeric)
    })
}

/// The findings in a text, one per line.
fn findings(text: &Text) -> String {
    let mut found = String::new();
    let mut add = |what: &str, sentence: &str| {
        let _ = writeln!(found, "{}:{}: {what}: {sentence}", text.path, text.line);
    };
    for sentence in sentences(&text.words) {
        // `if there is none` is good English.
        let small = sentence.to_lowercase().replace("there is none", "");
        for words in WORDS.iter().filter(|words| has_words(&small, words)) {
            add(&format!("`{words}`"), sentence);
        }
        if sentence.matches(';').count() > 1 {
            add("two semicolons", sentence);
        }
        let first = sentence.split(' ').next().unwrap_or_default();
        // A heading has no mark at its end.
        if BEGINNINGS.contains(&first) && sentence.ends_with(['.', ':', ';', ',']) {
            add(&format!("begins with `{first}`"), sentence);
        }
    }
    found
}

/// Markdown's paragraphs, list items and table cells, without headings and code.
fn markdown(path: &str, text: &str) -> (Vec<Text>, Vec<Text>) {
    let (mut prose, mut cells): (Vec<Text>, Vec<Text>) = (Vec::new(), Vec::new());
    let (mut is_code, mut is_open) = (false, false);
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        if line.starts_with("```") {
            is_code = !is_code;
        }
        let is_other = is_code
            || ["```", "#", "<!--", "[!"]
                .iter()
                .any(|start| line.starts_with(start));
        if line.is_empty() || is_other {
            is_open = false;
        } else if line.starts_with('|') {
            is_open = false;
            let all = without_code(line);
            cells.extend(all.split('|').map(|cell| Text::new(path, number, cell)));
        } else {
            let item = ["- ", "* ", "> "]
                .iter()
                .find_map(|mark| line.strip_prefix(mark));
            let digits = line.trim_start_matches(|c: char| c.is_ascii_digit());
            let item = item.or_else(|| digits.strip_prefix(". ").filter(|_| digits != line));
            match prose.last_mut().filter(|_| is_open && item.is_none()) {
                Some(text) => text.words += &format!(" {line}"),
                None => prose.push(Text::new(path, number, item.unwrap_or(line))),
            }
            is_open = true;
        }
    }
    for text in &mut prose {
        text.words = without_code(&text.words);
    }
    (prose, cells)
}

/// `text` with one word instead of each code span, and with only the text of each link, after a bracket: a title may
/// begin as it likes.
fn without_code(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let parts = parts.map(|(at, part)| if at % 2 == 1 { "Code" } else { part });
    let mut out = parts.collect::<String>().replace("**", "");
    while let Some(at) = out.find("](") {
        let end = out[at..].find(')').map_or(out.len(), |end| at + end + 1);
        out.replace_range(at..end, "");
    }
    out
}

/// The prose of a page in roff.
fn roff(path: &str, page: &str) -> Vec<Text> {
    let mut texts: Vec<Text> = Vec::new();
    let (mut is_example, mut is_open) = (false, false);
    for (line, number) in page.lines().zip(1..) {
        let mut words = line.to_owned();
        for (from, to) in [
            ("\\fB", ""),
            ("\\fR", ""),
            ("\\fI", ""),
            ("\\-", "-"),
            ("\\%", ""),
            ("\\(aq", "'"),
        ] {
            words = words.replace(from, to);
        }
        let request = words
            .strip_prefix('.')
            .map(|rest| rest.split_once(' ').unwrap_or((rest, "")));
        match request {
            Some(("EX", _)) => is_example = true,
            Some(("EE", _)) => is_example = false,
            Some(("B" | "I" | "BR" | "RB" | "BI" | "IR" | "RI", rest)) if is_open => {
                let text = &mut texts.last_mut().unwrap().words;
                *text += &format!(" {}", rest.replace([' ', '"'], ""));
            }
            Some(_) => is_open = false,
            None if is_example => {}
            None => {
                match texts.last_mut().filter(|_| is_open) {
                    Some(text) => text.words += &format!(" {words}"),
                    None => texts.push(Text::new(path, number, &words)),
                }
                is_open = true;
            }
        }
    }
    texts
}

/// A configuration file's comments and annotations, each comment as one text.
fn comments(path: &str, text: &str) -> Vec<Text> {
    let mut texts: Vec<Text> = Vec::new();
    let (mut is_open, mut is_folded) = (false, false);
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        let key = ["summary: ", "description: ", "Description="]
            .iter()
            .find_map(|key| line.strip_prefix(key));
        let comment = line.strip_prefix("# ");
        let words = key
            .or(comment)
            .or_else(|| Some(line).filter(|_| is_folded && !line.is_empty()));
        is_folded = line.ends_with(">-") || (is_folded && key.is_none() && words.is_some());
        let item = comment.and_then(|words| words.strip_prefix("- "));
        match words {
            None => is_open = false,
            Some(words) => {
                match texts
                    .last_mut()
                    .filter(|_| is_open && item.is_none() && key.is_none())
                {
                    Some(text) => text.words += &format!(" {words}"),
                    None => texts.push(Text::new(
                        path,
                        number,
                        item.unwrap_or(words).trim_start_matches(">-"),
                    )),
                }
                is_open = true;
            }
        }
    }
    for text in &mut texts {
        text.words = without_code(&text.words);
    }
    texts
}

/// The text of a page, without tags and without the parts that users copy.
fn html(path: &str, page: &str) -> Vec<Text> {
    let mut texts = Vec::new();
    let mut is_code = false;
    for (line, number) in page.lines().zip(1..) {
        for part in line.split('<') {
            let (tag, words) = part.split_once('>').unwrap_or(("", part));
            let name = tag.split(' ').next().unwrap_or_default();
            match name {
                "pre" | "code" | "textarea" => is_code = true,
                "/pre" | "/code" | "/textarea" => is_code = false,
                _ => {}
            }
            if !is_code {
                let words = words.replace("&#39;", "'").replace("&quot;", "\"");
                let words = words.replace("&amp;", "&");
                texts.push(Text::new(path, number, &words));
            }
        }
    }
    texts
}

/// The texts in a source's product code: string literals of three or more words.
fn literals(source: &Source) -> Vec<Text> {
    let mut texts = Vec::new();
    let mut letters = source.product.char_indices().peekable();
    let mut line = 1;
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\n' => line += 1,
            // A character literal, also one that is a quote.
            '\'' if source.product[at..].starts_with("'\"'") => _ = letters.nth(1),
            '\'' if source.product[at..].starts_with("'\\\"'") => _ = letters.nth(2),
            '"' => {
                let (start, mut text) = (line, String::new());
                while let Some((_, letter)) = letters.next() {
                    match letter {
                        '"' => break,
                        '\\' => match letters.next() {
                            Some((_, '\n')) => line += 1,
                            Some((_, 'n' | 't' | 'r')) => text.push(' '),
                            Some((_, other)) => text.push(other),
                            None => {}
                        },
                        '\n' => {
                            line += 1;
                            text.push(' ');
                        }
                        other => text.push(other),
                    }
                }
                // A lint's reason and a header's value are no prose.
                let is_other = source.product[..at].ends_with("reason = ")
                    || ["charset=", "-src '"]
                        .iter()
                        .any(|word| text.contains(word));
                if !is_other {
                    let parts = html(&source.path, &without_code(&text)).into_iter();
                    let parts = parts.map(|text| Text {
                        line: start,
                        ..text
                    });
                    texts.extend(parts.filter(|text| text.words.split(' ').count() > 2));
                }
            }
            _ => {}
        }
    }
    texts
}

/// All Markdown pages: their prose, and the cells of their tables.
fn pages() -> (Vec<Text>, Vec<Text>) {
    let mut files = documentation();
    for path in ["CHANGELOG.md", "contrib/openwrt/README.md"] {
        files.push((
            path.to_owned(),
            fs::read_to_string(top().join(path)).unwrap(),
        ));
    }
    let (mut prose, mut cells) = (Vec::new(), Vec::new());
    for (path, text) in files {
        let (paragraphs, others) = markdown(&path, &text);
        prose.extend(paragraphs);
        cells.extend(others);
    }
    (prose, cells)
}

/// Titles and descriptions of the dashboard.
fn dashboard() -> Vec<Text> {
    let path = "contrib/grafana-dashboard.json";
    let text = fs::read_to_string(top().join(path)).unwrap();
    let lines = text.lines().zip(1..).filter_map(|(line, number)| {
        let (key, value) = line.trim().split_once(": ")?;
        let is_shown = ["\"title\"", "\"description\""].contains(&key);
        is_shown.then(|| Text::new(path, number, value.trim_matches(['"', ','])))
    });
    lines.collect()
}

/// `--help` of the binary, one text per flag, and the HELP lines and the page of a running exporter.
fn running() -> Vec<Text> {
    let (is_ok, help) = run(env!("CARGO_BIN_EXE_iperf3-exporter"), &["--help"], "");
    assert!(is_ok, "{help}");
    let mut texts: Vec<Text> = Vec::new();
    let mut last = 0;
    for (line, number) in help.lines().zip(1..) {
        // The first line of a paragraph, or a further line: both have the same indentation.
        let indent = line.len() - line.trim_start().len();
        match texts
            .last_mut()
            .filter(|_| indent == last && !line.is_empty())
        {
            Some(text) => text.words += &format!(" {}", line.trim()),
            None => texts.push(Text::new("--help", number, line)),
        }
        last = if line.is_empty() { usize::MAX } else { indent };
    }
    let exporter = Exporter::start(&["--iperf3.path=/nonexistent"]);
    let metrics = exporter.get("/metrics").body;
    let rows = metrics.lines().zip(1..);
    let rows = rows.filter_map(|(line, number)| Some((line.strip_prefix("# HELP ")?, number)));
    texts.extend(rows.map(|(line, number)| Text::new("/metrics", number, line)));
    // The source of the page is src/web/pages/.
    texts.extend(html(
        "src/web/pages/ (the page at /)",
        &exporter.get("/").body,
    ));
    texts
}

fn everything() -> Vec<Text> {
    let (mut texts, cells) = pages();
    texts.extend(cells);
    let read = |path: &str| fs::read_to_string(top().join(path)).unwrap();
    texts.extend(roff(
        "contrib/iperf3-exporter.1",
        &read("contrib/iperf3-exporter.1"),
    ));
    for path in [
        "contrib/alerts.yml",
        "contrib/recording-rules.yml",
        "contrib/prometheus.yml",
        "contrib/iperf3-targets.yml",
        "contrib/web.yml",
        "contrib/iperf3-exporter.socket",
        "contrib/iperf3-server.service",
        "contrib/packaging/default",
        "contrib/openwrt/iperf3-exporter.config",
        "iperf3-exporter.service",
    ] {
        texts.extend(comments(path, &read(path)));
    }
    texts.extend(dashboard());
    for entry in fs::read_dir(top().join("tests/golden")).unwrap().flatten() {
        let path = format!("tests/golden/{}", entry.file_name().display());
        if entry.path().extension().is_some_and(|end| end == "html") {
            texts.extend(html(&path, &read(&path)));
        }
    }
    let sources = sources();
    // The generator of the documents is in no binary, but its tables are in the documents.
    texts.extend(sources.iter().flat_map(literals));
    texts.extend(running());
    texts
}

#[test]
fn every_text_is_in_plain_words() {
    let texts = everything();
    for kind in [
        "--help",
        "/metrics",
        "README.md",
        "contrib/alerts.yml",
        "contrib/docs/",
        "contrib/grafana-dashboard.json",
        "contrib/iperf3-exporter.1",
        "src/run.rs",
        "src/web/pages/",
        "tests/golden/",
    ] {
        let count = texts
            .iter()
            .filter(|text| text.path.starts_with(kind))
            .count();
        assert!(count > 5, "{kind}: {count} texts were found");
    }
    let found: String = texts.iter().map(findings).collect();
    assert!(found.is_empty(), "\n{found}");
}

#[test]
fn the_sentences_of_the_docs_are_short() {
    const MEAN_WORDS: usize = 17;
    const LONG_WORDS: usize = 30;
    const LONG_PERCENT: usize = 6;
    const SEMICOLONS_PERCENT: usize = 1;
    let (prose, _) = pages();
    let (mut count, mut words, mut semicolons) = (0, 0, 0);
    let mut long = Vec::new();
    for text in &prose {
        for sentence in sentences(&text.words) {
            let length = sentence
                .split(' ')
                .filter(|word| word.contains(char::is_alphanumeric))
                .count();
            count += 1;
            words += length;
            if length > LONG_WORDS {
                long.push(format!(
                    "{}:{}: {length} words: {sentence}",
                    text.path, text.line
                ));
            }
            if sentence.contains(';') {
                semicolons += sentence.matches(';').count();
                long.push(format!(
                    "{}:{}: semicolon: {sentence}",
                    text.path, text.line
                ));
            }
        }
    }
    let long_count = long.iter().filter(|line| line.contains(" words: ")).count();
    let fits = words <= MEAN_WORDS * count
        && 100 * long_count <= LONG_PERCENT * count
        && 100 * semicolons <= SEMICOLONS_PERCENT * count;
    assert!(
        count > 5 && fits,
        "{count} sentences of {:.1} words, {long_count} of more than {LONG_WORDS}, {semicolons} semicolons:\n{}",
        words as f64 / count.max(1) as f64,
        long.join("\n")
    );
}

#[test]
fn old_prose_is_reported_with_its_file_and_line() {
    let page = "# What it is\n\nIt is let in. Who asks is told.\nWhat works? If there is none, `nobody; a; b` and [this](anew). [What it is](a) is that.\n\n\
                - One; two; three.\n\n```\nnobody\n```\n| a | nobody comes |\n";
    let (prose, cells) = markdown("page.md", page);
    let found: String = prose.iter().chain(&cells).map(findings).collect();
    assert_eq!(
        found,
        "page.md:3: `is let in`: It is let in.\n\
         page.md:3: `is told`: Who asks is told.\n\
         page.md:3: begins with `Who`: Who asks is told.\n\
         page.md:6: two semicolons: One; two; three.\n\
         page.md:11: `nobody`: nobody comes\n"
    );
    assert_eq!(
        sentences("With 3.18 or later. It ends; e.g. now. (Yes!) No"),
        ["With 3.18 or later.", "It ends; e.g. now.", "(Yes!) No"]
    );
    let source = Source {
        path: "a.rs".to_owned(),
        text: String::new(),
        product: "f('\"', \"one two\");\n#[allow(x, reason = \"this is nobody's\")]\nlog(\"it is \\\n  told, \
                  {error}\")"
            .to_owned(),
    };
    let found: String = literals(&source).iter().map(findings).collect();
    assert_eq!(found, "a.rs:3: `is told`: it is told, {error}\n");
    let folded = "# Who asks.\n# And so on.\n- alert: A\n  summary: 'All is well.'\n  description: >-\n    Look\n    whether.\n";
    let found: String = comments("a.yml", folded).iter().map(findings).collect();
    assert_eq!(
        found,
        "a.yml:1: begins with `Who`: Who asks.\n\
         a.yml:4: `all is well`: 'All is well.'\n\
         a.yml:5: `look whether`: Look whether.\n"
    );
    let page = ".SH A\nIt was\n.B turned\naway.\n.EX\nnobody\n.EE\n";
    let found: String = roff("a.1", page).iter().map(findings).collect();
    assert_eq!(found, "a.1:2: `turned away`: It was turned away.\n");
}
