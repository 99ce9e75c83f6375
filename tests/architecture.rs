//! Module dependencies: a module uses only those that src/lib.rs lists before it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Uses that point upwards all the same, as `user -> used`; each needs a reason here.
const EXCEPTIONS: [&str; 0] = [];

/// The modules of src/lib.rs, lowest first.
fn rooms() -> Vec<String> {
    let source = fs::read_to_string(src().join("lib.rs")).unwrap();
    let named = |line: &str| Some(line.strip_prefix("pub mod ")?.strip_suffix(';')?.to_owned());
    source.lines().filter_map(named).collect()
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => sources(&path, found),
            false if path.extension().is_some_and(|it| it == "rs") => found.push(path),
            false => {}
        }
    }
}

/// The room that a file of src belongs to; `None` for main.rs and lib.rs, which use them all.
fn room_of(path: &Path) -> Option<String> {
    let relative = path.strip_prefix(src()).unwrap();
    let first = relative.components().next()?.as_os_str().to_str()?;
    let room = first.strip_suffix(".rs").unwrap_or(first);
    (!["main", "lib"].contains(&room)).then(|| room.to_owned())
}

/// Modules of tests alone may look anywhere: those after `#[cfg(test)]`, and files that only tests
/// include.
fn is_test_file(path: &Path) -> bool {
    let names = ["tests", "testing", "samples", "races", "fake", "simulation"];
    let relative = path.strip_prefix(src()).unwrap();
    relative.iter().filter_map(|part| part.to_str()).any(|part| {
        let part = part.strip_suffix(".rs").unwrap_or(part);
        names.contains(&part)
    })
}

/// The code of a file with its comments blanked, up to its first inline module of tests.
fn product_code(source: &str) -> String {
    let code = source.split("\nmod tests {").next().unwrap();
    let blank = |line: &str| match line.find("//") {
        Some(at) => line[..at].to_owned(),
        None => line.to_owned(),
    };
    code.lines().map(blank).collect::<Vec<_>>().join("\n")
}

/// Every room that `code` names behind `crate::`, with the line: `crate::room`, `use crate::{a, b}`.
fn uses(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let whole = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$');
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + "crate::".len()..];
        let names = match rest.strip_prefix('{') {
            Some(group) => names_of_group(group),
            None => vec![identifier(rest)],
        };
        found.extend(names.into_iter().filter(|_| whole).map(|name| (line, name)));
    }
    found
}

/// The first part of each path in `{a::b, c::{d, e}, f}`, whose opening brace is already taken.
fn names_of_group(group: &str) -> Vec<String> {
    let (mut depth, mut names, mut begins) = (0, Vec::new(), true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            c if begins && !c.is_whitespace() => {
                names.push(identifier(&group[at..]));
                begins = false;
            }
            _ => {}
        }
    }
    names
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Each use of a room that is not listed before its user, as `user -> used (file:line)`.
fn upward(rooms: &[String], user: &str, file: &str, code: &str) -> Vec<(String, String)> {
    let rank = |room: &str| rooms.iter().position(|it| it == room);
    let own = rank(user).unwrap_or_else(|| panic!("{file} is in no room of src/lib.rs"));
    let above = |(line, used): (usize, String)| {
        let edge = format!("{user} -> {used}");
        (rank(&used)? > own).then(|| (edge.clone(), format!("{edge} ({file}:{line})")))
    };
    uses(code).into_iter().filter_map(above).collect()
}

#[test]
fn a_room_uses_only_the_rooms_listed_before_it() {
    let rooms = rooms();
    assert!(rooms.len() > 20, "{rooms:?}");
    let mut files = Vec::new();
    sources(&src(), &mut files);
    let (mut seen, mut wrong) = (BTreeSet::new(), Vec::new());
    for path in files.iter().filter(|path| !is_test_file(path)) {
        let Some(room) = room_of(path) else { continue };
        let file = path.strip_prefix(src()).unwrap().display().to_string();
        let code = product_code(&fs::read_to_string(path).unwrap());
        for (edge, place) in upward(&rooms, &room, &file, &code) {
            match EXCEPTIONS.contains(&edge.as_str()) {
                true => drop(seen.insert(edge)),
                false => wrong.push(place),
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "modules use modules listed after them in src/lib.rs:\n  {}",
        wrong.join("\n  ")
    );
    let unused: Vec<_> = EXCEPTIONS.iter().filter(|edge| !seen.contains(**edge)).collect();
    assert!(unused.is_empty(), "exceptions that are no longer needed: {unused:?}");
}

#[test]
fn every_form_of_an_upward_use_is_found() {
    let rooms = ["low", "middle", "high"].map(str::to_owned);
    for code in [
        "use crate::high::Thing;",
        "use crate::{low::A, high};",
        "use crate::{\n    low::{a, b},\n    high::C,\n};",
        "fn f() { crate::high::g() }",
        "pub use crate::high::*;",
    ] {
        assert_eq!(upward(&rooms, "middle", "middle.rs", code).len(), 1, "{code}");
        assert!(upward(&rooms, "high", "high.rs", code).is_empty(), "{code}");
    }
    let tested =
        "use crate::low::A;\n// crate::high\n#[cfg(test)]\nmod tests {\n use crate::high;\n}";
    assert!(upward(&rooms, "middle", "middle.rs", &product_code(tested)).is_empty());
}

/// Names that may be declared more than once; each needs a reason here.
const DOUBLES: [&str; 0] = [];

/// The types that `code` declares at its top level, aliases among them.
fn declared_types(code: &str) -> Vec<String> {
    let name = |line: &str| {
        let item = match line.strip_prefix("pub(") {
            Some(rest) => rest.split_once(") ")?.1,
            None => line.strip_prefix("pub ").unwrap_or(line),
        };
        let kinds = ["struct ", "enum ", "trait ", "type "];
        kinds.iter().find_map(|kind| item.strip_prefix(kind)).map(identifier)
    };
    code.lines().filter_map(name).collect()
}

#[test]
fn type_names_are_unique() {
    let mut files = Vec::new();
    sources(&src(), &mut files);
    let mut declared: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in files.iter().filter(|path| !is_test_file(path)) {
        let file = path.strip_prefix(src()).unwrap().display().to_string();
        let code = product_code(&fs::read_to_string(path).unwrap());
        for name in declared_types(&code) {
            declared.entry(name).or_default().push(file.clone());
        }
    }
    assert!(declared.len() > 300, "{}", declared.len());
    declared.retain(|_, files| files.len() > 1);
    let allowed = |name: &String| DOUBLES.contains(&name.as_str());
    let wrong: Vec<_> = declared.iter().filter(|(name, _)| !allowed(name)).collect();
    assert!(wrong.is_empty(), "declared more than once: {wrong:#?}");
    let unused: Vec<_> = DOUBLES.iter().filter(|name| !declared.contains_key(**name)).collect();
    assert!(unused.is_empty(), "exceptions that are no longer needed: {unused:?}");
}

#[test]
fn every_form_of_a_declaration_is_found() {
    let code =
        "struct A;\npub struct B<T>(T);\npub(crate) enum C {}\npub(in crate::x) trait D {}\n\
                type E = u8;\nimpl D for A {\n    type Output = ();\n}\npub use x::struct_like;";
    assert_eq!(declared_types(code), ["A", "B", "C", "D", "E"]);
}
