//! Failed requests to the Hub, and what the user can do.

use std::fmt;

use super::listing::ListedFile;
use super::{HubRepo, HubSettings};
use crate::error::{failure, Diagnostic};

/// A failed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HubError {
    /// The Hub answered with an error; `code` is its `X-Error-Code`.
    Status { status: u16, code: Option<String> },
    /// No answer: no network, no such host, refused, silent, broken off.
    Unreachable { reason: String },
    /// The answer arrives too slowly; `resumes` if much of it has arrived and another attempt would
    /// go on from there.
    TooSlow { reason: String, resumes: bool },
    /// The answer is not one of the Hub.
    NotTheHub { reason: String },
    /// Another process holds the file's lock in the cache.
    Locked { path: String },
    /// The download, or its partial file, is not the file.
    Corrupt { reason: String },
    /// The cache cannot be written.
    Disk { reason: String },
}

impl HubError {
    /// Whether the same request may succeed soon.
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            HubError::Status { status, .. } => matches!(status, 408 | 429 | 500..=599),
            HubError::Unreachable { reason } => {
                // No server: a retry would fail too.
                let lasting = ["refused", "host not found", "lookup address", "unreachable"];
                !lasting.iter().any(|word| reason.contains(word))
            }
            HubError::TooSlow { resumes, .. } => *resumes,
            HubError::Corrupt { .. } => true,
            HubError::NotTheHub { .. } | HubError::Locked { .. } | HubError::Disk { .. } => false,
        }
    }

    /// Whether what has arrived may be the start of the file.
    pub(super) fn leaves_a_part(&self) -> bool {
        matches!(self, HubError::Unreachable { .. } | HubError::TooSlow { .. })
    }

    /// Whether the Hub itself gave this answer, which the cache must not hide.
    pub(super) fn is_answer(&self) -> bool {
        matches!(self, HubError::Status { .. }) && !self.is_temporary()
    }

    /// The error that the user sees.
    pub(super) fn explain(
        &self,
        repo: &HubRepo,
        file: Option<&str>,
        settings: &HubSettings,
    ) -> anyhow::Error {
        let wanted = wanted(repo, file);
        let endpoint = settings.shown_endpoint();
        let failed = |what: &str| format!("cannot get {wanted}: {what}");
        match self {
            HubError::Status { status, code } => {
                explain_status(*status, code.as_deref(), repo, file, settings)
            }
            HubError::Unreachable { reason } => Diagnostic::failure(failed(&format!("`{endpoint}` cannot be reached: {reason}"))).hint("without a network, give a local folder, or set HF_HUB_OFFLINE=1 to use what is cached; HF_ENDPOINT names a mirror").into(),
            HubError::TooSlow { reason, .. } => Diagnostic::failure(failed(&format!("`{endpoint}` answers too slowly: {reason}"))).hint("run this again: a download is resumed; HF_HUB_DOWNLOAD_TIMEOUT is the number of seconds that are waited").into(),
            HubError::NotTheHub { reason } => Diagnostic::failure(failed(&format!("`{endpoint}` does not answer as the Hugging Face Hub does: {reason}"))).hint("check HF_ENDPOINT, and whether a proxy or a login page answers instead").into(),
            HubError::Locked { path } => Diagnostic::failure(failed(&format!("another process has been downloading it (lock `{path}`)"))).hint("wait for the other process to finish, then run this again").into(),
            HubError::Corrupt { reason } => Diagnostic::failure(failed(&format!("the data from `{endpoint}` is not the file: {reason}"))).hint("run this again; nothing of the failed download was kept").into(),
            HubError::Disk { reason } => Diagnostic::failure(failed(&format!("the cache `{}` cannot be written: {reason}", settings.cache_dir.display()))).hint("make room or set HF_HOME to a folder that can be written").into(),
        }
    }
}

impl fmt::Display for HubError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HubError::Status { status, code: None } => write!(formatter, "status {status}"),
            HubError::Status { status, code: Some(code) } => {
                write!(formatter, "status {status} ({code})")
            }
            HubError::Locked { path } => write!(formatter, "locked by `{path}`"),
            HubError::Unreachable { reason }
            | HubError::TooSlow { reason, .. }
            | HubError::NotTheHub { reason }
            | HubError::Corrupt { reason }
            | HubError::Disk { reason } => formatter.write_str(reason),
        }
    }
}

fn explain_status(
    status: u16,
    code: Option<&str>,
    repo: &HubRepo,
    file: Option<&str>,
    settings: &HubSettings,
) -> anyhow::Error {
    let wanted = wanted(repo, file);
    let (endpoint, kind, id) = (settings.shown_endpoint(), repo.kind, &repo.id);
    let access = if settings.token.is_some() {
        "the token in use (HF_TOKEN, or the file of `hf auth login`) gives no access to it"
    } else {
        "if it is private or gated, set HF_TOKEN to a token with access to it"
    };
    match (status, code) {
        (_, Some("GatedRepo")) | (403, _) => failure!("cannot get {wanted}: `{id}` is private or gated ({endpoint} answered {status})").hint(format!("{access}; accept its terms at {endpoint}/{id} first if it asks for that")).into(),
        (401, _) | (_, Some("RepoNotFound")) => failure!("cannot get {wanted}: there is no {kind} `{id}`, or it is private ({endpoint} answered {status})").hint(format!("check the id; {access}")).into(),
        (404, Some("RevisionNotFound")) => failure!("cannot get {wanted}: {kind} `{id}` has no revision `{}`", repo.revision()).hint("check the revision after the `@`: a branch, a tag or a whole commit id").into(),
        (404, _) => failure!("cannot get {wanted}: {endpoint} has nothing there (status 404)").hint(format!("check the id, the revision and, for a local folder, its path; {access}")).into(),
        (408 | 429 | 500..=599, _) => failure!("cannot get {wanted}: {endpoint} answers with status {status} for now").hint("try again later, give a local folder, or set HF_HUB_OFFLINE=1 to use what is cached").into(),
        _ => failure!("cannot get {wanted}: {endpoint} answered with status {status}").hint("check HF_ENDPOINT, or give a local folder").into(),
    }
}

/// A file that the repository does not have.
pub(super) fn no_such_file(repo: &HubRepo, file: &str, files: &[ListedFile]) -> anyhow::Error {
    const SHOWN: usize = 12;
    let error = failure!("{repo} has no file `{file}`");
    if files.is_empty() {
        return error.hint("it has no files").into();
    }
    let mut shown: Vec<&str> = files.iter().map(|it| &it.name[..]).take(SHOWN).collect();
    if files.len() > SHOWN {
        shown.push("…");
    }
    error.hint(format!("its {} files are {}", files.len(), shown.join(", "))).into()
}

/// A file that is not in the cache, while the Hub is not asked.
pub(super) fn not_cached(
    repo: &HubRepo,
    file: Option<&str>,
    because: &str,
    settings: &HubSettings,
) -> anyhow::Error {
    failure!(
        "{} is not in the cache `{}`, and the Hub was not asked: {because}",
        wanted(repo, file),
        settings.cache_dir.display()
    )
    .hint("run once with a network and without HF_HUB_OFFLINE, or give a local folder")
    .into()
}

fn wanted(repo: &HubRepo, file: Option<&str>) -> String {
    match file {
        Some(file) => format!("`{file}` of {repo}"),
        None => repo.to_string(),
    }
}
