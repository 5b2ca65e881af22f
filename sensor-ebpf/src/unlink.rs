//! Names that go: `security_inode_unlink` before it is done, and the end of `vfs_unlink`.

use aya_ebpf::macros::{fentry, kprobe};
use aya_ebpf::programs::{FEntryContext, ProbeContext};
use sensor_common::filter::DELETION;
use sensor_common::record::KIND_UNLINK;

use crate::event::{self, Operation};
use crate::filter::InForce;
use crate::kernel::Dentry;
use crate::pending;
use crate::read::{Probed, Read, Typed, cheapest};
use crate::record::{Record, Subject};

const SCRATCH_SLOT: u32 = 7;

#[fentry(function = "security_inode_unlink")]
pub fn inode_unlink(ctx: FEntryContext) -> u32 {
    let entry: *const u8 = ctx.arg(1);
    unlink::<Typed>(Dentry(entry), entry as u64)
}

#[kprobe(function = "security_inode_unlink")]
pub fn inode_unlink_kprobe(ctx: ProbeContext) -> u32 {
    let Some(entry) = ctx.arg(1) else { return 0 };
    let (entry, mark) = (Dentry(entry), pending::mark(&ctx));
    cheapest!(unlink(entry; mark))
}

pending::ends! {
    "vfs_unlink" unlinked unlinked_kretprobe
}

#[inline(always)]
fn unlink<R: Read>(entry: Dentry, mark: u64) -> u32 {
    if InForce::of(DELETION).entry_passes::<R>(entry) && report(entry.0, mark) {
        event::complete(SCRATCH_SLOT);
        event::finish(SCRATCH_SLOT);
    }
    0
}

#[inline(never)]
fn report(entry: *const u8, mark: u64) -> bool {
    let Some(mut record) = Record::new(SCRATCH_SLOT) else { return false };
    let entry = Dentry(record.untyped(entry));
    let operation = Operation {
        kind: KIND_UNLINK,
        flags: 0,
        subject: Subject::of(entry),
        name: entry.name_hash_len::<Probed>(),
        mode: entry.inode::<Probed>().mode::<Probed>().into(),
        operation_flags: 0,
    };
    event::begin_with_end(&mut record, &operation, mark)
}
