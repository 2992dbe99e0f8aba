//! The texts that users read, from their files and from the running exporter. Each format has its function. It must not
//! know what makes a text good.

use std::fs;

use crate::harness::{Exporter, documentation, run, top};
use crate::tidy::{Source, sources};

/// A paragraph, a list item or a message, and where it begins.
pub struct Text {
    pub path: String,
    pub line: usize,
    pub words: String,
}

impl Text {
    pub fn new(path: &str, line: usize, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            line,
            words: text.split_whitespace().collect::<Vec<_>>().join(" "),
        }
    }
}

/// Markdown's paragraphs, list items and table cells, without headings and code.
pub fn markdown(path: &str, text: &str) -> (Vec<Text>, Vec<Text>) {
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
    // Two backticks enclose code that contains backticks.
    let mut out = text.to_owned();
    for mark in ["``", "`"] {
        let parts = out.split(mark).enumerate();
        let parts = parts.map(|(at, part)| if at % 2 == 1 { "Code" } else { part });
        out = parts.collect();
    }
    out = out.replace("**", "");
    while let Some(at) = out.find("](") {
        let end = out[at..].find(')').map_or(out.len(), |end| at + end + 1);
        out.replace_range(at..end, "");
    }
    out
}

/// The prose of a page in roff.
pub fn roff(path: &str, page: &str) -> Vec<Text> {
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
pub fn comments(path: &str, text: &str) -> Vec<Text> {
    let mut texts: Vec<Text> = Vec::new();
    let (mut is_open, mut is_folded) = (false, false);
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        let key = ["summary: ", "description: ", "Description="]
            .iter()
            .find_map(|key| line.strip_prefix(key));
        // An example is indented further.
        let comment = line
            .strip_prefix("# ")
            .filter(|comment| !comment.starts_with("   ") && !comment.starts_with("shellcheck "));
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

/// What a script or a Makefile prints: its quoted texts of three or more words, and the Makefile's help.
pub fn quoted(path: &str, text: &str) -> Vec<Text> {
    let mut texts = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        if let Some((_, help)) = line.split_once(": ## ").or(line.split_once(" ## ")) {
            texts.push(Text::new(path, number, &without_code(help)));
            continue;
        }
        let prints = ["echo ", "printf ", "fail ", "give_up ", "refuse("];
        if line.trim().starts_with('#') || !prints.iter().any(|word| line.contains(word)) {
            continue;
        }
        let quote = if line.contains('"') { '"' } else { '\'' };
        let parts = line.split(quote).skip(1).step_by(2);
        let parts = parts.map(|part| Text::new(path, number, &part.replace("\\n", " ")));
        texts.extend(parts.filter(|text| text.words.split(' ').count() > 2));
    }
    texts
}

/// The configuration files, units and scripts of contrib, and the unit of the exporter.
fn files() -> Vec<String> {
    const ENDS: &[&str] = &[
        "Dockerfile",
        "default",
        "config",
        "init",
        "service",
        "sh",
        "socket",
        "yaml",
        "yml",
    ];
    let mut files = vec!["iperf3-exporter.service".to_owned()];
    let mut folders = vec![top().join("contrib")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            let name = entry.file_name().display().to_string();
            let end = name.rsplit('.').next().unwrap_or_default();
            if path.is_dir() {
                folders.push(path);
            } else if ENDS.contains(&end) {
                let path = path.strip_prefix(top()).unwrap();
                files.push(path.display().to_string());
            }
        }
    }
    files.sort();
    files
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
pub fn literals(source: &Source) -> Vec<Text> {
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
pub fn pages() -> (Vec<Text>, Vec<Text>) {
    let mut files = documentation();
    for path in [
        ".github/CONTRIBUTING.md",
        "CHANGELOG.md",
        "contrib/compose/README.md",
        "contrib/kubernetes/README.md",
        "contrib/openwrt/README.md",
    ] {
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

pub fn everything() -> Vec<Text> {
    let (mut texts, cells) = pages();
    texts.extend(cells);
    let read = |path: &str| fs::read_to_string(top().join(path)).unwrap();
    texts.extend(roff(
        "contrib/iperf3-exporter.1",
        &read("contrib/iperf3-exporter.1"),
    ));
    let makefile = read("Makefile");
    texts.extend(comments("Makefile", &makefile));
    texts.extend(quoted("Makefile", &makefile));
    for path in files() {
        let text = read(&path);
        texts.extend(comments(&path, &text));
        if path.rsplit('.').next() == Some("sh") {
            texts.extend(quoted(&path, &text));
        }
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
