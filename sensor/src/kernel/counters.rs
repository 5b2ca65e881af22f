//! What the kernel side counted.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use aya::Ebpf;
use aya::maps::PerCpuArray;
use sensor_common::counters;

use super::attach::Attached;

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

pub(super) fn read(ebpf: &Ebpf, attached: &BTreeMap<&'static str, Attached>) -> KernelCounters {
    let own = ebpf.programs().filter_map(|(_, program)| information(program.fd().ok()?.as_fd(), MISSES));
    let others = attached.values().filter_map(Attached::program).map(misses);
    let count = |counter| count(ebpf, counter);
    KernelCounters {
        passed: count(counters::PASSED),
        events_lost: count(counters::EVENTS_LOST),
        outcomes_lost: count(counters::OUTCOMES_LOST),
        operations_untracked: count(counters::OPERATIONS_UNTRACKED),
        misses: own.chain(others).sum(),
    }
}

/// One counter, over all CPUs.
pub(super) fn count(ebpf: &Ebpf, counter: u32) -> u64 {
    let slots = ebpf.map("COUNTERS").and_then(|map| PerCpuArray::<_, u64>::try_from(map).ok());
    let values = slots.and_then(|slots| slots.get(&counter, 0).ok());
    values.map_or(0, |values| values.iter().sum())
}

/// Of one program.
pub(super) fn misses(program: &OwnedFd) -> u64 {
    information(program.as_fd(), MISSES).unwrap_or(0)
}

/// The kernel tells it in the descriptor's information only.
const MISSES: &str = "recursion_misses";

/// The number of a program, for as long as it is loaded.
pub(super) fn program_id(program: &OwnedFd) -> Option<u32> {
    information(program.as_fd(), "prog_id")?.try_into().ok()
}

fn information(program: BorrowedFd<'_>, name: &str) -> Option<u64> {
    // More than it has: what grows as it is read takes seven reads.
    let mut information = String::with_capacity(1024);
    let file = File::open(format!("/proc/self/fdinfo/{}", program.as_raw_fd())).ok()?;
    file.take(u64::MAX).read_to_string(&mut information).ok()?;
    let value = information.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value?.trim().parse().ok()
}
