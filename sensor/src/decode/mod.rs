//! Bytes from the ring become types: everything is checked, nothing is trusted, nothing panics.

use sensor_common::record::{
    ABI, Ancestor, Ended, Event as EventRecord, Header, KIND_CREATE, KIND_ENDED, KIND_LINK, KIND_MADE,
    KIND_MKNOD, KIND_MODIFY, KIND_MOUNT, KIND_MOUNTS, KIND_MOVE_MOUNT, KIND_PIVOT_ROOT, KIND_PROCESS,
    KIND_RENAME, KIND_SYMLINK, KIND_UNLINK, KIND_UNMOUNT, Made, SECTION_ANCESTOR, SECTION_ARGUMENTS,
    SECTION_CGROUP, SECTION_EXECUTABLE, SECTION_FILE_SYSTEM, SECTION_FLAG_TRUNCATED, SECTION_MOUNTED,
    SECTION_ORIGINAL_PATH, SECTION_PATH, SECTION_ROOT, SECTION_TARGET, Section, VIEW_HOST, VIEW_OTHER,
    VIEW_PROCESS,
};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::event::View;

/// A record of the kernel.
#[derive(Debug, Clone)]
pub enum RawRecord {
    /// A hook that ran before the operation was done.
    Event(Box<RawEvent>),
    /// A new inode was made.
    Made(Made),
    /// An operation ended.
    Ended(Ended),
    /// Something was mounted where it can concern the filter.
    Mounts,
}

/// An event as the kernel tells it.
#[derive(Debug, Clone)]
pub struct RawEvent {
    /// The part with a fixed length.
    pub fixed: EventRecord,
    /// The paths of the entry, one for each mount.
    pub paths: Vec<RawPath>,
    /// Renames: the old paths, through the same mounts. Links: those of what is linked.
    pub original_paths: Vec<RawPath>,
    /// Root directory of the process in its mount namespace, if it is not the namespace's own.
    pub root: Option<RawPath>,
    /// Path of the executable in the mount namespace of the process.
    pub executable: Option<RawPath>,
    /// Arguments, each ended by NUL.
    pub arguments: Option<RawBytes>,
    /// The processes above, the nearest first.
    pub ancestors: Vec<(Ancestor, RawPath)>,
    /// The file system's type.
    pub file_system: Option<Vec<u8>>,
    /// Where a symbolic link points to, or what `mount` was told to mount.
    pub target: Option<Vec<u8>>,
    /// Paths of the cgroups of the process: first in the hierarchy of version 2, then in one of version 1, if there is one.
    pub cgroups: Vec<Vec<u8>>,
    /// Mounts: the type of the file system that is mounted.
    pub mounted: Option<Vec<u8>>,
}

impl RawEvent {
    fn new(fixed: EventRecord) -> Self {
        Self {
            fixed,
            paths: Vec::new(),
            original_paths: Vec::new(),
            root: None,
            executable: None,
            arguments: None,
            ancestors: Vec::new(),
            file_system: None,
            target: None,
            cgroups: Vec::new(),
            mounted: None,
        }
    }
}

/// A path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawPath {
    /// Its bytes; they begin with `/` only if the path is complete.
    pub bytes: Vec<u8>,
    /// In whose mount namespace.
    pub view: View,
    /// The beginning is missing.
    pub truncated: bool,
}

/// Bytes that may not be all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawBytes {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The end is missing.
    pub truncated: bool,
}

/// Why a record is not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It ends too early.
    #[error("a record of {length} bytes ends within its {part}")]
    Short {
        /// Bytes that there are.
        length: usize,
        /// What is not complete.
        part: &'static str,
    },
    /// Its length is not what it says.
    #[error("a record of {length} bytes says that it has {said}")]
    Length {
        /// Bytes that there are.
        length: usize,
        /// Bytes that it says.
        said: u32,
    },
    /// Another version of the programs made it.
    #[error(
        "a record has version {abi} of the format, not {ABI}: programs of another version of ldsentry are attached"
    )]
    Abi {
        /// Its version.
        abi: u8,
    },
    /// There is no such record.
    #[error("a record is of the unknown kind {kind}")]
    Kind {
        /// Its kind.
        kind: u8,
    },
    /// There is no such section or view.
    #[error("a record has a section of the unknown kind {kind}, view {view}")]
    Section {
        /// Its kind.
        kind: u8,
        /// Its view.
        view: u8,
    },
}

/// Decodes a record.
pub fn decode(bytes: &[u8]) -> Result<RawRecord, DecodeError> {
    let (header, _): (Header, _) = read(bytes, "header")?;
    if header.abi != ABI {
        return Err(DecodeError::Abi { abi: header.abi });
    }
    if header.length as usize != bytes.len() {
        return Err(DecodeError::Length { length: bytes.len(), said: header.length });
    }
    match header.kind {
        KIND_CREATE | KIND_RENAME | KIND_LINK | KIND_SYMLINK | KIND_MKNOD | KIND_MODIFY | KIND_UNLINK
        | KIND_MOUNT | KIND_MOVE_MOUNT | KIND_UNMOUNT | KIND_PIVOT_ROOT => {
            Ok(RawRecord::Event(Box::new(decode_event(bytes)?)))
        }
        KIND_MADE => Ok(RawRecord::Made(read(bytes, "fixed part")?.0)),
        KIND_MOUNTS => Ok(RawRecord::Mounts),
        KIND_ENDED => Ok(RawRecord::Ended(read(bytes, "fixed part")?.0)),
        kind => Err(DecodeError::Kind { kind }),
    }
}

