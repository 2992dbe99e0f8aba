//! `iperf3-exporter`: a Prometheus exporter that runs iperf3 against a target on each scrape.
//!
//! # The path of a request
//!
//! ```text
//! socket → http (admission, handshake, head, private socket → tiny_http) → web (routes: look up the path)
//!        → toolkit (access: TLS, rate limit, user and password) → web (probe handler, pages)
//!        → probe (parameters, deadline, lock, retry, result cache) → iperf3 (argv, child, report) → metrics (text)
//! ```
//!
//! `web::routes::handle` finds the page, then calls `access.answer`, and runs the page only if the request passes. A
//! refused request is counted under the path of that page.
//!
//! # The rings: layers and their imports
//!
//! `run` builds each ring and hands it what it needs. A ring may import only what this table allows;
//! `tests/it/architecture.rs` reads the `use` lines and enforces it.
//!
//! | ring | may import |
//! |---|---|
//! | main, run, check | everything |
//! | cli | the types that the flags fill, in http, probe, iperf3 and health |
//! | web | access of toolkit; requests, responses and counts of http; probe, metrics, iperf3, utilities |
//! | toolkit | requests, responses and TLS of http; the text writer of metrics, utilities |
//! | http | the text writer of metrics, utilities |
//! | probe | iperf3, the text writer of metrics, utilities |
//! | metrics | iperf3, utilities |
//! | iperf3 | utilities |
//! | systemd | utilities |
//! | health | the TLS response text of http, utilities |
//!
//! # The rooms: which module owns what
//!
//! `.github/CONTRIBUTING.md` lists the steps to add a metric, a parameter, a flag or a page.
//!
//! | room | owns |
//! |---|---|
//! | `main`, `run` | wiring (flags → rings → threads); signals and shutdown; the loop that notifies systemd's watchdog |
//! | `check` | `--config.check`: checks everything that a start needs, without starting |
//! | `exit_error` | an error that ends the program: its line and its exit status |
//! | `cli` | the table of flags: parser, `--help`, defaults |
//! | `health` | `--health`: one request to a running exporter |
//! | `http/front_end`, `service`, `listen` | accepting connections; the state shared by all connections, and refusals; listen addresses |
//! | `http/admission`, `limits` | the connection limit; time limits |
//! | `http/traffic`, `metrics` | the connections and requests of all listeners; counts and metrics of both |
//! | `http/handshake`, `tls`, `client_stream` | protocol detection and failed TLS handshakes; the interface to TLS; the client's bytes under a deadline |
//! | `http/connection`, `head` | one connection: reads heads, writes responses, detects a hang-up; the grammar and size limits of a head |
//! | `http/in_flight`, `pool`, `private_socket`, `backend` | requests in flight; connections to `tiny_http`, its private socket, its worker threads |
//! | `http/request`, `response` | requests and responses as the other rings see them |
//! | `http/self_check` | the watchdog's self-check |
//! | `toolkit/access`, `rate_limit`, `metrics` | the access middleware; the token bucket; the metrics of rejected requests |
//! | `toolkit/config` | the web configuration file: its keys, when it is reloaded, what happens when it is invalid |
//! | `toolkit/auth`, `tls` | users and passwords; certificates, handshakes, and why a handshake fails |
//! | `web/routes` | the table of paths; `web` itself holds what all pages share |
//! | `web/probes`, `answer_text`, `lock_status` | `/probe`, `/run`, `/probes/N` and their status codes; a probe's metrics and debug text; `/lock-status` |
//! | `web/refusals` | refused requests: their log lines, and the latest ones for the first page |
//! | `web/pages`, `csrf` | the HTML pages; the CSRF token of their forms |
//! | `web/metrics` | responses by path and status code |
//! | `probe/prober`, `answer` | the state shared by all probes, and the interface for the web ring; the outcome of a probe |
//! | `probe/params`, `values`, `allow` | the table of parameters (query string → typed values → iperf3's arguments) and refusals; the grammars of values; allowed targets |
//! | `probe/deadline`, `lock` | scrape header, offset and limits → deadlines; the first come, first served test lock |
//! | `probe/wait_error` | why a probe has no result: one sentence for response, log and page |
//! | `probe/single`, `coalesce` | a test for one request or started from the page; a test shared by many requests (`max_age`) |
//! | `probe/retry`, `backoff`, `families` | one test: its waits for the lock, when and on which port a busy server is retried; the pauses between; IPv4 and IPv6 of a name |
//! | `probe/result_cache`, `history`, `budget` | results for later scrapes; the latest probes; the daily byte budget, through which `retry/attempt` stops a running test |
//! | `probe/accounting`, `metrics` | a probe's log lines and counts; the engine's metrics |
//! | `iperf3/run`, `outcome`, `mode`, `target` | one run from specification to outcome, including the failure reason; the direction of the data; hosts |
//! | `iperf3/args`, `binary`, `features`, `process`, `credentials`, `temp` | argv; where iperf3 is and what it can do; a child under a deadline; user and password for the server; the choice of iperf3's temporary folder |
//! | `iperf3/progress` | what a running test has measured so far |
//! | `iperf3/report`, `reason`, `lookup` | JSON → `Report`; failure reasons, and which one an iperf3 error message means; whether a name has an address |
//! | `metrics/compat`, `native` | the tables of a test's metrics: drop-in names, and our own |
//! | `metrics/text`, `process` | the text format; the process metrics |
//! | `systemd` | passed sockets, state notifications, the watchdog interval, journal detection |
//! | `file`, `folders` | reads of bounded length, and change detection; the list of folders for temporary files, and unpredictable names for them |
//! | `log`, `json`, `duration`, `moment`, `number`, `time_text` | how log lines, JSON, durations, times and numbers are written or read |
//! | `sys`, `sync`, `threads`, `cancel`, `permits` | system calls; mutexes; threads; cancellation; permits (how many at a time) |
//!
//! # Invariants: what is absent on purpose
//!
//! - No statics and no global state: `run` hands each ring what it needs.
//! - No shell, and no request value in the position of an option: a parameter's row adds typed arguments to
//!   `iperf3/args`.
//! - No value that iperf3 did not measure: an unknown value is `None`, and its metric is left out. The zeros of a
//!   failed probe are the one exception; `iperf3_up` marks them.
//! - Each third-party crate is named in one file, except rustls (the folder `toolkit/tls`) and `serde_json` (the folder
//!   `iperf3/report`). Only `iperf3/process` starts a process.
//! - Past the router, the time limit of a request is passed as an instant, never as a duration.
//! - No `unwrap`, `panic!`, indexing or `unsafe` outside tests, by `[lints]` in `Cargo.toml`.

