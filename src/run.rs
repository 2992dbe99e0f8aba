//! One run of the exporter: the order in which things are opened and started, and the shutdown.
//!
//! Owns the wiring: builds each ring and hands it what it needs. Also owns the crate `signal-hook` and the threads that
//! live as long as the process. Every error is the single line that `main` prints.

use std::fmt::Display;
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

/// Stack of threads that only wait and call into other rings.
const STACK_BYTES: usize = 256 * 1024;

/// Maximum duration of a shutdown. iperf3 gets half a second after SIGTERM, and pending responses are short.
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(1500);

/// Maximum pause after a failed self-check: under very many clients a single check can fail.
const WATCHDOG_RETRY: Duration = Duration::from_secs(2);

/// An error that stops the server. It ends the run the same way as a signal.
#[derive(Clone)]
struct Fatal {
    error: Arc<OnceLock<io::Error>>,
    signals: Handle,
}

impl Fatal {
    /// Ends the run. Of several errors the first one is kept.
    fn report(&self, error: io::Error) {
        let _ = self.error.set(error);
        self.signals.close();
    }
}

/// The log that the flags configure. Lines get a journal prefix if standard error is the journal.
fn log(config: &Config) -> Log {
    Log::new(LogConfig {
        is_journal: systemd::journal::has_stderr(),
        ..config.log
    })
}

pub(crate) fn run(config: Config) -> Result<ExitCode, ExitError> {
    let log = log(&config);
    // Before anything else opens a descriptor: systemd's descriptors are identified only by their numbers.
    let take_passed = config.http.systemd_socket;
    let passed = take_passed.then(systemd::sockets::listeners).transpose();
    let passed = passed.map_err(failed("--web.systemd-socket"))?;
    // Early, so that a signal during the start is not lost.
    let signals = Signals::new([SIGTERM, SIGINT, SIGQUIT, SIGHUP])
        .map_err(failed("cannot handle signals"))?;
    let notifier = Notifier::from_environment();
    let reloader = Reloader::open(config.web_file.as_deref(), &log)?;
    let listeners = listeners(&config.http, passed, &log)?;
    let limits = Limits::default();
    let traffic = traffic(config.http.max_connections, listeners.len(), limits, &log);
    let connections = traffic.max_connections();
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
    )
    .map_err(failed("cannot listen on the backend socket"))?;
    let answered = front_end.ping();
    answered.map_err(failed("cannot connect to the backend server"))?;
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
        .inspect_err(|_| run.front_end.clean_up())
        .map_err(failed("cannot start a thread"))?;
    run.note(run.notifier.ready(&run.status()));
    Ok(run.wait_for_end(signals))
}

/// Adds to an error what could not be done.
fn failed<E: Display>(what: &str) -> impl FnOnce(E) -> ExitError {
    move |error| ExitError::passing(format_args!("{what}: {error}"))
}

/// The functions that the front end calls.
fn callbacks(site: Arc<Site>, prober: Arc<Prober>, fatal: Fatal) -> Callbacks {
    let on_refused = {
        let site = Arc::clone(&site);
        move |client, url: &str, code, line: &str| site.note_refused(client, url, code, line)
    };
    Callbacks {
        handler: Box::new(move |request| routes::handle(&site, request)),
        on_refused: Arc::new(on_refused),
        on_hang_up: Box::new(move || prober.wake_all()),
        on_lost: Arc::new(move |error| fatal.report(error)),
    }
}

/// Counts panics and logs them. The log never blocks on a full pipe; the standard library's own panic message could
/// block for ever.
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

/// The listeners: those that systemd passed, or those that the flags name.
fn listeners(
    config: &HttpConfig,
    passed: Option<Vec<TcpListener>>,
    log: &Log,
) -> Result<Vec<TcpListener>, ExitError> {
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
        let what = format!("cannot listen on `{address}`");
        listeners.extend(address.bind().map_err(failed(&what))?);
    }
    Ok(listeners)
}

/// The shared state of all connections. There are at most `wanted`, or fewer if the limit of file descriptors is lower.
fn traffic(wanted: usize, listeners: usize, limits: Limits, log: &Log) -> Arc<Traffic> {
    let descriptors = sys::raise_descriptor_limit();
    let traffic = Traffic::new(Admission::new(wanted, descriptors, listeners, limits));
    let connections = traffic.max_connections();
    if connections < wanted {
        log.warn(
            "the limit of file descriptors allows fewer connections than --web.max-connections",
            &[("connections", &connections), ("wanted", &wanted)],
        );
    }
    traffic
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
    /// Reload requests that are not served yet; above 0 while a reload runs.
    reloads: AtomicUsize,
}

impl Run {
    fn spawn(
        self: &Arc<Self>,
        name: &str,
        body: impl FnOnce(&Self) + Send + 'static,
    ) -> io::Result<()> {
        let run = Arc::clone(self);
        threads::start(name, STACK_BYTES, Box::new(move || body(&run)))
    }

    /// Starts the threads.
    fn start(self: &Arc<Self>, listeners: Vec<TcpListener>) -> io::Result<()> {
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
        // On its own thread: a binary that hangs must not delay the handling of signals.
        self.spawn("iperf3", |run| run.prober.report_iperf3())?;
        match self.notifier.watchdog_interval() {
            Some(interval) => self.spawn("watchdog", move |run| run.watch(interval)),
            None => Ok(()),
        }
    }

    /// The status text that systemd shows for the service.
    fn status(&self) -> String {
        let addresses = self.addresses.iter().map(ToString::to_string);
        let addresses: Vec<String> = addresses.collect();
        format!("listening on {}", addresses.join(", "))
    }

    /// A failed notification is logged and otherwise ignored.
    fn note(&self, sent: io::Result<()>) {
        if let Err(error) = sent {
            self.log
                .warn_ratelimited("sd_notify failed", &[("error", &error)]);
        }
    }

    /// Reloads the web configuration on its own thread: it may take a while, and a shutdown must not wait for it. One
    /// thread at a time: a request during a reload triggers one more.
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
            let error = format!("cannot start a thread: {error}");
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

    /// Notifies systemd's watchdog as long as every listener accepts a connection and the server behind the front end
    /// responds. Without notifications systemd restarts the exporter.
    fn watch(&self, interval: Duration) -> ! {
        // A firewall may block connections from this host to its own port. That must not cause endless restarts, so a
        // listener is checked only after its first response.
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
        // Pending signals arrive in the order of their numbers: after SIGHUP comes the one that ends the run. After a
        // fatal error the iterator is closed and yields `None`.
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
        // In every case: a running iperf3 must not outlive the exporter.
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
