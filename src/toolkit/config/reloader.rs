//! The web configuration as it is now: read at the start, and again when one of its files has changed.
//!
//! Owns what happens when a file breaks: all requests are rejected, as by the exporter-toolkit. Two points differ from
//! it: a change of a file takes no protection away (a file half written looks just like that), and while a new
//! certificate does not fit its key yet, the old pair stays. Must not know what a request is.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::duration;
use crate::exit_error::ExitError;
use crate::http::tls::TlsAcceptor;
use crate::log::Log;
use crate::sync;
use crate::toolkit::auth::Users;
use crate::toolkit::config::downgrade::protections;
use crate::toolkit::config::fault::Fault;
use crate::toolkit::config::files::Files;
use crate::toolkit::config::schema;
use crate::toolkit::config::settings::WebConfig;
use crate::toolkit::rate_limit::Bucket;
use crate::toolkit::tls;

/// How long a file that takes protection away has to stay the same: whoever was writing it has gone on by then.
const SETTLED: Duration = Duration::from_millis(500);

/// What is in force. Without a file it is plain HTTP for everybody.
#[derive(Default)]
pub(crate) struct ActiveConfig {
    /// Another one for each reading that was taken.
    pub(crate) number: u64,
    /// How TLS is spoken; none means plain HTTP.
    pub(crate) tls: Option<Arc<dyn TlsAcceptor>>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) users: Users,
    /// How often. The same bucket as before when the limit has not changed.
    pub(crate) rate: Option<Arc<Bucket>>,
}

/// The configuration and the files it comes from.
pub(crate) struct Reloader {
    file: Option<PathBuf>,
    state: Mutex<State>,
}

/// What came of the file.
#[derive(Default)]
struct State {
    /// Those of the last reading.
    files: Files,
    /// Those of the last reading that was taken, and what it came to.
    files_in_force: Files,
    in_force: Arc<ActiveConfig>,
    protections: Vec<&'static str>,
    /// The last reading came to nothing that can be used: all requests are rejected.
    is_closed: bool,
    /// They are rejected because protection would be gone; the operator may confirm that it is meant.
    awaits_confirmation: bool,
}

/// What a reading came to.
enum Outcome {
    /// What the files say is in force now.
    Taken {
        config: Arc<ActiveConfig>,
        message: &'static str,
        warnings: Vec<String>,
    },
    /// Certificate and key do not fit; those before stay.
    Kept(ExitError),
    /// All requests are rejected.
    Closed(ExitError),
}

impl Reloader {
    /// Reads the file. Warnings go to the log.
    ///
    /// # Errors
    /// Why the file cannot be used, as one line that names file, key and value.
    pub(crate) fn open(file: Option<&Path>, log: &Log) -> Result<Self, ExitError> {
        let mut state = State::default();
        if let Some(file) = file {
            let outcome = state.read(file, None);
            if let Outcome::Kept(problem) | Outcome::Closed(problem) = outcome {
                return Err(problem);
            }
            outcome.log(log);
        }
        Ok(Self {
            file: file.map(Path::to_owned),
            state: Mutex::new(state),
        })
    }

    /// What is in force now; none when a file is broken: then all requests are rejected.
    pub(crate) fn active(&self, log: &Log) -> Option<Arc<ActiveConfig>> {
        let mut state = sync::lock(&self.state);
        let outcome = match &self.file {
            Some(file) if state.files.have_changed() => Some(state.read(file, None)),
            _ => None,
        };
        let active = (!state.is_closed).then(|| Arc::clone(&state.in_force));
        // The log may be slow; the others need not wait for it.
        drop(state);
        if let Some(outcome) = outcome {
            outcome.log(log);
        }
        active
    }

    /// Reads all files again because the operator said so (SIGHUP); whether requests are answered after it. Other than
    /// a change alone, this may take protection away, once it has seen twice that nobody is writing.
    pub(crate) fn reload(&self, log: &Log) -> bool {
        let Some(file) = &self.file else {
            log.info("nothing to reload: no --web.config.file", &[]);
            return true;
        };
        let mut state = sync::lock(&self.state);
        let mut outcome = state.read(file, None);
        let seen = state.awaits_confirmation.then(|| state.files.clone());
        drop(state);
        if seen.is_some() {
            thread::sleep(SETTLED);
            outcome = sync::lock(&self.state).read(file, seen.as_ref());
        }
        outcome.log(log);
        !matches!(outcome, Outcome::Closed(_))
    }
}

