//! Panics: those of a library on somebody's file become errors, and any other ends the program with a
//! message and a documented exit code.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use anyhow::Result;

use super::failure;

thread_local! {
    /// Whether a guarded call is running on this thread.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    /// The message of this thread's last panic inside a guarded call.
    static MESSAGE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Whether the whole program runs under [`program`].
static WHOLE_PROGRAM: AtomicBool = AtomicBool::new(false);

/// Message and place of the first panic that no guarded call caught.
static FIRST: Mutex<Option<String>> = Mutex::new(None);

/// Runs `call`, a stage that gives somebody's file to a library; a panic of it becomes an error.
///
/// `what` names the file, such as ``the tokenizer in `model/tokenizer.json` ``. Panics of rayon's workers
/// and of scoped threads inside `call` reach it too. Nothing is printed to stderr.
///
/// # Errors
/// Those of `call`; `{what} cannot be used: …` for a panic.
pub fn guarded<T>(what: impl FnOnce() -> String, call: impl FnOnce() -> Result<T>) -> Result<T> {
    caught(call).unwrap_or_else(|reason| {
        Err(failure!("{} cannot be used: {reason}", what())
            .hint("it is damaged, or its values contradict each other; fetch or write it again")
            .into())
    })
}

/// Runs `call` and returns the message of its panic, if it panics.
///
/// Nothing that `call` may leave half done may be used after a panic.
pub fn caught<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    install_hook();
    let outer = GUARDED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(call));
    GUARDED.set(outer);
    let kept = MESSAGE.take();
    result.map_err(|payload| kept.or_else(|| text_of(&*payload)).unwrap_or_else(unknown))
}

/// Runs the whole program; a panic becomes an error that says how to report it.
///
/// # Errors
/// A panic, which is a fault of this program.
pub fn program<T>(call: impl FnOnce() -> T) -> Result<T> {
    install_hook();
    WHOLE_PROGRAM.store(true, Ordering::Relaxed);
    panic::catch_unwind(AssertUnwindSafe(call)).map_err(|payload| {
        let first = FIRST.lock().unwrap_or_else(PoisonError::into_inner).take();
        let message = first.or_else(|| text_of(&*payload)).unwrap_or_else(unknown);
        failure!("audit has a fault and had to stop: {message}")
            .hint(format!(
                "no result of this run is valid; report the command, this message and the version \
                 ({}) to the maintainers",
                env!("CARGO_PKG_VERSION")
            ))
            .into()
    })
}

fn unknown() -> String {
    "a panic without a message".to_owned()
}

/// Keeps the messages of panics instead of printing them, where somebody will report them.
fn install_hook() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if GUARDED.get() {
                MESSAGE.set(text_of(info.payload()));
            } else if WHOLE_PROGRAM.load(Ordering::Relaxed) {
                // The first: a panic of a thread ends in a second one where the thread is joined.
                let mut first = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert_with(|| with_place(info));
            } else {
                usual(info);
            }
        }));
    });
}

fn with_place(info: &PanicHookInfo) -> String {
    let text = text_of(info.payload()).unwrap_or_else(unknown);
    match info.location() {
        Some(place) => format!("{text} (at {}:{})", place.file(), place.line()),
        None => text,
    }
}

/// The first line of a panic's message, at most 200 characters of it.
fn text_of(payload: &(dyn Any + Send)) -> Option<String> {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))?;
    Some(text.lines().next().unwrap_or_default().chars().take(200).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{exit_code, rendered, Exit};

    #[test]
    fn a_panic_becomes_an_error_that_names_the_file() {
        let error = guarded(
            || "the tokenizer in `m/tokenizer.json`".to_owned(),
            || -> Result<()> { panic!("chunk size must be non-zero\nwith more") },
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the tokenizer in `m/tokenizer.json` cannot be used: chunk size must be non-zero"
        );
        assert_eq!(exit_code(&error), Exit::CouldNotRun);
    }

    #[test]
    fn a_panic_of_a_worker_reaches_the_call() {
        let joined = caught(|| {
            rayon::join(|| (), || panic!("in a worker"));
        });
        assert_eq!(joined.unwrap_err(), "in a worker");
        let scoped = caught(|| std::thread::scope(|scope| _ = scope.spawn(|| panic!("scoped"))));
        assert!(scoped.is_err());
    }

    #[test]
    fn values_and_errors_pass_and_guards_nest() {
        let value = caught(|| {
            assert!(caught(|| panic!("inner")).is_err());
            assert!(GUARDED.get(), "the outer guard is still in force");
            7
        });
        assert_eq!(value, Ok(7));
        assert!(!GUARDED.get());
        let error =
            guarded(String::new, || -> Result<()> { anyhow::bail!("its own") }).unwrap_err();
        assert_eq!(error.to_string(), "its own");
    }

    #[test]
    fn a_fault_of_the_program_is_reported_with_exit_code_3() {
        // `caught` around it keeps the hook from printing.
        let error = caught(|| program(|| panic!("an invariant"))).unwrap().unwrap_err();
        WHOLE_PROGRAM.store(false, Ordering::Relaxed);
        assert_eq!(exit_code(&error), Exit::CouldNotRun);
        let text = rendered(&error);
        assert!(text.contains("audit has a fault") && text.contains("an invariant"), "{text}");
        assert!(text.contains("hint: no result of this run is valid"), "{text}");
    }
}
