//! The inputs on which the two confidences are furthest apart.

use super::super::display::{columns, neutralise, pad, pad_left, truncate};
use super::super::numbers::{decimal, signed, ABSENT};
use super::super::schema::{Prediction, TaskRow, WorstInput};
use super::page::{Page, BOLD, DIM};

/// Inputs shown.
const SHOWN: usize = 5;

/// A width from which an input and its text fit one line.
const ROOM_FOR_TEXT: usize = 120;

/// Columns of a label's name, by width of the terminal.
fn name_columns(width: usize) -> usize {
    // Three names share what the index, the numbers and the gaps leave.
    (width.saturating_sub(40) / 3).clamp(4, 20)
}

/// A line for each of the five worst inputs, its text beside or below it.
pub(super) fn table(page: &mut Page, row: &TaskRow) {
    let inputs = &row.worst[..row.worst.len().min(SHOWN)];
    if inputs.is_empty() {
        return;
    }
    page.blank();
    let names = name_columns(page.width);
    let cells: Vec<[String; 5]> = inputs.iter().map(|input| cells(input, names)).collect();
    let header = ["index", "d", "teacher", "student", "label"];
    let widths: Vec<usize> = (0..header.len())
        .map(|column| {
            let cells = cells.iter().map(|cells| columns(&cells[column]));
            cells.max().unwrap_or(0).max(columns(header[column]))
        })
        .collect();
    let format_line = |cells: &[&str]| {
        let right = cells[..2].iter().zip(&widths).map(|(cell, width)| pad_left(cell, *width));
        let left = cells[2..].iter().zip(&widths[2..]).map(|(cell, width)| pad(cell, *width));
        format!("  {}", right.chain(left).collect::<Vec<_>>().join("  "))
    };
    let title = page.paint(BOLD, "furthest apart");
    page.line(&format!("  {title} ({})", row.difference_in_words()));
    let line = page.paint(DIM, format_line(&header).trim_end());
    page.line(&line);
    for (input, cells) in inputs.iter().zip(&cells) {
        let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
        let line = format_line(&cells);
        if page.width >= ROOM_FOR_TEXT {
            let room = page.width.saturating_sub(columns(&line) + 2);
            page.line(&format!("{line}  {}", text(input, room)));
        } else {
            page.line(&line);
            let indent = 2 + widths[0] + 2;
            let shown = text(input, page.width - indent);
            page.line(&format!("{}{shown}", " ".repeat(indent)));
        }
    }
}

fn cells(input: &WorstInput, names: usize) -> [String; 5] {
    let name = |text: &str| truncate(&neutralise(text), names);
    let says = |prediction: &Prediction| {
        format!("{} {}", name(&prediction.predicted), decimal(prediction.confidence))
    };
    [
        input.index.to_string(),
        signed(input.difference),
        says(&input.teacher),
        says(&input.student),
        input.label.as_deref().map_or_else(|| ABSENT.to_owned(), name),
    ]
}

/// The text in quotes, a pair as `“first” + “second”`, in at most `room` columns.
fn text(input: &WorstInput, room: usize) -> String {
    let quoted = |text: &str, room: usize| {
        format!("“{}”", truncate(&neutralise(text), room.saturating_sub(2)))
    };
    match (&input.text, &input.pair) {
        (None, None) => "(no text given)".to_owned(),
        (Some(text), None) | (None, Some(text)) => quoted(text, room),
        (Some(first), Some(second)) => {
            // What the shorter of the two leaves free goes to the longer one.
            let half = room.saturating_sub(3) / 2;
            let needed = |text: &str| columns(&truncate(&neutralise(text), room)) + 2;
            let (first_needs, second_needs) = (needed(first), needed(second));
            let first_room = half.max((room - 3).saturating_sub(second_needs)).min(first_needs);
            let first = quoted(first, first_room);
            let left = room.saturating_sub(3 + columns(&first));
            format!("{first} + {}", quoted(second, left))
        }
    }
}
