//! One gating row: verdict, numbers, secondary splits, notes, worst inputs.

use std::collections::BTreeSet;

use super::super::display::{columns, pad};
use super::super::figures::{self, Figure};
use super::super::glossary::explain;
use super::super::numbers::{
    chosen, counted, decimal, decimal_or_absent, percent, sigma_and_kappa, signed, significant,
    spent_and_budget, thousands, ABSENT,
};
use super::super::rows::{kind_of, model};
use super::super::schema::{
    Interval, ModelManifest, Note, NoteLevel, Outcome, Report, Spread, TaskRow, Variant,
    VariantConfidence,
};
use super::super::summary::{
    comparison, disagreement, extent, left_out, recalibrated, unseen, verdict_word,
};
use super::page::{verdict_style, Page, DIM, INDENT, LABEL, YELLOW};
use super::worst;
use crate::confidence::Statistic;

/// One gating row with its secondary splits.
pub(super) fn section(page: &mut Page, report: &Report, row: &TaskRow, beside: &[&TaskRow]) {
    page.parts(verdict_style(row.verdict), verdict_word(row.verdict), &headline(row));
    models(page, report, row);
    if row.error.is_some() {
        error(page, row);
    }
    if row.error.is_none() {
        page.blank();
        statistic(page, row);
        bound(page, row);
        if let (Outcome::NotPreserved, Some(remedy)) = (row.verdict, recalibrated(row)) {
            page.field("rescaled", &remedy);
        }
        models_figures(page, row);
        spread(page, row);
        variants(page, row);
    }
    counts(page, report, row);
    if let Some(rows) = row.cached_in_words() {
        page.field("from cache", &rows);
    }
    if !beside.is_empty() {
        page.blank();
    }
    for other in beside {
        beside_row(page, row, other);
    }
    notes(page, report, row, beside);
    worst::table(page, row);
}

fn headline(row: &TaskRow) -> Vec<String> {
    let mut parts = vec![row.name()];
    parts.extend(comparison(row));
    if row.partial && !row.ended_early() {
        parts.push(format!("(partial: {} of {})", thousands(row.n), thousands(row.of)));
    } else if row.n > 0 {
        parts.push(extent(row));
    }
    parts.extend(row.unusual_reading().map(|reading| format!("({reading})")));
    if !row.gates {
        parts.push("(does not gate)".to_owned());
    }
    parts
}

fn models(page: &mut Page, report: &Report, row: &TaskRow) {
    for role in ["teacher", "student"] {
        if let Some(model) = model(report, &row.task, role) {
            page.path(role, &model.source, &about(model));
        }
    }
}

/// ` (bert, 66,955,010 weights)`.
fn about(model: &ModelManifest) -> String {
    let known = kind_of(model);
    match known.is_empty() {
        true => String::new(),
        false => format!(" ({})", known.join(", ")),
    }
}

fn error(page: &mut Page, row: &TaskRow) {
    let Some(error) = &row.error else { return };
    page.remark(INDENT, verdict_style(Outcome::Error), "error", &error.message);
    if let Some(hint) = &error.hint {
        page.remark(INDENT + 2, DIM, "hint", hint);
    }
}

/// σ against κ as a bar, its interval, the budget.
fn statistic(page: &mut Page, row: &TaskRow) {
    match (row.gating_sigma(), row.kappa) {
        (Some(sigma), Some(kappa)) => bar(page, row, sigma, kappa),
        (Some(sigma), None) => page.field("σ", &decimal(sigma)),
        (None, _) => ended_early(page, row),
    }
    if let Some(interval) = &row.sigma_interval {
        let level = chosen(interval.level * 100.0);
        let (low, high) = (decimal(interval.low), decimal(interval.high));
        page.field("interval", &format!("{low} to {high} ({level} % bootstrap)"));
    }
    if let Some(limit) = unseen(row) {
        page.field("unseen", &limit);
    }
    if let (Some(spent), Some(budget)) = (row.spent, row.budget) {
        let share = row.spent_share.map_or_else(|| ABSENT.to_owned(), percent);
        let (spent, budget) = spent_and_budget(spent, budget);
        let sum = row.spent_in_words();
        page.field("budget", &format!("{share} spent: {sum} = {spent} of {budget}"));
    }
}

