//! Files that are there and can be changed from now on: opened for writing, or truncated by their path. What is then done
//! with the descriptor, by whatever call, is not looked at.
//!
//! Every `open` comes here, so the first thing that is asked is whether it is for writing, and that without a look at the file.

use aya_ebpf::macros::{fentry, kprobe};
use aya_ebpf::programs::{FEntryContext, ProbeContext};
use sensor_common::filter::MODIFICATION;
use sensor_common::record::{FLAG_DONE, FLAG_UNTRACKED, KIND_MODIFY};

use crate::event::{self, Operation};
use crate::filter::InForce;
use crate::kernel::{Dentry, File, Mount, Path, Task};
use crate::pending;
use crate::read::{Probed, Read, Typed, cheapest};
use crate::record::{Record, Subject};

const OPEN_SLOT: u32 = 5;
const TRUNCATE_SLOT: u32 = 6;

/// Of the access that an `open` needs; also `O_TRUNC` needs it.
const MAY_WRITE: u32 = 2;
const O_ACCMODE: u32 = 3;
const O_TRUNC: u32 = 0o1000;
const FMODE_WRITE: u32 = 2;
const FMODE_CREATED: u32 = 0x10_0000;
/// Opened by the kernel for itself: an overlay's file in a layer.
const FMODE_NOACCOUNT: u32 = 0x2000_0000;

/// On `security_file_post_open` or `ima_file_check`: the file is open.
#[fentry(function = "security_file_post_open")]
pub fn file_opened(ctx: FEntryContext) -> u32 {
    if ctx.arg::<u32>(1) & MAY_WRITE == 0 {
        return 0;
    }
    opened::<Typed>(File(ctx.arg(0)), FLAG_DONE)
}

#[kprobe(function = "security_file_post_open")]
pub fn file_opened_kprobe(ctx: ProbeContext) -> u32 {
    let (Some(file), Some(access)) = (ctx.arg(0), ctx.arg::<u32>(1)) else { return 0 };
    if access & MAY_WRITE == 0 {
        return 0;
    }
    cheapest!(opened(File(file); FLAG_DONE))
}

/// Where the kernel has neither of these. The file is about to be opened, if no security module refuses.
#[fentry(function = "security_file_open")]
pub fn file_open(ctx: FEntryContext) -> u32 {
    open::<Typed>(File(ctx.arg(0)))
}

#[kprobe(function = "security_file_open")]
pub fn file_open_kprobe(ctx: ProbeContext) -> u32 {
    ctx.arg(0).map_or(0, |file| cheapest!(open(File(file);)))
}

#[fentry(function = "vfs_truncate")]
pub fn truncate(ctx: FEntryContext) -> u32 {
    let path: *const u8 = ctx.arg(0);
    truncated::<Typed>(Path(path), path as u64)
}

#[kprobe(function = "vfs_truncate")]
pub fn truncate_kprobe(ctx: ProbeContext) -> u32 {
    ctx.arg(0).map_or(0, |path| cheapest!(truncated(Path(path); pending::mark(&ctx))))
}

pending::ends! {
    "vfs_truncate" truncate_ended truncate_ended_kretprobe
}

#[inline(always)]
fn open<R: Read>(file: File) -> u32 {
    let flags = file.flags::<R>();
    // As the kernel makes a file's mode of its flags: 1 and 2 are for writing, 3 is for neither.
    if ((flags & O_ACCMODE) + 1) & FMODE_WRITE == 0 && flags & O_TRUNC == 0 {
        return 0;
    }
    if file.mode::<R>() & FMODE_NOACCOUNT != 0 {
        return 0;
    }
    opened::<R>(file, FLAG_UNTRACKED)
}

#[inline(always)]
fn opened<R: Read>(file: File, flags: u16) -> u32 {
    let entry = file.dentry::<R>();
    // One that this `open` made is a creation.
    if file.mode::<R>() & FMODE_CREATED == 0 && passes::<R>(entry) && report_open(file.0, flags) {
        event::complete(OPEN_SLOT);
        event::finish(OPEN_SLOT);
    }
    0
}

#[inline(always)]
fn truncated<R: Read>(path: Path, mark: u64) -> u32 {
    if passes::<R>(path.dentry::<R>()) && report_truncate(path.0, mark) {
        event::complete(TRUNCATE_SLOT);
        event::finish(TRUNCATE_SLOT);
    }
    0
}

#[inline(always)]
fn passes<R: Read>(entry: Dentry) -> bool {
    InForce::of(MODIFICATION).entry_passes::<R>(entry)
}

#[inline(never)]
fn report_open(file: *const u8, flags: u16) -> bool {
    let Some(mut record) = Record::new(OPEN_SLOT) else { return false };
    let file = File(record.untyped(file));
    let entry = file.dentry::<Probed>();
    // `O_TMPFILE`, or unlinked since: it is in no directory, whatever its entry says.
    if entry.inode::<Probed>().links::<Probed>() == 0 && entry.hash_link::<Probed>() == 0 {
        return false;
    }
    let mut operation = operation(entry, file.vfsmount::<Probed>().mount());
    (operation.flags, operation.operation_flags) = (flags, file.flags::<Probed>());
    let current = Task(Probed::current());
    event::begin(&mut record, &operation, current);
    true
}

#[inline(never)]
fn report_truncate(path: *const u8, mark: u64) -> bool {
    let Some(mut record) = Record::new(TRUNCATE_SLOT) else { return false };
    let path = Path(record.untyped(path));
    let operation = operation(path.dentry::<Probed>(), path.vfsmount::<Probed>().mount());
    event::begin_with_end(&mut record, &operation, mark)
}

#[inline(always)]
fn operation(entry: Dentry, exact: Mount) -> Operation {
    Operation {
        kind: KIND_MODIFY,
        flags: 0,
        subject: Subject { exact, ..Subject::of(entry) },
        name: entry.name_hash_len::<Probed>(),
        mode: entry.inode::<Probed>().mode::<Probed>().into(),
        operation_flags: 0,
    }
}
