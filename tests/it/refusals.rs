//! A refused request leaves one line in the log and one row on the home page.

use crate::harness::{Connection, Exporter, Fake, Reply, good_report, raw_request};
use crate::html::assert_sound;
use crate::pki::Pki;

fn fake() -> Fake {
    Fake::new(&format!("exec cat '{}'", good_report().display()))
}

/// The rows of the home page that have no number.
fn rows(exporter: &Exporter) -> Vec<String> {
    let page = exporter.get("/").body;
    assert_sound(&page);
    let rows = page.split("<tr><th scope=\"row\">–</th>").skip(1);
    rows.map(|row| row.split_once("</tr>").unwrap().0.to_owned())
        .collect()
}

/// The log line and the newest row repeat what the client got.
fn assert_traced(exporter: &Exporter, reply: &Reply, pieces: &[&str]) {
    let sentence = reply.body.trim_end();
    let line = exporter.log_line(&format!(
        " status={} error=\"{}\"",
        reply.code,
        sentence.replace('"', "\\\"")
    ));
    let start = " level=warn msg=\"probe refused\" client=127.0.0.1:";
    for piece in pieces.iter().chain(&[start]) {
        assert!(line.contains(piece), "{piece}: {line}");
    }
    let rows = rows(exporter);
    let shown = sentence.replace('"', "&quot;");
    let row = rows.first().unwrap();
    let outcome = format!("probe refused: {}<", reply.code);
    assert!(row.contains(&outcome), "{row}");
    assert!(
        row.contains(&format!("{shown} (requested by 127.0.0.1)")),
        "{row}"
    );
}

#[test]
fn each_refusal_is_one_warning_and_a_row_with_the_sentence_that_the_client_got() {
    let fake = fake();
    let exporter = Exporter::start(&[fake.flag(), "--probe.allow-target=127.0.0.1".to_owned()]);
    for (path, code, pieces) in [
        (
            "/probe?target=foo.server%3A5201&perioud=5s",
            400,
            &[
                " path=/probe ",
                " target=foo.server:5201 ",
                " query=\"target=foo.server%3A5201&perioud=5s\" ",
            ][..],
        ),
        ("/probe", 400, &[" path=/probe "]),
        (
            "/probe?target=other.example",
            403,
            &[" target=other.example "],
        ),
        ("/prob?target=127.0.0.1", 404, &[" path=/prob "]),
    ] {
        let reply = exporter.get(path);
        assert_eq!(reply.code, code, "{path}");
        assert_traced(&exporter, &reply, pieces);
    }
    let reply = exporter.request("POST", "/probe?target=127.0.0.1", &[]);
    assert_eq!(reply.code, 405);
    assert_traced(&exporter, &reply, &[" path=/probe "]);
    let log = exporter.log();
    assert_eq!(log.matches("msg=\"probe refused\"").count(), 5, "{log}");
    assert_eq!(rows(&exporter).len(), 5);
}

#[test]
fn a_wrong_path_is_a_refused_probe_when_it_looks_like_one() {
    let fake = fake();
    let exporter = Exporter::start(&[fake.flag(), "--web.probe-path=/measure".to_owned()]);
    for (path, is_traced) in [
        ("/prob", true),
        ("/probe", true),
        ("/probe/", true),
        ("/Probes", true),
        ("/probes/", true),
        ("/metrics/probe", true),
        ("/iperf3?target=foo.server", true),
        ("/nowhere", false),
        ("/favicon.ico", false),
        ("/probes/1", false),
        ("/metrics/", false),
    ] {
        let before = rows(&exporter).len();
        let reply = exporter.get(path);
        assert_eq!(reply.code, 404, "{path}");
        // The response names the right path where no page with links is shown.
        if is_traced && path != "/probes/" {
            let line = "no such page, probes are at /measure\n";
            assert_eq!(reply.body, line, "{path}");
        }
        let rows = rows(&exporter);
        assert_eq!(rows.len(), before + usize::from(is_traced), "{path}");
        let is_newest = rows.first().is_some_and(|row| {
            row.contains(&format!("\">{path}</td>")) && row.contains("probe refused: 404<")
        });
        assert_eq!(is_newest, is_traced, "{path}");
    }
    // The configured probe path counts as a probe, with or without a target.
    assert_eq!(exporter.get("/measure").code, 400);
    exporter.log_line(" path=/measure status=400 ");
    assert!(!exporter.log().contains("/nowhere"));
}

