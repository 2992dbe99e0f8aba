//! A real Chromium, driven over its `DevTools` protocol: keys, screens, console, accessibility tree.
//!
//! The protocol uses two pipes, so there is no port to which anything else could connect. Everything waits for a
//! condition, and every wait has a limit. A browser or page that crashes fails its tests at once, with Chromium's
//! standard error.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, PipeWriter, Write, pipe};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::harness::{TempDir, skipped};

/// The limit of every wait: axe takes seconds on a page with long tables, and many times that on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);
/// After this time a page that did not load is requested again.
const ASKED_AGAIN: Duration = Duration::from_secs(10);

/// A width, a height, and whether it is a phone's.
pub type Screen = (u32, u32, bool);
pub const PHONE: Screen = (390, 844, true);
pub const DESKTOP: Screen = (1280, 900, false);

/// The process. All tests that run at the same time share one: its start costs more than most of them.
struct Chromium {
    child: Child,
    requests: Mutex<PipeWriter>,
    next_id: AtomicU64,
    own: Mutex<Session>,
    routes: Routes,
    /// Its profile and its standard error.
    dir: TempDir,
}

/// The receiver of each session's messages, by the session's name; `None` once Chromium has ended.
type Routes = Arc<Mutex<Option<HashMap<String, Sender<Value>>>>>;

/// A session with the browser itself, which has no name, or with a page.
struct Session {
    name: String,
    answers: Receiver<Value>,
    events: Vec<Value>,
}

/// One page in its own window, until it is dropped.
pub struct Browser {
    chromium: Arc<Chromium>,
    target: Value,
    session: Session,
}

impl Chromium {
    /// The running Chromium, or a new one. It ends with the last test that uses it. It is no static: a static is never
    /// dropped, and its folder would stay.
    fn shared() -> Arc<Self> {
        static RUNNING: Mutex<Weak<Chromium>> = Mutex::new(Weak::new());
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(chromium) = running.upgrade() {
            return chromium;
        }
        let chromium = Arc::new(Self::start());
        *running = Arc::downgrade(&chromium);
        chromium
    }

    fn start() -> Self {
        let dir = TempDir::new();
        // Its files are in its own folder, and only IP addresses resolve. The sandbox is off, as it works neither for
        // root nor without namespaces: the opened pages are this repository's own. No page is suspended because another
        // test's window covers it.
        let script = "exec chromium --headless=new --no-sandbox --remote-debugging-pipe --user-data-dir=\"$0/profile\" \
             --no-first-run --no-default-browser-check --disable-gpu --disable-dev-shm-usage --disable-breakpad \
             --disable-background-networking --disable-component-update --disable-sync --disable-extensions \
             --disable-default-apps --disable-background-timer-throttling --disable-renderer-backgrounding \
             --disable-backgrounding-occluded-windows --hide-scrollbars --force-color-profile=srgb \
             --host-resolver-rules='MAP * ~NOTFOUND, EXCLUDE 127.0.0.1' about:blank 3<&0 4>&1 </dev/null >/dev/null";
        let (its_requests, requests) = pipe().unwrap();
        let (answers, its_answers) = pipe().unwrap();
        let child = Command::new("sh")
            .args(["-c", script, &dir.path().display().to_string()])
            .env("HOME", dir.path())
            .stdin(its_requests)
            .stdout(its_answers)
            .stderr(File::create(dir.path().join("stderr")).unwrap())
            .spawn()
            .unwrap();
        let routes = Routes::new(Mutex::new(Some(HashMap::new())));
        let all = Arc::clone(&routes);
        thread::spawn(move || {
            for message in BufReader::new(answers).split(0).map_while(Result::ok) {
                let message: Value = serde_json::from_slice(&message).unwrap();
                let session = message["sessionId"].as_str().unwrap_or_default();
                let routes = all.lock().unwrap();
                // A closed page may still send a message.
                let reader = routes.as_ref().and_then(|routes| routes.get(session));
                reader.map(|reader| reader.send(message));
            }
            // The end of the channel tells those who wait for a response.
            all.lock().unwrap().take();
        });
        let own = Mutex::new(Session::new(&routes, ""));
        Self {
            child,
            requests: Mutex::new(requests),
            next_id: AtomicU64::new(1),
            own,
            routes,
            dir,
        }
    }

