//! The iperf3 binary: where it is, whether it can be run, its version and what it can do.
//!
//! Looked up again at each use, since it may be installed or updated while the exporter runs; its version and its
//! usage text are asked for once, and again when the file is another one.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::features::Features;
use super::process::{self, Ended};
use crate::cancel::Cancel;
use crate::file::Stamp;
use crate::permits::Permits;
use crate::{sync, sys};

/// What `iperf3 --version` may take: it prints and ends; a slow flash disk is the worst to expect.
const VERSION_LIMIT: Duration = Duration::from_secs(2);
/// What `iperf3 --help` may take, for the same reason.
const HELP_LIMIT: Duration = Duration::from_secs(2);
/// How long it is taken as given that iperf3 could not be run.
const FAILURE_KEPT: Duration = Duration::from_secs(10);
/// How long it is taken as given that its usage text could not be read.
const HELP_FAILURE_KEPT: Duration = Duration::from_secs(60);
/// Where to look when there is no PATH: what login shells and systemd start with.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    NotFound(String),
    /// A file that may not be executed, or no file.
    NotExecutable(PathBuf),
    /// It was started, and did not say its version.
    Broken(PathBuf, String),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(name) => {
                let is_path = name.contains('/');
                let cause = if is_path {
                    "no such file"
                } else {
                    "not on PATH"
                };
                write!(f, "cannot find iperf3 `{name}`: {cause}")
            }
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
    /// Set when the exporter ends: what is being asked for is given up.
    shutdown: Cancel,
    /// Never held while a process runs.
    known: Mutex<Option<Installed>>,
    /// Held by who asks, so that a crowd of requests asks once.
    asking: Mutex<()>,
    /// Who asks, or waits to.
    askers: Arc<Permits>,
}

/// What is known of one file.
#[derive(Clone, Debug)]
pub(crate) struct Installed {
    pub(crate) path: PathBuf,
    stamp: Stamp,
    /// As far as it says one.
    pub(crate) version: Option<String>,
    /// What it can do, as far as it says that.
    pub(crate) features: Option<Arc<Features>>,
    /// Why it could not be run, unless it has run since.
    failure: Option<Unusable>,
    /// When it was asked, or failed to run.
    asked: Instant,
}

impl Binary {
    /// `name` is a path when it has a slash, else looked up on PATH.
    pub(crate) fn new(name: String, shutdown: Cancel) -> Self {
        Self {
            name,
            shutdown,
            known: Mutex::new(None),
            asking: Mutex::new(()),
            askers: Arc::new(Permits::new(usize::MAX)),
        }
    }

    /// Where it is now, and what it can do: a new file is asked, which takes [`VERSION_LIMIT`] and [`HELP_LIMIT`] at
    /// worst. One that did not say what it can do is asked again after [`HELP_FAILURE_KEPT`], and not before: that
    /// would make each test slower.
    pub(crate) fn installed(&self) -> Result<Installed, Unusable> {
        self.look(|known| !known.may_say_more())
    }

    /// Whether it can be run, as far as is known: asks nobody, and never waits.
    pub(crate) fn check(&self) -> Result<(), Unusable> {
        let (path, stamp) = self.identify()?;
        let known = self.known(&path, stamp);
        let version = known.and_then(|known| known.recall());
        version.map_or(Ok(()), |version| version.map(drop))
    }

    /// What it can do, for people; none when that is not known.
    pub(crate) fn features_listed(&self) -> Option<String> {
        let known = sync::lock(&self.known);
        Some(known.as_ref()?.features.as_ref()?.listed())
    }

    /// Its version, such as `3.12`; runs it when the file is a new one, or when it could not be run a while ago.
    pub(crate) fn version(&self) -> Result<String, Unusable> {
        let known = self.look(|known| known.recall().is_some())?;
        // It was asked just now, if it was not known.
        known.recall().unwrap_or_else(|| Ok(String::new()))
    }

    /// What is known of the file that is there now, which is asked where that is not enough.
    fn look(&self, is_enough: fn(&Installed) -> bool) -> Result<Installed, Unusable> {
        let (path, stamp) = self.identify()?;
        let known = || self.known(&path, stamp).filter(is_enough);
        if let Some(known) = known() {
            return Ok(known);
        }
        let _asker = self.askers.try_acquire();
        let _turn = sync::lock(&self.asking);
        Ok(known().unwrap_or_else(|| self.ask(&path, stamp)))
    }