impl State {
    /// Reads the files. `confirmed` are those with which the operator confirmed that protection may go.
    fn read(&mut self, file: &Path, confirmed: Option<&Files>) -> Outcome {
        let mut files = Files::default();
        let reading = read(&mut files, file);
        // A file has no byte when its writer found the disk full: too little to confirm anything.
        let is_meant = confirmed.is_some_and(|seen| files.are_as_in(seen))
            && file.metadata().is_ok_and(|metadata| metadata.len() > 0);
        self.files = files;
        self.awaits_confirmation = false;
        let fault = match reading {
            Ok(reading) => {
                let next = protections(&reading.config);
                let lost = self.protections.iter().find(|one| !next.contains(one));
                match lost {
                    Some(lost) if !is_meant => {
                        self.awaits_confirmation = true;
                        unconfirmed(lost)
                    }
                    _ => return self.take(reading, next),
                }
            }
            Err(fault) => fault,
        };
        let problem = problem(file, &fault);
        let same = self.files.are_as_in_but_for_the_pair(&self.files_in_force);
        self.is_closed = !fault.is_pair || !same;
        if self.is_closed {
            Outcome::Closed(problem)
        } else {
            Outcome::Kept(problem)
        }
    }

    fn take(&mut self, reading: Reading, protections: Vec<&'static str>) -> Outcome {
        let Reading {
            tls,
            config,
            warnings,
        } = reading;
        let before = &self.in_force;
        let same = before.rate.clone();
        let same = same.filter(|bucket| Some(bucket.limit) == config.rate);
        let message = match (before.number, self.is_closed) {
            (0, _) => "web configuration loaded",
            (_, true) => "web configuration is valid again",
            (_, false) => "web configuration reloaded",
        };
        self.in_force = Arc::new(ActiveConfig {
            number: before.number + 1,
            tls,
            headers: config.headers,
            users: config.users,
            rate: same.or_else(|| config.rate.map(|limit| Arc::new(Bucket::new(limit)))),
        });
        self.files_in_force = self.files.clone();
        self.protections = protections;
        self.is_closed = false;
        Outcome::Taken {
            config: Arc::clone(&self.in_force),
            message,
            warnings,
        }
    }
}

impl Outcome {
    fn log(&self, log: &Log) {
        match self {
            Self::Taken {
                config,
                message,
                warnings,
            } => {
                for warning in warnings {
                    log.warn("web configuration warning", &[("warning", warning)]);
                }
                let limit = config.rate.as_ref().map(|bucket| {
                    let interval = duration::format(bucket.limit.interval);
                    format!("one in {interval}, burst {}", bucket.limit.burst)
                });
                log.info(
                    message,
                    &[
                        ("tls", &config.tls.is_some()),
                        ("users", &config.users.len()),
                        ("rate_limit", &limit.as_deref().unwrap_or("none")),
                    ],
                );
            }
            Self::Kept(problem) => log.warn(
                "cannot use the new certificate and key, keeping the previous ones",
                &[("error", &problem.line)],
            ),
            Self::Closed(problem) => log.error(
                "invalid web configuration: rejecting all requests",
                &[("error", &problem.line)],
            ),
        }
    }
}

/// What is said of a file that takes protection away.
fn unconfirmed(lost: &str) -> Fault {
    Fault::new(format!(
        "not applied, as it would weaken protection and may be incomplete: {lost}. Send SIGHUP or restart to confirm. \
         If no settings are wanted, write {{}} into the file."
    ))
}

struct Reading {
    tls: Option<Arc<dyn TlsAcceptor>>,
    config: WebConfig,
    warnings: Vec<String>,
}

