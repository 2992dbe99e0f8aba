//! The integration tests: the real binary, real sockets, a real `iperf3 -s`, a real Prometheus.
//!
//! A scripted fake iperf3 stands in only for what the real one cannot be made to show. What belongs where:
//!
//! - `harness`: starting the binary, servers and fakes; a plain HTTP client; goldens; skips that are counted.
//! - `cli`: flags, `--help`, exit codes, signals, logs.
//! - `real`: probes of a real iperf3 server, in every mode, and failures that the real one can show.
//! - `replaced`: the README examples of the three exporters that this one replaces.
//! - `fixtures`: every recorded run through a fake iperf3, against its golden text.
//! - `limits`: deadlines, periods that are cut, the lock's order and give-ups.
//! - `gate`: connections at one moment, limits, deadlines, shapes of requests, clients that go away.
//! - `front`: the web configuration file: TLS, users, headers, the rate limit, and changes while it runs.
//! - `pki`: certificates of the tests' own, and `curl` with them.
//! - `attacks`: `/health` during each attack on a plain port and on one with TLS and users, and what is left behind.
//! - `fuzz`: random bytes and requests over real connections.
//! - `random`: random input; the unit tests' own file.
//! - `hostile`: query strings, methods, paths and iperf3 binaries of ill will.
//! - `pages`: the page, the own metrics, health, readiness, `/lock-status`.
//! - `prometheus`: a real Prometheus scrapes with the README's configuration, also over TLS; what is shown or shipped as
//!   configuration is checked.
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
mod cli;
mod fixtures;
mod front;
mod fuzz;
mod gate;
mod harness;
mod hostile;
mod limits;
mod pages;
mod pki;
mod prometheus;
#[path = "../../src/fuzz.rs"]
mod random;
mod real;
mod replaced;
mod soak;
mod systemd;
mod tidy;
