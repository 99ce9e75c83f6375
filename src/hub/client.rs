//! Requests to the Hub: redirects, the token, and the pace that an answer has to keep.
//!
//! A thread reads the answer and hands it over in pieces, so that a server that is silent, or a user
//! who asks to stop, is noticed while the thread waits.

use std::io::Read;
use std::sync::mpsc::{sync_channel, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, StatusCode};
use ureq::{Agent, Body};
use url::Url;

use super::content::ContentHash;
use super::failure::HubError;
use super::settings::HubSettings;
use super::TICK;
use crate::interrupt::Interrupt;

/// Redirects that one request follows.
const MOST_REDIRECTS: usize = 10;

/// The slowest answer that is waited for, in bytes per second, over the time of
/// `HF_HUB_DOWNLOAD_TIMEOUT`.
const SLOWEST: u64 = 10_000;

/// Bytes of one answer that make another attempt worth while after the answer became too slow.
const WORTH_RESUMING: u64 = 1 << 20;

/// Bytes that are read at once, and pieces that wait to be written.
const PIECE: usize = 1 << 16;
const PIECES: usize = 16;

/// Sends requests.
pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
    stall: Duration,
    interrupt: Interrupt,
}

/// One request: what a thread needs.
struct Request {
    agent: Agent,
    /// The Hub. Its token goes to this scheme, host and port only.
    hub: Url,
    url: Url,
    token: Option<String>,
    range: Option<String>,
}

/// What the thread hands over.
enum Piece {
    Head(AnswerHead),
    Bytes(Vec<u8>),
    End,
    Failed(HubError),
}

/// Status and headers of an answer.
#[derive(Debug)]
pub(super) struct AnswerHead {
    /// The status after redirects.
    pub status: u16,
    last: HeaderMap,
    /// Headers of the answers of the Hub itself, not of the hosts that it redirects to.
    own: Vec<HeaderMap>,
}

/// An answer whose body is still to be read.
#[derive(Debug)]
pub(super) struct Answer {
    pub head: AnswerHead,
    pieces: Pieces,
}

impl Client {
    pub(super) fn new(settings: &HubSettings, interrupt: Interrupt) -> Client {
        // Only a thread that is no longer waited for reaches these.
        let forgotten = Some(settings.stall * 2);
        let config = Agent::config_builder()
            .user_agent(concat!("confidence-audit/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity") // sizes and hashes are those of the file
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_connect(forgotten)
            .timeout_per_read(forgotten)
            .timeout_per_write(forgotten);
        Client {
            agent: config.build().into(),
            endpoint: settings.endpoint.clone(),
            token: settings.token.clone(),
            stall: settings.stall,
            interrupt,
        }
    }

    /// Asks for the path of `segments` below the endpoint; `range` is the value of `Range`.
    ///
    /// # Errors
    /// No answer, a redirect that is not followed, an answer that is compressed.
    pub(super) fn get<'a>(
        &self,
        segments: impl IntoIterator<Item = &'a str>,
        query: Option<&str>,
        range: Option<String>,
    ) -> Result<Answer, HubError> {
        let no_address = || HubError::NotTheHub { reason: "it is not an address".to_owned() };
        let hub = Url::parse(&self.endpoint).map_err(|_| no_address())?;
        let mut url = hub.clone();
        url.path_segments_mut().map_err(|()| no_address())?.pop_if_empty().extend(segments);
        url.set_query(query);
        let (agent, token) = (self.agent.clone(), self.token.clone());
        let request = Request { agent, hub, url, token, range };
        let (sender, receiver) = sync_channel(PIECES);
        std::thread::spawn(move || request.run(&sender));
        let mut pieces = Pieces {
            receiver,
            interrupt: self.interrupt.clone(),
            pace: AnswerPace::new(self.stall),
        };
        match pieces.next()? {
            Some(Piece::Head(head)) => Ok(Answer { head, pieces }),
            _ => Err(HubError::NotTheHub { reason: "it does not answer".to_owned() }),
        }
    }
}

impl Request {
    /// Hands over the answer until it ends, or until nobody wants it any more.
    fn run(&self, sender: &SyncSender<Piece>) {
        let (head, body) = match self.follow() {
            Ok(answer) => answer,
            Err(failed) => return drop(sender.send(Piece::Failed(failed))),
        };
        if sender.send(Piece::Head(head)).is_err() {
            return;
        }
        let mut reader = body.into_reader();
        loop {
            let mut bytes = vec![0; PIECE];
            let piece = match reader.read(&mut bytes) {
                Ok(0) => Piece::End,
                Ok(count) => {
                    bytes.truncate(count);
                    Piece::Bytes(bytes)
                }
                Err(error) => Piece::Failed(HubError::Unreachable {
                    reason: format!("the connection broke off: {error}"),
                }),
            };
            let is_last = !matches!(piece, Piece::Bytes(_));
            if sender.send(piece).is_err() || is_last {
                return;
            }
        }
    }

