//! A real Prometheus scrapes with the documentation's configuration, also over TLS. Every configuration that is shown
//! or shipped is read by its program.

use std::fs;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::harness::{
    Exporter, Server, TempDir, documentation, free_port, has, page, raw_request, run, top, wait_for,
};
use crate::pki::{FOR_CLIENTS, HASH, Pki, SERVER};

/// A Prometheus on a free port of 127.0.0.1 until it is dropped.
pub struct Prometheus {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Prometheus {
    pub fn start(configuration: &str) -> Self {
        Self::start_with(configuration, "")
    }

    /// With samples of the past, as `OpenMetrics`; "" for none.
    pub fn start_with(configuration: &str, history: &str) -> Self {
        // Another process may take the port between its choice and its use. Then Prometheus exits, and another port is
        // tried.
        for _ in 0..20 {
            let dir = TempDir::new();
            let (port, file) = (free_port(), dir.write("prometheus.yml", configuration));
            if !history.is_empty() {
                let data = dir.path().join("data").display().to_string();
                let history = dir.write("history", history).display().to_string();
                let blocks = "tsdb create-blocks-from openmetrics --quiet";
                let mut words: Vec<&str> = blocks.split(' ').collect();
                words.extend([history.as_str(), data.as_str()]);
                let (passed, said) = run("promtool", &words, "");
                assert!(passed, "{said}");
            }
            let mut command = Command::new("prometheus");
            command
                .arg(format!("--config.file={}", file.display()))
                .arg(format!(
                    "--storage.tsdb.path={}",
                    dir.path().join("data").display()
                ));
            if let Some(prometheus) = Self::start_by(command, dir, port) {
                return prometheus;
            }
        }
        panic!("Prometheus did not start");
    }

    /// Starts this command in this folder; `None` when it exits instead.
    fn start_by(mut command: Command, dir: TempDir, port: u16) -> Option<Self> {
        let child = command
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            // At this level it logs why a scrape failed.
            .arg("--log.level=debug")
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
        (!has_ended).then_some(prometheus)
    }

    /// With HTTP/1.0, so that the response is not chunked.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        std::net::TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let text = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
        let reply = raw_request(self.port, text.as_bytes())?;
        Some((reply.code, reply.body))
    }

    /// The series of a query's result, as Prometheus writes them.
    pub fn series(&self, query: &str) -> Vec<Value> {
        let mut encoded = String::new();
        for byte in query.bytes() {
            encoded += &format!("%{byte:02x}");
        }
        let (code, body) = self.get(&format!("/api/v1/query?query={encoded}")).unwrap();
        assert_eq!(code, 200, "{query}: {body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        answer["data"]["result"].as_array().unwrap().clone()
    }

    /// The value and the labels of the only series of a query's result; `None` when it is empty.
    pub fn query(&self, query: &str) -> Option<(f64, Value)> {
        let series = self.series(query);
        assert!(series.len() < 2, "{query}: {series:?}");
        let first = series.first()?;
        let value = first["value"][1].as_str().unwrap().parse().unwrap();
        Some((value, first["metric"].clone()))
    }

    /// The causes of failed scrapes so far, from its log.
    fn failed_scrapes(&self) -> Vec<String> {
        let log = fs::read_to_string(self.dir.path().join("log")).unwrap();
        let lines = log.lines().filter(|line| line.contains("Scrape failed"));
        lines.map(str::to_owned).collect()
    }

    /// Like [`Self::query`]; waits until `is_right` accepts the value.
    pub fn until(&self, query: &str, is_right: impl Fn(f64) -> bool) -> (f64, Value) {
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
            let told = log
                .lines()
                .filter(|line| !line.contains("level=debug") || line.contains("Scrape failed"));
            let told: Vec<&str> = told.collect();
            eprintln!("Prometheus' log:\n{}", told.join("\n"));
        }
    }
}