/// What is known of σ where the run ended before the last example.
fn ended_early(page: &mut Page, row: &TaskRow) {
    if let Some(prefix) = row.sigma_prefix {
        let taken = counted(row.examples_run, "example", "examples");
        page.field("σ so far", &format!("{} over the {taken} that were run", decimal(prefix)));
    }
    if let Some(draws) = &row.sequential {
        let Interval { low, high, level } = draws.sigma_interval;
        let (low, high, level) = (decimal(low), decimal(high), chosen(level * 100.0));
        let seed = draws.seed;
        page.field("σ", &format!("{low} to {high} at {level} % (draws by seed {seed})"));
        if row.is_statistical() {
            let delta = chosen(draws.delta);
            let text = format!("statistical: wrong with probability {delta} at most");
            page.field("verdict", &text);
        }
    } else if let Some(at_least) = row.sigma_at_least {
        let at = row
            .exhausted_at
            .map(|at| format!(": the budget was spent at example {}", thousands(at)));
        let at = at.unwrap_or_default();
        page.field("σ", &format!("at least {}, whatever the rest{at}", decimal(at_least)));
    }
}

/// Preserved: the bar's length is κ and σ fills part of it. Not preserved: its length is σ, and
/// the line within stands at κ.
fn bar(page: &mut Page, row: &TaskRow, sigma: f64, kappa: f64) {
    let (sigma_text, kappa_text) = sigma_and_kappa(sigma, kappa);
    let over = row.verdict == Outcome::NotPreserved;
    let label = pad(&format!("σ {sigma_text}"), LABEL);
    let end = if over { format!("  │ κ {kappa_text}") } else { format!(" κ {kappa_text}") };
    let room = page.prose_width() - INDENT - columns(&label) - columns(&end);
    let cells = room.saturating_sub(1).max(2);
    let share = |value: f64, of: f64| if of > 0.0 { (value / of).clamp(0.0, 1.0) } else { 0.0 };
    let (before, blank, after) = if over {
        let before = (share(kappa, sigma) * cells as f64).round() as usize;
        let before = before.min(cells - 1);
        (before, 0, cells - before)
    } else {
        let before = (share(sigma, kappa) * cells as f64).round() as usize;
        (before.min(cells), cells - before.min(cells), 0)
    };
    let style = verdict_style(row.verdict);
    let filled = page.paint(style, &"█".repeat(before));
    let empty = page.paint(DIM, &"░".repeat(blank));
    let excess = page.paint(style, &"█".repeat(after));
    page.line(&format!("{}{label}{filled}{empty}│{excess}{end}", " ".repeat(INDENT)));
}

/// Where κ comes from, and what the student's own record would have set.
fn bound(page: &mut Page, row: &TaskRow) {
    page.field("bound", &row.bound_in_words());
    if let Some(record) = &row.student_bound {
        let within = match record.within_bound {
            Some(true) => "σ is within it",
            Some(false) => "σ is above it",
            None => "not compared",
        };
        let (kappa, beta) = (decimal(record.kappa), significant(record.beta));
        let (alpha, gamma) = (chosen(record.alpha), chosen(record.gamma));
        let bound = format!("κ {kappa} (β {beta} nats, α {alpha}, γ {gamma})");
        page.field("own record", &format!("{bound} by the student's training: {within}"));
    }
}

/// Accuracy, the task's metric, agreement and mean confidence of both models.
fn models_figures(page: &mut Page, row: &TaskRow) {
    page.field("accuracy", &accuracy(row));
    for (name, text) in text_figures(row, figures::of_models()) {
        page.field(name, &text);
    }
    page.field("agreement", &agreement(row));
    if let (Some(teacher), Some(student)) = (&row.figures.teacher, &row.figures.student) {
        let means = both(Some(teacher.mean_confidence), Some(student.mean_confidence));
        let mean = row.mean_difference.map(|d| format!(" on average; mean d {}", signed(d)));
        page.field("confidence", &format!("{means}{}", mean.unwrap_or_default()));
    }
    for (name, text) in text_figures(row, figures::of_pairs()) {
        page.field(name, &text);
    }
}

