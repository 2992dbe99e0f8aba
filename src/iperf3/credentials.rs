//! What iperf3 shows to a server that asks who is there: user, public key, and the password.
//!
//! Owns how the password is read: anew for each run, so that a changed one counts, and never kept. It reaches iperf3 by
//! its environment alone; neither it nor the other two are in any line, page or debugging output from here.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use super::args::{Args, Need};

/// The name of the systemd credential (systemd.exec(5), `LoadCredential=`).
pub(crate) const CREDENTIAL: &str = "iperf3-password";
/// The variable that iperf3 reads the password from (iperf3(1), "Authentication").
const VARIABLE: &str = "IPERF3_PASSWORD";
/// Longest password: ten times what a 2048-bit key can encrypt.
const PASSWORD_LIMIT_BYTES: u64 = 2048;
/// Longest key file: a public key of 16384 bits has 3 KB.
const KEY_LIMIT_BYTES: u64 = 64 * 1024;
/// How iperf3 wants the key to begin (`PEM_read_bio_PUBKEY`).
const KEY_MARK: &str = "-----BEGIN PUBLIC KEY-----";
/// The option for the padding before 3.17.
const PKCS1_PADDING: &str = "--use-pkcs1-padding";
/// iperf3's options whose values are shown to nobody.
const HIDDEN: [&str; 2] = ["--username", "--rsa-public-key-path"];

/// What the flags say.
#[derive(Default)]
pub(crate) struct CredentialFlags {
    /// `--iperf3.username`.
    pub(crate) username: Option<String>,
    /// `--iperf3.rsa-public-key-path`.
    pub(crate) key: Option<PathBuf>,
    /// `--iperf3.password-file`.
    pub(crate) password_file: Option<PathBuf>,
    /// `--iperf3.use-pkcs1-padding`.
    pub(crate) use_pkcs1: bool,
}

/// Who iperf3 says that it is.
pub(crate) struct Credentials {
    username: String,
    key: PathBuf,
    password: PathBuf,
    /// Whose file `password` is, for a line about it.
    source: &'static str,
    use_pkcs1: bool,
}

/// A variable with a password for one child.
pub(super) struct Secret(OsString);

impl fmt::Debug for CredentialFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialFlags(hidden)")
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(hidden)")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

impl CredentialFlags {
    /// What the flags amount to, with systemd's folder of credentials where there is one; none when nothing was given.
    ///
    /// # Errors
    /// What is missing, as the end of a line.
    pub(crate) fn resolve(self, folder: Option<OsString>) -> Result<Option<Credentials>, String> {
        let Some(username) = self.username else {
            let alone = [
                ("rsa-public-key-path", self.key.is_some()),
                ("password-file", self.password_file.is_some()),
                ("use-pkcs1-padding", self.use_pkcs1),
            ];
            return match alone.iter().find(|(_, is_given)| *is_given) {
                Some((flag, _)) => Err(format!("flag --iperf3.{flag} needs --iperf3.username")),
                None => Ok(None),
            };
        };
        let Some(key) = self.key else {
            return Err("flag --iperf3.username needs --iperf3.rsa-public-key-path".to_owned());
        };
        let credential = || {
            let path = Path::new(&folder?).join(CREDENTIAL);
            path.exists()
                .then_some((path, "the systemd credential iperf3-password"))
        };
        let of_flag = |path| (path, "the file of --iperf3.password-file");
        let Some((password, source)) = self.password_file.map(of_flag).or_else(credential) else {
            return Err(format!(
                "flag --iperf3.username needs --iperf3.password-file, or the systemd credential {CREDENTIAL}"
            ));
        };
        Ok(Some(Credentials {
            username,
            key,
            password,
            source,
            use_pkcs1: self.use_pkcs1,
        }))
    }
}

impl Credentials {
    /// Adds iperf3's options for them. An iperf3 that does not know the older padding's option knows no other padding.
    pub(super) fn add_to(&self, args: &mut Args<'_>) {
        let [user, key] = HIDDEN;
        args.needed_by(Need::Flag);
        args.value(user, &self.username);
        args.value(key, self.key.to_string_lossy());
        if self.use_pkcs1 && !args.lacks(PKCS1_PADDING) {
            args.option(PKCS1_PADDING);
        }
    }

