//! A recalibration for people: the verdict, τ, both splits before and after, what is left to do.

use super::super::document::{Block, Document};
use super::super::numbers::{
    against_kappa, counted, decimal, decimal_or_absent, sigma_and_kappa, signed, thousands, ABSENT,
};
use super::super::rows::gating_reading;
use super::super::schema::Outcome;
use super::super::summary::verdict_word;
use super::{BudgetSpend, RecalibratedSplit, Recalibration};
use crate::confidence::Statistic;

/// The whole report.
pub(in super::super) fn document(report: &Recalibration) -> Document {
    let gate = &report.gate;
    let headline = vec![
        format!("{}/{}", report.task, gate.split),
        format!("τ {}", decimal(report.temperature)),
        comparison(report, gate, &gate.after),
        extent(gate),
    ];
    let mut document = Document::new(report.verdict, verdict_word(report.verdict), headline);
    for model in &report.manifest.models {
        let (name, path) = (model.role.clone(), model.source.clone());
        document.push(Block::Path { name, path, about: String::new() });
    }
    document.push(Block::Gap);
    let split = |split: &RecalibratedSplit| {
        let verdicts = format!("{}, {}: {}", split.split, extent(split), verdicts(split));
        vec![verdicts, change(report, split)]
    };
    let mut of_gate = split(gate);
    of_gate.push(format!(
        "τ {} is the best for {} itself: σ {}",
        decimal(gate.best_temperature),
        gate.split,
        sigma(report, gate, &gate.best)
    ));
    document.push(Block::Field { name: "fit on", lines: split(&report.fit) });
    document.push(Block::Field { name: "gates", lines: of_gate });
    document.field("bound", format!("κ {} ({})", decimal(gate.kappa), report.bound_origin));
    if (report.statistic.as_str(), report.confidence.as_str()) != ("rms", "max") {
        document.field("reading", gating_reading(&report.confidence, &report.statistic));
    }
    document.field("accuracy", accuracy(gate));
    let cached = [&report.fit, gate].into_iter().filter_map(|split| {
        Some(format!("{}: {}", split.split, split.rows_from_cache?.in_words(split.n)))
    });
    document.push(Block::Field { name: "from cache", lines: cached.collect() });
    document.push(Block::Gap);
    document.field("conclusion", report.conclusion.clone());
    document.notes(&report.notes);
    document
}

fn extent(split: &RecalibratedSplit) -> String {
    let examples = counted(split.n, "example", "examples");
    match split.partial {
        true => {
            format!("{examples} (partial: {} of {})", thousands(split.n), thousands(split.of))
        }
        false => examples,
    }
}

/// The gating σ, with enough decimals to differ from κ.
fn sigma(report: &Recalibration, split: &RecalibratedSplit, spend: &BudgetSpend) -> String {
    sigma_and_kappa(report.gating_sigma(spend), split.kappa).0
}

fn comparison(report: &Recalibration, split: &RecalibratedSplit, spend: &BudgetSpend) -> String {
    let within = spend.verdict == Outcome::Preserved;
    format!("σ {}", against_kappa(report.gating_sigma(spend), within, split.kappa))
}

/// `NOT PRESERVED → PRESERVED`.
fn verdicts(split: &RecalibratedSplit) -> String {
    let [before, after] = [split.before, split.after].map(|spend| verdict_word(spend.verdict));
    format!("{before} → {after}")
}

/// `σ 0.0802 → 0.0698, mean d −0.0301 → +0.0012`; without the means for the published statistic, whose
/// differences change their sign with the label.
fn change(report: &Recalibration, split: &RecalibratedSplit) -> String {
    let [before, after] = [&split.before, &split.after].map(|spend| sigma(report, split, spend));
    let sigmas = format!("σ {before} → {after}");
    if report.statistic == Statistic::Published.as_str() {
        return sigmas;
    }
    let [before, after] = [split.before, split.after].map(|spend| signed(spend.mean_difference));
    format!("{sigmas}, mean d {before} → {after}")
}

fn accuracy(split: &RecalibratedSplit) -> String {
    let moved = match split.predictions_moved {
        0 => "no prediction moved".to_owned(),
        moved => counted(moved, "prediction moved", "predictions moved"),
    };
    match split.student_correct {
        Some(correct) => format!(
            "{} of {} right before and after ({}); {moved}",
            thousands(correct),
            thousands(split.labelled),
            decimal_or_absent(split.student_accuracy),
        ),
        None => format!("{ABSENT}; {moved}"),
    }
}
