//! Teacher and student over the same examples: joined by a column of ids, else by row.

use std::collections::HashMap;

use anyhow::{bail, Context, Result};

use super::examples::{apart, cut, shown_name, ExampleColumn, ID, IDS, INDEX, INDICES};
use super::read::{read_predictions, PredictionFile, PredictionOptions};
use crate::error::{failure, Diagnostic};

/// Both models' predictions.
#[derive(Debug, Clone)]
pub struct PredictionPair {
    /// The teacher's, in the order of its rows.
    pub teacher: PredictionFile,
    /// The student's, in the teacher's order.
    pub student: PredictionFile,
    /// How the rows were matched.
    pub joined: JoinedBy,
}

/// How the rows of two tables were matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinedBy {
    /// By the values of the column of that name, unique in each table.
    Column(String),
    /// In order.
    Rows,
}

/// Teacher and student over the same examples, in the teacher's order: joined by the first column of
/// ids that both have, otherwise by row.
///
/// # Errors
/// Those of [`read_predictions`]; different examples or numbers of them; true labels, texts or ids
/// that contradict the join; an interrupt.
pub fn read_pair(
    teacher: &[String],
    student: &[String],
    options: &PredictionOptions,
) -> Result<PredictionPair> {
    let mut teacher = read_predictions("teacher", teacher, options)?;
    let names = teacher.label_names.clone();
    let of_student = PredictionOptions { labels: &names, ..*options };
    let mut student = read_predictions("student", student, &of_student)?;
    options.label_map.check_used(&teacher.own_labels, &student.own_labels)?;
    let joined = match common_ids(&teacher, &student)? {
        Some((wanted, given)) => {
            let order = order_of_student(wanted, given, &teacher, &student)?;
            let joined = JoinedBy::Column(wanted.name.clone());
            student = student.reordered(&order);
            joined
        }
        None => {
            require_same_count(&teacher, &student)?;
            JoinedBy::Rows
        }
    };
    if joined != JoinedBy::Column(ID.to_owned()) {
        refuse_other_examples(&teacher, &student, &joined)?;
    }
    if joined == JoinedBy::Rows {
        refuse_same_ids_in_another_order(&teacher, &student)?;
    }
    take_labels(&mut teacher, &student, &joined)?;
    Ok(PredictionPair { teacher, student, joined })
}

/// The columns of both tables that join them: the first column of ids with the same values in both,
/// else the first at all, whose error says what differs; else an index in another order.
///
/// # Errors
/// An index in another order that nothing else in the tables explains.
fn common_ids<'a>(
    teacher: &'a PredictionFile,
    student: &'a PredictionFile,
) -> Result<Option<(&'a ExampleColumn, &'a ExampleColumn)>> {
    let of_both = |name: &&str| Some((teacher.example(name)?, student.example(name)?));
    let unique =
        |(t, s): &(&ExampleColumn, &ExampleColumn)| t.values().is_some() && s.values().is_some();
    let same = |(t, s): &(&ExampleColumn, &ExampleColumn)| t.values() == s.values();
    let ids: Vec<_> = IDS.iter().filter_map(of_both).filter(unique).collect();
    let is_id = |(t, _): &&(&ExampleColumn, &ExampleColumn)| t.name == ID;
    if let Some(found) = ids.iter().find(|it| is_id(it) || same(it)).or(ids.first()) {
        return Ok(Some(*found));
    }
    let turned = |it: &(&ExampleColumn, &ExampleColumn)| same(it) && it.0.cells != it.1.cells;
    match INDICES.iter().filter_map(of_both).filter(unique).find(turned) {
        Some((t, s)) => Ok(joins_by_index(t, s, teacher, student)?.then_some((t, s))),
        None => Ok(None),
    }
}

