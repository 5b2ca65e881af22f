//! Outputs: where alerts are delivered to.
//!
//! Each output has a thread of its own, so that one that blocks or fails delays neither the pipeline nor the others.
//! Those that stay on the host have a bounded queue each; those that leave it read from the spool, which is on disk.
//! Every alert that an output is given ends as delivered, as refused by the server, or as dropped, in a counter and,
//! unless delivered, in the log.

mod change;
mod file;
mod network;
mod record;
mod spool;
mod stdout;
mod throttle;
mod worker;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

pub use self::change::{Change, ChangeError};
use self::file::FileSink;
use self::network::{Alertmanager, DeadLetters, Elasticsearch, NetworkSink, NetworkWorker, Syslog, Webhook};
pub use self::network::{SetupError, elasticsearch_templates, setup_elasticsearch};
pub use self::record::Record;
use self::spool::Spool;
use self::stdout::StdoutSink;
pub use self::stdout::is_for_people;
use self::worker::{Given, Tuning, Worker};
use crate::config::{OutputOptions, SpoolOptions};
use crate::metrics::{Handle, Metrics};

/// What delivers alerts to a place on this host. It may block: it has its thread for itself.
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
    source: Box<dyn std::error::Error + Send + Sync>,
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
    /// For what raised no alert.
    suppressed: Option<Worker>,
    /// Those that are no longer on and still have something to deliver.
    retired: Vec<Worker>,
    /// How many work.
    working: Arc<watch::Sender<usize>>,
    network: Option<Network>,
    /// For the events themselves, with a spool of their own: a flood of them must not cost an alert.
    events: Option<Network>,
    tuning: Tuning,
}

/// All alerts that were sent up to some time.
#[derive(Debug)]
pub struct Sent(Vec<Given>);

impl Sent {
    /// Whether none of them waits in memory any more, be it that they were delivered, or dropped and counted.
    pub fn is_done(&self) -> bool {
        self.0.iter().all(Given::is_done)
    }
}

/// Outputs that read from the spool.
#[derive(Debug)]
struct Network {
    spool: Arc<Spool>,
    dead_letters: Arc<DeadLetters>,
    workers: Vec<NetworkWorker>,
    /// What the spool gets at the next [`Outputs::flush`].
    unspooled: Mutex<Vec<Arc<dyn Record>>>,
}

impl Outputs {
    /// Opens the outputs that `options` turn on. One that fails is logged and tried again with each alert; only if all
    /// fail there is no point in going on.
    pub fn open(
        options: &OutputOptions,
        spool: &SpoolOptions,
        metrics: &Metrics,
    ) -> Result<Self, OutputsError> {
        let tuning = Tuning { longest_retry: spool.longest_retry.get(), ..Tuning::default() };
        let mut outputs = Self::start(Sinks::of(options), spool, metrics, tuning)?;
        if let Some(elasticsearch) = options.elasticsearch.as_ref().and_then(Elasticsearch::for_events) {
            outputs.events =
                Some(Network::start_for_events(Box::new(elasticsearch), spool, metrics, tuning)?);
        }
        if let Some(file) = &options.suppressed {
            outputs.suppressed = Some(start_suppressed(FileSink::for_suppressed(file), metrics)?);
        }
        Ok(outputs)
    }

    fn start(
        sinks: Sinks,
        spool: &SpoolOptions,
        metrics: &Metrics,
        tuning: Tuning,
    ) -> Result<Self, OutputsError> {
        let Sinks { mut local, mut network } = sinks;
        let count = local.len() + network.len();
        if count == 0 {
            return Err(OutputsError::None);
        }
        let opened =
            local.iter_mut().map(|sink| (sink.name(), sink.open().map_err(|error| error.to_string())));
        let mut results: Vec<_> = opened.collect();
        results.extend(
            network.iter_mut().map(|sink| (sink.name(), sink.open().map_err(|error| error.to_string()))),
        );
        let failures: Vec<_> =
            results.into_iter().filter_map(|(name, result)| Some((name, result.err()?))).collect();
        if failures.len() == count {
            return Err(OutputsError::AllFailed(
                failures.into_iter().map(|(output, failure)| format!("{output}: {failure}")).collect(),
            ));
        }
        for (output, failure) in failures {
            metrics.output(output).errors.increment();
            tracing::error!(
                output,
                "{failure}; the other outputs go on, and this one is tried again with each alert"
            );
        }

        let working = Arc::new(watch::channel(count).0);
        let mut workers = Vec::new();
        for sink in local {
            workers.push(start_local(sink, metrics, tuning, &working)?);
        }
        let network =
            if network.is_empty() { None } else { Some(Network::start(network, spool, metrics, tuning)?) };
        Ok(Self { workers, suppressed: None, retired: Vec::new(), working, network, events: None, tuning })
    }

