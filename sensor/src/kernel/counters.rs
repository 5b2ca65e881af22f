//! What the kernel side counted.

use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::Ebpf;
use aya::maps::PerCpuArray;
use sensor_common::counters;

/// Counts since the programs were loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KernelCounters {
    /// Operations that passed the filter.
    pub passed: u64,
    /// Events that found the ring full.
    pub events_lost: u64,
    /// Outcomes that found the ring full.
    pub outcomes_lost: u64,
    /// Operations whose outcome was not followed.
    pub operations_untracked: u64,
    /// Calls in which the kernel did not run a program because it was already running on that CPU.
    pub misses: u64,
}

pub(super) fn read(ebpf: &Ebpf) -> KernelCounters {
    let count = |counter| count(ebpf, counter);
    KernelCounters {
        passed: count(counters::PASSED),
        events_lost: count(counters::EVENTS_LOST),
        outcomes_lost: count(counters::OUTCOMES_LOST),
        operations_untracked: count(counters::OPERATIONS_UNTRACKED),
        misses: ebpf.programs().map(|(_, program)| misses(program)).sum(),
    }
}

/// One counter, over all CPUs.
pub(super) fn count(ebpf: &Ebpf, counter: u32) -> u64 {
    let slots = ebpf.map("COUNTERS").and_then(|map| PerCpuArray::<_, u64>::try_from(map).ok());
    let values = slots.and_then(|slots| slots.get(&counter, 0).ok());
    values.map_or(0, |values| values.iter().sum())
}

/// The kernel tells it in the descriptor's information only.
fn misses(program: &aya::programs::Program) -> u64 {
    let Ok(fd) = program.fd() else { return 0 };
    let path = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
    let Ok(information) = std::fs::read_to_string(path) else { return 0 };
    let value = information.lines().find_map(|line| line.strip_prefix("recursion_misses:"));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}
