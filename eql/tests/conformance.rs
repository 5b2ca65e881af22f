//! The language as data: every file in `conformance/` is one section of its description, with queries, events and
//! what must come of them.
//!
//! ```toml
//! [[case]]
//! query = 'any where file.name : "*.sh"'   # or condition = '…', without a category
//! events = [{ file.name = "a.sh" }]        # true for all of these
//! not = [{ file.name = "a.py" }, {}]       # and false for all of these
//!
//! [[case]]
//! query = 'any where a = 1'
//! error = "write `==`"                      # part of the message or its help
//! at = "="                                  # the text that the error points at
//! ```

mod support;

use std::fs;
use std::path::Path;

use eql::{Fields, Program, Query, Verdict};
use serde::Deserialize;
use support::{Elements, Event, Owned};
use toml::{Table, Value};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    title: String,
    about: String,
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    query: Option<String>,
    condition: Option<String>,
    #[serde(default)]
    events: Vec<Table>,
    #[serde(default)]
    not: Vec<Table>,
    error: Option<String>,
    at: Option<String>,
    /// Why this is so, if that is not plain.
    #[serde(default)]
    note: String,
}

impl Case {
    fn source(&self) -> &str {
        self.query.as_deref().or(self.condition.as_deref()).unwrap_or_default()
    }

    fn compile(&self, fields: &mut Fields) -> Result<Program, eql::Error> {
        let query = match (&self.query, &self.condition) {
            (Some(query), None) => Query::parse(query)?,
            (None, Some(condition)) => Query::parse_condition(condition)?,
            _ => panic!("a case has either a query or a condition"),
        };
        query.compile(fields)
    }

    /// What is not as the case demands.
    fn failures(&self) -> Vec<String> {
        let mut fields = Fields::default();
        let compiled = self.compile(&mut fields);
        let program = match (compiled, &self.error) {
            (Ok(program), None) => program,
            (Ok(_), Some(expected)) => return vec![format!("is accepted, expected the error {expected:?}")],
            (Err(error), None) => {
                return vec![format!("is refused:\n{}", error.render("case", self.source()))];
            }
            (Err(error), Some(expected)) => {
                let mut failures = Vec::new();
                let said = format!("{}; {}", error.message(), error.help().unwrap_or_default());
                if !said.contains(expected.as_str()) {
                    failures.push(format!("expected the error {expected:?}, found {said:?}"));
                }
                let at = error.span().of(self.source());
                if self.at.as_ref().is_some_and(|expected| expected != at) {
                    failures.push(format!("expected the error at {:?}, found {at:?}", self.at));
                }
                return failures;
            }
        };
        if self.events.is_empty() && self.not.is_empty() {
            return vec!["has no event".to_owned()];
        }
        let expected =
            self.events.iter().map(|event| (event, true)).chain(self.not.iter().map(|event| (event, false)));
        let mut failures = Vec::new();
        for (table, truth) in expected {
            let mut event = Event::default();
            flatten("", table, &mut event);
            let seen = event.seen_by(&fields);
            if program.matches(&seen) != truth {
                failures.push(format!("expected {truth} for {table}"));
            }
            assert_eq!(program.matches(&seen), program.verdict(&seen) == Verdict::Match, "{}", self.source());
            assert_eq!(program.matches(&seen), program.explain(&seen).truth, "{}", self.source());
        }
        failures
    }
}

/// Tables are objects, and dotted keys are the same as nested ones; the string `"null"` in an array of one is not
/// needed: a missing key is a missing field.
fn flatten(prefix: &str, table: &Table, event: &mut Event) {
    for (key, value) in table {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(table) => flatten(&name, table, event),
            value => {
                event.0.insert(name, owned(value));
            }
        }
    }
}

fn owned(value: &Value) -> Owned {
    match value {
        Value::String(text) => Owned::String(text.clone()),
        Value::Integer(number) => Owned::Integer(*number),
        Value::Float(number) => Owned::Float(*number),
        Value::Boolean(truth) => Owned::Bool(*truth),
        Value::Array(elements) => Owned::Array(Elements(elements.iter().map(owned).collect())),
        Value::Datetime(time) => Owned::String(time.to_string()),
        Value::Table(_) => Owned::Missing,
    }
}

#[test]
fn conformance() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    assert!(!paths.is_empty());
    let mut failures = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let section: Section = match toml::from_str(&fs::read_to_string(&path).unwrap()) {
            Ok(section) => section,
            Err(error) => panic!("{name}: {error}"),
        };
        assert!(!section.title.is_empty() && !section.about.is_empty(), "{name} tells what it is about");
        for case in &section.case {
            let note = if case.note.is_empty() { String::new() } else { format!(" ({})", case.note) };
            failures.extend(
                case.failures().iter().map(|failure| format!("{name}: {}{note}: {failure}", case.source())),
            );
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}
