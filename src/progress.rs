//! Progress of a run on stderr: a live line, notes and downloads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::cache;
use crate::hub::DownloadProgress;
use crate::inference::Observer;
use crate::report::schema::{Note, NoteLevel};
use crate::terminal::{neutralise, Verbosity};

/// Redraws per second.
const REDRAWS: u8 = 10;

impl Verbosity {
    /// Writes a note or a warning with its code and hint.
    pub fn note(self, note: &Note) {
        let level = match note.level {
            NoteLevel::Warning => "warning",
            NoteLevel::Note => "note",
        };
        self.message(&format!("{level}: {} [{}]", note.message, note.code));
        if let Some(hint) = &note.hint {
            self.message(&format!("  hint: {hint}"));
        }
    }

    /// Writes a note about a file of the prediction cache.
    pub fn cache_note(self, note: &cache::CacheNote) {
        self.message(&format!("note: {note}"));
    }

    /// Starts the live line of a run labelled `what`; `rows` counts the rows of all its models.
    pub fn phase(self, what: &str, rows: usize) -> RunProgress {
        let bar = (self == Verbosity::Live && rows > 0).then(|| {
            let bar = ProgressBar::new(rows as u64);
            let line = "{prefix} {wide_bar} {human_pos}/{human_len} rows {msg}  {eta} left";
            let style = ProgressStyle::with_template(line).expect("the template is well formed");
            bar.set_style(style);
            bar.set_prefix(neutralise(what));
            bar.set_draw_target(indicatif::ProgressDrawTarget::stderr_with_hz(REDRAWS));
            bar.enable_steady_tick(Duration::from_millis(500));
            bar
        });
        RunProgress { progress: self, bar, started: Instant::now(), tokens: AtomicUsize::new(0) }
    }
}

/// Progress line of a run over one split.
pub struct RunProgress {
    progress: Verbosity,
    bar: Option<ProgressBar>,
    started: Instant,
    tokens: AtomicUsize,
}

impl RunProgress {
    /// Whether the line is visible.
    pub fn is_live(&self) -> bool {
        self.bar.is_some()
    }

    /// Shows the share of the budget spent so far; `None` for a budget of zero.
    pub fn spent(&self, share: Option<f64>) {
        if let (Some(bar), Some(share)) = (&self.bar, share) {
            let tokens = self.tokens.load(Ordering::Relaxed) as f64;
            let speed = tokens / self.started.elapsed().as_secs_f64();
            bar.set_message(format!(" {speed:.0} tokens/s  budget {:.1} % spent", share * 100.0));
        }
    }
}

impl Observer for RunProgress {
    fn rows_done(&self, rows: usize, tokens: usize) {
        self.tokens.fetch_add(tokens, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.inc(rows as u64);
        }
    }

    fn cache_note(&self, note: &cache::CacheNote) {
        self.progress.cache_note(note);
    }
}

impl Drop for RunProgress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Prints a line per file downloaded from the Hub.
pub struct DownloadMessages(pub Verbosity);

impl DownloadProgress for DownloadMessages {
    fn begin(&self, file: &str, bytes: u64) {
        self.0.message(&format!("downloading {file} ({:.1} MB)", bytes as f64 / 1e6));
    }

    fn advance(&self, _bytes: u64) {}

    fn end(&self) {}
}
