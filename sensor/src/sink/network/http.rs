//! HTTP requests, and what their failures mean.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::http::StatusCode;

use super::secret::{Secret, Watched};
use super::tls::Certificates;
use crate::alert::escape;
use crate::config::{SecretSource, TlsOptions};
use crate::sink::Failure;

/// Longest time for name, connection and handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest answer that is read: the one to a full batch has some hundred bytes for each alert.
const LONGEST_REPLY: u64 = 16 << 20;

/// A client that keeps connections, and reads certificates again when they change.
#[derive(Debug)]
pub(super) struct HttpClient {
    tls: TlsOptions,
    timeout: Duration,
    agent: Watched<Agent>,
}

/// Headers that the configuration gives, the secret ones read from where they are.
#[derive(Debug)]
pub(super) struct Headers {
    plain: BTreeMap<String, String>,
    sources: BTreeMap<String, SecretSource>,
    secret: Watched<Vec<(String, Secret)>>,
}

impl Headers {
    pub(super) fn new(plain: &BTreeMap<String, String>, secret: &BTreeMap<String, SecretSource>) -> Self {
        let files = secret.values().filter_map(SecretSource::file).cloned();
        Self { plain: plain.clone(), secret: Watched::new(files), sources: secret.clone() }
    }

    pub(super) fn all(&mut self) -> Result<Vec<(String, String)>, Failure> {
        let Self { plain, sources, secret } = self;
        let read = |(name, source): (&String, &SecretSource)| Ok((name.clone(), Secret::read(source)?));
        let secret = secret.get(|| sources.iter().map(read).collect())?;
        let secret = secret.iter().map(|(name, secret)| (name.clone(), secret.reveal().to_owned()));
        Ok(plain.clone().into_iter().chain(secret).collect())
    }
}

/// What a server answered.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    content_type: String,
    pub(super) body: Vec<u8>,
}

impl HttpClient {
    pub(super) fn new(tls: &TlsOptions, timeout: Duration) -> Self {
        let files = tls.files().map(ToOwned::to_owned);
        Self { agent: Watched::new(files), tls: tls.clone(), timeout }
    }

    /// Reads the certificates.
    pub(super) fn open(&mut self) -> Result<&mut Agent, Failure> {
        let Self { tls, timeout, agent } = self;
        agent.get(|| {
            let config = Agent::config_builder()
                .tls_config(Certificates::load(tls)?.for_ureq())
                .timeout_global(Some(*timeout))
                .timeout_connect(Some(CONNECT_TIMEOUT))
                .http_status_as_error(false)
                // Another address is a mistake in the configuration; credentials do not follow it.
                .max_redirects(0)
                .max_redirects_will_error(false)
                .user_agent(concat!("ldsentry/", env!("CARGO_PKG_VERSION")))
                .build();
            Ok(config.new_agent())
        })
    }

    /// Sends `body`; any answer is one.
    pub(super) fn send(
        &mut self,
        method: &str,
        url: &str,
        headers: &[(&str, String)],
        body: &[u8],
    ) -> Result<Reply, Failure> {
        let failure = |error: ureq::Error| failure(url, error);
        let agent = self.open()?;
        let mut request = ureq::http::Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(body).map_err(|error| failure(error.into()))?;
        let mut response = agent.run(request).map_err(failure)?;
        let content_type = response.body().mime_type().unwrap_or_default().to_owned();
        let body = response.body_mut().with_config().limit(LONGEST_REPLY).read_to_vec().map_err(failure)?;
        Ok(Reply { status: response.status(), content_type, body })
    }
}

impl Reply {
    /// What the server says is wrong, short and without what could play with a terminal.
    pub(super) fn reason(&self) -> String {
        const LONGEST: usize = 300;
        let status = self.status;
        let text = if self.is_html() {
            "a web page".to_owned()
        } else {
            let json: Option<Value> = serde_json::from_slice(&self.body).ok();
            let said = json.as_ref().and_then(|json| {
                ["/error/reason", "/error", "/message"].iter().find_map(|path| json.pointer(path)?.as_str())
            });
            said.map_or_else(|| String::from_utf8_lossy(&self.body).trim().to_owned(), str::to_owned)
        };
        let text: String = escape(&text).chars().take(LONGEST).collect();
        if text.is_empty() {
            format!("the server answered {status}")
        } else {
            format!("the server answered {status}: {text}")
        }
    }

    /// Whether it succeeded, and it is the server that was meant that says so: a login page, and a proxy's, come with 200 too.
    /// Frameworks call a short text that their user answers HTML; a page begins with a tag.
    pub(super) fn is_success(&self) -> bool {
        let is_page = self.is_html() && self.body.trim_ascii_start().starts_with(b"<");
        self.status.is_success() && !is_page
    }

    fn is_html(&self) -> bool {
        self.content_type.eq_ignore_ascii_case("text/html")
    }

    /// The failure to deliver that this answer is.
    pub(super) fn failure(&self, url: &str) -> Failure {
        let remedy = match self.status.as_u16() {
            401 => "correct the credentials in this output's section",
            403 => "give the credentials the privilege to write there",
            300..=399 => "the server is elsewhere: correct the URL",
            404 | 405 => "correct the URL",
            407 => "the proxy wants credentials: see HTTPS_PROXY in the daemon's environment",
            429 => "the server is busy; give it more room if this goes on",
            500..=599 => "see the server's own log",
            _ => "see whether the URL is that of such a server",
        };
        Failure {
            attempt: format!("cannot deliver to {}", without_query(url)),
            source: self.reason().into(),
            remedy: remedy.to_owned(),
        }
    }

    /// The failure that an answer is which is not of the kind that such a server gives.
    pub(super) fn not_from(&self, server: &str, url: &str) -> Failure {
        Failure {
            attempt: format!("cannot deliver to {}", without_query(url)),
            source: format!("this is no answer of {server}: {}", self.reason()).into(),
            remedy: "correct the URL; what answers there is something else".to_owned(),
        }
    }
}

fn failure(url: &str, error: ureq::Error) -> Failure {
    let remedy = match &error {
        ureq::Error::HostNotFound => NAME_REMEDY,
        // What the standard library says has no kind of its own.
        ureq::Error::Io(error) if error.to_string().starts_with("failed to lookup") => NAME_REMEDY,
        ureq::Error::Timeout(_) => "see whether the server works and can be reached; or raise `timeout`",
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) | ureq::Error::Pem(_) => TLS_REMEDY,
        ureq::Error::Io(error) if of_tls(error) => TLS_REMEDY,
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            "start the server, or correct the port in the URL"
        }
        ureq::Error::Protocol(_) => "correct the URL: what listens there does not speak HTTP as expected",
        _ => "see whether the server works and can be reached",
    };
    let source: Box<dyn std::error::Error + Send + Sync> = match error {
        ureq::Error::Io(error) => error.into(),
        ureq::Error::Timeout(_) => "there is no answer within `timeout`".into(),
        other => other.into(),
    };
    let attempt = format!("cannot reach {}", without_query(url));
    Failure { attempt, source, remedy: remedy.to_owned() }
}

/// What of a URL may be shown: many a token stands in its query.
fn without_query(url: &str) -> &str {
    url.split('?').next().unwrap_or(url)
}

const NAME_REMEDY: &str = "correct the name in the URL, or see whether names can be resolved here";

/// What to do about a handshake that failed.
pub(super) const TLS_REMEDY: &str =
    "see whether the certificate is for this name and still valid, and `ca_file` the one of its authority";

/// Whether rustls is behind an error.
pub(super) fn of_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
}
