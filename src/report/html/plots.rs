//! The plots, each from the figures of one split.

use maud::{html, Markup};

use super::super::display::{columns, neutralise, truncate};
use super::super::numbers::{counted, decimal, percent, signed, thousands};
use super::super::schema::{Group, ModelStatistics, TaskRow};
use super::axes::{figure, path, round, text_width, Axes, AxisScale, HEIGHT, WIDTH};

/// Half of the least range of d that is drawn.
const LEAST_RANGE: f64 = 0.1;

/// Half the size of a bin's mark with few examples, and of one with all of them, user units.
const MARK: (f64, f64) = (2.5, 7.0);

/// Height of a bar with its gap, and the room for its name, user units.
const BAR_STEP: f64 = 22.0;
const BAR_NAME: f64 = 92.0;
/// Examples below which a group's bar is faint.
const FEW: usize = 10;
/// Columns that a bar's name has at most: those of the narrowest letters.
const MOST_COLUMNS: usize = 20;
/// Between a bar and its words.
const BAR_GAP: f64 = 6.0;
/// Room for a bar's figures: σ and a count of millions.
const BAR_FIGURES: f64 = 120.0;

/// The share of the budget spent against the examples seen.
pub(super) fn budget(row: &TaskRow, id: &str) -> Option<Markup> {
    let last = row.course.last()?;
    let order = if row.sequential.is_some() && row.ended_early() {
        "in the order of the draws"
    } else {
        "in the order of the data"
    };
    let most = row.course.iter().map(|point| point.spent_share).fold(1.0, f64::max);
    let n = row.n.max(1) as f64;
    let axes = Axes {
        x: AxisScale::Linear(0.0, n),
        y: AxisScale::Linear(0.0, most * 1.08),
        height: HEIGHT,
    };
    let points = || {
        let seen =
            row.course.iter().map(|p| (axes.at_x(p.examples as f64), axes.at_y(p.spent_share)));
        std::iter::once((axes.at_x(0.0), axes.foot())).chain(seen)
    };
    let end = axes.at_x(last.examples as f64);
    let area = format!("{}V{}Z", path(points()), axes.foot());
    let spent = row.spent_share.map_or_else(String::new, percent);
    let stop = match (row.exhausted_at, row.is_statistical()) {
        (Some(at), _) => Some(format!("the budget was spent at example {}", thousands(at))),
        (None, true) => Some("the test was sure before the whole of it was seen".to_owned()),
        (None, false) => None,
    };
    let remark =
        format!("{spent} spent; {}", stop.as_deref().unwrap_or("the line at 1 is the limit"));
    let description = format!(
        "Line plot of the share of the confidence budget spent against the examples seen, {order}. \
         It ends at {spent} after {}. {}",
        counted(row.examples_run, "example", "examples"),
        stop.unwrap_or_else(|| "It stays below the limit of 1.".to_owned())
    );
    let caption = format!("{}: budget spent along the data", row.split);
    let label = format!("examples seen, {order}");
    let drawing = html! {
        (axes.draw(&label, "share of the budget"))
        path.spent-area d=(area) {}
        path.spent d=(path(points())) {}
        line.limit x1=(axes.at_x(0.0)) x2=(axes.right()) y1=(axes.at_y(1.0)) y2=(axes.at_y(1.0)) {}
        @if let Some(at) = row.exhausted_at {
            circle.stop cx=(axes.at_x(at as f64)) cy=(axes.at_y(1.0)) r="4.5" {}
        } @else if row.ended_early() {
            line.diagonal x1=(end) x2=(end) y1=(axes.at_y(most)) y2=(axes.foot()) {}
        }
    };
    Some(figure(id, &caption, &remark, &description, HEIGHT, &drawing))
}