    /// Follows redirects to the last answer.
    fn follow(&self) -> Result<(AnswerHead, Body), HubError> {
        let not_the_hub = |reason: String| HubError::NotTheHub { reason };
        let mut own = Vec::new();
        let mut url = self.url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let is_own = url.origin() == self.hub.origin();
            let (parts, body) = self.ask(&url, is_own)?.into_parts();
            if is_own {
                own.push(parts.headers.clone());
            }
            if !is_redirect(parts.status) {
                let head = AnswerHead { status: parts.status.as_u16(), last: parts.headers, own };
                return match header(&head.last, "content-encoding") {
                    None | Some("identity") => Ok((head, body)),
                    Some(other) => Err(not_the_hub(format!("its answer is compressed ({other})"))),
                };
            }
            let location = header(&parts.headers, "location").unwrap_or_default();
            let next = url.join(location).ok().filter(|it| matches!(it.scheme(), "http" | "https"));
            let Some(next) = next else {
                return Err(not_the_hub(format!("it redirects to `{location}`")));
            };
            if url.scheme() == "https" && next.scheme() != "https" {
                return Err(not_the_hub("it redirects from https to http".to_owned()));
            }
            url = next;
        }
        Err(not_the_hub(format!("it redirects more than {MOST_REDIRECTS} times")))
    }

    fn ask(&self, url: &Url, is_own: bool) -> Result<ureq::http::Response<Body>, HubError> {
        let mut request = self.agent.get(url.as_str());
        if let Some(token) = self.token.as_ref().filter(|_| is_own) {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if let Some(range) = &self.range {
            request = request.header("Range", range);
        }
        request.call().map_err(|error| match error {
            ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) => {
                HubError::NotTheHub { reason: error.to_string() }
            }
            _ => HubError::Unreachable { reason: error.to_string() },
        })
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

impl AnswerHead {
    /// A header of the Hub's own answers.
    pub(super) fn own(&self, name: &str) -> Option<&str> {
        self.own.iter().find_map(|headers| header(headers, name))
    }

    /// The hash of the file: what the Hub says of the file it links to, else of its last answer.
    ///
    /// # Errors
    /// No hash, or something else in its place.
    pub(super) fn hash(&self) -> Result<ContentHash, HubError> {
        let of_the_answer = || header(self.own.last()?, "etag");
        let tag = self.own("x-linked-etag").or_else(of_the_answer);
        let Some(tag) = tag else {
            return Err(HubError::NotTheHub { reason: "its answer has no ETag".to_owned() });
        };
        ContentHash::of_tag(tag).ok_or_else(|| HubError::NotTheHub {
            reason: format!("the ETag `{tag}` is not a SHA-256 or the id of a Git blob"),
        })
    }

    /// The size of the whole file, where the answer states it.
    pub(super) fn size(&self) -> Option<u64> {
        if let Some(linked) = self.own("x-linked-size").and_then(|size| size.parse().ok()) {
            return Some(linked);
        }
        match self.status {
            200 => header(&self.last, "content-length")?.parse().ok(),
            206 => header(&self.last, "content-range")?.rsplit_once('/')?.1.parse().ok(),
            _ => None,
        }
    }

    /// Whether the answer is the rest of a file from byte `start` on.
    pub(super) fn resumes_at(&self, start: u64) -> bool {
        let range = header(&self.last, "content-range").and_then(|it| it.strip_prefix("bytes "));
        let first =
            range.and_then(|it| it.split_once('-')).and_then(|(first, _)| first.parse().ok());
        self.status == 206 && first == Some(start)
    }
}

impl Answer {
    /// The next bytes of the body; `None` at its end.
    ///
    /// # Errors
    /// A connection that breaks off, an answer that is too slow, a user who asks to stop.
    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>, HubError> {
        match self.pieces.next()? {
            Some(Piece::Bytes(bytes)) => Ok(Some(bytes)),
            _ => Ok(None),
        }
    }

    /// The whole body.
    ///
    /// # Errors
    /// As [`Answer::next`], and a body of more than `limit` bytes.
    pub(super) fn whole(mut self, limit: usize) -> Result<Vec<u8>, HubError> {
        let mut body = Vec::new();
        while let Some(bytes) = self.next()? {
            if body.len() + bytes.len() > limit {
                let reason = format!("its answer has more than {} MiB", limit >> 20);
                return Err(HubError::NotTheHub { reason });
            }
            body.extend_from_slice(&bytes);
        }
        Ok(body)
    }
}

/// The pieces of one answer, which have to arrive in time.
#[derive(Debug)]
struct Pieces {
    receiver: Receiver<Piece>,
    interrupt: Interrupt,
    pace: AnswerPace,
}

impl std::fmt::Debug for Piece {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Piece")
    }
}

impl Pieces {
    fn next(&mut self) -> Result<Option<Piece>, HubError> {
        loop {
            if self.interrupt.is_set() {
                let reason = "the user asked to stop".to_owned();
                return Err(HubError::Unreachable { reason });
            }
            self.pace.check()?;
            match self.receiver.recv_timeout(TICK.min(self.pace.window / 4)) {
                Ok(Piece::End) | Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Ok(Piece::Failed(failed)) => return Err(failed),
                Ok(piece) => {
                    if let Piece::Bytes(bytes) = &piece {
                        self.pace.arrived(bytes.len() as u64);
                    }
                    return Ok(Some(piece));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

/// How fast an answer arrives: [`SLOWEST`] on average over each window of time.
#[derive(Debug)]
struct AnswerPace {
    window: Duration,
    begun: Instant,
    in_window: u64,
    in_all: u64,
}

impl AnswerPace {
    fn new(window: Duration) -> AnswerPace {
        AnswerPace { window, begun: Instant::now(), in_window: 0, in_all: 0 }
    }

    fn arrived(&mut self, bytes: u64) {
        self.in_window += bytes;
        self.in_all += bytes;
    }

    fn check(&mut self) -> Result<(), HubError> {
        let elapsed = self.begun.elapsed();
        if elapsed < self.window {
            return Ok(());
        }
        if self.in_window as f64 >= SLOWEST as f64 * elapsed.as_secs_f64() {
            (self.begun, self.in_window) = (Instant::now(), 0);
            return Ok(());
        }
        let seconds = elapsed.as_secs();
        let reason = match self.in_window {
            0 => format!("nothing has arrived for {seconds} s"),
            bytes => format!("only {bytes} bytes have arrived in {seconds} s"),
        };
        Err(HubError::TooSlow { reason, resumes: self.in_all >= WORTH_RESUMING })
    }
}
