//! `max_signals`: how many alerts of a rule an output sends in the rule's interval, and what becomes of the rest.
//!
//! A state machine: alerts bring their time with them, and whoever asks for what is due gives it. What exceeds the
//! number is told in one summary when the interval is over. An executable or path that has not been seen in the
//! interval is never held back: a hundred decoys must not hide the attack.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::alert::{lookup, rule_interval};
use crate::sink::spool::Spooled;

/// Executables and paths that are remembered; what comes beyond them counts as not seen, and is sent.
const MOST_SEEN: usize = 1000;

/// Executables and paths that a summary names.
const MOST_NAMED: usize = 50;

/// The state for one output: by rule, what was sent in the interval that runs.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Signals(BTreeMap<String, Window>);

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Window {
    /// In milliseconds, as all times here.
    end: i64,
    /// Those of an earlier version did not say; such a window is over.
    #[serde(default)]
    interval: i64,
    sent: u64,
    seen: BTreeSet<String>,
    held: Option<Held>,
}

/// What the summary is about.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    count: u64,
    first: i64,
    last: i64,
    first_id: String,
    executables: BTreeSet<String>,
    paths: BTreeSet<String>,
    /// The document of the first one: rule and host are those of all.
    document: Map<String, Value>,
}

impl Signals {
    /// The state that [`Signals::to_bytes`] gave; a fresh one from other bytes. The clock may have been set back since: no
    /// interval ends later than one that begins `now` would.
    pub(super) fn from_bytes(bytes: &[u8], now: i64) -> Self {
        let mut signals: Self = serde_json::from_slice(bytes).unwrap_or_default();
        for window in signals.0.values_mut() {
            window.end = window.end.min(now.saturating_add(window.interval));
        }
        signals
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        if self.0.is_empty() { Vec::new() } else { serde_json::to_vec(self).unwrap_or_default() }
    }

    /// What is sent of `alerts`, with the summaries of intervals that are over before one of them.
    pub(super) fn admit(&mut self, alerts: &[Arc<Spooled>]) -> Vec<Arc<Spooled>> {
        let mut sent = Vec::with_capacity(alerts.len());
        for alert in alerts {
            sent.extend(self.expire(alert.time));
            if self.admit_one(alert) {
                sent.push(Arc::clone(alert));
            }
        }
        sent
    }

    /// When the next summary is due.
    pub(super) fn due(&self) -> Option<i64> {
        self.0.values().filter(|window| window.held.is_some()).map(|window| window.end).min()
    }

    /// Ends the intervals that are over at `now`. Gives their summaries.
    pub(super) fn expire(&mut self, now: i64) -> Vec<Arc<Spooled>> {
        let over = self.0.extract_if(.., |_, window| window.end <= now);
        over.filter_map(|(rule, window)| window.held.map(|held| Arc::new(held.summary(&rule)))).collect()
    }

    fn admit_one(&mut self, alert: &Spooled) -> bool {
        let Ok(document) = serde_json::from_str::<Map<String, Value>>(&alert.line) else { return true };
        let text = |name| lookup(&document, name).and_then(Value::as_str);
        let (Some(rule), Some(limit), Some(interval)) = (
            text("kibana.alert.rule.rule_id"),
            lookup(&document, "kibana.alert.rule.max_signals").and_then(Value::as_u64),
            rule_interval(&document),
        ) else {
            return true;
        };
        let (executable, path) = (text("process.executable"), text("file.path"));
        let interval = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
        let window = self.0.entry(rule.to_owned()).or_insert_with(|| Window {
            end: alert.time.saturating_add(interval),
            interval,
            sent: 0,
            seen: BTreeSet::new(),
            held: None,
        });
        // Both are looked at, so that both are remembered.
        let is_new = window.is_new("executable", executable) | window.is_new("path", path);
        if window.sent < limit || is_new {
            window.sent += 1;
            return true;
        }
        let named = |names: &mut BTreeSet<String>, name: Option<&str>| {
            if names.len() < MOST_NAMED {
                names.extend(name.map(str::to_owned));
            }
        };
        let (executable, path) = (executable.map(str::to_owned), path.map(str::to_owned));
        let held = window.held.get_or_insert_with(|| Held {
            count: 0,
            first: alert.time,
            last: alert.time,
            first_id: alert.id.clone(),
            executables: BTreeSet::new(),
            paths: BTreeSet::new(),
            document,
        });
        held.count += 1;
        held.last = alert.time;
        named(&mut held.executables, executable.as_deref());
        named(&mut held.paths, path.as_deref());
        false
    }
}

