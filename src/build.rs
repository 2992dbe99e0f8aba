//! Build script: sets the revision, the compiler and the platform that `--version` prints. `iperf3_exporter_build_info`
//! has the first two. No date and no user: two builds of one commit are byte for byte the same.
//!
//! A packager without a git checkout sets `IPERF3_EXPORTER_REVISION`. Without either, the revision is `unknown`.

use std::process::Command;

fn main() {
    // An unpacked archive has no revision of its own, even inside another project's checkout.
    let revision = std::env::var("IPERF3_EXPORTER_REVISION").ok();
    let revision = revision
        .or_else(|| output_of_own(&["rev-parse", "--short=12", "HEAD"]))
        .unwrap_or_else(|| "unknown".to_owned());
    let rustc = std::env::var("RUSTC")
        .ok()
        .and_then(|rustc| output(&rustc, &["--version"]))
        .and_then(|line| line.split(' ').nth(1).map(str::to_owned))
        .unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=EXPORTER_REVISION={revision}");
    println!("cargo::rustc-env=EXPORTER_RUSTC={rustc}");
    let platform = std::env::var("TARGET").unwrap_or_else(|_| "unknown".to_owned());
    println!("cargo::rustc-env=EXPORTER_PLATFORM={platform}");
    println!("cargo::rerun-if-env-changed=IPERF3_EXPORTER_REVISION");
    // The reflog changes with each commit, wherever this work tree keeps it; `HEAD` changes only with the branch.
    // Skipped in an archive: cargo treats a missing file as changed, and would rebuild everything each time.
    if let Some(log) = output_of_own(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
    println!("cargo::rerun-if-changed=src/build.rs");
}

/// The output of git, if this directory is the top of the checkout.
fn output_of_own(args: &[&str]) -> Option<String> {
    let top = output("git", &["rev-parse", "--show-toplevel"])?;
    let here = std::env::var("CARGO_MANIFEST_DIR").ok()?;
    let is_own = std::fs::canonicalize(top).ok()? == std::fs::canonicalize(here).ok()?;
    is_own.then(|| output("git", args))?
}

/// The first line that `program` prints; `None` if it fails or prints nothing.
fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next()?.trim();
    (output.status.success() && !line.is_empty()).then(|| line.to_owned())
}