/// Whether an index that has the same values in another order joins the rows. It may also have been
/// made again for rows in the same order, so a text or a true label that both tables have decides.
///
/// # Errors
/// An index of pandas that no such column explains. A column that somebody called `index` joins.
fn joins_by_index(
    t: &ExampleColumn,
    s: &ExampleColumn,
    teacher: &PredictionFile,
    student: &PredictionFile,
) -> Result<bool> {
    let order = order_of_student(t, s, teacher, student)?;
    let fits = |column: &ExampleColumn, joined: bool| {
        student.example(&column.name).is_none_or(|other| {
            let given = |row: usize| other.cells[if joined { order[row] } else { row }].as_ref();
            (0..order.len()).all(|row| !apart(column.cells[row].as_ref(), given(row)))
        })
    };
    let all_fit = |joined: bool| {
        let is_evidence = |name: &str| !IDS.contains(&name) && !INDICES.contains(&name);
        let mut columns = teacher.examples.iter().filter(|column| is_evidence(&column.name));
        columns.all(|column| fits(column, joined))
            && (0..order.len()).all(|row| {
                let other = student.labels[if joined { order[row] } else { row }];
                teacher.labels[row].zip(other).is_none_or(|(t, s)| t == s)
            })
    };
    match (all_fit(true), all_fit(false)) {
        (true, false) => Ok(true),
        (false, true) => Ok(false),
        _ if t.name == INDEX => Ok(true),
        _ => {
            let row = t.cells.iter().zip(&s.cells).position(|(t, s)| t != s).unwrap_or_default();
            let name = shown_name(&t.name);
            bail!(failure!(
                "{}: {name} has the same values as in {}, in another order: either the rows are in \
                 another order, or the index was made again",
                student.places[row],
                teacher.places[row]
            )
            .hint(
                "call the column `id` in both tables if it names the examples, or leave it out of one \
                 if the rows are in the same order"
            ))
        }
    }
}

fn require_same_count(teacher: &PredictionFile, student: &PredictionFile) -> Result<()> {
    let counts = [teacher.labels.len(), student.labels.len()];
    if counts[0] == counts[1] {
        return Ok(());
    }
    bail!(failure!(
        "the teacher's predictions have {} rows, and the student's {}",
        counts[0],
        counts[1]
    )
    .hint("both must be of the same examples; with an `id` column in both they are joined by it"))
}

/// For each of the teacher's ids, the student's row.
fn order_of_student(
    wanted: &ExampleColumn,
    given: &ExampleColumn,
    teacher: &PredictionFile,
    student: &PredictionFile,
) -> Result<Vec<usize>> {
    let rows = |column: &ExampleColumn| -> HashMap<String, usize> {
        column.cells.iter().flatten().cloned().zip(0..).collect()
    };
    let given_rows = rows(given);
    let ids = |column: &'_ ExampleColumn| -> Vec<String> {
        column.cells.iter().flatten().cloned().collect()
    };
    let (wanted_ids, given_ids) = (ids(wanted), ids(given));
    if let Some(i) = wanted_ids.iter().position(|id| !given_rows.contains_key(id)) {
        bail!(unknown_id(&wanted.name, &wanted_ids[i], &teacher.places[i], "student", &given_ids));
    }
    if given_ids.len() > wanted_ids.len() {
        let known = rows(wanted);
        let extra = given_ids.iter().position(|id| !known.contains_key(id));
        let i = extra.context("more ids than examples, and none of them new")?;
        bail!(unknown_id(&given.name, &given_ids[i], &student.places[i], "teacher", &wanted_ids));
    }
    Ok(wanted_ids.iter().map(|id| given_rows[id]).collect())
}

