//! Whether an operation succeeded. The hooks run before it is done; what the kernel says later is put together here.
//!
//! - The end of a rename, of a link, of a node's creation, of a truncation and of a deletion is reported with its result. If no
//!   report comes in time, the outcome is unknown.
//! - A file that was opened for writing is reported once it is open.
//! - The end of a regular file's creation is not reported. File systems that support security labels ask for one for each new inode: that
//!   is the sign of success. `open` with `O_CREAT` of a file that exists, and a creation that fails, give no sign. That
//!   there was none is certain when the thread's next operation begins, and taken for certain after [`PATIENCE`]
//!   timeouts. On other file systems (FUSE, NFS), and if signs were lost, the outcome is unknown, the latter after one
//!   timeout.
//!
//! A failure raises no alert, unknown does: where it is in doubt, it is unknown.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use sensor_common::record::{Ended, Event as EventRecord, FLAG_DONE, KIND_CREATE, Made};

use crate::event::{Event, Outcome};

/// Nobody waits for a failure, so it is given this many timeouts to turn out a success on a slow disk.
pub const PATIENCE: u32 = 10;
/// Operations that are waited for at once. When there are more, the oldest is let go.
const MAX_WAITING: usize = 1 << 14;

/// Events that wait for their outcome, and when. Time is given, on any clock that only goes forward.
#[derive(Debug)]
pub struct Outcomes {
    timeout: Duration,
    waiting: HashMap<u64, Waiting>,
    /// Threads in the order in which their deadlines were set; stale where the operation has ended.
    deadlines: VecDeque<(Duration, u64, u64)>,
}

#[derive(Debug)]
struct Waiting {
    events: Vec<Event>,
    position: Option<usize>,
    time_ns: u64,
    sequence: u64,
    parent: u64,
    name: u64,
    /// Its end is reported.
    has_end: bool,
    /// Signs that had been lost when it began.
    lost: u64,
    /// Timeouts that have passed.
    timeouts: u32,
}

