//! The workflows in `.github/workflows/` and what they call. Each command is a make target that exists, or on a short
//! list. Two linters check the files (`tests/scripts/workflows.sh`). The make targets that only a release uses run here
//! with a fake docker that records its calls.
//!
//! `make release-check` tests the builds themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::{TempDir, run_script, top, write_program};

/// Each workflow's name and text.
fn workflows() -> BTreeMap<String, String> {
    let folder = fs::read_dir(top().join(".github/workflows")).unwrap();
    let all: BTreeMap<String, String> = folder
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    let names: Vec<&str> = all.keys().map(String::as_str).collect();
    assert_eq!(names, ["ci.yml", "release.yml"]);
    all
}

/// The value of each line with this key, in a step or elsewhere.
fn values<'a>(workflow: &'a str, key: &str) -> Vec<&'a str> {
    let start = format!("{key}: ");
    let lines = workflow.lines().map(str::trim_start);
    lines
        .map(|line| line.strip_prefix("- ").unwrap_or(line))
        .filter_map(|line| line.strip_prefix(&start))
        .collect()
}

/// The arguments of `make` in all workflows.
fn made() -> Vec<Vec<String>> {
    let mut calls = Vec::new();
    for text in workflows().values() {
        for run in values(text, "run") {
            let mut words = run.split(' ').map(str::to_owned);
            if words.next().as_deref() == Some("make") {
                calls.push(words.collect());
            }
        }
    }
    calls
}

#[test]
fn each_step_runs_one_make_target_or_a_command_of_a_short_list() {
    // The commands that make cannot run for a workflow: the platform's release, and a token for docker.
    const OTHERS: &[&str] = &[
        ".ci/run",
        "gh release create \"$GITHUB_REF_NAME\" ",
        "echo \"::notice title=",
        "docker login --username \"$GITHUB_ACTOR\" --password-stdin \"$IMAGE_REGISTRY\" <<<\"$TOKEN\"",
    ];
    let mut count = 0;
    for (name, text) in workflows() {
        for run in values(&text, "run") {
            let is_known =
                run.starts_with("make ") || OTHERS.iter().any(|one| run.starts_with(one));
            assert!(is_known, "{name}: {run}");
            // A single command: no conditions, loops or continuation lines, and no text that the platform inserts
            // unquoted.
            for piece in ["|", ";", "&&", "$(", "`", "${{", ">-"] {
                assert!(!run.contains(piece), "{name}: {piece} in {run}");
            }
            count += 1;
        }
        // The lines above would not find a block of commands.
        let keys = text.lines().filter(|line| {
            line.trim_start()
                .trim_start_matches("- ")
                .starts_with("run:")
        });
        assert_eq!(keys.count(), values(&text, "run").len(), "{name}");
    }
    assert!(count > 10, "{count}");
}

#[test]
fn each_make_target_exists_and_its_variables_are_known() {
    let makefile = fs::read_to_string(top().join("Makefile")).unwrap();
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter_map(|line| line.split_once(": ## ").map(|(target, _)| target))
        .collect();
    let calls = made();
    assert!(calls.len() > 8, "{calls:?}");
    for call in &calls {
        assert!(targets.contains(call[0].as_str()), "make {}", call[0]);
        for variable in &call[1..] {
            let name = variable.split('=').next().unwrap();
            let known = ["TARGET", "TAG", "IMAGE", "OUTPUT"];
            assert!(known.contains(&name), "{variable}");
        }
    }
    // Each architecture of `make dist` gets both packages and is part of the image.
    let line = makefile
        .lines()
        .find_map(|line| line.strip_prefix("TARGETS ?= "));
    let all: Vec<&str> = line.unwrap().split(' ').collect();
    assert_eq!(all.len(), 3);
    for target in all {
        for kind in ["deb", "rpm"] {
            let call = [kind.to_owned(), format!("TARGET={target}")];
            assert!(
                calls.iter().any(|one| *one == call),
                "make {kind} for {target}"
            );
        }
        let arch = target.split('-').next().unwrap();
        let sbom = format!("-{arch}.cdx.json");
        assert!(workflows()["release.yml"].contains(&sbom), "{sbom}");
    }
}

