//! The Hub's client against a real server on this machine.

use std::sync::atomic::Ordering::SeqCst;

use sha2::{Digest, Sha256};

use super::*;
use crate::error::{rendered, Interrupted};

#[path = "../../tests/common/fake_hub.rs"]
mod fake_hub;
use fake_hub::FakeHub;

mod hostile;

const FIRST: &str = "1111111111111111111111111111111111111111";
const SECOND: &str = "2222222222222222222222222222222222222222";

/// Files with their repository.
const CONFIG: (&str, &str) = ("a/b", "config.json");
const WEIGHTS: (&str, &str) = ("a/b", "weights");

/// A server with a config.json in every repository.
fn server() -> FakeHub {
    let server = FakeHub::start();
    server.put("main", FIRST, "config.json", b"{}");
    server
}

/// A client of `server` with a cache of its own, which does not wait between attempts.
fn hub(cache: &Path, server: &FakeHub, connection: Connection) -> Hub {
    let mut settings = HubSettings::new(cache);
    settings.endpoint = server.url.clone();
    settings.connection = connection;
    settings.retries = 1;
    settings.retry_pause = Duration::ZERO;
    Hub::new(settings)
}

/// A server, and an online client of it.
fn online() -> (tempfile::TempDir, FakeHub, Hub) {
    let (cache, server) = (tempfile::tempdir().unwrap(), server());
    let hub = hub(cache.path(), &server, Connection::Online);
    (cache, server, hub)
}

