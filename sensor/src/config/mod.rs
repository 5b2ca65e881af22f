//! The configuration: one TOML file, read once into [`Settings`], which the command line then overrides.
//!
//! `options` is the file as it is written, `value` the values that are checked while they are read. An error names
//! the file, line and column, the key, and what to write instead.

mod check;
mod error;
mod network;
mod options;
mod reference;
mod remote;
mod source;
mod value;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use toml::de::DeTable;

pub use error::{ConfigError, Problem};
pub use network::{
    AlertmanagerOptions, ElasticsearchOptions, Facility, SpoolOptions, SyslogMessage, SyslogOptions,
    TlsOptions, WebhookBody, WebhookOptions,
};
pub use options::{
    Attach, FileOptions, Format, Inventory, Level, LogFormat, LogOptions, MetricsOptions, OutputOptions,
    RulesOptions, Sandbox, SensorOptions, Source, StdoutOptions, TrustedExclusions,
};
use options::{ExceptionOptions, Options};
use reference::schema;
pub use reference::{json_schema, markdown_reference};
pub use remote::{SecretSource, SyslogAddress, Url};
pub use source::{Located, Position, SourceFile};
pub use value::{Date, DirectoryOrOff, FileMode, Interval, RingBytes, RuleSource, Span};

/// Where the configuration file is, unless `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/ldsentry/ldsentry.toml";

/// Where programs are pinned, unless the configuration says otherwise.
pub const DEFAULT_PINS: &str = "/sys/fs/bpf/ldsentry";

/// The configuration in force.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// How the kernel is watched.
    pub sensor: SensorOptions,
    /// Which rules are loaded.
    pub rules: RulesOptions,
    /// Where alerts go.
    pub output: OutputOptions,
    /// What waits on disk for network outputs.
    pub spool: SpoolOptions,
    /// Where it can be asked how it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<MetricsOptions>,
    /// What the daemon says about itself.
    pub log: LogOptions,
    /// What rules would alert on, but is known to be fine.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<Exception>,
}

/// An exception to one or more rules. Its parts remember where they were written, for the errors of whoever compiles them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Exception {
    /// Its name, unique.
    pub name: Located,
    /// Ids or names of the rules that it holds for, at least one.
    pub rules: Vec<Located>,
    /// EQL condition.
    pub condition: Located,
    /// Why.
    pub reason: String,
    /// Last day on which it holds, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Date>,
}

impl Exception {
    /// Whether its last day is over at `now`.
    pub fn is_expired(&self, now: jiff::Timestamp) -> bool {
        self.expires.is_some_and(|day| day.is_over(now))
    }
}

/// What the command line says, which wins over the file.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "each is the option of its name")]
pub struct Overrides {
    /// `--rules`: replaces the file's list unless empty.
    pub rules: Vec<RuleSource>,
    pub source: Option<Source>,
    pub attach: Option<Attach>,
    pub btf: Option<PathBuf>,
    /// `--output`; it also turns standard output on.
    pub output: Option<Format>,
}