    /// Reads the password as it is now, and looks whether iperf3 will find its key.
    ///
    /// # Errors
    /// Which file cannot be used and why, as a line without any of its content.
    pub(super) fn password(&self) -> Result<Secret, String> {
        let of_key =
            |cause| format!("cannot use the file of --iperf3.rsa-public-key-path: {cause}");
        let key = read(&self.key, KEY_LIMIT_BYTES).map_err(of_key)?;
        if !String::from_utf8_lossy(&key).contains(KEY_MARK) {
            return Err(of_key("it has no public key in PEM form".to_owned()));
        }
        let of_password = |cause| format!("cannot use {}: {cause}", self.source);
        let text = read(&self.password, PASSWORD_LIMIT_BYTES).map_err(of_password)?;
        let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Err(of_password("its first line is empty".to_owned()));
        }
        if line.contains(&0) {
            return Err(of_password("its first line has a zero byte".to_owned()));
        }
        Ok(Secret(OsString::from_vec(line.to_vec())))
    }

    /// Whether both files can be used now.
    ///
    /// # Errors
    /// See [`Self::password`].
    pub(crate) fn check(&self) -> Result<(), String> {
        self.password().map(|_| ())
    }
}

impl Secret {
    /// The variable's name and its value, for the child's environment and nothing else.
    pub(super) fn variable(&self) -> (&'static str, &OsString) {
        (VARIABLE, &self.0)
    }
}

/// A command line as people may see it.
pub(super) fn shown(words: &[String]) -> Vec<String> {
    let mut is_hidden = false;
    let show = |word: &String| {
        let shown = if is_hidden { "<hidden>" } else { word };
        is_hidden = HIDDEN.contains(&word.as_str());
        shown.to_owned()
    };
    words.iter().map(show).collect()
}

/// A file that ends within the limit.
fn read(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let text = |error: io::Error| error.to_string();
    // To open a pipe would wait for somebody to write, perhaps for ever.
    if fs::metadata(path).map_err(text)?.file_type().is_fifo() {
        return Err("it is a pipe, want a file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(text)?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(text)?;
    if bytes.len() as u64 > limit {
        return Err(format!("it is longer than {limit} bytes"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{Args, CredentialFlags, Credentials, shown};
    use std::path::PathBuf;

    fn given(
        username: Option<&str>,
        key: Option<&str>,
        file: Option<&str>,
        pkcs1: bool,
    ) -> CredentialFlags {
        CredentialFlags {
            username: username.map(str::to_owned),
            key: key.map(PathBuf::from),
            password_file: file.map(PathBuf::from),
            use_pkcs1: pkcs1,
        }
    }

    #[test]
    fn a_part_alone_is_refused_by_the_name_of_what_it_needs() {
        for (given, line) in [
            (
                given(None, Some("k"), None, false),
                "flag --iperf3.rsa-public-key-path needs --iperf3.username",
            ),
            (
                given(None, None, Some("p"), false),
                "flag --iperf3.password-file needs --iperf3.username",
            ),
            (
                given(None, None, None, true),
                "flag --iperf3.use-pkcs1-padding needs --iperf3.username",
            ),
            (
                given(Some("u"), None, Some("p"), false),
                "flag --iperf3.username needs --iperf3.rsa-public-key-path",
            ),
            (
                given(Some("u"), Some("k"), None, false),
                "flag --iperf3.username needs --iperf3.password-file, or the systemd credential iperf3-password",
            ),
        ] {
            // A folder of credentials without the one that counts is no source.
            let folder = Some("/nonexistent".into());
            assert_eq!(given.resolve(folder).unwrap_err(), line);
        }
        assert!(
            given(None, None, None, false)
                .resolve(None)
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn neither_debugging_output_nor_the_shown_words_tell_them() {
        let given = given(Some("bob"), Some("/k/ey"), Some("/pass/word"), true);
        assert_eq!(format!("{given:?}"), "CredentialFlags(hidden)");
        let credentials: Credentials = given.resolve(None).unwrap().unwrap();
        assert_eq!(format!("{credentials:?}"), "Credentials(hidden)");
        let mut args = Args::new(None);
        args.option("-J");
        credentials.add_to(&mut args);
        let words = args.into_words();
        assert_eq!(
            shown(&words).join(" "),
            "-J --username <hidden> --rsa-public-key-path <hidden> --use-pkcs1-padding"
        );
        assert_eq!(words[2..=4], ["bob", "--rsa-public-key-path", "/k/ey"]);
    }
}
