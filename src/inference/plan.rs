//! The batches of a window: each distinct sequence once, sorted by length and packed.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::checkpoint::TokenizedExample;

/// The distinct sequences of a lane by half their SHA-256, for which a collision takes 2⁶⁴ tries.
#[derive(Debug, Default)]
pub(super) struct DistinctSequences(HashMap<[u8; 16], u32>);

impl DistinctSequences {
    /// The first row with the same tokens; `None` if it is `row`.
    pub(super) fn twin(&mut self, tokens: &TokenizedExample, row: u32) -> Option<u32> {
        let mut digest = Sha256::new();
        digest.update((tokens.len() as u64).to_le_bytes());
        for id in tokens.input_ids.iter().chain(&tokens.token_type_ids) {
            digest.update(id.to_le_bytes());
        }
        let digest: [u8; 32] = digest.finalize().into();
        let key = digest[..16].try_into().expect("half of 32 bytes");
        match self.0.entry(key) {
            std::collections::hash_map::Entry::Occupied(first) => Some(*first.get()),
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(row);
                None
            }
        }
    }
}

/// The sequences `chosen` in batches: sorted by length, longest first, under `token_budget`.
///
/// Long batches come first so that the workers end at about the same time.
pub fn batches(
    examples: &[TokenizedExample],
    mut chosen: Vec<u32>,
    token_budget: usize,
) -> Vec<Vec<u32>> {
    let length = |i: u32| examples[i as usize].len();
    chosen.sort_by_key(|&i| (std::cmp::Reverse(length(i)), i));
    let mut batches: Vec<Vec<u32>> = Vec::new();
    let mut tokens = usize::MAX;
    for i in chosen {
        tokens = tokens.saturating_add(length(i));
        match batches.last_mut() {
            Some(batch) if tokens <= token_budget => batch.push(i),
            _ => {
                batches.push(vec![i]);
                tokens = length(i);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sequence(input_ids: &[u32], token_type_ids: &[u32]) -> TokenizedExample {
        let (input_ids, token_type_ids) = (input_ids.to_vec(), token_type_ids.to_vec());
        TokenizedExample { input_ids, token_type_ids, truncated: false }
    }

    #[test]
    fn a_twin_has_the_same_tokens_in_the_same_segments() {
        let mut seen = DistinctSequences::default();
        assert_eq!(seen.twin(&sequence(&[1, 2], &[0, 0]), 7), None);
        assert_eq!(seen.twin(&sequence(&[1, 2], &[0, 1]), 8), None);
        assert_eq!(seen.twin(&sequence(&[1], &[2]), 9), None);
        assert_eq!(seen.twin(&sequence(&[1, 2], &[0, 0]), 10), Some(7));
    }

    proptest! {
        #[test]
        fn batches_hold_every_example_once_and_keep_the_budget(
            lengths in prop::collection::vec(1usize..90, 1..200), budget in 1usize..400
        ) {
            let examples: Vec<_> =
                lengths.iter().map(|&n| sequence(&vec![0; n], &vec![0; n])).collect();
            let batches = batches(&examples, (0..lengths.len() as u32).collect(), budget);
            let mut seen: Vec<u32> = batches.iter().flatten().copied().collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len() as u32).collect::<Vec<_>>());
            for batch in batches {
                let tokens: usize = batch.iter().map(|&i| lengths[i as usize]).sum();
                prop_assert!(tokens <= budget || batch.len() == 1);
            }
        }
    }
}
