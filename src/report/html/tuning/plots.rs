//! The plots: σ against accuracy, and σ trial by trial.

use maud::{html, Markup};

use super::super::super::numbers::{chosen, counted, decimal};
use super::super::super::tuning::{Finalist, Tuning};
use super::super::axes::{figure, Axes, AxisScale, HEIGHT};
use super::points::{accuracy_scale, points, sigma_scale, Mark, TrialPoint, SMALL};

/// Of the plot of σ against accuracy, user units.
const TALL: f64 = 320.0;
/// Rings around the marks of default and winner, user units.
const DEFAULT_RING: f64 = 7.0;
const WINNER_RING: f64 = 10.0;
/// Least length of a line from a mark to the same student's with its temperature, user units.
const LEAST_JOINT: f64 = 5.0;
/// Trials that the plot of all of them has room for, at least.
const LEAST_TRIALS: usize = 5;

/// The dotted line, where the accuracy is compared as it is, and where a test is required.
const LEAST_ACCURACY: &str = "the least accuracy that is enough";
const LESS_EPSILON: &str = "the reference's accuracy less ε";

/// Both plots, where there is a point to draw.
pub(super) fn plots(report: &Tuning) -> Vec<Markup> {
    let points = points(report);
    if points.is_empty() {
        return Vec::new();
    }
    vec![
        html! { (against_accuracy(report, &points)) (legend(report, &points)) },
        by_trial(report, &points),
    ]
}

/// σ to the right, accuracy upwards.
fn against_accuracy(report: &Tuning, points: &[TrialPoint]) -> Markup {
    let (x, y) = (sigma_scale(report, points), accuracy_scale(report, points));
    let axes = Axes { x, y, height: TALL };
    let (kappa, least) = (report.kappa, report.least_accuracy());
    let (at_kappa, at_least) = (axes.at_x(kappa), axes.at_y(least));
    let region = format!("M{} {}H{at_kappa}V{at_least}H{}Z", axes.left(), axes.top(), axes.left());
    let at = |point: &TrialPoint, sigma: f64| (axes.at_x(sigma), axes.at_y(point.figures.accuracy));
    let drawing = html! {
        // A paired test has no such region: trials of one accuracy may differ in it.
        @if report.non_inferiority.is_none() { path.region d=(region) {} }
        (axes.draw(&sigma_label("σ on the training set", x), "accuracy on the seen part"))
        line.limit x1=(at_kappa) x2=(at_kappa) y1=(axes.top()) y2=(axes.foot()) {}
        line.diagonal x1=(axes.left()) x2=(axes.right()) y1=(at_least) y2=(at_least) {}
        path.front d=(front(&axes, points)) {}
        (marks(report, points, &at))
    };
    let (kappa_here, least_here) = (kappa_in(x, kappa), decimal(least));
    let (remark, name_of_least) = match report.non_inferiority {
        None => {
            (format!("shaded: σ ≤ {kappa_here} and accuracy at least {least_here}"), LEAST_ACCURACY)
        }
        Some(level) => (
            format!(
                "dashed: {kappa_here}; dotted: {least_here}, the reference less ε; feasible by a paired \
                 test at level {level}"
            ),
            LESS_EPSILON,
        ),
    };
    let named = [("winner", &report.winner), ("default", &report.default)];
    let named = named.iter().filter_map(|(name, finalist)| {
        let point = of(points, finalist)?;
        let sigma = decimal(point.sigma_of(finalist));
        Some(format!("The {name} has σ {sigma} and accuracy {}. ", decimal(point.figures.accuracy)))
    });
    let description = format!(
        "Scatter plot of {}: σ on the training set to the right, accuracy on the seen part of the \
         validation split upwards. {}κ is {}, {name_of_least} {}. The table of trials has every figure.",
        counted(points.len(), "trial", "trials"),
        named.collect::<String>(),
        chosen(kappa),
        decimal(least)
    );
    let caption = "Every trial: σ against accuracy";
    figure("accuracy-plot", caption, &remark, &description, TALL, &drawing)
}

