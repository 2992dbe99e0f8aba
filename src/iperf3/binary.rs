//! The iperf3 binary: where it is, whether it can be run, and its version.
//!
//! Looked up again at each use, since it may be installed or updated while the exporter runs; its version is
//! asked for once, and again when the file is another one.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::process::{self, Ended};
use crate::probe::lock::Cancel;
use crate::sync;

/// What `iperf3 --version` may take: it prints and ends; a slow flash disk is the worst to expect.
const VERSION_LIMIT: Duration = Duration::from_secs(5);

/// Why iperf3 cannot be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// Nothing of that name.
    NotFound(String),
    /// A file that may not be executed, or no file.
    NotExecutable(PathBuf),
    /// It was started, and did not say its version.
    Broken(PathBuf, String),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(name) if name.contains('/') => {
                write!(f, "cannot find iperf3 `{name}`: no such file")
            }
            Self::NotFound(name) => write!(f, "cannot find iperf3 `{name}`: not on PATH"),
            Self::NotExecutable(path) => write!(
                f,
                "cannot run iperf3 `{}`: not an executable file",
                path.display()
            ),
            Self::Broken(path, cause) => {
                write!(f, "cannot run iperf3 `{}`: {cause}", path.display())
            }
        }
    }
}

/// The binary that a flag names.
#[derive(Debug)]
pub(crate) struct Binary {
    name: String,
    known: Mutex<Option<Known>>,
}

/// What is known of one file.
#[derive(Clone, Debug)]
struct Known {
    identity: Identity,
    version: Result<String, Unusable>,
}

/// Another file, or the same one written anew.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    path: PathBuf,
    device: u64,
    inode: u64,
    changed: (i64, i64),
    size: u64,
}

impl Binary {
    /// `name` is a path when it has a slash, else looked up on PATH.
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            known: Mutex::new(None),
        }
    }

    /// Where it is now.
    pub(crate) fn find(&self) -> Result<PathBuf, Unusable> {
        self.identify().map(|identity| identity.path)
    }

    /// Whether it can be run, as far as is known without running it now.
    pub(crate) fn check(&self) -> Result<(), Unusable> {
        let identity = self.identify()?;
        match sync::lock(&self.known).clone() {
            Some(known) if known.identity == identity => known.version.map(|_| ()),
            _ => Ok(()),
        }
    }

    /// Its version, such as `3.12`; runs it when the file is a new one.
    pub(crate) fn version(&self) -> Result<String, Unusable> {
        let identity = self.identify()?;
        // Held while it runs, so that a crowd of requests asks once.
        let mut known = sync::lock(&self.known);
        if let Some(known) = known.as_ref()
            && known.identity == identity
        {
            return known.version.clone();
        }
        let version = ask_version(&identity.path);
        *known = Some(Known {
            identity,
            version: version.clone(),
        });
        version
    }

    fn identify(&self) -> Result<Identity, Unusable> {
        if self.name.contains('/') {
            return identify(Path::new(&self.name), &self.name);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut refused = Unusable::NotFound(self.name.clone());
        for folder in std::env::split_paths(&path) {
            match identify(&folder.join(&self.name), &self.name) {
                Ok(identity) => return Ok(identity),
                Err(unusable @ Unusable::NotExecutable(_)) => refused = unusable,
                Err(_) => {}
            }
        }
        Err(refused)
    }
}

fn identify(path: &Path, name: &str) -> Result<Identity, Unusable> {
    /// Any of the three execute bits.
    const EXECUTE: u32 = 0o111;
    let Ok(file) = fs::metadata(path) else {
        return Err(Unusable::NotFound(name.to_owned()));
    };
    if !file.is_file() || file.mode() & EXECUTE == 0 {
        return Err(Unusable::NotExecutable(path.to_owned()));
    }
    Ok(Identity {
        path: path.to_owned(),
        device: file.dev(),
        inode: file.ino(),
        changed: (file.ctime(), file.ctime_nsec()),
        size: file.size(),
    })
}

fn ask_version(path: &Path) -> Result<String, Unusable> {
    let broken = |cause: String| Unusable::Broken(path.to_owned(), cause);
    let deadline = Instant::now() + VERSION_LIMIT;
    let run = process::run(
        path,
        &["--version".to_owned()],
        deadline,
        &Cancel::default(),
    )
    .map_err(|error: io::Error| broken(error.to_string()))?;
    // The first line is `iperf 3.12 (cJSON 1.7.15)`.
    let text = String::from_utf8_lossy(&run.stdout);
    let mut words = text.split_whitespace();
    match (words.next(), words.next()) {
        (Some("iperf"), Some(version)) => Ok(version.chars().take(32).collect()),
        _ if run.ended == Ended::DeadlinePassed => {
            Err(broken(format!("no version within {VERSION_LIMIT:?}")))
        }
        _ => {
            let error = String::from_utf8_lossy(&run.stderr);
            let line = error
                .lines()
                .next()
                .unwrap_or("it does not say its version");
            Err(broken(line.chars().take(200).collect()))
        }
    }
}
