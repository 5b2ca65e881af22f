//! Elasticsearch's `_bulk`: alerts are created in a data stream under their own ids, and each has an answer of its own.

mod setup;

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub use self::setup::{SetupError, elasticsearch_templates, setup_elasticsearch};
use super::http::{HttpClient, Reply};
use super::secret::{Secret, Watched};
use super::{NetworkSink, Outcome};
use crate::config::{ElasticsearchOptions, SecretSource, Url};
use crate::sink::Failure;
use crate::sink::spool::{BatchLimits, Spooled};

/// Elasticsearch refuses requests of more than 100 MB, and works best far below.
const BATCH_BYTES: usize = 5 << 20;

/// Only what is read of an answer.
const BULK: &str = "/_bulk?filter_path=errors,items.*.status,items.*.error";

#[derive(Debug)]
pub(in crate::sink) struct Elasticsearch {
    name: &'static str,
    connection: Connection,
    data_stream: String,
    gzip: bool,
    limits: BatchLimits,
}

/// A cluster of which one node has to answer.
#[derive(Debug)]
pub(super) struct Connection {
    client: HttpClient,
    urls: Vec<Url>,
    /// The node that answered last.
    current: usize,
    options: ElasticsearchOptions,
    authorization: Watched<Option<Secret>>,
}

impl Elasticsearch {
    pub(in crate::sink) fn new(options: &ElasticsearchOptions) -> Self {
        Self::named("elasticsearch", &options.data_stream, options)
    }

    /// The output for the events themselves, if there is one.
    pub(in crate::sink) fn for_events(options: &ElasticsearchOptions) -> Option<Self> {
        let data_stream = options.event_data_stream.as_ref()?;
        Some(Self::named("elasticsearch_events", data_stream, options))
    }

    fn named(name: &'static str, data_stream: &str, options: &ElasticsearchOptions) -> Self {
        Self {
            name,
            connection: Connection::new(options),
            data_stream: data_stream.to_owned(),
            gzip: options.gzip,
            limits: BatchLimits { count: options.batch.get() as usize, bytes: BATCH_BYTES },
        }
    }

    fn body(&self, alerts: &[Arc<Spooled>]) -> Vec<u8> {
        let mut body = String::new();
        for alert in alerts {
            let action = json!({"create": {"_index": self.data_stream, "_id": alert.id}});
            let _ = writeln!(body, "{action}\n{}", with_data_stream(&alert.line, &self.data_stream));
        }
        body.into_bytes()
    }
}

impl NetworkSink for Elasticsearch {
    fn name(&self) -> &'static str {
        self.name
    }

    fn limits(&self) -> BatchLimits {
        self.limits
    }

    fn open(&mut self) -> Result<(), Failure> {
        self.connection.open()
    }

    fn deliver(&mut self, alerts: &[Arc<Spooled>]) -> Result<Vec<Outcome>, Failure> {
        let mut body = self.body(alerts);
        let mut headers = vec![("content-type", "application/x-ndjson".to_owned())];
        if self.gzip {
            body = compress(&body);
            headers.push(("content-encoding", "gzip".to_owned()));
        }
        let (url, reply) = self.connection.send("POST", BULK, &headers, &body)?;
        match reply.status.as_u16() {
            200 => outcomes(&reply, &url, alerts.len()),
            // Too long, or one of them spoils it.
            400 | 413 => match alerts {
                [_] => Ok(vec![Outcome::Rejected(reply.reason())]),
                _ => super::deliver_halves(self, alerts),
            },
            _ => Err(reply.failure(&url)),
        }
    }
}

impl Connection {
    pub(super) fn new(options: &ElasticsearchOptions) -> Self {
        let secrets = [&options.api_key, &options.bearer_token, &options.password];
        let files = secrets.into_iter().flatten().filter_map(SecretSource::file).cloned();
        Self {
            client: HttpClient::new(&options.tls, options.timeout.get()),
            urls: options.urls.clone(),
            current: 0,
            authorization: Watched::new(files),
            options: options.clone(),
        }
    }

    pub(super) fn open(&mut self) -> Result<(), Failure> {
        self.authorization.get(|| authorization(&self.options))?;
        self.client.open().map(drop)
    }

