//! One model's predictions of the examples of a split: joined by a column of ids, else by row.

use std::collections::HashMap;

use anyhow::{bail, Result};

use super::examples::{cut, shown_name, ExampleColumn, ID, IDS, INDICES};
use super::pair::JoinedBy;
use super::read::PredictionFile;
use crate::error::{failure, Diagnostic};
use crate::task::{label_ids, Dataset, IdColumn, TaskSpec};

/// The row of the table for each example of a split (N).
type RowOrder = Vec<usize>;

impl PredictionFile {
    /// Whether the table has the text columns of `task`.
    pub fn has_texts(&self, task: &TaskSpec) -> bool {
        self.text_layout(task).is_some()
    }

    /// The names of the files, for a message.
    pub fn source(&self) -> String {
        self.files.iter().map(|file| file.name()).collect::<Vec<_>>().join("`, `")
    }

    /// The predictions of the examples of `split`, a split of `task`, in its order. `split` was loaded
    /// with the columns [`IDS`].
    ///
    /// # Errors
    /// Another number of rows, ids that are not those of the split or that may be two things, rows
    /// whose text or true label is another.
    pub fn of_split(self, split: &Dataset, task: &TaskSpec) -> Result<(Self, JoinedBy)> {
        self.require_same_label_order(split)?;
        let (joined, order) = match self.order_by_ids(split)? {
            Some((column, order)) => (JoinedBy::Column(column), order),
            None => (JoinedBy::Rows, self.order_by_row(split)?),
        };
        let file = self.reordered(&order);
        file.refuse_other_texts(split, task, &joined)?;
        file.refuse_other_labels(split, &joined)?;
        Ok((file, joined))
    }

    /// The predictions of the examples of `split`, which was read from the same table.
    ///
    /// # Errors
    /// Labels whose order is not known.
    pub fn of_itself(self, split: &Dataset) -> Result<Self> {
        self.require_same_label_order(split)?;
        let first: RowOrder = (0..split.examples.len()).collect();
        let file = self.reordered(&first);
        file.refuse_other_labels(split, &JoinedBy::Rows)?;
        Ok(file)
    }

