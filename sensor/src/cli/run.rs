//! `ldsentry run`.

use std::path::{Path, PathBuf};

use crate::check::{Facts, explain};
use crate::config::{Attach, ConfigError, Format, Overrides, RuleSource, Sandbox, Settings, Source};
use crate::kernel::KernelError;
use crate::links;
use crate::load::{Loaded, load_with};
use crate::log::Log;
use crate::memory;
use crate::metrics::Metrics;
use crate::pipeline::{self, PipelineError};
use crate::rule::Diagnostic;
use anyhow::Context as _;
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

impl RunArgs {
    /// What the configuration and these arguments say.
    fn settings(&self) -> Result<Settings, ConfigError> {
        let Self { config, rules, source, attach, btf, output } = self;
        let rules = rules.iter().cloned().map(RuleSource::from).collect();
        let (source, attach, btf, output) = (*source, *attach, btf.clone(), *output);
        Ok(Settings::load(config.as_deref())?.with_overrides(Overrides {
            rules,
            source,
            attach,
            btf,
            output,
        }))
    }
}

/// The rules that settings name, compiled.
fn load(settings: &Settings) -> Result<Loaded, Vec<Diagnostic>> {
    let sources: Vec<PathBuf> = settings.rules.dirs.iter().cloned().map(PathBuf::from).collect();
    let tests_itself = settings.sensor.self_test.get().is_some();
    load_with(&sources, &settings.exceptions, settings.rules.trusted_exclusions, tests_itself)
}

/// Both anew.
fn reread(args: &RunArgs) -> Result<(Settings, Loaded), String> {
    let settings = args.settings().map_err(|error| error.to_string())?;
    let loaded = load(&settings)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    let exposed = crate::load::exposed(args.config.as_deref(), &settings, &loaded);
    if !exposed.is_empty() {
        return Err(exposed.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    }
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok((settings, loaded))
}

pub(super) fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    let small = memory::stay_small();
    let settings = args.settings()?;
    let loaded = match load(&settings) {
        Ok(loaded) => loaded,
        Err(errors) => {
            super::print_diagnostics(&errors);
            return Ok(Exit::Fault);
        }
    };
    super::print_diagnostics(&loaded.warnings);
    let exposed = crate::load::exposed(args.config.as_deref(), &settings, &loaded);
    if !exposed.is_empty() {
        super::print_exposed(&exposed);
        return Ok(Exit::Fault);
    }
    let metrics = Metrics::default();
    let sandboxed = settings.sensor.sandbox == Sandbox::On;
    if sandboxed {
        links::start_reader().context(
            "cannot start the process that reads /proc: raise the limit on tasks (`ulimit -u`, TasksMax=), or set \
             sensor.sandbox to \"off\"",
        )?;
    }
    let log = Log::start(&settings.log, sandboxed, &metrics)?;
    if let Err(error) = small {
        tracing::debug!("huge pages cannot be refused: {error}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (btf, again) = (settings.sensor.btf.clone(), || reread(args));
    let result = runtime.block_on(pipeline::run(settings, loaded, &again, &metrics, &log));
    // A directory on a file system that never answers would be waited for.
    runtime.shutdown_background();
    match result {
        Ok(()) => Ok(Exit::Fine),
        Err(PipelineError::Kernel(KernelError::Offsets(error))) if error.is_about_given_file() => {
            Err(error.into())
        }
        Err(error @ (PipelineError::Kernel(_) | PipelineError::Fanotify(_) | PipelineError::NoSource(_))) => {
            let facts = Facts::read(Path::new("/"), btf.as_deref());
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
        Err(error @ (PipelineError::ReaderGone | PipelineError::OutputsGone)) => {
            log.print(&format!("error: {error}"));
            Ok(Exit::Bereft)
        }
        Err(PipelineError::Instance(error)) if error.is_permission() => {
            log.print(&format!("error: this host cannot be watched: {error}"));
            Ok(Exit::CannotWatch)
        }
        Err(error) => Err(error.into()),
    }
}
