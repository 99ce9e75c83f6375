//! The adversary of MATE-KD: a masked language model that rewrites texts so that teacher and student
//! disagree about them.
//!
//! Rashid et al. 2021, arXiv:2105.05912. The generator replaces a random share of the tokens. The
//! student learns from the teacher on the rewritten texts too; in turns with it, the generator learns
//! to raise the divergence, through both models. A draw from the generator is a token, so its
//! gradient is that of the softmax of the same draw (straight-through Gumbel-softmax).

mod draws; // masks and samples

use std::sync::Arc;

use anyhow::{ensure, Context, Result};
use candle_core::{Tensor, D};
use candle_nn::ops::{log_softmax, softmax};
use serde::{Deserialize, Serialize};

use self::draws::TokenDraws;
use super::losses::{self, SoftLossKind, SoftOptions};
use super::methods::{require_same_tokens, require_states, MethodInputs};
use super::objective::{Needs, Objective, OpenedMaskedLm, Opponent, Setting, Step, Turn, Weighted};
use super::optimizer::AdamWOptions;
use super::signals::TeacherModel;
use super::term::{Loss, Term};
use super::terms::{Annealing, Terms};
use crate::error::{usage, Diagnostic};
use crate::model::Wanted;
use crate::model::{ops, Dropout, DropoutRates, Frozen, MaskedLm, Mode, PackedBatch, Parameter};

/// `[METHOD.generator]`: the generator, and its turns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GeneratorKeys {
    /// A checkpoint with a masked-language-model head: a folder or a Hub id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// Share of the tokens that are replaced, in (0, 1].
    pub mask: f64,
    /// Temperature of the Gumbel-softmax, above 0.
    pub temperature: f64,
    /// Steps of the generator in each cycle.
    pub steps: usize,
    /// Steps of the student after them.
    pub student_steps: usize,
    /// The generator's learning rate, constant.
    pub learning_rate: f64,
}

impl Default for GeneratorKeys {
    /// The values of the published code.
    fn default() -> Self {
        GeneratorKeys {
            checkpoint: None,
            mask: 0.3,
            temperature: 1.0,
            steps: 10,
            student_steps: 100,
            learning_rate: 5e-7,
        }
    }
}

impl GeneratorKeys {
    /// Checks the ranges; `table` is the keys' table.
    ///
    /// # Errors
    /// A usage error that names the key.
    pub fn check(&self, table: &str) -> Result<()> {
        ensure!(
            self.checkpoint.is_some(),
            usage!("`{table}.checkpoint` is missing").hint(
                "name a checkpoint with a masked-language-model head over the student's vocabulary"
            )
        );
        let above_zero = |x: f64| x > 0.0 && x.is_finite();
        let checks = [
            ("mask", self.mask > 0.0 && self.mask <= 1.0, "must be a share above 0 and at most 1"),
            ("temperature", above_zero(self.temperature), "must be above 0, and finite"),
            ("steps", self.steps > 0, "must be at least 1"),
            ("student_steps", self.student_steps > 0, "must be at least 1"),
            ("learning_rate", above_zero(self.learning_rate), "must be above 0, and finite"),
        ];
        let wrong = checks.into_iter().find(|(_, holds, _)| !holds);
        wrong.map_or(Ok(()), |(key, _, why)| Err(usage!("`{table}.{key}` {why}").into()))
    }

    /// The keys that decide a training: its digest stands for the checkpoint.
    pub fn without_path(&self) -> Self {
        GeneratorKeys { checkpoint: None, ..self.clone() }
    }

    /// What it reads.
    pub fn inputs(&self) -> MethodInputs {
        MethodInputs { masked_lm: self.checkpoint.clone(), ..MethodInputs::default() }
    }

    /// Who learns from step number `step` of the stage: each cycle begins with the generator.
    fn turn(&self, step: u64) -> Turn {
        match step % (self.steps + self.student_steps) as u64 {
            step if step < self.steps as u64 => Turn::Opponent,
            _ => Turn::Student,
        }
    }
}

/// The student's divergence from the teacher on rewritten texts.
pub const ADVERSARIAL: Term = Term(&Loss {
    name: "adversarial",
    rank: 20,
    teacher_logits: true,
    runs_teacher: true,
    ..Loss::EMPTY
});

/// The divergence on rewritten texts that the generator raises.
pub const GENERATOR: Term =
    Term(&Loss { name: "generator", rank: 21, teacher_logits: true, ..Loss::EMPTY });

/// Largest global norm of the generator's gradient.
pub const CLIP: f64 = 5.0;

/// Prefix of the names of the generator's parameters.
const PREFIX: &str = "generator.";

