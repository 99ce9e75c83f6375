//! Changed copies of a text.

use std::collections::HashSet;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::candidates::CandidateWords;

/// How copies are drawn.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct CopyOptions {
    /// N, the copies that are drawn of each text.
    pub copies: usize,
    /// p, the probability that a replaceable word is replaced, from 0 to 1.
    pub probability: f64,
    /// M, the candidates of a word.
    pub candidates: usize,
    /// The seed of all draws.
    pub seed: u64,
}

impl CopyOptions {
    /// The copies of `text`, at most N: each replaceable word of each copy is replaced with
    /// probability p by one of its candidates, all equally likely. A copy that equals the text, word
    /// by word, or an earlier copy is left out. `stream` is another number for each text.
    pub fn copies_of(&self, text: &str, words: &CandidateWords, stream: u64) -> Vec<String> {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(stream);
        let mut known = HashSet::from([text.to_owned(), words.words.join(" ")]);
        let mut copies = Vec::new();
        for _ in 0..self.copies {
            let mut copy: Vec<&str> = words.words.iter().map(String::as_str).collect();
            for (place, candidates) in &words.candidates {
                if random.random::<f64>() < self.probability {
                    copy[*place] = &candidates[random.random_range(0..candidates.len())];
                }
            }
            let copy = copy.join(" ");
            if known.insert(copy.clone()) {
                copies.push(copy);
            }
        }
        copies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> CandidateWords {
        let of = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        CandidateWords {
            words: of(&["a", "good", "film", "!"]),
            candidates: vec![(1, of(&["bad", "slow"])), (2, of(&["movie", "plot", "film"]))],
        }
    }

    fn copies(probability: f64, copies: usize, stream: u64) -> Vec<String> {
        let options = CopyOptions { copies, probability, candidates: 15, seed: 1 };
        options.copies_of("A good film!", &words(), stream)
    }

    #[test]
    fn without_a_replacement_there_is_no_copy() {
        assert!(copies(0.0, 30, 0).is_empty());
    }

    #[test]
    fn copies_differ_and_change_only_replaceable_words() {
        // At p = 1: two candidates times three.
        let all = copies(1.0, 1_000, 0);
        assert_eq!(all.len(), 6);
        let distinct: HashSet<&String> = all.iter().collect();
        assert_eq!(distinct.len(), 6);
        assert!(all.iter().all(|copy| copy.starts_with("a ") && copy.ends_with(" !")));
        assert!(all.iter().all(|copy| !copy.contains("good")));
        assert!(copies(0.4, 30, 0).len() <= 30);
    }

    #[test]
    fn a_word_is_replaced_with_the_probability() {
        // Of each copy alone, with probability 1 − p, `good` stays: 600 of 1,000 and within 3σ = 46.
        let kept = (0..1_000).filter(|&stream| {
            let options = CopyOptions { copies: 1, probability: 0.4, candidates: 15, seed: 7 };
            let copy = options.copies_of("", &words(), stream).pop();
            copy.is_none_or(|copy| copy.contains("good"))
        });
        let kept = kept.count();
        assert!((554..=646).contains(&kept), "{kept}");
    }

    #[test]
    fn the_seed_and_the_stream_determine_the_copies() {
        assert_eq!(copies(0.4, 30, 5), copies(0.4, 30, 5));
        assert_ne!(copies(0.4, 3, 5), copies(0.4, 3, 6));
    }
}
