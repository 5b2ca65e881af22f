//! What the spool knows: which alerts there are, in the file or on the way there, and how far each output is.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::io::Errno;

use super::store::{Contents, Store, StoreError};
use super::{Batch, BatchLimits, Progress, REOPEN_INTERVAL, Slot, Spooled, size};
use crate::config::SpoolOptions;
use crate::metrics::{Handle, Metrics};
use crate::sink::throttle::Throttle;

/// Most bytes of alerts that are in memory only, because the disk does not work. The unit gives the daemon 256 MiB.
pub(super) const MEMORY_BYTES: usize = 32 << 20;

/// How long a daemon that was started tries before it takes what an earlier one left for old, by a clock that may have been
/// set in between.
const LONGEST_TRIAL: Duration = Duration::from_hours(1);

/// How often the log says that alerts are given up, or that the disk does not work.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct State {
    options: SpoolOptions,
    pub(super) clock: Clock,
    store: Option<Store>,
    /// The file was read once; from then on this here knows what it holds.
    loaded: bool,
    try_again: Option<Instant>,
    slots: VecDeque<Slot>,
    bytes: usize,
    next: u64,
    /// Changes when alerts get other numbers.
    pub(super) numbering: u32,
    pub(super) outputs: BTreeMap<String, Progress>,
    counters: BTreeMap<String, SpoolCounters>,
    bytes_gauge: Handle,
    /// Alerts that are not in the file yet, oldest first.
    unsaved: VecDeque<(u64, Arc<Spooled>)>,
    unsaved_bytes: usize,
    pub(super) unsaved_progress: bool,
    pub(super) closed: bool,
    /// How often those who wait were to look again.
    pub(super) pokes: u64,
    errors: Handle,
    trouble: Option<Throttle>,
    drops: Throttle,
}

/// What is said of an output.
#[derive(Debug)]
struct SpoolCounters {
    dropped: Handle,
    waiting: Handle,
}

impl SpoolCounters {
    fn new(output: &str, metrics: &Metrics) -> Self {
        Self { dropped: metrics.output(output).dropped, waiting: metrics.output_waiting(output) }
    }
}

/// Wall-clock time that does not jump while the daemon runs: a clock that is set must not make alerts old.
#[derive(Debug)]
pub(super) struct Clock(Timestamp, Instant);

impl Clock {
    pub(super) fn now(&self) -> i64 {
        self.0.as_millisecond().saturating_add(self.1.elapsed().as_millis() as i64)
    }
}

