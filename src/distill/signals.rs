//! The teacher's outputs for a training step: logits, and hidden states from a file or the model.

use std::path::Path;

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};

use super::objective::Step;
use super::recipe::TeacherStates;
use super::states::{Selection, States};
use super::store::{Store, StoreHeader, StoreWriter};
use crate::checkpoint::TokenizedExample;
use crate::inference::Logits;
use crate::interrupt::Interrupt;
use crate::model::{Dropout, DropoutRates, Mode, Outputs, PackedBatch, Shape, Trainable, Wanted};

/// The teacher's logits on the training set, and the source of its hidden states.
#[derive(Default)]
pub struct Signals {
    /// (N, K) in the student's label order.
    pub logits: Option<Logits>,
    /// The teacher itself, where it runs with every step.
    pub model: Option<TeacherModel>,
    pub selection: Option<Selection>,
    pub store: Option<Store>,
    pub corpus: Option<CorpusSignals>,
}

/// Texts outside the training set, with the teacher's logits on them.
pub struct CorpusSignals {
    /// (C, K) in the student's label order.
    pub logits: Logits,
    /// The student's tokens (C).
    pub tokens: Vec<TokenizedExample>,
    /// The rows near each text of the training set, nearest first (N).
    pub nearest: Vec<Vec<u32>>,
}

impl CorpusSignals {
    /// The texts `rows`.
    pub fn batch(&self, rows: &[u32]) -> PackedBatch {
        PackedBatch::new(rows.iter().map(|&row| &self.tokens[row as usize]))
    }

    /// The teacher's logits of the texts `rows` (M, K).
    pub fn logits_of(&self, rows: &[u32]) -> Result<Tensor> {
        rows_of(&self.logits, rows)
    }
}

/// The rows `rows` of `logits` (M, K).
fn rows_of(logits: &Logits, rows: &[u32]) -> Result<Tensor> {
    let values = rows.iter().flat_map(|&row| logits.row(row as usize)).copied().collect();
    Ok(Tensor::from_vec(values, (rows.len(), logits.labels), &Device::Cpu)?)
}

/// A teacher in memory.
pub struct TeacherModel {
    pub model: Box<dyn Trainable>,
    /// Its tokens of the training set (N).
    pub tokens: Vec<TokenizedExample>,
    /// The column of its logits for each of the student's labels (K).
    pub columns: Vec<u32>,
    /// Rates and seed of dropout that stays on, as in the original TinyBERT code.
    pub dropout: Option<(DropoutRates, u64)>,
}

impl TeacherModel {
    fn batch(&self, rows: &[u32]) -> PackedBatch {
        PackedBatch::new(rows.iter().map(|&row| &self.tokens[row as usize]))
    }

    fn outputs(&self, batch: &PackedBatch, wanted: Wanted, number: u64) -> Result<Outputs> {
        let dropout = self.dropout.map(|(rates, seed)| Dropout::new(rates, seed, number));
        let mode = dropout.as_ref().map_or(Mode::Eval, Mode::Train);
        Ok(self.model.outputs(batch, wanted, mode)?)
    }

    /// The tokens `rows` of the training set, with the ids of `batch`, which has the same lengths.
    pub fn batch_of(&self, rows: &[u32], batch: &PackedBatch) -> PackedBatch {
        PackedBatch { input_ids: batch.input_ids.clone(), ..self.batch(rows) }
    }

    /// Its logits on `batch`, without dropout (B, K) in the student's label order.
    pub fn logits(&self, batch: &PackedBatch) -> Result<Tensor> {
        self.in_label_order(self.model.outputs(batch, Wanted::default(), Mode::Eval)?)
    }

    /// As [`TeacherModel::logits`], over the rows `words` (T, E) in place of the word embeddings;
    /// differentiable in them.
    pub fn logits_from(&self, words: &Tensor, batch: &PackedBatch) -> Result<Tensor> {
        let outputs = self.model.outputs_from(words, batch, Wanted::default(), Mode::Eval)?;
        self.in_label_order(outputs)
    }