fn check_configuration(text: &str, what: &str) {
    let dir = TempDir::new();
    // promtool checks that the files of a configuration exist.
    for name in ["ca.pem", "client.pem", "client.key", "password"] {
        dir.write(name, "");
    }
    let text = text.replace("/etc/prometheus/", &format!("{}/", dir.path().display()));
    let file = dir.write("prometheus.yml", &text);
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
    // As in the documentation, except for the times, which are the shortest that fit a test of one second.
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
    // 10 Mbit/s for a second are 1.25 MB. iperf3 starts with a burst, rounds to blocks, and sends less when it gets no
    // processor time. In a wrong unit the result would be an eighth or a thousandth.
    let (bytes, _) = prometheus.until("iperf3_received_bytes", |bytes| bytes > 0.0);
    assert!((200_000.0..5_000_000.0).contains(&bytes), "{bytes}");
    prometheus.until("iperf3_received_bytes / iperf3_received_seconds", |rate| {
        rate > 0.0
    });
    prometheus.until(
        "iperf3_exporter_probes_total{outcome=\"success\"}",
        |count| count >= 1.0,
    );
    // Prometheus itself reports both jobs as up.
    for job in ["iperf3", "iperf3-exporter"] {
        prometheus.until(&format!("up{{job=\"{job}\"}}"), |up| up == 1.0);
    }
    // The exporter refused no scrape; on a busy machine one may have timed out.
    let (refused, _) = prometheus.until(
        "sum(iperf3_exporter_probes_total{outcome=~\"bad_request|not_allowed|auth|local\"})",
        |_| true,
    );
    assert_eq!(refused, 0.0, "{}", exporter.log());
}

/// The fenced YAML blocks of a Markdown text that contain `piece`.
pub fn configurations(text: &str, piece: &str) -> Vec<String> {
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
            if block.contains(piece) {
                found.push(block);
            }
        }
    }
    found
}

#[test]
fn promtool_accepts_every_configuration_of_the_documentation_and_the_page() {
    if !has(
        "promtool",
        "promtool_accepts_every_configuration_of_the_documentation_and_the_page",
    ) {
        return;
    }
    let exporter = Exporter::start::<&str>(&[]);
    let page = exporter.get("/").body;
    let shown = page.split_once("<code>scrape_configs:").unwrap().1;
    let shown = shown.split_once("</code></pre>").unwrap().0;
    let shown = format!("scrape_configs:{shown}");
    let shown = shown
        .replace("&#39;", "'")
        .replace("&quot;", "\"")
        .replace("&amp;", "&");
    check_configuration(&shown, "the page's");
    let mut found = Vec::new();
    for (path, text) in documentation() {
        for (index, text) in configurations(&text, "scrape_configs")
            .into_iter()
            .enumerate()
        {
            check_configuration(&text, &format!("number {} of {path}", index + 1));
            found.push(text);
        }
    }
    for piece in ["__param_target", "basic_auth:"] {
        assert!(
            found.iter().any(|text| text.contains(piece)),
            "the documentation shows no Prometheus configuration with {piece}"
        );
    }
}

/// The README's commands that make a folder and start Prometheus in it (third step), unchanged.
#[test]
fn the_readmes_commands_start_a_prometheus() {
    let test = "the_readmes_commands_start_a_prometheus";
    if !has("prometheus", test) || !has("promtool", test) {
        return;
    }
    let readme = fs::read_to_string(top().join("README.md")).unwrap();
    let step = readme.split_once("\n**3. Prometheus.**").unwrap().1;
    let mut blocks = step.split("```sh\n").skip(1);
    let shell = blocks.find(|block| block.starts_with("mkdir ")).unwrap();
    let shell = shell.split_once("\n```").unwrap().0;
    // The last command runs until it is ended; further arguments are appended to it.
    let (commands, last) = shell.rsplit_once('\n').unwrap();
    assert!(last.starts_with("prometheus "), "{last}");
    let script =
        format!("set -eu\n{commands}\ngrep -q 192.0.2.7 iperf3-targets.yml\nexec {last} \"$@\"");
    for _ in 0..20 {
        let (dir, port) = (TempDir::new(), free_port());
        std::os::unix::fs::symlink(top().join("contrib"), dir.path().join("contrib")).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh"]);
        if let Some(prometheus) = Prometheus::start_by(command, dir, port) {
            // Beside its configuration, where the user may write, wherever the system's own has its data.
            let data = prometheus.dir.path().join("prometheus-iperf3/data/wal");
            assert!(data.is_dir(), "no {}", data.display());
            return;
        }
    }
    panic!("Prometheus did not start");
}

