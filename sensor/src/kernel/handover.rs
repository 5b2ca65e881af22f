//! From the programs of another daemon to those of this one, without a moment in which none watches: for a while both do,
//! and what both saw counts once.

use std::collections::HashMap;
use std::time::Duration;

use sensor_common::record::{ABI, Event};

use super::pins::{PinsError, Set};
use super::ring::Ring;

/// What another daemon left: programs on their way out, and records that nobody has read.
pub struct Predecessor {
    set: Set,
    ring: Ring,
}

impl Predecessor {
    /// Ends its programs. `None` if its records cannot be read. Gives also how many links there were.
    pub(super) fn retire(set: Set) -> Result<(Option<Self>, usize), PinsError> {
        let links = set.remove_links()?;
        if set.abi() == Some(ABI)
            && let Some(ring) = Ring::of(&set)
        {
            return Ok((Some(Self { set, ring }), links));
        }
        set.remove()?;
        Ok((None, links))
    }

    /// Its records.
    pub fn ring(&mut self) -> &mut Ring {
        &mut self.ring
    }

    /// Removes what is left of it: its records are where they belong.
    pub fn remove(self) {
        if let Err(error) = self.set.remove() {
            tracing::warn!("something of another version stays in the kernel: {error}");
        }
    }
}

/// Tells what both saw: an operation of a thread on an entry is seen by each of them once.
#[derive(Debug, Default)]
pub struct Overlap {
    /// When both watched, boot clock.
    from_ns: u64,
    until_ns: u64,
    /// By operation, how many more times the predecessor saw it than the successor did.
    ahead: HashMap<Key, i32>,
}

/// Thread, kind, directory, name and inode.
type Key = (u64, u8, u64, u64, u64);

/// Whose programs saw something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Witness {
    /// Those on their way out.
    Predecessor,
    /// This daemon's.
    Own,
}

impl Overlap {
    /// How long the kernel may take to let go of links that have no pin any more.
    pub const LENGTH: Duration = Duration::from_secs(2);

    /// Both watch from now on, for as long as the kernel needs.
    pub fn begin(now_ns: u64) -> Self {
        Self {
            from_ns: now_ns,
            until_ns: now_ns.saturating_add(Self::LENGTH.as_nanos() as u64),
            ahead: HashMap::new(),
        }
    }

    /// Whether the other one has told of it already.
    pub fn is_known(&mut self, event: &Event, witness: Witness) -> bool {
        if !(self.from_ns..self.until_ns).contains(&event.header.time_ns) {
            return false;
        }
        let key = (event.header.pid_tgid, event.header.kind, event.parent, event.name, event.inode);
        let ahead = self.ahead.entry(key).or_default();
        match witness {
            Witness::Predecessor => {
                *ahead += 1;
                *ahead <= 0
            }
            Witness::Own => {
                *ahead -= 1;
                *ahead >= 0
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros as _;

    use super::*;

    fn event(time_ns: u64, thread: u64, name: u64) -> Event {
        let mut event = Event::new_zeroed();
        (event.header.time_ns, event.header.pid_tgid, event.name) = (time_ns, thread, name);
        event
    }

    #[test]
    fn what_both_saw_counts_once_in_whatever_order_it_is_told() {
        use Witness::{Own, Predecessor};
        let mut overlap = Overlap::begin(1000);
        assert!(!overlap.is_known(&event(1001, 1, 7), Predecessor));
        assert!(overlap.is_known(&event(1002, 1, 7), Own));
        // The other way around, and twice the same operation.
        assert!(!overlap.is_known(&event(1003, 1, 7), Own));
        assert!(!overlap.is_known(&event(1005, 1, 7), Own));
        assert!(overlap.is_known(&event(1004, 1, 7), Predecessor));
        assert!(overlap.is_known(&event(1006, 1, 7), Predecessor));
        // Others at the same time.
        assert!(!overlap.is_known(&event(1007, 2, 7), Predecessor));
        assert!(!overlap.is_known(&event(1007, 1, 8), Own));
    }

    #[test]
    fn what_only_one_can_have_seen_is_not_held_against_what_comes_later() {
        use Witness::{Own, Predecessor};
        let mut overlap = Overlap::begin(1000);
        assert!(!overlap.is_known(&event(999, 1, 7), Predecessor), "only the predecessor watched");
        assert!(!overlap.is_known(&event(1001, 1, 7), Own));
        let after = 1000 + Overlap::LENGTH.as_nanos() as u64;
        assert!(!overlap.is_known(&event(1500, 3, 7), Predecessor));
        assert!(!overlap.is_known(&event(after, 3, 7), Own), "only the successor watches");
    }
}
