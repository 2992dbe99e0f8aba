//! A run: what is opened and started in which order, and how it ends.
//!
//! Owns the threads that live as long as the process; must not know HTTP or iperf3. An error is the one line that
//! `main` writes.

use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::Config;
use crate::iperf3::binary::Unusable;
use crate::log::{Field, Log};
use crate::signals::{Asked, Signals};
use crate::state::State;
use crate::systemd::notify::Notifier;
use crate::web::config::live::Live;
use crate::web::gate::admission::Admission;
use crate::web::gate::{Gate, Limits};
use crate::{sys, systemd, threads, web};

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
    let log = Log::new(config.log_level, config.log_format);
    Live::open(config.web_file.as_deref(), &log).map_err(|problem| problem.0)?;
    if let Some(credentials) = &config.credentials {
        credentials.check()?;
    }
    Ok("the configuration is in order\n".to_owned())
}

/// Runs the exporter until a signal ends it.
pub(crate) fn run(config: Config) -> Result<ExitCode, String> {
    let log = Log::new(config.log_level, config.log_format);
    // Before anything else opens a descriptor: those of systemd are known by their numbers alone.
    let passed = if config.systemd_socket {
        Some(systemd::sockets::listeners()?)
    } else {
        None
    };
    // Early, so that a signal during the start is not lost.
    let signals = Signals::register().map_err(|error| format!("cannot handle signals: {error}"))?;
    let notifier = Arc::new(Notifier::from_environment());
    let front = Live::open(config.web_file.as_deref(), &log).map_err(|problem| problem.0)?;
    let listeners = listeners(&config, passed, &log)?;
    let limits = Limits::default();
    let state = state(config, log, front, listeners.len(), limits);
    let (sender, ends) = mpsc::channel();
    let gate = open_gate(&state, limits, &sender)?;
    let run = Run {
        status: listening(&listeners),
        state,
        gate,
        notifier,
        sender,
    };
    run.start(signals, listeners)?;
    run.told(run.notifier.ready(&run.status));
    Ok(run.wait_for_end(&ends))
}

/// The state, and a warning when the system allows less than was asked for.
fn state(config: Config, log: Log, front: Live, listeners: usize, limits: Limits) -> Arc<State> {
    let wanted = config.max_connections;
    let admission = Admission::new(wanted, sys::raise_descriptor_limit(), listeners, limits);
    let most = admission.most();
    let state = Arc::new(State::new(config, log, front, admission));
    log_panics(&state);
    if most < wanted {
        state.log.warn(
            "the limit of open descriptors allows fewer connections than --web.max-connections",
            &[("connections", &most), ("wanted", &wanted)],
        );
    }
    state
}

/// Has panics told by the log, which no full pipe holds up; the standard library's own words could wait for ever.
fn log_panics(state: &Arc<State>) {
    let state = Arc::clone(state);
    std::panic::set_hook(Box::new(move |info| {
        let place = info.location().map(ToString::to_string);
        let payload = info.payload();
        let formatted = payload.downcast_ref::<String>().map(String::as_str);
        let what = formatted.or_else(|| payload.downcast_ref().copied());
        state.log.error(
            "panic",
            &[
                ("place", &place.unwrap_or_default()),
                ("what", &what.unwrap_or_default()),
            ],
        );
    }));
}

/// Starts the server, and the gate before it.
fn open_gate(
    state: &Arc<State>,
    limits: Limits,
    sender: &Sender<End>,
) -> Result<Arc<Gate>, String> {
    let server =
        web::server::bind().map_err(|error| format!("cannot listen behind the gate: {error}"))?;
    let gone = sender.clone();
    let address = server.address.clone();
    let gate = Gate::new(Arc::clone(state), limits, address, move |error| {
        // Fails only when `run` has ended already.
        let _ = gone.send(End::Stopped(error));
    });
    let gate = gate.map_err(|error| format!("cannot open the gate: {error}"))?;
    let server_state = Arc::clone(state);
    spawn("server", sender, move || {
        let Err(error) = server.serve(&server_state);
        Some(End::Stopped(error))
    })?;
    gate.try_way()
        .map_err(|error| format!("cannot reach the server behind the gate: {error}"))?;
    Ok(Arc::new(gate))
}

