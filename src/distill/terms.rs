//! Weighted sums of named losses: the objective of most methods.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};

use super::losses::{self, Averaging, SoftOptions};
use super::objective::{Needs, Objective, Setting, Step, Weighted};
use super::recipe::Compat;
use super::states::{Selection, States};
use super::term::Term;
use crate::checkpoint::Draws;
use crate::model::kernels::Activation;
use crate::model::{ops, Outputs, Parameter, Wanted};

/// The outputs of the two encoders that are compared, in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pairs {
    /// Outputs of the student and of the teacher, counted from the embeddings' at 0.
    pub hidden: Vec<(usize, usize)>,
    /// Layers of the student and of the teacher, counted from 0, whose scores are compared.
    pub scores: Vec<(usize, usize)>,
    /// Outputs of the student whose [CLS] vectors are compared.
    pub student_first: Vec<usize>,
}

/// Annealing of the teacher's logits over the epochs of a stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Annealing {
    /// The first τ.
    pub tau_max: usize,
    /// Epochs of each τ.
    pub epochs_each: usize,
}

impl Annealing {
    /// Φ(τ) in `epoch`, counted from 0.
    pub fn factor(self, epoch: usize) -> f64 {
        let tau = self.tau_max - (epoch / self.epochs_each).min(self.tau_max - 1);
        losses::annealing_factor(tau as f64, self.tau_max as f64)
    }
}

/// The weighted losses of a stage.
pub struct Terms {
    /// Above 0.
    weights: BTreeMap<Term, f64>,
    soft: SoftOptions,
    pairs: Pairs,
    selection: Option<Selection>,
    annealing: Option<Annealing>,
    compat: Compat,
    projection: Vec<Parameter>, // W_h: weight (H_S, H_T) and bias (H_T), or nothing
}

/// Standard deviation of a new projection, as of BERT's linear layers in transformers.
const PROJECTION_DEVIATION: f64 = 0.02;

impl Terms {
    /// Losses of logits and labels alone.
    pub fn of_logits(weights: &BTreeMap<Term, f64>, soft: SoftOptions, compat: Compat) -> Self {
        Terms {
            weights: weights.clone(),
            soft,
            pairs: Pairs::default(),
            selection: None,
            annealing: None,
            compat,
            projection: Vec::new(),
        }
    }

    pub fn annealed(self, annealing: Annealing) -> Self {
        Terms { annealing: Some(annealing), ..self }
    }

    /// Adds `selection` of the teacher's hidden states, compared as `pairs`.
    pub fn with_states(self, selection: Selection, pairs: Pairs) -> Self {
        Terms { selection: Some(selection), pairs, ..self }
    }

    /// Adds the projection W_h from the student's width to the teacher's, which all layers share.
    /// Equal widths need none, except under [`Compat::Huawei`].
    pub fn with_projection(self, setting: &Setting, seed: u64) -> Result<Self> {
        let Some(teacher) = setting.teacher else { return Ok(self) };
        let (from, to) = (setting.student.hidden, teacher.hidden);
        if from == to && self.compat == Compat::None {
            return Ok(self);
        }
        let draws = Draws { seed, deviation: PROJECTION_DEVIATION, prefixes: vec![String::new()] };
        let weight = draws.tensor("projection.weight", &[from, to])?;
        let bias = Tensor::zeros(to, DType::F32, &Device::Cpu)?;
        let parameter = |name: &str, value, decays| Parameter::new(name.to_owned(), value, decays);
        let projection = vec![
            parameter("projection.weight", &weight, true)?,
            parameter("projection.bias", &bias, false)?,
        ];
        Ok(Terms { projection, ..self })
    }

    /// `hidden` (M, H_S) in the teacher's width.
    fn projected(&self, hidden: &Tensor) -> Result<Tensor> {
        match self.projection.as_slice() {
            [weight, bias] => {
                Ok(ops::linear(hidden, &weight.var, &bias.var, Activation::Identity)?)
            }
            _ => Ok(hidden.clone()),
        }
    }

    fn wanted(&self) -> Wanted {
        let reads = || self.weights.keys().map(|term| term.0.encoders);
        Wanted { hidden: reads().any(|of| of.hidden), scores: reads().any(|of| of.scores) }
    }
}

/// The outputs of both models for a batch.
pub struct BatchComparison<'a> {
    terms: &'a Terms,
    step: &'a Step<'a>,
    student: Outputs,
    teacher_logits: Option<Tensor>,
    states: Option<States>,
}

