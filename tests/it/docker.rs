//! The container of `contrib/Dockerfile`: a check of its text, and its behaviour in a real Docker engine with the steps
//! of `tests/scripts/docker.sh`.

use std::fs;

use crate::harness::{Exporter, run, run_script, top};

#[test]
#[ignore = "make test-all: a Debian, an image and two containers, a minute; guards contrib/Dockerfile"]
fn the_container_is_healthy_probes_and_stops() {
    let test = "the_container_is_healthy_probes_and_stops";
    if let Some(said) = run_script("docker.sh", test) {
        assert!(said.contains("stopped with status 0"), "{said}");
    }
}

/// The words after `start` on the last line of the Dockerfile that begins with it.
fn words(dockerfile: &str, start: &str) -> Vec<String> {
    let mut lines = dockerfile.lines().map(str::trim_start);
    let line = lines.rfind(|line| line.starts_with(start)).unwrap();
    let list = line[start.len()..].trim();
    serde_json::from_str(list).unwrap_or_else(|_| vec![list.to_owned()])
}

#[test]
fn the_dockerfile_names_a_binary_flags_and_a_health_check_that_work() {
    let text = fs::read_to_string(top().join("contrib/Dockerfile")).unwrap();
    let entry = words(&text, "ENTRYPOINT");
    let place = format!("COPY ${{BINARY}} {}", entry[0]);
    assert!(text.lines().any(|line| line == place), "{place}");
    // `.dockerignore` must not exclude this file from the build context.
    let binary = words(&text, "ARG BINARY=");
    let kept = fs::read_to_string(top().join(".dockerignore")).unwrap();
    assert!(kept.lines().any(|line| line == format!("!{}", binary[0])));

    let exporter = Exporter::start(&entry[1..]);
    let port = format!(":{}/", words(&text, "EXPOSE")[0]);
    let health = words(&text, "CMD");
    assert_eq!(health[0], entry[0]);
    assert!(health[1].contains(&port), "{health:?}");
    let url = health[1].replace(&port, &format!(":{}/", exporter.port()));
    let (is_well, said) = run(env!("CARGO_BIN_EXE_iperf3-exporter"), &[&url], "");
    assert!(is_well, "{health:?}: {said}");
    // A numeric user, so that Kubernetes can verify that it is not root.
    let user = words(&text, "USER");
    let is_number = user[0]
        .split(':')
        .all(|id| id.parse::<u32>().is_ok_and(|id| id > 0));
    assert!(is_number, "{user:?}");
}
