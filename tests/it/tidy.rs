//! The rules that this repository sets for itself, checked by reading its files.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::harness::{TempDir, run, run_script, skipped, top};

/// A file under src: its path from the top, its whole text, and its text without tests and comments.
pub struct Source {
    pub path: String,
    pub text: String,
    pub product: String,
}

/// All source files, in the order of their paths.
pub fn sources() -> &'static [Source] {
    static SOURCES: OnceLock<Vec<Source>> = OnceLock::new();
    SOURCES.get_or_init(read_sources)
}

fn read_sources() -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders: Vec<PathBuf> = vec![top().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(top()).unwrap().display().to_string();
                let product = if is_of_tests(&path) {
                    String::new()
                } else {
                    product(&text, &path)
                };
                sources.push(Source {
                    path,
                    text,
                    product,
                });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(sources.len() > 20, "src was not found");
    sources
}

/// Whether only tests have this module, as the file that declares it says, or its parent is such a module.
fn is_of_tests(path: &str) -> bool {
    let module = path.trim_end_matches(".rs").trim_end_matches("/mod");
    let Some((parent, name)) = module.rsplit_once('/') else {
        return false;
    };
    let files = [
        format!("{parent}/main.rs"),
        format!("{parent}/mod.rs"),
        format!("{parent}.rs"),
    ];
    let declaration = format!("#[cfg(test)]\nmod {name};");
    let declares = |file: &String| {
        let text = fs::read_to_string(top().join(file)).unwrap_or_default();
        text.contains(&declaration)
    };
    files.iter().any(declares) || is_of_tests(parent)
}

/// A file's code without comments and without its tests, which come last.
fn product(text: &str, path: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    let mut all = text.lines().peekable();
    while let Some(line) = all.next() {
        if line == "#[cfg(test)]"
            && all
                .peek()
                .is_some_and(|next| next.starts_with("mod tests {"))
        {
            let rest: Vec<&str> = all.collect();
            let end = rest.iter().position(|line| *line == "}");
            assert_eq!(end, Some(rest.len() - 1), "{path}: the tests come last");
            break;
        }
        lines.push(line);
    }
    without_comments(&lines.join("\n"), true)
}

/// Code without comments, and with or without what its string literals contain. The lines stay.
pub fn without_comments(code: &str, with_strings: bool) -> String {
    let mut kept = String::new();
    let mut rest = code;
    while let Some(c) = rest.chars().next() {
        let (length, is_kept) = token(rest);
        let (text, after) = rest.split_at(length);
        match c {
            _ if is_kept => kept.push_str(text),
            '/' => kept.extend(text.chars().filter(|c| *c == '\n')),
            _ if with_strings => kept.push_str(text),
            _ => {
                kept.push_str("\"\"");
                kept.extend(text.chars().filter(|c| *c == '\n'));
            }
        }
        rest = after;
    }
    kept
}

/// The length of the first token of `code`, and whether it is neither a comment nor a string literal. Names, numbers
/// and lifetimes are one token each, so that a prefix of a literal is not taken for one inside a name.
fn token(code: &str) -> (usize, bool) {
    let up_to = |end: &str| code.find(end).map_or(code.len(), |at| at + end.len());
    if code.starts_with("//") {
        return (code.find('\n').unwrap_or(code.len()), false);
    }
    if code.starts_with("/*") {
        return (up_to("*/"), false);
    }
    let literal = code.trim_start_matches(['b', 'c']);
    let prefix = code.len() - literal.len();
    if let Some(raw) = literal.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if prefix <= 1 && raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let begin = prefix + 1 + hashes + 1;
            let length = code[begin..].find(&end).unwrap();
            return (begin + length + end.len(), false);
        }
    }
    if prefix <= 1 && literal.starts_with('"') {
        return (prefix + quoted(literal, '"'), false);
    }
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    if let Some(rest) = code.strip_prefix('\'') {
        let is_lifetime = rest.starts_with(is_word) && rest.chars().nth(1) != Some('\'');
        let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        return (
            if is_lifetime {
                1 + length
            } else {
                quoted(code, '\'')
            },
            true,
        );
    }
    match code.find(|c| !is_word(c)) {
        Some(0) => (code.chars().next().unwrap().len_utf8(), true),
        length => (length.unwrap_or(code.len()), true),
    }
}

