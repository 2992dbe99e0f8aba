//! Plain English in every text that users read: the docs, the command line, the metrics, the log, the alerts.
//!
//! Two signs show that a sentence needs another try: certain words of the old texts, and its length. It must not know
//! what a text means. Each finding is printed with its file and line. `texts` reads the texts from their files.

mod texts;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use self::texts::{Text, comments, everything, literals, markdown, pages, quoted, roff};
use crate::tidy::Source;

/// Words that make a reader stop, in lower case.
const WORDS: &[&str] = &[
    "a good deal",
    "all is well",
    "all who ask",
    "anew",
    "are forgotten",
    "are no",
    "are none",
    "are told",
    "as good as",
    "as it stands",
    "as they stand",
    "ask again",
    "asks again",
    "at this end",
    "bits a second",
    "both ways",
    "brings along",
    "brings no",
    "by and by",
    "bytes a second",
    "cannot be had",
    "come in",
    "comes in",
    "datagrams a second",
    "does not take the place of",
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
    "is deaf",
    "is forgotten",
    "is had",
    "is handed",
    "is in order",
    "is let in",
    "is no",
    "is none",
    "is there twice",
    "is told",
    "it is all",
    "lest",
    "lets in",
    "load themselves",
    "look whether",
    "looks whether",
    "make room",
    "makes room",
    "may pass by itself",
    "needs it not",
    "no restart mends",
    "nobody",
    "not there yet",
    "of which",
    "on its way",
    "on the spot",
    "outside the door",
    "own words",
    "packets a second",
    "requests a second",
    "says nothing of",
    "seldom",
    "somebody else",
    "somebody's",
    "speaks of",
    "stand in its",
    "stand there",
    "stands in its",
    "stands there",
    "story of",
    "take its turn",
    "take the place of",
    "takes its turn",
    "takes the place of",
    "tells no",
    "the like",
    "therein",
    "thereof",
    "to be had",
    "to whom",
    "turned away",
    "was held",
    "was no",
    "was not had",
    "whence",
    "where wanted",
    "whereto",
    "whoever",
    "whole story",
    "will be seen",
];

/// Good English that has some of these words.
const GOOD: &[&str] = &[
    "are no longer",
    "is no longer",
    "there are no",
    "there is no",
    "there is none",
    "there was no",
];

/// Words that begin no sentence, except in questions and headings.
const BEGINNINGS: &[&str] = &["What", "Whatever", "Who", "Whoever", "Whose"];

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
        let mut small = sentence.to_lowercase();
        for words in GOOD {
            small = small.replace(words, "");
        }
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

