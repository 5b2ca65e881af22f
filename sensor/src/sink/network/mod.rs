//! Outputs that leave the host. They read from the spool, in batches, each at a pace of its own.

mod alertmanager;
mod backoff;
mod dead_letters;
mod elasticsearch;
mod http;
mod secret;
mod signals;
mod syslog;
mod tls;
mod webhook;
mod worker;

use std::sync::Arc;

pub(super) use self::alertmanager::Alertmanager;
pub(super) use self::dead_letters::DeadLetters;
pub(super) use self::elasticsearch::Elasticsearch;
pub use self::elasticsearch::{SetupError, elasticsearch_templates, setup_elasticsearch};
pub(super) use self::syslog::Syslog;
pub(super) use self::webhook::Webhook;
pub(super) use self::worker::NetworkWorker;
use super::Failure;
use super::spool::{BatchLimits, Spooled};

/// What delivers alerts over a network. It may block: it has its thread for itself.
pub(super) trait NetworkSink: Send {
    /// The output's name, as the configuration has it.
    fn name(&self) -> &'static str;

    /// How much it takes at once.
    fn limits(&self) -> BatchLimits;

    /// Makes ready what can be made ready without the server, so that mistakes show at start.
    fn open(&mut self) -> Result<(), Failure>;

    /// Delivers alerts, and says of each what became of it; or why of none is known that it arrived. Those that did may be
    /// delivered again, so their ids must make it once wherever the other side can do that.
    fn deliver(&mut self, alerts: &[Arc<Spooled>]) -> Result<Vec<Outcome>, Failure>;
}

/// What became of one alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is there.
    Delivered,
    /// The server will never take it, for this reason.
    Rejected(String),
    /// The server did not take it now, for this reason.
    Later(String),
}

/// Delivers what was too much at once, or has something in it that spoils the rest, in two parts.
fn deliver_halves(sink: &mut impl NetworkSink, alerts: &[Arc<Spooled>]) -> Result<Vec<Outcome>, Failure> {
    let (left, right) = alerts.split_at(alerts.len() / 2);
    let mut outcomes = sink.deliver(left)?;
    match sink.deliver(right) {
        Ok(more) => outcomes.extend(more),
        // The others have arrived all the same.
        Err(failure) => outcomes.extend(right.iter().map(|_| Outcome::Later(failure.to_string()))),
    }
    Ok(outcomes)
}
