//! Other ways to a new entry: hard links, symbolic links, and nodes that are no regular files. Their hooks run before it is
//! done; `vfs_link` and its like return how it ended.

use aya_ebpf::macros::{fentry, kprobe};
use aya_ebpf::programs::{FEntryContext, ProbeContext};
use sensor_common::filter::CREATION;
use sensor_common::record::{KIND_LINK, KIND_MKNOD, KIND_SYMLINK};

use crate::event::{self, Operation};
use crate::filter::InForce;
use crate::kernel::Dentry;
use crate::pending;
use crate::read::{Probed, Read, Typed, cheapest};
use crate::record::{Record, Subject};

const LINK_SLOT: u32 = 2;
const SYMLINK_SLOT: u32 = 3;
const MKNOD_SLOT: u32 = 4;

const S_IFLNK: u32 = 0o120_000;

#[fentry(function = "security_inode_link")]
pub fn inode_link(ctx: FEntryContext) -> u32 {
    let old: *const u8 = ctx.arg(0);
    link::<Typed>(Dentry(old), Dentry(ctx.arg(2)), old as u64)
}

#[kprobe(function = "security_inode_link")]
pub fn inode_link_kprobe(ctx: ProbeContext) -> u32 {
    let (Some(old), Some(new)) = (ctx.arg(0), ctx.arg(2)) else { return 0 };
    cheapest!(link(Dentry(old), Dentry(new); pending::mark(&ctx)))
}

#[fentry(function = "security_inode_symlink")]
pub fn inode_symlink(ctx: FEntryContext) -> u32 {
    let entry: *const u8 = ctx.arg(1);
    symlink::<Typed>(Dentry(entry), ctx.arg(2), entry as u64)
}

#[kprobe(function = "security_inode_symlink")]
pub fn inode_symlink_kprobe(ctx: ProbeContext) -> u32 {
    let (Some(entry), Some(target)) = (ctx.arg(1), ctx.arg(2)) else { return 0 };
    cheapest!(symlink(Dentry(entry); target, pending::mark(&ctx)))
}

#[fentry(function = "security_inode_mknod")]
pub fn inode_mknod(ctx: FEntryContext) -> u32 {
    let entry: *const u8 = ctx.arg(1);
    mknod::<Typed>(Dentry(entry), ctx.arg(2), entry as u64)
}

#[kprobe(function = "security_inode_mknod")]
pub fn inode_mknod_kprobe(ctx: ProbeContext) -> u32 {
    let (Some(entry), Some(mode)) = (ctx.arg(1), ctx.arg(2)) else { return 0 };
    cheapest!(mknod(Dentry(entry); mode, pending::mark(&ctx)))
}

pending::ends! {
    "vfs_link" linked linked_kretprobe
    "vfs_symlink" symlinked symlinked_kretprobe
    "vfs_mknod" mknoded mknoded_kretprobe
}

#[inline(always)]
fn passes<R: Read>(entry: Dentry) -> bool {
    InForce::of(CREATION).entry_passes::<R>(entry)
}

/// Whether a symbolic link of this name can lead to files that get a path to look at.
#[inline(always)]
fn brings_files<R: Read>(link: Dentry) -> bool {
    InForce::of(CREATION).directory_name_passes::<R>(link.name_len::<R>(), link)
}

#[inline(always)]
fn is_symbolic_link(mode: u16) -> bool {
    u32::from(mode) & 0o170_000 == S_IFLNK
}

#[inline(always)]
fn link<R: Read>(old: Dentry, new: Dentry, mark: u64) -> u32 {
    if (passes::<R>(new) || (brings_files::<R>(new) && is_symbolic_link(old.inode::<R>().mode::<R>())))
        && report_link(old.0, new.0, mark)
    {
        event::complete(LINK_SLOT);
        event::finish(LINK_SLOT);
    }
    0
}

#[inline(always)]
fn symlink<R: Read>(entry: Dentry, target: *const u8, mark: u64) -> u32 {
    if (passes::<R>(entry) || brings_files::<R>(entry)) && report_symlink(entry.0, mark) {
        event::complete(SYMLINK_SLOT);
        event::add_target(SYMLINK_SLOT, target);
        event::finish(SYMLINK_SLOT);
    }
    0
}

#[inline(always)]
fn mknod<R: Read>(entry: Dentry, mode: u32, mark: u64) -> u32 {
    if passes::<R>(entry) && report_mknod(entry.0, mode, mark) {
        event::complete(MKNOD_SLOT);
        event::finish(MKNOD_SLOT);
    }
    0
}

#[inline(never)]
fn report_link(old: *const u8, new: *const u8, mark: u64) -> bool {
    let Some(mut record) = Record::new(LINK_SLOT) else { return false };
    let old = Dentry(record.untyped(old));
    let mode = old.inode::<Probed>().mode::<Probed>().into();
    let operation = operation(&record, KIND_LINK, new, old, mode);
    event::begin_with_end(&mut record, &operation, mark)
}

#[inline(never)]
fn report_symlink(entry: *const u8, mark: u64) -> bool {
    let Some(mut record) = Record::new(SYMLINK_SLOT) else { return false };
    let operation = operation(&record, KIND_SYMLINK, entry, Dentry(core::ptr::null()), S_IFLNK | 0o777);
    event::begin_with_end(&mut record, &operation, mark)
}

#[inline(never)]
fn report_mknod(entry: *const u8, mode: u32, mark: u64) -> bool {
    let Some(mut record) = Record::new(MKNOD_SLOT) else { return false };
    let operation = operation(&record, KIND_MKNOD, entry, Dentry(core::ptr::null()), mode & 0xffff);
    event::begin_with_end(&mut record, &operation, mark)
}

#[inline(always)]
fn operation(record: &Record, kind: u8, entry: *const u8, original: Dentry, mode: u32) -> Operation {
    let entry = Dentry(record.untyped(entry));
    let subject = Subject { original, ..Subject::of(entry) };
    Operation { kind, flags: 0, subject, name: entry.name_hash_len::<Probed>(), mode, operation_flags: 0 }
}
