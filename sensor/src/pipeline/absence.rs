//! When not everything was seen: who reads alerts is told from when to when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::Pipeline;
use super::records::Handover;
use super::source::{Past, Watcher};
use crate::alert::Alert;
use crate::host::{Host as _, boot_ns};
use crate::kernel::{Left, Overlap};
use crate::metrics::Counter;
use crate::notice::{self, Blindness, Lost};
use crate::presence::LastSeen;
use crate::sink::Record;

/// How soon after something was seen that is noted, and losses are told.
const SOON: Duration = Duration::from_secs(5);

/// The same where nothing happens: an idle daemon sleeps, and wakes up for its own test as often.
const IDLE: Duration = Duration::from_mins(5);

/// Losses in this time are told together.
const TOGETHER: Duration = Duration::from_mins(1);

/// What was lost, and how much of it was told.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// Counted by the source, and told by a daemon before.
    earlier: u64,
    /// Counted by the source, and told.
    told: u64,
    /// Counted by the daemon itself, and told.
    own_told: u64,
    /// Dropped by outputs, and told.
    alerts_told: BTreeMap<&'static str, u64>,
    /// When nothing more had been lost than was told, boot clock.
    whole_ns: u64,
    /// When more may be told.
    next: Duration,
}

impl Pipeline<'_> {
    /// Says that nothing was watched between `before` and now, if that is so, and goes on from what was.
    pub(super) fn report_gap(&mut self, before: Option<&LastSeen>, past: Past) {
        self.losses.whole_ns = before.map_or_else(boot_ns, |before| before.boot_ns);
        let Past { is_same, left: Left { links, predecessors, unreadable }, since_ns } = past;
        if is_same {
            self.losses.earlier = before.map_or(0, |before| before.lost);
            self.losses.told = self.losses.earlier;
        }
        let watched_until = before.map(|before| self.wall_clock_then(before));
        self.watcher.look_back(watched_until);
        let goes_on = is_same || !predecessors.is_empty();
        if !predecessors.is_empty() {
            self.overlap = Overlap::begin(since_ns);
            self.handover = Some(Handover::new(predecessors));
        }
        let Some(before) = before else {
            // Nobody watched before, so that is true whatever waits for outputs: one that is killed early leaves it to the next.
            self.presence.note(self.seen_ns, self.watcher.links(), self.losses.told);
            return;
        };
        let reason = if goes_on && links >= before.links {
            return;
        } else if goes_on {
            "links of its programs were removed from the kernel"
        } else if unreadable > 0 {
            "this version cannot read what the programs of the one before it collected"
        } else if before.links > 0 {
            "what was pinned for it in the kernel was removed"
        } else {
            "the sensor did not run"
        };
        let time = self.blindness(before.boot_ns);
        tracing::warn!("gap: nothing was watched from {} to {}: {reason}", time.start, time.end);
        self.metrics.increment(Counter::Gaps);
        if let Some(alert) = notice::gap(&self.host.describe(), time, reason, time.end) {
            self.send_notice(alert);
        }
    }

    /// Notes that it watches and says what was lost, if that is due. Gives when it is.
    pub(super) fn watch_absence(&mut self) -> Duration {
        let now = self.start.elapsed();
        if self.absence_due <= now {
            self.report_losses(now);
            self.absence_due = now + if self.note_presence() { IDLE } else { SOON };
        }
        self.absence_due
    }

    /// Something was seen: when that is noted is not to be long.
    pub(super) fn note_presence_soon(&mut self, now: Duration) {
        self.absence_due = self.absence_due.min(now + SOON);
    }

    /// Says how much was lost since it was said last.
    fn report_losses(&mut self, now: Duration) {
        let lost = self.watcher.lost();
        let own =
            [Counter::LostDecode, Counter::LostDirectory].map(|counter| self.metrics.counter(counter).get());
        let own: u64 = own.iter().sum();
        let events = lost.saturating_sub(self.losses.told) + own.saturating_sub(self.losses.own_told);
        let alerts = self.dropped_by_outputs().filter_map(|(output, count)| {
            let more = count.saturating_sub(self.losses.alerts_told.get(output).copied().unwrap_or(0));
            (more > 0).then_some((output, more))
        });
        let more = Lost { events, alerts: alerts.collect() };
        if more.is_nothing() {
            self.losses.whole_ns = boot_ns();
        } else if self.losses.next <= now {
            let time = self.blindness(self.losses.whole_ns);
            tracing::warn!("lost between {} and {}: {more}", time.start, time.end);
            if let Some(alert) = notice::lost(&self.host.describe(), time, &more, time.end) {
                self.send_notice(alert);
                self.outputs.flush();
            }
            // An output that takes nothing has dropped this alert too: that is nothing to tell.
            let alerts_told = self.dropped_by_outputs().collect();
            let (earlier, next) = (self.losses.earlier, now + TOGETHER);
            self.losses =
                Losses { earlier, told: lost, own_told: own, alerts_told, whole_ns: boot_ns(), next };
        }
    }

    /// Events that were lost and that no daemon before has told of: programs that stay go on counting.
    pub(super) fn events_lost(&self) -> u64 {
        self.watcher.lost().saturating_sub(self.losses.earlier)
    }

    fn dropped_by_outputs(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.outputs.names().map(|output| (output, self.metrics.output(output).dropped.get()))
    }

    /// Notes for the next daemon until when this one saw everything. Whether that can be said.
    pub(super) fn note_presence(&self) -> bool {
        // What fanotify told and nobody was told yet, the next daemon finds by looking for what changed since.
        if matches!(self.watcher, Watcher::Fanotify(_)) && !self.outputs.has_all_safe() {
            return false;
        }
        self.presence.note(self.seen_ns, self.watcher.links(), self.losses.told);
        true
    }

    /// The wall clock may have been set since: of what it said then and what it would have said as it is now, the earlier.
    fn wall_clock_then(&mut self, before: &LastSeen) -> Timestamp {
        let then = self.host.wall_clock(before.boot_ns);
        Timestamp::from_millisecond(before.wall_ms).map_or(then, |noted| noted.min(then))
    }

    fn blindness(&mut self, start_ns: u64) -> Blindness {
        Blindness { start: self.host.wall_clock(start_ns), end: Timestamp::now() }
    }

    fn send_notice(&self, alert: Alert) {
        let alert: Arc<dyn Record> = Arc::new(alert);
        self.outputs.send(&alert);
    }
}