/// Decodes the record of a process, of which the end may be missing: arguments are then cut off, and other sections
/// are left out.
pub fn decode_process(bytes: &[u8]) -> Result<RawEvent, DecodeError> {
    let (fixed, mut rest): (EventRecord, _) = read(bytes, "fixed part")?;
    let header = fixed.header;
    if header.abi != ABI {
        return Err(DecodeError::Abi { abi: header.abi });
    }
    if header.kind != KIND_PROCESS {
        return Err(DecodeError::Kind { kind: header.kind });
    }
    let all = (header.length as usize).saturating_sub(size_of::<EventRecord>());
    rest = rest.get(..all).unwrap_or(rest);
    let mut event = RawEvent::new(fixed);
    while let Ok((section, after)) = read::<Section>(rest, "section head") {
        let length = section.length as usize;
        match after.get(..length) {
            Some(content) => add(&mut event, section, content)?,
            None if section.kind == SECTION_ARGUMENTS => {
                event.arguments = Some(RawBytes { bytes: after.to_vec(), truncated: true });
            }
            None => {}
        }
        rest = after.get(length.next_multiple_of(8)..).unwrap_or_default();
    }
    Ok(event)
}

fn decode_event(bytes: &[u8]) -> Result<RawEvent, DecodeError> {
    let (fixed, mut rest): (EventRecord, _) = read(bytes, "fixed part")?;
    let mut event = RawEvent::new(fixed);
    while !rest.is_empty() {
        let (section, after): (Section, _) = read(rest, "section head")?;
        let length = section.length as usize;
        let content =
            after.get(..length).ok_or(DecodeError::Short { length: bytes.len(), part: "section" })?;
        add(&mut event, section, content)?;
        // The padding of the last section may be cut off.
        rest = after.get(length.next_multiple_of(8)..).unwrap_or_default();
    }
    Ok(event)
}

fn add(event: &mut RawEvent, section: Section, content: &[u8]) -> Result<(), DecodeError> {
    let unknown = DecodeError::Section { kind: section.kind, view: section.view };
    let view = match section.view {
        VIEW_PROCESS => View::Process,
        VIEW_HOST => View::Host,
        VIEW_OTHER => View::Other,
        _ => return Err(unknown),
    };
    let truncated = section.flags & SECTION_FLAG_TRUNCATED != 0;
    let path = |content| path(content, view, truncated);
    match section.kind {
        SECTION_PATH => event.paths.push(path(content)),
        SECTION_ORIGINAL_PATH => event.original_paths.push(path(content)),
        // A process at the root of its namespace has nothing to take away from a path.
        SECTION_ROOT => event.root = Some(path(content)).filter(|root| root.bytes != b"/"),
        SECTION_EXECUTABLE => event.executable = Some(path(content)),
        SECTION_ARGUMENTS => event.arguments = Some(RawBytes { bytes: content.to_vec(), truncated }),
        SECTION_ANCESTOR => {
            let (ancestor, executable) = read(content, "ancestor")?;
            event.ancestors.push((ancestor, path(executable)));
        }
        SECTION_FILE_SYSTEM => event.file_system = Some(text(content)),
        SECTION_TARGET => event.target = Some(text(content)),
        SECTION_CGROUP => event.cgroups.push(path(content).bytes),
        SECTION_MOUNTED => event.mounted = Some(text(content)),
        _ => return Err(unknown),
    }
    Ok(())
}

fn text(content: &[u8]) -> Vec<u8> {
    content.strip_suffix(b"\0").unwrap_or(content).to_vec()
}

/// The kernel writes components from the last to the first.
fn path(content: &[u8], view: View, truncated: bool) -> RawPath {
    let mut bytes = Vec::with_capacity(content.len() + 1);
    let components = content.split(|&byte| byte == 0).filter(|component| !component.is_empty());
    for component in components.rev() {
        // The root of a file system that is not mounted, which is the walk's end but not the path's.
        if component == b"/" {
            continue;
        }
        if !truncated || !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(component);
    }
    if bytes.is_empty() && !truncated {
        bytes.push(b'/');
    }
    RawPath { bytes, view, truncated }
}

fn read<'a, T: FromBytes + KnownLayout + Immutable>(
    bytes: &'a [u8],
    part: &'static str,
) -> Result<(T, &'a [u8]), DecodeError> {
    T::read_from_prefix(bytes).map_err(|_| DecodeError::Short { length: bytes.len(), part })
}

#[cfg(test)]
pub(crate) mod tests;
