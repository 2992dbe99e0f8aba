//! iperf3's temporary files when the usual folder is full or read-only, with the real iperf3 and real file systems:
//! each exporter has its own mount namespace, which ends with it.

use std::process::Command;

use crate::harness::{self, ClosedPort, Exporter, Server};

/// The folders that the exporter tries.
const FOLDERS: &str = "/tmp /run /dev/shm /var/tmp";

/// An exporter with these mounts (shell code) and without the variables that name a folder. `None`, and one line that
/// `test` is skipped, where nothing can be mounted.
fn behind(mounts: &str, test: &str) -> Option<Exporter> {
    let try_it = ["-m", "mount", "-t", "tmpfs", "none", "/dev/shm"];
    if !harness::has("unshare", test) {
        return None;
    }
    let (can_mount, said) = harness::run("unshare", &try_it, "");
    if !can_mount {
        harness::skipped(test, &format!("needs root to mount: {}", said.trim()));
        return None;
    }
    let mut command = Command::new("unshare");
    // The binary is opened before a mount may hide it: the project may be built in a folder below /tmp.
    let script = format!("set -e; exec 9<\"$1\"; shift; {mounts}; exec /proc/self/fd/9 \"$@\"");
    command.args(["-m", "sh", "-c", &script, "sh"]);
    command.arg(env!("CARGO_BIN_EXE_iperf3-exporter"));
    command.arg("--web.listen-address=127.0.0.1:0");
    for name in [
        "RUNTIME_DIRECTORY",
        "XDG_RUNTIME_DIR",
        "TMPDIR",
        "TEMP",
        "TMP",
    ] {
        command.env_remove(name);
    }
    Some(Exporter::spawn(command))
}

fn path(server: &Server, more: &str) -> String {
    format!(
        "/probe?target={}&period=1s&bitrate=1M{more}",
        server.target()
    )
}

#[test]
fn a_full_or_read_only_folder_is_replaced_by_one_that_works() {
    let test = "a_full_or_read_only_folder_is_replaced_by_one_that_works";
    let full = "mount -t tmpfs -o size=12k none /tmp; mount -t tmpfs none /run";
    // As in a container with --read-only.
    let read_only = "for at in /tmp /run /var/tmp; do mount --bind $at $at; mount -o remount,bind,ro $at; done; \
                     mount -t tmpfs none /dev/shm";
    for (mounts, folder, why) in [
        (
            full,
            "/run",
            "not enough space in the temporary folder /tmp: 12 kB free, 128 kB needed (128 kB per stream)",
        ),
        (
            read_only,
            "/dev/shm",
            "cannot create a file in the temporary folder /tmp: Read-only file system",
        ),
    ] {
        let Some(exporter) = behind(mounts, test) else {
            return;
        };
        let server = Server::start();
        let line = exporter.log_line("msg=\"iperf3 uses another temporary folder\"");
        assert!(line.contains(&format!("folder={folder} ")), "{line}");
        assert!(line.contains(why), "{line}");
        let reply = exporter.get(&path(&server, "&parallel=2&debug=true"));
        assert!(reply.body.contains("\niperf3_up"), "{}", reply.body);
        assert!(reply.body.contains("outcome     success"), "{}", reply.body);
        let words = format!("\ncommand line\n  TMPDIR={folder} /");
        assert!(reply.body.contains(&words), "{}", reply.body);
        assert_eq!(exporter.get("/health").code, 200);
    }
}

#[test]
fn a_folder_that_fills_up_at_run_time_is_replaced_with_one_warning() {
    let test = "a_folder_that_fills_up_at_run_time_is_replaced_with_one_warning";
    let mounts = "mount -t tmpfs -o size=8m none /tmp; mount -t tmpfs none /run";
    let Some(exporter) = behind(mounts, test) else {
        return;
    };
    let server = Server::start();
    let probe = |size: &str| {
        let (pid, size) = (exporter.pid().to_string(), format!("remount,size={size}"));
        let enter = ["-m", "-t", &pid, "mount", "-o", &size, "/tmp"];
        let (is_resized, said) = harness::run("nsenter", &enter, "");
        assert!(is_resized, "{said}");
        let reply = exporter.get(&path(&server, ""));
        assert_eq!(reply.family("iperf3_up"), Some(1.0), "{}", exporter.log());
    };
    let usual = "level=info msg=\"temporary folder for iperf3\" folder=/tmp\n";
    let other = "level=warn msg=\"iperf3 uses another temporary folder\" folder=/run ";
    // The size of /tmp, and how often each of the two messages was logged by then.
    for (size, count) in [
        ("8m", [1, 0]),
        ("12k", [1, 1]),
        ("12k", [1, 1]),
        ("8m", [2, 1]),
    ] {
        probe(size);
        let log = exporter.log();
        let told = [usual, other].map(|line| log.matches(line).count());
        assert_eq!(told, count, "{size}: {log}");
    }
}

#[test]
fn without_any_folder_probes_and_health_fail_with_the_cause_until_there_is_one() {
    let test = "without_any_folder_probes_and_health_fail_with_the_cause_until_there_is_one";
    let mounts = format!("for at in {FOLDERS}; do mount -t tmpfs -o size=12k none $at; done");
    let Some(exporter) = behind(&mounts, test) else {
        return;
    };
    let server = Server::start();
    exporter.log_line("no temporary folder for iperf3, probes will fail until there is one");
    let missing = |needed: &str| {
        format!(
            "not enough space in the temporary folder /tmp: 12 kB free, {needed} needed (128 kB per stream)"
        )
    };
    let reply = exporter.get(&path(&server, "&parallel=2"));
    assert_eq!(reply.reason(), Some("local"), "{}", exporter.log());
    exporter.log_line(&missing("256 kB"));
    let health = exporter.get("/health");
    assert_eq!(health.code, 503);
    assert!(
        health.body.starts_with(&missing("128 kB")),
        "{}",
        health.body
    );

    let pid = exporter.pid().to_string();
    let enter = ["-m", "-t", &pid, "mount", "-o", "remount,size=8m", "/tmp"];
    let (is_larger, said) = harness::run("nsenter", &enter, "");
    assert!(is_larger, "{said}");
    let health = exporter.get("/health");
    assert_eq!((health.code, health.body.trim_end()), (200, "OK"));
    let reply = exporter.get(&path(&server, "&parallel=2"));
    assert_eq!(reply.family("iperf3_up"), Some(1.0), "{}", exporter.log());
}

#[test]
fn a_network_failure_is_not_blamed_on_the_folder() {
    let test = "a_network_failure_is_not_blamed_on_the_folder";
    let mounts = format!("for at in {FOLDERS}; do mount -t tmpfs -o size=12k none $at; done");
    let Some(exporter) = behind(&mounts, test) else {
        return;
    };
    let closed = ClosedPort::new();
    let reply = exporter.get(&format!("/probe?target=127.0.0.1:{}", closed.port));
    assert_eq!(reply.reason(), Some("refused"), "{}", exporter.log());
}
