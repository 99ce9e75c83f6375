//! Weighted sums of named losses: the objective of most methods.

use std::cell::RefCell;
use std::collections::BTreeMap;

use anyhow::{Context, Result};
use candle_core::{Tensor, D};

use super::layer_draw::LayerDraw;
use super::losses::{self, Averaging, SoftOptions};
use super::objective::{Needs, Objective, Setting, Step, Weighted};
use super::projection::Projections;
use super::recipe::Compat;
use super::states::{Selection, States};
use super::term::Term;
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
    /// For each of `student_first`, the teacher's outputs that it imitates, as positions in the
    /// selection; empty where each imitates all.
    pub buckets: Vec<Vec<usize>>,
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
    /// ε of the hard loss.
    smoothing: f64,
    /// a of a virtual teacher.
    virtual_probability: Option<f64>,
    soft: SoftOptions,
    pairs: Pairs,
    selection: Option<Selection>,
    /// The layers of `selection` that an epoch compares, where not all.
    draw: Option<LayerDraw>,
    annealing: Option<Annealing>,
    compat: Compat,
    /// W_h alone, W_j of each bucket, one for each model's vectors, or nothing.
    projections: Projections,
    /// Figures of the last batch besides its losses.
    figures: Vec<(String, f64)>,
}

impl Terms {
    /// Losses of logits and labels alone.
    pub fn of_logits(weights: &BTreeMap<Term, f64>, soft: SoftOptions, compat: Compat) -> Self {
        Terms {
            weights: weights.clone(),
            smoothing: 0.0,
            virtual_probability: None,
            soft,
            pairs: Pairs::default(),
            selection: None,
            draw: None,
            annealing: None,
            compat,
            projections: Projections::default(),
            figures: Vec::new(),
        }
    }

    /// Spreads `smoothing` of the label's probability over all labels, in the hard loss.
    pub fn smoothed(self, smoothing: f64) -> Self {
        Terms { smoothing, ..self }
    }

