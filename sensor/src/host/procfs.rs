//! The running system, through procfs and a few files under /etc.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sensor_common::record::OVERLAY_MAGIC;

use super::clock::BootClock;
use super::containers::Containers;
use super::names::NameFile;
use super::{Host, ProcessStat};
use crate::event;
use crate::links::{self, Link};

/// What the kernel calls the namespace in which all processes are.
const FIRST_PID_NAMESPACE: u64 = 0xefff_fffc;
const PROC: &str = "/proc";

/// The facts of the host that the daemon runs on.
#[derive(Debug)]
pub struct Procfs {
    /// The process file system.
    proc: PathBuf,
    /// The host's root directory, if it is not the one of the daemon. It is kept open: in its sandbox, the daemon itself
    /// cannot get there through /proc.
    _root: Option<OwnedFd>,
    host: Arc<event::Host>,
    /// When what is asked about happened, boot clock; the present, if nobody said.
    asked_ns: Option<u64>,
    users: NameFile,
    groups: NameFile,
    clock: BootClock,
    containers: Containers,
    ticks_per_second: u64,
    mount_namespace: Option<u32>,
}

impl Procfs {
    /// The host that is watched. In a container that is not the one whose files are at `/`, but the first process, if it can be
    /// seen, has the host's.
    pub fn of_host() -> Self {
        let facts = |path: &str| fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino())).ok();
        let first_namespace =
            facts("/proc/self/ns/pid").is_some_and(|(_, inode)| inode == FIRST_PID_NAMESPACE);
        let first = links::open(Path::new(PROC), 1, Link::Root).ok().filter(|_| first_namespace);
        let is_other = |root: &OwnedFd| {
            rustix::fs::fstat(root).is_ok_and(|found| facts("/") != Some((found.st_dev, found.st_ino)))
        };
        match first.filter(is_other) {
            // All processes are to be seen in the daemon's own /proc too.
            Some(root) => {
                let host = Self::with(&links::path_of(&root), PROC.into());
                Self { _root: Some(root), ..host }
            }
            None => Self::new(Path::new("/")),
        }
    }

    /// The host whose root directory is `root`: `/`, or where a container has it mounted.
    pub fn new(root: &Path) -> Self {
        Self::with(root, root.join("proc"))
    }

    fn with(root: &Path, proc: PathBuf) -> Self {
        Self {
            host: Arc::new(describe(root)),
            asked_ns: None,
            users: NameFile::new(root.join("etc/passwd")),
            groups: NameFile::new(root.join("etc/group")),
            clock: BootClock::default(),
            containers: Containers::new(root),
            ticks_per_second: rustix::param::clock_ticks_per_second(),
            mount_namespace: links::open(&proc, 1, Link::MountNamespace)
                .and_then(|namespace| File::from(namespace).metadata())
                .ok()
                .map(|found| found.ino() as u32),
            proc,
            _root: None,
        }
    }

    fn process_file(&self, pid: u32, name: &str) -> PathBuf {
        self.proc.join(format!("{pid}/{name}"))
    }
}

impl Host for Procfs {
    fn describe(&self) -> Arc<event::Host> {
        Arc::clone(&self.host)
    }

    fn mount_namespace(&self) -> Option<u32> {
        self.mount_namespace
    }

    fn container_names(&mut self, container: &event::Container) -> event::ContainerNames {
        self.containers.names(container)
    }

    fn ask_about(&mut self, boot_ns: Option<u64>) {
        self.asked_ns = boot_ns;
    }

    fn user(&mut self, uid: u32) -> event::User {
        event::User { id: uid, name: self.users.get(uid, self.asked_ns) }
    }

    fn group(&mut self, gid: u32) -> event::Group {
        event::Group { id: gid, name: self.groups.get(gid, self.asked_ns) }
    }

    fn wall_clock(&mut self, boot_ns: u64) -> jiff::Timestamp {
        self.clock.wall_clock(boot_ns)
    }

    fn process(&mut self, pid: u32) -> Option<ProcessStat> {
        ProcessStat::parse(&fs::read(self.process_file(pid, "stat")).ok()?, self.ticks_per_second)
    }

    fn command_line(&mut self, pid: u32, limit: usize) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(self.process_file(pid, "cmdline")).ok()?;
        file.take(limit as u64).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    fn executable(&mut self, pid: u32) -> event::Executable {
        let proc = &self.proc;
        let target = links::target(proc, pid, Link::Executable);
        // The link leads to the file itself, also where its path leads elsewhere by now.
        let file = links::open(proc, pid, Link::Executable).and_then(|file| {
            let file = File::from(file);
            // Nobody tells user space in which layer.
            let is_on_overlay =
                rustix::fs::fstatfs(&file).is_ok_and(|found| found.f_type as u64 == OVERLAY_MAGIC);
            Ok((file.metadata()?, is_on_overlay))
        });
        match (target, file) {
            (Ok(target), Ok((metadata, is_on_overlay))) => {
                let is_file = |path: &[u8]| {
                    links::open(proc, pid, Link::Root)
                        .is_ok_and(|root| is_file(&links::path_of(&root), path, &metadata))
                };
                event::Executable::File(executable_file(target, &metadata, is_on_overlay, is_file))
            }
            _ if self.process(pid).is_some_and(|process| process.kernel_thread) => {
                event::Executable::KernelThread
            }
            _ => event::Executable::Unknown,
        }
    }
}

