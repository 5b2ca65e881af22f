//! From rule files and exceptions to an engine: what `run`, `replay` and `rules` have in common.

use std::path::PathBuf;

use crate::config;
use crate::detect::{Engine, Exception};
use crate::rule::{Diagnostic, Embedded, Level, Rule, RuleSet, Skipped};

/// Rules ready to run, and what else was found where they are.
#[derive(Debug)]
pub struct Loaded {
    /// The rules and exceptions, compiled.
    pub engine: Engine,
    /// Rules that are not for this sensor.
    pub skipped: Vec<Skipped>,
    /// What authors should know.
    pub warnings: Vec<Diagnostic>,
}

/// Loads the rules of `sources` (directories, files, `builtin`; none means `builtin`) with `exceptions`.
pub fn load(sources: &[PathBuf], exceptions: &[config::Exception]) -> Result<Loaded, Vec<Diagnostic>> {
    load_with(sources, exceptions, None)
}

/// As [`load`], with a rule that is in no file.
pub fn load_with(
    sources: &[PathBuf],
    exceptions: &[config::Exception],
    internal: Option<Rule>,
) -> Result<Loaded, Vec<Diagnostic>> {
    let RuleSet { mut rules, skipped, mut warnings, mut errors } = RuleSet::load(sources);
    rules.extend(internal);
    let mut parsed = Vec::with_capacity(exceptions.len());
    for exception in exceptions {
        match parse_exception(exception) {
            Ok(exception) => parsed.push(exception),
            Err(error) => errors.push(error),
        }
    }
    match Engine::new(rules, parsed) {
        Ok(engine) if errors.is_empty() => {
            warnings.extend(engine.warnings());
            Ok(Loaded { engine, skipped, warnings })
        }
        Ok(_) => Err(errors),
        Err(more) => {
            errors.extend(more);
            Err(errors)
        }
    }
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
