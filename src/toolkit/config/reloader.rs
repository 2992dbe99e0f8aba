//! The web configuration as it is now: read at the start, and again when one of its files has changed.
//!
//! Owns what happens when a file breaks: all requests are rejected, as by the exporter-toolkit. Two points differ from
//! it: a change of a file takes no protection away (a file half written looks just like that), and while a new
//! certificate does not fit its key yet, the old pair stays. Must not know what a request is.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::log::Log;
use crate::sync;
use crate::toolkit::auth::{Users, hash};
use crate::toolkit::config::downgrade::Protections;
use crate::toolkit::config::fault::Fault;
use crate::toolkit::config::files::Files;
use crate::toolkit::config::outcome::{Outcome, Problem, Summary, warn};
use crate::toolkit::config::schema::{self, Outside};
use crate::toolkit::config::settings::{TlsSettings, WebConfig};
use crate::toolkit::rate_limit::Bucket;
use crate::toolkit::tls::{self, Acceptor, UnusableSetting};

/// How long a file that takes protection away has to stay the same: whoever was writing it has gone on by then.
const SETTLED: Duration = Duration::from_millis(500);

/// The keys of the files that a renewal writes one after the other.
const PAIR: &[&str] = &["cert_file", "key_file"];

/// What is in force. `T` speaks TLS; only tests of this file have another one.
pub(crate) struct ActiveConfig<T = Acceptor> {
    /// Another one for each reading that was taken.
    pub(crate) number: u64,
    /// How TLS is spoken; none means plain HTTP.
    pub(crate) tls: Option<T>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) users: Users,
    /// How often. The same bucket as before when the limit has not changed.
    pub(crate) rate: Option<Arc<Bucket>>,
}

/// The configuration and the files it comes from.
pub(crate) struct Reloader<T = Acceptor> {
    state: State<T>,
}

enum State<T> {
    /// There is no file: plain HTTP for everybody.
    Plain(Arc<ActiveConfig<T>>),
    Watched(Mutex<Watch<T>>),
}

/// Makes what speaks TLS, and says what of the settings was left out.
type MakeTls<T> = fn(&TlsSettings) -> Result<(T, Vec<String>), UnusableSetting>;

impl Reloader {
    /// Reads the file; without one there is plain HTTP for everybody. Warnings go to the log.
    pub(crate) fn open(file: Option<&Path>, log: &Log) -> Result<Self, Problem> {
        Self::open_with(file, tls::acceptor, log)
    }
}

impl<T> Reloader<T> {
    fn open_with(file: Option<&Path>, make: MakeTls<T>, log: &Log) -> Result<Self, Problem> {
        let Some(file) = file else {
            return Ok(Self {
                state: State::Plain(Arc::default()),
            });
        };
        let (watch, warnings) = Watch::open(file, make)?;
        warn(&warnings, log);
        watch.in_force.summary.log("web configuration read", log);
        Ok(Self {
            state: State::Watched(Mutex::new(watch)),
        })
    }

    /// What is in force now; none when a file is broken: then all requests are rejected.
    pub(crate) fn active(&self, log: &Log) -> Option<Arc<ActiveConfig<T>>> {
        match &self.state {
            State::Plain(config) => Some(Arc::clone(config)),
            State::Watched(watch) => {
                let mut watch = sync::lock(watch);
                let outcome = watch.look(Instant::now());
                let active = watch.active();
                // The log may be slow; the others need not wait for it.
                drop(watch);
                if let Some(outcome) = outcome {
                    outcome.log(log);
                }
                active
            }
        }
    }

    /// Reads all files again because the operator said so (SIGHUP); whether requests are answered after it. Other than
    /// a change alone, this may take protection away, once it has seen twice that nobody is writing.
    pub(crate) fn reload(&self, log: &Log) -> bool {
        let State::Watched(watch) = &self.state else {
            return true;
        };
        let mut guard = sync::lock(watch);
        let mut outcome = guard.read(None, Instant::now());
        if guard.awaits_confirmation {
            let seen = guard.files.clone();
            drop(guard);
            thread::sleep(SETTLED);
            outcome = sync::lock(watch).read(Some(&seen), Instant::now());
        } else {
            drop(guard);
        }
        outcome.log(log);
        !matches!(outcome, Outcome::Closed(_))
    }
}

impl<T> Default for ActiveConfig<T> {
    fn default() -> Self {
        Self {
            number: 0,
            tls: None,
            headers: Vec::new(),
            users: Users::new(),
            rate: None,
        }
    }
}

