use std::collections::BTreeSet;
use std::path::Path;

use super::super::{json_schema, Report};
use super::*;
use crate::check::{Code, NoteLevel};

/// The group of what has a [`Code`].
const CODED: &str = "Notes and warnings";

#[test]
fn every_code_is_explained_and_every_warning_that_is_explained_has_a_code() {
    for code in Code::ALL {
        let entry = explain(code.as_str()).unwrap_or_else(|| panic!("nothing on `{code}`"));
        assert_eq!((entry.name.as_str(), entry.group.as_str()), (code.as_str(), CODED));
        let level = match code.level() {
            NoteLevel::Note => "A note",
            NoteLevel::Warning => "A warning",
        };
        assert!(entry.summary.starts_with(level), "{code}: {}", entry.summary);
        let named = |name: &str| {
            entry.body.iter().any(|p| matches!(p, Paragraph::Named(given, _) if given == name))
        };
        assert!(named("What to do"), "{code} does not say what to do");
    }
    let coded: Vec<&str> = glossary()
        .iter()
        .filter(|entry| entry.group == CODED)
        .map(|entry| entry.name.as_str())
        .collect();
    assert_eq!(coded, Code::ALL.map(Code::as_str));
}

#[test]
fn every_word_has_a_sentence_and_a_source_and_no_two_words_share_a_name() {
    let mut seen = BTreeSet::new();
    assert!(glossary().len() > 55, "{}", glossary().len());
    for entry in glossary() {
        assert!(entry.summary.ends_with('.'), "{}: {}", entry.name, entry.summary);
        let last = entry.body.last().unwrap();
        assert!(matches!(last, Paragraph::Named(name, _) if name == "Source"), "{}", entry.name);
        let spelt: BTreeSet<String> = entry.names().map(str::to_lowercase).collect();
        let spelt: BTreeSet<String> =
            spelt.iter().map(|name| name.replace(['_', '-'], " ")).collect();
        assert_eq!(spelt.len(), 1 + entry.aliases.len(), "{} repeats a name", entry.name);
        // A symbol and its name are two spellings of one.
        let names: BTreeSet<String> = entry.names().map(key).collect();
        for name in names {
            assert!(seen.insert(name.clone()), "`{name}` of {} has two meanings", entry.name);
        }
    }
}

#[test]
fn spellings_of_a_word_are_alike() {
    let name = |word: &str| explain(word).map(|entry| entry.name.as_str());
    for (words, expected) in [
        (["σ", "Σ", "Sigma", "SIGMA"], "σ"),
        (["negative flips", "Negative_Flips", "negative-flips", "negativeflips"], "negative flips"),
        (["σ_unseen", "sigma-unseen", "SIGMA UNSEEN", "unseen"], "sigma_unseen"),
        (["[vacuous]", "`vacuous`", "Vacuous", "VACUOUS"], "vacuous"),
        (
            ["--beta-per-example", "beta_per_example", "β per example", "BetaPerExample"],
            "beta_per_example",
        ),
        (["teacher.accuracy", "accuracy", "acc. T", "student.correct"], "accuracy"),
        (["not_preserved", "NOT PRESERVED", "not preserved", "Not-Preserved"], "not preserved"),
    ] {
        for word in words {
            assert_eq!(name(word), Some(expected), "{word}");
        }
    }
    for word in ["", " ", ".", "--", "perplexity", "a.b"] {
        assert_eq!(name(word), None, "{word:?}");
    }
}

#[test]
fn a_misspelling_brings_the_nearest_words() {
    assert_eq!(nearest("vacuos"), ["vacuous"]);
    assert_eq!(nearest("kapa")[0], "κ");
    assert_eq!(nearest("BRIER SCOR")[0], "Brier");
    assert!(nearest("flips").contains(&"negative flips"));
    assert!(nearest("sigma").len() == NEAREST);
    assert!(nearest("perplexity").is_empty() && nearest("").is_empty());
}

#[test]
fn one_letter_is_no_misspelling_of_another() {
    assert!(nearest("x").is_empty() && nearest("-x").is_empty(), "{:?}", nearest("x"));
    assert_eq!(nearest("j"), ["joined-by-row", "joined-by-column"]);
}

