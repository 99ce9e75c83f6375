//! Natural sort order of names: `part-2` before `part-10`.

/// A part of a name; digits are ordered by their value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// Number of digits without leading zeros, then the digits: ordered by value without a limit.
    Number(usize, String),
    Text(String),
}

/// The sort key of `path`: folder by folder, each run of digits as a number; ties (`1` and `01`) by
/// spelling.
pub(super) fn natural_key(path: &str) -> (Vec<Vec<Part>>, String) {
    (path.split(['/', '\\']).map(parts).collect(), path.to_owned())
}

fn parts(name: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let is_number = first.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != is_number).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        parts.push(match is_number {
            true => {
                let digits = run.trim_start_matches('0');
                Part::Number(digits.len(), digits.to_owned())
            }
            false => Part::Text(run.to_owned()),
        });
        rest = after;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_ordered_by_value() {
        let ordered = [
            "a/z-9.csv",
            "a/z-10.csv",
            "a-1/z-1.csv",
            "b/1.csv",
            "b/01.csv",
            "b/00002-of-00010.csv",
            "b/99999999999999999999999998.csv",
            "b/99999999999999999999999999.csv",
            "b/x.csv",
            "b/x1.csv",
        ];
        let mut sorted = ordered;
        sorted.reverse();
        sorted.sort_by_key(|name| natural_key(name));
        // `01` before `1` by its spelling; `x` before `x.csv` as its head.
        let mut expected = ordered;
        expected.swap(3, 4);
        expected.swap(8, 9);
        assert_eq!(sorted, expected);
    }
}
