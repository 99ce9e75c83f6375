//! An audit from given differences: the verdict of all of them, and a sample of them run again.

use anyhow::{bail, Result};
use rand::seq::SliceRandom;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{json, Value};

use super::classifier::{Classifier, Role};
use super::gate::Gate;
use super::run::run_rows;
use super::splits::{load_gating_split, load_secondary_split, secondary_names, Split};
use super::Session;
use crate::check::{
    draw_order, seed_of_data, Budget, Certainty, Course, Sequential, SequentialTest, Verdict,
};
use crate::confidence::{
    difference_histogram, largest_difference, spread, student_confidence, DifferenceSums,
    Predictions, Statistic,
};
use crate::config::{Settings, Stop};
use crate::error::usage;
use crate::inference::Windows;
use crate::report::schema::{ModelManifest, Outcome};
use crate::report::{PredictionRow, PredictionTable};

/// Which examples are run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleOptions {
    /// Examples of each split, at most.
    pub asked: usize,
    /// Seed of the draw.
    pub seed: u64,
}

/// The audit of one task from given differences.
pub struct SampledTask {
    /// Names of the splits that the audit takes, the gating one first.
    pub names: Vec<String>,
    /// The teacher and the student.
    pub models: [ModelManifest; 2],
    /// The splits of which differences were given, and the gating one.
    pub splits: Vec<SampledSplit>,
}

/// One split of an audit from given differences.
pub struct SampledSplit {
    /// The split's name.
    pub split: String,
    /// The label of each example that the run took, in the order of the run (n).
    pub labels: Vec<Option<u32>>,
    /// The positions in the split of these examples (n).
    pub order: Vec<u32>,
    /// The fields of the report row that follow from the differences; null where none were given.
    pub derived: Value,
    /// Places of the sample in `order`.
    pub places: Vec<usize>,
    /// What both models say of the sample.
    pub table: PredictionTable,
}

/// The audit of `settings` in which `given` has the differences d of a split, in the order of its run;
/// only a sample is run.
///
/// # Errors
/// The published statistic, which differences alone do not give; a split that cannot be read, a model
/// that cannot be run.
pub fn audit_sample(
    settings: &Settings,
    session: &Session,
    given: impl Fn(&str) -> Option<Vec<f64>>,
    sample: SampleOptions,
) -> Result<SampledTask> {
    if settings.statistic == Statistic::Published {
        bail!(usage!("`--sample` does not support the statistic `published`")
            .hint("leave --sample out, which verifies the whole report"));
    }
    let mut splits = vec![load_gating_split(settings, &session.hub)?];
    let mut all = vec![splits[0].dataset.split.clone()];
    for name in secondary_names(settings, &session.hub)? {
        if given(&name).is_some() {
            splits.push(load_secondary_split(&name, settings, &session.hub)?);
        }
        all.push(name);
    }
    let data = &splits[0].dataset;
    let (teacher, student) = (settings.require_teacher()?, settings.require_student()?);
    let teacher = Classifier::open(Role::Teacher, teacher, settings, &[], data, session)?;
    let names = teacher.label_names().to_vec();
    let student = Classifier::open(Role::Student, student, settings, &names, data, session)?;
    settings.label_map.check_used(teacher.own_labels(), student.own_labels())?;
    let gate = Gate::of(settings, &student, data.examples.len())?;
    let mut audit = SampledAudit { models: [teacher, student], gate, settings, session, sample };
    let sampled = splits.iter().map(|split| audit.split(split, given(&split.dataset.split)));
    let splits = sampled.collect::<Result<_>>()?;
    let models = audit.models.map(|model| model.into_manifest(settings));
    Ok(SampledTask { names: all, models, splits })
}

/// The models and settings of an audit from given differences.
struct SampledAudit<'a> {
    models: [Classifier; 2],
    gate: Gate,
    settings: &'a Settings,
    session: &'a Session,
    sample: SampleOptions,
}

