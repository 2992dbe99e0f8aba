//! The rings of `src/main.rs`: which ring may import which, read from the `use` lines and paths of product code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::harness::top;
use crate::tidy::{sources, without_comments};

/// A ring and what it may import from other rings. A module in no ring is a utility, which every ring may import.
const RINGS: &[(&str, &[&str])] = &[
    // From http: counts, requests and responses. Only http itself handles connections.
    (
        "web",
        &[
            "toolkit::access",
            "http::Traffic",
            "http::request",
            "http::response",
            "probe",
            "metrics",
            "iperf3",
        ],
    ),
    // Also a client's bytes, which TLS carries.
    (
        "toolkit",
        &[
            "http::ClientStream",
            "http::wait_readable",
            "http::request",
            "http::response",
            "http::tls",
            "metrics::text",
        ],
    ),
    ("http", &["metrics::text"]),
    ("probe", &["iperf3", "metrics::text"]),
    ("metrics", &["iperf3"]),
    ("iperf3", &[]),
    ("systemd", &[]),
    // The types of the rings' configuration.
    (
        "cli",
        &[
            "health::Url",
            "http::HttpConfig",
            "http::listen",
            "iperf3::credentials",
            "probe::allow",
            "probe::prober",
        ],
    ),
    // The client behind --health knows the server's response to plain HTTP on a TLS port.
    ("health", &["http::tls"]),
];
/// Wiring and documentation may import everything.
const FREE: &[&str] = &["main", "run", "check", "docs", "build"];
/// No folder has more than this part of the product's lines, so that a reader finds a module.
const LARGEST_PART: f64 = 0.3;

/// Modules by their paths, such as `http::head`, with the product's code.
fn modules() -> BTreeMap<String, String> {
    let product = sources().iter().filter(|source| {
        let is_of_tests = source.path.ends_with("fuzz.rs");
        !source.product.is_empty() && !is_of_tests
    });
    product
        .map(|source| {
            let path = source.path.trim_start_matches("src/");
            let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
            (path.replace('/', "::"), source.product.clone())
        })
        .collect()
}

/// The single paths of a use tree, each with its name: `a::{b, c::{d, e as f}}` is three.
fn paths_of(tree: &str) -> Vec<(String, String)> {
    let Some((start, rest)) = tree.split_once('{') else {
        let (path, name) = tree.split_once(" as ").unwrap_or((tree, ""));
        let path = path.trim().to_owned();
        let name = match name.trim() {
            "" => path.trim_end_matches("::self").rsplit("::").next().unwrap(),
            name => name,
        };
        return vec![(path.clone(), name.to_owned())];
    };
    let inner = rest.rsplit_once('}').unwrap().0;
    let mut depth = 0;
    let parts = inner.split(|c| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    });
    let start = start.trim();
    parts
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .flat_map(paths_of)
        .map(|(path, name)| match path.as_str() {
            "self" => (format!("{start}self"), name_before(start, name)),
            _ => (format!("{start}{path}"), name),
        })
        .collect()
}

/// The name of `self` in a tree after `start`: the last part of `start`, unless it got another one.
fn name_before(start: &str, name: String) -> String {
    if name == "self" {
        let path = start.trim_end_matches("::");
        return path.rsplit("::").next().unwrap().to_owned();
    }
    name
}

fn is_path(c: char) -> bool {
    c.is_alphanumeric() || "_:".contains(c)
}

/// What follows each `word` in the code. It is a whole word there.
fn after<'a>(flat: &'a str, word: &str) -> Vec<&'a str> {
    flat.match_indices(&format!("{word} "))
        .filter(|(at, _)| !flat[..*at].ends_with(is_path))
        .map(|(at, _)| &flat[at + word.len() + 1..])
        .collect()
}

/// A module's code as the reader sees it.
struct Reader {
    /// The module's path. Empty for the root of the crate.
    own: Vec<String>,
    /// The code on one line.
    flat: String,
    /// The paths in `use` items, each with the name that it gets here.
    uses: Vec<(String, String)>,
    /// The full path of each name that is a child module, or that a `use` item brings in.
    names: BTreeMap<String, String>,
}

