//! Several processes at one cache. A lock belongs to an open file, not to a process, so threads that
//! each open the file stand for processes; kills are tested with a real one.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::testing::{append, cache, identity, known, spec, store};
use super::{Integrity, ModelFile, NoteKind, PredictionCache, Scope};

#[test]
fn the_second_process_reads_what_is_complete_and_computes_the_rest_itself() {
    let root = tempfile::tempdir().unwrap();
    let (first, second) = (PredictionCache::at(root.path()), PredictionCache::at(root.path()));
    let spec = spec("test", 6, 2);
    let (mut writer, _) = first.open(&spec);
    append(&mut writer, 2, &[4, 1]);
    let (mut reader, notes) = second.open(&spec);
    assert_eq!(notes.iter().map(|note| note.kind).collect::<Vec<_>>(), [NoteKind::InUse]);
    assert!(writer.writable() && !reader.writable());
    assert_eq!(known(&reader, 6, 2), [1, 4]);
    append(&mut reader, 2, &[0, 2, 3, 5]);
    assert_eq!(known(&reader, 6, 2), [0, 1, 2, 3, 4, 5]);
    append(&mut writer, 2, &[0]);
    drop(writer);
    let (third, notes) = second.open(&spec);
    assert!(notes.is_empty() && third.writable());
    assert_eq!(known(&third, 6, 2), [0, 1, 4]);
}

#[test]
fn a_block_that_is_being_written_is_not_reported_as_damage() {
    let (_root, cache) = cache();
    let spec = spec("test", 6, 2);
    let (mut writer, _) = cache.open(&spec);
    append(&mut writer, 2, &[4]);
    let path = writer.path().unwrap().to_owned();
    let mut file = std::fs::File::options().append(true).open(path).unwrap();
    std::io::Write::write_all(&mut file, &[3, 0, 0, 0, 1]).unwrap();
    let (reader, notes) = cache.open(&spec);
    assert_eq!(notes.iter().map(|note| note.kind).collect::<Vec<_>>(), [NoteKind::InUse]);
    assert_eq!(known(&reader, 6, 2), [4]);
}

/// Writers, listings, verifications and clearings at once: no panic, no wrong row, no damage.
#[test]
fn concurrent_use_keeps_the_cache_valid() {
    const N: usize = 40;
    let root = tempfile::tempdir().unwrap();
    let deadline = Instant::now() + Duration::from_millis(1500);
    let stored = AtomicUsize::new(0);
    let write = |start: usize| {
        let cache = PredictionCache::at(root.path());
        let spec = spec("test", N, 2);
        let model = ModelFile { name: "out/bert".to_owned(), identity: identity(), facts: start };
        while Instant::now() < deadline {
            let (mut entry, notes) = cache.open(&spec);
            assert!(notes.iter().all(|note| note.kind == NoteKind::InUse), "{notes:?}");
            assert_eq!(cache.write_model(&model), Ok(()));
            known(&entry, N, 2);
            let mut missing: Vec<usize> = entry.missing().collect();
            let turn = start % missing.len().max(1);
            missing.rotate_left(turn);
            stored.fetch_add(usize::from(entry.writable()), Ordering::Relaxed);
            missing.chunks(7).for_each(|rows| append(&mut entry, 2, rows));
            assert_eq!(known(&entry, N, 2).len(), N);
        }
    };
    let look = || {
        let cache = PredictionCache::at(root.path());
        while Instant::now() < deadline {
            let list = cache.list().unwrap();
            assert!(list.iter().all(|entry| entry.damage.is_none()), "{list:?}");
            let files = cache.verify().unwrap();
            let is_damaged = |outcome: &Integrity| matches!(outcome, Integrity::Damaged(_));
            assert!(!files.iter().any(|file| is_damaged(&file.outcome)), "{files:?}");
        }
    };
    let clear = || {
        let cache = PredictionCache::at(root.path());
        while Instant::now() < deadline {
            let cleared = cache.clear(Scope::Everything, SystemTime::now()).unwrap();
            assert!(cleared.kept.iter().all(|kept| kept.error.is_none()), "{cleared:?}");
            std::thread::sleep(Duration::from_millis(3));
        }
    };
    std::thread::scope(|scope| {
        for start in [0, 11, 23] {
            scope.spawn(move || write(start));
        }
        scope.spawn(look);
        scope.spawn(clear);
    });
    assert!(stored.load(Ordering::Relaxed) > 0);
    // Afterwards, one run completes the entry.
    let cache = PredictionCache::at(root.path());
    let (mut entry, notes) = cache.open(&spec("test", N, 2));
    assert!(notes.is_empty(), "{notes:?}");
    let missing: Vec<usize> = entry.missing().collect();
    append(&mut entry, 2, &missing);
    drop(entry);
    assert!(cache.verify().unwrap().iter().all(|file| file.outcome == Integrity::Sound));
}

#[test]
fn processes_that_start_together_share_one_writer() {
    let root = tempfile::tempdir().unwrap();
    let (writers, go) = (AtomicUsize::new(0), AtomicBool::new(false));
    let opened = std::sync::Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !go.load(Ordering::Acquire) {
                    std::hint::spin_loop();
                }
                let (entry, _) = PredictionCache::at(root.path()).open(&spec("test", 6, 2));
                writers.fetch_add(usize::from(entry.writable()), Ordering::Relaxed);
                opened.wait();
            });
        }
        go.store(true, Ordering::Release);
    });
    assert_eq!(writers.into_inner(), 1);
}

/// The root that a child of this test program writes under, until it is killed.
const CHILD_ROOT: &str = "CACHE_TEST_CHILD_ROOT";
/// Enough rows that no child comes to their end.
const MANY: usize = 1_000_000;

/// Not a test but the child of the next one.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(root) = std::env::var_os(CHILD_ROOT) else { return };
    let cache = PredictionCache::at(Path::new(&root));
    let (mut entry, _) = cache.open(&spec("test", MANY, 2));
    assert!(entry.writable());
    let missing: Vec<usize> = entry.missing().collect();
    for rows in missing.chunks(100) {
        append(&mut entry, 2, rows);
        std::thread::sleep(Duration::from_millis(1)); // else it is done before it is killed
    }
}

#[test]
fn a_killed_writer_loses_no_whole_block_and_leaves_no_lock() {
    let (_root, cache) = cache();
    let mut before = 0;
    for _ in 0..3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "cache::races::child_that_writes_until_it_is_killed"])
            .env(CHILD_ROOT, cache.root())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let size = || cache.list().unwrap().first().map_or(0, |entry| entry.known);
        while size() <= before + 300 {
            assert!(Instant::now() < deadline, "the child does not write");
            std::thread::sleep(Duration::from_millis(10));
        }
        let seen = size();
        child.kill().unwrap();
        child.wait().unwrap();
        let (entry, notes) = cache.open(&spec("test", MANY, 2));
        assert!(entry.writable());
        assert!(notes.iter().all(|note| note.kind == NoteKind::Damaged), "{notes:?}");
        assert!(entry.known() >= seen && entry.known() % 100 == 0, "{}", entry.known());
        known(&entry, MANY, 2);
        before = entry.known();
    }
    let file = cache.verify().unwrap().remove(0);
    assert_eq!(file.outcome, Integrity::Sound);
    store(&cache, &spec("test", MANY, 2), &[MANY - 1]);
}