impl SampledAudit<'_> {
    fn split(&mut self, split: &Split, given: Option<Vec<f64>>) -> Result<SampledSplit> {
        let dataset = &split.dataset;
        let order = order_of_run(split, self.settings, given.as_ref().map_or(0, Vec::len));
        let label_names = self.models[0].label_names().to_vec();
        let derived = match given.filter(|given| given.len() == order.len()) {
            Some(d) => derived(&d, split, &self.gate, self.settings, &label_names)?,
            None => Value::Null,
        };
        let mut places: Vec<usize> = (0..order.len()).collect();
        places.shuffle(&mut ChaCha8Rng::seed_from_u64(self.sample.seed));
        places.truncate(self.sample.asked);
        places.sort_unstable();
        let rows: Vec<u32> = places.iter().map(|&place| order[place]).collect();
        let rows = if rows.is_empty() { Vec::new() } else { self.run_again(split, &rows)? };
        let (task, split) = (dataset.task.clone(), dataset.split.clone());
        let labels = order.iter().map(|&row| dataset.examples[row as usize].label).collect();
        let table = PredictionTable { task, split: split.clone(), label_names, rows };
        Ok(SampledSplit { split, labels, order, derived, places, table })
    }

    /// Both models on the examples `rows` of `split`.
    fn run_again(&mut self, split: &Split, rows: &[u32]) -> Result<Vec<PredictionRow>> {
        let (dataset, kind) = (&split.dataset, self.gate.kind);
        let [teacher, student] = &mut self.models;
        let of = |model: &mut Classifier| {
            let logits = run_rows(model, dataset, rows, self.settings, self.session)?.logits;
            anyhow::Ok(Predictions::from_logits(&logits.values, logits.labels)?)
        };
        let (teacher, student) = (of(teacher)?, of(student)?);
        let row = |(i, &index): (usize, &u32)| {
            let confidence = student_confidence(&teacher, &student, kind, i);
            let student_confidence = confidence.expect("models that are run have distributions");
            PredictionRow {
                index: index as usize,
                label: dataset.examples[index as usize].label,
                teacher_confidence: teacher.confidence(i),
                student_confidence,
                teacher_predicted: teacher.predicted(i),
                student_predicted: student.predicted(i),
                difference: teacher.confidence(i) - student_confidence,
            }
        };
        Ok(rows.iter().enumerate().map(row).collect())
    }
}

/// The stopping rule of `split`.
fn stop_of(split: &Split, settings: &Settings) -> Stop {
    if split.gates {
        settings.stop
    } else {
        Stop::AtEnd
    }
}

fn seed_of_draws(split: &Split, settings: &Settings) -> u64 {
    match settings.seed {
        0 => seed_of_data(&split.dataset.sha256),
        seed => seed,
    }
}

/// Positions of the examples that a run over `taken` examples took, in its order: all of them, unless
/// the run may end early.
fn order_of_run(split: &Split, settings: &Settings, taken: usize) -> Vec<u32> {
    let n = split.dataset.examples.len();
    match stop_of(split, settings) {
        Stop::Sequential { .. } if taken < n => {
            draw_order(n, seed_of_draws(split, settings))[..taken].to_vec()
        }
        Stop::FailFast if taken < n => (0..taken as u32).collect(),
        _ => (0..n as u32).collect(),
    }
}

/// How a run ended, as its differences say.
struct ReplayedEnding {
    /// `None` if the differences do not decide.
    verdict: Option<Verdict>,
    certainty: Certainty,
    /// Examples that a run with these differences takes.
    examples_run: usize,
    draws: Option<Sequential>,
}