    /// Adds a virtual teacher with this `probability` of the label.
    pub fn with_virtual_teacher(self, probability: f64) -> Self {
        Terms { virtual_probability: Some(probability), ..self }
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
    pub fn with_projection(mut self, setting: &Setting, seed: u64) -> Result<Self> {
        let Some(teacher) = setting.teacher else { return Ok(self) };
        let (from, to) = (setting.student.hidden, teacher.hidden);
        if from == to && self.compat == Compat::None {
            return Ok(self);
        }
        self.projections.add("projection", (from, to), true, seed)?;
        Ok(self)
    }

    /// Adds W_j for each bucket: from the teacher's vectors in it, one after the other, to the
    /// student's width. Without weight decay, which would draw the combinations to zero.
    pub fn with_combinations(mut self, setting: &Setting, seed: u64) -> Result<Self> {
        let teacher = setting.teacher.context("no teacher")?.hidden;
        for (j, bucket) in self.pairs.buckets.iter().enumerate() {
            let widths = (bucket.len() * teacher, setting.student.hidden);
            self.projections.add(&format!("combination.{}", j + 1), widths, false, seed)?;
        }
        Ok(self)
    }

    /// Compares the layers that `draw` chooses, and adds a projection of each model's vectors to
    /// `width` elements, without weight decay.
    pub fn with_draw(mut self, draw: LayerDraw, width: usize, setting: &Setting) -> Result<Self> {
        let teacher = setting.teacher.context("no teacher")?.hidden;
        let both =
            [("projection.student", setting.student.hidden), ("projection.teacher", teacher)];
        for (name, from) in both {
            self.projections.add(name, (from, width), false, draw.seed)?;
        }
        Ok(Terms { draw: Some(draw), ..self })
    }

    /// `hidden` (M, H_S) in the teacher's width.
    fn projected(&self, hidden: &Tensor) -> Result<Tensor> {
        match self.projections.is_empty() {
            true => Ok(hidden.clone()),
            false => self.projections.apply(0, hidden),
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
    figures: RefCell<Vec<(String, f64)>>,
}

impl BatchComparison<'_> {
    pub(super) fn hard(&self) -> Result<Tensor> {
        let (logits, labels) = (&self.student.logits, self.step.known_labels()?);
        match self.terms.smoothing {
            0.0 => losses::hard(logits, &labels),
            smoothing => losses::smoothed(logits, &labels, smoothing),
        }
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
        let (student, teacher) = (self.first()?, &self.states()?.hidden);
        let buckets = &self.terms.pairs.buckets;
        if buckets.is_empty() {
            return losses::attentive(&student, teacher);
        }
        sum(student.iter().zip(buckets).map(|(student, bucket)| {
            let of_bucket: Vec<Tensor> = bucket.iter().map(|&k| teacher[k].clone()).collect();
            losses::attentive(std::slice::from_ref(student), &of_bucket)
        }))
    }

    pub(super) fn combined(&self) -> Result<Tensor> {
        let teacher = &self.states()?.hidden;
        let buckets = self.terms.pairs.buckets.iter().enumerate();
        let targets = buckets.map(|(j, bucket)| {
            let (weight, bias) = self.terms.projections.layer(j)?;
            let of_bucket: Vec<&Tensor> = bucket.iter().map(|&k| &teacher[k]).collect();
            let target = losses::combination(&of_bucket, weight, bias)?;
            self.figures.borrow_mut().push((format!("target_norm_{}", j + 1), mean_norm(&target)?));
            Ok(target)
        });
        losses::combined(&self.first()?, &targets.collect::<Result<Vec<_>>>()?)
    }

    pub(super) fn drawn(&self) -> Result<Tensor> {
        let (teacher, projections) = (&self.states()?.hidden, &self.terms.projections);
        let layers = self.terms.draw.context("no layers are drawn")?.layers(self.step.epoch);
        let student = self.first()?;
        let student =
            student.iter().map(|x| projections.apply(0, x)).collect::<Result<Vec<_>>>()?;
        let teacher = layers.iter().map(|&layer| projections.apply(1, &teacher[layer]));
        let teacher = teacher.collect::<Result<Vec<_>>>()?;
        let spread = losses::spread(&teacher)?;
        self.figures.borrow_mut().push(("target_spread".to_owned(), spread));
        losses::directions(&student, &teacher)
    }

    pub(super) fn virtual_teacher(&self) -> Result<Tensor> {
        let probability = self.terms.virtual_probability.context("there is no virtual teacher")?;
        let (logits, labels) = (&self.student.logits, self.step.known_labels()?);
        let teacher = losses::virtual_logits(logits, &labels, probability)?;
        losses::soft(logits, &teacher, self.terms.soft)
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
        self.projections.parameters()
    }

    fn losses(&mut self, step: &Step) -> Result<Vec<Weighted>> {
        let needs = self.needs();
        let comparison = BatchComparison {
            terms: self,
            step,
            student: step.outputs(self.wanted())?,
            teacher_logits: needs.logits.then(|| step.teacher.logits(step)).transpose()?,
            states: needs.states.is_some().then(|| step.teacher.states(step)).transpose()?,
            figures: RefCell::default(),
        };
        let weighted = self.weights.iter().map(|(&term, &weight)| {
            let value = term.0.value.context("the method must compute it");
            let value = value.and_then(|value| value(&comparison));
            Ok(Weighted { term, weight, value: value.with_context(|| format!("loss `{term}`"))? })
        });
        let weighted = weighted.collect();
        self.figures = comparison.figures.into_inner();
        weighted
    }

    fn figures(&self) -> &[(String, f64)] {
        &self.figures
    }
}

/// The mean Euclidean length of the rows of `x` (B, H).
fn mean_norm(x: &Tensor) -> Result<f64> {
    let lengths = x.detach().sqr()?.sum(D::Minus1)?.sqrt()?;
    Ok(f64::from(lengths.mean_all()?.to_scalar::<f32>()?))
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
