//! What happened, as `enrich` hands it on: owned, complete, free of kernel types and of ECS.

use std::fmt;
use std::sync::Arc;

/// Name of the file with which the sensor tests itself. What else it does is of no interest to it.
pub const SELF_TEST: &str = "self-test";

/// One directory entry that came to exist, changed or went.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The kernel's own identity of the event.
    pub id: EventId,
    /// Wall-clock time of the hook, nanosecond precision.
    pub time: jiff::Timestamp,
    /// What happened to the entry.
    pub action: Action,
    /// Whether the operation succeeded.
    pub outcome: Outcome,
    /// How it was learned of.
    pub origin: Origin,
    /// The entry.
    pub file: File,
    /// Who did it.
    pub process: Process,
    /// The process's ancestors, the parent first.
    pub ancestors: Vec<Ancestor>,
    /// The host it happened on.
    pub host: Arc<Host>,
}

/// Identity of an event: unique for a boot of a host, whatever happens to the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId {
    /// Nanoseconds since boot, suspend included.
    pub boot_ns: u64,
    /// The CPU that ran the hook.
    pub cpu: u32,
    /// That CPU's own count of events since the programs were loaded.
    pub sequence: u64,
    /// 0, or 1 for the second event of one operation (`RENAME_EXCHANGE` gives two), or from 2 on for the files of a directory
    /// that was renamed.
    pub part: u16,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:x}-{:x}", self.boot_ns, self.cpu, self.sequence)?;
        if self.part == 0 { Ok(()) } else { write!(f, "-{}", self.part) }
    }
}

/// `event.action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// A file came to exist.
    Creation,
    /// A file got a new path.
    Rename,
    /// A file that exists was opened for writing, or truncated.
    Modification,
    /// A file's name went.
    Deletion,
    /// Something was mounted over what was at a path, or what was mounted there went.
    Mount,
}

/// `event.outcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The kernel did it.
    Success,
    /// The kernel refused or failed, or an open with `O_CREAT` found the file there.
    Failure,
    /// It cannot be known; rules treat it as done.
    Unknown,
}

/// How an event was learned of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A hook in the kernel saw the operation.
    Hook,
    /// fanotify told of it, after it was done.
    Notification,
    /// A directory above it was renamed.
    DirectoryRename,
    /// A symbolic link above it was made, or renamed.
    DirectoryLink,
    /// The file was found by looking: its own notification was lost, or its directory was not yet watched.
    Rescan,
}

/// The entry that an event is about.
#[derive(Debug, Clone, PartialEq)]
pub struct File {
    /// The true paths of the entry, never empty; the one that the process sees comes first.
    pub paths: Vec<Path>,
    /// Renames: where the file was before, in the same order of views; else empty.
    pub original_paths: Vec<Path>,
    /// Permission bits and type (`st_mode`).
    pub mode: Option<u32>,
    /// Device number of the file system.
    pub device: Device,
    /// Inode number, where the kernel had one when it was asked.
    pub inode: Option<u64>,
    /// Name of the file system's type (`ext4`, `overlay`).
    pub file_system: Option<String>,
    /// Symbolic links: where it points to, as it was given.
    pub target: Option<Text>,
    /// Hard links: a path of the file that got another name.
    pub linked: Option<Path>,
    /// Mounts: what was mounted.
    pub mount: Option<Mount>,
}

/// What was done to the mounts at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The kind of operation.
    pub operation: MountOperation,
    /// What is there from now on: as `mount` was told, or where it was before.
    pub source: Option<Text>,
    /// Its file system's type.
    pub file_system: Option<String>,
}

/// A kind of operation on mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MountOperation {
    /// A file system was mounted.
    Mount,
    /// A directory or file was put in a second place.
    Bind,
    /// A mount was put there, a new one or one that was elsewhere.
    Move,
    /// What was mounted there is gone.
    Unmount,
    /// Another root took the place of the namespace's.
    PivotRoot,
}

/// A device number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[expect(missing_docs, reason = "the two halves of a dev_t")]
pub struct Device {
    pub major: u32,
    pub minor: u32,
}

/// A path of the entry in one view of the mount tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// The path as text: bytes that are not UTF-8 are U+FFFD here.
    pub text: String,
    /// The bytes, if they are not UTF-8.
    pub raw: Option<Vec<u8>>,
    /// Whose view this is.
    pub view: View,
    /// The beginning is missing: the walk to the root did not end, and `text` is only the path's tail (it starts without `/`).
    pub truncated: bool,
}

/// What somebody named so; the kernel asks for no encoding.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text {
    /// As text: bytes that are not UTF-8 are U+FFFD here.
    pub text: String,
    /// The bytes, if they are not UTF-8.
    pub raw: Option<Vec<u8>>,
}

impl From<&[u8]> for Text {
    fn from(bytes: &[u8]) -> Self {
        match str::from_utf8(bytes) {
            Ok(text) => Self { text: text.to_owned(), raw: None },
            Err(_) => Self { text: String::from_utf8_lossy(bytes).into_owned(), raw: Some(bytes.to_vec()) },
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), raw: None }
    }
}

