//! Models that were saved inside of another module, which puts a prefix before every tensor's name.

use crate::error::{failure, Diagnostic};

/// Prefixes of wrappers. `model.` is also a part of ModernBERT's own names.
const WRAPPERS: [&str; 4] = ["module.", "_orig_mod.", "base_model.model.", MODEL];
const MODEL: &str = "model.";
/// What encoders are called inside of a classifier.
const ENCODERS: [&str; 5] = ["bert.", "roberta.", "electra.", "distilbert.", "deberta."];
/// Most wrappers around a model.
const DEEPEST: usize = 4;

/// Parts of names that peft writes for an adapter that is not merged.
const UNMERGED: [&str; 6] = [
    ".lora_A.",
    ".lora_B.",
    ".lora_embedding_A.",
    ".lora_magnitude_vector.",
    ".modules_to_save.",
    ".base_layer.",
];

/// The prefix of one or several wrappers that all `names` have; empty if there is none.
///
/// `module.` is of DataParallel and DistributedDataParallel, `_orig_mod.` of torch.compile,
/// `base_model.model.` of peft, and `model.` of a module that holds the model, such as Lightning's.
pub(super) fn common(names: &[&str]) -> String {
    let mut prefix = String::new();
    for _ in 0..DEEPEST {
        let inner: Vec<&str> = names.iter().map(|name| &name[prefix.len()..]).collect();
        let wraps = |wrapper: &&&str| match **wrapper {
            MODEL => holds_a_classifier(&inner),
            _ => true,
        };
        let longer = |name: &&str, wrapper: &str| {
            name.strip_prefix(wrapper).is_some_and(|inside| !inside.is_empty())
        };
        let all =
            |wrapper: &&&str| !inner.is_empty() && inner.iter().all(|name| longer(name, wrapper));
        match WRAPPERS.iter().find(|wrapper| all(wrapper) && wraps(wrapper)) {
            Some(wrapper) => prefix += wrapper,
            None => break,
        }
    }
    prefix
}

/// Whether `model.` is before a whole classifier, as in `model.bert.embeddings.…`, and not a part of
/// its names, as in ModernBERT's `model.embeddings.…`.
fn holds_a_classifier(names: &[&str]) -> bool {
    let inside = |name: &&str| -> Option<bool> {
        let (before, _) = name.strip_prefix(MODEL)?.split_once("embeddings.")?;
        Some(!before.is_empty())
    };
    names.iter().find_map(inside).unwrap_or(false)
}

/// The error of tensors that peft keeps apart from the weights that they change; `None` for others.
pub(super) fn unmerged_adapter(source: &str, names: &[&str]) -> Option<Diagnostic> {
    let part = |name: &&&str| UNMERGED.iter().any(|part| name.contains(part));
    let tensor = names.iter().find(part)?;
    Some(
        failure!(
            "`{source}` holds a model with an adapter that is not merged into its weights: `{tensor}`"
        )
        .hint(
            "merge it with peft and save the result: `model = model.merge_and_unload(); \
             model.save_pretrained(FOLDER)`",
        ),
    )
}

/// What to do if `missing` is there under a longer name, which is given.
pub(super) fn hint_of_longer_name<'a>(
    mut names: impl Iterator<Item = &'a str>,
    missing: &str,
) -> Option<String> {
    let end = format!(".{missing}");
    let found = names.find(|name| name.ends_with(&end))?;
    if ENCODERS.contains(&&found[..found.len() - missing.len()]) {
        return Some(format!(
            "it holds `{found}`: the weights are of another architecture than config.json says; add \
             the right config.json"
        ));
    }
    Some(format!(
        "it holds `{found}`: the model was saved inside of another module; save the inner model alone, \
         with its own save_pretrained"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappers_of_every_name_are_found_one_in_another() {
        for (names, prefix) in [
            (&["module.bert.embeddings.w", "module.classifier.weight"][..], "module."),
            (&["_orig_mod.module.embeddings.w", "_orig_mod.module.a"], "_orig_mod.module."),
            (&["base_model.model.bert.a", "base_model.model.classifier.b"], "base_model.model."),
            (&["model.bert.embeddings.w", "model.classifier.weight"], "model."),
            (&["model._orig_mod.bert.embeddings.w", "model._orig_mod.c"], "model._orig_mod."),
            (&["model.model.embeddings.w", "model.head.dense.weight"], "model."),
            // ModernBERT's own names, names that only some tensors share, and no names.
            (&["model.embeddings.w", "model.layers.0.a"], ""),
            (&["model.bert.embeddings.w", "loss.weight"], ""),
            (&["module.bert.a", "bert.b"], ""),
            (&["module."], ""),
            (&[], ""),
        ] {
            assert_eq!(common(names), prefix, "{names:?}");
        }
    }

    #[test]
    fn a_longer_name_of_a_missing_tensor_is_given() {
        let names = ["loss.weight", "net.bert.pooler.dense.weight"];
        let hint = hint_of_longer_name(names.into_iter(), "bert.pooler.dense.weight").unwrap();
        assert!(hint.contains("`net.bert.pooler.dense.weight`"), "{hint}");
        assert_eq!(hint_of_longer_name(names.into_iter(), "ooler.dense.weight"), None);
        let other = ["roberta.embeddings.position_ids"].into_iter();
        let hint = hint_of_longer_name(other, "embeddings.position_ids").unwrap();
        assert!(hint.contains("another architecture"), "{hint}");
    }
}
