//! `--output-dir`: every file of a report in one folder, written atomically.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::bail;

use super::{Format, PredictionTable, RenderOptions, Report, Saved};
use crate::error::{failure, usage};
use crate::temporary::{flush_folder, prove_writable, rename_all, AtomicFile};

/// The file with a row per example.
pub(super) const PREDICTIONS: &str = "predictions.csv";

/// Where the rows of [`PREDICTIONS`] come from.
#[derive(Clone, Copy)]
enum Rows<'a> {
    /// The run.
    Tables(&'a [PredictionTable]),
    /// The file of an earlier run.
    Copied(&'a Path),
    /// Unknown: the file is not written.
    Unknown,
}

/// A folder that was found writable.
#[derive(Debug)]
pub struct OutputDir {
    path: PathBuf,
}

impl OutputDir {
    /// Creates the folder where it is missing and proves that a file can be written in it, before the
    /// long run.
    ///
    /// # Errors
    /// A folder that cannot be made or written in.
    pub fn prepare(path: &Path) -> anyhow::Result<OutputDir> {
        let refused = |error: std::io::Error| {
            let path = path.display();
            failure!("cannot write in the output folder `{path}`: {error}")
                .hint("choose a folder that you may write in with --output-dir")
        };
        fs::create_dir_all(path).and_then(|()| prove_writable(path)).map_err(refused)?;
        Ok(OutputDir { path: path.to_owned() })
    }

    /// Writes the report in every form that has a file; returns their paths.
    ///
    /// All are on the disk under temporary names before the first is renamed: a full disk leaves the
    /// files of an earlier run as they were, and a kill leaves each file either old or new.
    ///
    /// # Errors
    /// A file that cannot be written or renamed, with its name.
    pub fn write_all(
        &self,
        report: &Report,
        tables: &[PredictionTable],
    ) -> anyhow::Result<Vec<PathBuf>> {
        self.write(report, Rows::Tables(tables), &[])
    }

    /// As [`OutputDir::write_all`], of a saved report; `predictions` is the file of its run, if there
    /// is one. The files that these two were read from are left as they are.
    ///
    /// # Errors
    /// As there; and where the folder holds predictions, and the report's own are not known.
    pub fn write_again(
        &self,
        saved: &Saved,
        predictions: Option<&Path>,
    ) -> anyhow::Result<Vec<PathBuf>> {
        let strangers = self.path.join(PREDICTIONS);
        if predictions.is_none() && strangers.exists() {
            bail!(usage!("`{}` exists and does not belong to this report", strangers.display())
                .hint("name another folder, or remove it"));
        }
        let sources: Vec<&Path> = saved.file.as_deref().into_iter().chain(predictions).collect();
        let rows = predictions.map_or(Rows::Unknown, Rows::Copied);
        self.write(&saved.report, rows, &sources)
    }

    fn write(
        &self,
        report: &Report,
        rows: Rows,
        sources: &[&Path],
    ) -> anyhow::Result<Vec<PathBuf>> {
        let mut written = Vec::new();
        for (name, format) in Format::files() {
            let target = self.path.join(name);
            let unknown = format.is_of_predictions() && matches!(rows, Rows::Unknown);
            if unknown || sources.iter().any(|source| is_same_file(source, &target)) {
                continue;
            }
            written.push(AtomicFile::written(&target, |out| fill(out, format, report, rows))?);
        }
        let mut paths = Vec::new();
        rename_all(written, &mut paths)?;
        flush_folder(&self.path)?;
        Ok(paths)
    }
}

fn fill(
    out: &mut dyn Write,
    format: &Format<Report>,
    report: &Report,
    rows: Rows,
) -> anyhow::Result<()> {
    let tables = match rows {
        Rows::Copied(source) if format.is_of_predictions() => {
            std::io::copy(&mut fs::File::open(source)?, out)?;
            return Ok(());
        }
        Rows::Tables(tables) => tables,
        _ => &[],
    };
    Ok(format.write(report, tables, &RenderOptions::default(), out)?)
}

/// Whether both names lead to one file that is there.
fn is_same_file(one: &Path, other: &Path) -> bool {
    matches!((fs::canonicalize(one), fs::canonicalize(other)), (Ok(a), Ok(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use crate::error::message_and_hint;
    use crate::temporary::names_in;

    #[test]
    fn all_files_are_written_and_nothing_else_stays() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("new/out");
        let output = OutputDir::prepare(&folder).unwrap();
        assert!(names_in(&folder).is_empty());
        let paths = output.write_all(&samples::suite(), &[samples::predictions()]).unwrap();
        let mut expected: Vec<_> = Format::<Report>::files().map(|(name, _)| name).collect();
        expected.sort_unstable();
        assert_eq!(names_in(&folder), expected);
        assert!(paths.iter().all(|path| path.metadata().unwrap().len() > 0));
        let json = fs::read_to_string(folder.join("report.json")).unwrap();
        let report: Report = serde_json::from_str(&json).unwrap();
        assert_eq!(report.exit_code, 3);
    }

    #[test]
    fn an_older_report_is_replaced() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("report.md"), "old").unwrap();
        let output = OutputDir::prepare(root.path()).unwrap();
        output.write_all(&samples::preserved(), &[]).unwrap();
        assert_ne!(fs::read_to_string(root.path().join("report.md")).unwrap(), "old");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_found_beforehand() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        for path in [file.clone(), file.join("below")] {
            let (message, hint) = message_and_hint(&OutputDir::prepare(&path).unwrap_err());
            assert!(message.contains(&format!("`{}`", path.display())), "{message}");
            assert!(hint.is_some(), "{message}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_replaced_is_named_and_leaves_no_half_file() {
        let root = tempfile::tempdir().unwrap();
        let output = OutputDir::prepare(root.path()).unwrap();
        fs::create_dir(root.path().join("report.json")).unwrap();
        let error = output.write_all(&samples::preserved(), &[]).unwrap_err();
        assert!(format!("{error:#}").contains("report.json`"), "{error:#}");
        assert_eq!(names_in(root.path()), ["report.json"]);
    }

    #[test]
    fn a_folder_that_vanished_is_an_error_that_names_the_file() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("out");
        let output = OutputDir::prepare(&folder).unwrap();
        fs::remove_dir(&folder).unwrap();
        let error = output.write_all(&samples::preserved(), &[]).unwrap_err();
        assert!(format!("{error:#}").contains("cannot write `"), "{error:#}");
    }

    #[cfg(unix)]
    #[test]
    fn the_files_are_readable_by_others_where_the_umask_allows_it() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("plain"), "").unwrap();
        let mode = |name: &str| fs::metadata(root.path().join(name)).unwrap().permissions().mode();
        let output = OutputDir::prepare(root.path()).unwrap();
        output.write_all(&samples::preserved(), &[]).unwrap();
        assert_eq!(mode("report.json"), mode("plain"));
    }
}
