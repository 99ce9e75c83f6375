//! A teacher that is a table: its predictions on the splits of a training.

use std::collections::BTreeMap;

use anyhow::{bail, ensure, Context, Result};
use sha2::{Digest, Sha256};

use super::data::{read_validation, Splits};
use super::recipe::{Recipe, Stage, TeacherPredictions};
use super::record::{RecordedTable, TableScores};
use super::term::Term;
use crate::audit::{load_table, load_with_ids, GivenTeacher, Session};
use crate::confidence::Predictions;
use crate::config::Settings;
use crate::digest::hexadecimal;
use crate::error::{failure, message_and_hint, usage};
use crate::inference::Logits;
use crate::input::InputFile;
use crate::predictions::{read_predictions, JoinedBy, PredictionFile, PredictionOptions, IDS};
use crate::report::schema::ModelManifest;
use crate::task::table::expand_patterns;
use crate::task::Dataset;

/// The logit of a probability of 0, less than that of any f32: ln 2⁻¹⁴⁹. At temperature 1 the softmax in
/// f32 is 0 or the smallest number above it, and a term p·ln p is 0 to the last bit of a loss.
const LOGIT_OF_ZERO: f32 = -103.27893;

/// A teacher's predictions.
pub struct TeacherTables {
    /// The task's label names, in its order (K).
    pub label_names: Vec<String>,
    train: SplitTable,
    validation: Option<SplitTable>,
    augmented: Option<SplitTable>,
}

/// The predictions on one split.
struct SplitTable {
    /// (N, K) in the order of the examples and of the task's labels.
    logits: Logits,
    /// Where a probability is 0, if one is.
    zero: Option<String>,
    /// Whether these are probabilities of three decimals or fewer.
    is_rounded: bool,
    recorded: RecordedTable,
}

impl TeacherTables {
    /// Reads the splits of `recipe`, and the teacher's predictions on them in `paths`. A table with the
    /// task's text columns is the training set itself.
    ///
    /// # Errors
    /// A split or a table that is missing or damaged; a table of other examples or other labels, or one
    /// that has only the predicted label.
    pub fn read(
        recipe: &Recipe,
        paths: &TeacherPredictions,
        session: &Session,
    ) -> Result<(Splits, Self)> {
        let settings = &recipe.settings;
        let (train, label_names, on_train) = read_training_set(&paths.train, settings, session)?;
        let validation = read_validation(settings, session, &IDS)?;
        let on_validation = match (&validation, &paths.validation) {
            (Some(split), Some(path)) => {
                Some(SplitTable::of(path, split, &label_names, settings, session)?)
            }
            (None, Some(path)) if expand_patterns(&[path]).is_ok() => bail!(usage!(
                "`teacher_predictions`: `{path}` has predictions on the validation split, and `{}` \
                 has none",
                settings.task.name
            )
            .hint("name the split in the task's `splits`, or leave the table out")),
            _ => None,
        };
        let splits = Splits { train, validation, augmented: None, corpus: None };
        let (train, validation) = (on_train, on_validation);
        Ok((splits, TeacherTables { label_names, train, validation, augmented: None }))
    }

    /// Reads the predictions on the texts that students are trained on in place of the training set.
    ///
    /// # Errors
    /// As [`TeacherTables::read`].
    pub fn read_augmented(
        &mut self,
        recipe: &Recipe,
        texts: &Dataset,
        session: &Session,
    ) -> Result<()> {
        let paths = recipe.teacher_predictions.as_ref().and_then(|it| it.augmented.as_ref());
        let path = paths.context("`augmented` texts without predictions")?;
        let table = SplitTable::of(path, texts, &self.label_names, &recipe.settings, session)?;
        self.augmented = Some(table);
        Ok(())
    }

    /// Its logits on the training set.
    pub fn train(&self) -> &Logits {
        &self.train.logits
    }

    /// Its logits on the validation split, where they are known.
    pub fn validation(&self) -> Option<&Logits> {
        self.validation.as_ref().map(|table| &table.logits)
    }

    /// Its logits on the texts that students are trained on.
    pub fn learned(&self) -> &Logits {
        &self.augmented.as_ref().unwrap_or(&self.train).logits
    }

    /// Refuses a probability of 0 where a loss depends on how small it is: all but `soft` at
    /// temperature 1, where a label of probability 0 adds nothing.
    ///
    /// # Errors
    /// The first such probability.
    pub fn require_known(&self, stages: &[Stage]) -> Result<()> {
        let stage = stages.iter().find_map(|stage| Some((stage.name, reads(stage)?)));
        let zero = self
            .by_split()
            .into_iter()
            .find_map(|(split, table)| table.zero.as_ref().filter(|_| split != "validation"));
        let (Some((stage, reads)), Some(zero)) = (stage, zero) else { return Ok(()) };
        bail!(usage!(
            "{zero}: the probability is 0, and the stage `{stage}` needs its logarithm, which {reads}"
        )
        .hint(format!(
            "write the logits, or probabilities with more digits; or train on `soft` at \
             stage.{stage}.temperature = 1, where a probability of 0 adds nothing"
        )))
    }

