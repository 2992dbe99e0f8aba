//! Many probes; no resource grows: threads, descriptors, memory, children.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Connection, Exporter, Fake, children, machine_alone, top, wait_for};

/// The resources that must not grow.
#[derive(Clone, Copy, Debug)]
struct Footprint {
    threads: u64,
    descriptors: usize,
    resident_bytes: u64,
}

/// Read from outside: a request for `/metrics` would change the result.
fn footprint(pid: u32) -> Footprint {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| -> u64 {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    Footprint {
        threads: field("Threads:"),
        descriptors: fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count(),
        resident_bytes: field("VmRSS:") * 1024,
    }
}

/// `tiny_http` keeps this many threads for future connections and ends the others after five idle seconds
/// (`MIN_THREADS` in its task pool).
const SPARE_THREADS: u64 = 4;

/// The memory that the probes after the warm-up may add. With one allocator arena they added 60 to 205 KiB when this
/// was written, after 240 probes as after 1000. 90 probes that kept their reports added 1,280 KiB.
const GROWTH_LIMIT_BYTES: u64 = 768 * 1024;
/// The number of intervals of a report that the exporter keeps.
const INTERVALS: usize = 300;

/// A report of both directions and many intervals: each probe that kept its own would add 16 KiB.
fn long_report() -> String {
    let recorded = top().join("tests/fixtures/3.12/tcp-bidir.json");
    let mut report: Value = serde_json::from_slice(&fs::read(recorded).unwrap()).unwrap();
    let first = report["intervals"][0].clone();
    let intervals = (0..INTERVALS).map(|second| {
        let mut interval = first.clone();
        for part in ["/sum", "/sum_bidir_reverse", "/streams/0", "/streams/1"] {
            let part = interval.pointer_mut(part).unwrap();
            // Only the members that are read, as parsing takes most of this test's time.
            *part = json!({
                "start": second, "end": second + 1, "seconds": 1,
                "bytes": part["bytes"], "sender": part["sender"], "omitted": false,
            });
        }
        interval
    });
    report["intervals"] = intervals.collect();
    report.to_string()
}

#[test]
fn probes_in_a_row_leave_nothing_behind() {
    // The history holds the last hundred.
    leave_nothing_behind(120, 240);
}

#[test]
#[ignore = "make test-all: the same with a thousand"]
fn a_thousand_probes_in_a_row_leave_nothing_behind() {
    leave_nothing_behind(200, 1000);
}

fn leave_nothing_behind(warm_up: u32, count: u32) {
    let _alone = machine_alone();
    let fake = Fake::new(
        "[ \"$5\" != 1 ] || { echo '{\"error\":\"unable to connect to server: Connection refused\"}'; exit 1; }\n\
         exec cat \"$DIR/report\"",
    );
    fs::write(fake.dir().join("report"), long_report()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_iperf3-exporter"));
    command.args(["--web.listen-address=127.0.0.1:0", &fake.flag()]);
    // One arena of glibc's malloc(3). Otherwise each thread may begin another, and their number depends on how busy the
    // machine is.
    command.env("MALLOC_ARENA_MAX", "1");
    let exporter = Exporter::spawn(command);
    let mut kept = Connection::open(exporter.port());
    let mut warm = None;
    for number in 0..count {
        if number == warm_up {
            warm = Some(footprint(exporter.pid()));
        }
        // Of each four probes, two use the kept-alive connection, and one fails.
        let path = match number % 4 {
            3 => "/probe?target=127.0.0.1:1",
            _ => "/probe?target=127.0.0.1&bidirectional=true",
        };
        let reply = if number % 2 == 0 {
            kept.get(path)
        } else {
            exporter.get(path)
        };
        let up = if number % 4 == 3 { 0.0 } else { 1.0 };
        assert_eq!(reply.family("iperf3_up"), Some(up), "probe {number}");
    }
    let warm = warm.unwrap();
    let pid = exporter.pid();
    // The exporter releases the resources of the last responses shortly after them.
    wait_for("the descriptors to be closed", || {
        footprint(pid).descriptors <= warm.descriptors
    });
    wait_for("the children to be reaped", || children(pid).is_empty());
    wait_for("the threads to end", || {
        footprint(pid).threads <= warm.threads + SPARE_THREADS
    });
    let end = footprint(pid);
    assert!(
        end.resident_bytes <= warm.resident_bytes + GROWTH_LIMIT_BYTES,
        "{warm:?} {end:?}"
    );
    assert_eq!(
        exporter.metric("iperf3_exporter_probes_total{outcome=\"success\"}"),
        f64::from(count / 4 * 3)
    );
    assert_eq!(
        exporter.metric("iperf3_exporter_probes_total{outcome=\"refused\"}"),
        f64::from(count / 4)
    );
}

/// How often each of the process' threads has slept so far.
fn sleeps(pid: u32) -> Vec<(String, String)> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    threads
        .map(|thread| {
            let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
            let count = status
                .lines()
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            (
                thread.file_name().to_string_lossy().into_owned(),
                count.unwrap_or_default().trim().to_owned(),
            )
        })
        .collect()
}

#[test]
fn an_idle_exporter_sleeps() {
    let exporter = Exporter::start::<&str>(&[]);
    let mut kept = Connection::open(exporter.port());
    assert_eq!(kept.get("/metrics").code, 200);
    let look = std::time::Duration::from_secs(3);
    // Workers and spare threads end within ten seconds; from then on no thread wakes up.
    wait_for("three seconds in which no thread wakes up", || {
        let before = sleeps(exporter.pid());
        std::thread::sleep(look);
        sleeps(exporter.pid()) == before
    });
    assert_eq!(kept.get("/metrics").code, 200);
}
