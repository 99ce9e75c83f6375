//! What the sections say around their plots and tables.

use maud::{html, Markup};

use super::super::display::neutralise;
use super::super::glossary::{explain, Paragraph};
use super::super::numbers::{chosen, counted, decimal, sigma_and_kappa, thousands, ABSENT};
use super::super::rows::{kind_of, model};
use super::super::schema::{Note, NoteLevel, Outcome, Report, TaskRow};
use super::super::summary::{comparison, disagreement, extent, verdict_word};
use crate::confidence::{ConfidenceKind, Statistic};

pub(super) const BUDGET: &str =
    "Each example spends d² of a common budget κ²·n. A straight line is a student that is off \
     everywhere, a step one that fails on part of the data. The dashed line is the whole budget; a \
     circle on it is where the budget was spent. (By another statistic than rms, an example spends the \
     square of its distance to the mean.)";
pub(super) const CONFIDENCES: &str =
    "Each cell counts examples by how sure the teacher is (to the right) and the student (upwards). \
     Above the dotted diagonal the student is surer than its teacher. A stronger colour is more, on a \
     logarithmic scale.";
pub(super) const DIFFERENCES: &str =
    "d is the teacher's confidence less the student's: to the right of zero the student is less sure. \
     By default σ is the root mean square of d.";
pub(super) const RELIABILITY: &str =
    "How often each model is right at which confidence. On the dotted diagonal it is as often right as \
     it says; below it, it is overconfident. Circles: teacher; squares: student; larger for more \
     examples.";
pub(super) const GROUPS: &str =
    "σ over parts of the split, with the number of examples n. The dashed line is κ; bars beyond it are \
     in the student's colour, those of fewer than ten examples faint. A part may depart far and σ of the \
     whole be small.";
pub(super) const NOTHING: &str = "The report holds no figures for this.";

/// What σ ≤ κ says, where κ comes from, and what a verdict that ended early rests on.
pub(super) fn bound(row: &TaskRow) -> Vec<String> {
    let Some(kappa) = row.kappa else { return error(row) };
    let whose = match (row.statistic, row.confidence) {
        (Statistic::Published, _) => "the student's probability of the first label",
        (_, ConfidenceKind::TeacherClass) => "the student's probability of its teacher's answer",
        (_, ConfidenceKind::Max) => "the student's confidence",
    };
    let all = counted(row.n, "example", "examples");
    let measured = match row.statistic {
        Statistic::Rms => format!("root mean square over {all}"),
        Statistic::Centred => format!("root mean square, about its mean over {all}"),
        Statistic::Published => {
            let right =
                row.published().and_then(|it| it.examples).map_or_else(String::new, thousands);
            format!("standard deviation over the {right} of {all} that both models get right")
        }
    };
    let mut said = vec![format!(
        "The bound allows {whose} to differ from the teacher's by κ = {}, as a {measured}. {}.",
        chosen(kappa),
        capital(&row.bound_in_words())
    )];
    if let Some(interval) = &row.sigma_interval {
        let level = chosen(interval.level * 100.0);
        let seen = match row.split.as_str() {
            "train" => " It is about inputs like these, which the student was trained on.",
            _ => "",
        };
        let (low, high) = (decimal(interval.low), decimal(interval.high));
        said.push(format!("{level} % bootstrap interval of σ: {low} to {high}.{seen}"));
    }
    said.extend(ended_early(row));
    said
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        // κ and β stay as the symbols that they are.
        Some(first) if first.is_ascii() => first.to_uppercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

fn error(row: &TaskRow) -> Vec<String> {
    let hint = row.error.as_ref().and_then(|error| error.hint.as_ref());
    hint.map(|hint| format!("Hint: {hint}")).into_iter().collect()
}

fn ended_early(row: &TaskRow) -> Option<String> {
    if !row.ended_early() {
        return None;
    }
    let prefix = row.sigma_prefix.map_or_else(|| ABSENT.to_owned(), decimal);
    let taken = counted(row.examples_run, "example", "examples");
    let part =
        format!("The figures below are over the {taken} that were run, where σ is {prefix}.");
    Some(match &row.sequential {
        Some(draws) if row.is_statistical() => format!(
            "Statistical: wrong with probability {} at most. Examples were drawn at random by seed {}; σ of \
             all {} lies between {} and {} at {} %. {part}",
            chosen(draws.delta),
            draws.seed,
            counted(row.n, "example", "examples"),
            decimal(draws.sigma_interval.low),
            decimal(draws.sigma_interval.high),
            chosen(draws.sigma_interval.level * 100.0)
        ),
        _ => format!("The run ended when no further example could change the verdict. {part}"),
    })
}

/// A split that does not gate: its verdict, and what to think where it gives the other one.
pub(super) fn beside(gating: &[&TaskRow], row: &TaskRow) -> Markup {
    let numbers = comparison(row).map(|it| format!(", {it}")).unwrap_or_default();
    let reason = row.error.as_ref().map(|error| format!(": {}", error.message));
    let limit = row.sigma_unseen.map(|limit| {
        let about = row.about_zero();
        let (sigma, level) = (decimal(limit.sigma), chosen(limit.level * 100.0));
        format!(
            " On unseen inputs of the same kind σ{about} is at most {sigma} ({level} % limit), if the \
             student was neither trained on this split nor chosen by it."
        )
    });
    let text = format!(
        "{}{}{}.{}",
        numbers,
        reason.unwrap_or_default(),
        if row.n > 0 { format!(" over {}", extent(row)) } else { String::new() },
        limit.unwrap_or_default()
    );
    html! {
        p.beside {
            "Beside the gate, " strong { (neutralise(&row.split)) } ": "
            span.word.(super::class(row.verdict)) { (verdict_word(row.verdict).to_lowercase()) }
            (neutralise(&text))
        }
        @for sentence in gating.iter().filter_map(|gate| disagreement(gate, row)) {
            p { (neutralise(&sentence)) }
        }
    }
}

/// The notes of every split, warnings first, and rows of the data that could not be used.
pub(super) fn notes(rows: &[&TaskRow]) -> Markup {
    if rows.iter().all(|row| row.notes.is_empty() && row.skipped.count == 0) {
        return html! {};
    }
    html! {
        ul.notes {
            @for row in rows {
                @for note in row.notes_by_weight() {
                    (remark(note, (!row.gates).then_some(&row.split)))
                }
            }
            @for row in rows.iter().filter(|row| row.skipped.count > 0) {
                @let count = counted(row.skipped.count, "row", "rows");
                @let text = format!("{count} of the data could not be used: {}", row.skipped.first.join("; "));
                li.warning { span.level { "Skipped" } " " (neutralise(&format!("{}: {text}", row.split))) }
            }
        }
    }
}

/// A note as an item of a list; `split` is named where the note is of one that does not gate.
pub(super) fn remark(note: &Note, split: Option<&String>) -> Markup {
    html! {
        li.warning[note.level == NoteLevel::Warning] {
            span.level { (level(note.level)) } " "
            @if let Some(split) = split { "on " (neutralise(split)) ": " }
            (neutralise(&note.message)) " " code { "[" (neutralise(&note.code)) "]" }
            @if let Some(hint) = &note.hint { div.small { "Hint: " (neutralise(hint)) } }
            (meaning(&note.code))
        }
    }
}

fn level(level: NoteLevel) -> &'static str {
    match level {
        NoteLevel::Warning => "Warning:",
        NoteLevel::Note => "Note:",
    }
}

