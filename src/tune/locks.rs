//! Who may do what in the folder of a tune, while several processes work in it.
//!
//! ```text
//! presence   shared by every process until it leaves; whoever holds it alone may remove
//! finale     one process at a time ends the tune
//! trial-N    one process at a time trains
//! ```
//!
//! The kernel gives a lock back when its process dies, however it does.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::journal::RunId;
use crate::interrupt::Interrupt;

/// The folder of the locks, within that of the tune.
const FOLDER: &str = ".locks";
/// How often a process looks whether the others are done.
pub(super) const LOOK: Duration = Duration::from_millis(200);

/// The locks of a tune.
pub(super) struct Locks {
    folder: PathBuf,
    /// That this process is at work here.
    presence: File,
}

impl Locks {
    /// Those of the tune in `output`; from now on this process is at work there.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn open(output: &Path) -> Result<Self> {
        let folder = output.join(FOLDER);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
        let presence = file(&folder.join("presence"))?;
        presence.lock_shared().with_context(|| format!("cannot lock `{}`", folder.display()))?;
        Ok(Locks { folder, presence })
    }

    /// The lock of a training; `None` while another process trains it.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn run(&self, id: RunId) -> Result<Option<File>> {
        let file = file(&self.folder.join(id.to_string()))?;
        Ok(file.try_lock().is_ok().then_some(file))
    }

    /// The end of the tune, once no other process is at it.
    ///
    /// # Errors
    /// A folder that cannot be written, an interrupt.
    pub fn finale(&self, interrupt: &Interrupt) -> Result<File> {
        loop {
            if let Some(lock) = self.idle_finale()? {
                return Ok(lock);
            }
            interrupt.check(|| "waiting for another process to end the tune".to_owned())?;
            std::thread::sleep(LOOK);
        }
    }

    /// The same; `None` while another process is at it.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn idle_finale(&self) -> Result<Option<File>> {
        let file = file(&self.folder.join("finale"))?;
        Ok(file.try_lock().is_ok().then_some(file))
    }

    /// This process is done here. If no other is at work, calls `remove`; none begins meanwhile.
    ///
    /// # Errors
    /// Those of `remove`.
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
    fn a_training_is_one_process_s_and_comes_free_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) =
            (Locks::open(folder.path()).unwrap(), Locks::open(folder.path()).unwrap());
        let held = one.run(RunId::trial(1)).unwrap().expect("nobody has it");
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
