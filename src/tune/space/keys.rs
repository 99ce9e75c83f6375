//! The keys of a recipe that a search may change.

use crate::distill::methods::{self, Method};
use crate::error::usage;
use crate::task::spelling::did_you_mean;

/// Keys that do not change the training, or after whose change two trials cannot be compared.
const NOT_SEARCHED: [&str; 27] = [
    "task",
    "own_task",
    "data",
    "teacher",
    "teacher_predictions",
    "teacher_head",
    "label_map",
    "max_length",
    "limit",
    "allow_skipped",
    "seed",
    "threads",
    "output",
    "store",
    "states",
    "teacher_states",
    "augmented",
    "minimax.corpus",
    "minimax.index",
    "mate.generator.checkpoint",
    "annealing-mate.generator.checkpoint",
    "held_out",
    "kappa",
    "log_every",
    "save_every",
    "student",
    "student.base",
];

/// Whether the key `name`, a path, may be searched.
pub(super) fn is_setting(name: &str) -> bool {
    let root = name.split('.').next().unwrap_or_default();
    let is_table = root == "student" && name != root;
    !NOT_SEARCHED.iter().any(|key| *key == name || (*key == root && !is_table))
}

/// The error of a key that no method of the search has.
pub fn foreign(name: &str, methods: &[&str]) -> anyhow::Error {
    let parts: Vec<&str> = name.split('.').collect();
    let of: Vec<&Method> = methods.iter().filter_map(|name| methods::find(name).ok()).collect();
    let stages: Vec<&str> =
        of.iter().flat_map(|method| (method.stages)()).map(|(name, _)| name).collect();
    let hint = match parts.as_slice() {
        ["stage", stage, ..] if !stages.contains(stage) => {
            let guess = did_you_mean(stage, stages.iter().copied());
            format!("{guess}its stages are {}", stages.join(", "))
        }
        [.., "losses", _] => {
            let terms = of.iter().flat_map(|method| method.terms).map(|term| term.as_str());
            format!("its losses are {}", terms.collect::<Vec<_>>().join(", "))
        }
        _ => "leave it out".to_owned(),
    };
    let methods = methods.join(" or ");
    usage!("`space.\"{name}\"` is not a key of the method {methods}").hint(hint).into()
}
