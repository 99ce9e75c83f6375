//! The inputs on which the two confidences are furthest apart.

use super::super::display::{aligned, columns, neutralise, truncate};
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

/// A line for each of the five worst inputs, with its text on the same line or below.
pub(super) fn table(page: &mut Page, row: &TaskRow) {
    let inputs = &row.worst[..row.worst.len().min(SHOWN)];
    if inputs.is_empty() {
        return;
    }
    page.blank();
    let names = name_columns(page.width);
    let header = ["index", "d", "teacher", "student", "label"].map(str::to_owned).to_vec();
    let cells = inputs.iter().map(|input| cells(input, names).to_vec());
    let rows: Vec<Vec<String>> = std::iter::once(header).chain(cells).collect();
    let indent = 4 + rows.iter().map(|row| columns(&row[0])).max().unwrap_or(0);
    let lines = aligned(&rows, |i| i < 2);
    let title = page.paint(BOLD, "furthest apart");
    page.line(&format!("  {title} ({})", row.difference_in_words()));
    let header = page.paint(DIM, &format!("  {}", lines[0].trim_end()));
    page.line(&header);
    for (input, line) in inputs.iter().zip(&lines[1..]) {
        if page.width >= ROOM_FOR_TEXT {
            let room = page.width.saturating_sub(columns(line) + 4);
            page.line(&format!("  {line}  {}", text(input, room)));
        } else {
            page.line(&format!("  {line}"));
            page.line(&format!("{}{}", " ".repeat(indent), text(input, page.width - indent)));
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
