//! What `audit tune` reports: `tune.json`, and the forms that are made of it.
//!
//! `configs/tuning.schema.json` is generated from these types; a test keeps it fresh.

pub(super) mod csv; // every trial, a line each
mod document;
mod epochs; // every epoch, a line each
#[cfg(test)]
pub(super) mod samples;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(super) use csv::write_csv;
pub(super) use document::document;
pub(super) use epochs::write_epochs;
pub use epochs::TrainedEpoch;

use super::numbers::{chosen, decimal, signed};
use super::schema::{Manifest, Note, Outcome};
use crate::check::AccuracyTest;

/// Raised when a field is renamed, removed or changes its meaning; additions do not raise it.
pub const TUNING_VERSION: u32 = 2;

/// A tune: every trial, the best student, and what it is held against.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tuning {
    /// [`TUNING_VERSION`] of the program that wrote the report.
    pub schema_version: u32,
    /// `preserved` where the winner keeps both constraints, with every seed; the audit of the written
    /// checkpoint decides the first of them.
    pub verdict: Outcome,
    /// The exit code that belongs to `verdict`: 0 or 1.
    pub exit_code: u8,
    /// The task's name.
    pub task: String,
    /// The statistic that gates: `rms`, `centred` or `published`.
    pub statistic: String,
    /// The confidence that is compared: `max` or `teacher-class`.
    pub confidence: String,
    /// κ on the training set.
    pub kappa: f64,
    /// Who set the bound.
    pub bound_origin: String,
    /// N of the training set.
    pub n: usize,
    /// What accuracy is held against: `default`, `teacher` or `a number`.
    pub reference: String,
    /// That accuracy, on the seen part of the validation split.
    pub reference_accuracy: f64,
    /// Seeds of the default settings that the accuracy is the mean of; none for another reference.
    #[serde(default)]
    pub reference_seeds: Vec<u64>,
    /// What may be lost of it.
    pub epsilon: f64,
    /// Level of the test that must show that no more is lost; null where the accuracy is compared as it
    /// is.
    #[serde(default)]
    pub non_inferiority: Option<f64>,
    /// What decides among students that keep both constraints: `accuracy`, `sigma`, `cost`, `size`.
    pub objective: String,
    /// How settings were chosen: `tpe` or `random`.
    pub search: String,
    /// Seed of the search, the cut and the trials' trainings.
    pub seed: u64,
    /// Labelled examples of the validation split that the search saw.
    pub seen: usize,
    /// Those that it did not see.
    pub unseen: usize,
    /// The teacher's accuracy on both parts.
    pub teacher_accuracy: [f64; 2],
    /// The units of violations.
    #[serde(default)]
    pub violation_units: Option<ViolationUnits>,
    /// The trials, in the order in which they began; the first has the default settings.
    pub trials: Vec<Trial>,
    /// Trials of another search that informed the proposals; null without `warm_start`.
    #[serde(default)]
    pub warm_start: Option<WarmStarted>,
    /// The epochs of every training, in the order in which the trainings began.
    #[serde(default)]
    pub epochs: Vec<TrainedEpoch>,
    /// How far the search is, while it runs; the verdict is then that of the best trial so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<RunningTune>,
    /// The winner's checkpoint as it was written: what the verdict is of.
    pub audited: Audited,
    /// The default settings, with every seed.
    pub default: Finalist,
    /// The best student, with every seed. Where nothing is feasible, the one with the least
    /// violation.
    pub winner: Finalist,
    /// Whether the winner keeps both constraints with every seed; null where no trial is feasible or
    /// there are no further seeds. If `false`, no finalist does, and the winner is the best of them.
    #[serde(default)]
    pub confirmed: Option<bool>,
    /// The most feasible trials that are trained with further seeds for that.
    #[serde(default)]
    pub confirm: Option<usize>,
    /// Feasible trials that were trained with further seeds, the best first, up to the first that
    /// holds.
    #[serde(default)]
    pub finalists: Vec<Finalist>,
    /// What stood in the way, where the verdict is not `preserved`.
    pub obstacle: Option<String>,
    /// How much of the spread of a figure over the trials each key explains.
    pub importance: Vec<Importance>,
    /// Notes and warnings.
    pub notes: Vec<Note>,
    /// What decided the numbers, so that they can be made again.
    pub manifest: Manifest,
}

