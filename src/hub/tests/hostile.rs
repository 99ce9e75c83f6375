//! A Hub, or a cache, that somebody else controls.

use super::fake_hub::Reply;
use super::*;

/// The file of [`WEIGHTS`] on a server of its own; `lists_names_only` as of a mirror.
fn weights(lists_names_only: bool) -> (tempfile::TempDir, FakeHub) {
    let (cache, server) = (tempfile::tempdir().unwrap(), server());
    server.put("main", FIRST, "weights", &[7; 1000]);
    server.state.lists_names_only.store(lists_names_only, SeqCst);
    (cache, server)
}

fn with_token(cache: &Path, server: &FakeHub) -> Hub {
    let mut settings = hub(cache, server, Connection::Online).settings().clone();
    settings.token = Some("secret".to_owned());
    Hub::new(settings)
}

/// Answers requests of files with `reply` of the value of `Range`; the listing is the server's.
fn instead_of_files(
    server: &FakeHub,
    reply: impl Fn(Option<&str>) -> Option<Reply> + Send + 'static,
) {
    server.answer_with(move |path, range| path.contains("/resolve/").then(|| reply(range))?);
}

/// Headers of a link to the file of [`weights`].
fn linked() -> String {
    let tag = fake_hub::tag("weights", &[7; 1000]);
    format!("X-Linked-Etag: \"{tag}\"\r\nX-Linked-Size: 1000\r\nX-Repo-Commit: {FIRST}\r\n")
}

#[test]
fn a_mirror_that_lists_only_names_is_asked_for_the_hash_of_each_file() {
    let (cache, server) = weights(true);
    let first = hub(cache.path(), &server, Connection::Online);
    let path = first.fetch(&model("a/b"), "weights").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), [7; 1000]);
    assert_eq!(first.fetch(&model("a/b"), "weights").unwrap(), path);
    assert_eq!(server.requests().len(), 3, "listing, hash, file: {:?}", server.requests());
}

#[test]
fn the_token_does_not_follow_a_redirect_to_another_host() {
    for lists_names_only in [false, true] {
        let (cache, server) = weights(lists_names_only);
        let (_cache, other) = weights(false);
        let elsewhere = format!("{}/a/b/resolve/{FIRST}/weights", other.url);
        instead_of_files(&server, move |_| Some(Reply::to(&elsewhere, &linked())));
        let path = with_token(cache.path(), &server).fetch(&model("a/b"), "weights").unwrap();
        assert_eq!(std::fs::read(path).unwrap(), [7; 1000]);
        assert!(other.tokens().iter().all(Option::is_none) && !other.tokens().is_empty());
        assert!(server.tokens().iter().all(|token| token.as_deref() == Some("Bearer secret")));
    }

    let (cache, server) = weights(false);
    let (_cache, other) = weights(false);
    let url = other.url.clone();
    server.answer_with(move |path, _| Some(Reply::to(&format!("{url}{path}"), "")));
    with_token(cache.path(), &server).list(&model("a/b")).unwrap();
    assert_eq!(other.tokens(), [None]);
}

#[test]
fn a_redirect_on_the_same_host_keeps_the_token() {
    let (cache, server) = weights(false);
    let moved = format!("/new/name/resolve/{FIRST}/weights");
    let from = format!("/a/b/resolve/{FIRST}/weights");
    server.answer_with(move |path, _| (path == from).then(|| Reply::to(&moved, "")));
    with_token(cache.path(), &server).fetch(&model("a/b"), "weights").unwrap();
    assert_eq!(server.tokens(), vec![Some("Bearer secret".to_owned()); 3]);
}

#[test]
fn redirects_end() {
    let (cache, server) = weights(false);
    instead_of_files(&server, |_| Some(Reply::to("weights", "")));
    refused(&hub(cache.path(), &server, Connection::Online), WEIGHTS, &["redirects more than 10"]);
    for location in ["file:///etc/passwd", "http://", ""] {
        let location = location.to_owned();
        instead_of_files(&server, move |_| Some(Reply::to(&location, "")));
        refused(&hub(cache.path(), &server, Connection::Online), WEIGHTS, &["redirects"]);
    }
}

