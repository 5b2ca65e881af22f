//! What the programs share with the daemon and with one another.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf};
use sensor_common::{counters, filter, record};

use crate::pending::Pending;
use crate::record::Scratch;

/// Records, in the order in which they were begun. The daemon sets the size.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// `sensor_common::counters`.
#[map]
pub static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(counters::COUNT, 0);

/// Which of the filter's generations is in force, one entry.
#[map]
pub static GENERATION: Array<u32> = Array::with_max_entries(1, 0);

/// The filter's lengths, at `filter::slot`.
#[map]
pub static LENGTHS: Array<filter::Lengths> = Array::with_max_entries(2 * filter::ACTIONS, 0);

/// The filter's names, a bit for each action. Filled as needed (`BPF_F_NO_PREALLOC`); there is room for two generations.
#[map]
pub static NAMES: HashMap<filter::Key, u32> = HashMap::with_max_entries(2 * filter::MAX_NAMES, 1);

/// `sensor_common::filter::MOUNTED` and its kin.
#[map]
pub static MOUNTS: Array<u64> = Array::with_max_entries(filter::MOUNT_NUMBERS, 0);

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

/// Processes by their number, those that are gone included. The daemon sets the size where it reads them.
#[map]
pub static PROCESSES: LruHashMap<u32, Process> = LruHashMap::with_max_entries(1, 0);

/// A `record::KIND_PROCESS`, as far as there is room.
pub type Process = [u64; record::PROCESS / 8];

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
