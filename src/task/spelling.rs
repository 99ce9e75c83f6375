//! "Did you mean": the known name nearest to a mistyped one.

/// The candidate that `word` is most likely a misspelling of, if any is near enough.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .filter_map(|candidate| Some((distance(word, candidate)?, candidate)))
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// How many slips of the pen are between `word` and `candidate`, whatever their case; `None` where
/// they are too many for a misspelling.
pub fn distance(word: &str, candidate: &str) -> Option<usize> {
    let word = word.to_lowercase();
    let allowed = (word.chars().count() / 3).max(1);
    Some(edit_distance(&word, &candidate.to_lowercase())).filter(|distance| *distance <= allowed)
}

/// `did you mean `x`? ` where something is near enough, else nothing: the head of a hint.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    closest(word, candidates).map_or_else(String::new, |name| format!("did you mean `{name}`? "))
}

/// Insertions, deletions, substitutions and swaps of neighbours between two words.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1]; // [i][j]: a's first i to b's first j
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let substituted = table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                substituted.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1)
            };
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                table[i][j] = table[i][j].min(table[i - 2][j - 2] + 1);
            }
        }
    }
    table[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_worked_by_hand() {
        assert_eq!(edit_distance("kitten", "sitting"), 3); // k→s, e→i, +g
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("lable", "label"), 1); // one swap
        assert_eq!(edit_distance("abc", "abc"), 0);
    }

    #[test]
    fn a_near_name_is_found_and_a_far_one_is_not() {
        assert_eq!(closest("sst", ["cola", "sst2"]), Some("sst2"));
        assert_eq!(closest("SENTENCE", ["sentence", "label"]), Some("sentence"));
        assert_eq!(closest("imagenet", ["cola", "sst2"]), None);
        assert_eq!(did_you_mean("lable", ["label"]), "did you mean `label`? ");
    }
}
