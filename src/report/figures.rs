//! Every scalar figure of a report: its name, how it is read from a row, how and where it is shown.
//!
//! Text, Markdown, HTML, OpenMetrics and `audit compare` draw from [`FIGURES`]. A new figure is a
//! function (with its field) in `confidence` or `check`, and a line here.

use super::numbers::{decimal, percent, signed, significant, thousands, ABSENT};
use super::schema::{Interval, ModelStatistics, Outcome, PairIntervals, TaskRow};

/// A scalar figure, of each model or of both together.
pub(super) struct Figure {
    /// Its name in OpenMetrics; a unit is the last part of it.
    pub(super) name: &'static str,
    /// `ratio` or `nats`; `None` for what has no unit.
    pub(super) unit: Option<&'static str>,
    /// What it is, in a sentence.
    pub(super) help: &'static str,
    /// How it is read from a row.
    pub(super) of: Of,
    /// Its interval, of a figure of both models.
    interval: Option<fn(&PairIntervals) -> Option<Interval>>,
    /// How it is written for people.
    pub(super) style: Style,
    /// Whether it is a metric of OpenMetrics.
    pub(super) metric: bool,
    /// Its name in the tables of the page.
    pub(super) html: Option<&'static str>,
    /// Its name in the text report, and in Markdown's table.
    pub(super) text: Option<&'static str>,
    /// What `audit compare` calls it.
    pub(super) compared: Option<ComparedNames>,
}

/// What a figure is of.
pub(super) enum Of {
    /// Of both models together.
    Pair(fn(&TaskRow) -> Option<f64>),
    /// Of each model.
    Model(fn(&ModelStatistics) -> FigureValue),
}

/// A figure's value, where it is defined, and its interval, where it has one.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct FigureValue {
    pub(super) value: Option<f64>,
    pub(super) interval: Option<Interval>,
}

/// How a figure is written for people.
#[derive(Clone, Copy)]
pub(super) enum Style {
    /// Four decimals: `0.9540`.
    Decimal,
    /// Four decimals and a sign: `+0.0182`.
    Signed,
    /// A count: `67,349`.
    Count,
    /// A percentage: `79.6 %`.
    Percent,
    /// Four significant digits, for sums: `168.4`.
    Significant,
}

/// A figure in `audit compare`.
#[derive(Clone, Copy)]
pub(super) struct ComparedNames {
    /// Its place among the figures that are compared.
    rank: u8,
    /// Its key in the JSON; `teacher_` or `student_` stands before it for one of each model.
    key: &'static str,
    /// Its name in the text, at most twelve columns.
    text: &'static str,
    /// Its column in Markdown.
    column: &'static str,
}

