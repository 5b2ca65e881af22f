//! Files that get a new path: `security_inode_rename` before it is done, and the end of `vfs_rename`.
//!
//! An overlay's rename has another inside it, in the upper layer: the outer one is reported. Its end is told from that
//! of the inner by a mark. fexit programs see the arguments: the mark is the entry's address. A kretprobe does not, but
//! the outer call returns with a stack pointer above that of the hook, the inner one below.

use core::cell::UnsafeCell;

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::{fentry, fexit, kprobe, kretprobe};
use aya_ebpf::programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext};
use sensor_common::counters::{OUTCOMES_LOST, RENAMES_UNTRACKED};
use sensor_common::filter::RENAME;
use sensor_common::record::{FLAG_UNTRACKED, KIND_RENAME, KIND_RENAMED, Renamed};

use crate::diagnostics;
use crate::event::{self, Operation};
use crate::filter;
use crate::kernel::{Dentry, Mount, RenameData, Task};
use crate::maps::{EVENTS, Pending, RENAMES, count};
use crate::read::{Probed, Read, Typed};
use crate::record::Record;

const SCRATCH_SLOT: u32 = 1;
const RENAME_EXCHANGE: u32 = 2;
const OVERLAY_MAGIC: u64 = 0x794c_7630;

/// Watched renames under way: while there are none, the end of a rename costs a load.
static UNDER_WAY: Gauge = Gauge(UnsafeCell::new(0));

#[fentry(function = "security_inode_rename")]
pub fn inode_rename(ctx: FEntryContext) -> u32 {
    let old: *const u8 = ctx.arg(1);
    rename::<Typed>(Dentry(old), Dentry(ctx.arg(3)), ctx.arg(4), old as u64)
}

#[kprobe(function = "security_inode_rename")]
pub fn inode_rename_kprobe(ctx: ProbeContext) -> u32 {
    let (Some(old), Some(new), Some(flags)) = (ctx.arg(1), ctx.arg(3), ctx.arg(4)) else { return 0 };
    // SAFETY: the kernel hands registers to a kprobe.
    rename::<Probed>(Dentry(old), Dentry(new), flags, stack_pointer(unsafe { &*ctx.regs }))
}

#[fexit(function = "vfs_rename")]
pub fn renamed(ctx: FExitContext) -> u32 {
    if UNDER_WAY.get() == 0 {
        return 0;
    }
    let data = RenameData(ctx.arg(0));
    // The return value is behind the function's only argument.
    let result: i32 = ctx.arg(1);
    let old = data.old_dentry::<Probed>().0 as u64;
    end(result, |pending| pending.mark == old)
}

#[kretprobe(function = "vfs_rename")]
pub fn renamed_kretprobe(ctx: RetProbeContext) -> u32 {
    if UNDER_WAY.get() == 0 {
        return 0;
    }
    // SAFETY: the kernel hands registers to a kretprobe.
    let stack = stack_pointer(unsafe { &*ctx.regs });
    end(ctx.ret(), |pending| stack > pending.mark)
}

#[inline(always)]
fn stack_pointer(regs: &aya_ebpf::bindings::pt_regs) -> u64 {
    #[cfg(bpf_target_arch = "x86_64")]
    return regs.rsp;
    #[cfg(bpf_target_arch = "aarch64")]
    return regs.sp;
}

#[inline(always)]
fn rename<R: Read>(old: Dentry, new: Dentry, flags: u32, mark: u64) -> u32 {
    let by_old = flags & RENAME_EXCHANGE != 0 || filter::wants_original();
    if passes::<R>(new) || (by_old && passes::<R>(old)) {
        if report(old.0, new.0, flags, mark) {
            event::finish(SCRATCH_SLOT);
        }
    }
    0
}

#[inline(always)]
fn passes<R: Read>(entry: Dentry) -> bool {
    filter::passes::<R>(RENAME, entry.name_len::<R>(), || entry.name::<R>(), entry.parent::<R>())
}

#[inline(never)]
fn report(old: *const u8, new: *const u8, flags: u32, mark: u64) -> bool {
    let Some(mut record) = Record::new(SCRATCH_SLOT) else { return false };
    let (old, new) = (Dentry(record.untyped(old)), Dentry(record.untyped(new)));
    let thread = bpf_get_current_pid_tgid();
    let sb = new.super_block::<Probed>();
    // SAFETY: the entry is this thread's own: nobody else removes it.
    let outer = unsafe { RENAMES.get(thread) };
    if outer.is_some_and(|outer| outer.overlay != 0 && outer.sb != sb.0 as u64) {
        return false;
    }
    let current = Task(Probed::current());
    let operation = Operation {
        kind: KIND_RENAME,
        flags: 0,
        entry: new,
        original: old,
        exact: Mount(core::ptr::null()),
        name: new.name_hash_len::<Probed>(),
        mode: 0,
        operation_flags: flags,
    };
    event::begin(&mut record, &operation, current);
    let header = record.event().header;
    let pending = Pending {
        time_ns: header.time_ns,
        sequence: header.sequence,
        mark,
        sb: sb.0 as u64,
        cpu: header.cpu,
        overlay: u32::from(sb.magic::<Probed>() == OVERLAY_MAGIC),
    };
    let known = outer.is_some();
    if RENAMES.insert(thread, pending, 0).is_err() {
        count(RENAMES_UNTRACKED);
        diagnostics::rename_untracked(flags);
        record.event().header.flags |= FLAG_UNTRACKED;
    } else if !known {
        UNDER_WAY.add(1);
    }
    event::complete(&mut record, &operation, current);
    true
}

#[inline(always)]
fn end(result: i32, is_outer: impl Fn(&Pending) -> bool) -> u32 {
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: the entry is this thread's own: nobody else changes it.
    let Some(pending) = (unsafe { RENAMES.get(thread) }) else { return 0 };
    if !is_outer(pending) {
        return 0;
    }
    let renamed = Renamed {
        header: event::header(KIND_RENAMED, 0, size_of::<Renamed>() as u32, 0),
        event_time_ns: pending.time_ns,
        event_sequence: pending.sequence,
        event_cpu: pending.cpu,
        result,
    };
    if RENAMES.remove(thread).is_ok() {
        UNDER_WAY.add(-1);
    }
    if EVENTS.output::<Renamed>(&renamed, 0).is_err() {
        count(OUTCOMES_LOST);
    }
    0
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
        let number = self.0.get();
        // SAFETY: a valid address of eight bytes, and the instruction changes nothing else.
        unsafe {
            core::arch::asm!("lock *(u64 *)({number} + 0) += {value}", number = in(reg) number, value = in(reg) value);
        }
    }
}
