//! The data of a training: the splits, and the teacher's logits on them.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{bail, Result};

use super::evaluate::Evaluated;
use super::recipe::{HeldOut, Recipe};
use super::record::{Data, RecordedCheckpoint};
use super::tables::TeacherTables;
use crate::audit::{
    load_gating_split, load_texts, load_with_ids, run_one, secondary_names, Classifier, Role,
    Session,
};
use crate::check::draw_order;
use crate::checkpoint::TokenizedExample;
use crate::checkpoint::{Checkpoint, TextTokenizer};
use crate::config::Settings;
use crate::error::usage;
use crate::inference::{tokenize, Logits};
use crate::task::{Dataset, Example};

/// The splits of a training.
pub struct Splits {
    /// The training set.
    pub train: Dataset,
    /// The validation split, if the task has one.
    pub validation: Option<Dataset>,
    /// The texts that the student is trained on in place of the training set; none has a label.
    pub augmented: Option<Dataset>,
    /// The texts that it is trained on besides; none has a label.
    pub corpus: Option<Dataset>,
}

impl Splits {
    /// Reads both splits.
    ///
    /// # Errors
    /// A split that is missing, empty or damaged.
    pub fn read(settings: &Settings, session: &Session) -> Result<Self> {
        let train = load_gating_split(settings, &session.hub)?.dataset;
        let validation = read_validation(settings, session, &[])?;
        Ok(Splits { train, validation, augmented: None, corpus: None })
    }

    /// Adds the texts of the files that `recipe` names.
    ///
    /// # Errors
    /// A file that is missing, empty or damaged; a corpus with a text of the validation split.
    pub fn with_texts_of(self, recipe: &Recipe, session: &Session) -> Result<Self> {
        let load = |name, path: Option<&Path>| {
            let load = |path| load_texts(name, path, &recipe.settings, &session.hub);
            path.map(load).transpose()
        };
        let augmented = load("augmented", recipe.augmented.as_deref())?;
        let corpus = load("corpus", recipe.inputs.corpus.as_deref().map(Path::new))?;
        if let (Some(corpus), Some(validation)) = (&corpus, &self.validation) {
            refuse_common(corpus, validation)?;
        }
        Ok(Splits { augmented, corpus, ..self })
    }

    /// The texts that the student is trained on.
    pub fn learned(&self) -> &Dataset {
        self.augmented.as_ref().unwrap_or(&self.train)
    }

    /// Label names: the task's, else `LABEL_0`, … as many as the training set shows.
    pub fn label_names(&self) -> Vec<String> {
        if !self.train.label_names.is_empty() {
            return self.train.label_names.clone();
        }
        let largest = self.train.examples.iter().filter_map(|e| e.label).max().unwrap_or(0);
        (0..=largest).map(|label| format!("LABEL_{label}")).collect()
    }

    /// Fails where an example of the training set has no label.
    ///
    /// # Errors
    /// The first such example.
    pub fn require_labels(&self) -> Result<()> {
        match self.train.examples.iter().position(|example| example.label.is_none()) {
            None => Ok(()),
            Some(i) => bail!(usage!(
                "example {i} of {}/{} has no label, and the `hard` loss needs one of each",
                self.train.task,
                self.train.split
            )
            .hint("train on the teacher's outputs alone: `losses = { soft = 1.0 }`")),
        }
    }
}

/// The whole validation split with those of the columns `ids` that its files have, if the task has one.
///
/// # Errors
/// A split that is empty or damaged.
pub(super) fn read_validation(
    settings: &Settings,
    session: &Session,
    ids: &[&str],
) -> Result<Option<Dataset>> {
    // `limit` is for the training set: the best epoch is chosen on the whole split.
    let mut whole = settings.clone();
    whole.limit = None;
    let names = secondary_names(&whole, &session.hub)?;
    let load = |name| load_with_ids(name, &whole, &session.hub, ids);
    names.first().map(|name| load(name)).transpose()
}

/// Refuses a corpus that has texts of the split by which the student is judged.
fn refuse_common(corpus: &Dataset, validation: &Dataset) -> Result<()> {
    let texts = |example: &Example| (example.text.clone(), example.pair.clone());
    let held: HashSet<_> = validation.examples.iter().map(texts).collect();
    let mut common = corpus.examples.iter().enumerate().filter(|(_, e)| held.contains(&texts(e)));
    let Some((first, _)) = common.next() else { return Ok(()) };
    bail!(usage!(
        "`{}` has {} texts of {}/{}, the first of them as number {}: the student would be trained \
         on what it is judged by",
        corpus.names.join("`, `"),
        1 + common.count(),
        validation.task,
        validation.split,
        first + 1
    )
    .hint("remove them from the corpus"))
}

