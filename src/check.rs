//! `--config.check`: checks everything that a start needs, and prints one line for each check.
//!
//! Owns the order of the lines. Each component knows how to check itself.

use std::fmt::Display;
use std::io;

use crate::cli::Config;
use crate::exit_error::ExitError;
use crate::health::{self, HealthError, Url};
use crate::http::listen::Address;
use crate::iperf3::binary::{Binary, Unusable};
use crate::iperf3::temp::{TempFiles, TempFolders};
use crate::log::{Level, Log, LogConfig};
use crate::toolkit::config::reloader::Reloader;

/// The lines, and the first failure. Invalid flags have already ended the program.
pub(crate) fn check(config: &Config) -> (String, Result<(), ExitError>) {
    let mut found = vec![
        Ok("flags".to_owned()),
        web_configuration(config),
        iperf3(&config.probe.iperf3_path),
        temporary_folder(),
        credentials(config),
        Ok(match config.probe.allow.len() {
            0 => "no allow rules: every target is allowed".to_owned(),
            count => format!("allow rules: {count}"),
        }),
    ];
    if config.http.systemd_socket {
        found.push(Ok("listen addresses are passed by systemd".to_owned()));
    } else {
        found.extend(listen_addresses(&config.http.listen));
    }
    let line = |one: &Result<String, ExitError>| {
        let line = match one {
            Ok(what) => format!("ok: {what}"),
            Err(error) => format!("failed: {}", error.line),
        };
        // A path or a system error may contain control characters.
        line.replace(char::is_control, "\u{fffd}") + "\n"
    };
    let lines = found.iter().map(line).collect();
    (lines, found.into_iter().try_for_each(|one| one.map(drop)))
}

fn web_configuration(config: &Config) -> Result<String, ExitError> {
    // Without info lines: the check prints its own line.
    let log = Log::new(LogConfig {
        level: config.log.level.max(Level::Warn),
        ..config.log
    });
    Reloader::open(config.web_file.as_deref(), &log)?;
    Ok(match &config.web_file {
        Some(file) => format!("web configuration {}", file.display()),
        None => "no web configuration: plain HTTP without authentication".to_owned(),
    })
}

fn iperf3(path: &str) -> Result<String, ExitError> {
    let binary = Binary::new(path.to_owned(), crate::cancel::Cancel::default());
    let found = || -> Result<String, Unusable> {
        let version = binary.version()?;
        let path = binary.installed()?.path;
        Ok(format!("iperf3 {version} `{}`", path.display()))
    };
    found().map_err(ExitError::passing)
}

fn temporary_folder() -> Result<String, ExitError> {
    let found = TempFolders::from_environment().find(TempFiles::ONE_STREAM);
    let found = found.map_err(ExitError::passing)?;
    let folder = format!("temporary folder `{}`", found.folder.display());
    Ok(match found.instead {
        None => folder,
        Some(fault) => format!("{folder}, instead of the usual one: {fault}"),
    })
}

fn credentials(config: &Config) -> Result<String, ExitError> {
    let Some(credentials) = &config.probe.credentials else {
        return Ok("no credentials for iperf3".to_owned());
    };
    credentials.check().map_err(ExitError::passing)?;
    Ok("credentials for iperf3 can be read".to_owned())
}

/// Checks each address by itself, then binds the free ones together as a start would: two flags may name the same
/// address.
fn listen_addresses(addresses: &[Address]) -> Vec<Result<String, ExitError>> {
    let alone: Vec<_> = addresses.iter().map(is_free).collect();
    let mut held = Vec::new();
    let mut line = |address: &Address, is_free: Result<bool, ExitError>| {
        if !is_free? {
            return Ok(format!(
                "listen address `{address}` is in use by a running exporter"
            ));
        }
        held.extend(address.bind().map_err(|error| {
            ExitError::passing(format_args!(
                "cannot listen on `{address}`: {error}, another flag names the same address"
            ))
        })?);
        Ok(format!("listen address `{address}` is free"))
    };
    let addresses = addresses.iter().zip(alone);
    addresses
        .map(|(address, is_free)| line(address, is_free))
        .collect()
}

/// Status and first line of the response of an exporter whose web configuration is invalid or waits for confirmation.
const CLOSED: (&str, &str) = ("500 Internal Server Error", "Internal Server Error");

/// An address that a running exporter uses is fine: a check before a restart should report everything else.
fn is_free(address: &Address) -> Result<bool, ExitError> {
    let Err(error) = address.bind() else {
        return Ok(true);
    };
    if error.kind() != io::ErrorKind::AddrInUse {
        return Err(ExitError::passing(format_args!(
            "cannot listen on `{address}`: {error}"
        )));
    }
    let by_another = |why: &dyn Display| {
        ExitError::passing(format_args!(
            "cannot listen on `{address}`: {error}, and not by an exporter: {why}"
        ))
    };
    let local = if address.is_any() { "127.0.0.1" } else { "" };
    let url = Url::parse(&format!("http://{local}{address}/ready"));
    let url = url.ok_or_else(|| by_another(&"no address to connect to"))?;
    match health::ask(&url) {
        Ok(_) => Ok(false),
        Err(HealthError::Status { status, line }) if (&*status, &*line) == CLOSED => Ok(false),
        Err(why) => Err(by_another(&format_args!("{url}: {why}"))),
    }
}
