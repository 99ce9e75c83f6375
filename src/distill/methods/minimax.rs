//! Minimax-kNN-KD: the student also learns on texts of a corpus that are near the training set's in
//! the teacher's space, of each those where it is furthest from the teacher.

use anyhow::{ensure, Context, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};
use toml::Table;

use super::{stage, Configured, Method, MethodInputs, ObjectiveResult, OwnKeys};
use crate::confidence::soft_losses;
use crate::distill::losses::{self, SoftLossKind, SoftOptions};
use crate::distill::neighbours::NeighbourSearch;
use crate::distill::objective::{Needs, Objective, Setting, Step, Weighted};
use crate::distill::recipe::{Recipe, StageLayer};
use crate::distill::signals::CorpusSignals;
use crate::distill::term::{Loss, Term};
use crate::distill::terms::Terms;
use crate::error::{usage, Diagnostic};
use crate::model::{Mode, Trainable, Wanted, Workspace};

/// The divergence from the teacher on neighbours, summed over those of a text.
const NEIGHBOURS: Term = Term(&Loss {
    name: "neighbours",
    rank: 22,
    teacher_logits: true,
    runs_teacher: true,
    ..Loss::EMPTY
});

pub(super) const METHOD: Method = Method {
    name: "minimax",
    source: "Kamalloo et al. 2021, arXiv:2105.13608",
    stages: || {
        let losses = [(Term::HARD, 0.5), (Term::SOFT, 0.5), (NEIGHBOURS, 0.5)];
        let train = StageLayer {
            temperature: Some(2.0),
            t_squared: Some(true),
            warmup: Some(0.06),
            ..stage(6, 1e-5, &losses)
        };
        vec![("train", train)]
    },
    terms: &[Term::HARD, Term::SOFT, NEIGHBOURS],
    own_keys: OwnKeys::ConstrainModels,
    configure: super::configured::<Minimax>,
    ..Method::COMMON
};

/// `[minimax]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Minimax {
    /// A file of texts in the task's columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    corpus: Option<String>,
    /// The file that keeps the neighbours for other students.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<String>,
    /// The most neighbours of a text.
    neighbours: usize,
    /// Of these, how many are trained on in a step: all for the plain kNN-KD.
    chosen: usize,
    /// The largest angle of a neighbour, as a share of 180 degrees, in (0, 1].
    radius: f64,
}

impl Default for Minimax {
    /// The paper's.
    fn default() -> Self {
        Minimax { corpus: None, index: None, neighbours: 8, chosen: 4, radius: 0.22 }
    }
}

impl Configured for Minimax {
    fn objective(&self, recipe: &Recipe, setting: &Setting, number: usize) -> ObjectiveResult {
        let stage = &recipe.stages[number];
        let Some(&weight) = stage.losses.get(&NEIGHBOURS) else {
            return super::logits_objective(recipe, number);
        };
        ensure!(
            stage.losses.len() > 1,
            Diagnostic::usage("`neighbours` is the only loss, and not every text has neighbours")
                .hint("give `soft` or `hard` a weight too")
        );
        super::require_states(setting)?;
        Ok(Box::new(NearTexts {
            clean: super::terms_but(recipe, number, &[NEIGHBOURS]),
            weight,
            options: stage.soft_options(SoftLossKind::Kl, recipe.compat),
            chosen: self.chosen,
            search: NeighbourSearch { count: self.neighbours, radius: self.radius },
        }))
    }

    fn check(&self) -> Result<()> {
        ensure!(
            self.corpus.is_some(),
            Diagnostic::usage("`minimax.corpus` is missing")
                .hint("name a file of texts in the task's columns, without those of its splits")
        );
        super::require_at_least_one("minimax.neighbours", self.neighbours)?;
        super::require_at_least_one("minimax.chosen", self.chosen)?;
        let (chosen, all) = (self.chosen, self.neighbours);
        ensure!(
            chosen <= all,
            usage!("`minimax.chosen` = {chosen} is more than `minimax.neighbours` = {all}")
                .hint("train on at most as many as are found")
        );
        ensure!(
            self.radius > 0.0 && self.radius <= 1.0,
            Diagnostic::usage("`minimax.radius` must be above 0 and at most 1")
        );
        Ok(())
    }

    fn keys(&self) -> Table {
        super::keys_of(self)
    }

