//! Rows are matched by ids, and a join by row is refused where the tables show that it is wrong.

use super::common::{codes, note, number, says, with, Sandbox};
use super::*;

#[test]
fn shuffled_students_are_joined_by_the_column_of_ids_that_both_have() {
    for column in ["idx", "guid", "ID", "example_id", "uid", "index"] {
        let table = |order: &[usize], z| csv(&format!("{column},"), order, |i| format!("r{i},"), z);
        let (sandbox, files) = pair(table(&in_order(), margin), table(&shuffled(), student_margin));
        let run = sandbox.audit(&files);
        let row = sandbox.row(&files);
        assert!((number(&row, "sigma") - SIGMA).abs() < 1e-9, "{column}: {}", row["sigma"]);
        let note = note(&row, "joined-by-column");
        assert_eq!(note["level"], "note");
        says(note["message"].as_str().unwrap(), &["joined by", column]);
        says(&run.stderr, &["note: rows were joined by", column]);
    }
    // `id` is before the others, and needs no note.
    let table = |order: &[usize], z| csv("idx,id,", order, |i| format!("{},{i},", (i + 1) % 40), z);
    let (sandbox, files) = pair(table(&in_order(), margin), table(&shuffled(), student_margin));
    let row = sandbox.row(&files);
    assert!((number(&row, "sigma") - SIGMA).abs() < 1e-9);
    assert!(!codes(&row).contains(&"joined-by-column"));
}

#[test]
fn an_index_in_another_order_joins_only_where_the_tables_show_that_it_names_the_examples() {
    let sigma = |t: &str, s: &str| {
        let (sandbox, files) = pair(t, s);
        let row = sandbox.row(&files);
        (number(&row, "sigma"), codes(&row).contains(&"joined-by-column"))
    };
    for column in ["", "Unnamed: 0", "index"] {
        let header = format!("{column},sentence,");
        // Rows in another order, which kept their index.
        let kept = |order: &[usize], z| csv(&header, order, |i| format!("{i},film {i},"), z);
        let (found, joined) = sigma(&kept(&in_order(), margin), &kept(&shuffled(), student_margin));
        assert!(joined && (found - SIGMA).abs() < 1e-9, "{column}: {found}");
        // Rows in one order, in which one table was numbered again.
        let at = |i: usize| shuffled().iter().position(|&it| it == i).unwrap();
        let again = csv(&header, &shuffled(), |i| format!("{},film {i},", at(i)), student_margin);
        let (found, joined) = sigma(&kept(&shuffled(), margin), &again);
        assert!(!joined && (found - SIGMA).abs() < 1e-9, "{column}: {found}");
    }
    // Nothing else in the tables tells which it is.
    let table = |order: &[usize], z| csv(",", order, |i| format!("{i},"), z);
    refused(
        table(&in_order(), margin),
        table(&shuffled(), student_margin),
        &["without a name", "in another order", "made again", "call the column `id`"],
    );
    // Other numbers, and numbers of parts, say nothing.
    let part = |z| csv("index,", &in_order(), |i| format!("{},", i % 10), z);
    let (found, joined) =
        sigma(&csv("index,", &in_order(), |i| format!("{i},"), margin), &part(student_margin));
    assert!(!joined && (found - SIGMA).abs() < 1e-9);
}

#[test]
fn ids_of_a_run_do_not_keep_better_ones_from_joining() {
    // Another `guid` in each table, and the number of the row beside the ids that join.
    let table = |run: &str, order: &[usize], z| {
        let at = |i: usize| order.iter().position(|&it| it == i).unwrap();
        csv("guid,example_id,index,", order, |i| format!("{run}{i},e{i},{},", at(i)), z)
    };
    let (sandbox, files) =
        pair(table("a", &in_order(), margin), table("b", &shuffled(), student_margin));
    let row = sandbox.row(&files);
    assert!((number(&row, "sigma") - SIGMA).abs() < 1e-9, "{}", row["sigma"]);
    let message = note(&row, "joined-by-column")["message"].to_string();
    says(&message, &["example_id"]);
}

#[test]
fn texts_that_were_cut_or_cleaned_are_those_of_the_same_rows() {
    let clean = csv("sentence,", &in_order(), |i| format!("A  film {i} of note,"), margin);
    for other in ["a film {} of note,", "A film {} …,"] {
        let cells = |i: usize| match i % 3 {
            0 => other.replace("{}", &i.to_string()),
            _ => format!("A  film {i} of note,"),
        };
        let (sandbox, files) = pair(&clean, csv("sentence,", &in_order(), cells, student_margin));
        assert!((number(&sandbox.row(&files), "sigma") - SIGMA).abs() < 1e-9);
    }
    let others = csv("sentence,", &in_order(), |i| format!("book {i},"), student_margin);
    refused(&clean, others, &["line 2, column `sentence`: `book 0`", "not of the same example"]);
}

#[test]
fn rows_without_ids_are_compared_in_order() {
    let none = |_| String::new();
    let (sandbox, files) =
        pair(csv("", &in_order(), none, margin), csv("", &shuffled(), none, student_margin));
    let row = sandbox.row(&files);
    // What a join by row would give for the tables above, without a sign that it is wrong.
    assert!((number(&row, "sigma") - SIGMA_BY_ROW).abs() < 1e-9, "{}", row["sigma"]);
    let run = sandbox.audit(&files);
    assert!(!run.stderr.contains("joined"), "{}", run.stderr);
}

