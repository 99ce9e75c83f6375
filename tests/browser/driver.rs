//! Controls Chromium by chromedriver over the WebDriver protocol.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use base64::prelude::{Engine, BASE64_STANDARD};
use serde_json::{json, Value};
use tempfile::TempDir;

/// Longer than any command takes, on a machine that does other things too.
const LIMIT: Duration = Duration::from_secs(300);

/// What Chromium is started with: no window, nothing of the user's, nothing from outside.
const ARGUMENTS: [&str; 12] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage", // a container's /dev/shm may be too small
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-proxy-server",
    "--force-color-profile=srgb",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

/// Where a page is looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Window {
    /// A desktop's.
    Wide,
    /// A phone's.
    Narrow,
    /// A4 less the browser's margins, in CSS pixels.
    Paper,
}

/// On what, and in which of its colours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Medium {
    Light,
    Dark,
    Print,
    /// By someone who prefers dark screens.
    PrintFromDark,
}

/// What a page did while it was loaded, besides being shown.
#[derive(Debug, Default)]
pub struct Visit {
    /// Messages of the console that are a warning or worse.
    pub console: Vec<String>,
    /// Dialogs that a script opened.
    pub dialogs: Vec<String>,
    /// Addresses that were asked for, the page's own among them.
    pub requests: Vec<String>,
}

/// A Chromium with one window, until it is dropped.
pub struct Browser {
    driver: Child,
    _stdout: BufReader<ChildStdout>, // the driver's, kept open for what it may still say
    agent: ureq::Agent,
    url: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts one; without Chromium or its driver, a line that the test was skipped, past the harness
    /// that keeps what a passing test prints.
    pub fn start() -> Option<Browser> {
        let driver = binary("AUDIT_TEST_CHROMEDRIVER", &["chromedriver"]);
        let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
        let (Some(driver), Some(chromium)) = (driver, binary("AUDIT_TEST_CHROMIUM", &names)) else {
            std::io::stderr().write_all(b"skipped: no chromium\n").unwrap();
            return None;
        };
        Some(Browser::launch(&driver, &chromium))
    }

