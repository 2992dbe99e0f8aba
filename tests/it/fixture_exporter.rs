//! An exporter with probes of every kind, for the pages: what they show, and how a browser displays it.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Exporter, Fake, Reply, top, wait_for};

/// Output that a hostile server can make iperf3 print.
pub const HOSTILE: &str = "<script>document.title='owned'</script><img src=x onerror=\"alert(1)\">' & </pre>\u{1b}[31mred\u{202e}txet\0end";

/// The fake's program: the server's name selects its behaviour.
const SCRIPT: &str = r#"
replay() { exec cat "$FIXTURES/$1.json"; }
case "$3" in
    both.example) exec cat "$DIR/both.json" ;;
    udp.example) replay udp-loss5 ;;
    down.example) replay tcp-R-rtt20-loss1 ;;
    closed.example) echo '{"error":"unable to connect to server: Connection refused"}'; exit 1 ;;
    hostile.example) cat "$DIR/hostile.txt" >&2; cat "$DIR/hostile.json"; exit 1 ;;
    slow.example) exec sleep 600 ;;
    busy.example) echo '{"error":"the server is busy running a test. try again later"}'; exit 1 ;;
    *) replay tcp-rtt20-loss1 ;;
esac
"#;

/// The exporter, and the files of its fake.
pub struct Scene {
    pub exporter: Exporter,
    _fake: Fake,
}

impl Scene {
    /// Without probes so far.
    pub fn start(flags: &[&str]) -> Self {
        let fixtures = top().join("tests/fixtures/3.16");
        let fake = Fake::new(&format!("FIXTURES='{}'\n{SCRIPT}", fixtures.display()));
        let both = both_ways(25).to_string();
        fs::write(fake.dir().join("both.json"), both).unwrap();
        fs::write(fake.dir().join("hostile.txt"), HOSTILE).unwrap();
        let error = json!({ "error": HOSTILE }).to_string();
        fs::write(fake.dir().join("hostile.json"), error).unwrap();
        let own = fake.flag();
        // The running and the waiting probe last as long as the value: a test on a busy machine may need them longer
        // than iperf3's usual time limit.
        let mut all = vec![own.as_str(), "--iperf3.timeout=1h", "--lock.timeout=1h"];
        all.extend(flags);
        let exporter = Exporter::start(&all);
        Self {
            exporter,
            _fake: fake,
        }
    }

    /// With a probe of each kind, one that runs and one that waits; they are numbered in this order.
    pub fn with_probes(flags: &[&str]) -> Self {
        let scene = Self::start(flags);
        for query in [
            "target=up.example",
            "target=down.example&reverse_mode=true&period=2s",
            "target=udp.example:5301&udp_mode=true&bitrate=10M",
            "target=closed.example",
            "target=hostile.example&debug=true",
            "target=both.example&bidirectional=true&period=25s&parallel=1",
        ] {
            let reply = scene.exporter.get(&format!("/probe?{query}"));
            assert_eq!(reply.code, 200, "{query}: {}", reply.body);
        }
        scene.run("target=slow.example&period=10s&bind_address=192.0.2.1");
        wait_for("the test to run", || {
            let frame = scene.exporter.get("/probes/7/now").body;
            frame.contains("<p>The installed iperf3 reports nothing before the end of the test.")
        });
        scene.run("target=up.example&period=10s");
        scene
    }

    /// A page; also one that refuses the form's request.
    pub fn page(&self, path: &str) -> Reply {
        match path.strip_prefix("/run?") {
            Some(query) => self.exporter.run(query),
            None => self.exporter.get(path),
        }
    }

    /// Starts a probe as the form does.
    pub fn run(&self, query: &str) -> Reply {
        let reply = self.exporter.run(query);
        assert_eq!(reply.code, 303, "{query}: {}", reply.body);
        reply
    }
}

/// How many seconds [`streaming`] prints at first.
pub const STREAMED_SECONDS: u32 = 25;

