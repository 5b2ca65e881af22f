//! Who did it.

use aya_ebpf::helpers::generated::{bpf_get_current_cgroup_id, bpf_probe_read_user};
use sensor_common::offsets::ABSENT;
use sensor_common::record::{
    Ancestor, EXECUTABLE_FILE, EXECUTABLE_KERNEL_THREAD, EXECUTABLE_OVERLAY_LOWER, EXECUTABLE_OVERLAY_UPPER,
    EXECUTABLE_UNHASHED, Event, Executable, OVERLAY_MAGIC, SECTION_ANCESTOR, SECTION_ARGUMENTS,
    SECTION_EXECUTABLE, SECTION_ROOT,
};

use crate::kernel::{Dentry, Inode, Mm, PidNamespace, Task};
use crate::path;
use crate::read::{Probed, Read, cheapest, offset, probe};
use crate::record::{Record, SLACK, Written};
use crate::text;

/// `PF_KTHREAD`.
const KERNEL_THREAD: u32 = 0x0020_0000;
/// Bytes of arguments that are kept.
const MAX_ARGUMENTS: u32 = SLACK - 8;
/// Parents that are named.
const MAX_ANCESTORS: u32 = 8;
/// `sizeof(struct upid)`: a number and a pointer.
const UPID_SIZE: usize = 16;

/// The facts that have a fixed place in the event.
#[inline(always)]
pub fn describe(record: &mut Record, task: Task) {
    // SAFETY: a helper without conditions.
    record.event().cgroup = unsafe { bpf_get_current_cgroup_id() };
    cheapest!(describe_as(task; record.event()));
}

#[inline(always)]
fn describe_as<R: Read>(task: Task, event: &mut Event) {
    identify_as::<R>(task, event);
    event.mount_namespace = task.nsproxy::<R>().mount_namespace::<R>().number::<R>();
    event.pid_namespace = pid_namespace(task);
    event.start_ns = task.leader::<R>().start_ns::<R>();
    event.executable = executable::<R>(task);
}

/// Of those facts, what a process can change while it runs its program.
#[inline(always)]
pub fn identify(event: &mut Event, task: Task) {
    cheapest!(identify_as(task; event));
}

#[inline(always)]
fn identify_as<R: Read>(task: Task, event: &mut Event) {
    // The helper that gives ids gives the real ones.
    let cred = task.cred::<R>();
    event.uid = cred.uid::<R>();
    event.gid = cred.gid::<R>();
    event.login_uid = optional(task, offset!(task_login_uid));
    event.session_id = optional(task, offset!(task_session_id));
    // Not as the verifier knows it: up to 6.2 it is an array of two.
    event.capabilities = cred.capabilities::<Probed>();
    event.comm = comm(task);
}

#[inline(always)]
fn optional(task: Task, offset: u32) -> u32 {
    if offset == ABSENT { u32::MAX } else { probe(task.0.wrapping_add(offset as usize)) }
}

#[inline(always)]
fn comm(task: Task) -> [u8; 16] {
    probe(task.0.wrapping_add(offset!(task_comm) as usize))
}

/// The namespace that the task's processes live in: that of the last number of its pid.
#[inline(always)]
fn pid_namespace(task: Task) -> u32 {
    let pid = task.pid::<Probed>();
    let level = pid.level::<Probed>() as usize & 63;
    let number = pid.0.wrapping_add(offset!(pid_numbers) as usize + level * UPID_SIZE);
    PidNamespace(probe(number.wrapping_add(offset!(upid_ns) as usize))).number::<Probed>()
}

#[inline(always)]
fn executable<R: Read>(task: Task) -> Executable {
    let mut facts =
        Executable { inode: 0, fs_magic: 0, device: 0, uid: 0, gid: 0, mode: 0, links: 0, flags: 0 };
    if task.flags::<R>() & KERNEL_THREAD != 0 {
        facts.flags = EXECUTABLE_KERNEL_THREAD;
        return facts;
    }
    let dentry = task.mm::<R>().executable::<R>().dentry::<R>();
    let inode = dentry.inode::<R>();
    if inode.is_null() {
        return facts;
    }
    let sb = inode.super_block::<R>();
    facts.inode = inode.number::<R>();
    facts.fs_magic = sb.magic::<R>();
    facts.device = sb.device::<R>();
    facts.uid = inode.uid::<R>();
    facts.gid = inode.gid::<R>();
    facts.mode = u32::from(inode.mode::<R>());
    facts.links = inode.links::<R>();
    facts.flags = EXECUTABLE_FILE;
    if dentry.hash_link::<R>() == 0 {
        facts.flags |= EXECUTABLE_UNHASHED;
    }
    if facts.fs_magic == OVERLAY_MAGIC {
        // Read for the global function, which takes no pointer whose type the verifier knows.
        facts.flags |= overlay_layer(dentry.inode::<Probed>().0 as u64) as u32;
    }
    facts
}