/// The words that text reports print in front of a line, as `page.field("…", …)` writes them.
fn labels_of_the_text_report() -> BTreeSet<&'static str> {
    let sources = [include_str!("../text/row.rs"), include_str!("../recalibration/document.rs")];
    let calls = sources.iter().flat_map(|source| {
        [".field(", ".field_with(", "name: "].into_iter().flat_map(|it| source.split(it).skip(1))
    });
    let first = |call: &'static str| call.trim_start().strip_prefix('"')?.split('"').next();
    let others = ["teacher", "student", "F1", "Matthews correlation"];
    calls.filter_map(first).filter(|label| !label.is_empty()).chain(others).collect()
}

#[test]
fn every_label_of_a_text_report_is_explained() {
    let labels = labels_of_the_text_report();
    assert!(labels.len() > 20 && labels.contains("rescaled") && labels.contains("own record"));
    let without: Vec<_> = labels.into_iter().filter(|label| explain(label).is_none()).collect();
    assert!(without.is_empty(), "the glossary says nothing of {without:?}");
    // Words of report.html, of formulas and of predictions.csv.
    for (word, entry) in [
        ("log loss", "NLL"),
        ("rescaled", "recalibrated"),
        ("fitted_on", "recalibrated"),
        ("at_edge", "recalibrated"),
        ("teacher_confidence", "confidence"),
        ("interval", "bootstrap interval"),
        ("other σ", "variants"),
        ("R", "R"),
        ("K", "K"),
    ] {
        assert_eq!(explain(word).map(|it| it.name.as_str()), Some(entry), "{word}");
    }
}

/// Fields of a report that are not figures: what was audited, where it came from, how to read it.
const PLAIN: &str = "task n of statistic notes data_sha256 data_files data_revision device seed \
    seconds predicted probabilities index text pair label code level message hint low high counts \
    count first by name examples max mean median p90 p99 commands";

#[test]
fn every_figure_of_a_report_is_explained() {
    let schema = json_schema::<Report>();
    let types = schema["$defs"].as_object().unwrap();
    let fields: BTreeSet<&String> = types
        .iter()
        .filter(|(name, _)| !["Manifest", "ModelManifest", "TaskCommand"].contains(&name.as_str()))
        .filter_map(|(_, definition)| definition["properties"].as_object())
        .flat_map(|properties| properties.keys())
        .collect();
    assert!(fields.len() > 90, "{fields:?}");
    let without: Vec<_> = fields
        .into_iter()
        .filter(|field| !PLAIN.split(' ').any(|plain| plain == *field) && explain(field).is_none())
        .collect();
    assert!(without.is_empty(), "the glossary says nothing of {without:?}");
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    heading.to_lowercase().chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_source_in_the_repository_is_a_heading_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut followed = 0;
    for link in TEXT.split("](").skip(1) {
        let target = link.split(')').next().unwrap();
        let (file, place) = target.split_once('#').unwrap_or((target, ""));
        let text = std::fs::read_to_string(root.join("docs").join(file)).unwrap();
        let headings = text.lines().filter(|line| line.starts_with('#'));
        let mut anchors = headings.map(|line| anchor(line.trim_start_matches('#').trim()));
        assert!(place.is_empty() || anchors.any(|anchor| anchor == place), "no {target}");
        followed += 1;
    }
    assert!(followed > 50, "{followed}");
}

#[test]
fn links_become_the_places_that_they_lead_to() {
    assert_eq!(
        without_links("see [theory.md](theory.md#limits), [here](../README.md#flags) and [α, β]."),
        "see docs/theory.md#limits, here (README.md#flags) and [α, β]."
    );
}

#[test]
fn in_80_columns_every_word_has_one_line() {
    let text = overview_text(&RenderOptions::default());
    for line in text.lines().filter(|line| line.starts_with("  ")) {
        assert!(!line.starts_with("    "), "a second line: {line}");
    }
}

#[test]
fn the_text_fits_the_terminal_and_loses_no_word() {
    let all: Vec<&Entry> = glossary().iter().collect();
    for width in [60, 80, 200] {
        let options = RenderOptions { color: false, width };
        let text = entries_text(&all, &options) + &overview_text(&options);
        for line in text.lines() {
            assert!(super::super::display::columns(line) <= width, "{width}: {line}");
        }
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let shown = flat(&text);
        for entry in glossary() {
            assert!(shown.contains(&flat(&entry.summary)), "{}", entry.name);
        }
    }
}
