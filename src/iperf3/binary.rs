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
use crate::log::Value;
use crate::permits::Permits;
use crate::{sync, sys};

/// How long it is taken as given that iperf3 could not be run.
const FAILURE_KEPT: Duration = Duration::from_secs(10);
/// How long it is taken as given that its usage text could not be read.
const HELP_FAILURE_KEPT: Duration = Duration::from_secs(60);
/// Where to look when there is no PATH: what login shells and systemd start with.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What its answers may take. Every binary has the default; a value, so that tests can hand in others.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Of `iperf3 --version`.
    version: Duration,
    /// Of `iperf3 --help`.
    help: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        // It prints and ends; on a machine that is overloaded, or has a slow flash disk, that takes seconds. `/metrics`
        // asks too, and has the ten seconds that Prometheus gives a scrape.
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
    /// A file that may not be executed, or no file.
    NotExecutable(PathBuf),
    /// It was started, and did not say its version.
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
    /// Whether its last test had a report: then it can be run, whatever it answers to other questions.
    reports: bool,
    /// When it was asked, or failed to run.
    asked: Instant,
}

impl Binary {
    /// `name` is a path when it has a slash, else looked up on PATH.
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

    /// Where it is now, and what it can do: a new file is asked, which takes all of its [`Limits`] at worst. One that did not say what it can do is asked again after [`HELP_FAILURE_KEPT`], and not before: that
    /// would make each test slower.
    pub(crate) fn installed(&self) -> Result<Installed, Unusable> {
        self.look(|known| !known.may_say_more())
    }

    /// Whether it can be run, as far as is known: asks nobody, and never waits.
    pub(crate) fn check(&self) -> Result<(), Unusable> {
        let (path, stamp) = self.identify()?;
        let known = self.known(&path, stamp).filter(|known| !known.reports);
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
        let version = ask_version(path, self.limits.version, &self.shutdown);
        let known = self.known(path, stamp);
        let reports = known.as_ref().is_some_and(|known| known.reports);
        let features = match known.and_then(|known| known.features) {
            // One that does not even say its version in time would only take as long again.
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
            reports: false,
            asked: Instant::now(),
        });
    }

    /// A test of it ended by itself, with a report or without one.
    pub(crate) fn note_report(&self, has_report: bool) {
        if let Some(known) = sync::lock(&self.known).as_mut() {
            known.reports = has_report;
        }
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
    // A line is `iperf 3.12 (cJSON 1.7.15)`: the first one, but for wrappers and builds that say more.
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

/// What the usage text has, wherever it is printed and whatever the status: both have changed over the versions.
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
    /// It never answers; where it is waited for all the same, a test fails after this time.
    const HANGS: &str = "exec sleep 60";

    /// A scripted iperf3; its folder goes with the value.
    struct Script(PathBuf);

    impl Script {
        /// With shell code that answers `--version` and `--help`.
        fn new(name: &str, version: &str, help: &str) -> Self {
            let name = format!("iperf3-exporter-{}-{name}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            let text =
                format!("#!/bin/sh\ncase $1 in --version) {version};; --help) {help};; esac\n");
            // Another process writes it: one that is open for writing here cannot be executed (ETXTBSY).
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
    fn one_that_does_not_say_its_version_in_time_is_broken() {
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
    fn one_that_says_no_version_is_usable_as_long_as_its_tests_have_reports() {
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
        // It is asked again, and says no more.
        assert_eq!(binary.version().map(drop), no_version);
        assert_eq!(binary.check(), Ok(()));
        binary.note_report(false);
        assert_eq!(binary.check(), no_version);
    }

    #[test]
    fn one_that_does_not_say_what_it_can_do_in_time_can_be_run() {
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
    fn who_waits_for_an_answer_holds_neither_who_asks_for_health_nor_the_end() {
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
                assert!(Instant::now() < end, "nobody asks");
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
