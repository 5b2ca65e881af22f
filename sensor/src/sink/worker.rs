//! The thread of one output: takes alerts from its queue and delivers them, however long that takes.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::throttle::Throttle;
use super::{Record, Sink, SinkError};
use crate::metrics::OutputCounters;
use crate::queue::{Queue, Refused};

/// How often the log says that an output is still in trouble, or still drops alerts.
pub(super) const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// How much an output may hold, and how often it tries again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tuning {
    /// Alerts that may wait. An alert takes a few kilobytes.
    pub(super) capacity: usize,
    /// Time between two attempts; for a network output, after the first.
    pub(super) retry: Duration,
    /// Longest time between two attempts of a network output.
    pub(super) longest_retry: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { capacity: 4096, retry: Duration::from_secs(1), longest_retry: Duration::from_mins(1) }
    }
}

/// The near side of an output's thread.
#[derive(Debug)]
pub(super) struct Worker {
    name: &'static str,
    queue: Arc<Queue<Arc<dyn Record>>>,
    counters: OutputCounters,
    drops: Mutex<Throttle>,
}

/// The alerts that an output was given up to some time.
#[derive(Debug)]
pub(super) struct Given {
    queue: Arc<Queue<Arc<dyn Record>>>,
    count: u64,
}

impl Given {
    /// Whether none of them waits any more.
    pub(super) fn is_done(&self) -> bool {
        self.queue.has_done(self.count)
    }
}

impl Worker {
    pub(super) fn start(
        sink: Box<dyn Sink>,
        counters: OutputCounters,
        tuning: Tuning,
        working: Arc<watch::Sender<usize>>,
    ) -> io::Result<Self> {
        let name = sink.name();
        let queue = Arc::new(Queue::new(tuning.capacity));
        let mut delivery = Delivery {
            sink,
            queue: Arc::clone(&queue),
            counters: counters.clone(),
            working,
            retry: tuning.retry,
            trouble: None,
        };
        thread::Builder::new().name(format!("output-{name}")).spawn(move || delivery.run())?;
        Ok(Self { name, queue, counters, drops: Mutex::new(Throttle::new(LOG_INTERVAL)) })
    }

    pub(super) fn send(&self, alert: Arc<dyn Record>) {
        let Err(refused) = self.queue.try_push(alert) else { return };
        self.counters.dropped.increment();
        let mut drops = self.drops.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = drops.admit(Instant::now()) {
            let why = match refused {
                Refused::Full => "its queue is full",
                Refused::Closed => "it is gone",
            };
            tracing::error!(output = self.name, "dropped {} alerts: {why}", before + 1);
        }
    }

    /// The output's name.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Whether nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_done()
    }

    /// What it was given so far.
    pub(super) fn given(&self) -> Given {
        Given { queue: Arc::clone(&self.queue), count: self.queue.added() }
    }

    /// How many alerts were dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.counters.dropped.get()
    }

    /// Takes no more alerts.
    pub(super) fn stop(&self) {
        self.queue.close();
    }

    /// Waits for the end of the deliveries, at most until `deadline`, and drops what is left.
    pub(super) fn finish(&self, deadline: Instant) {
        self.queue.wait_until_done(deadline);
        let unfinished = self.queue.discard(|lost| self.counters.dropped.add(lost));
        if unfinished > 0 {
            tracing::error!(
                output = self.name,
                "dropped {unfinished} alerts: it did not take them before the end"
            );
        }
    }
}

/// The far side: what runs on the thread.
struct Delivery {
    sink: Box<dyn Sink>,
    queue: Arc<Queue<Arc<dyn Record>>>,
    counters: OutputCounters,
    working: Arc<watch::Sender<usize>>,
    retry: Duration,
    trouble: Option<Throttle>,
}

impl Delivery {
    fn run(&mut self) {
        while let Some(alert) = self.queue.next() {
            match self.deliver(alert.as_ref()) {
                Ok(()) => self.queue.complete(|| self.counters.delivered.increment()),
                Err(SinkError::Temporary(failure)) => {
                    tracing::error!(output = self.sink.name(), "{failure}; dropped the alert {}", alert.id());
                    self.queue.complete(|| self.counters.dropped.increment());
                }
                Err(SinkError::Gone(failure)) => {
                    // First: that nothing waits is not to be taken for a delivery.
                    self.end();
                    let lost = self.queue.discard(|lost| self.counters.dropped.add(lost));
                    let output = self.sink.name();
                    tracing::error!(output, "{failure}; dropped {lost} alerts, and will drop all others");
                    return;
                }
            }
        }
        self.end();
    }

    /// One output less that works.
    fn end(&self) {
        self.working.send_modify(|working| *working -= 1);
    }

    /// Delivers `alert`, however often that has to be tried. An error is the last one, at the daemon's end or the output's.
    fn deliver(&mut self, alert: &dyn Record) -> Result<(), SinkError> {
        let mut last_attempt = false;
        loop {
            let error = match self.sink.deliver(alert) {
                Ok(()) => {
                    if self.trouble.take().is_some() {
                        tracing::info!(output = self.sink.name(), "works again");
                    }
                    return Ok(());
                }
                Err(error) => error,
            };
            self.counters.errors.increment();
            let SinkError::Temporary(failure) = &error else { return Err(error) };
            if last_attempt {
                return Err(error);
            }
            let trouble = self.trouble.get_or_insert_with(|| Throttle::new(LOG_INTERVAL));
            if trouble.admit(Instant::now()).is_some() {
                tracing::error!(output = self.sink.name(), "{failure}; alerts are kept and tried again");
            }
            last_attempt = self.queue.wait_unless_closed(self.retry);
        }
    }
}
