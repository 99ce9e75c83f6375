//! The cache: the same report with it, without it, with damaged entries, and after a kill.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use common::{
    copy_folder, demo, edit_json, glue, number, reproducible, says, tiny_pair, with, Run, Sandbox,
};
use confidence_audit::cache::{EntryInfo, EntrySpec, PredictionCache, Row, TextsIdentity};
use serde_json::json;

/// The cache's folder of a sandbox, as the program names it.
fn root(sandbox: &Sandbox) -> PathBuf {
    let run = sandbox.audit(&["cache", "list"]);
    let last = run.stdout.lines().last().unwrap();
    PathBuf::from(last.split_once(", in ").unwrap().1)
}

/// Every file of the cache with its bytes.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

/// What is kept of logits, with its bytes. The digests of the models' files are remembered too, from
/// when these are two seconds old, which some run after the first one finds them.
fn snapshot(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let kept = files(&root.join("predictions"));
    assert!(!kept.is_empty(), "nothing is kept in {}", root.display());
    kept
}

/// What the cache holds of logits.
fn entries(sandbox: &Sandbox) -> Vec<EntryInfo> {
    PredictionCache::at(root(sandbox)).list().unwrap()
}

/// The entry of the model in the folder `model` over that split.
fn entry_of(sandbox: &Sandbox, model: &str, split: &str) -> EntryInfo {
    let is_it = |e: &EntryInfo| {
        e.split == split && e.model_name.as_deref().is_some_and(|name| name.ends_with(model))
    };
    entries(sandbox).into_iter().find(is_it).unwrap()
}

fn spec(entry: &EntryInfo) -> EntrySpec<'_> {
    EntrySpec {
        model: entry.model,
        texts: TextsIdentity { key: entry.texts, examples: entry.examples },
        labels: entry.labels,
        task: &entry.task,
        split: &entry.split,
        inputs: &[],
    }
}

/// Puts the teacher's first `count` rows of the training split in the place of the student's.
fn make_the_student_say_what_its_teacher_says(sandbox: &Sandbox, count: usize) {
    let cache = PredictionCache::at(root(sandbox));
    let (teacher, student) =
        (entry_of(sandbox, "teacher", "train"), entry_of(sandbox, "student", "train"));
    fs::remove_file(&student.path).unwrap();
    let (teacher, _) = cache.open(&spec(&teacher));
    let (mut student, notes) = cache.open(&spec(&student));
    assert!(notes.is_empty(), "{notes:?}");
    let row = |index| Row { index, logits: teacher.row(index).unwrap().0, truncated: false };
    assert_eq!(student.append(&(0..count).map(row).collect::<Vec<_>>()).unwrap(), None);
}

#[test]
fn a_second_run_reports_the_same_to_the_last_bit_and_writes_nothing() {
    let (sandbox, pair) = tiny_pair();
    let audit = |flags: &[&str]| reproducible(sandbox.report(&with(&pair, flags)));
    let before = audit(&["--no-cache"]);
    assert_eq!(files(&root(&sandbox)), BTreeMap::new(), "--no-cache writes nothing");
    assert_eq!(audit(&[]), before);
    let kept = snapshot(&root(&sandbox));
    assert_eq!(entries(&sandbox).len(), 4); // two models over train and validation
    for flags in [
        &[][..],
        &["--threads", "1"],
        &["--threads", "5", "--token-budget", "1"],
        &["--no-cache", "--threads", "3", "--token-budget", "4096"],
    ] {
        assert_eq!(audit(flags), before, "{flags:?}");
    }
    assert_eq!(snapshot(&root(&sandbox)), kept);
}