/// Reads the file and those that it names.
fn read(files: &mut Files, file: &Path) -> Result<Reading, Fault> {
    let bytes = files.read(file, false);
    let bytes = bytes.map_err(|error| Fault::new(format!("cannot be read: {error}")))?;
    let text = str::from_utf8(&bytes).map_err(|error| {
        let before = bytes.iter().take(error.valid_up_to());
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        Fault::at(line, "invalid UTF-8")
    })?;
    let folder = file.parent().unwrap_or(Path::new(""));
    let config = schema::web_config(text, folder, &mut |path, is_pair| files.read(path, is_pair))?;
    let (mut tls, mut warnings): (Option<Arc<dyn TlsAcceptor>>, _) = (None, Vec::new());
    if let Some(settings) = &config.tls {
        let made = tls::acceptor(settings)?;
        tls = Some(made.0);
        warnings = made.1;
    }
    if config.rate.is_some_and(|limit| limit.burst == 0) {
        warnings.push(
            "rate_limit.burst is 0, which is the default: every request is rejected".to_owned(),
        );
    }
    Ok(Reading {
        tls,
        config,
        warnings,
    })
}

fn problem(file: &Path, fault: &Fault) -> ExitError {
    let line = fault.line.map(|line| format!(", line {line}"));
    let line = line.unwrap_or_default();
    let text = format!("web configuration {}{line}: {}", file.display(), fault.text);
    // A path or a system's error may hold anything.
    let text = text.replace(char::is_control, "\u{fffd}");
    if fault.is_pair {
        ExitError::from(text)
    } else {
        ExitError::lasting(text)
    }
}

#[cfg(feature = "tls")]
#[cfg(test)]
mod tests {
    use super::{Outcome, Reloader, State};
    use crate::log::{Log, LogConfig};
    use crate::toolkit::tls::test_file;
    use std::fs;
    use std::path::PathBuf;
    use std::sync::Arc;

    /// A folder with a configuration and what it names, removed at the end.
    struct Place {
        folder: PathBuf,
    }

    impl Place {
        fn new(name: &str, config: &str) -> Self {
            let name = format!("iperf3-exporter-live-{}-{name}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            fs::create_dir_all(&folder).expect("a folder");
            let place = Self { folder };
            place.write("w.yml", config);
            place.write("c", "cert 1");
            place.write("k", "key 1");
            place.write("ca", "authorities");
            place
        }

        /// Of certificates and keys the text says which of openssl's.
        fn write(&self, name: &str, text: &str) {
            let bytes = match text {
                "cert 1" => test_file("server.pem"),
                "key 1" => test_file("server.key"),
                "cert 2" => test_file("client.pem"),
                "key 2" => test_file("client.key"),
                "cert 3" => test_file("nameless.pem"),
                "key 3" => test_file("nameless.key"),
                "authorities" => test_file("ca.pem"),
                "others" => test_file("other.pem"),
                text => text.into(),
            };
            fs::write(self.folder.join(name), bytes).expect("a file");
        }

        fn remove(&self, name: &str) {
            fs::remove_file(self.folder.join(name)).expect("a removal");
        }

        fn file(&self) -> PathBuf {
            self.folder.join("w.yml")
        }

        fn watch(&self) -> Watch {
            let (file, mut state) = (self.file(), State::default());
            let outcome = summary(state.read(&file, None));
            assert!(outcome.starts_with("taken "), "{outcome}");
            Watch { file, state }
        }
    }

    /// A file that is looked at.
    struct Watch {
        file: PathBuf,
        state: State,
    }

    impl Watch {
        fn look(&mut self) -> String {
            if self.state.files.have_changed() {
                summary(self.state.read(&self.file, None))
            } else {
                "nothing".to_owned()
            }
        }

        /// The second look after the operator's word.
        fn confirm(&mut self) -> String {
            let seen = self.state.files.clone();
            summary(self.state.read(&self.file, Some(&seen)))
        }

        fn active(&self) -> Option<Arc<super::ActiveConfig>> {
            (!self.state.is_closed).then(|| Arc::clone(&self.state.in_force))
        }

        /// Which of the readings is in force; none when all requests are rejected.
        fn number(&self) -> Option<u64> {
            self.active().map(|active| active.number)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }

    fn users(names: &[&str]) -> String {
        let hash = ".".repeat(53);
        let lines: Vec<String> = names
            .iter()
            .map(|name| format!("  {name}: $2b$04${hash}\n"))
            .collect();
        let lines = lines.concat();
        format!("basic_auth_users:\n{lines}")
    }

    fn tls(keys: &str) -> String {
        format!("tls_server_config:\n  cert_file: c\n  key_file: k\n{keys}")
    }

