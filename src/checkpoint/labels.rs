//! Assigns a model's outputs to the task's labels, by name if there are names.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use anyhow::{bail, Result};

use crate::error::{failure, usage};
use crate::task::{label_ids, listed, LabelIndex};

/// `--label-map`: the task's names for some of a model's labels.
///
/// Written `MODEL_LABEL=TASK_LABEL,…`, for both models; `teacher:` or `student:` before an entry
/// limits it to one. A label without a name is `LABEL_0`, `LABEL_1`, ….
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelMap {
    entries: Vec<LabelMapEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct LabelMapEntry {
    role: Option<String>,
    model_label: String,
    task_label: String,
}

impl FromStr for LabelMap {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |part: &str| {
            usage!("`{part}` in the label map is not MODEL_LABEL=TASK_LABEL").hint("for example `LABEL_0=negative,LABEL_1=positive`, or `student:NEG=negative,student:POS=positive`").into()
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
            Ok(LabelMapEntry { role, model_label, task_label })
        });
        let entries: Vec<LabelMapEntry> = entries.collect::<Result<_>>()?;
        let mut known = HashSet::new();
        for entry in &entries {
            if !known.insert((&entry.role, &entry.model_label)) {
                bail!(usage!("the label map maps `{}` twice", entry.model_label));
            }
        }
        Ok(LabelMap { entries })
    }
}

/// As parsed: `teacher:NEG=negative,teacher:POS=positive`.
impl fmt::Display for LabelMap {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (i, LabelMapEntry { role, model_label, task_label }) in self.entries.iter().enumerate()
        {
            let comma = if i == 0 { "" } else { "," };
            let role = role.as_ref().map(|role| format!("{role}:")).unwrap_or_default();
            write!(f, "{comma}{role}{model_label}={task_label}")?;
        }
        Ok(())
    }
}

impl LabelMap {
    /// Replaces a model's `names` by the task's.
    ///
    /// # Errors
    /// An entry for `role` only that names none of them.
    pub fn rename(&self, role: &str, names: &[String]) -> Result<Vec<String>> {
        let mut renamed: Vec<String> = names.to_vec();
        let index = LabelIndex::new(names);
        for entry in self.entries.iter().filter(|e| e.concerns(role)) {
            match index.find(&entry.model_label) {
                Some(i) => renamed[i] = entry.task_label.clone(),
                // An entry for both models may name a label that only the other has.
                None if entry.role.is_none() => {}
                None => return Err(entry.names_nothing(&format!("the {role}'s labels"), names)),
            }
        }
        Ok(renamed)
    }

    /// The entries for `role`, limited to it.
    pub fn only(&self, role: &str) -> LabelMap {
        let concerning = self.entries.iter().filter(|entry| entry.concerns(role)).cloned();
        let alone = concerning.map(|entry| LabelMapEntry { role: Some(role.to_owned()), ..entry });
        LabelMap { entries: alone.collect() }
    }

    /// The entries for `role`: a label of the model, and the task's name.
    pub fn entries(&self, role: &str) -> Vec<(&str, &str)> {
        let concerning = self.entries.iter().filter(|entry| entry.concerns(role));
        concerning.map(|e| (e.model_label.as_str(), e.task_label.as_str())).collect()
    }

    /// Fails if an entry is for the teacher or the student only: a model run alone is neither, and the
    /// entry would be ignored silently.
    ///
    /// # Errors
    /// The first such entry.
    pub fn refuse_roles(&self) -> Result<()> {
        let with_role = self.entries.iter().find_map(|e| e.role.as_ref().map(|role| (role, e)));
        let Some((role, entry)) = with_role else { return Ok(()) };
        bail!(usage!(
            "the label map has `{role}:{}={}`, but a model that is run alone is not a {role}",
            entry.model_label,
            entry.task_label
        )
        .hint("pass --label-map with the entries of this model, without `teacher:` and `student:`"))
    }

    /// Fails if an entry for both models names a label that neither has.
    ///
    /// # Errors
    /// The first such entry, with the models' labels.
    pub fn check_used(&self, teacher: &[String], student: &[String]) -> Result<()> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let indices = [teacher, student].map(LabelIndex::new);
        for entry in self.entries.iter().filter(|e| e.role.is_none()) {
            if indices.iter().all(|index| index.find(&entry.model_label).is_none()) {
                let all: Vec<String> = teacher.iter().chain(student).cloned().collect();
                return Err(entry.names_nothing("the models' labels", &all));
            }
        }
        Ok(())
    }
}

impl LabelMapEntry {
    fn concerns(&self, role: &str) -> bool {
        self.role.as_deref().is_none_or(|r| r == role)
    }

