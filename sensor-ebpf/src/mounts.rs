//! The mounts through which an entry can be reached. The hooks are not told which one was used, but a file system
//! knows all of its mounts.

use sensor_common::offsets::ABSENT;
use sensor_common::record::{FLAG_MORE_MOUNTS, VIEW_HOST, VIEW_OTHER, VIEW_PROCESS};

use crate::diagnostics::Note;
use crate::kernel::{Dentry, Mount, MountNamespace, SuperBlock};
use crate::read::{Probed, host_mount_namespace, offset, probe};
use crate::record::{MAX_MOUNTS, Record, forget};

/// Mounts of a file system that are looked at.
const MAX_LIST: u32 = 32;
/// The same where only mounts that are shared count, so many times so many: a host with many services and containers has
/// hundreds.
const MAX_SHARED: u32 = 16;
const SHARED_TOGETHER: u32 = 16;
/// Mounts that get what another one gets, one after the other.
const MAX_MASTERS: u32 = 8;
/// There are more mounts than were looked at or noted.
const MORE: u64 = 1 << 32;
/// Not a view: the mount does not lead to the entry.
const NOWHERE: u8 = 0xff;
/// Directories above an entry among which the root of a bind mount is sought.
const MAX_DEPTH: u32 = 32;

/// Notes the mounts that lead to an entry and gives their number. `exact` (or null) is the one that was used.
#[inline(always)]
pub fn find(record: &mut Record, entry: Dentry, own: MountNamespace, exact: Mount) -> u32 {
    let found = list(record.slot, entry.0 as u64, own.0 as u64, exact.0 as u64);
    if found & MORE != 0 {
        leave_out(record);
    }
    found as u32 & 7
}

/// The number of mounts, and [`MORE`] if there are others. A global function: see `path::walk`.
#[unsafe(no_mangle)]
pub extern "C" fn list(slot: u32, entry: u64, own: u64, exact: u64) -> u64 {
    let Some(mut record) = Record::new(slot) else { return 0 };
    let record = &mut record;
    let (entry, own) = (Dentry(entry as *const u8), MountNamespace(own as *const u8));
    let exact = Mount(exact as *const u8);
    let mut found = 0;
    if !exact.is_null() {
        note(record, 0, exact, view(exact.namespace::<Probed>(), own));
        found = 1;
    }
    let sb = entry.super_block::<Probed>();
    let root = sb.root::<Probed>();
    let mut mounts = Mounts::of(sb);
    // One view from another namespace is enough, and none where the mount is known.
    let mut others = u32::from(!exact.is_null());
    for _ in 0..MAX_LIST {
        found = forget(record.scratch, found) & 7;
        others = forget(record.scratch, others) & 1;
        let Some(mount) = mounts.next() else { return u64::from(found) };
        if mount == exact {
            continue;
        }
        let view = lead(mount.0 as u64, own.0 as u64, entry.0 as u64, root.0 as u64) as u8;
        if view == NOWHERE || (view == VIEW_OTHER && others != 0) {
            continue;
        }
        if found >= MAX_MOUNTS {
            break;
        }
        others |= u32::from(view == VIEW_OTHER);
        note(record, found, mount, view);
        found += 1;
    }
    u64::from(found) | MORE
}

/// Notes the mount that something is mounted in, and those that get it too because mounts are shared; gives their number.
#[inline(always)]
pub fn find_shared(record: &mut Record, dentry: Dentry, own: MountNamespace, mount: Mount) -> u32 {
    let found = list_shared(record.slot, dentry.0 as u64, own.0 as u64, mount.0 as u64);
    if found & MORE != 0 {
        leave_out(record);
    }
    found as u32 & 7
}

#[inline(always)]
fn leave_out(record: &mut Record) {
    let header = &mut record.event().header;
    header.flags |= FLAG_MORE_MOUNTS;
    let kind = header.kind.into();
    record.note(Note::MountsLeftOut, kind);
}

/// As [`list`]. A global function: see `path::walk`.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn list_shared(slot: u32, dentry: u64, own: u64, mount: u64) -> u64 {
    let Some(mut record) = Record::new(slot) else { return 0 };
    let record = &mut record;
    let (dentry, exact) = (Dentry(dentry as *const u8), Mount(mount as *const u8));
    note(record, 0, exact, view(exact.namespace::<Probed>(), MountNamespace(own as *const u8)));
    record.set_mounts(1);
    if exact.group::<Probed>() == 0 {
        return 1;
    }
    let mut link = Mounts::of(dentry.super_block::<Probed>()).link();
    for _ in 0..MAX_SHARED {
        link = list_some_shared(slot, dentry.0 as u64, own, mount, link);
        if link == 0 {
            return u64::from(record.mounts());
        }
    }
    u64::from(record.mounts()) | MORE
}