    /// A note on rounded probabilities where a loss enlarges what rounding changed.
    pub fn rounding_note(&self, stages: &[Stage]) -> Option<String> {
        let (_, reads) = stages.iter().find_map(|stage| Some((stage.name, reads(stage)?)))?;
        let (split, _) = self.by_split().into_iter().find(|(_, table)| table.is_rounded)?;
        Some(format!(
            "note: the teacher's probabilities of {split} have at most three decimals, and {reads} \
             their logarithms; logits are exact"
        ))
    }

    /// What decides the logits, to compare with those of another training.
    pub fn hashes(&self) -> Vec<String> {
        let of = |(split, table): (&str, &SplitTable)| {
            let values = table.logits.values.iter().flat_map(|logit| logit.to_le_bytes());
            let logits = hexadecimal(&Sha256::digest(values.collect::<Vec<u8>>()));
            [split.to_owned(), table.recorded.sha256.clone(), logits]
        };
        self.by_split().into_iter().flat_map(of).collect()
    }

    /// The tables, as the record has them.
    pub fn recorded(&self) -> BTreeMap<&'static str, RecordedTable> {
        let tables = self.by_split().into_iter();
        tables.map(|(split, table)| (split, table.recorded.clone())).collect()
    }

    /// The teacher of an audit on the training set of `task`.
    pub fn given_teacher(&self, task: &str) -> GivenTeacher {
        let RecordedTable { source, sha256, .. } = &self.train.recorded;
        let manifest = ModelManifest {
            task: task.to_owned(),
            role: "teacher".to_owned(),
            source: source.join(", "),
            labels: self.label_names.clone(),
            label_map: (0..self.label_names.len()).collect(),
            weights_sha256: sha256.clone(),
            ..ModelManifest::default()
        };
        let (logits, label_names) = (self.train.logits.clone(), self.label_names.clone());
        GivenTeacher { logits, label_names, manifest }
    }

    fn by_split(&self) -> Vec<(&'static str, &SplitTable)> {
        let others = [("validation", &self.validation), ("augmented", &self.augmented)];
        let others = others.into_iter().filter_map(|(name, table)| Some((name, table.as_ref()?)));
        std::iter::once(("train", &self.train)).chain(others).collect()
    }
}

/// What makes a stage depend on the size of a small probability's logarithm, if something does.
fn reads(stage: &Stage) -> Option<String> {
    match stage.losses.get(&Term::LOGITS) {
        Some(weight) if *weight > 0.0 => Some("the loss `logits` compares".to_owned()),
        _ if stage.temperature != 1.0 => Some(format!("temperature {} divides", stage.temperature)),
        _ => None,
    }
}

impl SplitTable {
    /// The predictions in the files `path` on the examples of `split`.
    fn of(
        path: &str,
        split: &Dataset,
        label_names: &[String],
        settings: &Settings,
        session: &Session,
    ) -> Result<Self> {
        let within = || format!("`teacher_predictions`, {}", split.split);
        let table = read(path, label_names, settings, session).with_context(within)?;
        Self::joined(table, split, settings, session)
    }

    /// The predictions of `table` on the examples of `split`, joined by ids or by row.
    fn joined(
        table: PredictionFile,
        split: &Dataset,
        settings: &Settings,
        session: &Session,
    ) -> Result<Self> {
        let rows = table.labels.len();
        let (table, joined) = table
            .of_split(split, &settings.task)
            .with_context(|| format!("`teacher_predictions`, {}", split.split))?;
        let how = match &joined {
            JoinedBy::Column(name) => format!("joined by `{name}`"),
            JoinedBy::Rows => "taken in their order".to_owned(),
        };
        session.progress.message(&format!(
            "the teacher's predictions of {}: {rows} rows of `{}`, {how}",
            split.split,
            table.source()
        ));
        Self::new(table, joined, split)
    }

    /// The predictions of `table`, whose rows are the examples of `split`.
    fn new(table: PredictionFile, joined: JoinedBy, split: &Dataset) -> Result<Self> {
        table.files.iter().try_for_each(InputFile::require_unchanged)?;
        let is_rounded = table.logits.is_none() && has_few_decimals(&table.predictions);
        let (logits, zero, scores) = match &table.logits {
            Some(logits) => (logits.clone(), None, TableScores::Logits),
            None => {
                let within = || format!("`teacher_predictions`, {}", split.split);
                let (logits, zero) = logits_of(&table).with_context(within)?;
                (logits, zero, TableScores::Probabilities)
            }
        };
        let recorded = RecordedTable {
            source: table.files.iter().map(|file| file.name().to_owned()).collect(),
            sha256: table.sha256,
            examples: split.examples.len(),
            scores,
            joined_by: match joined {
                JoinedBy::Column(name) => Some(name),
                JoinedBy::Rows => None,
            },
        };
        Ok(SplitTable { logits, zero, is_rounded, recorded })
    }
}