#[test]
fn repeated_refusals_are_one_row_and_few_lines_and_displace_no_probe() {
    let fake = fake();
    let exporter = Exporter::start(&[fake.flag()]);
    let mut connection = Connection::open(exporter.port());
    assert_eq!(connection.get("/probe?target=127.0.0.1").code, 200);
    for number in 0..120 {
        assert_eq!(connection.get("/probe?target=a&perioud=5s").code, 400);
        let other = format!("/probe?target=a&period=x{number}");
        assert_eq!(connection.get(&other).code, 400);
    }
    let page = exporter.get("/").body;
    assert!(page.contains("<a href=\"probes/1\">1</a>"), "{page}");
    let rows = rows(&exporter);
    assert_eq!(rows.len(), 20);
    assert!(
        rows[1].contains("probe refused: 400, 120 times<"),
        "{}",
        rows[1]
    );
    let log = exporter.log();
    let lines = log.matches("msg=\"probe refused\"").count();
    assert!((2..120).contains(&lines), "{lines} lines: {log}");
    assert_eq!(log.matches("msg=\"probe\"").count(), 1, "{log}");
}

#[test]
fn client_input_is_truncated_escaped_and_without_secrets() {
    let fake = fake();
    let exporter = Exporter::start(&[fake.flag(), "--log.level=debug".to_owned()]);
    let endless = "x".repeat(4000);
    for path in [
        "/probe?target=a&iperf3_password=hunter2".to_owned(),
        "/probe?target=a&pwd=hunter2%".to_owned(),
        "/probe?target=a%26password%3Dhunter2".to_owned(),
        "/probe?target=a;password=hunter2".to_owned(),
        "/probe?target=user:hunter2@host".to_owned(),
        "/probe?target=a&port=1%26pwd%3Dhunter2".to_owned(),
        "/probe?target%3Da%26password%3Dhunter2".to_owned(),
        format!("/run?target=a&perioud=5s&token={}", exporter.csrf_token()),
        format!("/probe?target={endless}&{endless}"),
        "/probe?target=%3Cscript%3E%0Alevel=error%1B[31m".to_owned(),
    ] {
        assert!([400, 403].contains(&exporter.get(&path).code), "{path}");
    }
    exporter.log_line("script");
    exporter.log_line(" level=debug msg=\"request\" ");
    let log = exporter.log();
    let key = exporter.csrf_token();
    let rows = rows(&exporter).join("\n");
    assert!(!rows.contains("<script>"), "{rows}");
    for text in [&log, &rows] {
        assert!(!text.contains("hunter2") && !text.contains(&key), "{text}");
        assert!(!text.contains(&"x".repeat(600)), "{text}");
    }
    assert!(log.contains("iperf3_password=<hidden>"), "{log}");
    assert!(log.lines().all(|line| line.starts_with("time=")), "{log}");
}

#[test]
fn invalid_requests_and_rate_limited_ones_are_logged_too() {
    let exporter = Exporter::start(&[fake().flag()]);
    let bytes = b"GET /probe?target=a&pwd=x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345";
    let reply = raw_request(exporter.port(), bytes).unwrap();
    assert_eq!(reply.code, 413);
    let pieces = [" path=/probe target=a query=\"target=a&pwd=<hidden>\" status=413 "];
    assert_traced(&exporter, &reply, &pieces);
    // A refused request of which only the client is known.
    let reply = raw_request(exporter.port(), b"GET /probe?target=a\r\n\r\n").unwrap();
    assert_eq!(reply.code, 400);
    let line = exporter.log_line("msg=\"request refused\" client=127.0.0.1:");
    let words = format!(" status=400 error=\"{}\"", reply.body.trim_end());
    assert!(line.ends_with(&words) && !line.contains("path="), "{line}");
    assert_eq!(rows(&exporter).len(), 1);

    let pki = Pki::new();
    let exporter = Exporter::start(&[pki.web("rate_limit:\n  interval: 1h\n  burst: 2\n")]);
    assert_eq!(exporter.get("/probe?target=127.0.0.1&x=1").code, 400);
    assert_eq!(exporter.get("/health").code, 200);
    assert_eq!(exporter.get("/probe?target=127.0.0.1").code, 429);
    let line = exporter.log_line("msg=\"probe refused\" client=127.0.0.1:");
    assert!(line.contains(" status=400 "), "{line}");
    let line = exporter.log_line(" status=429 ");
    let words = "Too Many Requests: rate_limit of the web configuration is exceeded";
    let words = format!(" status=429 error=\"{words}\"");
    let asked = " path=/probe target=127.0.0.1 query=\"target=127.0.0.1\"";
    assert!(line.ends_with(&format!("{asked}{words}")), "{line}");
    assert_eq!(exporter.get("/metrics").code, 429);
    let line = exporter.log_line("msg=\"request refused\"");
    assert!(line.ends_with(&format!(" path=/metrics{words}")), "{line}");
}
