//! Tables whose columns have other names: which to rename, and to what.

use anyhow::Error;

use super::columns::{is_distribution, LOGIT, PROBABILITY};
use crate::error::failure;
use crate::task::table::DataTable;
use crate::task::{find_label, listed};

/// Beginnings of names that mean probabilities or scores, the longer before the shorter.
const OF_PROBABILITIES: [&str; 9] =
    ["probabilities", "probability", "probas", "proba", "probs", "prob", "softmax", "pred", "p"];
const OF_LOGITS: [&str; 2] = ["logits", "logit"];
const OF_EITHER: [&str; 4] = ["scores", "score", "label", "class"];

/// Names for the predicted label and for its probability.
const PREDICTED: [&str; 8] = [
    "predicted",
    "prediction",
    "predictions",
    "pred",
    "predicted_label",
    "pred_label",
    "predicted_class",
    "label",
];
const CONFIDENCE: [&str; 7] =
    ["confidence", "score", "probability", "prob", "proba", "max_prob", "conf"];

/// Renames shown in a hint.
const SHOWN: usize = 8;

/// The error of a table without predictions, with the columns that look like them.
pub(super) fn missing(table: &DataTable, source: &str, task_labels: &[String]) -> Error {
    let error = failure!(
        "`{source}` has the columns [{}], and none has the model's confidence",
        listed(&table.columns)
    );
    let hint = of_labels(table, task_labels)
        .map(|renames| listed_renames(&renames))
        .or_else(|| of_confidence(table));
    let needed =
        "it needs logit_<label> for every label, or probability_<label>, or confidence and \
                  predicted";
    error.hint(hint.unwrap_or_else(|| needed.to_owned())).into()
}

/// ``rename `prob_0` to `probability_0`, `prob_1` to `probability_1` ``.
pub(super) fn listed_renames(renames: &[(String, String)]) -> String {
    let shown = renames.iter().take(SHOWN).map(|(from, to)| format!("`{from}` to `{to}`"));
    let more = if renames.len() > SHOWN { ", …" } else { "" };
    format!("rename {}{more}", shown.collect::<Vec<_>>().join(", "))
}

/// Columns that each stand for a label: `prob_0`, `p1`, `proba_negative`, `negative`, `LABEL_0`.
fn of_labels(table: &DataTable, task_labels: &[String]) -> Option<Vec<(String, String)>> {
    let found: Vec<(usize, Option<&'static str>, String)> = (0..table.columns.len())
        .filter_map(|i| label_of(&table.columns[i], task_labels).map(|(p, label)| (i, p, label)))
        .collect();
    let prefixes =
        |prefix: Option<&'static str>| found.iter().filter(move |(_, p, _)| *p == prefix);
    let first = found.iter().map(|(_, p, _)| *p).find(|p| prefixes(*p).count() > 1)?;
    let group: Vec<_> = prefixes(first).collect();
    let columns: Vec<usize> = group.iter().map(|(i, ..)| *i).collect();
    let target = match first {
        Some(LOGIT) => LOGIT,
        Some(PROBABILITY) => PROBABILITY,
        _ if is_distribution(table, &columns) => PROBABILITY,
        _ => LOGIT,
    };
    let rename = |(i, _, label): &&(usize, Option<&'static str>, String)| {
        (table.columns[*i].clone(), format!("{target}{label}"))
    };
    Some(group.iter().map(rename).collect())
}

/// The prefix that a column's name means (`None` if it is the label alone) and the label in it.
fn label_of(column: &str, task_labels: &[String]) -> Option<(Option<&'static str>, String)> {
    let label = |rest: &str| -> Option<String> {
        let is_id = rest.strip_prefix("LABEL_").unwrap_or(rest).parse::<usize>().is_ok();
        match find_label(task_labels, rest) {
            Some(known) => Some(task_labels[known].clone()),
            None => is_id.then(|| rest.to_owned()),
        }
    };
    if let Some(label) = label(column) {
        return Some((None, label));
    }
    let lower = column.to_ascii_lowercase();
    let families = [
        (Some(PROBABILITY), &OF_PROBABILITIES[..]),
        (Some(LOGIT), &OF_LOGITS[..]),
        (Some(""), &OF_EITHER[..]),
    ];
    families.into_iter().find_map(|(means, prefixes)| {
        let rest = prefixes.iter().filter(|p| lower.starts_with(**p)).find_map(|prefix| {
            let rest = column[prefix.len()..].trim_start_matches([' ', '_', '-', '.', '[', '(']);
            label(rest.trim_end_matches([' ', ']', ')']))
        })?;
        Some((means, rest))
    })
}

/// Columns that are a predicted label and its probability under other names.
fn of_confidence(table: &DataTable) -> Option<String> {
    let first = |names: &[&'static str]| names.iter().copied().find(|n| table.column(n).is_some());
    let (predicted, confidence) = (first(&PREDICTED)?, first(&CONFIDENCE)?);
    let renames: Vec<(String, String)> = [(confidence, "confidence"), (predicted, "predicted")]
        .into_iter()
        .filter(|(from, to)| from != to)
        .map(|(from, to)| (from.to_owned(), to.to_owned()))
        .collect();
    let condition = match predicted {
        "label" => {
            ", if `label` is what the model predicted (a pipeline's); if it is the true label, add \
             `predicted` with the model's"
        }
        _ => "",
    };
    Some(format!("{}{condition}", listed_renames(&renames)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_found_behind_each_prefix() {
        let task = ["negative", "positive"].map(str::to_owned);
        for (column, prefix, label) in [
            ("prob_0", Some(PROBABILITY), "0"),
            ("proba_1", Some(PROBABILITY), "1"),
            ("p0", Some(PROBABILITY), "0"),
            ("P(negative)", Some(PROBABILITY), "negative"),
            ("probs[1]", Some(PROBABILITY), "1"),
            ("Probability Positive", Some(PROBABILITY), "positive"),
            ("logits_positive", Some(LOGIT), "positive"),
            ("logit0", Some(LOGIT), "0"),
            ("score_negative", Some(""), "negative"),
            ("NEGATIVE", None, "negative"),
            ("LABEL_1", None, "LABEL_1"),
            ("1", None, "1"),
        ] {
            let expected = Some((prefix, label.to_owned()));
            assert_eq!(label_of(column, &task), expected, "{column}");
        }
        for column in ["predicted", "position", "prompt", "text", "id", "score", "p", "", "label"] {
            assert_eq!(label_of(column, &task), None, "{column}");
        }
    }

    #[test]
    fn a_long_list_of_renames_is_cut() {
        let renames: Vec<_> =
            (0..9).map(|i| (format!("p{i}"), format!("probability_{i}"))).collect();
        let text = listed_renames(&renames);
        assert!(text.starts_with("rename `p0` to `probability_0`, `p1` to `probability_1`"));
        assert!(text.ends_with("`p7` to `probability_7`, …"), "{text}");
    }
}