#[test]
fn the_documented_relabelling_keeps_the_python_exporters_label() {
    let test = "the_documented_relabelling_keeps_the_python_exporters_label";
    if !has("prometheus", test) || !has("promtool", test) {
        return;
    }
    let pages = documentation().into_iter();
    let found: Vec<String> = pages
        .flat_map(|(_, text)| configurations(&text, "iperf3-bandwidth"))
        .collect();
    let [shown] = found.as_slice() else {
        panic!("{found:?}");
    };
    let server = Server::start();
    let exporter = Exporter::start::<&str>(&[]);
    // As shown, except for hosts and times.
    let mut configuration = shown.clone();
    for (from, to) in [
        (
            "'192.168.86.41:5201', '192.168.86.42:5201'",
            format!("'{}'", server.target()),
        ),
        ("localhost:9579", format!("127.0.0.1:{}", exporter.port())),
        ("scrape_interval: 1m", "scrape_interval: 1s".to_owned()),
        ("scrape_timeout: 30s", "scrape_timeout: 1s".to_owned()),
        (
            "    params:\n",
            "    params:\n      period: ['1s']\n".to_owned(),
        ),
    ] {
        assert_eq!(configuration.matches(from).count(), 1, "{from}");
        configuration = configuration.replace(from, &to);
    }
    check_configuration(&configuration, "this test's");
    let prometheus = Prometheus::start(&configuration);
    let (_, labels) = prometheus.until("iperf3_up", |up| up == 1.0);
    assert_eq!(labels["target"], server.target(), "{labels}");
    assert_eq!(labels.get("port"), None, "{labels}");
    // Also families with an additional label.
    let (_, labels) = prometheus.until("iperf3_bandwidth_bytes_per_second", |_| true);
    assert_eq!(labels["target"], server.target(), "{labels}");
    assert_eq!(labels["direction"], "upload", "{labels}");
}

/// A Prometheus duration with one unit, in seconds.
fn seconds(text: &str) -> u64 {
    let number = text.trim_end_matches(['s', 'm', 'h']);
    let unit = match &text[number.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => panic!("{text} has another unit"),
    };
    number.parse::<u64>().unwrap() * unit
}

#[test]
fn examples_with_gaps_between_scrapes_mention_them() {
    let mut files = vec![top().join("contrib/openwrt/README.md")];
    files.extend(documentation().iter().map(|(path, _)| top().join(path)));
    for entry in fs::read_dir(top().join("contrib")).unwrap().flatten() {
        let extension = entry.path().extension().map(ToOwned::to_owned);
        if extension.is_some_and(|extension| extension == "yml" || extension == "1") {
            files.push(entry.path());
        }
    }
    let mut count = 0;
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for line in text.lines() {
            // Also in sentences, where a backtick follows the value.
            let pieces = line.split("scrape_interval").skip(1);
            for piece in pieces {
                let value = piece.trim_start_matches("__").strip_prefix(": ");
                let value = value.and_then(|rest| rest.split([' ', '`', ')', ',', ':']).next());
                let Some(value) = value else { continue };
                count += 1;
                let says = line.contains("gap");
                assert!(seconds(value) <= 300 || says, "{}: {line}", file.display());
            }
        }
    }
    assert!(count >= 10, "{count}");
}

/// The exporter accepts this web configuration, in the folder of these certificates.
fn check_web_configuration(pki: &Pki, text: &str) {
    let program = env!("CARGO_BIN_EXE_iperf3-exporter");
    let (passed, said) = run(
        program,
        &[
            &pki.web(text),
            "--config.check",
            "--web.listen-address=127.0.0.1:0",
        ],
        "",
    );
    assert!(passed, "{said}\n{text}");
    assert!(!said.contains("level=warn"), "{said}\n{text}");
}

