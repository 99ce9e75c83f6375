//! The verdict in words: the sentences that the formats share.

use super::numbers::{chosen, counted, decimal, sigma_and_kappa, significant, thousands};
use super::rows::by_task;
use super::schema::{LeftOut, Outcome, Report, TaskRow, Variant};

/// One sentence (or two) that says the verdict with σ, κ and n.
///
/// For one gating row the row's own ([`row_summary`]); for several, how many there are of each
/// verdict and which tasks they are. User-supplied names stand in it as they are: a format
/// escapes the whole.
pub fn summary(report: &Report) -> String {
    let gating: Vec<&TaskRow> = report.tasks.iter().filter(|row| row.gates).collect();
    match gating.as_slice() {
        [] => "No task was gated.".to_owned(),
        [row] => row_summary(row),
        rows => suite_summary(rows),
    }
}

/// One sentence for one row: its verdict with σ, κ and n, or why it could not be run.
pub fn row_summary(row: &TaskRow) -> String {
    let name = row.name();
    let verb = match row.verdict {
        Outcome::Preserved => "preserves",
        Outcome::NotPreserved => "does not preserve",
        Outcome::Error => {
            let reason = row.error.as_ref().map(|error| format!(": {}", error.message));
            let reason = reason.unwrap_or_else(|| ".".to_owned());
            return format!("The audit of {name} could not be carried out{reason}");
        }
    };
    let comparison = comparison(row).map(|it| format!(" {it}")).unwrap_or_default();
    let reading = row.unusual_reading().map(|it| format!(" ({it})")).unwrap_or_default();
    format!(
        "The student {verb} its teacher's confidence on {name}:{comparison}{reading} over {}.",
        extent(row)
    )
}

/// `σ 0.0446 ≤ κ 0.0500`; `σ ≥ 0.0508 > κ 0.0500` at a spent budget; `σ > κ 0.0500` where a test is
/// sure of no more. `None` where neither is defined.
pub(crate) fn comparison(row: &TaskRow) -> Option<String> {
    row.kappa?;
    let (sigma, kappa) = row.sigma_and_kappa();
    let relation = row.relation();
    match (row.gating_sigma(), row.is_statistical(), row.verdict) {
        (Some(_), _, _) => Some(format!("σ {sigma} {relation} κ {kappa}")),
        (None, false, Outcome::NotPreserved) => Some(format!("σ {sigma} > κ {kappa}")),
        _ => row.sigma_at_least.map(|_| format!("σ {relation} κ {kappa}")),
    }
}

/// `67,349 examples`, `500 examples (partial: 500 of 67,349)`, `67,349 examples, certain
/// after the first 26,112`, `222 of 67,349 examples, drawn at random (statistical, δ = 0.001)`;
/// `64,899 of 67,349 examples that both models get right` where the published statistic gates.
pub(crate) fn extent(row: &TaskRow) -> String {
    let mut examples = counted(row.n, "example", "examples");
    if let Some(right) = row.published().filter(|it| it.gates).and_then(|it| it.examples) {
        examples = format!("{} of {examples} that both models get right", thousands(right));
    }
    let limited = if row.partial {
        format!(" (partial: {} of {})", thousands(row.n), thousands(row.of))
    } else {
        String::new()
    };
    let taken = thousands(row.examples_run);
    let wrong = row
        .sequential
        .filter(|_| row.is_statistical())
        .map(|draws| format!(" (statistical, δ = {})", chosen(draws.delta)));
    let wrong = wrong.unwrap_or_default();
    match (row.ended_early(), row.sequential) {
        (false, _) => format!("{examples}{limited}"),
        (true, None) => format!("{examples}{limited}, certain after the first {taken}"),
        (true, Some(_)) => format!("{taken} of {examples}{limited}, drawn at random{wrong}"),
    }
}

fn suite_summary(rows: &[&TaskRow]) -> String {
    let named = |outcome: Outcome| -> Vec<String> {
        rows.iter().filter(|row| row.verdict == outcome).map(|row| row.name()).collect()
    };
    let preserved = named(Outcome::Preserved);
    if preserved.len() == rows.len() {
        return format!(
            "The student preserves its teacher's confidence in all {} audits: {}.",
            rows.len(),
            preserved.join(", ")
        );
    }
    let clauses: Vec<String> = [
        ("preserved", preserved),
        ("not preserved", named(Outcome::NotPreserved)),
        ("could not run", named(Outcome::Error)),
    ]
    .into_iter()
    .filter(|(_, names)| !names.is_empty())
    .map(|(what, names)| format!("{} {what} ({})", names.len(), names.join(", ")))
    .collect();
    format!("Of {} audits: {}.", rows.len(), clauses.join("; "))
}