#[test]
fn a_report_says_how_many_rows_came_from_the_cache() {
    let (sandbox, pair) = tiny_pair();
    let counts = |flags: &[&str]| {
        let report = sandbox.report(&with(&pair, flags));
        let count =
            |row: &serde_json::Value, role: &str| row["rows_from_cache"][role].as_u64().unwrap();
        let of = |row: &serde_json::Value| (count(row, "teacher"), count(row, "student"));
        [0, 1].map(|i| of(&report["tasks"][i]))
    };
    let sizes = sandbox.report(&with(&pair, &["--no-cache"]));
    let [train, validation] = [0, 1].map(|i| sizes["tasks"][i]["n"].as_u64().unwrap());
    assert_eq!(counts(&["--no-cache"]), [(0, 0), (0, 0)]);
    assert_eq!(counts(&[]), [(0, 0), (0, 0)], "the preflight check's rows are of this run");
    assert_eq!(counts(&[]), [(train, train), (validation, validation)]);
    assert_eq!(counts(&["--no-cache"]), [(0, 0), (0, 0)]);
    // The key has the hash of config.json.
    sandbox.edit_config("student", |config| config["note"] = "another".into());
    assert_eq!(counts(&[]), [(train, 0), (validation, 0)]);
    let text = sandbox.audit(&with(&pair, &["--no-cache"])).stdout;
    let line =
        format!("  from cache  teacher 0 and {train} computed, student 0 and {train} computed");
    says(&text, &[&line]);
    // Of a run that ends early, only the rows that it took count.
    let row = sandbox.row(&with(&pair, &["--fail-fast", "--kappa", "0.0001"]));
    assert!(row["examples_run"].as_u64() <= Some(train));
    assert_eq!(row["rows_from_cache"]["student"], row["examples_run"]);
}

#[test]
fn the_cache_has_the_same_bytes_with_any_number_of_threads() {
    let (sandbox, pair) = tiny_pair();
    let mut filled = Vec::new();
    for threads in ["1", "4"] {
        sandbox.audit(&["cache", "clear"]);
        sandbox.report(&with(&pair, &["--threads", threads]));
        filled.push(snapshot(&root(&sandbox)));
    }
    assert!(filled[0] == filled[1]);
}

#[test]
fn cached_rows_are_used_unless_no_cache_is_given() {
    let (sandbox, pair) = tiny_pair();
    let truly = sandbox.row(&pair);
    let n = glue::TRAIN;
    make_the_student_say_what_its_teacher_says(&sandbox, n);
    let row = sandbox.row(&pair);
    assert_eq!((&row["sigma"], &row["agreement"]), (&json!(0.0), &json!(n)));
    assert_eq!(sandbox.row(&with(&pair, &["--no-cache"]))["sigma"], truly["sigma"]);

    // Of part of them, the rest alone is run. With 24 examples each is a point of the course.
    make_the_student_say_what_its_teacher_says(&sandbox, 10);
    let row = sandbox.row(&pair);
    let share = |i: usize| row["course"][i]["spent_share"].as_f64().unwrap();
    let truly = |i: usize| truly["course"][i]["spent_share"].as_f64().unwrap();
    assert_eq!(share(9), 0.0);
    assert!((share(n - 1) - (truly(n - 1) - truly(9))).abs() < 1e-12);
    assert!(share(n - 1) > 0.0);
}

