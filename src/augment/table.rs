//! The table of augmented texts: one JSON object a line.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::digest::hexadecimal;
use crate::temporary::cannot_write;

/// The key of a row's place in the original split, counted from 0.
pub const ROW_KEY: &str = "row";

/// A row: its texts, and the place of its original.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AugmentedRow {
    /// One text, or the two of a pair.
    pub texts: Vec<String>,
    /// The place of the original row in its split.
    pub original: usize,
}

/// Writes rows and hashes what it writes.
pub(super) struct TableWriter<'a> {
    columns: &'a [String],
    /// For messages.
    path: &'a Path,
    out: &'a mut dyn Write,
    hasher: Sha256,
    line: Vec<u8>,
    rows: usize,
}

impl<'a> TableWriter<'a> {
    pub(super) fn new(columns: &'a [String], path: &'a Path, out: &'a mut dyn Write) -> Self {
        TableWriter { columns, path, out, hasher: Sha256::new(), line: Vec::new(), rows: 0 }
    }

    pub(super) fn write(&mut self, row: AugmentedRow) -> Result<()> {
        let texts = row.texts.into_iter().map(Value::from);
        let mut object: Map<String, Value> = self.columns.iter().cloned().zip(texts).collect();
        // A user's own task may call a text so.
        object.entry(ROW_KEY).or_insert(row.original.into());
        self.line.clear();
        serde_json::to_writer(&mut self.line, &object)?;
        self.line.push(b'\n');
        self.hasher.update(&self.line);
        self.out.write_all(&self.line).with_context(|| cannot_write(self.path))?;
        self.rows += 1;
        Ok(())
    }

    /// The number of rows, and the SHA-256 of all bytes.
    pub(super) fn finish(self) -> (usize, String) {
        (self.rows, hexadecimal(&self.hasher.finalize()))
    }
}
