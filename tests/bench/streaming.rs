//! The figures of an iperf3 that streams its intervals: the cost of reading them, and the effect on the rate.
//!
//! The installed one may be too old. So these figures use the newer one that `make test-all` downloads: once as it is,
//! and once in a wrapper that hides its options, so that it is run with `-J`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use crate::exporter::{Exporter, Iperf3Server};
use crate::figures::{Setting, alternate};
use crate::probes::{self, BETWEEN_TESTS};
use crate::table::{Aim, Row, Samples, Unit};

pub(crate) fn streaming(setting: &Setting<'_>) -> Result<Vec<Row>, String> {
    let Some(iperf3) = newer_iperf3()? else {
        return Ok(Vec::new());
    };
    let silent = silent(&iperf3, setting)?;
    Ok(vec![
        cpu(setting, &iperf3, &silent)?,
        rate(setting, &iperf3)?,
    ])
}

/// An iperf3 that streams; `None` where it was not downloaded.
fn newer_iperf3() -> Result<Option<PathBuf>, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/newer-iperf3.sh");
    let output = Command::new("sh")
        .arg(&script)
        .arg("--cached")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run `{}`: {error}", script.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let path = PathBuf::from(said.trim_end());
    if !output.status.success() {
        crate::say(&String::from_utf8_lossy(&output.stderr))?;
    }
    Ok(output.status.success().then_some(path))
}

/// A wrapper that reports no options.
fn silent(iperf3: &Path, setting: &Setting<'_>) -> Result<PathBuf, String> {
    let wrapper = setting.folder.path().join("iperf3-without-help");
    let text = format!(
        "#!/bin/sh\n[ \"$1\" = --help ] || exec '{}' \"$@\"\n",
        iperf3.display()
    );
    fs::write(&wrapper, text)
        .and_then(|()| fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)))
        .map_err(|error| format!("cannot write `{}`: {error}", wrapper.display()))?;
    Ok(wrapper)
}

/// The exporter's own processor time during a test.
fn cpu(setting: &Setting<'_>, iperf3: &Path, silent: &Path) -> Result<Row, String> {
    const SECONDS: u32 = 10;
    let server = Iperf3Server::of(iperf3)?;
    let of = |iperf3: &Path, load: &str| {
        let exporter = Exporter::start(setting.binary, iperf3, setting.folder)?;
        let mut client = exporter.client()?;
        let test = format!("/probe?target=127.0.0.1&port={}{load}", server.port);
        // The cost of the start is no part of a test.
        probes::probe(&mut client, &format!("{test}&bytes=1M"))?;
        let path = format!("{test}&period={SECONDS}s");
        let mut tests = Samples::default();
        for _ in 0..setting.counts.streamed_tests {
            thread::sleep(BETWEEN_TESTS);
            let before = exporter.time_of_threads()?;
            probes::probe(&mut client, &path)?;
            let spent = exporter.time_of_threads()?.saturating_sub(before);
            tests.add(spent.as_secs_f64() * 1e3 / f64::from(SECONDS));
        }
        Ok::<_, String>(tests)
    };
    let (streamed, whole) = (of(iperf3, "")?, of(silent, "")?);
    let many = of(iperf3, "&parallel=128&bitrate=1M")?;
    Ok(Row {
        figure: "the exporter's own CPU while iperf3 streams, a second",
        unit: Unit::Milliseconds,
        measured: streamed.median(),
        go: None,
        aim: Aim::AtMost(2.0),
        note: format!(
            "the median of {} tests of {SECONDS} s without a limit, {} ms; the same iperf3 with -J {} ms; \
             streaming 128 streams of 1 Mbit/s {} ms",
            streamed.len(),
            streamed.range(),
            whole.range(),
            many.range(),
        ),
    })
}

/// Pairs of tests of two intervals: one under the exporter, streaming, and a bare one with `-J`.
fn rate(setting: &Setting<'_>, iperf3: &Path) -> Result<Row, String> {
    const SECONDS: &str = "2";
    let server = Iperf3Server::of(iperf3)?;
    let exporter = Exporter::start(setting.binary, iperf3, setting.folder)?;
    let mut client = exporter.client()?;
    let port = server.port.to_string();
    let path = format!("/probe?target=127.0.0.1&port={port}&period={SECONDS}");
    let words = ["-J", "-c", "127.0.0.1", "-p", &port, "-t", SECONDS];
    let (mut probed, mut bares) = (Samples::default(), Samples::default());
    alternate(
        setting.counts.streamed_pairs,
        || {
            thread::sleep(BETWEEN_TESTS);
            probed.add(probes::probed_rate(&mut client, &path)?);
            Ok(())
        },
        || {
            thread::sleep(BETWEEN_TESTS);
            bares.add(probes::bare_rate(iperf3, &words)?);
            Ok(())
        },
    )?;
    Ok(probes::rate_row(
        "iperf3's rate when it streams to the exporter, of its bare rate",
        &probed,
        &bares,
    ))
}
