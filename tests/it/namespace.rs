//! Network namespaces and what runs in them: an `iperf3 -s`, an exporter that is reached from outside.
//!
//! They have no names: each lives as long as its processes. The first of these ends when its pipe closes, and the
//! kernel ends the others with the thread that started them. So a run that panics or is killed leaves nothing behind.
//! The bench uses this file too. It must not know what is measured.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// The programs that this file starts.
pub(crate) const PROGRAMS: [&str; 5] = ["ip", "nsenter", "setpriv", "tc", "unshare"];

/// Why no namespace can be made here; `None` when one can.
pub(crate) fn why_not() -> Option<String> {
    Bridge::new(1).err()
}

/// A network namespace.
pub(crate) struct Namespace {
    holder: Child,
    /// The first process reads from this pipe and exits when it closes.
    _pipe: Option<ChildStdin>,
}

impl Namespace {
    /// An empty namespace with loopback and without IPv6, whose own datagrams would be counted with those of a test.
    pub(crate) fn new() -> Result<Self, String> {
        let script = "ip link set lo up && { echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6 || true; } \
                      && { echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6 || true; } && echo made && exec cat";
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start unshare: {error}"))?;
        let pipe = holder.stdin.take();
        let output = lines(&mut holder)?;
        let namespace = Self {
            holder,
            _pipe: pipe,
        };
        namespace.wait_for(output, "made")
    }

    fn wait_for(mut self, mut output: BufReader<ChildStdout>, word: &str) -> Result<Self, String> {
        let mut line = String::new();
        let _ = output.read_line(&mut line);
        if line.trim_end() == word {
            return Ok(self);
        }
        let mut words = String::new();
        if let Some(mut stderr) = self.holder.stderr.take() {
            let _ = stderr.read_to_string(&mut words);
        }
        Err(format!("cannot make a namespace: {}", words.trim()))
    }

    /// The process ID of its first process.
    pub(crate) fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// A command that runs in it and ends with the thread that starts it.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        // Both programs exec the next one: the process that is started is the program itself.
        command.args(["--pdeathsig", "TERM", "nsenter"]);
        command.arg(format!("--net=/proc/{}/ns/net", self.pid()));
        command.arg(program);
        command
    }

    /// Runs a command, split at blanks, to its end; its output.
    pub(crate) fn run(&self, line: &str) -> Result<String, String> {
        let mut words = line.split_whitespace();
        let output = self
            .command(words.next().unwrap_or_default())
            .args(words)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cannot run `{line}`: {error}"))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(format!("`{line}` failed: {}", words.trim()))
        }
    }

    /// Lets it forward packets.
    pub(crate) fn forward(&self) -> Result<(), String> {
        let written = self
            .command("sh")
            .args(["-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])
            .status();
        match written {
            Ok(status) if status.success() => Ok(()),
            _ => Err("cannot make a router of a namespace".to_owned()),
        }
    }

    /// A command for an exporter in it, and the port of 127.0.0.1 outside on which the exporter answers: a socket stays
    /// in the namespace in which it was made, whichever process accepts from it.
    pub(crate) fn exporter(&self, binary: &str) -> Result<(Command, u16), String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .map_err(|error| format!("cannot listen on loopback: {error}"))?;
        let port = listener
            .local_addr()
            .map_err(|error| error.to_string())?
            .port();
        // As systemd passes it: file descriptor 3, and the exporter's own process ID in its environment.
        let script =
            "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$; export LISTEN_FDS LISTEN_PID
                      exec \"$0\" --web.systemd-socket \"$@\"";
        let mut command = self.command("sh");
        command
            .args(["-c", script, binary])
            .stdin(OwnedFd::from(listener));
        Ok((command, port))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Connects two namespaces by a virtual cable; both ends are up and have no address.
pub(crate) fn connect(one: (&Namespace, &str), other: (&Namespace, &str)) -> Result<(), String> {
    let ((one, one_end), (other, other_end)) = (one, other);
    let pid = other.pid();
    one.run(&format!(
        "ip link add {one_end} type veth peer name {other_end} netns {pid}"
    ))?;
    one.run(&format!("ip link set {one_end} up"))?;
    other
        .run(&format!("ip link set {other_end} up"))
        .map(|_| ())
}

/// Hosts on one switch, each a namespace with its address from [`Bridge::address`].
pub(crate) struct Bridge {
    pub(crate) hosts: Vec<Namespace>,
    _switch: Namespace,
}

impl Bridge {
    /// Makes the switch and its hosts.
    pub(crate) fn new(hosts: usize) -> Result<Self, String> {
        let switch = Namespace::new()?;
        switch.run("ip link add switch type bridge")?;
        switch.run("ip link set switch up")?;
        let hosts: Result<Vec<Namespace>, String> = (0..hosts)
            .map(|number| {
                let host = Namespace::new()?;
                let port = format!("port{number}");
                connect((&host, "eth0"), (&switch, &port))?;
                switch.run(&format!("ip link set {port} master switch"))?;
                host.run(&format!(
                    "ip address add {}/24 dev eth0",
                    Self::address(number)
                ))?;
                Ok(host)
            })
            .collect();
        Ok(Self {
            hosts: hosts?,
            _switch: switch,
        })
    }

    /// The address of a host.
    pub(crate) fn address(number: usize) -> String {
        format!("192.0.2.{}", number + 1)
    }
}

/// A real `iperf3 -s` in a namespace, until it is dropped.
pub(crate) struct Server {
    child: Child,
    /// A message each time the server reports that it listens: before the first test and after each test.
    listens: Receiver<()>,
}

impl Server {
    /// Starts it and waits until it listens.
    pub(crate) fn start(namespace: &Namespace, iperf3: &Path, port: u16) -> Result<Self, String> {
        let mut child = namespace
            .command(iperf3)
            .args(["-s", "--forceflush", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start iperf3: {error}"))?;
        let output = lines(&mut child)?;
        let (sender, listens) = mpsc::channel();
        // Keep reading, so that the pipe never fills.
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if line.contains("Server listening") {
                    let _ = sender.send(());
                }
            }
        });
        let server = Self { child, listens };
        server.wait_until_it_listens()?;
        Ok(server)
    }

    /// Waits for the start or for the end of a test: the server finishes a test later than its client.
    pub(crate) fn wait_until_it_listens(&self) -> Result<(), String> {
        /// Far longer than it takes on a busy machine.
        const LIMIT: Duration = Duration::from_secs(30);
        self.listens
            .recv_timeout(LIMIT)
            .map_err(|_| "timed out waiting for iperf3 -s to listen".to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(child: &mut Child) -> Result<BufReader<ChildStdout>, String> {
    let stdout = child.stdout.take().ok_or("a child without an output")?;
    Ok(BufReader::new(stdout))
}
