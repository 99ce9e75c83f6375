//! Tables of predictions as pandas and services write them: joined by their ids, or refused with what
//! to do.

#[path = "../common/mod.rs"]
mod common;
mod compressed;
mod habits;
mod joins;
mod refusals;

use common::{with, Sandbox};

/// Rows of a table of logits over SST-2's labels.
const ROWS: usize = 40;

/// The teacher's margin of row i: its logits are this and 0, so its confidence is a sigmoid.
fn margin(i: usize) -> f64 {
    f64::from(i as u32 * 7 % 19) * 0.25 - 2.2
}

/// The student's: 0.1 more.
fn student_margin(i: usize) -> f64 {
    margin(i) + 0.1
}

/// Rows in an order that is not theirs: 13 is a unit modulo 40.
fn shuffled() -> Vec<usize> {
    (0..ROWS).map(|i| i * 13 % ROWS).collect()
}

/// A CSV of the rows in `order`: `columns` of each row, then its logits.
fn csv(
    header: &str,
    order: &[usize],
    cells: impl Fn(usize) -> String,
    z: fn(usize) -> f64,
) -> String {
    let row = |&i: &usize| format!("{}{},0\n", cells(i), z(i));
    let rows: String = order.iter().map(row).collect();
    format!("{header}logit_negative,logit_positive\n{rows}")
}

fn in_order() -> Vec<usize> {
    (0..ROWS).collect()
}

fn check(teacher: &str, student: &str) -> Vec<String> {
    let files = ["--teacher-predictions", teacher, "--student-predictions", student];
    with(&["check", "--task", "sst2"], &files)
}

/// Writes the texts as the teacher's and the student's `.csv`, and checks them.
fn pair(teacher: impl AsRef<[u8]>, student: impl AsRef<[u8]>) -> (Sandbox, Vec<String>) {
    let sandbox = Sandbox::new();
    sandbox.write("t.csv", teacher);
    sandbox.write("s.csv", student);
    (sandbox, check("t.csv", "s.csv"))
}

/// The check of these tables cannot be run, and stderr says all of `words`.
#[track_caller]
fn refused(teacher: impl AsRef<[u8]>, student: impl AsRef<[u8]>, words: &[&str]) {
    let (sandbox, files) = pair(teacher, student);
    sandbox.audit(&files).fails(3, words);
}

/// The check of a good teacher with this student's file cannot be run.
#[track_caller]
fn refused_file(name: &str, student: impl AsRef<[u8]>, words: &[&str]) {
    let sandbox = Sandbox::new();
    sandbox.write("t.csv", csv("", &in_order(), |_| String::new(), margin));
    sandbox.write(name, student);
    sandbox
        .audit(&check("t.csv", name))
        .fails(3, &with(&[name], words).iter().map(String::as_str).collect::<Vec<_>>());
}

/// σ of [`margin`] and [`student_margin`]:
///
/// ```python
/// import numpy as np
/// z = (np.arange(40) * 7 % 19) * 0.25 - 2.2
/// c = lambda z: 1 / (1 + np.exp(-abs(z.astype(np.float32).astype(float))))
/// print(np.sqrt(np.mean((c(z) - c(z + 0.1)) ** 2)))            # SIGMA
/// print(np.sqrt(np.mean((c(z) - c(z + 0.1)[np.arange(40) * 13 % 40]) ** 2)))  # joined by row
/// ```
const SIGMA: f64 = 0.018333622472492594;
const SIGMA_BY_ROW: f64 = 0.17646740717244816;
