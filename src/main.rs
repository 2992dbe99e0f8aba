//! `iperf3-exporter`: a Prometheus exporter that runs iperf3 against a target on each scrape.
//!
//! # The way of a request
//!
//! ```text
//! socket → http (admission, handshake, head, private socket → tiny_http) → web (routes: the path is looked up)
//!        → toolkit (access: TLS user, password, rate) → web (probe handler, pages)
//!        → probe (parameters, deadline, lock, retry, result cache) → iperf3 (argv, child, report) → metrics (text)
//! ```
//!
//! `web::routes::handle` calls `access.answer` before the page that it found does anything, and counts what that refuses
//! under the page's path.
//!
//! # The rings
//!
//! Each is built in `run`, is handed what it needs, and knows only what stands below it; `tests/it/architecture.rs` reads
//! the `use` lines and holds this.
//!
//! | ring | may import |
//! |---|---|
//! | main, run, check | everything |
//! | cli | what the flags fill: types of http, probe, iperf3, health |
//! | web | access of toolkit; requests, responses and counts of http; probe, metrics, iperf3, utilities |
//! | toolkit | requests, responses and TLS of http; the text writer of metrics, utilities |
//! | http | the text writer of metrics, utilities |
//! | probe | iperf3, the text writer of metrics, utilities |
//! | metrics | iperf3, utilities |
//! | iperf3 | utilities |
//! | systemd | utilities |
//! | health | the TLS answer of http, utilities |
//!
//! # The rooms: where a change goes
//!
//! `.github/CONTRIBUTING.md` has the steps for a new metric, parameter, flag or page.
//!
//! | room | owns |
//! |---|---|
//! | `main`, `run` | wiring: flags → rings → threads; signals, the end |
//! | `check` | `--config.check`: what a start needs, looked at without a start |
//! | `exit_error` | what ends the program early: its line, and which exit status it has |
//! | `cli` | the table of flags: parser, `--help`, defaults |
//! | `health` | `--health`: one question to a running exporter |
//! | `http/front_end`, `service`, `listen` | accepting connections; what serving one takes, and what is refused; listen addresses |
//! | `http/admission`, `limits`, `traffic` | how many connections and requests there may be, for how long; why a connection ended; the families of both |
//! | `http/handshake`, `tls`, `client_stream` | which protocol a client speaks, and what follows when its TLS handshake fails; what is asked of TLS; its bytes under a deadline |
//! | `http/connection`, `head` | one connection: heads in, answers out; where a head is limited; a client that hangs up |
//! | `http/in_flight`, `pool`, `private_socket`, `backend` | requests that are not answered yet; the way to `tiny_http`, and its worker threads |
//! | `http/request`, `response` | what the other rings see of a request, and give back |
//! | `http/self_check` | the watchdog's question |
//! | `toolkit/access`, `rate_limit`, `metrics` | the middleware: may this request go on; the families of refusals |
//! | `toolkit/config` | the web configuration file: its words, when it is read, what happens when it breaks |
//! | `toolkit/auth`, `tls` | users and passwords; certificates and handshakes, and why one fails |
//! | `web/routes` | the table of paths; what all pages share is in `web` itself |
//! | `web/probes`, `answer_text`, `lock_status` | `/probe`, `/run`, `/probes/N`: status codes; a probe's metrics, its details as text; `/lock-status` |
//! | `web/refusals` | the trace of what was refused: its line in the log, the last ones for the first page |
//! | `web/pages`, `csrf` | the pages for people; the token of their forms |
//! | `web/metrics` | answered requests by path and code |
//! | `probe/prober`, `answer` | what all probes share, and what the web ring may ask of it; what comes of a probe |
//! | `probe/params`, `values`, `allow` | the table of parameters: query string → typed values → iperf3's arguments; refusals; allowed targets |
//! | `probe/deadline`, `lock` | scrape header, offset, limits → instants; the first come, first served test lock |
//! | `probe/wait_error` | why a probe has no result: one sentence for answer, log and page |
//! | `probe/single`, `coalesce` | a test for one request or for a person, for many requests (`max_age`) |
//! | `probe/retry`, `backoff`, `families` | one test: how long it waits for the lock, when and on which port a busy server is tried again; the versions of IP of a name |
//! | `probe/result_cache`, `history`, `budget` | results for later scrapes; the last probes; bytes of a day |
//! | `probe/accounting`, `metrics` | log lines and counts of a probe; the engine's families |
//! | `iperf3/run`, `outcome`, `mode`, `target` | one run from specification to outcome, where a failure gets its reason; hosts |
//! | `iperf3/args`, `binary`, `features`, `process`, `credentials`, `temp` | argv; where iperf3 is and what it can do; a child under a deadline; its user and password; its temporary files |
//! | `iperf3/progress` | what a test has measured so far, while it runs |
//! | `iperf3/report`, `reason`, `lookup` | JSON → `Report`; the reasons, and which one an error message of iperf3 means; whether a name has an address |
//! | `metrics/compat`, `native` | the tables of a test's families: drop-in names, and our own |
//! | `metrics/text`, `process` | the text format; the families of the process |
//! | `systemd` | sockets passed, states told, the watchdog's interval, the journal |
//! | `file`, `folders` | files of bounded length, and whether one has changed; folders for temporary files |
//! | `log`, `json`, `duration`, `moment`, `number`, `time_text` | how things are written, and when they happened |
//! | `sys`, `sync`, `threads`, `cancel`, `permits` | system calls; mutexes; threads; cancellation; limits on how many |
//!
//! # Invariants: what is absent
//!
//! - No statics and no value that everyone shares: what a ring needs is handed to it in `run`.
//! - No shell, no request value in an option's place: a parameter's row adds typed arguments to `iperf3/args`.
//! - No value that iperf3 did not measure: what is not known is `None` and its family is left out; the zeros of a
//!   failed probe are the one exception, and `iperf3_up` tells.
//! - Each third-party crate is named in one file, rustls in the folder `toolkit/tls`, `serde_json` in `iperf3/report`;
//!   only `iperf3/process` starts a process.
//! - Past the router time travels as an instant, never as a duration.
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
    let done = config.map_err(|refusal| ExitError::lasting(format!("{refusal}, try --help")));
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

/// Runs the exporter, or does what takes the place of a run.
fn start(config: Config) -> Result<ExitCode, ExitError> {
    let (text, done) = if let Some(text) = config.print {
        (text, Ok(()))
    } else if let Some(url) = &config.health {
        (health::ask(url)?, Ok(()))
    } else if config.check {
        check::check(&config)
    } else {
        return run::run(config);
    };
    // A reader that closed its end has seen enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
    done.map(|()| ExitCode::SUCCESS)
}
