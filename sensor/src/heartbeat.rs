//! What tells others that the sensor is there, so that a host from which nothing comes any more is found.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::alert::State;
use crate::ecs;
use crate::event::Host;

/// How the sensor is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// How long until the next one, seconds.
    pub interval: u64,
    /// What it watches with.
    pub source: String,
    /// Since when, seconds.
    pub uptime: u64,
    /// Events lost since then.
    pub lost: u64,
}

/// The document that the sensor is there.
pub fn document(host: &Host, heartbeat: &Heartbeat, now: Timestamp) -> State {
    let Heartbeat { interval, source, uptime, lost } = heartbeat;
    let message = format!("ldsentry watches this host with {source}, {lost} events lost in {uptime} seconds");
    let document = json!({
        "@timestamp": now.to_string(),
        "message": message,
        "event": {
            "kind": "state",
            "category": ["host"],
            "type": ["info"],
            "action": "heartbeat",
            "outcome": "success",
            "id": format!("heartbeat-{}", now.as_nanosecond()),
            "module": "ldsentry",
            "dataset": "ldsentry.file",
        },
        "host": ecs::host(host),
        "agent": {"type": "ldsentry", "version": env!("CARGO_PKG_VERSION")},
        "ldsentry": {"heartbeat": {"interval": interval, "source": source, "uptime": uptime, "lost": lost}},
    });
    let Value::Object(document) = document else { return State::new(Map::new()) };
    State::new(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_no_alert_and_each_is_another() {
        let host = crate::testing::event().host;
        let state = Heartbeat { interval: 600, source: "fentry programs".to_owned(), uptime: 3600, lost: 0 };
        let first = document(&host, &state, Timestamp::UNIX_EPOCH);
        assert_eq!(first.document.get("kibana.alert.uuid"), None);
        assert_eq!(first.document["event"]["action"], "heartbeat");
        assert_eq!(first.document["event"]["kind"], "state");
        assert_eq!(
            first.document["ldsentry"]["heartbeat"],
            json!({"interval": 600, "source": "fentry programs", "uptime": 3600, "lost": 0})
        );
        assert_eq!(first.to_pretty(), format!("{}\n", first.document["message"].as_str().unwrap()));
        assert_ne!(first.id, document(&host, &state, "2026-11-27T00:00:00Z".parse().unwrap()).id);
    }
}
