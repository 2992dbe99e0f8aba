//! A run: what is opened and started in which order, and how it ends.
//!
//! Owns the wiring: each ring is built here and handed what it needs. Owns the crate `signal-hook` and the threads that
//! live as long as the process too. An error is the one line that `main` writes.

use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cli::Config;
use crate::http::{Admission, FrontEnd, HttpConfig, Limits, Traffic};
use crate::log::Log;
use crate::metrics::process::Process;
use crate::probe::prober::Prober;
use crate::systemd::notify::Notifier;
use crate::toolkit::access::Access;
use crate::toolkit::config::reloader::Reloader;
use crate::web::routes;
use crate::web::site::{Collector, Paths, Site};
use crate::{sys, systemd, threads};

/// A stack for threads that only wait and pass on.
const STACK_BYTES: usize = 256 * 1024;

/// How long the end may take: iperf3 has its half second after SIGTERM, and the answers are short.
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(1500);

/// Pause after an answer that did not come: among very many clients one may be lost.
const WATCHDOG_RETRY: Duration = Duration::from_secs(2);

/// What ends the run.
enum End {
    Signal,
    Stopped(std::io::Error),
}

/// Checks the files that the flags name, the flags being in order; what to print then.
pub(crate) fn check(config: &Config) -> Result<String, String> {
    let log = Log::new(config.log);
    Reloader::open(config.web_file.as_deref(), &log)?;
    if let Some(credentials) = &config.probe.credentials {
        credentials.check()?;
    }
    Ok("the configuration is in order\n".to_owned())
}

/// Runs the exporter until a signal ends it.
pub(crate) fn run(config: Config) -> Result<ExitCode, String> {
    let log = Log::new(config.log);
    // Before anything else opens a descriptor: those of systemd are known by their numbers alone.
    let passed = if config.http.systemd_socket {
        Some(systemd::sockets::listeners()?)
    } else {
        None
    };
    // Early, so that a signal during the start is not lost.
    let signals = Signals::new([SIGTERM, SIGINT, SIGQUIT, SIGHUP])
        .map_err(|error| format!("cannot handle signals: {error}"))?;
    let notifier = Arc::new(Notifier::from_environment());
    let reloader = Reloader::open(config.web_file.as_deref(), &log)?;
    let listeners = listeners(&config.http, passed, &log)?;
    let limits = Limits::default();
    let traffic = Traffic::new(admission(&config.http, limits, listeners.len(), &log));
    let connections = traffic.max_connections();
    let (sender, ends) = mpsc::channel();
    let prober = Arc::new(Prober::new(config.probe, log.clone(), connections));
    let access = Arc::new(Access::new(reloader, log.clone(), connections));
    let site = site(config.paths, &prober, &access, &traffic, &log);
    let (waker, lost) = (Arc::clone(&prober), sender.clone());
    let front_end = FrontEnd::open(
        log.clone(),
        limits,
        Arc::clone(&traffic),
        Arc::clone(&access) as _,
        Box::new(move |request| routes::handle(&site, request)),
        Box::new(move || waker.wake_all()),
        Arc::new(move |error| {
            // Fails only when `run` has ended already.
            let _ = lost.send(End::Stopped(error));
        }),
    )?;
    let run = Run {
        status: listening(&listeners),
        log,
        front_end,
        traffic,
        access,
        prober,
        notifier,
        sender,
    };
    run.start(signals, listeners)
        .inspect_err(|_| run.front_end.clean_up())?;
    run.note(run.notifier.ready(&run.status));
    Ok(run.wait_for_end(&ends))
}

/// How many connections there may be, and a warning when the system allows less than was asked for.
fn admission(config: &HttpConfig, limits: Limits, listeners: usize, log: &Log) -> Admission {
    let wanted = config.max_connections;
    let admission = Admission::new(wanted, sys::raise_descriptor_limit(), listeners, limits);
    let max = admission.max();
    if max < wanted {
        log.warn(
            "the limit of open descriptors allows fewer connections than --web.max-connections",
            &[("connections", &max), ("wanted", &wanted)],
        );
    }
    admission
}

