//! Which keys of a recipe a search may change.

use crate::distill::methods::{self, Method};
use crate::error::Diagnostic;
use crate::task::spelling::did_you_mean;

/// Keys whose value says what is judged, where it lies or how fast it goes, and not how the student
/// is made: two trials that differ in one could not be compared, or would not differ.
const NOT_SEARCHED: [&str; 20] = [
    "task",
    "own_task",
    "data",
    "teacher",
    "teacher_head",
    "label_map",
    "max_length",
    "limit",
    "allow_skipped",
    "seed",
    "threads",
    "output",
    "store",
    "teacher_states",
    "held_out",
    "kappa",
    "log_every",
    "save_every",
    "student",
    "student.base",
];

/// Whether the key `name`, a path, says how the student is made.
pub(super) fn is_setting(name: &str) -> bool {
    let root = name.split('.').next().unwrap_or_default();
    let is_table = root == "student" && name != root;
    !NOT_SEARCHED.iter().any(|key| *key == name || (*key == root && !is_table))
}

/// What to say of a key that no method of the search has.
pub fn foreign(name: &str, methods: &[&str]) -> anyhow::Error {
    let parts: Vec<&str> = name.split('.').collect();
    let of: Vec<&Method> = methods.iter().filter_map(|name| methods::find(name).ok()).collect();
    let stages: Vec<&str> =
        of.iter().flat_map(|method| (method.stages)()).map(|(name, _)| name).collect();
    let hint = match parts.as_slice() {
        ["stage", stage, ..] if !stages.contains(stage) => {
            format!(
                "{}its stages are {}",
                did_you_mean(stage, stages.iter().copied()),
                stages.join(", ")
            )
        }
        [.., "losses", _] => {
            let terms = of.iter().flat_map(|method| method.terms).map(|term| term.as_str());
            format!("its losses are {}", terms.collect::<Vec<_>>().join(", "))
        }
        _ => "leave it out".to_owned(),
    };
    Diagnostic::usage(format!(
        "`space.\"{name}\"` is not a key of the method {}",
        methods.join(" or ")
    ))
    .hint(hint)
    .into()
}
