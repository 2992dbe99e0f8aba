//! The iperf3 binary: its path, whether it can be run, its version and its features.
//!
//! It is looked up again at each use, because iperf3 may be installed or updated while the exporter runs. Its version
//! and its usage text are read once, and again when the file changes.

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
use crate::log::Value;
use crate::permits::Permits;
use crate::{sync, sys};

/// How long a failure to run iperf3 is remembered.
const FAILURE_KEPT: Duration = Duration::from_secs(10);
/// How long a failure to read its usage text is remembered.
const HELP_FAILURE_KEPT: Duration = Duration::from_secs(60);
/// Where to look if there is no PATH: the default of login shells and systemd.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Time limits for its answers. Every binary uses the default. A value, so that tests can use others.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// For `iperf3 --version`.
    version: Duration,
    /// For `iperf3 --help`.
    help: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        // It only prints and ends. On a machine that is overloaded, or has a slow flash disk, that takes seconds.
        // `/metrics` waits for it too, and Prometheus gives a scrape ten seconds.
        let limit = Duration::from_secs(8);
        Self {
            version: limit,
            help: limit,
        }
    }
}

/// Why iperf3 cannot be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    NotFound(String),
    /// A file without permission to execute it, or not a regular file.
    NotExecutable(PathBuf),
    /// It could not be started, or it did not print its version.
    Broken(PathBuf, String),
}

impl Value for Unusable {}

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
    limits: Limits,
    /// Set at shutdown: cancels running queries.
    shutdown: Cancel,
    /// Never held while a process runs.
    known: Mutex<Option<Installed>>,
    /// Held during a query, so that a crowd of requests causes only one.
    asking: Mutex<()>,
    /// Queries that run or wait.
    askers: Arc<Permits>,
}

/// What is known about one file.
#[derive(Clone, Debug)]
pub(crate) struct Installed {
    pub(crate) path: PathBuf,
    stamp: Stamp,
    /// `None` if it did not print one.
    pub(crate) version: Option<String>,
    /// Its features; `None` if its usage text could not be read.
    pub(crate) features: Option<Arc<Features>>,
    /// Why it could not be run, unless it has run since.
    failure: Option<Unusable>,
    /// Whether its last test had a report. If so it can be run, whatever `--version` prints.
    reports: bool,
    /// When it was queried, or failed to run.
    asked: Instant,
}

impl Binary {
    /// `name` is a path if it contains a slash. Otherwise it is looked up on PATH.
    pub(crate) fn new(name: String, shutdown: Cancel) -> Self {
        Self {
            name,
            limits: Limits::default(),
            shutdown,
            known: Mutex::new(None),
            asking: Mutex::new(()),
            askers: Arc::new(Permits::new(usize::MAX)),
        }
    }

    /// Its current path, its version and its features. A new file is queried, which takes at most the sum of its
    /// [`Limits`]. If its usage text could not be read, it is queried again after [`HELP_FAILURE_KEPT`], and not
    /// before: that would slow down each test.
    pub(crate) fn installed(&self) -> Result<Installed, Unusable> {
        self.look(|known| !known.may_say_more())
    }

    /// Whether it can be run, as far as known. Starts no process and never waits.
    pub(crate) fn check(&self) -> Result<(), Unusable> {
        let (path, stamp) = self.identify()?;
        let known = self.known(&path, stamp).filter(|known| !known.reports);
        let version = known.and_then(|known| known.recall());
        version.map_or(Ok(()), |version| version.map(drop))
    }

    /// Its features, for display; `None` if they are not known.
    pub(crate) fn features_listed(&self) -> Option<String> {
        let known = sync::lock(&self.known);
        Some(known.as_ref()?.features.as_ref()?.listed())
    }

    /// Its version, such as `3.12`. Runs it if the file is new, or if its last failure is no longer remembered.
    pub(crate) fn version(&self) -> Result<String, Unusable> {
        let known = self.look(|known| known.recall().is_some())?;
        // If it was not known, it was queried just now.
        known.recall().unwrap_or_else(|| Ok(String::new()))
    }

    /// What is known about the current file. Queries it if that is not enough.
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

