//! What the teacher says to a student in training.

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

/// The teacher's logits over the training set, and where its hidden states come from.
#[derive(Default)]
pub struct Signals {
    /// Logits (N, K) in the student's label order.
    pub logits: Option<Logits>,
    /// The teacher itself, where it is run beside the student.
    pub beside: Option<TeacherModel>,
    /// What is looked at of its hidden states.
    pub selection: Option<Selection>,
    /// Its hidden states in a file.
    pub store: Option<Store>,
}

/// A teacher that is run beside the student.
pub struct TeacherModel {
    /// The model.
    pub model: Box<dyn Trainable>,
    /// Its tokens of the training set (N).
    pub tokens: Vec<TokenizedExample>,
    /// The column of its logits for each of the student's labels (K).
    pub columns: Vec<u32>,
    /// Dropout that is left on in it, one of the original TinyBERT code's habits.
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
}

impl Signals {
    /// The teacher's logits of a step's examples (B, K).
    ///
    /// # Errors
    /// No logits were asked for.
    pub fn logits(&self, step: &Step) -> Result<Tensor> {
        if let Some(beside) = self.beside.as_ref().filter(|beside| beside.dropout.is_some()) {
            let batch = beside.batch(step.rows);
            let logits = beside.outputs(&batch, Wanted::default(), step.number)?.logits;
            let columns = Tensor::from_slice(&beside.columns, beside.columns.len(), &Device::Cpu)?;
            return Ok(logits.index_select(&columns, 1)?);
        }
        let logits = self.logits.as_ref().context("the teacher's logits were not asked for")?;
        let rows: Vec<f32> =
            step.rows.iter().flat_map(|&row| logits.row(row as usize)).copied().collect();
        Ok(Tensor::from_vec(rows, (step.rows.len(), logits.labels), &Device::Cpu)?)
    }

    /// What was chosen of the teacher's hidden states of a step's examples.
    ///
    /// # Errors
    /// None were asked for, or the file cannot be read.
    pub fn states(&self, step: &Step) -> Result<States> {
        let selection = self.selection.as_ref().context("no hidden states were asked for")?;
        if let Some(store) = &self.store {
            let records = store.records(step.rows)?;
            let StoreHeader { hidden, heads, .. } = *store.header();
            return selection.states(&records, step.batch, hidden, heads);
        }
        let beside = self.beside.as_ref().context("the teacher is not loaded")?;
        let batch = beside.batch(step.rows);
        let outputs = beside.outputs(&batch, selection.wanted(), step.number)?;
        let records = selection.records(&outputs, &batch)?;
        let Shape { hidden, heads, .. } = beside.model.shape();
        selection.states(&records, step.batch, hidden, heads)
    }
}

/// Most bytes that are stored where the recipe leaves it to the program: 4 GiB.
const STORED_AT_MOST: u64 = 4 << 30;

/// Whether the states of `selection` go to a file.
pub fn is_stored(asked: TeacherStates, named: bool, bytes: u64, compressed: bool) -> bool {
    match asked {
        TeacherStates::Stored => true,
        TeacherStates::InTheLoop => false,
        TeacherStates::Auto => named || compressed || bytes <= STORED_AT_MOST,
    }
}

/// Bytes that the records of texts of these tokens take.
pub fn bytes_of(selection: &Selection, beside: &TeacherModel) -> u64 {
    let Shape { hidden, heads, .. } = beside.model.shape();
    beside.tokens.iter().map(|t| selection.bytes(t.len(), hidden, heads) as u64).sum()
}

/// Tokens of a batch while the store is written.
const TOKENS: usize = 2048;

/// Runs the teacher once over the training set and writes what `header` selects; `done` hears of
/// every so many examples.
///
/// # Errors
/// A full disk, an interrupt.
pub fn write_store(
    path: &Path,
    header: &StoreHeader,
    beside: &TeacherModel,
    interrupt: &Interrupt,
    mut done: impl FnMut(usize),
) -> Result<u64> {
    let mut writer = StoreWriter::begin(path, header)?;
    for rows in batches(&beside.tokens) {
        interrupt.check(|| "storing the teacher's hidden states".to_owned())?;
        let batch = beside.batch(&rows);
        let outputs = beside.outputs(&batch, header.selection.wanted(), 0)?;
        writer.add(&header.selection.records(&outputs, &batch)?)?;
        done(rows.len());
    }
    writer.finish()
}

/// All rows in order, in batches of about [`TOKENS`].
fn batches(tokens: &[TokenizedExample]) -> Vec<Vec<u32>> {
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
