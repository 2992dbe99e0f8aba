//! `iperf3-exporter`: a Prometheus exporter that runs iperf3 against a target on each scrape.
//!
//! # The way of a request
//!
//! ```text
//! socket → gate → tiny_http → routes → parameters + deadline → test lock → iperf3 process → report → families → text
//! ```
//!
//! # The rooms
//!
//! | room | owns | must not know |
//! |---|---|---|
//! | `main` | flags → listeners → run; exit codes | HTTP, iperf3 |
//! | `cli` | the table of flags: parser, `--help`, defaults | what a value is used for |
//! | `web/listen` | listen addresses and their sockets | HTTP |
//! | `web/gate` | accepted connections: count, deadlines, where a head ends, relay to `tiny_http`, who hung up | paths, parameters, iperf3 |
//! | `web/server` | the `tiny_http` loop, one worker thread a request, replies | iperf3's JSON |
//! | `web/routes` | the table of paths, status codes | `tiny_http`, how a value was measured |
//! | `web/pages` | HTML | how a value was measured |
//! | `web/work`, `web/workers` | how many requests are in work, and on which threads | what a request is |
//! | `probe` | one probe: its stages in order, its outcome | text formats |
//! | `probe/params`, `values`, `target`, `allow` | query string → typed, bounded values; refusals | status codes, processes |
//! | `probe/deadline` | scrape header, offset, limits → instants | everything else |
//! | `probe/lock` | the FIFO test lock | what it protects |
//! | `iperf3/command`, `binary`, `process` | argv; where iperf3 is; a child under a deadline | what iperf3 prints |
//! | `iperf3/report`, `udp`, `reason`, `lookup` | JSON → `Report`; which counts can be true; why a test failed | Prometheus |
//! | `metrics/probe`, `own`, `process` | tables: report and counts → families | processes, sockets |
//! | `metrics/text` | the text format | what a metric means |
//! | `log`, `json`, `duration`, `time_text` | how things are written | what is written |
//! | `signals`, `sys`, `sync` | signals; system calls; mutexes | what they are for |
//!
//! # Invariants: what is absent
//!
//! - No statics: [`state::State`] is built here and passed down.
//! - No shell, no request value in an option's place: `iperf3/command` builds words from typed values.
//! - No value that iperf3 did not measure: what is not known is `None` and its family is left out; the zeros of a
//!   failed probe are the one exception, and `iperf3_up` tells.
//! - Each third-party crate is named in one file; only `iperf3/process` starts a process.
//! - Past the router time travels as an instant, never as a duration.
//! - No `unwrap`, `panic!`, indexing or `unsafe` outside tests, by `[lints]` in `Cargo.toml`.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::{Command, Config};
use crate::log::Log;
use crate::signals::EndSignals;
use crate::state::State;

mod cli;
mod duration;
mod iperf3;
mod json;
mod log;
mod metrics;
mod probe;
mod signals;
mod state;
mod sync;
mod sys;
mod time_text;
mod web;

#[cfg(test)]
mod docs;

/// A stack for threads that only wait and pass on.
const STACK_BYTES: usize = 256 * 1024;

/// How long the end may take: iperf3 has its half second after SIGTERM, and the answers are short.
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(1500);

fn main() -> ExitCode {
    match cli::parse(std::env::args_os().skip(1)) {
        Ok(Command::Print(text)) => {
            // A reader that closed its end has seen enough.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Ok(Command::Run(config)) => run(*config),
        Err(refusal) => complain(&format!("{refusal}, try --help")),
    }
}

/// The one line of a start that failed.
fn complain(line: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "iperf3-exporter: error: {line}");
    ExitCode::FAILURE
}

/// What ends the run.
enum End {
    Signal,
    LoopStopped(std::io::Error),
}