/// The error of an id that the other table lacks, with the id there that is likely the same.
fn unknown_id(name: &str, id: &str, place: &str, other: &str, others: &[String]) -> Diagnostic {
    let (called, column) = match name {
        ID => (format!("the id `{id}`"), ""),
        name => (
            format!("the id `{id}` of the column `{name}`"),
            "; if the rows are in the same order, leave that column out of one table",
        ),
    };
    let plain = plain_id(id);
    let (twin, hint) = match others.iter().find(|other| plain_id(other) == plain) {
        Some(twin) => (format!(", which have `{twin}`"), difference(id, twin).to_owned()),
        None => {
            let first = &others[0];
            let hint = format!("both need the same ids; the first of the {other}'s is `{first}`");
            (String::new(), hint)
        }
    };
    failure!("{place}: {called} is not among the {other}'s predictions{twin}")
        .hint(format!("{hint}{column}"))
}

/// An id without what programs add to it or lose of it: spaces, `.0`, leading zeros, case.
fn plain_id(id: &str) -> String {
    let id = id.trim();
    let id = id.strip_suffix(".0").unwrap_or(id);
    let id = match id.bytes().all(|byte| byte.is_ascii_digit()) {
        true => id.trim_start_matches('0'),
        false => id,
    };
    id.to_lowercase()
}

/// Why two ids with the same [`plain_id`] differ, and what to do.
fn difference(a: &str, b: &str) -> &'static str {
    let zeros = |id: &str| id.trim().len() - id.trim().trim_start_matches('0').len();
    if a.trim() != a || b.trim() != b {
        "one of the two has spaces around it: remove them"
    } else if a.ends_with(".0") != b.ends_with(".0") {
        "one of the two was read as a decimal number (pandas does so where an id of the column is \
         missing): write the ids as integers or text in both tables"
    } else if zeros(a) != zeros(b) {
        "one of the two lost its leading zeros: read and write the ids as text (pandas: dtype=str)"
    } else {
        "the two differ in case: write the ids alike in both tables"
    }
}

/// Fails at the first row whose text, true label or id differs between the tables.
fn refuse_other_examples(
    teacher: &PredictionFile,
    student: &PredictionFile,
    joined: &JoinedBy,
) -> Result<()> {
    let differs = |t: &ExampleColumn| -> Option<usize> {
        t.first_of_another_example(student.example(&t.name)?, *joined == JoinedBy::Rows)
    };
    let first =
        teacher.examples.iter().filter_map(|t| Some((differs(t)?, t))).min_by_key(|it| it.0);
    let Some((row, column)) = first else { return Ok(()) };
    let other = student.example(&column.name).expect("it was compared");
    let [t, s] = [column, other].map(|it| it.cells[row].as_deref().unwrap_or_default());
    let name = shown_name(&column.name);
    bail!(failure!(
        "{}, {name}: `{}`, and {} has `{}`: the rows are not of the same example",
        student.places[row],
        cut(s),
        teacher.places[row],
        cut(t)
    )
    .hint(how_to_join(teacher, student, joined, Some(&column.name))))
}

/// What to do about rows that do not fit together.
fn how_to_join(
    teacher: &PredictionFile,
    student: &PredictionFile,
    joined: &JoinedBy,
    differs: Option<&str>,
) -> String {
    if let JoinedBy::Column(name) = joined {
        let other = differs.map_or(String::new(), |name| {
            format!("; if {} is not of the example, leave it out of one table", shown_name(name))
        });
        return format!(
            "the tables were joined by {}: if it does not name the examples, leave it out, and give \
             both an `id`{other}",
            shown_name(name)
        );
    }
    let why = IDS.iter().find_map(|name| {
        let (t, s) = (teacher.example(name)?, student.example(name)?);
        let (column, file) = if t.values().is_none() { (t, teacher) } else { (s, student) };
        Some(match column.first_twice() {
            Some((value, a, b)) => format!(
                "`{name}` cannot join them, because `{}` is in {} and in {}",
                cut(value),
                file.places[a],
                file.places[b]
            ),
            None => format!("`{name}` cannot join them, because it is empty in some rows"),
        })
    });
    let why = why.unwrap_or_else(|| "they have no column of ids in common".to_owned());
    format!(
        "the tables are compared row by row ({why}): give both an `id` column, or sort them alike; a \
         column that is not of the example has to go from one table"
    )
}

