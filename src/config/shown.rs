//! Settings as TOML values.

use std::collections::BTreeMap;

use serde::Serialize;

use super::layer::with_keys;
use super::Layer;
use crate::check::DEFAULT_BETA_PER_EXAMPLE;

/// The values of `layer` as TOML.
pub(super) fn shown(layer: &Layer, threads: usize) -> BTreeMap<&'static str, String> {
    let mut values = BTreeMap::from([("threads", threads.to_string())]);
    macro_rules! show {
        ($($field:ident)*) => {$(
            if let Some(value) = &layer.$field {
                values.insert(stringify!($field), as_toml(value));
            }
        )*};
    }
    with_keys!(show);
    show!(kappa beta beta_per_example);
    if layer.kappa.or(layer.beta).or(layer.beta_per_example).is_none() {
        values.insert("beta_per_example", DEFAULT_BETA_PER_EXAMPLE.to_string());
    }
    values.insert("alpha", as_toml(layer.alpha.unwrap_or(0.0)));
    values.insert("gamma", as_toml(layer.gamma.unwrap_or(1.0)));
    values
}

fn as_toml(value: impl Serialize) -> String {
    match toml::Value::try_from(&value) {
        Ok(value) => value.to_string(),
        // A seed above TOML's largest integer, as digits.
        Err(_) => serde_json::to_string(&value).expect("settings are always JSON"),
    }
}
