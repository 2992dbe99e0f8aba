//! Test certificates, made by `openssl`: it shares no code with the code under test.
//!
//! Must not know what is tested. The unit tests, the integration tests and the benchmark all use this file.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// Makes `NAME.pem` and `NAME.key` in `folder`, with exactly these extensions. The key is ECDSA on P-256, the most
/// common kind. Signed by the certificate `signer` in the same folder, or self-signed.
///
/// # Errors
/// If openssl is missing or fails; includes its message.
pub(crate) fn certificate(
    folder: &Path,
    name: &str,
    signer: Option<&str>,
    extensions: &[&str],
) -> io::Result<()> {
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

/// Runs openssl in `folder`, with a minimal `openssl.cnf` there.
///
/// # Errors
/// If openssl is missing or fails; includes its message.
pub(crate) fn run(folder: &Path, args: &[&str]) -> io::Result<()> {
    // The system's configuration would add its own extensions.
    let config = "[req]\ndistinguished_name=dn\nprompt=no\n[dn]\nCN=name\n";
    fs::write(folder.join("openssl.cnf"), config)?;
    let output = Command::new("openssl")
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            let what = format!("cannot start `openssl` (make test installs it): {error}");
            io::Error::new(error.kind(), what)
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!(
        "openssl {args:?}: {}",
        said.trim()
    )))
}