impl<T> fmt::Debug for ActiveConfig<T> {
    /// Without the hashes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActiveConfig")
            .field("tls", &self.tls.is_some())
            .field("headers", &self.headers)
            .field("users", &self.users.keys())
            .field("rate", &self.rate)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Reloader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").finish_non_exhaustive()
    }
}

/// The file, and what came of it.
struct Watch<T> {
    file: PathBuf,
    make: MakeTls<T>,
    /// Those of the last reading.
    files: Files,
    /// The last that was taken.
    in_force: InForce<T>,
    /// The last reading came to nothing that can be used: all requests are rejected.
    is_closed: bool,
    /// They are rejected because protection would be gone; the operator may confirm that it is meant.
    awaits_confirmation: bool,
}

struct InForce<T> {
    config: Arc<ActiveConfig<T>>,
    protection: Protections,
    summary: Summary,
    files: Files,
}

impl<T> Watch<T> {
    fn open(file: &Path, make: MakeTls<T>) -> Result<(Self, Vec<String>), Problem> {
        let mut files = Files::new(Instant::now());
        let reading = read(&mut files, file, make);
        let (tls, config, warnings) = reading.map_err(|fault| problem(file, &fault))?;
        let watch = Self {
            file: file.to_owned(),
            make,
            files: files.clone(),
            in_force: InForce::new(tls, config, files, None),
            is_closed: false,
            awaits_confirmation: false,
        };
        Ok((watch, warnings))
    }

    fn active(&self) -> Option<Arc<ActiveConfig<T>>> {
        (!self.is_closed).then(|| Arc::clone(&self.in_force.config))
    }

    /// Reads the files if one has changed; none when nothing has.
    fn look(&mut self, now: Instant) -> Option<Outcome> {
        self.files.have_changed(now).then(|| self.read(None, now))
    }

    /// Reads the files. `confirmed` are those with which the operator confirmed that protection may go.
    fn read(&mut self, confirmed: Option<&Files>, now: Instant) -> Outcome {
        let mut files = Files::new(now);
        let reading = read(&mut files, &self.file, self.make);
        let was_closed = self.is_closed;
        let is_meant =
            confirmed.is_some_and(|seen| files.are_as_in(seen, &[]) && !is_empty(&self.file));
        self.files = files.clone();
        self.awaits_confirmation = false;
        let fault = match reading {
            Ok((tls, config, warnings)) => match self.in_force.protection.weakened_by(&config) {
                Some(lost) if !is_meant => {
                    self.awaits_confirmation = true;
                    unconfirmed(lost)
                }
                _ => {
                    self.in_force = InForce::new(tls, config, files, Some(&self.in_force));
                    self.is_closed = false;
                    return Outcome::Taken {
                        summary: self.in_force.summary.clone(),
                        warnings,
                        mended: was_closed,
                    };
                }
            },
            Err(fault) => fault,
        };
        let problem = problem(&self.file, &fault);
        self.is_closed = !fault.is_pair || !files.are_as_in(&self.in_force.files, PAIR);
        if self.is_closed {
            Outcome::Closed(problem)
        } else {
            Outcome::Kept(problem)
        }
    }
}

/// What is said of a file that takes protection away.
fn unconfirmed(lost: &str) -> Fault {
    Fault::new(format!(
        "as it reads now {lost}; that is not taken from a file that is empty or may be half written: when it is \
         whole ({{}} if nothing is wanted), send SIGHUP or restart to confirm"
    ))
}

/// Whether a file has no byte, as when its writer found the disk full: too little to confirm anything.
fn is_empty(file: &Path) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.len() == 0)
}

impl<T> InForce<T> {
    fn new(tls: Option<T>, config: WebConfig, files: Files, before: Option<&Self>) -> Self {
        let protection = Protections::of(&config);
        let summary = Summary {
            tls: config.tls.is_some(),
            users: config.users.len(),
            limit: config.rate,
        };
        let same = before.filter(|before| before.summary.limit == config.rate);
        let rate = match same {
            Some(before) => before.config.rate.clone(),
            None => config.rate.map(|limit| Arc::new(Bucket::new(limit))),
        };
        let active = ActiveConfig {
            number: before.map_or(0, |before| before.config.number + 1),
            tls,
            headers: config.headers,
            users: config.users,
            rate,
        };
        Self {
            config: Arc::new(active),
            protection,
            summary,
            files,
        }
    }
}

/// What speaks TLS, the configuration, and warnings.
type Reading<T> = (Option<T>, WebConfig, Vec<String>);

