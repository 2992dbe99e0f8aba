//! A run: what is opened and started in which order, and how it ends.
//!
//! Owns the wiring: each ring is built here and handed what it needs. Owns the crate `signal-hook` and the threads that
//! live as long as the process too. An error is the one line that `main` writes.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use crate::cli::Config;
use crate::exit_error::ExitError;
use crate::http::{Admission, Callbacks, FrontEnd, HttpConfig, Limits, Traffic};
use crate::log::{Log, LogConfig};
use crate::metrics::process::Process;
use crate::probe::prober::Prober;
use crate::systemd::notify::Notifier;
use crate::toolkit::access::Access;
use crate::toolkit::config::reloader::Reloader;
use crate::web::csrf::CsrfToken;
use crate::web::refusals::Refusals;
use crate::web::{self, Site, routes};
use crate::{sys, systemd, threads};

/// For threads that only wait and pass on.
const STACK_BYTES: usize = 256 * 1024;

/// How long the end may take: iperf3 has its half second after SIGTERM, and the answers are short.
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(1500);

/// Pause after an answer that did not come: among very many clients one may be lost.
const WATCHDOG_RETRY: Duration = Duration::from_secs(2);

/// What keeps the server from going on, which ends the run as a signal does.
#[derive(Clone)]
struct Fatal {
    error: Arc<OnceLock<io::Error>>,
    signals: Handle,
}

impl Fatal {
    /// Ends the run; of several errors the first one is told.
    fn report(&self, error: io::Error) {
        let _ = self.error.set(error);
        self.signals.close();
    }
}

/// The log as the flags want it, for whoever reads standard error.
fn log(config: &Config) -> Log {
    Log::new(LogConfig {
        is_journal: systemd::journal::has_stderr(),
        ..config.log
    })
}

pub(crate) fn run(config: Config) -> Result<ExitCode, ExitError> {
    let log = log(&config);
    // Before anything else opens a descriptor: those of systemd are known by their numbers alone.
    let take_passed = config.http.systemd_socket;
    let passed = take_passed.then(systemd::sockets::listeners).transpose()?;
    // Early, so that a signal during the start is not lost.
    let signals = Signals::new([SIGTERM, SIGINT, SIGQUIT, SIGHUP])
        .map_err(|error| format!("cannot handle signals: {error}"))?;
    let notifier = Notifier::from_environment();
    let reloader = Reloader::open(config.web_file.as_deref(), &log)?;
    let listeners = listeners(&config.http, passed, &log)?;
    let limits = Limits::default();
    let wanted = config.http.max_connections;
    let descriptors = sys::raise_descriptor_limit();
    let traffic = Traffic::new(Admission::new(wanted, descriptors, listeners.len(), limits));
    let connections = traffic.max_connections();
    if connections < wanted {
        log.warn(
            "the limit of file descriptors allows fewer connections than --web.max-connections",
            &[("connections", &connections), ("wanted", &wanted)],
        );
    }
    let fatal = Fatal {
        error: Arc::default(),
        signals: signals.handle(),
    };
    let prober = Arc::new(Prober::new(config.probe, log.clone(), connections));
    let access = Arc::new(Access::new(reloader, log.clone(), connections));
    let process = Arc::new(Process::new());
    log_panics(log.clone(), Arc::clone(&process));
    let site = Arc::new(Site {
        refusals: Refusals::new(log.clone(), config.probe_path.clone()),
        telemetry_path: config.telemetry_path,
        probe_path: config.probe_path,
        prober: Arc::clone(&prober),
        access: Arc::clone(&access),
        traffic: Arc::clone(&traffic),
        process,
        csrf: CsrfToken::new(),
        metrics: web::metrics::Metrics::default(),
    });
    let front_end = FrontEnd::open(
        log.clone(),
        limits,
        Arc::clone(&traffic),
        Arc::clone(&access) as _,
        callbacks(site, Arc::clone(&prober), fatal.clone()),
    )?;
    let addresses = listeners.iter().filter_map(|l| l.local_addr().ok());
    let run = Arc::new(Run {
        log,
        front_end,
        traffic,
        access,
        prober,
        notifier,
        addresses: addresses.collect(),
        fatal,
        reloads: AtomicUsize::new(0),
    });
    run.start(listeners)
        .inspect_err(|_| run.front_end.clean_up())?;
    run.note(run.notifier.ready(&run.status()));
    Ok(run.wait_for_end(signals))
}

