//! Settings as TOML values.

use std::collections::BTreeMap;

use clap::ValueEnum;

use super::layer::{for_each_key, CasingName};
use super::{BoundSource, Layer};
use crate::check::DEFAULT_BETA_PER_EXAMPLE;
use crate::confidence::{ConfidenceKind, Statistic};
use crate::model::Head;

/// The values of `layer` as TOML.
pub(super) fn shown(layer: &Layer, threads: usize) -> BTreeMap<&'static str, String> {
    let mut values = BTreeMap::from([("threads", threads.to_string())]);
    macro_rules! show {
        ($field:ident) => {
            if let Some(value) = &layer.$field {
                values.insert(stringify!($field), value.as_toml());
            }
        };
    }
    for_each_key!(show);
    show!(kappa);
    show!(beta);
    show!(beta_per_example);
    if layer.kappa.or(layer.beta).or(layer.beta_per_example).is_none() {
        values.insert("beta_per_example", DEFAULT_BETA_PER_EXAMPLE.to_string());
    }
    values.insert("alpha", layer.alpha.unwrap_or(0.0).as_toml());
    values.insert("gamma", layer.gamma.unwrap_or(1.0).as_toml());
    values
}

/// A value as in a config.
trait AsToml {
    fn as_toml(&self) -> String;
}

impl AsToml for String {
    fn as_toml(&self) -> String {
        toml::Value::String(self.clone()).to_string()
    }
}

macro_rules! plain_toml {
    ($($type:ty),*) => {$(
        impl AsToml for $type {
            fn as_toml(&self) -> String {
                self.to_string()
            }
        }
    )*};
}
plain_toml!(usize, u64, bool);

impl AsToml for f64 {
    fn as_toml(&self) -> String {
        toml::Value::Float(*self).to_string()
    }
}

macro_rules! named_toml {
    ($($type:ty),*) => {$(
        impl AsToml for $type {
            fn as_toml(&self) -> String {
                let name = self.to_possible_value().map(|v| v.get_name().to_owned());
                format!("{:?}", name.unwrap_or_default())
            }
        }
    )*};
}
named_toml!(BoundSource, Statistic, ConfidenceKind, Head);

impl AsToml for CasingName {
    fn as_toml(&self) -> String {
        format!("{:?}", format!("{self:?}").to_lowercase())
    }
}
