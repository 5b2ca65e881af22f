//! What the sensor has to say about itself, to those who read alerts: that it did not see everything, and that it is there.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::alert::{Alert, Source};
use crate::event::Host;
use crate::rule::{Parsed, Rule};

/// A time in which not everything was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blindness {
    /// From when on.
    pub start: Timestamp,
    /// Until when.
    pub end: Timestamp,
}

/// The alert that nothing was seen for some time.
pub fn gap(host: &Host, time: Blindness, reason: &str, now: Timestamp) -> Option<Alert> {
    let message = format!("ldsentry did not watch this host from {} to {}: {reason}", time.start, time.end);
    let mut document = document(host, time, "gap", &message);
    document.insert("ldsentry".to_owned(), json!({"gap": {"reason": reason}}));
    alert(include_str!("gap.toml"), document, now)
}

/// The alert that so many events were lost.
pub fn lost(host: &Host, time: Blindness, count: u64, now: Timestamp) -> Option<Alert> {
    let message =
        format!("ldsentry lost at least {count} events of this host from {} to {}", time.start, time.end);
    let mut document = document(host, time, "lost", &message);
    document.insert("ldsentry".to_owned(), json!({"lost": {"count": count}}));
    alert(include_str!("lost.toml"), document, now)
}

fn alert(rule: &str, document: Map<String, Value>, now: Timestamp) -> Option<Alert> {
    match Rule::parse("notice", rule) {
        Parsed::Rule(rule, _) => {
            let source =
                Source { document, id: None, index: None, decided_by: "ldsentry itself", not_honoured: None };
            Some(Alert::new(&rule, source, now))
        }
        // They are parts of the program, and a test reads them.
        Parsed::Skipped(_) | Parsed::Invalid(_) => None,
    }
}

fn document(
    host: &Host,
    Blindness { start, end }: Blindness,
    action: &str,
    message: &str,
) -> Map<String, Value> {
    let duration = end.as_nanosecond().saturating_sub(start.as_nanosecond()).max(0);
    let document = json!({
        "@timestamp": end.to_string(),
        "message": message,
        "event": {
            "kind": "event",
            "category": ["host"],
            "type": ["error"],
            "action": action,
            "outcome": "failure",
            "id": format!("{action}-{}-{}", start.as_nanosecond(), end.as_nanosecond()),
            "start": start.to_string(),
            "end": end.to_string(),
            "duration": i64::try_from(duration).unwrap_or(i64::MAX),
            "module": "ldsentry",
            "dataset": "ldsentry.file",
        },
        "host": {
            "id": host.id,
            "name": host.hostname,
            "hostname": host.hostname,
            "boot": {"id": host.boot_id},
            "os": {"type": "linux"},
        },
        "agent": {"type": "ldsentry", "version": env!("CARGO_PKG_VERSION")},
    });
    let Value::Object(document) = document else { return Map::new() };
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time() -> Blindness {
        Blindness {
            start: "2026-11-26T10:00:00Z".parse().unwrap(),
            end: "2026-11-26T10:00:42.5Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_gap_says_from_when_to_when_and_why() {
        let host = crate::testing::event().host;
        let now = Timestamp::UNIX_EPOCH;
        let alert = gap(&host, time(), "the sensor did not run", now).unwrap();
        assert_eq!(alert.document["event"]["start"], "2026-11-26T10:00:00Z");
        assert_eq!(alert.document["event"]["end"], "2026-11-26T10:00:42.5Z");
        assert_eq!(alert.document["event"]["duration"], 42_500_000_000_i64);
        insta::assert_snapshot!(alert.to_pretty(false));
        let again = gap(&host, time(), "the sensor did not run", Timestamp::now()).unwrap();
        assert_eq!(alert.id, again.id, "told twice, it is stored once");
    }

    #[test]
    fn a_loss_says_how_many() {
        let host = crate::testing::event().host;
        let alert = lost(&host, time(), 17, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(alert.document["ldsentry"]["lost"]["count"], 17);
        insta::assert_snapshot!(alert.to_pretty(false));
    }
}
