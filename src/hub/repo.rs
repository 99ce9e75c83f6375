//! The name of a repository on the Hub.

use std::fmt;

use anyhow::bail;

use crate::error::usage;

/// The kind of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RepoKind {
    /// A checkpoint.
    Model,
    /// A data set.
    Dataset,
}

impl RepoKind {
    pub(super) fn hf(self) -> hf_hub::RepoType {
        match self {
            RepoKind::Model => hf_hub::RepoType::Model,
            RepoKind::Dataset => hf_hub::RepoType::Dataset,
        }
    }
}

impl fmt::Display for RepoKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            RepoKind::Model => "model",
            RepoKind::Dataset => "dataset",
        })
    }
}

/// One repository at one revision.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HubRepo {
    /// Model or data set.
    pub kind: RepoKind,
    /// `name` or `owner/name`.
    pub id: String,
    /// A branch, a tag or a commit; `None` is `main`.
    pub revision: Option<String>,
}

impl HubRepo {
    /// Reads `id` or `id@revision`.
    ///
    /// # Errors
    /// A usage error for an invalid id or revision.
    pub fn parse(kind: RepoKind, text: &str) -> anyhow::Result<HubRepo> {
        let (id, revision) = match text.split_once('@') {
            Some((id, revision)) => (id, Some(revision)),
            None => (text, None),
        };
        if !is_id(id) {
            bail!(usage!("`{id}` is not a {kind} id of the Hub")
                .hint("an id is `name` or `owner/name`, with `@revision` after it if wanted"));
        }
        if let Some(revision) = revision.filter(|revision| !is_safe_path(revision)) {
            bail!(usage!("`{revision}` is not a revision of {kind} `{id}`").hint(format!(
                "a revision is a branch, a tag or a commit, for example `{id}@main`"
            )));
        }
        Ok(HubRepo { kind, id: id.to_owned(), revision: revision.map(str::to_owned) })
    }

    /// The revision, `main` by default.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }

    /// Its address on the Hub, in parts.
    pub(super) fn web_path(&self) -> impl Iterator<Item = &str> {
        let kind = match self.kind {
            RepoKind::Model => None,
            RepoKind::Dataset => Some("datasets"),
        };
        kind.into_iter().chain(self.id.split('/'))
    }

    /// The address of its listing, in parts.
    pub(super) fn api_path(&self) -> impl Iterator<Item = &str> {
        let kind = match self.kind {
            RepoKind::Model => "models",
            RepoKind::Dataset => "datasets",
        };
        let revision = ["revision", self.revision()];
        ["api", kind].into_iter().chain(self.id.split('/')).chain(revision)
    }

    /// This repository at another revision.
    pub(super) fn at(&self, revision: &str) -> hf_hub::Repo {
        hf_hub::Repo::with_revision(self.id.clone(), self.kind.hf(), revision.to_owned())
    }
}

impl fmt::Display for HubRepo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} `{}` at revision `{}`", self.kind, self.id, self.revision())
    }
}

/// Whether `text` is a valid repository id: `name` or `owner/name`.
pub fn is_id(text: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && part.len() <= 96 // the Hub's own limit
            && !part.starts_with(['.', '-'])
            && !part.contains("..")
            && !part.contains("--") // the cache's separator
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    let parts: Vec<&str> = text.split('/').collect();
    parts.len() <= 2 && parts.into_iter().all(is_part)
}

/// Bytes of the longest path of a file, or of the longest revision.
const LONGEST_PATH: usize = 1024;

/// Whether an external name may be used as a path under the cache: relative, and never upwards.
pub(super) fn is_safe_path(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= LONGEST_PATH
        && !name.contains(['\\', ':', '?', '#'])
        && !name.chars().any(|c| c.is_control() || c.is_whitespace())
        && name.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

/// Whether a revision is a whole commit id, which never changes.
pub(super) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{exit_code, rendered, Exit};

    #[test]
    fn an_id_may_have_a_revision() {
        let repo = HubRepo::parse(RepoKind::Model, "owner/name@refs/pr/1").unwrap();
        assert_eq!((repo.id.as_str(), repo.revision()), ("owner/name", "refs/pr/1"));
        let repo = HubRepo::parse(RepoKind::Model, "bert-base-uncased").unwrap();
        assert_eq!((repo.id.as_str(), repo.revision()), ("bert-base-uncased", "main"));
        assert_eq!(repo.to_string(), "model `bert-base-uncased` at revision `main`");
    }

    #[test]
    fn names_that_could_leave_the_cache_are_refused() {
        let ids =
            ["", "a/b/c", "../x", "a/..", "/a", "a/", "a b", "a@", "a@../x", "a@x y", "C:\\x"];
        for text in ids {
            let error = HubRepo::parse(RepoKind::Dataset, text).unwrap_err();
            assert_eq!(exit_code(&error), Exit::Usage, "{text}");
            assert!(rendered(&error).contains("\n  hint: "), "{text}");
        }
    }
}
