//! Screenshots in the folder `AUDIT_TEST_SCREENSHOTS`, if it is set.

use std::path::PathBuf;

use serde_json::json;

use super::driver::Browser;

/// Rows of pixels that Chromium draws at once.
const MOST_ROWS: u64 = 16_000;

fn folder() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("AUDIT_TEST_SCREENSHOTS")?);
    std::fs::create_dir_all(&folder).unwrap();
    Some(folder)
}

/// Writes a file into the folder, if there is one.
pub fn keep(name: &str, bytes: &[u8]) {
    if let Some(folder) = folder() {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
}

/// Writes the whole page that is shown as `NAME.png`, a long one as `NAME.png`, `NAME-2.png` …
pub fn photograph(browser: &Browser, name: &str) {
    if folder().is_none() {
        return;
    }
    let height = browser.run("return document.documentElement.scrollHeight", json!([]));
    let height = height.as_u64().unwrap();
    for (part, top) in (0..height).step_by(MOST_ROWS as usize).enumerate() {
        let number = if part == 0 { String::new() } else { format!("-{}", part + 1) };
        keep(&format!("{name}{number}.png"), &browser.png(top, MOST_ROWS.min(height - top)));
    }
}
