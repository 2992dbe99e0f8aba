//! The form that starts a probe, the table of parameters, and the configuration for Prometheus.
//!
//! Must not know what a parameter does: fields and rows come from the table of parameters.

use std::fmt::Write as _;

use super::frame::escaped;
use crate::probe::params::{Input, PARAMETERS, Parameter, Params};
use crate::web::Site;
use crate::web::csrf::{self, CsrfToken};

/// The parameters that choose the direction. They exclude each other, so each is a button.
const DIRECTIONS: &[&str] = &["reverse_mode", "bidirectional"];
/// The longest hint that fits into an empty field, in characters.
const PLACEHOLDER_CHARS: usize = 19;

pub(super) fn push_form(page: &mut String, token: &CsrfToken, is_open: bool) {
    let open = if is_open { " open" } else { "" };
    let _ = write!(
        page,
        "<details class=\"part\" id=\"form\"{open}>\n<summary><h2>Run a test</h2></summary>\n\
         <form class=\"fields\" action=\"run\" method=\"get\">\n"
    );
    push_hidden(page, csrf::FIELD, &token.0);
    push_fields(page, false);
    page.push_str("<details>\n<summary>More parameters</summary>\n<div class=\"fields\">\n");
    push_fields(page, true);
    page.push_str(
        "</div>\n</details>\n<fieldset class=\"ticks\">\n<legend>Run it in one direction, or in both</legend>\n\
         <button type=\"submit\">Upload</button>\n",
    );
    // A browser sends only the parameter of the pressed button.
    for row in PARAMETERS
        .iter()
        .filter(|row| DIRECTIONS.contains(&row.id()))
    {
        let (name, label) = (row.id(), escaped(row.label));
        let _ = writeln!(
            page,
            "<button type=\"submit\" name=\"{name}\" value=\"true\">{label}</button>"
        );
    }
    page.push_str(
        "<span class=\"soft\">It is queued behind the probes that wait. The next page shows its progress.</span>\n\
         </fieldset>\n</form>\n</details>\n",
    );
}

/// The fields of the rarely used parameters, or of the others: text fields first, then checkboxes.
fn push_fields(page: &mut String, are_rare: bool) {
    let rows = PARAMETERS.iter().filter(|row| row.is_rare == are_rare);
    let rows = rows.filter(|row| !DIRECTIONS.contains(&row.id()));
    let (ticks, fields): (Vec<_>, Vec<_>) = rows.partition(|row| row.input == Input::Tick);
    for row in fields {
        push_field(page, row);
    }
    page.push_str("<div class=\"ticks\">\n");
    for row in ticks {
        push_field(page, row);
    }
    page.push_str("</div>\n");
}

fn push_field(page: &mut String, row: &Parameter) {
    let name = row.id();
    let label = escaped(row.label);
    let field = match row.input {
        Input::None => return,
        Input::Tick => format!("<input type=\"checkbox\" name=\"{name}\" value=\"true\"> {label}"),
        Input::Number(min, max) => {
            let (hint, placeholder) = hint(row);
            format!(
                "{label}{hint}<input type=\"number\" name=\"{name}\" min=\"{min}\" max=\"{max}\"{placeholder}>"
            )
        }
        Input::Text if row.default == "required" => format!(
            "{label}<input type=\"text\" name=\"{name}\" placeholder=\"host or host:port\" required \
             autocapitalize=\"none\" spellcheck=\"false\">"
        ),
        Input::Text => {
            let (hint, placeholder) = hint(row);
            format!("{label}{hint}<input type=\"text\" name=\"{name}\"{placeholder}>")
        }
    };
    let _ = writeln!(page, "<label>{field}</label>");
}

/// The default of a field: as its placeholder if it fits, otherwise above the field.
fn hint(row: &Parameter) -> (String, String) {
    let hint = escaped(row.default);
    if row.default.chars().count() <= PLACEHOLDER_CHARS {
        (String::new(), format!(" placeholder=\"{hint}\""))
    } else {
        (
            format!(" <span class=\"soft\">({hint})</span>"),
            String::new(),
        )
    }
}