/// The splits of `recipe`, and its teacher's predictions on them where the teacher is a table.
///
/// # Errors
/// As [`Splits::read`] and [`TeacherTables::read`].
pub fn read_data(recipe: &Recipe, session: &Session) -> Result<(Splits, Option<TeacherTables>)> {
    match &recipe.teacher_predictions {
        None => Ok((Splits::read(&recipe.settings, session)?, None)),
        Some(paths) => {
            let (splits, tables) = TeacherTables::read(recipe, paths, session)?;
            Ok((splits, Some(tables)))
        }
    }
}

/// An opened teacher.
pub enum Teacher {
    /// A model with its tokenizer.
    Model(Box<Classifier>),
    /// Tables of its predictions.
    Tables(Box<TeacherTables>),
}

/// The logits that students are measured against, in the task's label order (N, K).
pub struct MeasuringLogits {
    /// On the training set.
    pub train: Logits,
    /// On the validation split.
    pub validation: Option<Logits>,
}

/// The logits that students learn from, in the task's label order (N, K).
pub struct TeachingLogits {
    /// On the texts that the student is trained on.
    pub learned: Logits,
    /// On the corpus.
    pub corpus: Option<Logits>,
}

impl Teacher {
    /// Opens the teacher of `recipe`, if it has one; `tables` are its predictions, where it is a table.
    ///
    /// # Errors
    /// As [`open_model`].
    pub fn open(
        recipe: &Recipe,
        splits: &Splits,
        tables: Option<TeacherTables>,
        session: &Session,
    ) -> Result<Option<Self>> {
        if let Some(tables) = tables {
            return Ok(Some(Teacher::Tables(Box::new(tables))));
        }
        let settings = &recipe.settings;
        let Some(source) = &settings.teacher else { return Ok(None) };
        let model = open_model(source, &[], splits, settings, session)?;
        Ok(Some(Teacher::Model(Box::new(model))))
    }

    /// The model; `None` for a table.
    pub fn model(&self) -> Option<&Classifier> {
        match self {
            Teacher::Model(model) => Some(model),
            Teacher::Tables(_) => None,
        }
    }

    /// The task's label names, in its order.
    pub fn label_names(&self) -> &[String] {
        match self {
            Teacher::Model(model) => model.label_names(),
            Teacher::Tables(tables) => &tables.label_names,
        }
    }

    /// Its logits on the splits that students are measured on.
    ///
    /// # Errors
    /// An interrupt, a model that cannot be run.
    pub fn measuring(
        &mut self,
        splits: &Splits,
        settings: &Settings,
        session: &Session,
    ) -> Result<MeasuringLogits> {
        let model = match self {
            Teacher::Model(model) => model,
            Teacher::Tables(tables) => {
                let (train, validation) = (tables.train().clone(), tables.validation().cloned());
                return Ok(MeasuringLogits { train, validation });
            }
        };
        let mut run = runs(model, settings, session);
        let train = run(&splits.train)?;
        Ok(MeasuringLogits { train, validation: splits.validation.as_ref().map(run).transpose()? })
    }

    /// As [`Teacher::measuring`], on the texts that students learn from. `train` are its logits on the
    /// training set.
    pub fn teaching(
        &mut self,
        splits: &Splits,
        train: &Logits,
        settings: &Settings,
        session: &Session,
    ) -> Result<TeachingLogits> {
        match self {
            Teacher::Model(model) => {
                model_teaching(model, splits, Some(train.clone()), settings, session)
            }
            Teacher::Tables(tables) => {
                Ok(TeachingLogits { learned: tables.learned().clone(), corpus: None })
            }
        }
    }
}

/// Opens a model that teaches. Label names come from the task, else from `known`, else from the model.
///
/// # Errors
/// A checkpoint that cannot be opened, labels that are not the task's.
pub fn open_model(
    source: &str,
    known: &[String],
    splits: &Splits,
    settings: &Settings,
    session: &Session,
) -> Result<Classifier> {
    Classifier::open(Role::Teacher, source, settings, known, &splits.train, session)
}

