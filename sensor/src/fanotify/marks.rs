//! Which directories are marked: those on the way to a path that a rule asks for, and those within an open-ended one.
//!
//! The way is marked too, so that a directory that appears, moves or is replaced is seen to do so. What is in a marked
//! directory is remembered as far as rules ask for it: who looks again finds what has appeared.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use jiff::Timestamp;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use super::mounts::Mounts;
use super::system;
use crate::event::Device;
use crate::mountinfo::Mount;
use crate::prefix::Prefix;

/// More directories are not marked: each costs the kernel about a kilobyte.
const MAX_DIRECTORIES: usize = 1 << 14;

/// File system and handle.
pub(super) type Handle = Box<[u8]>;

/// What is asked for in a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Masks {
    /// On the way to files that rules ask for.
    pub(super) way: u64,
    /// Where such files can be.
    pub(super) files: u64,
}

/// The marked directories.
#[derive(Debug)]
pub(super) struct Marks {
    masks: Masks,
    prefixes: Vec<Prefix>,
    directories: HashMap<Handle, Directory>,
    by_path: HashMap<Vec<u8>, Handle>,
    pub(super) mounts: Mounts,
    /// Mounts on the way, when they were last looked at.
    crossed: BTreeSet<Mount>,
    /// Directories that could not be marked, and why.
    refused: HashMap<Vec<u8>, io::Error>,
}

/// A marked directory.
#[derive(Debug, Default)]
pub(super) struct Directory {
    /// Where it is: in several places if it is mounted there.
    pub(super) paths: Vec<Vec<u8>>,
    pub(super) file_system: FileSystem,
    /// What is in it that rules ask for.
    known: HashMap<Vec<u8>, Facts>,
}

/// Where files are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FileSystem {
    pub(super) device: Device,
    /// Name of its type.
    pub(super) kind: Option<String>,
}

/// What tells a file from another that has its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// Another one's if something is mounted over the file.
    device: Device,
    pub(super) inode: u64,
    pub(super) mode: u32,
    /// Inode numbers are used again, times of birth are not.
    born: (i64, u32),
    /// Where a symbolic link points to.
    pub(super) target: Option<Vec<u8>>,
}

/// A file that is there and was not, or is another one now.
#[derive(Debug, Clone)]
pub(super) struct Appeared {
    pub(super) path: Vec<u8>,
    pub(super) facts: Facts,
    pub(super) file_system: FileSystem,
    /// When anything about it last changed: contents, name, owner, mode.
    pub(super) changed: Timestamp,
}

impl Marks {
    pub(super) fn new(masks: Masks, prefixes: Vec<Prefix>) -> io::Result<Self> {
        Ok(Self {
            masks,
            prefixes,
            directories: HashMap::new(),
            by_path: HashMap::new(),
            mounts: Mounts::open()?,
            crossed: BTreeSet::new(),
            refused: HashMap::new(),
        })
    }

    /// What leads to what.
    pub(super) fn prefixes(&self) -> &[Prefix] {
        &self.prefixes
    }

    /// Asks for what leads to other paths, and for other notifications, from the next [`Self::cover_all`] on.
    pub(super) fn change(&mut self, masks: Masks, prefixes: Vec<Prefix>) {
        (self.masks, self.prefixes) = (masks, prefixes);
    }

    /// Whether a rule can be about a path.
    pub(super) fn wants(&self, path: &[u8]) -> bool {
        self.prefixes.iter().any(|prefix| prefix.covers(path))
    }

    pub(super) fn get(&self, handle: &[u8]) -> Option<&Directory> {
        self.directories.get(handle)
    }

    /// The number of marked directories.
    pub(super) fn len(&self) -> usize {
        self.directories.len()
    }

    /// Directories that could not be marked since this was last asked, and why.
    pub(super) fn take_refused(&mut self) -> HashMap<Vec<u8>, io::Error> {
        std::mem::take(&mut self.refused)
    }

    /// Marks everything anew and tells what has appeared since it was last looked at.
    pub(super) fn cover_all(&mut self, group: &OwnedFd) -> Vec<Appeared> {
        let mut before = std::mem::take(&mut self.directories);
        self.by_path.clear();
        if let Err(error) = self.mounts.read() {
            tracing::warn!("cannot read /proc/self/mountinfo: {error}");
        }
        self.crossed = self.crossed_now();
        self.cover_with(group, b"/", &mut before)
    }