impl Outcomes {
    /// Nothing waits yet.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, waiting: HashMap::new(), deadlines: VecDeque::new() }
    }

    /// How long what begins from now on waits for its outcome.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// An operation begins, told by `record`, which is at `position` in the ring, and turned into `events`. `lost` is how many signs the
    /// kernel could not deliver before it, and what counts those until now. Events whose outcome is settled go to `settled`.
    pub fn begin(
        &mut self,
        record: &EventRecord,
        events: Vec<Event>,
        now: Duration,
        (lost_before, lost): (u64, impl Fn() -> u64),
        position: Option<usize>,
        settled: &mut Vec<Event>,
    ) {
        let thread = record.header.pid_tgid;
        // A thread does one thing after the other: the one before has ended.
        if let Some(before) = self.waiting.remove(&thread) {
            before.settle_silent(lost(), settled);
        }
        if record.header.flags & FLAG_DONE != 0 {
            settle(events, Outcome::Success, settled);
            return;
        }
        if !record.has_outcome() {
            settle(events, Outcome::Unknown, settled);
            return;
        }
        if self.waiting.len() >= MAX_WAITING {
            self.let_oldest_go(settled);
        }
        let (time_ns, sequence) = (record.header.time_ns, record.header.sequence);
        self.deadlines.push_back((now + self.timeout, thread, time_ns));
        let (parent, name) = (record.parent, record.name);
        self.waiting.insert(
            thread,
            Waiting {
                events,
                position,
                time_ns,
                sequence,
                parent,
                name,
                has_end: record.header.kind != KIND_CREATE,
                lost: lost_before,
                timeouts: 0,
            },
        );
    }

    /// A new inode was made.
    pub fn made(&mut self, made: &Made, settled: &mut Vec<Event>) {
        let thread = made.header.pid_tgid;
        let is_it = |waiting: &Waiting| {
            !waiting.has_end && (waiting.parent, waiting.name) == (made.parent, made.name)
        };
        if self.waiting.get(&thread).is_some_and(is_it)
            && let Some(mut waiting) = self.waiting.remove(&thread)
        {
            for event in &mut waiting.events {
                event.file.inode = Some(made.inode).filter(|&inode| inode != 0);
            }
            settle(waiting.events, Outcome::Success, settled);
        }
    }

    /// An operation ended.
    pub fn ended(&mut self, ended: &Ended, settled: &mut Vec<Event>) {
        let thread = ended.header.pid_tgid;
        let is_it = |waiting: &Waiting| {
            waiting.has_end
                && (waiting.time_ns, waiting.sequence) == (ended.event_time_ns, ended.event_sequence)
        };
        if self.waiting.get(&thread).is_some_and(is_it)
            && let Some(waiting) = self.waiting.remove(&thread)
        {
            let outcome = if ended.result == 0 { Outcome::Success } else { Outcome::Failure };
            settle(waiting.events, outcome, settled);
        }
    }

    /// Time has passed. `lost` counts the signs that the kernel could not deliver.
    pub fn expire(&mut self, now: Duration, lost: impl Fn() -> u64, settled: &mut Vec<Event>) {
        while let Some(&(deadline, thread, time_ns)) = self.deadlines.front()
            && deadline <= now
        {
            self.deadlines.pop_front();
            let Entry::Occupied(mut waiting) = self.waiting.entry(thread) else { continue };
            if waiting.get().time_ns != time_ns {
                continue;
            }
            let lost = lost();
            waiting.get_mut().timeouts += 1;
            if waiting.get().may_still_succeed(lost) {
                self.deadlines.push_back((now + self.timeout, thread, time_ns));
            } else {
                waiting.remove().settle_silent(lost, settled);
            }
        }
    }

    /// Where the records are in the ring whose events wait; `None` for those of another ring.
    pub fn positions(&self) -> impl Iterator<Item = Option<usize>> {
        self.waiting.values().map(|waiting| waiting.position)
    }

    /// When `expire` has something to do.
    pub fn deadline(&self) -> Option<Duration> {
        if self.waiting.is_empty() { None } else { self.deadlines.front().map(|(deadline, ..)| *deadline) }
    }

    /// The daemon ends: whatever waits is settled, as unknown unless it is a creation that gave no sign.
    pub fn finish(&mut self, lost: u64, settled: &mut Vec<Event>) {
        self.deadlines.clear();
        let mut waiting: Vec<_> = self.waiting.drain().map(|(_, waiting)| waiting).collect();
        waiting.sort_by_key(|waiting| waiting.time_ns);
        for waiting in waiting {
            waiting.settle_silent(lost, settled);
        }
    }

    fn let_oldest_go(&mut self, settled: &mut Vec<Event>) {
        while let Some((_, thread, time_ns)) = self.deadlines.pop_front() {
            if self.waiting.get(&thread).is_some_and(|waiting| waiting.time_ns == time_ns)
                && let Some(waiting) = self.waiting.remove(&thread)
            {
                settle(waiting.events, Outcome::Unknown, settled);
                return;
            }
        }
    }
}

impl Waiting {
    /// Its sign can still come: a slow disk is given time. A sign that was lost does not come later.
    fn may_still_succeed(&self, lost: u64) -> bool {
        !self.has_end && lost == self.lost && self.timeouts < PATIENCE
    }

    /// It ended, or must have, and gave no sign.
    fn settle_silent(self, lost: u64, settled: &mut Vec<Event>) {
        let certain = !self.has_end && lost == self.lost;
        settle(self.events, if certain { Outcome::Failure } else { Outcome::Unknown }, settled);
    }
}

fn settle(events: Vec<Event>, outcome: Outcome, settled: &mut Vec<Event>) {
    settled.extend(events.into_iter().map(|event| Event { outcome, ..event }));
}

#[cfg(test)]
mod tests;