/// Whose view of the mount tree a path is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum View {
    /// From the root directory of the process, in its mount namespace.
    Process,
    /// From the root of the host's mount namespace.
    Host,
    /// In some other mount namespace, a container's that the process reached into.
    Other,
}

/// A process, as it was when the event happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Process {
    /// Process id (the kernel's tgid) in the host's pid namespace; 0 if nobody knows who it was.
    pub pid: u32,
    /// Thread id; 0 if it is not known.
    pub tid: u32,
    /// Start of the process, nanoseconds since boot: with the pid, its identity. 0 if it is not known.
    pub start_boot_ns: u64,
    /// Start of the process, wall clock.
    pub start: Option<jiff::Timestamp>,
    /// The name that the thread gave itself (`comm`); says nothing about the file that runs.
    pub thread_name: Text,
    /// The file that runs.
    pub executable: Executable,
    /// The arguments, `argv[0]` first; empty if unknown.
    pub args: Vec<String>,
    /// Their bytes as they were captured, each argument ended by NUL, if they are not UTF-8.
    pub raw_command_line: Option<Vec<u8>>,
    /// There were more arguments than were captured.
    pub args_truncated: bool,
    /// Effective user, if it is known.
    pub user: Option<User>,
    /// Effective group, if it is known.
    pub group: Option<Group>,
    /// The user that logged in (`loginuid`), unless nobody did.
    pub login_user: Option<User>,
    /// Audit session, unless there is none.
    pub session_id: Option<u32>,
    /// Effective capabilities, a bit each.
    pub capabilities: u64,
    /// cgroup (v2) id; 0 if it is not known, as for the namespaces.
    pub cgroup_id: u64,
    /// Path of the cgroup by which the container is known, else of the one of version 2.
    pub cgroup: Option<String>,
    /// The container that it is in, as far as its cgroup tells.
    pub container: Option<Container>,
    /// Inode number of the mount namespace.
    pub mount_namespace: u32,
    /// Whether that is the host's, if it is known.
    pub in_host_mount_namespace: Option<bool>,
    /// Inode number of the pid namespace.
    pub pid_namespace: u32,
}

/// A container, as the cgroup of a process names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// What runs it, if the name tells.
    pub runtime: Option<Runtime>,
    /// The uid of its pod in Kubernetes.
    pub pod_uid: Option<String>,
    /// What the host's files call it.
    pub names: ContainerNames,
}

/// What a container and its pod are called, as far as the host's files tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerNames {
    /// The container.
    pub container: Option<String>,
    /// Its image.
    pub image: Option<String>,
    /// The namespace of its pod.
    pub namespace: Option<String>,
    /// Its pod.
    pub pod: Option<String>,
}

/// What runs a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// Docker
    Docker,
    /// containerd: for Kubernetes, nerdctl or by itself
    Containerd,
    /// CRI-O
    CriO,
    /// Podman
    Podman,
}

/// The file that a process runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Executable {
    /// A file.
    File(ExecutableFile),
    /// None: a kernel thread.
    KernelThread,
    /// There is one, but it could not be learned.
    Unknown,
}

/// What is known about the file that a process runs.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecutableFile {
    /// Its path in the view of the process.
    pub path: Path,
    /// It has been unlinked.
    pub deleted: bool,
    /// It never was in a directory (`memfd_create`).
    pub memfd: bool,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// `st_mode`.
    pub mode: u32,
    /// Hard links.
    pub links: u32,
    /// Device number.
    pub device: Device,
    /// Inode number.
    pub inode: u64,
    /// Where it is in an overlay, if it is on one.
    pub layer: Option<Layer>,
}

/// A layer of an overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// One that is not written to: an image's own.
    Lower,
    /// The one that is written to.
    Upper,
    /// One of the two.
    Unknown,
}

/// A parent, grandparent, and so on.
#[derive(Debug, Clone, PartialEq)]
pub struct Ancestor {
    /// Process id.
    pub pid: u32,
    /// Start, nanoseconds since boot.
    pub start_boot_ns: u64,
    /// The name that it gave itself.
    pub thread_name: Text,
    /// The file that it runs.
    pub executable: Executable,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User id in the initial user namespace.
    pub id: u32,
    /// Name, if the host's passwd file has one.
    pub name: Option<String>,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Group id in the initial user namespace.
    pub id: u32,
    /// Name, if the host's group file has one.
    pub name: Option<String>,
}

/// The host, as ECS `host.*` describes it. Read once at start.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Host {
    /// `host.id`: the machine id.
    pub id: String,
    /// The kernel's boot id.
    pub boot_id: String,
    /// `host.hostname`.
    pub hostname: String,
    /// `host.architecture`, as `uname -m` has it.
    pub architecture: String,
    /// `host.os.kernel`: release and build, as `uname -rv` has them.
    pub kernel: String,
    /// `host.os.platform`: `ID` of os-release (`debian`).
    pub os_platform: Option<String>,
    /// `host.os.family` (`debian`): the first of `ID_LIKE`, else `ID`.
    pub os_family: Option<String>,
    /// `host.os.name` (`Debian GNU/Linux`).
    pub os_name: Option<String>,
    /// `host.os.version`: `VERSION_ID`.
    pub os_version: Option<String>,
    /// `host.os.full`: `PRETTY_NAME`.
    pub os_full: Option<String>,
}
