//! What the sensor has to say about itself, to those who read alerts: that it did not see everything, and that it is there.

use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::alert::{Alert, Source};
use crate::ecs;
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

/// What did not arrive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lost {
    /// Events that no rule saw.
    pub events: u64,
    /// Alerts that an output dropped, by the output.
    pub alerts: Vec<(&'static str, u64)>,
}

impl Lost {
    /// Whether everything arrived.
    pub fn is_nothing(&self) -> bool {
        self.events == 0 && self.alerts.is_empty()
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events = (self.events > 0).then(|| format!("at least {} events of this host", self.events));
        let alerts =
            self.alerts.iter().map(|(output, count)| format!("{count} alerts that {output} did not take"));
        f.write_str(&events.into_iter().chain(alerts).collect::<Vec<_>>().join(", and "))
    }
}

/// The alert that something was lost.
pub fn lost(host: &Host, time: Blindness, lost: &Lost, now: Timestamp) -> Option<Alert> {
    let message = format!("ldsentry lost {lost} from {} to {}", time.start, time.end);
    let mut document = document(host, time, "lost", &message);
    let mut fields = json!({"count": lost.events});
    if !lost.alerts.is_empty() {
        let outputs = lost.alerts.iter().map(|(output, count)| json!({"output": output, "count": count}));
        fields["alerts"] = outputs.collect();
    }
    document.insert("ldsentry".to_owned(), json!({"lost": fields}));
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
        "host": ecs::host(host),
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
        let events = Lost { events: 17, ..Lost::default() };
        let alert = lost(&host, time(), &events, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(alert.document["ldsentry"]["lost"], json!({"count": 17}));
        insta::assert_snapshot!(alert.to_pretty(false));
        let alerts = Lost { events: 0, alerts: vec![("file", 3), ("stdout", 5)] };
        let alert = lost(&host, time(), &alerts, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(
            alert.document["message"],
            "ldsentry lost 3 alerts that file did not take, and 5 alerts that stdout did not take \
             from 2026-11-26T10:00:00Z to 2026-11-26T10:00:42.5Z"
        );
        assert_eq!(alert.document["ldsentry"]["lost"]["alerts"][1]["output"], "stdout");
    }
}