    fn record(&self) -> Option<(&'static str, Value)> {
        // The files are named by their digests.
        let Minimax { neighbours, chosen, radius, .. } = self;
        let own = json!({ "neighbours": neighbours, "chosen": chosen, "radius": radius });
        Some(("minimax", own))
    }

    fn inputs(&self) -> MethodInputs {
        let (corpus, index) = (self.corpus.clone(), self.index.clone());
        MethodInputs { corpus, index, ..MethodInputs::default() }
    }
}

/// The losses on a batch and on near texts.
struct NearTexts {
    clean: Terms,
    weight: f64,
    options: SoftOptions,
    chosen: usize,
    search: NeighbourSearch,
}

impl Objective for NearTexts {
    fn needs(&self) -> Needs {
        Needs { neighbours: Some(self.search), ..self.clean.needs() }
    }

    fn losses(&mut self, step: &Step) -> Result<Vec<Weighted>> {
        let mut losses = self.clean.losses(step)?;
        let corpus = step.teacher.corpus.as_ref().context("no neighbours were looked for")?;
        let candidates = step.rows.iter().map(|&row| &corpus.nearest[row as usize]);
        let candidates: Vec<&Vec<u32>> = candidates.collect();
        let chosen = furthest(step.student, corpus, &candidates, self.chosen, self.options)?;
        if !chosen.is_empty() {
            let batch = corpus.batch(&chosen);
            let dropout = step.dropout.again(1);
            let mode = Mode::Train(&dropout);
            let student = step.student.outputs(&batch, Wanted::default(), mode)?.logits;
            let mean = losses::soft(&student, &corpus.logits_of(&chosen)?, self.options)?;
            // Summed over a text's neighbours, and averaged over the texts.
            let value = (mean * (chosen.len() as f64 / step.rows.len() as f64))?;
            losses.push(Weighted { term: NEIGHBOURS, weight: self.weight, value });
        }
        Ok(losses)
    }
}

/// Texts of a batch while the candidates are run.
const TEXTS: usize = 16;

