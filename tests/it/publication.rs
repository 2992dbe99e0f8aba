//! Where the project is published: one line in `Cargo.toml` sets it for packages, SBOM and image, and no other file
//! names it. The tests in `docker` check the image's labels.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::{TempDir, has, run, skipped, top};
use crate::release::packaging;
use crate::tidy::tracked;

/// The value in Cargo.toml; empty until there is such a place.
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");
/// The value that the tests pass to the scripts instead.
const OTHER: &str = "https://git.invalid/some/project";

/// The repository that the scripts use, with this value in the variable.
fn repository(variable: &str) -> (bool, String) {
    let (passed, said) = packaging("repository.sh", &[], &[("REPOSITORY", variable)]);
    (passed, said.trim_end().to_owned())
}

#[test]
fn scripts_and_cargo_read_the_same_repository() {
    assert_eq!(repository(""), (true, REPOSITORY.to_owned()));
    assert_eq!(repository(OTHER), (true, OTHER.to_owned()));
    for unfit in [
        "git.invalid/project",
        "http://git.invalid/project",
        "https://git.invalid",
        "https://git.invalid/a project",
        "https://git.invalid/\"project",
        "https://git.invalid/project\nSection: net",
    ] {
        let (passed, said) = repository(unfit);
        assert!(!passed, "{unfit:?} became {said}");
    }
}

/// The places in a text that name the project's home: `https://HOST/…/NAME`, `git@HOST:…/NAME`, `HOST/…/NAME:TAG`.
/// Example hosts and this machine do not count.
fn homes(text: &str) -> Vec<&str> {
    let name = env!("CARGO_PKG_NAME");
    let is_part = |c: char| c.is_ascii_alphanumeric() || "._-~:/@".contains(c);
    let words = text.split(|c: char| !is_part(c));
    let is_home = |word: &&str| {
        let place = word.split_once("://").map_or(*word, |(_, rest)| rest);
        // The text after the @ of an image is its digest.
        let user = place
            .split_once('@')
            .filter(|(user, _)| !user.contains('/'));
        let parts = match user {
            Some((_, place)) => place.split_once([':', '/']),
            None => place.split_once('/'),
        };
        let Some((host, path)) = parts else {
            return false;
        };
        let (host, port) = host.split_once(':').unwrap_or((host, "443"));
        let is_host = host.contains('.')
            && host.starts_with(|c: char| c.is_ascii_lowercase())
            && host.ends_with(|c: char| c.is_ascii_lowercase());
        let is_example = [
            "invalid",
            "example",
            "example.net",
            "example.org",
            "example.com",
        ]
        .iter()
        .any(|end| host == *end || host.ends_with(&format!(".{end}")));
        let mut segments = path.split(['/', ':', '@']);
        let is_own = segments.any(|segment| segment.trim_end_matches(".git") == name);
        is_host && port.parse::<u16>().is_ok() && !is_example && is_own
    };
    words.filter(is_home).collect()
}

#[test]
fn each_notation_of_the_projects_home_is_found() {
    let name = env!("CARGO_PKG_NAME");
    for place in [
        "https://git.host/team/NAME",
        "https://git.host/team/NAME/releases/latest",
        "https://git.host/team/NAME.git",
        "git@git.host:team/NAME.git",
        "registry.host:5000/team/NAME:0.1.0",
        "registry.host/NAME@sha256",
        "https://NAME.git.host/NAME",
    ] {
        let place = place.replace("NAME", name);
        let text = format!("see [it]({place}), or");
        assert_eq!(homes(&text), [place.as_str()]);
    }
    for other in [
        "/usr/lib/systemd/system/NAME.service",
        "./target/packages/NAME",
        "target/release/NAME",
        "https://git.host/other/iperf3_exporter",
        "registry.example.net/team/NAME:0.1.0",
        "http://localhost:9579/NAME",
        "NAME:9579",
        "web.yml:/etc/NAME/web.yml",
        "iperf3.example.net:5201",
    ] {
        let text = other.replace("NAME", name);
        assert_eq!(homes(&text), [""; 0], "{other}");
    }
}

#[test]
fn no_other_file_names_the_projects_home() {
    let Some(files) = tracked() else {
        return skipped(
            "no_other_file_names_the_projects_home",
            "this is no git checkout",
        );
    };
    // Without the scheme: `git clone` and images omit it.
    let place = REPOSITORY.strip_prefix("https://").unwrap_or_default();
    for file in files.iter().filter(|file| *file != "Cargo.toml") {
        let bytes = fs::read(top().join(file)).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(homes(&text), [""; 0], "{file}");
        assert!(
            place.is_empty() || !text.contains(place),
            "{file} has {place}"
        );
    }
}

#[test]
fn the_sbom_names_the_repository_or_leaves_it_out() {
    let test = "the_sbom_names_the_repository_or_leaves_it_out";
    if !has("jq", test) {
        return;
    }
    let link = |variable: &str| {
        let arguments = ["sbom", "x86_64-unknown-linux-musl", "/dev/null"];
        let (passed, said) = packaging("bom.sh", &arguments, &[("REPOSITORY", variable)]);
        assert!(passed, "{said}");
        let bom: Value = serde_json::from_str(&said).unwrap();
        let links = &bom["metadata"]["component"]["externalReferences"];
        assert!(links.is_null() || links[0]["type"] == "vcs", "{links}");
        links[0]["url"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(link(OTHER), OTHER);
    assert_eq!(link(""), REPOSITORY);
}

/// The parts of a stage.sh layout without which no package can be made.
fn stage(folder: &Path) -> String {
    for file in [
        "etc/default/iperf3-exporter",
        "usr/share/doc/iperf3-exporter/CHANGELOG.md",
        "share/THIRD-PARTY-LICENCES",
        "share/RUST-STANDARD-LIBRARY.html",
        "share/sbom.cdx.json",
    ] {
        let path = folder.join("stage").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "\n").unwrap();
    }
    folder.join("stage").display().to_string()
}

/// The value that the command `ask` prints for a package with the repository OTHER, and for one without a repository.
fn field(kind: &str, ask: &str) -> [String; 2] {
    [OTHER, ""].map(|variable| {
        let dir = TempDir::new();
        let target = dir.path().join("target").display().to_string();
        let variables = [
            ("STAGE", stage(dir.path())),
            ("REPOSITORY", variable.to_owned()),
            ("CARGO_TARGET_DIR", target),
        ];
        let variables = variables
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let arguments = [kind, "x86_64-unknown-linux-musl"];
        let (passed, said) = packaging("packages.sh", &arguments, &variables);
        assert!(passed, "{said}");
        let (passed, said) = run("sh", &["-c", &format!("{ask} {said}")], "");
        assert!(passed, "{said}");
        said.trim_end().to_owned()
    })
}

#[test]
fn the_debian_package_names_the_repository_or_leaves_it_out() {
    let test = "the_debian_package_names_the_repository_or_leaves_it_out";
    if has("dpkg-deb", test) {
        let got = field("deb", "field() { dpkg-deb -f \"$1\" Homepage; }; field");
        assert_eq!(got, [OTHER, REPOSITORY]);
    }
}

#[test]
fn the_rpm_names_the_repository_or_leaves_it_out() {
    let test = "the_rpm_names_the_repository_or_leaves_it_out";
    if has("rpmbuild", test) {
        let got = field("rpm", "rpm -qp --qf '%|URL?{%{URL}}|'");
        assert_eq!(got, [OTHER, REPOSITORY]);
    }
}
