//! What every format asks of the report: rows by task, the σ that gates, the models' names.

use super::numbers::{
    chosen, counted, decimal, decimal_or_absent, sigma_and_kappa, significant, thousands,
};
use super::schema::{Certainty, Interval, ModelManifest, ModelStatistics};
use super::schema::{Note, Outcome, Report, RowsFromCache, TaskRow, Variant, VariantConfidence};
use crate::confidence::{ConfidenceKind, Statistic};

/// What a model is, in parts: `bert`, `66,955,010 weights`; of an export also the types of its weights,
/// its runtime, and the batches that it was run in.
pub(super) fn kind_of(model: &ModelManifest) -> Vec<String> {
    let weights = model.parameters.map(|count| counted(count, "weight", "weights"));
    let mut parts: Vec<String> = model.architecture.iter().cloned().chain(weights).collect();
    if let Some(runtime) = &model.runtime {
        parts.extend(model.stored_dtype.clone());
        parts.push(runtime.clone());
        let batches = model.head.as_ref().and_then(|head| head.strip_prefix("as exported, "));
        parts.extend(batches.map(str::to_owned));
    }
    parts
}

/// The rows of one task, in the report's order.
pub(crate) struct TaskRows<'a> {
    /// The task's name.
    pub task: &'a str,
    /// Rows that count for the exit code.
    pub gating: Vec<&'a TaskRow>,
    /// Rows that are shown for information.
    pub beside: Vec<&'a TaskRow>,
}

impl<'a> TaskRows<'a> {
    /// The gating rows; the secondary ones where none gates.
    pub fn main(&self) -> &[&'a TaskRow] {
        if self.gating.is_empty() {
            &self.beside
        } else {
            &self.gating
        }
    }

    /// The secondary rows.
    pub fn others(&self) -> &[&'a TaskRow] {
        if self.gating.is_empty() {
            &[]
        } else {
            &self.beside
        }
    }
}

/// The report's rows, grouped by task in order of first appearance.
pub(crate) fn by_task(report: &Report) -> Vec<TaskRows<'_>> {
    let mut groups: Vec<TaskRows<'_>> = Vec::new();
    for row in &report.tasks {
        let position = groups.iter().position(|group| group.task == row.task);
        let position = position.unwrap_or_else(|| {
            groups.push(TaskRows { task: &row.task, gating: Vec::new(), beside: Vec::new() });
            groups.len() - 1
        });
        let group = &mut groups[position];
        if row.gates { &mut group.gating } else { &mut group.beside }.push(row);
    }
    groups
}

/// The model that stood as `role` (`teacher`, `student`) for `task`.
pub(crate) fn model<'a>(report: &'a Report, task: &str, role: &str) -> Option<&'a ModelManifest> {
    report.manifest.models.iter().find(|model| model.task == task && model.role == role)
}

impl RowsFromCache {
    /// `teacher 3,668 and 0 computed, student 0 and 3,668 computed`, of a run of `run` examples.
    pub(super) fn in_words(self, run: usize) -> String {
        let of = |role: &str, cached: usize| {
            let computed = thousands(run.saturating_sub(cached));
            format!("{role} {} and {computed} computed", thousands(cached))
        };
        format!("{}, {}", of("teacher", self.teacher), of("student", self.student))
    }
}

/// `max, rms`: the reading that gates in an audit with these settings. The published statistic reads
/// its own confidence.
pub(crate) fn gating_reading(confidence: &str, statistic: &str) -> String {
    match statistic == Statistic::Published.as_str() {
        true => format!("{}, {statistic}", VariantConfidence::FirstLabel.as_str()),
        false => format!("{confidence}, {statistic}"),
    }
}

impl TaskRow {
    /// Rows that came from the cache, and rows that were computed, where the models were run.
    pub(crate) fn cached_in_words(&self) -> Option<String> {
        self.rows_from_cache.map(|cached| cached.in_words(self.examples_run))
    }