    fn summary(outcome: Outcome) -> String {
        match outcome {
            Outcome::Taken {
                config, message, ..
            } => {
                let mended = if message.ends_with("valid again") {
                    " mended"
                } else {
                    ""
                };
                let (tls, users) = (config.tls.is_some(), config.users.len());
                format!("taken{mended} tls={tls} users={users}")
            }
            Outcome::Kept(problem) => format!("kept {}", problem.line),
            Outcome::Closed(problem) => format!("closed {}", problem.line),
        }
    }

    #[test]
    fn a_change_a_break_and_a_repair_are_each_told_once() {
        let place = Place::new("change", &users(&["alice"]));
        let mut watch = place.watch();
        assert_eq!(watch.look(), "nothing");
        place.write("w.yml", &users(&["alice", "bob"]));
        assert_eq!(watch.look(), "taken tls=false users=2");
        assert_eq!(watch.look(), "nothing");
        place.write("w.yml", "nonsense: 1\n");
        let closed = watch.look();
        let file = place.file();
        let expected = format!(
            "closed web configuration {}, line 1: nonsense: unknown key",
            file.display()
        );
        assert!(closed.starts_with(&expected), "{closed}");
        assert!(watch.active().is_none());
        assert_eq!(watch.look(), "nothing");
        assert!(watch.active().is_none());
        place.write("w.yml", "other: 1\n");
        assert!(watch.look().starts_with("closed "));
        place.remove("w.yml");
        assert!(watch.look().contains("w.yml: cannot be read: No such file"));
        assert_eq!(watch.look(), "nothing");
        fs::create_dir(place.file()).expect("a folder");
        assert!(
            watch
                .look()
                .contains("w.yml: cannot be read: Is a directory")
        );
        assert_eq!(watch.look(), "nothing");
        fs::remove_dir(place.file()).expect("a removal");
        place.write("w.yml", &users(&["carol"]));
        assert_eq!(watch.look(), "taken mended tls=false users=1");
        assert!(watch.active().expect("open").users.contains_key("carol"));
        // The same text again, by way of a break.
        place.write("w.yml", "nonsense: 1\n");
        assert!(watch.look().starts_with("closed "));
        place.write("w.yml", &users(&["carol"]));
        assert_eq!(watch.look(), "taken mended tls=false users=1");
    }

    #[test]
    fn tls_that_is_switched_on_is_taken() {
        let place = Place::new("on", "");
        let mut watch = place.watch();
        assert!(watch.active().expect("open").tls.is_none());
        place.write("w.yml", &tls(""));
        assert_eq!(watch.look(), "taken tls=true users=0");
        assert_eq!(watch.number(), Some(2));
    }

    #[test]
    fn a_renewal_in_two_steps_leaves_the_old_pair_in_use_between_them() {
        let place = Place::new("renewal", &tls(""));
        let mut watch = place.watch();
        place.write("c", "cert 2");
        let kept = watch.look();
        assert!(
            kept.starts_with("kept ") && kept.contains("private key does not match"),
            "{kept}"
        );
        assert_eq!(watch.number(), Some(1));
        assert_eq!(watch.look(), "nothing");
        place.write("k", "key 2");
        assert_eq!(watch.look(), "taken tls=true users=0");
        assert_eq!(watch.number(), Some(2));
        // By way of a removal, and of a file that is not whole yet.
        place.remove("k");
        assert!(
            watch
                .look()
                .contains("tls_server_config.key_file: failed to read ")
        );
        place.write("k", "ke");
        assert!(watch.look().starts_with("kept "));
        place.write("c", "cert 3");
        assert!(watch.look().starts_with("kept "));
        assert_eq!(watch.number(), Some(2));
        place.write("k", "key 3");
        assert_eq!(watch.look(), "taken tls=true users=0");
        assert_eq!(watch.number(), Some(3));
    }

