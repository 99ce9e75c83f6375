//! A draw of the teacher's layers for each epoch.

use rand::seq::SliceRandom;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Draws some of the teacher's layers for each epoch. The draw depends on the seed and the epoch alone,
/// so that a resumed training has the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerDraw {
    pub seed: u64,
    /// The layers to draw from.
    pub of: usize,
    /// The layers drawn, at most `of`.
    pub count: usize,
}

impl LayerDraw {
    /// Positions of the layers of `epoch`, all from 0, ascending.
    pub fn layers(&self, epoch: usize) -> Vec<usize> {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        // The order of the examples has the first streams.
        random.set_stream(u64::MAX - epoch as u64);
        let mut layers: Vec<usize> = (0..self.of).collect();
        layers.shuffle(&mut random);
        layers.truncate(self.count);
        layers.sort_unstable();
        layers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_depends_on_seed_and_epoch_alone() {
        let draw = LayerDraw { seed: 0, of: 11, count: 5 };
        let epochs: Vec<_> = (0..20).map(|epoch| draw.layers(epoch)).collect();
        for layers in &epochs {
            assert_eq!(layers.len(), 5);
            assert!(layers.is_sorted_by(|a, b| a < b) && layers.iter().all(|l| *l < 11));
        }
        let again: Vec<_> = (0..20).rev().map(|epoch| draw.layers(epoch)).rev().collect();
        assert_eq!(epochs, again);
        assert_ne!(epochs[0], epochs[1]);
        assert_ne!(epochs[1], LayerDraw { seed: 1, ..draw }.layers(1));
        let mut drawn = epochs.concat();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn, (0..11).collect::<Vec<_>>(), "every layer takes its turn");
    }

    #[test]
    fn all_layers_are_drawn_where_as_many_are_needed() {
        assert_eq!(LayerDraw { seed: 3, of: 3, count: 3 }.layers(7), [0, 1, 2]);
    }
}