/// Asserts that the file cannot be fetched, and that the error has `parts`.
#[track_caller]
fn refused(hub: &Hub, (repo, file): (&str, &str), parts: &[&str]) {
    let error = rendered(&hub.fetch(&model(repo), file).unwrap_err());
    for part in parts {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

fn model(text: &str) -> HubRepo {
    HubRepo::parse(RepoKind::Model, text).unwrap()
}

/// Every complete file that the cache shows.
fn cached_files(cache: &Path) -> Vec<String> {
    let files = files_below(cache);
    files.into_iter().filter(|file| file.contains("/snapshots/")).collect()
}

#[test]
fn a_file_is_downloaded_once_and_found_without_the_server() {
    let (cache, server) = (tempfile::tempdir().unwrap(), server());
    let repo = model("owner/name");
    let online = hub(cache.path(), &server, Connection::Online);
    let path = online.fetch(&repo, "config.json").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"{}");
    assert_eq!(online.commit(&repo).as_deref(), Some(FIRST));
    assert_eq!(online.fetch(&repo, "config.json").unwrap(), path);
    assert_eq!(
        server.requests(),
        [
            "/api/models/owner/name/revision/main?blobs=true".to_owned(),
            format!("/owner/name/resolve/{FIRST}/config.json"),
        ]
    );

    server.shut_down();
    let offline = hub(cache.path(), &server, Connection::Offline);
    assert_eq!(offline.fetch(&repo, "config.json").unwrap(), path);
    assert_eq!(offline.list(&repo).unwrap(), ["config.json"]);
    assert_eq!(offline.fetch_optional(&repo, "vocab.txt").unwrap(), None);
    assert_eq!(offline.commit(&repo).as_deref(), Some(FIRST));
    assert_eq!(offline.take_notes(), [""; 0]);

    let unreachable = hub(cache.path(), &server, Connection::Online);
    assert_eq!(unreachable.fetch(&repo, "config.json").unwrap(), path);
    let notes = unreachable.take_notes();
    assert!(notes[0].contains(FIRST), "{notes:?}");
    assert_eq!(unreachable.take_notes(), [""; 0], "reported once");
}

#[test]
fn offline_and_uncached_names_what_is_missing() {
    let (cache, server) = (tempfile::tempdir().unwrap(), server());
    let offline = hub(cache.path(), &server, Connection::Offline);
    refused(
        &offline,
        ("owner/name", "config.json"),
        &["model `owner/name` at revision `main` is not in the cache", "HF_HUB_OFFLINE is set"],
    );
    assert!(server.requests().is_empty(), "offline must not connect");

    let online = hub(cache.path(), &server, Connection::Online);
    online.fetch(&model("owner/name"), "config.json").unwrap();
    let offline = hub(cache.path(), &server, Connection::Offline);
    refused(
        &offline,
        ("owner/name", "model.safetensors"),
        &["`model.safetensors` of model `owner/name`"],
    );
}

#[test]
fn without_a_server_the_error_names_remedies() {
    let (_cache, server, hub) = online();
    server.shut_down();
    let file = ("owner/name@v1", "config.json");
    refused(&hub, file, &["model `owner/name` at revision `v1`"]);
    refused(&hub, file, &[&server.url, "cannot be reached"]);
    refused(&hub, file, &["HF_HUB_OFFLINE", "HF_ENDPOINT", "local folder"]);
}

#[test]
fn a_missing_file_is_none_and_a_missing_repository_an_error() {
    let (_cache, server, hub) = online();
    assert_eq!(hub.fetch_optional(&model("a/b"), "vocab.txt").unwrap(), None);
    assert!(hub.fetch_optional(&model("a/b"), "config.json").unwrap().is_some());
    refused(&hub, ("a/b", "vocab.txt"), &["no file `vocab.txt`", "config.json"]);

    *lock(&server.state.refuses) = Some((404, ""));
    refused(&hub, ("a/b@nowhere", "config.json"), &["404", "`nowhere`"]);
    *lock(&server.state.refuses) = Some((404, "RepoNotFound"));
    let error = rendered(&hub.fetch_optional(&model("a/other"), "vocab.txt").unwrap_err());
    assert!(error.contains("there is no model `a/other`"), "{error}");
    *lock(&server.state.refuses) = Some((404, "RevisionNotFound"));
    let error = rendered(&hub.list(&model("a/b@v9")).unwrap_err());
    assert!(error.contains("has no revision `v9`"), "{error}");
}

#[test]
fn private_and_gated_ask_for_a_token_and_the_cache_does_not_hide_it() {
    let (cache, server, first) = online();
    first.fetch(&model("a/b"), "config.json").unwrap();
    for (status, code) in [(401, "RepoNotFound"), (401, "GatedRepo"), (403, "GatedRepo")] {
        *lock(&server.state.refuses) = Some((status, code));
        let hub = hub(cache.path(), &server, Connection::Online);
        refused(&hub, CONFIG, &["private", "HF_TOKEN", &status.to_string()]);
    }
}

#[test]
fn a_gate_that_shuts_only_at_the_file_is_reported_too() {
    let (_cache, server, hub) = online();
    hub.list(&model("a/b")).unwrap();
    *lock(&server.state.refuses) = Some((403, "GatedRepo"));
    refused(&hub, CONFIG, &["`config.json` of model `a/b`", "private or gated", "HF_TOKEN"]);
}

#[test]
fn the_token_is_sent_with_every_request() {
    let (cache, server) = (tempfile::tempdir().unwrap(), server());
    let mut settings = hub(cache.path(), &server, Connection::Online).settings().clone();
    settings.token = Some("secret".to_owned());
    Hub::new(settings).fetch(&model("a/b"), "config.json").unwrap();
    let log = lock(&server.state.log).clone();
    assert!(log.iter().all(|entry| entry.1.as_deref() == Some("Bearer secret")), "{log:?}");
}

#[test]
fn a_branch_that_moves_does_not_mix_two_commits() {
    let (cache, server) = (tempfile::tempdir().unwrap(), server());
    server.put("main", FIRST, "weights", b"one");
    let hub_one = hub(cache.path(), &server, Connection::Online);
    hub_one.fetch(&model("a/b"), "config.json").unwrap();
    server.put("main", SECOND, "config.json", b"{ }");
    server.put("main", SECOND, "weights", b"two");
    let weights = hub_one.fetch(&model("a/b"), "weights").unwrap();
    assert_eq!(std::fs::read(weights).unwrap(), b"one", "of the commit that config.json is of");

    let hub_two = hub(cache.path(), &server, Connection::Online);
    let config = hub_two.fetch(&model("a/b"), "config.json").unwrap();
    assert_eq!(std::fs::read(config).unwrap(), b"{ }", "a new run sees the new commit");
    let pinned = model(&format!("a/b@{FIRST}"));
    let before = server.requests().len();
    let weights = hub_two.fetch(&pinned, "weights").unwrap();
    assert_eq!(std::fs::read(weights).unwrap(), b"one");
    assert_eq!(server.requests().len(), before + 1, "a commit's hashes are asked for once");
}

#[test]
fn revisions_and_data_sets_have_their_own_addresses() {
    let (_cache, server, hub) = online();
    server.put("refs/pr/1", SECOND, "sst2/train-00000-of-00001.parquet", b"rows");
    let repo = HubRepo::parse(RepoKind::Dataset, "nyu-mll/glue@refs/pr/1").unwrap();
    let path = hub.fetch(&repo, "sst2/train-00000-of-00001.parquet").unwrap();
    assert_eq!(std::fs::read(path).unwrap(), b"rows");
    assert_eq!(hub.commit(&repo).as_deref(), Some(SECOND));
    let requests = server.requests();
    assert_eq!(requests[0], "/api/datasets/nyu-mll/glue/revision/refs%2Fpr%2F1?blobs=true");
    assert!(requests[1].starts_with("/datasets/nyu-mll/glue/resolve/"), "{requests:?}");
}

#[test]
fn a_connection_dropped_in_the_middle_leaves_no_file_and_is_resumed() {
    let (cache, server) = (tempfile::tempdir().unwrap(), server());
    let weights: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    server.put("main", FIRST, "weights", &weights);
    server.state.drops.store(true, SeqCst);
    let first = hub(cache.path(), &server, Connection::Online);
    refused(&first, WEIGHTS, &["`weights` of model `a/b`"]);
    assert_eq!(cached_files(cache.path()), [""; 0]);
    let offline = hub(cache.path(), &server, Connection::Offline);
    assert!(offline.fetch(&model("a/b"), "weights").is_err());

    server.state.drops.store(false, SeqCst);
    let path = first.fetch(&model("a/b"), "weights").unwrap();
    assert_eq!(std::fs::read(path).unwrap(), weights);
}

#[test]
fn bytes_with_another_hash_are_discarded() {
    let (cache, server, hub) = online();
    server.put("main", FIRST, "weights", &[7; 1000]);
    server.state.lies.store(true, SeqCst);
    refused(&hub, WEIGHTS, &["SHA-256"]);
    assert_eq!(cached_files(cache.path()), [""; 0]);
    server.state.lies.store(false, SeqCst);
    let path = hub.fetch(&model("a/b"), "weights").unwrap();
    assert_eq!(std::fs::read(path).unwrap(), [7; 1000]);
}

#[test]
fn a_part_that_cannot_be_resumed_is_downloaded_again() {
    for left in [1000, 2000] {
        let (cache, server, hub) = online();
        server.put("main", FIRST, "weights", &[7; 1000]);
        let blobs = cache.path().join("models--a--b").join("blobs");
        std::fs::create_dir_all(&blobs).unwrap();
        let etag = crate::digest::hexadecimal(&Sha256::digest([7; 1000]));
        std::fs::write(blobs.join(format!("{etag}.part")), vec![0; left]).unwrap();
        let path = hub.fetch(&model("a/b"), "weights").unwrap();
        assert_eq!(std::fs::read(path).unwrap(), [7; 1000]);
    }
}

#[test]
fn a_silent_server_times_out() {
    let (cache, server) = (tempfile::tempdir().unwrap(), server());
    server.state.silent.store(true, SeqCst);
    let mut settings = hub(cache.path(), &server, Connection::Online).settings().clone();
    settings.stall = Duration::from_millis(400);
    let hub = Hub::new(settings);
    refused(&hub, CONFIG, &["nothing has arrived"]);
}

#[test]
fn a_download_ends_when_the_user_asks_to_stop() {
    let (cache, server) = (tempfile::tempdir().unwrap(), server());
    server.state.silent.store(true, SeqCst);
    let stop = Interrupt::default();
    let hub = hub(cache.path(), &server, Connection::Online).with_interrupt(stop.clone());
    std::thread::scope(|scope| {
        let fetched = scope.spawn(|| hub.fetch(&model("a/b"), "config.json"));
        // The listing, then the download that is never answered.
        while server.requests().len() < 2 {
            std::thread::sleep(Duration::from_millis(5));
        }
        stop.set();
        let error = fetched.join().unwrap().unwrap_err();
        assert!(error.is::<Interrupted>(), "{error:#}");
        assert!(error.to_string().contains("downloading `config.json` of"), "{error}");
    });
}

#[test]
fn a_wait_before_another_attempt_ends_when_the_user_asks_to_stop() {
    let (cache, server) = (tempfile::tempdir().unwrap(), server());
    *lock(&server.state.refuses) = Some((503, ""));
    let mut settings = hub(cache.path(), &server, Connection::Online).settings().clone();
    (settings.retries, settings.retry_pause) = (3, Duration::from_secs(3600));
    let stop = Interrupt::default();
    stop.set();
    let hub = Hub::new(settings).with_interrupt(stop);
    assert!(hub.fetch(&model("a/b"), "config.json").unwrap_err().is::<Interrupted>());
}

#[test]
fn a_cache_that_cannot_be_written_is_reported() {
    let (folder, server) = (tempfile::tempdir().unwrap(), server());
    let cache = folder.path().join("cache");
    std::fs::write(&cache, "a file where the cache should be").unwrap();
    let hub = hub(&cache, &server, Connection::Online);
    refused(&hub, CONFIG, &["cannot be written", "HF_HOME"]);
}

#[test]
fn a_page_that_is_not_the_hub_is_reported() {
    let (_cache, server, hub) = online();
    *lock(&server.state.refuses) = Some((200, "")); // an empty page, as of a login portal
    refused(&hub, CONFIG, &["does not answer as the Hugging Face Hub does"]);
}

#[test]
fn a_file_name_cannot_leave_the_cache() {
    let (_cache, server, hub) = online();
    for name in ["../x", "/etc/passwd", "a/../../x", ""] {
        refused(&hub, ("a/b", name), &["is not a path inside a repository"]);
    }
    assert!(server.requests().is_empty());
}

#[test]
fn progress_counts_every_byte() {
    #[derive(Default)]
    struct Recorded(Mutex<(String, u64, u64, bool)>);
    impl DownloadProgress for Recorded {
        fn begin(&self, file: &str, bytes: u64) {
            *lock(&self.0) = (file.to_owned(), bytes, 0, false);
        }
        fn advance(&self, bytes: u64) {
            lock(&self.0).2 += bytes;
        }
        fn end(&self) {
            lock(&self.0).3 = true;
        }
    }
    let (cache, server) = (tempfile::tempdir().unwrap(), server());
    server.put("main", FIRST, "weights", &[7; 100_000]);
    let recorded = Arc::new(Recorded::default());
    let hub = hub(cache.path(), &server, Connection::Online).with_progress(recorded.clone());
    hub.fetch(&model("a/b"), "weights").unwrap();
    assert_eq!(*lock(&recorded.0), ("weights".to_owned(), 100_000, 100_000, true));
}
