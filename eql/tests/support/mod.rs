//! Events for tests: from TOML and JSON-like tables, flattened to dotted names.

use std::collections::BTreeMap;

use eql::{Array, Document, FieldId, Fields, Value};

/// A value that a test event holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Owned {
    Missing,
    Bool(bool),
    Integer(i64),
    Float(f64),
    String(String),
    Array(Elements),
}

/// The elements of an array.
#[derive(Debug, Clone, PartialEq)]
pub struct Elements(pub Vec<Owned>);

impl Array for Elements {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, index: usize) -> Value<'_> {
        self.0.get(index).map_or(Value::Missing, Owned::value)
    }
}

impl Owned {
    pub fn value(&self) -> Value<'_> {
        match self {
            Self::Missing => Value::Missing,
            Self::Bool(truth) => Value::Bool(*truth),
            Self::Integer(number) => Value::Integer(*number),
            Self::Float(number) => Value::Float(*number),
            Self::String(text) => Value::String(text),
            Self::Array(elements) => Value::Array(elements),
        }
    }
}

impl From<&str> for Owned {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

/// An event by the names of its fields.
#[derive(Debug, Clone, Default)]
pub struct Event(pub BTreeMap<String, Owned>);

impl Event {
    /// The event as programs that were compiled against `fields` see it.
    pub fn seen_by<'e>(&'e self, fields: &'e Fields) -> Seen<'e> {
        Seen { event: self, fields }
    }
}

/// An event together with the numbers of its fields.
pub struct Seen<'e> {
    event: &'e Event,
    fields: &'e Fields,
}

impl Document for Seen<'_> {
    fn field(&self, id: FieldId) -> Value<'_> {
        self.event.0.get(self.fields.name(id)).map_or(Value::Missing, Owned::value)
    }
}
