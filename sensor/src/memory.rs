//! Giving memory back to the system, and keeping it from coming again. The allocator keeps what is freed; a sensor that once
//! read the kernel's type information, or went through a flood, would stay that large for the rest of its life.

use std::time::Duration;

/// Fewer records do not leave enough behind to be worth a wakeup.
const WORTH_IT: u32 = 256;
/// How long it must have been quiet.
const QUIET: Duration = Duration::from_secs(2);

/// When to give memory back: once, when the start is over, and when a burst is. Time is given, on a clock that begins with the start.
#[derive(Debug)]
pub struct Memory {
    records: u32,
    due: Option<Duration>,
}

impl Default for Memory {
    fn default() -> Self {
        Self { records: 0, due: Some(QUIET) }
    }
}

impl Memory {
    /// So many records were worked off.
    pub fn used(&mut self, records: u32, now: Duration) {
        self.records = self.records.saturating_add(records);
        if records > 0 && self.records >= WORTH_IT {
            self.due = Some(now + QUIET);
        }
    }

    /// When `expire` has something to do.
    pub fn deadline(&self) -> Option<Duration> {
        self.due
    }

    /// Time has passed. Whether it is time to [`give_back`]: not while what came of the records is still in use.
    pub fn expire(&mut self, now: Duration, is_idle: impl FnOnce() -> bool) -> bool {
        if self.due.is_none_or(|due| due > now) {
            return false;
        }
        if !is_idle() {
            self.due = Some(now + QUIET);
            return false;
        }
        *self = Self { records: 0, due: None };
        true
    }
}

/// For the whole process, before it has threads.
pub fn stay_small() {
    // The kernel would put huge pages where pages were given back: it fills them with zeros, and an idle daemon grows from 4 MiB
    // to 16.
    // SAFETY: a call without conditions.
    let failed = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) } != 0;
    if failed {
        tracing::debug!("huge pages cannot be refused: {}", std::io::Error::last_os_error());
    }
    // Of a thread's own arena the allocator does not give back what is free at the end, which is most of it once the thread is
    // done: 2 MiB for a directory of 1,000 files.
    #[cfg(target_env = "gnu")]
    // SAFETY: as above.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
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
    }

    #[test]
    fn memory_is_given_back_once_after_a_burst_and_never_for_a_few_records() {
        let mut memory = Memory { records: 0, due: None };
        memory.used(WORTH_IT - 1, Duration::ZERO);
        assert_eq!(memory.deadline(), None);
        memory.used(1, Duration::ZERO);
        memory.used(1, QUIET / 2);
        assert!(!memory.expire(QUIET, || true), "it was not quiet for long enough");
        assert!(!memory.expire(QUIET * 2, || false), "alerts wait to be delivered");
        assert!(memory.expire(QUIET * 4, || true));
        assert_eq!(memory.deadline(), None);
        assert!(!memory.expire(QUIET * 9, || true));
    }
}
