//! `audit completions SHELL`: prints a shell completion script.

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::{generate, Shell};

use super::print;
use crate::cli::{Cli, CompletionsArgs};
use crate::error::Exit;

/// Prints the script.
pub fn run(args: &CompletionsArgs) -> Result<Exit> {
    print(&script(args.shell))?;
    Ok(Exit::Preserved)
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "audit", &mut script);
    String::from_utf8(script).expect("clap_complete writes UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_s_script_knows_the_subcommands_and_the_flags() {
        let program = Cli::command();
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell, Shell::Elvish] {
            let script = script(shell);
            for command in program.get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
                for flag in command.get_arguments().filter_map(|argument| argument.get_long()) {
                    assert!(script.contains(flag), "{shell}: --{flag}");
                }
            }
            for flag in program.get_arguments().filter_map(|argument| argument.get_long()) {
                assert!(script.contains(flag), "{shell}: --{flag}");
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn bash_reads_its_script_and_completes_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.bash");
        std::fs::write(&path, script(Shell::Bash)).unwrap();
        let bash = |code: &str| {
            let mut bash = std::process::Command::new("bash");
            let answer = bash.args(["-c", code, "-"]).arg(&path).output().expect("there is a bash");
            assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
            String::from_utf8(answer.stdout).unwrap()
        };
        bash("bash -n \"$1\"");
        let complete = |words: &str, word: usize| {
            bash(&format!(
                ". \"$1\"; COMP_WORDS=({words}); COMP_CWORD={word}; \
                 _audit audit \"${{COMP_WORDS[{word}]}}\" \"${{COMP_WORDS[{word}-1]}}\"; \
                 echo \"${{COMPREPLY[*]}}\""
            ))
        };
        assert_eq!(complete("audit recal", 1).trim(), "recalibrate");
        assert_eq!(complete("audit --fail", 1).trim(), "--fail-fast");
        assert_eq!(complete("audit completions z", 2).trim(), "zsh");
    }
}