#[test]
fn each_action_is_pinned_and_each_permission_is_given_to_one_job() {
    for (name, text) in workflows() {
        let actions = values(&text, "uses");
        assert!(!actions.is_empty(), "{name}");
        for action in actions {
            let (_, pin) = action.split_once('@').unwrap();
            let (hash, version) = pin.split_once(" # v").unwrap_or_else(|| panic!("{action}"));
            let is_hash = hash.len() == 40 && hash.bytes().all(|b| b.is_ascii_hexdigit());
            assert!(is_hash && !version.is_empty(), "{name}: {action}");
        }
        // All jobs have no permissions by default; each job states those that it needs.
        assert!(text.contains("\npermissions: {}\n"), "{name}");
        assert!(text.contains("\nconcurrency:\n"), "{name}");
        let jobs = values(&text, "runs-on").len();
        assert_eq!(text.matches("\n    permissions:\n").count(), jobs, "{name}");
        assert_eq!(values(&text, "timeout-minutes").len(), jobs, "{name}");
        // The token does not stay in the checkout.
        let checkouts = text.matches("actions/checkout@").count();
        assert_eq!(
            text.matches("persist-credentials: false").count(),
            checkouts,
            "{name}"
        );
    }
}

/// The script that pushes the image treats a version with a `-` as a pre-release.
#[test]
fn a_pre_release_is_marked_and_a_release_without_an_image_says_so() {
    let release = &workflows()["release.yml"];
    assert_eq!(
        values(release, "IS_PRERELEASE"),
        ["${{ contains(github.ref_name, '-') }}"]
    );
    let runs = values(release, "run");
    let create = runs.iter().find(|run| run.starts_with("gh release create"));
    let create = create.unwrap();
    assert!(
        create.contains(" --prerelease=\"$IS_PRERELEASE\" "),
        "{create}"
    );
    // One of the two conditions is true: the job that pushes, or the step that says that none is pushed.
    assert_eq!(
        values(release, "if"),
        ["vars.IMAGE_REGISTRY == ''", "vars.IMAGE_REGISTRY != ''"]
    );
    let (_, rest) = release
        .split_once("if: vars.IMAGE_REGISTRY == ''\n")
        .unwrap();
    let next = rest.lines().next().unwrap().trim_start();
    assert!(next.starts_with("run: echo \"::notice "), "{next}");
    let (_, rest) = release.split_once("\n  image:\n").unwrap();
    assert!(rest.contains("\n    if: vars.IMAGE_REGISTRY != ''\n"));
}

#[test]
fn two_linters_find_nothing_in_the_workflows() {
    let test = "two_linters_find_nothing_in_the_workflows";
    if let Some(said) = run_script("workflows.sh", test) {
        assert!(said.contains("no findings of actionlint"), "{said}");
    }
}

/// Runs make with placeholder files instead of built ones.
fn make(target: &Path, more_path: &Path, arguments: &[&str]) -> (bool, String) {
    let path = std::env::var("PATH").unwrap();
    let output = Command::new("make")
        .args(["--no-print-directory", "-C"])
        .arg(top())
        .args(arguments)
        .env("CARGO_TARGET_DIR", target)
        .env("PATH", format!("{}:{path}", more_path.display()))
        // Set by the make that runs the tests.
        .env_remove("MAKEFLAGS")
        .env_remove("MFLAGS")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said.into_owned())
}

#[test]
fn a_tag_of_another_version_makes_no_release() {
    let dir = TempDir::new();
    let output = dir.write("output", "first=1\n");
    let output_word = format!("OUTPUT={}", output.display());
    let version = env!("CARGO_PKG_VERSION");
    let tag = format!("TAG=v{version}");
    let (is_right, said) = make(dir.path(), dir.path(), &["release-tag", &tag, &output_word]);
    assert!(is_right, "{said}");
    let written = fs::read_to_string(&output).unwrap();
    assert_eq!(written, format!("first=1\nversion={version}\n"));
    for tag in ["TAG=v99.0.0", &format!("TAG={version}"), "TAG="] {
        let (is_right, said) = make(dir.path(), dir.path(), &["release-tag", tag]);
        assert!(!is_right, "{tag}: {said}");
    }
}

