//! Files that come to exist: `security_inode_create` before it is done, and `security_inode_init_security`, which file
//! systems call for a new inode only. `open` with `O_CREAT` runs the first also for a file that exists, and may run it
//! before it has looked: that the second follows is what tells a creation.

use aya_ebpf::macros::{fentry, kprobe};
use aya_ebpf::programs::{FEntryContext, ProbeContext};
use sensor_common::counters::OUTCOMES_LOST;
use sensor_common::filter::CREATION;
use sensor_common::record::{FLAG_VIA_OPEN, KIND_CREATE, KIND_MADE, Made};

use crate::event::{self, Operation};
use crate::filter::InForce;
use crate::kernel::{Dentry, Inode, Name, Task};
use crate::maps::{EVENTS, WAKE, count};
use crate::pending;
use crate::read::{Probed, Read, Typed, cheapest};
use crate::record::{Record, Subject};

const SCRATCH_SLOT: u32 = 0;

#[fentry(function = "security_inode_create")]
pub fn inode_create(ctx: FEntryContext) -> u32 {
    create::<Typed>(Dentry(ctx.arg(1)), || (ctx.arg(0), ctx.arg(2)))
}

#[kprobe(function = "security_inode_create")]
pub fn inode_create_kprobe(ctx: ProbeContext) -> u32 {
    let (Some(directory), Some(entry), Some(mode)) = (ctx.arg(0), ctx.arg(1), ctx.arg(2)) else { return 0 };
    let (entry, others) = (Dentry(entry), || (directory, mode));
    cheapest!(create(entry; others))
}

#[fentry(function = "security_inode_init_security")]
pub fn inode_made(ctx: FEntryContext) -> u32 {
    made::<Typed>(Inode(ctx.arg(0)), Inode(ctx.arg(1)), Name(ctx.arg(2)))
}

#[kprobe(function = "security_inode_init_security")]
pub fn inode_made_kprobe(ctx: ProbeContext) -> u32 {
    let (Some(inode), Some(directory), Some(name)) = (ctx.arg(0), ctx.arg(1), ctx.arg(2)) else { return 0 };
    made::<Probed>(Inode(inode), Inode(directory), Name(name))
}

/// `others`: the directory's inode and the mode, which hardly any creation is asked for.
#[inline(always)]
fn create<R: Read>(entry: Dentry, others: impl FnOnce() -> (*const u8, u32)) -> u32 {
    if InForce::of(CREATION).entry_passes::<R>(entry) {
        let (directory, mode) = others();
        if report(directory, entry.0, mode) {
            event::complete(SCRATCH_SLOT);
            event::finish(SCRATCH_SLOT);
        }
    }
    0
}

#[inline(never)]
fn report(directory: *const u8, entry: *const u8, mode: u32) -> bool {
    let Some(mut record) = Record::new(SCRATCH_SLOT) else { return false };
    let (directory, entry) = (Inode(record.untyped(directory)), Dentry(record.untyped(entry)));
    let current = Task(Probed::current());
    let lookup = current.nameidata::<Probed>();
    let mut operation = Operation {
        kind: KIND_CREATE,
        flags: 0,
        subject: Subject::of(entry),
        name: entry.name_hash_len::<Probed>(),
        mode: mode & 0xffff,
        operation_flags: 0,
    };
    if !lookup.is_null() {
        // A creation in another directory than the one that is opened in: an overlay file system's own, in its upper
        // layer. The one to report is the one that was asked for.
        if lookup.dentry::<Probed>().inode::<Probed>() != directory {
            return false;
        }
        operation.flags = FLAG_VIA_OPEN;
        operation.subject.exact = lookup.vfsmount::<Probed>().mount();
        operation.name = lookup.last_hash_len::<Probed>();
    }
    event::begin(&mut record, &operation, current);
    if lookup.is_null() && pending::is_inner(entry.super_block::<Probed>(), record.event().header.time_ns) {
        return false;
    }
    pending::begin_creation();
    true
}

#[inline(always)]
fn made<R: Read>(inode: Inode, directory: Inode, name: Name) -> u32 {
    if pending::any_creation() {
        sign::<R>(inode, directory, name);
        pending::end_creation();
    }
    0
}

#[inline(always)]
fn sign<R: Read>(inode: Inode, directory: Inode, name: Name) {
    let filter = InForce::of(CREATION);
    let lookup = Task(R::current()).nameidata::<R>();
    if lookup.is_null() {
        let parent = directory.directory_entry();
        if !parent.is_null() && filter.passes::<Probed>(name.length::<R>(), || name.text::<R>(), parent) {
            report_made(parent.0, name.hash_len::<Probed>(), inode.number::<Probed>());
        }
        return;
    }
    let parent = lookup.dentry::<R>();
    if filter.passes::<R>(lookup.last_len::<R>(), || lookup.last_name::<R>(), parent) {
        let same = parent.inode::<Probed>() == directory;
        let number = if same { inode.number::<Probed>() } else { 0 };
        report_made(parent.0, lookup.last_hash_len::<Probed>(), number);
    }
}

#[inline(never)]
fn report_made(parent: *const u8, name: u64, inode: u64) {
    let header = event::header(KIND_MADE, 0, size_of::<Made>() as u32, 0);
    let made = Made { header, parent: parent as u64, name, inode };
    if EVENTS.output::<Made>(&made, WAKE).is_err() {
        count(OUTCOMES_LOST);
    }
}
