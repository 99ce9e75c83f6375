//! README.md and docs/ match the program: examples run, flags exist, links lead somewhere.
//!
//! - A ```console block is a session: the lines after `$ ` are run with the built binary in one
//!   temporary folder, and the block must show what they print, stderr included. A line `…` stands
//!   for any number of lines, `$ echo $?` for the exit code of the command before it, and
//!   `cargo run --release --` for `audit`.
//! - A block whose paragraph ends with a file's name, as in "`reviews.toml`:", is that file.
//! - A ```sh or ```yaml block needs models that are not here: its commands must parse.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{CommandFactory, Parser};
use confidence_audit::check::Code;
use confidence_audit::cli::Cli;
use confidence_audit::error::Exit;

/// A line that stands for any number of lines.
const ELLIPSIS: &str = "…";
/// What a newcomer types in place of `audit`.
const CARGO_RUN: &str = "cargo run --release -- ";
/// The documents whose sessions are run.
const RUN: [&str; 2] = ["README.md", "docs/reference.md"];
/// Where flags, formats, exit codes, notes and warnings are listed.
const REFERENCE: &str = "docs/reference.md";

/// A fenced block.
struct Block {
    language: String,
    /// 1-based, of the opening fence.
    line: usize,
    /// The last line of text before it.
    before: String,
    lines: Vec<String>,
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn blocks(markdown: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut before = String::new();
    let mut lines = markdown.lines().enumerate();
    while let Some((i, line)) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            if !line.trim().is_empty() {
                before = line.to_owned();
            }
            continue;
        };
        let body = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
        blocks.push(Block {
            language: language.to_owned(),
            line: i + 1,
            before: std::mem::take(&mut before),
            lines: body.map(str::to_owned).collect(),
        });
    }
    blocks
}

/// The text without its fenced blocks.
fn prose(markdown: &str) -> String {
    markdown.split("```").step_by(2).collect()
}

impl Block {
    /// The file that the block shows, where the text before it names one.
    fn file(&self) -> Option<&str> {
        let text = self.before.strip_suffix("`:")?;
        text.rsplit('`').next().filter(|name| name.contains('.'))
    }

    /// Commands with what is shown below each.
    fn session(&self) -> Vec<(String, Vec<String>)> {
        let mut session: Vec<(String, Vec<String>)> = Vec::new();
        for line in &self.lines {
            match (line.strip_prefix("$ "), session.last_mut()) {
                (Some(command), _) => session.push((command.to_owned(), Vec::new())),
                (None, Some((_, shown))) => shown.push(line.clone()),
                (None, None) => panic!("line {}: output before any command", self.line),
            }
        }
        session
    }

    /// The command lines of a script that call `audit`, as words.
    fn calls(&self) -> Vec<Vec<String>> {
        let script = self.lines.join("\n").replace("\\\n", " ");
        let calls = script.lines().filter_map(|line| {
            let line = line.trim().trim_start_matches("- ");
            let line = line.strip_prefix("run: ").unwrap_or(line).replace(CARGO_RUN, "audit ");
            line.starts_with("audit ").then(|| words(&line))
        });
        calls.collect()
    }
}

