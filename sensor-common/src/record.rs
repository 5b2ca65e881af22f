//! The records that the kernel programs put into the ring.
//!
//! An [`Event`] is followed by sections, each a [`Section`] and its bytes, padded to eight. The other records have a
//! fixed length. Integers are in the host's byte order: kernel and daemon share the machine.

#[cfg(feature = "user")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Version of everything in this crate that both sides must agree on.
pub const ABI: u8 = 2;

/// A file is about to be created, or an existing one opened with `O_CREAT`: an [`Event`].
pub const KIND_CREATE: u8 = 1;
/// A rename is about to be done: an [`Event`].
pub const KIND_RENAME: u8 = 2;
/// A new inode was made for a name: a [`Made`].
pub const KIND_MADE: u8 = 3;
/// An operation of one of the other kinds has ended: an [`Ended`].
pub const KIND_ENDED: u8 = 4;
/// A hard link is about to be made: an [`Event`].
pub const KIND_LINK: u8 = 5;
/// A symbolic link is about to be made: an [`Event`].
pub const KIND_SYMLINK: u8 = 6;
/// A node that is no regular file is about to be made: an [`Event`].
pub const KIND_MKNOD: u8 = 7;
/// Something was mounted that can change which file systems are below a directory that is looked for: a [`Header`] alone.
pub const KIND_MOUNTS: u8 = 9;

/// A file that exists was opened for writing, or is about to be truncated: an [`Event`].
pub const KIND_MODIFY: u8 = 10;
/// A file is about to be unlinked: an [`Event`].
pub const KIND_UNLINK: u8 = 11;

/// Something is about to be mounted by `mount`: an [`Event`] of the place, as those that follow.
pub const KIND_MOUNT: u8 = 12;
/// A mount is about to be put somewhere by `move_mount`.
pub const KIND_MOVE_MOUNT: u8 = 13;
/// What is mounted is about to go.
pub const KIND_UNMOUNT: u8 = 14;
/// The root of the mount namespace is about to be replaced.
pub const KIND_PIVOT_ROOT: u8 = 15;

/// A process runs a program, or a new one goes on with its parent's: an [`Event`] of which only the part about the process
/// is filled in. It is kept in a map, where the first [`PROCESS`] bytes of it have room.
pub const KIND_PROCESS: u8 = 8;

/// Bytes that are kept of a [`KIND_PROCESS`]: the last section can be cut off.
pub const PROCESS: usize = 2048;

/// The hook ran below `open`, whose mount is known: the first path is exact.
pub const FLAG_VIA_OPEN: u16 = 1;
/// Nobody will report the outcome of this operation.
pub const FLAG_UNTRACKED: u16 = 1 << 1;
/// The file system has more mounts than were looked at: a path may be missing.
pub const FLAG_MORE_MOUNTS: u16 = 1 << 2;
/// There was no room for all sections.
pub const FLAG_CUT: u16 = 1 << 3;
/// It has happened already.
pub const FLAG_DONE: u16 = 1 << 4;

/// What every record begins with.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct Header {
    /// Bytes of the whole record, this header included.
    pub length: u32,
    /// `KIND_*`.
    pub kind: u8,
    /// [`ABI`].
    pub abi: u8,
    /// `FLAG_*`.
    pub flags: u16,
    /// Boot clock, nanoseconds.
    pub time_ns: u64,
    /// The CPU's count of events.
    pub sequence: u64,
    /// Process id in the upper half, thread id in the lower.
    pub pid_tgid: u64,
    /// The CPU.
    pub cpu: u32,
    /// Zero.
    pub reserved: u32,
}

/// A hook that runs before the operation is done.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct Event {
    /// What every record begins with.
    pub header: Header,
    /// With `name`, what [`Made`] repeats: identity of the parent directory.
    pub parent: u64,
    /// Hash and length of the name.
    pub name: u64,
    /// Inode number of what is there already: of what is renamed, linked, changed or unlinked; else 0.
    pub inode: u64,
    /// Magic number of the file system.
    pub fs_magic: u64,
    /// Effective capabilities.
    pub capabilities: u64,
    /// cgroup (v2) id.
    pub cgroup: u64,
    /// Start of the process, boot clock.
    pub start_ns: u64,
    /// Device number of the file system, as the kernel encodes it: major above bit 20.
    pub device: u32,
    /// Flags of the rename, of the `open` or of the mount.
    pub operation_flags: u32,
    /// `st_mode`: of what is there already, or asked for by the creation.
    pub mode: u32,
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
    /// `loginuid`, or all ones.
    pub login_uid: u32,
    /// Audit session, or all ones.
    pub session_id: u32,
    /// Inode number of the mount namespace.
    pub mount_namespace: u32,
    /// Inode number of the pid namespace.
    pub pid_namespace: u32,
    /// Zero.
    pub reserved: u32,
    /// Name of the thread.
    pub comm: [u8; 16],
    /// The file that the process runs.
    pub executable: Executable,
}