/// The figures that the text shows under a name, where they are defined.
fn text_figures(
    row: &TaskRow,
    figures: impl Iterator<Item = &'static Figure>,
) -> Vec<(&'static str, String)> {
    let shown = |figure: &Figure| Some((figure.text?, figure.in_words(row)?));
    figures.filter_map(shown).collect()
}

fn both(teacher: Option<f64>, student: Option<f64>) -> String {
    format!("teacher {}, student {}", decimal_or_absent(teacher), decimal_or_absent(student))
}

fn accuracy(row: &TaskRow) -> String {
    let [teacher, student] = row.accuracies();
    if teacher.is_none() && student.is_none() {
        let why = row.why_undefined("teacher.accuracy").or(row.why_undefined("student.accuracy"));
        return why.map_or_else(|| ABSENT.to_owned(), |why| format!("{ABSENT} ({why})"));
    }
    let labelled = row.figures.teacher.as_ref().map_or(row.examples_run, |model| model.labelled);
    let of = if labelled == row.examples_run {
        String::new()
    } else {
        format!(", on {}", counted(labelled, "labelled example", "labelled examples"))
    };
    both(teacher, student) + &of
}

fn agreement(row: &TaskRow) -> String {
    let (Some(count), Some(share)) = (row.figures.agreement, row.figures.agreement_share) else {
        let why = row.why_undefined("agreement");
        return why.map_or_else(|| ABSENT.to_owned(), |why| format!("{ABSENT} ({why})"));
    };
    let flips = row
        .figures
        .negative_flips
        .map(|flips| format!("; {}", counted(flips, "negative flip", "negative flips")));
    let of = thousands(row.examples_run);
    format!("{} of {of} ({}){}", thousands(count), percent(share), flips.unwrap_or_default())
}

fn spread(page: &mut Page, row: &TaskRow) {
    let Some(Spread { median, p90, p99, max, .. }) = row.figures.difference else { return };
    let [median, p90, p99, max] = [median, p90, p99, max].map(decimal);
    page.field("|d|", &format!("median {median}, 90 % {p90}, 99 % {p99}, largest {max}"));
}

/// The readings that do not gate, in one line, and the published one with what it leaves out; one that
/// gives the other verdict says so.
fn variants(page: &mut Page, row: &TaskRow) {
    let others = row.variants.iter().filter(|variant| {
        !variant.gates && variant.statistic != Statistic::Published && !row.ended_early()
    });
    let mut groups: Vec<(VariantConfidence, Vec<String>)> = Vec::new();
    for variant in others {
        let reading = reading(row, variant);
        match groups.iter_mut().find(|(confidence, _)| *confidence == variant.confidence) {
            Some((_, readings)) => readings.push(reading),
            None => groups.push((variant.confidence, vec![reading])),
        }
    }
    let groups =
        groups.iter().map(|(of, readings)| format!("{} {}", of.as_str(), readings.join(", ")));
    let text = groups.collect::<Vec<_>>().join("; ");
    if !text.is_empty() {
        page.field("other σ", &text);
    }
    let published = row.published();
    if let Some((variant, left_out)) = published.and_then(|it| Some((it, left_out(it)?))) {
        page.field("published", &format!("{}; leaves out {left_out}", sigma_of(row, variant)));
    }
}

fn reading(row: &TaskRow, variant: &Variant) -> String {
    format!("{} {}", variant.statistic, sigma_of(row, variant))
}

/// `0.0722`; `0.0312 (≤ κ)` where the verdict would be another.
fn sigma_of(row: &TaskRow, variant: &Variant) -> String {
    let sigma = match (variant.sigma, row.kappa) {
        (Some(sigma), Some(kappa)) => sigma_and_kappa(sigma, kappa).0,
        (sigma, _) => decimal_or_absent(sigma),
    };
    let otherwise = match (variant.within_bound, row.verdict) {
        (Some(true), Outcome::NotPreserved) => " (≤ κ)",
        (Some(false), Outcome::Preserved) => " (> κ)",
        _ => "",
    };
    format!("{sigma}{otherwise}")
}