impl State {
    pub(super) fn new(
        options: &SpoolOptions,
        outputs: &[&'static str],
        metrics: &Metrics,
        bytes_gauge: Handle,
    ) -> Self {
        let named = |name: &&'static str| (*name).to_owned();
        Self {
            options: options.clone(),
            clock: Clock(Timestamp::now(), Instant::now()),
            store: None,
            loaded: false,
            try_again: None,
            slots: VecDeque::new(),
            bytes: 0,
            next: 1,
            numbering: 0,
            outputs: outputs
                .iter()
                .map(|name| (named(name), Progress { position: 1, memory: Vec::new() }))
                .collect(),
            counters: outputs.iter().map(|name| (named(name), SpoolCounters::new(name, metrics))).collect(),
            bytes_gauge,
            unsaved: VecDeque::new(),
            unsaved_bytes: 0,
            unsaved_progress: true,
            closed: false,
            pokes: 0,
            errors: metrics.spool_errors(),
            trouble: None,
            drops: Throttle::new(LOG_INTERVAL),
        }
    }

    pub(super) fn set_outputs(&mut self, outputs: &[&'static str], metrics: &Metrics) {
        let gone = self.outputs.extract_if(.., |name, _| !outputs.contains(&name.as_str()));
        for (name, progress) in gone {
            let delivered = self.slots.partition_point(|slot| slot.sequence < progress.position);
            let lost = (self.slots.len() - delivered) as u64;
            let counters = &self.counters[&name];
            counters.dropped.add(lost);
            counters.waiting.set(0);
            if lost > 0 {
                tracing::error!(output = name, "dropped {lost} alerts: the output is no longer on");
            }
        }
        let first = self.slots.front().map_or(self.next, |slot| slot.sequence);
        for &name in outputs {
            self.counters.entry(name.to_owned()).or_insert_with(|| SpoolCounters::new(name, metrics));
            let fresh = Progress { position: first, memory: Vec::new() };
            self.outputs.entry(name.to_owned()).or_insert(fresh);
        }
        self.unsaved_progress = true;
        self.forget_delivered();
    }

    pub(super) fn push(&mut self, alert: Spooled) {
        let slot = Slot { sequence: self.next, time: alert.time, bytes: size(&alert.id, &alert.line) };
        self.unsaved.push_back((self.next, Arc::new(alert)));
        self.slots.push_back(slot);
        self.bytes += slot.bytes;
        self.unsaved_bytes += slot.bytes;
        self.next += 1;
    }

    pub(super) fn is_saved(&self) -> bool {
        self.unsaved.is_empty() && !self.unsaved_progress
    }

    /// Whether there is a file to read and write.
    pub(super) fn works(&self) -> bool {
        self.store.is_some()
    }

    pub(super) fn read(&mut self, output: &str, limits: BatchLimits) -> Option<Batch> {
        let first = self.outputs.get(output)?.position;
        let saved_until = self.unsaved.front().map_or(self.next, |(sequence, _)| *sequence);
        let begin = self.slots.partition_point(|slot| slot.sequence < first);
        let next = self.slots.get(begin)?.sequence;
        let found: Vec<(u64, Arc<Spooled>)> = if next < saved_until {
            let found = match self.store.as_ref()?.read(next, limits.count, limits.bytes) {
                Ok(found) => found,
                Err(error) => {
                    self.fail(&error);
                    return None;
                }
            };
            // Where the clock was set back, no alert is from the future.
            let now = self.clock.now();
            let in_time = |alert: Spooled| Spooled { time: alert.time.min(now), ..alert };
            found.into_iter().map(|(sequence, alert)| (sequence, Arc::new(in_time(alert)))).collect()
        } else {
            let mut bytes = 0;
            let fits = |(_, alert): &&(u64, Arc<Spooled>)| {
                let before = bytes;
                bytes += size(&alert.id, &alert.line);
                before == 0 || bytes <= limits.bytes
            };
            let waiting = self.unsaved.iter().skip_while(|(sequence, _)| *sequence < next);
            waiting.take(limits.count).take_while(fits).cloned().collect()
        };
        let end = found.last()?.0 + 1;
        Some(Batch {
            alerts: found.into_iter().map(|(_, alert)| alert).collect(),
            range: first..end,
            numbering: self.numbering,
        })
    }

    /// Gives up what does not fit, oldest first.
    pub(super) fn make_room(&mut self) {
        let limit = usize::try_from(self.options.max_bytes.get()).unwrap_or(usize::MAX);
        let (mut first, mut bytes) = (0, self.bytes);
        for slot in &self.slots {
            if bytes <= limit {
                break;
            }
            bytes -= slot.bytes;
            first = slot.sequence + 1;
        }
        if first > 0 {
            let reason = "the spool is full: see why the output does not deliver, or raise spool.max_bytes";
            self.drop_before(first, |_| true, reason);
        }
        self.make_room_in_memory();
    }

    /// Gives up what does not fit into memory while the disk does not work, oldest first. What is in the file stays.
    fn make_room_in_memory(&mut self) {
        let Some(&(begin, _)) = self.unsaved.front() else { return };
        let mut end = begin;
        while self.unsaved_bytes > MEMORY_BYTES
            && let Some((sequence, alert)) = self.unsaved.pop_front()
        {
            self.unsaved_bytes -= size(&alert.id, &alert.line);
            end = sequence + 1;
        }
        if begin == end {
            return;
        }
        let reason = format!(
            "the spool's disk does not work, and memory keeps {} MiB of them: see the log about the spool",
            MEMORY_BYTES >> 20
        );
        let index = |sequence| self.slots.partition_point(|slot| slot.sequence < sequence);
        for (output, progress) in &self.outputs {
            let lost = index(end).saturating_sub(index(progress.position.max(begin))) as u64;
            count_dropped(&self.counters, &mut self.drops, output, lost, &reason);
        }
        let slots = index(begin)..index(end);
        self.bytes -= self.slots.drain(slots).map(|slot| slot.bytes).sum::<usize>();
    }

    /// Gives up what is too old for `output`, which has failed to deliver: what works gets everything, however old it is.
    pub(super) fn drop_old(&mut self, output: &str) {
        let max_age = self.options.max_age.get();
        if self.clock.1.elapsed() < max_age.min(LONGEST_TRIAL) {
            return;
        }
        let oldest = self.clock.now().saturating_sub(max_age.as_millis() as i64);
        if let Some(slot) = self.slots.iter().take_while(|slot| slot.time < oldest).last() {
            let reason = "they are older than spool.max_age: see why the output does not deliver";
            self.drop_before(slot.sequence + 1, |name| name == output, reason);
        }
    }

    /// Gives up what comes before `first`, for the outputs that are `concerned`.
    fn drop_before(&mut self, first: u64, concerned: impl Fn(&str) -> bool, reason: &str) {
        let Self { slots, outputs, counters, drops, .. } = self;
        for (output, progress) in outputs.iter_mut().filter(|(output, _)| concerned(output)) {
            let index = |sequence| slots.partition_point(|slot| slot.sequence < sequence);
            let lost = index(first).saturating_sub(index(progress.position)) as u64;
            progress.position = progress.position.max(first);
            count_dropped(counters, drops, output, lost, reason);
        }
        self.unsaved_progress = true;
        self.forget_delivered();
    }

    pub(super) fn waiting(&self, progress: &Progress) -> u64 {
        let delivered = self.slots.partition_point(|slot| slot.sequence < progress.position);
        (self.slots.len() - delivered) as u64
    }

    fn first_undelivered(&self) -> u64 {
        self.outputs.values().map(|progress| progress.position).min().unwrap_or(self.next)
    }

    pub(super) fn forget_delivered(&mut self) {
        let first = self.first_undelivered();
        while let Some(slot) = self.slots.pop_front_if(|slot| slot.sequence < first) {
            self.bytes -= slot.bytes;
        }
        while let Some((_, alert)) = self.unsaved.pop_front_if(|(sequence, _)| *sequence < first) {
            self.unsaved_bytes -= size(&alert.id, &alert.line);
        }
    }

    /// Brings to the disk what is not there, if the disk works.
    pub(super) fn save(&mut self) {
        for (output, progress) in &self.outputs {
            self.counters[output].waiting.set(self.waiting(progress));
        }
        self.bytes_gauge.set(self.bytes as u64);
        if self.is_saved() && self.works() {
            return;
        }
        if self.store.is_none() && !self.open() {
            return;
        }
        let Some(store) = &self.store else { return };
        match store.save(self.unsaved.iter(), self.first_undelivered(), &self.outputs) {
            Ok(()) => {
                self.unsaved.clear();
                self.unsaved_bytes = 0;
                self.unsaved_progress = false;
                if self.trouble.take().is_some() {
                    tracing::info!("the spool works again; what was kept in memory is on the disk");
                }
            }
            Err(error) => self.fail(&error),
        }
    }

    fn open(&mut self) -> bool {
        let now = Instant::now();
        if self.try_again.is_some_and(|then| now < then) {
            return false;
        }
        match Store::open(&self.options.path) {
            Ok((store, contents)) => {
                self.store = Some(store);
                self.take_over(contents);
                true
            }
            Err(error) => {
                self.fail(&error);
                false
            }
        }
    }

    fn take_over(&mut self, contents: Contents) {
        if let Some(aside) = contents.damaged {
            let aside = aside.display();
            tracing::error!(
                "the spool is damaged: began a new one; the damaged one is {aside}, what it held is not delivered"
            );
        }
        if self.loaded {
            // Unless the file was exchanged, it holds what is known here.
            let found = contents.slots.first().map_or(self.next, |slot| slot.sequence);
            let expected = self.unsaved.front().map_or(self.next, |(sequence, _)| *sequence);
            if self.slots.front().is_some_and(|slot| slot.sequence < found.min(expected)) {
                self.drop_before(found.min(expected), |_| true, "the spool's file has gone");
            }
            return;
        }
        self.loaded = true;
        self.numbering += 1;
        let unsaved = std::mem::take(&mut self.unsaved);
        self.unsaved_bytes = 0;
        let first = contents.slots.first().map(|slot| slot.sequence);
        let past_last = contents.slots.last().map_or(1, |slot| slot.sequence + 1);
        let positions = contents.outputs.values().map(|progress| progress.position);
        self.next = positions.chain([past_last]).max().unwrap_or(1);
        for (output, progress) in &mut self.outputs {
            let fresh = Progress { position: first.unwrap_or(self.next), memory: Vec::new() };
            *progress = contents.outputs.get(output).cloned().unwrap_or(fresh);
        }
        self.bytes = contents.slots.iter().map(|slot| slot.bytes).sum();
        self.slots = contents.slots.into();
        for (_, alert) in unsaved {
            self.push(Arc::unwrap_or_clone(alert));
        }
        self.forget_delivered();
        self.make_room();
    }

    fn fail(&mut self, error: &StoreError) {
        // After an error redb wants to be opened afresh.
        self.store = None;
        self.try_again = Some(Instant::now() + REOPEN_INTERVAL);
        self.errors.increment();
        let trouble = self.trouble.get_or_insert_with(|| Throttle::new(LOG_INTERVAL));
        if trouble.admit(Instant::now()).is_some() {
            let path = &self.options.path;
            let remedy = remedy(error, path);
            tracing::error!(
                "cannot use the spool {}: {error}; {remedy}; alerts are kept in memory meanwhile, where the daemon's \
                 end loses them",
                path.display()
            );
        }
    }
}

fn count_dropped(
    counters: &BTreeMap<String, SpoolCounters>,
    drops: &mut Throttle,
    output: &str,
    lost: u64,
    reason: &str,
) {
    counters[output].dropped.add(lost);
    if lost > 0 && drops.admit(Instant::now()).is_some() {
        tracing::error!(output, "dropped {lost} alerts: {reason}");
    }
}

fn remedy(error: &StoreError, path: &Path) -> String {
    let directory = path.parent().unwrap_or(path).display();
    match error.io().and_then(std::io::Error::raw_os_error).map(Errno::from_raw_os_error) {
        Some(Errno::NOSPC | Errno::DQUOT) => format!("free space on the file system of {directory}"),
        Some(Errno::ROFS) => {
            "the file system is mounted read-only: remount it, or correct spool.path".to_owned()
        }
        Some(Errno::ACCESS | Errno::PERM) => format!("let the user that runs ldsentry write to {directory}"),
        _ => format!("see what is wrong with the disk of {directory}, or correct spool.path"),
    }
}