/// How often which d occurs.
pub(super) fn differences(row: &TaskRow, id: &str) -> Option<Markup> {
    let of = row.figures.differences.as_ref()?;
    let width = (of.high - of.low) / of.counts.len().max(1) as f64;
    let edge = |i: usize| of.low + width * i as f64;
    let filled = || of.counts.iter().enumerate().filter(|(_, count)| **count > 0);
    let reach = |(i, _): (usize, &usize)| edge(i).abs().max(edge(i + 1).abs());
    let kappa = row.kappa.unwrap_or(0.0);
    let range = filled().map(reach).fold(LEAST_RANGE.max(kappa * 1.2), f64::max).min(of.high);
    let most = of.counts.iter().copied().max().unwrap_or(1).max(1);
    let axes = Axes {
        x: AxisScale::Linear(-range, range),
        y: AxisScale::Counts(most as f64 * 1.5),
        height: HEIGHT,
    };
    let mean = row.mean_difference.unwrap_or(0.0);
    let largest = row.figures.difference.as_ref().map_or(0.0, |spread| spread.max);
    let remark = format!(
        "mean {} (solid line), largest |d| {}; shaded: within ±κ",
        signed(mean),
        decimal(largest)
    );
    let description = format!(
        "Histogram of d, the teacher's confidence less the student's, in bins of {}, with counts on a \
         logarithmic axis. The mean is {}, the largest |d| {}; the fullest bin holds {}.",
        decimal(width),
        signed(mean),
        decimal(largest),
        counted(most, "example", "examples")
    );
    let caption = format!("{}: how d is distributed", row.split);
    let drawing = html! {
        @if kappa > 0.0 {
            rect.within x=(axes.at_x(-kappa)) width=(round(axes.at_x(kappa) - axes.at_x(-kappa)))
                y=(axes.at_y(most as f64 * 1.5)) height=(round(axes.foot() - axes.at_y(most as f64 * 1.5))) {}
        }
        (axes.draw("d: teacher's confidence − student's", "examples (log scale)"))
        @for (i, count) in filled() {
            rect.bar x=(axes.at_x(edge(i))) width=(round((axes.at_x(edge(i + 1)) - axes.at_x(edge(i)) - 0.5).max(0.5)))
                y=(axes.at_y(*count as f64)) height=(round(axes.foot() - axes.at_y(*count as f64))) {}
        }
        line.diagonal x1=(axes.at_x(0.0)) x2=(axes.at_x(0.0)) y1=(axes.at_y(most as f64 * 1.5)) y2=(axes.foot()) {}
        line.mean x1=(axes.at_x(mean)) x2=(axes.at_x(mean)) y1=(axes.at_y(most as f64 * 1.5)) y2=(axes.foot()) {}
    };
    Some(figure(id, &caption, &remark, &description, HEIGHT, &drawing))
}

/// How often both models are right at which confidence.
pub(super) fn reliability(row: &TaskRow, id: &str) -> Option<Markup> {
    let (teacher, student) = (row.figures.teacher.as_ref()?, row.figures.student.as_ref()?);
    if teacher.reliability.is_empty() || student.reliability.is_empty() {
        return None;
    }
    let models = [("teacher", teacher), ("student", student)];
    let bins = models.iter().flat_map(|(_, model)| &model.reliability);
    let low = bins.map(|bin| bin.low).fold(1.0, f64::min);
    let axes =
        Axes { x: AxisScale::Linear(low, 1.0), y: AxisScale::Linear(0.0, 1.0), height: 280.0 };
    let ece = |model: &ModelStatistics| model.ece.map_or_else(|| "–".to_owned(), decimal);
    let remark = format!("calibration error: teacher {}, student {}", ece(teacher), ece(student));
    let described = |(role, model): &(&str, &ModelStatistics)| {
        let points = model.reliability.iter().map(|bin| {
            format!(
                "{} of {} at {}",
                percent(bin.accuracy),
                thousands(bin.n),
                decimal(bin.mean_confidence)
            )
        });
        format!("{role}: {}", points.collect::<Vec<_>>().join("; "))
    };
    let description = format!(
        "Share predicted right against mean confidence, in bins of a fifteenth; a calibrated model is \
         on the diagonal. {}.",
        models.iter().map(described).collect::<Vec<_>>().join(". ")
    );
    let caption = format!("{}: reliability", row.split);
    let drawing = html! {
        (axes.draw("confidence", "share predicted right"))
        line.diagonal x1=(axes.at_x(low)) y1=(axes.at_y(low)) x2=(axes.at_x(1.0)) y2=(axes.at_y(1.0)) {}
        @for (role, model) in models { (reliability_curve(&axes, role, model)) }
    };
    Some(figure(id, &caption, &remark, &description, 280.0, &drawing))
}