    #[test]
    fn the_old_pair_does_not_stay_when_anything_else_has_changed() {
        let verify = tls("  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca\n");
        let place = Place::new("more", &verify);
        let mut watch = place.watch();
        place.write("c", "cert 2");
        assert!(watch.look().starts_with("kept "));
        place.write("ca", "others");
        assert!(watch.look().starts_with("closed "));
        assert_eq!(watch.number(), None);
        place.write("ca", "authorities");
        assert!(watch.look().starts_with("kept "));
        assert_eq!(watch.number(), Some(1));
        place.write("w.yml", &format!("{verify}# another text\n"));
        assert!(watch.look().starts_with("closed "));
        place.write("w.yml", &verify);
        assert!(watch.look().starts_with("kept "));
        place.remove("ca");
        // The pair is told first, and the authorities count all the same.
        assert!(watch.look().starts_with("closed "));
        place.write("c", "cert 1");
        assert!(watch.look().contains("client_ca_file: failed to read "));
        place.write("ca", "others");
        assert_eq!(watch.look(), "taken mended tls=true users=0");
    }

    #[test]
    fn a_change_alone_takes_no_protection_away_and_the_operator_may() {
        let auth = |name: &str| tls(&format!("  client_auth_type: {name}\n"));
        let sans = format!(
            "{}  client_allowed_sans: [a]\n",
            auth("RequireAndVerifyClientCert")
        );
        for (name, before, after, lost) in [
            ("tls", tls(""), String::new(), "TLS is off"),
            (
                "users",
                users(&["a"]),
                String::new(),
                "no password is required",
            ),
            (
                "users-tls",
                format!("{}{}", tls(""), users(&["a"])),
                tls(""),
                "no password is required",
            ),
            (
                "need",
                auth("RequireAndVerifyClientCert"),
                auth("VerifyClientCertIfGiven"),
                "no client certificate is required",
            ),
            (
                "need-any",
                auth("RequireAnyClientCert"),
                tls(""),
                "no client certificate is required",
            ),
            (
                "verify",
                auth("RequireAndVerifyClientCert"),
                auth("RequireAnyClientCert"),
                "client certificates are not verified",
            ),
            (
                "verify-given",
                auth("VerifyClientCertIfGiven"),
                auth("RequestClientCert"),
                "client certificates are not verified",
            ),
            (
                "sans",
                sans,
                auth("RequireAndVerifyClientCert"),
                "the names of client certificates are not checked",
            ),
        ] {
            let place = Place::new(&format!("less-{name}"), &before);
            let mut watch = place.watch();
            // No byte at all is nobody's word.
            place.write("w.yml", "");
            assert!(watch.look().starts_with("closed "), "{name}");
            let again = watch.confirm();
            assert!(again.starts_with("closed "), "{name} {again}");
            let after = if after.is_empty() {
                "{}\n".to_owned()
            } else {
                after
            };
            place.write("w.yml", &after);
            let closed = watch.look();
            let expected = format!(
                "w.yml: not applied, as it would weaken protection and may be incomplete: {lost}. "
            );
            assert!(
                closed.starts_with("closed ") && closed.contains(&expected),
                "{closed}"
            );
            assert!(closed.contains("SIGHUP"), "{closed}");
            assert_eq!(watch.look(), "nothing", "{name}");
            assert!(watch.active().is_none(), "{name}");
            // The rest of the file comes.
            place.write("w.yml", &before);
            assert!(watch.look().starts_with("taken mended "), "{name}");
            place.write("w.yml", &after);
            assert!(watch.look().starts_with("closed "), "{name}");
            // Written again since the operator's first look: the writer has not done. A request looks in between.
            let seen = watch.state.files.clone();
            place.write("w.yml", &format!("{after}# more\n"));
            watch.look();
            let early = summary(watch.state.read(&watch.file, Some(&seen)));
            assert!(early.starts_with("closed "), "{name} {early}");
            let taken = watch.confirm();
            assert!(taken.starts_with("taken mended "), "{name} {taken}");
            assert!(watch.active().is_some(), "{name}");
            assert_eq!(watch.look(), "nothing", "{name}");
        }
    }

    #[test]
    fn a_truncated_file_never_admits_anyone() {
        let whole = format!(
            "{}{}",
            tls("  client_auth_type: RequireAnyClientCert\n"),
            users(&["a", "b"])
        );
        let place = Place::new("truncated", &whole);
        let mut watch = place.watch();
        for end in 0..whole.len() {
            place.write("w.yml", whole.get(..end).unwrap_or_default());
            watch.look();
            if let Some(front) = watch.active() {
                assert!(front.tls.is_some() && !front.users.is_empty(), "{end}");
            }
        }
        place.write("w.yml", &whole);
        watch.look();
        assert_eq!(watch.active().expect("open").users.len(), 2);
    }

