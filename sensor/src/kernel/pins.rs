//! What stays in the kernel when the daemon goes: links and maps, pinned in a BPF file system.
//!
//! What belongs together is a set, in a directory of its own whose name says what it is: the ABI of its records, how it is
//! attached, and a hash of everything that a daemon must have in common with it to go on with it. A set gets its name when
//! it is complete, so that one that a killed daemon was putting together is not taken for one.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, FlockOperation, accessat, flock, statfs};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::counters::program_id;

/// Magic number of a BPF file system.
const BPF_FS: u64 = 0xcafe_4a11;
/// Names of sets that are not complete begin with it.
const UNFINISHED: &str = "new-";
/// Directory of a set's links.
const LINKS: &str = "links";
/// Directory of the programs that its links tie to functions.
const PROGRAMS: &str = "programs";
/// Directory of a set's maps.
const MAPS: &str = "maps";

/// Why nothing can be pinned.
#[derive(Debug, thiserror::Error)]
pub enum PinsError {
    /// There is no BPF file system.
    #[error("{} is on no BPF file system (`mount -t bpf bpf /sys/fs/bpf`)", .0.display())]
    NoBpfFs(PathBuf),
    /// Another process uses the directory.
    #[error("another process uses {}", .0.display())]
    InUse(PathBuf),
    /// The directory cannot be used.
    #[error("cannot {doing} {}: {error}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The kernel did not take a pin.
    #[error("cannot pin in {}: {reason}", path.display())]
    Pin {
        /// Where.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
}

/// What daemon and programs must have in common for one to go on with the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    abi: u8,
    mode: String,
    hash: String,
}

impl Identity {
    /// `parts`: the programs, and what they were told when they were loaded.
    pub(super) fn new<'p>(
        abi: u8,
        mode: impl fmt::Display,
        parts: impl IntoIterator<Item = &'p [u8]>,
    ) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_ne_bytes());
            hash.update(part);
        }
        let hash = format!("{:x}", hash.finalize())[..16].to_owned();
        Self { abi, mode: mode.to_string(), hash }
    }
}

/// The name of its set.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { abi, mode, hash } = self;
        write!(f, "abi{abi}-{mode}-{hash}")
    }
}

/// The directory of all sets, as long as it is held.
#[derive(Debug)]
pub(super) struct Pins {
    directory: PathBuf,
    /// Two daemons would take each other's records.
    _lock: File,
}

/// Links and maps that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) path: PathBuf,
}

/// A program that is pinned.
pub(super) struct Program {
    path: PathBuf,
    pub(super) descriptor: OwnedFd,
}

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Links, with which their programs go.
    pub links: usize,
    /// Maps.
    pub maps: usize,
}

impl Pins {
    /// Makes the directory if there is none. Its parent must be there, on a BPF file system.
    pub(super) fn open(directory: &Path) -> Result<Self, PinsError> {
        Self::can_be(directory)?;
        make(directory)?;
        Self::lock(directory)
    }

    /// Whether the directory is there or can be made, as far as can be told without making it.
    pub(super) fn can_be(directory: &Path) -> Result<(), PinsError> {
        let parent = directory.parent().unwrap_or(directory);
        let is_bpf_fs = |path: &Path| statfs(path).is_ok_and(|status| status.f_type as u64 == BPF_FS);
        let place = if directory.exists() { directory } else { parent };
        if !is_bpf_fs(place) {
            return Err(PinsError::NoBpfFs(directory.to_owned()));
        }
        accessat(CWD, place, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
            .map_err(|error| io_error("write to", place)(error.into()))
    }

    /// As [`Pins::open`], if the directory is there.
    pub(super) fn find(directory: &Path) -> Result<Option<Self>, PinsError> {
        if directory.is_dir() { Self::lock(directory).map(Some) } else { Ok(None) }
    }

    fn lock(directory: &Path) -> Result<Self, PinsError> {
        let lock = File::open(directory).map_err(io_error("open", directory))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { directory: directory.to_owned(), _lock: lock }),
            Err(Errno::WOULDBLOCK) => Err(PinsError::InUse(directory.to_owned())),
            Err(error) => Err(io_error("lock", directory)(error.into())),
        }
    }

    /// The set of this identity, if there is one.
    pub(super) fn get(&self, identity: &Identity) -> Option<Set> {
        let path = self.directory.join(identity.to_string());
        path.is_dir().then_some(Set { path })
    }

    /// All sets, those that are not complete too.
    pub(super) fn sets(&self) -> Result<Vec<Set>, PinsError> {
        let names = names(&self.directory)?;
        Ok(names.into_iter().map(|name| Set { path: self.directory.join(name) }).collect())
    }

    /// A set to put together.
    pub(super) fn begin(&self) -> Result<Set, PinsError> {
        let set = Set { path: self.directory.join(format!("{UNFINISHED}{}", std::process::id())) };
        set.remove()?;
        for path in [&set.path, &set.links(), &set.programs_directory(), &set.maps()] {
            make(path)?;
        }
        Ok(set)
    }

    /// The set is complete.
    pub(super) fn complete(&self, set: &Set, identity: &Identity) -> Result<Set, PinsError> {
        let path = self.directory.join(identity.to_string());
        fs::rename(&set.path, &path).map_err(io_error("rename", &set.path))?;
        Ok(Set { path })
    }

    /// Removes the directory, which must be empty.
    pub(super) fn remove(self) -> Result<(), PinsError> {
        fs::remove_dir(&self.directory).map_err(io_error("remove", &self.directory))
    }
}

