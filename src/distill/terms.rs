//! The named losses that every method so far is composed of.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use super::losses::{self, Averaging, SoftOptions};
use super::objective::{Needs, Objective, Setting, Step, Weighted};
use super::recipe::Compat;
use super::states::{Selection, States};
use crate::checkpoint::Draws;
use crate::model::kernels::Activation;
use crate::model::{ops, Outputs, Parameter, Wanted};

/// A loss by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Term {
    /// Cross-entropy on the labels.
    Hard,
    /// Divergence from the teacher's probabilities at the temperature.
    Soft,
    /// Squared difference of the logits, the teacher's annealed.
    Logits,
    /// Squared difference of the embeddings' outputs.
    Embedding,
    /// Squared difference of hidden states.
    Hidden,
    /// Squared difference of attention scores.
    Attention,
    /// Squared difference of normalised [CLS] vectors.
    Patient,
    /// Squared difference of [CLS] vectors from a mixture of the teacher's.
    Attentive,
    /// Squared difference of hidden states from what was kept of the teacher's.
    Kept,
}

impl Term {
    /// As recipes and logs name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Term::Hard => "hard",
            Term::Soft => "soft",
            Term::Logits => "logits",
            Term::Embedding => "embedding",
            Term::Hidden => "hidden",
            Term::Attention => "attention",
            Term::Patient => "patient",
            Term::Attentive => "attentive",
            Term::Kept => "kept",
        }
    }

    /// Whether it is defined by the teacher's logits.
    fn reads_logits(self) -> bool {
        matches!(self, Term::Soft | Term::Logits)
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which outputs of the two encoders are compared, and in which order the losses stand for them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pairs {
    /// Outputs of the student and of the teacher, counted from the embeddings' at 0.
    pub hidden: Vec<(usize, usize)>,
    /// Layers of the student and of the teacher, counted from 0, whose scores are compared.
    pub scores: Vec<(usize, usize)>,
    /// Outputs of the student whose [CLS] vectors are looked at.
    pub student_first: Vec<usize>,
}

/// How the teacher's logits fall to their real size over the epochs of a stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Annealing {
    /// Where τ begins.
    pub tau_max: usize,
    /// Epochs of each τ.
    pub epochs_each: usize,
}

impl Annealing {
    /// Φ(τ) in `epoch`, counted from 0.
    fn factor(self, epoch: usize) -> f64 {
        let tau = self.tau_max - (epoch / self.epochs_each).min(self.tau_max - 1);
        losses::annealing_factor(tau as f64, self.tau_max as f64)
    }
}

/// The losses of a stage.
pub struct Terms {
    /// Their weights, above 0.
    weights: BTreeMap<Term, f64>,
    soft: SoftOptions,
    pairs: Pairs,
    selection: Option<Selection>,
    annealing: Option<Annealing>,
    compat: Compat,
    projection: Vec<Parameter>, // W_h: weight (H_S, H_T) and bias (H_T), or nothing
}

/// Of a new projection, as transformers' BERT draws its linear layers.
const PROJECTION_DEVIATION: f64 = 0.02;

impl Terms {
    /// The losses `weights`, of logits alone.
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

    /// The same, the teacher's logits being annealed.
    pub fn annealed(self, annealing: Annealing) -> Self {
        Terms { annealing: Some(annealing), ..self }
    }

    /// The same, with `selection` of the teacher's hidden states compared as `pairs` say.
    pub fn with_states(self, selection: Selection, pairs: Pairs) -> Self {
        Terms { selection: Some(selection), pairs, ..self }
    }

    /// The same with the projection W_h from the student's width to the teacher's, which all layers
    /// share; without one where the widths are equal, unless the original's habits are asked for.
    ///
    /// # Errors
    /// Whatever keeps the projection from being made.
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

    fn value(&self, term: Term, step: &Step, seen: &Seen) -> Result<Tensor> {
        let logits = &seen.student.logits;
        let teacher_logits = || seen.teacher_logits.as_ref().context("no logits of the teacher");
        let states = || seen.states.as_ref().context("no hidden states of the teacher");
        match term {
            Term::Hard => losses::hard(logits, step.labels),
            Term::Soft => losses::soft(logits, teacher_logits()?, self.soft),
            Term::Logits => {
                let factor = self.annealing.map_or(1.0, |annealing| annealing.factor(step.epoch));
                losses::logits_mse(logits, &(teacher_logits()? * factor)?)
            }
            Term::Embedding => self.hidden(seen, states()?, |student| student == 0),
            Term::Hidden => self.hidden(seen, states()?, |student| student > 0),
            Term::Attention => self.attention(step, seen, states()?),
            Term::Patient => losses::patient(&self.first(step, seen)?, &states()?.hidden),
            Term::Attentive => losses::attentive(&self.first(step, seen)?, &states()?.hidden),
            Term::Kept => self.kept(seen, states()?),
        }
    }