use std::io::Write as _;
use std::process::ExitCode;

use crate::cli::Config;
use crate::exit_error::ExitError;

mod cancel;
mod check;
mod cli;
mod duration;
mod exit_error;
mod file;
mod folders;
mod health;
mod http;
mod iperf3;
mod json;
mod log;
mod metrics;
mod moment;
mod number;
mod permits;
mod probe;
mod run;
mod sync;
mod sys;
mod systemd;
mod threads;
mod time_text;
mod toolkit;
mod web;

#[cfg(test)]
mod docs;
#[cfg(test)]
mod fuzz;
#[cfg(feature = "tls")]
#[cfg(test)]
mod openssl;

fn main() -> ExitCode {
    let config = cli::parse(std::env::args_os().skip(1), web::routes::is_taken);
    let done = config.map_err(|why| ExitError::lasting(format_args!("{why}, try --help")));
    done.and_then(start).unwrap_or_else(|failure| {
        let is_journal = systemd::journal::has_stderr();
        let prefix = if is_journal {
            log::Level::Error.journal_prefix()
        } else {
            ""
        };
        let line = failure.line;
        let _ = writeln!(std::io::stderr(), "{prefix}iperf3-exporter: error: {line}");
        ExitCode::from(failure.status)
    })
}

/// Runs the exporter, or the one-shot action that a flag selects (`--help`, `--version`, `--health`, `--config.check`).
fn start(config: Config) -> Result<ExitCode, ExitError> {
    let (text, done) = if let Some(text) = config.print {
        (text, Ok(()))
    } else if let Some(url) = &config.health {
        let failed = |why| ExitError::passing(format_args!("{url}: {why}"));
        (health::ask(url).map_err(failed)?, Ok(()))
    } else if config.check {
        check::check(&config)
    } else {
        return run::run(config);
    };
    // A write error is ignored: the reader has closed its end and needs no more output.
    let _ = std::io::stdout().write_all(text.as_bytes());
    done.map(|()| ExitCode::SUCCESS)
}