    /// Marks the directory at `path` and those in it as far as rules lead there, and tells what has appeared.
    pub(super) fn cover(&mut self, group: &OwnedFd, path: &[u8]) -> Vec<Appeared> {
        self.cover_with(group, path, &mut HashMap::new())
    }

    /// The mounts have changed. Whether something was mounted, or is no longer, on the way to what rules ask for.
    pub(super) fn mounts_changed(&mut self) -> io::Result<bool> {
        self.mounts.read()?;
        Ok(self.crossed_now() != self.crossed)
    }

    fn crossed_now(&self) -> BTreeSet<Mount> {
        self.mounts.at(|point| self.leads_through(point) || self.wants(point))
    }

    /// The directory `handle` was moved away from `path`, and what is in it with it. Another one may be there already.
    pub(super) fn moved_away(&mut self, path: &[u8], handle: Option<&[u8]>) {
        if handle.is_some_and(|handle| self.by_path.get(path).is_some_and(|found| **found != *handle)) {
            return;
        }
        let below = |found: &[u8]| {
            found.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        };
        let gone: Vec<_> = self.by_path.keys().filter(|found| below(found)).cloned().collect();
        for path in gone {
            self.forget(&path);
        }
    }

    /// A marked directory is no more.
    pub(super) fn deleted(&mut self, handle: &[u8]) {
        let Some(directory) = self.directories.remove(handle) else { return };
        for path in directory.paths {
            if self.by_path.get(&path).is_some_and(|found| **found == *handle) {
                self.by_path.remove(&path);
            }
        }
    }

    /// Remembers what an entry is now, if it still is.
    pub(super) fn note(&mut self, directory: &[u8], name: &[u8], facts: Option<Facts>) {
        let Some(directory) = self.directories.get_mut(directory) else { return };
        match facts {
            Some(facts) => drop(directory.known.insert(name.to_vec(), facts)),
            None => drop(directory.known.remove(name)),
        }
    }

    /// What was known of an entry when it was last looked at.
    pub(super) fn known(&self, directory: &[u8], name: &[u8]) -> Option<Facts> {
        self.directories.get(directory)?.known.get(name).cloned()
    }

    /// Whether a rule can be about a path below a directory.
    pub(super) fn leads_through(&self, directory: &[u8]) -> bool {
        self.prefixes.iter().any(|prefix| prefix.leads_through(directory))
    }

    fn cover_with(
        &mut self,
        group: &OwnedFd,
        top: &[u8],
        before: &mut HashMap<Handle, Directory>,
    ) -> Vec<Appeared> {
        let mut appeared = Vec::new();
        let mut waiting = vec![top.to_vec()];
        while let Some(path) = waiting.pop() {
            if !self.leads_through(&path) {
                continue;
            }
            let listed = self.mark(group, &path, before).and_then(|(directory, handle)| {
                self.list(&directory, &handle, &path, &mut waiting, &mut appeared)
            });
            match listed {
                // It went again, or is no directory: its name in the marked one above is all there is to see.
                Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(error) => {
                    self.refused.insert(path, error.into());
                    // Of all that are left to mark, one stands for the others.
                    if self.directories.len() >= MAX_DIRECTORIES {
                        break;
                    }
                }
            }
        }
        appeared
    }

