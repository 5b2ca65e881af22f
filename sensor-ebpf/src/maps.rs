//! What the programs share with the daemon and with one another.

use core::arch::asm;
use core::cell::UnsafeCell;

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, BPF_RB_RING_SIZE};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf};
use sensor_common::{counters, filter, record};

use crate::pending::Pending;
use crate::record::Scratch;

/// Records, in the order in which they were begun. The daemon sets the size.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// Has the daemon woken: it leaves records in the ring until they are dealt with, and the kernel of its own accord wakes only those
/// who have taken everything.
pub const WAKE: u64 = BPF_RB_FORCE_WAKEUP as u64;

/// Leaves the daemon asleep, until the record of the outcome comes, without which there is no alert. Of a creation that fails there is
/// none, so not where the ring [`is_filling`].
pub const NO_WAKE: u64 = BPF_RB_NO_WAKEUP as u64;

/// Whether so much of the ring is taken that nothing may wait in it any longer.
#[inline(always)]
pub fn is_filling() -> bool {
    EVENTS.query(BPF_RB_AVAIL_DATA as u64) * 8 > EVENTS.query(BPF_RB_RING_SIZE as u64)
}

/// `sensor_common::counters`.
#[map]
pub static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(counters::COUNT, 0);

/// A global variable that the daemon changes, by the name of its section: what is read for every file is not looked up.
#[repr(transparent)]
pub struct Shared<T>(UnsafeCell<T>);

// SAFETY: numbers, which are read whole; the filter's other parts are not changed while they are in force.
unsafe impl<T> Sync for Shared<T> {}

/// Which of the filter's generations is in force.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.in_force")]
static IN_FORCE: Shared<u32> = Shared(UnsafeCell::new(0));

/// What the filter reads first, by action.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.first")]
static FIRST: Shared<[filter::First; filter::PLACES]> =
    Shared(UnsafeCell::new([filter::First::NONE; filter::PLACES]));

/// What it reads next, at `filter::slot`.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.next")]
static NEXT: Shared<[filter::Next; filter::SLOTS]> =
    Shared(UnsafeCell::new([filter::Next::NONE; filter::SLOTS]));

/// Which file systems are mounted below a directory that is looked for: `filter::device_bit` of each.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.mounted")]
static MOUNTED: Shared<u64> = Shared(UnsafeCell::new(0));

/// The filter's names, a bit for each action. Filled as needed (`BPF_F_NO_PREALLOC`); there is room for two generations.
#[map]
pub static NAMES: HashMap<filter::Key, u32> = HashMap::with_max_entries(2 * filter::MAX_NAMES, 1);

/// How many mounts there were that could change `MOUNTED`.
#[map]
pub static MOUNTS: Array<u64> = Array::with_max_entries(1, 0);

/// Threads that are mounting something.
#[map]
pub static MOUNTING: HashMap<u64, u8> = HashMap::with_max_entries(1024, 0);

/// Where records are put together: one for each program that can preempt another on the same CPU. The daemon makes it as
/// large as the programs that it attaches need.
#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(5, 0);

/// Watched operations under way, by thread.
#[map]
pub static PENDING: HashMap<u64, Pending> = HashMap::with_max_entries(1024, 0);

/// Threads that passed the filter with a creation whose sign they have not given yet.
#[map]
pub static CREATING: HashMap<u64, u8> = HashMap::with_max_entries(4096, 1);

/// Processes by their number, those that are gone included. The daemon sets the size where it reads them.
#[map]
pub static PROCESSES: LruHashMap<u32, Process> = LruHashMap::with_max_entries(1, 0);

/// A `record::KIND_PROCESS`, as far as there is room.
pub type Process = [u64; record::PROCESS / 8];

#[inline(always)]
pub fn generation_in_force() -> u32 {
    // SAFETY: an aligned load.
    unsafe { IN_FORCE.0.get().read_volatile() }
}

/// What the filter for an action reads first.
#[inline(always)]
pub fn first(action: u32) -> &'static filter::First {
    // SAFETY: within the array: a place in it is a power of two. The daemon changes a number of it at a time.
    unsafe { &*FIRST.0.get().cast::<filter::First>().add(action as usize & (filter::PLACES - 1)) }
}

/// What it reads next, at `filter::slot`.
#[inline(always)]
pub fn next(slot: u32) -> &'static filter::Next {
    let mut slot = slot as usize;
    // SAFETY: a mask, which the compiler would find superfluous: up to 6.2 the verifier forgets what it knows of both sides of an
    // "or".
    unsafe {
        asm!(
            "{slot} &= {mask}",
            slot = inlateout(reg) slot,
            mask = const filter::SLOTS - 1,
            options(pure, nomem, nostack)
        );
    }
    // SAFETY: within the array. The daemon writes only to the generation that is not in force.
    unsafe { &*NEXT.0.get().cast::<filter::Next>().add(slot) }
}

#[inline(always)]
pub fn mounted() -> u64 {
    // SAFETY: an aligned load.
    unsafe { MOUNTED.0.get().read_volatile() }
}

/// All file systems count as mounted below a directory that is looked for.
#[inline(always)]
pub fn set_all_mounted() {
    // SAFETY: an aligned store.
    unsafe { MOUNTED.0.get().write_volatile(u64::MAX) }
}

/// Adds one to a counter of this CPU and gives the value before.
#[inline(always)]
pub fn count(counter: u32) -> u64 {
    let Some(slot) = COUNTERS.get_ptr_mut(counter) else { return 0 };
    // SAFETY: the slot belongs to this CPU; a program that preempts this one can lose one of two additions to the
    // statistics, and sequence numbers are told apart by the event's time.
    unsafe {
        let before = *slot;
        *slot = before + 1;
        before
    }
}