    fn text_layout<'t>(&self, task: &'t TaskSpec) -> Option<&'t Vec<String>> {
        let layouts = task.text_layouts().iter();
        layouts.rev().find(|names| names.iter().all(|name| self.example(name).is_some()))
    }

    /// Labels of the split by id have the order of the table's columns only if these are ids too.
    fn require_same_label_order(&self, split: &Dataset) -> Result<()> {
        let count = self.label_names.len();
        if let Some(i) =
            split.examples.iter().position(|e| e.label.is_some_and(|l| l as usize >= count))
        {
            bail!(failure!(
                "example {i} of {}/{} has the label {}, and `{}` has the labels 0 to {}",
                split.task,
                split.split,
                split.examples[i].label.unwrap_or_default(),
                self.source(),
                count - 1
            ));
        }
        let is_known = !split.label_names.is_empty() || split.unlabelled.is_some();
        if is_known || label_ids(&self.own_labels).is_some() {
            return Ok(());
        }
        bail!(failure!(
            "the labels of {}/{} are ids, and the columns of `{}` name labels: their order is not known",
            split.task,
            split.split,
            self.source()
        )
        .hint("give the task `labels`, the names in the order of their ids"))
    }

    /// The column of ids that joins the rows, and their order.
    ///
    /// # Errors
    /// A column `id` that names none of the examples, or two different orders.
    fn order_by_ids(&self, split: &Dataset) -> Result<Option<(String, RowOrder)>> {
        let positions = positions(split);
        let mut found: Vec<(String, RowOrder)> = Vec::new();
        for name in IDS {
            let Some(column) = self.example(name).filter(|c| c.values().is_some()) else {
                continue;
            };
            let own = split.ids.iter().find(|own| own.name == name).and_then(all_ids);
            let of_data = own.and_then(|own| order_of(&own, column, split));
            found.extend(of_data.map(|order| (name.to_owned(), order)));
            if name == ID {
                let by_position = order_of(&positions, column, split);
                found.extend(by_position.map(|order| (name.to_owned(), order)));
            }
        }
        let first = found.first().cloned();
        match found.iter().find(|(_, order)| Some(order) != first.as_ref().map(|(_, order)| order)) {
            Some((other, _)) => bail!(failure!(
                "`{}`: its ids name the examples of {}/{} in two orders: column `{}` by one, column \
                 `{other}` by the other",
                self.source(),
                split.task,
                split.split,
                found[0].0
            )
            .hint(
                "numbers from 0 may be positions or the data's own ids: leave one column out of the \
                 table; call the data's own ids `example_id` in both files"
            )),
            None if first.is_none() => self.refuse_unknown_ids(split).map(|()| None),
            None => Ok(first),
        }
    }

    /// Refuses ids that do not name the examples: rows in order would contradict them.
    fn refuse_unknown_ids(&self, split: &Dataset) -> Result<()> {
        for name in IDS {
            let Some(column) = self.example(name).filter(|c| c.values().is_some()) else {
                continue;
            };
            match split.ids.iter().find(|own| own.name == name).and_then(all_ids) {
                Some(own) => bail!(self.other_ids(column, &own, split)),
                None if name == ID => {
                    let (positions, given) = (positions(split), by_value(column));
                    bail!(match positions.iter().all(|at| given.contains_key(at.as_str())) {
                        true => self.other_ids(column, &positions, split),
                        false => self.no_positions(column, split),
                    })
                }
                None => {}
            }
        }
        Ok(())
    }

    /// The error of ids in `column` that are not those of the examples, `own`.
    fn other_ids(&self, column: &ExampleColumn, own: &[String], split: &Dataset) -> Diagnostic {
        let (task, name, source) = (&split.task, &split.split, self.source());
        let given = by_value(column);
        match own.iter().position(|id| !given.contains_key(id.as_str())) {
            Some(i) => failure!(
                "`{source}`, {}: no row has `{}`, the id of example {i} of {task}/{name}",
                shown_name(&column.name),
                cut(&own[i])
            )
            .hint("the table needs one row for each example"),
            None => failure!(
                "`{source}` has {} rows, and {task}/{name} has {} examples",
                column.cells.len(),
                split.available
            )
            .hint("the table needs one row for each example, and no other"),
        }
    }

    /// The error of a column `id` that has neither ids of the data nor positions.
    fn no_positions(&self, column: &ExampleColumn, split: &Dataset) -> Diagnostic {
        failure!(
            "`{}`: the column `id` (`{}`, …) does not name the examples of {}/{}: they have no such \
             ids, and their positions are 0 to {}",
            self.source(),
            cut(column.cells[0].as_deref().unwrap_or_default()),
            split.task,
            split.split,
            split.examples.len() - 1
        )
        .hint(
            "write the position of each example, from 0, as `audit predict` does; or leave the column \
             out if the rows are in the order of the examples"
        )
    }

    fn order_by_row(&self, split: &Dataset) -> Result<RowOrder> {
        let (rows, n) = (self.labels.len(), split.examples.len());
        self.refuse_turned_index(split)?;
        if rows == n || rows == split.available {
            return Ok((0..n).collect());
        }
        bail!(failure!(
            "`{}` has {rows} rows, and {}/{} has {} examples",
            self.source(),
            split.task,
            split.split,
            split.available
        )
        .hint(
            "the table needs one row for each example, in their order, or an `id` column with the \
             position of each example, from 0"
        ))
    }

    /// Refuses an index of pandas, or ids, that number the rows in another order.
    fn refuse_turned_index(&self, split: &Dataset) -> Result<()> {
        let in_order: Vec<Option<String>> =
            (0..self.labels.len()).map(|i| Some(i.to_string())).collect();
        let is_turned = |column: &&ExampleColumn| {
            let mut sorted: Vec<Option<usize>> =
                column.cells.iter().map(|cell| cell.as_ref()?.parse().ok()).collect();
            sorted.sort_unstable();
            column.cells != in_order && sorted.into_iter().eq((0..in_order.len()).map(Some))
        };
        let mut numbered = INDICES.iter().chain(&IDS).filter_map(|name| self.example(name));
        let Some(turned) = numbered.find(is_turned) else { return Ok(()) };
        bail!(failure!(
            "`{}`: {} numbers the rows in another order: either they are not in the order of the \
             examples of {}/{}, or the index was made before the data were sorted",
            self.source(),
            shown_name(&turned.name),
            split.task,
            split.split
        )
        .hint(
            "call the column `id` if it has the position of each example; leave it out if the rows are \
             in the order of the examples"
        ))
    }

    /// Fails at the first row whose text is that of another example. Its rows are those of `split`.
    fn refuse_other_texts(
        &self,
        split: &Dataset,
        task: &TaskSpec,
        joined: &JoinedBy,
    ) -> Result<()> {
        let Some(names) = self.text_layout(task) else { return Ok(()) };
        let by_row = *joined == JoinedBy::Rows;
        let examples = || split.examples.iter();
        let first = examples().map(|e| Some(e.text.clone())).collect();
        let second = examples().map(|e| e.pair.clone()).collect();
        for (name, cells) in names.iter().zip([first, second]) {
            let (own, given) = (ExampleColumn { name: name.clone(), cells }, self.example(name));
            let Some(given) = given else { continue };
            if let Some(row) = own.first_of_another_example(given, by_row) {
                let [ours, theirs] =
                    [&own, given].map(|it| cut(it.cells[row].as_deref().unwrap_or_default()));
                bail!(failure!(
                    "{}, {}: `{theirs}`, and example {row} of {}/{} has `{ours}`",
                    self.places[row],
                    shown_name(name),
                    split.task,
                    split.split
                )
                .hint(how_to_join(joined)));
            }
        }
        Ok(())
    }

    /// Fails at the first row whose true label is another. Its rows are those of `split`.
    fn refuse_other_labels(&self, split: &Dataset, joined: &JoinedBy) -> Result<()> {
        for (row, example) in split.examples.iter().enumerate() {
            let (Some(ours), Some(theirs)) = (example.label, self.labels[row]) else { continue };
            if ours != theirs {
                let [ours, theirs] = [ours, theirs].map(|id| &self.label_names[id as usize]);
                bail!(failure!(
                    "{} has the label `{theirs}`, and example {row} of {}/{} has `{ours}`",
                    self.places[row],
                    split.task,
                    split.split
                )
                .hint(format!(
                    "{}; if the column `label` is the predicted label, call it `predicted`",
                    how_to_join(joined)
                )));
            }
        }
        Ok(())
    }
}

