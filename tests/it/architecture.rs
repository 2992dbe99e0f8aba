//! The rings of `src/main.rs`: which ring may import which, read from the `use` lines and paths of product code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::harness::top;
use crate::tidy::sources;

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
    let sources = sources();
    let product = sources.into_iter().filter(|source| {
        let is_of_tests = source.path.ends_with("fuzz.rs");
        !source.product.is_empty() && !is_of_tests
    });
    product
        .map(|source| {
            let path = source.path.trim_start_matches("src/");
            let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
            (path.replace('/', "::"), source.product)
        })
        .collect()
}

/// The single paths of a use tree: `a::{b, c::{d, e}}` is three.
fn paths_of(tree: &str) -> Vec<String> {
    let Some((start, rest)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap();
        return vec![path.trim().to_owned()];
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
    parts
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .flat_map(paths_of)
        .map(|path| format!("{}{path}", start.trim()))
        .collect()
}

/// The modules that a module names, in `use` lines and elsewhere, each with its full path.
fn named(module: &str, code: &str) -> BTreeSet<String> {
    let flat = code.split_whitespace().collect::<Vec<_>>().join(" ");
    let starts = ["crate::", "self::", "super::"];
    let is_path = |c: char| c.is_alphanumeric() || "_:".contains(c);
    let mut paths = Vec::new();
    for (at, _) in flat.match_indices("use ") {
        let tree = &flat[at + 4..];
        let is_own = starts.iter().any(|start| tree.starts_with(start));
        if let Some((tree, _)) = tree.split_once(';').filter(|_| is_own) {
            paths.extend(paths_of(tree));
        }
    }
    // Also paths in expressions and types: `super::super::` begins one path, not two. The trees were read above.
    for (at, _) in starts.iter().flat_map(|start| flat.match_indices(start)) {
        let end = flat[at..].find(|c| !is_path(c)).unwrap_or(flat.len() - at);
        let path = &flat[at..at + end];
        if !flat[..at].ends_with(is_path) && !path.ends_with(':') {
            paths.push(path.to_owned());
        }
    }
    let own: Vec<&str> = module.split("::").collect();
    paths
        .iter()
        .filter_map(|path| {
            let mut parts: Vec<&str> = path.split("::").filter(|part| *part != "self").collect();
            if path.starts_with("self::") {
                return Some([own.clone(), parts].concat().join("::"));
            }
            if parts.first() == Some(&"crate") {
                return Some(parts.split_off(1).join("::"));
            }
            let ups = parts.iter().take_while(|part| **part == "super").count();
            let floor = own.len().checked_sub(ups).filter(|_| ups > 0)?;
            Some([&own[..floor], &parts[ups..]].concat().join("::"))
        })
        .collect()
}

/// The module file to which a path leads.
fn file_of<'a>(path: &'a str, modules: &BTreeMap<String, String>) -> Option<&'a str> {
    let mut path = path;
    loop {
        if modules.contains_key(path) {
            return Some(path);
        }
        path = path.rsplit_once("::")?.0;
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
    let mut told = BTreeMap::new();
    for row in rows {
        let (rings, imports) = row.split_once(" | ").unwrap();
        let words = imports.split(|c: char| !c.is_alphanumeric());
        let imported: BTreeSet<&str> = words.filter(is_ring).collect();
        told.extend(rings.split(", ").map(|ring| (ring, imported.clone())));
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
        assert_eq!(told.get(ring), Some(&heads.collect()), "{ring}");
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let modules = modules();
    let mut left: BTreeMap<&str, BTreeSet<String>> = modules
        .iter()
        .map(|(module, code)| {
            let named = named(module, code);
            let files = named.iter().filter_map(|path| file_of(path, &modules));
            let others = files.filter(|file| *file != module).map(str::to_owned);
            (module.as_str(), others.collect())
        })
        .collect();
    assert!(left.values().any(|others| !others.is_empty()));
    // A module that imports none of the remaining ones is in no circle.
    loop {
        let free: Vec<&str> = left
            .iter()
            .filter(|(_, others)| !others.iter().any(|other| left.contains_key(other.as_str())))
            .map(|(module, _)| *module)
            .collect();
        if free.is_empty() {
            break;
        }
        for module in free {
            left.remove(module);
        }
    }
    // A module that only leads into a circle remains as well; its imports show which circle.
    assert!(left.is_empty(), "{left:#?}");
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
