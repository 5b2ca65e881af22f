//! What is at a path changes though no file does: mounts that go, another root, and what these events have in common with
//! those of `mount`.

use aya_ebpf::macros::{fentry, fexit, kprobe, kretprobe};
use aya_ebpf::programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext};
use sensor_common::record::{
    KIND_PIVOT_ROOT, KIND_UNMOUNT, SECTION_MOUNTED, SECTION_ORIGINAL_PATH, VIEW_PROCESS,
};

use crate::event::{self, Operation};
use crate::filter;
use crate::kernel::{Dentry, Mount, Path, SuperBlock, Task, VfsMount};
use crate::path;
use crate::pending;
use crate::read::{Probed, Read as _};
use crate::record::{Record, Subject};
use crate::task;

const UNMOUNT_SLOT: u32 = 10;
const PIVOT_SLOT: u32 = 11;

/// With fexit, what tells the end of one of these operations from others' ends: they are not inside each other.
pub const MARK: u64 = 1;

#[fentry(function = "security_sb_umount")]
pub fn sb_umount(ctx: FEntryContext) -> u32 {
    unmount(VfsMount(ctx.arg(0)), ctx.arg(1), MARK)
}

#[kprobe(function = "security_sb_umount")]
pub fn sb_umount_kprobe(ctx: ProbeContext) -> u32 {
    let (Some(mount), Some(flags)) = (ctx.arg(0), ctx.arg(1)) else { return 0 };
    unmount(VfsMount(mount), flags, pending::mark(&ctx))
}

#[fentry(function = "security_sb_pivotroot")]
pub fn sb_pivotroot(ctx: FEntryContext) -> u32 {
    pivot(Path(ctx.arg(1)), MARK)
}

#[kprobe(function = "security_sb_pivotroot")]
pub fn sb_pivotroot_kprobe(ctx: ProbeContext) -> u32 {
    ctx.arg(1).map_or(0, |new| pivot(Path(new), pending::mark(&ctx)))
}

/// The ends of functions, for fexit and for kretprobes. System calls have a function of their own on each architecture.
macro_rules! ends {
    ($($function:literal $fexit:ident $kretprobe:ident)*) => { $(
        #[fexit(function = $function)]
        pub fn $fexit(ctx: FExitContext) -> u32 {
            end(&ctx)
        }

        #[kretprobe(function = $function)]
        pub fn $kretprobe(ctx: RetProbeContext) -> u32 {
            if pending::any() { pending::end_by_stack(&ctx) } else { 0 }
        }
    )* };
}
ends! {
    "path_umount" unmounted unmounted_kretprobe
    "__x64_sys_move_mount" moved_mount moved_mount_kretprobe
    "__x64_sys_pivot_root" pivoted pivoted_kretprobe
}

#[inline(always)]
pub fn end(ctx: &FExitContext) -> u32 {
    if !pending::any() {
        return 0;
    }
    let Ok(result) = ctx.ret::<i32>() else { return 0 };
    pending::end(result, |mark| mark == MARK)
}

#[inline(always)]
fn unmount(mount: VfsMount, flags: u32, mark: u64) -> u32 {
    let mount = mount.mount();
    let above = mount.parent::<Probed>();
    if above != mount
        && filter::place_passes(above, mount.mountpoint::<Probed>())
        && report_unmount(mount.0, flags, mark)
    {
        event::complete_at_place(UNMOUNT_SLOT);
        add_unmounted(mount.0);
        event::finish(UNMOUNT_SLOT);
    }
    0
}

#[inline(always)]
fn pivot(new: Path, mark: u64) -> u32 {
    if filter::root_passes() && report_pivot(mark) {
        event::complete_at_place(PIVOT_SLOT);
        add_root(new.0);
        event::finish(PIVOT_SLOT);
    }
    0
}

#[inline(never)]
fn report_unmount(mount: *const u8, flags: u32, mark: u64) -> bool {
    let Some(mut record) = Record::new(UNMOUNT_SLOT) else { return false };
    let mount = Mount(record.untyped(mount));
    let (above, mountpoint) = (mount.parent::<Probed>(), mount.mountpoint::<Probed>());
    begin(&mut record, KIND_UNMOUNT, above, mountpoint, flags, mark);
    true
}

/// Adds what was mounted there.
#[inline(never)]
fn add_unmounted(mount: *const u8) {
    let Some(record) = Record::new(UNMOUNT_SLOT) else { return };
    let mount = Mount(record.untyped(mount));
    add_kind(
        UNMOUNT_SLOT,
        mount.root::<Probed>().super_block::<Probed>().file_system::<Probed>().name::<Probed>(),
    );
}

#[inline(never)]
fn report_pivot(mark: u64) -> bool {
    let Some(mut record) = Record::new(PIVOT_SLOT) else { return false };
    let fs = Task(Probed::current()).fs::<Probed>();
    let (root, dentry) = (fs.root_mount::<Probed>().mount(), fs.root_dentry::<Probed>());
    begin(&mut record, KIND_PIVOT_ROOT, root, dentry, 0, mark);
    true
}

/// Adds where the new root was before.
#[inline(never)]
fn add_root(new: *const u8) {
    let Some(mut record) = Record::new(PIVOT_SLOT) else { return };
    let new = Path(record.untyped(new));
    let (mount, dentry) = (new.vfsmount::<Probed>().mount(), new.dentry::<Probed>());
    add_source(&mut record, mount, dentry);
    let kind = dentry.super_block::<Probed>().file_system::<Probed>().name::<Probed>();
    add_kind(PIVOT_SLOT, kind);
}

/// Begins the event of a place whose end will be reported.
#[inline(always)]
pub fn begin(record: &mut Record, kind: u8, mount: Mount, dentry: Dentry, operation_flags: u32, mark: u64) {
    let operation = Operation {
        kind,
        flags: 0,
        subject: Subject { exact: mount, ..Subject::of(dentry) },
        name: dentry.name_hash_len::<Probed>(),
        mode: dentry.inode::<Probed>().mode::<Probed>().into(),
        operation_flags,
    };
    event::begin(record, &operation, Task(Probed::current()));
    // Nothing is inside it: the super block is that of no overlay.
    pending::begin(record, SuperBlock(core::ptr::null()), mark);
}

/// Adds where what is mounted was before.
#[inline(always)]
pub fn add_source(record: &mut Record, mount: Mount, dentry: Dentry) {
    record.section(SECTION_ORIGINAL_PATH, VIEW_PROCESS, |record, at| path::write(record, at, mount, dentry));
}

/// Adds the type of the file system that is mounted.
#[inline(never)]
pub fn add_kind(slot: u32, name: *const u8) {
    let Some(mut record) = Record::new(slot) else { return };
    record.section(SECTION_MOUNTED, 0, |record, at| task::short_text(record, at, name));
}
