//! From the kernel's boot clock to wall-clock time.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Smaller changes of the offset are noise of the measurement, and following them would give one instant many times.
const NOISE_NS: i128 = 1_000_000;

/// The wall clock's distance from the boot clock.
#[derive(Debug, Default)]
pub(super) struct BootClock {
    offset_ns: Option<i128>,
}

impl BootClock {
    /// Reads both clocks, so that a wall clock that was set meanwhile is followed, and converts.
    pub(super) fn wall_clock(&mut self, boot_ns: u64) -> jiff::Timestamp {
        self.observe(measure_offset());
        self.convert(boot_ns)
    }

    fn observe(&mut self, offset_ns: i128) {
        if self.offset_ns.is_none_or(|known| (known - offset_ns).abs() > NOISE_NS) {
            self.offset_ns = Some(offset_ns);
        }
    }

    fn convert(&self, boot_ns: u64) -> jiff::Timestamp {
        let wall_ns = self.offset_ns.unwrap_or_default() + i128::from(boot_ns);
        jiff::Timestamp::from_nanosecond(wall_ns).unwrap_or(jiff::Timestamp::MAX)
    }
}

/// The offset as the tightest of a few readings has it: the thread may lose the CPU between two clocks.
fn measure_offset() -> i128 {
    let reading = || {
        let before = nanoseconds(clock_gettime(ClockId::Boottime));
        let wall = nanoseconds(clock_gettime(ClockId::Realtime));
        let after = nanoseconds(clock_gettime(ClockId::Boottime));
        (after - before, wall - i128::midpoint(before, after))
    };
    let (mut width, mut offset) = reading();
    for _ in 0..4 {
        if width < NOISE_NS / 10 {
            break;
        }
        (width, offset) = reading().min((width, offset));
    }
    offset
}

/// The boot clock's time in nanoseconds, suspend included.
pub fn boot_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Boottime)) as u64
}

fn nanoseconds(time: Timespec) -> i128 {
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i128 = 1_800_000_000_000_000_000;

    #[test]
    fn one_instant_has_one_time_while_the_clocks_jitter() {
        let mut clock = BootClock::default();
        clock.observe(START);
        let first = clock.convert(5);
        clock.observe(START + 900);
        clock.observe(START - NOISE_NS);
        assert_eq!(clock.convert(5), first);
    }

    #[test]
    fn a_wall_clock_that_jumps_is_followed_both_ways() {
        let mut clock = BootClock::default();
        clock.observe(START);
        for jump in [3_600_000_000_000, -7_200_000_000_000] {
            clock.observe(START + jump);
            assert_eq!(clock.convert(5).as_nanosecond(), START + jump + 5);
        }
    }

    #[test]
    fn the_present_on_the_boot_clock_is_the_present() {
        let wall = BootClock::default().wall_clock(boot_ns());
        let apart = jiff::Timestamp::now().duration_since(wall).abs();
        assert!(apart < jiff::SignedDuration::from_secs(5), "{wall} is {apart} away");
    }

    #[test]
    fn times_that_no_calendar_has_do_not_panic() {
        assert_eq!(BootClock { offset_ns: Some(i128::MAX / 2) }.convert(u64::MAX), jiff::Timestamp::MAX);
    }
}