fn run(config: Config) -> ExitCode {
    // First of all, so that a signal during the start is not lost.
    let signals = match EndSignals::register() {
        Ok(signals) => signals,
        Err(error) => return complain(&format!("cannot handle signals: {error}")),
    };
    let mut listeners = Vec::new();
    for address in &config.listen {
        match address.bind() {
            Ok(sockets) => listeners.extend(sockets),
            Err(error) => return complain(&format!("cannot listen on `{address}`: {error}")),
        }
    }
    let state = Arc::new(State::new(config, sys::raise_descriptor_limit()));
    let (sender, ends) = mpsc::channel();
    let server = match web::server::bind() {
        Ok(server) => server,
        Err(error) => return complain(&format!("cannot listen on the loopback address: {error}")),
    };
    let gone = sender.clone();
    let gate = web::gate::Gate::new(Arc::clone(&state), server.address, move |error| {
        // Fails only when `main` has ended already.
        let _ = gone.send(End::LoopStopped(error));
    });
    let gate = Arc::new(gate);
    let server_state = Arc::clone(&state);
    let spawned = spawn("server", &sender, move || {
        let Err(error) = server.serve(&server_state);
        End::LoopStopped(error)
    });
    if let Err(error) = spawned {
        return complain(&format!("cannot start a thread: {error}"));
    }
    if let Err(error) = gate.try_way() {
        return complain(&format!("cannot reach the loopback address: {error}"));
    }
    for listener in listeners {
        if let Ok(address) = listener.local_addr() {
            state.log.info("listening", &[("address", &address)]);
        }
        let gate = Arc::clone(&gate);
        let spawned = spawn("accept", &sender, move || gate.accept(&listener));
        if let Err(error) = spawned {
            return complain(&format!("cannot start a thread: {error}"));
        }
    }
    let spawned = spawn("signals", &sender, || match signals.wait() {
        Ok(()) => End::Signal,
        Err(error) => End::LoopStopped(error),
    });
    if let Err(error) = spawned {
        return complain(&format!("cannot start a thread: {error}"));
    }
    let reporting = Arc::clone(&state);
    // On a thread of its own: a binary that hangs does not keep a signal waiting. Without the thread the log lacks
    // a line, and nothing else.
    let _ = thread::Builder::new()
        .name("iperf3".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || report_iperf3(&reporting));
    wait_for_end(&ends, &state)
}

/// Starts a thread whose result ends the run.
fn spawn(
    name: &str,
    sender: &Sender<End>,
    body: impl FnOnce() -> End + Send + 'static,
) -> std::io::Result<()> {
    let sender = sender.clone();
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            // Fails only when `main` has ended already.
            let _ = sender.send(body());
        })
        .map(drop)
}

/// Says what iperf3 there is. After the listeners: the first answer need not wait for it.
fn report_iperf3(state: &State) {
    match state.binary.version() {
        Ok(version) => match state.binary.find() {
            Ok(path) => state.log.info(
                "iperf3 found",
                &[("path", &path.display()), ("version", &version)],
            ),
            Err(unusable) => warn_unusable(&state.log, &unusable),
        },
        Err(unusable) => warn_unusable(&state.log, &unusable),
    }
}

fn warn_unusable(log: &Log, unusable: &iperf3::binary::Unusable) {
    log.warn(
        "no usable iperf3, probes will fail until there is one",
        &[("error", unusable)],
    );
}

fn wait_for_end(ends: &mpsc::Receiver<End>, state: &State) -> ExitCode {
    match ends.recv() {
        Ok(End::Signal) => {
            state.log.info("shutting down", &[]);
            state.shut_down(Instant::now() + SHUTDOWN_LIMIT);
            ExitCode::SUCCESS
        }
        Ok(End::LoopStopped(error)) => {
            state.log.error("the server stopped", &[("error", &error)]);
            ExitCode::FAILURE
        }
        Err(error) => {
            state.log.error("every thread ended", &[("error", &error)]);
            ExitCode::FAILURE
        }
    }
}
