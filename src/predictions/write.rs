//! Writes logits to a file, atomically.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{bail, Context, Result};
use parquet::basic::{Compression, ConvertedType, Repetition, Type as PhysicalType};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, FloatType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;

use crate::error::usage;
use crate::inference::Logits;
use crate::temporary::write_atomically;

/// The format of a file of logits, by its extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogitsFormat {
    /// Comma-separated, with a header.
    Csv,
    /// One JSON object a line.
    Jsonl,
    /// Parquet, compressed with Snappy.
    Parquet,
}

impl LogitsFormat {
    /// The format by the extension of `path`.
    ///
    /// # Errors
    /// Another extension.
    pub fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|e| e.to_str()) {
            Some("csv") => Ok(LogitsFormat::Csv),
            Some("jsonl") => Ok(LogitsFormat::Jsonl),
            Some("parquet") => Ok(LogitsFormat::Parquet),
            _ => bail!(usage!("`{}`: its extension does not determine its format", path.display())
                .hint("use .parquet, .csv or .jsonl")),
        }
    }
}

/// Writes `id` (the 0-based position), `logit_<label>` and `label` for every example.
///
/// # Errors
/// A path that cannot be written, a full disk; an earlier file is then unchanged.
pub fn write_logits(
    path: &Path,
    format: LogitsFormat,
    logits: &Logits,
    label_names: &[String],
    labels: &[Option<u32>],
) -> Result<()> {
    let rows = LogitRows { logits, label_names, labels };
    write_atomically(path, |file| match format {
        LogitsFormat::Csv => rows.csv(file),
        LogitsFormat::Jsonl => rows.jsonl(file),
        LogitsFormat::Parquet => rows.parquet(file),
    })
}

/// The bytes of such a file.
///
/// # Errors
/// Logits that the format cannot hold.
pub fn logits_bytes(
    format: LogitsFormat,
    logits: &Logits,
    label_names: &[String],
    labels: &[Option<u32>],
) -> Result<Vec<u8>> {
    let rows = LogitRows { logits, label_names, labels };
    let mut bytes = Vec::new();
    match format {
        LogitsFormat::Csv => rows.csv(&mut bytes)?,
        LogitsFormat::Jsonl => rows.jsonl(&mut bytes)?,
        LogitsFormat::Parquet => rows.parquet(&mut bytes)?,
    }
    Ok(bytes)
}

struct LogitRows<'a> {
    logits: &'a Logits,
    label_names: &'a [String],
    labels: &'a [Option<u32>],
}

