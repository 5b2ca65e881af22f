//! From what a source delivers to settled events, and when the kernel gets the place of a record back.
//!
//! A record's place is given back when its event is settled, and its alert, if it raised one, is in the spool and at the outputs
//! of this host; in a flood, where there is always an alert that waits, when those are that had been sent by then. So a daemon that
//! is killed leaves to the next one what it has not done; what it has done but not given back is done again, under the same ids.

use std::time::{Duration, Instant};

use super::source::{Input, Watcher};
use super::{Pipeline, PipelineError};
use crate::decode::{RawRecord, decode};
use crate::enrich::enrich;
use crate::host::boot_ns;
use crate::kernel::{Overlap, Predecessor, Ring, Witness};
use crate::memory;
use crate::metrics::Counter;
use crate::sink::Sent;

/// How long it must have been quiet before mounts are looked at: that reads the mounts of every namespace.
const MOUNTS_SETTLE: Duration = Duration::from_secs(5);

/// How soon outputs are looked at again that still have something to deliver.
const RELEASE_PAUSE: Duration = Duration::from_millis(100);

/// How often the records of programs on their way out are looked at.
const HANDOVER_PAUSE: Duration = Duration::from_millis(20);

/// Programs of another daemon, which watch until the kernel has let go of them.
pub(super) struct Handover {
    predecessors: Vec<Predecessor>,
    began: Instant,
}

impl Handover {
    pub(super) fn new(predecessors: Vec<Predecessor>) -> Self {
        Self { predecessors, began: Instant::now() }
    }
}

