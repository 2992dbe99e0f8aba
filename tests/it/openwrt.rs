//! What `contrib/openwrt/` ships: `tests/scripts/openwrt.sh` runs it under busybox's shell.

use crate::harness::run_script;

#[test]
fn the_openwrt_service_starts_what_its_settings_say() {
    let test = "the_openwrt_service_starts_what_its_settings_say";
    if let Some(said) = run_script("openwrt.sh", test) {
        assert!(said.contains("the package installs"), "{said}");
    }
}
