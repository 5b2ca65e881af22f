//! The thread of one network output: takes batches from the spool and delivers them, however long that takes.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::dead_letters::DeadLetters;
use super::signals::Signals;
use super::{NetworkSink, Outcome};
use crate::metrics::NetworkCounters;
use crate::sink::spool::{Next, Spool, Spooled};
use crate::sink::throttle::Throttle;
use crate::sink::worker::{LOG_INTERVAL, Tuning};

/// The near side of a network output's thread.
#[derive(Debug)]
pub(in crate::sink) struct NetworkWorker {
    name: &'static str,
    /// Says nothing, and is gone when the thread ends.
    running: mpsc::Receiver<()>,
    stopped: Arc<AtomicBool>,
}

impl NetworkWorker {
    pub(in crate::sink) fn start(
        sink: Box<dyn NetworkSink>,
        spool: Arc<Spool>,
        dead_letters: Arc<DeadLetters>,
        counters: NetworkCounters,
        tuning: Tuning,
    ) -> io::Result<Self> {
        let name = sink.name();
        let (running_sender, running) = mpsc::channel();
        let backoff = Backoff::new(tuning.retry, tuning.longest_retry);
        let signals = Signals::from_bytes(&spool.memory(name), spool.now());
        let stopped = Arc::new(AtomicBool::new(false));
        let their_stopped = Arc::clone(&stopped);
        let mut delivery = Delivery {
            sink,
            spool,
            dead_letters,
            counters,
            backoff,
            signals,
            trouble: None,
            stopped: their_stopped,
        };
        thread::Builder::new().name(format!("output-{name}")).spawn(move || {
            delivery.run();
            drop(running_sender);
        })?;
        Ok(Self { name, running, stopped })
    }

    /// The output's name.
    pub(in crate::sink) fn name(&self) -> &'static str {
        self.name
    }

    /// Ends it, when what it is doing is done. What it has not delivered stays in the spool.
    pub(in crate::sink) fn stop(&self, spool: &Spool) {
        self.stopped.store(true, Ordering::Relaxed);
        spool.poke();
    }

    /// Waits for the end of the deliveries, at most until `deadline`. What is left then stays in the spool.
    pub(in crate::sink) fn finish(&self, deadline: Instant, spool: &Spool) {
        let patience = deadline.saturating_duration_since(Instant::now());
        let _ = self.running.recv_timeout(patience);
        let waiting = spool.waiting(self.name);
        if waiting > 0 {
            let output = self.name;
            tracing::warn!(
                output,
                "{waiting} alerts are in the spool and are delivered after the next start"
            );
        }
    }
}

/// The far side: what runs on the thread.
struct Delivery {
    sink: Box<dyn NetworkSink>,
    spool: Arc<Spool>,
    dead_letters: Arc<DeadLetters>,
    counters: NetworkCounters,
    backoff: Backoff,
    signals: Signals,
    trouble: Option<Throttle>,
    /// Another one delivers for this output from now on.
    stopped: Arc<AtomicBool>,
}

impl Delivery {
    fn run(&mut self) {
        let name = self.sink.name();
        while !self.is_stopped() {
            match self.spool.next(name, self.sink.limits(), self.due()) {
                Next::Batch(batch) => {
                    let sent = self.signals.admit(&batch.alerts);
                    let summaries = sent.iter().filter(|alert| alert.is_summary).count();
                    if self.is_stopped() || !self.deliver(sent.clone()) {
                        return;
                    }
                    let held = batch.alerts.len() - (sent.len() - summaries);
                    self.counters.summarized.add(held as u64);
                    self.spool.advance(name, &batch, self.signals.to_bytes());
                }
                Next::Due => {
                    let summaries = self.signals.expire(self.spool.now());
                    if !self.deliver(summaries) {
                        return;
                    }
                    self.spool.remember(name, self.signals.to_bytes());
                }
                Next::Closed => return,
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// When the next summary is due.
    fn due(&self) -> Option<Instant> {
        let wait = self.signals.due()?.saturating_sub(self.spool.now());
        Some(Instant::now() + Duration::from_millis(u64::try_from(wait).unwrap_or(0)))
    }

    /// Delivers alerts, however often that has to be tried. Whether they are done with; else the daemon ends.
    fn deliver(&mut self, mut left: Vec<Arc<Spooled>>) -> bool {
        if left.is_empty() {
            return true;
        }
        let mut last_attempt = false;
        loop {
            let before = left.len();
            let failure = match self.sink.deliver(&left) {
                Ok(outcomes) => {
                    let (later, reason) = self.settle(&left, outcomes);
                    left = later;
                    reason
                }
                Err(failure) => Some(failure.to_string()),
            };
            if left.len() < before {
                self.backoff.reset();
            }
            let Some(failure) = failure else {
                if self.trouble.take().is_some() {
                    tracing::info!(output = self.sink.name(), "works again");
                }
                return true;
            };
            self.counters.output.errors.increment();
            let trouble = self.trouble.get_or_insert_with(|| Throttle::new(LOG_INTERVAL));
            if trouble.admit(Instant::now()).is_some() {
                let output = self.sink.name();
                tracing::error!(output, "{failure}; alerts are kept and tried again");
            }
            if last_attempt {
                return false;
            }
            last_attempt = self.spool.wait_unless_closed(self.sink.name(), self.backoff.next());
            if self.is_stopped() {
                return false;
            }
        }
    }

    /// Counts what is done with; gives what is not, and why.
    fn settle(&self, alerts: &[Arc<Spooled>], outcomes: Vec<Outcome>) -> (Vec<Arc<Spooled>>, Option<String>) {
        let (mut left, mut why) = (Vec::new(), None);
        for (alert, outcome) in alerts.iter().zip(outcomes) {
            match outcome {
                Outcome::Delivered if alert.is_summary => self.counters.summaries.increment(),
                Outcome::Delivered => self.counters.output.delivered.increment(),
                Outcome::Rejected(reason) => self.bury(alert, &reason),
                Outcome::Later(reason) => {
                    left.push(Arc::clone(alert));
                    why = Some(reason);
                }
            }
        }
        (left, why)
    }

    fn bury(&self, alert: &Spooled, reason: &str) {
        let (output, id) = (self.sink.name(), &alert.id);
        match self.dead_letters.write(output, alert, reason) {
            Ok(()) => {
                self.counters.rejected.increment();
                tracing::error!(
                    output,
                    "the server refused the alert {id}: {reason}; it is in spool.dead_letters"
                );
            }
            Err(error) => {
                self.counters.output.dropped.increment();
                tracing::error!(
                    output,
                    "dropped the alert {id}, which the server refused: {reason}; {error}"
                );
            }
        }
    }
}