/// Every figure, in the order in which the formats show them.
static FIGURES: &[Figure] = &[
    pair("sigma", "The confidence difference that is held against kappa.", |row| {
        row.gating_sigma()
    })
    .compared(1, "sigma", "σ", "σ"),
    pair("sigma_at_least", "What sigma is at least, where the run ended early.", |row| {
        row.sigma_at_least
    }),
    pair("sigma_prefix", "Sigma of the examples run, where the run ended early.", |row| {
        row.sigma_prefix
    }),
    pair("sigma_unseen", "The upper limit of sigma on unseen inputs.", |row| {
        row.sigma_unseen.map(|limit| limit.sigma)
    })
    .compared(3, "sigma_unseen", "σ unseen", "σ unseen")
    .no_metric(),
    pair("sigma_recalibrated", "Sigma with one temperature for the student's logits.", |row| {
        row.recalibrated.as_ref().map(|found| found.sigma)
    }),
    pair("recalibration_temperature", "The temperature that was fitted.", |row| {
        row.recalibrated.as_ref().map(|found| found.temperature)
    }),
    pair("kappa", "The bound.", |row| row.kappa).compared(2, "kappa", "κ", "κ"),
    pair(
        "budget_spent_ratio",
        "The share of the confidence budget spent; 1 is the limit.",
        |row| row.spent_share,
    )
    .ratio(),
    pair("mean_difference", "Mean of the teacher's confidence less the student's.", |row| {
        row.mean_difference
    })
    .interval(|of| of.mean_difference)
    .shown_as(Style::Signed)
    .html("mean d"),
    pair("accuracy_difference", "The student's accuracy less its teacher's.", |row| {
        let [teacher, student] = row.accuracies();
        student.zip(teacher).map(|(student, teacher)| student - teacher)
    })
    .interval(|of| of.accuracy_difference)
    .shown_as(Style::Signed)
    .html("accuracy, student − teacher")
    .no_metric(),
    pair("agreement_ratio", "The share of examples that both models answer alike.", |row| {
        row.figures.agreement_share
    })
    .interval(|of| of.agreement_share)
    .ratio()
    .html("agreement")
    .compared(5, "agreement_share", "agreement", "agreement"),
    pair("negative_flips", "Labelled examples that the student alone has wrong.", |row| {
        row.figures.negative_flips.map(|count| count as f64)
    })
    .shown_as(Style::Count)
    .html("negative flips")
    .compared(6, "negative_flips", "neg. flips", "negative flips"),
    pair(
        "mean_divergence_nats",
        "Mean Kullback-Leibler divergence of the student from its teacher.",
        |row| row.figures.divergence.map(|of| of.mean_kl),
    )
    .interval(|of| of.mean_kl)
    .nats()
    .html("mean KL, nats")
    .compared(7, "mean_kl", "mean KL", "mean KL"),
    pair("mean_cross_entropy_nats", "Mean cross-entropy of the two distributions.", |row| {
        row.figures.divergence.map(|of| of.mean_cross_entropy)
    })
    .nats()
    .html("mean cross-entropy, nats")
    .no_metric(),
    pair("mean_total_variation", "Mean total variation of the two distributions.", |row| {
        row.figures.divergence.map(|of| of.mean_total_variation)
    })
    .html("mean total variation")
    .no_metric(),
    pair("sum_divergence_nats", "Sum of the Kullback-Leibler divergences.", |row| {
        row.figures.divergence.map(|of| of.sum_kl)
    })
    .nats()
    .shown_as(Style::Significant)
    .html("Σ KL, nats")
    .no_metric(),
    model("accuracy", "The share of labelled examples that a model has right.", |model| {
        with(model.accuracy, model.intervals.accuracy)
    })
    .html("accuracy")
    .compared(4, "accuracy", "accuracy", "accuracy"),
    model("f1", "F1 of the label with id 1.", |model| with(model.f1, model.intervals.f1))
        .html("F1")
        .text("F1"),
    model("matthews_correlation", "Matthews correlation of answers and labels.", |model| {
        with(model.matthews_correlation, model.intervals.matthews_correlation)
    })
    .html("Matthews correlation")
    .text("Matthews"),
    model("mean_confidence", "Mean of a model's largest probability.", |model| {
        with(Some(model.mean_confidence), model.intervals.mean_confidence)
    })
    .html("mean confidence"),
    model("calibration_error", "Expected calibration error, 15 bins.", |model| {
        with(model.ece, model.intervals.ece)
    })
    .html("calibration error"),
    model("brier_score", "Brier score, summed over labels.", |model| {
        with(model.brier, model.intervals.brier)
    })
    .html("Brier score")
    .no_metric(),
    model("log_loss_nats", "Mean negative log likelihood of the label.", |model| {
        with(model.nll, model.intervals.nll)
    })
    .nats()
    .html("log loss, nats")
    .no_metric(),
    pair(
        "sigma_published",
        "Sigma as in the paper's code, over the examples that both models get right.",
        |row| row.published().and_then(|of| of.sigma),
    )
    .compared(8, "sigma_published", "σ published", "σ published"),
    pair(
        "published_left_out",
        "Examples that a model gets wrong: sigma_published leaves them out.",
        |row| row.published().and_then(|of| Some(of.left_out?.count as f64)),
    )
    .shown_as(Style::Count)
    .compared(9, "published_left_out", "left out", "left out by σ published"),
    pair("examples", "Examples that the verdict is about.", |row| count(row, row.n))
        .shown_as(Style::Count),
    pair("examples_run", "Examples that were run.", |row| count(row, row.examples_run))
        .shown_as(Style::Count),
];

