//! What a release contains besides the code: other projects' crates, their licences, the SBOM; `make install`; the
//! files of a package.
//!
//! `make release-check` tests that the archives and packages work: it needs builds that take minutes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::{TempDir, assert_golden, generated_block, has, page, run, skipped, top};

/// The target for which the crates are counted; a test checks that the other targets have the same crates.
const TARGET: &str = "x86_64-unknown-linux-musl";
const OTHER_TARGETS: &[&str] = &[
    "aarch64-unknown-linux-musl",
    "armv7-unknown-linux-musleabihf",
];
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The standard output of cargo in this checkout, without network access.
fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--locked", "--offline"])
        .current_dir(top())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "cargo {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The packages that a build, a test or a bench on Linux needs, this one included.
fn packages() -> Vec<Value> {
    let text = cargo(&[
        "metadata",
        "--format-version=1",
        "--filter-platform",
        TARGET,
    ]);
    let mut metadata: Value = serde_json::from_str(&text).unwrap();
    let Value::Array(packages) = metadata["packages"].take() else {
        panic!("cargo metadata has no packages");
    };
    assert!(packages.len() > 30, "{} packages", packages.len());
    packages
}

/// Name and version of the crates in the static binary, without the exporter itself.
fn linked(target: &str, more: &[&str]) -> BTreeSet<String> {
    let mut arguments = vec![
        "tree",
        "--edges=normal,no-proc-macro",
        "--prefix=none",
        "--format={p}",
        "--target",
        target,
    ];
    arguments.extend(more);
    cargo(&arguments)
        .lines()
        // `name v1.2.3 (*)`: the end marks a repeated entry.
        .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "))
        .filter(|name| !name.starts_with("iperf3-exporter "))
        .collect()
}

/// The licences that `.deny.toml` allows.
fn allowed() -> Vec<String> {
    let text = fs::read_to_string(top().join(".deny.toml")).unwrap();
    let list = text.split_once("\nallow = [\n").unwrap().1;
    let list = list.split_once("\n]").unwrap().0;
    let names: Vec<String> = list
        .lines()
        .map(|line| line.split('"').nth(1).unwrap().to_owned())
        .collect();
    assert!(names.len() > 2, "{names:?}");
    names
}

/// Whether `allowed` satisfies an SPDX expression. For `A AND B OR C` it requires A too, although SPDX does not: such a
/// case needs a decision by a person.
fn can_be_met(expression: &str, allowed: &[String]) -> bool {
    // The notation before SPDX.
    let expression = expression.replace('/', " OR ");
    expression.split(" AND ").all(|part| {
        let choices = part.trim_matches(['(', ')']);
        choices
            .split(" OR ")
            .any(|choice| allowed.iter().any(|name| name == choice.trim()))
    })
}

#[test]
fn a_licence_expression_is_read_as_in_spdx() {
    let allowed = ["MIT", "ISC"].map(str::to_owned);
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("GPL-3.0-only OR MIT", true),
        ("GPL-3.0-only/MIT", true),
        ("MIT AND ISC", true),
        ("MIT AND GPL-3.0-only", false),
        ("(MIT OR GPL-3.0-only) AND ISC", true),
        ("(MIT OR ISC) AND GPL-3.0-only", false),
        ("MIT-0", false),
        ("MIT WITH something", false),
    ] {
        assert_eq!(can_be_met(expression, &allowed), expected, "{expression}");
    }
}

#[test]
fn every_crate_is_from_crates_io_under_a_licence_that_is_allowed() {
    let allowed = allowed();
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or_default();
        assert!(can_be_met(licence, &allowed), "{name} is under {licence:?}");
        match package["source"].as_str() {
            Some(source) => assert_eq!(source, CRATES_IO, "{name}"),
            None => assert_eq!(name, "iperf3-exporter"),
        }
    }
}

#[test]
fn every_allowed_licence_is_needed() {
    let (allowed, packages) = (allowed(), packages());
    for (at, licence) in allowed.iter().enumerate() {
        let mut fewer = allowed.clone();
        fewer.remove(at);
        // Most crates offer a choice; at least one must have no alternative to this licence.
        let needs = packages.iter().any(|package| {
            let expression = package["license"].as_str().unwrap_or_default();
            !can_be_met(expression, &fewer)
        });
        assert!(needs, "{licence}");
    }
}