/// One model's bins: circles for the teacher, squares for the student, larger with more examples.
fn reliability_curve(axes: &Axes, role: &str, model: &ModelStatistics) -> Markup {
    let at = |i: usize| {
        let bin = &model.reliability[i];
        (axes.at_x(bin.mean_confidence), axes.at_y(bin.accuracy))
    };
    let all = model.labelled.max(1) as f64;
    let size = |i: usize| {
        let share = model.reliability[i].n as f64 / all;
        round(MARK.0 + (MARK.1 - MARK.0) * share.sqrt())
    };
    html! {
        path.(role).curve d=(path((0..model.reliability.len()).map(at))) {}
        @for i in 0..model.reliability.len() {
            @if role == "teacher" {
                circle.(role).point cx=(at(i).0) cy=(at(i).1) r=(size(i)) {}
            } @else {
                rect.(role).point x=(round(at(i).0 - size(i))) y=(round(at(i).1 - size(i)))
                    width=(2.0 * size(i)) height=(2.0 * size(i)) {}
            }
        }
    }
}

/// σ over parts of the split, as bars with their n.
pub(super) fn groups(row: &TaskRow, by: &str, groups: &[&Group], id: &str) -> Markup {
    let kappa = row.kappa.unwrap_or(0.0);
    let most = groups.iter().map(|group| group.sigma).fold(kappa, f64::max).max(1e-9);
    let foot = 10.0 + BAR_STEP * groups.len() as f64;
    let (left, right) = (BAR_NAME, WIDTH - BAR_FIGURES);
    let at = |value: f64| round(left + (right - left) * (value / (most * 1.05)).clamp(0.0, 1.0));
    let listed = groups.iter().map(|group| {
        format!(
            "{}: {} over {}",
            group.name,
            decimal(group.sigma),
            counted(group.n, "example", "examples")
        )
    });
    let description = format!(
        "Bars of σ by {by}. {}. κ is {}.",
        listed.collect::<Vec<_>>().join("; "),
        decimal(kappa)
    );
    let caption = format!("{}: σ by {by}", row.split);
    let drawing = html! {
        @for (i, group) in groups.iter().enumerate() {
            @let top = 8.0 + BAR_STEP * i as f64;
            text.title x=(left - BAR_GAP) y=(top + 11.5) text-anchor="end" { (shown_name(group)) title { (neutralise(&group.name)) } }
            rect.bar.over[kappa > 0.0 && group.sigma > kappa].few[group.n < FEW] x=(left) y=(top)
                width=(round((at(group.sigma) - left).max(0.5))) height=(BAR_STEP - 6.0) {}
            text x=(right + BAR_GAP) y=(top + 11.5) { (decimal(group.sigma)) ", n " (thousands(group.n)) }
        }
        line.axis x1=(left) x2=(right) y1=(foot) y2=(foot) {}
        @for (value, text) in AxisScale::Linear(0.0, most * 1.05).ticks(3) {
            line.axis x1=(at(value)) x2=(at(value)) y1=(foot) y2=(foot + 4.0) {}
            text x=(at(value)) y=(foot + 15.0) text-anchor="middle" { (text) }
        }
        text.title x=((left + right) / 2.0) y=(foot + 30.0) text-anchor="middle" { "σ" }
        @if kappa > 0.0 {
            line.limit x1=(at(kappa)) x2=(at(kappa)) y1="2" y2=(foot) {}
        }
    };
    figure(id, &caption, "", &description, foot + 36.0, &drawing)
}

/// A group's name, short enough for its place.
fn shown_name(group: &Group) -> String {
    let name = neutralise(&group.name);
    let columns = (1..=columns(&name).min(MOST_COLUMNS)).rev();
    let mut names = columns.map(|columns| truncate(&name, columns));
    names.find(|name| text_width(name) <= BAR_NAME - BAR_GAP).unwrap_or_default()
}
