//! An alert: the document of the event that raised it, with `kibana.alert.*` fields as Elastic's own alerts have them.

mod document;
mod line;
mod pretty;
mod sent_event;
mod state;
mod suppressed;

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

pub use self::document::lookup;
pub(crate) use self::document::rule_interval;
use self::document::{flatten, remove, text, texts};
pub use self::line::{Line, Template};
pub use self::pretty::escape;
pub use self::sent_event::SentEvent;
pub use self::state::State;
pub use self::suppressed::Suppressed;
use crate::ecs;
use crate::rule::Rule;

/// `data_stream.dataset` of alerts.
pub const DATASET: &str = "ldsentry.alerts";

/// An alert, ready to be delivered.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// `_id`: the same whenever the same rule in the same version sees the same event, so that what is delivered twice is
    /// stored once.
    pub id: String,
    /// `kibana.alert.rule.rule_id`
    pub rule_id: String,
    /// The whole document.
    pub document: Map<String, Value>,
}

/// What an alert is made of, beside the rule.
#[derive(Debug, Clone)]
pub struct Source<'a> {
    /// The event's document.
    pub document: Map<String, Value>,
    /// `_id` of the document, where it comes from Elasticsearch.
    pub id: Option<&'a str>,
    /// `_index` of the document, where it comes from Elasticsearch.
    pub index: Option<&'a str>,
    /// The clause of the rule by which the event is what the rule looks for.
    pub decided_by: &'a str,
    /// The clause that would have excluded it, but rests on an executable that is not trusted.
    pub not_honoured: Option<&'a str>,
}

impl Alert {
    /// The alert that `rule` raises about an event, at `now`.
    pub fn new(rule: &Rule, source: Source<'_>, now: Timestamp) -> Self {
        let Source { mut document, id: document_id, index, decided_by, not_honoured } = source;
        let event_id = text(&document, "event.id").or(document_id).map(str::to_owned);
        let id = alert_id(rule, &document, event_id.as_deref());
        let reason = reason(rule, &document);
        let original_event = flatten(&document, "event");
        let original_time = lookup(&document, "@timestamp").cloned();
        let index = index.map_or_else(|| source_index(&document), str::to_owned);

        for name in ["event.kind", "@timestamp", "data_stream"] {
            remove(&mut document, name);
        }
        let now = json!(now.to_string());
        document.shift_insert(0, "@timestamp".to_owned(), now.clone());
        match document.get_mut("event").and_then(Value::as_object_mut) {
            Some(event) => event.shift_insert(0, "kind".to_owned(), json!("signal")),
            None => document.insert("event.kind".to_owned(), json!("signal")),
        };
        document.insert(
            "data_stream".to_owned(),
            json!({"type": "logs", "dataset": DATASET, "namespace": "default"}),
        );
        note_decision(&mut document, decided_by, not_honoured);

        let mut add = |key: &str, value: Value| document.insert(format!("kibana.alert.{key}"), value);
        add("uuid", json!(id));
        for (key, value) in state_fields(rule) {
            add(key, value);
        }
        add("reason", json!(reason));
        add("start", now);
        if let Some(time) = original_time {
            add("original_time", time);
        }
        for (key, value) in original_event {
            add(&format!("original_event.{key}"), value);
        }
        let ancestor = event_id.unwrap_or_else(|| id.clone());
        add("ancestors", json!([{"id": ancestor, "type": "event", "index": index, "depth": 0}]));
        for (key, value) in rule_fields(rule) {
            add(&format!("rule.{key}"), value);
        }
        document.insert("kibana.space_ids".to_owned(), json!(["default"]));
        Self { id, rule_id: rule.id.clone(), document }
    }

    /// The document as one line, without a line end.
    pub fn to_line(&self) -> String {
        // A JSON value always has a text.
        serde_json::to_string(&self.document).unwrap_or_default()
    }

    /// The alert for a person at a terminal: several lines, the last one ended. Nothing in it steers the terminal
    /// but the colours, if they are wanted.
    pub fn to_pretty(&self, color: bool) -> String {
        pretty::render(self, color)
    }
}

