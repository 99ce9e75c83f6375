//! Files and options for the tests of this room.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use tempfile::TempDir;

use super::{load, CustomTask, Dataset, LoadOptions, TaskSpec};
use crate::hub::{Connection, Hub, HubSettings};

/// A folder of files that goes away with the test.
pub(super) struct Folder(TempDir);

impl Folder {
    pub(super) fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Loads a split of a built-in task with this folder as `--data`.
    pub(super) fn load(&self, task: &str, split: &str) -> Result<Dataset> {
        let hub = offline(self.path());
        load(&TaskSpec::glue(task)?, split, &self.options(&hub))
    }

    /// Loads a split of a user's own task whose config is in this folder.
    pub(super) fn load_custom(&self, table: &str, split: &str) -> Result<Dataset> {
        let hub = offline(self.path());
        let options = LoadOptions { data: None, ..self.options(&hub) };
        load(&custom(table, self.path()), split, &options)
    }

    pub(super) fn options<'a>(&self, hub: &'a Hub) -> LoadOptions<'a> {
        let data = Some(self.path().to_owned());
        LoadOptions { data, limit: None, allow_skipped: false, ids: &[], hub }
    }
}

pub(super) fn custom(table: &str, base_dir: &Path) -> TaskSpec {
    let task: CustomTask = toml::from_str(table).unwrap();
    TaskSpec::custom("mine", task, base_dir).unwrap()
}

/// A Hub that must not be asked.
pub(super) fn offline(cache: &Path) -> Hub {
    let mut settings = HubSettings::new(cache.join("no-cache"));
    settings.connection = Connection::Offline;
    Hub::new(settings)
}

/// One column of a Parquet file; `None` is null.
pub(super) enum Column<'a> {
    Text(&'a [Option<&'a str>]),
    Integer(&'a [Option<i64>]),
    Number(&'a [Option<f64>]),
}

/// Writes a Parquet file of one row group.
pub(super) fn write_parquet(
    path: &Path,
    columns: &[(&str, Column)],
    compression: Compression,
    huggingface: Option<&str>,
) {
    let kind = |column: &Column| match column {
        Column::Text(_) => ("binary", "(UTF8)"),
        Column::Integer(_) => ("int64", ""),
        Column::Number(_) => ("double", ""),
    };
    let fields: String = columns
        .iter()
        .map(|(name, column)| format!("optional {} {name} {};", kind(column).0, kind(column).1))
        .collect();
    let schema = Arc::new(parse_message_type(&format!("message schema {{ {fields} }}")).unwrap());
    let metadata =
        huggingface.map(|text| vec![KeyValue::new("huggingface".to_owned(), text.to_owned())]);
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_key_value_metadata(metadata)
        .build();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for (_, column) in columns {
        let mut out = group.next_column().unwrap().unwrap();
        match column {
            Column::Text(cells) => {
                let values: Vec<ByteArray> = cells.iter().flatten().map(|&t| t.into()).collect();
                out.typed::<ByteArrayType>().write_batch(&values, Some(&levels(cells)), None)
            }
            Column::Integer(cells) => {
                let values: Vec<i64> = cells.iter().flatten().copied().collect();
                out.typed::<Int64Type>().write_batch(&values, Some(&levels(cells)), None)
            }
            Column::Number(cells) => {
                let values: Vec<f64> = cells.iter().flatten().copied().collect();
                out.typed::<DoubleType>().write_batch(&values, Some(&levels(cells)), None)
            }
        }
        .unwrap();
        out.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
}

/// Definition levels: 1 where there is a value.
fn levels<T>(cells: &[Option<T>]) -> Vec<i16> {
    cells.iter().map(|cell| i16::from(cell.is_some())).collect()
}
