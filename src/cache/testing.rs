//! Builders for the tests of this room.

use super::{EntrySpec, ModelFile, ModelIdentity, PredictionCache, TextsIdentity};

/// An absent cache in a folder that lasts for the test.
pub(super) fn cache() -> (tempfile::TempDir, PredictionCache) {
    let root = tempfile::tempdir().unwrap();
    let cache = PredictionCache::at(root.path().join("cache"));
    (root, cache)
}

pub(super) fn model() -> ModelFile<usize> {
    ModelFile { name: "out/bert".to_owned(), identity: identity(), facts: 1 }
}

pub(super) fn identity() -> ModelIdentity {
    ModelIdentity {
        weights_sha256: "aa".to_owned(),
        config_sha256: "bb".to_owned(),
        tokenizer_sha256: "cc".to_owned(),
        head: "bert".to_owned(),
        max_length: 128,
        device: "cpu".to_owned(),
        dtype: "f32".to_owned(),
        arithmetic: "avx2+fma".to_owned(),
        encoder_version: 1,
    }
}

/// `examples` texts that no two splits share.
pub(super) fn spec(split: &str, examples: usize, labels: usize) -> EntrySpec<'_> {
    let texts: Vec<String> = (0..examples).map(|i| format!("{split} {i}")).collect();
    let texts = TextsIdentity::of(texts.iter().map(|text| (text.as_str(), None)));
    EntrySpec { model: identity().key(), texts, labels, task: "sst2", split, inputs: &[] }
}

/// The logits of row `i` in tests.
pub(super) fn logits(i: usize, labels: usize) -> Vec<f32> {
    (0..labels).map(|k| (i * labels + k) as f32 * 0.1 - 1.0).collect()
}

/// Appends the rows of `indices` as one block; every third text was cut. Expects no note.
pub(super) fn append(entry: &mut super::CacheEntry, labels: usize, indices: &[usize]) {
    let logits: Vec<Vec<f32>> = indices.iter().map(|&i| logits(i, labels)).collect();
    let rows: Vec<super::Row> = indices
        .iter()
        .zip(&logits)
        .map(|(&index, logits)| super::Row { index, logits, truncated: index % 3 == 0 })
        .collect();
    assert_eq!(entry.append(&rows).unwrap(), None);
}

/// Asserts that every known row is the one that was appended; returns which are known.
pub(super) fn known(entry: &super::CacheEntry, examples: usize, labels: usize) -> Vec<usize> {
    let bits = |row: &[f32]| row.iter().map(|logit| logit.to_bits()).collect::<Vec<_>>();
    let known: Vec<usize> = (0..examples).filter(|&i| entry.row(i).is_some()).collect();
    for &i in &known {
        let (row, truncated) = entry.row(i).unwrap();
        assert_eq!((bits(row), truncated), (bits(&logits(i, labels)), i % 3 == 0), "row {i}");
    }
    assert_eq!(known.len(), entry.known());
    known
}

/// Stores the rows of `indices` of the entry of `spec`.
pub(super) fn store(cache: &PredictionCache, spec: &EntrySpec<'_>, indices: &[usize]) {
    let (mut entry, notes) = cache.open(spec);
    assert!(notes.is_empty(), "{notes:?}");
    append(&mut entry, spec.labels, indices);
}