    fn launch(driver: &Path, chromium: &Path) -> Browser {
        let profile = tempfile::tempdir().unwrap();
        let mut driver = Command::new(driver)
            .arg("--port=0")
            .env("HOME", profile.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(driver.stdout.take().unwrap());
        let root = format!("http://127.0.0.1:{}", port(&mut stdout));
        let config = ureq::Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .timeout_global(Some(LIMIT));
        let agent = config.build().new_agent();
        let mut browser = Browser { driver, _stdout: stdout, agent, url: root, _profile: profile };
        let profile = browser._profile.path().join("profile");
        let arguments = ARGUMENTS.map(str::to_owned).into_iter();
        let arguments: Vec<String> =
            arguments.chain([format!("--user-data-dir={}", profile.display())]).collect();
        let wanted = json!({
            "browserName": "chrome",
            "unhandledPromptBehavior": "dismiss",
            "goog:chromeOptions": { "binary": chromium, "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        });
        let session =
            browser.post("/session", &json!({ "capabilities": { "alwaysMatch": wanted } }));
        browser.url += &format!("/session/{}", session["sessionId"].as_str().unwrap());
        browser.open("about:blank"); // away from the page for new tabs, which asks for a lot
        browser
    }

    /// Opens a page and says what it did until it stood still.
    pub fn visit(&self, url: &str) -> Visit {
        self.log("browser");
        self.events();
        self.open(url);
        self.post("/execute/async", &json!({ "script": STANDS_STILL, "args": [] }));
        let mut visit = Visit::default();
        for entry in self.log("browser") {
            let (level, text) = (&entry["level"], &entry["message"]);
            if level == "WARNING" || level == "SEVERE" {
                visit.console.push(text.as_str().unwrap().to_owned());
            }
        }
        for event in self.events() {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            if event["method"] == "Network.requestWillBeSent" {
                visit.requests.push(text(&event["params"]["request"]["url"]));
            } else if event["method"] == "Page.javascriptDialogOpening" {
                visit.dialogs.push(text(&event["params"]["message"]));
            }
        }
        visit
    }

    /// Opens a page and waits until it is loaded, also where it may run no script: without one the
    /// driver does not wait.
    pub fn load(&self, url: &str) {
        self.events();
        self.open(url);
        let since = Instant::now();
        while !self.events().iter().any(|event| event["method"] == "Page.loadEventFired") {
            assert!(since.elapsed() < LIMIT, "{url} is not loaded");
            sleep(Duration::from_millis(20));
        }
    }

    /// Opens a page.
    fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// Makes the page that is shown, and the next ones, one in that window and medium.
    pub fn show_in(&self, window: Window, medium: Medium) {
        let (width, height, mobile) = match window {
            Window::Wide => (1280, 900, false),
            Window::Narrow => (360, 740, true),
            Window::Paper => (717, 1046, false),
        };
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        self.cdp("Emulation.setDeviceMetricsOverride", metrics);
        self.cdp("Emulation.setScrollbarsHidden", json!({ "hidden": window == Window::Paper }));
        let (media, scheme) = match medium {
            Medium::Light => ("screen", "light"),
            Medium::Dark => ("screen", "dark"),
            Medium::Print => ("print", "light"),
            Medium::PrintFromDark => ("print", "dark"),
        };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        let media = json!({ "media": media, "features": features });
        self.cdp("Emulation.setEmulatedMedia", media);
    }

    /// Whether the next pages may run scripts.
    pub fn allow_scripts(&self, allowed: bool) {
        self.cdp("Emulation.setScriptExecutionDisabled", json!({ "value": !allowed }));
    }

    /// Runs the body of a function in the page.
    pub fn run(&self, script: &str, arguments: Value) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": arguments }))
    }

    /// The value of a script, also where the page may run none.
    pub fn evaluate(&self, script: &str) -> Value {
        let how = json!({ "expression": script, "returnByValue": true });
        let answer = self.cdp("Runtime.evaluate", how);
        assert!(answer["exceptionDetails"].is_null(), "{answer}");
        answer["result"]["value"].clone()
    }

    /// The page on paper.
    pub fn pdf(&self) -> Vec<u8> {
        let printed = self.cdp("Page.printToPDF", json!({ "printBackground": true }));
        BASE64_STANDARD.decode(printed["data"].as_str().unwrap()).unwrap()
    }

    /// The page from pixel row `top` on, over `height` of them.
    pub fn png(&self, top: u64, height: u64) -> Vec<u8> {
        let width = self.run("return document.documentElement.clientWidth", json!([]));
        let clip = json!({ "x": 0, "y": top, "width": width, "height": height, "scale": 1 });
        let how = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let picture = self.cdp("Page.captureScreenshot", how);
        BASE64_STANDARD.decode(picture["data"].as_str().unwrap()).unwrap()
    }

    fn cdp(&self, command: &str, parameters: Value) -> Value {
        self.post("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// What was logged since the last time.
    fn log(&self, kind: &str) -> Vec<Value> {
        match self.post("/se/log", &json!({ "type": kind })) {
            Value::Array(entries) => entries,
            other => panic!("no log: {other}"),
        }
    }

    /// What the page's parts reported since the last time.
    fn events(&self) -> Vec<Value> {
        let message = |entry: &Value| -> Value {
            let event: Value = serde_json::from_str(entry["message"].as_str().unwrap()).unwrap();
            event["message"].clone()
        };
        self.log("performance").iter().map(message).collect()
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Value {
        let request = self.agent.post(format!("{}{path}", self.url));
        let mut answer = request.content_type("application/json").send(body.to_string()).unwrap();
        let body = answer.body_mut().with_config().limit(u64::MAX).read_to_string().unwrap();
        let body: Value = serde_json::from_str(&body).unwrap();
        assert!(answer.status().is_success(), "{path}: {}", body["value"]["message"]);
        body["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium ends with its session, and the driver has nothing else to end.
        self.agent.delete(&self.url).call().ok();
        self.driver.kill().ok();
        self.driver.wait().ok();
    }
}

/// Calls back once fonts are there and two frames were drawn.
const STANDS_STILL: &str = "const done = arguments[0];
document.fonts.ready.then(() => requestAnimationFrame(() => requestAnimationFrame(() => done())));";

/// The port in the driver's greeting.
fn port(stdout: &mut impl BufRead) -> u16 {
    let mut line = String::new();
    while stdout.read_line(&mut line).unwrap() > 0 {
        if let Some((_, port)) =
            line.trim_end().trim_end_matches('.').split_once("started successfully on port ")
        {
            return port.parse().unwrap();
        }
        line.clear();
    }
    panic!("chromedriver ended before it said its port");
}

/// The program that the variable names, or the first of `names` on the PATH.
fn binary(variable: &str, names: &[&str]) -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(variable) {
        let path = PathBuf::from(named);
        assert!(path.is_file(), "{variable} names no file: `{}`", path.display());
        return Some(path);
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&folders).collect();
    let found = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    found.into_iter().find(|path| path.is_file())
}