#[test]
fn every_lock_entry_is_from_crates_io_with_its_checksum() {
    // The lists above lack the crates for other systems and features, but a build for one of those uses them.
    let lock = fs::read_to_string(top().join("Cargo.lock")).unwrap();
    let mut count = 0;
    for entry in lock.split("\n[[package]]\n").skip(1) {
        let fields: BTreeMap<&str, &str> = entry
            .lines()
            .filter_map(|line| line.split_once(" = "))
            .collect();
        if fields["name"] == "\"iperf3-exporter\"" {
            continue;
        }
        let source = fields.get("source").copied();
        assert_eq!(source, Some(format!("\"{CRATES_IO}\"").as_str()), "{entry}");
        let checksum = fields.get("checksum").copied().unwrap_or_default();
        assert_eq!(checksum.len(), 64 + 2, "{entry}");
        count += 1;
    }
    assert!(count > 30, "{count} entries");
}

#[test]
fn each_direct_dependency_has_its_reason() {
    let manifest = fs::read_to_string(top().join("Cargo.toml")).unwrap();
    let mut count = 0;
    for section in ["dependencies", "dev-dependencies"] {
        let text = manifest.split_once(&format!("\n[{section}]\n")).unwrap();
        let before = text.0.lines().last().unwrap();
        let lines: Vec<&str> = text.1.split("\n[").next().unwrap().lines().collect();
        for (at, line) in lines.iter().enumerate() {
            if line.starts_with('#') || !line.contains(" = ") {
                continue;
            }
            let above = if at == 0 { before } else { lines[at - 1] };
            assert!(above.starts_with("# "), "no comment above: {line}");
            count += 1;
        }
    }
    assert!(count > 8, "{count} dependencies");
}

#[test]
fn the_documented_number_of_crates_is_right() {
    let direct = |more: &[&str]| {
        let mut arguments = vec!["--depth=1"];
        arguments.extend(more);
        linked(TARGET, &arguments).len()
    };
    let (all, plain) = (
        linked(TARGET, &[]),
        linked(TARGET, &["--no-default-features"]),
    );
    for target in OTHER_TARGETS {
        assert_eq!(linked(target, &[]), all, "{target}");
    }
    let text = format!(
        "{} crates are linked into the binary, {} of them named in `Cargo.toml`; without TLS {}, and {} of them.\n",
        all.len(),
        direct(&[]),
        plain.len(),
        direct(&["--no-default-features"]),
    );
    assert_golden(&top().join("tests/golden/crates.txt"), &text);
    assert_eq!(generated_block(&page("development"), "crates"), text);
}

#[test]
fn the_sbom_names_each_linked_crate_once_and_is_reproducible() {
    let script = top().join("contrib/packaging/bom.sh").display().to_string();
    if Command::new("jq").arg("--version").output().is_err() {
        return skipped(
            "the_sbom_names_each_linked_crate_once_and_is_reproducible",
            "no jq here",
        );
    }
    let binary = env!("CARGO_BIN_EXE_iperf3-exporter");
    let (passed, text) = run("sh", &[&script, "sbom", TARGET, binary], "");
    assert!(passed, "{text}");
    assert_eq!(run("sh", &[&script, "sbom", TARGET, binary], "").1, text);
    let bom: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(bom["bomFormat"], "CycloneDX");
    let mut names = BTreeSet::new();
    let mut references =
        BTreeSet::from([bom["metadata"]["component"]["bom-ref"].clone().to_string()]);
    for component in bom["components"].as_array().unwrap() {
        assert!(
            references.insert(component["bom-ref"].to_string()),
            "{component}"
        );
        let name = component["name"].as_str().unwrap();
        if !component["purl"]
            .as_str()
            .unwrap()
            .starts_with("pkg:cargo/")
        {
            assert!(["rust-std", "musl"].contains(&name), "{component}");
            continue;
        }
        names.insert(format!(
            "{name} v{}",
            component["version"].as_str().unwrap()
        ));
        let checksum = component["hashes"][0]["content"].as_str().unwrap();
        assert_eq!(checksum.len(), 64, "{component}");
        let licence = component["licenses"][0]["expression"].as_str().unwrap();
        assert!(!licence.is_empty() && !licence.contains('/'), "{component}");
    }
    assert_eq!(names, linked(TARGET, &[]));
    // Both ends of every dependency are listed, and the program has dependencies.
    let mut needed = BTreeSet::new();
    for dependency in bom["dependencies"].as_array().unwrap() {
        assert!(
            references.contains(&dependency["ref"].to_string()),
            "{dependency}"
        );
        for other in dependency["dependsOn"].as_array().unwrap() {
            needed.insert(other.to_string());
        }
    }
    assert!(needed.is_subset(&references), "{needed:?}");
    // Every component except the program is a dependency.
    assert_eq!(needed.len() + 1, references.len(), "{needed:?}");
}

