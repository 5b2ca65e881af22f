//! Exceptions: what an operator says is fine although a rule looks for it.

use eql::{Fields, Program, Query};
use jiff::Timestamp;

use crate::rule::{Diagnostic, Embedded, Level, Rule};

/// An exception to one or more rules.
#[derive(Debug, Clone)]
pub struct Exception {
    /// Its name, unique among all.
    pub name: String,
    /// Ids or names of the rules that it holds for.
    pub rules: Vec<String>,
    /// What it is about.
    pub query: Query,
    /// Why it is fine.
    pub reason: String,
    /// When it ceases to hold.
    pub expires: Option<Timestamp>,
    /// Where its condition stands.
    pub location: Embedded,
}

impl Exception {
    /// A finding about the condition, with its place in the configuration.
    pub fn diagnostic(&self, level: Level, error: &eql::Error) -> Diagnostic {
        self.location.diagnostic(level, error)
    }

    pub(super) fn unknown_rules<'r>(&self, rules: impl Iterator<Item = &'r Rule>) -> Vec<Diagnostic> {
        let rules: Vec<_> = rules.collect();
        let unknown = self.rules.iter().filter(|name| !rules.iter().any(|rule| is_named(rule, name)));
        unknown
            .map(|name| {
                let message =
                    format!("the exception `{}` is to the rule `{name}`, which is not loaded", self.name);
                let error = eql::Error::new(message, eql::Span::default())
                    .with_help("`ldsentry rules list` shows the ids and names of those that are");
                self.diagnostic(Level::Warning, &error)
            })
            .collect()
    }
}

#[derive(Debug)]
pub(super) struct CompiledException {
    pub(super) exception: Exception,
    program: Program,
}

impl CompiledException {
    pub(super) fn new(exception: Exception, fields: &mut Fields) -> Result<Self, Diagnostic> {
        match exception.query.compile(fields) {
            Ok(program) => Ok(Self { exception, program }),
            Err(error) => Err(exception.diagnostic(Level::Error, &error)),
        }
    }

    pub(super) fn names(&self, rule: &Rule) -> bool {
        self.exception.rules.iter().any(|name| is_named(rule, name))
    }

    pub(super) fn holds<D: eql::Document + ?Sized>(&self, document: &D, now: Timestamp) -> bool {
        self.exception.expires.is_none_or(|expires| now < expires) && self.program.matches(document)
    }
}

fn is_named(rule: &Rule, name: &str) -> bool {
    rule.id == name || rule.name == name
}