/// `3 audits: 1 preserved, 1 not preserved, 1 could not run`.
pub(crate) fn tally(report: &Report) -> String {
    let gating = || report.tasks.iter().filter(|row| row.gates);
    let of = |outcome: Outcome| gating().filter(|row| row.verdict == outcome).count();
    let parts: Vec<String> = [
        (of(Outcome::Preserved), "preserved"),
        (of(Outcome::NotPreserved), "not preserved"),
        (of(Outcome::Error), "could not run"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} {what}"))
    .collect();
    format!("{}: {}", counted(gating().count(), "audit", "audits"), parts.join(", "))
}

/// A sentence for each secondary split whose verdict differs from the gating one.
pub(crate) fn disagreements(report: &Report) -> Vec<(&TaskRow, String)> {
    let mut found = Vec::new();
    for group in by_task(report) {
        for gating in &group.gating {
            for beside in &group.beside {
                if let Some(sentence) = disagreement(gating, beside) {
                    found.push((*beside, sentence));
                }
            }
        }
    }
    found
}

/// `σ ≤ 0.0901 on unseen inputs (95 % limit, if these are unseen)`, where it is known. It is σ about
/// zero, whichever statistic gates.
pub(crate) fn unseen(row: &TaskRow) -> Option<String> {
    let about = row.about_zero();
    row.sigma_unseen.map(|limit| {
        let (sigma, level) = (decimal(limit.sigma), chosen(limit.level * 100.0));
        format!("σ{about} ≤ {sigma} on unseen inputs ({level} % limit, if these are unseen)")
    })
}

/// `2,450 examples, 1,452 that the student gets wrong`: what the published statistic leaves out, where it is
/// defined.
pub(crate) fn left_out(variant: &Variant) -> Option<String> {
    let LeftOut { count, student_wrong, .. } = variant.left_out?;
    let count = counted(count, "example", "examples");
    Some(format!("{count}, {} that the student gets wrong", thousands(student_wrong)))
}

/// `σ 0.0313 as in the paper's code, over 64,899 examples that both models get right; left out …`: the
/// published statistic, where it is defined.
pub(crate) fn published(row: &TaskRow) -> Option<String> {
    let variant = row.published()?;
    let (sigma, examples) = (decimal(variant.sigma?), thousands(variant.examples?));
    let left_out = left_out(variant)?;
    Some(format!(
        "σ {sigma} as in the paper's code, over {examples} examples that both models get right; left \
         out are {left_out}"
    ))
}

/// `τ 1.249, fitted on validation, would make σ 0.0887 > κ 0.0500`, where it was fitted.
pub(crate) fn recalibrated(row: &TaskRow) -> Option<String> {
    let (of, kappa) = (row.recalibrated.as_ref()?, row.kappa?);
    let (sigma, kappa) = sigma_and_kappa(of.sigma, kappa);
    let relation = if of.within_bound { "≤" } else { ">" };
    let edge = if of.at_edge { " (the end of what is tried)" } else { "" };
    Some(format!(
        "τ {}{edge}, fitted on {}, would make σ {sigma} {relation} κ {kappa}",
        significant(of.temperature),
        of.fitted_on
    ))
}

/// What to know when two splits of a task give different verdicts; `None` when they agree.
pub(crate) fn disagreement(gating: &TaskRow, beside: &TaskRow) -> Option<String> {
    let (gate, other) = (&gating.split, &beside.split);
    match (gating.verdict, beside.verdict) {
        (Outcome::Preserved, Outcome::NotPreserved) => Some(format!(
            "The two splits disagree: confidence is preserved on {gate}, which gates, and not on \
             {other}. The bound on {gate} does not carry over to inputs that the student has not \
             seen."
        )),
        (Outcome::NotPreserved, Outcome::Preserved) => Some(format!(
            "The two splits disagree: confidence is not preserved on {gate}, which gates, though \
             it is on {other}."
        )),
        _ => None,
    }
}

/// The verdict as a word in capitals, as the text report shows it.
pub(crate) fn verdict_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Preserved => "PRESERVED",
        Outcome::NotPreserved => "NOT PRESERVED",
        Outcome::Error => "COULD NOT RUN",
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn one_row_is_one_sentence_with_its_numbers() {
        assert_eq!(
            summary(&samples::preserved()),
            "The student preserves its teacher's confidence on sst2/train: \
             σ 0.0446 ≤ κ 0.0500 over 67,349 examples."
        );
        assert_eq!(
            summary(&samples::not_preserved()),
            "The student does not preserve its teacher's confidence on sst2/train: \
             σ 0.0802 > κ 0.0500 over 67,349 examples."
        );
        assert_eq!(
            summary(&samples::partial()),
            "The student preserves its teacher's confidence on sst2/train: \
             σ 0.0446 ≤ κ 0.0500 over 500 examples (partial: 500 of 67,349)."
        );
        assert!(summary(&samples::could_not_run()).contains("could not be carried out: "));
    }

    #[test]
    fn a_run_that_ended_early_says_how_far_it_came() {
        assert_eq!(
            summary(&samples::failed_fast()),
            "The student does not preserve its teacher's confidence on sst2/train: \
             σ ≥ 0.0508 > κ 0.0500 over 67,349 examples, certain after the first 26,112."
        );
        assert_eq!(
            summary(&samples::statistical()),
            "The student preserves its teacher's confidence on sst2/train: σ ≤ κ 0.0500 over \
             7,872 of 67,349 examples, drawn at random (statistical, δ = 0.001)."
        );
    }

    #[test]
    fn a_suite_counts_its_verdicts_and_names_them() {
        assert_eq!(
            summary(&samples::suite()),
            "Of 3 audits: 1 preserved (sst2/train); 1 not preserved (mrpc/train); \
             1 could not run (rte/train)."
        );
        assert_eq!(
            tally(&samples::suite()),
            "3 audits: 1 preserved, 1 not preserved, 1 could not run"
        );
    }

    #[test]
    fn splits_that_disagree_are_named() {
        let report = samples::preserved();
        let found = disagreements(&report);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0.split, "validation");
        assert!(found[0].1.contains("not on validation"));
        assert!(disagreements(&samples::not_preserved()).is_empty());
    }

    #[test]
    fn no_row_at_all_is_said() {
        let mut report = samples::preserved();
        report.tasks.clear();
        assert_eq!(summary(&report), "No task was gated.");
    }
}
