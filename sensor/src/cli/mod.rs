//! The command line: arguments in, exit code out. Everything else is the library's.
#![expect(clippy::print_stderr, reason = "this is where errors are told")]

mod check;
mod config;
mod output;
mod reload;
mod replay;
mod rules;
mod run;
mod setup;
mod unload;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::TrustedExclusions;
use crate::guard::Exposed;
use crate::load::{Loaded, load_with};
use crate::rule::Diagnostic;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

/// What the exit codes mean; 2 is clap's, for wrong usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Fine = 0,
    /// Input, rules or configuration are at fault.
    Fault = 1,
    /// The host cannot be watched.
    CannotWatch = 3,
    /// The daemon does not see its own test.
    Blind = 4,
    /// What the daemon needs to go on is gone. Started again, it may have it.
    Bereft = 5,
}

/// Watches who changes what the dynamic linker loads, and tells at once.
#[derive(Debug, Parser)]
#[command(
    name = "ldsentry",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  ldsentry check                          can this host be watched?
  ldsentry run                            watch it, alerts on standard output
  ldsentry replay events.ndjson           alerts for events from a file
  ldsentry rules check --rules ./rules    what is wrong with rules, and what they cost

Exit codes: 0 fine, 1 input or rule at fault, 2 usage, 3 the host cannot be watched, 4 the daemon has gone blind, 5 it has lost \
what it needs (the last output, its reader of /proc)."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch this host and report alerts
    Run(run::RunArgs),
    /// Tell whether this host can be watched, how, and what would be missing
    Check(check::CheckArgs),
    /// Have the running daemon read its configuration and rules anew
    Reload(reload::ReloadArgs),
    /// Remove what a stopped daemon left in the kernel
    Unload(unload::UnloadArgs),
    /// Try rules on ECS events from a file
    Replay(replay::ReplayArgs),
    /// List, show, check and explain rules
    #[command(
        subcommand,
        after_help = "\
Examples:
  ldsentry rules list
  ldsentry rules check --rules ./rules
  ldsentry rules explain dynamic_linker_creation_or_modification event.json"
    )]
    Rules(rules::RulesCommand),
    /// Prepare the servers that alerts go to
    #[command(
        subcommand,
        after_help = "\
Examples:
  ldsentry setup elasticsearch"
    )]
    Setup(setup::SetupCommand),
    /// Show the configuration in force, or its JSON schema
    #[command(
        subcommand,
        after_help = "\
Examples:
  ldsentry config show --config /etc/ldsentry/ldsentry.toml
  ldsentry config schema"
    )]
    Config(config::ConfigCommand),
}

/// Which rules, for every command that tries or shows some.
#[derive(Debug, Args)]
struct RuleArgs {
    /// Directory with rules (TOML, elastic/detection-rules schema), looked through to the bottom; replaces the built-in
    /// rules, which `--rules builtin` brings back. Can be given several times
    #[arg(long, value_name = "DIR")]
    rules: Vec<PathBuf>,
    /// Configuration file whose rule directories and exceptions apply
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TextFormat {
    /// For people
    Text,
    /// One JSON object
    Json,
}

/// The definition of all arguments, for manual pages and completions: examples/manual.rs.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command that the arguments name.
pub fn run() -> ExitCode {
    let Cli { command } = Cli::parse();
    let outcome = match command {
        Command::Run(args) => run::run(&args),
        Command::Check(args) => check::run(args),
        Command::Reload(args) => reload::run(&args),
        Command::Unload(args) => unload::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Rules(command) => rules::run(&command),
        Command::Setup(command) => setup::run(&command),
        Command::Config(command) => config::run(&command),
    };
    let exit = outcome.unwrap_or_else(|error| {
        if output::is_broken_pipe(&error) {
            // Whoever read this has seen enough.
            return Exit::Fine;
        }
        eprintln!("error: {error:#}");
        Exit::Fault
    });
    ExitCode::from(exit as u8)
}

impl RuleArgs {
    /// The rules and exceptions, compiled; or nothing, and the errors are on standard error.
    fn load(&self) -> anyhow::Result<Option<Loaded>> {
        Ok(match self.try_load()? {
            Ok(loaded) => Some(loaded),
            Err(errors) => {
                print_diagnostics(&errors);
                None
            }
        })
    }

    fn try_load(&self) -> anyhow::Result<Result<Loaded, Vec<Diagnostic>>> {
        let (mut sources, mut exceptions) = (self.rules.clone(), Vec::new());
        let mut trusted = TrustedExclusions::default();
        if let Some(path) = &self.config {
            let settings = crate::config::Settings::load(Some(path))?;
            if sources.is_empty() {
                sources = settings.rules.dirs.into_iter().map(PathBuf::from).collect();
            }
            exceptions = settings.exceptions;
            trusted = settings.rules.trusted_exclusions;
        }
        Ok(load_with(&sources, &exceptions, trusted, false))
    }
}

fn print_diagnostics(diagnostics: &[Diagnostic]) {
    for (index, diagnostic) in diagnostics.iter().enumerate() {
        let space = if index == 0 { "" } else { "\n" };
        eprintln!("{space}{diagnostic}");
    }
}

fn print_exposed(exposed: &[Exposed]) {
    for exposed in exposed {
        eprintln!("error: {exposed}");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn arguments_are_consistent() {
        super::command().debug_assert();
    }

    #[test]
    fn every_command_shows_examples() {
        fn check(command: &clap::Command) {
            let examples =
                command.get_after_help().is_some_and(|help| help.to_string().contains("Examples:\n"));
            assert!(examples, "`{}` has no examples", command.get_name());
            command.get_subcommands().for_each(check);
        }
        check(&super::command());
    }
}
