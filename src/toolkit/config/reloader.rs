//! The active web configuration: read at the start, and reloaded when one of its files changes.
//!
//! Owns what happens when a file becomes invalid: all requests are rejected, as in the exporter-toolkit. Two points
//! differ from it. A file change alone cannot remove a protection, because a half-written file looks the same. And
//! while a new certificate does not match its key yet, the old pair stays in use. Must not know what a request is.

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

/// How long a file that would remove a protection must stay unchanged: by then a writer has finished.
const SETTLED: Duration = Duration::from_millis(500);

/// The configuration in force. Without a file it is plain HTTP without authentication.
#[derive(Default)]
pub(crate) struct ActiveConfig {
    /// Number of the configuration; each one that takes effect has a new number.
    pub(crate) number: u64,
    /// The TLS acceptor; `None` means plain HTTP.
    pub(crate) tls: Option<Arc<dyn TlsAcceptor>>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) users: Users,
    /// The token bucket. It is kept as long as the limit stays the same.
    pub(crate) rate: Option<Arc<Bucket>>,
}

/// The active configuration and the files that it comes from.
pub(crate) struct Reloader {
    file: Option<PathBuf>,
    state: Mutex<State>,
}

/// The state after the last read.
#[derive(Default)]
struct State {
    /// The files of the last read.
    files: Files,
    /// The files of the last read that took effect, then its configuration and its protections.
    files_in_force: Files,
    in_force: Arc<ActiveConfig>,
    protections: Vec<&'static str>,
    /// Whether the last read found the configuration unusable: all requests are rejected.
    is_closed: bool,
    /// Whether requests are rejected only because a protection would be removed; the operator may confirm that.
    awaits_confirmation: bool,
}

/// The result of reading the files.
enum Outcome {
    /// The files' configuration is now active.
    Taken {
        config: Arc<ActiveConfig>,
        message: &'static str,
        warnings: Vec<String>,
    },
    /// The new certificate and key cannot be used; the previous pair stays in use.
    Kept(ExitError),
    /// All requests are rejected.
    Closed(ExitError),
}

impl Reloader {
    /// Reads the file, and logs warnings.
    ///
    /// # Errors
    /// Why the file cannot be used, as one line with file, key and value.
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

    /// The active configuration; `None` if it is invalid: all requests are then rejected.
    pub(crate) fn active(&self, log: &Log) -> Option<Arc<ActiveConfig>> {
        let mut state = sync::lock(&self.state);
        let outcome = match &self.file {
            Some(file) if state.files.have_changed() => Some(state.read(file, None)),
            _ => None,
        };
        let active = (!state.is_closed).then(|| Arc::clone(&state.in_force));
        // Logging may be slow: release the lock for other requests.
        drop(state);
        if let Some(outcome) = outcome {
            outcome.log(log);
        }
        active
    }

