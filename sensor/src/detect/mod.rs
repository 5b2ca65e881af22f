//! Which rules an event matches, and what decided it. No IO, no clock: the same input gives the same verdicts, live and
//! in a replay.

mod check;
mod exception;
mod index;
mod prefixes;
mod pushdown;
mod trust;

use std::collections::BTreeSet;

use eql::{ClauseId, ClauseKind, FieldId, Fields, Program, Value};
use jiff::Timestamp;

use self::exception::CompiledException;
pub use self::exception::Exception;
use self::index::Index;
pub use self::trust::TrustedExclusions;
use self::trust::Without;
use crate::ecs::{self, Candidate, Document, Field, FieldTable};
use crate::event::Event;
use crate::filter::{Filter, Filters};
use crate::prefix::Prefix;
use crate::rule::{Diagnostic, Level, Rule};

/// `event.action`s that Elastic Defend does not send. A rule that does not name them was not written with them in mind,
/// and does not get them.
const BEYOND_ELASTIC_DEFEND: &[&str] = &["modification", "mount"];

/// Compiled rules with their exceptions.
#[derive(Debug)]
pub struct Engine {
    rules: Vec<CompiledRule>,
    exceptions: Vec<CompiledException>,
    fields: Fields,
    table: FieldTable,
    index: Index,
    action: FieldId,
    outcome: FieldId,
    /// Why the executable is not trusted, if it is not.
    untrusted: FieldId,
    /// What an executable that is not trusted has no say in.
    doubtful: Vec<FieldId>,
    /// Directories that rules' paths begin with, where a path whose beginning is unknown could be.
    directories: Vec<String>,
}

#[derive(Debug)]
struct CompiledRule {
    rule: Rule,
    program: Program,
    /// The clause by which an event that matches is what the rule looks for.
    subject: usize,
    /// Indices into the engine's exceptions.
    exceptions: Vec<usize>,
    /// Those of [`BEYOND_ELASTIC_DEFEND`] that the rule names.
    actions: Vec<&'static str>,
    wants_failures: bool,
    /// The clauses that rest on what an executable that is not trusted has no say in.
    doubtful: Vec<ClauseId>,
}

/// What a rule says about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It raises an alert.
    Alert,
    /// It raises an alert, although this clause would keep it from that: the clause rests on an executable that is not
    /// trusted.
    NotHonoured(ClauseId),
    /// It would, but for something.
    Excluded(Exclusion),
    /// The event is not what it looks for: this condition does not hold.
    NoMatch(ClauseId),
    /// The event is of a kind that goes only to rules that name its `event.action`, and this one does not.
    NotOffered,
}

impl Verdict {
    /// Whether it raises an alert.
    pub fn is_alert(self) -> bool {
        matches!(self, Self::Alert | Self::NotHonoured(_))
    }
}

/// Why an event that a rule looks for raises no alert. With the rule, a key to count by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exclusion {
    /// A clause of the rule.
    Clause(ClauseId),
    /// One of the operator's exceptions: its index in [`Engine::exceptions`].
    Exception(usize),
    /// The operation failed: nothing happened that could be alerted on.
    Failed,
}

/// A rule's verdict on an event, and the path it is about.
#[derive(Debug, Clone, Copy)]
pub struct Detection<'e> {
    /// The rule: its index.
    pub rule: usize,
    /// Its verdict.
    pub verdict: Verdict,
    /// With which of the event's paths.
    pub candidate: Candidate<'e>,
}

impl Engine {
    /// Compiles `rules` and `exceptions`. The errors are those of all of them.
    pub fn new(rules: Vec<Rule>, exceptions: Vec<Exception>) -> Result<Self, Vec<Diagnostic>> {
        Self::trusting(rules, exceptions, TrustedExclusions::default())
    }

