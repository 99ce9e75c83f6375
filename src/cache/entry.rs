//! The rows of one model over one list of texts, in memory and on disk.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::appender::Appender;
use super::note::{CacheNote, ReportedReasons};
use crate::input::InputFile;

/// The logits of one example.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row<'a> {
    /// Index of the example in the list of texts, below N.
    pub index: usize,
    /// Logits (K), in the model's own order of labels.
    pub logits: &'a [f32],
    /// Whether the text was longer than the model's maximum and was cut.
    pub truncated: bool,
}

/// The known rows of one model over N texts; takes N·K floats of memory.
#[derive(Debug)]
pub struct CacheEntry {
    pub(super) table: RowTable,
    pub(super) store: Option<EntryFile>,
}

/// Where an entry's new rows go.
#[derive(Debug)]
pub(super) struct EntryFile {
    pub path: PathBuf,
    /// `None` once nothing more is to be written.
    pub appender: Option<Appender<File>>,
    /// Files that the rows are computed from.
    pub inputs: Vec<InputFile>,
    pub reported: ReportedReasons,
}

impl CacheEntry {
    /// An entry without a file, for an audit without a cache.
    pub fn in_memory(examples: usize, labels: usize) -> Self {
        CacheEntry { table: RowTable::new(examples, labels), store: None }
    }

    /// The logits of example `i` (K) and whether its text was cut; `None` if unknown.
    pub fn row(&self, i: usize) -> Option<(&[f32], bool)> {
        let table = &self.table;
        table
            .known
            .get(i)
            .then(|| (&table.values[i * table.labels..][..table.labels], table.truncated.get(i)))
    }

    /// Known rows. In 0..=N.
    pub fn known(&self) -> usize {
        self.table.count
    }

    /// Whether all N rows are known.
    pub fn is_complete(&self) -> bool {
        self.table.is_complete()
    }

    /// The examples whose rows are unknown, in order.
    pub fn missing(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.table.examples).filter(|&i| !self.table.known.get(i))
    }

    /// Whether [`CacheEntry::append`] stores rows on disk. `false` for a complete entry, whose file
    /// is released.
    pub fn writable(&self) -> bool {
        self.store.as_ref().is_some_and(|store| store.appender.is_some())
    }

    /// The entry's file, which need not exist; `None` for one in memory.
    pub fn path(&self) -> Option<&Path> {
        self.store.as_ref().map(|store| store.path.as_path())
    }

    /// Takes the unknown rows, and stores them as one block if the entry is writable.
    ///
    /// Known rows and rows with a logit that is not finite are ignored. A failure to store returns
    /// a note; the rows are still known in memory, and nothing more is written.
    ///
    /// # Errors
    /// A file that the rows are computed from has changed: no row of this process stays stored.
    ///
    /// # Panics
    /// For an index of N or more, or a row that does not have K logits.
    pub fn append(&mut self, rows: &[Row<'_>]) -> Result<Option<CacheNote>> {
        let new: Vec<&Row<'_>> = rows.iter().filter(|row| self.table.take(row)).collect();
        let Some(store) = self.store.as_mut() else { return Ok(None) };
        let Some(appender) = store.appender.as_mut() else { return Ok(None) };
        if let Err(changed) = store.inputs.iter().try_for_each(InputFile::require_unchanged) {
            // On failure the rows stay, which are those of the bytes that were hashed.
            let _ = appender.discard();
            store.appender = None;
            return Err(changed);
        }
        let outcome = appender.append(&new);
        if outcome.is_err() || self.table.is_complete() {
            store.appender = None; // closes the file, which releases the lock
        }
        Ok(outcome.err().and_then(|error| store.reported.not_stored(&store.path, error)))
    }
}

/// N rows of K scores, and which of them are known.
#[derive(Debug)]
pub(super) struct RowTable {
    /// Row-major (N, K); 0 where unknown.
    values: Vec<f32>,
    known: Bits,
    truncated: Bits,
    count: usize,
    pub examples: usize,
    pub labels: usize,
}

impl RowTable {
    pub(super) fn new(examples: usize, labels: usize) -> Self {
        RowTable {
            values: vec![0.0; examples * labels],
            known: Bits::default(),
            truncated: Bits::default(),
            count: 0,
            examples,
            labels,
        }
    }

    /// Sets the row if it is finite and was unknown; returns whether it did.
    fn take(&mut self, row: &Row<'_>) -> bool {
        assert!(row.index < self.examples, "row {} of {}", row.index, self.examples);
        assert_eq!(row.logits.len(), self.labels, "logits of row {}", row.index);
        row.logits.iter().all(|logit| logit.is_finite())
            && self.set(row.index, row.truncated, row.logits.iter().copied())
    }

    /// Sets row `index` if it was unknown; returns whether it was.
    pub(super) fn set(
        &mut self,
        index: usize,
        truncated: bool,
        logits: impl Iterator<Item = f32>,
    ) -> bool {
        if !self.known.insert(index) {
            return false;
        }
        if truncated {
            self.truncated.insert(index);
        }
        let values = &mut self.values[index * self.labels..][..self.labels];
        values.iter_mut().zip(logits).for_each(|(value, logit)| *value = logit);
        self.count += 1;
        true
    }

    pub(super) fn is_complete(&self) -> bool {
        self.count == self.examples
    }
}

/// A set of indices, one bit for each up to the largest.
#[derive(Debug, Default)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    fn get(&self, i: usize) -> bool {
        self.0.get(i / 64).is_some_and(|word| word >> (i % 64) & 1 == 1)
    }

    /// Adds `i`; returns whether it was not in the set.
    pub(super) fn insert(&mut self, i: usize) -> bool {
        if self.0.len() <= i / 64 {
            self.0.resize(i / 64 + 1, 0);
        }
        let (word, bit) = (&mut self.0[i / 64], 1 << (i % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_in_memory_takes_each_row_once() {
        let mut entry = CacheEntry::in_memory(3, 2);
        let row = |index, logits| Row { index, logits, truncated: index == 2 };
        let note = entry.append(&[row(2, &[1.0, -0.0]), row(0, &[0.5, f32::NAN])]).unwrap();
        assert!(note.is_none() && !entry.writable());
        assert!(entry.append(&[row(2, &[9.0, 9.0])]).unwrap().is_none());
        assert_eq!(entry.row(2), Some((&[1.0, -0.0][..], true)));
        assert_eq!((entry.row(0), entry.row(3)), (None, None));
        assert_eq!(entry.missing().collect::<Vec<_>>(), [0, 1]);
        assert_eq!((entry.known(), entry.is_complete()), (1, false));
    }

    #[test]
    fn no_texts_are_a_complete_entry() {
        assert!(CacheEntry::in_memory(0, 2).is_complete());
    }

    #[test]
    #[should_panic(expected = "row 3 of 3")]
    fn a_row_of_other_texts_is_a_mistake_in_the_program() {
        let _ = CacheEntry::in_memory(3, 1).append(&[Row {
            index: 3,
            logits: &[0.0],
            truncated: false,
        }]);
    }

    #[test]
    fn bits_grow_with_the_largest_index() {
        let mut bits = Bits::default();
        assert!(bits.insert(130) && bits.insert(63) && !bits.insert(130));
        assert!(bits.get(63) && bits.get(130) && !bits.get(64) && !bits.get(999));
    }
}