/// Reads the file and those that it names.
fn read<T>(files: &mut Files, file: &Path, make: MakeTls<T>) -> Result<Reading<T>, Fault> {
    let bytes = files.read("config.file", file);
    let bytes = bytes.map_err(|error| Fault::new(format!("cannot be read: {error}")))?;
    let text = str::from_utf8(&bytes).map_err(|error| {
        let before = bytes.iter().take(error.valid_up_to());
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        Fault::at(line, "this is not UTF-8")
    })?;
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut outside = Outside {
        read: &mut |field, path: &Path| -> io::Result<Vec<u8>> { files.read(field, path) },
        check_hash: hash::check,
    };
    let config = schema::web_config(text, folder, &mut outside)?;
    let (tls, mut warnings) = match &config.tls {
        None => (None, Vec::new()),
        Some(settings) => {
            let (tls, warnings) = make(settings).map_err(|error| Fault {
                is_pair: true,
                ..Fault::new(error.to_string())
            })?;
            (Some(tls), warnings)
        }
    };
    if config.rate.is_some_and(|limit| limit.burst == 0) {
        warnings.push(
            "rate_limit.burst: with 0, which is the default, every request is refused".to_owned(),
        );
    }
    Ok((tls, config, warnings))
}

fn problem(file: &Path, fault: &Fault) -> Problem {
    let line = fault.line.map(|line| format!(", line {line}"));
    let line = line.unwrap_or_default();
    let text = format!("web configuration {}{line}: {}", file.display(), fault.text);
    // A path or a system's error may hold anything.
    let one_line = text
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    Problem(one_line)
}

#[cfg(test)]
mod tests {
    use super::{ActiveConfig, Outcome, Reloader, Watch};
    use crate::log::{Log, LogConfig};
    use crate::toolkit::config::settings::TlsSettings;
    use crate::toolkit::tls::UnusableSetting;
    use std::fs;
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::time::Instant;

    /// What stands for an acceptor: the number that certificate and key have in common.
    type Pair = String;

    fn make(settings: &TlsSettings) -> Result<(Pair, Vec<String>), UnusableSetting> {
        let cert = String::from_utf8_lossy(&settings.cert.bytes).into_owned();
        let key = String::from_utf8_lossy(&settings.key.bytes).into_owned();
        match (cert.strip_prefix("cert "), key.strip_prefix("key ")) {
            (Some(cert), Some(key)) if cert == key => {
                Ok((cert.to_owned(), vec!["a warning".to_owned()]))
            }
            _ => Err(UnusableSetting::new("key", "they do not fit")),
        }
    }

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

        fn write(&self, name: &str, text: &str) {
            fs::write(self.folder.join(name), text).expect("a file");
        }

        fn remove(&self, name: &str) {
            fs::remove_file(self.folder.join(name)).expect("a removal");
        }

        fn file(&self) -> PathBuf {
            self.folder.join("w.yml")
        }

