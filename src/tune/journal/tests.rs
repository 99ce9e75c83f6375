use super::*;
use crate::error::rendered;
use crate::tune::constraints::tests::finished;
use crate::tune::outcome::Finished;

fn point(rate: f64) -> TrialSettings {
    TrialSettings::from([
        ("layers".to_owned(), Value::Array(vec![Value::Integer(1), Value::Integer(3)])),
        ("rate".to_owned(), Value::Float(rate)),
    ])
}

/// Opens the journal of a tune with that fingerprint.
pub fn open(folder: &Path, fingerprint: &str) -> Result<Journal> {
    let head = JournalHead { fingerprint: fingerprint.to_owned(), ..JournalHead::default() };
    Journal::open(folder, head, || Ok(None))
}

fn journal(folder: &Path) -> Journal {
    open(folder, "f").unwrap()
}

fn failed(error: &str) -> RunOutcome {
    RunOutcome::Failed { error: error.to_owned() }
}

#[test]
fn what_one_process_writes_another_reads() {
    let folder = tempfile::tempdir().unwrap();
    let first = journal(folder.path());
    let mut locked = first.lock().unwrap();
    locked.begin(RunId::trial(1), &point(1.0)).unwrap();
    locked.begin(RunId::trial(2), &point(1e-5)).unwrap();
    locked.end(RunId::trial(1), failed("why")).unwrap();
    let runs = locked.runs.clone();
    drop(locked);
    let again = journal(folder.path()).lock().unwrap().runs;
    assert_eq!(again, runs);
    assert_eq!(again.all[0].end, Some(failed("why")));
    assert_eq!(again.all[1].point, point(1e-5));
}

#[test]
fn an_incomplete_last_line_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let first = journal(folder.path());
    first.lock().unwrap().begin(RunId::trial(1), &point(1.0)).unwrap();
    let whole = std::fs::read(&first.path).unwrap();
    for torn in ["{", "{\"event\":\"ended\",\"run\":{\"tri"] {
        std::fs::write(&first.path, [&whole, torn.as_bytes()].concat()).unwrap();
        assert_eq!(journal(folder.path()).lock().unwrap().runs.all.len(), 1);
        assert_eq!(std::fs::read(&first.path).unwrap(), whole);
    }
}

#[test]
fn any_cut_keeps_the_first_lines_and_any_changed_byte_is_read_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = journal(folder.path());
    let mut locked = first.lock().unwrap();
    locked.begin(RunId::trial(1), &point(1.0)).unwrap();
    locked.end(RunId::trial(1), failed("why")).unwrap();
    locked.begin(RunId { trial: 1, seed: Some(7) }, &point(1e-5)).unwrap();
    let whole = locked.runs.all.clone();
    drop(locked);
    let bytes = std::fs::read(&first.path).unwrap();
    let header = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for length in header..bytes.len() {
        std::fs::write(&first.path, &bytes[..length]).unwrap();
        let runs = first.lock().unwrap().runs.all;
        let ids = |runs: &[TrainingRun]| runs.iter().map(|run| run.id).collect::<Vec<_>>();
        assert_eq!(ids(&runs), ids(&whole)[..runs.len()]);
    }
    for at in 0..bytes.len() {
        for change in [1, 0x20, 0x80] {
            let mut changed = bytes.clone();
            changed[at] ^= change;
            std::fs::write(&first.path, changed).unwrap();
            if let Err(error) = first.lock() {
                assert!(rendered(&error).contains("journal.jsonl"), "{error:#}");
            }
        }
    }
}

#[test]
fn a_journal_of_another_tune_or_a_damaged_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = journal(folder.path());
    let other = open(folder.path(), "g").unwrap_err();
    assert!(other.to_string().contains("another tune"), "{other}");
    let mut file = OpenOptions::new().append(true).open(&first.path).unwrap();
    file.write_all(b"{\"event\":\"lost\"}\n").unwrap();
    let damaged = first.lock().err().unwrap().to_string();
    assert!(damaged.contains("line 2") && damaged.contains("journal.jsonl"), "{damaged}");
    std::fs::write(&first.path, "").unwrap();
    let mut locked = journal(folder.path());
    locked.path = first.path.clone();
    let ended = locked.lock().unwrap().end(RunId::trial(4), failed(""));
    assert!(ended.unwrap_err().to_string().contains("trial-4 ended without having begun"));
}

#[test]
fn a_journal_of_another_version_is_refused_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    // As version 1 began, and as a later one may.
    for first in [
        r#"{"event":"tune","schema_version":1,"fingerprint":"f","plan":{}}"#,
        r#"{"event":"tune","schema_version":3}"#,
    ] {
        let text = format!("{first}\n{{\"event\":\"else\"}}\n{{\"event\":");
        std::fs::write(&path, &text).unwrap();
        let own = rendered(&open(folder.path(), "f").unwrap_err());
        let other = rendered(&Journal::read_other(&path).unwrap_err());
        for refused in [own, other] {
            assert!(
                refused.contains("journal.jsonl` is the journal of another version"),
                "{refused}"
            );
            assert!(refused.contains("hint: name "), "{refused}");
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "it is left as it is");
    }
    std::fs::write(&path, "{\"event\":\"tune\",\"schema_version\":2}\n").unwrap();
    let damaged = rendered(&open(folder.path(), "f").unwrap_err());
    assert!(damaged.contains("is damaged: line 1"), "{damaged}");
}

#[test]
fn lines_that_contradict_each_other_are_refused_with_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let first = journal(folder.path());
    let mut locked = first.lock().unwrap();
    let end = |labelled: usize| {
        let seen = Answers::new(vec![true; labelled]);
        RunOutcome::Finished(Box::new(Finished { seen, ..finished(0.04, 80, 1) }))
    };
    locked.begin(RunId::trial(1), &point(1.0)).unwrap();
    locked.end(RunId::trial(1), end(100)).unwrap();
    locked.begin(RunId::trial(2), &point(2.0)).unwrap();
    drop(locked);
    let good = std::fs::read_to_string(&first.path).unwrap();
    let line = |event: &Event| serde_json::to_string(event).unwrap();
    let begun = good.lines().last().unwrap().to_owned();
    let fewer = line(&Event::Ended { run: RunId::trial(2), end: end(99) });
    for (wrong, why) in [
        (begun, "line 5: trial-2 begins a second time"),
        (fewer, "line 5: trial-2 has 99 answers where another model has 100"),
    ] {
        std::fs::write(&first.path, format!("{good}{wrong}\n")).unwrap();
        let own = rendered(&first.lock().err().unwrap());
        let other = rendered(&Journal::read_other(&first.path).unwrap_err());
        for refused in [own, other] {
            assert!(refused.contains("journal.jsonl`") && refused.contains(why), "{refused}");
        }
    }
}

#[test]
fn a_folder_that_holds_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.tex"), "x").unwrap();
    let refused = open(folder.path(), "f").unwrap_err();
    assert!(rendered(&refused).contains("--output"), "{refused}");
}

#[test]
fn a_process_waits_for_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let first = journal(folder.path());
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let first = &first;
            scope.spawn(move || {
                for _ in 0..10 {
                    let mut locked = first.lock().unwrap();
                    let next = locked.runs.all.len() + 1;
                    locked.begin(RunId::trial(next), &point(f64::from(worker))).unwrap();
                }
            });
        }
    });
    let runs = first.lock().unwrap().runs;
    let trials: Vec<_> = runs.trials().map(|run| run.id.trial).collect();
    assert_eq!(trials, (1..=40).collect::<Vec<_>>());
}
