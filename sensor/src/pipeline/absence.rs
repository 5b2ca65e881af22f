//! When not everything was seen: who reads alerts is told from when to when.

use std::sync::Arc;

use jiff::Timestamp;

use super::Pipeline;
use super::records::Handover;
use super::source::Past;
use crate::alert::Alert;
use crate::host::Host as _;
use crate::metrics::Counter;
use crate::notice::{self, Blindness};
use crate::presence::{LastSeen, boot_ns};
use crate::sink::Record;

/// Losses that are told together: how many beats.
const BEATS: u32 = 12;

/// What was lost, and how much of it was told.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// Counted by the source, and told.
    told: u64,
    /// Counted by the daemon itself, and told.
    own_told: u64,
    /// When nothing more had been lost than was told, boot clock.
    whole_ns: u64,
    /// Beats until more is told.
    wait: u32,
}

impl Pipeline<'_> {
    /// Says that nothing was watched between `before` and now, if that is so, and goes on from what was.
    pub(super) fn report_gap(&mut self, before: Option<&LastSeen>, past: Past) {
        self.losses.whole_ns = before.map_or_else(boot_ns, |before| before.boot_ns);
        let Past { is_same, links, predecessors, unreadable, since_ns } = past;
        if is_same {
            self.losses.told = before.map_or(0, |before| before.lost);
        }
        let goes_on = is_same || !predecessors.is_empty();
        if !predecessors.is_empty() {
            self.handover = Some(Handover::new(predecessors, since_ns));
        }
        let Some(before) = before else { return };
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

    /// Says how many events were lost since it was said last.
    pub(super) fn report_losses(&mut self) {
        let lost = self.watcher.lost();
        let own =
            [Counter::LostDecode, Counter::LostDirectory].map(|counter| self.metrics.counter(counter).get());
        let own: u64 = own.iter().sum();
        let more = lost.saturating_sub(self.losses.told) + own.saturating_sub(self.losses.own_told);
        self.losses.wait = self.losses.wait.saturating_sub(1);
        if more == 0 {
            self.losses.whole_ns = boot_ns();
        } else if self.losses.wait == 0 {
            let time = self.blindness(self.losses.whole_ns);
            self.losses = Losses { told: lost, own_told: own, whole_ns: boot_ns(), wait: BEATS };
            tracing::warn!("lost: {more} events between {} and {} were not seen", time.start, time.end);
            if let Some(alert) = notice::lost(&self.host.describe(), time, more, time.end) {
                self.send_notice(alert);
            }
        }
    }

    /// Notes for the next daemon that until now this one watched.
    pub(super) fn note_presence(&self) {
        self.presence.note(self.watcher.links(), self.losses.told);
    }

    fn blindness(&mut self, start_ns: u64) -> Blindness {
        Blindness { start: self.host.wall_clock(start_ns), end: Timestamp::now() }
    }

    fn send_notice(&self, alert: Alert) {
        let alert: Arc<dyn Record> = Arc::new(alert);
        self.outputs.send(&alert);
    }
}
