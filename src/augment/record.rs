//! What an augmented table was made of, written beside it.

use serde::Serialize;

use super::candidates::Origins;
use super::copies::CopyOptions;

/// The record of an augmented table.
#[derive(Debug, Clone, Serialize)]
pub struct AugmentationRecord {
    /// The version of this program.
    pub version: &'static str,
    /// The task whose texts were augmented.
    pub task: String,
    /// Its split.
    pub split: String,
    /// N, p, M and the seed.
    #[serde(flatten)]
    pub options: CopyOptions,
    /// The masked language model.
    pub masked_lm: MaskedLmRecord,
    /// The word vectors.
    pub vectors: VectorsRecord,
    /// The original rows.
    pub data: OriginalData,
    /// Where the candidates of the replaceable words are from.
    pub words: Origins,
    /// Rows written, the originals among them.
    pub rows: usize,
    /// SHA-256 of the table.
    pub sha256: String,
}

/// The checkpoint of the masked language model.
#[derive(Debug, Clone, Serialize)]
pub struct MaskedLmRecord {
    /// As it was named.
    pub source: String,
    /// The commit of a Hub revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// SHA-256 of its weights.
    pub weights_sha256: String,
    /// SHA-256 of its tokenizer's files.
    pub tokenizer_sha256: String,
    /// SHA-256 of its config.json.
    pub config_sha256: String,
}

/// The file of word vectors.
#[derive(Debug, Clone, Serialize)]
pub struct VectorsRecord {
    /// As it was named.
    pub source: String,
    /// SHA-256 of the whole file.
    pub sha256: String,
    /// Rows that were read.
    pub rows: usize,
    /// Values of each.
    pub dimensions: usize,
}

/// The original rows.
#[derive(Debug, Clone, Serialize)]
pub struct OriginalData {
    /// Rows.
    pub examples: usize,
    /// The limit that was set, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// SHA-256 of the split's files.
    pub sha256: String,
    /// The commit of the Hub's data set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}
