//! Trials that the user names, and those of another search.

use super::*;

#[test]
fn what_the_user_names_is_tried_first() {
    let sandbox = Sandbox::new();
    let start = "start = [{ keep = \"last\", stage.prediction.max_epochs = 2 }, {}]\n";
    let text = format!("{start}{}", brief().replace("trials = 2", "trials = 3"));
    let none = tuned(&sandbox, &text, "out", &["--trials", "1"]);
    assert!(none.code < 2, "{}", none.stderr);
    says(&none.stderr, &["1 beside the defaults, and `trials` is 1", "--trials 2 or more"]);
    let run = tuned(&sandbox, &text, "out", &[]);
    assert!(run.code < 2 && !run.stderr.contains("beside the defaults"), "{}", run.stderr);
    let report = report(&sandbox, "out");
    let values = |i: usize| &report["trials"][i]["values"];
    assert_eq!(
        (&values(1)["keep"], &values(1)["stage.prediction.max_epochs"]),
        (&"last".into(), &2.into())
    );
    assert_eq!(values(1)["stage.prediction.learning_rate"], 1e-4, "the default");
    assert_ne!(values(2), values(0), "an entry that is the default is not tried again");
    let wrong = text.replace("max_epochs = 2 }, {}", "max_epochs = 2 }, { kep = 1 }");
    tuned(&sandbox, &wrong, "wrong", &[]).fails(2, &["`start`, entry 2: `kep` is not a key"]);
    tuned(&sandbox, &brief(), "out", &["--trials", "3"])
        .fails(2, &["another tune: its start was different"]);
}

#[test]
fn another_search_informs_the_proposals_and_its_trials_are_no_candidates() {
    let sandbox = Sandbox::new();
    let bound = TUNE.replace("further_seeds = 1", "further_seeds = 0");
    assert_eq!(tuned(&sandbox, &bound, "old", &["--kappa", "0.4"]).code, 0);
    let warm = format!("warm_start = \"old\"\n{bound}");
    // A space without long trainings, and another bound.
    let warm = warm.replace("high = 12", "high = 5").replace("trials = 6", "trials = 3");
    let run = tuned(&sandbox, &warm, "new", &[]);
    assert!(run.code < 2, "{}", run.stderr);
    let (old, new) = (report(&sandbox, "old"), report(&sandbox, "new"));
    let epochs = |trial: &Value| trial["values"]["stage.prediction.max_epochs"].as_i64().unwrap();
    let fits = old["trials"].as_array().unwrap().iter().filter(|trial| epochs(trial) <= 5).count();
    assert_eq!(new["warm_start"]["trials"], fits);
    let skipped = new["warm_start"]["skipped"].as_array().unwrap();
    assert_eq!(skipped.len(), 6 - fits);
    for why in skipped {
        says(why.as_str().unwrap(), &["`stage.prediction.max_epochs` = ", "from 1 to 5"]);
    }
    assert_eq!(new["trials"].as_array().unwrap().len(), 3);
    says(&run.stdout, &["of another search informed the proposals"]);

    // The journal has what it took; the other search may be gone.
    let before = sandbox.read("new/journal.jsonl");
    fs::remove_dir_all(sandbox.path("old")).unwrap();
    assert_eq!(tuned(&sandbox, &warm, "new", &[]).code, run.code);
    assert_eq!(sandbox.read("new/journal.jsonl"), before);
}

#[test]
fn a_search_that_cannot_be_compared_is_refused() {
    let sandbox = Sandbox::new();
    assert!(tuned(&sandbox, &brief(), "old", &[]).code < 2);
    let warm = format!("warm_start = \"old\"\n{}", brief());
    let refused = |text: &str, more: &[&str], why: &[&str]| {
        tuned(&sandbox, text, "new", more).fails(2, &[&["`warm_start`"], why].concat());
        assert!(!sandbox.path("new").exists(), "{why:?}");
    };
    refused(&warm, &["--seed", "1"], &["another `seed`: 0 there, 1 here"]);
    refused(&warm, &["--limit", "100"], &["another teacher, task or data"]);
    let centred = warm.replace("kappa = 0.05", "kappa = 0.05\nstatistic = \"centred\"");
    refused(&centred, &[], &["another `statistic`"]);
    let other = warm.replace("learning_rate = 2e-4", "learning_rate = 3e-4");
    refused(&other, &[], &["no trial of `old/journal.jsonl`", "learning_rate", "0.0002 there"]);
    refused(&warm.replace("\"old\"", "\"none\""), &[], &["none"]);
    let begun = sandbox.read("old/journal.jsonl").lines().next().unwrap().to_owned() + "\n";
    sandbox.write("begun.jsonl", begun);
    let none = warm.replace("\"old\"", "\"begun.jsonl\"");
    refused(&none, &[], &["no trial of `begun.jsonl` is over"]);
    let own = tuned(&sandbox, &warm.replace("\"old\"", "\"old.toml\""), "new", &[]);
    own.fails(2, &["`old.toml` is not a journal: line 2: "]);
}
