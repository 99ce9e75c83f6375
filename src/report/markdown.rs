//! Markdown for a pull request comment: the verdict, a table, and the rest folded away.

use super::display::{neutralise, truncate};
use super::figures::{self, Figure};
use super::numbers::{counted, decimal, decimal_or_absent, percent, signed, thousands, ABSENT};
use super::rows::by_task;
use super::schema::{ModelStatistics, NoteLevel, Outcome, Prediction, Report, TaskRow, WorstInput};
use super::summary::{disagreements, recalibrated, summary, unseen, verdict_word};

/// GitHub refuses a comment above 65,536 characters; some room is left for what is put around.
pub(super) const MOST_CHARACTERS: usize = 60_000;

/// Stands at the end of a text that was too long.
const LEFT_OUT: &str = "\nThe rest is left out for length: see the JSON report.\n";

/// Columns of a cell and of a sentence from elsewhere.
pub(super) const CELL: usize = 80;
pub(super) const TEXT: usize = 240;
pub(super) const SENTENCE: usize = 1_000;

/// Inputs shown for each row.
const WORST_SHOWN: usize = 5;

/// How much of the report is shown.
#[derive(Clone, Copy, PartialEq)]
enum Detail {
    /// Everything.
    Full,
    /// No inputs and no manifest: what is left when the whole is too long for a comment.
    Brief,
}

/// The whole text, short enough for a comment.
pub(super) fn render(report: &Report) -> String {
    let full = render_with(report, Detail::Full);
    if full.chars().count() <= MOST_CHARACTERS {
        full
    } else {
        shorten(render_with(report, Detail::Brief))
    }
}

/// Leaves out the last lines where even the brief text is too long; a line stands for itself.
pub(super) fn shorten(text: String) -> String {
    let mut left = MOST_CHARACTERS;
    let kept = text.split_inclusive('\n').take_while(|line| {
        let length = line.chars().count();
        let fits = length <= left;
        left = left.saturating_sub(length);
        fits
    });
    kept.chain([LEFT_OUT]).collect()
}

fn render_with(report: &Report, detail: Detail) -> String {
    let mut out = heading(report);
    out.push_str(&table(report));
    for (_, sentence) in disagreements(report) {
        out.push_str(&format!("\n{}\n", escape(&sentence, SENTENCE)));
    }
    out.push_str(&remarks(report));
    if detail == Detail::Brief {
        return out;
    }
    for row in report.tasks.iter().filter(|row| !row.worst.is_empty()) {
        out.push_str(&worst(row));
    }
    out.push_str(&manifest(report));
    out
}

pub(super) fn sign(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Preserved => "✅",
        Outcome::NotPreserved => "❌",
        Outcome::Error => "⚠️",
    }
}

fn heading(report: &Report) -> String {
    let names: Vec<String> = by_task(report).iter().map(|task| escape(task.task, CELL)).collect();
    let subject = match names.as_slice() {
        [] => "no task".to_owned(),
        [name] => name.clone(),
        names => format!("{} tasks", names.len()),
    };
    format!(
        "## {} {}: confidence audit of {subject}\n\n{}\n\n",
        sign(report.verdict),
        verdict_word(report.verdict),
        escape(&summary(report), SENTENCE)
    )
}

/// A row of cells, each already escaped.
pub(super) fn row_of<S: AsRef<str>>(cells: &[S]) -> String {
    let cells: Vec<&str> = cells.iter().map(AsRef::as_ref).collect();
    format!("| {} |\n", cells.join(" | "))
}

