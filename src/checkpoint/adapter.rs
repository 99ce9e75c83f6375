//! Adapters of peft, which are not models: they change the weights of one.

use anyhow::{bail, Result};
use serde_json::Value;

use super::{json, CheckpointFiles, WEIGHTS};
use crate::error::failure;

/// The file that says that a folder holds an adapter.
pub(super) const CONFIG: &str = "adapter_config.json";

/// Kinds that put tokens before the text: no weights have their effect.
const OF_TOKENS: [&str; 5] =
    ["PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "ADAPTION_PROMPT"];

/// Fails if the folder holds an adapter, alone or beside weights. With peft installed, transformers
/// loads the adapter of such a folder onto its base model and ignores the weights beside it; without
/// peft it loads these weights.
///
/// # Errors
/// Says which it is, and how to merge it.
pub(super) fn refuse(place: &CheckpointFiles) -> Result<()> {
    let Some(file) = place.small(CONFIG)? else { return Ok(()) };
    let keys = json::object(&file)?;
    let text = |key: &str| keys.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let kind = text("peft_type");
    let shown = match kind {
        Some("LORA") => "a LoRA adapter".to_owned(),
        Some(kind) => format!("an adapter of the kind {kind}"),
        None => "an adapter".to_owned(),
    };
    let base = text("base_model_name_or_path");
    let of_base = base.map(|base| format!(" of `{base}`")).unwrap_or_default();
    let folder = place.name();
    let merge = match kind {
        Some(kind) if OF_TOKENS.contains(&kind) => format!(
            "weights cannot have the effect of {kind}: predict with peft, and gate the predictions \
             with `audit check`"
        ),
        _ => format!(
            "merge it with peft: `model = PeftModel.from_pretrained(AutoModelForSequenceClassification\
             .from_pretrained({:?}, num_labels=K), {folder:?}).merge_and_unload()`, \
             `model.save_pretrained(NEW)`, and save the tokenizer to NEW too",
            base.unwrap_or("BASE")
        ),
    };
    for weights in WEIGHTS {
        if place.has(weights)? {
            bail!(failure!(
                "`{folder}` holds weights (`{weights}`) and {shown}{of_base} (`{CONFIG}`), and which \
                 of the two a program runs depends on whether it has peft"
            )
            .hint(format!("{merge}; or remove {CONFIG} if the weights are the model")));
        }
    }
    bail!(failure!("`{folder}` is {shown}{of_base}, not a whole model: it holds `{CONFIG}`")
        .hint(merge))
}