#[test]
fn the_checksums_cover_all_files_of_this_version() {
    let dir = TempDir::new();
    let version = env!("CARGO_PKG_VERSION");
    fs::create_dir(dir.path().join("dist")).unwrap();
    fs::create_dir(dir.path().join("packages")).unwrap();
    let mut files = vec![
        format!("dist/iperf3-exporter-{version}-x86_64.tar.gz"),
        format!("dist/iperf3-exporter-{version}-x86_64.cdx.json"),
        format!("packages/iperf3-exporter_{version}-1_amd64.deb"),
    ];
    for file in &files {
        dir.write(file, file);
    }
    dir.write("dist/SHA256SUMS", "of the archives alone");
    dir.write("packages/iperf3-exporter_0.0.1-1_amd64.deb", "an older one");
    let (is_made, said) = make(dir.path(), dir.path(), &["checksums"]);
    assert!(!is_made && said.contains("run make rpm first"), "{said}");

    files.push(format!("packages/iperf3-exporter-{version}-1.x86_64.rpm"));
    dir.write(&files[3], "rpm");
    let (is_made, said) = make(dir.path(), dir.path(), &["checksums"]);
    assert!(is_made, "{said}");
    let there: BTreeSet<String> = fs::read_dir(dir.path().join("release-files"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let name = |file: &String| file.rsplit('/').next().unwrap().to_owned();
    let mut expected: BTreeSet<String> = files.iter().map(name).collect();
    expected.insert("SHA256SUMS".to_owned());
    assert_eq!(there, expected);
    let check = Command::new("sha256sum")
        .args(["--check", "--quiet", "SHA256SUMS"])
        .current_dir(dir.path().join("release-files"))
        .status();
    assert!(check.unwrap().success());
    let sums = fs::read_to_string(dir.path().join("release-files/SHA256SUMS")).unwrap();
    assert_eq!(sums.lines().count(), files.len(), "{sums}");
}

/// Records each call and responds as a registry does.
const DOCKER: &str = r#"#!/bin/sh
echo "$*" >>"${0%/*}/calls"
case $* in
    *"imagetools inspect"*) echo '{"digest": "sha256:0123"}' ;;
esac
"#;

#[test]
fn each_image_is_pushed_and_all_are_combined() {
    let dir = TempDir::new();
    let bin = TempDir::new();
    write_program(&bin.path().join("docker"), DOCKER);
    let image = "IMAGE=registry.example.net/Owner/iperf3-exporter";
    let (is_pushed, said) = make(dir.path(), bin.path(), &["image-push", image]);
    assert!(!is_pushed && said.contains("run make dist first"), "{said}");

    for target in [
        "x86_64-unknown-linux-musl",
        "aarch64-unknown-linux-musl",
        "armv7-unknown-linux-musleabihf",
    ] {
        let folder = dir.path().join(target).join("release");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("iperf3-exporter"), target).unwrap();
    }
    let output = dir.path().join("output");
    let output_word = format!("OUTPUT={}", output.display());
    let (is_pushed, said) = make(dir.path(), bin.path(), &["image-push", image, &output_word]);
    assert!(is_pushed, "{said}");
    assert_eq!(
        fs::read_to_string(&output).unwrap(),
        "name=registry.example.net/owner/iperf3-exporter\ndigest=sha256:0123\n"
    );

    let name = "registry.example.net/owner/iperf3-exporter";
    let version = env!("CARGO_PKG_VERSION");
    let calls = fs::read_to_string(bin.path().join("calls")).unwrap();
    let mut images = String::new();
    for (arch, platform) in [
        ("x86_64", "linux/amd64"),
        ("aarch64", "linux/arm64"),
        ("armv7", "linux/arm/v7"),
    ] {
        let one = format!("{name}:{version}-{arch}");
        let build = calls
            .lines()
            .find(|call| call.starts_with("build ") && call.contains(&one));
        let build = build.unwrap_or_else(|| panic!("{one} was not built: {calls}"));
        let binary = format!("BINARY=target/{arch}-unknown-linux-musl");
        assert!(build.contains(&binary), "{build}");
        // Without a platform flag the image is for the machine's own processor.
        let is_own = arch == std::env::consts::ARCH;
        assert_eq!(
            build.contains(&format!("--platform {platform} ")),
            !is_own,
            "{build}"
        );
        assert!(
            calls.lines().any(|call| call == format!("push {one}")),
            "{calls}"
        );
        images += &format!(" {one}");
    }
    let latest = if version.contains('-') {
        String::new()
    } else {
        format!(" --tag {name}:latest")
    };
    let whole = format!("buildx imagetools create --tag {name}:{version}{latest}{images}");
    assert!(
        calls.lines().any(|call| call == whole),
        "no {whole} in {calls}"
    );
}
