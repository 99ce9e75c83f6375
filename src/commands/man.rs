//! `audit man`: manual pages, generated from the command line definition.

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_mangen::roff::{bold, roman, Roff};
use clap_mangen::Man;

use super::print;
use crate::cli::{Cli, ManArgs};
use crate::error::Exit;
use crate::temporary::write_whole;
use crate::terminal::write_line;

/// Exit codes and their meanings.
const EXIT_STATUS: [(Exit, &str); 5] = [
    (Exit::Preserved, "The student keeps its teacher's confidence, or the command succeeded."),
    (
        Exit::NotPreserved,
        "Not preserved on at least one gating split; a regression; a report that differs; or a cache \
         entry is damaged.",
    ),
    (Exit::Usage, "The command line or the config is wrong. Nothing was run."),
    (
        Exit::CouldNotRun,
        "At least one audit could not be carried out, other tasks of a suite were; or a report cannot \
         be compared or verified.",
    ),
    (Exit::Interrupted, "Interrupted with Ctrl-C."),
];

/// Prints the page of `audit`, or writes one page per command into a folder.
pub fn run(args: &ManArgs) -> Result<Exit> {
    let pages = pages();
    let Some(folder) = &args.output_dir else {
        let main = pages.iter().find(|page| page.file == "audit.1");
        print(&main.expect("the program has a page").text)?;
        return Ok(Exit::Preserved);
    };
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
    for ManPage { file, text } in &pages {
        write_whole(&folder.join(file), text.as_bytes())?;
    }
    write_line(&format!("wrote {} pages into {}", pages.len(), folder.display()));
    Ok(Exit::Preserved)
}

/// One manual page.
struct ManPage {
    /// `audit-predict.1`.
    file: String,
    text: String,
}

/// Pages of `audit` and of all its subcommands.
fn pages() -> Vec<ManPage> {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let mut pages = Vec::new();
    let mut left = vec![program];
    while let Some(command) = left.pop() {
        left.extend(command.get_subcommands().filter(|it| !it.is_hide_set()).cloned());
        let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
        let text = page(&name, command).expect("writing to memory cannot fail");
        pages.push(ManPage { file: format!("{name}.1"), text });
    }
    pages.sort_by(|a, b| a.file.cmp(&b.file));
    pages
}

fn page(name: &str, command: clap::Command) -> std::io::Result<String> {
    let source = format!("confidence-audit {}", env!("CARGO_PKG_VERSION"));
    let examples = command.get_after_help().map(|text| examples(&text.to_string()));
    let has_subcommands = command.has_subcommands();
    let page = Man::new(command).title(name).source(source).manual("User Commands");
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    if has_subcommands {
        page.render_subcommands_section(&mut text)?;
    }
    if let Some(examples) = examples {
        examples.to_writer(&mut text)?;
    }
    exit_status().to_writer(&mut text)?;
    Ok(in_ascii(&String::from_utf8(text).expect("clap_mangen writes UTF-8")))
}

/// `page` with groff escapes for other characters, such as `\[u03C3]` for σ: groff reads its input
/// as Latin-1 unless preconv runs first.
fn in_ascii(page: &str) -> String {
    let escaped = |c: char| match c {
        c if c.is_ascii() => c.to_string(),
        c => format!("\\[u{:04X}]", c as u32),
    };
    page.chars().map(escaped).collect()
}

/// The examples of the help text.
fn examples(help: &str) -> Roff {
    let mut section = Roff::new();
    section.control("SH", ["EXAMPLES"]);
    section.control("nf", []);
    let examples = help.lines().filter(|line| line.starts_with("  "));
    section
        .text(examples.map(|line| roman(format!("{}\n", line.trim_start()))).collect::<Vec<_>>());
    section.control("fi", []);
    section
}

fn exit_status() -> Roff {
    let mut section = Roff::new();
    section.control("SH", ["EXIT STATUS"]);
    for (exit, meaning) in EXIT_STATUS {
        section.control("TP", []);
        section.text([bold((exit as u8).to_string())]);
        section.text([roman(meaning)]);
    }
    section
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::temporary::names_in;

    #[test]
    fn every_subcommand_has_a_page_with_its_flags_and_the_exit_codes() {
        let pages = pages();
        let of = |file: &str| {
            let found = pages.iter().find(|page| page.file == file);
            &found.unwrap_or_else(|| panic!("there is no {file}")).text
        };
        let program = Cli::command();
        assert!(program.get_subcommands().count() >= 11);
        for command in std::iter::once(&program).chain(program.get_subcommands()) {
            let name = command.get_name();
            let file = if name == "audit" { "audit.1".into() } else { format!("audit-{name}.1") };
            let page = of(&file);
            for flag in command.get_arguments().filter_map(|argument| argument.get_long()) {
                let flag = format!("--{flag}").replace('-', "\\-");
                assert!(page.contains(&flag), "{file}: {flag}");
            }
            for code in ["0", "1", "2", "3", "130"] {
                assert!(page.contains(&format!(".TP\n\\fB{code}\\fR\n")), "{file}: {code}");
            }
        }
        assert!(of("audit-cache-clear.1").contains("older\\-than"));
        let main = of("audit.1");
        assert!(main.contains("audit\\-predict(1)"));
        assert!(main.contains(".SH EXAMPLES\n.nf\naudit \\-\\-task sst2 "), "{main}");
    }

    #[test]
    fn a_page_is_ascii_and_keeps_its_greek() {
        assert_eq!(in_ascii("σ ≤ κ\\-x 🙂"), "\\[u03C3] \\[u2264] \\[u03BA]\\-x \\[u1F642]");
        let pages = pages();
        for ManPage { file, text } in &pages {
            assert!(text.is_ascii(), "{file}");
        }
        assert!(pages.iter().any(|page| page.text.contains("\\[u03BA]")));
    }

    #[test]
    fn pages_are_written_whole_and_written_over() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("share/man1");
        let args = ManArgs { output_dir: Some(folder.clone()) };
        for _ in 0..2 {
            assert_eq!(run(&args).unwrap(), Exit::Preserved);
            let mut expected: Vec<String> = pages().into_iter().map(|page| page.file).collect();
            expected.sort();
            assert_eq!(names_in(&folder), expected);
        }
        std::fs::write(root.path().join("file"), "").unwrap();
        let args = ManArgs { output_dir: Some(root.path().join("file")) };
        assert!(run(&args).unwrap_err().to_string().contains("file`"));
    }
}
