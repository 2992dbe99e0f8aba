//! iperf3's credentials for a server that requires authentication: user name, public key and password.
//!
//! Owns how the password is read: again for each run, so that a changed one takes effect. It is never kept. It reaches
//! iperf3 only through the environment. No log line, page or debug output from here contains the password, the user
//! name or the key.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use super::args::{Args, Need};
use crate::file;
use crate::log::Value;

/// The name of the systemd credential (systemd.exec(5), `LoadCredential=`).
pub(crate) const CREDENTIAL: &str = "iperf3-password";
/// The variable from which iperf3 reads the password (iperf3(1), "Authentication").
const VARIABLE: &str = "IPERF3_PASSWORD";
/// Longest password: ten times what a 2048-bit key can encrypt.
const PASSWORD_LIMIT_BYTES: u64 = 2048;
/// Longest key file: a public key of 16384 bits takes 3 KB.
const KEY_LIMIT_BYTES: u64 = 64 * 1024;
/// Names the key file in messages.
const KEY_FILE: &str = "the file of --iperf3.rsa-public-key-path";
/// How iperf3 expects the key to begin (`PEM_read_bio_PUBKEY`).
const KEY_MARK: &str = "-----BEGIN PUBLIC KEY-----";
/// The option for the padding that was used before 3.17.
const PKCS1_PADDING: &str = "--use-pkcs1-padding";
/// iperf3's options whose values are never shown.
const HIDDEN: [&str; 2] = ["--username", "--rsa-public-key-path"];

/// The credentials from the flags. A flag that was not given is empty.
#[derive(Default)]
pub(crate) struct Credentials {
    pub(crate) username: String,
    pub(crate) key: PathBuf,
    /// `--iperf3.password-file`, or the systemd credential.
    pub(crate) password_file: PathBuf,
    /// Names the password file in messages.
    source: &'static str,
    pub(crate) use_pkcs1: bool,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(hidden)")
    }
}

impl Credentials {
    /// Checks and completes the flags. `folder` is systemd's folder of credentials, if there is one. `None` if no flag
    /// was given.
    pub(crate) fn resolve(
        mut self,
        folder: Option<OsString>,
    ) -> Result<Option<Self>, CredentialsError> {
        let has_key = !self.key.as_os_str().is_empty();
        let has_password = !self.password_file.as_os_str().is_empty();
        if self.username.is_empty() {
            let alone = [
                ("rsa-public-key-path", has_key),
                ("password-file", has_password),
                ("use-pkcs1-padding", self.use_pkcs1),
            ];
            return match alone.iter().find(|(_, is_given)| *is_given) {
                Some((flag, _)) => Err(CredentialsError::NoUsername(flag)),
                None => Ok(None),
            };
        }
        if !has_key {
            return Err(CredentialsError::NoKey);
        }
        self.source = "the file of --iperf3.password-file";
        if !has_password {
            let credential = folder.map(|folder| Path::new(&folder).join(CREDENTIAL));
            let Some(path) = credential.filter(|path| path.exists()) else {
                return Err(CredentialsError::NoPassword);
            };
            self.password_file = path;
            self.source = "the systemd credential iperf3-password";
        }
        Ok(Some(self))
    }

    /// Adds iperf3's options for the credentials. An iperf3 without the option for the older padding uses only that
    /// padding.
    pub(super) fn add_to(&self, args: &mut Args<'_>) {
        let [user, key] = HIDDEN;
        args.needed_by(Need::Flag);
        args.value(user, &self.username);
        args.value(key, self.key.to_string_lossy());
        if self.use_pkcs1 && !args.lacks(PKCS1_PADDING) {
            args.option(PKCS1_PADDING);
        }
    }

    /// The variable with the current password, for the child's environment and nothing else. Also checks the key file
    /// that iperf3 will read.
    pub(super) fn password(&self) -> Result<(&'static str, OsString), CredentialsError> {
        let read = |path, limit_bytes, file| {
            let bytes = file::read(path, limit_bytes);
            bytes.map_err(|error| CredentialsError::Unreadable(file, error))
        };
        let key = read(&self.key, KEY_LIMIT_BYTES, KEY_FILE)?;
        if !String::from_utf8_lossy(&key).contains(KEY_MARK) {
            return Err(CredentialsError::NotAKey);
        }
        let file = self.source;
        let text = read(&self.password_file, PASSWORD_LIMIT_BYTES, file)?;
        let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Err(CredentialsError::EmptyPassword(file));
        }
        if line.contains(&0) {
            return Err(CredentialsError::NulInPassword(file));
        }
        Ok((VARIABLE, OsString::from_vec(line.to_vec())))
    }

    /// Checks that both files can be used now.
    pub(crate) fn check(&self) -> Result<(), CredentialsError> {
        self.password().map(drop)
    }
}

