//! `ldsentry run`.

use std::path::{Path, PathBuf};

use crate::check::{Facts, explain};
use crate::config::{Attach, Format, Overrides, RuleSource, Settings, Source};
use crate::kernel::KernelError;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::pipeline::{self, PipelineError};
use clap::Args;

use super::Exit;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ldsentry run                                  built-in rules, alerts on standard output
  ldsentry run --rules /etc/ldsentry/rules --rules builtin
  ldsentry run --output ndjson | jq .kibana.alert.reason")]
pub(super) struct RunArgs {
    /// Configuration file [default: /etc/ldsentry/ldsentry.toml if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory with rules; replaces those of the configuration. `builtin` stands for the built-in ones. Can be given
    /// several times
    #[arg(long, value_name = "DIR")]
    rules: Vec<PathBuf>,
    /// What delivers the events
    #[arg(long)]
    source: Option<Source>,
    /// How eBPF programs are attached
    #[arg(long)]
    attach: Option<Attach>,
    /// BTF of this host's kernel, if the kernel has none of its own
    #[arg(long, value_name = "FILE")]
    btf: Option<PathBuf>,
    /// How alerts look on standard output [default: pretty on a terminal, else ndjson]
    #[arg(long)]
    output: Option<Format>,
}

pub(super) fn run(args: RunArgs) -> anyhow::Result<Exit> {
    let RunArgs { config, rules, source, attach, btf, output } = args;
    let rules = rules.into_iter().map(RuleSource::from).collect();
    let settings =
        Settings::load(config.as_deref())?.with_overrides(Overrides { rules, source, attach, btf, output });
    let sources: Vec<PathBuf> = settings.rules.dirs.iter().cloned().map(PathBuf::from).collect();
    let internal = settings.sensor.self_test.and_then(|_| crate::self_test::rule());
    let trusted = settings.rules.trusted_exclusions;
    let loaded = match crate::load::load_with(&sources, &settings.exceptions, trusted, internal) {
        Ok(loaded) => loaded,
        Err(errors) => {
            super::print_diagnostics(&errors);
            return Ok(Exit::Fault);
        }
    };
    super::print_diagnostics(&loaded.warnings);
    let exposed = crate::load::exposed(config.as_deref(), &settings, &loaded);
    if !exposed.is_empty() {
        super::print_exposed(&exposed);
        return Ok(Exit::Fault);
    }
    let metrics = Metrics::default();
    let log = Log::start(&settings.log, &metrics)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(pipeline::run(&settings, loaded, &metrics, &log));
    // A directory on a file system that never answers would be waited for.
    runtime.shutdown_background();
    match result {
        Ok(()) => Ok(Exit::Fine),
        Err(PipelineError::Kernel(KernelError::Offsets(error))) if error.is_about_given_file() => {
            Err(error.into())
        }
        Err(error @ (PipelineError::Kernel(_) | PipelineError::Fanotify(_) | PipelineError::NoSource(_))) => {
            let facts = Facts::read(Path::new("/"), settings.sensor.btf.as_deref());
            let mut lines = vec![format!("error: this host cannot be watched: {error}")];
            lines.extend(error.about_hooks().map(|error| explain(error, &facts)).unwrap_or_default());
            lines.push("`ldsentry check` says everything that is missing and what to do".to_owned());
            log.print(&lines.join("\n"));
            Ok(Exit::CannotWatch)
        }
        Err(error @ PipelineError::Blind) => {
            log.print(&format!("error: {error}"));
            Ok(Exit::Blind)
        }
        Err(PipelineError::Instance(error)) if error.is_permission() => {
            log.print(&format!("error: this host cannot be watched: {error}"));
            Ok(Exit::CannotWatch)
        }
        Err(error) => Err(error.into()),
    }
}
