//! The integration tests: the real binary, real sockets, a real `iperf3 -s`, a real Prometheus.
//!
//! A scripted fake iperf3 stands in only for what the real one cannot be made to show. What belongs where:
//!
//! - `harness`: starting the binary, servers and fakes; a plain HTTP client; goldens; skips that are counted.
//! - `cli`: flags, `--help`, exit codes, signals, logs.
//! - `real`: probes of a real iperf3 server, in every mode, and failures that the real one can show.
//! - `parameters`: each rarer parameter through the real iperf3, and what the installed iperf3 cannot do.
//! - `credentials`: a real iperf3 server with users, and what is never seen of a password.
//! - `replaced`: the README examples of the three exporters that this one replaces.
//! - `fixtures`: every recorded run through a fake iperf3, against its golden text.
//! - `limits`: deadlines, periods that are cut, the lock's order and give-ups.
//! - `gate`: connections at one moment, limits, deadlines, shapes of requests, clients that go away.
//! - `front`: the web configuration file: TLS, users, headers, the rate limit, and changes while it runs.
//! - `pki`: certificates of the tests' own, and `curl` with them.
//! - `attempts`: a busy server is tried again, also on its other ports.
//! - `max_age`: one test for many scrapes, tests that outlive their scrape, what is kept.
//! - `budget`: the day's bytes.
//! - `debug`: the story of a probe as text.
//! - `attacks`: `/health` during each attack on a plain port and on one with TLS and users, and what is left behind.
//! - `namespace`: network namespaces, and what runs within them; the bench uses it too.
//! - `path`: a way over a router that shapes, drops and counts.
//! - `goodput`: the reported goodput against the path's rate, over each pair of iperf3 versions.
//! - `loss`: the reported datagrams against the path's own counters, over each pair of iperf3 versions.
//! - `fleet`: many exporters and few servers.
//! - `fuzz`: random bytes and requests over real connections.
//! - `random`: random input; the unit tests' own file.
//! - `hostile`: query strings, methods, paths and iperf3 binaries of ill will.
//! - `pages`: the page, the own metrics, health, readiness, `/lock-status`.
//! - `prometheus`: a real Prometheus scrapes with the README's configuration, also over TLS; what is shown or shipped as
//!   configuration is checked.
//! - `rules`: the recording rules; the rules, families and queries that the README names.
//! - `soak`: a thousand probes, and nothing grows.
//! - `systemd`: what the service manager is told, and the sockets that it passes.
//! - `tidy`: what this repository promises about itself.

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

mod attacks;
mod attempts;
mod budget;
mod cli;
mod credentials;
mod debug;
mod fixtures;
mod fleet;
mod front;
mod fuzz;
mod gate;
mod goodput;
mod harness;
mod hostile;
mod limits;
mod loss;
mod max_age;
mod namespace;
mod pages;
mod parameters;
mod path;
mod pki;
mod prometheus;
#[path = "../../src/fuzz.rs"]
mod random;
mod real;
mod replaced;
mod rules;
mod soak;
mod systemd;
mod tidy;
