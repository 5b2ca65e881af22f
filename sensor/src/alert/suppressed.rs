//! What raised no alert, and why: the document of the event with `ldsentry.suppressed`.

use serde_json::{Map, Value, json};

use super::{alert_id, document::text};
use crate::rule::Rule;

/// An event that a rule looks for and that raised no alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Suppressed {
    /// The `_id` that the alert would have had.
    pub id: String,
    /// The whole document.
    pub document: Map<String, Value>,
}

impl Suppressed {
    /// What `clause` kept `rule` from alerting on.
    pub fn new(rule: &Rule, mut document: Map<String, Value>, clause: &str) -> Self {
        let event_id = text(&document, "event.id").map(str::to_owned);
        let id = alert_id(rule, &document, event_id.as_deref());
        let own = document.entry("ldsentry").or_insert_with(|| json!({}));
        if let Some(own) = own.as_object_mut() {
            own.insert(
                "suppressed".to_owned(),
                json!({"rule_id": rule.id, "rule_name": rule.name, "rule_version": rule.version, "clause": clause}),
            );
        }
        Self { id, document }
    }

    /// The document as one line, without a line end.
    pub fn to_line(&self) -> String {
        // A JSON value always has a text.
        serde_json::to_string(&self.document).unwrap_or_default()
    }
}