/// The logits of `model` on the texts that students learn from. `train` are its logits on the training
/// set, where they are known.
///
/// # Errors
/// An interrupt, a model that cannot be run.
pub fn model_teaching(
    model: &mut Classifier,
    splits: &Splits,
    train: Option<Logits>,
    settings: &Settings,
    session: &Session,
) -> Result<TeachingLogits> {
    let mut run = runs(model, settings, session);
    let learned = match train.filter(|_| splits.augmented.is_none()) {
        Some(known) => known,
        None => run(splits.learned())?,
    };
    Ok(TeachingLogits { learned, corpus: splits.corpus.as_ref().map(run).transpose()? })
}

/// Runs `model` on a split, or reads its logits from the cache.
fn runs<'a>(
    model: &'a mut Classifier,
    settings: &'a Settings,
    session: &'a Session,
) -> impl FnMut(&Dataset) -> Result<Logits> + use<'a> {
    move |split| Ok(run_one(model, split, settings, session)?.logits)
}

/// A split's tokens for a model with `vocabulary` embeddings, in order.
///
/// # Errors
/// A text without tokens, an id without an embedding.
pub fn tokens(
    dataset: &Dataset,
    tokenizer: &TextTokenizer,
    vocabulary: usize,
) -> Result<Vec<TokenizedExample>> {
    let rows: Vec<u32> = (0..dataset.examples.len() as u32).collect();
    tokenize(tokenizer, vocabulary, &dataset.examples, &rows)
}

/// A split with its tokens, without the teacher's logits.
///
/// # Errors
/// As [`tokens`].
pub fn evaluated(
    dataset: &Dataset,
    tokenizer: &TextTokenizer,
    vocabulary: usize,
) -> Result<Evaluated> {
    Ok(Evaluated {
        split: format!("{}/{}", dataset.task, dataset.split),
        tokens: tokens(dataset, tokenizer, vocabulary)?,
        labels: dataset.examples.iter().map(|example| example.label).collect(),
        teacher: None,
    })
}

/// The rows of a split of `n` examples that a training uses, and those that are held out; both
/// ascending, and neither empty if n is at least 2.
pub fn cut(n: usize, held_out: HeldOut) -> (Vec<u32>, Vec<u32>) {
    let most = n.saturating_sub(1);
    let held = ((n as f64 * held_out.share).round() as usize).clamp(most.min(1), most);
    let mut order = draw_order(n, held_out.seed);
    let mut seen = order.split_off(held);
    order.sort_unstable();
    seen.sort_unstable();
    (seen, order)
}

/// A split, as the record has it.
pub fn recorded(dataset: &Dataset, evaluated: &Evaluated) -> Data {
    Data {
        examples: evaluated.tokens.len(),
        sha256: dataset.sha256.clone(),
        revision: dataset.commit.clone(),
        truncated: evaluated.tokens.iter().filter(|tokens| tokens.truncated).count(),
    }
}

/// A checkpoint, as the record has it.
///
/// # Errors
/// Weights that cannot be read.
pub fn source(checkpoint: &mut Checkpoint, session: &Session) -> Result<RecordedCheckpoint> {
    Ok(RecordedCheckpoint {
        source: checkpoint.source.clone(),
        revision: checkpoint.revision.clone(),
        weights_sha256: session.weights_sha256(checkpoint.network.weights_mut()?)?,
        config_sha256: checkpoint.config_sha256.clone(),
        tokenizer_sha256: checkpoint.tokenizer_sha256.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_the_same_every_time() {
        let (seen, held) = cut(9, HeldOut { share: 0.34, seed: 7 });
        assert_eq!((seen.len(), held.len()), (6, 3));
        let mut all = [seen.clone(), held.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..9).collect::<Vec<u32>>());
        assert!(seen.is_sorted() && held.is_sorted());
        assert_eq!(cut(9, HeldOut { share: 0.34, seed: 7 }), (seen, held.clone()));
        assert_ne!(cut(9, HeldOut { share: 0.34, seed: 8 }).1, held);
    }

    #[test]
    fn neither_part_is_empty() {
        for share in [0.001, 0.999] {
            let (seen, held) = cut(2, HeldOut { share, seed: 0 });
            assert_eq!((seen.len(), held.len()), (1, 1));
        }
        assert_eq!(cut(1, HeldOut { share: 0.9, seed: 0 }), (vec![0], vec![]));
        assert_eq!(cut(0, HeldOut { share: 0.9, seed: 0 }), (vec![], vec![]));
    }
}