/// The training set, the task's label names, and the predictions in the files `path`.
fn read_training_set(
    path: &str,
    settings: &Settings,
    session: &Session,
) -> Result<(Dataset, Vec<String>, SplitTable)> {
    let within = "`teacher_predictions`";
    let table = read(path, &settings.task.label_names, settings, session).context(within)?;
    if !table.has_texts(&settings.task) {
        let train = load_with_ids("train", settings, &session.hub, &IDS)?;
        let table = named_by(table, &train, path, settings, session)?;
        let label_names = table.label_names.clone();
        let table = SplitTable::joined(table, &train, settings, session)?;
        return Ok((train, label_names, table));
    }
    let train = texts_of(&table, settings, session)?;
    session.progress.message(&format!(
        "the training set is the {} texts of `{}`",
        train.examples.len(),
        table.source()
    ));
    let table = named_by(table, &train, path, settings, session)?;
    let label_names = table.label_names.clone();
    let table = table.of_itself(&train).context(within)?;
    let table = SplitTable::new(table, JoinedBy::Rows, &train)?;
    Ok((train, label_names, table))
}

/// Reads the tables that `path` matches, over the labels `label_names`.
fn read(
    path: &str,
    label_names: &[String],
    settings: &Settings,
    session: &Session,
) -> Result<PredictionFile> {
    let options = PredictionOptions {
        task: &settings.task.name,
        labels: label_names,
        texts: &settings.task.text_columns(),
        label_map: &settings.label_map,
        normalise: false,
        interrupt: &session.interrupt,
    };
    read_predictions("teacher", &[path.to_owned()], &options).map_err(|error| {
        match message_and_hint(&error) {
            // A flag of `audit check`.
            (why, Some(hint)) if hint.contains("--normalise") => {
                failure!("{why}").hint("they look rounded: write more digits, or logits").into()
            }
            _ => error,
        }
    })
}

/// `table` with the label names that the data of `split` gives, where the task names none.
fn named_by(
    table: PredictionFile,
    split: &Dataset,
    path: &str,
    settings: &Settings,
    session: &Session,
) -> Result<PredictionFile> {
    if split.label_names.is_empty() || split.label_names == table.label_names {
        return Ok(table);
    }
    let named = read(path, &split.label_names, settings, session)?;
    ensure!(named.sha256 == table.sha256, "`{path}` was written to while it was read");
    Ok(named)
}

/// The texts of `table`, with their labels where it has some, as the training set.
///
/// # Errors
/// A row without a text.
fn texts_of(table: &PredictionFile, settings: &Settings, session: &Session) -> Result<Dataset> {
    let paths: Vec<_> = table.files.iter().map(|file| file.name().into()).collect();
    let texts = load_table("train", &paths, settings, &session.hub)?;
    if let Some(row) = texts.skipped.first() {
        bail!(failure!("`{}` line {}: {}", row.file, row.line, row.reason)
            .hint("every row of a table that is the training set needs its text"));
    }
    let source = table.source();
    ensure!(texts.sha256 == table.sha256, "`{source}` was written to while it was read");
    Ok(texts)
}

/// Logits whose softmax are the table's probabilities: ln p (N, K), with the place of the first p = 0.
///
/// # Errors
/// A table that has the predicted label's probability alone.
fn logits_of(table: &PredictionFile) -> Result<(Logits, Option<String>)> {
    let (n, labels) = (table.labels.len(), table.label_names.len());
    let (mut values, mut zero) = (Vec::with_capacity(n * labels), None);
    for row in 0..n {
        let Some(logarithms) = table.predictions.log_probabilities(row) else {
            bail!(failure!(
                "`{}` has only the predicted label and its probability",
                table.source()
            )
            .hint("a student learns from all labels: write logit_<label> or probability_<label>"));
        };
        for (label, logarithm) in logarithms.iter().enumerate() {
            if *logarithm == f64::NEG_INFINITY && zero.is_none() {
                let name = &table.label_names[label];
                zero = Some(format!("{}, label `{name}`", table.place(row)));
            }
            values.push((*logarithm as f32).max(LOGIT_OF_ZERO));
        }
    }
    Ok((Logits { values, labels }, zero))
}

/// Whether all probabilities have three decimals or fewer.
fn has_few_decimals(predictions: &Predictions) -> bool {
    let is_rounded = |p: &f64| (p * 1e3 - (p * 1e3).round()).abs() < 1e-6;
    (0..predictions.len())
        .all(|row| predictions.probabilities(row).is_some_and(|of| of.iter().all(is_rounded)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logit_of_zero_is_the_logarithm_of_the_smallest_number() {
        assert_eq!(LOGIT_OF_ZERO, f64::from(f32::from_bits(1)).ln() as f32);
    }
}
