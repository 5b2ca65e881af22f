//! The whole of a line, for an alert.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::alert;

/// As deep as a document's levels are kept; Elasticsearch itself takes 20. What lies deeper becomes `null`.
const MAX_DEPTH: usize = 64;

/// A document, and where it was if it comes from Elasticsearch.
pub(super) struct Hit {
    document: Map<String, Value>,
    id: Option<String>,
    index: Option<String>,
}

impl Hit {
    pub(super) fn parse(line: &[u8]) -> Result<Self, serde_json::Error> {
        // Skipping does not look at bytes; where they are no text, the rest of the document still counts.
        let text = String::from_utf8_lossy(line);
        let mut deserializer = serde_json::Deserializer::from_str(&text);
        let value = Pruned { depth: MAX_DEPTH }.deserialize(&mut deserializer)?;
        deserializer.end()?;
        let Value::Object(mut map) = value else {
            return Err(serde_json::Error::custom("expected an object"));
        };
        if !map.get("_source").is_some_and(Value::is_object) {
            return Ok(Self { document: map, id: None, index: None });
        }
        let mut text = |name: &str| match map.remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let (id, index) = (text("_id"), text("_index"));
        let document = match map.remove("_source") {
            Some(Value::Object(document)) => document,
            _ => Map::new(),
        };
        Ok(Self { document, id, index })
    }

    pub(super) fn source<'a>(
        &'a self,
        decided_by: &'a str,
        not_honoured: Option<&'a str>,
    ) -> alert::Source<'a> {
        alert::Source {
            document: self.document.clone(),
            id: self.id.as_deref(),
            index: self.index.as_deref(),
            decided_by,
            not_honoured,
        }
    }
}

/// A JSON value of bounded depth.
#[derive(Clone, Copy)]
struct Pruned {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Pruned {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.depth == 0 {
            // Skipping does not recurse, however deep what is skipped may be.
            return deserializer.deserialize_ignored_any(IgnoredAny).map(|_| Value::Null);
        }
        deserializer.deserialize_any(PrunedVisitor(Self { depth: self.depth - 1 }))
    }
}

struct PrunedVisitor(Pruned);

impl<'de> Visitor<'de> for PrunedVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(truth.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = sequence.next_element_seed(self.0)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            map.insert(key, entries.next_value_seed(self.0)?);
        }
        Ok(Value::Object(map))
    }
}
