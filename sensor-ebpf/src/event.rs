//! An event from the moment that it passed the filter: everything about it is collected here, because nothing of it
//! can be relied on later.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_smp_processor_id, bpf_ktime_get_boot_ns};
use sensor_common::counters::PASSED;
use sensor_common::record::{
    ABI, Event, Header, SECTION_FILE_SYSTEM, SECTION_ORIGINAL_PATH, SECTION_PATH, SECTION_TARGET,
};

use crate::diagnostics;
use crate::kernel::{Dentry, Mount, MountNamespace, Task};
use crate::maps::count;
use crate::read::{Probed, Read, cheapest};
use crate::record::{MAX_MOUNTS, Record, Subject};
use crate::{cgroup, mounts, path, pending, task};

/// What the hooks know.
pub struct Operation {
    pub kind: u8,
    pub flags: u16,
    pub subject: Subject,
    pub name: u64,
    pub mode: u32,
    pub operation_flags: u32,
}

/// What every record begins with.
#[inline(always)]
pub fn header(kind: u8, flags: u16, length: u32, sequence: u64) -> Header {
    // SAFETY: helpers without conditions.
    let (time_ns, cpu) = unsafe { (bpf_ktime_get_boot_ns(), bpf_get_smp_processor_id()) };
    Header {
        length,
        kind,
        abi: ABI,
        flags,
        time_ns,
        sequence,
        pid_tgid: bpf_get_current_pid_tgid(),
        cpu,
        reserved: 0,
    }
}

/// Fills in the part of the event that has a fixed length.
#[inline(always)]
pub fn begin(record: &mut Record, operation: &Operation, current: Task) {
    let Subject { entry, original, .. } = operation.subject;
    // What exists already: a creation's entry has no inode yet.
    let existing = if original.is_null() { entry } else { original };
    let header = header(operation.kind, operation.flags, size_of::<Event>() as u32, count(PASSED));
    let event = record.event();
    event.header = header;
    event.name = operation.name;
    cheapest!(identify(entry, existing; event));
    event.operation_flags = operation.operation_flags;
    event.mode = operation.mode;
    event.reserved = 0;
    record.clear();
    record.set_subject(operation.subject);
    task::describe(record, current);
}

/// What tells the file from others.
#[inline(always)]
fn identify<R: Read>(entry: Dentry, existing: Dentry, event: &mut Event) {
    let sb = entry.super_block::<R>();
    event.parent = entry.parent::<R>().0 as u64;
    event.inode = existing.inode::<R>().number::<R>();
    event.fs_magic = sb.magic::<R>();
    event.device = sb.device::<R>();
}

/// Begins the event of an operation whose end is reported. Not for one inside another, which is the one to report.
#[inline(always)]
pub fn begin_with_end(record: &mut Record, operation: &Operation, mark: u64) -> bool {
    let current = Task(Probed::current());
    // An overlay that makes a file for `open`: nothing else gets here in the middle of a lookup.
    if !current.nameidata::<Probed>().is_null() {
        return false;
    }
    let sb = operation.subject.entry.super_block::<Probed>();
    begin(record, operation, current);
    if pending::is_inner(sb, record.event().header.time_ns) {
        return false;
    }
    pending::begin(record, sb, mark);
    true
}

/// Adds where a symbolic link points to, or what is mounted.
#[inline(never)]
pub fn add_target(slot: u32, target: *const u8) {
    let Some(mut record) = Record::new(slot) else { return };
    record.section(SECTION_TARGET, 0, |record, at| task::text(record, at, target));
}

/// Adds the texts: first what decides whether a rule matches, last what is only good to know.
///
/// Called by the hooks' programs themselves, once what began the event has returned, as [`finish`] is after this: the stack
/// does not hold these steps on top of each other.
#[inline(never)]
pub fn complete(slot: u32) {
    add_texts(slot, mounts::find);
}

/// The same where something is done to a place: that is in one mount, and not in all that lead there. What looks for those that
/// share it takes the verifier as long as half of all the rest.
#[inline(never)]
pub fn complete_at_place(slot: u32) {
    add_texts(slot, mounts::find_shared);
}

#[inline(always)]
fn add_texts(slot: u32, find: impl Fn(&mut Record, Dentry, MountNamespace, Mount) -> u32) {
    let Some(mut record) = Record::new(slot) else { return };
    let record = &mut record;
    let subject = record.subject();
    let current = Task(Probed::current());
    let own = current.nsproxy::<Probed>().mount_namespace::<Probed>();
    let found = find(record, subject.entry, own, subject.exact);
    paths(record, subject, 0, found);
    task::write_program(record, current);
    cgroup::write(record, current);
    task::write_arguments(record, current);
    for index in 1..MAX_MOUNTS {
        paths(record, subject, index, found);
    }
    let file_system = subject.entry.super_block::<Probed>().file_system::<Probed>().name::<Probed>();
    record.section(SECTION_FILE_SYSTEM, 0, |record, at| task::short_text(record, at, file_system));
}

/// Adds the processes above and hands the record to the ring.
#[inline(always)]
pub fn finish(slot: u32) {
    send(slot);
    diagnostics::tell(slot);
}

#[inline(never)]
fn send(slot: u32) {
    let Some(mut record) = Record::new(slot) else { return };
    task::write_ancestors(&record, Task(Probed::current()), true);
    record.send();
}

/// The paths in the view of one mount. Without any mount there is still the path within the file system.
#[inline(always)]
fn paths(record: &mut Record, subject: Subject, index: u32, found: u32) {
    if index >= found {
        return;
    }
    let (mount, view) = mounts::noted(record, index);
    record.section(SECTION_PATH, view, |record, at| path::write(record, at, mount, subject.entry));
    if !subject.original.is_null() {
        record.section(SECTION_ORIGINAL_PATH, view, |record, at| {
            path::write(record, at, mount, subject.original)
        });
    }
}
