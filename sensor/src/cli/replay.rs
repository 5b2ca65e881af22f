//! `ldsentry replay`.
#![expect(clippy::print_stderr, reason = "this is where errors are told")]

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::replay::{Format, ReplayError, replay};
use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;

use super::{Exit, RuleArgs, output};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ldsentry replay events.ndjson                 alerts that the built-in rules raise
  jq -c '.hits.hits[]' answer.json | ldsentry replay --format verdicts -
  ldsentry replay --rules ./rules events.ndjson | jq -r .kibana.alert.reason

Each line of the input is an ECS event as a JSON object, or an Elasticsearch hit with the event in _source.")]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    rules: RuleArgs,
    /// What to print: one alert a line, or one verdict a line for each event and rule
    #[arg(long, default_value = "alerts")]
    format: Format,
    /// File with events; `-` for standard input
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
}

pub(super) fn run(args: &ReplayArgs) -> anyhow::Result<Exit> {
    let Some(loaded) = args.rules.load()? else { return Ok(Exit::Fault) };
    let standard_input = args.file == Path::new("-");
    let input: Box<dyn Read> = if standard_input {
        Box::new(io::stdin().lock())
    } else {
        let file = File::open(&args.file).with_context(|| format!("cannot read {}", args.file.display()))?;
        Box::new(file)
    };
    let name = if standard_input { "standard input".to_owned() } else { args.file.display().to_string() };

    let input = BufReader::with_capacity(256 << 10, input);
    let mut told_remedy = false;
    let replayed =
        replay(&loaded.engine, input, args.format, &mut output::stdout(), Timestamp::now, |error| {
            eprintln!("error: {name}: {error}");
            if !told_remedy {
                told_remedy = true;
                eprintln!(
                    "  = help: each line must be one event; `jq -c . FILE` puts every JSON document on a line"
                );
            }
        });
    match replayed {
        Ok(summary) if summary.bad_lines > 0 => Ok(Exit::Fault),
        Ok(_) => Ok(Exit::Fine),
        Err(ReplayError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Fine),
        Err(error) => Err(anyhow::Error::new(error).context(name)),
    }
}