    fn names_nothing(&self, whose: &str, names: &[String]) -> anyhow::Error {
        usage!("the label map names `{}`, and {whose} are [{}]", self.model_label, listed(names))
            .hint("a label without a name is LABEL_0, LABEL_1, …")
            .into()
    }
}

/// For each label of the task, the model's column: `columns[task label] = model label`.
///
/// By name; if the model's labels (after `map`) are only ids, by id.
///
/// # Errors
/// Another number of labels, or other names, with the remedy.
pub fn align(
    role: &str,
    source: &str,
    model_names: &[String],
    task: &str,
    task_names: &[String],
    map: &LabelMap,
) -> Result<Vec<usize>> {
    if model_names.len() != task_names.len() {
        bail!(failure!(
            "{role} `{source}` has {} labels [{}], and the task {task} has {} [{}]",
            model_names.len(),
            listed(model_names),
            task_names.len(),
            listed(task_names)
        )
        .hint("is this a checkpoint of another task?"));
    }
    let renamed = map.rename(role, model_names)?;
    // A model that is run alone needs no scope.
    let scope = if role == "model" { String::new() } else { format!("{role}:") };
    by_name(&renamed, task_names).or_else(|| by_id(&renamed)).ok_or_else(|| {
        failure!(
            "{role} `{source}` and the task {task} name different labels: [{}] against [{}]",
            listed(&renamed),
            listed(task_names)
        )
        .hint(format!(
            "if they mean the same, assign them: --label-map {scope}{}={},…; otherwise \
                 this is a checkpoint of another task",
            model_names[0], task_names[0]
        ))
        .into()
    })
}

fn by_name(model_names: &[String], task_names: &[String]) -> Option<Vec<usize>> {
    let index = LabelIndex::new(model_names);
    let columns: Vec<usize> =
        task_names.iter().map(|name| index.find(name)).collect::<Option<_>>()?;
    let mut found = vec![false; columns.len()];
    columns.iter().for_each(|&column| found[column] = true);
    found.iter().all(|found| *found).then_some(columns)
}

fn by_id(model_names: &[String]) -> Option<Vec<usize>> {
    let mut columns = vec![0; model_names.len()];
    label_ids(model_names)?.into_iter().enumerate().for_each(|(column, id)| columns[id] = column);
    Some(columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::rendered;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| s.to_string()).collect()
    }

    fn columns(model: Option<&[&str]>, task: &[&str], map: &str) -> Result<Vec<usize>> {
        let map = if map.is_empty() { LabelMap::default() } else { map.parse()? };
        let ids: Vec<String> = (0..task.len()).map(|i| format!("LABEL_{i}")).collect();
        align("student", "m", &model.map_or(ids, names), "t", &names(task), &map)
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
        assert!(rendered(&error).contains("--label-map student:neg=negative"), "{error}");
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
        let error = align("teacher", "m", &model, "mnli", &names(&MNLI), &map).unwrap_err();
        assert!(rendered(&error).contains("another task"));
    }

    #[test]
    fn ids_in_another_order_stay_ids() {
        let model = ["LABEL_1", "LABEL_0"];
        assert_eq!(columns(Some(&model), &["negative", "positive"], "").unwrap(), [1, 0]);
    }

    #[test]
    fn as_many_labels_as_may_be_are_aligned_and_twenty_are_printed() {
        let model: Vec<String> = (0..1 << 16).rev().map(|i| format!("Name {i}")).collect();
        let task: Vec<String> = (0..1 << 16).map(|i| format!("name {i}")).collect();
        let map = LabelMap::default();
        let columns = align("student", "m", &model, "t", &task, &map).unwrap();
        assert!(columns.iter().enumerate().all(|(i, column)| i + column == 65_535));
        let other: Vec<String> = (0..1 << 16).map(|i| format!("other {i}")).collect();
        let error = rendered(&align("student", "m", &other, "t", &task, &map).unwrap_err());
        assert!(error.contains("other 19, …]") && error.len() < 2000, "{error}");
    }

    #[test]
    fn labels_that_are_punctuation_are_distinguished() {
        assert_eq!(columns(Some(&["+", "-"]), &["-", "+"], "").unwrap(), [1, 0]);
    }

    #[test]
    fn an_entry_that_names_nothing_is_refused() {
        let map: LabelMap = "neg=negative,POS=positive".parse().unwrap();
        let (known, other) = (names(&["neg", "pos"]), names(&["negative", "positive"]));
        map.check_used(&known, &other).unwrap();
        assert!(map.check_used(&other, &other).unwrap_err().to_string().contains("`neg`"));
        assert!("a=b,a=c".parse::<LabelMap>().is_err());
    }
}
