//! English words that are never replaced.

/// The words without an apostrophe of TinyBERT's list, in its order: NLTK's English stop words but for
/// the eight that ask, such as `who`. The parts of contractions are among them: a tokenizer cuts
/// `isn't` into `isn`, `'` and `t`.
#[rustfmt::skip] // one word a line otherwise
const STOP_WORDS: [&str; 145] = [
    "i", "me", "my", "myself", "we", "our", "ours", "ourselves", "you", "your", "yours", "yourself",
    "yourselves", "he", "him", "his", "himself", "she", "her", "hers", "herself", "it", "its",
    "itself", "they", "them", "their", "theirs", "themselves",
    "this", "that", "these", "those", "am", "is", "are", "was", "were", "be", "been", "being",
    "have", "has", "had", "having", "do", "does", "did", "doing", "a", "an", "the", "and", "but",
    "if", "or", "because", "as", "until", "while", "of", "at", "by", "for", "with", "about",
    "against", "between", "into", "through", "during", "before", "after", "above", "below", "to",
    "from", "up", "down", "in", "out", "on", "off", "over", "under", "again", "further", "then",
    "once", "here", "there", "all", "any", "both", "each", "few",
    "more", "most", "other", "some", "such", "no", "nor", "not", "only", "own", "same", "so",
    "than", "too", "very", "s", "t", "can", "will", "just", "don", "should", "now", "d", "ll", "m",
    "o", "re", "ve", "y", "ain", "aren", "couldn", "didn", "doesn", "hadn", "hasn", "haven", "isn",
    "ma", "mightn", "mustn", "needn", "shan", "shouldn", "wasn", "weren", "won", "wouldn",
];

/// Whether `word` is a stop word, in upper or lower case.
pub(super) fn is_stop_word(word: &str) -> bool {
    STOP_WORDS.iter().any(|stop| stop.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::is_stop_word;

    #[test]
    fn words_that_ask_are_none() {
        assert!(["the", "The", "isn", "THEIRS"].into_iter().all(is_stop_word));
        assert!(!["who", "What", "when", "how", "film", ""].into_iter().any(is_stop_word));
    }
}
