//! Settings of the Hub: endpoint, cache, token.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// Retries after a temporary failure (a dropped connection, a 503).
const RETRIES: usize = 3;

/// As in Hugging Face's own tools.
const STALL: Duration = Duration::from_secs(10);

/// Longest time that `HF_HUB_DOWNLOAD_TIMEOUT` may set, in seconds.
const LONGEST_STALL: f64 = 3600.0;

/// Whether the Hub may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// Resolve revisions at the Hub, and download missing files.
    Online,
    /// Never connect: a missing file is an error (`HF_HUB_OFFLINE`).
    Offline,
}

/// The settings of the Hub, from the environment.
#[derive(Clone)]
pub struct HubSettings {
    /// The folder of `models--…` and `datasets--…` (`$HF_HUB_CACHE`, else `$HF_HOME/hub`).
    pub cache_dir: PathBuf,
    /// `$HF_TOKEN`, else the file that `hf auth login` writes. Never shown, not even by `Debug`.
    pub token: Option<String>,
    /// `$HF_ENDPOINT` without a final slash.
    pub endpoint: String,
    /// `$HF_HUB_OFFLINE`.
    pub connection: Connection,
    /// Retries after a temporary failure.
    pub retries: usize,
    /// Wait before the first retry; doubled for each further one.
    pub retry_pause: Duration,
    /// Time in which an answer must bring the bytes of a slow connection, 10 kB per second
    /// (`$HF_HUB_DOWNLOAD_TIMEOUT`, in seconds).
    pub stall: Duration,
}

impl HubSettings {
    /// Online, without a token, the public Hub, files under `cache_dir`.
    pub fn new(cache_dir: impl Into<PathBuf>) -> HubSettings {
        HubSettings {
            cache_dir: cache_dir.into(),
            token: None,
            endpoint: DEFAULT_ENDPOINT.to_owned(),
            connection: Connection::Online,
            retries: RETRIES,
            retry_pause: Duration::from_secs(1),
            stall: STALL,
        }
    }

    /// The settings of this process's environment, as in Hugging Face's own tools.
    pub fn from_env() -> HubSettings {
        HubSettings::from_variables(|name| std::env::var(name).ok(), std::env::home_dir())
    }