fn table(report: &Report) -> String {
    let mut header = vec![
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
    header.extend(columns().map(|(_, name)| name));
    header.push("examples");
    let numbers = "--:|".repeat(header.len() - 3);
    let mut out = format!("{}|---|---|---|{numbers}\n", row_of(&header));
    for row in &report.tasks {
        out.push_str(&row_of(&cells(row)));
    }
    out
}

fn cells(row: &TaskRow) -> Vec<String> {
    let gate = if row.gates { "" } else { " (does not gate)" };
    let (sigma, kappa) = row.sigma_and_kappa();
    let reading = row.unusual_reading().map(|it| format!(" ({})", escape(&it, CELL)));
    let agreement = match (row.figures.agreement, row.figures.agreement_share) {
        (Some(count), Some(share)) => format!("{} ({})", thousands(count), percent(share)),
        _ => ABSENT.to_owned(),
    };
    let examples = if row.n > 0 { row.examples_in_short() } else { ABSENT.to_owned() };
    let mut cells = vec![
        escape(&row.task, CELL),
        escape(&row.split, CELL),
        format!("{} {}{gate}", sign(row.verdict), verdict_word(row.verdict).to_lowercase()),
        sigma + &reading.unwrap_or_default(),
        kappa,
        row.spent_share.map_or_else(|| ABSENT.to_owned(), percent),
        accuracy(&row.figures.teacher),
        accuracy(&row.figures.student),
        agreement,
    ];
    cells.extend(
        columns().map(|(figure, _)| figure.in_words(row).unwrap_or_else(|| ABSENT.to_owned())),
    );
    cells.push(examples);
    cells
}

/// The figures of both models together that have a column of their own.
fn columns() -> impl Iterator<Item = (&'static Figure, &'static str)> {
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

/// Errors, warnings, notes, what was skipped or cut, why a value is missing: a list.
fn remarks(report: &Report) -> String {
    let mut items = Vec::new();
    for row in &report.tasks {
        let mut say = |kind: &str, text: &str, hint: Option<&String>| {
            let hint = hint.map(|hint| format!(" Hint: {}", escape(hint, SENTENCE)));
            items.push(format!(
                "- **{kind}** ({}): {}{}\n",
                escape(&row.name(), CELL),
                escape(text, SENTENCE),
                hint.unwrap_or_default()
            ));
        };
        if let Some(error) = &row.error {
            say("could not run", &error.message, error.hint.as_ref());
        }
        for note in row.notes_by_weight() {
            let kind = match note.level {
                NoteLevel::Warning => "warning",
                NoteLevel::Note => "note",
            };
            say(kind, &format!("{} [{}]", note.message, note.code), note.hint.as_ref());
        }
        if let Some(text) = counts(row) {
            say("not used whole", &text, None);
        }
        if let Some(limit) = unseen(row) {
            say("unseen inputs", &limit, None);
        }
        if let (Outcome::NotPreserved, Some(remedy)) = (row.verdict, recalibrated(row)) {
            say("rescaled", &remedy, None);
        }
        if let Some(why) = row.why_undefined("teacher.accuracy") {
            say("no accuracy", why, None);
        }
    }
    if items.is_empty() {
        return String::new();
    }
    format!("\n{}", items.concat())
}

fn counts(row: &TaskRow) -> Option<String> {
    let cut = |model: &Option<ModelStatistics>| model.as_ref().map_or(0, |model| model.truncated);
    let (teacher, student) = (cut(&row.figures.teacher), cut(&row.figures.student));
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

pub(super) fn details(title: &str, body: &str) -> String {
    format!("\n<details>\n<summary>{title}</summary>\n\n{body}\n</details>\n")
}

fn worst(row: &TaskRow) -> String {
    let mut body = row_of(&["index", "d", "teacher", "student", "label", "text"]);
    body.push_str("|--:|--:|---|---|---|---|\n");
    for input in row.worst.iter().take(WORST_SHOWN) {
        body.push_str(&row_of(&worst_cells(input)));
    }
    let (name, difference) = (escape(&row.name(), CELL), row.difference_in_words());
    let title = format!("Inputs furthest apart on {name} ({difference})");
    details(&title, &body)
}

fn worst_cells(input: &WorstInput) -> [String; 6] {
    let says =
        |of: &Prediction| format!("{} {}", escape(&of.predicted, CELL), decimal(of.confidence));
    let texts = [&input.text, &input.pair];
    let texts: Vec<String> = texts.into_iter().flatten().map(|text| escape(text, TEXT)).collect();
    [
        input.index.to_string(),
        signed(input.difference),
        says(&input.teacher),
        says(&input.student),
        input.label.as_ref().map_or_else(|| ABSENT.to_owned(), |label| escape(label, CELL)),
        if texts.is_empty() { ABSENT.to_owned() } else { texts.join("<br>") },
    ]
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

fn manifest(report: &Report) -> String {
    let manifest = &report.manifest;
    let mut body = row_of(&["what", "value"]);
    body.push_str("|---|---|\n");
    let mut say = |what: String, value: String| body.push_str(&row_of(&[what, value]));
    let program = format!("{} {}", manifest.program, manifest.version);
    say("program".into(), escape(&program, CELL));
    say("platform".into(), escape(&manifest.platform, CELL));
    let devices = each_once(report, |row| row.device.clone());
    say("device, dtype".into(), escape(&format!("{devices}, {}", manifest.dtype), CELL));
    say("seed".into(), each_once(report, |row| row.seed.to_string()));
    say("config SHA-256".into(), escape(&manifest.config_sha256, CELL));
    for (name, value) in &manifest.conventions {
        say(escape(name, CELL), escape(value, TEXT));
    }
    for model in &manifest.models {
        let who = format!("{} of {}", escape(&model.role, CELL), escape(&model.task, CELL));
        let revision = model.revision.as_ref().map(|it| format!(" at {it}")).unwrap_or_default();
        say(who.clone(), escape(&format!("{}{revision}", model.source), TEXT));
        if let Some(tokens) = model.max_length {
            say(format!("{who}, maximum length"), tokens.to_string());
        }
        say(format!("{who}, weights SHA-256"), escape(&model.weights_sha256, CELL));
        if let Some(hash) = &model.tokenizer_sha256 {
            say(format!("{who}, tokenizer SHA-256"), escape(hash, CELL));
        }
    }
    for row in &report.tasks {
        if let Some(hash) = &row.data_sha256 {
            say(format!("data of {}, SHA-256", escape(&row.name(), CELL)), escape(hash, CELL));
        }
        let name = escape(&row.name(), CELL);
        say(format!("bound of {name}"), escape(&row.bound_in_words(), TEXT));
    }
    details("Manifest", &body)
}

/// `text` in at most `limit` columns, such that Markdown, HTML and GitHub see text in it.
///
/// Character references are never markup, not even a table's `|`. A mention, an issue number and
/// a link are found in the rendered text, so a zero-width space breaks those.
pub(super) fn escape(text: &str, limit: usize) -> String {
    const GAP: &str = "&#8203;";
    let text = truncate(&neutralise(text), limit);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '@' => out.extend(["@", GAP]),
            '#' => out.extend(["&#35;", GAP]),
            ':' if rest.peek() == Some(&'/') => out.extend([":", GAP]),
            '.' if out.ends_with("www") => out.extend([GAP, "."]),
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '~' | '$' => {
                out.push_str(&format!("&#{};", c as u32));
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

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
    fn what_acts_in_markdown_is_escaped() {
        assert_eq!(
            escape("a|b`c*_\n<b>&@me #1", 80),
            "a&#124;b&#96;c&#42;&#95; &lt;b&gt;&amp;@&#8203;me &#35;&#8203;1"
        );
        assert_eq!(escape("http://a www.b", 80), "http:&#8203;//a www&#8203;.b");
    }

    #[test]
    fn hostile_text_breaks_no_table_and_leaves_no_tag() {
        let text = render_with(&samples::hostile(), Detail::Full);
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
    fn a_report_stays_below_github_s_limit() {
        for (name, report) in samples::all() {
            assert!(render(&report).chars().count() < 65_536, "{name}");
        }
        let mut many = samples::hostile();
        for rows in [9, 40] {
            many.tasks = vec![many.tasks[0].clone(); rows];
            let text = render(&many);
            assert!(text.contains("left out for length"), "{rows}");
            assert!(text.chars().count() < 65_536, "{rows}");
        }
    }

    #[test]
    fn a_report_stays_below_the_limit_of_a_job_s_summary() {
        const MOST_BYTES: usize = 1 << 20; // $GITHUB_STEP_SUMMARY: 1 MiB per step
        let mut wide = samples::preserved();
        // Four bytes each: the most that a character can have.
        wide.tasks[0].notes[0].message = "🙂".repeat(100_000);
        let note = wide.tasks[0].notes[0].clone();
        wide.tasks[0].notes = vec![note; 200];
        let text = render(&wide);
        assert!(text.len() > text.chars().count() * 2, "the characters are wide");
        assert!(text.chars().count() < 65_536 && text.len() < MOST_BYTES, "{}", text.len());
        assert!(MOST_CHARACTERS * 4 + LEFT_OUT.len() < MOST_BYTES);
        for (name, report) in samples::all() {
            assert!(render(&report).len() < MOST_BYTES, "{name}");
        }
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
