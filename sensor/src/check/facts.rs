//! What this host is, as far as it decides whether it can be watched. Everything is a file of procfs, sysfs or securityfs.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use crate::kernel::hooked_functions;
use crate::sandbox;

/// The oldest kernel that ldsentry is for: the first long-term one with a ring buffer (5.8) and these capabilities.
const OLDEST: (u32, u32) = (5, 10);

const CAP_SYS_PTRACE: u32 = 19;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_SYS_RESOURCE: u32 = 24;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// Facts about a host.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, and no state")]
pub struct Facts {
    /// The kernel's release, as `uname -r` prints it.
    pub release: String,
    /// Effective user id of this process.
    pub uid: u32,
    /// Effective capabilities of this process, a bit for each.
    pub capabilities: u64,
    /// Whether the process is in the first user namespace: elsewhere its capabilities do not count for the kernel.
    pub initial_user_namespace: bool,
    /// Whether a seccomp filter is on this process, as container runtimes put one.
    pub seccomp: bool,
    /// The kernel's lockdown mode.
    pub lockdown: Lockdown,
    /// The security modules in force; `None` if that cannot be known.
    pub security_modules: Option<Vec<String>>,
    /// Whether the kernel has kprobes.
    pub kprobes: bool,
    /// Those of the hooked functions that the kernel does not have; none if it does not list its functions.
    pub missing_functions: Vec<&'static str>,
    /// `kernel.perf_event_paranoid`. Above 2 some distributions' kernels, Debian's among them, ask for `CAP_SYS_ADMIN`.
    pub perf_event_paranoid: i32,
    /// Whether the kernel's function tracer, which calls the programs, has been switched off.
    pub tracer_off: bool,
    /// Version of Landlock's interface, where the kernel has it.
    pub landlock: Option<i32>,
    /// Whether the kernel filters system calls.
    pub system_call_filters: bool,
    /// Whether `SELinux` enforces its policy.
    pub selinux_enforces: bool,
    /// The `AppArmor` profile that is enforced on this process.
    pub apparmor_profile: Option<String>,
    /// How many bytes this process may lock in memory, if that is limited.
    pub memlock: Option<u64>,
    /// The BTF to use.
    pub btf: Btf,
}

/// Where BTF comes from.
#[derive(Debug, Clone)]
pub enum Btf {
    /// The kernel has its own.
    Kernel,
    /// A file was named.
    Given(PathBuf),
}

/// How far the kernel is locked down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lockdown {
    /// Not known: securityfs cannot be read.
    Unknown,
    /// Not at all.
    None,
    /// Nothing that changes the kernel.
    Integrity,
    /// Nor anything that reads its memory.
    Confidentiality,
}