    /// The settings from `variable`. An empty variable counts as absent.
    ///
    /// Without a home folder the cache is in the working directory.
    pub fn from_variables(
        variable: impl Fn(&str) -> Option<String>,
        user_home: Option<PathBuf>,
    ) -> HubSettings {
        let get = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let either = |first: &str, second: &str| get(first).or_else(|| get(second));
        let user_home = user_home.unwrap_or_default();
        let hf_home = match (get("HF_HOME"), get("XDG_CACHE_HOME")) {
            (Some(home), _) => PathBuf::from(home),
            (None, Some(cache)) => PathBuf::from(cache).join("huggingface"),
            (None, None) => user_home.join(".cache").join("huggingface"),
        };
        let cache_dir = either("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")
            .map_or_else(|| hf_home.join("hub"), PathBuf::from);
        let token_file = get("HF_TOKEN_PATH").map_or_else(|| hf_home.join("token"), PathBuf::from);

        let mut settings = HubSettings::new(cache_dir);
        settings.token = either("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
            .or_else(|| std::fs::read_to_string(token_file).ok())
            .map(|token| token.trim().to_owned())
            .filter(|token| !token.is_empty());
        if let Some(endpoint) = get("HF_ENDPOINT") {
            settings.endpoint = endpoint.trim().trim_end_matches('/').to_owned();
        }
        let seconds = get("HF_HUB_DOWNLOAD_TIMEOUT").and_then(|value| value.trim().parse().ok());
        if let Some(seconds) = seconds.filter(|seconds: &f64| *seconds > 0.0) {
            settings.stall = Duration::from_secs_f64(seconds.clamp(0.001, LONGEST_STALL));
        }
        if either("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE").is_some_and(|value| is_true(&value)) {
            settings.connection = Connection::Offline;
        }
        settings
    }
}

fn is_true(value: &str) -> bool {
    matches!(value.trim().to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on")
}

impl HubSettings {
    /// The endpoint without a user's name and password, for messages.
    pub(super) fn shown_endpoint(&self) -> String {
        match Url::parse(&self.endpoint) {
            Ok(mut url) if !url.username().is_empty() || url.password().is_some() => {
                // Only an address without a host has none to remove.
                let _ = url.set_username("").and_then(|()| url.set_password(None));
                url.as_str().trim_end_matches('/').to_owned()
            }
            _ => self.endpoint.clone(),
        }
    }
}

impl fmt::Debug for HubSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("HubSettings")
            .field("cache_dir", &self.cache_dir)
            .field("token", &self.token.as_ref().map(|_| "(hidden)"))
            .field("endpoint", &self.shown_endpoint())
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn from(pairs: &[(&str, &str)]) -> HubSettings {
        let pairs: Vec<(String, String)> =
            pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let lookup = |name: &str| pairs.iter().find(|pair| pair.0 == name).map(|p| p.1.clone());
        HubSettings::from_variables(lookup, Some(PathBuf::from("/nobody")))
    }

    #[test]
    fn a_password_in_the_endpoint_is_not_shown() {
        for (endpoint, shown) in [
            ("https://user:secret@mirror:8443/hf", "https://mirror:8443/hf"),
            ("https://secret@mirror", "https://mirror"),
            ("http://mirror", "http://mirror"),
            ("no address", "no address"),
        ] {
            let settings = from(&[("HF_ENDPOINT", endpoint)]);
            assert_eq!(settings.shown_endpoint(), shown);
            assert!(!format!("{settings:?}").contains("secret"));
        }
    }

    #[test]
    fn without_variables_the_public_hub_is_cached_under_the_home_folder() {
        let settings = from(&[]);
        assert_eq!(settings.cache_dir, Path::new("/nobody/.cache/huggingface/hub"));
        assert_eq!(settings.endpoint, "https://huggingface.co");
        assert_eq!(settings.connection, Connection::Online);
        assert_eq!(settings.token, None);
    }

    #[test]
    fn each_variable_is_honoured() {
        assert_eq!(from(&[("HF_HOME", "/a")]).cache_dir, Path::new("/a/hub"));
        let both = from(&[("HF_HOME", "/a"), ("HF_HUB_CACHE", "/b")]);
        assert_eq!(both.cache_dir, Path::new("/b"));
        assert_eq!(from(&[("XDG_CACHE_HOME", "/x")]).cache_dir, Path::new("/x/huggingface/hub"));
        assert_eq!(from(&[("HF_ENDPOINT", "http://h:1/")]).endpoint, "http://h:1");
        assert_eq!(from(&[("HF_TOKEN", " t\n")]).token.as_deref(), Some("t"));
        for value in ["1", "true", "YES", "on"] {
            assert_eq!(from(&[("HF_HUB_OFFLINE", value)]).connection, Connection::Offline);
        }
        for (value, seconds) in [("30", 30), ("1e300", 3600), ("0", 10), ("soon", 10), ("nan", 10)]
        {
            let stall = from(&[("HF_HUB_DOWNLOAD_TIMEOUT", value)]).stall;
            assert_eq!(stall, Duration::from_secs(seconds), "{value}");
        }
        for value in ["0", "false", ""] {
            assert_eq!(from(&[("HF_HUB_OFFLINE", value)]).connection, Connection::Online);
        }
    }

    #[test]
    fn the_token_file_is_read_without_a_token_variable_and_is_never_shown() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("token"), "from-file\n").unwrap();
        let home = home.path().to_str().unwrap();
        let settings = from(&[("HF_HOME", home)]);
        assert_eq!(settings.token.as_deref(), Some("from-file"));
        assert!(!format!("{settings:?}").contains("from-file"));
        let settings = from(&[("HF_HOME", home), ("HF_TOKEN", "from-variable")]);
        assert_eq!(settings.token.as_deref(), Some("from-variable"));
    }
}