/// Trials to the right, σ upwards.
fn by_trial(report: &Tuning, points: &[TrialPoint]) -> Markup {
    let y = sigma_scale(report, points);
    let last = report.trials.iter().map(|trial| trial.trial).max().unwrap_or(0).max(LEAST_TRIALS);
    let axes = Axes { x: AxisScale::Linear(0.5, last as f64 + 0.5), y, height: HEIGHT };
    let at_kappa = axes.at_y(report.kappa);
    let at =
        |point: &TrialPoint, sigma: f64| (axes.at_x(point.trial.trial as f64), axes.at_y(sigma));
    let drawing = html! {
        (axes.draw("trial", &sigma_label("σ", y)))
        line.limit x1=(axes.left()) x2=(axes.right()) y1=(at_kappa) y2=(at_kappa) {}
        (marks(report, points, &at))
    };
    let least = points.iter().filter(|point| point.mark != Mark::GivenUp);
    let least = least.map(|point| point.figures.sigma).reduce(f64::min);
    let least = least.map(|least| format!("least σ of a finished trial: {}", decimal(least)));
    let least = least.unwrap_or_else(|| "no trial finished".to_owned());
    let remark = format!("dashed: {}; {least}", kappa_in(y, report.kappa));
    let description = format!(
        "Scatter plot of σ on the training set by the number of the trial, for {}. The {least}. κ is {}.",
        counted(points.len(), "trial", "trials"),
        chosen(report.kappa)
    );
    let caption = "σ as the search went on";
    figure("trial-plot", caption, &remark, &description, HEIGHT, &drawing)
}

/// Where a student of that σ stands, user units.
type At<'a> = dyn Fn(&TrialPoint, f64) -> (f64, f64) + 'a;

/// Every point where `at` has it, feasible ones above the others, and the rings around finalists.
fn marks(report: &Tuning, points: &[TrialPoint], at: &At) -> Markup {
    html! {
        @for joint in points.iter().filter_map(|point| joint(report, point, at)) { (joint) }
        @for place in places(points, at) { (place.mark.draw(place.at, &place.words(report.kappa))) }
        @for Ring { name, trial, at, radius } in rings(report, points, at) {
            circle.ring.(name) cx=(at.0) cy=(at.1) r=(radius) { title { (name) ": trial " (trial) } }
        }
    }
}

/// A ring around a finalist's mark.
struct Ring {
    name: &'static str,
    trial: usize,
    at: (f64, f64),
    radius: f64,
}

/// Around winner and default, where they have figures.
fn rings(report: &Tuning, points: &[TrialPoint], at: &At) -> Vec<Ring> {
    let finalists =
        [("winner", &report.winner, WINNER_RING), ("default", &report.default, DEFAULT_RING)];
    let rings = finalists.into_iter().filter_map(|(name, finalist, radius)| {
        let point = of(points, finalist)?;
        let trial = finalist.trial;
        Some(Ring { name, trial, at: at(point, point.sigma_of(finalist)), radius })
    });
    rings.collect()
}

/// Trials of one mark at one place, to half a user unit.
struct TrialsAtPoint<'a> {
    at: (f64, f64),
    mark: Mark,
    points: Vec<&'a TrialPoint<'a>>,
}

impl TrialsAtPoint<'_> {
    /// A line for each trial; ahead of several of them how many they are: `×2`.
    fn words(&self, kappa: f64) -> String {
        let several = (self.points.len() > 1).then(|| format!("×{}", self.points.len()));
        let words = self.points.iter().map(|point| point.words(kappa));
        several.into_iter().chain(words).collect::<Vec<_>>().join("\n")
    }
}

