//! What the kernel side counts, a slot each in the per-CPU array `COUNTERS`.

/// Records of events that found the ring full: the event is lost.
pub const EVENTS_LOST: u32 = 0;
/// Records of outcomes that found the ring full: the event's outcome becomes unknown.
pub const OUTCOMES_LOST: u32 = 1;
/// Operations whose outcome could not be followed because too many were under way.
pub const OPERATIONS_UNTRACKED: u32 = 2;
/// Events put into the ring.
pub const EVENTS: u32 = 3;
/// Hook calls that passed the filter.
pub const PASSED: u32 = 4;
/// Length of the array.
pub const COUNT: u32 = 5;