/// Of each text's `candidates` the `most` on which the student is furthest from the teacher, with
/// dropout off, in the order of the texts and the furthest first; the nearer of two equals.
fn furthest(
    student: &dyn Trainable,
    corpus: &CorpusSignals,
    candidates: &[&Vec<u32>],
    most: usize,
    options: SoftOptions,
) -> Result<Vec<u32>> {
    let all: Vec<u32> = candidates.iter().copied().flatten().copied().collect();
    if candidates.iter().all(|candidates| candidates.len() <= most) {
        return Ok(all);
    }
    let run = |workspace: &mut Workspace, rows: &[u32]| -> Result<Vec<f64>> {
        let logits = student.logits(&corpus.batch(rows), workspace)?;
        let labels = corpus.logits.labels;
        let teacher = rows.iter().map(|&row| corpus.logits.row(row as usize));
        let divergence = |(of_student, of_teacher): (&[f32], &[f32])| {
            soft_losses(of_teacher, of_student, labels, options.temperature).0
        };
        Ok(logits.chunks_exact(labels).zip(teacher).map(divergence).collect())
    };
    let parts = all.par_chunks(TEXTS).map_init(Workspace::default, run);
    let divergences: Vec<Vec<f64>> = parts.collect::<Result<_>>()?;
    let mut divergences = divergences.into_iter().flatten();
    let mut chosen = Vec::new();
    for candidates in candidates {
        let mut of_one: Vec<(u32, f64)> =
            candidates.iter().copied().zip(&mut divergences).collect();
        of_one.sort_by(|a, b| b.1.total_cmp(&a.1));
        chosen.extend(of_one.into_iter().take(most).map(|(row, _)| row));
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::TokenizedExample;
    use crate::distill::objective::Turn;
    use crate::distill::recipe::Compat;
    use crate::distill::signals::Signals;
    use crate::distill::testing::{classifier, VOCABULARY};
    use crate::inference::Logits;
    use crate::model::{Dropout, DropoutRates, PackedBatch};

    const OPTIONS: SoftOptions = SoftOptions {
        temperature: 2.0,
        t_squared: true,
        divergence: SoftLossKind::Kl,
        over_labels: false,
    };

    /// Texts of three to five tokens.
    fn text(i: u32) -> TokenizedExample {
        let input_ids: Vec<u32> =
            (0..3 + i % 3).map(|j| (i * 7 + j * 5) % VOCABULARY as u32).collect();
        TokenizedExample { token_type_ids: vec![0; input_ids.len()], input_ids, truncated: false }
    }

    /// A corpus of ten texts, and the neighbours of three texts.
    fn corpus() -> CorpusSignals {
        let values = (0..20).map(|i| ((i * 37 % 11) as f32 - 5.0) / 2.0).collect();
        CorpusSignals {
            logits: Logits { values, labels: 2 },
            tokens: (0..10).map(text).collect(),
            nearest: vec![vec![3, 1, 8, 6], vec![9, 2], vec![]],
        }
    }

    /// KL(T‖S) of the corpus's texts at the temperature, by its definition.
    fn divergences(student: &dyn Trainable, corpus: &CorpusSignals) -> Vec<f64> {
        let all: Vec<u32> = (0..10).collect();
        let logits = student.forward(&corpus.batch(&all)).unwrap().to_vec2::<f32>().unwrap();
        let probabilities = |logits: &[f32]| {
            let exp: Vec<f64> = logits.iter().map(|z| (f64::from(*z) / 2.0).exp()).collect();
            let sum: f64 = exp.iter().sum();
            exp.into_iter().map(|e| e / sum).collect::<Vec<_>>()
        };
        let of = |(row, student): (usize, &Vec<f32>)| {
            let (p, q) = (probabilities(corpus.logits.row(row)), probabilities(student));
            p.iter().zip(&q).map(|(p, q)| p * (p / q).ln()).sum()
        };
        logits.iter().enumerate().map(of).collect()
    }

    #[test]
    fn those_furthest_from_the_teacher_are_chosen() {
        let (student, corpus) = (classifier(1, 1), corpus());
        let divergences = divergences(&*student, &corpus);
        let candidates: Vec<&Vec<u32>> = corpus.nearest.iter().collect();
        for most in 1..=4 {
            let expected = corpus.nearest.iter().flat_map(|rows| {
                let mut rows = rows.clone();
                if corpus.nearest.iter().any(|rows| rows.len() > most) {
                    rows.sort_by(|a, b| {
                        divergences[*b as usize].total_cmp(&divergences[*a as usize])
                    });
                }
                rows.truncate(most);
                rows
            });
            let expected: Vec<u32> = expected.collect();
            let chosen = furthest(&*student, &corpus, &candidates, most, OPTIONS).unwrap();
            assert_eq!(chosen, expected, "{most}");
        }
    }

    #[test]
    fn with_every_neighbour_it_is_the_plain_knn_kd() {
        let (student, corpus) = (classifier(1, 1), corpus());
        let divergences = divergences(&*student, &corpus);
        let all = corpus.nearest.iter().flatten().map(|row| divergences[*row as usize]);
        // t² times the sum over a text's neighbours, averaged over the three texts.
        let expected = 4.0 * all.sum::<f64>() / 3.0;
        let logits = Some(Logits { values: vec![0.5; 6], labels: 2 });
        let signals = Signals { logits, corpus: Some(corpus), ..Signals::default() };
        let tokens = [text(20), text(21), text(22)];
        let (batch, dropout) =
            (PackedBatch::new(&tokens), Dropout::new(DropoutRates::default(), 0, 0));
        let step = Step {
            rows: &[0, 1, 2],
            batch: &batch,
            labels: &[None, None, None],
            student: &*student,
            dropout: &dropout,
            teacher: &signals,
            turn: Turn::Student,
            epoch: 0,
            number: 0,
        };
        let losses = [(Term::SOFT, 0.5)].into_iter().collect();
        let clean = Terms::of_logits(&losses, OPTIONS, Compat::None);
        let search = NeighbourSearch { count: 4, radius: 0.2 };
        let mut near = NearTexts { clean, weight: 0.25, options: OPTIONS, chosen: 4, search };
        let losses = near.losses(&step).unwrap();
        let [soft, neighbours] = losses.as_slice() else { panic!("two losses") };
        assert_eq!((soft.term, neighbours.term), (Term::SOFT, NEIGHBOURS));
        let value = f64::from(neighbours.value.to_scalar::<f32>().unwrap());
        assert!((value - expected).abs() < 1e-6 * expected.max(1.0), "{value} {expected}");
        assert_eq!(neighbours.weight, 0.25);
    }
}