#[test]
fn the_documented_steps_to_tls_and_a_user_work() {
    let page = page("web-configuration");
    let pki = Pki::new();
    // The certificate as the documented command makes it.
    let shell = page.split_once("```sh\n").unwrap().1;
    let shell = shell.split_once("\n```").unwrap().0.replace("\\\n", " ");
    let mut commands = shell.lines().filter(|line| line.starts_with("openssl "));
    let command = commands.next().expect("no openssl command");
    let script = format!("cd '{}' && rm -f server.* && {command}", pki.path(""));
    let (made, said) = run("sh", &["-c", &script], "");
    assert!(made, "{command}: {said}");
    let found = configurations(&page, "tls_server_config:");
    assert!(!found.is_empty(), "the page shows no web configuration");
    for text in &found {
        // The placeholder is not a complete hash: a complete one would be used unchanged.
        assert!(text.contains("$2y$10$…"), "{text}");
        check_web_configuration(&pki, &text.replace("$2y$10$…", HASH));
    }
}

/// `contrib/web.yml` with every disabled setting enabled, and a real hash.
fn example_with_everything() -> String {
    let example = fs::read_to_string(top().join("contrib/web.yml")).unwrap();
    let mut text = String::new();
    for line in example.lines() {
        let (indent, comment) = line.split_at(line.len() - line.trim_start().len());
        // A setting, or a continuation of one; a sentence begins with one blank.
        let is_setting = comment.strip_prefix('#').is_some_and(|rest| {
            rest.starts_with("  ") || !rest.is_empty() && !rest.starts_with(' ')
        });
        let setting = if is_setting { &comment[1..] } else { comment };
        text += &format!("{indent}{setting}\n");
    }
    assert!(text.contains("(hash)"), "{text}");
    text.replace("(hash)", HASH)
}

/// The same with inline texts instead of files.
fn example_with_texts(pki: &Pki) -> String {
    let example = example_with_everything();
    let mut text = String::new();
    let mut lines = example.lines().peekable();
    while let Some(line) = lines.next() {
        if line.contains("_file:") {
            continue;
        }
        text += &format!("{line}\n");
        let Some(key) = line.strip_suffix(": |") else {
            continue;
        };
        while lines.next_if(|line| line.starts_with("    ")).is_some() {}
        let file = match key.trim() {
            "cert" => "server.pem",
            "key" => "server.key",
            "client_ca" => "ca.pem",
            other => panic!("{other} is a text"),
        };
        for line in fs::read_to_string(pki.path(file)).unwrap().lines() {
            text += &format!("    {line}\n");
        }
    }
    text
}

#[test]
fn the_example_web_configuration_is_valid_with_every_key() {
    let pki = Pki::new();
    let example = fs::read_to_string(top().join("contrib/web.yml")).unwrap();
    check_web_configuration(&pki, &example);
    let all = example_with_everything();
    for keys in [
        &[
            "tls_server_config",
            "http_server_config",
            "basic_auth_users",
            "rate_limit",
        ][..],
        &[
            "cert",
            "key",
            "client_ca",
            "cert_file",
            "key_file",
            "client_ca_file",
        ],
        &[
            "client_auth_type",
            "client_allowed_sans",
            "min_version",
            "max_version",
        ],
        &[
            "cipher_suites",
            "prefer_server_cipher_suites",
            "curve_preferences",
        ],
        &["http2", "headers", "interval", "burst"],
        &[
            "Content-Security-Policy",
            "X-Frame-Options",
            "X-Content-Type-Options",
        ],
        &["X-XSS-Protection", "Strict-Transport-Security"],
    ] {
        for key in keys {
            let is_there = all
                .lines()
                .any(|line| line.trim_start().starts_with(&format!("{key}:")));
            assert!(is_there, "{key} is missing\n{all}");
        }
    }
    check_web_configuration(&pki, &all);
    let texts = example_with_texts(&pki);
    assert!(
        !texts.contains("_file:") && !texts.contains("(base64)"),
        "{texts}"
    );
    check_web_configuration(&pki, &texts);

    // It also admits the users that it names.
    pki.issue(
        "client",
        &[FOR_CLIENTS, "subjectAltName=DNS:prometheus.example.net"],
    );
    for text in [all, texts] {
        let exporter = Exporter::start(&[pki.web(&text)]);
        let url = format!("https://localhost:{}/ready", exporter.port());
        let (cert, key) = (pki.path("client.pem"), pki.path("client.key"));
        let certificate = ["--cert", &cert, "--key", &key, &url];
        let user = ["--user", "prometheus:secret"];
        assert_eq!(pki.curl(&[&url]).code, 0);
        assert_eq!(pki.curl(&certificate).code, 401);
        let got = pki.curl(&[&certificate[..], &user, &["--include"]].concat());
        assert_eq!(got.code, 200, "{got:?}");
        assert!(got.body.contains("X-Frame-Options: deny"), "{got:?}");
    }
}

