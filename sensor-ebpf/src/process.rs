//! Who runs what, kept beyond the end of a process: for a source that learns of a file only after it was made, when
//! whoever made it may be gone.
//!
//! Tracepoints, which kernels take that refuse to have their functions hooked.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use sensor_common::record::{Event, KIND_PROCESS};

use crate::event::header;
use crate::kernel::Task;
use crate::maps::PROCESSES;
use crate::read::{Probed, Read as _};
use crate::record::Record;
use crate::{cgroup, diagnostics, task};

/// These programs and the hooks are never attached at once.
const SCRATCH_SLOT: u32 = 0;

/// A process runs another program from now on.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn process_exec(_: RawTracePointContext) -> i32 {
    remember(Probed::current());
    0
}

/// A process, or a thread, is made after the current one.
#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub fn process_fork(ctx: RawTracePointContext) -> i32 {
    let child = Task(ctx.arg(1));
    if child.leader::<Probed>() == child {
        remember(child.0);
    }
    0
}

/// What it is last is what it was when it did what is asked about.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn process_exit(ctx: RawTracePointContext) -> i32 {
    let task = Task(ctx.arg(0));
    if task.leader::<Probed>() == task
        && let Some(kept) = PROCESSES.get_ptr_mut((bpf_get_current_pid_tgid() >> 32) as u32)
    {
        // SAFETY: what is kept begins with an event; its place is not given to another process while this one runs.
        let event = unsafe { &mut *kept.cast::<Event>() };
        task::identify(event, task);
    }
    0
}

/// In steps of their own, for the stack.
#[inline(always)]
fn remember(task: *const u8) {
    if describe(task) {
        add_ancestors(task);
        finish(task);
        diagnostics::tell(SCRATCH_SLOT);
    }
}

#[inline(never)]
fn describe(task: *const u8) -> bool {
    let Some(mut record) = Record::new(SCRATCH_SLOT) else { return false };
    let task = Task(record.untyped(task));
    let process = u64::from(task.tgid::<Probed>());
    let mut header = header(KIND_PROCESS, 0, size_of::<Event>() as u32, 0);
    header.pid_tgid = process << 32 | process;
    record.event().header = header;
    record.clear();
    task::describe(&mut record, task);
    task::write_program(&mut record, task);
    cgroup::write(&mut record, task);
    true
}

#[inline(never)]
fn add_ancestors(task: *const u8) {
    let Some(record) = Record::new(SCRATCH_SLOT) else { return };
    let task = Task(record.untyped(task));
    task::write_ancestors(&record, task, false);
}

/// The arguments come last: they may be cut off.
#[inline(never)]
fn finish(task: *const u8) {
    let Some(mut record) = Record::new(SCRATCH_SLOT) else { return };
    let task = Task(record.untyped(task));
    task::write_arguments(&mut record, task);
    record.keep(task.tgid::<Probed>());
}