    /// As [`Engine::new`], with other than the default exclusions to be honoured for trusted executables only.
    pub fn trusting(
        rules: Vec<Rule>,
        exceptions: Vec<Exception>,
        trusted: TrustedExclusions,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut errors = Vec::new();
        let mut fields = Fields::default();
        let action = fields.intern("event.action");
        let outcome = fields.intern("event.outcome");
        let untrusted = fields.intern(Field::OwnExecutableUntrusted.name());
        let doubtful: Vec<_> = trusted.doubtful().iter().map(|field| fields.intern(field.name())).collect();
        let directories = check::directories(&rules);
        let mut compiled = Vec::with_capacity(rules.len());
        for rule in rules {
            match rule.query.compile(&mut fields) {
                Ok(program) => compiled.push(CompiledRule::new(rule, program, &doubtful)),
                Err(error) => errors.push(rule.diagnostic(Level::Error, &error)),
            }
        }
        let mut compiled_exceptions = Vec::with_capacity(exceptions.len());
        for exception in exceptions {
            match CompiledException::new(exception, &mut fields) {
                Ok(exception) => compiled_exceptions.push(exception),
                Err(error) => errors.push(error),
            }
        }
        for rule in &mut compiled {
            let holding = compiled_exceptions.iter().enumerate().filter(|(_, e)| e.names(&rule.rule));
            rule.exceptions = holding.map(|(index, _)| index).collect();
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let index = Index::new(compiled.iter().map(|rule| rule.rule.query.condition()), &mut fields);
        let table = FieldTable::new(&fields);
        Ok(Self {
            rules: compiled,
            exceptions: compiled_exceptions,
            fields,
            table,
            index,
            action,
            outcome,
            untrusted,
            doubtful,
            directories,
        })
    }

    /// The rules, in the order of their indices.
    pub fn rules(&self) -> impl ExactSizeIterator<Item = &Rule> {
        self.rules.iter().map(|rule| &rule.rule)
    }

    /// The rule with that index.
    pub fn rule(&self, index: usize) -> &Rule {
        &self.rules[index].rule
    }

    /// The compiled query of the rule with that index.
    pub fn program(&self, index: usize) -> &Program {
        &self.rules[index].program
    }

    /// The exceptions, in the order of their indices.
    pub fn exceptions(&self) -> impl ExactSizeIterator<Item = &Exception> {
        self.exceptions.iter().map(|exception| &exception.exception)
    }

    /// What has to pass the kernel's filter for all rules to see all events that they could match.
    pub fn filters(&self) -> Filters {
        let mut all = Filters::default();
        for rule in 0..self.rules.len() {
            all.extend(self.rule_filters(rule));
        }
        all
    }

    /// What has to pass because of one rule: nothing for one that never fires.
    pub fn rule_filters(&self, rule: usize) -> Filters {
        let CompiledRule { rule, actions, .. } = &self.rules[rule];
        let mut filters = Filters::default();
        for &action in ecs::ACTIONS {
            let name = ecs::action(action);
            if actions.contains(&name) || !BEYOND_ELASTIC_DEFEND.contains(&name) {
                let filter = pushdown::derive(&rule.query, action);
                filters.add(action, filter.unwrap_or_else(Filter::everything));
            }
        }
        filters
    }

    /// Where the files are that a rule is about, for sources that watch directories; `None`: they could be anywhere.
    pub fn rule_prefixes(&self, rule: usize) -> Option<BTreeSet<Prefix>> {
        if self.rule_filters(rule).actions().next().is_none() {
            return Some(BTreeSet::new());
        }
        prefixes::derive(self.rule(rule).query.condition())
    }

    /// Where the files are that any rule is about; `None`: they could be anywhere.
    pub fn prefixes(&self) -> Option<Vec<Prefix>> {
        let prefixes: Option<Vec<_>> = (0..self.rules.len()).map(|rule| self.rule_prefixes(rule)).collect();
        prefixes.map(|prefixes| prefixes.into_iter().flatten().collect())
    }

    /// The fields that rules and exceptions read.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// What a [`Document`] needs to answer this engine's questions.
    pub fn table(&self) -> &FieldTable {
        &self.table
    }

    /// The verdict of one rule on a document, at `now`.
    pub fn verdict<D: eql::Document + ?Sized>(&self, rule: usize, document: &D, now: Timestamp) -> Verdict {
        let compiled = &self.rules[rule];
        if !self.is_offered(compiled, document) {
            return Verdict::NotOffered;
        }
        let (verdict, not_honoured) = self.ask(compiled, document);
        let alert = match verdict {
            eql::Verdict::NoMatch(clause) => return Verdict::NoMatch(clause),
            eql::Verdict::Excluded(clause) => return Verdict::Excluded(Exclusion::Clause(clause)),
            eql::Verdict::Match => not_honoured.map_or(Verdict::Alert, Verdict::NotHonoured),
        };
        if !compiled.wants_failures && is(document.field(self.outcome), "failure") {
            return Verdict::Excluded(Exclusion::Failed);
        }
        let exception =
            compiled.exceptions.iter().find(|index| self.exceptions[**index].holds(document, now));
        exception.map_or(alert, |index| Verdict::Excluded(Exclusion::Exception(*index)))
    }

    /// What a rule's text says, and which clause said otherwise and is not honoured.
    fn ask<D: eql::Document + ?Sized>(
        &self,
        rule: &CompiledRule,
        document: &D,
    ) -> (eql::Verdict, Option<ClauseId>) {
        let verdict = rule.program.verdict(document);
        match verdict {
            // Most clauses have nothing to do with it, and are asked for nothing more.
            eql::Verdict::NoMatch(clause) | eql::Verdict::Excluded(clause)
                if rule.doubtful.contains(&clause)
                    && !matches!(document.field(self.untrusted), Value::Missing) =>
            {
                let without = Without { document, fields: &self.doubtful };
                (rule.program.verdict_without(document, &without), Some(clause))
            }
            _ => (verdict, None),
        }
    }

    /// Calls `found` for each rule that looks for the document, in the order of the rules.
    pub fn detect<D: eql::Document + ?Sized>(
        &self,
        document: &D,
        now: Timestamp,
        mut found: impl FnMut(usize, Verdict),
    ) {
        let mut asked = self.index.candidates();
        asked.add(document);
        for rule in asked.rules(document) {
            match self.verdict(rule, document, now) {
                Verdict::NoMatch(_) | Verdict::NotOffered => {}
                verdict @ (Verdict::Alert | Verdict::NotHonoured(_) | Verdict::Excluded(_)) => {
                    found(rule, verdict);
                }
            }
        }
    }

    /// Calls `found` for each rule that looks for the event, in the order of the rules.
    ///
    /// An event can have several true paths. A rule raises an alert if it does with one of them, the first that does;
    /// an event that it excludes with one path and does not look for with the others is excluded.
    pub fn detect_event<'e>(
        &'e self,
        event: &'e Event,
        now: Timestamp,
        mut found: impl FnMut(Detection<'e>),
    ) {
        let document = |candidate| Document::new(event, &self.table, candidate);
        let mut asked = self.index.candidates();
        for candidate in self.candidates(event) {
            asked.add(&document(candidate));
        }
        // What the candidates differ in is the path alone.
        for rule in asked.rules(&document(Candidate::default())) {
            let mut best = None;
            for candidate in self.candidates(event) {
                let verdict = self.verdict(rule, &document(candidate), now);
                match verdict {
                    Verdict::Alert | Verdict::NotHonoured(_) => {
                        best = Some(Detection { rule, verdict, candidate });
                    }
                    Verdict::Excluded(_) => best = best.or(Some(Detection { rule, verdict, candidate })),
                    Verdict::NoMatch(_) | Verdict::NotOffered => {}
                }
                if verdict.is_alert() {
                    break;
                }
            }
            if let Some(detection) = best {
                found(detection);
            }
        }
    }

    /// All paths that `event` can be about, the process's view first. A path whose beginning is unknown counts for what
    /// it could be: also for one in each directory that a rule's path begins with. What is known goes before what is assumed.
    pub fn candidates<'e>(&'e self, event: &'e Event) -> impl Iterator<Item = Candidate<'e>> {
        let paths = || event.file.paths.iter().enumerate();
        let known = paths().map(|(index, _)| Candidate { index, assumed_directory: None });
        let assumed = paths().filter(|(_, path)| path.truncated).flat_map(|(index, _)| {
            let directories = self.directories.iter();
            directories.map(move |directory| Candidate { index, assumed_directory: Some(directory.as_str()) })
        });
        known.chain(assumed)
    }

    /// The text of what decided `verdict`: a clause of the rule, `exception: NAME`, `event.outcome: failure`.
    pub fn clause(&self, rule: usize, verdict: Verdict) -> String {
        let compiled = &self.rules[rule];
        let text = |clause: ClauseId| compiled.program.clause(clause).text.clone();
        match verdict {
            Verdict::Alert | Verdict::NotHonoured(_) => {
                compiled.program.clauses()[compiled.subject].text.clone()
            }
            Verdict::NoMatch(clause) | Verdict::Excluded(Exclusion::Clause(clause)) => text(clause),
            Verdict::Excluded(Exclusion::Exception(index)) => {
                format!("exception: {}", self.exceptions[index].exception.name)
            }
            Verdict::Excluded(Exclusion::Failed) => "event.outcome: failure".to_owned(),
            Verdict::NotOffered => "event.action: the rule does not name it".to_owned(),
        }
    }

    /// The text of the clause that is not honoured, if `verdict` is an alert all the same.
    pub fn not_honoured(&self, rule: usize, verdict: Verdict) -> Option<&str> {
        match verdict {
            Verdict::NotHonoured(clause) => Some(&self.rules[rule].program.clause(clause).text),
            Verdict::Alert | Verdict::Excluded(_) | Verdict::NoMatch(_) | Verdict::NotOffered => None,
        }
    }

    /// What the authors of rules and exceptions should know: fields that are never filled, actions that never happen,
    /// paths that the kernel cannot look for, exceptions to rules that are not there.
    pub fn warnings(&self) -> Vec<Diagnostic> {
        let rules = self
            .rules
            .iter()
            .enumerate()
            .flat_map(|(index, rule)| check::rule_warnings(&rule.rule, &self.rule_filters(index)));
        let exceptions = self.exceptions.iter().flat_map(|exception| {
            let unknown = exception.exception.unknown_rules(self.rules());
            check::field_warnings(&exception.exception.query, &|error| {
                exception.exception.diagnostic(Level::Warning, error)
            })
            .into_iter()
            .chain(unknown)
        });
        rules.chain(exceptions).collect()
    }

    fn is_offered<D: eql::Document + ?Sized>(&self, rule: &CompiledRule, document: &D) -> bool {
        let action = document.field(self.action);
        BEYOND_ELASTIC_DEFEND.iter().all(|beyond| !is(action, beyond) || rule.actions.contains(beyond))
    }
}

impl CompiledRule {
    fn new(rule: Rule, program: Program, doubtful: &[FieldId]) -> Self {
        let named = |field: &str, value: &str| check::names(rule.query.condition(), field, value);
        Self {
            subject: subject(&rule.query, &program),
            doubtful: program.clauses_that_read(doubtful),
            exceptions: Vec::new(),
            actions: BEYOND_ELASTIC_DEFEND
                .iter()
                .copied()
                .filter(|beyond| named("event.action", beyond))
                .collect(),
            wants_failures: named("event.outcome", "failure"),
            rule,
            program,
        }
    }
}

/// The first condition on `file.path`, else on another field of the file, else the last condition: an index into the
/// program's clauses.
fn subject(query: &eql::Query, program: &Program) -> usize {
    let clauses = program.clauses();
    let conditions = || (0..clauses.len()).filter(|index| clauses[*index].kind == ClauseKind::Condition);
    let about = |wanted: fn(&str) -> bool| {
        conditions().find(|index| {
            let clause = clauses[*index].span;
            let within = |span: eql::Span| clause.start <= span.start && span.end <= clause.end;
            query.fields().iter().any(|(field, span)| within(*span) && wanted(&field.name))
        })
    };
    about(|name| name == "file.path")
        .or_else(|| about(|name| name.starts_with("file.")))
        .or_else(|| conditions().next_back())
        .unwrap_or_default()
}

fn is(value: Value<'_>, text: &str) -> bool {
    match value {
        Value::String(value) => value == text,
        Value::Array(array) => (0..array.len()).any(|index| is(array.get(index), text)),
        Value::Missing | Value::Bool(_) | Value::Integer(_) | Value::Float(_) => false,
    }
}

#[cfg(test)]
mod tests;