/// The length of a literal that begins with `quote` and ends with the next one that is not escaped.
fn quoted(code: &str, quote: char) -> usize {
    let mut is_escaped = false;
    let end = code.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == quote && !is_escaped;
        is_escaped = *c == '\\' && !is_escaped;
        ends
    });
    end.map_or(code.len(), |(at, _)| at + 1)
}

#[test]
fn comments_and_strings_are_told_from_code() {
    let code = r##"a("b//c", '"', '\'', b"\"", r#""d" // "#, x.as_str()) // "e"
/* "f" */ 'l: fn g<'a>(h: &'a str) -> "i
j" {}"##;
    let expected = r##"a("b//c", '"', '\'', b"\"", r#""d" // "#, x.as_str()) 
 'l: fn g<'a>(h: &'a str) -> "i
j" {}"##;
    assert_eq!(without_comments(code, true), expected);
    let expected =
        "a(\"\", '\"', '\\'', \"\", \"\", x.as_str()) \n 'l: fn g<'a>(h: &'a str) -> \"\"\n {}";
    assert_eq!(without_comments(code, false), expected);
}

/// Whether `word` occurs in `text` with no letter, digit or underscore at either end.
fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(part) && !text[at + word.len()..].starts_with(part))
}

#[test]
fn each_crate_is_named_in_one_file_of_its_own() {
    let sources = sources();
    let manifest = fs::read_to_string(top().join("Cargo.toml")).unwrap();
    let dependencies = manifest.split_once("[dependencies]\n").unwrap().1;
    let dependencies = dependencies.split_once("\n[").unwrap().0;
    let mut crates: Vec<String> = dependencies
        .lines()
        .filter_map(|line| Some(line.split_once(" = ")?.0.replace('-', "_")))
        .collect();
    crates.sort_unstable();
    let home = |name: &str| match name {
        "tiny_http" => "src/http/backend.rs",
        // A folder: sums, intervals and metadata have their own rules.
        "serde_json" => "src/iperf3/report/",
        "lexopt" => "src/cli/mod.rs",
        "signal_hook" => "src/run.rs",
        "rustix" => "src/sys.rs",
        "saphyr_parser" => "src/toolkit/config/yaml.rs",
        "bcrypt" => "src/toolkit/auth/hash.rs",
        "base64" => "src/toolkit/auth/basic.rs",
        "listenfd" => "src/systemd/sockets.rs",
        "x509_cert" => "src/toolkit/tls/certificate.rs",
        // A folder: settings, client certificates and connections are three things.
        "rustls" => "src/toolkit/tls/",
        other => panic!("the crate {other} has no file of its own in this test"),
    };
    assert!(crates.len() >= 5, "{crates:?}");
    for name in &crates {
        let users: Vec<&str> = sources
            .iter()
            .filter(|source| has_word(&source.product, name))
            .map(|source| source.path.as_str())
            .collect();
        let is_home = |path: &&str| match home(name) {
            folder if folder.ends_with('/') => path.starts_with(folder),
            file => *path == file,
        };
        assert!(
            !users.is_empty() && users.iter().all(is_home),
            "{name}: {users:?}"
        );
    }
}

#[test]
fn only_one_file_starts_processes() {
    for source in sources() {
        // The build script runs git and rustc, and is no part of the exporter.
        let may = ["src/iperf3/process.rs", "src/build.rs"].contains(&source.path.as_str());
        let imports = source.product.split(';').any(|item| {
            item.contains("std::process") && has_word(item, "Command") && item.contains("use ")
        });
        let starts = source.product.contains("Command::new")
            || imports
            || source.product.contains("process::Command");
        assert_eq!(starts, may, "{}", source.path);
    }
}

