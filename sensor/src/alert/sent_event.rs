//! An event as a document of its own, for whoever runs other rules on it.

use serde_json::{Map, Value};

use super::document::text;
use crate::ecs;

/// An event, as the document that Elastic's own rules look for.
#[derive(Debug, Clone, PartialEq)]
pub struct SentEvent {
    /// `_id`: the same for the same event, however often it is delivered.
    pub id: String,
    /// The whole document.
    pub document: Map<String, Value>,
}

impl SentEvent {
    /// The event whose document this is.
    pub fn new(document: Map<String, Value>) -> Self {
        let part = |name| text(&document, name).unwrap_or_default();
        let id = ecs::identity(&["event", part("host.id"), part("host.boot.id"), part("event.id")]);
        Self { id, document }
    }

    /// The document as one line, without a line end.
    pub fn to_line(&self) -> String {
        // A JSON value always has a text.
        serde_json::to_string(&self.document).unwrap_or_default()
    }
}