impl Set {
    fn links(&self) -> PathBuf {
        self.path.join(LINKS)
    }

    fn programs_directory(&self) -> PathBuf {
        self.path.join(PROGRAMS)
    }

    fn maps(&self) -> PathBuf {
        self.path.join(MAPS)
    }

    /// Where the link of a program is.
    pub(super) fn link(&self, program: &str) -> PathBuf {
        self.links().join(program)
    }

    /// Where a program is.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.programs_directory().join(name)
    }

    /// Where a map is. The file system keeps names with dots for itself.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name.replace('.', "-"))
    }

    /// The names of the programs whose links there are.
    pub(super) fn link_names(&self) -> Result<Vec<String>, PinsError> {
        names(&self.links())
    }

    /// Its programs, by their numbers. Asking the kernel for a program by its number, and which maps it uses, takes
    /// `CAP_SYS_ADMIN`, which the daemon need not have.
    pub(super) fn programs(&self) -> Result<BTreeMap<u32, Program>, PinsError> {
        let mut programs = BTreeMap::new();
        for name in names(&self.programs_directory())? {
            let path = self.program(&name);
            let descriptor = get_object(&path).map_err(io_error("open", &path))?;
            if let Some(id) = program_id(&descriptor) {
                programs.insert(id, Program { path, descriptor });
            }
        }
        Ok(programs)
    }

    /// Removes a link: unless a process has it, its program no longer runs.
    pub(super) fn remove_link(&self, name: &str) -> Result<(), PinsError> {
        remove(&self.link(name))
    }

    /// Removes a link and the programs that it can have tied to its function, as far as they are there.
    pub(super) fn remove_program(&self, link: &str, programs: &[String]) -> Result<(), PinsError> {
        let paths = programs.iter().map(|program| self.program(program));
        let mut there = std::iter::once(self.link(link)).chain(paths).filter(|path| path.exists());
        there.try_for_each(|path| remove(&path))
    }

    /// The names of its maps.
    pub(super) fn map_names(&self) -> Result<Vec<String>, PinsError> {
        Ok(names(&self.maps())?.into_iter().map(|name| name.replace('-', ".")).collect())
    }

    /// The ABI of its records, if it is complete.
    pub(super) fn abi(&self) -> Option<u8> {
        let name = self.path.file_name()?.to_str()?;
        name.strip_prefix("abi")?.split_once('-')?.0.parse().ok()
    }

    /// Removes its links: unless a process has them, their programs no longer run.
    pub(super) fn remove_links(&self) -> Result<usize, PinsError> {
        remove_directory(&self.links())
    }

    /// Gives it another name, under which no daemon goes on with it.
    pub(super) fn set_aside(&self) -> Result<(), PinsError> {
        let mut name = self.path.as_os_str().to_owned();
        name.push("-old");
        let aside = Self { path: name.into() };
        aside.remove()?;
        fs::rename(&self.path, &aside.path).map_err(io_error("rename", &self.path))
    }

    /// Removes all of it.
    pub(super) fn remove(&self) -> Result<Removed, PinsError> {
        // First what fills the maps.
        let links = self.remove_links()?;
        remove_directory(&self.programs_directory())?;
        let maps = remove_directory(&self.maps())?;
        remove_directory(&self.path)?;
        Ok(Removed { links, maps })
    }
}

impl Program {
    /// Removes it.
    pub(super) fn remove(self) -> Result<(), PinsError> {
        remove(&self.path)
    }
}