const fn figure(name: &'static str, help: &'static str, of: Of) -> Figure {
    Figure {
        name,
        unit: None,
        help,
        of,
        interval: None,
        style: Style::Decimal,
        metric: true,
        html: None,
        text: None,
        compared: None,
    }
}

const fn pair(name: &'static str, help: &'static str, read: fn(&TaskRow) -> Option<f64>) -> Figure {
    figure(name, help, Of::Pair(read))
}

const fn model(
    name: &'static str,
    help: &'static str,
    read: fn(&ModelStatistics) -> FigureValue,
) -> Figure {
    figure(name, help, Of::Model(read))
}

fn with(value: Option<f64>, interval: Option<Interval>) -> FigureValue {
    FigureValue { value, interval }
}

/// A number of examples; a row that could not run has none.
fn count(row: &TaskRow, examples: usize) -> Option<f64> {
    (row.verdict != Outcome::Error).then_some(examples as f64)
}

impl Figure {
    const fn ratio(self) -> Self {
        Figure { unit: Some("ratio"), style: Style::Percent, ..self }
    }

    const fn nats(self) -> Self {
        Figure { unit: Some("nats"), ..self }
    }

    const fn shown_as(self, style: Style) -> Self {
        Figure { style, ..self }
    }

    const fn interval(self, of: fn(&PairIntervals) -> Option<Interval>) -> Self {
        Figure { interval: Some(of), ..self }
    }

    const fn no_metric(self) -> Self {
        Figure { metric: false, ..self }
    }

    const fn html(self, name: &'static str) -> Self {
        Figure { html: Some(name), ..self }
    }

    const fn text(self, name: &'static str) -> Self {
        Figure { text: Some(name), ..self }
    }

    const fn compared(
        self,
        rank: u8,
        key: &'static str,
        text: &'static str,
        column: &'static str,
    ) -> Self {
        Figure { compared: Some(ComparedNames { rank, key, text, column }), ..self }
    }

    /// The figure of both models together; not defined for one of each model.
    pub(super) fn of_pair(&self, row: &TaskRow) -> FigureValue {
        match self.of {
            Of::Pair(read) => {
                let intervals = row.figures.intervals.as_ref();
                with(read(row), self.interval.and_then(|of| of(intervals?)))
            }
            Of::Model(_) => FigureValue::default(),
        }
    }

    /// The figure of one model; not defined for one of both together.
    pub(super) fn of_model(&self, model: &ModelStatistics) -> FigureValue {
        match self.of {
            Of::Pair(_) => FigureValue::default(),
            Of::Model(read) => read(model),
        }
    }

    /// `value` as people read it.
    pub(super) fn written(&self, value: f64) -> String {
        match self.style {
            Style::Decimal => decimal(value),
            Style::Signed => signed(value),
            Style::Count => thousands(value as usize),
            Style::Percent => percent(value),
            Style::Significant => significant(value),
        }
    }

    /// `teacher 0.9540, student 0.9478`; `0.0182`, with its interval where it has one. `None` where
    /// it is not defined.
    pub(super) fn in_words(&self, row: &TaskRow) -> Option<String> {
        if let Of::Pair(_) = self.of {
            let FigureValue { value, interval } = self.of_pair(row);
            let ends =
                |of: Interval| format!(" ({} to {})", self.written(of.low), self.written(of.high));
            return Some(self.written(value?) + &interval.map(ends).unwrap_or_default());
        }
        let of = |model: &Option<ModelStatistics>| self.of_model(model.as_ref()?).value;
        let (teacher, student) = (of(&row.figures.teacher), of(&row.figures.student));
        teacher.or(student)?;
        let written = |value: Option<f64>| {
            value.map_or_else(|| ABSENT.to_owned(), |value| self.written(value))
        };
        Some(format!("teacher {}, student {}", written(teacher), written(student)))
    }
}