    /// Reloads all files on the operator's request (SIGHUP). Returns whether requests are served afterwards. Unlike a
    /// file change alone, this may remove a protection, once two reads have seen the same files.
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
    /// Reads the files. `confirmed` are the files for which the operator confirmed the loss of a protection.
    fn read(&mut self, file: &Path, confirmed: Option<&Files>) -> Outcome {
        let mut files = Files::default();
        let reading = read(&mut files, file);
        // An empty file confirms nothing: its writer may have found the disk full.
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

/// The error for a file that would remove a protection.
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

/// Reads the file and those that it references.
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
    // A path or a system error may contain control characters.
    let text = text.replace(char::is_control, "\u{fffd}");
    if fault.is_pair {
        ExitError::passing(text)
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

    /// A folder with a configuration and the files that it references, removed at the end.
    struct Place {
        folder: PathBuf,
    }

    impl Place {
        fn new(name: &str, config: &str) -> Self {
            let name = format!("iperf3-exporter-reloader-{}-{name}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            fs::create_dir_all(&folder).expect("a folder");
            let place = Self { folder };
            place.write("w.yml", config);
            place.write("c", "cert 1");
            place.write("k", "key 1");
            place.write("ca", "authorities");
            place
        }

        /// Certificates and keys are made by openssl; the text says which one.
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

    /// A reloader's state and its file.
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

        /// The second read, after the operator's confirmation.
        fn confirm(&mut self) -> String {
            let seen = self.state.files.clone();
            summary(self.state.read(&self.file, Some(&seen)))
        }

        fn active(&self) -> Option<Arc<super::ActiveConfig>> {
            (!self.state.is_closed).then(|| Arc::clone(&self.state.in_force))
        }

        /// The number of the active configuration; `None` if all requests are rejected.
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
    fn a_change_a_fault_and_a_repair_are_each_reported_once() {
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
        // The same text again, after an invalid one.
        place.write("w.yml", "nonsense: 1\n");
        assert!(watch.look().starts_with("closed "));
        place.write("w.yml", &users(&["carol"]));
        assert_eq!(watch.look(), "taken mended tls=false users=1");
    }

    #[test]
    fn enabling_tls_takes_effect() {
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
        // The same with a removed file, and with an incomplete one.
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
    fn the_old_pair_is_dropped_when_anything_else_has_changed() {
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
        // The pair's error is reported first, but the missing authorities count too.
        assert!(watch.look().starts_with("closed "));
        place.write("c", "cert 1");
        assert!(watch.look().contains("client_ca_file: failed to read "));
        place.write("ca", "others");
        assert_eq!(watch.look(), "taken mended tls=true users=0");
    }

    #[test]
    fn only_the_operator_can_remove_a_protection() {
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
            // An empty file confirms nothing.
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
            // The rest of the file arrives.
            place.write("w.yml", &before);
            assert!(watch.look().starts_with("taken mended "), "{name}");
            place.write("w.yml", &after);
            assert!(watch.look().starts_with("closed "), "{name}");
            // The file has changed since the operator's first read: the writer has not finished. A request reads it in
            // between.
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
            if let Some(active) = watch.active() {
                assert!(active.tls.is_some() && !active.users.is_empty(), "{end}");
            }
        }
        place.write("w.yml", &whole);
        watch.look();
        assert_eq!(watch.active().expect("open").users.len(), 2);
    }

    #[test]
    fn a_bucket_is_kept_as_long_as_its_limit() {
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
    fn the_active_configuration_follows_the_files_and_sighup_reloads_them() {
        let log = Log::new(LogConfig::default());
        let place = Place::new("active", &users(&["alice"]));
        let reloader = Reloader::open(Some(&place.file()), &log).expect("in order");
        let first = reloader.active(&log).expect("open");
        assert!(Arc::ptr_eq(&first, &reloader.active(&log).expect("open")));
        assert!(reloader.reload(&log));
        place.write("w.yml", "{}\n");
        assert!(reloader.active(&log).is_none());
        assert!(reloader.reload(&log));
        assert!(reloader.active(&log).expect("open").users.is_empty());
        place.write("w.yml", "nonsense: 1\n");
        assert!(!reloader.reload(&log));
        assert!(reloader.active(&log).is_none());
    }

    #[test]
    fn without_a_file_it_is_plain_http_without_authentication() {
        let log = Log::new(LogConfig::default());
        let reloader = Reloader::open(None, &log).expect("in order");
        let active = reloader.active(&log).expect("open");
        assert!(active.tls.is_none() && active.users.is_empty() && active.rate.is_none());
        assert!(reloader.reload(&log));
        assert!(Arc::ptr_eq(&active, &reloader.active(&log).expect("open")));
    }

    #[test]
    fn a_start_with_a_broken_file_is_an_error_on_one_line() {
        let log = Log::new(LogConfig::default());
        let place = Place::new("start", "a: 1\n");
        let open = || match Reloader::open(Some(&place.file()), &log) {
            Ok(_) => "in order".to_owned(),
            Err(problem) => {
                // A renewal writes certificate and key one after the other: the fault passes by itself.
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
