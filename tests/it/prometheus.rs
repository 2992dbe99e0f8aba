//! A real Prometheus scrapes with the README's configuration, and promtool reads every configuration that is shown.

use std::fs;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::harness::{Exporter, Server, TempDir, free_port, has, raw_request, run, top, wait_for};

/// A Prometheus on a free port of 127.0.0.1 until it is dropped.
struct Prometheus {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Prometheus {
    fn start(configuration: &str) -> Self {
        // The port may be taken between its choice and its use: then it ends, and another one is tried.
        for _ in 0..20 {
            let dir = TempDir::new();
            let (port, file) = (free_port(), dir.write("prometheus.yml", configuration));
            let child = Command::new("prometheus")
                .arg(format!("--config.file={}", file.display()))
                .arg(format!(
                    "--storage.tsdb.path={}",
                    dir.path().join("data").display()
                ))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .arg("--log.level=warn")
                .current_dir(dir.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(fs::File::create(dir.path().join("log")).unwrap())
                .spawn()
                .unwrap();
            let mut prometheus = Self { child, port, dir };
            let mut has_ended = false;
            wait_for("Prometheus to be ready or to end", || {
                has_ended = prometheus.child.try_wait().unwrap().is_some();
                has_ended
                    || prometheus
                        .get("/-/ready")
                        .is_some_and(|(code, _)| code == 200)
            });
            if !has_ended {
                return prometheus;
            }
        }
        panic!("Prometheus did not start");
    }

    /// With HTTP/1.0, so that the answer is not in chunks.
    fn get(&self, path: &str) -> Option<(u16, String)> {
        std::net::TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let text = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
        let reply = raw_request(self.port, text.as_bytes())?;
        Some((reply.code, reply.body))
    }

    /// The value and the labels of the one series that a query has; none when there is none.
    fn query(&self, query: &str) -> Option<(f64, Value)> {
        let mut encoded = String::new();
        for byte in query.bytes() {
            encoded += &format!("%{byte:02x}");
        }
        let (code, body) = self.get(&format!("/api/v1/query?query={encoded}")).unwrap();
        assert_eq!(code, 200, "{query}: {body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        let series = answer["data"]["result"].as_array().unwrap();
        assert!(series.len() < 2, "{query}: {body}");
        let first = series.first()?;
        let value = first["value"][1].as_str().unwrap().parse().unwrap();
        Some((value, first["metric"].clone()))
    }

    /// The same, once `is_right` for the value.
    fn until(&self, query: &str, is_right: impl Fn(f64) -> bool) -> (f64, Value) {
        let mut last = None;
        wait_for(query, || {
            last = self.query(query);
            last.as_ref().is_some_and(|(value, _)| is_right(*value))
        });
        last.unwrap()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            eprintln!("Prometheus' log:\n{log}");
        }
    }
}

fn check_configuration(text: &str, what: &str) {
    let dir = TempDir::new();
    let file = dir.write("prometheus.yml", text);
    let (passed, said) = run(
        "promtool",
        &["check", "config", &file.display().to_string()],
        "",
    );
    assert!(passed, "{what}: {said}\n{text}");
}

#[test]
fn prometheus_scrapes_a_real_test_and_the_exporter_itself() {
    let test = "prometheus_scrapes_a_real_test_and_the_exporter_itself";
    if !has("prometheus", test) || !has("promtool", test) {
        return;
    }
    let server = Server::start();
    let exporter = Exporter::start::<&str>(&[]);
    let target = server.target();
    let address = format!("127.0.0.1:{}", exporter.port());
    // As in the README, but for the times, which are the shortest that a test of one second fits into.
    let configuration = format!(
        "scrape_configs:
  - job_name: iperf3
    metrics_path: /probe
    scrape_interval: 3s
    scrape_timeout: 3s
    params:
      period: ['1s']
      bitrate: ['10M']
    static_configs:
      - targets: ['{target}']
    relabel_configs:
      - source_labels: [__address__]
        target_label: __param_target
      - source_labels: [__param_target]
        target_label: instance
      - target_label: __address__
        replacement: {address}
  - job_name: iperf3-exporter
    scrape_interval: 1s
    scrape_timeout: 1s
    static_configs:
      - targets: ['{address}']
"
    );
    check_configuration(&configuration, "this test's");
    let prometheus = Prometheus::start(&configuration);

    let (_, labels) = prometheus.until("iperf3_up", |up| up == 1.0);
    let port = server.port.to_string();
    for (label, value) in [
        ("instance", target.as_str()),
        ("job", "iperf3"),
        ("target", "127.0.0.1"),
        ("port", &port),
    ] {
        assert_eq!(labels[label], value, "{label}: {labels}");
    }
    // 10 Mbit/s for a second are 1.25 MB; iperf3 starts with a burst, and rounds to blocks.
    let (bytes, _) = prometheus.until("iperf3_received_bytes", |bytes| bytes > 0.0);
    assert!((500_000.0..5_000_000.0).contains(&bytes), "{bytes}");
    prometheus.until("iperf3_received_bytes / iperf3_received_seconds", |rate| {
        rate > 0.0
    });
    prometheus.until(
        "iperf3_exporter_probes_total{outcome=\"success\"}",
        |count| count >= 1.0,
    );
    // Prometheus is content with both: its own view of the scrapes.
    for job in ["iperf3", "iperf3-exporter"] {
        prometheus.until(&format!("up{{job=\"{job}\"}}"), |up| up == 1.0);
    }
    let (failures, _) = prometheus.until(
        "sum(iperf3_exporter_probes_total{outcome!=\"success\"})",
        |_| true,
    );
    assert_eq!(failures, 0.0, "{}", exporter.log());
}

/// The configurations in a Markdown text: fences of YAML that have scrape configurations.
fn configurations(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if matches!(line.trim(), "```yaml" | "```yml") {
            let indent = line.len() - line.trim_start().len();
            let fence = lines.by_ref().take_while(|line| line.trim() != "```");
            let block: Vec<&str> = fence
                .map(|line| line.get(indent..).unwrap_or_default())
                .collect();
            let block = block.join("\n") + "\n";
            if block.contains("scrape_configs") {
                found.push(block);
            }
        }
    }
    found
}

#[test]
fn promtool_accepts_every_configuration_of_the_readme_and_the_page() {
    if !has(
        "promtool",
        "promtool_accepts_every_configuration_of_the_readme_and_the_page",
    ) {
        return;
    }
    let exporter = Exporter::start::<&str>(&[]);
    let page = exporter.get("/").body;
    let shown = page
        .split_once("<pre><code>")
        .unwrap()
        .1
        .split_once("</code></pre>")
        .unwrap()
        .0;
    let shown = shown
        .replace("&#39;", "'")
        .replace("&quot;", "\"")
        .replace("&amp;", "&");
    check_configuration(&shown, "the page's");
    let readme = fs::read_to_string(top().join("README.md")).unwrap();
    let found = configurations(&readme);
    assert!(
        !found.is_empty(),
        "the README shows no Prometheus configuration"
    );
    for (index, text) in found.iter().enumerate() {
        check_configuration(text, &format!("the README's, number {}", index + 1));
    }
}