/// The figures of each model.
pub(super) fn of_models() -> impl Iterator<Item = &'static Figure> {
    all().filter(|figure| matches!(figure.of, Of::Model(_)))
}

/// The figures of both models together.
pub(super) fn of_pairs() -> impl Iterator<Item = &'static Figure> {
    all().filter(|figure| matches!(figure.of, Of::Pair(_)))
}

/// Every figure.
pub(super) fn all() -> impl Iterator<Item = &'static Figure> {
    FIGURES.iter()
}

/// A figure that `audit compare` shows: one of both models, or one of the teacher or the student.
#[derive(Clone, Copy)]
pub(super) struct ComparedFigure {
    figure: &'static Figure,
    names: ComparedNames,
    /// `teacher` or `student`.
    role: Option<&'static str>,
}

/// What `audit compare` shows, in its order.
pub(super) fn compared() -> Vec<ComparedFigure> {
    let mut found: Vec<ComparedFigure> = Vec::new();
    for figure in all() {
        let Some(names) = figure.compared else { continue };
        let roles: &[Option<&str>] = match figure.of {
            Of::Pair(_) => &[None],
            Of::Model(_) => &[Some("teacher"), Some("student")],
        };
        found.extend(roles.iter().map(|&role| ComparedFigure { figure, names, role }));
    }
    found.sort_by_key(|it| it.names.rank);
    found
}

impl ComparedFigure {
    /// Its key in the JSON.
    pub(super) fn key(&self) -> String {
        self.role.map_or(self.names.key.to_owned(), |role| format!("{role}_{}", self.names.key))
    }

    /// Its name in the text.
    pub(super) fn text(&self) -> String {
        let role = self.role.map(|role| if role == "teacher" { " T" } else { " S" });
        format!("{}{}", self.names.text, role.unwrap_or_default())
    }

    /// Its column in Markdown.
    pub(super) fn column(&self) -> String {
        let role = self.role.map(|role| format!(", {role}"));
        format!("{}{}", self.names.column, role.unwrap_or_default())
    }

    /// What it is, in a sentence.
    pub(super) fn help(&self) -> String {
        let role = self.role.map(|role| format!(" Here the {role}'s."));
        format!("{}{}", self.figure.help, role.unwrap_or_default())
    }

    /// Whether it is a count.
    pub(super) fn is_count(&self) -> bool {
        matches!(self.figure.style, Style::Count)
    }

    /// Its value in a row.
    pub(super) fn of(&self, row: &TaskRow) -> Option<f64> {
        let of = |model: &Option<ModelStatistics>| self.figure.of_model(model.as_ref()?).value;
        match self.role {
            None => self.figure.of_pair(row).value,
            Some("teacher") => of(&row.figures.teacher),
            Some(_) => of(&row.figures.student),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_distinct_and_end_in_their_unit() {
        let names: BTreeSet<&str> = all().map(|figure| figure.name).collect();
        assert_eq!(names.len(), FIGURES.len());
        for figure in all() {
            let unit = figure.unit.unwrap_or_default();
            assert!(figure.name.ends_with(unit), "{} has the unit {unit}", figure.name);
            assert!(figure.help.ends_with('.'), "{}", figure.name);
        }
        let keys: BTreeSet<String> = compared().iter().map(ComparedFigure::key).collect();
        assert_eq!(keys.len(), compared().len());
    }

    #[test]
    fn what_is_compared_stands_in_its_order() {
        let keys: Vec<String> = compared().iter().map(ComparedFigure::key).collect();
        let first = ["sigma", "kappa", "sigma_unseen", "teacher_accuracy", "student_accuracy"];
        assert_eq!(keys[..5], first);
    }
}
