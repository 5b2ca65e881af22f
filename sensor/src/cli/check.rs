//! `ldsentry check`.
#![expect(clippy::print_stderr, reason = "this is where errors are told")]

use std::path::{Path, PathBuf};

use crate::check::{Facts, Report, Site};
use crate::config::{DEFAULT_PATH, Overrides, Settings};
use crate::{kernel, load, pipeline};
use anyhow::Context as _;
use clap::Args;

use super::{Exit, TextFormat, output};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sudo ldsentry check
  sudo ldsentry check --format json | jq -r '.findings[] | select(.status == \"missing\") | .remedy'
  sudo ldsentry check --btf 5.10.0-21-amd64.btf      # for a kernel without BTF of its own

Does what `run` does to begin, creates and renames files of its own to see them reported, and lets go of everything. \
docs/check.md has the form of the JSON.")]
pub(super) struct CheckArgs {
    /// Configuration file [default: /etc/ldsentry/ldsentry.toml if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// BTF of this host's kernel, if the kernel has none of its own
    #[arg(long, value_name = "FILE")]
    btf: Option<PathBuf>,
    /// How the answer looks
    #[arg(long, default_value = "text")]
    format: TextFormat,
}

pub(super) fn run(args: CheckArgs) -> anyhow::Result<Exit> {
    let CheckArgs { config, btf, format } = args;
    let (settings, configuration) = match Settings::load(config.as_deref()) {
        Ok(settings) => {
            let default = || Some(PathBuf::from(DEFAULT_PATH)).filter(|path| path.exists());
            (settings, Ok(config.or_else(default)))
        }
        Err(error) => {
            eprintln!("error: {error}");
            (Settings::default(), Err(error.to_string()))
        }
    };
    let settings = settings.with_overrides(Overrides { btf, ..Overrides::default() });
    let file = configuration.as_ref().ok().and_then(Option::as_deref);
    let sources: Vec<PathBuf> = settings.rules.dirs.iter().cloned().map(PathBuf::from).collect();
    let (rules, exposed, engine) = match load::load(&sources, &settings.exceptions) {
        Ok(loaded) => {
            let (count, exposed) = (loaded.engine.rules().len(), load::exposed(file, &settings, &loaded));
            (Ok(count), exposed, Some(loaded.engine))
        }
        Err(errors) => {
            super::print_diagnostics(&errors);
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            // The host is checked all the same, for the rules in the binary.
            let engine = load::load(&[], &[]).ok().map(|loaded| loaded.engine);
            (Err(errors.join("\n")), Vec::new(), engine)
        }
    };
    let engine = engine.context("the rules in the binary do not load")?;

    let directories = pipeline::written_directories(&settings);
    let Settings { sensor, .. } = settings;
    let tried = pipeline::try_sources(&sensor, &engine);
    let at_fault = tried.hooks.as_ref().err().filter(|error| error.is_about_given_file());
    if let Some(error) = at_fault {
        eprintln!("error: {error}");
    }
    let facts = Facts::read(Path::new("/"), sensor.btf.as_deref());
    let set_up = configuration.is_ok() && rules.is_ok() && exposed.is_empty() && at_fault.is_none();
    let attach = pipeline::attach_mode(sensor.attach);
    let pins = sensor.pins.get().map(|directory| {
        (directory.to_owned(), kernel::can_pin(directory).err().map(|error| error.to_string()))
    });
    let site = Site { configuration, rules, exposed, directories, source: sensor.source, attach, pins };
    let report = Report::new(&site, &facts, &tried);
    match format {
        TextFormat::Text => output::print(&report.to_string())?,
        TextFormat::Json => output::print_json(&serde_json::to_value(&report)?)?,
    }
    Ok(match (report.watchable, set_up) {
        (true, _) => Exit::Fine,
        (false, true) => Exit::CannotWatch,
        (false, false) => Exit::Fault,
    })
}
