//! The configuration of what leaves the host: the spool, the outputs that read from it, and their secrets.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::remote::{SecretSource, SyslogAddress, Url};
use super::value::Span;

/// What network outputs still have to deliver, on disk. Used if a network output is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SpoolOptions {
    /// The file; its directory is made if it is missing.
    pub path: PathBuf,
    /// Most bytes of alerts that wait; beyond them the oldest are dropped, and counted. The file itself can be about
    /// twice as big. Where the disk does not work, memory keeps 32 MiB of them.
    pub max_bytes: NonZeroU64,
    /// Age beyond which an alert is dropped, and counted, if an output fails to deliver it. After a start it is tried for an hour
    /// first, since the clock may have been set.
    pub max_age: Span,
    /// Longest time between two attempts of an output whose server does not take alerts; the first ones follow each other
    /// sooner.
    pub longest_retry: Span,
    /// File for alerts that a server refused for good, with its reason, one JSON document a line. At 64 MiB it is
    /// renamed to `PATH.1`.
    pub dead_letters: PathBuf,
}

impl Default for SpoolOptions {
    fn default() -> Self {
        Self {
            path: "/var/lib/ldsentry/spool.redb".into(),
            max_bytes: const { NonZeroU64::new(256 << 20).unwrap() },
            max_age: Span::from_secs(7 * 24 * 60 * 60),
            longest_retry: Span::from_secs(60),
            dead_letters: "/var/lib/ldsentry/dead-letters.ndjson".into(),
        }
    }
}

/// Elasticsearch, through `_bulk`. `ldsentry setup elasticsearch` installs the index template. Credentials are `api_key`,
/// `bearer_token`, or `username` with `password`; more than one is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ElasticsearchOptions {
    /// Addresses of the cluster's nodes, such as `"https://es1.example.com:9200"`; the next one is tried if one does not
    /// answer.
    pub urls: Vec<Url>,
    /// Data stream to create alerts in.
    #[serde(default = "default_data_stream")]
    pub data_stream: String,
    /// Data stream for the events themselves, those too that raise no alert, such as `"logs-endpoint.events.file-ldsentry"`: then
    /// rules that run in the cluster see them. None are sent without it. docs/elastic.md has more.
    #[schemars(with = "String")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_data_stream: Option<String>,
    /// An API key as Elasticsearch shows it: encoded, or `id:key`.
    #[schemars(with = "SecretSource")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<SecretSource>,
    /// A bearer token, of a service account for example.
    #[schemars(with = "SecretSource")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token: Option<SecretSource>,
    /// User name for basic authentication.
    #[schemars(with = "String")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Its password.
    #[schemars(with = "SecretSource")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretSource>,
    /// Whether requests are compressed with gzip.
    #[serde(default = "yes")]
    pub gzip: bool,
    /// Most alerts in a request.
    #[serde(default = "batch_count")]
    pub batch: NonZeroU32,
    /// How long a request may take.
    #[serde(default = "request_timeout")]
    pub timeout: Span,
    /// Certificates.
    #[serde(default)]
    pub tls: TlsOptions,
}

/// Certificates for a connection. Without `ca_file`, those apply that the system trusts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TlsOptions {
    /// PEM file with the certificates of the authorities that may vouch for the server.
    #[schemars(with = "PathBuf")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// PEM file with this client's certificate and those that lead to its authority.
    #[schemars(with = "PathBuf")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_file: Option<PathBuf>,
    /// PEM file with the certificate's private key.
    #[schemars(with = "PathBuf")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
}

impl SpoolOptions {
    pub(super) fn paths(&mut self) -> [&mut PathBuf; 2] {
        [&mut self.path, &mut self.dead_letters]
    }

    /// The spool of events, beside that of alerts.
    pub(crate) fn for_events(&self) -> Self {
        let beside = |path: &Path| {
            let extension = path.extension().unwrap_or_default().to_string_lossy();
            path.with_extension(format!("events.{extension}"))
        };
        Self { path: beside(&self.path), dead_letters: beside(&self.dead_letters), ..self.clone() }
    }
}

impl ElasticsearchOptions {
    pub(super) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let secrets = [&mut self.api_key, &mut self.bearer_token, &mut self.password];
        secret_paths(secrets).chain(self.tls.paths())
    }

    /// What is contradictory or missing, and what to do.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        let ways = [self.api_key.is_some(), self.bearer_token.is_some(), self.username.is_some()];
        if self.urls.is_empty() {
            Some(("no URL is given", "list at least one in `urls`"))
        } else if ways.into_iter().filter(|way| *way).count() > 1 {
            Some((
                "more than one kind of credentials is given",
                "keep one of api_key, bearer_token, username",
            ))
        } else if self.username.is_some() != self.password.is_some() {
            Some(("`username` and `password` go together", "add the other one"))
        } else {
            self.tls.fault()
        }
    }
}

impl TlsOptions {
    pub(super) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        [&mut self.ca_file, &mut self.certificate_file, &mut self.key_file].into_iter().flatten()
    }

    /// What is missing, and what to do.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        (self.certificate_file.is_some() != self.key_file.is_some())
            .then_some(("`certificate_file` and `key_file` go together", "add the other one"))
    }

    /// The files that are given.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.ca_file, &self.certificate_file, &self.key_file].into_iter().flatten().map(PathBuf::as_path)
    }
}

