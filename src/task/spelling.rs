//! "Did you mean": the known name nearest to a mistyped one.

/// The candidate that `word` is most likely a misspelling of, if any is near enough.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .filter_map(|candidate| Some((distance(word, candidate)?, candidate)))
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// The edit distance (insertions, deletions, substitutions, swaps of neighbours), whatever the case;
/// `None` above a third of the length of `word`, or above 1 for a short word.
pub fn distance(word: &str, candidate: &str) -> Option<usize> {
    let word = word.to_lowercase();
    let allowed = (word.chars().count() / 3).max(1);
    Some(strsim::osa_distance(&word, &candidate.to_lowercase()))
        .filter(|distance| *distance <= allowed)
}

/// `did you mean `x`? ` where something is near enough, else nothing: the head of a hint.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    closest(word, candidates).map_or_else(String::new, |name| format!("did you mean `{name}`? "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_worked_by_hand() {
        assert_eq!(distance("lable", "label"), Some(1)); // one swap
        assert_eq!(distance("", "a"), Some(1));
        assert_eq!(distance("abc", "ABC"), Some(0));
        assert_eq!(distance("kitten", "sitten"), Some(1)); // k→s
        assert_eq!(distance("kitten", "sitting"), None); // k→s, e→i, +g: above a third of 6
        assert_eq!(distance("kittenkit", "sittingkit"), Some(3)); // the same edits, a third of 9
        assert_eq!(distance("", "abc"), None); // three insertions
    }

    #[test]
    fn a_near_name_is_found_and_a_far_one_is_not() {
        assert_eq!(closest("sst", ["cola", "sst2"]), Some("sst2"));
        assert_eq!(closest("SENTENCE", ["sentence", "label"]), Some("sentence"));
        assert_eq!(closest("imagenet", ["cola", "sst2"]), None);
        assert_eq!(did_you_mean("lable", ["label"]), "did you mean `label`? ");
    }
}