/// The ending of a run with `differences` (n), in the order of [`order_of_run`].
fn replayed(
    differences: &[f64],
    split: &Split,
    gate: &Gate,
    settings: &Settings,
    labels: usize,
) -> Result<ReplayedEnding> {
    let n = split.dataset.examples.len();
    let budget = Budget::new(&gate.bound_of(split.gates), n);
    let spent = DifferenceSums::of(differences).spent(gate.statistic);
    let whole = ReplayedEnding {
        verdict: (differences.len() == n).then(|| budget.verdict(spent)),
        certainty: Certainty::Exact,
        examples_run: n,
        draws: None,
    };
    match stop_of(split, settings) {
        Stop::AtEnd => Ok(whole),
        Stop::FailFast => {
            let (mut end, mut number) = (0, 0);
            while end < differences.len() {
                end = (end + Windows::EARLY.size(number)).min(n);
                number += 1;
                let sums = DifferenceSums::of(&differences[..end.min(differences.len())]);
                if !budget.allows(sums.spent(gate.statistic)) && end < n {
                    let verdict = Some(Verdict::NotPreserved);
                    return Ok(ReplayedEnding { verdict, examples_run: end, ..whole });
                }
            }
            Ok(whole)
        }
        Stop::Sequential { delta } => {
            let seed = seed_of_draws(split, settings);
            let order = draw_order(n, seed);
            let d = |i: usize| match differences.len() == n {
                true => differences[order[i] as usize],
                false => differences[i],
            };
            let largest = largest_difference(gate.kind, labels);
            let mut test = SequentialTest::new(budget, n, largest, delta)?;
            let decided = (0..differences.len()).find_map(|i| Some((i + 1, test.draw(d(i))?)));
            let draws = Some(test.summary(seed));
            Ok(match decided.filter(|(taken, _)| *taken < n) {
                Some((examples_run, decision)) => ReplayedEnding {
                    verdict: Some(decision.verdict),
                    certainty: decision.certainty,
                    examples_run,
                    draws,
                },
                None => ReplayedEnding { draws, ..whole },
            })
        }
    }
}

/// The fields of the report row that follow from `differences` (n).
fn derived(
    differences: &[f64],
    split: &Split,
    gate: &Gate,
    settings: &Settings,
    label_names: &[String],
) -> Result<Value> {
    let (n, labels) = (split.dataset.examples.len(), label_names.len());
    let largest = largest_difference(gate.kind, labels);
    if let Some(d) = differences.iter().find(|d| d.abs() > largest) {
        bail!("a difference of two confidences is {d}, beyond ±{largest}");
    }
    let bound = gate.bound_of(split.gates);
    let (budget, sums) = (Budget::new(&bound, n), DifferenceSums::of(differences));
    let spent = sums.spent(gate.statistic);
    let ending = replayed(differences, split, gate, settings, labels)?;
    let all: Vec<Option<f64>> = differences.iter().copied().map(Some).collect();
    let course = Course::new(&all, gate.statistic, &budget);
    let whole = differences.len() == n;
    let of_whole = |sigma: Option<f64>| sigma.filter(|_| whole);
    let of_part = |sigma: Option<f64>| sigma.filter(|_| !whole);
    let row = json!({
        "split": split.dataset.split,
        "gates": split.gates,
        "labels": label_names,
        "n": n,
        "of": split.dataset.available,
        "partial": n < split.dataset.available,
        "error": null,
        "verdict": ending.verdict.map(Outcome::from),
        "certainty": ending.certainty,
        "examples_run": ending.examples_run,
        "sequential": ending.draws,
        "statistic": gate.statistic,
        "confidence": gate.kind,
        "sigma": of_whole(sums.sigma()),
        "sigma_prefix": of_part(sums.sigma_of(gate.statistic)),
        "sigma_at_least": of_part(Some((spent.to_f64() / n as f64).sqrt())),
        "sigma_centred": of_whole(sums.sigma_centred()),
        "mean_difference": sums.mean(),
        "kappa": bound.kappa(n),
        "beta": bound.beta(n),
        "beta_per_example": bound.beta_per_example(n),
        "alpha": bound.alpha(),
        "gamma": bound.gamma(),
        "bound_origin": gate.origin,
        "budget": budget.value(),
        "spent": spent.to_f64(),
        "spent_share": budget.share(spent),
        "course": course.points,
        "exhausted_at": course.exhausted_at,
        "difference": spread(differences).ok(),
        "differences": difference_histogram(differences, gate.kind, labels),
        "data_sha256": split.dataset.sha256,
        "device": settings.device,
        "seed": settings.seed,
    });
    Ok(row)
}
