//! The integration tests: the real binary, real sockets, a real `iperf3 -s`, a real Prometheus.
//!
//! A scripted fake iperf3 stands in only for what the real one cannot be made to show. What belongs where:
//!
//! - `harness`: starting the binary, servers and fakes; a plain HTTP client; goldens; skips that are counted.
//! - `cli`: flags, `--help`, exit codes, signals, logs.
//! - `real`: probes of a real iperf3 server, in every mode, and failures that the real one can show.
//! - `parameters`: each rarer parameter through the real iperf3, and what the installed iperf3 cannot do.
//! - `odd_output`: what a scripted iperf3 prints in odd ways, and the reason or the report that comes of it.
//! - `credentials`: a real iperf3 server with users, and what is never seen of a password.
//! - `compat`: the README examples of the three exporters that this one replaces.
//! - `fixtures`: every recorded run through a fake iperf3, against its golden text.
//! - `manual`: probes that a person starts from the page, and stops.
//! - `html`: what every page has to be, and how it is compared with a golden.
//! - `limits`: deadlines, periods that are cut, the lock's order and give-ups.
//! - `front_end`: connections at one moment, limits, deadlines, shapes of requests, clients that go away.
//! - `web_config`: the web configuration file: TLS, users, headers, the rate limit, and changes while it runs.
//! - `openssl`: how certificates are made; the unit tests' own file.
//! - `pki`: certificates and a password's hash of the tests' own, and `curl` with them.
//! - `architecture`: the rings of `src/main.rs`: who may import whom.
//! - `retry`: a busy server is tried again, also on its other ports.
//! - `man_page`: the manual page and the shells' completions.
//! - `mesh`: hosts that all measure to each other: the targets that `contrib/iperf3-mesh.sh` makes.
//! - `documentation`: the README and the pages of `contrib/docs`: their size, their links, what they name.
//! - `max_age`: one test for many scrapes, tests that outlive their scrape, what is kept.
//! - `browser`: the pages in a real Chromium: keyboard, screens, contrast, what a screen reader is told.
//! - `budget`: the day's bytes.
//! - `chromium`: how that Chromium is driven.
//! - `cut_off`: tests that are cut off, also by the day's budget: what is kept, counted and shown of them.
//! - `dashboard`: the Grafana dashboard and the alerts, in a real Prometheus.
//! - `debug`: the story of a probe as text.
//! - `demo`: `make demo`, one probe on this machine.
//! - `demo_fleet`: `make demo-fleet`, which is the shipped configuration from end to end.
//! - `attacks`: `/health` during each attack on a plain port and on one with TLS and users, and what is left behind.
//! - `namespace`: network namespaces, and what runs within them; the bench uses it too.
//! - `netem`: a way over a router that shapes, drops and counts.
//! - `forms`: the two forms of what iperf3 prints, each made from the other.
//! - `observed`: an exporter whose real iperf3 tells what it was asked and what it said.
//! - `goodput`: the reported goodput against the path's rate, over each pair of iperf3 versions.
//! - `loss`: the reported datagrams against the path's own counters, over each pair of iperf3 versions.
//! - `family`: names with addresses of both versions of IP, of which one is dead.
//! - `fleet`: many exporters and few servers.
//! - `fuzz`: random bytes and requests over real connections.
//! - `random`: random input; the unit tests' own file.
//! - `health`: `--health=URL`, asked of exporters and of other servers.
//! - `malformed`: query strings, methods, paths and iperf3 binaries of ill will.
//! - `targets`: the state of the network on the first page, and how that is kept up to date.
//! - `pages`: the page, the own metrics, health, readiness, `/lock-status`.
//! - `refusals`: what a refused request leaves in the log and on the page.
//! - `prometheus`: a real Prometheus scrapes with the documentation's configuration, also over TLS; what is shown or shipped as
//!   configuration is checked.
//! - `publication`: where the project is published, which one line says.
//! - `prose`: plain English in the texts that users read: words that give a bad sentence away, and its length.
//! - `release`: what goes into a release besides the code: others' crates, their licences; what is installed.
//! - `rules`: the recording rules and alerts; the rules, families and queries that the documentation names.
//! - `fixture_exporter`: an exporter with probes of every kind behind it, for the pages.
//! - `siege`: the table of attacks, and what attackers need; the bench uses it too.
//! - `soak`: many probes, and nothing grows.
//! - `compose`: the compose stack of `contrib/compose`, as compose reads it and in a real Docker engine.
//! - `docker`: the container of `contrib/`, in a real Docker engine.
//! - `openwrt`: the service and the package of `contrib/openwrt/`, under busybox's shell.
//! - `kubernetes`: the resources of `contrib/kubernetes/`, as kubectl builds them.
//! - `systemd`: what the service manager is told, and the sockets that it passes.
//! - `temp_folder`: iperf3's temporary files where the usual folder has no room, or cannot be written.
//! - `tidy`: what this repository promises about itself.
//! - `workflows`: `.github/workflows/`, and what make does only for a release.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::print_stderr,
    // Counts are whole numbers, which are exact.
    clippy::float_cmp,
    // Speed is no matter here.
    clippy::format_push_string,
    // The harness' functions are for the modules beside it.
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