/// In which layer of an overlay an inode is, as `EXECUTABLE_OVERLAY_*`; 0 if that cannot be told. A global function: see
/// `path::walk`.
#[unsafe(no_mangle)]
pub extern "C" fn overlay_layer(inode: u64) -> u64 {
    let offset = offset!(overlay_upper);
    if offset == ABSENT {
        return 0;
    }
    let inode = Inode(inode as *const u8);
    let upper = Dentry(probe(inode.0.wrapping_add(offset as usize)));
    if upper.is_null() {
        return u64::from(EXECUTABLE_OVERLAY_LOWER);
    }
    // What is not an entry of another file system's is something else than an overlay keeps there.
    let sb = upper.super_block::<Probed>();
    let is_entry = !sb.is_null()
        && sb != inode.super_block::<Probed>()
        && upper.inode::<Probed>().super_block::<Probed>() == sb;
    if is_entry { u64::from(EXECUTABLE_OVERLAY_UPPER) } else { 0 }
}

/// Root directory and executable.
#[inline(always)]
pub fn write_program(record: &mut Record, task: Task) {
    let fs = task.fs::<Probed>();
    let (root_mount, root) = (fs.root_mount::<Probed>().mount(), fs.root_dentry::<Probed>());
    record.section(SECTION_ROOT, 0, |record, at| path::write(record, at, root_mount, root));
    if !task.mm::<Probed>().is_null() {
        // Read outside of the closure: with this in it the compiler makes it a function, and the stack holds no further one.
        let file = task.mm::<Probed>().executable::<Probed>();
        let (mount, dentry) = (file.vfsmount::<Probed>().mount(), file.dentry::<Probed>());
        record.section(SECTION_EXECUTABLE, 0, |record, at| path::write(record, at, mount, dentry));
    }
}

#[inline(always)]
pub fn write_arguments(record: &mut Record, task: Task) {
    let mm = task.mm::<Probed>();
    if !mm.is_null() {
        record.section(SECTION_ARGUMENTS, 0, |record, at| arguments(record, at, mm));
    }
}

#[inline(always)]
fn executable_path(record: &Record, at: u32, task: Task) -> Written {
    let file = task.mm::<Probed>().executable::<Probed>();
    path::write(record, at, file.vfsmount::<Probed>().mount(), file.dentry::<Probed>())
}

#[inline(always)]
fn arguments(record: &Record, at: u32, mm: Mm) -> Written {
    let (start, end) = (mm.arguments::<Probed>(), mm.arguments_end::<Probed>());
    let all = end.wrapping_sub(start);
    let length = if all > u64::from(MAX_ARGUMENTS) { MAX_ARGUMENTS } else { all as u32 };
    let target = record.at(at);
    // SAFETY: behind every position below the limit there is room for this many bytes, and the helper checks the
    // source.
    let failed = unsafe { bpf_probe_read_user(target.cast(), length, start as *const _) };
    if failed != 0 {
        return Written { end: at, complete: false };
    }
    Written { end: at + length, complete: u64::from(length) == all }
}

/// The processes above, the nearest first; the paths of their executables only if asked for.
#[inline(always)]
pub fn write_ancestors(record: &Record, task: Task, paths: bool) {
    let mut task = task.leader::<Probed>().0 as u64;
    for _ in 0..MAX_ANCESTORS {
        task = add_parent(record.slot, task, paths.into());
        if task == 0 {
            return;
        }
    }
}

/// Adds the parent of a process and gives it; 0 if there is none. A global function: see `path::walk`.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn add_parent(slot: u32, task: u64, paths: u32) -> u64 {
    let Some(mut record) = Record::new(slot) else { return 0 };
    // The first process is its own parent's child: pid 0.
    let parent = Task(task as *const u8).parent::<Probed>().leader::<Probed>();
    if parent.is_null() || parent.tgid::<Probed>() == 0 || !record.has_room() {
        return 0;
    }
    record.section(SECTION_ANCESTOR, 0, |record, at| cheapest!(ancestor(parent; record, at, paths != 0)));
    parent.0 as u64
}

#[inline(always)]
fn ancestor<R: Read>(task: Task, record: &Record, at: u32, paths: bool) -> Written {
    let facts = Ancestor {
        start_ns: task.start_ns::<R>(),
        pid: task.tgid::<R>(),
        reserved: 0,
        comm: comm(task),
        executable: executable::<R>(task),
    };
    // SAFETY: behind every position below the limit there is room for this structure.
    unsafe { record.at(at).cast::<Ancestor>().write(facts) };
    let at = at + size_of::<Ancestor>() as u32;
    if facts.executable.flags & EXECUTABLE_FILE == 0 {
        return Written { end: at, complete: true };
    }
    if paths { executable_path(record, at, task) } else { Written { end: at, complete: false } }
}

/// A string of the kernel that is as long as a path can be.
#[inline(always)]
pub fn text(record: &Record, at: u32, text: *const u8) -> Written {
    let length = text::copy(record.at(at), text, SLACK - 8);
    let complete = length > 0 && (length as u32) < SLACK - 8;
    Written { end: at + if length > 0 { length as u32 & (2 * SLACK - 1) } else { 0 }, complete }
}

/// A string of the kernel, at most 64 bytes.
#[inline(always)]
pub fn short_text(record: &Record, at: u32, text: *const u8) -> Written {
    let length = text::copy(record.at(at), text, 64);
    if length <= 0 {
        Written { end: at, complete: false }
    } else {
        Written { end: at + (length as u32 & 0x7f), complete: true }
    }
}