#[test]
fn every_text_is_in_plain_words() {
    let texts = everything();
    for kind in [
        "--help",
        ".github/CONTRIBUTING.md",
        "/metrics",
        "Makefile",
        "README.md",
        "contrib/alerts.yml",
        "contrib/compose/",
        "contrib/demo/",
        "contrib/docs/",
        "contrib/grafana-dashboard.json",
        "contrib/iperf3-exporter.1",
        "contrib/iperf3-mesh.sh",
        "contrib/kubernetes/",
        "contrib/openwrt/",
        "contrib/packaging/",
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

/// The sentences of one page, or of all small pages.
#[derive(Default)]
struct Measured {
    sentences: usize,
    words: usize,
    /// One line for each sentence that is too long.
    long: Vec<String>,
    /// One line for each sentence with a semicolon.
    semicolons: Vec<String>,
}

impl Measured {
    fn add(&mut self, text: &Text) {
        for sentence in sentences(&text.words) {
            let words = sentence.split(' ');
            let words = words.filter(|word| word.contains(char::is_alphanumeric));
            let words = words.count();
            let place = format!("{}:{}", text.path, text.line);
            self.sentences += 1;
            self.words += words;
            if words > LONG_WORDS {
                self.long
                    .push(format!("{place}: {words} words: {sentence}"));
            }
            if sentence.contains(';') {
                self.semicolons
                    .push(format!("{place}: semicolon: {sentence}"));
            }
        }
    }

    /// What is wrong. Empty if the sentences are within the limits. Each share is rounded up, so any page may have one
    /// long sentence and one semicolon.
    fn findings(&self, page: &str) -> String {
        let allowed = |percent: usize| (percent * self.sentences).div_ceil(100);
        let (long, semicolons) = (self.long.len(), self.semicolons.len());
        if self.words <= MEAN_WORDS * self.sentences
            && long <= allowed(LONG_PERCENT)
            && semicolons <= allowed(SEMICOLONS_PERCENT)
        {
            return String::new();
        }
        format!(
            "{page}: {} sentences of {:.1} words, {long} of more than {LONG_WORDS} words, {semicolons} semicolons:\n{}\n",
            self.sentences,
            self.words as f64 / self.sentences as f64,
            [self.long.join("\n"), self.semicolons.join("\n")].join("\n")
        )
    }
}

const MEAN_WORDS: usize = 17;
const LONG_WORDS: usize = 30;
const LONG_PERCENT: usize = 6;
const SEMICOLONS_PERCENT: usize = 1;
/// A page with fewer sentences is measured together with all other such pages.
const SMALL: usize = 20;

/// The findings for these texts, page by page.
fn too_long(texts: &[Text]) -> String {
    let mut pages: BTreeMap<&str, Vec<&Text>> = BTreeMap::new();
    for text in texts {
        pages.entry(&text.path).or_default().push(text);
    }
    let (mut found, mut small) = (String::new(), Measured::default());
    for (path, texts) in pages {
        let mut page = Measured::default();
        for text in &texts {
            page.add(text);
        }
        if page.sentences >= SMALL {
            found += &page.findings(path);
            continue;
        }
        for text in &texts {
            small.add(text);
        }
    }
    if small.sentences > 0 {
        found += &small.findings("the small pages");
    }
    found
}

/// Whether a table cell is prose: it has the end of a sentence.
fn is_sentence(cell: &Text) -> bool {
    cell.words.ends_with('.') || sentences(&cell.words).len() > 1
}

#[test]
fn the_sentences_of_each_page_are_short() {
    let (mut texts, cells) = pages();
    let count = texts.len();
    texts.extend(cells.into_iter().filter(is_sentence));
    assert!(
        texts.len() > count + 100,
        "{count} of {} texts",
        texts.len()
    );
    let found = too_long(&texts);
    assert!(found.is_empty(), "\n{found}");
}

#[test]
fn a_page_with_long_sentences_is_found_among_others() {
    let page = |path: &str, sentence: &str, count| {
        let text = format!("{sentence}. ").repeat(count);
        Text::new(path, 1, &text)
    };
    let (short, long) = ("It is short", "Word ".repeat(31));
    let long = long.trim_end();
    // One page of many short sentences does not make up for another one.
    let texts = [
        page("a.md", short, 1000),
        page("b.md", short, 28),
        page("b.md", long, 3),
    ];
    let found = too_long(&texts);
    let start = "b.md: 31 sentences of 5.7 words, 3 of more than 30 words, 0 semicolons:\n";
    assert!(found.starts_with(start), "{found}");
    assert_eq!(
        too_long(&[page("b.md", short, 29), page("b.md", long, 2)]),
        ""
    );
    let texts = [page("a.md", short, 98), page("a.md", "It is; so", 2)];
    assert!(too_long(&texts).contains("a.md:1: semicolon: It is; so."));
    // Small pages are measured together.
    let texts = [
        page("a.md", short, 8),
        page("b.md", long, 1),
        page("c.md", long, 1),
    ];
    assert!(too_long(&texts).starts_with("the small pages: 10 sentences"));
    assert_eq!(too_long(&texts[..2]), "");
    // Twenty words each: the mean is too high.
    let many = ["Word"; 20].join(" ");
    assert!(too_long(&[page("a.md", &many, 20)]).contains("20 sentences of 20.0 words"));
    assert!(
        is_sentence(&Text::new("a.md", 1, "It ends. Yes"))
            && !is_sentence(&Text::new("a.md", 1, "10 s"))
    );
}

#[test]
fn old_prose_is_reported_with_its_file_and_line() {
    let page = "# What it is\n\nIt is let in. Who asks is told.\nWhat works? If there is none, `nobody; a; b` and `` a `nobody` `` and [this](anew). [What it is](a) is that.\n\n\
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
    let script = "# It is told.\n#     nobody\n# shellcheck disable=nobody\necho \"nobody is here\" \"nobody\"\nx: ## is in vain\n";
    let texts = comments("a.sh", script).into_iter();
    let texts = texts.chain(quoted("a.sh", script));
    let found: String = texts.map(|text| findings(&text)).collect();
    assert_eq!(
        found,
        "a.sh:1: `is told`: It is told.\n\
         a.sh:4: `nobody`: nobody is here\n\
         a.sh:5: `in vain`: is in vain\n"
    );
    let page = ".SH A\nIt was\n.B turned\naway.\n.EX\nnobody\n.EE\n";
    let found: String = roff("a.1", page).iter().map(findings).collect();
    assert_eq!(found, "a.1:2: `turned away`: It was turned away.\n");
}