/// Of `kibana.alert.*`, what a new alert of a rule begins with.
fn state_fields(rule: &Rule) -> [(&'static str, Value); 7] {
    [
        ("status", json!("active")),
        ("workflow_status", json!("open")),
        ("workflow_tags", json!([])),
        ("workflow_assignee_ids", json!([])),
        ("depth", json!(1)),
        ("severity", json!(rule.severity.as_str())),
        ("risk_score", json!(rule.risk_score)),
    ]
}

/// `kibana.alert.rule.*`
fn rule_fields(rule: &Rule) -> Vec<(&'static str, Value)> {
    vec![
        ("name", json!(rule.name)),
        ("uuid", json!(rule.id)),
        ("rule_id", json!(rule.id)),
        ("rule_type_id", json!("siem.eqlRule")),
        ("type", json!("eql")),
        ("category", json!("Event Correlation Rule")),
        ("consumer", json!("siem")),
        ("producer", json!("siem")),
        ("version", json!(rule.version)),
        ("severity", json!(rule.severity.as_str())),
        ("risk_score", json!(rule.risk_score)),
        ("description", json!(rule.description)),
        ("note", json!(rule.note.as_deref().unwrap_or_default())),
        ("author", json!(rule.author)),
        ("license", json!(rule.license)),
        ("tags", json!(rule.tags)),
        ("references", json!(rule.references)),
        ("false_positives", json!(rule.false_positives)),
        ("threat", json!(rule.threat)),
        ("from", json!(rule.from)),
        ("to", json!("now")),
        ("interval", json!(rule.interval)),
        ("max_signals", json!(rule.max_signals)),
        ("indices", json!(rule.index)),
        ("enabled", json!(true)),
        ("immutable", json!(false)),
        (
            "parameters",
            json!({
                "type": "eql",
                "language": "eql",
                "query": rule.query.source(),
                "index": rule.index,
                "rule_id": rule.id,
                "version": rule.version,
                "severity": rule.severity.as_str(),
                "risk_score": rule.risk_score,
                "from": rule.from,
                "max_signals": rule.max_signals,
            }),
        ),
    ]
}

fn alert_id(rule: &Rule, document: &Map<String, Value>, event_id: Option<&str>) -> String {
    let [host, boot] = ["host.id", "host.boot.id"].map(|name| text(document, name).unwrap_or_default());
    let event = match event_id {
        Some(id) => Cow::Borrowed(id),
        // Without an id, an event is what it says.
        None => Cow::Owned(serde_json::to_string(document).unwrap_or_default()),
    };
    hash([host, boot, &event, &rule.id, &rule.version.to_string()])
}

fn hash(parts: [&str; 5]) -> String {
    ecs::hex(&ecs::add_parts(Sha256::new(), &parts).finalize())
}

/// The sentence that Kibana shows in the list of alerts. Parts that the event does not have are left out.
fn reason(rule: &Rule, document: &Map<String, Value>) -> String {
    let mut sentence = texts(document, "event.category").join(",");
    sentence.push_str(if sentence.is_empty() { "event" } else { " event" });
    let mut joint = " with";
    for (what, field) in [("process", "process.name"), ("file", "file.name")] {
        if let Some(name) = text(document, field) {
            sentence = format!("{sentence}{joint} {what} {name},");
            joint = "";
        }
    }
    for (preposition, field) in [("by", "user.name"), ("on", "host.name")] {
        if let Some(name) = text(document, field) {
            sentence = format!("{sentence} {preposition} {name}");
        }
    }
    format!("{sentence} created {} alert {}.", rule.severity.as_str(), rule.name)
}

/// Where the event's document is, or would be.
fn source_index(document: &Map<String, Value>) -> String {
    let part = |name| text(document, name).unwrap_or_default();
    match part("data_stream.dataset") {
        "" => String::new(),
        dataset => format!("{}-{dataset}-{}", part("data_stream.type"), part("data_stream.namespace")),
    }
}

fn note_decision(document: &mut Map<String, Value>, decided_by: &str, not_honoured: Option<&str>) {
    let not_honoured =
        not_honoured.map(|clause| json!({"clause": clause, "reason": untrusted_because(document)}));
    let own = document.entry("ldsentry").or_insert_with(|| json!({}));
    if let Some(own) = own.as_object_mut() {
        own.insert("decided_by".to_owned(), json!(decided_by));
        if let Some(not_honoured) = not_honoured {
            own.insert("not_honoured".to_owned(), not_honoured);
        }
    }
}

/// Why the executable of the event in `document` is not trusted, in a sentence.
fn untrusted_because(document: &Map<String, Value>) -> String {
    let doubts = texts(document, "ldsentry.process.executable.untrusted");
    not_trusted(doubts.into_iter())
}

/// A sentence of the values of `ldsentry.process.executable.untrusted`.
pub fn not_trusted<'d>(doubts: impl Iterator<Item = &'d str>) -> String {
    let remarks: Vec<_> = doubts.map(|doubt| ecs::remark(doubt).unwrap_or(doubt)).collect();
    format!("the executable {}", remarks.join(", and it "))
}

#[cfg(test)]
mod tests;
