//! One row of both reports: what moved, and whether it got worse.

use super::super::figures::compared;
use super::super::numbers::{chosen, decimal, sigma_and_kappa, ABSENT};
use super::super::schema::{Outcome, TaskRow, WorstInput};
use super::{ComparedRow, ComparisonVerdict, Limits, MovedCount, MovedFigure, MovedFigures};

/// What is below any figure's meaning and above the rounding of 0.8 − 0.7: a move by exactly the
/// limit is within it.
const ROUNDING: f64 = 1e-12;

impl ComparedRow {
    /// Compares a row with its old one; at least one of them is there.
    pub(super) fn new(old: Option<&TaskRow>, new: Option<&TaskRow>, limits: &Limits) -> Self {
        let any = new.or(old).expect("a pair has a row of one report at least");
        let (verdict, reasons) =
            judge(old, new, limits).map_or((None, Vec::new()), |(v, r)| (Some(v), r));
        let (worst_entered, worst_left) = worst(old, new);
        ComparedRow {
            task: any.task.clone(),
            split: any.split.clone(),
            gates: new.is_some_and(|row| row.gates),
            gated: old.is_some_and(|row| row.gates),
            verdict,
            reasons,
            old_outcome: old.map(|row| row.verdict),
            new_outcome: new.map(|row| row.verdict),
            n: MovedCount::new(examples(old), examples(new)),
            figures: MovedFigures::new(old, new),
            worst_entered,
            worst_left,
        }
    }
}

/// The examples that a row's verdict is about; none where it could not be run.
fn examples(row: Option<&TaskRow>) -> Option<usize> {
    row.map(|row| row.n).filter(|n| *n > 0)
}

/// The row's verdict and reasons; `None` for a row that gates in neither report, and for one that
/// ran and has no old row.
fn judge(
    old: Option<&TaskRow>,
    new: Option<&TaskRow>,
    limits: &Limits,
) -> Option<(ComparisonVerdict, Vec<String>)> {
    let not_comparable = |why: &str| Some((ComparisonVerdict::NotComparable, vec![why.to_owned()]));
    let gated = old.is_some_and(|row| row.gates);
    let new = match new {
        None if gated => {
            return not_comparable("it gates in the old report and is not in the new one")
        }
        Some(row) if !row.gates && gated => {
            return not_comparable("it gates in the old report and does not gate in the new one")
        }
        Some(row) if row.gates => row,
        _ => return None,
    };
    if new.verdict == Outcome::Error {
        return not_comparable("it could not be run in the new report");
    }
    let old = old?;
    if old.verdict == Outcome::Error {
        return not_comparable("it could not be run in the old report");
    }
    if old.reading() != new.reading() {
        return not_comparable(&format!(
            "another reading gates: {} in the old report, {} in the new one",
            old.reading(),
            new.reading()
        ));
    }
    let mut worse = Vec::new();
    if (old.verdict, new.verdict) == (Outcome::Preserved, Outcome::NotPreserved) {
        worse.push("the verdict turned from preserved to not preserved".to_owned());
    }
    let mut unknown = Vec::new();
    let limited = [sigma_limit(old, new, limits), accuracy_limit(old, new, limits)];
    for asked in std::iter::once(raised_bound(old, new)).chain(limited) {
        match asked {
            LimitCheck::Within => {}
            LimitCheck::Beyond(why) => worse.push(why),
            LimitCheck::Unknown(why) => unknown.push(why),
        }
    }
    // What is certain is not undone by what is not known.
    Some(match (worse.is_empty(), unknown.is_empty()) {
        (false, _) => (ComparisonVerdict::Regression, worse),
        (true, false) => (ComparisonVerdict::NotComparable, unknown),
        (true, true) => (ComparisonVerdict::NoRegression, Vec::new()),
    })
}

/// The outcome of checking a row against a limit.
enum LimitCheck {
    Within,
    Beyond(String),
    Unknown(String),
}

/// Whether the student would pass under the old bound too: a raised one would hide that it does not.
fn raised_bound(old: &TaskRow, new: &TaskRow) -> LimitCheck {
    let passed = [old, new].iter().all(|row| row.verdict == Outcome::Preserved);
    let (kappa, raised) = match (old.kappa, new.kappa) {
        (Some(before), Some(now)) if passed && now > before => (before, now),
        _ => return LimitCheck::Within,
    };
    let (sigma, least) = match (new.gating_sigma(), new.sigma_at_least, &new.sequential) {
        (Some(sigma), ..) => (sigma, ""),
        // Of a run that ended early, the examples that are left can only add.
        (None, Some(sigma), _) if sigma > kappa + ROUNDING => (sigma, "at least "),
        (None, _, Some(draws)) if draws.sigma_interval.high <= kappa => return LimitCheck::Within,
        _ => return LimitCheck::Unknown(unknown_sigma("new", new) + ", and κ was raised"),
    };
    if sigma <= kappa + ROUNDING {
        return LimitCheck::Within;
    }
    let (sigma, kappa) = sigma_and_kappa(sigma, kappa);
    LimitCheck::Beyond(format!(
        "σ is {least}{sigma}, above the old report's κ of {kappa}: it passes only since κ was raised \
         to {}",
        decimal(raised)
    ))
}