/// A fake that streams a bidirectional test of a minute: [`STREAMED_SECONDS`] of it at once, the rest once `go` is
/// there.
pub fn streaming() -> Fake {
    let report = both_ways(60);
    let event = |name: &str, data: &Value| json!({ "event": name, "data": data }).to_string();
    let intervals = report["intervals"].as_array().unwrap();
    let mut lines: Vec<String> = vec![event("start", &report["start"])];
    lines.extend(intervals.iter().map(|interval| event("interval", interval)));
    lines.push(event("end", &report["end"]));
    let fake = Fake::with_help(
        "cat \"$DIR/head\"\nwhile [ -d \"$DIR\" ] && [ ! -e \"$DIR/go\" ]; do sleep 0.02; done\nexec cat \"$DIR/tail\"",
        "printf '%s\\n' 'Usage: iperf3' ' -c, -p, -t, -J x' ' --json-stream x' ' --forceflush x' ' --bidir x'",
    );
    let (head, tail) = lines.split_at(1 + STREAMED_SECONDS as usize);
    for (name, lines) in [("head", head), ("tail", tail)] {
        fs::write(fake.dir().join(name), lines.join("\n") + "\n").unwrap();
    }
    fake
}

/// Starts the test of [`streaming`] and waits until its page shows all seconds that are printed at first.
pub fn watched(fake: &Fake) -> Exporter {
    let own = fake.flag();
    let exporter = Exporter::start(&[own.as_str(), "--iperf3.timeout=1h"]);
    let reply = exporter.run("target=both.example&period=60s&bidirectional=true");
    assert_eq!(reply.code, 303, "{}", reply.body);
    let words = format!("upload, {STREAMED_SECONDS} intervals, ");
    wait_for("its intervals", || {
        exporter.get("/probes/1/now").body.contains(&words)
    });
    exporter
}

/// A bidirectional test of this many seconds on a slightly unsteady line, in the form of iperf3 3.16.
pub fn both_ways(seconds: u32) -> Value {
    let file = top().join("tests/fixtures/3.16/tcp-bidir.json");
    let mut root: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let model = root["intervals"][0].clone();
    let mut sums = [0_u64; 2];
    let intervals: Vec<Value> = (0..seconds)
        .map(|second| {
            let mut interval = model.clone();
            // Megabits a second: a dip in the upload; a slow rise with some noise in the download.
            let noise = u64::from(second * 7919 % 37);
            let up = megabits_up(second);
            let down = 300 + u64::from(second.min(20)) * 18 + 2 * noise;
            let streams = interval["streams"].as_array_mut().unwrap();
            for ((stream, sum), megabits) in streams.iter_mut().zip(&mut sums).zip([up, down]) {
                let bytes = megabits * 125_000;
                *sum += bytes;
                stream["start"] = json!(second);
                stream["end"] = json!(second + 1);
                stream["seconds"] = json!(1.0);
                stream["bytes"] = json!(bytes);
            }
            interval
        })
        .collect();
    root["intervals"] = json!(intervals);
    root["start"]["test_start"]["duration"] = json!(seconds);
    let put = |part: &mut Value, bytes: u64| {
        part["bytes"] = json!(bytes);
        part["seconds"] = json!(seconds);
        part["end"] = json!(seconds);
    };
    let end = &mut root["end"];
    for (index, [sent, received]) in [
        ["sum_sent", "sum_received"],
        ["sum_sent_bidir_reverse", "sum_received_bidir_reverse"],
    ]
    .iter()
    .enumerate()
    {
        put(&mut end[sent], sums[index]);
        put(&mut end[received], sums[index] - 131_072);
        put(&mut end["streams"][index]["sender"], sums[index]);
        put(
            &mut end["streams"][index]["receiver"],
            sums[index] - 131_072,
        );
    }
    root
}

/// The upload of [`both_ways`] in one second.
pub fn megabits_up(second: u32) -> u64 {
    let steady = if (12..15).contains(&second) { 410 } else { 905 };
    steady + u64::from(second * 7919 % 37)
}

/// The folder for the browser's screenshots.
pub fn screenshots() -> std::path::PathBuf {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    fs::create_dir_all(&folder).unwrap();
    folder
}