    /// Queries the version, and the usage text unless it is known. The caller holds `asking`.
    fn ask(&self, path: &Path, stamp: Stamp) -> Installed {
        let version = ask_version(path, self.limits.version, &self.shutdown);
        let known = self.known(path, stamp);
        let reports = known.as_ref().is_some_and(|known| known.reports);
        let features = match known.and_then(|known| known.features) {
            // If even its version failed, its usage text would only take as long again.
            None if version.is_ok() => ask_features(path, self.limits.help, &self.shutdown),
            features => features,
        };
        let installed = Installed {
            path: path.to_owned(),
            stamp,
            version: version.as_ref().ok().cloned(),
            features,
            failure: version.err(),
            reports,
            asked: Instant::now(),
        };
        *sync::lock(&self.known) = Some(installed.clone());
        installed
    }

    /// Blocks until no query runs or waits, or until `until`. For the shutdown, which cancels queries.
    pub(crate) fn wait_until_idle(&self, until: Instant) {
        self.askers.wait_until_idle(until);
    }

    /// Records whether a test could start it, so that what is known stays true without a query.
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
            reports: false,
            asked: Instant::now(),
        });
    }

    /// Records whether a test that ended by itself had a report.
    pub(crate) fn note_report(&self, has_report: bool) {
        if let Some(known) = sync::lock(&self.known).as_mut() {
            known.reports = has_report;
        }
    }

    /// All that is known about exactly this file.
    fn known(&self, path: &Path, stamp: Stamp) -> Option<Installed> {
        let known = sync::lock(&self.known).clone();
        known.filter(|known| known.path == path && known.stamp == stamp)
    }

    /// Its current path, and which file that is.
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
    /// Whether its usage text is worth another query: it runs, but its usage text could not be read some time ago. A
    /// machine that was starting up may have been too slow.
    fn may_say_more(&self) -> bool {
        let runs = self.version.is_some();
        runs && self.features.is_none() && self.asked.elapsed() >= HELP_FAILURE_KEPT
    }

    /// Its version, or why it could not be run. A failure is forgotten after a while: a library or a wrapper's real
    /// binary may have been installed since, and the file checked here does not show that.
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

fn ask_version(path: &Path, limit: Duration, shutdown: &Cancel) -> Result<String, Unusable> {
    let broken = |cause: String| Unusable::Broken(path.to_owned(), cause);
    let deadline = Instant::now() + limit;
    let run = process::run(
        path,
        &["--version".to_owned()],
        &[],
        deadline,
        shutdown,
        None,
    )
    .map_err(|error: io::Error| broken(error.to_string()))?;
    // The line reads `iperf 3.12 (cJSON 1.7.15)`. It is the first one, but wrappers and some builds print more.
    let text = String::from_utf8_lossy(&run.stdout);
    let version = text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        words.next().filter(|word| *word == "iperf")?;
        words.next()
    });
    match version {
        Some(version) => Ok(version.chars().take(32).collect()),
        _ if run.ended == Ended::DeadlinePassed => {
            Err(broken(format!("it printed no version within {limit:?}")))
        }
        _ => {
            let error = String::from_utf8_lossy(&run.stderr);
            let line = error
                .lines()
                .next()
                .unwrap_or("it does not print its version");
            Err(broken(line.chars().take(200).collect()))
        }
    }
}

/// Reads the usage text from either output and with any exit status: both have changed between versions.
fn ask_features(path: &Path, limit: Duration, shutdown: &Cancel) -> Option<Arc<Features>> {
    let deadline = Instant::now() + limit;
    let run = process::run(path, &["--help".to_owned()], &[], deadline, shutdown, None).ok()?;
    let features = Features::read(&run.stdout).or_else(|| Features::read(&run.stderr))?;
    Some(Arc::new(features))
}

#[cfg(test)]
mod tests {
    use super::{Binary, Limits, Unusable};
    use crate::cancel::{Cancel, Cause};
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::thread;
    use std::time::{Duration, Instant};

    /// Longer than anything may take.
    const LONG: Duration = Duration::from_secs(3600);
    /// Never answers. If the code waits for it anyway, a test fails after this time.
    const HANGS: &str = "exec sleep 60";

