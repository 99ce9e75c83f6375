//! Rows of cells → examples.

use anyhow::{bail, Result};

use super::labels::{label_ids, listed, LabelIndex, LabelReader, MOST_LABELS};
use super::load::LoadOptions;
use super::readers::{Cell, DataFile, RowSink, TableHeader};
use super::spec::{TaskSource, TaskSpec};
use super::spelling::did_you_mean;
use super::{Example, IdColumn, SkippedRow};
use crate::error::{failure, FileLocation};

/// Gathers the examples of one split from its files.
pub(super) struct Collector<'a> {
    spec: &'a TaskSpec,
    split: &'a str,
    limit: usize,
    pub(super) label_names: Vec<String>,
    pub(super) examples: Vec<Example>,
    /// Columns of ids that a file has, with an id or `None` for each example.
    pub(super) ids: Vec<IdColumn>,
    wanted_ids: &'a [&'a str],
    pub(super) available: usize,
    pub(super) skipped: Vec<SkippedRow>,
    /// Why no row has a label, if a file has no label column.
    pub(super) unlabelled: Option<String>,
    current: Current,
}

/// The file being read.
#[derive(Default)]
struct Current {
    text: Vec<String>,
    label: Option<(String, LabelReader)>,
    /// Its columns of ids, as positions among those of all files.
    ids: Vec<usize>,
}

/// Maximum number of rows that cannot be used; each is kept with its reason.
const MOST_SKIPPED: usize = 1 << 20;

impl<'a> Collector<'a> {
    pub(super) fn new(spec: &'a TaskSpec, split: &'a str, options: &LoadOptions<'a>) -> Self {
        Collector {
            spec,
            split,
            limit: options.limit.unwrap_or(usize::MAX),
            label_names: spec.label_names.clone(),
            examples: Vec::new(),
            ids: Vec::new(),
            wanted_ids: options.ids,
            available: 0,
            skipped: Vec::new(),
            unlabelled: None,
            current: Current::default(),
        }
    }

    fn text_columns(&self, file: &DataFile, columns: &[String]) -> Result<&'a [String]> {
        let alternatives = &self.spec.columns.text;
        let has = |names: &&Vec<String>| names.iter().all(|name| columns.contains(name));
        if let Some(names) = alternatives.iter().find(has) {
            return Ok(names);
        }
        let wanted = |names: &Vec<String>| format!("`{}`", names.join("`, `"));
        let first = &alternatives[0];
        let absent = first.iter().find(|name| !columns.contains(name)).unwrap_or(&first[0]);
        let guess = did_you_mean(absent, columns.iter().map(String::as_str));
        bail!(failure!(
            "`{}` lacks the text columns of `{}`: {}",
            file.name,
            self.spec.name,
            alternatives.iter().map(wanted).collect::<Vec<_>>().join(" or ")
        )
        .hint(format!("{guess}its columns are [{}]", listed(columns))))
    }

    fn label_column(&self, file: &DataFile, columns: &[String]) -> Result<Option<&'a String>> {
        let wanted = &self.spec.columns.label;
        let found = wanted.iter().find(|name| columns.contains(name));
        // Test splits are often unlabelled; elsewhere a missing column is a typing error.
        if found.is_none() && self.spec.columns.label_expected && self.split != "test" {
            let guess = did_you_mean(&wanted[0], columns.iter().map(String::as_str));
            bail!(failure!("`{}` has no label column `{}`", file.name, wanted[0]).hint(format!(
                "{guess}its columns are [{}]; leave `label` out to audit without labels",
                listed(columns)
            )));
        }
        Ok(found)
    }

    /// Sets the names of the label ids: the task's, else the file's own.
    fn adopt_names(&mut self, file: &DataFile, in_file: Option<&Vec<String>>) -> Result<()> {
        let Some(in_file) = in_file.filter(|_| self.spec.label_names.is_empty()) else {
            return Ok(());
        };
        if in_file.len() > MOST_LABELS {
            let count = in_file.len();
            bail!("`{}` names {count} labels, and the limit is {MOST_LABELS}", file.name);
        }
        if self.label_names.is_empty() && self.available == 0 {
            self.label_names = in_file.clone();
        } else if self.label_names != *in_file {
            bail!(
                "`{}` names its labels [{}], the files before it [{}]",
                file.name,
                listed(in_file),
                listed(&self.label_names)
            );
        }
        Ok(())
    }

    /// Refuses a file whose label names are not the built-in task's: it is of another task, or has
    /// another order that only the user knows. Labels named in a config are not checked.
    fn refuse_other_names(&self, file: &DataFile, in_file: Option<&Vec<String>>) -> Result<()> {
        let Some(names) = in_file.filter(|names| label_ids(names).is_none()) else { return Ok(()) };
        let index = LabelIndex::new(&self.label_names);
        let known = names.iter().all(|name| index.find(name).is_some());
        if known || !matches!(self.spec.source, TaskSource::Glue(_)) {
            return Ok(());
        }
        bail!(failure!(
            "`{}` names the labels [{}], and the task {} has [{}]",
            file.name,
            listed(names),
            self.spec.name,
            listed(&self.label_names)
        )
        .hint("describe the file as a task of your own, with `labels` in the order of its ids"))
    }

    /// The columns of ids among `columns`, as positions among those of all files.
    fn id_columns(&mut self, columns: &[String]) -> Vec<usize> {
        let present = self.wanted_ids.iter().filter(|name| columns.iter().any(|c| c == *name));
        let mut found = Vec::new();
        for name in present {
            let known = self.ids.iter().position(|column| column.name == **name);
            found.push(known.unwrap_or_else(|| {
                let ids = vec![None; self.examples.len()];
                self.ids.push(IdColumn { name: (*name).to_owned(), ids });
                self.ids.len() - 1
            }));
        }
        found
    }

    fn skip(&mut self, file: &DataFile, line: usize, reason: String) -> Result<()> {
        if self.skipped.len() == MOST_SKIPPED {
            bail!(failure!("more than {MOST_SKIPPED} rows cannot be used; this one: {reason}")
                .hint("the file is damaged, or its format is another than its name says")
                .at(file.line(line)));
        }
        self.skipped.push(SkippedRow { file: file.name.clone(), line, reason });
        Ok(())
    }
}