    /// Sends a request to the first node that answers it, beginning with the one that did the last time.
    pub(super) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: &[u8],
    ) -> Result<(String, Reply), Failure> {
        let authorization = self.authorization.get(|| authorization(&self.options))?;
        let mut headers = headers.to_vec();
        headers.extend(authorization.as_ref().map(|value| ("authorization", value.reveal().to_owned())));
        let count = self.urls.len();
        let mut last = None;
        for turn in 0..count {
            let index = (self.current + turn) % count;
            let url = self.urls[index].join(path);
            let result = self.client.send(method, &url, &headers, body);
            // A node that is busy or broken says nothing about the others.
            let is_last = turn + 1 == count;
            if matches!(&result, Ok(reply) if is_last || !(reply.status == 429 || reply.status.is_server_error()))
            {
                self.current = index;
                return result.map(|reply| (self.urls[index].as_str().to_owned(), reply));
            }
            if let Err(failure) = result {
                last = Some(failure);
            }
        }
        Err(last.unwrap_or_else(|| Failure {
            attempt: "cannot reach Elasticsearch".to_owned(),
            source: "no node took the request".into(),
            remedy: "list its nodes in `urls`".to_owned(),
        }))
    }
}

/// The header's value, from the credentials that are given.
fn authorization(options: &ElasticsearchOptions) -> Result<Option<Secret>, Failure> {
    let encoded = |text: &str| BASE64.encode(text);
    let value = if let Some(key) = &options.api_key {
        let key = Secret::read(key)?;
        let key = key.reveal();
        Some(format!("ApiKey {}", if key.contains(':') { encoded(key) } else { key.to_owned() }))
    } else if let Some(token) = &options.bearer_token {
        Some(format!("Bearer {}", Secret::read(token)?.reveal()))
    } else if let (Some(user), Some(password)) = (&options.username, &options.password) {
        Some(format!("Basic {}", encoded(&format!("{user}:{}", Secret::read(password)?.reveal()))))
    } else {
        None
    };
    Ok(value.map(Secret::new))
}

#[derive(Deserialize)]
struct BulkReply {
    items: Vec<Map<String, Value>>,
}

#[derive(Deserialize)]
struct Item {
    status: u16,
    #[serde(default)]
    error: Value,
}

fn outcomes(reply: &Reply, url: &str, count: usize) -> Result<Vec<Outcome>, Failure> {
    let not_elasticsearch = || reply.not_from("Elasticsearch's _bulk", url);
    let bulk: BulkReply = serde_json::from_slice(&reply.body).map_err(|_| not_elasticsearch())?;
    let items: Option<Vec<Item>> = bulk
        .items
        .into_iter()
        .map(|action| action.into_iter().next().and_then(|(_, item)| serde_json::from_value(item).ok()))
        .collect();
    match items {
        Some(items) if items.len() == count => Ok(items.iter().map(outcome).collect()),
        _ => Err(not_elasticsearch()),
    }
}

fn outcome(item: &Item) -> Outcome {
    let kind = item.error["type"].as_str().unwrap_or_default();
    let reason = || match item.error["reason"].as_str() {
        Some(reason) => format!("{kind}: {reason}"),
        None => format!("status {}", item.status),
    };
    match item.status {
        // 409: it is there already.
        200..=299 | 409 => Outcome::Delivered,
        429 | 500.. => Outcome::Later(reason()),
        // The disk is too full, which somebody will put right.
        403 if kind == "cluster_block_exception" => Outcome::Later(reason()),
        _ => Outcome::Rejected(reason()),
    }
}

/// The document with the `data_stream.*` of the stream that it goes to: they are constant there, and another value is refused.
fn with_data_stream(line: &str, data_stream: &str) -> String {
    let Ok(Value::Object(mut document)) = serde_json::from_str(line) else { return line.to_owned() };
    let mut parts = data_stream.splitn(3, '-');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(kind), Some(dataset), Some(namespace)) => {
            let value = json!({"type": kind, "dataset": dataset, "namespace": namespace});
            document.insert("data_stream".to_owned(), value);
        }
        // An index of another name has no such fields.
        _ => drop(document.shift_remove("data_stream")),
    }
    Value::Object(document).to_string()
}

fn compress(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Memory takes everything.
    let _ = encoder.write_all(body);
    encoder.finish().unwrap_or_default()
}