#[test]
fn each_file_begins_with_its_purpose_and_none_is_long() {
    const LIMIT_LINES: usize = 500;
    for source in sources() {
        let doc = source
            .text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .count();
        // The crate's own doc is the module map, and may be longer.
        let fits = (2..=8).contains(&doc) || source.path.ends_with("main.rs");
        assert!(fits, "{} begins with {doc} lines of //!", source.path);
        // Tests are tables of cases, which may be long.
        let lines = source.product.lines().count();
        assert!(
            lines <= LIMIT_LINES,
            "{}: {lines} lines without its tests",
            source.path
        );
    }
}

/// The folders whose entries the module map lists.
const FLOORS: &[&str] = &[
    "", "http/", "toolkit/", "web/", "probe/", "iperf3/", "metrics/",
];

#[test]
fn the_module_map_has_every_module_and_no_other() {
    let main = fs::read_to_string(top().join("src/main.rs")).unwrap();
    let mut told = BTreeSet::new();
    let rows = main.lines().filter_map(|line| line.strip_prefix("//! | `"));
    for row in rows {
        let (names, _) = row.split_once(" |").unwrap();
        let mut floor = String::new();
        for name in names.split('`').step_by(2).filter(|name| !name.is_empty()) {
            // `toolkit/auth`, `tls`: the second one is in the same folder.
            if let Some((folder, _)) = name.rsplit_once('/') {
                floor = format!("{folder}/");
            }
            let name = name.rsplit('/').next().unwrap();
            told.insert(format!("{floor}{name}"));
        }
    }
    let mut there = BTreeSet::new();
    for source in sources().iter().filter(|source| !source.product.is_empty()) {
        let path = source.path.strip_prefix("src/").unwrap();
        let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
        for floor in FLOORS {
            let Some(name) = path.strip_prefix(floor) else {
                continue;
            };
            let name = name.split('/').next().unwrap();
            there.insert(format!("{floor}{name}"));
        }
    }
    // A folder is listed by its entries. The build script and the generator of the documents are not in the exporter.
    for absent in FLOORS.iter().chain(&["build", "docs"]) {
        there.remove(absent.trim_end_matches('/'));
    }
    assert_eq!(there, told);
}

#[test]
fn no_function_is_long() {
    const LIMIT_LINES: usize = 70;
    for source in sources() {
        let lines: Vec<&str> = source.product.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let text = line.trim_start();
            let indent = &line[..line.len() - text.len()];
            let is_fn = ["fn ", "pub(crate) fn ", "pub(super) fn "]
                .iter()
                .any(|start| text.starts_with(start));
            if !is_fn {
                continue;
            }
            let end = format!("{indent}}}");
            // From the line of `fn` to the closing brace, both included.
            let length = lines[at..]
                .iter()
                .position(|line| **line == end)
                .map_or(1, |index| index + 1);
            assert!(
                length < LIMIT_LINES,
                "{}: {length} lines: {text}",
                source.path
            );
        }
    }
}

/// The error types of the `Result`s in a source text. Those of aliases such as `io::Result` are not named there.
fn error_types(text: &str) -> Vec<String> {
    let generics = text.match_indices("Result<");
    let errors = generics.filter_map(|(at, start)| {
        let mut depth = 0;
        let mut from = None;
        for (index, c) in text[at + start.len()..].char_indices() {
            let here = at + start.len() + index;
            match c {
                '(' | '[' | '<' => depth += 1,
                // The arrow of a closure's type.
                '>' if text[..here].ends_with('-') => {}
                ')' | ']' | '>' if depth > 0 => depth -= 1,
                ',' if depth == 0 => from = Some(here + 1),
                '>' => return from.map(|from| text[from..here].trim().to_owned()),
                _ => {}
            }
        }
        None
    });
    errors.filter(|error| !error.is_empty()).collect()
}

