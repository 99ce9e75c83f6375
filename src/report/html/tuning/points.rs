//! The trials as points of a plot: what each shows, its mark, and how far the axes reach.

use maud::{html, Markup};

use super::super::super::display::{neutralise, truncate};
use super::super::super::numbers::{decimal, sigma_and_kappa};
use super::super::super::tuning::csv::plain;
use super::super::super::tuning::{Figures, Finalist, Trial, Tuning};
use super::super::axes::{round, AxisScale};

/// Radius of the marks of students with a temperature, user units.
pub(super) const SMALL: f64 = 2.25;

/// Columns of a trial's settings in the title of its mark.
const SETTINGS: usize = 400;

/// A spread from which σ is drawn by its logarithm.
const WIDE: f64 = 5.0;
/// A σ below which the logarithm shows only rounding.
const LEAST_SIGMA: f64 = 1e-9;
/// Share of the drawing that is left free on either side.
const MARGIN: f64 = 0.07;
/// Half the range of figures that are all the same.
const LEAST_RANGE: f64 = 0.05;

/// What became of a trial, as its mark shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// Given up: a hollow circle.
    GivenUp,
    /// Finished, and one of the constraints is broken: a square.
    Infeasible,
    /// Finished, and both are kept: a full circle.
    Feasible,
}

impl Mark {
    /// From the lowest layer to the highest, each with its words.
    pub const ALL: [(Mark, &'static str); 3] = [
        (Mark::GivenUp, "given up; σ is of a sample then"),
        (Mark::Infeasible, "finished, not feasible"),
        (Mark::Feasible, "feasible"),
    ];

    /// The mark around (x, y), and what is read of it.
    pub fn draw(self, (x, y): (f64, f64), words: &str) -> Markup {
        let words = html! { @if !words.is_empty() { title { (words) } } };
        match self {
            Mark::GivenUp => html! { circle.given-up cx=(x) cy=(y) r="3.25" { (words) } },
            Mark::Feasible => html! { circle.trial.feasible cx=(x) cy=(y) r="4" { (words) } },
            Mark::Infeasible => html! {
                rect.trial.infeasible x=(round(x - 3.5)) y=(round(y - 3.5)) width="7" height="7" { (words) }
            },
        }
    }
}

/// A trial that has something to show.
pub(super) struct TrialPoint<'a> {
    pub trial: &'a Trial,
    pub figures: &'a Figures,
    pub mark: Mark,
}

/// The trials with figures, in their order.
pub(super) fn points(report: &Tuning) -> Vec<TrialPoint<'_>> {
    let shown = report.trials.iter().filter_map(|trial| {
        let figures = trial.figures.as_ref()?;
        let mark = match trial.outcome.as_str() {
            "finished" if trial.feasible => Mark::Feasible,
            "finished" => Mark::Infeasible,
            _ => Mark::GivenUp,
        };
        let known = figures.sigma.is_finite() && figures.accuracy.is_finite();
        known.then_some(TrialPoint { trial, figures, mark })
    });
    shown.collect()
}

impl TrialPoint<'_> {
    /// σ with the trial's temperature.
    pub fn recalibrated(&self) -> Option<f64> {
        self.figures.recalibrated_sigma.filter(|sigma| sigma.is_finite())
    }

    /// σ of the student that `finalist` is of.
    pub fn sigma_of(&self, finalist: &Finalist) -> f64 {
        let recalibrated = self.recalibrated().filter(|_| finalist.recalibrated);
        recalibrated.unwrap_or(self.figures.sigma)
    }

    /// `trial 7, finished, feasible: σ 0.0421 ≤ κ 0.0500, accuracy 0.7843; keep last, …`.
    pub fn words(&self, kappa: f64) -> String {
        let (figures, trial) = (self.figures, self.trial);
        let (sigma, kappa) = sigma_and_kappa(figures.sigma, kappa);
        let sigma = match figures.preserved {
            Some(true) => format!("σ {sigma} ≤ κ {kappa}"),
            Some(false) => format!("σ {sigma} > κ {kappa}"),
            None => format!("σ {sigma} on a sample"),
        };
        let feasible = if self.mark == Mark::Feasible { ", feasible" } else { "" };
        neutralise(&format!(
            "trial {}, {}{feasible}: {sigma}, accuracy {}; {}",
            trial.trial,
            trial.outcome,
            decimal(figures.accuracy),
            truncate(&settings(trial), SETTINGS)
        ))
    }

    /// `trial 7 with τ 1.1200: σ 0.0379 ≤ κ 0.0500`.
    pub fn words_recalibrated(&self, sigma: f64, kappa: f64) -> String {
        let (sigma, kappa) = sigma_and_kappa(sigma, kappa);
        let relation = match self.figures.recalibrated_preserved {
            Some(true) => "≤",
            _ => ">",
        };
        let tau = self.figures.temperature.map(|tau| format!(" τ {}", decimal(tau)));
        let tau = tau.unwrap_or_else(|| " a temperature".to_owned());
        format!("trial {} with{tau}: σ {sigma} {relation} κ {kappa}", self.trial.trial)
    }
}

/// `keep last, stage.prediction.max_epochs 9`.
fn settings(trial: &Trial) -> String {
    let values: Vec<String> =
        trial.values.iter().map(|(key, value)| format!("{key} {}", plain(value))).collect();
    values.join(", ")
}

/// Every σ that is drawn, κ among them; none is above 1.
pub(super) fn sigma_scale(report: &Tuning, points: &[TrialPoint]) -> AxisScale {
    let drawn = points.iter().flat_map(|point| [Some(point.figures.sigma), point.recalibrated()]);
    let (low, high) = ends(drawn.flatten().chain([report.kappa.clamp(0.0, 1.0)]));
    if low > LEAST_SIGMA && high / low > WIDE {
        let free = (high / low).powf(MARGIN);
        return AxisScale::Log(low / free, high * free);
    }
    let free = if high > low { MARGIN * (high - low) } else { LEAST_RANGE * high.max(0.01) };
    AxisScale::Linear((low - free).max(0.0), high + free)
}

/// Every accuracy that is drawn, the least that is enough among them.
pub(super) fn accuracy_scale(report: &Tuning, points: &[TrialPoint]) -> AxisScale {
    let drawn = points.iter().map(|point| point.figures.accuracy);
    let (low, high) = ends(drawn.chain([report.least_accuracy().clamp(0.0, 1.0)]));
    let free = if high > low { MARGIN * (high - low) } else { LEAST_RANGE };
    AxisScale::Linear((low - free).max(0.0), (high + free).min(1.0))
}

fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    })
}
