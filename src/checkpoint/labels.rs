//! Which of a model's outputs stands for which label of the task: by name where names exist.

use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::Result;

use crate::error::{hinted, usage};

/// Whether `names` are no names but ids: `LABEL_0`, `LABEL_1`, … or `0`, `1`, ….
pub fn are_ids(names: &[String]) -> bool {
    names.iter().enumerate().all(|(i, n)| *n == format!("LABEL_{i}") || *n == i.to_string())
}

/// `--label-map`: what some of a model's labels are called in the task.
///
/// Written `MODEL_LABEL=TASK_LABEL,…`, for both models, or for one with `teacher:` or `student:`
/// ahead of an entry. A label without a name is `LABEL_0`, `LABEL_1`, ….
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelMap {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    role: Option<String>,
    model_label: String,
    task_label: String,
}

impl FromStr for LabelMap {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |part: &str| {
            usage(format!(
                "`{part}` in the label map is not MODEL_LABEL=TASK_LABEL\n  hint: for example \
                 `LABEL_0=negative,LABEL_1=positive`, or `student:NEG=negative,student:POS=positive`"
            ))
        };
        let entries = text.split(',').map(|part| {
            let (left, right) = part.split_once('=').ok_or_else(|| wrong(part))?;
            let (role, label) = match left.split_once(':') {
                Some((role @ ("teacher" | "student"), label)) => (Some(role.to_owned()), label),
                Some(_) => return Err(wrong(part)),
                None => (None, left),
            };
            let (model_label, task_label) = (label.trim().to_owned(), right.trim().to_owned());
            if model_label.is_empty() || task_label.is_empty() {
                return Err(wrong(part));
            }
            Ok(Entry { role, model_label, task_label })
        });
        Ok(LabelMap { entries: entries.collect::<Result<_>>()? })
    }
}

impl LabelMap {
    /// The task's names for `names`, a model's own.
    fn rename(&self, role: &str, names: &[String]) -> Result<Vec<String>> {
        let mut renamed: Vec<String> = names.to_vec();
        for entry in self.entries.iter().filter(|e| e.role.as_deref().is_none_or(|r| r == role)) {
            match names.iter().position(|n| key(n) == key(&entry.model_label)) {
                Some(i) => renamed[i] = entry.task_label.clone(),
                // An entry for both models may name a label that only the other has.
                None if entry.role.is_none() => {}
                None => {
                    return Err(usage(format!(
                        "the label map names `{}`, and the {role}'s labels are [{}]",
                        entry.model_label,
                        names.join(", ")
                    )))
                }
            }
        }
        Ok(renamed)
    }

    fn concerns(&self, role: &str) -> bool {
        self.entries.iter().any(|e| e.role.as_deref().is_none_or(|r| r == role))
    }
}

/// Names are compared without regard to case, spaces, hyphens and underscores.
fn key(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// For each label of the task, the model's column: `columns[task label] = model label`.
///
/// `model_names` is `None` where the model's labels have ids alone; then they are taken in the
/// task's order, unless `map` says otherwise. `outputs` is the model's K.
///
/// # Errors
/// Another number of labels, or other names, with the remedy.
pub fn align(
    role: &str,
    source: &str,
    model_names: Option<&[String]>,
    outputs: usize,
    task: &str,
    task_names: &[String],
    map: &LabelMap,
) -> Result<Vec<usize>> {
    let ids: Vec<String> = (0..outputs).map(|i| format!("LABEL_{i}")).collect();
    let names = model_names.unwrap_or(&ids);
    if names.len() != outputs || outputs != task_names.len() {
        return Err(hinted(
            format!(
                "{role} `{source}` has {outputs} labels [{}], and the task {task} has {} [{}]",
                names.join(", "),
                task_names.len(),
                task_names.join(", ")
            ),
            "is this a checkpoint of another task?",
        ));
    }
    if model_names.is_none() && !map.concerns(role) {
        return Ok((0..outputs).collect());
    }
    let renamed = map.rename(role, names)?;
    let places: BTreeMap<String, usize> =
        renamed.iter().enumerate().map(|(i, n)| (key(n), i)).collect();
    let columns: Option<Vec<usize>> =
        task_names.iter().map(|n| places.get(&key(n)).copied()).collect();
    columns.filter(|_| places.len() == outputs).ok_or_else(|| {
        let example = names[0].clone() + "=" + &task_names[0];
        hinted(
            format!(
                "{role} `{source}` and the task {task} name different labels: [{}] against [{}]",
                renamed.join(", "),
                task_names.join(", ")
            ),
            format!(
                "if they mean the same, say which is which: --label-map {role}:{example},…; \
                 otherwise this is a checkpoint of another task"
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| s.to_string()).collect()
    }

    fn columns(model: Option<&[&str]>, task: &[&str], map: &str) -> Result<Vec<usize>> {
        let map = if map.is_empty() { LabelMap::default() } else { map.parse()? };
        let model = model.map(names);
        align("student", "m", model.as_deref(), task.len(), "t", &names(task), &map)
    }

    const MNLI: [&str; 3] = ["entailment", "neutral", "contradiction"];

    #[test]
    fn names_decide_over_ids() {
        let order = columns(Some(&["CONTRADICTION", "neutral", "Entailment"]), &MNLI, "").unwrap();
        assert_eq!(order, [2, 1, 0]);
    }

    #[test]
    fn ids_are_taken_in_order_unless_mapped() {
        assert_eq!(columns(None, &MNLI, "").unwrap(), [0, 1, 2]);
        let map = "LABEL_0=contradiction,LABEL_1=entailment,LABEL_2=neutral";
        assert_eq!(columns(None, &MNLI, map).unwrap(), [1, 2, 0]);
    }

    #[test]
    fn other_names_are_refused_with_the_remedy() {
        let error = columns(Some(&["neg", "pos"]), &["negative", "positive"], "").unwrap_err();
        assert!(error.to_string().contains("--label-map student:neg=negative"), "{error}");
        let map = "student:neg=negative,pos=positive";
        assert_eq!(columns(Some(&["neg", "pos"]), &["negative", "positive"], map).unwrap(), [0, 1]);
    }

    #[test]
    fn a_map_must_name_labels_that_exist_and_leave_each_task_label_once() {
        assert!(columns(None, &MNLI, "student:LABEL_7=neutral").is_err());
        assert!(columns(None, &MNLI, "LABEL_0=neutral,LABEL_1=neutral,LABEL_2=entailment").is_err());
        assert!("a:b=c".parse::<LabelMap>().is_err() && "a".parse::<LabelMap>().is_err());
    }

    #[test]
    fn another_number_of_labels_is_another_task() {
        let model = names(&["a", "b"]);
        let map = LabelMap::default();
        let error =
            align("teacher", "m", Some(&model), 2, "mnli", &names(&MNLI), &map).unwrap_err();
        assert!(error.to_string().contains("another task"));
    }

    #[test]
    fn ids_are_no_names() {
        assert!(are_ids(&names(&["LABEL_0", "LABEL_1"])) && are_ids(&names(&["0", "1"])));
        assert!(!are_ids(&names(&["LABEL_1", "LABEL_0"])));
    }
}
