//! What `contrib/openwrt/` ships: `tests/scripts/openwrt.sh` has the steps, under busybox's shell.

use std::process::Command;

use crate::harness::{skipped, top};

#[test]
fn the_openwrt_service_starts_what_its_settings_say() {
    let output = Command::new("sh")
        .arg(top().join("tests/scripts/openwrt.sh"))
        .env("BIN", env!("CARGO_BIN_EXE_iperf3-exporter"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    match said.trim().strip_prefix("SKIPPED: ") {
        Some(why) => skipped("the_openwrt_service_starts_what_its_settings_say", why),
        None => assert!(said.contains("the package installs"), "{said}"),
    }
}
