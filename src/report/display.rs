//! Text from elsewhere, made fit to be shown: neutralised, measured in columns, cut and wrapped.

use unicode_width::UnicodeWidthChar;

pub(crate) use crate::terminal::neutralise;

/// Columns that a terminal needs for `text`, character by character; joined emoji may need fewer.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(char_columns).sum()
}

/// Columns of one character: 0 for marks that combine, 2 for wide ones, else 1.
fn char_columns(c: char) -> usize {
    c.width().unwrap_or(1)
}

/// `text` in at most `limit` columns; what is cut off is marked with `…`.
pub(crate) fn truncate(text: &str, limit: usize) -> String {
    // Marks take no columns, so a heap of them is bounded by characters instead.
    let most_chars = limit.saturating_mul(4);
    if text.chars().nth(most_chars).is_none() && columns(text) <= limit {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars().take(most_chars) {
        used += char_columns(c);
        if used + 1 > limit {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}

/// `text` in at most `limit` columns, keeping its end, which matters most in a path.
pub(crate) fn truncate_start(text: &str, limit: usize) -> String {
    if columns(text) <= limit {
        return text.to_owned();
    }
    let mut used = 1;
    let kept: Vec<char> = text
        .chars()
        .rev()
        .take_while(|&c| {
            used += char_columns(c);
            used <= limit
        })
        .collect();
    std::iter::once('…').chain(kept.into_iter().rev()).collect()
}

/// `text` padded on the right to `width` columns.
pub(crate) fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}

/// `text` padded on the left to `width` columns.
pub(crate) fn pad_left(text: &str, width: usize) -> String {
    format!("{}{text}", " ".repeat(width.saturating_sub(columns(text))))
}

/// A line for each row of cells, as columns two spaces apart, those that `is_right` names aligned to
/// the right. Lines keep the spaces at their ends.
pub(crate) fn aligned(rows: &[Vec<String>], is_right: impl Fn(usize) -> bool) -> Vec<String> {
    let width = |i: usize| rows.iter().map(|row| columns(&row[i])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len)).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells =
            row.iter().zip(&widths).enumerate().map(|(i, (cell, width))| match is_right(i) {
                true => pad_left(cell, *width),
                false => pad(cell, *width),
            });
        cells.collect::<Vec<_>>().join("  ")
    };
    rows.iter().map(line).collect()
}

/// Rows of cells as columns two spaces apart; text from elsewhere is made harmless.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| neutralise(cell)).collect()).collect();
    aligned(&rows, |_| false).iter().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// `text` in lines of at most `limit` columns, broken at spaces, inside a word where it must be.
pub(crate) fn wrap(text: &str, limit: usize) -> Vec<String> {
    let limit = limit.max(10);
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        let needed = columns(word);
        if used > 0 && used + 1 + needed > limit {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        for c in word.chars() {
            if used + char_columns(c) > limit {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push(c);
            used += char_columns(c);
        }
    }
    if used > 0 || lines.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_follow_what_a_terminal_shows() {
        assert_eq!(columns("σ ≤ κ"), 5);
        assert_eq!(columns("日本"), 4);
        assert_eq!(columns("e\u{301}"), 1);
        assert_eq!(columns("🙂"), 2);
        assert_eq!(columns("שלום"), 4);
    }

    #[test]
    fn cuts_are_marked_and_fit() {
        assert_eq!(truncate("short", 5), "short");
        assert_eq!(truncate("longer", 5), "long…");
        assert_eq!(truncate("日本語", 5), "日本…");
        assert_eq!(truncate_start("models/sst2/teacher", 9), "…/teacher");
        let marks = "a".to_owned() + &"\u{301}".repeat(10_000);
        assert!(truncate(&marks, 10).chars().count() <= 41);
    }

    #[test]
    fn wrapped_lines_fit_and_lose_no_word() {
        let text = "the quick brown fox supercalifragilistic";
        let lines = wrap(text, 12);
        assert!(lines.iter().all(|line| columns(line) <= 12), "{lines:?}");
        assert_eq!(lines.concat().replace(' ', ""), text.replace(' ', ""));
        assert_eq!(wrap("", 12), [""]);
    }
}