/// Notes what some of a file system's mounts contribute to [`list_shared`]. Gives where they go on; 0 if that was all. A global
/// function: see `path::walk`.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn list_some_shared(slot: u32, dentry: u64, own: u64, exact: u64, link: u64) -> u64 {
    let Some(mut record) = Record::new(slot) else { return 0 };
    let record = &mut record;
    let exact = Mount(exact as *const u8);
    let group = exact.group::<Probed>();
    let sb = Dentry(dentry as *const u8).super_block::<Probed>();
    let root = sb.root::<Probed>();
    let mut mounts = Mounts::from(sb, link);
    for _ in 0..SHARED_TOGETHER {
        let Some(mount) = mounts.next() else { return 0 };
        if mount == exact || receives(mount.0 as u64, group) == 0 {
            continue;
        }
        let view = lead(mount.0 as u64, own, dentry, root.0 as u64) as u8;
        if view == NOWHERE || view == VIEW_OTHER {
            continue;
        }
        let noted = record.mounts();
        if noted >= MAX_MOUNTS {
            return link;
        }
        note(record, noted, mount, view);
        record.set_mounts(noted + 1);
    }
    mounts.link()
}

/// Not 0 if what is mounted in mounts of a group is mounted in this one too. A global function: see `path::walk`.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn receives(mount: u64, group: u32) -> u64 {
    let mut mount = Mount(mount as *const u8);
    for _ in 0..MAX_MASTERS {
        if mount.is_null() {
            return 0;
        }
        if mount.group::<Probed>() == group {
            return 1;
        }
        mount = mount.master::<Probed>();
    }
    1
}

/// The mounts of a file system, one after the other.
pub struct Mounts {
    head: *const u8,
    link: *const u8,
}

impl Mounts {
    #[inline(always)]
    pub fn of(sb: SuperBlock) -> Self {
        Self::from(sb, sb.first_mount::<Probed>() as u64)
    }

    /// Those from a place on that was [`Self::link`].
    #[inline(always)]
    pub fn from(sb: SuperBlock, link: u64) -> Self {
        Self { head: sb.0.wrapping_add(offset!(sb_mounts) as usize), link: link as *const u8 }
    }

    /// Where the next one is.
    #[inline(always)]
    pub fn link(&self) -> u64 {
        self.link as u64
    }

    #[inline(always)]
    pub fn next(&mut self) -> Option<Mount> {
        let link = self.link;
        if link == self.head || link.is_null() {
            return None;
        }
        // A list through the mounts until 6.16, since then each points to the next.
        if offset!(mount_instance) == ABSENT {
            self.link = probe(link.wrapping_add(offset!(mount_next) as usize));
            Some(Mount(link))
        } else {
            self.link = probe(link);
            Some(Mount(link.wrapping_sub(offset!(mount_instance) as usize)))
        }
    }
}

#[inline(always)]
fn view(namespace: MountNamespace, own: MountNamespace) -> u8 {
    if namespace == own {
        VIEW_PROCESS
    } else if namespace.number::<Probed>() == host_mount_namespace() {
        VIEW_HOST
    } else {
        VIEW_OTHER
    }
}

#[inline(always)]
fn note(record: &mut Record, index: u32, mount: Mount, view: u8) {
    let index = (index & (MAX_MOUNTS - 1)) as usize;
    // SAFETY: the index is within both arrays, and the scratch belongs to this program on this CPU.
    unsafe {
        (&raw mut (*record.scratch).mounts).cast::<u64>().add(index).write(mount.0 as u64);
        (&raw mut (*record.scratch).views).cast::<u8>().add(index).write(view);
    }
}

/// The mount that was noted and its view.
#[inline(always)]
pub fn noted(record: &Record, index: u32) -> (Mount, u8) {
    let index = (index & (MAX_MOUNTS - 1)) as usize;
    // SAFETY: as in `note`.
    unsafe {
        let mount = (&raw const (*record.scratch).mounts).cast::<u64>().add(index).read();
        let view = (&raw const (*record.scratch).views).cast::<u8>().add(index).read();
        (Mount(mount as *const u8), view)
    }
}

/// `VIEW_*` of a mount that leads to an entry, [`NOWHERE`] of another. A global function: see `path::walk`.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn lead(mount: u64, own: u64, entry: u64, root: u64) -> u64 {
    let mount = Mount(mount as *const u8);
    // Not mounted anywhere, or one that the kernel keeps to itself (an overlay's layers).
    if !mount.is_in_namespace::<Probed>() {
        return u64::from(NOWHERE);
    }
    let namespace = mount.namespace::<Probed>();
    let top = mount.root::<Probed>().0 as u64;
    if top != root && top != entry && is_below(entry, top) == 0 {
        return u64::from(NOWHERE);
    }
    u64::from(view(namespace, MountNamespace(own as *const u8)))
}

/// Not 0 if an entry is below a directory. A global function: see `path::walk`.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn is_below(entry: u64, top: u64) -> u64 {
    let mut dentry = Dentry(entry as *const u8);
    for _ in 0..MAX_DEPTH {
        let parent = dentry.parent::<Probed>();
        if parent.0 as u64 == top {
            return 1;
        }
        if parent == dentry || parent.is_null() {
            return 0;
        }
        dentry = parent;
    }
    // Too deep to tell: a path too many is better than one too few.
    1
}