fn secret_paths<'s>(
    secrets: impl IntoIterator<Item = &'s mut Option<SecretSource>>,
) -> impl Iterator<Item = &'s mut PathBuf> {
    secrets.into_iter().flatten().filter_map(SecretSource::file_mut)
}

fn default_data_stream() -> String {
    "logs-ldsentry.alerts-default".to_owned()
}

fn yes() -> bool {
    true
}

fn batch_count() -> NonZeroU32 {
    const { NonZeroU32::new(500).unwrap() }
}

fn request_timeout() -> Span {
    Span::from_secs(30)
}

/// A syslog server, in the format of RFC 5424. On if the section is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyslogOptions {
    /// Where it listens: `"udp://host:514"`, `"tcp://host:601"`, `"tls://host:6514"` or `"unix:///dev/log"`. Over TCP and TLS,
    /// messages have their length in front. What UDP loses is not noticed.
    pub address: SyslogAddress,
    /// Facility of the messages.
    #[serde(default)]
    pub facility: Facility,
    /// What follows the structured data.
    #[serde(default)]
    pub message: SyslogMessage,
    /// How long connecting and sending may take.
    #[serde(default = "request_timeout")]
    pub timeout: Span,
    /// Certificates, for `tls://`.
    #[serde(default)]
    pub tls: TlsOptions,
}

/// Facility of syslog messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the facilities' usual names")]
pub enum Facility {
    User = 1,
    Daemon = 3,
    Auth = 4,
    #[default]
    Authpriv = 10,
    Local0 = 16,
    Local1 = 17,
    Local2 = 18,
    Local3 = 19,
    Local4 = 20,
    Local5 = 21,
    Local6 = 22,
    Local7 = 23,
}

/// What a syslog message says after its structured data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SyslogMessage {
    /// The alert in one sentence.
    #[default]
    Reason,
    /// The whole alert as JSON; servers cut what is longer than they are set to take.
    Json,
}

impl SyslogOptions {
    pub(super) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.tls.paths()
    }

    /// What is missing, and what to do.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        self.tls.fault()
    }
}

/// An HTTP server that takes alerts as JSON. On if the section is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookOptions {
    /// Where alerts are posted to.
    pub url: Url,
    /// What a request holds.
    #[serde(default)]
    pub body: WebhookBody,
    /// Secret with which the body is signed: `X-Hub-Signature-256: sha256=` and the HMAC in hexadecimal digits.
    #[schemars(with = "SecretSource")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hmac_secret: Option<SecretSource>,
    /// Headers of each request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Headers whose values are secrets, such as `Authorization`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_headers: BTreeMap<String, SecretSource>,
    /// How long a request may take.
    #[serde(default = "request_timeout")]
    pub timeout: Span,
    /// Certificates.
    #[serde(default)]
    pub tls: TlsOptions,
}

/// What a request to a webhook holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WebhookBody {
    /// A list of alerts.
    #[default]
    Batch,
    /// One alert; its id is in the header `Idempotency-Key` too.
    Single,
}

/// Prometheus' Alertmanager, version 2 of its API. On if the section is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertmanagerOptions {
    /// Addresses of all members of the cluster, such as `"http://alertmanager:9093"`: each gets every alert, and one that
    /// takes it is enough.
    pub urls: Vec<Url>,
    /// Further labels, for routing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How long an alert is shown as firing after it was delivered.
    #[serde(default = "one_hour")]
    pub firing: Span,
    /// Headers of each request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Headers whose values are secrets, such as `Authorization`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_headers: BTreeMap<String, SecretSource>,
    /// How long a request may take.
    #[serde(default = "request_timeout")]
    pub timeout: Span,
    /// Certificates.
    #[serde(default)]
    pub tls: TlsOptions,
}

impl WebhookOptions {
    pub(super) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let headers = self.secret_headers.values_mut().filter_map(SecretSource::file_mut);
        secret_paths([&mut self.hmac_secret]).chain(headers).chain(self.tls.paths())
    }

    /// What is wrong, and what to do.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        self.tls.fault().or_else(|| header_fault(&self.headers, &self.secret_headers))
    }
}

impl AlertmanagerOptions {
    pub(super) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.secret_headers.values_mut().filter_map(SecretSource::file_mut).chain(self.tls.paths())
    }

    /// What is wrong, and what to do.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        let is_label = |name: &String| {
            let mut characters = name.chars();
            characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
                && characters.all(|next| next.is_ascii_alphanumeric() || next == '_')
        };
        if self.urls.is_empty() {
            Some(("no URL is given", "list all members of the cluster in `urls`"))
        } else if !self.labels.keys().all(is_label) {
            Some(("a label's name is none", "use letters, digits and `_`"))
        } else {
            self.tls.fault().or_else(|| header_fault(&self.headers, &self.secret_headers))
        }
    }
}

fn header_fault(
    headers: &BTreeMap<String, String>,
    secret: &BTreeMap<String, SecretSource>,
) -> Option<(&'static str, &'static str)> {
    use ureq::http::{HeaderName, HeaderValue};
    if !headers.keys().chain(secret.keys()).all(|name| HeaderName::try_from(name).is_ok()) {
        Some(("a header's name is none", "use letters, digits and `-`"))
    } else if !headers.values().all(|value| HeaderValue::try_from(value).is_ok()) {
        Some(("a header's value has a control character in it", "remove it"))
    } else {
        None
    }
}

fn one_hour() -> Span {
    Span::from_secs(60 * 60)
}
