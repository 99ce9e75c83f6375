//! A Hub on this machine: it holds what a test puts in it, and misbehaves where a test asks for it.

#![allow(dead_code)] // each test file uses a part of this

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use sha2::{Digest, Sha256};

/// What the server holds, and how it misbehaves.
#[derive(Default)]
pub struct HubState {
    /// (`models/org/name`, or nothing for any repository; revision) -> commit.
    revisions: Mutex<BTreeMap<(String, String), String>>,
    /// (commit, file) -> bytes.
    files: Mutex<BTreeMap<(String, String), Vec<u8>>>,
    /// Each request's path and its `Authorization`.
    pub log: Mutex<Vec<(String, Option<String>)>>,
    /// Send half of each body, then hang up.
    pub drops: AtomicBool,
    /// Send other bytes than the hash promises.
    pub lies: AtomicBool,
    /// Answer everything with this status and `X-Error-Code`.
    pub refuses: Mutex<Option<(u16, &'static str)>>,
    /// Accept, and never answer a download.
    pub silent: AtomicBool,
}

/// The server, until the test's process ends.
pub struct FakeHub {
    pub state: Arc<HubState>,
    pub url: String,
    stop: Arc<AtomicBool>,
}

impl FakeHub {
    pub fn start() -> FakeHub {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let hub = FakeHub { state: Arc::default(), url, stop: Arc::default() };
        let (state, stop) = (hub.state.clone(), hub.stop.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(SeqCst) {
                    return; // and the listener with it: connections are refused from here on
                }
                let state = state.clone();
                // A client that hangs up early is no failure of the test.
                std::thread::spawn(move || state.answer(stream.unwrap()).ok());
            }
        });
        hub
    }

    /// Gives `repo` (`models/org/name`, or nothing for any) a revision, which is `commit`.
    pub fn put_revision(&self, repo: &str, revision: &str, commit: &str) {
        for name in [revision, commit] {
            let key = (repo.to_owned(), name.to_owned());
            self.state.revisions.lock().unwrap().insert(key, commit.to_owned());
        }
    }

    pub fn put_file(&self, commit: &str, file: &str, bytes: &[u8]) {
        let key = (commit.to_owned(), file.to_owned());
        self.state.files.lock().unwrap().insert(key, bytes.to_owned());
    }

    /// Puts a file into every repository, at `commit`, which is `revision` from here on.
    pub fn put(&self, revision: &str, commit: &str, file: &str, bytes: &[u8]) {
        self.put_revision("", revision, commit);
        self.put_file(commit, file, bytes);
    }

    /// The paths asked for, in order.
    pub fn requests(&self) -> Vec<String> {
        self.state.log.lock().unwrap().iter().map(|entry| entry.0.clone()).collect()
    }

    pub fn shut_down(&self) {
        self.stop.store(true, SeqCst);
        while TcpStream::connect(self.url.trim_start_matches("http://")).is_ok() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl HubState {
    fn answer(&self, stream: TcpStream) -> Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let Some(Ok(request)) = lines.next() else { return Ok(()) };
        let mut headers = BTreeMap::new();
        for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").unwrap();
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let path = request.split(' ').nth(1).unwrap().to_owned();
        self.log.lock().unwrap().push((path.clone(), headers.get("authorization").cloned()));
        self.respond(stream, &path, headers.get("range").map(String::as_str))
    }

    fn respond(&self, out: TcpStream, path: &str, range: Option<&str>) -> Result<()> {
        let refused = *self.refuses.lock().unwrap();
        let refuse = |out, status, code| send(out, status, &format!("X-Error-Code: {code}\r\n"), 0);
        if let Some((status, code)) = refused {
            return refuse(out, status, code).map(drop);
        }
        if let Some(rest) = path.strip_prefix("/api/") {
            let (repo, revision) = rest.split_once("/revision/").unwrap();
            let revisions = self.revisions.lock().unwrap();
            let known = [repo, ""].into_iter().find(|name| revisions.keys().any(|k| k.0 == *name));
            let Some(known) = known else { return refuse(out, 404, "RepoNotFound").map(drop) };
            let key = (known.to_owned(), revision.replace("%2F", "/"));
            let Some(commit) = revisions.get(&key) else {
                return refuse(out, 404, "RevisionNotFound").map(drop);
            };
            let files = self.files.lock().unwrap();
            let files = files.keys().filter(|key| key.0 == *commit);
            let siblings: Vec<_> = files.map(|key| json!({ "rfilename": key.1 })).collect();
            let body = json!({ "sha": commit, "siblings": siblings }).to_string();
            return send(out, 200, "", body.len())?.write_all(body.as_bytes());
        }
        let (_, rest) = path.split_once("/resolve/").unwrap();
        let (commit, file) = rest.split_once('/').unwrap();
        let bytes = self.files.lock().unwrap().get(&(commit.into(), file.into())).cloned();
        match bytes {
            Some(bytes) => self.send_file(out, commit, &bytes, range.unwrap()),
            None => refuse(out, 404, "EntryNotFound").map(drop),
        }
    }

    /// The part of `bytes` that `range` asks for.
    fn send_file(&self, out: TcpStream, commit: &str, bytes: &[u8], range: &str) -> Result<()> {
        let etag: String = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
        let (start, end) = range.trim_start_matches("bytes=").split_once('-').unwrap();
        let start: usize = start.parse().unwrap();
        let end = end.parse().map_or(bytes.len(), |last: usize| (last + 1).min(bytes.len()));
        let probing = range == "bytes=0-0";
        if self.silent.load(SeqCst) && !probing {
            std::thread::sleep(Duration::from_secs(5));
        }
        if start >= bytes.len() {
            return send(out, 416, "", 0).map(drop);
        }
        let mut body = bytes[start..end].to_vec();
        let headers = format!(
            "Content-Range: bytes {start}-{}/{}\r\nETag: \"{etag}\"\r\nX-Repo-Commit: {commit}\r\n",
            end - 1,
            bytes.len()
        );
        let mut out = send(out, 206, &headers, body.len())?;
        if self.lies.load(SeqCst) {
            body.fill(b'x');
        }
        if self.drops.load(SeqCst) && !probing {
            body.truncate(body.len() / 2);
        }
        out.write_all(&body)
    }
}

/// Sends the head of an answer; returns where its body goes.
fn send(mut out: TcpStream, status: u16, headers: &str, length: usize) -> Result<TcpStream> {
    write!(
        out,
        "HTTP/1.1 {status} -\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    Ok(out)
}