fn remove(path: &Path) -> Result<(), PinsError> {
    fs::remove_file(path).map_err(io_error("remove", path))
}

/// Removes a directory, if there is one, and the files in it; gives how many those were.
fn remove_directory(path: &Path) -> Result<usize, PinsError> {
    let names = names(path)?;
    for name in &names {
        remove(&path.join(name))?;
    }
    match fs::remove_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path)(error)),
        _ => Ok(names.len()),
    }
}

/// The names in a directory, none if there is no such directory.
fn names(directory: &Path) -> Result<Vec<String>, PinsError> {
    let failed = io_error("read", directory);
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect::<io::Result<_>>().map_err(failed)
}

/// Opens what is pinned. Aya does it too, and then asks for what takes `CAP_SYS_ADMIN`.
fn get_object(path: &Path) -> io::Result<OwnedFd> {
    /// `BPF_OBJ_GET` of `enum bpf_cmd`, and what it takes of `union bpf_attr`.
    const OBJ_GET: libc::c_int = 7;
    #[repr(C)]
    struct Attributes {
        path: *const libc::c_char,
        descriptor: u32,
        flags: u32,
    }
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attributes = Attributes { path: path.as_ptr(), descriptor: 0, flags: 0 };
    // SAFETY: the attributes, and the path that they point to, are read during the call only.
    let descriptor =
        unsafe { libc::syscall(libc::SYS_bpf, OBJ_GET, &raw const attributes, size_of::<Attributes>()) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor, which nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor as i32) })
}

fn make(directory: &Path) -> Result<(), PinsError> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(io_error("make", directory)(error)),
        _ => Ok(()),
    }
}

fn io_error(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> PinsError {
    let path = path.to_owned();
    move |error| PinsError::Io { doing, path: path.clone(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_has_another_name() {
        let identity =
            |abi, mode: &str, parts: &[&[u8]]| Identity::new(abi, mode, parts.iter().copied()).to_string();
        let name = identity(1, "fentry", &[b"programs", b"offsets"]);
        assert!(name.starts_with("abi1-fentry-") && !name.contains('.'), "{name}");
        assert_eq!(name, identity(1, "fentry", &[b"programs", b"offsets"]));
        for other in [
            identity(2, "fentry", &[b"programs", b"offsets"]),
            identity(1, "kprobe", &[b"programs", b"offsets"]),
            identity(1, "fentry", &[b"program", b"soffsets"]),
        ] {
            assert_ne!(name, other);
        }
        let set = |name: &str| Set { path: Path::new("/sys/fs/bpf/ldsentry").join(name) };
        assert_eq!(set(&name).abi(), Some(1));
        assert_eq!((set("new-17").abi(), set("abi-x").abi(), set("abi300-x").abi()), (None, None, None));
    }

    #[test]
    fn another_file_system_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let error = Pins::open(&directory.path().join("ldsentry")).unwrap_err().to_string();
        assert!(error.contains("is on no BPF file system"), "{error}");
        assert!(!directory.path().join("ldsentry").exists());
    }

    /// In a directory of any file system: pins are files.
    #[test]
    fn a_set_is_removed_with_all_that_is_in_it_and_counted() {
        let directory = tempfile::tempdir().unwrap();
        let pins = Pins::find(directory.path()).unwrap().unwrap();
        assert!(matches!(Pins::find(directory.path()), Err(PinsError::InUse(_))), "two at once");
        let identity = Identity::new(1, "fentry", []);
        assert_eq!(pins.get(&identity), None);
        let set = pins.begin().unwrap();
        for path in [set.link("inode_create"), set.map("EVENTS"), set.map(".bss")] {
            fs::write(path, "").unwrap();
        }
        let set = pins.complete(&set, &identity).unwrap();
        assert_eq!(pins.get(&identity), Some(set.clone()));
        assert_eq!(set.link_names().unwrap(), ["inode_create"]);
        let mut maps = set.map_names().unwrap();
        maps.sort();
        assert_eq!(maps, [".bss", "EVENTS"]);
        pins.begin().unwrap();
        assert_eq!(pins.sets().unwrap().len(), 2);
        assert_eq!(set.remove().unwrap(), Removed { links: 1, maps: 2 });
        assert_eq!(set.remove().unwrap(), Removed::default(), "it is gone");
        for set in pins.sets().unwrap() {
            set.remove().unwrap();
        }
        pins.remove().unwrap();
        assert!(!directory.path().exists());
        assert!(Pins::find(directory.path()).unwrap().is_none());
    }
}