#[test]
fn an_error_is_never_a_bare_text() {
    let example = "fn a() -> Result<(), String>; Result<Vec<(u8, String)>, E>; io::Result<String>; \
                   fn b(c: &dyn Fn() -> u8) -> Result<fn(u8, u8) -> u8, &'static str>";
    assert_eq!(error_types(example), ["String", "E", "&'static str"]);
    for source in sources() {
        for error in error_types(&source.text) {
            let is_text = ["String", "str"].iter().any(|word| has_word(&error, word));
            assert!(!is_text, "{}: Result<_, {error}>", source.path);
        }
    }
}

#[test]
fn no_product_code_panics_on_purpose_or_is_unsafe() {
    for source in sources() {
        for piece in [
            ".unwrap()",
            ".expect(",
            ".unwrap_err()",
            ".expect_err(",
            "panic!",
            "unreachable!",
            "todo!",
            "unimplemented!",
            "dbg!",
            "eprintln!",
        ] {
            assert!(!source.product.contains(piece), "{}: {piece}", source.path);
        }
        // The build script prints to talk to cargo.
        let prints = source.product.contains("println!");
        assert_eq!(prints, source.path == "src/build.rs", "{}", source.path);
        for word in ["unsafe", "static", "transmute"] {
            let found = source.product.lines().find(|line| {
                has_word(
                    &line.replace("'static", "").replace("'unsafe-inline'", ""),
                    word,
                )
            });
            assert_eq!(found, None, "{}: {word}", source.path);
        }
    }
}

#[test]
fn the_lints_that_enforce_this_are_on() {
    let manifest = fs::read_to_string(top().join("Cargo.toml")).unwrap();
    for line in [
        "unsafe_code = \"forbid\"",
        "unreachable_pub = \"warn\"",
        "pedantic = { level = \"warn\", priority = -1 }",
        "unwrap_used = \"warn\"",
        "expect_used = \"warn\"",
        "indexing_slicing = \"warn\"",
        "string_slice = \"warn\"",
        "panic = \"warn\"",
        "print_stdout = \"warn\"",
        "print_stderr = \"warn\"",
    ] {
        assert!(manifest.lines().any(|own| own == line), "{line}");
    }
    // Every exception to a lint has its reason.
    for source in sources() {
        for (number, line) in source.text.lines().enumerate() {
            let allows = line.trim_start().starts_with("#[allow(") || line.starts_with("#![allow(");
            assert!(
                !allows || line.contains("reason = "),
                "{}:{}",
                source.path,
                number + 1
            );
        }
    }
}

/// The files that git tracks or would track, relative to the top; `None` without git or outside a checkout.
pub fn tracked() -> Option<Vec<String>> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(top())
        // Set by a hook that runs the tests; it may name another checkout.
        .env_remove("GIT_DIR")
        .env_remove("GIT_INDEX_FILE")
        .env_remove("GIT_WORK_TREE")
        .output()
        .ok()?;
    let names = String::from_utf8(output.stdout).ok()?;
    let files: Vec<String> = names
        .split('\0')
        .filter(|name| top().join(name).is_file())
        .map(str::to_owned)
        .collect();
    (output.status.success() && !files.is_empty()).then_some(files)
}

#[test]
fn no_file_has_a_path_of_a_build_machine_or_an_open_end() {
    let Some(files) = tracked() else {
        return skipped(
            "no_file_has_a_path_of_a_build_machine_or_an_open_end",
            "this is no git checkout",
        );
    };
    // Assembled from parts, so that the search does not find this file.
    let mut paths: Vec<String> = ["work", "farm", "root", "Users", "builds"]
        .map(|folder| format!("/{folder}/"))
        .to_vec();
    let here = top().display().to_string();
    // A checkout directly under / may have any name.
    if here.matches('/').count() > 2 {
        paths.push(here);
    }
    let marks: Vec<String> = [["TO", "DO"], ["FIX", "ME"], ["XX", "X"]]
        .map(|halves| halves.concat())
        .to_vec();
    for name in files {
        let bytes = fs::read(top().join(&name)).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for path in &paths {
            let found = text.match_indices(path.as_str()).find(|(at, _)| {
                // The end of a longer path or of a URL is not an absolute path.
                !text[..*at].ends_with(|c: char| c.is_alphanumeric() || "._-~}$".contains(c))
            });
            assert!(found.is_none(), "{name} has {path}");
        }
        // A home folder belongs to a person; systemd's unit mentions /home itself.
        assert!(
            !text.match_indices("/home/").any(|(at, home)| {
                text[at + home.len()..].starts_with(|c: char| c.is_ascii_lowercase())
            }),
            "{name} has a home folder"
        );
        for mark in &marks {
            assert!(!has_word(&text, mark), "{name} has {mark}");
        }
    }
}