/// What `target`, the text of `/proc/PID/exe`, and the file behind it tell. `is_file` is whether it is at a path.
fn executable_file(
    target: PathBuf,
    metadata: &Metadata,
    is_on_overlay: bool,
    is_file: impl FnOnce(&[u8]) -> bool,
) -> event::ExecutableFile {
    const DELETED: &[u8] = b" (deleted)";
    let mut path = target.into_os_string().into_vec();
    let mut deleted = false;
    if path.ends_with(DELETED) && !is_file(&path) {
        path.truncate(path.len() - DELETED.len());
        deleted = true;
    }
    event::ExecutableFile {
        memfd: deleted && metadata.nlink() == 0 && path.starts_with(b"/memfd:"),
        deleted,
        path: process_view(path),
        uid: metadata.uid(),
        gid: metadata.gid(),
        mode: metadata.mode(),
        links: u32::try_from(metadata.nlink()).unwrap_or(u32::MAX),
        device: event::Device {
            major: rustix::fs::major(metadata.dev()),
            minor: rustix::fs::minor(metadata.dev()),
        },
        inode: metadata.ino(),
        layer: is_on_overlay.then_some(event::Layer::Unknown),
    }
}

/// Whether `path` under `root` is this very file. A file can be called `a (deleted)`.
fn is_file(root: &Path, path: &[u8], file: &Metadata) -> bool {
    let relative = path.strip_prefix(b"/").unwrap_or(path);
    let found = fs::symlink_metadata(root.join(OsString::from_vec(relative.to_vec())));
    found.is_ok_and(|found| (found.dev(), found.ino()) == (file.dev(), file.ino()))
}

fn process_view(path: Vec<u8>) -> event::Path {
    let truncated = !path.starts_with(b"/");
    let view = event::View::Process;
    match String::from_utf8(path) {
        Ok(text) => event::Path { text, raw: None, view, truncated },
        Err(error) => {
            let raw = error.into_bytes();
            event::Path { text: String::from_utf8_lossy(&raw).into_owned(), raw: Some(raw), view, truncated }
        }
    }
}

fn describe(root: &Path) -> event::Host {
    let uname = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let read = |path: &str| {
        let bytes = fs::read(root.join(path)).ok()?;
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        (!text.is_empty() && text != "uninitialized").then_some(text)
    };
    // A container has a name of its own.
    let hostname = Some(root).filter(|root| *root != Path::new("/")).and_then(|_| read("etc/hostname"));
    let hostname = hostname.unwrap_or_else(|| text(uname.nodename()));
    // The DMI id and the name stand in on hosts that were never given a machine id.
    let ids = ["etc/machine-id", "var/lib/dbus/machine-id", "sys/class/dmi/id/product_uuid"];
    let os = ["etc/os-release", "usr/lib/os-release"].into_iter().find_map(read).unwrap_or_default();
    let os = |key| os_release_value(&os, key);
    event::Host {
        id: ids.into_iter().find_map(read).unwrap_or_else(|| hostname.clone()),
        boot_id: read("proc/sys/kernel/random/boot_id").unwrap_or_default(),
        architecture: text(uname.machine()),
        kernel: format!("{} {}", text(uname.release()), text(uname.version())),
        hostname,
        os_platform: os("ID"),
        os_family: os("ID_LIKE")
            .and_then(|like| like.split(' ').next().map(str::to_owned))
            .or_else(|| os("ID")),
        os_name: os("NAME"),
        os_version: os("VERSION_ID"),
        os_full: os("PRETTY_NAME"),
    }
}

/// The value of `key` in the text of os-release(5), a file of shell assignments.
fn os_release_value(text: &str, key: &str) -> Option<String> {
    let assigned = |line: &str| line.trim().strip_prefix(key)?.strip_prefix('=').map(str::to_owned);
    let value = text.lines().filter_map(assigned).next_back()?;
    let single = value.strip_prefix('\'').and_then(|value| value.strip_suffix('\''));
    let value = match (single, value.strip_prefix('"').and_then(|value| value.strip_suffix('"'))) {
        (Some(literal), _) => literal.to_owned(),
        (None, Some(quoted)) => unescape(quoted),
        (None, None) => unescape(&value),
    };
    (!value.is_empty()).then_some(value)
}

fn unescape(quoted: &str) -> String {
    let mut characters = quoted.chars();
    std::iter::from_fn(|| match characters.next()? {
        '\\' => characters.next(),
        other => Some(other),
    })
    .collect()
}

#[cfg(test)]
mod tests;
