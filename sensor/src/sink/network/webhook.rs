//! A webhook: alerts as JSON in a POST, signed if there is a secret for it.

use std::sync::Arc;

use hmac::{Hmac, Mac as _};
use serde_json::value::RawValue;
use sha2::Sha256;

use super::http::{Headers, HttpClient, Reply};
use super::secret::{Secret, Watched};
use super::{NetworkSink, Outcome};
use crate::config::{SecretSource, WebhookBody, WebhookOptions};
use crate::sink::Failure;
use crate::sink::spool::{BatchLimits, Spooled};

const BATCH: BatchLimits = BatchLimits { count: 100, bytes: 1 << 20 };

/// The header that GitHub made known and that receivers understand.
const SIGNATURE: &str = "x-hub-signature-256";

#[derive(Debug)]
pub(in crate::sink) struct Webhook {
    options: WebhookOptions,
    client: HttpClient,
    headers: Headers,
    key: Watched<Option<Secret>>,
}

impl Webhook {
    pub(in crate::sink) fn new(options: &WebhookOptions) -> Self {
        Self {
            client: HttpClient::new(&options.tls, options.timeout.get()),
            headers: Headers::new(&options.headers, &options.secret_headers),
            key: Watched::new(options.hmac_secret.as_ref().and_then(SecretSource::file).cloned()),
            options: options.clone(),
        }
    }

    fn key(&mut self) -> Result<Option<&Secret>, Failure> {
        let key = self.key.get(|| self.options.hmac_secret.as_ref().map(Secret::read).transpose())?;
        Ok(key.as_ref())
    }

    fn post(&mut self, body: &[u8], id: Option<&str>) -> Result<Reply, Failure> {
        let mut headers = self.headers.all()?;
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
        headers.extend(id.map(|id| ("idempotency-key".to_owned(), id.to_owned())));
        if let Some(key) = self.key()? {
            headers.push((SIGNATURE.to_owned(), format!("sha256={}", signature(key.reveal(), body))));
        }
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        self.client.send("POST", self.options.url.as_str(), &headers, body)
    }
}

impl NetworkSink for Webhook {
    fn name(&self) -> &'static str {
        "webhook"
    }

    fn limits(&self) -> BatchLimits {
        match self.options.body {
            WebhookBody::Batch => BATCH,
            WebhookBody::Single => BatchLimits { count: 1, ..BATCH },
        }
    }

    fn open(&mut self) -> Result<(), Failure> {
        self.headers.all()?;
        self.key()?;
        self.client.open().map(drop)
    }

    fn deliver(&mut self, alerts: &[Arc<Spooled>]) -> Result<Vec<Outcome>, Failure> {
        let (body, id) = match (self.options.body, alerts) {
            (WebhookBody::Single, [alert]) => (alert.line.clone(), Some(alert.id.as_str())),
            _ => (list(alerts), None),
        };
        let reply = self.post(body.as_bytes(), id)?;
        match (reply.status.as_u16(), alerts) {
            // 409: it is there already.
            (409, _) => Ok(vec![Outcome::Delivered; alerts.len()]),
            _ if reply.is_success() => Ok(vec![Outcome::Delivered; alerts.len()]),
            (200..=299, _) => Err(reply.not_from("a webhook", self.options.url.as_str())),
            (400 | 413 | 422, [_]) => Ok(vec![Outcome::Rejected(reply.reason())]),
            // Too long, or one of them spoils it.
            (400 | 413 | 422, _) => super::deliver_halves(self, alerts),
            _ => Err(reply.failure(self.options.url.as_str())),
        }
    }
}

fn list(alerts: &[Arc<Spooled>]) -> String {
    let documents: Vec<&RawValue> =
        alerts.iter().filter_map(|alert| serde_json::from_str(&alert.line).ok()).collect();
    // A list of JSON values always has a text.
    serde_json::to_string(&documents).unwrap_or_default()
}

fn signature(key: &str, body: &[u8]) -> String {
    // A key of any length will do.
    let Ok(mut hmac) = Hmac::<Sha256>::new_from_slice(key.as_bytes()) else { return String::new() };
    hmac.update(body);
    format!("{:x}", hmac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_signature_is_the_one_of_the_example_in_githubs_documentation() {
        let signature = super::signature("It's a Secret to Everybody", b"Hello, World!");
        assert_eq!(signature, "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
    }
}