/// The hosts of registries, each as its name and its ending; in one piece this file would contain them. Scripts
/// download through the system's own package manager, pip, cargo or rustup, which may be configured to use a mirror.
const REGISTRIES: &[(&str, &str)] = &[
    ("crates", "io"),
    ("static.rust-lang", "org"),
    ("debian", "org"),
    ("ubuntu", "com"),
    ("alpinelinux", "org"),
    ("archlinux", "org"),
    ("fedoraproject", "org"),
    ("opensuse", "org"),
    ("downloads.openwrt", "org"),
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("npmjs", "org"),
    ("npmjs", "com"),
    ("nodesource", "com"),
    ("jsdelivr", "net"),
    ("unpkg", "com"),
    ("rubygems", "org"),
    ("proxy.golang", "org"),
    ("docker", "io"),
    ("docker", "com"),
    ("ghcr", "io"),
    ("quay", "io"),
    ("gcr", "io"),
];

#[test]
fn no_file_names_the_host_of_a_registry() {
    let Some(files) = tracked() else {
        return skipped(
            "no_file_names_the_host_of_a_registry",
            "this is no git checkout",
        );
    };
    for name in files {
        let text = fs::read(top().join(&name)).unwrap();
        let text = String::from_utf8_lossy(&text).to_lowercase();
        for (host, end) in REGISTRIES {
            let host = format!("{host}.{end}");
            let found = text.match_indices(&host).find(|(at, _)| {
                let (before, after) = (&text[..*at], &text[at + host.len()..]);
                // Not a part of another name, nor of a longer one, such as the name of cargo's index, which cargo
                // itself writes.
                !before.ends_with(|c: char| c.is_alphanumeric() || c == '-')
                    && !after.starts_with(|c: char| c.is_alphanumeric() || c == '-')
            });
            assert!(found.is_none(), "{name} names {host}");
        }
    }
}

/// A merge can leave two lists of changes, each of which looks complete.
#[test]
fn no_version_in_the_changelog_has_two_headings_of_the_same_kind() {
    let text = fs::read_to_string(top().join("CHANGELOG.md")).unwrap();
    let mut versions = text.split("\n## ");
    versions.next();
    let mut count = 0;
    for version in versions {
        let mut kinds = BTreeSet::new();
        for kind in version.lines().filter(|line| line.starts_with("### ")) {
            assert!(kinds.insert(kind), "duplicate heading {kind}");
        }
        count += kinds.len();
    }
    assert!(count > 0, "no heading was found");
}

#[test]
fn the_top_folder_has_only_what_belongs_there() {
    const ALLOWED: &[&str] = &[
        "Cargo.toml",
        "Cargo.lock",
        "src",
        "tests",
        "Makefile",
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "iperf3-exporter.service",
        "contrib",
        "target",
    ];
    const REQUIRED: &[&str] = &[
        "Cargo.toml",
        "Cargo.lock",
        "src",
        "tests",
        "Makefile",
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "iperf3-exporter.service",
        ".gitignore",
        ".ci",
    ];
    // Without git all files that are there; with git those that would be committed.
    let names: BTreeSet<String> = match tracked() {
        Some(files) => files
            .iter()
            .map(|file| file.split('/').next().unwrap().to_owned())
            .collect(),
        None => fs::read_dir(top())
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect(),
    };
    for name in &names {
        let allowed = name.starts_with('.') || ALLOWED.contains(&name.as_str());
        assert!(allowed, "{name} does not belong there");
    }
    for name in REQUIRED {
        assert!(names.contains(*name), "{name} is missing");
    }
}

