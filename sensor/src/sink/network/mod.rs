//! Outputs that leave the host. They read from the spool, in batches, each at a pace of its own.

mod backoff;
mod dead_letters;
mod elasticsearch;
mod http;
mod secret;
mod syslog;
mod tls;
mod worker;

use std::sync::Arc;

pub(super) use self::dead_letters::DeadLetters;
pub(super) use self::elasticsearch::Elasticsearch;
pub use self::elasticsearch::{SetupError, elasticsearch_templates, setup_elasticsearch};
pub(super) use self::syslog::Syslog;
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
