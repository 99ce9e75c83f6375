//! Parameters that are trained together: the student's, or an opponent's.

use anyhow::{Context, Result};
use candle_core::backprop::GradStore;

use crate::distill::optimizer::{AdamW, AdamWOptions, Gradients};
use crate::distill::recipe::{Compat, Stage};
use crate::distill::saved::NamedMoments;
use crate::model::Parameter;

/// Parameters with their optimizer.
pub(super) struct Learner {
    parameters: Vec<Parameter>,
    options: AdamWOptions,
    /// Made at the first step, over the parameters that the losses reach.
    optimizer: Option<AdamW>,
}

impl Learner {
    /// A learner that has made no step.
    pub fn new(parameters: Vec<Parameter>, options: AdamWOptions) -> Self {
        Learner { parameters, options, optimizer: None }
    }

    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Takes the gradients of the parameters that the losses reach out of `store`. `begun` gets their
    /// number, and that of all, when the first step decides it.
    ///
    /// # Errors
    /// A parameter that got a gradient before and gets none now.
    pub fn collect(
        &mut self,
        store: GradStore,
        begun: impl FnOnce(usize, usize),
    ) -> Result<Gradients> {
        let optimizer = match self.optimizer.take() {
            Some(optimizer) => optimizer,
            None => {
                let reached = |p: &&Parameter| store.get(p.var.as_tensor()).is_some();
                let reached: Vec<_> = self.parameters.iter().filter(reached).cloned().collect();
                begun(reached.len(), self.parameters.len());
                AdamW::new(reached, self.options)?
            }
        };
        let gradients = Gradients::collect(store, optimizer.parameters());
        self.optimizer = Some(optimizer);
        gradients
    }

    /// Updates the parameters -> the number of steps made so far.
    ///
    /// # Errors
    /// Gradients that are not of these parameters.
    pub fn step(&mut self, gradients: &Gradients, learning_rate: f64) -> Result<u64> {
        let optimizer = self.optimizer.as_mut().context("gradients without an optimizer")?;
        optimizer.step(gradients, learning_rate)?;
        Ok(optimizer.steps())
    }

    /// The moments of the trained parameters; none before the first step.
    pub fn moments(&self) -> Result<Vec<NamedMoments>> {
        Ok(self.optimizer.as_ref().map(AdamW::moments).transpose()?.unwrap_or_default())
    }

    /// Continues after `steps` steps with those of `moments` that are of its parameters.
    ///
    /// # Errors
    /// Moments of another shape.
    pub fn restore(&mut self, steps: u64, moments: &[NamedMoments]) -> Result<()> {
        let of = |p: &Parameter| moments.iter().find(|(name, ..)| *name == p.name).cloned();
        let both = self.parameters.iter().filter_map(|p| Some((p.clone(), of(p)?)));
        let (trained, moments): (Vec<_>, Vec<_>) = both.unzip();
        if !moments.is_empty() {
            let mut optimizer = AdamW::new(trained, self.options)?;
            optimizer.restore(steps, moments)?;
            self.optimizer = Some(optimizer);
        }
        Ok(())
    }
}

/// How gradients are clipped; a largest norm of 0 turns it off.
#[derive(Debug, Clone, Copy)]
pub(super) enum Clipping {
    /// All together.
    Together(f64),
    /// Each parameter's gradient by itself, as the original TinyBERT code does.
    Each(f64),
}

/// The options of the student's optimizer in `stage`.
pub(super) fn options(stage: &Stage, compat: Compat) -> AdamWOptions {
    AdamWOptions {
        beta1: stage.beta1,
        beta2: stage.beta2,
        eps: stage.eps,
        weight_decay: stage.weight_decay,
        bias_correction: compat == Compat::None,
    }
}

impl Clipping {
    /// How the student's gradients are clipped in `stage`.
    pub fn of(stage: &Stage, compat: Compat) -> Self {
        match compat {
            Compat::None => Clipping::Together(stage.clip),
            Compat::Huawei => Clipping::Each(stage.clip),
        }
    }

    /// Clips -> the global norm before.
    pub fn apply(self, gradients: &mut Gradients) -> Result<f64> {
        match self {
            Clipping::Together(most) if most > 0.0 => gradients.clip(most),
            Clipping::Each(most) if most > 0.0 => {
                let norm = gradients.global_norm()?;
                gradients.clip_each(most)?;
                Ok(norm)
            }
            _ => gradients.global_norm(),
        }
    }
}
