//! The report for a pull request comment: the verdict, a table, and the rest folded away.

use super::display::{neutralise, truncate};
use super::document::{verdict_sign, Block, Document, DocumentTable, CELL};
use super::figures::{self, Figure};
use super::numbers::{counted, decimal, decimal_or_absent, percent, signed, thousands, ABSENT};
use super::rows::by_task;
use super::schema::{ModelStatistics, Outcome, Prediction, Report, RowError, TaskRow, WorstInput};
use super::summary::{disagreements, published, recalibrated, summary, unseen, verdict_word};
use super::text::page::DIM;

/// Inputs shown for each row.
const WORST_SHOWN: usize = 5;

/// The whole report.
pub(super) fn document(report: &Report) -> Document {
    let names: Vec<String> = by_task(report).iter().map(|task| shortened(task.task)).collect();
    let subject = match names.as_slice() {
        [] => "no task".to_owned(),
        [name] => name.clone(),
        names => format!("{} tasks", names.len()),
    };
    let heading = vec![format!("confidence audit of {subject}")];
    let mut document = Document::new(report.verdict, verdict_word(report.verdict), heading);
    document.push(Block::Paragraph(summary(report)));
    document.push(Block::Table(table(report)));
    for (_, sentence) in disagreements(report) {
        document.push(Block::Paragraph(sentence));
    }
    report.tasks.iter().for_each(|row| remarks(&mut document, row));
    report.tasks.iter().for_each(|row| worst(&mut document, row));
    document.push(Block::Folded { title: "Manifest".to_owned(), table: manifest(report) });
    document
}

/// A name from elsewhere, short enough for its place.
fn shortened(name: &str) -> String {
    truncate(&neutralise(name), CELL)
}

fn table(report: &Report) -> DocumentTable {
    let mut columns = vec![
        "task",
        "split",
        "verdict",
        "σ",
        "κ",
        "budget spent",
        "accuracy, teacher",
        "accuracy, student",
        "agreement",
    ];
    columns.extend(columns_of_figures().map(|(_, name)| name));
    columns.push("examples");
    let mut table = DocumentTable::new(3..columns.len(), &columns);
    report.tasks.iter().for_each(|row| table.row(cells(row)));
    table
}

fn cells(row: &TaskRow) -> Vec<String> {
    let gate = if row.gates { "" } else { " (does not gate)" };
    let (sigma, kappa) = row.sigma_and_kappa();
    let reading = row.unusual_reading().map(|it| format!(" ({it})"));
    let agreement = match (row.figures.agreement, row.figures.agreement_share) {
        (Some(count), Some(share)) => format!("{} ({})", thousands(count), percent(share)),
        _ => ABSENT.to_owned(),
    };
    let examples = if row.n > 0 { row.examples_in_short() } else { ABSENT.to_owned() };
    let mut cells = vec![
        row.task.clone(),
        row.split.clone(),
        format!("{} {}{gate}", verdict_sign(row.verdict), verdict_word(row.verdict).to_lowercase()),
        sigma + &reading.unwrap_or_default(),
        kappa,
        row.spent_share.map_or_else(|| ABSENT.to_owned(), percent),
        accuracy(&row.figures.teacher),
        accuracy(&row.figures.student),
        agreement,
    ];
    cells.extend(
        columns_of_figures()
            .map(|(figure, _)| figure.in_words(row).unwrap_or_else(|| ABSENT.to_owned())),
    );
    cells.push(examples);
    cells
}

/// The figures of both models together that have a column of their own.
fn columns_of_figures() -> impl Iterator<Item = (&'static Figure, &'static str)> {
    figures::of_pairs().filter_map(|figure| Some((figure, figure.text?)))
}

/// `0.9540`, with the task's own metric: `0.8820 (F1 0.9147)`.
fn accuracy(model: &Option<ModelStatistics>) -> String {
    let Some(model) = model else { return ABSENT.to_owned() };
    let accuracy = decimal_or_absent(model.accuracy);
    let others: Vec<String> = figures::of_models()
        .filter_map(|figure| Some((figure.text?, figure, figure.of_model(model).value?)))
        .map(|(name, figure, value)| format!("{name} {}", figure.written(value)))
        .collect();
    match others.is_empty() {
        true => accuracy,
        false => format!("{accuracy} ({})", others.join(", ")),
    }
}

/// Errors, warnings, notes, what was skipped or cut, why a value is missing.
fn remarks(document: &mut Document, row: &TaskRow) {
    if let Some(RowError { message, hint }) = &row.error {
        let (style, about, text) = (DIM, Some(row.name()), message.clone());
        let hint = hint.clone();
        document.push(Block::Remark { kind: "could not run", style, about, text, hint });
    }
    for note in row.notes_by_weight() {
        document.note(note, Some(row.name()));
    }
    let rescaled = recalibrated(row).filter(|_| row.verdict == Outcome::NotPreserved);
    let why_no_accuracy = row.why_undefined("teacher.accuracy").map(str::to_owned);
    for (kind, text) in [
        ("not used whole", counts(row)),
        ("unseen inputs", unseen(row)),
        ("published statistic", published(row)),
        ("rescaled", rescaled),
        ("no accuracy", why_no_accuracy),
    ] {
        if let Some(text) = text {
            let (style, about) = (DIM, Some(row.name()));
            document.push(Block::Remark { kind, style, about, text, hint: None });
        }
    }
}