/// How logits on rewritten texts are compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Compared {
    /// By their probabilities; the generator raises the cross-entropy.
    Probabilities(SoftOptions),
    /// By the squared difference from the teacher's, annealed for the student alone.
    Logits(Annealing),
}

/// A training against a generator.
pub struct Adversarial {
    /// The losses on the texts as they are.
    pub clean: Terms,
    /// The weight of [`ADVERSARIAL`].
    pub weight: f64,
    pub compared: Compared,
    pub generator: Generator,
}

impl Adversarial {
    /// The student's loss on rewritten texts.
    fn of_student(&self, step: &Step, teacher: &TeacherModel) -> Result<Tensor> {
        let rewritten = self.generator.rewritten(step)?;
        let mode = step.dropout.again(1);
        let student = step.student.outputs(&rewritten, Wanted::default(), Mode::Train(&mode))?;
        let target = teacher.logits(&teacher.batch_of(step.rows, &rewritten))?.detach();
        match self.compared {
            Compared::Probabilities(options) => losses::soft(&student.logits, &target, options),
            Compared::Logits(annealing) => {
                losses::logits_mse(&student.logits, &(target * annealing.factor(step.epoch))?)
            }
        }
    }

    /// What the generator raises.
    fn of_generator(&self, step: &Step, teacher: &TeacherModel) -> Result<Tensor> {
        let Some(soft) = self.generator.soft(step)? else {
            // Nothing can be masked: a loss that depends on the generator, and changes nothing.
            return Ok((self.generator.logits(step, step.batch, &[0])?.sum_all()? * 0.0)?);
        };
        // Without the student's own gradients.
        let student = step.student.snapshot()?;
        let words = soft.words(student.word_embeddings())?;
        let mode = Mode::Train(step.dropout);
        let student = student.outputs_from(&words, step.batch, Wanted::default(), mode)?.logits;
        let words = soft.words(teacher.model.word_embeddings())?;
        let target = teacher.logits_from(&words, &teacher.batch_of(step.rows, step.batch))?;
        match self.compared {
            Compared::Probabilities(options) => {
                let divergence = SoftLossKind::CrossEntropy;
                losses::soft(&student, &target, SoftOptions { divergence, ..options })
            }
            Compared::Logits(_) => losses::logits_mse(&student, &target),
        }
    }
}

impl Objective for Adversarial {
    fn needs(&self) -> Needs {
        Needs { model: true, ..self.clean.needs() }
    }

    fn opponent(&self) -> Option<&Opponent> {
        Some(&self.generator.opponent)
    }

    fn turn(&self, step: u64) -> Turn {
        self.generator.keys.turn(step)
    }

    fn losses(&mut self, step: &Step) -> Result<Vec<Weighted>> {
        let teacher = step.teacher.model.as_ref().context("the teacher is not loaded")?;
        if step.turn == Turn::Opponent {
            let value = self.of_generator(step, teacher)?;
            return Ok(vec![Weighted { term: GENERATOR, weight: -1.0, value }]);
        }
        let mut losses = self.clean.losses(step)?;
        let value = self.of_student(step, teacher)?;
        losses.push(Weighted { term: ADVERSARIAL, weight: self.weight, value });
        Ok(losses)
    }
}

/// The masked language model that rewrites texts.
pub struct Generator {
    model: MaskedLm,
    opponent: Opponent,
    dropout: DropoutRates,
    keys: GeneratorKeys,
    /// The id of [MASK].
    mask: u32,
    /// Whether a token may be replaced (V).
    is_ordinary: Arc<[bool]>,
    seed: u64,
}

/// The generator's tokens for the masked places of a batch, as a distribution with a gradient.
struct SoftTokens {
    /// The ids of the batch with the drawn tokens (T).
    ids: Vec<u32>,
    /// The replaced tokens, counted over the packed sequences (M).
    places: Vec<u32>,
    /// The Gumbel-softmax of the draw (M, V).
    probabilities: Tensor,
}

impl Generator {
    /// The generator of a student, with the random draws of `seed`.
    ///
    /// # Errors
    /// A usage error where it does not suit the models.
    pub fn new(keys: &GeneratorKeys, setting: &Setting, seed: u64) -> Result<Self> {
        let given = setting.masked_lm.as_ref().context("no generator was opened")?;
        require_states(setting)?;
        require_same_tokens(setting)?;
        let (model, parameters) = given.model.trainable(Frozen::Nothing)?;
        let named = |p: Parameter| Parameter { name: format!("{PREFIX}{}", p.name), ..p };
        let opponent = Opponent {
            parameters: parameters.into_iter().map(named).collect(),
            learning_rate: keys.learning_rate,
            options: AdamWOptions { weight_decay: 0.0, ..AdamWOptions::default() },
            clip: CLIP,
        };
        let OpenedMaskedLm { dropout, mask, is_ordinary, .. } = given.clone();
        Ok(Generator { model, opponent, dropout, keys: keys.clone(), mask, is_ordinary, seed })
    }

