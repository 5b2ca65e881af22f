//! What network outputs still have to deliver, on disk, so that neither their outage nor the daemon's end loses it.
//!
//! Every output has a position of its own in one sequence of alerts. An alert is on the disk when [`Spool::append`]
//! returns, and stays until the slowest output has it, or it is too old, or there is no room: what goes for such a
//! reason is counted for each output that did not have it. Where the disk fails, alerts are kept in memory until it works
//! again: a full disk must not blind the network outputs.

mod state;
mod store;

use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::state::State;
use crate::config::SpoolOptions;
use crate::metrics::{Handle, Metrics};

/// How long after a failure the file is tried again.
const REOPEN_INTERVAL: Duration = Duration::from_secs(1);

/// An alert that waits for network outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spooled {
    /// When it was raised, in milliseconds since 1970.
    pub(super) time: i64,
    pub(super) id: String,
    /// The document as one line of JSON.
    pub(super) line: String,
    /// It tells of alerts that were not sent, and is none itself.
    pub(super) is_summary: bool,
}

/// What an alert takes, records of the file around it included.
fn size(id: &str, line: &str) -> usize {
    const OVERHEAD: usize = 64;
    id.len() + line.len() + OVERHEAD
}

/// An alert in the file or waiting to get there.
#[derive(Debug, Clone, Copy)]
struct Slot {
    sequence: u64,
    time: i64,
    bytes: usize,
}

/// How far an output is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Progress {
    /// The first alert that it has not delivered.
    position: u64,
    /// What it has to know after a restart.
    memory: Vec<u8>,
}

/// The alerts that an output delivers next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) alerts: Vec<Arc<Spooled>>,
    range: Range<u64>,
    /// In which numbering.
    numbering: u32,
}

/// What [`Spool::next`] ended with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Batch(Batch),
    /// The time that was given has come.
    Due,
    /// There is nothing left, and nothing more will come.
    Closed,
}

/// How much one output takes at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchLimits {
    pub(super) count: usize,
    pub(super) bytes: usize,
}

#[derive(Debug)]
pub(super) struct Spool {
    state: Mutex<State>,
    changed: Condvar,
}

impl Spool {
    /// Opens the spool for `outputs`. A file that cannot be used is logged and tried again; alerts are kept in memory
    /// meanwhile. `bytes` is told how much there is.
    pub(super) fn open(
        options: &SpoolOptions,
        outputs: &[&'static str],
        metrics: &Metrics,
        bytes: Handle,
    ) -> Self {
        let mut state = State::new(options, outputs, metrics, bytes);
        state.make_room();
        state.save();
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Is for these outputs from now on. One that is new gets what is there; what one that is gone did not deliver, nobody
    /// does.
    pub(super) fn set_outputs(&self, outputs: &[&'static str], metrics: &Metrics) {
        let mut state = self.lock();
        state.set_outputs(outputs, metrics);
        state.save();
    }

    /// Has whoever waits in [`Spool::next`] or [`Spool::wait_unless_closed`] look what there is to do.
    pub(super) fn poke(&self) {
        self.lock().pokes += 1;
        self.changed.notify_all();
    }

    /// Takes alerts for all outputs. On return they are on the disk, unless that fails.
    pub(super) fn append(&self, alerts: impl IntoIterator<Item = (String, String)>) {
        let mut state = self.lock();
        let time = state.clock.now();
        for (id, line) in alerts {
            state.push(Spooled { time, id, line, is_summary: false });
        }
        state.make_room();
        state.save();
        self.changed.notify_all();
    }

    /// Waits for what `output` has to deliver next, at most until `due`.
    pub(super) fn next(&self, output: &str, limits: BatchLimits, due: Option<Instant>) -> Next {
        let mut state = self.lock();
        let pokes = state.pokes;
        loop {
            if let Some(batch) = state.read(output, limits) {
                return Next::Batch(batch);
            }
            if state.closed {
                return Next::Closed;
            }
            let now = Instant::now();
            if due.is_some_and(|due| due <= now) || state.pokes != pokes {
                return Next::Due;
            }
            let retry = (!state.is_saved() || !state.works()).then(|| now + REOPEN_INTERVAL);
            state = match due.into_iter().chain(retry).min() {
                Some(until) => self.wait(state, until - now),
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
            state.save();
        }
    }

    /// `output` is done with `batch`, and has to know `memory` when it goes on, even after a restart.
    pub(super) fn advance(&self, output: &str, batch: &Batch, memory: Vec<u8>) {
        let mut state = self.lock();
        let numbering = state.numbering;
        let Some(progress) = state.outputs.get_mut(output) else { return };
        // What went to make room has moved the position, and what came when the file could at last be read the numbers.
        if batch.numbering == numbering && batch.range.contains(&progress.position) {
            *progress = Progress { position: batch.range.end, memory };
        }
        state.unsaved_progress = true;
        state.forget_delivered();
        state.save();
    }

    /// `output` has to know `memory` when it goes on, even after a restart.
    pub(super) fn remember(&self, output: &str, memory: Vec<u8>) {
        let mut state = self.lock();
        let Some(progress) = state.outputs.get_mut(output) else { return };
        progress.memory = memory;
        state.unsaved_progress = true;
        state.save();
    }

    /// What `output` wanted to know.
    pub(super) fn memory(&self, output: &str) -> Vec<u8> {
        self.lock().outputs.get(output).map(|progress| progress.memory.clone()).unwrap_or_default()
    }

    /// The time now, as alerts have it.
    pub(super) fn now(&self) -> i64 {
        self.lock().clock.now()
    }

    /// How many alerts wait for `output`.
    pub(super) fn waiting(&self, output: &str) -> u64 {
        let state = self.lock();
        state.outputs.get(output).map_or(0, |progress| state.waiting(progress))
    }

    /// `output` has failed to deliver: gives up what is too old for it, and waits for `time` to pass, but not longer than
    /// until the spool is closed. Returns whether it is.
    pub(super) fn wait_unless_closed(&self, output: &str, time: Duration) -> bool {
        let state = self.lock();
        let pokes = state.pokes;
        let waits = |state: &mut State| !state.closed && state.pokes == pokes;
        let result = self.changed.wait_timeout_while(state, time, waits);
        let mut state = result.unwrap_or_else(PoisonError::into_inner).0;
        state.drop_old(output);
        state.make_room();
        state.save();
        state.closed
    }

    /// Takes no more alerts.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Whether everything is on the disk.
    pub(super) fn is_saved(&self) -> bool {
        self.lock().is_saved()
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>, time: Duration) -> MutexGuard<'s, State> {
        self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What runs under the lock leaves the state whole at any time.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
