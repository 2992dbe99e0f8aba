//! `make bench`: the exporter's speed and size as one table, beside the Go exporter's figures and the aims.
//!
//! It measures the real binary from outside, over loopback only, in about ten minutes. `BENCH_ARGS=--quick` takes
//! three; `--only=WORD` measures only the figures whose announcement contains the word. `BENCH_BINARY` names another
//! binary, such as the one that `make static` built. A bench is no test: it fails when something cannot be started or
//! responds wrongly, never because of a number.
//!
//! - `figures`: the list of figures, and the comparison of two things.
//! - `probes`, `service`, `front_end`: the measurement of each figure, with the Go exporter's and the aim.
//! - `streaming`: the same for an iperf3 that streams its intervals.
//! - `attacks`: `/health` while the exporter is under attack (`siege` and `random` belong to the tests).
//! - `fleet`: many exporters at one server, in network namespaces (`namespace` belongs to the tests).
//! - `exporter`: the measured programs, `/proc`.
//! - `client`, `load`, `tls`: an HTTP client, plain or over TLS; many requests; bare servers for comparison;
//!   certificates.
//! - `openssl`: makes certificates; this file belongs to the unit tests.
//! - `elf`: the kind of binary.
//! - `table`: the output.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use self::elf::Binary;
use self::exporter::TempDir;
use self::figures::{Counts, FIGURES, FULL, QUICK, Setting};
use self::tls::Tls;

mod attacks;
mod client;
mod elf;
mod exporter;
mod figures;
mod fleet;
mod front_end;
mod load;
#[path = "../it/namespace.rs"]
#[expect(dead_code, reason = "the tests make routers, too")]
mod namespace;
#[path = "../../src/openssl.rs"]
mod openssl;
mod probes;
#[path = "../../src/fuzz.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a file of the tests'"
)]
mod random;
mod service;
#[path = "../it/siege.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a file of the tests'; where it panics the exporter has answered wrongly, which ends the bench"
)]
mod siege;
mod streaming;
mod table;
mod tls;

/// Names the binary to measure.
const BINARY_VARIABLE: &str = "BENCH_BINARY";

fn main() -> ExitCode {
    if exporter::acted_as_stub() {
        return ExitCode::SUCCESS;
    }
    let result = Options::read().and_then(bench);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "bench: error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The command line.
struct Options {
    counts: Counts,
    /// A word of the wanted figures; the empty word selects all.
    only: String,
}

impl Options {
    fn read() -> Result<Self, String> {
        let mut options = Self {
            counts: FULL,
            only: String::new(),
        };
        for word in env::args().skip(1) {
            match word.split_once('=').unwrap_or((&word, "")) {
                // Cargo passes this to every bench.
                ("--bench", "") => {}
                ("--quick", "") => options.counts = QUICK,
                ("--only", only) => only.clone_into(&mut options.only),
                _ => {
                    return Err(format!(
                        "unknown argument `{word}`; there are `--quick` and `--only=WORD`"
                    ));
                }
            }
        }
        Ok(options)
    }
}

fn bench(options: Options) -> Result<(), String> {
    let begin = Instant::now();
    let (binary, chosen_by) = match env::var_os(BINARY_VARIABLE) {
        Some(path) => (PathBuf::from(path), BINARY_VARIABLE),
        None => (
            PathBuf::from(env!("CARGO_BIN_EXE_iperf3-exporter")),
            "cargo",
        ),
    };
    // A path with a slash is not looked up on PATH.
    let binary = binary
        .canonicalize()
        .map_err(|error| format!("cannot find `{}`: {error}", binary.display()))?;
    let kind = Binary::read(&binary)?;
    say(&format!("binary: {kind}; named by {chosen_by}"))?;
    say(&load("before"))?;
    let folder = TempDir::new()?;
    let stub = exporter::make_stub(&folder)?;
    let tls = match Tls::of(&binary, &folder)? {
        Ok(tls) => Some(tls),
        Err(refusal) => {
            say(&format!("no figures of TLS: {refusal}"))?;
            None
        }
    };
    let setting = Setting {
        binary: &binary,
        folder: &folder,
        stub: &stub,
        tls: tls.as_ref(),
        counts: options.counts,
    };
    let wanted: Vec<_> = FIGURES
        .iter()
        .filter(|(what, _)| what.contains(&options.only))
        .collect();
    let wants_attacks = attacks::WHAT.contains(&options.only);
    if wanted.is_empty() && !wants_attacks {
        return Err(format!("no figure is about `{}`", options.only));
    }
    let mut rows = Vec::new();
    for (what, figure) in wanted {
        say(&format!("measuring {what} ..."))?;
        rows.extend(figure(&setting)?);
    }
    let mut under_attack = None;
    if wants_attacks {
        say(&format!("measuring {} ...", attacks::WHAT))?;
        under_attack = Some(attacks::section(&setting)?);
    }
    if !rows.is_empty() {
        let mut text = Vec::new();
        table::write(&mut text, &rows).map_err(|error| error.to_string())?;
        say("")?;
        say(&String::from_utf8_lossy(&text))?;
    }
    if let Some(text) = under_attack {
        say(&format!("\n{text}\n"))?;
    }
    say(&load("after"))?;
    say(&format!(
        "Go's numbers were measured on another machine with 2 processors, and are constants here; this one has {}. \
         What was measured here is medians of one run of {:.0} s: its ratios can be compared, its times only \
         within this run.",
        processors(),
        begin.elapsed().as_secs_f64(),
    ))
}

/// The load of the machine: before the bench by other programs, afterwards by the bench too.
fn load(when: &str) -> String {
    let averages = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let minute = averages.split(' ').next().unwrap_or_default();
    format!("load average of a minute {when}: {minute}")
}

fn processors() -> String {
    std::thread::available_parallelism().map_or("an unknown number".to_owned(), |n| n.to_string())
}

fn say(line: &str) -> Result<(), String> {
    writeln!(io::stdout(), "{line}").map_err(|error| format!("cannot print: {error}"))
}
