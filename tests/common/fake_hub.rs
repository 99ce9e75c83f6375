//! A Hub on this machine: it holds what a test puts in it, and misbehaves where a test asks for it.

#![allow(dead_code)] // each test file uses a part of this

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use sha1::Sha1;
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
    /// List only the names of the files, as some mirrors do.
    pub lists_names_only: AtomicBool,
    /// Answers instead of the server where it has a reply.
    pub instead: Mutex<Option<Instead>>,
}

/// The reply to a path and the value of its `Range`.
pub type Instead = Box<dyn Fn(&str, Option<&str>) -> Option<Reply> + Send>;

/// An answer, byte for byte.
pub struct Reply {
    bytes: Vec<u8>,
    /// What follows, again and again, with a pause before each.
    forever: Option<(Vec<u8>, Duration)>,
}

impl Reply {
    /// An answer with these header lines, each with its line break, and this body.
    pub fn new(status: u16, headers: &str, body: &[u8]) -> Reply {
        let length = format!("Content-Length: {}\r\n", body.len());
        let head = format!("HTTP/1.1 {status} -\r\n{headers}{length}Connection: close\r\n\r\n");
        Reply { bytes: [head.as_bytes(), body].concat(), forever: None }
    }

    /// A redirect.
    pub fn to(location: &str, headers: &str) -> Reply {
        Reply::new(302, &format!("Location: {location}\r\n{headers}"), b"")
    }

    /// An answer without a stated length that repeats `bytes` until the client hangs up.
    pub fn endless(headers: &str, bytes: &[u8], pause: Duration) -> Reply {
        let head = format!("HTTP/1.1 200 -\r\n{headers}Connection: close\r\n\r\n");
        Reply { bytes: head.into_bytes(), forever: Some((bytes.to_owned(), pause)) }
    }
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

    /// Answers with what `reply` gives for a path and its `Range`, where it gives something.
    pub fn answer_with(
        &self,
        reply: impl Fn(&str, Option<&str>) -> Option<Reply> + Send + 'static,
    ) {
        *self.state.instead.lock().unwrap() = Some(Box::new(reply));
    }

    /// The `Authorization` of each request, in order.
    pub fn tokens(&self) -> Vec<Option<String>> {
        self.state.log.lock().unwrap().iter().map(|entry| entry.1.clone()).collect()
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

    fn respond(&self, mut out: TcpStream, path: &str, range: Option<&str>) -> Result<()> {
        let reply = self.instead.lock().unwrap().as_ref().and_then(|it| it(path, range));
        if let Some(Reply { bytes, forever }) = reply {
            out.write_all(&bytes)?;
            while let Some((bytes, pause)) = &forever {
                std::thread::sleep(*pause);
                out.write_all(bytes)?;
            }
            return Ok(());
        }
        let path = path.trim_end_matches("?blobs=true");
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
            let files = files.iter().filter(|(key, _)| key.0 == *commit);
            let names_only = self.lists_names_only.load(SeqCst);
            let siblings: Vec<_> = files
                .map(|((_, name), bytes)| match (names_only, is_large(name)) {
                    (true, _) => json!({ "rfilename": name }),
                    (false, false) => {
                        json!({ "rfilename": name, "size": bytes.len(), "blobId": tag(name, bytes) })
                    }
                    (false, true) => json!({
                        "rfilename": name, "size": bytes.len(), "blobId": "0".repeat(40),
                        "lfs": { "sha256": tag(name, bytes), "size": bytes.len(), "pointerSize": 130 }
                    }),
                })
                .collect();
            let body = json!({ "sha": commit, "siblings": siblings }).to_string();
            return send(out, 200, "", body.len())?.write_all(body.as_bytes());
        }
        let (_, rest) = path.split_once("/resolve/").unwrap();
        let (commit, file) = rest.split_once('/').unwrap();
        let bytes = self.files.lock().unwrap().get(&(commit.into(), file.into())).cloned();
        match bytes {
            Some(bytes) => self.send_file(out, (commit, file), &bytes, range),
            None => refuse(out, 404, "EntryNotFound").map(drop),
        }
    }

    /// The part of `bytes` that `range` asks for.
    fn send_file(
        &self,
        out: TcpStream,
        (commit, file): (&str, &str),
        bytes: &[u8],
        range: Option<&str>,
    ) -> Result<()> {
        let headers = format!("ETag: \"{}\"\r\nX-Repo-Commit: {commit}\r\n", tag(file, bytes));
        let asked = range.unwrap_or("bytes=0-");
        let (start, end) = asked.trim_start_matches("bytes=").split_once('-').unwrap();
        let start: usize = start.parse().unwrap();
        let end = end.parse().map_or(bytes.len(), |last: usize| (last + 1).min(bytes.len()));
        let probing = range == Some("bytes=0-0");
        if self.silent.load(SeqCst) && !probing {
            std::thread::sleep(Duration::from_secs(5));
        }
        if range.is_some() && start >= bytes.len() {
            return send(out, 416, "", 0).map(drop);
        }
        let mut body = bytes[start..end].to_vec();
        let mut out = match range {
            None => send(out, 200, &headers, body.len())?,
            Some(_) => {
                let (last, size) = (end - 1, bytes.len());
                let range = format!("Content-Range: bytes {start}-{last}/{size}\r\n");
                send(out, 206, &(headers + &range), body.len())?
            }
        };
        if self.lies.load(SeqCst) {
            body.fill(b'x');
        }
        if self.drops.load(SeqCst) && !probing {
            body.truncate(body.len() / 2);
        }
        out.write_all(&body)
    }
}

/// Whether the Hub stores a file outside of Git.
fn is_large(file: &str) -> bool {
    !file.ends_with(".json")
}

/// The hash that the Hub gives for a file.
pub fn tag(file: &str, bytes: &[u8]) -> String {
    let of_git = || Sha1::new_with_prefix(format!("blob {}\0", bytes.len())).chain_update(bytes);
    let hash: Vec<u8> = match is_large(file) {
        true => Sha256::digest(bytes).to_vec(),
        false => of_git().finalize().to_vec(),
    };
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sends the head of an answer; returns where its body goes.
fn send(mut out: TcpStream, status: u16, headers: &str, length: usize) -> Result<TcpStream> {
    write!(
        out,
        "HTTP/1.1 {status} -\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    Ok(out)
}
