//! The container of `contrib/Dockerfile`, in a real Docker engine; `tests/scripts/docker.sh` has the steps.

use std::process::Command;

use crate::harness::{skipped, top};

#[test]
fn the_container_is_healthy_probes_and_stops() {
    let output = Command::new("sh")
        .arg(top().join("tests/scripts/docker.sh"))
        // Of this build: a static one would be a second build of everything.
        .env("BIN", env!("CARGO_BIN_EXE_iperf3-exporter"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    match said.trim().strip_prefix("SKIPPED: ") {
        Some(why) => skipped("the_container_is_healthy_probes_and_stops", why),
        None => assert!(said.contains("stopped with status 0"), "{said}"),
    }
}
