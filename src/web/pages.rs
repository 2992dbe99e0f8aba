//! The page for people: HTML by hand, with no script and nothing from elsewhere.
//!
//! Must not know how a value was measured. Its table, its form and its list of links come from the tables of the
//! rooms that own them.

use std::fmt::Write as _;

use crate::probe::params::{Input, PARAMETERS, Parameter};
use crate::state::State;

/// What a browser may do with the page: its own style, its own form, nothing else.
pub(crate) const HEADERS: &[(&str, &str)] = &[
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
];

/// Two columns of a form on a wide screen, one on a phone; the colours follow the reader's choice.
const STYLE: &str = "
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --link: light-dark(#0b57d0, #8ab4f8); }
* { box-sizing: border-box; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { margin: 0; line-height: 1.2; }
h2 { margin: 2rem 0 .5rem; }
a { color: var(--link); }
nav ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; }
form, .fields { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: .75rem 1.25rem; align-items: end; }
label { display: block; }
details > div { margin-top: .75rem; }
details, .ticks { grid-column: 1 / -1; }
.ticks { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; }
input:not([type=checkbox]) { display: block; width: 100%; font: inherit; padding: .4rem .5rem; }
button { font: inherit; padding: .5rem 1rem; }
code { white-space: nowrap; }
pre code { white-space: pre; }
pre, .scroll { overflow-x: auto; }
pre { background: var(--soft); padding: .75rem 1rem; border: 1px solid var(--line); }
table { border-collapse: collapse; }
th, td { text-align: left; vertical-align: top; padding: .4rem .75rem .4rem 0; border-bottom: 1px solid var(--line); }
@media (max-width: 40rem) {
  thead { position: absolute; left: -9999px; }
  tr { display: block; padding: .5rem 0; border-bottom: 1px solid var(--line); }
  th, td { display: inline-block; padding: 0 .75rem 0 0; border: 0; }
  td:last-child { display: block; }
}
";

/// The page at `/`.
pub(crate) fn home(state: &State) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let probe_path = escaped(&state.probe_path);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>iperf3 exporter</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<header>\n\
         <h1>iperf3 exporter</h1>\n<p>Version {version}. Runs iperf3 against a target on each scrape; one test at a time.</p>\n"
    );
    page.push_str("<nav aria-label=\"Pages\"><ul>\n");
    for (path, name) in links(state) {
        let path = escaped(&path);
        let _ = writeln!(page, "<li><a href=\"{path}\">{name}</a></li>");
    }
    let _ = write!(
        page,
        "</ul></nav>\n</header>\n<main>\n<h2>Probe now</h2>\n\
         <form action=\"{probe_path}\" method=\"get\">\n"
    );
    push_fields(&mut page, false);
    page.push_str("<details>\n<summary>More</summary>\n<div class=\"fields\">\n");
    push_fields(&mut page, true);
    page.push_str("</div>\n</details>\n");
    page.push_str(
        "<div><button type=\"submit\">Run the test</button></div>\n</form>\n\
         <p>The answer comes when the test is over, and only then.</p>\n\
         <h2>Parameters</h2>\n<div class=\"scroll\">\n<table>\n\
         <thead><tr><th scope=\"col\">Parameter</th><th scope=\"col\">iperf3</th>\
         <th scope=\"col\">Default</th><th scope=\"col\">Meaning and range</th></tr></thead>\n<tbody>\n",
    );
    for parameter in PARAMETERS {
        let names: Vec<String> = parameter
            .names
            .iter()
            .map(|name| format!("<code>{name}</code>"))
            .collect();
        let option = match escaped(parameter.option) {
            option if option.is_empty() => option,
            option => format!("<code>{option}</code>"),
        };
        let _ = writeln!(
            page,
            "<tr><th scope=\"row\">{}</th><td>{option}</td><td>{}</td><td>{} Allowed: {}.</td></tr>",
            names.join(", "),
            escaped(parameter.default),
            escaped(parameter.help),
            escaped(parameter.allowed),
        );
    }
    let _ = write!(
        page,
        "</tbody>\n</table>\n</div>\n<h2>Prometheus configuration</h2>\n<pre><code>{}</code></pre>\n\
         </main>\n</body>\n</html>\n",
        escaped(&prometheus_configuration(state))
    );
    page
}

/// Where the page leads.
fn links(state: &State) -> [(String, &'static str); 4] {
    [
        (state.telemetry_path.clone(), "Metrics of the exporter"),
        ("/lock-status".to_owned(), "Test lock and queue"),
        ("/health".to_owned(), "Health"),
        ("/ready".to_owned(), "Readiness"),
    ]
}

/// The fields of the parameters that are used rarely, or of the others: first what is written, then what is ticked.
fn push_fields(page: &mut String, are_rare: bool) {
    let (ticks, fields): (Vec<&Parameter>, Vec<&Parameter>) = PARAMETERS
        .iter()
        .filter(|parameter| parameter.is_rare == are_rare)
        .partition(|parameter| parameter.input == Input::Tick);
    for parameter in fields {
        push_field(page, parameter);
    }
    page.push_str("<div class=\"ticks\">\n");
    for parameter in ticks {
        push_field(page, parameter);
    }
    page.push_str("</div>\n");
}

fn push_field(page: &mut String, parameter: &Parameter) {
    let name = parameter.id();
    let label = escaped(parameter.label);
    let _ = match parameter.input {
        Input::Tick => writeln!(
            page,
            "<label><input type=\"checkbox\" name=\"{name}\" value=\"true\"> {label}</label>"
        ),
        Input::Number(least, most) => writeln!(
            page,
            "<label>{label}<input type=\"number\" name=\"{name}\" min=\"{least}\" max=\"{most}\" placeholder=\"{}\"></label>",
            escaped(parameter.default)
        ),
        Input::Text => {
            let is_required = parameter.default == "required";
            let (extra, hint) = if is_required {
                (
                    " required autocapitalize=\"none\" spellcheck=\"false\"",
                    "host or host:port",
                )
            } else {
                ("", parameter.default)
            };
            writeln!(
                page,
                "<label>{label}<input type=\"text\" name=\"{name}\" placeholder=\"{}\"{extra}></label>",
                escaped(hint)
            )
        }
    };
}

/// A scrape configuration that works as it stands once its two names are put in.
pub(crate) fn prometheus_configuration(state: &State) -> String {
    let front = state.front.front(&state.log).unwrap_or_default();
    let mut access = String::new();
    if front.tls.is_some() {
        access += "    scheme: https
    tls_config:
      ca_file: /etc/prometheus/ca.pem   # who signed the exporter's certificate
";
    }
    if !front.users.is_empty() {
        access += "    basic_auth:
      username: prometheus              # a user of the web configuration
      password_file: /etc/prometheus/password
";
    }
    format!(
        "scrape_configs:
  - job_name: iperf3
    metrics_path: {}
{access}    scrape_interval: 5m
    scrape_timeout: 30s
    params:
      period: ['10s']
    static_configs:
      - targets:
          - foo.server        # an iperf3 server, host or host:port
    relabel_configs:
      - source_labels: [__address__]
        target_label: __param_target
      - source_labels: [__param_target]
        target_label: instance
      - target_label: __address__
        replacement: 127.0.0.1:9579   # where this exporter listens
  - job_name: iperf3-exporter
    metrics_path: {}
{access}    static_configs:
      - targets: ['127.0.0.1:9579']
",
        state.probe_path, state.telemetry_path
    )
}

/// Text inside an element or a quoted attribute.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