/// Examples that were cut or could not be used, where there are any.
fn counts(page: &mut Page, report: &Report, row: &TaskRow) {
    let [teacher, student] = row.texts_cut();
    if teacher + student > 0 {
        let (teacher, student) = (thousands(teacher), thousands(student));
        let models = report.manifest.models.iter().filter(|model| model.task == row.task);
        let lengths: BTreeSet<String> = models.filter_map(|it| it.length_in_words()).collect();
        let lengths = lengths.into_iter().collect::<Vec<_>>().join(" or ");
        let texts = format!("examples cut at {lengths}");
        page.field("truncated", &format!("{texts}: teacher {teacher}, student {student}"));
    }
    if row.skipped.count > 0 {
        let rows = counted(row.skipped.count, "row", "rows");
        let first = row.skipped.first.iter().take(3).cloned().collect::<Vec<_>>().join("; ");
        let first = if first.is_empty() { first } else { format!(": {first}") };
        page.field("skipped", &format!("{rows} of the data{first}"));
    }
}

/// A split that does not gate, and what to think where it gives the other verdict.
fn beside_row(page: &mut Page, gating: &TaskRow, row: &TaskRow) {
    let word = verdict_word(row.verdict);
    let numbers = comparison(row).map(|it| format!(", {it}")).unwrap_or_default();
    let extent = if row.n > 0 { format!(", {}", extent(row)) } else { String::new() };
    let text = format!("{}: {word}{numbers}{extent}", row.split);
    page.field_with("not gating", &text, Some((verdict_style(row.verdict), word)));
    if let Some(error) = &row.error {
        let hint = error.hint.as_ref().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
        page.field("", &format!("{}{hint}", error.message));
    }
    if row.gating_sigma().is_some() {
        page.field("", &format!("accuracy {}", accuracy(row)));
        for (name, text) in text_figures(row, figures::of_models()) {
            page.field("", &format!("{name} {text}"));
        }
        page.field("", &format!("agreement {}", agreement(row)));
    }
    if let Some(limit) = unseen(row) {
        page.field("", &limit);
    }
    if let Some(rows) = row.cached_in_words() {
        page.field("", &format!("from cache: {rows}"));
    }
    if let Some(sentence) = disagreement(gating, row) {
        page.field("", &sentence);
    }
}

/// Notes and warnings of the gating row, then of the secondary splits.
fn notes(page: &mut Page, report: &Report, row: &TaskRow, beside: &[&TaskRow]) {
    if row.notes.is_empty() && beside.iter().all(|row| row.notes.is_empty()) {
        return;
    }
    page.blank();
    for note in row.notes_by_weight() {
        remark(page, note, "");
    }
    for row in beside {
        for note in row.notes_by_weight() {
            remark(page, note, &format!("on {}, ", row.split));
        }
    }
    let shown = || std::iter::once(row).chain(beside.iter().copied());
    // Once in a report is enough.
    let first = report.tasks.iter().find(|row| !row.notes.is_empty());
    if first.is_some_and(|first| shown().any(|row| std::ptr::eq(row, first))) {
        if let Some(text) = explained_codes(shown().flat_map(|row| row.notes_by_weight())) {
            page.remark(INDENT, DIM, "more", &text);
        }
    }
}

/// `audit explain …` with the codes of `notes`, each once; `None` where the glossary has none.
pub(in super::super) fn explained_codes<'a>(
    notes: impl Iterator<Item = &'a Note>,
) -> Option<String> {
    let mut codes: Vec<&str> = Vec::new();
    for entry in notes.filter_map(|note| explain(&note.code)) {
        if !codes.contains(&entry.name.as_str()) {
            codes.push(&entry.name);
        }
    }
    (!codes.is_empty()).then(|| format!("`audit explain {}`", codes.join(" ")))
}

fn remark(page: &mut Page, note: &Note, place: &str) {
    let (style, level) = match note.level {
        NoteLevel::Warning => (YELLOW, "warning"),
        NoteLevel::Note => (DIM, "note"),
    };
    let text = format!("{place}{} [{}]", note.message, note.code);
    page.remark(INDENT, style, level, &text);
    if let Some(hint) = &note.hint {
        page.remark(INDENT + 2, DIM, "hint", hint);
    }
}