#[test]
fn a_column_that_differs_between_the_rows_refuses_a_join_by_row() {
    for (header, cell) in
        [("sentence,", "a film of number {}"), ("text,", "{}"), ("gold,", "{}"), ("label,", "{%}")]
    {
        let cells = |i: usize| {
            format!(
                "{},",
                cell.replace("{}", &i.to_string()).replace("{%}", &(i / 7 % 2).to_string())
            )
        };
        let table = |order: &[usize], z| csv(header, order, cells, z);
        let (t, s) = (table(&in_order(), margin), table(&shuffled(), student_margin));
        let name = header.trim_end_matches(',');
        let same = if name == "label" { "same example" } else { "not of the same example" };
        let column = if name == "label" { "label" } else { header.trim_end_matches(',') };
        refused(
            &t,
            &s,
            &["t.csv` line ", "s.csv` line ", column, same, "give both an `id` column"],
        );
    }
    // The first row that shows it: rows 0 are the same, and row 1 is 13 in the student's.
    let table = |order: &[usize], z| csv("sentence,", order, |i| format!("film {i},"), z);
    let (t, s) = (table(&in_order(), margin), table(&shuffled(), student_margin));
    refused(
        t,
        s,
        &["s.csv` line 3, column `sentence`: `film 13`, and `t.csv` line 3 has `film 1`"],
    );
}

#[test]
fn ids_that_are_there_twice_do_not_join_and_must_agree_row_by_row() {
    let twice = |order: &[usize], z| csv("idx,", order, |i| format!("{},", i / 2), z);
    let (sandbox, files) = pair(twice(&in_order(), margin), twice(&in_order(), student_margin));
    assert!((number(&sandbox.row(&files), "sigma") - SIGMA).abs() < 1e-9);
    let (t, s) = (twice(&in_order(), margin), twice(&shuffled(), student_margin));
    refused(
        t,
        s,
        &[
            "column `idx`: `6`",
            "has `0`",
            "`idx` cannot join them, because `0` is in",
            "line 2",
            "line 3",
        ],
    );
    // Empty in one table: not joined, and nothing contradicts the order.
    let t = csv(
        "guid,",
        &in_order(),
        |i| if i == 4 { ",".to_owned() } else { format!("g{i},") },
        margin,
    );
    let s = csv("guid,", &in_order(), |i| format!("g{i},"), student_margin);
    let (sandbox, files) = pair(t, s);
    assert!(!codes(&sandbox.row(&files)).contains(&"joined-by-column"));
}

#[test]
fn the_same_ids_under_two_names_must_be_in_the_same_order() {
    let table = |name: &str, order: &[usize], z| csv(name, order, |i| format!("{i},"), z);
    let t = table("id,", &in_order(), margin);
    refused(
        &t,
        table("idx,", &shuffled(), student_margin),
        &["column `idx`: `13`", "column `id`, has `1`", "another order", "the name `id`"],
    );
    let (sandbox, files) = pair(&t, table("idx,", &in_order(), student_margin));
    assert!((number(&sandbox.row(&files), "sigma") - SIGMA).abs() < 1e-9);
    let (sandbox, files) = pair(&t, csv("idx,", &in_order(), |i| format!("x{i},"), student_margin));
    says(
        note(&sandbox.row(&files), "joined-by-row")["message"].as_str().unwrap(),
        &["`id`", "`idx`"],
    );
}

#[test]
fn ids_that_were_written_differently_are_refused_with_the_likely_cause() {
    let good = csv("id,", &in_order(), |i| format!("{i},"), margin);
    let with_ids = |cell: fn(usize) -> String| csv("id,", &in_order(), cell, student_margin);
    for (student, words) in [
        (with_ids(|i| format!("{i}.0,")), ["the id `0`", "have `0.0`", "decimal number (pandas"]),
        (with_ids(|i| format!("00{i},")), ["the id `0`", "have `000`", "leading zeros"]),
        (with_ids(|i| format!(" {i},")), ["the id `0`", "have ` 0`", "spaces around"]),
        (
            with_ids(|i| format!("q{i},")),
            ["the id `0`", "is not among the student's", "first of the student's is `q0`"],
        ),
    ] {
        refused(
            &good,
            student,
            &with(&words, &["t.csv` line 2"]).iter().map(String::as_str).collect::<Vec<_>>(),
        );
    }
    let upper = csv("uid,", &in_order(), |i| format!("A{i},"), margin);
    let lower = csv("uid,", &in_order(), |i| format!("a{i},"), student_margin);
    refused(
        upper,
        lower,
        &[
            "the id `A0` of the column `uid`",
            "have `a0`",
            "differ in case",
            "leave that column out",
        ],
    );
    // Two ids that are one number in f64.
    let json =
        |id: u64| format!("{{\"id\": {id}, \"logit_negative\": 1, \"logit_positive\": 0}}\n");
    let sandbox = Sandbox::new();
    sandbox.write("t.jsonl", json(u64::MAX));
    sandbox.write("s.jsonl", json(u64::MAX - 1));
    let words = ["t.jsonl` line 1, column `id`", "not exact", "as text"];
    sandbox.audit(&check("t.jsonl", "s.jsonl")).fails(3, &words);
}
