//! Teacher's confidence against the student's, as counts in cells.

use std::cmp::Ordering;

use maud::{html, Markup};

use super::super::numbers::{counted, decimal, percent, thousands};
use super::super::schema::{ConfidenceCounts, TaskRow};
use super::axes::{figure, round, Axes, AxisScale};
use crate::confidence::ConfidenceKind;

/// Of the picture, user units: a little more than its width, for the legend of the axis.
const HEIGHT: f64 = 330.0;

/// The cells that hold an example, and how strongly each is coloured.
struct Cells {
    /// Where the first bin of either model begins.
    low: f64,
    /// Bins of each model.
    bins: usize,
    /// Bin of the teacher, bin of the student, examples.
    filled: Vec<(usize, usize, usize)>,
    /// Examples in the fullest cell.
    most: usize,
}

impl Cells {
    fn of(counts: &ConfidenceCounts) -> Self {
        let mut filled = Vec::new();
        for (teacher, row) in counts.counts.iter().enumerate() {
            let held = row.iter().copied().enumerate().filter(|(_, count)| *count > 0);
            filled.extend(held.map(|(student, count)| (teacher, student, count)));
        }
        let most = filled.iter().map(|cell| cell.2).max().unwrap_or(1);
        Cells { low: counts.low, bins: counts.counts.len().max(1), filled, most }
    }

    /// Where bin `i` begins.
    fn edge(&self, i: usize) -> f64 {
        self.low + (1.0 - self.low) * i as f64 / self.bins as f64
    }

    /// How opaque a cell of `count` examples is, by the logarithm of the count.
    fn strength(&self, count: usize) -> f64 {
        round(0.1 + 0.9 * (count as f64).ln_1p() / (self.most as f64).ln_1p())
    }

    /// Examples for which the student's bin stands so to its teacher's.
    fn student_is(&self, order: Ordering) -> usize {
        self.filled.iter().filter(|(t, s, _)| s.cmp(t) == order).map(|cell| cell.2).sum()
    }

    /// The powers of ten below the fullest cell's count, and that count.
    fn steps(&self) -> Vec<usize> {
        let powers = (0..18).map(|power| 10usize.pow(power));
        powers.take_while(|power| *power < self.most).chain([self.most]).collect()
    }
}

/// How often which pair of confidences occurs.
pub(super) fn confidences(row: &TaskRow, id: &str) -> Option<Markup> {
    let cells = Cells::of(row.figures.confidences.as_ref()?);
    let all = cells.filled.iter().map(|cell| cell.2).sum::<usize>().max(1) as f64;
    let (over, under) = (cells.student_is(Ordering::Greater), cells.student_is(Ordering::Less));
    let remark = format!(
        "student surer {}, less sure {}, in the same bin the rest",
        percent(over as f64 / all),
        percent(under as f64 / all)
    );
    let description = format!(
        "Heat map of {0} by {0} bins: the teacher's confidence to the right, the student's upwards, \
         both from {1} to 1. The student is in a higher bin for {over} examples and in a lower one for \
         {under}. The fullest cell holds {2}.",
        cells.bins,
        decimal(cells.low),
        counted(cells.most, "example", "examples")
    );
    let student = match row.confidence {
        ConfidenceKind::TeacherClass => "student's probability of the teacher's label",
        ConfidenceKind::Max => "student's confidence",
    };
    let caption = format!("{}: how sure each model is", row.split);
    let drawing = drawing(&cells, student);
    Some(html! {
        (figure(id, &caption, &remark, &description, HEIGHT, &drawing))
        (key(&cells))
    })
}

fn drawing(cells: &Cells, student: &str) -> Markup {
    let scale = AxisScale::Linear(cells.low, 1.0);
    let axes = Axes { x: scale, y: scale, height: HEIGHT };
    let (x, y) = (|i| axes.at_x(cells.edge(i)), |i| axes.at_y(cells.edge(i)));
    let range = |i| format!("{}–{}", decimal(cells.edge(i)), decimal(cells.edge(i + 1)));
    let (low, high) = (cells.low, 1.0);
    html! {
        (axes.draw("teacher's confidence", student))
        @for &(t, s, count) in &cells.filled {
            rect.cell x=(x(t)) y=(y(s + 1)) width=(round(x(t + 1) - x(t)))
                height=(round(y(s) - y(s + 1))) fill-opacity=(cells.strength(count)) {
                title { (range(t)) " by " (range(s)) ": " (thousands(count)) }
            }
        }
        line.diagonal x1=(axes.at_x(low)) y1=(axes.at_y(low)) x2=(axes.at_x(high)) y2=(axes.at_y(high)) {}
    }
}

/// The legend: a colour for each number of examples.
fn key(cells: &Cells) -> Markup {
    html! {
        p.small.quiet.heat {
            "examples in a cell: "
            @for count in cells.steps() {
                span.key {
                    svg viewBox="0 0 10 10" aria-hidden="true" {
                        rect.cell width="10" height="10" fill-opacity=(cells.strength(count)) {}
                    }
                    (thousands(count))
                }
            }
        }
    }
}
