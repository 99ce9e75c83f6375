//! Ctrl-C: asked for once, noticed between batches, so that nothing is left half written.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

/// Whether the user asked to stop. Clones share the answer.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// One that Ctrl-C (and SIGTERM) sets; a second Ctrl-C ends the process at once.
    pub fn from_signals() -> Self {
        let interrupt = Interrupt::default();
        let flag = interrupt.clone();
        // Without a handler Ctrl-C still ends the process, only less politely.
        let _ = ctrlc::set_handler(move || {
            if flag.is_set() {
                std::process::exit(crate::error::Exit::Interrupted as i32);
            }
            flag.set();
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
}

/// The run was stopped by the user; says how far it had come.
#[derive(Debug, thiserror::Error)]
#[error("interrupted: {done} of {total} examples were done ({what}); nothing was written")]
pub struct Interrupted {
    /// What was under way, such as `teacher, sst2/train`.
    pub what: String,
    /// Examples done.
    pub done: usize,
    /// Examples in all.
    pub total: usize,
}
