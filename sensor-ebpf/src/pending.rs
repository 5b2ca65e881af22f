//! Operations between their hook and their end, by thread: the kernel says how they end by what `vfs_rename`,
//! `vfs_link` and their like return.
//!
//! An overlay's operation has others inside it, in the upper layer: the outer one is reported. Its end is told from theirs
//! by a mark. fexit programs see the arguments: the mark is the entry's address. A kretprobe does not, but the outer
//! call returns with a stack pointer above that of the hook, the inner one below.

use core::cell::UnsafeCell;

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::programs::{FExitContext, ProbeContext, RetProbeContext};
use sensor_common::counters::{OPERATIONS_UNTRACKED, OUTCOMES_LOST};
use sensor_common::record::{Ended, FLAG_UNTRACKED, Header, KIND_ENDED};

use crate::diagnostics::Note;
use crate::event;
use crate::kernel::SuperBlock;
use crate::maps::{CREATING, EVENTS, PENDING, WAKE, count};
use crate::read::Probed;
use crate::record::Record;

const OVERLAY_MAGIC: u64 = 0x794c_7630;
/// What is inside an overlay's operation begins soon after it. If the end of that was missed, what comes later is no longer
/// taken for a part of it.
const MAX_AGE_NS: u64 = 1_000_000_000;

/// Watched operations under way: while there are none, the end of an operation costs a load.
static UNDER_WAY: Gauge = Gauge(UnsafeCell::new(0));

/// Creations under way: while there are none, a new inode costs a load.
static CREATING_AT_ALL: Gauge = Gauge(UnsafeCell::new(0));

/// The same by the remainder of the thread's number.
static CREATIONS: [Gauge; 64] = [const { Gauge(UnsafeCell::new(0)) }; 64];

/// An operation between its hook and its end.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Pending {
    /// Identity of the event.
    time_ns: u64,
    sequence: u64,
    mark: u64,
    /// Super block of the operation.
    sb: u64,
    cpu: u32,
    overlay: u32,
}

/// The operation that a thread is in. What it has begun itself it sees in the count: where that is 0, nothing is looked up.
#[inline(always)]
fn under_way(thread: u64) -> Option<&'static Pending> {
    // SAFETY: the entry is this thread's own: nobody else changes or removes it.
    if any() { unsafe { PENDING.get(thread) } } else { None }
}

/// Whether the thread is inside an operation on an overlay, and this is what that does in a layer.
#[inline(always)]
pub fn is_inner(sb: SuperBlock, time_ns: u64) -> bool {
    under_way(bpf_get_current_pid_tgid()).is_some_and(|outer| {
        outer.overlay != 0 && outer.sb != sb.0 as u64 && time_ns.wrapping_sub(outer.time_ns) < MAX_AGE_NS
    })
}

/// The event in the record is about an operation whose end is to be reported.
#[inline(always)]
pub fn begin(record: &mut Record, sb: SuperBlock, mark: u64) {
    let thread = bpf_get_current_pid_tgid();
    let Header { time_ns, sequence, cpu, .. } = record.event().header;
    let overlay = u32::from(sb.magic::<Probed>() == OVERLAY_MAGIC);
    let pending = Pending { time_ns, sequence, mark, sb: sb.0 as u64, cpu, overlay };
    let known = under_way(thread).is_some();
    if PENDING.insert(thread, pending, 0).is_err() {
        count(OPERATIONS_UNTRACKED);
        let header = &mut record.event().header;
        header.flags |= FLAG_UNTRACKED;
        let kind = header.kind.into();
        record.note(Note::OperationUntracked, kind);
    } else if !known {
        UNDER_WAY.add(1);
    }
}

/// A creation passed the filter: its sign is waited for. Nobody tells that there will be none: then the thread's next new inode
/// ends it, or its next creation that passes.
#[inline(always)]
pub fn begin_creation() {
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: the value is not looked at. Its own entry is counted: where there are none, it has none.
    if creations(thread).get() == 0 || unsafe { CREATING.get(thread) }.is_none() {
        // Where there is no room, the signs of threads with this remainder are looked at from now on.
        let _ = CREATING.insert(thread, 1, 0);
        creations(thread).add(1);
        CREATING_AT_ALL.add(1);
    }
}

/// Whether a sign can be of interest. Threads share gauges: this errs on the side of a look at the names.
#[inline(always)]
pub fn any_creation() -> bool {
    CREATING_AT_ALL.get() != 0 && creations(bpf_get_current_pid_tgid()).get() != 0
}

/// The thread has given its sign.
#[inline(always)]
pub fn end_creation() {
    let thread = bpf_get_current_pid_tgid();
    if CREATING.remove(thread).is_ok() {
        creations(thread).add(-1);
        CREATING_AT_ALL.add(-1);
    }
}