    /// Σ over the pairs whose student's output is `chosen`.
    fn hidden(
        &self,
        seen: &Seen,
        states: &States,
        chosen: impl Fn(usize) -> bool,
    ) -> Result<Tensor> {
        let pairs = self.pairs.hidden.iter().zip(&states.hidden);
        let pairs = pairs.filter(|((student, _), _)| chosen(*student));
        sum(pairs.map(|((student, _), teacher)| {
            losses::hidden_mse(&self.projected(&seen.student.hidden[*student])?, teacher)
        }))
    }

    fn attention(&self, step: &Step, seen: &Seen, states: &States) -> Result<Tensor> {
        let lengths = step.batch.offsets.windows(2).map(|w| w[1] - w[0]);
        let averaging = match self.compat {
            Compat::None => Averaging::Entries,
            Compat::Huawei => Averaging::Padded {
                sequences: step.batch.sequences(),
                heads: step.student.shape().heads,
                longest: lengths.max().unwrap_or(0),
            },
        };
        let pairs = self.pairs.scores.iter().zip(&states.scores);
        sum(pairs.map(|((student, _), teacher)| {
            let student = self.cut(&seen.student.scores[*student])?;
            losses::attention_mse(&student, &self.cut(teacher)?, averaging)
        }))
    }

    /// The original code sets scores at or below −100 to 0, which is how it masks.
    fn cut(&self, scores: &Tensor) -> Result<Tensor> {
        match self.compat {
            Compat::None => Ok(scores.clone()),
            Compat::Huawei => {
                let above = scores.gt(-1e2)?.to_dtype(scores.dtype())?;
                Ok((scores * above)?)
            }
        }
    }

    /// The student's [CLS] vectors (B, H), one per layer looked at.
    fn first(&self, step: &Step, seen: &Seen) -> Result<Vec<Tensor>> {
        let rows: Vec<u32> = step.batch.first_tokens().collect();
        let layers = self.pairs.student_first.iter();
        let first = layers.map(|&output| ops::embed(&seen.student.hidden[output], rows.clone()));
        Ok(first.collect::<candle_core::Result<_>>()?)
    }

    fn kept(&self, seen: &Seen, states: &States) -> Result<Tensor> {
        let pairs = self.pairs.hidden.iter().zip(states.hidden.iter().zip(&states.rows));
        sum(pairs.map(|((student, _), (target, rows))| {
            let hidden = ops::embed(&seen.student.hidden[*student], rows.clone())?; // (M, H_S)
            losses::hidden_mse(&self.projected(&hidden)?, target)
        }))
    }

    fn wanted(&self) -> Wanted {
        let is_any = |terms: &[Term]| terms.iter().any(|term| self.weights.contains_key(term));
        use Term::*;
        Wanted {
            hidden: is_any(&[Embedding, Hidden, Patient, Attentive, Kept]),
            scores: is_any(&[Attention]),
        }
    }
}

/// What both models say of a batch.
struct Seen {
    student: Outputs,
    teacher_logits: Option<Tensor>,
    states: Option<States>,
}

impl Objective for Terms {
    fn needs(&self) -> Needs {
        let logits = self.weights.keys().any(|term| term.reads_logits());
        Needs { logits, states: self.selection.clone() }
    }

    fn parameters(&self) -> &[Parameter] {
        &self.projection
    }

    fn losses(&mut self, step: &Step) -> Result<Vec<Weighted>> {
        let needs = self.needs();
        let seen = Seen {
            student: step.outputs(self.wanted())?,
            teacher_logits: needs.logits.then(|| step.teacher.logits(step)).transpose()?,
            states: needs.states.is_some().then(|| step.teacher.states(step)).transpose()?,
        };
        let weighted = self.weights.iter().map(|(&term, &weight)| {
            let value = self.value(term, step, &seen);
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
    fn annealing_goes_from_one_part_in_tau_max_to_the_whole() {
        let annealing = Annealing { tau_max: 4, epochs_each: 2 };
        let factors: Vec<f64> = (0..9).map(|epoch| annealing.factor(epoch)).collect();
        // τ = 4, 4, 3, 3, 2, 2, 1, 1 and no further.
        assert_eq!(factors, [0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 1.0, 1.0, 1.0]);
    }
}