    fn mark(
        &mut self,
        group: &OwnedFd,
        path: &[u8],
        before: &mut HashMap<Handle, Directory>,
    ) -> Result<(OwnedFd, Handle), Errno> {
        let directory = open_directory(path)?;
        let errno = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        let handle = system::handle(directory.as_fd()).map_err(errno)?;
        if self.directories.len() >= MAX_DIRECTORIES && !self.directories.contains_key(&handle) {
            return Err(Errno::NOSPC);
        }
        let holds = self.prefixes.iter().any(|prefix| prefix.holds(path));
        let mask = if holds { self.masks.files } else { self.masks.way };
        system::mark(group, directory.as_fd(), mask).map_err(errno)?;
        if self.by_path.get(path) != Some(&handle) {
            self.forget(path);
            self.by_path.insert(path.to_vec(), handle.clone());
        }
        let facts = rustix::fs::statx(&directory, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
        let file_system = FileSystem {
            device: Device { major: facts.stx_dev_major, minor: facts.stx_dev_minor },
            kind: self.mounts.file_system(facts.stx_mnt_id),
        };
        let known = self.directories.entry(handle.clone()).or_insert_with(|| Directory {
            known: before.remove(&handle).unwrap_or_default().known,
            ..Directory::default()
        });
        known.file_system = file_system;
        if !known.paths.iter().any(|known| known == path) {
            known.paths.push(path.to_vec());
        }
        Ok((directory, handle))
    }

    /// Looks through a directory that was just marked: what comes later gives a notification.
    fn list(
        &mut self,
        directory: &OwnedFd,
        handle: &[u8],
        path: &[u8],
        waiting: &mut Vec<Vec<u8>>,
        appeared: &mut Vec<Appeared>,
    ) -> Result<(), Errno> {
        let mut found = HashMap::new();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        for entry in Dir::new(rustix::fs::openat(directory, ".", flags, Mode::empty())?)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let below = join(path, name);
            if matches!(entry.file_type(), FileType::Directory | FileType::Unknown) {
                waiting.push(below.clone());
            }
            if entry.file_type() != FileType::Directory
                && self.wants(&below)
                && let Some(facts) = facts_at(directory, name)
                && FileType::from_raw_mode(facts.mode) != FileType::Directory
            {
                found.insert(name.to_vec(), facts);
            }
        }
        let Some(known) = self.directories.get_mut(handle) else { return Ok(()) };
        for (name, facts) in &found {
            if known.known.get(name) != Some(facts) {
                let path = join(path, name);
                appeared.push(Appeared {
                    path,
                    facts: facts.clone(),
                    file_system: known.file_system.clone(),
                    changed: changed_at(directory, name),
                });
            }
        }
        known.known = found;
        Ok(())
    }

    /// Nothing that is marked is at `path` any more.
    fn forget(&mut self, path: &[u8]) {
        let Some(handle) = self.by_path.remove(path) else { return };
        if let Some(directory) = self.directories.get_mut(&handle) {
            directory.paths.retain(|known| known != path);
            if directory.paths.is_empty() {
                self.directories.remove(&handle);
            }
        }
    }
}

/// What an entry of a marked directory is now. If `target` is known and the entry is no longer that file, nothing.
pub(super) fn facts(directory: &[u8], name: &[u8], target: Option<&[u8]>) -> Option<Facts> {
    let directory = open_directory(directory).ok()?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&directory, OsStr::from_bytes(name), flags, Mode::empty()).ok()?;
    if let Some(target) = target
        && system::handle(file.as_fd()).is_ok_and(|handle| *handle != *target)
    {
        return None;
    }
    facts_at(&file, b"")
}

fn facts_at(directory: &OwnedFd, name: &[u8]) -> Option<Facts> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let name = OsStr::from_bytes(name);
    let facts = rustix::fs::statx(directory, name, flags, wanted).ok()?;
    let is_link = FileType::from_raw_mode(facts.stx_mode.into()) == FileType::Symlink;
    let target = is_link.then(|| rustix::fs::readlinkat(directory, name, Vec::new()));
    Some(Facts {
        device: Device { major: facts.stx_dev_major, minor: facts.stx_dev_minor },
        inode: facts.stx_ino,
        mode: facts.stx_mode.into(),
        born: (facts.stx_btime.tv_sec, facts.stx_btime.tv_nsec),
        target: target.and_then(Result::ok).map(CString::into_bytes),
    })
}

/// The latest time there is, if it cannot be known.
fn changed_at(directory: &OwnedFd, name: &[u8]) -> Timestamp {
    let facts = rustix::fs::statx(
        directory,
        OsStr::from_bytes(name),
        AtFlags::SYMLINK_NOFOLLOW,
        StatxFlags::BASIC_STATS,
    );
    let changed = facts.ok().map(|facts| (facts.stx_ctime.tv_sec, facts.stx_ctime.tv_nsec));
    changed
        .and_then(|(seconds, nanoseconds)| Timestamp::new(seconds, nanoseconds.try_into().ok()?).ok())
        .unwrap_or(Timestamp::MAX)
}

/// Opens a directory name by name: its path may be longer than a system call takes, and no part of it is to be a link,
/// which would lead to where the rules' paths do not.
fn open_directory(path: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut directory = rustix::fs::open("/", flags, Mode::empty())?;
    for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
        directory = rustix::fs::openat(&directory, OsStr::from_bytes(name), flags, Mode::empty())?;
    }
    Ok(directory)
}

/// The path of an entry of a directory.
pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let directory = directory.strip_suffix(b"/").unwrap_or(directory);
    [directory, b"/", name].concat()
}
