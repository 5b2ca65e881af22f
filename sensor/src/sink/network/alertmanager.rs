//! Prometheus' Alertmanager, version 2 of its API.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::http::{Headers, HttpClient};
use super::{NetworkSink, Outcome};
use crate::alert::lookup;
use crate::config::AlertmanagerOptions;
use crate::sink::Failure;
use crate::sink::spool::{BatchLimits, Spooled};

const BATCH: BatchLimits = BatchLimits { count: 100, bytes: 1 << 20 };

/// Labels, and the fields that they show.
const LABELS: [(&str, &str); 7] = [
    ("alertname", "kibana.alert.rule.name"),
    ("severity", "kibana.alert.severity"),
    ("rule_id", "kibana.alert.rule.rule_id"),
    ("host", "host.name"),
    ("event_action", "event.action"),
    ("file_path", "file.path"),
    ("process_executable", "process.executable"),
];

const ANNOTATIONS: [(&str, &str); 4] = [
    ("summary", "kibana.alert.reason"),
    ("description", "kibana.alert.rule.description"),
    ("command_line", "process.command_line"),
    ("user", "user.name"),
];

#[derive(Debug)]
pub(in crate::sink) struct Alertmanager {
    options: AlertmanagerOptions,
    client: HttpClient,
    headers: Headers,
}

impl Alertmanager {
    pub(in crate::sink) fn new(options: &AlertmanagerOptions) -> Self {
        Self {
            client: HttpClient::new(&options.tls, options.timeout.get()),
            headers: Headers::new(&options.headers, &options.secret_headers),
            options: options.clone(),
        }
    }

    fn body(&self, alerts: &[Arc<Spooled>], now: Timestamp) -> String {
        let firing = SignedDuration::try_from(self.options.firing.get()).unwrap_or(SignedDuration::MAX);
        let end = now.saturating_add(firing).unwrap_or(Timestamp::MAX);
        let alerts: Vec<Value> = alerts.iter().filter_map(|alert| self.alert(alert, end)).collect();
        Value::from(alerts).to_string()
    }

    /// Nothing for what is no alert: a document of the inventory.
    fn alert(&self, alert: &Spooled, end: Timestamp) -> Option<Value> {
        let document: Map<String, Value> = serde_json::from_str(&alert.line).unwrap_or_default();
        if lookup(&document, "event.kind").is_some_and(|kind| kind == "state") {
            return None;
        }
        let show = |fields: &[(&str, &str)]| -> BTreeMap<String, String> {
            let shown = fields.iter().filter_map(|(name, field)| {
                let text = lookup(&document, field)?.as_str()?;
                Some(((*name).to_owned(), text.to_owned()))
            });
            shown.collect()
        };
        let mut labels = show(&LABELS);
        // What has the same labels is the same alert to it.
        labels.insert("alert_id".to_owned(), alert.id.clone());
        labels.extend(self.options.labels.clone());
        let mut shown =
            json!({"labels": labels, "annotations": show(&ANNOTATIONS), "endsAt": end.to_string()});
        if let Some(start) = lookup(&document, "@timestamp") {
            shown["startsAt"] = start.clone();
        }
        Some(shown)
    }
}

impl NetworkSink for Alertmanager {
    fn name(&self) -> &'static str {
        "alertmanager"
    }

    fn limits(&self) -> BatchLimits {
        BATCH
    }

    fn open(&mut self) -> Result<(), Failure> {
        self.headers.all()?;
        self.client.open().map(drop)
    }

    /// Its members tell each other of notifications but not of alerts: every one has to get all.
    fn deliver(&mut self, alerts: &[Arc<Spooled>]) -> Result<Vec<Outcome>, Failure> {
        let mut headers = self.headers.all()?;
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let body = self.body(alerts, Timestamp::now());
        let (mut delivered, mut refused, mut failed) = (false, None, None);
        for url in &self.options.urls {
            match self.client.send("POST", &url.join("/api/v2/alerts"), &headers, body.as_bytes()) {
                Ok(reply) if reply.is_success() => delivered = true,
                Ok(reply) if reply.status.is_success() => {
                    failed = Some(reply.not_from("an Alertmanager", url.as_str()));
                }
                Ok(reply) if matches!(reply.status.as_u16(), 400 | 413 | 422) => {
                    refused = Some(reply.reason());
                }
                Ok(reply) => failed = Some(reply.failure(url.as_str())),
                Err(failure) => failed = Some(failure),
            }
        }
        match (delivered, failed, refused, alerts) {
            (true, ..) => Ok(vec![Outcome::Delivered; alerts.len()]),
            (false, Some(failure), ..) => Err(failure),
            (false, None, Some(reason), [_]) => Ok(vec![Outcome::Rejected(reason)]),
            (false, None, ..) => super::deliver_halves(self, alerts),
        }
    }
}
