//! From rule files and exceptions to an engine: what `run`, `replay` and `rules` have in common.

use std::path::{Path, PathBuf};

use crate::config::{self, RuleSource, Settings};
use crate::detect::{Engine, Exception, TrustedExclusions};
use crate::event::Action;
use crate::guard::{self, Exposed};
use crate::rule::{Diagnostic, Embedded, Level, RuleSet, Skipped};
use crate::self_test;

/// Rules ready to run, and what else was found where they are.
#[derive(Debug)]
pub struct Loaded {
    /// The rules and exceptions, compiled.
    pub engine: Engine,
    /// Rules that are not for this sensor.
    pub skipped: Vec<Skipped>,
    /// What authors should know.
    pub warnings: Vec<Diagnostic>,
    /// What the sensor tests itself by, if it does.
    pub self_test: Option<Action>,
}

/// Loads the rules of `sources` (directories, files, `builtin`; none means `builtin`) with `exceptions`.
pub fn load(sources: &[PathBuf], exceptions: &[config::Exception]) -> Result<Loaded, Vec<Diagnostic>> {
    load_with(sources, exceptions, config::TrustedExclusions::default(), false)
}

/// As [`load`], with what the configuration says of exclusions; with the rule for the self-test, if it is wanted and something
/// is watched that it can be made by.
pub fn load_with(
    sources: &[PathBuf],
    exceptions: &[config::Exception],
    trusted: config::TrustedExclusions,
    self_test: bool,
) -> Result<Loaded, Vec<Diagnostic>> {
    let RuleSet { mut rules, skipped, mut warnings, mut errors } = RuleSet::load(sources);
    let mut parsed = Vec::with_capacity(exceptions.len());
    for exception in exceptions {
        match parse_exception(exception) {
            Ok(exception) => parsed.push(exception),
            Err(error) => errors.push(error),
        }
    }
    let trusted = match trusted {
        config::TrustedExclusions::Off => TrustedExclusions::Off,
        config::TrustedExclusions::Names => TrustedExclusions::Names,
        config::TrustedExclusions::All => TrustedExclusions::All,
    };
    let mut self_test_action = None;
    if self_test && let Ok(engine) = Engine::trusting(rules.clone(), parsed.clone(), trusted) {
        self_test_action = self_test::action(engine.filters().actions());
        rules.extend(self_test_action.and_then(self_test::rule));
    }
    match Engine::trusting(rules, parsed, trusted) {
        Ok(engine) if errors.is_empty() => {
            warnings.extend(engine.warnings());
            Ok(Loaded { engine, skipped, warnings, self_test: self_test_action })
        }
        Ok(_) => Err(errors),
        Err(more) => {
            errors.extend(more);
            Err(errors)
        }
    }
}

/// Of the files that decide what the sensor does, those that others could change: the configuration, rules, secrets and
/// certificates. A daemon does not run with them.
pub fn exposed(config: Option<&Path>, settings: &Settings, loaded: &Loaded) -> Vec<Exposed> {
    let mut files = vec![config.unwrap_or(Path::new(config::DEFAULT_PATH)).to_owned()];
    files.extend(settings.rules.dirs.iter().filter_map(|source| match source {
        RuleSource::Builtin => None,
        RuleSource::Directory(path) => Some(path.clone()),
    }));
    let rules = loaded.engine.rules().map(|rule| &rule.origin);
    let origins = rules.chain(loaded.skipped.iter().map(|skipped| &skipped.origin)).map(PathBuf::from);
    // What is in the binary, or made by it, has no path.
    files.extend(origins.filter(|path| path.exists()));
    files.extend(settings.output.secret_files());
    let mut exposed: Vec<Exposed> = Vec::new();
    for weakness in files.iter().filter_map(|file| guard::check(file).err()) {
        // One directory leads to many files.
        if !exposed.iter().any(|known| known.remedy() == weakness.remedy()) {
            exposed.push(weakness);
        }
    }
    exposed
}

fn parse_exception(exception: &config::Exception) -> Result<Exception, Diagnostic> {
    let (source, literal) = exception.condition.literal();
    let location = Embedded::new(&source.path.display().to_string(), &source.text, literal);
    let query = eql::Query::parse_condition(&exception.condition)
        .map_err(|error| location.diagnostic(Level::Error, &error))?;
    Ok(Exception {
        name: exception.name.to_string(),
        rules: exception.rules.iter().map(|rule| rule.to_string()).collect(),
        query,
        reason: exception.reason.clone(),
        expires: exception.expires.map(config::Date::end),
        location,
    })
}
