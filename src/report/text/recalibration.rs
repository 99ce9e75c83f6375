//! `audit recalibrate` for a terminal: the verdict, τ, both splits before and after, what is left.

use super::super::display::{neutralise, pad, truncate_start};
use super::super::numbers::{
    against_kappa, counted, decimal, decimal_or_absent, sigma_and_kappa, signed, thousands, ABSENT,
};
use super::super::recalibration::{RecalibratedSplit, Recalibration, Spend};
use super::super::schema::Outcome;
use super::super::summary::verdict_word;
use super::super::RenderOptions;
use super::page::{verdict_style, Page, INDENT, LABEL};
use super::row::closing_notes;

/// The whole text.
pub(in super::super) fn recalibration(report: &Recalibration, options: &RenderOptions) -> String {
    let mut page = Page::new(options);
    let gate = &report.gate;
    let headline = [
        format!("{}/{}", report.task, gate.split),
        format!("τ {}", decimal(report.temperature)),
        comparison(report, gate, &gate.after),
        extent(gate),
    ];
    page.parts(verdict_style(report.verdict), verdict_word(report.verdict), &headline);
    for model in &report.manifest.models {
        let room = page.width.saturating_sub(INDENT + LABEL);
        let source = truncate_start(&neutralise(&model.source), room);
        page.line(&format!("{}{}{source}", " ".repeat(INDENT), pad(&model.role, LABEL)));
    }
    page.blank();
    for (name, split) in [("fit on", &report.fit), ("gates", gate)] {
        page.field(name, &format!("{}, {}: {}", split.split, extent(split), verdicts(split)));
        page.field("", &change(report, split));
    }
    let best = sigma(report, gate, &gate.best);
    page.field(
        "",
        &format!(
            "τ {} is the best for {} itself: σ {best}",
            decimal(gate.best_temperature),
            gate.split
        ),
    );
    page.field("bound", &format!("κ {} ({})", decimal(gate.kappa), report.bound_origin));
    if (report.statistic.as_str(), report.confidence.as_str()) != ("rms", "max") {
        page.field("reading", &format!("{}, {}", report.confidence, report.statistic));
    }
    page.field("accuracy", &accuracy(gate));
    page.blank();
    page.field("conclusion", &report.conclusion);
    closing_notes(&mut page, &report.notes);
    page.finish()
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

/// The σ that gates, with as many decimals as tell it from κ.
fn sigma(report: &Recalibration, split: &RecalibratedSplit, spend: &Spend) -> String {
    sigma_and_kappa(report.gating_sigma(spend), split.kappa).0
}

fn comparison(report: &Recalibration, split: &RecalibratedSplit, spend: &Spend) -> String {
    let within = spend.verdict == Outcome::Preserved;
    format!("σ {}", against_kappa(report.gating_sigma(spend), within, split.kappa))
}

/// `NOT PRESERVED → PRESERVED`.
fn verdicts(split: &RecalibratedSplit) -> String {
    let [before, after] = [split.before, split.after].map(|spend| verdict_word(spend.verdict));
    format!("{before} → {after}")
}

/// `σ 0.0802 → 0.0698, mean d −0.0301 → +0.0012`.
fn change(report: &Recalibration, split: &RecalibratedSplit) -> String {
    format!(
        "σ {} → {}, mean d {} → {}",
        sigma(report, split, &split.before),
        sigma(report, split, &split.after),
        signed(split.before.mean_difference),
        signed(split.after.mean_difference),
    )
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
