//! Who did it: what procfs still says of the process when its notification is read, and what is remembered of one that
//! is gone.

use std::fs;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::decode::RawEvent;
use crate::enrich;
use crate::event::{Ancestor, Executable, Process, Text};
use crate::host::{Host, ProcessStat};
use crate::links::{self, Link};

/// Bytes of arguments that are kept.
const MAX_ARGUMENTS: usize = 4096;
/// Parents that are named, as many as the hooks name.
const MAX_ANCESTORS: usize = 8;

/// What is remembered of a process, by its number.
pub type Recall = Box<dyn Fn(u32) -> Option<RawEvent>>;

/// The descriptor that came with a notification.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pidfd<'d> {
    /// Of the process.
    Open(&'d OwnedFd),
    /// The process was gone already.
    Gone,
    /// The kernel gives none.
    Unsupported,
}

/// A process and what is around it.
#[derive(Debug, Clone)]
pub(super) struct Who {
    pub(super) process: Process,
    pub(super) ancestors: Vec<Ancestor>,
    /// Its root directory in the daemon's mount namespace, if it is in that namespace.
    pub(super) root: Option<Vec<u8>>,
}

impl Who {
    /// Nothing but perhaps the number is known.
    pub(super) fn unknown(pid: u32) -> Self {
        let process = Process {
            pid,
            tid: 0,
            start_boot_ns: 0,
            start: None,
            thread_name: Text::default(),
            executable: Executable::Unknown,
            args: Vec::new(),
            raw_command_line: None,
            args_truncated: false,
            user: None,
            group: None,
            login_user: None,
            session_id: None,
            capabilities: 0,
            cgroup_id: 0,
            cgroup: None,
            container: None,
            mount_namespace: 0,
            in_host_mount_namespace: None,
            pid_namespace: 0,
        };
        Self { process, ancestors: Vec::new(), root: None }
    }

    /// Asks procfs, and `recall` about who is gone. With `pidfd` it is certain that procfs answers for the process and not
    /// for a later one that was given its number.
    pub(super) fn find(pid: u32, pidfd: Pidfd<'_>, recall: Option<&Recall>, host: &mut impl Host) -> Self {
        let stat = if matches!(pidfd, Pidfd::Gone) { None } else { host.process(pid) };
        let live = stat.as_ref().map(|stat| Self::describe(pid, stat, host)).filter(|_| match pidfd {
            Pidfd::Open(pidfd) => is_still(pidfd, pid),
            Pidfd::Gone | Pidfd::Unsupported => true,
        });
        let is_it =
            |raw: &RawEvent| live.is_none() || stat.as_ref().is_some_and(|stat| stat.is(raw.fixed.start_ns));
        let kept = recall.and_then(|recall| recall(pid)).filter(is_it);
        match (live, recall.zip(kept)) {
            (live, Some((recall, kept))) if live.as_ref().is_none_or(Self::has_ended) => {
                Self::remembered(&kept, recall, host)
            }
            (Some(mut live), kept) => {
                if let Some((_, RawEvent { fixed, .. })) = kept {
                    live.process.start_boot_ns = fixed.start_ns;
                    live.process.start = Some(host.wall_clock(fixed.start_ns));
                    live.process.cgroup_id = fixed.cgroup;
                }
                live
            }
            (None, _) => Self::unknown(pid),
        }
    }

    /// What has ended and was not waited for runs nothing any more; what ends while it is asked has no arguments or no
    /// namespaces any more.
    fn has_ended(&self) -> bool {
        match self.process.executable {
            Executable::Unknown => true,
            Executable::File(_) => self.process.args.is_empty() || self.process.mount_namespace == 0,
            Executable::KernelThread => false,
        }
    }

    fn remembered(raw: &RawEvent, recall: &Recall, host: &mut impl Host) -> Self {
        let process = Process { tid: 0, ..enrich::process(raw, host) };
        let ancestors = raw.ancestors.iter().map(|(kept, path)| {
            let mut ancestor = enrich::ancestor(kept, path, raw.root.as_ref());
            if ancestor.executable == Executable::Unknown {
                // Its path is kept with itself.
                ancestor.executable = match recall(kept.pid) {
                    Some(own) if own.fixed.start_ns == kept.start_ns => {
                        enrich::process(&own, host).executable
                    }
                    _ if host.process(kept.pid).is_some_and(|stat| stat.is(kept.start_ns)) => {
                        host.executable(kept.pid)
                    }
                    _ => Executable::Unknown,
                };
            }
            ancestor
        });
        let ancestors = ancestors.collect();
        let root = raw.root.as_ref().map_or(&b"/"[..], |root| root.bytes.as_slice());
        let root = (raw.fixed.mount_namespace == own_mount_namespace()).then(|| root.to_vec());
        Self { process, ancestors, root }
    }

