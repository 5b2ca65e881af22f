//! Values about other machines: where they are, and the secrets that they want.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Where a secret is: it never stands in the configuration itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawSecretSource", into = "RawSecretSource")]
pub enum SecretSource {
    /// In a file, all of it but a line end at its end.
    File(PathBuf),
    /// In an environment variable of the daemon.
    Environment(String),
}

/// A secret: `{ file = "/etc/ldsentry/key" }` or `{ env = "LDSENTRY_KEY" }`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawSecretSource {
    /// File that holds it; it is read again when it changes.
    #[schemars(with = "PathBuf")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    /// Environment variable that holds it.
    #[schemars(with = "String")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    env: Option<String>,
}

impl SecretSource {
    /// The file, if it is in one.
    pub fn file(&self) -> Option<&PathBuf> {
        if let Self::File(path) = self { Some(path) } else { None }
    }

    pub(super) fn file_mut(&mut self) -> Option<&mut PathBuf> {
        if let Self::File(path) = self { Some(path) } else { None }
    }
}

impl TryFrom<RawSecretSource> for SecretSource {
    type Error = &'static str;

    fn try_from(raw: RawSecretSource) -> Result<Self, Self::Error> {
        match (raw.file, raw.env) {
            (Some(path), None) => Ok(Self::File(path)),
            (None, Some(name)) => Ok(Self::Environment(name)),
            _ => Err("a secret is in one place; write { file = \"…\" } or { env = \"…\" }"),
        }
    }
}

impl From<SecretSource> for RawSecretSource {
    fn from(source: SecretSource) -> Self {
        match source {
            SecretSource::File(path) => Self { file: Some(path), env: None },
            SecretSource::Environment(name) => Self { file: None, env: Some(name) },
        }
    }
}

impl JsonSchema for SecretSource {
    fn schema_name() -> Cow<'static, str> {
        "SecretSource".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        RawSecretSource::json_schema(generator)
    }
}

/// The address of an HTTP server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Url(String);

impl Url {
    /// The address, with `path` below it.
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0.trim_end_matches('/'))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Url {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let refuse =
            |why: &str| Err(format!("`{text}` {why}; write one such as \"https://host.example.com:9200\""));
        let Ok(uri) = text.parse::<ureq::http::Uri>() else { return refuse("is not a URL") };
        let Some(authority) = uri.authority() else { return refuse("is not a whole URL") };
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return refuse("is neither http nor https");
        }
        if authority.as_str().contains('@') {
            // It may hold a password, which must not be shown.
            return Err(
                "a URL holds no user name or password here; put the password into a file, and name it"
                    .to_owned(),
            );
        }
        Ok(Self(text))
    }
}

impl From<Url> for String {
    fn from(Url(text): Url) -> Self {
        text
    }
}

impl JsonSchema for Url {
    fn schema_name() -> Cow<'static, str> {
        "Url".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "uri" })
    }
}

/// Where a syslog server listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SyslogAddress {
    /// `udp://host:port`
    Udp(String),
    /// `tcp://host:port`
    Tcp(String),
    /// `tls://host:port`
    Tls(String),
    /// `unix://path`
    Unix(PathBuf),
}

impl TryFrom<String> for SyslogAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let has_port = |rest: &str| {
            rest.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        match text.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(("udp", rest)) if has_port(rest) => Ok(Self::Udp(rest.to_owned())),
            Some(("tcp", rest)) if has_port(rest) => Ok(Self::Tcp(rest.to_owned())),
            Some(("tls", rest)) if has_port(rest) => Ok(Self::Tls(rest.to_owned())),
            _ => Err(format!(
                "`{text}` is no address of a syslog server; write one such as \"tls://host.example.com:6514\", \
                 \"tcp://host.example.com:601\", \"udp://host.example.com:514\" or \"unix:///dev/log\""
            )),
        }
    }
}

impl fmt::Display for SyslogAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(rest) => write!(f, "udp://{rest}"),
            Self::Tcp(rest) => write!(f, "tcp://{rest}"),
            Self::Tls(rest) => write!(f, "tls://{rest}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

impl From<SyslogAddress> for String {
    fn from(address: SyslogAddress) -> Self {
        address.to_string()
    }
}

impl JsonSchema for SyslogAddress {
    fn schema_name() -> Cow<'static, str> {
        "SyslogAddress".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(udp|tcp|tls|unix)://" })
    }
}