/// What the front end hands on.
fn callbacks(site: Arc<Site>, prober: Arc<Prober>, fatal: Fatal) -> Callbacks {
    let own_site = Arc::clone(&site);
    Callbacks {
        handler: Box::new(move |request| routes::handle(&site, request)),
        on_refused: Arc::new(move |client, url, code, line| {
            own_site.note_refused(client, url, code, line);
        }),
        on_hang_up: Box::new(move || prober.wake_all()),
        on_lost: Arc::new(move |error| fatal.report(error)),
    }
}

/// Counts panics, and has them told by the log, which no full pipe holds up; the standard library's own words could
/// wait for ever.
fn log_panics(log: Log, process: Arc<Process>) {
    std::panic::set_hook(Box::new(move |info| {
        process.count_panic();
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let payload = info.payload();
        let formatted = payload.downcast_ref::<String>().map(String::as_str);
        let what = formatted.or_else(|| payload.downcast_ref().copied());
        let what = what.unwrap_or_default();
        log.error("panic", &[("place", &place), ("what", &what)]);
    }));
}

/// The sockets to accept connections on: those that systemd passed, or those that the flags name.
fn listeners(
    config: &HttpConfig,
    passed: Option<Vec<TcpListener>>,
    log: &Log,
) -> Result<Vec<TcpListener>, String> {
    if let Some(passed) = passed {
        if config.is_listen_given {
            let what = "--web.systemd-socket is set: ignoring --web.listen-address and --port";
            log.warn(what, &[]);
        }
        return Ok(passed);
    }
    let unused = systemd::sockets::passed();
    if unused > 0 {
        let what = "ignoring sockets passed by systemd: --web.systemd-socket is not set";
        log.warn(what, &[("sockets", &unused)]);
    }
    let mut listeners = Vec::new();
    for address in &config.listen {
        let sockets = address.bind();
        listeners
            .extend(sockets.map_err(|error| format!("cannot listen on `{address}`: {error}"))?);
    }
    Ok(listeners)
}

struct Run {
    log: Log,
    front_end: FrontEnd,
    traffic: Arc<Traffic>,
    access: Arc<Access>,
    prober: Arc<Prober>,
    notifier: Notifier,
    addresses: Vec<SocketAddr>,
    fatal: Fatal,
    /// How often a reload was asked for since the last one that is over began.
    reloads: AtomicUsize,
}

impl Run {
    fn spawn(
        self: &Arc<Self>,
        name: &str,
        body: impl FnOnce(&Self) + Send + 'static,
    ) -> Result<(), String> {
        let run = Arc::clone(self);
        threads::start(name, STACK_BYTES, Box::new(move || body(&run)))
            .map_err(|error| format!("cannot start a thread: {error}"))
    }

    fn start(self: &Arc<Self>, listeners: Vec<TcpListener>) -> Result<(), String> {
        for address in &self.addresses {
            self.log.info("listening", &[("address", address)]);
        }
        for listener in listeners {
            self.spawn("accept", move |run| {
                if let Err(error) = run.front_end.accept(&listener) {
                    run.fatal.report(error);
                }
            })?;
        }
        // On a thread of its own: a binary that hangs does not keep a signal waiting.
        self.spawn("iperf3", |run| run.prober.report_iperf3())?;
        match self.notifier.watchdog_interval() {
            Some(interval) => self.spawn("watchdog", move |run| run.watch(interval)),
            None => Ok(()),
        }
    }

    /// What systemd shows as the state of the service.
    fn status(&self) -> String {
        let addresses = self.addresses.iter().map(ToString::to_string);
        let addresses: Vec<String> = addresses.collect();
        format!("listening on {}", addresses.join(", "))
    }

    /// A message that systemd did not get is worth a line, and nothing more.
    fn note(&self, sent: io::Result<()>) {
        if let Err(error) = sent {
            self.log
                .warn_ratelimited("sd_notify failed", &[("error", &error)]);
        }
    }

