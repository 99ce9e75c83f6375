//! Natural sort order of names: `part-2` before `part-10`.

/// A run of digits as how many they are, leading zeros apart, then the digits: ordered by value
/// without a limit. Text comes after every number.
type NameRun = (usize, Vec<u8>);

/// The sort key of `path`: folder by folder, each run of digits as a number; names that are equal
/// then (`1` and `01`) by their spelling.
pub(super) fn natural_key(path: &str) -> (Vec<Vec<NameRun>>, String) {
    (path.split(['/', '\\']).map(runs).collect(), path.to_owned())
}

fn runs(name: &str) -> Vec<NameRun> {
    let runs = name.as_bytes().chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit());
    let key = |run: &[u8]| match run[0].is_ascii_digit() {
        true => {
            let zeros = run.iter().take_while(|&&digit| digit == b'0').count();
            (run.len() - zeros, run[zeros..].to_vec())
        }
        false => (usize::MAX, run.to_vec()),
    };
    runs.map(key).collect()
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