/// What a code means: the glossary's text, folded away.
fn meaning(code: &str) -> Markup {
    let Some(entry) = explain(code) else { return html! {} };
    html! {
        details {
            summary { "What it means" }
            @for paragraph in &entry.body {
                @match paragraph {
                    Paragraph::Text(text) => p.small { (text) },
                    Paragraph::Named(name, text) => p.small { b { (name) ": " } (text) },
                    Paragraph::Formula(lines) => p.small { code { (lines) } },
                }
            }
        }
    }
}

/// Who was compared.
pub(super) fn models(report: &Report, task: &str) -> Markup {
    html! {
        p.small {
            @for role in ["teacher", "student"] {
                @if let Some(model) = model(report, task, role) {
                    span.key {
                        svg viewBox="0 0 10 10" aria-hidden="true" {
                            @if role == "teacher" { circle.teacher cx="5" cy="5" r="4.5" {} }
                            @else { rect.student x="0.5" y="0.5" width="9" height="9" {} }
                        }
                        (role)
                    }
                    code { (neutralise(&model.source)) }
                    span.quiet { " " (neutralise(&kind_of(model).join(", "))) }
                    br;
                }
            }
        }
    }
}

/// What one temperature would make of σ, where one was fitted.
pub(super) fn recalibrated(rows: &[&TaskRow], i: usize) -> Markup {
    let fitted: Vec<_> =
        rows.iter().filter_map(|row| Some((row, row.recalibrated.as_ref()?))).collect();
    html! {
        section id={ "recalibrated-" (i) } {
            h3 { "Recalibrated" }
            p.small.quiet {
                "The student's logits divided by one temperature τ, fitted on another split of this run: it \
                 changes no prediction, and mends a shift of scale, not disorder."
            }
            @if fitted.is_empty() { p { "No temperature was fitted: it takes two splits that were run whole." } }
            @for (row, of) in fitted {
                @let (sigma, kappa) = row.kappa.map_or_else(
                    || (decimal(of.sigma), ABSENT.to_owned()), |kappa| sigma_and_kappa(of.sigma, kappa));
                p {
                    strong { (neutralise(&row.split)) }
                    ": with τ = " (decimal(of.temperature)) ", fitted on " (neutralise(&of.fitted_on))
                    ", σ would be " strong { (sigma) }
                    @if let Some(before) = row.gating_sigma() { " in place of " (decimal(before)) }
                    ", " (if of.within_bound { "within" } else { "above" }) " κ " (kappa) "."
                    @if of.at_edge { " τ is an end of the range that is tried, which is a reason for doubt." }
                    @if row.verdict == Outcome::NotPreserved && of.within_bound {
                        " " code { "audit recalibrate" } " writes that student and audits it."
                    }
                }
            }
        }
    }
}
