//! Masked tokens, as BERT's pretraining has them.

use anyhow::Result;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

use crate::checkpoint::{TextTokenizer, TokenizedExample};

/// The share of a text's tokens that are predicted; at least one.
pub const PREDICTED: f64 = 0.15;
/// Of these, the share that is replaced by the mask, and by a random token; the others stay.
pub const MASKED: f64 = 0.8;
/// See [`MASKED`].
pub const RANDOM: f64 = 0.1;

/// Draws which tokens are predicted, and what stands in their places.
pub struct Masking {
    mask: u32,
    /// Whether an id is of a token that is not special (V).
    is_ordinary: Vec<bool>,
    /// The ids of those tokens.
    ordinary: Vec<u32>,
}

/// A text with hidden tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskedExample {
    /// What the model reads.
    pub tokens: TokenizedExample,
    /// The places of the predicted tokens, in order.
    pub places: Vec<usize>,
    /// The tokens that were there.
    pub targets: Vec<u32>,
}

impl Masking {
    /// Of a model with `vocabulary` tokens whose mask is `mask`.
    ///
    /// # Errors
    /// A tokenizer that cannot encode an empty text.
    pub fn new(tokenizer: &TextTokenizer, mask: u32, vocabulary: usize) -> Result<Self> {
        let is_ordinary = tokenizer.ordinary_tokens(vocabulary)?;
        let ordinary = (0..vocabulary as u32).filter(|id| is_ordinary[*id as usize]).collect();
        Ok(Masking { mask, is_ordinary, ordinary })
    }

    /// Hides tokens of `tokens`; none of a text that has special tokens alone.
    pub fn hide(&self, tokens: &TokenizedExample, random: &mut impl Rng) -> MaskedExample {
        let mut tokens = tokens.clone();
        let is_ordinary = |place: &usize| self.is_ordinary[tokens.input_ids[*place] as usize];
        let mut places: Vec<usize> = (0..tokens.len()).filter(is_ordinary).collect();
        let count = (places.len() as f64 * PREDICTED).round().max(1.0) as usize;
        places.shuffle(random);
        places.truncate(count);
        places.sort_unstable();
        let targets = places.iter().map(|place| tokens.input_ids[*place]).collect();
        for place in &places {
            let draw: f64 = random.random();
            if draw < MASKED {
                tokens.input_ids[*place] = self.mask;
            } else if draw < MASKED + RANDOM {
                tokens.input_ids[*place] =
                    self.ordinary[random.random_range(..self.ordinary.len())];
            }
        }
        MaskedExample { tokens, places, targets }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Ids 0 to 4 are special; 4 is the mask.
    fn masking() -> Masking {
        let is_ordinary: Vec<bool> = (0..1_000).map(|id| id > 4).collect();
        Masking { mask: 4, is_ordinary, ordinary: (5..1_000).collect() }
    }

    fn text(ids: Vec<u32>) -> TokenizedExample {
        TokenizedExample { token_type_ids: vec![0; ids.len()], input_ids: ids, truncated: false }
    }

    #[test]
    fn the_shares_are_berts_and_special_tokens_stay() {
        let mut ids: Vec<u32> = (5..985).collect();
        ids.insert(0, 2);
        ids.push(3);
        let tokens = text(ids);
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let (mut masked, mut kept, mut all) = (0, 0, 0);
        for _ in 0..20 {
            let hidden = masking().hide(&tokens, &mut random);
            // 15 % of 980 tokens.
            assert_eq!((hidden.places.len(), hidden.targets.len()), (147, 147));
            for (place, id) in hidden.tokens.input_ids.iter().enumerate() {
                let original = tokens.input_ids[place];
                match hidden.places.binary_search(&place) {
                    Ok(i) => assert_eq!(hidden.targets[i], original),
                    Err(_) => assert_eq!(*id, original),
                }
            }
            let read = hidden.places.iter().map(|place| hidden.tokens.input_ids[*place]);
            for (id, target) in read.zip(&hidden.targets) {
                masked += usize::from(id == 4);
                kept += usize::from(id == *target);
                all += 1;
            }
        }
        // Of 2,940: 2,352 masks and 294 + 3 kept, within 3σ = 65 and 49.
        assert_eq!(all, 2_940);
        assert!((2_287..=2_417).contains(&masked), "{masked}");
        assert!((248..=346).contains(&kept), "{kept}");
    }

    #[test]
    fn a_short_text_hides_one_token_and_an_empty_one_none() {
        let mut random = ChaCha8Rng::seed_from_u64(0);
        assert_eq!(masking().hide(&text(vec![2, 9, 3]), &mut random).places, [1]);
        assert!(masking().hide(&text(vec![2, 3]), &mut random).places.is_empty());
    }
}
