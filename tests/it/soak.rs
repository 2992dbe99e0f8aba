//! Many probes, and nothing grows: no thread, no descriptor, no memory, no child.

use std::fs;

use crate::harness::{Connection, Exporter, Fake, children, good_report, machine_alone, wait_for};

/// What must not grow.
#[derive(Clone, Copy, Debug)]
struct Footprint {
    threads: u64,
    descriptors: usize,
    resident_bytes: u64,
}

/// Looked at from outside: a request for `/metrics` would be a part of it.
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

/// `tiny_http` keeps this many threads for connections to come, and ends the others after five idle seconds
/// (`MIN_THREADS` in its task pool).
const SPARE_THREADS: u64 = 4;

/// What the probes after the warm-up may add: 650 bytes each of 800, where one that kept but its report would add five
/// times as much. What the allocator's arenas still took while this was written was 20 to 40 KiB, and once, on a busy
/// machine, 300: the last hundred probes are remembered, and come and go in each of them.
const GROWTH_LIMIT_BYTES: u64 = 512 * 1024;

#[test]
fn probes_in_a_row_leave_nothing_behind() {
    // The last hundred are remembered.
    leave_nothing_behind(120, 240);
}

#[test]
#[ignore = "make test-all: the same with a thousand"]
fn a_thousand_probes_in_a_row_leave_nothing_behind() {
    leave_nothing_behind(200, 1000);
}

fn leave_nothing_behind(warm_up: u32, count: u32) {
    let _alone = machine_alone();
    let fake = Fake::new(&format!(
        "[ \"$5\" != 1 ] || {{ echo '{{\"error\":\"unable to connect to server: Connection refused\"}}'; exit 1; }}\n\
         exec cat '{}'",
        good_report().display()
    ));
    let exporter = Exporter::start(&[fake.flag()]);
    let mut kept = Connection::open(exporter.port());
    let mut warm = None;
    for number in 0..count {
        if number == warm_up {
            warm = Some(footprint(exporter.pid()));
        }
        // Of each four, two use the connection that is kept, and one fails.
        let path = match number % 4 {
            3 => "/probe?target=127.0.0.1:1",
            _ => "/probe?target=127.0.0.1",
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
    // What the last answers still held is given back just after them.
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

/// How often the process' threads went to sleep so far, each thread with its count.
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
    // Workers and spare threads end within ten seconds; from then on no thread wakes.
    wait_for("three seconds in which no thread wakes up", || {
        let before = sleeps(exporter.pid());
        std::thread::sleep(look);
        sleeps(exporter.pid()) == before
    });
    assert_eq!(kept.get("/metrics").code, 200);
}
