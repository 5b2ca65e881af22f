//! Mounts that give files another path than their own file system has for them.
//!
//! The filter looks at the directories above a mount only for file systems that are mounted below a directory that is
//! looked for. The daemon finds these out, and again after each mount that could change it; until then all file
//! systems count as such. Mounts are rare, and other system calls do not come here.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::{fentry, fexit, kprobe, kretprobe};
use aya_ebpf::programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext};
use sensor_common::filter::{MOUNTED, MOUNTS as CHANGES};
use sensor_common::record::{Header, KIND_MOUNTS};

use crate::event;
use crate::filter;
use crate::kernel::Path;
use crate::maps::{EVENTS, MOUNTING, MOUNTS};
use crate::pending;
use crate::read::Probed;

#[fentry(function = "security_sb_mount")]
pub fn sb_mount(ctx: FEntryContext) -> u32 {
    mount(Path(ctx.arg(1)), true)
}

#[kprobe(function = "security_sb_mount")]
pub fn sb_mount_kprobe(ctx: ProbeContext) -> u32 {
    ctx.arg(1).map_or(0, |path| mount(Path(path), true))
}

#[fexit(function = "path_mount")]
pub fn mounted(_ctx: FExitContext) -> u32 {
    end()
}

#[kretprobe(function = "path_mount")]
pub fn mounted_kretprobe(_ctx: RetProbeContext) -> u32 {
    end()
}

/// The new interface: everything that can take long has happened before.
#[fentry(function = "security_move_mount")]
pub fn move_mount(ctx: FEntryContext) -> u32 {
    mount(Path(ctx.arg(1)), false)
}

#[kprobe(function = "security_move_mount")]
pub fn move_mount_kprobe(ctx: ProbeContext) -> u32 {
    ctx.arg(1).map_or(0, |path| mount(Path(path), false))
}

#[inline(always)]
fn mount(path: Path, has_end: bool) -> u32 {
    let mount = path.vfsmount::<Probed>().mount();
    if filter::mount_point_passes(mount, path.dentry::<Probed>()) {
        if has_end {
            // Where this fails the daemon can be too early, but not before it has waited.
            let _ = MOUNTING.insert(bpf_get_current_pid_tgid(), 1, 0);
        }
        changed();
    }
    0
}

#[inline(always)]
fn end() -> u32 {
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: the value is not looked at.
    if unsafe { MOUNTING.get(thread) }.is_some() {
        changed();
        let _ = MOUNTING.remove(thread);
    }
    0
}

/// All file systems count as mounted below a directory that is looked for, until the daemon has looked.
#[inline(always)]
pub fn changed() {
    // In this order: the daemon reads the count before and after it writes the bits.
    if let Some(changes) = MOUNTS.get_ptr_mut(CHANGES) {
        // SAFETY: an aligned place in the map.
        unsafe { pending::add(changes.cast(), 1) };
    }
    if let Some(mounted) = MOUNTS.get_ptr_mut(MOUNTED) {
        // SAFETY: as above.
        unsafe { mounted.write_volatile(u64::MAX) };
    }
    let header = event::header(KIND_MOUNTS, 0, size_of::<Header>() as u32, 0);
    // No event: where there is no room, the daemon looks later, and until then nothing is missed.
    let _ = EVENTS.output::<Header>(&header, 0);
}