#[test]
fn list_shows_the_model_the_split_and_the_rows() {
    let (sandbox, pair) = tiny_pair();
    let run = sandbox.audit(&["cache", "list"]);
    assert_eq!((run.code, run.stdout.lines().count()), (0, 1));
    says(&run.stdout, &["0 entries, 0 B, in "]);
    sandbox.report(&pair);
    let run = sandbox.audit(&["cache", "list"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    let lines: Vec<&str> = run.stdout.lines().collect();
    says(lines[0], &["model", "split", "rows", "size", "state"]);
    let expected = [
        ("student", "sst2/train", "24 of 24"),
        ("student", "sst2/validation", "9 of 9"),
        ("teacher", "sst2/train", "24 of 24"),
        ("teacher", "sst2/validation", "9 of 9"),
    ];
    for (line, (model, split, rows)) in lines[1..].iter().zip(expected) {
        says(line, &[&format!("{} ", sandbox.arg(model)), split, rows, " complete"]);
    }
    assert_eq!(lines.len(), 6);
    says(lines[5], &["4 entries, "]);
}

/// Changes the byte of a file that stands `place` of the way through it.
fn flip(path: &Path, place: f64) {
    let mut bytes = fs::read(path).unwrap();
    let at = (place * (bytes.len() - 1) as f64) as usize;
    bytes[at] ^= 4;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_entry_is_reported_found_by_verify_and_repaired_by_the_next_audit() {
    let (sandbox, pair) = tiny_pair();
    let pair = with(&pair, &["--format", "json"]);
    let report = |run: &Run| reproducible(run.json());
    let before = report(&sandbox.audit(&pair));
    let sound = sandbox.audit(&["cache", "verify"]);
    assert_eq!((sound.code, sound.stderr.as_str()), (0, ""));
    says(&sound.stdout, &[" sound, in "]);
    let kept = snapshot(&root(&sandbox));
    let logits = entry_of(&sandbox, "teacher", "train").path;
    let model = logits.with_file_name("model.json");
    // In the first byte, the header's names, the rows and the last checksum; in model.json.
    for (file, place) in
        [(&logits, 0.0), (&logits, 0.2), (&logits, 0.7), (&logits, 1.0), (&model, 0.5)]
    {
        flip(file, place);
        let name = file.to_str().unwrap();
        let verified = sandbox.audit(&["cache", "verify"]);
        assert_eq!((verified.code, verified.stderr.as_str()), (1, ""));
        says(&verified.stdout, &[&format!("damaged: {name}: "), "1 of 6 files damaged"]);
        if file == &logits {
            says(&sandbox.audit(&["cache", "list"]).stdout, &["damaged"]);
        }
        let run = sandbox.audit(&pair);
        says(&run.stderr, &["note: ", name]);
        if place > 0.0 {
            says(&run.stderr, &["damaged"]);
        }
        assert_eq!(report(&run), before);
        assert_eq!(sandbox.audit(&["cache", "verify"]).code, 0);
        assert!(snapshot(&root(&sandbox)) == kept, "it is whole again: {place} of {name}");
        let again = sandbox.audit(&pair);
        assert_eq!((report(&again), again.stderr.contains("note: ")), (before.clone(), false));
    }
}

#[test]
fn an_entry_that_was_cut_short_or_continued_or_lost_is_made_whole() {
    let (sandbox, pair) = tiny_pair();
    let before = reproducible(sandbox.report(&pair));
    let kept = snapshot(&root(&sandbox));
    let path = entry_of(&sandbox, "student", "train").path;
    let whole = fs::read(&path).unwrap();
    for length in [0, 7, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        assert_eq!(reproducible(sandbox.report(&pair)), before);
        assert!(snapshot(&root(&sandbox)) == kept, "{length} bytes");
    }
    fs::write(&path, [&whole[..], b"more"].concat()).unwrap();
    let run = sandbox.audit(&pair);
    says(&run.stderr, &["note: ", path.to_str().unwrap(), "damaged"]);
    assert!(snapshot(&root(&sandbox)) == kept, "more than the entry");
    fs::remove_file(&path).unwrap();
    fs::remove_file(path.with_file_name("model.json")).unwrap();
    assert_eq!(reproducible(sandbox.report(&pair)), before);
    assert!(snapshot(&root(&sandbox)) == kept);
}

/// `n` rows of SST-2 whose texts are all different, in the place of its training split.
fn write_many(sandbox: &Sandbox, folder: &str, n: usize) {
    let sentence = glue::sentence;
    let text = |i| format!("{} {} {}", sentence(i), sentence(i / 105), sentence(i / (105 * 105)));
    let rows: String = (0..n).map(|i| format!("{}\t{}\n", text(i), i / 3 % 2)).collect();
    sandbox.write(&format!("{folder}/SST-2/train.tsv"), format!("sentence\tlabel\n{rows}"));
}

/// The audit of the demo's students against each other over [`write_many`]'s rows.
#[cfg(unix)]
fn long_audit() -> Vec<String> {
    let (teacher, student) = (demo("student"), demo("student-overconfident"));
    let models = ["--teacher", &teacher, "--student", &student, "--data", "many"];
    with(&["--task", "sst2", "--format", "json"], &models)
}

/// Starts the long audit and sends it `signal` once more than a window is kept of both models;
/// the exit code and what of its training split was kept. Takes more rows where it was too quick.
#[cfg(unix)]
fn stopped_on_its_way(sandbox: &Sandbox, signal: &str) -> (Option<i32>, String, Vec<EntryInfo>) {
    use std::process::{Command, Stdio};
    const WINDOW: usize = 2048;
    for n in [10_000, 40_000, 160_000] {
        write_many(sandbox, "many", n);
        let mut command = Command::new(env!("CARGO_BIN_EXE_audit"));
        command.env_clear().envs(sandbox.environment()).current_dir(sandbox.path(""));
        command.args(long_audit()).args(["--threads", "2"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let cache = PredictionCache::at(root(sandbox));
        let kept = || -> Vec<EntryInfo> {
            // A model's other head is run over the pre-flight sample alone.
            cache.list().unwrap().into_iter().filter(|e| e.known > 256 && e.examples == n).collect()
        };
        let ended = loop {
            let kept = kept();
            if kept.len() == 2 && kept.iter().all(|e| e.known > WINDOW) {
                let id = child.id().to_string();
                assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
                break child.wait_with_output().unwrap();
            }
            if child.try_wait().unwrap().is_some() {
                break child.wait_with_output().unwrap();
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let kept = kept();
        if kept.iter().all(|e| e.known < n) {
            return (ended.status.code(), String::from_utf8(ended.stderr).unwrap(), kept);
        }
    }
    panic!("it ended before the signal, three times");
}

#[cfg(unix)]
#[test]
fn a_killed_audit_is_taken_up_where_it_was_and_reports_the_same() {
    let sandbox = Sandbox::new();
    let (code, _, kept) = stopped_on_its_way(&sandbox, "KILL");
    assert_eq!((code, kept.len()), (None, 2));
    let listed = sandbox.audit(&["cache", "list"]).stdout;
    assert!(!listed.contains(" complete") && !listed.contains(" being written"), "{listed}");
    let before: Vec<Vec<u8>> = kept.iter().map(|e| fs::read(&e.path).unwrap()).collect();

    let resumed = sandbox.audit(&long_audit());
    let whole = sandbox.audit(&with(&long_audit(), &["--no-cache"]));
    assert_eq!(reproducible(resumed.json()), reproducible(whole.json()));
    for (entry, before) in kept.iter().zip(&before) {
        let now = entries(&sandbox).into_iter().find(|e| e.path == entry.path).unwrap();
        assert_eq!((now.known, &now.damage), (entry.examples, &None));
        // What the kill left sound stands where it stood: no row of it was written again.
        let bytes = fs::read(&entry.path).unwrap();
        let sound = (0..before.len()).take_while(|&i| bytes[i] == before[i]).count();
        assert!(sound > 12 * entry.known, "{sound} bytes of {} rows", entry.known);
    }
    assert_eq!(sandbox.audit(&["cache", "verify"]).code, 0);
}

#[cfg(unix)]
#[test]
fn what_was_done_before_ctrl_c_is_kept() {
    let sandbox = Sandbox::new();
    let (code, stderr, kept) = stopped_on_its_way(&sandbox, "INT");
    assert_eq!((code, kept.len()), (Some(130), 2), "{stderr}");
    says(&stderr, &["interrupted: ", &format!(" of {} examples", kept[0].examples)]);
    assert!(kept.iter().all(|e| e.damage.is_none() && !e.in_use), "{kept:?}");
    assert_eq!(sandbox.audit(&["cache", "verify"]).code, 0);
}

/// A sandbox with one model, and what `audit predict` adds to the cache: the number of entries
/// that a run with `flags` makes.
struct One {
    sandbox: Sandbox,
    seen: usize,
}

impl One {
    fn adds(&mut self, flags: &[&str]) -> usize {
        let predict = ["predict", "--output", "out.csv", "--quiet"];
        let run = self.sandbox.audit(&with(&predict, flags));
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{flags:?}");
        let before = std::mem::replace(&mut self.seen, entries(&self.sandbox).len());
        self.seen - before
    }
}

/// `--model model` over SST-2's validation split, and the same with another model or more flags.
const ONE: [&str; 7] = ["--task", "sst2", "--data", "glue", "--split", "validation", "--model"];

fn one(more: &[&'static str]) -> Vec<&'static str> {
    ONE.iter().chain(more).copied().collect()
}

#[test]
fn every_dependency_of_the_logits_changes_the_cache_entry() {
    let sandbox = Sandbox::new();
    glue::write(&sandbox, "glue");
    copy_folder(Path::new(&demo("student")), &sandbox.path("model"));
    for other in ["weights", "config", "tokenizer"] {
        copy_folder(Path::new(&demo("student")), &sandbox.path(other));
    }
    sandbox.edit_weights("weights", |tensors| {
        tensors.get_mut("classifier.bias").unwrap().2[0] ^= 1;
    });
    sandbox.edit_config("config", |config| config["layer_norm_eps"] = json!(1e-6));
    edit_json(&sandbox.path("tokenizer/tokenizer.json"), |json| {
        let last = json["model"]["vocab"].as_object().unwrap().len() - 1;
        json["model"]["vocab"]["unheard"] = json!(last + 1);
    });
    let mut it = One { sandbox, seen: 0 };
    assert_eq!(it.adds(&one(&["model"])), 1);
    assert_eq!(it.adds(&one(&["weights"])), 1);
    assert_eq!(it.adds(&one(&["config"])), 1);
    assert_eq!(it.adds(&one(&["tokenizer"])), 1);
    assert_eq!(it.adds(&one(&["model", "--max-length", "16"])), 1);
    assert_eq!(it.adds(&one(&["model", "--head", "pooled-relu"])), 1);
    assert_eq!(it.adds(&one(&["model", "--limit", "5"])), 1);
    let text = it.sandbox.read("glue/SST-2/dev.tsv");
    let mut lines: Vec<&str> = text.lines().collect();
    lines[1..].reverse();
    it.sandbox.write("glue/SST-2/dev.tsv", lines.join("\n"));
    assert_eq!(it.adds(&one(&["model"])), 1, "another order");
    it.sandbox.write("glue/SST-2/dev.tsv", text.replace("good", "bad"));
    assert_eq!(it.adds(&one(&["model"])), 1, "other texts");
    assert_eq!(it.adds(&one(&["model"])), 0);
}

#[test]
fn columns_in_other_places_are_other_texts() {
    let sandbox = Sandbox::new();
    copy_folder(Path::new(&demo("student")), &sandbox.path("model"));
    sandbox.write("pairs.csv", "a,b,empty\ngood film,bad plot,\na movie,the ending,\n");
    let mut config = String::new();
    for (name, text) in
        [("a", "\"a\""), ("ab", "[\"a\", \"b\"]"), ("ba", "[\"b\", \"a\"]"), ("again", "\"a\"")]
    {
        config += &format!("[task.{name}]\ntext = {text}\nsplits = {{ train = \"pairs.csv\" }}\n");
    }
    sandbox.write("audit.toml", config);
    let mut it = One { sandbox, seen: 0 };
    assert_eq!(it.adds(&["--task", "a", "--model", "model"]), 1);
    assert_eq!(it.adds(&["--task", "ab", "--model", "model"]), 1);
    assert_eq!(it.adds(&["--task", "ba", "--model", "model"]), 1);
    assert_eq!(it.adds(&["--task", "again", "--model", "model"]), 0, "the task's name is no text");
}

#[test]
fn other_settings_do_not_change_the_cache_entry() {
    let (sandbox, pair) = tiny_pair();
    sandbox.report(&pair);
    let kept = |sandbox: &Sandbox| -> BTreeMap<PathBuf, Vec<u8>> {
        let files = snapshot(&root(sandbox)).into_iter();
        files.filter(|(path, _)| path.extension().is_some_and(|e| e == "logits")).collect()
    };
    let before = kept(&sandbox);
    assert_eq!(before.len(), 4);
    for flags in [
        &["--kappa", "0.3"][..],
        &["--statistic", "centred", "--confidence", "teacher-class"],
        &["--seed", "9"],
        &["--threads", "1", "--token-budget", "64"],
        &["--label-map", "student:negative=positive,student:positive=negative"],
        &["--fail-fast"],
        &["--sequential"],
    ] {
        assert_ne!(sandbox.audit(&with(&pair, flags)).code, 3);
        assert!(kept(&sandbox) == before, "{flags:?}");
    }
    // The labels of the data, its folder and the models' folders.
    for split in ["train", "dev"] {
        let text = sandbox.read(&format!("glue/SST-2/{split}.tsv")).replace("\t0\n", "\t1\n");
        sandbox.write(&format!("moved/SST-2/{split}.tsv"), text);
    }
    for model in ["teacher", "student"] {
        fs::rename(sandbox.path(model), sandbox.path(&format!("moved/{model}"))).unwrap();
    }
    let moved = ["--data", "moved", "--teacher", "moved/teacher", "--student", "moved/student"];
    let row = sandbox.row(&with(&["--task", "sst2"], &moved));
    assert!(number(&row, "sigma") > 0.0);
    assert!(kept(&sandbox) == before);
}

#[test]
fn clear_removes_entries_older_than_the_given_age() {
    let (sandbox, pair) = tiny_pair();
    let before = reproducible(sandbox.report(&pair));
    let kept = snapshot(&root(&sandbox));
    let run = sandbox.audit(&["cache", "clear", "--older-than", "1"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    says(&run.stdout, &["removed 0 files"]);
    assert!(snapshot(&root(&sandbox)) == kept);

    let old = entry_of(&sandbox, "teacher", "validation").path;
    let two_days_ago = SystemTime::now() - Duration::from_secs(2 * 24 * 60 * 60);
    fs::File::options().write(true).open(&old).unwrap().set_modified(two_days_ago).unwrap();
    says(&sandbox.audit(&["cache", "clear", "--older-than", "1"]).stdout, &["removed 1 file,"]);
    assert!(!old.exists());
    assert_eq!(entries(&sandbox).len(), 3);

    let run = sandbox.audit(&["cache", "clear"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert_eq!(files(&root(&sandbox)), BTreeMap::new());
    says(&sandbox.audit(&["cache", "list"]).stdout, &["0 entries"]);
    assert_eq!(reproducible(sandbox.report(&pair)), before);
    assert!(snapshot(&root(&sandbox)) == kept);
}

#[test]
fn two_audits_at_the_same_time_report_the_same_and_leave_a_sound_cache() {
    let (sandbox, pair) = tiny_pair();
    write_many(&sandbox, "glue", 6000);
    let pair = with(&pair, &["--format", "json", "--threads", "2"]);
    let runs = std::thread::scope(|scope| {
        let audits = [0, 1].map(|_| scope.spawn(|| sandbox.audit(&pair)));
        audits.map(|audit| audit.join().unwrap())
    });
    let alone = sandbox.audit(&with(&pair, &["--no-cache"]));
    for run in &runs {
        assert_eq!(run.code, alone.code, "{}", run.stderr);
        assert_eq!(reproducible(run.json()), reproducible(alone.json()));
    }
    assert_eq!(sandbox.audit(&["cache", "verify"]).code, 0);
    let entries = entries(&sandbox);
    assert_eq!(entries.len(), 4);
    assert!(entries.iter().all(|e| e.known == e.examples && !e.in_use), "{entries:?}");
}

#[test]
fn a_cache_folder_that_cannot_be_created_is_a_note_and_the_audit_continues() {
    let (sandbox, pair) = tiny_pair();
    let pair = with(&pair, &["--format", "json"]);
    let file = sandbox.write("file", "kept");
    let mut command = sandbox.command();
    command.env("AUDIT_CACHE_DIR", file.join("below")).args(&pair);
    let run = Run::of(command);
    let usual = sandbox.audit(&pair);
    assert_eq!((run.code, reproducible(run.json())), (usual.code, reproducible(usual.json())));
    says(&run.stderr, &["note: cannot store `", "AUDIT_CACHE_DIR"]);
    assert_eq!(run.stderr.matches("cannot store").count(), 1, "{}", run.stderr);
    assert_eq!(sandbox.read("file"), "kept");
    assert!(!usual.stderr.contains("note: "), "{}", usual.stderr);
}

#[test]
fn the_cache_is_where_its_variable_says() {
    let (sandbox, pair) = tiny_pair();
    let with_variable = |arguments: &[String]| {
        let mut command = sandbox.command();
        command.env("AUDIT_CACHE_DIR", sandbox.path("elsewhere")).args(arguments);
        Run::of(command)
    };
    assert_eq!(with_variable(&pair).code, sandbox.audit(&with(&pair, &["--no-cache"])).code);
    assert_eq!(files(&root(&sandbox)), BTreeMap::new());
    let listed = with_variable(&with::<_, &str>(&["cache", "list"], &[]));
    says(&listed.stdout, &["4 entries", &sandbox.arg("elsewhere")]);
}

#[test]
fn predict_fills_the_entries_that_an_audit_reads_and_reads_those_that_it_filled() {
    let (sandbox, pair) = tiny_pair();
    let predict = |model: &str, flags: &[&str]| {
        let arguments = ["predict", "--task", "sst2", "--data", "glue", "--output", "out.csv"];
        let run = sandbox.audit(&with(&with(&arguments, &["--model", model]), flags));
        assert_eq!(run.code, 0, "{}", run.stderr);
        sandbox.read("out.csv")
    };
    let teacher = predict("teacher", &[]);
    let kept = snapshot(&root(&sandbox));
    assert_eq!(entry_of(&sandbox, "teacher", "train").known, glue::TRAIN);
    let row = sandbox.row(&pair);
    let after = snapshot(&root(&sandbox));
    assert!(kept.iter().all(|(path, bytes)| {
        path.extension().is_none_or(|e| e != "logits") || after[path] == *bytes
    }));
    assert_eq!(row["sigma"], sandbox.row(&with(&pair, &["--no-cache"]))["sigma"]);

    let student = predict("student", &["--no-cache"]);
    assert_eq!(predict("student", &[]), student);
    assert_eq!(entries(&sandbox).len(), 4);
    make_the_student_say_what_its_teacher_says(&sandbox, glue::TRAIN);
    assert_eq!(predict("student", &[]), teacher);
    assert_eq!(predict("student", &["--no-cache"]), student);
}

#[test]
fn the_demo_keeps_nothing() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.audit(&["demo"]).code, 0);
    assert_eq!(files(&root(&sandbox)), BTreeMap::new());
}

#[test]
fn a_config_may_refuse_the_cache() {
    let (sandbox, pair) = tiny_pair();
    sandbox.write("audit.toml", "[defaults]\ncache = false\n");
    assert_ne!(sandbox.audit(&pair).code, 3);
    assert_eq!(files(&root(&sandbox)), BTreeMap::new());
}