fn how_to_join(joined: &JoinedBy) -> String {
    match joined {
        JoinedBy::Column(name) => format!(
            "the rows were joined by {}: its values are of other examples, or the table is of other data",
            shown_name(name)
        ),
        JoinedBy::Rows => "the rows are taken in the order of the examples: sort them so, or give the \
                           table an `id` column with the position of each example, from 0"
            .to_owned(),
    }
}

/// The position of each example, as an id.
fn positions(split: &Dataset) -> Vec<String> {
    (0..split.examples.len()).map(|i| i.to_string()).collect()
}

/// The ids of all examples; `None` if one is empty.
fn all_ids(column: &IdColumn) -> Option<Vec<String>> {
    column.ids.iter().cloned().collect()
}

fn by_value(column: &ExampleColumn) -> HashMap<&str, usize> {
    column.cells.iter().flatten().map(String::as_str).zip(0..).collect()
}

/// The row of each id of `wanted` (N), which are all different; `None` if one is missing. Rows of other
/// ids are those of examples that a limit left out.
fn order_of(wanted: &[String], given: &ExampleColumn, split: &Dataset) -> Option<RowOrder> {
    let rows = by_value(given);
    let order: Option<RowOrder> = wanted.iter().map(|id| rows.get(id.as_str()).copied()).collect();
    let order = order?;
    let mut used = vec![false; given.cells.len()];
    let is_new = |&row: &usize| !std::mem::replace(&mut used[row], true);
    let fits = [wanted.len(), split.available].contains(&given.cells.len());
    (fits && order.iter().all(is_new)).then_some(order)
}
