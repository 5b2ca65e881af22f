//! An alert as a message of RFC 5424.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::alert::{escape, lookup};
use crate::config::{Facility, SyslogMessage};

/// The number that RFC 5612 sets aside for those who have none of their own.
const STRUCTURED_DATA_ID: &str = "ldsentry@32473";

/// Parameters of the structured data, and the fields that they show.
const PARAMETERS: [(&str, &str); 12] = [
    ("alert_id", "kibana.alert.uuid"),
    ("rule_id", "kibana.alert.rule.rule_id"),
    ("rule_name", "kibana.alert.rule.name"),
    ("severity", "kibana.alert.severity"),
    ("risk_score", "kibana.alert.risk_score"),
    ("event_action", "event.action"),
    ("event_outcome", "event.outcome"),
    ("file_path", "file.path"),
    ("process_executable", "process.executable"),
    ("process_pid", "process.pid"),
    ("user_name", "user.name"),
    ("host_name", "host.name"),
];

/// The message for the alert whose document is `line`, without framing.
pub(super) fn format(line: &str, facility: Facility, body: SyslogMessage) -> String {
    let document: Map<String, Value> = serde_json::from_str(line).unwrap_or_default();
    let field =
        |name| lookup(&document, name).map(|value| value.as_str().map_or(value.to_string(), str::to_owned));
    let severity = match field("kibana.alert.severity").as_deref() {
        Some("critical") => 2,
        Some("high") => 3,
        Some("low") => 5,
        _ => 4,
    };
    let priority = facility as u8 * 8 + severity;
    let time = field("@timestamp").and_then(|time| time.parse::<Timestamp>().ok());
    // The format takes six digits of a second's fraction and no more.
    let time = time.map_or("-".to_owned(), |time| time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string());
    let host = header_value(&field("host.hostname").unwrap_or_default(), 255);
    let pid = std::process::id();
    let mut message = format!("<{priority}>1 {time} {host} ldsentry {pid} alert [{STRUCTURED_DATA_ID}");
    for (parameter, name) in PARAMETERS {
        if let Some(value) = field(name) {
            let _ = write!(message, " {parameter}=\"{}\"", parameter_value(&value));
        }
    }
    // What follows is UTF-8, as the mark says.
    message.push_str("] \u{feff}");
    match body {
        SyslogMessage::Reason => {
            let reason = field("kibana.alert.reason").or_else(|| field("message"));
            message.push_str(&escape(&reason.unwrap_or_default()));
        }
        SyslogMessage::Json => message.push_str(line),
    }
    message
}

/// Printable ASCII, or `-`.
fn header_value(text: &str, longest: usize) -> String {
    let value: String = text.chars().filter(char::is_ascii_graphic).take(longest).collect();
    if value.is_empty() { "-".to_owned() } else { value }
}

fn parameter_value(text: &str) -> String {
    let mut value = String::new();
    for character in escape(text).chars() {
        if matches!(character, '"' | '\\' | ']') {
            value.push('\\');
        }
        value.push(character);
    }
    value
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn formatted(document: &Value, body: SyslogMessage) -> String {
        let pid = format!(" {} ", std::process::id());
        format(&document.to_string(), Facility::Authpriv, body).replace(&pid, " PID ")
    }

    #[test]
    fn an_alert_is_a_message_with_structured_data() {
        let document = json!({
            "@timestamp": "2026-11-23T09:15:00.123456789Z",
            "event": {"action": "creation"},
            "file": {"path": "/etc/ld.so.conf.d/a \"b\" [c]\\\n<13>1 - - forged"},
            "host": {"hostname": "h1"},
            "kibana.alert.severity": "high",
            "kibana.alert.risk_score": 73,
            "kibana.alert.reason": "file event\ncreated high alert",
        });
        let message = formatted(&document, SyslogMessage::Reason);
        insta::assert_snapshot!(message.replace('\u{feff}', "BOM"), @r#"<83>1 2026-11-23T09:15:00.123456Z h1 ldsentry PID alert [ldsentry@32473 severity="high" risk_score="73" event_action="creation" file_path="/etc/ld.so.conf.d/a \"b\" [c\]\\\\n<13>1 - - forged"] BOMfile event\ncreated high alert"#);
        assert!(formatted(&document, SyslogMessage::Json).ends_with(&format!("] \u{feff}{document}")));
    }

    #[test]
    fn what_is_missing_is_left_out() {
        let message = formatted(&json!({"host": {"hostname": "ä b"}}), SyslogMessage::Reason);
        assert_eq!(message, "<84>1 - b ldsentry PID alert [ldsentry@32473] \u{feff}");
        assert!(
            format("no JSON", Facility::Local7, SyslogMessage::Reason).starts_with("<188>1 - - ldsentry ")
        );
    }
}