impl BatchComparison<'_> {
    pub(super) fn hard(&self) -> Result<Tensor> {
        losses::hard(&self.student.logits, &self.step.known_labels()?)
    }

    pub(super) fn soft(&self) -> Result<Tensor> {
        losses::soft(&self.student.logits, self.teacher_logits()?, self.terms.soft)
    }

    pub(super) fn logits(&self) -> Result<Tensor> {
        let annealing = self.terms.annealing;
        let factor = annealing.map_or(1.0, |annealing| annealing.factor(self.step.epoch));
        losses::logits_mse(&self.student.logits, &(self.teacher_logits()? * factor)?)
    }

    pub(super) fn embedding(&self) -> Result<Tensor> {
        self.outputs(|student| student == 0)
    }

    pub(super) fn hidden(&self) -> Result<Tensor> {
        self.outputs(|student| student > 0)
    }

    pub(super) fn attention(&self) -> Result<Tensor> {
        let batch = self.step.batch;
        let lengths = batch.offsets.windows(2).map(|w| w[1] - w[0]);
        let averaging = match self.terms.compat {
            Compat::None => Averaging::Entries,
            Compat::Huawei => Averaging::Padded {
                sequences: batch.sequences(),
                heads: self.step.student.shape().heads,
                longest: lengths.max().unwrap_or(0),
            },
        };
        let pairs = self.terms.pairs.scores.iter().zip(&self.states()?.scores);
        sum(pairs.map(|((student, _), teacher)| {
            let student = self.cut(&self.student.scores[*student])?;
            losses::attention_mse(&student, &self.cut(teacher)?, averaging)
        }))
    }

    pub(super) fn patient(&self) -> Result<Tensor> {
        losses::patient(&self.first()?, &self.states()?.hidden)
    }

    pub(super) fn attentive(&self) -> Result<Tensor> {
        losses::attentive(&self.first()?, &self.states()?.hidden)
    }

    pub(super) fn kept(&self) -> Result<Tensor> {
        let states = self.states()?;
        let pairs = self.terms.pairs.hidden.iter().zip(states.hidden.iter().zip(&states.rows));
        sum(pairs.map(|((student, _), (target, rows))| {
            let hidden = ops::embed(&self.student.hidden[*student], rows.clone())?; // (M, H_S)
            losses::hidden_mse(&self.terms.projected(&hidden)?, target)
        }))
    }

    fn teacher_logits(&self) -> Result<&Tensor> {
        self.teacher_logits.as_ref().context("the teacher has no logits")
    }

    fn states(&self) -> Result<&States> {
        self.states.as_ref().context("the teacher has no hidden states")
    }

    /// Σ over the pairs of outputs whose student output is `chosen`.
    fn outputs(&self, chosen: impl Fn(usize) -> bool) -> Result<Tensor> {
        let pairs = self.terms.pairs.hidden.iter().zip(&self.states()?.hidden);
        let pairs = pairs.filter(|((student, _), _)| chosen(*student));
        sum(pairs.map(|((student, _), teacher)| {
            let student = self.terms.projected(&self.student.hidden[*student])?;
            losses::hidden_mse(&student, teacher)
        }))
    }

    /// The original code sets scores at or below −100 to 0, which is how it masks.
    fn cut(&self, scores: &Tensor) -> Result<Tensor> {
        match self.terms.compat {
            Compat::None => Ok(scores.clone()),
            Compat::Huawei => {
                let above = scores.gt(-1e2)?.to_dtype(scores.dtype())?;
                Ok((scores * above)?)
            }
        }
    }

    /// The student's [CLS] vectors (B, H), one per layer compared.
    fn first(&self) -> Result<Vec<Tensor>> {
        let rows: Vec<u32> = self.step.batch.first_tokens().collect();
        let layers = self.terms.pairs.student_first.iter();
        let first = layers.map(|&output| ops::embed(&self.student.hidden[output], rows.clone()));
        Ok(first.collect::<candle_core::Result<_>>()?)
    }
}

impl Objective for Terms {
    fn needs(&self) -> Needs {
        let logits = self.weights.keys().any(|term| term.0.teacher_logits);
        Needs { logits, states: self.selection.clone(), ..Needs::default() }
    }

    fn parameters(&self) -> &[Parameter] {
        &self.projection
    }

    fn losses(&mut self, step: &Step) -> Result<Vec<Weighted>> {
        let needs = self.needs();
        let comparison = BatchComparison {
            terms: self,
            step,
            student: step.outputs(self.wanted())?,
            teacher_logits: needs.logits.then(|| step.teacher.logits(step)).transpose()?,
            states: needs.states.is_some().then(|| step.teacher.states(step)).transpose()?,
        };
        let weighted = self.weights.iter().map(|(&term, &weight)| {
            let value = term.0.value.context("the method must compute it");
            let value = value.and_then(|value| value(&comparison));
            Ok(Weighted { term, weight, value: value.with_context(|| format!("loss `{term}`"))? })
        });
        weighted.collect()
    }
}

fn sum(values: impl Iterator<Item = Result<Tensor>>) -> Result<Tensor> {
    let mut total: Option<Tensor> = None;
    for value in values {
        let value = value?;
        total = Some(match total {
            Some(total) => (total + value)?,
            None => value,
        });
    }
    total.context("no layer is compared")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_annealing_factor_rises_to_one() {
        let annealing = Annealing { tau_max: 4, epochs_each: 2 };
        let factors: Vec<f64> = (0..9).map(|epoch| annealing.factor(epoch)).collect();
        // τ = 4, 4, 3, 3, 2, 2, 1, 1 and no further.
        assert_eq!(factors, [0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 1.0, 1.0, 1.0]);
    }
}
