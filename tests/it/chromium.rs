//! A real Chromium, driven over its `DevTools` protocol: keys, screens, what it says, what it shows to assistive
//! technology.
//!
//! The protocol goes over two pipes, so that there is no port that anyone else could speak to. Everything waits for a
//! condition, and every wait has the harness' limit.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::harness::{PATIENCE, TempDir, skipped};

/// A width, a height, and whether it is a phone's.
pub type Screen = (u32, u32, bool);
pub const PHONE: Screen = (390, 844, true);
pub const DESKTOP: Screen = (1280, 900, false);

/// One browser with one page, until it is dropped.
pub struct Browser {
    child: Child,
    requests: File,
    answers: Receiver<Value>,
    next: u64,
    session: Option<String>,
    events: Vec<Value>,
    /// Chromium's profile, and the pipes.
    _dir: TempDir,
}

impl Browser {
    /// Starts it; none, and a line that says so, where there is no Chromium.
    pub fn start(test: &str) -> Option<Self> {
        // Not a failure in CI, as it is with smaller tools: not every system has it as a package.
        let path = std::env::var_os("PATH").unwrap_or_default();
        if !std::env::split_paths(&path).any(|folder| folder.join("chromium").is_file()) {
            skipped(test, "chromium is not here");
            return None;
        }
        let dir = TempDir::new();
        let path = |name: &str| dir.path().join(name);
        let made = Command::new("mkfifo")
            .args([path("requests"), path("answers")])
            .status();
        assert!(made.unwrap().success());
        // Its own files are in its own folder, and no name but an address leads anywhere. Root, and who may make no
        // namespace, have no sandbox: what is opened here is this repository's own pages.
        let script = "cd \"$0\"; exec chromium --headless=new --no-sandbox --remote-debugging-pipe --user-data-dir=\"$0/profile\" \
             --no-first-run --no-default-browser-check --disable-gpu --disable-dev-shm-usage --disable-breakpad \
             --disable-background-networking --disable-component-update --disable-sync --disable-extensions \
             --disable-default-apps --hide-scrollbars --force-color-profile=srgb \
             --host-resolver-rules='MAP * ~NOTFOUND, EXCLUDE 127.0.0.1' \"$@\" 3<requests 4>answers";
        let child = Command::new("sh")
            .args(["-c", script, &dir.path().display().to_string()])
            .arg("about:blank")
            .env("HOME", dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let requests = File::options().write(true).open(path("requests")).unwrap();
        let answers = File::open(path("answers")).unwrap();
        let (sender, receiver) = channel();
        thread::spawn(move || {
            for message in BufReader::new(answers).split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).unwrap();
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let mut browser = Self {
            child,
            requests,
            answers: receiver,
            next: 0,
            session: None,
            events: Vec::new(),
            _dir: dir,
        };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attached = browser.call(
            "Target.attachToTarget",
            &json!({ "targetId": target["targetId"], "flatten": true }),
        );
        browser.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        for domain in [
            "Page",
            "Runtime",
            "Log",
            "Network",
            "Audits",
            "Accessibility",
        ] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser.show(DESKTOP, false);
        Some(browser)
    }

    /// One command of the protocol, and its result. What happens meanwhile is kept in `events`.
    pub fn call(&mut self, method: &str, parameters: &Value) -> Value {
        let message = json!({ "method": method, "params": parameters });
        self.try_call(message)
            .unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn try_call(&mut self, mut message: Value) -> Result<Value, Value> {
        self.next += 1;
        message["id"] = json!(self.next);
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = serde_json::to_vec(&message).unwrap();
        bytes.push(0);
        self.requests.write_all(&bytes).unwrap();
        loop {
            let mut answer = self
                .answers
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|error| panic!("{message}: no answer of Chromium: {error}"));
            if answer["id"] == json!(self.next) {
                return match answer.get("error") {
                    Some(error) => Err(error.clone()),
                    None => Ok(answer["result"].take()),
                };
            }
            if answer.get("method").is_some() {
                self.events.push(answer);
            }
        }
    }

    /// Opens a page and waits until it is complete.
    pub fn open(&mut self, url: &str) {
        let answer = self.call("Page.navigate", &json!({ "url": url }));
        assert_eq!(answer.get("errorText"), None, "{url}");
        let url = serde_json::to_string(url).unwrap();
        self.wait_for(&format!(
            "document.readyState === 'complete' && location.href === {url}"
        ));
    }

    /// The value of an expression in the page; a promise's value when it is kept. A page that loads itself anew takes
    /// the ground from under an expression: then it is asked again.
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
        let mut answer = self.try_call(message)?;
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

    /// Waits until an expression is true. In between pages an expression has no page to be true in.
    pub fn wait_for(&mut self, expression: &str) {
        let end = Instant::now() + PATIENCE;
        while self.try_value(expression) != Ok(json!(true)) {
            if Instant::now() > end {
                let page = self.try_value("location.href + '\\n' + document.body.innerText");
                panic!("waited in vain for {expression} on {page:?}");
            }
            thread::sleep(Duration::from_millis(10));
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

    /// Writes text where the focus is.
    pub fn write(&mut self, text: &str) {
        self.call("Input.insertText", &json!({ "text": text }));
    }

    /// Goes on by Tab until an expression is true.
    pub fn tab_to(&mut self, expression: &str) {
        for _ in 0..200 {
            if self.value(expression) == json!(true) {
                return;
            }
            self.press("Tab");
        }
        panic!("no Tab leads to {expression}");
    }

    /// The screen, and whether its reader likes it dark.
    pub fn show(&mut self, (width, height, is_phone): Screen, is_dark: bool) {
        self.call(
            "Emulation.setDeviceMetricsOverride",
            &json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone }),
        );
        let scheme = if is_dark { "dark" } else { "light" };
        self.call(
            "Emulation.setEmulatedMedia",
            &json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] }),
        );
    }

    /// The page as a PNG: as much as the screen shows, or all of it.
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

    /// All that the browser had to complain about since it was last asked: lines of its console, exceptions, what a
    /// policy forbade, markup that it had to guess.
    pub fn complaints(&mut self) -> Vec<Value> {
        // Events that are under way come before this answer.
        self.value("1");
        let events = std::mem::take(&mut self.events);
        let is_complaint = |event: &Value| {
            [
                "Log.entryAdded",
                "Runtime.consoleAPICalled",
                "Runtime.exceptionThrown",
                "Audits.issueAdded",
                "Network.loadingFailed",
            ]
            .contains(&event["method"].as_str().unwrap())
        };
        events.into_iter().filter(is_complaint).collect()
    }

    /// The addresses that were asked for since [`Self::complaints`] were asked for.
    pub fn requested(&self) -> Vec<String> {
        let requests = self
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

    /// What assistive technology is told, in order: roles and names.
    pub fn accessible(&mut self) -> Vec<(String, String)> {
        let tree = self.call("Accessibility.getFullAXTree", &json!({}));
        let text = |value: &Value| value["value"].as_str().unwrap_or_default().to_owned();
        tree["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|node| node["ignored"] == json!(false))
            .map(|node| (text(&node["role"]), text(&node["name"])))
            // Pieces of what is in the others.
            .filter(|(role, _)| !["InlineTextBox", "StaticText"].contains(&role.as_str()))
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Politely first: it ends its own processes then.
        let message = json!({ "id": 0, "method": "Browser.close" });
        let mut bytes = serde_json::to_vec(&message).unwrap();
        bytes.push(0);
        let _ = self.requests.write_all(&bytes);
        let end = Instant::now() + Duration::from_secs(10);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
