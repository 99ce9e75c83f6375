//! What decided the numbers, so that they can be made again.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::config::Settings;
use crate::digest::hexadecimal;
use crate::report::schema::{Manifest, ModelManifest, TaskCommand};

/// Settings that change how fast an audit is, and nothing else.
const WITHOUT_EFFECT: [&str; 3] = ["threads", "token_budget", "cache"];

/// SHA-256 over what is in force for every task, the settings that change no result apart, and over
/// what describes a user's own task.
pub fn settings_sha256(all: &[Settings]) -> String {
    let mut digest = Sha256::new();
    for settings in all {
        digest.update(format!("[task.{}]\n", settings.task.name));
        for (key, value) in settings.values().filter(|(key, _)| !WITHOUT_EFFECT.contains(key)) {
            digest.update(format!("{key} = {}\n", value.unwrap_or_default()));
        }
        if let Some(table) = settings.task.description() {
            digest.update(serde_json::to_vec(table).expect("a table of strings is JSON"));
        }
    }
    hexadecimal(&digest.finalize())
}

/// The manifest of a run over the tasks of `all`, which `commands` run again.
pub fn manifest(
    all: &[Settings],
    models: Vec<ModelManifest>,
    commands: Vec<TaskCommand>,
) -> Manifest {
    Manifest {
        program: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        platform: format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH),
        conventions: conventions(),
        device: shared(all, |settings| &settings.device).cloned(),
        dtype: "f32".to_owned(),
        seed: shared(all, |settings| &settings.seed).copied(),
        config_sha256: settings_sha256(all),
        models,
        commands,
    }
}

/// What the tasks have in common; `None` where they differ.
fn shared<T: PartialEq>(all: &[Settings], of: impl Fn(&Settings) -> &T) -> Option<&T> {
    let first = of(all.first()?);
    all.iter().all(|settings| of(settings) == first).then_some(first)
}

/// What arXiv:2401.11365 leaves open and this program fixes; docs/theory.md says why.
fn conventions() -> BTreeMap<String, String> {
    [
        ("alpha", "weight of the hard-label loss; the soft-label loss weighs 1 - alpha"),
        ("beta", "nats, summed over the examples: distillation ends at (1 - alpha) * loss <= beta"),
        ("confidence", "largest softmax probability, in f64 from f32 logits; temperature 1"),
        ("difference", "teacher's confidence minus the student's"),
        ("gamma", "distillation temperature, 1 for a loss scaled by its square"),
        ("kappa", "gamma * sqrt(beta / (n * (1 - alpha)))"),
        ("sigma", "root mean square of the difference about zero (population)"),
        ("sums", "each term rounded once to a multiple of 2^-96, then added exactly"),
        ("verdict", "preserved when the sum of squared differences is at most kappa^2 * n"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}
