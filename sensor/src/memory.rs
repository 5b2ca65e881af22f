//! Giving memory back to the system, and keeping it from coming again. The allocator keeps what is freed; a sensor that once
//! read the kernel's type information, or went through a flood, would stay that large for the rest of its life.

use std::io;
use std::time::Duration;

/// Fewer records, of some ten KiB each while they are worked on, do not leave enough behind to be worth a wakeup.
const WORTH_IT: u32 = 32;
/// How long it must have been quiet.
const QUIET: Duration = Duration::from_secs(2);

/// When to give memory back: when the start is over, and when a burst is. Time is given, on a clock that begins with the start.
#[derive(Debug)]
pub struct Memory {
    /// What was worked off since memory was given back.
    records: u32,
    /// When it will have been quiet for long enough.
    quiet: Duration,
}

impl Default for Memory {
    fn default() -> Self {
        Self { records: WORTH_IT, quiet: QUIET }
    }
}

impl Memory {
    /// So many records were worked off.
    pub fn used(&mut self, records: u32, now: Duration) {
        if records > 0 {
            self.records = self.records.saturating_add(records);
            self.quiet = now + QUIET;
        }
    }

    /// Something was done that takes as much memory as many records, or more.
    pub fn used_much(&mut self, now: Duration) {
        self.used(WORTH_IT, now);
    }

    /// When to wake up for `expire`.
    pub fn deadline(&self) -> Option<Duration> {
        (self.records >= WORTH_IT).then_some(self.quiet)
    }

    /// Whether it is time to [`give_back`], also for little once there was another reason to wake up: not while what came of the
    /// records is still in use.
    pub fn expire(&mut self, now: Duration, is_idle: impl FnOnce() -> bool) -> bool {
        if self.records == 0 || self.quiet > now {
            return false;
        }
        if is_idle() {
            self.records = 0;
        } else {
            self.quiet = now + QUIET;
        }
        self.records == 0
    }
}

/// For the whole process, before it has threads: what a thread has by then, others can get when they are started later. Gives
/// what went wrong with huge pages.
pub fn stay_small() -> io::Result<()> {
    // The kernel would put huge pages where pages were given back: it fills them with zeros, and an idle daemon grows from 4 MiB
    // to 16.
    // SAFETY: a call without conditions.
    let failed = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) } != 0;
    let refused = if failed { Err(io::Error::last_os_error()) } else { Ok(()) };
    // Of a thread's own arena the allocator does not give back what is free at the end, which is most of it once the thread is
    // done: 2 MiB for a directory of 1,000 files.
    #[cfg(target_env = "gnu")]
    // SAFETY: as above.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
    refused
}

/// Gives back what the allocator holds and nobody uses.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function has no conditions.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_once_after_the_start() {
        let mut memory = Memory::default();
        assert_eq!(memory.deadline(), Some(QUIET));
        assert!(memory.expire(QUIET, || true));
        assert_eq!(memory.deadline(), None);
        assert!(!memory.expire(QUIET * 2, || true));
    }

    #[test]
    fn memory_is_given_back_once_after_a_burst() {
        let mut memory = Memory { records: 0, quiet: Duration::ZERO };
        memory.used(WORTH_IT, Duration::ZERO);
        memory.used(1, QUIET / 2);
        assert!(!memory.expire(QUIET, || true), "it was not quiet for long enough");
        assert!(!memory.expire(QUIET * 2, || false), "alerts wait to be delivered");
        assert_eq!(memory.deadline(), Some(QUIET * 3));
        assert!(memory.expire(QUIET * 4, || true));
        assert_eq!(memory.deadline(), None);
        assert!(!memory.expire(QUIET * 9, || true));
    }

    #[test]
    fn few_records_wake_nobody_and_are_given_back_with_the_next_wakeup() {
        let mut memory = Memory { records: 0, quiet: Duration::ZERO };
        memory.used(WORTH_IT - 1, Duration::ZERO);
        assert_eq!(memory.deadline(), None);
        assert!(memory.expire(QUIET, || true));
        assert!(!memory.expire(QUIET * 2, || true));
    }
}