impl Reader {
    fn new(module: &str, code: &str) -> Self {
        let flat = without_comments(code, false).replace("r#", "");
        let flat = flat.split_whitespace().collect::<Vec<_>>().join(" ");
        let own = module.split("::").filter(|part| *part != "main");
        let mut uses = Vec::new();
        for tree in after(&flat, "use") {
            uses.extend(paths_of(tree.split(';').next().unwrap()));
        }
        let mut reader = Self {
            own: own.map(str::to_owned).collect(),
            uses,
            names: BTreeMap::new(),
            flat,
        };
        for rest in after(&reader.flat, "mod") {
            if let Some((name, _)) = rest.split_once(';').filter(|(name, _)| is_name(name)) {
                let path = [&reader.own[..], &[name.to_owned()]].concat().join("::");
                reader.names.insert(name.to_owned(), path);
            }
        }
        // A `use` may begin with a name that another one brings in.
        for _ in 0..reader.uses.len() {
            let found = reader.uses.iter().filter(|(_, name)| name != "_");
            let found = found.filter_map(|(path, name)| Some((name.clone(), reader.full(path)?)));
            let found: Vec<(String, String)> = found.collect();
            let before = reader.names.len();
            reader.names.extend(found);
            if reader.names.len() == before {
                break;
            }
        }
        reader
    }

    /// A path from the crate's root; `None` if it is of another crate. The root itself is an empty path.
    fn full(&self, path: &str) -> Option<String> {
        let mut parts: Vec<&str> = path.split("::").collect();
        // `a::{self}` is `a`.
        if parts.len() > 1 && parts.last() == Some(&"self") {
            parts.pop();
        }
        let own: Vec<&str> = self.own.iter().map(String::as_str).collect();
        let ups = parts.iter().skip_while(|part| **part == "self");
        let ups = ups.take_while(|part| **part == "super").count();
        let start = match parts[0] {
            "crate" => Vec::new(),
            "self" | "super" => own[..own.len().checked_sub(ups)?].to_vec(),
            name => self.names.get(name)?.split("::").collect(),
        };
        let is_start = |part: &&str| ["crate", "self", "super"].contains(part);
        let rest = match parts.iter().take_while(|part| is_start(part)).count() {
            0 => &parts[1..],
            count => &parts[count..],
        };
        let full = [&start[..], rest].concat();
        Some(full.join("::").trim_start_matches("::").to_owned())
    }

    /// The full paths that the code names, in `use` items and elsewhere.
    fn paths(&self) -> BTreeSet<String> {
        let mut all: Vec<&str> = self.uses.iter().map(|(path, _)| path.as_str()).collect();
        let mut rest = self.flat.clone();
        for tree in after(&self.flat, "use") {
            let tree = tree.split_once(';').map_or(tree, |(tree, _)| tree);
            rest = rest.replace(&format!("use {tree};"), "");
        }
        let others = rest
            .split(|c| !is_path(c))
            .map(|path| path.trim_end_matches("::"));
        all.extend(others.filter(|path| path.contains("::") && !path.starts_with(':')));
        all.iter().filter_map(|path| self.full(path)).collect()
    }

    /// What would hide an import from this reader, or has no place in the product.
    fn forbidden(&self) -> Vec<String> {
        let mut all = Vec::new();
        for (path, name) in &self.uses {
            if path.ends_with('*') {
                all.push(format!("use {path}: name what it imports"));
            }
            if self.full(path).is_some_and(|path| path.is_empty()) {
                all.push(format!("use {path} as {name}: it is the root of the crate"));
            }
        }
        for rest in after(&self.flat, "mod") {
            let inline = rest.split_once('{').map(|(name, _)| name.trim());
            if let Some(name) = inline.filter(|name| is_name(name)) {
                all.push(format!("mod {name}: give it a file"));
            }
        }
        for name in after(&self.flat, "extern crate") {
            let name = name.split(';').next().unwrap();
            all.push(format!("extern crate {name}: use its name"));
        }
        for other in ["include!", "#[path"] {
            if self.flat.contains(other) {
                all.push(format!("{other}: a file is a module at its own place"));
            }
        }
        all
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// The modules that a module names, each with its full path.
fn named(module: &str, code: &str) -> BTreeSet<String> {
    Reader::new(module, code).paths()
}

/// The module file to which a path leads: the root of the crate if it is in no other.
fn file_of<'a>(path: &'a str, modules: &BTreeMap<String, String>) -> &'a str {
    let mut path = path;
    while !modules.contains_key(path) {
        let Some((parent, _)) = path.rsplit_once("::") else {
            return "main";
        };
        path = parent;
    }
    path
}