/// Facts about the file that a process runs.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct Executable {
    /// Inode number.
    pub inode: u64,
    /// Magic number of its file system.
    pub fs_magic: u64,
    /// Device number.
    pub device: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// `st_mode`.
    pub mode: u32,
    /// Hard links.
    pub links: u32,
    /// `EXECUTABLE_*`.
    pub flags: u32,
}

/// There is a file.
pub const EXECUTABLE_FILE: u32 = 1;
/// A kernel thread: there is none.
pub const EXECUTABLE_KERNEL_THREAD: u32 = 1 << 1;
/// Its directory entry is gone.
pub const EXECUTABLE_UNHASHED: u32 = 1 << 2;
/// It is on an overlay, in the layer that is written to.
pub const EXECUTABLE_OVERLAY_UPPER: u32 = 1 << 3;
/// It is on an overlay, in a layer that is not written to.
pub const EXECUTABLE_OVERLAY_LOWER: u32 = 1 << 4;
/// Magic number of overlays. An executable on one that has neither of the flags is in nobody knows which layer.
pub const OVERLAY_MAGIC: u64 = 0x794c_7630;

/// Magic numbers of the file systems of this host that ask for a security label for each new inode: ext2 to ext4, xfs, btrfs, tmpfs
/// and f2fs.
const LABELLING: [u64; 5] = [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0xf2f5_2010];

impl Event {
    /// Whether another record tells how it ended. A creation's is a sign of success, and there is none if it fails.
    #[inline(always)]
    pub fn has_outcome(&self) -> bool {
        let flags = self.header.flags;
        if flags & (FLAG_UNTRACKED | FLAG_DONE) != 0 {
            return false;
        }
        // Overlays hand a creation on to a file system below.
        self.header.kind != KIND_CREATE
            || self.is_labelling()
            || (self.fs_magic == OVERLAY_MAGIC && flags & FLAG_VIA_OPEN != 0)
    }

    /// Whether that record comes soon: no other machine and no other process is waited for.
    #[inline(always)]
    pub fn has_outcome_soon(&self) -> bool {
        self.has_outcome() && (self.is_labelling() || self.fs_magic == OVERLAY_MAGIC)
    }

    #[inline(always)]
    fn is_labelling(&self) -> bool {
        LABELLING.contains(&self.fs_magic)
    }
}

/// A new inode was given its security attributes, on its way to a name.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct Made {
    /// What every record begins with; its sequence is not an event's.
    pub header: Header,
    /// As in the [`Event`].
    pub parent: u64,
    /// As in the [`Event`].
    pub name: u64,
    /// Inode number, 0 if it is another file system's (an overlay's upper layer).
    pub inode: u64,
}

/// An operation returned.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct Ended {
    /// What every record begins with; its sequence is not an event's.
    pub header: Header,
    /// `time_ns` of the event.
    pub event_time_ns: u64,
    /// `sequence` of the event.
    pub event_sequence: u64,
    /// `cpu` of the event.
    pub event_cpu: u32,
    /// 0, or a negative errno.
    pub result: i32,
}

/// Head of a section behind an [`Event`].
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct Section {
    /// Bytes of the content, this head and the padding not included.
    pub length: u32,
    /// `SECTION_*`.
    pub kind: u8,
    /// Paths: `VIEW_*`.
    pub view: u8,
    /// `SECTION_FLAG_*`.
    pub flags: u16,
}