    /// The masks of a step, and the draws at them.
    fn draw(&self, step: &Step) -> TokenDraws {
        TokenDraws::new(self.seed, step.number, step.batch, self.keys.mask, &self.is_ordinary)
    }

    /// Logits (M, V) at the tokens `places` of `batch`.
    fn logits(&self, step: &Step, batch: &PackedBatch, places: &[u32]) -> Result<Tensor> {
        // Other elements than those that the student drops.
        let dropout = Dropout::new(self.dropout, !self.seed, step.number);
        Ok(self.model.logits(batch, places, Mode::Train(&dropout))?)
    }

    /// `batch` with [MASK] at `places`.
    fn masked(&self, batch: &PackedBatch, places: &[u32]) -> PackedBatch {
        let mut masked = batch.clone();
        places.iter().for_each(|&place| masked.input_ids[place as usize] = self.mask);
        masked
    }

    /// The step's texts with the generator's tokens at the masked places.
    fn rewritten(&self, step: &Step) -> Result<PackedBatch> {
        let draw = self.draw(step);
        let places = draw.places.clone();
        let mut batch = step.batch.clone();
        if places.is_empty() {
            return Ok(batch);
        }
        let logits = self.logits(step, &self.masked(step.batch, &places), &places)?.detach();
        let tokens = draw.tokens(&logits.to_vec2()?);
        for (place, token) in places.into_iter().zip(tokens) {
            batch.input_ids[place as usize] = token;
        }
        Ok(batch)
    }

    /// The step's texts as the generator learns from them; `None` where nothing can be masked.
    fn soft(&self, step: &Step) -> Result<Option<SoftTokens>> {
        let draw = self.draw(step);
        let places = draw.places.clone();
        if places.is_empty() {
            return Ok(None);
        }
        let logits = self.logits(step, &self.masked(step.batch, &places), &places)?; // (M, V)
        let noise = draw.gumbel(logits.dims2()?)?;
        Ok(Some(SoftTokens::of(&logits, &noise, self.keys.temperature, step.batch, places)?))
    }
}

impl SoftTokens {
    /// The draw of `noise` from `logits`, both (M, V), for the tokens `places` (M) of `batch`.
    fn of(
        logits: &Tensor,
        noise: &Tensor,
        temperature: f64,
        batch: &PackedBatch,
        places: Vec<u32>,
    ) -> Result<Self> {
        let scores = ((log_softmax(logits, D::Minus1)? + noise)? / temperature)?;
        let probabilities = softmax(&scores, D::Minus1)?; // (M, V)
        let drawn = probabilities.detach().argmax(D::Minus1)?.to_vec1::<u32>()?; // (M)
        let mut ids = batch.input_ids.clone();
        for (&place, token) in places.iter().zip(drawn) {
            ids[place as usize] = token;
        }
        Ok(SoftTokens { ids, places, probabilities })
    }

    /// The rows (T, E) of `table` (V, E): those of the drawn tokens, with the gradient of the
    /// probabilities' rows.
    fn words(&self, table: &Tensor) -> Result<Tensor> {
        let table = table.detach();
        let drawn = ops::embed(&table, self.ids.clone())?;
        // Zeros, whose gradient is that of the probabilities.
        let zeros = (&self.probabilities - self.probabilities.detach())?.matmul(&table)?; // (M, E)
        self.with_added(&drawn, &zeros)
    }

    /// `words` (T, E) with `rows` (M, E) added at the replaced tokens.
    fn with_added(&self, words: &Tensor, rows: &Tensor) -> Result<Tensor> {
        let nothing = Tensor::zeros((1, rows.dim(1)?), rows.dtype(), rows.device())?;
        let rows = Tensor::cat(&[&nothing, rows], 0)?; // (1 + M, E)
        let mut row_of = vec![0; self.ids.len()];
        for (row, &place) in self.places.iter().enumerate() {
            row_of[place as usize] = row as u32 + 1;
        }
        Ok((words + ops::embed(&rows, row_of)?)?)
    }
}

/// Fails if `generator` does not read the student's token ids.
pub fn require_same_vocabulary(
    source: &str,
    (generator, student): (usize, usize),
    same_ids: bool,
) -> Result<()> {
    ensure!(
        generator == student && same_ids,
        Diagnostic::usage(format!(
            "the generator `{source}` has another vocabulary than the student or the teacher: its \
             tokens replace theirs"
        ))
        .hint("name a masked language model with their tokenizer")
    );
    Ok(())
}

#[cfg(test)]
mod tests;