        fn watch(&self) -> Watch<Pair> {
            match Watch::open(&self.file(), make) {
                Ok((watch, _)) => watch,
                Err(problem) => panic!("{problem}"),
            }
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

    fn look(watch: &mut Watch<Pair>) -> String {
        told(watch.look(Instant::now()))
    }

    fn told(outcome: Option<Outcome>) -> String {
        match outcome {
            None => "nothing".to_owned(),
            Some(Outcome::Taken {
                summary, mended, ..
            }) => {
                let mended = if mended { " mended" } else { "" };
                format!("taken{mended} tls={} users={}", summary.tls, summary.users)
            }
            Some(Outcome::Kept(problem)) => format!("kept {problem}"),
            Some(Outcome::Closed(problem)) => format!("closed {problem}"),
        }
    }

    fn pair(watch: &Watch<Pair>) -> Option<String> {
        watch
            .active()
            .map(|front| front.tls.clone().unwrap_or_default())
    }

    #[test]
    fn a_change_a_break_and_a_repair_are_each_told_once() {
        let place = Place::new("change", &users(&["alice"]));
        let mut watch = place.watch();
        assert_eq!(look(&mut watch), "nothing");
        place.write("w.yml", &users(&["alice", "bob"]));
        assert_eq!(look(&mut watch), "taken tls=false users=2");
        assert_eq!(look(&mut watch), "nothing");
        place.write("w.yml", "nonsense: 1\n");
        let closed = look(&mut watch);
        let file = place.file();
        let expected = format!(
            "closed web configuration {}, line 1: nonsense: unknown key",
            file.display()
        );
        assert!(closed.starts_with(&expected), "{closed}");
        assert!(watch.active().is_none());
        assert_eq!(look(&mut watch), "nothing");
        assert!(watch.active().is_none());
        place.write("w.yml", "other: 1\n");
        assert!(look(&mut watch).starts_with("closed "));
        place.remove("w.yml");
        assert!(look(&mut watch).contains("w.yml: cannot be read: "));
        assert_eq!(look(&mut watch), "nothing");
        place.write("w.yml", &users(&["carol"]));
        assert_eq!(look(&mut watch), "taken mended tls=false users=1");
        assert!(watch.active().expect("open").users.contains_key("carol"));
        // The same text again, by way of a break.
        place.write("w.yml", "nonsense: 1\n");
        assert!(look(&mut watch).starts_with("closed "));
        place.write("w.yml", &users(&["carol"]));
        assert_eq!(look(&mut watch), "taken mended tls=false users=1");
    }

    #[test]
    fn tls_that_is_switched_on_is_taken() {
        let place = Place::new("on", "");
        let mut watch = place.watch();
        assert_eq!(pair(&watch).as_deref(), Some(""));
        place.write("w.yml", &tls(""));
        assert_eq!(look(&mut watch), "taken tls=true users=0");
        assert_eq!(pair(&watch).as_deref(), Some("1"));
    }

    #[test]
    fn a_renewal_in_two_steps_leaves_the_old_pair_in_use_between_them() {
        let place = Place::new("renewal", &tls(""));
        let mut watch = place.watch();
        place.write("c", "cert 2");
        let kept = look(&mut watch);
        assert!(
            kept.starts_with("kept ") && kept.ends_with("they do not fit"),
            "{kept}"
        );
        assert_eq!(pair(&watch).as_deref(), Some("1"));
        assert_eq!(look(&mut watch), "nothing");
        place.write("k", "key 2");
        assert_eq!(look(&mut watch), "taken tls=true users=0");
        assert_eq!(pair(&watch).as_deref(), Some("2"));
        // By way of a removal, and of a file that is not whole yet.
        place.remove("k");
        assert!(look(&mut watch).contains("tls_server_config.key_file: failed to read "));
        place.write("k", "ke");
        assert!(look(&mut watch).starts_with("kept "));
        place.write("c", "cert 3");
        assert!(look(&mut watch).starts_with("kept "));
        assert_eq!(pair(&watch).as_deref(), Some("2"));
        place.write("k", "key 3");
        assert_eq!(look(&mut watch), "taken tls=true users=0");
        assert_eq!(pair(&watch).as_deref(), Some("3"));
    }

    #[test]
    fn the_old_pair_does_not_stay_when_anything_else_has_changed() {
        let verify = tls("  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca\n");
        let place = Place::new("more", &verify);
        let mut watch = place.watch();
        place.write("c", "cert 2");
        assert!(look(&mut watch).starts_with("kept "));
        place.write("ca", "others");
        assert!(look(&mut watch).starts_with("closed "));
        assert_eq!(pair(&watch), None);
        place.write("ca", "authorities");
        assert!(look(&mut watch).starts_with("kept "));
        assert_eq!(pair(&watch).as_deref(), Some("1"));
        place.write("w.yml", &format!("{verify}# another text\n"));
        assert!(look(&mut watch).starts_with("closed "));
        place.write("w.yml", &verify);
        assert!(look(&mut watch).starts_with("kept "));
        place.remove("ca");
        // The pair is told first, and the authorities count all the same.
        assert!(look(&mut watch).starts_with("closed "));
        place.write("c", "cert 1");
        assert!(look(&mut watch).contains("client_ca_file: failed to read "));
        place.write("ca", "others");
        assert_eq!(look(&mut watch), "taken mended tls=true users=0");
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
                "no user is asked for",
            ),
            (
                "users-tls",
                format!("{}{}", tls(""), users(&["a"])),
                tls(""),
                "no user is asked for",
            ),
            (
                "need",
                auth("RequireAndVerifyClientCert"),
                auth("VerifyClientCertIfGiven"),
                "no client certificate is needed",
            ),
            (
                "need-any",
                auth("RequireAnyClientCert"),
                tls(""),
                "no client certificate is needed",
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
                "names of client certificates are not looked at",
            ),
        ] {
            let place = Place::new(&format!("less-{name}"), &before);
            let mut watch = place.watch();
            // No byte at all is nobody's word.
            place.write("w.yml", "");
            assert!(look(&mut watch).starts_with("closed "), "{name}");
            let seen = watch.files.clone();
            let again = told(Some(watch.read(Some(&seen), Instant::now())));
            assert!(again.starts_with("closed "), "{name} {again}");
            let after = if after.is_empty() {
                "{}\n".to_owned()
            } else {
                after
            };
            place.write("w.yml", &after);
            let closed = look(&mut watch);
            let expected = format!("w.yml: as it reads now {lost}; ");
            assert!(
                closed.starts_with("closed ") && closed.contains(&expected),
                "{closed}"
            );
            assert!(closed.contains("SIGHUP"), "{closed}");
            assert_eq!(look(&mut watch), "nothing", "{name}");
            assert!(watch.active().is_none(), "{name}");
            // The rest of the file comes.
            place.write("w.yml", &before);
            assert!(look(&mut watch).starts_with("taken mended "), "{name}");
            place.write("w.yml", &after);
            assert!(look(&mut watch).starts_with("closed "), "{name}");
            // Written again since the operator's first look: the writer has not done. A request looks in between.
            let seen = watch.files.clone();
            place.write("w.yml", &format!("{after}# more\n"));
            look(&mut watch);
            let early = told(Some(watch.read(Some(&seen), Instant::now())));
            assert!(early.starts_with("closed "), "{name} {early}");
            let seen = watch.files.clone();
            let taken = told(Some(watch.read(Some(&seen), Instant::now())));
            assert!(taken.starts_with("taken mended "), "{name} {taken}");
            assert!(watch.active().is_some(), "{name}");
            assert_eq!(look(&mut watch), "nothing", "{name}");
        }
    }

    #[test]
    fn a_truncated_file_never_opens_the_door() {
        let whole = format!(
            "{}{}",
            tls("  client_auth_type: RequireAnyClientCert\n"),
            users(&["a", "b"])
        );
        let place = Place::new("truncated", &whole);
        let mut watch = place.watch();
        for end in 0..whole.len() {
            place.write("w.yml", whole.get(..end).unwrap_or_default());
            look(&mut watch);
            if let Some(front) = watch.active() {
                assert!(front.tls.is_some() && !front.users.is_empty(), "{end}");
            }
        }
        place.write("w.yml", &whole);
        look(&mut watch);
        assert_eq!(watch.active().expect("open").users.len(), 2);
    }

    #[test]
    fn a_bucket_stays_as_long_as_its_limit() {
        let limit = |burst: u32| format!("rate_limit: {{interval: 1s, burst: {burst}}}\n");
        let place = Place::new("bucket", &limit(1));
        let mut watch = place.watch();
        let bucket =
            |watch: &Watch<Pair>| watch.active().expect("open").rate.clone().expect("a limit");
        let first = bucket(&watch);
        place.write("w.yml", &format!("{}{}", limit(1), users(&["a"])));
        assert_eq!(look(&mut watch), "taken tls=false users=1");
        assert!(Arc::ptr_eq(&first, &bucket(&watch)));
        place.write("w.yml", "nonsense: 1\n");
        assert!(look(&mut watch).starts_with("closed "));
        place.write("w.yml", &format!("{}{}", limit(1), users(&["b"])));
        assert_eq!(look(&mut watch), "taken mended tls=false users=1");
        assert!(Arc::ptr_eq(&first, &bucket(&watch)));
        place.write("w.yml", &format!("{}{}", limit(2), users(&["b"])));
        assert_eq!(look(&mut watch), "taken tls=false users=1");
        assert!(!Arc::ptr_eq(&first, &bucket(&watch)));
        place.write("w.yml", &users(&["b"]));
        assert_eq!(look(&mut watch), "taken tls=false users=1");
        assert!(watch.active().expect("open").rate.is_none());
    }

    #[test]
    fn the_front_is_what_the_files_say_and_sighup_reads_them_again() {
        let log = Log::new(LogConfig::default());
        let place = Place::new("front", &users(&["alice"]));
        let live = Reloader::open_with(Some(&place.file()), make, &log).expect("in order");
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
        let open = || match Reloader::open_with(Some(&place.file()), make, &log) {
            Ok(_) => "in order".to_owned(),
            Err(problem) => problem.0,
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
        assert_eq!(
            open(),
            format!("web configuration {name}: key: they do not fit")
        );
        fs::write(place.file(), b"# \n# \xff\n").expect("a file");
        assert_eq!(
            open(),
            format!("web configuration {name}, line 2: this is not UTF-8")
        );
        place.remove("w.yml");
        assert!(open().starts_with(&format!(
            "web configuration {name}: cannot be read: No such file"
        )));
    }

    #[test]
    fn no_hash_is_shown() {
        let place = Place::new("secret", &users(&["alice"]));
        let front: Arc<ActiveConfig<Pair>> = place.watch().active().expect("open");
        let shown = format!("{front:?}");
        assert!(shown.contains("alice") && !shown.contains("$2b"), "{shown}");
    }
}
