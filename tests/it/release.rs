//! What goes into a release besides the code: others' crates, their licences, the list of them; `make install`; and which
//! files a package has.
//!
//! That the archives and packages work is `make release-check`'s part: it takes builds of minutes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::{TempDir, assert_golden, generated_block, has, page, run, skipped, top};

/// What the crates are counted for; the other architectures have the same ones, which a test holds.
const TARGET: &str = "x86_64-unknown-linux-musl";
const OTHER_TARGETS: &[&str] = &[
    "aarch64-unknown-linux-musl",
    "armv7-unknown-linux-musleabihf",
];
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The standard output of cargo in this checkout, which asks no registry.
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

/// The packages that a build, a test or a bench on Linux takes, this one among them.
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

/// Name and version of what is linked into the static binary, less the exporter itself.
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
        // `name v1.2.3 (*)`: the end says that it stood there before.
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

/// Whether an SPDX expression can be met with `allowed`. Of `A AND B OR C` it wants A too, though SPDX does not: then
/// somebody looks.
fn can_be_met(expression: &str, allowed: &[String]) -> bool {
    // How crates wrote it before SPDX.
    let expression = expression.replace('/', " OR ");
    expression.split(" AND ").all(|part| {
        let choices = part.trim_matches(['(', ')']);
        choices
            .split(" OR ")
            .any(|choice| allowed.iter().any(|name| name == choice.trim()))
    })
}

#[test]
fn a_licence_is_read_as_spdx_means_it() {
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
fn no_licence_is_allowed_that_nobody_needs() {
    let (allowed, packages) = (allowed(), packages());
    for (at, licence) in allowed.iter().enumerate() {
        let mut fewer = allowed.clone();
        fewer.remove(at);
        // Either would do for most; what is needed is that at least one has no other.
        let needs = packages.iter().any(|package| {
            let expression = package["license"].as_str().unwrap_or_default();
            !can_be_met(expression, &fewer)
        });
        assert!(needs, "{licence}");
    }
}

#[test]
fn every_lock_entry_is_from_crates_io_with_its_checksum() {
    // Those that only other systems or features take are in no list above, and a build for one of them takes them.
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
fn the_number_of_crates_in_the_binary_is_the_one_that_is_told() {
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
fn the_bill_of_materials_names_each_linked_crate_once_and_repeats() {
    let script = top().join("contrib/packaging/bom.sh").display().to_string();
    if Command::new("jq").arg("--version").output().is_err() {
        return skipped(
            "the_bill_of_materials_names_each_linked_crate_once_and_repeats",
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
    // Everything that is said to need something, or to be needed, is there, and the program needs something.
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
    // All but the program itself are needed by something.
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
    // Names come first, over one line or more, then an empty line and the text.
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
fn a_release_of_which_nothing_could_be_built_is_no_release() {
    let script = top().join("contrib/packaging/release-check.sh");
    let script = script.display().to_string();
    // No architecture that rustc knows, and one that it does not know of this machine's.
    let own = format!("{}-nothing-linux", run("uname", &["-m"], "").1.trim());
    for (target, why) in [
        ("nothing-unknown-linux", "none of the targets can be built"),
        (own.as_str(), "is this machine's own"),
    ] {
        let (passed, text) = run("sh", &[&script, target], "");
        assert!(!passed && text.contains(why), "{text}");
    }
}

/// Runs a script of `contrib/packaging` with these variables; whether it succeeded, and its words.
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

/// Mode, owner and path of each file in a list of tar's: neither size nor time.
fn listed(list: &str) -> String {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        format!("{} {} {}\n", fields[0], fields[1], fields[5..].join(" "))
    };
    list.lines().map(line).collect()
}

/// That it can be installed, upgraded and removed is seen by `make release-check`. A few bytes stand in for the binary:
/// what is in it does not matter here, and to pack a real one takes seconds.
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
    if said.contains("this Rust brings no") {
        return skipped(test, "this Rust has no licence text of its library");
    }
    assert!(passed, "{said}");
    links_lead_to_files(&format!("{stage}/usr/share/doc/iperf3-exporter"));
    let variables = [
        ("STAGE", stage.as_str()),
        ("VERSION", "1.2.3"),
        // There the package is made, which must not be taken for one of `make deb`.
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
    // What differs between machines, and where the project is published, which Cargo.toml alone says.
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

/// The links of a package's documents to each other and to the examples; what only a checkout has is not there.
fn links_lead_to_files(folder: &str) {
    let mut count = 0;
    let documents = run("find", &[folder, "-name", "*.md"], "").1;
    for document in documents
        .lines()
        .filter(|path| !path.ends_with("/CHANGELOG.md"))
    {
        let text = fs::read_to_string(document).unwrap();
        let own = Path::new(document).parent().unwrap();
        for (at, _) in text.match_indices("](") {
            let link = text[at + 2..].split([')', '#']).next().unwrap();
            let places = ["../examples/", "examples/", "docs/", "../README.md"];
            let is_page =
                !link.contains('/') && Path::new(link).extension().is_some_and(|end| end == "md");
            let is_here = is_page || places.iter().any(|place| link.starts_with(place));
            count += usize::from(is_here);
            assert!(!is_here || own.join(link).is_file(), "{document}: {link}");
            let is_example = [".yml", ".json", "iperf3-server.service", "iperf3-mesh.sh"]
                .iter()
                .any(|end| link.ends_with(end));
            let is_lost = link.contains("contrib/docs/") || is_example && !is_here;
            assert!(!is_lost, "{document}: {link}");
        }
    }
    assert!(count > 40, "{count} links of {documents}");
}

/// All files and folders below a folder, from its name on.
fn tree(folder: &str) -> String {
    run("find", &[folder, "-mindepth", "1"], "").1
}

#[test]
fn what_is_installed_names_its_own_place_and_can_be_removed() {
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
    // What starts it, and the drop-in that its comment recommends.
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
    // Under the name of other exporters too, for their scripts and units.
    let other = format!("{system}/opt/net/bin/iperf3_exporter");
    assert!(run(&other, &["--version"], "").0);
    let service = format!("{system}/opt/net/lib/systemd/system/iperf3_exporter.service");
    let link = fs::read_link(service).unwrap();
    assert_eq!(link.to_str(), Some("iperf3-exporter.service"));
    make("install");
    make("uninstall");
    assert_eq!(tree(&system), "");
    // Another exporter of that name is not ours to overwrite or to remove.
    fs::create_dir_all(format!("{system}/opt/net/bin")).unwrap();
    fs::write(&other, "another one").unwrap();
    make("install");
    make("uninstall");
    assert_eq!(fs::read_to_string(other).unwrap(), "another one");
}