    #[test]
    fn a_bucket_stays_as_long_as_its_limit() {
        let limit = |burst: u32| format!("rate_limit: {{interval: 1s, burst: {burst}}}\n");
        let place = Place::new("bucket", &limit(1));
        let mut watch = place.watch();
        let bucket = |watch: &Watch| watch.active().expect("open").rate.clone().expect("a limit");
        let first = bucket(&watch);
        place.write("w.yml", &format!("{}{}", limit(1), users(&["a"])));
        assert_eq!(watch.look(), "taken tls=false users=1");
        assert!(Arc::ptr_eq(&first, &bucket(&watch)));
        place.write("w.yml", "nonsense: 1\n");
        assert!(watch.look().starts_with("closed "));
        place.write("w.yml", &format!("{}{}", limit(1), users(&["b"])));
        assert_eq!(watch.look(), "taken mended tls=false users=1");
        assert!(Arc::ptr_eq(&first, &bucket(&watch)));
        place.write("w.yml", &format!("{}{}", limit(2), users(&["b"])));
        assert_eq!(watch.look(), "taken tls=false users=1");
        assert!(!Arc::ptr_eq(&first, &bucket(&watch)));
        place.write("w.yml", &users(&["b"]));
        assert_eq!(watch.look(), "taken tls=false users=1");
        assert!(watch.active().expect("open").rate.is_none());
    }

    #[test]
    fn the_active_configuration_is_what_the_files_say_and_sighup_reads_them_again() {
        let log = Log::new(LogConfig::default());
        let place = Place::new("front", &users(&["alice"]));
        let live = Reloader::open(Some(&place.file()), &log).expect("in order");
        let first = live.active(&log).expect("open");
        assert!(Arc::ptr_eq(&first, &live.active(&log).expect("open")));
        assert!(live.reload(&log));
        place.write("w.yml", "{}\n");
        assert!(live.active(&log).is_none());
        assert!(live.reload(&log));
        assert!(live.active(&log).expect("open").users.is_empty());
        place.write("w.yml", "nonsense: 1\n");
        assert!(!live.reload(&log));
        assert!(live.active(&log).is_none());
    }

    #[test]
    fn without_a_file_there_is_plain_http_for_everybody() {
        let log = Log::new(LogConfig::default());
        let live = Reloader::open(None, &log).expect("in order");
        let front = live.active(&log).expect("open");
        assert!(front.tls.is_none() && front.users.is_empty() && front.rate.is_none());
        assert!(live.reload(&log));
        assert!(Arc::ptr_eq(&front, &live.active(&log).expect("open")));
    }

    #[test]
    fn a_start_with_a_broken_file_is_an_error_on_one_line() {
        let log = Log::new(LogConfig::default());
        let place = Place::new("start", "a: 1\n");
        let open = || match Reloader::open(Some(&place.file()), &log) {
            Ok(_) => "in order".to_owned(),
            Err(problem) => {
                // A renewal writes certificate and key one after the other: that passes by itself.
                let is_pair = problem.line.contains("private key does not match");
                assert_eq!(problem.status, if is_pair { 1 } else { 2 });
                problem.line
            }
        };
        let name = place.file().display().to_string();
        assert!(open().starts_with(&format!(
            "web configuration {name}, line 1: a: unknown key, want one of "
        )));
        place.write("w.yml", &tls("  client_auth_type: x\n"));
        assert!(
            open()
                .contains(", line 4: tls_server_config.client_auth_type: invalid ClientAuth \"x\"")
        );
        place.write("w.yml", &tls(""));
        assert_eq!(open(), "in order");
        place.write("k", "key 2");
        assert!(open().contains("key_file \"") && open().contains("private key does not match"));
        fs::write(place.file(), b"# \n# \xff\n").expect("a file");
        assert_eq!(
            open(),
            format!("web configuration {name}, line 2: invalid UTF-8")
        );
        place.remove("w.yml");
        assert!(open().starts_with(&format!(
            "web configuration {name}: cannot be read: No such file"
        )));
    }
}