/// Splits a line as a shell does, as far as these examples need it.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in line.chars() {
        match (c, quote) {
            ('#', None) if word.is_empty() => break,
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (c, None) if c.is_whitespace() => words.push(std::mem::take(&mut word)),
            (c, _) => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// Whether `printed` is what `shown` shows, with [`ELLIPSIS`] for any number of lines.
fn matches(printed: &[&str], shown: &[&str]) -> bool {
    match (printed, shown) {
        (_, [ELLIPSIS, rest @ ..]) => {
            (0..=printed.len()).any(|skipped| matches(&printed[skipped..], rest))
        }
        ([first, printed @ ..], [wanted, shown @ ..]) => {
            first.trim_end() == wanted.trim_end() && matches(printed, shown)
        }
        (printed, []) => printed.is_empty(),
        ([], _) => false,
    }
}

/// What `command` prints on stdout and stderr, and its exit code.
#[cfg(unix)]
fn run(command: &str, folder: &Path) -> (String, i32) {
    let binary = Path::new(env!("CARGO_BIN_EXE_audit"));
    let mut path = binary.parent().unwrap().as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let output = Command::new("sh")
        .args(["-c", &format!("{{ {command}\n}} 2>&1")])
        .current_dir(folder)
        .env("PATH", path)
        .env("COLUMNS", "80")
        .env("HF_HUB_OFFLINE", "1")
        .env("HF_HOME", folder.join("hub"))
        .output()
        .expect("there is a shell");
    let text = String::from_utf8(output.stdout).expect("the report is UTF-8");
    (text, output.status.code().expect("the command was not killed"))
}

/// Runs the sessions of a document in one temporary folder and returns how many commands ran.
#[cfg(unix)]
fn run_sessions(document: &str) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let mut code = None;
    let mut commands = 0;
    for block in blocks(&read(document)) {
        if let Some(name) = block.file() {
            std::fs::write(folder.path().join(name), block.lines.join("\n") + "\n").unwrap();
        }
        if block.language != "console" {
            continue;
        }
        for (command, shown) in block.session() {
            let printed = match (command.as_str(), code) {
                ("echo $?", Some(code)) => format!("{code}"),
                ("echo $?", None) => panic!("{document}:{}: no command before it", block.line),
                (command, _) => {
                    let command = command.replace(CARGO_RUN, "audit ");
                    let (printed, status) = run(&command, folder.path());
                    code = Some(status);
                    commands += 1;
                    printed
                }
            };
            let lines: Vec<&str> = printed.lines().collect();
            let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
            assert!(
                matches(&lines, &shown),
                "{document}:{}: `{command}` shows\n{}\nand prints\n{printed}",
                block.line,
                shown.join("\n"),
            );
        }
    }
    commands
}

#[cfg(unix)]
#[test]
fn console_examples_print_what_they_show() {
    let commands: usize = RUN.iter().map(|document| run_sessions(document)).sum();
    assert!(commands >= 6, "only {commands} commands were run");
}

#[test]
fn commands_that_need_models_parse() {
    let mut calls = 0;
    let others = ["docs/pipelines.md", "docs/distillation.md", "docs/tuning.md"];
    for document in RUN.into_iter().chain(others) {
        for block in blocks(&read(document)) {
            if !matches!(block.language.as_str(), "sh" | "yaml") {
                continue;
            }
            for call in block.calls() {
                if let Err(error) = Cli::try_parse_from(&call) {
                    panic!("{document}:{}: `{}`: {error}", block.line, call.join(" "));
                }
                calls += 1;
            }
        }
    }
    assert!(calls >= 25, "only {calls} commands were parsed");
}

/// The code in the first column of the tables under `## heading` of the reference, cell by cell.
fn first_column(heading: &str) -> Vec<String> {
    let reference = read(REFERENCE);
    let section = reference.split(&format!("\n## {heading}\n")).nth(1);
    let section = section.unwrap_or_else(|| panic!("{REFERENCE} has no section `{heading}`"));
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with('|'));
    rows.map(|row| row.split('|').nth(1).unwrap_or_default().trim().to_owned()).collect()
}

/// What stands in backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// `--kappa` and the like in the table of flags.
fn flags_of_the_table() -> BTreeSet<String> {
    let cells = first_column("Flags");
    let flags = cells.iter().filter(|cell| cell.starts_with("`-")).flat_map(|cell| code(cell));
    flags.map(|code| code.split(' ').next().unwrap_or_default().to_owned()).collect()
}

/// Every flag of `audit` and of its subcommands, but for help and version.
fn flags_of_the_program() -> BTreeSet<String> {
    let cli = Cli::command();
    let commands = std::iter::once(&cli).chain(cli.get_subcommands());
    let arguments = commands.flat_map(|command| command.get_arguments());
    let names = arguments.flat_map(|argument| {
        let long = argument.get_long().map(|long| format!("--{long}"));
        let short = argument.get_short().map(|short| format!("-{short}"));
        long.into_iter().chain(short)
    });
    let automatic = ["--help", "--version", "-h", "-V"];
    names.filter(|name| !automatic.contains(&name.as_str())).collect()
}

