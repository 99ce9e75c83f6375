//! Ctrl-C handling. The flag is checked between batches, rows and downloads, so no file is left
//! half written.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::error::{Exit, Interrupted, NO_REPORT};
use crate::terminal::Verbosity;

/// Flag that is set when the user asks to stop. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// A flag that Ctrl-C or SIGTERM sets, with a message; a second Ctrl-C ends the process at once.
    pub fn from_signals(progress: Verbosity) -> Self {
        let interrupt = Interrupt::default();
        let flag = interrupt.clone();
        // Without a handler Ctrl-C ends the process at once.
        let _ = ctrlc::set_handler(move || {
            if flag.is_set() {
                remove_temporary();
                std::process::exit(Exit::Interrupted as i32);
            }
            flag.set();
            // The cursor is after the live line and the terminal's own ^C.
            if progress == Verbosity::Live {
                progress.message("");
            }
            progress.message("stopping; press Ctrl-C again to stop at once");
        });
        interrupt
    }

    /// Asks to stop.
    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether to stop.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Fails if the user asked to stop.
    ///
    /// # Errors
    /// [`Interrupted`] with the current activity, such as `reading \`train.tsv\``.
    pub fn check(&self, what: impl FnOnce() -> String) -> Result<(), Interrupted> {
        match self.is_set() {
            false => Ok(()),
            true => Err(Interrupted { what: what(), done: 0, total: 0, outcome: NO_REPORT }),
        }
    }
}

/// Attempts to remove one path after a second Ctrl-C; few, since the user wants to stop now.
const ATTEMPTS: usize = 20;

/// Paths to remove on a second signal, which ends the process without running destructors.
static TEMPORARY: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Keeps the path of a temporary file or folder registered for removal by a second signal. Drop it
/// after the file or folder itself.
#[derive(Debug)]
pub struct RemovalGuard(PathBuf);

impl RemovalGuard {
    /// Registers `path`.
    pub fn new(path: &Path) -> Self {
        temporary().push(path.to_owned());
        RemovalGuard(path.to_owned())
    }
}

impl Drop for RemovalGuard {
    fn drop(&mut self) {
        let mut paths = temporary();
        if let Some(i) = paths.iter().position(|path| *path == self.0) {
            paths.swap_remove(i);
        }
    }
}

fn temporary() -> MutexGuard<'static, Vec<PathBuf>> {
    TEMPORARY.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn remove_temporary() {
    for path in temporary().iter() {
        for _ in 0..ATTEMPTS {
            let removed =
                if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            if removed.is_ok() || !path.exists() {
                break;
            }
            // Other threads may still be writing into the folder or removing it.
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