#[test]
fn the_licence_texts_cover_each_linked_crate() {
    let script = top().join("contrib/packaging/bom.sh").display().to_string();
    if Command::new("jq").arg("--version").output().is_err() {
        return skipped("the_licence_texts_cover_each_linked_crate", "no jq here");
    }
    let (passed, text) = run("sh", &[&script, "licences", TARGET], "");
    assert!(passed, "{text}");
    let line = format!("\n{}\n", "=".repeat(80));
    let mut parts = text.split(line.as_str());
    let list = parts.next().unwrap();
    // Names come first, on one or more lines, then an empty line and the text.
    let texts: Vec<(String, &str)> = parts
        .map(|part| {
            let (names, text) = part.split_once(":\n").unwrap();
            (names.replace('\n', ""), text)
        })
        .collect();
    let mut names = linked(TARGET, &[]);
    names.insert("musl v".to_owned());
    for name in names {
        let name = name.replace(" v", " ");
        let name = name.trim_end();
        let own: Vec<&str> = texts
            .iter()
            .filter(|(names, _)| names.split(", ").any(|own| own == name))
            .map(|(_, text)| *text)
            .collect();
        assert!(
            list.contains(&format!("\n{name}: ")),
            "{name} is not listed"
        );
        assert!(
            own.iter()
                .any(|text| text.contains("ermission") || text.contains("Redistribution")),
            "{name} has no text that permits anything"
        );
    }
}

#[test]
fn a_release_fails_when_no_target_can_be_built() {
    let script = top().join("contrib/packaging/release-check.sh");
    let script = script.display().to_string();
    // An architecture that rustc does not know, and an unknown target of this machine's architecture.
    let own = format!("{}-nothing-linux", run("uname", &["-m"], "").1.trim());
    for (target, why) in [
        ("nothing-unknown-linux", "none of the targets can be built"),
        (own.as_str(), "is this machine's own"),
    ] {
        let (passed, text) = run("sh", &[&script, target], "");
        assert!(!passed && text.contains(why), "{text}");
    }
}

/// Runs a script of `contrib/packaging` with these variables; whether it succeeded, and its output.
pub fn packaging(script: &str, arguments: &[&str], variables: &[(&str, &str)]) -> (bool, String) {
    let output = Command::new("sh")
        .arg(top().join("contrib/packaging").join(script))
        .args(arguments)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text.into_owned())
}

/// Mode, owner and path of each file in a tar listing, without size and time.
fn listed(list: &str) -> String {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        format!("{} {} {}\n", fields[0], fields[1], fields[5..].join(" "))
    };
    list.lines().map(line).collect()
}

/// `make release-check` tests installing, upgrading and removing. A few bytes replace the binary: its content does not
/// matter here, and packing a real one takes seconds.
#[test]
fn the_debian_package_has_these_files_with_these_modes() {
    let test = "the_debian_package_has_these_files_with_these_modes";
    if !has("dpkg-deb", test) || !has("jq", test) {
        return;
    }
    let dir = TempDir::new();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (_, rustc) = run("rustc", &["-vV"], "");
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: "));
    let (host, stage) = (host.unwrap(), path("stage"));
    let binary = dir.write("binary", "#!/bin/sh\n").display().to_string();
    let (passed, said) = packaging("stage.sh", &[host, &stage], &[("BIN", &binary)]);
    if said.contains("this Rust has no /") {
        return skipped(test, "this Rust has no licence text of its library");
    }
    assert!(passed, "{said}");
    links_lead_to_files(&format!("{stage}/usr/share/doc/iperf3-exporter"));
    let variables = [
        ("STAGE", stage.as_str()),
        ("VERSION", "1.2.3"),
        // The package is made there, so that it is not mistaken for one of `make deb`.
        ("CARGO_TARGET_DIR", &path("target")),
    ];
    let (passed, said) = packaging("packages.sh", &["deb", host], &variables);
    assert!(passed, "{said}");
    let package = said.trim_end();
    let ask = |words: &str| {
        let (passed, said) = run("sh", &["-c", &words.replace("PACKAGE", package)], "");
        assert!(passed, "{words}: {said}");
        said
    };
    let fields = ask("dpkg-deb -f PACKAGE");
    // Fields that differ between machines, and the project's home, which only Cargo.toml sets.
    let others = ["Architecture: ", "Installed-Size: ", "Homepage: "];
    let fields = fields
        .lines()
        .filter(|line| !others.iter().any(|other| line.starts_with(other)));
    let fields: Vec<&str> = fields.collect();
    let contents = format!(
        "{}\n{}\n{}\n",
        listed(&ask("dpkg-deb -c PACKAGE")),
        listed(&ask("dpkg-deb --ctrl-tarfile PACKAGE | tar -tv")),
        fields.join("\n")
    );
    assert_golden(&top().join("tests/golden/package.txt"), &contents);
    let control = path("control");
    ask(&format!("dpkg-deb -e PACKAGE {control}"));
    for script in ["postinst", "prerm", "postrm"] {
        ask(&format!("sh -n {control}/{script}"));
    }
    let configuration = fs::read_to_string(format!("{control}/conffiles")).unwrap();
    assert_eq!(configuration, "/etc/default/iperf3-exporter\n");
}