/// The sockets to accept connections on: those that systemd passed, or those that the flags name.
fn listeners(
    config: &Config,
    passed: Option<Vec<TcpListener>>,
    log: &Log,
) -> Result<Vec<TcpListener>, String> {
    if let Some(passed) = passed {
        if config.listen_given {
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

/// Starts a thread; what it gives back ends the run.
fn spawn(
    name: &str,
    sender: &Sender<End>,
    body: impl FnOnce() -> Option<End> + Send + 'static,
) -> Result<(), String> {
    let sender = sender.clone();
    let body = move || {
        if let Some(end) = body() {
            // Fails only when `run` has ended already.
            let _ = sender.send(end);
        }
    };
    threads::start(name, STACK_BYTES, Box::new(body))
        .map_err(|error| format!("cannot start a thread: {error}"))
}

/// What the threads of a run share.
#[derive(Clone)]
struct Run {
    state: Arc<State>,
    gate: Arc<Gate>,
    notifier: Arc<Notifier>,
    /// What systemd shows.
    status: String,
    sender: Sender<End>,
}

impl Run {
    fn spawn(
        &self,
        name: &str,
        body: impl FnOnce(&Self) -> Option<End> + Send + 'static,
    ) -> Result<(), String> {
        let own = self.clone();
        spawn(name, &self.sender, move || body(&own))
    }

    fn start(&self, signals: Signals, listeners: Vec<TcpListener>) -> Result<(), String> {
        let mut addresses = Vec::new();
        for listener in listeners {
            if let Ok(address) = listener.local_addr() {
                self.state.log.info("listening", &[("address", &address)]);
                addresses.push(address);
            }
            self.spawn("accept", move |run| {
                run.gate.accept(&listener).err().map(End::Stopped)
            })?;
        }
        let (reloads, asked) = mpsc::channel();
        self.spawn("reload", move |run| run.reload(&asked))?;
        self.spawn("signals", move |_| Some(Self::handle(signals, &reloads)))?;
        // On a thread of its own: a binary that hangs does not keep a signal waiting.
        self.spawn("iperf3", |run| {
            report_iperf3(&run.state);
            None
        })?;
        match self.notifier.watchdog_interval() {
            Some(interval) => self.spawn("watchdog", move |run| run.watch(interval, addresses)),
            None => Ok(()),
        }
    }

    /// A message that systemd did not get is worth a line, and nothing more.
    fn told(&self, sent: std::io::Result<()>) {
        if let Err(error) = sent {
            self.state
                .log
                .warn_seldom("systemd cannot be told", &[("error", &error)]);
        }
    }

    /// Passes on what signals ask for, until one asks for an end.
    fn handle(mut signals: Signals, reloads: &Sender<()>) -> End {
        while signals.wait() == Asked::Reread {
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
            self.told(self.notifier.reloading());
            let status = if self.state.front.reread(&self.state.log) {
                &self.status
            } else {
                "the web configuration is broken, every request is refused"
            };
            self.told(self.notifier.ready(status));
        }
        None
    }

    /// Tells systemd that the exporter is alive, as long as a connection to each listener is accepted and the server
    /// behind the gate answers it. Silence makes systemd start it anew.
    fn watch(&self, interval: Duration, addresses: Vec<SocketAddr>) -> Option<End> {
        let pulse = self.gate.pulse();
        // A firewall may keep this host from its own port: that is no reason to be started anew for ever. So a
        // listener counts from its first answer on.
        let mut listeners: Vec<(SocketAddr, bool)> = addresses
            .into_iter()
            .map(|address| (address, false))
            .collect();
        loop {
            let mut asked = Ok(());
            for (address, has_answered) in &mut listeners {
                match pulse.ask(*address) {
                    Ok(()) => *has_answered = true,
                    Err(error) if *has_answered => asked = Err(error),
                    Err(error) => self.state.log.warn_seldom(
                        "the watchdog cannot connect to a listener, and looks at the server behind the gate only",
                        &[("address", address), ("error", &error)],
                    ),
                }
            }
            match asked.and_then(|()| self.gate.try_way()) {
                Ok(()) => {
                    self.told(self.notifier.alive());
                    thread::sleep(interval);
                }
                Err(error) => {
                    self.state
                        .log
                        .error("the exporter does not answer itself", &[("error", &error)]);
                    thread::sleep(interval.min(WATCHDOG_RETRY));
                }
            }
        }
    }

    fn wait_for_end(&self, ends: &Receiver<End>) -> ExitCode {
        let log = &self.state.log;
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
        self.told(self.notifier.stopping("shutting down"));
        self.gate.close();
        self.state.shut_down(Instant::now() + SHUTDOWN_LIMIT);
    }
}

/// Says what iperf3 there is. After the listeners: the first answer need not wait for it.
fn report_iperf3(state: &State) {
    match state.binary.version() {
        Ok(version) => match state.binary.installed() {
            Ok(installed) => {
                let features = state.binary.features_listed();
                let path = installed.path.display();
                let mut fields: Vec<Field<'_>> = vec![("path", &path), ("version", &version)];
                fields.extend(
                    features
                        .iter()
                        .map(|list| -> Field<'_> { ("features", list) }),
                );
                state.log.info("iperf3 found", &fields);
                if features.is_none() {
                    state.log.warn(
                        "iperf3 --help says nothing: parameters are passed on unchecked, and none limits connecting",
                        &[("path", &path)],
                    );
                }
            }
            Err(unusable) => warn_unusable(&state.log, &unusable),
        },
        Err(unusable) => warn_unusable(&state.log, &unusable),
    }
    // They may come later, or be put right: no reason not to start.
    if let Some(credentials) = &state.credentials
        && let Err(line) = credentials.check()
    {
        let what = "iperf3's credentials cannot be read, probes will fail until they can";
        state.log.warn(what, &[("error", &line)]);
    }
}

fn warn_unusable(log: &Log, unusable: &Unusable) {
    log.warn(
        "no usable iperf3, probes will fail until there is one",
        &[("error", unusable)],
    );
}
