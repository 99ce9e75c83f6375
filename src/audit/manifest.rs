//! The manifest of a report: everything needed to reproduce it.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::Session;
use crate::config::{Settings, WITHOUT_EFFECT};
use crate::digest::hexadecimal;
use crate::model;
use crate::report::schema::{Manifest, ModelManifest, TaskCommand};

/// Paths of models and data, which the manifest records by hash instead.
const PATHS: [&str; 3] = ["teacher", "student", "data"];

/// SHA-256 of the settings of all tasks and the description of user tasks, without settings that
/// change no result and without paths of models and data. Splits are hashed by their canonical names.
pub fn settings_sha256(all: &[Settings]) -> String {
    let mut digest = Sha256::new();
    for settings in all {
        digest.update(format!("[task.{}]\n", settings.task.name));
        let left_out = |key: &str| WITHOUT_EFFECT.contains(&key) || PATHS.contains(&key);
        // Keys of a later version, which would change the hash of every older report.
        let is_later = |key: &str| key.starts_with("onnx_");
        for (key, value) in settings.values().filter(|(key, _)| !left_out(key)) {
            if is_later(key) && value.is_none() {
                continue;
            }
            match key {
                "split" => digest.update(format!("{key} = {:?}\n", splits(settings))),
                _ => digest.update(format!("{key} = {}\n", value.unwrap_or_default())),
            }
        }
        if let Some(table) = settings.task.description() {
            digest.update(serde_json::to_vec(table).expect("a table of strings is JSON"));
        }
    }
    hexadecimal(&digest.finalize())
}

/// Canonical names of the splits in `--split`; empty without it.
fn splits(settings: &Settings) -> Vec<&String> {
    settings.split.iter().chain(&settings.secondary_splits).collect()
}

/// The manifest of a run over the tasks of `all` in `session`; `commands` reproduce it.
pub fn manifest(
    all: &[Settings],
    session: &Session,
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
        arithmetic: Some(format!("{}-{}", model::ENCODER_VERSION, session.arithmetic)),
        seed: shared(all, |settings| &settings.seed).copied(),
        config_sha256: settings_sha256(all),
        models,
        commands,
    }
}

/// The value that all tasks share; `None` if they differ.
fn shared<T: PartialEq>(all: &[Settings], of: impl Fn(&Settings) -> &T) -> Option<&T> {
    let first = of(all.first()?);
    all.iter().all(|settings| of(settings) == first).then_some(first)
}

/// Arguments after `audit` that reproduce the audit of `settings`, with Hub models pinned to their
/// commits.
pub fn pinned_arguments(settings: &Settings, models: &[ModelManifest]) -> Vec<String> {
    let pinned = |role: &str| {
        let model = models.iter().find(|model| model.role == role)?;
        let id = model.source.split('@').next().unwrap_or_default();
        model.revision.as_ref().map(|commit| format!("{id}@{commit}"))
    };
    settings.arguments(pinned("teacher").as_deref(), pinned("student").as_deref())
}

/// Choices that arXiv:2401.11365 leaves open; see docs/theory.md.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Layer};

    fn hash(flags: Layer) -> String {
        settings_sha256(&[Config::default().settings("sst2", &flags).unwrap()])
    }

    fn split(list: &str) -> Layer {
        Layer { split: Some(list.to_owned()), ..Layer::default() }
    }

    #[test]
    fn the_hash_covers_settings_but_no_paths() {
        let plain = hash(Layer::default());
        let path = || Some("out/tiny".to_owned());
        for flags in [
            Layer { teacher: path(), ..Layer::default() },
            Layer { student: path(), ..Layer::default() },
            Layer { data: path(), ..Layer::default() },
            Layer { threads: Some(3), ..Layer::default() },
        ] {
            assert_eq!(hash(flags.clone()), plain, "{flags:?}");
        }
        for flags in [
            Layer { kappa: Some(0.1), ..Layer::default() },
            Layer { seed: Some(1), ..Layer::default() },
            split("validation"),
        ] {
            assert_ne!(hash(flags.clone()), plain, "{flags:?}");
        }
    }

    #[test]
    fn splits_are_hashed_by_canonical_name_and_order() {
        let both = hash(split("train,validation"));
        assert_eq!(hash(split(" train , dev")), both);
        assert_ne!(hash(split("validation,train")), both);
        assert_ne!(hash(split("train")), both);
    }
}