/// Why the credentials cannot be used. Carries nothing that the files contain, and not their paths.
#[derive(Debug)]
pub(crate) enum CredentialsError {
    /// This flag was given without a user name.
    NoUsername(&'static str),
    /// A user name was given without a key.
    NoKey,
    /// A user name was given without a password.
    NoPassword,
    Unreadable(&'static str, io::Error),
    /// The key file contains no public key.
    NotAKey,
    /// The first line of this file is empty.
    EmptyPassword(&'static str),
    /// An environment variable cannot hold such a password.
    NulInPassword(&'static str),
}

impl Value for CredentialsError {}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUsername(flag) => write!(f, "flag --iperf3.{flag} needs --iperf3.username"),
            Self::NoKey => f.write_str("flag --iperf3.username needs --iperf3.rsa-public-key-path"),
            Self::NoPassword => write!(
                f,
                "flag --iperf3.username needs --iperf3.password-file, or the systemd credential {CREDENTIAL}"
            ),
            Self::Unreadable(file, error) => write!(f, "cannot use {file}: {error}"),
            Self::NotAKey => write!(
                f,
                "cannot use {KEY_FILE}: it contains no public key in PEM form"
            ),
            Self::EmptyPassword(file) => write!(f, "cannot use {file}: its first line is empty"),
            Self::NulInPassword(file) => {
                write!(f, "cannot use {file}: its first line contains a NUL byte")
            }
        }
    }
}

/// A command line as it may be shown.
pub(super) fn shown(args: &[String]) -> Vec<String> {
    let mut is_hidden = false;
    let show = |word: &String| {
        let shown = if is_hidden { "<hidden>" } else { word };
        is_hidden = HIDDEN.contains(&word.as_str());
        shown.to_owned()
    };
    args.iter().map(show).collect()
}

#[cfg(test)]
mod tests {
    use super::{Args, Credentials, KEY_MARK, shown};

    fn given(username: &str, key: &str, file: &str, use_pkcs1: bool) -> Credentials {
        Credentials {
            username: username.to_owned(),
            key: key.into(),
            password_file: file.into(),
            use_pkcs1,
            ..Credentials::default()
        }
    }

    #[test]
    fn an_incomplete_set_of_flags_is_rejected_with_the_missing_one() {
        for (given, line) in [
            (
                given("", "k", "", false),
                "flag --iperf3.rsa-public-key-path needs --iperf3.username",
            ),
            (
                given("", "", "p", false),
                "flag --iperf3.password-file needs --iperf3.username",
            ),
            (
                given("", "", "", true),
                "flag --iperf3.use-pkcs1-padding needs --iperf3.username",
            ),
            (
                given("u", "", "p", false),
                "flag --iperf3.username needs --iperf3.rsa-public-key-path",
            ),
            (
                given("u", "k", "", false),
                "flag --iperf3.username needs --iperf3.password-file, or the systemd credential iperf3-password",
            ),
        ] {
            // A folder of credentials that lacks this one does not count.
            let folder = Some("/nonexistent".into());
            assert_eq!(given.resolve(folder).unwrap_err().to_string(), line);
        }
        assert!(given("", "", "", false).resolve(None).unwrap().is_none());
    }

    #[test]
    fn an_error_names_the_file_and_the_cause() {
        let path = std::env::temp_dir().join(crate::folders::random_name());
        // Good enough as a key, but not as a password.
        std::fs::write(&path, format!("\0{KEY_MARK}")).unwrap();
        let good = path.to_str().unwrap();
        let key = "the file of --iperf3.rsa-public-key-path";
        let password = "the file of --iperf3.password-file";
        let missing = "No such file or directory (os error 2)";
        for (key_file, password_file, file, cause) in [
            ("/nonexistent", good, key, missing),
            (
                "/dev/null",
                good,
                key,
                "it contains no public key in PEM form",
            ),
            (good, "/nonexistent", password, missing),
            (good, "/dev/null", password, "its first line is empty"),
            (good, good, password, "its first line contains a NUL byte"),
        ] {
            let given = given("u", key_file, password_file, false);
            let error = given.resolve(None).unwrap().unwrap().check().unwrap_err();
            assert_eq!(error.to_string(), format!("cannot use {file}: {cause}"));
        }
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn debug_output_and_shown_arguments_reveal_no_credentials() {
        let given = given("bob", "/k/ey", "/pass/word", true);
        let credentials: Credentials = given.resolve(None).unwrap().unwrap();
        assert_eq!(format!("{credentials:?}"), "Credentials(hidden)");
        let mut args = Args::new(None);
        args.option("-J");
        credentials.add_to(&mut args);
        let args = args.into_vec();
        assert_eq!(
            shown(&args).join(" "),
            "-J --username <hidden> --rsa-public-key-path <hidden> --use-pkcs1-padding"
        );
        assert_eq!(args[2..=4], ["bob", "--rsa-public-key-path", "/k/ey"]);
    }
}
