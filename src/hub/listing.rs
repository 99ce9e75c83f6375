//! The Hub's answer about a repository: its commit and its files.

use serde::Deserialize;

use super::content::{Content, ContentHash};
use super::failure::HubError;
use super::repo::{is_commit, is_safe_path};
use super::HubRepo;

/// Bytes of the largest listing: some sixty thousand files.
pub(super) const LARGEST: usize = 16 << 20;

/// A repository at one commit.
#[derive(Debug)]
pub(super) struct Listing {
    pub commit: String,
    pub files: Vec<ListedFile>,
}

/// One file of it.
#[derive(Debug, Clone)]
pub(super) struct ListedFile {
    /// The path in the repository, which is safe to use below a folder.
    pub name: String,
    /// `None` where the Hub's answer lacks it, as those of some mirrors do.
    pub content: Option<Content>,
}

#[derive(Deserialize)]
struct Info {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<LargeFile>,
}

#[derive(Deserialize)]
struct LargeFile {
    sha256: Option<String>,
}

impl Listing {
    /// Reads the JSON of `…/revision/REVISION?blobs=true`. Files whose names could leave a folder
    /// are left out.
    pub(super) fn parse(json: &[u8], repo: &HubRepo) -> Result<Listing, HubError> {
        let not_the_hub = |reason| Err(HubError::NotTheHub { reason });
        let info: Info = match serde_json::from_slice(json) {
            Ok(info) => info,
            Err(error) => return not_the_hub(error.to_string()),
        };
        if !is_commit(&info.sha) {
            return not_the_hub(format!("`{}` is not a commit", info.sha));
        }
        if is_commit(repo.revision()) && !info.sha.eq_ignore_ascii_case(repo.revision()) {
            return not_the_hub(format!("it lists the commit `{}`", info.sha));
        }
        let safe = info.siblings.into_iter().filter(|sibling| is_safe_path(&sibling.rfilename));
        Ok(Listing { commit: info.sha, files: safe.map(Sibling::listed).collect() })
    }
}

impl Sibling {
    fn listed(self) -> ListedFile {
        // A large file's blob in Git is only a pointer to it.
        let hash = match self.lfs {
            Some(large) => large.sha256,
            None => self.blob_id,
        };
        let hash = hash.as_deref().and_then(ContentHash::parse);
        let content = hash.map(|hash| Content { hash, size: self.size });
        ListedFile { name: self.rfilename, content }
    }
}
