//! Entries as a whole: no damage to a file gives a wrong row.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::testing::{append, cache, known, logits, spec, store};
use super::{CacheKey, EntrySpec, Integrity, NoteKind, PredictionCache, Row, Scope};
use crate::input::InputFile;

#[test]
fn rows_are_read_back_in_any_order_and_a_complete_entry_is_unlocked() {
    let (_root, cache) = cache();
    let spec = spec("test", 5, 3);
    store(&cache, &spec, &[3, 0]);
    let (mut entry, notes) = cache.open(&spec);
    assert!(notes.is_empty() && entry.writable());
    assert_eq!(known(&entry, 5, 3), [0, 3]);
    assert_eq!(entry.missing().collect::<Vec<_>>(), [1, 2, 4]);
    append(&mut entry, 3, &[4, 2, 1]);
    assert!(entry.is_complete() && !entry.writable());
    // While the first is still there: nothing is left to be written.
    let (other, notes) = cache.open(&spec);
    assert!(notes.is_empty() && !other.writable());
    assert_eq!(known(&other, 5, 3), [0, 1, 2, 3, 4]);
}

#[test]
fn no_row_is_stored_once_an_input_has_changed() {
    let (root, cache) = cache();
    let path = root.path().join("weights");
    fs::write(&path, "one").unwrap();
    let inputs = [InputFile::open(&path).unwrap()];
    store(&cache, &spec("test", 5, 3), &[3]);
    let spec = EntrySpec { inputs: &inputs, ..spec("test", 5, 3) };
    let (mut entry, _) = cache.open(&spec);
    append(&mut entry, 3, &[0]);
    fs::write(&path, "longer").unwrap();
    let row = Row { index: 1, logits: &logits(1, 3), truncated: false };
    let error = entry.append(&[row]).unwrap_err().to_string();
    assert!(error.contains("weights`"), "{error}");
    assert!(!entry.writable());
    drop(entry);
    // The row of the earlier process stays, and none of this one.
    assert_eq!(known(&cache.open(&spec).0, 5, 3), [3]);
}

#[test]
fn a_known_row_is_not_written_again() {
    let (_root, cache) = cache();
    let spec = spec("test", 5, 3);
    store(&cache, &spec, &[3, 3, 0]);
    let length = cache.list().unwrap()[0].bytes;
    let (mut entry, _) = cache.open(&spec);
    assert_eq!(
        entry.append(&[Row { index: 3, logits: &[9.0; 3], truncated: false }]).unwrap(),
        None
    );
    assert_eq!(
        entry.append(&[Row { index: 1, logits: &[f32::NAN; 3], truncated: false }]).unwrap(),
        None
    );
    assert_eq!(known(&entry, 5, 3), [0, 3]);
    drop(entry);
    assert_eq!(cache.list().unwrap()[0].bytes, length);
}

#[test]
fn opening_a_valid_entry_does_not_touch_the_file() {
    let (_root, cache) = cache();
    store(&cache, &spec("test", 5, 3), &[3]);
    let path = cache.list().unwrap().remove(0).path;
    let old = std::time::SystemTime::UNIX_EPOCH;
    fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
    assert!(cache.open(&spec("test", 5, 3)).0.writable());
    assert_eq!(fs::metadata(path).unwrap().modified().unwrap(), old);
}

/// Opens the changed file at `path`: every row must be right, and missing rows can be stored again.
/// Returns the kinds of the notes.
fn recover(cache: &PredictionCache, path: &Path, examples: usize, labels: usize) -> Vec<NoteKind> {
    let spec = spec("test", examples, labels);
    let (mut entry, notes) = cache.open(&spec);
    assert!(notes.iter().all(|note| note.path == path));
    known(&entry, examples, labels);
    assert!(entry.writable() || entry.is_complete());
    let missing: Vec<usize> = entry.missing().collect();
    append(&mut entry, labels, &missing);
    assert!(entry.is_complete());
    drop(entry);
    let (entry, more) = cache.open(&spec);
    assert!(more.is_empty() && entry.is_complete(), "{more:?}");
    known(&entry, examples, labels);
    let list = cache.list().unwrap();
    assert_eq!((list[0].known, &list[0].damage), (examples, &None));
    notes.iter().map(|note| note.kind).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn no_damage_yields_a_wrong_row(
        labels in 1usize..4,
        blocks in prop::collection::vec(prop::collection::vec(0usize..6, 1..4), 1..4),
        mask in 1u8..=255,
    ) {
        let (_root, cache) = cache();
        for block in &blocks {
            store(&cache, &spec("test", 6, labels), block);
        }
        let path = cache.list().unwrap().remove(0).path;
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            fs::write(&path, &whole[..at]).unwrap();
            recover(&cache, &path, 6, labels);

            let mut changed = whole.clone();
            changed[at] ^= mask;
            fs::write(&path, &changed).unwrap();
            let notes = recover(&cache, &path, 6, labels);
            prop_assert_eq!(notes.len(), 1, "byte {}", at);
        }
        fs::write(&path, [&whole[..], &[mask]].concat()).unwrap();
        prop_assert_eq!(recover(&cache, &path, 6, labels), [NoteKind::Damaged]);
        fs::write(&path, &whole).unwrap();
        prop_assert_eq!(recover(&cache, &path, 6, labels), []);
    }
}

