//! `ldsentry setup`.

use std::path::PathBuf;

use crate::config::Settings;
use crate::sink::{elasticsearch_templates, setup_elasticsearch};
use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::{Exit, output};

#[derive(Debug, Subcommand)]
pub(super) enum SetupCommand {
    /// Install the index template for alerts in the cluster of [output.elasticsearch]
    #[command(after_help = "\
Examples:
  ldsentry setup elasticsearch --config /etc/ldsentry/ldsentry.toml
  ldsentry setup elasticsearch --print      the requests, for whoever has the rights")]
    Elasticsearch(ElasticsearchArgs),
}

#[derive(Debug, Args)]
pub(super) struct ElasticsearchArgs {
    /// Configuration file [default: /etc/ldsentry/ldsentry.toml if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the requests and send none
    #[arg(long)]
    print: bool,
}

pub(super) fn run(command: &SetupCommand) -> anyhow::Result<Exit> {
    let SetupCommand::Elasticsearch(ElasticsearchArgs { config, print }) = command;
    let options = Settings::load(config.as_deref())?
        .output
        .elasticsearch
        .context("there is no section [output.elasticsearch] in the configuration: add one, or name another file with --config")?;
    if *print {
        for (path, body) in elasticsearch_templates(&options.data_stream) {
            output::print(&format!("PUT {path}\n{body:#}\n\n"))?;
        }
    } else {
        for path in setup_elasticsearch(&options)? {
            output::print(&format!("installed {path}\n"))?;
        }
    }
    Ok(Exit::Fine)
}