    /// Asks for the version, and for the usage text unless it is known; for who holds `asking`.
    fn ask(&self, path: &Path, stamp: Stamp) -> Installed {
        let version = ask_version(path, &self.shutdown);
        let features = match self.known(path, stamp).and_then(|known| known.features) {
            // One that does not even say its version in time would only take as long again.
            None if version.is_ok() => ask_features(path, &self.shutdown),
            features => features,
        };
        let installed = Installed {
            path: path.to_owned(),
            stamp,
            version: version.as_ref().ok().cloned(),
            features,
            failure: version.err(),
            asked: Instant::now(),
        };
        *sync::lock(&self.known) = Some(installed.clone());
        installed
    }

    /// Blocks until nobody asks for anything, or `until` has come: for the end, which cancels who asks.
    pub(crate) fn wait_until_idle(&self, until: Instant) {
        self.askers.wait_until_idle(until);
    }

    /// A probe has run it, or could not: so that what is known of it stays true without asking.
    pub(crate) fn note_run(&self, result: Result<(), &io::Error>) {
        let Err(error) = result else {
            if let Some(known) = sync::lock(&self.known).as_mut() {
                known.failure = None;
            }
            return;
        };
        let Ok((path, stamp)) = self.identify() else {
            return;
        };
        let failure = Unusable::Broken(path.clone(), error.to_string());
        let known = self.known(&path, stamp);
        *sync::lock(&self.known) = Some(Installed {
            path,
            stamp,
            version: None,
            features: known.and_then(|known| known.features),
            failure: Some(failure),
            asked: Instant::now(),
        });
    }

    /// All that is known of this very file.
    fn known(&self, path: &Path, stamp: Stamp) -> Option<Installed> {
        let known = sync::lock(&self.known).clone();
        known.filter(|known| known.path == path && known.stamp == stamp)
    }

    /// Where it is now, and which file that is.
    fn identify(&self) -> Result<(PathBuf, Stamp), Unusable> {
        if self.name.contains('/') {
            return identify(Path::new(&self.name), &self.name);
        }
        let path = std::env::var_os("PATH").filter(|path| !path.is_empty());
        let path = path.unwrap_or_else(|| DEFAULT_PATH.into());
        let mut refused = Unusable::NotFound(self.name.clone());
        // A relative folder would make the binary depend on where the exporter was started.
        for folder in std::env::split_paths(&path).filter(|folder| folder.is_absolute()) {
            match identify(&folder.join(&self.name), &self.name) {
                Err(Unusable::NotFound(_)) => {}
                Err(unusable) => refused = unusable,
                found => return found,
            }
        }
        Err(refused)
    }
}

impl Installed {
    /// It runs, and did not say what it can do a while ago: a machine that was starting up may have been too slow.
    fn may_say_more(&self) -> bool {
        let runs = self.version.is_some();
        runs && self.features.is_none() && self.asked.elapsed() >= HELP_FAILURE_KEPT
    }

    /// Its version. That it could not be run is forgotten after a while: a library or a wrapper's real binary may have
    /// come since, and no file that is looked at here tells.
    fn recall(&self) -> Option<Result<String, Unusable>> {
        let Some(failure) = &self.failure else {
            return self.version.clone().map(Ok);
        };
        let is_fresh = self.asked.elapsed() < FAILURE_KEPT;
        is_fresh.then(|| Err(failure.clone()))
    }
}

fn identify(path: &Path, name: &str) -> Result<(PathBuf, Stamp), Unusable> {
    let Ok(file) = fs::metadata(path) else {
        return Err(Unusable::NotFound(name.to_owned()));
    };
    if !file.is_file() || !sys::may_execute(path) {
        return Err(Unusable::NotExecutable(path.to_owned()));
    }
    Ok((path.to_owned(), Stamp::of(&file)))
}

fn ask_version(path: &Path, shutdown: &Cancel) -> Result<String, Unusable> {
    let broken = |cause: String| Unusable::Broken(path.to_owned(), cause);
    let deadline = Instant::now() + VERSION_LIMIT;
    let run = process::run(path, &["--version".to_owned()], None, deadline, shutdown)
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

/// What the usage text has, wherever it is printed and whatever the status: both have changed over the versions.
fn ask_features(path: &Path, shutdown: &Cancel) -> Option<Arc<Features>> {
    let deadline = Instant::now() + HELP_LIMIT;
    let run = process::run(path, &["--help".to_owned()], None, deadline, shutdown).ok()?;
    let features = Features::read(&run.stdout).or_else(|| Features::read(&run.stderr))?;
    Some(Arc::new(features))
}