/// The pages, with what `/metrics` has of the other rings and of the process.
fn site(
    paths: Paths,
    prober: &Arc<Prober>,
    access: &Arc<Access>,
    traffic: &Arc<Traffic>,
    log: &Log,
) -> Site {
    let process = Arc::new(Process::new());
    log_panics(log.clone(), Arc::clone(&process));
    let (own_access, own_traffic) = (Arc::clone(access), Arc::clone(traffic));
    let collectors: Vec<Collector> = vec![
        Box::new(move |text| own_traffic.write_metrics(text)),
        Box::new(move |text| own_access.write_metrics(text)),
        Box::new(move |text| process.write_metrics(text)),
    ];
    Site::new(paths, Arc::clone(prober), Arc::clone(access), collectors)
}

/// Counts panics, and has them told by the log, which no full pipe holds up; the standard library's own words could
/// wait for ever.
fn log_panics(log: Log, process: Arc<Process>) {
    std::panic::set_hook(Box::new(move |info| {
        process.count_panic();
        let place = info.location().map(ToString::to_string);
        let payload = info.payload();
        let formatted = payload.downcast_ref::<String>().map(String::as_str);
        let what = formatted.or_else(|| payload.downcast_ref().copied());
        log.error(
            "panic",
            &[
                ("place", &place.unwrap_or_default()),
                ("what", &what.unwrap_or_default()),
            ],
        );
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
            log.warn(
                "--web.systemd-socket is given: --web.listen-address and --port are not used",
                &[],
            );
        }
        return Ok(passed);
    }
    let unused = systemd::sockets::passed();
    if unused > 0 {
        log.warn(
            "systemd passed sockets that are not used: --web.systemd-socket takes them",
            &[("sockets", &unused)],
        );
    }
    let mut listeners = Vec::new();
    for address in &config.listen {
        let sockets = address
            .bind()
            .map_err(|error| format!("cannot listen on `{address}`: {error}"))?;
        listeners.extend(sockets);
    }
    Ok(listeners)
}

/// What systemd shows as the state of the service.
fn listening(listeners: &[TcpListener]) -> String {
    let addresses = listeners.iter().filter_map(|l| l.local_addr().ok());
    let addresses: Vec<String> = addresses.map(|address| address.to_string()).collect();
    format!("listening on {}", addresses.join(", "))
}

/// What the threads of a run share.
#[derive(Clone)]
struct Run {
    log: Log,
    front_end: FrontEnd,
    traffic: Arc<Traffic>,
    access: Arc<Access>,
    prober: Arc<Prober>,
    notifier: Arc<Notifier>,
    /// What systemd shows.
    status: String,
    sender: Sender<End>,
}

impl Run {
    /// Starts a thread; what it gives back ends the run.
    fn spawn(
        &self,
        name: &str,
        body: impl FnOnce(&Self) -> Option<End> + Send + 'static,
    ) -> Result<(), String> {
        let own = self.clone();
        let body = move || {
            if let Some(end) = body(&own) {
                // Fails only when `run` has ended already.
                let _ = own.sender.send(end);
            }
        };
        threads::start(name, STACK_BYTES, Box::new(body))
            .map_err(|error| format!("cannot start a thread: {error}"))
    }

    fn start(&self, signals: Signals, listeners: Vec<TcpListener>) -> Result<(), String> {
        let mut addresses = Vec::new();
        for listener in listeners {
            if let Ok(address) = listener.local_addr() {
                self.log.info("listening", &[("address", &address)]);
                addresses.push(address);
            }
            self.spawn("accept", move |run| {
                run.front_end.accept(&listener).err().map(End::Stopped)
            })?;
        }
        let (reloads, asked) = mpsc::channel();
        self.spawn("reload", move |run| run.reload(&asked))?;
        self.spawn("signals", move |_| Some(Self::handle(signals, &reloads)))?;
        // On a thread of its own: a binary that hangs does not keep a signal waiting.
        self.spawn("iperf3", |run| {
            run.prober.report_iperf3();
            None
        })?;
        match self.notifier.watchdog_interval() {
            Some(interval) => self.spawn("watchdog", move |run| run.watch(interval, addresses)),
            None => Ok(()),
        }
    }

    /// A message that systemd did not get is worth a line, and nothing more.
    fn note(&self, sent: std::io::Result<()>) {
        if let Err(error) = sent {
            self.log
                .warn_ratelimited("systemd cannot be told", &[("error", &error)]);
        }
    }

    /// Has the web configuration read again at SIGHUP, until another signal asks for an end.
    fn handle(mut signals: Signals, reloads: &Sender<()>) -> End {
        // In the order of their numbers when several came: an end that was asked for as well comes next.
        while signals.forever().next() == Some(SIGHUP) {
            // Fails only when `run` has ended already.
            let _ = reloads.send(());
        }
        End::Signal
    }

    /// Reads the web configuration again when asked to. On a thread of its own, as it may take a while: an end does not
    /// wait for it.
    fn reload(&self, asked: &Receiver<()>) -> Option<End> {
        while asked.recv().is_ok() {
            // Who asks several times before it begins has one answer.
            while asked.try_recv().is_ok() {}
            self.note(self.notifier.reloading());
            let status = if self.access.reload() {
                &self.status
            } else {
                "the web configuration is broken, every request is refused"
            };
            self.note(self.notifier.ready(status));
        }
        None
    }

    /// Tells systemd that the exporter is alive, as long as a connection to each listener is accepted and the server
    /// behind the front end answers it. Silence makes systemd start it anew.
    fn watch(&self, interval: Duration, addresses: Vec<SocketAddr>) -> Option<End> {
        // A firewall may keep this host from its own port: that is no reason to be started anew for ever. So a
        // listener counts from its first answer on.
        let mut listeners: Vec<(SocketAddr, bool)> = addresses
            .into_iter()
            .map(|address| (address, false))
            .collect();
        loop {
            let (mut failed, mut is_answered) = (None, false);
            for (address, has_answered) in &mut listeners {
                match self.front_end.self_check(*address) {
                    Ok(()) => (*has_answered, is_answered) = (true, true),
                    Err(error) if *has_answered => failed = Some(error),
                    Err(error) => self.log.warn_ratelimited(
                        "the watchdog cannot connect to a listener, and looks at the server behind the gate only",
                        &[("address", address), ("error", &error)],
                    ),
                }
            }
            // A listener's answer came by way of the backend, which is asked by itself only where there was none.
            let checked = match failed {
                Some(error) => Err(error),
                None if is_answered => Ok(()),
                None => self.front_end.ping(),
            };
            match checked {
                Ok(()) => {
                    self.note(self.notifier.alive());
                    thread::sleep(interval);
                }
                Err(error) => {
                    self.log
                        .error("the exporter does not answer itself", &[("error", &error)]);
                    thread::sleep(interval.min(WATCHDOG_RETRY));
                }
            }
        }
    }

    fn wait_for_end(&self, ends: &Receiver<End>) -> ExitCode {
        let log = &self.log;
        match ends.recv() {
            Ok(End::Signal) => {
                log.info("shutting down", &[]);
                self.shut_down();
                ExitCode::SUCCESS
            }
            Ok(End::Stopped(error)) => {
                log.error("the server stopped", &[("error", &error)]);
                // A running iperf3 is not left behind.
                self.shut_down();
                ExitCode::FAILURE
            }
            Err(error) => {
                log.error("every thread ended", &[("error", &error)]);
                ExitCode::FAILURE
            }
        }
    }

    fn shut_down(&self) {
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
    }
}