    /// A scripted iperf3. Its folder is removed with the value.
    struct Script(PathBuf);

    impl Script {
        /// A script that runs this shell code for `--version` and `--help`.
        fn new(name: &str, version: &str, help: &str) -> Self {
            let name = format!("iperf3-exporter-{}-{name}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            let text =
                format!("#!/bin/sh\ncase $1 in --version) {version};; --help) {help};; esac\n");
            // Another process writes the file: a file that this process has open for writing cannot be executed
            // (ETXTBSY).
            let status = Command::new("sh")
                .args([
                    "-c",
                    "mkdir \"$0\" && printf %s \"$1\" >\"$0/iperf3\" && chmod 755 \"$0/iperf3\"",
                ])
                .args([folder.as_os_str(), text.as_ref()])
                .status();
            assert!(status.unwrap().success());
            Self(folder)
        }

        fn path(&self) -> PathBuf {
            self.0.join("iperf3")
        }
    }

    impl Drop for Script {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn binary(path: &Path, limits: Limits) -> Binary {
        Binary {
            limits,
            ..Binary::new(path.display().to_string(), Cancel::default())
        }
    }

    #[test]
    fn an_iperf3_that_prints_no_version_in_time_is_broken() {
        let script = Script::new("version", HANGS, HANGS);
        let path = script.path();
        let limits = Limits {
            version: Duration::from_millis(20),
            help: LONG,
        };
        let said = binary(&path, limits).version();
        let broken = Unusable::Broken(path, "it printed no version within 20ms".to_owned());
        assert_eq!(said, Err(broken));
    }

    #[test]
    fn a_version_is_found_on_a_later_line() {
        let version =
            "echo; echo 'Linux host 6.1 iperf'; echo 'iperf 3.12 (cJSON 1.7.15)'; echo 'iperf 2'";
        let script = Script::new("later-line", version, "echo");
        let binary = binary(&script.path(), Limits::default());
        assert_eq!(binary.version().as_deref(), Ok("3.12"));
        assert_eq!(binary.check(), Ok(()));
    }

    #[test]
    fn an_iperf3_without_a_version_is_usable_while_its_tests_have_reports() {
        let script = Script::new("no-version", "echo none", "echo");
        let binary = binary(&script.path(), Limits::default());
        let no_version = Err(Unusable::Broken(
            script.path(),
            "it does not print its version".to_owned(),
        ));
        assert_eq!(binary.version().map(drop), no_version);
        assert_eq!(binary.check(), no_version);
        binary.note_run(Ok(()));
        binary.note_report(true);
        // It is queried again, and still prints no version.
        assert_eq!(binary.version().map(drop), no_version);
        assert_eq!(binary.check(), Ok(()));
        binary.note_report(false);
        assert_eq!(binary.check(), no_version);
    }

    #[test]
    fn an_iperf3_that_prints_no_usage_text_in_time_can_be_run() {
        let script = Script::new("help", "echo 'iperf 3.99'", HANGS);
        let limits = Limits {
            version: LONG,
            help: Duration::from_millis(20),
        };
        let binary = binary(&script.path(), limits);
        let installed = binary.installed().unwrap();
        assert_eq!(installed.version.as_deref(), Some("3.99"));
        assert_eq!(installed.features, None);
        assert_eq!(binary.check(), Ok(()));
    }

    #[test]
    fn a_running_query_delays_neither_the_health_check_nor_the_shutdown() {
        let script = Script::new("hangs", HANGS, HANGS);
        let limits = Limits {
            version: LONG,
            help: LONG,
        };
        let binary = binary(&script.path(), limits);
        thread::scope(|scope| {
            let asker = scope.spawn(|| binary.version());
            let end = Instant::now() + Duration::from_secs(30);
            while binary.asking.try_lock().is_ok() {
                assert!(Instant::now() < end, "no query started");
                thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(binary.check(), Ok(()));
            binary.shutdown.set(Cause::ShuttingDown);
            binary.wait_until_idle(Instant::now() + LONG);
            let said = asker.join().unwrap();
            assert!(matches!(said, Err(Unusable::Broken(..))), "{said:?}");
        });
    }
}