fn counts(row: &TaskRow) -> Option<String> {
    let [teacher, student] = row.texts_cut();
    let mut parts = Vec::new();
    if row.skipped.count > 0 {
        parts.push(format!("{} skipped", counted(row.skipped.count, "row", "rows")));
    }
    if teacher + student > 0 {
        let (teacher, student) = (thousands(teacher), thousands(student));
        parts.push(format!("examples truncated: teacher {teacher}, student {student}"));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn worst(document: &mut Document, row: &TaskRow) {
    if row.worst.is_empty() {
        return;
    }
    let columns = ["index", "d", "teacher", "student", "label", "text"];
    let mut table = DocumentTable::new(0..2, &columns);
    table.rows.extend(row.worst.iter().take(WORST_SHOWN).map(worst_cells));
    let (name, difference) = (shortened(&row.name()), row.difference_in_words());
    let title = format!("Inputs furthest apart on {name} ({difference})");
    document.push(Block::Folded { title, table });
}

fn worst_cells(input: &WorstInput) -> Vec<Vec<String>> {
    let predicted =
        |of: &Prediction| format!("{} {}", shortened(&of.predicted), decimal(of.confidence));
    let absent = || ABSENT.to_owned();
    let cells = [
        input.index.to_string(),
        signed(input.difference),
        predicted(&input.teacher),
        predicted(&input.student),
        input.label.as_deref().map_or_else(absent, shortened),
    ];
    let texts: Vec<String> = [&input.text, &input.pair].into_iter().flatten().cloned().collect();
    let texts = if texts.is_empty() { vec![absent()] } else { texts };
    cells.map(|cell| vec![cell]).into_iter().chain([texts]).collect()
}

/// What the rows say, each value once, in their order.
fn each_once(report: &Report, of: impl Fn(&TaskRow) -> String) -> String {
    let mut values: Vec<String> = Vec::new();
    for value in report.tasks.iter().map(of) {
        if !values.contains(&value) {
            values.push(value);
        }
    }
    values.join(" and ")
}

fn manifest(report: &Report) -> DocumentTable {
    let manifest = &report.manifest;
    let mut table = DocumentTable::new(0..0, &["what", "value"]);
    let mut line = |what: &str, value: String| table.row([what.to_owned(), value]);
    line("program", format!("{} {}", manifest.program, manifest.version));
    line("platform", manifest.platform.clone());
    let devices = each_once(report, |row| row.device.clone());
    line("device, dtype", format!("{devices}, {}", manifest.dtype));
    line("seed", each_once(report, |row| row.seed.to_string()));
    line("config SHA-256", manifest.config_sha256.clone());
    for (name, value) in &manifest.conventions {
        line(&shortened(name), value.clone());
    }
    for model in &manifest.models {
        let who = format!("{} of {}", shortened(&model.role), shortened(&model.task));
        let revision = model.revision.as_ref().map(|it| format!(" at {it}")).unwrap_or_default();
        line(&who, format!("{}{revision}", model.source));
        if let Some(length) = model.length_in_words() {
            line(&format!("{who}, maximum length"), length);
        }
        line(&format!("{who}, weights SHA-256"), model.weights_sha256.clone());
        if let Some(hash) = &model.tokenizer_sha256 {
            line(&format!("{who}, tokenizer SHA-256"), hash.clone());
        }
    }
    for row in &report.tasks {
        let name = shortened(&row.name());
        if let Some(hash) = &row.data_sha256 {
            line(&format!("data of {name}, SHA-256"), hash.clone());
        }
        line(&format!("bound of {name}"), row.bound_in_words());
        if let Some(rows) = row.cached_in_words() {
            line(&format!("from the cache on {name}"), rows);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn render(report: &Report) -> String {
        document(report).markdown()
    }

    #[test]
    fn the_heading_says_the_verdict_with_a_sign_and_a_word() {
        let first = |report: &Report| render(report).lines().next().unwrap().to_owned();
        assert_eq!(first(&samples::preserved()), "## ✅ PRESERVED: confidence audit of sst2");
        assert_eq!(
            first(&samples::not_preserved()),
            "## ❌ NOT PRESERVED: confidence audit of sst2"
        );
        assert_eq!(first(&samples::suite()), "## ⚠️ COULD NOT RUN: confidence audit of 3 tasks");
    }

    #[test]
    fn the_table_has_a_row_for_every_task_and_split() {
        let text = render(&samples::suite());
        assert!(text.contains(
            "| sst2 | train | ✅ preserved | 0.0446 | 0.0500 | 79.6 % | 0.9540 | 0.9478 | \
             66,003 (98.0 %) | 67,349 |\n"
        ));
        assert!(text.contains("| sst2 | validation | ❌ not preserved (does not gate) | 0.1010 |"));
        assert!(text.contains("0.9540 (F1 0.9652) | 0.9478 (F1 0.9147)"));
        assert!(text.contains("| rte | train | ⚠️ could not run | – | – | – | – | – | – | – |"));
        assert!(text.contains("- **could not run** (rte/train): teacher &#96;out/bert&#96;"));
    }

    #[test]
    fn hostile_text_breaks_no_table_and_leaves_no_tag() {
        let text = render(&samples::hostile());
        for tag in text.split('<').skip(1) {
            let known = ["details>", "/details>", "summary>", "/summary>", "br>"];
            assert!(known.iter().any(|name| tag.starts_with(name)), "<{tag}");
        }
        assert_eq!(text.matches("<details>").count(), text.matches("</details>").count());
        for (after, _) in text.match_indices('@') {
            assert!(text[after..].starts_with("@&#8203;"));
        }
        for line in text.lines().filter(|line| line.starts_with('|')) {
            let pipes = line.matches('|').count();
            assert!([3, 7, 11].contains(&pipes), "{pipes} in {line}");
        }
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'));
    }

    #[test]
    fn a_missing_accuracy_says_why() {
        let text = render(&samples::unlabelled());
        assert!(text.contains("| – | – |"));
        assert!(
            text.contains("- **no accuracy** (logs/test): no example of this split has a label\n")
        );
    }
}
