//! Ctrl-C, checked between batches, rows and downloads, so that no partial file is left.

use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::error::{Exit, Interrupted, NO_REPORT};
use crate::terminal::Verbosity;

/// Whether the user asked to stop. Clones share the answer.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// An interrupt that Ctrl-C and SIGTERM set; a second Ctrl-C ends the process at once.
    pub fn from_signals(progress: Verbosity) -> Self {
        let interrupt = Interrupt::default();
        let flag = interrupt.clone();
        // Without a handler Ctrl-C still ends the process.
        let _ = ctrlc::set_handler(move || {
            if flag.is_set() {
                remove_temporary();
                std::process::exit(Exit::Interrupted as i32);
            }
            flag.set();
            // The cursor is after a live line and the terminal's own ^C.
            let start = if progress == Verbosity::Live { "\n" } else { "" };
            progress.message(&format!("{start}stopping; again to stop at once"));
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
    /// [`Interrupted`], with what was under way: `reading \`train.tsv\``.
    pub fn check(&self, what: impl FnOnce() -> String) -> Result<(), Interrupted> {
        match self.is_set() {
            false => Ok(()),
            true => Err(Interrupted { what: what(), done: 0, total: 0, outcome: NO_REPORT }),
        }
    }
}

/// Attempts to remove one path; whoever pressed Ctrl-C twice does not want to wait.
const ATTEMPTS: usize = 20;

/// What a second signal has to remove: it ends the process without the destructors that would.
static TEMPORARY: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A temporary file or folder that a second signal removes too, for as long as `held` may be there.
#[derive(Debug)]
pub struct Temporary<T> {
    // Dropped in this order: what is being removed stays listed until it is gone.
    held: T,
    listed: RemovalGuard,
}

/// A path among [`TEMPORARY`].
#[derive(Debug)]
pub struct RemovalGuard(PathBuf);

impl<T: AsRef<Path>> Temporary<T> {
    /// Lists the path of `held`.
    pub fn new(held: T) -> Self {
        let path = held.as_ref().to_owned();
        temporary().push(path.clone());
        Temporary { held, listed: RemovalGuard(path) }
    }

    /// What is held, and what keeps it listed.
    pub fn into_parts(self) -> (T, RemovalGuard) {
        (self.held, self.listed)
    }
}

impl<T> Deref for Temporary<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.held
    }
}

impl<T> DerefMut for Temporary<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.held
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
            // The run goes on meanwhile, and may be writing into the folder or removing it itself.
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