fn sigma_limit(old: &TaskRow, new: &TaskRow, limits: &Limits) -> LimitCheck {
    let Some(limit) = limits.max_sigma_increase else { return LimitCheck::Within };
    let unknown = |which: &str, row: &TaskRow| LimitCheck::Unknown(unknown_sigma(which, row));
    let Some(before) = old.gating_sigma() else { return unknown("old", old) };
    let (after, least) = match (new.gating_sigma(), new.sigma_at_least) {
        (Some(after), _) => (after, ""),
        // Of a run that ended early, the examples that are left can only add.
        (None, Some(after)) if after - before > limit + ROUNDING => (after, "at least "),
        _ => return unknown("new", new),
    };
    match after - before > limit + ROUNDING {
        false => LimitCheck::Within,
        true => LimitCheck::Beyond(format!(
            "σ rose by {least}{}, from {} to {least}{}; it may rise by {}",
            decimal(after - before),
            decimal(before),
            decimal(after),
            chosen(limit)
        )),
    }
}

/// Why a row that was run has no gating σ.
fn unknown_sigma(which: &str, row: &TaskRow) -> String {
    let why = match row.ended_early() {
        true => "the run ended before the last example",
        false => "it is null",
    };
    format!("σ of the {which} report is not known: {why}")
}

fn accuracy_limit(old: &TaskRow, new: &TaskRow, limits: &Limits) -> LimitCheck {
    let Some(limit) = limits.max_accuracy_drop else { return LimitCheck::Within };
    for (which, row) in [("old", old), ("new", new)] {
        let why = match row.accuracies()[1] {
            _ if row.ended_early() => "the run ended before the last example",
            None => row.why_undefined("student.accuracy").unwrap_or("it is null"),
            Some(_) => continue,
        };
        return LimitCheck::Unknown(format!(
            "the student's accuracy of the {which} report is not known: {why}"
        ));
    }
    match old.accuracies()[1].zip(new.accuracies()[1]) {
        Some((before, after)) if before - after > limit + ROUNDING => LimitCheck::Beyond(format!(
            "the student's accuracy fell by {}, from {} to {}; it may fall by {}",
            decimal(before - after),
            decimal(before),
            decimal(after),
            chosen(limit)
        )),
        _ => LimitCheck::Within,
    }
}

/// The inputs that entered the list of the worst, and those that left it.
fn worst(old: Option<&TaskRow>, new: Option<&TaskRow>) -> (Vec<WorstInput>, Vec<WorstInput>) {
    let (Some(old), Some(new)) = (old, new) else { return Default::default() };
    if old.ended_early() || new.ended_early() {
        return Default::default();
    }
    // Of the same data a position is an input; of other data its text is.
    let same_data = old.data_sha256 == new.data_sha256;
    let is_same = |a: &WorstInput, b: &WorstInput| match a.text.is_some() && !same_data {
        true => (&a.text, &a.pair) == (&b.text, &b.pair),
        false => a.index == b.index,
    };
    let missing = |of: &TaskRow, other: &TaskRow| -> Vec<WorstInput> {
        let there = |input: &&WorstInput| !other.worst.iter().any(|it| is_same(input, it));
        of.worst.iter().filter(there).cloned().collect()
    };
    (missing(new, old), missing(old, new))
}

/// A line of a row's table: what it is, old, new, the change.
pub(super) type Line = [String; 4];

impl ComparedRow {
    /// What is known of the row, for people: each figure that one of the reports has.
    pub(super) fn lines(&self) -> Vec<Line> {
        let figures = compared().into_iter().zip(&self.figures.0);
        let figures = figures.map(|(figure, (_, moved))| (figure.text(), *moved));
        let examples = ("examples".to_owned(), MovedFigure::Count(self.n));
        figures.chain([examples]).filter_map(|(name, moved)| line(name, moved)).collect()
    }
}

fn line(name: String, moved: MovedFigure) -> Option<Line> {
    let [old, new, change] = moved.written();
    if old.is_none() && new.is_none() {
        return None;
    }
    let absent = || ABSENT.to_owned();
    Some([name, old.unwrap_or_else(absent), new.unwrap_or_else(absent), change.unwrap_or_default()])
}