#[test]
fn an_etag_or_a_commit_that_is_not_a_name_writes_nothing() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("file");
    std::fs::write(&target, "before").unwrap();
    let absolute = target.display().to_string();
    let upwards = format!("../../../../../../../../../..{absolute}");
    for name in [&absolute[..], &upwards, "", "a/b", "latest", "\u{1b}[31m"] {
        let (cache, server) = weights(true);
        let headers = format!("ETag: \"{name}\"\r\nX-Repo-Commit: {FIRST}\r\n");
        instead_of_files(&server, move |_| Some(Reply::new(200, &headers, &[7; 1000])));
        refused(&hub(cache.path(), &server, Connection::Online), WEIGHTS, &["does not answer as"]);
        assert_eq!(files_below(cache.path()), [""; 0]);

        let tag = fake_hub::tag("weights", &[7; 1000]);
        let headers = format!("ETag: \"{tag}\"\r\nX-Repo-Commit: {name}\r\n");
        instead_of_files(&server, move |_| Some(Reply::new(200, &headers, &[7; 1000])));
        refused(&hub(cache.path(), &server, Connection::Online), WEIGHTS, &["does not answer as"]);

        let listing = serde_json::json!({ "sha": name, "siblings": [{ "rfilename": "weights" }] });
        let listing = listing.to_string();
        server.answer_with(move |_, _| Some(Reply::new(200, "", listing.as_bytes())));
        refused(&hub(cache.path(), &server, Connection::Online), WEIGHTS, &["is not a commit"]);
        assert_eq!(files_below(cache.path()), [""; 0]);
    }
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "before");
}

#[test]
fn another_commit_than_the_one_asked_for_is_refused() {
    let (cache, server) = weights(false);
    server.put_revision("", SECOND, FIRST);
    let pinned = format!("a/b@{SECOND}");
    let hub = hub(cache.path(), &server, Connection::Online);
    refused(&hub, (&pinned, "weights"), &["lists the commit", FIRST]);
}

#[test]
fn names_that_could_leave_the_cache_are_not_listed() {
    let (cache, server) = weights(false);
    for name in ["../../evil", "/etc/passwd", "a/../../b", "a\\b", "x\n::error::y"] {
        server.put_file(FIRST, name, b"evil");
    }
    let hub = hub(cache.path(), &server, Connection::Online);
    assert_eq!(hub.list(&model("a/b")).unwrap(), ["config.json", "weights"]);
}

#[test]
fn a_reference_in_the_cache_cannot_lead_out_of_it() {
    let (cache, server) = weights(false);
    let folder = cache.path().join("models--a--b");
    std::fs::create_dir_all(folder.join("refs")).unwrap();
    std::fs::create_dir_all(folder.join("snapshots")).unwrap();
    std::fs::create_dir_all(cache.path().join("elsewhere")).unwrap();
    std::fs::write(cache.path().join("elsewhere/weights"), "evil").unwrap();
    std::fs::write(folder.join("refs/main"), "../../elsewhere").unwrap();
    let offline = hub(cache.path(), &server, Connection::Offline);
    refused(&offline, WEIGHTS, &["is not in the cache"]);
}

#[test]
fn bytes_in_the_cache_that_the_hub_does_not_list_are_not_used() {
    for (lists_names_only, file, bytes) in [
        (false, "weights", &[7; 1000][..]),
        (false, "config.json", b"{}"),
        (true, "weights", &[7; 1000]),
    ] {
        let (cache, server) = weights(lists_names_only);
        let first = hub(cache.path(), &server, Connection::Online);
        let path = first.fetch(&model("a/b"), file).unwrap();
        assert_eq!(first.take_notes(), [""; 0]);
        // The same size, so that only the hash tells.
        std::fs::write(&path, vec![b' '; bytes.len()]).unwrap();
        let offline = hub(cache.path(), &server, Connection::Offline);
        assert_ne!(std::fs::read(offline.fetch(&model("a/b"), file).unwrap()).unwrap(), bytes);

        for revision in ["a/b".to_owned(), format!("a/b@{FIRST}")] {
            std::fs::write(&path, vec![b' '; bytes.len()]).unwrap();
            let second = hub(cache.path(), &server, Connection::Online);
            let path = second.fetch(&model(&revision), file).unwrap();
            assert_eq!(std::fs::read(path).unwrap(), bytes);
            let notes = second.take_notes();
            assert!(notes[0].contains(file) && notes[0].contains("downloaded again"), "{notes:?}");
        }
    }
}