#[test]
fn a_skip_is_visible_when_the_output_goes_to_a_file() {
    const TEST: &str = "tidy::a_skip_is_visible_when_the_output_goes_to_a_file";
    const WITHIN: &str = "IPERF3_EXPORTER_TEST_SKIPS";
    if std::env::var_os(WITHIN).is_some() {
        skipped("one", "nobody needs it");
        return skipped("another", "it is too long");
    }
    let dir = TempDir::new();
    let path = dir.write("log", "");
    let log = fs::File::create(&path).unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", TEST])
        .env(WITHIN, "1")
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .status()
        .unwrap();
    let said = fs::read_to_string(path).unwrap();
    assert!(status.success(), "{said}");
    // With one thread the test harness puts its own text in front of a line.
    for line in [
        "SKIPPED: one: nobody needs it (skip 1 of this run)\n",
        "SKIPPED: another: it is too long (skip 2 of this run)\n",
        "test result: ok. 1 passed",
    ] {
        assert!(said.contains(line), "no {line} in {said}");
    }
}

#[test]
fn the_skips_of_a_run_are_summed_up_in_one_line() {
    let script = top().join("tests/scripts/skips.sh").display().to_string();
    let dir = TempDir::new();
    let lint = dir.write("lint", "SKIPPED: the lints were not run: no clippy here\n");
    let tests = "make test: what cannot run here says SKIPPED.\n\
        SKIPPED: one: nobody needs it (skip 1 of this run)\n\
        test tidy::another ... SKIPPED: another: too long (skip 2 of this run)\nok\n";
    let tests = dir.write("tests", tests);
    let files = [lint, tests].map(|file| file.display().to_string());
    let (passed, said) = run("sh", &[&script, &files[0], &files[1]], "");
    assert!(passed, "{said}");
    assert_eq!(
        said,
        "3 skipped: the lints were not run: no clippy here; one: nobody needs it; another: too long\n"
    );
    let nothing = dir.write("nothing", "").display().to_string();
    let (_, said) = run("sh", &[&script, &nothing], "");
    assert_eq!(said, "nothing was skipped\n");
}

#[test]
fn the_systemd_unit_is_valid_and_hardened() {
    if let Some(said) = run_script("unit.sh", "the_systemd_unit_is_valid_and_hardened") {
        assert_eq!(said.matches("verified, exposure ").count(), 2, "{said}");
    }
}

#[test]
fn each_ignored_test_names_make_test_all_and_its_reason() {
    let mut files: Vec<PathBuf> = sources()
        .iter()
        .map(|source| top().join(&source.path))
        .collect();
    let folder = fs::read_dir(top().join("tests/it")).unwrap().flatten();
    files.extend(folder.map(|entry| entry.path()));
    let mut count = 0;
    for file in files.iter().filter(|file| file.is_file()) {
        for line in fs::read_to_string(file).unwrap().lines() {
            // Only at the start of a line, so that this line does not match.
            if line.trim_start().starts_with("#[ignore") {
                let why = line
                    .split_once("\"make test-all: ")
                    .map_or("", |(_, why)| why);
                assert!(why.len() > 10, "{}: {line}", file.display());
                count += 1;
            }
        }
    }
    assert!(count > 2, "{count}");
}

#[test]
fn the_list_of_test_modules_is_complete() {
    let main = fs::read_to_string(top().join("tests/it/main.rs")).unwrap();
    let files = fs::read_dir(top().join("tests/it")).unwrap().flatten();
    for entry in files {
        let path = entry.path();
        let name = path
            .file_stem()
            .and_then(|name| name.to_str())
            .unwrap()
            .to_owned();
        if name == "main" || path.extension().is_none_or(|end| end != "rs") {
            continue;
        }
        assert!(
            main.contains(&format!("//! - `{name}`: ")),
            "{name} is not explained"
        );
        assert!(
            main.contains(&format!("\nmod {name};")),
            "{name} is not compiled"
        );
    }
}
