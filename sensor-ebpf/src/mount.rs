//! Mounts that give files another path than their own file system has for them, and mounts over what rules look for.
//!
//! The filter looks at the directories above a mount only for file systems that are mounted below a directory that is
//! looked for. The daemon finds these out, and again after each mount that could change it; until then all file
//! systems count as such. Mounts are rare, and other system calls do not come here.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::{fentry, fexit, kprobe, kretprobe};
use aya_ebpf::programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext};
use sensor_common::record::{Header, KIND_MOUNT, KIND_MOUNTS, KIND_MOVE_MOUNT};

use crate::event;
use crate::filter;
use crate::kernel::{Dentry, Mount, Path};
use crate::maps::{EVENTS, MOUNTING, MOUNTS, WAKE, set_all_mounted};
use crate::pending;
use crate::place;
use crate::read::Probed;
use crate::record::Record;

const MOUNT_SLOT: u32 = 8;
const MOVE_SLOT: u32 = 9;

const MS_REMOUNT: u32 = 32;
const MS_BIND: u32 = 4096;
/// `MS_UNBINDABLE`, `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`.
const PROPAGATION: u32 = 0xf << 17;

#[fentry(function = "security_sb_mount")]
pub fn sb_mount(ctx: FEntryContext) -> u32 {
    mount(ctx.arg(0), Path(ctx.arg(1)), ctx.arg(2), ctx.arg(3), place::MARK)
}

#[kprobe(function = "security_sb_mount")]
pub fn sb_mount_kprobe(ctx: ProbeContext) -> u32 {
    let (Some(source), Some(path), Some(kind), Some(flags)) =
        (ctx.arg(0), ctx.arg(1), ctx.arg(2), ctx.arg(3))
    else {
        return 0;
    };
    mount(source, Path(path), kind, flags, pending::mark(&ctx))
}

#[fexit(function = "path_mount")]
pub fn mounted(ctx: FExitContext) -> u32 {
    end();
    place::end(&ctx)
}

#[kretprobe(function = "path_mount")]
pub fn mounted_kretprobe(ctx: RetProbeContext) -> u32 {
    end();
    if pending::any() { pending::end_by_stack(&ctx) } else { 0 }
}

/// The new interface: everything that can take long has happened before.
#[fentry(function = "security_move_mount")]
pub fn move_mount(ctx: FEntryContext) -> u32 {
    attach(Path(ctx.arg(0)), Path(ctx.arg(1)), place::MARK)
}

#[kprobe(function = "security_move_mount")]
pub fn move_mount_kprobe(ctx: ProbeContext) -> u32 {
    let (Some(from), Some(to)) = (ctx.arg(0), ctx.arg(1)) else { return 0 };
    attach(Path(from), Path(to), pending::mark(&ctx))
}

#[inline(always)]
fn mount(source: *const u8, path: Path, kind: *const u8, flags: u32, mark: u64) -> u32 {
    let (mount, dentry) = (path.vfsmount::<Probed>().mount(), path.dentry::<Probed>());
    if filter::mount_point_passes(mount, dentry) {
        // Where this fails the daemon can be too early, but not before it has waited.
        let _ = MOUNTING.insert(bpf_get_current_pid_tgid(), 1, 0);
        changed();
    }
    if puts_something(flags) && filter::place_passes(mount, dentry) {
        if report_mount(path.0, flags, mark) {
            event::complete_at_place(MOUNT_SLOT);
            event::add_target(MOUNT_SLOT, source);
            place::add_kind(MOUNT_SLOT, kind);
            event::finish(MOUNT_SLOT);
        }
    }
    0
}

/// Whether `mount` is asked to mount something, and not to change a mount. In the order in which the kernel looks.
#[inline(always)]
fn puts_something(flags: u32) -> bool {
    flags & MS_REMOUNT == 0 && (flags & MS_BIND != 0 || flags & PROPAGATION == 0)
}

#[inline(always)]
fn attach(from: Path, to: Path, mark: u64) -> u32 {
    let (mount, dentry) = (to.vfsmount::<Probed>().mount(), to.dentry::<Probed>());
    if filter::mount_point_passes(mount, dentry) {
        changed();
    }
    let moved = from.vfsmount::<Probed>().mount();
    // What it covered is no longer covered.
    let uncovers = is_attached(moved) && filter::place_passes(moved, from.dentry::<Probed>());
    if (uncovers || filter::place_passes(mount, dentry)) && report_move(to.0, mark) {
        event::complete_at_place(MOVE_SLOT);
        add_moved(from.0);
        event::finish(MOVE_SLOT);
    }
    0
}

/// Whether a mount is on another one; new ones are on none yet.
#[inline(always)]
fn is_attached(mount: Mount) -> bool {
    mount.parent::<Probed>() != mount
}

#[inline(always)]
fn end() {
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: the value is not looked at.
    if unsafe { MOUNTING.get(thread) }.is_some() {
        changed();
        let _ = MOUNTING.remove(thread);
    }
}

/// All file systems count as mounted below a directory that is looked for, until the daemon has looked.
#[inline(always)]
pub fn changed() {
    // In this order: the daemon reads the count before and after it writes the bits.
    if let Some(changes) = MOUNTS.get_ptr_mut(0) {
        // SAFETY: an aligned place in the map.
        unsafe { pending::add(changes.cast(), 1) };
    }
    set_all_mounted();
    let header = event::header(KIND_MOUNTS, 0, size_of::<Header>() as u32, 0);
    // No event: where there is no room, the daemon looks later, and until then nothing is missed.
    let _ = EVENTS.output::<Header>(&header, WAKE);
}

#[inline(never)]
fn report_mount(path: *const u8, flags: u32, mark: u64) -> bool {
    let Some(mut record) = Record::new(MOUNT_SLOT) else { return false };
    let path = Path(record.untyped(path));
    let (mount, dentry) = (path.vfsmount::<Probed>().mount(), path.dentry::<Probed>());
    place::begin(&mut record, KIND_MOUNT, mount, dentry, flags, mark);
    true
}

#[inline(never)]
fn report_move(to: *const u8, mark: u64) -> bool {
    let Some(mut record) = Record::new(MOVE_SLOT) else { return false };
    let to = Path(record.untyped(to));
    let (mount, dentry) = (to.vfsmount::<Probed>().mount(), to.dentry::<Probed>());
    place::begin(&mut record, KIND_MOVE_MOUNT, mount, dentry, 0, mark);
    true
}

/// Adds what was moved.
#[inline(never)]
fn add_moved(from: *const u8) {
    let Some(mut record) = Record::new(MOVE_SLOT) else { return };
    let from = Path(record.untyped(from));
    let (moved, root): (Mount, Dentry) = (from.vfsmount::<Probed>().mount(), from.dentry::<Probed>());
    if is_attached(moved) {
        place::add_source(&mut record, moved, root);
    }
    let kind = root.super_block::<Probed>().file_system::<Probed>().name::<Probed>();
    place::add_kind(MOVE_SLOT, kind);
}