/// The audit of the written checkpoint over the training set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Audited {
    /// σ in the statistic and confidence that gate.
    pub sigma: f64,
    /// σ ≤ κ, by the budget.
    pub preserved: bool,
}

/// What a tune took from another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WarmStarted {
    /// Number of its trials that are settings of this space.
    pub trials: usize,
    /// The others, with the reason.
    pub skipped: Vec<String>,
}

/// A tune that is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunningTune {
    /// Trials that are over.
    pub over: usize,
    /// Trials that were asked for.
    pub trials: usize,
    /// The trial that is being trained with further seeds, once the trials are over.
    #[serde(default)]
    pub confirming: Option<usize>,
}

/// The units in which a violation adds up the excess of σ and the shortfall of accuracy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ViolationUnits {
    /// The interquartile range of σ over the finished trials; else κ.
    pub sigma: f64,
    /// Whether it is that range: with few trials, or where half of them are equal, it is not.
    #[serde(default)]
    pub sigma_is_spread: bool,
    /// The interquartile range of the accuracy; else one standard error of the reference.
    pub accuracy: f64,
    /// Whether it is that range.
    #[serde(default)]
    pub accuracy_is_spread: bool,
}

/// One trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trial {
    /// Its number, from 1.
    pub trial: usize,
    /// Its settings.
    pub values: BTreeMap<String, Value>,
    /// `finished`, `stopped`, `failed` or `unfinished`.
    pub outcome: String,
    /// Why it was stopped or failed.
    pub why: Option<String>,
    /// What it shows: measured at its end, or when it was stopped.
    pub figures: Option<Figures>,
    /// Whether it keeps both constraints, with a temperature or without.
    pub feasible: bool,
    /// How far it is from that, in `violation_units`; null for a trial that did not finish.
    pub violation: Option<f64>,
    /// Whether no other finished student is as good in σ and in accuracy, as both were trained, and
    /// better in one.
    pub pareto: bool,
}

/// What a trial shows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Figures {
    /// σ on the training set; of a stopped trial, on the watched sample of it.
    pub sigma: f64,
    /// σ ≤ κ, by the budget; null for a stopped trial.
    pub preserved: Option<bool>,
    /// Accuracy on the seen part of the validation split.
    pub accuracy: f64,
    /// The temperature that was fit on the seen part of the validation split.
    pub temperature: Option<f64>,
    /// σ on the training set with it.
    pub recalibrated_sigma: Option<f64>,
    /// Whether that is σ ≤ κ.
    pub recalibrated_preserved: Option<bool>,
    /// Accuracy on the training set.
    pub train_accuracy: Option<f64>,
    /// Epochs of all stages that were trained.
    pub epochs: Option<usize>,
    /// Passes of the training set through one layer.
    pub cost: Option<usize>,
    /// Parameters of the student.
    pub parameters: Option<usize>,
    /// The accuracy against the reference, on the same examples.
    #[serde(default)]
    pub accuracy_test: Option<AccuracyTest>,
}

/// Settings that were trained with several seeds and held against data that the search did not see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finalist {
    /// The trial.
    pub trial: usize,
    /// Its settings.
    pub values: BTreeMap<String, Value>,
    /// Whether its students are those with a temperature.
    pub recalibrated: bool,
    /// One row a seed, the trial itself first.
    pub seeds: Vec<Seeded>,
    /// Means over the seeds that could be trained; `seeds` has those that could not, too.
    pub mean: Option<Means>,
    /// Why it is not confirmed: the first seed that breaks a constraint.
    #[serde(default)]
    pub why: Option<String>,
    /// Seeds that it was not trained with, because another one had settled it.
    #[serde(default)]
    pub untrained_seeds: Vec<u64>,
}

/// One training of a finalist.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Seeded {
    /// Its seed.
    pub seed: u64,
    /// Why it could not be trained.
    pub error: Option<String>,
    /// What it does.
    pub figures: Option<FinalFigures>,
}