impl LogitRows<'_> {
    fn columns(&self) -> Vec<String> {
        self.label_names.iter().map(|name| format!("logit_{name}")).collect()
    }

    fn label(&self, row: usize) -> Option<&str> {
        self.labels[row].map(|id| self.label_names[id as usize].as_str())
    }

    fn csv(&self, out: impl Write) -> Result<()> {
        let mut writer = csv::Writer::from_writer(out);
        let columns = self.columns();
        let header = std::iter::once("id").chain(columns.iter().map(String::as_str));
        writer.write_record(header.chain(["label"]))?;
        for row in 0..self.labels.len() {
            let mut record = vec![row.to_string()];
            record.extend(self.logits.row(row).iter().map(f32::to_string));
            record.push(self.label(row).unwrap_or_default().to_owned());
            writer.write_record(&record)?;
        }
        Ok(writer.flush()?)
    }

    fn jsonl(&self, mut out: impl Write) -> Result<()> {
        let columns = self.columns();
        for row in 0..self.labels.len() {
            let mut object = serde_json::Map::new();
            object.insert("id".into(), row.into());
            for (column, logit) in columns.iter().zip(self.logits.row(row)) {
                object.insert(column.clone(), serde_json::to_value(logit)?);
            }
            object.insert("label".into(), self.label(row).into());
            writeln!(out, "{}", serde_json::Value::Object(object))?;
        }
        Ok(())
    }

    fn parquet(&self, out: impl Write + Send) -> Result<()> {
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let schema = Arc::new(self.schema()?);
        let mut writer = SerializedFileWriter::new(out, schema, Arc::new(properties))?;
        let mut group = writer.next_row_group()?;
        let ids: Vec<i64> = (0..self.labels.len() as i64).collect();
        put::<Int64Type, _>(&mut group, &ids, None)?;
        for label in 0..self.logits.labels {
            let logits: Vec<f32> =
                (0..self.labels.len()).map(|row| self.logits.row(row)[label]).collect();
            put::<FloatType, _>(&mut group, &logits, None)?;
        }
        let given: Vec<ByteArray> =
            (0..self.labels.len()).filter_map(|row| self.label(row).map(ByteArray::from)).collect();
        let present: Vec<i16> =
            self.labels.iter().map(|label| i16::from(label.is_some())).collect();
        put::<ByteArrayType, _>(&mut group, &given, Some(&present))?;
        group.close()?;
        writer.close()?;
        Ok(())
    }

    fn schema(&self) -> Result<Type> {
        let required = |name: &str, kind: PhysicalType| {
            Type::primitive_type_builder(name, kind).with_repetition(Repetition::REQUIRED).build()
        };
        let mut fields = vec![Arc::new(required("id", PhysicalType::INT64)?)];
        for column in self.columns() {
            fields.push(Arc::new(required(&column, PhysicalType::FLOAT)?));
        }
        let label = Type::primitive_type_builder("label", PhysicalType::BYTE_ARRAY)
            .with_repetition(Repetition::OPTIONAL)
            .with_converted_type(ConvertedType::UTF8);
        fields.push(Arc::new(label.build()?));
        Ok(Type::group_type_builder("predictions").with_fields(fields).build()?)
    }
}

/// Writes the next column; `present` is 1 for each row with a value, and `values` has those alone.
fn put<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<W>,
    values: &[T::T],
    present: Option<&[i16]>,
) -> Result<()> {
    let mut column = group.next_column()?.context("the schema has fewer columns than the file")?;
    column.typed::<T>().write_batch(values, present, None)?;
    Ok(column.close()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::LabelMap;
    use crate::interrupt::Interrupt;
    use crate::predictions::{read_predictions, PredictionOptions};
    use rand::{Rng, SeedableRng};

    #[test]
    fn logits_are_read_back_to_the_last_bit() {
        let mut draws = rand_chacha::ChaCha8Rng::seed_from_u64(0);
        let drawn = std::iter::repeat_with(|| f32::from_bits(draws.next_u32()));
        // Every exponent, and the sizes of logits.
        let mut values: Vec<f32> = drawn.filter(|z| z.is_finite()).take(20_000).collect();
        values.extend((0..20_000).map(|i| (i as f32 * 0.37).sin() * 12.0));
        values.extend([0.0, -0.0, f32::MIN_POSITIVE, f32::MAX, f32::MIN]);
        values.push(f32::from_bits(1));
        let logits = Logits { values, labels: 2 };
        let (names, labels) = (["a", "b"].map(str::to_owned), vec![None; logits.values.len() / 2]);
        let folder = tempfile::tempdir().unwrap();
        let (label_map, interrupt) = (LabelMap::default(), Interrupt::default());
        for name in ["t.csv", "t.jsonl", "t.parquet"] {
            let path = folder.path().join(name);
            let format = LogitsFormat::of(&path).unwrap();
            write_logits(&path, format, &logits, &names, &labels).unwrap();
            let options = PredictionOptions {
                task: "own",
                labels: &names,
                texts: &[],
                label_map: &label_map,
                normalise: false,
                interrupt: &interrupt,
            };
            let read = read_predictions("teacher", &[path.display().to_string()], &options);
            let read = read.unwrap().logits.unwrap();
            let bits =
                |logits: &Logits| logits.values.iter().map(|z| z.to_bits()).collect::<Vec<_>>();
            assert!(bits(&read) == bits(&logits), "{name}");
        }
    }
}
