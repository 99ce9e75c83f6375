//! Inputs of the numbers that changed, and warnings where that makes a comparison doubtful.

use std::collections::BTreeSet;

use super::super::numbers::{decimal, thousands};
use super::super::schema::{ModelManifest, Outcome, Report, TaskRow};
use super::{ManifestChange, Pair, Remark};

/// Every change, and the warnings that follow.
pub(super) fn changes(
    old: &Report,
    new: &Report,
    rows: &[Pair],
) -> (Vec<ManifestChange>, Vec<Remark>) {
    let mut found = Found::default();
    for (old, new) in rows {
        if let (Some(old), Some(new)) = (old, new) {
            found.row(old, new);
        } else if let (None, Some(new)) = (old, new) {
            let why = "it is not in the old report: there is nothing to compare with";
            found.warn(Some(&new.name()), why);
        }
    }
    for model in &new.manifest.models {
        let before = old.manifest.models.iter().find(|other| is_same_place(other, model));
        if let Some(before) = before {
            found.model(before, model);
        }
    }
    found.manifest(old, new);
    (found.changes, found.warnings)
}

fn is_same_place(one: &ModelManifest, other: &ModelManifest) -> bool {
    one.task == other.task && one.role == other.role
}

#[derive(Default)]
struct Found {
    changes: Vec<ManifestChange>,
    warnings: Vec<Remark>,
}

impl Found {
    /// Notes the change where there is one.
    fn change<T: ToString + PartialEq>(
        &mut self,
        what: &str,
        of: Option<&str>,
        old: Option<T>,
        new: Option<T>,
    ) -> bool {
        let differs = old != new;
        if differs {
            self.changes.push(ManifestChange {
                what: what.to_owned(),
                of: of.map(str::to_owned),
                old: old.map(|value| value.to_string()),
                new: new.map(|value| value.to_string()),
            });
        }
        differs
    }

    fn warn(&mut self, of: Option<&str>, message: impl Into<String>) {
        self.warnings.push(Remark { of: of.map(str::to_owned), message: message.into() });
    }

    fn row(&mut self, old: &TaskRow, new: &TaskRow) {
        let name = new.name();
        let of = Some(name.as_str());
        if (old.verdict == Outcome::Error) != (new.verdict == Outcome::Error) {
            let which = if old.verdict == Outcome::Error { "old" } else { "new" };
            return self.warn(of, format!("it could not be run in the {which} report"));
        }
        if self.change("data", of, old.data_sha256.as_ref(), new.data_sha256.as_ref()) {
            self.warn(of, "the data is not the same: what moved may be the data's doing");
        }
        if old.n != new.n {
            let (before, now) = (thousands(old.n), thousands(new.n));
            self.warn(of, format!("{now} examples were audited, and {before} before"));
        }
        for (which, row) in [("old", old), ("new", new)] {
            if row.ended_early() && old.examples_run != new.examples_run {
                let (taken, n) = (thousands(row.examples_run), thousands(row.n));
                let message = format!(
                    "the {which} report's run ended after {taken} of {n} examples: its figures are \
                     over those alone"
                );
                self.warn(of, message);
            }
        }
        if let (Some(before), Some(now)) = (old.kappa, new.kappa) {
            if before != now {
                let (before, now) = (decimal(before), decimal(now));
                let message = "the two verdicts differ in it";
                self.warn(of, format!("κ is {now}, and was {before}: {message}"));
            }
        }
        if self.change("device", of, Some(&old.device), Some(&new.device)) {
            self.warn(of, "it was run on another device");
        }
    }

    fn model(&mut self, old: &ModelManifest, new: &ModelManifest) {
        let of = Some(new.task.as_str());
        let mut is_other = false;
        for (what, before, now) in [
            ("weights", Some(&old.weights_sha256), Some(&new.weights_sha256)),
            ("tokenizer", old.tokenizer_sha256.as_ref(), new.tokenizer_sha256.as_ref()),
            ("config.json", old.config_sha256.as_ref(), new.config_sha256.as_ref()),
            ("head", old.head.as_ref(), new.head.as_ref()),
        ] {
            is_other |= self.change(&format!("{} {what}", new.role), of, before, now);
        }
        let length = format!("{} maximum length", new.role);
        is_other |= self.change(&length, of, old.max_length, new.max_length);
        if old.inputs.is_some() {
            let inputs = |model: &ModelManifest| model.inputs.as_ref().map(|it| it.join(", "));
            let what = format!("{} inputs", new.role);
            is_other |= self.change(&what, of, inputs(old), inputs(new));
        }
        if is_other && new.role == "teacher" {
            self.warn(of, "the teacher is not the same: σ is held against another reference");
        }
    }

    fn manifest(&mut self, old: &Report, new: &Report) {
        let (old, new) = (&old.manifest, &new.manifest);
        let hashes = (Some(&old.config_sha256), Some(&new.config_sha256));
        self.change("configuration in force", None, hashes.0, hashes.1);
        self.change("program version", None, Some(&old.version), Some(&new.version));
        if self.change("platform", None, Some(&old.platform), Some(&new.platform)) {
            let why = "the last digits of f32 may differ, and move σ by up to about 1e-6";
            self.warn(None, format!("the platform is not the same: {why}"));
        }
        self.change("type of the logits", None, Some(&old.dtype), Some(&new.dtype));
        let names: BTreeSet<&String> =
            old.conventions.keys().chain(new.conventions.keys()).collect();
        for name in names {
            let (before, now) = (old.conventions.get(name), new.conventions.get(name));
            if self.change(&format!("convention {name}"), None, before, now) {
                let why = "figures may mean another thing";
                self.warn(None, format!("the convention `{name}` is not the same: {why}"));
            }
        }
    }
}