    /// Has the web configuration read again. On a thread of its own, as it may take a while: an end does not wait for
    /// it. One thread at a time: whoever asks while it reads has it read once more.
    fn ask_for_reload(self: &Arc<Self>) {
        if self.reloads.fetch_add(1, Ordering::SeqCst) > 0 {
            return;
        }
        let started = self.spawn("reload", |run| {
            loop {
                let asked = run.reloads.load(Ordering::SeqCst);
                run.reload();
                if run.reloads.fetch_sub(asked, Ordering::SeqCst) == asked {
                    return;
                }
            }
        });
        if let Err(error) = started {
            self.reloads.store(0, Ordering::SeqCst);
            let what = "cannot reload the web configuration";
            self.log.error(what, &[("error", &error)]);
        }
    }

    fn reload(&self) {
        self.note(self.notifier.reloading());
        let status = if self.access.reload() {
            self.status()
        } else {
            "invalid web configuration: rejecting all requests".to_owned()
        };
        self.note(self.notifier.ready(&status));
    }

    /// Tells systemd that the exporter is alive, as long as a connection to each listener is accepted and the server
    /// behind the front end answers. Silence makes systemd start it anew.
    fn watch(&self, interval: Duration) -> ! {
        // A firewall may keep this host from its own port: that is no reason to be started anew for ever. So a
        // listener counts from its first answer on.
        let mut answered: Vec<SocketAddr> = Vec::new();
        loop {
            let mut checked = self.front_end.ping();
            for address in &self.addresses {
                let is_known = answered.contains(address);
                match self.front_end.self_check(*address) {
                    Ok(()) if is_known => {}
                    Ok(()) => answered.push(*address),
                    Err(error) if is_known => checked = Err(error),
                    Err(error) => self.log.warn_ratelimited(
                        "the watchdog cannot connect to a listener: checking the backend server only",
                        &[("address", address), ("error", &error)],
                    ),
                }
            }
            let pause = match checked {
                Ok(()) => {
                    self.note(self.notifier.alive());
                    interval
                }
                Err(error) => {
                    self.log
                        .error("watchdog self-check failed", &[("error", &error)]);
                    interval.min(WATCHDOG_RETRY)
                }
            };
            thread::sleep(pause);
        }
    }

    fn wait_for_end(self: &Arc<Self>, mut signals: Signals) -> ExitCode {
        // In the order of their numbers when several came: an end that was asked for as well comes next. After a fatal
        // error no more of them come.
        let mut signals = signals.forever();
        while signals.next() == Some(SIGHUP) {
            self.ask_for_reload();
        }
        let code = if let Some(error) = self.fatal.error.get() {
            self.log.error("the server stopped", &[("error", error)]);
            ExitCode::FAILURE
        } else {
            self.log.info("shutting down", &[]);
            ExitCode::SUCCESS
        };
        // Whatever the end: a running iperf3 is not left behind.
        self.note(self.notifier.stopping("shutting down"));
        let until = Instant::now() + SHUTDOWN_LIMIT;
        self.front_end.close();
        self.prober.shut_down();
        self.traffic.cancel_all();
        self.prober.wake_all();
        self.access.shut_down();
        self.traffic.wait_until_idle(until);
        self.prober.wait_until_idle(until);
        self.front_end.clean_up();
        code
    }
}

#[cfg(test)]
mod tests {
    use super::{Fatal, SIGHUP, Signals};
    use std::io;
    use std::sync::Arc;
    use std::thread;

    #[test]
    fn a_fatal_error_ends_the_wait_for_signals_and_the_first_one_is_kept() {
        let mut signals = Signals::new([SIGHUP]).unwrap();
        let fatal = Fatal {
            error: Arc::default(),
            signals: signals.handle(),
        };
        let reported = fatal.clone();
        let thread = thread::spawn(move || {
            reported.report(io::ErrorKind::ConnectionReset.into());
            reported.report(io::ErrorKind::NotFound.into());
        });
        assert_eq!(signals.forever().next(), None);
        thread.join().unwrap();
        let kept = fatal.error.get().map(io::Error::kind);
        assert_eq!(kept, Some(io::ErrorKind::ConnectionReset));
    }
}
