//! `audit explain`.

mod common;

use std::io::Read;
use std::process::Stdio;

use common::{says, Run, Sandbox};

fn explain(words: &[&str]) -> Run {
    Sandbox::new().audit(&[&["explain"], words].concat())
}

#[test]
fn a_code_is_explained_with_its_criterion_and_what_to_do() {
    let run = explain(&["vacuous"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert!(run.stdout.starts_with("vacuous\n\n  A warning: no student could fail this check."));
    says(
        &run.stdout,
        &["    κ ≥ R, R = 1 − 1/K", "  What to do: set the bound", "  Source: docs/theory.md"],
    );
    assert!(!run.stdout.contains("](") && !run.stdout.contains('\u{1b}'));
}

#[test]
fn several_words_are_explained_in_their_order_and_each_once() {
    let run = explain(&["SIGMA", "mean-for-sum", "σ", "ece"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let place = |word: &str| run.stdout.find(word).unwrap_or_else(|| panic!("no {word}"));
    assert!(run.stdout.starts_with("σ\n  also: sigma, rms\n"));
    assert!(place("\nmean-for-sum\n") < place("\nECE\n"));
    assert_eq!(run.stdout.matches("also: sigma, rms").count(), 1);
}

#[test]
fn words_that_are_one_name_are_one_word() {
    let both = [explain(&["negative", "flips"]), explain(&["Negative_Flips"])];
    assert!(both[0].stdout.starts_with("negative flips\n"));
    assert_eq!(both[0].stdout, both[1].stdout);
}

#[test]
fn without_a_word_all_are_listed_by_group() {
    let run = explain(&[]);
    assert_eq!(run.code, 0);
    let groups =
        ["Verdicts\n", "\nConfidence and σ\n", "\nBound and budget\n", "\nNotes and warnings\n"];
    says(&run.stdout, &groups);
    says(&run.stdout, &["  vacuous ", "A warning: no student could fail this check.", "  κ "]);
    assert!(run.stdout.ends_with("`audit explain WORD` says more of each.\n"));
}

#[test]
fn an_unknown_word_is_a_usage_error_with_the_nearest_words() {
    let run = explain(&["vacuous", "vacuuous"]);
    run.fails(2, &["the glossary has no entry `vacuuous`", "did you mean `vacuous`? "])
        .prints_no_report();
    let run = explain(&["perplexity"]);
    run.fails(2, &["the glossary has no entry `perplexity`", "hint: `audit explain` lists"]);
    let run = explain(&["--", "-x"]);
    run.fails(2, &["the glossary has no entry `-x`\n", "hint: `audit explain` lists"]);
    for words in [&[""][..], &[" "], &["σ", ""]] {
        let run = explain(words);
        run.fails(2, &["a word is empty", "hint: `audit explain` lists"]).prints_no_report();
    }
}

#[test]
fn the_text_keeps_to_the_terminal_s_width() {
    for width in [60, 100] {
        let sandbox = Sandbox::new();
        for words in [&["explain", "sigma_unseen"][..], &["explain"]] {
            let mut command = sandbox.command();
            command.args(words).env("COLUMNS", width.to_string());
            let run = Run::of(command);
            let widest = run.stdout.lines().map(|line| line.chars().count()).max().unwrap();
            assert!((width - 20..=width).contains(&widest), "{widest} of {width}");
        }
    }
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_audit"))
        .arg("explain")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
}