impl Settings {
    /// Reads `path`; without one, [`DEFAULT_PATH`] if that is there, else the defaults.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let (path, optional) = path.map_or((Path::new(DEFAULT_PATH), true), |path| (path, false));
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(path, text),
            Err(error) if optional && error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => {
                let remedy = match error.kind() {
                    std::io::ErrorKind::NotFound => {
                        "create it (`ldsentry config show` prints one to start from) or correct --config"
                    }
                    std::io::ErrorKind::PermissionDenied => "run as root or make it readable for this user",
                    std::io::ErrorKind::InvalidData => "save it as UTF-8",
                    _ => "give another one with --config",
                };
                Err(ConfigError::Read { path: path.to_owned(), error, remedy })
            }
        }
    }

    /// Reads the text of the file at `path`.
    pub fn parse(path: &Path, text: String) -> Result<Self, ConfigError> {
        let source = Arc::new(SourceFile { path: path.to_owned(), text });
        let problem = |key, error: &toml::de::Error| {
            let offset = error.span().map_or(0, |span| span.start);
            let message = error.message().trim_end().replace('\n', ", ");
            Problem { position: source.position(offset), key, message, remedy: None }
        };
        let invalid = |problem| ConfigError::Invalid(vec![problem]);

        let table = DeTable::parse(&source.text).map_err(|error| invalid(problem(None, &error)))?;
        let misfits = check::misfits(table.get_ref(), schema().as_value(), &source);
        if !misfits.is_empty() {
            return Err(ConfigError::Invalid(misfits));
        }
        let options = Options::deserialize(toml::de::Deserializer::from(table.clone())).map_err(|error| {
            let key = error.span().and_then(|span| check::key_at(table.get_ref(), span.start));
            invalid(problem(key, &error))
        })?;
        let faults = options.output.faults();
        if !faults.is_empty() {
            let problem = |(section, message, remedy): (&str, &str, &str)| Problem {
                position: source.position(check::offset_of(table.get_ref(), &["output", section])),
                key: Some(format!("output.{section}")),
                message: message.to_owned(),
                remedy: Some(remedy.to_owned()),
            };
            return Err(ConfigError::Invalid(faults.into_iter().map(problem).collect()));
        }
        Self::resolve(options, &source)
    }

    /// The settings that `overrides` turns these into.
    #[must_use]
    pub fn with_overrides(mut self, overrides: Overrides) -> Self {
        let Overrides { rules, source, attach, btf, output } = overrides;
        if !rules.is_empty() {
            self.rules.dirs = rules;
        }
        self.sensor.source = source.unwrap_or(self.sensor.source);
        self.sensor.attach = attach.unwrap_or(self.sensor.attach);
        self.sensor.btf = btf.or(self.sensor.btf);
        if let Some(format) = output {
            self.output.stdout = StdoutOptions { enabled: true, format };
        }
        self
    }

    /// Directories that the daemon writes to while it runs, beside those of its own.
    pub fn written_directories(&self) -> Vec<PathBuf> {
        let files = [&self.output.file, &self.output.suppressed].into_iter().flatten().map(|file| &file.path);
        let spool = self.output.has_network().then_some([&self.spool.path, &self.spool.dead_letters]);
        let paths = files.chain(spool.into_iter().flatten());
        // What a link leads to is written to as well.
        let real = |path: &PathBuf| std::fs::canonicalize(path).ok();
        let parent = |path: &Path| path.parent().map(Path::to_owned);
        let places = |path: &PathBuf| [parent(path), real(path).as_deref().and_then(parent)];
        let mut directories: Vec<PathBuf> = paths.flat_map(places).flatten().collect();
        directories.sort();
        directories.dedup();
        directories
    }

    /// The settings as a configuration file, defaults included. Secrets are no part of the settings: files and
    /// environment variables hold them, and only their names are here.
    pub fn to_toml(&self) -> String {
        // Everything in the settings came from TOML or from options, and TOML can express it.
        toml::to_string_pretty(self).unwrap_or_else(|error| format!("# cannot be shown: {error}\n"))
    }

    fn resolve(options: Options, source: &Arc<SourceFile>) -> Result<Self, ConfigError> {
        let Options { mut sensor, mut rules, exceptions, mut output, mut spool, metrics, log } = options;
        let directory = source.path.parent().unwrap_or(Path::new(""));
        let absolute = |path: &mut PathBuf| *path = directory.join(&*path);
        sensor.btf.as_mut().map(absolute);
        sensor.pins.path_mut().map(absolute);
        output.paths().for_each(absolute);
        spool.paths().into_iter().for_each(absolute);
        for dir in &mut rules.dirs {
            if let RuleSource::Directory(path) = dir {
                absolute(path);
            }
        }
        let exceptions = resolve_exceptions(exceptions, source)?;
        Ok(Self { sensor, rules, output, spool, metrics, log, exceptions })
    }
}

/// What differs between settings and is only taken over at the daemon's start, by key.
pub fn needs_restart(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let (from, to) = (&old.sensor, &new.sensor);
    let keys = [
        ("sensor.source", from.source == to.source),
        ("sensor.attach", from.attach == to.attach),
        ("sensor.btf", from.btf == to.btf),
        ("sensor.ring_bytes", from.ring_bytes == to.ring_bytes),
        ("sensor.sandbox", from.sandbox == to.sandbox),
        (
            "that nothing leaves the host (sensor.sandbox)",
            from.sandbox == Sandbox::Off || old.output.has_network() || !new.output.has_network(),
        ),
        ("sensor.pins", from.pins == to.pins),
        ("[spool]", old.spool == new.spool),
        ("[metrics]", old.metrics == new.metrics),
        ("[log]", old.log == new.log),
    ];
    keys.into_iter().filter(|(_, same)| !same).map(|(key, _)| key).collect()
}

impl Default for Settings {
    fn default() -> Self {
        let Options { sensor, rules, exceptions: _, output, spool, metrics, log } = Options::default();
        Self { sensor, rules, output, spool, metrics, log, exceptions: Vec::new() }
    }
}

fn resolve_exceptions(
    exceptions: Vec<ExceptionOptions>,
    source: &Arc<SourceFile>,
) -> Result<Vec<Exception>, ConfigError> {
    let mut problems = Vec::new();
    let mut resolved: Vec<Exception> = Vec::new();
    for ExceptionOptions { name, rules, condition, reason, expires } in exceptions {
        let mut report = |value: &Located, key: &str, message: String, remedy: &str| {
            problems.push(Problem {
                position: value.position(),
                key: Some(format!("exceptions.{key}")),
                message,
                remedy: Some(remedy.to_owned()),
            });
        };
        let name = Located::new(name, source);
        let rules: Vec<_> = rules.into_iter().map(|rule| Located::new(rule, source)).collect();
        let condition = Located::new(condition, source);
        let reason = Located::new(reason, source);
        if let Some(first) = resolved.iter().find(|other| *other.name == *name) {
            let message = format!("`{}` is taken by the exception at {}", &*name, first.name.position());
            report(&name, "name", message, "give each exception a name of its own");
        }
        if rules.is_empty() {
            let message = format!("`{}` holds for no rule", &*name);
            report(&name, "rules", message, "list ids or names of rules (`ldsentry rules list` prints them)");
        }
        let texts = [("name", &name), ("condition", &condition), ("reason", &reason)];
        for (key, value) in texts.into_iter().filter(|(_, value)| value.trim().is_empty()) {
            report(value, key, "is empty".to_owned(), "write one, or remove the exception");
        }
        let reason = reason.as_str().to_owned();
        resolved.push(Exception { name, rules, condition, reason, expires });
    }
    if problems.is_empty() { Ok(resolved) } else { Err(ConfigError::Invalid(problems)) }
}

#[cfg(test)]
mod tests;