/// The files that import each other in a circle, with what they import there.
fn circles(modules: &BTreeMap<String, String>) -> BTreeMap<&str, BTreeSet<String>> {
    let mut left: BTreeMap<&str, BTreeSet<String>> = modules
        .iter()
        .map(|(module, code)| {
            let named = named(module, code);
            let files = named.iter().map(|path| file_of(path, modules));
            let others = files.filter(|file| *file != module).map(str::to_owned);
            (module.as_str(), others.collect())
        })
        .collect();
    assert!(left.values().any(|others| !others.is_empty()));
    // A file that imports none of the others, or that none of them imports, is in no circle.
    loop {
        let imported: BTreeSet<String> = left.values().flatten().cloned().collect();
        let before = left.len();
        left.retain(|module, others| !others.is_empty() && imported.contains(*module));
        let remaining: BTreeSet<String> = left.keys().map(ToString::to_string).collect();
        for others in left.values_mut() {
            others.retain(|other| remaining.contains(other));
        }
        if left.len() == before && left.values().all(|others| !others.is_empty()) {
            return left;
        }
    }
}

fn is_below(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[test]
fn each_ring_imports_only_what_is_below_it() {
    let mut wrong = Vec::new();
    let modules = modules();
    for (module, code) in &modules {
        let ring = module.split("::").next().unwrap();
        if FREE.contains(&ring) {
            continue;
        }
        let allowed = RINGS.iter().find(|(name, _)| *name == ring);
        let allowed = allowed.map_or(&[][..], |(_, allowed)| *allowed);
        for path in named(module, code) {
            let other = path.split("::").next().unwrap();
            let is_ring = RINGS.iter().any(|(name, _)| *name == other) || FREE.contains(&other);
            let may = other == ring || allowed.iter().any(|parent| is_below(&path, parent));
            if is_ring && !may {
                wrong.push(format!("{module} imports {path}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_allowed_import_is_used() {
    let modules = modules();
    for (ring, allowed) in RINGS {
        let own = modules.iter().filter(|(module, _)| is_below(module, ring));
        let named: BTreeSet<String> = own.flat_map(|(module, code)| named(module, code)).collect();
        for parent in *allowed {
            let is_used = named.iter().any(|path| is_below(path, parent));
            assert!(is_used, "{ring} does not need {parent}");
        }
    }
}

#[test]
fn the_map_has_these_rings_and_what_they_may_import() {
    let main = fs::read_to_string(top().join("src/main.rs")).unwrap();
    let (_, rows) = main.split_once("//! | ring | may import |\n").unwrap();
    let rows = rows
        .lines()
        .skip(1)
        .map_while(|line| line.strip_prefix("//! | "));
    let is_ring = |word: &&str| RINGS.iter().any(|(ring, _)| ring == word);
    let mut listed = BTreeMap::new();
    for row in rows {
        let (rings, imports) = row.split_once(" | ").unwrap();
        let words = imports.split(|c: char| !c.is_alphanumeric());
        let imported: BTreeSet<&str> = words.filter(is_ring).collect();
        listed.extend(rings.split(", ").map(|ring| (ring, imported.clone())));
        let is_free = imports.starts_with("everything");
        assert!(
            rings
                .split(", ")
                .all(|ring| FREE.contains(&ring) == is_free),
            "{row}"
        );
    }
    for (ring, allowed) in RINGS {
        let heads = allowed.iter().map(|path| path.split("::").next().unwrap());
        assert_eq!(listed.get(ring), Some(&heads.collect()), "{ring}");
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let modules = modules();
    let circles = circles(&modules);
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn no_import_of_the_product_is_hidden() {
    let hidden: Vec<String> = modules()
        .iter()
        .flat_map(|(module, code)| {
            let forbidden = Reader::new(module, code).forbidden();
            forbidden
                .into_iter()
                .map(move |what| format!("{module}: {what}"))
        })
        .collect();
    assert!(hidden.is_empty(), "{hidden:#?}");
}

#[test]
fn no_folder_holds_too_much_of_the_code() {
    let modules = modules();
    let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
    for (module, code) in &modules {
        *lines.entry(module.split("::").next().unwrap()).or_default() += code.lines().count();
    }
    let all: usize = lines.values().sum();
    for (folder, own) in &lines {
        let part = *own as f64 / all as f64;
        assert!(part <= LARGEST_PART, "{folder}: {own} of {all} lines");
    }
}

#[test]
fn a_path_is_found_anywhere_in_the_code() {
    let code = "use crate::http::{Limits, tls::{self}};\nuse super::lock;\nuse std::mem;\n\
        fn f(a: super::super::web::Site) -> crate::cli::Config {\n    self::inner::g(super::allow::h(crate::log::x))\n}";
    let found: Vec<String> = named("probe::engine", code).into_iter().collect();
    let expected = "cli::Config http::Limits http::tls log::x probe::allow::h probe::engine::inner::g probe::lock web::Site";
    assert_eq!(found.join(" "), expected);
}

#[test]
fn a_path_that_begins_with_a_name_of_the_file_is_found() {
    for (module, code, expected) in [
        (
            "metrics",
            "mod text;\npub(crate) use text::Text;",
            "metrics::text::Text",
        ),
        (
            "metrics",
            "pub(crate) mod text;\nfn f() -> text::Text {}",
            "metrics::text::Text",
        ),
        (
            "main",
            "mod web;\nfn f() { web::routes::g() }",
            "web::routes::g",
        ),
        (
            "probe::lock",
            "use crate as all;\nuse all::http::Limits;",
            "http::Limits",
        ),
        (
            "probe::lock",
            "use crate::{self as all};\nfn f() { all::http::g() }",
            "http::g",
        ),
        (
            "probe::lock",
            "use super::super::web as w;\nuse w::Site;",
            "web::Site",
        ),
        (
            "probe::lock",
            "use crate::web::{self, csrf};\nfn f() { web::g() }",
            "web::g",
        ),
        ("probe::lock", "fn f() { crate::web::g::<u8>() }", "web::g"),
        ("probe::lock", "use crate::r#web::Site;", "web::Site"),
        (
            "probe::lock",
            "fn f() { g(\"cannot use a//b\"); crate::web::Site::new(); }",
            "web::Site::new",
        ),
        ("probe::lock", "use {crate::{web::Site}};", "web::Site"),
    ] {
        let found = named(module, code);
        assert!(found.contains(expected), "{code}: {found:?}");
    }
    // A name of another crate is no module of this one.
    let code = "use std::{io, mem};\nuse io::ErrorKind::NotFound;\nuse rustls::{Error, sign::{CertifiedKey}};";
    assert_eq!(named("toolkit::tls", code), BTreeSet::new());
}

#[test]
fn an_import_that_could_hide_is_forbidden() {
    for (module, code) in [
        ("probe::lock", "use crate as all;\nuse all::http::Limits;"),
        ("probe::lock", "use crate::{self as all};"),
        ("health", "use super as all;"),
        ("probe::lock", "extern crate self as all;"),
        ("probe::lock", "use crate::*;"),
        ("probe::lock", "pub(crate) use super::{Prober, params::*};"),
        (
            "probe::lock",
            "mod inner {\n    use super::super::super::http::Limits;\n}",
        ),
        ("probe::lock", "fn f() {\n    pub(super) mod inner {}\n}"),
        ("probe", "#[path = \"../http/limits.rs\"]\nmod stolen;"),
        ("probe", "include!(\"../http/limits.rs\");"),
    ] {
        let forbidden = Reader::new(module, code).forbidden();
        assert!(!forbidden.is_empty(), "{code}");
    }
    let code = "mod lock;\nuse std::mem;\nuse crate::http::tls::{self as policy, TlsPolicy};\n\
        fn f() -> &'static str { \"use * and mod; x { y\" }";
    assert_eq!(Reader::new("probe", code).forbidden(), Vec::<String>::new());
}

#[test]
fn a_circle_through_a_child_module_is_found() {
    let modules = [
        (
            "metrics",
            "pub(crate) mod text;\npub(crate) use text::Text;\npub(crate) struct Kind;",
        ),
        (
            "metrics::text",
            "use super::Kind;\npub(crate) struct Text(Kind);",
        ),
        ("health", "use crate::metrics::text;"),
        ("sync", "use std::sync::Mutex;"),
    ];
    let modules = modules.map(|(module, code)| (module.to_owned(), code.to_owned()));
    let modules = BTreeMap::from(modules);
    let found: Vec<&str> = circles(&modules).into_keys().collect();
    assert_eq!(found, ["metrics", "metrics::text"]);
}
