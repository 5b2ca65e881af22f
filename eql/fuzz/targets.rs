//! What is fuzzed: nothing may panic, overflow the stack or take long, whatever the bytes are, and what the engine says
//! must be consistent. The fuzzers run these functions without end; a test runs them over the corpus.

#![allow(dead_code, reason = "each fuzzer runs one of them")]

use eql::{Document, Error, FieldId, Fields, Query, Value, Verdict};

/// Lexer and parser.
pub fn parse(data: &[u8]) {
    let Ok(source) = std::str::from_utf8(data) else { return };
    for parsed in [Query::parse(source), Query::parse_condition(source)] {
        match parsed {
            Ok(query) => {
                for (field, span) in query.fields() {
                    assert!(!field.name.is_empty() || source.contains("``"));
                    assert!(!span.of(source).is_empty());
                }
                let again = Query::parse_condition(query.condition().span.of(source));
                assert!(again.is_ok(), "what a condition's span covers is a condition");
            }
            Err(error) => check(&error, source),
        }
    }
}

/// The compiler.
pub fn compile(data: &[u8]) {
    let Ok(source) = std::str::from_utf8(data) else { return };
    for parsed in [Query::parse(source), Query::parse_condition(source)] {
        let Ok(query) = parsed else { continue };
        match query.compile(&mut Fields::default()) {
            Ok(program) => {
                for clause in program.clauses() {
                    assert!(source.get(clause.span.start..clause.span.end).is_some());
                }
            }
            Err(error) => check(&error, source),
        }
    }
}

/// The evaluator: the bytes are a condition, a zero byte, and the values of its fields, separated by zero bytes.
pub fn evaluate(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = text.split('\0');
    let Ok(query) = Query::parse_condition(parts.next().unwrap_or_default()) else { return };
    let mut fields = Fields::default();
    let Ok(program) = query.compile(&mut fields) else { return };
    let event = Event(parts.collect());
    let verdict = program.verdict(&event);
    assert_eq!(program.matches(&event), verdict == Verdict::Match);
    let explanation = program.explain(&event);
    assert_eq!(explanation.truth, verdict == Verdict::Match);
}

fn check(error: &Error, source: &str) {
    let span = error.span();
    assert!(source.get(span.start..span.end).is_some(), "{span:?} lies within the source");
    let rendered = error.render("query", source);
    assert!(rendered.len() < 4_000, "{rendered}");
    assert!(!rendered.chars().any(|character| character.is_control() && character != '\n'));
}

/// Field `n` has value `n`: a number, a truth, nothing, several values or a text.
struct Event<'e>(Vec<&'e str>);

impl Document for Event<'_> {
    fn field(&self, id: FieldId) -> Value<'_> {
        match self.0.get(id.index()).copied() {
            None | Some("-") => Value::Missing,
            Some("true") => Value::Bool(true),
            Some("false") => Value::Bool(false),
            Some("*") => Value::Array(&self.0),
            Some(text) => text.parse().map_or(Value::String(text), Value::Integer),
        }
    }
}
