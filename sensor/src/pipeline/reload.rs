//! Settings and rules are replaced while the daemon runs: all in one step, or nothing, and then the reason is said.

use std::path::PathBuf;

use super::source::Input;
use super::telling::listed;
use super::{Pipeline, PipelineError, sink};
use crate::config::{Settings, needs_restart};
use crate::event::Action;
use crate::instance;
use crate::load::Loaded;
use crate::notify;

/// Reads settings and rules anew, from where they came from at the start; or says what is wrong with them.
pub type Reread<'l> = dyn Fn() -> Result<(Settings, Loaded), String> + 'l;

/// Why what was in force stays in force.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    /// They cannot be read.
    #[error("{0}")]
    Read(String),
    /// Something was changed that only a start takes over.
    #[error(
        "{} cannot change while the daemon runs; restart it (`systemctl restart ldsentry`), or change {} back",
        .0.join(" and "), if .0.len() == 1 { "it" } else { "them" }
    )]
    NeedsRestart(Vec<&'static str>),
    /// Its rules need hooks that only a start can attach.
    #[error(
        "the new rules ask for {}, which no rule in force does, and from within its sandbox the daemon attaches nothing \
         more; restart the daemon (`systemctl restart ldsentry`), or take these rules out", listed(.0)
    )]
    NeedsHooks(Vec<Action>),
    /// An output writes where only a start can let it.
    #[error(
        "the daemon cannot write to {} from within its sandbox: that is none of the directories that it wrote to at the start; \
         restart the daemon (`systemctl restart ldsentry`), or choose one of those", .0.display()
    )]
    NeedsDirectory(PathBuf),
    /// An output that is new or changed does not work.
    #[error("{0}")]
    Outputs(String),
    /// What the new rules need cannot be watched.
    #[error(
        "{0}; the new rules need it, and may get it at a start: restart the daemon (`systemctl restart ldsentry`), or take \
         these rules out"
    )]
    Watch(PipelineError),
}

impl Pipeline<'_> {
    /// Replaces settings and rules, or keeps those that are in force.
    pub(super) fn reload(&mut self, input: &mut Input) {
        self.reloads += 1;
        notify::reloading();
        let result = self.try_reload(input);
        match &result {
            Ok(()) => {
                tracing::info!("configuration and rules are reloaded");
                self.say_what_is_watched();
            }
            Err(error) => {
                tracing::error!(
                    "configuration and rules are not reloaded, those before stay in force: {error}"
                );
                notify::ready();
            }
        }
        let outcome = result.map_err(|error| error.to_string());
        if let Err(error) = instance::report_reload(self.reloads, outcome) {
            tracing::warn!("cannot tell `ldsentry reload` what came of it: {error}");
        }
    }

    fn try_reload(&mut self, input: &mut Input) -> Result<(), ReloadError> {
        let (settings, loaded) = (self.reread)().map_err(ReloadError::Read)?;
        let keys = needs_restart(&self.settings, &settings);
        if !keys.is_empty() {
            return Err(ReloadError::NeedsRestart(keys));
        }
        let unhooked = self.watcher.unhooked(&loaded.engine);
        if self.confined.attaches_nothing && !unhooked.is_empty() {
            return Err(ReloadError::NeedsHooks(unhooked));
        }
        if let Some(directory) = self.confined.refuses(&settings) {
            return Err(ReloadError::NeedsDirectory(directory));
        }
        let change = self.outputs.prepare(&self.settings.output, &settings.output);
        let change = change.map_err(|error| ReloadError::Outputs(error.to_string()))?;
        // What happened so far is for the rules that were in force then.
        self.take_all(input).map_err(ReloadError::Watch)?;
        self.watcher.reload(&loaded.engine).map_err(ReloadError::Watch)?;
        self.outputs.apply(change, &settings.spool, &self.metrics);
        self.mounts_due = Some(self.start.elapsed());
        self.outcomes.set_timeout(settings.sensor.outcome_timeout.get());
        self.for_people = sink::is_for_people(settings.output.stdout.format);
        self.engine = loaded.engine;
        self.prefixes = self.engine.prefixes();
        self.handles.clear();
        self.templates.clear();
        self.settings = settings;
        self.begin_self_test(loaded.self_test);
        self.count_from_nothing();
        Ok(())
    }
}