/// A button that starts a probe with the same parameters again; `root` is the relative URL of the first page.
pub(super) fn push_again(page: &mut String, params: &Params, token: &CsrfToken, root: &str) {
    let _ = writeln!(page, "<form action=\"{root}run\" method=\"get\">");
    push_hidden(page, csrf::FIELD, &token.0);
    for (name, value) in asked(params) {
        push_hidden(page, name, &escaped(&value));
    }
    page.push_str("<button type=\"submit\">Run it again</button>\n</form>\n");
}

fn push_hidden(page: &mut String, name: &str, value: &str) {
    let _ = writeln!(
        page,
        "<input type=\"hidden\" name=\"{name}\" value=\"{value}\">"
    );
}

pub(super) fn asked(params: &Params) -> Vec<(&'static str, String)> {
    let mut asked = vec![("target", params.host.as_str().to_owned())];
    asked.extend(params.test().displayed());
    asked
}

/// The table of parameters and an example configuration for Prometheus.
pub(super) fn push_reference(page: &mut String, site: &Site) {
    page.push_str(
        "<details class=\"part\">\n<summary><h2>Parameters</h2></summary>\n<table class=\"ref\">\n\
         <thead><tr><th scope=\"col\">Parameter</th><th scope=\"col\">iperf3</th>\
         <th scope=\"col\">Default</th><th scope=\"col\">Meaning and range</th></tr></thead>\n<tbody>\n",
    );
    for row in PARAMETERS {
        let names = row.names.join("</code>, <code>");
        let option = match escaped(row.option) {
            option if option.is_empty() => option,
            option => format!("<code>{option}</code>"),
        };
        let [default, help, allowed] = [row.default, row.help, row.allowed].map(escaped);
        let _ = writeln!(
            page,
            "<tr><th scope=\"row\"><code>{names}</code></th><td>{option}</td><td>{default}</td><td>{help} Allowed: {allowed}.</td></tr>"
        );
    }
    let configuration = escaped(&prometheus_configuration(site));
    let _ = writeln!(
        page,
        "</tbody>\n</table>\n</details>\n<details class=\"part\">\n<summary><h2>Prometheus configuration</h2></summary>\n\
         <pre tabindex=\"0\"><code>{configuration}</code></pre>\n</details>"
    );
}

/// A scrape configuration that works once the user has put in the names of the server and of the exporter.
fn prometheus_configuration(site: &Site) -> String {
    let config = site.access.config().unwrap_or_default();
    let mut access = String::new();
    if config.tls.is_some() {
        access += "    scheme: https
    tls_config:
      ca_file: /etc/prometheus/ca.pem   # who signed the exporter's certificate
";
    }
    if !config.users.is_empty() {
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
        site.probe_path, site.telemetry_path
    )
}

#[cfg(test)]
mod tests {
    use super::asked;
    use crate::probe::params::Params;

    #[test]
    fn what_is_asked_again_is_the_same_test() {
        for query in [
            "target=foo.server",
            "target=foo.server:5301&period=1m30s&reverse_mode=true&parallel=128",
            "target=[fe80::1%25eth0]:5301&udp_mode=1&bitrate=10M/8&length=1K",
            "target=::1&port=5201-5209&bidirectional=T&omit=2s&connect_timeout=1500ms&family=6&cport=6000",
            "target=10.0.0.1&udp_mode=true&dont_fragment=true",
            "target=10.0.0.1&bytes=1.5M&window=4M&mss=1400&congestion=bbr&dscp=ef&fq_rate=100M&no_delay=1&zero_copy=1",
            "target=a&tos=0xb8&bind=192.0.2.1%25eth0&bind_dev=eth0&max_age=1h&debug=true&mptcp=true",
        ] {
            let params = Params::parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
            let again: Vec<String> = asked(&params)
                .iter()
                .map(|(name, value)| format!("{name}={}", value.replace('%', "%25")))
                .collect();
            let again = Params::parse(&again.join("&"));
            assert_eq!(again, Ok(params.test()), "{query}");
        }
    }
}
