//! What decided the numbers, so that they can be made again.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::config::{Settings, WITHOUT_EFFECT};
use crate::digest::hexadecimal;
use crate::report::schema::{Manifest, ModelManifest, TaskCommand};

/// Where models and data lie. They have hashes of their own, which are the same wherever they lie.
const PLACES: [&str; 3] = ["teacher", "student", "data"];

/// SHA-256 over what is in force for every task, the settings that change no result and the places
/// of models and data apart, and over what describes a user's own task. Splits are hashed by their
/// own names, however they were spelled.
pub fn settings_sha256(all: &[Settings]) -> String {
    let mut digest = Sha256::new();
    for settings in all {
        digest.update(format!("[task.{}]\n", settings.task.name));
        let left_out = |key: &str| WITHOUT_EFFECT.contains(&key) || PLACES.contains(&key);
        for (key, value) in settings.values().filter(|(key, _)| !left_out(key)) {
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

/// The splits that were asked for, by their own names; none where nobody asked.
fn splits(settings: &Settings) -> Vec<&String> {
    settings.split.iter().chain(&settings.secondary_splits).collect()
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
    fn the_hash_is_of_settings_and_of_no_place() {
        let plain = hash(Layer::default());
        let place = || Some("out/tiny".to_owned());
        for flags in [
            Layer { teacher: place(), ..Layer::default() },
            Layer { student: place(), ..Layer::default() },
            Layer { data: place(), ..Layer::default() },
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
    fn the_hash_of_splits_is_of_their_own_names_in_their_order() {
        let both = hash(split("train,validation"));
        assert_eq!(hash(split(" train , dev")), both);
        assert_ne!(hash(split("validation,train")), both);
        assert_ne!(hash(split("train")), both);
    }
}