    /// One command of the protocol, and its result or its error. Events that arrive in the meantime are kept in the
    /// session's `events`.
    fn ask(&self, session: &mut Session, mut message: Value) -> Result<Value, Value> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        message["id"] = json!(id);
        if !session.name.is_empty() {
            message["sessionId"] = json!(session.name);
        }
        if let Err(error) = self.send(&message) {
            self.fail(&message, &error.to_string());
        }
        loop {
            let mut answer = match session.answers.recv_timeout(PATIENCE) {
                Ok(answer) => answer,
                Err(RecvTimeoutError::Timeout) => self.fail(&message, "no answer"),
                Err(RecvTimeoutError::Disconnected) => self.fail(&message, "it has ended"),
            };
            if answer["id"] == json!(id) {
                return match answer.get("error") {
                    Some(error) => Err(error.clone()),
                    None => Ok(answer["result"].take()),
                };
            }
            if answer["method"] == "Inspector.targetCrashed" {
                self.fail(&message, "the page has crashed");
            }
            if answer.get("method").is_some() {
                session.events.push(answer);
            }
        }
    }

    /// A command to the browser itself.
    fn ask_own(&self, method: &str, parameters: &Value) -> Value {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        self.ask(&mut own, json!({ "method": method, "params": parameters }))
            .unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn send(&self, message: &Value) -> std::io::Result<()> {
        let mut bytes = serde_json::to_vec(message).unwrap();
        bytes.push(0);
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.write_all(&bytes)
    }

    fn fail(&self, message: &Value, why: &str) -> ! {
        let stderr = fs::read_to_string(self.dir.path().join("stderr")).unwrap_or_default();
        // It also complains at length that a desktop's services are missing.
        let lines = stderr.lines().filter(|line| !line.contains(":dbus/"));
        let lines: Vec<&str> = lines.collect();
        let message = message.to_string();
        panic!(
            "Chromium: {why}, asked for {message:.300}; its standard error:\n{}",
            lines.join("\n")
        );
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Asks first: then it ends its own processes.
        let _ = self.send(&json!({ "id": 0, "method": "Browser.close" }));
        let end = Instant::now() + Duration::from_secs(10);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Session {
    fn new(routes: &Routes, name: &str) -> Self {
        let (sender, answers) = channel();
        if let Some(routes) = routes.lock().unwrap().as_mut() {
            routes.insert(name.to_owned(), sender);
        }
        Self {
            name: name.to_owned(),
            answers,
            events: Vec::new(),
        }
    }
}

impl Browser {
    /// A new page; `None`, and one line that says so, where Chromium is missing.
    pub fn start(test: &str) -> Option<Self> {
        // Not a failure in CI, unlike with smaller tools: not every system has it as a package.
        let path = std::env::var_os("PATH").unwrap_or_default();
        if !std::env::split_paths(&path).any(|folder| folder.join("chromium").is_file()) {
            skipped(test, "chromium is not here");
            return None;
        }
        let chromium = Chromium::shared();
        let page = json!({ "url": "about:blank", "newWindow": true });
        let target = chromium.ask_own("Target.createTarget", &page)["targetId"].take();
        let attached = chromium.ask_own(
            "Target.attachToTarget",
            &json!({ "targetId": target, "flatten": true }),
        );
        let session = Session::new(&chromium.routes, attached["sessionId"].as_str().unwrap());
        let mut browser = Self {
            chromium,
            target,
            session,
        };
        for domain in [
            "Inspector",
            "Page",
            "Runtime",
            "Log",
            "Network",
            "Audits",
            "Accessibility",
        ] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        // As if its window were in front, which holds for only one window.
        browser.call(
            "Emulation.setFocusEmulationEnabled",
            &json!({ "enabled": true }),
        );
        browser.show(DESKTOP, false);
        Some(browser)
    }

    /// One command of the protocol, and its result.
    pub fn call(&mut self, method: &str, parameters: &Value) -> Value {
        let message = json!({ "method": method, "params": parameters });
        self.chromium
            .ask(&mut self.session, message)
            .unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Opens a page and waits until it is complete. Automatic reloads are disabled: a reload would take away the focus
    /// and the unfolded parts, at a moment that depends on the machine's load.
    pub fn open(&mut self, url: &str) {
        self.watch(url);
        self.call("Page.stopLoading", &json!({}));
    }

    /// Opens a page that may reload itself. When the page before reloads at the same moment, that reload replaces the
    /// navigation, and the page is requested again.
    pub fn watch(&mut self, url: &str) {
        let there = format!("location.href === {}", json!(url));
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = self.call("Page.navigate", &json!({ "url": url }));
            let error = answer.get("errorText");
            assert!(
                error.is_none_or(|error| error == "net::ERR_ABORTED"),
                "{url}: {answer}"
            );
            let again = Instant::now() + ASKED_AGAIN;
            while Instant::now() < again {
                if self.try_value(&there) == Ok(json!(true)) {
                    return self.wait_for(&there);
                }
                thread::sleep(Duration::from_millis(10));
            }
            assert!(Instant::now() < end, "timed out waiting for {url}");
        }
    }

    /// The value of an expression in the page; of a promise, its result. A reload of the page aborts an expression,
    /// which is then evaluated again.
    pub fn value(&mut self, expression: &str) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.try_value(expression) {
                Ok(value) => return value,
                // An error of the protocol has a code, an exception of the expression has none.
                Err(error) if error.get("code").is_some() && Instant::now() < end => {
                    thread::sleep(Duration::from_millis(10));
                }
                Err(error) => panic!("{error}: {expression:.200}"),
            }
        }
    }

    fn try_value(&mut self, expression: &str) -> Result<Value, Value> {
        let parameters =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let message = json!({ "method": "Runtime.evaluate", "params": parameters });
        let mut answer = self.chromium.ask(&mut self.session, message)?;
        match answer.get("exceptionDetails") {
            Some(details) => Err(details.clone()),
            None => Ok(answer["result"]["value"].take()),
        }
    }

    pub fn text(&mut self, expression: &str) -> String {
        let value = self.value(expression);
        value
            .as_str()
            .unwrap_or_else(|| panic!("{expression}: {value}"))
            .to_owned()
    }

    /// Waits until a page is complete and an expression is true: on a page that is still loading, an expression sees
    /// only its beginning, and between pages there is nothing to evaluate it in.
    pub fn wait_for(&mut self, expression: &str) {
        let end = Instant::now() + PATIENCE;
        let condition = format!("document.readyState === 'complete' && ({expression})");
        while self.try_value(&condition) != Ok(json!(true)) {
            if Instant::now() > end {
                let page = self.try_value("location.href + '\\n' + document.body.innerText");
                panic!("timed out waiting for {expression} on {page:?}");
            }
            thread::sleep(Duration::from_millis(30));
        }
    }

    /// Presses a key that has a name, such as `Tab`.
    pub fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            " " => (32, " "),
            other => panic!("{other} is no key of this rig"),
        };
        let name = if key == " " { "Space" } else { key };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            self.call(
                "Input.dispatchKeyEvent",
                &json!({ "type": kind, "key": key, "code": name, "windowsVirtualKeyCode": code, "text": text }),
            );
        }
    }

    /// Types text into the focused element.
    pub fn write(&mut self, text: &str) {
        self.call("Input.insertText", &json!({ "text": text }));
    }

    /// Presses Tab until an expression is true.
    pub fn tab_to(&mut self, expression: &str) {
        for _ in 0..200 {
            if self.value(expression) == json!(true) {
                return;
            }
            self.press("Tab");
        }
        panic!("Tab does not reach {expression}");
    }

    /// Sets the size of the screen.
    pub fn resize(&mut self, (width, height, is_phone): Screen) {
        self.call(
            "Emulation.setDeviceMetricsOverride",
            &json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone }),
        );
    }

    /// Sets the screen and the colour scheme.
    pub fn show(&mut self, screen: Screen, is_dark: bool) {
        self.resize(screen);
        let scheme = if is_dark { "dark" } else { "light" };
        self.call(
            "Emulation.setEmulatedMedia",
            &json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] }),
        );
    }

    /// The page as a PNG: the visible part, or all of it.
    pub fn screenshot(&mut self, file: &Path, is_whole: bool) {
        let shot = self.call(
            "Page.captureScreenshot",
            &json!({ "format": "png", "captureBeyondViewport": is_whole }),
        );
        let bytes = BASE64_STANDARD
            .decode(shot["data"].as_str().unwrap())
            .unwrap();
        assert!(bytes.starts_with(b"\x89PNG"));
        std::fs::write(file, bytes).unwrap();
    }

    /// All complaints of the browser since the last call: console messages, exceptions, policy violations, markup that
    /// it had to repair.
    pub fn complaints(&mut self) -> Vec<Value> {
        // Events that are under way come before this response.
        self.value("1");
        let events = std::mem::take(&mut self.session.events);
        let is_complaint = |event: &Value| {
            [
                "Log.entryAdded",
                "Runtime.consoleAPICalled",
                "Runtime.exceptionThrown",
                "Audits.issueAdded",
                "Network.loadingFailed",
            ]
            .contains(&event["method"].as_str().unwrap())
                // A request that was cancelled by the next navigation, which is no fault.
                && event["params"]["canceled"] != json!(true)
        };
        events.into_iter().filter(is_complaint).collect()
    }

    /// The addresses that were requested since the last call of [`Self::complaints`].
    pub fn requested(&self) -> Vec<String> {
        let requests = self
            .session
            .events
            .iter()
            .filter(|event| event["method"] == "Network.requestWillBeSent");
        requests
            .map(|event| {
                event["params"]["request"]["url"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect()
    }

    /// The accessibility tree in order: roles and names. It is built again for each call: the one that Chromium builds
    /// while a page loads may keep the role that a field had before the rest of the page was there.
    pub fn accessible(&mut self) -> Vec<(String, String)> {
        self.call("Accessibility.disable", &json!({}));
        self.call("Accessibility.enable", &json!({}));
        let tree = self.call("Accessibility.getFullAXTree", &json!({}));
        let text = |value: &Value| value["value"].as_str().unwrap_or_default().to_owned();
        tree["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|node| node["ignored"] == json!(false))
            .map(|node| (text(&node["role"]), text(&node["name"])))
            // Parts of the other nodes.
            .filter(|(role, _)| !["InlineTextBox", "StaticText"].contains(&role.as_str()))
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Does not wait for the response, which a crashed page would not send.
        let close = json!({ "id": 0, "method": "Target.closeTarget", "params": { "targetId": self.target } });
        let _ = self.chromium.send(&close);
        if let Ok(mut routes) = self.chromium.routes.lock()
            && let Some(routes) = routes.as_mut()
        {
            routes.remove(&self.session.name);
        }
    }
}
