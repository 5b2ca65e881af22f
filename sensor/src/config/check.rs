//! Holds a parsed file against the schema before serde sees it: every misspelt key and choice and every wrong
//! type is found at once, each with its place and what to write instead.

use std::ops::Range;

use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Problem;
use super::source::SourceFile;

/// What in `table` does not fit `schema`: unknown keys, unknown choices, wrong types.
pub(super) fn misfits(table: &DeTable<'_>, schema: &Json, source: &SourceFile) -> Vec<Problem> {
    let mut check = Check { source, problems: Vec::new() };
    check.table(table, schema, "");
    check.problems
}

/// The dotted key of the innermost value that spans `offset`.
pub(super) fn key_at(table: &DeTable<'_>, offset: usize) -> Option<String> {
    let covers = |span: Range<usize>| span.contains(&offset);
    table.iter().find_map(|(key, value)| {
        let inner = match value.get_ref() {
            DeValue::Table(inner) => key_at(inner, offset),
            DeValue::Array(items) => items.iter().find_map(|item| match item.get_ref() {
                DeValue::Table(inner) => key_at(inner, offset),
                _ => None,
            }),
            _ => None,
        };
        match inner {
            Some(inner) => Some(format!("{}.{inner}", key.get_ref())),
            None if covers(value.span()) || covers(key.span()) => Some(key.get_ref().to_string()),
            None => None,
        }
    })
}

/// Where the key that these names lead to stands, or the last one of them that is there.
pub(super) fn offset_of(table: &DeTable<'_>, names: &[&str]) -> usize {
    let Some((first, rest)) = names.split_first() else { return 0 };
    let Some((key, value)) = table.get_key_value(*first) else { return 0 };
    match value.get_ref() {
        DeValue::Table(inner) if !rest.is_empty() => match offset_of(inner, rest) {
            0 => key.span().start,
            offset => offset,
        },
        _ => key.span().start,
    }
}

struct Check<'a> {
    source: &'a SourceFile,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn table(&mut self, table: &DeTable<'_>, schema: &Json, path: &str) {
        let Some(properties) = schema["properties"].as_object() else { return };
        for (key, value) in table {
            let key_path = join(path, key.get_ref());
            match properties.get(key.get_ref().as_ref()) {
                Some(property) => self.value(value, property, &key_path),
                None => self.report(
                    key.span(),
                    &key_path,
                    "unknown key".to_owned(),
                    key.get_ref(),
                    &properties.keys().map(String::as_str).collect::<Vec<_>>(),
                ),
            }
        }
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, schema: &Json, path: &str) {
        let (expected, found) = (expected_type(schema), value.get_ref().type_str());
        if expected.is_some_and(|expected| expected != found) {
            let example =
                [&schema["default"], &schema["examples"][0]].into_iter().find(|json| !json.is_null());
            self.problems.push(Problem {
                position: self.source.position(value.span().start),
                key: Some(path.to_owned()),
                message: format!("expected {}, found {found}", expected.unwrap_or_default()),
                remedy: example.filter(|json| !json.is_object()).map(|json| format!("such as {json}")),
            });
            return;
        }
        match value.get_ref() {
            DeValue::Table(table) => self.table(table, schema, path),
            DeValue::Array(items) => {
                for item in items {
                    self.value(item, &schema["items"], path);
                }
            }
            DeValue::String(text) => {
                let choices = choices(schema);
                if !choices.is_empty() && !choices.contains(&text.as_ref()) {
                    self.report(value.span(), path, format!("unknown value `{text}`"), text, &choices);
                }
            }
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
        }
    }

    fn report(&mut self, at: Range<usize>, path: &str, message: String, found: &str, known: &[&str]) {
        let nearest = known
            .iter()
            .map(|name| (strsim::damerau_levenshtein(&found.to_lowercase(), name), name))
            .filter(|(distance, name)| *distance <= 1 + name.len() / 3)
            .min_by_key(|(distance, _)| *distance);
        let remedy = match nearest {
            Some((_, name)) => format!("did you mean `{name}`?"),
            None => format!("known here: {}", known.join(", ")),
        };
        let position = self.source.position(at.start);
        self.problems.push(Problem { position, key: Some(path.to_owned()), message, remedy: Some(remedy) });
    }
}

/// The strings that `schema` allows, if it is a closed choice.
pub(super) fn choices(schema: &Json) -> Vec<&str> {
    let listed = schema["enum"].as_array().into_iter().flatten().filter_map(Json::as_str);
    let described = schema["oneOf"].as_array().into_iter().flatten();
    listed
        .chain(described.flat_map(|choice| {
            let one = choice["const"].as_str();
            one.into_iter().chain(choice["enum"].as_array().into_iter().flatten().filter_map(Json::as_str))
        }))
        .collect()
}

/// What TOML calls the type that `schema` asks for.
fn expected_type(schema: &Json) -> Option<&str> {
    match (schema["type"].as_str()?, schema["format"].as_str()) {
        ("string", Some("date")) => Some("datetime"),
        ("object", _) => Some("table"),
        (other, _) => Some(other),
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
