//! Certificates for tests, made by `openssl`: a program that shares no code with the one that reads them here.
//!
//! Must not know what is tested: the binary's unit tests, the integration tests and the bench all use this file.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Makes `NAME.pem` and `NAME.key` in `folder`, ECDSA with P-256 as most certificates have it, with these extensions
/// and no other; signed by the certificate `signer` of the same folder, or by itself.
///
/// # Errors
/// When openssl is not there or refuses, with its words.
pub(crate) fn certificate(
    folder: &Path,
    name: &str,
    signer: Option<&str>,
    extensions: &[&str],
) -> Result<(), String> {
    let kind =
        "req -x509 -config openssl.cnf -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30";
    let mut args: Vec<String> = kind.split(' ').map(str::to_owned).collect();
    let mut add = |option: &str, value: String| args.extend([option.to_owned(), value]);
    add("-subj", format!("/CN={name}"));
    add("-keyout", format!("{name}.key"));
    add("-out", format!("{name}.pem"));
    if let Some(signer) = signer {
        add("-CA", format!("{signer}.pem"));
        add("-CAkey", format!("{signer}.key"));
    }
    for extension in extensions {
        add("-addext", (*extension).to_owned());
    }
    run(folder, &args.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Runs openssl in `folder`, where a plain `openssl.cnf` lies ready.
///
/// # Errors
/// When openssl is not there or refuses, with its words.
pub(crate) fn run(folder: &Path, args: &[&str]) -> Result<(), String> {
    // The system's own configuration would add extensions of its own.
    let config = "[req]\ndistinguished_name=dn\nprompt=no\n[dn]\nCN=name\n";
    fs::write(folder.join("openssl.cnf"), config)
        .map_err(|error| format!("cannot write into `{}`: {error}", folder.display()))?;
    let output = Command::new("openssl")
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start `openssl` (make test installs it): {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("openssl {args:?}: {}", said.trim()))
}