/// Prometheus' count of the connections that it opened for a job's scrapes.
fn connections_opened(prometheus: &Prometheus, job: &str) -> f64 {
    let sample = format!("net_conntrack_dialer_conn_established_total{{dialer_name=\"{job}\"}} ");
    let (_, page) = prometheus.get("/metrics").unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix(&sample));
    line.map_or(0.0, |value| value.parse().unwrap())
}

/// As in the documentation, except for the times, and with the client's certificate and key in one file, so that both
/// are renewed in one step.
fn tls_configuration(pki: &Pki, target: &str, port: u16) -> String {
    let way = format!(
        "    scheme: https
    tls_config:
      ca_file: {}
      cert_file: {both}
      key_file: {both}
      server_name: localhost
    basic_auth:
      username: prometheus
      password_file: {}
",
        pki.path("ca.pem"),
        pki.path("password"),
        both = pki.path("both.pem"),
    );
    format!(
        "scrape_configs:
  - job_name: iperf3
    metrics_path: /probe
    scrape_interval: 2s
    scrape_timeout: 2s
{way}    params:
      bytes: ['1M']
    static_configs:
      - targets: ['{target}']
    relabel_configs:
      - source_labels: [__address__]
        target_label: __param_target
      - source_labels: [__param_target]
        target_label: instance
      - target_label: __address__
        replacement: 127.0.0.1:{port}
  - job_name: iperf3-exporter
    scrape_interval: 2s
    scrape_timeout: 2s
{way}    static_configs:
      - targets: ['127.0.0.1:{port}']
"
    )
}

const JOBS: [&str; 2] = ["iperf3", "iperf3-exporter"];
/// The counter of refused scrapes.
const REFUSED: &str = "iperf3_exporter_auth_failures_total";

/// On a busy machine a scrape may have timed out, and the next one may have found no time left beside the same test. The
/// exporter counts those. No other failure is accepted.
fn assert_only_slow_scrapes_failed(prometheus: &Prometheus) {
    let failed = prometheus.failed_scrapes();
    let count = |cause: &str| failed.iter().filter(|line| line.contains(cause)).count();
    let slow = count("context deadline exceeded");
    let unavailable = count("503 Service Unavailable");
    assert_eq!(slow + unavailable, failed.len(), "{failed:#?}");
    let no_time_left = "iperf3_exporter_probes_total{outcome=\"no_time_left\"}";
    prometheus.until(no_time_left, |probes| probes >= unavailable as f64);
}

