//! One window in the pool.

use std::ops::Range;

use anyhow::{Context, Error, Result};

use crate::cache::{CacheEntry, CacheNote, Row};
use crate::checkpoint::TokenizedExample;

pub(super) struct Window {
    pub(super) number: usize,
    /// Positions in the order.
    pub(super) range: Range<usize>,
    /// Per lane.
    pub(super) lanes: Vec<LaneWindow>,
    /// Per group: the tokens of each position, empty if no lane needs them.
    pub(super) tokens: Vec<Vec<TokenizedExample>>,
    pub(super) tokenise_jobs: usize,
    /// Whether its batches are made, which happens in the order of the windows.
    pub(super) laid_out: bool,
    pub(super) batch_jobs: usize,
    /// The first failure by position and lane.
    pub(super) failure: Option<((u32, usize), Error)>,
}

/// One lane's part of a window. Positions are counted from the window's start.
#[derive(Default)]
pub(super) struct LaneWindow {
    /// Positions whose rows were not known.
    pub(super) missing: Vec<u32>,
    /// Positions with the same tokens as an earlier row, with that row.
    pub(super) twins: Vec<(u32, u32)>,
    /// Logits by position, (W, K); empty if none is missing.
    pub(super) logits: Vec<f32>,
}

impl Window {
    /// Keeps the first failure by position and lane.
    pub(super) fn fail(&mut self, place: (u32, usize), error: Error) {
        if self.failure.as_ref().is_none_or(|(first, _)| place < *first) {
            self.failure = Some((place, error));
        }
    }

    /// Whether all its jobs are done.
    pub(super) fn is_done(&self) -> bool {
        self.laid_out && self.batch_jobs == 0
    }
}

impl LaneWindow {
    /// Stores the window's rows in the lane's entry; returns its note.
    pub(super) fn store(
        &self,
        rows: &[u32],
        tokens: &[TokenizedExample],
        labels: usize,
        entry: &mut CacheEntry,
        what: &str,
    ) -> Result<Option<CacheNote>> {
        let mut twins = self.twins.iter().peekable();
        let mut new = Vec::with_capacity(self.missing.len() - self.twins.len());
        for &position in &self.missing {
            if twins.next_if(|(twin, _)| *twin == position).is_some() {
                continue;
            }
            let logits = &self.logits[position as usize * labels..][..labels];
            let index = rows[position as usize] as usize;
            let truncated = tokens[position as usize].truncated;
            new.push(Row { index, logits, truncated });
        }
        let note = if new.is_empty() { None } else { entry.append(&new)? };
        if self.twins.is_empty() {
            return Ok(note);
        }
        // The first row of each pair is known, from this window or an earlier one.
        let of_first = |first: u32| entry.row(first as usize).map(|(row, _)| row.to_vec());
        let logits: Vec<Vec<f32>> = self
            .twins
            .iter()
            .map(|(_, first)| of_first(*first).with_context(|| format!("{what}: row {first}")))
            .collect::<Result<_>>()?;
        let twins = self.twins.iter().zip(&logits).map(|((position, _), logits)| Row {
            index: rows[*position as usize] as usize,
            logits,
            truncated: tokens[*position as usize].truncated,
        });
        Ok(entry.append(&twins.collect::<Vec<_>>())?.or(note))
    }
}
