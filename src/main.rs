//! `iperf3-exporter`: a Prometheus exporter that runs iperf3 against a target on each scrape.
//!
//! # The way of a request
//!
//! ```text
//! socket → gate → tiny_http → door → routes → probes → parameters + deadline → test lock → iperf3 process → report → families → text
//! ```
//!
//! # The rooms
//!
//! | room | owns | must not know |
//! |---|---|---|
//! | `main`, `run` | flags → configuration → listeners → threads; signals, the end, exit codes | HTTP, iperf3 |
//! | `state` | the one value that all share: what lives as long as the exporter; its end | what a request is |
//! | `cli` | the table of flags: parser, `--help`, defaults | what a value is used for |
//! | `health` | `--health`: one question to a running exporter | what is behind its health page |
//! | `web/listen` | listen addresses and their sockets | HTTP |
//! | `web/config` | the web configuration file: its words, when it is read, what happens when it breaks | how TLS or a hash is done |
//! | `web/gate` | accepted connections: count, deadlines, TLS or not, where a head ends, relay to `tiny_http`, who hung up | paths, parameters, iperf3 |
//! | `web/server` | the `tiny_http` loop, one worker thread a request, replies | iperf3's JSON |
//! | `web/way` | the socket between gate and server, which nobody else can reach | HTTP |
//! | `web/tls` | certificates, handshakes, bytes through TLS | HTTP, YAML |
//! | `web/door`, `auth`, `rate` | whether a request may go on: order, users, how often | what stands behind a path |
//! | `web/routes` | the table of paths, methods | `tiny_http`, how a value was measured |
//! | `web/reply` | an answer: status code, content type, headers, body | paths, what is behind them |
//! | `web/probes`, `lock_status` | requests for probes and for the lock: status codes, refusals | HTML, how a value was measured |
//! | `web/debug` | a probe's story as text | how a value was measured |
//! | `web/pages` | the pages for people: HTML, escaping, plots, the style | how a value was measured |
//! | `web/key` | what only the own pages' forms know | what a form does |
//! | `web/work`, `web/workers` | how many requests are in work, and on which threads | what a request is |
//! | `probe` | one probe: its stages in order, its outcome | text formats |
//! | `probe/params`, `values`, `target`, `allow` | query string → typed, bounded values; refusals | status codes, processes |
//! | `probe/deadline` | scrape header, offset, limits → instants | everything else |
//! | `probe/lock` | the FIFO test lock | what it protects |
//! | `probe/attempts`, `jitter` | a busy server is tried again: when, and on which port | text formats |
//! | `probe/shared`, `results` | `max_age`: tests that outlive their scrape, results kept for later ones | how a test is run |
//! | `probe/budget` | what a day's tests cost and may cost | flags, metrics |
//! | `probe/records`, `by_hand` | the last probes and those in progress; probes that a person starts | HTML, how a test is run |
//! | `probe/told` | counts and log lines of a probe | how a test is run |
//! | `iperf3/command`, `binary`, `process` | argv; where iperf3 is; a child under a deadline | what iperf3 prints in a test |
//! | `iperf3/features`, `credentials` | what the installed iperf3 can do; who it says that it is | probes |
//! | `iperf3/report`, `reason`, `lookup` | JSON → `Report`: sums, intervals, which counts can be true; why a test failed | Prometheus |
//! | `metrics/probe`, `measured`, `own`, `process` | tables: report and counts → families | processes, sockets |
//! | `metrics/text` | the text format | what a metric means |
//! | `log`, `json`, `duration`, `time_text` | how things are written | what is written |
//! | `systemd` | sockets passed, states told, the watchdog's interval | what they are for |
//! | `signals`, `sys`, `sync`, `threads` | signals; system calls; mutexes; how threads start | what they are for |
//!
//! # Invariants: what is absent
//!
//! - No statics: [`state::State`] is built here and passed down.
//! - No shell, no request value in an option's place: `iperf3/command` builds words from typed values.
//! - No value that iperf3 did not measure: what is not known is `None` and its family is left out; the zeros of a
//!   failed probe are the one exception, and `iperf3_up` tells.
//! - Each third-party crate is named in one file, rustls in the folder `web/tls`, `serde_json` in `iperf3/report`; only `iperf3/process` starts a process.
//! - Past the router time travels as an instant, never as a duration.
//! - No `unwrap`, `panic!`, indexing or `unsafe` outside tests, by `[lints]` in `Cargo.toml`.

use std::io::Write as _;
use std::process::ExitCode;

use crate::cli::{Command, Config};

mod cli;
mod duration;
mod health;
mod iperf3;
mod json;
mod log;
mod metrics;
mod probe;
mod run;
mod signals;
mod state;
mod sync;
mod sys;
mod systemd;
mod threads;
mod time_text;
mod web;

#[cfg(test)]
mod docs;
#[cfg(test)]
mod fuzz;
#[cfg(feature = "tls")]
#[cfg(test)]
mod openssl;

fn main() -> ExitCode {
    let done = match cli::parse(std::env::args_os().skip(1)) {
        Ok(Command::Print(text)) => {
            print(&text);
            Ok(ExitCode::SUCCESS)
        }
        Ok(Command::Run(config)) => start(*config),
        Err(refusal) => Err(format!("{refusal}, try --help")),
    };
    done.unwrap_or_else(|line| {
        let _ = writeln!(std::io::stderr(), "iperf3-exporter: error: {line}");
        ExitCode::FAILURE
    })
}

/// Runs the exporter, or does what takes the place of a run.
fn start(config: Config) -> Result<ExitCode, String> {
    let line = if let Some(url) = &config.health {
        health::ask(url)?
    } else if config.check {
        run::check(&config)?
    } else {
        return run::run(config);
    };
    print(&line);
    Ok(ExitCode::SUCCESS)
}

fn print(text: &str) {
    // A reader that closed its end has seen enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