/// What a finalist does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FinalFigures {
    /// σ on the training set.
    pub sigma: f64,
    /// σ ≤ κ, by the budget.
    pub preserved: bool,
    /// τ, where the student is the one with a temperature.
    pub temperature: Option<f64>,
    /// Right answers on the seen part of the validation split.
    pub seen_correct: usize,
    /// Accuracy there.
    pub seen_accuracy: f64,
    /// It against the reference, on the same examples.
    #[serde(default)]
    pub seen_test: Option<AccuracyTest>,
    /// σ there, as it was trained.
    pub seen_sigma: f64,
    /// Right answers on the unseen part.
    pub unseen_correct: usize,
    /// Accuracy there.
    pub unseen_accuracy: f64,
    /// It against the reference, on the same examples.
    #[serde(default)]
    pub unseen_test: Option<AccuracyTest>,
    /// σ there, with the temperature where there is one.
    pub unseen_sigma: f64,
}

/// Means over seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Means {
    /// Seeds.
    pub seeds: usize,
    /// Of them, those whose σ ≤ κ.
    pub preserved: usize,
    /// σ on the training set.
    pub sigma: f64,
    /// Accuracy on the seen part of the validation split.
    pub seen_accuracy: f64,
    /// Accuracy on the unseen part.
    pub unseen_accuracy: f64,
    /// σ on the unseen part.
    pub unseen_sigma: f64,
}

/// How much one key matters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Importance {
    /// The key.
    pub key: String,
    /// Share of the variance of σ over the finished trials that it explains by itself.
    pub of_sigma: f64,
    /// Share of the variance of accuracy.
    pub of_accuracy: f64,
}

impl Finalist {
    /// `; not trained with seeds 2 and 3`, or nothing.
    pub(super) fn untrained_in_words(&self) -> String {
        let seeds: Vec<String> = self.untrained_seeds.iter().map(u64::to_string).collect();
        match seeds.as_slice() {
            [] => String::new(),
            [seed] => format!("; not trained with seed {seed}"),
            [first @ .., last] => {
                format!("; not trained with seeds {} and {last}", first.join(", "))
            }
        }
    }
}

impl Figures {
    /// What is known of a trial that was given up.
    pub fn watched(sigma: f64, accuracy: f64) -> Self {
        Figures { sigma, accuracy, ..Figures::default() }
    }
}

impl Tuning {
    /// The least accuracy that is enough.
    pub fn least_accuracy(&self) -> f64 {
        self.reference_accuracy - self.epsilon
    }

    /// Whether the winner is a finalist that another seed refutes.
    pub fn is_unconfirmed(&self) -> bool {
        self.confirmed == Some(false)
    }

    /// Whether `finalist` is the default settings, whose mean accuracy is the reference.
    pub(super) fn is_reference(&self, finalist: &Finalist) -> bool {
        self.reference == "default" && finalist.trial == self.default.trial
    }

    /// `a loss of more than ε 0.01: undecided (one-sided 95 % limits −0.0210 to +0.0290)`.
    pub(super) fn test_in_words(&self, test: &AccuracyTest) -> String {
        let [lower, upper] = [test.lower, test.upper].map(signed);
        let percent = (1e6 * (1.0 - test.level)).round() / 1e4;
        format!(
            "a loss of more than ε {}: {} (one-sided {percent} % limits {lower} to {upper})",
            chosen(self.epsilon),
            test.outcome.as_str()
        )
    }

    /// The finalists that are not confirmed, and why.
    pub fn refuted(&self) -> impl Iterator<Item = (&Finalist, &str)> {
        self.finalists.iter().filter_map(|of| Some((of, of.why.as_deref()?)))
    }

    /// `that of the default settings, 0.8137,`: what accuracy is held against, before `less ε`.
    pub(super) fn reference_in_words(&self) -> String {
        let accuracy = decimal(self.reference_accuracy);
        match self.reference.as_str() {
            "default" if self.reference_seeds.len() > 1 => {
                let seeds = self.reference_seeds.len();
                format!("that of the default settings, {accuracy} (mean of {seeds} seeds),")
            }
            "default" => format!("that of the default settings, {accuracy},"),
            "teacher" => format!("the teacher's, {accuracy},"),
            _ => accuracy,
        }
    }
}
