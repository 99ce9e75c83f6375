//! docs/architecture.md and CONTRIBUTING.md name existing files, and list the modules in order.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// The paths that a page names: words that begin with a folder of the repository.
fn paths(page: &str) -> Vec<String> {
    let folders =
        ["src/", "tests/", "docs/", "configs/", "scripts/", "assets/", "benches/", ".ci/"];
    let word = |c: char| c.is_alphanumeric() || "/._-".contains(c);
    page.split(|c: char| !word(c))
        .filter(|it| folders.iter().any(|folder| it.starts_with(folder)))
        .map(|it| it.trim_end_matches(['.', '/']).to_owned())
        .filter(|it| !it.contains("NAME"))
        .collect()
}

#[test]
fn every_path_in_the_developer_docs_exists() {
    for page in ["CONTRIBUTING.md", "docs/architecture.md"] {
        let named = paths(&read(page));
        assert!(named.len() > 15, "{page}: {named:?}");
        for path in named {
            assert!(root().join(&path).exists(), "{page} names `{path}`, which does not exist");
        }
    }
}

#[test]
fn the_architecture_page_lists_the_modules_in_order() {
    let lib = read("src/lib.rs");
    let module = |line: &str| Some(line.strip_prefix("pub mod ")?.strip_suffix(';')?.to_owned());
    let modules: Vec<_> = lib.lines().filter_map(module).collect();
    let page = read("docs/architecture.md");
    let table = page.split("## Modules").nth(1).unwrap().split("\n## ").next().unwrap();
    let module_of_row = |line: &str| Some(line.strip_prefix("| ")?.split(' ').next()?.to_owned());
    let listed: Vec<_> =
        table.lines().filter_map(module_of_row).filter(|it| it != "module").collect();
    assert_eq!(listed, modules);
}