#[cfg(unix)]
#[test]
fn a_link_in_the_cache_that_leads_out_of_it_is_replaced_and_its_target_kept() {
    let (cache, server) = weights(false);
    let outside = tempfile::tempdir().unwrap();
    let folder = cache.path().join("models--a--b");
    let snapshot = folder.join("snapshots").join(FIRST);
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(folder.join("blobs")).unwrap();
    let hash = fake_hub::tag("weights", &[7; 1000]);
    let mine = ["ref", "snapshot", "blob", "part"].map(|name| outside.path().join(name));
    std::fs::create_dir_all(folder.join("refs")).unwrap();
    let at = [
        folder.join("refs/main"),
        snapshot.join("weights"),
        folder.join("blobs").join(&hash),
        folder.join("blobs").join(format!("{hash}.part")),
    ];
    for (mine, at) in mine.iter().zip(&at) {
        std::fs::write(mine, "mine").unwrap();
        std::os::unix::fs::symlink(mine, at).unwrap();
    }
    let hub = hub(cache.path(), &server, Connection::Online);
    let path = hub.fetch(&model("a/b"), "weights").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), [7; 1000]);
    assert!(path.canonicalize().unwrap().starts_with(cache.path().canonicalize().unwrap()));
    for mine in mine {
        assert_eq!(std::fs::read_to_string(mine).unwrap(), "mine");
    }
}

#[test]
fn a_body_longer_than_the_file_ends_and_leaves_nothing() {
    for lists_names_only in [false, true] {
        let (cache, server) = weights(lists_names_only);
        instead_of_files(&server, |range| match range {
            Some("bytes=0-0") => None,
            _ => Some(Reply::endless("", &[7; 4096], Duration::ZERO)),
        });
        let hub = hub(cache.path(), &server, Connection::Online);
        refused(&hub, WEIGHTS, &["sends more than the 1000 bytes"]);
        let left: Vec<_> =
            files_below(cache.path()).into_iter().filter(|it| !it.ends_with(".lock")).collect();
        assert_eq!(left, [""; 0]);
    }
}

#[cfg(unix)]
#[test]
fn a_size_that_no_disk_has_is_refused_before_the_download() {
    let (cache, server) = weights(true);
    instead_of_files(&server, |_| {
        let size = 1u64 << 60;
        let headers = linked().replace("X-Linked-Size: 1000", &format!("X-Linked-Size: {size}"));
        Some(Reply::endless(&headers, &[7; 4096], Duration::ZERO))
    });
    refused(&hub(cache.path(), &server, Connection::Online), WEIGHTS, &["needed", "are free"]);
}

#[test]
fn an_answer_that_drips_ends() {
    for (part, words) in [("/resolve/", "`weights` of model"), ("/api/", "model `a/b`")] {
        let (cache, server) = weights(false);
        let pause = Duration::from_millis(5);
        server.answer_with(move |path, _| {
            path.contains(part).then(|| Reply::endless("", b" ", pause))
        });
        let mut settings = hub(cache.path(), &server, Connection::Online).settings().clone();
        (settings.stall, settings.retries) = (Duration::from_millis(300), 3);
        let begun = Instant::now();
        refused(&Hub::new(settings), WEIGHTS, &[words, "too slowly", "HF_HUB_DOWNLOAD_TIMEOUT"]);
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}

#[test]
fn a_listing_is_limited_in_size_and_depth() {
    let (cache, server) = weights(false);
    server.answer_with(|_, _| Some(Reply::endless("", &[b' '; 1 << 20], Duration::ZERO)));
    let online = || hub(cache.path(), &server, Connection::Online);
    refused(&online(), WEIGHTS, &["more than 16 MiB"]);
    let nested = format!("{{\"sha\":{}", "[".repeat(100_000));
    server.answer_with(move |_, _| Some(Reply::new(200, "", nested.as_bytes())));
    refused(&online(), WEIGHTS, &["does not answer as"]);
}

#[test]
fn a_compressed_answer_is_refused_unread() {
    for part in ["/resolve/", "/api/"] {
        let (cache, server) = weights(false);
        server.answer_with(move |path, _| {
            let reply = || Reply::new(200, "Content-Encoding: gzip\r\n", &[0x1f, 0x8b]);
            path.contains(part).then(reply)
        });
        refused(&hub(cache.path(), &server, Connection::Online), WEIGHTS, &["compressed (gzip)"]);
    }
}

#[test]
fn a_hub_that_asks_for_a_long_wait_is_not_obeyed() {
    let (cache, server) = weights(false);
    for status in [429, 503] {
        server.answer_with(move |_, _| Some(Reply::new(status, "Retry-After: 100000\r\n", b"")));
        refused(&hub(cache.path(), &server, Connection::Online), WEIGHTS, &[&status.to_string()]);
    }
}