    /// `task/split`.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.task, self.split)
    }

    /// The σ that is compared with κ: `sigma`, `sigma_centred` or the published one, whichever
    /// statistic gates.
    pub(crate) fn gating_sigma(&self) -> Option<f64> {
        match self.statistic {
            Statistic::Rms => self.sigma,
            Statistic::Centred => self.sigma_centred,
            Statistic::Published => self.published()?.sigma,
        }
    }

    /// The reading of the published statistic; reports of older versions have none.
    pub(crate) fn published(&self) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.statistic == Statistic::Published)
    }

    /// The sum that is compared with the budget.
    pub(crate) fn spent_in_words(&self) -> &'static str {
        match self.statistic {
            Statistic::Rms => "Σd²",
            Statistic::Centred | Statistic::Published => "Σ(d − mean)²",
        }
    }

    /// ` about zero` where σ is of another kind in this row.
    pub(crate) fn about_zero(&self) -> &'static str {
        match self.statistic {
            Statistic::Rms => "",
            Statistic::Centred | Statistic::Published => " about zero",
        }
    }

    /// σ and κ for a cell of a table: `0.0446`; `≥ 0.0508` where the run ended at a spent budget;
    /// `0.041 to 0.049` where it ended with a test's verdict.
    pub(crate) fn sigma_and_kappa(&self) -> (String, String) {
        let kappa = decimal_or_absent(self.kappa);
        if let (Some(sigma), Some(kappa)) = (self.gating_sigma(), self.kappa) {
            return sigma_and_kappa(sigma, kappa);
        }
        match (self.sigma_at_least, &self.sequential, self.kappa) {
            (Some(_), Some(draws), _) if self.is_statistical() => {
                let Interval { low, high, .. } = draws.sigma_interval;
                (format!("{} to {}", decimal(low), decimal(high)), kappa)
            }
            (Some(sigma), _, Some(kappa)) if self.verdict == Outcome::NotPreserved => {
                let (sigma, kappa) = sigma_and_kappa(sigma, kappa);
                (format!("≥ {sigma}"), kappa)
            }
            _ => (decimal_or_absent(self.gating_sigma()), kappa),
        }
    }

    /// The accuracies of teacher and student.
    pub(crate) fn accuracies(&self) -> [Option<f64>; 2] {
        [&self.figures.teacher, &self.figures.student].map(|model| model.as_ref()?.accuracy)
    }

    /// Texts of teacher and student that were cut at the maximum length.
    pub(crate) fn texts_cut(&self) -> [usize; 2] {
        let cut = |model: &Option<ModelStatistics>| model.as_ref().map_or(0, |it| it.truncated);
        [cut(&self.figures.teacher), cut(&self.figures.student)]
    }

    /// `67,349`, `500 of 67,349` with `--limit`, `222 of 67,349` of a run that ended early.
    pub(crate) fn examples_in_short(&self) -> String {
        if self.ended_early() || self.partial {
            format!("{} of {}", thousands(self.examples_run), thousands(self.of))
        } else {
            thousands(self.n)
        }
    }

    /// Whether the verdict could be wrong.
    pub(crate) fn is_statistical(&self) -> bool {
        self.certainty == Some(Certainty::Statistical)
    }

    /// Whether the run ended before the last example.
    pub(crate) fn ended_early(&self) -> bool {
        self.examples_run < self.n
    }

    /// The relation that the verdict states between σ and κ.
    pub(crate) fn relation(&self) -> &'static str {
        match self.verdict {
            Outcome::NotPreserved => ">",
            Outcome::Preserved | Outcome::Error => "≤",
        }
    }

    /// The reading that gates: `max, rms`.
    pub(crate) fn reading(&self) -> String {
        gating_reading(self.confidence.as_str(), self.statistic.as_str())
    }

    /// Which reading gates, where it is not the default one: `centred, teacher-class`.
    pub(crate) fn unusual_reading(&self) -> Option<String> {
        let (statistic, kind) = (self.statistic, self.confidence);
        let is_read = statistic != Statistic::Published && kind != ConfidenceKind::default();
        let statistic = (statistic != Statistic::default()).then(|| statistic.as_str());
        let kind = is_read.then(|| kind.as_str());
        let parts: Vec<&str> = statistic.into_iter().chain(kind).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// The figure shown with each model's prediction, and what d is of it.
    pub(crate) fn difference_in_words(&self) -> &'static str {
        match self.confidence {
            ConfidenceKind::TeacherClass => "probability of the teacher's label",
            ConfidenceKind::Max => "d = teacher's confidence − student's",
        }
    }

    /// κ's origin: `β 168.4 nats (0.0025 per example), α 0, γ 1; set by default`.
    pub(crate) fn bound_in_words(&self) -> String {
        let origin = &self.bound_origin;
        let Some(beta) = self.beta else {
            return format!("κ given outright; set by {origin}");
        };
        let each = self.beta_per_example.map(|each| format!(" ({} per example)", chosen(each)));
        format!(
            "β {} nats{}, α {}, γ {}; set by {origin}",
            significant(beta),
            each.unwrap_or_default(),
            chosen(self.alpha),
            chosen(self.gamma)
        )
    }

    /// The row's notes, warnings first.
    pub(crate) fn notes_by_weight(&self) -> Vec<&Note> {
        let mut notes: Vec<&Note> = self.notes.iter().collect();
        notes.sort_by_key(|note| std::cmp::Reverse(note.level));
        notes
    }

    /// Why a field is null; `field` is the name in the row, such as `teacher.accuracy`.
    pub(crate) fn why_undefined(&self, field: &str) -> Option<&str> {
        let last = field.rsplit('.').next().unwrap_or(field);
        self.undefined.get(field).or_else(|| self.undefined.get(last)).map(String::as_str)
    }
}