#[test]
fn a_foreign_file_is_replaced() {
    let (_root, cache) = cache();
    let own = spec("test", 4, 2);
    let other_model = super::EntrySpec { model: CacheKey([7; 32]), ..own };
    let path = cache.shelf(own.model).join(format!("{}.logits", own.texts.key));
    let mut foreign = vec![b"{\"an\": \"other program's\"}".to_vec()];
    // Another model's, other texts', another number of labels.
    for spec in [other_model, spec("train", 4, 2), spec("test", 4, 3)] {
        let (_root, elsewhere) = super::testing::cache();
        store(&elsewhere, &spec, &[0, 1, 2, 3]);
        foreign.push(fs::read(&elsewhere.list().unwrap()[0].path).unwrap());
    }
    // Another version's.
    let mut newer = foreign[1].clone();
    newer[8] += 1;
    foreign.push(newer);
    for bytes in foreign {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        let (entry, _) = cache.open(&own);
        assert_eq!(entry.known(), 0);
        drop(entry);
        // The first opening replaced it; what follows is an ordinary entry.
        store(&cache, &own, &[1]);
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_foreign_file_is_reported() {
    let (_root, cache) = cache();
    let own = spec("test", 4, 2);
    store(&cache, &own, &[1]);
    let path = cache.list().unwrap().remove(0).path;
    store(&cache, &spec("train", 4, 2), &[1]);
    let other = cache.shelf(own.model).join(format!("{}.logits", spec("train", 4, 2).texts.key));
    fs::copy(other, &path).unwrap();
    let (_, notes) = cache.open(&own);
    assert_eq!(notes.len(), 1);
    assert_eq!((notes[0].kind, &notes[0].path), (NoteKind::Foreign, &path));
    assert!(notes[0].found.contains("list of texts"), "{}", notes[0]);
}

#[test]
fn the_same_texts_under_another_name_are_the_same_entry() {
    let (_root, cache) = cache();
    let own = spec("test", 4, 2);
    store(&cache, &own, &[1]);
    let renamed = super::EntrySpec { task: "custom", split: "dev", ..own };
    let (entry, notes) = cache.open(&renamed);
    assert!(notes.is_empty());
    assert_eq!(known(&entry, 4, 2), [1]);
}

#[test]
fn an_entry_that_cannot_be_created_is_kept_in_memory_and_reported_once() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("file"), "").unwrap();
    let cache = PredictionCache::at(root.path().join("file"));
    let (mut entry, notes) = cache.open(&spec("test", 4, 2));
    assert_eq!(notes.iter().map(|note| note.kind).collect::<Vec<_>>(), [NoteKind::NotStored]);
    assert!(!entry.writable());
    append(&mut entry, 2, &[0, 1, 2, 3]);
    assert!(entry.is_complete());
    assert_eq!(cache.open(&spec("train", 4, 2)).1, []);
}

#[test]
fn a_folder_in_place_of_an_entry_is_not_an_entry() {
    let (_root, cache) = cache();
    let spec = spec("test", 4, 2);
    let path = cache.shelf(spec.model).join(format!("{}.logits", spec.texts.key));
    fs::create_dir_all(&path).unwrap();
    let (entry, notes) = cache.open(&spec);
    assert_eq!((entry.known(), entry.writable(), notes.len()), (0, false, 1));
    assert_eq!((notes[0].kind, &notes[0].path), (NoteKind::NotStored, &path));
}

#[cfg(unix)]
#[test]
fn an_entry_that_can_only_be_read_still_gives_its_rows() {
    use std::os::unix::fs::PermissionsExt;
    let (_root, cache) = cache();
    let (partial, whole) = (spec("test", 4, 2), spec("train", 2, 2));
    store(&cache, &partial, &[2]);
    store(&cache, &whole, &[1, 0]);
    let allow = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let shelf = cache.shelf(partial.model);
    cache.list().unwrap().iter().for_each(|entry| allow(&entry.path, 0o444));
    allow(&shelf, 0o555);
    if fs::write(shelf.join("probe"), "").is_ok() {
        return; // permissions do not bind this user
    }
    let (entry, notes) = cache.open(&partial);
    assert_eq!(notes.iter().map(|note| note.kind).collect::<Vec<_>>(), [NoteKind::NotStored]);
    assert!(!entry.writable());
    assert_eq!(known(&entry, 4, 2), [2]);
    let (entry, notes) = cache.open(&whole);
    assert_eq!((known(&entry, 2, 2), notes), (vec![0, 1], vec![]));
    assert!(cache.verify().unwrap().iter().all(|file| file.outcome == Integrity::Sound));
    let cleared = cache.clear(Scope::Everything, std::time::SystemTime::now()).unwrap();
    assert_eq!((cleared.removed.len(), cleared.kept.len()), (0, 2));
    allow(&shelf, 0o755);
}

#[test]
fn more_texts_than_a_file_can_number_are_not_stored() {
    let (_root, cache) = cache();
    let mut spec = spec("test", 1, 0); // no labels, so that no memory is taken
    spec.texts.examples = 1 << 31;
    let (entry, notes) = cache.open(&spec);
    assert!(!entry.writable());
    assert_eq!(notes[0].kind, NoteKind::NotStored);
    assert_eq!(logits(0, 0).len(), 0);
}