    /// Gives the alert to every output; with network outputs, at the next [`Outputs::flush`]. Never blocks: an output whose
    /// queue is full, or that is gone, drops it, which is counted and logged.
    pub fn send(&self, alert: &Arc<dyn Record>) {
        match &self.network {
            Some(network) => network.unspooled().push(Arc::clone(alert)),
            None => self.send_locally(alert),
        }
    }

    fn send_locally(&self, alert: &Arc<dyn Record>) {
        self.workers.iter().for_each(|worker| worker.send(Arc::clone(alert)));
    }

    /// Gives what raised no alert to the output that is for this. Nothing is made where there is none.
    pub fn send_suppressed(&self, event: impl FnOnce() -> Arc<dyn Record>) {
        if let Some(worker) = &self.suppressed {
            worker.send(event());
        }
    }

    /// Gives the event itself, at the next [`Outputs::flush`], to the output that is for this. Nothing is made where there is
    /// none.
    pub fn send_event(&self, event: impl FnOnce() -> Arc<dyn Record>) {
        if let Some(events) = &self.events {
            events.unspooled().push(event());
        }
    }

    /// Brings what was sent to the disk, for network outputs to deliver, and only then to the others: what any output has
    /// shown, those of the network will deliver, even if this process is killed.
    pub fn flush(&self) {
        if let Some(network) = &self.network {
            network.flush().iter().for_each(|alert| self.send_locally(alert));
        }
        if let Some(events) = &self.events {
            events.flush();
        }
    }

    /// The outputs that alerts are given to.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        let network = self.network.iter().flat_map(|network| &network.workers).map(NetworkWorker::name);
        self.workers.iter().map(Worker::name).chain(network)
    }

    /// Whether no alert waits in memory for any output.
    pub fn is_idle(&self) -> bool {
        self.local().all(Worker::is_idle)
    }

    /// Whether this process could be killed and no alert that was sent were lost: none waits in memory, be it for an output of
    /// this host or for the disk, and none was sent when there was no output any more.
    pub fn has_all_safe(&self) -> bool {
        self.is_idle() && self.are_working() && self.is_spooled()
    }

    /// What was sent so far; nothing if some of it is still to get to the disk.
    pub fn sent(&self) -> Option<Sent> {
        self.is_spooled().then(|| Sent(self.local().map(Worker::given).collect()))
    }

    fn is_spooled(&self) -> bool {
        let network = self.network.as_ref();
        network.is_none_or(|network| network.unspooled().is_empty() && network.spool.is_saved())
    }

    /// Whether there is an output left.
    pub fn are_working(&self) -> bool {
        *self.working.borrow() > 0
    }

    /// Resolves when the last output is gone for good, so that no alert can be delivered any more.
    pub async fn all_gone(&self) {
        // An error means that all workers have ended, and with them the outputs.
        let _ = self.working.subscribe().wait_for(|working| *working == 0).await;
    }

    /// Takes no more alerts and waits until what was sent is delivered, at most `patience` long. Returns how many
    /// alerts were dropped on the way out, counted for each output; what is in the spool stays there.
    pub fn close(&self, patience: Duration) -> u64 {
        self.flush();
        let deadline = Instant::now() + patience;
        let dropped = || self.workers.iter().chain(&self.retired).map(Worker::dropped).sum::<u64>();
        let before = dropped();
        self.local().for_each(Worker::stop);
        let networks = || self.network.iter().chain(&self.events);
        networks().for_each(|network| network.spool.close());
        self.local().for_each(|worker| worker.finish(deadline));
        networks().for_each(|network| network.finish(deadline));
        dropped() - before
    }

    fn local(&self) -> impl Iterator<Item = &Worker> {
        self.workers.iter().chain(&self.suppressed).chain(&self.retired)
    }
}

fn start_local(
    sink: Box<dyn Sink>,
    metrics: &Metrics,
    tuning: Tuning,
    working: &Arc<watch::Sender<usize>>,
) -> Result<Worker, OutputsError> {
    let output = sink.name();
    Worker::start(sink, metrics.output(output), tuning, Arc::clone(working))
        .map_err(|error| OutputsError::Thread { output, error })
}

