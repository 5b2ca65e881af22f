//! Writes the manual pages and shell completions, all made from the definition of the command line.
//!
//! `cargo xtask manual` runs it: `DIRECTORY/man/*.1`, and `DIRECTORY/completions/` for bash, zsh and fish.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the answer")]

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap_complete::Shell;

const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

fn main() -> Result<()> {
    let directory = std::env::args_os().nth(1).context("say which directory to write to")?;
    write(&PathBuf::from(directory))
}

fn write(directory: &Path) -> Result<()> {
    let (man, completions) = (directory.join("man"), directory.join("completions"));
    for directory in [&man, &completions] {
        fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    }
    let command = sensor::cli::command;
    clap_mangen::generate_to(command(), &man)
        .with_context(|| format!("writing manual pages into {}", man.display()))?;
    for shell in SHELLS {
        clap_complete::generate_to(shell, &mut command(), "ldsentry", &completions)
            .with_context(|| format!("writing the completion for {shell} into {}", completions.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// `ldsentry`, `ldsentry-run`, `ldsentry-rules`, `ldsentry-rules-list` and so on, as pages are called.
    fn pages(command: &clap::Command, prefix: &str) -> Vec<String> {
        let name = format!("{prefix}{}", command.get_name());
        let below = command.get_subcommands().flat_map(|command| pages(command, &format!("{name}-")));
        let below: Vec<_> = below.collect();
        [vec![name], below].concat()
    }

    #[test]
    fn there_is_a_page_with_examples_for_every_command() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path()).unwrap();
        for page in pages(&sensor::cli::command(), "") {
            let path = directory.path().join("man").join(format!("{page}.1"));
            let text =
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(text.contains("Examples:"), "{page}");
        }
    }

    #[test]
    fn completions_know_the_commands_and_are_read_by_their_shells() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path()).unwrap();
        for (file, shell) in [("ldsentry.bash", "bash"), ("_ldsentry", "zsh"), ("ldsentry.fish", "fish")] {
            let path = directory.path().join("completions").join(file);
            let text = fs::read_to_string(&path).unwrap();
            for word in ["replay", "explain", "elasticsearch"] {
                assert!(text.contains(word), "{file} lacks {word}");
            }
            // A shell that is not installed reads nothing.
            if let Ok(status) = Command::new(shell).arg("-n").arg(&path).status() {
                assert!(status.success(), "{shell} does not take {file}");
            }
        }
    }
}