/// Path of the entry (renames: the new one): its components, each ended by NUL, the last component of the path first.
pub const SECTION_PATH: u8 = 1;
/// Renames: the old path. Links: the path of what is linked. Mounts: the path of what is mounted, if it had one.
pub const SECTION_ORIGINAL_PATH: u8 = 2;
/// Path of the process's root directory, present only where it is not the root of its mount namespace.
pub const SECTION_ROOT: u8 = 3;
/// Path of the executable.
pub const SECTION_EXECUTABLE: u8 = 4;
/// Arguments, each ended by NUL.
pub const SECTION_ARGUMENTS: u8 = 5;
/// A parent, the nearest first: an [`Ancestor`] and the path of its executable.
pub const SECTION_ANCESTOR: u8 = 6;
/// Name of the file system's type.
pub const SECTION_FILE_SYSTEM: u8 = 7;
/// Where a symbolic link points to, or what `mount` was told to mount, ended by NUL.
pub const SECTION_TARGET: u8 = 8;
/// Name of the type of the file system that is mounted, ended by NUL.
pub const SECTION_MOUNTED: u8 = 10;

/// Path of a cgroup of the process, in the manner of [`SECTION_PATH`]: first in the hierarchy of version 2, then, if the host has
/// such, in one of version 1.
pub const SECTION_CGROUP: u8 = 9;

/// In the mount namespace of the process.
pub const VIEW_PROCESS: u8 = 0;
/// In the mount namespace of the host.
pub const VIEW_HOST: u8 = 1;
/// In another mount namespace.
pub const VIEW_OTHER: u8 = 2;

/// The content is not all: what comes last is missing.
pub const SECTION_FLAG_TRUNCATED: u16 = 1;

/// A process above the one that acted.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct Ancestor {
    /// Start, boot clock.
    pub start_ns: u64,
    /// Process id.
    pub pid: u32,
    /// Zero.
    pub reserved: u32,
    /// Name of the thread.
    pub comm: [u8; 16],
    /// The file that it runs.
    pub executable: Executable,
}

/// No record is longer.
pub const MAX_LENGTH: usize = 1 << 15;

const _: () = {
    assert!(size_of::<Header>() == 40);
    assert!(size_of::<Event>() == 40 + 56 + 40 + 16 + 40);
    assert!(size_of::<Executable>() == 40);
    assert!(size_of::<Made>() == 64);
    assert!(size_of::<Ended>() == 64);
    assert!(size_of::<Section>() == 8);
    assert!(size_of::<Ancestor>() == 72);
};

#[cfg(test)]
mod tests {
    use core::mem::offset_of;

    use super::*;

    /// The layout is the ABI: whoever changes it changes [`ABI`] too, since programs of an earlier version may still be
    /// attached.
    #[test]
    fn the_layout_is_that_of_version_2() {
        assert_eq!(ABI, 2);
        let header = [
            offset_of!(Header, length),
            offset_of!(Header, kind),
            offset_of!(Header, abi),
            offset_of!(Header, flags),
            offset_of!(Header, time_ns),
            offset_of!(Header, sequence),
            offset_of!(Header, pid_tgid),
            offset_of!(Header, cpu),
        ];
        assert_eq!(header, [0, 4, 5, 6, 8, 16, 24, 32]);
        let event = [
            offset_of!(Event, parent),
            offset_of!(Event, name),
            offset_of!(Event, inode),
            offset_of!(Event, fs_magic),
            offset_of!(Event, capabilities),
            offset_of!(Event, cgroup),
            offset_of!(Event, start_ns),
            offset_of!(Event, device),
            offset_of!(Event, operation_flags),
            offset_of!(Event, mode),
            offset_of!(Event, uid),
            offset_of!(Event, gid),
            offset_of!(Event, login_uid),
            offset_of!(Event, session_id),
            offset_of!(Event, mount_namespace),
            offset_of!(Event, pid_namespace),
            offset_of!(Event, comm),
            offset_of!(Event, executable),
        ];
        assert_eq!(event, [40, 48, 56, 64, 72, 80, 88, 96, 100, 104, 108, 112, 116, 120, 124, 128, 136, 152]);
        assert_eq!([offset_of!(Made, parent), offset_of!(Made, name), offset_of!(Made, inode)], [40, 48, 56]);
        assert_eq!([offset_of!(Ended, event_time_ns), offset_of!(Ended, result)], [40, 60]);
        assert_eq!(
            [offset_of!(Section, length), offset_of!(Section, kind), offset_of!(Section, flags)],
            [0, 4, 6]
        );
        assert_eq!(
            [offset_of!(Ancestor, pid), offset_of!(Ancestor, comm), offset_of!(Ancestor, executable)],
            [8, 16, 32]
        );
    }
}
