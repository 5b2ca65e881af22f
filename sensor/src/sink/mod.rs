//! Outputs: where alerts are delivered to.
//!
//! Each output has a thread and a bounded queue of its own, so that one that blocks or fails delays neither the
//! pipeline nor the others. Every alert that an output is given ends as delivered or as dropped, in a counter and,
//! if dropped, in the log.

mod file;
mod stdout;
mod throttle;
mod worker;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use self::file::FileSink;
use self::stdout::StdoutSink;
pub use self::stdout::is_for_people;
use self::worker::{Tuning, Worker};
use crate::config::OutputOptions;
use crate::metrics::Metrics;

/// An alert as outputs see it. It is rendered on the output's thread, in the form that the output wants.
pub trait Record: fmt::Debug + Send + Sync {
    /// The same for the same alert, however often it is delivered.
    fn id(&self) -> &str;

    /// The document as one line of JSON, without a line end.
    fn to_line(&self) -> String;

    /// The alert for a person at a terminal, the last line ended.
    fn to_pretty(&self, color: bool) -> String;
}

impl Record for crate::alert::Alert {
    fn id(&self) -> &str {
        &self.id
    }

    fn to_line(&self) -> String {
        self.to_line()
    }

    fn to_pretty(&self, color: bool) -> String {
        self.to_pretty(color)
    }
}

/// What delivers alerts to one place. It may block: it has its thread for itself.
trait Sink: Send {
    /// The output's name, as the configuration has it.
    fn name(&self) -> &'static str;

    /// Makes ready what can be made ready before there is an alert, so that mistakes show at start.
    fn open(&mut self) -> Result<(), SinkError>;

    /// Delivers one alert. When it returns, nothing of the alert is in a buffer of this process. After an error
    /// nothing of it, or a beginning that the next call completes, has arrived.
    fn deliver(&mut self, alert: &dyn Record) -> Result<(), SinkError>;
}

/// Why an alert was not delivered.
#[derive(Debug, thiserror::Error)]
enum SinkError {
    /// It may work later; the alert is kept and tried again.
    #[error("{0}")]
    Temporary(Failure),
    /// The output is gone for good.
    #[error("{0}")]
    Gone(Failure),
}

/// What went wrong, and what to do.
#[derive(Debug)]
struct Failure {
    /// What was being done to what: `cannot write to /var/log/alerts.ndjson`.
    attempt: String,
    source: io::Error,
    remedy: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { attempt, source, remedy } = self;
        write!(f, "{attempt}: {source}; {remedy}")
    }
}

/// Why no alert can be delivered at all.
#[derive(Debug, thiserror::Error)]
pub enum OutputsError {
    /// None is on.
    #[error(
        "no output is on, alerts would go nowhere; set `enabled = true` in [output.stdout] or add [output.file] to \
         the configuration"
    )]
    None,
    /// None works.
    #[error("no output works: {}", .0.join("\n"))]
    AllFailed(Vec<String>),
    /// The system gave no thread.
    #[error(
        "cannot start the thread of the output {output}: {error}; raise the limit on tasks (`ulimit -u`, TasksMax=)"
    )]
    Thread {
        /// The output.
        output: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

/// All outputs that are on.
#[derive(Debug)]
pub struct Outputs {
    workers: Vec<Worker>,
    working: watch::Receiver<usize>,
}

impl Outputs {
    /// Opens the outputs that `options` turn on. One that fails is logged and tried again with each alert; only if all
    /// fail there is no point in going on.
    pub fn open(options: &OutputOptions, metrics: &Metrics) -> Result<Self, OutputsError> {
        let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
        if options.stdout.enabled {
            sinks.push(Box::new(StdoutSink::stdout(options.stdout.format)));
        }
        if let Some(file) = &options.file {
            sinks.push(Box::new(FileSink::new(file)));
        }
        Self::start(sinks, metrics, Tuning::default())
    }

    fn start(sinks: Vec<Box<dyn Sink>>, metrics: &Metrics, tuning: Tuning) -> Result<Self, OutputsError> {
        if sinks.is_empty() {
            return Err(OutputsError::None);
        }
        let count = sinks.len();
        let (working_sender, working) = watch::channel(count);
        let working_sender = Arc::new(working_sender);
        let mut workers = Vec::new();
        let mut failures = Vec::new();
        for mut sink in sinks {
            let name = sink.name();
            if let Err(failure) = sink.open() {
                metrics.output(name).errors.increment();
                failures.push((name, failure.to_string()));
            }
            let working = Arc::clone(&working_sender);
            let worker = Worker::start(sink, metrics.output(name), tuning, working)
                .map_err(|error| OutputsError::Thread { output: name, error })?;
            workers.push(worker);
        }
        if failures.len() == count {
            return Err(OutputsError::AllFailed(failures.into_iter().map(|(_, failure)| failure).collect()));
        }
        for (output, failure) in failures {
            tracing::error!(
                output,
                "{failure}; the other outputs go on, and this one is tried again with each alert"
            );
        }
        Ok(Self { workers, working })
    }

    /// Gives the alert to every output. Never blocks: an output whose queue is full, or that is gone, drops it, which is
    /// counted and logged.
    pub fn send(&self, alert: &Arc<dyn Record>) {
        for worker in &self.workers {
            worker.send(Arc::clone(alert));
        }
    }

    /// Whether no alert waits for any output.
    pub fn is_idle(&self) -> bool {
        self.workers.iter().all(Worker::is_idle)
    }

    /// Resolves when the last output is gone for good, so that no alert can be delivered any more.
    pub async fn all_gone(&self) {
        // An error means that all workers have ended, and with them the outputs.
        let _ = self.working.clone().wait_for(|working| *working == 0).await;
    }

    /// Takes no more alerts and waits until what was sent is delivered, at most `patience` long. Returns how many
    /// alerts were dropped on the way out, counted for each output.
    pub fn close(&self, patience: Duration) -> u64 {
        let deadline = Instant::now() + patience;
        let dropped = |workers: &[Worker]| workers.iter().map(Worker::dropped).sum::<u64>();
        let before = dropped(&self.workers);
        self.workers.iter().for_each(Worker::stop);
        for worker in &self.workers {
            worker.finish(deadline);
        }
        dropped(&self.workers) - before
    }
}

#[cfg(test)]
mod tests;
