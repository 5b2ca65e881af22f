//! What is so, and no alert: a document of the inventory.

use serde_json::{Map, Value};

use super::document::text;
use super::pretty::escape;
use crate::ecs;

/// A document that says how something is.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// `_id`: the same for the same state of the same file.
    pub id: String,
    /// The whole document.
    pub document: Map<String, Value>,
}

impl State {
    /// The document with its id.
    pub fn new(document: Map<String, Value>) -> Self {
        let part = |name| text(&document, name).unwrap_or_default();
        let id = ecs::identity(&["state", part("host.id"), part("host.boot.id"), part("event.id")]);
        Self { id, document }
    }

    /// The document as one line, without a line end.
    pub fn to_line(&self) -> String {
        // A JSON value always has a text.
        serde_json::to_string(&self.document).unwrap_or_default()
    }

    /// For a person at a terminal: one line, ended.
    pub fn to_pretty(&self) -> String {
        let get = |name| escape(text(&self.document, name).unwrap_or_default());
        // What is about no file says itself what it is about.
        let message = get("message");
        if !message.is_empty() {
            return format!("{message}\n");
        }
        let mut line = format!("there is {}, changed {}", get("file.path"), get("file.mtime"));
        for (what, field) in [("owner", "file.owner"), ("named by", "ldsentry.inventory.named_by")] {
            let value = get(field);
            if !value.is_empty() {
                line = format!("{line}, {what} {value}");
            }
        }
        line + "\n"
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_person_gets_a_line() {
        let Value::Object(document) = json!({
            "event": {"id": "i"},
            "file": {"path": "/a\n", "mtime": "2026-11-26T00:00:00Z", "owner": "root"},
            "ldsentry": {"inventory": {"named_by": "/etc/ld.so.preload"}},
        }) else {
            panic!("no object")
        };
        let state = State::new(document);
        assert_eq!(state.id, State::new(state.document.clone()).id);
        assert_eq!(
            state.to_pretty(),
            "there is /a\\n, changed 2026-11-26T00:00:00Z, owner root, named by /etc/ld.so.preload\n"
        );
    }
}
