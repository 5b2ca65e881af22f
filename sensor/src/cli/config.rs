//! `ldsentry config`.

use std::path::PathBuf;

use crate::config::{Settings, json_schema};
use clap::Subcommand;

use super::{Exit, output};

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print the configuration in force, defaults included
    #[command(after_help = "\
Examples:
  ldsentry config show
  ldsentry config show --config new.toml && cp new.toml /etc/ldsentry/ldsentry.toml")]
    Show {
        /// Configuration file [default: /etc/ldsentry/ldsentry.toml if it is there]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Print the JSON schema of the configuration file
    #[command(after_help = "\
Examples:
  ldsentry config schema > ldsentry.schema.json     for editors")]
    Schema,
}

pub(super) fn run(command: &ConfigCommand) -> anyhow::Result<Exit> {
    match command {
        ConfigCommand::Show { config } => output::print(&Settings::load(config.as_deref())?.to_toml())?,
        ConfigCommand::Schema => output::print(&json_schema())?,
    }
    Ok(Exit::Fine)
}