    fn describe(pid: u32, stat: &ProcessStat, host: &mut impl Host) -> Self {
        // First what goes first.
        let executable = host.executable(pid);
        let arguments = host.command_line(pid, MAX_ARGUMENTS).filter(|bytes| !bytes.is_empty());
        let proc = Path::new("/proc");
        let directory = proc.join(pid.to_string());
        let file = |name: &str| fs::read(directory.join(name)).unwrap_or_default();
        let number = |name: &str| {
            let text = String::from_utf8(file(name)).ok()?;
            text.trim().parse::<u32>().ok().filter(|&id| id != u32::MAX)
        };
        let namespace = |link| links::namespace(proc, pid, link).map_or(0, |number| number as u32);
        let status = Status::parse(&file("status"));
        let mount_namespace = namespace(Link::MountNamespace);
        let (cgroup, container) = enrich::container::of_procfs(&String::from_utf8_lossy(&file("cgroup")));
        let root = links::target(proc, pid, Link::Root).ok();
        let root = root.filter(|_| mount_namespace == own_mount_namespace());
        let args_truncated = arguments.as_ref().is_some_and(|bytes| bytes.len() == MAX_ARGUMENTS);
        let (args, raw_command_line) = enrich::arguments(arguments);
        let process = Process {
            pid,
            tid: 0,
            start_boot_ns: stat.start_boot_ns,
            start: Some(host.wall_clock(stat.start_boot_ns)),
            thread_name: stat.comm.as_slice().into(),
            executable,
            args,
            raw_command_line,
            args_truncated,
            user: status.uid.map(|uid| host.user(uid)),
            group: status.gid.map(|gid| host.group(gid)),
            login_user: number("loginuid").map(|uid| host.user(uid)),
            session_id: number("sessionid"),
            capabilities: status.capabilities,
            cgroup_id: 0,
            cgroup,
            container: enrich::container::with_names(container, host),
            mount_namespace,
            in_host_mount_namespace: enrich::is_hosts(mount_namespace, host),
            pid_namespace: namespace(Link::PidNamespace),
        };
        let root = root.map(|root| root.into_os_string().into_vec());
        Self { process, ancestors: ancestors(stat.ppid, host), root }
    }
}

fn own_mount_namespace() -> u32 {
    fs::metadata("/proc/self/ns/mnt").map_or(0, |namespace| namespace.ino() as u32)
}

fn ancestors(mut pid: u32, host: &mut impl Host) -> Vec<Ancestor> {
    let mut ancestors = Vec::new();
    while pid != 0
        && ancestors.len() < MAX_ANCESTORS
        && let Some(stat) = host.process(pid)
    {
        ancestors.push(Ancestor {
            pid,
            start_boot_ns: stat.start_boot_ns,
            thread_name: stat.comm.as_slice().into(),
            executable: host.executable(pid),
        });
        pid = stat.ppid;
    }
    ancestors
}

/// Whether the process has not been waited for: until then nobody else gets its number.
fn is_still(pidfd: &OwnedFd, pid: u32) -> bool {
    let information = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()));
    let Ok(information) = information else { return false };
    let number = information.lines().find_map(|line| line.strip_prefix("Pid:"));
    number.is_some_and(|number| number.trim().parse() == Ok(pid))
}

/// What is read from `/proc/PID/status`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Status {
    uid: Option<u32>,
    gid: Option<u32>,
    capabilities: u64,
}

impl Status {
    fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        // Real, effective, saved and file system's.
        let effective = |key| value(key)?.split_ascii_whitespace().nth(1)?.parse().ok();
        let capabilities = value("CapEff").and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
        Self { uid: effective("Uid"), gid: effective("Gid"), capabilities: capabilities.unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use proptest::prelude::*;
    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;
    use crate::host::Procfs;

    #[test]
    fn effective_ids_are_read() {
        let status =
            Status::parse(b"Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nCapEff:\t00000000000001ff\n");
        assert_eq!(status, Status { uid: Some(2), gid: Some(6), capabilities: 0x1ff });
        assert_eq!(Status::parse(b"Uid:\nGid: x y\nCapEff: q"), Status::default());
    }

    #[test]
    fn a_process_that_is_gone_is_not_taken_for_another() {
        let mut child = Command::new("sleep").arg("100").stdin(Stdio::null()).spawn().unwrap();
        let pid = child.id();
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        let mut host = Procfs::new(Path::new("/"));
        let who = Who::find(pid, Pidfd::Open(&pidfd), None, &mut host);
        assert!(matches!(who.process.executable, Executable::File(_)), "{who:?}");
        assert_eq!(who.ancestors[0].pid, std::process::id());
        assert!(who.process.user.is_some() && who.root.is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        // As if the number had been given to this process.
        let who = Who::find(std::process::id(), Pidfd::Open(&pidfd), None, &mut host);
        assert_eq!((who.process.executable, who.process.user), (Executable::Unknown, None));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(text in proptest::collection::vec(any::<u8>(), 0..100)) {
            Status::parse(&text);
            Status::parse(&[b"Uid:".as_slice(), &text].concat());
        }
    }
}