/// Where there are points, the lowest layer first.
fn places<'a>(points: &'a [TrialPoint<'a>], at: &At) -> Vec<TrialsAtPoint<'a>> {
    let mut places: Vec<TrialsAtPoint> = Vec::new();
    for (mark, _) in Mark::ALL {
        for point in points.iter().filter(|point| point.mark == mark) {
            let here = at(point, point.figures.sigma);
            let same = |place: &&mut TrialsAtPoint| {
                let (x, y) = place.at;
                place.mark == mark && (x - here.0).abs() < 0.5 && (y - here.1).abs() < 0.5
            };
            match places.iter_mut().find(same) {
                Some(place) => place.points.push(point),
                None => places.push(TrialsAtPoint { at: here, mark, points: vec![point] }),
            }
        }
    }
    places
}

/// From a student to the same one with its temperature, where that is to be seen.
fn joint(report: &Tuning, point: &TrialPoint, at: &At) -> Option<Markup> {
    let sigma = point.recalibrated()?;
    let (from, to) = (at(point, point.figures.sigma), at(point, sigma));
    let length = (from.0 - to.0).abs() + (from.1 - to.1).abs();
    let won = report.winner.recalibrated && report.winner.trial == point.trial.trial;
    if length < LEAST_JOINT && !won {
        return None;
    }
    Some(html! {
        line.joint x1=(from.0) y1=(from.1) x2=(to.0) y2=(to.1) {}
        circle.recalibrated cx=(to.0) cy=(to.1) r=(SMALL) {
            title { (point.words_recalibrated(sigma, report.kappa)) }
        }
    })
}

/// The finished trials that no other one betters in both, as steps: up at each, then to the right.
fn front(axes: &Axes, points: &[TrialPoint]) -> String {
    let on = points.iter().filter(|point| point.trial.pareto && point.mark != Mark::GivenUp);
    let mut on: Vec<_> = on.map(|point| (point.figures.sigma, point.figures.accuracy)).collect();
    on.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let Some((sigma, _)) = on.first() else { return String::new() };
    let steps = on.iter().map(|(x, y)| format!("H{}V{}", axes.at_x(*x), axes.at_y(*y)));
    format!("M{} {}{}H{}", axes.at_x(*sigma), axes.foot(), steps.collect::<String>(), axes.right())
}

/// The point of a finalist's trial.
fn of<'a>(points: &'a [TrialPoint<'a>], finalist: &Finalist) -> Option<&'a TrialPoint<'a>> {
    points.iter().find(|point| point.trial.trial == finalist.trial)
}

/// `κ 0.05`, and whether it is beyond what is drawn.
fn kappa_in(scale: AxisScale, kappa: f64) -> String {
    let high = match scale {
        AxisScale::Linear(_, high) | AxisScale::Log(_, high) | AxisScale::Counts(high) => high,
    };
    format!("κ {}{}", chosen(kappa), if kappa > high { " (beyond)" } else { "" })
}

fn sigma_label(name: &str, scale: AxisScale) -> String {
    match scale {
        AxisScale::Log(..) => format!("{name} (log scale)"),
        _ => name.to_owned(),
    }
}

/// What the marks mean, of those that are drawn.
fn legend(report: &Tuning, points: &[TrialPoint]) -> Markup {
    let dotted = match report.non_inferiority {
        None => "least accuracy",
        Some(_) => "reference less ε",
    };
    let drawn = |mark: Mark| points.iter().any(|point| point.mark == mark);
    let key = |drawing: Markup, words: &str| {
        html! {
            span.key { svg viewBox="0 0 12 12" aria-hidden="true" { (drawing) } (words) }
        }
    };
    html! {
        p.small.quiet.legend {
            @for (mark, words) in Mark::ALL.into_iter().rev().filter(|(mark, _)| drawn(*mark)) {
                (key(mark.draw((6.0, 6.0), ""), words))
            }
            @if points.iter().any(|point| point.recalibrated().is_some()) {
                (key(html! { line.joint x1="0" y1="6" x2="9" y2="6" {} circle.recalibrated cx="9" cy="6" r="2.25" {} },
                    "the same student with its τ"))
            }
            (key(html! { circle.ring cx="6" cy="6" r="5" {} }, "winner"))
            (key(html! { circle.ring.default cx="6" cy="6" r="5" {} }, "default"))
            @if points.iter().any(|point| point.trial.pareto) {
                (key(html! { path.front d="M1 11V7H6V2H12" {} }, "Pareto front, without τ"))
            }
            (key(html! { line.limit x1="6" y1="0" x2="6" y2="12" {} }, "κ"))
            (key(html! { line.diagonal x1="0" y1="6" x2="12" y2="6" {} }, dotted))
        }
    }
}