/// Whether it works or not is nothing that the alerts depend on.
fn start_suppressed(mut sink: FileSink, metrics: &Metrics) -> Result<Worker, OutputsError> {
    let output = sink.name();
    let counters = metrics.output(output);
    if let Err(failure) = sink.open() {
        counters.errors.increment();
        tracing::error!(
            output,
            "{failure}; alerts are not affected, and this one is tried again with each event"
        );
    }
    let unwatched = Arc::new(watch::channel(1).0);
    Worker::start(Box::new(sink), counters, Tuning::default(), unwatched)
        .map_err(|error| OutputsError::Thread { output, error })
}

/// What alerts are delivered with.
#[derive(Default)]
struct Sinks {
    local: Vec<Box<dyn Sink>>,
    network: Vec<Box<dyn NetworkSink>>,
}

impl Sinks {
    /// Those that `options` turn on.
    fn of(options: &OutputOptions) -> Self {
        let mut local: Vec<Box<dyn Sink>> = Vec::new();
        if options.stdout.enabled {
            local.push(Box::new(StdoutSink::stdout(options.stdout.format)));
        }
        if let Some(file) = &options.file {
            local.push(Box::new(FileSink::new(file)));
        }
        let mut network: Vec<Box<dyn NetworkSink>> = Vec::new();
        if let Some(elasticsearch) = &options.elasticsearch {
            network.push(Box::new(Elasticsearch::new(elasticsearch)));
        }
        if let Some(syslog) = &options.syslog {
            network.push(Box::new(Syslog::new(syslog)));
        }
        if let Some(webhook) = &options.webhook {
            network.push(Box::new(Webhook::new(webhook)));
        }
        if let Some(alertmanager) = &options.alertmanager {
            network.push(Box::new(Alertmanager::new(alertmanager)));
        }
        Self { local, network }
    }
}

impl Network {
    fn start(
        sinks: Vec<Box<dyn NetworkSink>>,
        options: &SpoolOptions,
        metrics: &Metrics,
        tuning: Tuning,
    ) -> Result<Self, OutputsError> {
        let names: Vec<_> = sinks.iter().map(|sink| sink.name()).collect();
        let spool = Spool::open(options, &names, metrics, metrics.spool_bytes());
        Self::start_with(sinks, spool, options, metrics, tuning)
    }

    /// Whether it works or not is nothing that the alerts depend on.
    fn start_for_events(
        mut sink: Box<dyn NetworkSink>,
        options: &SpoolOptions,
        metrics: &Metrics,
        tuning: Tuning,
    ) -> Result<Self, OutputsError> {
        let output = sink.name();
        if let Err(failure) = sink.open() {
            metrics.output(output).errors.increment();
            tracing::error!(
                output,
                "{failure}; alerts are not affected, and this one is tried again with each event"
            );
        }
        let options = options.for_events();
        let spool = Spool::open(&options, &[output], metrics, Handle::default());
        Self::start_with(vec![sink], spool, &options, metrics, tuning)
    }

    fn start_with(
        sinks: Vec<Box<dyn NetworkSink>>,
        spool: Spool,
        options: &SpoolOptions,
        metrics: &Metrics,
        tuning: Tuning,
    ) -> Result<Self, OutputsError> {
        let spool = Arc::new(spool);
        let dead_letters = Arc::new(DeadLetters::new(options));
        let mut network = Self { spool, dead_letters, workers: Vec::new(), unspooled: Mutex::default() };
        for sink in sinks {
            network.add(sink, metrics, tuning)?;
        }
        Ok(network)
    }

    fn add(
        &mut self,
        sink: Box<dyn NetworkSink>,
        metrics: &Metrics,
        tuning: Tuning,
    ) -> Result<(), OutputsError> {
        let output = sink.name();
        let (spool, dead_letters) = (Arc::clone(&self.spool), Arc::clone(&self.dead_letters));
        let worker = NetworkWorker::start(sink, spool, dead_letters, metrics.network_output(output), tuning)
            .map_err(|error| OutputsError::Thread { output, error })?;
        self.workers.push(worker);
        Ok(())
    }

    /// Brings what was sent to the disk. Gives what it was.
    fn flush(&self) -> Vec<Arc<dyn Record>> {
        let records = std::mem::take(&mut *self.unspooled());
        if !records.is_empty() {
            self.spool.append(records.iter().map(|record| (record.id().to_owned(), record.to_line())));
        }
        records
    }

    fn unspooled(&self) -> std::sync::MutexGuard<'_, Vec<Arc<dyn Record>>> {
        self.unspooled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the deliveries to end, at most until `deadline`.
    fn finish(&self, deadline: Instant) {
        self.workers.iter().for_each(|worker| worker.finish(deadline, &self.spool));
        if !self.spool.is_saved() {
            tracing::error!(
                "alerts for network outputs are lost: the spool could not be written before the end"
            );
        }
    }
}

#[cfg(test)]
mod tests;