impl RowSink for Collector<'_> {
    fn header(&mut self, file: &DataFile, header: &TableHeader) -> Result<Vec<usize>> {
        let columns = header.columns;
        let text = self.text_columns(file, columns)?;
        let label = self.label_column(file, columns)?;
        let in_file = label.and_then(|label| header.class_names.get(label));
        self.adopt_names(file, in_file)?;
        if label.is_none() {
            let why = match self.spec.columns.label.first() {
                Some(name) => format!("`{}` has no column `{name}`", file.name),
                None => format!("task `{}` names no label column", self.spec.name),
            };
            self.unlabelled.get_or_insert(why);
        }
        self.refuse_other_names(file, in_file)?;
        let reader = LabelReader::new(&self.label_names, in_file);
        let ids = self.id_columns(columns);
        let index = |name: &String| {
            columns.iter().position(|column| column == name).expect("found among the columns")
        };
        let named = ids.iter().map(|&column| &self.ids[column].name);
        let wanted = text.iter().chain(label).chain(named).map(index).collect();
        let label = label.map(|name| (name.clone(), reader));
        self.current = Current { text: text.to_vec(), label, ids };
        Ok(wanted)
    }

    fn row(&mut self, file: &DataFile, line: usize, cells: Vec<Cell>) -> Result<()> {
        let mut cells = cells.into_iter();
        let mut texts = Vec::with_capacity(2);
        for (column, cell) in self.current.text.iter().zip(cells.by_ref()) {
            match cell {
                Cell::Text(text) => texts.push(text),
                other => {
                    let reason = format!("column `{column}` holds {}", other.kind());
                    return self.skip(file, line, reason);
                }
            }
        }
        let mut label = None;
        if let Some(((column, reader), cell)) =
            self.current.label.as_ref().and_then(|known| Some((known, cells.next()?)))
        {
            if cell == Cell::Missing {
                let reason = format!("column `{column}` holds {}", cell.kind());
                return self.skip(file, line, reason);
            }
            label = reader.read(&cell).map_err(|wrong| {
                wrong.at(FileLocation { column: Some(column.clone()), ..file.line(line) })
            })?;
        }
        self.available += 1;
        if self.examples.len() < self.limit {
            let mut texts = texts.into_iter();
            let text = texts.next().expect("a task has a text column");
            self.examples.push(Example { text, pair: texts.next(), label });
            for (&column, cell) in self.current.ids.iter().zip(cells) {
                self.ids[column].ids.push(cell.text());
            }
            // Those that this file lacks.
            for column in &mut self.ids {
                column.ids.resize(self.examples.len(), None);
            }
        }
        Ok(())
    }

    fn broken(&mut self, file: &DataFile, line: usize, reason: String) -> Result<()> {
        self.skip(file, line, reason)
    }
}