#[inline(always)]
fn creations(thread: u64) -> &'static Gauge {
    &CREATIONS[thread as usize % CREATIONS.len()]
}

/// Whether an end can be of interest.
#[inline(always)]
pub fn any() -> bool {
    UNDER_WAY.get() != 0
}

/// A function returned in a kretprobe.
#[inline(always)]
pub fn end_by_stack(ctx: &RetProbeContext) -> u32 {
    // SAFETY: the kernel hands registers to a kretprobe.
    let stack = stack_pointer(unsafe { &*ctx.regs });
    end(ctx.ret(), |mark| has_left(stack, mark))
}

/// The ends of functions, for fexit and for kretprobes.
macro_rules! ends {
    ($($function:literal $fexit:ident $kretprobe:ident)*) => { $(
        #[aya_ebpf::macros::fexit(function = $function)]
        pub fn $fexit(ctx: aya_ebpf::programs::FExitContext) -> u32 {
            $crate::pending::end_by_arguments(&ctx)
        }

        #[aya_ebpf::macros::kretprobe(function = $function)]
        pub fn $kretprobe(ctx: aya_ebpf::programs::RetProbeContext) -> u32 {
            if $crate::pending::any() { $crate::pending::end_by_stack(&ctx) } else { 0 }
        }
    )* };
}
pub(crate) use ends;

/// A function returned in fexit. The number of arguments, and with it the place of the return value, differs from kernel to
/// kernel, and so does the place of the entry among the first three.
#[inline(always)]
pub fn end_by_arguments(ctx: &FExitContext) -> u32 {
    if !any() {
        return 0;
    }
    let Ok(result) = ctx.ret::<i32>() else { return 0 };
    let arguments: [u64; 3] = [ctx.arg(0), ctx.arg(1), ctx.arg(2)];
    end(result, |mark| arguments.contains(&mark))
}

/// What tells the end of the outer operation in a kretprobe.
#[inline(always)]
pub fn mark(ctx: &ProbeContext) -> u64 {
    // SAFETY: the kernel hands registers to a kprobe.
    stack_pointer(unsafe { &*ctx.regs })
}

/// A function returned. Whether it is the outer one is told by its mark.
#[inline(always)]
pub fn end(result: i32, is_outer: impl Fn(u64) -> bool) -> u32 {
    let thread = bpf_get_current_pid_tgid();
    let Some(pending) = under_way(thread) else { return 0 };
    if !is_outer(pending.mark) {
        return 0;
    }
    let ended = Ended {
        header: event::header(KIND_ENDED, 0, size_of::<Ended>() as u32, 0),
        event_time_ns: pending.time_ns,
        event_sequence: pending.sequence,
        event_cpu: pending.cpu,
        result,
    };
    if PENDING.remove(thread).is_ok() {
        UNDER_WAY.add(-1);
    }
    if EVENTS.output::<Ended>(&ended, WAKE).is_err() {
        count(OUTCOMES_LOST);
    }
    0
}

/// Whether the call that the mark was taken in, or one around it, is over. On x86-64 a call puts its return address on the stack, and takes
/// it away; on arm64 that is in a register, and a call that is over leaves the stack where it was when it began.
#[inline(always)]
fn has_left(stack: u64, mark: u64) -> bool {
    if cfg!(bpf_target_arch = "x86_64") { stack > mark } else { stack >= mark }
}

#[inline(always)]
fn stack_pointer(regs: &aya_ebpf::bindings::pt_regs) -> u64 {
    #[cfg(bpf_target_arch = "x86_64")]
    return regs.rsp;
    #[cfg(bpf_target_arch = "aarch64")]
    return regs.sp;
}

/// A number that all CPUs change. Rust's atomics do not compile for BPF; the kernel has the instructions.
struct Gauge(UnsafeCell<i64>);

// SAFETY: read whole, and changed by an atomic instruction only.
unsafe impl Sync for Gauge {}

impl Gauge {
    #[inline(always)]
    fn get(&self) -> i64 {
        // SAFETY: an aligned load of eight bytes.
        unsafe { self.0.get().read_volatile() }
    }

    #[inline(always)]
    fn add(&self, value: i64) {
        // SAFETY: a valid address of eight bytes.
        unsafe { add(self.0.get(), value) };
    }
}

/// Adds in one step.
///
/// # Safety
/// The address must be a valid one of eight bytes.
#[inline(always)]
pub unsafe fn add(number: *mut i64, value: i64) {
    // SAFETY: the caller's, and the instruction changes nothing else.
    unsafe {
        core::arch::asm!("lock *(u64 *)({number} + 0) += {value}", number = in(reg) number, value = in(reg) value);
    }
}