impl Pipeline<'_> {
    /// Works off everything that is there, and what has waited long enough.
    pub(super) fn take_all(&mut self, input: &mut Input) -> Result<(), PipelineError> {
        let begun_ns = boot_ns();
        self.take_handover();
        let records = match input {
            Input::Ring(ring, _) => self.take_records(ring),
            Input::Directories { .. } => self.take_notifications()?,
        };
        let now = self.start.elapsed();
        self.outcomes.expire(now, || self.watcher.outcomes_lost(), &mut self.settled);
        self.raise();
        // Once for all that came together: it waits for the disk.
        self.outputs.flush();
        // Not until now: what came after it began to read can still be unread.
        self.seen_ns = begun_ns;
        if let Input::Ring(ring, _) = input {
            self.release(ring);
        }
        if self.mounts_due.is_some_and(|due| due <= now) {
            let done = self.watcher.look_at_mounts()?;
            self.mounts_due = (!done).then_some(now + MOUNTS_SETTLE);
            self.memory.used_much(now);
        }
        self.test_itself(now)?;
        self.memory.used(records, now);
        if records > 0 {
            self.note_presence_soon(now);
        }
        if self.memory.expire(now, || self.outputs.is_idle()) {
            memory::give_back();
        }
        Ok(())
    }

    /// Gives how many there were.
    fn take_records(&mut self, ring: &mut Ring) -> u32 {
        let (mut records, mut tried) = (0, ring.position());
        loop {
            let record = if let Some(record) = ring.read() {
                record
            } else {
                // Signs that were lost before the ring was seen empty belong to none of the records that come later.
                let lost = self.outcomes_lost();
                let Some(record) = ring.read() else {
                    self.lost_before = lost;
                    return records;
                };
                record
            };
            self.take(record.bytes, Some(record.position), Witness::Own);
            records += 1;
            self.raise();
            // Now and then only: it waits for the disk, and what waits for its outcome can hold all that comes later back.
            if ring.position().wrapping_sub(tried) > ring.size() / 8 {
                tried = ring.position();
                self.outputs.flush();
                self.release(ring);
            }
        }
    }

    /// What the programs of another daemon saw until they ended.
    fn take_handover(&mut self) {
        let Some(mut handover) = self.handover.take() else { return };
        for predecessor in &mut handover.predecessors {
            while let Some(record) = predecessor.ring().read() {
                self.take(record.bytes, None, Witness::Predecessor);
                self.raise();
            }
        }
        let is_over = handover.began.elapsed() > Overlap::LENGTH;
        if is_over && !self.outcomes.positions().any(|position| position.is_none()) {
            self.outputs.flush();
            self.overlap = Overlap::default();
            handover.predecessors.into_iter().for_each(Predecessor::remove);
        } else {
            self.handover = Some(handover);
        }
    }

    /// When to look at the records of another daemon's programs.
    pub(super) fn handover_due(&self) -> Option<Duration> {
        self.handover.as_ref().map(|_| self.start.elapsed() + HANDOVER_PAUSE)
    }

    /// What fanotify tells is done: there is no outcome to wait for. Gives how much was told.
    fn take_notifications(&mut self) -> Result<u32, PipelineError> {
        let mut records = 0;
        while let Watcher::Fanotify(fanotify) = &mut self.watcher
            && fanotify.read(&mut self.host, &mut self.settled)?
        {
            records += self.settled.len() as u32;
            self.raise();
        }
        Ok(records)
    }

    fn take(&mut self, record: &[u8], position: Option<usize>, witness: Witness) {
        match decode(record) {
            Ok(RawRecord::Event(raw)) => {
                if self.overlap.is_known(&raw.fixed, witness) {
                    return;
                }
                let events = enrich(&raw, &mut self.host);
                let now = self.start.elapsed();
                let lost = (self.lost_before, || self.watcher.outcomes_lost());
                self.outcomes.begin(&raw.fixed, events, now, lost, position, &mut self.settled);
            }
            Ok(RawRecord::Made(made)) => self.outcomes.made(&made, &mut self.settled),
            Ok(RawRecord::Mounts) => self.mounts_due = Some(self.start.elapsed() + MOUNTS_SETTLE),
            Ok(RawRecord::Ended(ended)) => self.outcomes.ended(&ended, &mut self.settled),
            Err(error) => {
                self.metrics.increment(Counter::LostDecode);
                tracing::error!("an event is lost: {error}");
            }
        }
    }

    /// Gives the kernel back the place of what is done with, and of more if too much is held back.
    fn release(&mut self, ring: &mut Ring) {
        let done = self.first_waiting(|position| ring.has(position)).unwrap_or(ring.position());
        self.release_due = None;
        if self.searches.is_empty() && self.outputs.has_all_safe() {
            self.settled_up_to.clear();
            ring.release(done);
        } else {
            self.release_delivered(ring);
            // In a flood there is hardly a moment in which no alert waits.
            let is_far = |(position, _): &(usize, Sent)| done.wrapping_sub(*position) >= ring.size() / 32;
            if self.searches.is_empty()
                && self.settled_up_to.back().is_none_or(is_far)
                && let Some(sent) = self.outputs.sent()
            {
                self.settled_up_to.push_back((done, sent));
            }
            self.release_due = Some(self.start.elapsed() + RELEASE_PAUSE);
        }
        let most = ring.size() / 2;
        if ring.held() > most {
            // As far as the next record that waits, or all: it has to be where a record begins.
            let is_near = |position| ring.position().wrapping_sub(position) <= most;
            ring.release(self.first_waiting(is_near).unwrap_or(ring.position()));
            self.settled_up_to.retain(|(position, _)| ring.has(*position));
            self.metrics.increment(Counter::RingReleasedEarly);
            tracing::debug!(
                "the ring is half full of what is not done with: a daemon that is killed now loses some of it"
            );
        }
    }

    /// Gives back the place of what was settled earlier, if its alerts are delivered by now.
    fn release_delivered(&mut self, ring: &mut Ring) {
        while let Some((position, sent)) = self.settled_up_to.front()
            && sent.is_done()
            && self.outputs.are_working()
        {
            ring.release(*position);
            self.settled_up_to.pop_front();
        }
    }

    /// Where the first record is whose event waits for its outcome, of those in a part of the ring.
    pub(super) fn first_waiting(&self, is_there: impl Fn(usize) -> bool) -> Option<usize> {
        self.outcomes.positions().flatten().filter(|position| is_there(*position)).min()
    }

    pub(super) fn outcomes_lost(&self) -> u64 {
        self.watcher.outcomes_lost()
    }
}
