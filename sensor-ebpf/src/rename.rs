//! Files that get a new path: `security_inode_rename` before it is done, and the end of `vfs_rename`.

use aya_ebpf::macros::{fentry, fexit, kprobe, kretprobe};
use aya_ebpf::programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext};
use sensor_common::filter::RENAME;
use sensor_common::record::KIND_RENAME;

use crate::event::{self, Operation};
use crate::filter::InForce;
use crate::kernel::{Dentry, RenameData};
use crate::mount;
use crate::pending;
use crate::read::{Probed, Read, Typed, cheapest};
use crate::record::{Record, Subject};

const SCRATCH_SLOT: u32 = 1;
const RENAME_EXCHANGE: u32 = 2;

#[fentry(function = "security_inode_rename")]
pub fn inode_rename(ctx: FEntryContext) -> u32 {
    let old: *const u8 = ctx.arg(1);
    rename::<Typed>(Dentry(old), Dentry(ctx.arg(3)), ctx.arg(4), old as u64)
}

#[kprobe(function = "security_inode_rename")]
pub fn inode_rename_kprobe(ctx: ProbeContext) -> u32 {
    let (Some(old), Some(new), Some(flags)) = (ctx.arg(1), ctx.arg(3), ctx.arg(4)) else { return 0 };
    let (old, new, mark) = (Dentry(old), Dentry(new), pending::mark(&ctx));
    cheapest!(rename(old, new; flags, mark))
}

#[fexit(function = "vfs_rename")]
pub fn renamed(ctx: FExitContext) -> u32 {
    if !pending::any() {
        return 0;
    }
    let data = RenameData(ctx.arg(0));
    // The return value is behind the function's only argument.
    let result: i32 = ctx.arg(1);
    let old = data.old_dentry::<Probed>().0 as u64;
    pending::end(result, |mark| mark == old)
}

#[kretprobe(function = "vfs_rename")]
pub fn renamed_kretprobe(ctx: RetProbeContext) -> u32 {
    if pending::any() { pending::end_by_stack(&ctx) } else { 0 }
}

#[inline(always)]
fn rename<R: Read>(old: Dentry, new: Dentry, flags: u32, mark: u64) -> u32 {
    let filter = InForce::of(RENAME);
    let exchange = flags & RENAME_EXCHANGE != 0;
    // Read once for both uses.
    let new_length = new.name_len::<R>();
    if filter.passes::<R>(new_length, || new.name::<R>(), new.parent::<R>())
        || ((exchange || filter.wants_original()) && filter.entry_passes::<R>(old))
        || brings_files::<R>(&filter, old, new_length, new)
        || (exchange && brings_files::<R>(&filter, new, old.name_len::<R>(), old))
    {
        if report(old.0, new.0, flags, mark) {
            event::complete(SCRATCH_SLOT);
            event::finish(SCRATCH_SLOT);
        }
    }
    0
}

/// Whether files get a path to look at because a directory, or a link to one, gets the name of `new`.
#[inline(always)]
fn brings_files<R: Read>(filter: &InForce, old: Dentry, new_length: u32, new: Dentry) -> bool {
    filter.directory_name_passes::<R>(new_length, new) && {
        let mode = old.inode::<R>().mode::<R>();
        is_directory(mode) || is_symbolic_link(mode)
    }
}

#[inline(always)]
fn is_directory(mode: u16) -> bool {
    mode & 0o170_000 == 0o040_000
}

#[inline(always)]
fn is_symbolic_link(mode: u16) -> bool {
    mode & 0o170_000 == 0o120_000
}

#[inline(never)]
fn report(old: *const u8, new: *const u8, flags: u32, mark: u64) -> bool {
    let Some(mut record) = Record::new(SCRATCH_SLOT) else { return false };
    let (old, new) = (Dentry(record.untyped(old)), Dentry(record.untyped(new)));
    let mode = old.inode::<Probed>().mode::<Probed>();
    if is_directory(mode) {
        // There can be mounts in it.
        mount::changed();
    }
    let operation = Operation {
        kind: KIND_RENAME,
        flags: 0,
        subject: Subject { original: old, ..Subject::of(new) },
        name: new.name_hash_len::<Probed>(),
        mode: mode.into(),
        operation_flags: flags,
    };
    event::begin_with_end(&mut record, &operation, mark)
}