impl Window {
    /// Whether a value was not seen before, which cannot be told once there are too many.
    fn is_new(&mut self, kind: &str, value: Option<&str>) -> bool {
        let hash = Sha256::digest(format!("{kind} {}", value.unwrap_or_default()));
        let hash = format!("{hash:x}")[..32].to_owned();
        if self.seen.len() >= MOST_SEEN { !self.seen.contains(&hash) } else { self.seen.insert(hash) }
    }
}

impl Held {
    fn summary(self, rule: &str) -> Spooled {
        let Self { count, first, last, first_id, executables, paths, mut document } = self;
        let text = |document: &Map<String, Value>, name: &str| {
            lookup(document, name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let hash = Sha256::digest(format!("summary {rule} {first_id}"));
        let id = format!("{hash:x}");
        let time = |milliseconds| Timestamp::from_millisecond(milliseconds).unwrap_or_default().to_string();
        let (name, host) = (text(&document, "kibana.alert.rule.name"), text(&document, "host.name"));
        let reason = format!(
            "{count} further alerts {name} on {host}, by executables and at paths that were reported before, were not sent \
             one by one: the rule's max_signals was reached."
        );
        // What is left is what all of them have in common.
        document.retain(|field, _| {
            let common = ["host", "agent", "ecs", "data_stream", "kibana.space_ids"];
            common.contains(&field.as_str())
                || (field.starts_with("kibana.alert.")
                    && !field.starts_with("kibana.alert.original_")
                    && field != "kibana.alert.ancestors")
        });
        for (field, value) in [
            ("@timestamp", json!(time(last))),
            ("event", json!({"kind": "signal", "category": ["file"], "action": "summary"})),
            ("message", json!(reason)),
            ("kibana.alert.uuid", json!(id)),
            ("kibana.alert.start", json!(time(first))),
            ("kibana.alert.reason", json!(reason)),
            ("kibana.alert.suppression.docs_count", json!(count)),
            ("kibana.alert.suppression.start", json!(time(first))),
            ("kibana.alert.suppression.end", json!(time(last))),
            ("ldsentry", json!({"summary": {"executables": executables, "paths": paths}})),
        ] {
            document.insert(field.to_owned(), value);
        }
        Spooled { time: last, id, line: Value::Object(document).to_string(), is_summary: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    fn alert(number: u32, time: i64, executable: &str, path: &str) -> Arc<Spooled> {
        let line = json!({
            "host": {"name": "h1"},
            "process": {"executable": executable},
            "file": {"path": path},
            "kibana.alert.rule.rule_id": "r",
            "kibana.alert.rule.name": "Rule",
            "kibana.alert.rule.max_signals": 3,
            "kibana.alert.rule.interval": "5m",
        });
        Arc::new(Spooled { time, id: number.to_string(), line: line.to_string(), is_summary: false })
    }

    fn ids(sent: &[Arc<Spooled>]) -> Vec<&str> {
        sent.iter().map(|alert| if alert.is_summary { "summary" } else { alert.id.as_str() }).collect()
    }

    #[test]
    fn what_exceeds_the_number_is_told_once_when_the_interval_is_over() {
        let mut signals = Signals::default();
        let same: Vec<_> = (0..10).map(|number| alert(number, i64::from(number), "/bin/a", "/p")).collect();
        assert_eq!(ids(&signals.admit(&same)), ["0", "1", "2"]);
        assert_eq!(signals.due(), Some(5 * MINUTE));
        assert_eq!(signals.expire(5 * MINUTE - 1), []);
        // A restart in between changes nothing.
        let mut signals = Signals::from_bytes(&signals.to_bytes(), 9);
        let summaries = signals.expire(5 * MINUTE);
        assert_eq!(ids(&summaries), ["summary"]);
        let document: Map<String, Value> = serde_json::from_str(&summaries[0].line).unwrap();
        let field = |name| lookup(&document, name).unwrap_or(&Value::Null).clone();
        assert_eq!(field("kibana.alert.suppression.docs_count"), 7);
        assert_eq!(field("kibana.alert.suppression.start"), "1970-01-01T00:00:00.003Z");
        assert_eq!(field("kibana.alert.suppression.end"), "1970-01-01T00:00:00.009Z");
        assert_eq!(field("ldsentry.summary"), json!({"executables": ["/bin/a"], "paths": ["/p"]}));
        assert_eq!(field("kibana.alert.uuid"), summaries[0].id.as_str());
        assert_eq!((field("host.name"), field("file.path")), (json!("h1"), Value::Null));
        assert_eq!((signals.due(), signals.expire(i64::MAX)), (None, vec![]));
        assert_eq!(signals.to_bytes(), Vec::<u8>::new());
    }

    #[test]
    fn decoys_hide_no_new_executable_and_no_new_path() {
        let mut signals = Signals::default();
        let mut alerts: Vec<_> = (0..100).map(|number| alert(number, 0, "/bin/decoy", "/p")).collect();
        alerts.push(alert(100, 1, "/bin/evil", "/p"));
        alerts.push(alert(101, 1, "/bin/decoy", "/q"));
        alerts.push(alert(102, 1, "/bin/evil", "/q"));
        assert_eq!(ids(&signals.admit(&alerts)), ["0", "1", "2", "100", "101"]);
    }

    #[test]
    fn the_next_interval_begins_with_its_first_alert_and_the_summary_comes_before_it() {
        let mut signals = Signals::default();
        let alerts: Vec<_> = (0..5).map(|number| alert(number, 0, "/bin/a", "/p")).collect();
        signals.admit(&alerts);
        let later = signals.admit(&[alert(5, 7 * MINUTE, "/bin/a", "/p")]);
        assert_eq!(ids(&later), ["summary", "5"]);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_is_beyond_is_sent() {
        let mut signals = Signals::default();
        let many: Vec<_> =
            (0..5000).map(|number| alert(number, 0, "/bin/a", &format!("/{number}"))).collect();
        assert_eq!(signals.admit(&many).len(), many.len());
        assert!(signals.to_bytes().len() < 50_000, "{} bytes", signals.to_bytes().len());
        assert_eq!(signals.admit(&many[..500]).len(), 0, "these were seen");
        assert_eq!(signals.admit(&many[4000..]).len(), 1000);
    }

    #[test]
    fn what_is_no_alert_of_a_rule_is_sent() {
        let mut signals = Signals::default();
        let other =
            Arc::new(Spooled { time: 0, id: "x".to_owned(), line: "{}".to_owned(), is_summary: false });
        assert_eq!(signals.admit(&[Arc::clone(&other), other]).len(), 2);
        assert_eq!(Signals::from_bytes(b"damaged", 0), Signals::default());
    }

    #[test]
    fn an_interval_is_read_as_rules_are() {
        let of_a_day = |number: u32, time| {
            let alert = alert(number, time, "/bin/a", "/p");
            Arc::new(Spooled { line: alert.line.replace("\"5m\"", "\"1d\""), ..Arc::unwrap_or_clone(alert) })
        };
        let mut signals = Signals::default();
        let same: Vec<_> = (0..10).map(|number| of_a_day(number, 0)).collect();
        assert_eq!(ids(&signals.admit(&same)), ["0", "1", "2"]);
        assert_eq!(signals.due(), Some(24 * 60 * MINUTE));
    }

    #[test]
    fn a_clock_that_was_set_back_holds_no_summary_back() {
        const YEAR: i64 = 365 * 24 * 60 * MINUTE;
        let mut signals = Signals::default();
        let same: Vec<_> = (0..5).map(|number| alert(number, 11 * YEAR, "/bin/a", "/p")).collect();
        signals.admit(&same);
        let now = 10 * YEAR;
        let mut signals = Signals::from_bytes(&signals.to_bytes(), now);
        assert_eq!(signals.due(), Some(now + 5 * MINUTE));
        assert_eq!(ids(&signals.expire(now + 5 * MINUTE)), ["summary"]);
        assert_eq!(ids(&signals.admit(&[alert(5, now + 5 * MINUTE, "/bin/a", "/p")])), ["5"]);
    }
}