/// Every link of a package's documents leads to a file or folder of the package, or to the web.
fn links_lead_to_files(folder: &str) {
    let documents = run("find", &[folder, "-name", "*.md"], "").1;
    let (mut count, mut dead) = (0, String::new());
    for document in documents.lines() {
        let (links, lost) = dead_links(Path::new(document));
        count += links;
        dead += &lost;
    }
    assert!(dead.is_empty(), "dead links:\n{dead}");
    assert!(count > 100, "{count} links of {documents}");
    for page in ["kubernetes", "compose", "openwrt"] {
        let path = format!("{folder}/examples/{page}/README.md\n");
        assert!(documents.contains(&path), "{page}: {documents}");
    }
}

/// The number of a document's links, and one line for each that leads to no file. The package has the changelog under
/// another name, so no link may lead there.
fn dead_links(document: &Path) -> (usize, String) {
    let text = fs::read_to_string(document).unwrap();
    let (mut count, mut dead) = (0, String::new());
    // Each second part is code.
    for part in text.split('`').step_by(2) {
        for (at, _) in part.match_indices("](") {
            let link = part[at + 2..].split([')', '#']).next().unwrap();
            let is_here = document.parent().unwrap().join(link).exists();
            count += 1;
            if link.starts_with("https://") || is_here && !link.ends_with("CHANGELOG.md") {
                continue;
            }
            dead += &format!("{}: {link}\n", document.display());
        }
    }
    (count, dead)
}

#[test]
fn a_dead_link_is_found() {
    let dir = TempDir::new();
    dir.write("CHANGELOG.md", "");
    let text = "[a](page.md#b) [c](https://example.net) `[d](e)`\n[f\ng](../h.md) ![i](j.png) [k](CHANGELOG.md) [l](#m)";
    let page = dir.write("page.md", text);
    let (count, dead) = dead_links(&page);
    let lost: Vec<&str> = dead
        .lines()
        .filter_map(|line| line.split(": ").nth(1))
        .collect();
    assert_eq!((count, lost), (6, vec!["../h.md", "j.png", "CHANGELOG.md"]));
}

/// All files and folders below a folder, relative to it.
fn tree(folder: &str) -> String {
    run("find", &[folder, "-mindepth", "1"], "").1
}

#[test]
fn installed_files_name_their_own_prefix_and_can_be_removed() {
    let dir = TempDir::new();
    let system = dir.path().join("a system");
    let (top, system) = (top().display().to_string(), system.display().to_string());
    let make = |target: &str| {
        let destination = format!("DESTDIR={system}");
        let binary = format!("BIN={}", env!("CARGO_BIN_EXE_iperf3-exporter"));
        let words = ["-C", &top, target, "PREFIX=/opt/net", &destination, &binary];
        let (passed, text) = run("make", &words, "");
        assert!(passed, "{text}");
    };
    make("install");
    let unit = format!("{system}/opt/net/lib/systemd/system/iperf3-exporter.service");
    let unit = fs::read_to_string(unit).unwrap();
    // The start command, and the one in the drop-in that the unit's comment recommends.
    assert_eq!(
        unit.matches("ExecStart=/opt/net/bin/iperf3-exporter ")
            .count(),
        2
    );
    assert!(!unit.contains("/usr/local"), "{unit}");
    for file in ["bin/iperf3-exporter", "share/man/man1/iperf3-exporter.1"] {
        let path = format!("{system}/opt/net/{file}\n");
        assert!(tree(&system).contains(&path), "{file}");
    }
    // Also under the name of other exporters, for their scripts and units.
    let other = format!("{system}/opt/net/bin/iperf3_exporter");
    assert!(run(&other, &["--version"], "").0);
    let service = format!("{system}/opt/net/lib/systemd/system/iperf3_exporter.service");
    let link = fs::read_link(service).unwrap();
    assert_eq!(link.to_str(), Some("iperf3-exporter.service"));
    make("install");
    make("uninstall");
    assert_eq!(tree(&system), "");
    // `make` must not overwrite or remove another exporter of that name.
    fs::create_dir_all(format!("{system}/opt/net/bin")).unwrap();
    fs::write(&other, "another one").unwrap();
    make("install");
    make("uninstall");
    assert_eq!(fs::read_to_string(other).unwrap(), "another one");
}