#[test]
fn prometheus_scrapes_over_tls_through_renewals_and_not_with_a_wrong_password() {
    let test = "prometheus_scrapes_over_tls_through_renewals_and_not_with_a_wrong_password";
    if !has("prometheus", test) || !has("promtool", test) {
        return;
    }
    let pki = Pki::new();
    for name in ["client", "client-2"] {
        pki.issue(
            name,
            &[FOR_CLIENTS, "subjectAltName=DNS:prometheus.example.net"],
        );
        let read = |file: String| fs::read_to_string(pki.path(&file)).unwrap();
        let both = read(format!("{name}.pem")) + &read(format!("{name}.key"));
        pki.write(&format!("{name}.both"), &both);
    }
    pki.issue(
        "server-2",
        &["subjectAltName=DNS:localhost,DNS:renewed.example.net"],
    );
    pki.replace("both.pem", "client.both");
    pki.write("password", "secret\n");
    let exporter = Exporter::start(&[pki.web(&format!(
        "{SERVER}  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.pem
  client_allowed_sans: [prometheus.example.net]
basic_auth_users:
  prometheus: {HASH}
"
    ))]);
    let server = Server::start();
    let configuration = tls_configuration(&pki, &server.target(), exporter.port());
    check_configuration(&configuration, "this test's");
    let prometheus = Prometheus::start(&configuration);
    // Two more scrapes of each job, and none was refused so far, whether by certificate or password.
    let has_been_up = || {
        let scrapes = JOBS.map(|job| format!("sum_over_time(up{{job=\"{job}\"}}[1h])"));
        let before = scrapes
            .each_ref()
            .map(|scrapes| prometheus.until(scrapes, |_| true).0);
        for (scrapes, before) in scrapes.iter().zip(before) {
            prometheus.until(scrapes, |scrapes| scrapes >= before + 2.0);
        }
        assert_only_slow_scrapes_failed(&prometheus);
        let (count, _) = prometheus.until(REFUSED, |_| true);
        assert_eq!(count, 0.0, "{}", exporter.log());
        // A scrape that times out during its handshake counts as a failed handshake; one with a wrong certificate has
        // its own message.
        let log = exporter.log();
        let handshakes = log.lines().filter(|line| line.contains("handshake failed"));
        let mut refused = handshakes.filter(|line| line.contains("certificate"));
        assert_eq!(refused.next(), None);
    };

    prometheus.until("iperf3_up", |up| up == 1.0);
    prometheus.until("iperf3_received_bytes", |bytes| bytes > 0.0);
    has_been_up();

    // The server's files are replaced one after the other, the client's in one step; all have the same authority.
    let opened = JOBS.map(|job| connections_opened(&prometheus, job));
    pki.replace("server.pem", "server-2.pem");
    pki.replace("server.key", "server-2.key");
    pki.replace("both.pem", "client-2.both");
    let host = "renewed.example.net";
    let (url, address) = (
        format!("https://{host}:{}/metrics", exporter.port()),
        format!("{host}:{}:127.0.0.1", exporter.port()),
    );
    let client = pki.path("both.pem");
    let page = |url: &str, address: &str| {
        let way = ["--resolve", address, "--cert", &client, "--key", &client];
        pki.curl(&[&way[..], &["--user", "prometheus:secret", url]].concat())
    };
    let got = page(&url, &address);
    assert_eq!(
        got.code, 200,
        "only the new certificate has this name: {got:?}"
    );
    // Prometheus drops its connections when its own files change.
    for (job, opened) in JOBS.iter().zip(opened) {
        wait_for("a connection with the new certificates", || {
            connections_opened(&prometheus, job) > opened
        });
    }
    has_been_up();

    pki.write("password", "wrong\n");
    // The other failures must not hide this one.
    wait_for("Prometheus to tell of refused scrapes", || {
        let failed = prometheus.failed_scrapes();
        failed.iter().any(|line| line.contains("401 Unauthorized"))
    });
    for job in JOBS {
        prometheus.until(&format!("up{{job=\"{job}\"}}"), |up| up == 0.0);
    }
    // Prometheus cannot scrape this value now.
    let sample = format!("\n{REFUSED} ");
    wait_for("two refusals", || {
        let metrics = page(&url, &address).body;
        let count = metrics.split_once(&sample).unwrap().1.lines().next();
        count.unwrap().parse::<f64>().unwrap() >= 2.0
    });
    pki.write("password", "secret\n");
    for job in JOBS {
        prometheus.until(&format!("up{{job=\"{job}\"}}"), |up| up == 1.0);
    }
}
