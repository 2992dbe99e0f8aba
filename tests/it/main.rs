//! The integration tests: the real binary, real sockets, a real `iperf3 -s`, a real Prometheus.
//!
//! A scripted fake iperf3 is used only for what the real one cannot be made to show. What belongs where:
//!
//! - `harness`: starting the binary, servers and fakes; a plain HTTP client; goldens; skips that are counted.
//! - `cli`: flags, `--help`, exit codes, signals, logs.
//! - `real`: probes of a real iperf3 server, in every mode, and failures that the real one can show.
//! - `parameters`: each rarer parameter through the real iperf3, and what the installed iperf3 does not support.
//! - `odd_output`: odd output of a scripted iperf3, and the reason or report that results.
//! - `credentials`: a real iperf3 server with users; the password never leaks.
//! - `compat`: the README examples of the three exporters that this one replaces.
//! - `fixtures`: every recorded run through a fake iperf3, against its golden text.
//! - `manual`: probes that a person starts and stops from the page.
//! - `html`: rules that every page must meet, and how a page is compared with its golden.
//! - `limits`: deadlines, shortened periods, the order of the lock and its wait limits.
//! - `front_end`: simultaneous connections, limits, deadlines, forms of requests, clients that disconnect.
//! - `web_config`: the web configuration file: TLS, users, headers, the rate limit, reloading.
//! - `openssl`: makes certificates; this file belongs to the unit tests.
//! - `pki`: the tests' certificates and password hash, and `curl` with them.
//! - `architecture`: the rings of `src/main.rs`: which ring may import which.
//! - `retry`: a busy server is tried again, also on its other ports.
//! - `man_page`: the man page and the shells' completions.
//! - `mesh`: hosts that all measure to each other: the targets that `contrib/iperf3-mesh.sh` makes.
//! - `documentation`: the README and the pages of `contrib/docs`: their size, their links, the names that they use.
//! - `max_age`: one test for many scrapes, tests that outlast their scrape, kept results.
//! - `browser`: the pages in a real Chromium: keyboard, screens, contrast, the accessibility tree.
//! - `budget`: the daily byte budget.
//! - `chromium`: how the tests drive Chromium.
//! - `cut_off`: tests that are cut off, also by the daily budget: what is kept, counted and shown.
//! - `dashboard`: the Grafana dashboard and the alerts, in a real Prometheus.
//! - `debug`: the text of `debug=true`.
//! - `demo`: `make demo`, one probe on this machine.
//! - `demo_fleet`: `make demo-fleet`: the shipped configuration from end to end.
//! - `attacks`: `/health` during each attack, on a plain port and on one with TLS and users, and what an attack leaves.
//! - `namespace`: network namespaces and what runs in them; the bench uses it too.
//! - `netem`: a path over a router that shapes, drops and counts.
//! - `forms`: the two output forms of iperf3, each converted into the other.
//! - `observed`: an exporter whose real iperf3 also leaves its command line and its output for the test.
//! - `goodput`: the reported goodput against the path's rate, over each pair of iperf3 versions.
//! - `loss`: the reported datagrams against the path's own counters, over each pair of iperf3 versions.
//! - `family`: names with one IPv4 and one IPv6 address, one of them dead.
//! - `fleet`: many exporters and few servers.
//! - `fuzz`: random bytes and requests over real connections.
//! - `random`: random input; the unit tests' own file.
//! - `health`: `--health=URL` against exporters and other servers.
//! - `malformed`: malformed query strings, methods and paths, and hostile iperf3 binaries.
//! - `targets`: the state of the network on the home page, and how the page is kept up to date.
//! - `pages`: the pages, the exporter's own metrics, `/health`, `/ready`, `/lock-status`.
//! - `refusals`: what a refused request leaves in the log and on the page.
//! - `prometheus`: a real Prometheus scrapes with the documented configuration, also over TLS; it checks every
//!   configuration that is shown or shipped.
//! - `publication`: the only line that names where the project is published.
//! - `prose`: plain English in the texts that users read: telltale words and the length of sentences.
//! - `release`: what a release contains besides the code: other projects' crates and licences, the installed files.
//! - `rules`: the recording rules and alerts, and the rules, families and queries that the documentation names.
//! - `fixture_exporter`: an exporter with probes of every kind, for the tests of the pages.
//! - `siege`: the table of attacks and the tools for them; the bench uses it too.
//! - `soak`: many probes; no resource grows.
//! - `compose`: the compose stack of `contrib/compose`, as compose reads it and in a real Docker engine.
//! - `docker`: the container of `contrib/` in a real Docker engine.
//! - `openwrt`: the service and the package of `contrib/openwrt/`, under busybox's shell.
//! - `kubernetes`: the resources of `contrib/kubernetes/`, as kubectl builds them.
//! - `systemd`: messages to the service manager, and the sockets that it passes.
//! - `temp_folder`: iperf3's temporary files when the usual folder is full or read-only.
//! - `tidy`: the rules that this repository sets for itself.
//! - `workflows`: `.github/workflows/`, and the make targets that only a release uses.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::print_stderr,
    // Counts are whole numbers, which floats hold exactly.
    clippy::float_cmp,
    // Tests do not need this speed.
    clippy::format_push_string,
    // The modules beside the harness use its functions.
    unreachable_pub
)]

mod architecture;
mod attacks;
mod browser;
mod budget;
mod chromium;
mod cli;
mod compat;
mod compose;
mod credentials;
mod cut_off;
mod dashboard;
mod debug;
mod demo;
mod demo_fleet;
mod docker;
mod documentation;
mod family;
mod fixture_exporter;
mod fixtures;
mod fleet;
mod forms;
mod front_end;
mod fuzz;
mod goodput;
mod harness;
mod health;
mod html;
mod kubernetes;
mod limits;
mod loss;
mod malformed;
mod man_page;
mod manual;
mod max_age;
mod mesh;
mod namespace;
mod netem;
mod observed;
mod odd_output;
#[path = "../../src/openssl.rs"]
mod openssl;
mod openwrt;
mod pages;
mod parameters;
mod pki;
mod prometheus;
mod prose;
mod publication;
#[path = "../../src/fuzz.rs"]
mod random;
mod real;
mod refusals;
mod release;
mod retry;
mod rules;
mod siege;
mod soak;
mod systemd;
mod targets;
mod temp_folder;
mod tidy;
mod web_config;
mod workflows;
