//! Settings that a tune names to be tried first.

use anyhow::{bail, Result};
use toml::{Table, Value};

use super::{Space, TrialSettings};
use crate::error::usage;
use crate::task::spelling::did_you_mean;

impl Space {
    /// The settings in entry number `entry`, from 1, of `start`. Keys may be quoted paths or nested
    /// tables; those that are left out have their defaults. `method` is that of the recipe.
    ///
    /// # Errors
    /// An unknown key, a value outside of its range, a key that the entry's method does not have: usage
    /// errors that name entry and key.
    pub fn start(&self, entry: usize, table: &Table, method: &str) -> Result<TrialSettings> {
        let mut given = Vec::new();
        self.flatten(entry, "", table, &mut given)?;
        let mut point: TrialSettings =
            self.0.iter().map(|key| (key.name.clone(), key.default.clone())).collect();
        for (name, value) in &given {
            let key = self.0.iter().find(|key| key.name == *name).expect("flatten finds keys only");
            let Some(value) = key.range.converted(value) else {
                let range = &key.range;
                bail!(usage!("`start`, entry {entry}: `{name}` = {value} is not {range}")
                    .hint("give it a value of its range in `space`, or leave it out"));
            };
            point.insert(name.clone(), value);
        }
        let method = point.get("method").and_then(Value::as_str).unwrap_or(method).to_owned();
        let point = self.active(point, &method);
        match given.iter().find(|(name, _)| !point.contains_key(name)) {
            None => Ok(point),
            Some((name, _)) => {
                Err(usage!("`start`, entry {entry}: `{name}` is not a key of the method {method}")
                    .hint("leave it out, or set `method` in this entry")
                    .into())
            }
        }
    }

    /// Collects the keys of an entry; a table that is not a key's value is a path.
    fn flatten(
        &self,
        entry: usize,
        path: &str,
        table: &Table,
        given: &mut Vec<(String, Value)>,
    ) -> Result<()> {
        for (name, value) in table {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            match value {
                _ if self.0.iter().any(|key| key.name == path) => given.push((path, value.clone())),
                Value::Table(inner) => self.flatten(entry, &path, inner, given)?,
                _ => {
                    let guess = did_you_mean(&path, self.0.iter().map(|key| key.name.as_str()));
                    bail!(usage!("`start`, entry {entry}: `{path}` is not a key of `space`")
                        .hint(format!("{guess}what does not change belongs in the recipe")));
                }
            }
        }
        Ok(())
    }
}
