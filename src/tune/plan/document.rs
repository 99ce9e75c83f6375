//! A recipe as a table: values of its keys, and changes to them.

use std::path::{Path, PathBuf};

use anyhow::{bail, Result};
use toml::{Table, Value};

use crate::distill::methods::{Method, METHODS};
use crate::distill::recipe::{resolved, Recipe};
use crate::error::{usage, Diagnostic};

/// The recipe that a tune names or contains, and the file that its paths are relative to.
pub(super) fn recipe(named: Option<&Value>, path: &Path) -> Result<(Table, PathBuf)> {
    match named {
        Some(Value::Table(table)) => Ok((table.clone(), path.to_owned())),
        Some(Value::String(name)) => {
            let file = resolved(path.parent().unwrap_or(Path::new(".")), name);
            let text = std::fs::read_to_string(&file).map_err(|e| {
                let file = file.display();
                usage!("`recipe` = `{name}`: cannot read `{file}`: {e}")
            })?;
            let table = text.parse().map_err(|e: toml::de::Error| {
                usage!("`recipe` = `{name}`: {}", e.to_string().trim_end())
            })?;
            Ok((table, file))
        }
        _ => bail!(Diagnostic::usage("`recipe` is missing")
            .hint("set `recipe` to the file of a distillation, or write it below [recipe]")),
    }
}

/// The value of a key in force, published values of the method included.
pub(super) fn value_in_force(document: &Table, recipe: &Recipe, name: &str) -> Option<Value> {
    let parts: Vec<&str> = name.split('.').collect();
    let (last, path) = parts.split_last()?;
    let mut table = Some(document);
    for part in path {
        table = table.and_then(|table| table.get(*part)).and_then(Value::as_table);
    }
    if let Some(value) = table.and_then(|table| table.get(*last)) {
        return Some(value.clone());
    }
    let (stage, keys) = match parts.as_slice() {
        ["stage", name, keys @ ..] => {
            (recipe.stages.iter().find(|stage| stage.name == *name)?, keys)
        }
        ["training", keys @ ..] => (recipe.last_stage(), keys),
        ["method"] => return Some(Value::String(recipe.method.name.to_owned())),
        ["keep"] => return Value::try_from(recipe.keep).ok(),
        [table, path @ .., key] => {
            let method = METHODS.iter().find(|method| method.owns(table))?;
            let keys = match method == recipe.method {
                true => recipe.configured.keys(),
                false => (method.configure)(None).ok()?.keys(),
            };
            let mut table = &keys;
            for part in path {
                table = table.get(*part)?.as_table()?;
            }
            return table.get(*key).cloned();
        }
        _ => return None,
    };
    // A stage is not written with a smoothing of 0.
    if keys == ["smoothing"] {
        return Some(Value::Float(stage.smoothing));
    }
    let mut value = Value::try_from(stage).ok()?;
    for key in keys {
        value = value.get(*key)?.clone();
    }
    Some(value)
}

/// Removes the keys that `method` does not have.
pub(super) fn strip(document: &mut Table, method: &Method) {
    document.retain(|key, _| method.has_key(key));
    if let Some(Value::Table(stages)) = document.get_mut("stage") {
        stages.retain(|name, _| method.has_key(&format!("stage.{name}")));
    }
}

/// Sets `name` to `value`. A stage's own table of losses or dropout replaces the whole table for all
/// stages, so it is filled with the values in force first.
pub(super) fn set(document: &mut Table, name: &str, value: Value, method: &Method) -> Result<()> {
    let parts: Vec<&str> = name.split('.').collect();
    if let [scope @ .., whole @ ("losses" | "dropout"), _] = parts.as_slice() {
        let in_force = in_force(document, scope, whole, method)?;
        let table = table_at(document, name, &[scope, &[whole]].concat())?;
        if table.is_empty() {
            *table = in_force;
        }
    }
    let (last, path) = parts.split_last().expect("a path has a part");
    table_at(document, name, path)?.insert((*last).to_owned(), value);
    Ok(())
}

/// The table `whole`, losses or dropout, of a stage that does not write its own.
fn in_force(document: &Table, scope: &[&str], whole: &str, method: &Method) -> Result<Table> {
    let common = document.get("training").and_then(|training| training.get(whole));
    if let Some(Value::Table(common)) = common {
        return Ok(common.clone());
    }
    let stages = (method.stages)();
    let named = scope.last().filter(|_| scope.len() == 2);
    let stage = match named {
        Some(name) => stages.into_iter().find(|(stage, _)| stage == name),
        None => stages.into_iter().next(),
    };
    let stage = stage.map(|(_, layer)| layer).unwrap_or_default();
    Ok(match whole {
        "losses" => Table::try_from(stage.losses.unwrap_or_default())?,
        _ => Table::try_from(stage.dropout.unwrap_or_default())?,
    })
}

fn table_at<'a>(document: &'a mut Table, name: &str, path: &[&str]) -> Result<&'a mut Table> {
    let mut table = document;
    for part in path {
        let inner = table.entry(*part).or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(inner) = inner else {
            bail!(usage!("`space.\"{name}\"`: `{part}` of the recipe is not a table"));
        };
        table = inner;
    }
    Ok(table)
}