    fn in_label_order(&self, outputs: Outputs) -> Result<Tensor> {
        let columns = Tensor::from_slice(&self.columns, self.columns.len(), &Device::Cpu)?;
        Ok(outputs.logits.index_select(&columns, 1)?)
    }

    /// Bytes of the records of the training set under `selection`.
    pub fn record_bytes(&self, selection: &Selection) -> u64 {
        let Shape { hidden, heads, .. } = self.model.shape();
        self.tokens.iter().map(|t| selection.bytes(t.len(), hidden, heads) as u64).sum()
    }
}

impl Signals {
    /// The teacher's logits of a step's examples (B, K).
    ///
    /// # Errors
    /// [`Needs`](super::objective::Needs) did not ask for them.
    pub fn logits(&self, step: &Step) -> Result<Tensor> {
        if let Some(teacher) = self.model.as_ref().filter(|teacher| teacher.dropout.is_some()) {
            let batch = teacher.batch(step.rows);
            let outputs = teacher.outputs(&batch, Wanted::default(), step.number)?;
            return teacher.in_label_order(outputs);
        }
        let logits = self.logits.as_ref().context("the teacher's logits were not asked for")?;
        rows_of(logits, step.rows)
    }

    /// The selected hidden states of a step's examples.
    ///
    /// # Errors
    /// [`Needs`](super::objective::Needs) did not ask for them; a file that cannot be read.
    pub fn states(&self, step: &Step) -> Result<States> {
        let selection = self.selection.as_ref().context("no hidden states were asked for")?;
        if let Some(store) = &self.store {
            let records = store.records(step.rows)?;
            let StoreHeader { hidden, heads, .. } = *store.header();
            return selection.states(&records, step.batch, hidden, heads);
        }
        let teacher = self.model.as_ref().context("the teacher is not loaded")?;
        let batch = teacher.batch(step.rows);
        let outputs = teacher.outputs(&batch, selection.wanted(), step.number)?;
        let records = selection.records(&outputs, &batch)?;
        let Shape { hidden, heads, .. } = teacher.model.shape();
        selection.states(&records, step.batch, hidden, heads)
    }
}

/// Most bytes that are stored under `teacher_states = "auto"`: 4 GiB.
const STORED_AT_MOST: u64 = 4 << 30;

/// Whether the hidden states go to a file; `named` is whether the recipe names one.
pub fn is_stored(asked: TeacherStates, named: bool, bytes: u64, compressed: bool) -> bool {
    match asked {
        TeacherStates::Stored => true,
        TeacherStates::InTheLoop => false,
        TeacherStates::Auto => named || compressed || bytes <= STORED_AT_MOST,
    }
}

/// Tokens of a batch while the store is written.
const TOKENS: usize = 2048;

/// Runs the teacher once over the training set and writes what `header` selects -> the file's bytes.
/// `done` gets the number of examples of each batch.
///
/// # Errors
/// A full disk, an interrupt.
pub fn write_store(
    path: &Path,
    header: &StoreHeader,
    teacher: &TeacherModel,
    interrupt: &Interrupt,
    mut done: impl FnMut(usize),
) -> Result<u64> {
    let mut writer = StoreWriter::begin(path, header)?;
    for rows in batches(&teacher.tokens) {
        interrupt.check(|| "storing the teacher's hidden states".to_owned())?;
        let batch = teacher.batch(&rows);
        let outputs = teacher.outputs(&batch, header.selection.wanted(), 0)?;
        writer.add(&header.selection.records(&outputs, &batch)?)?;
        done(rows.len());
    }
    writer.finish()
}

/// All rows in order, in batches of about [`TOKENS`].
pub fn batches(tokens: &[TokenizedExample]) -> Vec<Vec<u32>> {
    let mut batches: Vec<Vec<u32>> = Vec::new();
    let mut count = TOKENS;
    for (row, example) in tokens.iter().enumerate() {
        count += example.len();
        match batches.last_mut() {
            Some(batch) if count <= TOKENS => batch.push(row as u32),
            _ => {
                batches.push(vec![row as u32]);
                count = example.len();
            }
        }
    }
    batches
}
