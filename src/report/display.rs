//! Text from elsewhere, made fit to be shown: neutralised, measured in columns, cut and wrapped.

/// Replaces what could act on a terminal or reorder a line by something that can be seen.
///
/// Line breaks and tabs become spaces; other C0 controls their Unicode pictures (`␛`); C1
/// controls and noncharacters `�`; direction marks and invisible format characters their escape
/// (`\u{202e}`). Letters of right-to-left scripts and joiners inside words and emoji stay. What a
/// CI runner would carry out anywhere in a line of a log (`##[error]`) is taken apart (`# #[`).
pub(crate) fn neutralise(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' | '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => out.push(' '),
            '\0'..='\u{1f}' => out.push(char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}')),
            '\u{7f}' => out.push('␡'),
            '\u{80}'..='\u{9f}' | '\u{fdd0}'..='\u{fdef}' => out.push('\u{fffd}'),
            c if c as u32 & 0xfffe == 0xfffe => out.push('\u{fffd}'),
            c if is_hidden(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    for command in ["##[", "##vso[", "##teamcity["] {
        if out.contains(command) {
            out = out.replace(command, &command.replacen("##", "# #", 1));
        }
    }
    out
}

/// Whether `c` shows nothing and changes how its neighbours are laid out or read.
fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Columns that a terminal needs for `text`; never fewer, at times a few more (joined emoji).
pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(char_columns).sum()
}

/// Columns of one character: 0 for marks that combine, 2 for wide ones, else 1.
///
/// Compared with unicode-width 0.2.3 over every character: never less, but for two Khmer signs
/// and one symbol, and more only for marks of rarer scripts and for unassigned characters.
fn char_columns(c: char) -> usize {
    let code = c as u32;
    let within = |ranges: &[(u32, u32)]| {
        ranges.binary_search_by(|&(low, high)| range_order(low, high, code)).is_ok()
    };
    if code < 0x300 {
        1
    } else if within(&COMBINING) {
        0
    } else if within(&WIDE) {
        2
    } else {
        1
    }
}

fn range_order(low: u32, high: u32, code: u32) -> std::cmp::Ordering {
    if high < code {
        std::cmp::Ordering::Less
    } else if low > code {
        std::cmp::Ordering::Greater
    } else {
        std::cmp::Ordering::Equal
    }
}

/// Marks that take no column of their own (Unicode general category Mn, Me; the common scripts).
#[rustfmt::skip]
const COMBINING: [(u32, u32); 31] = [
    (0x0300, 0x036f), (0x0483, 0x0489), (0x0591, 0x05bd), (0x05c1, 0x05c2), (0x05c4, 0x05c5),
    (0x0610, 0x061a), (0x064b, 0x065f), (0x0670, 0x0670), (0x06d6, 0x06dc), (0x06df, 0x06e4),
    (0x06e7, 0x06e8), (0x06ea, 0x06ed), (0x093c, 0x093c), (0x0941, 0x0948), (0x094d, 0x094d),
    (0x09bc, 0x09bc), (0x0a3c, 0x0a3c), (0x0abc, 0x0abc), (0x0e31, 0x0e31), (0x0e34, 0x0e3a),
    (0x0e47, 0x0e4e), (0x0eb1, 0x0eb1), (0x0eb4, 0x0ebc), (0x0ec8, 0x0ece), (0x1ab0, 0x1ace),
    (0x1dc0, 0x1dff), (0x200c, 0x200d), (0x20d0, 0x20f0), (0x302a, 0x302d), (0x3099, 0x309a),
    (0xfe20, 0xfe2f),
];

/// Characters two columns wide: East Asian Width W and F, and the blocks that hold emoji whole.
#[rustfmt::skip]
const WIDE: [(u32, u32); 54] = [
    (0x1100, 0x115f), (0x231a, 0x231b), (0x2329, 0x232a), (0x23e9, 0x23ec), (0x23f0, 0x23f0),
    (0x23f3, 0x23f3), (0x25fd, 0x25fe), (0x2614, 0x2615), (0x2630, 0x2637), (0x2648, 0x2653),
    (0x267f, 0x267f), (0x268a, 0x268f), (0x2693, 0x2693), (0x26a1, 0x26a1), (0x26aa, 0x26ab),
    (0x26bd, 0x26be), (0x26c4, 0x26c5), (0x26ce, 0x26ce), (0x26d4, 0x26d4), (0x26ea, 0x26ea),
    (0x26f2, 0x26f3), (0x26f5, 0x26f5), (0x26fa, 0x26fa), (0x26fd, 0x26fd), (0x2705, 0x2705),
    (0x270a, 0x270b), (0x2728, 0x2728), (0x274c, 0x274c), (0x274e, 0x274e), (0x2753, 0x2755),
    (0x2757, 0x2757), (0x2795, 0x2797), (0x27b0, 0x27b0), (0x27bf, 0x27bf), (0x2b1b, 0x2b1c),
    (0x2b50, 0x2b50), (0x2b55, 0x2b55), (0x2e80, 0x303e), (0x3041, 0xa4cf), (0xa960, 0xa97f),
    (0xac00, 0xd7a3), (0xf900, 0xfaff), (0xfe10, 0xfe19), (0xfe30, 0xfe6f), (0xff01, 0xff60),
    (0xffe0, 0xffe6), (0x16fe0, 0x1b2ff), (0x1d300, 0x1d376),
    (0x1f004, 0x1f004), (0x1f0cf, 0x1f0cf), (0x1f18e, 0x1f19a), (0x1f1e6, 0x1f265),
    (0x1f300, 0x1faff), (0x20000, 0x3fffd),
];

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

/// `text` in at most `limit` columns, keeping its end: a path's last folders tell the most.
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
    fn tables_of_widths_are_in_order() {
        for table in [&COMBINING[..], &WIDE[..]] {
            assert!(table.iter().all(|(low, high)| low <= high));
            assert!(table.windows(2).all(|pair| pair[0].1 < pair[1].0));
        }
    }

    #[test]
    fn columns_follow_what_a_terminal_shows() {
        assert_eq!(columns("σ ≤ κ"), 5);
        assert_eq!(columns("日本"), 4);
        assert_eq!(columns("e\u{301}"), 1);
        assert_eq!(columns("🙂"), 2);
        assert_eq!(columns("שלום"), 4);
    }

    #[test]
    fn nothing_that_acts_on_a_terminal_survives() {
        assert_eq!(neutralise("a\x1b[31mb\r\nc\x07\u{9b}2J"), "a␛[31mb  c␇\u{fffd}2J");
        assert_eq!(neutralise("a ##[error]x ##vso[y] ##z"), "a # #[error]x # #vso[y] ##z");
        assert_eq!(neutralise("\u{fffe}\u{1ffff}"), "\u{fffd}\u{fffd}");
        assert_eq!(neutralise("x\u{202e}y"), "x\\u{202e}y");
        assert_eq!(neutralise("👩\u{200d}🔬 שלום"), "👩\u{200d}🔬 שלום");
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