impl Facts {
    /// Reads them, below `root` (`/` except in tests).
    pub fn read(root: &Path, btf: Option<&Path>) -> Self {
        let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        let status = text("proc/self/status");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_default().split_whitespace()
        };
        let security = SecurityFs::open(root);
        Self {
            release: text("proc/sys/kernel/osrelease").trim().to_owned(),
            // Real, effective, saved, that of the file system.
            uid: field("Uid").nth(1).and_then(|uid| uid.parse().ok()).unwrap_or(u32::MAX),
            capabilities: field("CapEff").next().map_or(0, |set| u64::from_str_radix(set, 16).unwrap_or(0)),
            // Elsewhere some ids are missing. Without user namespaces there is no such file.
            initial_user_namespace: matches!(
                text("proc/self/uid_map").split_whitespace().collect::<Vec<_>>()[..],
                [] | ["0", "0", "4294967295"]
            ),
            seccomp: field("Seccomp").next() == Some("2"),
            lockdown: security.as_ref().map_or(Lockdown::Unknown, SecurityFs::lockdown),
            security_modules: security.as_ref().and_then(SecurityFs::modules),
            kprobes: root.join("sys/bus/event_source/devices/kprobe").exists(),
            missing_functions: missing_functions(&root.join("proc/kallsyms")),
            perf_event_paranoid: text("proc/sys/kernel/perf_event_paranoid").trim().parse().unwrap_or(0),
            landlock: sandbox::landlock_version(),
            system_call_filters: root.join("proc/sys/kernel/seccomp/actions_avail").exists(),
            selinux_enforces: text("sys/fs/selinux/enforce").trim() == "1",
            apparmor_profile: apparmor_profile(&text("proc/self/attr/current")),
            memlock: memlock(&text("proc/self/limits")),
            tracer_off: text("proc/sys/kernel/ftrace_enabled").trim() == "0",
            btf: btf.map_or(Btf::Kernel, |path| Btf::Given(path.to_owned())),
        }
    }

    /// Whether the kernel is older than ldsentry is for. One that does not say its version is not.
    pub(super) fn is_too_old(&self) -> bool {
        self.is_older_than(OLDEST)
    }

    /// What is needed to load and attach tracing programs, and this process has not.
    pub(super) fn missing_capabilities(&self) -> Vec<&'static str> {
        if self.has(CAP_SYS_ADMIN) {
            return Vec::new();
        }
        let needed = [("CAP_BPF", CAP_BPF), ("CAP_PERFMON", CAP_PERFMON)];
        needed.into_iter().filter(|(_, bit)| !self.has(*bit)).map(|(name, _)| name).collect()
    }

    /// Whether kprobes are refused for want of `CAP_SYS_ADMIN`.
    pub(super) fn needs_admin_for_perf(&self) -> bool {
        self.perf_event_paranoid > 2 && !self.has(CAP_SYS_ADMIN)
    }

    /// Whether fanotify is for this process.
    pub(super) fn may_watch_directories(&self) -> bool {
        self.initial_user_namespace && self.has(CAP_SYS_ADMIN)
    }

    /// Whether the process may look at the first process, which is how the host's mount namespace is known.
    pub(super) fn sees_others(&self) -> bool {
        self.has(CAP_SYS_PTRACE)
    }

    /// Whether the kernel counts maps as locked memory (before 5.11), and this process may not lock enough.
    pub(super) fn lacks_locked_memory(&self) -> bool {
        /// Rings, maps and programs, generously.
        const NEEDED: u64 = 64 << 20;
        self.is_older_than((5, 11))
            && self.memlock.is_some_and(|limit| limit < NEEDED)
            && !self.has(CAP_SYS_RESOURCE)
    }

    fn is_older_than(&self, version: (u32, u32)) -> bool {
        let mut numbers = self.release.split(|character: char| !character.is_ascii_digit());
        let mut number = || numbers.next().and_then(|number| number.parse::<u32>().ok());
        number().zip(number()).is_some_and(|own| own < version)
    }

    fn has(&self, capability: u32) -> bool {
        self.capabilities >> capability & 1 != 0
    }
}

/// `PROFILE (enforce)`: any other mode refuses nothing. With `SELinux` the same file has another form.
fn apparmor_profile(text: &str) -> Option<String> {
    text.trim().strip_suffix(" (enforce)").map(str::to_owned)
}

/// The soft limit, of the line of /proc/PID/limits.
fn memlock(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The kernel names its functions to everybody, only their addresses are for root.
fn missing_functions(list: &Path) -> Vec<&'static str> {
    let Ok(list) = fs::File::open(list) else { return Vec::new() };
    let (mut missing, mut any) = (hooked_functions().collect::<Vec<_>>(), false);
    for line in BufReader::with_capacity(64 << 10, list).lines().map_while(Result::ok) {
        any = true;
        if let Some(name) = line.split(' ').nth(2) {
            missing.retain(|function| *function != name);
        }
    }
    if any { missing } else { Vec::new() }
}

/// The kernel's security modules, as files.
struct SecurityFs {
    directory: PathBuf,
    /// Keeps the directory there.
    _mount: Option<OwnedFd>,
}

impl SecurityFs {
    /// Where it is mounted, or else a mount of our own that nobody sees and that ends with this.
    fn open(root: &Path) -> Option<Self> {
        let directory = root.join("sys/kernel/security");
        if directory.join("lsm").exists() {
            return Some(Self { directory, _mount: None });
        }
        if root != Path::new("/") {
            return None;
        }
        let context = fsopen("securityfs", FsOpenFlags::FSOPEN_CLOEXEC).ok()?;
        fsconfig_create(&context).ok()?;
        let mount =
            fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY).ok()?;
        let directory = PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd()));
        Some(Self { directory, _mount: Some(mount) })
    }

    /// `none [integrity] confidentiality`: the one in brackets. A kernel without the file has no lockdown.
    fn lockdown(&self) -> Lockdown {
        match fs::read_to_string(self.directory.join("lockdown")) {
            Ok(modes) if modes.contains("[none]") => Lockdown::None,
            Ok(modes) if modes.contains("[integrity]") => Lockdown::Integrity,
            Ok(modes) if modes.contains("[confidentiality]") => Lockdown::Confidentiality,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Lockdown::None,
            Ok(_) | Err(_) => Lockdown::Unknown,
        }
    }

    fn modules(&self) -> Option<Vec<String>> {
        let list = fs::read_to_string(self.directory.join("lsm")).ok()?;
        Some(list.trim().split(',').map(str::to_owned).collect())
    }
}
