//! Locks in the folder of a tune that several processes share.
//!
//! ```text
//! presence   shared by every process until it leaves; the last one removes the trainings
//! finale     one process at a time finishes the tune
//! trial-N    one process at a time trains it
//! ```
//!
//! The kernel releases a lock when its process ends, in any way.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::journal::RunId;
use crate::interrupt::Interrupt;

/// The folder of the locks, in the tune's.
const FOLDER: &str = ".locks";
/// Interval at which a process checks whether the others are done.
pub(super) const POLL: Duration = Duration::from_millis(200);

/// The locks of a tune.
pub(super) struct Locks {
    folder: PathBuf,
    /// Locked as long as this process works here.
    presence: File,
}

impl Locks {
    /// Registers this process in the tune's folder `output`.
    pub fn open(output: &Path) -> Result<Self> {
        let folder = output.join(FOLDER);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
        let presence = file(&folder.join("presence"))?;
        presence.lock_shared().with_context(|| format!("cannot lock `{}`", folder.display()))?;
        Ok(Locks { folder, presence })
    }

    /// The lock of a training; `None` while another process trains it.
    pub fn run(&self, id: RunId) -> Result<Option<File>> {
        let file = file(&self.folder.join(id.to_string()))?;
        Ok(file.try_lock().is_ok().then_some(file))
    }

    /// The lock of the finale, once no other process has it.
    ///
    /// # Errors
    /// An interrupt.
    pub fn finale(&self, interrupt: &Interrupt) -> Result<File> {
        loop {
            if let Some(lock) = self.idle_finale()? {
                return Ok(lock);
            }
            interrupt.check(|| "waiting for another process to finish the tune".to_owned())?;
            std::thread::sleep(POLL);
        }
    }

    /// The lock of the finale; `None` while another process has it.
    pub fn idle_finale(&self) -> Result<Option<File>> {
        let file = file(&self.folder.join("finale"))?;
        Ok(file.try_lock().is_ok().then_some(file))
    }

    /// Leaves the tune. Calls `remove` if this is the last process; no other starts meanwhile.
    pub fn leave(&self, remove: impl FnOnce() -> Result<()>) -> Result<()> {
        let _ = self.presence.unlock();
        let removed = match self.presence.try_lock() {
            Ok(()) => remove(),
            Err(_) => Ok(()),
        };
        let _ = self.presence.unlock();
        removed
    }
}

fn file(path: &Path) -> Result<File> {
    let mut options = File::options();
    let file = options.write(true).create(true).truncate(false).open(path);
    file.with_context(|| format!("cannot write `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_training_is_locked_until_its_process_ends() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) =
            (Locks::open(folder.path()).unwrap(), Locks::open(folder.path()).unwrap());
        let held = one.run(RunId::trial(1)).unwrap().expect("it is free");
        assert!(other.run(RunId::trial(1)).unwrap().is_none());
        assert!(other.run(RunId::trial(2)).unwrap().is_some());
        drop(held);
        assert!(other.run(RunId::trial(1)).unwrap().is_some());
    }

    #[test]
    fn the_last_process_to_leave_removes() {
        let folder = tempfile::tempdir().unwrap();
        let removes = |locks: &Locks| {
            let mut called = false;
            let remove = || {
                called = true;
                Ok(())
            };
            locks.leave(remove).unwrap();
            called
        };
        let [one, other, killed] = [(); 3].map(|()| Locks::open(folder.path()).unwrap());
        assert!(!removes(&one));
        drop(killed);
        assert!(removes(&other));
        assert!(removes(&Locks::open(folder.path()).unwrap()));
    }
}