/// Fails if ids under two names are the same in another order.
fn refuse_same_ids_in_another_order(
    teacher: &PredictionFile,
    student: &PredictionFile,
) -> Result<()> {
    let ids = |file: &PredictionFile| -> Vec<ExampleColumn> {
        IDS.iter().filter_map(|name| file.example(name).cloned()).collect()
    };
    for t in ids(teacher) {
        for s in ids(student).iter().filter(|s| s.name != t.name) {
            let is_same = t.values().is_some() && t.values() == s.values() && t.cells != s.cells;
            if let (true, Some(row)) =
                (is_same, t.cells.iter().zip(&s.cells).position(|(t, s)| t != s))
            {
                let [a, b] = [&t, s].map(|it| it.cells[row].as_deref().unwrap_or_default());
                bail!(failure!(
                    "{}, column `{}`: `{}`, and {}, column `{}`, has `{}`: the same ids in another \
                     order",
                    student.places[row],
                    s.name,
                    cut(b),
                    teacher.places[row],
                    t.name,
                    cut(a)
                )
                .hint("give both columns the name `id`, and the tables are joined by it"));
            }
        }
    }
    Ok(())
}

/// Gives the teacher's file the labels that only the student's has.
fn take_labels(
    teacher: &mut PredictionFile,
    student: &PredictionFile,
    joined: &JoinedBy,
) -> Result<()> {
    for i in 0..teacher.labels.len() {
        match (teacher.labels[i], student.labels[i]) {
            (Some(t), Some(s)) if t != s => {
                let names = &teacher.label_names;
                let error = failure!(
                    "{} has the label `{}`, and {} has `{}` for the same example",
                    teacher.places[i],
                    names[t as usize],
                    student.places[i],
                    names[s as usize]
                );
                bail!(error.hint(match joined {
                    JoinedBy::Column(name) if name == ID => {
                        "the ids of one table are of other examples, or its labels are wrong"
                            .to_owned()
                    }
                    joined => how_to_join(teacher, student, joined, None),
                }))
            }
            (None, given) => teacher.labels[i] = given,
            _ => {}
        }
    }
    Ok(())
}

impl PredictionFile {
    /// The name of the column that names its examples, each with a value of its own.
    pub fn ids(&self) -> Option<&str> {
        let mut found = IDS.iter().filter_map(|name| self.example(name));
        found.find(|column| column.values().is_some()).map(|column| column.name.as_str())
    }

    /// Whether a column of ids of each has the same values in the same order.
    pub fn has_same_ids(&self, other: &PredictionFile) -> bool {
        let ids = |file: &'_ PredictionFile| -> Vec<Vec<Option<String>>> {
            let columns = IDS.iter().filter_map(|name| file.example(name));
            columns.map(|column| column.cells.clone()).collect()
        };
        let others = ids(other);
        ids(self).iter().any(|cells| others.contains(cells))
    }

    /// The file and line of a row.
    pub fn place(&self, row: usize) -> &str {
        &self.places[row]
    }

    pub(super) fn example(&self, name: &str) -> Option<&ExampleColumn> {
        self.examples.iter().find(|column| column.name == name)
    }

    /// The rows in another order: row i of the result is row `order[i]` of this one.
    pub(super) fn reordered(self, order: &[usize]) -> Self {
        let examples = self.examples.into_iter().map(|column| ExampleColumn {
            cells: order.iter().map(|&i| column.cells[i].clone()).collect(),
            ..column
        });
        PredictionFile {
            predictions: self.predictions.reordered(order),
            logits: self.logits.map(|logits| {
                let rows: Vec<u32> = order.iter().map(|&row| row as u32).collect();
                logits.part(&rows)
            }),
            labels: order.iter().map(|&i| self.labels[i]).collect(),
            places: order.iter().map(|&i| self.places[i].clone()).collect(),
            examples: examples.collect(),
            ..self
        }
    }
}
