//! Ctrl-C: asked for once, noticed between batches, rows and downloads, so that nothing is left half
//! written.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::progress::Progress;

/// Whether the user asked to stop. Clones share the answer.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// One that Ctrl-C (and SIGTERM) sets, which says so; a second Ctrl-C ends the process at once.
    pub fn from_signals(progress: Progress) -> Self {
        let interrupt = Interrupt::default();
        let flag = interrupt.clone();
        // Without a handler Ctrl-C still ends the process, only less politely.
        let _ = ctrlc::set_handler(move || {
            if flag.is_set() {
                remove_temporary();
                std::process::exit(crate::error::Exit::Interrupted as i32);
            }
            flag.set();
            // A live line, and the terminal's own ^C, stand where the cursor is.
            let start = if progress == Progress::Live { "\n" } else { "" };
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

    /// Goes on unless the user asked to stop.
    ///
    /// # Errors
    /// [`Interrupted`], with what was under way: `reading \`train.tsv\``.
    pub fn check(&self, what: impl FnOnce() -> String) -> Result<(), Interrupted> {
        match self.is_set() {
            false => Ok(()),
            true => Err(Interrupted { what: what(), done: 0, total: 0 }),
        }
    }
}

/// The run was stopped by the user; says how far it had come.
#[derive(Debug, thiserror::Error)]
pub struct Interrupted {
    /// What was under way, such as `teacher, sst2/train`.
    pub what: String,
    /// Examples done.
    pub done: usize,
    /// Examples in all; 0 where it is not examples that were under way.
    pub total: usize,
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Interrupted { what, done, total } = self;
        match total {
            0 => write!(f, "interrupted: {what}; nothing was written"),
            _ => write!(
                f,
                "interrupted: {done} of {total} examples were done ({what}); nothing was written"
            ),
        }
    }
}

/// What a second signal has to remove: it ends the process without the destructors that would.
static TEMPORARY: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A temporary file or folder that a second signal removes. It says nothing of how else it goes.
#[derive(Debug)]
pub struct Temporary(PathBuf);

impl Temporary {
    /// Until it is dropped, a second signal removes `path`.
    pub fn new(path: &Path) -> Self {
        temporary().push(path.to_owned());
        Temporary(path.to_owned())
    }
}

impl Drop for Temporary {
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
        // What is gone already needs no removing, and there is nobody left to tell of the rest.
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
}