#[test]
fn the_table_of_flags_is_the_program_s() {
    assert_eq!(flags_of_the_table(), flags_of_the_program());
}

#[test]
fn the_table_of_formats_is_the_program_s() {
    let command = Cli::command();
    let format = command.get_arguments().find(|argument| argument.get_id() == "format");
    let values = format.expect("`audit` has --format").get_possible_values();
    let values: BTreeSet<String> = values.iter().map(|value| value.get_name().to_owned()).collect();
    let cells = first_column("Formats");
    let listed = cells.iter().flat_map(|cell| code(cell)).filter(|name| !name.starts_with('-'));
    assert_eq!(listed.map(str::to_owned).collect::<BTreeSet<_>>(), values);
}

#[test]
fn the_table_of_exit_codes_is_the_program_s() {
    let codes =
        [Exit::Preserved, Exit::NotPreserved, Exit::Usage, Exit::CouldNotRun, Exit::Interrupted];
    let codes: Vec<String> = codes.iter().map(|code| (*code as u8).to_string()).collect();
    assert_eq!(first_column("Exit codes")[2..], codes);
    let readme = read("README.md");
    for code in &codes[..4] {
        assert!(readme.contains(&format!("\n| {code} | ")), "README.md has no exit code {code}");
    }
}

/// The codes that the sources of a folder write out.
fn written_codes(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(written_codes(&path));
        } else {
            let source = std::fs::read_to_string(&path).unwrap();
            let codes = source.split(" code: \"").skip(1);
            found.extend(codes.map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
    }
    found
}

#[test]
fn every_code_of_a_note_is_explained() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let strays = written_codes(&src);
    assert!(strays.is_empty(), "{strays:?} belong into `Code`");
    for document in [REFERENCE, "docs/glossary.md"] {
        let text = read(document);
        let named = |line: &&str| line.starts_with("| `") || line.starts_with("### `");
        let named: String = text.lines().filter(named).collect();
        for code in Code::ALL {
            assert!(named.contains(&format!("`{code}`")), "{document} does not list `{code}`");
        }
    }
}

/// Markdown files for users, relative to the repository's root.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut documents: Vec<_> = docs
        .chain(["README.md", "CHANGELOG.md", "CONTRIBUTING.md"].map(|name| root.join(name)))
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    documents.sort();
    documents
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    heading.chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn relative_links_lead_to_files_and_headings() {
    let mut links = 0;
    for document in documents() {
        let text = prose(&std::fs::read_to_string(&document).unwrap());
        for link in text.split("](").skip(1) {
            let link = link.split([')', ' ']).next().unwrap_or_default();
            let (target, heading) = link.split_once('#').unwrap_or((link, ""));
            if link.is_empty() || link.contains("://") {
                continue;
            }
            let path = match target {
                "" => document.clone(),
                target => document.parent().unwrap().join(target),
            };
            assert!(path.exists(), "{}: there is no `{target}`", document.display());
            if !heading.is_empty() {
                let text = prose(&std::fs::read_to_string(&path).unwrap());
                let mut headings = text.lines().filter(|line| line.starts_with('#'));
                assert!(
                    headings.any(|line| anchor(line) == heading),
                    "{}: `{}` has no heading `#{heading}`",
                    document.display(),
                    path.display(),
                );
            }
            links += 1;
        }
    }
    assert!(links >= 100, "only {links} links were followed");
}

#[test]
fn an_ellipsis_matches_any_lines_and_nothing_else_does() {
    let printed = ["a", "b", "c"];
    for shown in
        [&["a", "b", "c"][..], &["a", ELLIPSIS], &[ELLIPSIS, "c"], &["a", ELLIPSIS, "b", "c"]]
    {
        assert!(matches(&printed, shown), "{shown:?}");
    }
    for shown in [&["a", "b"][..], &["b", ELLIPSIS], &["a", ELLIPSIS, "b"], &[]] {
        assert!(!matches(&printed, shown), "{shown:?}");
    }
}
